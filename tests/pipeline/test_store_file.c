/* Versions of the parts of a store file, and the checksum of rows. */
#include "pipeline/store_file.h"
#include "tests/pipeline/support.h"

#include <stdlib.h>

static const char *const notes_upgrades[] = {
    "CREATE TABLE notes (number INTEGER NOT NULL, checksum INTEGER)",
    "ALTER TABLE notes ADD COLUMN doubled INTEGER; UPDATE notes SET doubled = number * 2",
    "UPDATE notes SET doubled = doubled + 1",
};

static int read_doubled(struct store_file *file)
{
    struct error error;
    sqlite3_stmt *statement;

    assert_int_equal(store_file_prepare(file, "SELECT doubled FROM notes", &statement, &error), STATUS_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int doubled = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return doubled;
}

static void parts_are_upgraded_step_by_step(void **state)
{
    const struct store_options options = {0}, reading = {.read_only = true};
    struct store_part part = {.name = "notes", .upgrades = notes_upgrades, .version = 1};
    struct folder folder;
    struct store_file file;
    struct error error;

    folder_open(&folder);
    const char *path = folder_path(&folder, "weir.db");
    assert_int_equal(store_file_open(&file, path, &options, &part, 1, &error), STATUS_OK);
    assert_int_equal(store_file_run(&file, "INSERT INTO notes VALUES (21, 0)", &error), STATUS_OK);
    store_file_close(&file);

    part.version = 3;
    assert_int_equal(store_file_open(&file, path, &reading, &part, 1, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "older weir"));
    assert_int_equal(store_file_open(&file, path, &options, &part, 1, &error), STATUS_OK);
    assert_int_equal(read_doubled(&file), 43);
    store_file_close(&file);
    assert_int_equal(store_file_open(&file, path, &reading, &part, 1, &error), STATUS_OK);
    store_file_close(&file);

    part.version = 2;
    assert_int_equal(store_file_open(&file, path, &options, &part, 1, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "was written by a newer weir (notes version 3; this weir reads 2)"));
    folder_close(&folder);
}

static void a_failed_upgrade_leaves_the_version_before(void **state)
{
    const char *const broken[] = {notes_upgrades[0], "INSERT INTO notes VALUES (5, 0); SELECT nothing"};
    const struct store_options options = {0};
    struct store_part part = {.name = "notes", .upgrades = broken, .version = 1};
    struct folder folder;
    struct store_file file;
    struct error error;

    folder_open(&folder);
    const char *path = folder_path(&folder, "weir.db");
    assert_int_equal(store_file_open(&file, path, &options, &part, 1, &error), STATUS_OK);
    store_file_close(&file);
    part.version = 2;
    assert_int_equal(store_file_open(&file, path, &options, &part, 1, &error), STATUS_FATAL);
    part.version = 1;
    assert_int_equal(store_file_open(&file, path, &options, &part, 1, &error), STATUS_OK);
    assert_int_equal(
        store_file_run(&file, "CREATE TABLE t (n); INSERT INTO t SELECT 1 / 0 FROM notes", &error),
        STATUS_OK);
    assert_int_equal(sqlite3_changes(file.database), 0); /* nothing of the failed step */
    store_file_close(&file);
    folder_close(&folder);
}

static void another_database_is_refused(void **state)
{
    const struct store_options options = {.must_exist = true};
    struct store_part part = {.name = "notes", .upgrades = notes_upgrades, .version = 1};
    struct folder folder;
    struct store_file file;
    struct error error;

    folder_open(&folder);
    folder_put(&folder, "empty", "", 0);
    assert_int_equal(store_file_open(&file, folder_path(&folder, "empty"), &options, &part, 1, &error),
                     STATUS_FATAL);
    assert_non_null(strstr(error.text, "is not a weir store"));
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_upgraded_step_by_step),
        cmocka_unit_test(a_failed_upgrade_leaves_the_version_before),
        cmocka_unit_test(another_database_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
