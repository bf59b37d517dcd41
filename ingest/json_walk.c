/* JSON by a walk over simdjson's index of tokens. The index tells where a token begins; its end is the last
 * byte before the next one that is no blank, so that no text is looked at byte by byte unless it has escapes.
 * Takes only what is right, and leaves what is not to yajl. */
#include "ingest/json_events.h"
#include "ingest/json_index.h"
#include "ingest/json_text.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { TEXT_BYTES_MAX = 16 * 1024 * 1024 };

struct json_walk {
    struct json_index *index;
    struct buffer text; /* of a token that had escapes */

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

/* What a token of a text says, without quotes and escapes. */
static bool read_text(struct json_walk *walk, struct span token, struct span *ret_text)
{
    if (token.size < 2 || token.data[token.size - 1] != '"')
        return false;
    *ret_text = span_make(token.data + 1, token.size - 2);
    if (!walk->has_escapes || !memchr(ret_text->data, '\\', ret_text->size))
        return true;
    if (!json_unescape(*ret_text, &walk->text))
        return false;
    *ret_text = buffer_span(&walk->text);
    return true;
}

static bool scalar(struct json_reader *reader, struct json_walk *walk)
{
    struct span token = take(walk), text = token;
    enum json_type type = JSON_NUMBER;

    if (token.data[0] == '"') {
        if (!read_text(walk, token, &text) || !json_on_scalar(reader, JSON_TEXT, text))
            return false;
        json_shapes_note(reader, NOTE_TEXT, span_make(token.data + 1, token.size - 2));
        return true;
    }
    if (span_is(token, "null"))
        type = JSON_NULL;
    else if (span_is(token, "true") || span_is(token, "false"))
        type = JSON_BOOL;
    else if (!json_is_number(token))
        return false;
    if (!json_on_scalar(reader, type, token))
        return false;
    json_shapes_note(reader, NOTE_BARE, token);
    return true;
}

static bool key(struct json_reader *reader, struct json_walk *walk)
{
    struct span text;

    if (peek(walk) != '"' || !read_text(walk, take(walk), &text) || peek(walk) != ':')
        return false;
    walk->at++;
    json_on_key(reader, text);
    return true;
}

/* One value. True with *ret_open: an object or array that is not empty was begun, and its first value comes
 * next. */
static bool value(struct json_reader *reader, struct json_walk *walk, bool *ret_open)
{
    char first = peek(walk);

    *ret_open = false;
    if (first == '{') {
        if (!json_on_object(reader))
            return false;
        json_shapes_note(reader, NOTE_OBJECT, span_make(take(walk).data, 0));
        *ret_open = peek(walk) != '}';
        if (*ret_open)
            return key(reader, walk);
        walk->at++;
        return json_on_object_end(reader);
    }
    if (first == '[') {
        if (!json_on_array(reader))
            return false;
        json_shapes_note(reader, NOTE_ARRAY, span_make(take(walk).data, 0));
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
    walk->payload = payload;
    walk->at = 0;
    walk->has_escapes = memchr(payload.data, '\\', payload.size) != NULL;
    while (more) {
        if (!value(reader, walk, &open))
            return false;
        if (!open && !after_value(reader, walk, &more))
            return false;
    }
    if (walk->at < walk->count)
        return false;
    json_shapes_learn(reader);
    return true;
}
