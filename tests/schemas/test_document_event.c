/* Documents of events against a naive writer, key by key with the json_writer, over random batches: columns
 * that are full, sparse or empty, texts of any bytes. */
#include "tests/base/random.h"
#include "tests/schemas/examples.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ROWS = 20, OUT_MAX = 1 << 20 };

static struct span naive_outcome(enum run_state state)
{
    if (!run_state_is_terminal(state))
        return (struct span){0};
    if (state == STATE_SUCCESS)
        return SPAN_LITERAL("success");
    bool failed = run_state_is_failure(state) || state == STATE_UPSTREAM_FAILED;
    return failed ? SPAN_LITERAL("failure") : SPAN_LITERAL("unknown");
}

static struct span naive_type(enum run_state state)
{
    if (run_state_is_terminal(state))
        return run_state_is_failure(state) ? SPAN_LITERAL("error") : SPAN_LITERAL("end");
    return state == STATE_RUNNING ? SPAN_LITERAL("start") : SPAN_LITERAL("info");
}

static void naive_field(struct json_writer *json, const char *key, const struct event_batch *batch,
                        uint32_t row, enum field field)
{
    const void *column = event_column(batch, field);

    switch (field_rows[field].type) {
    case FIELD_TEXT:
        json_text_if(json, key, ((const struct span *)column)[row]);
        break;
    case FIELD_TIME:
        json_time_if(json, key, ((const int64_t *)column)[row]);
        break;
    case FIELD_NUMBER:
        if (field != F_DURATION_MS)
            json_number_if(json, key, ((const double *)column)[row]);
        else if (fabs(((const double *)column)[row]) < 0x1p63 / 1e6)
            json_integer(json, key, llround(((const double *)column)[row] * 1e6));
        break;
    case FIELD_INTEGER:
        if (((const int32_t *)column)[row] != INT32_MIN)
            json_integer(json, key, ((const int32_t *)column)[row]);
        break;
    case FIELD_SMALL:
        if (((const uint16_t *)column)[row])
            json_integer(json, key, ((const uint16_t *)column)[row]);
        break;
    case FIELD_STATE:
        json_text_if(json, key, span_of(run_state_names[batch->state[row]]));
        break;
    case FIELD_KIND:
        json_text(json, key, span_of(event_kind_names[batch->kind[row]]));
        break;
    }
}

/* The fields whose path begins with "object.". */
static void naive_fields(struct json_writer *json, const char *object, const struct event_batch *batch,
                         uint32_t row)
{
    size_t size = strlen(object);

    for (int field = 0; field < FIELD_COUNT; field++)
        if (strncmp(field_rows[field].path, object, size) == 0 && field_rows[field].path[size] == '.')
            naive_field(json, field_rows[field].path + size + 1, batch, row, (enum field)field);
}

/* The same, as an object, if it is not empty. */
static void naive_object(struct json_writer *json, const char *object, const struct event_batch *batch,
                         uint32_t row)
{
    struct json_writer before = *json;
    size_t size = json->out->size, empty;

    json_open(json, object);
    empty = json->out->size;
    naive_fields(json, object, batch, row);
    if (json->out->size > empty) {
        json_close(json);
        return;
    }
    buffer_truncate(json->out, size);
    *json = before;
}

static void naive_marks(struct json_writer *json, unsigned notes)
{
    static const char *const names[] = {"late", "repaired", "corrected", "redacted"};

    if (!notes)
        return;
    json_open_list(json, "marks");
    for (unsigned i = 0; i < 4; i++)
        if (notes >> i & 1)
            json_text(json, NULL, span_of(names[i]));
    json_close_list(json);
}

static void naive_labels(struct json_writer *json, const struct event_batch *batch, uint32_t row)
{
    unsigned count = 0;

    for (unsigned i = 0; i < batch->label_columns; i++) {
        struct buffer name;

        if (!batch->labels[i][row].size)
            continue;
        if (count++ == 0)
            json_open(json, "labels");
        buffer_init(&name, LABEL_NAME_MAX);
        buffer_put_text(&name, batch->label_names->names[i]);
        for (size_t at = 0; at < name.size; at++)
            name.data[at] = name.data[at] == '.' ? '_' : name.data[at];
        json_key(json, buffer_span(&name));
        json_text(json, NULL, batch->labels[i][row]);
        buffer_free(&name);
    }
    if (count)
        json_close(json);
}

static void naive_document(const struct event_batch *batch, uint32_t row, const struct event_origin *origin,
                           struct buffer *out)
{
    static const char *const objects[] = {"log", "error", "service", "trace"};
    enum run_state state = batch->state[row];
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_time_if(&json, "@timestamp", batch->time_us[row]);
    json_open(&json, "weir");
    json_integer(&json, "schema", 1);
    json_text(&json, "doc", SPAN_LITERAL("event"));
    json_text_if(&json, "pipeline", origin->pipeline);
    naive_fields(&json, "weir", batch, row);
    json_text_if(&json, "topic", origin->topic);
    json_integer(&json, "partition", origin->partition);
    json_integer(&json, "offset", batch->offset[row]);
    json_integer(&json, "item", batch->item[row]);
    naive_marks(&json, batch->notes[row]);
    json_close(&json);
    json_raw(&json, "ecs", SPAN_LITERAL("{\"version\":\"8.11.0\"}"));
    naive_labels(&json, batch, row);
    json_open(&json, "event");
    naive_fields(&json, "event", batch, row);
    json_text(&json, "type", naive_type(state));
    json_text_if(&json, "outcome", naive_outcome(state));
    if (run_state_is_terminal(state))
        json_time_if(&json, "end", batch->time_us[row]);
    json_time_if(&json, "created", batch->arrival_us[row]);
    json_integer(&json, "sequence", batch->offset[row]);
    json_close(&json);
    naive_object(&json, "host", batch, row);
    json_text_if(&json, "message", batch->message[row]);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        naive_object(&json, objects[i], batch, row);
    json_close(&json);
}

static struct span random_text(uint64_t *random, struct arena *arena)
{
    char bytes[80];
    size_t size = random_below(random, sizeof bytes);
    bool wild = random_below(random, 4) == 0;
    struct span text;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(wild ? random_below(random, 256) : ' ' + 2 + random_below(random, 50));
    assert_true(arena_copy(arena, span_make(bytes, size), &text));
    return text;
}

static void random_value(struct event_batch *batch, uint32_t row, enum field field, uint64_t *random)
{
    void *column = event_column(batch, field);
    uint64_t value = random_next(random) >> random_below(random, 60);

    switch (field_rows[field].type) {
    case FIELD_TEXT:
        ((struct span *)column)[row] = random_text(random, &batch->text);
        break;
    case FIELD_TIME:
        ((int64_t *)column)[row] = (int64_t)(value % (uint64_t)TIME_MAX_US);
        break;
    case FIELD_NUMBER:
        ((double *)column)[row] = random_below(random, 9) ? (double)(int64_t)value / 1e3 : INFINITY;
        break;
    case FIELD_INTEGER:
        ((int32_t *)column)[row] = (int32_t)value;
        break;
    case FIELD_SMALL:
        ((uint16_t *)column)[row] = (uint16_t)value;
        break;
    case FIELD_STATE:
        ((uint8_t *)column)[row] = (uint8_t)(value % STATE_COUNT);
        break;
    case FIELD_KIND:
        ((uint8_t *)column)[row] = (uint8_t)(value % KIND_COUNT);
        break;
    }
}

/* Of each column none, some or all rows get a value. */
static void random_batch(struct event_batch *batch, uint64_t *random)
{
    uint32_t rows = 1 + (uint32_t)random_below(random, ROWS);

    event_batch_reset(batch);
    while (batch->rows < rows) {
        uint32_t row = event_batch_add(batch);

        batch->offset[row] = (int64_t)(random_next(random) >> (1 + random_below(random, 62)));
        batch->item[row] = (uint16_t)random_next(random);
        batch->notes[row] = random_below(random, 4) ? 0 : (uint8_t)random_below(random, 16);
        batch->arrival_us[row] = random_below(random, 2) ? TIME_NONE : EXAMPLE_US;
    }
    for (int field = 0; field < FIELD_COUNT; field++) {
        uint64_t share = random_below(random, 3);

        for (uint32_t row = 0; row < rows; row++)
            if (random_below(random, 2) < share)
                random_value(batch, row, (enum field)field, random);
    }
    for (unsigned label = 0; label < batch->label_columns; label++) {
        uint64_t share = random_below(random, 3);

        for (uint32_t row = 0; row < rows; row++)
            if (random_below(random, 2) < share)
                batch->labels[label][row] = random_text(random, &batch->text);
    }
}

static void agrees_with_a_naive_writer(void **state)
{
    static char team[] = "team.name", zone[] = "zone \"\xc3\xa9\"", last[] = "x";
    static const struct label_names labels = {.names = {team, zone, last}, .count = 3};
    struct event_writer *writer = event_writer_new();
    struct event_batch batch;
    struct buffer out, expected;
    uint64_t random = 7;
    char path[1024];

    memset(path, 'p', sizeof path);
    event_batch_init(&batch, ROWS, &labels);
    buffer_init(&out, OUT_MAX);
    buffer_init(&expected, OUT_MAX);
    for (int round = 0; round < 3000; round++) {
        random_batch(&batch, &random);
        struct event_origin origin = {.pipeline = random_text(&random, &batch.text),
                                      .source = random_text(&random, &batch.text),
                                      .topic = random_text(&random, &batch.text),
                                      .partition = (int32_t)random_below(&random, 1000)};

        if (round % 4 == 0) /* about as long as a block of the id's parts */
            origin.topic = span_make(path, 940 + random_below(&random, 80));

        event_writer_begin(writer, &batch, &origin);
        for (uint32_t row = 0; row < batch.rows; row++) {
            buffer_clear(&out);
            buffer_clear(&expected);
            event_writer_put(writer, row, &out);
            naive_document(&batch, row, &origin, &expected);
            if (!span_equal(buffer_span(&out), buffer_span(&expected)))
                fail_msg("round %d, row %u:\n%.*s\n%.*s", round, row, (int)out.size, out.data,
                         (int)expected.size, expected.data);
            assert_true(id_equal(event_writer_id(writer, row),
                                 event_id(&origin, batch.offset[row], batch.item[row])));
        }
    }
    buffer_free(&out);
    buffer_free(&expected);
    event_batch_free(&batch);
    event_writer_free(writer);
}

static void ids_follow_the_coordinates(void **state)
{
    const struct event_origin origin = {.pipeline = EXAMPLE_PIPELINE,
                                        .source = SPAN_LITERAL("s"),
                                        .topic = SPAN_LITERAL("t"),
                                        .partition = 1};
    struct event_origin other = origin;

    assert_true(id_equal(event_id(&origin, 5, 0), event_id(&other, 5, 0)));
    assert_false(id_equal(event_id(&origin, 5, 0), event_id(&origin, 5, 1)));
    assert_false(id_equal(event_id(&origin, 5, 0), event_id(&origin, 6, 0)));
    other.partition = 2;
    assert_false(id_equal(event_id(&origin, 5, 0), event_id(&other, 5, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_naive_writer),
        cmocka_unit_test(ids_follow_the_coordinates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
