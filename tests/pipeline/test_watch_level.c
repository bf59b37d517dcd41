/* The tests that signals share: by hand, and how often they are wrong on values drawn by chance. */
#include "pipeline/watch_level.h"
#include "tests/base/random.h"
#include "tests/pipeline/support.h"

#include <math.h>

enum { SECOND = 1000000, SERIES = 200, VALUES = 500 };

static const int64_t begin_us = 1795252620000000;

static double uniform(uint64_t *random)
{
    return ((double)random_below(random, 1000000) + .5) / 1e6;
}

static double normal(uint64_t *random)
{
    return sqrt(-2 * log(uniform(random))) * cos(2 * M_PI * uniform(random));
}

/* Of five equal values the mean is exact; the spread is what two values of the prior leave: sqrt(2/7 of it),
 * and a sixth more for the mean's own error. The sum of one value is not enough below 4.5 of these. */
static void test_limit(void **state)
{
    struct watch_level level = {0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_false(watch_level_known(&level));
        assert_int_equal(watch_level_add(&level, .2, 4, begin_us + i * (int64_t)3600 * SECOND), 0);
    }
    assert_true(watch_level_known(&level));
    assert_true(fabs(watch_level_usual(&level) - 4) < 1e-9);
    double spread = sqrt(.2 * 2 / 7 * 1.2), far = 4 * exp(4.5 * spread);
    assert_true(fabs(watch_level_limit(&level, .2) - far) < 1e-6);
    assert_int_equal(watch_level_add(&level, .2, far * .5, begin_us + 20 * (int64_t)3600 * SECOND), 0);
    assert_int_equal(watch_level_add(&level, .2, 1000, begin_us + 21 * (int64_t)3600 * SECOND), 1);
}

/* Values drawn from one distribution, one a minute: at most one series in a hundred days is told, or so. */
static void test_wrong_alarms(void **state)
{
    unsigned told = 0;

    (void)state;
    for (uint64_t s = 1; s <= SERIES; s++) {
        struct watch_level level = {0};
        uint64_t random = s * 7919;

        for (int i = 0; i < VALUES; i++)
            told += watch_level_add(&level, .2, exp(2 + .4 * normal(&random)),
                                    begin_us + i * (int64_t)60 * SECOND) != 0;
    }
    assert_in_range(told, 0, 35); /* 69 days of one task, and an alarm lasts a few values */
}

/* Twice as long as usual is told within some values, and is the new usual after more. */
static void test_new_level(void **state)
{
    struct watch_level level = {0};
    uint64_t random = 11;
    int first = -1, last = -1;

    (void)state;
    for (int i = 0; i < 200; i++) {
        double value = exp((i < 60 ? 1 : 2.2) + .2 * normal(&random));

        if (watch_level_add(&level, .2, value, begin_us + i * (int64_t)60 * SECOND) > 0) {
            first = first < 0 ? i : first;
            last = i;
        }
    }
    assert_in_range(first, 60, 64);
    assert_in_range(last, first, first + 20);
    assert_true(fabs(log(watch_level_usual(&level)) - 2.2) < .2);
}

/* Values within seconds are one step: a busy minute is not taken for a change. */
static void test_block(void **state)
{
    struct watch_level one = {0}, many = {0};

    (void)state;
    for (int i = 0; i < 40; i++) {
        watch_level_add(&one, .2, 4 + i % 2, begin_us + i * (int64_t)60 * SECOND);
        watch_level_add(&many, .2, 4 + i % 2, begin_us + i * (int64_t)60 * SECOND);
    }
    for (int i = 0; i < 30; i++) /* begin_us is the beginning of a block */
        assert_int_equal(watch_level_add(&many, .2, 6.5, begin_us + 3600 * (int64_t)SECOND + i * 1000), 0);
    int told = 0;
    for (int i = 0; i < 30; i++)
        told |= watch_level_add(&one, .2, 6.5, begin_us + (60 + i) * (int64_t)60 * SECOND);
    assert_int_equal(told, 1);
}

/* Three in a row of a task that fails one time in fifty, but not one now and then. */
static void test_rate(void **state)
{
    struct watch_rate rate = {0};
    int64_t at_us = begin_us;

    (void)state;
    for (int i = 0; i < 500; i++, at_us += 60 * SECOND)
        assert_false(watch_rate_add(&rate, i % 50 == 25, .01, at_us));
    assert_true(fabs(watch_rate_usual(&rate, .01) - .02) < .002);
    assert_false(watch_rate_add(&rate, true, .01, at_us += 60 * SECOND));
    assert_false(watch_rate_add(&rate, true, .01, at_us += 60 * SECOND));
    assert_true(watch_rate_add(&rate, true, .01, at_us += 60 * SECOND));
    for (int i = 0; i < 30; i++)
        watch_rate_add(&rate, false, .01, at_us += 60 * SECOND);
    assert_true(rate.sum == 0);
    assert_true(watch_rate_usual(&rate, .01) < .03); /* of what was told of little is learned */
}

static uint32_t poisson(uint64_t *random, double mean)
{
    double limit = exp(-mean), product = 1;
    uint32_t count = 0;

    while ((product *= uniform(random)) > limit)
        count++;
    return count;
}

static void test_flow(void **state)
{
    unsigned wrong = 0, surges = 0, drops = 0;

    (void)state;
    for (uint64_t s = 1; s <= 100; s++) {
        struct watch_flow usual = {0}, surge = {0}, drop = {0};
        uint64_t random = s * 104729;
        bool told = false, up = false, down = false;

        for (int i = 0; i < 360; i++) { /* an hour */
            int64_t at_us = begin_us + i * (int64_t)WATCH_BUCKET_US;

            told |= watch_flow_add(&usual, poisson(&random, 8), at_us) != 0;
            up |= watch_flow_add(&surge, poisson(&random, i < 180 ? 8 : 24), at_us) > 0 && i < 200;
            down |= watch_flow_add(&drop, poisson(&random, i < 180 ? 8 : 3), at_us) < 0 && i < 200;
        }
        wrong += told;
        surges += up;
        drops += down;
    }
    assert_in_range(wrong, 0, 6);
    assert_int_equal(surges, 100);
    assert_in_range(drops, 98, 100);
}

/* When nothing comes any more it is told at the time that was foretold, not before. */
static void test_flow_due(void **state)
{
    struct watch_flow flow = {0};
    int64_t at_us = begin_us;

    (void)state;
    for (int i = 0; i < 100; i++, at_us += WATCH_BUCKET_US)
        watch_flow_add(&flow, 5, at_us);
    int64_t due_us = watch_flow_due(&flow);
    struct watch_flow before = flow, then = flow;
    assert_in_range(due_us - at_us, 0, 20 * (int64_t)WATCH_BUCKET_US);
    assert_int_equal(watch_flow_add(&then, 0, due_us), -1);
    assert_int_equal(watch_flow_add(&before, 0, due_us - 2 * (int64_t)WATCH_BUCKET_US), 0);
}

/* Whatever comes, the state stays sound. */
static void test_any_value(void **state)
{
    static const double values[] = {0, 1e-300, 1e300, INFINITY, 1, 1e9, NAN};
    struct watch_level level = {0};

    (void)state;
    for (int i = 0; i < 700; i++)
        watch_level_add(&level, .2, values[i % 7], i % 3 ? begin_us : begin_us * i);
    assert_true(watch_level_sound(&level));
    assert_true(isfinite(watch_level_limit(&level, .2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),     cmocka_unit_test(test_wrong_alarms),
        cmocka_unit_test(test_new_level), cmocka_unit_test(test_block),
        cmocka_unit_test(test_rate),      cmocka_unit_test(test_flow),
        cmocka_unit_test(test_flow_due),  cmocka_unit_test(test_any_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
