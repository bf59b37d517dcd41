/* Functions on texts, CEL's standard ones and its string extension. Up to once a row where no column kernel
 * fits. Positions count code points; event texts may hold any bytes, and a stray byte then counts as in
 * cel_utf8_count. Results go to the arena, whose limit is the only one: a full arena is an evaluation
 * error. */
#include "base/buffer.h"
#include "rules/cel_internal.h"

#include <assert.h>

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Byte of the position-th code point; the size when it is the end. False beyond the end. */
static bool byte_of(struct span text, int64_t position, uint32_t *ret_byte)
{
    uint32_t byte = 0;

    if (position < 0)
        return false;
    for (; position > 0; position--) {
        if (byte >= text.size)
            return false;
        byte++;
        while (byte < text.size && is_continuation(text.data[byte]))
            byte++;
    }
    *ret_byte = byte;
    return true;
}

static struct cel_value no_position(const struct cel_call *call)
{
    return cel_error(call->arena, "the position is outside of the text");
}

static struct span part_of(struct span text, uint32_t from, uint32_t to)
{
    assert(from <= to && to <= text.size);
    return span_make(text.data + from, to - from);
}

/* The first place at or behind `from`, UINT32_MAX when there is none. */
static uint32_t find_from(struct span text, struct span wanted, uint32_t from)
{
    const char *found;

    if (wanted.size == 0)
        return from;
    if (from >= text.size)
        return UINT32_MAX;
    found = memmem(text.data + from, text.size - from, wanted.data, wanted.size);
    return found ? (uint32_t)(found - text.data) : UINT32_MAX;
}

/* The position of a byte, -1 for UINT32_MAX. */
static struct cel_value place_of(struct span text, uint32_t byte)
{
    if (byte == UINT32_MAX)
        return cel_int(-1);
    return cel_int(cel_utf8_count(part_of(text, 0, byte)));
}

static struct cel_value finish(const struct cel_call *call, struct buffer *out)
{
    struct span copy;
    struct cel_value answer = cel_no_room();

    if (!out->full && arena_copy(call->arena, buffer_span(out), &copy))
        answer = cel_string(copy);
    buffer_free(out);
    return answer;
}

/* A text longer than what is left of the arena could not be kept. */
static void start(const struct cel_call *call, struct buffer *out)
{
    buffer_init(out, call->arena->limit - call->arena->used);
}

struct cel_value cel_concatenate(struct arena *arena, enum cel_type type, struct span a, struct span b)
{
    size_t size = (size_t)a.size + b.size;
    char *bytes = size <= UINT32_MAX ? arena_take(arena, size) : NULL;

    if (!bytes)
        return cel_no_room();
    if (a.size)
        memcpy(bytes, a.data, a.size);
    if (b.size)
        memcpy(bytes + a.size, b.data, b.size);
    return (struct cel_value){.type = type, .text = span_make(bytes, size)};
}

struct cel_value string_starts_with(const struct cel_call *call)
{
    struct span text = call->arguments[0].text, wanted = call->arguments[1].text;

    return cel_bool(wanted.size <= text.size && span_equal(span_make(text.data, wanted.size), wanted));
}

struct cel_value string_ends_with(const struct cel_call *call)
{
    struct span text = call->arguments[0].text, wanted = call->arguments[1].text;

    return cel_bool(
        wanted.size <= text.size &&
        (wanted.size == 0 || memcmp(text.data + text.size - wanted.size, wanted.data, wanted.size) == 0));
}

struct cel_value string_contains(const struct cel_call *call)
{
    return cel_bool(find_from(call->arguments[0].text, call->arguments[1].text, 0) != UINT32_MAX);
}

struct cel_value string_char_at(const struct cel_call *call)
{
    struct span text = call->arguments[0].text;
    uint32_t from, length;

    if (!byte_of(text, call->arguments[1].integer, &from))
        return no_position(call);
    text = part_of(text, from, text.size);
    return cel_string(byte_of(text, 1, &length) ? part_of(text, 0, length) : span_make(text.data, 0));
}

struct cel_value string_index_of(const struct cel_call *call)
{
    struct span text = call->arguments[0].text;
    uint32_t from = 0, found;

    if (call->count == 3 && !byte_of(text, call->arguments[2].integer, &from))
        return no_position(call);
    found = find_from(text, call->arguments[1].text, from);
    return place_of(text, found);
}

struct cel_value string_last_index_of(const struct cel_call *call)
{
    struct span text = call->arguments[0].text, wanted = call->arguments[1].text;
    uint32_t last = text.size, found = UINT32_MAX;

    if (call->count == 3 && !byte_of(text, call->arguments[2].integer, &last))
        return no_position(call);
    if (wanted.size > text.size)
        return cel_int(-1);
    if (last > text.size - wanted.size)
        last = text.size - wanted.size;
    for (uint32_t at = last + 1; at-- > 0 && found == UINT32_MAX;) {
        if (wanted.size == 0 || memcmp(text.data + at, wanted.data, wanted.size) == 0)
            found = at;
    }
    return place_of(text, found);
}

static struct cel_value shift_case(const struct cel_call *call, char from, int by)
{
    struct span text;
    char *bytes;

    if (!arena_copy(call->arena, call->arguments[0].text, &text))
        return cel_no_room();
    bytes = (char *)text.data;
    for (uint32_t i = 0; i < text.size; i++) {
        if (bytes[i] >= from && bytes[i] < from + 26)
            bytes[i] = (char)(bytes[i] + by);
    }
    return cel_string(text);
}

struct cel_value string_lower(const struct cel_call *call)
{
    return shift_case(call, 'A', 'a' - 'A');
}

struct cel_value string_upper(const struct cel_call *call)
{
    return shift_case(call, 'a', 'A' - 'a');
}

/* An empty text to replace stands before each code point and at the end, as in Go's strings.Replace. */
struct cel_value string_replace(const struct cel_call *call)
{
    struct span text = call->arguments[0].text, old = call->arguments[1].text, by = call->arguments[2].text;
    int64_t left = call->count == 4 ? call->arguments[3].integer : -1;
    struct buffer out;
    uint32_t from = 0, found, length;

    start(call, &out);
    while (left != 0 && !out.full && (found = find_from(text, old, from)) != UINT32_MAX) {
        buffer_put_span(&out, part_of(text, from, found));
        buffer_put_span(&out, by);
        from = found + old.size;
        left -= left > 0;
        if (old.size == 0) {
            if (!byte_of(part_of(text, from, text.size), 1, &length))
                break;
            buffer_put_span(&out, part_of(text, from, from + length));
            from += length;
        }
    }
    buffer_put_span(&out, part_of(text, from, text.size));
    return finish(call, &out);
}

/* Cuts off the part before the next separator; with an empty one, a code point. False: *rest is the last
 * part. */
static bool cut(struct span *rest, struct span separator, struct span *ret_part)
{
    uint32_t found;

    if (separator.size == 0) {
        if (!byte_of(*rest, 1, &found) || found == rest->size)
            return false;
    } else {
        found = find_from(*rest, separator, 0);
        if (found == UINT32_MAX)
            return false;
    }
    *ret_part = part_of(*rest, 0, found);
    *rest = part_of(*rest, found + separator.size, rest->size);
    return true;
}

struct cel_value string_split(const struct cel_call *call)
{
    struct span text = call->arguments[0].text, separator = call->arguments[1].text, rest = text, part;
    int64_t most = call->count == 3 ? call->arguments[2].integer : -1;
    uint32_t count = 1, i = 0;
    struct cel_list *list;

    if (most == 0 || (text.size == 0 && separator.size == 0))
        return cel_list_done(CEL_LIST, cel_list_new(call->arena, 0));
    while ((most < 0 || count < most) && cut(&rest, separator, &part))
        count++;
    list = cel_list_new(call->arena, count);
    if (!list)
        return cel_no_room();
    rest = text;
    for (; i + 1 < count; i++) {
        cut(&rest, separator, &part);
        list->items[i] = cel_string(part);
    }
    list->items[i] = cel_string(rest);
    return cel_list_done(CEL_LIST, list);
}

struct cel_value string_substring(const struct cel_call *call)
{
    struct span text = call->arguments[0].text;
    uint32_t from, to = text.size;

    if (!byte_of(text, call->arguments[1].integer, &from) ||
        (call->count == 3 && !byte_of(text, call->arguments[2].integer, &to)) || from > to)
        return no_position(call);
    return cel_string(part_of(text, from, to));
}

/* Bytes of the blank at the start of the text, 0 when there is none: Unicode's White_Space, as the extension
 * asks. */
static uint32_t blank_length(struct span text)
{
    static const char *const blanks[] = {
        " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\xc2\x85", "\u00a0", "\u1680",
        "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",   "\u2007", "\u2008",
        "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000",
    };

    for (size_t i = 0; i < sizeof blanks / sizeof *blanks; i++) {
        struct span blank = span_of(blanks[i]);

        if (blank.size <= text.size && memcmp(text.data, blank.data, blank.size) == 0)
            return blank.size;
    }
    return 0;
}

struct cel_value string_trim(const struct cel_call *call)
{
    struct span text = call->arguments[0].text;
    uint32_t length, end = 0;

    while (text.size && (length = blank_length(text)) > 0)
        text = part_of(text, length, text.size);
    for (uint32_t at = 0; at < text.size; at += length) {
        length = blank_length(part_of(text, at, text.size));
        if (length == 0) {
            length = 1;
            end = at + 1;
        }
    }
    return cel_string(part_of(text, 0, end));
}

struct cel_value string_reverse(const struct cel_call *call)
{
    struct span text = call->arguments[0].text;
    char *bytes = arena_take(call->arena, text.size);
    uint32_t length;

    if (!bytes)
        return cel_no_room();
    for (uint32_t at = 0; at < text.size; at += length) {
        byte_of(part_of(text, at, text.size), 1, &length);
        memcpy(bytes + text.size - at - length, text.data + at, length);
    }
    return cel_string(span_make(bytes, text.size));
}

struct cel_value string_join(const struct cel_call *call)
{
    const struct cel_list *list = call->arguments[0].list;
    struct buffer out;

    start(call, &out);
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].type != CEL_STRING) {
            buffer_free(&out);
            return cel_error(call->arena, "join() takes a list of strings, not of %s",
                             cel_type_names[list->items[i].type]);
        }
        if (i > 0 && call->count == 2)
            buffer_put_span(&out, call->arguments[1].text);
        buffer_put_span(&out, list->items[i].text);
    }
    return finish(call, &out);
}

/* The text as a CEL literal in double quotes; bytes that are not UTF-8 become U+FFFD. */
struct cel_value string_quote(const struct cel_call *call)
{
    static const char plain[] = "\a\b\f\n\r\t\v\\\"", letter[] = "abfnrtv\\\"";
    struct span text = call->arguments[0].text;
    struct buffer out;

    start(call, &out);
    buffer_put_char(&out, '"');
    for (uint32_t at = 0; at < text.size;) {
        unsigned length = cel_utf8_length(text.data + at, text.size - at);
        const char *escape = text.data[at] ? strchr(plain, text.data[at]) : NULL;

        if (escape) {
            buffer_put_char(&out, '\\');
            buffer_put_char(&out, letter[escape - plain]);
        } else if (length == 0) {
            buffer_put_text(&out, "\ufffd");
        } else {
            buffer_put(&out, text.data + at, length);
        }
        at += length ? length : 1;
    }
    buffer_put_char(&out, '"');
    return finish(call, &out);
}
