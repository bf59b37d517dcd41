/* OpenLineage run events: Airflow, Spark, dbt, Flink, Dagster and others through one form.
 * Source: OpenLineage spec 2-0-2 (OpenLineage.json, facets/), Airflow's openlineage provider 1.0 to 2.5
 * (plugins/adapter.py, facets.py). Runs once an event. Only what makes a row impossible is an error (no
 * run id, job name or time); a facet of the wrong type is passed over, because every producer and
 * version has its own.
 * Airflow gives each attempt of a task a run id of its own and names the DAG run as its parent, so a
 * task's run is the parent. Old versions leave their facets out of some events; the job name `dag.task`
 * then tells, since the parent's job name is the part before the dot. A job whose parent is named
 * otherwise (dbt started by an Airflow task) is a run of its own. The `tasksState` of a DAG's last event
 * is not unrolled: it has no times. */
#include "ingest/json.h"
#include "ingest/trace.h"

#include <ctype.h>

// clang-format off
enum target {
    EVENT_TYPE, EVENT_TIME, RUN, JOB, DATASET, RUN_ID, JOB_NAMESPACE, JOB_NAME, PARENT_RUN_ID,
    PARENT_JOB_NAME, ROOT_RUN_ID, DAG_ID, TASK_ID, DAG_RUN_ID, DAG_OF_RUN, RUN_OF_DAG, TRY_NUMBER,
    RETRIES, MAP_INDEX, MAPPED_INDEX, TASK_QUEUED, TASK_STARTED, DAG_STARTED, TASK_DURATION, DAG_DURATION,
    DAG_STATE, NOMINAL_START, NOMINAL_END, ERROR_MESSAGE, STACK_TRACE, OWNER, LOG_URL, INSTANCE_QUEUE,
    TASK_QUEUE, ENGINE, INTEGRATION, PROCESSING, CODE_VERSION, TARGET_COUNT,
};
// clang-format on

#define FACETS  "run.facets."
#define AIRFLOW FACETS "airflow."
#define DAG_RUN FACETS "airflowDagRun."

// clang-format off
static const char *const target_paths[TARGET_COUNT] = {
    [EVENT_TYPE] = "eventType",
    [EVENT_TIME] = "eventTime",
    [RUN] = "run",
    [JOB] = "job",
    [DATASET] = "dataset",
    [RUN_ID] = "run.runId",
    [JOB_NAMESPACE] = "job.namespace",
    [JOB_NAME] = "job.name",
    [PARENT_RUN_ID] = FACETS "parent.run.runId",
    [PARENT_JOB_NAME] = FACETS "parent.job.name",
    [ROOT_RUN_ID] = FACETS "parent.root.run.runId",
    [DAG_ID] = AIRFLOW "dag.dag_id",
    [TASK_ID] = AIRFLOW "task.task_id",
    [DAG_RUN_ID] = AIRFLOW "dagRun.run_id",
    [DAG_OF_RUN] = DAG_RUN "dag.dag_id",
    [RUN_OF_DAG] = DAG_RUN "dagRun.run_id",
    [TRY_NUMBER] = AIRFLOW "taskInstance.try_number",
    [RETRIES] = AIRFLOW "task.retries",
    [MAP_INDEX] = AIRFLOW "taskInstance.map_index",
    [MAPPED_INDEX] = FACETS "airflow_mappedTask.mapIndex",
    [TASK_QUEUED] = AIRFLOW "taskInstance.queued_dttm",
    [TASK_STARTED] = AIRFLOW "taskInstance.start_date",
    [DAG_STARTED] = DAG_RUN "dagRun.start_date",
    [TASK_DURATION] = AIRFLOW "taskInstance.duration",
    [DAG_DURATION] = DAG_RUN "dagRun.duration",
    [DAG_STATE] = FACETS "airflowState.dagRunState",
    [NOMINAL_START] = FACETS "nominalTime.nominalStartTime",
    [NOMINAL_END] = FACETS "nominalTime.nominalEndTime",
    [ERROR_MESSAGE] = FACETS "errorMessage.message",
    [STACK_TRACE] = FACETS "errorMessage.stackTrace",
    [OWNER] = "job.facets.ownership.owners[0].name",
    [LOG_URL] = AIRFLOW "taskInstance.log_url",
    [INSTANCE_QUEUE] = AIRFLOW "taskInstance.queue",
    [TASK_QUEUE] = AIRFLOW "task.queue",
    [ENGINE] = FACETS "processing_engine.name",
    [INTEGRATION] = "job.facets.jobType.integration",
    [PROCESSING] = "job.facets.jobType.processingType",
    [CODE_VERSION] = "job.facets.sourceCodeLocation.version",
};
// clang-format on

static const struct state_name event_types[] = {
    {"START", STATE_RUNNING},   {"RUNNING", STATE_RUNNING}, {"COMPLETE", STATE_SUCCESS},
    {"ABORT", STATE_CANCELLED}, {"FAIL", STATE_FAILED},     {NULL, STATE_NONE},
};

/* OTHER and events without a type tell a state by a facet or not at all. */
static enum run_state state_of(const struct json_item *item)
{
    struct span type = item_text(item, EVENT_TYPE), dag_state = item_text(item, DAG_STATE);

    enum run_state state = state_of_name(event_types, type);

    if (state != STATE_NONE)
        return state;
    state = run_state_find(dag_state);
    if (state != STATE_COUNT)
        return state;
    return type.size == 0 && item->values[ERROR_MESSAGE].type == JSON_TEXT ? STATE_FAILED : STATE_NONE;
}

static void fill_identity(const struct json_item *item, bool is_dag, bool is_task)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    struct span run = item_text(item, RUN_ID), job = item_text(item, JOB_NAME);
    struct span parent_run = item_text(item, PARENT_RUN_ID), parent_job = item_text(item, PARENT_JOB_NAME);

    batch->workflow[row] = job;
    batch->run[row] = run;
    if (is_dag) {
        batch->workflow[row] = item_text(item, DAG_OF_RUN);
        batch->parent_run[row] = parent_run;
    } else if (is_task) {
        batch->workflow[row] = item_text(item, DAG_ID);
        batch->task[row] = item_text(item, TASK_ID);
        batch->run[row] = parent_run.size ? parent_run : run;
    } else if (parent_run.size && parent_job.size && parent_job.size + 1 < job.size &&
               memcmp(job.data, parent_job.data, parent_job.size) == 0 && job.data[parent_job.size] == '.') {
        batch->workflow[row] = parent_job;
        batch->task[row] = span_make(job.data + parent_job.size + 1, job.size - parent_job.size - 1);
        batch->run[row] = parent_run;
    } else {
        batch->parent_run[row] = parent_run;
    }
    batch->root_run[row] = item_text(item, ROOT_RUN_ID);
    batch->run_name[row] = item_first_text(item, DAG_RUN_ID, RUN_OF_DAG);
    batch->namespace_[row] = item_text(item, JOB_NAMESPACE);
}

static void fill_numbers(const struct json_item *item)
{
    struct event_batch *batch = item->batch;
    int64_t integer;

    if (!json_value_integer(&item->values[TRY_NUMBER], 0, UINT16_MAX, &integer))
        batch->attempt[item->row] = (uint16_t)integer;
    /* Airflow's -1 is a task that is not mapped. */
    if (!json_value_integer(&item->values[MAP_INDEX], 0, INT32_MAX, &integer) ||
        !json_value_integer(&item->values[MAPPED_INDEX], 0, INT32_MAX, &integer))
        batch->map_index[item->row] = (int32_t)integer;
    item_take_number(item, DAG_DURATION, 1e3, batch->duration_ms);
    item_take_number(item, TASK_DURATION, 1e3, batch->duration_ms);
}

/* An Airflow run is due at the end of its data interval; elsewhere the nominal start is the time it was
 * planned for. */
static void fill_times(const struct json_item *item, bool is_airflow)
{
    struct event_batch *batch = item->batch;

    item_take_time(item, NOMINAL_START, TIME_UNIT_AUTO, batch->scheduled_us);
    if (is_airflow)
        item_take_time(item, NOMINAL_END, TIME_UNIT_AUTO, batch->scheduled_us);
    item_take_time(item, TASK_QUEUED, TIME_UNIT_AUTO, batch->queued_us);
    if (span_is(item_text(item, EVENT_TYPE), "START"))
        batch->started_us[item->row] = batch->time_us[item->row];
    item_take_time(item, TASK_STARTED, TIME_UNIT_AUTO, batch->started_us);
    item_take_time(item, DAG_STARTED, TIME_UNIT_AUTO, batch->started_us);
}

/* A message that is a Python traceback has what matters behind the frames. */
static struct span error_line(struct span message)
{
    const struct span traceback = SPAN_LITERAL("Traceback (most recent call last)");
    struct span error, type;

    if (message.size < traceback.size || memcmp(message.data, traceback.data, traceback.size) != 0)
        return message;
    trace_error(message, &error, &type);
    return error.size ? error : message;
}

static bool ends_with(struct span text, struct span end)
{
    return text.size >= end.size && memcmp(text.data + text.size - end.size, end.data, end.size) == 0;
}

/* Airflow tries a task again until it has tried `retries` times more, except after these two exceptions
 * (models/taskinstance.py). A task that was cleared may be tried more often than the facets tell. */
static bool will_be_retried(const struct json_item *item, struct span error_type)
{
    int64_t attempt, retries;

    return span_is(item_text(item, EVENT_TYPE), "FAIL") &&
           !json_value_integer(&item->values[TRY_NUMBER], 1, UINT16_MAX, &attempt) &&
           !json_value_integer(&item->values[RETRIES], 1, UINT16_MAX, &retries) && attempt <= retries &&
           !ends_with(error_type, SPAN_LITERAL("AirflowFailException")) &&
           !ends_with(error_type, SPAN_LITERAL("AirflowSensorTimeout"));
}

/* False: no room in the arena. */
static bool fill_engine(const struct json_item *item)
{
    struct span engine = item_first_text(item, ENGINE, INTEGRATION);
    char *lower = arena_take(&item->batch->text, engine.size);

    if (!lower)
        return false;
    for (uint32_t i = 0; i < engine.size; i++)
        lower[i] = (char)tolower((unsigned char)engine.data[i]);
    item->batch->engine[item->row] = span_make(lower, engine.size);
    return true;
}

static const char *check(const struct json_item *item)
{
    if (item->values[RUN].type == JSON_ABSENT)
        return "no run, job or dataset";
    if (item->values[RUN].type != JSON_OBJECT)
        return "run is not an object";
    if (item_text(item, RUN_ID).size == 0)
        return "no run.runId";
    if (item_text(item, JOB_NAME).size == 0)
        return "no job.name";
    if (item->values[EVENT_TIME].type == JSON_ABSENT)
        return "no eventTime";
    if (json_value_time(&item->values[EVENT_TIME], TIME_UNIT_AUTO, item->message->arrival_us,
                        &item->batch->time_us[item->row]))
        return "eventTime is not a time";
    return NULL;
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    struct span trace_line;

    /* Dataset and job events share the topic and tell of no run. */
    if (item->values[RUN].type == JSON_ABSENT &&
        (item->values[JOB].type == JSON_OBJECT || item->values[DATASET].type == JSON_OBJECT))
        return JSON_ROW_DROPPED;
    *ret_reason = check(item);
    if (*ret_reason)
        return JSON_ROW_BAD;

    bool is_dag = item_text(item, DAG_OF_RUN).size > 0;
    bool is_task = !is_dag && item_text(item, DAG_ID).size > 0 && item_text(item, TASK_ID).size > 0;
    if (!fill_engine(item))
        return JSON_ROW_FULL;
    fill_identity(item, is_dag, is_task);
    fill_numbers(item);
    fill_times(item, is_dag || is_task || span_is(batch->engine[row], "airflow"));
    batch->state[row] = (uint8_t)state_of(item);
    batch->action[row] = item_text(item, EVENT_TYPE);
    batch->error[row] = error_line(item_text(item, ERROR_MESSAGE));
    batch->stack_trace[row] = item_text(item, STACK_TRACE);
    trace_error(batch->stack_trace[row], &trace_line, &batch->error_type[row]);
    if (is_task && will_be_retried(item, batch->error_type[row]))
        batch->result[row] = SPAN_LITERAL("up_for_retry");
    else if (span_is(item_text(item, PROCESSING), "STREAMING"))
        batch->result[row] = SPAN_LITERAL("streaming");
    batch->owner[row] = item_text(item, OWNER);
    batch->url[row] = item_text(item, LOG_URL);
    batch->queue[row] = item_first_text(item, INSTANCE_QUEUE, TASK_QUEUE);
    batch->version[row] = item_text(item, CODE_VERSION);
    return JSON_ROW_KEPT;
}

static enum status openlineage_open(const void *settings, const struct format_context *context,
                                    struct format **ret_format, struct error *ret_error)
{
    return json_format_open(target_paths, TARGET_COUNT, fill_row, ret_format);
}

const struct format_type openlineage_format = {
    .name = "openlineage",
    .help = "OpenLineage run events of Airflow, Spark, dbt, Flink and others",
    .signs = "eventTime eventType job|eventTime run job|eventTime job producer|eventTime dataset producer|"
             "eventTime run producer",
    .open = openlineage_open,
    .decode = json_format_decode,
    .close = json_format_close,
};
