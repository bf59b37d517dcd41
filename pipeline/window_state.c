/* Stored state of the windows: a value a block of series, one a table for its times, and the corrections that
 * wait, written whole at every cut since most are gone by the next. Saving runs for each series that changed
 * between two cuts, restoring once for each that there is. */
#include "pipeline/window_table.h"

#include "base/memory.h"
#include "base/timestamp.h"

#include <assert.h>
#include <stdlib.h>

enum { WINDOWS_VERSION = 1, CORRECTIONS_BYTES = 256 * 1024 };
enum { SLOTS_MAX = 1 << 24 }; /* of a table; no limit of series allows so many */

void windows_saving_free(struct window_saving *saving)
{
    order_frozen_free(&saving->corrections[0]);
    order_frozen_free(&saving->corrections[1]);
    buffer_free(&saving->bytes);
    free(saving->old);
}

/* Names a stored table of corrections that the next cut makes worthless. */
static void add_old(struct window_saving *saving, uint64_t owner, uint64_t cut)
{
    const struct corrections_table *last = saving->old_count ? &saving->old[saving->old_count - 1] : NULL;

    if (last && last->owner == owner && last->cut == cut)
        return;
    saving->old =
        memory_reserve(saving->old, &saving->old_capacity, saving->old_count + 1, sizeof *saving->old);
    saving->old[saving->old_count++] = (struct corrections_table){.owner = owner, .cut = cut};
}

static void freeze_corrections(struct windows *windows, unsigned on_run)
{
    struct window_saving *saving = &windows->saving;
    struct order_frozen *frozen = &saving->corrections[on_run];

    order_freeze(&windows->corrections[on_run], frozen);
    for (size_t i = 0; i < frozen->count; i++)
        ((struct pane_record *)frozen->entries[i].record)->frozen = true;
    if (frozen->count > 0)
        add_old(saving, windows->worker, saving->cut);
}

void windows_freeze(struct windows *windows, struct saver *saver, uint64_t cut)
{
    struct window_saving *saving = &windows->saving;

    assert(!saving->saver && !windows->half.table);
    saving->saver = saver;
    saving->cut = cut;
    saving->next_table = 0;
    saving->blocks = 0;
    for (size_t i = 0; i < saving->old_count; i++)
        saver_drop(saver, STATE_CORRECTIONS, saving->old[i].owner, saving->old[i].cut);
    saving->old_count = 0;
    freeze_corrections(windows, false);
    freeze_corrections(windows, true);
    for (unsigned shard = windows->worker; shard < SHARDS; shard += windows->workers)
        for (unsigned group = 0; group < windows->plan->group_count; group++) {
            struct series_table *table = windows->tables[shard * windows->plan->group_count + group];

            if (!table)
                continue;
            blocks_freeze(&table->blocks);
            hot_freeze(table);
            table->times_frozen = memcmp(&table->times, &table->stored, sizeof table->times) != 0;
            table->stored = table->times;
        }
}

static void pack_header(const struct windows *windows, const struct plan_group *group, struct buffer *out)
{
    pack_u8(out, WINDOWS_VERSION);
    columns_pack(windows->plan, group, COLUMN_MEASURES, out);
    columns_pack(windows->plan, group, COLUMN_RULES, out);
    columns_pack(windows->plan, group, COLUMN_DETECTORS, out);
    for (unsigned d = 0; d < group->detector_count; d++)
        pack_u32(out, (uint32_t)windows->plan->detectors[group->detectors[d]].state_size);
    pack_u32(out, sizeof(struct backend_state));
}

static void pack_series(const struct windows *windows, const struct series_table *table, uint32_t slot,
                        struct buffer *out)
{
    const struct plan_group *group = table->group;
    const struct series *series = &table->series[slot];
    unsigned judges = group->rule_count + group->detector_count;
    struct span texts[KEY_FIELDS_MAX];
    uint32_t panes = 0;

    pack_u8(out, (uint8_t)(slot % BLOCK_SLOTS));
    key_texts_read(&table->texts, series->texts - 1, group->by_count, texts);
    key_pack(texts, group->by_count, out);
    pack_u64(out, series->activated);
    for (unsigned m = 0; m < group->measure_count; m++)
        pack_i64(out, table->last_end_us[slot * group->measure_count + m]);
    buffer_put(out, &table->told[slot * judges], judges);
    for (unsigned d = 0; d < group->detector_count; d++) {
        size_t size = windows->plan->detectors[group->detectors[d]].state_size;

        buffer_put(out, table->states[d] + slot * size, size);
        buffer_put(out, &table->backends[d][slot], sizeof **table->backends);
    }
    for (const struct pane_node *node = series->panes; node; node = node->next)
        panes++;
    pack_u32(out, panes);
    for (struct pane_node *node = series->panes; panes > 0; panes--) {
        node = node->before; /* the oldest first, so that a restore puts each of them first */
        pack_i64(out, node->start_us);
        pack_i64(out, node->first_end_us);
        pack_i64(out, windows_keep_until(windows, group, node));
        pack_u32(out, node->late);
        accumulators_pack(group, node->accumulators, out);
    }
}

static struct state_key table_key(const struct windows *windows, const struct series_table *table,
                                  enum state_kind kind, uint32_t block)
{
    return (struct state_key){
        .kind = kind, .block = block, .owner = table->shard, .part = table->group->identity};
}

void windows_save_block(struct windows *windows, struct series_table *table, uint32_t block)
{
    struct saver *saver = windows->saving.saver;
    size_t first = (size_t)block * BLOCK_SLOTS, end = first + BLOCK_SLOTS;

    pack_header(windows, table->group, &saver->bytes);
    for (size_t slot = first; slot < end && slot < table->slot_capacity; slot++)
        if (table->series[slot].texts)
            pack_series(windows, table, (uint32_t)slot, &saver->bytes);
    blocks_saved(&table->blocks, block);
    saver_put(saver, table_key(windows, table, STATE_SERIES, block));
}

static bool save_table(struct windows *windows, struct series_table *table, size_t until)
{
    struct saver *saver = windows->saving.saver;
    uint32_t block;

    if (table->times_frozen) {
        table->times_frozen = false;
        pack_u8(&saver->bytes, WINDOWS_VERSION);
        pack_i64(&saver->bytes, table->stored.closed_us);
        pack_i64(&saver->bytes, table->stored.next_end_us);
        saver_put(saver, table_key(windows, table, STATE_TABLE, 0));
    }
    while ((block = blocks_next_frozen(&table->blocks)) != UINT32_MAX) {
        if (saver->taken >= until)
            return false;
        windows_save_block(windows, table, block);
    }
    return hot_save(windows, table, until);
}

static void put_corrections(struct windows *windows)
{
    struct window_saving *saving = &windows->saving;

    if (saving->bytes.size == 0)
        return;
    pack_u8(&saving->saver->bytes, WINDOWS_VERSION);
    buffer_put_span(&saving->saver->bytes, buffer_span(&saving->bytes));
    buffer_clear(&saving->bytes);
    saver_put(saving->saver, (struct state_key){.kind = STATE_CORRECTIONS,
                                                .block = saving->blocks++,
                                                .owner = windows->worker,
                                                .part = saving->cut});
}

void windows_save_correction(struct windows *windows, struct pane_record *record)
{
    const struct plan_group *group = &windows->plan->groups[record->group];
    struct buffer *out = &windows->saving.bytes;

    record->frozen = false;
    pack_u64(out, group->identity);
    columns_pack(windows->plan, group, COLUMN_MEASURES, out);
    pane_record_pack(record, group, out);
    if (out->size >= CORRECTIONS_BYTES)
        put_corrections(windows);
}

static bool save_corrections(struct windows *windows, struct order_frozen *frozen, size_t until)
{
    const struct window_saving *saving = &windows->saving;

    for (; frozen->next < frozen->count; frozen->next++) {
        struct pane_record *record = (struct pane_record *)frozen->entries[frozen->next].record;

        if (saving->saver->taken + saving->bytes.size >= until)
            return false;
        if (record->frozen) /* else it was applied since, and saved before that */
            windows_save_correction(windows, record);
    }
    return true;
}

bool windows_save(struct windows *windows, size_t budget)
{
    struct window_saving *saving = &windows->saving;

    if (!saving->saver)
        return true;
    size_t until = saving->saver->taken + saving->bytes.size + budget;
    for (; saving->next_table < (size_t)SHARDS * windows->plan->group_count; saving->next_table++) {
        struct series_table *table = windows->tables[saving->next_table];

        if (table && !save_table(windows, table, until))
            return false;
    }
    if (!save_corrections(windows, &saving->corrections[0], until) ||
        !save_corrections(windows, &saving->corrections[1], until))
        return false;
    put_corrections(windows);
    order_frozen_free(&saving->corrections[0]);
    order_frozen_free(&saving->corrections[1]);
    saving->saver = NULL;
    return true;
}

/* What the numbers of a stored block of series belong to. */
struct series_columns {
    struct columns measures, rules, detectors;
    const char *state_sizes; /* u32 a detector */
    uint32_t backend_size;
};

static uint32_t state_size(const struct series_columns *columns, unsigned detector)
{
    size_t place = detector * sizeof(uint32_t);
    struct unpack in = unpack_begin(span_make(columns->state_sizes + place, sizeof(uint32_t)));

    return unpack_u32(&in);
}

static void unpack_header(const struct windows *windows, const struct plan_group *group, struct unpack *in,
                          struct series_columns *ret_columns)
{
    columns_unpack(in, windows->plan, group, COLUMN_MEASURES, &ret_columns->measures);
    columns_unpack(in, windows->plan, group, COLUMN_RULES, &ret_columns->rules);
    columns_unpack(in, windows->plan, group, COLUMN_DETECTORS, &ret_columns->detectors);
    ret_columns->state_sizes = unpack_bytes(in, ret_columns->detectors.count * sizeof(uint32_t));
    ret_columns->backend_size = unpack_u32(in);
}

/* State of another size means something else: that detector begins anew. */
static void unpack_detector(const struct windows *windows, struct series_table *table, uint32_t slot,
                            const struct series_columns *columns, unsigned column, struct unpack *in)
{
    uint32_t size = state_size(columns, column);
    const char *state = unpack_bytes(in, size), *backend = unpack_bytes(in, columns->backend_size);
    unsigned place = columns->detectors.places[column];

    if (!state || !backend || place == COLUMN_NONE ||
        size != windows->plan->detectors[table->group->detectors[place]].state_size ||
        columns->backend_size != sizeof **table->backends)
        return;
    memcpy(table->states[place] + slot * (size_t)size, state, size);
    memcpy(&table->backends[place][slot], backend, sizeof **table->backends);
}

static void unpack_told(struct series_table *table, uint32_t slot, const struct columns *columns,
                        unsigned first, struct unpack *in)
{
    unsigned judges = table->group->rule_count + table->group->detector_count;

    for (unsigned i = 0; i < columns->count; i++) {
        uint8_t told = unpack_u8(in);

        if (columns->places[i] != COLUMN_NONE)
            table->told[slot * judges + first + columns->places[i]] = told != 0;
    }
}

static void unpack_panes(struct windows *windows, const struct plan_group *group, struct series *series,
                         const struct columns *measures, struct unpack *in)
{
    for (uint32_t left = unpack_u32(in); left > 0 && !in->broken; left--) {
        int64_t start = unpack_i64(in), first_end = unpack_i64(in);

        in->broken |= !pane_times_fit(start, first_end);
        if (in->broken)
            return;
        struct pane_node *node = windows_add_node(windows, group, series, start, first_end);
        node->is_kept = false; /* until what is stored says otherwise */
        node->is_kept = unpack_i64(in) > windows_keep_until(windows, group, node);
        node->late = unpack_u32(in);
        accumulators_unpack(in, group, measures, node->accumulators);
    }
}

static void unpack_series(struct windows *windows, struct series_table *table, uint32_t block,
                          const struct series_columns *columns, struct unpack *in)
{
    const struct plan_group *group = table->group;
    uint32_t slot = block * BLOCK_SLOTS + unpack_u8(in);
    struct span texts[KEY_FIELDS_MAX];
    struct id128 key = {0};
    struct series *series;

    in->broken |= key_unpack(in, texts, &key) != group->by_count || shard_of(key) != table->shard;
    if (in->broken)
        return;
    if (slot >= table->slots.limit) /* the limit is lower now: those that are known stay */
        table->slots.limit = slot + 1;
    if (!slots_restore(&table->slots, key, slot) ||
        (slot < table->slot_capacity && table->series[slot].texts)) {
        in->broken = true;
        return;
    }
    series = windows_add_series(windows, table, slot, texts);
    series->activated = unpack_u64(in);
    for (unsigned i = 0; i < columns->measures.count; i++) {
        int64_t last_end = unpack_i64(in);

        if (columns->measures.places[i] != COLUMN_NONE)
            table->last_end_us[slot * group->measure_count + columns->measures.places[i]] = last_end;
    }
    unpack_told(table, slot, &columns->rules, 0, in);
    unpack_told(table, slot, &columns->detectors, group->rule_count, in);
    for (unsigned i = 0; i < columns->detectors.count; i++)
        unpack_detector(windows, table, slot, columns, i, in);
    unpack_panes(windows, group, series, &columns->measures, in);
}

/* False: damaged. */
static bool restore_series(struct windows *windows, struct series_table *table, uint32_t block,
                           struct unpack *in)
{
    struct series_columns columns = {0};

    in->broken |= block >= SLOTS_MAX / BLOCK_SLOTS;
    unpack_header(windows, table->group, in, &columns);
    while (!in->broken && in->at < in->end)
        unpack_series(windows, table, block, &columns, in);
    if (!in->broken) {
        blocks_restored(&table->blocks, block);
        if (!columns.measures.as_stored || !columns.rules.as_stored || !columns.detectors.as_stored)
            blocks_touch(&table->blocks, block * BLOCK_SLOTS);
    }
    columns_free(&columns.measures);
    columns_free(&columns.rules);
    columns_free(&columns.detectors);
    return !in->broken;
}

static bool restore_table(struct series_table *table, struct unpack *in)
{
    table->times.closed_us = unpack_i64(in);
    table->times.next_end_us = unpack_i64(in);
    table->stored = table->times;
    return unpack_ended(in);
}

/* A record and its block for a correction of this worker. */
static void restore_correction(struct windows *windows, const struct plan_group *group,
                               const struct pane_parts *parts)
{
    size_t size = (pane_record_size(group, parts->texts) + 7) & ~(size_t)7;
    struct block *block = memory_new(sizeof *block + size);
    struct pane_record *record = (struct pane_record *)block->bytes;

    *block = (struct block){.references = 1, .used = (uint32_t)size, .size = (uint32_t)size};
    record->head = (struct record){.size = (uint32_t)size, .type = RECORD_CORRECTION};
    pane_record_make(record, windows->plan, group, parts);
    windows_correct_later(windows, record, block);
    block_release(block);
}

static void unpack_correction(struct windows *windows, struct unpack *in)
{
    const struct plan_group *group = group_find(windows->plan, unpack_u64(in));
    struct pane_parts parts;
    struct columns measures;

    columns_unpack(in, windows->plan, group, COLUMN_MEASURES, &measures);
    if (pane_record_unpack(in, group, &measures, &parts)) {
        if (shard_of(parts.key) % windows->workers == windows->worker)
            restore_correction(windows, group, &parts);
        else
            accumulators_free(group, parts.accumulators);
    }
    columns_free(&measures);
}

static bool restore_corrections(struct windows *windows, const struct state_key *key, struct unpack *in)
{
    if (key->owner % windows->workers == windows->worker)
        add_old(&windows->saving, key->owner, key->part);
    while (!in->broken && in->at < in->end)
        unpack_correction(windows, in);
    return !in->broken;
}

enum status windows_restore(struct windows *windows, const struct state_key *key, struct span value,
                            struct error *ret_error)
{
    const struct plan_group *group = group_find(windows->plan, key->part);
    struct unpack in = unpack_begin(value);
    unsigned version = unpack_u8(&in);
    bool restored;

    if (version != WINDOWS_VERSION)
        return fail(ret_error, "state of windows (kind %u) of layout %u, known is %u", key->kind, version,
                    (unsigned)WINDOWS_VERSION);
    if (key->kind == STATE_CORRECTIONS)
        restored = restore_corrections(windows, key, &in);
    else if (key->owner >= SHARDS)
        restored = false;
    else if (key->kind == STATE_HOT)
        restored = hot_restore(windows, key, &in);
    else if (!group)
        restored = true;
    else if (key->kind == STATE_TABLE)
        restored = restore_table(windows_table(windows, (unsigned)key->owner, group), &in);
    else
        restored =
            restore_series(windows, windows_table(windows, (unsigned)key->owner, group), key->block, &in);
    if (!restored)
        return fail(ret_error, "state of windows (kind %u, owner %llu, block %u) is damaged", key->kind,
                    (unsigned long long)key->owner, key->block);
    return STATUS_OK;
}

struct activation {
    uint64_t number;
    uint32_t slot;
};

static int compare_activations(const void *left, const void *right)
{
    const struct activation *a = left, *b = right;

    return (a->number > b->number) - (a->number < b->number);
}

/* The list has the order it had: by activation. */
static void restore_active(struct series_table *table)
{
    struct activation *active = memory_new((table->slots.used + 1u) * sizeof *active);
    size_t count = 0;

    for (size_t slot = 0; slot < table->slot_capacity; slot++)
        if (table->series[slot].activated)
            active[count++] = (struct activation){table->series[slot].activated, (uint32_t)slot};
    qsort(active, count, sizeof *active, compare_activations);
    table->active = memory_reserve(table->active, &table->active_capacity, count, sizeof *table->active);
    table->active_count = count;
    for (size_t i = 0; i < count; i++)
        table->active[i] = active[i].slot;
    table->activations = count ? active[count - 1].number : 0;
    free(active);
}

void windows_restored(struct windows *windows)
{
    for (size_t i = 0; i < (size_t)SHARDS * windows->plan->group_count; i++) {
        struct series_table *table = windows->tables[i];

        if (!table)
            continue;
        slots_restored(&table->slots);
        hot_restored(windows, table);
        restore_active(table);
    }
}
