/* Pieces of the cases' reports, and the clocks they are made with. */
#pragma once
#include "base/json_writer.h"

#include <stdint.h>

struct usage { /* seconds; of the whole process, all threads */
    double wall, cpu;
};

int64_t wall_clock_us(void); /* since 1970 */
struct usage usage_now(void);
struct usage usage_since(struct usage before);

/* "machine": what figures must be read with. */
void report_machine(struct json_writer *json);

/* An object with median, min and max of `count` >= 1 values, which it sorts; returns the median. */
double report_range(struct json_writer *json, const char *key, double *values, unsigned count);

/* p50, p99, p99_9 and max of `count` >= 1 values, which it sorts. */
void report_percentiles(struct json_writer *json, double *values, unsigned count);

/* The sum over a metric's labels in Prometheus text. */
double report_metric(struct buffer *metrics, const char *name);
