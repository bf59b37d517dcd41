/* Engines, a cluster and changelogs that do what a test says and remember what was done to them: these
 * definitions take the place of pipeline/engine.c's, cluster.c's and those of Kafka's journals in a program
 * that links them. */
#pragma once
#include "pipeline/cluster.h"
#include "pipeline/engine.h"

#include <stdatomic.h>

struct fake_task {
    /* what it shall do */
    _Atomic enum status start; /* the answer of engine_start */
    _Atomic bool fails;        /* engine_wait says so, until it is opened again */
    _Atomic bool unready;
    _Atomic int slow_ms; /* opening and stopping take so long */

    /* what was done */
    _Atomic unsigned opens, stops, cuts, frees;
    _Atomic bool followed; /* its changelog is open; never while its engine is there */
    _Atomic unsigned follows;
};

struct fake {
    struct fake_task tasks[WORKERS_MAX]; /* without a cluster: the first */
    _Atomic enum status engine_outcome;  /* engine_wait's, of a whole engine */

    _Atomic enum status joins; /* the answer of cluster_open */
    _Atomic uint64_t mine;     /* what the next poll gives */
    _Atomic bool unassigned;   /* the group has not said yet what is whose */
    _Atomic bool releases;     /* the next poll takes all tasks away before */
    _Atomic bool lost;         /* the next poll says that the membership is lost */
    _Atomic unsigned running;  /* engines opened and not freed */
    _Atomic unsigned at_work;  /* calls that take slow_ms under way, and the most at the same time */
    _Atomic unsigned at_work_most;
    _Atomic unsigned closes; /* cluster_close with nothing running */
};

enum { FAKE_ROWS = 1000 }; /* each counter of each engine */
enum { FAKE_BEHIND = 42 }; /* a changelog that is read */

extern struct fake fake;
