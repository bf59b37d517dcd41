/* Dead letters in SQLite. Rare by nature: a transaction with a sync takes some milliseconds, so callers hand
 * over what one batch or one bulk refused. The file may hold other parts of the store. */
#include "pipeline/dead_letters.h"

#include "base/memory.h"
#include "pipeline/store_file.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct dead_letters {
    struct store_file file;
    sqlite3_stmt *insert, *totals;
    pthread_mutex_t mutex;
    int64_t limit_bytes;
};

// clang-format off
/* Bytes, also of texts with null bytes in them, where length(text) would stop. */
#define SIZE_OF(row) \
    "length(" row ".payload) + length(" row ".document) + length(CAST(" row ".reason AS BLOB))" \
    " + length(CAST(" row ".source AS BLOB)) + length(CAST(" row ".topic AS BLOB))"

static const char *const upgrades[] = {
    "CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " source TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " item INTEGER NOT NULL, stage TEXT NOT NULL, sink TEXT NOT NULL, reason TEXT NOT NULL, time_us INTEGER NOT NULL,"
    " payload BLOB NOT NULL, document BLOB NOT NULL,"
    " UNIQUE (topic, partition, offset, item, stage, sink));"
    "CREATE TABLE dead_letter_totals (one INTEGER PRIMARY KEY CHECK (one = 1),"
    " letters INTEGER NOT NULL, bytes INTEGER NOT NULL);"
    "INSERT INTO dead_letter_totals VALUES (1, 0, 0);"
    "CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letters BEGIN"
    " UPDATE dead_letter_totals SET letters = letters + 1, bytes = bytes + " SIZE_OF("new") "; END;"
    "CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letters BEGIN"
    " UPDATE dead_letter_totals SET letters = letters - 1, bytes = bytes - " SIZE_OF("old") "; END;",
    /* Letters of version 1 stay without a checksum; its totals went wrong with each letter deleted. */
    "ALTER TABLE dead_letters ADD COLUMN checksum INTEGER;"
    STORE_TOTALS("dead_letters", SIZE_OF, SIZE_OF)
    "UPDATE store_totals SET (rows, bytes) = (SELECT count(*), coalesce(sum(" SIZE_OF("dead_letters") "), 0)"
    " FROM dead_letters), plain = 0 WHERE part = 'dead_letters';"
    "UPDATE store_totals SET plain = bytes WHERE part = 'dead_letters';"
    "DROP TRIGGER dead_letter_added; DROP TRIGGER dead_letter_removed; DROP TABLE dead_letter_totals;",
};
static const struct store_part part = {
    .name = "dead_letters", .upgrades = upgrades, .version = sizeof upgrades / sizeof *upgrades};
// clang-format on

static const char insert_sql[] =
    "INSERT INTO dead_letters (source, topic, partition, offset, item, stage, sink, reason, time_us, payload,"
    " document, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    " ON CONFLICT (topic, partition, offset, item, stage, sink) DO NOTHING";

enum status dead_letters_open(const char *path, const struct store_options *options,
                              struct dead_letters **ret_store, struct error *ret_error)
{
    struct dead_letters *store = memory_new(sizeof *store);

    store->limit_bytes = DEAD_LETTERS_LIMIT_BYTES;
    pthread_mutex_init(&store->mutex, NULL);
    enum status status = store_file_open(&store->file, path, options, &part, 1, ret_error);
    if (status == STATUS_OK)
        status = store_file_prepare(&store->file, insert_sql, &store->insert, ret_error);
    if (status == STATUS_OK)
        status = store_file_prepare(&store->file, STORE_TOTAL_SQL, &store->totals, ret_error);
    if (status != STATUS_OK) {
        dead_letters_close(store);
        return status;
    }
    *ret_store = store;
    return STATUS_OK;
}

void dead_letters_close(struct dead_letters *store)
{
    if (!store)
        return;
    sqlite3_finalize(store->insert);
    sqlite3_finalize(store->totals);
    store_file_close(&store->file);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

void dead_letters_set_limit(struct dead_letters *store, int64_t bytes)
{
    pthread_mutex_lock(&store->mutex);
    store->limit_bytes = bytes;
    pthread_mutex_unlock(&store->mutex);
}

static enum status insert(struct dead_letters *store, const struct dead_letter *letter,
                          struct error *ret_error)
{
    struct store_row row = store_row_begin(store->insert, part.name);

    assert(letter->stage);
    store_row_put_text(&row, letter->source);
    store_row_put_text(&row, letter->topic);
    store_row_put_number(&row, (uint64_t)letter->partition);
    store_row_put_number(&row, (uint64_t)letter->offset);
    store_row_put_number(&row, letter->item);
    store_row_put_text(&row, span_of(letter->stage));
    store_row_put_text(&row, letter->sink);
    store_row_put_text(&row, letter->reason);
    store_row_put_number(&row, (uint64_t)letter->time_us);
    store_row_put_bytes(&row, letter->payload);
    store_row_put_bytes(&row, letter->document);
    store_row_put_end(&row);
    enum status status = store_file_step(&store->file, store->insert, ret_error);
    sqlite3_clear_bindings(store->insert);
    return status;
}

static enum status read_totals(struct dead_letters *store, int64_t *ret_letters, int64_t *ret_bytes,
                               struct error *ret_error)
{
    struct store_total total;
    enum status status = store_file_total(&store->file, store->totals, part.name, &total, ret_error);

    if (status == STATUS_OK) {
        *ret_letters = total.rows;
        *ret_bytes = total.bytes;
    }
    return status;
}

static enum status check_limit(struct dead_letters *store, int64_t bytes_before, struct error *ret_error)
{
    int64_t letters = 0, bytes = 0;
    enum status status = read_totals(store, &letters, &bytes, ret_error);

    if (status != STATUS_OK || bytes <= store->limit_bytes || bytes == bytes_before)
        return status;
    fail(ret_error,
         "dead-letter store %s is full: %lld letters, %lld bytes with these, limit %lld; delete letters to "
         "go on",
         store->file.path, (long long)letters, (long long)bytes, (long long)store->limit_bytes);
    return STATUS_RETRY;
}

static enum status put_all(struct dead_letters *store, const struct dead_letter *letters, size_t count,
                           struct error *ret_error)
{
    int64_t letters_before, bytes_before = 0;
    enum status status = store_file_begin(&store->file, true, ret_error);

    if (status == STATUS_OK)
        status = read_totals(store, &letters_before, &bytes_before, ret_error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = insert(store, &letters[i], ret_error);
    if (status == STATUS_OK)
        status = check_limit(store, bytes_before, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

enum status dead_letters_put(struct dead_letters *store, const struct dead_letter *letters, size_t count,
                             struct error *ret_error)
{
    if (count == 0)
        return STATUS_OK;
    pthread_mutex_lock(&store->mutex);
    enum status status = put_all(store, letters, count, ret_error);
    pthread_mutex_unlock(&store->mutex);
    return status;
}

#define LETTER_COLUMNS "source, topic, partition, offset, item, stage, sink, reason, time_us"
enum { LETTER_CHECKSUM = 11, LETTER_ID = 12 };

/* The bytes themselves are there only for dead_letters_get; in a list the columns are their lengths. */
static bool read_letter(sqlite3_stmt *statement, bool whole, struct stored_letter *ret_stored)
{
    struct store_row row = store_row_begin(statement, part.name);
    struct stored_letter stored = {.id = sqlite3_column_int64(statement, LETTER_ID)};
    struct dead_letter *letter = &stored.letter;

    letter->source = store_row_bytes(&row);
    letter->topic = store_row_bytes(&row);
    letter->partition = (int32_t)store_row_number(&row);
    letter->offset = (int64_t)store_row_number(&row);
    letter->item = (uint16_t)store_row_number(&row);
    int stage = row.column;
    store_row_bytes(&row);
    letter->stage = (const char *)sqlite3_column_text(statement, stage);
    letter->sink = store_row_bytes(&row);
    letter->reason = store_row_bytes(&row);
    letter->time_us = (int64_t)store_row_number(&row);
    if (whole) {
        letter->payload = store_row_bytes(&row);
        letter->document = store_row_bytes(&row);
        stored.payload_size = letter->payload.size;
        stored.document_size = letter->document.size;
    } else {
        stored.payload_size = (int64_t)store_row_number(&row);
        stored.document_size = (int64_t)store_row_number(&row);
    }
    *ret_stored = stored;
    return !whole || sqlite3_column_type(statement, LETTER_CHECKSUM) == SQLITE_NULL || store_row_good(&row);
}

/* Runs a prepared query to its end, then frees it. *ret_visited counts its rows. */
static enum status visit_rows(struct dead_letters *store, sqlite3_stmt *statement, bool whole,
                              dead_letters_visit *visit, void *owner, size_t *ret_visited,
                              struct error *ret_error)
{
    enum status status = STATUS_OK;
    bool more = true;
    int code = SQLITE_ROW;

    *ret_visited = 0;
    while (more && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct stored_letter stored;

        ++*ret_visited;
        if (read_letter(statement, whole, &stored))
            more = visit(owner, &stored);
        else
            status = fail(ret_error, "store %s is damaged: dead letter %lld", store->file.path,
                          (long long)stored.id);
        more = more && status == STATUS_OK;
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    sqlite3_finalize(statement);
    return status;
}

enum status dead_letters_list(struct dead_letters *store, const struct dead_letters_query *query,
                              dead_letters_visit *visit, void *owner, struct error *ret_error)
{
    sqlite3_stmt *statement = NULL;
    size_t visited;

    pthread_mutex_lock(&store->mutex);
    enum status status = store_file_prepare(
        &store->file,
        "SELECT " LETTER_COLUMNS
        ", length(payload), length(document), NULL, id FROM dead_letters WHERE (?1 IS NULL OR stage = ?1)"
        " AND (?2 IS NULL OR topic = ?2) AND (?4 = 0 OR id < ?4)"
        " AND (?5 IS NULL OR instr(lower(reason), lower(?5))) ORDER BY id DESC LIMIT ?3",
        &statement, ret_error);
    if (status == STATUS_OK) {
        sqlite3_bind_text(statement, 1, query->stage, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, query->topic, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3, query->limit > 0 ? query->limit : -1);
        sqlite3_bind_int64(statement, 4, query->before);
        sqlite3_bind_text(statement, 5, query->reason, -1, SQLITE_STATIC);
        status = visit_rows(store, statement, false, visit, owner, &visited, ret_error);
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

enum status dead_letters_get(struct dead_letters *store, int64_t id, dead_letters_visit *visit, void *owner,
                             struct error *ret_error)
{
    sqlite3_stmt *statement = NULL;
    size_t visited;

    pthread_mutex_lock(&store->mutex);
    enum status status = store_file_prepare(
        &store->file,
        "SELECT " LETTER_COLUMNS ", payload, document, checksum, id FROM dead_letters WHERE id = ?1",
        &statement, ret_error);
    if (status == STATUS_OK) {
        sqlite3_bind_int64(statement, 1, id);
        status = visit_rows(store, statement, true, visit, owner, &visited, ret_error);
    }
    if (status == STATUS_OK && visited == 0) {
        fail(ret_error, "%s has no dead letter %lld", store->file.path, (long long)id);
        status = STATUS_SKIP;
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

enum status dead_letters_delete(struct dead_letters *store, int64_t id, struct error *ret_error)
{
    sqlite3_stmt *statement = NULL;

    pthread_mutex_lock(&store->mutex);
    enum status status =
        store_file_prepare(&store->file, "DELETE FROM dead_letters WHERE id = ?1", &statement, ret_error);
    if (status == STATUS_OK) {
        sqlite3_bind_int64(statement, 1, id);
        if (sqlite3_step(statement) != SQLITE_DONE) {
            status = store_file_report(&store->file, ret_error);
        } else if (sqlite3_changes(store->file.database) == 0) {
            fail(ret_error, "%s has no dead letter %lld", store->file.path, (long long)id);
            status = STATUS_SKIP;
        }
        sqlite3_finalize(statement);
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

enum status dead_letters_count(struct dead_letters *store, int64_t *ret_letters, int64_t *ret_bytes,
                               struct error *ret_error)
{
    pthread_mutex_lock(&store->mutex);
    enum status status = read_totals(store, ret_letters, ret_bytes, ret_error);
    pthread_mutex_unlock(&store->mutex);
    return status;
}
