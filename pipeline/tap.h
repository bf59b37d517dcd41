/* Taps: live copies of rows behind a stage of the partition side, for people (`weir tap`). Opened and read
 * by the server's threads, fed by the workers; one mutex, held for some microseconds. Without an open tap it
 * costs a worker one relaxed load a turn. With one, at most TAP_ROWS_PER_SECOND rows a second are written,
 * and what the reader does not take in time is dropped and counted, so that no pipeline is slowed down by
 * being looked at. */
#pragma once
#include "pipeline/clean.h"

#include <stdatomic.h>

enum { TAPS_MAX = 4, TAP_RING_BYTES = 1 << 20, TAP_ROWS_PER_SECOND = 1000 };

struct taps {
    _Atomic unsigned wanted; /* bits of the stages that somebody looks at */
    struct taps_inside *inside;
};

struct tap;

struct taps *taps_new(void);
void taps_free(struct taps *taps); /* all taps are closed */

/* The labels that batches have from now on (copied): taps that were opened under other ones end. */
void taps_set_labels(struct taps *taps, const struct label_names *labels);
void taps_end(struct taps *taps); /* all open ones; none can be opened any more */

struct tap_query {
    const char *stage; /* decode, time or clean */
    const char *where; /* CEL over the row's fields; NULL: all, also rows that are not processed further */
    uint64_t limit;    /* ends after so many rows; 0: none */
};

/* Any thread. `wake` is called, on a worker's thread and with a lock held, when tap_read said that there was
 * nothing and that has changed. STATUS_FATAL: what is wrong with the query. STATUS_RETRY: enough are open. */
enum status tap_open(struct taps *taps, const struct tap_query *query, void (*wake)(void *owner), void *owner,
                     struct tap **ret_tap, struct error *ret_error);
void tap_close(struct tap *tap);

/* JSON lines: rows; {"dropped":N} where N rows are left out; empty ones now and then, so that a reader who is
 * gone is noticed. How many bytes; 0: nothing now, or with *ret_ended nothing ever again. */
size_t tap_read(struct tap *tap, char *out, size_t size, bool *ret_ended);

/* A worker's side. The batch has just passed the stage (number in stages.c). With `redact` its rows are shown
 * as the cleaner's redact steps leave them; rows that are not MARK_OK always are. */
static inline unsigned taps_wanted(struct taps *taps)
{
    return taps ? atomic_load_explicit(&taps->wanted, memory_order_relaxed) : 0;
}
void taps_offer(struct taps *taps, unsigned stage, bool redact, struct event_batch *batch,
                struct cleaner *cleaner, int64_t now_us);
void taps_beat(struct taps *taps); /* a few times a second */
