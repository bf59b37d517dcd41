/* The clean steps of a pipeline: what `clean:` lists, done in that order on the columns of a batch in place.
 * Rows are marked, never moved; rows that are not MARK_OK are left alone. One cleaner a worker, one thread:
 * it remembers, for each partition, what dedupe and throttle have met. The same rows give the same marks
 * however they are cut into batches. */
#pragma once
#include "base/options.h"
#include "base/state.h"
#include "schemas/event.h"

struct cleaner;

struct clean_figures {   /* totals; cleaner_apply adds to them */
    uint64_t filtered;   /* rows dropped by keep, drop, missing and limit */
    uint64_t duplicates; /* rows dropped by dedupe */
    uint64_t throttled;  /* rows dropped by throttle */
    uint64_t repaired;   /* fields that missing filled, limit clamped or cleared */
    uint64_t redacted;   /* fields that redact changed */
    uint64_t errors; /* expressions in error, values that do not fit their field, patterns out of bounds */
    uint64_t dedupe_evicted; /* remembered keys that gave way to newer ones at the limit */
    uint64_t throttle_evicted;
};

/* `list` may be NULL: nothing to do. Labels that steps name are added to `labels`, so batches are made after
 * this. The nodes are not needed afterwards. STATUS_FATAL with "FILE:LINE:COLUMN: reason". */
enum status cleaner_open(const struct node *list, struct label_names *labels, struct cleaner **ret_cleaner,
                         struct error *ret_error);
void cleaner_close(struct cleaner *cleaner); /* NULL is fine */

/* All rows of one partition, in the order of offsets, with watermark_us set. A row whose changed text finds
 * no room in the batch is marked malformed. */
void cleaner_apply(struct cleaner *cleaner, struct event_batch *batch, struct clean_figures *figures);

/* Rows read again after a restart, to be delivered again: `mark` and `notes` are what they were, steps that
 * remember (dedupe, throttle) do not run. */
void cleaner_apply_again(struct cleaner *cleaner, struct event_batch *batch, struct clean_figures *figures);

/* Only the steps that redact, for rows that somebody looks at before they are clean. */
void cleaner_redact(struct cleaner *cleaner, struct event_batch *batch);

/* dedupe with scope all: the last step, done behind the exchange (unique.h). NULL: there is none. */
const struct clean_step *cleaner_unique(const struct cleaner *cleaner);

/* Owners of stored values from here on are shards of that step, not partitions. */
#define CLEAN_SHARD (UINT64_C(1) << 32)

/* For the reference page: step i of the list, NULL at its end. */
const char *clean_step_describe(unsigned i, const char **ret_help, const struct option **ret_options,
                                size_t *ret_count);

/* State (base/state.h), as in windows.h: what dedupe and throttle remember of each partition, keyed by
 * batch->partition's number. Restored before the partition's first batch. A step is found by its identity
 * (kind and options), so that a changed list keeps what did not change. */
void cleaner_freeze(struct cleaner *cleaner, struct saver *saver);
bool cleaner_save(struct cleaner *cleaner, size_t budget);
enum status cleaner_restore(struct cleaner *cleaner, const struct state_key *key, struct span value,
                            struct error *ret_error);
void cleaner_restored(struct cleaner *cleaner); /* after the values of a partition */
