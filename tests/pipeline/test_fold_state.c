/* Folds that are stored, thrown away and restored at random moments must send the panes that folds send that
 * never stop. With other workers a pane may travel in several parts, so then the sums a key are compared. */
#include "pipeline/columns.h"
#include "pipeline/fold.h"
#include "tests/base/random.h"
#include "tests/pipeline/stored.h"
#include "tests/pipeline/support.h"

#include <stdio.h>

enum { STEPS = 400, ROWS = 40, PARTITIONS = 6, LIVES = 6, WORKERS = 4, SECOND = 1000000 };

static const int64_t begin_us = 1795252620000000;

struct row {
    int64_t time_us;
    unsigned key;
    double value;
};

/* Rows of one partition, folded together; then panes are sent. */
struct step {
    unsigned partition;
    int64_t watermark_us;
    struct row rows[ROWS];
};

struct world {
    struct plan *plans[2];
    unsigned workers[2];
    struct step steps[STEPS];
    struct buffer expected[STEPS];
    struct stored stored;
    uint64_t random;
};

struct machine {
    struct plan *plan;
    unsigned workers;
    struct exchange *exchange;
    struct fold *folds[WORKERS];
    struct event_batch batch;
    struct buffer sent; /* by the step at hand, a line a pane */
    uint64_t rows;      /* of one measure, in all panes sent */
};

static void machine_open(struct machine *machine, const struct world *world, unsigned life)
{
    *machine = (struct machine){.plan = world->plans[life % 2], .workers = world->workers[life % 2]};
    machine->exchange = exchange_new(machine->workers);
    event_batch_init(&machine->batch, ROWS, NULL);
    buffer_init(&machine->sent, 1 << 30);
    for (unsigned w = 0; w < machine->workers; w++) {
        machine->folds[w] =
            fold_new(machine->plan, false, exchange_port(machine->exchange, w), machine->workers);
        fold_set_numbers(machine->folds[w], life * machine->workers + w);
    }
}

static void machine_close(struct machine *machine)
{
    for (unsigned w = 0; w < machine->workers; w++)
        fold_free(machine->folds[w]);
    exchange_free(machine->exchange);
    event_batch_free(&machine->batch);
    buffer_free(&machine->sent);
}

static void machine_restore(struct machine *machine, const struct stored *stored)
{
    struct error error;

    for (size_t i = 0; i < stored->complete.count; i++) {
        const struct stored_value *value = &stored->complete.items[i];
        struct fold *fold = machine->folds[(value->key.part >> 32) % machine->workers];

        if (fold_restore(fold, &value->key, value->bytes, &error) != STATUS_OK)
            fail_msg("%s", error.text);
    }
}

static void tell_pane(struct machine *machine, struct pane_record *record)
{
    const struct plan_group *group = &machine->plan->groups[record->group];

    for (unsigned m = 0; m < group->measure_count; m++) {
        const struct plan_measure *measure = &machine->plan->measures[group->measures[m]];
        double values[STATISTICS];
        struct accumulator *accumulator = group_accumulator(group, record->accumulators, m);

        accumulator_finish(accumulator, &group->layouts[m], values);
        if (strncmp(measure->name, "kept", 4) == 0)
            buffer_print(&machine->sent, "%s %.*s %lld %lld %llu %a %a %a\n", measure->name,
                         (int)record->texts[0].size, record->texts[0].data, (long long)record->start_us,
                         (long long)record->first_end_us, (unsigned long long)accumulator->rows,
                         values[STAT_MEAN], values[STAT_P95], values[STAT_DISTINCT]);
        if (strcmp(measure->name, "kept") == 0)
            machine->rows += accumulator->rows;
    }
    accumulators_free(group, record->accumulators);
}

static void tell_sent(struct machine *machine)
{
    struct block *block;

    for (unsigned w = 0; w < machine->workers; w++)
        exchange_flush(exchange_port(machine->exchange, w));
    for (unsigned w = 0; w < machine->workers; w++)
        for (; (block = exchange_receive(exchange_port(machine->exchange, w))); block_release(block))
            for (uint32_t at = 0; at < block->used;) {
                struct pane_record *record = (struct pane_record *)(block->bytes + at);

                tell_pane(machine, record);
                at += record->head.size;
            }
}

static void apply(struct machine *machine, const struct step *step, size_t slice)
{
    struct event_batch *batch = &machine->batch;
    char keys[ROWS][16];

    event_batch_reset(batch);
    buffer_clear(&machine->sent);
    for (unsigned i = 0; i < ROWS; i++) {
        uint32_t at = event_batch_add(batch);

        snprintf(keys[i], sizeof keys[i], "k%u", step->rows[i].key);
        batch->time_us[at] = step->rows[i].time_us;
        batch->watermark_us[at] = step->watermark_us;
        batch->workflow[at] = span_of(keys[i]);
        batch->host[at] = span_of(keys[ROWS - 1 - i < i ? ROWS - 1 - i : i]);
        batch->value[at] = step->rows[i].value;
    }
    fold_rows(machine->folds[step->partition % machine->workers], batch);
    while (!fold_send(machine->folds[step->partition % machine->workers], step->watermark_us, slice))
        assert_true(fold_is_sending(machine->folds[step->partition % machine->workers]));
    tell_sent(machine);
}

static void random_steps(struct world *world)
{
    int64_t now[PARTITIONS];

    for (unsigned p = 0; p < PARTITIONS; p++)
        now[p] = begin_us;
    for (unsigned i = 0; i < STEPS; i++) {
        struct step *step = &world->steps[i];

        step->partition = (unsigned)random_below(&world->random, PARTITIONS);
        now[step->partition] += (int64_t)random_below(&world->random, 4) * SECOND;
        step->watermark_us = now[step->partition] - 15 * SECOND;
        for (unsigned k = 0; k < ROWS; k++)
            step->rows[k] = (struct row){
                .time_us = now[step->partition] - (int64_t)random_below(&world->random, 25) * SECOND,
                .key = (unsigned)random_below(&world->random, 900),
                .value = (double)random_below(&world->random, 10000) / 7,
            };
    }
}

static void expect(struct world *world)
{
    struct machine machine;

    machine_open(&machine, world, 0);
    for (size_t i = 0; i < STEPS; i++) {
        apply(&machine, &world->steps[i], SIZE_MAX);
        buffer_init(&world->expected[i], 1 << 30);
        buffer_put_span(&world->expected[i], buffer_span(&machine.sent));
    }
    machine_close(&machine);
}

static bool save_some(struct world *world, struct machine *machine)
{
    bool all = true;

    for (unsigned w = 0; w < machine->workers; w++)
        all &= fold_save(machine->folds[w], random_below(&world->random, 4000));
    return all;
}

static void freeze(struct world *world, struct machine *machine)
{
    for (unsigned w = 0; w < machine->workers; w++)
        fold_freeze(machine->folds[w], &world->stored.saver);
}

static size_t live(struct world *world, unsigned life, size_t from)
{
    size_t next = from, frozen_at = 0, until = from + 20 + random_below(&world->random, 120), i;
    struct machine machine;
    bool saving = false;

    machine_open(&machine, world, life);
    machine_restore(&machine, &world->stored);
    for (i = from; i < STEPS && (i < until || life == LIVES); i++) {
        if (!saving && random_below(&world->random, 8) == 0) {
            freeze(world, &machine);
            frozen_at = i;
            saving = true;
        }
        if (saving && random_below(&world->random, 3) == 0 && save_some(world, &machine)) {
            stored_flip(&world->stored);
            next = frozen_at;
            saving = false;
        }
        apply(&machine, &world->steps[i], 3);
        if (!span_equal(buffer_span(&machine.sent), buffer_span(&world->expected[i])))
            fail_msg("step %zu of life %u sends %zu bytes, expected %zu", i, life, machine.sent.size,
                     world->expected[i].size);
    }
    stored_forget(&world->stored);
    machine_close(&machine);
    return i == STEPS ? STEPS : next;
}

static struct plan *make_plan(bool other)
{
    char yaml[1024];

    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: s, type: file, path: x}]\nmeasures:\n%s"
             "- {name: kept, of: value, by: [workflow], every: 10s, statistics: [mean, p95]}\n"
             "- {name: kept_hosts, of: host, by: [workflow], every: 10s, statistics: [distinct]}\n%s",
             other ? "- {name: fresh, of: attempt, by: [workflow], every: 10s, statistics: [max]}\n" : "",
             other ? "" : "- {name: gone, of: value, by: [workflow], every: 10s, statistics: [p50]}\n");
    return plan_of(yaml);
}

static void check_world(bool other, unsigned workers)
{
    struct world *world = memory_new(sizeof *world);

    for (uint64_t seed = 1; seed <= 2; seed++) {
        size_t next = 0, sent = 0;

        *world = (struct world){
            .plans = {make_plan(false), make_plan(other)}, .workers = {workers, workers}, .random = seed};
        stored_open(&world->stored);
        random_steps(world);
        expect(world);
        for (unsigned life = 0; life <= LIVES && next < STEPS; life++)
            next = live(world, life, next);
        assert_int_equal(next, STEPS);
        for (size_t i = 0; i < STEPS; i++) {
            sent += world->expected[i].size;
            buffer_free(&world->expected[i]);
        }
        assert_true(sent > 10000);
        stored_close(&world->stored);
        plan_free(world->plans[0]);
        plan_free(world->plans[1]);
    }
    free(world);
}

static void a_restart_changes_nothing(void **state)
{
    check_world(false, 1);
    check_world(false, 3);
}

static void with_other_measures(void **state)
{
    check_world(true, 1);
}

static void send_all(struct machine *machine)
{
    machine->rows = 0;
    for (unsigned w = 0; w < machine->workers; w++)
        fold_send(machine->folds[w], INT64_MAX, SIZE_MAX);
    tell_sent(machine);
}

static void with_other_workers(void **state)
{
    struct world *world = memory_new(sizeof *world);
    struct machine machine;
    uint64_t rows;

    *world = (struct world){.plans = {make_plan(false), make_plan(false)}, .workers = {4, 3}, .random = 77};
    stored_open(&world->stored);
    random_steps(world);
    machine_open(&machine, world, 0);
    for (unsigned i = 0; i < STEPS / 2; i++)
        apply(&machine, &world->steps[i], SIZE_MAX);
    freeze(world, &machine);
    send_all(&machine); /* of tables that are not saved yet */
    while (!save_some(world, &machine))
        continue;
    stored_flip(&world->stored);
    rows = machine.rows;
    assert_true(rows > 300);
    machine_close(&machine);

    machine_open(&machine, world, 1);
    machine_restore(&machine, &world->stored);
    world->stored.puts = 0;
    freeze(world, &machine);
    while (!save_some(world, &machine))
        continue;
    assert_int_equal(world->stored.puts, 0); /* all is as stored */
    send_all(&machine);
    assert_int_equal(machine.rows, rows);
    freeze(world, &machine);
    stored_flip(&world->stored);
    assert_int_equal(world->stored.complete.count, 0); /* what was sent is dropped */
    machine_close(&machine);
    stored_close(&world->stored);
    plan_free(world->plans[0]);
    plan_free(world->plans[1]);
    free(world);
}

static void damaged_values_do_no_harm(void **state)
{
    struct world *world = memory_new(sizeof *world);
    struct machine machine;
    unsigned refused = 0;

    *world = (struct world){.plans = {make_plan(false), make_plan(false)}, .workers = {1, 1}, .random = 5};
    stored_open(&world->stored);
    random_steps(world);
    machine_open(&machine, world, 0);
    for (unsigned i = 0; i < STEPS / 2; i++)
        apply(&machine, &world->steps[i], SIZE_MAX);
    freeze(world, &machine);
    while (!save_some(world, &machine))
        continue;
    stored_flip(&world->stored);
    machine_close(&machine);
    for (unsigned round = 0; round < 300; round++) {
        const struct stored_value *value = &world->stored.complete.items[0];
        size_t size = round % 2 ? value->bytes.size : random_below(&world->random, value->bytes.size);
        char *bytes = memory_text(value->bytes.data, size);
        struct error error;

        if (round % 2)
            bytes[random_below(&world->random, 200)] ^= (char)(1 << random_below(&world->random, 8));
        machine_open(&machine, world, 0);
        refused +=
            fold_restore(machine.folds[0], &value->key, span_make(bytes, size), &error) == STATUS_FATAL;
        machine_close(&machine);
        free(bytes);
    }
    assert_true(refused >= 150);
    stored_close(&world->stored);
    plan_free(world->plans[0]);
    plan_free(world->plans[1]);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_changes_nothing),
        cmocka_unit_test(with_other_measures),
        cmocka_unit_test(with_other_workers),
        cmocka_unit_test(damaged_values_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
