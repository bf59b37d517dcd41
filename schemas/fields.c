/* The table of fields and what follows from one of its rows: finding it by name, its value as text, its value
 * as number.
 * Finding runs at load only; event_text and event_number run once a row and key, filter or measure, and
 * allocate nothing.
 * Rows that share an object in documents (weir, event ...) stand together, so that documents.c writes each
 * object from one range of the table. Considered and left: a perfect hash for the names (nothing to gain at
 * load). */
#include "base/decimal.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "schemas/event.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

const char *const run_state_names[STATE_COUNT] = {
    "",       "queued",  "waiting",         "running",   "retrying",  "success",
    "failed", "skipped", "upstream_failed", "cancelled", "timed_out", "unknown",
};

const char *const event_kind_names[KIND_COUNT] = {"event", "metric"};

// clang-format off
#define COLUMN(member) offsetof(struct event_batch, member)

/* error.stack_trace is `wildcard` in ECS, which OpenSearch before 2.15 does not know; `keyword` is the
 * same family. In the same way `text` stands for ECS's `match_only_text`. */
const struct field_row field_rows[FIELD_COUNT] = {
    [F_TIME] = {"time", FIELD_TIME, COLUMN(time_us), "@timestamp", "date", "event time"},

    [F_SOURCE] = {"source", FIELD_TEXT, COLUMN(source), "weir.source", "keyword", "name of the source in the configuration"},
    [F_NAMESPACE] = {"namespace", FIELD_TEXT, COLUMN(namespace_), "weir.namespace", "keyword", "namespace of the engine (OpenLineage), its site or tenant"},
    [F_ENGINE] = {"engine", FIELD_TEXT, COLUMN(engine), "weir.engine", "keyword", "workflow engine: airflow, celery, dagster ..."},
    [F_WORKFLOW] = {"workflow", FIELD_TEXT, COLUMN(workflow), "weir.workflow", "keyword", "DAG, pipeline, job or Celery task name"},
    [F_TASK] = {"task", FIELD_TEXT, COLUMN(task), "weir.task", "keyword", "task or step within the workflow"},
    [F_RUN] = {"run", FIELD_TEXT, COLUMN(run), "weir.run", "keyword", "id of the run of the workflow"},
    [F_RUN_NAME] = {"run_name", FIELD_TEXT, COLUMN(run_name), "weir.run_name", "keyword", "the run's name as people see it (Airflow's run_id)"},
    [F_ROOT_RUN] = {"root_run", FIELD_TEXT, COLUMN(root_run), "weir.root_run", "keyword", "run that started the whole tree of runs"},
    [F_PARENT_RUN] = {"parent_run", FIELD_TEXT, COLUMN(parent_run), "weir.parent_run", "keyword", "run that started this run"},
    [F_MAP_INDEX] = {"map_index", FIELD_INTEGER, COLUMN(map_index), "weir.map_index", "integer", "index of a mapped task instance"},
    [F_ATTEMPT] = {"attempt", FIELD_SMALL, COLUMN(attempt), "weir.attempt", "short", "number of the try, from 1"},
    [F_OWNER] = {"owner", FIELD_TEXT, COLUMN(owner), "weir.owner", "keyword", "person or team that owns the workflow"},
    [F_QUEUE] = {"queue", FIELD_TEXT, COLUMN(queue), "weir.queue", "keyword", "queue or pool the task waits in"},
    [F_WORKER] = {"worker", FIELD_TEXT, COLUMN(worker), "weir.worker", "keyword", "worker process that runs the task"},
    [F_SCHEDULED] = {"scheduled", FIELD_TIME, COLUMN(scheduled_us), "weir.scheduled", "date", "time the run was due"},
    [F_QUEUED] = {"queued", FIELD_TIME, COLUMN(queued_us), "weir.queued", "date", "time the run or task entered its queue"},
    [F_STATE] = {"state", FIELD_STATE, COLUMN(state), "weir.state", "keyword", "state of the run or task that the event tells of"},
    [F_RESULT] = {"result", FIELD_TEXT, COLUMN(result), "weir.result", "keyword", "what the task returned"},
    [F_PROGRESS] = {"progress", FIELD_NUMBER, COLUMN(progress), "weir.progress", "double", "share done, 0..1"},
    [F_QUEUE_WAIT] = {"queue_wait_ms", FIELD_NUMBER, COLUMN(queue_wait_ms), "weir.queue_wait_ms", "double", "time between queued and started, in milliseconds (transitions)"},
    [F_METRIC] = {"metric", FIELD_TEXT, COLUMN(metric), "weir.metric", "keyword", "name of the metric that `value` is a sample of"},
    [F_VALUE] = {"value", FIELD_NUMBER, COLUMN(value), "weir.value", "double", "sample of the metric"},
    [F_UNIT] = {"unit", FIELD_TEXT, COLUMN(unit), "weir.unit", "keyword", "unit of `value`"},

    [F_HOST] = {"host", FIELD_TEXT, COLUMN(host), "host.name", "keyword", "host the event is about"},

    [F_KIND] = {"kind", FIELD_KIND, COLUMN(kind), "event.kind", "keyword", "event or metric"},
    [F_ID] = {"id", FIELD_TEXT, COLUMN(id), "event.id", "keyword", "the engine's own id of the event"},
    [F_ACTION] = {"action", FIELD_TEXT, COLUMN(action), "event.action", "keyword", "the engine's name for the type of event"},
    [F_DURATION_MS] = {"duration_ms", FIELD_NUMBER, COLUMN(duration_ms), "event.duration", "long", "duration in milliseconds (nanoseconds in documents)"},
    [F_STARTED] = {"started", FIELD_TIME, COLUMN(started_us), "event.start", "date", "time the run or task started"},
    [F_URL] = {"url", FIELD_TEXT, COLUMN(url), "event.url", "keyword", "page of the run or of its log"},

    [F_MESSAGE] = {"message", FIELD_TEXT, COLUMN(message), "message", "text", "log message"},
    [F_LEVEL] = {"level", FIELD_TEXT, COLUMN(level), "log.level", "keyword", "log level as written"},
    [F_LOGGER] = {"logger", FIELD_TEXT, COLUMN(logger), "log.logger", "keyword", "name of the logger"},
    [F_ERROR_TYPE] = {"error_type", FIELD_TEXT, COLUMN(error_type), "error.type", "keyword", "class of the exception"},
    [F_ERROR] = {"error", FIELD_TEXT, COLUMN(error), "error.message", "text", "error message"},
    [F_STACK_TRACE] = {"stack_trace", FIELD_TEXT, COLUMN(stack_trace), "error.stack_trace", "keyword", "stack trace as text"},
    [F_VERSION] = {"version", FIELD_TEXT, COLUMN(version), "service.version", "keyword", "version of the workflow's code"},
    [F_TRACE] = {"trace", FIELD_TEXT, COLUMN(trace), "trace.id", "keyword", "distributed trace id"},
};
// clang-format on

enum run_state run_state_find(struct span name)
{
    unsigned state = STATE_QUEUED;

    while (state < STATE_COUNT && !span_is(name, run_state_names[state]))
        state++;
    return (enum run_state)state;
}

bool run_state_is_terminal(enum run_state state)
{
    return state >= STATE_SUCCESS && state <= STATE_TIMED_OUT;
}

bool run_state_is_failure(enum run_state state)
{
    return state == STATE_FAILED || state == STATE_TIMED_OUT;
}

int field_find(struct span name)
{
    for (int i = 0; i < FIELD_COUNT; i++)
        if (span_is(name, field_rows[i].name))
            return i;
    return -1;
}

/* Documents write '.' in a label's name as '_' (a dot would open an object); names that differ by that
 * only would become one key twice. */
static bool same_in_documents(struct span name, const char *other)
{
    if (name.size != strlen(other))
        return false;
    for (uint32_t i = 0; i < name.size; i++)
        if (name.data[i] != other[i] && !(strchr("._", name.data[i]) && strchr("._", other[i])))
            return false;
    return true;
}

static bool label_name_is_valid(struct span name)
{
    for (uint32_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] <= ' ' || name.data[i] == 0x7f)
            return false;
    return name.size > 0 && name.size <= LABEL_NAME_MAX;
}

static bool label_ref_parse(struct span name, struct label_names *labels, struct field_ref *ret_ref)
{
    unsigned i = 0;

    while (i < labels->count && !same_in_documents(name, labels->names[i]))
        i++;
    if (i < labels->count && !span_is(name, labels->names[i]))
        return false;
    if (i == labels->count) {
        if (i == LABELS_MAX || !label_name_is_valid(name))
            return false;
        labels->names[labels->count++] = memory_text(name.data, name.size);
    }
    *ret_ref = (struct field_ref){.field = FIELD_COUNT, .label = i};
    return true;
}

bool field_ref_parse(struct span name, struct label_names *labels, struct field_ref *ret_ref)
{
    const struct span prefix = SPAN_LITERAL("labels.");

    if (name.size > prefix.size && memcmp(name.data, prefix.data, prefix.size) == 0)
        return label_ref_parse(span_make(name.data + prefix.size, name.size - prefix.size), labels, ret_ref);

    int field = field_find(name);
    if (field < 0)
        return false;
    *ret_ref = (struct field_ref){.field = (enum field)field};
    return true;
}

const char *field_ref_name(struct field_ref ref, const struct label_names *labels)
{
    if (ref.field != FIELD_COUNT)
        return field_rows[ref.field].name;
    assert(ref.label < labels->count);
    return labels->names[ref.label];
}

static struct span label_text(const struct event_batch *batch, uint32_t row, unsigned label)
{
    assert(label < LABELS_MAX && batch->labels[label]);
    return batch->labels[label][row];
}

/* Numbers and times need bytes to stand in: at most this many. */
enum { SCALAR_TEXT_MAX = 64 };

static struct span scalar_text(const struct event_batch *batch, uint32_t row, enum field field,
                               char bytes[SCALAR_TEXT_MAX])
{
    /* With the capacity at its limit the buffer writes into the caller's bytes and never grows. */
    struct buffer out = {.data = bytes, .capacity = SCALAR_TEXT_MAX, .limit = SCALAR_TEXT_MAX};
    const void *column = event_column(batch, field);
    double number = NAN;

    switch (field_rows[field].type) {
    case FIELD_TIME:
        if (((const int64_t *)column)[row] == TIME_NONE)
            return (struct span){0};
        return span_make(bytes, time_format(((const int64_t *)column)[row], bytes));
    case FIELD_NUMBER:
        number = ((const double *)column)[row];
        break;
    case FIELD_INTEGER:
        if (((const int32_t *)column)[row] != INT32_MIN)
            number = ((const int32_t *)column)[row];
        break;
    case FIELD_SMALL:
        if (((const uint16_t *)column)[row] != 0)
            number = ((const uint16_t *)column)[row];
        break;
    case FIELD_TEXT:
    case FIELD_STATE:
    case FIELD_KIND:
        assert(!"a text stands somewhere already");
    }
    if (isfinite(number))
        json_put_number(&out, number);
    assert(!out.full);
    return buffer_span(&out);
}

bool event_text(struct event_batch *batch, uint32_t row, struct field_ref ref, struct span *ret_text)
{
    char bytes[SCALAR_TEXT_MAX];
    struct span text;

    assert(row < batch->rows);
    if (ref.field == FIELD_COUNT) {
        *ret_text = label_text(batch, row, ref.label);
        return true;
    }
    switch (field_rows[ref.field].type) {
    case FIELD_TEXT:
        *ret_text = ((const struct span *)event_column(batch, ref.field))[row];
        return true;
    case FIELD_STATE:
        *ret_text = span_of(run_state_names[batch->state[row]]);
        return true;
    case FIELD_KIND:
        *ret_text = span_of(event_kind_names[batch->kind[row]]);
        return true;
    default:
        text = scalar_text(batch, row, ref.field, bytes);
        if (text.size > 0)
            return arena_copy(&batch->text, text, ret_text);
        *ret_text = text;
        return true;
    }
}

double number_of_text(struct span text)
{
    double number;

    return decimal_read(text, &number) && isfinite(number) ? number : NAN;
}

double event_number(const struct event_batch *batch, uint32_t row, struct field_ref ref)
{
    assert(row < batch->rows);
    if (ref.field == FIELD_COUNT)
        return number_of_text(label_text(batch, row, ref.label));

    const void *column = event_column(batch, ref.field);
    switch (field_rows[ref.field].type) {
    case FIELD_TIME: {
        int64_t time_us = ((const int64_t *)column)[row];
        return time_us == TIME_NONE ? NAN : (double)time_us / 1e6;
    }
    case FIELD_NUMBER:
        return ((const double *)column)[row];
    case FIELD_INTEGER: {
        int32_t integer = ((const int32_t *)column)[row];
        return integer == INT32_MIN ? (double)NAN : integer;
    }
    case FIELD_SMALL: {
        uint16_t integer = ((const uint16_t *)column)[row];
        return integer == 0 ? (double)NAN : integer;
    }
    case FIELD_TEXT:
        return number_of_text(((const struct span *)column)[row]);
    case FIELD_STATE:
    case FIELD_KIND:
        return NAN;
    }
    return NAN;
}
