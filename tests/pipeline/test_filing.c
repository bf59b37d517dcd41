/* What waits for the store beside state and documents. */
#include "pipeline/filing.h"

#include "tests/pipeline/fake_store.h"
#include "tests/pipeline/support.h"

struct bench {
    struct store store;
    struct keeper *keeper;
    struct filing filing;
};

static void set_up(struct bench *bench)
{
    struct keeper_stores stores = {.store = &bench->store,
                                   .dead_letters = (struct dead_letters *)&bench->store};

    *bench = (struct bench){0};
    bench->keeper = keeper_new(&stores, NULL, NULL);
    filing_init(&bench->filing, bench->keeper);
}

static void tear_down(struct bench *bench)
{
    filing_close(&bench->filing);
    keeper_free(bench->keeper);
}

static void tell_ends(struct bench *bench, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        filing_run(&bench->filing, &(struct ended_run){.id = {1, i}, .line = SPAN_LITERAL("{\"schema\":1}")});
}

static void turn(struct bench *bench, bool flush)
{
    filing_advance(&bench->filing, 77, flush, NULL, NULL);
    fake_keeper_drain(bench->keeper);
    filing_advance(&bench->filing, 77, false, NULL, NULL);
}

static void a_cut_has_the_runs_that_ended_before_it(void **state)
{
    struct bench bench;

    set_up(&bench);
    tell_ends(&bench, 3);
    turn(&bench, false);
    assert_int_equal(bench.store.runs, 0); /* a job for each would cost more than the run */
    assert_true(filing_has_runs(&bench.filing));
    assert_true(filing_saved(&bench.filing));
    filing_freeze(&bench.filing);
    tell_ends(&bench, 1);
    assert_false(filing_saved(&bench.filing));
    turn(&bench, false);
    assert_true(filing_saved(&bench.filing));
    assert_in_range(bench.store.runs, 3, 4);
    assert_int_equal(bench.store.told_us, 77);
    tear_down(&bench);
}

static void many_runs_do_not_wait_for_a_cut(void **state)
{
    struct bench bench;

    set_up(&bench);
    tell_ends(&bench, 30000);
    turn(&bench, false);
    assert_int_equal(bench.store.runs, 30000);
    assert_false(filing_has_runs(&bench.filing));
    tear_down(&bench);
}

static void the_end_leaves_none_behind(void **state)
{
    struct bench bench;

    set_up(&bench);
    tell_ends(&bench, 2);
    turn(&bench, true);
    assert_int_equal(bench.store.runs, 2);
    assert_false(filing_has_runs(&bench.filing));
    tear_down(&bench);
}

static void a_store_that_takes_none_holds_the_input(void **state)
{
    struct bench bench;

    set_up(&bench);
    bench.store.refusing = true;
    for (unsigned i = 0; !filing_full(&bench.filing) && i < 10000; i++) {
        tell_ends(&bench, 1000);
        turn(&bench, true);
    }
    assert_true(filing_full(&bench.filing));
    assert_int_equal(bench.store.runs, 0);
    bench.store.refusing = false;
    turn(&bench, true);
    turn(&bench, true);
    assert_false(filing_full(&bench.filing) || filing_has_runs(&bench.filing));
    assert_int_equal(bench.store.runs, bench.filing.runs_filed);
    tear_down(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_has_the_runs_that_ended_before_it),
        cmocka_unit_test(many_runs_do_not_wait_for_a_cut),
        cmocka_unit_test(the_end_leaves_none_behind),
        cmocka_unit_test(a_store_that_takes_none_holds_the_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
