/* Exponentially weighted mean and standard deviation, weights by time. */
#include "tests/detectors/support.h"

enum { HISTORY = 400 };

static void test_by_hand(void **state)
{
    static const double values[] = {0, 0, 0, 0, 0, 0, 0, 0, 8, 4};
    struct subject subject = subject_new("ewma");
    struct opinion opinions[10];
    double a = sqrt(0.5), weight = (1 - pow(a, 9)) / (1 - a), squares = (1 - pow(a, 18)) / (1 - a * a);
    double mean = 8 / weight,
           variance = ((weight - 1) * mean * mean + (8 - mean) * (8 - mean)) / (weight - squares / weight);

    subject_set(subject, "half_life", "2m");
    subject_run(subject, values, 10, opinions);
    assert_true(isnan(opinions[4].residual));
    assert_near(opinions[8].residual, 38, 0);
    assert_near(opinions[9].residual, (4 - mean) / sqrt(variance), 1e-12);
    assert_near(opinions[9].high, mean + 3 * sqrt(variance), 1e-12);
}

static void test_against_history(void **state)
{
    struct subject subject = subject_new("ewma");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    uint64_t seed = 8;
    unsigned judged = 0;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = noise(&seed) > 0.7 ? NAN : noise(&seed) + 0.01 * i;
    subject_set(subject, "half_life", "15m");
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = 0; i < HISTORY; i++) {
        double weight = 0, weight_squares = 0, sum = 0, squares = 0;

        for (unsigned j = 0; j < i; j++) {
            double w = isnan(values[j]) ? 0 : pow(0.5, (i - j) / 15.0);

            weight += w;
            weight_squares += w * w;
            sum += w > 0 ? w * values[j] : 0;
        }
        for (unsigned j = 0; j < i; j++)
            squares += isnan(values[j]) ? 0 : pow(0.5, (i - j) / 15.0) * pow(values[j] - sum / weight, 2);
        if (isnan(opinions[i].residual))
            continue;
        judged++;
        assert_close(opinions[i].residual,
                     (values[i] - sum / weight) / sqrt(squares / (weight - weight_squares / weight)), 1e-8);
    }
    assert_in_range(judged, 200, HISTORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_against_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
