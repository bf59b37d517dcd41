/* A turn for each mirror, round after round: what has come is taken in one transaction, bounded so that no
 * other one waits long; with nothing to do the thread sleeps. A mirror that is behind holds up to some
 * megabytes in the reader's queue, so one is opened only when the last one opened has caught up. */
#include "pipeline/standby.h"

#include "base/memory.h"
#include "pipeline/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURN_ENTRIES = 1000, IDLE_MS = 20 };

#define TURN_US       INT64_C(100000)
#define BEGIN_US      INT64_C(1000000)        /* a task that is being moved may be ours in a moment */
#define KEEP_US       (30 * INT64_C(1000000)) /* a place that moves without entries is kept so often */
#define ARRIVAL_US    (2 * INT64_C(1000000))  /* without entries for so long, an opened mirror has all */
#define PAUSE_US      INT64_C(1000000)        /* after a failure, doubled each time */
#define PAUSE_US_MOST (300 * INT64_C(1000000))

struct mirror {
    unsigned task;
    bool wanted; /* under the lock */
    bool held;   /* under the lock: the thread may touch file and changelog */
    _Atomic int64_t behind;

    /* The thread's. */
    char *path;
    struct store *store;
    struct changelog *changelog; /* NULL: not followed now */
    bool in_transaction;
    size_t entries;             /* of the turn */
    struct journal_place place; /* the changelog's */
    int64_t opened_us, kept_us; /* the place was stored then */
    int64_t due_us;             /* not opened before */
    int64_t pause_us;           /* the last one; 0: none since it had all */
    bool was_told;              /* what is wrong, since it had all */
};

struct standby {
    struct standby_options options;
    struct mirror *mirrors; /* one a task */
    const struct mirror *catching_up;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* stopping, a mirror is wanted, no longer wanted, or no longer held */
    bool stopping;
};

static int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static enum status take(void *owner, const struct journal_entry *entry, struct error *ret_error)
{
    struct mirror *mirror = owner;

    if (!mirror->in_transaction) {
        enum status status = store_take_begin(mirror->store, ret_error);

        if (status != STATUS_OK)
            return status;
        mirror->in_transaction = true;
    }
    mirror->entries++;
    return store_take(mirror->store, entry, ret_error);
}

/* Stores the place with the entries of the turn, and now and then without any. */
static enum status keep(struct mirror *mirror, enum status status, struct error *ret_error)
{
    int64_t now_us = monotonic_us();
    struct journal_place kept = store_place(mirror->store);
    bool moved = kept.next != mirror->place.next || kept.fresh_us != mirror->place.fresh_us;

    if (status == STATUS_OK && !mirror->in_transaction && moved && now_us - mirror->kept_us > KEEP_US) {
        status = store_take_begin(mirror->store, ret_error);
        mirror->in_transaction = status == STATUS_OK;
    }
    if (!mirror->in_transaction)
        return status;
    mirror->in_transaction = false;
    mirror->kept_us = now_us;
    return store_take_end(mirror->store, status, &mirror->place, ret_error);
}

static enum status read_some(const struct standby *standby, struct mirror *mirror, struct error *ret_error)
{
    int64_t end_us = monotonic_us() + TURN_US, before, behind = -1;
    enum status status;

    mirror->entries = 0;
    do {
        before = mirror->place.next;
        status = standby->options.changelog->read(mirror->changelog, 0, take, mirror, &mirror->place, &behind,
                                                  ret_error);
    } while (status == STATUS_OK && mirror->place.next > before && mirror->entries < TURN_ENTRIES &&
             monotonic_us() < end_us);
    status = keep(mirror, status, ret_error);
    if (status == STATUS_OK)
        atomic_store(&mirror->behind, behind);
    return status;
}

static void close_mirror(struct standby *standby, struct mirror *mirror)
{
    struct error error;

    if (mirror->changelog)
        standby->options.changelog->close(mirror->changelog);
    if (mirror->changelog && store_take_begin(mirror->store, &error) == STATUS_OK)
        store_take_end(mirror->store, STATUS_OK, &mirror->place, &error);
    store_close(mirror->store);
    mirror->changelog = NULL;
    mirror->store = NULL;
    if (standby->catching_up == mirror)
        standby->catching_up = NULL;
    atomic_store(&mirror->behind, -1);
}

static enum status open_mirror(struct standby *standby, struct mirror *mirror, struct error *ret_error)
{
    const struct changelog_type *type = standby->options.changelog;
    const struct store_options options = {.mirror = true};
    enum status status = store_open(mirror->path, &options, &mirror->store, ret_error);

    if (status != STATUS_OK)
        return status;
    mirror->place = store_place(mirror->store);
    status =
        type->open(standby->options.cluster, mirror->task, &mirror->place, &mirror->changelog, ret_error);
    if (status != STATUS_OK)
        return status;
    mirror->opened_us = mirror->kept_us = monotonic_us();
    standby->catching_up = mirror;
    return STATUS_OK;
}

static void tell(struct standby *standby, struct mirror *mirror, const char *reason, bool anew)
{
    char text[sizeof(struct error) + 64];

    if (mirror->was_told)
        return;
    mirror->was_told = true;
    snprintf(text, sizeof text, "standby of task %u: %s; %s", mirror->task, reason,
             anew ? "its copy is begun anew" : "it goes on when it can");
    standby->options.warn(standby->options.owner, text);
}

/* Of what the changelog or the file refuses for good nothing is kept. */
static void give_up(struct standby *standby, struct mirror *mirror, enum status status,
                    const struct error *reason)
{
    bool anew = status != STATUS_RETRY;
    struct error error;

    tell(standby, mirror, reason->text, anew);
    if (mirror->changelog)
        standby->options.changelog->close(mirror->changelog);
    mirror->changelog = NULL; /* so that its place, which the file does not have, is not stored */
    if (anew && mirror->store)
        store_make_anew(mirror->store, &error);
    close_mirror(standby, mirror);
    mirror->pause_us = mirror->pause_us ? mirror->pause_us * 2 : PAUSE_US;
    if (mirror->pause_us > PAUSE_US_MOST)
        mirror->pause_us = PAUSE_US_MOST;
    mirror->due_us = monotonic_us() + mirror->pause_us;
}

static void look_whether_caught_up(struct standby *standby, struct mirror *mirror)
{
    bool has_all = mirror->entries == 0 && atomic_load(&mirror->behind) == 0;
    bool is_idle = mirror->entries == 0 && monotonic_us() - mirror->opened_us > ARRIVAL_US;

    if ((has_all || is_idle) && standby->catching_up == mirror)
        standby->catching_up = NULL;
    if (!has_all)
        return;
    mirror->pause_us = 0;
    mirror->was_told = false;
}

/* True: there may be more at once. */
static bool serve(struct standby *standby, struct mirror *mirror)
{
    struct error error;
    enum status status;

    if (!mirror->changelog) {
        if (standby->catching_up || monotonic_us() < mirror->due_us)
            return false;
        status = open_mirror(standby, mirror, &error);
        mirror->entries = 0;
    } else {
        status = read_some(standby, mirror, &error);
    }
    if (status != STATUS_OK) {
        give_up(standby, mirror, status, &error);
        return false;
    }
    look_whether_caught_up(standby, mirror);
    return mirror->entries > 0;
}

/* Before each turn: whoever waits for a release does not wait for the others' turns. */
static void let_go(struct standby *standby)
{
    for (unsigned i = 0; i < standby->options.tasks; i++) {
        struct mirror *mirror = &standby->mirrors[i];

        if (!mirror->held || mirror->wanted)
            continue;
        pthread_mutex_unlock(&standby->lock);
        close_mirror(standby, mirror);
        pthread_mutex_lock(&standby->lock);
        mirror->held = false;
        pthread_cond_broadcast(&standby->changed);
    }
}

/* With the lock, which it gives back while it works. */
static bool make_turn(struct standby *standby, struct mirror *mirror)
{
    bool more;

    let_go(standby);
    if (!mirror->wanted)
        return false;
    mirror->held = true;
    pthread_mutex_unlock(&standby->lock);
    more = serve(standby, mirror);
    pthread_mutex_lock(&standby->lock);
    return more;
}

static void sleep_a_while(struct standby *standby)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += IDLE_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&standby->changed, &standby->lock, &until);
}

static void *run(void *argument)
{
    struct standby *standby = argument;

    pthread_mutex_lock(&standby->lock);
    while (!standby->stopping) {
        bool more = false;

        for (unsigned i = 0; i < standby->options.tasks && !standby->stopping; i++)
            more |= make_turn(standby, &standby->mirrors[i]);
        if (!more && !standby->stopping)
            sleep_a_while(standby);
    }
    for (unsigned i = 0; i < standby->options.tasks; i++)
        standby->mirrors[i].wanted = false;
    let_go(standby);
    pthread_mutex_unlock(&standby->lock);
    return NULL;
}

static void free_standby(struct standby *standby)
{
    for (unsigned i = 0; i < standby->options.tasks; i++)
        free(standby->mirrors[i].path);
    pthread_cond_destroy(&standby->changed);
    pthread_mutex_destroy(&standby->lock);
    free(standby->mirrors);
    free(standby);
}

enum status standby_start(const struct standby_options *options, struct standby **ret_standby,
                          struct error *ret_error)
{
    struct standby *standby = memory_new(sizeof *standby);
    pthread_condattr_t monotonic;

    standby->options = *options;
    standby->mirrors = memory_new(options->tasks * sizeof *standby->mirrors);
    for (unsigned i = 0; i < options->tasks; i++)
        standby->mirrors[i] =
            (struct mirror){.task = i, .behind = -1, .path = store_task_path(options->store_path, i)};
    pthread_mutex_init(&standby->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&standby->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int problem = pthread_create(&standby->thread, NULL, run, standby);

    if (problem) {
        free_standby(standby);
        return fail(ret_error, "cannot start a thread for cluster.standby: %s", strerror(problem));
    }
    *ret_standby = standby;
    return STATUS_OK;
}

void standby_stop(struct standby *standby)
{
    if (!standby)
        return;
    pthread_mutex_lock(&standby->lock);
    standby->stopping = true;
    pthread_cond_broadcast(&standby->changed);
    pthread_mutex_unlock(&standby->lock);
    pthread_join(standby->thread, NULL);
    free_standby(standby);
}

void standby_follow(struct standby *standby, unsigned task)
{
    struct mirror *mirror = &standby->mirrors[task];

    assert(task < standby->options.tasks);
    pthread_mutex_lock(&standby->lock);
    if (!mirror->wanted && !mirror->held)
        mirror->due_us = monotonic_us() + BEGIN_US;
    mirror->wanted = true;
    pthread_mutex_unlock(&standby->lock);
}

void standby_release(struct standby *standby, unsigned task)
{
    struct mirror *mirror = &standby->mirrors[task];

    assert(task < standby->options.tasks);
    pthread_mutex_lock(&standby->lock);
    mirror->wanted = false;
    pthread_cond_broadcast(&standby->changed);
    while (mirror->held)
        pthread_cond_wait(&standby->changed, &standby->lock);
    pthread_mutex_unlock(&standby->lock);
}

int64_t standby_behind(const struct standby *standby, unsigned task)
{
    return atomic_load(&standby->mirrors[task].behind);
}
