/* Synthetic events of a workflow engine: the same seed gives the same bytes on every machine. */
#pragma once
#include "base/buffer.h"
#include "base/timestamp.h"

struct generator_options {
    uint64_t events, seed;
    unsigned tasks;     /* at least 1; 20 of them make a workflow */
    bool in_turn;       /* every task once a round, else task k about 1/k of the time */
    double rate;        /* events a second of event time */
    int64_t start_us;   /* event time of the first event */
    int64_t jitter_us;  /* an event is up to this much earlier than its place in the stream */
    int64_t closing_us; /* not 0: one more event, so much after the last, which ends the buckets before it */
};

struct generator {
    struct generator_options options;
    uint64_t next, random;
    double log_tasks;
};

void generator_init(struct generator *generator, const struct generator_options *options);

/* Appends the next event, one JSON object of about 400 bytes without a newline; false at the end. */
bool generator_next(struct generator *generator, struct buffer *out);
