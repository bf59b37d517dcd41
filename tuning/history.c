/* Lines are parsed with yajl's tree, 4 us each: they are read once, and trials after that run at millions of
 * buckets a second. */
#include "tuning/history.h"

#include "base/memory.h"
#include "schemas/alert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum { NAME_BYTES_MAX = 512 };

void history_init(struct history *history, const struct plan_measure *measure, enum statistic statistic)
{
    *history = (struct history){
        .measure = measure, .statistic = statistic, .from_us = TIME_NONE, .to_us = TIME_NONE};
    slots_init(&history->slots, HISTORY_SERIES_MAX);
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        free(history->series[i].target);
        free(history->series[i].name);
        free(history->series[i].end_us);
        free(history->series[i].value);
        free(history->series[i].version);
    }
    free(history->series);
    slots_free(&history->slots);
    *history = (struct history){0};
}

/* The value at a path like "weir.task": of nested objects, or of one key with dots. */
static yajl_val value_at(yajl_val object, const char *path)
{
    const char *whole[] = {path, NULL}, *dot = strchr(path, '.');
    yajl_val value = yajl_tree_get(object, whole, yajl_t_any);
    char first[NAME_BYTES_MAX];

    if (value || !dot || (size_t)(dot - path) >= sizeof first)
        return value;
    memcpy(first, path, (size_t)(dot - path));
    first[dot - path] = 0;
    const char *step[] = {first, NULL};
    value = yajl_tree_get(object, step, yajl_t_object);
    return value ? value_at(value, dot + 1) : NULL;
}

/* A text, or a number as it is written; else nothing. */
static struct span text_of(yajl_val value)
{
    if (YAJL_IS_STRING(value))
        return span_of(YAJL_GET_STRING(value));
    return YAJL_IS_NUMBER(value) ? span_of(YAJL_GET_NUMBER(value)) : (struct span){0};
}

/* Where a bucket's members stand: in a line, or in a document. */
struct form {
    bool document;
};

static yajl_val member(const struct form *form, yajl_val bucket, const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "%s%s", form->document ? "weir." : "", name);
    return value_at(bucket, path);
}

/* Documents write a dot in a label's name as '_'. */
static yajl_val label_of(yajl_val bucket, const char *name)
{
    char path[NAME_BYTES_MAX];
    size_t prefix = strlen("labels."), size = strlen(name);

    if (size < prefix || size >= sizeof path)
        return NULL;
    memcpy(path, name, size + 1);
    for (char *c = path + prefix; *c; c++)
        *c = *c == '.' ? '_' : *c;
    return value_at(bucket, path);
}

static void read_key(const struct history *history, const struct form *form, yajl_val bucket,
                     struct span ret_key[KEY_FIELDS_MAX])
{
    const struct measure_shape *shape = &history->measure->shape;
    const char *path[] = {"key", NULL, NULL};

    for (unsigned i = 0; i < shape->by_count; i++) {
        path[1] = shape->by_names[i];
        ret_key[i] = text_of(!form->document ? yajl_tree_get(bucket, path, yajl_t_any)
                             : shape->by[i].field == FIELD_COUNT
                                 ? label_of(bucket, path[1])
                                 : value_at(bucket, field_rows[shape->by[i].field].path));
    }
}

/* What its alerts are about. */
static char *target_of(const struct measure_shape *shape, const struct span *key)
{
    struct alert alert = {0};
    struct buffer target;

    for (unsigned i = 0; i < shape->by_count; i++) {
        enum field field = shape->by[i].field;
        struct span *member = field == F_WORKFLOW ? &alert.workflow
                              : field == F_TASK   ? &alert.task
                              : field == F_HOST   ? &alert.host
                              : field == F_SOURCE ? &alert.source
                                                  : NULL;
        if (member)
            *member = key[i];
    }
    buffer_init(&target, alert_target_limit(&alert));
    alert_target(&alert, &target);
    char *text = memory_text(target.data, target.size);
    buffer_free(&target);
    return text;
}

static char *name_of(const struct measure_shape *shape, const struct span *key)
{
    struct buffer name;

    buffer_init(&name, NAME_BYTES_MAX);
    for (unsigned i = 0; i < shape->by_count; i++) {
        buffer_put_text(&name, i ? " " : "");
        buffer_put_span(&name, key[i]);
    }
    char *text = memory_text(name.data, name.size);
    buffer_free(&name);
    return text;
}

static struct history_series *find_series(struct history *history, const struct span *key)
{
    const struct measure_shape *shape = &history->measure->shape;
    struct id_builder builder;
    bool is_new;

    id_begin(&builder);
    for (unsigned i = 0; i < shape->by_count; i++)
        id_add_text(&builder, key[i]);
    uint32_t slot = slots_add(&history->slots, id_end(&builder), &is_new);
    if (slot == SLOT_NONE)
        return NULL;
    if (is_new) {
        history->series =
            memory_reserve(history->series, &history->capacity, slot + 1u, sizeof *history->series);
        history->series[slot] =
            (struct history_series){.target = target_of(shape, key), .name = name_of(shape, key)};
        history->count = slot + 1u;
    }
    return &history->series[slot];
}

static void add_row(struct history_series *series, int64_t end_us, double value, uint32_t version)
{
    size_t needed = series->rows + 1;

    series->end_us = memory_reserve(series->end_us, &series->end_capacity, needed, sizeof *series->end_us);
    series->value = memory_reserve(series->value, &series->value_capacity, needed, sizeof *series->value);
    series->version =
        memory_reserve(series->version, &series->version_capacity, needed, sizeof *series->version);
    series->end_us[series->rows] = end_us;
    series->value[series->rows] = value;
    series->version[series->rows++] = version;
}

static enum status add_bucket(struct history *history, const struct form *form, yajl_val bucket,
                              struct error *ret_error)
{
    struct span measure = text_of(member(form, bucket, "measure"));
    yajl_val value = member(form, bucket, statistic_names[history->statistic]),
             version = member(form, bucket, "version");
    struct span key[KEY_FIELDS_MAX];
    int64_t end_us;

    if (!measure.size)
        return fail(ret_error, "it has no measure, so it is no bucket"), STATUS_SKIP;
    if (!span_is(measure, history->measure->name))
        return STATUS_OK;
    if (!time_parse(text_of(value_at(bucket, form->document ? "event.end" : "end")), TIME_UNIT_AUTO,
                    TIME_NONE, &end_us))
        return fail(ret_error, "the bucket has no end"), STATUS_SKIP;
    if ((history->from_us != TIME_NONE && end_us <= history->from_us) ||
        (history->to_us != TIME_NONE && end_us > history->to_us))
        return STATUS_OK;
    read_key(history, form, bucket, key);
    struct history_series *series = find_series(history, key);
    if (!series || history->rows == HISTORY_BUCKETS_MAX)
        return fail(ret_error, "more than %d series or %zu buckets: take a shorter time", HISTORY_SERIES_MAX,
                    HISTORY_BUCKETS_MAX);
    add_row(series, end_us, YAJL_IS_NUMBER(value) ? YAJL_GET_DOUBLE(value) : NAN,
            YAJL_IS_INTEGER(version) ? (uint32_t)YAJL_GET_INTEGER(version) : 0);
    history->rows++;
    return STATUS_OK;
}

/* A line's object: an answer, a hit, a document or a bucket. */
static enum status add_object(struct history *history, yajl_val object, struct error *ret_error)
{
    yajl_val hits = value_at(object, "hits.hits"), source = value_at(object, "_source");
    enum status status = STATUS_OK;

    if (YAJL_IS_ARRAY(hits)) {
        for (size_t i = 0; i < YAJL_GET_ARRAY(hits)->len && status == STATUS_OK; i++)
            status = add_object(history, YAJL_GET_ARRAY(hits)->values[i], ret_error);
        return status;
    }
    object = source ? source : object;
    return add_bucket(history, &(struct form){.document = value_at(object, "weir.measure") != NULL}, object,
                      ret_error);
}

enum status history_add(struct history *history, struct span line, struct error *ret_error)
{
    char *text = memory_text(line.data, line.size), reason[160];
    yajl_val tree = yajl_tree_parse(text, reason, sizeof reason);
    enum status status = STATUS_SKIP;

    if (YAJL_IS_OBJECT(tree))
        status = add_object(history, tree, ret_error);
    else
        fail(ret_error, "it is not a JSON object");
    yajl_tree_free(tree);
    free(text);
    return status;
}

struct row {
    int64_t end_us;
    uint32_t version;
    double value;
};

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;

    if (a->end_us != b->end_us)
        return a->end_us < b->end_us ? -1 : 1;
    return (a->version > b->version) - (a->version < b->version);
}

static void settle_series(struct history_series *series)
{
    struct row *rows = memory_new((series->rows + 1) * sizeof *rows);
    size_t kept = 0;

    for (size_t i = 0; i < series->rows; i++)
        rows[i] = (struct row){series->end_us[i], series->version[i], series->value[i]};
    qsort(rows, series->rows, sizeof *rows, compare_rows);
    for (size_t i = 0; i < series->rows; i++) {
        if (kept && rows[i].end_us == series->end_us[kept - 1])
            continue;
        series->end_us[kept] = rows[i].end_us;
        series->value[kept++] = rows[i].value;
    }
    series->rows = kept;
    free(series->version); /* has served */
    series->version = NULL;
    series->version_capacity = 0;
    free(rows);
}

void history_settle(struct history *history)
{
    history->rows = 0;
    history->first_us = INT64_MAX;
    history->last_us = INT64_MIN;
    for (size_t i = 0; i < history->count; i++) {
        struct history_series *series = &history->series[i];

        settle_series(series);
        history->rows += series->rows;
        if (series->end_us[0] < history->first_us)
            history->first_us = series->end_us[0];
        if (series->end_us[series->rows - 1] > history->last_us)
            history->last_us = series->end_us[series->rows - 1];
    }
}
