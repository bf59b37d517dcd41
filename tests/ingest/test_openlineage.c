/* The OpenLineage format on the recording of a real Airflow, on the samples of the specification and of
 * its Python client, and on the dirt that other producers are known for. */
#include "tests/ingest/json_support.h"

#include "base/slots.h"

#include <math.h>
#include <stdlib.h>

#define RECORDING "data/events/airflow/dev/openlineage.jsonl.zst"
#define SAMPLES   "data/events/samples/openlineage/"

struct counts {
    unsigned running, success, failed, tasks, dags, mapped, durations, errors, classes, traces, urls, queued,
        retried;
    struct slots attempts, runs;
};

static void count_row(const struct rig *rig, struct counts *counts)
{
    const struct event_batch *batch = &rig->batch;
    struct id_builder builder;
    bool is_new, is_task = batch->task[0].size > 0;

    assert_int_equal(batch->mark[0], MARK_OK);
    assert_int_equal(batch->kind[0], KIND_EVENT);
    assert_span(batch->engine[0], "airflow");
    assert_span(batch->namespace_[0], "airflow-dev");
    assert_int_equal(memcmp(batch->run_name[0].data, "scheduled__2026", 15), 0);
    assert_true(batch->owner[0].size > 0 && batch->run[0].size == 36);
    assert_true(batch->scheduled_us[0] < batch->time_us[0]);
    assert_int_equal(batch->root_run[0].size, is_task ? 36 : 0);
    assert_true(is_task == (batch->attempt[0] > 0));
    assert_int_equal(batch->parent_run[0].size, 0);
    assert_null(memchr(batch->workflow[0].data, '.', batch->workflow[0].size));

    counts->running += batch->state[0] == STATE_RUNNING;
    counts->success += batch->state[0] == STATE_SUCCESS;
    counts->failed += batch->state[0] == STATE_FAILED;
    counts->tasks += is_task;
    counts->dags += !is_task;
    counts->mapped += batch->map_index[0] != INT32_MIN;
    counts->durations += isfinite(batch->duration_ms[0]) != 0;
    counts->errors += batch->error[0].size > 0;
    counts->traces += batch->stack_trace[0].size > 0;
    counts->classes += batch->error_type[0].size > 0;
    counts->urls += batch->url[0].size > 0;
    counts->retried += span_is(batch->result[0], "up_for_retry");
    counts->queued += batch->queued_us[0] != TIME_NONE;
    id_begin(&builder);
    id_add_text(&builder, batch->run[0]);
    slots_add(&counts->runs, id_end(&builder), &is_new);
    if (!is_task)
        return;
    id_begin(&builder);
    id_add_text(&builder, batch->run[0]);
    id_add_text(&builder, batch->task[0]);
    id_add_integer(&builder, batch->map_index[0]);
    id_add_integer(&builder, batch->attempt[0]);
    slots_add(&counts->attempts, id_end(&builder), &is_new);
}

static void test_recording(void **state)
{
    struct counts counts = {0};
    struct rig rig;
    char **lines;
    size_t count;

    if (!lines_load(RECORDING, &lines, &count))
        skip();
    slots_init(&counts.attempts, 10000);
    slots_init(&counts.runs, 10000);
    rig_open(&rig, "openlineage", NULL);
    assert_int_equal(count, 1639);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rig_decode_text(&rig, lines[i]), STATUS_OK);
        assert_int_equal(rig.batch.rows, 1);
        count_row(&rig, &counts);
    }
    assert_int_equal(counts.running, 820);
    assert_int_equal(counts.success, 788);
    assert_int_equal(counts.failed, 31);
    assert_int_equal(counts.tasks, 1324);
    assert_int_equal(counts.dags, 315);
    assert_int_equal(counts.mapped, 404);
    assert_int_equal(counts.durations, 689 + 157);
    assert_int_equal(counts.errors, 31);
    assert_int_equal(counts.traces, 29);
    assert_int_equal(counts.classes, 29);
    assert_int_equal(counts.urls, 1324);
    assert_int_equal(counts.queued, 1324);
    assert_int_equal(counts.retried, 27); /* of 29 attempts; two failed for good */
    assert_int_equal(counts.attempts.used, 662);
    assert_int_equal(counts.runs.used, 158);
    slots_free(&counts.attempts);
    slots_free(&counts.runs);
    rig_close(&rig);
    lines_free(lines, count);
}

/* The first event of the recording with these two texts in it, decoded. */
static void decode_first(struct rig *rig, char *const *lines, size_t count, const char *one, const char *two)
{
    size_t i = 0;

    while (i < count && !(strstr(lines[i], one) && strstr(lines[i], two)))
        i++;
    assert_true(i < count);
    assert_int_equal(rig_decode_text(rig, lines[i]), STATUS_OK);
    assert_int_equal(rig->batch.rows, 1);
}

static void test_fields_of_recording(void **state)
{
    struct rig rig;
    char **lines;
    size_t count;

    if (!lines_load(RECORDING, &lines, &count))
        skip();
    rig_open(&rig, "openlineage", NULL);
    const struct event_batch *batch = &rig.batch;

    decode_first(&rig, lines, count, "\"FAIL\"", "\"task\": ");
    assert_span(batch->workflow[0], "billing_export");
    assert_span(batch->task[0], "upload");
    assert_span(batch->error[0], "503 Service Unavailable from billing-api.internal");
    assert_span(batch->error_type[0], "ConnectionError");
    assert_span(batch->action[0], "FAIL");
    assert_span(batch->owner[0], "finance");
    assert_span(batch->queue[0], "default");
    assert_true(batch->time_us[0] == time_of("2026-11-21T10:00:46.623099Z"));
    assert_true(batch->scheduled_us[0] == time_of("2026-11-21T10:00:00Z"));
    assert_int_equal(memcmp(batch->url[0].data, "http://localhost:8080/", 22), 0);

    decode_first(&rig, lines, count, "\"START\"", "clicks_ingest.list_files");
    assert_true(batch->started_us[0] == batch->time_us[0]);
    assert_true(batch->queued_us[0] == time_of("2026-11-21T09:40:20.986314Z"));
    assert_true(isnan(batch->duration_ms[0]));
    assert_int_equal(batch->attempt[0], 1);
    assert_int_equal(batch->map_index[0], INT32_MIN);

    decode_first(&rig, lines, count, "\"COMPLETE\"", "\"airflowState\"");
    assert_span(batch->workflow[0], "ml_report");
    assert_span(batch->run[0], "01a1fd77-cf90-7bfb-9d7f-c42e243ccf7e");
    assert_span(batch->run_name[0], "scheduled__2026-11-21T09:37:30+00:00");
    assert_true(fabs(batch->duration_ms[0] - 81207.294) < 1e-6);
    assert_true(batch->started_us[0] == time_of("2026-11-21T09:40:20.097054Z"));
    rig_close(&rig);
    lines_free(lines, count);
}

static void test_samples(void **state)
{
    static const struct {
        const char *name;
        uint32_t rows;
    } samples[] = {
        {"client_python_tests_example_full_event", 1},
        {"client_python_tests_serde_example_dataset_event", 0},
        {"client_python_tests_serde_example_job_event", 0},
        {"client_python_tests_serde_example_run_event", 1},
        {"spec_tests_example_full_event", 1},
    };
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        char path[256] = SAMPLES;

        strncat(path, samples[i].name, 100);
        strncat(path, ".json", 6);
        char *text = file_load(path);
        if (!text)
            skip();
        assert_int_equal(rig_decode_text(&rig, text), STATUS_OK);
        assert_int_equal(rig.batch.rows, samples[i].rows);
        if (samples[i].rows)
            assert_int_equal(rig.batch.mark[0], MARK_OK);
        free(text);
    }
    /* run, job and dataset at once is a run event */
    assert_span(rig.batch.workflow[0], "dbt");
    assert_span(rig.batch.run[0], "f69a6e9b-9bac-3c9a-9cf6-eacb70ecc9a9");
    assert_int_equal(rig.batch.state[0], STATE_SUCCESS);
    assert_int_equal(rig.batch.engine[0].size, 0);

    char *facet = file_load(SAMPLES "client_python_tests_nominal_time_without_end.json");
    assert_non_null(facet);
    rig_assert_malformed(&rig, facet, "no run, job or dataset");
    free(facet);
    rig_close(&rig);
}

#define EVENT(type, run_facets, job)                                                                         \
    "{\"eventTime\":\"2026-11-21T10:00:00.123456789Z\"," type                                                \
    "\"run\":{\"runId\":\"own\",\"facets\":{" run_facets "}},\"job\":{\"namespace\":\"n\"," job "}}"
#define PARENT(name)                                                                                         \
    "\"parent\":{\"run\":{\"runId\":\"up\"},\"job\":{\"namespace\":\"n\",\"name\":\"" name "\"}}"

static void test_identity_without_airflow_facets(void **state)
{
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
    const struct event_batch *batch = &rig.batch;

    /* an old provider's COMPLETE: only the parent tells */
    assert_int_equal(rig_decode_text(&rig, EVENT("\"eventType\":\"COMPLETE\",", PARENT("dag"),
                                                 "\"name\":\"dag.group.task\"")),
                     STATUS_OK);
    assert_span(batch->workflow[0], "dag");
    assert_span(batch->task[0], "group.task");
    assert_span(batch->run[0], "up");
    assert_int_equal(batch->parent_run[0].size, 0);
    assert_true(batch->time_us[0] == time_of("2026-11-21T10:00:00.123456Z"));

    /* dbt started by an Airflow task */
    rig_decode_text(
        &rig, EVENT("\"eventType\":\"START\",", PARENT("dag.task"), "\"name\":\"jaffle.model.orders\""));
    assert_span(batch->workflow[0], "jaffle.model.orders");
    assert_int_equal(batch->task[0].size, 0);
    assert_span(batch->run[0], "own");
    assert_span(batch->parent_run[0], "up");
    assert_true(batch->started_us[0] == batch->time_us[0]);

    /* the same name, and a beginning that is no whole word */
    rig_decode_text(&rig, EVENT("", PARENT("dag.task"), "\"name\":\"dag.task\""));
    assert_span(batch->run[0], "own");
    rig_decode_text(&rig, EVENT("", PARENT("dag"), "\"name\":\"daggers.task\""));
    assert_span(batch->workflow[0], "daggers.task");
    rig_decode_text(&rig, EVENT("", PARENT("dag"), "\"name\":\"dag.\""));
    assert_span(batch->workflow[0], "dag.");
    rig_decode_text(&rig, EVENT("", "", "\"name\":\"alone.task\""));
    assert_span(batch->workflow[0], "alone.task");
    assert_span(batch->run[0], "own");
    rig_close(&rig);
}

static enum run_state state_of(struct rig *rig, const char *event)
{
    assert_int_equal(rig_decode_text(rig, event), STATUS_OK);
    assert_int_equal(rig->batch.rows, 1);
    assert_int_equal(rig->batch.mark[0], MARK_OK);
    return (enum run_state)rig->batch.state[0];
}

static void test_states(void **state)
{
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
#define STATE(type, facets) state_of(&rig, EVENT(type, facets, "\"name\":\"j\""))
    assert_int_equal(STATE("\"eventType\":\"RUNNING\",", ""), STATE_RUNNING);
    assert_int_equal(STATE("\"eventType\":\"ABORT\",", ""), STATE_CANCELLED);
    assert_int_equal(STATE("\"eventType\":\"OTHER\",", ""), STATE_NONE);
    assert_int_equal(STATE("\"eventType\":\"OTHER\",", "\"airflowState\":{\"dagRunState\":\"queued\"}"),
                     STATE_QUEUED);
    assert_int_equal(STATE("\"eventType\":\"NEWS\",", "\"airflowState\":{\"dagRunState\":\"newer\"}"),
                     STATE_NONE);
    assert_int_equal(STATE("", ""), STATE_NONE);
    assert_int_equal(STATE("", "\"errorMessage\":{\"message\":\"m\"}"), STATE_FAILED);
    assert_int_equal(
        STATE("", "\"errorMessage\":{\"message\":\"m\"},\"airflowState\":{\"dagRunState\":\"success\"}"),
        STATE_SUCCESS);
    assert_int_equal(STATE("\"eventType\":null,", "\"unheard_of\":{\"a\":[1,{\"b\":2}]}"), STATE_NONE);
#undef STATE
    rig_close(&rig);
}

/* What stands behind the line that names the exception is no exception. */
static void test_tracebacks(void **state)
{
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
    const struct event_batch *batch = &rig.batch;

    rig_decode_text(&rig,
                    EVENT("\"eventType\":\"FAIL\",",
                          "\"errorMessage\":{\"message\":\"Traceback (most recent call last):\\n  File x\\n"
                          "KeyError: 'day'\\n\"}",
                          "\"name\":\"j\""));
    assert_span(batch->error[0], "KeyError: 'day'");
    rig_decode_text(&rig,
                    EVENT("",
                          "\"errorMessage\":{\"message\":\"Traceback (most recent call last):\\n  File x\\n"
                          "p.errors.UniqueViolation: duplicate key\\nDETAIL:  Key (id)=(1)\\n\\n(Background "
                          "on this error at: x)\\n\",\"stackTrace\":\"Traceback (most recent call last):\\n  "
                          "File x\\nKeyError: 1\\n\\nDuring handling of the above exception, another "
                          "exception occurred:\\n\\nTraceback (most recent call last):\\n  File y\\n"
                          "p.errors.UniqueViolation: duplicate key\\nDETAIL:  Key (id)=(1)\\nstatus:\\n\"}",
                          "\"name\":\"j\""));
    assert_span(batch->error[0], "p.errors.UniqueViolation: duplicate key");
    assert_span(batch->error_type[0], "p.errors.UniqueViolation");
    rig_decode_text(&rig,
                    EVENT("", "\"errorMessage\":{\"message\":\"Traceback (most recent call last):\\n  cut\"}",
                          "\"name\":\"j\""));
    assert_span(batch->error[0], "Traceback (most recent call last):\n  cut");
    rig_decode_text(&rig, EVENT("", "\"errorMessage\":{\"message\":\"two\\nlines\"}", "\"name\":\"j\""));
    assert_span(batch->error[0], "two\nlines");
    rig_close(&rig);
}

static void test_facets(void **state)
{
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
    const struct event_batch *batch = &rig.batch;

    rig_decode_text(
        &rig,
        EVENT("\"eventType\":\"FAIL\",",
              "\"processing_engine\":{\"name\":\"Spark\"},\"nominalTime\":{\"nominalStartTime\":"
              "\"2026-11-21T09:00:00Z\",\"nominalEndTime\":\"2026-11-21T10:00:00Z\"},\"errorMessage\":"
              "{\"message\":\"boom\",\"stackTrace\":\"org.x.A$B: boom\\n\\tat a.b(C.java:1)\\nCaused by: "
              "java.io.IOException: disk\\n\\tat d.e(F.java:2)\\n\\t... 3 more\\n\"}",
              "\"name\":\"j\",\"facets\":{\"sourceCodeLocation\":{\"version\":\"abc123\"},\"jobType\":"
              "{\"integration\":\"SPARK\",\"processingType\":\"STREAMING\"}}"));
    assert_span(batch->engine[0], "spark");
    assert_span(batch->error_type[0], "java.io.IOException");
    assert_span(batch->version[0], "abc123");
    /* elsewhere than in Airflow the start of the slot is when the run is due */
    assert_true(batch->scheduled_us[0] == time_of("2026-11-21T09:00:00Z"));

    rig_decode_text(
        &rig, EVENT("", "", "\"name\":\"j\",\"facets\":{\"jobType\":{\"processingType\":\"STREAMING\"}}"));
    assert_span(rig.batch.result[0], "streaming");
    rig_decode_text(&rig,
                    EVENT("", "", "\"name\":\"j\",\"facets\":{\"jobType\":{\"processingType\":\"BATCH\"}}"));
    assert_span(rig.batch.result[0], "");
    rig_decode_text(&rig, EVENT("", "", "\"name\":\"j\",\"facets\":{\"jobType\":{\"integration\":\"DBT\"}}"));
    assert_span(batch->engine[0], "dbt");

    /* facets of the wrong type are passed over */
    rig_decode_text(
        &rig,
        EVENT("\"eventType\":7,",
              "\"airflow\":{\"dag\":{\"dag_id\":\"d\"},\"task\":{\"task_id\":\"t\",\"queue\":{}},"
              "\"dagRun\":5,\"taskInstance\":{\"try_number\":\"2\",\"map_index\":-1,\"duration\":\"long\","
              "\"queued_dttm\":\"soon\",\"log_url\":[]}},\"airflow_mappedTask\":{\"mapIndex\":4}",
              "\"name\":\"d.t\""));
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_span(batch->task[0], "t");
    assert_span(batch->run[0], "own");
    assert_int_equal(batch->attempt[0], 2);
    assert_int_equal(batch->map_index[0], 4);
    assert_true(isnan(batch->duration_ms[0]) && batch->queued_us[0] == TIME_NONE);
    rig_close(&rig);
}

static void test_retries(void **state)
{
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
#define FAILED(type, attempt, retries, exception)                                                            \
    rig_decode_text(                                                                                         \
        &rig,                                                                                                \
        EVENT("\"eventType\":\"" type "\",",                                                                 \
              "\"airflow\":{\"dag\":{\"dag_id\":\"d\"},\"task\":{\"task_id\":\"t\",\"retries\":" retries     \
              "},\"taskInstance\":{\"try_number\":" attempt "}},\"errorMessage\":"                           \
              "{\"message\":\"m\",\"stackTrace\":\"" exception ": m\"}",                                     \
              "\"name\":\"d.t\""));                                                                          \
    assert_int_equal(rig.batch.mark[0], MARK_OK)
    FAILED("FAIL", "1", "1", "ValueError");
    assert_span(rig.batch.result[0], "up_for_retry");
    assert_int_equal(rig.batch.state[0], STATE_FAILED);
    FAILED("FAIL", "2", "1", "ValueError");
    assert_int_equal(rig.batch.result[0].size, 0);
    FAILED("FAIL", "1", "0", "ValueError");
    assert_int_equal(rig.batch.result[0].size, 0);
    FAILED("FAIL", "1", "{}", "ValueError");
    assert_int_equal(rig.batch.result[0].size, 0);
    FAILED("FAIL", "1", "3", "airflow.exceptions.AirflowFailException");
    assert_int_equal(rig.batch.result[0].size, 0);
    FAILED("FAIL", "1", "3",
           "Traceback (most recent call last):\\n  File x\\nairflow.exceptions.AirflowFailException: load "
           "failed\\n"
           "status: 500\\nrequest");
    assert_span(rig.batch.error_type[0], "airflow.exceptions.AirflowFailException");
    assert_int_equal(rig.batch.result[0].size, 0);
    FAILED("START", "1", "3", "ValueError");
    assert_int_equal(rig.batch.result[0].size, 0);
#undef FAILED
    rig_close(&rig);
}

static void test_malformed(void **state)
{
    struct rig rig;

    rig_open(&rig, "openlineage", NULL);
    rig_assert_malformed(&rig, "{}", "no run, job or dataset");
    rig_assert_malformed(&rig, "{\"run\":7,\"job\":{\"name\":\"j\"}}", "run is not an object");
    rig_assert_malformed(&rig, "{\"run\":{\"runId\":7},\"job\":{\"name\":\"j\"}}", "no run.runId");
    rig_assert_malformed(&rig, "{\"run\":{\"runId\":\"r\"}}", "no job.name");
    rig_assert_malformed(&rig, "{\"run\":{\"runId\":\"r\"},\"job\":{\"name\":\"j\"}}", "no eventTime");
    rig_assert_malformed(&rig, "{\"run\":{\"runId\":\"r\"},\"job\":{\"name\":\"j\"},\"eventTime\":\"soon\"}",
                         "eventTime is not a time");
    rig_assert_skipped(&rig, "7", "not a JSON object");
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
    rig_open(&rig, "openlineage", NULL);
    check_mutations(&rig, lines, count, 1.5);
    rig_close(&rig);
    lines_free(lines, count);
}

static void test_wrong_types(void **state)
{
    check_json_format(
        "openlineage",
        EVENT(
            "\"eventType\":\"FAIL\",",
            PARENT("d") ",\"airflow\":{\"dag\":{\"dag_id\":\"d\"},\"task\":{\"task_id\":\"t\",\"retries\":2}"
                        ",\"taskInstance\":{\"try_number\":1,\"map_index\":0}},\"errorMessage\":{\"message\":"
                        "\"m\",\"stackTrace\":\"E: m\"}",
            "\"name\":\"d.t\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_recording),
        cmocka_unit_test(test_fields_of_recording),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_identity_without_airflow_facets),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_facets),
        cmocka_unit_test(test_tracebacks),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
