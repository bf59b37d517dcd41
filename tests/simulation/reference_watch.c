/* What the built-in watch must find, one task, source or host after the other. */
#include "tests/simulation/reference_internal.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KNOWN = 5,
    LAST = 50,
    SLOW = 3,
    LATE = 3,
    PAUSES = 5,
    BEATS = 10,
    EXCESS_S = 2,
    PAUSE_S = 300,
    BEAT_S = 30
};

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

static int64_t beat_due(const char *name, int64_t last_us, int64_t longest_us, double mean_us)
{
    double far_us = name[0] ? BEATS * mean_us : (double)(PAUSES * longest_us);
    int64_t least_us = (name[0] ? BEAT_S : PAUSE_S) * SIM_SECOND_US;

    return last_us + (far_us > (double)least_us ? (int64_t)far_us : least_us);
}

struct listening { /* to one source or host */
    int64_t last_us, longest_us, due_us, away_us;
    unsigned count;
    double mean_us;
    bool away;
};

static void take_beat(struct listening *now, const struct beat *beat)
{
    int64_t interval_us = now->last_us ? beat->order_us - now->last_us : 0;

    if (interval_us > now->longest_us)
        now->longest_us = interval_us;
    if (interval_us > 0 && !now->away) {
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
        }
        now.due_us = INT64_MAX;
        if (beat->is_offline) {
            reference_condition(reference, rule, workflow, beat->order_us, true);
            now.away = true;
            now.away_us = beat->order_us;
            continue;
        }
        take_beat(&now, beat);
        if (now.away && name[0] && beat->order_us - SIM_SECOND_US < now.away_us)
            continue;
        if (now.away) {
            reference_condition(reference, rule, workflow, beat->order_us, false);
            now.away_us = beat->order_us;
        }
        now.away = false;
        now.last_us = beat->order_us;
        now.due_us = beat_due(name, now.last_us, now.longest_us, now.mean_us);
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
    unsigned count, overdue;
    double mean_us;
    int64_t longest_us;
    bool slow, failed;
};

static struct id128 id_of_run(const struct reference *reference, const struct row *row)
{
    struct run_record record = {.source = SPAN_LITERAL("events"),
                                .workflow = span_of(row->workflow),
                                .run = span_of(row->run),
                                .map_index = INT32_MIN};

    return run_id(reference->plan->name, &record);
}

static int64_t attempt_due(const struct task *task, const struct attempt *attempt, int64_t now_us)
{
    int64_t run_us = now_us - attempt->since_us, far_us = LATE * task->longest_us;

    if (task->count < KNOWN)
        return now_us + (run_us > EXCESS_S * SIM_SECOND_US ? run_us : EXCESS_S * SIM_SECOND_US);
    if (far_us < task->longest_us + EXCESS_S * SIM_SECOND_US)
        far_us = task->longest_us + EXCESS_S * SIM_SECOND_US;
    return attempt->since_us + far_us;
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
        if (task->overdue++ == 0)
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
    double run_us = (double)(word->time_us - word->started_us) / 1000.0 * 1000;
    bool slow = task->count >= KNOWN && run_us > SLOW * task->mean_us &&
                run_us > task->mean_us + (double)(EXCESS_S * SIM_SECOND_US);

    if (word->time_us < word->started_us)
        return;
    if (slow || task->slow)
        reference_condition(reference, RULE_SLOW, workflow, word->order_us, slow);
    task->slow = slow;
    task->count++;
    task->mean_us += (run_us - task->mean_us) / (task->count < LAST ? task->count : LAST);
    if (run_us > (double)task->longest_us)
        task->longest_us = (int64_t)run_us;
}

static void apply_word(struct reference *reference, unsigned workflow, struct task *task,
                       const struct good *word)
{
    enum run_state state = word->row->state;

    end_attempt(reference, workflow, task, word);
    if (state == STATE_FAILED || (state == STATE_SUCCESS && task->failed))
        reference_condition(reference, RULE_FAILURE, workflow, word->order_us, state == STATE_FAILED);
    if (state == STATE_FAILED || state == STATE_SUCCESS)
        task->failed = state == STATE_FAILED;
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

/* Rank of what a transition says to the watch: started, failed, succeeded. */
static int word_rank(const struct good *word)
{
    return word->row->state == STATE_RUNNING ? 0 : word->row->state == STATE_FAILED ? 1 : 2;
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

static void watch_task(struct reference *reference, unsigned workflow)
{
    struct word *words = memory_new((reference->transition_count + 1) * sizeof *words);
    struct task task = {.attempts = memory_new((reference->transition_count + 1) * sizeof *task.attempts)};
    size_t count = 0;

    for (size_t i = 0; i < reference->transition_count; i++) {
        const struct good *row = &reference->transitions[i];

        if (strcmp(row->row->workflow, reference->workflows[workflow]) == 0 &&
            row->row->state != STATE_QUEUED)
            words[count++] = (struct word){row, id_of_run(reference, row->row)};
    }
    if (count)
        qsort(words, count, sizeof *words, compare_words);
    for (size_t i = 0; i < count; i++) {
        look_before(reference, workflow, &task, words[i].row->order_us);
        apply_word(reference, workflow, &task, words[i].row);
    }
    look_before(reference, workflow, &task, INT64_MAX);
    free(task.attempts);
    free(words);
}

void reference_watch(struct reference *reference)
{
    unsigned workflows = reference->workflow_count;

    for (unsigned w = 0; w < workflows; w++)
        watch_task(reference, w);
    if (reference->beat_count)
        qsort(reference->beats, reference->beat_count, sizeof *reference->beats, compare_beats);
    watch_beats(reference, "", "source:events");
    watch_beats(reference, "h0", "host:h0");
    watch_beats(reference, "h1", "host:h1");
}
