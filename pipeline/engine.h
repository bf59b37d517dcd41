/* Runs a plan: one thread a worker, their exchange, and what they share. */
#pragma once
#include "pipeline/collect.h"
#include "pipeline/journal.h"
#include "pipeline/plan.h"
#include "pipeline/tap.h"
#include "pipeline/view.h"

enum engine_mode {
    ENGINE_LIVE,   /* until stopped */
    ENGINE_ONCE,   /* until the confirmed end of every source */
    ENGINE_REPLAY, /* as once, but event time only: no store, no commit, no sink; lines go to `collect` */
};

/* A part of the work that several processes share (cluster.h): the engine is one worker of `count`. Its
 * state is in the journal's changelog; the store is a file of its own beside store.path that mirrors it,
 * made anew at each start unless a standby (standby.h) has prepared it. */
struct engine_task {
    const struct journal_type *journal;
    void *cluster; /* given to journal->open */
    unsigned number, count;
};

struct engine_options {
    enum engine_mode mode;
    struct collect *collect;        /* replay: not NULL */
    struct view *view;              /* may be NULL */
    struct taps *taps;              /* may be NULL */
    const struct engine_task *task; /* NULL: the whole work; borrowed during engine_start */
    bool quiet;                     /* no messages on stderr */
    bool stepped;                   /* no thread is started: a simulation takes the turns with engine_step */
    const char *store_vfs;          /* SQLite's file layer, for a simulation; NULL: the default */
};

struct engine;

/* STATUS_RETRY: another process has the store, or the task. */
enum status engine_start(const struct plan *plan, const struct engine_options *options,
                         struct engine **ret_engine, struct error *ret_error);

/* Waits up to `wait_ms` for the end of the input or a failure; live it always waits. STATUS_RETRY: still
 * running. */
enum status engine_wait(struct engine *engine, int wait_ms, struct error *ret_error);

/* Stops reading, delivers what was made (store.drain at most), stores the last cut, commits, joins the
 * threads. May be called once. */
void engine_stop(struct engine *engine);

/* The same without waiting for sinks: what they have not taken goes on from the store. A reload is this,
 * and a start with another plan. */
void engine_stop_at_cut(struct engine *engine);

/* Every worker has made a turn since the last call. */
bool engine_is_alive(struct engine *engine);
void engine_free(struct engine *engine);

/* For the HTTP API; any thread. */
struct metrics_engine;
bool engine_is_ready(const struct engine *engine); /* partitions known and no sink paused */
void engine_figures(const struct engine *engine, struct metrics_engine *ret_figures);
void engine_metrics(const struct engine *engine, struct buffer *out);  /* Prometheus text format 0.0.4 */
struct dead_letters *engine_dead_letters(const struct engine *engine); /* NULL in a replay */

/* Simulation only (options.stepped). A turn of one worker, or of the keeper when `worker` is the number of
 * workers; true when something was done. engine_wait(engine, 0) tells the outcome as ever; engine_stop
 * takes the turns itself, in order. engine_abandon forgets everything as a kill would: nothing more is
 * stored, delivered or committed. */
bool engine_step(struct engine *engine, unsigned worker, int64_t now_us);
unsigned engine_workers(const struct engine *engine);
void engine_abandon(struct engine *engine);
