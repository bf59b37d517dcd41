/* How long people wait. Among ordinary events at a steady rate there are probes, each with a key of its own
 * and so each with a notification: for a rule on events, which is told at once, and for a rule on buckets of
 * a second. A prompt waits from the moment at which its event was meant to be sent. A bucket's notification
 * waits from the moment at which the watermark passes its end: that is when the first event is meant to be
 * sent by which every partition has had one `lateness` beyond the end. Both until the first bytes of the
 * notification's request are at the receiver.
 * Event times are the times of sending, without jitter, so both moments follow from an event's number.
 * The floor is a consumer alone in the program's place, by turns with it: what producer, broker and machine
 * let people wait before the program has anything in hand. */
#include "bench/probes.h"
#include "bench/producer.h"
#include "bench/result.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "pipeline/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    EVERY_S = 10,
    WAIT_MS = 20,
    FLOOR_WAIT_US = 1000, /* as the engine's */
    FLOOR_MESSAGES = 1024,
    WARM_S = 5,               /* connecting, first keys: not counted */
    LAST_WAIT_MS = 15 * 1000, /* for notifications, once all events are sent */
};

#define SECOND_US INT64_C(1000000)

/* One side's turn. */
struct latency {
    struct workload workload;
    struct plan *plan;
    struct local_server receiver;
    struct probes *probes;
    struct producer_settings settings;
    struct producer producer;
    struct producer_stream stream;
    struct usage used;
};

static void receive(void *owner, const struct local_request *request, struct buffer *out)
{
    probes_see_text(owner, PROBE_RECEIVED, request->body, request->first_us);
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
    uint64_t prompt = number / latency->probes->prompt_every, behind = number % latency->probes->prompt_every;

    if (behind == 0)
        write_probe(NAME_OF_PROMPT, prompt, true, at_us, out);
    else if (behind == 1 && prompt % PROMPTS_A_SECOND == WINDOW_PROBE_PLACE)
        write_probe(NAME_OF_WINDOW, prompt / PROMPTS_A_SECOND, false, at_us, out);
    else
        producer_generate(&latency->stream, number, at_us, out);
}

static enum status make_plan(struct latency *latency, struct error *ret_error)
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
    if (workload_plan_end(&latency->workload, &text, &latency->plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    probes_watch(latency->probes, latency->plan);
    return STATUS_OK;
}

/* Half of the capacity unless it was given. */
static enum status settle_rate(const struct bench_options *options, struct result *result, double *ret_rate,
                               struct error *ret_error)
{
    double capacity;

    *ret_rate = options->generator.rate;
    if (*ret_rate > 0)
        return STATUS_OK;
    if (workload_capacity(options, &capacity, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    result_add(result, "events/s", capacity, "capacity");
    *ret_rate = capacity / 2;
    return STATUS_OK;
}

static void settle_stream(struct latency *latency, const struct bench_options *options, double rate)
{
    struct probes *probes = latency->probes;

    probes->prompt_every = rate > 2 * PROMPTS_A_SECOND ? (uint64_t)rate / PROMPTS_A_SECOND : 2;
    probes->rate = probes->prompt_every * PROMPTS_A_SECOND;
    probes->partitions = options->partitions;
    latency->stream.options = options->generator;
    latency->stream.options.rate = (double)probes->rate;
    latency->settings = (struct producer_settings){.brokers = options->brokers,
                                                   .topic = latency->workload.topic,
                                                   .partitions = options->partitions,
                                                   .events = probes->rate * options->seconds,
                                                   .rate = (double)probes->rate,
                                                   .event = write_event,
                                                   .owner = latency};
}

static unsigned prompts_sent(const struct latency *latency)
{
    return (unsigned)(latency->settings.events / latency->probes->prompt_every);
}

static unsigned windows_passed(const struct latency *latency)
{
    unsigned windows = 0;

    while (probes_passing_event(latency->probes, windows) < latency->settings.events)
        windows++;
    return windows;
}

static bool all_seen(const struct latency *latency, enum probe_place place)
{
    for (unsigned i = prompts_sent(latency); i-- > 0;)
        if (atomic_load(&latency->probes->prompts[i].seen_us[place]) == 0)
            return false;
    for (unsigned i = windows_passed(latency); i-- > 0;)
        if (atomic_load(&latency->probes->windows[i].seen_us[place]) == 0)
            return false;
    return true;
}

/* At a whole second, so that buckets begin with the events. */
static void start_events(struct latency *latency)
{
    int64_t start_us = (wall_clock_us() / SECOND_US + 2) * SECOND_US;
    struct probes *probes = latency->probes;

    for (unsigned i = 0; i < prompts_sent(latency); i++)
        probes->prompts[i].seen_us[PROBE_MEANT] =
            producer_time_us(&latency->settings, start_us, i * probes->prompt_every);
    for (unsigned i = 0; i < windows_passed(latency); i++)
        probes->windows[i].seen_us[PROBE_MEANT] =
            producer_time_us(&latency->settings, start_us, probes_passing_event(probes, i));
    atomic_store(&latency->producer.figures->start_us, start_us);
}

/* Time is left while events are sent, and a while after that. */
static bool has_ended(const struct latency *latency, enum probe_place place, int64_t *last_us)
{
    int64_t now_us = wall_clock_us();

    if (!atomic_load(&latency->producer.figures->done))
        *last_us = now_us + LAST_WAIT_MS * INT64_C(1000);
    return now_us > *last_us || (atomic_load(&latency->producer.figures->done) && all_seen(latency, place));
}

static enum status run_program(struct latency *latency, struct error *ret_error)
{
    struct engine_options options = {.mode = ENGINE_LIVE};
    struct engine *engine;
    struct usage before;
    enum status status = STATUS_OK;
    int64_t last_us = INT64_MAX;

    if (engine_start(latency->plan, &options, &engine, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    start_events(latency);
    before = usage_now();
    while (status == STATUS_OK && !has_ended(latency, PROBE_RECEIVED, &last_us))
        if (engine_wait(engine, WAIT_MS, ret_error) == STATUS_FATAL)
            status = STATUS_FATAL;
    latency->used = usage_since(before);
    engine_stop(engine);
    engine_free(engine);
    return status;
}

static void warn(void *owner, const char *text)
{
    (void)fprintf(stderr, "weir bench: %s\n", text);
}

static size_t read_once(const struct source_type *type, struct source *source)
{
    struct message messages[FLOOR_MESSAGES];
    size_t total = 0;

    type->advance(source, wall_clock_us());
    for (size_t i = 0; i < type->partition_count(source); i++) {
        enum poll_state state;
        size_t count = type->poll(source, i, messages, FLOOR_MESSAGES, &state);

        type->release(source, i, messages, count);
        total += count;
    }
    return total;
}

static enum status run_floor(struct latency *latency, struct error *ret_error)
{
    const struct plan_source *plan = &latency->plan->sources[0];
    struct source_context context = {.name = plan->name, .workers = 1, .node = plan->node, .warn = warn};
    struct source *source;
    struct usage before;
    int64_t last_us = INT64_MAX;

    if (plan->type->open(plan->settings, &context, &source, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    start_events(latency);
    before = usage_now();
    while (!has_ended(latency, PROBE_IN_HAND, &last_us))
        if (read_once(plan->type, source) == 0)
            usleep(FLOOR_WAIT_US);
    latency->used = usage_since(before);
    plan->type->close(source);
    return STATUS_OK;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of those from `first` on that were seen at both places. Returns how many were not. */
static unsigned note_waits(const struct probe *probes, unsigned first, unsigned end, enum probe_place from,
                           enum probe_place until, const char *name, struct result *result)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99_9", 0.999}, {"max", 1}};
    double *ms = memory_new((end + 1) * sizeof *ms);
    unsigned count = 0, missing = 0;

    for (unsigned i = first; i < end; i++)
        if (probes[i].seen_us[from] && probes[i].seen_us[until])
            ms[count++] = (double)(probes[i].seen_us[until] - probes[i].seen_us[from]) / 1000;
        else
            missing++;
    qsort(ms, count, sizeof *ms, compare_numbers);
    for (size_t i = 0; count > 0 && i < sizeof percentiles / sizeof *percentiles; i++)
        result_add(result, "ms", ms[(unsigned)ceil(percentiles[i].share * count) - 1], "%s.%s", name,
                   percentiles[i].name);
    free(ms);
    return missing;
}

static void note_notifications(const struct probe *probes, unsigned first, unsigned end, const char *kind,
                               struct result *result)
{
    static const struct {
        enum probe_place from, until;
        const char *name;
    } parts[] = {{PROBE_MEANT, PROBE_IN_HAND, "to_hand"},
                 {PROBE_IN_HAND, PROBE_JUDGED, "to_rule"},
                 {PROBE_JUDGED, PROBE_OFFERED, "to_sink"},
                 {PROBE_OFFERED, PROBE_RECEIVED, "to_receiver"}};
    unsigned missing = note_waits(probes, first, end, PROBE_MEANT, PROBE_RECEIVED, kind, result);
    char name[64];

    result_add(result, "notifications", end > first ? end - first - missing : 0, "%s.told", kind);
    (void)snprintf(name, sizeof name, "%s.each_told", kind);
    result_check(result, name, missing == 0);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", kind, parts[i].name);
        note_waits(probes, first, end, parts[i].from, parts[i].until, name, result);
    }
}

static void note_program(const struct latency *latency, struct result *result)
{
    const struct producer_figures *producer = latency->producer.figures;

    result_add(result, "events/s", latency->settings.rate, "rate");
    result_add(result, "us", latency->used.cpu * 1e6 / (double)latency->settings.events, "cpu_us_per_event");
    result_add(result, "ms", (double)atomic_load(&producer->behind_us_max) / 1000, "producer_behind_ms_max");
    note_notifications(latency->probes->prompts, WARM_S * PROMPTS_A_SECOND, prompts_sent(latency), "prompt",
                       result);
    note_notifications(latency->probes->windows, WARM_S, windows_passed(latency), "window", result);
}

static void note_floor(const struct latency *latency, struct result *result)
{
    note_waits(latency->probes->prompts, WARM_S * PROMPTS_A_SECOND, prompts_sent(latency), PROBE_MEANT,
               PROBE_IN_HAND, "floor", result);
    note_waits(latency->probes->windows, WARM_S, windows_passed(latency), PROBE_MEANT, PROBE_IN_HAND,
               "floor.window", result);
    result_add(result, "us", latency->used.cpu * 1e6 / (double)latency->settings.events,
               "floor.cpu_us_per_event");
}

static enum status open_side(struct latency *latency, const struct bench_options *options, double rate,
                             struct error *ret_error)
{
    struct bench_options empty = *options;

    empty.generator.events = 0;
    if (probes_new(&latency->probes, ret_error) != STATUS_OK ||
        workload_open(&empty, &latency->workload, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    settle_stream(latency, options, rate);
    if (local_server_start(receive, latency->probes, &latency->receiver, ret_error) != STATUS_OK ||
        producer_start(&latency->settings, &latency->producer, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    return make_plan(latency, ret_error);
}

static void close_side(struct latency *latency)
{
    producer_stop(&latency->producer);
    local_server_stop(&latency->receiver);
    workload_close(&latency->workload);
    probes_free(latency->probes);
    if (latency->plan)
        plan_free(latency->plan);
    free(latency);
}

typedef enum status side_run(struct latency *latency, struct error *ret_error);
typedef void side_note(const struct latency *latency, struct result *result);

static enum status take_turn(const struct bench_options *options, double rate, side_run *run, side_note *note,
                             struct result *result, struct error *ret_error)
{
    struct latency *latency = memory_new(sizeof *latency);
    enum status status = open_side(latency, options, rate, ret_error);

    if (status == STATUS_OK)
        status = run(latency, ret_error);
    if (status == STATUS_OK && latency->producer.figures->error.text[0])
        status = fail(ret_error, "%s", latency->producer.figures->error.text);
    if (status == STATUS_OK)
        note(latency, result);
    close_side(latency);
    return status;
}

enum status bench_latency(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    double rate;
    enum status status = settle_rate(options, result, &rate, ret_error);

    for (unsigned i = 0; i < options->runs && status == STATUS_OK; i++) {
        status = take_turn(options, rate, run_floor, note_floor, result, ret_error);
        if (status == STATUS_OK)
            status = take_turn(options, rate, run_program, note_program, result, ret_error);
    }
    if (status == STATUS_OK) {
        result_ask(result, "prompt.p99", 50);
        result_ask(result, "window.p99", 100);
    }
    return status;
}
