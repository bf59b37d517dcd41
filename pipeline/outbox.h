/* The derived documents of one outlet (a worker's sink) that are not acknowledged, in order. They wait in
 * memory; when the sink has left more than OUTBOX_MEMORY_BYTES of them, new ones go to the store only, and
 * come back in order as the memory drains. A cut has the store keep those that were emitted before it.
 * Sequences of a lane (the worker's number) go on after a restart; the lanes of workers that are no more
 * are read before the own. Some operations a document; the store is reached through keeper jobs only. One
 * thread. */
#pragma once
#include "pipeline/keeper.h"
#include "pipeline/store.h"
#include "sinks/sink.h"

enum { OUTBOX_MEMORY_BYTES = 16 * 1024 * 1024 };

struct outbox_item {
    struct outbox_item *next, *previous;
    struct outbox_document document; /* its body stands behind the item */
    bool taken;                      /* by the sink */
    bool held;                       /* later ones go before it */
    bool acknowledged, storing, stored;
};

struct outbox_keys {
    struct outbox_key *items;
    size_t count, capacity;
};

struct outbox_context {
    uint64_t sink, lane;
    bool takes_back;       /* what the sink wrote after a cut is lost at a restart, and needed again */
    struct keeper *keeper; /* NULL: all stays in memory */
    _Atomic uint64_t *stored_bytes; /* shared: what the store has of all outboxes */
    struct outbox_keys
        *acknowledged; /* gets the documents that the store no longer needs after the next flip */
};

struct outbox_list {
    struct outbox_item *first, *last;
};

struct outbox_lane {
    uint64_t lane, next; /* the sequence to read, or after which nothing was known at the cut */
};

struct outbox_read {
    struct keeper_job job;
    struct outbox_key from;
    struct outbox_list items;
    size_t bytes;
    bool stopped; /* there is more */
};

struct outbox_put;

struct outbox {
    struct outbox_context context;
    struct outbox_list items;             /* in memory, without acknowledgement */
    struct outbox_item *offer_at;         /* the first that the sink has not taken */
    size_t waiting_bytes, spilling_bytes; /* not taken; on the way to the store only */
    size_t memory_bytes;
    uint64_t next_sequence;
    uint64_t documents;              /* all without acknowledgement */
    uint64_t away_count, away_bytes; /* those that went to the store only */
    bool spilled;                    /* new ones go to the store only: others are there before them */
    struct outbox_list spill;        /* for the next such batch */
    size_t spill_bytes;
    struct outbox_lane *lanes; /* to read; the own one last */
    size_t lane_count, lane_capacity, lane_at;
    struct outbox_read read;
    bool reading;
    struct outbox_put *put_first, *put_last; /* jobs under way, in order */
    uint64_t puts_submitted, puts_done;
    struct outbox_item *save_at; /* the next to look at for the cut */
    bool cutting;
    uint64_t cut_next, cut_puts; /* sequences from here on came after the cut; jobs it has to wait for */
};

void outbox_open(struct outbox *outbox, const struct outbox_context *context);
void outbox_close(struct outbox *outbox); /* no job of it runs any more */

/* Copies the document; `place` is set here. */
void outbox_push(struct outbox *outbox, const struct outbox_document *document);

/* The sink has taken offer_at. It may be acknowledged from then on, which may free it. */
struct outbox_item *outbox_take(struct outbox *outbox);
struct outbox_item *outbox_hold(struct outbox *outbox); /* the owner keeps offer_at, and takes it later */
bool outbox_is_taken(const struct outbox *outbox);      /* all that there is: taken, or held */
void outbox_acknowledge(struct outbox *outbox, struct outbox_item *item);

void outbox_advance(struct outbox *outbox); /* looks after jobs, reads back */
bool outbox_full(const struct outbox *outbox);

void outbox_freeze(struct outbox *outbox);
bool outbox_is_sent(
    const struct outbox *outbox); /* of the cut, the next to be stored may soon be done with */
bool outbox_save(struct outbox *outbox, size_t *budget); /* true: the store has all of the cut */

/* On the opening thread: `next` of each lane's value, then what the store has of the lanes that are this
 * worker's. Calls `visit` for each document; false: broken. */
void outbox_restore(struct outbox *outbox, uint64_t lane, uint64_t next);
enum status outbox_restored(struct outbox *outbox, struct store *store, unsigned workers, outbox_visit *visit,
                            void *owner, struct error *ret_error);
