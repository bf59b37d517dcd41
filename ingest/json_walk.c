/* JSON by a walk over simdjson's index of tokens. The index tells where a token begins; its end is the last
 * byte before the next one that is no blank, so that no text is looked at byte by byte unless it has escapes.
 * Messages of one producer have the same keys in the same order: a key is compared with the one that stood at
 * its place among the tokens in the last message, which is the whole look-up when they are equal.
 * Takes only what is right, and leaves what is not to yajl. */
#include "ingest/json_events.h"
#include "ingest/json_index.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { TEXT_BYTES_MAX = 16 * 1024 * 1024, GUESSES = 256, GUESS_BYTES = 36 };

struct guess { /* what the last key at a place among the tokens was and led to */
    uint32_t from, child;
    uint32_t size; /* of the token; 0: none, one with escapes, or too long */
    char token[GUESS_BYTES];
};

struct json_walk {
    struct json_index *index;
    struct buffer text; /* of a token that had escapes */
    struct guess guesses[GUESSES];
    size_t wishes; /* paths wished for when they were made */

    /* the message being read */
    struct span payload;
    const uint32_t *positions;
    size_t count, at;
    bool has_escapes;
};

void json_walk_free(struct json_reader *reader)
{
    if (!reader->walk)
        return;
    json_index_free(reader->walk->index);
    buffer_free(&reader->walk->text);
    free(reader->walk);
}

/* First byte of the token that comes next; a null byte where there is none. */
static char peek(const struct json_walk *walk)
{
    return walk->at < walk->count ? walk->payload.data[walk->positions[walk->at]] : '\0';
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* The token that comes next, passed over. */
static struct span take(struct json_walk *walk)
{
    size_t start = walk->positions[walk->at++];
    size_t end = walk->at < walk->count ? walk->positions[walk->at] : walk->payload.size;

    while (is_blank(walk->payload.data[end - 1]))
        end--;
    return span_make(walk->payload.data + start, end - start);
}

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

static bool unescape(struct span text, struct buffer *out)
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

/* The text that comes next, without quotes and escapes. */
static bool take_text(struct json_walk *walk, struct span *ret_text)
{
    struct span token = take(walk);

    if (token.size < 2 || token.data[token.size - 1] != '"')
        return false;
    *ret_text = span_make(token.data + 1, token.size - 2);
    if (!walk->has_escapes || !memchr(ret_text->data, '\\', ret_text->size))
        return true;
    if (!unescape(*ret_text, &walk->text))
        return false;
    *ret_text = buffer_span(&walk->text);
    return true;
}

static size_t digits(struct span text, size_t at)
{
    size_t start = at;

    while (at < text.size && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    return at - start;
}

static bool is_number(struct span text)
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

static bool scalar(struct json_reader *reader, struct json_walk *walk)
{
    struct span text;

    if (peek(walk) == '"')
        return take_text(walk, &text) && json_on_scalar(reader, JSON_TEXT, text);
    text = take(walk);
    if (span_is(text, "null"))
        return json_on_scalar(reader, JSON_NULL, (struct span){0});
    if (span_is(text, "true") || span_is(text, "false"))
        return json_on_scalar(reader, JSON_BOOL,
                              text.size == 4 ? SPAN_LITERAL("true") : SPAN_LITERAL("false"));
    return is_number(text) && json_on_scalar(reader, JSON_NUMBER, text);
}

/* Stands the key at `at` that was there in the last message? */
static bool is_as_guessed(const struct json_walk *walk, const struct guess *guess, size_t at, uint32_t from)
{
    size_t start = walk->positions[at];

    return guess->size && guess->from == from && at + 1 < walk->count &&
           walk->payload.size - start >= guess->size &&
           memcmp(walk->payload.data + start, guess->token, guess->size) == 0 &&
           walk->payload.data[walk->positions[at + 1]] == ':';
}

/* What most of a message is: members of an object that are texts under keys as guessed. Ends at the value
 * of the first that is not, or that is not followed by another. */
static bool take_members(struct json_reader *reader, struct json_walk *walk)
{
    const uint32_t *positions = walk->positions;
    const char *data = walk->payload.data;
    uint32_t from = reader->levels[reader->depth - 1].place;
    size_t at = walk->at;

    for (; at + 2 < walk->count && data[positions[at]] == '"' && data[positions[at + 1]] == ','; at += 4) {
        const struct guess *guess = &walk->guesses[(at + 2) % GUESSES];
        const char *start = data + positions[at] + 1, *end = data + positions[at + 1] - 1;

        if (*end != '"' || end < start || (walk->has_escapes && memchr(start, '\\', (size_t)(end - start))) ||
            !is_as_guessed(walk, guess, at + 2, from))
            break;
        if (!json_on_scalar(reader, JSON_TEXT, span_make(start, (size_t)(end - start))))
            return false;
        reader->pending = guess->child;
    }
    walk->at = at;
    return true;
}

static bool key(struct json_reader *reader, struct json_walk *walk)
{
    struct guess *guess = &walk->guesses[walk->at % GUESSES];
    uint32_t from = reader->levels[reader->depth - 1].place;
    struct span text;

    if (walk->at == walk->count)
        return false;
    if (is_as_guessed(walk, guess, walk->at, from)) {
        reader->pending = guess->child;
        walk->at += 2;
        return true;
    }
    const char *token = walk->payload.data + walk->positions[walk->at];
    if (*token != '"' || !take_text(walk, &text) || peek(walk) != ':')
        return false;
    walk->at++;
    json_on_key(reader, text);
    bool fits = text.data == token + 1 && text.size + 2 <= GUESS_BYTES;
    *guess = (struct guess){.from = from, .child = reader->pending, .size = fits ? text.size + 2 : 0};
    memcpy(guess->token, token, guess->size);
    return true;
}

/* One value. True with *ret_open: an object or array that is not empty was begun, and its first value comes
 * next. */
static bool value(struct json_reader *reader, struct json_walk *walk, bool *ret_open)
{
    char first = peek(walk);

    *ret_open = false;
    if (first == '{') {
        walk->at++;
        if (!json_on_object(reader))
            return false;
        *ret_open = peek(walk) != '}';
        if (*ret_open)
            return key(reader, walk);
        walk->at++;
        return json_on_object_end(reader);
    }
    if (first == '[') {
        walk->at++;
        if (!json_on_array(reader))
            return false;
        *ret_open = peek(walk) != ']';
        if (*ret_open)
            return true;
        walk->at++;
        json_on_array_end(reader);
        return true;
    }
    return first && scalar(reader, walk);
}

/* What stands behind a value: ends what ends there. True with *ret_more: another value of the same object or
 * array comes next; without: the text's value is over. */
static bool after_value(struct json_reader *reader, struct json_walk *walk, bool *ret_more)
{
    *ret_more = false;
    while (reader->depth > 0) {
        bool is_array = reader->levels[reader->depth - 1].is_array;
        char byte = peek(walk);

        walk->at++;
        if (byte == ',') {
            *ret_more = true;
            return is_array || key(reader, walk);
        }
        if (byte != (is_array ? ']' : '}'))
            return false;
        if (is_array)
            json_on_array_end(reader);
        else if (!json_on_object_end(reader))
            return false;
    }
    return true;
}

bool json_walk_read(struct json_reader *reader, struct span payload)
{
    bool open, more = true;

    if (!reader->walk) {
        reader->walk = memory_new(sizeof *reader->walk);
        reader->walk->index = json_index_new();
        buffer_init(&reader->walk->text, TEXT_BYTES_MAX);
    }
    struct json_walk *walk = reader->walk;

    if (!json_index_make(walk->index, payload.data, payload.size, &walk->positions, &walk->count))
        return false;
    if (walk->wishes != reader->paths.wish_count) {
        memset(walk->guesses, 0, sizeof walk->guesses);
        walk->wishes = reader->paths.wish_count;
    }
    walk->payload = payload;
    walk->at = 0;
    walk->has_escapes = memchr(payload.data, '\\', payload.size) != NULL;
    while (more) {
        if (reader->depth > 0 && !reader->levels[reader->depth - 1].is_array && !take_members(reader, walk))
            return false;
        if (!value(reader, walk, &open))
            return false;
        if (!open && !after_value(reader, walk, &more))
            return false;
    }
    return walk->at == walk->count;
}
