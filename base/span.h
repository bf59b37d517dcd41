/* A borrowed piece of text or bytes: never ends with a null byte, may contain some. An absent text has
 * size 0. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *data;
    uint32_t size; /* bytes */
};

#define SPAN_LITERAL(text) ((struct span){.data = (text), .size = sizeof(text) - 1})

static inline struct span span_of(const char *text)
{
    return (struct span){.data = text, .size = text ? (uint32_t)strlen(text) : 0};
}

static inline struct span span_make(const char *data, size_t size)
{
    return (struct span){.data = data, .size = (uint32_t)size};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_of(text));
}

/* Byte order; the shorter of two equal beginnings comes first. */
static inline int span_compare(struct span a, struct span b)
{
    uint32_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}
