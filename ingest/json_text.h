/* What the parsers that read JSON byte by byte share. Inside ingest only. */
#pragma once
#include "base/buffer.h"

/* A text without its escapes, to the buffer, which is cleared before. False: one is none, or there is no
 * room. A backslash is never the last byte. */
bool json_unescape(struct span text, struct buffer *out);

bool json_is_number(struct span text); /* by RFC 8259; not empty */
