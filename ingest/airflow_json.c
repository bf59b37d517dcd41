/* Airflow's JSON task logs: of Airflow 2 as its JSONFormatter writes them (`json_format` of the Elasticsearch
 * handler), of Airflow 3 as it writes by default. A log line tells no state of a run: DAG, task, run and try
 * are there so that lines can be counted and found by them. Sources: airflow/utils/log/json_formatter.py and
 * providers/elasticsearch/log/es_task_handler.py (2.10); task-sdk airflow/sdk/log.py (3.x). */
#include "base/memory.h"
#include "ingest/json.h"
#include "ingest/trace.h"

#include <assert.h>
#include <stdlib.h>

struct place {
    const char *path;
    enum field field; /* FIELD_COUNT: the label `line` */
};

// clang-format off
static const struct place airflow2_places[] = {
    {"asctime", F_TIME}, {"levelname", F_LEVEL}, {"message", F_MESSAGE}, {"filename", F_LOGGER}, {"lineno", FIELD_COUNT},
    {"dag_id", F_WORKFLOW}, {"task_id", F_TASK}, {"run_id", F_RUN_NAME}, {"map_index", F_MAP_INDEX}, {"try_number", F_ATTEMPT},
    {"exc_text", F_STACK_TRACE},
};
static const struct place airflow3_places[] = {
    {"timestamp", F_TIME}, {"level", F_LEVEL}, {"event", F_MESSAGE}, {"logger", F_LOGGER}, {"lineno", FIELD_COUNT},
    {"dag_id", F_WORKFLOW}, {"task_id", F_TASK}, {"run_id", F_RUN_NAME}, {"map_index", F_MAP_INDEX}, {"try_number", F_ATTEMPT},
    {"error_detail[0].exc_type", F_ERROR_TYPE}, {"error_detail[0].exc_value", F_ERROR},
};
// clang-format on

struct format {
    struct json_reader *reader;
    const struct place *places;
    unsigned count, line_label;
};

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    static const struct time_form form = {.unit = TIME_UNIT_AUTO};
    const struct format *format = owner;
    struct event_batch *batch = item->batch;

    for (unsigned i = 0; i < format->count; i++) {
        const struct place *place = &format->places[i];
        const struct json_value *value = &item->values[i];
        struct field_ref ref = {.field = place->field, .label = format->line_label};

        if (value->type == JSON_ABSENT)
            continue;
        const char *problem = field_store(batch, item->row, ref, value, &form, 1, item->message->arrival_us);
        if (problem && place->field == F_TIME) {
            *ret_reason =
                reason_print(batch, "%s: %s %s", place->path, json_type_names[value->type], problem);
            return JSON_ROW_BAD;
        }
    }
    if (batch->time_us[item->row] == TIME_NONE) {
        *ret_reason = reason_print(batch, "no %s", format->places[0].path);
        return JSON_ROW_BAD;
    }
    batch->engine[item->row] = SPAN_LITERAL("airflow");
    trace_split(batch, item->row);
    return JSON_ROW_KEPT;
}

static void airflow_close(struct format *format)
{
    json_reader_free(format->reader);
    free(format);
}

static enum status airflow_open(const struct place *places, unsigned count,
                                const struct format_context *context, struct format **ret_format,
                                struct error *ret_error)
{
    const char *problem = NULL;
    struct field_ref ref;

    if (!field_ref_parse(SPAN_LITERAL("labels.line"), context->labels, &ref))
        return fail(ret_error, "no room for the label 'line' (at most %d)", LABELS_MAX);
    struct format *format = memory_new(sizeof *format);
    *format = (struct format){
        .reader = json_reader_new(NULL, &problem), .places = places, .count = count, .line_label = ref.label};
    for (unsigned i = 0; i < count && !problem; i++)
        problem = json_reader_add(format->reader, places[i].path, i);
    assert(!problem);
    *ret_format = format;
    return STATUS_OK;
}

static enum status airflow2_open(const void *settings, const struct format_context *context,
                                 struct format **ret_format, struct error *ret_error)
{
    return airflow_open(airflow2_places, sizeof airflow2_places / sizeof *airflow2_places, context,
                        ret_format, ret_error);
}

static enum status airflow3_open(const void *settings, const struct format_context *context,
                                 struct format **ret_format, struct error *ret_error)
{
    return airflow_open(airflow3_places, sizeof airflow3_places / sizeof *airflow3_places, context,
                        ret_format, ret_error);
}

static enum status airflow_decode(struct format *format, const struct message *message,
                                  struct event_batch *batch, const char **ret_reason)
{
    uint32_t first_row = batch->rows;
    enum status status = json_reader_decode(format->reader, message, batch, fill_row, format, ret_reason);

    return json_name_foreign(status, message, batch, first_row, ret_reason);
}

const struct format_type airflow_json_format = {
    .name = "airflow_json",
    .help = "JSON task logs of Airflow 2",
    .open = airflow2_open,
    .decode = airflow_decode,
    .close = airflow_close,
};

const struct format_type airflow3_json_format = {
    .name = "airflow3_json",
    .help = "JSON task logs of Airflow 3",
    .open = airflow3_open,
    .decode = airflow_decode,
    .close = airflow_close,
};
