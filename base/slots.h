/* A hash table from a 128-bit key hash to a dense slot number 0, 1, 2 ...: open addressing, linear
 * probing, at most 7/8 full, grows by doubling. A freed slot number is given out again, smallest first is
 * not promised. The keys stand by slot, so their owner need not keep them. One thread. */
#pragma once
#include "base/hash.h"

#define SLOT_NONE UINT32_MAX

struct slot_cell {
    uint32_t hash;   /* of the key; its low bits are the cell's home */
    uint32_t number; /* slot + 1; 0: empty cell */
};

struct slots {
    struct slot_cell *cells;
    struct id128 *keys; /* by slot; those of free slots mean nothing */
    uint32_t key_capacity;
    uint32_t mask, used;  /* cells - 1; occupied cells */
    uint32_t next, limit; /* first number never given out; most slots at a time */
    uint32_t *freed;
    size_t freed_count, freed_capacity;
};

void slots_init(struct slots *slots, uint32_t limit);
void slots_free(struct slots *slots);
uint32_t slots_find(const struct slots *slots, struct id128 key); /* SLOT_NONE when absent */

void slots_fetch(const struct slots *slots, struct id128 key); /* into the cache, for slots_find soon */

/* Finds or adds; *ret_new tells which. SLOT_NONE when the limit is reached. */
uint32_t slots_add(struct slots *slots, struct id128 key, bool *ret_new);
void slots_remove(struct slots *slots, struct id128 key);
size_t slots_bytes(const struct slots *slots);

/* Gives a saved key the number it had, in any order; then slots_restored makes the numbers between them free.
 * False: the key or the number is taken, or the number is beyond the limit. */
bool slots_restore(struct slots *slots, struct id128 key, uint32_t slot);
void slots_restored(struct slots *slots);
