#include "pipeline/engine.h"

#include "base/memory.h"
#include "pipeline/continuation.h"
#include "pipeline/health.h"

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

enum {
    PUBLISH_EVERY_US = 200 * 1000,
    SLEEP_US = 1000,
    TASK_DRAIN_US = 2 * 1000 * 1000, /* what receivers are being told is marked, or another tells it again */
    TASK_SLEEP_US = 5000,            /* what others send comes once a commit */
    CUT_SLEEP_US = 50,               /* while others arrive at a cut */
    LAST_WAIT_US = 10 * 1000 * 1000, /* for the last cut, after the drain */
    HISTORY_SHOWN = 500,
};

struct engine_worker {
    struct worker worker;
    struct engine *engine;
    pthread_t thread;
    bool started;
    _Atomic bool done;
    _Atomic uint64_t turns;
    uint64_t turns_seen; /* engine_is_alive's */
    counter *values;
    struct worker_report *report;
    int64_t publish_due_us;
};

struct engine {
    const struct plan *plan;
    struct plan *continued; /* the plan when it had to be made for what the store had; NULL: the caller's */
    struct engine_options options;
    struct shared shared;
    struct engine_worker *workers;
    counter **values;
    struct worker_report **reports;
    struct store *store;
    struct keeper *keeper;
    struct dead_letters *dead_letters;
    _Atomic uint64_t outbox_bytes; /* what the store has for all workers */
    int lock;                      /* on the store; -1: none */
    struct task task;              /* with options.task */
    char *store_path;
    char *sent_path; /* NULL: a replay, or a simulation */
    pthread_mutex_t warn_mutex;
    _Atomic bool leave; /* a stop took too long: threads end as they are */
    unsigned opened;
    int64_t now_us;       /* stepped: the last turn's time */
    int64_t write_due_us; /* engine_wait's thread */
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
    if (engine->shared.task)
        fprintf(stderr, "weir: task %u: %s\n", engine->shared.first, text);
    else
        fprintf(stderr, "weir: %s\n", text);
    pthread_mutex_unlock(&engine->warn_mutex);
}

static void publish(struct engine_worker *mine)
{
    metrics_publish(&mine->worker, mine->values);
    worker_report_publish(mine->report, &mine->worker);
}

static bool turn(struct engine_worker *mine, int64_t now_us)
{
    bool busy = worker_step(&mine->worker, now_us);

    if (now_us >= mine->publish_due_us) {
        mine->publish_due_us = now_us + PUBLISH_EVERY_US;
        publish(mine);
        if (taps_wanted(mine->engine->options.taps))
            taps_beat(mine->engine->options.taps);
    }
    atomic_fetch_add_explicit(&mine->turns, 1, memory_order_relaxed);
    atomic_store(&mine->done, worker_is_done(&mine->worker) || mine->worker.refusal);
    return busy;
}

static void *run_worker(void *argument)
{
    struct engine_worker *mine = argument;
    struct engine *engine = mine->engine;

    for (;;) {
        bool busy = turn(mine, wall_clock_us());

        if ((atomic_load(&engine->shared.stopping) && atomic_load(&mine->done)) ||
            atomic_load(&engine->leave))
            break;
        if (!busy)
            usleep(checkpoint_is_near(&mine->worker) ? CUT_SLEEP_US
                   : engine->shared.task             ? TASK_SLEEP_US
                                                     : SLEEP_US);
    }
    publish(mine);
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
                                      .keeper = engine->keeper,
                                      .live = engine->shared.live,
                                      .moves = engine->shared.task,
                                      .outbox_bytes = &engine->outbox_bytes,
                                      .warn = warn,
                                      .owner = engine};

    for (unsigned i = 0; i < engine->shared.here; i++) {
        deliver.worker = engine->shared.first + i;
        deliver.sent_path = deliver.worker == ALERT_OWNER ? engine->sent_path : NULL;
        if (worker_open(&engine->workers[i].worker, &engine->shared, deliver.worker, &deliver,
                        engine->options.mode != ENGINE_LIVE, error) != STATUS_OK)
            return STATUS_FATAL;
        engine->opened = i + 1;
        engine->workers[i].engine = engine;
    }
    return STATUS_OK;
}

static enum status restore_value(void *owner, const struct state_key *key, struct span bytes,
                                 struct error *ret_error)
{
    struct engine *engine = owner;
    struct worker *workers[WORKERS_MAX];
    struct error inner;

    for (unsigned i = 0; i < engine->shared.here; i++)
        workers[i] = &engine->workers[i].worker;
    if (restart_value(&engine->shared.restart, workers, engine->shared.here, key, bytes, &inner) == STATUS_OK)
        return STATUS_OK;
    return fail(ret_error, "store %s: %.500s", engine->store_path, inner.text);
}

struct shown { /* copies, newest first */
    struct history_line lines[HISTORY_SHOWN];
    size_t count;
};

static bool keep_line(void *owner, const struct history_line *line)
{
    struct shown *shown = owner;
    struct history_line *copy = &shown->lines[shown->count++];

    *copy = *line;
    copy->line.data = memory_text(line->line.data, line->line.size);
    return shown->count < HISTORY_SHOWN;
}

static bool show_line(void *view, const struct history_line *line)
{
    view_put(view, &(struct view_line){.kind = DOC_ALERT,
                                       .group = line->episode,
                                       .time_us = line->at_us,
                                       .version = line->revision + 1,
                                       .text = line->line});
    return true;
}

/* However long ago they were told. */
static enum status show_open(struct engine *engine, struct error *error)
{
    struct id128 *lines = memory_new(VIEW_ALERTS_MAX * sizeof *lines);
    size_t count =
        lifecycle_open_lines(engine->workers[ALERT_OWNER].worker.lifecycle, VIEW_ALERTS_MAX, lines);
    enum status status = STATUS_OK;

    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = store_history_line(engine->store, lines[i], show_line, engine->options.view, error);
    free(lines);
    return status;
}

/* The page begins with the alerts of earlier processes: what is open, and the newest. */
static enum status show_history(struct engine *engine, struct error *error)
{
    struct shown *shown = memory_new(sizeof *shown);
    enum status status = store_history(engine->store, HISTORY_SHOWN, keep_line, shown, error);

    if (status == STATUS_OK && engine->shared.first == ALERT_OWNER)
        status = show_open(engine, error);
    for (size_t i = shown->count; i-- > 0; free((char *)shown->lines[i].line.data))
        show_line(engine->options.view, &shown->lines[i]);
    free(shown);
    return status;
}

static enum status restore(struct engine *engine, struct error *error)
{
    struct worker *workers[WORKERS_MAX];

    for (unsigned i = 0; i < engine->shared.here; i++)
        workers[i] = &engine->workers[i].worker;
    if (store_load(engine->store, restore_value, engine, error) != STATUS_OK ||
        restart_end(&engine->shared.restart, workers, engine->shared.here, engine->store, error) != STATUS_OK)
        return STATUS_FATAL;
    return engine->options.view ? show_history(engine, error) : STATUS_OK;
}

/* A task's store is a mirror: its journal has what counts, and its process has the lock. */
static enum status open_mirror(struct engine *engine, const struct store_options *options,
                               struct error *error)
{
    const struct engine_task *task = engine->options.task;
    enum status status = task->journal->open(task->cluster, task->number, &engine->task.journal, error);

    engine->task.type = task->journal;
    if (status == STATUS_OK)
        status = store_open(engine->store_path, options, &engine->store, error);
    if (status == STATUS_OK)
        status = store_follow(engine->store, task->journal, engine->task.journal, error);
    return status;
}

static char *path_beside(const char *path, const char *ending)
{
    size_t size = strlen(path) + strlen(ending) + 1;
    char *text = memory_new(size);

    snprintf(text, size, "%s%s", path, ending);
    return text;
}

static enum status open_store(struct engine *engine, struct error *error)
{
    const struct plan_store *own = &engine->plan->store;
    struct store_options options = {.limit_bytes = own->limit_bytes,
                                    .history_us = own->history_us,
                                    .vfs = engine->options.store_vfs,
                                    .mirror = engine->options.task};
    struct keeper_stores stores;
    enum status status = STATUS_OK;

    if (engine->options.task) {
        engine->store_path = store_task_path(own->path, engine->options.task->number);
        status = open_mirror(engine, &options, error);
    } else {
        engine->store_path = memory_text(own->path, strlen(own->path));
        if (!options.vfs)
            status = store_lock(own->path, &engine->lock, error);
        if (status == STATUS_OK)
            status = store_open(own->path, &options, &engine->store, error);
    }
    if (!options.vfs)
        engine->sent_path = path_beside(engine->store_path, ".sent");
    options.mirror = false;
    if (status == STATUS_OK)
        status = dead_letters_open(own->path, &options, &engine->dead_letters, error);
    if (status != STATUS_OK)
        return status;
    dead_letters_set_limit(engine->dead_letters, engine->plan->limits.dead_letter_bytes);
    stores = (struct keeper_stores){.store = engine->store, .dead_letters = engine->dead_letters};
    engine->keeper = keeper_new(&stores, warn, engine);
    return STATUS_OK;
}

static enum status start_threads(struct engine *engine, struct error *error)
{
    if (engine->keeper && keeper_start(engine->keeper, error) != STATUS_OK)
        return STATUS_FATAL;
    for (unsigned i = 0; i < engine->shared.here; i++) {
        int failed = pthread_create(&engine->workers[i].thread, NULL, run_worker, &engine->workers[i]);

        if (failed)
            return fail(error, "cannot start a thread: %s", strerror(failed));
        engine->workers[i].started = true;
    }
    return STATUS_OK;
}

static enum status read_plan(void *owner, const struct state_key *key, struct span bytes,
                             struct error *ret_error)
{
    struct engine *engine = owner;
    struct error inner;

    if (key->kind == STATE_PLAN &&
        continuation_plan(engine->plan, bytes, &engine->continued, &inner) != STATUS_OK)
        return fail(ret_error, "store %s: %.500s", engine->store_path, inner.text);
    if (engine->continued)
        engine->plan = engine->shared.plan = engine->continued;
    return STATUS_SKIP; /* the others are read when there are workers */
}

/* The store may hold what the configuration no longer has, or lack what it has now. */
static enum status continue_plan(struct engine *engine, struct error *error)
{
    enum status status = store_load(engine->store, read_plan, engine, error);

    return status == STATUS_SKIP ? STATUS_OK : status;
}

static struct engine *engine_new(const struct plan *plan, const struct engine_options *options)
{
    struct engine *engine = memory_new(sizeof *engine);
    unsigned here = options->task ? 1 : worker_count(plan);

    engine->plan = plan;
    engine->options = *options;
    engine->lock = -1;
    engine->shared = (struct shared){.plan = plan,
                                     .workers = options->task ? options->task->count : here,
                                     .first = options->task ? options->task->number : 0,
                                     .here = here,
                                     .task = options->task ? &engine->task : NULL,
                                     .taps = options->taps,
                                     .live = options->mode == ENGINE_LIVE,
                                     .partial_us = INT64_MIN};
    engine->workers = memory_new(here * sizeof *engine->workers);
    engine->values = memory_new(here * sizeof *engine->values);
    engine->reports = memory_new(here * sizeof(struct worker_report *));
    for (unsigned i = 0; i < here; i++) {
        engine->values[i] = engine->workers[i].values = memory_new(metrics_count(plan) * sizeof(counter));
        engine->reports[i] = engine->workers[i].report = worker_report_new(plan);
    }
    pthread_mutex_init(&engine->warn_mutex, NULL);
    return engine;
}

static void open_exchange(struct engine *engine)
{
    struct shared *shared = &engine->shared;

    if (!shared->task) {
        shared->exchange = exchange_new(shared->workers);
        return;
    }
    shared->task->parcels = parcels_new(engine->plan, shared->first, shared->workers);
    shared->exchange = exchange_new_linked(
        shared->workers, shared->first,
        &(struct exchange_link){.send = parcels_send, .full = parcels_full, .owner = shared->task->parcels});
}

enum status engine_start(const struct plan *plan, const struct engine_options *options,
                         struct engine **ret_engine, struct error *ret_error)
{
    struct engine *engine = engine_new(plan, options);
    enum status status = STATUS_OK;

    mallopt(M_ARENA_MAX, HEAP_ARENAS);
    mallopt(M_MMAP_THRESHOLD, HEAP_MMAP_BYTES);
    if (options->mode != ENGINE_REPLAY)
        status = open_store(engine, ret_error);
    if (status == STATUS_OK && engine->store)
        status = continue_plan(engine, ret_error);
    if (status == STATUS_OK) {
        open_exchange(engine);
        checkpoint_init(&engine->shared.checkpoint, engine->keeper, engine->shared.here,
                        engine->store ? store_generation(engine->store) : 0,
                        options->task ? plan->cluster.commit_us : plan->store.checkpoint_us);
        status = open_workers(engine, ret_error);
    }
    if (status == STATUS_OK && engine->store)
        status = restore(engine, ret_error);
    if (status == STATUS_OK && options->task)
        options->task->journal->seek(engine->task.journal, engine->task.inbox_next);
    if (status == STATUS_OK && options->taps)
        taps_set_labels(options->taps, &engine->plan->labels);
    if (status == STATUS_OK && !options->stepped)
        status = start_threads(engine, ret_error);
    if (status != STATUS_OK) {
        atomic_store(&engine->leave, true);
        engine_free(engine);
        return status;
    }
    *ret_engine = engine;
    return STATUS_OK;
}

static int64_t passed_by_all(const struct engine *engine)
{
    int64_t least = INT64_MAX;

    for (unsigned i = 0; i < engine->shared.here; i++) {
        int64_t passed = atomic_load(&engine->shared.passed_us[i]);

        least = passed < least ? passed : least;
    }
    return least;
}

/* What is done now and then, off the workers' threads. */
static enum status housekeep(struct engine *engine, struct error *error)
{
    static _Atomic int64_t trim_due_us; /* one heap, however many engines */
    int64_t now = wall_clock_us();

    if (now >= atomic_load(&trim_due_us)) {
        atomic_store(&trim_due_us, now + HEAP_TRIM_EVERY_US);
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

        for (unsigned i = 0; i < engine->shared.here; i++)
            done &= atomic_load(&engine->workers[i].done);
        if (!done && housekeep(engine, ret_error) != STATUS_OK)
            return STATUS_FATAL;
        for (unsigned i = 0; i < engine->shared.here; i++)
            if (atomic_load(&engine->workers[i].done) && engine->workers[i].worker.refusal)
                return fail(ret_error, "%s", engine->workers[i].worker.refusal);
        if (engine->keeper && keeper_failure(engine->keeper))
            return fail(ret_error, "%s", keeper_failure(engine->keeper));
        if (wall_clock_us() >= until)
            return done ? STATUS_OK : STATUS_RETRY;
        if (done && engine->options.mode != ENGINE_LIVE)
            return STATUS_OK;
        usleep(5 * SLEEP_US);
    }
}

static bool all_done(const struct engine *engine)
{
    for (unsigned i = 0; i < engine->shared.here; i++)
        if (!atomic_load(&engine->workers[i].done))
            return false;
    return true;
}

/* A broken store or source: nothing can be waited for. */
static bool is_broken(const struct engine *engine)
{
    for (unsigned i = 0; i < engine->shared.here; i++)
        if (engine->workers[i].worker.refusal)
            return true;
    return engine->keeper && keeper_failure(engine->keeper);
}

static void join_threads(struct engine *engine)
{
    for (unsigned i = 0; i < engine->shared.here; i++)
        if (engine->workers[i].started) {
            pthread_join(engine->workers[i].thread, NULL);
            engine->workers[i].started = false;
        }
    if (engine->keeper)
        keeper_stop(engine->keeper);
}

/* A millisecond of waiting, or a turn of everybody. */
static int64_t pass_time(struct engine *engine)
{
    if (!engine->options.stepped) {
        usleep(SLEEP_US);
        return wall_clock_us();
    }
    for (unsigned i = 0; i <= engine->shared.here; i++)
        engine_step(engine, i, engine->now_us);
    return engine->now_us += SLEEP_US;
}

static void stop(struct engine *engine, int64_t drain_us)
{
    int64_t now = engine->options.stepped ? engine->now_us : wall_clock_us();
    int64_t give_up = now + drain_us, leave = give_up + LAST_WAIT_US;

    atomic_store(&engine->shared.checkpoint.give_up, drain_us == 0);
    atomic_store(&engine->shared.stopping, true);
    while (!all_done(engine) && !is_broken(engine) && now < leave) {
        atomic_store(&engine->shared.checkpoint.give_up, now >= give_up);
        now = pass_time(engine);
    }
    if (!all_done(engine) && engine->keeper && !is_broken(engine))
        warn(engine, "the last state could not be stored in time: a restart does that part again");
    if (!all_done(engine) && engine->task.journal)
        engine->task.type->cancel(engine->task.journal);
    atomic_store(&engine->leave, true);
    join_threads(engine);
}

void engine_stop(struct engine *engine)
{
    stop(engine, engine->plan->store.drain_us);
}

void engine_stop_at_cut(struct engine *engine)
{
    stop(engine, engine->shared.task ? TASK_DRAIN_US : 0);
}

bool engine_is_alive(struct engine *engine)
{
    bool alive = true;

    for (unsigned i = 0; i < engine->shared.here; i++) {
        uint64_t turns = atomic_load_explicit(&engine->workers[i].turns, memory_order_relaxed);

        alive &= turns != engine->workers[i].turns_seen;
        engine->workers[i].turns_seen = turns;
    }
    return alive;
}

void engine_abandon(struct engine *engine)
{
    assert(engine->options.stepped);
    atomic_store(&engine->leave, true);
}

bool engine_step(struct engine *engine, unsigned worker, int64_t now_us)
{
    assert(engine->options.stepped && worker <= engine->shared.here);
    engine->now_us = now_us;
    if (worker == engine->shared.here)
        return engine->keeper && keeper_step(engine->keeper, now_us);
    return turn(&engine->workers[worker], now_us);
}

unsigned engine_workers(const struct engine *engine)
{
    return engine->shared.here;
}

void engine_free(struct engine *engine)
{
    bool under_way = true;

    atomic_store(&engine->leave, true);
    if (engine->task.journal && !all_done(engine))
        engine->task.type->cancel(engine->task.journal);
    join_threads(engine);
    while (under_way) {
        under_way = false;
        for (unsigned i = 0; i < engine->opened; i++)
            under_way |= worker_discard(&engine->workers[i].worker);
    }
    for (unsigned i = 0; i < engine->opened; i++)
        worker_close(&engine->workers[i].worker);
    keeper_free(engine->keeper);
    dead_letters_close(engine->dead_letters);
    store_close(engine->store);
    store_unlock(engine->lock);
    restart_free(&engine->shared.restart);
    checkpoint_free(&engine->shared.checkpoint);
    exchange_free(engine->shared.exchange);
    parcels_free(engine->task.parcels);
    if (engine->task.journal)
        engine->task.type->close(engine->task.journal);
    free(engine->store_path);
    free(engine->sent_path);
    for (unsigned i = 0; i < engine->shared.here; i++) {
        free(engine->values[i]);
        worker_report_free(engine->reports[i]);
    }
    pthread_mutex_destroy(&engine->warn_mutex);
    free(engine->values);
    free(engine->reports);
    free(engine->workers);
    if (engine->continued)
        plan_free(engine->continued);
    free(engine);
}

bool engine_is_ready(const struct engine *engine)
{
    struct metrics_engine figures;

    for (unsigned i = 0; i < engine->shared.here; i++)
        if (!atomic_load(&engine->workers[i].done) && atomic_load(&engine->shared.passed_us[i]) == INT64_MIN)
            return false;
    engine_figures(engine, &figures);
    return metrics_paused_sinks(&figures) == 0;
}

void engine_figures(const struct engine *engine, struct metrics_engine *ret_figures)
{
    *ret_figures = (struct metrics_engine){
        .shared = &engine->shared, .values = engine->values, .reports = engine->reports};
}

void engine_metrics(const struct engine *engine, struct buffer *out)
{
    struct metrics_engine figures;

    engine_figures(engine, &figures);
    metrics_write(&(struct metrics_source){.plan = engine->plan, .engines = &figures, .count = 1}, out);
}

struct dead_letters *engine_dead_letters(const struct engine *engine)
{
    return engine->dead_letters;
}
