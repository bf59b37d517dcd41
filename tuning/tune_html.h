/* What a tuning found, as one page: figures before and after, what each trial would have done, each incident,
 * and each alert on its series. */
#pragma once
#include "tuning/tune_text.h"

void tune_write_html(const struct tune *tune, const struct tune_subject *subject, struct buffer *out);
