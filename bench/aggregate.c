/* Aggregation alone: tumbling windows over few and many keys, and a window that hops by a sixtieth of its
 * size, where each key has a bucket a second however few events it has: one in ten seconds, or one each. */
#include "bench/aggregation.h"
#include "bench/result.h"

#include <stdio.h>

enum { SECTIONS_BYTES = 1024 };

static const unsigned key_counts[] = {1000, 100000, 1000000};

static const char tumbling[] =
    "measures:\n"
    "  - {name: arrivals, of: count, by: [workflow, task], every: 10s}\n"
    "  - {name: latency, of: duration_ms, statistics: [mean, p95], by: [workflow, task], every: 10s}\n";

static const char hopping[] =
    "measures:\n"
    "  - {name: latency, of: duration_ms, statistics: [%s], by: [workflow, task], every: 1s, window: 1m}\n";

static enum status run_once(const struct generator_options *options, const char *measures, const char *prefix,
                            struct result *result, struct error *ret_error)
{
    double events = (double)options->events;
    char sections[SECTIONS_BYTES];
    struct aggregation aggregation;
    struct windows_figures figures;

    (void)snprintf(sections, sizeof sections, "%slimits: {series: %u}\n", measures,
                   2 * options->tasks + 10000);
    if (aggregation_open(options, sections, &aggregation, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (aggregation_step(&aggregation))
        continue;
    windows_figures(aggregation.windows, &figures);
    result_add_usage(result, prefix, "event", events, aggregation_used(&aggregation));
    result_add(result, "us", aggregation.folding.cpu / events * 1e6, "%s.fold_cpu_us_per_event", prefix);
    result_add(result, "us", aggregation.merging.cpu / events * 1e6, "%s.merge_cpu_us_per_event", prefix);
    result_add(result, "us", aggregation.closing.cpu / events * 1e6, "%s.close_cpu_us_per_event", prefix);
    result_add(result, "ns", aggregation.closing.cpu / (double)aggregation.buckets * 1e9,
               "%s.close_cpu_ns_per_bucket", prefix);
    result_add(result, "series", (double)figures.series, "%s.series", prefix);
    result_add(result, "bytes", (resident_bytes() - aggregation.resident_before) / (double)figures.series,
               "%s.resident_bytes_per_series", prefix);
    aggregation_close(&aggregation);
    return STATUS_OK;
}

enum status bench_aggregate(const struct bench_options *options, struct result *result,
                            struct error *ret_error)
{
    struct generator_options generator = options->generator;
    enum status status = STATUS_OK;
    char prefix[32];

    generator.in_turn = true; /* by Zipf's law most of a million keys would have no event at all */
    for (unsigned run = 0; run < options->runs; run++)
        for (size_t i = 0; i < sizeof key_counts / sizeof *key_counts && status == STATUS_OK; i++) {
            generator.tasks = key_counts[i];
            (void)snprintf(prefix, sizeof prefix, "keys_%u", generator.tasks);
            status = run_once(&generator, tumbling, prefix, result, ret_error);
        }
    return status;
}

enum status bench_hopping(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    static const struct {
        const char *prefix, *statistics;
        unsigned fewer; /* keys; at the same rate each of them has so many more events */
    } variants[] = {{"mean", "count, mean", 1},
                    {"percentile", "p95", 1},
                    {"busy_mean", "count, mean", 10},
                    {"busy_percentile", "p95", 10}};
    enum status status = STATUS_OK;
    char measures[SECTIONS_BYTES / 2];

    for (unsigned run = 0; run < options->runs; run++)
        for (size_t i = 0; i < sizeof variants / sizeof *variants && status == STATUS_OK; i++) {
            struct generator_options generator = options->generator;

            generator.tasks = (generator.tasks + variants[i].fewer - 1) / variants[i].fewer;
            (void)snprintf(measures, sizeof measures, hopping, variants[i].statistics);
            status = run_once(&generator, measures, variants[i].prefix, result, ret_error);
        }
    return status;
}
