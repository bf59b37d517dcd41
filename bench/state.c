/* What state costs. Every series has an event in each bucket, so between two checkpoints nearly all of it
 * changes: the worst there is. No sink, so that nothing else takes time. Each measurement is a process of its
 * own (a heap that has been used before, or a thread of an engine before, would show in it), and tells its
 * figures through a pipe. */
#include "bench/report.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "pipeline/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
    enum status status;
    struct error error;
};

enum sides { SIDE_WITHOUT, SIDE_WITH, SIDES };

static const struct {
    const char *name, *checkpoint;
} sides[SIDES] = {[SIDE_WITHOUT] = {"without", "600s"}, [SIDE_WITH] = {"with", "5s"}};

struct state_bench {
    struct workload workload;
    double *events_per_second[SIDES], *cpu_us_per_event[SIDES];
    struct figures with; /* of the last run */
    struct figures stopped, after_stop, after_kill;
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
static void run_engine(const struct plan *plan, double messages, enum ending ending,
                       struct figures *ret_figures)
{
    struct engine_options options = {.mode = ENGINE_ONCE};
    struct usage before = usage_now();
    struct engine *engine;
    struct buffer metrics;
    enum status status;

    *ret_figures = (struct figures){.status = engine_start(plan, &options, &engine, &ret_figures->error)};
    if (ret_figures->status != STATUS_OK)
        return;
    buffer_init(&metrics, METRICS_BYTES_MAX);
    do {
        status = engine_wait(engine, WAIT_MS, &ret_figures->error);
        buffer_clear(&metrics);
        engine_metrics(engine, &metrics);
    } while (status == STATUS_RETRY && report_metric(&metrics, "weir_messages_total") < messages);
    ret_figures->status = status == STATUS_RETRY ? STATUS_OK : status;
    ret_figures->used = usage_since(before);
    read_figures(plan, &metrics, ret_figures);
    if (ending == ENDING_KILL)
        (void)raise(SIGKILL);
    if (ending == ENDING_LEAVE)
        return;
    before = usage_now();
    engine_stop(engine);
    ret_figures->stop = usage_since(before);
    engine_free(engine);
    ret_figures->file_bytes = file_size(plan->store.path, "");
}

/* The same in a process of its own. */
static enum status run_apart(const struct plan *plan, double messages, enum ending ending,
                             struct figures *ret_figures, struct error *ret_error)
{
    ssize_t got;
    int ends[2];
    pid_t child;

    if (pipe(ends) != 0)
        return fail(ret_error, "cannot make a pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) {
        run_engine(plan, messages, ending, ret_figures);
        got = write(ends[1], ret_figures, sizeof *ret_figures);
        _exit(got != (ssize_t)sizeof *ret_figures);
    }
    close(ends[1]);
    got = child > 0 ? read(ends[0], ret_figures, sizeof *ret_figures) : 0;
    close(ends[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    if (ending == ENDING_KILL && got == 0)
        return STATUS_OK;
    if (got != (ssize_t)sizeof *ret_figures)
        return fail(ret_error, "a run ended without a word");
    return ret_figures->status == STATUS_OK ? STATUS_OK : fail(ret_error, "%s", ret_figures->error.text);
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

static enum status run_side(struct state_bench *bench, enum sides side, unsigned run, struct error *ret_error)
{
    double events = (double)bench->workload.options.generator.events;
    struct figures figures;
    struct plan *plan;

    if (make_plan(&bench->workload, sides[side].checkpoint, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    enum status status = run_apart(plan, events, ENDING_LEAVE, &figures, ret_error);
    remove_store(plan);
    if (status != STATUS_OK)
        return status;
    bench->events_per_second[side][run] = events / figures.used.wall;
    bench->cpu_us_per_event[side][run] = figures.used.cpu / events * 1e6;
    if (side == SIDE_WITH)
        bench->with = figures;
    workload_tell(&bench->workload,
                  "%s %u: %.0f events/s, %.3f us CPU an event, %.0f checkpoints, pause %.1f ms",
                  sides[side].name, run + 1, bench->events_per_second[side][run],
                  bench->cpu_us_per_event[side][run], figures.checkpoints, figures.pause_s * 1e3);
    return STATUS_OK;
}

/* A start over what a process left that ended so, in the middle of its input. */
static enum status run_restart(struct state_bench *bench, enum ending ending, struct figures *ret_ended,
                               struct figures *ret_restarted, struct error *ret_error)
{
    double messages = (double)bench->workload.options.generator.events * 3 / 4;
    struct plan *plan;

    if (make_plan(&bench->workload, sides[SIDE_WITH].checkpoint, &plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    enum status status = run_apart(plan, messages, ending, ret_ended, ret_error);
    if (status == STATUS_OK)
        status = run_apart(plan, 1, ENDING_LEAVE, ret_restarted, ret_error);
    remove_store(plan);
    if (status == STATUS_OK)
        workload_tell(&bench->workload, "start after a %s: %.2f s, %.2f s CPU",
                      ending == ENDING_KILL ? "kill" : "stop", ret_restarted->used.wall,
                      ret_restarted->used.cpu);
    return status;
}

static void report_sides(struct json_writer *json, struct state_bench *bench)
{
    unsigned runs = bench->workload.options.runs;
    double speed[SIDES], cpu[SIDES];

    for (enum sides side = 0; side < SIDES; side++) {
        json_open(json, sides[side].name);
        json_text(json, "checkpoint", span_of(sides[side].checkpoint));
        speed[side] = report_range(json, "events_per_second", bench->events_per_second[side], runs);
        cpu[side] = report_range(json, "cpu_us_per_event", bench->cpu_us_per_event[side], runs);
        json_close(json);
    }
    json_number(json, "time_share", 1 - speed[SIDE_WITH] / speed[SIDE_WITHOUT]);
    json_number(json, "cpu_share", cpu[SIDE_WITH] / cpu[SIDE_WITHOUT] - 1);
    json_number(json, "share_asked_at_most", 0.1);
}

static void report_restart(struct json_writer *json, const char *key, const struct figures *restarted)
{
    json_open(json, key);
    json_number(json, "seconds", restarted->used.wall);
    json_number(json, "cpu_seconds", restarted->used.cpu);
    json_number(json, "seconds_asked_at_most", 5);
    json_close(json);
}

static void report(struct state_bench *bench, struct buffer *out)
{
    const struct bench_options *options = &bench->workload.options;
    const struct figures *with = &bench->with;
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "case", SPAN_LITERAL("state"));
    report_machine(&json);
    json_unsigned(&json, "events", options->generator.events);
    json_unsigned(&json, "series", options->generator.tasks);
    json_unsigned(&json, "workers", options->workers);
    json_unsigned(&json, "runs", options->runs);
    report_sides(&json, bench);
    json_number(&json, "checkpoints", with->checkpoints);
    json_number(&json, "checkpoint_seconds", with->cut_s);
    json_number(&json, "save_seconds", with->save_s);
    json_number(&json, "pause_seconds_max", with->pause_s);
    json_number(&json, "pause_seconds_asked_at_most", 0.02);
    json_number(&json, "values", with->values);
    json_number(&json, "value_bytes", with->value_bytes);
    json_number(&json, "written_bytes", with->written_bytes);
    json_number(&json, "store_bytes", with->file_bytes);
    json_number(&json, "log_bytes", with->log_bytes);
    json_number(&json, "stopped_store_bytes", bench->stopped.file_bytes);
    json_number(&json, "stop_seconds", bench->stopped.stop.wall);
    report_restart(&json, "start_after_stop", &bench->after_stop);
    report_restart(&json, "start_after_kill", &bench->after_kill);
    json_close(&json);
}

enum status bench_state(const struct bench_options *options, struct buffer *out, struct error *ret_error)
{
    struct state_bench *bench = memory_new(sizeof *bench);
    struct figures killed;

    for (enum sides side = 0; side < SIDES; side++) {
        bench->events_per_second[side] = memory_new(options->runs * sizeof(double));
        bench->cpu_us_per_event[side] = memory_new(options->runs * sizeof(double));
    }
    enum status status = workload_open(options, &bench->workload, ret_error);
    for (unsigned run = 0; run < options->runs * SIDES && status == STATUS_OK; run++)
        status = run_side(bench, run % SIDES, run / SIDES, ret_error);
    if (status == STATUS_OK)
        status = run_restart(bench, ENDING_STOP, &bench->stopped, &bench->after_stop, ret_error);
    if (status == STATUS_OK)
        status = run_restart(bench, ENDING_KILL, &killed, &bench->after_kill, ret_error);
    if (status == STATUS_OK)
        report(bench, out);
    workload_close(&bench->workload);
    for (enum sides side = 0; side < SIDES; side++) {
        free(bench->events_per_second[side]);
        free(bench->cpu_us_per_event[side]);
    }
    free(bench);
    return status;
}
