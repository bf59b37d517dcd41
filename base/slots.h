/* A hash table from a 128-bit key hash to a dense slot number 0, 1, 2 ...: open addressing, linear
 * probing, at most 7/8 full, grows by doubling. A freed slot number is given out again, smallest first is
 * not promised. One thread. */
#pragma once
#include "base/hash.h"

#define SLOT_NONE UINT32_MAX

struct slot_cell {
    struct id128 key;
    uint32_t slot; /* SLOT_NONE: empty cell */
};

struct slots {
    struct slot_cell *cells;
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

/* Gives a saved key the number it had, in any order; then slots_restored makes the numbers between them free.
 * False: the key or the number is taken, or the number is beyond the limit. */
bool slots_restore(struct slots *slots, struct id128 key, uint32_t slot);
void slots_restored(struct slots *slots);
