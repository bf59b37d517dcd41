/* A hash table and a list through its entries in the order of adding; twice a row that dedupe or throttle
 * looks at. Ended entries leave from the old end of the list, so one that ends late may keep ended ones
 * behind it for a while: they cost memory, never an answer, since each look compares with the watermark.
 * Dropped: a heap by end, for it moves entries at each row to save that memory. */
#include "pipeline/seen.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void seen_init(struct seen *seen, uint32_t limit)
{
    assert(limit > 0);
    *seen = (struct seen){.oldest = SLOT_NONE, .newest = SLOT_NONE};
    slots_init(&seen->slots, limit);
}

void seen_free(struct seen *seen)
{
    slots_free(&seen->slots);
    free(seen->entries);
    *seen = (struct seen){.oldest = SLOT_NONE, .newest = SLOT_NONE};
}

static void forget(struct seen *seen, uint32_t slot)
{
    struct seen_entry *entry = &seen->entries[slot];

    if (entry->older == SLOT_NONE)
        seen->oldest = entry->newer;
    else
        seen->entries[entry->older].newer = entry->newer;
    if (entry->newer == SLOT_NONE)
        seen->newest = entry->older;
    else
        seen->entries[entry->newer].older = entry->older;
    slots_remove(&seen->slots, entry->key);
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

    if (seen->slots.used == seen->slots.limit) {
        forget(seen, seen->oldest);
        seen->evicted++;
    }
    uint32_t slot = slots_add(&seen->slots, key, &is_new);
    assert(is_new && slot != SLOT_NONE);
    seen->entries = memory_reserve(seen->entries, &seen->capacity, (size_t)slot + 1, sizeof *seen->entries);
    struct seen_entry *entry = &seen->entries[slot];
    *entry = (struct seen_entry){.key = key, .end_us = end_us, .older = seen->newest, .newer = SLOT_NONE};
    if (seen->newest == SLOT_NONE)
        seen->oldest = slot;
    else
        seen->entries[seen->newest].newer = slot;
    seen->newest = slot;
    return entry;
}
