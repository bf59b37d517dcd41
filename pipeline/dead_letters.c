/* Dead letters in SQLite. Rare by nature: a transaction with a sync takes some milliseconds, so callers hand
 * over what one batch or one bulk refused. Triggers keep the totals, so that the limit holds when `weir
 * dead-letters delete` works beside a running pipeline, and no open has to scan a gigabyte. Dropped: PRAGMA
 * user_version and max_page_count, since the file may hold other parts of the store. */
#include "pipeline/dead_letters.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 1, BUSY_MS = 1000 };

struct dead_letters {
    sqlite3 *database;
    sqlite3_stmt *insert, *totals;
    pthread_mutex_t mutex;
    char *path;
    int64_t limit_bytes;
};

// clang-format off
/* Bytes, also of texts with null bytes in them, where length(text) would stop. */
#define SIZE_OF(row) \
    "length(" row ".payload) + length(" row ".document) + length(CAST(" row ".reason AS BLOB))" \
    " + length(CAST(" row ".source AS BLOB)) + length(CAST(" row ".topic AS BLOB))"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS store_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO store_versions VALUES ('dead_letters', 1) ON CONFLICT DO NOTHING;"
    "CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " source TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " item INTEGER NOT NULL, stage TEXT NOT NULL, sink TEXT NOT NULL, reason TEXT NOT NULL, time_us INTEGER NOT NULL,"
    " payload BLOB NOT NULL, document BLOB NOT NULL,"
    " UNIQUE (topic, partition, offset, item, stage, sink));"
    "CREATE TABLE IF NOT EXISTS dead_letter_totals (one INTEGER PRIMARY KEY CHECK (one = 1),"
    " letters INTEGER NOT NULL, bytes INTEGER NOT NULL);"
    "INSERT INTO dead_letter_totals VALUES (1, 0, 0) ON CONFLICT DO NOTHING;"
    "CREATE TRIGGER IF NOT EXISTS dead_letter_added AFTER INSERT ON dead_letters BEGIN"
    " UPDATE dead_letter_totals SET letters = letters + 1, bytes = bytes + " SIZE_OF("new") "; END;"
    "CREATE TRIGGER IF NOT EXISTS dead_letter_removed AFTER DELETE ON dead_letters BEGIN"
    " UPDATE dead_letter_totals SET letters = letters - 1, bytes = bytes - " SIZE_OF("old") "; END;";
// clang-format on

static const char insert_sql[] =
    "INSERT INTO dead_letters (source, topic, partition, offset, item, stage, sink, reason, time_us, payload,"
    " document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    " ON CONFLICT (topic, partition, offset, item, stage, sink) DO NOTHING";

/* What a SQLite error means for the caller. Disk full shows as FULL, or as IOERR when the log cannot grow. */
static enum status report(const struct dead_letters *store, struct error *ret_error)
{
    int code = sqlite3_extended_errcode(store->database) & 0xff;
    const char *reason = sqlite3_errmsg(store->database);

    switch (code) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        fail(ret_error, "dead-letter store %s: %s", store->path, reason);
        return STATUS_RETRY;
    case SQLITE_CORRUPT:
        return fail(ret_error, "dead-letter store %s is damaged: %s", store->path, reason);
    case SQLITE_NOTADB:
        return fail(ret_error, "%s is not a weir store, or it is damaged: %s", store->path, reason);
    default:
        return fail(ret_error, "dead-letter store %s: %s", store->path, reason);
    }
}

static enum status run(struct dead_letters *store, const char *sql, struct error *ret_error)
{
    if (sqlite3_exec(store->database, sql, NULL, NULL, NULL) == SQLITE_OK)
        return STATUS_OK;
    return report(store, ret_error);
}

static void undo(struct dead_letters *store)
{
    if (!sqlite3_get_autocommit(store->database)) /* some errors have rolled back already */
        sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
}

static enum status prepare(struct dead_letters *store, const char *sql, sqlite3_stmt **ret_statement,
                           struct error *ret_error)
{
    if (sqlite3_prepare_v2(store->database, sql, -1, ret_statement, NULL) == SQLITE_OK)
        return STATUS_OK;
    return report(store, ret_error);
}

static enum status check_version(struct dead_letters *store, struct error *ret_error)
{
    sqlite3_stmt *statement = NULL;
    enum status status = prepare(store, "SELECT version FROM store_versions WHERE part = 'dead_letters'",
                                 &statement, ret_error);

    if (status != STATUS_OK)
        return status;
    if (sqlite3_step(statement) != SQLITE_ROW)
        status = fail(ret_error, "%s holds no dead letters", store->path);
    else if (sqlite3_column_int(statement, 0) != SCHEMA_VERSION)
        status = fail(ret_error, "%s has version %d of the dead-letter store; this weir reads version %d",
                      store->path, sqlite3_column_int(statement, 0), SCHEMA_VERSION);
    sqlite3_finalize(statement);
    return status;
}

static enum status set_up(struct dead_letters *store, bool create, struct error *ret_error)
{
    enum status status;

    sqlite3_busy_timeout(store->database, BUSY_MS);
    sqlite3_extended_result_codes(store->database, 1);
    status = run(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", ret_error);
    if (status == STATUS_OK && create) {
        status = run(store, "BEGIN IMMEDIATE", ret_error);
        if (status == STATUS_OK)
            status = run(store, schema, ret_error);
        if (status == STATUS_OK)
            status = run(store, "COMMIT", ret_error);
        undo(store);
    }
    if (status == STATUS_OK)
        status = check_version(store, ret_error);
    if (status == STATUS_OK)
        status = prepare(store, insert_sql, &store->insert, ret_error);
    if (status == STATUS_OK)
        status = prepare(store, "SELECT letters, bytes FROM dead_letter_totals", &store->totals, ret_error);
    return status;
}

/* SQLite would make the file with the umask's mode. An existing file is not opened here: closing it again
 * would drop the locks that another connection of this process holds on it. */
static enum status create_file(const char *path, struct error *ret_error)
{
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (file < 0 && errno != EEXIST)
        return fail(ret_error, "cannot create %s: %s", path, strerror(errno));
    if (file >= 0)
        close(file);
    return STATUS_OK;
}

static enum status open_store(const char *path, bool create, struct dead_letters **ret_store,
                              struct error *ret_error)
{
    if (create && create_file(path, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (access(path, R_OK | W_OK) != 0)
        return fail(ret_error, "cannot open %s: %s", path, strerror(errno));

    struct dead_letters *store = memory_new(sizeof *store);
    store->path = memory_text(path, strlen(path));
    store->limit_bytes = DEAD_LETTERS_LIMIT_BYTES;
    pthread_mutex_init(&store->mutex, NULL);
    int code = sqlite3_open_v2(path, &store->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    enum status status = code == SQLITE_OK ? set_up(store, create, ret_error) : report(store, ret_error);
    if (status != STATUS_OK) {
        dead_letters_close(store);
        return status;
    }
    *ret_store = store;
    return STATUS_OK;
}

enum status dead_letters_open(const char *path, struct dead_letters **ret_store, struct error *ret_error)
{
    return open_store(path, true, ret_store, ret_error);
}

enum status dead_letters_open_existing(const char *path, struct dead_letters **ret_store,
                                       struct error *ret_error)
{
    return open_store(path, false, ret_store, ret_error);
}

void dead_letters_close(struct dead_letters *store)
{
    if (!store)
        return;
    sqlite3_finalize(store->insert);
    sqlite3_finalize(store->totals);
    sqlite3_close(store->database);
    pthread_mutex_destroy(&store->mutex);
    free(store->path);
    free(store);
}

void dead_letters_set_limit(struct dead_letters *store, int64_t bytes)
{
    pthread_mutex_lock(&store->mutex);
    store->limit_bytes = bytes;
    pthread_mutex_unlock(&store->mutex);
}

/* SQLite takes a NULL pointer for NULL; an absent text here is an empty one. */
static void bind_text(sqlite3_stmt *statement, int place, struct span text)
{
    sqlite3_bind_text64(statement, place, text.size ? text.data : "", text.size, SQLITE_STATIC, SQLITE_UTF8);
}

static void bind_bytes(sqlite3_stmt *statement, int place, struct span bytes)
{
    sqlite3_bind_blob64(statement, place, bytes.size ? bytes.data : "", bytes.size, SQLITE_STATIC);
}

static enum status insert(struct dead_letters *store, const struct dead_letter *letter,
                          struct error *ret_error)
{
    sqlite3_stmt *statement = store->insert;

    assert(letter->stage);
    bind_text(statement, 1, letter->source);
    bind_text(statement, 2, letter->topic);
    sqlite3_bind_int(statement, 3, letter->partition);
    sqlite3_bind_int64(statement, 4, letter->offset);
    sqlite3_bind_int(statement, 5, letter->item);
    bind_text(statement, 6, span_of(letter->stage));
    bind_text(statement, 7, letter->sink);
    bind_text(statement, 8, letter->reason);
    sqlite3_bind_int64(statement, 9, letter->time_us);
    bind_bytes(statement, 10, letter->payload);
    bind_bytes(statement, 11, letter->document);
    int code = sqlite3_step(statement);
    enum status status = code == SQLITE_DONE ? STATUS_OK : report(store, ret_error);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum status read_totals(struct dead_letters *store, int64_t *ret_letters, int64_t *ret_bytes,
                               struct error *ret_error)
{
    enum status status = STATUS_OK;

    if (sqlite3_step(store->totals) == SQLITE_ROW) {
        *ret_letters = sqlite3_column_int64(store->totals, 0);
        *ret_bytes = sqlite3_column_int64(store->totals, 1);
    } else {
        status = report(store, ret_error);
    }
    sqlite3_reset(store->totals);
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
         store->path, (long long)letters, (long long)bytes, (long long)store->limit_bytes);
    return STATUS_RETRY;
}

static enum status put_all(struct dead_letters *store, const struct dead_letter *letters, size_t count,
                           struct error *ret_error)
{
    int64_t letters_before, bytes_before = 0;
    enum status status = run(store, "BEGIN IMMEDIATE", ret_error);

    if (status == STATUS_OK)
        status = read_totals(store, &letters_before, &bytes_before, ret_error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = insert(store, &letters[i], ret_error);
    if (status == STATUS_OK)
        status = check_limit(store, bytes_before, ret_error);
    if (status == STATUS_OK)
        status = run(store, "COMMIT", ret_error);
    undo(store);
    return status;
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

static struct span column_span(sqlite3_stmt *statement, int column)
{
    const void *bytes = sqlite3_column_blob(statement, column); /* texts too: they may hold null bytes */

    return span_make(bytes, (size_t)sqlite3_column_bytes(statement, column));
}

#define LETTER_COLUMNS                                                                                       \
    "id, source, topic, partition, offset, item, stage, sink, reason, time_us, length(payload), "            \
    "length(document)"

/* Column 12 and 13, the bytes themselves, are there only for dead_letters_get. */
static void read_letter(sqlite3_stmt *statement, bool whole, struct stored_letter *ret_stored)
{
    *ret_stored = (struct stored_letter){
        .id = sqlite3_column_int64(statement, 0),
        .letter =
            {
                .source = column_span(statement, 1),
                .topic = column_span(statement, 2),
                .partition = sqlite3_column_int(statement, 3),
                .offset = sqlite3_column_int64(statement, 4),
                .item = (uint16_t)sqlite3_column_int(statement, 5),
                .stage = (const char *)sqlite3_column_text(statement, 6),
                .sink = column_span(statement, 7),
                .reason = column_span(statement, 8),
                .time_us = sqlite3_column_int64(statement, 9),
                .payload = whole ? column_span(statement, 12) : (struct span){0},
                .document = whole ? column_span(statement, 13) : (struct span){0},
            },
        .payload_size = sqlite3_column_int64(statement, 10),
        .document_size = sqlite3_column_int64(statement, 11),
    };
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

        read_letter(statement, whole, &stored);
        ++*ret_visited;
        more = visit(owner, &stored);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = report(store, ret_error);
    sqlite3_finalize(statement);
    return status;
}

enum status dead_letters_list(struct dead_letters *store, const struct dead_letters_query *query,
                              dead_letters_visit *visit, void *owner, struct error *ret_error)
{
    sqlite3_stmt *statement = NULL;
    size_t visited;

    pthread_mutex_lock(&store->mutex);
    enum status status =
        prepare(store,
                "SELECT " LETTER_COLUMNS " FROM dead_letters WHERE (?1 IS NULL OR stage = ?1)"
                " AND (?2 IS NULL OR topic = ?2) ORDER BY id DESC LIMIT ?3",
                &statement, ret_error);
    if (status == STATUS_OK) {
        sqlite3_bind_text(statement, 1, query->stage, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, query->topic, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3, query->limit > 0 ? query->limit : -1);
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
    enum status status =
        prepare(store, "SELECT " LETTER_COLUMNS ", payload, document FROM dead_letters WHERE id = ?1",
                &statement, ret_error);
    if (status == STATUS_OK) {
        sqlite3_bind_int64(statement, 1, id);
        status = visit_rows(store, statement, true, visit, owner, &visited, ret_error);
    }
    if (status == STATUS_OK && visited == 0) {
        fail(ret_error, "%s has no dead letter %lld", store->path, (long long)id);
        status = STATUS_SKIP;
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

enum status dead_letters_delete(struct dead_letters *store, int64_t id, struct error *ret_error)
{
    sqlite3_stmt *statement = NULL;

    pthread_mutex_lock(&store->mutex);
    enum status status = prepare(store, "DELETE FROM dead_letters WHERE id = ?1", &statement, ret_error);
    if (status == STATUS_OK) {
        sqlite3_bind_int64(statement, 1, id);
        if (sqlite3_step(statement) != SQLITE_DONE) {
            status = report(store, ret_error);
        } else if (sqlite3_changes(store->database) == 0) {
            fail(ret_error, "%s has no dead letter %lld", store->path, (long long)id);
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
