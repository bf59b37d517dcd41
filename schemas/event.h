/* The columns that all rooms agree on: one batch of events, owned by one worker, never shared or copied.
 * A field is one member here and one row in fields.c; decode targets, CEL's variables, the Elasticsearch
 * template and the reference page follow from the row. */
#pragma once
#include "base/arena.h"
#include "base/hash.h"
#include "base/timestamp.h"

/* ok is 0; a row with a reason not to be processed keeps its place */
enum row_mark {
    MARK_OK,
    MARK_FILTERED,  /* dropped by a clean step: counted, not an error */
    MARK_DUPLICATE, /* dropped by dedupe */
    MARK_MALFORMED, /* cannot be decoded: goes to the dead letters with the batch's `reason` */
    MARK_TOMBSTONE, /* an empty Kafka value: counted, not an error */
    MARK_REFUSED,   /* its time or a clean step's outcome cannot be: as malformed */
    MARK_COUNT,
};

/* what was done to a row that is processed; bits of `notes`, names in weir.marks */
enum row_note {
    NOTE_LATE = 1,
    NOTE_REPAIRED = 2, /* its time was too far ahead of its arrival and was set to the arrival */
    NOTE_CORRECTED = 4,
    NOTE_REDACTED = 8,
};

/* closed list; the order is the rank of rows of equal time, terminal states last */
enum run_state {
    STATE_NONE, /* the row tells nothing of a run */
    STATE_QUEUED,
    STATE_WAITING,
    STATE_RUNNING,
    STATE_RETRYING,
    STATE_SUCCESS,
    STATE_FAILED,
    STATE_SKIPPED,
    STATE_UPSTREAM_FAILED,
    STATE_CANCELLED,
    STATE_TIMED_OUT,
    STATE_UNKNOWN,
    STATE_COUNT,
};

enum event_kind { KIND_EVENT, KIND_METRIC, KIND_COUNT };

extern const char *const run_state_names[STATE_COUNT]; /* "" for none */
extern const char *const event_kind_names[KIND_COUNT];
enum run_state run_state_find(struct span name);  /* STATE_COUNT when it is not in the list */
bool run_state_is_terminal(enum run_state state); /* success to timed_out */
bool run_state_is_failure(enum run_state state);  /* failed, timed_out */

enum field_type {
    FIELD_TIME,    /* int64_t us, TIME_NONE absent */
    FIELD_TEXT,    /* struct span, size 0 absent */
    FIELD_NUMBER,  /* double, NaN absent */
    FIELD_INTEGER, /* int32_t, INT32_MIN absent */
    FIELD_SMALL,   /* uint16_t, 0 absent */
    FIELD_STATE,   /* uint8_t, enum run_state */
    FIELD_KIND,    /* uint8_t, enum event_kind */
};

// clang-format off
enum field { /* order of fields.c: the rows of one object in documents stand together */
    F_TIME,
    F_SOURCE, F_NAMESPACE, F_ENGINE, F_WORKFLOW, F_TASK, F_RUN, F_RUN_NAME, F_ROOT_RUN, F_PARENT_RUN,
    F_MAP_INDEX, F_ATTEMPT, F_OWNER, F_QUEUE, F_WORKER, F_SCHEDULED, F_QUEUED, F_STATE, F_RESULT, F_PROGRESS, F_QUEUE_WAIT,
    F_METRIC, F_VALUE, F_UNIT,
    F_HOST,
    F_KIND, F_ID, F_ACTION, F_DURATION_MS, F_STARTED, F_URL,
    F_MESSAGE, F_LEVEL, F_LOGGER, F_ERROR_TYPE, F_ERROR, F_STACK_TRACE, F_VERSION, F_TRACE,
    FIELD_COUNT,
};
// clang-format on

enum { LABELS_MAX = 64, LABEL_NAME_MAX = 255, BATCH_ROWS_MAX = 8192, EVENT_TEXT_MAX = 64 * 1024 * 1024 };

/* Label names of the whole pipeline, fixed at load; column i of `labels` belongs to names[i]. */
struct label_names {
    char *names[LABELS_MAX];
    unsigned count;
};

struct event_batch {
    uint32_t rows, row_limit;
    uint8_t *mark, *notes;
    int64_t *time_us, *scheduled_us, *queued_us, *started_us;
    uint8_t *kind, *state;
    struct span *source, *namespace_, *engine, *workflow, *task, *run, *run_name, *root_run, *parent_run;
    struct span *queue, *worker, *owner, *host, *error, *error_type, *stack_trace, *message, *level, *logger;
    struct span *result, *metric, *unit, *url, *version, *trace, *action, *id;
    uint16_t *attempt;
    int32_t *map_index;
    double *duration_ms, *progress, *queue_wait_ms, *value;
    struct span *labels[LABELS_MAX];
    unsigned label_columns; /* label_names->count at init */
    const struct label_names *label_names;
    uint32_t touched; /* rows handed out since the reset; event_batch_add keeps it */

    /* where the row came from and when it counts; set by the worker */
    uint32_t *partition; /* the pipeline's own number of (source, topic, partition) */
    int64_t *offset;
    uint16_t *item;        /* number of the row within its message */
    int64_t *arrival_us;   /* TIME_NONE when unknown */
    int64_t *watermark_us; /* of its partition just before the row; INT64_MIN before the first */
    struct span *payload;  /* the whole message, valid while the batch holds it */
    const char **reason;   /* why it is malformed or refused: static text or in the arena */
    struct arena text;     /* texts that outlive their message */
};

/* All columns for `row_limit` rows (1..BATCH_ROWS_MAX) and the labels named so far; `label_names` may be
 * NULL and is borrowed. */
void event_batch_init(struct event_batch *batch, uint32_t row_limit, const struct label_names *label_names);
void event_batch_free(struct event_batch *batch);
void event_batch_reset(struct event_batch *batch); /* rows 0, arena released */

/* Appends a row with every field absent and returns its number; UINT32_MAX when the batch is full. Rows
 * may be taken back by lowering `rows`. */
uint32_t event_batch_add(struct event_batch *batch);

/* Makes one row the only one of another batch with the same labels. Its texts stay where they are. */
void event_batch_copy_row(const struct event_batch *from, uint32_t row, struct event_batch *to);

struct field_row {
    const char *name; /* bare name in CEL, formats and measures */
    enum field_type type;
    size_t column;       /* offset of the column pointer in struct event_batch */
    const char *path;    /* in Elasticsearch documents */
    const char *es_type; /* mapping type */
    const char *help;
};

extern const struct field_row field_rows[FIELD_COUNT];
int field_find(struct span name); /* enum field, or -1 */

/* Something a key, a rule or a clean step may name: a field, or a label (then `label` is its column). */
struct field_ref {
    enum field field; /* FIELD_COUNT when it is a label */
    unsigned label;
};

/* "workflow", "labels.team". A label not seen yet is added to `labels`. False: no such field, a label name
 * with blanks or control characters or of more than LABEL_NAME_MAX bytes, one that differs from another
 * only in '.' and '_' (documents write both as '_'), or no room left. */
bool field_ref_parse(struct span name, struct label_names *labels, struct field_ref *ret_ref);

/* "workflow", "team": a label's name comes without "labels." in front. */
const char *field_ref_name(struct field_ref ref, const struct label_names *labels);

/* The value as text: times RFC 3339, numbers in shortest form, written to the arena when needed. False:
 * arena full. */
bool event_text(struct event_batch *batch, uint32_t row, struct field_ref ref, struct span *ret_text);

/* A whole decimal number and nothing else, else NaN. */
double number_of_text(struct span text);

/* The value as number: NaN when absent or not a number; times in seconds since 1970; a text that is wholly
 * a decimal number is that number. */
double event_number(const struct event_batch *batch, uint32_t row, struct field_ref ref);

static inline void *event_column(const struct event_batch *batch, enum field field)
{
    return *(void **)((char *)batch + field_rows[field].column);
}
