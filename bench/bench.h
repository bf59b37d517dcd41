/* Figures of the whole program on synthetic events, as JSON. Each case measures a floor and the program on
 * the same input in the same process by turns, because figures of different minutes on a shared machine do
 * not compare. */
#pragma once
#include "bench/generate.h"

#include "base/status.h"

struct bench_options {
    const char *brokers; /* NULL: a file is the input */
    struct generator_options generator;
    unsigned partitions, runs, workers, seconds; /* each at least 1 */
    unsigned files; /* at least 1; without brokers: the events are dealt to so many */
    bool uneven;    /* partition k of the topic gets about 1/k of the events, not each its turn */
    bool copy;      /* throughput: every cleaned event goes to the server, and nothing else is done */
    bool progress;  /* one line a step on stderr */
};

/* Floor (source and format alone, one worker, rows thrown away) against the whole engine, `runs` times
 * each. Appends one JSON object: events_per_second, cpu_us_per_event of process time, their medians and
 * ranges, what was delivered, and whether the buckets' counts add up to the events. */
enum status bench_throughput(const struct bench_options *options, struct buffer *out,
                             struct error *ret_error);

/* The whole engine once over a backlog in Kafka, in unevenly filled partitions, with the resident size of the
 * process and its speed by messages taken. Appends one JSON object: the samples, the largest size of the
 * second half relative to the one at a fifth of the backlog, and the speed of the last twentieth relative to
 * the first. */
enum status bench_backlog(const struct bench_options *options, struct buffer *out, struct error *ret_error);

/* Checkpoints and restarts with as many series as there are tasks: the program with checkpoints and
 * practically without, by turns, then a stop, a kill, and a start after each. Every one of them in a
 * process of its own. Appends one JSON object: speed and CPU of both sides, what a checkpoint takes, sizes,
 * seconds until a new process reads its first event. */
enum status bench_state(const struct bench_options *options, struct buffer *out, struct error *ret_error);

/* From an event to the notification that it causes, at a steady rate through a real broker: for a rule on
 * events and for one on buckets. generator.rate: events a second; 0: half of what the program takes from a
 * backlog. Appends one JSON object: percentiles in milliseconds, and how many were never told. */
enum status bench_latency(const struct bench_options *options, struct buffer *out, struct error *ret_error);

/* The bulk sink alone against the null server, which refuses 0, 1 and 20 of a hundred items for now.
 * generator.events: documents. Appends one JSON object: documents and megabytes a second, CPU a document, and
 * whether each was taken exactly once; a document lost or with two verdicts is STATUS_FATAL. */
enum status bench_bulk(const struct bench_options *options, struct buffer *out, struct error *ret_error);

/* The program over files with one worker and with two (or `workers`), by turns. Appends one JSON object:
 * speed and CPU of both and their ratios. */
enum status bench_workers(const struct bench_options *options, struct buffer *out, struct error *ret_error);

/* The highest rate at which what waits in the broker does not grow, by search, `seconds` a step.
 * generator.rate: where it begins, above what is looked for; 0: by the speed over a backlog. Appends one JSON
 * object: that rate and each step. */
enum status bench_sustained(const struct bench_options *options, struct buffer *out, struct error *ret_error);
