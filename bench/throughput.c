/* Floor and program by turns over the same input. The floor uses the source and the format through their
 * own tables, as the engine's first two stages do, so it is what librdkafka and the JSON decoder cost
 * alone; beside it the same with yajl for a decoder. The program's time ends when its last document is
 * acknowledged; both include connecting, some tenths of a second, so events should be millions. */
#include "bench/report.h"
#include "bench/result.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "ingest/json.h"

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

struct throughput {
    struct workload workload;
    struct result *result;
    struct buffer metrics; /* of the last run */
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

static void note(struct throughput *bench, const char *side, struct usage used)
{
    double events = (double)bench->workload.options.generator.events;

    result_add_usage(bench->result, side, "event", events, used);
    workload_tell(&bench->workload, "%s: %.0f events/s, %.3f us CPU an event", side, events / used.wall,
                  used.cpu / events * 1e6);
}

/* Where the run spent its time, as the engine itself counts it. */
static void note_stages(struct throughput *bench)
{
    static const char head[] = "\nweir_stage_seconds_total{stage=\"";
    double events = (double)bench->workload.options.generator.events;

    for (const char *at = bench->metrics.data; (at = strstr(at, head));) {
        const char *name = at + strlen(head), *end = strchr(name, '"');

        result_add(bench->result, "us", strtod(end + strlen("\"} "), NULL) / events * 1e6,
                   "stages.%.*s_us_per_event", (int)(end - name), name);
        at = end;
    }
}

static enum status run_sides(struct throughput *bench, struct plan *plan, struct error *ret_error)
{
    const struct null_server_figures *served = bench->workload.server.figures;
    uint64_t events = bench->workload.options.generator.events;
    uint64_t documents = atomic_load(&served->documents), counted = atomic_load(&served->counted);
    struct usage floor, main, yajl;
    enum status status = read_input(plan, events, &floor, ret_error);

    json_yajl_alone = true;
    if (status == STATUS_OK)
        status = read_input(plan, events, &yajl, ret_error);
    json_yajl_alone = false;
    if (status != STATUS_OK || workload_run(plan, &main, &bench->metrics, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    counted = atomic_load(&served->counted) - counted;
    documents = atomic_load(&served->documents) - documents;
    buffer_put_char(&bench->metrics, '\0');
    note(bench, "floor", floor);
    note(bench, "yajl_floor", yajl);
    note(bench, "main", main);
    result_add(bench->result, "times", main.wall / floor.wall, "ratio");
    result_add(bench->result, "times", main.cpu / floor.cpu, "cpu_ratio");
    note_stages(bench);
    result_add(bench->result, "documents", (double)documents, "documents");
    result_add(bench->result, "rows", (double)counted, "rows_in_buckets");
    result_check(bench->result, "rows_match",
                 bench->workload.options.copy ? documents == events + 1 : counted == events);
    return STATUS_OK;
}

static enum status run_once(struct throughput *bench, struct error *ret_error)
{
    struct plan *plan;
    enum status status;

    if (workload_plan(&bench->workload, EVERY_S, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    status = run_sides(bench, plan, ret_error);
    plan_free(plan);
    return status;
}

enum status bench_throughput(const struct bench_options *options, struct result *result,
                             struct error *ret_error)
{
    struct throughput bench = {.result = result};
    enum status status;

    buffer_init(&bench.metrics, METRICS_BYTES_MAX);
    status = workload_open(options, &bench.workload, ret_error);
    for (unsigned run = 0; run < options->runs && status == STATUS_OK; run++)
        status = run_once(&bench, ret_error);
    if (options->brokers && !options->copy)
        result_ask(result, "cpu_ratio", 2);
    workload_close(&bench.workload);
    buffer_free(&bench.metrics);
    return status;
}
