/* The documents that Elasticsearch gets: ECS names where ECS has one, weir.* for the rest, nested as objects.
 * An object is written once and whole: Elasticsearch refuses a key that comes twice.
 * document_of_event runs once an event and sink (up to a million a second): it writes each object from one
 * range of the field rows, which stand in that order, so nothing is grouped, searched or printed a row. The
 * others run once a closed bucket, signal, transition or alert revision; they collect their key by field
 * first, then write the same ranges.
 * Considered and left: dotted keys at the root ("weir.task"), which need no grouping but repeat the prefix
 * in each key. */
#include "schemas/encode.h"

#include <assert.h>
#include <math.h>

const char *const document_kind_names[DOC_KINDS + 1] = {"events", "runs",    "buckets", "signals",
                                                        "alerts", "metrics", NULL};

static const char *const doc_names[DOC_KINDS] = {"event",  "run",   "bucket",
                                                 "signal", "alert", "metric"}; /* weir.doc */

/* The objects of a document and their ranges of field rows. */
static const struct object {
    const char *name; /* NULL: at the root */
    unsigned prefix;  /* bytes of a row's path before the key within the object */
    enum field first, end;
} objects[] = {
    {"weir", sizeof "weir", F_SOURCE, F_HOST},         {"host", sizeof "host", F_HOST, F_KIND},
    {"event", sizeof "event", F_KIND, F_MESSAGE},      {NULL, 0, F_MESSAGE, F_LEVEL},
    {"log", sizeof "log", F_LEVEL, F_ERROR_TYPE},      {"error", sizeof "error", F_ERROR_TYPE, F_VERSION},
    {"service", sizeof "service", F_VERSION, F_TRACE}, {"trace", sizeof "trace", F_TRACE, FIELD_COUNT},
};

enum {
    OBJECT_WEIR,
    OBJECT_HOST,
    OBJECT_EVENT,
    OBJECT_MESSAGE,
    OBJECT_COUNT = sizeof objects / sizeof *objects
};

static const char *key_of(const struct object *object, unsigned field)
{
    return field_rows[field].path + object->prefix;
}

/* Opens the document up to and into "weir". */
static void begin_document(struct json_writer *json, struct buffer *out, int64_t time_us,
                           enum document_kind kind, struct span pipeline)
{
    json_begin(json, out);
    json_open(json, NULL);
    json_time_if(json, "@timestamp", time_us);
    json_open(json, "weir");
    json_integer(json, "schema", SCHEMA_VERSION);
    json_text(json, "doc", span_of(doc_names[kind]));
    json_text_if(json, "pipeline", pipeline);
}

static void write_ecs_version(struct json_writer *json)
{
    json_raw(json, "ecs", SPAN_LITERAL("{\"version\":\"8.11.0\"}"));
}

/* A dot in a label's name would open an object; field_ref_parse sees to it that the outcome stays unique. */
static void write_label(struct json_writer *json, struct span name, struct span value)
{
    char key[LABEL_NAME_MAX];
    uint32_t size = name.size < sizeof key ? name.size : sizeof key;

    for (uint32_t i = 0; i < size; i++)
        key[i] = name.data[i] == '.' ? '_' : name.data[i];
    json_key(json, span_make(key, size));
    json_text(json, NULL, value);
}

/* Milliseconds to ECS's nanoseconds, rounded half away from zero. A duration beyond 292 years is none. */
static void write_nanoseconds(struct json_writer *json, const char *key, double milliseconds)
{
    double nanoseconds = round(milliseconds * 1e6);

    if (fabs(nanoseconds) < 0x1p63) /* false for NaN */
        json_integer(json, key, (int64_t)nanoseconds);
}

static struct span outcome_of(enum run_state state)
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

static struct span type_of(enum run_state state)
{
    if (state == STATE_RUNNING)
        return SPAN_LITERAL("start");
    if (state == STATE_FAILED || state == STATE_TIMED_OUT)
        return SPAN_LITERAL("error");
    return run_state_is_terminal(state) ? SPAN_LITERAL("end") : SPAN_LITERAL("info");
}

/* The value of one field of a row, if there is one. */
static void write_field(struct json_writer *json, const char *key, const struct event_batch *batch,
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
        if (field == F_DURATION_MS)
            write_nanoseconds(json, key, ((const double *)column)[row]);
        else
            json_number_if(json, key, ((const double *)column)[row]);
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
        json_text_if(json, key, span_of(run_state_names[((const uint8_t *)column)[row]]));
        break;
    case FIELD_KIND:
        json_text(json, key, span_of(event_kind_names[((const uint8_t *)column)[row]]));
        break;
    }
}

static void write_fields(struct json_writer *json, const struct object *object,
                         const struct event_batch *batch, uint32_t row)
{
    for (unsigned i = object->first; i < object->end; i++)
        write_field(json, key_of(object, i), batch, row, (enum field)i);
}

/* Texts by field, in an order that knows nothing of objects; the rows of `object` are written, the object
 * itself only if one of them has a text. */
static void write_text_object(struct json_writer *json, const struct object *object,
                              const struct span texts[FIELD_COUNT])
{
    bool open = false;

    for (unsigned i = object->first; i < object->end; i++) {
        if (!texts[i].size)
            continue;
        if (!open && object->name)
            json_open(json, object->name);
        open = true;
        json_text(json, key_of(object, i), texts[i]);
    }
    if (open && object->name)
        json_close(json);
}

static void write_marks(struct json_writer *json, unsigned notes)
{
    static const char *const names[] = {"late", "repaired", "corrected",
                                        "redacted"}; /* by bit of enum row_note */

    if (!notes)
        return;
    json_open_list(json, "marks");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (notes & 1u << i)
            json_text(json, NULL, span_of(names[i]));
    json_close_list(json);
}

/* A label in an object that is opened with the first one; open_labels says whether there was one. */
static void write_label_if(struct json_writer *json, bool *open_labels, const char *name, struct span value)
{
    if (!value.size)
        return;
    if (!*open_labels)
        json_open(json, "labels");
    *open_labels = true;
    write_label(json, span_of(name), value);
}

static void write_event_labels(struct json_writer *json, const struct event_batch *batch, uint32_t row)
{
    bool open = false;

    for (unsigned i = 0; i < batch->label_columns; i++)
        write_label_if(json, &open, batch->label_names->names[i], batch->labels[i][row]);
    if (open)
        json_close(json);
}

static void write_run_labels(struct json_writer *json, const struct run_record *run)
{
    bool open = false;

    for (unsigned i = 0; run->label_names && i < run->label_names->count; i++)
        write_label_if(json, &open, run->label_names->names[i], run->labels[i]);
    if (open)
        json_close(json);
}

static void write_event_object(struct json_writer *json, const struct event_batch *batch, uint32_t row)
{
    enum run_state state = batch->state[row];

    json_open(json, "event");
    write_fields(json, &objects[OBJECT_EVENT], batch, row);
    json_text(json, "type", type_of(state));
    json_text_if(json, "outcome", outcome_of(state));
    if (run_state_is_terminal(state))
        json_time_if(json, "end", batch->time_us[row]);
    json_time_if(json, "created", batch->arrival_us[row]);
    json_integer(json, "sequence", batch->offset[row]);
    json_close(json);
}

struct id128 event_id(const struct event_origin *origin, int64_t offset, uint16_t item)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, origin->pipeline);
    id_add_text(&builder, origin->source);
    id_add_text(&builder, origin->topic);
    id_add_integer(&builder, origin->partition);
    id_add_integer(&builder, offset);
    id_add_integer(&builder, item);
    return id_end(&builder);
}

void document_of_event(const struct event_batch *batch, uint32_t row, const struct event_origin *origin,
                       struct buffer *out)
{
    struct json_writer json;
    struct span texts[FIELD_COUNT];

    assert(row < batch->rows);
    begin_document(&json, out, batch->time_us[row], DOC_EVENT, origin->pipeline);
    write_fields(&json, &objects[OBJECT_WEIR], batch, row);
    json_text_if(&json, "topic", origin->topic);
    json_integer(&json, "partition", origin->partition);
    json_integer(&json, "offset", batch->offset[row]);
    json_unsigned(&json, "item", batch->item[row]);
    write_marks(&json, batch->notes[row]);
    json_close(&json);
    write_ecs_version(&json);
    write_event_labels(&json, batch, row);
    write_event_object(&json, batch, row);
    for (unsigned i = OBJECT_HOST; i < OBJECT_COUNT; i++) {
        if (i == OBJECT_EVENT)
            continue;
        for (unsigned field = objects[i].first; field < objects[i].end; field++)
            texts[field] = ((const struct span *)event_column(batch, (enum field)field))[row];
        write_text_object(&json, &objects[i], texts);
    }
    json_close(&json);
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
static void write_key_fields(struct json_writer *json, const struct object *object,
                             const struct document_key *key)
{
    for (unsigned i = object->first; i < object->end; i++) {
        enum field_type type = field_rows[i].type;

        if (!key->texts[i].size)
            continue;
        if (type == FIELD_NUMBER || type == FIELD_INTEGER || type == FIELD_SMALL)
            json_number_if(json, key_of(object, i), number_of_text(key->texts[i]));
        else
            json_text(json, key_of(object, i), key->texts[i]);
    }
}

/* What stands between "weir" and "event". */
static void write_middle(struct json_writer *json, const struct document_key *key)
{
    write_ecs_version(json);
    if (key->label_count) {
        json_open(json, "labels");
        for (unsigned i = 0; i < key->label_count; i++)
            write_label(json, key->labels[i].name, key->labels[i].value);
        json_close(json);
    }
    write_text_object(json, &objects[OBJECT_HOST], key->texts);
}

/* What stands behind "event". */
static void write_end(struct json_writer *json, const struct document_key *key)
{
    for (unsigned i = OBJECT_MESSAGE; i < OBJECT_COUNT; i++)
        write_text_object(json, &objects[i], key->texts);
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
    begin_document(&json, out, bucket->start_us, DOC_BUCKET, pipeline);
    write_key_fields(&json, &objects[OBJECT_WEIR], &key);
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
    write_key_fields(&json, &objects[OBJECT_EVENT], &key);
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
    begin_document(&json, out, bucket->end_us, DOC_SIGNAL, pipeline);
    write_key_fields(&json, &objects[OBJECT_WEIR], &key);
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
    write_key_fields(&json, &objects[OBJECT_EVENT], &key);
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
    begin_document(&json, out, run->first_us, DOC_RUN, pipeline);
    write_key_fields(&json, &objects[OBJECT_WEIR], &key);
    write_run_fields(&json, run);
    json_close(&json);
    write_ecs_version(&json);
    write_run_labels(&json, run);
    write_text_object(&json, &objects[OBJECT_HOST], key.texts);
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("event"));
    write_key_fields(&json, &objects[OBJECT_EVENT], &key);
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
    begin_document(&json, out, alert->at_us, DOC_ALERT, pipeline);
    write_key_fields(&json, &objects[OBJECT_WEIR], &key);
    write_alert_fields(&json, alert);
    json_close(&json);
    write_middle(&json, &key);
    json_open(&json, "event");
    json_text(&json, "kind", SPAN_LITERAL("alert"));
    json_integer(&json, "severity", (int64_t)alert->severity + 1);
    json_text(&json, "reason", span_of(alert_reason_names[alert->reason]));
    json_time_if(&json, "start", alert->starts_us);
    json_time_if(&json, "end", alert->ends_us);
    write_key_fields(&json, &objects[OBJECT_EVENT], &key);
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

    begin_document(&json, out, sample->time_us, DOC_METRIC, pipeline);
    json_text(&json, "metric", sample->name);
    json_number(&json, "value", sample->value);
    json_close(&json);
    write_ecs_version(&json);
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
