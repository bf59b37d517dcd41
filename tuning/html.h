/* What pages of this program share: each is one file that needs nothing else, no script, dark or light as its
 * reader likes. */
#pragma once
#include "base/buffer.h"

/* Up to and with the heading, which is the title; the window's is "TITLE: KIND". */
void html_begin(struct span title, const char *kind, struct buffer *out);
void html_end(struct buffer *out);
void html_put_text(struct span text, struct buffer *out); /* of any bytes, in an element or an attribute */

/* The next of 1, 2, 5, 10, 20 ... that is not less than the value, which is above 0: where an axis ends. */
double html_axis_end(double value);
