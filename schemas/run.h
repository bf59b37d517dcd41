/* One run of a workflow or one attempt of a task, as told at a transition. */
#pragma once
#include "schemas/event.h"

struct run_record {
    struct id128 id;
    bool is_task;
    enum run_state state;
    uint64_t version; /* transitions applied + 1 */
    int64_t at_us;    /* order time of the transition: place in the output */
    int64_t first_us; /* first known time: @timestamp, never moves */
    int64_t scheduled_us, queued_us, started_us, ended_us; /* TIME_NONE absent */
    double duration_ms, queue_wait_ms, late_by_ms;         /* NaN absent */
    struct span source, namespace_, engine, workflow, task, run, run_name, root_run, parent_run, queue;
    struct span worker, owner, host, error, error_type, url;
    uint16_t attempt;            /* 0 absent */
    uint16_t attempts;           /* tries seen of this run or task */
    int32_t map_index;           /* INT32_MIN absent */
    uint32_t tasks[STATE_COUNT]; /* level run: its task attempts by present state */
    bool will_retry;             /* it failed, and the engine will try again */
    bool is_endless;             /* a stream's: it runs until somebody stops it */
    bool task_failed;            /* level run: a task of it has failed for good */
    bool tells_child; /* no transition: the run has begun one of the workflow that stands as its task */
    const struct label_names *label_names; /* NULL: none */
    const struct span *labels;             /* one a name, size 0 absent */
};

/* hash(pipeline, source, namespace, workflow, run [, task, map_index, attempt]) */
struct id128 run_id(struct span pipeline, const struct run_record *run);
