/* The outbox and the logs of the store. Outbox rows and ended runs come by the thousand and wait for the next
 * flip to be durable; the other logs are a few rows at a time and durable at once.
 * Runs are kept by their first time and then their id: those of one time stand side by side, so that a cut
 * changes few pages however many runs there are. Dropped: the id alone as key, a page for each run. */
#include "pipeline/store_internal.h"

#include <assert.h>

enum { REMOVED_AT_ONCE = 256 };
enum document_flag { DOCUMENT_PROMPT = 1, DOCUMENT_PROMPTED = 2, DOCUMENT_LATE = 4 };
enum notification_flag { NOTIFICATION_FIRING = 1, NOTIFICATION_PROMPT = 2, NOTIFICATION_SENT = 4 };

// clang-format off
#define BODY_SIZE(row) "length(" row ".body)"
#define LINE_SIZE(row) "length(" row ".line)"
#define DETAIL_SIZE(row) "length(" row ".detail)"

/* The columns of each table are in the order of its store_row, so that `SELECT *` can be checked. */
static const char *const outbox_upgrades[] = {
    "CREATE TABLE outbox (sink INTEGER NOT NULL, lane INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, id_high INTEGER NOT NULL, id_low INTEGER NOT NULL, group_high INTEGER NOT NULL,"
    " group_low INTEGER NOT NULL, version INTEGER NOT NULL, time_us INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " body BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (sink, lane, sequence)) WITHOUT ROWID;"
    STORE_TOTALS("outbox", BODY_SIZE, BODY_SIZE),
};
static const char *const notification_upgrades[] = {
    "CREATE TABLE notifications (sink INTEGER NOT NULL, line_high INTEGER NOT NULL, line_low INTEGER NOT NULL,"
    " dedup_high INTEGER NOT NULL, dedup_low INTEGER NOT NULL, episode_high INTEGER NOT NULL,"
    " episode_low INTEGER NOT NULL, at_us INTEGER NOT NULL, told_us INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " body BLOB NOT NULL, checksum INTEGER NOT NULL, UNIQUE (sink, line_high, line_low));"
    "CREATE INDEX notifications_told ON notifications (told_us);"
    STORE_TOTALS("notifications", BODY_SIZE, BODY_SIZE),
};
static const char *const history_upgrades[] = {
    "CREATE TABLE history (id_high INTEGER NOT NULL, id_low INTEGER NOT NULL, episode_high INTEGER NOT NULL,"
    " episode_low INTEGER NOT NULL, revision INTEGER NOT NULL, at_us INTEGER NOT NULL, told_us INTEGER NOT NULL,"
    " line BLOB NOT NULL, checksum INTEGER NOT NULL, UNIQUE (id_high, id_low));"
    "CREATE INDEX history_at ON history (at_us);"
    "CREATE INDEX history_told ON history (told_us);"
    STORE_TOTALS("history", LINE_SIZE, LINE_SIZE),
};
static const char *const run_upgrades[] = {
    "CREATE TABLE runs (first_us INTEGER NOT NULL, id_high INTEGER NOT NULL, id_low INTEGER NOT NULL,"
    " version INTEGER NOT NULL, told_us INTEGER NOT NULL, line BLOB NOT NULL, checksum INTEGER NOT NULL,"
    " PRIMARY KEY (first_us, id_high, id_low)) WITHOUT ROWID;"
    STORE_TOTALS("runs", LINE_SIZE, LINE_SIZE),
    "CREATE INDEX runs_told ON runs (told_us)",
};
static const char *const audit_upgrades[] = {
    "CREATE TABLE audit (time_us INTEGER NOT NULL, what TEXT NOT NULL, detail BLOB NOT NULL,"
    " checksum INTEGER NOT NULL);"
    "CREATE INDEX audit_time ON audit (time_us);"
    STORE_TOTALS("audit", DETAIL_SIZE, DETAIL_SIZE),
};

const struct store_part store_log_parts[STORE_LOG_PARTS] = {
    {.name = "outbox", .upgrades = outbox_upgrades, .version = sizeof outbox_upgrades / sizeof *outbox_upgrades},
    {.name = "notifications", .upgrades = notification_upgrades, .version = sizeof notification_upgrades / sizeof *notification_upgrades},
    {.name = "history", .upgrades = history_upgrades, .version = sizeof history_upgrades / sizeof *history_upgrades},
    {.name = "runs", .upgrades = run_upgrades, .version = sizeof run_upgrades / sizeof *run_upgrades},
    {.name = "audit", .upgrades = audit_upgrades, .version = sizeof audit_upgrades / sizeof *audit_upgrades},
};

#define NOTIFICATION_KEY "sink, line_high, line_low"
#define RUN_KEY "first_us, id_high, id_low"
#define FORGET(table, time, key) "DELETE FROM " table " WHERE rowid IN (SELECT rowid FROM " table " WHERE " time " < ?1 LIMIT ?2) RETURNING " key
#define OLDEST(table, time, which, key) "DELETE FROM " table " WHERE rowid IN (SELECT rowid FROM " table which " ORDER BY " time " LIMIT ?1) RETURNING " key

const char *const store_log_sql[STORE_STATEMENTS] = {
    [OUTBOX_PUT] = "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING",
    [OUTBOX_READ] = "SELECT * FROM outbox WHERE sink = ?1 AND lane = ?2 AND sequence >= ?3 ORDER BY sequence",
    [OUTBOX_ACKNOWLEDGE] = "DELETE FROM outbox WHERE sink = ?1 AND lane = ?2 AND sequence = ?3",
    [OUTBOX_CUT] = "DELETE FROM outbox WHERE sink = ?1 AND lane = ?2 AND sequence >= ?3 RETURNING sink, lane, sequence",
    [OUTBOX_NEXT_LANE] = "SELECT lane FROM outbox WHERE sink = ?1 AND lane >= ?2 ORDER BY lane LIMIT 1",
    [NOTIFICATION_PUT] = "INSERT INTO notifications VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [NOTIFICATION_REMOVE] = "DELETE FROM notifications WHERE sink = ?1 AND line_high = ?2 AND line_low = ?3",
    [NOTIFICATION_READ] = "SELECT * FROM notifications ORDER BY rowid",
    [NOTIFICATION_FORGET] = FORGET("notifications", "told_us", NOTIFICATION_KEY),
    [NOTIFICATION_OLDEST] = OLDEST("notifications", "told_us", " WHERE flags & 4", NOTIFICATION_KEY),
    [HISTORY_PUT] = "INSERT INTO history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
    [HISTORY_REMOVE] = "DELETE FROM history WHERE id_high = ?1 AND id_low = ?2",
    [HISTORY_READ] = "SELECT * FROM history ORDER BY at_us DESC, rowid DESC LIMIT ?1",
    [HISTORY_FIND] = "SELECT * FROM history WHERE id_high = ?1 AND id_low = ?2",
    [HISTORY_FORGET] = FORGET("history", "told_us", "id_high, id_low"),
    [HISTORY_OLDEST] = OLDEST("history", "told_us", "", "id_high, id_low"),
    [RUN_PUT] = "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET version = excluded.version,"
                " told_us = excluded.told_us, line = excluded.line, checksum = excluded.checksum WHERE excluded.version >= version",
    [RUN_REMOVE] = "DELETE FROM runs WHERE first_us = ?1 AND id_high = ?2 AND id_low = ?3",
    [RUN_READ] = "SELECT * FROM runs ORDER BY first_us, id_high, id_low",
    [RUN_FORGET] = "DELETE FROM runs WHERE (" RUN_KEY ") IN (SELECT " RUN_KEY " FROM runs WHERE told_us < ?1 LIMIT ?2) RETURNING " RUN_KEY,
    [RUN_OLDEST] = "DELETE FROM runs WHERE (" RUN_KEY ") IN (SELECT " RUN_KEY " FROM runs ORDER BY told_us LIMIT ?1) RETURNING " RUN_KEY,
    [AUDIT_PUT] = "INSERT INTO audit VALUES (?1, ?2, ?3, ?4)",
    [AUDIT_READ] = "SELECT * FROM audit ORDER BY time_us DESC, rowid DESC LIMIT ?1",
    [AUDIT_FORGET] = FORGET("audit", "time_us", "rowid"),
    [AUDIT_OLDEST] = OLDEST("audit", "time_us", "", "rowid"),
};
// clang-format on

/* Runs a prepared query until `take` says no; `take` reads one row, false in *ret_good: it is damaged. */
typedef bool take_row(sqlite3_stmt *statement, void *visitor, bool *ret_good);
static enum status visit_rows(struct store *store, enum store_statement which, const char *table, int keys,
                              take_row *take, void *visitor, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[which];
    enum status status = STATUS_OK;
    bool more = true, good = true;
    int code = SQLITE_ROW;

    while (more && good && (code = sqlite3_step(statement)) == SQLITE_ROW)
        more = take(statement, visitor, &good);
    if (!good)
        status = store_damaged_row(store, statement, table, keys, ret_error);
    else if (code != SQLITE_ROW && code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    sqlite3_reset(statement);
    return status;
}

static enum status put_document(struct store *store, const struct outbox_document *document,
                                struct error *ret_error)
{
    struct store_row row = store_row_begin(store->statements[OUTBOX_PUT], "outbox");

    assert(document->place.sequence <= INT64_MAX);
    row.copy = store_changes_row(store);
    store_row_put_number(&row, document->place.sink);
    store_row_put_number(&row, document->place.lane);
    store_row_put_number(&row, document->place.sequence);
    store_row_put_number(&row, document->kind);
    store_row_put_id(&row, document->id);
    store_row_put_id(&row, document->group);
    store_row_put_number(&row, document->version);
    store_row_put_number(&row, (uint64_t)document->time_us);
    store_row_put_number(&row, (document->prompt ? DOCUMENT_PROMPT : 0u) |
                                   (document->prompted ? DOCUMENT_PROMPTED : 0u) |
                                   (document->late ? DOCUMENT_LATE : 0u));
    store_row_put_bytes(&row, document->body);
    store_row_put_end(&row);
    store_changes_put(store, OUTBOX_PUT);
    return store_file_step(&store->file, store->statements[OUTBOX_PUT], ret_error);
}

enum status store_outbox_put(struct store *store, const struct outbox_document *documents, size_t count,
                             struct error *ret_error)
{
    enum status status = store_file_begin(&store->file, false, ret_error);

    store_changes_begin(store);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = put_document(store, &documents[i], ret_error);
    if (status == STATUS_OK)
        status = store_changes_write(store, false, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

struct outbox_visitor {
    outbox_visit *visit;
    void *owner;
};

static bool take_document(sqlite3_stmt *statement, void *visitor, bool *ret_good)
{
    struct outbox_visitor *to = visitor;
    struct store_row row = store_row_begin(statement, "outbox");
    struct outbox_document document = {.place.sink = store_row_number(&row)};

    document.place.lane = store_row_number(&row);
    document.place.sequence = store_row_number(&row);
    document.kind = (enum document_kind)store_row_number(&row);
    document.id = store_row_id(&row);
    document.group = store_row_id(&row);
    document.version = store_row_number(&row);
    document.time_us = (int64_t)store_row_number(&row);
    uint64_t flags = store_row_number(&row);
    document.prompt = flags & DOCUMENT_PROMPT;
    document.prompted = flags & DOCUMENT_PROMPTED;
    document.late = flags & DOCUMENT_LATE;
    document.body = store_row_bytes(&row);
    *ret_good = store_row_good(&row);
    return *ret_good && to->visit(to->owner, &document);
}

static void bind_place(sqlite3_stmt *statement, uint64_t sink, uint64_t lane, uint64_t sequence)
{
    sqlite3_bind_int64(statement, 1, (int64_t)sink);
    sqlite3_bind_int64(statement, 2, (int64_t)lane);
    sqlite3_bind_int64(statement, 3, (int64_t)sequence);
}

enum status store_outbox_read(struct store *store, uint64_t sink, uint64_t lane, uint64_t from_sequence,
                              outbox_visit *visit, void *owner, struct error *ret_error)
{
    struct outbox_visitor visitor = {.visit = visit, .owner = owner};

    bind_place(store->statements[OUTBOX_READ], sink, lane, from_sequence);
    return visit_rows(store, OUTBOX_READ, "outbox", 3, take_document, &visitor, ret_error);
}

/* By a statement that returns the keys. */
static enum status remove_rows(struct store *store, enum store_statement which, enum store_statement table,
                               int *removed, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[which];
    enum status status = STATUS_OK;
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        uint64_t key[KEY_NUMBERS_MAX];

        for (int i = 0; i < sqlite3_column_count(statement); i++)
            key[i] = (uint64_t)sqlite3_column_int64(statement, i);
        if (table != STORE_STATEMENTS)
            store_changes_gone(store, table, key);
        ++*removed;
    }
    if (code != SQLITE_DONE)
        status = store_file_report(&store->file, ret_error);
    sqlite3_reset(statement);
    return status;
}

enum status store_outbox_cut(struct store *store, uint64_t sink, uint64_t lane, uint64_t next,
                             struct error *ret_error)
{
    enum status status = store_file_begin(&store->file, true, ret_error);
    int removed = 0;

    bind_place(store->statements[OUTBOX_CUT], sink, lane, next);
    store_changes_begin(store);
    if (status == STATUS_OK)
        status = remove_rows(store, OUTBOX_CUT, OUTBOX_PUT, &removed, ret_error);
    if (status == STATUS_OK)
        status = store_changes_write(store, false, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

/* One look by the key for each lane: DISTINCT would read all documents. */
enum status store_outbox_lanes(struct store *store, uint64_t sink, bool (*visit)(void *owner, uint64_t lane),
                               void *owner, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[OUTBOX_NEXT_LANE];
    int64_t from = INT64_MIN;

    for (;;) {
        sqlite3_bind_int64(statement, 1, (int64_t)sink);
        sqlite3_bind_int64(statement, 2, from);
        int code = sqlite3_step(statement);
        int64_t lane = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
        enum status status = code == SQLITE_ROW || code == SQLITE_DONE
                                 ? STATUS_OK
                                 : store_file_report(&store->file, ret_error);
        sqlite3_reset(statement);
        if (code != SQLITE_ROW || !visit(owner, (uint64_t)lane) || lane == INT64_MAX)
            return status;
        from = lane + 1;
    }
}

/* The newest word of a line stands last: rows are read in the order in which they were written. */
static enum status put_notification(struct store *store, const struct notification *notification,
                                    struct error *ret_error)
{
    sqlite3_stmt *remove = store->statements[NOTIFICATION_REMOVE];

    sqlite3_bind_int64(remove, 1, (sqlite3_int64)notification->sink);
    sqlite3_bind_int64(remove, 2, (sqlite3_int64)notification->line.high);
    sqlite3_bind_int64(remove, 3, (sqlite3_int64)notification->line.low);
    enum status status = store_file_step(&store->file, remove, ret_error);
    if (status != STATUS_OK)
        return status;
    struct store_row row = store_row_begin(store->statements[NOTIFICATION_PUT], "notifications");

    row.copy = store_changes_row(store);
    store_row_put_number(&row, notification->sink);
    store_row_put_id(&row, notification->line);
    store_row_put_id(&row, notification->dedup);
    store_row_put_id(&row, notification->episode);
    store_row_put_number(&row, (uint64_t)notification->at_us);
    store_row_put_number(&row, (uint64_t)notification->told_us);
    store_row_put_number(&row, (notification->firing ? NOTIFICATION_FIRING : 0u) |
                                   (notification->prompt ? NOTIFICATION_PROMPT : 0u) |
                                   (notification->sent ? NOTIFICATION_SENT : 0u));
    store_row_put_bytes(&row, notification->body);
    store_row_put_end(&row);
    store_changes_put(store, NOTIFICATION_PUT);
    return store_file_step(&store->file, store->statements[NOTIFICATION_PUT], ret_error);
}

enum status store_notify(struct store *store, const struct notification *notifications, size_t count,
                         struct error *ret_error)
{
    enum status status = store_file_begin(&store->file, true, ret_error);

    store_changes_begin(store);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = put_notification(store, &notifications[i], ret_error);
    if (status == STATUS_OK)
        status = store_changes_write(store, true, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

struct notification_visitor {
    notification_visit *visit;
    void *owner;
};

static bool take_notification(sqlite3_stmt *statement, void *visitor, bool *ret_good)
{
    struct notification_visitor *to = visitor;
    struct store_row row = store_row_begin(statement, "notifications");
    struct notification notification = {.sink = store_row_number(&row)};

    notification.line = store_row_id(&row);
    notification.dedup = store_row_id(&row);
    notification.episode = store_row_id(&row);
    notification.at_us = (int64_t)store_row_number(&row);
    notification.told_us = (int64_t)store_row_number(&row);
    uint64_t flags = store_row_number(&row);
    notification.firing = flags & NOTIFICATION_FIRING;
    notification.prompt = flags & NOTIFICATION_PROMPT;
    notification.sent = flags & NOTIFICATION_SENT;
    notification.body = store_row_bytes(&row);
    *ret_good = store_row_good(&row);
    return *ret_good && to->visit(to->owner, &notification);
}

enum status store_notifications(struct store *store, notification_visit *visit, void *owner,
                                struct error *ret_error)
{
    struct notification_visitor visitor = {.visit = visit, .owner = owner};

    return visit_rows(store, NOTIFICATION_READ, "notifications", 3, take_notification, &visitor, ret_error);
}

static enum status put_line(struct store *store, const struct history_line *line, struct error *ret_error)
{
    struct store_row row = store_row_begin(store->statements[HISTORY_PUT], "history");

    row.copy = store_changes_row(store);
    store_row_put_id(&row, line->id);
    store_row_put_id(&row, line->episode);
    store_row_put_number(&row, line->revision);
    store_row_put_number(&row, (uint64_t)line->at_us);
    store_row_put_number(&row, (uint64_t)line->told_us);
    store_row_put_bytes(&row, line->line);
    store_row_put_end(&row);
    store_changes_put(store, HISTORY_PUT);
    return store_file_step(&store->file, store->statements[HISTORY_PUT], ret_error);
}

enum status store_history_put(struct store *store, const struct history_line *lines, size_t count,
                              struct error *ret_error)
{
    enum status status = store_file_begin(&store->file, true, ret_error);

    store_changes_begin(store);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = put_line(store, &lines[i], ret_error);
    if (status == STATUS_OK)
        status = store_changes_write(store, false, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

struct history_visitor {
    history_visit *visit;
    void *owner;
};

static bool take_line(sqlite3_stmt *statement, void *visitor, bool *ret_good)
{
    struct history_visitor *to = visitor;
    struct store_row row = store_row_begin(statement, "history");
    struct history_line line = {.id = store_row_id(&row)};

    line.episode = store_row_id(&row);
    line.revision = store_row_number(&row);
    line.at_us = (int64_t)store_row_number(&row);
    line.told_us = (int64_t)store_row_number(&row);
    line.line = store_row_bytes(&row);
    *ret_good = store_row_good(&row);
    return *ret_good && to->visit(to->owner, &line);
}

enum status store_history(struct store *store, int64_t limit, history_visit *visit, void *owner,
                          struct error *ret_error)
{
    struct history_visitor visitor = {.visit = visit, .owner = owner};

    sqlite3_bind_int64(store->statements[HISTORY_READ], 1, limit);
    return visit_rows(store, HISTORY_READ, "history", 2, take_line, &visitor, ret_error);
}

enum status store_history_line(struct store *store, struct id128 id, history_visit *visit, void *owner,
                               struct error *ret_error)
{
    struct history_visitor visitor = {.visit = visit, .owner = owner};

    sqlite3_bind_int64(store->statements[HISTORY_FIND], 1, (int64_t)id.high);
    sqlite3_bind_int64(store->statements[HISTORY_FIND], 2, (int64_t)id.low);
    return visit_rows(store, HISTORY_FIND, "history", 2, take_line, &visitor, ret_error);
}

static enum status put_run(struct store *store, const struct ended_run *run, struct error *ret_error)
{
    struct store_row row = store_row_begin(store->statements[RUN_PUT], "runs");

    row.copy = store_changes_row(store);
    store_row_put_number(&row, (uint64_t)run->first_us);
    store_row_put_id(&row, run->id);
    store_row_put_number(&row, run->version);
    store_row_put_number(&row, (uint64_t)run->told_us);
    store_row_put_bytes(&row, run->line);
    store_row_put_end(&row);
    store_changes_put(store, RUN_PUT);
    return store_file_step(&store->file, store->statements[RUN_PUT], ret_error);
}

enum status store_runs_put(struct store *store, const struct ended_run *runs, size_t count,
                           struct error *ret_error)
{
    enum status status = store_file_begin(&store->file, false, ret_error);

    store_changes_begin(store);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = put_run(store, &runs[i], ret_error);
    if (status == STATUS_OK)
        status = store_changes_write(store, false, ret_error);
    return store_file_end(&store->file, status, ret_error);
}

struct run_visitor {
    run_visit *visit;
    void *owner;
};

static bool take_run(sqlite3_stmt *statement, void *visitor, bool *ret_good)
{
    struct run_visitor *to = visitor;
    struct store_row row = store_row_begin(statement, "runs");
    struct ended_run run = {.first_us = (int64_t)store_row_number(&row)};

    run.id = store_row_id(&row);
    run.version = store_row_number(&row);
    run.told_us = (int64_t)store_row_number(&row);
    run.line = store_row_bytes(&row);
    *ret_good = store_row_good(&row);
    return *ret_good && to->visit(to->owner, &run);
}

enum status store_runs(struct store *store, run_visit *visit, void *owner, struct error *ret_error)
{
    struct run_visitor visitor = {.visit = visit, .owner = owner};

    return visit_rows(store, RUN_READ, "runs", 3, take_run, &visitor, ret_error);
}

enum status store_audit(struct store *store, int64_t time_us, const char *what, struct span detail,
                        struct error *ret_error)
{
    struct store_row row = store_row_begin(store->statements[AUDIT_PUT], "audit");
    enum status status = store_file_begin(&store->file, true, ret_error);

    store_row_put_number(&row, (uint64_t)time_us);
    store_row_put_text(&row, span_of(what));
    store_row_put_bytes(&row, detail);
    store_row_put_end(&row);
    if (status == STATUS_OK)
        status = store_file_step(&store->file, store->statements[AUDIT_PUT], ret_error);
    return store_file_end(&store->file, status, ret_error);
}

struct audit_visitor {
    audit_visit *visit;
    void *owner;
};

static bool take_audit(sqlite3_stmt *statement, void *visitor, bool *ret_good)
{
    struct audit_visitor *to = visitor;
    struct store_row row = store_row_begin(statement, "audit");
    int64_t time_us = (int64_t)store_row_number(&row);
    int what = row.column;

    store_row_bytes(&row);
    struct span detail = store_row_bytes(&row);
    *ret_good = store_row_good(&row);
    return *ret_good &&
           to->visit(to->owner, time_us, (const char *)sqlite3_column_text(statement, what), detail);
}

enum status store_audits(struct store *store, int64_t limit, audit_visit *visit, void *owner,
                         struct error *ret_error)
{
    struct audit_visitor visitor = {.visit = visit, .owner = owner};

    sqlite3_bind_int64(store->statements[AUDIT_READ], 1, limit);
    return visit_rows(store, AUDIT_READ, "audit", 2, take_audit, &visitor, ret_error);
}

struct removing {
    enum store_statement statement, table; /* STORE_STATEMENTS: no journal has the table */
};

enum status store_log_forget(struct store *store, int64_t before_us, int *ret_removed,
                             struct error *ret_error)
{
    static const struct removing lines[] = {{HISTORY_FORGET, HISTORY_PUT},
                                            {RUN_FORGET, RUN_PUT},
                                            {AUDIT_FORGET, STORE_STATEMENTS},
                                            {NOTIFICATION_FORGET, NOTIFICATION_PUT}};
    enum status status = STATUS_OK;
    int removed = 0;

    for (size_t i = 0; i < sizeof lines / sizeof *lines && status == STATUS_OK; i++) {
        sqlite3_bind_int64(store->statements[lines[i].statement], 1, before_us);
        sqlite3_bind_int(store->statements[lines[i].statement], 2, REMOVED_AT_ONCE);
        status = remove_rows(store, lines[i].statement, lines[i].table, &removed, ret_error);
    }
    *ret_removed = removed;
    return status;
}

enum status store_log_trim(struct store *store, int *ret_removed, struct error *ret_error)
{
    static const struct removing lines[] = {{HISTORY_OLDEST, HISTORY_PUT},
                                            {RUN_OLDEST, RUN_PUT},
                                            {AUDIT_OLDEST, STORE_STATEMENTS},
                                            {NOTIFICATION_OLDEST, NOTIFICATION_PUT}};
    enum status status = STATUS_OK;
    int removed = 0;

    for (size_t i = 0; i < sizeof lines / sizeof *lines && status == STATUS_OK; i++) {
        sqlite3_bind_int(store->statements[lines[i].statement], 1, REMOVED_AT_ONCE);
        status = remove_rows(store, lines[i].statement, lines[i].table, &removed, ret_error);
    }
    *ret_removed = removed;
    return status;
}
