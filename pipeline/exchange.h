/* What workers send each other: records packed into blocks, one single-producer single-consumer ring a pair
 * of workers. Order within a pair is kept, so a watermark never overtakes the rows before it. Pointers
 * inside a record point into its block, which the receiver owns. Sending never blocks: blocks that find the
 * ring full wait with the sender, and the worker takes no input until they are gone (exchange_stalled). A
 * block a flush, some thousand a second at most. Where the other workers may be in other processes there is
 * one worker and the ring to itself, and blocks for the others go to a link. */
#pragma once
#include "base/state.h"
#include "base/status.h"

enum record_type {
    RECORD_PANE,       /* struct pane_record, fold.h */
    RECORD_CORRECTION, /* struct pane_record of one late row, to be merged at its order time */
    RECORD_ROW,        /* struct row_record, runs.h */
    RECORD_CONDITION,  /* struct condition */
    RECORD_WATERMARK,  /* struct watermark_record */
    RECORD_UNIQUE,     /* struct unique_record, unique.h */
    RECORD_WATCH,      /* struct watch_word, watch.h */
};

struct record {
    uint32_t size; /* of the whole record, a multiple of 8 */
    uint32_t type;
};

enum watermark_stage {
    WATERMARK_ROWS,   /* a partition side: rows and panes before it have been sent */
    WATERMARK_RUNS,   /* a run owner: transitions before it have been sent as panes */
    WATERMARK_SCORE,  /* a series owner: conditions before it have been sent */
    WATERMARK_UNIQUE, /* an owner of ids (unique.h): what rows before it gave has been sent */
    WATERMARK_STAGES,
};

struct watermark_record {
    struct record head;
    uint32_t stage;
    uint32_t sender;
    bool waits;      /* more may come: while nobody holds back, the wall clock moves event time */
    bool ended;      /* nothing will follow; time_us is then the greatest event time seen (INT64_MIN: none) */
    int64_t time_us; /* INT64_MAX: no active partition here holds anybody back */
    int64_t firm_us; /* the same with idle partitions counted: what closes beyond it is provisional */
    int64_t slowest_us; /* rows: the least watermark of a partition that others must not run away from */
};

void watermark_pack(const struct watermark_record *mark, struct buffer *out);
/* The sender must be one of `workers`, else the reader is broken. */
void watermark_unpack(struct unpack *in, unsigned workers, struct watermark_record *ret_mark);

struct block {
    struct block *next;
    uint32_t references; /* records still needed by the receiver, plus one while it reads the block */
    uint32_t used, size;
    char bytes[] __attribute__((aligned(8)));
};

struct exchange;      /* the rings of all pairs, shared */
struct exchange_port; /* one worker's end */

/* Takes over blocks for workers that are elsewhere. */
struct exchange_link {
    void (*send)(void *owner, unsigned target, struct block *block);
    bool (*full)(void *owner); /* too much waits until the next cut */
    void *owner;
};

struct exchange *exchange_new(unsigned workers);
struct exchange *exchange_new_linked(unsigned workers, unsigned number, const struct exchange_link *link);
void exchange_free(struct exchange *exchange);
struct exchange_port *exchange_port(struct exchange *exchange, unsigned worker);

/* Room for a record to `target` (may be the worker itself); the caller fills what follows the head. */
void *exchange_record(struct exchange_port *port, unsigned target, enum record_type type, size_t size);
void exchange_flush(struct exchange_port *port);   /* hands over all begun blocks */
bool exchange_stalled(struct exchange_port *port); /* blocks wait because a ring is full */
bool exchange_full(struct exchange_port *port);    /* or too much waits in the link: take no input */

/* The next block for this worker, or NULL. Ends with block_release. */
struct block *exchange_receive(struct exchange_port *port);
void block_retain(struct block *block);
void block_release(struct block *block); /* frees it with the last reference */

/* Copies a text to `*cursor` inside a record and moves the cursor on. */
static inline struct span record_text(char **cursor, struct span text)
{
    struct span copy = {*cursor, text.size};

    if (text.size)
        memcpy(*cursor, text.data, text.size);
    *cursor += text.size;
    return copy;
}
