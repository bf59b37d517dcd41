/* Telegraf's JSON output: alone, as an array, as a batch. */
#include "tests/ingest/json_support.h"

#include <stdlib.h>

#define CPU                                                                                                  \
    "{\"fields\":{\"usage_idle\":91.2,\"usage_user\":5,\"model\":\"x\"},\"name\":\"cpu\","                   \
    "\"tags\":{\"cpu\":\"cpu-total\",\"host\":\"h1\"},\"timestamp\":1458229140}"
#define UP "{\"fields\":{\"value\":true},\"name\":\"up\",\"tags\":{},\"timestamp\":\"2016-03-17T15:39:00Z\"}"

static void assert_sample(const struct rig *rig, uint32_t row, const char *metric, double value)
{
    assert_true(row < rig->batch.rows);
    assert_int_equal(rig->batch.mark[row], MARK_OK);
    assert_int_equal(rig->batch.kind[row], KIND_METRIC);
    assert_int_equal(rig->batch.item[row], row);
    assert_span(rig->batch.metric[row], metric);
    assert_true(rig->batch.value[row] == value);
    assert_true(rig->batch.time_us[row] == time_of("2016-03-17T15:39:00Z"));
    assert_span(rig->batch.engine[row], "telegraf");
}

static void test_shapes(void **state)
{
    static const char *const messages[] = {"[" CPU "," UP "]", "{\"metrics\":[" CPU "," UP "]}"};
    struct rig rig;

    rig_open(&rig, "telegraf", NULL);
    assert_int_equal(rig_decode_text(&rig, CPU), STATUS_OK);
    assert_int_equal(rig.batch.rows, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rig_decode_text(&rig, messages[i]), STATUS_OK);
        assert_int_equal(rig.batch.rows, 3);
        assert_sample(&rig, 0, "cpu.usage_idle", 91.2);
        assert_sample(&rig, 1, "cpu.usage_user", 5);
        assert_sample(&rig, 2, "up", 1);
        assert_span(rig.batch.host[0], "h1");
        assert_span(rig.batch.host[1], "h1");
        assert_span(rig.batch.host[2], "");
    }
    rig_close(&rig);
}

/* Tags are labels where the configuration names them, on every row of the metric. */
static void test_labels(void **state)
{
    struct label_names labels = {.count = 0};
    struct format_context context = {.labels = &labels};
    const struct format_type *type = format_type_find("telegraf");
    struct message message = {.payload = span_of(CPU), .arrival_us = TIME_NONE};
    struct event_batch batch;
    struct field_ref ref;
    struct format *format;
    struct error error;
    const char *reason;

    assert_int_equal(type->open(NULL, &context, &format, &error), STATUS_OK);
    assert_true(field_ref_parse(span_of("labels.cpu"), &labels, &ref));
    event_batch_init(&batch, 8, &labels);
    assert_int_equal(type->decode(format, &message, &batch, &reason), STATUS_OK);
    assert_span(batch.labels[ref.label][0], "cpu-total");
    assert_span(batch.labels[ref.label][1], "cpu-total");
    event_batch_free(&batch);
    type->close(format);
    free(labels.names[0]);
}

/* A batch too full for all samples of a message takes none of them. */
static void test_full_batch(void **state)
{
    struct message message = {.payload = span_of("[" UP "," CPU "]"), .arrival_us = TIME_NONE};
    struct rig rig;

    assert_true(rig_try_open(&rig, "telegraf", NULL, 4));
    assert_int_equal(rig_decode_text(&rig, CPU), STATUS_OK);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_RETRY);
    assert_int_equal(rig.batch.rows, 2);
    event_batch_reset(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_OK);
    assert_int_equal(rig.batch.rows, 3);
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    struct rig rig;

    rig_open(&rig, "telegraf", NULL);
    rig_assert_malformed(&rig, "{\"fields\":{\"a\":1},\"tags\":{},\"timestamp\":1}", "no name");
    rig_assert_malformed(&rig, "{\"fields\":{\"a\":1},\"name\":\"n\",\"timestamp\":\"soon\"}",
                         "timestamp is missing or no time");
    assert_int_equal(rig_decode_text(&rig, "{\"fields\":{\"a\":\"x\"},\"name\":\"n\",\"timestamp\":1}"),
                     STATUS_OK);
    assert_int_equal(rig.batch.rows, 0); /* no number in it */
    assert_int_equal(rig_decode_text(&rig, "[1," CPU "]"), STATUS_OK);
    assert_int_equal(rig.batch.rows, 3);
    assert_int_equal(rig.batch.mark[0], MARK_MALFORMED);
    assert_span(rig.batch.metric[2], "cpu.usage_user");
    rig_close(&rig);
    check_json_format("telegraf", CPU);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_full_batch),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
