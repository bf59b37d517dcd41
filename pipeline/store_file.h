/* What the parts of a store file share: how the file is opened, versions and their upgrades, what a SQLite
 * error means, and rows with a checksum. A part is a table, or some, with a version of its own. */
#pragma once
#include "base/buffer.h"
#include "pipeline/store.h"

#include <sqlite3.h>

enum store_sync { STORE_SYNC_UNKNOWN, STORE_SYNC_OFF, STORE_SYNC_NORMAL, STORE_SYNC_FULL };

struct store_file {
    sqlite3 *database;
    enum store_sync sync; /* as it was said last */
    char *path;
    bool mirror; /* never synced */
    bool opened; /* until then what cannot be written is fatal, afterwards it may be so for a while only */
};

/* upgrades[v] is the SQL that makes version v + 1 of version v; version 0 is a file without the part. */
struct store_part {
    const char *name;
    const char *const *upgrades;
    int version;
};

/* Makes the file (mode 0600) and brings the parts to their versions. Closed again on failure. */
enum status store_file_open(struct store_file *file, const char *path, const struct store_options *options,
                            const struct store_part *parts, size_t count, struct error *ret_error);
void store_file_close(struct store_file *file); /* after its statements; all zero bytes is fine */
void store_file_remove(const char *path,
                       const struct store_options *options); /* with log and index; closed */

enum status store_file_report(const struct store_file *file, struct error *ret_error); /* the last error */
enum status store_file_run(struct store_file *file, const char *sql, struct error *ret_error);
enum status store_file_prepare(struct store_file *file, const char *sql, sqlite3_stmt **ret_statement,
                               struct error *ret_error);
/* Runs a statement without rows and resets it. */
enum status store_file_step(struct store_file *file, sqlite3_stmt *statement, struct error *ret_error);
enum status store_file_begin(struct store_file *file, bool durable, struct error *ret_error);
/* Commits when the status is OK, else rolls back; returns what has become of it. */
enum status store_file_end(struct store_file *file, enum status status, struct error *ret_error);

struct store_total {
    int64_t rows, bytes, plain_bytes;
};
#define STORE_TOTAL_SQL "SELECT rows, bytes, plain FROM store_totals WHERE part = ?1"
enum status store_file_total(struct store_file *file, sqlite3_stmt *statement, const char *part,
                             struct store_total *ret_total, struct error *ret_error);

/* Triggers keep the totals of a part, so that a limit holds whoever writes and no open has to scan a
 * gigabyte. SIZE and PLAIN are macros that give the SQL for the bytes of a row "new" or "old". */
// clang-format off
#define STORE_TOTALS(table, SIZE, PLAIN) \
    "INSERT INTO store_totals VALUES ('" table "', 0, 0, 0) ON CONFLICT DO NOTHING;" \
    "CREATE TRIGGER " table "_added AFTER INSERT ON " table " BEGIN UPDATE store_totals SET rows = rows + 1," \
    " bytes = bytes + " SIZE("new") ", plain = plain + " PLAIN("new") " WHERE part = '" table "'; END;" \
    "CREATE TRIGGER " table "_changed AFTER UPDATE ON " table " BEGIN UPDATE store_totals SET" \
    " bytes = bytes + " SIZE("new") " - (" SIZE("old") "), plain = plain + " PLAIN("new") " - (" PLAIN("old") ")" \
    " WHERE part = '" table "'; END;" \
    "CREATE TRIGGER " table "_removed AFTER DELETE ON " table " BEGIN UPDATE store_totals SET rows = rows - 1," \
    " bytes = bytes - (" SIZE("old") "), plain = plain - (" PLAIN("old") ") WHERE part = '" table "'; END;"
// clang-format on

/* One row, column by column; the last column is a checksum over the table's name and all columns before. */
struct store_row {
    sqlite3_stmt *statement;
    int column;
    uint64_t checksum;
    struct buffer *copy; /* gets what is put, packed, see store_journal.c; NULL: nobody wants it */
};
struct store_row store_row_begin(sqlite3_stmt *statement, const char *table);
void store_row_put_number(struct store_row *row, uint64_t number);
void store_row_put_text(struct store_row *row, struct span text);
void store_row_put_bytes(struct store_row *row, struct span bytes);
void store_row_put_id(struct store_row *row, struct id128 id);
void store_row_put_end(struct store_row *row);
uint64_t store_row_number(struct store_row *row);
struct span store_row_bytes(struct store_row *row); /* texts too: they may hold null bytes */
struct id128 store_row_id(struct store_row *row);
bool store_row_good(struct store_row *row);
/* All columns of a stepped row by their types. */
bool store_row_check(sqlite3_stmt *statement, const char *table);
