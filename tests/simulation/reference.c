#include "tests/simulation/reference_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEASURES = 3, KEEP_FAILED_S = 20, KEEP_HEAVY_S = 15, FOR_HEAVY_S = 10 };
enum { HEAVY_SUM = 60, EXPIRE_S = 3600, WATCH_EXPIRE_S = 7 * 86400, REST_S = 600 };

/* What the measures, rules and detectors of the scenario are, by number. */
static const struct {
    const char *name;
    int64_t window_s;
    bool on_run;
} measures[MEASURES] = {{"load", EVERY_S, false}, {"wide", WIDE_S, false}, {"ends", EVERY_S, true}};

static const struct {
    const char *name;
    int64_t for_s, keep_s;
    bool momentary;
} rules[RULES] = {
    [RULE_FAILED] = {"failed", 0, KEEP_FAILED_S, true},
    [RULE_HEAVY] = {"heavy", FOR_HEAVY_S, KEEP_HEAVY_S, false},
    [RULE_BROKEN] = {"broken", 0, KEEP_FAILED_S, false},
    [RULE_ODD] = {"odd", 0, 0, false},
    [RULE_FAILURE] = {"watch_failure", 0, REST_S, false},
    [RULE_FAILING] = {"watch_failure_rate", 0, REST_S, false},
    [RULE_MISSING] = {"watch_missing", 0, REST_S, false},
    [RULE_VOLUME] = {"watch_volume", 0, REST_S, false},
    [RULE_SLOW] = {"watch_duration", 0, REST_S, false},
    [RULE_OVERDUE] = {"watch_overdue", 0, 0, false},
    [RULE_SILENCE] = {"watch_silence", 0, 0, false},
    [RULE_BEAT] = {"watch_heartbeat", 0, 0, false},
};

unsigned reference_workflow(struct reference *reference, const char *name)
{
    for (unsigned i = 0; i < reference->workflow_count; i++)
        if (strcmp(reference->workflows[i], name) == 0)
            return i;
    assert(reference->workflow_count < SERIES_MAX);
    snprintf(reference->workflows[reference->workflow_count], WORKFLOW_BYTES, "%s", name);
    return reference->workflow_count++;
}

struct memory_entry {
    const char *id;    /* dedupe */
    unsigned workflow; /* throttle */
    int64_t window, end_us;
    unsigned rows;
};

struct cleaning { /* what one partition remembers */
    struct memory_entry *seen, *limited;
    size_t seen_count, seen_capacity, limited_count, limited_capacity;
};

static bool is_duplicate(struct cleaning *cleaning, const struct good *row)
{
    struct memory_entry *entry = NULL;

    if (!row->row->id[0])
        return false;
    for (size_t i = 0; i < cleaning->seen_count; i++)
        if (strcmp(cleaning->seen[i].id, row->row->id) == 0)
            entry = &cleaning->seen[i];
    if (entry && entry->end_us > row->watermark_us)
        return true;
    if (!entry) {
        cleaning->seen = memory_reserve(cleaning->seen, &cleaning->seen_capacity, cleaning->seen_count + 1,
                                        sizeof *cleaning->seen);
        entry = &cleaning->seen[cleaning->seen_count++];
    }
    *entry = (struct memory_entry){.id = row->row->id, .end_us = row->time_us + DEDUPE_S * SIM_SECOND_US};
    return false;
}

static bool is_too_many(struct cleaning *cleaning, const struct good *row, unsigned workflow)
{
    int64_t window = floor_div(row->time_us, THROTTLE_S * SIM_SECOND_US);

    if ((window + 1) * THROTTLE_S * SIM_SECOND_US <= row->watermark_us)
        return false;
    for (size_t i = 0; i < cleaning->limited_count; i++)
        if (cleaning->limited[i].window == window && cleaning->limited[i].workflow == workflow)
            return ++cleaning->limited[i].rows > THROTTLE_ROWS;
    cleaning->limited = memory_reserve(cleaning->limited, &cleaning->limited_capacity,
                                       cleaning->limited_count + 1, sizeof *cleaning->limited);
    cleaning->limited[cleaning->limited_count++] =
        (struct memory_entry){.window = window, .workflow = workflow, .rows = 1};
    return false;
}

static uint32_t partition_number(unsigned queue)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, SPAN_LITERAL("events"));
    id_add_text(&builder, SPAN_LITERAL("events"));
    id_add_integer(&builder, queue);
    return (uint32_t)(id_end(&builder).high >> 32);
}

static void tell_letter(struct reference *reference, const char *stage, unsigned queue, const struct row *row)
{
    texts_print(reference->facts, "letter %s %u %lld", stage, queue, (long long)row->offset);
}

static void tell_event(struct reference *reference, const struct good *row)
{
    const struct scenario *scenario = reference->scenario;
    struct event_origin origin = {.pipeline = reference->plan->name,
                                  .source = SPAN_LITERAL("events"),
                                  .topic = SPAN_LITERAL("events"),
                                  .partition = (int32_t)row->queue};
    struct id128 id = event_id(&origin, row->row->offset, 0);
    int64_t every = EVERY_S * SIM_SECOND_US;
    int64_t end = (floor_div(row->time_us, every) + 1) * every;

    if (document_is_poison(scenario, DOC_EVENT, id))
        texts_print(reference->facts, "letter sink");
    else
        texts_print(reference->facts, "event %016llx%016llx", (unsigned long long)id.high,
                    (unsigned long long)id.low);
    if (row->watermark_us >= end && scenario->late == LATE_DEAD_LETTER)
        tell_letter(reference, "late", row->queue, row->row);
}

static void take_row(struct reference *reference, struct cleaning *cleaning, unsigned queue,
                     const struct row *row, int64_t *greatest_us)
{
    const struct scenario *scenario = reference->scenario;
    struct good good = {
        .row = row, .queue = queue, .number = partition_number(queue), .time_us = row->time_us};

    good.watermark_us = *greatest_us == INT64_MIN ? INT64_MIN : *greatest_us - scenario->lateness_us;
    if (row->sort == ROW_BAD)
        tell_letter(reference, "decode", queue, row);
    if (row->sort != ROW_GOOD)
        return;
    if (good.time_us > row->arrival_us + scenario->max_skew_us) {
        if (scenario->skew == SKEW_DEAD_LETTER) {
            tell_letter(reference, "clean", queue, row);
            return;
        }
        good.time_us = row->arrival_us;
    }
    if (good.time_us > *greatest_us)
        *greatest_us = good.time_us;
    good.order_us = good.time_us > good.watermark_us ? good.time_us : good.watermark_us;
    unsigned workflow = reference_workflow(reference, row->workflow);
    reference_beat(reference, &good, "");
    if ((scenario->dedupe && is_duplicate(cleaning, &good)) ||
        (scenario->throttle && is_too_many(cleaning, &good, workflow)))
        return;
    if (row->host[0])
        reference_beat(reference, &good, row->host);
    tell_event(reference, &good);
    reference->rows = memory_reserve(reference->rows, &reference->row_capacity, reference->row_count + 1,
                                     sizeof *reference->rows);
    reference->rows[reference->row_count++] = good;
}

static void take_rows(struct reference *reference)
{
    const struct scenario *scenario = reference->scenario;
    int64_t least = INT64_MAX, greatest = INT64_MIN;

    for (unsigned q = 0; q < scenario->queue_count; q++) {
        struct cleaning cleaning = {0};
        int64_t mine = INT64_MIN;

        for (size_t i = 0; i < scenario->queues[q].count; i++)
            take_row(reference, &cleaning, q, &scenario->queues[q].rows[i], &mine);
        if (mine > greatest)
            greatest = mine;
        if (mine < least)
            least = mine;
        free(cleaning.seen);
        free(cleaning.limited);
    }
    reference->until_us = scenario->live ? least - scenario->lateness_us : greatest;
    reference->heard_us = scenario->live ? reference->until_us : INT64_MAX;
}

static int compare_order(const void *left, const void *right)
{
    const struct good *a = left, *b = right;

    if (a->order_us != b->order_us)
        return a->order_us < b->order_us ? -1 : 1;
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    if (a->row->state != b->row->state)
        return a->row->state < b->row->state ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return (a->row->offset > b->row->offset) - (a->row->offset < b->row->offset);
}

/* The newest transition of the row's run; NULL: none, or it is over for too long to be known. */
static const struct good *find_last(const struct reference *reference, const struct good *row)
{
    const struct good *last = NULL;

    for (size_t t = 0; t < reference->transition_count; t++)
        if (strcmp(reference->transitions[t].row->run, row->row->run) == 0)
            last = &reference->transitions[t];
    if (last && run_state_is_terminal(last->row->state) &&
        last->order_us < row->order_us - reference->scenario->keep_us)
        return NULL;
    return last;
}

/* A terminal state stays; queued does not undo running. */
static void take_transitions(struct reference *reference)
{
    struct good *rows = reference->rows;

    if (reference->row_count)
        qsort(rows, reference->row_count, sizeof *rows, compare_order);
    for (size_t i = 0; i < reference->row_count; i++) {
        if (!rows[i].row->run[0] || rows[i].order_us >= reference->heard_us)
            continue;
        const struct good *last = find_last(reference, &rows[i]);
        enum run_state before = last ? last->row->state : STATE_NONE, after = rows[i].row->state;
        if (run_state_is_terminal(before) || after == before ||
            (before == STATE_RUNNING && after == STATE_QUEUED))
            continue;
        rows[i].started_us = last ? last->started_us : INT64_MAX;
        if (after == STATE_RUNNING)
            rows[i].started_us = rows[i].time_us;
        reference->transitions =
            memory_reserve(reference->transitions, &reference->transition_capacity,
                           reference->transition_count + 1, sizeof *reference->transitions);
        rows[i].version = 0;
        for (size_t t = 0; t < reference->transition_count; t++)
            rows[i].version += strcmp(reference->transitions[t].row->run, rows[i].row->run) == 0;
        reference->transitions[reference->transition_count++] = rows[i];
        texts_print(reference->facts, "run %s %s %s", rows[i].row->workflow, rows[i].row->run,
                    run_state_names[after]);
    }
}

struct total {
    unsigned rows;
    double sum, max;
};

static void add(struct total *total, int value)
{
    total->max = total->rows == 0 || value > total->max ? value : total->max;
    total->sum += value;
    total->rows++;
}

/* The rows of a bucket: those in time for it, and all. */
static void total_of(const struct reference *reference, unsigned measure, const char *workflow,
                     int64_t end_us, struct total *ret_in_time, struct total *ret_all)
{
    const struct good *rows = measures[measure].on_run ? reference->transitions : reference->rows;
    size_t count = measures[measure].on_run ? reference->transition_count : reference->row_count;
    int64_t start_us = end_us - measures[measure].window_s * SIM_SECOND_US;

    *ret_in_time = *ret_all = (struct total){0};
    for (size_t i = 0; i < count; i++) {
        if (rows[i].time_us < start_us || rows[i].time_us >= end_us ||
            strcmp(rows[i].row->workflow, workflow) != 0 ||
            (measures[measure].on_run && rows[i].row->state != STATE_SUCCESS))
            continue;
        add(ret_all, rows[i].row->value);
        if (rows[i].watermark_us < end_us)
            add(ret_in_time, rows[i].row->value);
    }
}

void reference_condition(struct reference *reference, unsigned rule, unsigned workflow, int64_t at_us,
                         bool is_true)
{
    struct conditions *conditions = &reference->conditions[rule][workflow];

    if (at_us >= reference->heard_us)
        return;
    conditions->items = memory_reserve(conditions->items, &conditions->capacity, conditions->count + 1,
                                       sizeof *conditions->items);
    conditions->items[conditions->count++] = (struct condition_fact){at_us, is_true};
}

static void tell_bucket(struct reference *reference, unsigned measure, const char *workflow, int64_t end_us,
                        const struct total *total)
{
    char start[TIME_TEXT_SIZE];

    time_format(end_us - measures[measure].window_s * SIM_SECOND_US, start);
    if (measures[measure].on_run)
        texts_print(reference->facts, "bucket %s %s %.*s %u", measures[measure].name, workflow,
                    TIME_TEXT_SIZE, start, total->rows);
    else
        texts_print(reference->facts, "bucket %s %s %.*s %u %.12g %.12g", measures[measure].name, workflow,
                    TIME_TEXT_SIZE, start, total->rows, total->sum, total->max);
}

/* One series of `load`, as the detector and the bucket rule see it. */
struct watch {
    void *state;
    struct backend_state backend;
    int64_t last_end_us;
    bool heavy_told, odd_told;
};

static bool judge_odd(const struct reference *reference, struct watch *watch, int64_t end_us, double sum)
{
    const struct plan_detector *detector = &reference->plan->detectors[0];
    int64_t every = EVERY_S * SIM_SECOND_US;
    uint32_t slot = 0, gap = watch->last_end_us ? (uint32_t)((end_us - watch->last_end_us) / every - 1) : 0;
    struct bucket_batch batch = {.rows = 1, .value = &sum, .gap = &gap, .slot = &slot, .bucket_us = every};
    struct opinion opinion;
    struct signal signal = {0};

    detector->type->score(detector->settings, watch->state, &batch, detector->empty, &opinion);
    backend_judge(&detector->backend, &watch->backend, every, end_us, sum, &opinion, &signal);
    watch->last_end_us = end_us;
    return signal.anomaly;
}

static void watch_bucket(struct reference *reference, struct watch *watch, unsigned workflow, int64_t end_us,
                         const struct total *total)
{
    bool heavy = total->sum >= HEAVY_SUM, odd = false;

    if (total->rows)
        odd = judge_odd(reference, watch, end_us, total->sum);
    if ((total->rows || watch->heavy_told) && (heavy || watch->heavy_told))
        reference_condition(reference, RULE_HEAVY, workflow, end_us, heavy);
    if ((total->rows || watch->odd_told) && (odd || watch->odd_told))
        reference_condition(reference, RULE_ODD, workflow, end_us, odd);
    watch->heavy_told = heavy;
    watch->odd_told = odd;
}

static void take_buckets(struct reference *reference, unsigned measure, unsigned workflow)
{
    int64_t every = EVERY_S * SIM_SECOND_US;
    int64_t first = reference->scenario->start_us - 600 * SIM_SECOND_US;
    struct watch watch = {.state = memory_new(reference->plan->detectors[0].state_size)};

    for (int64_t end = first - first % every; end <= reference->until_us; end += every) {
        const char *name = reference->workflows[workflow];
        struct total in_time, all;

        total_of(reference, measure, name, end, &in_time, &all);
        if (reference->scenario->late == LATE_CORRECT && all.rows)
            tell_bucket(reference, measure, name, end, &all);
        else if (in_time.rows)
            tell_bucket(reference, measure, name, end, &in_time);
        if (measure == 0)
            watch_bucket(reference, &watch, workflow, end, &in_time);
    }
    free(watch.state);
}

struct episode {
    bool open, firing, kept;
    unsigned revision;
    int64_t since_us, due_us;
    bool due_is_end; /* the condition has ended, and the time it is kept for */
};

static void tell_alert(struct reference *reference, unsigned rule, unsigned workflow, struct episode *episode,
                       const char *state, int64_t at_us, const char *reason)
{
    char at[TIME_TEXT_SIZE];

    time_format(at_us, at);
    texts_print(reference->facts, "alert %s %s %s %u %.*s %s", rules[rule].name,
                reference->workflows[workflow], state, episode->revision++, TIME_TEXT_SIZE, at, reason);
}

static void end_due(struct reference *reference, unsigned rule, unsigned workflow, struct episode *episode,
                    int64_t before_us)
{
    if (!episode->open || episode->due_us >= before_us)
        return;
    tell_alert(reference, rule, workflow, episode, "resolved", episode->due_us,
               episode->due_is_end ? "condition" : "expired");
    *episode = (struct episode){0};
}

static void apply_condition(struct reference *reference, unsigned rule, unsigned workflow,
                            struct episode *episode, const struct condition_fact *condition,
                            const struct condition_fact *next)
{
    int64_t at = condition->at_us, keep = rules[rule].keep_s * SIM_SECOND_US;

    if (!condition->is_true) {
        if (!episode->open || episode->kept)
            return;
        if (episode->firing && keep) {
            episode->kept = episode->due_is_end = true;
            episode->due_us = at + keep;
            return;
        }
        if (episode->since_us == at && next && next->at_us == at)
            return;
        tell_alert(reference, rule, workflow, episode, "resolved", at, "condition");
        *episode = (struct episode){0};
        return;
    }
    if (!episode->open) {
        *episode = (struct episode){.open = true, .since_us = at};
        if (rules[rule].for_s)
            tell_alert(reference, rule, workflow, episode, "pending", at, "condition");
    }
    episode->kept = episode->due_is_end = false;
    if (!episode->firing && at - episode->since_us >= rules[rule].for_s * SIM_SECOND_US) {
        episode->firing = true;
        tell_alert(reference, rule, workflow, episode, "firing", at, "condition");
    }
    episode->due_us = at + (rules[rule].momentary  ? keep
                            : rule >= RULE_FAILURE ? WATCH_EXPIRE_S * SIM_SECOND_US
                                                   : EXPIRE_S * SIM_SECOND_US);
}

static int compare_conditions(const void *left, const void *right)
{
    const struct condition_fact *a = left, *b = right;

    return (a->at_us > b->at_us) - (a->at_us < b->at_us);
}

static void take_alerts(struct reference *reference, unsigned rule, unsigned workflow)
{
    struct conditions *conditions = &reference->conditions[rule][workflow];
    struct episode episode = {0};

    /* those of runs come in their own order already, which decides between equal times */
    if (conditions->count && rule == RULE_FAILED)
        qsort(conditions->items, conditions->count, sizeof *conditions->items, compare_conditions);
    for (size_t i = 0; i < conditions->count; i++) {
        end_due(reference, rule, workflow, &episode, conditions->items[i].at_us);
        apply_condition(reference, rule, workflow, &episode, &conditions->items[i],
                        i + 1 < conditions->count ? &conditions->items[i + 1] : NULL);
    }
    end_due(reference, rule, workflow, &episode, reference->until_us + !reference->scenario->live);
    free(conditions->items);
}

/* Conditions of equal time are taken by partition, offset. */
static int compare_places(const void *left, const void *right)
{
    const struct good *a = left, *b = right;

    if (a->order_us != b->order_us)
        return a->order_us < b->order_us ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return (a->row->offset > b->row->offset) - (a->row->offset < b->row->offset);
}

static void take_row_conditions(struct reference *reference)
{
    for (size_t i = 0; i < reference->row_count; i++)
        if (reference->rows[i].row->state == STATE_FAILED)
            reference_condition(reference, RULE_FAILED,
                                reference_workflow(reference, reference->rows[i].row->workflow),
                                reference->rows[i].order_us, true);
    if (reference->transition_count)
        qsort(reference->transitions, reference->transition_count, sizeof *reference->transitions,
              compare_places);
    for (size_t i = 0; i < reference->transition_count; i++) {
        const struct good *row = &reference->transitions[i];

        if (run_state_is_terminal(row->row->state))
            reference_condition(reference, RULE_BROKEN, reference_workflow(reference, row->row->workflow),
                                row->order_us, row->row->state == STATE_FAILED);
    }
}

void reference_expect(const struct scenario *scenario, const struct plan *plan, struct expected *ret_expected)
{
    struct reference reference = {.scenario = scenario, .plan = plan, .facts = &ret_expected->facts};

    *ret_expected = (struct expected){0};
    take_rows(&reference);
    take_transitions(&reference);
    if (scenario->watch)
        reference_watch(&reference);
    take_row_conditions(&reference);
    for (unsigned w = 0; w < reference.workflow_count; w++) {
        for (unsigned m = 0; m < MEASURES; m++)
            take_buckets(&reference, m, w);
        for (unsigned r = 0; r < RULES; r++)
            take_alerts(&reference, r, w);
    }
    free(reference.rows);
    free(reference.transitions);
    free(reference.beats);
    texts_sort(&ret_expected->facts);
}

void expected_free(struct expected *expected)
{
    texts_truncate(&expected->facts, 0);
}
