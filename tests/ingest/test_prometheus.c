/* Samples of prometheus-kafka-adapter. */
#include "tests/ingest/json_support.h"

#define SAMPLE                                                                                               \
    "{\"timestamp\":\"2026-11-21T09:40:20Z\",\"value\":\"9876543210.5\",\"name\":\"node_cpu_seconds_total\"" \
    ",\"labels\":{\"__name__\":\"node_cpu_seconds_total\",\"instance\":\"db1:9100\",\"mode\":\"idle\"}}"

static void test_sample(void **state)
{
    struct rig rig;

    rig_open(&rig, "prometheus", NULL);
    assert_int_equal(rig_decode_text(&rig, SAMPLE), STATUS_OK);
    assert_int_equal(rig.batch.rows, 1);
    assert_span(rig.batch.metric[0], "node_cpu_seconds_total");
    assert_true(rig.batch.value[0] == 9876543210.5);
    assert_span(rig.batch.host[0], "db1");
    assert_int_equal(rig.batch.kind[0], KIND_METRIC);
    assert_true(rig.batch.time_us[0] == time_of("2026-11-21T09:40:20Z"));
    assert_int_equal(
        rig_decode_text(&rig, "{\"timestamp\":1795252820,\"value\":\"NaN\",\"name\":\"up\",\"labels\":{}}"),
        STATUS_OK);
    assert_int_equal(rig.batch.rows, 0);
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    struct rig rig;

    rig_open(&rig, "prometheus", NULL);
    rig_assert_malformed(&rig, "{\"timestamp\":1,\"value\":\"1\",\"labels\":{}}", "no name");
    rig_assert_malformed(&rig, "{\"name\":\"up\",\"value\":\"1\",\"labels\":{}}",
                         "timestamp is missing or no time");
    rig_assert_malformed(&rig, "{\"name\":\"up\",\"timestamp\":1,\"value\":\"many\"}",
                         "value is missing or no number");
    rig_close(&rig);
    check_json_format("prometheus", SAMPLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
