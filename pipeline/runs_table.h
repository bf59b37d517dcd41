/* Inside of the run table: what runs.c, which applies rows, shares with rows.c and runs_state.c. Nothing else
 * includes this. */
#pragma once
#include "pipeline/runs.h"
#include "pipeline/seen.h"

enum { LIST_OPEN, LIST_FADING, LISTS };

/* A run or a task attempt. Lists run through entries by slot number: open ones by their first word; by their
 * last word those that are forgotten when nothing more is heard: the ended, and runs that only their tasks
 * tell of. */
struct run_entry {
    struct id128 key, id, parent; /* table key; document id; key of a task's run */
    struct id128 alias;           /* key of the run without its workflow; all 0 for a task */
    struct span *texts;           /* see run_texts_copy */
    uint64_t version, place;      /* place: rises along each list */
    int64_t first_us, changed_us;
    int64_t scheduled_us, queued_us, started_us, ended_us;
    double duration_ms;
    uint32_t tasks[STATE_COUNT];
    uint32_t next, previous;
    int32_t map_index;
    uint16_t attempt, attempts;
    uint8_t state, list;
    bool is_task, told, identified; /* told: a row of its own was seen; identified: id is fixed */
    bool task_failed;               /* a run: one of its tasks has failed for good */
    bool will_retry;                /* it failed, and the engine will try again */
};

struct run_list {
    uint32_t first, last;
};

struct run_alias {        /* (source, namespace, run) */
    uint32_t slot;        /* of the run last told under it */
    struct id128 unnamed; /* key of its run without a workflow's name */
};

struct run_shard {
    struct slots slots;
    struct run_entry *entries;
    size_t capacity;
    struct slots alias_slots;
    struct run_alias *aliases;
    size_t alias_capacity;
    struct run_list lists[LISTS];
    uint64_t last_place;
    struct blocks blocks; /* of entries */
    struct seen past;     /* ids of what is forgotten: count = version, end_us = first time */
};

struct runs {
    const struct plan *plan;
    runs_emit *emit;
    void *owner;
    unsigned text_count;
    uint32_t shard_limit;
    struct runs_figures figures;
    struct saver *saver;  /* of the last cut */
    unsigned next_frozen; /* shards below it have nothing frozen */
    struct run_shard shards[SHARDS];
};

extern const enum field run_text_fields[RUN_TEXTS];

/* Room for the slot; an entry is in use while it has texts. */
void run_reserve(struct run_shard *shard, uint32_t slot);

/* Puts an entry at the end of the list of its state; the caller sees to its place. */
void run_link(struct run_shard *shard, uint32_t slot);

void run_alias_set(struct runs *runs, struct run_shard *shard, const struct run_entry *entry);

/* Whether the entry is the run last told under its alias. */
bool run_is_last_told(const struct run_shard *shard, const struct run_entry *entry);

/* Forgets what has faded for longest, else what began first. */
void run_evict_oldest(struct runs *runs, struct run_shard *shard);

/* RUN_TEXTS + labels, one that shows where the last ends, and their bytes, in one allocation: a text has the
 * bytes up to the next one's, so that most changes need no other. */
struct span *run_texts_copy(const struct span *texts, unsigned count);

void run_block_save(struct runs *runs, struct run_shard *shard, uint32_t block);

/* RUN_TEXTS and the labels of now, borrowed from the bytes. */
void run_texts_unpack(struct unpack *in, const struct run_labels *labels,
                      struct span ret_texts[RUN_TEXTS + LABELS_MAX]);
