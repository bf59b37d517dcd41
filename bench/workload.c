/* Made once a case. The input is made in a forked process: the producer's threads and the heap it leaves
 * behind would show in the figures, of memory above all. */
#include "bench/workload.h"

#include "base/memory.h"
#include "bench/apart.h"
#include "bench/topic.h"
#include "pipeline/engine.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

/* Less than time.max_skew, above which a single row would not be believed; more than a bucket and the
 * jitter. */
#define CLOSING_US (180 * INT64_C(1000000))

enum {
    CAPACITY_EVENTS = 1000000,
    CAPACITY_EVERY_S = 10,
    WAIT_MS = 20,
    PLAN_BYTES_MAX = 16 * 1024,
    EVENT_BYTES_MAX = 4096
};

#define CAPACITY_RATE 10000.0 /* events a second of event time */

static const char counted_measure[] = "arrivals";

void workload_plan_head(bool runs, struct buffer *out)
{
    buffer_print(
        out,
        "name: bench\n"
        "http: {listen: \"\"}\n"
        "time: {lateness: %us}\n"
        "formats:\n"
        "  - {name: task_json, type: fields, map: {time: time, id: id, workflow: workflow, task: task, "
        "%s: run, state: state,\n"
        "     duration_ms: duration_ms, attempt: attempt, host: host, queue: queue, level: level, "
        "message: message}}\n",
        (unsigned)WORKLOAD_LATENESS_S, runs ? "run" : "run_name");
}

/* Two detectors, and ten rules of the kinds that people write: most look at every event. */
static const char plan_measures[] =
    "measures:\n"
    "  - {name: %s, of: count, by: [workflow, task], every: %us}\n"
    "  - {name: latency, of: duration_ms, statistics: [mean, p95], by: [workflow, task], every: %us}\n"
    "detectors:\n"
    "  - {name: slow, type: zscore, measure: latency, statistic: mean, direction: up}\n"
    "  - {name: drifting, type: ewma, measure: latency, statistic: mean, direction: up}\n"
    "rules:\n"
    "  - {name: failed_again, on: event, when: 'state == \"failed\" && attempt >= 3', by: [workflow, task]}\n"
    "  - {name: payments, on: event, when: 'workflow == \"payments\" && state == \"failed\"'}\n"
    "  - {name: exports, on: event, when: 'workflow.startsWith(\"export_\") && state == \"failed\"'}\n"
    "  - {name: long, on: event, when: 'duration_ms > 3600000'}\n"
    "  - {name: refused, on: event, when: 'level == \"ERROR\" && message.contains(\"certificate\")'}\n"
    "  - {name: slow_pipeline, on: event, when: 'workflow == \"pipeline_0001\" && state == \"success\" && "
    "duration_ms > 60000'}\n"
    "  - {name: unknown_host, on: event, when: '!host.endsWith(\".internal\")'}\n"
    "  - {name: backfill, on: event, when: 'queue == \"backfill\" || run_name.startsWith(\"backfill__\")'}\n"
    "  - {name: crowd, on: bucket, measure: %s, when: 'count > 100000'}\n"
    "  - {name: very_slow, on: bucket, measure: latency, when: 'mean > 60000 && p95 > 120000'}\n"
    "sinks:\n"
    "  - {name: search, type: elasticsearch, urls: [\"http://127.0.0.1:%u\"], send: [buckets], setup: "
    "auto}\n";

static const char plan_copy[] =
    "sinks:\n"
    "  - {name: search, type: elasticsearch, urls: [\"http://127.0.0.1:%u\"], send: [events], setup: "
    "auto}\n";

void workload_tell(const struct workload *workload, const char *format, ...)
{
    va_list arguments;

    if (!workload->options.progress)
        return;
    va_start(arguments, format);
    (void)fputs("weir bench: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

static void path_in(const struct workload *workload, const char *name, char ret_path[2 * WORKLOAD_PATH_BYTES])
{
    (void)snprintf(ret_path, 2 * WORKLOAD_PATH_BYTES, "%s/%s", workload->folder, name);
}

static enum status write_files(const struct workload *workload, struct error *error)
{
    const struct bench_options *options = &workload->options;
    FILE **files = memory_new(options->files * sizeof *files);
    char path[2 * WORKLOAD_PATH_BYTES], name[WORKLOAD_NAME_BYTES];
    struct generator generator;
    struct buffer event;
    bool written = true;

    assert(options->files > 0);
    for (unsigned i = 0; i < options->files; i++) {
        (void)snprintf(name, sizeof name, "events-%u.jsonl", i);
        path_in(workload, name, path);
        files[i] = fopen(path, "w");
        written &= files[i] != NULL;
    }
    generator_init(&generator, &options->generator);
    buffer_init(&event, EVENT_BYTES_MAX);
    while (written && generator_next(&generator, &event)) {
        buffer_put_char(&event, '\n');
        written =
            fwrite(event.data, 1, event.size, files[(generator.next - 1) % options->files]) == event.size;
        buffer_clear(&event);
    }
    buffer_free(&event);
    generator_free(&generator);
    for (unsigned i = 0; i < options->files; i++)
        if (files[i])
            written = fclose(files[i]) == 0 && written;
    free(files);
    return written ? STATUS_OK : fail(error, "%s: %s", workload->folder, strerror(errno));
}

static enum status make_input(void *owner, struct buffer *out, struct error *error)
{
    const struct workload *workload = owner;
    const struct bench_options *options = &workload->options;

    (void)out;
    if (!options->brokers)
        return write_files(workload, error);
    if (topic_create(options->brokers, workload->topic, options->partitions, error) != STATUS_OK)
        return STATUS_FATAL;
    if (options->generator.events == 0)
        return STATUS_OK;
    return topic_fill(options->brokers, workload->topic, options->partitions, options->uneven,
                      &options->generator, error);
}

enum status workload_open(const struct bench_options *options, struct workload *ret_workload,
                          struct error *ret_error)
{
    struct workload *workload = ret_workload;
    const char *parent = getenv("TMPDIR");
    struct buffer nothing;
    uint64_t number;

    *workload = (struct workload){.options = *options};
    workload->options.generator.closing_us = CLOSING_US;
    (void)snprintf(workload->folder, sizeof workload->folder, "%s/weir-bench-XXXXXX",
                   parent && parent[0] ? parent : "/tmp");
    if (!mkdtemp(workload->folder)) {
        fail(ret_error, "%s: %s", workload->folder, strerror(errno));
        workload->folder[0] = '\0';
        return STATUS_FATAL;
    }
    if (null_server_start(counted_measure, &workload->server, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (options->brokers) {
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
            return fail(ret_error, "no random number: %s", strerror(errno));
        (void)snprintf(workload->topic, sizeof workload->topic, "weir-bench-%016llx",
                       (unsigned long long)number);
    }
    workload_tell(workload, "making %llu events", (unsigned long long)options->generator.events);
    buffer_init(&nothing, 0);
    return apart_run(make_input, workload, &nothing, ret_error);
}

void workload_plan_begin(struct workload *workload, const char *checkpoint, struct buffer *ret_text)
{
    const struct bench_options *options = &workload->options;
    struct buffer *out = ret_text;

    workload->plans++;
    buffer_init(out, PLAN_BYTES_MAX);
    workload_plan_head(options->runs_told, out);
    if (!options->runs_told)
        buffer_put_text(out, "watch: false\n"); /* a case measures what it names */
    buffer_print(out, "workers: %u\nstore: {path: bench-%u.db, checkpoint: %s}\nsources:\n", options->workers,
                 workload->plans, checkpoint);
    if (options->brokers)
        buffer_print(
            out,
            "  - {name: tasks, type: kafka, brokers: \"%s\", topics: [%s], group: %s-%u, start: earliest,\n"
            "     format: task_json}\n",
            options->brokers, workload->topic, workload->topic, workload->plans);
    else
        buffer_put_text(out, "  - {name: tasks, type: file, path: events-*.jsonl, format: task_json}\n");
}

enum status workload_plan_end(struct workload *workload, struct buffer *text, struct plan **ret_plan,
                              struct error *ret_error)
{
    char path[2 * WORKLOAD_PATH_BYTES];
    FILE *file;
    bool written;

    path_in(workload, "bench.yaml", path);
    file = fopen(path, "w");
    written = file && !text->full && fwrite(text->data, 1, text->size, file) == text->size;
    if (file)
        written = fclose(file) == 0 && written;
    buffer_free(text);
    if (!written)
        return fail(ret_error, "%s: cannot be written", path);
    return plan_load(path, NULL, 0, ret_plan, ret_error);
}

enum status workload_plan(struct workload *workload, unsigned every_s, struct plan **ret_plan,
                          struct error *ret_error)
{
    unsigned port = workload->server.server.port;
    struct buffer text;

    workload_plan_begin(workload, "5s", &text);
    if (workload->options.copy)
        buffer_print(&text, plan_copy, port);
    else
        buffer_print(&text, plan_measures, counted_measure, every_s, every_s, counted_measure, port);
    return workload_plan_end(workload, &text, ret_plan, ret_error);
}

enum status workload_run(const struct plan *plan, struct usage *ret_used, struct buffer *metrics,
                         struct error *ret_error)
{
    struct engine_options options = {.mode = ENGINE_ONCE};
    struct usage before = usage_now();
    struct engine *engine;
    enum status status;

    if (engine_start(plan, &options, &engine, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while ((status = engine_wait(engine, WAIT_MS, ret_error)) == STATUS_RETRY)
        continue;
    *ret_used = usage_since(before);
    engine_stop(engine);
    if (metrics) {
        buffer_clear(metrics);
        engine_metrics(engine, metrics);
    }
    engine_free(engine);
    return status;
}

/* Only plain files are made in it. */
static void remove_folder(const struct workload *workload)
{
    char path[2 * WORKLOAD_PATH_BYTES];
    DIR *folder = opendir(workload->folder);
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        path_in(workload, entry->d_name, path);
        (void)unlink(path);
    }
    if (folder)
        (void)closedir(folder);
    (void)rmdir(workload->folder);
}

void workload_close(struct workload *workload)
{
    struct error error;

    null_server_stop(&workload->server);
    if (workload->topic[0] && topic_delete(workload->options.brokers, workload->topic, &error) != STATUS_OK)
        workload_tell(workload, "%s", error.text);
    if (workload->folder[0])
        remove_folder(workload);
    *workload = (struct workload){0};
}

enum status workload_capacity(const struct bench_options *options, double *ret_capacity,
                              struct error *ret_error)
{
    struct bench_options backlog = *options;
    struct workload workload;
    struct plan *plan = NULL;
    struct usage used = {0};
    enum status status;

    backlog.generator.events = CAPACITY_EVENTS;
    backlog.generator.rate = CAPACITY_RATE;
    status = workload_open(&backlog, &workload, ret_error);
    if (status == STATUS_OK)
        status = workload_plan(&workload, CAPACITY_EVERY_S, &plan, ret_error);
    if (status == STATUS_OK)
        status = workload_run(plan, &used, NULL, ret_error);
    if (plan)
        plan_free(plan);
    workload_close(&workload);
    *ret_capacity = CAPACITY_EVENTS / used.wall;
    return status;
}
