/* The events run about 330 times a message of Airflow's OpenLineage, so what nobody asked for must
 * cost next to nothing: a value at a place that no path leads to is recognised by one comparison. Values
 * are collected by target instead of handed over one by one, because formats decide by several of them
 * at once and their order in the text means nothing.
 * Three parsers make the events. Comparison with messages before is the fastest, the walk over simdjson's
 * index takes what is new; both take good messages only, and what they leave yajl reads again, which knows
 * what is wrong. */
#include "ingest/json_events.h"

#include "base/memory.h"
#include "ingest/sniff.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { REASON_BYTES_MAX = 256 };

bool json_yajl_alone;

const char *const json_type_names[] = {"nothing", "null", "bool", "number", "text", "object", "array"};

struct format { /* json_format_open */
    struct json_reader *reader;
    json_row *row;
};

struct json_reader *json_reader_new(const char *each, const char **ret_problem)
{
    struct json_reader *reader = memory_new(sizeof *reader);
    const char *problem = NULL;

    paths_init(&reader->paths);
    reader->item_place = PLACE_ROOT;
    if (each)
        problem = paths_add(&reader->paths, PLACE_ROOT, each, true, &reader->item_place);
    if (!problem)
        return reader;
    *ret_problem = problem;
    json_reader_free(reader);
    return NULL;
}

void json_reader_free(struct json_reader *reader)
{
    if (!reader)
        return;
    json_yajl_free(reader);
    json_walk_free(reader);
    json_shapes_free(reader);
    json_leaves_free(reader);
    paths_free(&reader->paths);
    free(reader->values);
    free(reader);
}

static void add_wish(struct json_reader *reader, uint32_t place, unsigned target)
{
    paths_wish(&reader->paths, place, target);
    reader->values = memory_grow(reader->values, reader->paths.target_count * sizeof *reader->values);
}

const char *json_reader_add(struct json_reader *reader, const char *path, unsigned target)
{
    uint32_t place;
    const char *problem = paths_add(&reader->paths, reader->item_place, path, false, &place);

    if (problem)
        return problem;
    assert(reader->item_targets == reader->paths.target_count);
    add_wish(reader, place, target);
    reader->item_targets = reader->paths.target_count;
    return NULL;
}

const char *json_reader_add_outer(struct json_reader *reader, const char *path, unsigned target)
{
    uint32_t place;
    const char *problem = paths_add(&reader->paths, PLACE_ROOT, path, false, &place);

    assert(target >= reader->item_targets);
    if (!problem)
        add_wish(reader, place, target);
    return problem;
}

const struct json_value *json_reader_value(const struct json_reader *reader, unsigned target)
{
    assert(target >= reader->item_targets && target < reader->paths.target_count);
    return &reader->values[target];
}

/* Adds paths parted by '|'. */
static const char *add_paths(struct json_reader *reader, const char *paths, unsigned target)
{
    const char *problem = NULL;

    while (*paths && !problem) {
        size_t size = strcspn(paths, "|");
        char *path = memory_text(paths, size);

        problem = json_reader_add(reader, path, target);
        free(path);
        paths += size + (paths[size] == '|');
    }
    return problem;
}

struct json_reader *json_reader_of(const char *each, const char *const *paths, unsigned count)
{
    const char *problem = NULL;
    struct json_reader *reader = json_reader_new(each, &problem);

    for (unsigned i = 0; i < count && !problem; i++)
        problem = add_paths(reader, paths[i], i);
    assert(!problem);
    return reader;
}

static bool stop(struct json_reader *reader, enum json_stop why)
{
    reader->stop = why;
    return false;
}

/* The place of the value that begins now; PLACE_NONE when nobody asked for it or anything in it. */
static uint32_t next_place(struct json_reader *reader)
{
    struct json_level *level = &reader->levels[reader->depth ? reader->depth - 1 : 0];

    if (reader->depth == 0)
        reader->place = PLACE_ROOT;
    else if (!level->is_array)
        reader->place = reader->pending;
    else if (++level->index, level->unrolled || level->place == PLACE_NONE)
        reader->place = level->place;
    else
        reader->place = paths_element(&reader->paths, level->place, level->index);
    return reader->place;
}

bool json_keep_text(struct json_reader *reader, struct span *text)
{
    return arena_copy(&reader->item.batch->text, *text, text) || stop(reader, STOP_FULL);
}

static bool item_add_row(struct json_reader *reader)
{
    struct event_batch *batch = reader->item.batch;
    uint32_t number = reader->items++;

    reader->item_place_seen = true;
    if (number == BATCH_ROWS_MAX)
        return stop(reader, STOP_ROWS);
    reader->item.row = event_batch_add(batch);
    if (reader->item.row == UINT32_MAX)
        return stop(reader, STOP_FULL);
    batch->item[reader->item.row] = (uint16_t)number;
    return true;
}

static void mark_bad(struct json_reader *reader, const char *reason)
{
    assert(reason);
    reader->item.batch->mark[reader->item.row] = MARK_MALFORMED;
    reader->item.batch->reason[reader->item.row] = reason;
}

static bool item_end(struct json_reader *reader)
{
    const char *reason = NULL;

    if (!item_add_row(reader))
        return false;
    switch (reader->row(reader->owner, &reader->item, &reason)) {
    case JSON_ROW_KEPT:
        break;
    case JSON_ROW_BAD:
        mark_bad(reader, reason);
        break;
    case JSON_ROW_DROPPED:
        reader->item.batch->rows = reader->item.row;
        break;
    case JSON_ROW_FULL:
        return stop(reader, STOP_FULL);
    }
    return true;
}

static bool item_is_no_object(struct json_reader *reader)
{
    if (reader->depth == 0)
        return stop(reader, STOP_SHAPE);
    if (!item_add_row(reader))
        return false;
    mark_bad(reader, "item is not a JSON object");
    return true;
}

static bool push(struct json_reader *reader, struct json_level level)
{
    if (reader->depth == JSON_DEPTH_MAX)
        return stop(reader, STOP_DEPTH);
    reader->levels[reader->depth++] = level;
    return true;
}

static bool begin_root(struct json_reader *reader)
{
    return reader->depth > 0 || reader->roots++ == 0 || stop(reader, STOP_SECOND);
}

bool json_on_other_scalar(struct json_reader *reader, enum json_type type, struct span text)
{
    if (!begin_root(reader))
        return false;
    uint32_t place = next_place(reader);

    if (place == PLACE_NONE)
        return true;
    if (reader->depth == 0 || place == reader->item_place)
        return item_is_no_object(reader);
    return json_deliver(reader, place, type, text);
}

bool json_on_object(struct json_reader *reader)
{
    if (!begin_root(reader))
        return false;
    uint32_t place = next_place(reader);

    if (place != PLACE_NONE && place == reader->item_place) {
        reader->item_place_seen = true;
        memset(reader->values, 0, reader->item_targets * sizeof *reader->values);
    } else if (place != PLACE_NONE && !json_deliver(reader, place, JSON_OBJECT, (struct span){0})) {
        return false;
    }
    return push(reader, (struct json_level){.place = place});
}

void json_on_key(struct json_reader *reader, struct span key)
{
    uint32_t place = reader->levels[reader->depth - 1].place;

    reader->pending = place == PLACE_NONE ? PLACE_NONE : paths_key(&reader->paths, place, key.data, key.size);
}

bool json_on_object_end(struct json_reader *reader)
{
    assert(reader->depth > 0);
    const struct json_level *level = &reader->levels[--reader->depth];

    return level->place == PLACE_NONE || level->place != reader->item_place || item_end(reader);
}

/* An array at the root, or where the items should be, gives its elements as items; an array in it is a
 * bad item. */
bool json_on_array(struct json_reader *reader)
{
    if (!begin_root(reader))
        return false;
    uint32_t place = next_place(reader);
    struct json_level level = {.place = place, .index = -1, .is_array = true};

    if (place == PLACE_NONE)
        return push(reader, level);
    if (reader->depth == 0) {
        level.unrolled = !paths_is_array(&reader->paths, PLACE_ROOT);
    } else if (place == reader->item_place) {
        level.unrolled = !reader->levels[reader->depth - 1].unrolled;
        if (!level.unrolled) {
            level.place = PLACE_NONE;
            return item_is_no_object(reader) && push(reader, level);
        }
    } else if (!json_deliver(reader, place, JSON_ARRAY, (struct span){0})) {
        return false;
    }
    if (place == reader->item_place || paths_takes_all(&reader->paths, place))
        reader->item_place_seen = true;
    return push(reader, level);
}

void json_on_array_end(struct json_reader *reader)
{
    assert(reader->depth > 0);
    reader->depth--;
}

/* Position of the first byte that is not UTF-8; the size when all is well. */
static size_t utf8_valid_size(struct span text)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t i = 0;

    while (i < text.size) {
        uint64_t eight;

        if (text.size - i >= sizeof eight) {
            memcpy(&eight, bytes + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        size_t size = bytes[i] < 0x80 ? 1 : utf8_sequence_size(bytes + i, text.size - i);
        if (size == 0)
            break;
        i += size;
    }
    return i;
}

/* NULL: this is no verdict on the message, the batch just has no room left for it. */
static const char *stop_reason(const struct json_reader *reader, uint32_t rows_before)
{
    switch (reader->stop) {
    case STOP_DEPTH:
        return "nesting deeper than 64";
    case STOP_SHAPE:
        return "not a JSON object";
    case STOP_ROWS:
        return "more than 8192 items in one message";
    case STOP_FULL:
        return rows_before == 0 ? "does not fit into an empty batch" : NULL;
    case STOP_SECOND: /* yajl tells it */
    case STOP_NONE:
        break;
    }
    assert(!"stopped, but by nobody");
    return NULL;
}

static bool is_binary(struct span payload, size_t valid)
{
    const char *blanks = "\t\n\r ";
    size_t start = 0;

    while (start < payload.size && memchr(blanks, payload.data[start], strlen(blanks)))
        start++;
    if (start < payload.size && memchr("{[", payload.data[start], 2))
        return false;
    for (size_t i = start; i < payload.size; i++)
        if ((unsigned char)payload.data[i] < ' ' && !memchr(blanks, payload.data[i], strlen(blanks)))
            return true;
    return valid < payload.size;
}

/* NULL, or why the bytes cannot be JSON text. */
static const char *encoding_reason(struct event_batch *batch, struct span payload)
{
    const unsigned char *bytes = (const unsigned char *)payload.data;
    size_t valid = utf8_valid_size(payload);

    if (payload.size >= 4 && memcmp(bytes, "Obj\x01", 4) == 0)
        return "an Avro container file, not JSON";
    if (payload.size > 5 && bytes[0] == 0)
        return reason_print(
            batch, "Avro of schema id %u, not JSON (or another encoding behind a registry header)",
            (unsigned)bytes[1] << 24 | (unsigned)bytes[2] << 16 | (unsigned)bytes[3] << 8 | bytes[4]);
    if (is_binary(payload, valid))
        return "binary data (as Protobuf is), not JSON";
    return valid < payload.size ? reason_print(batch, "invalid UTF-8 at byte %zu", valid) : NULL;
}

static void begin(struct json_reader *reader)
{
    reader->depth = reader->roots = reader->items = 0;
    reader->item_place_seen = false;
    reader->stop = STOP_NONE;
    memset(reader->values + reader->item_targets, 0, /* an item clears its own when it begins */
           (reader->paths.target_count - reader->item_targets) * sizeof *reader->values);
}

/* NULL, or what is wrong with the message; reader->stop where it was not read to its end. */
static const char *read_message(struct json_reader *reader, struct span payload)
{
    static bool (*const fast[])(struct json_reader *, struct span) = {json_shapes_read, json_walk_read};
    struct event_batch *batch = reader->item.batch;
    uint32_t rows_before = batch->rows;

    begin(reader);
    reader->text = payload;
    for (size_t i = 0; i < sizeof fast / sizeof *fast && !json_yajl_alone && !reader->leaves; i++) {
        if (fast[i](reader, payload) || reader->stop == STOP_FULL)
            return NULL;
        batch->rows = rows_before;
        begin(reader);
    }
    const char *reason = encoding_reason(batch, payload);

    return reason ? reason : json_yajl_read(reader, payload);
}

enum status json_reader_decode(struct json_reader *reader, const struct message *message,
                               struct event_batch *batch, json_row *row, void *owner, const char **ret_reason)
{
    uint32_t rows_before = batch->rows;

    if (message->payload.size == 0)
        return format_add_tombstone(batch);
    assert(reader->paths.target_count > 0);
    reader->item = (struct json_item){.values = reader->values, .message = message, .batch = batch};
    reader->row = row;
    reader->owner = owner;
    const char *reason = read_message(reader, sniff_json(message->payload));

    if (!reason && reader->stop != STOP_NONE) {
        reason = stop_reason(reader, rows_before);
        if (!reason) {
            batch->rows = rows_before;
            json_yajl_forget(reader);
            return STATUS_RETRY;
        }
    } else if (!reason && reader->roots == 0) {
        reason = "not a JSON object";
    } else if (!reason && !reader->item_place_seen) {
        reason = "nothing where `each` points to";
    }
    if (!reason)
        return STATUS_OK;
    batch->rows = rows_before;
    json_yajl_forget(reader);
    *ret_reason = reason;
    return STATUS_SKIP;
}

static bool any_good_row(const struct event_batch *batch, uint32_t first)
{
    for (uint32_t row = first; row < batch->rows; row++)
        if (batch->mark[row] != MARK_MALFORMED)
            return true;
    return batch->rows == first;
}

enum status json_format_open(const char *const *paths, unsigned count, json_row *row,
                             struct format **ret_format)
{
    struct format *format = memory_new(sizeof *format);

    format->reader = json_reader_of(NULL, paths, count);
    format->row = row;
    *ret_format = format;
    return STATUS_OK;
}

enum status json_name_foreign(enum status status, const struct message *message, struct event_batch *batch,
                              uint32_t first_row, const char **ret_reason)
{
    if (status != STATUS_OK || any_good_row(batch, first_row))
        return status;
    const char *name = sniff_foreign(message->payload);
    if (!name)
        return STATUS_OK;
    batch->rows = first_row;
    *ret_reason = reason_print(batch, "looks like %s; no format reads it yet", name);
    return STATUS_SKIP;
}

enum status json_format_decode(struct format *format, const struct message *message,
                               struct event_batch *batch, const char **ret_reason)
{
    uint32_t first_row = batch->rows;
    enum status status = json_reader_decode(format->reader, message, batch, format->row, NULL, ret_reason);

    return json_name_foreign(status, message, batch, first_row, ret_reason);
}

void json_format_close(struct format *format)
{
    json_reader_free(format->reader);
    free(format);
}

const char *reason_print(struct event_batch *batch, const char *format, ...)
{
    char text[REASON_BYTES_MAX];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    size_t bytes = ((size_t)size < sizeof text ? (size_t)size : sizeof text - 1) + 1;
    char *copy = arena_take(&batch->text, bytes);
    if (!copy)
        return "malformed (no room for the reason)";
    memcpy(copy, text, bytes);
    return copy;
}
