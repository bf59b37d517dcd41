#include "alerts/text.h"

/* The next {{name}} at or after `from`: sets the text before it, the trimmed name and where to go on. */
static bool next_name(struct span pattern, uint32_t from, struct span *ret_before, struct span *ret_name,
                      uint32_t *ret_after)
{
    const char *begin = pattern.data + from, *end = pattern.data + pattern.size;
    const char *open = memmem(begin, (size_t)(end - begin), "{{", 2), *close;

    if (!open)
        return false;
    close = memmem(open + 2, (size_t)(end - open - 2), "}}", 2);
    if (!close)
        return false;
    *ret_before = span_make(begin, (size_t)(open - begin));
    *ret_after = (uint32_t)(close + 2 - pattern.data);
    for (open += 2; open < close && *open == ' '; open++)
        continue;
    while (close > open && close[-1] == ' ')
        close--;
    *ret_name = span_make(open, (size_t)(close - open));
    return true;
}

void text_put(struct buffer *out, struct span text)
{
    /* one byte more than stays shows whether a character is cut */
    buffer_put(out, text.data, text.size > TEXT_LIMIT ? TEXT_LIMIT + 1 : text.size);
}

static void cut(struct buffer *out, size_t limit)
{
    if (out->size <= limit)
        return;
    while (limit > 0 && ((unsigned char)out->data[limit] & 0xC0) == 0x80)
        limit--;
    buffer_truncate(out, limit);
}

void text_fill(struct span pattern, text_resolve *resolve, void *owner, struct buffer *out)
{
    struct span before, name;
    uint32_t at = 0, after;
    size_t limit = out->size + TEXT_LIMIT;

    while (out->size < limit && next_name(pattern, at, &before, &name, &after)) {
        buffer_put_span(out, before);
        resolve(owner, name, out);
        at = after;
    }
    buffer_put(out, pattern.data + at, pattern.size - at);
    cut(out, limit);
}

enum status text_check(struct span pattern, text_resolve *known, void *owner, struct error *ret_error)
{
    struct span before, name;
    struct buffer scratch;
    uint32_t at = 0, after;
    enum status status = STATUS_OK;

    buffer_init(&scratch, TEXT_LIMIT);
    while (status == STATUS_OK && next_name(pattern, at, &before, &name, &after)) {
        if (!known(owner, name, &scratch))
            status = fail(ret_error, "'{{%.*s}}' names nothing known", (int)name.size, name.data);
        at = after;
    }
    if (status == STATUS_OK && memmem(pattern.data + at, pattern.size - at, "{{", 2))
        status = fail(ret_error, "'{{' without '}}' in \"%.*s\"", (int)pattern.size, pattern.data);
    buffer_free(&scratch);
    return status;
}
