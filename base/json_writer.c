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
enum { SHORTEST_BYTES_MAX = 32 }; /* a sign, a point, 17 digits, a power of ten or leading zeros */

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
    if (value >= 0 && value < 10)
        buffer_put_char(out, (char)('0' + value));
    else
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

/* As "%.*g" writes the fewest of 15 to 17 digits that read back equal, of a number that has a fraction. */
static bool put_shortest(struct buffer *out, double value)
{
    char text[SHORTEST_BYTES_MAX] = "-", *at = text + 1;
    struct digits digits;

    if (!digits_shortest(value, &digits))
        return false;
    for (; digits.number % 10 == 0; digits.number /= 10)
        digits.places--;
    assert(digits.places > 0);
    unsigned count = count_digits(digits.number);
    int exponent = (int)count - 1 - digits.places;
    if (exponent >= 0) {
        put_digits(at + 1 + count, count, digits.number);
        memmove(at, at + 1, (size_t)exponent + 1);
        at[exponent + 1] = '.';
        at += count + 1;
    } else if (exponent >= -4) {
        memcpy(at, "0.000", 5);
        at += 1 - exponent;
        put_digits(at + count, count, digits.number);
        at += count;
    } else {
        put_digits(at + 1 + count, count, digits.number);
        at[0] = at[1];
        at[1] = '.';
        at += count > 1 ? count + 1 : 1;
        memcpy(at, "e-", 2);
        digits_put_two(at + 2, (unsigned)-exponent);
        at += 4;
    }
    buffer_put(out, text + (value >= 0), (size_t)(at - text) - (value >= 0));
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
    if (put_short_decimal(out, value) || put_shortest(out, value))
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

static block copy_block(char *to, const char *from)
{
    block bytes = *(const block *)from;

    *(block *)to = bytes;
    return marked(bytes);
}

static uint64_t copy_eight(char *to, const char *from)
{
    uint64_t bytes;

    memcpy(&bytes, from, sizeof bytes);
    memcpy(to, &bytes, sizeof bytes);
    return bytes;
}

static uint64_t copy_four(char *to, const char *from)
{
    uint32_t bytes;

    memcpy(&bytes, from, sizeof bytes);
    memcpy(to, &bytes, sizeof bytes);
    return bytes;
}

/* Of 4 to 15 bytes, from both ends. */
static block copy_short(char *to, const char *from, size_t size)
{
    uint64_t halves[2];
    block bytes;

    if (size >= 8) {
        halves[0] = copy_eight(to, from);
        halves[1] = copy_eight(to + size - 8, from + size - 8);
    } else {
        halves[0] = copy_four(to, from) | copy_four(to + size - 4, from + size - 4) << 32;
        halves[1] = halves[0];
    }
    memcpy(&bytes, halves, sizeof bytes);
    return marked(bytes);
}

static bool is_clean(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

/* Copies a text and tells whether all of it may be copied as it is. */
static bool copy_clean(char *to, const char *from, size_t size)
{
    block marks = {0};
    bool clean = true;

    if (size >= sizeof(block)) {
        for (size_t i = 0; i + sizeof(block) <= size; i += sizeof(block))
            marks |= copy_block(to + i, from + i);
        marks |= copy_block(to + size - sizeof(block), from + size - sizeof(block));
    } else if (size >= 4) {
        marks = copy_short(to, from, size);
    } else {
        for (size_t i = 0; i < size; i++) {
            to[i] = from[i];
            clean &= is_clean(from[i]);
        }
    }
    return clean && !any(marks);
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

/* The first byte from `at` on that may not be copied as it is, or the end. */
static size_t skip_clean(const char *bytes, size_t at, size_t size)
{
    while (at + sizeof(block) <= size && !any(marked(*(const block *)(bytes + at))))
        at += sizeof(block);
    while (at < size && is_clean(bytes[at]))
        at++;
    return at;
}

/* A text that is not clean, behind its first quote. Apart, for the registers that it needs. */
__attribute__((noinline)) static void put_unclean(struct buffer *out, struct span value)
{
    const unsigned char *bytes = (const unsigned char *)value.data;
    size_t copied = 0, at = 0, size = value.size;

    while ((at = skip_clean(value.data, at, size)) < size) {
        size_t length = bytes[at] >= 0x80 ? utf8_sequence_size(bytes + at, size - at) : 0;

        if (length == 0) {
            buffer_put(out, bytes + copied, at - copied);
            put_escape(out, bytes[at]);
            copied = at + 1;
            length = 1;
        }
        at += length;
    }
    buffer_put(out, bytes + copied, size - copied);
    buffer_put_char(out, '"');
}

/* Room for the text as it is was made. */
static void put_text(struct buffer *out, struct span value)
{
    char *room = out->data + out->size;

    room[0] = '"';
    if (copy_clean(room + 1, value.data, value.size)) {
        room[value.size + 1] = '"';
        out->size += (size_t)value.size + 2;
    } else {
        out->size++;
        put_unclean(out, value);
    }
}

void json_put_text(struct buffer *out, struct span value)
{
    if (buffer_room(out, (size_t)value.size + 2))
        put_text(out, value);
}

void json_put_ready_text(struct buffer *out, const struct json_ready_key *key, bool first, struct span value)
{
    if (!buffer_room(out, JSON_READY_BYTES + (size_t)value.size + 2))
        return;
    json_put_ready_key(out, key, first);
    put_text(out, value);
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
