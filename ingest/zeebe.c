/* Records of Zeebe (Camunda 8) as its exporters write them. Source: camunda/camunda, zeebe protocol 8.0 to
 * 8.5 (intents), exporter templates; zeebe-kafka-exporter. Runs once a record. Only records of type EVENT
 * tell states: commands are wishes, and each state is told by one record only (a completed job's by its
 * element), so that rules over events count it once. Keys exceed 2^53 and stay text.
 * Elements that are activities in BPMN are tasks; events, gateways and flows end in the moment they begin.
 * An element that a process runs through again is the same task: its later passes change nothing. */
#include "ingest/json.h"

// clang-format off
enum target {
    VALUE_TYPE, INTENT, RECORD_TYPE, TIMESTAMP, POSITION, PARTITION, REJECTION, INSTANCE, PARENT, ROOT,
    PROCESS, ELEMENT, ELEMENT_TYPE, TENANT, VERSION, RETRIES, ERROR_MESSAGE, ERROR_CODE, ERROR_TYPE, JOB_KEY, WORKER,
    JOB_TYPE, TARGET_COUNT,
};

static const char *const target_paths[TARGET_COUNT] = {
    [VALUE_TYPE] = "valueType", [INTENT] = "intent", [RECORD_TYPE] = "recordType", [TIMESTAMP] = "timestamp",
    [POSITION] = "position", [PARTITION] = "partitionId", [REJECTION] = "rejectionReason",
    [INSTANCE] = "value.processInstanceKey", [PARENT] = "value.parentProcessInstanceKey",
    [ROOT] = "value.rootProcessInstanceKey", [PROCESS] = "value.bpmnProcessId", [ELEMENT] = "value.elementId",
    [ELEMENT_TYPE] = "value.bpmnElementType", [TENANT] = "value.tenantId", [VERSION] = "value.version",
    [RETRIES] = "value.retries", [ERROR_MESSAGE] = "value.errorMessage", [ERROR_CODE] = "value.errorCode",
    [ERROR_TYPE] = "value.errorType", [JOB_KEY] = "value.jobKey", [WORKER] = "value.worker",
    [JOB_TYPE] = "value.type",
};

static const struct json_column columns[] = {
    {PROCESS, F_WORKFLOW}, {VERSION, F_VERSION}, {REJECTION, F_ERROR}, {ERROR_MESSAGE, F_ERROR},
    {ERROR_CODE, F_ERROR_TYPE}, {ERROR_TYPE, F_ERROR_TYPE}, {WORKER, F_WORKER}, {JOB_TYPE, F_QUEUE},
};

static const struct state_name element_states[] = {
    {"ELEMENT_ACTIVATED", STATE_RUNNING}, {"ELEMENT_COMPLETED", STATE_SUCCESS},
    {"ELEMENT_TERMINATED", STATE_CANCELLED}, {NULL, STATE_NONE},
};

static const struct state_name job_states[] = {
    {"FAILED", STATE_RETRYING}, {"TIMED_OUT", STATE_RETRYING}, {"ERROR_THROWN", STATE_FAILED}, {NULL, STATE_NONE},
};

static const char *const activities[] = {
    "SERVICE_TASK", "RECEIVE_TASK", "USER_TASK", "MANUAL_TASK", "BUSINESS_RULE_TASK", "SCRIPT_TASK", "SEND_TASK",
    "TASK", "SUB_PROCESS", "EVENT_SUB_PROCESS", "AD_HOC_SUB_PROCESS", "CALL_ACTIVITY",
};
// clang-format on

/* -1 stands for none. */
static struct span key_of(const struct json_item *item, enum target target)
{
    struct span key = item_id(item, target);

    return key.size && key.data[0] != '-' ? key : (struct span){0};
}

static bool is_activity(struct span type)
{
    for (size_t i = 0; i < sizeof activities / sizeof *activities; i++)
        if (span_is(type, activities[i]))
            return true;
    return false;
}

/* A job without retries left waits for a person; its incident says so once more, other incidents alone. */
static enum run_state state_of(const struct json_item *item, bool is_process)
{
    struct span type = item_text(item, VALUE_TYPE), intent = item_text(item, INTENT);
    int64_t retries;

    if (!span_is(item_text(item, RECORD_TYPE), "EVENT"))
        return STATE_NONE;
    if (span_is(type, "PROCESS_INSTANCE"))
        return is_process || is_activity(item_text(item, ELEMENT_TYPE))
                   ? state_of_name(element_states, intent)
                   : STATE_NONE;
    if (span_is(type, "JOB")) {
        bool spent = !json_value_integer(&item->values[RETRIES], 0, INT32_MAX, &retries) && retries == 0;

        return spent && span_is(intent, "FAILED") ? STATE_FAILED : state_of_name(job_states, intent);
    }
    bool alone = span_is(type, "INCIDENT") && span_is(intent, "CREATED") && key_of(item, JOB_KEY).size == 0;
    return alone ? STATE_FAILED : STATE_NONE;
}

/* "JOB.FAILED" and, unique in the cluster, "1-6633". False: no room in the arena. */
static bool fill_names(const struct json_item *item)
{
    struct event_batch *batch = item->batch;
    struct span partition = key_of(item, PARTITION), position = key_of(item, POSITION);

    return item_join(item, item_text(item, VALUE_TYPE), '.', item_text(item, INTENT), batch->action) &&
           (partition.size == 0 || position.size == 0 ||
            item_join(item, partition, '-', position, batch->id));
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;

    if (item_text(item, VALUE_TYPE).size == 0 || item_text(item, INTENT).size == 0) {
        *ret_reason = "no valueType or intent";
        return JSON_ROW_BAD;
    }
    item_take_time(item, TIMESTAMP, TIME_UNIT_MS, batch->time_us);
    if (batch->time_us[row] == TIME_NONE) {
        *ret_reason = "timestamp is missing or no time";
        return JSON_ROW_BAD;
    }
    if (!fill_names(item))
        return JSON_ROW_FULL;

    bool is_process = span_is(item_text(item, ELEMENT_TYPE), "PROCESS");
    batch->engine[row] = SPAN_LITERAL("zeebe");
    item_take_texts(item, columns, sizeof columns / sizeof *columns);
    if (span_is(item_text(item, VALUE_TYPE), "JOB") && span_is(item_text(item, INTENT), "COMPLETED"))
        batch->error[row] = (struct span){0}; /* of an earlier try */
    if (!is_process)
        batch->task[row] = item_text(item, ELEMENT);
    batch->run[row] = key_of(item, INSTANCE);
    batch->parent_run[row] = key_of(item, PARENT);
    batch->root_run[row] = key_of(item, ROOT);
    if (!span_is(item_text(item, TENANT), "<default>"))
        batch->namespace_[row] = item_text(item, TENANT);
    batch->state[row] = (uint8_t)state_of(item, is_process);
    if (batch->state[row] == STATE_RETRYING)
        batch->result[row] = SPAN_LITERAL("up_for_retry");
    if (batch->state[row] == STATE_RUNNING)
        batch->started_us[row] = batch->time_us[row];
    return JSON_ROW_KEPT;
}

static enum status zeebe_open(const void *settings, const struct format_context *context,
                              struct format **ret_format, struct error *ret_error)
{
    return json_format_open(target_paths, TARGET_COUNT, fill_row, ret_format);
}

const struct format_type zeebe_format = {
    .name = "zeebe",
    .help = "records of Zeebe (Camunda 8) as exported to Kafka or Elasticsearch",
    .signs = "valueType intent",
    .open = zeebe_open,
    .decode = json_format_decode,
    .close = json_format_close,
};
