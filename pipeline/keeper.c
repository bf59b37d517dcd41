/* A few jobs a second, some hundred while a checkpoint is under way. Dropped: a connection to the store in
 * each worker; SQLite has one writer at a time anyway, and a worker would wait for the disk. */
#include "pipeline/keeper.h"

#include "base/memory.h"
#include "pipeline/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RETRY_US = 1000 * 1000, WARN_EVERY_US = 60 * 1000 * 1000, IDLE_MS = 200 };
enum { LANES = 2 }; /* urgent, and the rest */

struct keeper {
    struct keeper_stores stores;
    void (*warn)(void *owner, const char *text);
    void *owner;
    pthread_mutex_t mutex; /* the queues, and `reason` */
    pthread_cond_t wake;
    pthread_t thread;
    bool started;
    _Atomic bool stopping, holding, failed;
    struct keeper_job *first[LANES], *last[LANES];
    struct keeper_job *refused[LANES]; /* at the front of its lane, until the store takes it */
    size_t waiting;
    int64_t retry_us, warn_us;
    bool may_tidy;
    char failure[sizeof(struct error)];
    struct error reason; /* of the last refusal */
};

struct keeper *keeper_new(const struct keeper_stores *stores, void (*warn)(void *owner, const char *text),
                          void *owner)
{
    struct keeper *keeper = memory_new(sizeof *keeper);

    keeper->stores = *stores;
    keeper->warn = warn;
    keeper->owner = owner;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_cond_init(&keeper->wake, NULL);
    return keeper;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    assert(!keeper->started);
    pthread_cond_destroy(&keeper->wake);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper);
}

void keeper_submit(struct keeper *keeper, struct keeper_job *job)
{
    unsigned lane = !job->urgent;

    job->next = NULL;
    atomic_store(&job->done, false);
    pthread_mutex_lock(&keeper->mutex);
    if (keeper->last[lane])
        keeper->last[lane]->next = job;
    else
        keeper->first[lane] = job;
    keeper->last[lane] = job;
    keeper->waiting++;
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->mutex);
}

static struct keeper_job *take(struct keeper *keeper, unsigned *ret_lane)
{
    struct keeper_job *job = NULL;

    pthread_mutex_lock(&keeper->mutex);
    for (unsigned lane = 0; lane < LANES && !job; lane++) {
        job = keeper->refused[lane] ? keeper->refused[lane] : keeper->first[lane];
        *ret_lane = lane;
        if (!job || job == keeper->refused[lane])
            continue;
        keeper->first[lane] = job->next;
        if (!job->next)
            keeper->last[lane] = NULL;
    }
    pthread_mutex_unlock(&keeper->mutex);
    return job;
}

static void refuse(struct keeper *keeper, struct keeper_job *job, unsigned lane, const struct error *error,
                   int64_t now_us)
{
    char text[sizeof error->text + 64];

    pthread_mutex_lock(&keeper->mutex);
    keeper->reason = *error;
    pthread_mutex_unlock(&keeper->mutex);
    keeper->refused[lane] = job;
    keeper->retry_us = now_us + RETRY_US;
    if (!atomic_exchange(&keeper->holding, true) || now_us >= keeper->warn_us) {
        keeper->warn_us = now_us + WARN_EVERY_US;
        snprintf(text, sizeof text, "%s; input is held until it can be stored", error->text);
        keeper->warn(keeper->owner, text);
    }
}

static void finish(struct keeper *keeper, struct keeper_job *job, unsigned lane)
{
    keeper->refused[lane] = NULL;
    if (!keeper->refused[0] && !keeper->refused[1] && atomic_exchange(&keeper->holding, false))
        keeper->warn(keeper->owner, "the store takes values again; input goes on");
    pthread_mutex_lock(&keeper->mutex);
    keeper->waiting--;
    pthread_mutex_unlock(&keeper->mutex);
    keeper->may_tidy = true;
    atomic_store(&job->done, true); /* the job is gone after this */
}

bool keeper_step(struct keeper *keeper, int64_t now_us)
{
    struct error error = {0};
    struct keeper_job *job;
    unsigned lane = 0;

    if (atomic_load(&keeper->failed) || (atomic_load(&keeper->holding) && now_us < keeper->retry_us))
        return false;
    job = take(keeper, &lane);
    if (!job) {
        if (keeper->may_tidy)
            keeper->may_tidy = store_tidy(keeper->stores.store, now_us);
        return keeper->may_tidy;
    }
    switch (job->run(job, &keeper->stores, &error)) {
    case STATUS_OK:
    case STATUS_SKIP:
        finish(keeper, job, lane);
        return true;
    case STATUS_RETRY:
        refuse(keeper, job, lane, &error, now_us);
        return false;
    case STATUS_FATAL:
        keeper->refused[lane] = job;
        memcpy(keeper->failure, error.text, sizeof error.text);
        atomic_store(&keeper->holding, true);
        atomic_store(&keeper->failed, true);
        return false;
    }
    assert(!"status");
    return false;
}

static int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Until something is handed over, for a while at most: a held job's time may have come. */
static void wait_for_work(struct keeper *keeper)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += IDLE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&keeper->mutex);
    if ((!keeper->first[0] && !keeper->first[1]) || atomic_load(&keeper->holding) ||
        atomic_load(&keeper->failed))
        pthread_cond_timedwait(&keeper->wake, &keeper->mutex, &until);
    pthread_mutex_unlock(&keeper->mutex);
}

static void *keep(void *argument)
{
    struct keeper *keeper = argument;

    for (;;) {
        bool stopping = atomic_load(&keeper->stopping);

        if (keeper_step(keeper, wall_clock_us()))
            continue;
        if (stopping && (keeper_waiting(keeper) == 0 || keeper_holding(keeper) || keeper_failure(keeper)))
            return NULL;
        wait_for_work(keeper);
    }
}

enum status keeper_start(struct keeper *keeper, struct error *ret_error)
{
    int failed = pthread_create(&keeper->thread, NULL, keep, keeper);

    if (failed)
        return fail(ret_error, "cannot start a thread: %s", strerror(failed));
    keeper->started = true;
    return STATUS_OK;
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper->started)
        return;
    atomic_store(&keeper->stopping, true);
    pthread_mutex_lock(&keeper->mutex);
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->mutex);
    pthread_join(keeper->thread, NULL);
    keeper->started = false;
}

bool keeper_holding(const struct keeper *keeper)
{
    return atomic_load(&keeper->holding);
}

void keeper_reason(struct keeper *keeper, struct error *ret_reason)
{
    pthread_mutex_lock(&keeper->mutex);
    *ret_reason = keeper->reason;
    pthread_mutex_unlock(&keeper->mutex);
}

const char *keeper_failure(const struct keeper *keeper)
{
    return atomic_load(&keeper->failed) ? keeper->failure : NULL;
}

size_t keeper_waiting(struct keeper *keeper)
{
    size_t waiting;

    pthread_mutex_lock(&keeper->mutex);
    waiting = keeper->waiting;
    pthread_mutex_unlock(&keeper->mutex);
    return waiting;
}
