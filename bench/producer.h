/* Sends events to a topic at a steady rate, from a process of its own. Event number i is meant to be sent
 * 1/rate s after the one before, whatever became of that one: who measures latency counts from there, so a
 * stall of the producer or of the broker counts for every event that it delayed. */
#pragma once
#include "bench/topic.h"

#include <stdatomic.h>
#include <sys/types.h>

/* Appends event number `number`, meant to be sent at `at_us`. On the producer's process. */
typedef void producer_event(void *owner, uint64_t number, int64_t at_us, struct buffer *out);

struct producer_settings {
    const char *brokers, *topic;
    unsigned partitions; /* given events in turn */
    uint64_t events;
    double rate; /* events a second */
    producer_event *event;
    void *owner; /* the child's copy */
};

struct producer_figures {          /* shared memory */
    _Atomic int64_t start_us;      /* wall clock of event 0; set by the parent, until then nothing is sent */
    _Atomic int64_t behind_us_max; /* an event was handed to the client so much later than meant */
    _Atomic uint64_t sent;
    _Atomic bool done; /* all are with the broker, or `error` says why not */
    struct error error;
};

struct producer {
    pid_t pid; /* 0: not started */
    struct producer_figures *figures;
};

static inline int64_t producer_time_us(const struct producer_settings *settings, int64_t start_us,
                                       uint64_t number)
{
    return start_us + (int64_t)((double)number * 1e6 / settings->rate);
}

/* Forks, so it is called while no thread exists. The process ends with its parent at the latest. */
enum status producer_start(const struct producer_settings *settings, struct producer *ret_producer,
                           struct error *ret_error);
void producer_stop(struct producer *producer); /* does nothing when it was never started */

/* Generated events whose times are those of sending: the event of settings whose owner is a stream. Their
 * number, start, jitter and end are the producer's. */
struct producer_stream {
    struct generator_options options;
    struct generator generator; /* made with the first event */
};

producer_event producer_generate;
