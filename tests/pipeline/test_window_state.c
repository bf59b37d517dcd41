/* Windows that are stored, thrown away and restored at random moments must tell, byte for byte, what windows
 * tell that never stop: with other workers, with other measures beside the ones compared, and while cuts are
 * saved in slices between the changes. */
#include "pipeline/windows.h"

#include "pipeline/columns.h"
#include "schemas/encode.h"
#include "tests/base/random.h"
#include "tests/pipeline/stored.h"
#include "tests/pipeline/support.h"

#include <stdio.h>

enum { OPERATIONS = 3000, WORKERS = 4, LIVES = 8, SECOND = 1000000 };

static const int64_t begin_us = 1795252620000000;

enum operation_kind { MERGE, LATE, CLOSE };

struct operation {
    enum operation_kind kind;
    bool on_run;
    char texts[2][32];
    int64_t start_us, first_end_us, order_us;
    unsigned rows;
    uint64_t seed;
    struct windows_time time;
    size_t budget;
};

struct world {
    struct plan *plans[2]; /* of lives 0, 2, 4 ... and 1, 3, 5 ... */
    unsigned workers[2];
    bool kept_only; /* compare only what has a name that begins with "kept" */
    bool any_order; /* within an operation */
    struct operation operations[OPERATIONS];
    struct buffer expected[OPERATIONS];
    struct windows_figures figures; /* at the end */
    struct stored stored;
    uint64_t random, cut;
};

struct machine {
    const struct world *world;
    struct plan *plan;
    unsigned workers;
    struct exchange *exchange;
    struct judge *judges[WORKERS];
    struct windows *windows[WORKERS];
    struct buffer told; /* by the operation at hand, a line a thing */
};

static bool is_compared(const struct machine *machine, const char *name)
{
    return !machine->world->kept_only || strncmp(name, "kept", 4) == 0;
}

static void tell_bucket(void *owner, const struct bucket *bucket, int64_t at_us)
{
    struct machine *machine = owner;

    if (!is_compared(machine, bucket->shape->name))
        return;
    line_of_bucket(bucket, &machine->told);
    buffer_print(&machine->told, " at %lld %a %a %a\n", (long long)at_us, bucket->score, bucket->expected_low,
                 bucket->expected_high);
}

static void tell_signal(void *owner, const struct signal_record *record)
{
    struct machine *machine = owner;

    if (!is_compared(machine, record->detector))
        return;
    line_of_signal(record, &machine->told);
    buffer_print(&machine->told, "\n");
}

static void tell_conditions(struct machine *machine)
{
    struct exchange_port *port = exchange_port(machine->exchange, ALERT_OWNER);
    struct block *block;

    for (unsigned w = 0; w < machine->workers; w++)
        exchange_flush(exchange_port(machine->exchange, w));
    for (; (block = exchange_receive(port)); block_release(block))
        for (uint32_t at = 0; at < block->used;) {
            const struct condition_record *record = (const struct condition_record *)(block->bytes + at);
            const struct condition *condition = &record->condition;
            unsigned rules = machine->plan->rule_count;
            const char *name = condition->policy < rules
                                   ? machine->plan->rules[condition->policy].name
                                   : machine->plan->detectors[condition->policy - rules].name;

            if (is_compared(machine, name))
                buffer_print(&machine->told, "condition %s %d %lld %llx %a %d\n", name, condition->outcome,
                             (long long)condition->at_us, (unsigned long long)condition->evidence.dedup.low,
                             condition->evidence.actual, condition->evidence.provisional);
            at += record->head.size;
        }
}

static void machine_open(struct machine *machine, struct world *world, unsigned life)
{
    const struct windows_output output = {tell_bucket, tell_signal, machine};

    *machine =
        (struct machine){.world = world, .plan = world->plans[life % 2], .workers = world->workers[life % 2]};
    machine->exchange = exchange_new(machine->workers);
    buffer_init(&machine->told, 1 << 30);
    for (unsigned w = 0; w < machine->workers; w++) {
        machine->judges[w] = judge_new(machine->plan, exchange_port(machine->exchange, w));
        machine->windows[w] = windows_new(machine->plan, w, machine->workers, machine->judges[w], &output);
    }
}

static void machine_close(struct machine *machine)
{
    for (unsigned w = 0; w < machine->workers; w++) {
        windows_free(machine->windows[w]);
        judge_free(machine->judges[w]);
    }
    exchange_free(machine->exchange);
    buffer_free(&machine->told);
}

static void machine_restore(struct machine *machine, const struct stored *stored)
{
    struct error error;

    for (size_t i = 0; i < stored->complete.count; i++)
        for (unsigned w = 0; w < machine->workers; w++) {
            const struct stored_value *value = &stored->complete.items[i];

            if (value->key.kind != STATE_CORRECTIONS && value->key.owner % machine->workers != w)
                continue;
            if (windows_restore(machine->windows[w], &value->key, value->bytes, &error) != STATUS_OK)
                fail_msg("%s", error.text);
        }
    for (unsigned w = 0; w < machine->workers; w++)
        windows_restored(machine->windows[w]);
}

static void fill(const struct plan_group *group, const struct operation *operation,
                 struct pane_record *record)
{
    for (unsigned m = 0; m < group->measure_count; m++) {
        uint64_t random = operation->seed;

        for (unsigned i = 0; i < operation->rows; i++) {
            uint64_t number = random_next(&random);
            double value = (double)(number % 997) / 7 - 20;

            accumulator_add(group_accumulator(group, record->accumulators, m), &group->layouts[m], value,
                            (int64_t)(number % 50), number % 100, number % 2);
        }
    }
}

static struct id128 operation_key(const struct operation *operation, struct span ret_texts[2])
{
    for (unsigned i = 0; i < 2; i++)
        ret_texts[i] = span_of(operation->texts[i]);
    return key_of(ret_texts, 2);
}

static void apply_record(struct machine *machine, const struct operation *operation)
{
    struct span texts[2];
    struct id128 key = operation_key(operation, texts);
    struct windows *windows = machine->windows[shard_of(key) % machine->workers];
    const struct plan_group *group = machine->plan->groups;

    while (group->on_run != operation->on_run)
        group++;
    size_t size = (pane_record_size(group, texts) + 7) & ~(size_t)7;
    struct block *block = memory_new(sizeof *block + size);
    struct pane_record *record = (struct pane_record *)block->bytes;
    block->references = 1;
    block->used = block->size = (uint32_t)size;
    record->head = (struct record){.size = (uint32_t)size, .type = RECORD_PANE};
    pane_record_init(record, machine->plan, group, key, texts);
    record->start_us = operation->start_us;
    record->first_end_us = operation->first_end_us;
    record->order_us = operation->order_us;
    record->offset = (int64_t)(operation - machine->world->operations);
    record->partition = (uint32_t)(operation->seed % 5);
    record->item = (uint16_t)(operation->seed % 3);
    fill(group, operation, record);
    if (operation->kind == LATE)
        windows_correct_later(windows, record, block);
    else
        windows_merge(windows, record);
    block_release(block);
}

static void apply(struct machine *machine, const struct operation *operation)
{
    buffer_clear(&machine->told);
    if (operation->kind != CLOSE)
        apply_record(machine, operation);
    else
        for (unsigned w = 0; w < machine->workers; w++) {
            windows_close(machine->windows[w], &operation->time, operation->budget);
            windows_settle(machine->windows[w]); /* a cut may come */
        }
    tell_conditions(machine);
}

static void sum_figures(const struct machine *machine, struct windows_figures *ret_figures)
{
    *ret_figures = (struct windows_figures){0};
    for (unsigned w = 0; w < machine->workers; w++) {
        struct windows_figures figures;

        windows_figures(machine->windows[w], &figures);
        ret_figures->series += figures.series;
        ret_figures->open_panes += figures.open_panes;
        ret_figures->state_bytes += figures.state_bytes;
    }
}

static int compare_lines(const void *left, const void *right)
{
    return span_compare(*(const struct span *)left, *(const struct span *)right);
}

static void sort_lines(struct buffer *lines)
{
    struct span *spans = memory_new((lines->size + 1) * sizeof *spans);
    struct buffer sorted;
    size_t count = 0;

    buffer_init(&sorted, lines->limit);
    for (size_t at = 0; at < lines->size; at += spans[count++].size) {
        const char *end = memchr(lines->data + at, '\n', lines->size - at);

        spans[count] = span_make(lines->data + at, (size_t)(end + 1 - (lines->data + at)));
    }
    qsort(spans, count, sizeof *spans, compare_lines);
    for (size_t i = 0; i < count; i++)
        buffer_put_span(&sorted, spans[i]);
    buffer_free(lines);
    *lines = sorted;
    free(spans);
}

static void check_told(const struct world *world, struct machine *machine, size_t at)
{
    const struct buffer *expected = &world->expected[at];
    size_t same = 0;

    if (world->any_order)
        sort_lines(&machine->told);
    while (same < machine->told.size && same < expected->size &&
           machine->told.data[same] == expected->data[same])
        same++;
    if (same < machine->told.size || same < expected->size)
        fail_msg("operation %zu tells (%zu) %.300s, not (%zu) %.300s", at, machine->told.size,
                 machine->told.data + same, expected->size, expected->data + same);
}

/* Few shards, so that their tables have several blocks. */
static void choose_key(struct operation *operation, uint64_t number, unsigned shard)
{
    struct span texts[2];
    unsigned tried = 0;

    snprintf(operation->texts[0], sizeof *operation->texts, "%llu", (unsigned long long)number);
    do
        snprintf(operation->texts[1], sizeof *operation->texts, "%u", tried++);
    while (shard_of(operation_key(operation, texts)) != shard);
}

static void random_operations(struct world *world, bool budgets)
{
    uint64_t *random = &world->random;
    int64_t now = begin_us;

    for (size_t i = 0; i < OPERATIONS; i++) {
        struct operation *operation = &world->operations[i];
        uint64_t kind = random_below(random, 20), shard = random_below(random, 3);
        bool on_run = random_below(random, 3) == 0;
        int64_t every = on_run ? 5 * SECOND : 10 * SECOND, pane = every;

        now += (int64_t)random_below(random, 300) * 1000;
        *operation = (struct operation){.kind = kind < 13   ? MERGE
                                                : kind < 16 ? LATE
                                                            : CLOSE,
                                        .on_run = on_run,
                                        .rows = 1 + (unsigned)random_below(random, 90),
                                        .seed = random_next(random)};
        choose_key(operation, random_below(random, random_below(random, 3) ? 20 : 700), (unsigned)shard);
        operation->start_us =
            floor_div(now - (int64_t)random_below(random, operation->kind == LATE ? 90 : 12) * SECOND, pane) *
            pane;
        operation->first_end_us = operation->start_us + every;
        if (on_run && operation->kind == MERGE && random_below(random, 4) == 0)
            operation->first_end_us += every;
        operation->order_us = now + (int64_t)random_below(random, 20) * SECOND;
        operation->time = (struct windows_time){.events_us = now - 8 * SECOND,
                                                .runs_us = now - 11 * SECOND,
                                                .firm_us = now - (int64_t)random_below(random, 25) * SECOND,
                                                .partial_us = INT64_MIN};
        operation->budget = budgets ? 1 + random_below(random, 60) : SIZE_MAX;
    }
}

static void expect(struct world *world)
{
    struct machine machine;

    machine_open(&machine, world, 0);
    for (size_t i = 0; i < OPERATIONS; i++) {
        apply(&machine, &world->operations[i]);
        if (world->any_order)
            sort_lines(&machine.told);
        buffer_init(&world->expected[i], 1 << 30);
        buffer_put_span(&world->expected[i], buffer_span(&machine.told));
    }
    sum_figures(&machine, &world->figures);
    machine_close(&machine);
}

/* A slice of each worker's part; true: all is saved. */
static bool save_some(struct world *world, struct machine *machine)
{
    bool all = true;

    for (unsigned w = 0; w < machine->workers; w++) {
        world->stored.saver.taken = 0;
        all &= windows_save(machine->windows[w], random_below(&world->random, 3000));
    }
    return all;
}

static void freeze(struct world *world, struct machine *machine)
{
    world->cut++;
    for (unsigned w = 0; w < machine->workers; w++)
        windows_freeze(machine->windows[w], &world->stored.saver, world->cut);
}

/* Works from the newest cut until it is stopped; returns where the next life begins. */
static size_t live(struct world *world, unsigned life, size_t from)
{
    struct machine machine;
    size_t next = from, frozen_at = 0, until = from + 200 + random_below(&world->random, 1500), i;
    bool saving = false;

    machine_open(&machine, world, life);
    machine_restore(&machine, &world->stored);
    for (i = from; i < OPERATIONS && (i < until || life == LIVES); i++) {
        if (!saving && random_below(&world->random, 60) == 0) {
            freeze(world, &machine);
            frozen_at = i;
            saving = true;
        }
        if (saving && random_below(&world->random, 3) == 0 && save_some(world, &machine)) {
            stored_flip(&world->stored);
            next = frozen_at;
            saving = false;
        }
        apply(&machine, &world->operations[i]);
        check_told(world, &machine, i);
    }
    if (i == OPERATIONS && !world->any_order) {
        struct windows_figures figures;

        sum_figures(&machine, &figures);
        assert_memory_equal(&figures, &world->figures, sizeof figures);
    }
    stored_forget(&world->stored);
    machine_close(&machine);
    return i == OPERATIONS ? OPERATIONS : next;
}

static const char events_measures[] =
    "- {name: kept, of: value, by: [workflow, task], every: 10s, statistics: [count, sum, mean, variance, "
    "p95,"
    " ratio], ratio: 'value > 5.0'}\n"
    "- {name: kept_hosts, of: host, by: [workflow, task], every: 10s, statistics: [distinct]}\n";
static const char runs_measures[] = "- {name: kept_runs, on: run, of: duration_ms, by: [workflow, task], "
                                    "every: 5s, window: 15s, statistics: [mean,"
                                    " min, max, p50]}\n";
static const char kept_judges[] = "detectors:\n- {name: kept_z, type: zscore, measure: kept, statistic: "
                                  "mean, half_life: 1m, warm_up: 50s, one_in:"
                                  " 20}\n- {name: kept_e, type: moving_average, measure: kept_runs, "
                                  "statistic: mean, window: 1m, one_in: 20}\n";
static const char kept_rules[] = "- {name: kept_many, on: bucket, measure: kept, when: 'count > 60.0'}\n"
                                 "- {name: kept_high, on: bucket, measure: kept_runs, when: 'mean > 55.0'}\n";

static struct plan *make_plan(bool other)
{
    static const char other_measures[] = "- {name: other, of: value, by: [workflow, task], every: 10s,"
                                         " statistics: [max, p99]}\n";
    static const char fresh_measures[] = "- {name: fresh, of: attempt, by: [workflow, task], every: 10s,"
                                         " statistics: [mean]}\n";
    char yaml[4096];

    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: s, type: file, path: x}]\n"
             "time: {late: correct, correct_for: 40s}\nmeasures:\n%s%s%s%s%s%srules:\n%s%s",
             other ? fresh_measures : "", events_measures, runs_measures, other ? "" : other_measures,
             kept_judges,
             other ? "- {name: fresh_z, type: zscore, measure: fresh, half_life: 2m}\n"
                   : "- {name: other_m, type: mad, measure: other, statistic: max, window: 2m, one_in: 20}\n",
             other ? "- {name: fresh_r, on: bucket, measure: fresh, when: 'mean > 30.0'}\n"
                   : "- {name: other_r, on: bucket, measure: other, when: 'max > 100.0'}\n",
             kept_rules);
    return plan_of(yaml);
}

static void check_world(struct world *world, bool budgets)
{
    size_t next = 0, told = 0;

    world->any_order = world->kept_only || world->workers[0] > 1 || world->workers[1] > 1;
    stored_open(&world->stored);
    random_operations(world, budgets);
    expect(world);
    for (unsigned life = 0; life <= LIVES && next < OPERATIONS; life++)
        next = live(world, life, next);
    assert_int_equal(next, OPERATIONS);
    for (size_t i = 0; i < OPERATIONS; i++) {
        told += world->expected[i].size;
        buffer_free(&world->expected[i]);
    }
    assert_true(told > 100000);
    stored_close(&world->stored);
}

static void check_worlds(bool other, unsigned workers, unsigned workers_later, bool budgets)
{
    struct world *world = memory_new(sizeof *world);

    for (uint64_t seed = 1; seed <= 1; seed++) {
        *world = (struct world){.plans = {make_plan(false), make_plan(other)},
                                .workers = {workers, workers_later},
                                .kept_only = other,
                                .random = seed};
        check_world(world, budgets);
        plan_free(world->plans[0]);
        plan_free(world->plans[1]);
    }
    free(world);
}

static void a_restart_changes_nothing(void **state)
{
    check_worlds(false, 1, 1, true);
    check_worlds(false, 3, 3, true);
}

static void with_other_workers(void **state)
{
    check_worlds(false, 3, 2, false);
    check_worlds(false, 1, 4, false);
}

static void with_other_measures(void **state)
{
    check_worlds(true, 2, 2, false);
    check_worlds(true, 2, 3, false);
}

/* Fills a machine and stores it with one cut. */
static void store_some(struct world *world, struct machine *machine)
{
    stored_open(&world->stored);
    random_operations(world, false);
    machine_open(machine, world, 0);
    for (size_t i = 0; i < 1500; i++)
        apply(machine, &world->operations[i]);
    freeze(world, machine);
    while (!save_some(world, machine))
        continue;
    stored_flip(&world->stored);
}

static void what_is_as_stored_is_not_stored_again(void **state)
{
    struct world *world = memory_new(sizeof *world);
    struct machine machine;
    size_t corrections = 0, others;

    *world = (struct world){.plans = {make_plan(false), make_plan(true)}, .workers = {2, 2}, .random = 9};
    store_some(world, &machine);
    machine_close(&machine);
    for (size_t i = 0; i < world->stored.complete.count; i++)
        corrections += world->stored.complete.items[i].key.kind == STATE_CORRECTIONS;
    others = world->stored.complete.count - corrections;
    assert_true(corrections > 0 && others >= 12);
    for (unsigned round = 0; round < 3; round++) {
        machine_open(&machine, world, round / 2); /* the last one has other measures */
        machine_restore(&machine, &world->stored);
        world->stored.puts = 0;
        freeze(world, &machine);
        while (!save_some(world, &machine))
            continue;
        stored_flip(&world->stored);
        if (round < 2)
            assert_int_equal(world->stored.puts, corrections);
        else
            assert_true(world->stored.puts > corrections);
        assert_int_equal(world->stored.complete.count, corrections + others);
        machine_close(&machine);
    }
    stored_close(&world->stored);
    plan_free(world->plans[0]);
    plan_free(world->plans[1]);
    free(world);
}

/* Bytes cut off or changed are refused or mean something else; memory stays whole. */
static void damaged_values_do_no_harm(void **state)
{
    struct world *world = memory_new(sizeof *world);
    struct machine machine;
    size_t refused = 0;

    *world = (struct world){.plans = {make_plan(false), make_plan(false)}, .workers = {1, 1}, .random = 5};
    store_some(world, &machine);
    machine_close(&machine);
    for (unsigned round = 0; round < 400; round++) {
        const struct stored_value *value =
            &world->stored.complete.items[random_below(&world->random, world->stored.complete.count)];
        size_t size = 1 + random_below(&world->random, value->bytes.size);
        char *bytes = memory_text(value->bytes.data, size);
        struct error error;

        if (round % 2) {
            size = value->bytes.size;
            free(bytes);
            bytes = memory_text(value->bytes.data, size);
            bytes[random_below(&world->random, size < 200 ? size : 200)] ^=
                (char)(1 << random_below(&world->random, 8));
        }
        machine_open(&machine, world, 0);
        refused +=
            windows_restore(machine.windows[0], &value->key, span_make(bytes, size), &error) == STATUS_FATAL;
        windows_restored(machine.windows[0]);
        machine_close(&machine);
        free(bytes);
    }
    assert_true(refused > 150);
    stored_close(&world->stored);
    plan_free(world->plans[0]);
    plan_free(world->plans[1]);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_changes_nothing), cmocka_unit_test(with_other_workers),
        cmocka_unit_test(with_other_measures),       cmocka_unit_test(what_is_as_stored_is_not_stored_again),
        cmocka_unit_test(damaged_values_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
