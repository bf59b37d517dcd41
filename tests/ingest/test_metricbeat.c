/* Metricbeat's events. */
#include "tests/ingest/json_support.h"

#include <stdlib.h>

#define DISK                                                                                                 \
    "{\"@timestamp\":\"2017-10-12T08:05:34.853Z\",\"agent\":{\"hostname\":\"a\",\"name\":\"n\"},"            \
    "\"event\":{\"dataset\":\"system.filesystem\",\"duration\":115000,\"module\":\"system\"},"               \
    "\"host\":{\"name\":\"h\",\"cpu\":{\"pct\":0.05}},\"metricset\":{\"name\":\"filesystem\","               \
    "\"period\":10000},\"service\":{\"type\":\"system\"},\"system\":{\"filesystem\":{\"available\":100,"     \
    "\"mount_point\":\"/\",\"used\":{\"pct\":0.85}}}}"

static void test_event(void **state)
{
    struct label_names labels = {.count = 0};
    struct format_context context = {.labels = &labels};
    const struct format_type *type = format_type_find("metricbeat");
    struct message message = {.payload = span_of(DISK), .arrival_us = TIME_NONE};
    static const char *const metrics[] = {"host.cpu.pct", "system.filesystem.available",
                                          "system.filesystem.used.pct"};
    static const double values[] = {0.05, 100, 0.85};
    struct event_batch batch;
    struct field_ref ref;
    struct format *format;
    struct error error;
    const char *reason;

    assert_int_equal(type->open(NULL, &context, &format, &error), STATUS_OK);
    assert_true(field_ref_parse(span_of("labels.system.filesystem.mount_point"), &labels, &ref));
    event_batch_init(&batch, 8, &labels);
    assert_int_equal(type->decode(format, &message, &batch, &reason), STATUS_OK);
    assert_int_equal(batch.rows, 3);
    for (uint32_t row = 0; row < 3; row++) {
        assert_span(batch.metric[row], metrics[row]);
        assert_true(batch.value[row] == values[row]);
        assert_span(batch.host[row], "h");
        assert_span(batch.labels[ref.label][row], "/");
        assert_true(batch.time_us[row] == time_of("2017-10-12T08:05:34.853Z"));
    }
    event_batch_free(&batch);
    type->close(format);
    free(labels.names[0]);
}

static void test_bad_input(void **state)
{
    struct rig rig;

    rig_open(&rig, "metricbeat", NULL);
    rig_assert_malformed(&rig, "{\"@timestamp\":1,\"system\":{\"a\":1}}", "no event.module or event.dataset");
    rig_assert_malformed(&rig, "{\"event\":{\"dataset\":\"system.cpu\"},\"system\":{\"a\":1}}",
                         "@timestamp is missing or no time");
    assert_int_equal(
        rig_decode_text(&rig, "{\"@timestamp\":1,\"event\":{\"dataset\":\"a.b\"},\"a\":{\"b\":{\"c\":2}}}"),
        STATUS_OK);
    assert_span(rig.batch.metric[0], "a.b.c");
    rig_close(&rig);
    check_json_format("metricbeat", DISK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
