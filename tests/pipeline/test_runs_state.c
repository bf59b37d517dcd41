/* The run table's state: a table restored from what random cuts stored goes on exactly as the one that was
 * cut, and damaged values never do harm. */
#include "base/memory.h"
#include "pipeline/runs.h"
#include "tests/base/random.h"
#include "tests/base/values.h"
#include "tests/pipeline/support.h"

#include <math.h>
#include <stdio.h>

enum { SECOND = 1000000, STEPS = 6000, SEEDS = 6 };

static const char small_plan[] = "name: test\nsources: [{name: s, type: file, path: x}]\n"
                                 "limits: {runs: 76800}\nruns: {keep: 60s}\n"; /* 300 a shard */

struct rig {
    struct plan *plan;
    struct runs *runs;
    struct event_batch transitions;
    struct buffer told;
};

static void tell(void *owner, const struct run_record *run)
{
    struct buffer *out = &((struct rig *)owner)->told;

    buffer_print(out, "%llx %d %d %llu %lld %lld %lld %lld %lld %lld %g %g %d %d %d", (long long)run->id.high,
                 run->is_task, (int)run->state, (unsigned long long)run->version, (long long)run->at_us,
                 (long long)run->first_us, (long long)run->scheduled_us, (long long)run->queued_us,
                 (long long)run->started_us, (long long)run->ended_us, run->duration_ms, run->queue_wait_ms,
                 run->attempt, run->attempts, run->map_index);
    for (int state = 0; state < STATE_COUNT; state++)
        buffer_print(out, " %u", run->tasks[state]);
    const struct span texts[] = {run->workflow, run->task, run->run, run->error, run->host};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        buffer_print(out, " %.*s", (int)texts[i].size, texts[i].size ? texts[i].data : "");
    buffer_put_char(out, '\n');
}

static struct rig *rig_open(const char *yaml)
{
    struct rig *rig = memory_new(sizeof *rig);

    rig->plan = plan_of(yaml);
    rig->runs = runs_new(rig->plan, tell, rig);
    event_batch_init(&rig->transitions, 4, &rig->plan->labels);
    buffer_init(&rig->told, 64 << 20);
    return rig;
}

static void rig_close(struct rig *rig)
{
    runs_free(rig->runs);
    event_batch_free(&rig->transitions);
    buffer_free(&rig->told);
    plan_free(rig->plan);
    free(rig);
}

static void restore(struct rig *rig, const struct values *values)
{
    struct error error;

    for (size_t i = 0; i < values->count; i++)
        if (runs_restore(rig->runs, &values->items[i].key, value_span(&values->items[i]), &error) !=
            STATUS_OK)
            fail_msg("%s", error.text);
    runs_restored(rig->runs);
}

static void apply(struct rig *rig, struct run_row *row)
{
    row->alias = run_key(row->texts[RUN_SOURCE], row->texts[RUN_NAMESPACE], row->texts[RUN_RUN]);
    event_batch_reset(&rig->transitions);
    runs_meet(rig->runs, row, 1);
    runs_apply(rig->runs, row, &rig->transitions);
}

/* Step i of a seed: always the same. */
static void step(struct rig *rig, uint64_t seed, unsigned i)
{
    static const char *const workflows[] = {"", "a", "b"}, *const tasks[] = {"", "", "t", "u"};
    struct span texts[RUN_TEXTS + LABELS_MAX] = {0};
    uint64_t random = seed * 1000003 + i;
    unsigned number = (unsigned)random_below(&random, random_below(&random, 2) ? 1200 : 8);
    char name[16], host[16];

    snprintf(name, sizeof name, "r%u", number);
    snprintf(host, sizeof host, "h%u", (unsigned)random_below(&random, 5));
    texts[RUN_SOURCE] = SPAN_LITERAL("s");
    texts[RUN_RUN] = span_of(name);
    texts[RUN_HOST] = span_of(host);
    texts[RUN_WORKFLOW] = span_of(workflows[random_below(&random, 3)]);
    texts[RUN_TASK] = span_of(tasks[random_below(&random, 4)]);
    struct run_row row = {
        .shard = number % 2 * 7,
        .order_us = i * (int64_t)SECOND / 8,
        .time_us = (int64_t)i * SECOND / 8 - (int64_t)random_below(&random, SECOND),
        .watermark_us = INT64_MIN,
        .scheduled_us = random_below(&random, 4) ? TIME_NONE : i * (int64_t)SECOND / 10,
        .queued_us = TIME_NONE,
        .started_us = TIME_NONE,
        .offset = i,
        .duration_ms = random_below(&random, 3) ? NAN : (double)random_below(&random, 9000),
        .map_index = INT32_MIN,
        .attempt = (uint16_t)random_below(&random, 3),
        .state = (uint8_t)(1 + random_below(&random, STATE_COUNT - 1)),
        .texts = texts,
    };
    apply(rig, &row);
}

/* As a store would show it now. */
static void assert_as_stored(struct rig *rig, struct saver *saver, struct values *values)
{
    values->puts = 0;
    runs_freeze(rig->runs, saver);
    assert_true(runs_save(rig->runs, 1));
    assert_int_equal(values->puts, 0);
}

/* What a restart at the cut makes of the steps since then. */
static struct rig *restart(const struct rig *rig, struct saver *saver, struct values *values, uint64_t seed,
                           unsigned cut, unsigned end)
{
    struct rig *next = rig_open(small_plan);
    struct runs_figures figures, again;

    restore(next, values);
    assert_as_stored(next, saver, values);
    for (unsigned i = cut; i < end; i++)
        step(next, seed, i);
    assert_true(span_equal(buffer_span(&rig->told), buffer_span(&next->told)));
    runs_figures(rig->runs, &figures);
    runs_figures(next->runs, &again);
    assert_int_equal(figures.entries, again.entries);
    assert_true(again.evicted <= figures.evicted);
    return next;
}

static void test_restarts(void **state)
{
    unsigned restarts = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct values values = {0};
        struct saver saver = values_saver(&values);
        struct rig *rig = rig_open(small_plan);
        struct runs_figures figures;
        uint64_t random = seed;
        unsigned cut = 0;
        bool saving = false;

        for (unsigned i = 0; i < STEPS; i++) {
            if (!saving && random_below(&random, 300) == 0) {
                runs_freeze(rig->runs, &saver);
                buffer_clear(&rig->told);
                cut = i;
                saving = true;
            }
            step(rig, seed, i);
            if (!saving || random_below(&random, 20) || !runs_save(rig->runs, random_below(&random, 100000)))
                continue;
            struct rig *next = restart(rig, &saver, &values, seed, cut, i + 1);
            bool goes_on = random_below(&random, 2);
            saving = false;
            restarts++;
            rig_close(goes_on ? rig : next);
            rig = goes_on ? next : rig;
        }
        runs_figures(rig->runs, &figures);
        assert_true(figures.evicted > 0 && rig->told.size > 0);
        rig_close(rig);
        buffer_free(&saver.bytes);
        values_free(&values);
    }
    assert_true(restarts > 10 * SEEDS);
}

static void save_all(struct rig *rig, struct values *values)
{
    struct saver saver = values_saver(values);

    runs_freeze(rig->runs, &saver);
    assert_true(runs_save(rig->runs, SIZE_MAX));
    buffer_free(&saver.bytes);
}

/* A smaller limit keeps what the table would have kept. */
static void test_smaller_limit(void **state)
{
    struct rig *rig = rig_open(small_plan), *small;
    struct values values = {0};
    struct runs_figures figures;

    for (unsigned i = 0; i < 2000; i++)
        step(rig, 5, i);
    save_all(rig, &values);
    small = rig_open("name: test\nsources: [{name: s, type: file, path: x}]\nlimits: {runs: 2560}\n");
    restore(small, &values);
    runs_figures(small->runs, &figures);
    assert_int_equal(figures.entries, 20);
    for (unsigned i = 2000; i < 3000; i++)
        step(small, 5, i);
    runs_figures(small->runs, &figures);
    assert_true(figures.entries <= 20);
    rig_close(rig);
    rig_close(small);
    values_free(&values);
}

static struct rig *labelled(const char *by)
{
    char yaml[512];

    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: s, type: file, path: x}]\n"
             "measures: [{name: m, on: run, of: count, by: [%s], every: 1m}]\n",
             by);
    return rig_open(yaml);
}

static void apply_texts(struct rig *rig, uint8_t run_state, struct span *texts)
{
    apply(rig, &(struct run_row){.scheduled_us = TIME_NONE,
                                 .queued_us = TIME_NONE,
                                 .started_us = TIME_NONE,
                                 .duration_ms = NAN,
                                 .map_index = INT32_MIN,
                                 .state = run_state,
                                 .texts = texts});
}

static void apply_run(struct rig *rig, uint8_t run_state, const char *name, const char *workflow)
{
    struct span texts[RUN_TEXTS + LABELS_MAX] = {[RUN_SOURCE] = SPAN_LITERAL("s")};

    texts[RUN_RUN] = span_of(name);
    texts[RUN_WORKFLOW] = span_of(workflow);
    apply_texts(rig, run_state, texts);
}

/* Rows without a workflow's name go to the run told last, also when that changed between or during cuts. */
static void test_last_told(void **state)
{
    for (unsigned during = 0; during < 2; during++) {
        struct rig *rig = rig_open(small_plan), *next = rig_open(small_plan);
        struct values values = {0};
        struct saver saver = values_saver(&values);
        char name[16];

        apply_run(rig, STATE_RUNNING, "r", "a");
        for (unsigned i = 0; i < 280; i++) {
            snprintf(name, sizeof name, "r%u", i);
            apply_run(rig, STATE_RUNNING, name, "w");
        }
        if (!during)
            save_all(rig, &values);
        runs_freeze(rig->runs, &saver);
        apply_run(rig, STATE_RUNNING, "r", "b");
        assert_true(runs_save(rig->runs, SIZE_MAX));
        if (!during)
            save_all(rig, &values);
        restore(next, &values);
        apply_run(next, STATE_SUCCESS, "r", "");
        assert_true(span_is(next->transitions.workflow[0], during ? "a" : "b"));
        rig_close(rig);
        rig_close(next);
        buffer_free(&saver.bytes);
        values_free(&values);
    }
}

static void apply_labels(struct rig *rig, uint8_t run_state, const char *first, const char *second)
{
    struct span texts[RUN_TEXTS + LABELS_MAX] = {
        [RUN_SOURCE] = SPAN_LITERAL("s"), [RUN_WORKFLOW] = SPAN_LITERAL("w"), [RUN_RUN] = SPAN_LITERAL("r")};

    texts[RUN_TEXTS] = span_of(first);
    texts[RUN_TEXTS + 1] = span_of(second);
    apply_texts(rig, run_state, texts);
}

static void test_other_labels(void **state)
{
    struct rig *rig = labelled("labels.a, labels.b"), *next = labelled("labels.b, labels.c");
    struct values values = {0};

    apply_labels(rig, STATE_RUNNING, "1", "2");
    save_all(rig, &values);
    restore(next, &values);
    apply_labels(next, STATE_SUCCESS, "", "");
    assert_int_equal(next->transitions.rows, 1);
    assert_true(span_is(next->transitions.labels[0][0], "2"));
    assert_int_equal(next->transitions.labels[1][0].size, 0);
    rig_close(rig);
    rig_close(next);
    values_free(&values);
}

static void restore_damaged(void *owner, const struct state_key *key, struct span bytes)
{
    struct rig *rig = rig_open("name: test\nsources: [{name: s, type: file, path: x}]\n");
    struct error error;

    enum status status = runs_restore(rig->runs, key, bytes, &error);
    assert_true(status == STATUS_OK || status == STATUS_FATAL);
    if (status == STATUS_OK) {
        runs_restored(rig->runs);
        for (unsigned i = 0; i < 30; i++)
            step(rig, 9, i);
    }
    ++((unsigned *)owner)[status == STATUS_OK];
    rig_close(rig);
}

static void test_damage(void **state)
{
    struct rig *rig = rig_open("name: test\nsources: [{name: s, type: file, path: x}]\n");
    struct values values = {0};
    unsigned outcomes[2] = {0};

    for (unsigned i = 0; i < 3; i++)
        step(rig, 9, i);
    save_all(rig, &values);
    assert_true(values.count > 0);
    value_damage(&values.items[0], restore_damaged, outcomes);
    assert_true(outcomes[0] > 0 && outcomes[1] > 0);
    rig_close(rig);
    values_free(&values);
}

struct crossing { /* rows on their way through an exchange into an order */
    struct exchange *exchange;
    struct order order;
};

static void receive(struct crossing *crossing, unsigned workers, struct exchange_port *from)
{
    exchange_flush(from);
    for (unsigned w = 0; w < workers; w++) {
        struct block *block;

        for (; (block = exchange_receive(exchange_port(crossing->exchange, w))); block_release(block))
            for (uint32_t at = 0; at < block->used;) {
                const struct row_record *row = (const struct row_record *)(block->bytes + at);

                assert_int_equal(run_shard(row->alias) % workers, w);
                row_record_wait(row, block, &crossing->order);
                at += row->head.size;
            }
    }
}

static void send_some(const struct plan *plan, struct crossing *crossing, uint64_t *random)
{
    static const char big[5000] = "error";
    struct event_batch batch;
    char names[16][16];

    event_batch_init(&batch, 16, &plan->labels);
    for (unsigned i = 0; i < 200; i++) {
        event_batch_reset(&batch);
        for (uint32_t row = 0; row < 16; row++) {
            event_batch_add(&batch);
            snprintf(names[row], sizeof names[row], "r%u", (unsigned)random_below(random, 900));
            batch.time_us[row] = (int64_t)random_below(random, 100 * SECOND);
            batch.watermark_us[row] = random_below(random, 3) ? 50 * SECOND : INT64_MIN;
            batch.offset[row] = i * 16 + row;
            batch.item[row] = (uint16_t)random_below(random, 3);
            batch.partition[row] = (uint32_t)random_next(random);
            batch.state[row] = (uint8_t)(1 + random_below(random, STATE_COUNT - 1));
            batch.attempt[row] = (uint16_t)random_next(random);
            batch.map_index[row] = (int32_t)random_below(random, 5);
            batch.scheduled_us[row] = (int64_t)random_below(random, 100 * SECOND);
            batch.duration_ms[row] = (double)random_below(random, 1000);
            batch.run[row] = span_of(names[row]);
            batch.error[row] = span_make(big, random_below(random, sizeof big));
            batch.labels[0][row] = span_of(names[row]);
        }
        rows_send(plan, &batch, exchange_port(crossing->exchange, 0), 1);
        receive(crossing, 1, exchange_port(crossing->exchange, 0));
    }
    event_batch_free(&batch);
}

static void assert_rows_equal(const struct record *left, const struct record *right)
{
    struct span left_texts[RUN_TEXTS + 1], right_texts[RUN_TEXTS + 2];
    struct run_row row[2], *a = &row[0], *b = &row[1];

    run_row_open((const struct row_record *)left, RUN_TEXTS + 1, left_texts, a);
    run_row_open((const struct row_record *)right, RUN_TEXTS + 2, right_texts, b);
    assert_int_equal(a->shard, b->shard);
    assert_int_equal(a->partition, b->partition);
    assert_true(a->order_us == b->order_us && a->time_us == b->time_us && a->offset == b->offset);
    assert_true(a->watermark_us == b->watermark_us && a->scheduled_us == b->scheduled_us);
    assert_true(a->queued_us == b->queued_us && a->started_us == b->started_us);
    assert_true(a->duration_ms == b->duration_ms && a->map_index == b->map_index);
    assert_true(a->item == b->item && a->attempt == b->attempt && a->state == b->state);
    assert_true(a->will_retry == b->will_retry && a->is_endless == b->is_endless);
    for (unsigned t = 0; t < RUN_TEXTS; t++)
        assert_true(span_equal(a->texts[t], b->texts[t]));
    assert_true(span_equal(a->texts[RUN_TEXTS], b->texts[RUN_TEXTS + 1])); /* labels.a in both plans */
    assert_int_equal(b->texts[RUN_TEXTS].size, 0);
}

static void restore_rows_damaged(void *owner, const struct state_key *key, struct span bytes)
{
    struct exchange *exchange = exchange_new(1);
    struct error error;

    (void)key;
    enum status status =
        rows_restore(((struct rig *)owner)->plan, bytes, exchange_port(exchange, 0), 1, &error);
    assert_true(status == STATUS_OK || status == STATUS_FATAL);
    exchange_free(exchange);
}

static void test_rows(void **state)
{
    struct rig *rig = labelled("labels.a"), *next = labelled("labels.c, labels.a");
    struct crossing before = {.exchange = exchange_new(1)}, after = {.exchange = exchange_new(3)};
    struct values values = {0};
    struct saver saver = values_saver(&values);
    struct order_frozen frozen;
    uint64_t random = 4;
    uint32_t blocks = 0;
    struct error error;

    send_some(rig->plan, &before, &random);
    order_freeze(&before.order, &frozen);
    while (frozen.next < frozen.count)
        rows_pack(rig->plan, &frozen, 1 + random_below(&random, 1 << 20), &saver, 2, 77, &blocks);
    assert_true(blocks > 10 && blocks == values.count);
    order_frozen_free(&frozen);
    for (size_t i = 0; i < values.count; i++) {
        assert_true(values.items[i].size <= 256 * 1024);
        assert_true(values.items[i].key.owner == 2 && values.items[i].key.part == 77);
        assert_int_equal(rows_restore(next->plan, value_span(&values.items[i]),
                                      exchange_port(after.exchange, 0), 3, &error),
                         STATUS_OK);
    }
    receive(&after, 3, exchange_port(after.exchange, 0));
    assert_int_equal(before.order.count, after.order.count);
    for (; before.order.count; order_pop(&before.order), order_pop(&after.order))
        assert_rows_equal(order_first(&before.order)->record, order_first(&after.order)->record);
    values.items[0].size = values.items[0].size < 3000 ? values.items[0].size : 3000;
    value_damage(&values.items[0], restore_rows_damaged, next);
    order_free(&before.order);
    order_free(&after.order);
    exchange_free(before.exchange);
    exchange_free(after.exchange);
    rig_close(rig);
    rig_close(next);
    buffer_free(&saver.bytes);
    values_free(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restarts),  cmocka_unit_test(test_smaller_limit),
        cmocka_unit_test(test_last_told), cmocka_unit_test(test_other_labels),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
