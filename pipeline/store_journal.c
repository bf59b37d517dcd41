/* A store that follows a journal: rows as entries of the changelog, and back. An entry's key is the table's
 * letter and the numbers of the row's key, its value the row as it was put. */
#include "pipeline/store_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

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

static enum status take_entry(void *owner, const struct journal_entry *entry, struct error *ret_error)
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

enum status store_follow(struct store *store, const struct journal_type *type, struct journal *journal,
                         struct error *ret_error)
{
    enum status status = store_file_begin(&store->file, false, ret_error);

    if (status == STATUS_OK)
        status = type->replay(journal, take_entry, store, ret_error);
    status = store_file_end(&store->file, status, ret_error);
    if (status == STATUS_OK)
        status = store_read_generation(store, ret_error);
    if (status != STATUS_OK)
        return status;
    store->changes.type = type;
    store->changes.journal = journal;
    store->changes.committed = store->generation;
    buffer_init(&store->changes.bytes, CHANGES_BYTES_MAX);
    return STATUS_OK;
}
