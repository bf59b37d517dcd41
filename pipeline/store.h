/* What outlives the process: one SQLite file (mode 0600, write-ahead log, every value with a checksum).
 * It holds the state of the newest complete cut in blocks, the outbox (derived documents emitted and
 * not acknowledged), the notification log, the history of alerts and of ended runs, the audit log, and,
 * through dead_letters.h, the dead letters. Calls come from one thread at a time (the keeper's, keeper.h);
 * `weir state` opens a store of its own.
 *
 * STATUS_RETRY from any writing call: disk full, file read-only for now, busy: nothing of the call was
 * kept, the same call may succeed later. STATUS_FATAL: damaged (names the table and key), or of a newer
 * weir. */
#pragma once
#include "base/state.h"
#include "base/status.h"
#include "pipeline/journal.h"
#include "schemas/encode.h"

struct store;

struct store_options {
    int64_t limit_bytes; /* of values, notifications, history and audit log as stored; 0: none. Beyond it
                            history goes first, then store_put is refused */
    int64_t history_us;  /* history and audit log older than this are removed; 0: kept */
    const char *vfs;     /* SQLite's file layer, for a simulation; NULL: the default */
    bool read_only, must_exist;
    /* of a journal's changelog, which is what is durable: never synced, and made anew unless it has a place
     * (below) and the machine has run ever since, or when it cannot be read */
    bool mirror;
};

enum status store_open(const char *path, const struct store_options *options, struct store **ret_store,
                       struct error *ret_error);
void store_close(struct store *store); /* NULL is fine */

/* From now on every change of state, outbox, notification log and history goes to the journal, too, and
 * a flip is its commit: the file is a mirror of the changelog. First it takes all that is committed, from
 * the mirror's place on if it has one. It has none from then on, since what is written comes into the file
 * before it is committed. */
enum status store_follow(struct store *store, const struct journal_type *type, struct journal *journal,
                         struct error *ret_error);

/* A mirror of what another one writes (standby.h). Entries that are taken between a begin and an end are kept
 * together with the place that they lead to. */
struct journal_place store_place(const struct store *store);
enum status store_take_begin(struct store *store, struct error *ret_error);
journal_visit store_take; /* its owner is the store */
enum status store_take_end(struct store *store, enum status status, const struct journal_place *place,
                           struct error *ret_error);
/* Empty, and without a place. Only the close may follow a failure. */
enum status store_make_anew(struct store *store, struct error *ret_error);
char *store_task_path(const char *path, unsigned task); /* the mirror beside a store; free() it */

/* One process at a time: takes the lock beside the file. STATUS_RETRY while another process has it. */
enum status store_lock(const char *path, int *ret_descriptor, struct error *ret_error);
void store_unlock(int descriptor); /* -1 is fine */

/* State: generations. */

uint64_t store_generation(const struct store *store); /* newest complete one; 0: none yet */

/* A value of a generation under way; several values are one transaction. It takes effect with the flip. */
struct state_value {
    struct state_key key;
    struct span bytes;
};
enum status store_put(struct store *store, uint64_t generation, const struct state_value *values,
                      size_t count, struct error *ret_error);

struct state_table { /* dropped as a whole */
    uint32_t kind;
    uint64_t owner, part;
};
struct outbox_key { /* a document in the outbox; sequences rise by one within a lane */
    uint64_t sink, lane, sequence;
};

/* The last, small transaction: makes the generation the newest complete one, drops tables, removes
 * acknowledged documents from the outbox. Durable when it returns. */
struct store_flip {
    uint64_t generation;
    const struct state_table *dropped;
    size_t dropped_count;
    const struct outbox_key *acknowledged;
    size_t acknowledged_count;
    const struct journal_commit *commit; /* with a journal: what its transaction has beside the values */
};
enum status store_flip(struct store *store, const struct store_flip *flip, struct error *ret_error);

/* Removes some values that newer ones have replaced; true: there may be more. Also applies retention and the
 * size limit. Called when there is nothing else to do. */
bool store_tidy(struct store *store, int64_t now_us);

/* Every value of the newest complete generation, in the order of (kind, owner, part, block), owner and
 * part as signed numbers, from one moment of the file; bytes valid during the call. Every value is
 * checked. What an interrupted generation left behind is removed first unless the store is read-only. */
typedef enum status store_visit(void *owner, const struct state_key *key, struct span bytes,
                                struct error *ret_error);
enum status store_load(struct store *store, store_visit *visit, void *owner, struct error *ret_error);

/* The tables there are, in the order of store_load, without reading their values. */
struct state_table_size {
    struct state_table table;
    uint64_t values, value_bytes, stored_bytes; /* value_bytes before compression */
};
typedef void state_table_visit(void *owner, const struct state_table_size *size);
enum status store_tables(struct store *store, state_table_visit *visit, void *owner, struct error *ret_error);

/* Outbox. */

struct outbox_document {
    struct outbox_key place;
    enum document_kind kind;
    struct id128 id, group;
    uint64_t version;
    int64_t time_us;
    bool prompt, prompted; /* alerts */
    bool late;             /* an alert that was old when it was found, for a receiver */
    struct span body;
};

/* A document that is there already is kept. Durable with the next flip. */
enum status store_outbox_put(struct store *store, const struct outbox_document *documents, size_t count,
                             struct error *ret_error);

/* The documents of a lane from a sequence on, in order, until the visitor says no. */
typedef bool outbox_visit(void *owner, const struct outbox_document *document);
enum status store_outbox_read(struct store *store, uint64_t sink, uint64_t lane, uint64_t from_sequence,
                              outbox_visit *visit, void *owner, struct error *ret_error);

/* After a restart: removes what came after the cut, that is sequences of the lane from `next` on. */
enum status store_outbox_cut(struct store *store, uint64_t sink, uint64_t lane, uint64_t next,
                             struct error *ret_error);
enum status store_outbox_lanes(struct store *store, uint64_t sink, bool (*visit)(void *owner, uint64_t lane),
                               void *owner, struct error *ret_error);

/* Notification log. */

/* One transition told to one receiver. `line` is the alert line's id; a prompt has an id of its own. Written
 * once it is sent; older versions wrote it before, too (sent false), which says nothing. */
struct notification {
    uint64_t sink;
    struct id128 line, dedup, episode;
    int64_t at_us;   /* event time of the transition */
    int64_t told_us; /* wall time */
    bool firing, prompt, sent;
    struct span body; /* the alert line, so that it can be withdrawn by a resolve */
};
enum status store_notify(
    struct store *store, const struct notification *notifications, size_t count,
    struct error *ret_error); /* one transaction, durable; the newest word of a line counts */
typedef bool notification_visit(void *owner, const struct notification *notification);
enum status store_notifications(struct store *store, notification_visit *visit, void *owner,
                                struct error *ret_error); /* by the newest word */

/* Alert history, run history, audit log. */

struct history_line {
    struct id128 id, episode;
    uint64_t revision;
    int64_t at_us, told_us; /* event time; wall time, by which it is removed */
    struct span line;       /* the alert line, JSON */
};
/* A line that is there already is kept. */
enum status store_history_put(struct store *store, const struct history_line *lines, size_t count,
                              struct error *ret_error);
typedef bool history_visit(void *owner, const struct history_line *line);
enum status store_history(struct store *store, int64_t limit, history_visit *visit, void *owner,
                          struct error *ret_error); /* newest first */
/* The line of that id, if it is there. */
enum status store_history_line(struct store *store, struct id128 id, history_visit *visit, void *owner,
                               struct error *ret_error);

/* A run or task attempt that has ended, as it was told last. */
struct ended_run {
    int64_t first_us; /* its first known time, which never moves: runs are kept in its order */
    struct id128 id;
    uint64_t version;
    int64_t told_us;  /* wall time, by which it is removed */
    struct span line; /* the run line, JSON */
};
/* The newest version of a run is kept. Durable with the next flip. */
enum status store_runs_put(struct store *store, const struct ended_run *runs, size_t count,
                           struct error *ret_error);
typedef bool run_visit(void *owner, const struct ended_run *run);
enum status store_runs(struct store *store, run_visit *visit, void *owner,
                       struct error *ret_error); /* by first_us */

enum status store_audit(struct store *store, int64_t time_us, const char *what, struct span detail,
                        struct error *ret_error);
typedef bool audit_visit(void *owner, int64_t time_us, const char *what, struct span detail);
enum status store_audits(struct store *store, int64_t limit, audit_visit *visit, void *owner,
                         struct error *ret_error); /* newest first */

/* Looking at it. */

struct store_figures {
    uint64_t generation, values, value_bytes, stored_bytes; /* with those not tidied away yet; value_bytes
                                                               before compression */
    uint64_t outbox_documents, outbox_bytes, notifications, history_lines, audit_lines;
    uint64_t runs, run_bytes;
    int64_t file_bytes, flipped_us; /* wall time of the flip, given by the host's clock */
    int schema;
};
enum status store_figures(struct store *store, struct store_figures *ret_figures, struct error *ret_error);

/* Reads everything and checks it; calls `damage` with one line for each thing that is wrong. */
enum status store_verify(struct store *store, void (*damage)(void *owner, const char *text), void *owner,
                         struct error *ret_error);
