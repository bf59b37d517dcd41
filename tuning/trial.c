/* The same steps as pipeline/windows.c (gap, score), judge.c (condition) and alerts/lifecycle.c (for, keep
 * firing, expiry); a test holds them to the alerts of a replay. */
#include "tuning/trial.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* The alert of one series that is open or pending. */
struct episode {
    struct trial_alert alert;
    bool open, firing, kept; /* kept: the condition has ended, the alert goes on */
    int64_t heard_us;
};

struct course {
    const struct trial_settings *settings;
    struct episode episode;
    struct trial_alerts *alerts;
    bool told; /* the condition's last word was true */
};

static void add_alert(struct trial_alerts *alerts, const struct trial_alert *alert)
{
    alerts->items =
        memory_reserve(alerts->items, &alerts->capacity, alerts->count + 1, sizeof *alerts->items);
    alerts->items[alerts->count++] = *alert;
}

static void end_episode(struct course *course)
{
    if (course->episode.firing)
        add_alert(course->alerts, &course->episode.alert);
    course->episode = (struct episode){.open = false};
}

/* What fell due before the time: a kept alert ends, one of which nothing is heard expires. */
static void pass_time(struct course *course, int64_t at_us)
{
    const struct trial_settings *settings = course->settings;
    const struct episode *episode = &course->episode;
    int64_t most_us = episode->kept ? settings->keep_firing_us : settings->expire_us;

    if (episode->open && (episode->kept || most_us > 0) && at_us - episode->heard_us > most_us)
        end_episode(course);
}

static void take_true(struct course *course, uint32_t series, int64_t at_us, const struct signal *signal)
{
    struct episode *episode = &course->episode;

    if (!episode->open)
        *episode = (struct episode){.open = true, .alert = {.series = series, .starts_us = at_us}};
    if (!episode->firing && at_us - episode->alert.starts_us >= course->settings->for_us) {
        episode->firing = true;
        episode->alert.at_us = at_us;
        episode->alert.score = signal->score;
        episode->alert.probability = signal->probability;
    }
    episode->kept = false;
    episode->alert.ends_us = episode->heard_us = at_us;
}

static void take_false(struct course *course, int64_t at_us)
{
    struct episode *episode = &course->episode;

    if (!episode->open || episode->kept)
        return;
    if (episode->firing && course->settings->keep_firing_us > 0) {
        episode->kept = true;
        episode->heard_us = at_us;
        return;
    }
    end_episode(course);
}

static void take_condition(struct course *course, uint32_t series, int64_t at_us, bool is_true,
                           const struct signal *signal)
{
    if (!is_true && !course->told)
        return;
    course->told = is_true;
    pass_time(course, at_us);
    if (is_true)
        take_true(course, series, at_us, signal);
    else
        take_false(course, at_us);
}

static size_t first_row_after(const struct history_series *series, int64_t time_us)
{
    size_t low = 0, high = series->rows;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (series->end_us[middle] > time_us)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void trial_run_series(const struct history *history, const struct trial_settings *settings, uint32_t number,
                      const struct trial_range *range, trial_visit *visit, void *owner,
                      struct trial_alerts *ret_alerts)
{
    const struct history_series *series = &history->series[number];
    int64_t bucket_us = history->measure->shape.every_us;
    struct course course = {.settings = settings, .alerts = ret_alerts};
    struct backend_state backend = {0};
    void *state = memory_new(settings->type->state_size(settings->settings, bucket_us));
    size_t hot_size = detector_hot_size(settings->type, settings->settings, bucket_us);
    void *hot = hot_size ? memory_new(hot_size) : NULL; /* lent to each series, as where there is room */
    size_t first = first_row_after(series, range->from_us);

    for (size_t i = first; i < series->rows && series->end_us[i] <= range->to_us; i++) {
        int64_t steps = i == first ? 1 : (series->end_us[i] - series->end_us[i - 1]) / bucket_us;
        uint32_t slot = 0, gap = steps <= 1 ? 0 : steps > UINT32_MAX ? UINT32_MAX : (uint32_t)(steps - 1);
        struct bucket_batch batch = {.rows = 1,
                                     .value = &series->value[i],
                                     .gap = &gap,
                                     .slot = &slot,
                                     .bucket_us = bucket_us,
                                     .hot = &hot};
        struct opinion opinion;
        struct signal signal;

        if (gap && !isnan(settings->empty)) /* an empty bucket counts, so it ends the condition */
            take_condition(&course, number, series->end_us[i - 1] + bucket_us, false, NULL);
        settings->type->score(settings->settings, state, &batch, settings->empty, &opinion);
        backend_judge(settings->backend, &backend, bucket_us, series->end_us[i], series->value[i], &opinion,
                      &signal);
        take_condition(&course, number, series->end_us[i], signal.anomaly, &signal);
        if (visit)
            visit(owner, number, i, &signal);
    }
    end_episode(&course);
    free(state);
    free(hot);
}

bool trial_run(const struct history *history, const struct trial_settings *settings,
               const struct trial_range *range, trial_visit *visit, void *owner,
               struct trial_alerts *ret_alerts)
{
    ret_alerts->count = 0;
    if (settings->type->state_size(settings->settings, history->measure->shape.every_us) == 0)
        return false;
    assert(history->count <= HISTORY_SERIES_MAX);
    for (uint32_t i = 0; i < history->count; i++)
        trial_run_series(history, settings, i, range, visit, owner, ret_alerts);
    return true;
}
