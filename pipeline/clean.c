/* The table of clean steps, and how a list in the configuration becomes steps. Opening runs once a worker;
 * applying is one call a step and batch, over plain loops. Dropped: a row-major loop over steps, which would
 * run each CEL program on one row at a time. */
#include "pipeline/clean.h"

#include "base/memory.h"
#include "pipeline/clean_step.h"
#include "pipeline/plan.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

// clang-format off
#define AT(member) offsetof(struct clean_settings, member)
#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static const char *const scope_names[] = {"partition", "all", NULL};

static const struct option keep_options[] = {
    {"keep", OPTION_TEXT, AT(expression), .required = true, .help = "CEL: rows for which it is not true are dropped."},
};
static const struct option drop_options[] = {
    {"drop", OPTION_TEXT, AT(expression), .required = true, .help = "CEL: rows for which it is true are dropped."},
};
static const struct option set_options[] = {
    {"set", OPTION_TEXT, AT(field), .required = true, .help = "Field or labels.NAME to set."},
    {"to", OPTION_TEXT, AT(expression), .required = true, .help = "CEL: the new value; null, NaN, \"\" or an error leave the field absent (the event's time stays as it was)."},
};
static const struct option rename_options[] = {
    {"rename", OPTION_TEXT, AT(field), .required = true, .help = "Field or labels.NAME whose value moves; an absent value moves nothing."},
    {"to", OPTION_TEXT, AT(to), .required = true, .help = "Field of the same type that takes the value."},
};
static const struct option redact_options[] = {
    {"redact", OPTION_TEXT, AT(field), .required = true, .help = "Text field or labels.NAME."},
    {"pattern", OPTION_TEXT, AT(pattern), .required = true, .help = "PCRE2 pattern; each match is replaced. \\K keeps what stands before it."},
    {"with", OPTION_TEXT, AT(with), .default_text = "***", .help = "Replacement, taken as it is."},
};
static const struct option dedupe_options[] = {
    {"dedupe", OPTION_TEXTS, AT(fields), .required = true, .help = "Fields that name a row, at most 8; a row in which all are absent is never a duplicate."},
    {"within", OPTION_DURATION, AT(span_us), .default_text = "10m", .min = 0.001, .max = 31 * 86400, .scale = SCALE_LOG, .help = "How long after its event time the first row is remembered."},
    {"scope", OPTION_CHOICE, AT(scope), .default_text = "partition", .choices = scope_names, .help = "Among which rows: those of its partition, or all (mirrored topics). `all` is the last step; rows then count time.lateness later, and copies stay among the raw events."},
};
static const struct option throttle_options[] = {
    {"throttle", OPTION_TEXTS, AT(fields), .required = true, .help = "Fields that name what is limited, at most 8."},
    {"limit", OPTION_INTEGER, AT(count), .required = true, .min = 1, .max = UINT32_MAX, .help = "Most rows in a window of event time; later ones are dropped."},
    {"per", OPTION_DURATION, AT(span_us), .default_text = "1m", .min = 0.001, .max = 31 * 86400, .scale = SCALE_LOG, .help = "Length of the window."},
};
static const struct option missing_options[] = {
    {"missing", OPTION_TEXT, AT(field), .required = true, .help = "Field or labels.NAME that may be absent."},
    {"policy", OPTION_CHOICE, AT(policy), .default_text = "value", .choices = clean_missing_names, .help = "What becomes of the row: dropped, kept as it is, or completed with `value`."},
    {"value", OPTION_NODE, AT(value), .help = "The value to fill in."},
};
static const struct option limit_options[] = {
    {"limit", OPTION_TEXT, AT(field), .required = true, .help = "Number field."},
    {"min", OPTION_NUMBER, AT(min), .help = "Smallest value that passes."},
    {"max", OPTION_NUMBER, AT(max), .help = "Largest value that passes."},
    {"policy", OPTION_CHOICE, AT(policy), .required = true, .choices = clean_limit_names, .help = "What becomes of a value outside: the row is dropped, the value set to the limit, or the value made absent."},
};
static const struct option convert_options[] = {
    {"convert", OPTION_TEXT, AT(field), .required = true, .help = "Number field."},
    {"from", OPTION_CHOICE, AT(unit), .choices = clean_unit_names, .help = "Unit that the values are in: times become milliseconds, sizes bytes, percent a share of 1."},
    {"factor", OPTION_NUMBER, AT(factor), .help = "What to multiply by, instead of `from`."},
};

/* throttle stands before limit: it has a key of that name. */
static const struct clean_step_type step_types[] = {
    {"keep", "Keeps the rows that a condition holds for.", keep_options, COUNT(keep_options), clean_filter_open, clean_keep_apply},
    {"drop", "Drops the rows that a condition holds for.", drop_options, COUNT(drop_options), clean_filter_open, clean_drop_apply},
    {"set", "Computes a field.", set_options, COUNT(set_options), clean_set_open, clean_set_apply},
    {"rename", "Moves a value to another field.", rename_options, COUNT(rename_options), clean_rename_open, clean_rename_apply},
    {"redact", "Hides parts of a text.", redact_options, COUNT(redact_options), clean_redact_open, clean_redact_apply},
    {"dedupe", "Drops rows that were seen before.", dedupe_options, COUNT(dedupe_options), clean_dedupe_open, clean_dedupe_apply},
    {"throttle", "Drops rows above a rate, per partition.", throttle_options, COUNT(throttle_options), clean_throttle_open, clean_throttle_apply},
    {"missing", "Says what becomes of rows without a value.", missing_options, COUNT(missing_options), clean_missing_open, clean_missing_apply},
    {"limit", "Says what becomes of values out of range.", limit_options, COUNT(limit_options), clean_limit_open, clean_limit_apply},
    {"convert", "Multiplies values into the unit wanted.", convert_options, COUNT(convert_options), clean_convert_open, clean_convert_apply},
};
// clang-format on

enum { STEP_TYPES = COUNT(step_types) };

const char *clean_step_describe(unsigned i, const char **ret_help, const struct option **ret_options,
                                size_t *ret_count)
{
    if (i >= STEP_TYPES)
        return NULL;
    *ret_help = step_types[i].help;
    *ret_options = step_types[i].options;
    *ret_count = step_types[i].option_count;
    return step_types[i].key;
}

enum status clean_field_find(struct cleaner *cleaner, const struct node *node, const char *name,
                             struct field_ref *ret_ref, struct error *ret_error)
{
    const char *names[FIELD_COUNT];

    if (field_ref_parse(span_of(name), cleaner->labels, ret_ref))
        return STATUS_OK;
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        names[i] = field_rows[i].name;
    const char *near = nearest_name(name, names, FIELD_COUNT);
    if (near)
        return node_fail(node, ret_error, "unknown field '%s'; did you mean '%s'?", name, near);
    return node_fail(node, ret_error,
                     "unknown field '%s'; labels are written labels.NAME, at most %d of them", name,
                     LABELS_MAX);
}

enum status clean_compile(struct cleaner *cleaner, const struct node *node, enum cel_type want,
                          struct cel_program **ret_program, struct error *ret_error)
{
    struct cel_environment environment;
    struct error reason;

    cel_event_environment(cleaner->labels, &environment);
    if (cel_compile(span_of(node->text), &environment, want, ret_program, &reason) == STATUS_OK)
        return STATUS_OK;
    return node_fail(node, ret_error, "in the expression, %s", reason.text);
}

/* The one field that most steps begin with. */
static enum status find_first_field(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                                    struct error *ret_error)
{
    if (!step->settings.field)
        return STATUS_OK;
    step->field_count = 1;
    return clean_field_find(cleaner, node_find(map, step->type->key), step->settings.field, &step->fields[0],
                            ret_error);
}

static const struct clean_step_type *find_type(const struct node *map)
{
    for (unsigned i = 0; i < STEP_TYPES; i++)
        if (node_find(map, step_types[i].key))
            return &step_types[i];
    return NULL;
}

static enum status fail_unknown(const struct node *map, struct error *ret_error)
{
    const char *names[STEP_TYPES];

    for (unsigned i = 0; i < STEP_TYPES; i++)
        names[i] = step_types[i].key;
    if (map->count == 0)
        return node_fail(map, ret_error, "an empty clean step");
    const char *near = nearest_name(map->keys[0], names, STEP_TYPES);
    return node_fail(map, ret_error, "unknown clean step '%s'%s%s%s", map->keys[0],
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static struct option_table table_of(struct clean_step *step)
{
    return (struct option_table){
        .rows = step->type->options, .count = step->type->option_count, .settings = &step->settings};
}

/* Among the first `count` steps; NULL when none of them has the identity. */
static struct clean_step *find_step(const struct cleaner *cleaner, size_t count, uint64_t identity)
{
    for (size_t i = 0; i < count; i++)
        if (cleaner->steps[i].remembers && cleaner->steps[i].identity == identity)
            return &cleaner->steps[i];
    return NULL;
}

/* Names the stored state of a step: by its kind and options, and equal steps by their order. */
static uint64_t identify(const struct cleaner *cleaner, const struct clean_step *step)
{
    for (int64_t alike = 0;; alike++) {
        struct id_builder builder;

        id_begin(&builder);
        id_add_text(&builder, span_of(step->type->key));
        options_identify(step->type->options, step->type->option_count, &step->settings, &builder);
        id_add_integer(&builder, alike);
        uint64_t identity = id_end(&builder).high;
        if (!find_step(cleaner, (size_t)(step - cleaner->steps), identity))
            return identity;
    }
}

static enum status open_step(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                             struct error *ret_error)
{
    if (map->type != NODE_MAP)
        return node_fail(map, ret_error, "a clean step is a map, like {drop: 'state == \"skipped\"'}");
    const struct clean_step_type *type = find_type(map);
    if (!type)
        return fail_unknown(map, ret_error);
    step->type = type;
    struct option_table table = table_of(step);
    enum status status = options_read(map, &table, 1, ret_error);
    if (status == STATUS_OK)
        status = find_first_field(cleaner, step, map, ret_error);
    if (status == STATUS_OK)
        status = type->open(cleaner, step, map, ret_error);
    step->settings.value = NULL;
    if (step->remembers)
        step->identity = identify(cleaner, step);
    return status;
}

enum status cleaner_open(const struct node *list, struct label_names *labels, struct cleaner **ret_cleaner,
                         struct error *ret_error)
{
    if (list && list->type != NODE_LIST)
        return node_fail(list, ret_error, "clean is a list of steps");
    size_t count = list ? list->count : 0;
    struct cleaner *cleaner = memory_new(sizeof *cleaner);
    cleaner->labels = labels;
    cleaner->steps = memory_new(count * sizeof *cleaner->steps);
    cleaner->flags = memory_new(BATCH_ROWS_MAX);
    cleaner->numbers = memory_new(BATCH_ROWS_MAX * sizeof *cleaner->numbers);
    for (size_t i = 0; i < count; i++) {
        cleaner->count++;
        if (open_step(cleaner, &cleaner->steps[i], list->items[i], ret_error) != STATUS_OK) {
            cleaner_close(cleaner);
            return STATUS_FATAL;
        }
        if (i + 1 < count && cleaner_unique(cleaner)) {
            cleaner_close(cleaner);
            return node_fail(list->items[i], ret_error, "dedupe: with scope all it must be the last step");
        }
    }
    *ret_cleaner = cleaner;
    return STATUS_OK;
}

const struct clean_step *cleaner_unique(const struct cleaner *cleaner)
{
    const struct clean_step *last = cleaner->steps + cleaner->count - 1;

    return cleaner->count && last->settings.scope == SCOPE_ALL ? last : NULL;
}

static void close_step(struct clean_step *step)
{
    for (uint32_t i = 0; i < step->partition_slots.next; i++)
        seen_free(&step->partitions[i]);
    slots_free(&step->partition_slots);
    free(step->partitions);
    free(step->value_text);
    cel_free(step->program);
    redaction_free(step->redaction);
    if (step->type) {
        struct option_table table = table_of(step);

        options_free(&table, 1);
    }
}

void cleaner_close(struct cleaner *cleaner)
{
    if (!cleaner)
        return;
    for (size_t i = 0; i < cleaner->count; i++)
        close_step(&cleaner->steps[i]);
    free(cleaner->steps);
    free(cleaner->flags);
    free(cleaner->numbers);
    free(cleaner);
}

static void apply_steps(struct cleaner *cleaner, struct event_batch *batch, bool again,
                        struct clean_figures *figures)
{
    assert(batch->rows <= BATCH_ROWS_MAX);
    if (batch->rows == 0)
        return;
    for (struct clean_step *step = cleaner->steps; step < cleaner->steps + cleaner->count; step++)
        if (!again || !step->remembers)
            step->type->apply(cleaner, step, batch, figures);
}

void cleaner_apply(struct cleaner *cleaner, struct event_batch *batch, struct clean_figures *figures)
{
    apply_steps(cleaner, batch, false, figures);
}

void cleaner_apply_again(struct cleaner *cleaner, struct event_batch *batch, struct clean_figures *figures)
{
    apply_steps(cleaner, batch, true, figures);
}

void cleaner_redact(struct cleaner *cleaner, struct event_batch *batch)
{
    struct clean_figures figures = {0};

    for (size_t i = 0; i < cleaner->count; i++)
        if (cleaner->steps[i].redaction)
            cleaner->steps[i].type->apply(cleaner, &cleaner->steps[i], batch, &figures);
}

void cleaner_freeze(struct cleaner *cleaner, struct saver *saver)
{
    for (size_t i = 0; i < cleaner->count; i++)
        for (uint32_t n = 0; n < cleaner->steps[i].partition_slots.next; n++)
            seen_freeze(&cleaner->steps[i].partitions[n], saver);
    cleaner->step_frozen = cleaner->partition_frozen = 0;
}

bool cleaner_save(struct cleaner *cleaner, size_t budget)
{
    for (; cleaner->step_frozen < cleaner->count; cleaner->step_frozen++) {
        struct clean_step *step = &cleaner->steps[cleaner->step_frozen];

        for (; cleaner->partition_frozen < step->partition_slots.next; cleaner->partition_frozen++)
            if (!seen_save(&step->partitions[cleaner->partition_frozen], &budget))
                return false;
        cleaner->partition_frozen = 0;
    }
    return true;
}

enum status cleaner_restore(struct cleaner *cleaner, const struct state_key *key, struct span value,
                            struct error *ret_error)
{
    struct clean_step *step = find_step(cleaner, cleaner->count, key->part);

    if (key->owner >= CLEAN_SHARD + SHARDS)
        return fail(ret_error, "a stored value has a place that cannot be");
    if (!step)
        return STATUS_OK;
    return seen_restore(clean_partition(step, key->owner), key->block, value, ret_error);
}

void cleaner_restored(struct cleaner *cleaner)
{
    for (size_t i = 0; i < cleaner->count; i++)
        for (uint32_t n = 0; n < cleaner->steps[i].partition_slots.next; n++)
            seen_restored(&cleaner->steps[i].partitions[n]);
}
