/* A cut of the whole process at one moment, saved while the work goes on. Worker 0 asks for it; every worker
 * stops reading, hands over what it has begun, and arrives; when all have, the rings are drained and each
 * freezes its parts; when all have, they go on and make the bytes of what is frozen in slices (stage "save").
 * When all have handed theirs to the keeper, a last small transaction makes the generation the newest one, and
 * offsets up to it may be committed. The pause is the time between arriving and going on. */
#pragma once
#include "pipeline/keeper.h"
#include "pipeline/plan.h"
#include "pipeline/store.h"

struct worker;

/* What a worker hands over for the flip beside its values; its own until `saved` tells of the generation, then
 * the flip's until `stored` does. */
struct checkpoint_part {
    struct state_table *dropped;
    size_t dropped_count, dropped_capacity;
    struct outbox_key *acknowledged;
    size_t acknowledged_count, acknowledged_capacity;
};

/* Shared by the workers of a process; each array element is written by its worker. */
struct checkpoint {
    struct keeper *keeper; /* NULL: no store, nothing is ever cut */
    unsigned workers;
    _Atomic uint64_t wanted; /* generation of the cut that was asked for */
    _Atomic uint64_t arrived[WORKERS_MAX], frozen[WORKERS_MAX], saved[WORKERS_MAX];
    struct checkpoint_part parts[WORKERS_MAX];
    _Atomic uint64_t stored; /* newest complete generation */
    _Atomic bool last_asked; /* a cut of everything read, for a stop or the end of input: no waiting */
    uint64_t run_number;     /* the generation at start + 1: differs in every process */
    int64_t interval_us;
};

struct checkpoint_figures {
    uint64_t cuts, values, bytes; /* bytes before compression */
    int64_t pause_us, pause_us_max, last_us,
        stored_at_us; /* length of the last pause; of the whole last cut */
};
