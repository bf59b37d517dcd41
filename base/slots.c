/* Key hash to dense slot number; looked up once for each row and key. A cell is 8 bytes: 32 bits of the hash
 * tell nearly all other keys apart, and the keys themselves stand by slot, where the owner's data are read
 * next anyway. Growing needs the cells alone. Removal shifts the cells behind it back, so there are no
 * tombstones to wade through after a purge. Tried and dropped: the key in the cell (24 bytes: 50 and not 33
 * bytes a key at the mean load, and keys were kept by slot as well). Tried on paper and dropped: robin hood
 * probing (lookups of present keys are the common case and already short), and the key's low bits as home
 * (shards are chosen by them, so all keys of a shard would share homes). */
#include "base/slots.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { CELLS_MIN = 16 };

static uint32_t hash_of(struct id128 key)
{
    return (uint32_t)((key.low * 0x9E3779B97F4A7C15u + key.high) >> 32);
}

void slots_init(struct slots *slots, uint32_t limit)
{
    *slots = (struct slots){
        .cells = memory_new(CELLS_MIN * sizeof *slots->cells), .mask = CELLS_MIN - 1, .limit = limit};
}

void slots_free(struct slots *slots)
{
    free(slots->cells);
    free(slots->keys);
    free(slots->freed);
    *slots = (struct slots){.limit = slots->limit};
}

size_t slots_bytes(const struct slots *slots)
{
    return (slots->mask + (size_t)1) * sizeof *slots->cells + slots->key_capacity * sizeof *slots->keys;
}

/* The key's cell, or the empty one where it belongs; the load limit guarantees an empty one. */
static uint32_t probe(const struct slots *slots, struct id128 key)
{
    uint32_t hash = hash_of(key), i = hash & slots->mask;

    for (; slots->cells[i].number; i = (i + 1) & slots->mask)
        if (slots->cells[i].hash == hash && id_equal(slots->keys[slots->cells[i].number - 1], key))
            break;
    return i;
}

void slots_fetch(const struct slots *slots, struct id128 key)
{
    __builtin_prefetch(&slots->cells[hash_of(key) & slots->mask]);
}

uint32_t slots_find(const struct slots *slots, struct id128 key)
{
    return slots->cells[probe(slots, key)].number - 1; /* of an empty cell that is SLOT_NONE */
}

static void grow(struct slots *slots)
{
    struct slot_cell *old = slots->cells;
    size_t old_count = (size_t)slots->mask + 1;

    assert(old_count <= UINT32_MAX / 2);
    slots->cells = memory_new(old_count * 2 * sizeof *slots->cells);
    slots->mask = (uint32_t)(old_count * 2 - 1);
    for (size_t i = 0; i < old_count; i++) {
        uint32_t cell = old[i].hash & slots->mask;

        if (!old[i].number)
            continue;
        while (slots->cells[cell].number)
            cell = (cell + 1) & slots->mask;
        slots->cells[cell] = old[i];
    }
    free(old);
}

/* Room for the key of that slot: as many as the cells can hold, or more after a restore. */
static void reserve_key(struct slots *slots, uint32_t slot)
{
    uint32_t most = (uint32_t)((slots->mask + (uint64_t)1) / 8 * 7);

    if (slot < slots->key_capacity)
        return;
    slots->key_capacity = slot < most ? most : slot + slot / 8 + 1;
    slots->keys = memory_grow(slots->keys, slots->key_capacity * sizeof *slots->keys);
}

static void insert(struct slots *slots, uint32_t cell, struct id128 key, uint32_t slot)
{
    if ((slots->used + (uint64_t)1) * 8 > (slots->mask + (uint64_t)1) * 7) {
        grow(slots);
        cell = probe(slots, key);
    }
    reserve_key(slots, slot);
    slots->keys[slot] = key;
    slots->cells[cell] = (struct slot_cell){.hash = hash_of(key), .number = slot + 1};
    slots->used++;
}

uint32_t slots_add(struct slots *slots, struct id128 key, bool *ret_new)
{
    uint32_t i = probe(slots, key);

    if (slots->cells[i].number) {
        *ret_new = false;
        return slots->cells[i].number - 1;
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

    if (slots->cells[i].number || slot >= slots->limit)
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
        if (slots->cells[i].number)
            taken[slots->cells[i].number - 1] = 1;
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

    if (!slots->cells[hole].number)
        return;
    slots->freed =
        memory_reserve(slots->freed, &slots->freed_capacity, slots->freed_count + 1, sizeof *slots->freed);
    slots->freed[slots->freed_count++] = slots->cells[hole].number - 1;
    slots->used--;
    /* A later cell of the cluster may fill the hole unless its home lies after the hole. */
    for (uint32_t i = (hole + 1) & slots->mask; slots->cells[i].number; i = (i + 1) & slots->mask) {
        uint32_t distance = (i - (slots->cells[i].hash & slots->mask)) & slots->mask;

        if (distance >= ((i - hole) & slots->mask)) {
            slots->cells[hole] = slots->cells[i];
            hole = i;
        }
    }
    slots->cells[hole].number = 0;
}
