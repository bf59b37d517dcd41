/* What a JSON parser tells a json_reader, value by value in the order of the text, and the two parsers.
 * Inside ingest only. */
#pragma once
#include "ingest/json.h"
#include "ingest/paths.h"

struct json_level { /* one open object or array */
    uint32_t place;
    int32_t index; /* of the element last seen */
    bool is_array;
    bool unrolled; /* an array whose elements stand in its own place */
};

enum json_stop { STOP_NONE, STOP_DEPTH, STOP_SECOND, STOP_SHAPE, STOP_ROWS, STOP_FULL };

struct json_reader {
    struct paths paths;
    struct json_value *values; /* by target */
    size_t item_targets;       /* targets of items; the others are outside of them */
    uint32_t item_place;       /* where an item stands */
    struct json_yajl *yajl;    /* the parsers' own; NULL: to be made */
    struct json_walk *walk;
    struct json_shapes *shapes;
    struct json_leaves *leaves; /* NULL: nobody wants them */

    /* the message being read */
    struct span text;
    struct json_level levels[JSON_DEPTH_MAX];
    unsigned depth;
    uint32_t pending; /* place of the value that the last key announced */
    uint32_t place;   /* of the value that was told last */
    bool is_noting;   /* values are to be noted, see json_shapes_read */
    unsigned roots;   /* values begun at the root */
    uint32_t items;
    bool item_place_seen;
    enum json_stop stop;
    struct json_item item;
    json_row *row;
    void *owner;
};

bool json_keep_text(struct json_reader *reader, struct span *text); /* a copy in the batch */

static inline void json_tell(struct json_reader *reader, uint32_t wish, enum json_type type, struct span text)
{
    const struct wish *wishes = reader->paths.wishes;

    for (; wish != WISH_NONE; wish = wishes[wish].next)
        reader->values[wishes[wish].target] = (struct json_value){.type = type, .text = text};
}

/* A value that stands at a place, to whom it concerns. A text without its escapes stands in the parser's own
 * buffer, which the next one overwrites. */
static inline bool json_deliver(struct json_reader *reader, uint32_t place, enum json_type type,
                                struct span text)
{
    const struct span *payload = &reader->item.message->payload;
    uint32_t wish = reader->paths.places[place].wish;

    if (wish == WISH_NONE || type == JSON_NULL)
        return true;
    if (text.size > 0 && (size_t)(text.data - payload->data) >= payload->size &&
        !json_keep_text(reader, &text))
        return false;
    json_tell(reader, wish, type, text);
    return true;
}

/* Events. False: reader->stop says why there is no more to be read. Texts are without escapes and are copied
 * unless they stand in the payload. */
bool json_on_other_scalar(struct json_reader *reader, enum json_type type, struct span text);
static inline bool json_on_scalar(struct json_reader *reader, enum json_type type, struct span text)
{
    bool is_member = reader->depth > 0 && !reader->levels[reader->depth - 1].is_array;

    reader->place = reader->pending;
    if (!is_member || reader->pending == reader->item_place)
        return json_on_other_scalar(reader, type, text);
    return reader->pending == PLACE_NONE || json_deliver(reader, reader->pending, type, text);
}
bool json_on_object(struct json_reader *reader);
void json_on_key(struct json_reader *reader, struct span key);
bool json_on_object_end(struct json_reader *reader);
bool json_on_array(struct json_reader *reader);
void json_on_array_end(struct json_reader *reader);

/* Compared with messages read before. True: all of it was told. False without STOP_FULL: it follows none of
 * them, or is wrong; some of it was told, and who reads it from its beginning notes the values it meets. */
bool json_shapes_read(struct json_reader *reader, struct span payload);
void json_shapes_free(struct json_reader *reader);
uint64_t json_shapes_followed(const struct json_reader *reader); /* messages that were read so, of late */

/* A scalar as it stands in the text, without quotes, or where an object or array begins, once it was told. */
enum json_note { NOTE_TEXT, NOTE_BARE, NOTE_OBJECT, NOTE_ARRAY, NOTE_END };
void json_shapes_note(struct json_reader *reader, enum json_note kind, struct span value);
void json_shapes_learn(struct json_reader *reader); /* all of the message was told, and is right */

/* Tokens found by simdjson. True: the text is one JSON value, and all of it was told. False without
 * STOP_FULL: what is wrong with it is for the other parser to say; some of it was told. */
bool json_walk_read(struct json_reader *reader, struct span payload);
void json_walk_free(struct json_reader *reader);

/* The text, known to be UTF-8, by yajl. NULL: all was told, or reader->stop says why not; else what is
 * wrong, in batch->text. */
const char *json_yajl_read(struct json_reader *reader, struct span payload);
void json_yajl_forget(struct json_reader *reader); /* its state, after what was not read to its end */
void json_yajl_free(struct json_reader *reader);

/* What yajl tells of a reader with leaves, beside the events: the beginning of a message, a key, an object or
 * array that is open or closed, a scalar. False: reader->stop says why. */
void json_leaves_begin(struct json_reader *reader);
void json_leaves_key(struct json_reader *reader, struct span key);
void json_leaves_open(struct json_reader *reader, bool is_array);
void json_leaves_close(struct json_reader *reader);
bool json_leaves_scalar(struct json_reader *reader, enum json_type type, struct span text);
void json_leaves_free(struct json_reader *reader);
