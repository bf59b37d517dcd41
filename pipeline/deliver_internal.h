/* What deliver.c and deliver_state.c share. */
#pragma once
#include "pipeline/deliver.h"
#include "pipeline/digest.h"
#include "pipeline/filing.h"
#include "pipeline/notices.h"
#include "pipeline/outbox.h"

enum { ENCODED_MAX = 128 * 1024 * 1024 };

/* A raw document that a busy sink has not taken yet. */
struct waiting {
    struct waiting *next;
    struct document document; /* its body stands behind */
};

/* A line that its prompt stands for, held until the prompt is done with. */
struct rider {
    struct outbox_item *item;
    const struct outbox_item *ahead; /* the last of its key before it */
};

struct outlet { /* one sink */
    const struct plan_sink *plan;
    struct sink *sink;
    struct waiting *first, *last;
    size_t raw_pending; /* raw documents without verdict */
    bool behind;        /* it takes back, and lacks raw documents of before the cut that was restored */
    struct outbox outbox;
    size_t on_way; /* alerts and digests that are offered and without verdict */
    struct rider *riders;
    size_t rider_count, rider_capacity;
    struct notices notices; /* used when the sink notifies and there is a keeper */
    struct digest digest;   /* of a receiver */
    struct verdicts verdicts;
    struct sink_figures figures;
};

struct deliver {
    struct deliver_context context;
    struct outlet *outlets;
    unsigned outlet_count;                   /* none in a replay */
    unsigned lines_wanted, documents_wanted; /* bits 1 << kind */
    struct buffer line, body, packed;
    struct event_writer *event_writer;
    struct filing filing;
    struct sent_file sent;
    struct outbox_keys acknowledged, frozen; /* stored documents to remove: at the next flip, at this one */
    struct digest_turn turn;
    bool send;      /* a cut has begun: what is acknowledged before it comes to the outboxes is not stored */
    int64_t cut_us; /* when */
    size_t waiting_bytes;
    struct deliver_figures figures;
};

static inline bool outlet_takes_back(const struct deliver *deliver, const struct outlet *outlet)
{
    return outlet->plan->type->resume && !deliver->context.moves;
}

/* Alerts for people wait in packed form: the log wants more of them than the line has. */
static inline bool outlet_tells(const struct outlet *outlet, enum document_kind kind)
{
    return outlet->plan->type->notifies && kind == DOC_ALERT;
}

/* What receivers were told last of the key before the start is computed again, or there is newer word of it.
 * True: that was a prompt, and it stands for this line. */
bool outlet_settle_told(const struct outlet *outlet, const struct alert *alert);

/* The sink is done with the document of a ticket. */
void deliver_settle(void *owner, void *outlet, uint64_t ticket);
