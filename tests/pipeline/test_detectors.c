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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_rate_of_counter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
