/* Where the tokens of a JSON text begin, found by simdjson 64 bytes at a time. Its second stage, which would
 * make a tree of them, is not used: the walk over the index needs no tree, and keeps numbers as written. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_index;

struct json_index *json_index_new(void);
void json_index_free(struct json_index *index); /* NULL is fine */

/* Positions of all brackets, colons and commas outside of texts and of the first byte of each text and other
 * scalar, in order; valid until the next call. False: the bytes are not UTF-8, a text has no end or holds a
 * control character, there is no token, or there are more bytes than 16 MiB. */
bool json_index_make(struct json_index *index, const char *text, size_t size, const uint32_t **ret_positions,
                     size_t *ret_count);

#ifdef __cplusplus
}
#endif
