/* Who gets a block of the hot tier, and that a restart, other workers, another order of arrival and other
 * budgets change nothing of what is told with it. */
#include "pipeline/windows.h"

#include "pipeline/columns.h"
#include "schemas/encode.h"
#include "tests/base/random.h"
#include "tests/pipeline/stored.h"
#include "tests/pipeline/support.h"

#include <math.h>
#include <stdio.h>

enum { ENDS = 2200, SERIES = 6, WORKERS = 3, EVERY_US = 10000000, RHYTHM = 64, SILENT_FROM = 1000 };

static const int64_t begin_us = 1795252620000000;

struct machine {
    struct plan *plan;
    unsigned workers;
    struct exchange *exchange;
    struct judge *judges[WORKERS];
    struct windows *windows[WORKERS];
    struct buffer told[ENDS]; /* a line a bucket, in no order within an end */
    unsigned end, scored[SERIES];
    uint64_t random;
    struct stored stored;
};

/* Keys of one shard, the lowest first. */
static char names[SERIES][16];

static struct id128 key_at(unsigned series)
{
    struct span text = span_of(names[series]);

    return key_of(&text, 1);
}

static int compare_names(const void *left, const void *right)
{
    struct span a = span_of(left), b = span_of(right);

    return id_compare(key_of(&a, 1), key_of(&b, 1));
}

static int choose_names(void **state)
{
    for (unsigned i = 0, number = 0; i < SERIES; number++) {
        snprintf(names[i], sizeof names[i], "w%u", number);
        i += shard_of(key_at(i)) == 7;
    }
    qsort(names, SERIES, sizeof *names, compare_names);
    return 0;
}

static void tell_bucket(void *owner, const struct bucket *bucket, int64_t at_us)
{
    struct machine *machine = owner;

    buffer_print(&machine->told[machine->end], "%.*s %lld %a %d\n", (int)bucket->key[0].size,
                 bucket->key[0].data, (long long)bucket->end_us, bucket->score, bucket->anomaly);
    for (unsigned i = 0; i < SERIES; i++)
        machine->scored[i] += span_is(bucket->key[0], names[i]) && !isnan(bucket->score);
}

static void tell_signal(void *owner, const struct signal_record *record)
{
}

static struct plan *make_plan(const char *hot)
{
    char yaml[1024];

    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: s, type: file, path: x}]\nlimits: {hot: %s}\n"
             "measures:\n- {name: load, of: value, by: [workflow], every: 10s, statistics: [mean]}\n"
             "detectors:\n- {name: form, type: shape, measure: load, one_in: 20}\n",
             hot);
    return plan_of(yaml);
}

static void open_machine(struct machine *machine, unsigned workers)
{
    const struct windows_output output = {tell_bucket, tell_signal, machine};

    machine->workers = workers;
    machine->exchange = exchange_new(workers);
    for (unsigned w = 0; w < workers; w++) {
        machine->judges[w] = judge_new(machine->plan, exchange_port(machine->exchange, w));
        machine->windows[w] = windows_new(machine->plan, w, workers, machine->judges[w], &output);
    }
}

static void close_machine(struct machine *machine)
{
    for (unsigned w = 0; w < machine->workers; w++) {
        windows_free(machine->windows[w]);
        judge_free(machine->judges[w]);
    }
    exchange_free(machine->exchange);
}

/* Two blocks a shard. */
static struct machine *machine_new(const char *hot, uint64_t random)
{
    struct machine *machine = memory_new(sizeof *machine);

    machine->plan = make_plan(hot);
    machine->random = random;
    for (unsigned i = 0; i < ENDS; i++)
        buffer_init(&machine->told[i], 1 << 20);
    stored_open(&machine->stored);
    open_machine(machine, 1);
    return machine;
}

static void machine_free(struct machine *machine)
{
    close_machine(machine);
    stored_close(&machine->stored);
    for (unsigned i = 0; i < ENDS; i++)
        buffer_free(&machine->told[i]);
    plan_free(machine->plan);
    free(machine);
}

static const char two_blocks[] = "26MiB";

static struct windows *owner_of(const struct machine *machine)
{
    return machine->windows[shard_of(key_at(0)) % machine->workers];
}

static size_t lent(const struct machine *machine)
{
    struct windows_figures figures;

    windows_figures(owner_of(machine), &figures);
    assert_int_equal(figures.hot_bytes, figures.hot_series * machine->plan->detectors[0].hot_size);
    return figures.hot_series;
}

/* A pulse with noise; from time to time upside down. The first series ends early. */
static double value_of(unsigned series, unsigned end)
{
    uint64_t seed = series * 100000 + end + 1;
    double phase = (double)((end + 11 * series) % RHYTHM) / RHYTHM;
    double noise = (double)(random_next(&seed) % 1000) / 1000;
    double sign = end / RHYTHM % 13 == 12 ? -1 : 1;

    return 100 + sign * 10 * exp(-80 * (phase - 0.3) * (phase - 0.3)) + noise;
}

static bool is_silent(unsigned series, unsigned end)
{
    return series == 0 && end >= SILENT_FROM;
}

static void put_value(struct machine *machine, unsigned series, unsigned end)
{
    const struct plan_group *group = machine->plan->groups;
    struct span text = span_of(names[series]);
    size_t size = pane_record_size(group, &text);
    struct pane_record *record = memory_new(size);

    record->head = (struct record){.size = (uint32_t)size, .type = RECORD_PANE};
    pane_record_init(record, machine->plan, group, key_at(series), &text);
    record->start_us = begin_us + (int64_t)end * EVERY_US;
    record->first_end_us = record->start_us + EVERY_US;
    accumulator_add(group_accumulator(group, record->accumulators, 0), &group->layouts[0],
                    value_of(series, end), record->start_us, 0, false);
    windows_merge(owner_of(machine), record);
    free(record);
}

static void close_end(struct machine *machine, unsigned end)
{
    struct windows_time time = {
        .events_us = begin_us + ((int64_t)end + 1) * EVERY_US, .firm_us = INT64_MAX, .partial_us = INT64_MIN};

    machine->end = end;
    for (unsigned w = 0; w < machine->workers; w++)
        while (!windows_close(machine->windows[w], &time, 1 + random_below(&machine->random, 100)))
            ;
}

/* One end: its values in a random order. */
static void step(struct machine *machine, unsigned end)
{
    unsigned first = (unsigned)random_below(&machine->random, SERIES);

    for (unsigned i = 0; i < SERIES; i++)
        if (!is_silent((first + i) % SERIES, end))
            put_value(machine, (first + i) % SERIES, end);
    close_end(machine, end);
}

static void freeze(struct machine *machine)
{
    for (unsigned w = 0; w < machine->workers; w++)
        windows_freeze(machine->windows[w], &machine->stored.saver, 1);
}

/* All of what is frozen; what was written. */
static size_t save(struct machine *machine)
{
    size_t puts = machine->stored.puts;

    for (unsigned w = 0; w < machine->workers; w++) {
        machine->stored.saver.taken = 0;
        while (!windows_save(machine->windows[w], 2000))
            machine->stored.saver.taken = 0;
    }
    puts = machine->stored.puts - puts;
    stored_flip(&machine->stored);
    return puts;
}

static void restart(struct machine *machine, unsigned workers)
{
    struct error error;

    close_machine(machine);
    open_machine(machine, workers);
    for (size_t i = 0; i < machine->stored.complete.count; i++) {
        const struct stored_value *value = &machine->stored.complete.items[i];

        if (windows_restore(machine->windows[value->key.owner % workers], &value->key, value->bytes,
                            &error) != STATUS_OK)
            fail_msg("%s", error.text);
    }
    for (unsigned w = 0; w < workers; w++)
        windows_restored(machine->windows[w]);
}

static void assert_same_lines(const struct buffer *left, const struct buffer *right)
{
    const char *end;

    assert_int_equal(left->size, right->size);
    for (size_t at = 0; at < left->size; at = (size_t)(end + 1 - left->data)) {
        end = memchr(left->data + at, '\n', left->size - at);
        assert_non_null(end);
        assert_non_null(
            memmem(right->data, right->size, left->data + at, (size_t)(end - left->data) - at + 1));
    }
}

/* The two lowest keys of those that ask at once get the blocks; when one falls silent the next key has it. */
static void test_who_gets_a_block(void **state)
{
    struct machine *machine = machine_new(two_blocks, 1);

    for (unsigned end = 0; end < ENDS; end++) {
        step(machine, end);
        assert_int_equal(lent(machine), end < 63 ? 0 : 2);
    }
    /* 64 buckets to ask, 512 to find the rhythm, until the back end is warm; the third waits for 64 more */
    assert_in_range(machine->scored[0], SILENT_FROM - 64 - 512 - 60, SILENT_FROM - 64 - 512);
    assert_in_range(machine->scored[1], ENDS - 64 - 512 - 60, ENDS - 64 - 512);
    assert_in_range(machine->scored[2], ENDS - SILENT_FROM - 64 - 512 - 60, ENDS - SILENT_FROM - 64 - 512);
    for (unsigned i = 3; i < SERIES; i++)
        assert_int_equal(machine->scored[i], 0);
    machine_free(machine);
}

static void test_no_memory_no_opinion(void **state)
{
    struct machine *machine = machine_new("0", 1);

    for (unsigned end = 0; end < 700; end++)
        step(machine, end);
    assert_int_equal(lent(machine), 0);
    for (unsigned i = 0; i < SERIES; i++)
        assert_int_equal(machine->scored[i], 0);
    machine_free(machine);
}

/* Cuts are saved late, so that blocks change while they are frozen; a restart goes back to the last cut. */
static void test_a_restart_changes_nothing(void **state)
{
    struct machine *steady = machine_new(two_blocks, 1), *restarted = machine_new(two_blocks, 2);
    unsigned end = 0, restarts = 0;

    for (unsigned i = 0; i < ENDS; i++)
        step(steady, i);
    while (end < ENDS) {
        unsigned cut = end, until = cut + 1 + (unsigned)random_below(&restarted->random, 60);

        freeze(restarted);
        for (; end < until && end < ENDS; end++)
            step(restarted, end);
        save(restarted);
        if (end == ENDS || random_below(&restarted->random, 3))
            continue;
        restart(restarted, 1 + restarts++ % WORKERS);
        for (unsigned i = cut; i < end; i++)
            buffer_clear(&restarted->told[i]);
        end = cut;
    }
    assert_true(restarts > 5);
    for (unsigned i = 0; i < ENDS; i++)
        assert_same_lines(&steady->told[i], &restarted->told[i]);
    assert_int_equal(lent(steady), lent(restarted));
    machine_free(steady);
    machine_free(restarted);
}

/* A cut writes the first page of each block, and few others. */
static void test_only_what_changed_is_stored(void **state)
{
    struct machine *machine = machine_new(two_blocks, 1);
    size_t pages = machine->plan->detectors[0].hot_size / 1024 + 1, puts;

    for (unsigned end = 0; end < 800; end++)
        step(machine, end);
    freeze(machine);
    assert_true(save(machine) > 2 * pages);
    step(machine, 800);
    freeze(machine);
    puts = save(machine);
    assert_in_range(puts, 2 + 2, 2 + 2 * 5); /* series and table beside them */
    freeze(machine);
    assert_int_equal(save(machine), 0);
    restart(machine, 2);
    freeze(machine);
    assert_int_equal(save(machine), 0);
    machine_free(machine);
}

/* Of a damaged or incomplete block nothing is taken: its series begins anew. */
static void test_a_broken_block_is_not_lent(void **state)
{
    struct machine *machine = machine_new(two_blocks, 1);
    struct stored_values *values = &machine->stored.complete;

    for (unsigned end = 0; end < 700; end++)
        step(machine, end);
    freeze(machine);
    save(machine);
    for (size_t i = values->count; i-- > 0;)
        if (values->items[i].key.kind == STATE_HOT && values->items[i].key.block == 3)
            stored_remove(values, i);
    restart(machine, 1);
    assert_int_equal(lent(machine), 1);
    step(machine, 700); /* asks again */
    assert_int_equal(lent(machine), 2);
    machine_free(machine);
}

static void test_damaged_pages_do_no_harm(void **state)
{
    struct machine *machine = machine_new(two_blocks, 1);
    unsigned refused = 0;

    for (unsigned end = 0; end < 300; end++)
        step(machine, end);
    freeze(machine);
    save(machine);
    for (unsigned round = 0; round < 300; round++) {
        const struct stored_value *value =
            &machine->stored.complete.items[random_below(&machine->random, machine->stored.complete.count)];
        struct state_key key = value->key;
        size_t size = random_below(&machine->random, value->bytes.size + 1);
        struct error error;

        if (key.kind != STATE_HOT)
            continue;
        if (round % 3 == 0)
            key.block = (uint32_t)random_next(&machine->random);
        close_machine(machine);
        open_machine(machine, 1);
        refused += windows_restore(machine->windows[0], &key, span_make(value->bytes.data, size), &error) ==
                   STATUS_FATAL;
        windows_restored(machine->windows[0]);
        assert_int_equal(lent(machine), 0);
    }
    assert_true(refused > 100);
    machine_free(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_gets_a_block),           cmocka_unit_test(test_no_memory_no_opinion),
        cmocka_unit_test(test_a_restart_changes_nothing),  cmocka_unit_test(test_only_what_changed_is_stored),
        cmocka_unit_test(test_a_broken_block_is_not_lent), cmocka_unit_test(test_damaged_pages_do_no_harm),
    };

    return cmocka_run_group_tests(tests, choose_names, NULL);
}
