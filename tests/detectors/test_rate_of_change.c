/* Change against the value one window ago, in standard deviations of past changes. */
#include "tests/detectors/support.h"

enum { HISTORY = 200 };

static void test_by_hand(void **state)
{
    /* changes 1 2 1 2 1 2 1 2, then 5 */
    static const double values[] = {0, 1, 3, 4, 6, 7, 9, 10, 12, 17};
    struct subject subject = subject_new("rate_of_change");
    struct opinion opinions[10];
    double a = pow(0.5, 1 / 1000.0), weight = 0, squares = 0, mean = 0, variance = 0;

    for (unsigned i = 0; i < 8; i++) {
        weight += pow(a, 7 - i);
        squares += pow(a, 2 * (7 - i));
        mean += pow(a, 7 - i) * (1 + i % 2);
    }
    mean /= weight;
    for (unsigned i = 0; i < 8; i++)
        variance += pow(a, 7 - i) * pow(1 + i % 2 - mean, 2);
    variance /= weight - squares / weight;
    subject_set(subject, "half_life", "1000m");
    subject_run(subject, values, 10, opinions);
    assert_true(isnan(opinions[0].residual) && isnan(opinions[5].residual));
    assert_near(opinions[9].residual, (5 - mean) / sqrt(variance), 1e-9);
    assert_near(opinions[9].low, 12 + mean - 3 * sqrt(variance), 1e-9);
}

/* A straight line has changes of one size: on it the residual is 0, whatever its slope. */
static void test_trend_is_no_news(void **state)
{
    struct subject subject = subject_new("rate_of_change");
    struct opinion opinions[HISTORY];
    double values[HISTORY];

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = 3.0 * i + (i >= 150 ? 40 : 0);
    subject_set(subject, "window", "6m");
    subject_run(subject, values, HISTORY, opinions);
    assert_near(opinions[149].residual, 0, 1e-6);
    assert_near(opinions[150].residual, 38, 0);
    assert_near(opinions[150].high, values[144] + 18, 1e-3);
}

/* Only every other bucket has a value, and the lag is odd: the reference is the latest value at least a lag
 * old, four buckets back. */
static void test_reference_is_the_latest_known(void **state)
{
    struct subject subject = subject_new("rate_of_change");
    struct opinion opinions[HISTORY];
    double values[HISTORY];

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = i % 2 ? (double)NAN : (double)i + (i >= 150 ? 40 : 0);
    subject_set(subject, "window", "3m");
    subject_run(subject, values, HISTORY, opinions);
    assert_near(opinions[148].residual, 0, 1e-6);
    assert_true(isnan(opinions[149].residual));
    assert_near(opinions[150].residual, 38, 0);
    assert_near(opinions[150].high, 146 + 4, 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_trend_is_no_news),
        cmocka_unit_test(test_reference_is_the_latest_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
