/* The JSON lines of --alerts, --buckets, --signals and --runs, as documents.md lists them: order of keys
 * included, so that equal results are equal bytes. One call a closed bucket, signal, transition or alert
 * revision, never one an event.
 * `key`, `labels`, `annotations` and `links` are always there, empty or not; any other absent value is a
 * key left out. */
#include "schemas/encode.h"

#include <assert.h>
#include <math.h>

static void begin_line(struct json_writer *json, struct buffer *out, struct id128 id)
{
    json_begin(json, out);
    json_open(json, NULL);
    json_integer(json, "schema", SCHEMA_VERSION);
    json_id(json, "id", id);
}

static void write_key(struct json_writer *json, const struct bucket *bucket)
{
    const struct measure_shape *shape = bucket->shape;

    assert(shape->by_count <= KEY_FIELDS_MAX);
    json_open(json, "key");
    for (unsigned i = 0; i < shape->by_count; i++) {
        if (!bucket->key[i].size)
            continue;
        json_key(json, span_of(shape->by_names[i]));
        json_text(json, NULL, bucket->key[i]);
    }
    json_close(json);
}

static void write_expected(struct json_writer *json, double low, double high)
{
    if (!isfinite(low) || !isfinite(high))
        return;
    json_open_list(json, "expected");
    json_number(json, NULL, low);
    json_number(json, NULL, high);
    json_close_list(json);
}

void line_of_bucket(const struct bucket *bucket, struct buffer *out)
{
    struct json_writer json;

    begin_line(&json, out, bucket->id);
    json_text(&json, "measure", span_of(bucket->shape->name));
    write_key(&json, bucket);
    json_time(&json, "start", bucket->start_us);
    json_time(&json, "end", bucket->end_us);
    for (int i = 0; i < STATISTICS; i++)
        if (bucket->shape->statistics & 1u << i)
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
}

void line_of_signal(const struct signal_record *record, struct buffer *out)
{
    const struct signal *signal = &record->signal;
    const struct bucket *bucket = record->bucket;
    struct json_writer json;

    begin_line(&json, out, record->id);
    json_text(&json, "detector", span_of(record->detector));
    json_text(&json, "measure", span_of(bucket->shape->name));
    write_key(&json, bucket);
    json_id(&json, "bucket", bucket->id);
    json_time(&json, "at", bucket->end_us);
    if (signal->opinion) {
        json_number_if(&json, "score", signal->score);
        json_number_if(&json, "probability", signal->probability);
        json_number_if(&json, "one_in", signal->one_in);
        json_number_if(&json, "actual", signal->actual);
        write_expected(&json, signal->expected_low, signal->expected_high);
        json_text_if(&json, "direction", span_of(direction_names[signal->direction]));
        json_text_if(&json, "channel", span_of(signal->channel));
        if (signal->due_us > 0)
            json_time(&json, "due", bucket->end_us + signal->due_us);
    }
    json_bool(&json, "provisional", bucket->provisional);
    json_close(&json);
}

void json_task_counts(struct json_writer *json, const struct run_record *run)
{
    bool open = false;

    for (int i = STATE_QUEUED; i < STATE_COUNT && !run->is_task; i++) {
        if (!run->tasks[i])
            continue;
        if (!open)
            json_open(json, "tasks");
        open = true;
        json_unsigned(json, run_state_names[i], run->tasks[i]);
    }
    if (open)
        json_close(json);
}

void line_of_run(const struct run_record *run, struct buffer *out)
{
    struct json_writer json;

    begin_line(&json, out, run->id);
    json_text(&json, "level", run->is_task ? SPAN_LITERAL("task") : SPAN_LITERAL("run"));
    json_text_if(&json, "source", run->source);
    json_text_if(&json, "namespace", run->namespace_);
    json_text_if(&json, "workflow", run->workflow);
    json_text_if(&json, "task", run->task);
    json_text_if(&json, "run", run->run);
    json_text_if(&json, "run_name", run->run_name);
    if (run->attempt)
        json_unsigned(&json, "attempt", run->attempt);
    if (run->map_index != INT32_MIN)
        json_integer(&json, "map_index", run->map_index);
    json_text_if(&json, "state", span_of(run_state_names[run->state]));
    json_time_if(&json, "scheduled_at", run->scheduled_us);
    json_time_if(&json, "queued_at", run->queued_us);
    json_time_if(&json, "started_at", run->started_us);
    json_time_if(&json, "ended_at", run->ended_us);
    json_number_if(&json, "duration_ms", run->duration_ms);
    json_task_counts(&json, run);
    if (run->attempts)
        json_unsigned(&json, "attempts", run->attempts);
    json_text_if(&json, "error", run->error);
    json_close(&json);
}

void json_target(struct json_writer *json, const struct alert *alert)
{
    struct buffer target;

    buffer_init(&target, alert_target_limit(alert));
    alert_target(alert, &target);
    json_text_if(json, "target", buffer_span(&target));
    buffer_free(&target);
}

static void write_alert_identity(struct json_writer *json, const struct alert *alert)
{
    json_text(json, "rule", alert->rule);
    json_text(json, "kind", span_of(alert_kind_names[alert->kind]));
    json_text(json, "severity", span_of(severity_names[alert->severity]));
    json_target(json, alert);
    json_text_if(json, "source", alert->source);
    json_text_if(json, "namespace", alert->namespace_);
    json_text_if(json, "workflow", alert->workflow);
    json_text_if(json, "task", alert->task);
    json_text_if(json, "run", alert->run);
    json_text_if(json, "run_name", alert->run_name);
    if (alert->attempt)
        json_unsigned(json, "attempt", alert->attempt);
    json_text_if(json, "host", alert->host);
}

static void write_alert_texts(struct json_writer *json, const struct alert *alert)
{
    assert(alert->label_count <= KEY_FIELDS_MAX);
    json_open(json, "labels");
    for (unsigned i = 0; i < alert->label_count; i++) {
        if (!alert->labels[i].value.size)
            continue;
        json_key(json, alert->labels[i].name);
        json_text(json, NULL, alert->labels[i].value);
    }
    json_close(json);
    json_open(json, "annotations");
    json_text_if(json, "summary", alert->summary);
    json_text_if(json, "description", alert->description);
    json_text_if(json, "runbook", alert->runbook);
    json_close(json);
    json_open(json, "links");
    json_text_if(json, "url", alert->url);
    json_close(json);
}

void line_of_alert(const struct alert *alert, struct buffer *out)
{
    struct json_writer json;

    begin_line(&json, out, alert->id);
    json_id(&json, "episode", alert->episode);
    json_unsigned(&json, "revision", alert->revision);
    json_time(&json, "at", alert->at_us);
    json_text(&json, "state", span_of(alert_state_names[alert->state]));
    json_text(&json, "reason", span_of(alert_reason_names[alert->reason]));
    write_alert_identity(&json, alert);
    write_alert_texts(&json, alert);
    json_time_if(&json, "starts_at", alert->starts_us);
    json_time_if(&json, "ends_at", alert->ends_us);
    json_number_if(&json, "score", alert->score);
    json_number_if(&json, "probability", alert->probability);
    json_number_if(&json, "actual", alert->actual);
    write_expected(&json, alert->expected_low, alert->expected_high);
    json_text_if(&json, "unit", alert->unit);
    json_bool(&json, "provisional", alert->provisional);
    json_close(&json);
}
