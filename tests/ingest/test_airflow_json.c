/* Airflow's JSON task logs, of version 2 and 3. */
#include "tests/ingest/json_support.h"

static void test_airflow2(void **state)
{
    struct rig rig;

    rig_open(&rig, "airflow_json", NULL);
    assert_int_equal(
        rig_decode_text(
            &rig,
            "{\"asctime\":\"2026-11-21 09:40:24,355\",\"filename\":\"a.py\",\"lineno\":123,\"levelname\":"
            "\"ERROR\",\"message\":\"Task failed\\nTraceback (most recent call last):\\n  File \\\"a\\\"\\n"
            "ValueError: bad\",\"dag_id\":\"etl\",\"task_id\":\"load\",\"run_id\":\"manual\",\"map_index\":"
            "\"-1\",\"try_number\":\"2\",\"log_id\":\"x\"}"),
        STATUS_OK);
    const struct event_batch *batch = &rig.batch;
    assert_true(batch->time_us[0] == time_of("2026-11-21T09:40:24.355Z"));
    assert_span(batch->engine[0], "airflow");
    assert_span(batch->level[0], "ERROR");
    assert_span(batch->logger[0], "a.py");
    assert_span(batch->labels[0][0], "123");
    assert_span(batch->message[0], "Task failed");
    assert_span(batch->error[0], "ValueError: bad");
    assert_span(batch->error_type[0], "ValueError");
    assert_span(batch->workflow[0], "etl");
    assert_span(batch->task[0], "load");
    assert_span(batch->run_name[0], "manual");
    assert_int_equal(batch->map_index[0], INT32_MIN); /* -1 is a task that is not mapped */
    assert_int_equal(batch->attempt[0], 2);
    assert_int_equal(batch->state[0], STATE_NONE);
    rig_decode_text(
        &rig,
        "{\"asctime\":\"2026-11-21 09:40:24,355\",\"lineno\":{},\"map_index\":\"3\",\"try_number\":\"x\"}");
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_int_equal(batch->map_index[0], 3);
    assert_int_equal(batch->attempt[0], 0);
    rig_assert_malformed(&rig, "{\"message\":\"x\"}", "no asctime");
    rig_assert_malformed(&rig, "{\"asctime\":\"soon\"}",
                         "asctime: text is not a time, or one without a year");
    rig_close(&rig);
}

static void test_airflow3(void **state)
{
    struct rig rig;

    rig_open(&rig, "airflow3_json", NULL);
    assert_int_equal(
        rig_decode_text(
            &rig,
            "{\"timestamp\":\"2026-11-21T10:09:58.113747Z\",\"level\":\"error\",\"event\":\"Failed\","
            "\"logger\":"
            "\"airflow.sdk\",\"dag_id\":\"etl\",\"task_id\":\"load\",\"run_id\":\"manual\",\"map_index\":-1,"
            "\"try_number\":2,\"bundle_version\":null,\"error_detail\":[{\"exc_type\":\"KeyError\",\"exc_"
            "value\":"
            "\"'x'\",\"frames\":[]}]}"),
        STATUS_OK);
    const struct event_batch *batch = &rig.batch;
    assert_true(batch->time_us[0] == time_of("2026-11-21T10:09:58.113747Z"));
    assert_span(batch->message[0], "Failed");
    assert_span(batch->error_type[0], "KeyError");
    assert_span(batch->error[0], "'x'");
    assert_span(batch->workflow[0], "etl");
    assert_int_equal(batch->attempt[0], 2);
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    check_json_format("airflow_json",
                      "{\"asctime\":\"2026-11-21 09:40:24,355\",\"lineno\":123,\"levelname\":"
                      "\"ERROR\",\"message\":\"m\",\"map_index\":\"-1\",\"try_number\":\"2\"}");
    check_json_format("airflow3_json", "{\"timestamp\":\"2026-11-21T10:09:58.113747Z\",\"event\":\"Failed\","
                                       "\"try_number\":2,\"error_detail\":[{\"exc_type\":\"KeyError\"}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_airflow2),
        cmocka_unit_test(test_airflow3),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
