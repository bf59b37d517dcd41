/* Records that cross from one task to another in parcels must arrive as those that cross a ring, in the same
 * order; with another configuration what both have arrives; no bytes may break the receiver. */
#include "base/memory.h"
#include "pipeline/fold.h"
#include "pipeline/judge.h"
#include "pipeline/runs.h"
#include "pipeline/watch.h"
#include "tests/base/random.h"
#include "tests/pipeline/support.h"

#include "pipeline/columns.h"
#include "pipeline/parcels.h"
#include "pipeline/unique.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 300, TASKS = 2, HERE = 0, THERE = 1 };

static const int64_t begin_us = 1795252620000000;

#define HEAD                                                                                                 \
    "name: test\nwatch: true\nsources: [{name: s, type: file, path: x}]\n"                                   \
    "clean: [{dedupe: run, scope: all}]\nmeasures:\n"
#define COUNT  "- {name: count, by: [workflow], every: 10s}\n"
#define VALUE  "- {name: value, by: [workflow], every: 10s, of: value, statistics: [mean, p95]}\n"
#define OWNERS "- {name: owners, by: [workflow], every: 10s, of: owner, statistics: [distinct]}\n"
#define HOSTS  "- {name: hosts, by: [host], every: 20s}\n"
#define RULES  "rules: [{name: failed, on: event, when: 'state == \"failed\"'}]\n"

struct end { /* one task's end of the exchange */
    struct plan *plan;
    struct parcels *parcels; /* NULL: rings */
    struct exchange *exchange;
    struct exchange_port *port;
};

static void end_open(struct end *end, const char *yaml, unsigned number, bool linked)
{
    end->plan = plan_of(yaml);
    end->parcels = linked ? parcels_new(end->plan, number, TASKS) : NULL;
    end->exchange =
        linked ? exchange_new_linked(TASKS, number,
                                     &(struct exchange_link){
                                         .send = parcels_send, .full = parcels_full, .owner = end->parcels})
               : exchange_new(TASKS);
    end->port = exchange_port(end->exchange, number);
}

static void receive_all(const struct end *end, struct exchange_port *port, const char *measure,
                        struct buffer *out);

static void end_close(struct end *end)
{
    struct buffer left;

    receive_all(end, end->port, NULL, &left);
    buffer_free(&left);
    exchange_free(end->exchange);
    parcels_free(end->parcels);
    plan_free(end->plan);
}

static void send_unique(struct end *end, struct event_batch *batch)
{
    struct cleaner *cleaner;
    struct unique unique;
    struct error error;

    assert_int_equal(cleaner_open(end->plan->general.clean, &end->plan->labels, &cleaner, &error), STATUS_OK);
    unique_init(&unique);
    unique_send(&unique, cleaner_unique(cleaner), end->plan, batch, end->port, TASKS);
    unique_free(&unique);
    cleaner_close(cleaner);
}

static void send_words(struct end *end, struct event_batch *batch)
{
    struct watch *watch = watch_new(end->plan, end->port, TASKS);

    watch_events(watch, batch);
    for (uint32_t i = 0; i < batch->rows; i++)
        watch_run(watch, &(struct run_record){.state = batch->state[i],
                                              .version = i,
                                              .id = {i, i * i},
                                              .at_us = batch->time_us[i],
                                              .started_us = TIME_NONE,
                                              .duration_ms = batch->value[i],
                                              .workflow = batch->workflow[i],
                                              .run = batch->run[i],
                                              .error = batch->owner[i],
                                              .attempt = (uint16_t)i});
    watch_free(watch);
}

/* All kinds of records, to both tasks. */
static void send_all(struct end *end, uint64_t seed)
{
    struct fold *fold = fold_new(end->plan, false, end->port, TASKS);
    struct event_batch batch;
    char texts[ROWS][4][16];

    event_batch_init(&batch, ROWS, &end->plan->labels);
    for (unsigned i = 0; i < ROWS; i++) {
        uint32_t row = event_batch_add(&batch);
        int64_t time = begin_us + (int64_t)(random_next(&seed) % 60000000);

        snprintf(texts[i][0], 16, "w%u", (unsigned)(random_next(&seed) % 20));
        snprintf(texts[i][1], 16, "h%u", (unsigned)(random_next(&seed) % 7));
        snprintf(texts[i][2], 16, "o%u", (unsigned)(random_next(&seed) % 100));
        snprintf(texts[i][3], 16, "r%u", (unsigned)(random_next(&seed) % 50));
        batch.time_us[row] = time;
        batch.watermark_us[row] = begin_us + 15000000; /* some are late: corrections */
        batch.workflow[row] = span_of(texts[i][0]);
        batch.host[row] = span_of(texts[i][1]);
        batch.owner[row] = span_of(texts[i][2]);
        batch.run[row] = span_of(texts[i][3]);
        batch.state[row] = i % 3 ? STATE_RUNNING : STATE_FAILED;
        batch.value[row] = (double)(random_next(&seed) % 1000) / 7;
        batch.partition[row] = 3;
        batch.offset[row] = i;
    }
    fold_rows(fold, &batch);
    rows_send(end->plan, &batch, end->port, TASKS);
    send_unique(end, &batch);
    send_words(end, &batch);
    fold_send(fold, INT64_MAX, SIZE_MAX);
    for (unsigned i = 0; i < 3; i++) {
        struct condition condition = {.policy = 0,
                                      .outcome = i % 2 ? CONDITION_TRUE : CONDITION_FALSE,
                                      .at_us = begin_us + i,
                                      .offset = i,
                                      .evidence = {.rule = span_of("failed"),
                                                   .summary = span_of("it failed"),
                                                   .ends_us = TIME_NONE,
                                                   .score = i}};
        struct watermark_record *mark;

        if (end->plan->policy_count)
            condition_send(&condition, end->port);
        for (unsigned target = 0; target < TASKS; target++) {
            mark = exchange_record(end->port, target, RECORD_WATERMARK, sizeof *mark);
            *mark = (struct watermark_record){.head = mark->head,
                                              .stage = i,
                                              .sender = i % TASKS,
                                              .waits = i == 1,
                                              .ended = i == 2,
                                              .time_us = begin_us + i,
                                              .firm_us = INT64_MIN,
                                              .slowest_us = INT64_MAX - i};
        }
    }
    exchange_flush(end->port);
    event_batch_free(&batch);
    fold_free(fold);
}

static void tell_record(const struct end *end, struct record *record, const char *measure, struct buffer *out)
{
    struct pane_record *pane = (struct pane_record *)record;

    switch ((enum record_type)record->type) {
    case RECORD_PANE:
    case RECORD_CORRECTION: {
        const struct plan_group *group = &end->plan->groups[pane->group];

        for (unsigned m = 0; m < group->measure_count; m++) {
            double values[STATISTICS];

            if (!measure || strcmp(measure, end->plan->measures[group->measures[m]].name) == 0) {
                accumulator_finish(group_accumulator(group, pane->accumulators, m), &group->layouts[m],
                                   values);
                buffer_print(out, "%s %u %.*s %lld %lld %lld %lld %u %u %a %a %a\n",
                             end->plan->measures[group->measures[m]].name, record->type,
                             (int)pane->texts[0].size, pane->texts[0].data, (long long)pane->start_us,
                             (long long)pane->first_end_us, (long long)pane->order_us,
                             (long long)pane->offset, pane->partition, pane->item, values[STAT_MEAN],
                             values[STAT_P95], values[STAT_DISTINCT]);
            }
        }
        break;
    }
    case RECORD_ROW:
        row_record_pack((const struct row_record *)record, RUN_TEXTS, out);
        break;
    case RECORD_UNIQUE:
        unique_pack((const struct unique_record *)record, out);
        break;
    case RECORD_CONDITION:
        condition_pack(end->plan->policies, &((const struct condition_record *)record)->condition, out);
        break;
    case RECORD_WATCH:
        watch_word_pack((const struct watch_word *)record, out);
        break;
    case RECORD_WATERMARK:
        watermark_pack((const struct watermark_record *)record, out);
        break;
    }
}

/* What has arrived at the port, as text; panes only of one measure unless NULL. */
static void receive_all(const struct end *end, struct exchange_port *port, const char *measure,
                        struct buffer *out)
{
    struct block *block;

    buffer_init(out, 1 << 30);
    exchange_flush(port);
    for (; (block = exchange_receive(port)); block_release(block), exchange_flush(port))
        for (uint32_t at = 0; at < block->used;) {
            struct record *record = (struct record *)(block->bytes + at);

            tell_record(end, record, measure, out);
            if (record->type == RECORD_PANE || record->type == RECORD_CORRECTION)
                accumulators_free(&end->plan->groups[((struct pane_record *)record)->group],
                                  ((struct pane_record *)record)->accumulators);
            at += record->size;
        }
}

static unsigned open_all(struct end *from, struct end *to)
{
    struct journal_parcel *parcels = parcels_take(from->parcels);
    unsigned count = 0;

    for (struct journal_parcel *parcel = parcels; parcel; parcel = parcel->next, count++) {
        assert_int_equal(parcel->target, THERE);
        assert_true(parcels_open(to->parcels, span_make(parcel->bytes, parcel->size), to->port));
    }
    parcels_discard(parcels);
    return count;
}

static void test_as_by_a_ring(void **state)
{
    (void)state;
    static const char *const yaml = HEAD COUNT VALUE OWNERS HOSTS RULES;
    struct buffer by_ring, by_parcel, to_self, to_self_linked;
    struct end ring, from, to;

    for (uint64_t seed = 1; seed < 20; seed++) {
        end_open(&ring, yaml, HERE, false);
        end_open(&from, yaml, HERE, true);
        end_open(&to, yaml, THERE, true);
        send_all(&ring, seed);
        send_all(&from, seed);
        receive_all(&ring, exchange_port(ring.exchange, THERE), NULL, &by_ring);
        receive_all(&ring, ring.port, NULL, &to_self);
        receive_all(&from, from.port, NULL, &to_self_linked);
        assert_true(open_all(&from, &to) > 0);
        assert_null(parcels_take(from.parcels));
        receive_all(&to, to.port, NULL, &by_parcel);
        assert_true(by_ring.size > 1000 && to_self.size > 1000);
        assert_int_equal(by_ring.size, by_parcel.size);
        assert_memory_equal(by_ring.data, by_parcel.data, by_ring.size);
        assert_int_equal(to_self.size, to_self_linked.size);
        assert_memory_equal(to_self.data, to_self_linked.data, to_self.size);
        assert_int_equal(parcels_figures(to.parcels).left_out, 0);
        buffer_free(&by_ring);
        buffer_free(&by_parcel);
        buffer_free(&to_self);
        buffer_free(&to_self_linked);
        end_close(&ring);
        end_close(&from);
        end_close(&to);
    }
}

/* The receiver has other measures, in another order. */
static void test_another_configuration(void **state)
{
    (void)state;
    struct buffer expected, found;
    struct end same, from, to;

    end_open(&same, HEAD COUNT VALUE OWNERS HOSTS RULES, HERE, false);
    end_open(&from, HEAD COUNT VALUE OWNERS HOSTS RULES, HERE, true);
    end_open(&to, HEAD VALUE COUNT, THERE, true);
    send_all(&same, 5);
    send_all(&from, 5);
    open_all(&from, &to);
    receive_all(&to, to.port, "value", &found);
    receive_all(&same, exchange_port(same.exchange, THERE), "value", &expected);
    assert_true(parcels_figures(to.parcels).left_out > 0);
    assert_true(found.size > 1000);
    assert_int_equal(found.size, expected.size);
    assert_memory_equal(found.data, expected.data, found.size);
    buffer_free(&expected);
    buffer_free(&found);
    end_close(&same);
    end_close(&from);
    end_close(&to);
}

static void test_broken(void **state)
{
    (void)state;
    uint64_t random = 17;
    struct buffer out;
    struct end from, to;
    struct journal_parcel *parcels;
    unsigned refused = 0;

    end_open(&from, HEAD COUNT VALUE OWNERS HOSTS RULES, HERE, true);
    end_open(&to, HEAD COUNT VALUE OWNERS HOSTS RULES, THERE, true);
    send_all(&from, 9);
    parcels = parcels_take(from.parcels);
    for (unsigned i = 0; i < 3000; i++) {
        size_t size = parcels->size;
        char *bytes = memory_text(parcels->bytes, size);

        if (i % 2)
            size = random_next(&random) % size;
        else
            for (unsigned k = 0; k < 3; k++)
                bytes[random_next(&random) % size] ^= (char)(1 << random_next(&random) % 8);
        refused += !parcels_open(to.parcels, span_make(bytes, size), to.port);
        receive_all(&to, to.port, NULL, &out);
        buffer_free(&out);
        free(bytes);
    }
    assert_true(refused > 1000);
    parcels_discard(parcels);
    end_close(&from);
    end_close(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_by_a_ring),
        cmocka_unit_test(test_another_configuration),
        cmocka_unit_test(test_broken),
    };

    return cmocka_run_group_tests_name("parcels", tests, NULL, NULL);
}
