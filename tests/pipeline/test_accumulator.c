/* Statistics against exact arithmetic and a sorted copy, and the promise that order does not matter, bit by
 * bit. */
#include "base/hash.h"
#include "base/memory.h"
#include "pipeline/accumulator.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { ROWS_MAX = 5000 };

static struct accumulator_layout all; /* of all statistics */

struct row {
    double value;
    uint64_t hash;
    bool hit;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void add_row(struct accumulator *accumulator, const struct row *row)
{
    accumulator_add(accumulator, &all, row->value, (int64_t)(row->hash % 1000), row->hash, row->hit);
}

static void shuffle(struct row *rows, size_t count, uint64_t *random)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below(random, i);
        struct row swap = rows[i - 1];

        rows[i - 1] = rows[j];
        rows[j] = swap;
    }
}

/* Any way of adding the rows: in random order to random accumulators, merged as a random tree. */
static void finish_any_way(struct row *rows, size_t count, uint64_t *random, double ret_values[STATISTICS])
{
    struct accumulator parts[9] = {0};
    size_t left = 1 + random_below(random, 9);

    shuffle(rows, count, random);
    for (size_t i = 0; i < count; i++)
        add_row(&parts[random_below(random, left)], &rows[i]);
    while (left > 1) {
        size_t from = random_below(random, left), into = (from + 1 + random_below(random, left - 1)) % left;

        accumulator_merge(&parts[into], &all, &parts[from]);
        assert_int_equal(parts[from].rows, 0);
        parts[from] = parts[--left];
    }
    accumulator_finish(&parts[0], &all, ret_values);
    accumulator_free(&parts[0], &all);
}

static void assert_same_bits(const double a[STATISTICS], const double b[STATISTICS])
{
    for (int i = 0; i < STATISTICS; i++)
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0)
            fail_msg("%s is %.17g or %.17g", statistic_names[i], a[i], b[i]);
}

typedef double make_value(uint64_t *random);

static double unit(uint64_t *random)
{
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

static double make_latency(uint64_t *random)
{
    return exp(4 + 2 * (unit(random) + unit(random) + unit(random)));
}

/* What defeats double-double: a deviation 1e-9 of the mean, with all bits of the mantissa in use. */
static double make_epoch(uint64_t *random)
{
    return 1.7e9 + (double)random_below(random, 40000) / 1e4;
}

static double make_any_size(uint64_t *random)
{
    double value = ldexp(unit(random), (int)random_below(random, 900) - 450);

    return random_below(random, 3) == 0 ? -value : value;
}

static double make_few(uint64_t *random)
{
    return (double)random_below(random, 5) - 2;
}

/* Beyond what a square can hold. */
static double make_huge(uint64_t *random)
{
    return ldexp(unit(random), 1000);
}

static double make_signed_zero(uint64_t *random)
{
    return random_below(random, 2) ? 0.0 : -0.0;
}

static void test_order_does_not_matter(void **state)
{
    make_value *const makers[] = {make_latency, make_epoch, make_any_size,
                                  make_few,     make_huge,  make_signed_zero};
    static struct row rows[ROWS_MAX];
    uint64_t random = 1;

    for (size_t m = 0; m < sizeof makers / sizeof *makers; m++) {
        for (int trial = 0; trial < 30; trial++) {
            size_t count = 1 + random_below(&random, trial < 20 ? 300 : ROWS_MAX);
            double first[STATISTICS], again[STATISTICS];

            for (size_t i = 0; i < count; i++) {
                uint64_t text = random_below(&random, trial % 3 == 0 ? 60 : 2000);

                rows[i] = (struct row){.value = makers[m](&random),
                                       .hash = hash_bytes(&text, sizeof text, 0),
                                       .hit = random_below(&random, 4) == 0};
            }
            finish_any_way(rows, count, &random, first);
            for (int repeat = 0; repeat < 4; repeat++) {
                finish_any_way(rows, count, &random, again);
                assert_same_bits(first, again);
            }
        }
    }
}

/* The check above must be able to fail: plain sums do depend on the order. */
static void test_plain_sums_would_differ(void **state)
{
    static struct row rows[1000];
    uint64_t random = 2;
    int different = 0;

    for (int i = 0; i < 1000; i++)
        rows[i].value = make_epoch(&random);
    for (int trial = 0; trial < 20; trial++) {
        double squares[2] = {0};

        for (int pass = 0; pass < 2; pass++) {
            shuffle(rows, 1000, &random);
            for (int i = 0; i < 1000; i++)
                squares[pass] += rows[i].value * rows[i].value;
        }
        different += squares[0] != squares[1];
    }
    assert_true(different > 10);
}

/* Made with Python's fractions: n values base + (i * 7919 % 1000) * step. */
// clang-format off
static const struct {
    double base, step;
    int count;
    double sum, mean, variance;
} exact_cases[] = {
    {293.15, 0.01, 1000, 298145.0, 298.145, 8.34166666666667},
    {1700000000.0, 0.001, 997, 1694900000499.01, 1700000000.50052, 0.0833106233588189},
    {1000000000000000.0, 0.125, 64, 6.4000000000004e+16, 1000000000000060.0, 1388.54538690476},
    {0.1, 0.1, 10, 536.5, 53.65, 791.425},
    {-50000000.0, 1e-05, 500, -24999999997.4975, -49999999.994995, 8.37507523756809e-06},
    {1e-200, 1e-201, 50, 2.4275e-197, 4.855e-199, 0},
};
// clang-format on

static void test_exact_cases(void **state)
{
    for (size_t c = 0; c < sizeof exact_cases / sizeof *exact_cases; c++) {
        struct accumulator accumulator = {0};
        double values[STATISTICS];

        for (int i = 0; i < exact_cases[c].count; i++)
            accumulator_add(&accumulator, &all, exact_cases[c].base + i * 7919 % 1000 * exact_cases[c].step,
                            0, 0, false);
        accumulator_finish(&accumulator, &all, values);
        assert_true(values[STAT_SUM] == exact_cases[c].sum);
        assert_true(values[STAT_MEAN] == exact_cases[c].mean);
        double mean = exact_cases[c].mean,
               tolerance = 2e-15 * exact_cases[c].variance + 0x1p-100 * mean * mean;
        assert_true(fabs(values[STAT_VARIANCE] - exact_cases[c].variance) <= tolerance);
        accumulator_free(&accumulator, &all);
    }
}

/* Multiples of 1/1024: sums are exact in 128-bit integers, and the rest is a sorted copy. */
static void test_against_naive_model(void **state)
{
    const unsigned percents[] = {50, 90, 95, 99};
    static double sorted[ROWS_MAX];
    uint64_t random = 3;

    for (int trial = 0; trial < 200; trial++) {
        size_t count = 1 + random_below(&random, trial < 150 ? 20 : ROWS_MAX);
        struct accumulator accumulator = {0};
        __int128 sum = 0, squares = 0;
        double values[STATISTICS];
        uint64_t hits = 0;

        for (size_t i = 0; i < count; i++) {
            int64_t steps = (int64_t)random_below(&random, 1 << 30) - (trial % 2 ? 1 << 29 : 0);
            bool hit = random_below(&random, 3) == 0;

            sum += steps;
            squares += (__int128)steps * steps;
            hits += hit;
            sorted[i] = (double)steps / 1024;
            accumulator_add(&accumulator, &all, sorted[i], 0, (uint64_t)i % 40, hit);
        }
        qsort(sorted, count, sizeof *sorted, compare_doubles);
        accumulator_finish(&accumulator, &all, values);
        assert_true(values[STAT_COUNT] == (double)count);
        assert_true(values[STAT_MIN] == sorted[0] && values[STAT_MAX] == sorted[count - 1]);
        assert_true(values[STAT_RATIO] == (double)hits / (double)count);
        assert_true(values[STAT_DISTINCT] == (double)(count < 40 ? count : 40));
        long double exact = (long double)sum / 1024;
        assert_true(fabsl(values[STAT_SUM] - exact) <= 6e-15L * fabsl(exact));
        assert_true(fabsl(values[STAT_MEAN] - exact / (long double)count) <=
                    6e-15L * fabsl(exact / (long double)count));
        if (count < 2) {
            assert_true(isnan(values[STAT_VARIANCE]));
        } else {
            __int128 scaled = squares * (__int128)count - sum * sum; /* n (n - 1) variance 2^20 */
            long double variance =
                (long double)scaled / (long double)count / (long double)(count - 1) / 0x1p20L;

            assert_true(fabsl(values[STAT_VARIANCE] - variance) <= 6e-15L * variance);
        }
        for (int p = 0; p < 4; p++) {
            double wanted = sorted[(count - 1) * percents[p] / 100];

            assert_true(fabs(values[STAT_P50 + p] - wanted) <= 0.01000001 * fabs(wanted));
        }
        accumulator_free(&accumulator, &all);
    }
}

static void test_nothing_and_not_asked_for(void **state)
{
    struct accumulator accumulator = {0};
    double values[STATISTICS];

    accumulator_finish(&accumulator, &all, values);
    for (int i = 0; i < STATISTICS; i++) {
        bool zero = i == STAT_COUNT || i == STAT_SUM || i == STAT_DISTINCT;

        assert_true(zero ? values[i] == 0 : isnan(values[i]));
    }
    struct accumulator_layout few = accumulator_layout(1 << STAT_COUNT | 1 << STAT_RATIO);

    accumulator_add(&accumulator, &few, NAN, 0, 0, true);
    accumulator_finish(&accumulator, &few, values);
    assert_true(values[STAT_COUNT] == 1 && values[STAT_RATIO] == 1);
    assert_true(isnan(values[STAT_SUM]) && isnan(values[STAT_MIN]));
    assert_int_equal(accumulator_bytes(&accumulator, &few), 2 * sizeof(uint64_t));
    accumulator_free(&accumulator, &few);
}

static void test_absent_values_are_left_out(void **state)
{
    struct accumulator accumulator = {0};
    double values[STATISTICS];

    accumulator_add(&accumulator, &all, NAN, 0, 1, true);
    accumulator_add(&accumulator, &all, INFINITY, 0, 1, true);
    accumulator_add(&accumulator, &all, 4, 0, 1, true);
    assert_false(accumulator_takes(all.statistics, NAN));
    assert_true(accumulator_takes(1 << STAT_DISTINCT, NAN));
    accumulator_finish(&accumulator, &all, values);
    assert_true(values[STAT_COUNT] == 1 && values[STAT_MEAN] == 4 && isnan(values[STAT_VARIANCE]));
    accumulator_free(&accumulator, &all);
}

/* A counter's samples, one a second, in any order: its increase a second between the first and the last. */
static void test_rate(void **state)
{
    static const struct {
        const char *samples; /* digits, from second 0 on; a blank: none */
        double rate;
    } cases[] = {
        {"", NAN},
        {"5", NAN},
        {"55", 0},
        {"1 35", 4.0 / 3},
        {"   26  8", 6.0 / 4},
        {"6812", (2.0 + 2) / 3}, /* from 8 it begins again: to 8, then to 2 */
        {"9012", 2.0 / 3},       /* it began again at once */
        {"5819", (9.0 + 0) / 3}, /* what came before the reset is hidden by the end */
    };
    struct accumulator_layout layout = accumulator_layout(1 << STAT_RATE);

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (unsigned turn = 0; turn < 8; turn++) {
            struct accumulator parts[2] = {0};
            double values[STATISTICS];
            size_t size = strlen(cases[c].samples);

            for (size_t i = 0; i < size; i++) {
                size_t at = (i * 3 + turn) % size; /* each once: no size is a multiple of 3 */

                if (cases[c].samples[at] != ' ')
                    accumulator_add(&parts[i % 3 == turn % 3], &layout, cases[c].samples[at] - '0',
                                    (int64_t)at * 1000000, 0, false);
            }
            accumulator_merge(&parts[turn % 2], &layout, &parts[1 - turn % 2]);
            accumulator_finish(&parts[turn % 2], &layout, values);
            if (isnan(cases[c].rate))
                assert_true(isnan(values[STAT_RATE]));
            else
                assert_true(fabs(values[STAT_RATE] - cases[c].rate) < 1e-12);
        }
}

static void test_copy_is_deep(void **state)
{
    struct accumulator accumulator = {0}, copy = {0};
    double before[STATISTICS], after[STATISTICS];

    for (uint64_t i = 0; i < 500; i++)
        accumulator_add(&accumulator, &all, (double)i, (int64_t)i, i * 0x9E3779B97F4A7C15u, i % 2);
    accumulator_include(&copy, &all, &accumulator);
    accumulator_finish(&copy, &all, before);
    for (uint64_t i = 0; i < 500; i++)
        accumulator_add(&accumulator, &all, (double)i * 1e6, (int64_t)i, i, true);
    accumulator_free(&accumulator, &all);
    accumulator_finish(&copy, &all, after);
    assert_same_bits(before, after);
    assert_true(accumulator_bytes(&copy, &all) > sizeof copy + DISTINCT_REGISTERS);
    accumulator_free(&copy, &all);
}

static void assert_rounds(double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.14e", value);
    if (accumulator_round(value) != strtod(text, NULL))
        fail_msg("%a rounds to %a", value, accumulator_round(value));
}

/* As printing the digits and reading them does it, also half-way between two, and beside powers of ten. */
static void test_rounding_is_that_of_the_printed_digits(void **state)
{
    uint64_t random = 6;

    for (int trial = 0; trial < 1000000; trial++) {
        uint64_t bits = random_next(&random);
        double value;

        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            assert_rounds(value);
        assert_rounds(ldexp(unit(&random) - 0.5, (int)random_below(&random, 90) - 35));
        assert_rounds(((double)random_below(&random, 1000000000) + 0.5) / 1e6);
        assert_rounds((double)random_below(&random, 1ull << 52) / 8192);
    }
    for (int power = -12; power < 20; power++) {
        double above = pow(10, power), below = above;

        for (int step = 0; step < 2000; step++) {
            assert_rounds(above);
            assert_rounds(-below);
            above = nextafter(above, INFINITY);
            below = nextafter(below, 0);
        }
    }
}

/* Any choice of statistics gives what the choice of all gives of them, merged of pieces that were packed. */
static void test_layouts_agree(void **state)
{
    uint64_t random = 5;

    for (int trial = 0; trial < 300; trial++) {
        struct accumulator_layout few =
            accumulator_layout(1u << STAT_SUM | (uint32_t)random_below(&random, 1 << STATISTICS));
        struct accumulator whole = {0}, merged = {0}, piece = {0}, unpacked = {0};
        double expected[STATISTICS], values[STATISTICS];
        struct buffer bytes;

        buffer_init(&bytes, SIZE_MAX);
        for (size_t rows = random_below(&random, 200); rows > 0; rows--) {
            double value = make_any_size(&random);
            uint64_t hash = random_below(&random, 100);

            accumulator_add(&whole, &all, value, (int64_t)(hash % 7), hash, rows % 3 == 0);
            accumulator_add(&piece, &few, value, (int64_t)(hash % 7), hash, rows % 3 == 0);
            if (random_below(&random, 20) == 0)
                accumulator_merge(&merged, &few, &piece);
        }
        accumulator_include(&merged, &few, &piece);
        accumulator_pack(&merged, &few, &bytes);
        struct unpack in = unpack_begin(buffer_span(&bytes));
        accumulator_unpack(&in, &few, &unpacked);
        assert_true(unpack_ended(&in));
        accumulator_finish(&whole, &all, expected);
        accumulator_finish(&unpacked, &few, values);
        for (int i = 0; i < STATISTICS; i++)
            expected[i] = few.statistics & 1u << i ? expected[i] : NAN;
        assert_same_bits(expected, values);
        assert_true(few.size <= sizeof merged);
        accumulator_free(&whole, &all);
        accumulator_free(&merged, &few);
        accumulator_free(&piece, &few);
        accumulator_free(&unpacked, &few);
        buffer_free(&bytes);
    }
}

static void print_speed(const char *name, uint32_t statistics)
{
    struct accumulator_layout layout = accumulator_layout(statistics);
    enum { ROWS = 2000000, VALUES = 1024 };
    static double values[VALUES];
    struct accumulator accumulator = {0};
    struct timespec begin, end;
    uint64_t random = 4;

    for (int i = 0; i < VALUES; i++)
        values[i] = make_latency(&random);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (uint64_t i = 0; i < ROWS; i++)
        accumulator_add(&accumulator, &layout, values[i % VALUES], (int64_t)i, i * 0x9E3779B97F4A7C15u,
                        i % 8 == 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    print_message("%-22s %6.1f ns per add, %5zu bytes\n", name, ns / ROWS,
                  accumulator_bytes(&accumulator, &layout));
    assert_int_equal(accumulator.rows, ROWS);
    accumulator_free(&accumulator, &layout);
}

static void test_speed_is_printed(void **state)
{
    print_speed("count", 1 << STAT_COUNT);
    print_speed("count, mean", 1 << STAT_COUNT | 1 << STAT_MEAN);
    print_speed("count, mean, variance", 1 << STAT_COUNT | 1 << STAT_MEAN | 1 << STAT_VARIANCE);
    print_speed("p95", 1 << STAT_P95);
    print_speed("distinct", 1 << STAT_DISTINCT);
    print_speed("all", all.statistics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_plain_sums_would_differ),
        cmocka_unit_test(test_exact_cases),
        cmocka_unit_test(test_against_naive_model),
        cmocka_unit_test(test_nothing_and_not_asked_for),
        cmocka_unit_test(test_absent_values_are_left_out),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_copy_is_deep),
        cmocka_unit_test(test_rounding_is_that_of_the_printed_digits),
        cmocka_unit_test(test_layouts_agree),
        cmocka_unit_test(test_speed_is_printed),
    };

    all = accumulator_layout((1u << STATISTICS) - 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
