/* Runs that do not come: of workflows with a declared schedule, and of those that start at regular intervals.
 * Where intervals are irregular, as of arrivals by chance, the limit is far away and watch_volume tells
 * instead. */
#include "pipeline/watch_level.h"
#include "pipeline/watch_signal.h"

#include <math.h>

static const double least_factor = 1.1, least_excess_s = 30; /* of the usual interval, and so much later */
static const double prior = .02;
static const double most_factor = 4; /* beyond it is not regular */

enum { EARLY_US = 60 * SECOND_US };

struct missing {
    struct watch_level intervals;
    int64_t last_us;
};

/* NULL: it has none. */
static const struct plan_schedule *schedule_of(const struct watch_scene *scene, struct span workflow)
{
    const struct plan *plan = scene->watch->plan;

    for (unsigned i = 0; i < plan->schedule_count; i++)
        if (span_is(workflow, plan->schedules[i].workflow))
            return &plan->schedules[i];
    return NULL;
}

/* A run that starts a little early is that of the schedule. */
static int64_t schedule_due(const struct plan_schedule *schedule, int64_t last_us)
{
    int64_t next_us = cron_next(&schedule->cron, schedule->zone, last_us + EARLY_US);

    return next_us == INT64_MAX ? INT64_MAX : next_us + schedule->grace_us;
}

static int64_t missing_due(const struct watch_scene *scene, const struct missing *state)
{
    const struct plan_schedule *schedule = schedule_of(scene, scene->word->texts[WATCH_WORKFLOW]);
    double usual_s = watch_level_usual(&state->intervals),
           limit_s = watch_level_limit(&state->intervals, prior);
    int64_t passed_us = scene->watch->passed_us;

    if (schedule) {
        int64_t due_us = schedule_due(schedule, state->last_us);

        return due_us > passed_us ? due_us : passed_us;
    }
    if (!watch_level_known(&state->intervals) || limit_s > most_factor * usual_s)
        return INT64_MAX;
    limit_s = fmax(limit_s, fmax(least_factor * usual_s, usual_s + least_excess_s));
    int64_t due_us = state->last_us + (int64_t)(limit_s * SECOND_US);
    return due_us > passed_us ? due_us : passed_us;
}

static void take_start(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;

    if (!id_equal(word->key, word->group) || word->is_child || word->attempt > 1)
        return;
    struct watch_entry *entry = watch_open(scene, word->key);
    struct missing *state = (struct missing *)entry->state;
    double interval_s = (double)(word->order_us - state->last_us) / SECOND_US;

    if (state->last_us && interval_s > 0)
        watch_level_add(&state->intervals, prior, interval_s, scene->now_us);
    if (word->order_us > state->last_us)
        state->last_us = word->order_us;
    watch_tell_end(scene, entry, (struct watch_finding){.actual = NAN});
    watch_wake(scene, entry, missing_due(scene, state));
}

static void tell_missing(struct watch_scene *scene, struct watch_entry *entry)
{
    const struct missing *state = (const struct missing *)entry->state;
    const struct plan_schedule *schedule = schedule_of(scene, entry->texts[WATCH_WORKFLOW]);

    if (schedule) {
        watch_tell(scene, entry,
                   (struct watch_finding){.actual = NAN,
                                          .error = span_of(schedule->cron_text),
                                          .summary = "no run of {{target}} at the time of its schedule, "
                                                     "{{error}}"});
        return;
    }
    watch_tell(scene, entry,
               (struct watch_finding){.actual = (double)(scene->now_us - state->last_us) / SECOND_US,
                                      .usual = watch_level_usual(&state->intervals),
                                      .unit = "s",
                                      .count = state->intervals.pace.count,
                                      .summary = "no run of {{target}} for {{actual}}; usually every "
                                                 "{{usual}}"});
}

static bool missing_sound(const void *bytes)
{
    const struct missing *state = bytes;

    return watch_level_sound(&state->intervals) && state->last_us >= 0 && state->last_us < INT64_MAX / 4;
}

const struct watch_signal watch_signal_missing = {
    .rule = {"watch_missing", ALERT_MISSING, SEVERITY_ERROR, .rests = true},
    .words = 1u << WORD_STARTED,
    .key = WATCH_KEY_WORKFLOW,
    .size = sizeof(struct missing),
    .version = 1,
    .take = take_start,
    .due = tell_missing,
    .sound = missing_sound,
};
