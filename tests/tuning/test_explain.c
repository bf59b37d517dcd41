/* An alert in words, from lines made by hand. */
#include "tests/tuning/support.h"
#include "tuning/explain.h"

static const char lines[] =
    "[{\"id\":\"aa\",\"episode\":\"ee\",\"at\":\"2026-01-01T01:00:00.000Z\",\"state\":\"pending\",\"reason\":"
    "\"condition\","
    "\"rule\":\"slow\",\"starts_at\":\"2026-01-01T01:00:00.000Z\"},"
    "{\"id\":\"ab\",\"episode\":\"ee\",\"at\":\"2026-01-01T01:02:00.000Z\",\"state\":\"firing\",\"reason\":"
    "\"condition\","
    "\"rule\":\"slow\",\"kind\":\"metric\",\"severity\":\"warning\",\"target\":\"w/"
    "x\",\"labels\":{\"workflow\":\"w\","
    "\"task\":\"x\"},\"annotations\":{\"summary\":\"slow "
    "\\u001b[31m\"},\"starts_at\":\"2026-01-01T01:00:00.000Z\","
    "\"score\":0.625,\"probability\":0.00001,\"actual\":50,\"expected\":[10,20],\"unit\":\"ms\",\"channel\":"
    "\"level\","
    "\"why\":[{\"field\":\"host\",\"value\":\"h1\",\"share\":0.75}],\"provisional\":true}]";
static const char rules[] = "[{\"name\":\"other\",\"when\":\"true\"},{\"name\":\"slow\",\"measure\":\"m\","
                            "\"statistic\":\"mean\",\"type\":\"zscore\","
                            "\"settings\":{\"one_in\":\"1000\"}}]";

static struct explain *open_explain(const char *with_rules)
{
    struct explain *explain;
    struct error error;

    assert_int_equal(explain_new(span_of(lines), span_of(with_rules), &explain, &error), STATUS_OK);
    return explain;
}

static void says(const struct explain *explain, const char *const *parts)
{
    struct buffer out;

    buffer_init(&out, 1 << 16);
    explain_write(explain, &out);
    buffer_put_char(&out, 0);
    for (; *parts; parts++)
        if (!strstr(out.data, *parts))
            fail_msg("no '%s' in %s", *parts, out.data);
    assert_null(strchr(out.data, '\x1b'));
    buffer_free(&out);
}

static void take_minutes(struct explain *explain, const char *task, int from, int to)
{
    char line[300], start[TIME_TEXT_SIZE], end[TIME_TEXT_SIZE];

    for (int i = from; i < to; i++) {
        time_format(T0_US + i * MINUTE_US, start);
        time_format(T0_US + (i + 1) * MINUTE_US, end);
        snprintf(line, sizeof line,
                 "{\"measure\":\"m\",\"key\":{\"workflow\":\"w\",\"task\":\"%s\"},\"start\":\"%.24s\","
                 "\"end\":\"%.24s\","
                 "\"mean\":%d,\"anomaly\":%s}",
                 task, start, end, i, i % 10 == 0 ? "true" : "false");
        explain_take(explain, span_of(line));
    }
}

static void tells_all_that_is_known(void **state)
{
    struct explain *explain = open_explain(rules);
    static const char *const parts[] = {
        "slow ?[31m\n",
        "slow on w/x: warning, metric, firing\n",
        "2026-01-01T01:00:00Z, still open; 2 lines were told\n",
        "50 ms\n",
        "10 to 20; it is 30 above, 3 times the width of the band\n",
        "once in 1e+05 buckets; score 0.625\n",
        "level\n",
        "host = h1 (75 %)\n",
        "59 buckets since 2026-01-01T00:00:00Z: mean 0 to 58, median 29; 6 of them anomalous\n",
        "the last ones: 51, 52, 53, 54, 55, 56, 57, 58\n",
        "zscore on m mean\n",
        "one_in: 1000\n",
        "2026-01-01T01:00:00Z pending\n",
        "2026-01-01T01:02:00Z firing, provisional",
        NULL};

    take_minutes(explain, "y", 0, 60); /* of another series */
    take_minutes(explain, "x", 0, 90); /* those after the alert's start do not count */
    says(explain, parts);
    explain_free(explain);
}

static void keeps_the_newest_buckets(void **state)
{
    struct explain *explain = open_explain(rules);
    static const char *const parts[] = {"60 buckets since 2025-12-31T23:59:00Z: mean -1 to 58", NULL};

    take_minutes(explain, "x", -200, 59);
    says(explain, parts);
    explain_free(explain);
}

static void finds_its_series(void **state)
{
    static const char list[] =
        "[{\"series\":\"s1\",\"measure\":\"m\",\"key\":{\"workflow\":\"w\"}},"
        "{\"series\":\"s2\",\"measure\":\"n\",\"key\":{\"workflow\":\"w\",\"task\":\"x\"}},"
        "{\"series\":\"s3\",\"measure\":\"m\",\"key\":{\"workflow\":\"w\",\"task\":\"x\"}}]";
    struct explain *explain = open_explain(rules);
    char id[EXPLAIN_ID_BYTES];

    assert_true(explain_find_series(explain, span_of(list), id));
    assert_string_equal(id, "s3");
    assert_false(explain_find_series(explain, SPAN_LITERAL("[]"), id));
    explain_free(explain);
    explain = open_explain("");
    assert_false(explain_find_series(explain, span_of(list), id)); /* its measure is not known */
    explain_free(explain);
}

static void takes_either_id(void **state)
{
    char episode[EXPLAIN_ID_BYTES];
    static const char line[] = "{\"id\":\"aa\",\"episode\":\"ee\"}";
    struct explain *explain;
    struct error error;

    assert_true(explain_is_alert(span_of(line), "aa", episode));
    assert_string_equal(episode, "ee");
    assert_true(explain_is_alert(span_of(line), "ee", episode));
    assert_false(explain_is_alert(span_of(line), "ff", episode));
    assert_false(explain_is_alert(SPAN_LITERAL("nonsense"), "ff", episode));
    assert_int_equal(explain_new(SPAN_LITERAL("[]"), SPAN_LITERAL(""), &explain, &error), STATUS_FATAL);
    assert_int_equal(explain_new(SPAN_LITERAL("[3]"), SPAN_LITERAL(""), &explain, &error), STATUS_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_all_that_is_known),
        cmocka_unit_test(keeps_the_newest_buckets),
        cmocka_unit_test(finds_its_series),
        cmocka_unit_test(takes_either_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
