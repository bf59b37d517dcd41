/* A standby on a real broker, in a process of its own that is killed and started again while another one
 * writes; then the takeover of its task, warm and cold. Without a broker it is skipped (exit 77). Times are
 * printed, not judged. */
#include "base/memory.h"
#include "pipeline/standby.h"
#include "tests/pipeline/cluster_rig.h"
#include "tests/pipeline/support.h"
#include "tests/pipeline/task_writer.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 2, STATE_MB = 50, VALUE_BYTES = 50000, CUT_VALUES = 100, CHANGES_MB = 10 };

static const char *program;

struct scene {
    struct folder folder;
    char *ours;   /* store of the process with the standby */
    char *mirror; /* its copy of the task */
    unsigned task;
    pid_t standby;
    struct party party; /* at first the one that writes, then in the place of the other */
    struct task_writer writer;
};

static void say(void *owner, const char *text)
{
    fprintf(stderr, "  standby: %s\n", text);
}

/* The other process: a member that has a task and follows all others. */
static int be_standby(const char *store)
{
    struct party party = {0};
    struct standby *standby;
    struct error error;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (party_try_join(&party, real_brokers, TASKS, "b") != STATUS_OK) {
        fprintf(stderr, "%s\n", party.error.text);
        return 1;
    }
    const struct standby_options options = {.changelog = &changelog_kafka,
                                            .cluster = party.cluster,
                                            .store_path = store,
                                            .tasks = TASKS,
                                            .warn = say};
    if (standby_start(&options, &standby, &error) != STATUS_OK)
        return 1;
    while (party_poll(&party, 50) == STATUS_OK)
        for (unsigned t = 0; t < TASKS; t++)
            if (party.tasks != 0 && !(party.tasks >> t & 1))
                standby_follow(standby, t);
    return 1;
}

static void start_standby(struct scene *scene)
{
    scene->standby = fork();
    assert_true(scene->standby >= 0);
    if (scene->standby == 0) {
        execl(program, program, application, scene->ours, (char *)NULL);
        _exit(1);
    }
}

static void kill_standby(struct scene *scene)
{
    int outcome;

    kill(scene->standby, SIGKILL);
    assert_int_equal(waitpid(scene->standby, &outcome, 0), scene->standby);
    assert_true(WIFSIGNALED(outcome));
}

/* What the mirror says of itself; 0: nothing. */
static int64_t place_of(const char *path)
{
    sqlite3 *file;
    sqlite3_stmt *statement = NULL;
    int64_t next = 0;

    assert_int_equal(
        sqlite3_open_v2(path, &file, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK || access(path, F_OK) != 0, 1);
    sqlite3_busy_timeout(file, 1000);
    if (sqlite3_prepare_v2(file, "SELECT next FROM mirror", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        next = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(file);
    return next;
}

static int64_t end_of(const struct scene *scene)
{
    int64_t begin, end;

    assert_int_equal(rd_kafka_query_watermark_offsets(scene->party.cluster->reader,
                                                      scene->party.cluster->changelog, (int32_t)scene->task,
                                                      &begin, &end, 10000),
                     0);
    return end;
}

static void poll_party(struct scene *scene)
{
    assert_int_equal(party_poll(&scene->party, 0), STATUS_OK);
    assert_int_equal(scene->party.tasks, UINT64_C(1) << scene->task);
}

static int64_t wait_until_place(struct scene *scene, int64_t least)
{
    int64_t end_us = now_us() + PATIENCE_S * INT64_C(1000000), place;

    while ((place = place_of(scene->mirror)) < least) {
        if (now_us() > end_us)
            fail_msg("the mirror is whole up to %lld, not %lld", (long long)place, (long long)least);
        poll_party(scene);
        usleep(20000);
    }
    return place;
}

static void write_mb(struct scene *scene, unsigned mb)
{
    for (uint64_t bytes = 0; bytes < (uint64_t)mb << 20; bytes += CUT_VALUES * VALUE_BYTES) {
        task_writer_cut(&scene->writer, CUT_VALUES);
        poll_party(scene);
    }
}

/* One task for each of the two, who wins which is the brokers' choice. */
static void join_beside_standby(struct scene *scene)
{
    int64_t end_us = now_us() + PATIENCE_S * INT64_C(1000000);

    party_join(&scene->party, TASKS, "a");
    while (scene->party.tasks == 0 || scene->party.tasks == (1 << TASKS) - 1) {
        assert_int_equal(party_poll(&scene->party, 50), STATUS_OK);
        assert_true(now_us() < end_us);
    }
    scene->task = scene->party.tasks >> 1 & 1;
    scene->mirror = store_task_path(scene->ours, scene->task);
}

/* In the name of the process that has been killed; the writer's session ends. */
static void inherit(struct scene *scene)
{
    party_leave(&scene->party);
    party_join(&scene->party, TASKS, "b");
    party_poll_until(&scene->party, (1 << TASKS) - 1, NULL);
}

/* As an engine is opened: fences, takes what it lacks, loads. */
static struct task_digest take_over(struct scene *scene, const char *what, const char *path)
{
    struct task_writer engine = {.seed = 1};
    int64_t place = place_of(path), end = end_of(scene), begin_us = now_us();

    struct journal *journal;
    struct error error;

    assert_int_equal(type->open(scene->party.cluster, scene->task, &journal, &error), STATUS_OK);
    type->close(journal); /* once more than needed: what fencing alone takes */
    int64_t fenced_us = now_us();
    task_writer_open(&engine, type, scene->party.cluster, scene->task, path);
    int64_t open_us = now_us();
    struct task_digest digest = task_digest(engine.store);

    print_message("  %s: from offset %lld of %lld on; journal opened in %.0f ms, with replay %.0f ms, loaded "
                  "in %.0f ms\n",
                  what, (long long)place, (long long)end, (double)(fenced_us - begin_us) / 1000,
                  (double)(open_us - fenced_us) / 1000, (double)(now_us() - open_us) / 1000);
    task_writer_close(&engine);
    return digest;
}

static unsigned long file_of(const char *path)
{
    struct stat file;

    assert_int_equal(stat(path, &file), 0);
    return file.st_ino;
}

static char *path_of(struct scene *scene, const char *name)
{
    const char *path = folder_path(&scene->folder, name);

    return memory_text(path, strlen(path));
}

/* It follows from the beginning, dies in the middle, and goes on. */
static void follow_die_and_go_on(struct scene *scene)
{
    write_mb(scene, STATE_MB / 2);
    wait_until_place(scene, 1);
    kill_standby(scene);
    int64_t killed_at = place_of(scene->mirror);
    unsigned long file = file_of(scene->mirror);

    print_message("  killed at offset %lld of %lld\n", (long long)killed_at, (long long)end_of(scene));
    assert_true(killed_at > 0);
    write_mb(scene, STATE_MB / 2);
    start_standby(scene);
    int64_t begin_us = now_us();

    while (place_of(scene->mirror) == killed_at && now_us() - begin_us < PATIENCE_S * INT64_C(1000000))
        poll_party(scene);
    assert_true(place_of(scene->mirror) > killed_at);
    write_mb(scene, STATE_MB);
    int64_t written_us = now_us();

    wait_until_place(scene, end_of(scene) - 1);
    print_message("  it had all of %lld offsets %.1f s after %d MB were written beside it in %.1f s\n",
                  (long long)end_of(scene), (double)(now_us() - written_us) / 1e6, STATE_MB,
                  (double)(written_us - begin_us) / 1e6);
    assert_int_equal(file_of(scene->mirror), file);
}

/* What has just been an engine's is not gone on from; a standby that has all makes it warm. */
static void make_warm_again(struct scene *scene)
{
    const struct store_options options = {.mirror = true};
    const struct standby_options here = {.changelog = &changelog_kafka,
                                         .cluster = scene->party.cluster,
                                         .store_path = scene->ours,
                                         .tasks = TASKS,
                                         .warn = say};
    struct standby *standby;
    struct store *store;
    struct error error;
    int64_t begin_us = now_us();

    assert_int_equal(store_open(scene->mirror, &options, &store, &error), STATUS_OK);
    assert_int_equal(store_place(store).next, 0);
    store_close(store);
    assert_int_equal(standby_start(&here, &standby, &error), STATUS_OK);
    standby_follow(standby, scene->task);
    while (standby_behind(standby, scene->task) != 0) {
        assert_true(now_us() - begin_us < PATIENCE_S * INT64_C(1000000));
        usleep(10000);
    }
    print_message("  followed from the beginning in %.1f s\n", (double)(now_us() - begin_us) / 1e6);
    begin_us = now_us();
    standby_release(standby, scene->task);
    print_message("  released in %.1f ms\n", (double)(now_us() - begin_us) / 1000);
    standby_stop(standby);
}

static void test_takeover(void **state)
{
    struct scene scene = {.standby = 0};

    name_application("standby");
    folder_open(&scene.folder);
    scene.ours = path_of(&scene, "b.db");
    char *theirs = path_of(&scene, "a.db.task"), *cold = path_of(&scene, "cold.db.task");
    start_standby(&scene);
    join_beside_standby(&scene);
    scene.writer =
        (struct task_writer){.seed = 9, .keys = (STATE_MB << 20) / VALUE_BYTES, .value_size = VALUE_BYTES};
    task_writer_open(&scene.writer, type, scene.party.cluster, scene.task, theirs);
    follow_die_and_go_on(&scene);

    /* It dies while the writer goes on for a while, as both may in a bad hour. */
    kill_standby(&scene);
    write_mb(&scene, CHANGES_MB);
    struct task_digest written = task_digest(scene.writer.store);
    unsigned long file = file_of(scene.mirror);
    task_writer_close(&scene.writer);
    inherit(&scene);
    struct task_digest warm = take_over(&scene, "warm, 10 MB behind", scene.mirror);
    assert_int_equal(file_of(scene.mirror), file);
    assert_same_digest(warm, written);
    assert_true(warm.values > 500 && warm.documents && warm.notifications && warm.lines);
    assert_same_digest(take_over(&scene, "cold", cold), written);
    make_warm_again(&scene);
    assert_same_digest(take_over(&scene, "warm", scene.mirror), written);
    assert_int_equal(scene.party.warnings, 0);
    party_leave(&scene.party);
    folder_close(&scene.folder);
    free(scene.ours);
    free(scene.mirror);
    free(theirs);
    free(cold);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_takeover)};

    if (!find_broker())
        return SKIPPED;
    program = "/proc/self/exe";
    if (count == 3) {
        snprintf(application, sizeof application, "%s", arguments[1]);
        return be_standby(arguments[2]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
