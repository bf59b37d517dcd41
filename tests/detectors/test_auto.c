/* What a person expects of a detector without settings, series by series; values by hand or seeded noise. */
#include "detectors/band.h"
#include "detectors/series.h"
#include "tests/detectors/support.h"

#include <string.h>

enum { DAY = 288, ROWS_MAX = 40 * DAY }; /* buckets of five minutes */

struct run {
    double value[ROWS_MAX], score[ROWS_MAX];
    int64_t time_us[ROWS_MAX];
    uint8_t alert[ROWS_MAX];
    size_t rows;
};

static void add(struct run *run, double value)
{
    assert_true(run->rows < ROWS_MAX);
    run->time_us[run->rows] = 1700000000000000LL + (int64_t)run->rows * 5 * MINUTE_US;
    run->value[run->rows++] = value;
}

static void detect(struct run *run)
{
    struct series series = {.rows = run->rows, .time_us = run->time_us, .value = run->value};
    struct backend_settings backend = {0};
    struct option_table table = {
        .rows = backend_options, .count = backend_option_count, .settings = &backend};
    struct subject subject = subject_new("auto");
    struct error error;

    assert_int_equal(options_read(NULL, &table, 1, &error), STATUS_OK);
    assert_int_equal(
        detect_series(&series, subject.type, subject.settings, &backend, run->score, run->alert, &error),
        STATUS_OK);
    subject_free(subject);
}

static unsigned alerts(const struct run *run, size_t from, size_t to)
{
    unsigned count = 0;

    for (size_t i = from; i < to; i++)
        count += run->alert[i];
    return count;
}

static double daily(size_t at)
{
    return 100 + 50 * sin(2 * M_PI * (double)at / DAY);
}

static struct run *new_run(void)
{
    return memory_new(sizeof(struct run));
}

static void test_constant_series_and_its_change(void **state)
{
    struct run *run = new_run();

    for (unsigned i = 0; i < 1000; i++)
        add(run, i == 700 ? 8 : 7);
    detect(run);
    assert_int_equal(alerts(run, 0, 700), 0);
    assert_int_equal(run->alert[700], 1);
    assert_int_equal(alerts(run, 701, 1000), 0);
    free(run);
}

/* Each value is a record, by no margin. (One alert may come when the third day begins and the shape of the
 * day is tried on what is all trend.) */
static void test_counter_is_no_news(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 3;
    double total = 0;

    for (unsigned i = 0; i < 3000; i++)
        add(run, total += 10 + 3 * noise(&seed));
    detect(run);
    assert_int_equal(alerts(run, 0, 2 * DAY), 0);
    assert_in_range(alerts(run, 2 * DAY, 3000), 0, 1);
    free(run);
}

/* A job that runs now and then: after the first times it is known. */
static void test_binary_series(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 5;

    for (unsigned i = 0; i < 4000; i++)
        add(run, noise(&seed) > 0.9);
    detect(run);
    assert_in_range(alerts(run, 0, 200), 0, 1);
    assert_int_equal(alerts(run, 200, 4000), 0);
    free(run);
}

static void test_spike_and_noise(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 11;

    for (unsigned i = 0; i < 4000; i++)
        add(run, 100 + 5 * noise(&seed) + (i == 60 ? 60 : i == 3000 ? 50 : 0));
    detect(run);
    assert_int_equal(run->alert[60], 1);
    assert_int_equal(run->alert[3000], 0); /* lower than the first: no record, and the series is young */
    assert_int_equal(alerts(run, 0, 4000), 1);
    assert_true(run->score[3000] > run->score[2999] + 0.1);
    free(run);
}

/* Noon as at night: inside the range of values, but the shape of the day is known by then. */
static void test_outage_within_the_range(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 17;
    size_t noon = 20 * DAY + DAY / 4;

    for (size_t i = 0; i < 22 * DAY; i++)
        add(run, i >= noon && i < noon + 6 ? 55 : daily(i) + 2 * noise(&seed));
    detect(run);
    assert_int_equal(alerts(run, 3 * DAY, noon), 0);
    assert_int_equal(run->alert[noon], 1);
    assert_in_range(alerts(run, noon, 22 * DAY), 1, 2);
    free(run);
}

static void test_day_an_hour_later(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 19;

    for (size_t i = 0; i < 30 * DAY; i++)
        add(run, daily(i < 20 * DAY ? i : i - 12) + 4 * noise(&seed));
    detect(run);
    assert_int_equal(alerts(run, 3 * DAY, 20 * DAY), 0);
    assert_in_range(alerts(run, 20 * DAY, 30 * DAY), 0, 2);
    free(run);
}

static void test_level_shift_is_told_once(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 23;

    for (size_t i = 0; i < 10 * DAY; i++)
        add(run, (i < 5 * DAY ? 100 : 180) + 5 * noise(&seed));
    detect(run);
    assert_int_equal(run->alert[5 * DAY], 1);
    assert_int_equal(alerts(run, 0, 10 * DAY), 1);
    free(run);
}

static void test_gap_keeps_the_place_in_the_day(void **state)
{
    struct run *run = new_run();
    uint64_t seed = 29;

    for (size_t i = 0; i < 20 * DAY; i++) {
        add(run, daily(i) + 2 * noise(&seed));
        if (i >= 10 * DAY && i < 12 * DAY + 100)
            run->value[i] = NAN;
    }
    detect(run);
    assert_int_equal(alerts(run, 3 * DAY, 20 * DAY), 0);
    free(run);
}

/* The kernel by hand: the level of a constant, distances in widths of the changes. */
static void test_band_by_hand(void **state)
{
    struct band band = {0};
    struct band_pace pace = band_pace(5 * MINUTE_US);
    struct band_view view;

    assert_near(pace.day, 288, 0);
    assert_close(pace.fast, 1 - exp2(-0.25), 1e-12);
    for (unsigned i = 0; i < 11; i++) {
        assert_false(band_ready(&band));
        band_add(&band, &pace, 5);
    }
    assert_true(band_ready(&band));
    view = band_see(&band, &pace, 5);
    assert_near(view.middle, 5, 0);
    assert_near(view.slow, 0, 0);
    assert_near(view.course, 0, 0);
    /* the first change is the width: twelfth value, part 1/12 of the way, 1.2533 of the distance */
    band_add(&band, &pace, 17);
    assert_close(band.plain.level, 6, 1e-12);
    assert_close((double)band.plain.width, 12 * 1.2533, 1e-6);
}

static void test_shape_of_the_day_is_learned(void **state)
{
    struct band *band = memory_new(sizeof *band);
    struct band_pace pace = band_pace(5 * MINUTE_US);
    double worst = 0;

    for (size_t i = 0; i < 12 * DAY; i++) {
        struct band_view view = band_see(band, &pace, daily(i));

        if (i >= 10 * DAY)
            worst = fmax(worst, fabs(view.middle - daily(i)));
        band_add(band, &pace, daily(i));
    }
    assert_true(worst < 5); /* of an amplitude of 50 */
    free(band);
}

/* A slot that does not fit makes the unit coarser and keeps the others. */
static void test_shape_grows_a_thousandfold(void **state)
{
    struct band *band = memory_new(sizeof *band);
    struct band_pace pace = band_pace(5 * MINUTE_US);
    uint64_t seed = 31;
    float unit;

    for (size_t i = 0; i < DAY; i++)
        band_add(band, &pace, noise(&seed));
    unit = band->unit;
    for (size_t i = 0; i < 20 * DAY; i++)
        band_add(band, &pace, 1e9 * daily(i));
    assert_true(band->unit > 1000 * unit);
    assert_true(fabs(band_see(band, &pace, 0).middle - 1e9 * daily(20 * DAY)) < 2e10);
    free(band);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant_series_and_its_change),
        cmocka_unit_test(test_counter_is_no_news),
        cmocka_unit_test(test_binary_series),
        cmocka_unit_test(test_spike_and_noise),
        cmocka_unit_test(test_outage_within_the_range),
        cmocka_unit_test(test_day_an_hour_later),
        cmocka_unit_test(test_level_shift_is_told_once),
        cmocka_unit_test(test_gap_keeps_the_place_in_the_day),
        cmocka_unit_test(test_band_by_hand),
        cmocka_unit_test(test_shape_of_the_day_is_learned),
        cmocka_unit_test(test_shape_grows_a_thousandfold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
