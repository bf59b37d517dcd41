/* Floor and program by turns over the same input. The floor uses the source and the format through their
 * own tables, as the engine's first two stages do, so it is what librdkafka and the JSON decoder cost
 * alone. The program's time ends when its last document is acknowledged; both include connecting, some
 * tenths of a second, so events should be millions. */
#include "bench/report.h"
#include "bench/workload.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EVERY_S = 10, BATCH_ROWS = 1024, SLEEP_US = 1000, METRICS_BYTES_MAX = 1024 * 1024 };

struct floor_reader {
    const struct source_type *source_type;
    const struct format_type *format_type;
    struct source *source;
    struct format *format;
    struct event_batch batch;
    struct message messages[BATCH_ROWS];
    uint64_t rows, malformed;
};

struct side { /* one value a run */
    double *events_per_second, *cpu_us_per_event;
};

struct throughput {
    struct workload workload;
    struct side floor, main;
    uint64_t documents, counted; /* of the last run of the program */
    bool rows_match;             /* in all of them */
    struct buffer metrics;       /* of the last run */
};

static void warn(void *owner, const char *text)
{
    (void)fprintf(stderr, "weir bench: %s\n", text);
}

static void decode_all(struct floor_reader *reader, size_t count)
{
    const char *reason;

    event_batch_reset(&reader->batch);
    for (size_t i = 0; i < count; i++) {
        enum status status =
            reader->format_type->decode(reader->format, &reader->messages[i], &reader->batch, &reason);

        reader->malformed += status == STATUS_SKIP;
        if (status != STATUS_RETRY)
            continue;
        reader->rows += reader->batch.rows;
        event_batch_reset(&reader->batch);
        i--;
    }
    reader->rows += reader->batch.rows;
}

/* One round over all partitions; false when each of them is at its end for good. */
static bool read_round(struct floor_reader *reader)
{
    const struct source_type *type = reader->source_type;
    bool more = false, took = false;

    type->advance(reader->source, wall_clock_us());
    if (type->ready && !type->ready(reader->source)) {
        usleep(SLEEP_US);
        return true;
    }
    for (size_t i = 0; i < type->partition_count(reader->source); i++) {
        enum poll_state state;
        size_t count = type->poll(reader->source, i, reader->messages, BATCH_ROWS, &state);

        if (count > 0) {
            decode_all(reader, count);
            type->release(reader->source, i, reader->messages, count);
        }
        took |= count > 0;
        more |= count > 0 || state != POLL_DONE;
    }
    if (more && !took)
        usleep(SLEEP_US);
    return more;
}

static enum status read_input(struct plan *plan, uint64_t events, struct usage *ret_used,
                              struct error *ret_error)
{
    const struct plan_source *source = &plan->sources[0];
    const struct plan_format *format = &plan->formats[source->format];
    struct source_context context = {
        .name = source->name, .workers = 1, .node = source->node, .once = true, .warn = warn};
    struct floor_reader *reader = memory_new(sizeof *reader);
    struct usage before;
    enum status status;

    reader->source_type = source->type;
    reader->format_type = format->type;
    event_batch_init(&reader->batch, BATCH_ROWS, &plan->labels);
    before = usage_now();
    status = format->type->open(format->settings, &(struct format_context){.labels = &plan->labels},
                                &reader->format, ret_error);
    if (status == STATUS_OK)
        status = source->type->open(source->settings, &context, &reader->source, ret_error);
    while (status == STATUS_OK && read_round(reader))
        continue;
    *ret_used = usage_since(before);
    if (status == STATUS_OK && (reader->rows != events + 1 || reader->malformed))
        status = fail(ret_error, "the floor read %llu of %llu events", (unsigned long long)reader->rows,
                      (unsigned long long)events);
    if (reader->source)
        source->type->close(reader->source);
    if (reader->format)
        format->type->close(reader->format);
    event_batch_free(&reader->batch);
    free(reader);
    return status;
}

static void note(struct throughput *bench, struct side *side, unsigned run, struct usage used)
{
    double events = (double)bench->workload.options.generator.events;

    side->events_per_second[run] = events / used.wall;
    side->cpu_us_per_event[run] = used.cpu / events * 1e6;
    workload_tell(&bench->workload, "%s %u: %.0f events/s, %.3f us CPU an event",
                  side == &bench->floor ? "floor" : "main", run + 1, side->events_per_second[run],
                  side->cpu_us_per_event[run]);
}

static enum status run_once(struct throughput *bench, unsigned run, struct error *ret_error)
{
    struct workload *workload = &bench->workload;
    const struct null_server_figures *served = workload->server.figures;
    uint64_t events = workload->options.generator.events, documents, counted;
    struct usage used;
    struct plan *plan;
    enum status status;

    if (workload_plan(workload, EVERY_S, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    status = read_input(plan, events, &used, ret_error);
    if (status == STATUS_OK)
        note(bench, &bench->floor, run, used);
    documents = atomic_load(&served->documents);
    counted = atomic_load(&served->counted);
    if (status == STATUS_OK)
        status = workload_run(plan, &used, &bench->metrics, ret_error);
    plan_free(plan);
    if (status != STATUS_OK)
        return status;
    note(bench, &bench->main, run, used);
    bench->documents = atomic_load(&served->documents) - documents;
    bench->counted = atomic_load(&served->counted) - counted;
    bench->rows_match &= workload->options.copy ? bench->documents == events + 1 : bench->counted == events;
    return STATUS_OK;
}

static void side_init(struct side *side, unsigned runs)
{
    side->events_per_second = memory_new(runs * sizeof *side->events_per_second);
    side->cpu_us_per_event = memory_new(runs * sizeof *side->cpu_us_per_event);
}

static void side_free(struct side *side)
{
    free(side->events_per_second);
    free(side->cpu_us_per_event);
}

static void report_side(struct json_writer *json, const char *key, const struct side *side, unsigned runs,
                        double ret_medians[2])
{
    json_open(json, key);
    ret_medians[0] = report_range(json, "events_per_second", side->events_per_second, runs);
    ret_medians[1] = report_range(json, "cpu_us_per_event", side->cpu_us_per_event, runs);
    json_close(json);
}

/* Where the last run spent its time, as the engine itself counts it. */
static void report_stages(struct json_writer *json, const char *metrics, double events)
{
    static const char head[] = "\nweir_stage_seconds_total{stage=\"";

    json_open(json, "stage_us_per_event");
    for (const char *at = metrics; (at = strstr(at, head));) {
        const char *name = at + strlen(head), *end = strchr(name, '"');

        json_key(json, span_make(name, (size_t)(end - name)));
        json_number(json, NULL, strtod(end + strlen("\"} "), NULL) / events * 1e6);
        at = end;
    }
    json_close(json);
}

static const char *case_name(const struct bench_options *options)
{
    if (options->copy)
        return options->brokers ? "copy from Kafka" : "copy";
    return options->brokers ? "kafka" : "file";
}

static void report(struct throughput *bench, struct buffer *out)
{
    const struct bench_options *options = &bench->workload.options;
    double floor_medians[2], main_medians[2];
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "case", span_of(case_name(options)));
    report_machine(&json);
    json_unsigned(&json, "events", options->generator.events);
    json_unsigned(&json, "tasks", options->generator.tasks);
    if (options->brokers)
        json_unsigned(&json, "partitions", options->partitions);
    json_unsigned(&json, "workers", options->workers);
    json_unsigned(&json, "runs", options->runs);
    report_side(&json, "floor", &bench->floor, options->runs, floor_medians);
    report_side(&json, "main", &bench->main, options->runs, main_medians);
    buffer_put_char(&bench->metrics, '\0');
    report_stages(&json, bench->metrics.data, (double)options->generator.events);
    json_number(&json, "ratio", floor_medians[0] / main_medians[0]);
    json_number(&json, "cpu_ratio", main_medians[1] / floor_medians[1]);
    json_unsigned(&json, "documents", bench->documents);
    json_unsigned(&json, "rows_in_buckets", bench->counted);
    json_bool(&json, "rows_match", bench->rows_match);
    json_close(&json);
}

enum status bench_throughput(const struct bench_options *options, struct buffer *out, struct error *ret_error)
{
    struct throughput bench = {.rows_match = true};
    enum status status;

    side_init(&bench.floor, options->runs);
    side_init(&bench.main, options->runs);
    buffer_init(&bench.metrics, METRICS_BYTES_MAX);
    status = workload_open(options, &bench.workload, ret_error);
    for (unsigned run = 0; run < options->runs && status == STATUS_OK; run++)
        status = run_once(&bench, run, ret_error);
    if (status == STATUS_OK)
        report(&bench, out);
    workload_close(&bench.workload);
    side_free(&bench.floor);
    side_free(&bench.main);
    buffer_free(&bench.metrics);
    return status;
}
