/* Records whose order matters wait here until every partition's watermark has passed their order time, then
 * leave in the order (order time, event time, state rank, partition, offset, item), which no interleaving can
 * change. References into received blocks; one push and one pop a record. What is due soon stands in a binary
 * heap that a cache holds, what is due later in piles by order time, unsorted, and what is due after the last
 * pile in one more: a pile becomes the heap when its time comes. Owner side, one thread. */
#pragma once
#include "pipeline/exchange.h"

struct order_entry {
    int64_t order_us, time_us, offset;
    uint32_t partition;
    uint16_t item;
    uint8_t rank;
    const struct record *record;
    struct block *block; /* retained while the entry waits */
};

enum { ORDER_PILES = 2048 };

struct order_pile {
    struct order_chunk *first;
    size_t count;
};

struct order {
    struct order_entry *heap;
    size_t heap_count, heap_capacity;
    struct order_pile *piles, later; /* pile i: 2^shift microseconds from base_us + i * 2^shift on */
    int64_t base_us;
    unsigned shift, next, end; /* piles before `next` are in the heap; from `end` on all is later */
    size_t count, bytes;       /* of all records that wait */
};

void order_push(struct order *order, const struct order_entry *entry);
const struct order_entry *order_first(const struct order *order); /* NULL when empty */
void order_pop(struct order *order);                              /* releases the first entry's block */

/* Pops up to `most` first entries with order times before `until_us`, or any when `all`; their blocks are
 * then the caller's to release. */
size_t order_take(struct order *order, int64_t until_us, bool all, size_t most,
                  struct order_entry *ret_entries);

/* The entries as they are now, for a cut: their records are held until order_frozen_free. */
struct order_frozen {
    struct order_entry *entries;
    size_t count, next; /* `next` is the reader's */
};
void order_freeze(const struct order *order, struct order_frozen *ret_frozen);
void order_frozen_free(struct order_frozen *frozen);
void order_free(struct order *order);
