/* Inside of the clean steps: what clean.c, which holds the table of steps, shares with the files that do the
 * work. Of the rest only unique.c includes this. */
#pragma once
#include "pipeline/clean.h"
#include "pipeline/seen.h"
#include "rules/cel.h"

enum {
    CLEAN_FIELDS_MAX = 8,
    CLEAN_SEEN_MAX = 1000000, /* keys a step remembers of one partition */
    CLEAN_SHARD_SEEN_MAX = CLEAN_SEEN_MAX / 16,
};

enum missing_policy { MISSING_DROP, MISSING_KEEP, MISSING_VALUE };
enum dedupe_scope { SCOPE_PARTITION, SCOPE_ALL };
enum limit_policy { LIMIT_DROP, LIMIT_CLAMP, LIMIT_CLEAR };

struct clean_settings { /* of all steps; each step has option rows for its own */
    char *expression, *field, *to, *pattern, *with;
    struct option_texts fields;
    const struct node *value; /* only while opening */
    int64_t span_us, count;
    double min, max, factor;
    int policy, unit, scope;
};

struct field_value { /* holds a value of any field; the field's type says which member */
    struct span text;
    double number;
    int64_t integer; /* time in us, map_index, attempt, state, kind */
};

struct redaction;

struct clean_step {
    const struct clean_step_type *type;
    struct clean_settings settings;
    struct field_ref fields[CLEAN_FIELDS_MAX];
    unsigned field_count;
    struct field_ref target;     /* rename: where to */
    struct cel_program *program; /* keep, drop, set */
    struct redaction *redaction; /* redact */
    struct field_value value;    /* missing */
    char *value_text;            /* owned bytes of value.text */
    bool remembers;              /* dedupe, throttle */
    uint64_t identity; /* of a step that remembers: hash of its kind, options and which of its like */
    struct slots partition_slots; /* the batch's partition number -> index below */
    struct seen *partitions;
    size_t partition_capacity;
};

struct cleaner {
    struct clean_step *steps;
    size_t count;
    struct label_names *labels;
    uint8_t *flags;  /* room for one batch */
    double *numbers; /* room for one batch */
    size_t step_frozen;
    uint32_t partition_frozen; /* where the next slice of a cut goes on */
};

typedef enum status clean_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                               struct error *ret_error);
typedef void clean_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                         struct clean_figures *figures);

struct clean_step_type {
    const char *key, *help;
    const struct option *options; /* of the whole map, the key of the step among them */
    size_t option_count;
    clean_open *open; /* after the options are read */
    clean_apply *apply;
};

/* clean_filter.c */
clean_open clean_filter_open, clean_dedupe_open, clean_throttle_open;
clean_apply clean_keep_apply, clean_drop_apply, clean_dedupe_apply, clean_throttle_apply;

/* What the step remembers of a partition, or with scope all of a shard (CLEAN_SHARD + its number); valid
 * until the next call. */
struct seen *clean_partition(struct clean_step *step, uint64_t number);

/* The fields that name a row; false: all are absent. */
bool clean_key(const struct clean_step *step, const struct event_batch *batch, uint32_t row,
               struct id128 *ret_key);

/* clean_fields.c */
clean_open clean_set_open, clean_rename_open, clean_missing_open, clean_limit_open, clean_convert_open;
clean_apply clean_set_apply, clean_rename_apply, clean_missing_apply, clean_limit_apply, clean_convert_apply;
extern const char *const clean_unit_names[], *const clean_missing_names[], *const clean_limit_names[];

/* clean_redact.c */
clean_open clean_redact_open;
clean_apply clean_redact_apply;
void redaction_free(struct redaction *redaction);

/* Reads a field's name, told by `node`; an unknown one is an error naming the nearest. */
enum status clean_field_find(struct cleaner *cleaner, const struct node *node, const char *name,
                             struct field_ref *ret_ref, struct error *ret_error);
enum status clean_compile(struct cleaner *cleaner, const struct node *node, enum cel_type want,
                          struct cel_program **ret_program, struct error *ret_error);

/* The value of a field; false when it is absent (*ret_value is then the absent value). */
bool clean_value_get(const struct event_batch *batch, uint32_t row, struct field_ref ref,
                     struct field_value *ret_value);
/* The absent value clears the field; the event's time is never cleared. */
void clean_value_put(struct event_batch *batch, uint32_t row, struct field_ref ref,
                     const struct field_value *value);
void clean_value_hash(const struct field_value *value, enum field_type type, struct id_builder *builder);

static inline enum field_type clean_field_type(struct field_ref ref)
{
    return ref.field == FIELD_COUNT ? FIELD_TEXT : field_rows[ref.field].type;
}

static inline void *clean_column(const struct event_batch *batch, struct field_ref ref)
{
    return ref.field == FIELD_COUNT ? batch->labels[ref.label] : event_column(batch, ref.field);
}

static inline void clean_drop_row(struct event_batch *batch, uint32_t row, enum row_mark mark,
                                  uint64_t *total)
{
    batch->mark[row] = (uint8_t)mark;
    ++*total;
}
