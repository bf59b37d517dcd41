/* Lines, documents and answers of a search give the same columns. */
#include "tests/tuning/support.h"

static const char line[] =
    "{\"schema\":1,\"id\":\"00\",\"measure\":\"m\",\"key\":{\"workflow\":\"w\",\"task\":\"a/b\"},"
    "\"start\":\"2026-01-01T00:00:00.000Z\",\"end\":\"2026-01-01T00:01:00.000Z\",\"mean\":2.5,\"count\":3,"
    "\"version\":4}";
#define DOCUMENT                                                                                             \
    "{\"@timestamp\":\"2026-01-01T00:00:00.000Z\",\"weir\":{\"doc\":\"bucket\",\"workflow\":\"w\",\"task\":" \
    "\"a/b\",\"measure\":\"m\",\"mean\":2.5,\"count\":3,\"version\":4},\"event\":{\"end\":"                  \
    "\"2026-01-01T00:01:00.000Z\"}}"
static const char dotted[] =
    "{\"weir.workflow\":\"w\",\"weir.task\":\"a/b\",\"weir.measure\":\"m\",\"weir.mean\":2.5,"
    "\"event.end\":\"2026-01-01T00:01:00.000Z\"}";

static void take(const struct plan *plan, const char *text, enum statistic statistic, double expected)
{
    struct history history;
    struct error error;

    history_init(&history, &plan->measures[0], statistic);
    if (history_add(&history, span_of(text), &error) != STATUS_OK)
        fail_msg("%s: %s", text, error.text);
    history_settle(&history);
    assert_int_equal(history.count, 1);
    assert_int_equal(history.rows, 1);
    assert_string_equal(history.series[0].name, "w a/b");
    assert_string_equal(history.series[0].target, "w/a%2Fb");
    assert_int_equal(history.series[0].end_us[0], T0_US + MINUTE_US);
    assert_int_equal(history.last_us, T0_US + MINUTE_US);
    if (isnan(expected))
        assert_true(isnan(history.series[0].value[0]));
    else
        assert_near(history.series[0].value[0], expected, 0);
    history_free(&history);
}

static void takes_all_forms(void **state)
{
    struct plan *plan = plan_of(measure_yaml);

    take(plan, line, STAT_MEAN, 2.5);
    take(plan, line, STAT_COUNT, 3);
    take(plan, line, STAT_P95, NAN); /* not in the line */
    take(plan, DOCUMENT, STAT_MEAN, 2.5);
    take(plan, DOCUMENT, STAT_COUNT, 3);
    take(plan, dotted, STAT_MEAN, 2.5);
    take(plan, "{\"_index\":\"weir-buckets-v1\",\"_id\":\"1\",\"_source\":" DOCUMENT "}", STAT_MEAN, 2.5);
    take(plan, "{\"took\":3,\"hits\":{\"total\":{\"value\":1},\"hits\":[{\"_source\":" DOCUMENT "}]}}",
         STAT_MEAN, 2.5);
    plan_free(plan);
}

static void refuses_what_is_no_bucket(void **state)
{
    static const char *const wrong[][2] = {
        {"", "not a JSON object"},
        {"[1]", "not a JSON object"},
        {"{\"measure\":\"m\"", "not a JSON object"},
        {"{\"key\":{}}", "no measure"},
        {"{\"measure\":\"m\",\"key\":{},\"mean\":1}", "no end"},
        {"{\"measure\":\"m\",\"end\":\"soon\"}", "no end"},
    };
    struct plan *plan = plan_of(measure_yaml);
    struct history history;

    history_init(&history, &plan->measures[0], STAT_MEAN);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error error;

        assert_int_equal(history_add(&history, span_of(wrong[i][0]), &error), STATUS_SKIP);
        if (!strstr(error.text, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], error.text);
    }
    struct error error;
    assert_int_equal(history_add(&history, SPAN_LITERAL("{\"measure\":\"other\"}"), &error), STATUS_OK);
    assert_int_equal(history.rows, 0);
    history_free(&history);
    plan_free(plan);
}

/* Any order, one time after the other; what was told first is what the detector saw. */
static void settles_order_and_versions(void **state)
{
    struct plan *plan = plan_of(measure_yaml);
    struct history history;

    history_init(&history, &plan->measures[0], STAT_MEAN);
    add_bucket(&history, "b", T0_US + 3 * MINUTE_US, 3, 2);
    add_bucket(&history, "a", T0_US + 2 * MINUTE_US, 20, 9);
    add_bucket(&history, "b", T0_US + 1 * MINUTE_US, 1, 2);
    add_bucket(&history, "a", T0_US + 2 * MINUTE_US, 10, 3);
    history_settle(&history);
    assert_int_equal(history.count, 2);
    assert_int_equal(history.rows, 3);
    assert_int_equal(history.first_us, T0_US + MINUTE_US);
    assert_int_equal(history.last_us, T0_US + 3 * MINUTE_US);
    assert_near(history.series[0].value[0], 1, 0);
    assert_near(history.series[0].value[1], 3, 0);
    assert_near(history.series[1].value[0], 10, 0);
    history_free(&history);
    plan_free(plan);
}

static void keeps_to_the_range(void **state)
{
    struct plan *plan = plan_of(measure_yaml);
    struct history history;

    history_init(&history, &plan->measures[0], STAT_MEAN);
    history.from_us = T0_US + MINUTE_US;
    history.to_us = T0_US + 3 * MINUTE_US;
    for (int i = 0; i < 6; i++)
        add_bucket(&history, "a", T0_US + i * MINUTE_US, i, 1);
    history_settle(&history);
    assert_int_equal(history.rows, 2);
    assert_near(history.series[0].value[0], 2, 0);
    history_free(&history);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_all_forms),
        cmocka_unit_test(refuses_what_is_no_bucket),
        cmocka_unit_test(settles_order_and_versions),
        cmocka_unit_test(keeps_to_the_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
