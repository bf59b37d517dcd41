/* One worker's outputs: encodes what is told once a form, offers it to the sinks that asked for it, and turns
 * their verdicts into acknowledgements and dead letters. What a busy sink does not take waits here, and while
 * anything waits the worker takes no input. */
#pragma once
#include "pipeline/collect.h"
#include "pipeline/dead_letters.h"
#include "pipeline/ledger.h"
#include "pipeline/plan.h"
#include "pipeline/view.h"

struct deliver;

struct deliver_context {
    const struct plan *plan;
    unsigned worker;
    struct collect *collect;           /* replay: all lines go here, no sink is opened */
    struct view *view;                 /* may be NULL */
    struct dead_letters *dead_letters; /* NULL in a replay */
    void (*warn)(void *owner, const char *text);
    void *owner;
};

enum status deliver_open(const struct deliver_context *context, struct deliver **ret_deliver,
                         struct error *ret_error);
void deliver_close(struct deliver *deliver);

bool deliver_wants(const struct deliver *deliver, enum document_kind kind);

/* `pending` is raised for each sink that owes a verdict, and lowered by deliver_advance. at_us: place in the
 * output. */
void deliver_event(struct deliver *deliver, const struct event_batch *batch, uint32_t row,
                   const struct event_origin *origin, uint64_t *pending);
void deliver_bucket(struct deliver *deliver, const struct bucket *bucket, int64_t at_us, uint64_t *pending);
void deliver_signal(struct deliver *deliver, const struct signal_record *record, uint64_t *pending);
void deliver_run(struct deliver *deliver, const struct run_record *run, uint64_t *pending);
void deliver_alert(struct deliver *deliver, const struct alert *alert, uint64_t *pending);

/* A message that cannot be processed; kept here until the store has it. Counts as pending until then. */
void deliver_dead_letter(struct deliver *deliver, const struct dead_letter *letter, uint64_t *pending);

bool deliver_busy(const struct deliver *deliver);      /* something waits for a sink or the store */
size_t deliver_pending(const struct deliver *deliver); /* documents and letters without verdict */
void deliver_advance(struct deliver *deliver, int64_t now_us, bool flush);

struct deliver_figures {
    uint64_t documents[DOC_KINDS], dead_letters;
    size_t waiting_bytes;
};
void deliver_figures(const struct deliver *deliver, struct deliver_figures *ret_figures);
const struct sink_figures *deliver_sink(struct deliver *deliver,
                                        unsigned sink); /* refreshed by the call; NULL: not open */
