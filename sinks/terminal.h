/* Alerts as people read them on a terminal. */
#pragma once
#include "base/buffer.h"

/* Appends one line with newline for the JSON line of an alert: time, state, severity, target, summary. False,
 * and nothing appended, when it is not one. Control characters in its texts become '?': a log message must
 * not steer the terminal. */
bool terminal_put_alert(struct span line, bool colour, struct buffer *out);
