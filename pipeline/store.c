/* Generations of state in SQLite. Each value is a row with its generation; a value is replaced by a
 * newer row and the older one removed after the flip, so an interrupted generation leaves the one
 * before whole. A cut of a million series is some 4,000 values of 64 KiB, each compressed at zstd's
 * level 1. */
#include "pipeline/store_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { COMPRESSION_LEVEL = 1, TIDY_VALUES = 64 };

// clang-format off
#define STORED_SIZE(row) "length(" row ".value)"
#define PLAIN_SIZE(row) row ".size"

static const char *const state_upgrades[] = {
    "CREATE TABLE state (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, owner INTEGER NOT NULL,"
    " part INTEGER NOT NULL, block INTEGER NOT NULL, generation INTEGER NOT NULL, size INTEGER NOT NULL,"
    " value BLOB NOT NULL, checksum INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX state_place ON state (kind, owner, part, block, generation DESC);"
    "CREATE TABLE store_generation (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL,"
    " flipped_us INTEGER NOT NULL, checksum INTEGER NOT NULL);"
    STORE_TOTALS("state", STORED_SIZE, PLAIN_SIZE),
};

#define KEY_IS "kind = ?1 AND owner = ?2 AND part = ?3 AND block = ?4"
#define IN_ORDER " FROM state ORDER BY kind, owner, part, block, generation DESC"

static const char *const state_sql[STORE_STATEMENTS] = {
    [STATE_PUT] = "INSERT INTO state (" STATE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                  " ON CONFLICT (kind, owner, part, block, generation) DO UPDATE SET size = excluded.size,"
                  " value = excluded.value, checksum = excluded.checksum",
    [STATE_READ] = "SELECT " STATE_COLUMNS IN_ORDER,
    [STATE_TABLES] = "SELECT kind, owner, part, block, generation, size, length(value)" IN_ORDER,
    [STATE_REPLACED] = "SELECT kind, owner, part, block, max(generation) FROM state WHERE generation <= ?1"
                       " GROUP BY kind, owner, part, block HAVING count(*) > 1",
    /* By way of the index: the table's pages are full of values. */
    [STATE_LEFT_BEHIND] = "SELECT " STATE_COLUMNS " FROM state WHERE id IN (SELECT id FROM state"
                          " INDEXED BY state_place WHERE generation > ?1)",
    [STATE_CLEAR] = "DELETE FROM state WHERE id IN (SELECT id FROM state INDEXED BY state_place"
                    " WHERE generation > ?1)",
    [STATE_REMOVE_OLDER] = "DELETE FROM state WHERE " KEY_IS " AND generation < ?5",
    [STATE_DROPPED] = "SELECT block FROM state WHERE kind = ?1 AND owner = ?2 AND part = ?3 GROUP BY block"
                      " HAVING max(generation) < ?4",
    [STATE_DROP] = "DELETE FROM state WHERE kind = ?1 AND owner = ?2 AND part = ?3 AND generation < ?4",
    [GENERATION_PUT] = "INSERT OR REPLACE INTO store_generation VALUES (1, ?1, ?2, ?3)",
    [GENERATION_READ] = "SELECT generation, flipped_us, checksum FROM store_generation",
    [TOTAL_READ] = STORE_TOTAL_SQL,
};
// clang-format on

enum status store_read_generation(struct store *store, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[GENERATION_READ];
    enum status status = STATUS_OK;
    int code = sqlite3_step(statement);

    if (code == SQLITE_ROW) {
        struct store_row row = store_row_begin(statement, "store_generation");

        store->generation = store_row_number(&row);
        store->flipped_us = (int64_t)store_row_number(&row);
        if (!store_row_good(&row))
            status = fail(ret_error, "store %s is damaged: the number of its generation", store->file.path);
    } else if (code != SQLITE_DONE) {
        status = store_file_report(&store->file, ret_error);
    }
    sqlite3_reset(statement);
    return status;
}

static struct state_key read_key(sqlite3_stmt *statement)
{
    return (struct state_key){.kind = (uint32_t)sqlite3_column_int64(statement, 0),
                              .owner = (uint64_t)sqlite3_column_int64(statement, 1),
                              .part = (uint64_t)sqlite3_column_int64(statement, 2),
                              .block = (uint32_t)sqlite3_column_int64(statement, 3)};
}

static void remember_replaced(struct store *store, struct state_key key, uint64_t generation)
{
    store->replaced = memory_reserve(store->replaced, &store->replaced_capacity, store->replaced_count + 1,
                                     sizeof *store->replaced);
    store->replaced[store->replaced_count++] = (struct replaced_value){.key = key, .generation = generation};
}

/* What the process before did not come to tidy. */
static enum status find_replaced(struct store *store, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[STATE_REPLACED];
    enum status status = STATUS_OK;
    int code;

    sqlite3_bind_int64(statement, 1, (int64_t)store->generation);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
        remember_replaced(store, read_key(statement), (uint64_t)sqlite3_column_int64(statement, 4));
    if (code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    sqlite3_reset(statement);
    store->replaced_ready = store->replaced_count;
    return status;
}

static enum status prepare_statements(struct store *store, struct error *ret_error)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        const char *of_log = store_log_sql[i] ? store_log_sql[i] : store_mirror_sql[i];
        const char *sql = state_sql[i] ? state_sql[i] : of_log;

        assert(sql);
        if (i >= MIRROR_PUT && !store->options.mirror)
            break;
        enum status status = store_file_prepare(&store->file, sql, &store->statements[i], ret_error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status open_file(struct store *store, const char *path, struct error *ret_error)
{
    struct store_part parts[1 + STORE_LOG_PARTS + 1] = {
        {.name = "state",
         .upgrades = state_upgrades,
         .version = sizeof state_upgrades / sizeof *state_upgrades}};
    size_t count = 1 + STORE_LOG_PARTS;

    memcpy(parts + 1, store_log_parts, sizeof store_log_parts);
    if (store->options.mirror)
        parts[count++] = store_mirror_part;
    enum status status = store_file_open(&store->file, path, &store->options, parts, count, ret_error);
    if (status == STATUS_OK)
        status = prepare_statements(store, ret_error);
    if (status == STATUS_OK)
        status = store_read_generation(store, ret_error);
    if (status == STATUS_OK && store->options.mirror)
        status = store_read_place(store, ret_error);
    return status;
}

static void close_file(struct store *store)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    store_file_close(&store->file);
}

static enum status open_anew(struct store *store, const char *path, struct error *ret_error)
{
    close_file(store);
    store_file_remove(path, &store->options);
    store->generation = 0;
    store->flipped_us = 0;
    return open_file(store, path, ret_error);
}

enum status store_make_anew(struct store *store, struct error *ret_error)
{
    char *path = memory_text(store->file.path, strlen(store->file.path));
    enum status status = open_anew(store, path, ret_error);

    assert(store->options.mirror && !store->changes.type);
    free(path);
    return status;
}

enum status store_open(const char *path, const struct store_options *options, struct store **ret_store,
                       struct error *ret_error)
{
    struct store *store = memory_new(sizeof *store);

    store->options = *options;
    enum status status = open_file(store, path, ret_error);
    if (options->mirror && (status == STATUS_FATAL || (status == STATUS_OK && store->place.next == 0)))
        status = open_anew(store, path, ret_error);
    if (status == STATUS_OK && !options->read_only)
        status = find_replaced(store, ret_error);
    if (status != STATUS_OK) {
        store_close(store);
        return status;
    }
    store->compressor = ZSTD_createCCtx();
    store->decompressor = ZSTD_createDCtx();
    assert(store->compressor && store->decompressor);
    *ret_store = store;
    return STATUS_OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    close_file(store);
    store_changes_free(store);
    ZSTD_freeCCtx(store->compressor);
    ZSTD_freeDCtx(store->decompressor);
    free(store->compressed);
    free(store->plain);
    free(store->replaced);
    free(store);
}

enum status store_lock(const char *path, int *ret_descriptor, struct error *ret_error)
{
    struct buffer name;

    buffer_init(&name, 1 << 16);
    buffer_print(&name, "%s-lock", path);
    buffer_put_char(&name, '\0');
    if (name.full)
        return fail(ret_error, "the path of the store is too long");
    int file = open(name.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum status status = STATUS_OK;
    if (file < 0) {
        status = fail(ret_error, "cannot open %s: %s", name.data, strerror(errno));
    } else if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK ? STATUS_RETRY : STATUS_FATAL;
        if (status == STATUS_RETRY)
            fail(ret_error, "store %s is used by another weir", path);
        else
            fail(ret_error, "cannot lock %s: %s", name.data, strerror(errno));
        close(file);
    } else {
        *ret_descriptor = file;
    }
    buffer_free(&name);
    return status;
}

void store_unlock(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
}

char *store_task_path(const char *path, unsigned task)
{
    size_t size = strlen(path) + sizeof ".task-0000";
    char *text = memory_new(size);

    snprintf(text, size, "%s.task-%u", path, task);
    return text;
}

uint64_t store_generation(const struct store *store)
{
    return store->generation;
}

enum status store_total_of(struct store *store, const char *part, struct store_total *ret_total,
                           struct error *ret_error)
{
    return store_file_total(&store->file, store->statements[TOTAL_READ], part, ret_total, ret_error);
}

static enum status put_value(struct store *store, uint64_t generation, const struct state_value *value,
                             struct error *ret_error)
{
    size_t bound = ZSTD_compressBound(value->bytes.size);

    store->compressed = memory_reserve(store->compressed, &store->compressed_capacity, bound, 1);
    size_t size = ZSTD_compressCCtx(store->compressor, store->compressed, bound, value->bytes.data,
                                    value->bytes.size, COMPRESSION_LEVEL);
    assert(!ZSTD_isError(size));

    struct store_row row = store_row_begin(store->statements[STATE_PUT], "state");
    row.copy = store_changes_row(store);
    store_row_put_number(&row, value->key.kind);
    store_row_put_number(&row, value->key.owner);
    store_row_put_number(&row, value->key.part);
    store_row_put_number(&row, value->key.block);
    store_row_put_number(&row, generation);
    store_row_put_number(&row, value->bytes.size);
    store_row_put_bytes(&row, span_make(store->compressed, size));
    store_row_put_end(&row);
    store_changes_put(store, STATE_PUT);
    return store_file_step(&store->file, store->statements[STATE_PUT], ret_error);
}

static int bind_key(sqlite3_stmt *statement, const struct state_key *key)
{
    sqlite3_bind_int64(statement, 1, key->kind);
    sqlite3_bind_int64(statement, 2, (int64_t)key->owner);
    sqlite3_bind_int64(statement, 3, (int64_t)key->part);
    return sqlite3_bind_int64(statement, 4, key->block);
}

/* In a transaction of the caller's, who forgets them (replaced_removed) once it has been committed. */
static enum status remove_replaced(struct store *store, size_t from, size_t count, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[STATE_REMOVE_OLDER];
    enum status status = STATUS_OK;

    assert(from + count <= store->replaced_ready);
    for (size_t i = from; i < from + count && status == STATUS_OK; i++) {
        bind_key(statement, &store->replaced[i].key);
        sqlite3_bind_int64(statement, 5, (int64_t)store->replaced[i].generation);
        status = store_file_step(&store->file, statement, ret_error);
    }
    return status;
}

static void replaced_removed(struct store *store, size_t count)
{
    store->replaced_count -= count;
    store->replaced_ready -= count;
    if (count)
        memmove(store->replaced, store->replaced + count, store->replaced_count * sizeof *store->replaced);
}

static enum status read_limited_bytes(struct store *store, int64_t *ret_bytes, struct error *ret_error)
{
    static const char *const parts[] = {"state", "notifications", "history", "runs", "audit"};
    enum status status = STATUS_OK;
    int64_t bytes = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == STATUS_OK; i++) {
        struct store_total total = {0};

        status = store_total_of(store, parts[i], &total, ret_error);
        bytes += total.bytes;
    }
    *ret_bytes = bytes;
    return status;
}

/* In a transaction of the caller's: replaced values go first, then history. */
static enum status make_room(struct store *store, size_t *ret_replaced, struct error *ret_error)
{
    int64_t bytes = 0;
    size_t replaced = *ret_replaced;

    for (;;) {
        enum status status =
            store->options.limit_bytes ? read_limited_bytes(store, &bytes, ret_error) : STATUS_OK;
        if (status != STATUS_OK || bytes <= store->options.limit_bytes) {
            *ret_replaced = replaced;
            return status;
        }
        size_t left = store->replaced_ready - replaced;
        int removed = 0;
        if (left) {
            size_t count = left < TIDY_VALUES ? left : TIDY_VALUES;
            status = remove_replaced(store, replaced, count, ret_error);
            replaced += count;
        } else {
            status = store_log_trim(store, &removed, ret_error);
        }
        if (status != STATUS_OK)
            return status;
        if (!left && !removed)
            break;
    }
    fail(ret_error, "store %s is full: %lld bytes with these values, limit %lld (store.limit)",
         store->file.path, (long long)bytes, (long long)store->options.limit_bytes);
    return STATUS_RETRY;
}

enum status store_put(struct store *store, uint64_t generation, const struct state_value *values,
                      size_t count, struct error *ret_error)
{
    size_t replaced = 0;

    assert(generation > store->generation);
    assert(store->under_way == 0 || store->under_way == generation);
    store_changes_begin(store);
    enum status status = store_file_begin(&store->file, false, ret_error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = put_value(store, generation, &values[i], ret_error);
    if (status == STATUS_OK)
        status = make_room(store, &replaced, ret_error);
    if (status == STATUS_OK)
        status = store_changes_write(store, false, ret_error);
    status = store_file_end(&store->file, status, ret_error);
    if (status != STATUS_OK)
        return status;
    replaced_removed(store, replaced);
    store->under_way = generation;
    for (size_t i = 0; i < count; i++)
        remember_replaced(store, values[i].key, generation);
    return STATUS_OK;
}

/* By the clock of the file layer, which a simulation hands in. */
static int64_t wall_clock_us(const struct store *store)
{
    const int64_t epoch_ms = 210866760000000; /* 1970-01-01 as a Julian day number, in milliseconds */
    sqlite3_vfs *vfs = sqlite3_vfs_find(store->options.vfs);
    sqlite3_int64 now_ms = epoch_ms;

    assert(vfs && vfs->iVersion >= 2);
    vfs->xCurrentTimeInt64(vfs, &now_ms);
    return (now_ms - epoch_ms) * 1000;
}

/* The rows that a drop removes, for the journal; not those that this generation has put. */
static enum status tell_dropped(struct store *store, const struct state_table *table, uint64_t generation,
                                struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[STATE_DROPPED];
    enum status status = STATUS_OK;
    int code = SQLITE_DONE;

    if (!store->changes.type)
        return STATUS_OK;
    sqlite3_bind_int64(statement, 1, table->kind);
    sqlite3_bind_int64(statement, 2, (int64_t)table->owner);
    sqlite3_bind_int64(statement, 3, (int64_t)table->part);
    sqlite3_bind_int64(statement, 4, (int64_t)generation);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        const uint64_t key[] = {table->kind, table->owner, table->part,
                                (uint64_t)sqlite3_column_int64(statement, 0)};

        store_changes_gone(store, STATE_PUT, key);
    }
    if (code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    sqlite3_reset(statement);
    return status;
}

static enum status flip(struct store *store, const struct store_flip *flip, int64_t now_us,
                        struct error *ret_error)
{
    sqlite3_stmt *drop = store->statements[STATE_DROP], *acknowledge = store->statements[OUTBOX_ACKNOWLEDGE];
    enum status status = STATUS_OK;

    for (size_t i = 0; i < flip->dropped_count && status == STATUS_OK; i++) {
        status = tell_dropped(store, &flip->dropped[i], flip->generation, ret_error);
        if (status != STATUS_OK)
            break;
        sqlite3_bind_int64(drop, 1, flip->dropped[i].kind);
        sqlite3_bind_int64(drop, 2, (int64_t)flip->dropped[i].owner);
        sqlite3_bind_int64(drop, 3, (int64_t)flip->dropped[i].part);
        sqlite3_bind_int64(drop, 4, (int64_t)flip->generation);
        status = store_file_step(&store->file, drop, ret_error);
    }
    for (size_t i = 0; i < flip->acknowledged_count && status == STATUS_OK; i++) {
        sqlite3_bind_int64(acknowledge, 1, (int64_t)flip->acknowledged[i].sink);
        sqlite3_bind_int64(acknowledge, 2, (int64_t)flip->acknowledged[i].lane);
        sqlite3_bind_int64(acknowledge, 3, (int64_t)flip->acknowledged[i].sequence);
        const uint64_t key[] = {flip->acknowledged[i].sink, flip->acknowledged[i].lane,
                                flip->acknowledged[i].sequence};
        store_changes_gone(store, OUTBOX_PUT, key);
        status = store_file_step(&store->file, acknowledge, ret_error);
    }
    if (status != STATUS_OK)
        return status;
    struct store_row row = store_row_begin(store->statements[GENERATION_PUT], "store_generation");
    row.copy = store_changes_row(store);
    store_row_put_number(&row, flip->generation);
    store_row_put_number(&row, (uint64_t)now_us);
    store_row_put_end(&row);
    store_changes_put(store, GENERATION_PUT);
    return store_file_step(&store->file, store->statements[GENERATION_PUT], ret_error);
}

/* The journal's commit is what counts. The file may need more than one try: the commit cannot be undone. */
static enum status commit_journal(struct store *store, const struct store_flip *flip, struct error *ret_error)
{
    struct store_changes *changes = &store->changes;
    enum status status = STATUS_OK;

    if (!changes->type || changes->committed == flip->generation)
        return STATUS_OK;
    status = store_changes_write(store, false, ret_error);
    if (status == STATUS_OK)
        status = changes->type->commit(changes->journal, flip->commit, ret_error);
    if (status == STATUS_OK)
        changes->committed = flip->generation;
    return status;
}

enum status store_flip(struct store *store, const struct store_flip *what, struct error *ret_error)
{
    int64_t now_us = wall_clock_us(store);

    assert(what->generation > store->generation);
    assert(store->under_way == 0 || store->under_way == what->generation);
    store_changes_begin(store);
    enum status status = store_file_begin(&store->file, true, ret_error);
    if (status == STATUS_OK)
        status = flip(store, what, now_us, ret_error);
    if (status == STATUS_OK)
        status = commit_journal(store, what, ret_error);
    status = store_file_end(&store->file, status, ret_error);
    if (status != STATUS_OK)
        return status;
    store->generation = what->generation;
    store->flipped_us = now_us;
    store->under_way = 0;
    store->replaced_ready = store->replaced_count;
    return STATUS_OK;
}

bool store_tidy(struct store *store, int64_t now_us)
{
    size_t replaced = store->replaced_ready < TIDY_VALUES ? store->replaced_ready : TIDY_VALUES;
    struct error error;
    int forgotten = 0;

    store_changes_begin(store);
    enum status status = store_file_begin(&store->file, false, &error);
    if (status == STATUS_OK)
        status = remove_replaced(store, 0, replaced, &error);
    if (status == STATUS_OK && store->options.history_us)
        status = store_log_forget(store, now_us - store->options.history_us, &forgotten, &error);
    if (status == STATUS_OK && make_room(store, &replaced, &error) == STATUS_FATAL)
        status = STATUS_FATAL; /* what cannot make room here is told by the next store_put */
    if (status == STATUS_OK)
        status = store_changes_write(store, false, &error);
    if (store_file_end(&store->file, status, &error) != STATUS_OK)
        return false;
    replaced_removed(store, replaced);
    return store->replaced_ready > 0 || forgotten > 0;
}

/* Looks at each row of a generation that never became complete before they go: it could be a damaged row of a
 * complete one. */
static enum status remove_left_behind(struct store *store, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[STATE_LEFT_BEHIND];
    sqlite3_stmt *clear = store->statements[STATE_CLEAR];
    enum status status = STATUS_OK;
    bool found = false;
    int code = SQLITE_ROW;

    assert(store->under_way == 0);
    sqlite3_bind_int64(statement, 1, (int64_t)store->generation);
    while (status == STATUS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        found = true;
        if (!store_row_check(statement, "state"))
            status = store_damaged_row(store, statement, "state", 4, ret_error);
    }
    if (status == STATUS_OK && code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    sqlite3_reset(statement);
    if (status != STATUS_OK || !found)
        return status;
    sqlite3_bind_int64(clear, 1, (int64_t)store->generation);
    return store_file_step(&store->file, clear, ret_error);
}

enum status store_begin_reading(struct store *store, struct error *ret_error)
{
    enum status status = store_file_run(&store->file, "BEGIN", ret_error);

    return status == STATUS_OK ? store_read_generation(store, ret_error) : status;
}

bool store_read_value(struct store *store, sqlite3_stmt *statement, struct span *ret_bytes)
{
    struct store_row row = store_row_begin(statement, "state");

    for (int i = 0; i < 5; i++)
        store_row_number(&row);
    size_t size = store_row_number(&row);
    struct span packed = store_row_bytes(&row);
    if (!store_row_good(&row))
        return false;
    store->plain = memory_reserve(store->plain, &store->plain_capacity, size + 1, 1);
    *ret_bytes = span_make(store->plain, size);
    return ZSTD_decompressDCtx(store->decompressor, store->plain, size, packed.data, packed.size) == size;
}

/* Whether the row of an ordered read is its key's value in the newest complete generation. */
static bool is_newest(const struct store *store, sqlite3_stmt *statement, struct state_key *previous)
{
    struct state_key key = read_key(statement);

    if ((uint64_t)sqlite3_column_int64(statement, 4) > store->generation ||
        (key.kind == previous->kind && key.owner == previous->owner && key.part == previous->part &&
         key.block == previous->block))
        return false;
    *previous = key;
    return true;
}

static enum status visit_values(struct store *store, store_visit *visit, void *owner, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[STATE_READ];
    struct state_key previous = {.kind = UINT32_MAX}; /* no value has it */
    struct store_total total = {0};
    enum status status = store_total_of(store, "state", &total, ret_error);
    int64_t rows = 0;
    int code = SQLITE_ROW;

    while (status == STATUS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        bool newest = is_newest(store, statement, &previous);
        struct span bytes;

        rows++;
        if (!store_read_value(store, statement, &bytes))
            status = store_damaged_row(store, statement, "state", 4, ret_error);
        else if (newest)
            status = visit(owner, &previous, bytes, ret_error);
    }
    if (status == STATUS_OK && code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    else if (status == STATUS_OK && rows != total.rows)
        status = fail(ret_error, "store %s is damaged: %lld state values, %lld by its count",
                      store->file.path, (long long)rows, (long long)total.rows);
    sqlite3_reset(statement);
    return status;
}

enum status store_load(struct store *store, store_visit *visit, void *owner, struct error *ret_error)
{
    enum status status = store->options.read_only ? STATUS_OK : remove_left_behind(store, ret_error);

    if (status != STATUS_OK)
        return status;
    status = store_begin_reading(store, ret_error);
    if (status == STATUS_OK)
        status = visit_values(store, visit, owner, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

static enum status visit_tables(struct store *store, state_table_visit *visit, void *owner,
                                struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[STATE_TABLES];
    struct state_key previous = {.kind = UINT32_MAX};
    struct state_table_size size = {0};
    enum status status = STATUS_OK;
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!is_newest(store, statement, &previous))
            continue;
        struct state_table table = {.kind = previous.kind, .owner = previous.owner, .part = previous.part};
        if (size.values && (table.kind != size.table.kind || table.owner != size.table.owner ||
                            table.part != size.table.part)) {
            visit(owner, &size);
            size = (struct state_table_size){0};
        }
        size.table = table;
        size.values++;
        size.value_bytes += (uint64_t)sqlite3_column_int64(statement, 5);
        size.stored_bytes += (uint64_t)sqlite3_column_int64(statement, 6);
    }
    if (code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    else if (size.values)
        visit(owner, &size);
    sqlite3_reset(statement);
    return status;
}

enum status store_tables(struct store *store, state_table_visit *visit, void *owner, struct error *ret_error)
{
    enum status status = store->options.read_only ? STATUS_OK : remove_left_behind(store, ret_error);

    if (status != STATUS_OK)
        return status;
    status = store_begin_reading(store, ret_error);
    if (status == STATUS_OK)
        status = visit_tables(store, visit, owner, ret_error);
    return store_file_end(&store->file, status, ret_error);
}
