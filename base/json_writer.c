/* JSON out: every document and line passes here, some thirty keys each, so texts are copied in clean runs
 * found sixteen bytes at a time and numbers avoid printf where an exact shorter way is known. A generator
 * with a state stack (yajl's) was dropped: the callers' shape is fixed, so one comma flag is all the state
 * there is. */
#include "base/json_writer.h"

#include "base/digits.h"
#include "base/timestamp.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIGITS_MAX = 20, MICRO_DIGITS = 6, NUMBER_BYTES_MAX = DIGITS_MAX + MICRO_DIGITS };

static unsigned count_digits(uint64_t number)
{
    unsigned digits = 1;

    for (; number >= 10000; number /= 10000)
        digits += 4;
    return digits + (number >= 10) + (number >= 100) + (number >= 1000);
}

/* The last `count` decimal digits of a number, ending before `end`. */
static void put_digits(char *end, unsigned count, uint64_t number)
{
    for (; count > 1; count -= 2, number /= 100)
        digits_put_two(end -= 2, (unsigned)(number % 100));
    if (count)
        end[-1] = (char)('0' + number % 10);
}

static void put_integer(struct buffer *out, bool negative, uint64_t magnitude)
{
    unsigned digits = count_digits(magnitude);
    char *room = buffer_room(out, negative + digits);

    if (!room)
        return;
    room[0] = '-';
    put_digits(room + negative + digits, digits, magnitude);
    out->size += negative + digits;
}

void json_put_integer(struct buffer *out, int64_t value)
{
    put_integer(out, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

/* Numbers with at most six decimals and fifteen digits, nearly all that occur: the scaled integer is
 * exact, and dividing it rounds as reading the text does, so equality here proves that the text reads back
 * equal. */
static bool put_short_decimal(struct buffer *out, double value)
{
    char text[NUMBER_BYTES_MAX];

    if (fabs(value) >= 1e9)
        return false;
    int64_t scaled = llrint(value * 1e6);
    if ((double)scaled / 1e6 != value)
        return false;
    uint64_t magnitude = (uint64_t)(scaled < 0 ? -scaled : scaled), whole = magnitude / 1000000;
    unsigned digits = count_digits(whole);
    char *point = text + 1 + digits, *end = point + 1 + MICRO_DIGITS;

    text[0] = '-';
    put_digits(point, digits, whole);
    *point = '.';
    put_digits(end, MICRO_DIGITS, magnitude % 1000000);
    while (end[-1] == '0')
        end--;
    buffer_put(out, text + (value >= 0), (size_t)(end - text) - (value >= 0));
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

typedef signed char block __attribute__((vector_size(16), aligned(1), may_alias));

/* Not zero where a byte may not be copied as it is: only printable ASCII without quote and backslash may.
 * Bytes above 0x7F are negative. */
static block marked(block bytes)
{
    return (bytes < ' ') | (bytes == '"') | (bytes == '\\');
}

static bool any(block marks)
{
    uint64_t halves[2];

    memcpy(halves, &marks, sizeof marks);
    return (halves[0] | halves[1]) != 0;
}

static bool is_marked(const unsigned char *at)
{
    return any(marked(*(const block *)at));
}

/* Of 4 to 16 bytes, read from both ends. */
static bool is_short_marked(const unsigned char *at, size_t size)
{
    uint64_t halves[2];
    block bytes;

    if (size >= 8) {
        memcpy(&halves[0], at, 8);
        memcpy(&halves[1], at + size - 8, 8);
    } else {
        memcpy(&halves[0], at, 4);
        memcpy((char *)&halves[0] + 4, at + size - 4, 4);
        halves[1] = halves[0];
    }
    memcpy(&bytes, halves, sizeof bytes);
    return any(marked(bytes));
}

static bool is_clean(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes from `at` on may be copied as they are. */
static size_t clean_run(const unsigned char *at, size_t size)
{
    size_t i = 0;

    while (i + sizeof(block) <= size && !is_marked(at + i))
        i += sizeof(block);
    if (i && i + sizeof(block) > size && !is_marked(at + size - sizeof(block)))
        return size;
    if (size >= 4 && size < sizeof(block) && !is_short_marked(at, size))
        return size;
    while (i < size && is_clean(at[i]))
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

/* A text that is not clean from `at` on, behind its first quote. Apart, for the registers that it needs. */
__attribute__((noinline)) static void put_unclean(struct buffer *out, const unsigned char *bytes, size_t size,
                                                  size_t at)
{
    size_t copied = 0;

    while (at < size) {
        size_t length = bytes[at] >= 0x80 ? utf8_sequence_size(bytes + at, size - at) : 0;

        if (length == 0) {
            buffer_put(out, bytes + copied, at - copied);
            put_escape(out, bytes[at]);
            copied = at + 1;
            length = 1;
        }
        at += length;
        at += clean_run(bytes + at, size - at);
    }
    buffer_put(out, bytes + copied, size - copied);
    buffer_put_char(out, '"');
}

void json_put_text(struct buffer *out, struct span value)
{
    const unsigned char *bytes = (const unsigned char *)value.data;
    size_t clean = clean_run(bytes, value.size), size = value.size;
    char *room;

    if (clean < size) {
        buffer_put_char(out, '"');
        put_unclean(out, bytes, size, clean);
        return;
    }
    if (!(room = buffer_room(out, size + 2)))
        return;
    room[0] = '"';
    if (size)
        memcpy(room + 1, bytes, size);
    room[size + 1] = '"';
    out->size += size + 2;
}

void json_put_time(struct buffer *out, int64_t time_us)
{
    char *room = buffer_room(out, TIME_TEXT_SIZE + 2);

    if (!room)
        return;
    room[0] = room[TIME_TEXT_SIZE + 1] = '"';
    time_format(time_us, room + 1);
    out->size += TIME_TEXT_SIZE + 2;
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
    json_put_integer(json->out, value);
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
    lead(json, key);
    json_put_time(json->out, time_us);
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
