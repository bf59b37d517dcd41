/* What every JSON format must stand: bad input, changed bytes, values of wrong types, and what is put before
 * a message on its way. */
#pragma once
#include "tests/ingest/support.h"

/* A format's recording of `count` messages under the shared data, each decoded for `row`, which is called
 * once a row; skips the test when it is not there. */
typedef void recording_row(void *owner, const struct event_batch *batch, uint32_t row);
void json_recording(const char *format, const char *path, size_t count, recording_row *row, void *owner);

/* `good` is one message that gives a row. Besides check_bad_input: each of its values in turn is given every
 * type, its bytes are changed, it comes with a registry header, and nested too deep. */
void check_json_format(const char *format, const char *good);
