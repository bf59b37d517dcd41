#include "pipeline/parcels.h"

#include "base/memory.h"
#include "pipeline/columns.h"
#include "pipeline/fold.h"
#include "pipeline/judge.h"
#include "pipeline/runs_table.h"
#include "pipeline/unique.h"
#include "pipeline/watch.h"

#include <assert.h>
#include <stdlib.h>

enum {
    LAYOUT = 1,
    PARCEL_BYTES = 512 * 1024,             /* a parcel is closed beyond it */
    PARCEL_BYTES_MAX = 15 * 1024 * 1024,   /* the topic takes messages of 16 MiB */
    WAITING_BYTES_MAX = 256 * 1024 * 1024, /* beyond it no input is taken until a cut is committed */
};

/* What may stand in a parcel: the records of the exchange, and before the first pane of a group what the
 * sender's number of it means. */
enum { PACKED_GROUP = 100 };

struct parcels {
    const struct plan *plan;
    unsigned number, workers;
    struct buffer *begun; /* a target */
    bool *told;           /* [target * groups + group]: the parcel begun for it has the group */
    struct journal_parcel *first, **end;
    size_t waiting_bytes;
    struct parcels_figures figures;
};

struct parcels *parcels_new(const struct plan *plan, unsigned number, unsigned workers)
{
    struct parcels *parcels = memory_new(sizeof *parcels);

    parcels->plan = plan;
    parcels->number = number;
    parcels->workers = workers;
    parcels->begun = memory_new(workers * sizeof *parcels->begun);
    parcels->told = memory_new(workers * (plan->group_count + 1u) * sizeof *parcels->told);
    parcels->end = &parcels->first;
    for (unsigned i = 0; i < workers; i++)
        buffer_init(&parcels->begun[i], PARCEL_BYTES_MAX);
    return parcels;
}

void parcels_discard(struct journal_parcel *list)
{
    while (list) {
        struct journal_parcel *next = list->next;

        free(list);
        list = next;
    }
}

void parcels_free(struct parcels *parcels)
{
    if (!parcels)
        return;
    for (unsigned i = 0; i < parcels->workers; i++)
        buffer_free(&parcels->begun[i]);
    parcels_discard(parcels->first);
    free(parcels->begun);
    free(parcels->told);
    free(parcels);
}

bool parcels_full(void *owner)
{
    return ((struct parcels *)owner)->waiting_bytes > WAITING_BYTES_MAX;
}

struct parcels_figures parcels_figures(const struct parcels *parcels)
{
    return parcels->figures;
}

static void close_parcel(struct parcels *parcels, unsigned target)
{
    struct buffer *begun = &parcels->begun[target];
    struct journal_parcel *parcel;

    if (begun->size == 0)
        return;
    parcel = memory_grow(NULL, sizeof *parcel + begun->size);
    *parcel = (struct journal_parcel){.target = target, .size = begun->size};
    memcpy(parcel->bytes, begun->data, begun->size);
    *parcels->end = parcel;
    parcels->end = &parcel->next;
    parcels->waiting_bytes += begun->size;
    buffer_clear(begun);
    memset(parcels->told + (size_t)target * parcels->plan->group_count, 0, parcels->plan->group_count);
}

struct journal_parcel *parcels_take(struct parcels *parcels)
{
    struct journal_parcel *first;

    for (unsigned target = 0; target < parcels->workers; target++)
        close_parcel(parcels, target);
    first = parcels->first;
    parcels->first = NULL;
    parcels->end = &parcels->first;
    parcels->waiting_bytes = 0;
    return first;
}

static void pack_pane(struct parcels *parcels, unsigned target, struct pane_record *record)
{
    const struct plan *plan = parcels->plan;
    const struct plan_group *group = &plan->groups[record->group];
    bool *told = &parcels->told[(size_t)target * plan->group_count + record->group];
    struct buffer *out = &parcels->begun[target];

    if (!*told) {
        pack_u8(out, PACKED_GROUP);
        pack_u32(out, record->group);
        pack_u64(out, group->identity);
        columns_pack(plan, group, COLUMN_MEASURES, out);
        *told = true;
    }
    pack_u8(out, (uint8_t)record->head.type);
    pack_u32(out, record->group);
    pane_record_pack(record, group, out);
    accumulators_free(group, record->accumulators);
}

static void pack_record(struct parcels *parcels, unsigned target, struct record *record)
{
    struct buffer *out = &parcels->begun[target];
    const struct plan *plan = parcels->plan;

    switch ((enum record_type)record->type) {
    case RECORD_PANE:
    case RECORD_CORRECTION:
        pack_pane(parcels, target, (struct pane_record *)record);
        break;
    case RECORD_ROW:
        pack_u8(out, RECORD_ROW);
        row_record_pack((const struct row_record *)record, RUN_TEXTS + plan->labels.count, out);
        break;
    case RECORD_UNIQUE:
        pack_u8(out, RECORD_UNIQUE);
        unique_pack((const struct unique_record *)record, out);
        break;
    case RECORD_CONDITION:
        pack_u8(out, RECORD_CONDITION);
        condition_pack(plan->policies, &((const struct condition_record *)record)->condition, out);
        break;
    case RECORD_WATCH:
        pack_u8(out, RECORD_WATCH);
        watch_word_pack((const struct watch_word *)record, out);
        break;
    case RECORD_WATERMARK:
        pack_u8(out, RECORD_WATERMARK);
        watermark_pack((const struct watermark_record *)record, out);
        break;
    }
}

static void begin_parcel(const struct parcels *parcels, struct buffer *out)
{
    pack_u8(out, LAYOUT);
    run_labels_pack(&parcels->plan->labels, out);
}

void parcels_send(void *owner, unsigned target, struct block *block)
{
    struct parcels *parcels = owner;
    struct buffer *out = &parcels->begun[target];

    for (uint32_t at = 0; at < block->used;) {
        struct record *record = (struct record *)(block->bytes + at);
        size_t before;

        if (out->size > PARCEL_BYTES)
            close_parcel(parcels, target);
        if (out->size == 0)
            begin_parcel(parcels, out);
        before = out->size;
        pack_record(parcels, target, record);
        parcels->figures.sent++;
        if (out->full) { /* a message is never so large */
            buffer_truncate(out, before);
            parcels->figures.left_out++;
            close_parcel(parcels, target); /* what it has told of groups may be gone, too */
        }
        at += record->size;
    }
    block_release(block);
}

/* Reading. */

struct sent_group { /* what the sender's number of a group means here */
    const struct plan_group *group;
    struct columns measures;
    bool known;
};

struct reading {
    const struct parcels *parcels;
    struct exchange_port *port;
    struct unpack in;
    struct run_labels labels;
    struct sent_group *groups;
    size_t count, capacity;
    uint64_t left_out;
};

enum { GROUPS_MAX = 65536 };

static void read_group(struct reading *reading)
{
    uint32_t number = unpack_u32(&reading->in);
    const struct plan_group *group = group_find(reading->parcels->plan, unpack_u64(&reading->in));
    struct columns measures;

    columns_unpack(&reading->in, reading->parcels->plan, group, COLUMN_MEASURES, &measures);
    reading->in.broken |= number >= GROUPS_MAX || (number < reading->count && reading->groups[number].known);
    if (reading->in.broken) {
        columns_free(&measures);
        return;
    }
    if (number >= reading->count) {
        reading->groups =
            memory_reserve(reading->groups, &reading->capacity, number + 1u, sizeof *reading->groups);
        memset(reading->groups + reading->count, 0, (number + 1u - reading->count) * sizeof *reading->groups);
        reading->count = number + 1u;
    }
    reading->groups[number] = (struct sent_group){.group = group, .measures = measures, .known = true};
}

static void read_pane(struct reading *reading, enum record_type type)
{
    uint32_t number = unpack_u32(&reading->in);
    const struct sent_group *sent;
    struct pane_parts parts;

    if (number >= reading->count || !reading->groups[number].known) {
        reading->in.broken = true;
        return;
    }
    sent = &reading->groups[number];
    if (!pane_record_unpack(&reading->in, sent->group, &sent->measures, &parts)) {
        reading->left_out++;
        return;
    }
    pane_record_make(exchange_record(reading->port, reading->parcels->number, type,
                                     pane_record_size(sent->group, parts.texts)),
                     reading->parcels->plan, sent->group, &parts);
}

static void read_row(struct reading *reading)
{
    const struct plan *plan = reading->parcels->plan;
    struct span texts[RUN_TEXTS + LABELS_MAX];
    struct run_row row;

    run_row_unpack(&reading->in, &reading->labels, texts, &row);
    if (!reading->in.broken)
        run_row_send(&row, RUN_TEXTS + plan->labels.count, reading->port, reading->parcels->workers);
}

static void read_condition(struct reading *reading)
{
    const struct plan *plan = reading->parcels->plan;
    struct condition condition;

    condition_unpack(plan->policies, plan->policy_count, &reading->in, &condition);
    if (reading->in.broken)
        return;
    if (condition.policy == POLICY_GONE)
        reading->left_out++;
    else
        condition_send(&condition, reading->port);
}

static void read_word(struct reading *reading)
{
    struct watch_word word;

    watch_word_unpack(&reading->in, &word);
    if (reading->in.broken)
        return;
    if (reading->parcels->plan->general.watch)
        watch_word_send(&word, reading->port, reading->parcels->workers);
    else
        reading->left_out++;
}

static void read_watermark(struct reading *reading)
{
    struct watermark_record mark, *record;

    watermark_unpack(&reading->in, reading->parcels->workers, &mark);
    if (reading->in.broken)
        return;
    record = exchange_record(reading->port, reading->parcels->number, RECORD_WATERMARK, sizeof *record);
    mark.head = record->head;
    *record = mark;
}

static void read_record(struct reading *reading)
{
    uint8_t type = unpack_u8(&reading->in);

    switch (type) {
    case PACKED_GROUP:
        read_group(reading);
        break;
    case RECORD_PANE:
    case RECORD_CORRECTION:
        read_pane(reading, type);
        break;
    case RECORD_ROW:
        read_row(reading);
        break;
    case RECORD_UNIQUE:
        unique_unpack(&reading->in, reading->port, reading->parcels->workers);
        break;
    case RECORD_CONDITION:
        read_condition(reading);
        break;
    case RECORD_WATCH:
        read_word(reading);
        break;
    case RECORD_WATERMARK:
        read_watermark(reading);
        break;
    default:
        reading->in.broken = true;
    }
}

bool parcels_open(struct parcels *parcels, struct span bytes, struct exchange_port *port)
{
    struct reading reading = {.parcels = parcels, .port = port, .in = unpack_begin(bytes)};

    reading.in.broken |= unpack_u8(&reading.in) != LAYOUT;
    run_labels_unpack(&reading.in, &parcels->plan->labels, &reading.labels);
    while (!reading.in.broken && reading.in.at < reading.in.end) {
        read_record(&reading);
        parcels->figures.opened++;
    }
    for (size_t i = 0; i < reading.count; i++)
        columns_free(&reading.groups[i].measures);
    free(reading.groups);
    parcels->figures.left_out += reading.left_out;
    return !reading.in.broken;
}
