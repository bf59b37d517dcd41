/* 'text %s'.format([values]) of CEL's string extension: %s %d %f %e %b %o %x %X and a precision for %f and
 * %e. Once a row at most, in annotations of rules. Doubles follow C's and Go's rounding; what a clause does
 * not take is an error. */
#include "base/buffer.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PRECISION_DEFAULT = 6, PRECISION_MAX = 100 };

static void put_value(struct buffer *out, const struct cel_value *value, unsigned depth);

static int compare_texts(const void *a, const void *b)
{
    const struct span *left = a, *right = b;

    return span_compare(*left, *right);
}

/* {key: value, ...}, sorted by text so that equal maps print alike */
static void put_map(struct buffer *out, const struct cel_list *map, unsigned depth)
{
    uint32_t pairs = map->count / 2;
    struct span *texts = calloc(pairs + 1, sizeof *texts);
    struct buffer all;
    uint32_t i;

    buffer_init(&all, out->limit);
    for (i = 0; texts && i < pairs; i++) {
        size_t from = all.size;

        put_value(&all, &map->items[2 * i], depth + 1);
        buffer_put_text(&all, ": ");
        put_value(&all, &map->items[2 * i + 1], depth + 1);
        texts[i].size = (uint32_t)(all.size - from);
    }
    for (size_t from = 0, pair = 0; texts && pair < pairs; from += texts[pair++].size)
        texts[pair].data = all.data + from;
    if (texts)
        qsort(texts, pairs, sizeof *texts, compare_texts);
    buffer_put_char(out, '{');
    for (i = 0; texts && i < pairs; i++) {
        buffer_put_text(out, i ? ", " : "");
        buffer_put_span(out, texts[i]);
    }
    buffer_put_char(out, '}');
    out->full |= all.full || !texts;
    buffer_free(&all);
    free(texts);
}

static void put_value(struct buffer *out, const struct cel_value *value, unsigned depth)
{
    char text[CEL_TIME_SIZE > CEL_NUMBER_SIZE ? CEL_TIME_SIZE : CEL_NUMBER_SIZE];

    assert(depth <= CEL_LIST_DEPTH_MAX);
    switch (value->type) {
    case CEL_NULL:
        buffer_put_text(out, "null");
        break;
    case CEL_BOOL:
        buffer_put_text(out, value->boolean ? "true" : "false");
        break;
    case CEL_INT:
        buffer_print(out, "%lld", (long long)value->integer);
        break;
    case CEL_UINT:
        buffer_print(out, "%llu", (unsigned long long)value->uinteger);
        break;
    case CEL_DOUBLE:
        buffer_put(out, text, cel_number_format(value->number, text));
        break;
    case CEL_DURATION:
    case CEL_TIMESTAMP:
        buffer_put(out, text, cel_time_format(value, text));
        break;
    case CEL_LIST:
        buffer_put_char(out, '[');
        for (uint32_t i = 0; i < value->list->count; i++) {
            buffer_put_text(out, i ? ", " : "");
            put_value(out, &value->list->items[i], depth + 1);
        }
        buffer_put_char(out, ']');
        break;
    case CEL_MAP:
        put_map(out, value->list, depth);
        break;
    default:
        buffer_put_span(out, value->text);
    }
}

static bool put_infinite(struct buffer *out, const struct cel_value *value)
{
    char text[CEL_NUMBER_SIZE];

    if (value->type != CEL_DOUBLE || isfinite(value->number))
        return false;
    buffer_put(out, text, cel_number_format(value->number, text));
    return true;
}

static bool put_decimal(struct buffer *out, const struct cel_value *value)
{
    if (put_infinite(out, value))
        return true;
    if (value->type != CEL_INT && value->type != CEL_UINT)
        return false;
    put_value(out, value, 0);
    return true;
}

/* %f and %e */
static bool put_real(struct buffer *out, const struct cel_value *value, char clause, int precision)
{
    double number;

    if (put_infinite(out, value))
        return true;
    if (value->type == CEL_DOUBLE)
        number = value->number;
    else if (value->type == CEL_INT)
        number = (double)value->integer;
    else if (value->type == CEL_UINT)
        number = (double)value->uinteger;
    else
        return false;
    if (clause == 'f')
        buffer_print(out, "%.*f", precision, number);
    else
        buffer_print(out, "%.*e", precision, number);
    return true;
}

/* %b %o %x %X of an integer, with its sign in front */
static bool put_digits(struct buffer *out, const struct cel_value *value, char clause)
{
    const char *digits = clause == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    unsigned base = clause == 'b' ? 2 : clause == 'o' ? 8 : 16;
    char text[64];
    size_t at = sizeof text;
    uint64_t magnitude;

    if (value->type == CEL_BOOL && clause == 'b')
        magnitude = value->boolean;
    else if (value->type == CEL_UINT)
        magnitude = value->uinteger;
    else if (value->type == CEL_INT)
        magnitude = value->integer < 0 ? 0 - (uint64_t)value->integer : (uint64_t)value->integer;
    else
        return false;
    if (value->type == CEL_INT && value->integer < 0)
        buffer_put_char(out, '-');
    do {
        text[--at] = digits[magnitude % base];
        magnitude /= base;
    } while (magnitude);
    buffer_put(out, text + at, sizeof text - at);
    return true;
}

static bool put_clause(struct buffer *out, const struct cel_value *value, char clause, int precision)
{
    switch (clause) {
    case 's':
        put_value(out, value, 0);
        return true;
    case 'd':
        return put_decimal(out, value);
    case 'f':
    case 'e':
        return put_real(out, value, clause, precision);
    case 'x':
    case 'X':
        if (value->type == CEL_STRING || value->type == CEL_BYTES) {
            for (uint32_t i = 0; i < value->text.size; i++)
                buffer_print(out, clause == 'x' ? "%02x" : "%02X", (unsigned char)value->text.data[i]);
            return true;
        }
        return put_digits(out, value, clause);
    default:
        return put_digits(out, value, clause);
    }
}

/* Behind the percent sign: [.digits]letter. Returns bytes read, 0 when it is no clause. */
static uint32_t read_clause(struct span rest, char *ret_letter, int *ret_precision)
{
    uint32_t at = 0;
    int precision = PRECISION_DEFAULT;

    if (rest.size > 0 && rest.data[0] == '.') {
        precision = 0;
        for (at = 1; at < rest.size && rest.data[at] >= '0' && rest.data[at] <= '9'; at++) {
            precision = precision * 10 + (rest.data[at] - '0');
            if (precision > PRECISION_MAX)
                return 0;
        }
        if (at == 1 || at == rest.size || (rest.data[at] != 'f' && rest.data[at] != 'e'))
            return 0;
    }
    if (at == rest.size || rest.data[at] == '\0' || !strchr("sdfeboxX", rest.data[at]))
        return 0;
    *ret_letter = rest.data[at];
    *ret_precision = precision;
    return at + 1;
}

struct cel_value string_format(const struct cel_call *call)
{
    struct span text = call->arguments[0].text, copy;
    const struct cel_list *values = call->arguments[1].list;
    struct cel_value answer = cel_no_room();
    struct buffer out;
    uint32_t used = 0, size;

    buffer_init(&out, call->arena->limit - call->arena->used);
    for (uint32_t at = 0; at < text.size && !out.full; at++) {
        char letter = '\0';
        int precision = 0;

        if (text.data[at] != '%') {
            buffer_put_char(&out, text.data[at]);
            continue;
        }
        if (at + 1 < text.size && text.data[at + 1] == '%') {
            buffer_put_char(&out, '%');
            at++;
            continue;
        }
        size = read_clause(span_make(text.data + at + 1, text.size - at - 1), &letter, &precision);
        if (size == 0)
            answer = cel_error(call->arena, "format(): an unknown clause at byte %u", at);
        else if (used >= values->count)
            answer = cel_error(call->arena, "format(): value %u is missing", used + 1);
        else if (!put_clause(&out, &values->items[used], letter, precision))
            answer = cel_error(call->arena, "format(): %%%c does not take %s", letter,
                               cel_type_names[values->items[used].type]);
        else {
            at += size;
            used++;
            continue;
        }
        buffer_free(&out);
        return answer;
    }
    if (!out.full && arena_copy(call->arena, buffer_span(&out), &copy))
        answer = cel_string(copy);
    buffer_free(&out);
    return answer;
}
