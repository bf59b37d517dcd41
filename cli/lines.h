/* A file of lines that a command reads as a whole: buckets, labels, alerts. */
#pragma once
#include "base/span.h"
#include "base/status.h"

/* STATUS_FATAL from it ends the reading; its error gets FILE:LINE before it. */
typedef enum status line_visit(void *owner, struct span line, struct error *ret_error);

/* "-" is standard input. Empty lines are passed over. */
enum status lines_read(const char *path, line_visit *visit, void *owner, struct error *ret_error);
