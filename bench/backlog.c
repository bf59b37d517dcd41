/* A backlog in partitions that are filled unevenly: does the process keep its size and its speed while it is
 * read? State is complete after the first buckets; whatever grows later is a leak, a queue or a heap in
 * pieces, and what slows down later is a structure that does not keep its cost. Samples are the first news of
 * the engine past round numbers of messages: every million of the twenty, which is ten buckets. */
#include "bench/report.h"
#include "bench/workload.h"

#include "pipeline/engine.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { EVERY_S = 10, WAIT_MS = 10, SAMPLES = 20, METRICS_BYTES_MAX = 1024 * 1024 };

struct sample {
    uint64_t messages, resident_bytes;
    uint64_t heap_bytes;  /* given out by malloc: resident without it growing is a heap in pieces */
    uint64_t state_bytes; /* of it, as the engine reckons its panes and detectors */
    uint64_t queue_bytes; /* and what waits for order or for sinks */
    struct usage used;    /* since the start */
};

struct samples {
    struct sample items[SAMPLES];
    unsigned count;
    uint64_t step, last; /* messages: between samples, at the last look */
};

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file) {
        if (fscanf(file, "%*u %llu", &pages) != 1)
            pages = 0;
        (void)fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void take_sample(struct samples *samples, const struct engine *engine, struct buffer *metrics,
                        struct usage used)
{
    struct mallinfo2 heap;
    uint64_t messages;

    buffer_clear(metrics);
    engine_metrics(engine, metrics);
    messages = (uint64_t)report_metric(metrics, "weir_messages_total");
    if (messages == samples->last) /* no news; the time of a sample is that of the news */
        return;
    samples->last = messages;
    if (samples->count >= SAMPLES || messages < samples->step * (samples->count + 1))
        return;
    while (samples->count + 1 < SAMPLES && messages >= samples->step * (samples->count + 2))
        samples->count++; /* missed between two looks: left zero */
    heap = mallinfo2();
    samples->items[samples->count++] =
        (struct sample){.messages = messages,
                        .resident_bytes = resident_bytes(),
                        .heap_bytes = heap.uordblks + heap.hblkhd,
                        .state_bytes = (uint64_t)report_metric(metrics, "weir_state_bytes"),
                        .queue_bytes = (uint64_t)(report_metric(metrics, "weir_queue_bytes") +
                                                  report_metric(metrics, "weir_sink_queue_bytes")),
                        .used = used};
}

static enum status run_engine(const struct plan *plan, struct samples *samples, struct usage *ret_used,
                              struct error *ret_error)
{
    struct engine_options options = {.mode = ENGINE_ONCE};
    struct usage before = usage_now();
    struct engine *engine;
    struct buffer metrics;
    enum status status;

    if (engine_start(plan, &options, &engine, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    buffer_init(&metrics, METRICS_BYTES_MAX);
    do {
        status = engine_wait(engine, WAIT_MS, ret_error);
        take_sample(samples, engine, &metrics, usage_since(before));
    } while (status == STATUS_RETRY);
    *ret_used = usage_since(before);
    buffer_free(&metrics);
    engine_stop(engine);
    engine_free(engine);
    return status;
}

/* Since the sample before; 0: it was missed. */
static struct usage usage_of_step(const struct samples *samples, unsigned place)
{
    static const struct sample start = {0};
    const struct sample *sample = &samples->items[place],
                        *before = place ? &samples->items[place - 1] : &start;
    double messages = (double)(sample->messages - before->messages);

    if (sample->messages == 0 || (place && before->messages == 0))
        return (struct usage){0};
    return (struct usage){.wall = (sample->used.wall - before->used.wall) / messages,
                          .cpu = (sample->used.cpu - before->used.cpu) / messages};
}

static void report_speed(struct json_writer *json, const struct samples *samples, unsigned place)
{
    struct usage step = usage_of_step(samples, place);

    if (step.wall == 0)
        return;
    json_number(json, "events_per_second", 1 / step.wall);
    json_number(json, "cpu_us_per_event", step.cpu * 1e6);
}

static void report_samples(struct json_writer *json, const struct samples *samples)
{
    json_open_list(json, "samples");
    for (unsigned i = 0; i < samples->count; i++) {
        const struct sample *sample = &samples->items[i];

        if (sample->messages == 0)
            continue;
        json_open(json, NULL);
        json_unsigned(json, "messages", sample->messages);
        json_unsigned(json, "resident_bytes", sample->resident_bytes);
        json_unsigned(json, "heap_bytes", sample->heap_bytes);
        json_unsigned(json, "state_bytes", sample->state_bytes);
        json_unsigned(json, "queue_bytes", sample->queue_bytes);
        json_number(json, "seconds", sample->used.wall);
        report_speed(json, samples, i);
        json_close(json);
    }
    json_close_list(json);
}

/* The largest sample of the second half relative to the one at a fifth. Open panes swing by a bucket's worth
 * between samples, so a few percent are not growth. */
static void report_memory(struct json_writer *json, const struct samples *samples)
{
    const struct sample *reference = &samples->items[SAMPLES / 5 - 1];
    uint64_t resident = 0, heap = 0;

    for (unsigned i = SAMPLES / 2 - 1; i < samples->count; i++) {
        const struct sample *sample = &samples->items[i];

        resident = sample->resident_bytes > resident ? sample->resident_bytes : resident;
        heap = sample->heap_bytes > heap ? sample->heap_bytes : heap;
    }
    if (reference->messages == 0 || resident == 0)
        return; /* too few events to look at it in time */
    json_number(json, "memory_ratio", (double)resident / (double)reference->resident_bytes);
    json_number(json, "memory_ratio_asked_at_most", 1.05);
    json_number_if(json, "heap_ratio", /* the sanitizers' malloc tells nothing */
                   (double)heap / (double)reference->heap_bytes);
}

/* The last step relative to the first. */
static void report_slowdown(struct json_writer *json, const struct samples *samples)
{
    struct usage first = usage_of_step(samples, 0), last = usage_of_step(samples, SAMPLES - 1);

    if (first.wall == 0 || last.wall == 0)
        return;
    json_number(json, "speed_ratio", first.wall / last.wall);
    json_number(json, "speed_ratio_asked_at_least", 0.95);
    json_number(json, "cpu_ratio", last.cpu / first.cpu);
}

static void report(const struct workload *workload, const struct samples *samples, struct usage used,
                   struct buffer *out)
{
    const struct generator_options *input = &workload->options.generator;
    const struct null_server_figures *served = workload->server.figures;
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "case", SPAN_LITERAL("backlog"));
    report_machine(&json);
    json_unsigned(&json, "events", input->events);
    json_unsigned(&json, "tasks", input->tasks);
    json_unsigned(&json, "partitions", workload->options.partitions);
    json_unsigned(&json, "workers", workload->options.workers);
    json_number(&json, "seconds", used.wall);
    json_number(&json, "cpu_seconds", used.cpu);
    report_samples(&json, samples);
    report_memory(&json, samples);
    report_slowdown(&json, samples);
    json_unsigned(&json, "documents", atomic_load(&served->documents));
    json_unsigned(&json, "rows_in_buckets", atomic_load(&served->counted));
    json_bool(&json, "rows_match", atomic_load(&served->counted) == input->events);
    json_close(&json);
}

enum status bench_backlog(const struct bench_options *options, struct buffer *out, struct error *ret_error)
{
    struct samples samples = {.step = options->generator.events / SAMPLES};
    struct workload workload;
    struct plan *plan = NULL;
    struct usage used = {0};
    enum status status = workload_open(options, &workload, ret_error);

    if (status == STATUS_OK)
        status = workload_plan(&workload, EVERY_S, &plan, ret_error);
    if (status == STATUS_OK)
        status = run_engine(plan, &samples, &used, ret_error);
    if (status == STATUS_OK)
        report(&workload, &samples, used, out);
    if (plan)
        plan_free(plan);
    workload_close(&workload);
    return status;
}
