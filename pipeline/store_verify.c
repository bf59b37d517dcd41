/* Looking at a store as a whole: figures from the totals that triggers keep, and the check of every row. */
#include "pipeline/store_internal.h"

#include <stdio.h>

void store_name_row(sqlite3_stmt *statement, const char *table, int keys, struct error *ret_name)
{
    size_t used = (size_t)snprintf(ret_name->text, sizeof ret_name->text, "%s", table);

    for (int i = 0; i < keys && used < sizeof ret_name->text; i++) {
        const char *name = sqlite3_column_name(statement, i), *comma = i ? ", " : " with ";
        char *at = ret_name->text + used;
        size_t left = sizeof ret_name->text - used;
        uint64_t number = (uint64_t)sqlite3_column_int64(statement, i);

        if (i == 0 && strcmp(table, "state") == 0)
            used += (size_t)snprintf(at, left, "%s%s %s", comma, name, state_kind_name((uint32_t)number));
        else if (sqlite3_column_type(statement, i) == SQLITE_INTEGER)
            used += (size_t)snprintf(at, left, "%s%s %llu", comma, name, (unsigned long long)number);
        else
            used += (size_t)snprintf(at, left, "%s%s %s", comma, name,
                                     (const char *)sqlite3_column_text(statement, i));
    }
}

enum status store_damaged_row(const struct store *store, sqlite3_stmt *statement, const char *table, int keys,
                              struct error *ret_error)
{
    struct error name;

    store_name_row(statement, table, keys, &name);
    return fail(ret_error, "store %s is damaged: row of %s", store->file.path, name.text);
}

static enum status read_totals(struct store *store, struct store_figures *figures, struct error *ret_error)
{
    struct store_total state = {0}, outbox = {0}, notifications = {0}, history = {0}, runs = {0}, audit = {0};
    struct {
        const char *part;
        struct store_total *total;
    } totals[] = {{"state", &state},     {"outbox", &outbox}, {"notifications", &notifications},
                  {"history", &history}, {"runs", &runs},     {"audit", &audit}};
    enum status status = STATUS_OK;

    for (size_t i = 0; i < sizeof totals / sizeof *totals && status == STATUS_OK; i++)
        status = store_total_of(store, totals[i].part, totals[i].total, ret_error);
    figures->values = (uint64_t)state.rows;
    figures->value_bytes = (uint64_t)state.plain_bytes;
    figures->stored_bytes = (uint64_t)state.bytes;
    figures->outbox_documents = (uint64_t)outbox.rows;
    figures->outbox_bytes = (uint64_t)outbox.bytes;
    figures->notifications = (uint64_t)notifications.rows;
    figures->history_lines = (uint64_t)history.rows;
    figures->runs = (uint64_t)runs.rows;
    figures->run_bytes = (uint64_t)runs.bytes;
    figures->audit_lines = (uint64_t)audit.rows;
    return status;
}

static enum status read_file_size(struct store *store, int64_t *ret_bytes, struct error *ret_error)
{
    sqlite3_stmt *statement;
    enum status status = store_file_prepare(&store->file,
                                            "SELECT page_count * page_size FROM pragma_page_count,"
                                            " pragma_page_size",
                                            &statement, ret_error);

    if (status != STATUS_OK)
        return status;
    if (sqlite3_step(statement) == SQLITE_ROW)
        *ret_bytes = sqlite3_column_int64(statement, 0);
    else
        status = store_file_report(&store->file, ret_error);
    sqlite3_finalize(statement);
    return status;
}

enum status store_figures(struct store *store, struct store_figures *ret_figures, struct error *ret_error)
{
    struct store_figures figures = {.schema = 2};
    enum status status = store_begin_reading(store, ret_error);

    if (status == STATUS_OK)
        status = read_totals(store, &figures, ret_error);
    if (status == STATUS_OK)
        status = read_file_size(store, &figures.file_bytes, ret_error);
    status = store_file_end(&store->file, status, ret_error);
    if (status != STATUS_OK)
        return status;
    figures.generation = store->generation;
    figures.flipped_us = store->flipped_us;
    *ret_figures = figures;
    return STATUS_OK;
}

/* Columns in the order of their store_row. */
static const struct table {
    const char *name, *sql;
    int keys;
} tables[] = {
    {.name = "state", .sql = "SELECT " STATE_COLUMNS " FROM state", .keys = 4},
    {.name = "outbox", .sql = "SELECT * FROM outbox", .keys = 3},
    {.name = "notifications", .sql = "SELECT * FROM notifications", .keys = 3},
    {.name = "history", .sql = "SELECT * FROM history", .keys = 2},
    {.name = "runs", .sql = "SELECT * FROM runs", .keys = 3},
    {.name = "audit", .sql = "SELECT * FROM audit", .keys = 2},
    {.name = "dead_letters",
     .sql = "SELECT source, topic, partition, offset, item, stage, sink, reason, time_us, payload, document,"
            " checksum FROM dead_letters WHERE checksum IS NOT NULL",
     .keys = 5},
};

struct verifier {
    struct store *store;
    void (*damage)(void *owner, const char *text);
    void *owner;
};

/* What SQLite itself cannot read on with is damage to tell; anything else is trouble with reading. */
static enum status tell_or_fail(struct verifier *verifier, const char *what, struct error *ret_error)
{
    struct error reason, text;
    enum status status = store_file_report(&verifier->store->file, &reason);

    if ((sqlite3_extended_errcode(verifier->store->file.database) & 0xff) != SQLITE_CORRUPT) {
        *ret_error = reason;
        return status;
    }
    fail(&text, "%s: %s", what, sqlite3_errmsg(verifier->store->file.database));
    verifier->damage(verifier->owner, text.text);
    return STATUS_OK;
}

static bool row_is_good(struct store *store, sqlite3_stmt *statement, const struct table *table)
{
    struct span bytes;

    return table == tables ? store_read_value(store, statement, &bytes)
                           : store_row_check(statement, table->name);
}

static enum status verify_count(struct verifier *verifier, const struct table *table, int64_t rows,
                                struct error *ret_error)
{
    struct store_total total;
    struct error text;
    enum status status = store_total_of(verifier->store, table->name, &total, ret_error);

    /* Dead letters of the first version have no checksum and are left out. */
    if (status == STATUS_OK && rows != total.rows && strcmp(table->name, "dead_letters") != 0) {
        fail(&text, "%s: %lld rows, %lld by their count", table->name, (long long)rows,
             (long long)total.rows);
        verifier->damage(verifier->owner, text.text);
    }
    return status;
}

static enum status verify_table(struct verifier *verifier, const struct table *table, struct error *ret_error)
{
    sqlite3_stmt *statement;
    enum status status = store_file_prepare(&verifier->store->file, table->sql, &statement, ret_error);
    int64_t rows = 0;
    int code;

    if (status != STATUS_OK)
        return status;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct error name;

        rows++;
        if (row_is_good(verifier->store, statement, table))
            continue;
        store_name_row(statement, table->name, table->keys, &name);
        verifier->damage(verifier->owner, name.text);
    }
    if (code != SQLITE_DONE)
        status = tell_or_fail(verifier, table->name, ret_error);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? verify_count(verifier, table, rows, ret_error) : status;
}

static enum status verify_structure(struct verifier *verifier, struct error *ret_error)
{
    sqlite3_stmt *statement;
    enum status status =
        store_file_prepare(&verifier->store->file, "PRAGMA integrity_check", &statement, ret_error);
    int code;

    if (status != STATUS_OK)
        return status;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        if (strcmp(text, "ok") != 0)
            verifier->damage(verifier->owner, text);
    }
    if (code != SQLITE_DONE)
        status = tell_or_fail(verifier, "file", ret_error);
    sqlite3_finalize(statement);
    return status;
}

static bool has_dead_letters(struct store *store)
{
    return sqlite3_table_column_metadata(store->file.database, NULL, "dead_letters", "checksum", NULL, NULL,
                                         NULL, NULL, NULL) == SQLITE_OK;
}

enum status store_verify(struct store *store, void (*damage)(void *owner, const char *text), void *owner,
                         struct error *ret_error)
{
    struct verifier verifier = {.store = store, .damage = damage, .owner = owner};
    size_t count = sizeof tables / sizeof *tables - !has_dead_letters(store); /* the last table */
    enum status status = store_begin_reading(store, ret_error);

    if (status == STATUS_OK)
        status = verify_structure(&verifier, ret_error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = verify_table(&verifier, &tables[i], ret_error);
    return store_file_end(&store->file, status, ret_error);
}
