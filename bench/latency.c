/* How long people wait. Among ordinary events at a steady rate there are probes, each with a key of its own
 * and so each with a notification: for a rule on events, which is told at once, and for a rule on buckets of
 * a second. A prompt waits from the moment at which its event was meant to be sent. A bucket's notification
 * waits from the moment at which the watermark passes its end: that is when the first event is meant to be
 * sent by which every partition has had one `lateness` beyond the end. Both until the first bytes of the
 * notification's request are at the receiver.
 * Event times are the times of sending, without jitter, so both moments follow from an event's number. */
#include "bench/producer.h"
#include "bench/result.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "pipeline/engine.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PROMPTS_A_SECOND = 20,
    WINDOW_PROBE_PLACE = PROMPTS_A_SECOND / 2, /* among a second's prompts: behind this one */
    SECONDS_MAX = 3600,
    PROMPTS_MAX = PROMPTS_A_SECOND * SECONDS_MAX,
    EVERY_S = 10,
    WAIT_MS = 20,
    WARM_S = 5,               /* connecting, first keys: not counted */
    LAST_WAIT_MS = 15 * 1000, /* for notifications, once all events are sent */
};

#define SECOND_US      INT64_C(1000000)
#define NAME_OF_PROMPT "prompt-"
#define NAME_OF_WINDOW "window-"

struct told { /* shared memory: when each was told first; 0: not yet */
    _Atomic int64_t prompts[PROMPTS_MAX], windows[SECONDS_MAX];
};

struct waits { /* of one kind */
    double *ms;
    unsigned count, missing;
};

struct latency {
    struct workload workload;
    struct local_server receiver;
    struct told *told;
    struct producer_settings settings;
    struct producer producer;
    struct producer_stream stream;
    uint64_t prompt_every; /* of the events; the rate is a whole multiple of it */
    double capacity;       /* events a second; 0: the rate was given */
    struct usage used;
    struct waits prompts, windows;
};

static void note_first(_Atomic int64_t *times, size_t count, struct span body, const char *name,
                       int64_t first_us)
{
    const char *found = memmem(body.data, body.size, name, strlen(name));
    int64_t none = 0;
    uint64_t number = found ? strtoull(found + strlen(name), NULL, 10) : count;

    if (number < count)
        atomic_compare_exchange_strong(&times[number], &none, first_us);
}

static void receive(void *owner, const struct local_request *request, struct buffer *out)
{
    struct told *told = owner;

    note_first(told->prompts, PROMPTS_MAX, request->body, "\"" NAME_OF_PROMPT, request->first_us);
    note_first(told->windows, SECONDS_MAX, request->body, "\"" NAME_OF_WINDOW, request->first_us);
    buffer_put_text(out, "{}");
}

static void write_probe(const char *name, uint64_t number, bool failed, int64_t at_us, struct buffer *out)
{
    struct json_writer json;
    char task[64];

    (void)snprintf(task, sizeof task, "%s%llu", name, (unsigned long long)number);
    json_begin(&json, out);
    json_open(&json, NULL);
    json_time(&json, "time", at_us);
    json_text(&json, "id", span_of(task));
    json_text(&json, "workflow", SPAN_LITERAL("probes"));
    json_text(&json, "task", span_of(task));
    json_text(&json, "run", span_of(task));
    json_text(&json, "state", failed ? SPAN_LITERAL("failed") : SPAN_LITERAL("success"));
    json_integer(&json, "attempt", failed ? 9 : 1);
    json_text(&json, "queue", failed ? SPAN_LITERAL("default") : SPAN_LITERAL("probes"));
    json_close(&json);
}

static void write_event(void *owner, uint64_t number, int64_t at_us, struct buffer *out)
{
    struct latency *latency = owner;
    uint64_t prompt = number / latency->prompt_every, behind = number % latency->prompt_every;

    if (behind == 0)
        write_probe(NAME_OF_PROMPT, prompt, true, at_us, out);
    else if (behind == 1 && prompt % PROMPTS_A_SECOND == WINDOW_PROBE_PLACE)
        write_probe(NAME_OF_WINDOW, prompt / PROMPTS_A_SECOND, false, at_us, out);
    else
        producer_generate(&latency->stream, number, at_us, out);
}

static enum status make_plan(struct latency *latency, struct plan **ret_plan, struct error *ret_error)
{
    struct buffer text;

    workload_plan_begin(&latency->workload, "5s", &text);
    buffer_print(
        &text,
        "measures:\n"
        "  - {name: arrivals, of: count, by: [workflow, task], every: %us}\n"
        "  - {name: latency, of: duration_ms, statistics: [mean, p95], by: [workflow, task], every: %us}\n"
        "  - {name: probes, of: count, by: [task], every: 1s, where: 'queue == \"probes\"'}\n"
        "detectors:\n"
        "  - {name: slow, type: zscore, measure: latency, statistic: mean, direction: up}\n"
        "rules:\n"
        "  - {name: at_once, on: event, when: 'state == \"failed\" && attempt == 9', by: [task]}\n"
        "  - {name: when_closed, on: bucket, measure: probes, when: 'count > 0'}\n"
        "sinks:\n"
        "  - {name: search, type: elasticsearch, urls: [\"http://127.0.0.1:%u\"], send: [buckets], setup: "
        "auto}\n"
        "receivers:\n"
        "  - {name: people, type: webhook, url: \"http://127.0.0.1:%u/\"}\n",
        (unsigned)EVERY_S, (unsigned)EVERY_S, (unsigned)latency->workload.server.server.port,
        (unsigned)latency->receiver.port);
    return workload_plan_end(&latency->workload, &text, ret_plan, ret_error);
}

static enum status settle_rate(struct latency *latency, const struct bench_options *options,
                               struct error *ret_error)
{
    double rate = options->generator.rate;

    if (rate == 0) {
        if (workload_capacity(options, &latency->capacity, ret_error) != STATUS_OK)
            return STATUS_FATAL;
        rate = latency->capacity / 2;
    }
    latency->prompt_every = rate > 2 * PROMPTS_A_SECOND ? (uint64_t)rate / PROMPTS_A_SECOND : 2;
    latency->settings.rate = (double)(latency->prompt_every * PROMPTS_A_SECOND);
    latency->settings.events = (uint64_t)latency->settings.rate * options->seconds;
    latency->stream.options = options->generator;
    latency->stream.options.rate = latency->settings.rate;
    return STATUS_OK;
}

static enum status start_servers(struct latency *latency, struct error *ret_error)
{
    latency->told =
        mmap(NULL, sizeof *latency->told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (latency->told == MAP_FAILED) {
        latency->told = NULL;
        return fail(ret_error, "no shared memory: %s", strerror(errno));
    }
    latency->settings.brokers = latency->workload.options.brokers;
    latency->settings.topic = latency->workload.topic;
    latency->settings.partitions = latency->workload.options.partitions;
    latency->settings.event = write_event;
    latency->settings.owner = latency;
    if (local_server_start(receive, latency->told, &latency->receiver, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    return producer_start(&latency->settings, &latency->producer, ret_error);
}

/* Of the probe behind so many prompts. */
static int64_t prompt_meant_us(const struct latency *latency, int64_t start_us, uint64_t prompt)
{
    return producer_time_us(&latency->settings, start_us, prompt * latency->prompt_every);
}

/* The event by which the watermark is past the end of so many seconds since the start. */
static uint64_t passing_event(const struct latency *latency, uint64_t seconds)
{
    uint64_t rate = (uint64_t)latency->settings.rate;

    return (seconds + WORKLOAD_LATENESS_S) * rate + latency->settings.partitions - 1;
}

static unsigned prompts_sent(const struct latency *latency)
{
    return (unsigned)(latency->settings.events / latency->prompt_every);
}

static unsigned windows_passed(const struct latency *latency)
{
    unsigned windows = 0;

    while (passing_event(latency, windows + 1) < latency->settings.events)
        windows++;
    return windows;
}

static bool all_told(const struct latency *latency)
{
    for (unsigned i = prompts_sent(latency); i-- > 0;)
        if (atomic_load(&latency->told->prompts[i]) == 0)
            return false;
    for (unsigned i = windows_passed(latency); i-- > 0;)
        if (atomic_load(&latency->told->windows[i]) == 0)
            return false;
    return true;
}

static enum status run_live(struct latency *latency, const struct plan *plan, struct error *ret_error)
{
    struct engine_options options = {.mode = ENGINE_LIVE};
    struct producer_figures *producer = latency->producer.figures;
    struct engine *engine;
    struct usage before;
    enum status status = STATUS_OK;
    int left_ms = LAST_WAIT_MS;

    if (engine_start(plan, &options, &engine, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    /* a whole second, so that buckets begin with the events */
    atomic_store(&producer->start_us, (wall_clock_us() / SECOND_US + 2) * SECOND_US);
    before = usage_now();
    while (status == STATUS_OK && left_ms > 0 && (!atomic_load(&producer->done) || !all_told(latency))) {
        if (engine_wait(engine, WAIT_MS, ret_error) == STATUS_FATAL)
            status = STATUS_FATAL;
        left_ms -= atomic_load(&producer->done) ? WAIT_MS : 0;
    }
    latency->used = usage_since(before);
    engine_stop(engine);
    engine_free(engine);
    if (status == STATUS_OK && producer->error.text[0])
        status = fail(ret_error, "%s", producer->error.text);
    return status;
}

static void note_wait(struct waits *waits, int64_t meant_us, int64_t told_us)
{
    if (told_us)
        waits->ms[waits->count++] = (double)(told_us - meant_us) / 1000;
    else
        waits->missing++;
}

static void read_waits(struct latency *latency)
{
    int64_t start = atomic_load(&latency->producer.figures->start_us);

    latency->prompts.ms = memory_new(sizeof(double) * PROMPTS_MAX);
    latency->windows.ms = memory_new(sizeof(double) * SECONDS_MAX);
    for (unsigned i = WARM_S * PROMPTS_A_SECOND; i < prompts_sent(latency); i++)
        note_wait(&latency->prompts, prompt_meant_us(latency, start, i), latency->told->prompts[i]);
    for (unsigned i = WARM_S; i < windows_passed(latency); i++)
        note_wait(&latency->windows,
                  producer_time_us(&latency->settings, start, passing_event(latency, i + 1)),
                  latency->told->windows[i]);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void note_waits(struct result *result, const char *kind, struct waits *waits)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99_9", 0.999}, {"max", 1}};
    char name[64];

    result_add(result, "notifications", waits->count, "%s.told", kind);
    (void)snprintf(name, sizeof name, "%s.each_told", kind);
    result_check(result, name, waits->missing == 0);
    if (waits->count == 0)
        return;
    qsort(waits->ms, waits->count, sizeof *waits->ms, compare_numbers);
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        result_add(result, "ms", waits->ms[(unsigned)ceil(percentiles[i].share * waits->count) - 1], "%s.%s",
                   kind, percentiles[i].name);
}

static void note(const struct latency *latency, struct result *result)
{
    if (latency->capacity > 0)
        result_add(result, "events/s", latency->capacity, "capacity");
    result_add(result, "events/s", latency->settings.rate, "rate");
    result_add(result, "us", latency->used.cpu * 1e6 / (double)latency->settings.events, "cpu_us_per_event");
    result_add(result, "ms", (double)atomic_load(&latency->producer.figures->behind_us_max) / 1000,
               "producer_behind_ms_max");
}

static void close_all(struct latency *latency)
{
    producer_stop(&latency->producer);
    local_server_stop(&latency->receiver);
    workload_close(&latency->workload);
    if (latency->told)
        (void)munmap(latency->told, sizeof *latency->told);
    free(latency->prompts.ms);
    free(latency->windows.ms);
    free(latency);
}

enum status bench_latency(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    struct latency *latency = memory_new(sizeof *latency);
    struct bench_options empty = *options;
    struct plan *plan = NULL;
    enum status status;

    empty.generator.events = 0;
    status = settle_rate(latency, options, ret_error);
    if (status == STATUS_OK)
        status = workload_open(&empty, &latency->workload, ret_error);
    if (status == STATUS_OK)
        status = start_servers(latency, ret_error);
    if (status == STATUS_OK)
        status = make_plan(latency, &plan, ret_error);
    if (status == STATUS_OK)
        status = run_live(latency, plan, ret_error);
    if (status == STATUS_OK) {
        read_waits(latency);
        note(latency, result);
        note_waits(result, "prompt", &latency->prompts);
        note_waits(result, "window", &latency->windows);
        result_ask(result, "prompt.p99", 50);
        result_ask(result, "window.p99", 100);
    }
    if (plan)
        plan_free(plan);
    close_all(latency);
    return status;
}
