/* Text on a terminal: its size, and strangers' text made safe to show. */
#pragma once
#include "base/buffer.h"

/* Columns and rows of the terminal behind the descriptor; 80 and 24 when it is none. */
void screen_size(int descriptor, unsigned *ret_columns, unsigned *ret_rows);

/* Appends the text on exactly `width` columns: cut with "..", or padded with blanks. Control characters and
 * bytes that are not UTF-8 become '?'. A character counts as one column. */
void screen_put(struct buffer *out, struct span text, unsigned width);

/* The same without padding. */
void screen_put_line(struct buffer *out, struct span text, unsigned width);
