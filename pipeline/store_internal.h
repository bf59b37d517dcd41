/* What the files of the store share: store.c (generations), store_log.c (outbox and logs), store_verify.c. */
#pragma once
#include "pipeline/store_file.h"

#include <zstd.h>

enum store_statement {
    STATE_PUT,
    STATE_READ,
    STATE_TABLES,
    STATE_REPLACED,
    STATE_LEFT_BEHIND,
    STATE_CLEAR,
    STATE_REMOVE_OLDER,
    STATE_DROPPED,
    STATE_DROP,
    GENERATION_PUT,
    GENERATION_READ,
    TOTAL_READ,
    OUTBOX_PUT,
    OUTBOX_READ,
    OUTBOX_ACKNOWLEDGE,
    OUTBOX_CUT,
    OUTBOX_NEXT_LANE,
    NOTIFICATION_PUT,
    NOTIFICATION_REMOVE,
    NOTIFICATION_READ,
    NOTIFICATION_FORGET,
    NOTIFICATION_OLDEST,
    HISTORY_PUT,
    HISTORY_REMOVE,
    HISTORY_READ,
    HISTORY_FIND,
    HISTORY_FORGET,
    HISTORY_OLDEST,
    RUN_PUT,
    RUN_REMOVE,
    RUN_READ,
    RUN_FORGET,
    RUN_OLDEST,
    AUDIT_PUT,
    AUDIT_READ,
    AUDIT_FORGET,
    AUDIT_OLDEST,
    MIRROR_PUT, /* from here on of a mirror only */
    MIRROR_READ,
    MIRROR_REMOVE,
    STORE_STATEMENTS
};

struct replaced_value { /* older values of the key than this generation's are of no use once it is complete */
    struct state_key key;
    uint64_t generation;
};

struct store_change {          /* a journal's entry: the key is the beginning of the row */
    size_t at, key_size, size; /* in `bytes` */
    bool gone;
};

/* What a call has changed, for the journal. */
struct store_changes {
    const struct journal_type *type; /* NULL: nobody follows */
    struct journal *journal;
    struct buffer bytes;
    struct store_change *items;
    size_t count, capacity;
    uint64_t committed; /* the journal has this generation: the file may have to be asked again */
};

struct store {
    struct store_file file;
    struct store_changes changes;
    struct journal_place place; /* of a mirror; see store_journal.c */
    struct store_options options;
    sqlite3_stmt *statements[STORE_STATEMENTS];
    uint64_t generation, under_way; /* newest complete one; the one being put, 0: none */
    int64_t flipped_us;
    struct replaced_value *replaced;
    size_t replaced_count, replaced_capacity, replaced_ready; /* first those of complete generations */
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    char *compressed, *plain;
    size_t compressed_capacity, plain_capacity;
};

extern const struct store_part store_mirror_part;
extern const char *const store_mirror_sql[STORE_STATEMENTS]; /* NULL: not of a mirror */

enum { STORE_LOG_PARTS = 5, KEY_NUMBERS_MAX = 4 };
extern const struct store_part store_log_parts[STORE_LOG_PARTS];
extern const char *const store_log_sql[STORE_STATEMENTS]; /* NULL: not of a log */

/* Unpacks the value of a row of SELECT STATE_COLUMNS; until the next one. False: the row is damaged. */
#define STATE_COLUMNS "kind, owner, part, block, generation, size, value, checksum"
bool store_read_value(struct store *store, sqlite3_stmt *statement, struct span *ret_bytes);

/* A call that changes rows begins with store_changes_begin, copies each row that it puts (row.copy =
 * store_changes_row) and tells of it (store_changes_put), tells of rows that go (store_changes_gone, with
 * the numbers of the key), and at last hands all to the journal (store_changes_write): with the next
 * commit, or at once. `table` is the statement that puts its rows. Without a journal they do nothing. */
void store_changes_begin(struct store *store);
struct buffer *store_changes_row(struct store *store);
void store_changes_put(struct store *store, enum store_statement table);
void store_changes_gone(struct store *store, enum store_statement table, const uint64_t *key);
enum status store_changes_write(struct store *store, bool at_once, struct error *ret_error);
void store_changes_free(struct store *store);

/* Into store->place; all zero bytes if there is none that can be gone on from. */
enum status store_read_place(struct store *store, struct error *ret_error);

enum status store_read_generation(struct store *store, struct error *ret_error);

/* One moment of the file for several reads: begins it and learns the newest generation. */
enum status store_begin_reading(struct store *store, struct error *ret_error);

/* "TABLE with COLUMN VALUE, ..." of the first columns of a row. */
void store_name_row(sqlite3_stmt *statement, const char *table, int keys, struct error *ret_name);
enum status store_damaged_row(const struct store *store, sqlite3_stmt *statement, const char *table, int keys,
                              struct error *ret_error);

/* In a transaction of the caller's: removes some lines older than the time; some of the oldest lines. */
enum status store_log_forget(struct store *store, int64_t before_us, int *ret_removed,
                             struct error *ret_error);
enum status store_log_trim(struct store *store, int *ret_removed, struct error *ret_error);
enum status store_total_of(struct store *store, const char *part, struct store_total *ret_total,
                           struct error *ret_error);
