/* Closed buckets of one measure in memory, as columns by series: what a detector would have seen. They come
 * as lines, of a replay, of `--buckets`, or as documents exported from a search server, so that a trial runs
 * the detector and nothing before it. 16 bytes a bucket. */
#pragma once
#include "base/slots.h"
#include "base/status.h"
#include "pipeline/plan.h"

enum { HISTORY_SERIES_MAX = 1000000 };
#define HISTORY_BUCKETS_MAX ((size_t)200 * 1000 * 1000)

struct history_series {
    char *target;    /* what an alert on it is about, as alert lines have it */
    char *name;      /* for people: the texts of its key */
    int64_t *end_us; /* rising, once settled */
    double *value;   /* NaN: the statistic is undefined there */
    uint32_t *version;
    size_t rows, end_capacity, value_capacity, version_capacity;
};

struct history {
    const struct plan_measure *measure;
    enum statistic statistic;
    int64_t from_us, to_us; /* only buckets that end after one and not after the other; TIME_NONE: all */
    struct history_series *series;
    size_t count, capacity, rows;
    int64_t first_us, last_us; /* ends of the first and the last bucket; once settled */
    struct slots slots;
};

void history_init(struct history *history, const struct plan_measure *measure, enum statistic statistic);
void history_free(struct history *history);

/* One line: a bucket as --buckets writes it, a document or a hit of a search, or a whole answer to one.
 * Buckets of other measures are passed over. STATUS_SKIP: it is none of these, and the error says why;
 * STATUS_FATAL: more than fits. */
enum status history_add(struct history *history, struct span line, struct error *ret_error);

/* After the last line: puts the buckets of each series in order. Of a bucket told again, which detectors do
 * not see again, the first version counts. */
void history_settle(struct history *history);
