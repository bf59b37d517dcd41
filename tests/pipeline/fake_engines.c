#include "tests/pipeline/fake_engines.h"

#include "base/memory.h"
#include "pipeline/health.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct engine {
    struct shared shared;
    counter *values[1];
    struct worker_report *reports[1];
    struct task task;
    bool stopped;
    struct fake_task *told;
};

struct cluster {
    struct cluster_hooks hooks;
};

struct fake fake;
const struct journal_type journal_kafka = {0};

struct changelog {
    struct fake_task *told;
};

static enum status open_changelog(void *cluster, unsigned task, const struct journal_place *from,
                                  struct changelog **ret_changelog, struct error *ret_error)
{
    struct fake_task *told = &fake.tasks[task];

    (void)ret_error;
    assert(cluster && from->next >= 0 && !told->followed && told->opens == told->frees);
    told->followed = true;
    atomic_fetch_add(&told->follows, 1);
    *ret_changelog = memory_new(sizeof **ret_changelog);
    (*ret_changelog)->told = told;
    return STATUS_OK;
}

static void close_changelog(struct changelog *changelog)
{
    assert(changelog->told->followed && changelog->told->opens == changelog->told->frees);
    changelog->told->followed = false;
    free(changelog);
}

static enum status read_changelog(struct changelog *changelog, int wait_ms, journal_visit *visit, void *owner,
                                  struct journal_place *ret_place, int64_t *ret_behind,
                                  struct error *ret_error)
{
    (void)wait_ms, (void)visit, (void)owner, (void)ret_error;
    assert(changelog->told->opens == changelog->told->frees);
    *ret_place = (struct journal_place){.next = 7, .fresh_us = 1};
    *ret_behind = FAKE_BEHIND;
    return STATUS_OK;
}

const struct changelog_type changelog_kafka = {
    .open = open_changelog, .close = close_changelog, .read = read_changelog};

static void no_warning(void *owner, const char *text)
{
    (void)owner, (void)text;
}

static void take_time(const struct fake_task *task)
{
    unsigned now = atomic_fetch_add(&fake.at_work, 1) + 1, most = atomic_load(&fake.at_work_most);

    while (now > most && !atomic_compare_exchange_weak(&fake.at_work_most, &most, now))
        continue;
    usleep((unsigned)atomic_load(&task->slow_ms) * 1000);
    atomic_fetch_sub(&fake.at_work, 1);
}

enum status engine_start(const struct plan *plan, const struct engine_options *options,
                         struct engine **ret_engine, struct error *ret_error)
{
    unsigned number = options->task ? options->task->number : 0;
    unsigned count = options->task ? options->task->count : 1;
    struct fake_task *told = &fake.tasks[number];
    struct engine *engine;

    assert(!options->task || (options->task->journal == &journal_kafka && options->task->cluster));
    assert(!told->followed);
    atomic_fetch_add(&told->opens, 1);
    take_time(told);
    if (told->start != STATUS_OK) {
        fail(ret_error, "start of %u", number);
        return told->start;
    }
    engine = memory_new(sizeof *engine);
    engine->shared = (struct shared){.plan = plan, .workers = count, .here = 1, .first = number};
    engine->shared.checkpoint.keeper = keeper_new(&(struct keeper_stores){0}, no_warning, NULL);
    engine->shared.checkpoint.stored = 7 + number;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        engine->shared.passed_us[i] = 1000000;
    engine->shared.passed_us[0] = (2 + (int64_t)number) * 1000000;
    engine->values[0] = memory_new(metrics_count(plan) * sizeof(counter));
    for (size_t i = 0; i < metrics_count(plan); i++)
        engine->values[0][i] = FAKE_ROWS;
    engine->reports[0] = worker_report_new(plan);
    engine->told = told;
    engine->shared.task = options->task ? &engine->task : NULL;
    told->fails = false;
    atomic_fetch_add(&fake.running, 1);
    *ret_engine = engine;
    return STATUS_OK;
}

enum status engine_wait(struct engine *engine, int wait_ms, struct error *ret_error)
{
    if (engine->told->fails)
        return fail(ret_error, "failure of %u", engine->shared.first);
    if (engine->shared.task)
        return STATUS_RETRY;
    usleep((unsigned)wait_ms * 1000);
    return fake.engine_outcome;
}

static void stop(struct engine *engine)
{
    assert(!engine->stopped);
    take_time(engine->told);
    engine->stopped = true;
}

void engine_stop(struct engine *engine)
{
    stop(engine);
    atomic_fetch_add(&engine->told->stops, 1);
}

void engine_stop_at_cut(struct engine *engine)
{
    stop(engine);
    atomic_fetch_add(&engine->told->cuts, 1);
}

bool engine_is_alive(struct engine *engine)
{
    return !engine->told->unready;
}

void engine_free(struct engine *engine)
{
    atomic_fetch_add(&engine->told->frees, 1);
    atomic_fetch_sub(&fake.running, 1);
    keeper_free(engine->shared.checkpoint.keeper);
    free(engine->values[0]);
    worker_report_free(engine->reports[0]);
    free(engine);
}

bool engine_is_ready(const struct engine *engine)
{
    return !engine->told->unready;
}

void engine_figures(const struct engine *engine, struct metrics_engine *ret_figures)
{
    *ret_figures = (struct metrics_engine){
        .shared = &engine->shared, .values = engine->values, .reports = engine->reports};
}

struct dead_letters *engine_dead_letters(const struct engine *engine)
{
    (void)engine;
    return NULL;
}

enum status cluster_open(const struct plan *plan, const struct cluster_hooks *hooks,
                         struct cluster **ret_cluster, struct error *ret_error)
{
    struct cluster *cluster;

    (void)plan;
    if (fake.joins != STATUS_OK) {
        fail(ret_error, "no broker answers");
        return fake.joins;
    }
    cluster = memory_new(sizeof *cluster);
    cluster->hooks = *hooks;
    *ret_cluster = cluster;
    return STATUS_OK;
}

static void release(struct cluster *cluster)
{
    cluster->hooks.release(cluster->hooks.owner);
    assert(fake.running == 0);
}

enum status cluster_poll(struct cluster *cluster, int wait_ms, uint64_t *ret_tasks, struct error *ret_error)
{
    if (fake.lost)
        return fail(ret_error, "the membership is lost");
    if (atomic_exchange(&fake.releases, false))
        release(cluster);
    usleep((unsigned)wait_ms * 1000);
    *ret_tasks = fake.mine;
    return STATUS_OK;
}

bool cluster_is_assigned(const struct cluster *cluster)
{
    (void)cluster;
    return !fake.unassigned;
}

void cluster_hurry(struct cluster *cluster, bool on)
{
    (void)cluster;
    (void)on;
}

void cluster_close(struct cluster *cluster)
{
    release(cluster);
    atomic_fetch_add(&fake.closes, 1);
    free(cluster);
}
