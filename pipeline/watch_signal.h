/* A signal of the watch: a rule of its own name, in one file, and one line in watch_signals.c. It says of
 * which words it wants to hear, keeps what it has learned in entries of its own, and may ask to be called
 * at a time. All words of one workflow come to one place, in order of time, so what a signal does depends
 * on nothing else than those words and its timers. Nothing outside of the watch, and tests, includes this.
 *
 * To add a signal: a file watch_NAME.c with one `const struct watch_signal watch_signal_NAME`, its line in
 * watch_signals.c, a row in docs/watch.md, tests/pipeline/test_watch_NAME.c. To hear of something new: a
 * sort in enum watch_sort with its row in watch_words.c, and whoever sees it calls watch_word_send. */
#pragma once
#include "pipeline/watch_table.h"

#define WATCH_KEY_WORKFLOW (1u << WATCH_SOURCE | 1u << WATCH_NAMESPACE | 1u << WATCH_WORKFLOW)
#define WATCH_KEY_TASK     (WATCH_KEY_WORKFLOW | 1u << WATCH_TASK)
#define WATCH_KEY_SOURCE   (1u << WATCH_SOURCE)
#define WATCH_KEY_HOST     (1u << WATCH_SOURCE | 1u << WATCH_HOST)
/* Of a run or attempt: it has begun, or has ended. */
#define WATCH_WORDS_RUN                                                                                      \
    (1u << WORD_STARTED | 1u << WORD_LEFT | 1u << WORD_CANCELLED | 1u << WORD_RETRIED | 1u << WORD_FAILED |  \
     1u << WORD_SUCCEEDED)
#define WATCH_KEEP_ALL ((1u << WATCH_KEPT_TEXTS) - 1)

/* During a call of a signal. */
struct watch_scene {
    struct watch *watch;
    struct watch_shard *shard;
    const struct watch_signal *signal;
    const struct watch_word *word; /* NULL: a timer */
    int64_t now_us;                /* of the word, or when the timer was due */
    bool provisional;              /* a timer in idle time */
};

/* State without a fixed size. Bytes must follow from what was learned alone, not from how memory grew. */
struct watch_more {
    void (*free)(void *more);
    size_t (*bytes)(const void *more);
    void (*pack)(const void *more, struct buffer *out);
    void *(*unpack)(struct unpack *in); /* NULL: broken */
};

enum { WATCH_MORE_BYTES = 1 << 19 }; /* a shard; beyond it the entry not heard of for longest loses its own */

struct watch_signal {
    struct plan_watch_rule rule;
    unsigned words;  /* bits 1 << enum watch_sort: it takes these */
    unsigned key;    /* bits 1 << enum watch_text: an alert's labels, and with the rule what makes it one */
    unsigned keep;   /* likewise: texts that an entry remembers of the word that made it; the key too */
    uint16_t size;   /* of an entry's state: plain bytes, zeroed when it is new; stored as they are */
    uint8_t version; /* of the state: what is stored under another is forgotten, and learned again */
    const struct watch_more *more; /* NULL: state is all; else an entry's `more` may be set */
    void (*take)(struct watch_scene *scene);
    void (*due)(struct watch_scene *scene, struct watch_entry *entry);    /* NULL: it sets no timer */
    void (*forget)(struct watch_scene *scene, struct watch_entry *entry); /* NULL; it will be evicted */
    bool (*sound)(const void *state); /* NULL: any bytes are; what is stored may be damaged */
};

void watch_expected(struct watch *watch, const struct watch_word *word); /* WORD_EXPECTED */

extern const struct watch_signal *const watch_signals[]; /* in the order of their policies; ends with NULL */
unsigned watch_signal_count(void);
unsigned watch_signal_number(const struct watch_signal *signal); /* its place in the list */

/* The signal's entry of an id (of a word: its key, its group, its run), to be changed; made when there is
 * none. It is the one last heard of now: only the last 3 entries opened in a call are sure to be there
 * still. */
struct watch_entry *watch_open(struct watch_scene *scene, struct id128 id);

/* NULL: there is none. Another signal's may be read; what is changed is opened first. */
struct watch_entry *watch_find(const struct watch_scene *scene, const struct watch_signal *signal,
                               struct id128 id);
void watch_more_grown(struct watch_scene *scene, struct watch_entry *entry); /* after each change of `more` */
void watch_drop(struct watch_scene *scene, struct watch_entry *entry);
void watch_wake(struct watch_scene *scene, struct watch_entry *entry, int64_t due_us); /* INT64_MAX: never */

/* What a signal has to say. Summaries may name {{target}}, {{actual}}, {{usual}}, {{count}}, {{error}},
 * {{pattern}}, {{host}} and {{source}}. */
struct watch_finding {
    const struct span *texts; /* WATCH_KEPT_TEXTS; NULL: the word's, or the entry's */
    uint16_t attempt;
    double actual, usual; /* NaN absent */
    const char *unit;     /* of both; "s" gives "1.5 s" in the summary */
    uint32_t count;       /* that the usual value was learned from */
    struct span url, error, pattern;
    const char *summary;
};

/* The entry's condition, which is one alert while it holds. It is never before the last one about the entry:
 * after idle time rows may be older than what was told. */
void watch_tell(struct watch_scene *scene, struct watch_entry *entry, struct watch_finding finding);
void watch_tell_end(struct watch_scene *scene, struct watch_entry *entry, struct watch_finding finding);

/* For a condition that has no entry. `number` orders those of equal time and key. */
void watch_send(const struct watch_scene *scene, struct watch_finding finding, enum condition_outcome outcome,
                int64_t number);
