/* dedupe with scope all: rows of which another partition may have a copy. A row goes to the owner of its
 * id, waits in order like the rows of runs until every partition's watermark has passed, and only then
 * counts, unless the owner remembers its id. So the copy that counts is the first in that order, which
 * depends neither on interleaving nor on the number of workers. What the partition side does with rows
 * else, event rules, panes and rows of runs, is then done here. A row costs one packing, one copy and one
 * look-up. */
#pragma once
#include "pipeline/clean.h"
#include "pipeline/order.h"
#include "pipeline/plan.h"

struct unique_record {
    struct record head;
    uint32_t shard, partition;
    int64_t order_us, time_us, offset;
    uint16_t item;
    uint8_t state;
    uint32_t size;
    char bytes[]; /* the row, by names of fields and labels */
};

/* Bytes of a row on its way: it fits into a batch that is at most half full (owner.c). */
enum { UNIQUE_ROW_MAX = EVENT_TEXT_MAX / 2 };

struct unique {
    struct order order;
    struct order_frozen frozen; /* of the cut that is being saved */
    uint32_t frozen_block;
    struct buffer bytes; /* a row being packed */
};

void unique_init(struct unique *unique);
void unique_free(struct unique *unique);

/* Sends every row with mark ok to the owner of its id; one of more than UNIQUE_ROW_MAX becomes malformed. */
void unique_send(struct unique *unique, const struct clean_step *step, const struct plan *plan,
                 struct event_batch *batch, struct exchange_port *port, unsigned workers);

/* A row that came: it is held until it is its turn. */
void unique_take(struct unique *unique, const struct unique_record *record, struct block *block);

/* Appends the first row to the batch, which has room, unless it is a copy; then it is counted. */
void unique_apply(struct unique *unique, struct cleaner *cleaner, const struct plan *plan,
                  struct event_batch *batch, struct clean_figures *figures);

/* A record on the way to another process, and read again: sent to its owner of now. */
void unique_pack(const struct unique_record *record, struct buffer *out);
void unique_unpack(struct unpack *in, struct exchange_port *port, unsigned workers);

/* State (base/state.h), as the rows of runs (runs.h). */
void unique_freeze(struct unique *unique);
bool unique_save(struct unique *unique, size_t budget, struct saver *saver, uint64_t worker, uint64_t cut);
enum status unique_restore(struct span value, struct exchange_port *port, unsigned workers,
                           struct error *ret_error);
