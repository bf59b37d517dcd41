/* Every line and document is built in one of these, in many small pieces; all of them come through
 * buffer_room, inline, and buffer_grow, the one place that knows the limit: the capacity never passes it,
 * but for one byte, so that a printed text may end at the very limit with vsnprintf's null byte behind it. */
#include "base/buffer.h"

#include "base/memory.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LEAST_BYTES = 16 };

void buffer_init(struct buffer *buffer, size_t limit)
{
    *buffer = (struct buffer){.limit = limit};
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){.limit = buffer->limit};
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->full = false;
}

char *buffer_grow(struct buffer *buffer, size_t size)
{
    assert(buffer->size <= buffer->limit);
    if (buffer->full || size > buffer->limit - buffer->size) {
        buffer->full = true;
        return NULL;
    }
    size_t doubled = buffer->capacity ? 2 * buffer->capacity : LEAST_BYTES, needed = buffer->size + size + 1;

    if (doubled - 1 > buffer->limit)
        doubled = buffer->limit + 1;
    buffer->capacity = doubled > needed ? doubled : needed;
    buffer->data = memory_grow(buffer->data, buffer->capacity);
    return buffer->data + buffer->size;
}

void buffer_put_text(struct buffer *buffer, const char *text)
{
    buffer_put(buffer, text, strlen(text));
}

void buffer_put_plain(struct buffer *buffer, struct span text)
{
    while (text.size)
        buffer_put_span(buffer, span_take_plain(&text));
}

void buffer_put_code_point(struct buffer *buffer, uint32_t code_point)
{
    unsigned length = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    char bytes[4];

    assert(code_point <= 0x10FFFF);
    for (unsigned i = length - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (code_point & 0x3F));
        code_point >>= 6;
    }
    bytes[0] = (char)(lead[length] | code_point);
    buffer_put(buffer, bytes, length);
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    int size;

    va_start(arguments, format);
    va_copy(again, arguments);
    size = vsnprintf(NULL, 0, format, arguments);
    assert(size >= 0);
    char *room = buffer_room(buffer, (size_t)size);
    if (room) {
        vsnprintf(room, (size_t)size + 1, format, again);
        buffer->size += (size_t)size;
    }
    va_end(again);
    va_end(arguments);
}

void buffer_truncate(struct buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    buffer->size = size;
    buffer->full = false;
}

void buffer_remove_front(struct buffer *buffer, size_t size)
{
    assert(size <= buffer->size);
    if (size && size < buffer->size)
        memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}
