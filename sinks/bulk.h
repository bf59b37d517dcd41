/* The documents that wait for a search server, as the NDJSON bulks in which they will be sent. Documents are
 * appended to the newest bulk; sealed bulks are sent oldest first, several at a time; what an answer leaves
 * over stays in its bulk, in its place. An id that is rewritten (an external version) is never in two bulks
 * under way at the same time: the newer one waits. Nothing here knows HTTP, verdicts or the clock. */
#pragma once
#include "base/buffer.h"
#include "base/slots.h"
#include "schemas/encode.h"

/* One ticket for two items (an alert's line and the current alert); freed with the second. */
struct shared_ticket {
    unsigned open; /* items not finished */
    bool told;     /* a dead letter was reported for it */
};

struct bulk_item {
    struct id128 id;
    uint64_t ticket;
    struct shared_ticket *shared;           /* NULL: the ticket is this item's alone */
    uint32_t start, action_size, body_size; /* in the bulk's text: action line with newline, body, newline */
    uint8_t kind;                           /* enum document_kind */
    uint8_t failures;                       /* answers 500 so far */
    bool versioned;                         /* the id may come again: order matters */
    bool claimed;                           /* this bulk may send the id */
    bool refused;                           /* the answer was one that pauses: a probe takes this item */
    bool finished;                          /* the owner has dealt with it; bulk_return drops it */
    bool leaving;                           /* for bulk_split */
};

struct bulk {
    struct bulk *older, *newer;
    struct buffer text;
    struct bulk_item *items;
    size_t count, capacity;
    struct buffer wire; /* the owner's: the compressed text while flying */
    size_t address;     /* the owner's: where it was sent */
    int64_t due_us;     /* not sent before */
    unsigned attempts;  /* answers that left something over */
    bool sealed, flying;
    bool leftover;       /* came back: may be merged with its neighbour */
    bool plain;          /* never compress */
    uint64_t blocked_at; /* value of `releases` when an older bulk held all of its ids; 0: not blocked */
};

struct bulk_limits {
    size_t bulk_bytes, bulk_items; /* a bulk is sealed before it would pass them; one document may. The owner
                                    * may change the bytes at any time */
    size_t queue_bytes;
};

struct bulk_queue {
    struct bulk *oldest, *newest, *spare;
    struct bulk_limits limits;
    size_t bytes, items, bulks, spares;
    struct slots claims; /* id -> slot of `holders` */
    struct holder *holders;
    size_t holder_capacity;
    uint64_t releases; /* from 1; grows whenever an id becomes free */
};

void bulk_queue_init(struct bulk_queue *queue, struct bulk_limits limits);
void bulk_queue_free(struct bulk_queue *queue); /* with all that waits */

/* Whether so many more bytes fit; an empty queue takes one document of any size below 1 GiB. */
bool bulk_queue_fits(const struct bulk_queue *queue, size_t bytes);

/* Copies an item in, which the owner knows to fit; the place and sizes in `item` are filled here. Tells
 * whether a new bulk was begun. */
bool bulk_queue_put(struct bulk_queue *queue, const struct bulk_item *item, struct span action,
                    struct span body);

void bulk_queue_seal(struct bulk_queue *queue); /* the bulk that is being filled, if any, may be sent */

/* The oldest bulk that may be sent now, or NULL; the part of it that is within the limits, the rest is a bulk
 * behind it. It holds its ids; documents whose id an older bulk holds
 * have been moved to a bulk behind it. The owner sets `flying`. */
struct bulk *bulk_queue_next(struct bulk_queue *queue, int64_t now_us);

/* A bulk of one item: the oldest refused one, else the oldest; NULL when the queue is empty or a bulk is
 * flying. */
struct bulk *bulk_queue_probe(struct bulk_queue *queue);

/* Takes a flying bulk back: finished items are dropped, the rest waits until due_us; an empty bulk is
 * released. */
void bulk_return(struct bulk_queue *queue, struct bulk *bulk, int64_t due_us);

/* Takes a flying bulk of at least two items back as two, due at once. */
void bulk_halve(struct bulk_queue *queue, struct bulk *bulk);

static inline struct span bulk_body(const struct bulk *bulk, const struct bulk_item *item)
{
    return span_make(bulk->text.data + item->start + item->action_size, item->body_size);
}
