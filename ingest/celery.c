/* Celery's own events (worker -E), one JSON object each, or an array of them as the dispatcher sends
 * buffered task events. Source: Celery user guide, "Monitoring and Management Guide", event reference;
 * celery/events and worker/request.py. Runs once an event. Only sent and received name the task: rows of
 * the others leave `workflow` empty and the run table completes them by uuid. A retry keeps its uuid,
 * and its `received` may come before `retried`. */
#include "ingest/json.h"
#include "ingest/trace.h"

// clang-format off
enum target {
    TYPE, TIMESTAMP, HOSTNAME, UUID, NAME, ROOT_ID, PARENT_ID, RETRIES, ETA, QUEUE, RUNTIME, EXCEPTION,
    TRACEBACK, RESULT, REQUEUE, ACTIVE, TARGET_COUNT,
};
// clang-format on

// clang-format off
static const char *const target_paths[TARGET_COUNT] = {
    [TYPE] = "type", [TIMESTAMP] = "timestamp", [HOSTNAME] = "hostname", [UUID] = "uuid", [NAME] = "name",
    [ROOT_ID] = "root_id", [PARENT_ID] = "parent_id", [RETRIES] = "retries", [ETA] = "eta", [QUEUE] = "queue",
    [RUNTIME] = "runtime", [EXCEPTION] = "exception", [TRACEBACK] = "traceback", [RESULT] = "result",
    [REQUEUE] = "requeue", [ACTIVE] = "active",
};

static const struct json_column texts[] = {
    {TYPE, F_ACTION}, {HOSTNAME, F_HOST}, {UUID, F_RUN}, {NAME, F_WORKFLOW}, {ROOT_ID, F_ROOT_RUN},
    {PARENT_ID, F_PARENT_RUN}, {QUEUE, F_QUEUE}, {EXCEPTION, F_ERROR}, {TRACEBACK, F_STACK_TRACE}, {RESULT, F_RESULT},
};

static const struct state_name states[] = {
    {"task-sent", STATE_QUEUED}, {"task-received", STATE_QUEUED}, {"task-started", STATE_RUNNING},
    {"task-succeeded", STATE_SUCCESS}, {"task-failed", STATE_FAILED}, {"task-retried", STATE_RETRYING},
    {"task-rejected", STATE_FAILED}, {"task-revoked", STATE_CANCELLED}, {"task-cancelled", STATE_CANCELLED},
    {NULL, STATE_NONE},
};
// clang-format on

/* The state that a task event tells of; none for an application's own types. */
static enum run_state state_of(struct span type, const struct json_value *requeue)
{
    if (span_is(type, "task-rejected") && requeue->type == JSON_BOOL && span_is(requeue->text, "true"))
        return STATE_QUEUED;
    return state_of_name(states, type);
}

/* `exception` is a repr: TimeoutError('read timed out'). */
static struct span class_of_repr(struct span repr)
{
    struct span class = trace_class(repr);

    return class.size < repr.size && repr.data[class.size] == '(' ? class : (struct span)
    {
        0
    };
}

static bool starts_with(struct span text, const char *beginning)
{
    return text.size >= strlen(beginning) && memcmp(text.data, beginning, strlen(beginning)) == 0;
}

static void fill_task(const struct json_item *item, struct span type)
{
    const struct json_value *values = item->values;
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    int64_t retries;

    batch->state[row] = (uint8_t)state_of(type, &values[REQUEUE]);
    item_take_number(item, RUNTIME, 1e3, batch->duration_ms);
    if (!json_value_integer(&values[RETRIES], 0, UINT16_MAX - 1, &retries))
        batch->attempt[row] = (uint16_t)(retries + 1);
    item_take_time(item, ETA, TIME_UNIT_AUTO, batch->scheduled_us);
    if (batch->state[row] == STATE_RUNNING)
        batch->started_us[row] = batch->time_us[row];
    batch->error_type[row] = class_of_repr(batch->error[row]);
    /* task-sent comes from whoever asked for the task, which is no worker. */
    if (!span_is(type, "task-sent"))
        batch->worker[row] = batch->host[row];
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    const struct json_value *values = item->values;
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;

    if (values[TYPE].type != JSON_TEXT || values[TYPE].text.size == 0) {
        *ret_reason = "no type";
        return JSON_ROW_BAD;
    }
    bool is_task = starts_with(values[TYPE].text, "task-");
    if (is_task && (values[UUID].type != JSON_TEXT || values[UUID].text.size == 0)) {
        *ret_reason = "no uuid";
        return JSON_ROW_BAD;
    }
    const char *problem =
        values[TIMESTAMP].type == JSON_ABSENT
            ? "is missing"
            : json_value_time(&values[TIMESTAMP], TIME_UNIT_S, TIME_NONE, &batch->time_us[row]);
    if (problem) {
        *ret_reason = reason_print(batch, "timestamp %s", problem);
        return JSON_ROW_BAD;
    }

    batch->engine[row] = SPAN_LITERAL("celery");
    item_take_texts(item, texts, sizeof texts / sizeof *texts);
    if (is_task) {
        fill_task(item, values[TYPE].text);
    } else if (span_is(values[TYPE].text, "worker-heartbeat") &&
               !json_value_number(&values[ACTIVE], &batch->value[row])) {
        batch->metric[row] = SPAN_LITERAL("worker.active");
    }
    return JSON_ROW_KEPT;
}

static enum status celery_open(const void *settings, const struct format_context *context,
                               struct format **ret_format, struct error *ret_error)
{
    return json_format_open(target_paths, TARGET_COUNT, fill_row, ret_format);
}

const struct format_type celery_format = {
    .name = "celery",
    .help = "Celery's task and worker events",
    .signs = "hostname utcoffset clock|type timestamp hostname|type uuid timestamp",
    .open = celery_open,
    .decode = json_format_decode,
    .close = json_format_close,
};
