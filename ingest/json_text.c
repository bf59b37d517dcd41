/* What stands between a text's quotes, and what is a number. */
#include "ingest/json_text.h"

#include <assert.h>

/* Four digits; -1: they are not. */
static int32_t code_unit(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Behind "\u"; moves the cursor past it, and past the second half of a pair. False: no such character, and
 * what a lone half becomes is left to yajl. */
static bool put_unicode(struct buffer *out, const char **cursor, const char *end)
{
    const char *at = *cursor;
    int32_t unit = code_unit(at, end), low = -1;

    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF))
        return false;
    at += 4;
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        if (end - at >= 6 && at[0] == '\\' && at[1] == 'u')
            low = code_unit(at + 2, end);
        if (low < 0xDC00 || low > 0xDFFF)
            return false;
        at += 6;
        unit = 0x10000 + ((unit & 0x3FF) << 10 | (low & 0x3FF));
    }
    buffer_put_code_point(out, (uint32_t)unit);
    *cursor = at;
    return true;
}

bool json_unescape(struct span text, struct buffer *out)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *at = text.data, *end = text.data + text.size;

    buffer_clear(out);
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        const char *stop = escape ? escape : end;

        buffer_put(out, at, (size_t)(stop - at));
        at = stop;
        if (!escape)
            break;
        assert(end - at >= 2); /* or the quote at the end would be no end */
        const char *known = memchr(escapes, at[1], sizeof escapes - 1);
        at += 2;
        if (known)
            buffer_put_char(out, meanings[known - escapes]);
        else if (at[-1] != 'u' || !put_unicode(out, &at, end))
            return false;
    }
    return !out->full;
}

static size_t digits(struct span text, size_t at)
{
    size_t start = at;

    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at - start;
}

bool json_is_number(struct span text)
{
    size_t at = text.data[0] == '-', whole = digits(text, at), more;

    if (whole == 0 || (whole > 1 && text.data[at] == '0'))
        return false;
    at += whole;
    if (at < text.size && text.data[at] == '.') {
        more = digits(text, ++at);
        if (more == 0)
            return false;
        at += more;
    }
    if (at < text.size && (text.data[at] | 0x20) == 'e') {
        at++;
        at += at < text.size && (text.data[at] == '+' || text.data[at] == '-');
        more = digits(text, at);
        if (more == 0)
            return false;
        at += more;
    }
    return at == text.size;
}
