/* Statistics of one bucket (or pane) of one series, in which the order of rows and of merges does not matter:
 * the same rows give the same bits. One a series and open pane; added to once a row, finished once a bucket.
 * Percentiles are within 1 % of the value (sketch.h), distinct within 2.3 % past 64 (distinct.h). */
#pragma once
#include "pipeline/distinct.h"
#include "pipeline/exact_sum.h"
#include "pipeline/sketch.h"
#include "schemas/bucket.h"

#include <math.h>

struct accumulator { /* all zero bytes: empty */
    uint64_t rows, hits;
    struct exact_sum sum, squares;
    double min, max;           /* with rows > 0 and a statistic of the value asked for */
    struct sketch *sketch;     /* owned; NULL until a percentile is asked for */
    struct distinct *distinct; /* owned; NULL until asked for */
};

/* The statistics made from the row's number; the others count rows. */
enum {
    STATISTICS_OF_VALUE = 1 << STAT_SUM | 1 << STAT_MIN | 1 << STAT_MAX | 1 << STAT_MEAN |
                          1 << STAT_VARIANCE | 1 << STAT_P50 | 1 << STAT_P90 | 1 << STAT_P95 | 1 << STAT_P99,
};

/* False for a row that accumulator_add leaves out whole: a statistic of the value is asked for and the value
 * is absent (NaN) or infinite. Otherwise mean would not be sum / count. */
static inline bool accumulator_takes(uint32_t statistics, double value)
{
    return !(statistics & STATISTICS_OF_VALUE) || isfinite(value);
}

/* statistics: bits 1 << enum statistic, the same in each call. text_hash: for distinct. hit: for ratio. */
void accumulator_add(struct accumulator *accumulator, uint32_t statistics, double value, uint64_t text_hash,
                     bool hit);

/* Takes over or frees what `from` owns, and leaves it empty. */
void accumulator_merge(struct accumulator *into, struct accumulator *from);

/* NaN where not asked for or undefined; sum, mean, variance (n - 1) and percentiles with 15 significant
 * digits. Without rows count, sum and distinct are 0, the others NaN. Variance is exact to about 2^-100 of
 * the mean of squares. */
void accumulator_finish(const struct accumulator *accumulator, uint32_t statistics,
                        double ret_values[STATISTICS]);

void accumulator_free(struct accumulator *accumulator);          /* leaves it empty */
size_t accumulator_bytes(const struct accumulator *accumulator); /* with the struct itself */

/* A deep copy; what *ret_copy held before is overwritten, not freed. */
void accumulator_copy(const struct accumulator *accumulator, struct accumulator *ret_copy);

/* As stored, exactly; one byte when empty. What does not fit breaks the reader and gives an empty one. */
void accumulator_pack(const struct accumulator *accumulator, struct buffer *out);
void accumulator_unpack(struct unpack *in, struct accumulator *ret_accumulator);
