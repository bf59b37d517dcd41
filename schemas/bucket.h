/* A measure's shape and one closed bucket of it: what detectors score, rules judge and sinks index. */
#pragma once
#include "schemas/event.h"

// clang-format off
enum statistic {
    STAT_COUNT, STAT_SUM, STAT_MIN, STAT_MAX, STAT_MEAN, STAT_VARIANCE, STAT_P50, STAT_P90, STAT_P95,
    STAT_P99, STAT_DISTINCT, STAT_RATIO, STAT_RATE, STATISTICS,
};
// clang-format on

extern const char *const statistic_names[STATISTICS];
int statistic_find(struct span name); /* -1 when unknown */

enum { KEY_FIELDS_MAX = 8 };

struct measure_shape {       /* borrowed by every bucket; lives as long as the pipeline */
    const char *name, *unit; /* unit may be NULL */
    uint32_t statistics;     /* bits 1 << enum statistic */
    unsigned by_count;
    struct field_ref by[KEY_FIELDS_MAX];
    const char *by_names[KEY_FIELDS_MAX];
    bool on_run;                 /* folded from transitions, not from events */
    int64_t every_us, window_us; /* hop and size; equal: tumbling */
};

struct bucket {
    const struct measure_shape *shape;
    const struct span *key; /* by_count texts */
    struct id128 id;
    int64_t start_us, end_us;
    double values[STATISTICS]; /* NaN: not asked for or undefined */
    uint64_t rows, late;       /* rows folded in; rows that came too late (and were not) */
    uint64_t version;          /* rows + 1 */
    bool provisional;
    bool partial; /* rows from before a restart without its state may be absent */
    double score, expected_low, expected_high; /* of the detector with the highest score; NaN: no opinion */
    bool anomaly;
    enum statistic scored; /* what the score is about; with an opinion */
};

/* hash(pipeline, measure, key, start, size) */
struct id128 bucket_id(struct span pipeline, const struct bucket *bucket);
