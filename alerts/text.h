/* Summary and description texts: `{{name}}` is replaced by what the resolver says, unknown names stay empty.
 * Checked at load, filled in once for each condition that is true. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

typedef bool text_resolve(void *owner, struct span name, struct buffer *out); /* false: no such name */

enum { TEXT_LIMIT = 4096 }; /* bytes of a filled-in text; longer is cut on a UTF-8 boundary */

/* For resolvers: as much of a text as can stand in a filled-in one; a buffer that is too small for all of it
 * would take nothing. */
void text_put(struct buffer *out, struct span text);

void text_fill(struct span pattern, text_resolve *resolve, void *owner, struct buffer *out);

/* Braces pair up and every name is known; the error names the bad one. */
enum status text_check(struct span pattern, text_resolve *known, void *owner, struct error *ret_error);
