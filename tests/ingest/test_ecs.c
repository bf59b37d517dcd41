/* Elastic Common Schema in its spellings: dotted, nested, wrapped by Filebeat. */
#include "tests/ingest/json_support.h"

#include <stdlib.h>

struct counts {
    unsigned errors, classes, traces;
};

static void count_row(void *owner, const struct event_batch *batch, uint32_t row)
{
    struct counts *counts = owner;

    assert_int_equal(batch->mark[row], MARK_OK);
    assert_int_equal(batch->state[row], STATE_NONE);
    assert_span(batch->workflow[row], "order-api");
    assert_span(batch->version[row], "2.4.1");
    assert_span(batch->action[row], "order-api.app");
    assert_true(batch->message[row].size > 0 && batch->logger[row].size > 0);
    assert_int_equal(batch->trace[row].size, 32);
    assert_true(batch->duration_ms[row] > 1 && batch->duration_ms[row] < 60000);
    counts->errors += span_is(batch->level[row], "error");
    counts->classes += batch->error_type[row].size > 0;
    counts->traces += batch->stack_trace[row].size > 0;
}

static void test_recording(void **state)
{
    struct counts counts = {0};

    json_recording("ecs", "data/events/samples/ecs/order_api.jsonl.zst", 1049, count_row, &counts);
    assert_true(counts.errors > 20);
    assert_int_equal(counts.classes, counts.traces);
}

#define NESTED                                                                                               \
    "{\"@timestamp\":\"2026-11-21T09:48:08.818Z\",\"message\":\"m\",\"log\":{\"level\":\"warn\",\"logger\":" \
    "\"l\"},"                                                                                                \
    "\"service\":{\"name\":\"s\",\"environment\":\"prod\"},\"host\":{\"name\":\"h\"},\"error\":{"            \
    "\"message\":\"e\",\"type\":"                                                                            \
    "\"T\",\"stack_trace\":\"at "                                                                            \
    "x\"},\"event\":{\"duration\":2500000,\"outcome\":\"failure\",\"id\":12345678901234567890},"             \
    "\"labels\":{\"team\":\"red\"}}"

static void test_spellings(void **state)
{
    struct rig rig;

    rig_open(&rig, "ecs", NULL);
    const struct event_batch *batch = &rig.batch;
    assert_int_equal(rig_decode_text(&rig, NESTED), STATUS_OK);
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_span(batch->workflow[0], "s");
    assert_span(batch->namespace_[0], "prod");
    assert_span(batch->level[0], "warn");
    assert_span(batch->host[0], "h");
    assert_span(batch->error[0], "e");
    assert_span(batch->error_type[0], "T");
    assert_span(batch->stack_trace[0], "at x");
    assert_span(batch->result[0], "failure");
    assert_span(batch->id[0], "12345678901234567890");
    assert_true(batch->duration_ms[0] == 2.5);

    rig_decode_text(&rig,
                    "{\"@timestamp\":1,\"log.level\":\"info\",\"service.name\":\"s\",\"error.type\":\"T\"}");
    assert_span(batch->level[0], "info");
    assert_span(batch->workflow[0], "s");
    assert_span(batch->error_type[0], "T");

    /* Filebeat: the line's own JSON apart, the reading's time outside; a host without our name in it */
    rig_decode_text(
        &rig,
        "{\"@timestamp\":\"2026-01-01T00:00:05Z\",\"@metadata\":{\"beat\":\"filebeat\"},\"host\":{\"os\":{}},"
        "\"agent\":{\"name\":\"a\"},\"json\":{\"@timestamp\":\"2026-01-01T00:00:01Z\",\"message\":\"m\","
        "\"log.level\":\"error\",\"service\":{\"name\":\"s\"}}}");
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_true(batch->time_us[0] == time_of("2026-01-01T00:00:01Z"));
    assert_span(batch->message[0], "m");
    assert_span(batch->level[0], "error");
    assert_span(batch->workflow[0], "s");
    assert_span(batch->host[0], "a");
    rig_assert_malformed(&rig, "{\"message\":\"m\"}", "no time");
    rig_close(&rig);
}

static void test_labels(void **state)
{
    struct label_names labels = {.count = 0};
    struct format_context context = {.labels = &labels};
    const struct format_type *type = format_type_find("ecs");
    struct message message = {.payload = span_of(NESTED), .arrival_us = TIME_NONE};
    struct event_batch batch;
    struct field_ref ref;
    struct format *format;
    struct error error;
    const char *reason;

    assert_int_equal(type->open(NULL, &context, &format, &error), STATUS_OK);
    assert_true(field_ref_parse(span_of("labels.team"), &labels, &ref));
    event_batch_init(&batch, 8, &labels);
    assert_int_equal(type->decode(format, &message, &batch, &reason), STATUS_OK);
    assert_span(batch.labels[ref.label][0], "red");
    event_batch_free(&batch);
    type->close(format);
    free(labels.names[0]);
}

static void test_bad_input(void **state)
{
    check_json_format("ecs", NESTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
