/* Writes JSON into a buffer: one object at a time, commas kept by the writer. Texts may hold any bytes:
 * invalid UTF-8 becomes U+FFFD, control characters are escaped. Numbers are the shortest form that reads
 * back equal; NaN and infinities must not be written (an absent value is a key left out). Keys are plain
 * ASCII literals. */
#pragma once
#include "base/buffer.h"
#include "base/hash.h"

struct json_writer {
    struct buffer *out;
    bool comma; /* the next key or element needs one before it */
};

void json_begin(struct json_writer *json, struct buffer *out); /* nothing written yet */
void json_open(struct json_writer *json, const char *key); /* "key":{ ; key NULL: an element or the root */
void json_close(struct json_writer *json);
void json_open_list(struct json_writer *json, const char *key);
void json_close_list(struct json_writer *json);

/* key NULL writes an element of a list. */
void json_text(struct json_writer *json, const char *key, struct span value);
void json_number(struct json_writer *json, const char *key, double value);
void json_integer(struct json_writer *json, const char *key, int64_t value);
void json_unsigned(struct json_writer *json, const char *key, uint64_t value);
void json_bool(struct json_writer *json, const char *key, bool value);
void json_time(struct json_writer *json, const char *key, int64_t time_us); /* RFC 3339, milliseconds */
void json_id(struct json_writer *json, const char *key, struct id128 id);
void json_raw(struct json_writer *json, const char *key, struct span value); /* already JSON */
void json_key(struct json_writer *json, struct span key); /* of any text; its value follows with key NULL */

/* The same, only if there is something to write: size > 0, not NaN or infinite, not TIME_NONE. */
void json_text_if(struct json_writer *json, const char *key, struct span value);
void json_number_if(struct json_writer *json, const char *key, double value);
void json_time_if(struct json_writer *json, const char *key, int64_t time_us);

/* Just the pieces, without key and comma. */
void json_put_text(struct buffer *out, struct span value); /* with quotes */
void json_put_number(struct buffer *out, double value);
void json_put_integer(struct buffer *out, int64_t value);
void json_put_time(struct buffer *out, int64_t time_us); /* with quotes */

/* For documents of a fixed shape in great number: a key that stands ready with comma, quotes and colon. */
enum { JSON_READY_BYTES = 32 };
struct json_ready_key {
    char text[JSON_READY_BYTES];
    uint32_t size;
};

/* The first key of an object has no comma before it. */
static inline void json_put_ready_key(struct buffer *out, const struct json_ready_key *key, bool first)
{
    char *room = buffer_room(out, JSON_READY_BYTES);

    if (!room)
        return;
    memcpy(room, key->text + first, JSON_READY_BYTES - 1);
    out->size += key->size - first;
}

void json_put_ready_text(struct buffer *out, const struct json_ready_key *key, bool first, struct span value);
