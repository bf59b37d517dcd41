/* The Celery format on a recording of two real workers, and on what the recording does not hold. */
#include "tests/ingest/json_support.h"

#include "base/slots.h"

#include <math.h>
#include <stdlib.h>

#define RECORDING "data/events/celery/dev/events.jsonl.zst"

static const struct {
    const char *action;
    unsigned count;
    enum run_state state;
} expected[] = {
    {"task-sent", 5518, STATE_QUEUED},     {"task-received", 5516, STATE_QUEUED},
    {"task-started", 5516, STATE_RUNNING}, {"task-succeeded", 5206, STATE_SUCCESS},
    {"task-retried", 222, STATE_RETRYING}, {"task-failed", 73, STATE_FAILED},
    {"task-revoked", 17, STATE_CANCELLED}, {"worker-heartbeat", 1479, STATE_NONE},
    {"worker-online", 3, STATE_NONE},      {"worker-offline", 3, STATE_NONE},
};

enum { ACTIONS = sizeof expected / sizeof *expected };

static void check_row(const struct event_batch *batch, unsigned action)
{
    bool is_task = action < 7, names_task = action < 2;

    assert_int_equal(batch->mark[0], MARK_OK);
    assert_int_equal(batch->kind[0], KIND_EVENT);
    assert_int_equal(batch->state[0], expected[action].state);
    assert_span(batch->engine[0], "celery");
    assert_int_equal(batch->run[0].size, is_task ? 36 : 0);
    assert_true(names_task == (batch->workflow[0].size > 0));
    assert_true(names_task == (batch->attempt[0] > 0));
    assert_true(names_task == (batch->root_run[0].size == 36));
    assert_true((action == 0) == (batch->queue[0].size > 0));
    assert_true(batch->host[0].size > 0);
    assert_int_equal(batch->worker[0].size, is_task && action != 0 ? batch->host[0].size : 0);
    assert_true((action == 3) == (isfinite(batch->duration_ms[0]) != 0));
    assert_true((action == 3) == (batch->result[0].size > 0));
    assert_true((action == 4 || action == 5) == (batch->error[0].size > 0));
    assert_true((batch->error[0].size > 0) == (batch->stack_trace[0].size > 0));
    assert_true((action == 7) == span_is(batch->metric[0], "worker.active"));
    assert_true((action == 7) == (isfinite(batch->value[0]) != 0));
    assert_true(batch->time_us[0] > time_of("2026-11-21T09:16:50Z"));
    assert_true(batch->time_us[0] < time_of("2026-11-21T09:45:00Z"));
}

static void test_recording(void **state)
{
    unsigned counts[ACTIONS] = {0}, parents = 0, etas = 0, classes = 0, attempts = 0;
    struct slots runs;
    struct rig rig;
    char **lines;
    size_t count;

    if (!lines_load(RECORDING, &lines, &count))
        skip();
    slots_init(&runs, 100000);
    rig_open(&rig, "celery", NULL);
    assert_int_equal(count, 23553);
    for (size_t i = 0; i < count; i++) {
        struct id_builder builder;
        unsigned action = 0;
        bool is_new;

        assert_int_equal(rig_decode_text(&rig, lines[i]), STATUS_OK);
        assert_int_equal(rig.batch.rows, 1);
        while (action < ACTIONS && !span_is(rig.batch.action[0], expected[action].action))
            action++;
        assert_true(action < ACTIONS);
        check_row(&rig.batch, action);
        counts[action]++;
        parents += rig.batch.parent_run[0].size > 0;
        etas += rig.batch.scheduled_us[0] != TIME_NONE;
        classes += rig.batch.error_type[0].size > 0;
        attempts += rig.batch.attempt[0] == 2 && action == 1;
        id_begin(&builder);
        id_add_text(&builder, rig.batch.run[0]);
        slots_add(&runs, id_end(&builder), &is_new);
    }
    for (unsigned action = 0; action < ACTIONS; action++)
        assert_int_equal(counts[action], expected[action].count);
    assert_int_equal(parents, 2 * 2670);
    assert_int_equal(etas, 2 * 222);
    assert_int_equal(classes, 222 + 73);
    assert_true(attempts > 0 && attempts <= 222);
    assert_int_equal(runs.used, 5518 - 222 + 1); /* a retry is sent again; one for the workers' rows */
    slots_free(&runs);
    rig_close(&rig);
    lines_free(lines, count);
}

static void test_array(void **state)
{
    struct rig rig;

    rig_open(&rig, "celery", NULL);
    const struct event_batch *batch = &rig.batch;

    assert_int_equal(
        rig_decode_text(&rig, "[{\"type\":\"task-started\",\"uuid\":\"a\",\"timestamp\":1795252618.1967964},"
                              "{\"type\":\"task-failed\",\"timestamp\":1},7,"
                              "{\"type\":\"worker-online\",\"timestamp\":2,\"hostname\":\"w\"}]"),
        STATUS_OK);
    assert_int_equal(batch->rows, 4);
    for (uint16_t i = 0; i < 4; i++)
        assert_int_equal(batch->item[i], i);
    assert_int_equal(batch->state[0], STATE_RUNNING);
    assert_true(batch->time_us[0] == 1795252618196796 && batch->started_us[0] == batch->time_us[0]);
    assert_string_equal(batch->reason[1], "no uuid");
    assert_string_equal(batch->reason[2], "item is not a JSON object");
    assert_int_equal(batch->mark[3], MARK_OK);
    assert_span(batch->host[3], "w");
    rig_close(&rig);
}

static void test_rare_events(void **state)
{
    struct rig rig;

    rig_open(&rig, "celery", NULL);
    const struct event_batch *batch = &rig.batch;

#define TASK(type, more) "{\"type\":\"" type "\",\"uuid\":\"u\",\"timestamp\":1" more "}"
    rig_decode_text(&rig, TASK("task-rejected", ",\"requeue\":true"));
    assert_int_equal(batch->state[0], STATE_QUEUED);
    rig_decode_text(&rig, TASK("task-rejected", ",\"requeue\":false"));
    assert_int_equal(batch->state[0], STATE_FAILED);
    rig_decode_text(&rig, TASK("task-cancelled", ""));
    assert_int_equal(batch->state[0], STATE_CANCELLED);
    rig_decode_text(&rig, TASK("task-progress", ",\"name\":\"mine\""));
    assert_int_equal(batch->state[0], STATE_NONE);
    assert_span(batch->workflow[0], "mine");
    rig_decode_text(
        &rig,
        TASK("task-sent", ",\"retries\":2,\"eta\":\"2026-11-21T09:20:00.5+01:00\",\"hostname\":\"web\""));
    assert_int_equal(batch->attempt[0], 3);
    assert_true(batch->scheduled_us[0] == time_of("2026-11-21T08:20:00.5Z"));
    assert_span(batch->host[0], "web");
    assert_int_equal(batch->worker[0].size, 0);
    rig_decode_text(&rig, TASK("task-succeeded", ",\"runtime\":1e308,\"retries\":65535,\"result\":{}"));
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_true(isnan(batch->duration_ms[0]) && batch->attempt[0] == 0 && batch->result[0].size == 0);
    rig_decode_text(&rig, TASK("task-failed", ",\"exception\":\"my.Error(1)\""));
    assert_span(batch->error_type[0], "my.Error");
    rig_decode_text(&rig, TASK("task-failed", ",\"exception\":\"no class here\""));
    assert_int_equal(batch->error_type[0].size, 0);
#undef TASK
    rig_decode_text(&rig, "{\"type\":\"order-shipped\",\"timestamp\":5,\"hostname\":\"web\"}");
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_span(batch->action[0], "order-shipped");
    rig_close(&rig);
}

static void test_malformed(void **state)
{
    struct rig rig;

    rig_open(&rig, "celery", NULL);
    rig_assert_malformed(&rig, "{\"timestamp\":1}", "no type");
    rig_assert_malformed(&rig, "{\"type\":5,\"timestamp\":1}", "no type");
    rig_assert_malformed(&rig, "{\"type\":\"task-sent\",\"timestamp\":1}", "no uuid");
    rig_assert_malformed(&rig, "{\"type\":\"worker-online\"}", "timestamp is missing");
    rig_assert_malformed(&rig, "{\"type\":\"worker-online\",\"timestamp\":{}}", "timestamp is not a time");
    rig_assert_malformed(&rig, "{\"type\":\"worker-online\",\"timestamp\":1e999}", "timestamp is not a time");
    check_bad_input(&rig);
    rig_close(&rig);
}

static void test_mutations(void **state)
{
    struct rig rig;
    char **lines;
    size_t count;

    if (!lines_load(RECORDING, &lines, &count))
        skip();
    rig_open(&rig, "celery", NULL);
    check_mutations(&rig, lines, count, 1);
    rig_close(&rig);
    lines_free(lines, count);
}

static void test_wrong_types(void **state)
{
    check_json_format("celery", "{\"type\":\"task-failed\",\"uuid\":\"u\",\"timestamp\":1795252618.5,"
                                "\"hostname\":\"h\",\"retries\":1,"
                                "\"eta\":\"2026-11-21T09:20:00Z\",\"exception\":\"E('x')\",\"runtime\":0.5}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_types), cmocka_unit_test(test_recording),
        cmocka_unit_test(test_array),       cmocka_unit_test(test_rare_events),
        cmocka_unit_test(test_malformed),   cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
