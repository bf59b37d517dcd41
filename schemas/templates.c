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
    const char *path, *type;
};

// clang-format off
static const struct mapping_row common_rows[] = {
    {"weir.schema", "integer"}, {"weir.doc", "keyword"}, {"weir.pipeline", "keyword"}, {"ecs.version", "keyword"},
    {"labels", "object"}, {"weir.target", "keyword"}, {NULL, NULL},
};

static const struct mapping_row event_rows[] = {
    {"event.type", "keyword"}, {"event.outcome", "keyword"}, {"event.end", "date"}, {"event.created", "date"},
    {"event.sequence", "long"}, {"weir.template.id", "keyword"}, {"weir.template.text", "keyword"},
    {"weir.topic", "keyword"}, {"weir.partition", "integer"}, {"weir.offset", "long"}, {"weir.item", "integer"},
    {"weir.marks", "keyword"}, {NULL, NULL},
};

static const struct mapping_row run_rows[] = { /* and weir.tasks.STATE */
    {"weir.level", "keyword"}, {"event.end", "date"}, {"event.outcome", "keyword"}, {"weir.queue_wait", "long"},
    {"weir.late_by", "long"}, {"weir.attempts", "integer"}, {"weir.expected.low", "long"}, {"weir.expected.high", "long"},
    {"weir.score", "double"}, {"weir.overdue", "boolean"}, {NULL, NULL},
};

static const struct mapping_row bucket_rows[] = { /* and weir.STATISTIC */
    {"event.end", "date"}, {"weir.measure", "keyword"}, {"weir.window", "double"}, {"weir.late", "long"},
    {"weir.version", "long"}, {"weir.provisional", "boolean"}, {"weir.partial", "boolean"}, {"weir.score", "double"},
    {"weir.statistic", "keyword"}, {"weir.anomaly", "boolean"},
    {"weir.expected.low", "double"}, {"weir.expected.high", "double"}, {NULL, NULL},
};

static const struct mapping_row signal_rows[] = {
    {"weir.detector", "keyword"}, {"weir.channel", "keyword"}, {"weir.measure", "keyword"}, {"weir.bucket", "keyword"},
    {"weir.score", "double"}, {"weir.probability", "double"}, {"weir.one_in", "double"}, {"weir.actual", "double"},
    {"weir.expected.low", "double"}, {"weir.expected.high", "double"}, {"weir.direction", "keyword"},
    {"weir.episode", "keyword"}, {"weir.provisional", "boolean"}, {"weir.contributors", "nested"},
    {"weir.contributors.field", "keyword"}, {"weir.contributors.value", "keyword"}, {"weir.contributors.share", "double"},
    {NULL, NULL},
};

static const struct mapping_row alert_rows[] = {
    {"event.severity", "long"}, {"event.reason", "keyword"}, {"event.end", "date"}, {"rule.id", "keyword"},
    {"rule.name", "keyword"}, {"rule.reference", "keyword"}, {"weir.episode", "keyword"}, {"weir.revision", "long"},
    {"weir.alert_state", "keyword"}, {"weir.alert_kind", "keyword"}, {"weir.severity", "keyword"},
    {"weir.score", "double"}, {"weir.probability", "double"}, {"weir.actual", "double"}, {"weir.expected.low", "double"},
    {"weir.expected.high", "double"}, {"weir.provisional", "boolean"}, {"weir.silenced", "boolean"},
    {"weir.acknowledged_by", "keyword"}, {"weir.feedback", "keyword"}, {NULL, NULL},
};

static const struct mapping_row metric_rows[] = {{"process.pid", "long"}, {NULL, NULL}};

static const struct template_row {
    enum document_kind kind;
    const char *before, *after; /* of the prefix, in the template's name */
    bool is_stream;             /* the namespace comes last */
    const char *pattern_end;
    const struct mapping_row *rows;
} templates[TEMPLATE_COUNT] = {
    {DOC_EVENT, "logs-", ".events-", true, "", event_rows},
    {DOC_SIGNAL, "logs-", ".signals-", true, "", signal_rows},
    {DOC_ALERT, "logs-", ".alerts-", true, "", alert_rows},
    {DOC_BUCKET, "", "-buckets-v1", false, "-*", bucket_rows},
    {DOC_RUN, "", "-runs-v1", false, "-*", run_rows},
    {DOC_ALERT, "", "-alerts-v1", false, "", alert_rows},
    {DOC_METRIC, "metrics-", ".pipeline-", true, "", metric_rows},
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
    mapping->rows[mapping->count++] = (struct mapping_row){path, type};
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
