/* The run table's state: a block of slots is one value, written once a cut when it changed. Lists and aliases
 * are not stored but follow from the entries: each has its place along its list, and a mark whether rows
 * without a workflow's name go to it. */
#include "base/memory.h"
#include "pipeline/runs_table.h"

#include <assert.h>
#include <stdlib.h>

enum {
    LAYOUT = 1,
    BLOCKS_MAX = 1 << 20,
    FLAG_TASK = 1,
    FLAG_TOLD = 2,
    FLAG_IDENTIFIED = 4,
    FLAG_ALIAS = 8, /* the run last told under its alias */
    FLAG_TASK_FAILED = 16,
    FLAG_WILL_RETRY = 32,
};

static void pack_entry(const struct runs *runs, const struct run_shard *shard, const struct run_entry *entry,
                       struct buffer *out)
{
    bool last_told = run_is_last_told(shard, entry);

    pack_u8(out, (uint8_t)((entry->is_task ? FLAG_TASK : 0) | (entry->told ? FLAG_TOLD : 0) |
                           (entry->identified ? FLAG_IDENTIFIED : 0) | (last_told ? FLAG_ALIAS : 0) |
                           (entry->task_failed ? FLAG_TASK_FAILED : 0) |
                           (entry->will_retry ? FLAG_WILL_RETRY : 0)));
    pack_u8(out, entry->state);
    pack_id(out, entry->key);
    pack_id(out, entry->id);
    pack_id(out, entry->parent);
    pack_id(out, entry->alias);
    pack_u64(out, entry->version);
    pack_u64(out, entry->place);
    pack_i64(out, entry->first_us);
    pack_i64(out, entry->changed_us);
    pack_i64(out, entry->scheduled_us);
    pack_i64(out, entry->queued_us);
    pack_i64(out, entry->started_us);
    pack_i64(out, entry->ended_us);
    pack_double(out, entry->duration_ms);
    for (unsigned i = 0; i < STATE_COUNT; i++)
        pack_u32(out, entry->tasks[i]);
    pack_u32(out, (uint32_t)entry->map_index);
    pack_u16(out, entry->attempt);
    pack_u16(out, entry->attempts);
    for (unsigned t = 0; t < runs->text_count; t++)
        pack_text(out, entry->texts[t]);
}

void run_block_save(struct runs *runs, struct run_shard *shard, uint32_t block)
{
    struct buffer *out = &runs->saver->bytes;
    uint32_t first = block * BLOCK_SLOTS, end = first + BLOCK_SLOTS;

    if (end > shard->slots.next)
        end = shard->slots.next;
    pack_u8(out, LAYOUT);
    run_labels_pack(&runs->plan->labels, out);
    for (uint32_t slot = first; slot < end; slot++)
        if (shard->entries[slot].texts) {
            pack_u8(out, (uint8_t)(slot - first));
            pack_entry(runs, shard, &shard->entries[slot], out);
        }
    saver_put(
        runs->saver,
        (struct state_key){.kind = STATE_RUNS, .block = block, .owner = (uint64_t)(shard - runs->shards)});
    blocks_saved(&shard->blocks, block);
}

void runs_freeze(struct runs *runs, struct saver *saver)
{
    runs->saver = saver;
    runs->next_frozen = 0;
    for (unsigned s = 0; s < SHARDS; s++) {
        blocks_freeze(&runs->shards[s].blocks);
        seen_freeze(&runs->shards[s].past, saver);
    }
}

bool runs_save(struct runs *runs, size_t budget)
{
    for (; runs->next_frozen < SHARDS; runs->next_frozen++) {
        struct run_shard *shard = &runs->shards[runs->next_frozen];
        uint32_t block;

        while ((block = blocks_next_frozen(&shard->blocks)) != UINT32_MAX) {
            size_t before = runs->saver->taken;

            if (budget == 0)
                return false;
            run_block_save(runs, shard, block);
            size_t taken = runs->saver->taken - before;
            budget -= taken < budget ? taken : budget;
        }
        if (!seen_save(&shard->past, &budget))
            return false;
    }
    return true;
}

static void unpack_entry(struct unpack *in, const struct run_labels *labels, struct run_entry *ret_entry,
                         bool *ret_last_told, struct span texts[RUN_TEXTS + LABELS_MAX])
{
    uint8_t flags = unpack_u8(in);

    *ret_last_told = flags & FLAG_ALIAS;
    *ret_entry = (struct run_entry){.is_task = flags & FLAG_TASK,
                                    .told = flags & FLAG_TOLD,
                                    .identified = flags & FLAG_IDENTIFIED,
                                    .task_failed = flags & FLAG_TASK_FAILED,
                                    .will_retry = flags & FLAG_WILL_RETRY};
    ret_entry->state = unpack_u8(in);
    ret_entry->key = unpack_id(in);
    ret_entry->id = unpack_id(in);
    ret_entry->parent = unpack_id(in);
    ret_entry->alias = unpack_id(in);
    ret_entry->version = unpack_u64(in);
    ret_entry->place = unpack_u64(in);
    ret_entry->first_us = unpack_time(in);
    ret_entry->changed_us = unpack_time(in);
    ret_entry->scheduled_us = unpack_time(in);
    ret_entry->queued_us = unpack_time(in);
    ret_entry->started_us = unpack_time(in);
    ret_entry->ended_us = unpack_time(in);
    ret_entry->duration_ms = unpack_double(in);
    for (unsigned i = 0; i < STATE_COUNT; i++)
        ret_entry->tasks[i] = unpack_u32(in);
    ret_entry->map_index = (int32_t)unpack_u32(in);
    ret_entry->attempt = unpack_u16(in);
    ret_entry->attempts = unpack_u16(in);
    run_texts_unpack(in, labels, texts);
    in->broken |= ret_entry->state >= STATE_COUNT;
}

/* False: another entry has its slot, its key or its alias. */
static bool add_entry(struct runs *runs, struct run_shard *shard, uint32_t slot,
                      const struct run_entry *entry, const struct span *texts, bool last_told)
{
    uint32_t alias = slots_find(&shard->alias_slots, entry->alias);

    run_reserve(shard, slot);
    if (shard->entries[slot].texts || (last_told && alias != SLOT_NONE) ||
        !slots_restore(&shard->slots, entry->key, slot))
        return false;
    shard->entries[slot] = *entry;
    shard->entries[slot].texts = run_texts_copy(texts, runs->text_count);
    if (last_told)
        run_alias_set(runs, shard, &shard->entries[slot]);
    runs->figures.entries++;
    return true;
}

enum status runs_restore(struct runs *runs, const struct state_key *key, struct span value,
                         struct error *ret_error)
{
    struct run_labels labels;
    struct unpack in;

    if (key->kind == STATE_PAST_RUNS && key->owner < SHARDS)
        return seen_restore(&runs->shards[key->owner].past, key->block, value, ret_error);
    if (unpack_layout(value, LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (key->owner >= SHARDS || key->block >= BLOCKS_MAX)
        return fail(ret_error, "a stored value has a place that cannot be");
    run_labels_unpack(&in, &runs->plan->labels, &labels);
    while (!in.broken && in.at < in.end) {
        uint32_t slot = key->block * BLOCK_SLOTS + unpack_u8(&in);
        struct span texts[RUN_TEXTS + LABELS_MAX];
        struct run_entry entry;
        bool last_told;

        unpack_entry(&in, &labels, &entry, &last_told, texts);
        if (!in.broken && !add_entry(runs, &runs->shards[key->owner], slot, &entry, texts, last_told))
            in.broken = true;
    }
    blocks_restored(&runs->shards[key->owner].blocks, key->block);
    return unpack_finish(&in, ret_error);
}

static int compare_places(const void *left, const void *right)
{
    const struct run_entry *a = *(struct run_entry *const *)left, *b = *(struct run_entry *const *)right;

    return (a->place > b->place) - (a->place < b->place);
}

static void link_all(struct run_shard *shard)
{
    struct run_entry **entries = memory_new(shard->slots.next * sizeof *entries);
    size_t count = 0;

    for (uint32_t slot = 0; slot < shard->slots.next; slot++)
        if (shard->entries[slot].texts)
            entries[count++] = &shard->entries[slot];
    if (count)
        qsort(entries, count, sizeof *entries, compare_places);
    for (size_t i = 0; i < count; i++)
        run_link(shard, (uint32_t)(entries[i] - shard->entries));
    shard->last_place = count ? entries[count - 1]->place : 0;
    free(entries);
}

void runs_restored(struct runs *runs)
{
    for (unsigned s = 0; s < SHARDS; s++) {
        struct run_shard *shard = &runs->shards[s];

        slots_restored(&shard->slots);
        seen_restored(&shard->past);
        link_all(shard);
        while (shard->slots.used > runs->shard_limit)
            run_evict_oldest(runs, shard);
    }
}
