/* The trend's way to a limit. */
#include "tests/detectors/support.h"

#include <gsl/gsl_fit.h>

enum { HISTORY = 400 };

struct fit {
    double c0, c1, cov00, cov01, cov11;
};

/* Of values[0..count), weighted by age, at times 0, 1, 2 ... */
static struct fit naive_fit(const double *values, unsigned count, double factor)
{
    double times[HISTORY], weights[HISTORY], chisq;
    struct fit fit;

    for (unsigned i = 0; i < count; i++) {
        times[i] = i;
        weights[i] = pow(factor, count - 1 - i);
    }
    gsl_fit_wlinear(times, 1, weights, 1, values, 1, count, &fit.c0, &fit.c1, &fit.cov00, &fit.cov01,
                    &fit.cov11, &chisq);
    return fit;
}

/* GSL's weighted least squares give the line and its covariance; the errors of the line's word for each next
 * bucket give the scale, and how they hang together. */
static void test_by_hand(void **state)
{
    enum { COUNT = 80, AHEAD = 30 };
    struct subject subject = subject_new("forecast");
    struct opinion opinions[COUNT];
    double values[COUNT], f = pow(0.5, 1 / 20.0), mean = 0, weight = 0, weight_squares = 0, squares = 0,
                          products = 0, last = 0, wave = 0;
    uint64_t seed = 12;

    for (unsigned i = 0; i < COUNT; i++) {
        wave = 0.6 * wave + noise(&seed);
        values[i] = 50 + 0.5 * i + wave;
    }
    subject_set(subject, "above", "103");
    subject_set(subject, "within", "30m");
    subject_set(subject, "half_life", "20m");
    subject_run(subject, values, COUNT, opinions);
    for (unsigned i = 2; i < COUNT; i++) {
        struct fit before = naive_fit(values, i, f);
        double error = values[i] - (before.c0 + before.c1 * i), distance = error - mean;

        products = products * f + last * distance;
        last = distance;
        weight = weight * f + 1;
        weight_squares = weight_squares * f * f + 1;
        mean += distance / weight;
        squares = squares * f + distance * (error - mean);
    }
    struct fit fit = naive_fit(values, COUNT, f);
    double then = COUNT - 1 + AHEAD, share = fmax(products / squares, 0);
    double variance = squares / (weight - weight_squares / weight) * (1 + share) / (1 - share) *
                      (fit.cov00 + 2 * then * fit.cov01 + then * then * fit.cov11);
    double residual = (fit.c0 + fit.c1 * then - 103) / sqrt(variance);

    assert_true(residual > 0.5 && share > 0);
    assert_near(opinions[COUNT - 1].residual, residual, 1e-6);
    assert_near((double)opinions[COUNT - 1].due_us / MINUTE_US, (103 - fit.c0) / fit.c1 - (COUNT - 1), 1e-5);
}

/* One a minute up to 90 in the 90th minute: half an hour ahead from the 60th on, told to the minute; beyond
 * the limit the alert stays. */
static void test_disk_fills(void **state)
{
    struct subject subject = subject_new("forecast");
    struct opinion opinions[120];
    double values[120];
    uint64_t seed = 2;

    for (unsigned i = 0; i < 120; i++)
        values[i] = i + 0.01 * noise(&seed);
    subject_set(subject, "above", "90");
    subject_set(subject, "within", "30m");
    subject_run(subject, values, 120, opinions);
    assert_true(isnan(opinions[5].residual));
    for (unsigned i = 9; i < 120; i++) {
        if (i < 60)
            assert_near(opinions[i].residual, 0, 1);
        else if (i > 60)
            assert_true(opinions[i].residual > 10);
        if (i > 60 && i < 90)
            assert_near((double)opinions[i].due_us / MINUTE_US, 90 - i, 0.1);
        if (i > 90)
            assert_near(opinions[i].residual, 38, 0);
        assert_true(opinions[i].certain || i < 8);
    }
}

/* Down to a limit; and a series that wanders without aim gives no warning, near as the limit is. */
static void test_below_and_wandering(void **state)
{
    struct subject falling = subject_new("forecast"), wandering = subject_new("forecast");
    struct opinion opinions[HISTORY];
    double values[HISTORY], wave = 0;
    uint64_t seed = 9;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = 1000 - 2.0 * i;
    subject_set(falling, "below", "100");
    subject_set(falling, "within", "60m");
    subject_run(falling, values, HISTORY, opinions);
    assert_near(opinions[380].residual, 0, 0);
    assert_near(opinions[395].residual, -38, 0);
    assert_near((double)opinions[395].due_us / MINUTE_US, 55, 1e-3);
    for (unsigned i = 0; i < HISTORY; i++) {
        wave = 0.9 * wave + noise(&seed);
        values[i] = wave;
    }
    subject_set(wandering, "above", "6");
    subject_set(wandering, "below", "-6");
    subject_set(wandering, "within", "30m");
    subject_run(wandering, values, HISTORY, opinions);
    for (unsigned i = 0; i < HISTORY; i++)
        assert_true(isnan(opinions[i].residual) || fabs(opinions[i].residual) < 3.9);
}

/* One wild value turns no line. */
static void test_spike(void **state)
{
    struct subject subject = subject_new("forecast");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    uint64_t seed = 4;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = noise(&seed) - (i == 300 ? 1e5 : 0);
    subject_set(subject, "above", "30");
    subject_set(subject, "within", "60m");
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = 60; i < HISTORY; i++)
        assert_near(opinions[i].residual, 0, 0);
}

static void test_refused(void **state)
{
    struct subject subject = subject_new("forecast");

    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US), 0); /* no limit */
    subject_set(subject, "above", "1");
    subject_set(subject, "below", "1");
    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US), 0);
    subject_set(subject, "below", "0");
    assert_true(subject.type->state_size(subject.settings, MINUTE_US) > 0);
    subject_set(subject, "within", "59s");
    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US), 0);
    subject_free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_disk_fills),
        cmocka_unit_test(test_below_and_wandering),
        cmocka_unit_test(test_spike),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
