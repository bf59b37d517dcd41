/* From opinions to signals: probabilities, warm-up, episodes, rest, least effect, calibration. */
#include "detectors/backend.h"
#include "tests/detectors/support.h"

#include <gsl/gsl_cdf.h>
#include <string.h>

struct bench {
    struct backend_settings settings;
    struct backend_state state;
    int64_t now_us; /* end of the last bucket */
};

static void set(struct bench *bench, const char *key, const char *value)
{
    struct error error;

    assert_int_equal(
        option_assign(backend_options, backend_option_count, &bench->settings, key, value, &error),
        STATUS_OK);
}

static struct bench fresh(void)
{
    struct bench bench = {.now_us = 1700000000LL * 1000000};
    struct option_table table = {
        .rows = backend_options, .count = backend_option_count, .settings = &bench.settings};
    struct error error;

    assert_int_equal(options_read(NULL, &table, 1, &error), STATUS_OK);
    return bench;
}

/* A bucket one minute later with the expected value 10 and standard deviation 1. */
static struct signal step(struct bench *bench, double residual)
{
    struct opinion opinion = {.residual = residual, .low = 7, .high = 13};
    struct signal signal;

    bench->now_us += MINUTE_US;
    backend_judge(&bench->settings, &bench->state, MINUTE_US, bench->now_us, 10 + residual, &opinion,
                  &signal);
    return signal;
}

static struct bench warm(void)
{
    struct bench bench = fresh();

    for (unsigned i = 0; i < 20; i++)
        assert_false(step(&bench, 0.5).opinion);
    return bench;
}

static void test_warm_up_is_20_values(void **state)
{
    struct bench bench = warm();

    assert_true(step(&bench, 0.5).opinion);
}

static void test_warm_up_is_a_time(void **state)
{
    struct bench bench = fresh();

    set(&bench, "warm_up", "5m");
    for (unsigned i = 0; i < 5; i++)
        assert_false(step(&bench, 0.5).opinion);
    assert_true(step(&bench, 0.5).opinion);
}

static void test_missing_value_leaves_the_state(void **state)
{
    struct bench bench = warm();
    struct backend_state before = bench.state;
    struct opinion opinion = {.residual = NAN, .low = NAN, .high = NAN};
    struct signal signal;

    backend_judge(&bench.settings, &bench.state, MINUTE_US, bench.now_us + MINUTE_US, NAN, &opinion, &signal);
    assert_memory_equal(&bench.state, &before, sizeof before);
    assert_false(signal.opinion || signal.anomaly || signal.episode_start);
    assert_true(isnan(signal.score) && isnan(signal.expected_low));
}

static void test_probability_and_score(void **state)
{
    struct bench bench = warm();
    struct signal up = step(&bench, 2.5), down;

    assert_close(up.probability, 2 * gsl_cdf_tdist_Q(2.5, 6), 1e-12);
    assert_close(up.one_in, 1 / up.probability, 1e-12);
    assert_close(up.score, -log10(up.probability) / (3 - log10(up.probability)), 1e-12);
    assert_int_equal(up.direction, DIRECTION_UP);
    assert_near(up.actual, 12.5, 0);
    assert_near(up.expected_low, 7, 1e-12);
    assert_near(up.expected_high, 13, 1e-12);
    assert_false(up.anomaly);
    down = step(&bench, -2.5);
    assert_int_equal(down.direction, DIRECTION_DOWN);
    assert_close(down.probability, up.probability, 1e-12);
    assert_true(step(&bench, 0).score < 1e-9);
    assert_true(step(&bench, 38).score > 0.7);
}

static void test_direction(void **state)
{
    struct bench bench = warm();
    struct signal signal;
    double factor;

    set(&bench, "direction", "up");
    signal = step(&bench, -30);
    assert_false(signal.anomaly);
    assert_true(signal.score < 0.01);
    factor = exp(bench.state.widening);
    assert_close(step(&bench, 2).probability, gsl_cdf_tdist_Q(2 / factor, 6), 1e-12);
    bench = warm();
    set(&bench, "direction", "down");
    assert_false(step(&bench, 30).anomaly);
    bench = warm();
    set(&bench, "direction", "down");
    assert_true(step(&bench, -30).anomaly);
}

static void test_episode_opens_and_closes(void **state)
{
    struct bench bench = warm();
    struct signal signal = step(&bench, 20);

    assert_true(signal.anomaly && signal.episode_start);
    assert_int_equal(bench.state.episode_us, bench.now_us);
    signal = step(&bench, 25);
    assert_true(signal.anomaly && !signal.episode_start);
    signal = step(&bench, 0.1);
    assert_false(signal.anomaly || signal.episode_start);
    assert_int_equal(bench.state.in_episode, 0);
}

static void test_rest_after_an_episode(void **state)
{
    struct bench bench = warm();

    assert_true(step(&bench, 20).episode_start);
    step(&bench, 0);
    /* the default rest is ten minutes, from the end of the last anomalous bucket */
    for (unsigned i = 2; i <= 10; i++)
        assert_false(step(&bench, 38).anomaly);
    bench.state.widening = 0;
    assert_true(step(&bench, 38).episode_start);
    set(&bench, "rest", "0");
    step(&bench, 0);
    bench.state.widening = 0;
    assert_true(step(&bench, 38).episode_start);
}

static void test_rest_is_at_least_five_buckets(void **state)
{
    struct bench bench = warm();

    set(&bench, "rest", "1s");
    assert_true(step(&bench, 20).episode_start);
    step(&bench, 0);
    for (unsigned i = 2; i <= 5; i++)
        assert_false(step(&bench, 38).anomaly);
    bench.state.widening = 0;
    assert_true(step(&bench, 38).episode_start);
}

static void test_long_silence_ends_the_episode(void **state)
{
    struct bench bench = warm();

    assert_true(step(&bench, 20).episode_start);
    bench.now_us += 5 * MINUTE_US;
    assert_false(step(&bench, 20).episode_start);
    bench.now_us += 60 * MINUTE_US;
    assert_true(step(&bench, 20).episode_start);
}

static void test_rest_before_1970(void **state)
{
    struct bench bench = fresh();

    bench.now_us = -1000 * MINUTE_US;
    for (unsigned i = 0; i < 20; i++)
        step(&bench, 0.5);
    assert_true(step(&bench, 20).episode_start);
}

static void test_least_effect(void **state)
{
    struct bench bench = warm();

    set(&bench, "min_effect", "10"); /* the band ends at 13 */
    assert_false(step(&bench, 12.9).anomaly);
    bench = warm();
    set(&bench, "min_effect", "10");
    assert_true(step(&bench, 13.1).anomaly);
    bench = warm();
    set(&bench, "min_effect_percent", "200"); /* of 10 */
    assert_false(step(&bench, 22.9).anomaly);
    bench = warm();
    set(&bench, "min_effect_percent", "200");
    assert_true(step(&bench, 23.1).anomaly);
    bench = warm();
    set(&bench, "min_value", "40");
    assert_false(step(&bench, 29).anomaly);
    bench = warm();
    set(&bench, "min_value", "40");
    assert_true(step(&bench, 31).anomaly);
}

static void test_one_in(void **state)
{
    struct bench bench = warm();
    double quantile = gsl_cdf_tdist_Qinv(0.5e-3, 6);

    set(&bench, "one_in", "1000");
    assert_false(step(&bench, quantile * 0.999).anomaly);
    bench = warm();
    set(&bench, "one_in", "1000");
    assert_true(step(&bench, quantile * 1.001).anomaly);
}

/* A detector that calls every tenth bucket a ten is taught that this is its tail: no more alerts, and a wider
 * band. */
static void test_widening_calms_a_loud_detector(void **state)
{
    struct bench bench = warm();
    struct signal signal = {0};
    unsigned early = 0, late = 0;

    for (unsigned i = 0; i < 2000; i++) {
        signal = step(&bench, i % 20 == 0 ? 10 : 0.3);
        *(i < 1000 ? &early : &late) += signal.episode_start;
    }
    assert_in_range(early, 1, 5);
    assert_int_equal(late, 0);
    assert_true(signal.expected_high > 15);
    assert_near(signal.expected_high + signal.expected_low, 20, 1e-9);
}

/* One long episode is one piece of evidence, not hundreds. */
static void test_episode_does_not_blind(void **state)
{
    struct bench bench = warm();

    for (unsigned i = 0; i < 500; i++)
        assert_true(step(&bench, 30).anomaly);
    assert_true(bench.state.widening < 0.3);
}

static void test_quiet_series_are_not_narrowed(void **state)
{
    struct bench bench = warm();

    for (unsigned i = 0; i < 5000; i++)
        step(&bench, 0.001);
    assert_near(bench.state.widening, 0, 0);
}

static void test_certain_needs_no_warm_up(void **state)
{
    struct bench bench = fresh();
    struct opinion opinion = {.residual = 8, .low = NAN, .high = 5, .certain = true};
    struct signal signal;

    set(&bench, "one_in", "1000000");
    backend_judge(&bench.settings, &bench.state, MINUTE_US, 1, 6, &opinion, &signal);
    assert_true(signal.opinion && signal.anomaly && signal.episode_start);
    assert_true(isnan(signal.expected_low));
    assert_near(signal.expected_high, 5, 0);
    assert_near(bench.state.widening, 0, 0);
    set(&bench, "min_effect", "2");
    bench.state = (struct backend_state){0};
    backend_judge(&bench.settings, &bench.state, MINUTE_US, 1, 6, &opinion, &signal);
    assert_false(signal.anomaly);
}

static void test_settings_have_ranges(void **state)
{
    static const char *const wrong[][2] = {{"one_in", "1"},
                                           {"min_effect", "-1"},
                                           {"rest", "9999d"},
                                           {"direction", "sideways"},
                                           {"warm_up", "-1s"}};
    struct bench bench = fresh();
    struct error error;

    assert_near(bench.settings.one_in, 10000, 0);
    assert_int_equal(bench.settings.rest_us, 10 * MINUTE_US);
    assert_true(isnan(bench.settings.min_value));
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(option_assign(backend_options, backend_option_count, &bench.settings, wrong[i][0],
                                       wrong[i][1], &error),
                         STATUS_FATAL);
}

/* The tail is made without GSL, which is what it must equal, far out too. */
static void test_the_tail_is_students(void **state)
{
    struct backend_settings settings = {
        .one_in = 1e6, .direction = BACKEND_UP, .warm_up_us = 1, .min_value = NAN};

    for (double distance = -38; distance <= 38; distance += 0.0137) {
        struct backend_state backend = {.seen = 1};
        struct opinion opinion = {.residual = distance, .low = 0, .high = 1};
        struct signal signal;

        backend_judge(&settings, &backend, 1000, 1000, 1, &opinion, &signal);
        assert_close(signal.probability, gsl_cdf_tdist_Q(distance, 6), 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_tail_is_students),
        cmocka_unit_test(test_warm_up_is_20_values),
        cmocka_unit_test(test_warm_up_is_a_time),
        cmocka_unit_test(test_missing_value_leaves_the_state),
        cmocka_unit_test(test_probability_and_score),
        cmocka_unit_test(test_direction),
        cmocka_unit_test(test_episode_opens_and_closes),
        cmocka_unit_test(test_rest_after_an_episode),
        cmocka_unit_test(test_rest_is_at_least_five_buckets),
        cmocka_unit_test(test_long_silence_ends_the_episode),
        cmocka_unit_test(test_rest_before_1970),
        cmocka_unit_test(test_least_effect),
        cmocka_unit_test(test_one_in),
        cmocka_unit_test(test_widening_calms_a_loud_detector),
        cmocka_unit_test(test_episode_does_not_blind),
        cmocka_unit_test(test_quiet_series_are_not_narrowed),
        cmocka_unit_test(test_certain_needs_no_warm_up),
        cmocka_unit_test(test_settings_have_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
