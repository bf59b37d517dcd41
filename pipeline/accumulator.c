/* The statistics of one bucket: exact sums, extremes, a quantile sketch and a distinct counter, each only
 * when asked for. Measured on the build machine by tests/pipeline/test_accumulator.c, which prints ns per
 * add. Dropped: Welford's running variance, whose bits depend on the order of rows. */
#include "pipeline/accumulator.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEEDS_SUM = 1 << STAT_SUM | 1 << STAT_MEAN | 1 << STAT_VARIANCE,
    NEEDS_SKETCH = 1 << STAT_P50 | 1 << STAT_P90 | 1 << STAT_P95 | 1 << STAT_P99,
};

enum {
    PACKED_ROWS = 1,
    PACKED_HITS = 2,
    PACKED_EXTREMES = 4,
    PACKED_SUMS = 8,
    PACKED_SKETCH = 16,
    PACKED_DISTINCT = 32,
    PACKED_END = 64
};

static const struct {
    enum statistic statistic;
    unsigned percent;
} percentiles[] = {{STAT_P50, 50}, {STAT_P90, 90}, {STAT_P95, 95}, {STAT_P99, 99}};

void accumulator_add(struct accumulator *accumulator, uint32_t statistics, double value, uint64_t text_hash,
                     bool hit)
{
    if (!accumulator_takes(statistics, value))
        return;
    value += 0.0; /* minus zero would make the extremes depend on the order */
    accumulator->rows++;
    accumulator->hits += hit;
    if (statistics & STATISTICS_OF_VALUE) {
        if (accumulator->rows == 1)
            accumulator->min = accumulator->max = value;
        else if (value < accumulator->min)
            accumulator->min = value;
        else if (value > accumulator->max)
            accumulator->max = value;
    }
    if (statistics & NEEDS_SUM)
        exact_add(&accumulator->sum, value);
    if (statistics & 1 << STAT_VARIANCE)
        exact_add_square(&accumulator->squares, value);
    if (statistics & NEEDS_SKETCH) {
        if (!accumulator->sketch)
            accumulator->sketch = sketch_new();
        sketch_add(accumulator->sketch, value);
    }
    if (statistics & 1 << STAT_DISTINCT) {
        if (!accumulator->distinct)
            accumulator->distinct = distinct_new();
        distinct_add(accumulator->distinct, text_hash);
    }
}

static void merge_extremes(struct accumulator *into, const struct accumulator *from)
{
    if (!from->rows)
        return;
    if (!into->rows || from->min < into->min)
        into->min = from->min;
    if (!into->rows || from->max > into->max)
        into->max = from->max;
}

void accumulator_merge(struct accumulator *into, struct accumulator *from)
{
    assert(into != from);
    merge_extremes(into, from);
    into->rows += from->rows;
    into->hits += from->hits;
    exact_merge(&into->sum, &from->sum);
    exact_merge(&into->squares, &from->squares);
    if (!into->sketch) {
        into->sketch = from->sketch;
        from->sketch = NULL;
    } else if (from->sketch) {
        sketch_merge(into->sketch, from->sketch);
    }
    if (!into->distinct) {
        into->distinct = from->distinct;
        from->distinct = NULL;
    } else if (from->distinct) {
        distinct_merge(into->distinct, from->distinct);
    }
    accumulator_free(from);
}

/* 15 digits are what a double always keeps, so 0.1 + 0.2 reads 0.3. */
static double round_digits(double value)
{
    char text[32];

    if (!isfinite(value))
        return NAN;
    if (fabs(value) < 1e15 && value == nearbyint(value))
        return value + 0.0; /* no minus zero */
    snprintf(text, sizeof text, "%.14e", value);
    return strtod(text, NULL);
}

static double variance(const struct accumulator *accumulator)
{
    double rows = (double)accumulator->rows;
    struct double_double sum = exact_total(&accumulator->sum), squares = exact_total(&accumulator->squares);

    if (accumulator->rows < 2)
        return NAN;
    if (accumulator->min == accumulator->max)
        return 0;
    struct double_double expected = double_double_over(double_double_times(sum, sum), rows);
    struct double_double scaled = double_double_minus(squares, expected);
    double result = double_double_over(scaled, rows - 1).high;
    return result < 0 ? 0 : result;
}

/* The sketch knows a value within 1 %, the extremes exactly. */
static double percentile(const struct accumulator *accumulator, unsigned percent)
{
    double value = sketch_quantile(accumulator->sketch, percent);

    return fmin(fmax(value, accumulator->min), accumulator->max);
}

void accumulator_finish(const struct accumulator *accumulator, uint32_t statistics,
                        double ret_values[STATISTICS])
{
    double values[STATISTICS];
    double rows = (double)accumulator->rows;

    for (int i = 0; i < STATISTICS; i++)
        values[i] = NAN;
    values[STAT_COUNT] = rows;
    values[STAT_SUM] = round_digits(exact_total(&accumulator->sum).high);
    values[STAT_DISTINCT] = accumulator->distinct ? (double)distinct_count(accumulator->distinct) : 0;
    if (accumulator->rows) {
        values[STAT_MIN] = accumulator->min;
        values[STAT_MAX] = accumulator->max;
        values[STAT_RATIO] = (double)accumulator->hits / rows;
        if (statistics & 1 << STAT_MEAN)
            values[STAT_MEAN] = round_digits(double_double_over(exact_total(&accumulator->sum), rows).high);
        if (statistics & 1 << STAT_VARIANCE)
            values[STAT_VARIANCE] = round_digits(variance(accumulator));
    }
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
        if (accumulator->sketch && statistics & 1u << percentiles[i].statistic)
            values[percentiles[i].statistic] = round_digits(percentile(accumulator, percentiles[i].percent));
    for (unsigned i = 0; i < STATISTICS; i++)
        ret_values[i] = statistics & 1u << i ? values[i] : NAN;
}

void accumulator_free(struct accumulator *accumulator)
{
    sketch_free(accumulator->sketch);
    distinct_free(accumulator->distinct);
    *accumulator = (struct accumulator){0};
}

size_t accumulator_bytes(const struct accumulator *accumulator)
{
    return sizeof *accumulator + (accumulator->sketch ? sketch_bytes(accumulator->sketch) : 0) +
           (accumulator->distinct ? distinct_bytes(accumulator->distinct) : 0);
}

void accumulator_copy(const struct accumulator *accumulator, struct accumulator *ret_copy)
{
    *ret_copy = *accumulator;
    if (accumulator->sketch)
        ret_copy->sketch = sketch_copy(accumulator->sketch);
    if (accumulator->distinct)
        ret_copy->distinct = distinct_copy(accumulator->distinct);
}

static unsigned packed_parts(const struct accumulator *accumulator)
{
    static const struct exact_sum none;
    bool sums = memcmp(&accumulator->sum, &none, sizeof none) != 0 ||
                memcmp(&accumulator->squares, &none, sizeof none) != 0;

    return (accumulator->rows ? PACKED_ROWS : 0) | (accumulator->hits ? PACKED_HITS : 0) |
           (accumulator->min != 0 || accumulator->max != 0 ? PACKED_EXTREMES : 0) | (sums ? PACKED_SUMS : 0) |
           (accumulator->sketch ? PACKED_SKETCH : 0) | (accumulator->distinct ? PACKED_DISTINCT : 0);
}

void accumulator_pack(const struct accumulator *accumulator, struct buffer *out)
{
    unsigned parts = packed_parts(accumulator);

    pack_u8(out, (uint8_t)parts);
    if (parts & PACKED_ROWS)
        pack_u64(out, accumulator->rows);
    if (parts & PACKED_HITS)
        pack_u64(out, accumulator->hits);
    if (parts & PACKED_EXTREMES) {
        pack_double(out, accumulator->min);
        pack_double(out, accumulator->max);
    }
    if (parts & PACKED_SUMS) {
        exact_pack(&accumulator->sum, out);
        exact_pack(&accumulator->squares, out);
    }
    if (parts & PACKED_SKETCH)
        sketch_pack(accumulator->sketch, out);
    if (parts & PACKED_DISTINCT)
        distinct_pack(accumulator->distinct, out);
}

void accumulator_unpack(struct unpack *in, struct accumulator *ret_accumulator)
{
    struct accumulator accumulator = {0};
    unsigned parts = unpack_u8(in);

    if (parts & PACKED_ROWS)
        accumulator.rows = unpack_u64(in);
    if (parts & PACKED_HITS)
        accumulator.hits = unpack_u64(in);
    if (parts & PACKED_EXTREMES) {
        accumulator.min = unpack_double(in);
        accumulator.max = unpack_double(in);
    }
    if (parts & PACKED_SUMS) {
        exact_unpack(in, &accumulator.sum);
        exact_unpack(in, &accumulator.squares);
    }
    if (parts & PACKED_SKETCH)
        accumulator.sketch = sketch_unpack(in);
    if (parts & PACKED_DISTINCT)
        accumulator.distinct = distinct_unpack(in);
    in->broken |= parts >= PACKED_END;
    if (in->broken)
        accumulator_free(&accumulator);
    *ret_accumulator = accumulator;
}
