/* The statistics of one bucket: exact sums, extremes, a quantile sketch and a distinct counter, each only
 * when asked for. Measured on the build machine by tests/pipeline/test_accumulator.c, which prints ns per
 * add. Dropped: Welford's running variance, whose bits depend on the order of rows. */
#include "pipeline/accumulator.h"

#include "base/digits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEEDS_SUM = 1 << STAT_SUM | 1 << STAT_MEAN | 1 << STAT_VARIANCE,
    NEEDS_SKETCH = 1 << STAT_P50 | 1 << STAT_P90 | 1 << STAT_P95 | 1 << STAT_P99,
    NEEDS_EXTREMES = 1 << STAT_MIN | 1 << STAT_MAX | 1 << STAT_VARIANCE | 1 << STAT_RATE | NEEDS_SKETCH,
};

enum {
    PACKED_ROWS = 1,
    PACKED_HITS = 2,
    PACKED_EXTREMES = 4,
    PACKED_SUMS = 8,
    PACKED_SKETCH = 16,
    PACKED_DISTINCT = 32,
    PACKED_COUNTER = 64,
    PACKED_END = 128
};

static const struct {
    enum statistic statistic;
    unsigned percent;
} percentiles[] = {{STAT_P50, 50}, {STAT_P90, 90}, {STAT_P95, 95}, {STAT_P99, 99}};

static void place_part(struct accumulator_layout *layout, uint32_t needed_by, size_t size, uint8_t *ret_place)
{
    if (!(layout->statistics & needed_by))
        return;
    *ret_place = (uint8_t)layout->size;
    layout->size = (uint16_t)(layout->size + size);
}

struct accumulator_layout accumulator_layout(uint32_t statistics)
{
    struct accumulator_layout layout = {.statistics = statistics, .size = sizeof(uint64_t)};

    place_part(&layout, 1 << STAT_RATIO, sizeof(uint64_t), &layout.hits);
    place_part(&layout, NEEDS_EXTREMES, sizeof(struct extremes), &layout.extremes);
    place_part(&layout, NEEDS_SUM, sizeof(struct exact_sum), &layout.sum);
    place_part(&layout, 1 << STAT_VARIANCE, sizeof(struct exact_sum), &layout.squares);
    place_part(&layout, NEEDS_SKETCH, sizeof(struct sketch *), &layout.sketch);
    place_part(&layout, 1 << STAT_DISTINCT, sizeof(struct distinct *), &layout.distinct);
    place_part(&layout, 1 << STAT_RATE, sizeof(struct counter), &layout.counter);
    assert(layout.size <= sizeof(struct accumulator));
    return layout;
}

/* The part at `place`, which is not 0. */
static void *part(const struct accumulator *accumulator, uint8_t place)
{
    return (char *)accumulator + place;
}

static struct sketch **sketch_of(const struct accumulator *accumulator,
                                 const struct accumulator_layout *layout)
{
    return part(accumulator, layout->sketch);
}

static struct distinct **distinct_of(const struct accumulator *accumulator,
                                     const struct accumulator_layout *layout)
{
    return part(accumulator, layout->distinct);
}

static void add_extremes(struct extremes *extremes, bool first, double min, double max)
{
    if (first || min < extremes->min)
        extremes->min = min;
    if (first || max > extremes->max)
        extremes->max = max;
}

static void add_counter(struct counter *counter, bool first, const struct counter *other)
{
    if (first || other->first_us < counter->first_us ||
        (other->first_us == counter->first_us && other->first < counter->first)) {
        counter->first_us = other->first_us;
        counter->first = other->first;
    }
    if (first || other->last_us > counter->last_us ||
        (other->last_us == counter->last_us && other->last > counter->last)) {
        counter->last_us = other->last_us;
        counter->last = other->last;
    }
}

static void add_sketch(struct sketch **sketch, double value)
{
    if (!*sketch)
        *sketch = sketch_new();
    sketch_add(*sketch, value);
}

static void add_distinct(struct distinct **distinct, uint64_t hash)
{
    if (!*distinct)
        *distinct = distinct_new();
    distinct_add(*distinct, hash);
}

void accumulator_add(struct accumulator *accumulator, const struct accumulator_layout *layout, double value,
                     int64_t time_us, uint64_t text_hash, bool hit)
{
    if (!accumulator_takes(layout->statistics, value))
        return;
    value += 0.0; /* minus zero would make the extremes depend on the order */
    if (layout->hits)
        *(uint64_t *)part(accumulator, layout->hits) += hit;
    if (layout->extremes)
        add_extremes(part(accumulator, layout->extremes), accumulator->rows == 0, value, value);
    if (layout->sum)
        exact_add(part(accumulator, layout->sum), value);
    if (layout->squares)
        exact_add_square(part(accumulator, layout->squares), value);
    if (layout->sketch)
        add_sketch(sketch_of(accumulator, layout), value);
    if (layout->distinct)
        add_distinct(distinct_of(accumulator, layout), text_hash);
    if (layout->counter)
        add_counter(part(accumulator, layout->counter), accumulator->rows == 0,
                    &(struct counter){time_us, time_us, value, value});
    accumulator->rows++;
}

void accumulator_fetch(const struct accumulator *accumulator, const struct accumulator_layout *layout)
{
    if (layout->sketch)
        __builtin_prefetch(*sketch_of(accumulator, layout));
    if (layout->distinct)
        __builtin_prefetch(*distinct_of(accumulator, layout));
}

static void include_plain(struct accumulator *into, const struct accumulator_layout *layout,
                          const struct accumulator *from)
{
    assert(into != from);
    if (layout->hits)
        *(uint64_t *)part(into, layout->hits) += *(const uint64_t *)part(from, layout->hits);
    if (layout->extremes && from->rows) {
        const struct extremes *extremes = part(from, layout->extremes);

        add_extremes(part(into, layout->extremes), into->rows == 0, extremes->min, extremes->max);
    }
    if (layout->sum)
        exact_merge(part(into, layout->sum), part(from, layout->sum));
    if (layout->squares)
        exact_merge(part(into, layout->squares), part(from, layout->squares));
    if (layout->counter && from->rows)
        add_counter(part(into, layout->counter), into->rows == 0, part(from, layout->counter));
    into->rows += from->rows;
}

void accumulator_include(struct accumulator *into, const struct accumulator_layout *layout,
                         const struct accumulator *from)
{
    include_plain(into, layout, from);
    if (layout->sketch && *sketch_of(from, layout)) {
        struct sketch **sketch = sketch_of(into, layout);

        if (*sketch)
            sketch_merge(*sketch, *sketch_of(from, layout));
        else
            *sketch = sketch_copy(*sketch_of(from, layout));
    }
    if (layout->distinct && *distinct_of(from, layout)) {
        struct distinct **distinct = distinct_of(into, layout);

        if (*distinct)
            distinct_merge(*distinct, *distinct_of(from, layout));
        else
            *distinct = distinct_copy(*distinct_of(from, layout));
    }
}

/* What one has and the other lacks changes hands. */
static void swap_pointers(void **a, void **b)
{
    void *swap = *a;

    *a = *b;
    *b = swap;
}

void accumulator_merge(struct accumulator *into, const struct accumulator_layout *layout,
                       struct accumulator *from)
{
    if (layout->sketch && !*sketch_of(into, layout))
        swap_pointers(part(into, layout->sketch), part(from, layout->sketch));
    if (layout->distinct && !*distinct_of(into, layout))
        swap_pointers(part(into, layout->distinct), part(from, layout->distinct));
    accumulator_include(into, layout, from);
    accumulator_free(from, layout);
}

/* 15 digits are what a double always keeps, so 0.1 + 0.2 reads 0.3. They and the powers of ten are exact in
 * doubles, so that the quotient is rounded once, as reading the digits would be. */
double accumulator_round(double value)
{
    static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                           1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                           1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct digits digits;
    char text[32];

    if (!isfinite(value))
        return NAN;
    if (fabs(value) < 1e15 && value == nearbyint(value))
        return value + 0.0; /* no minus zero */
    if (digits_round(value, 15, &digits) && (size_t)digits.places < sizeof powers_of_ten / sizeof(double))
        return copysign((double)digits.number / powers_of_ten[digits.places], value);
    snprintf(text, sizeof text, "%.14e", value);
    return strtod(text, NULL);
}

static double variance(const struct accumulator *accumulator, const struct accumulator_layout *layout,
                       struct double_double sum)
{
    const struct extremes *extremes = part(accumulator, layout->extremes);
    struct double_double squares = exact_total(part(accumulator, layout->squares));
    double rows = (double)accumulator->rows;

    if (accumulator->rows < 2)
        return NAN;
    if (extremes->min == extremes->max)
        return 0;
    struct double_double expected = double_double_over(double_double_times(sum, sum), rows);
    struct double_double scaled = double_double_minus(squares, expected);
    double result = double_double_over(scaled, rows - 1).high;
    return result < 0 ? 0 : result;
}

/* The sketch knows a value within 1 %, the extremes exactly. */
static double percentile(const struct sketch *sketch, const struct extremes *extremes, unsigned percent)
{
    return fmin(fmax(sketch_quantile(sketch, percent), extremes->min), extremes->max);
}

/* A counter only rises; what falls has begun again from 0. NaN: of less than two moments. */
static double rate(const struct counter *counter, const struct extremes *extremes)
{
    double seconds = (double)(counter->last_us - counter->first_us) * 1e-6, increase;

    if (seconds <= 0)
        return NAN;
    if (counter->last >= counter->first && extremes->min >= counter->first)
        increase = counter->last - counter->first;
    else
        increase = counter->last + (extremes->max > counter->last ? extremes->max - counter->first : 0);
    return increase / seconds;
}

static void finish_values(const struct accumulator *accumulator, const struct accumulator_layout *layout,
                          double *values)
{
    uint32_t statistics = layout->statistics;
    double rows = (double)accumulator->rows;

    if (layout->hits)
        values[STAT_RATIO] = (double)*(const uint64_t *)part(accumulator, layout->hits) / rows;
    if (layout->extremes) {
        const struct extremes *extremes = part(accumulator, layout->extremes);

        values[STAT_MIN] = extremes->min;
        values[STAT_MAX] = extremes->max;
        for (size_t i = 0; layout->sketch && i < sizeof percentiles / sizeof percentiles[0]; i++)
            if (statistics & 1u << percentiles[i].statistic)
                values[percentiles[i].statistic] = accumulator_round(
                    percentile(*sketch_of(accumulator, layout), extremes, percentiles[i].percent));
    }
    if (layout->sum) {
        struct double_double sum = exact_total(part(accumulator, layout->sum));

        if (statistics & 1 << STAT_SUM)
            values[STAT_SUM] = accumulator_round(sum.high);
        if (statistics & 1 << STAT_MEAN)
            values[STAT_MEAN] = accumulator_round(double_double_over(sum, rows).high);
        if (layout->squares)
            values[STAT_VARIANCE] = accumulator_round(variance(accumulator, layout, sum));
    }
    if (layout->counter)
        values[STAT_RATE] =
            accumulator_round(rate(part(accumulator, layout->counter), part(accumulator, layout->extremes)));
    if (layout->distinct)
        values[STAT_DISTINCT] = (double)distinct_count(*distinct_of(accumulator, layout));
}

void accumulator_finish(const struct accumulator *accumulator, const struct accumulator_layout *layout,
                        double ret_values[STATISTICS])
{
    double values[STATISTICS];

    for (unsigned i = 0; i < STATISTICS; i++)
        values[i] = NAN;
    values[STAT_COUNT] = (double)accumulator->rows;
    values[STAT_SUM] = values[STAT_DISTINCT] = 0;
    if (accumulator->rows)
        finish_values(accumulator, layout, values);
    for (unsigned i = 0; i < STATISTICS; i++)
        ret_values[i] = layout->statistics & 1u << i ? values[i] : NAN;
}

void accumulator_free(struct accumulator *accumulator, const struct accumulator_layout *layout)
{
    if (layout->sketch)
        sketch_free(*sketch_of(accumulator, layout));
    if (layout->distinct)
        distinct_free(*distinct_of(accumulator, layout));
    memset(accumulator, 0, layout->size);
}

size_t accumulator_bytes(const struct accumulator *accumulator, const struct accumulator_layout *layout)
{
    size_t bytes = layout->size;

    if (layout->sketch && *sketch_of(accumulator, layout))
        bytes += sketch_bytes(*sketch_of(accumulator, layout));
    if (layout->distinct && *distinct_of(accumulator, layout))
        bytes += distinct_bytes(*distinct_of(accumulator, layout));
    return bytes;
}

static unsigned packed_parts(const struct accumulator *accumulator, const struct accumulator_layout *layout)
{
    static const struct exact_sum none;
    unsigned parts = accumulator->rows ? PACKED_ROWS : 0;

    if (layout->hits && *(const uint64_t *)part(accumulator, layout->hits))
        parts |= PACKED_HITS;
    if (layout->extremes) {
        const struct extremes *extremes = part(accumulator, layout->extremes);

        parts |= extremes->min != 0 || extremes->max != 0 ? PACKED_EXTREMES : 0;
    }
    if (layout->sum && memcmp(part(accumulator, layout->sum), &none, sizeof none) != 0)
        parts |= PACKED_SUMS;
    if (layout->squares && memcmp(part(accumulator, layout->squares), &none, sizeof none) != 0)
        parts |= PACKED_SUMS;
    if (layout->sketch && *sketch_of(accumulator, layout))
        parts |= PACKED_SKETCH;
    if (layout->distinct && *distinct_of(accumulator, layout))
        parts |= PACKED_DISTINCT;
    if (layout->counter && accumulator->rows)
        parts |= PACKED_COUNTER;
    return parts;
}

void accumulator_pack(const struct accumulator *accumulator, const struct accumulator_layout *layout,
                      struct buffer *out)
{
    unsigned parts = packed_parts(accumulator, layout);

    pack_u8(out, (uint8_t)parts);
    if (parts & PACKED_ROWS)
        pack_u64(out, accumulator->rows);
    if (parts & PACKED_HITS)
        pack_u64(out, *(const uint64_t *)part(accumulator, layout->hits));
    if (parts & PACKED_EXTREMES) {
        const struct extremes *extremes = part(accumulator, layout->extremes);

        pack_double(out, extremes->min);
        pack_double(out, extremes->max);
    }
    if (parts & PACKED_SUMS) {
        static const struct exact_sum none;

        exact_pack(part(accumulator, layout->sum), out);
        exact_pack(layout->squares ? part(accumulator, layout->squares) : &none, out);
    }
    if (parts & PACKED_SKETCH)
        sketch_pack(*sketch_of(accumulator, layout), out);
    if (parts & PACKED_DISTINCT)
        distinct_pack(*distinct_of(accumulator, layout), out);
    if (parts & PACKED_COUNTER) {
        const struct counter *counter = part(accumulator, layout->counter);

        pack_i64(out, counter->first_us);
        pack_i64(out, counter->last_us);
        pack_double(out, counter->first);
        pack_double(out, counter->last);
    }
}

/* Into an accumulator that has all parts, so that all are read. */
static void unpack_all(struct unpack *in, const struct accumulator_layout *all, struct accumulator *into)
{
    unsigned parts = unpack_u8(in);

    if (parts & PACKED_ROWS)
        into->rows = unpack_u64(in);
    if (parts & PACKED_HITS)
        *(uint64_t *)part(into, all->hits) = unpack_u64(in);
    if (parts & PACKED_EXTREMES) {
        struct extremes *extremes = part(into, all->extremes);

        extremes->min = unpack_double(in);
        extremes->max = unpack_double(in);
    }
    if (parts & PACKED_SUMS) {
        exact_unpack(in, part(into, all->sum));
        exact_unpack(in, part(into, all->squares));
    }
    if (parts & PACKED_SKETCH)
        *sketch_of(into, all) = sketch_unpack(in);
    if (parts & PACKED_DISTINCT)
        *distinct_of(into, all) = distinct_unpack(in);
    if (parts & PACKED_COUNTER) {
        struct counter *counter = part(into, all->counter);

        counter->first_us = unpack_i64(in);
        counter->last_us = unpack_i64(in);
        counter->first = unpack_double(in);
        counter->last = unpack_double(in);
    }
    in->broken |= parts >= PACKED_END;
}

static void move_part(struct accumulator *into, uint8_t place, struct accumulator *from, uint8_t place_from,
                      size_t size)
{
    if (!place)
        return;
    memcpy(part(into, place), part(from, place_from), size);
    memset(part(from, place_from), 0, size);
}

void accumulator_unpack(struct unpack *in, const struct accumulator_layout *layout, struct accumulator *into)
{
    struct accumulator_layout all = accumulator_layout((1u << STATISTICS) - 1);
    struct accumulator read;

    memset(&read, 0, sizeof read);
    unpack_all(in, &all, &read);
    if (layout && read.rows)
        in->broken |=
            (layout->sketch && !*sketch_of(&read, &all)) || (layout->distinct && !*distinct_of(&read, &all));
    if (layout && !in->broken) {
        into->rows = read.rows;
        move_part(into, layout->hits, &read, all.hits, sizeof(uint64_t));
        move_part(into, layout->extremes, &read, all.extremes, sizeof(struct extremes));
        move_part(into, layout->sum, &read, all.sum, sizeof(struct exact_sum));
        move_part(into, layout->squares, &read, all.squares, sizeof(struct exact_sum));
        move_part(into, layout->sketch, &read, all.sketch, sizeof(struct sketch *));
        move_part(into, layout->distinct, &read, all.distinct, sizeof(struct distinct *));
        move_part(into, layout->counter, &read, all.counter, sizeof(struct counter));
    }
    accumulator_free(&read, &all);
}
