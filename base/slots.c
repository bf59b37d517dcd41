/* Key hash to dense slot number; looked up once for each row and key, so a cell is 24 bytes and a hit
 * costs one or two cache lines. Removal shifts the cells behind it back, so there are no tombstones to
 * wade through after a purge. Tried on paper and dropped: robin hood probing (lookups of present keys are
 * the common case and already short), and the key's low bits as home (shards are chosen by them, so all
 * keys of a shard would share homes). */
#include "base/slots.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { CELLS_MIN = 16 };

static uint32_t home(const struct slots *slots, struct id128 key)
{
    return (uint32_t)((key.low * 0x9E3779B97F4A7C15u + key.high) >> 32) & slots->mask;
}

static struct slot_cell *cells_new(size_t count)
{
    struct slot_cell *cells = memory_grow(NULL, count * sizeof *cells);

    for (size_t i = 0; i < count; i++)
        cells[i] = (struct slot_cell){.slot = SLOT_NONE};
    return cells;
}

void slots_init(struct slots *slots, uint32_t limit)
{
    *slots = (struct slots){.cells = cells_new(CELLS_MIN), .mask = CELLS_MIN - 1, .limit = limit};
}

void slots_free(struct slots *slots)
{
    free(slots->cells);
    free(slots->freed);
    *slots = (struct slots){.limit = slots->limit};
}

/* The key's cell, or the empty one where it belongs; the load limit guarantees an empty one. */
static uint32_t probe(const struct slots *slots, struct id128 key)
{
    uint32_t i = home(slots, key);

    while (slots->cells[i].slot != SLOT_NONE && !id_equal(slots->cells[i].key, key))
        i = (i + 1) & slots->mask;
    return i;
}

void slots_fetch(const struct slots *slots, struct id128 key)
{
    __builtin_prefetch(&slots->cells[home(slots, key)]);
}

uint32_t slots_find(const struct slots *slots, struct id128 key)
{
    return slots->cells[probe(slots, key)].slot;
}

static void grow(struct slots *slots)
{
    struct slot_cell *old = slots->cells;
    size_t old_count = (size_t)slots->mask + 1;

    assert(old_count <= UINT32_MAX / 2);
    slots->cells = cells_new(old_count * 2);
    slots->mask = (uint32_t)(old_count * 2 - 1);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].slot != SLOT_NONE)
            slots->cells[probe(slots, old[i].key)] = old[i];
    free(old);
}

static void insert(struct slots *slots, uint32_t cell, struct id128 key, uint32_t slot)
{
    if ((uint64_t)(slots->used + 1) * 8 > ((uint64_t)slots->mask + 1) * 7) {
        grow(slots);
        cell = probe(slots, key);
    }
    slots->cells[cell] = (struct slot_cell){.key = key, .slot = slot};
    slots->used++;
}

uint32_t slots_add(struct slots *slots, struct id128 key, bool *ret_new)
{
    uint32_t i = probe(slots, key);

    if (slots->cells[i].slot != SLOT_NONE) {
        *ret_new = false;
        return slots->cells[i].slot;
    }
    if (slots->used >= slots->limit)
        return SLOT_NONE;
    uint32_t slot = slots->freed_count > 0 ? slots->freed[--slots->freed_count] : slots->next++;
    assert(slot < slots->limit);
    insert(slots, i, key, slot);
    *ret_new = true;
    return slot;
}

bool slots_restore(struct slots *slots, struct id128 key, uint32_t slot)
{
    uint32_t i = probe(slots, key);

    if (slots->cells[i].slot != SLOT_NONE || slot >= slots->limit)
        return false;
    insert(slots, i, key, slot);
    if (slot >= slots->next)
        slots->next = slot + 1;
    return true;
}

void slots_restored(struct slots *slots)
{
    uint8_t *taken = memory_new(slots->next + 1u);

    for (size_t i = 0; i <= slots->mask; i++)
        if (slots->cells[i].slot != SLOT_NONE)
            taken[slots->cells[i].slot] = 1;
    slots->freed_count = 0;
    for (uint32_t slot = slots->next; slot-- > 0;) {
        if (taken[slot])
            continue;
        slots->freed = memory_reserve(slots->freed, &slots->freed_capacity, slots->freed_count + 1,
                                      sizeof *slots->freed);
        slots->freed[slots->freed_count++] = slot;
    }
    free(taken);
}

void slots_remove(struct slots *slots, struct id128 key)
{
    uint32_t hole = probe(slots, key);

    if (slots->cells[hole].slot == SLOT_NONE)
        return;
    slots->freed =
        memory_reserve(slots->freed, &slots->freed_capacity, slots->freed_count + 1, sizeof *slots->freed);
    slots->freed[slots->freed_count++] = slots->cells[hole].slot;
    slots->used--;
    /* A later cell of the cluster may fill the hole unless its home lies after the hole. */
    for (uint32_t i = (hole + 1) & slots->mask; slots->cells[i].slot != SLOT_NONE;
         i = (i + 1) & slots->mask) {
        uint32_t distance = (i - home(slots, slots->cells[i].key)) & slots->mask;

        if (distance >= ((i - hole) & slots->mask)) {
            slots->cells[hole] = slots->cells[i];
            hole = i;
        }
    }
    slots->cells[hole].slot = SLOT_NONE;
}
