/* Standbys and the mirrors that they keep, on changelogs in memory and files on the disk. Whatever a mirror
 * has been through, the engine that takes it must find in it what one made from the beginning has. */
#include "base/memory.h"
#include "pipeline/standby.h"
#include "tests/base/random.h"
#include "tests/pipeline/memory_journal.h"
#include "tests/pipeline/support.h"
#include "tests/pipeline/task_writer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 20 * 1000, KEYS = 60, VALUE_BYTES = 2000 };

struct world {
    struct folder folder;
    char *ours, *theirs, *mirror; /* stores; the mirror is ours, of task 1 */
    struct memory_journals journals;
    struct task_writer writer;
    struct standby *standby;
    _Atomic unsigned warnings;
    char warning[sizeof(struct error)];
};

static void warn(void *owner, const char *text)
{
    struct world *world = owner;

    snprintf(world->warning, sizeof world->warning, "%s", text);
    world->warnings++;
}

static void start(struct world *world)
{
    const struct standby_options options = {.changelog = &changelog_memory,
                                            .cluster = &world->journals,
                                            .store_path = world->ours,
                                            .tasks = MEMORY_TASKS,
                                            .warn = warn,
                                            .owner = world};
    struct error error;

    assert_int_equal(standby_start(&options, &world->standby, &error), STATUS_OK);
}

static char *path_of(struct world *world, const char *name)
{
    const char *path = folder_path(&world->folder, name);

    return memory_text(path, strlen(path));
}

static int set_up(void **state)
{
    static struct world world;

    memset((void *)&world, 0, sizeof world);
    folder_open(&world.folder);
    world.ours = path_of(&world, "ours.db");
    world.theirs = path_of(&world, "theirs.db.task-1");
    world.mirror = store_task_path(world.ours, 1);
    memory_journals_open(&world.journals);
    world.writer = (struct task_writer){.seed = 5, .keys = KEYS, .value_size = VALUE_BYTES};
    task_writer_open(&world.writer, &journal_memory, &world.journals, 1, world.theirs);
    start(&world);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    standby_stop(world->standby);
    if (world->writer.store)
        task_writer_close(&world->writer);
    memory_journals_close(&world->journals);
    folder_close(&world->folder);
    free(world->ours);
    free(world->theirs);
    free(world->mirror);
    return 0;
}

static void write_cuts(struct world *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        task_writer_cut(&world->writer, 7);
}

/* Read, and stored. */
static void wait_until_whole(struct world *world)
{
    for (int waited_ms = 0; !memory_is_read_up(&world->journals, 1); waited_ms++) {
        assert_true(waited_ms < PATIENCE_MS);
        usleep(1000);
    }
    for (int waited_ms = 0; standby_behind(world->standby, 1) != 0; waited_ms++) {
        assert_true(waited_ms < PATIENCE_MS);
        usleep(1000);
    }
}

static void follow(struct world *world)
{
    standby_follow(world->standby, 1);
    wait_until_whole(world);
}

static unsigned long file_of(const char *path)
{
    struct stat file;

    assert_int_equal(stat(path, &file), 0);
    return file.st_ino;
}

/* What an engine finds that is started on the mirror, and how many entries it takes. */
static struct task_digest take_over(struct world *world, const char *path, size_t *ret_entries)
{
    struct task_writer engine = {.seed = 1};

    memory_given(&world->journals, 1);
    task_writer_open(&engine, &journal_memory, &world->journals, 1, path);
    *ret_entries = memory_given(&world->journals, 1);
    struct task_digest digest = task_digest(engine.store);

    task_writer_close(&engine);
    return digest;
}

static size_t assert_warm_is_cold(struct world *world)
{
    size_t warm_entries, cold_entries;

    standby_release(world->standby, 1);
    assert_int_equal(standby_behind(world->standby, 1), -1);
    struct task_digest warm = take_over(world, world->mirror, &warm_entries);
    struct task_digest cold = take_over(world, world->theirs, &cold_entries);

    assert_same_digest(warm, cold);
    assert_true(cold.generation > 0 && cold.values > KEYS / 2 && cold.documents && cold.notifications);
    return warm_entries;
}

static void a_warm_mirror_is_what_a_cold_one_is(void **state)
{
    struct world *world = *state;

    write_cuts(world, 30);
    follow(world);
    write_cuts(world, 30);
    wait_until_whole(world);
    task_writer_close(&world->writer);
    assert_int_equal(assert_warm_is_cold(world), 0);
    assert_int_equal(world->warnings, 0);
}

static void the_rest_is_replayed(void **state)
{
    struct world *world = *state;

    write_cuts(world, 30);
    follow(world);
    standby_release(world->standby, 1);
    size_t before = memory_count(&world->journals, 1);
    write_cuts(world, 3);
    size_t rest = memory_count(&world->journals, 1) - before;
    task_writer_close(&world->writer);
    assert_true(rest > 0);
    assert_int_equal(assert_warm_is_cold(world), rest);
}

/* Its own writes are in it before they are committed. */
static void what_an_engine_has_written_is_made_anew(void **state)
{
    struct world *world = *state;
    struct task_writer engine = {.seed = 1, .keys = KEYS, .value_size = VALUE_BYTES};
    const struct store_options options = {.mirror = true};
    struct store *store;
    struct error error;

    write_cuts(world, 10);
    follow(world);
    task_writer_close(&world->writer);
    standby_release(world->standby, 1);
    task_writer_open(&engine, &journal_memory, &world->journals, 1, world->mirror);
    const struct state_value lost = {.key = {.kind = STATE_SERIES, .block = 12345},
                                     .bytes = SPAN_LITERAL("never committed")};
    assert_int_equal(store_put(engine.store, store_generation(engine.store) + 1, &lost, 1, &error),
                     STATUS_OK);
    task_writer_close(&engine);
    assert_int_equal(store_open(world->mirror, &options, &store, &error), STATUS_OK);
    assert_int_equal(store_place(store).next, 0);
    assert_int_equal(store_generation(store), 0);
    store_close(store);
    memory_given(&world->journals, 1);
    follow(world);
    assert_int_equal(memory_given(&world->journals, 1), memory_count(&world->journals, 1));
    assert_warm_is_cold(world);
}

static void a_restart_goes_on_from_its_place(void **state)
{
    struct world *world = *state;

    write_cuts(world, 20);
    follow(world);
    standby_stop(world->standby);
    unsigned long file = file_of(world->mirror);
    write_cuts(world, 5);
    memory_compact(&world->journals, 1); /* its next offsets are gone */
    memory_given(&world->journals, 1);
    start(world);
    follow(world);
    assert_in_range(memory_given(&world->journals, 1), 1, 120);
    assert_int_equal(file_of(world->mirror), file);
    task_writer_close(&world->writer);
    assert_int_equal(assert_warm_is_cold(world), 0);
    assert_int_equal(world->warnings, 0);
}

/* A process that dies at any moment: its mirror is whole up to its place. */
static void a_killed_standby_goes_on(void **state)
{
    struct world *world = *state;
    const struct store_options options = {.mirror = true};
    struct store *store;
    struct error error;
    uint64_t seed = 3;
    unsigned partly = 0;

    write_cuts(world, 120);
    standby_stop(world->standby);
    world->standby = NULL;
    for (int i = 0; i < 12; i++) {
        pid_t child = fork();

        if (child == 0) {
            world->journals.read_us = 3000;
            start(world);
            standby_follow(world->standby, 1);
            for (;;)
                pause();
        }
        usleep(1000000 + (useconds_t)random_below(&seed, 400000)); /* it waits for a second */
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (access(world->mirror, F_OK) != 0)
            continue;
        assert_int_equal(store_open(world->mirror, &options, &store, &error), STATUS_OK);
        int64_t next = store_place(store).next;
        partly += next > 0 && next < (int64_t)memory_count(&world->journals, 1);
        store_close(store);
        if (next == (int64_t)memory_count(&world->journals, 1))
            write_cuts(world, 60);
    }
    print_message("  of 12 kills %u in the middle\n", partly);
    start(world);
    follow(world);
    task_writer_close(&world->writer);
    assert_int_equal(assert_warm_is_cold(world), 0);
}

static void a_place_that_is_of_no_use_is_left(void **state)
{
    struct world *world = *state;
    struct memory_log *log = &world->journals.logs[1];
    const char *texts[] = {"too old", "deleted", "beyond the end"};

    write_cuts(world, 10);
    for (int i = 0; i < 3; i++) {
        follow(world);
        standby_release(world->standby, 1);
        write_cuts(world, 10);
        pthread_mutex_lock(&world->journals.lock);
        size_t count = log->count;
        if (i == 1) /* what is left is whole, as a log must be */
            log->begin = log->count;
        if (i == 2)
            log->count = 1;
        pthread_mutex_unlock(&world->journals.lock);
        world->journals.aged = i == 0;
        unsigned before = world->warnings;
        memory_given(&world->journals, 1);
        follow(world);
        if (memory_given(&world->journals, 1) != log->count)
            fail_msg("%s", texts[i]);
        assert_int_equal(world->warnings, before + 1);
        assert_non_null(
            strstr(world->warning, "standby of task 1: task 1: no such place; its copy is begun anew"));
        standby_release(world->standby, 1);
        log->begin = 0;
        log->count = count;
        world->journals.aged = false;
    }
    task_writer_close(&world->writer);
    assert_warm_is_cold(world);
}

/* The engine itself comes upon such a place. */
static void an_engine_begins_anew_when_it_must(void **state)
{
    struct world *world = *state;
    size_t entries;

    write_cuts(world, 20);
    follow(world);
    standby_release(world->standby, 1);
    write_cuts(world, 10);
    task_writer_close(&world->writer);
    world->journals.aged = true;
    struct task_digest warm = take_over(world, world->mirror, &entries);
    assert_int_equal(entries, memory_count(&world->journals, 1));
    world->journals.aged = false;
    assert_same_digest(warm, take_over(world, world->theirs, &entries));
}

static void an_outage_is_told_once_and_waited_for(void **state)
{
    struct world *world = *state;

    write_cuts(world, 20);
    follow(world);
    unsigned long file = file_of(world->mirror);
    memory_given(&world->journals, 1);
    world->journals.away = true;
    while (standby_behind(world->standby, 1) != -1)
        usleep(1000);
    write_cuts(world, 5);
    unsigned opens = world->journals.opens;
    sleep(4); /* tried after one second, and after two more */
    assert_in_range(world->journals.opens - opens, 1, 3);
    world->journals.away = false;
    wait_until_whole(world);
    assert_int_equal(world->warnings, 1);
    assert_non_null(strstr(world->warning, "standby of task 1: away; it goes on when it can"));
    assert_in_range(memory_given(&world->journals, 1), 1, 120);
    assert_int_equal(file_of(world->mirror), file);
    task_writer_close(&world->writer);
    assert_int_equal(assert_warm_is_cold(world), 0);
}

static void a_damaged_mirror_is_made_anew(void **state)
{
    struct world *world = *state;
    size_t size;

    write_cuts(world, 20);
    follow(world);
    standby_stop(world->standby);
    char *bytes = folder_get(&world->folder, "ours.db.task-1", &size);
    assert_true(size > 100000);
    memset(bytes + 8192, 0x5a, size - 8192); /* all pages but the first */
    folder_put(&world->folder, "ours.db.task-1", bytes, size);
    free(bytes);
    start(world);
    write_cuts(world, 5);
    follow(world);
    task_writer_close(&world->writer);
    assert_int_equal(assert_warm_is_cold(world), 0);
}

static void others_are_followed_beside_it(void **state)
{
    struct world *world = *state;
    struct task_writer others[MEMORY_TASKS];
    char *paths[MEMORY_TASKS];

    for (unsigned t = 0; t < MEMORY_TASKS; t += 2) {
        paths[t] = store_task_path(world->theirs, t);
        others[t] = (struct task_writer){.seed = t, .keys = KEYS, .value_size = VALUE_BYTES};
        task_writer_open(&others[t], &journal_memory, &world->journals, t, paths[t]);
        standby_follow(world->standby, t);
    }
    standby_follow(world->standby, 1);
    for (unsigned i = 0; i < 40; i++) {
        write_cuts(world, 1);
        for (unsigned t = 0; t < MEMORY_TASKS; t += 2)
            task_writer_cut(&others[t], 3);
        if (i % 10 == 5) { /* comes and goes, never touched once it is released */
            standby_release(world->standby, 2);
            assert_false(world->journals.logs[2].is_read);
            standby_follow(world->standby, 2);
        }
    }
    wait_until_whole(world);
    task_writer_close(&world->writer);
    for (unsigned t = 0; t < MEMORY_TASKS; t += 2) {
        task_writer_close(&others[t]);
        free(paths[t]);
    }
    assert_int_equal(assert_warm_is_cold(world), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_warm_mirror_is_what_a_cold_one_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_rest_is_replayed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_an_engine_has_written_is_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_from_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_standby_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_place_that_is_of_no_use_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_engine_begins_anew_when_it_must, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_outage_is_told_once_and_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_mirror_is_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_followed_beside_it, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
