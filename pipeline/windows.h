/* Owner side of aggregation: panes become closed buckets, in event time. Per shard and group a table of
 * series; a bucket closes when the watermark has passed its end, is scored by the detectors of its group and
 * judged by the rules. Runs once a pane and once a closed bucket. */
#pragma once
#include "pipeline/fold.h"
#include "pipeline/judge.h"
#include "pipeline/order.h"

struct windows;

struct windows_output { /* called in the order of closing; borrowed during the call */
    void (*bucket)(void *owner, const struct bucket *bucket,
                   int64_t at_us); /* at: its end, or when it was corrected */
    void (*signal)(void *owner, const struct signal_record *record);
    void *owner;
};

struct windows_figures {
    uint64_t buckets, signals, corrections;
    uint64_t lost;     /* late rows whose bucket could not be corrected any more */
    uint64_t too_many; /* panes of keys beyond the limit of series */
    size_t series, open_panes, state_bytes;
    size_t hot_series, hot_bytes; /* blocks lent */
};

struct windows *windows_new(const struct plan *plan, unsigned worker, unsigned workers, struct judge *judge,
                            const struct windows_output *output);
void windows_free(struct windows *windows);

/* Takes over the record's sketches. */
void windows_merge(struct windows *windows, struct pane_record *record);

/* A late row's pane: kept (with its block) until the watermark passes its order time. */
void windows_correct_later(struct windows *windows, struct pane_record *record, struct block *block);

/* Frees the sketches of a record that nobody will take. */
void windows_discard(const struct windows *windows, struct pane_record *record);

struct windows_time {
    int64_t events_us,
        runs_us;        /* close buckets that end at or before these, of measures on events and on runs */
    int64_t firm_us;    /* beyond this a bucket is provisional */
    int64_t partial_us; /* a bucket that starts before this is partial: rows may be absent */
    bool final;         /* the input has ended: corrections that wait are applied too */
};

/* Closes buckets until about `budget` series were looked at and buckets told; true when nothing is left to
 * close at these times. */
bool windows_close(struct windows *windows, const struct windows_time *time, size_t budget);
void windows_settle(struct windows *windows); /* closes the rest of what is half closed; before a freeze */

/* State (base/state.h). Freeze belongs to a cut and is cheap; save makes about `budget` bytes of values of
 * what is frozen, true when nothing is left; the saver lives until then. A group that is not in the plan
 * is skipped at a restore; measures, detectors and rules are found by their identities, what is new begins
 * empty. Series, their tables and blocks (STATE_SERIES, STATE_TABLE, STATE_HOT) go to the owner of their
 * shard; corrections, which every cut writes whole, to every worker, which takes those of its shards. */
void windows_freeze(struct windows *windows, struct saver *saver, uint64_t cut);
bool windows_save(struct windows *windows, size_t budget);
enum status windows_restore(struct windows *windows, const struct state_key *key, struct span value,
                            struct error *ret_error);
void windows_restored(struct windows *windows); /* after the last value */

void windows_figures(const struct windows *windows, struct windows_figures *ret_figures);
