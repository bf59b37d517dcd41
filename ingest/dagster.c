/* Dagster's event log, as it is stored (EventLogEntry) or as its json_console logger writes it. Source:
 * dagster 1.0 to 1.13, _core/events/__init__.py, _core/events/log.py, _utils/log.py. Runs once an event.
 * Entries do not number the tries of a step, so all tries are one attempt that goes from retrying back to
 * running. An exception is told by its innermost cause that the entry gives two levels of. */
#include "ingest/json.h"

#include <ctype.h>

#define ENTRY          "dagster_event."
#define META           "dagster_meta."
#define LOGGED         META "dagster_event."
#define OF_EVENT(path) ENTRY path "|" LOGGED path
#define DATA(path)     OF_EVENT("event_specific_data." path)

// clang-format off
enum target {
    RUN, TIME, JOB, STEP, TYPE, MESSAGE, EVENT_MESSAGE, LEVEL, LEVEL_NAME, LOGGER, TRACE, DURATION, ERROR, ERROR_CLASS,
    CAUSE, CAUSE_CLASS, USER_ERROR, USER_ERROR_CLASS, CHECK, TARGET_COUNT,
};

static const char *const target_paths[TARGET_COUNT] = {
    [RUN] = "run_id|" META "run_id", [TIME] = "timestamp|created", [JOB] = "pipeline_name|" META "job_name",
    [STEP] = "step_key|" ENTRY "step_key|" META "step_key", [TYPE] = OF_EVENT("event_type_value"),
    [MESSAGE] = "user_message|" META "orig_message", [EVENT_MESSAGE] = ENTRY "message", [LEVEL] = "level",
    [LEVEL_NAME] = "levelname", [LOGGER] = "name", [TRACE] = "exc_text", [DURATION] = DATA("duration_ms"),
    [ERROR] = DATA("error.message"), [ERROR_CLASS] = DATA("error.cls_name"), [CAUSE] = DATA("error.cause.message"),
    [CAUSE_CLASS] = DATA("error.cause.cls_name"), [USER_ERROR] = "error_info.message",
    [USER_ERROR_CLASS] = "error_info.cls_name", [CHECK] = DATA("success"),
};

static const struct json_column columns[] = {
    {RUN, F_RUN}, {JOB, F_WORKFLOW}, {STEP, F_TASK}, {TYPE, F_ACTION}, {EVENT_MESSAGE, F_MESSAGE}, {MESSAGE, F_MESSAGE},
    {LEVEL_NAME, F_LEVEL}, {LOGGER, F_LOGGER}, {TRACE, F_STACK_TRACE},
};

static const struct state_name run_states[] = {
    {"PIPELINE_ENQUEUED", STATE_QUEUED}, {"PIPELINE_DEQUEUED", STATE_QUEUED}, {"PIPELINE_STARTING", STATE_QUEUED},
    {"PIPELINE_START", STATE_RUNNING}, {"PIPELINE_SUCCESS", STATE_SUCCESS}, {"PIPELINE_FAILURE", STATE_FAILED},
    {"PIPELINE_CANCELED", STATE_CANCELLED}, {NULL, STATE_NONE},
};

static const struct state_name step_states[] = {
    {"STEP_START", STATE_RUNNING}, {"STEP_SUCCESS", STATE_SUCCESS}, {"STEP_FAILURE", STATE_FAILED},
    {"STEP_SKIPPED", STATE_SKIPPED}, {"STEP_UP_FOR_RETRY", STATE_RETRYING}, {"STEP_RESTARTED", STATE_RUNNING},
    {NULL, STATE_NONE},
};
// clang-format on

/* Python's numbers of log levels. */
static const char *const levels[] = {"NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

static void fill_level(const struct json_item *item)
{
    int64_t number;

    if (!json_value_integer(&item->values[LEVEL], 0, 50, &number) && number % 10 == 0)
        item->batch->level[item->row] = span_of(levels[number / 10]);
}

/* "ValueError: duplicate key\n" of the class ValueError is told as "duplicate key". */
static struct span without_class(struct span message, struct span class)
{
    const char *colon = message.size ? memchr(message.data, ':', message.size) : NULL;
    size_t head = colon ? (size_t)(colon - message.data) : 0;

    while (message.size && isspace((unsigned char)message.data[message.size - 1]))
        message.size--;
    if (class.size == 0 || head < class.size || head + 2 > message.size ||
        memcmp(message.data + head - class.size, class.data, class.size) != 0)
        return message;
    return span_make(message.data + head + 2, message.size - head - 2);
}

static void fill_error(const struct json_item *item)
{
    static const enum target places[][2] = {
        {CAUSE, CAUSE_CLASS}, {ERROR, ERROR_CLASS}, {USER_ERROR, USER_ERROR_CLASS}};
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;

    for (size_t i = 0; i < sizeof places / sizeof *places && batch->error_type[row].size == 0; i++) {
        batch->error_type[row] = item_text(item, places[i][1]);
        batch->error[row] = without_class(item_text(item, places[i][0]), batch->error_type[row]);
    }
    if (item->values[CHECK].type != JSON_BOOL || !span_is(batch->action[row], "ASSET_CHECK_EVALUATION"))
        return;
    bool passed = span_is(item->values[CHECK].text, "true");
    batch->result[row] = passed ? SPAN_LITERAL("passed") : SPAN_LITERAL("failed");
    if (!passed)
        batch->error[row] = batch->message[row];
}

static void fill_state(const struct json_item *item)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    enum run_state state = state_of_name(run_states, batch->action[row]);

    if (state == STATE_NONE && batch->task[row].size > 0)
        state = state_of_name(step_states, batch->action[row]);
    else if (state != STATE_NONE)
        batch->task[row] = (struct span){0};
    batch->state[row] = (uint8_t)state;
    if (state == STATE_RUNNING)
        batch->started_us[row] = batch->time_us[row];
    if (state == STATE_RETRYING)
        batch->result[row] = SPAN_LITERAL("up_for_retry");
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;

    if (item_text(item, RUN).size == 0) {
        *ret_reason = "no run_id";
        return JSON_ROW_BAD;
    }
    item_take_time(item, TIME, TIME_UNIT_S, batch->time_us);
    if (batch->time_us[row] == TIME_NONE) {
        *ret_reason = "timestamp is missing or no time";
        return JSON_ROW_BAD;
    }
    batch->engine[row] = SPAN_LITERAL("dagster");
    item_take_texts(item, columns, sizeof columns / sizeof *columns);
    item_take_number(item, DURATION, 1, batch->duration_ms);
    fill_level(item);
    fill_state(item);
    fill_error(item);
    return JSON_ROW_KEPT;
}

static enum status dagster_open(const void *settings, const struct format_context *context,
                                struct format **ret_format, struct error *ret_error)
{
    return json_format_open(target_paths, TARGET_COUNT, fill_row, ret_format);
}

const struct format_type dagster_format = {
    .name = "dagster",
    .help = "Dagster's event log entries and the lines of its json_console logger",
    .signs = "dagster_event run_id|dagster_meta",
    .open = dagster_open,
    .decode = json_format_decode,
    .close = json_format_close,
};
