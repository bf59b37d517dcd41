/* A cut of the whole process at one moment, saved while the work goes on. Worker 0 asks for it; every
 * worker stops reading, hands over what it has begun, and arrives; when all have, the rings are drained and
 * each freezes its parts; when all have, they go on and make the bytes of what is frozen in slices (stage
 * "save"). When all have handed theirs to the keeper, a last small transaction makes the generation the
 * newest one, and offsets below it may be committed. The pause is the time between arriving and going on.
 *
 * The last cut belongs to the end: of the input, before the end itself closes anything (a later process may
 * find more input), or of a stop. After it there are none. */
#pragma once
#include "pipeline/keeper.h"
#include "pipeline/plan.h"
#include "pipeline/store.h"

struct worker;
struct sent_part;

/* What a worker hands over for the flip beside its values: its own until `saved` tells of the generation,
 * then the flip's until `stored` does. */
struct checkpoint_part {
    struct state_table *dropped;
    size_t dropped_count, dropped_capacity;
    struct outbox_key *acknowledged;
    size_t acknowledged_count, acknowledged_capacity;
    struct sent_part
        *sent; /* of a task: what its transaction has beside the values; the flip's once handed over */
};

struct checkpoint_figures { /* of a worker */
    uint64_t values, bytes; /* bytes before compression */
};

/* Shared by the workers of a process; each array element is written by its worker. */
struct checkpoint {
    struct keeper *keeper; /* NULL: no store, nothing is ever cut */
    unsigned workers;
    int64_t interval_us;
    uint64_t run_number;     /* the generation at start + 1: differs in every process that stored something */
    _Atomic uint64_t wanted; /* generation of the cut that was asked for */
    _Atomic uint64_t arrived[WORKERS_MAX], frozen[WORKERS_MAX], saved[WORKERS_MAX];
    _Atomic uint64_t stored;                 /* newest complete generation */
    _Atomic uint64_t last;                   /* generation of the last cut; 0: not asked for yet */
    _Atomic uint64_t work[WORKERS_MAX];      /* changes when there is something new to store */
    _Atomic bool drained[WORKERS_MAX];       /* all is read, or reading has stopped, and all is delivered */
    _Atomic int64_t greatest_us;             /* event time read so far, by all that have arrived at the cut */
    _Atomic bool give_up;                    /* the last cut no longer waits for all to be drained */
    _Atomic int64_t pause_us_max;            /* longest pause of a worker */
    _Atomic int64_t length_us, stored_at_us; /* from asking to the last flip; wall time of it */
    struct checkpoint_part parts[WORKERS_MAX];
};

/* Several workers find values at the same time; the greatest stays. */
static inline void atomic_raise(_Atomic int64_t *greatest, int64_t value)
{
    int64_t before = atomic_load(greatest);

    while (value > before && !atomic_compare_exchange_weak(greatest, &before, value))
        continue;
}

void checkpoint_init(struct checkpoint *checkpoint, struct keeper *keeper, unsigned workers,
                     uint64_t generation, int64_t interval_us);
void checkpoint_free(struct checkpoint *checkpoint);

/* Everything up to the last cut is stored, or there is no store: the end may come. */
bool checkpoint_is_over(const struct checkpoint *checkpoint);

/* One worker's side of it. */
struct saving {
    uint64_t settling; /* the cut that sinks are waited for */
    unsigned settling_turns;
    uint64_t cut;  /* generation of the last cut taken */
    unsigned part; /* which of the worker's parts is being saved; PARTS: none */
    struct saver saver;
    struct values_job *values, *jobs; /* being filled; handed over and not done */
    size_t job_count;
    struct state_table *dropping; /* for the next flip */
    size_t dropping_count, dropping_capacity;
    uint64_t arrived_ns;
    /* worker 0 */
    struct flip_job *flip;
    int64_t due_us, pause_between_us, asked_us;
    uint64_t work;
    struct checkpoint_figures figures;
};

void saving_open(struct worker *worker);
void saving_close(struct worker *worker); /* after the keeper has stopped */

/* Before the stages of a turn. True: the worker waits at a cut, and no stage may run. */
bool checkpoint_turn(struct worker *worker, int64_t now_us);

/* This worker has taken the last cut. */
bool checkpoint_is_past(const struct worker *worker);

/* A cut is under way and this worker has not taken it, or a new store has not had its first one, which is
 * where output can be taken back to: no new input. */
bool checkpoint_is_near(const struct worker *worker);
