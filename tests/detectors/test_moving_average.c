/* Mean and standard deviation of the window before the value. */
#include "tests/detectors/support.h"

enum { HISTORY = 400, WINDOW = 12 };

static void test_by_hand(void **state)
{
    static const double values[] = {1, 2, 3, 4, 5, 6};
    struct subject subject = subject_new("moving_average");
    struct opinion opinions[6];

    subject_set(subject, "window", "5m");
    subject_run(subject, values, 6, opinions);
    for (unsigned i = 0; i < 5; i++)
        assert_true(isnan(opinions[i].residual) && isnan(opinions[i].low));
    /* mean 3, standard deviation sqrt(10 / 4) */
    assert_near(opinions[5].residual, 3 / sqrt(2.5), 1e-12);
    assert_near(opinions[5].low, 3 - 3 * sqrt(2.5), 1e-12);
    assert_near(opinions[5].high, 3 + 3 * sqrt(2.5), 1e-12);
}

static void test_against_history(void **state)
{
    struct subject subject = subject_new("moving_average");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    uint64_t seed = 21;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = noise(&seed) > 0.9 ? NAN : 50 + 20 * noise(&seed);
    subject_set(subject, "window", "12m");
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = WINDOW; i < HISTORY; i++) {
        double sum = 0, squares = 0, mean, sd;
        unsigned count = 0;

        for (unsigned j = i - WINDOW; j < i; j++)
            if (!isnan(values[j])) {
                sum += values[j];
                count++;
            }
        mean = sum / count;
        for (unsigned j = i - WINDOW; j < i; j++)
            squares += isnan(values[j]) ? 0 : pow(values[j] - mean, 2);
        sd = sqrt(squares / (count - 1));
        assert_close(opinions[i].residual, isnan(values[i]) ? NAN : (values[i] - mean) / sd, 1e-9);
    }
}

/* A spike must be gone from the statistics once it has left the window. */
static void test_spike_leaves_no_trace(void **state)
{
    struct subject subject = subject_new("moving_average");
    struct opinion opinions[60];
    double values[60];

    for (unsigned i = 0; i < 60; i++)
        values[i] = i == 20 ? 1e12 : 7;
    subject_set(subject, "window", "10m");
    subject_run(subject, values, 60, opinions);
    assert_near(opinions[20].residual, 38, 0);
    assert_true(opinions[30].high > 1e11);
    assert_near(opinions[31].residual, 0, 0);
    assert_near(opinions[31].high, 7 + 3 * 7e-9, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_against_history),
        cmocka_unit_test(test_spike_leaves_no_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
