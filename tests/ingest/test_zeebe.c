/* Zeebe's records on a recording of 230 process instances, and on what the recording does not hold. */
#include "tests/ingest/json_support.h"

struct counts {
    unsigned states[STATE_COUNT], runs[STATE_COUNT], errors, ids;
};

static void count_row(void *owner, const struct event_batch *batch, uint32_t row)
{
    struct counts *counts = owner;

    assert_int_equal(batch->mark[row], MARK_OK);
    assert_span(batch->engine[row], "zeebe");
    assert_true(batch->state[row] == STATE_NONE ||
                (batch->workflow[row].size > 0 && batch->run[row].size == 16));
    assert_int_equal(batch->namespace_[row].size, 0);
    counts->states[batch->state[row]] += batch->task[row].size > 0;
    counts->runs[batch->state[row]] += batch->task[row].size == 0;
    counts->errors += batch->error[row].size > 0;
    counts->ids += batch->id[row].size > 2 && batch->id[row].data[1] == '-';
}

static void test_recording(void **state)
{
    struct counts counts = {.errors = 0};

    json_recording("zeebe", "data/events/zeebe/records.jsonl.zst", 18397, count_row, &counts);
    assert_int_equal(counts.runs[STATE_RUNNING], 230);
    assert_int_equal(counts.runs[STATE_SUCCESS], 193);
    assert_int_equal(counts.states[STATE_RUNNING], 649);
    assert_int_equal(counts.states[STATE_SUCCESS], 601);
    assert_int_equal(counts.states[STATE_CANCELLED], 11);
    assert_int_equal(counts.states[STATE_RETRYING], 14);
    assert_int_equal(counts.states[STATE_FAILED], 10 + 11);
    assert_int_equal(counts.errors, 24 + 24 + 11 + 11 + 10); /* commands have them too */
    assert_int_equal(counts.ids, 18397);
}

#define RECORD(type, intent, value)                                                                          \
    "{\"valueType\":\"" type "\",\"intent\":\"" intent                                                       \
    "\",\"recordType\":\"EVENT\",\"timestamp\":1795254460231,"                                               \
    "\"partitionId\":2,\"position\":9223372036854775807,\"key\":2251799813685256,\"value\":{" value "}}"
#define INSTANCE                                                                                             \
    "\"processInstanceKey\":2251799813685257,\"parentProcessInstanceKey\":-1,\"rootProcessInstanceKey\":"    \
    "9223372036854775806,\"bpmnProcessId\":\"p\",\"elementId\":\"e\",\"tenantId\":\"t\",\"version\":3"

static enum run_state state_of(struct rig *rig, const char *record)
{
    assert_int_equal(rig_decode_text(rig, record), STATUS_OK);
    assert_int_equal(rig->batch.mark[0], MARK_OK);
    return (enum run_state)rig->batch.state[0];
}

static void test_fields(void **state)
{
    struct rig rig;

    rig_open(&rig, "zeebe", NULL);
    const struct event_batch *batch = &rig.batch;
    assert_int_equal(
        state_of(&rig,
                 RECORD("JOB", "FAILED",
                        INSTANCE ",\"retries\":1,\"errorMessage\":\"m\",\"worker\":\"w\",\"type\":\"q\"")),
        STATE_RETRYING);
    assert_span(batch->run[0], "2251799813685257"); /* above 2^53 */
    assert_span(batch->root_run[0], "9223372036854775806");
    assert_int_equal(batch->parent_run[0].size, 0);
    assert_span(batch->id[0], "2-9223372036854775807");
    assert_span(batch->action[0], "JOB.FAILED");
    assert_span(batch->workflow[0], "p");
    assert_span(batch->task[0], "e");
    assert_span(batch->namespace_[0], "t");
    assert_span(batch->version[0], "3");
    assert_span(batch->worker[0], "w");
    assert_span(batch->queue[0], "q");
    assert_span(batch->error[0], "m");
    assert_true(batch->time_us[0] == 1795254460231000);

    assert_int_equal(state_of(&rig, RECORD("JOB", "FAILED", INSTANCE ",\"retries\":0")), STATE_FAILED);
    assert_int_equal(state_of(&rig, RECORD("JOB", "TIMED_OUT", INSTANCE ",\"retries\":0")), STATE_RETRYING);
    assert_int_equal(state_of(&rig, RECORD("INCIDENT", "CREATED", INSTANCE ",\"jobKey\":5")), STATE_NONE);
    assert_int_equal(state_of(&rig, RECORD("INCIDENT", "CREATED",
                                           INSTANCE ",\"jobKey\":-1,\"errorType\":\"IO_MAPPING_ERROR\"")),
                     STATE_FAILED);
    assert_span(batch->error_type[0], "IO_MAPPING_ERROR");
    assert_int_equal(state_of(&rig, RECORD("INCIDENT", "RESOLVED", INSTANCE)), STATE_NONE);
#define ELEMENT(type, intent) RECORD("PROCESS_INSTANCE", intent, INSTANCE ",\"bpmnElementType\":\"" type "\"")
    assert_int_equal(state_of(&rig, ELEMENT("PROCESS", "ELEMENT_TERMINATED")), STATE_CANCELLED);
    assert_int_equal(batch->task[0].size, 0);
    assert_int_equal(state_of(&rig, ELEMENT("CALL_ACTIVITY", "ELEMENT_ACTIVATED")), STATE_RUNNING);
    assert_int_equal(state_of(&rig, ELEMENT("USER_TASK", "ELEMENT_COMPLETING")), STATE_NONE);
    assert_int_equal(state_of(&rig, ELEMENT("START_EVENT", "ELEMENT_ACTIVATED")), STATE_NONE);
    assert_int_equal(
        state_of(&rig, "{\"valueType\":\"PROCESS_INSTANCE\",\"intent\":\"ELEMENT_ACTIVATED\",\"recordType\":"
                       "\"COMMAND\",\"timestamp\":1,\"value\":{\"bpmnElementType\":\"PROCESS\"}}"),
        STATE_NONE);
    rig_assert_malformed(&rig, "{\"valueType\":\"JOB\"}", "no valueType or intent");
    rig_assert_malformed(&rig, "{\"valueType\":\"JOB\",\"intent\":\"FAILED\",\"timestamp\":[]}",
                         "timestamp is missing or no time");
    rig_close(&rig);
}

/* A text goes on behind a null byte. */
static void test_null_bytes(void **state)
{
    struct rig rig;

    rig_open(&rig, "zeebe", NULL);
    state_of(&rig, "{\"valueType\":\"J\\u0000B\",\"intent\":\"\\u0000\",\"timestamp\":1,"
                   "\"partitionId\":\"1\\u00002\",\"position\":\"3\\u0000\"}");
    assert_true(span_equal(rig.batch.action[0], SPAN_LITERAL("J\0B.\0")));
    assert_true(span_equal(rig.batch.id[0], SPAN_LITERAL("1\0002-3\0")));
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    check_json_format("zeebe", RECORD("JOB", "FAILED", INSTANCE ",\"retries\":1,\"errorMessage\":\"m\""));
    check_json_format("zeebe", ELEMENT("PROCESS", "ELEMENT_COMPLETED"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_null_bytes),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
