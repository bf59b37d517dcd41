#include "pipeline/metrics.h"

#include <stddef.h>
#include <string.h>

/* One worker's figures at one moment, so that a row below needs to know only where its number stands. */
struct figures {
    struct worker_figures worker;
    struct windows_figures windows;
    struct runs_figures runs;
    struct watch_figures watch;
    struct lifecycle_figures alerts;
    struct deliver_figures deliver;
    struct checkpoint_figures checkpoint;
    uint64_t late, errors, too_many, lag;
    size_t fold_bytes, order_bytes;
};

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "rows read either as 64 bits");

#define AT(member) offsetof(struct figures, member)

static const struct metric {
    struct counter_row row;
    size_t offset; /* of a 64-bit number in struct figures */
} metrics[] = {
    // clang-format off
    {{"messages_total", NULL, COUNTER_TOTAL, "messages taken from sources"}, AT(worker.messages)},
    {{"bytes_total", NULL, COUNTER_TOTAL, "payload bytes taken from sources"}, AT(worker.bytes)},
    {{"rows_total", NULL, COUNTER_TOTAL, "rows decoded from messages"}, AT(worker.rows)},
    {{"rows_dropped_total", "reason=\"malformed\"", COUNTER_TOTAL, "rows that were not processed, by reason"}, AT(worker.marked[MARK_MALFORMED])},
    {{"rows_dropped_total", "reason=\"refused\"", COUNTER_TOTAL, NULL}, AT(worker.marked[MARK_REFUSED])},
    {{"rows_dropped_total", "reason=\"filtered\"", COUNTER_TOTAL, NULL}, AT(worker.marked[MARK_FILTERED])},
    {{"rows_dropped_total", "reason=\"duplicate\"", COUNTER_TOTAL, NULL}, AT(worker.marked[MARK_DUPLICATE])},
    {{"rows_dropped_total", "reason=\"tombstone\"", COUNTER_TOTAL, NULL}, AT(worker.marked[MARK_TOMBSTONE])},
    {{"rows_not_folded_total", "reason=\"late\"", COUNTER_TOTAL, "rows left out of a measure's bucket, by reason"}, AT(late)},
    {{"rows_not_folded_total", "reason=\"too_many_series\"", COUNTER_TOTAL, NULL}, AT(too_many)},
    {{"rows_not_folded_total", "reason=\"correction_too_late\"", COUNTER_TOTAL, NULL}, AT(windows.lost)},
    {{"rows_repaired_total", NULL, COUNTER_TOTAL, "rows whose time was ahead of their arrival"}, AT(worker.repaired)},
    {{"expression_errors_total", NULL, COUNTER_TOTAL, "expressions that could not be evaluated for a row"}, AT(errors)},
    {{"lag_messages", NULL, COUNTER_GAUGE, "messages known to exist and not taken yet"}, AT(lag)},
    {{"commits_total", NULL, COUNTER_TOTAL, "offsets handed to sources for committing"}, AT(worker.commits)},
    {{"buckets_total", NULL, COUNTER_TOTAL, "buckets told"}, AT(windows.buckets)},
    {{"bucket_corrections_total", NULL, COUNTER_TOTAL, "closed buckets told again"}, AT(windows.corrections)},
    {{"signals_total", NULL, COUNTER_TOTAL, "anomalies told by detectors"}, AT(windows.signals)},
    {{"run_transitions_total", NULL, COUNTER_TOTAL, "accepted changes of state of runs and tasks"}, AT(runs.transitions)},
    {{"run_rows_ignored_total", NULL, COUNTER_TOTAL, "rows of runs that changed no state"}, AT(runs.ignored)},
    {{"runs_evicted_total", NULL, COUNTER_TOTAL, "runs forgotten because of limits.runs"}, AT(runs.evicted)},
    {{"runs_kept", NULL, COUNTER_GAUGE, "runs and task attempts remembered"}, AT(runs.entries)},
    {{"watch_evicted_total", NULL, COUNTER_TOTAL, "entries of the watch forgotten because of limits.runs"}, AT(watch.evicted)},
    {{"watch_kept", NULL, COUNTER_GAUGE, "tasks, running attempts, sources and hosts that the watch knows"}, AT(watch.entries)},
    {{"series", NULL, COUNTER_GAUGE, "series kept"}, AT(windows.series)},
    {{"open_panes", NULL, COUNTER_GAUGE, "panes of buckets that are not closed"}, AT(windows.open_panes)},
    {{"state_bytes", "part=\"detectors\"", COUNTER_GAUGE, "memory of state, by part"}, AT(windows.state_bytes)},
    {{"state_bytes", "part=\"panes\"", COUNTER_GAUGE, NULL}, AT(fold_bytes)},
    {{"state_bytes", "part=\"hot\"", COUNTER_GAUGE, NULL}, AT(windows.hot_bytes)},
    {{"hot_series", NULL, COUNTER_GAUGE, "series that have a block of limits.hot"}, AT(windows.hot_series)},
    {{"queue_bytes", "queue=\"order\"", COUNTER_GAUGE, "bytes waiting, by queue"}, AT(order_bytes)},
    {{"queue_bytes", "queue=\"busy_sinks\"", COUNTER_GAUGE, NULL}, AT(deliver.waiting_bytes)},
    {{"dead_letters_total", NULL, COUNTER_TOTAL, "messages and documents given to the dead-letter store"}, AT(deliver.dead_letters)},
    {{"raw_documents_dropped_total", NULL, COUNTER_TOTAL, "cleaned events that a sink with when_full: drop_raw did not take"}, AT(deliver.dropped_raw)},
    {{"outbox_documents", NULL, COUNTER_GAUGE, "derived documents that wait in the store"}, AT(deliver.outbox_documents)},
    {{"outbox_bytes", NULL, COUNTER_GAUGE, "their bytes"}, AT(deliver.outbox_bytes)},
    {{"checkpoint_values_total", NULL, COUNTER_TOTAL, "values given to the store"}, AT(checkpoint.values)},
    {{"checkpoint_bytes_total", NULL, COUNTER_TOTAL, "their bytes before compression"}, AT(checkpoint.bytes)},
    {{"alerts", "state=\"pending\"", COUNTER_GAUGE, "open alerts by state"}, AT(alerts.pending)},
    {{"alerts", "state=\"firing\"", COUNTER_GAUGE, NULL}, AT(alerts.firing)},
    // clang-format on
};

#undef AT

enum { METRICS = sizeof metrics / sizeof *metrics };

/* Of each sink, after the fixed rows and the documents by kind and the stages. */
static const struct counter_row sink_metrics[] = {
    {"sink_documents_total", NULL, COUNTER_TOTAL, "documents that the sink stored"},
    {"sink_bytes_total", NULL, COUNTER_TOTAL, "bytes sent"},
    {"sink_requests_total", NULL, COUNTER_TOTAL, "requests or writes"},
    {"sink_retries_total", NULL, COUNTER_TOTAL, "documents sent again"},
    {"sink_dead_letters_total", NULL, COUNTER_TOTAL, "documents that the sink refused for good"},
    {"sink_queue_bytes", NULL, COUNTER_GAUGE, "bytes waiting in the sink"},
    {"sink_paused", NULL, COUNTER_GAUGE, "workers whose sink waits for a person"},
};

enum { SINK_METRICS = sizeof sink_metrics / sizeof *sink_metrics, SINK_PAUSED = SINK_METRICS - 1 };
/* Of each source, after the sinks. */
static const struct counter_row source_metrics[] = {
    {"source_messages_total", NULL, COUNTER_TOTAL, "messages taken from the source"},
    {"source_lag_messages", NULL, COUNTER_GAUGE, "messages known to exist and not taken yet"},
};

enum { SOURCE_MESSAGES, SOURCE_LAG, SOURCE_METRICS };
enum {
    FIRST_DOCUMENT = METRICS,
    FIRST_STAGE = FIRST_DOCUMENT + DOC_METRIC, /* workers tell none of these */
    FIRST_SINK = FIRST_STAGE + STAGES_MAX
};

size_t metrics_count(const struct plan *plan)
{
    return FIRST_SINK + plan->sink_count * SINK_METRICS + plan->source_count * SOURCE_METRICS;
}

static size_t first_source(const struct plan *plan)
{
    return FIRST_SINK + plan->sink_count * SINK_METRICS;
}

static uint64_t lag_of(const struct worker *worker, unsigned source)
{
    uint64_t lag = 0;

    for (size_t i = 0; i < worker->partition_count; i++) {
        const struct partition *partition = &worker->partitions[i];
        const struct input *input = &worker->inputs[partition->source];

        if (partition->source != source)
            continue;
        const struct source_type *type = input->plan->type;
        int64_t high = type->high_offset ? type->high_offset(input->source, partition->index) : -1;
        int64_t next = partition->ledger.next_offset;

        if (high > next && next != OFFSET_NONE)
            lag += (uint64_t)(high - next);
    }
    return lag;
}

static void gather(const struct worker *worker, struct figures *ret_figures)
{
    const struct fold_figures *folds[] = {fold_figures(worker->fold), fold_figures(worker->run_fold)};

    *ret_figures = (struct figures){.worker = worker->figures, .checkpoint = worker->saving.figures};
    windows_figures(worker->windows, &ret_figures->windows);
    runs_figures(worker->runs, &ret_figures->runs);
    watch_figures(worker->watch, &ret_figures->watch);
    lifecycle_figures(worker->lifecycle, &ret_figures->alerts);
    deliver_figures(worker->deliver, &ret_figures->deliver);
    ret_figures->errors = judge_errors(worker->judge) + worker->figures.clean.errors;
    for (unsigned i = 0; i < worker->input_count; i++)
        ret_figures->lag += lag_of(worker, i);
    ret_figures->fold_bytes = fold_bytes(worker->fold) + fold_bytes(worker->run_fold);
    ret_figures->order_bytes = worker->order.bytes;
    ret_figures->too_many = ret_figures->windows.too_many;
    for (size_t i = 0; i < sizeof folds / sizeof *folds; i++) {
        ret_figures->errors += folds[i]->errors;
        ret_figures->too_many += folds[i]->too_many;
        for (unsigned m = 0; m < worker->plan->measure_count; m++)
            ret_figures->late += folds[i]->late[m];
    }
}

void metrics_publish(struct worker *worker, counter *values)
{
    struct figures figures;

    gather(worker, &figures);
    for (size_t i = 0; i < METRICS; i++) {
        uint64_t value;

        memcpy(&value, (const char *)&figures + metrics[i].offset, sizeof value);
        counter_set(&values[i], value);
    }
    for (size_t i = 0; i < DOC_METRIC; i++)
        counter_set(&values[FIRST_DOCUMENT + i], figures.deliver.documents[i]);
    for (size_t i = 0; stages[i].name; i++)
        counter_set(&values[FIRST_STAGE + i], worker->stage_ns[i]);
    for (unsigned i = 0; i < worker->plan->sink_count; i++) {
        const struct sink_figures *sink = deliver_sink(worker->deliver, i);
        counter *out = &values[FIRST_SINK + i * SINK_METRICS];

        if (!sink)
            continue;
        const uint64_t numbers[SINK_METRICS] = {sink->documents, sink->bytes,        sink->requests,
                                                sink->retries,   sink->dead_letters, sink->queue_bytes,
                                                sink->paused};
        for (size_t k = 0; k < SINK_METRICS; k++)
            counter_set(&out[k], numbers[k]);
    }
    for (unsigned i = 0; i < worker->input_count; i++) {
        counter *out = &values[first_source(worker->plan) + i * SOURCE_METRICS];

        counter_set(&out[SOURCE_MESSAGES], worker->inputs[i].messages);
        counter_set(&out[SOURCE_LAG], lag_of(worker, i));
    }
}

static uint64_t engine_total(const struct metrics_engine *engine, size_t at)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < engine->shared->here; i++)
        sum += counter_get(&engine->values[i][at]);
    return sum;
}

static unsigned long long total(const struct metrics_source *source, size_t at)
{
    uint64_t sum = source->ended ? counter_get(&source->ended[at]) : 0;

    for (size_t i = 0; i < source->count; i++)
        sum += engine_total(&source->engines[i], at);
    return sum;
}

static enum counter_kind kind_of(const struct plan *plan, size_t at)
{
    if (at < METRICS)
        return metrics[at].row.kind;
    if (at < FIRST_SINK)
        return COUNTER_TOTAL;
    return at < first_source(plan) ? sink_metrics[(at - FIRST_SINK) % SINK_METRICS].kind
                                   : source_metrics[(at - first_source(plan)) % SOURCE_METRICS].kind;
}

void metrics_keep(const struct metrics_engine *engine, counter *ended)
{
    for (size_t i = 0; i < metrics_count(engine->shared->plan); i++)
        if (kind_of(engine->shared->plan, i) == COUNTER_TOTAL)
            counter_add(&ended[i], engine_total(engine, i));
}

static void write_head(const struct counter_row *row, struct buffer *out)
{
    if (row->help)
        buffer_print(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", row->name, row->help, row->name,
                     row->kind == COUNTER_TOTAL ? "counter" : "gauge");
}

/* The first part of a sample's line, up to the value. JSON's escapes are those of label values. */
static void write_labelled(const char *name, const char *label, const char *value, struct buffer *out)
{
    buffer_print(out, "weir_%s{%s=", name, label);
    json_put_text(out, span_of(value));
    buffer_put_text(out, "} ");
}

static void write_sinks(const struct metrics_source *source, struct buffer *out)
{
    for (size_t k = 0; k < SINK_METRICS; k++) {
        write_head(&sink_metrics[k], out);
        for (unsigned i = 0; i < source->plan->sink_count; i++) {
            write_labelled(sink_metrics[k].name, "sink", source->plan->sinks[i].name, out);
            buffer_print(out, "%llu\n", total(source, FIRST_SINK + i * SINK_METRICS + k));
        }
    }
}

static void write_sources(const struct metrics_source *source, struct buffer *out)
{
    const struct plan *plan = source->plan;

    for (size_t k = 0; k < SOURCE_METRICS; k++) {
        write_head(&source_metrics[k], out);
        for (unsigned i = 0; i < plan->source_count; i++) {
            write_labelled(source_metrics[k].name, "source", plan->sources[i].name, out);
            buffer_print(out, "%llu\n", total(source, first_source(plan) + i * SOURCE_METRICS + k));
        }
    }
}

static void write_workers(const struct metrics_source *source, struct buffer *out)
{
    static const struct counter_row workers = {"workers", NULL, COUNTER_GAUGE, "workers of this process"};
    unsigned count = 0;

    for (size_t i = 0; i < source->count; i++)
        count += source->engines[i].shared->here;
    write_head(&workers, out);
    buffer_print(out, "weir_%s %u\n", workers.name, count);
}

static double seconds_of(const _Atomic int64_t *us)
{
    return (double)atomic_load_explicit(us, memory_order_relaxed) / 1e6;
}

enum { GENERATION, PAUSE, LENGTH, STORED, HOLDING, CHECKPOINT_METRICS };

static const struct checkpoint_metric {
    struct counter_row row;
    int decimals;
} checkpoint_metrics[CHECKPOINT_METRICS] = {
    // clang-format off
    [GENERATION] = {{"checkpoint_generation", NULL, COUNTER_GAUGE, "newest state that is stored"}, 0},
    [PAUSE]      = {{"checkpoint_pause_seconds_max", NULL, COUNTER_GAUGE, "longest pause of a worker for a cut"}, 6},
    [LENGTH]     = {{"checkpoint_seconds", NULL, COUNTER_GAUGE, "from the last cut to its being stored"}, 6},
    [STORED]     = {{"checkpoint_stored_seconds", NULL, COUNTER_GAUGE, "when the newest state was stored, since the epoch"}, 3},
    [HOLDING]    = {{"store_holding", NULL, COUNTER_GAUGE, "1 while the store takes nothing and the input is held"}, 0},
    // clang-format on
};

static double checkpoint_value(const struct checkpoint *checkpoint, int metric)
{
    switch (metric) {
    case GENERATION:
        return (double)atomic_load_explicit(&checkpoint->stored, memory_order_relaxed);
    case PAUSE:
        return seconds_of(&checkpoint->pause_us_max);
    case LENGTH:
        return seconds_of(&checkpoint->length_us);
    case STORED:
        return seconds_of(&checkpoint->stored_at_us);
    default:
        return keeper_holding(checkpoint->keeper);
    }
}

static void write_checkpoints(const struct metrics_source *source, struct buffer *out)
{
    for (int k = 0; k < CHECKPOINT_METRICS; k++) {
        const struct checkpoint_metric *metric = &checkpoint_metrics[k];
        bool begun = false;

        for (size_t i = 0; i < source->count; i++) {
            const struct metrics_engine *engine = &source->engines[i];
            const struct checkpoint *checkpoint = &engine->shared->checkpoint;

            if (!checkpoint->keeper)
                continue;
            if (!begun)
                write_head(&metric->row, out);
            begun = true;
            buffer_print(out, "weir_%s", metric->row.name);
            if (engine->shared->task)
                buffer_print(out, "{task=\"%u\"}", engine->shared->first);
            buffer_print(out, " %.*f\n", metric->decimals, checkpoint_value(checkpoint, k));
        }
    }
}

int64_t metrics_watermark_us(const struct metrics_source *source)
{
    int64_t passed = INT64_MAX;

    for (size_t i = 0; i < source->count; i++) {
        const struct shared *shared = source->engines[i].shared;

        for (unsigned k = 0; k < shared->here; k++) {
            int64_t value = atomic_load_explicit(&shared->passed_us[k], memory_order_relaxed);

            passed = value < passed ? value : passed;
        }
    }
    return passed == INT64_MIN || passed == INT64_MAX ? TIME_NONE : passed;
}

static void write_watermark(const struct metrics_source *source, struct buffer *out)
{
    static const struct counter_row watermark = {"watermark_seconds", NULL, COUNTER_GAUGE,
                                                 "event time up to which everything is told"};
    int64_t passed = metrics_watermark_us(source);

    if (passed == TIME_NONE)
        return;
    write_head(&watermark, out);
    buffer_print(out, "weir_%s %.3f\n", watermark.name, (double)passed / 1e6);
}

void metrics_write(const struct metrics_source *source, struct buffer *out)
{
    static const struct counter_row documents = {"documents_total", NULL, COUNTER_TOTAL,
                                                 "documents told, by kind"};
    static const struct counter_row seconds = {"stage_seconds_total", NULL, COUNTER_TOTAL,
                                               "time spent, by stage"};
    static const struct counter_row info = {"info", NULL, COUNTER_GAUGE, "the pipeline and the program"};

    write_head(&info, out);
    buffer_put_text(out, "weir_info{pipeline=");
    json_put_text(out, source->plan->name); /* its escapes are those of label values */
    buffer_put_text(out, ",version=\"" WEIR_VERSION "\"} 1\n");
    for (size_t i = 0; i < METRICS; i++) {
        const struct counter_row *row = &metrics[i].row;

        write_head(row, out);
        buffer_print(out, "weir_%s%s%s%s %llu\n", row->name, row->labels ? "{" : "",
                     row->labels ? row->labels : "", row->labels ? "}" : "", total(source, i));
    }
    write_head(&documents, out);
    for (size_t i = 0; i < DOC_METRIC; i++)
        buffer_print(out, "weir_%s{kind=\"%s\"} %llu\n", documents.name, document_kind_names[i],
                     total(source, FIRST_DOCUMENT + i));
    write_head(&seconds, out);
    for (size_t i = 0; stages[i].name; i++)
        buffer_print(out, "weir_%s{stage=\"%s\"} %.6f\n", seconds.name, stages[i].name,
                     (double)total(source, FIRST_STAGE + i) / 1e9);
    write_sinks(source, out);
    write_sources(source, out);
    write_workers(source, out);
    write_checkpoints(source, out);
    write_watermark(source, out);
}

uint64_t metrics_sum(const struct metrics_source *source, const char *name)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < METRICS; i++)
        if (strcmp(metrics[i].row.name, name) == 0)
            sum += total(source, i);
    return sum;
}

uint64_t metrics_sink_sum(const struct metrics_source *source, unsigned sink, const char *name)
{
    uint64_t sum = 0;

    for (size_t k = 0; k < SINK_METRICS; k++)
        if (strcmp(sink_metrics[k].name, name) == 0)
            sum += total(source, FIRST_SINK + sink * SINK_METRICS + k);
    return sum;
}

uint64_t metrics_paused_sinks(const struct metrics_engine *engine)
{
    uint64_t paused = 0;

    for (unsigned i = 0; i < engine->shared->plan->sink_count; i++)
        paused += engine_total(engine, FIRST_SINK + i * SINK_METRICS + SINK_PAUSED);
    return paused;
}
