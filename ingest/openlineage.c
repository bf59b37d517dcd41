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
#include "base/memory.h"
#include "ingest/json.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

// clang-format off
enum target {
    EVENT_TYPE, EVENT_TIME, RUN, JOB, DATASET, RUN_ID, JOB_NAMESPACE, JOB_NAME, PARENT_RUN_ID,
    PARENT_JOB_NAME, ROOT_RUN_ID, DAG_ID, TASK_ID, DAG_RUN_ID, DAG_OF_RUN, RUN_OF_DAG, TRY_NUMBER,
    MAP_INDEX, MAPPED_INDEX, TASK_QUEUED, TASK_STARTED, DAG_STARTED, TASK_DURATION, DAG_DURATION,
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

static const struct event_type {
    const char *name;
    enum run_state state;
} event_types[] = {
    {"START", STATE_RUNNING},   {"RUNNING", STATE_RUNNING}, {"COMPLETE", STATE_SUCCESS},
    {"ABORT", STATE_CANCELLED}, {"FAIL", STATE_FAILED},
};

struct format {
    struct json_reader *reader;
};

static struct span text_of(const struct json_item *item, enum target target)
{
    const struct json_value *value = &item->values[target];

    return value->type == JSON_TEXT ? value->text : (struct span){0};
}

static struct span first_text(const struct json_item *item, enum target first, enum target second)
{
    struct span text = text_of(item, first);

    return text.size ? text : text_of(item, second);
}

/* Absent stays absent when the stamp is missing or no time. */
static void take_time(const struct json_item *item, enum target target, int64_t *column)
{
    json_value_time(&item->values[target], TIME_UNIT_AUTO, TIME_NONE, &column[item->row]);
}

/* OTHER and events without a type tell a state by a facet or not at all. */
static enum run_state state_of(const struct json_item *item)
{
    struct span type = text_of(item, EVENT_TYPE), dag_state = text_of(item, DAG_STATE);

    for (size_t i = 0; i < sizeof event_types / sizeof *event_types; i++)
        if (span_is(type, event_types[i].name))
            return event_types[i].state;
    enum run_state state = run_state_find(dag_state);
    if (state != STATE_COUNT)
        return state;
    return type.size == 0 && item->values[ERROR_MESSAGE].type == JSON_TEXT ? STATE_FAILED : STATE_NONE;
}

static void fill_identity(const struct json_item *item, bool is_dag, bool is_task)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    struct span run = text_of(item, RUN_ID), job = text_of(item, JOB_NAME);
    struct span parent_run = text_of(item, PARENT_RUN_ID), parent_job = text_of(item, PARENT_JOB_NAME);

    batch->workflow[row] = job;
    batch->run[row] = run;
    if (is_dag) {
        batch->workflow[row] = text_of(item, DAG_OF_RUN);
        batch->parent_run[row] = parent_run;
    } else if (is_task) {
        batch->workflow[row] = text_of(item, DAG_ID);
        batch->task[row] = text_of(item, TASK_ID);
        batch->run[row] = parent_run.size ? parent_run : run;
    } else if (parent_run.size && parent_job.size && parent_job.size + 1 < job.size &&
               memcmp(job.data, parent_job.data, parent_job.size) == 0 && job.data[parent_job.size] == '.') {
        batch->workflow[row] = parent_job;
        batch->task[row] = span_make(job.data + parent_job.size + 1, job.size - parent_job.size - 1);
        batch->run[row] = parent_run;
    } else {
        batch->parent_run[row] = parent_run;
    }
    batch->root_run[row] = text_of(item, ROOT_RUN_ID);
    batch->run_name[row] = first_text(item, DAG_RUN_ID, RUN_OF_DAG);
    batch->namespace_[row] = text_of(item, JOB_NAMESPACE);
}

static void fill_numbers(const struct json_item *item)
{
    struct event_batch *batch = item->batch;
    int64_t integer;
    double duration_s;

    if (!json_value_integer(&item->values[TRY_NUMBER], 0, UINT16_MAX, &integer))
        batch->attempt[item->row] = (uint16_t)integer;
    /* Airflow's -1 is a task that is not mapped. */
    if (!json_value_integer(&item->values[MAP_INDEX], 0, INT32_MAX, &integer) ||
        !json_value_integer(&item->values[MAPPED_INDEX], 0, INT32_MAX, &integer))
        batch->map_index[item->row] = (int32_t)integer;
    if ((!json_value_number(&item->values[TASK_DURATION], &duration_s) ||
         !json_value_number(&item->values[DAG_DURATION], &duration_s)) &&
        isfinite(duration_s * 1e3))
        batch->duration_ms[item->row] = duration_s * 1e3;
}

/* An Airflow run is due at the end of its data interval; elsewhere the nominal start is the time it was
 * planned for. */
static void fill_times(const struct json_item *item, bool is_airflow)
{
    struct event_batch *batch = item->batch;

    take_time(item, NOMINAL_START, batch->scheduled_us);
    if (is_airflow)
        take_time(item, NOMINAL_END, batch->scheduled_us);
    take_time(item, TASK_QUEUED, batch->queued_us);
    if (span_is(text_of(item, EVENT_TYPE), "START"))
        batch->started_us[item->row] = batch->time_us[item->row];
    take_time(item, TASK_STARTED, batch->started_us);
    take_time(item, DAG_STARTED, batch->started_us);
}

static bool is_class_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '$';
}

/* The class that a line of a stack trace names: "airflow.exceptions.AirflowException: lease lost",
 * "Caused by: java.io.IOException". Empty for other lines. */
static struct span class_of_line(struct span line)
{
    const struct span cause = SPAN_LITERAL("Caused by: ");
    uint32_t size = 0;

    if (line.size > cause.size && memcmp(line.data, cause.data, cause.size) == 0)
        line = span_make(line.data + cause.size, line.size - cause.size);
    while (size < line.size && is_class_char(line.data[size]))
        size++;
    bool ends = size == line.size || line.data[size] == ':';
    return ends && size > 0 && isalpha((unsigned char)line.data[0]) ? span_make(line.data, size)
                                                                    : (struct span){0};
}

/* The last line that names a class is the innermost exception, in Python's traces as in Java's. */
static struct span class_of_trace(struct span trace)
{
    uint32_t end = trace.size;

    while (end > 0) {
        uint32_t start = end;

        while (start > 0 && trace.data[start - 1] != '\n')
            start--;
        struct span line = span_make(trace.data + start, end - start);
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        struct span name = class_of_line(line);
        if (name.size)
            return name;
        end = start ? start - 1 : 0;
    }
    return (struct span){0};
}

/* False: no room in the arena. */
static bool fill_engine(const struct json_item *item)
{
    struct span engine = first_text(item, ENGINE, INTEGRATION);
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
    if (text_of(item, RUN_ID).size == 0)
        return "no run.runId";
    if (text_of(item, JOB_NAME).size == 0)
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

    /* Dataset and job events share the topic and tell of no run. */
    if (item->values[RUN].type == JSON_ABSENT &&
        (item->values[JOB].type == JSON_OBJECT || item->values[DATASET].type == JSON_OBJECT))
        return JSON_ROW_DROPPED;
    *ret_reason = check(item);
    if (*ret_reason)
        return JSON_ROW_BAD;

    bool is_dag = text_of(item, DAG_OF_RUN).size > 0;
    bool is_task = !is_dag && text_of(item, DAG_ID).size > 0 && text_of(item, TASK_ID).size > 0;
    if (!fill_engine(item))
        return JSON_ROW_FULL;
    fill_identity(item, is_dag, is_task);
    fill_numbers(item);
    fill_times(item, is_dag || is_task || span_is(batch->engine[row], "airflow"));
    batch->state[row] = (uint8_t)state_of(item);
    batch->action[row] = text_of(item, EVENT_TYPE);
    batch->error[row] = text_of(item, ERROR_MESSAGE);
    batch->stack_trace[row] = text_of(item, STACK_TRACE);
    batch->error_type[row] = class_of_trace(batch->stack_trace[row]);
    batch->owner[row] = text_of(item, OWNER);
    batch->url[row] = text_of(item, LOG_URL);
    batch->queue[row] = first_text(item, INSTANCE_QUEUE, TASK_QUEUE);
    batch->version[row] = text_of(item, CODE_VERSION);
    if (span_is(text_of(item, PROCESSING), "STREAMING"))
        batch->result[row] = SPAN_LITERAL("streaming");
    return JSON_ROW_KEPT;
}

static enum status openlineage_open(const void *settings, const struct format_context *context,
                                    struct format **ret_format, struct error *ret_error)
{
    struct format *format = memory_new(sizeof *format);

    format->reader = json_reader_of(target_paths, TARGET_COUNT);
    *ret_format = format;
    return STATUS_OK;
}

static enum status openlineage_decode(struct format *format, const struct message *message,
                                      struct event_batch *batch, const char **ret_reason)
{
    return json_reader_decode(format->reader, message, batch, fill_row, format, ret_reason);
}

static void openlineage_close(struct format *format)
{
    json_reader_free(format->reader);
    free(format);
}

const struct format_type openlineage_format = {
    .name = "openlineage",
    .help = "OpenLineage run events of Airflow, Spark, dbt, Flink and others",
    .open = openlineage_open,
    .decode = openlineage_decode,
    .close = openlineage_close,
};
