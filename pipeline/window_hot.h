/* The hot tier: blocks of memory that are lent to the series whose detector can use one (detector.h), under
 * limits.hot. Each detector has an equal part of that in each shard, so who has a block depends only on what
 * happened in its shard, not on workers. Who asks is noted while the series of one end are scored, and served
 * when all of them are, lowest key first, so not on the order within an end either. A block is taken back
 * when its series no longer asks for it, or was silent while another one asks. Inside of the windows. */
#pragma once
#include "base/state.h"
#include "pipeline/plan.h"

struct hot_block {
    char *bytes;       /* NULL: lent to nobody */
    uint64_t *hashes;  /* of its pages as they are stored; 0: not stored */
    int64_t active_us; /* end of its series' last bucket */
    uint32_t slot;     /* the series */
};

struct hot_table { /* of a detector in a table of series; all zero bytes: nothing is lent */
    struct hot_block *blocks;
    size_t count, capacity;
    uint32_t lent;
    uint32_t *places; /* by slot: place in blocks + 1; 0: none */
    uint32_t *asking; /* slots whose series wants a block and has none, or the other way round */
    size_t asking_count, asking_capacity;
    struct blocks marks; /* a place is one of its blocks */
};

struct windows;
struct series_table;

void hot_free(struct hot_table *hot);
void hot_grow(struct hot_table *hot, size_t before, size_t after); /* slots */

/* The block of the series, about to be changed by its bucket that ends then; NULL: it has none. */
void *hot_use(struct windows *windows, struct series_table *table, unsigned detector, uint32_t slot,
              int64_t end_us);
/* After the bucket: what the series wants now. */
void hot_ask(struct hot_table *hot, uint32_t slot, bool wants);
/* When all series are scored at that end. */
void hot_settle(struct windows *windows, struct series_table *table, int64_t end_us);

/* State (base/state.h): STATE_HOT, owner shard, part detector's identity. A block is stored in pages, and
 * only those that have changed. */
void hot_freeze(struct series_table *table);
bool hot_save(struct windows *windows, struct series_table *table, size_t until); /* false: some are left */
bool hot_restore(struct windows *windows, const struct state_key *key,
                 struct unpack *in); /* false: damaged */
void hot_restored(struct windows *windows, struct series_table *table);
