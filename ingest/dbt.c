/* dbt: the lines of `--log-format json`, and the artifact run_results.json, one row a result. Source:
 * dbt-core 1.4 to 1.10, dbt/events/types.py and the schema of run-results v1 to v6. Runs once a line or
 * result.
 * A run is an invocation and a task is a node, by its unique id, which holds the project. Neither form
 * names the project by itself and packages bring nodes of other projects into one invocation, so the workflow
 * is always `dbt`; a clean step may set another.
 * Considered and left: a failed node's error text comes some lines later in a line of its own
 * (RunResultError); telling the failure again with it would count it twice. */
#include "base/memory.h"
#include "ingest/json.h"

#include <stdlib.h>

// clang-format off
enum target {
    TIME, RUN, EVENT, MESSAGE, LEVEL, THREAD, NODE, NODE_STATUS, NODE_STARTED, DURATION, ERROR_TEXT, ERRORS, INTERRUPT,
    SUCCESS, RESULTS, TARGET_COUNT,
};

static const char *const target_paths[TARGET_COUNT] = {
    [TIME] = "info.ts", [RUN] = "info.invocation_id", [EVENT] = "info.name", [MESSAGE] = "info.msg", [LEVEL] = "info.level",
    [THREAD] = "info.thread", [NODE] = "data.node_info.unique_id", [NODE_STATUS] = "data.node_info.node_status",
    [NODE_STARTED] = "data.node_info.node_started_at", [DURATION] = "data.execution_time", [ERROR_TEXT] = "data.msg",
    [ERRORS] = "data.num_errors", [INTERRUPT] = "data.keyboard_interrupt", [SUCCESS] = "data.success", [RESULTS] = "results",
};

static const struct json_column columns[] = {
    {RUN, F_RUN}, {EVENT, F_ACTION}, {MESSAGE, F_MESSAGE}, {LEVEL, F_LEVEL}, {THREAD, F_WORKER}, {NODE, F_TASK},
};

enum result_target {
    R_NODE, R_STATUS, R_MESSAGE, R_DURATION, R_THREAD, R_STARTED, R_COMPILED, R_EXECUTED, RESULT_TARGETS,
    A_RUN = RESULT_TARGETS, A_TIME, /* outside of the results */
};

static const char *const result_paths[RESULT_TARGETS] = {
    [R_NODE] = "unique_id", [R_STATUS] = "status", [R_MESSAGE] = "message", [R_DURATION] = "execution_time",
    [R_THREAD] = "thread_id", [R_STARTED] = "timing[0].started_at", [R_COMPILED] = "timing[0].completed_at",
    [R_EXECUTED] = "timing[1].completed_at",
};

static const struct json_column result_columns[] = {
    {R_NODE, F_TASK}, {R_STATUS, F_RESULT}, {R_MESSAGE, F_MESSAGE}, {R_THREAD, F_WORKER},
};

static const struct state_name node_states[] = {
    {"started", STATE_RUNNING}, {"compiling", STATE_RUNNING}, {"executing", STATE_RUNNING}, {"success", STATE_SUCCESS},
    {"pass", STATE_SUCCESS}, {"warn", STATE_SUCCESS}, {"no-op", STATE_SUCCESS}, {"error", STATE_FAILED}, {"fail", STATE_FAILED},
    {"runtime error", STATE_FAILED}, {"partial success", STATE_FAILED}, {"skipped", STATE_SKIPPED}, {NULL, STATE_NONE},
};
// clang-format on

struct format {
    struct json_reader *lines, *results;
    bool is_artifact; /* the message being read */
};

/* Of the invocation: EndOfRunSummary ends a command that runs nodes, CommandCompleted (level debug) each. */
static enum run_state run_state_of(const struct json_item *item, struct span event)
{
    const struct json_value *values = item->values;
    double errors;

    if (span_is(event, "MainReportVersion"))
        return STATE_RUNNING;
    if (span_is(event, "MainEncounteredError"))
        return STATE_FAILED;
    if (span_is(event, "CommandCompleted") && values[SUCCESS].type == JSON_BOOL)
        return span_is(values[SUCCESS].text, "true") ? STATE_SUCCESS : STATE_FAILED;
    if (!span_is(event, "EndOfRunSummary") || json_value_number(&values[ERRORS], &errors))
        return STATE_NONE;
    if (values[INTERRUPT].type == JSON_BOOL && span_is(values[INTERRUPT].text, "true"))
        return STATE_CANCELLED;
    return errors > 0 ? STATE_FAILED : STATE_SUCCESS;
}

static void fill_line(const struct json_item *item)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;
    struct span event = item_text(item, EVENT);

    item_take_texts(item, columns, sizeof columns / sizeof *columns);
    batch->state[row] =
        (uint8_t)(batch->task[row].size ? state_of_name(node_states, item_text(item, NODE_STATUS))
                                        : run_state_of(item, event));
    if (batch->state[row] != STATE_NONE)
        batch->result[row] = item_text(item, NODE_STATUS);
    if (batch->task[row].size && batch->state[row] != STATE_SKIPPED)
        item_take_time(item, NODE_STARTED, TIME_UNIT_AUTO, batch->started_us);
    else if (batch->state[row] == STATE_RUNNING)
        batch->started_us[row] = batch->time_us[row];
    if (batch->task[row].size)
        item_take_number(item, DURATION, 1e3, batch->duration_ms);
    if (span_is(event, "RunResultError"))
        batch->error[row] = item_text(item, ERROR_TEXT);
    else if (batch->state[row] == STATE_FAILED && !span_is(event, "EndOfRunSummary"))
        batch->error[row] = batch->message[row];
}

static enum json_verdict line_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct format *format = owner;
    struct event_batch *batch = item->batch;

    if (item->values[RESULTS].type == JSON_ARRAY) {
        format->is_artifact = true;
        return JSON_ROW_DROPPED;
    }
    *ret_reason = item_text(item, EVENT).size == 0 ? "no info.name" : NULL;
    if (!*ret_reason && item_text(item, RUN).size == 0)
        *ret_reason = "no info.invocation_id";
    item_take_time(item, TIME, TIME_UNIT_AUTO, batch->time_us);
    if (!*ret_reason && batch->time_us[item->row] == TIME_NONE)
        *ret_reason = "info.ts is missing or no time";
    if (*ret_reason)
        return JSON_ROW_BAD;
    batch->engine[item->row] = batch->workflow[item->row] = SPAN_LITERAL("dbt");
    fill_line(item);
    return JSON_ROW_KEPT;
}

/* The run and, for what did not execute, the time stand outside: fill_artifact. */
static enum json_verdict result_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;

    if (item_text(item, R_NODE).size == 0 || item_text(item, R_STATUS).size == 0) {
        *ret_reason = "no unique_id or status";
        return JSON_ROW_BAD;
    }
    batch->engine[row] = batch->workflow[row] = SPAN_LITERAL("dbt");
    batch->action[row] = SPAN_LITERAL("run_results");
    item_take_texts(item, result_columns, sizeof result_columns / sizeof *result_columns);
    item_take_time(item, R_COMPILED, TIME_UNIT_AUTO, batch->time_us);
    item_take_time(item, R_EXECUTED, TIME_UNIT_AUTO, batch->time_us);
    item_take_time(item, R_STARTED, TIME_UNIT_AUTO, batch->started_us);
    item_take_number(item, R_DURATION, 1e3, batch->duration_ms);
    enum run_state state = state_of_name(node_states, item_text(item, R_STATUS));
    batch->state[row] = (uint8_t)(state == STATE_NONE ? STATE_UNKNOWN : state);
    if (state == STATE_FAILED)
        batch->error[row] = batch->message[row];
    return JSON_ROW_KEPT;
}

static void mark_bad(struct event_batch *batch, uint32_t row, const char *reason)
{
    batch->mark[row] = MARK_MALFORMED;
    batch->reason[row] = reason;
}

static void fill_artifact(const struct json_reader *reader, struct event_batch *batch, uint32_t first)
{
    const struct json_value *run = json_reader_value(reader, A_RUN);
    int64_t time_us = TIME_NONE;

    json_value_time(json_reader_value(reader, A_TIME), TIME_UNIT_AUTO, TIME_NONE, &time_us);
    for (uint32_t row = first; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK)
            continue;
        if (batch->time_us[row] == TIME_NONE)
            batch->time_us[row] = time_us;
        if (run->type != JSON_TEXT || run->text.size == 0)
            mark_bad(batch, row, "no metadata.invocation_id");
        else if (batch->time_us[row] == TIME_NONE)
            mark_bad(batch, row, "no time in timing, nor metadata.generated_at");
        else
            batch->run[row] = run->text;
    }
}

static enum status dbt_decode(struct format *format, const struct message *message, struct event_batch *batch,
                              const char **ret_reason)
{
    uint32_t first = batch->rows;

    format->is_artifact = false;
    enum status status = json_reader_decode(format->lines, message, batch, line_row, format, ret_reason);
    if (!format->is_artifact)
        return json_name_foreign(status, message, batch, first, ret_reason);
    batch->rows = first;
    status = json_reader_decode(format->results, message, batch, result_row, format, ret_reason);
    if (status == STATUS_OK)
        fill_artifact(format->results, batch, first);
    return status;
}

static enum status dbt_open(const void *settings, const struct format_context *context,
                            struct format **ret_format, struct error *ret_error)
{
    struct format *format = memory_new(sizeof *format);

    format->lines = json_reader_of(NULL, target_paths, TARGET_COUNT);
    format->results = json_reader_of("results[*]", result_paths, RESULT_TARGETS);
    json_reader_add_outer(format->results, "metadata.invocation_id", A_RUN);
    json_reader_add_outer(format->results, "metadata.generated_at", A_TIME);
    *ret_format = format;
    return STATUS_OK;
}

static void dbt_close(struct format *format)
{
    json_reader_free(format->lines);
    json_reader_free(format->results);
    free(format);
}

const struct format_type dbt_format = {
    .name = "dbt",
    .help = "dbt's JSON log lines and its run_results.json",
    .signs = "info data|metadata results",
    .open = dbt_open,
    .decode = dbt_decode,
    .close = dbt_close,
};
