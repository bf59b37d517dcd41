/* A restart: what a store had, given to the parts that go on with it; and the partition side's own state. */
#pragma once
#include "pipeline/store.h"

struct worker;
struct partition;

/* Values of partitions, kept until the source finds the partition. Read by all workers, changed by none. */
struct kept_value {
    struct state_key key;
    char *bytes;
    size_t size;
};

struct restart {
    struct kept_value *values;
    size_t count, capacity;
    struct state_table
        *stale; /* tables written whole at each cut by workers that are gone, and unknown ones */
    size_t stale_count, stale_capacity;
    bool restored; /* there was a complete generation */
};

void restart_free(struct restart *restart);

/* One stored value to where it belongs; before the workers' first turn, on one thread. */
enum status restart_value(struct restart *restart, struct worker *const *workers, unsigned count,
                          const struct state_key *key, struct span bytes, struct error *ret_error);

/* What dedupe and throttle remember of a partition, to the cleaner of the worker that reads it. */
struct cleaner;
enum status restart_seen(const struct restart *restart, uint32_t partition, struct cleaner *cleaner);

/* After the last value. */
enum status restart_end(struct restart *restart, struct worker *const *workers, unsigned count,
                        struct store *store, struct error *ret_error);

/* Where a partition begins. */
struct restart_place {
    int64_t low_offset, next_offset; /* from low on rows are delivered again, from next on they are new */
    int64_t watermark_us, greatest_us;
    unsigned jump_rows;
    struct span rows;                /* struct ledger_row of what is delivered again, two bytes each */
    struct span source, topic, note; /* of sources that keep notes */
    struct span record_ends; /* packed i64: offsets where the clock has ended a record of several messages */
};
bool restart_find(const struct restart *restart, uint64_t partition, struct restart_place *ret_place);

/* The notes that a source kept of its partitions (source.h). */
void restart_notes(const struct restart *restart, struct span source,
                   void (*take)(void *owner, struct span topic, struct span note), void *owner);
