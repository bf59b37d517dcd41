/* One worker: the partitions it reads, the shards it owns, and all that belongs to them, on one thread.
 * worker_step is the production loop's body and the unit that a simulator drives: it never blocks and takes
 * the time as an argument. */
#pragma once
#include "pipeline/checkpoint.h"
#include "pipeline/clean.h"
#include "pipeline/deliver.h"
#include "pipeline/exchange.h"
#include "pipeline/fold.h"
#include "pipeline/judge.h"
#include "pipeline/order.h"
#include "pipeline/parcels.h"
#include "pipeline/records.h"
#include "pipeline/restart.h"
#include "pipeline/runs.h"
#include "pipeline/tap.h"
#include "pipeline/unique.h"
#include "pipeline/watch.h"
#include "pipeline/windows.h"

#include <stdatomic.h>

/* What the workers of a process tell each other outside the exchange: single values, each written by one
 * worker. */
struct shared {
    const struct plan *plan;
    unsigned workers;     /* of the whole pipeline; shards and partitions are divided by it */
    unsigned first, here; /* those of this engine: first, first + 1, ...; all arrays below begin with it */
    struct task *task;    /* NULL: all are here */
    struct taps *taps;    /* NULL: nobody can look */
    bool live;            /* the wall clock may decide idleness; else the end of input ends the run */
    struct exchange *exchange;
    struct checkpoint checkpoint;
    struct restart restart;
    _Atomic bool stopping; /* read no more, deliver what was made */
    _Atomic int64_t
        passed_us[WORKERS_MAX]; /* everything told before it has been told (replay output order) */
    _Atomic int64_t partial_us; /* buckets that began before it may lack rows: the store was missing */
};

/* An engine that has a part of the work: its one worker's way to the others. */
struct task {
    const struct journal_type *type;
    struct journal *journal;
    struct parcels *parcels;
    int64_t inbox_next; /* the inbox below it is taken */
};

struct partition {
    unsigned source;      /* index in worker->inputs */
    size_t index;         /* partition number within the source */
    uint64_t id;          /* the same in every run and with any number of workers */
    uint32_t number;      /* its upper half: the place of rows in orders */
    int64_t greatest_us;  /* greatest event time that moved the watermark; INT64_MIN none */
    int64_t watermark_us; /* greatest - lateness */
    unsigned jump_rows;   /* successive rows beyond max_skew where the arrival is unknown */
    int64_t end_since_us; /* wall time since when nothing more is there; 0: there may be more */
    enum poll_state state;
    bool idle, done;
    struct ledger ledger;
    struct held_record held; /* read, but perhaps not to its end */

    /* Offsets below it were read before a restart: their raw documents are delivered again, nothing else. */
    int64_t again_until;
    struct ledger_row *again; /* what became of their rows */
    size_t again_count, again_next;

    bool cut; /* the offset below waits for its cut to be stored; then it is committed */
    int64_t cut_offset, cut_watermark_us;
};

struct input { /* a source as this worker sees it */
    struct worker *worker;
    const struct plan_source *plan;
    struct source *source;
    struct format *format;
    bool joins; /* the format has records of several messages */
    bool ready;
    uint64_t messages; /* taken, a total */
};

struct worker_figures {
    uint64_t messages, bytes, rows, malformed, tombstones, late_rows, repaired, commits, steps;
    uint64_t marked[MARK_COUNT];
    struct clean_figures clean;
};

enum {
    STAGES_MAX = 24,
    ROWS_A_STEP = 1024, /* a millisecond of rows that were in order */
    ROWS_A_STEP_MAX = 1024 * 1024,
    CLOSING_STEPS_MAX = 2048, /* four million series; then input waits for the closing */
};

struct worker {
    struct shared *shared;
    struct checkpoint *checkpoint; /* the shared one */
    const struct plan *plan;
    unsigned number, place; /* of all; of those here */
    struct exchange_port *port;
    struct cleaner *cleaner;
    struct judge *judge;
    struct fold *fold, *run_fold;
    struct windows *windows;
    struct runs *runs;
    struct watch *watch;
    struct deliver *deliver;
    struct lifecycle *lifecycle; /* alert owner only */

    struct input *inputs;
    unsigned input_count;
    struct partition *partitions;
    size_t partition_count, partition_capacity, next_partition;
    uint64_t polls;

    struct partition *at; /* partition of the batch at hand; NULL: none was taken */
    struct ledger_entry *entry;
    struct message *polled; /* to be released with the batch */
    size_t polled_count;
    struct records records;         /* what became of them where the format joins; they are released then */
    const struct message *messages; /* one of both */
    size_t message_count, message_next;
    struct event_batch batch, transitions;
    bool again;        /* the batch at hand was read before the restart */
    uint8_t *too_late; /* a row of the batch: too late for every bucket of some measure */

    struct unique unique;
    const struct clean_step *unique_step; /* NULL: rows are not told from copies in other partitions */
    struct order order;
    size_t rows_a_step, unique_rows_a_step; /* most of the next step's, see owner.c */
    unsigned closing_steps;                 /* in a row that have not closed all that has ended */
    struct run_row rows[ROWS_AT_ONCE];      /* opened, to be applied */
    struct span *row_texts;                 /* theirs */
    struct order_frozen frozen_rows;        /* of the cut that is being saved */
    uint32_t frozen_rows_block;
    struct saving saving;
    struct watermark_record sent[WATERMARK_STAGES];   /* last values told to others */
    struct watermark_record *heard[WATERMARK_STAGES]; /* a sender: last values received */
    int64_t rows_us, firm_us, runs_us; /* all rows before it are here; not provisional; all transitions */
    int64_t events_us;                 /* what rows before it gave is here; rows_us without unique_step */
    int64_t applied_us, watched_us, closed_us, notified_us;
    int64_t withdraw_due_us;
    uint64_t committed_cut; /* its offsets have been handed to the sources */
    bool rows_final, events_final, runs_final, applied_final, watched_final, closed_final, notified_final;

    const char *refusal; /* a source or its state cannot be read at all: the run ends with this */
    void (*warn)(void *owner, const char *text);
    void *warn_owner;
    struct worker_figures figures;
    uint64_t stage_ns[STAGES_MAX];
};

enum status worker_open(struct worker *worker, struct shared *shared, unsigned number,
                        const struct deliver_context *deliver, bool once, struct error *ret_error);
void worker_close(struct worker *worker);

/* Takes what the rings have; true when there was something. */
bool worker_take_sent(struct worker *worker, int64_t now_us);

/* Throws away what others have sent and nobody took; true when there was something. Called after the threads
 * have ended, for all workers until none has anything: full rings refill. */
bool worker_discard(struct worker *worker);

/* One turn over all stages; true when something was done (else the caller may sleep a little). */
bool worker_step(struct worker *worker, int64_t now_us);
uint64_t worker_clock_ns(void); /* for durations; never goes back */

/* The end of input has come and all of it is told, or a stop is complete: all is delivered, stored and
 * committed. */
bool worker_is_done(const struct worker *worker);

/* An alert of the lifecycle to the sinks. */
void worker_tell_alert(void *worker, const struct alert *alert);

/* Names a partition of a source in ids and in the store. */
uint64_t partition_id(const struct input *input, const char *topic, int32_t number);

/* The metadata of a commit carries the watermark at the offset: a process without the store begins with it,
 * so that what was late stays late. */
enum { CUT_METADATA_MAX = 48 };
struct span cut_metadata(const struct partition *partition, char ret_text[CUT_METADATA_MAX]);

/* Values of the partitions, and of the process's times (the first worker), at a cut. */
void partitions_freeze(struct worker *worker);
void times_freeze(struct worker *worker);
void inbox_freeze(struct worker *worker); /* of a task: how far it had read, what it had heard */

/* A record is held back that cannot be read again: a stop must let it go. */
bool must_let_go(const struct worker *worker);

/* All sources of this worker have ended for good. */
bool worker_has_read_all(const struct worker *worker);

/* Sends a watermark to everybody it concerns, if it differs from the last one of its stage. */
void worker_tell(struct worker *worker, const struct watermark_record *mark);
void worker_send_rows(struct worker *worker, struct event_batch *batch); /* that are not copies of others */

/* A stage does its part for what is at hand; order and meaning in stages.c. */
typedef bool stage_run(struct worker *worker, int64_t now_us);

struct stage {
    const char *name, *help;
    stage_run *run;
    bool finishes; /* also after the last cut of a stop, when nothing new may be told */
    bool tapped;   /* people may look at the rows behind it, see tap.h */
};
extern const struct stage stages[]; /* ends with a NULL name */

stage_run stage_receive, stage_poll, stage_decode, stage_time, stage_clean, stage_judge_events, stage_fold,
    stage_order, stage_encode, stage_unique, stage_release, stage_send, stage_apply, stage_watch, stage_close,
    stage_notify, stage_deliver, stage_save, stage_commit;
