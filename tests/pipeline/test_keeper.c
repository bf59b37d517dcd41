/* Jobs in turn, refused ones first, urgent ones before the others; by steps and on the thread. */
#include "base/memory.h"
#include "pipeline/keeper.h"
#include "pipeline/store.h"
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECOND_US = 1000 * 1000, JOBS = 200 };

struct trace {
    char order[256];
    unsigned warnings;
};

struct traced_job {
    struct keeper_job job;
    struct trace *trace;
    char name;
    _Atomic unsigned refusals; /* how often it is still refused */
    bool breaks;
};

static enum status run_traced(struct keeper_job *job, const struct keeper_stores *stores,
                              struct error *ret_error)
{
    struct traced_job *mine = (struct traced_job *)job;

    (void)stores;
    if (mine->breaks) {
        snprintf(ret_error->text, sizeof ret_error->text, "broken by %c", mine->name);
        return STATUS_FATAL;
    }
    if (mine->refusals > 0) {
        mine->refusals--;
        snprintf(ret_error->text, sizeof ret_error->text, "the disk is full");
        return STATUS_RETRY;
    }
    mine->trace->order[strlen(mine->trace->order)] = mine->name;
    return STATUS_OK;
}

static void count_warning(void *owner, const char *text)
{
    struct trace *trace = owner;

    assert_true(strstr(text, "disk is full") || strstr(text, "input goes on"));
    trace->warnings++;
}

struct bench {
    struct folder folder;
    struct store *store;
    struct keeper *keeper;
    struct trace trace;
};

static void bench_open(struct bench *bench)
{
    struct store_options options = {0};
    struct keeper_stores stores = {0};
    struct error error;

    *bench = (struct bench){0};
    folder_open(&bench->folder);
    assert_int_equal(store_open(folder_path(&bench->folder, "k.db"), &options, &bench->store, &error),
                     STATUS_OK);
    stores.store = bench->store;
    bench->keeper = keeper_new(&stores, count_warning, &bench->trace);
}

static void bench_close(struct bench *bench)
{
    keeper_stop(bench->keeper);
    keeper_free(bench->keeper);
    store_close(bench->store);
    folder_close(&bench->folder);
}

static struct traced_job job_of(struct bench *bench, char name, bool urgent)
{
    return (struct traced_job){
        .job = {.run = run_traced, .urgent = urgent}, .trace = &bench->trace, .name = name};
}

static void test_order(void **state)
{
    struct bench bench;

    bench_open(&bench);
    struct traced_job jobs[] = {job_of(&bench, 'a', false), job_of(&bench, 'b', false),
                                job_of(&bench, 'U', true), job_of(&bench, 'V', true)};
    for (size_t i = 0; i < 4; i++)
        keeper_submit(bench.keeper, &jobs[i].job);
    assert_int_equal(keeper_waiting(bench.keeper), 4);
    assert_true(keeper_step(bench.keeper, 1));
    assert_true(jobs[2].job.done && !jobs[0].job.done);
    while (keeper_waiting(bench.keeper) > 0)
        assert_true(keeper_step(bench.keeper, 1));
    assert_string_equal(bench.trace.order, "UVab");
    bench_close(&bench);
}

static void test_refused(void **state)
{
    struct bench bench;

    bench_open(&bench);
    struct traced_job a = job_of(&bench, 'a', false), b = job_of(&bench, 'b', false);
    a.refusals = 3;
    keeper_submit(bench.keeper, &a.job);
    keeper_submit(bench.keeper, &b.job);
    assert_false(keeper_step(bench.keeper, 0));
    assert_true(keeper_holding(bench.keeper));
    struct error reason;
    keeper_reason(bench.keeper, &reason);
    assert_string_equal(reason.text, "the disk is full");
    assert_false(keeper_step(bench.keeper, SECOND_US / 2)); /* not yet */
    assert_int_equal(a.refusals, 2);
    assert_false(keeper_step(bench.keeper, SECOND_US));
    assert_false(keeper_step(bench.keeper, 2 * SECOND_US));
    assert_true(keeper_step(bench.keeper, 3 * SECOND_US));
    assert_false(keeper_holding(bench.keeper));
    assert_true(keeper_step(bench.keeper, 3 * SECOND_US));
    assert_string_equal(bench.trace.order, "ab");
    assert_int_equal(bench.trace.warnings, 2);
    bench_close(&bench);
}

static void test_broken(void **state)
{
    struct bench bench;

    bench_open(&bench);
    struct traced_job a = job_of(&bench, 'a', false), b = job_of(&bench, 'b', true);
    a.breaks = true;
    keeper_submit(bench.keeper, &a.job);
    assert_false(keeper_step(bench.keeper, 0));
    assert_string_equal(keeper_failure(bench.keeper), "broken by a");
    assert_true(keeper_holding(bench.keeper));
    keeper_submit(bench.keeper, &b.job);
    assert_false(keeper_step(bench.keeper, 9 * SECOND_US)); /* nothing more is stored */
    assert_false(b.job.done);
    bench_close(&bench);
}

static void test_thread(void **state)
{
    struct bench bench;
    struct error error;

    bench_open(&bench);
    struct traced_job *jobs = memory_new(JOBS * sizeof *jobs);
    assert_int_equal(keeper_start(bench.keeper, &error), STATUS_OK);
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = job_of(&bench, (char)('a' + i % 26), false);
        keeper_submit(bench.keeper, &jobs[i].job);
        if (i % 50 == 0)
            usleep(1000);
    }
    keeper_stop(bench.keeper); /* does what is queued */
    assert_int_equal(strlen(bench.trace.order), JOBS);
    for (unsigned i = 0; i < JOBS; i++)
        assert_true(jobs[i].job.done && bench.trace.order[i] == (char)('a' + i % 26));
    free(jobs);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
