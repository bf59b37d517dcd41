/* Called when state grows, not for each row. Aborting here rather than handing NULL up was chosen because
 * none of the paths that would handle it could ever be tested honestly. */
#include "base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory, size_t size)
{
    if (memory == NULL && size > 0) {
        fprintf(stderr, "weir: out of memory (%zu bytes)\n", size);
        abort();
    }
    return memory;
}

void *memory_new(size_t size)
{
    return checked(calloc(1, size ? size : 1), size);
}

void *memory_grow(void *memory, size_t size)
{
    return checked(realloc(memory, size ? size : 1), size);
}

char *memory_text(const char *data, size_t size)
{
    char *copy = checked(malloc(size + 1), size + 1);

    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

void *memory_reserve(void *memory, size_t *capacity, size_t needed, size_t element)
{
    size_t wanted = *capacity ? *capacity : 8;

    assert(element > 0 && needed <= PTRDIFF_MAX / element);
    if (needed <= *capacity)
        return memory;
    while (wanted < needed)
        wanted *= 2;
    *capacity = wanted;
    return memory_grow(memory, wanted * element);
}
