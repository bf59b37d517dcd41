/* Volume: runs of a workflow that arrive, and lines that a task logs: many more than usual, or many fewer. */
#include "pipeline/watch_level.h"
#include "pipeline/watch_signal.h"

#include <math.h>

extern const struct watch_signal watch_signal_volume, watch_signal_log_volume;

struct arrivals {
    struct watch_flow flow;
    int8_t told; /* 1: surge, -1: drop */
};

static void judge_arrivals(struct watch_scene *scene, struct watch_entry *entry, int verdict)
{
    struct arrivals *state = (struct arrivals *)entry->state;
    struct watch_finding finding = {
        .actual = NAN,
        .usual = watch_flow_usual(&state->flow),
        .unit = "in 10 s",
        .count = state->flow.seen,
        .summary = verdict > 0 ? "many more runs of {{target}} than usual, which is {{usual}}"
                               : "many fewer runs of {{target}} than usual, which is {{usual}}"};

    if (verdict && !entry->told)
        watch_tell(scene, entry, finding);
    else if (!verdict && state->flow.up <= 0 && state->flow.down <= 0)
        watch_tell_end(scene, entry, finding);
}

static void add_arrivals(struct watch_scene *scene, struct watch_entry *entry, uint32_t count)
{
    struct arrivals *state = (struct arrivals *)entry->state;
    int64_t passed_us = scene->watch->passed_us;

    judge_arrivals(scene, entry, watch_flow_add(&state->flow, count, scene->now_us));
    int64_t due_us = entry->told ? INT64_MAX : watch_flow_due(&state->flow);
    watch_wake(scene, entry, due_us > passed_us ? due_us : passed_us);
}

/* The first word of a run that nobody but its schedule, or chance, has started: how many of the others come
 * follows from it. */
static void take_arrival(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;

    if (!word->is_first || word->is_child || word->attempt > 1 || !id_equal(word->key, word->group))
        return;
    add_arrivals(scene, watch_open(scene, word->key), 1);
}

static void miss_arrivals(struct watch_scene *scene, struct watch_entry *entry)
{
    add_arrivals(scene, entry, 0);
}

static bool arrivals_sound(const void *bytes)
{
    return watch_flow_sound(&((const struct arrivals *)bytes)->flow);
}

const struct watch_signal watch_signal_volume = {
    .rule = {"watch_volume", ALERT_VOLUME, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_QUEUED | 1u << WORD_STARTED,
    .key = WATCH_KEY_WORKFLOW,
    .size = sizeof(struct arrivals),
    .version = 1,
    .take = take_arrival,
    .due = miss_arrivals,
    .sound = arrivals_sound,
};

/* Lines: of the buckets in which there were any. */

static const double least_factor = 3, least_excess = 20, prior = .2; /* of what is usual, and so many more */

struct lines {
    struct watch_level level;
    int64_t bucket_us;
    double count;
};

static void judge_lines(struct watch_scene *scene, struct watch_entry *entry)
{
    struct lines *state = (struct lines *)entry->state;
    double usual = watch_level_usual(&state->level);
    struct watch_finding finding = {.actual = state->count,
                                    .usual = usual,
                                    .unit = "lines",
                                    .count = state->level.pace.count,
                                    .summary = "{{target}} logged {{actual}} in half a minute; usually "
                                               "{{usual}}"};
    bool is_high = watch_level_add(&state->level, prior, state->count, scene->now_us) > 0;

    if (is_high && state->count > least_factor * usual && state->count > usual + least_excess)
        watch_tell(scene, entry, finding);
    else
        watch_tell_end(scene, entry, finding);
    state->count = 0;
}

static void take_lines(struct watch_scene *scene)
{
    struct watch_entry *entry = watch_open(scene, scene->word->key);
    struct lines *state = (struct lines *)entry->state;

    state->count += scene->word->count;
    if (entry->due_us == INT64_MAX)
        watch_wake(scene, entry, scene->word->order_us);
}

const struct watch_signal watch_signal_log_volume = {
    .rule = {"watch_log_volume", ALERT_VOLUME, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_LINES,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct lines),
    .version = 1,
    .take = take_lines,
    .due = judge_lines,
    .sound = NULL,
};
