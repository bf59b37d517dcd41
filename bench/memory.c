/* Does the process keep its size while a backlog is read? Every series has an event in every bucket, so
 * state is complete after the first buckets, and whatever grows later is a leak, a queue or a heap in
 * pieces. Looked at 20 times a second while the engine runs; samples are the first looks past
 * round numbers of messages. */
#include "bench/report.h"
#include "bench/workload.h"

#include "pipeline/engine.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* 100,000 series with an event each 60 s give 125,000 events a bucket of 75 s: samples each 250,000
 * messages all see the same phase of the bucket, and what differs between them is growth. */
enum { EVERY_S = 75, WAIT_MS = 50, SAMPLES = 20, METRICS_BYTES_MAX = 1024 * 1024 };

struct sample {
    uint64_t messages, resident_bytes;
    uint64_t heap_bytes;  /* given out by malloc: resident without it growing is a heap in pieces */
    uint64_t state_bytes; /* of it, as the engine reckons its panes and detectors */
    uint64_t queue_bytes; /* and what waits for order or for sinks */
    double seconds;
};

struct samples {
    struct sample items[SAMPLES];
    unsigned count;
    uint64_t step;
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
                        double seconds)
{
    struct mallinfo2 heap;
    uint64_t messages;

    buffer_clear(metrics);
    engine_metrics(engine, metrics);
    messages = (uint64_t)report_metric(metrics, "weir_messages_total");
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
                        .seconds = seconds};
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
        take_sample(samples, engine, &metrics, usage_since(before).wall);
    } while (status == STATUS_RETRY);
    *ret_used = usage_since(before);
    buffer_free(&metrics);
    engine_stop(engine);
    engine_free(engine);
    return status;
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
        json_number(json, "seconds", sample->seconds);
        json_close(json);
    }
    json_close_list(json);
}

/* The largest sample of the second half relative to the one at a fifth. Open panes swing by a bucket's worth
 * between samples, so a few percent are not growth. */
static void report_ratios(struct json_writer *json, const struct samples *samples)
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
    json_number(json, "ratio", (double)resident / (double)reference->resident_bytes);
    json_number(json, "ratio_asked_at_most", 1.05);
    json_number_if(json, "heap_ratio", /* the sanitizers' malloc tells nothing */
                   (double)heap / (double)reference->heap_bytes);
}

static void report(const struct workload *workload, const struct samples *samples, struct usage used,
                   struct buffer *out)
{
    const struct generator_options *input = &workload->options.generator;
    const struct null_server_figures *served = workload->server.figures;
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "case", SPAN_LITERAL("memory"));
    report_machine(&json);
    json_unsigned(&json, "events", input->events);
    json_unsigned(&json, "series", input->tasks);
    json_unsigned(&json, "partitions", workload->options.partitions);
    json_unsigned(&json, "workers", workload->options.workers);
    json_number(&json, "seconds", used.wall);
    json_number(&json, "cpu_seconds", used.cpu);
    report_samples(&json, samples);
    report_ratios(&json, samples);
    json_unsigned(&json, "documents", atomic_load(&served->documents));
    json_unsigned(&json, "rows_in_buckets", atomic_load(&served->counted));
    json_bool(&json, "rows_match", atomic_load(&served->counted) == input->events);
    json_close(&json);
}

enum status bench_memory(const struct bench_options *options, struct buffer *out, struct error *ret_error)
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
