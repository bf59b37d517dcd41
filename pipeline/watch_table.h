/* Inside of the watch: the table of entries, which watch.c keeps, watch_words.c fills with words and
 * watch_state.c stores. Nothing else but signals and tests includes this. */
#pragma once
#include "base/slots.h"
#include "detectors/skeleton.h"
#include "pipeline/watch.h"

enum { SECOND_US = 1000 * 1000, SPOKEN = 1024, WATCH_LAYOUT = 2, WATCH_LAYOUT_BEFORE = 1 };
enum { WATCH_LINE_BYTES = SKELETON_BYTES_MAX + 3 * SKELETON_TOKENS_MAX };

/* What one signal has learned of one thing: a task over all its runs, an attempt that runs, a source, a
 * host. */
struct watch_entry {
    struct id128 key; /* in the table: the id and the signal */
    struct id128 id;  /* of the words */
    uint64_t place;   /* rises along the list, which is in the order of last words */
    uint32_t slot, next, previous;
    uint32_t words;      /* conditions told about it: their order at equal times */
    int64_t due_us;      /* the next look at it; INT64_MAX: none */
    int64_t queued_us;   /* of its timer that counts; INT64_MAX: none */
    int64_t told_us;     /* the last condition about it */
    uint8_t signal;      /* in watch_signals */
    bool told;           /* the last condition was true */
    uint32_t more_bytes; /* of `more`, as watch_more_grown was last told */
    void *more;          /* the signal's, when its state has no fixed size; NULL: none */
    struct span texts[WATCH_KEPT_TEXTS];
    _Alignas(16) char state[]; /* the signal's; the texts' bytes behind it */
};

struct watch_timer {
    int64_t due_us;
    struct id128 key;
    uint32_t shard, slot;
};

struct watch_shard {
    struct slots slots;
    struct watch_entry **entries; /* by slot; NULL: not in use */
    size_t capacity;
    uint32_t first, last; /* the list */
    uint64_t last_place;
    size_t more_bytes; /* of all entries */
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

/* The template of a log line of a task by its skeleton, with the names (WATCH_TEXTS) as values too. Into
 * WATCH_LINE_BYTES. */
struct span watch_line_template(struct span line, const struct span *names, char *text);

extern const char *const watch_text_names[WATCH_KEPT_TEXTS];

/* A new entry, without place; `texts` are copied. Its slot is the caller's to give. */
struct watch_entry *watch_entry_new(unsigned signal, struct id128 id, const struct span *texts);
struct id128 watch_entry_key(unsigned signal, struct id128 id);
void watch_entry_free(struct watch_entry *entry); /* NULL does nothing */
void watch_reserve(struct watch_shard *shard, uint32_t slot);
void watch_link(struct watch_shard *shard, struct watch_entry *entry); /* at the end of the list */
void watch_evict_first(struct watch *watch, struct watch_shard *shard);
void watch_set_timer(struct watch *watch, struct watch_shard *shard, struct watch_entry *entry);
void watch_block_save(struct watch *watch, struct watch_shard *shard, uint32_t block);
