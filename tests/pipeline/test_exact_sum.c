/* Exact sums against 128-bit integers and against what must cancel. */
#include "pipeline/exact_sum.h"
#include "tests/base/random.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static double sum_of(const double *values, int count)
{
    struct exact_sum sum = {0};

    for (int i = 0; i < count; i++)
        exact_add(&sum, values[i]);
    return exact_total(&sum).high;
}

static void test_single_values_come_back(void **state)
{
    const double values[] = {0,       1,        -1,      0.1,          -1e300,          1e-300,
                             DBL_MAX, -DBL_MAX, DBL_MIN, DBL_TRUE_MIN, 3 * DBL_TRUE_MIN};
    uint64_t random = 1;

    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_true(sum_of(&values[i], 1) == values[i]);
    for (int i = 0; i < 100000; i++) {
        double value = ldexp((double)(int64_t)random_next(&random), (int)random_below(&random, 1900) - 1100);

        if (isfinite(value))
            assert_true(sum_of(&value, 1) == value);
    }
}

static void test_terms_cancel(void **state)
{
    const double wide[] = {1e20, 1, -1e20}, exact[] = {0x1p100, 1, -0x1p100}, lost[] = {1e300, 1, -1e300};
    const double nothing[] = {0.1, 0.2, -0.2, -0.1};

    assert_true(sum_of(wide, 3) == 1);
    assert_true(sum_of(exact, 3) == 1);
    assert_true(sum_of(lost, 3) == 0); /* 996 binary places apart: beyond the window, in any order */
    assert_true(sum_of(nothing, 4) == 0);
}

static void test_against_integers(void **state)
{
    uint64_t random = 2;

    for (int trial = 0; trial < 500; trial++) {
        struct exact_sum parts[3] = {0};
        __int128 sum = 0, squares = 0;
        struct exact_sum square_sum = {0};

        for (int i = 0; i < 200; i++) {
            int64_t value = (int64_t)(random_next(&random) >> (12 + random_below(&random, 40)));

            value = random_below(&random, 2) ? value : -value;
            sum += value;
            squares += (__int128)value * value;
            exact_add(&parts[random_below(&random, 3)], (double)value);
            exact_add_square(&square_sum, (double)value);
        }
        exact_merge(&parts[1], &parts[2]);
        exact_merge(&parts[0], &parts[1]);
        assert_true(exact_total(&parts[0]).high == (double)sum);
        struct double_double total = exact_total(&square_sum);
        assert_true((__int128)total.high + (__int128)total.low == squares);
    }
}

static void test_overflow_of_a_square(void **state)
{
    struct exact_sum a = {0}, b = {0};

    exact_add_square(&a, 1e200);
    exact_add_square(&b, 2);
    exact_merge(&b, &a);
    assert_true(isnan(exact_total(&b).high));
}

static void test_arithmetic(void **state)
{
    struct double_double third = double_double_over((struct double_double){.high = 1}, 3);
    struct double_double ninth = double_double_times(third, third);

    /* 1/3 and 1/9 to twice the digits of a double */
    assert_true(third.high == 1.0 / 3 && fabs(third.low - 0x1.5555555555555p-56) < 0x1p-106);
    struct double_double rest = double_double_minus(
        double_double_times(ninth, (struct double_double){.high = 9}), (struct double_double){.high = 1});
    assert_true(fabs(rest.high) < 0x1p-101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_values_come_back),
        cmocka_unit_test(test_terms_cancel),
        cmocka_unit_test(test_against_integers),
        cmocka_unit_test(test_overflow_of_a_square),
        cmocka_unit_test(test_arithmetic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
