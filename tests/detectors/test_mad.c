/* Median and median absolute deviation of the window before the value. */
#include "tests/detectors/support.h"

enum { HISTORY = 300, WINDOW = 21 };

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static double naive_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void test_by_hand(void **state)
{
    static const double values[] = {1, 2, 3, 4, 100, 7};
    struct subject subject = subject_new("mad");
    struct opinion opinions[6];

    subject_set(subject, "window", "5m");
    subject_run(subject, values, 6, opinions);
    assert_true(isnan(opinions[4].residual));
    /* median 3, deviations 2 1 0 1 97: median 1 */
    assert_near(opinions[5].residual, 4 / 1.4826, 1e-12);
    assert_near(opinions[5].low, 3 - 3 * 1.4826, 1e-12);
}

static void test_against_history(void **state)
{
    struct subject subject = subject_new("mad");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    uint64_t seed = 77;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = noise(&seed) > 0.85 ? NAN : pow(noise(&seed), 5);
    subject_set(subject, "window", "21m");
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = WINDOW; i < HISTORY; i++) {
        double known[WINDOW], median, scale;
        unsigned count = 0;

        for (unsigned j = i - WINDOW; j < i; j++)
            if (!isnan(values[j]))
                known[count++] = values[j];
        median = naive_median(known, count);
        for (unsigned j = 0; j < count; j++)
            known[j] = fabs(known[j] - median);
        scale = 1.4826 * naive_median(known, count);
        if (isnan(values[i]))
            assert_true(isnan(opinions[i].residual));
        else
            assert_close(opinions[i].residual, fmin(fmax((values[i] - median) / scale, -38), 38), 1e-9);
    }
}

/* More than half equal: the mean absolute deviation, here 4 / 10, takes over. */
static void test_half_of_the_values_equal(void **state)
{
    static const double values[] = {5, 5, 5, 5, 5, 5, 5, 5, 7, 3, 6};
    struct subject subject = subject_new("mad");
    struct opinion opinions[11];

    subject_set(subject, "window", "10m");
    subject_run(subject, values, 11, opinions);
    assert_near(opinions[10].residual, 1 / (0.4 * sqrt(M_PI / 2)), 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_against_history),
        cmocka_unit_test(test_half_of_the_values_equal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
