/* Figures of the workers for /metrics. Each worker copies its figures into an array of its own a few times a
 * second; readers add the arrays up, so nothing is locked and nothing on the row path knows of metrics. */
#pragma once
#include "base/counters.h"
#include "pipeline/worker.h"

size_t metrics_count(const struct plan *plan);                /* counters a worker */
void metrics_publish(struct worker *worker, counter *values); /* the worker's own thread */

/* Prometheus text format 0.0.4: values[worker] are the published arrays. */
void metrics_write(const struct shared *shared, counter *const *values, struct buffer *out);

/* How many workers have a sink that waits for a person. */
uint64_t metrics_paused_sinks(const struct plan *plan, unsigned workers, counter *const *values);
