/* Templates: every path that documents write is mapped, with ECS's type where the field is ECS's. */
#include "schemas/templates.h"
#include "tests/schemas/examples.h"
#include "tests/schemas/flat_json.h"

enum {
    EVENTS = 1,
    SIGNALS = 2,
    ALERT_STREAM = 4,
    BUCKETS = 8,
    RUNS = 16,
    ALERT_INDEX = 32,
    ALERTS = 36,
    METRICS = 64,
    ALL = 127
};

struct expected_field {
    unsigned templates; /* which must have it, a bit each in order of template_write */
    const char *path, *type;
};

/* Types from ECS 8.11's list of fields. `text` stands for match_only_text, `keyword` for wildcard: the
 * same families, and known to every server that is supported. */
static const struct expected_field ecs_fields[] = {
    {ALL, "@timestamp", "date"},
    {ALL, "ecs.version", "keyword"},
    {ALL, "labels", "object"},
    {ALL, "message", "text"},
    {ALL, "host.name", "keyword"},
    {ALL, "event.kind", "keyword"},
    {ALL, "event.id", "keyword"},
    {ALL, "event.action", "keyword"},
    {ALL, "event.duration", "long"},
    {ALL, "event.start", "date"},
    {ALL, "event.url", "keyword"},
    {EVENTS, "event.type", "keyword"},
    {EVENTS | RUNS, "event.outcome", "keyword"},
    {EVENTS | RUNS | BUCKETS | ALERTS, "event.end", "date"},
    {EVENTS, "event.created", "date"},
    {EVENTS, "event.sequence", "long"},
    {ALERTS, "event.severity", "long"},
    {ALERTS, "event.reason", "keyword"},
    {ALERTS, "rule.id", "keyword"},
    {ALERTS, "rule.name", "keyword"},
    {ALERTS, "rule.reference", "keyword"},
    {ALL, "log.level", "keyword"},
    {ALL, "log.logger", "keyword"},
    {ALL, "error.type", "keyword"},
    {ALL, "error.message", "text"},
    {ALL, "error.stack_trace", "keyword"},
    {ALL, "service.version", "keyword"},
    {ALL, "trace.id", "keyword"},
    {METRICS, "process.pid", "long"},
};

static const struct expected_field own_fields[] = {
    {ALL, "weir.schema", "integer"},
    {ALL, "weir.doc", "keyword"},
    {ALL, "weir.pipeline", "keyword"},
    {ALL, "weir.map_index", "integer"},
    {ALL, "weir.attempt", "short"},
    {ALL, "weir.target", "keyword"},
    {ALL, "weir.run", "keyword"},
    {ALL, "weir.run_name", "keyword"},
    {ALL, "weir.value", "double"},
    {ALL, "weir.state", "keyword"},
    {EVENTS, "weir.template.id", "keyword"},
    {EVENTS, "weir.template.text", "keyword"},
    {EVENTS, "weir.topic", "keyword"},
    {EVENTS, "weir.partition", "integer"},
    {EVENTS, "weir.offset", "long"},
    {EVENTS, "weir.item", "integer"},
    {EVENTS, "weir.marks", "keyword"},
    {RUNS, "weir.level", "keyword"},
    {RUNS, "weir.queue_wait", "long"},
    {RUNS, "weir.late_by", "long"},
    {RUNS, "weir.attempts", "integer"},
    {RUNS, "weir.tasks.success", "integer"},
    {RUNS, "weir.tasks.upstream_failed", "integer"},
    {RUNS, "weir.expected.low", "long"},
    {RUNS, "weir.expected.high", "long"},
    {RUNS, "weir.overdue", "boolean"},
    {BUCKETS, "weir.count", "long"},
    {BUCKETS, "weir.sum", "double"},
    {BUCKETS, "weir.p99", "double"},
    {BUCKETS, "weir.distinct", "double"},
    {BUCKETS, "weir.ratio", "double"},
    {BUCKETS, "weir.late", "long"},
    {BUCKETS, "weir.version", "long"},
    {BUCKETS, "weir.window", "double"},
    {BUCKETS, "weir.statistic", "keyword"},
    {BUCKETS, "weir.anomaly", "boolean"},
    {BUCKETS, "weir.partial", "boolean"},
    {BUCKETS | SIGNALS, "weir.measure", "keyword"},
    {BUCKETS | SIGNALS | ALERTS, "weir.provisional", "boolean"},
    {BUCKETS | SIGNALS | ALERTS | RUNS, "weir.score", "double"},
    {BUCKETS | SIGNALS | ALERTS, "weir.expected.low", "double"},
    {SIGNALS, "weir.detector", "keyword"},
    {SIGNALS, "weir.channel", "keyword"},
    {SIGNALS, "weir.bucket", "keyword"},
    {SIGNALS | ALERTS, "weir.probability", "double"},
    {SIGNALS, "weir.one_in", "double"},
    {SIGNALS, "weir.direction", "keyword"},
    {SIGNALS, "weir.contributors", "nested"},
    {SIGNALS, "weir.contributors.field", "keyword"},
    {SIGNALS, "weir.contributors.value", "keyword"},
    {SIGNALS, "weir.contributors.share", "double"},
    {SIGNALS | ALERTS, "weir.actual", "double"},
    {SIGNALS | ALERTS, "weir.episode", "keyword"},
    {ALERTS, "weir.revision", "long"},
    {ALERTS, "weir.alert_state", "keyword"},
    {ALERTS, "weir.alert_kind", "keyword"},
    {ALERTS, "weir.severity", "keyword"},
    {ALERTS, "weir.silenced", "boolean"},
    {ALERTS, "weir.acknowledged_by", "keyword"},
    {ALERTS, "weir.feedback", "keyword"},
};

static void write_template(unsigned i, struct buffer *ret_name, struct flat *ret_flat)
{
    const struct template_names names = {.prefix = SPAN_LITERAL("weir"), .namespace_ = SPAN_LITERAL("prod")};
    struct buffer body;

    buffer_init(&body, 65536);
    buffer_init(ret_name, 256);
    template_write(i, &names, ret_name, &body);
    assert_false(body.full || ret_name->full);
    flat_parse(buffer_span(&body), ret_flat);
    buffer_free(&body);
}

/* What the mapping says of a dotted path: "template.mappings.properties.weir.properties.task.type". */
static const char *mapping_of(const struct flat *flat, const char *path, const char *key)
{
    char where[FLAT_PATH] = "template.mappings";

    while (*path) {
        size_t size = strcspn(path, "."), used = strlen(where);

        snprintf(where + used, sizeof where - used, ".properties.%.*s", (int)size, path);
        path += size + (path[size] == '.');
    }
    size_t used = strlen(where);
    snprintf(where + used, sizeof where - used, ".%s", key);
    return flat_find(flat, where);
}

static void assert_mapped(const struct flat *flat, const char *path, const char *type)
{
    const char *found = mapping_of(flat, path, "type");
    char quoted[32];

    if (!found)
        fail_msg("%s is not mapped", path);
    snprintf(quoted, sizeof quoted, "\"%s\"", type);
    assert_string_equal(found, quoted);
    if (strcmp(type, "keyword") == 0)
        assert_string_equal(mapping_of(flat, path, "ignore_above"), "1024");
}

static void check_table(const struct expected_field *fields, size_t count)
{
    for (unsigned i = 0; i < TEMPLATE_COUNT; i++) {
        struct buffer name;
        struct flat flat;

        write_template(i, &name, &flat);
        for (size_t j = 0; j < count; j++)
            if (fields[j].templates & 1u << i)
                assert_mapped(&flat, fields[j].path, fields[j].type);
        flat_free(&flat);
        buffer_free(&name);
    }
}

static void ecs_fields_have_their_types(void **state)
{
    check_table(ecs_fields, sizeof ecs_fields / sizeof *ecs_fields);
}

static void own_fields_have_their_types(void **state)
{
    check_table(own_fields, sizeof own_fields / sizeof *own_fields);
}

/* A path that is neither weir's nor in the table above is an ECS field that nobody has checked. */
static void no_ecs_field_is_unchecked(void **state)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        bool known = strncmp(field_rows[i].path, "weir.", 5) == 0;

        for (size_t j = 0; j < sizeof ecs_fields / sizeof *ecs_fields; j++)
            known = known || strcmp(field_rows[i].path, ecs_fields[j].path) == 0;
        if (!known)
            fail_msg("%s is not in the list of ECS fields", field_rows[i].path);
    }
}

static void every_field_row_is_in_every_template(void **state)
{
    for (unsigned i = 0; i < TEMPLATE_COUNT; i++) {
        struct buffer name;
        struct flat flat;

        write_template(i, &name, &flat);
        for (int j = 0; j < FIELD_COUNT; j++)
            assert_mapped(&flat, field_rows[j].path, field_rows[j].es_type);
        flat_free(&flat);
        buffer_free(&name);
    }
}

static void names_patterns_and_settings(void **state)
{
    static const struct {
        const char *name, *pattern;
        bool is_stream;
    } cases[TEMPLATE_COUNT] = {
        {"logs-weir.events-prod", "\"logs-weir.events-prod\"", true},
        {"logs-weir.signals-prod", "\"logs-weir.signals-prod\"", true},
        {"logs-weir.alerts-prod", "\"logs-weir.alerts-prod\"", true},
        {"weir-buckets-v1", "\"weir-buckets-v1-*\"", false},
        {"weir-runs-v1", "\"weir-runs-v1-*\"", false},
        {"weir-alerts-v1", "\"weir-alerts-v1\"", false},
        {"metrics-weir.pipeline-prod", "\"metrics-weir.pipeline-prod\"", true},
    };

    for (unsigned i = 0; i < TEMPLATE_COUNT; i++) {
        struct buffer name;
        struct flat flat;

        write_template(i, &name, &flat);
        assert_true(span_is(buffer_span(&name), cases[i].name));
        assert_string_equal(flat_find(&flat, "index_patterns.0"), cases[i].pattern);
        assert_null(flat_find(&flat, "index_patterns.1"));
        assert_string_equal(flat_find(&flat, "priority"), "300");
        assert_int_equal(flat_find(&flat, "data_stream") != NULL, cases[i].is_stream);
        assert_string_equal(flat_find(&flat, "template.settings.number_of_shards"), "1");
        assert_string_equal(flat_find(&flat, "template.mappings.dynamic"), "false");
        assert_string_equal(flat_find(&flat, "template.mappings.properties.labels.dynamic"), "true");
        assert_string_equal(flat_find(&flat, "template.mappings.dynamic_templates.0.labels.path_match"),
                            "\"labels.*\"");
        assert_string_equal(flat_find(&flat, "template.mappings.dynamic_templates.0.labels.mapping.type"),
                            "\"keyword\"");
        assert_string_equal(mapping_of(&flat, "weir.attempt", "ignore_malformed"), "true");
        flat_free(&flat);
        buffer_free(&name);
    }
}

static void every_state_and_statistic_is_mapped(void **state)
{
    struct buffer name, path;
    struct flat runs, buckets;

    write_template(3, &name, &buckets);
    buffer_free(&name);
    write_template(4, &name, &runs);
    buffer_init(&path, 64);
    for (int i = STATE_QUEUED; i < STATE_COUNT; i++) {
        buffer_clear(&path);
        buffer_print(&path, "weir.tasks.%s%c", run_state_names[i], '\0');
        assert_mapped(&runs, path.data, "integer");
    }
    for (int i = 0; i < STATISTICS; i++) {
        buffer_clear(&path);
        buffer_print(&path, "weir.%s%c", statistic_names[i], '\0');
        assert_mapped(&buckets, path.data, i == STAT_COUNT ? "long" : "double");
    }
    flat_free(&runs);
    flat_free(&buckets);
    buffer_free(&name);
    buffer_free(&path);
}

static void assert_document_is_mapped(unsigned i, const struct buffer *document)
{
    struct buffer name;
    struct flat template, flat;

    write_template(i, &name, &template);
    flat_parse(buffer_span(document), &flat);
    assert_true(flat.count > 10);
    for (size_t j = 0; j < flat.count; j++) {
        char *path = flat.entries[j].path, *last = strrchr(path, '.');

        if (flat.entries[j].value[0] == '{' || flat.entries[j].value[0] == '[')
            continue;
        if (last && last[1] >= '0' && last[1] <= '9') /* an element has the type of its list's path */
            *last = '\0';
        if (strncmp(path, "labels.", 7) != 0 && !mapping_of(&template, path, "type"))
            fail_msg("template %u does not map %s", i, path);
    }
    flat_free(&flat);
    flat_free(&template);
    buffer_free(&name);
}

static void documents_hold_only_mapped_paths(void **state)
{
    const struct event_origin origin = {.pipeline = EXAMPLE_PIPELINE, .topic = SPAN_LITERAL("t")};
    struct bucket bucket = example_bucket();
    struct signal_record signal = example_signal(&bucket);
    struct run_record run = example_run();
    struct alert alert = example_alert();
    struct metric_sample metric = example_metric();
    struct event_writer *writer = event_writer_new();
    struct event_batch batch;
    struct buffer documents[TEMPLATE_COUNT];

    event_batch_init(&batch, 1, NULL);
    event_batch_add(&batch);
    batch.time_us[0] = batch.arrival_us[0] = EXAMPLE_US;
    batch.state[0] = STATE_FAILED;
    batch.notes[0] = NOTE_LATE;
    for (int i = 0; i < TEMPLATE_COUNT; i++)
        buffer_init(&documents[i], 65536);
    event_writer_begin(writer, &batch, &origin);
    event_writer_put(writer, 0, &documents[0]);
    event_writer_free(writer);
    document_of_signal(EXAMPLE_PIPELINE, &signal, &documents[1]);
    document_of_alert(EXAMPLE_PIPELINE, &alert, &documents[2]);
    document_of_bucket(EXAMPLE_PIPELINE, &bucket, &documents[3]);
    document_of_run(EXAMPLE_PIPELINE, &run, &documents[4]);
    document_of_alert(EXAMPLE_PIPELINE, &alert, &documents[5]);
    document_of_metric(EXAMPLE_PIPELINE, &metric, &documents[6]);
    for (unsigned i = 0; i < TEMPLATE_COUNT; i++) {
        assert_document_is_mapped(i, &documents[i]);
        buffer_free(&documents[i]);
    }
    event_batch_free(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecs_fields_have_their_types),
        cmocka_unit_test(own_fields_have_their_types),
        cmocka_unit_test(no_ecs_field_is_unchecked),
        cmocka_unit_test(every_field_row_is_in_every_template),
        cmocka_unit_test(names_patterns_and_settings),
        cmocka_unit_test(every_state_and_statistic_is_mapped),
        cmocka_unit_test(documents_hold_only_mapped_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
