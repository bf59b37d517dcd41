/* A growing run of bytes, born with its maximum. Once a write would pass the limit the buffer is `full`:
 * that write and all later ones are dropped, and the owner looks at `full` once at the end instead of
 * after each write. */
#pragma once
#include "base/span.h"

struct buffer {
    char *data;
    size_t size, capacity, limit;
    bool full;
};

void buffer_init(struct buffer *buffer, size_t limit);
void buffer_free(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* keeps the memory */
void buffer_put_text(struct buffer *buffer, const char *text);
void buffer_put_plain(struct buffer *buffer, struct span text);         /* see span_take_plain */
void buffer_put_code_point(struct buffer *buffer, uint32_t code_point); /* as UTF-8; at most 0x10FFFF */
void buffer_print(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_truncate(struct buffer *buffer, size_t size); /* back to an earlier size; also clears `full` */
void buffer_remove_front(struct buffer *buffer, size_t size);

static inline struct span buffer_span(const struct buffer *buffer)
{
    return span_make(buffer->data, buffer->size);
}

char *buffer_grow(struct buffer *buffer, size_t size); /* what is not at hand of buffer_room */

/* Makes room and returns where to write, or NULL when full; the writer adds to `size` what it used. */
static inline char *buffer_room(struct buffer *buffer, size_t size)
{
    if (!buffer->full && size < buffer->capacity - buffer->size)
        return buffer->data + buffer->size;
    return buffer_grow(buffer, size);
}

static inline void buffer_put(struct buffer *buffer, const void *data, size_t size)
{
    char *room = buffer_room(buffer, size);

    if (!room || !size)
        return;
    memcpy(room, data, size);
    buffer->size += size;
}

static inline void buffer_put_char(struct buffer *buffer, char c)
{
    buffer_put(buffer, &c, 1);
}

static inline void buffer_put_span(struct buffer *buffer, struct span text)
{
    buffer_put(buffer, text.data, text.size);
}
