/* The dead-letter store: messages that could not be processed or delivered, with their original bytes and the
 * reason, in one SQLite file (mode 0600, write-ahead log). What dead_letters_put has answered with STATUS_OK
 * survives a power cut. All calls from any thread: one connection behind a mutex. Errors name the file. */
#pragma once
#include "pipeline/store.h"

#define DEAD_LETTERS_LIMIT_BYTES ((int64_t)1 << 30) /* payloads, documents and texts of all letters */

struct dead_letters;

struct dead_letter {
    struct span source, topic;
    int32_t partition;
    int64_t offset;
    uint16_t item;
    const char *stage; /* decode, clean (and time), late, sink */
    struct span sink;  /* stage sink: its name */
    struct span reason;
    struct span payload;  /* the original bytes */
    struct span document; /* stage sink: what the sink was offered */
    int64_t time_us;      /* of its arrival, or now; the caller's */
};

struct stored_letter {
    int64_t id; /* never given twice */
    struct dead_letter letter;
    int64_t payload_size, document_size; /* bytes; in a list the spans themselves are empty */
};

/* Makes the file when it is missing. STATUS_FATAL: no such folder, no rights, not ours, damaged, or written
 * by a newer weir. STATUS_RETRY: locked by another process for too long. */
enum status dead_letters_open(const char *path, const struct store_options *options,
                              struct dead_letters **ret_store, struct error *ret_error);
void dead_letters_close(struct dead_letters *store);                    /* NULL is fine */
void dead_letters_set_limit(struct dead_letters *store, int64_t bytes); /* default DEAD_LETTERS_LIMIT_BYTES */

/* All letters or none, in one transaction, on disk when it returns STATUS_OK. A letter of the same (topic,
 * partition, offset, item, stage, sink) is already there: it is kept and the new one ignored. STATUS_RETRY:
 * limit reached, disk full or database busy; the caller keeps the letters and tries again. */
enum status dead_letters_put(struct dead_letters *store, const struct dead_letter *letters, size_t count,
                             struct error *ret_error);

struct dead_letters_query {
    const char *stage, *topic; /* NULL: any */
    const char *reason;        /* somewhere in it, A-Z as a-z; NULL: any */
    int64_t before;            /* only letters of smaller ids; 0: all */
    int64_t limit;             /* most letters; 0: all */
};

/* Newest first. The letter is valid during the call, which must not call into the store; false ends the list.
 */
typedef bool dead_letters_visit(void *owner, const struct stored_letter *stored);
enum status dead_letters_list(struct dead_letters *store, const struct dead_letters_query *query,
                              dead_letters_visit *visit, void *owner, struct error *ret_error);

/* STATUS_SKIP: there is none of this id. */
enum status dead_letters_get(struct dead_letters *store, int64_t id, dead_letters_visit *visit, void *owner,
                             struct error *ret_error);
enum status dead_letters_delete(struct dead_letters *store, int64_t id, struct error *ret_error);
enum status dead_letters_count(struct dead_letters *store, int64_t *ret_letters, int64_t *ret_bytes,
                               struct error *ret_error);
