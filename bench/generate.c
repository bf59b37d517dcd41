/* What a mid-sized installation sends: few busy tasks and many quiet ones, two states of a hundred bad,
 * durations that belong to their task. Runs once an event, about a microsecond, outside what is measured.
 * Tried and dropped: recorded events repeated with new times; they have some ten tasks, which hides the
 * cost of keys. */
#include "bench/generate.h"

#include "base/json_writer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

enum { TASKS_PER_WORKFLOW = 20, HOSTS = 64, NAME_BYTES = 96 };

#define RUN_LENGTH_US (3600 * INT64_C(1000000))

/* SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). */
static uint64_t random_next(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static double random_unit(uint64_t *state) /* [0, 1) */
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

void generator_init(struct generator *generator, const struct generator_options *options)
{
    assert(options->tasks > 0 && options->rate > 0 && options->jitter_us >= 0);
    *generator = (struct generator){
        .options = *options, .random = options->seed, .log_tasks = log((double)options->tasks)};
}

/* The inverse of the continuous 1/x law: near enough to Zipf's, without its table. */
static unsigned choose_task(struct generator *generator)
{
    double place = exp(generator->log_tasks * random_unit(&generator->random)) - 1;

    if (generator->options.in_turn)
        return (unsigned)(generator->next % generator->options.tasks);
    return (unsigned)place < generator->options.tasks ? (unsigned)place : generator->options.tasks - 1;
}

static int64_t choose_time(struct generator *generator)
{
    const struct generator_options *options = &generator->options;
    double since = (double)generator->next / options->rate * 1e6;
    double early = random_unit(&generator->random) * (double)options->jitter_us;

    if (generator->next == options->events)
        early = -(double)options->closing_us;
    return options->start_us + (int64_t)(since - early);
}

static void write_printed(struct json_writer *json, const char *key, const char *format, uint64_t number)
{
    char text[NAME_BYTES];

    (void)snprintf(text, sizeof text, format, (unsigned long long)number);
    json_text(json, key, span_of(text));
}

static void write_run(struct json_writer *json, int64_t time_us)
{
    char text[NAME_BYTES] = "scheduled__";

    (void)time_format(floor_div(time_us, RUN_LENGTH_US) * RUN_LENGTH_US, text + strlen(text));
    json_text(json, "run", span_of(text));
}

bool generator_next(struct generator *generator, struct buffer *out)
{
    struct json_writer json;
    unsigned task, attempt = 1;
    int64_t time_us;
    double duration_ms;

    if (generator->next >= generator->options.events + (generator->options.closing_us != 0))
        return false;
    task = choose_task(generator);
    time_us = choose_time(generator);
    uint64_t draw = random_next(&generator->random);
    bool failed = draw % 100 < 2;
    attempt += failed ? (unsigned)(draw >> 32) % 3 : 0;
    duration_ms = (50 + task % 997) * (0.5 + random_unit(&generator->random));
    duration_ms = floor(duration_ms * 1000) / 1000;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_time(&json, "time", time_us);
    write_printed(&json, "id", "%016llx", random_next(&generator->random));
    write_printed(&json, "workflow", "pipeline_%04llu", task / TASKS_PER_WORKFLOW);
    write_printed(&json, "task", "transform_table_%06llu", task);
    write_run(&json, time_us);
    json_text(&json, "state", failed ? SPAN_LITERAL("failed") : SPAN_LITERAL("success"));
    json_number(&json, "duration_ms", duration_ms);
    json_integer(&json, "attempt", attempt);
    write_printed(&json, "host", "worker-%02llu.batch.internal", (draw >> 16) % HOSTS);
    json_text(&json, "queue", SPAN_LITERAL("default"));
    json_text(&json, "level", failed ? SPAN_LITERAL("ERROR") : SPAN_LITERAL("INFO"));
    json_text(&json, "message",
              failed
                  ? SPAN_LITERAL("Task failed with exception: connection to the warehouse was refused, 111")
                  : SPAN_LITERAL("Marking task as SUCCESS; all downstream checks of the table have passed"));
    json_close(&json);
    generator->next++;
    return true;
}
