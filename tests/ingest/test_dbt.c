/* dbt's log lines on a recording of 25 invocations, and its artifacts. */
#include "tests/ingest/json_support.h"

#include <math.h>
#include <stdlib.h>

struct counts {
    unsigned states[STATE_COUNT], runs[STATE_COUNT], durations, errors, starts;
};

static void count_row(void *owner, const struct event_batch *batch, uint32_t row)
{
    struct counts *counts = owner;

    assert_int_equal(batch->mark[row], MARK_OK);
    assert_span(batch->engine[row], "dbt");
    assert_span(batch->workflow[row], "dbt");
    assert_int_equal(batch->run[row].size, 36);
    assert_true(batch->action[row].size > 0 && batch->level[row].size > 0);
    counts->states[batch->state[row]] += batch->task[row].size > 0;
    counts->runs[batch->state[row]] += batch->task[row].size == 0;
    counts->durations += isfinite(batch->duration_ms[row]) != 0;
    counts->errors += batch->error[row].size > 0;
    counts->starts += batch->started_us[row] != TIME_NONE;
}

static void test_recording(void **state)
{
    struct counts counts = {.errors = 0};

    json_recording("dbt", "data/events/dbt/log.jsonl.zst", 898, count_row, &counts);
    assert_int_equal(counts.runs[STATE_RUNNING], 25);
    assert_int_equal(counts.runs[STATE_SUCCESS], 20);
    assert_int_equal(counts.runs[STATE_FAILED], 5);
    assert_int_equal(counts.states[STATE_RUNNING], 257);
    assert_int_equal(counts.states[STATE_SUCCESS], 139 + 110);
    assert_int_equal(counts.states[STATE_FAILED], 6 + 2);
    assert_int_equal(counts.states[STATE_SKIPPED], 18);
    assert_int_equal(counts.states[STATE_NONE], 3 * 8);
    assert_int_equal(counts.durations, 257);
    assert_int_equal(counts.errors, 8 + 8);
    assert_int_equal(counts.starts, 25 + 2 * 257);
}

#define LINE(name, data)                                                                                     \
    "{\"info\":{\"name\":\"" name "\",\"invocation_id\":\"i\",\"level\":\"info\",\"msg\":\"m\",\"ts\":"      \
    "\"2026-11-21T09:53:17.358466Z\"},\"data\":{" data "}}"
#define NODE(status)                                                                                         \
    "\"node_info\":{\"unique_id\":\"model.shop.a\",\"node_status\":\"" status "\",\"node_started_at\":\"\"}"

static enum run_state state_of(struct rig *rig, const char *line)
{
    assert_int_equal(rig_decode_text(rig, line), STATUS_OK);
    assert_int_equal(rig->batch.rows, 1);
    assert_int_equal(rig->batch.mark[0], MARK_OK);
    return (enum run_state)rig->batch.state[0];
}

static void test_lines(void **state)
{
    struct rig rig;

    rig_open(&rig, "dbt", NULL);
    assert_int_equal(state_of(&rig, LINE("NodeFinished", NODE("runtime error"))), STATE_FAILED);
    assert_span(rig.batch.task[0], "model.shop.a");
    assert_span(rig.batch.error[0], "m");
    assert_span(rig.batch.result[0], "runtime error");
    assert_int_equal(state_of(&rig, LINE("LogTestResult", NODE("warn"))), STATE_SUCCESS);
    assert_int_equal(state_of(&rig, LINE("NodeStart", NODE("None"))), STATE_NONE);
    assert_int_equal(state_of(&rig, LINE("RunResultError", NODE("None") ",\"msg\":\"Binder Error\"")),
                     STATE_NONE);
    assert_span(rig.batch.error[0], "Binder Error");
    assert_int_equal(state_of(&rig, LINE("CommandCompleted", "\"success\":false")), STATE_FAILED);
    assert_int_equal(state_of(&rig, LINE("CommandCompleted", "\"success\":true")), STATE_SUCCESS);
    assert_int_equal(state_of(&rig, LINE("MainEncounteredError", "\"exc\":\"e\"")), STATE_FAILED);
    assert_int_equal(state_of(&rig, LINE("EndOfRunSummary", "\"num_errors\":1,\"keyboard_interrupt\":true")),
                     STATE_CANCELLED);
    assert_int_equal(state_of(&rig, LINE("EndOfRunSummary", "\"num_errors\":{}")), STATE_NONE);
    rig_assert_malformed(&rig, "{\"info\":{\"name\":\"a\",\"ts\":1}}", "no info.invocation_id");
    rig_assert_malformed(&rig, "{\"info\":[]}", "no info.name");
    rig_assert_malformed(&rig, "{\"info\":{\"name\":\"a\",\"invocation_id\":\"i\",\"ts\":\"soon\"}}",
                         "info.ts is missing or no time");
    rig_close(&rig);
}

#define RESULT(status)                                                                                       \
    "{\"unique_id\":\"model.shop.a\",\"status\":\"" status                                                   \
    "\",\"message\":\"why\",\"execution_time\":0.5,\"timing\":"                                              \
    "[{\"started_at\":\"2026-11-21T09:00:00Z\",\"completed_at\":\"2026-11-21T09:00:01Z\"},"                  \
    "{\"completed_at\":\"2026-11-21T09:00:02Z\"}]}"
#define SKIPPED  "{\"unique_id\":\"model.shop.b\",\"status\":\"skipped\",\"timing\":[]}"
#define METADATA "\"metadata\":{\"invocation_id\":\"i\",\"generated_at\":\"2026-11-21T10:00:00Z\"}"
#define ARTIFACT "{\"results\":[" RESULT("error") "," SKIPPED ",7]," METADATA "}"

static void test_artifact(void **state)
{
    struct rig rig;

    rig_open(&rig, "dbt", NULL);
    const struct event_batch *batch = &rig.batch;
    /* what stands outside of the results may come behind them */
    assert_int_equal(rig_decode_text(&rig, ARTIFACT), STATUS_OK);
    assert_int_equal(batch->rows, 3);
    assert_int_equal(batch->state[0], STATE_FAILED);
    assert_span(batch->run[0], "i");
    assert_span(batch->error[0], "why");
    assert_true(batch->duration_ms[0] == 500);
    assert_true(batch->started_us[0] == time_of("2026-11-21T09:00:00Z"));
    assert_true(batch->time_us[0] == time_of("2026-11-21T09:00:02Z"));
    assert_int_equal(batch->state[1], STATE_SKIPPED);
    assert_true(batch->time_us[1] == time_of("2026-11-21T10:00:00Z"));
    assert_string_equal(batch->reason[2], "item is not a JSON object");

    assert_int_equal(rig_decode_text(&rig, "{\"results\":[]," METADATA "}"), STATUS_OK);
    assert_int_equal(batch->rows, 0);
    rig_assert_malformed(&rig, "{\"results\":[" RESULT("pass") "]}", "no metadata.invocation_id");
    rig_assert_malformed(&rig, "{\"results\":[" SKIPPED "],\"metadata\":{\"invocation_id\":\"i\"}}",
                         "no time in timing, nor metadata.generated_at");
    rig_decode_text(&rig, "{\"results\":[" RESULT("imagined") "]," METADATA "}");
    assert_int_equal(batch->state[0], STATE_UNKNOWN);
    rig_close(&rig);
}

static void test_samples(void **state)
{
    struct rig rig;
    char *text = file_load("data/events/samples/dbt_artifacts/run_results_fail.json");

    if (!text)
        skip();
    rig_open(&rig, "dbt", NULL);
    assert_int_equal(rig_decode_text(&rig, text), STATUS_OK);
    assert_true(rig.batch.rows > 0);
    assert_int_equal(rig.batch.state[0], STATE_FAILED);
    assert_span(rig.batch.run[0], "8c814240-637d-4a36-937e-43787f5c79e0");
    rig_close(&rig);
    free(text);
}

static void test_bad_input(void **state)
{
    check_json_format("dbt", LINE("LogModelResult", NODE("success") ",\"execution_time\":1.5"));
    check_json_format("dbt", LINE("EndOfRunSummary", "\"num_errors\":0,\"keyboard_interrupt\":false"));
    check_json_format("dbt", ARTIFACT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording), cmocka_unit_test(test_lines),     cmocka_unit_test(test_artifact),
        cmocka_unit_test(test_samples),   cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
