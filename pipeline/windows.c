#include "pipeline/windows.h"

#include "base/memory.h"
#include "base/slots.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { CLOSE_ROWS = 256 }; /* buckets scored together */

/* The rows of one series within [start, start + pane) that count from first_end on. */
struct pane_node {
    struct pane_node *next;
    int64_t start_us, first_end_us, last_end_us, keep_until_us;
    struct accumulator *accumulators;
    uint32_t late; /* rows that came by correction */
};

struct series {
    struct id128 key;
    struct span *texts; /* by_count and their bytes, one allocation */
    struct pane_node *panes;
    bool active; /* stands in the table's list */
};

/* All series of one group in one shard; arrays are indexed by slot. */
struct series_table {
    const struct plan_group *group;
    unsigned group_index;
    struct slots slots;
    struct series *series;
    size_t series_capacity;
    int64_t *last_end_us; /* slot * measures + place: end of the last bucket with rows, 0 none */
    uint8_t *told;        /* slot * (rules + detectors) */
    char **states;        /* a detector: slot * its state size */
    struct backend_state **backends;
    size_t slot_capacity;
    uint32_t *active; /* series with panes, or with a condition that is true */
    size_t active_count, active_capacity;
    int64_t closed_us,
        next_end_us; /* all ends up to this are closed; the first one that has something to do */
};

/* One closing step: some series of a table at one end. Scratch, reused. */
struct closing {
    struct series_table *table;
    int64_t end_us, at_us;
    bool provisional, told, correction;
    uint32_t rows;
    uint32_t slot[CLOSE_ROWS];
    uint32_t late[CLOSE_ROWS];
    struct bucket buckets[PLAN_GROUP_MEASURES_MAX][CLOSE_ROWS];
    struct signal *signals; /* row * detectors */
    double values[CLOSE_ROWS];
    uint32_t gaps[CLOSE_ROWS], slots[CLOSE_ROWS], places[CLOSE_ROWS];
    struct opinion opinions[CLOSE_ROWS];
};

struct windows {
    const struct plan *plan;
    struct judge *judge;
    struct windows_output output;
    struct series_table **tables; /* shard * groups + group; NULL until a pane comes */
    unsigned worker, workers;
    uint32_t series_limit;
    struct order corrections[2]; /* of measures on events, on runs: each waits for its own time */
    struct closing closing;
    size_t closed; /* buckets closed in this call */
    struct windows_figures figures;
};

struct windows *windows_new(const struct plan *plan, unsigned worker, unsigned workers, struct judge *judge,
                            const struct windows_output *output)
{
    struct windows *windows = memory_new(sizeof *windows);

    windows->plan = plan;
    windows->judge = judge;
    windows->output = *output;
    windows->worker = worker;
    windows->workers = workers;
    windows->series_limit = (uint32_t)(plan->limits.series / SHARDS);
    windows->tables = memory_new((SHARDS * plan->group_count + 1) * sizeof *windows->tables);
    windows->closing.signals = memory_new(CLOSE_ROWS * (plan->detector_count + 1) * sizeof(struct signal));
    return windows;
}

static void free_node(struct windows *windows, const struct plan_group *group, struct pane_node *node)
{
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_free(&node->accumulators[m]);
    free(node);
    windows->figures.open_panes--;
}

static void free_table(struct windows *windows, struct series_table *table)
{
    const struct plan_group *group = table->group;

    for (uint32_t i = 0; i < table->slots.next; i++) {
        while (table->series[i].panes) {
            struct pane_node *next = table->series[i].panes->next;

            free_node(windows, group, table->series[i].panes);
            table->series[i].panes = next;
        }
        free(table->series[i].texts);
    }
    for (unsigned d = 0; d < group->detector_count; d++) {
        free(table->states[d]);
        free(table->backends[d]);
    }
    slots_free(&table->slots);
    free(table->series);
    free(table->last_end_us);
    free(table->told);
    free(table->states);
    free(table->backends);
    free(table->active);
    free(table);
}

void windows_discard(const struct windows *windows, struct pane_record *record)
{
    for (unsigned m = 0; m < windows->plan->groups[record->group].measure_count; m++)
        accumulator_free(&record->accumulators[m]);
}

void windows_free(struct windows *windows)
{
    for (size_t i = 0; i < (size_t)SHARDS * windows->plan->group_count; i++)
        if (windows->tables[i])
            free_table(windows, windows->tables[i]);
    for (unsigned on_run = 0; on_run < 2; on_run++) {
        struct order *corrections = &windows->corrections[on_run];

        for (; order_first(corrections); order_pop(corrections))
            windows_discard(windows, (struct pane_record *)order_first(corrections)->record);
        order_free(corrections);
    }
    free(windows->tables);
    free(windows->closing.signals);
    free(windows);
}

static struct series_table *find_table(struct windows *windows, unsigned shard, unsigned group)
{
    struct series_table **place = &windows->tables[shard * windows->plan->group_count + group], *table;

    if (*place)
        return *place;
    table = *place = memory_new(sizeof *table);
    table->group = &windows->plan->groups[group];
    table->group_index = group;
    table->closed_us = INT64_MIN;
    table->next_end_us = INT64_MAX;
    table->states = memory_new((table->group->detector_count + 1) * sizeof *table->states);
    table->backends = memory_new((table->group->detector_count + 1) * sizeof *table->backends);
    slots_init(&table->slots, windows->series_limit);
    return table;
}

/* Grows every per-slot array to hold `slot`, new room zeroed. */
static void grow(struct windows *windows, struct series_table *table, uint32_t slot)
{
    const struct plan_group *group = table->group;
    size_t before = table->slot_capacity, after = before ? before * 2 : 4, bytes = 0;
    unsigned judges = group->rule_count + group->detector_count;

    if (slot < before)
        return;
    table->series = memory_grow(table->series, after * sizeof *table->series);
    memset(table->series + before, 0, (after - before) * sizeof *table->series);
    table->last_end_us = memory_grow(table->last_end_us, after * group->measure_count * sizeof(int64_t));
    memset(table->last_end_us + before * group->measure_count, 0,
           (after - before) * group->measure_count * sizeof(int64_t));
    table->told = memory_grow(table->told, after * judges + 1);
    memset(table->told + before * judges, 0, (after - before) * judges);
    for (unsigned d = 0; d < group->detector_count; d++) {
        size_t size = windows->plan->detectors[group->detectors[d]].state_size;

        table->states[d] = memory_grow(table->states[d], after * size);
        memset(table->states[d] + before * size, 0, (after - before) * size);
        table->backends[d] = memory_grow(table->backends[d], after * sizeof **table->backends);
        memset(table->backends[d] + before, 0, (after - before) * sizeof **table->backends);
        bytes += size + sizeof **table->backends;
    }
    table->slot_capacity = after;
    windows->figures.state_bytes += (after - before) * bytes;
}

static struct series *find_series(struct windows *windows, struct series_table *table, struct id128 key,
                                  const struct span *texts)
{
    bool is_new;
    uint32_t slot = slots_add(&table->slots, key, &is_new);
    struct series *series;

    if (slot == SLOT_NONE)
        return NULL;
    grow(windows, table, slot);
    series = &table->series[slot];
    if (is_new) {
        size_t size = table->group->by_count * sizeof(struct span);
        char *cursor;

        for (unsigned i = 0; i < table->group->by_count; i++)
            size += texts[i].size;
        series->key = key;
        series->texts = memory_new(size);
        cursor = (char *)(series->texts + table->group->by_count);
        for (unsigned i = 0; i < table->group->by_count; i++)
            series->texts[i] = record_text(&cursor, texts[i]);
        windows->figures.series++;
    }
    return series;
}

static void activate(struct series_table *table, uint32_t slot)
{
    if (table->series[slot].active)
        return;
    table->series[slot].active = true;
    table->active = memory_reserve(table->active, &table->active_capacity, table->active_count + 1,
                                   sizeof *table->active);
    table->active[table->active_count++] = slot;
}

/* The first end above `closed_us` that the pane counts for, or INT64_MAX. */
static int64_t next_end(const struct pane_node *node, int64_t closed_us, int64_t every_us)
{
    int64_t end = node->first_end_us;

    if (end <= closed_us)
        end = (floor_div(closed_us, every_us) + 1) * every_us;
    return end <= node->last_end_us ? end : INT64_MAX;
}

/* Adds the record's accumulators to the node of its start and first end, making it when it is new. */
static struct pane_node *add_pane(struct windows *windows, struct series_table *table, struct series *series,
                                  struct pane_record *record)
{
    const struct plan_group *group = table->group;
    struct pane_node *node = series->panes;
    int64_t last_end = floor_div(record->start_us + group->window_us, group->every_us) * group->every_us;

    while (node && (node->start_us != record->start_us || node->first_end_us != record->first_end_us))
        node = node->next;
    if (!node) {
        node = memory_new(sizeof *node + group->measure_count * sizeof(struct accumulator));
        node->accumulators = (struct accumulator *)(node + 1);
        node->start_us = record->start_us;
        node->first_end_us = record->first_end_us;
        node->last_end_us = last_end;
        node->keep_until_us =
            windows->plan->time.late == LATE_CORRECT ? last_end + windows->plan->time.correct_for : last_end;
        node->next = series->panes;
        series->panes = node;
        windows->figures.open_panes++;
        activate(table, (uint32_t)(series - table->series));
    }
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_merge(&node->accumulators[m], &record->accumulators[m]);
    return node;
}

/* Merges all panes of the window that ends at `end` into the row's buckets. Returns the rows over all
 * measures. */
static uint64_t gather(struct windows *windows, struct closing *closing, uint32_t row,
                       const struct series *series)
{
    const struct plan_group *group = closing->table->group;
    struct accumulator merged[PLAN_GROUP_MEASURES_MAX];
    uint64_t rows = 0;
    bool own = false;

    memset(merged, 0, group->measure_count * sizeof *merged);
    closing->late[row] = 0;
    for (struct pane_node *node = series->panes; node; node = node->next) {
        if (node->start_us < closing->end_us - group->window_us || node->start_us >= closing->end_us ||
            node->first_end_us > closing->end_us)
            continue;
        closing->late[row] += node->late;
        for (unsigned m = 0; m < group->measure_count; m++) {
            struct accumulator copy;

            accumulator_copy(&node->accumulators[m], &copy);
            accumulator_merge(&merged[m], &copy);
        }
        own = true;
    }
    for (unsigned m = 0; own && m < group->measure_count; m++) {
        const struct measure_shape *shape = &windows->plan->measures[group->measures[m]].shape;
        struct bucket *bucket = &closing->buckets[m][row];

        rows += merged[m].rows;
        *bucket = (struct bucket){.shape = shape,
                                  .key = series->texts,
                                  .start_us = closing->end_us - group->window_us,
                                  .end_us = closing->end_us,
                                  .rows = merged[m].rows,
                                  .late = closing->late[row],
                                  .version = merged[m].rows + 1,
                                  .provisional = closing->provisional,
                                  .score = NAN,
                                  .expected_low = NAN,
                                  .expected_high = NAN};
        accumulator_finish(&merged[m], shape->statistics, bucket->values);
        bucket->id = bucket_id(windows->plan->name, bucket);
        accumulator_free(&merged[m]);
    }
    for (unsigned m = 0; !own && m < group->measure_count; m++)
        closing->buckets[m][row].rows = 0;
    return rows;
}

static uint32_t gap_before(const struct series_table *table, uint32_t slot, unsigned place, int64_t end_us)
{
    int64_t last = table->last_end_us[slot * table->group->measure_count + place];
    int64_t gap = last ? (end_us - last) / table->group->every_us - 1 : 0;

    return gap < 0 ? 0 : gap > UINT32_MAX ? UINT32_MAX : (uint32_t)gap;
}

static void score(struct windows *windows, struct closing *closing, unsigned number)
{
    struct series_table *table = closing->table;
    const struct plan_detector *detector = &windows->plan->detectors[table->group->detectors[number]];
    unsigned place = windows->plan->measures[detector->measure].place,
             detectors = table->group->detector_count;
    struct bucket_batch batch = {.value = closing->values,
                                 .gap = closing->gaps,
                                 .slot = closing->slots,
                                 .bucket_us = table->group->every_us};

    for (uint32_t row = 0; row < closing->rows; row++) {
        const struct bucket *bucket = &closing->buckets[place][row];

        closing->signals[row * detectors + number] = (struct signal){0};
        if (bucket->rows == 0)
            continue;
        closing->values[batch.rows] = bucket->values[detector->statistic];
        closing->gaps[batch.rows] = gap_before(table, closing->slot[row], place, closing->end_us);
        closing->slots[batch.rows] = closing->slot[row];
        closing->places[batch.rows++] = row;
    }
    if (batch.rows == 0)
        return;
    detector->type->score(detector->settings, table->states[number], &batch, detector->empty,
                          closing->opinions);
    for (uint32_t i = 0; i < batch.rows; i++) {
        uint32_t row = closing->places[i];
        struct signal *signal = &closing->signals[row * detectors + number];
        struct bucket *bucket = &closing->buckets[place][row];

        backend_judge(&detector->backend, &table->backends[number][closing->slots[i]], table->group->every_us,
                      closing->end_us, closing->values[i], &closing->opinions[i], signal);
        bucket->anomaly |= signal->anomaly;
        if (signal->opinion && !(signal->score <= bucket->score)) {
            bucket->score = signal->score;
            bucket->scored = detector->statistic;
            bucket->expected_low = signal->expected_low;
            bucket->expected_high = signal->expected_high;
        }
    }
}

static void tell_row(struct windows *windows, struct closing *closing, uint32_t row)
{
    const struct plan_group *group = closing->table->group;
    const struct signal *signals = &closing->signals[row * group->detector_count];

    for (unsigned m = 0; m < group->measure_count; m++) {
        if (closing->buckets[m][row].rows == 0)
            continue;
        windows->figures.buckets++;
        windows->closed++;
        windows->output.bucket(windows->output.owner, &closing->buckets[m][row], closing->at_us);
    }
    for (unsigned d = 0; !closing->correction && d < group->detector_count; d++) {
        const struct plan_detector *detector = &windows->plan->detectors[group->detectors[d]];
        const struct bucket *bucket =
            &closing->buckets[windows->plan->measures[detector->measure].place][row];
        struct signal_record record = {.detector = detector->name, .bucket = bucket, .signal = signals[d]};

        if (!signals[d].anomaly)
            continue;
        record.id = signal_id(windows->plan->name, bucket->id, span_of(detector->name));
        windows->figures.signals++;
        windows->output.signal(windows->output.owner, &record);
    }
}

static void judge_row(struct windows *windows, struct closing *closing, uint32_t row)
{
    struct series_table *table = closing->table;
    const struct plan_group *group = table->group;
    uint32_t slot = closing->slot[row];
    struct judged judged = {
        .group = group,
        .key = table->series[slot].texts,
        .end_us = closing->end_us,
        .signals = &closing->signals[row * group->detector_count],
        .told = &table->told[slot * (group->rule_count + group->detector_count)],
        .provisional = closing->provisional,
    };

    for (unsigned m = 0; m < group->measure_count; m++)
        if (closing->buckets[m][row].rows)
            judged.buckets[m] = &closing->buckets[m][row];
    judge_buckets(windows->judge, &judged);
}

static void finish_rows(struct windows *windows, struct closing *closing)
{
    struct series_table *table = closing->table;
    const struct plan_group *group = table->group;

    for (unsigned d = 0; d < group->detector_count; d++)
        score(windows, closing, d);
    for (uint32_t row = 0; row < closing->rows; row++) {
        tell_row(windows, closing, row);
        judge_row(windows, closing, row);
        for (unsigned m = 0; m < group->measure_count; m++)
            if (closing->buckets[m][row].rows)
                table->last_end_us[closing->slot[row] * group->measure_count + m] = closing->end_us;
    }
    closing->rows = 0;
}

static bool any_told(const struct series_table *table, uint32_t slot)
{
    unsigned judges = table->group->rule_count + table->group->detector_count;

    return judges && memchr(&table->told[slot * judges], 1, judges) != NULL;
}

/* After an end is closed: drops panes that no end needs any more, and finds the next end with something to
 * do. */
static void sweep(struct windows *windows, struct series_table *table)
{
    int64_t every = table->group->every_us;
    size_t kept = 0;

    table->next_end_us = INT64_MAX;
    for (size_t i = 0; i < table->active_count; i++) {
        uint32_t slot = table->active[i];
        struct series *series = &table->series[slot];
        struct pane_node **link = &series->panes;

        while (*link) {
            struct pane_node *node = *link;
            int64_t end = next_end(node, table->closed_us, every);

            if (end < table->next_end_us)
                table->next_end_us = end;
            if (end == INT64_MAX && node->keep_until_us <= table->closed_us) {
                *link = node->next;
                free_node(windows, table->group, node);
            } else {
                link = &node->next;
            }
        }
        bool told = any_told(table, slot);
        if (told && table->closed_us + every < table->next_end_us)
            table->next_end_us = table->closed_us + every;
        series->active = told || series->panes;
        if (series->active)
            table->active[kept++] = slot;
    }
    table->active_count = kept;
}

static void keep_provisional(struct windows *windows, struct series_table *table, const struct series *series,
                             int64_t end_us)
{
    for (struct pane_node *node = series->panes; node; node = node->next)
        if (node->start_us < end_us &&
            node->keep_until_us < node->last_end_us + windows->plan->time.correct_for)
            node->keep_until_us = node->last_end_us + windows->plan->time.correct_for;
    (void)table;
}

/* Closes the buckets of all active series at one end. */
static void close_end(struct windows *windows, struct series_table *table, int64_t end_us,
                      const struct windows_time *time)
{
    struct closing *closing = &windows->closing;

    closing->table = table;
    closing->end_us = closing->at_us = end_us;
    closing->provisional = end_us > time->firm_us;
    closing->correction = false;
    closing->rows = 0;
    for (size_t i = 0; end_us > time->had_us && i < table->active_count; i++) {
        uint32_t slot = table->active[i];
        uint64_t rows = gather(windows, closing, closing->rows, &table->series[slot]);

        closing->slot[closing->rows] = slot;
        if (rows == 0 && !any_told(table, slot))
            continue;
        if (closing->provisional)
            keep_provisional(windows, table, &table->series[slot], end_us);
        if (++closing->rows == CLOSE_ROWS)
            finish_rows(windows, closing);
    }
    finish_rows(windows, closing);
    table->closed_us = end_us;
    sweep(windows, table);
}

static bool close_table(struct windows *windows, struct series_table *table, int64_t until_us,
                        const struct windows_time *time, size_t budget)
{
    while (table->next_end_us <= until_us) {
        if (windows->closed >= budget)
            return false;
        close_end(windows, table, table->next_end_us, time);
    }
    if (until_us > table->closed_us && until_us != INT64_MAX)
        table->closed_us = until_us;
    return true;
}

/* Tells the buckets again that a pane changed after they were closed. Detectors and rules do not run again.
 * */
static void tell_again(struct windows *windows, struct series_table *table, struct series *series,
                       const struct pane_node *node, int64_t at_us, const struct windows_time *time)
{
    struct closing *closing = &windows->closing;

    for (int64_t end = node->first_end_us; end <= node->last_end_us && end <= table->closed_us;
         end += table->group->every_us) {
        if (end <= time->had_us)
            continue;
        closing->table = table;
        closing->end_us = end;
        closing->at_us = at_us > end ? at_us : end;
        closing->provisional = end > time->firm_us;
        closing->correction = true;
        closing->slot[0] = (uint32_t)(series - table->series);
        windows->figures.corrections++;
        if (gather(windows, closing, 0, series) > 0)
            tell_row(windows, closing, 0);
    }
}

void windows_merge(struct windows *windows, struct pane_record *record)
{
    struct series_table *table = find_table(windows, shard_of(record->key), record->group);
    struct series *series = find_series(windows, table, record->key, record->texts);
    struct pane_node *node;
    int64_t end;

    assert(shard_of(record->key) % windows->workers == windows->worker);
    if (!series) {
        windows->figures.too_many++;
        windows_discard(windows, record);
        return;
    }
    node = add_pane(windows, table, series, record);
    end = next_end(node, table->closed_us, table->group->every_us);
    if (end < table->next_end_us)
        table->next_end_us = end;
    /* only after a partition was taken for idle: its rows are in time, but their bucket was closed without
     * them */
    if (node->first_end_us <= table->closed_us) {
        struct windows_time now = {.firm_us = INT64_MIN, .had_us = INT64_MIN};

        tell_again(windows, table, series, node, table->closed_us, &now);
    }
}

void windows_correct_later(struct windows *windows, struct pane_record *record, struct block *block)
{
    order_push(&windows->corrections[windows->plan->groups[record->group].on_run],
               &(struct order_entry){.order_us = record->order_us,
                                     .time_us = record->start_us,
                                     .partition = record->partition,
                                     .offset = record->offset,
                                     .item = record->item,
                                     .record = &record->head,
                                     .block = block});
}

static void correct(struct windows *windows, struct pane_record *record, const struct windows_time *time)
{
    struct series_table *table = find_table(windows, shard_of(record->key), record->group);
    int64_t every = table->group->every_us, end;
    int64_t last_end = floor_div(record->start_us + table->group->window_us, every) * every;
    int64_t lost_us = record->order_us - windows->plan->time.correct_for;
    struct windows_time now = *time;
    struct series *series;
    struct pane_node *node;

    /* what ends before the row's order time is closed without it, whatever was closed so far */
    close_table(windows, table, record->order_us, time, SIZE_MAX);
    series = find_series(windows, table, record->key, record->texts);
    windows->figures.lost += !series || record->first_end_us <= lost_us;
    if (!series || last_end <= lost_us) {
        windows_discard(windows, record);
        return;
    }
    node = add_pane(windows, table, series, record);
    node->late++;
    /* of a window that ended so long ago the older panes are gone */
    if (lost_us > now.had_us)
        now.had_us = lost_us;
    tell_again(windows, table, series, node, record->order_us, &now);
    end = next_end(node, table->closed_us, every);
    if (end < table->next_end_us)
        table->next_end_us = end;
}

/* Those that wait for a time that has come; false: there are more than the budget allows. */
static bool apply_corrections(struct windows *windows, bool on_run, const struct windows_time *time,
                              size_t budget)
{
    struct order *corrections = &windows->corrections[on_run];
    int64_t until_us = on_run ? time->runs_us : time->events_us;
    const struct order_entry *first;

    while ((first = order_first(corrections)) && (time->final || first->order_us < until_us)) {
        if (windows->closed >= budget)
            return false;
        correct(windows, (struct pane_record *)first->record, time);
        order_pop(corrections);
    }
    return true;
}

bool windows_close(struct windows *windows, const struct windows_time *time, size_t budget)
{
    windows->closed = 0;
    if (!apply_corrections(windows, false, time, budget) || !apply_corrections(windows, true, time, budget))
        return false;
    for (unsigned shard = windows->worker; shard < SHARDS; shard += windows->workers)
        for (unsigned group = 0; group < windows->plan->group_count; group++) {
            struct series_table *table = windows->tables[shard * windows->plan->group_count + group];

            if (table && !close_table(windows, table, table->group->on_run ? time->runs_us : time->events_us,
                                      time, budget))
                return false;
        }
    return true;
}

void windows_figures(const struct windows *windows, struct windows_figures *ret_figures)
{
    *ret_figures = windows->figures;
}
