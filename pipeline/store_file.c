/* One SQLite file in write-ahead mode. Pages of 8 KiB suit values of some ten KiB without making each
 * small log row rewrite 64 KiB. Freed pages are used again, so the file stays near twice its state;
 * auto_vacuum was dropped, for its page map costs each write. Dropped too: PRAGMA user_version, since
 * the file has parts. */
#include "pipeline/store_file.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUSY_MS = 1000 };

static const char versions_sql[] =
    "CREATE TABLE IF NOT EXISTS store_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS store_totals (part TEXT PRIMARY KEY, rows INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, plain INTEGER NOT NULL) WITHOUT ROWID;";

/* The log is copied into the file each 8 MiB and cut back to 16 MiB after a transaction that was larger: a
 * small disk must hold it beside the file. */
static const char settings_sql[] = "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;"
                                   "PRAGMA wal_autocheckpoint = 1024; PRAGMA journal_size_limit = 16777216;"
                                   "PRAGMA cache_size = -8192;";

/* Disk full shows as FULL, or as IOERR when the log cannot grow; a file system that has become read-only as
 * READONLY or CANTOPEN. */
enum status store_file_report(const struct store_file *file, struct error *ret_error)
{
    const char *reason = sqlite3_errmsg(file->database);

    switch (sqlite3_extended_errcode(file->database) & 0xff) {
    case SQLITE_CORRUPT:
        return fail(ret_error, "store %s is damaged: %s", file->path, reason);
    case SQLITE_NOTADB:
        return fail(ret_error, "%s is not a weir store, or it is damaged: %s", file->path, reason);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        fail(ret_error, "store %s cannot be written: %s", file->path, reason);
        return file->opened ? STATUS_RETRY : STATUS_FATAL;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        fail(ret_error, "store %s: %s", file->path, reason);
        return STATUS_RETRY;
    default:
        return fail(ret_error, "store %s: %s", file->path, reason);
    }
}

enum status store_file_run(struct store_file *file, const char *sql, struct error *ret_error)
{
    if (sqlite3_exec(file->database, sql, NULL, NULL, NULL) == SQLITE_OK)
        return STATUS_OK;
    return store_file_report(file, ret_error);
}

enum status store_file_prepare(struct store_file *file, const char *sql, sqlite3_stmt **ret_statement,
                               struct error *ret_error)
{
    if (sqlite3_prepare_v3(file->database, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL) ==
        SQLITE_OK)
        return STATUS_OK;
    return store_file_report(file, ret_error);
}

enum status store_file_step(struct store_file *file, sqlite3_stmt *statement, struct error *ret_error)
{
    enum status status = STATUS_OK;

    if (sqlite3_step(statement) != SQLITE_DONE)
        status = store_file_report(file, ret_error);
    sqlite3_reset(statement);
    return status;
}

/* Said only when it changes: each PRAGMA is parsed anew. */
static enum status set_sync(struct store_file *file, enum store_sync sync, struct error *ret_error)
{
    static const char *const sql[] = {[STORE_SYNC_OFF] = "PRAGMA synchronous = OFF",
                                      [STORE_SYNC_NORMAL] = "PRAGMA synchronous = NORMAL",
                                      [STORE_SYNC_FULL] = "PRAGMA synchronous = FULL"};
    enum status status = STATUS_OK;

    if (file->sync != sync)
        status = store_file_run(file, sql[sync], ret_error);
    if (status == STATUS_OK)
        file->sync = sync;
    return status;
}

enum status store_file_begin(struct store_file *file, bool durable, struct error *ret_error)
{
    enum store_sync sync = file->mirror ? STORE_SYNC_OFF : durable ? STORE_SYNC_FULL : STORE_SYNC_NORMAL;
    enum status status = set_sync(file, sync, ret_error);

    return status == STATUS_OK ? store_file_run(file, "BEGIN IMMEDIATE", ret_error) : status;
}

enum status store_file_end(struct store_file *file, enum status status, struct error *ret_error)
{
    if (status == STATUS_OK)
        status = store_file_run(file, "COMMIT", ret_error);
    if (!sqlite3_get_autocommit(file->database)) /* some errors have rolled back already */
        sqlite3_exec(file->database, "ROLLBACK", NULL, NULL, NULL);
    if (status == STATUS_RETRY) /* on a full disk the log's own room is free again once it is copied */
        sqlite3_wal_checkpoint_v2(file->database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return status;
}

enum status store_file_total(struct store_file *file, sqlite3_stmt *statement, const char *part,
                             struct store_total *ret_total, struct error *ret_error)
{
    enum status status = STATUS_OK;

    sqlite3_bind_text(statement, 1, part, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret_total = (struct store_total){.rows = sqlite3_column_int64(statement, 0),
                                          .bytes = sqlite3_column_int64(statement, 1),
                                          .plain_bytes = sqlite3_column_int64(statement, 2)};
    else if (code == SQLITE_DONE)
        status = fail(ret_error, "store %s is damaged: the total of %s is missing", file->path, part);
    else
        status = store_file_report(file, ret_error);
    sqlite3_reset(statement);
    return status;
}

static enum status query_number(struct store_file *file, const char *sql, const char *name, int *ret_number,
                                struct error *ret_error)
{
    sqlite3_stmt *statement;
    enum status status = store_file_prepare(file, sql, &statement, ret_error);

    if (status != STATUS_OK)
        return status;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        *ret_number = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
    else
        status = store_file_report(file, ret_error);
    sqlite3_finalize(statement);
    return status;
}

static enum status read_version(struct store_file *file, const struct store_part *part, int *ret_version,
                                struct error *ret_error)
{
    enum status status = query_number(file, "SELECT version FROM store_versions WHERE part = ?1", part->name,
                                      ret_version, ret_error);

    if (status == STATUS_OK && *ret_version > part->version)
        return fail(ret_error, "%s was written by a newer weir (%s version %d; this weir reads %d)",
                    file->path, part->name, *ret_version, part->version);
    return status;
}

static enum status upgrade_part(struct store_file *file, const struct store_part *part,
                                struct error *ret_error)
{
    int version = 0;
    enum status status = read_version(file, part, &version, ret_error);

    for (; status == STATUS_OK && version < part->version; version++)
        status = store_file_run(file, part->upgrades[version], ret_error);
    if (status != STATUS_OK)
        return status;
    char *sql = sqlite3_mprintf("INSERT INTO store_versions VALUES (%Q, %d) ON CONFLICT (part) DO UPDATE SET"
                                " version = excluded.version",
                                part->name, part->version);
    status = store_file_run(file, sql, ret_error);
    sqlite3_free(sql);
    return status;
}

static enum status upgrade(struct store_file *file, const struct store_part *parts, size_t count,
                           struct error *ret_error)
{
    enum status status = store_file_begin(file, true, ret_error);

    if (status == STATUS_OK)
        status = store_file_run(file, versions_sql, ret_error);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = upgrade_part(file, &parts[i], ret_error);
    return store_file_end(file, status, ret_error);
}

/* Looks first: a second connection beside a running pipeline needs no write lock to open. */
static enum status check_parts(struct store_file *file, const struct store_options *options,
                               const struct store_part *parts, size_t count, struct error *ret_error)
{
    int known = 0, version = 0;
    enum status status = query_number(file, "SELECT 1 FROM sqlite_schema WHERE name = ?1", "store_versions",
                                      &known, ret_error);

    if (status != STATUS_OK)
        return status;
    if (!known && (options->must_exist || options->read_only))
        return fail(ret_error, "%s is not a weir store", file->path);
    bool older = !known;
    for (size_t i = 0; known && i < count; i++) {
        if ((status = read_version(file, &parts[i], &version, ret_error)) != STATUS_OK)
            return status;
        older = older || version < parts[i].version;
    }
    if (!older)
        return STATUS_OK;
    if (options->read_only)
        return fail(ret_error, "%s is of an older weir, or was never run; `weir run` brings it up to date",
                    file->path);
    return upgrade(file, parts, count, ret_error);
}

/* SQLite would make the file with the umask's mode. An existing file is not opened here: closing it again
 * would drop the locks that another connection of this process holds on it. */
static enum status prepare_path(const char *path, const struct store_options *options,
                                struct error *ret_error)
{
    if (!options->must_exist && !options->read_only) {
        int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        if (file < 0 && errno != EEXIST)
            return fail(ret_error, "cannot create %s: %s", path, strerror(errno));
        if (file >= 0)
            close(file);
    }
    if (faccessat(AT_FDCWD, path, options->read_only ? R_OK : R_OK | W_OK, AT_EACCESS) != 0)
        return fail(ret_error, "cannot open %s: %s", path, strerror(errno));
    return STATUS_OK;
}

void store_file_remove(const char *path, const struct store_options *options)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    sqlite3_vfs *vfs = sqlite3_vfs_find(options->vfs);
    char name[4096];

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (snprintf(name, sizeof name, "%s%s", path, ends[i]) < (int)sizeof name)
            vfs->xDelete(vfs, name, 0);
}

enum status store_file_open(struct store_file *file, const char *path, const struct store_options *options,
                            const struct store_part *parts, size_t count, struct error *ret_error)
{
    int flags = SQLITE_OPEN_NOMUTEX | (options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);

    *file = (struct store_file){.mirror = options->mirror};
    if (options->vfs)
        flags |= options->must_exist || options->read_only ? 0 : SQLITE_OPEN_CREATE;
    else if (prepare_path(path, options, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    file->path = memory_text(path, strlen(path));
    enum status status = STATUS_OK;
    if (sqlite3_open_v2(path, &file->database, flags, options->vfs) != SQLITE_OK)
        status = store_file_report(file, ret_error);
    sqlite3_busy_timeout(file->database, BUSY_MS);
    sqlite3_extended_result_codes(file->database, 1);
    if (status == STATUS_OK && !options->read_only)
        status = store_file_run(file, settings_sql, ret_error);
    if (status == STATUS_OK)
        status = check_parts(file, options, parts, count, ret_error);
    if (status != STATUS_OK)
        store_file_close(file);
    file->opened = status == STATUS_OK;
    return status;
}

void store_file_close(struct store_file *file)
{
    int code = sqlite3_close(file->database);

    assert(code == SQLITE_OK);
    (void)code;
    free(file->path);
    *file = (struct store_file){0};
}

struct store_row store_row_begin(sqlite3_stmt *statement, const char *table)
{
    return (struct store_row){.statement = statement, .checksum = hash_bytes(table, strlen(table), 0)};
}

static void add_number(struct store_row *row, uint64_t number)
{
    row->checksum = hash_bytes(&number, sizeof number, row->checksum);
    row->column++;
}

static void add_bytes(struct store_row *row, struct span bytes)
{
    uint64_t start = hash_bytes(&bytes.size, sizeof bytes.size, row->checksum);

    row->checksum = hash_bytes(bytes.data, bytes.size, start);
    row->column++;
}

void store_row_put_number(struct store_row *row, uint64_t number)
{
    add_number(row, number);
    sqlite3_bind_int64(row->statement, row->column, (int64_t)number);
    if (row->copy)
        pack_u64(row->copy, number);
}

/* SQLite takes a NULL pointer for NULL; an absent text here is an empty one. */
void store_row_put_text(struct store_row *row, struct span text)
{
    add_bytes(row, text);
    sqlite3_bind_text64(row->statement, row->column, text.size ? text.data : "", text.size, SQLITE_STATIC,
                        SQLITE_UTF8);
    if (row->copy)
        pack_text(row->copy, text);
}

void store_row_put_bytes(struct store_row *row, struct span bytes)
{
    add_bytes(row, bytes);
    sqlite3_bind_blob64(row->statement, row->column, bytes.size ? bytes.data : "", bytes.size, SQLITE_STATIC);
    if (row->copy)
        pack_text(row->copy, bytes);
}

void store_row_put_id(struct store_row *row, struct id128 id)
{
    store_row_put_number(row, id.high);
    store_row_put_number(row, id.low);
}

void store_row_put_end(struct store_row *row)
{
    sqlite3_bind_int64(row->statement, row->column + 1, (int64_t)row->checksum);
}

uint64_t store_row_number(struct store_row *row)
{
    uint64_t number = (uint64_t)sqlite3_column_int64(row->statement, row->column);

    add_number(row, number);
    return number;
}

struct span store_row_bytes(struct store_row *row)
{
    const void *data = sqlite3_column_blob(row->statement, row->column);
    struct span bytes = span_make(data, (size_t)sqlite3_column_bytes(row->statement, row->column));

    add_bytes(row, bytes);
    return bytes;
}

struct id128 store_row_id(struct store_row *row)
{
    struct id128 id = {.high = store_row_number(row)};

    id.low = store_row_number(row);
    return id;
}

bool store_row_good(struct store_row *row)
{
    return (uint64_t)sqlite3_column_int64(row->statement, row->column) == row->checksum;
}

bool store_row_check(sqlite3_stmt *statement, const char *table)
{
    struct store_row row = store_row_begin(statement, table);
    int last = sqlite3_column_count(statement) - 1;

    while (row.column < last)
        if (sqlite3_column_type(statement, row.column) == SQLITE_INTEGER)
            store_row_number(&row);
        else
            store_row_bytes(&row);
    return store_row_good(&row);
}
