/* One worker's outputs: encodes what is told once a form, offers it to the sinks that asked for it, and
 * turns their verdicts into acknowledgements and dead letters. Raw documents (cleaned events) are
 * acknowledged to the ledger, and what a busy sink does not take of them holds the input. Derived documents
 * (buckets, signals, runs, alerts) go through the outbox (outbox.h): they wait in memory, beyond a limit in
 * the store, and a cut keeps those that no sink has acknowledged.
 * A receiver is a sink for people: it is not told of what never fired, and of what was old when it was found
 * in a digest (digest.h). */
#pragma once
#include "pipeline/collect.h"
#include "pipeline/dead_letters.h"
#include "pipeline/keeper.h"
#include "pipeline/ledger.h"
#include "pipeline/plan.h"
#include "pipeline/store.h"
#include "pipeline/view.h"

struct deliver;

struct deliver_context {
    const struct plan *plan;
    unsigned worker;
    bool live;  /* the wall clock says what is old */
    bool moves; /* goes on in other processes: what a sink wrote here cannot be taken back there */
    struct collect *collect; /* replay: all lines go here, no sink is opened */
    struct view *view;       /* may be NULL */
    struct keeper *keeper;   /* NULL in a replay */
    const char *sent_path; /* file beside the store, see sent_file.h; NULL: none, as for whom no alerts are */
    _Atomic uint64_t
        *outbox_bytes; /* of all workers: documents that the store has or gets; not used without keeper */
    void (*warn)(void *owner, const char *text);
    void *owner;
};

enum status deliver_open(const struct deliver_context *context, struct deliver **ret_deliver,
                         struct error *ret_error);
void deliver_close(struct deliver *deliver); /* after keeper_stop: jobs not run are forgotten with it */

bool deliver_wants(const struct deliver *deliver, enum document_kind kind);

/* The events that follow are rows of this batch. */
void deliver_batch(struct deliver *deliver, const struct event_batch *batch,
                   const struct event_origin *origin);

/* `again`: it was read before a restart; what the sink had then it does not get again. `pending` is raised
 * for each sink that owes a verdict, and lowered by deliver_advance. */
void deliver_event(struct deliver *deliver, const struct event_batch *batch, uint32_t row, bool again,
                   uint64_t *pending);

/* at_us: place in the output. Runs that have ended also go to the store's history. */
void deliver_bucket(struct deliver *deliver, const struct bucket *bucket, int64_t at_us);
void deliver_signal(struct deliver *deliver, const struct signal_record *record);
void deliver_run(struct deliver *deliver, const struct run_record *run);

/* Alert lines also go to the store's history. What a sink that notifies has sent is marked in the log, and
 * what the log knows as sent is not sent again. */
void deliver_alert(struct deliver *deliver, const struct alert *alert);

/* Worker 0, before the alerts of a turn: the wall clock, and the event time before which all alerts are told.
 * `last`: nothing more is to come, and there is time to tell what waits for it. */
void deliver_turn(struct deliver *deliver, int64_t now_us, int64_t passed_us, bool last);

/* A message that cannot be processed; kept here until the store has it. Counts as pending until then. */
void deliver_dead_letter(struct deliver *deliver, const struct dead_letter *letter, uint64_t *pending);

bool deliver_busy(
    const struct deliver *deliver); /* a raw document waits, or the outbox is full: take no input */
bool deliver_full(const struct deliver *deliver);      /* the outbox is full: close no buckets */
size_t deliver_pending(const struct deliver *deliver); /* documents and letters without verdict */
bool deliver_has_filed(const struct deliver *deliver); /* no ended run waits for the store */
size_t deliver_held(const struct deliver *deliver);    /* those of them that wait for the end of a catch-up */
void deliver_advance(struct deliver *deliver, int64_t now_us, bool flush);

/* State, as in windows.h. Freeze: no sink is advanced until all workers have frozen. Save hands documents
 * that are not acknowledged to the outbox, and where each sink's output stood to the saver.
 * `ret_acknowledged` gets the stored documents that were acknowledged before the cut: the flip removes
 * them. */
void deliver_freeze(struct deliver *deliver, struct saver *saver, bool again);

/* No sink whose output can be taken back owes a raw document: it stands exactly where the input does. */
bool deliver_is_settled(const struct deliver *deliver);
bool deliver_save(struct deliver *deliver, size_t budget);
void deliver_take_acknowledged(struct deliver *deliver, struct outbox_key **ret_keys, size_t *ret_count,
                               size_t *ret_capacity); /* reuses the vector given */

/* Before the first turn, on the opening thread: values of STATE_OUTLET; then deliver_restored reads the
 * outbox's lanes (lane modulo workers is this worker's) and the notification log of the store. How far the
 * log knows each dedup key is given to `told`, on worker 0; a prompt that is its last word stands for the
 * next firing line that was not sent. */
enum status deliver_restore(struct deliver *deliver, const struct state_key *key, struct span value,
                            struct error *ret_error);
typedef void deliver_told(void *owner, struct id128 dedup, int64_t known_us);
enum status deliver_restored(struct deliver *deliver, struct store *store, unsigned workers,
                             deliver_told *told, void *owner, struct error *ret_error);

/* Worker 0, when the alert owner has passed all that was told before the restart: what receivers were told
 * as firing after the cut and was not computed again is withdrawn with a resolve. `is_open` asks the
 * lifecycle. */
void deliver_withdraw(struct deliver *deliver, int64_t passed_us,
                      bool (*is_open)(void *owner, struct id128 dedup), void *owner);

struct deliver_figures {
    uint64_t documents[DOC_KINDS], dead_letters, dropped_raw;
    size_t waiting_bytes;                    /* in memory */
    uint64_t outbox_documents, outbox_bytes; /* in the store only */
};
void deliver_figures(const struct deliver *deliver, struct deliver_figures *ret_figures);
const struct sink_figures *deliver_sink(struct deliver *deliver,
                                        unsigned sink); /* refreshed by the call; NULL: not open */
