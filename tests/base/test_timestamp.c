/* Event times: every accepted form, every near miss, and both directions against the C library's calendar. */
#include "base/timestamp.h"
#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* 2026-11-21T09:40:20.097Z */
#define REFERENCE 1795254020097000LL

// clang-format off
static const struct form {
    const char *text;
    enum time_unit unit;
    int64_t time_us; /* TIME_NONE: refused */
} forms[] = {
    {"2024-11-22T15:58:08.958993Z", 0, 1732291088958993},
    {"2024-11-22T15:58:08.958993+00:00", 0, 1732291088958993},
    {"2024-11-22t15:58:08.958993z", 0, 1732291088958993},
    {"2024-11-22T15:58:08.958993999Z", 0, 1732291088958993},
    {"2024-11-22 15:58:08,958", 0, 1732291088958000},
    {"2024-11-22T15:58:08Z", 0, 1732291088000000},
    {"2024-11-22T15:58:08", 0, 1732291088000000},
    {"2024-11-22T15:58:08.9", 0, 1732291088900000},
    {"2024-11-22T17:58:08+02:00", 0, 1732291088000000},
    {"2024-11-22T17:58:08.5+0200", 0, 1732291088500000},
    {"2024-11-22T17:58:08+02", 0, 1732291088000000},
    {"2024-11-22T10:28:08-05:30", 0, 1732291088000000},
    {"2024-11-22", 0, 1732233600000000},
    {"2024-02-29", 0, 1709164800000000},
    {"2000-02-29T00:00:00Z", 0, 951782400000000},
    {"1969-12-31T23:59:59.999999Z", 0, -1},
    {"0001-01-01T00:00:00Z", 0, TIME_MIN_US},
    {"9999-12-31T23:59:59.999999Z", 0, TIME_MAX_US},
    {"2016-12-31T23:59:60Z", 0, 1483228799999999},
    {"2016-12-31T23:59:60.5+00:00", 0, 1483228799999999},
    {"2024-11-22T15:58:08Z", TIME_UNIT_MS, 1732291088000000},

    {"1795252615.5098026", 0, 1795252615509802},
    {"1795252615.509802", TIME_UNIT_S, 1795252615509802},
    {"1732291088958", 0, 1732291088958000},
    {"1732291088", 0, 1732291088000000},
    {"1732291088958993", 0, 1732291088958993},
    {"1732291088958993123", 0, 1732291088958993},
    {"1732291088958.993", 0, 1732291088958993},
    {"1.732291088958993e9", 0, 1732291088958993},
    {"1.732291088958993E+12", 0, 1732291088958993},
    {"17322910889589930e-7", TIME_UNIT_S, 1732291088958993},
    {"0", 0, 0},
    {"-1", 0, -1000000},
    {"-0.0000001", TIME_UNIT_S, -1},
    {"-1.5", TIME_UNIT_US, -2},
    {"-1999", TIME_UNIT_NS, -2},
    {"1", TIME_UNIT_MS, 1000},
    {"99999999999", 0, 99999999999000000},
    {"100000000000", 0, 100000000000000},
    {"99999999999999", 0, 99999999999999000},
    {"100000000000000", 0, 100000000000000},
    {"0000000000000000000000000000001732291088", 0, 1732291088000000},
    {"1732291088.0000000000000000000000000000009", 0, 1732291088000000},

    {"Nov 21 09:40:20", 0, 1795254020000000},
    {"Nov  1 12:00:00", 0, 1793534400000000},
    {"Nov 01 12:00:00.25", 0, 1793534400250000},
    {"Nov 1 12:00:00", 0, 1793534400000000},
    {"Feb 29 12:00:00", 0, TIME_NONE},

    {"", 0, TIME_NONE}, {" ", 0, TIME_NONE}, {"-", 0, TIME_NONE}, {".", 0, TIME_NONE}, {"e5", 0, TIME_NONE},
    {"1e", 0, TIME_NONE}, {"1e+", 0, TIME_NONE}, {"1.2.3", 0, TIME_NONE}, {"12x", 0, TIME_NONE},
    {"NaN", 0, TIME_NONE}, {"nan", 0, TIME_NONE}, {"inf", 0, TIME_NONE}, {"Infinity", 0, TIME_NONE},
    {"0x10", 0, TIME_NONE}, {"1e99", 0, TIME_NONE}, {"1e999999999999", 0, TIME_NONE},
    {"99999999999999999999999999", 0, TIME_NONE}, {"253402300800", TIME_UNIT_S, TIME_NONE},
    {"2024-04-31", 0, TIME_NONE}, {"2023-02-29", 0, TIME_NONE}, {"1900-02-29", 0, TIME_NONE},
    {"2024-13-01", 0, TIME_NONE}, {"2024-00-01", 0, TIME_NONE}, {"2024-01-00", 0, TIME_NONE},
    {"0000-01-01", 0, TIME_NONE}, {"2024-11-22T", 0, TIME_NONE}, {"2024-11-22T24:00:00Z", 0, TIME_NONE},
    {"2024-11-22T15:60:00Z", 0, TIME_NONE}, {"2024-11-22T15:58:61Z", 0, TIME_NONE},
    {"2024-11-22T15:58Z", 0, TIME_NONE}, {"2024-11-22T15:58:08.Z", 0, TIME_NONE},
    {"2024-11-22T15:58:08.1234567890Z", 0, TIME_NONE}, {"2024-11-22T15:58:08ZZ", 0, TIME_NONE},
    {"2024-11-22T15:58:08+", 0, TIME_NONE}, {"2024-11-22T15:58:08+2", 0, TIME_NONE},
    {"2024-11-22T15:58:08+02:", 0, TIME_NONE}, {"2024-11-22T15:58:08+02:0", 0, TIME_NONE},
    {"2024-11-22T15:58:08+24:00", 0, TIME_NONE}, {"2024-11-22T15:58:08+02:60", 0, TIME_NONE},
    {"2024-11-22x15:58:08", 0, TIME_NONE}, {"2024-11-2215:58:08", 0, TIME_NONE},
    {"0001-01-01T00:00:00+01:00", 0, TIME_NONE}, {"9999-12-31T23:59:59-01:00", 0, TIME_NONE},
    {"Nov  21 09:40:20", 0, TIME_NONE}, {"Nov 31 09:40:20", 0, TIME_NONE}, {"Nov 21", 0, TIME_NONE},
    {"Nox 21 09:40:20", 0, TIME_NONE}, {"Nov 0 09:40:20", 0, TIME_NONE}, {"Nov 21 09:40:20 x", 0, TIME_NONE},
};
// clang-format on

static void reads_every_form(void **state)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const struct form *form = &forms[i];
        int64_t time_us = TIME_NONE;
        bool good = time_parse(span_of(form->text), form->unit, REFERENCE, &time_us);

        if (good != (form->time_us != TIME_NONE) || time_us != form->time_us)
            fail_msg("'%s' read as %lld, not %lld", form->text, (long long)time_us, (long long)form->time_us);
    }
}

static void layouts_read_what_logs_write(void **state)
{
    static const struct {
        const char *layout, *text, *zone, *expected; /* NULL: refused */
    } cases[] = {
        {"%y%m%d %H%M%S", "081109 203615", "Z", "2008-11-09T20:36:15.000Z"},
        {"%y/%m/%d %H:%M:%S", "17/06/09 20:10:40", "Z", "2017-06-09T20:10:40.000Z"},
        {"%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "Z", "2000-10-10T20:55:36.000Z"},
        {"%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36", "+02:00", "2000-10-10T11:55:36.000Z"},
        {"%a %b %d %H:%M:%S %Y", "Sun Dec 04 04:47:44 2005", "Z", "2005-12-04T04:47:44.000Z"},
        {"%a %b %d %H:%M:%S %Y", "Fri Sep  9 10:42:29.902022 2011", "Z", "2011-09-09T10:42:29.902Z"},
        {"%b %d %H:%M:%S", "Feb 29 12:00:00", "Z", "2024-02-29T12:00:00.000Z"},
        {NULL, "2026-11-21 09:16:55,500", "+01:00", "2026-11-21T08:16:55.500Z"},
        {NULL, "2026-11-21 09:16:55,500Z", "+01:00", "2026-11-21T09:16:55.500Z"},
        {NULL, "Nov 21 09:16:55", "-0130", "2024-11-21T10:46:55.000Z"},
        {"%y%m%d %H%M%S", "081309 203615", "Z", NULL},
        {"%y%m%d %H%M%S", "080231 203615", "Z", NULL},
        {"%y%m%d %H%M%S", "081109 20361", "Z", NULL},
        {"%y%m%d %H%M%S", "081109 203615 ", "Z", NULL},
        {"%d/%b/%Y:%H:%M:%S %z", "10/Okt/2000:13:55:36 -0700", "Z", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct time_form form = {.layout = cases[i].layout};
        char text[TIME_TEXT_SIZE + 1] = "";
        int64_t time_us;

        assert_true(time_zone_parse(span_of(cases[i].zone), &form.zone_us));
        assert_true(!form.layout || !time_layout_check(form.layout));
        if (time_read(span_of(cases[i].text), &form, 1719792000000000, &time_us))
            time_format(time_us, text);
        assert_string_equal(text, cases[i].expected ? cases[i].expected : "");
    }
}

static void layouts_are_checked(void **state)
{
    assert_string_equal(time_layout_check("%Y-%m-%d %H:%M"), "needs %d, %H, %M and %S");
    assert_string_equal(time_layout_check("%Y-%d %H:%M:%S"), "needs %m or %b");
    assert_string_equal(time_layout_check("%d %d"), "has a directive twice");
    assert_string_equal(time_layout_check("%z %d"), "has %z before its end");
    assert_non_null(strstr(time_layout_check("%Q"), "unknown directive"));
    assert_non_null(strstr(time_layout_check("%"), "unknown directive"));
}

static void syslog_takes_the_nearest_year(void **state)
{
    struct span december = SPAN_LITERAL("Dec 31 23:59:59"), january = SPAN_LITERAL("Jan  1 00:00:01");
    int64_t new_year_2026, time_us;

    assert_true(time_parse(SPAN_LITERAL("2026-01-01"), 0, 0, &new_year_2026));
    assert_true(time_parse(december, 0, new_year_2026 + 5000000, &time_us));
    assert_int_equal(time_us, new_year_2026 - 1000000);
    assert_true(time_parse(january, 0, new_year_2026 - 5000000, &time_us));
    assert_int_equal(time_us, new_year_2026 + 1000000);
    assert_false(time_parse(december, 0, TIME_NONE, &time_us));

    /* the 29th of a year without one belongs to the leap year next to it */
    assert_true(time_parse(SPAN_LITERAL("2025-02-20"), 0, 0, &new_year_2026));
    assert_true(time_parse(SPAN_LITERAL("Feb 29 00:00:00"), 0, new_year_2026, &time_us));
    assert_int_equal(time_us, 1709164800000000);
}

static int64_t random_time(uint64_t *random)
{
    return TIME_MIN_US + (int64_t)random_below(random, (uint64_t)(TIME_MAX_US - TIME_MIN_US) + 1);
}

static void agrees_with_the_c_library(void **state)
{
    uint64_t random = 1;

    for (int i = 0; i < 10000; i++) {
        int64_t time_us = random_time(&random), again_us;
        time_t seconds = (time_t)floor_div(time_us, 1000000);
        int fraction_us = (int)(time_us - seconds * 1000000);
        char expected[80], text[TIME_TEXT_SIZE], month[8];
        struct tm tm;

        gmtime_r(&seconds, &tm);
        int size =
            snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%06d", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, fraction_us);
        assert_true(time_parse(span_make(expected, (size_t)size), TIME_UNIT_AUTO, TIME_NONE, &again_us));
        assert_int_equal(again_us, time_us);

        assert_int_equal(time_format(time_us, text), TIME_TEXT_SIZE);
        assert_memory_equal(text, expected, TIME_TEXT_SIZE - 1);
        assert_int_equal(text[TIME_TEXT_SIZE - 1], 'Z');
        time_month(time_us, month);
        assert_memory_equal(month, expected, 4);
        assert_memory_equal(month + 5, expected + 5, 2);
        assert_int_equal(month[4], '.');
        assert_int_equal(month[7], '\0');
    }
}

static void formats_towards_the_past_and_within_the_range(void **state)
{
    char text[TIME_TEXT_SIZE];

    time_format(-1, text);
    assert_memory_equal(text, "1969-12-31T23:59:59.999Z", TIME_TEXT_SIZE);
    time_format(1999, text);
    assert_memory_equal(text, "1970-01-01T00:00:00.001Z", TIME_TEXT_SIZE);
    time_format(TIME_MAX_US + 60000000, text);
    assert_memory_equal(text, "9999-12-31T23:59:59.999Z", TIME_TEXT_SIZE);
    time_format(TIME_MIN_US - 60000000, text);
    assert_memory_equal(text, "0001-01-01T00:00:00.000Z", TIME_TEXT_SIZE);
}

/* One instant gives one time, whether its decimals come as text or as the nearest double. */
static void numbers_agree_with_their_text(void **state)
{
    static const double per_unit[] = {[TIME_UNIT_S] = 1e6, [TIME_UNIT_MS] = 1e3, [TIME_UNIT_US] = 1};
    uint64_t random = 2;

    for (int i = 0; i < 10000; i++) {
        int64_t expected_us = (int64_t)random_below(&random, 4000000000000000), time_us;
        enum time_unit unit = TIME_UNIT_S + (unsigned)random_below(&random, 3);
        double number = (double)expected_us / per_unit[unit];
        char text[40];

        assert_true(time_from_number(number, unit, &time_us));
        assert_int_equal(time_us, expected_us);
        int size = snprintf(text, sizeof text, "%.17g", number * (1 + 1e-9));
        assert_true(time_parse(span_make(text, (size_t)size), unit, 0, &expected_us));
        assert_true(time_from_number(strtod(text, NULL), unit, &time_us));
        assert_true(llabs(time_us - expected_us) <= 1);
        if (floor(number) == number) {
            assert_true(time_from_integer((int64_t)number, unit, &expected_us));
            assert_true(time_from_number(number, unit, &time_us));
            assert_int_equal(time_us, expected_us);
        }
    }
}

static void numbers_out_of_range_are_refused(void **state)
{
    static const double bad[] = {NAN, INFINITY, -INFINITY, 1e300, -1e300, 1e19, 0x1p63, -0x1p63};
    int64_t time_us = 7;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (enum time_unit unit = TIME_UNIT_AUTO; unit <= TIME_UNIT_US; unit++)
            assert_false(time_from_number(bad[i], unit, &time_us));
    assert_false(time_from_integer(INT64_MAX, TIME_UNIT_S, &time_us));
    assert_false(time_from_integer(INT64_MIN, TIME_UNIT_US, &time_us));
    assert_int_equal(time_us, 7);
    assert_true(time_from_integer(INT64_MIN, TIME_UNIT_AUTO, &time_us));
    assert_int_equal(time_us, INT64_MIN / 1000 - 1);
    assert_true(time_from_number(1795252615.5098026, TIME_UNIT_AUTO, &time_us));
    assert_int_equal(time_us, 1795252615509802);
}

static void garbage_never_crashes(void **state)
{
    static const char letters[] = "0123456789-+:.,TZtz eE/NovJan\0\xff";
    uint64_t random = 3;

    for (int i = 0; i < 200000; i++) {
        const char *form = forms[random_below(&random, sizeof forms / sizeof forms[0])].text;
        uint32_t size = (uint32_t)strlen(form);
        char *text = malloc(size + 1); /* exact, so that the address sanitizer sees a byte too many */
        int64_t time_us = 7;

        memcpy(text, form, size);
        for (uint64_t change = random_below(&random, 3); size > 0 && change > 0; change--)
            text[random_below(&random, size)] = letters[random_below(&random, sizeof letters - 1)];
        uint32_t cut = (uint32_t)random_below(&random, size + 1);
        char *copy = malloc(cut ? cut : 1);
        memcpy(copy, text, cut);
        if (time_parse(span_make(copy, cut), TIME_UNIT_AUTO, REFERENCE, &time_us))
            assert_in_range(time_us - TIME_MIN_US, 0, TIME_MAX_US - TIME_MIN_US);
        else
            assert_int_equal(time_us, 7);
        free(copy);
        free(text);
    }
}

static void days_count_from_1970(void **state)
{
    assert_int_equal(days_from_civil(1970, 1, 1), 0);
    assert_int_equal(days_from_civil(1969, 12, 31), -1);
    assert_int_equal(days_from_civil(2000, 3, 1), 11017);
    assert_int_equal(days_from_civil(1, 1, 1), -719162);
    assert_int_equal(floor_div(-1, 1000), -1);
    assert_int_equal(floor_div(-1000, 1000), -1);
    assert_int_equal(floor_div(999, 1000), 0);
}

/* Every day there is, counted up from the first. */
static void every_day_is_written(void **state)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t time_us = TIME_MIN_US;
    char text[TIME_TEXT_SIZE], expected[64], month_text[8];
    uint64_t random = 4;

    for (int year = 1; year <= 9999; year++) {
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= lengths[month - 1] + (leap && month == 2); day++) {
                int ms = (int)random_below(&random, 86400000);

                snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day,
                         ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
                time_format(time_us + ms * 1000LL + 999, text);
                assert_memory_equal(text, expected, TIME_TEXT_SIZE);
                time_us += 86400000000;
            }
            snprintf(expected, sizeof expected, "%04d.%02d", year, month);
            time_month(time_us - 1, month_text);
            assert_string_equal(month_text, expected);
        }
    }
    assert_int_equal(time_us, TIME_MAX_US + 1);
}

// clang-format off
static const struct {
    const char *text;
    int64_t duration_us; /* -1: refused */
    const char *formatted;
} durations[] = {
    {"500ms", 500000, "500ms"}, {"30s", 30000000, "30s"}, {"5m", 300000000, "5m"}, {"1h", 3600000000, "1h"},
    {"1d", 86400000000, "1d"}, {"2w", 1209600000000, "2w"}, {"1.5h", 5400000000, "90m"}, {"0", 0, "0s"},
    {"0s", 0, "0s"}, {"60s", 60000000, "1m"}, {"0.25s", 250000, "250ms"}, {"0.001ms", 1, "0.001ms"},
    {"1.25ms", 1250, "1.25ms"}, {"90s", 90000000, "90s"}, {"36h", 129600000000, "36h"}, {"010s", 10000000, "10s"},
    {"365000d", 31536000000000000, "365000d"},
    {"", -1, ""}, {"5", -1, ""}, {"0.0", -1, ""}, {"s", -1, ""}, {"-5s", -1, ""}, {"+5s", -1, ""}, {"5 s", -1, ""},
    {"5S", -1, ""}, {"5sec", -1, ""}, {"1h30m", -1, ""}, {".s", -1, ""}, {"1.2.3s", -1, ""}, {"1e3s", -1, ""},
    {"400000d", -1, ""}, {"99999999999999999999999999d", -1, ""}, {"10 parsecs", -1, ""},
};
// clang-format on

static void durations_read_and_format(void **state)
{
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        int64_t duration_us = -1, again_us;
        char text[24];

        if (duration_parse(span_of(durations[i].text), &duration_us) != (durations[i].duration_us >= 0) ||
            duration_us != durations[i].duration_us)
            fail_msg("'%s' read as %lld", durations[i].text, (long long)duration_us);
        if (duration_us < 0)
            continue;
        duration_format(duration_us, text);
        assert_string_equal(text, durations[i].formatted);
        assert_true(duration_parse(span_of(text), &again_us));
        assert_int_equal(again_us, duration_us);
    }
}

static void any_duration_reads_back(void **state)
{
    uint64_t random = 4;
    char text[24];

    for (int i = 0; i < 10000; i++) {
        int64_t duration_us = (int64_t)(random_next(&random) >> (random_below(&random, 50) + 14)), again_us;

        if (duration_us > 31536000000000000)
            continue;
        duration_format(duration_us, text);
        assert_true(duration_parse(span_of(text), &again_us));
        assert_int_equal(again_us, duration_us);
    }
    duration_format(INT64_MIN, text);
    assert_string_equal(text, "-9223372036854775.808ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_form),
        cmocka_unit_test(layouts_read_what_logs_write),
        cmocka_unit_test(layouts_are_checked),
        cmocka_unit_test(syslog_takes_the_nearest_year),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(formats_towards_the_past_and_within_the_range),
        cmocka_unit_test(numbers_agree_with_their_text),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(garbage_never_crashes),
        cmocka_unit_test(days_count_from_1970),
        cmocka_unit_test(every_day_is_written),
        cmocka_unit_test(durations_read_and_format),
        cmocka_unit_test(any_duration_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
