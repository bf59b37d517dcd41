/* What a task has in Kafka when several processes share the work: its inbox, a partition where the records of
 * other tasks arrive, and its changelog, a compacted partition with its state, outbox and logs. Everything
 * that belongs to a cut is one transaction: the changelog's entries, the parcels for other tasks, the offsets
 * that were read. Whoever opens a task's journal fences the one who had it: none of that one's writes succeed
 * afterwards, and what it had not committed never was. journal_kafka.c is the real one; a simulation has its
 * own. */
#pragma once
#include "base/span.h"
#include "base/status.h"

struct journal_parcel { /* records for one task, packed (wire.h) */
    struct journal_parcel *next;
    unsigned target;
    size_t size;
    char bytes[];
};

struct journal_offset { /* of a source's partition */
    const char *topic;
    int32_t partition;
    int64_t offset; /* nothing below it is needed again */
    struct span metadata;
};

struct journal_entry {
    struct span key, value; /* value.data NULL: the key is removed */
};

struct journal_commit {
    const struct journal_parcel *parcels; /* in the order of their sending; NULL: none */
    const struct journal_offset *offsets;
    size_t offset_count;
    int64_t inbox_next; /* the inbox below it is taken */
};

/* How far a mirror of a changelog is whole. All bytes zero: it is empty. */
struct journal_place {
    int64_t next;     /* all entries below this offset are taken */
    int64_t fresh_us; /* wall time; then there were no others, or it was begun */
};

struct journal;
struct changelog;

typedef enum status journal_visit(void *owner, const struct journal_entry *entry, struct error *ret_error);

struct journal_type {
    /* On the opening thread, may take seconds. STATUS_RETRY: not reached, or the task is no longer this
     * process's. `cluster` is the process's membership, and outlives the journal. */
    enum status (*open)(void *cluster, unsigned task, struct journal **ret_journal, struct error *ret_error);
    void (*close)(struct journal *journal); /* no thread uses it; a transaction under way is aborted */

    /* After open: every committed entry from the place on, which moves on with them; the newest of a key
     * last, older ones may be left out. STATUS_SKIP: the place is of no use, see changelog_type. */
    enum status (*replay)(struct journal *journal, struct journal_place *place, journal_visit *visit,
                          void *owner, struct error *ret_error);

    /* On the worker's thread; never blocks. Where to read the inbox from, once, before the first receive; the
     * first message at or after it (0: the beginning). */
    void (*seek)(struct journal *journal, int64_t next);
    /* The next parcel of a committed transaction, in the order of offsets; borrowed until the next call.
     * ret_next: what inbox_next is once it is taken. False: none is here now. */
    bool (*receive)(struct journal *journal, struct span *ret_bytes, int64_t *ret_next);
    /* A process that was stopped may have lost its tasks without knowing: false when more than half a session
     * timeout has passed since the beginning of the last commit that succeeded. Then nothing may be told to
     * anybody outside. */
    bool (*is_confirmed)(struct journal *journal, int64_t now_us);

    /* On the keeper's thread; may wait for the broker. STATUS_FATAL: fenced, or the transaction is lost; the
     * task must be opened anew, here or elsewhere. STATUS_RETRY: nothing of the call was done. */
    /* Into the transaction under way; the first begins it. */
    enum status (*put)(struct journal *journal, const struct journal_entry *entry, struct error *ret_error);
    /* Ends the transaction, beginning it if there was no entry. Durable when it returns. */
    enum status (*commit)(struct journal *journal, const struct journal_commit *commit,
                          struct error *ret_error);
    /* Entries in a transaction of their own, beside the one under way. Durable when it returns. */
    enum status (*append)(struct journal *journal, const struct journal_entry *entries, size_t count,
                          struct error *ret_error);

    /* Any thread: no call waits for the broker any longer; one that would ends with STATUS_FATAL. */
    void (*cancel)(struct journal *journal);
};

/* A task's changelog as it is read beside its writer, whom that does not disturb; one reader of a task in a
 * process at a time. One thread. */
struct changelog_type {
    /* May take seconds. STATUS_RETRY: not reached. STATUS_SKIP: what follows the place may not be all there
     * is (removed keys are forgotten after a while, or it is another changelog): take all into an empty
     * mirror, from an empty place. */
    enum status (*open)(void *cluster, unsigned task, const struct journal_place *from,
                        struct changelog **ret_changelog, struct error *ret_error);
    void (*close)(struct changelog *changelog);

    /* Some of the committed entries that are here, in their order; waits at most `wait_ms` for the first.
     * After a failure (as those of open, or the visitor's) it must be closed. ret_behind: about how many
     * offsets there are behind the place. */
    enum status (*read)(struct changelog *changelog, int wait_ms, journal_visit *visit, void *owner,
                        struct journal_place *ret_place, int64_t *ret_behind, struct error *ret_error);
};

extern const struct journal_type journal_kafka; /* its cluster: struct cluster, cluster.h */
extern const struct changelog_type changelog_kafka;
