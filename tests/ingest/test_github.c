/* GitHub's webhooks on the examples of octokit, and on what they do not hold. */
#include "tests/ingest/json_support.h"

#include <stdio.h>
#include <stdlib.h>

#define SAMPLES "data/events/samples/github_webhooks/"

// clang-format off
static const struct sample {
    const char *name, *workflow, *task, *run, *time;
    enum run_state state;
} samples[] = {
    {"workflow_run.requested.4", "test", "", "289782451", "2020-10-05T16:33:24Z", STATE_QUEUED},
    {"workflow_run.requested.5", "test", "", "289782451", "2020-10-05T16:33:24Z", STATE_WAITING},
    {"workflow_run.completed.2", "test", "", "289782451", "2020-10-05T16:33:49Z", STATE_SUCCESS},
    {"workflow_job.queued.6", "CodeQL", "update", "2202229078", "2021-09-13T02:21:13Z", STATE_QUEUED},
    {"workflow_job.waiting.8", "Env Test", "test", "4747967848", "2023-04-19T21:12:12Z", STATE_WAITING},
    {"workflow_job.in_progress.5", "Test", "Do examples need to be regenerated?", "5373506832", "2023-06-26T03:31:36Z", STATE_RUNNING},
    {"workflow_job.in_progress.1", "", "Test workflow", "940463255", "2021-06-15T19:22:27Z", STATE_RUNNING},
    {"workflow_job.completed.2", "CodeQL", "linters", "2202229078", "2021-08-05T10:38:16Z", STATE_FAILED},
    {"check_run.created.1", "octocoders-linter", "Octocoders-linter", "118578147", "2019-05-15T15:21:12Z", STATE_QUEUED},
    {"check_run.completed.2", "octocoders-linter", "Octocoders-linter", "118578147", "2019-05-15T15:21:12Z", STATE_FAILED},
    {"check_run.rerequested.8", "Super Duper", "randscape", "5", "2018-05-04T01:14:52Z", STATE_NONE},
    {"check_suite.completed.1", "octocoders-linter", "", "118578147", "2019-05-15T15:21:14Z", STATE_SUCCESS},
    {"check_suite.rerequested.8", "octocoders-linter", "", "118578147", "2019-05-15T15:21:14Z", STATE_NONE},
    {"deployment_status.created.2", "deploy", "github-pages", "145988746", "2022-01-03T01:28:40Z", STATE_RUNNING},
    {"status.none.1", "default", "", "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "2019-05-15T15:20:55Z", STATE_SUCCESS},
};
// clang-format on

static void check_sample(struct rig *rig, const struct sample *sample)
{
    const struct event_batch *batch = &rig->batch;
    char path[256];

    snprintf(path, sizeof path, SAMPLES "%s.json", sample->name);
    char *text = file_load(path);
    if (!text)
        skip();
    assert_int_equal(rig_decode_text(rig, text), STATUS_OK);
    assert_int_equal(batch->rows, 1);
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_span(batch->engine[0], "github");
    assert_true(batch->namespace_[0].size > 0);
    assert_span(batch->workflow[0], sample->workflow);
    assert_span(batch->task[0], sample->task);
    assert_span(batch->run[0], sample->run);
    assert_true(batch->time_us[0] == time_of(sample->time));
    assert_int_equal(batch->state[0], sample->state);
    free(text);
}

static void test_samples(void **state)
{
    struct rig rig;

    rig_open(&rig, "github", NULL);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        check_sample(&rig, &samples[i]);
    rig_close(&rig);
}

#define FROM "\"repository\":{\"full_name\":\"o/r\"},\"sender\":{\"login\":\"s\"}"
#define JOB(status, conclusion, more)                                                                        \
    "{\"action\":\"" status                                                                                  \
    "\",\"workflow_job\":{\"id\":9007199254740993,\"run_id\":9007199254740995,\"name\":\"j\","               \
    "\"workflow_name\":\"w\",\"run_attempt\":2,\"status\":\"" status "\",\"conclusion\":" conclusion         \
    ",\"created_at\":\"2026-01-01T00:00:00Z\",\"started_at\":\"2026-01-01T00:00:10Z\"" more "}," FROM "}"

static void test_fields(void **state)
{
    struct rig rig;

    rig_open(&rig, "github", NULL);
    const struct event_batch *batch = &rig.batch;
    rig_decode_text(
        &rig, JOB("completed", "\"timed_out\"",
                  ",\"completed_at\":\"2026-01-01T00:01:00Z\",\"runner_name\":\"R\",\"labels\":[\"big\"],"
                  "\"html_url\":\"u\""));
    assert_int_equal(batch->state[0], STATE_TIMED_OUT);
    assert_span(batch->run[0], "9007199254740995");
    assert_span(batch->namespace_[0], "o/r");
    assert_int_equal(batch->attempt[0], 2);
    assert_span(batch->worker[0], "R");
    assert_span(batch->queue[0], "big");
    assert_span(batch->url[0], "u");
    assert_span(batch->result[0], "timed_out");
    assert_span(batch->action[0], "workflow_job.completed");
    assert_true(batch->queued_us[0] == time_of("2026-01-01T00:00:00Z"));
    assert_true(batch->started_us[0] == time_of("2026-01-01T00:00:10Z"));
    assert_true(batch->time_us[0] == time_of("2026-01-01T00:01:00Z"));
    rig_decode_text(&rig, JOB("completed", "\"failure\"", ""));
    assert_span(batch->error[0], "failure");
    rig_decode_text(&rig, JOB("completed", "\"imagined\"", ""));
    assert_int_equal(batch->state[0], STATE_UNKNOWN);
    rig_decode_text(&rig, JOB("queued", "null", ""));
    assert_int_equal(batch->state[0], STATE_QUEUED);
    assert_true(batch->started_us[0] == TIME_NONE);
    rig_assert_malformed(&rig, "{\"action\":\"a\",\"workflow_job\":{}}", "no repository or sender");
    rig_assert_malformed(&rig, "{\"workflow_job\":{\"status\":\"queued\"}," FROM "}", "no time");
    rig_assert_malformed(&rig, "{\"action\":\"opened\"," FROM "}",
                         "no time: this type of payload has none, and the arrival is not known");
    rig_close(&rig);
}

/* Types without a time of their own take the arrival's. */
static void test_arrival(void **state)
{
    const char *text = "{\"action\":\"opened\"," FROM "}";
    const struct message message = {.payload = span_of(text), .arrival_us = 5000000};
    struct rig rig;

    rig_open(&rig, "github", NULL);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_OK);
    assert_int_equal(rig.batch.rows, 1);
    assert_int_equal(rig.batch.mark[0], MARK_OK);
    assert_true(rig.batch.time_us[0] == 5000000);
    assert_span(rig.batch.action[0], "opened");
    rig_close(&rig);
}

/* An action goes on behind a null byte. */
static void test_null_byte(void **state)
{
    struct rig rig;

    rig_open(&rig, "github", NULL);
    rig_decode_text(&rig, "{\"action\":\"a\\u0000b\",\"repository\":{\"full_name\":\"o/r\"},\"workflow_job\":"
                          "{\"created_at\":\"2026-01-01T00:00:00Z\"}}");
    assert_true(span_equal(rig.batch.action[0], SPAN_LITERAL("workflow_job.a\0b")));
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    check_json_format("github", JOB("completed", "\"failure\"", ",\"labels\":[\"a\"]"));
    check_json_format(
        "github",
        "{\"sha\":\"c0ffee\",\"state\":\"error\",\"context\":\"ci\",\"description\":\"d\",\"updated_at\":"
        "\"2026-01-01T00:00:00Z\"," FROM "}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),   cmocka_unit_test(test_fields),    cmocka_unit_test(test_arrival),
        cmocka_unit_test(test_null_byte), cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
