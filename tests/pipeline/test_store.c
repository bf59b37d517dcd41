/* The store on a real file, beside a table in memory that says what must come back. */
#include "base/memory.h"
#include "pipeline/store_internal.h"
#include "tests/base/random.h"
#include "tests/pipeline/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    struct folder folder;
    const char *path;
    struct store_options options;
    struct store *store;
    struct error error;
};

static void assert_status(const struct fixture *fixture, enum status status, enum status wanted)
{
    if (status != wanted)
        fail_msg("status %d, not %d: %s", status, wanted, fixture->error.text);
}

static void reopen(struct fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
    assert_status(fixture, store_open(fixture->path, &fixture->options, &fixture->store, &fixture->error),
                  STATUS_OK);
}

static void set_up(struct fixture *fixture)
{
    *fixture = (struct fixture){0};
    folder_open(&fixture->folder);
    fixture->path = memory_text(folder_path(&fixture->folder, "weir.db"),
                                strlen(folder_path(&fixture->folder, "weir.db")));
    reopen(fixture);
}

static void tear_down(struct fixture *fixture)
{
    store_close(fixture->store);
    folder_close(&fixture->folder);
    free((char *)fixture->path);
}

static struct state_value value_of(uint32_t block, const char *text)
{
    return (struct state_value){
        .key = {.kind = STATE_SERIES, .owner = 3, .part = UINT64_MAX - 1, .block = block},
        .bytes = span_of(text)};
}

static void put(struct fixture *fixture, uint64_t generation, uint32_t block, const char *text)
{
    struct state_value value = value_of(block, text);

    assert_status(fixture, store_put(fixture->store, generation, &value, 1, &fixture->error), STATUS_OK);
}

static void flip(struct fixture *fixture, uint64_t generation)
{
    const struct store_flip flip = {.generation = generation};

    assert_status(fixture, store_flip(fixture->store, &flip, &fixture->error), STATUS_OK);
}

struct loaded {
    char text[4096]; /* "KIND/BLOCK=VALUE " */
    size_t size;
};

static enum status take(void *owner, const struct state_key *key, struct span bytes, struct error *ret_error)
{
    struct loaded *loaded = owner;

    loaded->size += (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size,
                                     "%u/%u=%.*s ", key->kind, key->block, (int)bytes.size, bytes.data);
    return STATUS_OK;
}

static void assert_loads(struct fixture *fixture, const char *wanted)
{
    struct loaded loaded = {0};

    assert_status(fixture, store_load(fixture->store, take, &loaded, &fixture->error), STATUS_OK);
    assert_string_equal(loaded.text, wanted);
}

static void tidy_all(struct fixture *fixture)
{
    for (int i = 0; store_tidy(fixture->store, 0); i++)
        assert_true(i < 1000);
}

static uint64_t count_values(struct fixture *fixture)
{
    struct store_figures figures;

    assert_status(fixture, store_figures(fixture->store, &figures, &fixture->error), STATUS_OK);
    return figures.values;
}

static void run_sql(struct fixture *fixture, const char *sql)
{
    sqlite3 *other;
    char *text = NULL;

    assert_int_equal(sqlite3_open(fixture->path, &other), SQLITE_OK);
    if (sqlite3_exec(other, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    sqlite3_close(other);
}

static void generations_replace_each_other(void **state)
{
    struct fixture fixture;

    set_up(&fixture);
    assert_loads(&fixture, "");
    put(&fixture, 4, 1, "one");
    put(&fixture, 4, 2, "two");
    flip(&fixture, 4);
    put(&fixture, 7, 1, "uno");
    put(&fixture, 7, 1, "eins"); /* the last word of a generation */
    put(&fixture, 7, 0, "");
    reopen(&fixture); /* interrupted */
    assert_int_equal(store_generation(fixture.store), 4);
    assert_loads(&fixture, "5/1=one 5/2=two ");
    assert_int_equal(count_values(&fixture), 2);
    put(&fixture, 5, 1, "eins");
    put(&fixture, 5, 0, "");
    flip(&fixture, 5);
    flip(&fixture, 6); /* nothing changed */
    assert_int_equal(count_values(&fixture), 4);
    assert_loads(&fixture, "5/0= 5/1=eins 5/2=two ");
    reopen(&fixture); /* what was not tidied is found again */
    tidy_all(&fixture);
    assert_int_equal(count_values(&fixture), 3);
    assert_loads(&fixture, "5/0= 5/1=eins 5/2=two ");
    put(&fixture, 8, 2, "zwei");
    tidy_all(&fixture); /* not before the flip */
    flip(&fixture, 8);
    tidy_all(&fixture);
    assert_int_equal(count_values(&fixture), 3);
    assert_loads(&fixture, "5/0= 5/1=eins 5/2=zwei ");
    tear_down(&fixture);
}

static void dropped_tables_go_with_the_flip(void **state)
{
    struct fixture fixture;
    const struct state_table table = {.kind = STATE_SERIES, .owner = 3, .part = UINT64_MAX - 1};
    const struct store_flip drop = {.generation = 2, .dropped = &table, .dropped_count = 1};
    struct state_value other = {.key = {.kind = STATE_RUNS}, .bytes = SPAN_LITERAL("r")};

    set_up(&fixture);
    put(&fixture, 1, 1, "one");
    assert_status(&fixture, store_put(fixture.store, 1, &other, 1, &fixture.error), STATUS_OK);
    flip(&fixture, 1);
    assert_loads(&fixture, "5/1=one 7/0=r ");
    put(&fixture, 2, 9, "new");
    assert_status(&fixture, store_flip(fixture.store, &drop, &fixture.error), STATUS_OK);
    assert_loads(&fixture, "5/9=new 7/0=r ");
    tidy_all(&fixture);
    reopen(&fixture);
    assert_loads(&fixture, "5/9=new 7/0=r ");
    tear_down(&fixture);
}

/* Random puts, flips, interruptions and tidying against an array of what must be there. */
static void any_history_loads_the_newest_complete_cut(void **state)
{
    enum { BLOCKS = 12 };
    struct fixture fixture;
    char cut[BLOCKS][24] = {{0}}, next[BLOCKS][24] = {{0}};
    uint64_t seed = 42, generation = 1;

    set_up(&fixture);
    for (int step = 0; step < 1500; step++) {
        uint64_t choice = random_next(&seed) % 20;

        if (choice < 12) {
            uint32_t block = (uint32_t)(random_next(&seed) % BLOCKS);
            snprintf(next[block], sizeof next[block], "v%d", step);
            put(&fixture, generation, block, next[block]);
        } else if (choice < 15) {
            flip(&fixture, generation++);
            memcpy(cut, next, sizeof cut);
        } else if (choice < 18) {
            store_tidy(fixture.store, 0);
        } else {
            struct loaded wanted = {0};
            reopen(&fixture);
            for (uint32_t i = 0; i < BLOCKS; i++)
                if (cut[i][0])
                    take(&wanted, &(struct state_key){.kind = STATE_SERIES, .block = i}, span_of(cut[i]),
                         NULL);
            assert_loads(&fixture, wanted.text);
            memcpy(next, cut, sizeof cut);
        }
    }
    tear_down(&fixture);
}

static void the_file_stays_bounded(void **state)
{
    struct fixture fixture;
    static char noise[20][30000];
    uint64_t seed = 1;

    set_up(&fixture);
    for (uint64_t generation = 1; generation <= 2000; generation++) {
        for (uint32_t block = 0; block < 3; block++) {
            uint32_t which = (uint32_t)(random_next(&seed) % 20);
            for (size_t i = 0; i < sizeof noise[0]; i += 8) {
                uint64_t word = random_next(&seed);
                memcpy(&noise[which][i], &word, 8);
            }
            struct state_value value = value_of(which, "");
            value.bytes = span_make(noise[which], sizeof noise[0]);
            assert_status(&fixture, store_put(fixture.store, generation, &value, 1, &fixture.error),
                          STATUS_OK);
        }
        flip(&fixture, generation);
        store_tidy(fixture.store, 0);
    }
    struct store_figures figures;
    struct stat log;
    assert_status(&fixture, store_figures(fixture.store, &figures, &fixture.error), STATUS_OK);
    assert_true(figures.file_bytes < 2000000); /* 600,000 bytes of values */
    assert_int_equal(stat(folder_path(&fixture.folder, "weir.db-wal"), &log), 0);
    assert_true(log.st_size < 40 << 20);
    tear_down(&fixture);
}

static void fill_all_tables(struct fixture *fixture)
{
    const struct outbox_document document = {
        .place = {.sink = 1, .lane = 2, .sequence = 3}, .kind = DOC_ALERT, .body = SPAN_LITERAL("document")};
    const struct notification notification = {.sink = 1, .line = {1, 2}, .body = SPAN_LITERAL("line")};
    const struct history_line line = {.id = {7, 8}, .at_us = 5, .line = SPAN_LITERAL("{}")};
    const struct ended_run run = {.first_us = 4, .id = {7, 9}, .version = 2, .line = SPAN_LITERAL("{}")};

    put(fixture, 1, 7, "a value that is long enough to be worth a look");
    flip(fixture, 1);
    assert_status(fixture, store_outbox_put(fixture->store, &document, 1, &fixture->error), STATUS_OK);
    assert_status(fixture, store_notify(fixture->store, &notification, 1, &fixture->error), STATUS_OK);
    assert_status(fixture, store_history_put(fixture->store, &line, 1, &fixture->error), STATUS_OK);
    assert_status(fixture, store_runs_put(fixture->store, &run, 1, &fixture->error), STATUS_OK);
    assert_status(fixture, store_audit(fixture->store, 9, "reset", SPAN_LITERAL("all"), &fixture->error),
                  STATUS_OK);
}

struct damages {
    int count;
    char last[700];
};

static void note_damage(void *owner, const char *text)
{
    struct damages *damages = owner;

    damages->count++;
    snprintf(damages->last, sizeof damages->last, "%s", text);
}

static void changes_in_any_column_are_found(void **state)
{
    static const struct {
        const char *table, *columns, *row;
    } cases[] = {
        {"state", "kind owner part block generation size value checksum", "state with kind"},
        {"outbox",
         "sink lane sequence kind id_high id_low group_high group_low version time_us flags body checksum",
         "outbox with sink"},
        {"notifications",
         "sink line_high line_low dedup_high dedup_low episode_high episode_low at_us told_us flags body "
         "checksum",
         "notifications with sink"},
        {"history", "id_high id_low episode_high episode_low revision at_us told_us line checksum",
         "history with id_high"},
        {"runs", "first_us id_high id_low version told_us line checksum", "runs with first_us"},
        {"audit", "time_us what detail checksum", "audit with time_us"},
    };
    struct fixture fixture;
    struct damages damages = {0};

    set_up(&fixture);
    fill_all_tables(&fixture);
    assert_status(&fixture, store_verify(fixture.store, note_damage, &damages, &fixture.error), STATUS_OK);
    assert_int_equal(damages.count, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char columns[200], sql[300], *at = NULL;

        snprintf(columns, sizeof columns, "%s", cases[i].columns);
        for (char *name = strtok_r(columns, " ", &at); name; name = strtok_r(NULL, " ", &at)) {
            bool text = strstr("value body line what detail", name) != NULL;
            char changed[100], wrong[300];

            snprintf(changed, sizeof changed, text ? "CAST('x' || substr(%s, 2) AS BLOB)" : "%s + 1", name);
            snprintf(wrong, sizeof wrong, "CREATE TABLE copy AS SELECT * FROM %s; UPDATE %s SET %s = %s",
                     cases[i].table, cases[i].table, name, changed);
            run_sql(&fixture, wrong);
            damages = (struct damages){0};
            assert_status(&fixture, store_verify(fixture.store, note_damage, &damages, &fixture.error),
                          STATUS_OK);
            assert_int_equal(damages.count, 1);
            assert_non_null(strstr(damages.last, cases[i].row));
            if (i == 0) {
                struct loaded loaded = {0};
                assert_status(&fixture, store_load(fixture.store, take, &loaded, &fixture.error),
                              STATUS_FATAL);
                assert_non_null(strstr(fixture.error.text, "is damaged: row of state with kind"));
            }
            snprintf(sql, sizeof sql, "DELETE FROM %s; INSERT INTO %s SELECT * FROM copy; DROP TABLE copy",
                     cases[i].table, cases[i].table);
            run_sql(&fixture, sql);
        }
    }
    assert_loads(&fixture, "5/7=a value that is long enough to be worth a look ");
    tear_down(&fixture);
}

static void a_lost_row_is_found(void **state)
{
    struct fixture fixture;
    struct damages damages = {0};
    struct loaded loaded = {0};

    set_up(&fixture);
    fill_all_tables(&fixture);
    run_sql(&fixture, "DROP TRIGGER state_removed; DELETE FROM state");
    assert_status(&fixture, store_load(fixture.store, take, &loaded, &fixture.error), STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "0 state values, 1 by its count"));
    assert_status(&fixture, store_verify(fixture.store, note_damage, &damages, &fixture.error), STATUS_OK);
    assert_int_equal(damages.count, 1);
    tear_down(&fixture);
}

/* Every byte of the file in turn, with steps: nothing wrong is ever loaded without a word. */
static void a_flipped_byte_of_the_file_is_never_loaded_silently(void **state)
{
    struct fixture fixture;
    const char *wanted = "5/7=a value that is long enough to be worth a look ";
    size_t size;
    int refused = 0;

    set_up(&fixture);
    fill_all_tables(&fixture);
    store_close(fixture.store);
    fixture.store = NULL;
    char *bytes = folder_get(&fixture.folder, "weir.db", &size);
    for (size_t at = 0; at < size; at += 211) {
        struct loaded loaded = {0};

        bytes[at] ^= 0x10;
        folder_put(&fixture.folder, "weir.db", bytes, size);
        bytes[at] ^= 0x10;
        enum status status = store_open(fixture.path, &fixture.options, &fixture.store, &fixture.error);
        if (status == STATUS_OK)
            status = store_load(fixture.store, take, &loaded, &fixture.error);
        if (status == STATUS_OK)
            assert_string_equal(loaded.text, wanted);
        refused += status != STATUS_OK;
        store_close(fixture.store);
        fixture.store = NULL;
        unlink(folder_path(&fixture.folder, "weir.db-wal"));
        unlink(folder_path(&fixture.folder, "weir.db-shm"));
    }
    assert_true(refused > 0);
    free(bytes);
    tear_down(&fixture);
}

static void the_limit_takes_history_first(void **state)
{
    struct fixture fixture;
    static char text[4000];
    uint64_t seed = 3;
    struct store_figures figures;

    set_up(&fixture);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)random_next(&seed);
    fixture.options.limit_bytes = 100000;
    reopen(&fixture);
    for (uint64_t i = 0; i < 20; i++) {
        struct history_line line = {
            .id = {1, i}, .at_us = (int64_t)i, .told_us = (int64_t)i, .line = span_make(text, sizeof text)};
        assert_status(&fixture, store_history_put(fixture.store, &line, 1, &fixture.error), STATUS_OK);
    }
    enum status status = STATUS_OK;
    uint32_t block = 0;
    for (; status == STATUS_OK && block < 100; block++) {
        struct state_value value = value_of(block, "");
        value.bytes = span_make(text, sizeof text);
        status = store_put(fixture.store, 1, &value, 1, &fixture.error);
    }
    assert_status(&fixture, status, STATUS_RETRY);
    assert_non_null(strstr(fixture.error.text, "limit 100000"));
    assert_status(&fixture, store_figures(fixture.store, &figures, &fixture.error), STATUS_OK);
    assert_true(figures.stored_bytes <= 100000 && figures.values == block - 1 && block == 25);
    fixture.store->options.limit_bytes = 200000; /* the cause is gone: the same call succeeds */
    put(&fixture, 1, block, "more");
    tear_down(&fixture);
}

static bool read_document(void *owner, const struct outbox_document *document)
{
    struct loaded *loaded = owner;

    loaded->size +=
        (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size, "%d:%.*s%s%s ",
                         (int)document->place.sequence, (int)document->body.size, document->body.data,
                         document->prompt ? "p" : "", document->prompted ? "d" : "");
    return loaded->size < 40;
}

static bool read_lane(void *owner, uint64_t lane)
{
    struct loaded *loaded = owner;

    loaded->size += (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size, "%llu ",
                                     (unsigned long long)lane);
    return true;
}

static void the_outbox_keeps_its_order(void **state)
{
    struct fixture fixture;
    struct outbox_document documents[6];
    struct loaded loaded = {0}, lanes = {0}, after = {0};
    const char *const bodies[] = {"a", "b", "c", "d", "e", "other"};

    set_up(&fixture);
    for (int i = 0; i < 6; i++)
        documents[i] =
            (struct outbox_document){.place = {.sink = 1, .lane = 4, .sequence = (uint64_t)(6 - i)},
                                     .prompt = i == 1,
                                     .prompted = i == 2,
                                     .body = span_of(bodies[i])};
    documents[5].place.lane = UINT64_MAX;
    assert_status(&fixture, store_outbox_put(fixture.store, documents, 6, &fixture.error), STATUS_OK);
    documents[0].body = span_of("later");
    assert_status(&fixture, store_outbox_put(fixture.store, documents, 1, &fixture.error), STATUS_OK);
    store_outbox_read(fixture.store, 1, 4, 3, read_document, &loaded, &fixture.error);
    assert_string_equal(loaded.text, "3:d 4:cd 5:bp 6:a ");
    store_outbox_lanes(fixture.store, 1, read_lane, &lanes, &fixture.error);
    assert_string_equal(lanes.text, "18446744073709551615 4 ");

    const struct outbox_key done[] = {{1, 4, 2}, {1, 4, 4}, {1, 4, 99}};
    const struct store_flip flip = {.generation = 1, .acknowledged = done, .acknowledged_count = 3};
    assert_status(&fixture, store_flip(fixture.store, &flip, &fixture.error), STATUS_OK);
    assert_status(&fixture, store_outbox_cut(fixture.store, 1, 4, 6, &fixture.error), STATUS_OK);
    reopen(&fixture);
    store_outbox_read(fixture.store, 1, 4, 0, read_document, &after, &fixture.error);
    assert_string_equal(after.text, "3:d 5:bp ");
    tear_down(&fixture);
}

static bool read_notification(void *owner, const struct notification *notification)
{
    struct loaded *loaded = owner;

    loaded->size += (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size,
                                     "%d:%.*s%s ", (int)notification->at_us, (int)notification->body.size,
                                     notification->body.data, notification->sent ? "!" : "");
    return true;
}

static bool read_line(void *owner, const struct history_line *line)
{
    struct loaded *loaded = owner;

    loaded->size += (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size, "%.*s ",
                                     (int)line->line.size, line->line.data);
    return true;
}

static bool read_audit(void *owner, int64_t time_us, const char *what, struct span detail)
{
    struct loaded *loaded = owner;

    loaded->size += (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size,
                                     "%d %s %.*s ", (int)time_us, what, (int)detail.size, detail.data);
    return true;
}

static void logs_come_back_in_their_order(void **state)
{
    struct fixture fixture;
    struct notification told = {
        .sink = 1, .line = {1, 1}, .at_us = 20, .told_us = 50, .body = SPAN_LITERAL("x")};
    struct loaded notifications = {0}, history = {0}, audit = {0}, kept = {0}, found = {0};

    set_up(&fixture);
    assert_status(&fixture, store_notify(fixture.store, &told, 1, &fixture.error), STATUS_OK);
    told.sent = true;
    assert_status(&fixture, store_notify(fixture.store, &told, 1, &fixture.error), STATUS_OK);
    told = (struct notification){
        .sink = 2, .line = {1, 1}, .at_us = 10, .told_us = 60, .body = SPAN_LITERAL("y")};
    assert_status(&fixture, store_notify(fixture.store, &told, 1, &fixture.error), STATUS_OK);
    store_notifications(fixture.store, read_notification, &notifications, &fixture.error);
    assert_string_equal(notifications.text, "20:x! 10:y ");

    const struct history_line lines[] = {
        {.id = {1, 1}, .at_us = 50, .told_us = 55, .line = SPAN_LITERAL("old")},
        {.id = {1, 2}, .at_us = 60, .told_us = 56, .line = SPAN_LITERAL("new")},
        {.id = {1, 1}, .at_us = 70, .line = SPAN_LITERAL("again")}};
    assert_status(&fixture, store_history_put(fixture.store, lines, 3, &fixture.error), STATUS_OK);
    store_history(fixture.store, 10, read_line, &history, &fixture.error);
    assert_string_equal(history.text, "new old ");
    store_history_line(fixture.store, (struct id128){1, 1}, read_line, &found, &fixture.error);
    store_history_line(fixture.store, (struct id128){1, 3}, read_line, &found, &fixture.error);
    assert_string_equal(found.text, "old ");
    store_audit(fixture.store, 55, "first", SPAN_LITERAL("{}"), &fixture.error);
    store_audit(fixture.store, 56, "second", (struct span){0}, &fixture.error);
    store_audits(fixture.store, 10, read_audit, &audit, &fixture.error);
    assert_string_equal(audit.text, "56 second  55 first {} ");

    fixture.options.history_us = 40;
    reopen(&fixture);
    while (store_tidy(fixture.store, 96))
        ;
    store_history(fixture.store, 10, read_line, &kept, &fixture.error);
    store_audits(fixture.store, 10, read_audit, &kept, &fixture.error);
    store_notifications(fixture.store, read_notification, &kept, &fixture.error);
    assert_string_equal(kept.text, "new 56 second  10:y ");
    tear_down(&fixture);
}

static bool read_run(void *owner, const struct ended_run *run)
{
    struct loaded *loaded = owner;

    loaded->size +=
        (size_t)snprintf(loaded->text + loaded->size, sizeof loaded->text - loaded->size, "%d:%d %.*s ",
                         (int)run->first_us, (int)run->version, (int)run->line.size, run->line.data);
    return true;
}

static void assert_runs(struct fixture *fixture, const char *expected)
{
    struct loaded runs = {0};

    assert_status(fixture, store_runs(fixture->store, read_run, &runs, &fixture->error), STATUS_OK);
    runs.text[runs.size] = '\0';
    assert_string_equal(runs.text, expected);
}

static void the_newest_word_of_an_ended_run_is_kept(void **state)
{
    const struct ended_run runs[] = {
        {.first_us = 30, .id = {1, 1}, .version = 4, .told_us = 55, .line = SPAN_LITERAL("failed")},
        {.first_us = 20, .id = {1, 2}, .version = 3, .told_us = 50, .line = SPAN_LITERAL("early")},
        {.first_us = 30, .id = {1, 1}, .version = 6, .told_us = 60, .line = SPAN_LITERAL("again")},
        {.first_us = 30, .id = {1, 1}, .version = 4, .told_us = 65, .line = SPAN_LITERAL("failed")},
        {.first_us = 20, .id = {1, 2}, .version = 3, .told_us = 51, .line = SPAN_LITERAL("early")}};
    struct fixture fixture;
    struct store_figures figures;

    set_up(&fixture);
    assert_status(&fixture, store_runs_put(fixture.store, runs, 5, &fixture.error), STATUS_OK);
    assert_runs(&fixture, "20:3 early 30:6 again ");
    assert_status(&fixture, store_figures(fixture.store, &figures, &fixture.error), STATUS_OK);
    assert_int_equal(figures.runs, 2);
    assert_int_equal(figures.run_bytes, 10);
    fixture.options.history_us = 40;
    reopen(&fixture);
    while (store_tidy(fixture.store, 91))
        ;
    assert_runs(&fixture, "20:3 early 30:6 again ");
    while (store_tidy(fixture.store, 92))
        ;
    assert_runs(&fixture, "30:6 again ");
    fixture.options.limit_bytes = 1;
    reopen(&fixture);
    while (store_tidy(fixture.store, 92))
        ;
    assert_runs(&fixture, "");
    tear_down(&fixture);
}

/* Runs of years ago that are told today keep nothing from being forgotten. */
static void a_backfill_goes_when_its_time_has_come(void **state)
{
    enum { BACKFILL = 600 };
    struct ended_run runs[BACKFILL + 1];
    struct fixture fixture;
    struct store_figures figures;

    for (unsigned i = 0; i < BACKFILL; i++)
        runs[i] = (struct ended_run){
            .first_us = i, .id = {1, i}, .version = 2, .told_us = 100, .line = SPAN_LITERAL("young")};
    runs[BACKFILL] = (struct ended_run){
        .first_us = 2000, .id = {2, 1}, .version = 2, .told_us = 50, .line = SPAN_LITERAL("old")};
    set_up(&fixture);
    assert_status(&fixture, store_runs_put(fixture.store, runs, BACKFILL + 1, &fixture.error), STATUS_OK);
    fixture.options.history_us = 40;
    reopen(&fixture);
    while (store_tidy(fixture.store, 91))
        ;
    assert_status(&fixture, store_figures(fixture.store, &figures, &fixture.error), STATUS_OK);
    assert_int_equal(figures.runs, BACKFILL);
    while (store_tidy(fixture.store, 141))
        ;
    assert_runs(&fixture, "");
    tear_down(&fixture);
}

/* As the first version made it: without a history of runs. */
static void an_older_store_gets_its_run_history(void **state)
{
    struct fixture fixture;
    struct store *store;

    set_up(&fixture);
    fill_all_tables(&fixture);
    run_sql(&fixture, "DROP TABLE runs; DELETE FROM store_versions WHERE part = 'runs';"
                      "DELETE FROM store_totals WHERE part = 'runs'");
    store_close(fixture.store);
    fixture.store = NULL;
    struct store_options looking = {.read_only = true};
    assert_status(&fixture, store_open(fixture.path, &looking, &store, &fixture.error), STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "older weir"));
    reopen(&fixture);
    assert_runs(&fixture, "");
    assert_loads(&fixture, "5/7=a value that is long enough to be worth a look ");
    const struct ended_run run = {.first_us = 4, .id = {7, 9}, .version = 2, .line = SPAN_LITERAL("new")};
    assert_status(&fixture, store_runs_put(fixture.store, &run, 1, &fixture.error), STATUS_OK);
    reopen(&fixture);
    assert_runs(&fixture, "4:2 new ");
    tear_down(&fixture);
}

static void a_full_disk_is_told_and_keeps_nothing_half(void **state)
{
    struct fixture fixture;
    static char text[200000];
    uint64_t seed = 5;
    struct rlimit before, small = {.rlim_cur = 1 << 20};
    struct state_value values[3] = {value_of(1, ""), value_of(2, ""), value_of(3, "")};
    uint64_t generation = 1;

    set_up(&fixture);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)random_next(&seed);
    for (int i = 0; i < 3; i++)
        values[i].bytes = span_make(text, sizeof text);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    enum status status = STATUS_OK;
    for (; status == STATUS_OK && generation < 20; generation++) {
        struct store_flip flip = {.generation = generation};
        status = store_put(fixture.store, generation, values, 3, &fixture.error);
        if (status == STATUS_OK)
            status = store_flip(fixture.store, &flip, &fixture.error);
    }
    setrlimit(RLIMIT_FSIZE, &before);
    assert_status(&fixture, status, STATUS_RETRY);
    assert_non_null(strstr(fixture.error.text, fixture.path));
    generation--;
    assert_int_equal(store_generation(fixture.store), generation - 1);
    assert_status(&fixture, store_put(fixture.store, generation, values, 3, &fixture.error), STATUS_OK);
    flip(&fixture, generation);
    tidy_all(&fixture);
    assert_int_equal(count_values(&fixture), 3);
    tear_down(&fixture);
}

static void a_busy_file_is_told(void **state)
{
    struct fixture fixture;
    sqlite3 *other;
    struct state_value value = value_of(1, "one");

    set_up(&fixture);
    sqlite3_busy_timeout(fixture.store->file.database, 1);
    assert_int_equal(sqlite3_open(fixture.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_status(&fixture, store_put(fixture.store, 1, &value, 1, &fixture.error), STATUS_RETRY);
    assert_status(&fixture, store_audit(fixture.store, 1, "x", value.bytes, &fixture.error), STATUS_RETRY);
    assert_false(store_tidy(fixture.store, 0));
    assert_non_null(strstr(fixture.error.text, "locked"));
    sqlite3_close(other);
    put(&fixture, 1, 1, "one");
    flip(&fixture, 1);
    assert_loads(&fixture, "5/1=one ");
    tear_down(&fixture);
}

/* As another user: root may write anywhere. */
static void a_file_that_cannot_be_written_is_refused_at_open(void **state)
{
    struct fixture fixture;
    struct store *store;
    uid_t user = geteuid();

    set_up(&fixture);
    fill_all_tables(&fixture);
    store_close(fixture.store);
    fixture.store = NULL;
    assert_int_equal(chmod(fixture.path, 0444), 0);
    assert_int_equal(chmod(fixture.folder.path, 0555), 0);
    if (user == 0)
        assert_int_equal(seteuid(65534), 0);
    enum status status = store_open(fixture.path, &fixture.options, &store, &fixture.error);
    if (user == 0)
        assert_int_equal(seteuid(0), 0);
    assert_status(&fixture, status, STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "Permission denied"));
    assert_int_equal(chmod(fixture.folder.path, 0700), 0);
    tear_down(&fixture);
}

static void one_process_holds_the_lock(void **state)
{
    struct fixture fixture;
    int first, second;
    struct stat info;

    set_up(&fixture);
    assert_status(&fixture, store_lock(fixture.path, &first, &fixture.error), STATUS_OK);
    assert_status(&fixture, store_lock(fixture.path, &second, &fixture.error), STATUS_RETRY);
    assert_non_null(strstr(fixture.error.text, "another weir"));
    store_unlock(first);
    assert_status(&fixture, store_lock(fixture.path, &second, &fixture.error), STATUS_OK);
    store_unlock(second);
    assert_int_equal(stat(folder_path(&fixture.folder, "weir.db-lock"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(stat(fixture.path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    tear_down(&fixture);
}

static void a_newer_store_is_refused(void **state)
{
    struct fixture fixture;
    struct store *store;

    set_up(&fixture);
    run_sql(&fixture, "UPDATE store_versions SET version = 2 WHERE part = 'state'");
    assert_status(&fixture, store_open(fixture.path, &fixture.options, &store, &fixture.error), STATUS_FATAL);
    assert_non_null(
        strstr(fixture.error.text, "was written by a newer weir (state version 2; this weir reads 1)"));
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generations_replace_each_other),
        cmocka_unit_test(dropped_tables_go_with_the_flip),
        cmocka_unit_test(any_history_loads_the_newest_complete_cut),
        cmocka_unit_test(the_file_stays_bounded),
        cmocka_unit_test(changes_in_any_column_are_found),
        cmocka_unit_test(a_lost_row_is_found),
        cmocka_unit_test(a_flipped_byte_of_the_file_is_never_loaded_silently),
        cmocka_unit_test(the_limit_takes_history_first),
        cmocka_unit_test(the_outbox_keeps_its_order),
        cmocka_unit_test(logs_come_back_in_their_order),
        cmocka_unit_test(the_newest_word_of_an_ended_run_is_kept),
        cmocka_unit_test(a_backfill_goes_when_its_time_has_come),
        cmocka_unit_test(an_older_store_gets_its_run_history),
        cmocka_unit_test(a_full_disk_is_told_and_keeps_nothing_half),
        cmocka_unit_test(a_busy_file_is_told),
        cmocka_unit_test(a_file_that_cannot_be_written_is_refused_at_open),
        cmocka_unit_test(one_process_holds_the_lock),
        cmocka_unit_test(a_newer_store_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
