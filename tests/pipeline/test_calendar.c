/* Which moments a calendar holds at, by the wall clock of its location. */
#include "base/memory.h"
#include "base/timestamp.h"
#include "pipeline/calendar.h"
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>

#define MINUTE_US (60 * 1000000LL)

static const char frame[] = "name: p\nhttp: {listen: \"\"}\nsources: [{name: s, type: file, path: x}]\n"
                            "calendars: [{name: c, %s}]\n";

static struct plan *plan_with(const char *keys)
{
    char yaml[1024];

    snprintf(yaml, sizeof yaml, frame, keys);
    return plan_of(yaml);
}

static int64_t moment(const char *text)
{
    int64_t time_us;

    assert_true(time_parse(span_of(text), TIME_UNIT_AUTO, TIME_NONE, &time_us));
    return time_us;
}

static bool holds(const struct plan *plan, const char *text)
{
    return plan_calendars(plan, moment(text), moment(text) + 1) == 1;
}

static void test_keys(void **state)
{
    static const struct {
        const char *keys, *inside[3], *outside[3];
    } cases[] = {
        {"times: ['08:00-12:00', '22:00-24:00']",
         {"2026-11-21T08:00:00Z", "2026-11-21T11:59:59.999999Z", "2026-11-21T23:59:59Z"},
         {"2026-11-21T07:59:59.999999Z", "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"}},
        {"weekdays: [saturday, 'monday:wednesday']",
         {"2026-11-21T00:00:00Z", "2026-11-23T12:00:00Z", "2026-11-25T23:59:59Z"},
         {"2026-11-20T23:59:59Z", "2026-11-22T12:00:00Z", "2026-11-26T00:00:00Z"}},
        {"days_of_month: ['1:2', -1]",
         {"2026-02-28T12:00:00Z", "2028-02-29T12:00:00Z", "2026-03-02T23:59:59Z"},
         {"2028-02-28T12:00:00Z", "2026-03-30T12:00:00Z", "2026-03-03T00:00:00Z"}},
        {"days_of_month: '25:-1', months: [dec, '1:february']",
         {"2026-12-31T12:00:00Z", "2026-02-25T12:00:00Z", "2026-01-30T12:00:00Z"},
         {"2026-12-24T12:00:00Z", "2026-03-26T12:00:00Z", "2026-11-25T12:00:00Z"}},
        {"years: '2026:2027', times: '00:00-00:01'",
         {"2026-01-01T00:00:30Z", "2027-12-31T00:00:00Z", "2027-06-01T00:00:00Z"},
         {"2025-12-31T00:00:00Z", "2028-01-01T00:00:00Z", "2026-01-01T00:01:00Z"}},
        {"from: 2026-11-21T10:00:00, to: '2026-11-21T12:00:00+01:00', location: +01:00",
         {"2026-11-21T09:00:00Z", "2026-11-21T10:00:00Z", "2026-11-21T10:59:59Z"},
         {"2026-11-21T08:59:59Z", "2026-11-21T11:00:00Z", "2026-11-22T10:00:00Z"}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan *plan = plan_with(cases[i].keys);

        for (unsigned k = 0; k < 3; k++) {
            if (!holds(plan, cases[i].inside[k]) || holds(plan, cases[i].outside[k]))
                fail_msg("{%s} at %s or %s", cases[i].keys, cases[i].inside[k], cases[i].outside[k]);
        }
        plan_free(plan);
    }
}

/* Berlin, 2026: on 29 March 02:00 becomes 03:00 (01:00 UTC), on 25 October 03:00 becomes 02:00 (01:00 UTC).
 * The hour from 2 to 3 comes never, then twice; 8 o'clock is another moment in summer. */
static void test_daylight_saving(void **state)
{
    struct plan *night = plan_with("location: Europe/Berlin, times: '02:00-03:00'");
    struct plan *day = plan_with("location: Europe/Berlin, times: '08:00-09:00'");
    unsigned minutes[2] = {0};

    for (unsigned i = 0; i < 24 * 60; i++) {
        int64_t spring = moment("2026-03-28T23:00:00Z") + i * MINUTE_US;
        int64_t autumn = moment("2026-10-24T22:00:00Z") + i * MINUTE_US;

        minutes[0] += plan_calendars(night, spring, spring + 1) == 1;
        minutes[1] += plan_calendars(night, autumn, autumn + 1) == 1;
    }
    assert_int_equal(minutes[0], 0);
    assert_int_equal(minutes[1], 120);
    assert_true(holds(night, "2026-10-25T00:30:00Z") && holds(night, "2026-10-25T01:30:00Z"));
    assert_true(holds(day, "2026-03-28T07:30:00Z") && !holds(day, "2026-03-28T06:30:00Z"));
    assert_true(holds(day, "2026-03-29T06:30:00Z") && !holds(day, "2026-03-29T07:30:00Z"));
    plan_free(night);
    plan_free(day);
}

/* A time without a zone is of the location, in summer and in winter. */
static void test_window_in_local_time(void **state)
{
    struct plan *plan =
        plan_with("location: Europe/Berlin, from: '2026-03-29 01:00:00', to: '2026-10-25 04:00:00'");

    assert_true(holds(plan, "2026-03-29T00:00:00Z") && !holds(plan, "2026-03-28T23:59:59Z"));
    assert_true(holds(plan, "2026-10-25T02:59:59Z") && !holds(plan, "2026-10-25T03:00:00Z"));
    plan_free(plan);
}

/* Against every minute of the span. */
static void test_overlap(void **state)
{
    struct plan *plan = plan_with("location: America/New_York, weekdays: 'friday:saturday', "
                                  "times: ['06:30-06:31', '23:00-24:00']");
    int64_t start = moment("2026-10-30T00:00:00Z");

    for (unsigned from = 0; from < 3 * 1440; from += 37)
        for (unsigned size = 1; size < 1000; size = 2 * size + 11) {
            bool expected = false;

            for (unsigned i = 0; i < size && !expected; i++)
                expected = plan_calendars(plan, start + (from + i) * MINUTE_US,
                                          start + (from + i) * MINUTE_US + 1) == 1;
            assert_int_equal(
                plan_calendars(plan, start + from * MINUTE_US, start + (from + size) * MINUTE_US), expected);
        }
    plan_free(plan);
}

static void test_refused(void **state)
{
    static const struct {
        const char *keys, *error;
    } cases[] = {
        {"times: '8:00-12:00'", "times: '8:00-12:00' is not a time of day, 00:00-06:00 to 18:00-24:00"},
        {"times: '12:00-24:01'", "times: '12:00-24:01' is not a time of day"},
        {"times: '22:00-06:00'", "times: '22:00-06:00' begins after its end; write two"},
        {"weekdays: 'friday:monday'", "weekdays: 'friday:monday' begins after its end"},
        {"weekdays: 3", "weekdays: '3' is not a day or two"},
        {"weekdays: fr", "weekdays: 'fr' is not a day or two"},
        {"days_of_month: 0", "days_of_month: '0' is not a day or two, 1 to 31, or -31 to -1"},
        {"days_of_month: '-1:-3'", "days_of_month: '-1:-3' begins after its end"},
        {"months: 13", "months: '13' is not a month or two"},
        {"years: 26", "years: '26' is not a year or two, 1970 to 9998"},
        {"location: Europe/Berlina, years: 2026", "location: unknown time zone 'Europe/Berlina'"},
        {"location: ../etc/passwd, years: 2026", "location: unknown time zone '../etc/passwd'"},
        {"from: soon", "from: 'soon' is no time, like"},
        {"from: 2026-01-02, to: 2026-01-02", "to: '2026-01-02' is not after from"},
        {"location: UTC", "calendar 'c' would always hold"},
        {"time: '08:00-09:00'", "did you mean 'times'"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct folder folder;
        struct plan *plan;
        struct error error;
        char yaml[1024];

        folder_open(&folder);
        snprintf(yaml, sizeof yaml, frame, cases[i].keys);
        assert_int_equal(plan_try(&folder, yaml, NULL, &plan, &error), STATUS_FATAL);
        if (!strstr(error.text, cases[i].error) || !strstr(error.text, ":4:"))
            fail_msg("{%s}: %s", cases[i].keys, error.text);
        folder_close(&folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_daylight_saving),
        cmocka_unit_test(test_window_in_local_time),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
