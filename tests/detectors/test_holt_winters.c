/* Level, trend and season by exponential smoothing with clipped errors. */
#include "tests/detectors/support.h"

enum { HISTORY = 200 };

static double gain(double half_life)
{
    return 1 - pow(0.5, 1 / half_life);
}

/* The model written out for a season of 5 minutes: the first five values are heard (level their running
 * mean), then the season stands around their mean. */
static double naive_forecast(const double *values, unsigned count, double *ret_scale)
{
    double season[5], level = values[0], trend = 0, mean = 0, weight = 0, squares = 0, sum = 0, error[32];
    double alpha = gain(4), beta = gain(1000), gamma = gain(2);

    for (unsigned i = 1; i < count; i++) {
        double slot = i < 5 ? 0 : season[i % 5], share = fmax(alpha, 1 / (i + 1.0));

        error[i] = values[i] - (level + trend + slot);
        level += trend + share * error[i];
        trend += alpha * beta * error[i];
        if (i >= 5)
            season[i % 5] += gamma * (1 - alpha) * error[i];
        if (i == 4) {
            level = (values[0] + values[1] + values[2] + values[3] + values[4]) / 5;
            for (unsigned j = 0; j < 5; j++)
                season[j] = values[j] - level;
        }
    }
    for (unsigned i = 1; i < count; i++) {
        double w = pow(0.5, (count - 1 - i) / 1000.0);

        mean += w * error[i];
        weight += w;
        squares += w * w;
    }
    mean /= weight;
    for (unsigned i = 1; i < count; i++)
        sum += pow(0.5, (count - 1 - i) / 1000.0) * pow(error[i] - mean, 2);
    *ret_scale = sqrt(sum / (weight - squares / weight));
    return level + trend + (count < 5 ? 0 : season[count % 5]);
}

static void test_by_hand(void **state)
{
    static const double values[] = {1, 2, 3, 4, 10, 2, 3, 4, 5, 11, 2, 1, 6, 4, 9};
    enum { COUNT = sizeof values / sizeof *values };
    struct subject subject = subject_new("holt_winters");
    struct opinion opinions[COUNT];

    subject_set(subject, "season", "5m");
    subject_set(subject, "level_half_life", "4m");
    subject_set(subject, "half_life", "1000m");
    subject_set(subject, "season_half_life", "10m");
    subject_run(subject, values, COUNT, opinions);
    assert_true(isnan(opinions[5].residual));
    for (unsigned i = 7; i < COUNT; i++) {
        double scale, expected = naive_forecast(values, i, &scale);

        assert_near((opinions[i].low + opinions[i].high) / 2, expected, 1e-12);
        assert_near(opinions[i].residual, (values[i] - expected) / scale, 1e-9);
    }
}

/* A season on a rising line: the forecast follows both, a spike stands out, and the same place one season
 * later is expected as if the spike had not been. */
static void test_season_and_trend(void **state)
{
    struct subject subject = subject_new("holt_winters");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    uint64_t seed = 3;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = 100 + 0.5 * i + (i % 10 == 7 ? 40 : 0) + 0.1 * noise(&seed) + (i == 150 ? 300 : 0);
    subject_set(subject, "season", "10m");
    subject_set(subject, "level_half_life", "3m");
    subject_set(subject, "half_life", "30m");
    subject_run(subject, values, HISTORY, opinions);
    assert_near(opinions[150].residual, 38, 0);
    assert_true(opinions[147].residual < 4 && opinions[157].residual < 4);
    assert_near((opinions[160].low + opinions[160].high) / 2, values[160], 3);
}

/* Days that do not divide into the buckets are no season; what was asked for is refused then. */
static void test_refused(void **state)
{
    struct subject subject = subject_new("holt_winters");
    size_t without = subject.type->state_size(subject.settings, 7 * MINUTE_US);

    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US) - without, 1440 * 8);
    subject_set(subject, "season", "1d");
    assert_int_equal(subject.type->state_size(subject.settings, 7 * MINUTE_US), 0);
    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US / 3), 0);      /* 4320 buckets */
    assert_int_equal(subject.type->state_size(subject.settings, 6 * 60 * MINUTE_US), 0); /* 4 buckets */
    assert_int_equal(subject.type->state_size(subject.settings, MINUTE_US), without + 1440 * 8);
    subject_free(subject);
}

/* A place of the season that was never seen gives no opinion at first, then one like the others. */
static void test_unknown_place(void **state)
{
    struct subject subject = subject_new("holt_winters");
    struct opinion opinions[HISTORY];
    double values[HISTORY];

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = i % 10 == 3 && i < 40 ? (double)NAN : (double)(i % 10);
    subject_set(subject, "season", "10m");
    subject_run(subject, values, HISTORY, opinions);
    assert_true(isnan(opinions[43].residual));
    assert_near((opinions[42].low + opinions[42].high) / 2, 2, 0.05);
    assert_near((opinions[53].low + opinions[53].high) / 2, 3, 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_season_and_trend),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unknown_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
