#include "pipeline/window_table.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { SUMS_PANES_MIN = 8 }; /* in a window: with fewer the sums cost more than they save */

struct windows *windows_new(const struct plan *plan, unsigned worker, unsigned workers, struct judge *judge,
                            const struct windows_output *output)
{
    struct windows *windows = memory_new(sizeof *windows);

    windows->plan = plan;
    windows->judge = judge;
    windows->output = *output;
    windows->worker = worker;
    windows->workers = workers;
    windows->firm_us = windows->partial_us = INT64_MIN;
    buffer_init(&windows->saving.bytes, SIZE_MAX);
    windows->series_limit = (uint32_t)(plan->limits.series / SHARDS);
    windows->tables = memory_new((SHARDS * plan->group_count + 1) * sizeof *windows->tables);
    windows->closing.signals = memory_new(CLOSE_ROWS * (plan->detector_count + 1) * sizeof(struct signal));
    return windows;
}

static void free_table(struct series_table *table)
{
    const struct plan_group *group = table->group;

    for (uint32_t i = 0; i < table->slot_capacity; i++)
        for (struct pane_node *next, *node = table->series[i].panes; node; node = next) {
            next = node->next;
            pane_free(group, node);
        }
    for (unsigned d = 0; d < group->detector_count; d++) {
        free(table->states[d]);
        free(table->backends[d]);
        hot_free(&table->hot[d]);
    }
    slots_free(&table->slots);
    blocks_free(&table->blocks);
    free(table->series);
    free(table->texts.bytes);
    free(table->last_end_us);
    free(table->told);
    free(table->states);
    free(table->backends);
    free(table->hot);
    free(table->active);
    free(table);
}

void windows_discard(const struct windows *windows, struct pane_record *record)
{
    accumulators_free(&windows->plan->groups[record->group], record->accumulators);
}

void windows_free(struct windows *windows)
{
    for (size_t i = 0; i < (size_t)SHARDS * windows->plan->group_count; i++)
        if (windows->tables[i])
            free_table(windows->tables[i]);
    for (unsigned on_run = 0; on_run < 2; on_run++) {
        struct order *corrections = &windows->corrections[on_run];

        for (; order_first(corrections); order_pop(corrections))
            windows_discard(windows, (struct pane_record *)order_first(corrections)->record);
        order_free(corrections);
    }
    windows_saving_free(&windows->saving);
    free(windows->tables);
    free(windows->closing.signals);
    free(windows);
}

struct series_table *windows_table(struct windows *windows, unsigned shard, const struct plan_group *group)
{
    size_t number = shard * windows->plan->group_count + (size_t)(group - windows->plan->groups);
    struct series_table **place = &windows->tables[number], *table;

    if (*place)
        return *place;
    table = *place = memory_new(sizeof *table);
    table->group = group;
    table->shard = shard;
    table->times = table->stored = (struct table_times){.closed_us = INT64_MIN, .next_end_us = INT64_MAX};
    table->states = memory_new((table->group->detector_count + 1) * sizeof *table->states);
    table->backends = memory_new((table->group->detector_count + 1) * sizeof *table->backends);
    table->hot = memory_new((table->group->detector_count + 1) * sizeof *table->hot);
    slots_init(&table->slots, windows->series_limit);
    return table;
}

/* Grows every per-slot array by a quarter or more to hold `slot`, new room zeroed. */
static void grow(struct windows *windows, struct series_table *table, uint32_t slot)
{
    const struct plan_group *group = table->group;
    size_t before = table->slot_capacity, after = before + before / 4 + 4, bytes = 0;
    unsigned judges = group->rule_count + group->detector_count;

    if (slot < before)
        return;
    if (after <= slot)
        after = slot + 1;
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
        if (windows->plan->detectors[group->detectors[d]].hot_size)
            hot_grow(&table->hot[d], before, after);
    }
    table->slot_capacity = after;
    windows->figures.state_bytes += (after - before) * bytes;
}

struct series *windows_add_series(struct windows *windows, struct series_table *table, uint32_t slot,
                                  const struct span *texts)
{
    grow(windows, table, slot);
    table->series[slot].texts = key_texts_add(&table->texts, texts, table->group->by_count) + 1;
    windows->figures.series++;
    return &table->series[slot];
}

/* The series of the key, about to be changed; NULL: there are too many. */
static struct series *find_series(struct windows *windows, struct series_table *table, struct id128 key,
                                  const struct span *texts)
{
    bool is_new;
    uint32_t slot = slots_add(&table->slots, key, &is_new);

    if (slot == SLOT_NONE)
        return NULL;
    windows_touch(windows, table, slot);
    return is_new ? windows_add_series(windows, table, slot, texts) : &table->series[slot];
}

static void activate(struct series_table *table, uint32_t slot)
{
    if (table->series[slot].activated)
        return;
    table->series[slot].activated = ++table->activations;
    table->active = memory_reserve(table->active, &table->active_capacity, table->active_count + 1,
                                   sizeof *table->active);
    table->active[table->active_count++] = slot;
}

static int64_t last_end(const struct plan_group *group, int64_t start_us)
{
    return floor_div(start_us + group->window_us, group->every_us) * group->every_us;
}

/* The first end above `closed_us` that the pane counts for, or INT64_MAX. */
static int64_t next_end(const struct plan_group *group, const struct pane_node *node, int64_t closed_us)
{
    int64_t end = node->first_end_us;

    if (end <= closed_us)
        end = (floor_div(closed_us, group->every_us) + 1) * group->every_us;
    return end <= last_end(group, node->start_us) ? end : INT64_MAX;
}

int64_t windows_keep_until(const struct windows *windows, const struct plan_group *group,
                           const struct pane_node *node)
{
    return last_end(group, node->start_us) + (node->is_kept ? windows->plan->time.correct_for : 0);
}

struct pane_node *windows_add_node(struct windows *windows, const struct plan_group *group,
                                   struct series *series, int64_t start_us, int64_t first_end_us)
{
    struct pane_node *node = pane_new(group, start_us, first_end_us);

    node->is_kept = windows->plan->time.late == LATE_CORRECT;
    panes_insert(series, node);
    windows->figures.open_panes++;
    return node;
}

/* Adds the record's accumulators to the node of its start and first end, making it when it is new. */
static struct pane_node *add_pane(struct windows *windows, struct series_table *table, struct series *series,
                                  struct pane_record *record)
{
    const struct plan_group *group = table->group;
    struct pane_node *node = panes_find(group, series, record->start_us, record->first_end_us);

    if (!node) {
        node = windows_add_node(windows, group, series, record->start_us, record->first_end_us);
        activate(table, (uint32_t)(series - table->series));
    }
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_merge(group_accumulator(group, node->accumulators, m), &group->layouts[m],
                          group_accumulator(group, record->accumulators, m));
    if (!node->is_late && node->first_end_us <= table->times.closed_us)
        panes_forget_sums(group, series);
    return node;
}

/* Returns the rows of the bucket; none when the measure is not told at that time. */
static uint64_t fill_bucket(struct windows *windows, struct closing *closing, unsigned place, uint32_t row,
                            const struct accumulator *merged)
{
    const struct plan_group *group = closing->table->group;
    const struct plan_measure *measure = &windows->plan->measures[group->measures[place]];
    int64_t start_us = closing->end_us - group->window_us;
    struct bucket *bucket = &closing->buckets[place][row];

    bucket->rows = 0;
    if (merged->rows == 0 || start_us < measure->since_us || start_us >= measure->until_us)
        return 0;
    *bucket = (struct bucket){.shape = &measure->shape,
                              .key = closing->texts[row],
                              .start_us = start_us,
                              .end_us = closing->end_us,
                              .rows = merged->rows,
                              .late = closing->late[row],
                              .version = merged->rows + 1,
                              .provisional = closing->provisional,
                              .partial = closing->partial,
                              .score = NAN,
                              .expected_low = NAN,
                              .expected_high = NAN};
    accumulator_finish(merged, &group->layouts[place], bucket->values);
    bucket->id = bucket_id(windows->plan->name, bucket);
    return merged->rows;
}

static bool counts_for(const struct plan_group *group, const struct pane_node *node, int64_t end_us)
{
    return node->start_us >= end_us - group->window_us && node->start_us < end_us &&
           node->first_end_us <= end_us;
}

/* A window's accumulators as they are put together. Mostly there is one part, which needs no copy. */
struct gathered {
    char *accumulators; /* of the only part, or closing.merged; NULL: there is none yet */
    bool merged;
};

static void gather_part(struct closing *closing, struct gathered *gathered, char *accumulators)
{
    const struct plan_group *group = closing->table->group;

    if (!gathered->accumulators) {
        gathered->accumulators = accumulators;
        return;
    }
    if (!gathered->merged) {
        accumulators_include(group, closing->merged, gathered->accumulators);
        *gathered = (struct gathered){.accumulators = closing->merged, .merged = true};
    }
    accumulators_include(group, closing->merged, accumulators);
}

/* Pane by pane; late ones are in no sum. */
static void gather_panes(struct closing *closing, uint32_t row, const struct series *series, bool only_late,
                         struct gathered *gathered)
{
    for (struct pane_node *node = series->panes; node && (node->is_late || !only_late); node = node->next)
        if (counts_for(closing->table->group, node, closing->end_us)) {
            closing->late[row] += node->late;
            gather_part(closing, gathered, node->accumulators);
        }
}

/* The panes in time by their sums. */
static void gather_sums(struct closing *closing, const struct series *series, struct gathered *gathered)
{
    const struct plan_group *group = closing->table->group;
    int64_t start_us = closing->end_us - group->window_us;
    int64_t turn_us = floor_div(closing->end_us - 1, group->window_us) * group->window_us;
    struct pane_node *oldest = panes_oldest(series), *newest = series->panes;

    while (newest && (newest->is_late || newest->first_end_us > closing->end_us))
        newest = newest->next;
    if (!newest || newest->start_us < start_us)
        return;
    while (oldest->start_us < start_us) /* kept for corrections */
        oldest = panes_newer(series, oldest);
    if (newest->start_us >= turn_us)
        gather_part(closing, gathered, panes_sum_from_turn(group, series, newest, turn_us));
    if (oldest->start_us < turn_us)
        gather_part(closing, gathered, panes_sum_to_turn(group, series, oldest, turn_us));
}

/* All panes of the window that ends at `end` become the row's buckets. Returns the rows over all measures. */
static uint64_t gather(struct windows *windows, struct closing *closing, uint32_t row,
                       const struct series *series)
{
    const struct plan_group *group = closing->table->group;
    bool by_sums = group->window_us / group->pane_us >= SUMS_PANES_MIN && !closing->correction;
    struct gathered gathered = {0};
    uint64_t rows = 0;

    key_texts_read(&closing->table->texts, series->texts - 1, group->by_count, closing->texts[row]);
    closing->late[row] = 0;
    gather_panes(closing, row, series, by_sums, &gathered);
    if (by_sums)
        gather_sums(closing, series, &gathered);
    for (unsigned m = 0; m < group->measure_count; m++) {
        if (!gathered.accumulators)
            closing->buckets[m][row].rows = 0;
        else
            rows += fill_bucket(windows, closing, m, row, group_accumulator(group, gathered.accumulators, m));
    }
    if (gathered.merged)
        accumulators_free(group, closing->merged);
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
    bool excepted = detector->calendars & closing->calendars;
    struct bucket_batch batch = {.value = closing->values,
                                 .gap = closing->gaps,
                                 .slot = closing->slots,
                                 .bucket_us = table->group->every_us,
                                 .hot = detector->hot_size ? closing->hot : NULL};

    for (uint32_t row = 0; row < closing->rows; row++) {
        const struct bucket *bucket = &closing->buckets[place][row];

        closing->signals[row * detectors + number] = (struct signal){0};
        if (bucket->rows == 0)
            continue;
        closing->values[batch.rows] = excepted ? NAN : bucket->values[detector->statistic];
        closing->gaps[batch.rows] = gap_before(table, closing->slot[row], place, closing->end_us);
        closing->slots[batch.rows] = closing->slot[row];
        if (batch.hot)
            closing->hot[batch.rows] = hot_use(windows, table, number, closing->slot[row], closing->end_us);
        if (detector->calendars)
            windows_pass_gap(windows, number, batch.rows);
        closing->places[batch.rows++] = row;
    }
    if (batch.rows == 0)
        return;
    detector->type->score(detector->settings, table->states[number], &batch, detector->empty,
                          closing->opinions);
    for (uint32_t i = 0; batch.hot && i < batch.rows; i++)
        hot_ask(&table->hot[number], closing->slots[i],
                detector->type->wants_hot(detector->settings,
                                          table->states[number] + closing->slots[i] * detector->state_size));
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
        .key = closing->texts[row],
        .end_us = closing->end_us,
        .signals = &closing->signals[row * group->detector_count],
        .told = &table->told[slot * (group->rule_count + group->detector_count)],
        .provisional = closing->provisional,
        .calendars = closing->calendars,
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

    for (uint32_t row = 0; row < closing->rows; row++)
        windows_touch(windows, table, closing->slot[row]);
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

/* A condition is true, and an empty bucket could end it. Others wait for rows however long: no end of a
 * bucket concerns them meanwhile. */
static bool heeds_empty(const struct windows *windows, const struct series_table *table, uint32_t slot)
{
    const struct plan_group *group = table->group;
    unsigned judges = group->rule_count + group->detector_count;
    const uint8_t *told = &table->told[slot * judges];

    if (!judges || !memchr(told, 1, judges))
        return false;
    for (unsigned i = 0; i < group->rule_count; i++)
        if (told[i] && windows->plan->rules[group->rules[i]].defined_on_empty)
            return true;
    for (unsigned i = 0; i < group->detector_count; i++)
        if (told[group->rule_count + i] && !isnan(windows->plan->detectors[group->detectors[i]].empty))
            return true;
    return false;
}

/* Drops the pane if no end needs it any more. Returns its next end. */
static int64_t sweep_node(struct windows *windows, struct series_table *table, struct series *series,
                          struct pane_node *node)
{
    struct table_times *times = &table->times;
    int64_t end = next_end(table->group, node, times->closed_us);

    if (end < times->next_end_us)
        times->next_end_us = end;
    if (end == INT64_MAX && windows_keep_until(windows, table->group, node) <= times->closed_us) {
        windows_touch(windows, table, (uint32_t)(series - table->series));
        panes_remove(series, node);
        pane_free(table->group, node);
        windows->figures.open_panes--;
    }
    return end;
}

/* Drops the panes of a series whose end is closed that no end needs any more; finds the next end with
 * something to do. False: it is no longer active. */
static bool sweep(struct windows *windows, struct series_table *table, uint32_t slot)
{
    struct series *series = &table->series[slot];
    struct table_times *times = &table->times;
    struct pane_node *node, *then;

    for (node = series->panes; node && node->is_late; node = then) {
        then = node->next;
        sweep_node(windows, table, series, node);
    }
    for (node = panes_oldest(series); node; node = then) {
        then = panes_newer(series, node);
        if (sweep_node(windows, table, series, node) < INT64_MAX)
            break; /* newer ones have one too, and no earlier one */
    }
    if (heeds_empty(windows, table, slot)) {
        if (times->closed_us + table->group->every_us < times->next_end_us)
            times->next_end_us = times->closed_us + table->group->every_us;
        return true;
    }
    if (series->panes)
        return true;
    windows_touch(windows, table, slot);
    series->activated = 0;
    return false;
}

/* Late rows may still come for them: their panes stay as if corrections were wanted. */
static void keep_provisional(struct series *series, int64_t end_us)
{
    for (struct pane_node *node = series->panes; node; node = node->next)
        node->is_kept |= node->start_us < end_us;
}

static void begin_closing(struct windows *windows, struct series_table *table, int64_t end_us,
                          bool provisional, bool partial)
{
    struct closing *closing = &windows->closing;

    closing->table = table;
    closing->end_us = closing->at_us = end_us;
    closing->provisional = provisional;
    closing->partial = partial;
    closing->correction = false;
    closing->calendars = plan_calendars(windows->plan, end_us - table->group->window_us, end_us);
    closing->rows = 0;
}

static void fetch(const void *bytes)
{
    enum { CACHE_LINE = 64 };

    __builtin_prefetch(bytes);
    __builtin_prefetch((const char *)bytes + CACHE_LINE);
}

/* Panes lie all over the memory: what gather will look at is fetched for all series before, step by step. */
static void fetch_panes(const struct series_table *table, const uint32_t *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fetch(table->series[slots[i]].panes);
    for (size_t i = 0; i < count; i++) {
        const struct pane_node *newest = table->series[slots[i]].panes;

        if (newest) {
            fetch(newest->sums);
            fetch(newest->before);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct pane_node *newest = table->series[slots[i]].panes;

        if (newest)
            fetch(newest->before->sums);
    }
}

/* The next CLOSE_ROWS active series of what is half closed. */
static void close_some(struct windows *windows, struct half_closed *half)
{
    struct closing *closing = &windows->closing;
    struct series_table *table = half->table;
    size_t from = half->next,
           to = table->active_count - from < CLOSE_ROWS ? table->active_count : from + CLOSE_ROWS;

    fetch_panes(table, table->active + from, to - from);
    for (size_t i = from; i < to; i++) {
        uint32_t slot = table->active[i];
        uint64_t rows = gather(windows, closing, closing->rows, &table->series[slot]);

        closing->slot[closing->rows] = slot;
        if (rows == 0 && !heeds_empty(windows, table, slot))
            continue;
        if (closing->provisional) {
            windows_touch(windows, table, slot);
            keep_provisional(&table->series[slot], half->end_us);
        }
        closing->rows++;
    }
    finish_rows(windows, closing);
    for (size_t i = from; i < to; i++)
        if (sweep(windows, table, table->active[i]))
            table->active[half->kept++] = table->active[i];
    half->next = to;
    windows->closed += to - from;
}

/* Goes on with what is half closed; false: the budget is used up. */
static bool close_half(struct windows *windows, size_t budget)
{
    struct half_closed *half = &windows->half;

    begin_closing(windows, half->table, half->end_us, half->provisional, half->partial);
    while (half->next < half->table->active_count) {
        if (windows->closed >= budget)
            return false;
        close_some(windows, half);
    }
    half->table->active_count = half->kept;
    hot_settle(windows, half->table, half->end_us);
    half->table = NULL;
    return true;
}

void windows_settle(struct windows *windows)
{
    if (windows->half.table)
        (void)close_half(windows, SIZE_MAX);
}

static bool is_partial(const struct windows *windows, const struct series_table *table, int64_t end_us)
{
    return end_us - table->group->window_us < windows->partial_us;
}

static bool close_table(struct windows *windows, struct series_table *table, int64_t until_us,
                        const struct windows_time *time, size_t budget)
{
    while (table->times.next_end_us <= until_us) {
        int64_t end_us = table->times.next_end_us;

        if (windows->closed >= budget)
            return false;
        windows->half = (struct half_closed){.table = table,
                                             .end_us = end_us,
                                             .provisional = end_us > time->firm_us,
                                             .partial = is_partial(windows, table, end_us)};
        table->times = (struct table_times){.closed_us = end_us, .next_end_us = INT64_MAX};
        if (!close_half(windows, budget))
            return false;
    }
    if (until_us > table->times.closed_us && until_us != INT64_MAX)
        table->times.closed_us = until_us;
    return true;
}

/* Tells the buckets after `after_us` again that a pane changed after they were closed. Detectors and rules do
 * not run again. */
static void tell_again(struct windows *windows, struct series_table *table, struct series *series,
                       const struct pane_node *node, int64_t at_us, int64_t after_us, int64_t firm_us)
{
    struct closing *closing = &windows->closing;

    int64_t last_us = last_end(table->group, node->start_us);

    for (int64_t end = node->first_end_us; end <= last_us && end <= table->times.closed_us;
         end += table->group->every_us) {
        if (end <= after_us)
            continue;
        begin_closing(windows, table, end, end > firm_us, is_partial(windows, table, end));
        closing->at_us = at_us > end ? at_us : end;
        closing->correction = true;
        closing->slot[0] = (uint32_t)(series - table->series);
        windows->figures.corrections++;
        if (gather(windows, closing, 0, series) > 0)
            tell_row(windows, closing, 0);
    }
}

/* What was closed firm has no panes any more, unless corrections are wanted. Only a partition that was new,
 * or taken for one that stays empty, can have rows for it. */
static int64_t lost_until(const struct windows *windows, const struct series_table *table)
{
    const struct plan_time *time = &windows->plan->time;
    int64_t kept_us = time->late == LATE_CORRECT ? time->correct_for : 0;
    int64_t firm_us = windows->firm_us < table->times.closed_us ? windows->firm_us : table->times.closed_us;

    return firm_us > INT64_MIN + kept_us ? firm_us - kept_us : INT64_MIN;
}

void windows_merge(struct windows *windows, struct pane_record *record)
{
    struct series_table *table =
        windows_table(windows, shard_of(record->key), &windows->plan->groups[record->group]);
    int64_t lost_us = lost_until(windows, table);
    struct series *series = find_series(windows, table, record->key, record->texts);
    struct pane_node *node;
    int64_t end;

    assert(shard_of(record->key) % windows->workers == windows->worker);
    if (windows->half.table == table && record->first_end_us <= windows->half.end_us)
        windows_settle(windows); /* its end is closed without it for all series, or for none */
    windows->figures.lost += series && record->first_end_us <= lost_us;
    if (!series || last_end(table->group, record->start_us) <= lost_us) {
        windows->figures.too_many += !series;
        windows_discard(windows, record);
        return;
    }
    node = add_pane(windows, table, series, record);
    end = next_end(table->group, node, table->times.closed_us);
    if (end < table->times.next_end_us)
        table->times.next_end_us = end;
    /* only after a partition was taken for idle: its rows are in time, but their bucket was closed without
     * them */
    if (node->first_end_us <= table->times.closed_us)
        tell_again(windows, table, series, node, table->times.closed_us, lost_us, INT64_MIN);
}

void windows_correct_later(struct windows *windows, struct pane_record *record, struct block *block)
{
    order_push(&windows->corrections[windows->plan->groups[record->group].on_run],
               &(struct order_entry){.order_us = record->order_us,
                                     .time_us = record->start_us,
                                     .rank = (uint8_t)record->group, /* a row has one a group */
                                     .partition = record->partition,
                                     .offset = record->offset,
                                     .item = record->item,
                                     .record = &record->head,
                                     .block = block});
}

static void correct(struct windows *windows, struct pane_record *record, const struct windows_time *time)
{
    struct series_table *table =
        windows_table(windows, shard_of(record->key), &windows->plan->groups[record->group]);
    int64_t end;
    int64_t lost_us = record->order_us - windows->plan->time.correct_for;
    struct series *series;
    struct pane_node *node;

    if (record->frozen)
        windows_save_correction(windows, record);
    /* what ends before the row's order time is closed without it, whatever was closed so far */
    close_table(windows, table, record->order_us, time, SIZE_MAX);
    series = find_series(windows, table, record->key, record->texts);
    windows->figures.lost += !series || record->first_end_us <= lost_us;
    if (!series || last_end(table->group, record->start_us) <= lost_us) {
        windows_discard(windows, record);
        return;
    }
    node = add_pane(windows, table, series, record);
    node->late++;
    /* of a window that ended so long ago the older panes are gone */
    tell_again(windows, table, series, node, record->order_us, lost_us, time->firm_us);
    end = next_end(table->group, node, table->times.closed_us);
    if (end < table->times.next_end_us)
        table->times.next_end_us = end;
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
    windows->firm_us = time->firm_us;
    windows->partial_us = time->partial_us;
    if (windows->half.table && !close_half(windows, budget))
        return false;
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
