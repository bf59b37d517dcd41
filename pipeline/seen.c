/* A hash table and a list through its entries in the order of adding; twice a row that dedupe or throttle
 * looks at. Ended entries leave from the old end of the list, so one that ends late may keep ended ones
 * behind it for a while: they cost memory, never an answer, since each look compares with the watermark.
 * Dropped: a heap by end, for it moves entries at each row to save that memory. */
#include "pipeline/seen.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { LAYOUT = 1, BLOCKS_MAX = 1 << 16 };

void seen_init(struct seen *seen, uint32_t limit)
{
    assert(limit > 0);
    *seen = (struct seen){.limit = limit, .oldest = SLOT_NONE, .newest = SLOT_NONE};
    slots_init(&seen->slots,
               SLOT_NONE); /* not the limit: stored entries keep the slots they had under another */
}

void seen_free(struct seen *seen)
{
    slots_free(&seen->slots);
    blocks_free(&seen->blocks);
    free(seen->entries);
    *seen = (struct seen){.oldest = SLOT_NONE, .newest = SLOT_NONE};
}

static void save_block(struct seen *seen, uint32_t block)
{
    struct buffer *out = &seen->saver->bytes;
    struct state_key key = seen->name;
    uint32_t first = block * BLOCK_SLOTS, end = first + BLOCK_SLOTS;

    if (end > seen->slots.next)
        end = seen->slots.next;
    pack_u8(out, LAYOUT);
    for (uint32_t slot = first; slot < end; slot++) {
        const struct seen_entry *entry = &seen->entries[slot];

        if (entry->place == 0)
            continue;
        pack_u8(out, (uint8_t)(slot - first));
        pack_id(out, entry->key);
        pack_i64(out, entry->end_us);
        pack_u64(out, entry->place);
        pack_u32(out, entry->count);
    }
    key.block = block;
    saver_put(seen->saver, key);
    blocks_saved(&seen->blocks, block);
}

void seen_touch(struct seen *seen, const struct seen_entry *entry)
{
    uint32_t slot = (uint32_t)(entry - seen->entries);

    if (blocks_touch(&seen->blocks, slot))
        save_block(seen, slot / BLOCK_SLOTS);
}

static void forget(struct seen *seen, uint32_t slot)
{
    struct seen_entry *entry = &seen->entries[slot];

    seen_touch(seen, entry);
    if (entry->older == SLOT_NONE)
        seen->oldest = entry->newer;
    else
        seen->entries[entry->older].newer = entry->newer;
    if (entry->newer == SLOT_NONE)
        seen->newest = entry->older;
    else
        seen->entries[entry->newer].older = entry->older;
    slots_remove(&seen->slots, entry->key);
    entry->place = 0;
}

static void reserve(struct seen *seen, uint32_t slot)
{
    size_t before = seen->capacity;

    seen->entries = memory_reserve(seen->entries, &seen->capacity, (size_t)slot + 1, sizeof *seen->entries);
    if (seen->capacity > before)
        memset(seen->entries + before, 0, (seen->capacity - before) * sizeof *seen->entries);
}

static void append(struct seen *seen, uint32_t slot)
{
    struct seen_entry *entry = &seen->entries[slot];

    entry->older = seen->newest;
    entry->newer = SLOT_NONE;
    if (seen->newest == SLOT_NONE)
        seen->oldest = slot;
    else
        seen->entries[seen->newest].newer = slot;
    seen->newest = slot;
}

struct seen_entry *seen_find(struct seen *seen, struct id128 key, int64_t watermark_us)
{
    while (seen->oldest != SLOT_NONE && seen->entries[seen->oldest].end_us <= watermark_us)
        forget(seen, seen->oldest);
    uint32_t slot = slots_find(&seen->slots, key);
    if (slot == SLOT_NONE)
        return NULL;
    if (seen->entries[slot].end_us > watermark_us)
        return &seen->entries[slot];
    forget(seen, slot);
    return NULL;
}

struct seen_entry *seen_add(struct seen *seen, struct id128 key, int64_t end_us)
{
    bool is_new;

    if (seen->slots.used == seen->limit) {
        forget(seen, seen->oldest);
        seen->evicted++;
    }
    uint32_t slot = slots_add(&seen->slots, key, &is_new);
    assert(is_new && slot != SLOT_NONE);
    reserve(seen, slot);
    struct seen_entry *entry = &seen->entries[slot];
    seen_touch(seen, entry);
    *entry = (struct seen_entry){.key = key, .end_us = end_us, .place = ++seen->last_place};
    append(seen, slot);
    return entry;
}

void seen_freeze(struct seen *seen, struct saver *saver)
{
    seen->saver = saver;
    blocks_freeze(&seen->blocks);
}

bool seen_save(struct seen *seen, size_t *budget)
{
    uint32_t block;

    while ((block = blocks_next_frozen(&seen->blocks)) != UINT32_MAX) {
        size_t before = seen->saver->taken;

        if (*budget == 0)
            return false;
        save_block(seen, block);
        size_t taken = seen->saver->taken - before;
        *budget -= taken < *budget ? taken : *budget;
    }
    return true;
}

enum status seen_restore(struct seen *seen, uint32_t block, struct span value, struct error *ret_error)
{
    struct unpack in;

    if (unpack_layout(value, LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (block >= BLOCKS_MAX)
        return fail(ret_error, "a stored value has a place that cannot be");
    while (!in.broken && in.at < in.end) {
        uint32_t slot = block * BLOCK_SLOTS + unpack_u8(&in);
        struct seen_entry entry = {.key = unpack_id(&in)};

        entry.end_us = unpack_i64(&in);
        entry.place = unpack_u64(&in);
        entry.count = unpack_u32(&in);
        reserve(seen, slot);
        if (in.broken || entry.place == 0 || entry.place > INT64_MAX || seen->entries[slot].place ||
            !slots_restore(&seen->slots, entry.key, slot))
            in.broken = true;
        else
            seen->entries[slot] = entry;
    }
    blocks_restored(&seen->blocks, block);
    return unpack_finish(&in, ret_error);
}

static int compare_places(const void *left, const void *right)
{
    const struct seen_entry *a = *(struct seen_entry *const *)left, *b = *(struct seen_entry *const *)right;

    return (a->place > b->place) - (a->place < b->place);
}

void seen_restored(struct seen *seen)
{
    struct seen_entry **entries;
    size_t count = 0;

    if (seen->newest != SLOT_NONE) /* in use */
        return;
    entries = memory_new(seen->slots.next * sizeof *entries);
    slots_restored(&seen->slots);
    for (uint32_t slot = 0; slot < seen->slots.next; slot++)
        if (seen->entries[slot].place)
            entries[count++] = &seen->entries[slot];
    if (count) {
        qsort(entries, count, sizeof *entries, compare_places);
        seen->last_place = entries[count - 1]->place;
    }
    for (size_t i = 0; i < count; i++)
        append(seen, (uint32_t)(entries[i] - seen->entries));
    free(entries);
    while (seen->slots.used > seen->limit)
        forget(seen, seen->oldest);
}
