/* Text out of a log line to a row's column. */
#pragma once
#include "ingest/json.h"

/* Puts `text` into the field or label; a time may be written in any of the forms. Returns NULL, or what is
 * wrong with it ("is not a number"), and then leaves the column as it was. The text is not copied. */
const char *text_field_store(struct event_batch *batch, uint32_t row, struct field_ref ref, struct span text,
                             const struct time_form *forms, size_t form_count, int64_t reference_us);
