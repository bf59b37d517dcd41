/* What a mid-sized installation sends: few busy tasks and many quiet ones, two states of a hundred bad,
 * durations that belong to their task. Runs once an event, about a microsecond, outside what is measured.
 * Tried and dropped: recorded events repeated with new times; they have some ten tasks, which hides the
 * cost of keys. */
#include "bench/generate.h"

#include "base/json_writer.h"
#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HOSTS = 64, NAME_BYTES = 96, ATTEMPTS_MAX = 5, BURST_MINUTES = 15, BUSIEST_HOUR = 14 };

#define MINUTE_US   (60 * INT64_C(1000000))
#define HOUR_US     (60 * MINUTE_US)
#define LATE_US     15e6 /* at least */
#define LATE_MAX_US 3600e6
#define RETRY_US    10e6 /* after the first attempt, twice as long after the second */
#define QUEUE_US    2e6  /* at most */
#define CHILDREN    0.25 /* of a run */

enum step_state { STEP_QUEUED, STEP_RUNNING, STEP_SUCCESS, STEP_FAILED, STEP_STATES };

static const struct {
    const char *state, *level, *message;
} step_texts[STEP_STATES] = {
    {"queued", "INFO", "Queued: all upstream dependencies are met and a slot of the pool is free"},
    {"running", "INFO", "Running: the process has started and holds its lock of the table"},
    {"success", "INFO", "Marking task as SUCCESS; all downstream checks of the table have passed"},
    {"failed", "ERROR", "Task failed with exception: connection to the warehouse was refused, 111"},
};

/* One event: of a task's attempt, or of a run itself. Times are microseconds since the start. */
struct generator_step {
    double time_us, place_us;   /* when it happened, and when it stands in the stream */
    uint64_t number;            /* at the same place the one that was planned first comes first */
    uint64_t run, parent, root; /* 0: it has none of its own */
    double duration_ms;         /* NAN: none */
    unsigned task, attempt, host;
    enum step_state state;
    bool whole; /* the run, not a task of it */
};

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
    assert(options->nested <= GENERATOR_TASKS_PER_WORKFLOW && options->daily <= 1);
    *generator = (struct generator){
        .options = *options, .random = options->seed, .log_tasks = log((double)options->tasks)};
}

void generator_free(struct generator *generator)
{
    free(generator->heap);
}

static bool step_before(const struct generator_step *a, const struct generator_step *b)
{
    return a->place_us < b->place_us || (a->place_us <= b->place_us && a->number < b->number);
}

/* How long an event is on its way into the stream. */
static double draw_delay_us(struct generator *generator)
{
    const struct generator_options *options = &generator->options;
    double delay_us = random_unit(&generator->random) * (double)options->jitter_us;

    if (options->late > 0 && random_unit(&generator->random) < options->late)
        delay_us += fmin(LATE_US / sqrt(1 - random_unit(&generator->random)), LATE_MAX_US);
    return delay_us;
}

static void plan_step(struct generator *generator, struct generator_step step)
{
    size_t at = generator->heap_count++;

    step.number = generator->steps++;
    step.place_us = step.time_us + draw_delay_us(generator);
    generator->heap = memory_reserve(generator->heap, &generator->heap_capacity, generator->heap_count,
                                     sizeof *generator->heap);
    for (; at > 0 && step_before(&step, &generator->heap[(at - 1) / 2]); at = (at - 1) / 2)
        generator->heap[at] = generator->heap[(at - 1) / 2];
    generator->heap[at] = step;
}

static struct generator_step take_planned(struct generator *generator)
{
    struct generator_step *heap = generator->heap, first = heap[0], last = heap[--generator->heap_count];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < generator->heap_count) {
        child += child + 1 < generator->heap_count && step_before(&heap[child + 1], &heap[child]);
        if (!step_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

/* The inverse of the continuous 1/x law: near enough to Zipf's, without its table. */
static unsigned draw_task(struct generator *generator)
{
    double place = exp(generator->log_tasks * random_unit(&generator->random)) - 1;

    if (generator->options.in_turn)
        return (unsigned)(generator->arrivals % generator->options.tasks);
    return (unsigned)place < generator->options.tasks ? (unsigned)place : generator->options.tasks - 1;
}

/* Arrivals a second; of whole runs where events are nested. */
static double rate_at(const struct generator *generator, double since_us)
{
    const struct generator_options *options = &generator->options;
    int64_t time_us = options->start_us + (int64_t)since_us;
    int64_t minutes = floor_div(time_us, MINUTE_US), quarter = floor_div(minutes, BURST_MINUTES);
    double hour = (double)(minutes - floor_div(minutes, 24 * 60) * 24 * 60) / 60;
    double rate = options->rate * (1 + options->daily * cos((hour - BUSIEST_HOUR) * M_PI / 12));
    uint64_t seed = options->seed ^ (uint64_t)quarter;

    if (options->burst > 0 &&
        minutes - quarter * BURST_MINUTES == (int64_t)(random_next(&seed) % BURST_MINUTES))
        rate *= options->burst;
    if (options->nested) /* queued, running and ended: the run and each of its tasks */
        rate *= (1 - CHILDREN) / (3 * (options->nested + 1.0));
    return fmax(rate, options->rate / 1000);
}

/* Where the next arrival stands. */
static double take_arrival(struct generator *generator)
{
    const struct generator_options *options = &generator->options;
    double arrival_us = generator->arrival_us;

    generator->arrivals++;
    if (options->daily > 0 || options->burst > 0 || options->nested)
        generator->arrival_us += 1e6 / rate_at(generator, arrival_us);
    else
        generator->arrival_us = (double)generator->arrivals / options->rate * 1e6;
    return arrival_us;
}

/* How an attempt of a task ends, and where. */
static struct generator_step draw_end(struct generator *generator, unsigned task)
{
    uint64_t draw = random_next(&generator->random);
    bool failed = draw % 100 < 2;
    double duration_ms = (50 + task % 997) * (0.5 + random_unit(&generator->random));

    return (struct generator_step){.task = task,
                                   .attempt = 1 + (failed ? (unsigned)(draw >> 32) % 3 : 0),
                                   .host = (unsigned)(draw >> 16) % HOSTS,
                                   .duration_ms = floor(duration_ms * 1000) / 1000,
                                   .state = failed ? STEP_FAILED : STEP_SUCCESS};
}

static void plan_state(struct generator *generator, struct generator_step step, enum step_state state,
                       double time_us)
{
    step.state = state;
    step.time_us = time_us;
    if (state == STEP_QUEUED || state == STEP_RUNNING)
        step.duration_ms = NAN;
    plan_step(generator, step);
}

/* The attempts of one task from its first on. Returns how the last one ends; *time_us moves on to then. */
static enum step_state plan_task(struct generator *generator, struct generator_step run, unsigned task,
                                 double *time_us)
{
    const struct generator_options *options = &generator->options;

    for (unsigned attempt = 1;; attempt++) {
        struct generator_step step = draw_end(generator, task);

        step.run = run.run;
        step.parent = run.parent;
        step.root = run.root;
        step.attempt = attempt;
        if (options->nested) {
            plan_state(generator, step, STEP_QUEUED, *time_us);
            *time_us += random_unit(&generator->random) * QUEUE_US;
            plan_state(generator, step, STEP_RUNNING, *time_us);
            *time_us += step.duration_ms * 1e3;
        }
        plan_state(generator, step, step.state, *time_us);
        if (step.state == STEP_SUCCESS || attempt == ATTEMPTS_MAX ||
            random_unit(&generator->random) >= options->retries)
            return step.state;
        *time_us += RETRY_US * (1 << (attempt - 1));
    }
}

/* A run of the task's workflow, one task after the other, and perhaps of another workflow that it starts. */
static void plan_run(struct generator *generator, unsigned task, uint64_t parent, uint64_t root,
                     double time_us)
{
    const struct generator_options *options = &generator->options;
    unsigned first = task / GENERATOR_TASKS_PER_WORKFLOW * GENERATOR_TASKS_PER_WORKFLOW;
    struct generator_step run = draw_end(generator, first);
    double began_us = time_us;
    enum step_state state = STEP_SUCCESS;

    run.run = ++generator->runs;
    run.parent = parent;
    run.root = root ? root : run.run;
    run.whole = true;
    plan_state(generator, run, STEP_QUEUED, time_us);
    time_us += random_unit(&generator->random) * QUEUE_US;
    plan_state(generator, run, STEP_RUNNING, time_us);
    for (unsigned i = 0; i < options->nested && state == STEP_SUCCESS; i++)
        state = plan_task(generator, run, first + i, &time_us);
    run.duration_ms = floor(time_us - began_us) / 1000;
    plan_state(generator, run, state, time_us);
    if (random_unit(&generator->random) < CHILDREN)
        plan_run(generator, draw_task(generator), run.run, run.root,
                 began_us + (time_us - began_us) * random_unit(&generator->random));
}

static struct generator_step next_step(struct generator *generator)
{
    const struct generator_options *options = &generator->options;
    bool plans = options->nested || options->retries > 0;

    while (plans && (generator->heap_count == 0 || generator->heap[0].place_us > generator->arrival_us)) {
        unsigned task = draw_task(generator);
        double time_us = take_arrival(generator);

        if (options->nested)
            plan_run(generator, task, 0, 0, time_us);
        else
            plan_task(generator, (struct generator_step){.run = ++generator->runs}, task, &time_us);
    }
    if (plans)
        return take_planned(generator);

    unsigned task = draw_task(generator);
    double place_us = take_arrival(generator), delay_us = draw_delay_us(generator);
    struct generator_step step = draw_end(generator, task);

    step.place_us = place_us;
    step.time_us = place_us - delay_us;
    return step;
}

static void write_printed(struct json_writer *json, const char *key, const char *format, uint64_t number)
{
    char text[NAME_BYTES];

    (void)snprintf(text, sizeof text, format, (unsigned long long)number);
    json_text(json, key, span_of(text));
}

/* Runs are an hour's, unless events are told to belong to runs of their own. */
static void write_run(struct json_writer *json, const struct generator_step *step, int64_t time_us)
{
    static const char format[] = "run_%010llu";
    char text[NAME_BYTES] = "scheduled__";

    if (step->run) {
        write_printed(json, "run", format, step->run);
    } else {
        (void)time_format(floor_div(time_us, HOUR_US) * HOUR_US, text + strlen(text));
        json_text(json, "run", span_of(text));
    }
    if (step->parent)
        write_printed(json, "parent_run", format, step->parent);
    if (step->root)
        write_printed(json, "root_run", format, step->root);
}

bool generator_next(struct generator *generator, struct buffer *out)
{
    const struct generator_options *options = &generator->options;
    struct generator_step step;
    struct json_writer json;
    int64_t time_us;

    if (generator->next >= options->events + (options->closing_us != 0))
        return false;
    step = next_step(generator);
    time_us = options->start_us + (int64_t)step.time_us;
    if (generator->next == options->events)
        time_us = options->start_us + (int64_t)(step.place_us + (double)options->closing_us);

    json_begin(&json, out);
    json_open(&json, NULL);
    json_time(&json, "time", time_us);
    write_printed(&json, "id", "%016llx", random_next(&generator->random));
    write_printed(&json, "workflow", "pipeline_%04llu", step.task / GENERATOR_TASKS_PER_WORKFLOW);
    if (!step.whole)
        write_printed(&json, "task", "transform_table_%06llu", step.task);
    write_run(&json, &step, time_us);
    json_text(&json, "state", span_of(step_texts[step.state].state));
    json_number_if(&json, "duration_ms", step.duration_ms);
    if (!step.whole)
        json_integer(&json, "attempt", step.attempt);
    write_printed(&json, "host", "worker-%02llu.batch.internal", step.host);
    json_text(&json, "queue", SPAN_LITERAL("default"));
    json_text(&json, "level", span_of(step_texts[step.state].level));
    json_text(&json, "message", span_of(step_texts[step.state].message));
    json_close(&json);
    generator->next++;
    return true;
}
