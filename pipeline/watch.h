/* The built-in workflow watch: finds failures, slow and overdue runs, silent sources and missing heartbeats
 * without configuration, by what it has learned of each task, source and host. Run owners and partition sides
 * send it words; the owner of a key's shard takes them in order of time, so that no interleaving changes what
 * it says, and tells conditions to the alert owner. A word a transition, and one a second for each source and
 * each host that beats; docs/watch.md has the rules in words. */
#pragma once
#include "pipeline/order.h"
#include "pipeline/plan.h"
#include "pipeline/runs.h"

enum watch_text {
    WATCH_SOURCE,
    WATCH_NAMESPACE,
    WATCH_WORKFLOW,
    WATCH_TASK,
    WATCH_RUN,
    WATCH_RUN_NAME,
    WATCH_HOST,
    WATCH_KEPT_TEXTS,
    WATCH_ERROR = WATCH_KEPT_TEXTS,
    WATCH_URL,
    WATCH_TEXTS,
};

enum watch_sort {                    /* what a word says; the rank of words of equal time */
                  WORD_EVENTS,       /* of a source, in this second */
                  WORD_BEAT,         /* of a host, in this second */
                  WORD_OFFLINE,      /* of a host: it goes */
                  WORD_LINES,        /* a task logged so many, in half a minute */
                  WORD_CHECK_PASSED, /* of data, within a task */
                  WORD_CHECK_FAILED,
                  WORD_QUEUED,  /* of a run or task attempt, as are those that follow */
                  WORD_WAITING, /* for somebody's consent */
                  WORD_STARTED,
                  WORD_LEFT, /* it runs no longer, and there is nothing to learn from it */
                  WORD_CANCELLED,
                  WORD_RETRIED, /* it failed, and another try follows */
                  WORD_FAILED,  /* for good */
                  WORD_SUCCEEDED,
                  WORD_EXPECTED, /* WORD_FAILED may follow in its time; taken at once */
                  WORD_CHILD,    /* a run began another one, whose workflow stands as the task */
                  WORD_TEMPLATE, /* of a task's log in this second: `run`; attempt 1: of a warning or worse */
                  WORD_SORTS,
};

struct watch_word {
    struct record head;
    uint8_t sort;  /* enum watch_sort */
    bool is_child; /* another run has started it */
    bool is_first; /* nothing was said of the run before */
    uint16_t attempt;
    int32_t map_index; /* INT32_MIN absent */
    uint32_t count;    /* WORD_LINES */
    uint32_t shard;
    uint64_t version;               /* of the run; orders its words of equal time */
    struct id128 group;             /* of the workflow, source or host: chooses the shard */
    struct id128 key;               /* of the task (of all its runs), source or host */
    struct id128 run;               /* of this run or attempt; of sources and hosts the key again */
    int64_t order_us;               /* for a second: its end */
    int64_t started_us;             /* TIME_NONE absent */
    double duration_ms;             /* NaN absent */
    struct span texts[WATCH_TEXTS]; /* in the record */
};

/* Packed: on the way to another process, and in the store while it waits. Texts are borrowed from the
 * bytes. */
void watch_word_pack(const struct watch_word *word, struct buffer *out);
void watch_word_unpack(struct unpack *in, struct watch_word *ret_word);

/* Copies the word and its texts into a record for the owner of its key. */
void watch_word_send(const struct watch_word *word, struct exchange_port *port, unsigned workers);

struct watch;

struct watch_figures {
    uint64_t evicted;
    size_t entries; /* tasks, attempts that run, sources, hosts */
};

struct watch *watch_new(const struct plan *plan, struct exchange_port *port, unsigned workers);
void watch_free(struct watch *watch);

/* Partition side: says which sources and hosts the rows are of, each once a second. Words said twice, as
 * after a restart, change nothing. */
void watch_events(struct watch *watch, const struct event_batch *batch);
void watch_run(struct watch *watch, const struct run_record *run); /* run owner: a transition */

/* Run owner: a row that waits for its turn, which runs_meet has seen. When it says that a task has failed for
 * good and `runs` would take it now, a word goes ahead of the one that the transition will be; where each
 * failure is told, the alert owner is told what to expect. */
void watch_expect(struct watch *watch, const struct runs *runs, const struct run_row *row);

/* Owner side: the word is kept, with its block, until its time is passed. */
void watch_take(struct watch *watch, const struct watch_word *word, struct block *block);

/* Everything before `until_us` is known: applies the words and timers before it, in order. What a timer
 * finds beyond `firm_us` is provisional. `final`: the input has ended at until_us: applies all words, and the
 * timers that fell due up to it. */
void watch_advance(struct watch *watch, int64_t until_us, int64_t firm_us, bool final);

/* State (base/state.h), as in windows.h: STATE_WATCH in blocks by shard, STATE_WATCH_WORDS whole at every cut
 * under `worker`; `before` is the cut whose words are dropped. */
void watch_freeze(struct watch *watch, struct saver *saver, uint64_t worker, uint64_t cut, uint64_t before);
bool watch_save(struct watch *watch, size_t budget);
enum status watch_restore(struct watch *watch, const struct state_key *key, struct span value,
                          struct error *ret_error);
/* Sends the words of a value again, to the owners of now. */
enum status watch_words_restore(struct span value, struct exchange_port *port, unsigned workers,
                                struct error *ret_error);
void watch_restored(struct watch *watch, int64_t passed_us); /* all before it was advanced over */

void watch_figures(const struct watch *watch, struct watch_figures *ret_figures);
