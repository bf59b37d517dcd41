/* Fold and windows together against a model that keeps every row in a list: random rows over several
 * partitions and workers, tumbling and hopping windows, rows too late dropped or corrected. What is told must
 * not depend on batch sizes, workers, or when panes and watermarks travel. */
#include "base/memory.h"
#include "pipeline/windows.h"
#include "tests/base/random.h"
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 300, KEYS = 4, PARTITIONS = 4, WORKERS = 3, MEASURES = 2, TOLD_MAX = 200000, SECOND = 1000000 };

struct row {
    int64_t time_us, watermark_us, offset;
    uint32_t partition;
    unsigned key;
    double value;
    bool counts; /* for the second measure */
};

struct told {
    int64_t at_us, end_us;
    unsigned measure, key, number;
    uint64_t rows, version;
    double values[STATISTICS];
};

struct told_list {
    struct told *items;
    size_t count;
};

/* One random configuration and its rows. */
struct world {
    struct plan *plan;
    int64_t every_us, window_us, pane_us, correct_us, greatest_us;
    bool correct;
    unsigned partitions, workers;
    struct row rows[ROWS];
    struct told_list expected, told;
    uint64_t late[MEASURES], lost;
};

static const char *const key_names[KEYS] = {"alpha", "beta", "gamma", ""};

static struct told *next_told(struct told_list *list)
{
    assert_true(list->count < TOLD_MAX);
    list->items[list->count] = (struct told){.number = (unsigned)list->count};
    return &list->items[list->count++];
}

static int compare_told(const void *left, const void *right)
{
    const struct told *a = left, *b = right;
    const int64_t pairs[][2] = {{a->at_us, b->at_us},
                                {a->end_us, b->end_us},
                                {a->measure, b->measure},
                                {a->key, b->key},
                                {a->number, b->number}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return 0;
}

static bool row_in(const struct world *world, const struct row *row, unsigned key, int64_t end_us)
{
    return row->key == key && row->time_us >= end_us - world->window_us && row->time_us < end_us;
}

/* The bucket of all given rows, told for each measure that has some. */
static void naive_tell(struct world *world, unsigned key, int64_t end_us, int64_t at_us, const bool *taken)
{
    for (unsigned m = 0; m < MEASURES; m++) {
        uint32_t statistics = world->plan->measures[m].shape.statistics;
        struct accumulator_layout layout = accumulator_layout(statistics);
        struct accumulator accumulator = {0};

        for (unsigned i = 0; i < ROWS; i++)
            if (taken[i] && (m == 0 || world->rows[i].counts))
                accumulator_add(&accumulator, &layout, m == 0 ? 0 : world->rows[i].value, 0, 0, false);
        if (accumulator.rows) {
            struct told *told = next_told(&world->expected);

            told->at_us = at_us;
            told->end_us = end_us;
            told->measure = m;
            told->key = key;
            told->rows = accumulator.rows;
            told->version = accumulator.rows + 1;
            accumulator_finish(&accumulator, &layout, told->values);
        }
        accumulator_free(&accumulator, &layout);
    }
}

static const struct world *sorted_world; /* for qsort only */

static int compare_late(const void *left, const void *right)
{
    const struct row *a = &sorted_world->rows[*(const unsigned *)left];
    const struct row *b = &sorted_world->rows[*(const unsigned *)right];
    const int64_t pairs[][2] = {
        {a->watermark_us, b->watermark_us},
        {floor_div(a->time_us, sorted_world->pane_us), floor_div(b->time_us, sorted_world->pane_us)},
        {a->partition, b->partition},
        {a->offset, b->offset}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return 0;
}

static void naive_bucket(struct world *world, unsigned key, int64_t end_us)
{
    bool taken[ROWS] = {0}, any = false;
    unsigned late[ROWS], late_count = 0;

    for (unsigned i = 0; i < ROWS; i++) {
        const struct row *row = &world->rows[i];

        if (!row_in(world, row, key, end_us))
            continue;
        taken[i] = row->watermark_us < end_us;
        any |= taken[i];
        if (!taken[i] && world->correct && end_us + world->correct_us > row->watermark_us)
            late[late_count++] = i;
    }
    if (any)
        naive_tell(world, key, end_us, end_us, taken);
    sorted_world = world;
    qsort(late, late_count, sizeof *late, compare_late);
    for (unsigned i = 0; i < late_count; i++) {
        taken[late[i]] = true;
        naive_tell(world, key, end_us, world->rows[late[i]].watermark_us, taken);
    }
}

static void naive(struct world *world)
{
    int64_t least = INT64_MAX;

    for (unsigned i = 0; i < ROWS; i++) {
        const struct row *row = &world->rows[i];
        int64_t start = floor_div(row->time_us, world->pane_us) * world->pane_us;
        int64_t first_end = (floor_div(start, world->every_us) + 1) * world->every_us;

        least = row->time_us < least ? row->time_us : least;
        if (row->watermark_us < first_end)
            continue;
        world->late[0]++;
        world->late[1] += row->counts;
        world->lost += world->correct && first_end + world->correct_us <= row->watermark_us;
    }
    for (int64_t end = (floor_div(least, world->every_us) + 1) * world->every_us; end <= world->greatest_us;
         end += world->every_us)
        for (unsigned key = 0; key < KEYS; key++)
            naive_bucket(world, key, end);
}

static void take_bucket(void *owner, const struct bucket *bucket, int64_t at_us)
{
    struct world *world = owner;
    struct told *told = next_told(&world->told);

    assert_true(bucket->end_us - bucket->start_us == world->window_us);
    assert_true(bucket->end_us <= world->greatest_us);
    assert_false(bucket->provisional);
    told->at_us = at_us;
    told->end_us = bucket->end_us;
    told->measure = strcmp(bucket->shape->name, "of_value") == 0;
    while (!span_is(bucket->key[0], key_names[told->key]))
        assert_true(++told->key < KEYS);
    told->rows = bucket->rows;
    told->version = bucket->version;
    memcpy(told->values, bucket->values, sizeof told->values);
}

static void no_signal(void *owner, const struct signal_record *record)
{
    fail_msg("a signal without a detector");
}

/* The machinery: a fold and windows a worker, all on this thread. */
struct machine {
    struct world *world;
    struct exchange *exchange;
    struct exchange_port *ports[WORKERS];
    struct fold *folds[WORKERS];
    struct judge *judges[WORKERS];
    struct windows *windows[WORKERS];
    int64_t sent_us[WORKERS];       /* watermarks told */
    int64_t watermarks[PARTITIONS]; /* after the last row */
    unsigned next[PARTITIONS];      /* next row to read */
    struct event_batch batch;
};

static void machine_open(struct machine *machine, struct world *world)
{
    const struct windows_output output = {take_bucket, no_signal, world};

    *machine = (struct machine){.world = world, .exchange = exchange_new(world->workers)};
    event_batch_init(&machine->batch, ROWS, NULL);
    for (unsigned p = 0; p < PARTITIONS; p++)
        machine->watermarks[p] = INT64_MIN;
    for (unsigned w = 0; w < world->workers; w++) {
        machine->ports[w] = exchange_port(machine->exchange, w);
        machine->folds[w] = fold_new(world->plan, false, machine->ports[w], world->workers);
        machine->judges[w] = judge_new(world->plan, machine->ports[w]);
        machine->windows[w] = windows_new(world->plan, w, world->workers, machine->judges[w], &output);
        machine->sent_us[w] = INT64_MIN;
    }
}

static void machine_close(struct machine *machine)
{
    for (unsigned w = 0; w < machine->world->workers; w++) {
        windows_free(machine->windows[w]);
        judge_free(machine->judges[w]);
        fold_free(machine->folds[w]);
    }
    exchange_free(machine->exchange);
    event_batch_free(&machine->batch);
}

/* Reads up to `limit` rows of a partition and folds them. */
static bool read_rows(struct machine *machine, unsigned partition, unsigned limit)
{
    struct event_batch *batch = &machine->batch;

    event_batch_reset(batch);
    for (; machine->next[partition] < ROWS && batch->rows < limit; machine->next[partition]++) {
        const struct row *row = &machine->world->rows[machine->next[partition]];

        if (row->partition != partition)
            continue;
        uint32_t at = event_batch_add(batch);
        batch->time_us[at] = row->time_us;
        batch->watermark_us[at] = row->watermark_us;
        batch->partition[at] = partition;
        batch->offset[at] = row->offset;
        batch->workflow[at] = span_of(key_names[row->key]);
        batch->value[at] = row->counts ? row->value : NAN;
        int64_t after = row->time_us - machine->world->plan->time.lateness;
        if (after > machine->watermarks[partition])
            machine->watermarks[partition] = after;
    }
    fold_rows(machine->folds[partition % machine->world->workers], batch);
    return machine->next[partition] < ROWS;
}

/* A partition that was read to its end holds nobody back. */
static void send_panes(struct machine *machine, unsigned worker)
{
    int64_t least = INT64_MAX;

    for (unsigned p = worker; p < machine->world->partitions; p += machine->world->workers)
        if (machine->next[p] < ROWS && machine->watermarks[p] < least)
            least = machine->watermarks[p];
    fold_send(machine->folds[worker], least, SIZE_MAX);
    exchange_flush(machine->ports[worker]);
    machine->sent_us[worker] = least;
}

static void receive(struct machine *machine, unsigned worker)
{
    struct block *block;

    for (; (block = exchange_receive(machine->ports[worker])); block_release(block))
        for (uint32_t at = 0; at < block->used;) {
            struct pane_record *record = (struct pane_record *)(block->bytes + at);

            if (record->head.type == RECORD_CORRECTION)
                windows_correct_later(machine->windows[worker], record, block);
            else
                windows_merge(machine->windows[worker], record);
            at += record->head.size;
        }
}

static void close_some(struct machine *machine, unsigned worker, size_t budget)
{
    struct windows_time time = {.events_us = INT64_MAX, .firm_us = INT64_MAX, .partial_us = INT64_MIN};

    for (unsigned w = 0; w < machine->world->workers; w++)
        if (machine->sent_us[w] < time.events_us)
            time.events_us = machine->sent_us[w];
    if (time.events_us == INT64_MAX)
        return;
    time.runs_us = budget % 2 ? time.events_us : INT64_MIN; /* the transitions may still be under way */
    receive(machine, worker);
    windows_close(machine->windows[worker], &time, budget);
}

static void run_machine(struct machine *machine, uint64_t *random)
{
    const struct world *world = machine->world;
    const struct windows_time end = {.events_us = world->greatest_us,
                                     .runs_us = world->greatest_us,
                                     .firm_us = INT64_MAX,
                                     .partial_us = INT64_MIN,
                                     .final = true};
    unsigned left = world->partitions;

    while (left > 0) {
        unsigned worker = (unsigned)random_below(random, world->workers);
        unsigned partition = (unsigned)random_below(random, world->partitions);

        left = 0;
        read_rows(machine, partition, 1 + (unsigned)random_below(random, 20));
        for (unsigned p = 0; p < world->partitions; p++)
            left += machine->next[p] < ROWS;
        if (random_below(random, 2))
            send_panes(machine, worker);
        if (random_below(random, 2))
            close_some(machine, (unsigned)random_below(random, world->workers), 1 + random_below(random, 50));
    }
    for (unsigned w = 0; w < world->workers; w++) {
        fold_send(machine->folds[w], INT64_MAX, SIZE_MAX);
        exchange_flush(machine->ports[w]);
    }
    for (unsigned w = 0; w < world->workers; w++) {
        receive(machine, w);
        while (!windows_close(machine->windows[w], &end, 1 + random_below(random, 100)))
            continue;
    }
}

static void random_rows(struct world *world, uint64_t *random)
{
    static const int64_t begins[] = {TIME_MIN_US, -100 * (int64_t)SECOND, 1795252618196000,
                                     TIME_MAX_US - 400 * (int64_t)SECOND};
    int64_t begin = begins[random_below(random, 4)], greatest[PARTITIONS], now[PARTITIONS];

    for (unsigned p = 0; p < PARTITIONS; p++) {
        greatest[p] = INT64_MIN;
        now[p] = begin + (int64_t)random_below(random, 30) * SECOND;
    }
    world->greatest_us = INT64_MIN;
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned p = (unsigned)random_below(random, world->partitions);
        int64_t back = (int64_t)random_below(random, random_below(random, 4) ? 8 : 60) * SECOND / 2;
        struct row *row = &world->rows[i];

        now[p] += (int64_t)random_below(random, 4) * SECOND / 2;
        *row = (struct row){
            .time_us = now[p] - back < begin ? begin : now[p] - back,
            .watermark_us = greatest[p] == INT64_MIN ? INT64_MIN : greatest[p] - world->plan->time.lateness,
            .offset = i,
            .partition = p,
            .key = (unsigned)random_below(random, KEYS),
            .value = (double)random_below(random, 1000) / 8,
            .counts = random_below(random, 3) > 0,
        };
        if (row->time_us > greatest[p])
            greatest[p] = row->time_us;
        if (row->time_us > world->greatest_us)
            world->greatest_us = row->time_us;
    }
}

static void compare(const struct world *world)
{
    qsort(world->told.items, world->told.count, sizeof *world->told.items, compare_told);
    qsort(world->expected.items, world->expected.count, sizeof *world->expected.items, compare_told);
    for (size_t i = 0; i < world->expected.count && i < world->told.count; i++) {
        const struct told *a = &world->expected.items[i], *b = &world->told.items[i];

        assert_true(a->at_us == b->at_us && a->end_us == b->end_us);
        assert_int_equal(a->measure, b->measure);
        assert_int_equal(a->key, b->key);
        assert_int_equal(a->rows, b->rows);
        assert_int_equal(a->version, b->version);
        for (int s = 0; s < STATISTICS; s++)
            assert_true(a->values[s] == b->values[s] || (isnan(a->values[s]) && isnan(b->values[s])));
    }
    assert_int_equal(world->told.count, world->expected.count);
}

static void check_figures(const struct machine *machine)
{
    uint64_t late[MEASURES] = {0}, lost = 0, buckets = 0;

    for (unsigned w = 0; w < machine->world->workers; w++) {
        struct windows_figures figures;

        windows_figures(machine->windows[w], &figures);
        lost += figures.lost;
        buckets += figures.buckets;
        assert_int_equal(figures.too_many, 0);
        for (unsigned m = 0; m < MEASURES; m++)
            late[m] += fold_figures(machine->folds[w])->late[m];
    }
    assert_int_equal(late[0], machine->world->late[0]);
    assert_int_equal(late[1], machine->world->late[1]);
    assert_int_equal(lost, machine->world->lost);
    assert_int_equal(buckets, machine->world->told.count);
}

struct shape {
    int64_t every_s, window_s, pane_s;
};

static void check_world(const struct shape *shape, int64_t correct_s, uint64_t *random)
{
    struct world world = {.every_us = shape->every_s * SECOND,
                          .window_us = shape->window_s * SECOND,
                          .pane_us = shape->pane_s * SECOND,
                          .correct = correct_s > 0,
                          .correct_us = correct_s * SECOND};
    struct machine machine;
    char yaml[1024];

    snprintf(yaml, sizeof yaml,
             "name: test\nsources: [{name: s, type: file, path: x}]\n"
             "time: {lateness: 5s, late: %s, correct_for: %llds}\n"
             "measures:\n- {name: rows, by: [workflow], every: %llds, window: %llds}\n"
             "- {name: of_value, of: value, statistics: [count, sum, min, max, mean, variance, p50], by: "
             "[workflow],"
             " every: %llds, window: %llds}\n",
             correct_s ? "correct" : "drop", (long long)correct_s, (long long)shape->every_s,
             (long long)shape->window_s, (long long)shape->every_s, (long long)shape->window_s);
    world.plan = plan_of(yaml);
    assert_int_equal(world.plan->group_count, 1);
    world.expected.items = memory_new(TOLD_MAX * sizeof(struct told));
    world.told.items = memory_new(TOLD_MAX * sizeof(struct told));
    for (unsigned round = 0; round < 12; round++) {
        world.partitions = 1 + (unsigned)random_below(random, PARTITIONS);
        world.workers = 1 + round % WORKERS;
        world.expected.count = world.told.count = 0;
        world.late[0] = world.late[1] = world.lost = 0;
        random_rows(&world, random);
        naive(&world);
        assert_true(world.expected.count > 0 && world.late[0] > 0);
        machine_open(&machine, &world);
        run_machine(&machine, random);
        compare(&world);
        check_figures(&machine);
        machine_close(&machine);
    }
    free(world.expected.items);
    free(world.told.items);
    plan_free(world.plan);
}

static const struct shape shapes[] = {{10, 10, 10}, {10, 30, 10}, {10, 25, 5}, {4, 6, 2},
                                      {1, 60, 1},   {60, 60, 60}, {4, 62, 2}};

static void test_drop(void **state)
{
    uint64_t random = 1;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_world(&shapes[i], 0, &random);
}

static void test_correct(void **state)
{
    uint64_t random = 2;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_world(&shapes[i], 600, &random);
}

/* Where older panes of a window are gone, a late row must not tell the window again without them. */
static void test_correct_for_a_short_time(void **state)
{
    uint64_t random = 3;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_world(&shapes[i], 5, &random);
        check_world(&shapes[i], 10, &random);
    }
}

struct last_told {
    unsigned count;
    uint64_t rows, version;
    bool provisional;
};

static void take_last(void *owner, const struct bucket *bucket, int64_t at_us)
{
    struct last_told *last = owner;

    last->count++;
    last->rows = bucket->rows;
    last->version = bucket->version;
    last->provisional = bucket->provisional;
}

static void merge_row(struct machine *machine, int64_t time_us)
{
    struct event_batch *batch = &machine->batch;

    event_batch_reset(batch);
    event_batch_add(batch);
    batch->time_us[0] = time_us;
    batch->watermark_us[0] = INT64_MIN;
    batch->workflow[0] = span_of(key_names[0]);
    batch->value[0] = 1;
    fold_rows(machine->folds[0], batch);
    fold_send(machine->folds[0], INT64_MAX, SIZE_MAX);
    exchange_flush(machine->ports[0]);
    receive(machine, 0);
}

/* A row of a partition that was taken for idle: a provisional bucket is told again with it; of a firm one the
 * panes are gone, and it must not be told with this row alone. */
static void test_rows_after_the_close(void **state)
{
    static const int64_t begin_us = 1795252620000000;

    for (int firm = 0; firm < 2; firm++) {
        struct world world = {.workers = 1, .partitions = 1};
        struct last_told last = {0};
        struct windows_output output = {take_last, no_signal, &last};
        struct windows_figures figures;
        struct machine machine;
        struct windows_time time = {.events_us = begin_us + 20 * SECOND,
                                    .runs_us = begin_us + 20 * SECOND,
                                    .firm_us = firm ? begin_us + 20 * SECOND : INT64_MIN,
                                    .partial_us = INT64_MIN};

        world.plan = plan_of("name: t\nsources: [{name: s, type: file, path: x}]\n"
                             "measures: [{name: m, by: [workflow], every: 10s}]\n");
        machine_open(&machine, &world);
        windows_free(machine.windows[0]);
        machine.windows[0] = windows_new(world.plan, 0, 1, machine.judges[0], &output);
        merge_row(&machine, begin_us + SECOND);
        merge_row(&machine, begin_us + 2 * SECOND);
        assert_true(windows_close(machine.windows[0], &time, 100));
        assert_int_equal(last.count, 1);
        assert_int_equal(last.rows, 2);
        assert_true(last.provisional == !firm);
        merge_row(&machine, begin_us + 3 * SECOND);
        windows_figures(machine.windows[0], &figures);
        assert_int_equal(last.count, firm ? 1 : 2);
        assert_int_equal(last.rows, firm ? 2 : 3);
        assert_int_equal(last.version, last.rows + 1);
        assert_int_equal(figures.lost, firm);
        machine_close(&machine);
        plan_free(world.plan);
    }
}

/* Sums over panes must not outlive a change of one of them. */
static void test_row_after_the_close_of_a_long_window(void **state)
{
    static const int64_t begin_us = 1795252620000000;
    enum { ROWS_BEFORE = 20, CLOSED_S = 30, MORE_S = 25 };
    struct world world = {.workers = 1, .partitions = 1};
    struct last_told last = {0};
    struct windows_output output = {take_last, no_signal, &last};
    struct machine machine;
    struct windows_time time = {.firm_us = INT64_MIN, .partial_us = INT64_MIN};

    world.plan = plan_of("name: t\nsources: [{name: s, type: file, path: x}]\n"
                         "measures: [{name: m, by: [workflow], every: 1s, window: 60s}]\n");
    machine_open(&machine, &world);
    windows_free(machine.windows[0]);
    machine.windows[0] = windows_new(world.plan, 0, 1, machine.judges[0], &output);
    for (int i = 0; i < ROWS_BEFORE; i++)
        merge_row(&machine, begin_us + i * SECOND);
    time.events_us = begin_us + CLOSED_S * SECOND;
    assert_true(windows_close(machine.windows[0], &time, SIZE_MAX));
    assert_int_equal(last.rows, ROWS_BEFORE);
    merge_row(&machine, begin_us + 5 * SECOND);
    assert_int_equal(last.rows, ROWS_BEFORE + 1);
    for (int i = 1; i <= MORE_S; i++) {
        time.events_us += SECOND;
        assert_true(windows_close(machine.windows[0], &time, SIZE_MAX));
        assert_int_equal(last.rows, ROWS_BEFORE + 1);
    }
    machine_close(&machine);
    plan_free(world.plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_after_the_close),
        cmocka_unit_test(test_row_after_the_close_of_a_long_window),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_correct),
        cmocka_unit_test(test_correct_for_a_short_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
