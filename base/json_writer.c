/* JSON out: every document and line passes here, some thirty keys each, so texts are copied in clean runs
 * found eight bytes at a time and numbers avoid printf where an exact shorter way is known. A generator
 * with a state stack (yajl's) was dropped: the callers' shape is fixed, so one comma flag is all the state
 * there is. */
#include "base/json_writer.h"

#include "base/timestamp.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIGITS_MAX = 20 };

/* Decimal digits of a number, written backwards from `end`; returns where they begin. */
static char *digits_before(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

static void put_integer(struct buffer *out, bool negative, uint64_t magnitude)
{
    char text[DIGITS_MAX + 1], *end = text + sizeof text;
    char *begin = digits_before(end, magnitude);

    if (negative)
        *--begin = '-';
    buffer_put(out, begin, (size_t)(end - begin));
}

/* Numbers with at most six decimals and fifteen digits, nearly all that occur: the scaled integer is
 * exact, and dividing it rounds as reading the text does, so equality here proves that the text reads back
 * equal. */
static bool put_short_decimal(struct buffer *out, double value)
{
    char text[DIGITS_MAX + 4], *end = text + sizeof text;

    if (fabs(value) >= 1e9)
        return false;
    int64_t scaled = llrint(value * 1e6);
    if ((double)scaled / 1e6 != value)
        return false;
    uint64_t magnitude = (uint64_t)(scaled < 0 ? -scaled : scaled);
    uint64_t fraction = magnitude % 1000000;
    char *begin = end;
    for (int i = 0; i < 6; i++, fraction /= 10)
        *--begin = (char)('0' + fraction % 10);
    *--begin = '.';
    while (end[-1] == '0')
        end--;
    begin = digits_before(begin, magnitude / 1000000);
    if (value < 0)
        *--begin = '-';
    buffer_put(out, begin, (size_t)(end - begin));
    return true;
}

void json_put_number(struct buffer *out, double value)
{
    char text[32];

    assert(isfinite(value));
    if (fabs(value) < 1e15 && value == (double)(int64_t)value) {
        put_integer(out, value < 0, (uint64_t)fabs(value));
        return;
    }
    if (put_short_decimal(out, value))
        return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_put_text(out, text);
}

/* How many bytes from `at` on may be copied as they are: printable ASCII without quote and backslash. */
static size_t clean_run(const unsigned char *at, size_t size)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    size_t i = 0;

    for (; i + 8 <= size; i += 8) {
        uint64_t word, quote, backslash;

        memcpy(&word, at + i, 8);
        quote = word ^ ones * '"';
        backslash = word ^ ones * '\\';
        if ((word | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) & tops)
            break;
    }
    while (i < size && at[i] >= 0x20 && at[i] < 0x80 && at[i] != '"' && at[i] != '\\')
        i++;
    return i;
}

static void put_escape(struct buffer *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\'};

    if (c >= 0x80)
        buffer_put(out, "\xEF\xBF\xBD", 3);
    else if (letters[c])
        buffer_put(out, (char[]){'\\', letters[c]}, 2);
    else
        buffer_put(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void json_put_text(struct buffer *out, struct span value)
{
    const unsigned char *bytes = (const unsigned char *)value.data;
    size_t copied = 0, at = 0;

    buffer_put_char(out, '"');
    while (at < value.size) {
        at += clean_run(bytes + at, value.size - at);
        if (at == value.size)
            break;
        size_t length = bytes[at] >= 0x80 ? utf8_sequence_size(bytes + at, value.size - at) : 0;
        if (length == 0) {
            buffer_put(out, bytes + copied, at - copied);
            put_escape(out, bytes[at]);
            copied = at + 1;
            length = 1;
        }
        at += length;
    }
    buffer_put(out, bytes + copied, value.size - copied);
    buffer_put_char(out, '"');
}

/* What stands before a value: a comma unless it is the first, and its key. */
static void lead(struct json_writer *json, const char *key)
{
    if (json->comma)
        buffer_put_char(json->out, ',');
    json->comma = true;
    if (!key)
        return;
    size_t size = strlen(key);
    char *room = buffer_room(json->out, size + 3);
    if (!room)
        return;
    room[0] = '"';
    memcpy(room + 1, key, size + 1); /* the quote takes the place of the null byte */
    room[size + 1] = '"';
    room[size + 2] = ':';
    json->out->size += size + 3;
}

void json_begin(struct json_writer *json, struct buffer *out)
{
    *json = (struct json_writer){.out = out};
}

void json_open(struct json_writer *json, const char *key)
{
    lead(json, key);
    buffer_put_char(json->out, '{');
    json->comma = false;
}

void json_close(struct json_writer *json)
{
    buffer_put_char(json->out, '}');
    json->comma = true;
}

void json_open_list(struct json_writer *json, const char *key)
{
    lead(json, key);
    buffer_put_char(json->out, '[');
    json->comma = false;
}

void json_close_list(struct json_writer *json)
{
    buffer_put_char(json->out, ']');
    json->comma = true;
}

void json_text(struct json_writer *json, const char *key, struct span value)
{
    lead(json, key);
    json_put_text(json->out, value);
}

void json_number(struct json_writer *json, const char *key, double value)
{
    lead(json, key);
    json_put_number(json->out, value);
}

void json_integer(struct json_writer *json, const char *key, int64_t value)
{
    lead(json, key);
    put_integer(json->out, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void json_unsigned(struct json_writer *json, const char *key, uint64_t value)
{
    lead(json, key);
    put_integer(json->out, false, value);
}

void json_bool(struct json_writer *json, const char *key, bool value)
{
    lead(json, key);
    buffer_put_text(json->out, value ? "true" : "false");
}

void json_time(struct json_writer *json, const char *key, int64_t time_us)
{
    char text[TIME_TEXT_SIZE + 2];

    lead(json, key);
    text[0] = text[TIME_TEXT_SIZE + 1] = '"';
    time_format(time_us, text + 1);
    buffer_put(json->out, text, sizeof text);
}

void json_id(struct json_writer *json, const char *key, struct id128 id)
{
    char text[ID_HEX_SIZE + 2];

    lead(json, key);
    text[0] = text[ID_HEX_SIZE + 1] = '"';
    id_format(id, text + 1);
    buffer_put(json->out, text, sizeof text);
}

void json_raw(struct json_writer *json, const char *key, struct span value)
{
    assert(value.size > 0);
    lead(json, key);
    buffer_put_span(json->out, value);
}

void json_key(struct json_writer *json, struct span key)
{
    lead(json, NULL);
    json_put_text(json->out, key);
    buffer_put_char(json->out, ':');
    json->comma = false;
}

void json_text_if(struct json_writer *json, const char *key, struct span value)
{
    if (value.size > 0)
        json_text(json, key, value);
}

void json_number_if(struct json_writer *json, const char *key, double value)
{
    if (isfinite(value))
        json_number(json, key, value);
}

void json_time_if(struct json_writer *json, const char *key, int64_t time_us)
{
    if (time_us != TIME_NONE)
        json_time(json, key, time_us);
}
