/* Records whose order matters wait here until every partition's watermark has passed their order time, then
 * leave in the order (order time, event time, state rank, partition, offset, item), which no interleaving can
 * change. A binary heap of references into received blocks; one push and one pop a record. Owner side, one
 * thread. */
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

struct order {
    struct order_entry *entries;
    size_t count, capacity, bytes; /* bytes of the records that wait */
};

void order_push(struct order *order, const struct order_entry *entry);
const struct order_entry *order_first(const struct order *order); /* NULL when empty */
void order_pop(struct order *order);                              /* releases the first entry's block */

/* The entries as they are now, for a cut: their records are held until order_frozen_free. */
struct order_frozen {
    struct order_entry *entries;
    size_t count, next; /* `next` is the reader's */
};
void order_freeze(const struct order *order, struct order_frozen *ret_frozen);
void order_frozen_free(struct order_frozen *frozen);
void order_free(struct order *order);
