/* The results of many commits as one HTML page. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

/* Of all documents (*.json) in the folder, in order of their time: a plot a figure, medians and the range of
 * the runs. STATUS_FATAL: there is none, or one cannot be read. */
enum status page_write(const char *folder, struct buffer *out, struct error *ret_error);
