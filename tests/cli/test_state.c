/* weir state as a command, on stores that the test fills.
 *
 * usage: test_state WEIR */
#include "base/memory.h"
#include "pipeline/store.h"
#include "tests/pipeline/support.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static const char *weir;
static char output[8192]; /* of the last command, with what it said on stderr */

static int run_weir(const char *arguments, const char *path)
{
    char command[1024];

    snprintf(command, sizeof command, "'%s' state %s --store '%s' 2>&1", weir, arguments, path);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

static void assert_said(const char *text)
{
    if (!strstr(output, text))
        fail_msg("not \"%s\" but: %s", text, output);
}

static void fill(const char *path)
{
    const struct store_options options = {0};
    static char large[300000];
    const struct state_value values[] = {
        {.key = {.kind = STATE_TIMES}, .bytes = SPAN_LITERAL("\1times")},
        {.key = {.kind = STATE_SERIES, .owner = 1, .part = UINT64_MAX, .block = 2},
         .bytes = SPAN_LITERAL("\1s")},
        {.key = {.kind = STATE_SERIES, .owner = 1, .part = UINT64_MAX, .block = 3},
         .bytes = {.data = large, .size = sizeof large}},
        {.key = {.kind = STATE_PANES, .owner = 5}, .bytes = {0}},
    };
    const struct store_flip flip = {.generation = 6};
    struct store *store;
    struct error error;

    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * i >> 7);
    assert_int_equal(store_open(path, &options, &store, &error), STATUS_OK);
    assert_int_equal(store_put(store, 6, values, 4, &error), STATUS_OK);
    assert_int_equal(store_flip(store, &flip, &error), STATUS_OK);
    store_close(store);
}

struct total {
    int values;
    uint64_t hash;
};

static enum status add(void *owner, const struct state_key *key, struct span bytes, struct error *ret_error)
{
    struct total *total = owner;

    total->values++;
    total->hash = hash_bytes(key, sizeof *key, total->hash);
    total->hash = hash_bytes(bytes.data, bytes.size, total->hash);
    return STATUS_OK;
}

static struct total load(const char *path)
{
    const struct store_options options = {.read_only = true};
    struct total total = {0};
    struct store *store;
    struct error error;

    assert_int_equal(store_open(path, &options, &store, &error), STATUS_OK);
    assert_int_equal(store_load(store, add, &total, &error), STATUS_OK);
    store_close(store);
    return total;
}

static void show_and_verify(void **state)
{
    struct folder folder;
    sqlite3 *other;

    folder_open(&folder);
    const char *path = folder_path(&folder, "weir.db");
    assert_int_equal(run_weir("show", path), 3);
    assert_said("No such file");
    fill(path);
    assert_int_equal(run_weir("show", path), 0);
    assert_said("generation     6 of 20");
    assert_said("series         2 values in 1 tables, 300002 bytes");
    assert_said("outbox         0 documents, 0 bytes");
    assert_int_equal(run_weir("verify", path), 0);
    assert_said("the store is whole");

    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_exec(other, "UPDATE state SET block = block + 7 WHERE kind IN (1, 5)", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_int_equal(run_weir("verify", path), 3);
    assert_said("damaged: state with kind times, owner 0, part 0, block 7\n");
    assert_said("the store is damaged in 3 places");
    assert_int_equal(run_weir("export /dev/null", path), 3);
    assert_said("is damaged: row of state with kind times");
    folder_close(&folder);
}

static void export_and_import(void **state)
{
    struct folder folder;
    char command[256], other[128];
    size_t size;

    folder_open(&folder);
    const char *path = folder_path(&folder, "weir.db"), *archive = folder_path(&folder, "state.zst");
    snprintf(other, sizeof other, "%s/other.db", folder.path);
    fill(path);
    struct total wanted = load(path);
    snprintf(command, sizeof command, "export '%s'", archive);
    assert_int_equal(run_weir(command, path), 0);
    snprintf(command, sizeof command, "import '%s'", archive);
    assert_int_equal(run_weir(command, other), 0);
    assert_said("4 values imported, 0 replaced");
    struct total got = load(other);
    assert_int_equal(got.values, 4);
    assert_true(got.hash == wanted.hash);

    assert_int_equal(run_weir(command, other), 3);
    assert_said("the store has 4 values of state; --replace drops them");
    assert_int_equal(run_weir("reset --series", other), 0);
    assert_said("3 values forgotten");
    assert_int_equal(load(other).values, 1);
    snprintf(command, sizeof command, "import --replace '%s'", archive);
    assert_int_equal(run_weir(command, other), 0);
    assert_said("4 values imported, 1 replaced");
    assert_true(load(other).hash == wanted.hash);

    char *bytes = folder_get(&folder, "state.zst", &size);
    folder_put(&folder, "state.zst", bytes, size - 3);
    assert_int_equal(run_weir(command, other), 3);
    assert_said("archive");
    bytes[size - 4] ^= 1;
    folder_put(&folder, "state.zst", bytes, size);
    assert_int_equal(run_weir(command, other), 3);
    assert_said("archive is damaged");
    assert_true(load(other).hash == wanted.hash); /* nothing of a broken archive takes effect */
    free(bytes);
    folder_put(&folder, "state.zst", "hello", 5);
    assert_int_equal(run_weir(command, other), 3);
    assert_said("no archive of weir state");
    folder_close(&folder);
}

static void reset_needs_the_lock(void **state)
{
    struct folder folder;
    struct error error;
    int lock;

    folder_open(&folder);
    const char *path = folder_path(&folder, "weir.db");
    fill(path);
    assert_int_equal(store_lock(path, &lock, &error), STATUS_OK);
    assert_int_equal(run_weir("reset --series", path), 3);
    assert_said("is used by another weir");
    store_unlock(lock);
    assert_int_equal(run_weir("reset", path), 2);
    assert_said("usage:");
    assert_int_equal(run_weir("reset --series", path), 0);
    assert_said("3 values forgotten");
    assert_int_equal(load(path).values, 1);
    assert_int_equal(run_weir("show", path), 0);
    assert_said("generation     7 of 20");
    assert_said("audit log      1 lines");
    folder_close(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(show_and_verify),
        cmocka_unit_test(export_and_import),
        cmocka_unit_test(reset_needs_the_lock),
    };

    if (argc != 2)
        return 2;
    weir = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
