/* Cumulative sums of standardised values. */
#include "tests/detectors/support.h"

enum { HISTORY = 600 };

/* The sums written out, over all values so far: each is learned as long as no sum is half the limit of 8. */
static void test_by_hand(void **state)
{
    static const double values[] = {0, 2, 0, 2, 0, 2, 0, 2, 0, 2, 1, 1, 1, 3, 3, -2, 1};
    enum { COUNT = sizeof values / sizeof *values };
    struct subject subject = subject_new("cusum");
    struct opinion opinions[COUNT];
    double up = 0, down = 0;

    subject_set(subject, "limit", "8");
    subject_set(subject, "half_life", "1000m");
    subject_run(subject, values, COUNT, opinions);
    assert_true(isnan(opinions[5].residual));
    for (unsigned i = 6; i < COUNT; i++) {
        double weight = 0, squares = 0, mean = 0, sum = 0, z;

        for (unsigned j = 0; j < i; j++) {
            double w = pow(0.5, (i - 1 - j) / 1000.0);

            weight += w;
            squares += w * w;
            mean += w * values[j];
        }
        mean /= weight;
        for (unsigned j = 0; j < i; j++)
            sum += pow(0.5, (i - 1 - j) / 1000.0) * pow(values[j] - mean, 2);
        z = (values[i] - mean) / sqrt(sum / (weight - squares / weight));
        up = fmax(0, up + z - 0.5);
        down = fmax(0, down - z - 0.5);
        assert_true(up < 4 && down < 4);
        assert_near(opinions[i].residual, (up >= down ? up : -down) * 3 / 8, 1e-9);
        assert_near((opinions[i].low + opinions[i].high) / 2, mean, 1e-12);
    }
    assert_true(down > 1);
}

static double alternating(unsigned i)
{
    return i % 2 ? 1 : -1;
}

/* A shift of one standard deviation, in which no value stands out: the sum rises by half of one a bucket, so
 * that it is 8 after 16 or so, and the new level is normal from then on. */
static void test_small_shift_once(void **state)
{
    struct subject subject = subject_new("cusum");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    unsigned told = 0, when = 0;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = 10 + alternating(i) + (i >= 300 ? 1 : 0);
    subject_set(subject, "limit", "8");
    subject_set(subject, "half_life", "10000m");
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = 0; i < HISTORY; i++)
        if (opinions[i].residual >= 38) {
            told++;
            when = i;
        } else {
            assert_true(i < 20 || fabs(opinions[i].residual) < 3);
        }
    assert_int_equal(told, 1);
    assert_in_range(when, 312, 322);
    assert_near((opinions[HISTORY - 1].low + opinions[HISTORY - 1].high) / 2, 11, 0.1);
}

/* However large: told with the fifth value, then normal, and the way back is another shift. */
static void test_large_shift_once(void **state)
{
    struct subject subject = subject_new("cusum");
    struct opinion opinions[HISTORY];
    double values[HISTORY];
    unsigned up = 0, down = 0;

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = alternating(i) + (i >= 200 && i < 400 ? 1e6 : 0);
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = 0; i < HISTORY; i++) {
        up += opinions[i].residual >= 38;
        down += opinions[i].residual <= -38;
    }
    assert_int_equal(up, 1);
    assert_int_equal(down, 1);
    assert_near(opinions[204].residual, 38, 0);
    assert_near(opinions[404].residual, -38, 0);
    assert_near((opinions[300].low + opinions[300].high) / 2, 1e6, 1);
}

/* Values that hang together stray from their mean for long: counted as if each were news they would tell
 * shift after shift. */
static void test_slow_waves_are_no_shifts(void **state)
{
    enum { LONG = 20000 };
    struct subject subject = subject_new("cusum");
    struct opinion *opinions = memory_new(LONG * sizeof *opinions);
    double *values = memory_new(LONG * sizeof *values), wave = 0;
    uint64_t seed = 5;
    unsigned told = 0;

    for (unsigned i = 0; i < LONG; i++) {
        wave = 0.95 * wave + noise(&seed);
        values[i] = wave;
    }
    subject_run(subject, values, LONG, opinions);
    for (unsigned i = 0; i < LONG; i++)
        told += fabs(opinions[i].residual) >= 38;
    assert_in_range(told, 0, 3);
    free(opinions);
    free(values);
}

static void test_spike_is_no_shift(void **state)
{
    struct subject subject = subject_new("cusum");
    struct opinion opinions[HISTORY];
    double values[HISTORY];

    for (unsigned i = 0; i < HISTORY; i++)
        values[i] = alternating(i) + (i == 300 ? 1000 : 0);
    subject_run(subject, values, HISTORY, opinions);
    for (unsigned i = 20; i < HISTORY; i++)
        assert_true(fabs(opinions[i].residual) < 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),           cmocka_unit_test(test_small_shift_once),
        cmocka_unit_test(test_large_shift_once),  cmocka_unit_test(test_slow_waves_are_no_shifts),
        cmocka_unit_test(test_spike_is_no_shift),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
