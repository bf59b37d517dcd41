/* Partition side of aggregation: adds rows into panes, per (group, pane, key), and sends each pane once to
 * the owner of its key when the local watermark has passed it. Runs once a row and group; memory is the open
 * panes only.
 *
 * A pane is tagged with the first window end that its rows count for. Rows in time have the first end after
 * the pane's start; a row that is too late for some of its windows but not for all goes to a pane of its own
 * with a later first end, so every window gets exactly the rows that were in time for it. */
#pragma once
#include "pipeline/accumulator.h"
#include "pipeline/exchange.h"
#include "pipeline/plan.h"

struct pane_record {
    struct record head;
    uint32_t group;
    struct id128 key;   /* hash of the key's texts; its shard is shard_of(key) */
    struct span *texts; /* by_count, in the record */
    int64_t start_us, first_end_us;
    int64_t order_us; /* correction: when it applies, and the place of its row */
    int64_t offset;
    uint32_t partition;
    uint16_t item;
    bool frozen;                                     /* waits, and the cut under way has not saved it yet */
    char accumulators[] __attribute__((aligned(8))); /* the group's; what they own is the receiver's now */
};

static inline unsigned shard_of(struct id128 key)
{
    return (unsigned)(key.high >> 56); /* 0..SHARDS-1 */
}

/* A record in place of `size` bytes: empty accumulators, the key's texts copied, times not set. */
size_t pane_record_size(const struct plan_group *group, const struct span *texts);
void pane_record_init(struct pane_record *record, const struct plan *plan, const struct plan_group *group,
                      struct id128 key, const struct span *texts);

/* Packed: on the way to another process, and in the store while it waits. */
struct columns;
void pane_record_pack(struct pane_record *record, const struct plan_group *group, struct buffer *out);

struct pane_parts { /* of a record unpacked */
    struct id128 key;
    struct span texts[KEY_FIELDS_MAX]; /* borrowed from the bytes */
    int64_t start_us, first_end_us, order_us, offset;
    uint32_t partition;
    uint16_t item;
    char accumulators[PLAN_GROUP_MEASURES_MAX * sizeof(struct accumulator)] /* as the group has them now */
        __attribute__((aligned(8)));
};
/* False: the reader is broken, or there is no such group here (NULL); then nothing is owned. */
bool pane_record_unpack(struct unpack *in, const struct plan_group *group, const struct columns *measures,
                        struct pane_parts *ret_parts);
void pane_record_make(struct pane_record *record, const struct plan *plan, const struct plan_group *group,
                      const struct pane_parts *parts); /* in place, takes over the accumulators */
bool pane_times_fit(int64_t start_us, int64_t first_end_us);

struct fold_figures {
    uint64_t *late;    /* rows too late for a bucket, a measure */
    uint64_t errors;   /* CEL evaluation errors */
    uint64_t too_many; /* rows left out because the key cannot be written or the tables are full */
};

struct fold;

struct fold *fold_new(const struct plan *plan, bool on_run, struct exchange_port *port, unsigned workers);
void fold_free(struct fold *fold);

/* Adds all rows with mark ok. */
void fold_rows(struct fold *fold, struct event_batch *batch);

/* Sends the panes that the local watermark has passed; INT64_MAX sends all. At most about `budget` of each
 * group; true when none of them is left. */
bool fold_send(struct fold *fold, int64_t watermark_us, size_t budget);
bool fold_is_sending(const struct fold *fold); /* a table is half sent: no cut may be made */
bool fold_is_behind(const struct fold *fold);  /* and another waits behind it: input should wait */

/* State (base/state.h), as in windows.h. Pane tables have numbers that no other table of the pipeline's life
 * has, so any worker may take them over, all blocks of one table the same: `run_number` differs in every
 * process, worker and fold, and rises from one process to the next. A value whose group this fold does not
 * have is skipped. A table that was sent is dropped at the next cut. */
void fold_set_numbers(struct fold *fold, uint64_t run_number);
void fold_freeze(struct fold *fold, struct saver *saver);
bool fold_save(struct fold *fold, size_t budget);
enum status fold_restore(struct fold *fold, const struct state_key *key, struct span value,
                         struct error *ret_error);

const struct fold_figures *fold_figures(const struct fold *fold);
size_t fold_bytes(const struct fold *fold);

/* Rows of the last fold_rows that were too late for every bucket of some measure: set bytes, one a row. */
const uint8_t *fold_late_rows(const struct fold *fold);
