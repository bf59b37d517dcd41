/* As ewma while nothing stands out; a spike does not hide the next. */
#include "tests/detectors/support.h"

enum { HISTORY = 300 };

static void test_equals_ewma_without_outliers(void **state)
{
    struct subject robust = subject_new("zscore"), plain = subject_new("ewma");
    struct opinion left[HISTORY], right[HISTORY];
    double values[HISTORY];
    uint64_t seed = 31;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = 10 + ((i & 1) ? 1 : -1) * (1 + 0.3 * noise(&seed));
    subject_set(robust, "half_life", "30m");
    subject_set(plain, "half_life", "30m");
    subject_run(robust, values, HISTORY, left);
    subject_run(plain, values, HISTORY, right);
    for (unsigned i = 0; i < HISTORY; i++) {
        assert_close(left[i].residual, right[i].residual, 0);
        assert_close(left[i].high, right[i].high, 0);
    }
    assert_true(fabs(left[10].residual) < 3);
}

static void test_spike_does_not_blind(void **state)
{
    struct subject robust = subject_new("zscore"), plain = subject_new("ewma");
    struct opinion left[HISTORY], right[HISTORY];
    double values[HISTORY];

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = i == 200 ? 10000 : i == 203 ? 30 : (i & 1) ? 11 : 9;
    subject_set(robust, "half_life", "1h");
    subject_set(plain, "half_life", "1h");
    subject_run(robust, values, HISTORY, left);
    subject_run(plain, values, HISTORY, right);
    assert_near(left[200].residual, 38, 0);
    assert_true(left[203].residual > 15);
    assert_true(fabs(right[203].residual) < 1);
}

/* The clipped update by hand: eight values of standard deviation s around 10, then one beyond 3 s. */
static void test_clipped_update_by_hand(void **state)
{
    static const double values[] = {9, 11, 9, 11, 9, 11, 9, 11, 500, 10};
    struct subject subject = subject_new("zscore");
    struct opinion opinions[10];
    double weight = 0, squares = 0, sum = 0, deviation = 0, taken[9], mean, sd, a = pow(0.5, 1 / 1000.0);

    subject_set(subject, "half_life", "1000m");
    subject_run(subject, values, 10, opinions);
    for (unsigned i = 0; i < 9; i++)
        taken[i] = values[i];
    taken[8] = opinions[8].high; /* the band ends at 3 standard deviations */
    for (unsigned i = 0; i < 9; i++) {
        weight += pow(a, 8 - i);
        squares += pow(a, 2 * (8 - i));
        sum += pow(a, 8 - i) * taken[i];
    }
    mean = sum / weight;
    for (unsigned i = 0; i < 9; i++)
        deviation += pow(a, 8 - i) * pow(taken[i] - mean, 2);
    sd = sqrt(deviation / (weight - squares / weight));
    assert_near(opinions[8].residual, 38, 0);
    assert_near(opinions[9].residual, (10 - mean) / sd, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_ewma_without_outliers),
        cmocka_unit_test(test_spike_does_not_blind),
        cmocka_unit_test(test_clipped_update_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
