/* A source gives messages by partition. One instance a worker: worker w of n reads the partitions i with
 * i mod n = w. Nothing here blocks; all calls come from the worker's thread. One file a source, one line
 * in the list in sources.c. */
#pragma once
#include "ingest/format.h"

#define OFFSET_NONE INT64_MIN /* no committed offset */

struct source;

struct source_context {
    const char *name; /* of the configuration */
    unsigned worker, workers;
    const struct node *node; /* for error messages and paths */
    const char *group;       /* consumer group instead of the source's setting; NULL: the setting */
    bool once;               /* stop at the confirmed end instead of waiting for more */
    bool receives;           /* the time of reading counts where a message has no other arrival: no replay */
    /* One line for people; may be called from any of the source's calls. */
    void (*warn)(void *owner, const char *text);
    void *owner;
    /* Where the pipeline's own store says to read on, asked once for each partition when it is found,
     * before its first poll; OFFSET_NONE: it does not know the partition, and the source decides. With
     * `can_repeat` it is the lowest offset that is still owed something, else the first that was not read.
     * May be NULL. */
    int64_t (*resume)(void *resume_owner, const char *topic, int32_t partition, bool can_repeat);
    /* Each note of this source that the store has, for sources that write some; asked like resume. May be
     * NULL. */
    void (*recall)(void *resume_owner, void (*take)(void *owner, struct span topic, struct span note),
                   void *owner);
    void *resume_owner;
};

enum { SOURCE_NOTE_MAX = 40000 };

struct source_partition {
    const char *topic;    /* topic, or path of the file; lives as long as the source */
    int32_t partition;    /* number in the topic */
    int64_t committed;    /* where to read on: kept by the source; OFFSET_NONE when nothing is kept */
    struct span metadata; /* text stored with the committed offset by commit(); empty when none */
    /* The file or topic has become shorter than where it was to be read on, so what comes from now on has
     * offsets that older messages had. May be set by advance and poll. */
    bool anew;
    struct span note; /* what the source must know of it after a restart, at most SOURCE_NOTE_MAX bytes: kept
                       * with the offsets of each cut. Valid until the next advance or poll */
    bool passing;     /* what was polled cannot be polled again, not even by another process: a pipe */
};

enum poll_state {
    POLL_MORE,        /* there may be more at once */
    POLL_END,         /* confirmed end for now: everything written so far has been given */
    POLL_UNREACHABLE, /* cannot tell: the broker or file cannot be read at present */
    POLL_DONE,        /* nothing will ever come again (end of a file, of stdin; never Kafka unless `once`) */
};

struct source_type {
    const char *name, *help;
    const struct option *options;
    size_t option_count, settings_size;
    const char *const *labels; /* what its messages have under `labels`; ends with NULL; may be NULL */

    /* At load: what the option rows cannot tell of the settings. `context` has a name and a node, nothing
     * else. NULL: nothing. */
    enum status (*check)(const void *settings, const struct source_context *context, struct error *ret_error);

    /* Takes over nothing; `settings` outlive the source and are checked. */
    enum status (*open)(const void *settings, const struct source_context *context,
                        struct source **ret_source, struct error *ret_error);

    /* False while the partitions are not known yet (broker not reached): nothing may be closed before that.
     * NULL: always known. */
    bool (*ready)(const struct source *source);

    /* With `once`: why there is nothing to read at all (a topic that does not exist); NULL: all is well. */
    const char *(*refusal)(const struct source *source);

    /* Without `once` more may always come, even from partitions that do not exist yet. NULL: never. */
    bool (*endless)(const void *settings);

    /* With `receives` each message has an arrival. NULL: always. */
    bool (*dates)(const void *settings);

    /* Drives connections and timers. New partitions of this worker may appear: `count` only grows. */
    void (*advance)(struct source *source, int64_t now_us);
    size_t (*partition_count)(const struct source *source); /* of this worker */
    const struct source_partition *(*partition)(const struct source *source, size_t index);

    /* Up to `limit` messages in offset order; payloads stay valid until release. */
    size_t (*poll)(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                   enum poll_state *ret_state);
    void (*release)(struct source *source, size_t index, struct message *messages, size_t count);

    /* Everything below `offset` of the partition need not be read again. NULL where there is nothing to
     * keep. */
    void (*commit)(struct source *source, size_t index, int64_t offset, struct span metadata);

    /* Highest offset known to exist + 1, for lag; -1 unknown. May be NULL. */
    int64_t (*high_offset)(const struct source *source, size_t index);
    /* Flushes commits, waiting at most a few seconds. All messages are released before. */
    void (*close)(struct source *source);

    /* For `weir check --connect`, without an open source: asks whether it could be read, some seconds at
     * most, and tells a line for each thing it found. NULL: nothing is far away. */
    void (*probe)(const void *settings, const struct source_context *context, report_line *tell, void *owner);
};

extern const struct source_type *const source_types[]; /* ends with NULL */
const struct source_type *source_type_find(const char *name);
