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
        assert_false(step(&bench, i % 2 ? 0.5 : -0.5).opinion);
    return bench;
}

/* A series so old that its tail may claim one in `one_in` buckets, and in which everything up to 38 standard
 * deviations was seen: what speaks is the tail alone. */
static struct bench old(void)
{
    struct bench bench = warm();

    bench.state.seen = 100000000;
    for (unsigned i = 0; i < RECORDS; i++)
        bench.state.ranges[i] = (struct backend_range){-40, 40};
    return bench;
}

static double tail(double distance)
{
    return 2 * gsl_cdf_tdist_Q(distance, 6);
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
    struct bench bench = old();
    struct signal up = step(&bench, 2.5), down;

    assert_close(up.probability, tail(2.5), 1e-9);
    assert_close(up.one_in, 1 / up.probability, 1e-12);
    assert_int_equal(up.direction, DIRECTION_UP);
    assert_near(up.actual, 12.5, 0);
    assert_near(up.expected_low, 7, 1e-12);
    assert_near(up.expected_high, 13, 1e-12);
    assert_false(up.anomaly);
    down = step(&bench, -2.6);
    assert_int_equal(down.direction, DIRECTION_DOWN);
    assert_close(down.probability, tail(2.6), 1e-9);
    bench = old();
    down = step(&bench, -9);
    assert_close(down.score, -log10(tail(9)) / (3 - log10(tail(9))), 1e-9);
    assert_true(step(&bench, 38).score > 0.7);
}

/* What is no news scores by how unquiet the series lately was, below the score of any news, and fades. */
static void test_score_of_quiet_buckets(void **state)
{
    struct bench bench = old();
    double news, before, score;

    assert_true(step(&bench, 0).score < 1e-9);
    news = step(&bench, 12).score;
    before = step(&bench, 0).score;
    assert_true(before > 0.2 && before < 2.0 / 5.0 + 1e-9 && before < news);
    for (unsigned i = 0; i < 200; i++) {
        score = step(&bench, 0).score;
        assert_true(score <= before);
        before = score;
    }
    assert_true(score < 0.01);
}

static void test_direction(void **state)
{
    struct bench bench = old();
    struct signal signal;
    double factor;

    set(&bench, "direction", "up");
    signal = step(&bench, -30);
    assert_false(signal.anomaly);
    assert_true(signal.score < 0.01);
    factor = exp(0.5 * (double)bench.state.widening);
    assert_close(step(&bench, 2).probability, gsl_cdf_tdist_Q(2 / factor, 6), 1e-6);
    bench = warm();
    set(&bench, "direction", "down");
    assert_false(step(&bench, 30).anomaly);
    bench = warm();
    set(&bench, "direction", "down");
    assert_true(step(&bench, -30).anomaly);
}

/* In n values nothing can be seen that is rarer than one in n / 2, but for a record. */
static void test_young_series_claims_no_rare_tail(void **state)
{
    struct bench bench = old();

    bench.state.seen = 1999;
    assert_close(step(&bench, 37).one_in, 1000, 1e-6);
    assert_false(step(&bench, 37).anomaly);
    bench = old();
    bench.state.seen = 20000;
    assert_true(step(&bench, 37).anomaly);
}

/* 3.06 + 5.4 log10(1 + m / 0.05) decades for a margin m of the range, less 5 / n for doubt: by hand. */
static void test_record(void **state)
{
    struct bench bench = old();
    struct opinion opinion = {.residual = 2.5, .low = 7, .high = 13, .channel = "band"};
    struct signal signal;

    bench.state.seen = 999;
    /* the origin is 9.5, so 40 above it is 49.5; a fifth of the range of 80 more is 65.5 */
    backend_judge(&bench.settings, &bench.state, MINUTE_US, bench.now_us + MINUTE_US, 65.5, &opinion,
                  &signal);
    assert_close(-log10(signal.probability), 3.06 + 5.4 * log10(1 + (0.2 - 5.0 / 1000) / 0.05), 1e-6);
    assert_string_equal(signal.channel, "record");
    assert_true(signal.anomaly && signal.episode_start);
    /* it is known now: the same value again is none */
    backend_judge(&bench.settings, &bench.state, MINUTE_US, bench.now_us + 2 * MINUTE_US, 65.5, &opinion,
                  &signal);
    assert_string_equal(signal.channel, "band");
    assert_close(signal.probability, tail(2.5), 1e-6);
}

/* Once the tail may claim what is asked for, a record is worth a decade more than the tail, no more. */
static void test_record_of_an_old_series(void **state)
{
    struct bench bench = old();
    struct opinion opinion = {.residual = 2.5, .low = 7, .high = 13, .channel = "band"};
    struct signal signal;

    backend_judge(&bench.settings, &bench.state, MINUTE_US, bench.now_us + MINUTE_US, 65.5, &opinion,
                  &signal);
    assert_close(-log10(signal.probability), 1 - log10(tail(2.5)), 1e-6);
    assert_false(signal.anomaly);
}

/* A first value beyond all others, but within the detector's band, is no record that counts. */
static void test_record_within_the_band(void **state)
{
    struct bench bench = warm();

    assert_false(step(&bench, 0.7).anomaly);
    assert_false(step(&bench, -0.8).anomaly);
}

/* The bar of a budget: so many a day at first, half a decade more after each episode, and down again. */
static void test_alerts_per_day(void **state)
{
    struct bench bench = old();
    unsigned episodes = 0;

    set(&bench, "alerts_per_day", "2");
    assert_false(step(&bench, gsl_cdf_tdist_Qinv(0.5 / 720 * 1.01, 6)).anomaly);
    bench = old();
    set(&bench, "alerts_per_day", "2");
    set(&bench, "rest", "0");
    assert_true(step(&bench, gsl_cdf_tdist_Qinv(0.5 / 720 * 0.99, 6)).anomaly);
    assert_near((double)bench.state.budget, 0.5, 1e-6);
    for (unsigned i = 0; i < 720; i++)
        step(&bench, 0);
    assert_near((double)bench.state.budget, 0, 1e-3);
    for (unsigned i = 0; i < 14400; i++) /* ten days, an outlier every half hour */
        episodes += step(&bench, i % 30 == 0 ? 9 : 0.1).episode_start;
    assert_in_range(episodes, 1, 25);
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

/* After an episode the next must be rarer than what is left of the memory of it, which halves in an hour. */
static void test_rest_after_an_episode(void **state)
{
    struct bench bench = old();

    assert_true(step(&bench, 20).episode_start);
    step(&bench, 0);
    assert_false(step(&bench, 15).anomaly);
    assert_true(step(&bench, 25).episode_start);
    for (unsigned i = 0; i < 60; i++)
        step(&bench, 0);
    assert_true(step(&bench, 15).episode_start);
    set(&bench, "rest", "0");
    step(&bench, 0);
    assert_true(step(&bench, 24).episode_start);
}

static void test_rest_is_at_least_sixty_buckets(void **state)
{
    struct bench bench = old();
    float before;

    set(&bench, "rest", "1s");
    step(&bench, 20);
    before = bench.state.memory;
    for (unsigned i = 0; i < 60; i++)
        step(&bench, 0);
    assert_near((double)bench.state.memory, (double)before / 2, 1e-3);
}

static void test_long_silence_ends_the_episode(void **state)
{
    struct bench bench = old();

    assert_true(step(&bench, 20).episode_start);
    bench.now_us += 5 * MINUTE_US;
    assert_false(step(&bench, 20).episode_start);
    bench.now_us += 61 * MINUTE_US;
    assert_true(step(&bench, 20).episode_start);
}

static void test_rest_before_1970(void **state)
{
    struct bench bench = fresh();

    bench.now_us = -1000 * MINUTE_US;
    for (unsigned i = 0; i < 20; i++)
        step(&bench, i % 2 ? 0.5 : -0.5);
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
    struct bench bench = old();
    double quantile = gsl_cdf_tdist_Qinv(0.5e-3, 6);

    set(&bench, "one_in", "1000");
    assert_false(step(&bench, quantile * 0.999).anomaly);
    bench = old();
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
    struct bench bench = old();

    for (unsigned i = 0; i < 500; i++)
        assert_true(step(&bench, 30).anomaly);
    assert_true(bench.state.widening < 0.3f);
}

static void test_quiet_series_are_not_narrowed(void **state)
{
    struct bench bench = warm();

    for (unsigned i = 0; i < 5000; i++)
        step(&bench, 0.001);
    assert_near((double)bench.state.widening, 0, 0);
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
    assert_near((double)bench.state.widening, 0, 0);
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
    assert_int_equal(bench.settings.rest_us, 60 * MINUTE_US);
    assert_near(bench.settings.alerts_per_day, 0, 0);
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
        struct backend_state backend = {.seen = UINT32_MAX,
                                        .ranges = {{-100, 100}, {-100, 100}, {-100, 100}}};
        struct opinion opinion = {.residual = distance, .low = 0, .high = 1};
        struct signal signal;

        backend_judge(&settings, &backend, 1000, 1000, 1, &opinion, &signal);
        assert_close(signal.probability, gsl_cdf_tdist_Q(distance, 6), 1e-9);
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
        cmocka_unit_test(test_rest_is_at_least_sixty_buckets),
        cmocka_unit_test(test_score_of_quiet_buckets),
        cmocka_unit_test(test_young_series_claims_no_rare_tail),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_record_of_an_old_series),
        cmocka_unit_test(test_record_within_the_band),
        cmocka_unit_test(test_alerts_per_day),
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
