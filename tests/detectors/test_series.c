/* A file's rows as buckets. */
#include "detectors/series.h"
#include "tests/detectors/support.h"

enum { ROWS = 500 };

struct run {
    double score[ROWS];
    uint8_t alert[ROWS];
};

static struct run run(const int64_t *time_us, const double *value, size_t rows)
{
    struct series series = {.rows = rows, .time_us = time_us, .value = value};
    struct subject subject = subject_new("zscore");
    struct backend_settings backend;
    struct option_table table = {
        .rows = backend_options, .count = backend_option_count, .settings = &backend};
    struct error error;
    struct run result;

    memset(&backend, 0, sizeof backend);

    assert_int_equal(options_read(NULL, &table, 1, &error), STATUS_OK);
    assert_int_equal(
        detect_series(&series, subject.type, subject.settings, &backend, result.score, result.alert, &error),
        STATUS_OK);
    subject_free(subject);
    return result;
}

/* Noise around 100 with a spike at row 300, a row a minute. */
static void fill(int64_t *time_us, double *value)
{
    uint64_t seed = 9;

    for (unsigned i = 0; i < ROWS; i++) {
        time_us[i] = 1600000000000000LL + i * MINUTE_US;
        value[i] = 100 + noise(&seed) + (i == 300 ? 60 : 0);
    }
}

static void test_finds_the_spike(void **state)
{
    int64_t time_us[ROWS];
    double value[ROWS];
    struct run result;
    unsigned alerts = 0;

    fill(time_us, value);
    result = run(time_us, value, ROWS);
    for (unsigned i = 0; i < ROWS; i++) {
        alerts += result.alert[i];
        assert_true(result.score[i] >= 0 && result.score[i] <= 1);
        if (i < 20)
            assert_near(result.score[i], 0, 0);
        else if (i != 300)
            assert_true(result.score[i] < result.score[300]);
    }
    assert_int_equal(alerts, 1);
    assert_int_equal(result.alert[300], 1);
}

static void test_missing_rows_are_missing_values(void **state)
{
    int64_t time_us[ROWS], kept_time_us[ROWS];
    double value[ROWS], kept[ROWS];
    struct run whole, holes;
    unsigned rows = 0;

    fill(time_us, value);
    for (unsigned i = 0; i < ROWS; i++) {
        if (i % 50 > 40 && i != 300)
            value[i] = NAN;
        else {
            kept_time_us[rows] = time_us[i];
            kept[rows++] = value[i];
        }
    }
    whole = run(time_us, value, ROWS);
    holes = run(kept_time_us, kept, rows);
    for (unsigned i = 0, j = 0; i < ROWS; i++) {
        if (isnan(value[i])) {
            assert_near(whole.score[i], 0, 0);
            continue;
        }
        assert_near(whole.score[i], holes.score[j], 1e-9);
        assert_int_equal(whole.alert[i], holes.alert[j]);
        j++;
    }
}

static void test_clock_set_back_costs_no_row(void **state)
{
    int64_t time_us[ROWS];
    double value[ROWS];
    struct run straight, jumping;

    fill(time_us, value);
    straight = run(time_us, value, ROWS);
    for (unsigned i = 100; i < ROWS; i++)
        time_us[i] -= i < 250 ? 60 * MINUTE_US : 250 * MINUTE_US;

    jumping = run(time_us, value, ROWS);
    for (unsigned i = 0; i < ROWS; i++)
        assert_near(straight.score[i], jumping.score[i], 1e-9);
}

static void test_rhythm(void **state)
{
    int64_t steps[22] = {0, 60, 120, 180, 180, 100, 160, 220, 1000, 1060, 1120};
    double value[22] = {0};
    struct series series = {.rows = 11, .time_us = steps, .value = value};

    assert_int_equal(series_bucket_us(&series), 60);
    series.rows = 1;
    assert_int_equal(series_bucket_us(&series), 1000000);
    series.rows = 0;
    assert_int_equal(series_bucket_us(&series), 1000000);
    /* steps after the twentieth are not looked at */
    for (int i = 0; i < 22; i++)
        steps[i] = i <= 20 ? i * 10 : 1000000;
    series.rows = 22;
    assert_int_equal(series_bucket_us(&series), 10);
}

static void test_extreme_times(void **state)
{
    int64_t time_us[ROWS];
    double value[ROWS];

    fill(time_us, value);
    for (unsigned i = 0; i < ROWS; i++)
        time_us[i] = i % 2 ? TIME_MAX_US : TIME_MIN_US;
    (void)run(time_us, value, ROWS);
    fill(time_us, value);
    time_us[200] = TIME_MAX_US;
    time_us[201] = time_us[50] = time_us[49];
    (void)run(time_us, value, ROWS);
}

static void test_refused_settings(void **state)
{
    int64_t time_us[] = {0, 3600 * 1000000LL};
    double value[] = {1, 2}, score[2];
    struct series series = {.rows = 2, .time_us = time_us, .value = value};
    struct subject subject = subject_new("moving_average");
    struct backend_settings backend = {.one_in = 10};
    struct error error;
    uint8_t alert[2];

    subject_set(subject, "window", "1h");
    assert_int_equal(detect_series(&series, subject.type, subject.settings, &backend, score, alert, &error),
                     STATUS_FATAL);
    assert_non_null(strstr(error.text, "moving_average"));
    subject_free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_spike),
        cmocka_unit_test(test_missing_rows_are_missing_values),
        cmocka_unit_test(test_clock_set_back_costs_no_row),
        cmocka_unit_test(test_rhythm),
        cmocka_unit_test(test_extreme_times),
        cmocka_unit_test(test_refused_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
