/* A backlog in partitions that are filled unevenly: does the process keep its size and its speed while it is
 * read? State is complete after the first buckets; whatever grows later is a leak, a queue or a heap in
 * pieces, and what slows down later is a structure that does not keep its cost. Samples are the first news of
 * the engine past round numbers of messages: every million of the twenty, which is ten buckets. Of the
 * resident size a sample has the peak since the one before: what waits unread with librdkafka comes and goes
 * many times in between, and only peaks can be compared. */
#include "bench/report.h"
#include "bench/result.h"
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
    uint64_t resident_peak;
};

static void take_sample(struct samples *samples, const struct engine *engine, struct buffer *metrics,
                        struct usage used)
{
    uint64_t messages, resident = (uint64_t)resident_bytes();
    struct mallinfo2 heap;

    if (resident > samples->resident_peak)
        samples->resident_peak = resident;
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
                        .resident_bytes = samples->resident_peak,
                        .heap_bytes = heap.uordblks + heap.hblkhd,
                        .state_bytes = (uint64_t)report_metric(metrics, "weir_state_bytes"),
                        .queue_bytes = (uint64_t)(report_metric(metrics, "weir_queue_bytes") +
                                                  report_metric(metrics, "weir_sink_queue_bytes")),
                        .used = used};
    samples->resident_peak = 0;
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
    engine_stop(engine);
    take_sample(samples, engine, &metrics, *ret_used); /* the last news is told at the stop */
    buffer_free(&metrics);
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

static void note_samples(struct result *result, const struct samples *samples)
{
    for (unsigned i = 0; i < samples->count; i++) {
        const struct sample *sample = &samples->items[i];
        struct usage step = usage_of_step(samples, i);

        if (sample->messages == 0)
            continue;
        result_add(result, "messages", (double)sample->messages, "samples.messages");
        result_add(result, "bytes", (double)sample->resident_bytes, "samples.resident_bytes");
        result_add(result, "bytes", (double)sample->heap_bytes, "samples.heap_bytes");
        result_add(result, "bytes", (double)sample->state_bytes, "samples.state_bytes");
        result_add(result, "bytes", (double)sample->queue_bytes, "samples.queue_bytes");
        result_add(result, "s", sample->used.wall, "samples.seconds");
        if (step.wall == 0)
            continue;
        result_add(result, "events/s", 1 / step.wall, "samples.events_per_second");
        result_add(result, "us", step.cpu * 1e6, "samples.cpu_us_per_event");
    }
}

static struct sample largest(const struct samples *samples, unsigned from, unsigned to)
{
    struct sample largest = {0};

    for (unsigned i = from; i < to; i++) {
        const struct sample *sample = &samples->items[i];

        if (sample->resident_bytes > largest.resident_bytes)
            largest.resident_bytes = sample->resident_bytes;
        if (sample->heap_bytes > largest.heap_bytes)
            largest.heap_bytes = sample->heap_bytes;
    }
    return largest;
}

/* The largest of the second half relative to the largest of the first fifth. */
static void note_memory(struct result *result, const struct samples *samples)
{
    struct sample early = largest(samples, 0, SAMPLES / 5),
                  late = largest(samples, SAMPLES / 2, samples->count);

    if (early.resident_bytes == 0 || late.resident_bytes == 0)
        return; /* too few events to look at it in time */
    result_add(result, "times", (double)late.resident_bytes / (double)early.resident_bytes,
               "resident_growth");
    result_ask(result, "resident_growth", 1.05);
    result_add(result, "times", /* the sanitizers' malloc tells nothing: then it is none */
               (double)late.heap_bytes / (double)early.heap_bytes, "heap_growth");
}

/* The last step relative to the first. */
static void note_slowdown(struct result *result, const struct samples *samples)
{
    struct usage first = usage_of_step(samples, 0), last = usage_of_step(samples, SAMPLES - 1);

    if (first.wall == 0 || last.wall == 0)
        return;
    result_add(result, "times", last.wall / first.wall, "slowdown");
    result_ask(result, "slowdown", 1.05);
    result_add(result, "times", last.cpu / first.cpu, "cpu_growth");
}

enum status bench_backlog(const struct bench_options *options, struct result *result, struct error *ret_error)
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
    if (status == STATUS_OK) {
        result_add_usage(result, "", "event", (double)options->generator.events, used);
        note_samples(result, &samples);
        note_memory(result, &samples);
        note_slowdown(result, &samples);
        result_check(result, "rows_match",
                     atomic_load(&workload.server.figures->counted) == options->generator.events);
    }
    if (plan)
        plan_free(plan);
    workload_close(&workload);
    return status;
}
