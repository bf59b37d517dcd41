/* The documents that Elasticsearch gets: ECS names where ECS has one, weir.* for the rest, nested as objects.
 * An object is written once and whole: Elasticsearch refuses a key that comes twice.
 * Each object is written from one range of the field rows, which stand in that order. Those here are written
 * once a closed bucket, signal, transition or alert revision; they collect their key by field first.
 * document_event.c writes the events.
 * Considered and left: dotted keys at the root ("weir.task"), which need no grouping but repeat the prefix
 * in each key. */
#include "schemas/documents_internal.h"

#include <assert.h>
#include <math.h>

const char *const document_kind_names[DOC_KINDS + 1] = {"events", "runs",    "buckets", "signals",
                                                        "alerts", "metrics", NULL};

static const char *const doc_names[DOC_KINDS] = {"event",  "run",   "bucket",
                                                 "signal", "alert", "metric"}; /* weir.doc */

const struct object_row object_rows[OBJECTS] = {
    [OBJECT_WEIR] = {"weir", sizeof "weir", F_SOURCE, F_HOST},
    [OBJECT_HOST] = {"host", sizeof "host", F_HOST, F_KIND},
    [OBJECT_EVENT] = {"event", sizeof "event", F_KIND, F_MESSAGE},
    [OBJECT_MESSAGE] = {NULL, 0, F_MESSAGE, F_LEVEL},
    [OBJECT_LOG] = {"log", sizeof "log", F_LEVEL, F_ERROR_TYPE},
    [OBJECT_ERROR] = {"error", sizeof "error", F_ERROR_TYPE, F_VERSION},
    [OBJECT_SERVICE] = {"service", sizeof "service", F_VERSION, F_TRACE},
    [OBJECT_TRACE] = {"trace", sizeof "trace", F_TRACE, FIELD_COUNT},
};

void document_begin(struct json_writer *json, struct buffer *out, int64_t time_us, enum document_kind kind,
                    struct span pipeline)
{
    json_begin(json, out);
    json_open(json, NULL);
    json_time_if(json, "@timestamp", time_us);
    json_open(json, "weir");
    json_integer(json, "schema", SCHEMA_VERSION);
    json_text(json, "doc", span_of(doc_names[kind]));
    json_text_if(json, "pipeline", pipeline);
}

void document_ecs_version(struct json_writer *json)
{
    json_raw(json, "ecs", SPAN_LITERAL("{\"version\":\"8.11.0\"}"));
}

/* A dot in a label's name would open an object; field_ref_parse sees to it that the outcome stays unique. */
void document_label_key(struct json_writer *json, struct span name)
{
    char key[LABEL_NAME_MAX];
    uint32_t size = name.size < sizeof key ? name.size : sizeof key;

    for (uint32_t i = 0; i < size; i++)
        key[i] = name.data[i] == '.' ? '_' : name.data[i];
    json_key(json, span_make(key, size));
}

static void write_label(struct json_writer *json, struct span name, struct span value)
{
    document_label_key(json, name);
    json_text(json, NULL, value);
}

bool nanoseconds_of(double milliseconds, int64_t *ret_nanoseconds)
{
    double nanoseconds = round(milliseconds * 1e6);

    if (!(fabs(nanoseconds) < 0x1p63)) /* NaN too */
        return false;
    *ret_nanoseconds = (int64_t)nanoseconds;
    return true;
}

static void write_nanoseconds(struct json_writer *json, const char *key, double milliseconds)
{
    int64_t nanoseconds;

    if (nanoseconds_of(milliseconds, &nanoseconds))
        json_integer(json, key, nanoseconds);
}

struct span outcome_of(enum run_state state)
{
    switch (state) {
    case STATE_SUCCESS:
        return SPAN_LITERAL("success");
    case STATE_FAILED:
    case STATE_TIMED_OUT:
    case STATE_UPSTREAM_FAILED:
        return SPAN_LITERAL("failure");
    default:
        return run_state_is_terminal(state) ? SPAN_LITERAL("unknown") : (struct span){0};
    }
}

/* Texts by field, in an order that knows nothing of objects; the rows of `object` are written, the object
 * itself only if one of them has a text. */
static void write_text_object(struct json_writer *json, const struct object_row *object,
                              const struct span texts[FIELD_COUNT])
{
    bool open = false;

    for (unsigned i = object->first; i < object->end; i++) {
        if (!texts[i].size)
            continue;
        if (!open && object->name)
            json_open(json, object->name);
        open = true;
        json_text(json, object_key(object, i), texts[i]);
    }
    if (open && object->name)
        json_close(json);
}

static void write_run_labels(struct json_writer *json, const struct run_record *run)
{
    bool open = false;

    for (unsigned i = 0; run->label_names && i < run->label_names->count; i++)
        if (run->labels[i].size) {
            if (!open)
                json_open(json, "labels");
            open = true;
            write_label(json, span_of(run->label_names->names[i]), run->labels[i]);
        }
    if (open)
        json_close(json);
}

/* The key of a bucket or alert, sorted into the places it goes to. */
struct document_key {
    struct span texts[FIELD_COUNT];
    struct alert_label labels[KEY_FIELDS_MAX];
    unsigned label_count;
};

/* Paths that buckets, signals and alerts use for themselves; a key field of that name goes to labels. */
static bool path_is_taken(enum field field)
{
    return field == F_TIME || field == F_KIND || field == F_STARTED || field == F_DURATION_MS ||
           field == F_URL || field == F_MESSAGE || field == F_UNIT;
}

static void add_key(struct document_key *key, int field, struct span name, struct span value)
{
    const struct span prefix = SPAN_LITERAL("labels.");

    if (!value.size)
        return;
    if (field >= 0 && field < FIELD_COUNT && !path_is_taken((enum field)field)) {
        key->texts[field] = value;
        return;
    }
    if (name.size > prefix.size && memcmp(name.data, prefix.data, prefix.size) == 0)
        name = span_make(name.data + prefix.size, name.size - prefix.size);
    assert(key->label_count < KEY_FIELDS_MAX);
    key->labels[key->label_count++] = (struct alert_label){name, value};
}

static void key_of_bucket(const struct bucket *bucket, struct document_key *ret_key)
{
    const struct measure_shape *shape = bucket->shape;

    assert(shape->by_count <= KEY_FIELDS_MAX);
    *ret_key = (struct document_key){0};
    for (unsigned i = 0; i < shape->by_count; i++)
        add_key(ret_key, (int)shape->by[i].field, span_of(shape->by_names[i]), bucket->key[i]);
}

/* The key fields of an object that is open. */
static void write_key_fields(struct json_writer *json, const struct object_row *object,
                             const struct document_key *key)
{
    for (unsigned i = object->first; i < object->end; i++) {
        enum field_type type = field_rows[i].type;

        if (!key->texts[i].size)
            continue;
        if (type == FIELD_NUMBER || type == FIELD_INTEGER || type == FIELD_SMALL)
            json_number_if(json, object_key(object, i), number_of_text(key->texts[i]));
        else
            json_text(json, object_key(object, i), key->texts[i]);
    }
}

/* What stands between "weir" and "event". */
static void write_middle(struct json_writer *json, const struct document_key *key)
{
    document_ecs_version(json);
    if (key->label_count) {
        json_open(json, "labels");
        for (unsigned i = 0; i < key->label_count; i++)
            write_label(json, key->labels[i].name, key->labels[i].value);
        json_close(json);
    }
    write_text_object(json, &object_rows[OBJECT_HOST], key->texts);
}

/* What stands behind "event". */
static void write_end(struct json_writer *json, const struct document_key *key)
{
    for (unsigned i = OBJECT_MESSAGE; i < OBJECTS; i++)
        write_text_object(json, &object_rows[i], key->texts);
}

static void write_expected(struct json_writer *json, double low, double high)
{
    if (!isfinite(low) && !isfinite(high))
        return;
    json_open(json, "expected");
    json_number_if(json, "low", low);
    json_number_if(json, "high", high);
    json_close(json);
}

void document_of_bucket(struct span pipeline, const struct bucket *bucket, struct buffer *out)
{
    const struct measure_shape *shape = bucket->shape;
    struct document_key key;
    struct json_writer json;

    key_of_bucket(bucket, &key);
    document_begin(&json, out, bucket->start_us, DOC_BUCKET, pipeline);
    write_key_fields(&json, &object_rows[OBJECT_WEIR], &key);
    json_text(&json, "measure", span_of(shape->name));
    json_text_if(&json, "unit", span_of(shape->unit));
    json_number(&json, "window", (double)shape->window_us / 1e6);
    for (int i = 0; i < STATISTICS; i++)
        if (shape->statistics & 1u << i)
            json_number_if(&json, statistic_names[i], bucket->values[i]);
    json_unsigned(&json, "late", bucket->late);
    json_unsigned(&json, "version", bucket->version);
    json_bool(&json, "provisional", bucket->provisional);
    if (bucket->partial)
        json_bool(&json, "partial", true);
    if (isfinite(bucket->score)) {
        json_number(&json, "score", bucket->score);
        json_text(&json, "statistic", span_of(statistic_names[bucket->scored]));
        json_bool(&json, "anomaly", bucket->anomaly);
        write_expected(&json, bucket->expected_low, bucket->expected_high);
    }
    json_close(&json);
    write_middle(&json, &key);
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("metric"));
    write_key_fields(&json, &object_rows[OBJECT_EVENT], &key);
    json_time(&json, "start", bucket->start_us);
    json_time(&json, "end", bucket->end_us);
    json_close(&json);
    write_end(&json, &key);
    json_close(&json);
}

void document_of_signal(struct span pipeline, const struct signal_record *record, struct buffer *out)
{
    const struct signal *signal = &record->signal;
    const struct bucket *bucket = record->bucket;
    struct document_key key;
    struct json_writer json;

    key_of_bucket(bucket, &key);
    document_begin(&json, out, bucket->end_us, DOC_SIGNAL, pipeline);
    write_key_fields(&json, &object_rows[OBJECT_WEIR], &key);
    json_text(&json, "detector", span_of(record->detector));
    if (signal->opinion)
        json_text_if(&json, "channel", span_of(signal->channel));
    json_text(&json, "measure", span_of(bucket->shape->name));
    json_id(&json, "bucket", bucket->id);
    if (signal->opinion) {
        json_number_if(&json, "score", signal->score);
        json_number_if(&json, "probability", signal->probability);
        json_number_if(&json, "one_in", signal->one_in);
        json_number_if(&json, "actual", signal->actual);
        write_expected(&json, signal->expected_low, signal->expected_high);
        json_text_if(&json, "direction", span_of(direction_names[signal->direction]));
    }
    if (!id_equal(record->episode, (struct id128){0}))
        json_id(&json, "episode", record->episode);
    json_bool(&json, "provisional", bucket->provisional);
    json_close(&json);
    write_middle(&json, &key);
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("signal"));
    write_key_fields(&json, &object_rows[OBJECT_EVENT], &key);
    json_close(&json);
    write_end(&json, &key);
    json_close(&json);
}

static void key_of_run(const struct run_record *run, struct document_key *ret_key)
{
    *ret_key = (struct document_key){.texts = {
                                         [F_SOURCE] = run->source,
                                         [F_NAMESPACE] = run->namespace_,
                                         [F_ENGINE] = run->engine,
                                         [F_WORKFLOW] = run->workflow,
                                         [F_TASK] = run->task,
                                         [F_RUN] = run->run,
                                         [F_RUN_NAME] = run->run_name,
                                         [F_ROOT_RUN] = run->root_run,
                                         [F_PARENT_RUN] = run->parent_run,
                                         [F_OWNER] = run->owner,
                                         [F_QUEUE] = run->queue,
                                         [F_WORKER] = run->worker,
                                         [F_HOST] = run->host,
                                         [F_URL] = run->url,
                                         [F_ERROR_TYPE] = run->error_type,
                                         [F_ERROR] = run->error,
                                     }};
}

static void write_run_fields(struct json_writer *json, const struct run_record *run)
{
    if (run->map_index != INT32_MIN)
        json_integer(json, "map_index", run->map_index);
    if (run->attempt)
        json_unsigned(json, "attempt", run->attempt);
    json_text(json, "level", run->is_task ? SPAN_LITERAL("task") : SPAN_LITERAL("run"));
    json_text_if(json, "state", span_of(run_state_names[run->state]));
    json_time_if(json, "scheduled", run->scheduled_us);
    json_time_if(json, "queued", run->queued_us);
    write_nanoseconds(json, "queue_wait", run->queue_wait_ms);
    write_nanoseconds(json, "late_by", run->late_by_ms);
    if (run->attempts)
        json_unsigned(json, "attempts", run->attempts);
    json_task_counts(json, run);
}

void document_of_run(struct span pipeline, const struct run_record *run, struct buffer *out)
{
    struct document_key key;
    struct json_writer json;

    key_of_run(run, &key);
    document_begin(&json, out, run->first_us, DOC_RUN, pipeline);
    write_key_fields(&json, &object_rows[OBJECT_WEIR], &key);
    write_run_fields(&json, run);
    json_close(&json);
    document_ecs_version(&json);
    write_run_labels(&json, run);
    write_text_object(&json, &object_rows[OBJECT_HOST], key.texts);
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("event"));
    write_key_fields(&json, &object_rows[OBJECT_EVENT], &key);
    json_time_if(&json, "start", run->started_us);
    json_time_if(&json, "end", run->ended_us);
    write_nanoseconds(&json, "duration", run->duration_ms);
    json_text_if(&json, "outcome", outcome_of(run->state));
    json_close(&json);
    write_end(&json, &key);
    json_close(&json);
}

/* The labels first, so that what the alert itself knows of its run or task wins. */
static void key_of_alert(const struct alert *alert, struct document_key *ret_key)
{
    const struct {
        enum field field;
        struct span text;
    } own[] = {
        {F_SOURCE, alert->source},     {F_NAMESPACE, alert->namespace_},
        {F_WORKFLOW, alert->workflow}, {F_TASK, alert->task},
        {F_RUN, alert->run},           {F_RUN_NAME, alert->run_name},
        {F_HOST, alert->host},         {F_URL, alert->url},
        {F_MESSAGE, alert->summary},
    };

    assert(alert->label_count <= KEY_FIELDS_MAX);
    *ret_key = (struct document_key){0};
    for (unsigned i = 0; i < alert->label_count; i++)
        add_key(ret_key, field_find(alert->labels[i].name), alert->labels[i].name, alert->labels[i].value);
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i].text.size)
            ret_key->texts[own[i].field] = own[i].text;
    if (alert->attempt)
        ret_key->texts[F_ATTEMPT] = (struct span){0};
}

static void write_alert_fields(struct json_writer *json, const struct alert *alert)
{
    if (alert->attempt)
        json_unsigned(json, "attempt", alert->attempt);
    json_id(json, "episode", alert->episode);
    json_unsigned(json, "revision", alert->revision);
    json_text(json, "alert_state", span_of(alert_state_names[alert->state]));
    json_text(json, "alert_kind", span_of(alert_kind_names[alert->kind]));
    json_text(json, "severity", span_of(severity_names[alert->severity]));
    json_target(json, alert);
    json_number_if(json, "score", alert->score);
    json_number_if(json, "probability", alert->probability);
    json_number_if(json, "actual", alert->actual);
    write_expected(json, alert->expected_low, alert->expected_high);
    json_text_if(json, "unit", alert->unit);
    json_bool(json, "provisional", alert->provisional);
}

void document_of_alert(struct span pipeline, const struct alert *alert, struct buffer *out)
{
    struct document_key key;
    struct json_writer json;

    key_of_alert(alert, &key);
    document_begin(&json, out, alert->at_us, DOC_ALERT, pipeline);
    write_key_fields(&json, &object_rows[OBJECT_WEIR], &key);
    write_alert_fields(&json, alert);
    json_close(&json);
    write_middle(&json, &key);
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("alert"));
    json_integer(&json, "severity", (int64_t)alert->severity + 1);
    json_text(&json, "reason", span_of(alert_reason_names[alert->reason]));
    json_time_if(&json, "start", alert->starts_us);
    json_time_if(&json, "end", alert->ends_us);
    write_key_fields(&json, &object_rows[OBJECT_EVENT], &key);
    json_close(&json);
    write_end(&json, &key);
    json_open(&json, "rule");
    json_text(&json, "id", alert->rule);
    json_text(&json, "name", alert->rule);
    json_text_if(&json, "reference", alert->runbook);
    json_close(&json);
    json_close(&json);
}

struct id128 metric_id(struct span pipeline, const struct metric_sample *sample)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, pipeline);
    id_add_text(&builder, sample->host);
    id_add_integer(&builder, sample->process);
    id_add_integer(&builder, sample->time_us);
    id_add_text(&builder, sample->name);
    for (unsigned i = 0; i < sample->label_count; i++) {
        id_add_text(&builder, sample->labels[i].name);
        id_add_text(&builder, sample->labels[i].value);
    }
    return id_end(&builder);
}

void document_of_metric(struct span pipeline, const struct metric_sample *sample, struct buffer *out)
{
    struct json_writer json;

    document_begin(&json, out, sample->time_us, DOC_METRIC, pipeline);
    json_text(&json, "metric", sample->name);
    json_number(&json, "value", sample->value);
    json_close(&json);
    document_ecs_version(&json);
    if (sample->label_count) {
        json_open(&json, "labels");
        for (unsigned i = 0; i < sample->label_count; i++) {
            json_key(&json, sample->labels[i].name);
            json_raw(&json, NULL, sample->labels[i].value);
        }
        json_close(&json);
    }
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("metric"));
    json_close(&json);
    json_open(&json, "host");
    json_text(&json, "name", sample->host);
    json_close(&json);
    json_open(&json, "process");
    json_integer(&json, "pid", sample->process);
    json_close(&json);
    json_close(&json);
}
