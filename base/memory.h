/* Heap memory for state that lives long. Running out is not an outside failure that a caller could handle:
 * every store has a written limit far below, so these print one line and abort. */
#pragma once
#include <stddef.h>

void *memory_new(size_t size);                    /* zeroed; free with free() */
void *memory_grow(void *memory, size_t size);     /* as realloc, new bytes not zeroed */
char *memory_text(const char *data, size_t size); /* a copy with a final null byte */

/* Grows a vector of `element` byte pieces so that it holds at least `needed`, doubling; updates *capacity. */
void *memory_reserve(void *memory, size_t *capacity, size_t needed, size_t element);
