/* Quantiles against a sorted copy, also when buckets have collapsed. */
#include "pipeline/sketch.h"
#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VALUES = 20000 };

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double value_of_any_size(uint64_t *random)
{
    return ldexp((double)(1 + random_below(random, 1u << 20)), (int)random_below(random, 600) - 300);
}

static bool equal_sides(const struct sketch_side *a, const struct sketch_side *b)
{
    return a->used == b->used && a->count == b->count &&
           (a->used == 0 || memcmp(a->buckets, b->buckets, a->used * sizeof *a->buckets) == 0);
}

static void test_every_percentile(void **state)
{
    static double values[VALUES];
    struct sketch *sketch = sketch_new();
    uint64_t random = 1;

    for (int i = 0; i < VALUES; i++) {
        values[i] =
            i % 10 == 0 ? 0 : exp((double)random_below(&random, 1u << 20) / (1u << 17)) * (i % 3 ? 1 : -1);
        sketch_add(sketch, values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare_doubles);
    for (unsigned percent = 0; percent <= 100; percent++) {
        double wanted = values[(VALUES - 1) * percent / 100];

        assert_true(fabs(sketch_quantile(sketch, percent) - wanted) <= 0.01000001 * fabs(wanted));
    }
    sketch_free(sketch);
}

static void test_collapse_is_the_same_in_any_order(void **state)
{
    static double values[VALUES];
    struct sketch *forward = sketch_new(), *merged = sketch_new(), *part = sketch_new();
    uint64_t random = 2;

    for (int i = 0; i < VALUES; i++) {
        values[i] = value_of_any_size(&random) * (i % 2 ? 1 : -1);
        sketch_add(forward, values[i]);
    }
    for (int i = VALUES; i-- > 0;)
        sketch_add(random_below(&random, 2) ? merged : part, values[i]);
    sketch_merge(merged, part);
    assert_false(isnan(sketch_quantile(forward, 0)) || isnan(sketch_quantile(merged, 0))); /* none waits */
    assert_true(forward->collapsed > 0);
    assert_int_equal(forward->positive.used, SKETCH_SIDE_MAX);
    assert_true(equal_sides(&forward->positive, &merged->positive));
    assert_true(equal_sides(&forward->negative, &merged->negative));

    /* What is left of the accuracy: the large values. */
    qsort(values, VALUES, sizeof *values, compare_doubles);
    double wanted = values[(VALUES - 1) * 99 / 100];
    assert_true(fabs(sketch_quantile(forward, 99) - wanted) <= 0.01000001 * wanted);
    sketch_free(forward);
    sketch_free(merged);
    sketch_free(part);
}

static void test_extremes_of_doubles(void **state)
{
    struct sketch *sketch = sketch_new();

    assert_true(isnan(sketch_quantile(sketch, 50)));
    sketch_add(sketch, 5e-324);
    sketch_add(sketch, 1.7e308);
    sketch_add(sketch, -1.7e308);
    assert_true(fabs(sketch_quantile(sketch, 0) / -1.7e308 - 1) < 0.0101);
    assert_true(sketch_quantile(sketch, 50) >= 0 && sketch_quantile(sketch, 50) < 1e-323);
    assert_true(fabs(sketch_quantile(sketch, 100) / 1.7e308 - 1) < 0.0101);
    sketch_free(sketch);
}

static void test_full_count_stays(void **state)
{
    struct sketch *sketch = sketch_new();

    sketch_add(sketch, 1);
    assert_true(fabs(sketch_quantile(sketch, 100) - 1) <= 0.01);
    sketch->positive.buckets[0].count = UINT32_MAX;
    sketch->positive.count = (uint64_t)UINT32_MAX + 10;
    sketch_add(sketch, 1);
    assert_true(fabs(sketch_quantile(sketch, 100) - 1) <= 0.01);
    assert_int_equal(sketch->positive.buckets[0].count, UINT32_MAX);
    sketch_free(sketch);
}

static void test_copy(void **state)
{
    struct sketch *sketch = sketch_new();

    for (int i = -100; i <= 100; i++)
        sketch_add(sketch, i);
    struct sketch *copy = sketch_copy(sketch);
    assert_true(sketch_quantile(sketch, 25) == sketch_quantile(copy, 25));
    assert_true(equal_sides(&sketch->positive, &copy->positive));
    assert_true(equal_sides(&sketch->negative, &copy->negative));
    assert_int_equal(copy->zeros, 1);
    assert_true(sketch_bytes(copy) >= sizeof *copy + 140 * sizeof(struct sketch_bucket));
    sketch_free(sketch);
    assert_true(fabs(sketch_quantile(copy, 75) - 50) <= 0.5);
    sketch_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_percentile),
        cmocka_unit_test(test_collapse_is_the_same_in_any_order),
        cmocka_unit_test(test_extremes_of_doubles),
        cmocka_unit_test(test_full_count_stays),
        cmocka_unit_test(test_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
