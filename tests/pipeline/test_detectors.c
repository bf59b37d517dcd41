/* Detectors on the buckets of a whole engine: what reaches a person, the same for any number of workers and
 * any size of batches. */
#include "tests/pipeline/replays.h"

#include <stdio.h>

#define START_MS 1795252620000 /* 2026-11-21T09:17:00Z */

enum { MINUTE_MS = 60 * 1000 };

/* A disk that fills by one a minute: told half an hour ahead, with the time of the crossing. */
static void test_forecast(void **state)
{
    static const char yaml[] =
        "name: test\nsources: [{name: one, type: file, path: rows.jsonl}]\n"
        "measures: [{name: disk, of: value, statistics: [max], by: [host], every: 1m}]\n"
        "detectors: [{name: full, type: forecast, measure: disk, above: 90, within: 30m}]\n";
    struct outputs outputs;
    struct folder folder;
    struct buffer rows;

    folder_open(&folder);
    buffer_init(&rows, 1 << 20);
    for (unsigned i = 0; i < 100; i++)
        for (unsigned host = 0; host < 2; host++)
            buffer_print(&rows, "{\"time\":%lld,\"host\":\"%s\",\"value\":%u}\n",
                         START_MS + (long long)i * MINUTE_MS, host ? "full" : "empty", host ? i : 7);
    folder_put(&folder, "rows.jsonl", rows.data, rows.size);
    replay_all_ways(&folder, yaml, &outputs);
    assert_int_equal(lines_of(outputs.texts[DOC_ALERT]), 1);
    assert_non_null(strstr(outputs.texts[DOC_ALERT], "\"kind\":\"forecast\""));
    assert_non_null(strstr(outputs.texts[DOC_ALERT],
                           "host:full: disk max is 61, will be above 90 at 2026-11-21T10:48:00"));
    assert_non_null(strstr(outputs.texts[DOC_SIGNAL], "\"due\":\"2026-11-21T10:48:00"));
    buffer_free(&rows);
    outputs_free(&outputs);
    folder_close(&folder);
}

/* A counter of Telegraf's, sampled every ten seconds, begins again from 0 in the second minute. */
static void test_rate_of_counter(void **state)
{
    static const char yaml[] =
        "name: test\nsources: [{name: one, type: file, path: rows.jsonl, format: auto}]\n"
        "measures: [{name: in, of: value, where: 'metric == \"net.bytes\"', statistics: [rate],\n"
        "  by: [host, labels.link], every: 1m}]\n";
    struct outputs outputs;
    struct folder folder;
    struct buffer rows;

    folder_open(&folder);
    buffer_init(&rows, 1 << 20);
    for (unsigned i = 0; i <= 18; i++)
        buffer_print(
            &rows,
            "{\"metrics\":[{\"fields\":{\"bytes\":%u,\"errors\":0},\"name\":\"net\",\"tags\":{\"host\":\"h\","
            "\"link\":\"eth0\"},\"timestamp\":%lld}]}\n",
            i < 8 ? 10000 + 50 * i : 20 * (i - 8), START_MS / 1000 + 10ll * i);
    folder_put(&folder, "rows.jsonl", rows.data, rows.size);
    replay_all_ways(&folder, yaml, &outputs);
    assert_int_equal(lines_of(outputs.texts[DOC_BUCKET]), 3);
    assert_non_null(strstr(outputs.texts[DOC_BUCKET], "\"key\":{\"host\":\"h\",\"labels.link\":\"eth0\"}"));
    assert_non_null(strstr(outputs.texts[DOC_BUCKET], "\"rate\":5,"));   /* 10000 to 10250 */
    assert_non_null(strstr(outputs.texts[DOC_BUCKET], "\"rate\":2.2,")); /* 10300 to 10350, 0 to 60 */
    assert_non_null(strstr(outputs.texts[DOC_BUCKET], "\"rate\":2,"));   /* 80 to 180 */
    buffer_free(&rows);
    outputs_free(&outputs);
    folder_close(&folder);
}

/* Half an hour from minute 60 on that is not normal: 500 where 20 to 22 are, then nothing at all.
 * A spike of 26 at minute 120 stands out only where neither was learned. */
static void replay_outage(const char *calendars, const char *measure, const char *detector,
                          struct outputs *ret_outputs)
{
    struct folder folder;
    struct buffer rows;
    char yaml[2048];

    folder_open(&folder);
    buffer_init(&rows, 1 << 20);
    for (unsigned i = 0; i <= 130; i++)
        if (i < 75 || i >= 90)
            buffer_print(&rows, "{\"time\":%lld,\"value\":%u}\n", START_MS + (long long)i * MINUTE_MS,
                         i == 120  ? 26
                         : i >= 60 ? (i < 75 ? 500 : 20 + i % 3)
                                   : 20 + i % 3);
    folder_put(&folder, "rows.jsonl", rows.data, rows.size);
    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: one, type: file, path: rows.jsonl}]\n%s"
             "measures: [{name: load, of: value, statistics: [sum], every: 1m%s}]\n"
             "detectors: [{name: odd, type: ewma, measure: load, one_in: 100, half_life: 1h, rest: 0s%s}]\n"
             "rules: [{name: high, on: bucket, measure: load, when: 'sum > 400.0'},\n"
             "  {name: event, when: 'value > 400.0'}]\n",
             calendars, measure, detector);
    replay_all_ways(&folder, yaml, ret_outputs);
    buffer_free(&rows);
    folder_close(&folder);
}

/* 10:17 to 10:47 UTC, where the first minute is 09:17. */
#define OUTAGE                                                                                               \
    "calendars: [{name: outage, location: Europe/Berlin, times: '11:17-11:47', from: 2026-11-21}]\n"

static size_t told_by(const struct outputs *outputs, const char *rule)
{
    char piece[64];

    snprintf(piece, sizeof piece, "\"rule\":\"%s\"", rule);
    return occurrences(outputs->texts[DOC_ALERT], piece);
}

static void test_calendars(void **state)
{
    static const struct {
        const char *calendars, *measure, *detector;
        bool odd, high, event, spike;
    } cases[] = {
        {"", "", "", true, true, true, false},
        {OUTAGE, "", "", true, true, true, false},
        {OUTAGE, "", ", except: [outage]", false, true, true, true},
        {OUTAGE, ", except: outage", "", false, false, true, true},
        {OUTAGE "maintenance: outage\n", "", "", false, false, false, true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outputs outputs;

        replay_outage(cases[i].calendars, cases[i].measure, cases[i].detector, &outputs);
        assert_int_equal(strstr(outputs.texts[DOC_SIGNAL], "\"actual\":500,") != NULL, cases[i].odd);
        assert_int_equal(told_by(&outputs, "high") > 0, cases[i].high);
        assert_int_equal(told_by(&outputs, "event") > 0, cases[i].event);
        assert_int_equal(strstr(outputs.texts[DOC_SIGNAL], "\"actual\":26,") != NULL, cases[i].spike);
        assert_int_equal(lines_of(outputs.texts[DOC_BUCKET]), 115);
        outputs_free(&outputs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_rate_of_counter),
        cmocka_unit_test(test_calendars),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
