/* The run table: runs and task attempts, their states and times, told by ordered rows; each accepted change
 * of state is a transition. One table a shard, so caps and evictions do not depend on the number of workers.
 * Called once a row that tells of a run; a change costs a hash look-up and, when texts are new, one
 * allocation. */
#pragma once
#include "pipeline/order.h"
#include "pipeline/plan.h"
#include "schemas/run.h"

enum run_text { /* texts that a run remembers; labels follow after them */
                RUN_SOURCE,
                RUN_NAMESPACE,
                RUN_ENGINE,
                RUN_WORKFLOW,
                RUN_TASK,
                RUN_RUN,
                RUN_RUN_NAME,
                RUN_ROOT_RUN,
                RUN_PARENT_RUN,
                RUN_QUEUE,
                RUN_WORKER,
                RUN_OWNER,
                RUN_HOST,
                RUN_ERROR,
                RUN_ERROR_TYPE,
                RUN_URL,
                RUN_TEXTS,
                RUN_NAMES = RUN_PARENT_RUN, /* those before it are names, which a run learns of its tasks */
};

/* What one row tells of a run. */
struct run_row {
    uint32_t shard, partition;
    int64_t order_us, time_us, watermark_us, scheduled_us, queued_us, started_us, offset;
    double duration_ms;
    int32_t map_index;
    uint16_t item, attempt;
    uint8_t state;
    bool will_retry, is_endless; /* see struct run_record */
    bool is_child; /* of the run that began one: its task is that one's workflow, its parent that one's run */
    struct span *texts;                      /* RUN_TEXTS + labels; size 0: not told */
    struct id128 alias, named_key, task_key; /* see runs_meet */
};

/* The same on its way and while it waits, without what is not told. */
struct row_record {
    struct record head;
    struct id128 alias;
    int64_t time_us, watermark_us, offset;
    uint32_t partition;
    uint16_t item, attempt;
    uint8_t state, hints, numbers, texts; /* hints and numbers: bits; texts: how many */
    char bytes[];                         /* the numbers, the texts: see rows.c */
};

/* The key of runs with these in all workflows: `alias` of a row. */
struct id128 run_key(struct span source, struct span namespace_, struct span run);

static inline uint32_t run_shard(struct id128 alias)
{
    return (uint32_t)(alias.high >> 56);
}

/* Labels are stored with their names before them, and found by these: the configuration may have changed. */
struct run_labels {
    unsigned count;
    unsigned at[LABELS_MAX]; /* of a stored label: its place among the texts; 0: it is gone */
};
void run_labels_pack(const struct label_names *names, struct buffer *out);
void run_labels_unpack(struct unpack *in, const struct label_names *names, struct run_labels *ret_labels);

/* `texts` gets the texts, borrowed from the record; of the keys only `alias` is set. */
void run_row_open(const struct row_record *record, unsigned text_count, struct span *texts,
                  struct run_row *ret_row);

/* A row packed: on the way to another process, and in the store while it waits. `texts` gets the texts,
 * borrowed from the bytes. */
void row_record_pack(const struct row_record *record, unsigned text_count, struct buffer *out);
void run_row_unpack(struct unpack *in, const struct run_labels *labels,
                    struct span texts[RUN_TEXTS + LABELS_MAX], struct run_row *ret_row);

/* Copies the row and its texts into a record for the owner of its run. */
void run_row_send(const struct run_row *row, unsigned text_count, struct exchange_port *port,
                  unsigned workers);

/* A row that came waits for its turn; `block` holds it. */
void row_record_wait(const struct row_record *record, struct block *block, struct order *order);

/* Sends every row with mark ok that tells of a run to the owner of its run. */
void rows_send(const struct plan *plan, struct event_batch *batch, struct exchange_port *port,
               unsigned workers);

/* Packs the next rows of a frozen copy into values of STATE_ROWS, about `budget` bytes of them; `block` is
 * the number of the next value. */
void rows_pack(const struct plan *plan, struct order_frozen *frozen, size_t budget, struct saver *saver,
               uint64_t worker, uint64_t cut, uint32_t *block);

/* Sends the rows of a value again, to the owners of now. */
enum status rows_restore(const struct plan *plan, struct span value, struct exchange_port *port,
                         unsigned workers, struct error *ret_error);

struct runs;

struct runs_figures {
    uint64_t transitions, ignored, evicted;
    size_t entries;
};

typedef void runs_emit(void *owner, const struct run_record *run); /* borrowed during the call */

struct runs *runs_new(const struct plan *plan, runs_emit *emit, void *owner);
void runs_free(struct runs *runs);

enum { ROWS_AT_ONCE = 32 };

/* Reckons the keys of up to ROWS_AT_ONCE rows that are applied next, and fetches what they will look at
 * into the cache. */
void runs_meet(const struct runs *runs, struct run_row *rows, size_t count);

/* Applies the next row in order, after it has forgotten what ended more than runs.keep before the row: that
 * begins anew, and only its id, version and first time stay known, of the last limits.runs. A transition is
 * emitted as a record and, unless `transitions` is NULL, appended to it as a row (state, duration, times,
 * texts of the run; texts copied into the batch). The batch must have room for one row. */
void runs_apply(struct runs *runs, const struct run_row *row, struct event_batch *transitions);

/* Whether the row, which runs_meet has seen, would be a transition if no other row came before it. */
bool runs_would_take(const struct runs *runs, const struct run_row *row);

/* State (base/state.h), as in windows.h: STATE_RUNS and STATE_PAST_RUNS. */
void runs_freeze(struct runs *runs, struct saver *saver);
bool runs_save(struct runs *runs, size_t budget);
enum status runs_restore(struct runs *runs, const struct state_key *key, struct span value,
                         struct error *ret_error);
void runs_restored(struct runs *runs);

void runs_figures(const struct runs *runs, struct runs_figures *ret_figures);
