/* Many live series: what one of them takes, and whether closing a bucket of each of them at one end holds
 * anything up. Each series has an event in every bucket, so each has an open pane when the bucket closes. */
#include "bench/aggregation.h"
#include "bench/result.h"

#include <malloc.h>
#include <stdio.h>

enum { SECTIONS_BYTES = 1024, EVERY_S = 60 };

/* Of malloc; 0 with a sanitizer's. */
static double heap_bytes(void)
{
    struct mallinfo2 heap = mallinfo2();

    return (double)(heap.uordblks + heap.hblkhd);
}

static void note_close(const struct aggregation *aggregation, double series, struct result *result)
{
    if ((double)aggregation->closed_buckets < series / 2) /* the jitter leaves some without an event */
        return;
    result_add(result, "s", aggregation->closed.cpu, "close_cpu_seconds");
    result_add(result, "s", aggregation->closed.wall, "close_seconds");
    result_add(result, "ns", aggregation->closed.cpu / (double)aggregation->closed_buckets * 1e9,
               "close_cpu_ns_per_bucket");
    result_add(result, "s", aggregation->longest_slice_s, "close_slice_cpu_seconds_max");
}

static enum status run_once(const struct bench_options *options, struct result *result,
                            struct error *ret_error)
{
    double series = options->generator.tasks, heap_before = heap_bytes();
    struct aggregation aggregation;
    struct windows_figures figures;
    char sections[SECTIONS_BYTES];

    (void)snprintf(
        sections, sizeof sections,
        "measures:\n"
        "  - {name: latency, of: duration_ms, statistics: [count, mean], by: [workflow, task], every: %us}\n"
        "detectors:\n"
        "  - {name: slow, type: zscore, measure: latency, statistic: mean, direction: up}\n"
        "limits: {series: %u}\n",
        (unsigned)EVERY_S, 2 * options->generator.tasks + 10000);
    if (aggregation_open(&options->generator, sections, &aggregation, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (aggregation_step(&aggregation))
        note_close(&aggregation, series, result);
    windows_figures(aggregation.windows, &figures);
    result_add(result, "series", (double)figures.series, "series");
    result_add(result, "bytes", (resident_bytes() - aggregation.resident_before) / series,
               "resident_bytes_per_series");
    result_add(result, "bytes", (heap_bytes() - heap_before) / series, "heap_bytes_per_series");
    result_add(result, "bytes", (double)figures.state_bytes / series, "detector_bytes_per_series");
    aggregation_close(&aggregation);
    return STATUS_OK;
}

enum status bench_series(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    enum status status = STATUS_OK;

    for (unsigned run = 0; run < options->runs && status == STATUS_OK; run++)
        status = run_once(options, result, ret_error);
    result_ask(result, "resident_bytes_per_series", 512);
    result_ask(result, "detector_bytes_per_series", 432);
    result_ask(result, "close_cpu_seconds", 1);
    result_ask(result, "close_slice_cpu_seconds_max", 0.002);
    return status;
}
