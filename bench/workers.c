/* The same files by one worker and by several, by turns. Each file is a partition; keys are spread over the
 * workers, so most rows cross from the worker that reads them to the one that owns their key. On a machine
 * without idle cores the CPU an event still tells what the crossing costs. */
#include "bench/report.h"
#include "bench/workload.h"

#include "base/memory.h"

#include <stdlib.h>

enum { EVERY_S = 10, SIDES = 2 };

struct worker_side {
    unsigned workers;
    double *events_per_second, *cpu_us_per_event;
};

static enum status run_side(struct workload *workload, struct worker_side *side, unsigned run,
                            struct error *ret_error)
{
    const struct null_server_figures *served = workload->server.figures;
    uint64_t events = workload->options.generator.events, counted = served->counted;
    struct plan *plan;
    struct usage used;
    enum status status;

    workload->options.workers = side->workers;
    if (workload_plan(workload, EVERY_S, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    status = workload_run(plan, &used, NULL, ret_error);
    plan_free(plan);
    if (status != STATUS_OK)
        return status;
    if (served->counted - counted != events)
        return fail(ret_error, "with %u workers %llu of %llu events are in buckets", side->workers,
                    (unsigned long long)(served->counted - counted), (unsigned long long)events);
    side->events_per_second[run] = (double)events / used.wall;
    side->cpu_us_per_event[run] = used.cpu * 1e6 / (double)events;
    workload_tell(workload, "%u workers: %.0f events/s, %.3f us CPU an event", side->workers,
                  side->events_per_second[run], side->cpu_us_per_event[run]);
    return STATUS_OK;
}

static void report(const struct workload *workload, struct worker_side sides[SIDES], struct buffer *out)
{
    const struct bench_options *options = &workload->options;
    struct json_writer json;
    double speed[SIDES], cpu[SIDES];

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "case", SPAN_LITERAL("workers"));
    report_machine(&json);
    json_unsigned(&json, "events", options->generator.events);
    json_unsigned(&json, "tasks", options->generator.tasks);
    json_unsigned(&json, "files", options->files);
    json_unsigned(&json, "runs", options->runs);
    json_open_list(&json, "sides");
    for (unsigned i = 0; i < SIDES; i++) {
        json_open(&json, NULL);
        json_unsigned(&json, "workers", sides[i].workers);
        speed[i] = report_range(&json, "events_per_second", sides[i].events_per_second, options->runs);
        cpu[i] = report_range(&json, "cpu_us_per_event", sides[i].cpu_us_per_event, options->runs);
        json_close(&json);
    }
    json_close_list(&json);
    json_number(&json, "speed_ratio", speed[1] / speed[0]);
    json_number(&json, "speed_ratio_asked_at_least", 0.9 * sides[1].workers);
    json_number(&json, "cpu_ratio", cpu[1] / cpu[0]);
    json_close(&json);
}

enum status bench_workers(const struct bench_options *options, struct buffer *out, struct error *ret_error)
{
    struct worker_side sides[SIDES] = {{.workers = 1},
                                       {.workers = options->workers > 1 ? options->workers : 2}};
    struct workload workload;
    enum status status;

    for (unsigned i = 0; i < SIDES; i++) {
        sides[i].events_per_second = memory_new(options->runs * sizeof(double));
        sides[i].cpu_us_per_event = memory_new(options->runs * sizeof(double));
    }
    status = workload_open(options, &workload, ret_error);
    for (unsigned i = 0; i < options->runs * SIDES && status == STATUS_OK; i++)
        status = run_side(&workload, &sides[i % SIDES], i / SIDES, ret_error);
    if (status == STATUS_OK)
        report(&workload, sides, out);
    workload_close(&workload);
    for (unsigned i = 0; i < SIDES; i++) {
        free(sides[i].events_per_second);
        free(sides[i].cpu_us_per_event);
    }
    return status;
}
