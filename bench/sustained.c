/* The highest rate that the program keeps up with, by halving the range: each step sends at one rate to a
 * topic of its own, with the program live on it, and looks at what the producer has sent and the program has
 * not taken. A step is kept up with when that does not grow over its second half: the slope of a straight
 * line through the looks is at most a hundredth of the rate. */
#include "bench/producer.h"
#include "bench/result.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "pipeline/engine.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    EVERY_S = 10,
    LOOK_MS = 250,
    LOOKS_MAX = 3600 * 1000 / LOOK_MS,
    STEPS = 6,
    METRICS_BYTES_MAX = 1024 * 1024
};

#define HEADROOM    1.25 /* of the speed over a backlog, where the search begins */
#define GROWTH_MOST 0.01 /* of the rate */
#define SECOND_US   INT64_C(1000000)

struct look {
    double seconds, behind; /* events sent and not taken */
};

struct step {
    double rate, growth, behind; /* events a second, at the end events */
    double producer_behind_ms, cpu_us_per_event;
    bool kept_up;
};

struct sustained {
    double capacity;
    struct step steps[STEPS];
    struct look *looks;
    unsigned look_count;
};

/* Of the second half, by least squares. */
static double growth_of(const struct sustained *bench)
{
    unsigned first = bench->look_count / 2, count = bench->look_count - first;
    double x_sum = 0, y_sum = 0, xx = 0, xy = 0;

    for (unsigned i = first; i < bench->look_count; i++) {
        x_sum += bench->looks[i].seconds;
        y_sum += bench->looks[i].behind;
    }
    for (unsigned i = first; i < bench->look_count; i++) {
        double x = bench->looks[i].seconds - x_sum / count;

        xx += x * x;
        xy += x * (bench->looks[i].behind - y_sum / count);
    }
    return xx > 0 ? xy / xx : 0;
}

static void take_look(struct sustained *bench, const struct engine *engine,
                      const struct producer_figures *producer, struct buffer *metrics, double seconds)
{
    double sent = (double)atomic_load(&producer->sent);

    buffer_clear(metrics);
    engine_metrics(engine, metrics);
    bench->looks[bench->look_count++] =
        (struct look){.seconds = seconds, .behind = sent - report_metric(metrics, "weir_messages_total")};
}

static enum status watch_step(struct sustained *bench, const struct plan *plan,
                              struct producer_figures *producer, struct step *step, struct error *ret_error)
{
    struct engine_options options = {.mode = ENGINE_LIVE};
    struct engine *engine;
    struct buffer metrics;
    struct usage before;
    enum status status = STATUS_RETRY;

    if (engine_start(plan, &options, &engine, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    buffer_init(&metrics, METRICS_BYTES_MAX);
    bench->look_count = 0;
    atomic_store(&producer->start_us, wall_clock_us() + SECOND_US);
    before = usage_now();
    while (status == STATUS_RETRY && !atomic_load(&producer->done) && bench->look_count < LOOKS_MAX) {
        status = engine_wait(engine, LOOK_MS, ret_error);
        take_look(bench, engine, producer, &metrics, usage_since(before).wall);
    }
    step->growth = growth_of(bench);
    step->behind = bench->looks[bench->look_count - 1].behind;
    step->cpu_us_per_event = usage_since(before).cpu * 1e6 / (double)atomic_load(&producer->sent);
    step->producer_behind_ms = (double)atomic_load(&producer->behind_us_max) / 1000;
    step->kept_up = step->growth <= GROWTH_MOST * step->rate;
    engine_stop_at_cut(engine);
    engine_free(engine);
    buffer_free(&metrics);
    if (status == STATUS_RETRY && atomic_load(&producer->done) && producer->error.text[0])
        return fail(ret_error, "%s", producer->error.text);
    return status == STATUS_RETRY ? STATUS_OK : status;
}

static enum status run_step(struct sustained *bench, const struct bench_options *options, struct step *step,
                            struct error *ret_error)
{
    struct bench_options empty = *options;
    struct producer_stream stream = {.options = options->generator};
    struct producer producer = {0};
    struct workload workload;
    struct plan *plan = NULL;
    enum status status;

    empty.generator.events = 0;
    status = workload_open(&empty, &workload, ret_error);
    struct producer_settings settings = {.brokers = options->brokers,
                                         .topic = workload.topic,
                                         .partitions = options->partitions,
                                         .events = (uint64_t)(step->rate * options->seconds),
                                         .rate = step->rate,
                                         .event = producer_generate,
                                         .owner = &stream};

    stream.options.rate = step->rate;
    if (status == STATUS_OK)
        status = producer_start(&settings, &producer, ret_error);
    if (status == STATUS_OK)
        status = workload_plan(&workload, EVERY_S, &plan, ret_error);
    if (status == STATUS_OK)
        status = watch_step(bench, plan, producer.figures, step, ret_error);
    if (status == STATUS_OK)
        workload_tell(&workload, "%.0f events/s: behind by %.0f at the end, %+.0f a second: %s", step->rate,
                      step->behind, step->growth, step->kept_up ? "kept up" : "too fast");
    if (plan)
        plan_free(plan);
    producer_stop(&producer);
    workload_close(&workload);
    return status;
}

static void note_step(struct result *result, const struct step *step)
{
    result_add(result, "events/s", step->rate, "steps.rate");
    result_add(result, "events", step->behind, "steps.behind");
    result_add(result, "events a second", step->growth, "steps.growth");
    result_add(result, "ms", step->producer_behind_ms, "steps.producer_behind_ms");
    result_add(result, "us", step->cpu_us_per_event, "steps.cpu_us_per_event");
}

enum status bench_sustained(const struct bench_options *options, struct result *result,
                            struct error *ret_error)
{
    struct sustained bench = {.looks = memory_new(LOOKS_MAX * sizeof *bench.looks)};
    double low = 0, high = options->generator.rate;
    enum status status = STATUS_OK;

    if (high == 0) {
        status = workload_capacity(options, &bench.capacity, ret_error);
        high = bench.capacity * HEADROOM;
    }
    for (unsigned i = 0; i < STEPS && status == STATUS_OK; i++) {
        struct step *step = &bench.steps[i];

        step->rate = (low + high) / 2;
        status = run_step(&bench, options, step, ret_error);
        note_step(result, step);
        *(step->kept_up ? &low : &high) = step->rate;
    }
    if (bench.capacity > 0)
        result_add(result, "events/s", bench.capacity, "capacity");
    result_add(result, "events/s", low, "sustained");
    free(bench.looks);
    return status;
}
