/* Asked every two seconds by each open page. Dropped: telling this through /metrics alone, which has no words
 * and would need a row for each partition. */
#include "pipeline/health.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BEHIND_US ((int64_t)10 * 60 * 1000 * 1000) /* with messages waiting: worth saying */

enum { PROBLEMS_LIMIT = 1 << 20, PROBLEM_SIZE = 1024, SETTING_BYTES_MAX = 4096 };

static const char *const state_names[] = {[POLL_MORE] = "reading",
                                          [POLL_END] = "at the end",
                                          [POLL_UNREACHABLE] = "unreachable",
                                          [POLL_DONE] = "done"};

struct writing {
    const struct health_source *source;
    const struct plan *plan;
    struct json_writer json, problems;
    struct buffer problem_text;
};

struct worker_report *worker_report_new(const struct plan *plan)
{
    struct worker_report *report = memory_new(sizeof *report);

    pthread_mutex_init(&report->mutex, NULL);
    report->ready = memory_new((plan->source_count + 1) * sizeof *report->ready);
    report->pauses = memory_new((plan->sink_count + 1) * sizeof *report->pauses);
    return report;
}

void worker_report_free(struct worker_report *report)
{
    pthread_mutex_destroy(&report->mutex);
    free(report->partitions);
    free(report->ready);
    free(report->pauses);
    free(report);
}

static struct partition_report report_of(const struct worker *worker, const struct partition *partition)
{
    const struct input *input = &worker->inputs[partition->source];
    const struct source_type *type = input->plan->type;
    const struct source_partition *told = type->partition(input->source, partition->index);

    return (struct partition_report){
        .source = partition->source,
        .topic = told->topic,
        .number = told->partition,
        .next_offset = partition->ledger.next_offset,
        .high_offset = type->high_offset ? type->high_offset(input->source, partition->index) : -1,
        .watermark_us = partition->watermark_us,
        .state = partition->state,
        .idle = partition->idle,
        .done = partition->done};
}

void worker_report_publish(struct worker_report *report, struct worker *worker)
{
    pthread_mutex_lock(&report->mutex);
    report->partitions = memory_reserve(report->partitions, &report->partition_capacity,
                                        worker->partition_count, sizeof *report->partitions);
    report->partition_count = worker->partition_count;
    for (size_t i = 0; i < worker->partition_count; i++)
        report->partitions[i] = report_of(worker, &worker->partitions[i]);
    for (unsigned i = 0; i < worker->input_count; i++)
        report->ready[i] = worker->inputs[i].ready;
    for (unsigned i = 0; i < worker->plan->sink_count; i++) {
        const struct sink_figures *figures = deliver_sink(worker->deliver, i);
        struct pause *pause = &report->pauses[i];

        pause->paused = figures && figures->paused;
        snprintf(pause->reason, sizeof pause->reason, "%s",
                 pause->paused && figures->pause_reason ? figures->pause_reason : "");
    }
    pthread_mutex_unlock(&report->mutex);
}

static void say(struct writing *writing, const char *severity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct writing *writing, const char *severity, const char *format, ...)
{
    char text[PROBLEM_SIZE];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_open(&writing->problems, NULL);
    json_text(&writing->problems, "severity", span_of(severity));
    json_text(&writing->problems, "text", span_of(text));
    json_close(&writing->problems);
}

static void write_partition(struct json_writer *json, const struct partition_report *partition)
{
    bool offset = partition->next_offset != OFFSET_NONE, high = partition->high_offset >= 0;

    json_open(json, NULL);
    json_text(json, "topic", span_of(partition->topic));
    json_integer(json, "partition", partition->number);
    json_text(json, "state", span_of(partition->idle ? "idle" : state_names[partition->state]));
    if (offset)
        json_integer(json, "next_offset", partition->next_offset);
    if (offset && high)
        json_integer(json, "lag",
                     partition->high_offset > partition->next_offset
                         ? partition->high_offset - partition->next_offset
                         : 0);
    if (partition->watermark_us != INT64_MIN)
        json_time(json, "watermark", partition->watermark_us);
    json_close(json);
}

struct source_sum {
    size_t partitions, unreachable;
    bool ready;
};

static void write_report(struct writing *writing, struct worker_report *report, unsigned source,
                         struct source_sum *sum)
{
    pthread_mutex_lock(&report->mutex);
    sum->ready &= report->ready[source];
    for (size_t i = 0; i < report->partition_count; i++) {
        const struct partition_report *partition = &report->partitions[i];

        if (partition->source != source)
            continue;
        write_partition(&writing->json, partition);
        sum->partitions++;
        sum->unreachable += partition->state == POLL_UNREACHABLE;
    }
    pthread_mutex_unlock(&report->mutex);
}

static void write_source(struct writing *writing, unsigned number)
{
    const struct plan_source *source = &writing->plan->sources[number];
    const struct metrics_source *metrics = &writing->source->metrics;
    struct source_sum sum = {.ready = true};

    json_open(&writing->json, NULL);
    json_text(&writing->json, "name", span_of(source->name));
    json_text(&writing->json, "type", span_of(source->type->name));
    json_open_list(&writing->json, "partitions");
    for (size_t i = 0; i < metrics->count; i++)
        for (unsigned k = 0; k < metrics->engines[i].shared->here; k++)
            write_report(writing, metrics->engines[i].reports[k], number, &sum);
    json_close_list(&writing->json);
    json_close(&writing->json);
    if (!sum.ready)
        say(writing, "error", "source %s: its partitions are not known, because it has not been reached yet",
            source->name);
    if (sum.unreachable)
        say(writing, "error", "source %s: %zu of %zu partitions cannot be read at present", source->name,
            sum.unreachable, sum.partitions);
}

/* The first reason that a worker has; empty: none is paused. */
static bool find_pause(const struct metrics_source *metrics, unsigned sink, struct pause *ret_pause)
{
    for (size_t i = 0; i < metrics->count; i++)
        for (unsigned k = 0; k < metrics->engines[i].shared->here; k++) {
            struct worker_report *report = metrics->engines[i].reports[k];

            pthread_mutex_lock(&report->mutex);
            *ret_pause = report->pauses[sink];
            pthread_mutex_unlock(&report->mutex);
            if (ret_pause->paused)
                return true;
        }
    return false;
}

static void write_sink(struct writing *writing, unsigned number)
{
    const struct metrics_source *metrics = &writing->source->metrics;
    const struct plan_sink *sink = &writing->plan->sinks[number];
    struct json_writer *json = &writing->json;
    struct pause pause;
    bool paused = find_pause(metrics, number, &pause);

    json_open(json, NULL);
    json_text(json, "name", span_of(sink->name));
    json_text(json, "type", span_of(sink->type->name));
    json_unsigned(json, "documents", metrics_sink_sum(metrics, number, "sink_documents_total"));
    json_unsigned(json, "retries", metrics_sink_sum(metrics, number, "sink_retries_total"));
    json_unsigned(json, "dead_letters", metrics_sink_sum(metrics, number, "sink_dead_letters_total"));
    json_unsigned(json, "queue_bytes", metrics_sink_sum(metrics, number, "sink_queue_bytes"));
    json_bool(json, "paused", paused);
    if (paused) {
        json_text(json, "reason", span_of(pause.reason));
        say(writing, "error", "sink %s is paused: %s", sink->name, pause.reason);
    }
    json_close(json);
}

static void write_checkpoint(struct writing *writing, const struct shared *shared)
{
    const struct checkpoint *checkpoint = &shared->checkpoint;
    int64_t stored_us = atomic_load_explicit(&checkpoint->stored_at_us, memory_order_relaxed);
    struct error reason;

    if (!checkpoint->keeper)
        return;
    json_open(&writing->json, NULL);
    if (shared->task)
        json_unsigned(&writing->json, "task", shared->first);
    json_unsigned(&writing->json, "generation",
                  atomic_load_explicit(&checkpoint->stored, memory_order_relaxed));
    if (stored_us)
        json_time(&writing->json, "stored_at", stored_us);
    json_bool(&writing->json, "holding", keeper_holding(checkpoint->keeper));
    json_close(&writing->json);
    if (!keeper_holding(checkpoint->keeper))
        return;
    keeper_reason(checkpoint->keeper, &reason);
    say(writing, "error", "the input is held, because the store takes nothing: %s", reason.text);
}

static int64_t file_bytes(const char *path, const char *end)
{
    char name[4096];
    struct stat stat_;

    snprintf(name, sizeof name, "%s%s", path, end);
    return stat(name, &stat_) == 0 ? stat_.st_size : 0;
}

static void write_store(struct writing *writing)
{
    const char *path = writing->plan->store.path;
    int64_t bytes = file_bytes(path, "") + file_bytes(path, "-wal");

    for (unsigned i = 0; writing->plan->cluster.enabled && i < writing->plan->cluster.tasks; i++) {
        char *task = store_task_path(path, i);

        bytes += file_bytes(task, "") + file_bytes(task, "-wal");
        free(task);
    }
    json_open(&writing->json, "store");
    json_integer(&writing->json, "bytes", bytes);
    json_close(&writing->json);
}

static void write_dead_letters(struct writing *writing)
{
    const struct letter_totals *totals = writing->source->letters;

    if (!totals)
        return;
    if (totals->status != STATUS_OK) {
        say(writing, "error", "the dead letters cannot be counted: %s", totals->error.text);
        return;
    }
    json_open(&writing->json, "dead_letters");
    json_integer(&writing->json, "letters", totals->letters);
    json_integer(&writing->json, "bytes", totals->bytes);
    json_integer(&writing->json, "limit_bytes", writing->plan->limits.dead_letter_bytes);
    json_close(&writing->json);
    if (totals->letters)
        say(writing, "warning", "%lld message%s could not be processed or delivered: see the dead letters",
            (long long)totals->letters, totals->letters == 1 ? "" : "s");
}

static void write_cluster(struct writing *writing)
{
    const struct metrics_source *metrics = &writing->source->metrics;
    uint64_t running = 0;

    if (!writing->plan->cluster.enabled)
        return;
    for (size_t i = 0; i < metrics->count; i++)
        running |= (uint64_t)1 << metrics->engines[i].shared->first;
    json_open(&writing->json, "cluster");
    json_text(&writing->json, "application_id", span_of(writing->plan->cluster.application_id));
    json_integer(&writing->json, "tasks", writing->plan->cluster.tasks);
    json_open_list(&writing->json, "mine");
    for (unsigned i = 0; i < writing->plan->cluster.tasks; i++)
        if (writing->source->tasks >> i & 1) {
            json_unsigned(&writing->json, NULL, i);
            if (!(running >> i & 1))
                say(writing, "warning", "task %u of this process does not work yet; the log says why", i);
        }
    json_close_list(&writing->json);
    json_close(&writing->json);
    if (!writing->source->assigned)
        say(writing, "warning", "the group has not said yet which tasks this process has");
}

/* Of all engines together. */
static void write_progress(struct writing *writing)
{
    const struct metrics_source *metrics = &writing->source->metrics;
    int64_t watermark_us = metrics_watermark_us(metrics), now_us = writing->source->now_us;
    uint64_t lag = metrics_sum(metrics, "lag_messages");
    uint64_t documents = metrics_sum(metrics, "outbox_documents");
    uint64_t outbox_bytes = metrics_sum(metrics, "outbox_bytes");
    unsigned workers = 0;
    struct json_writer *json = &writing->json;

    for (size_t i = 0; i < metrics->count; i++)
        workers += metrics->engines[i].shared->here;
    json_unsigned(json, "workers", workers);
    json_unsigned(json, "rows", metrics_sum(metrics, "rows_total"));
    json_unsigned(json, "lag", lag);
    json_time_if(json, "watermark", watermark_us);
    json_open(json, "outbox");
    json_unsigned(json, "documents", documents);
    json_unsigned(json, "bytes", outbox_bytes);
    json_close(json);
    if (outbox_bytes > (uint64_t)writing->plan->store.outbox_bytes)
        say(writing, "error",
            "the input is held, because %llu documents that sinks have not taken fill the outbox",
            (unsigned long long)documents);
    else if (documents)
        say(writing, "warning",
            "%llu documents wait in the store, because sinks do not take them fast enough",
            (unsigned long long)documents);
    if (lag && watermark_us != TIME_NONE && now_us - watermark_us > BEHIND_US)
        say(writing, "warning", "%llu messages wait, and what is read now is %lld minutes old",
            (unsigned long long)lag, (long long)((now_us - watermark_us) / 60 / 1000 / 1000));
}

void health_write(const struct health_source *source, struct buffer *out)
{
    const struct plan *plan = source->metrics.plan;
    struct writing writing = {.source = source, .plan = plan};
    struct json_writer *json = &writing.json;

    buffer_init(&writing.problem_text, PROBLEMS_LIMIT);
    json_begin(&writing.problems, &writing.problem_text);
    json_open_list(&writing.problems, NULL);
    json_begin(json, out);
    json_open(json, NULL);
    json_integer(json, "schema", SCHEMA_VERSION);
    json_time(json, "at", source->now_us);
    json_text(json, "pipeline", plan->name);
    json_text(json, "version", span_of(WEIR_VERSION));
    json_bool(json, "ready", source->ready);
    write_cluster(&writing);
    write_progress(&writing);
    json_open_list(json, "sources");
    for (unsigned i = 0; i < plan->source_count; i++)
        write_source(&writing, i);
    json_close_list(json);
    json_open_list(json, "sinks");
    for (unsigned i = 0; i < plan->sink_count; i++)
        write_sink(&writing, i);
    json_close_list(json);
    json_open_list(json, "checkpoints");
    for (size_t i = 0; i < source->metrics.count; i++)
        write_checkpoint(&writing, source->metrics.engines[i].shared);
    json_close_list(json);
    write_store(&writing);
    write_dead_letters(&writing);
    json_close_list(&writing.problems);
    json_raw(json, "problems", buffer_span(&writing.problem_text));
    json_close(json);
    buffer_free(&writing.problem_text);
}

/* What a person may set of it, by the rows of its options. */
static void write_settings(struct json_writer *json, const struct option *rows, size_t count,
                           const void *settings)
{
    struct buffer text;

    buffer_init(&text, SETTING_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&text);
        if (!option_put(&rows[i], settings, &text))
            continue;
        json_key(json, span_of(rows[i].name));
        json_text(json, NULL, buffer_span(&text));
    }
    buffer_free(&text);
}

static void write_detector(struct json_writer *json, const struct plan_detector *detector)
{
    json_open(json, NULL);
    json_text(json, "name", span_of(detector->name));
    json_text(json, "measure", span_of(detector->measure_name));
    json_text(json, "statistic", span_of(statistic_names[detector->statistic]));
    json_text(json, "type", span_of(detector->type->name));
    json_open(json, "settings");
    write_settings(json, detector->type->options, detector->type->option_count, detector->settings);
    write_settings(json, backend_options, backend_option_count, &detector->backend);
    json_close(json);
    json_close(json);
}

static void write_rule(struct json_writer *json, const struct plan_rule *rule)
{
    json_open(json, NULL);
    json_text(json, "name", span_of(rule->name));
    if (rule->on == RULE_BUCKET)
        json_text(json, "measure", span_of(rule->measure_name));
    json_text(json, "when", span_of(rule->when));
    json_close(json);
}

void health_write_rules(const struct plan *plan, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open_list(&json, NULL);
    for (unsigned i = 0; i < plan->detector_count; i++)
        write_detector(&json, &plan->detectors[i]);
    for (unsigned i = 0; i < plan->rule_count; i++)
        write_rule(&json, &plan->rules[i]);
    json_close_list(&json);
}
