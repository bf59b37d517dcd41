/* The same files by one worker and by several, by turns. Each file is a partition; keys are spread over the
 * workers, so most rows cross from the worker that reads them to the one that owns their key. On a machine
 * without idle cores the CPU an event still tells what the crossing costs. */
#include "bench/result.h"
#include "bench/workload.h"

#include <stdio.h>

enum { EVERY_S = 10, SIDES = 2 };

static enum status run_side(struct workload *workload, unsigned workers, struct usage *ret_used,
                            struct error *ret_error)
{
    const struct null_server_figures *served = workload->server.figures;
    uint64_t events = workload->options.generator.events, counted = served->counted;
    struct plan *plan;
    enum status status;

    workload->options.workers = workers;
    if (workload_plan(workload, EVERY_S, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    status = workload_run(plan, ret_used, NULL, ret_error);
    plan_free(plan);
    if (status != STATUS_OK)
        return status;
    if (served->counted - counted != events)
        return fail(ret_error, "with %u workers %llu of %llu events are in buckets", workers,
                    (unsigned long long)(served->counted - counted), (unsigned long long)events);
    workload_tell(workload, "%u workers: %.0f events/s, %.3f us CPU an event", workers,
                  (double)events / ret_used->wall, ret_used->cpu * 1e6 / (double)events);
    return STATUS_OK;
}

static enum status run_once(struct workload *workload, const unsigned workers[SIDES], struct result *result,
                            struct error *ret_error)
{
    double events = (double)workload->options.generator.events;
    struct usage used[SIDES];
    char name[32];

    for (unsigned i = 0; i < SIDES; i++) {
        if (run_side(workload, workers[i], &used[i], ret_error) != STATUS_OK)
            return STATUS_FATAL;
        (void)snprintf(name, sizeof name, "workers_%u", workers[i]);
        result_add_usage(result, name, "event", events, used[i]);
    }
    result_add(result, "times", used[1].wall / used[0].wall, "time_ratio");
    result_add(result, "times", used[1].cpu / used[0].cpu, "cpu_ratio");
    return STATUS_OK;
}

enum status bench_workers(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    const unsigned workers[SIDES] = {1, options->workers > 1 ? options->workers : 2};
    struct workload workload;
    enum status status = workload_open(options, &workload, ret_error);

    for (unsigned run = 0; run < options->runs && status == STATUS_OK; run++)
        status = run_once(&workload, workers, result, ret_error);
    if (status == STATUS_OK)
        result_ask(result, "time_ratio", 1 / (0.9 * workers[1]));
    workload_close(&workload);
    return status;
}
