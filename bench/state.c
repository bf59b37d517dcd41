/* What state costs. Every series has an event in each bucket, so between two checkpoints nearly all of it
 * changes: the worst there is. No sink, so that nothing else takes time. Each measurement is a process of its
 * own (a heap that has been used before, or a thread of an engine before, would show in it), and tells its
 * figures through a pipe. */
#include "bench/apart.h"
#include "bench/report.h"
#include "bench/result.h"
#include "bench/workload.h"

#include "pipeline/engine.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVERY_S = 60, WAIT_MS = 5, METRICS_BYTES_MAX = 1024 * 1024 };

enum ending { /* of a process, once it has read so many messages */
              ENDING_LEAVE,
              ENDING_STOP,
              ENDING_KILL,
};

struct figures {
    struct usage used;     /* from the start until so many messages are read */
    struct usage stop;     /* of the stop */
    double pause_s, cut_s; /* longest pause; length of the last checkpoint */
    double save_s;         /* the workers' time for making values */
    double checkpoints, values, value_bytes;
    double written_bytes;
    double file_bytes, log_bytes;
};

enum sides { SIDE_WITHOUT, SIDE_WITH, SIDES };

static const struct {
    const char *name, *checkpoint;
} sides[SIDES] = {[SIDE_WITHOUT] = {"without", "600s"}, [SIDE_WITH] = {"with", "5s"}};

struct state_bench {
    struct workload workload;
    struct result *result;
};

struct measurement {
    const struct plan *plan;
    double messages;
    enum ending ending;
};

static double file_size(const char *path, const char *suffix)
{
    char name[2 * WORKLOAD_PATH_BYTES];
    struct stat status;

    (void)snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &status) == 0 ? (double)status.st_size : 0;
}

/* What the process has handed to write calls; nearly all of it is the store's. */
static double written_bytes(void)
{
    unsigned long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");

    if (file) {
        if (fscanf(file, "rchar: %*u wchar: %llu", &bytes) != 1)
            bytes = 0;
        (void)fclose(file);
    }
    return (double)bytes;
}

static void read_figures(const struct plan *plan, struct buffer *metrics, struct figures *ret_figures)
{
    ret_figures->pause_s = report_metric(metrics, "weir_checkpoint_pause_seconds_max");
    ret_figures->cut_s = report_metric(metrics, "weir_checkpoint_seconds");
    ret_figures->save_s = report_metric(metrics, "weir_stage_seconds_total{stage=\"save\"}");
    ret_figures->checkpoints = report_metric(metrics, "weir_checkpoint_generation");
    ret_figures->values = report_metric(metrics, "weir_checkpoint_values_total");
    ret_figures->value_bytes = report_metric(metrics, "weir_checkpoint_bytes_total");
    ret_figures->written_bytes = written_bytes();
    ret_figures->file_bytes = file_size(plan->store.path, "");
    ret_figures->log_bytes = file_size(plan->store.path, "-wal");
}

/* Runs the engine until it has read so many messages. */
static enum status run_engine(void *owner, struct buffer *out, struct error *ret_error)
{
    const struct measurement *measurement = owner;
    struct engine_options options = {.mode = ENGINE_ONCE};
    struct usage before = usage_now();
    struct figures figures = {0};
    struct engine *engine;
    struct buffer metrics;
    enum status status = engine_start(measurement->plan, &options, &engine, ret_error);

    if (status != STATUS_OK)
        return status;
    buffer_init(&metrics, METRICS_BYTES_MAX);
    do {
        status = engine_wait(engine, WAIT_MS, ret_error);
        buffer_clear(&metrics);
        engine_metrics(engine, &metrics);
    } while (status == STATUS_RETRY &&
             report_metric(&metrics, "weir_messages_total") < measurement->messages);
    figures.used = usage_since(before);
    read_figures(measurement->plan, &metrics, &figures);
    if (measurement->ending == ENDING_KILL)
        (void)raise(SIGKILL);
    if (measurement->ending == ENDING_STOP) {
        before = usage_now();
        engine_stop(engine);
        figures.stop = usage_since(before);
        engine_free(engine);
        figures.file_bytes = file_size(measurement->plan->store.path, "");
    }
    buffer_put(out, &figures, sizeof figures);
    return status == STATUS_RETRY ? STATUS_OK : status;
}

/* The same in a process of its own; one that kills itself has no figures. */
static enum status run_apart(const struct plan *plan, double messages, enum ending ending,
                             struct figures *ret_figures, struct error *ret_error)
{
    struct measurement measurement = {.plan = plan, .messages = messages, .ending = ending};
    struct buffer out;
    enum status status;

    *ret_figures = (struct figures){0};
    buffer_init(&out, sizeof *ret_figures);
    status = apart_run(run_engine, &measurement, &out, ret_error);
    if (out.size == sizeof *ret_figures)
        memcpy(ret_figures, out.data, out.size);
    buffer_free(&out);
    return status == STATUS_SKIP && ending == ENDING_KILL ? STATUS_OK : status;
}

static enum status make_plan(struct workload *workload, const char *checkpoint, struct plan **ret_plan,
                             struct error *ret_error)
{
    struct buffer text;

    workload_plan_begin(workload, checkpoint, &text);
    buffer_print(
        &text,
        "measures:\n"
        "  - {name: latency, of: duration_ms, statistics: [count, mean], by: [workflow, task], every: "
        "%us}\n"
        "detectors:\n"
        "  - {name: slow, type: zscore, measure: latency, statistic: mean, direction: up}\n"
        "limits: {series: %u}\n",
        (unsigned)EVERY_S, 2 * workload->options.generator.tasks + 10000);
    return workload_plan_end(workload, &text, ret_plan, ret_error);
}

static void remove_store(struct plan *plan)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};
    char name[2 * WORKLOAD_PATH_BYTES];

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        (void)snprintf(name, sizeof name, "%s%s", plan->store.path, suffixes[i]);
        (void)unlink(name);
    }
    plan_free(plan);
}

static void note_checkpoints(struct result *result, const struct figures *with)
{
    const struct {
        const char *name, *unit;
        double value;
    } figures[] = {
        {"checkpoints", "checkpoints", with->checkpoints},
        {"checkpoint_seconds", "s", with->cut_s},
        {"save_seconds", "s", with->save_s},
        {"pause_seconds_max", "s", with->pause_s},
        {"values", "values", with->values},
        {"value_bytes", "bytes", with->value_bytes},
        {"written_bytes", "bytes", with->written_bytes},
        {"store_bytes", "bytes", with->file_bytes},
        {"log_bytes", "bytes", with->log_bytes},
    };

    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        result_add(result, figures[i].unit, figures[i].value, "%s", figures[i].name);
    result_ask(result, "pause_seconds_max", 0.02);
}

static enum status run_side(struct state_bench *bench, enum sides side, struct figures *ret_figures,
                            struct error *ret_error)
{
    double events = (double)bench->workload.options.generator.events;
    struct plan *plan;

    if (make_plan(&bench->workload, sides[side].checkpoint, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    enum status status = run_apart(plan, events, ENDING_LEAVE, ret_figures, ret_error);
    remove_store(plan);
    if (status != STATUS_OK)
        return status;
    result_add_usage(bench->result, sides[side].name, "event", events, ret_figures->used);
    workload_tell(&bench->workload,
                  "%s: %.0f events/s, %.3f us CPU an event, %.0f checkpoints, pause %.1f ms",
                  sides[side].name, events / ret_figures->used.wall, ret_figures->used.cpu / events * 1e6,
                  ret_figures->checkpoints, ret_figures->pause_s * 1e3);
    return STATUS_OK;
}

static enum status run_sides(struct state_bench *bench, struct error *ret_error)
{
    struct figures without, with;

    if (run_side(bench, SIDE_WITHOUT, &without, ret_error) != STATUS_OK ||
        run_side(bench, SIDE_WITH, &with, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    result_add(bench->result, "share", 1 - without.used.wall / with.used.wall, "time_share");
    result_add(bench->result, "share", with.used.cpu / without.used.cpu - 1, "cpu_share");
    result_ask(bench->result, "time_share", 0.1);
    result_ask(bench->result, "cpu_share", 0.1);
    note_checkpoints(bench->result, &with);
    return STATUS_OK;
}

/* A start over what a process left that ended so, in the middle of its input. */
static enum status run_restart(struct state_bench *bench, enum ending ending, const char *name,
                               struct error *ret_error)
{
    double messages = (double)bench->workload.options.generator.events * 3 / 4;
    struct figures ended, restarted;
    struct plan *plan;
    char figure[64];

    if (make_plan(&bench->workload, sides[SIDE_WITH].checkpoint, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    enum status status = run_apart(plan, messages, ending, &ended, ret_error);
    if (status == STATUS_OK)
        status = run_apart(plan, 1, ENDING_LEAVE, &restarted, ret_error);
    remove_store(plan);
    if (status != STATUS_OK)
        return status;
    if (ending == ENDING_STOP) {
        result_add(bench->result, "bytes", ended.file_bytes, "stopped_store_bytes");
        result_add(bench->result, "s", ended.stop.wall, "stop_seconds");
    }
    (void)snprintf(figure, sizeof figure, "%s.seconds", name);
    result_add(bench->result, "s", restarted.used.wall, "%s", figure);
    result_ask(bench->result, figure, 5);
    result_add(bench->result, "s", restarted.used.cpu, "%s.cpu_seconds", name);
    workload_tell(&bench->workload, "%s: %.2f s, %.2f s CPU", name, restarted.used.wall, restarted.used.cpu);
    return STATUS_OK;
}

enum status bench_state(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    struct state_bench bench = {.result = result};
    enum status status = workload_open(options, &bench.workload, ret_error);

    for (unsigned run = 0; run < options->runs && status == STATUS_OK; run++)
        status = run_sides(&bench, ret_error);
    if (status == STATUS_OK)
        status = run_restart(&bench, ENDING_STOP, "start_after_stop", ret_error);
    if (status == STATUS_OK)
        status = run_restart(&bench, ENDING_KILL, "start_after_kill", ret_error);
    workload_close(&bench.workload);
    return status;
}
