#include "pipeline/engine.h"

#include "base/memory.h"
#include "pipeline/metrics.h"

#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Panes and documents of all sizes come and go; without these the heap of a long run grows by fragments
 * (measured: 15 % over 5 million events with 100,000 series, 0.6 % with them). */
enum { HEAP_ARENAS = 2, HEAP_MMAP_BYTES = 256 * 1024, HEAP_TRIM_EVERY_US = 2 * 1000 * 1000 };

enum { PUBLISH_EVERY_US = 200 * 1000, SLEEP_US = 1000, STOP_WAIT_US = 10 * 1000 * 1000 };

struct engine_worker {
    struct worker worker;
    struct engine *engine;
    pthread_t thread;
    bool started;
    _Atomic bool done;
    counter *values;
};

struct engine {
    const struct plan *plan;
    struct engine_options options;
    struct shared shared;
    struct engine_worker *workers;
    counter **values;
    struct dead_letters *dead_letters;
    pthread_mutex_t warn_mutex;
    _Atomic int64_t give_up_us; /* a stop ends here even if documents wait; 0: no stop */
    unsigned opened;
    int64_t trim_due_us, write_due_us; /* engine_wait's thread */
};

static int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void warn(void *owner, const char *text)
{
    struct engine *engine = owner;

    if (engine->options.quiet)
        return;
    pthread_mutex_lock(&engine->warn_mutex);
    fprintf(stderr, "weir: %s\n", text);
    pthread_mutex_unlock(&engine->warn_mutex);
}

static void *run_worker(void *argument)
{
    struct engine_worker *mine = argument;
    struct engine *engine = mine->engine;
    int64_t publish_due = 0;

    for (;;) {
        int64_t now = wall_clock_us(), give_up = atomic_load(&engine->give_up_us);
        bool busy = worker_step(&mine->worker, now);

        if (now >= publish_due) {
            publish_due = now + PUBLISH_EVERY_US;
            metrics_publish(&mine->worker, mine->values);
        }
        if (worker_is_done(&mine->worker) || mine->worker.refusal || (give_up && now >= give_up))
            break;
        if (!busy)
            usleep(SLEEP_US);
    }
    metrics_publish(&mine->worker, mine->values);
    atomic_store(&mine->done, true);
    return NULL;
}

static unsigned worker_count(const struct plan *plan)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (plan->general.workers > 0)
        return (unsigned)plan->general.workers;
    return cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (unsigned)cores;
}

static enum status open_workers(struct engine *engine, struct error *error)
{
    bool replay = engine->options.mode == ENGINE_REPLAY;
    struct deliver_context deliver = {.plan = engine->plan,
                                      .collect = replay ? engine->options.collect : NULL,
                                      .view = engine->options.view,
                                      .warn = warn,
                                      .owner = engine};

    for (unsigned i = 0; i < engine->shared.workers; i++) {
        deliver.worker = i;
        if (worker_open(&engine->workers[i].worker, &engine->shared, i, &deliver,
                        engine->options.mode != ENGINE_LIVE, error) != STATUS_OK)
            return STATUS_FATAL;
        engine->opened = i + 1;
        engine->workers[i].engine = engine;
    }
    return STATUS_OK;
}

enum status engine_start(const struct plan *plan, const struct engine_options *options,
                         struct engine **ret_engine, struct error *ret_error)
{
    struct engine *engine = memory_new(sizeof *engine);
    unsigned workers = worker_count(plan);

    mallopt(M_ARENA_MAX, HEAP_ARENAS);
    mallopt(M_MMAP_THRESHOLD, HEAP_MMAP_BYTES);
    engine->plan = plan;
    engine->options = *options;
    engine->shared = (struct shared){.plan = plan,
                                     .workers = workers,
                                     .live = options->mode == ENGINE_LIVE,
                                     .exchange = exchange_new(workers),
                                     .had_us = INT64_MIN};
    engine->workers = memory_new(workers * sizeof *engine->workers);
    engine->values = memory_new(workers * sizeof *engine->values);
    for (unsigned i = 0; i < workers; i++)
        engine->values[i] = engine->workers[i].values = memory_new(metrics_count(plan) * sizeof(counter));
    pthread_mutex_init(&engine->warn_mutex, NULL);
    if (options->mode != ENGINE_REPLAY) {
        if (dead_letters_open(plan->store.path, &engine->dead_letters, ret_error) != STATUS_OK)
            goto fail;
        dead_letters_set_limit(engine->dead_letters, plan->limits.dead_letter_bytes);
    }
    if (open_workers(engine, ret_error) != STATUS_OK)
        goto fail;
    for (unsigned i = 0; i < workers; i++) {
        int failed = pthread_create(&engine->workers[i].thread, NULL, run_worker, &engine->workers[i]);

        if (failed) {
            fail(ret_error, "cannot start a thread: %s", strerror(failed));
            goto fail;
        }
        engine->workers[i].started = true;
    }
    *ret_engine = engine;
    return STATUS_OK;
fail:
    engine_stop(engine);
    engine_free(engine);
    return STATUS_FATAL;
}

static int64_t passed_by_all(const struct engine *engine)
{
    int64_t least = INT64_MAX;

    for (unsigned i = 0; i < engine->shared.workers; i++) {
        int64_t passed = atomic_load(&engine->shared.passed_us[i]);

        least = passed < least ? passed : least;
    }
    return least;
}

/* What is done now and then, off the workers' threads. */
static enum status housekeep(struct engine *engine, struct error *error)
{
    int64_t now = wall_clock_us();

    if (now >= engine->trim_due_us) {
        engine->trim_due_us = now + HEAP_TRIM_EVERY_US;
        malloc_trim(0);
    }
    if (!engine->options.collect || now < engine->write_due_us)
        return STATUS_OK;
    engine->write_due_us = now + PUBLISH_EVERY_US;
    return collect_write(engine->options.collect, passed_by_all(engine), error);
}

enum status engine_wait(struct engine *engine, int wait_ms, struct error *ret_error)
{
    int64_t until = wall_clock_us() + (int64_t)wait_ms * 1000;

    for (;;) {
        bool done = true;

        for (unsigned i = 0; i < engine->shared.workers; i++)
            done &= atomic_load(&engine->workers[i].done);
        if (!done && housekeep(engine, ret_error) != STATUS_OK)
            return STATUS_FATAL;
        for (unsigned i = 0; i < engine->shared.workers; i++)
            if (atomic_load(&engine->workers[i].done) && engine->workers[i].worker.refusal)
                return fail(ret_error, "%s", engine->workers[i].worker.refusal);
        if (wall_clock_us() >= until)
            return done ? STATUS_OK : STATUS_RETRY;
        if (done && engine->options.mode != ENGINE_LIVE)
            return STATUS_OK;
        usleep(5 * SLEEP_US);
    }
}

void engine_stop(struct engine *engine)
{
    atomic_store(&engine->give_up_us, wall_clock_us() + STOP_WAIT_US);
    atomic_store(&engine->shared.stopping, true);
    for (unsigned i = 0; i < engine->shared.workers; i++)
        if (engine->workers[i].started) {
            pthread_join(engine->workers[i].thread, NULL);
            engine->workers[i].started = false;
        }
}

void engine_free(struct engine *engine)
{
    bool under_way = true;

    while (under_way) {
        under_way = false;
        for (unsigned i = 0; i < engine->opened; i++)
            under_way |= worker_discard(&engine->workers[i].worker);
    }
    for (unsigned i = 0; i < engine->opened; i++)
        worker_close(&engine->workers[i].worker);
    dead_letters_close(engine->dead_letters);
    exchange_free(engine->shared.exchange);
    for (unsigned i = 0; i < engine->shared.workers; i++)
        free(engine->values[i]);
    pthread_mutex_destroy(&engine->warn_mutex);
    free(engine->values);
    free(engine->workers);
    free(engine);
}

bool engine_is_ready(const struct engine *engine)
{
    for (unsigned i = 0; i < engine->shared.workers; i++)
        if (!atomic_load(&engine->workers[i].done) && atomic_load(&engine->shared.passed_us[i]) == INT64_MIN)
            return false;
    return metrics_paused_sinks(engine->plan, engine->shared.workers, engine->values) == 0;
}

void engine_metrics(const struct engine *engine, struct buffer *out)
{
    metrics_write(&engine->shared, engine->values, out);
}

struct dead_letters *engine_dead_letters(const struct engine *engine)
{
    return engine->dead_letters;
}
