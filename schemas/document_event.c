/* The document of an event, written once an event that a sink copies (up to a million a second). What all
 * rows of a batch share is made once a batch: the texts between the fields, which columns have any value at
 * all (of some forty mostly ten), and the part of the id before the offset. Each key stands ready with its
 * quotes and comma.
 * Tried and dropped: the json_writer of the other documents, which looks for each column in each row and
 * measures and copies each key. */
#include "schemas/documents_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHARED_BYTES_MAX = 64 * 1024 * 1024 };
enum { ROW_ID_BYTES = 2 * sizeof(int64_t) }; /* offset and item, each an integer of an id */

struct column {
    const void *values;
    const struct json_ready_key *key;
    enum field field;
};

struct piece {
    uint32_t start, size; /* in `shared` */
};

struct event_writer {
    struct json_ready_key keys[FIELD_COUNT], openings[OBJECTS]; /* ,"weir":{ */

    const struct event_batch *batch;
    struct column columns[FIELD_COUNT]; /* those with a value, by object */
    unsigned ends[OBJECTS];             /* of each object's columns */
    unsigned labels[LABELS_MAX], label_count;

    struct buffer shared;
    struct piece head;                   /* {"weir":{"schema":1,... */
    struct piece place;                  /* ,"topic":"t","partition":0,"offset": */
    struct piece ecs;                    /* },"ecs":{"version":... */
    struct piece outcomes[STATE_COUNT];  /* ,"type":"end","outcome":"success" */
    struct piece label_keys[LABELS_MAX]; /* "team": */

    struct id_builder id; /* the parts before the offset: it is set back to what follows */
    struct id128 id_chain;
    uint32_t id_used;
    char id_first[ROW_ID_BYTES]; /* of the block, which a row's part may run over */
};

#define PUT(out, literal) buffer_put(out, literal, sizeof(literal) - 1)

static void put_piece(const struct event_writer *writer, struct piece piece, struct buffer *out)
{
    buffer_put(out, writer->shared.data + piece.start, piece.size);
}

static void ready(struct json_ready_key *key, const char *format, const char *name)
{
    int size = snprintf(key->text, JSON_READY_BYTES, format, name);

    assert(size > 0 && size < JSON_READY_BYTES);
    key->size = (uint32_t)size;
}

struct event_writer *event_writer_new(void)
{
    struct event_writer *writer = memory_new(sizeof *writer);

    for (unsigned i = 0; i < OBJECTS; i++) {
        const struct object_row *object = &object_rows[i];

        if (object->name)
            ready(&writer->openings[i], ",\"%s\":{", object->name);
        for (unsigned field = object->first; field < object->end; field++)
            ready(&writer->keys[field], ",\"%s\":", object_key(object, field));
    }
    buffer_init(&writer->shared, SHARED_BYTES_MAX);
    return writer;
}

void event_writer_free(struct event_writer *writer)
{
    buffer_free(&writer->shared);
    free(writer);
}

static bool has_text(const struct span *texts, uint32_t rows)
{
    uint32_t row = 0;

    while (row < rows && !texts[row].size)
        row++;
    return row < rows;
}

static bool has_value(const void *values, enum field_type type, uint32_t rows)
{
    uint32_t row = 0;

    switch (type) {
    case FIELD_TEXT:
        return has_text(values, rows);
    case FIELD_TIME:
        while (row < rows && ((const int64_t *)values)[row] == TIME_NONE)
            row++;
        return row < rows;
    case FIELD_NUMBER:
        while (row < rows && !isfinite(((const double *)values)[row]))
            row++;
        return row < rows;
    default:
        return true;
    }
}

static void find_columns(struct event_writer *writer, const struct event_batch *batch)
{
    unsigned count = 0;

    for (unsigned i = 0; i < OBJECTS; i++) {
        for (unsigned field = object_rows[i].first; field < object_rows[i].end; field++) {
            const void *values = event_column(batch, (enum field)field);

            if (has_value(values, field_rows[field].type, batch->rows))
                writer->columns[count++] = (struct column){
                    .values = values, .key = &writer->keys[field], .field = (enum field)field};
        }
        writer->ends[i] = count;
    }
    writer->label_count = 0;
    for (unsigned i = 0; i < batch->label_columns; i++)
        if (has_text(batch->labels[i], batch->rows))
            writer->labels[writer->label_count++] = i;
}

static struct span type_of(enum run_state state)
{
    if (state == STATE_RUNNING)
        return SPAN_LITERAL("start");
    if (state == STATE_FAILED || state == STATE_TIMED_OUT)
        return SPAN_LITERAL("error");
    return run_state_is_terminal(state) ? SPAN_LITERAL("end") : SPAN_LITERAL("info");
}

/* What was written since the last piece. */
static struct piece next_piece(const struct buffer *shared, struct piece last)
{
    uint32_t start = last.start + last.size;

    return (struct piece){start, (uint32_t)shared->size - start};
}

static void write_shared(struct event_writer *writer, const struct event_batch *batch,
                         const struct event_origin *origin)
{
    struct buffer *shared = &writer->shared;
    struct json_writer json;
    struct piece last;

    buffer_clear(shared);
    document_begin(&json, shared, TIME_NONE, DOC_EVENT, origin->pipeline);
    writer->head = next_piece(shared, (struct piece){0});
    json_text_if(&json, "topic", origin->topic);
    json_integer(&json, "partition", origin->partition);
    PUT(shared, ",\"offset\":");
    last = writer->place = next_piece(shared, writer->head);
    for (int state = 0; state < STATE_COUNT; state++) {
        json_text(&json, "type", type_of((enum run_state)state));
        json_text_if(&json, "outcome", outcome_of((enum run_state)state));
        last = writer->outcomes[state] = next_piece(shared, last);
    }
    json_close(&json);
    document_ecs_version(&json);
    last = writer->ecs = next_piece(shared, last);
    json_begin(&json, shared);
    for (unsigned i = 0; i < batch->label_columns; i++) {
        document_label_key(&json, span_of(batch->label_names->names[i]));
        last = writer->label_keys[i] = next_piece(shared, last);
    }
    assert(!shared->full);
}

static void id_add_origin(struct id_builder *builder, const struct event_origin *origin)
{
    id_begin(builder);
    id_add_text(builder, origin->pipeline);
    id_add_text(builder, origin->source);
    id_add_text(builder, origin->topic);
    id_add_integer(builder, origin->partition);
}

static struct id128 id_end_row(struct id_builder *builder, int64_t offset, uint16_t item)
{
    id_add_integer(builder, offset);
    id_add_integer(builder, item);
    return id_end(builder);
}

struct id128 event_id(const struct event_origin *origin, int64_t offset, uint16_t item)
{
    struct id_builder builder;

    id_add_origin(&builder, origin);
    return id_end_row(&builder, offset, item);
}

void event_writer_begin(struct event_writer *writer, const struct event_batch *batch,
                        const struct event_origin *origin)
{
    writer->batch = batch;
    find_columns(writer, batch);
    write_shared(writer, batch, origin);
    id_add_origin(&writer->id, origin);
    writer->id_chain = writer->id.chain;
    writer->id_used = writer->id.used;
    memcpy(writer->id_first, writer->id.bytes, sizeof writer->id_first);
}

struct id128 event_writer_id(struct event_writer *writer, uint32_t row)
{
    assert(row < writer->batch->rows);
    writer->id.chain = writer->id_chain;
    writer->id.used = writer->id_used;
    memcpy(writer->id.bytes, writer->id_first, sizeof writer->id_first);
    return id_end_row(&writer->id, writer->batch->offset[row], writer->batch->item[row]);
}

static void put_number(const struct column *column, double value, struct buffer *out)
{
    int64_t nanoseconds;

    if (column->field != F_DURATION_MS && isfinite(value)) {
        json_put_ready_key(out, column->key, false);
        json_put_number(out, value);
    } else if (column->field == F_DURATION_MS && nanoseconds_of(value, &nanoseconds)) {
        json_put_ready_key(out, column->key, false);
        json_put_integer(out, nanoseconds);
    }
}

static void put_integer_unless(const struct column *column, int32_t absent, int32_t value, struct buffer *out)
{
    if (value == absent)
        return;
    json_put_ready_key(out, column->key, false);
    json_put_integer(out, value);
}

static void put_text(const struct column *column, struct span text, bool first, struct buffer *out)
{
    if (text.size)
        json_put_ready_text(out, column->key, first, text);
}

static void put_value(const struct column *column, uint32_t row, struct buffer *out)
{
    const void *values = column->values;

    switch (field_rows[column->field].type) {
    case FIELD_TEXT:
        put_text(column, ((const struct span *)values)[row], false, out);
        break;
    case FIELD_TIME:
        if (((const int64_t *)values)[row] == TIME_NONE)
            break;
        json_put_ready_key(out, column->key, false);
        json_put_time(out, ((const int64_t *)values)[row]);
        break;
    case FIELD_NUMBER:
        put_number(column, ((const double *)values)[row], out);
        break;
    case FIELD_INTEGER:
        put_integer_unless(column, INT32_MIN, ((const int32_t *)values)[row], out);
        break;
    case FIELD_SMALL:
        put_integer_unless(column, 0, ((const uint16_t *)values)[row], out);
        break;
    case FIELD_STATE:
        put_text(column, span_of(run_state_names[((const uint8_t *)values)[row]]), false, out);
        break;
    case FIELD_KIND: /* the first of its object */
        put_text(column, span_of(event_kind_names[((const uint8_t *)values)[row]]), true, out);
        break;
    }
}

static void put_values(const struct event_writer *writer, enum document_object object, uint32_t row,
                       struct buffer *out)
{
    for (unsigned i = object ? writer->ends[object - 1] : 0; i < writer->ends[object]; i++)
        put_value(&writer->columns[i], row, out);
}

/* An object of texts, if it has any. */
static void put_texts(const struct event_writer *writer, enum document_object object, uint32_t row,
                      struct buffer *out)
{
    bool named = object != OBJECT_MESSAGE, open = false;

    for (unsigned i = writer->ends[object - 1]; i < writer->ends[object]; i++) {
        const struct column *column = &writer->columns[i];
        struct span text = ((const struct span *)column->values)[row];

        if (!text.size)
            continue;
        if (named && !open)
            json_put_ready_key(out, &writer->openings[object], false);
        put_text(column, text, named && !open, out);
        open = true;
    }
    if (named && open)
        buffer_put_char(out, '}');
}

static void put_marks(unsigned notes, struct buffer *out)
{
    static const char *const names[] = {"late", "repaired", "corrected",
                                        "redacted"}; /* by bit of enum row_note */
    struct json_writer json;

    PUT(out, ",");
    json_begin(&json, out);
    json_open_list(&json, "marks");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (notes & 1u << i)
            json_text(&json, NULL, span_of(names[i]));
    json_close_list(&json);
}

static void put_labels(const struct event_writer *writer, uint32_t row, struct buffer *out)
{
    bool open = false;

    for (unsigned i = 0; i < writer->label_count; i++) {
        struct span text = writer->batch->labels[writer->labels[i]][row];

        if (!text.size)
            continue;
        if (open)
            PUT(out, ",");
        else
            PUT(out, ",\"labels\":{");
        put_piece(writer, writer->label_keys[writer->labels[i]], out);
        json_put_text(out, text);
        open = true;
    }
    if (open)
        PUT(out, "}");
}

/* Written before, from `start` on. */
static void put_again(struct buffer *out, size_t start, size_t size)
{
    char *room = buffer_room(out, size);

    if (!room)
        return;
    memcpy(room, out->data + start, size);
    out->size += size;
}

static void put_event_object(const struct event_writer *writer, uint32_t row, size_t time_start,
                             size_t offset_start, size_t offset_size, struct buffer *out)
{
    const struct event_batch *batch = writer->batch;
    enum run_state state = batch->state[row];

    json_put_ready_key(out, &writer->openings[OBJECT_EVENT], false);
    put_values(writer, OBJECT_EVENT, row, out);
    put_piece(writer, writer->outcomes[state], out);
    if (run_state_is_terminal(state) && batch->time_us[row] != TIME_NONE) {
        PUT(out, ",\"end\":");
        put_again(out, time_start, TIME_TEXT_SIZE + 2);
    }
    if (batch->arrival_us[row] != TIME_NONE) {
        PUT(out, ",\"created\":");
        json_put_time(out, batch->arrival_us[row]);
    }
    PUT(out, ",\"sequence\":");
    put_again(out, offset_start, offset_size);
    PUT(out, "}");
}

void event_writer_put(const struct event_writer *writer, uint32_t row, struct buffer *out)
{
    const struct event_batch *batch = writer->batch;
    struct piece head = writer->head;
    size_t time_start = 0, offset_start, offset_size;

    assert(row < batch->rows);
    if (batch->time_us[row] != TIME_NONE) {
        PUT(out, "{\"@timestamp\":");
        time_start = out->size;
        json_put_time(out, batch->time_us[row]);
        PUT(out, ",");
        head = (struct piece){head.start + 1, head.size - 1};
    }
    put_piece(writer, head, out);
    put_values(writer, OBJECT_WEIR, row, out);
    put_piece(writer, writer->place, out);
    offset_start = out->size;
    json_put_integer(out, batch->offset[row]);
    offset_size = out->size - offset_start;
    PUT(out, ",\"item\":");
    json_put_integer(out, batch->item[row]);
    if (batch->notes[row])
        put_marks(batch->notes[row], out);
    put_piece(writer, writer->ecs, out);
    put_labels(writer, row, out);
    put_event_object(writer, row, time_start, offset_start, offset_size, out);
    put_texts(writer, OBJECT_HOST, row, out);
    for (enum document_object object = OBJECT_MESSAGE; object < OBJECTS; object++)
        put_texts(writer, object, row, out);
    PUT(out, "}");
}
