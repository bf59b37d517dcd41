#include "pipeline/tap.h"

#include "base/json_writer.h"
#include "base/memory.h"
#include "pipeline/worker.h"
#include "rules/cel.h"
#include "schemas/encode.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct tap {
    struct taps_inside *of;
    unsigned stage;
    struct cel_program *where;
    uint64_t left, dropped; /* rows to go; rows left out since the last one written */
    bool limited, waiting, beat, ended;
    int64_t budget_us; /* time not yet spent on rows, each SECOND_US / TAP_ROWS_PER_SECOND */
    int64_t filled_us;
    struct buffer ring; /* lines not read yet */
    void (*wake)(void *owner);
    void *owner;
};

struct taps_inside {
    struct taps taps;
    pthread_mutex_t lock; /* of all below, and of what is in the taps */
    struct tap *open[TAPS_MAX];
    bool closed;
    struct label_names labels;
    bool row_ready;         /* `row` is made, for the labels above */
    struct event_batch row; /* the copy of one row */
    uint8_t chosen[BATCH_ROWS_MAX];
};

#define SECOND_US INT64_C(1000000)
#define ROW_US    (SECOND_US / TAP_ROWS_PER_SECOND)

static void free_labels(struct taps_inside *inside)
{
    for (unsigned i = 0; i < inside->labels.count; i++)
        free(inside->labels.names[i]);
    inside->labels.count = 0;
    if (inside->row_ready)
        event_batch_free(&inside->row);
    inside->row_ready = false;
}

struct taps *taps_new(void)
{
    struct taps_inside *inside = memory_new(sizeof *inside);

    pthread_mutex_init(&inside->lock, NULL);
    inside->taps.inside = inside;
    return &inside->taps;
}

void taps_free(struct taps *taps)
{
    struct taps_inside *inside = taps->inside;

    for (unsigned i = 0; i < TAPS_MAX; i++)
        assert(!inside->open[i]);
    free_labels(inside);
    pthread_mutex_destroy(&inside->lock);
    free(inside);
}

/* The lock is held. */
static void wake(struct tap *tap)
{
    if (!tap->waiting)
        return;
    tap->waiting = false;
    tap->wake(tap->owner);
}

static void end_all(struct taps_inside *inside)
{
    for (unsigned i = 0; i < TAPS_MAX; i++)
        if (inside->open[i]) {
            inside->open[i]->ended = true;
            wake(inside->open[i]);
        }
}

static bool same_labels(const struct label_names *a, const struct label_names *b)
{
    bool same = a->count == b->count;

    for (unsigned i = 0; same && i < a->count; i++)
        same = strcmp(a->names[i], b->names[i]) == 0;
    return same;
}

static void copy_labels(const struct label_names *from, struct label_names *ret_labels)
{
    ret_labels->count = from->count;
    for (unsigned i = 0; i < from->count; i++)
        ret_labels->names[i] = memory_text(from->names[i], strlen(from->names[i]));
}

void taps_set_labels(struct taps *taps, const struct label_names *labels)
{
    struct taps_inside *inside = taps->inside;

    pthread_mutex_lock(&inside->lock);
    if (!inside->row_ready || !same_labels(&inside->labels, labels)) {
        end_all(inside);
        free_labels(inside);
        copy_labels(labels, &inside->labels);
        event_batch_init(&inside->row, 1, &inside->labels);
        inside->row_ready = true;
    }
    pthread_mutex_unlock(&inside->lock);
}

void taps_end(struct taps *taps)
{
    pthread_mutex_lock(&taps->inside->lock);
    taps->inside->closed = true;
    end_all(taps->inside);
    pthread_mutex_unlock(&taps->inside->lock);
}

static void update_wanted(struct taps_inside *inside)
{
    unsigned wanted = 0;

    for (unsigned i = 0; i < TAPS_MAX; i++)
        if (inside->open[i])
            wanted |= 1U << inside->open[i]->stage;
    atomic_store_explicit(&inside->taps.wanted, wanted, memory_order_relaxed);
}

static enum status find_stage(const char *name, unsigned *ret_stage, struct error *ret_error)
{
    char names[128];
    size_t size = 0;

    for (unsigned i = 0; stages[i].name; i++) {
        if (!stages[i].tapped)
            continue;
        if (strcmp(stages[i].name, name) == 0) {
            *ret_stage = i;
            return STATUS_OK;
        }
        size += (size_t)snprintf(names + size, sizeof names - size, "%s%s", size ? ", " : "", stages[i].name);
    }
    return fail(ret_error, "stage: '%.40s' is none of %s", name, names);
}

/* A label that no batch has must not be read, so the names come from a copy. The lock is held. */
static enum status compile(struct taps_inside *inside, const char *where, struct cel_program **ret_program,
                           struct error *ret_error)
{
    struct label_names labels;
    struct cel_environment environment;

    copy_labels(&inside->labels, &labels);
    cel_event_environment(&labels, &environment);
    enum status status = cel_compile(span_of(where), &environment, CEL_BOOL, ret_program, ret_error);
    struct error inner = *ret_error;

    if (status != STATUS_OK)
        fail(ret_error, "where: %.500s", inner.text);
    else if (labels.count > inside->labels.count) {
        cel_free(*ret_program);
        status = fail(ret_error, "where: the pipeline has no label '%s'", labels.names[inside->labels.count]);
    }
    for (unsigned i = 0; i < labels.count; i++)
        free(labels.names[i]);
    return status;
}

static struct tap **find_room(struct taps_inside *inside)
{
    for (unsigned i = 0; i < TAPS_MAX; i++)
        if (!inside->open[i])
            return &inside->open[i];
    return NULL;
}

enum status tap_open(struct taps *taps, const struct tap_query *query, void (*wake_)(void *owner),
                     void *owner, struct tap **ret_tap, struct error *ret_error)
{
    struct taps_inside *inside = taps->inside;
    struct cel_program *where = NULL;
    unsigned stage = 0;
    enum status status = find_stage(query->stage, &stage, ret_error);

    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&inside->lock);
    struct tap **room = find_room(inside);

    if (inside->closed || !inside->row_ready || !room) {
        fail(ret_error, room ? "there is no pipeline at work" : "%d taps are open already", TAPS_MAX);
        status = STATUS_RETRY;
    } else if (query->where) {
        status = compile(inside, query->where, &where, ret_error);
    }
    if (status == STATUS_OK) {
        struct tap *tap = *room = *ret_tap = memory_new(sizeof *tap);

        *tap = (struct tap){.of = inside,
                            .stage = stage,
                            .where = where,
                            .left = query->limit,
                            .limited = query->limit > 0,
                            .wake = wake_,
                            .owner = owner};
        buffer_init(&tap->ring, TAP_RING_BYTES);
        update_wanted(inside);
    }
    pthread_mutex_unlock(&inside->lock);
    return status;
}

void tap_close(struct tap *tap)
{
    struct taps_inside *inside = tap->of;

    pthread_mutex_lock(&inside->lock);
    for (unsigned i = 0; i < TAPS_MAX; i++)
        if (inside->open[i] == tap)
            inside->open[i] = NULL;
    update_wanted(inside);
    pthread_mutex_unlock(&inside->lock);
    cel_free(tap->where);
    buffer_free(&tap->ring);
    free(tap);
}

static void tell_dropped(struct tap *tap)
{
    size_t before = tap->ring.size;

    if (tap->dropped == 0)
        return;
    buffer_print(&tap->ring, "{\"dropped\":%llu}\n", (unsigned long long)tap->dropped);
    if (tap->ring.full)
        buffer_truncate(&tap->ring, before);
    else
        tap->dropped = 0;
}

size_t tap_read(struct tap *tap, char *out, size_t size, bool *ret_ended)
{
    size_t taken;

    pthread_mutex_lock(&tap->of->lock);
    if (tap->ring.size == 0)
        tell_dropped(tap);
    if (tap->ring.size == 0 && tap->beat && !tap->ended)
        buffer_put_char(&tap->ring, '\n');
    tap->beat = false;
    taken = tap->ring.size < size ? tap->ring.size : size;
    memcpy(out, tap->ring.data ? tap->ring.data : "", taken);
    buffer_remove_front(&tap->ring, taken);
    *ret_ended = taken == 0 && tap->ended;
    tap->waiting = taken == 0 && !tap->ended;
    pthread_mutex_unlock(&tap->of->lock);
    return taken;
}

void taps_beat(struct taps *taps)
{
    struct taps_inside *inside = taps->inside;

    if (!taps_wanted(taps))
        return;
    pthread_mutex_lock(&inside->lock);
    for (unsigned i = 0; i < TAPS_MAX; i++)
        if (inside->open[i]) {
            inside->open[i]->beat = true;
            wake(inside->open[i]);
        }
    pthread_mutex_unlock(&inside->lock);
}

static void put_field(struct json_writer *json, const struct event_batch *batch, enum field field)
{
    const struct field_row *row = &field_rows[field];
    const void *column = event_column(batch, field);

    switch (row->type) {
    case FIELD_TIME:
        json_time_if(json, row->name, *(const int64_t *)column);
        break;
    case FIELD_TEXT:
        json_text_if(json, row->name, *(const struct span *)column);
        break;
    case FIELD_NUMBER:
        json_number_if(json, row->name, *(const double *)column);
        break;
    case FIELD_INTEGER:
        if (*(const int32_t *)column != INT32_MIN)
            json_integer(json, row->name, *(const int32_t *)column);
        break;
    case FIELD_SMALL:
        if (*(const uint16_t *)column)
            json_integer(json, row->name, *(const uint16_t *)column);
        break;
    case FIELD_STATE:
        json_text_if(json, row->name, span_of(run_state_names[*(const uint8_t *)column]));
        break;
    case FIELD_KIND:
        json_text(json, row->name, span_of(event_kind_names[*(const uint8_t *)column]));
    }
}

/* The one row of the batch, whose mark may have been hidden from the redact steps. */
static void put_row(const struct tap *tap, const struct event_batch *batch, uint8_t mark, struct buffer *out)
{
    static const char *const marks[] = {"ok", "filtered", "duplicate", "malformed", "tombstone", "refused"};
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_integer(&json, "schema", SCHEMA_VERSION);
    json_text(&json, "stage", span_of(stages[tap->stage].name));
    json_text(&json, "mark", span_of(marks[mark]));
    if (batch->reason[0])
        json_text(&json, "reason", span_of(batch->reason[0]));
    json_integer(&json, "offset", batch->offset[0]);
    json_integer(&json, "item", batch->item[0]);
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        put_field(&json, batch, (enum field)field);
    json_open(&json, "labels");
    for (unsigned i = 0; i < batch->label_columns; i++)
        if (batch->labels[i][0].size) {
            json_key(&json, span_of(batch->label_names->names[i]));
            json_text(&json, NULL, batch->labels[i][0]);
        }
    json_close(&json);
    json_close(&json);
    buffer_put_char(out, '\n');
}

static void offer_row(struct tap *tap, bool redact, const struct event_batch *batch, uint32_t row,
                      struct cleaner *cleaner)
{
    struct event_batch *copy = &tap->of->row;
    uint8_t mark = batch->mark[row];
    size_t before;

    if (tap->budget_us < ROW_US || (tap->limited && tap->left == 0)) {
        tap->dropped += tap->budget_us < ROW_US;
        return;
    }
    event_batch_copy_row(batch, row, copy);
    copy->mark[0] = MARK_OK;
    if (redact || mark != MARK_OK)
        cleaner_redact(cleaner, copy);
    tell_dropped(tap);
    before = tap->ring.size;
    put_row(tap, copy, mark, &tap->ring);
    tap->budget_us -= ROW_US;
    if (tap->ring.full) {
        buffer_truncate(&tap->ring, before);
        tap->dropped++;
    } else if (tap->limited && --tap->left == 0) {
        tap->ended = true;
    }
}

static void offer(struct tap *tap, bool redact, struct event_batch *batch, struct cleaner *cleaner,
                  int64_t now_us)
{
    uint8_t *chosen = tap->of->chosen;
    uint64_t errors = 0;

    memset(chosen, tap->where ? 0 : 1, batch->rows);
    if (tap->where)
        cel_filter(tap->where, batch, chosen, &errors);
    tap->budget_us += tap->filled_us && now_us > tap->filled_us ? now_us - tap->filled_us : 0;
    if (tap->budget_us > SECOND_US || !tap->filled_us)
        tap->budget_us = SECOND_US;
    tap->filled_us = now_us;
    for (uint32_t row = 0; row < batch->rows; row++)
        if (chosen[row])
            offer_row(tap, redact, batch, row, cleaner);
    if (tap->ring.size || tap->ended)
        wake(tap);
}

void taps_offer(struct taps *taps, unsigned stage, bool redact, struct event_batch *batch,
                struct cleaner *cleaner, int64_t now_us)
{
    struct taps_inside *inside = taps->inside;

    pthread_mutex_lock(&inside->lock);
    for (unsigned i = 0; i < TAPS_MAX; i++) {
        struct tap *tap = inside->open[i];

        if (tap && tap->stage == stage && !tap->ended && same_labels(&inside->labels, batch->label_names))
            offer(tap, redact, batch, cleaner, now_us);
    }
    pthread_mutex_unlock(&inside->lock);
}
