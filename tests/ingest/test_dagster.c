/* Dagster's events on a recording of 100 runs, and on what the recording does not hold. */
#include "tests/ingest/json_support.h"

#include <math.h>

struct counts {
    unsigned states[STATE_COUNT], runs[STATE_COUNT], durations, errors, classes, levels, checks;
};

static void count_row(void *owner, const struct event_batch *batch, uint32_t row)
{
    struct counts *counts = owner;

    assert_int_equal(batch->mark[row], MARK_OK);
    assert_span(batch->engine[row], "dagster");
    assert_int_equal(batch->run[row].size, 36);
    assert_true(batch->workflow[row].size > 0);
    assert_true(batch->message[row].size > 0);
    counts->states[batch->state[row]] += batch->task[row].size > 0;
    counts->runs[batch->state[row]] += batch->task[row].size == 0;
    counts->durations += isfinite(batch->duration_ms[row]) != 0;
    counts->errors += batch->error[row].size > 0;
    counts->classes += span_is(batch->error_type[row], "ValueError");
    counts->levels += span_is(batch->level[row], "ERROR");
    counts->checks += span_is(batch->result[row], "passed");
}

static void test_recording(void **state)
{
    struct counts counts = {.errors = 0};

    json_recording("dagster", "data/events/dagster/events.jsonl.zst", 2839, count_row, &counts);
    assert_int_equal(counts.runs[STATE_RUNNING], 100);
    assert_int_equal(counts.runs[STATE_SUCCESS], 97);
    assert_int_equal(counts.runs[STATE_FAILED], 3);
    assert_int_equal(counts.states[STATE_RUNNING], 320 + 8);
    assert_int_equal(counts.states[STATE_SUCCESS], 317);
    assert_int_equal(counts.states[STATE_FAILED], 3);
    assert_int_equal(counts.states[STATE_RETRYING], 8);
    assert_int_equal(counts.durations, 317);
    assert_int_equal(counts.classes, 6);
    assert_int_equal(counts.levels, 9);
    assert_int_equal(counts.checks, 18);
    assert_int_equal(counts.errors, 6 + 8 + 2);
}

static void test_console(void **state)
{
    struct counts counts = {.errors = 0};

    json_recording("dagster", "data/events/dagster/console.jsonl.zst", 299, count_row, &counts);
    assert_int_equal(counts.runs[STATE_FAILED], 3);
    assert_int_equal(counts.states[STATE_FAILED], 3);
    assert_int_equal(counts.states[STATE_NONE], 293);
    assert_int_equal(counts.classes, 6);
    assert_int_equal(counts.levels, 9);
}

#define ENTRY(type, step, data)                                                                              \
    "{\"run_id\":\"r\",\"timestamp\":1795254434.5,\"pipeline_name\":\"p\",\"level\":40,\"step_key\":" step   \
    ",\"user_message\":\"m\",\"dagster_event\":{\"event_type_value\":\"" type                                \
    "\",\"event_specific_data\":" data "}}"
#define FAILURE                                                                                              \
    "{\"error\":{\"cls_name\":\"DagsterError\",\"message\":\"dagster.DagsterError: in op\\n\",\"cause\":"    \
    "{\"cls_name\":\"KeyError\",\"message\":\"KeyError: 'day: 1'\\n\"}}}"

static void test_fields(void **state)
{
    struct rig rig;

    rig_open(&rig, "dagster", NULL);
    const struct event_batch *batch = &rig.batch;
    assert_int_equal(rig_decode_text(&rig, ENTRY("STEP_FAILURE", "\"load[3]\"", FAILURE)), STATUS_OK);
    assert_span(batch->task[0], "load[3]");
    assert_span(batch->error_type[0], "KeyError");
    assert_span(batch->error[0], "'day: 1'");
    assert_span(batch->level[0], "ERROR");
    assert_true(batch->time_us[0] == time_of("2026-11-21T09:47:14.5Z"));
    rig_decode_text(&rig, ENTRY("STEP_SKIPPED", "\"s\"", "null"));
    assert_int_equal(batch->state[0], STATE_SKIPPED);
    rig_decode_text(&rig, ENTRY("PIPELINE_CANCELED", "null", "null"));
    assert_int_equal(batch->state[0], STATE_CANCELLED);
    rig_decode_text(&rig, ENTRY("PIPELINE_ENQUEUED", "null", "null"));
    assert_int_equal(batch->state[0], STATE_QUEUED);
    rig_decode_text(
        &rig, ENTRY("STEP_UP_FOR_RETRY", "\"s\"", "{\"error\":{\"cls_name\":\"E\",\"message\":\"plain\"}}"));
    assert_int_equal(batch->state[0], STATE_RETRYING);
    assert_span(batch->error[0], "plain");
    assert_span(batch->result[0], "up_for_retry");
    /* a type not known yet, and a step's word without a step, are plain rows */
    rig_decode_text(&rig, ENTRY("STEP_IMAGINED", "\"s\"", "{}"));
    assert_int_equal(batch->state[0], STATE_NONE);
    rig_decode_text(&rig, ENTRY("STEP_START", "null", "{}"));
    assert_int_equal(batch->state[0], STATE_NONE);
    rig_decode_text(&rig, ENTRY("ASSET_CHECK_EVALUATION", "\"s\"", "{\"success\":false}"));
    assert_span(batch->result[0], "failed");
    assert_span(batch->error[0], "m");
    rig_assert_malformed(&rig, "{\"timestamp\":1}", "no run_id");
    rig_assert_malformed(&rig, "{\"run_id\":\"r\",\"timestamp\":{}}", "timestamp is missing or no time");
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    check_json_format("dagster", ENTRY("STEP_FAILURE", "\"s\"", FAILURE));
    check_json_format(
        "dagster", "{\"created\":1795254434,\"levelname\":\"INFO\",\"dagster_meta\":{\"run_id\":\"r\","
                   "\"job_name\":\"j\",\"step_key\":\"s\",\"orig_message\":\"m\",\"dagster_event\":null}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording),
        cmocka_unit_test(test_console),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
