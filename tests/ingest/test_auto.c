/* `auto` gives of each message what its own format gives, whatever came before. */
#include "tests/ingest/json_support.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <stdlib.h>

static const struct recording {
    const char *format, *path;
} recordings[] = {
    {"openlineage", "data/events/airflow/dev/openlineage.jsonl.zst"},
    {"celery", "data/events/celery/dev/events.jsonl.zst"},
    {"dagster", "data/events/dagster/events.jsonl.zst"},
    {"dagster", "data/events/dagster/console.jsonl.zst"},
    {"dbt", "data/events/dbt/log.jsonl.zst"},
    {"zeebe", "data/events/zeebe/records.jsonl.zst"},
    {"ecs", "data/events/samples/ecs/order_api.jsonl.zst"},
};

enum { RECORDINGS = sizeof recordings / sizeof *recordings, TRIES = 4000 };

static void assert_same_rows(struct rig *own, struct rig *found)
{
    assert_int_equal(found->batch.rows, own->batch.rows);
    for (uint32_t row = 0; row < own->batch.rows; row++) {
        assert_int_equal(found->batch.mark[row], own->batch.mark[row]);
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
            struct field_ref ref = {.field = (enum field)field};
            struct span expected, text;

            assert_true(event_text(&own->batch, row, ref, &expected) &&
                        event_text(&found->batch, row, ref, &text));
            assert_true(span_equal(expected, text));
        }
    }
}

/* Messages of all recordings in any order. */
static void test_mixed(void **state)
{
    struct rig rigs[RECORDINGS], mixed;
    char **lines[RECORDINGS];
    size_t counts[RECORDINGS];
    uint64_t random = 11;

    for (size_t r = 0; r < RECORDINGS; r++)
        if (!lines_load(recordings[r].path, &lines[r], &counts[r]))
            skip();
    rig_open(&mixed, "auto", NULL);
    for (size_t r = 0; r < RECORDINGS; r++)
        rig_open(&rigs[r], recordings[r].format, NULL);
    for (unsigned i = 0; i < TRIES; i++) {
        size_t r = random_below(&random, RECORDINGS);
        const char *line = lines[r][random_below(&random, counts[r])];

        assert_int_equal(rig_decode_text(&rigs[r], line), STATUS_OK);
        assert_int_equal(rig_decode_text(&mixed, line), STATUS_OK);
        assert_true(rigs[r].batch.rows == 1 && rigs[r].batch.mark[0] == MARK_OK);
        assert_same_rows(&rigs[r], &mixed);
    }
    for (size_t r = 0; r < RECORDINGS; r++) {
        rig_close(&rigs[r]);
        lines_free(lines[r], counts[r]);
    }
    rig_close(&mixed);
}

static void test_others(void **state)
{
    struct rig rig;

    rig_open(&rig, "auto", NULL);
    /* our own names */
    assert_int_equal(rig_decode_text(&rig, "[{\"time\":1,\"workflow\":\"w\",\"state\":\"failed\"}]"),
                     STATUS_OK);
    assert_int_equal(rig.batch.mark[0], MARK_OK);
    assert_int_equal(rig.batch.state[0], STATE_FAILED);
    /* an array is what its first element is */
    assert_int_equal(
        rig_decode_text(&rig, "[{\"type\":\"task-sent\",\"uuid\":\"u\",\"timestamp\":1},{\"time\":1}]"),
        STATUS_OK);
    assert_int_equal(rig.batch.rows, 2);
    assert_span(rig.batch.engine[0], "celery");
    assert_string_equal(rig.batch.reason[1], "no type");
    rig_assert_malformed(&rig, "{\"hello\":\"world\"}", "no time");
    rig_assert_skipped(&rig, "{\"context\":{},\"subject\":{}}",
                       "looks like a CDEvents message; no format reads it yet");
    rig_assert_skipped(&rig, "a line of text", "invalid JSON at byte 1: invalid char in json text");
    rig_close(&rig);
}

/* The agents of metrics: what each writes first is enough. */
static void test_metrics(void **state)
{
    static const struct {
        const char *engine, *message;
    } samples[] = {
        {"telegraf", "{\"fields\":{\"a\":1},\"name\":\"n\",\"tags\":{},\"timestamp\":1458229140}"},
        {"telegraf", "{\"metrics\":[{\"fields\":{\"a\":1},\"name\":\"n\",\"tags\":{},\"timestamp\":1}]}"},
        {"collectd", "[{\"values\":[1],\"dstypes\":[\"gauge\"],\"dsnames\":[\"value\"],\"time\":1280959128,"
                     "\"host\":\"h\",\"plugin\":\"load\",\"type\":\"load\"}]"},
        {"metricbeat",
         "{\"@timestamp\":\"2017-10-12T08:05:34Z\",\"@metadata\":{\"beat\":\"metricbeat\",\"type\":"
         "\"_doc\"},\"agent\":{},\"event\":{\"module\":\"system\"},\"system\":{\"load\":{\"1\":2}}}"},
        {"prometheus", "{\"labels\":{\"job\":\"j\"},\"name\":\"up\",\"timestamp\":\"2026-11-21T09:40:20Z\","
                       "\"value\":\"1\"}"},
    };
    struct rig rig;

    rig_open(&rig, "auto", NULL);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        assert_int_equal(rig_decode_text(&rig, samples[i].message), STATUS_OK);
        assert_int_equal(rig.batch.rows, 1);
        assert_int_equal(rig.batch.mark[0], MARK_OK);
        assert_span(rig.batch.engine[0], samples[i].engine);
    }
    assert_int_equal(rig_decode_text(&rig, "{\"time\":1,\"metrics\":[{\"name\":\"x\"}]}"), STATUS_OK);
    assert_int_equal(rig.batch.mark[0], MARK_OK); /* somebody's own */
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    check_json_format(
        "auto", "{\"type\":\"task-failed\",\"uuid\":\"u\",\"timestamp\":1795252618.5,\"hostname\":\"h\","
                "\"exception\":\"E('x')\"}");
    check_json_format("auto", "{\"time\":1795252618,\"workflow\":\"w\",\"value\":2}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
