/* What the cases measure with: clocks, memory, and the engine's own metrics. */
#pragma once
#include "base/buffer.h"

#include <stdint.h>

struct usage { /* seconds; of the whole process, all threads */
    double wall, cpu;
};

int64_t wall_clock_us(void); /* since 1970 */
struct usage usage_now(void);
struct usage usage_since(struct usage before);

static inline void usage_add(struct usage *total, struct usage more)
{
    total->wall += more.wall;
    total->cpu += more.cpu;
}

/* Memory that the process has at present; trimmed: once the heap has given back what earlier runs left. */
double resident_bytes(void);
double resident_bytes_trimmed(void);

/* The sum over a metric's labels in Prometheus text. */
double report_metric(struct buffer *metrics, const char *name);
