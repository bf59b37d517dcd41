/* Statistics of one bucket (or pane) of one series, in which the order of rows and of merges does not matter:
 * the same rows give the same bits. One a series and open pane; added to once a row, finished once a bucket.
 * Percentiles are within 1 % of the value (sketch.h), distinct within 2.3 % past 64 (distinct.h). */
#pragma once
#include "pipeline/distinct.h"
#include "pipeline/exact_sum.h"
#include "pipeline/sketch.h"
#include "schemas/bucket.h"

#include <math.h>

/* Which parts an accumulator has, and where: only what its statistics need. */
struct accumulator_layout {
    uint32_t statistics; /* bits 1 << enum statistic */
    uint16_t size;       /* bytes, a multiple of 8 */
    uint8_t hits, extremes, sum, squares, sketch, distinct,
        counter; /* where each begins; 0: it is not there */
};

/* All zero bytes: empty. This is the room of the largest; of others only the first `size` bytes of their
 * layout are there, so the struct itself is never copied. */
struct accumulator {
    uint64_t rows;
    uint64_t parts[21];
};

struct extremes { /* with rows > 0 */
    double min, max;
};

/* The first and the last sample of a counter, with rows > 0. At one time the least is the first and the
 * greatest the last. */
struct counter {
    int64_t first_us, last_us;
    double first, last;
};

struct accumulator_layout accumulator_layout(uint32_t statistics);

/* The statistics made from the row's number; the others count rows. */
enum {
    STATISTICS_OF_VALUE = 1 << STAT_SUM | 1 << STAT_MIN | 1 << STAT_MAX | 1 << STAT_MEAN |
                          1 << STAT_VARIANCE | 1 << STAT_P50 | 1 << STAT_P90 | 1 << STAT_P95 | 1 << STAT_P99 |
                          1 << STAT_RATE,
};

/* False for a row that accumulator_add leaves out whole: a statistic of the value is asked for and the value
 * is absent (NaN) or infinite. Otherwise mean would not be sum / count. */
static inline bool accumulator_takes(uint32_t statistics, double value)
{
    return !(statistics & STATISTICS_OF_VALUE) || isfinite(value);
}

/* text_hash: for distinct. hit: for ratio. time_us: for rate. */
void accumulator_add(struct accumulator *accumulator, const struct accumulator_layout *layout, double value,
                     int64_t time_us, uint64_t text_hash, bool hit);

/* What it owns is fetched into the cache, for accumulator_add. */
void accumulator_fetch(const struct accumulator *accumulator, const struct accumulator_layout *layout);

/* Takes over or frees what `from` owns, and leaves it empty. */
void accumulator_merge(struct accumulator *into, const struct accumulator_layout *layout,
                       struct accumulator *from);

/* The same without a change of `from`. */
void accumulator_include(struct accumulator *into, const struct accumulator_layout *layout,
                         const struct accumulator *from);

/* NaN where not asked for or undefined; sum, mean, variance (n - 1), percentiles and rate with 15 significant
 * digits. Without rows count, sum and distinct are 0, the others NaN. Variance is exact to about 2^-100 of
 * the mean of squares. The rate is a counter's increase a second between its first and last sample, as
 * PromQL's rate without extrapolation. One reset in between is seen; what was counted before it is lost when
 * the end is greater, and so is all between two resets. */
void accumulator_finish(const struct accumulator *accumulator, const struct accumulator_layout *layout,
                        double ret_values[STATISTICS]);

double accumulator_round(double value); /* to 15 significant digits; NaN when it is not finite */

void accumulator_free(struct accumulator *accumulator, const struct accumulator_layout *layout); /* empties */
size_t accumulator_bytes(const struct accumulator *accumulator,
                         const struct accumulator_layout *layout); /* with what it owns */

/* As stored, exactly; one byte when empty. What does not fit breaks the reader and leaves it empty. Parts
 * that the layout does not have are passed over, all of them without a layout. */
void accumulator_pack(const struct accumulator *accumulator, const struct accumulator_layout *layout,
                      struct buffer *out);
void accumulator_unpack(struct unpack *in, const struct accumulator_layout *layout,
                        struct accumulator *into); /* empty before */
