/* The dead-letter store on a real file: what survives, what is refused, and how it says so. */
#include "base/memory.h"
#include "pipeline/dead_letters.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64], path[128];
    struct dead_letters *store;
    struct error error;
};

static void assert_status(const struct fixture *fixture, enum status status, enum status wanted)
{
    if (status != wanted)
        fail_msg("status %d, not %d: %s", status, wanted, fixture->error.text);
}

static void open_store(struct fixture *fixture)
{
    assert_status(
        fixture,
        dead_letters_open(fixture->path, &(struct store_options){0}, &fixture->store, &fixture->error),
        STATUS_OK);
}

static void close_store(struct fixture *fixture)
{
    dead_letters_close(fixture->store);
    fixture->store = NULL;
}

static void set_up(struct fixture *fixture)
{
    *fixture = (struct fixture){.folder = "/tmp/weir-dead-letters-XXXXXX"};
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof fixture->path, "%s/weir.db", fixture->folder);
    open_store(fixture);
}

static void tear_down(struct fixture *fixture)
{
    const char *const ends[] = {"", "-wal", "-shm"};
    char path[160];

    close_store(fixture);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", fixture->path, ends[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(fixture->folder), 0);
}

static struct dead_letter letter_at(int64_t offset)
{
    return (struct dead_letter){
        .source = SPAN_LITERAL("orders"),
        .topic = SPAN_LITERAL("orders.v1"),
        .partition = 2,
        .offset = offset,
        .stage = "decode",
        .reason = SPAN_LITERAL("not JSON"),
        .payload = SPAN_LITERAL("{"),
        .time_us = 1700000000000000 + offset,
    };
}

static void put(struct fixture *fixture, const struct dead_letter *letters, size_t count)
{
    assert_status(fixture, dead_letters_put(fixture->store, letters, count, &fixture->error), STATUS_OK);
}

static int64_t count_letters(struct fixture *fixture, int64_t *ret_bytes)
{
    int64_t letters;

    assert_status(fixture, dead_letters_count(fixture->store, &letters, ret_bytes, &fixture->error),
                  STATUS_OK);
    return letters;
}

struct visited {
    int count, stop_after;
    int64_t ids[16], offsets[16];
};

static bool visit(void *owner, const struct stored_letter *stored)
{
    struct visited *visited = owner;

    visited->ids[visited->count] = stored->id;
    visited->offsets[visited->count] = stored->letter.offset;
    return ++visited->count != visited->stop_after;
}

static void test_list_get_delete(void **state)
{
    struct fixture fixture;
    struct dead_letter letters[5];
    struct visited visited = {0}, stopped = {.stop_after = 2};
    int64_t bytes;

    set_up(&fixture);
    for (int i = 0; i < 5; i++)
        letters[i] = letter_at(i);
    letters[3].stage = "late";
    letters[4].topic = SPAN_LITERAL("other");
    put(&fixture, letters, 5);
    put(&fixture, letters, 0);

    struct dead_letters_query query = {0};
    assert_int_equal(dead_letters_list(fixture.store, &query, visit, &visited, &fixture.error), STATUS_OK);
    assert_int_equal(visited.count, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(visited.offsets[i], 4 - i); /* newest first */
    dead_letters_list(fixture.store, &query, visit, &stopped, &fixture.error);
    assert_int_equal(stopped.count, 2);

    query = (struct dead_letters_query){.stage = "decode", .topic = "orders.v1", .limit = 2};
    struct visited filtered = {0};
    dead_letters_list(fixture.store, &query, visit, &filtered, &fixture.error);
    assert_int_equal(filtered.count, 2);
    assert_int_equal(filtered.offsets[0], 2);
    assert_int_equal(filtered.offsets[1], 1);
    query = (struct dead_letters_query){.before = visited.ids[2]};
    struct visited older = {0};
    dead_letters_list(fixture.store, &query, visit, &older, &fixture.error);
    assert_int_equal(older.count, 2);
    assert_int_equal(older.offsets[0], 1);

    int64_t id = visited.ids[0];
    assert_int_equal(dead_letters_delete(fixture.store, id, &fixture.error), STATUS_OK);
    assert_int_equal(dead_letters_delete(fixture.store, id, &fixture.error), STATUS_SKIP);
    assert_int_equal(dead_letters_get(fixture.store, id, visit, &visited, &fixture.error), STATUS_SKIP);
    assert_non_null(strstr(fixture.error.text, "no dead letter"));
    assert_int_equal(count_letters(&fixture, &bytes), 4);
    put(&fixture, &letters[4], 1); /* ids are not given twice */
    struct visited again = {0};
    query = (struct dead_letters_query){.limit = 1};
    dead_letters_list(fixture.store, &query, visit, &again, &fixture.error);
    assert_true(again.ids[0] > id);
    tear_down(&fixture);
}

static bool check_bytes(void *owner, const struct stored_letter *stored)
{
    const struct dead_letter *wanted = owner, *letter = &stored->letter;

    assert_true(span_equal(letter->source, wanted->source) && span_equal(letter->topic, wanted->topic));
    assert_true(span_equal(letter->sink, wanted->sink) && span_equal(letter->reason, wanted->reason));
    assert_true(span_equal(letter->payload, wanted->payload) &&
                span_equal(letter->document, wanted->document));
    assert_string_equal(letter->stage, wanted->stage);
    assert_int_equal(letter->partition, wanted->partition);
    assert_int_equal(letter->offset, wanted->offset);
    assert_int_equal(letter->item, wanted->item);
    assert_int_equal(letter->time_us, wanted->time_us);
    assert_int_equal(stored->payload_size, wanted->payload.size);
    assert_int_equal(stored->document_size, wanted->document.size);
    return true;
}

/* Null bytes, bytes that are no UTF-8, nothing at all, and the ends of the numbers, after a reopening. */
static void test_bytes_come_back(void **state)
{
    struct fixture fixture;
    const struct dead_letter letters[] = {
        {.source = SPAN_LITERAL("s"),
         .topic = SPAN_LITERAL("t\0u"),
         .partition = INT32_MAX,
         .offset = INT64_MAX,
         .item = UINT16_MAX,
         .stage = "sink",
         .sink = SPAN_LITERAL("search"),
         .reason = SPAN_LITERAL("a\0b\xff"),
         .payload = SPAN_LITERAL("\0\x01\xff\0"),
         .document = SPAN_LITERAL("{\"a\":1}\0"),
         .time_us = INT64_MIN},
        {.stage = "clean", .partition = -1, .offset = INT64_MIN},
    };
    int64_t bytes;

    set_up(&fixture);
    put(&fixture, letters, 2);
    assert_int_equal(count_letters(&fixture, &bytes), 2);
    assert_int_equal(bytes, 1 + 3 + 4 + 4 + 8);
    close_store(&fixture);
    open_store(&fixture);
    for (int64_t i = 0; i < 2; i++)
        assert_int_equal(
            dead_letters_get(fixture.store, i + 1, check_bytes, (void *)&letters[i], &fixture.error),
            STATUS_OK);
    tear_down(&fixture);
}

static void test_repeats_are_ignored(void **state)
{
    struct fixture fixture;
    struct dead_letter letters[7];
    int64_t bytes, bytes_again;

    set_up(&fixture);
    for (int i = 0; i < 7; i++)
        letters[i] = letter_at(1);
    letters[1].offset = 2;
    letters[2].item = 1;
    letters[3].stage = "sink";
    letters[4].stage = "sink";
    letters[4].sink = SPAN_LITERAL("search");
    letters[5].partition = 3;
    letters[6].topic = SPAN_LITERAL("orders.v2");
    put(&fixture, letters, 7);
    assert_int_equal(count_letters(&fixture, &bytes), 7);
    for (int i = 0; i < 7; i++)
        letters[i].reason = SPAN_LITERAL("another reason, told later");
    put(&fixture, letters, 7);
    close_store(&fixture);
    open_store(&fixture);
    put(&fixture, letters, 7);
    assert_int_equal(count_letters(&fixture, &bytes_again), 7);
    assert_int_equal(bytes, bytes_again);
    tear_down(&fixture);
}

static void test_limit(void **state)
{
    struct fixture fixture;
    struct dead_letter letters[3] = {letter_at(1), letter_at(2), letter_at(3)};
    char text[1000];
    int64_t bytes;

    set_up(&fixture);
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 3; i++)
        letters[i].payload = span_make(text, sizeof text);
    dead_letters_set_limit(fixture.store, 2500);
    put(&fixture, letters, 2);
    assert_int_equal(dead_letters_put(fixture.store, &letters[1], 2, &fixture.error), STATUS_RETRY);
    assert_non_null(strstr(fixture.error.text, "is full"));
    assert_non_null(strstr(fixture.error.text, "2500"));
    assert_int_equal(count_letters(&fixture, &bytes), 2); /* all or none */
    dead_letters_set_limit(fixture.store, 100);
    put(&fixture, letters, 2); /* repeats need no room */
    dead_letters_set_limit(fixture.store, 2500);
    assert_int_equal(dead_letters_delete(fixture.store, 1, &fixture.error), STATUS_OK);
    put(&fixture, &letters[2], 1);
    tear_down(&fixture);
}

static void test_mode_of_the_file(void **state)
{
    struct fixture fixture;
    struct stat info;
    mode_t before = umask(0);

    set_up(&fixture);
    umask(before);
    put(&fixture, &(struct dead_letter){.stage = "late"}, 1);
    const char *const ends[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char path[160];

        snprintf(path, sizeof path, "%s%s", fixture.path, ends[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
    tear_down(&fixture);
}

/* A small file system where that can be mounted; else a limit on file sizes, which SQLite meets in the same
 * place. */
static void test_full_disk(void **state)
{
    struct fixture fixture;
    static char text[64 * 1024];
    struct rlimit before, small = {.rlim_cur = 512 * 1024};
    int64_t bytes, kept = 0;

    fixture = (struct fixture){.folder = "/tmp/weir-dead-letters-XXXXXX"};
    assert_non_null(mkdtemp(fixture.folder));
    bool mounted = mount("tmpfs", fixture.folder, "tmpfs", 0, "size=1m") == 0;
    snprintf(fixture.path, sizeof fixture.path, "%s/weir.db", fixture.folder);
    open_store(&fixture);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    if (!mounted)
        setrlimit(RLIMIT_FSIZE, &small);

    struct dead_letter letter = letter_at(0);
    letter.payload = span_make(text, sizeof text);
    enum status status = STATUS_OK;
    for (; kept < 1000; kept++, letter.offset++) {
        status = dead_letters_put(fixture.store, &letter, 1, &fixture.error);
        if (status != STATUS_OK)
            break;
    }
    assert_status(&fixture, status, STATUS_RETRY);
    assert_true(kept >= 1 && kept < 20);
    assert_non_null(strstr(fixture.error.text, fixture.path));
    print_message("%s: %s\n", mounted ? "tmpfs" : "rlimit", fixture.error.text);

    close_store(&fixture);
    open_store(&fixture);
    assert_int_equal(count_letters(&fixture, &bytes), kept); /* what was answered with OK is there */
    setrlimit(RLIMIT_FSIZE, &before);
    if (mounted)
        assert_int_equal(mount("tmpfs", fixture.folder, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    put(&fixture, &letter, 1); /* the same call succeeds once there is room */
    assert_int_equal(count_letters(&fixture, &bytes), kept + 1);
    if (mounted) {
        close_store(&fixture);
        assert_int_equal(umount(fixture.folder), 0);
        assert_int_equal(rmdir(fixture.folder), 0);
    } else {
        tear_down(&fixture);
    }
}

static void test_busy_database(void **state)
{
    struct fixture fixture;
    sqlite3 *other;
    struct dead_letter letter = letter_at(1);

    set_up(&fixture);
    assert_int_equal(sqlite3_open(fixture.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(dead_letters_put(fixture.store, &letter, 1, &fixture.error), STATUS_RETRY);
    assert_non_null(strstr(fixture.error.text, "locked"));
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    put(&fixture, &letter, 1);
    tear_down(&fixture);
}

static void write_at(const char *path, long offset, const char *bytes, size_t size)
{
    FILE *file = fopen(path, offset < 0 ? "we" : "r+e");

    assert_non_null(file);
    assert_int_equal(fseek(file, offset < 0 ? 0 : offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void test_damaged_file(void **state)
{
    struct fixture fixture;
    static char noise[8192];
    static struct dead_letter letters[200];

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 31 + 7);
    set_up(&fixture);
    for (int i = 0; i < 200; i++) {
        letters[i] = letter_at(i);
        letters[i].payload = span_make(noise, 2000);
    }
    put(&fixture, letters, 200);
    close_store(&fixture);
    write_at(fixture.path, 100, noise, 2000); /* within the schema */
    assert_int_equal(
        dead_letters_open(fixture.path, &(struct store_options){0}, &fixture.store, &fixture.error),
        STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "damaged"));
    assert_non_null(strstr(fixture.error.text, fixture.path));

    write_at(fixture.path, -1, noise, sizeof noise);
    assert_int_equal(
        dead_letters_open(fixture.path, &(struct store_options){0}, &fixture.store, &fixture.error),
        STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "is not a weir store, or it is damaged"));
    tear_down(&fixture);
}

static void test_other_files(void **state)
{
    struct fixture fixture;
    struct dead_letters *store;
    sqlite3 *other;
    char path[160];

    set_up(&fixture);
    snprintf(path, sizeof path, "%s/none.db", fixture.folder);
    assert_int_equal(
        dead_letters_open(path, &(struct store_options){.must_exist = true}, &store, &fixture.error),
        STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "No such file"));
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/no/such.db", fixture.folder);
    assert_int_equal(dead_letters_open(path, &(struct store_options){0}, &store, &fixture.error),
                     STATUS_FATAL);
    close_store(&fixture);

    assert_int_equal(sqlite3_open(fixture.path, &other), SQLITE_OK);
    sqlite3_exec(other, "UPDATE store_versions SET version = 99", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_int_equal(dead_letters_open(fixture.path, &(struct store_options){0}, &store, &fixture.error),
                     STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "version 99"));
    tear_down(&fixture);
}

static bool ignore(void *owner, const struct stored_letter *stored)
{
    return true;
}

static void test_a_changed_payload_is_found(void **state)
{
    struct fixture fixture;
    struct dead_letter letter = letter_at(1);
    sqlite3 *other;

    set_up(&fixture);
    put(&fixture, &letter, 1);
    assert_int_equal(sqlite3_open(fixture.path, &other), SQLITE_OK);
    sqlite3_exec(other, "UPDATE dead_letters SET payload = CAST('[' AS BLOB)", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_status(&fixture, dead_letters_get(fixture.store, 1, ignore, NULL, &fixture.error), STATUS_FATAL);
    assert_non_null(strstr(fixture.error.text, "is damaged: dead letter 1"));
    tear_down(&fixture);
}

/* A file of the first version: its letters, without checksums, and their totals are kept. */
static void test_upgrade(void **state)
{
    struct fixture fixture = {.folder = "/tmp/weir-dead-letters-XXXXXX"};
    struct dead_letter letter = letter_at(1);
    int64_t bytes;
    sqlite3 *other;
    // clang-format off
    const char *first =
        "CREATE TABLE store_versions (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO store_versions VALUES ('dead_letters', 1);"
        "CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " source TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
        " item INTEGER NOT NULL, stage TEXT NOT NULL, sink TEXT NOT NULL, reason TEXT NOT NULL, time_us INTEGER NOT NULL,"
        " payload BLOB NOT NULL, document BLOB NOT NULL, UNIQUE (topic, partition, offset, item, stage, sink));"
        "CREATE TABLE dead_letter_totals (one INTEGER PRIMARY KEY, letters INTEGER, bytes INTEGER);"
        "INSERT INTO dead_letter_totals VALUES (1, 1, 99);"
        "CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letters BEGIN SELECT 1; END;"
        "CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letters BEGIN SELECT 1; END;"
        "INSERT INTO dead_letters VALUES (1, '', 't', 0, 0, 0, 'late', '', 'r', 0, x'7b', x'')";
    // clang-format on

    assert_non_null(mkdtemp(fixture.folder));
    snprintf(fixture.path, sizeof fixture.path, "%s/weir.db", fixture.folder);
    assert_int_equal(sqlite3_open(fixture.path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, first, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    open_store(&fixture);
    assert_int_equal(count_letters(&fixture, &bytes), 1);
    assert_int_equal(bytes, 3);
    assert_int_equal(dead_letters_get(fixture.store, 1, ignore, NULL, &fixture.error), STATUS_OK);
    put(&fixture, &letter, 1);
    assert_int_equal(count_letters(&fixture, &bytes), 2);
    assert_int_equal(dead_letters_delete(fixture.store, 1, &fixture.error), STATUS_OK);
    assert_int_equal(count_letters(&fixture, &bytes), 1);
    assert_int_equal(bytes, 6 + 9 + 8 + 1); /* all texts of the deleted one are gone from the total */
    tear_down(&fixture);
}

struct thread {
    pthread_t thread;
    struct dead_letters *store;
    enum status status;
};

static void *put_many(void *owner)
{
    struct thread *thread = owner;
    struct error error;

    for (int64_t i = 0; i < 50 && thread->status == STATUS_OK; i++) {
        struct dead_letter letter = letter_at(i);

        thread->status = dead_letters_put(thread->store, &letter, 1, &error);
    }
    return NULL;
}

static void test_threads_share_one_store(void **state)
{
    struct fixture fixture;
    struct thread threads[4];
    int64_t bytes;

    set_up(&fixture);
    for (int i = 0; i < 4; i++) {
        threads[i] = (struct thread){.store = fixture.store};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, put_many, &threads[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i].thread, NULL);
        assert_int_equal(threads[i].status, STATUS_OK);
    }
    assert_int_equal(count_letters(&fixture, &bytes), 50);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_get_delete),
        cmocka_unit_test(test_bytes_come_back),
        cmocka_unit_test(test_repeats_are_ignored),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_mode_of_the_file),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_busy_database),
        cmocka_unit_test(test_damaged_file),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_a_changed_payload_is_found),
        cmocka_unit_test(test_threads_share_one_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
