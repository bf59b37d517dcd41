/* Who still owes an acknowledgement. A partition's ledger has one entry a batch of messages: it knows when
 * all raw documents and dead letters of the batch are safe, and what cleaning made of its rows, so that a
 * restart can read them again, deliver them again and do nothing else with them. One worker, one thread; a
 * few operations a batch. */
#pragma once
#include "base/span.h"

struct ledger_row {
    uint8_t mark;  /* enum row_mark */
    uint8_t notes; /* NOTE_*, and LEDGER_TOO_LATE */
};
enum { LEDGER_TOO_LATE = 128 };

struct ledger_entry {
    struct ledger_entry *next;
    uint64_t pending; /* documents and dead letters without a verdict */
    int64_t first_offset, next_offset;
    int64_t watermark_us; /* of the partition before the batch */
    struct ledger_row *rows;
    size_t row_count, row_capacity;
};

struct ledger {
    struct ledger_entry *first, *last;
    int64_t next_offset; /* after the last batch; the caller sets it before the first one */
};

/* A new entry at the end, with one pending mark that the caller takes back when the batch is through. */
struct ledger_entry *ledger_add(struct ledger *ledger, int64_t first_offset, int64_t next_offset,
                                int64_t watermark_us);
void ledger_grow(struct ledger_entry *entry); /* makes room for rows */

/* Of the next row of the batch. */
static inline void ledger_keep(struct ledger_entry *entry, struct ledger_row row)
{
    if (entry->row_count == entry->row_capacity)
        ledger_grow(entry);
    entry->rows[entry->row_count++] = row;
}

/* Drops acknowledged entries from the front; then `first` is the lowest one that is owed something. */
void ledger_advance(struct ledger *ledger);
int64_t ledger_low_offset(const struct ledger *ledger); /* the first that is owed something */
void ledger_free(struct ledger *ledger);
