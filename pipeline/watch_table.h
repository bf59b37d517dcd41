/* Inside of the watch: what watch.c, which judges, shares with watch_words.c, which sends, and watch_state.c,
 * which stores. Nothing else but tests includes this. */
#pragma once
#include "base/slots.h"
#include "pipeline/watch.h"

enum { SECOND_US = 1000 * 1000, SPOKEN = 1024, WATCH_LAYOUT = 1 };

enum watch_entry_sort { ENTRY_TASK, ENTRY_ATTEMPT, ENTRY_SOURCE, ENTRY_HOST, ENTRY_SORTS };

/* A task (or workflow) over all its runs, an attempt that runs, a source, or a host that beats. */
struct watch_entry {
    struct id128 key, task; /* task: of an attempt, the key of its task */
    struct span *texts;     /* WATCH_KEPT_TEXTS in one allocation; NULL for a task, whose words bring them */
    uint64_t place;         /* rises along the list, which is in the order of last words; 0: not in use */
    uint32_t next, previous;
    double mean_us; /* a task's durations, a source's or host's intervals; so too what follows */
    int64_t longest_us;
    int64_t since_us;   /* an attempt began; a source or host was last heard */
    int64_t due_us;     /* the next look at it; INT64_MAX: none */
    int64_t queued_us;  /* of its timer that counts; INT64_MAX: none */
    int64_t told_us;    /* the last condition about it */
    uint32_t count;     /* durations or intervals learned */
    uint32_t overdue;   /* a task: attempts told of and still running */
    uint32_t words;     /* conditions told about it: their order at equal times */
    uint8_t sort, told; /* told: bits 1 << enum watch_rule, while the last word of the rule was true */
};

struct watch_timer {
    int64_t due_us;
    struct id128 key;
    uint32_t shard, slot;
};

struct watch_shard {
    struct slots slots;
    struct watch_entry *entries;
    size_t capacity;
    uint32_t first, last; /* the list */
    uint64_t last_place;
    struct blocks blocks;
};

struct watch {
    const struct plan *plan;
    struct exchange_port *port;
    unsigned workers;
    uint32_t shard_limit;
    struct order words;
    struct watch_timer *timers; /* a heap, the first one due in front */
    size_t timer_count, timer_capacity;
    int64_t firm_us;   /* of the advance under way */
    int64_t passed_us; /* by the advances before; words from before it were read after idle time */
    struct buffer summary;
    struct watch_figures figures;
    struct {
        struct id128 key;
        int64_t second;
    } spoken[SPOKEN]; /* lately said, by hash: another word for the same second is spared */
    struct {
        struct span source; /* as it stood in a row, valid while its batch is */
        int64_t second;
    } last_source;

    struct saver *saver; /* of the last cut */
    uint64_t saver_worker, saver_cut;
    struct order_frozen frozen_words;
    uint32_t words_block;
    unsigned next_frozen; /* shards below it have nothing frozen */
    struct watch_shard shards[SHARDS];
};

extern const char *const watch_text_names[WATCH_KEPT_TEXTS];
extern const unsigned watch_key_texts[ENTRY_SORTS]; /* bits 1 << enum watch_text: what makes the key */

/* Room for the slot. */
void watch_reserve(struct watch_shard *shard, uint32_t slot);
void watch_link(struct watch_shard *shard, uint32_t slot); /* at the end of the list */
void watch_evict_first(struct watch *watch, struct watch_shard *shard);
void watch_set_timer(struct watch *watch, struct watch_shard *shard, uint32_t slot); /* for its due_us */
struct span *watch_texts_copy(const struct span *texts);
void watch_block_save(struct watch *watch, struct watch_shard *shard, uint32_t block);
