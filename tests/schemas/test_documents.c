/* Documents key by key. flat_parse fails on a key that comes twice, which Elasticsearch would refuse. */
#include "tests/schemas/examples.h"
#include "tests/schemas/flat_json.h"

typedef void write_document(const void *what, struct buffer *out);

static void assert_document(write_document *write, const void *what, const struct flat_expected *expected)
{
    struct buffer out;
    struct flat flat;

    buffer_init(&out, 65536);
    write(what, &out);
    assert_false(out.full);
    flat_parse(buffer_span(&out), &flat);
    flat_assert(&flat, expected);
    flat_free(&flat);
    buffer_free(&out);
}

struct event_row {
    const struct event_batch *batch;
    uint32_t row;
};

static void write_event(const void *what, struct buffer *out)
{
    const struct event_row *row = what;
    const struct event_origin origin = {.pipeline = EXAMPLE_PIPELINE,
                                        .source = SPAN_LITERAL("lineage"),
                                        .topic = SPAN_LITERAL("events"),
                                        .partition = 3};

    struct event_writer *writer = event_writer_new();

    event_writer_begin(writer, row->batch, &origin);
    event_writer_put(writer, row->row, out);
    event_writer_free(writer);
}

static void write_bucket(const void *what, struct buffer *out)
{
    document_of_bucket(EXAMPLE_PIPELINE, what, out);
}

static void write_signal(const void *what, struct buffer *out)
{
    document_of_signal(EXAMPLE_PIPELINE, what, out);
}

static void write_run(const void *what, struct buffer *out)
{
    document_of_run(EXAMPLE_PIPELINE, what, out);
}

static void write_alert(const void *what, struct buffer *out)
{
    document_of_alert(EXAMPLE_PIPELINE, what, out);
}

static void write_metric(const void *what, struct buffer *out)
{
    document_of_metric(EXAMPLE_PIPELINE, what, out);
}

static char team_label[] = "team.name", zone_label[] = "zone";
static const struct label_names label_names = {.names = {team_label, zone_label}, .count = 2};

/* Every text field holds its own name, so that a value under a wrong path shows. */
static void fill_row(struct event_batch *batch, uint32_t row)
{
    for (int i = 0; i < FIELD_COUNT; i++)
        if (field_rows[i].type == FIELD_TEXT)
            ((struct span *)event_column(batch, (enum field)i))[row] = span_of(field_rows[i].name);
    batch->time_us[row] = EXAMPLE_US;
    batch->scheduled_us[row] = EXAMPLE_US - 3000000;
    batch->queued_us[row] = EXAMPLE_US - 2000000;
    batch->started_us[row] = EXAMPLE_US - 1000000;
    batch->arrival_us[row] = EXAMPLE_US + 1000;
    batch->state[row] = STATE_FAILED;
    batch->attempt[row] = 2;
    batch->map_index[row] = 0;
    batch->duration_ms[row] = 1000.25;
    batch->progress[row] = 0.5;
    batch->queue_wait_ms[row] = 1250;
    batch->value[row] = 1e300;
    batch->labels[0][row] = SPAN_LITERAL("blue");
    batch->labels[1][row] = SPAN_LITERAL("eu\n1");
    batch->offset[row] = 1234567890123;
    batch->item[row] = 7;
    batch->notes[row] = NOTE_LATE | NOTE_REDACTED;
}

static const struct flat_expected full_event[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"event\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.source", "\"source\""},
    {"weir.namespace", "\"namespace\""},
    {"weir.engine", "\"engine\""},
    {"weir.workflow", "\"workflow\""},
    {"weir.task", "\"task\""},
    {"weir.run", "\"run\""},
    {"weir.run_name", "\"run_name\""},
    {"weir.root_run", "\"root_run\""},
    {"weir.parent_run", "\"parent_run\""},
    {"weir.map_index", "0"},
    {"weir.attempt", "2"},
    {"weir.owner", "\"owner\""},
    {"weir.queue", "\"queue\""},
    {"weir.worker", "\"worker\""},
    {"weir.scheduled", "\"2026-11-21T09:40:17.097Z\""},
    {"weir.queued", "\"2026-11-21T09:40:18.097Z\""},
    {"weir.state", "\"failed\""},
    {"weir.result", "\"result\""},
    {"weir.progress", "0.5"},
    {"weir.queue_wait_ms", "1250"},
    {"weir.metric", "\"metric\""},
    {"weir.value", "1e+300"},
    {"weir.unit", "\"unit\""},
    {"weir.topic", "\"events\""},
    {"weir.partition", "3"},
    {"weir.offset", "1234567890123"},
    {"weir.item", "7"},
    {"weir.marks.0", "\"late\""},
    {"weir.marks.1", "\"redacted\""},
    {"ecs.version", "\"8.11.0\""},
    {"labels.team_name", "\"blue\""},
    {"labels.zone", "\"eu\n1\""},
    {"event.kind", "\"event\""},
    {"event.id", "\"id\""},
    {"event.action", "\"action\""},
    {"event.duration", "1000250000"},
    {"event.start", "\"2026-11-21T09:40:19.097Z\""},
    {"event.url", "\"url\""},
    {"event.type", "\"error\""},
    {"event.outcome", "\"failure\""},
    {"event.end", "\"2026-11-21T09:40:20.097Z\""},
    {"event.created", "\"2026-11-21T09:40:20.098Z\""},
    {"event.sequence", "1234567890123"},
    {"host.name", "\"host\""},
    {"message", "\"message\""},
    {"log.level", "\"level\""},
    {"log.logger", "\"logger\""},
    {"error.type", "\"error_type\""},
    {"error.message", "\"error\""},
    {"error.stack_trace", "\"stack_trace\""},
    {"service.version", "\"version\""},
    {"trace.id", "\"trace\""},
    {NULL, NULL},
};

static const struct flat_expected empty_event[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"event\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.topic", "\"events\""},
    {"weir.partition", "3"},
    {"weir.offset", "0"},
    {"weir.item", "0"},
    {"ecs.version", "\"8.11.0\""},
    {"event.kind", "\"metric\""},
    {"event.type", "\"info\""},
    {"event.sequence", "0"},
    {NULL, NULL},
};

static void an_event_with_every_field_and_one_with_none(void **state)
{
    struct event_batch batch;

    event_batch_init(&batch, 4, &label_names);
    event_batch_add(&batch);
    event_batch_add(&batch);
    batch.time_us[0] = EXAMPLE_US;
    batch.kind[0] = KIND_METRIC;
    fill_row(&batch, 1);
    assert_document(write_event, &(struct event_row){&batch, 1}, full_event);
    assert_document(write_event, &(struct event_row){&batch, 0}, empty_event);
    event_batch_free(&batch);
}

/* A new field row outside all objects would be lost from documents without a word. */
static void every_field_reaches_the_document_at_its_path(void **state)
{
    struct event_batch batch;
    struct buffer out;
    struct flat flat;

    event_batch_init(&batch, 1, &label_names);
    event_batch_add(&batch);
    fill_row(&batch, 0);
    buffer_init(&out, 65536);
    write_event(&(struct event_row){&batch, 0}, &out);
    flat_parse(buffer_span(&out), &flat);
    for (int i = 0; i < FIELD_COUNT; i++)
        if (!flat_find(&flat, field_rows[i].path))
            fail_msg("%s is missing", field_rows[i].path);
    flat_free(&flat);
    buffer_free(&out);
    event_batch_free(&batch);
}

static void assert_event_value(struct event_batch *batch, const char *path, const char *expected)
{
    struct buffer out;
    struct flat flat;

    buffer_init(&out, 65536);
    write_event(&(struct event_row){batch, 0}, &out);
    flat_parse(buffer_span(&out), &flat);
    const char *value = flat_find(&flat, path);
    if (expected)
        assert_string_equal(value ? value : "(absent)", expected);
    else
        assert_null(value);
    flat_free(&flat);
    buffer_free(&out);
}

static void type_outcome_and_end_follow_the_state(void **state)
{
    static const struct {
        const char *type, *outcome;
    } cases[STATE_COUNT] = {
        [STATE_NONE] = {"\"info\"", NULL},
        [STATE_QUEUED] = {"\"info\"", NULL},
        [STATE_WAITING] = {"\"info\"", NULL},
        [STATE_RUNNING] = {"\"start\"", NULL},
        [STATE_RETRYING] = {"\"info\"", NULL},
        [STATE_SUCCESS] = {"\"end\"", "\"success\""},
        [STATE_FAILED] = {"\"error\"", "\"failure\""},
        [STATE_SKIPPED] = {"\"end\"", "\"unknown\""},
        [STATE_UPSTREAM_FAILED] = {"\"end\"", "\"failure\""},
        [STATE_CANCELLED] = {"\"end\"", "\"unknown\""},
        [STATE_TIMED_OUT] = {"\"error\"", "\"failure\""},
        [STATE_UNKNOWN] = {"\"info\"", NULL},
    };
    struct event_batch batch;

    event_batch_init(&batch, 1, NULL);
    event_batch_add(&batch);
    batch.time_us[0] = EXAMPLE_US;
    for (int i = 0; i < STATE_COUNT; i++) {
        batch.state[0] = (uint8_t)i;
        assert_event_value(&batch, "event.type", cases[i].type);
        assert_event_value(&batch, "event.outcome", cases[i].outcome);
        assert_event_value(&batch, "event.end", cases[i].outcome ? "\"2026-11-21T09:40:20.097Z\"" : NULL);
    }
    event_batch_free(&batch);
}

static void durations_become_whole_nanoseconds(void **state)
{
    static const struct {
        double milliseconds;
        const char *nanoseconds;
    } cases[] = {
        {0, "0"},     {0.0000005, "1"}, {0.0000004, "0"}, {-0.0000005, "-1"}, {1e12, "1000000000000000000"},
        {1e13, NULL}, {-1e300, NULL},   {INFINITY, NULL}, {NAN, NULL},
    };
    struct event_batch batch;

    event_batch_init(&batch, 1, NULL);
    event_batch_add(&batch);
    batch.time_us[0] = EXAMPLE_US;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        batch.duration_ms[0] = cases[i].milliseconds;
        assert_event_value(&batch, "event.duration", cases[i].nanoseconds);
    }
    event_batch_free(&batch);
}

static const struct flat_expected full_bucket[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"bucket\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.workflow", "\"etl \"daily\"\""},
    {"weir.attempt", "2"},
    {"weir.measure", "\"latency\""},
    {"weir.unit", "\"ms\""},
    {"weir.window", "60.5"},
    {"weir.count", "12"},
    {"weir.mean", "4.5"},
    {"weir.p95", "8.5"},
    {"weir.late", "3"},
    {"weir.version", "13"},
    {"weir.provisional", "false"},
    {"weir.score", "0.75"},
    {"weir.statistic", "\"count\""},
    {"weir.anomaly", "true"},
    {"weir.expected.low", "10"},
    {"weir.expected.high", "20.5"},
    {"ecs.version", "\"8.11.0\""},
    {"labels.team_name", "\"blue\""},
    {"host.name", "\"node-1\""},
    {"event.kind", "\"metric\""},
    {"event.start", "\"2026-11-21T09:40:20.097Z\""},
    {"event.end", "\"2026-11-21T09:41:20.597Z\""},
    {NULL, NULL},
};

/* Keys whose own path the bucket needs for itself; these go to labels. */
static const struct flat_expected odd_bucket[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"bucket\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.state", "\"failed\""},
    {"weir.measure", "\"m\""},
    {"weir.window", "60"},
    {"weir.late", "3"},
    {"weir.version", "13"},
    {"weir.provisional", "false"},
    {"weir.partial", "true"},
    {"ecs.version", "\"8.11.0\""},
    {"labels.kind", "\"event\""},
    {"labels.unit", "\"s\""},
    {"labels.duration_ms", "\"5\""},
    {"event.kind", "\"metric\""},
    {"event.action", "\"task-failed\""},
    {"event.start", "\"2026-11-21T09:40:20.097Z\""},
    {"event.end", "\"2026-11-21T09:41:20.597Z\""},
    {"error.type", "\"E\""},
    {NULL, NULL},
};

static void a_bucket_with_an_opinion_and_one_with_odd_keys(void **state)
{
    static const struct measure_shape shape = {
        .name = "m",
        .by_count = 6,
        .by = {{.field = F_KIND},
               {.field = F_UNIT},
               {.field = F_DURATION_MS},
               {.field = F_ACTION},
               {.field = F_ERROR_TYPE},
               {.field = F_STATE}},
        .by_names = {"kind", "unit", "duration_ms", "action", "error_type", "state"},
        .window_us = 60000000,
    };
    static const struct span key[] = {{"event", 5},        {"s", 1}, {"5", 1},
                                      {"task-failed", 11}, {"E", 1}, {"failed", 6}};
    struct bucket bucket = example_bucket();

    assert_document(write_bucket, &bucket, full_bucket);
    bucket.shape = &shape;
    bucket.key = key;
    bucket.score = NAN;
    bucket.partial = true;
    assert_document(write_bucket, &bucket, odd_bucket);
}

static const struct flat_expected full_signal[] = {
    {"@timestamp", "\"2026-11-21T09:41:20.597Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"signal\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.workflow", "\"etl \"daily\"\""},
    {"weir.attempt", "2"},
    {"weir.detector", "\"slow\""},
    {"weir.channel", "\"level\""},
    {"weir.measure", "\"latency\""},
    {"weir.bucket", "\"" EXAMPLE_HEX "\""},
    {"weir.score", "0.9"},
    {"weir.probability", "0.001"},
    {"weir.one_in", "1000"},
    {"weir.actual", "42"},
    {"weir.expected.low", "10"},
    {"weir.expected.high", "20"},
    {"weir.direction", "\"up\""},
    {"weir.episode", "\"" EXAMPLE_HEX "\""},
    {"weir.provisional", "false"},
    {"ecs.version", "\"8.11.0\""},
    {"labels.team_name", "\"blue\""},
    {"host.name", "\"node-1\""},
    {"event.kind", "\"signal\""},
    {NULL, NULL},
};

static void a_signal_in_full(void **state)
{
    struct bucket bucket = example_bucket();
    struct signal_record record = example_signal(&bucket);

    assert_document(write_signal, &record, full_signal);
}

static const struct flat_expected full_run[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"run\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.source", "\"lineage\""},
    {"weir.namespace", "\"default\""},
    {"weir.engine", "\"airflow\""},
    {"weir.workflow", "\"etl\""},
    {"weir.run", "\"r1\""},
    {"weir.run_name", "\"scheduled__1\""},
    {"weir.root_run", "\"r0\""},
    {"weir.parent_run", "\"p0\""},
    {"weir.owner", "\"ops\""},
    {"weir.queue", "\"q\""},
    {"weir.worker", "\"w\""},
    {"weir.level", "\"run\""},
    {"weir.state", "\"failed\""},
    {"weir.scheduled", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.queued", "\"2026-11-21T09:40:21.097Z\""},
    {"weir.queue_wait", "1000000000"},
    {"weir.late_by", "2000000000"},
    {"weir.attempts", "2"},
    {"weir.tasks.success", "3"},
    {"weir.tasks.failed", "1"},
    {"ecs.version", "\"8.11.0\""},
    {"labels.team_name", "\"blue\""},
    {"host.name", "\"node-1\""},
    {"event.kind", "\"event\""},
    {"event.url", "\"http://x/r1\""},
    {"event.start", "\"2026-11-21T09:40:22.097Z\""},
    {"event.end", "\"2026-11-21T09:40:23.597Z\""},
    {"event.duration", "1500000001"},
    {"event.outcome", "\"failure\""},
    {"error.type", "\"ValueError\""},
    {"error.message", "\"boom\""},
    {NULL, NULL},
};

static const struct flat_expected short_task[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"run\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.task", "\"load\""},
    {"weir.map_index", "-1"},
    {"weir.attempt", "40000"},
    {"weir.level", "\"task\""},
    {"weir.state", "\"running\""},
    {"ecs.version", "\"8.11.0\""},
    {"event.kind", "\"event\""},
    {NULL, NULL},
};

static void a_run_and_a_task_that_is_under_way(void **state)
{
    struct run_record run = example_run();
    struct run_record task = {
        .is_task = true,
        .state = STATE_RUNNING,
        .first_us = EXAMPLE_US,
        .scheduled_us = TIME_NONE,
        .queued_us = TIME_NONE,
        .started_us = TIME_NONE,
        .ended_us = TIME_NONE,
        .duration_ms = NAN,
        .queue_wait_ms = NAN,
        .late_by_ms = NAN,
        .task = SPAN_LITERAL("load"),
        .attempt = 40000,
        .map_index = -1,
        .tasks = {[STATE_SUCCESS] = 9},
    };

    assert_document(write_run, &run, full_run);
    assert_document(write_run, &task, short_task);
}

static const struct flat_expected full_alert[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"alert\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.source", "\"lineage\""},
    {"weir.namespace", "\"default\""},
    {"weir.workflow", "\"a/b\""},
    {"weir.task", "\"50%\""},
    {"weir.run", "\"r1\""},
    {"weir.run_name", "\"scheduled__1\""},
    {"weir.queue", "\"q\""},
    {"weir.attempt", "2"},
    {"weir.episode", "\"" OTHER_HEX "\""},
    {"weir.revision", "1"},
    {"weir.alert_state", "\"resolved\""},
    {"weir.alert_kind", "\"duration\""},
    {"weir.severity", "\"critical\""},
    {"weir.target", "\"a%2Fb/50%25\""},
    {"weir.score", "0.9"},
    {"weir.probability", "0.001"},
    {"weir.actual", "42"},
    {"weir.expected.low", "10"},
    {"weir.expected.high", "20"},
    {"weir.unit", "\"s\""},
    {"weir.provisional", "true"},
    {"ecs.version", "\"8.11.0\""},
    {"labels.team", "\"blue\""},
    {"labels.unit", "\"s\""},
    {"host.name", "\"node-1\""},
    {"event.kind", "\"alert\""},
    {"event.severity", "4"},
    {"event.reason", "\"no_data\""},
    {"event.start", "\"2026-11-21T09:40:19.097Z\""},
    {"event.end", "\"2026-11-21T09:40:21.097Z\""},
    {"event.url", "\"http://x/r1\""},
    {"message", "\"too slow\""},
    {"rule.id", "\"slow\""},
    {"rule.name", "\"slow\""},
    {"rule.reference", "\"http://x/book\""},
    {NULL, NULL},
};

static void an_alert_in_full(void **state)
{
    struct alert alert = example_alert();

    assert_document(write_alert, &alert, full_alert);
    alert.labels[3] =
        (struct alert_label){SPAN_LITERAL("attempt"), SPAN_LITERAL("2")}; /* told by the alert too */
    struct flat_expected expected[sizeof full_alert / sizeof *full_alert];
    size_t count = 0;
    for (size_t i = 0; i < sizeof full_alert / sizeof *full_alert; i++)
        if (!full_alert[i].path || strcmp(full_alert[i].path, "labels.unit") != 0)
            expected[count++] = full_alert[i];
    assert_document(write_alert, &alert, expected);
}

/* A label of a field's name stays a label; and a text that is no number does not become one. */
static void an_alert_with_odd_labels(void **state)
{
    struct alert alert = example_alert();
    struct flat_expected expected[sizeof full_alert / sizeof *full_alert];
    size_t count = 0;

    alert.labels[2] =
        (struct alert_label){SPAN_LITERAL("labels.value"), SPAN_LITERAL("1}}\n{\"index\":{}}\n")};
    alert.labels[3] = (struct alert_label){SPAN_LITERAL("value"), SPAN_LITERAL("1}}\n{\"index\":{}}\n")};
    for (size_t i = 0; i < sizeof full_alert / sizeof *full_alert; i++) {
        if (full_alert[i].path && strcmp(full_alert[i].path, "weir.queue") == 0)
            continue;
        expected[count] = full_alert[i];
        if (expected[count].path && strcmp(expected[count].path, "labels.unit") == 0)
            expected[count] = (struct flat_expected){"labels.value", "\"1}}\n{\"index\":{}}\n\""};
        count++;
    }
    assert_document(write_alert, &alert, expected);
}

static const struct flat_expected full_metric[] = {
    {"@timestamp", "\"2026-11-21T09:40:20.097Z\""},
    {"weir.schema", "1"},
    {"weir.doc", "\"metric\""},
    {"weir.pipeline", "\"orders\""},
    {"weir.metric", "\"weir_rows_total\""},
    {"weir.value", "12.5"},
    {"ecs.version", "\"8.11.0\""},
    {"labels.reason", "\"late\""},
    {"labels.sink", "\"a\"b\""},
    {"event.kind", "\"metric\""},
    {"host.name", "\"node-1\""},
    {"process.pid", "4242"},
    {NULL, NULL},
};

static void a_metric_in_full(void **state)
{
    struct metric_sample metric = example_metric(), other = metric;

    assert_document(write_metric, &metric, full_metric);
    other.labels[0].value = SPAN_LITERAL("\"early\"");
    assert_false(id_equal(metric_id(EXAMPLE_PIPELINE, &metric), metric_id(EXAMPLE_PIPELINE, &other)));
}

static void the_checker_sees_a_key_that_comes_twice(void **state)
{
    struct flat flat;

    flat_read(SPAN_LITERAL("{\"weir\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}],\"weir\":{\"c\":1}}"), &flat);
    assert_string_equal(flat.twice, "weir");
    flat_free(&flat);
    flat_read(SPAN_LITERAL("{\"weir\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":1}]}"), &flat);
    assert_string_equal(flat.twice, "");
    flat_free(&flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checker_sees_a_key_that_comes_twice),
        cmocka_unit_test(an_event_with_every_field_and_one_with_none),
        cmocka_unit_test(every_field_reaches_the_document_at_its_path),
        cmocka_unit_test(type_outcome_and_end_follow_the_state),
        cmocka_unit_test(durations_become_whole_nanoseconds),
        cmocka_unit_test(a_bucket_with_an_opinion_and_one_with_odd_keys),
        cmocka_unit_test(a_signal_in_full),
        cmocka_unit_test(a_run_and_a_task_that_is_under_way),
        cmocka_unit_test(an_alert_in_full),
        cmocka_unit_test(an_alert_with_odd_labels),
        cmocka_unit_test(a_metric_in_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
