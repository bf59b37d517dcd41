/* A store that follows a journal: rows as entries of the changelog, and back. An entry's key is the table's
 * letter and the numbers of the row's key, its value the row as it was put.
 *
 * A mirror is never synced. It outlives its process in the system's memory, but not the machine's end, so its
 * place is only good as long as the machine has run since (the kernel's boot_id). Dropped: syncing it as a
 * store, which would cost a standby the disk's work of all others. */
#include "pipeline/store_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { NUMBER_BYTES = 8, CHANGES_BYTES_MAX = 1 << 30 };

/* Letters are stored: never change one. */
struct followed {
    enum store_statement put, remove;
    char letter;
    const char *table;
    unsigned key_numbers;
    const char *columns; /* n number, b bytes */
};

static const struct followed tables[] = {
    {STATE_PUT, STATE_REMOVE_OLDER, 's', "state", 4, "nnnnnnb"},
    {OUTBOX_PUT, OUTBOX_ACKNOWLEDGE, 'o', "outbox", 3, "nnnnnnnnnnnb"},
    {NOTIFICATION_PUT, NOTIFICATION_REMOVE, 'n', "notifications", 3, "nnnnnnnnnnb"},
    {HISTORY_PUT, HISTORY_REMOVE, 'h', "history", 2, "nnnnnnnb"},
    {RUN_PUT, RUN_REMOVE, 'r', "runs", 3, "nnnnnb"},
    {GENERATION_PUT, STORE_STATEMENTS, 'g', "store_generation", 0, "nn"},
};

static const struct followed *find_table(enum store_statement put)
{
    const struct followed *table = tables;

    while (table->put != put)
        table++;
    return table;
}

void store_changes_begin(struct store *store)
{
    struct store_changes *changes = &store->changes;

    changes->count = 0;
    if (changes->type)
        buffer_clear(&changes->bytes);
}

/* The entry under way begins where the last one ends, with the table's letter to come. */
static size_t begin_of_entry(const struct store_changes *changes)
{
    const struct store_change *last = changes->count ? &changes->items[changes->count - 1] : NULL;

    return last ? last->at + last->size : 0;
}

struct buffer *store_changes_row(struct store *store)
{
    struct store_changes *changes = &store->changes;

    if (!changes->type)
        return NULL;
    buffer_truncate(&changes->bytes, begin_of_entry(changes)); /* a row that could not be put */
    pack_u8(&changes->bytes, 0);
    return &changes->bytes;
}

static void add_change(struct store_changes *changes, const struct followed *table, bool gone)
{
    size_t at = begin_of_entry(changes);

    assert(!changes->bytes.full);
    changes->bytes.data[at] = table->letter;
    changes->items =
        memory_reserve(changes->items, &changes->capacity, changes->count + 1, sizeof *changes->items);
    changes->items[changes->count++] =
        (struct store_change){.at = at,
                              .key_size = 1 + table->key_numbers * NUMBER_BYTES,
                              .size = changes->bytes.size - at,
                              .gone = gone};
}

void store_changes_put(struct store *store, enum store_statement table)
{
    if (store->changes.type)
        add_change(&store->changes, find_table(table), false);
}

void store_changes_gone(struct store *store, enum store_statement which, const uint64_t *key)
{
    const struct followed *table = find_table(which);
    struct buffer *row = store_changes_row(store);

    if (!row)
        return;
    for (unsigned i = 0; i < table->key_numbers; i++)
        pack_u64(row, key[i]);
    add_change(&store->changes, table, true);
}

static struct journal_entry entry_of(const struct store_changes *changes, const struct store_change *change)
{
    const char *at = changes->bytes.data + change->at;

    return (struct journal_entry){.key = span_make(at, change->key_size),
                                  .value = change->gone ? span_make(NULL, 0)
                                                        : span_make(at + 1, change->size - 1)};
}

enum status store_changes_write(struct store *store, bool at_once, struct error *ret_error)
{
    struct store_changes *changes = &store->changes;
    enum status status = STATUS_OK;

    if (!changes->type || changes->count == 0)
        return STATUS_OK;
    if (at_once) {
        struct journal_entry *entries = memory_new(changes->count * sizeof *entries);

        for (size_t i = 0; i < changes->count; i++)
            entries[i] = entry_of(changes, &changes->items[i]);
        status = changes->type->append(changes->journal, entries, changes->count, ret_error);
        free(entries);
        return status;
    }
    for (size_t i = 0; i < changes->count && status == STATUS_OK; i++) {
        struct journal_entry entry = entry_of(changes, &changes->items[i]);

        status = changes->type->put(changes->journal, &entry, ret_error);
    }
    return status;
}

void store_changes_free(struct store *store)
{
    if (store->changes.type)
        buffer_free(&store->changes.bytes);
    free(store->changes.items);
}

/* Back from the changelog. */

static enum status broken(const struct store *store, struct error *ret_error)
{
    return fail(ret_error, "store %s: an entry of the changelog is damaged, or of a newer weir",
                store->file.path);
}

static enum status remove_row(struct store *store, const struct followed *table, struct unpack *key,
                              struct error *ret_error)
{
    sqlite3_stmt *statement;

    if (table->remove == STORE_STATEMENTS)
        return STATUS_OK;
    statement = store->statements[table->remove];
    for (unsigned i = 0; i < table->key_numbers; i++)
        sqlite3_bind_int64(statement, (int)i + 1, (sqlite3_int64)unpack_u64(key));
    if (table->put == STATE_PUT) /* those of every generation */
        sqlite3_bind_int64(statement, KEY_NUMBERS_MAX + 1, INT64_MAX);
    return store_file_step(&store->file, statement, ret_error);
}

static enum status put_row(struct store *store, const struct followed *table, struct span value,
                           struct error *ret_error)
{
    struct store_row row = store_row_begin(store->statements[table->put], table->table);
    struct unpack in = unpack_begin(value);

    for (const char *column = table->columns; *column; column++)
        if (*column == 'n')
            store_row_put_number(&row, unpack_u64(&in));
        else
            store_row_put_bytes(&row, unpack_text(&in));
    store_row_put_end(&row);
    if (!unpack_ended(&in))
        return broken(store, ret_error);
    return store_file_step(&store->file, store->statements[table->put], ret_error);
}

enum status store_take(void *owner, const struct journal_entry *entry, struct error *ret_error)
{
    struct store *store = owner;
    struct unpack key = unpack_begin(entry->key);
    char letter = (char)unpack_u8(&key);
    enum status status;

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const struct followed *table = &tables[i];

        if (table->letter != letter || entry->key.size != 1 + table->key_numbers * NUMBER_BYTES)
            continue;
        status = remove_row(store, table, &key, ret_error);
        if (status == STATUS_OK && entry->value.data)
            status = put_row(store, table, entry->value, ret_error);
        return status;
    }
    return broken(store, ret_error);
}

/* Places. */

static const char *const mirror_upgrades[] = {
    "CREATE TABLE mirror (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL,"
    " fresh_us INTEGER NOT NULL, boot INTEGER NOT NULL, checksum INTEGER NOT NULL);",
};
const struct store_part store_mirror_part = {.name = "mirror",
                                             .upgrades = mirror_upgrades,
                                             .version = sizeof mirror_upgrades / sizeof *mirror_upgrades};

const char *const store_mirror_sql[STORE_STATEMENTS] = {
    [MIRROR_PUT] = "INSERT OR REPLACE INTO mirror VALUES (1, ?1, ?2, ?3, ?4)",
    [MIRROR_READ] = "SELECT next, fresh_us, boot, checksum FROM mirror",
    [MIRROR_REMOVE] = "DELETE FROM mirror",
};

/* Another number after each start of the machine; 0: not known. */
static uint64_t number_of_boot(void)
{
    char text[64];
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text);

    if (file >= 0)
        close(file);
    return size > 0 ? hash_bytes(text, (size_t)size, 0) : 0;
}

enum status store_read_place(struct store *store, struct error *ret_error)
{
    sqlite3_stmt *statement = store->statements[MIRROR_READ];
    struct journal_place place = {0};
    enum status status = STATUS_OK;
    int code = sqlite3_step(statement);

    if (code == SQLITE_ROW) {
        struct store_row row = store_row_begin(statement, "mirror");

        place.next = (int64_t)store_row_number(&row);
        place.fresh_us = (int64_t)store_row_number(&row);
        uint64_t boot = store_row_number(&row);
        if (!store_row_good(&row) || boot == 0 || boot != number_of_boot())
            place = (struct journal_place){0};
    } else if (code != SQLITE_DONE) {
        status = store_file_report(&store->file, ret_error);
    }
    sqlite3_reset(statement);
    store->place = place;
    return status;
}

struct journal_place store_place(const struct store *store)
{
    return store->place;
}

static enum status put_place(struct store *store, const struct journal_place *place, struct error *ret_error)
{
    struct store_row row = store_row_begin(store->statements[MIRROR_PUT], "mirror");

    store_row_put_number(&row, (uint64_t)place->next);
    store_row_put_number(&row, (uint64_t)place->fresh_us);
    store_row_put_number(&row, number_of_boot());
    store_row_put_end(&row);
    return store_file_step(&store->file, store->statements[MIRROR_PUT], ret_error);
}

enum status store_take_begin(struct store *store, struct error *ret_error)
{
    assert(store->options.mirror && !store->changes.type);
    return store_file_begin(&store->file, false, ret_error);
}

enum status store_take_end(struct store *store, enum status status, const struct journal_place *place,
                           struct error *ret_error)
{
    if (status == STATUS_OK)
        status = put_place(store, place, ret_error);
    status = store_file_end(&store->file, status, ret_error);
    if (status == STATUS_OK)
        store->place = *place;
    return status;
}

/* In one transaction with the end of the place: a replay that fails leaves the mirror as it was. */
static enum status replay(struct store *store, const struct journal_type *type, struct journal *journal,
                          struct error *ret_error)
{
    struct journal_place place = store->place;
    enum status status = store_file_begin(&store->file, false, ret_error);

    if (status == STATUS_OK)
        status = type->replay(journal, &place, store_take, store, ret_error);
    if (status == STATUS_OK)
        status = store_file_step(&store->file, store->statements[MIRROR_REMOVE], ret_error);
    return store_file_end(&store->file, status, ret_error);
}

enum status store_follow(struct store *store, const struct journal_type *type, struct journal *journal,
                         struct error *ret_error)
{
    bool is_warm = store->place.next > 0;
    enum status status = replay(store, type, journal, ret_error);

    if (is_warm && (status == STATUS_SKIP || status == STATUS_FATAL)) {
        status = store_make_anew(store, ret_error);
        if (status == STATUS_OK)
            status = replay(store, type, journal, ret_error);
    }
    if (status == STATUS_OK)
        status = store_read_generation(store, ret_error);
    if (status != STATUS_OK)
        return status == STATUS_SKIP ? STATUS_RETRY : status;
    store->place = (struct journal_place){0};
    store->changes.type = type;
    store->changes.journal = journal;
    store->changes.committed = store->generation;
    buffer_init(&store->changes.bytes, CHANGES_BYTES_MAX);
    return STATUS_OK;
}
