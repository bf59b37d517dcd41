/* Cron lines: times by hand, also where clocks change, and what is refused. */
#include "base/timestamp.h"
#include "pipeline/cron.h"
#include "tests/pipeline/support.h"

#include <string.h>

static int64_t us_of(const char *text)
{
    int64_t us = 0;

    assert_true(time_parse(span_of(text), TIME_UNIT_AUTO, TIME_NONE, &us));
    return us;
}

static void assert_next(const char *line, const char *zone_name, const char *after, const char *expected)
{
    struct time_zone *zone = zone_name ? time_zone_load(span_of(zone_name)) : NULL;
    struct cron cron;
    struct error error;

    if (cron_parse(span_of(line), &cron, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(cron_next(&cron, zone, us_of(after)), us_of(expected));
    time_zone_free(zone);
}

static void test_times(void **state)
{
    (void)state;
    assert_next("*/15 * * * *", NULL, "2026-11-22T10:15:00Z", "2026-11-22T10:30:00Z");
    assert_next("0 2 * * *", NULL, "2026-11-22T02:00:01Z", "2026-11-23T02:00:00Z");
    assert_next("@daily", NULL, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
    assert_next("30 6 * * mon-fri", NULL, "2026-11-20T07:00:00Z", "2026-11-23T06:30:00Z"); /* a Friday */
    assert_next("0 0 29 2 *", NULL, "2026-11-22T00:00:00Z", "2028-02-29T00:00:00Z");
    assert_next("0 0 13 * 5", NULL, "2026-11-22T00:00:00Z", "2026-11-27T00:00:00Z"); /* either is enough */
    assert_next("5,10-12/2 8 1 jan,Jul 7", NULL, "2026-11-22T00:00:00Z", "2027-01-01T08:05:00Z");
}

/* In Berlin 02:30 does not come on 2026-03-29, and comes once on 2026-10-25. */
static void test_zone(void **state)
{
    struct time_zone *zone = time_zone_load(span_of("Europe/Berlin"));

    (void)state;
    if (!zone)
        skip();
    time_zone_free(zone);
    assert_next("0 2 * * *", "Europe/Berlin", "2026-11-22T00:30:00Z", "2026-11-22T01:00:00Z");
    assert_next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z");
    assert_next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
}

static void test_refused(void **state)
{
    static const char *const lines[][2] = {
        {"", "minute"},
        {"* * * *", "day of the week"},
        {"60 * * * *", "from 0 to 59"},
        {"* 24 * * *", "hour"},
        {"* * 0 * *", "from 1 to 31"},
        {"* * * 13 *", "month"},
        {"* * * * 8", "week"},
        {"5-1 * * * *", "minute"},
        {"*/0 * * * *", "minute"},
        {"1,,2 * * * *", "minute"},
        {"x * * * *", "minute"},
        {"* * * * * *", "more than five"},
        {"0 0 31 2 *", "no such day"},
        {"@often", "minute"},
        {"99999999999 * * * *", "minute"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct cron cron;
        struct error error;

        assert_int_not_equal(cron_parse(span_of(lines[i][0]), &cron, &error), STATUS_OK);
        if (!strstr(error.text, lines[i][1]))
            fail_msg("%s: %s", lines[i][0], error.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_zone),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
