/* Figures of the workers for /metrics. Each worker copies its figures into an array of its own a few times a
 * second; readers add the arrays up, so nothing is locked and nothing on the row path knows of metrics. */
#pragma once
#include "base/counters.h"
#include "pipeline/worker.h"

struct worker_report; /* health.h */

struct metrics_engine { /* what one engine has to tell; borrowed, not after its engine_free */
    const struct shared *shared;
    counter *const *values; /* the published arrays of its own workers */
    struct worker_report *const *reports;
};

struct metrics_source {
    const struct plan *plan;
    const counter *ended; /* totals of engines that are gone (metrics_keep); NULL: none */
    const struct metrics_engine *engines;
    size_t count;
};

size_t metrics_count(const struct plan *plan);                /* counters a worker */
void metrics_publish(struct worker *worker, counter *values); /* the worker's own thread */

/* Prometheus text format 0.0.4: the sums over the engines, each family once. What cannot be added up has the
 * number of the task as its label. */
void metrics_write(const struct metrics_source *source, struct buffer *out);

/* Adds the totals of an engine that has stopped to `ended` (metrics_count), so that no total ever falls. */
void metrics_keep(const struct metrics_engine *engine, counter *ended);

/* The sum of the rows of a name, as /metrics has it, without "weir_"; of a sink's by its number. */
uint64_t metrics_sum(const struct metrics_source *source, const char *name);
uint64_t metrics_sink_sum(const struct metrics_source *source, unsigned sink, const char *name);

/* Event time up to which all engines have told everything; TIME_NONE: not known yet. */
int64_t metrics_watermark_us(const struct metrics_source *source);

/* How many of an engine's workers have a sink that waits for a person. */
uint64_t metrics_paused_sinks(const struct metrics_engine *engine);
