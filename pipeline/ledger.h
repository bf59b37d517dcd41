/* Who still owes an acknowledgement. A partition's ledger has one entry a batch of messages: it knows when
 * all documents and dead letters of the batch are safe, and from which offset a restart must read so that
 * every bucket and run that is not delivered yet gets all its rows again. One worker, one thread; a few
 * operations a batch. */
#pragma once
#include "base/timestamp.h"

struct ledger_entry {
    struct ledger_entry *next;
    uint64_t pending; /* documents and dead letters without a verdict */
    int64_t first_offset, next_offset;
    int64_t latest_us;    /* greatest event time in the batch; INT64_MIN without rows */
    int64_t watermark_us; /* of the partition before the batch */
};

struct ledger {
    struct ledger_entry *first, *last;
    int64_t committed; /* last offset given out by ledger_advance; 0: none */
};

/* A new entry at the end, with one pending mark that the caller takes back when the batch is through. */
struct ledger_entry *ledger_add(struct ledger *ledger, int64_t first_offset, int64_t next_offset,
                                int64_t watermark_us);

/* Drops entries from the front that are acknowledged and hold no row at or after `needed_us`. True when the
 * offset to commit has moved: *ret_offset and the watermark that a restart there must begin with
 * (`watermark_us` is the present one). */
bool ledger_advance(struct ledger *ledger, int64_t needed_us, int64_t watermark_us, int64_t *ret_offset,
                    int64_t *ret_watermark_us);
void ledger_free(struct ledger *ledger);

/* Derived documents are acknowledged by time: an epoch holds what was told until the watermark moved on to
 * `until_us`. */
struct epoch {
    struct epoch *next;
    uint64_t pending;
    int64_t until_us;
};

struct epochs {
    struct epoch *first, *current; /* current: still open */
    int64_t acknowledged_us;       /* all that was told up to this time is safe */
};

void epochs_init(struct epochs *epochs);
void epochs_free(struct epochs *epochs);
void epochs_advance(struct epochs *epochs,
                    int64_t until_us); /* closes the open epoch, drops acknowledged ones */
