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

/* The next line of what is left, without its newline; false: nothing is left. */
static inline bool span_take_line(struct span *rest, struct span *ret_line)
{
    if (rest->size == 0)
        return false;
    const char *newline = memchr(rest->data, '\n', rest->size);
    uint32_t size = newline ? (uint32_t)(newline - rest->data) : rest->size;
    uint32_t used = size + (newline != NULL);

    *ret_line = (struct span){.data = rest->data, .size = size};
    *rest = (struct span){.data = rest->data + used, .size = rest->size - used};
    return true;
}

static inline int hex_digit(int c) /* its value; -1: it is none */
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Bytes of the well-formed UTF-8 sequence of two to four bytes at `at` (RFC 3629, section 4); 0: there is
 * none within `left` bytes. */
static inline size_t utf8_sequence_size(const unsigned char *at, size_t left)
{
    unsigned char first = at[0], low = 0x80, high = 0xBF;
    size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    if (first < 0xC2 || first > 0xF4 || size > left)
        return 0;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return size;
}

/* Takes the first character off a stranger's text, as a terminal may show it: '?' for control characters,
 * of the second set (U+0080 to U+009F) too, and for each byte that is not UTF-8. */
static inline struct span span_take_plain(struct span *text)
{
    const unsigned char *at = (const unsigned char *)text->data;
    size_t size = at[0] < 0x80 ? 1 : utf8_sequence_size(at, text->size);
    bool hidden = !size || at[0] < ' ' || at[0] == 0x7F || (at[0] == 0xC2 && at[1] < 0xA0);
    struct span taken = hidden ? SPAN_LITERAL("?") : span_make(text->data, size);

    size = size ? size : 1;
    *text = span_make(text->data + size, text->size - size);
    return taken;
}
