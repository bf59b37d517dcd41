/* Index templates from the field rows and the rows below. Runs at `weir setup` and when a sink installs what
 * is missing.
 * Any field may be a key of a measure or rule, so every template maps all field rows. Only types that
 * Elasticsearch 7.17 and OpenSearch 1 know are used. Unknown keys are stored but not indexed (dynamic:
 * false), so that no event can make the mapping grow; labels are the exception, bounded by LABELS_MAX.
 * Considered and left: component templates, which make six requests thirteen and cannot be replaced in one
 * step. */
#include "schemas/templates.h"

#include "schemas/encode.h"

#include <assert.h>
#include <stdlib.h>

struct mapping_row {
    const char *path, *type, *help;
};

// clang-format off
static const struct mapping_row common_rows[] = {
    {"weir.schema", "integer", "version of this contract: 1"},
    {"weir.doc", "keyword", "kind of the document: event, run, bucket, signal, alert, metric"},
    {"weir.pipeline", "keyword", "name of the pipeline"},
    {"ecs.version", "keyword", "version of the Elastic Common Schema that names without weir. follow"},
    {"labels", "object", "labels.NAME, each a keyword: at most 64 names; a dot in a name is written as _"},
    {"weir.target", "keyword", "what an alert is about: workflow/task, workflow, host:NAME or source:NAME; / and % in names are percent-encoded"},
    {NULL, NULL, NULL},
};

static const struct mapping_row event_rows[] = {
    {"event.type", "keyword", "start, end, info or error, by the state"},
    {"event.outcome", "keyword", "success, failure or unknown, at the end"},
    {"event.end", "date", "time of the event that ended the run or task"},
    {"event.created", "date", "time the message arrived in Kafka"},
    {"event.sequence", "long", "offset of the message"},
    {"weir.template.id", "keyword", "id of the template that the log message follows"},
    {"weir.template.text", "keyword", "that template, <*> for a variable part"},
    {"weir.topic", "keyword", "Kafka topic"},
    {"weir.partition", "integer", "partition of the topic"},
    {"weir.offset", "long", "offset of the message in the partition"},
    {"weir.item", "integer", "number of the event within its message, from 0"},
    {"weir.marks", "keyword", "what was done to the event: late, repaired, corrected, redacted"},
    {NULL, NULL, NULL},
};

static const struct mapping_row run_rows[] = { /* and weir.tasks.STATE */
    {"weir.level", "keyword", "run of a workflow, or task: one attempt of a task"},
    {"event.end", "date", "time it ended"},
    {"event.outcome", "keyword", "success, failure or unknown, at the end"},
    {"weir.queue_wait", "long", "from queued to started, in nanoseconds"},
    {"weir.late_by", "long", "from scheduled to started, in nanoseconds"},
    {"weir.attempts", "integer", "tries seen so far"},
    {"weir.expected.low", "long", "least duration that is usual, in nanoseconds"},
    {"weir.expected.high", "long", "longest duration that is usual, in nanoseconds"},
    {"weir.score", "double", "how unusual the duration is, 0 to 1"},
    {"weir.overdue", "boolean", "it is under way for longer than expected"},
    {NULL, NULL, NULL},
};

static const struct mapping_row bucket_rows[] = { /* and weir.STATISTIC */
    {"event.end", "date", "end of the bucket; its start is event.start and @timestamp"},
    {"weir.measure", "keyword", "name of the measure"},
    {"weir.window", "double", "length in seconds"},
    {"weir.late", "long", "events that came too late for it"},
    {"weir.version", "long", "events folded in, plus one; grows with a correction"},
    {"weir.provisional", "boolean", "closed without waiting for an idle partition: may be corrected"},
    {"weir.partial", "boolean", "events from before a restart without its state may be absent"},
    {"weir.score", "double", "highest score of the measure's detectors, 0 to 1"},
    {"weir.statistic", "keyword", "the statistic that score and band are about"},
    {"weir.anomaly", "boolean", "a detector calls the bucket an anomaly"},
    {"weir.expected.low", "double", "lower edge of the expected band"},
    {"weir.expected.high", "double", "upper edge of the expected band"},
    {NULL, NULL, NULL},
};

static const struct mapping_row signal_rows[] = {
    {"weir.detector", "keyword", "name of the detector"},
    {"weir.channel", "keyword", "which part of the detector spoke"},
    {"weir.measure", "keyword", "name of the measure"},
    {"weir.bucket", "keyword", "id of the bucket that was scored"},
    {"weir.score", "double", "0 to 1, rises with rarity"},
    {"weir.probability", "double", "of a value at least as unusual"},
    {"weir.one_in", "double", "one divided by the probability"},
    {"weir.actual", "double", "the value"},
    {"weir.expected.low", "double", "lower edge of the expected band"},
    {"weir.expected.high", "double", "upper edge of the expected band"},
    {"weir.direction", "keyword", "up or down"},
    {"weir.episode", "keyword", "id of the alert's episode"},
    {"weir.provisional", "boolean", "as of the bucket"},
    {"weir.contributors", "nested", "what contributed most"},
    {"weir.contributors.field", "keyword", "field"},
    {"weir.contributors.value", "keyword", "value of the field"},
    {"weir.contributors.share", "double", "its share, 0 to 1"},
    {NULL, NULL, NULL},
};

static const struct mapping_row alert_rows[] = {
    {"event.severity", "long", "1 info, 2 warning, 3 error, 4 critical"},
    {"event.reason", "keyword", "why the state changed: condition, no_data, expired, removed, withdrawn"},
    {"event.end", "date", "when the condition ended; its start is event.start"},
    {"rule.id", "keyword", "name of the rule or detector"},
    {"rule.name", "keyword", "the same"},
    {"rule.reference", "keyword", "address of the runbook"},
    {"weir.episode", "keyword", "id of all revisions from pending to resolved"},
    {"weir.revision", "long", "number of the line within its episode, from 0"},
    {"weir.alert_state", "keyword", "pending, firing or resolved"},
    {"weir.alert_kind", "keyword", "rule, failure, duration, overdue, missing, stuck, sequence, retry, template, volume, heartbeat, metric, forecast, rare, incident or self"},
    {"weir.severity", "keyword", "critical, error, warning or info"},
    {"weir.score", "double", "of the detector, 0 to 1"},
    {"weir.probability", "double", "of a value at least as unusual"},
    {"weir.actual", "double", "the value"},
    {"weir.expected.low", "double", "lower edge of the expected band"},
    {"weir.expected.high", "double", "upper edge of the expected band"},
    {"weir.provisional", "boolean", "as of the bucket"},
    {"weir.silenced", "boolean", "nobody was told, because of a silence"},
    {"weir.acknowledged_by", "keyword", "who has taken it on"},
    {"weir.feedback", "keyword", "what people say of it: noise or right"},
    {NULL, NULL, NULL},
};

static const struct mapping_row metric_rows[] = {
    {"process.pid", "long", "process, on host.name, whose figure it is"},
    {NULL, NULL, NULL},
};

static const struct template_row {
    enum document_kind kind;
    const char *before, *after; /* of the prefix, in the template's name */
    bool is_stream;             /* the namespace comes last */
    const char *pattern_end;
    const struct mapping_row *rows;
    const char *help;
} templates[TEMPLATE_COUNT] = {
    {DOC_EVENT, "logs-", ".events-", true, "", event_rows, "Each cleaned event, once."},
    {DOC_SIGNAL, "logs-", ".signals-", true, "", signal_rows, "An anomaly that a detector sees in a bucket; @timestamp is the end of the bucket."},
    {DOC_ALERT, "logs-", ".alerts-", true, "", alert_rows, "Each revision of an alert; @timestamp is when its state changed; event.url links to the run or its log, message is the summary."},
    {DOC_BUCKET, "", "-buckets-v1", false, "-*", bucket_rows, "A measure over one bucket of time and one key, rewritten with each correction; the key's fields stand at their own paths; @timestamp is its start."},
    {DOC_RUN, "", "-runs-v1", false, "-*", run_rows, "A run of a workflow or an attempt of a task as it is now, rewritten at each transition; @timestamp is its first known time and never moves. event.duration is in nanoseconds."},
    {DOC_ALERT, "", "-alerts-v1", false, "", alert_rows, "The last revision of each episode."},
    {DOC_METRIC, "metrics-", ".pipeline-", true, "", metric_rows, "A sample of a figure of /metrics, every 10 s, for a sink that is told to send metrics: weir.metric is its name, weir.value the value, labels its labels."},
};
// clang-format on

enum { MAPPING_ROWS_MAX = 160, PATH_MAX_BYTES = 64 };

/* All rows of one template, sorted by path: those under one object then follow each other. */
struct mapping {
    struct mapping_row rows[MAPPING_ROWS_MAX];
    size_t count;
    char made[STATE_COUNT + STATISTICS][PATH_MAX_BYTES]; /* paths that stand in no table */
    size_t made_count;
};

static void add_row(struct mapping *mapping, const char *path, const char *type)
{
    assert(mapping->count < MAPPING_ROWS_MAX);
    mapping->rows[mapping->count++] = (struct mapping_row){.path = path, .type = type};
}

static void add_rows(struct mapping *mapping, const struct mapping_row *rows)
{
    for (; rows->path; rows++)
        add_row(mapping, rows->path, rows->type);
}

static void add_made(struct mapping *mapping, const char *before, const char *name, const char *type)
{
    char *path = mapping->made[mapping->made_count++];
    size_t first = strlen(before), size = strlen(name);

    assert(mapping->made_count <= STATE_COUNT + STATISTICS && first + size < PATH_MAX_BYTES);
    memcpy(path, before, first);
    memcpy(path + first, name, size + 1);
    add_row(mapping, path, type);
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct mapping_row *)a)->path, ((const struct mapping_row *)b)->path);
}

static void collect(const struct template_row *template, struct mapping *ret_mapping)
{
    *ret_mapping = (struct mapping){0};
    for (int i = 0; i < FIELD_COUNT; i++)
        add_row(ret_mapping, field_rows[i].path, field_rows[i].es_type);
    add_rows(ret_mapping, common_rows);
    add_rows(ret_mapping, template->rows);
    for (int i = STATE_QUEUED; i < STATE_COUNT && template->kind == DOC_RUN; i++)
        add_made(ret_mapping, "weir.tasks.", run_state_names[i], "integer");
    for (int i = 0; i < STATISTICS && template->kind == DOC_BUCKET; i++)
        add_made(ret_mapping, "weir.", statistic_names[i], i == STAT_COUNT ? "long" : "double");
    qsort(ret_mapping->rows, ret_mapping->count, sizeof *ret_mapping->rows, compare_rows);
    for (size_t i = 1; i < ret_mapping->count; i++)
        assert(compare_rows(&ret_mapping->rows[i - 1], &ret_mapping->rows[i]) != 0);
}

static void write_type(struct json_writer *json, const char *type)
{
    json_text(json, "type", span_of(type));
    if (strcmp(type, "keyword") == 0)
        json_integer(json, "ignore_above",
                     1024); /* Lucene refuses a document with a term of more than 32766 bytes */
    if (strcmp(type, "short") == 0)
        json_bool(json, "ignore_malformed",
                  true); /* attempts are unsigned in weir: beyond 32767 stored, not indexed */
    if (strcmp(type, "object") == 0)
        json_bool(json, "dynamic", true); /* labels */
}

/* The rows share the first `prefix` bytes of their paths; each key behind it becomes a field or an object. */
static void write_properties(struct json_writer *json, const struct mapping_row *rows, size_t count,
                             size_t prefix)
{
    size_t first = 0;

    json_open(json, "properties");
    while (first < count) {
        const char *key = rows[first].path + prefix;
        size_t size = strcspn(key, "."), end = first;
        bool has_type = key[size] == '\0';

        while (end < count && strncmp(rows[end].path + prefix, key, size) == 0 &&
               (rows[end].path[prefix + size] == '.' || rows[end].path[prefix + size] == '\0'))
            end++;
        json_key(json, span_make(key, size));
        json_open(json, NULL);
        if (has_type)
            write_type(json, rows[first].type);
        first += has_type;
        if (first < end)
            write_properties(json, rows + first, end - first, prefix + size + 1);
        json_close(json);
        first = end;
    }
    json_close(json);
}

static void write_mappings(struct json_writer *json, const struct template_row *template)
{
    struct mapping mapping;

    collect(template, &mapping);
    json_open(json, "mappings");
    json_bool(json, "dynamic", false);
    json_open_list(json, "dynamic_templates");
    json_open(json, NULL);
    json_open(json, "labels");
    json_text(json, "path_match", SPAN_LITERAL("labels.*"));
    json_open(json, "mapping");
    write_type(json, "keyword");
    json_close(json);
    json_close(json);
    json_close(json);
    json_close_list(json);
    write_properties(json, mapping.rows, mapping.count, 0);
    json_close(json);
}

void template_write(unsigned i, const struct template_names *names, struct buffer *ret_name,
                    struct buffer *ret_body)
{
    const struct template_row *template = &templates[i];
    struct json_writer json;
    size_t first = ret_name->size;

    assert(i < TEMPLATE_COUNT);
    buffer_put_text(ret_name, template->before);
    buffer_put_span(ret_name, names->prefix);
    buffer_put_text(ret_name, template->after);
    if (template->is_stream)
        buffer_put_span(ret_name, names->namespace_);

    json_begin(&json, ret_body);
    json_open(&json, NULL);
    json_open_list(&json, "index_patterns");
    size_t name_size = ret_name->size;
    buffer_put_text(ret_name, template->pattern_end);
    json_text(&json, NULL, span_make(ret_name->data + first, ret_name->size - first));
    buffer_truncate(ret_name, name_size);
    json_close_list(&json);
    json_integer(&json, "priority", 300); /* the servers' own templates for logs-*-* have 100 */
    json_integer(&json, "version", SCHEMA_VERSION);
    if (template->is_stream && !names->plain) {
        json_open(&json, "data_stream");
        json_close(&json);
    }
    json_open(&json, "template");
    json_open(&json, "settings");
    json_integer(&json, "number_of_shards", 1);
    json_close(&json);
    write_mappings(&json, template);
    json_close(&json);
    json_close(&json);
}

static void describe_rows(const struct mapping_row *rows, struct buffer *out)
{
    for (; rows->path; rows++)
        buffer_print(out, "| `%s` | %s | %s |\n", rows->path, rows->type, rows->help);
}

void templates_describe(struct buffer *out)
{
    static const char head[] = "| field | type | meaning |\n| --- | --- | --- |\n";

    buffer_print(out, "## Fields of every kind\n\n%s", head);
    buffer_print(out, "| `%s` | %s | %s |\n", field_rows[F_TIME].path, field_rows[F_TIME].es_type,
                 "what the kind says of it below");
    describe_rows(common_rows, out);
    buffer_print(out,
                 "\n## Fields of events\n\nThe other kinds have those that tell whose run, task, bucket or "
                 "alert it is.\n\n%s",
                 head);
    for (int i = F_TIME + 1; i < FIELD_COUNT; i++)
        buffer_print(out, "| `%s` | %s | %s |\n", field_rows[i].path, field_rows[i].es_type,
                     field_rows[i].help);
    for (unsigned i = 0; i < TEMPLATE_COUNT; i++) {
        const struct template_row *template = &templates[i];

        buffer_print(out, "\n## %s: `%sweir%s%s%s`\n\n%s\n", document_kind_names[template->kind],
                     template->before, template->after, template->is_stream ? "NAMESPACE" : "",
                     template->pattern_end[0] ? "-YYYY.MM" : "", template->help);
        if (strstr(template->after, "-alerts"))
            continue; /* the fields are those of the stream */
        buffer_print(out, "\n%s", head);
        describe_rows(template->rows, out);
        for (int k = 0; k < STATISTICS && template->kind == DOC_BUCKET; k++)
            buffer_print(out, "| `weir.%s` | %s | statistic of the measure, if it asks for it |\n",
                         statistic_names[k], k == STAT_COUNT ? "long" : "double");
        for (int k = STATE_QUEUED; k < STATE_COUNT && template->kind == DOC_RUN; k++)
            buffer_print(out, "| `weir.tasks.%s` | integer | task attempts of the run in this state |\n",
                         run_state_names[k]);
    }
}
