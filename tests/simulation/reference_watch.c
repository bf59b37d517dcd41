/* What the built-in watch must find, one task, source or host after the other. */
#include "tests/simulation/reference_internal.h"

#include "base/memory.h"
#include "pipeline/watch_level.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAST = 50, PAUSES = 5, HEARD = 10, BEATS = 10, PAUSE_S = 300, BEAT_S = 30 };
static const double slow = 2, excess_s = 1, late = 1.1, late_s = 30, regular = 4, share = .01, lone_a_day = 1,
                    of_durations = .2, of_intervals = .02;

void reference_beat(struct reference *reference, const struct good *row, const char *name)
{
    struct beat *beat;

    reference->beats = memory_reserve(reference->beats, &reference->beat_capacity, reference->beat_count + 1,
                                      sizeof *reference->beats);
    beat = &reference->beats[reference->beat_count++];
    *beat = (struct beat){.order_us = row->order_us, .is_offline = name[0] && row->row->is_offline};
    snprintf(beat->name, sizeof beat->name, "%s", name);
    if (!beat->is_offline) /* a word a second, at its end */
        beat->order_us = (floor_div(row->order_us, SIM_SECOND_US) + 1) * SIM_SECOND_US;
}

/* What falls due at the end of the input still comes. */
static bool comes(const struct reference *reference, int64_t due_us)
{
    return due_us < reference->heard_us && (reference->scenario->live || due_us <= reference->until_us);
}

static int compare_beats(const void *left, const void *right)
{
    const struct beat *a = left, *b = right;

    if (a->order_us != b->order_us)
        return a->order_us < b->order_us ? -1 : 1;
    return a->is_offline - b->is_offline;
}

struct listening { /* to one source or host */
    int64_t last_us, longest_us, due_us, away_us;
    unsigned count;
    double mean_us;
    int64_t offline_us;
    bool away, offline;
};

static int64_t beat_due(const char *name, const struct listening *now)
{
    double far_us = name[0] ? BEATS * now->mean_us : (double)(PAUSES * now->longest_us);
    int64_t least_us = (name[0] ? BEAT_S : PAUSE_S) * SIM_SECOND_US;

    if (now->count < (name[0] ? 1 : HEARD - 1))
        return INT64_MAX;
    return now->last_us + (far_us > (double)least_us ? (int64_t)far_us : least_us);
}

static void take_beat(struct listening *now, const struct beat *beat)
{
    int64_t interval_us = now->last_us ? beat->order_us - now->last_us : 0;

    if (interval_us > 0 && !now->away && !now->offline) {
        if (interval_us > now->longest_us)
            now->longest_us = interval_us;
        now->count++;
        now->mean_us += ((double)interval_us - now->mean_us) / (now->count < LAST ? now->count : LAST);
    }
}

static void watch_beats(struct reference *reference, const char *name, const char *target)
{
    unsigned workflow = reference_workflow(reference, target), rule = name[0] ? RULE_BEAT : RULE_SILENCE;
    struct listening now = {.due_us = INT64_MAX};

    for (size_t i = 0; i < reference->beat_count; i++) {
        const struct beat *beat = &reference->beats[i];

        if (strcmp(beat->name, name) != 0 || beat->order_us >= reference->heard_us)
            continue;
        if (now.due_us < beat->order_us && comes(reference, now.due_us)) {
            reference_condition(reference, rule, workflow, now.due_us, true);
            now.away = true;
            now.away_us = now.due_us;
            now.due_us = INT64_MAX;
        }
        if (beat->is_offline) {
            now.offline = true;
            now.offline_us = beat->order_us;
            now.due_us = now.away ? INT64_MAX : beat->order_us + BEAT_S * SIM_SECOND_US;
            continue;
        }
        if (now.offline && beat->order_us - SIM_SECOND_US < now.offline_us)
            continue;
        take_beat(&now, beat);
        if (now.away && name[0] && beat->order_us - SIM_SECOND_US < now.away_us)
            continue;
        if (now.away) {
            reference_condition(reference, rule, workflow, beat->order_us, false);
            now.away_us = beat->order_us;
        }
        now.away = now.offline = false;
        now.last_us = beat->order_us;
        now.due_us = beat_due(name, &now);
    }
    if (now.due_us != INT64_MAX && comes(reference, now.due_us))
        reference_condition(reference, rule, workflow, now.due_us, true);
}

struct attempt {
    const char *run;
    int64_t since_us, due_us;
    bool told;
};

struct task {
    struct attempt *attempts;
    size_t attempt_count;
    unsigned overdue;
    struct watch_level durations;
    struct watch_rate failures;
    bool slow, failed, failing;
};

static struct id128 id_of_run(const struct reference *reference, const struct row *row)
{
    struct run_record record = {.source = SPAN_LITERAL("events"),
                                .workflow = span_of(row->workflow),
                                .run = span_of(row->run),
                                .map_index = INT32_MIN};

    return run_id(reference->plan->name, &record);
}

static int64_t too_long(const struct task *task)
{
    double usual_s = watch_level_usual(&task->durations),
           longest_s = fmax(watch_level_limit(&task->durations, of_durations), slow * usual_s);

    return (int64_t)(SIM_SECOND_US * fmax(longest_s, usual_s + excess_s));
}

static int64_t attempt_due(const struct task *task, const struct attempt *attempt, int64_t now_us)
{
    int64_t run_us = now_us - attempt->since_us;

    if (!watch_level_known(&task->durations))
        return now_us + (run_us > 2 * SIM_SECOND_US ? run_us : 2 * SIM_SECOND_US);
    return attempt->since_us + too_long(task);
}

/* Looks at attempts that are due before it, the first one first. */
static void look_before(struct reference *reference, unsigned workflow, struct task *task, int64_t before_us)
{
    for (;;) {
        struct attempt *first = NULL;

        for (size_t i = 0; i < task->attempt_count; i++) {
            struct attempt *attempt = &task->attempts[i];

            if (attempt->run && (!first || attempt->due_us < first->due_us))
                first = attempt;
        }
        if (!first || first->due_us >= before_us || !comes(reference, first->due_us))
            return;
        int64_t due_us = first->due_us, next_us = attempt_due(task, first, due_us);
        first->due_us = next_us > due_us ? next_us : INT64_MAX;
        if (next_us > due_us)
            continue;
        first->told = true;
        task->overdue++;
        reference_condition(reference, RULE_OVERDUE, workflow, due_us, true);
    }
}

static void end_attempt(struct reference *reference, unsigned workflow, struct task *task,
                        const struct good *word)
{
    for (size_t i = 0; i < task->attempt_count; i++) {
        struct attempt *attempt = &task->attempts[i];

        if (!attempt->run || strcmp(attempt->run, word->row->run) != 0)
            continue;
        if (attempt->told && --task->overdue == 0)
            reference_condition(reference, RULE_OVERDUE, workflow, word->order_us, false);
        attempt->run = NULL;
    }
}

static void learn_success(struct reference *reference, unsigned workflow, struct task *task,
                          const struct good *word)
{
    double run_s = (double)(word->time_us - word->started_us) / 1000.0 / 1000,
           usual_s = watch_level_usual(&task->durations);

    if (word->time_us < word->started_us)
        return;
    bool is_high = watch_level_add(&task->durations, of_durations, run_s, word->order_us) > 0,
         is_slow = is_high && run_s > slow * usual_s && run_s > usual_s + excess_s;
    if (is_slow || task->slow)
        reference_condition(reference, RULE_SLOW, workflow, word->order_us, is_slow);
    task->slow = is_slow;
}

/* The rate is as it was before the word. */
static void take_failure(struct reference *reference, unsigned workflow, struct task *task,
                         const struct good *word)
{
    double lone = watch_pace_day(&task->failures.pace) * watch_rate_usual(&task->failures, share);
    bool has_failed = word->row->state == STATE_FAILED;

    if (has_failed && (task->failed || task->failures.pace.count == 0 || lone < lone_a_day)) {
        reference_condition(reference, RULE_FAILURE, workflow, word->order_us, true);
        task->failed = true;
    } else if (!has_failed && task->failed) {
        reference_condition(reference, RULE_FAILURE, workflow, word->order_us, false);
        task->failed = false;
    }
    bool is_high = watch_rate_add(&task->failures, has_failed, share, word->order_us);
    if (is_high && has_failed) {
        reference_condition(reference, RULE_FAILING, workflow, word->order_us, true);
        task->failing = true;
    } else if (task->failing && task->failures.sum == 0) {
        reference_condition(reference, RULE_FAILING, workflow, word->order_us, false);
        task->failing = false;
    }
}

static void apply_word(struct reference *reference, unsigned workflow, struct task *task,
                       const struct good *word)
{
    enum run_state state = word->row->state;

    end_attempt(reference, workflow, task, word);
    if (state == STATE_FAILED || state == STATE_SUCCESS)
        take_failure(reference, workflow, task, word);
    if (state == STATE_SUCCESS)
        learn_success(reference, workflow, task, word);
    if (state == STATE_RUNNING) {
        struct attempt *attempt = &task->attempts[task->attempt_count++];

        *attempt = (struct attempt){.run = word->row->run, .since_us = word->time_us};
        attempt->due_us = attempt_due(task, attempt, word->order_us);
        if (attempt->due_us < word->order_us)
            attempt->due_us = word->order_us;
    }
}

/* Rank of what a transition says to the watch: queued, started, failed, succeeded. */
static int word_rank(const struct good *word)
{
    enum run_state state = word->row->state;

    return state == STATE_QUEUED ? 0 : state == STATE_RUNNING ? 1 : state == STATE_FAILED ? 2 : 3;
}

struct word {
    const struct good *row;
    struct id128 id;
};

static int compare_words(const void *left, const void *right)
{
    const struct word *a = left, *b = right;
    int rank = word_rank(a->row) - word_rank(b->row);

    if (a->row->order_us != b->row->order_us)
        return a->row->order_us < b->row->order_us ? -1 : 1;
    if (a->row->version != b->row->version)
        return a->row->version < b->row->version ? -1 : 1;
    if (rank)
        return rank;
    return ((int64_t)a->id.high > (int64_t)b->id.high) - ((int64_t)a->id.high < (int64_t)b->id.high);
}

static void watch_task(struct reference *reference, unsigned workflow, const struct word *words, size_t count)
{
    struct task task = {.attempts = memory_new((count + 1) * sizeof *task.attempts)};

    for (size_t i = 0; i < count; i++) {
        if (words[i].row->row->state == STATE_QUEUED)
            continue;
        look_before(reference, workflow, &task, words[i].row->order_us);
        apply_word(reference, workflow, &task, words[i].row);
    }
    look_before(reference, workflow, &task, INT64_MAX);
    free(task.attempts);
}

static int64_t missing_due(const struct watch_level *intervals, int64_t last_us)
{
    double usual_s = watch_level_usual(intervals), limit_s = watch_level_limit(intervals, of_intervals);

    if (!watch_level_known(intervals) || limit_s > regular * usual_s)
        return INT64_MAX;
    limit_s = fmax(limit_s, fmax(late * usual_s, usual_s + late_s));
    return last_us + (int64_t)(limit_s * SIM_SECOND_US);
}

static void watch_starts(struct reference *reference, unsigned workflow, const struct word *words,
                         size_t count)
{
    struct watch_level intervals = {0};
    int64_t last_us = 0, due_us = INT64_MAX;
    bool missing = false;

    for (size_t i = 0; i <= count; i++) {
        const struct good *row = i < count ? words[i].row : NULL;

        if (row && row->row->state != STATE_RUNNING)
            continue;
        if (due_us < (row ? row->order_us : INT64_MAX) && comes(reference, due_us)) {
            reference_condition(reference, RULE_MISSING, workflow, due_us, true);
            missing = true;
        }
        if (!row)
            return;
        if (last_us && row->order_us > last_us)
            watch_level_add(&intervals, of_intervals, (double)(row->order_us - last_us) / SIM_SECOND_US,
                            row->order_us);
        if (row->order_us > last_us)
            last_us = row->order_us;
        if (missing)
            reference_condition(reference, RULE_MISSING, workflow, row->order_us, false);
        missing = false;
        due_us = missing_due(&intervals, last_us);
    }
}

static void watch_arrivals(struct reference *reference, unsigned workflow, const struct word *words,
                           size_t count)
{
    struct watch_flow flow = {0};
    int64_t due_us = INT64_MAX;
    bool told = false;

    for (size_t i = 0; i <= count;) {
        const struct good *row = i < count ? words[i].row : NULL;
        bool is_due = due_us < (row ? row->order_us : INT64_MAX);

        if (!is_due && row && (row->version > 0 || word_rank(row) > 1)) {
            i++;
            continue;
        }
        if ((is_due && !comes(reference, due_us)) || (!is_due && !row))
            return;
        int64_t now_us = is_due ? due_us : row->order_us;
        int verdict = watch_flow_add(&flow, !is_due, now_us);
        if ((verdict && !told) || (!verdict && told && flow.up <= 0 && flow.down <= 0)) {
            told = verdict;
            reference_condition(reference, RULE_VOLUME, workflow, now_us, told);
        }
        due_us = told ? INT64_MAX : watch_flow_due(&flow);
        i += !is_due;
    }
}

static void watch_workflow(struct reference *reference, unsigned workflow)
{
    struct word *words = memory_new((reference->transition_count + 1) * sizeof *words);
    size_t count = 0;

    for (size_t i = 0; i < reference->transition_count; i++) {
        const struct good *row = &reference->transitions[i];

        if (strcmp(row->row->workflow, reference->workflows[workflow]) == 0)
            words[count++] = (struct word){row, id_of_run(reference, row->row)};
    }
    if (count)
        qsort(words, count, sizeof *words, compare_words);
    watch_task(reference, workflow, words, count);
    watch_starts(reference, workflow, words, count);
    watch_arrivals(reference, workflow, words, count);
    free(words);
}

void reference_watch(struct reference *reference)
{
    unsigned workflows = reference->workflow_count;

    for (unsigned w = 0; w < workflows; w++)
        watch_workflow(reference, w);
    if (reference->beat_count)
        qsort(reference->beats, reference->beat_count, sizeof *reference->beats, compare_beats);
    watch_beats(reference, "", "source:events");
    watch_beats(reference, "h0", "host:h0");
    watch_beats(reference, "h1", "host:h1");
}
