/* Synthetic events of a workflow engine: the same options give the same bytes on every machine. */
#pragma once
#include "base/buffer.h"
#include "base/timestamp.h"

enum { GENERATOR_TASKS_PER_WORKFLOW = 20 };

struct generator_options {
    uint64_t events, seed;
    unsigned tasks;     /* at least 1; 20 of them make a workflow */
    bool in_turn;       /* every task once a round, else task k about 1/k of the time */
    double rate;        /* events a second of event time */
    int64_t start_us;   /* event time of the first event */
    int64_t jitter_us;  /* an event is up to this much earlier than its place in the stream */
    int64_t closing_us; /* not 0: one more event, so much after the last, which ends the buckets before it */

    double daily; /* 0..1: how far the rate swings over a day, most at 14:00 UTC */
    double burst; /* the rate is so many times as high in one minute of each quarter of an hour; 0: never */
    double late;  /* share of events that come at least 15 s late: 1 in 100 of them 150 s, an hour at most */
    double retries;  /* share of failed attempts that another one follows; runs then have ids of their own */
    unsigned nested; /* not 0, at most 20: whole runs of so many tasks, each queued, running, and ended; one
                      * in four starts a run of another workflow, whose parent it is */
};

struct generator_step;

struct generator {
    struct generator_options options;
    uint64_t next, random;
    double log_tasks;
    double arrival_us; /* where the next event or run stands, since the start */
    uint64_t arrivals, runs, steps;
    struct generator_step *heap; /* what comes later of runs that have begun, earliest first */
    size_t heap_count, heap_capacity;
};

void generator_init(struct generator *generator, const struct generator_options *options);
void generator_free(struct generator *generator);

/* Appends the next event, one JSON object of about 400 bytes without a newline; false at the end. */
bool generator_next(struct generator *generator, struct buffer *out);
