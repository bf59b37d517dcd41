/* What one process does with its engine, or with the tasks that a group gives and takes: in parallel, again
 * after failures, and while the page asks. Engines and group are fakes. */
#include "pipeline/dead_letters.h"
#include "pipeline/process.h"
#include "tests/pipeline/fake_engines.h"
#include "tests/pipeline/support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 5, PATIENCE_MS = 10 * 1000, SLOW_MS = 300 };

static const char whole_yaml[] = "name: test\nsources: [{name: one, type: file, path: rows.jsonl}]\n"
                                 "sinks: [{name: out, type: stdout, send: [alerts]}]\n";
static const char cluster_yaml[] =
    "name: test\nstore: {path: weir.db}\ncluster: {enabled: true, brokers: \"127.0.0.1:1\", tasks: 4}\n"
    "sources: [{name: one, type: kafka, brokers: \"127.0.0.1:1\", topics: [rows], group: g}]\n"
    "sinks: [{name: out, type: stdout, send: [alerts]}]\n";

static const char standby_yaml[] =
    "name: test\nstore: {path: weir.db}\n"
    "cluster: {enabled: true, brokers: \"127.0.0.1:1\", tasks: 4, standby: true}\n"
    "sources: [{name: one, type: kafka, brokers: \"127.0.0.1:1\", topics: [rows], group: g}]\n"
    "sinks: [{name: out, type: stdout, send: [alerts]}]\n";

struct world {
    struct folder folder;
    struct plan *plan;
    struct process *process;
    int said; /* what the process says on stderr goes here */
};

static void load(struct world *world, const char *yaml)
{
    struct error error;

    folder_open(&world->folder);
    if (plan_try(&world->folder, yaml, NULL, &world->plan, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void start(struct world *world)
{
    struct engine_options options = {.mode = ENGINE_LIVE};
    struct error error;

    if (process_start(world->plan, &options, &world->process, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static int set_up(void **state, const char *yaml)
{
    static struct world world;

    world = (struct world){.plan = NULL};
    memset((void *)&fake, 0, sizeof fake); /* all STATUS_OK */
    fake.engine_outcome = STATUS_RETRY;
    load(&world, yaml);
    start(&world);
    *state = &world;
    return 0;
}

static int set_up_whole(void **state)
{
    return set_up(state, whole_yaml);
}

static int set_up_cluster(void **state)
{
    return set_up(state, cluster_yaml);
}

static int set_up_standby(void **state)
{
    return set_up(state, standby_yaml);
}

static void end(struct world *world)
{
    if (world->process) {
        process_stop(world->process);
        process_free(world->process);
    }
    world->process = NULL;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    end(world);
    assert_int_equal(fake.running, 0);
    plan_free(world->plan);
    folder_close(&world->folder);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void poll_once(struct world *world)
{
    struct error error;

    assert_int_equal(process_wait(world->process, POLL_MS, &error), STATUS_RETRY);
}

static void poll_for(struct world *world, int64_t ms)
{
    for (int64_t until = now_ms() + ms; now_ms() < until;)
        poll_once(world);
}

/* The value of a sample, "name" or "name{labels}"; -1: there is none. */
static double sample(struct world *world, const char *name)
{
    struct buffer out;
    char wanted[96];
    double value = -1;
    const char *found;

    snprintf(wanted, sizeof wanted, "\n%s ", name);
    buffer_init(&out, 1 << 20);
    process_metrics(world->process, &out);
    buffer_put(&out, "", 1);
    found = strstr(out.data, wanted);
    if (found)
        value = strtod(found + strlen(wanted), NULL);
    buffer_free(&out);
    return value;
}

/* Serves the group until so many tasks run. */
static void poll_until_running(struct world *world, unsigned tasks)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (sample(world, "weir_tasks_running") != tasks) {
        poll_once(world);
        assert_true(now_ms() < until);
    }
}

/* Each line of help is there once, and right before its samples. */
static void assert_families_once(struct world *world)
{
    struct buffer out;
    size_t families = 0;

    buffer_init(&out, 1 << 20);
    process_metrics(world->process, &out);
    buffer_put(&out, "", 1);
    for (char *line = out.data; (line = strstr(line, "# HELP ")); line++) {
        char head[96];
        const char *name = line + strlen("# HELP ");

        snprintf(head, sizeof head, "# HELP %.*s ", (int)strcspn(name, " "), name);
        assert_null(strstr(line + 1, head));
        families++;
    }
    assert_true(families > 30);
    buffer_free(&out);
}

static void listen_to(struct world *world)
{
    const char *path = folder_path(&world->folder, "said");

    fflush(stderr);
    world->said = dup(STDERR_FILENO);
    assert_non_null(freopen(path, "w", stderr));
}

/* How often each text was said; stderr is as before. */
static void times_said(struct world *world, const char *const *texts, unsigned *ret_times, size_t count)
{
    size_t size;
    char *said;

    fflush(stderr);
    dup2(world->said, STDERR_FILENO);
    close(world->said);
    said = folder_get(&world->folder, "said", &size);
    for (size_t i = 0; i < count; i++) {
        ret_times[i] = 0;
        for (const char *at = said; (at = strstr(at, texts[i])); at++)
            ret_times[i]++;
    }
    free(said);
}

static void without_a_cluster_there_is_one_engine(void **state)
{
    struct world *world = *state;
    struct error error;

    assert_int_equal(process_wait(world->process, 1, &error), STATUS_RETRY);
    assert_true(process_is_ready(world->process) && process_is_alive(world->process));
    fake.tasks[0].unready = true;
    assert_false(process_is_ready(world->process) || process_is_alive(world->process));
    assert_true(sample(world, "weir_rows_total") == FAKE_ROWS);
    assert_true(sample(world, "weir_checkpoint_generation") == 7);
    assert_true(sample(world, "weir_watermark_seconds") == 2);
    assert_true(sample(world, "weir_tasks") == -1);
    assert_families_once(world);
    fake.engine_outcome = STATUS_OK;
    assert_int_equal(process_wait(world->process, 1, &error), STATUS_OK);
    fake.tasks[0].fails = true;
    assert_int_equal(process_wait(world->process, 1, &error), STATUS_FATAL);
    assert_string_equal(error.text, "failure of 0");
    process_stop_at_cut(world->process);
    process_free(world->process);
    world->process = NULL;
    assert_int_equal(fake.tasks[0].cuts, 1);
    assert_int_equal(fake.tasks[0].stops, 0);
    assert_int_equal(fake.tasks[0].frees, 1);
}

static void tasks_are_opened_and_released_side_by_side(void **state)
{
    struct world *world = *state;

    assert_false(process_is_ready(world->process)); /* nothing heard of the group yet */
    for (unsigned i = 0; i < 4; i++)
        fake.tasks[i].slow_ms = SLOW_MS;
    fake.mine = 0xb;
    poll_once(world);
    assert_false(process_is_ready(world->process));
    assert_true(sample(world, "weir_tasks") == 3);
    poll_until_running(world, 3);
    assert_int_equal(fake.at_work_most, 3);
    assert_true(process_is_ready(world->process) && process_is_alive(world->process));
    assert_true(sample(world, "weir_tasks_running") == 3);
    assert_true(sample(world, "weir_rows_total") == 3 * FAKE_ROWS);
    assert_true(sample(world, "weir_series") == 3 * FAKE_ROWS);
    assert_true(sample(world, "weir_sink_documents_total{sink=\"out\"}") == 3 * FAKE_ROWS);
    assert_true(sample(world, "weir_checkpoint_generation{task=\"3\"}") == 10);
    assert_true(sample(world, "weir_checkpoint_generation{task=\"2\"}") == -1);
    assert_true(sample(world, "weir_watermark_seconds") == 2);
    assert_families_once(world);

    fake.at_work_most = 0;
    fake.mine = 0x4;
    fake.releases = true;
    poll_once(world);
    assert_int_equal(fake.at_work_most, 3);
    assert_int_equal(fake.tasks[0].cuts + fake.tasks[1].cuts + fake.tasks[3].cuts, 3);
    assert_false(process_is_ready(world->process));
    assert_true(sample(world, "weir_rows_total") == 3 * FAKE_ROWS); /* a total never falls */
    assert_true(sample(world, "weir_series") == 0);
    poll_until_running(world, 1);
    assert_true(process_is_ready(world->process));
    assert_true(sample(world, "weir_rows_total") == 4 * FAKE_ROWS);
    assert_int_equal(fake.tasks[2].opens, 1);
    assert_int_equal(fake.tasks[0].opens, 1);
    fake.tasks[2].unready = true;
    assert_false(process_is_ready(world->process));
}

static void beat(void *owner)
{
    ++*(unsigned *)owner;
}

/* A release may take longer than a service manager waits for a sign of life. */
static void a_long_release_gives_signs_of_life(void **state)
{
    struct world *world = *state;
    unsigned beats = 0;

    process_set_heartbeat(world->process, beat, &beats);
    fake.mine = 0x1;
    poll_until_running(world, 1);
    assert_int_equal(beats, 0);
    fake.tasks[0].slow_ms = 2500;
    fake.releases = true;
    fake.mine = 0;
    poll_once(world);
    assert_in_range(beats, 2, 3);
}

/* A process that has no tasks is ready when the group has said so, not before. */
static void a_spare_process_is_ready_once_the_group_has_spoken(void **state)
{
    struct world *world = *state;

    fake.unassigned = true;
    poll_once(world);
    assert_false(process_is_ready(world->process));
    fake.unassigned = false;
    poll_once(world);
    assert_true(process_is_ready(world->process));
    fake.unassigned = true; /* a rebalance */
    poll_once(world);
    assert_false(process_is_ready(world->process));
}

static void a_release_waits_for_what_is_being_opened(void **state)
{
    struct world *world = *state;

    fake.tasks[1].slow_ms = SLOW_MS;
    fake.tasks[2].slow_ms = SLOW_MS;
    fake.tasks[2].start = STATUS_RETRY;
    fake.mine = 0x7;
    poll_until_running(world, 1);
    assert_int_equal(fake.at_work, 2);
    fake.releases = true;
    fake.mine = 0;
    poll_once(world); /* the fake checks that none runs */
    assert_int_equal(fake.tasks[0].cuts, 1);
    assert_int_equal(fake.tasks[1].cuts, 1);
    assert_int_equal(fake.tasks[1].frees, 1);
    assert_int_equal(fake.tasks[2].cuts, 0);
    assert_true(process_is_ready(world->process)); /* a process may have nothing to do */
}

static void a_task_that_fails_is_opened_again(void **state)
{
    static const char *const texts[] = {"weir: task 1: failure of 1; opened again in 1 s\n",
                                        "weir: task 1: failure of 1; opened again in 2 s\n"};
    struct world *world = *state;
    unsigned times[2];

    listen_to(world);
    fake.mine = 0x3;
    poll_until_running(world, 2);
    fake.tasks[1].fails = true;
    poll_for(world, 800);
    assert_int_equal(fake.tasks[1].frees, 1);
    assert_int_equal(fake.tasks[1].opens, 1);
    assert_false(process_is_ready(world->process));
    assert_true(sample(world, "weir_task_failures_total") == 1);
    poll_until_running(world, 2);
    assert_int_equal(fake.tasks[1].opens, 2);
    assert_true(process_is_ready(world->process));
    fake.tasks[1].fails = true;
    poll_for(world, 1800);
    assert_int_equal(fake.tasks[1].opens, 2);
    poll_until_running(world, 2);
    times_said(world, texts, times, 2);
    assert_int_equal(times[0], 1);
    assert_int_equal(times[1], 1);
    assert_int_equal(fake.tasks[0].opens, 1);
    assert_int_equal(fake.tasks[1].cuts + fake.tasks[1].stops, 0); /* nothing of it is stored */
}

static void an_outage_is_said_once_and_what_must_be_mended_each_time(void **state)
{
    static const char *const texts[] = {"task 0: start of 0", "task 1: start of 1", "task 2:"};
    struct world *world = *state;
    unsigned times[3];

    listen_to(world);
    fake.tasks[0].start = STATUS_RETRY;
    fake.tasks[1].start = STATUS_FATAL;
    fake.mine = 0x7;
    poll_for(world, 1500); /* at once and after a second; the third time after two more */
    times_said(world, texts, times, 3);
    assert_int_equal(times[0], 1);
    assert_int_equal(times[1], 2);
    assert_int_equal(times[2], 0);
    assert_int_equal(fake.tasks[0].opens, 2);
    assert_int_equal(fake.tasks[1].opens, 2);
    fake.tasks[0].start = fake.tasks[1].start = STATUS_OK;
    poll_until_running(world, 3);
    assert_true(process_is_ready(world->process));
}

static void a_lost_membership_ends_the_process(void **state)
{
    struct world *world = *state;
    struct error error;

    fake.mine = 0xf;
    poll_until_running(world, 4);
    fake.lost = true;
    assert_int_equal(process_wait(world->process, POLL_MS, &error), STATUS_FATAL);
    assert_string_equal(error.text, "the membership is lost");
    end(world);
    assert_int_equal(fake.closes, 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(fake.tasks[i].stops, 1);
        assert_int_equal(fake.tasks[i].frees, 1);
    }
}

static void a_start_waits_for_the_store_and_for_a_broker(void **state)
{
    struct world *world = *state;
    struct engine_options options = {.mode = ENGINE_LIVE};
    struct process *second;
    struct error error;

    assert_int_equal(process_start(world->plan, &options, &second, &error), STATUS_RETRY);
    assert_non_null(strstr(error.text, "is used by another weir"));
    end(world);
    fake.joins = STATUS_RETRY;
    assert_int_equal(process_start(world->plan, &options, &second, &error), STATUS_RETRY);
    assert_string_equal(error.text, "no broker answers");
    fake.joins = STATUS_FATAL;
    assert_int_equal(process_start(world->plan, &options, &second, &error), STATUS_FATAL);
    fake.joins = STATUS_OK;
    start(world); /* none of them has kept the lock */
}

static void poll_until_followed(struct world *world, unsigned task, bool wanted)
{
    int64_t until = now_ms() + PATIENCE_MS;

    while (fake.tasks[task].followed != wanted) {
        poll_once(world);
        assert_true(now_ms() < until);
    }
}

/* The fakes check that no changelog is followed beside its engine. */
static void a_standby_follows_the_tasks_of_others(void **state)
{
    struct world *world = *state;

    fake.mine = 0x3;
    poll_until_running(world, 2);
    poll_until_followed(world, 2, true);
    poll_until_followed(world, 3, true);
    assert_false(fake.tasks[0].followed || fake.tasks[1].followed);
    poll_for(world, 100);
    assert_true(sample(world, "weir_standby_lag{task=\"3\"}") == FAKE_BEHIND);
    assert_true(sample(world, "weir_standby_lag{task=\"1\"}") == -1);
    assert_families_once(world);

    fake.mine = 0x6;
    fake.releases = true;
    poll_until_running(world, 0);
    poll_until_running(world, 2);
    assert_false(fake.tasks[1].followed || fake.tasks[2].followed);
    assert_int_equal(fake.tasks[2].follows, 1);
    poll_until_followed(world, 0, true);
    assert_true(fake.tasks[3].followed);
    assert_int_equal(fake.tasks[3].follows, 1); /* went on all the while */

    fake.tasks[1].fails = true; /* ours all the same */
    poll_for(world, 1500);
    assert_int_equal(fake.tasks[1].follows, 0);
    end(world);
    for (unsigned i = 0; i < 4; i++)
        assert_false(fake.tasks[i].followed);
}

static void a_standby_holds_no_task_back(void **state)
{
    struct world *world = *state;

    for (unsigned i = 0; i < 12; i++) {
        fake.mine = i % 2 ? 0xf : 0x8;
        fake.releases = true;
        poll_until_running(world, 0);
        poll_until_running(world, i % 2 ? 4 : 1);
        if (i % 4 == 2) /* long enough to be followed */
            poll_until_followed(world, 0, true);
    }
}

static void assert_health(struct world *world, const char *text)
{
    struct buffer out;

    buffer_init(&out, 1 << 20);
    process_health(world->process, 1000000, &out);
    buffer_put(&out, "", 1);
    if (!strstr(out.data, text))
        fail_msg("no %s in %s", text, out.data);
    buffer_free(&out);
}

struct asker {
    struct world *world;
    _Atomic bool end;
    _Atomic unsigned asked;
};

static void *ask(void *argument)
{
    struct asker *asker = argument;

    while (!asker->end) {
        int64_t letters, bytes;
        struct error error;
        double rows = sample(asker->world, "weir_rows_total");

        process_is_ready(asker->world->process);
        assert_health(asker->world, "\"problems\":[");
        if (rows >= 0 && dead_letters_count(process_dead_letters(asker->world->process), &letters, &bytes,
                                            &error) == STATUS_OK)
            asker->asked++;
    }
    return NULL;
}

static void the_page_asks_while_tasks_come_and_go(void **state)
{
    struct world *world = *state;
    struct asker asker = {.world = world};
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &asker), 0);
    for (unsigned i = 0; i < 60; i++) {
        fake.mine = i % 16;
        fake.releases = true;
        poll_once(world);
        fake.tasks[i % 4].fails = i % 3 == 0;
        poll_once(world);
    }
    asker.end = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(asker.asked > 0);
}

static void health_tells_of_the_tasks_of_this_process(void **state)
{
    struct world *world = *state;

    assert_health(world, "the group has not said yet which tasks this process has");
    fake.tasks[3].start = STATUS_RETRY;
    fake.mine = 0x9;
    poll_until_running(world, 1);
    assert_health(world, "\"tasks\":4,\"mine\":[0,3]}");
    assert_health(world, "[{\"severity\":\"warning\",\"text\":\"task 3 of this process does not work yet");
    assert_health(world, "\"checkpoints\":[{\"task\":0,\"generation\":7,");
    assert_health(world, "\"watermark\":\"1970-01-01T00:00:02.000Z\"");
    assert_health(world, "\"ready\":false");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_cluster_there_is_one_engine, set_up_whole, tear_down),
        cmocka_unit_test_setup_teardown(tasks_are_opened_and_released_side_by_side, set_up_cluster,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_release_waits_for_what_is_being_opened, set_up_cluster, tear_down),
        cmocka_unit_test_setup_teardown(a_long_release_gives_signs_of_life, set_up_cluster, tear_down),
        cmocka_unit_test_setup_teardown(a_spare_process_is_ready_once_the_group_has_spoken, set_up_cluster,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_task_that_fails_is_opened_again, set_up_cluster, tear_down),
        cmocka_unit_test_setup_teardown(an_outage_is_said_once_and_what_must_be_mended_each_time,
                                        set_up_cluster, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_membership_ends_the_process, set_up_cluster, tear_down),
        cmocka_unit_test_setup_teardown(a_start_waits_for_the_store_and_for_a_broker, set_up_cluster,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_standby_follows_the_tasks_of_others, set_up_standby, tear_down),
        cmocka_unit_test_setup_teardown(a_standby_holds_no_task_back, set_up_standby, tear_down),
        cmocka_unit_test_setup_teardown(health_tells_of_the_tasks_of_this_process, set_up_cluster, tear_down),
        cmocka_unit_test_setup_teardown(the_page_asks_while_tasks_come_and_go, set_up_standby, tear_down),
        cmocka_unit_test_setup_teardown(the_page_asks_while_tasks_come_and_go, set_up_cluster, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
