/* What the cases share: the input in a file or a topic, the configuration of the program, the null server. */
#pragma once
#include "bench/bench.h"
#include "bench/null_server.h"
#include "bench/report.h"

#include "pipeline/plan.h"

enum { WORKLOAD_NAME_BYTES = 64, WORKLOAD_PATH_BYTES = 256, WORKLOAD_LATENESS_S = 10 /* of the plans */ };

struct workload {
    struct bench_options options;
    struct null_server server;
    char folder[WORKLOAD_PATH_BYTES]; /* "" when there is none yet */
    char topic[WORKLOAD_NAME_BYTES];  /* "" without Kafka */
    unsigned plans;                   /* made so far; each has a consumer group of its own */
};

/* Starts the server and makes the input (of no events: an empty topic) in a process that ends before this
 * returns, so that nothing of it is measured. On failure too the workload is to be closed. */
enum status workload_open(const struct bench_options *options, struct workload *ret_workload,
                          struct error *ret_error);

/* A plan that reads the whole input from its beginning: two measures of each task every `every_s` seconds,
 * a detector, a rule on events and one on buckets, buckets to the null server. To be freed with plan_free. */
enum status workload_plan(struct workload *workload, unsigned every_s, struct plan **ret_plan,
                          struct error *ret_error);

/* The first lines of a plan, and a format for the generated events. With `runs` each of them tells of a run,
 * and runs are tracked. */
void workload_plan_head(bool runs, struct buffer *out);

/* The same in pieces, for a case with measures of its own: begins a text with the source and a store of
 * its own, whose checkpoints come each so often; measures are added; its end loads it. */
void workload_plan_begin(struct workload *workload, const char *checkpoint, struct buffer *ret_text);
enum status workload_plan_end(struct workload *workload, struct buffer *text, struct plan **ret_plan,
                              struct error *ret_error);

/* Runs the program over the whole input. `metrics`: what it told at the end, cleared before; may be NULL. */
enum status workload_run(const struct plan *plan, struct usage *ret_used, struct buffer *metrics,
                         struct error *ret_error);

/* The program's speed over a backlog of a million events, in a workload of its own: events a second. */
enum status workload_capacity(const struct bench_options *options, double *ret_capacity,
                              struct error *ret_error);
void workload_close(struct workload *workload); /* removes all of it */

void workload_tell(const struct workload *workload, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
