/* Runs and attempts that took, or still take, much longer than usual. */
#include "pipeline/watch_level.h"
#include "pipeline/watch_signal.h"

#include <math.h>

static const double least_factor = 2, least_excess_s = 1; /* of what is usual, and so much longer */
static const double prior = .2;
#define LONGEST_US ((int64_t)SECOND_US * 86400 * 36500) /* what is longer is no duration */

extern const struct watch_signal watch_signal_duration, watch_signal_overdue;

static double seconds(double us)
{
    return us / SECOND_US;
}

static void take_duration(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    double run_s = word->duration_ms / 1000;

    if (!(run_s >= 0 && run_s <= seconds((double)LONGEST_US)))
        return;
    struct watch_entry *entry = watch_open(scene, word->key);
    struct watch_level *level = (struct watch_level *)entry->state;
    double usual_s = watch_level_usual(level);
    struct watch_finding finding = {.url = word->texts[WATCH_URL],
                                    .attempt = word->attempt,
                                    .actual = run_s,
                                    .usual = usual_s,
                                    .unit = "s",
                                    .count = level->pace.count,
                                    .summary = "{{target}} took {{actual}}; usually {{usual}}, by {{count}} "
                                               "before"};
    bool is_high = watch_level_add(level, prior, run_s, scene->now_us) > 0;

    if (is_high && run_s > least_factor * usual_s && run_s > usual_s + least_excess_s)
        watch_tell(scene, entry, finding);
    else
        watch_tell_end(scene, entry, finding);
}

static bool level_sound(const void *state)
{
    return watch_level_sound(state);
}

const struct watch_signal watch_signal_duration = {
    .rule = {"watch_duration", ALERT_DURATION, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct watch_level),
    .version = 2,
    .take = take_duration,
    .sound = level_sound,
};

/* Overdue: an entry for each attempt that runs, and one for its task, which is told of. */

struct overdue {
    struct id128 task;
    int64_t since_us;
    uint32_t overdue; /* a task: attempts told of and still running */
    uint8_t told;
};

/* NULL: not known. */
static const struct watch_level *known_durations(const struct watch_scene *scene, struct id128 task)
{
    const struct watch_entry *entry = watch_find(scene, &watch_signal_duration, task);
    const struct watch_level *level = entry ? (const struct watch_level *)entry->state : NULL;

    return level && watch_level_known(level) ? level : NULL;
}

static int64_t longest_run(const struct watch_level *level)
{
    double usual_s = watch_level_usual(level);
    double longest_s = fmax(watch_level_limit(level, prior), least_factor * usual_s);

    return (int64_t)(SECOND_US * fmin(fmax(longest_s, usual_s + least_excess_s), (double)LONGEST_US / 1e6));
}

/* As long as its task is not known, an attempt is looked at again when it has run twice as long. */
static int64_t attempt_due(const struct watch_scene *scene, const struct overdue *attempt)
{
    const struct watch_level *known = known_durations(scene, attempt->task);
    int64_t run_us = scene->now_us - attempt->since_us;

    if (known)
        return attempt->since_us + longest_run(known);
    if (run_us < 0)
        return attempt->since_us + 2 * SECOND_US;
    return scene->now_us + (run_us > 2 * SECOND_US ? run_us : 2 * SECOND_US);
}

/* An attempt told of runs no longer, or is forgotten. False: another one of its task is still overdue. */
static bool end_overdue(struct watch_entry *task)
{
    struct overdue *state = (struct overdue *)task->state;

    /* a task that was forgotten meanwhile knows nothing of attempts told of */
    return state->overdue == 0 || --state->overdue == 0;
}

static void end_attempt(struct watch_scene *scene, struct watch_entry *attempt)
{
    struct overdue *state = (struct overdue *)attempt->state;
    struct id128 id = state->task;
    bool told = state->told;

    watch_drop(scene, attempt);
    if (!told)
        return;
    struct watch_entry *task = watch_open(scene, id);
    if (end_overdue(task))
        watch_tell_end(scene, task, (struct watch_finding){.actual = NAN});
}

static void begin_attempt(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_open(scene, word->run);
    struct overdue *attempt = (struct overdue *)entry->state;
    bool is_past = word->started_us != TIME_NONE && word->started_us < word->order_us;

    attempt->task = word->key;
    attempt->since_us = is_past ? word->started_us : word->order_us;
    int64_t due_us = attempt_due(scene, attempt), passed_us = scene->watch->passed_us;
    if (due_us < word->order_us)
        due_us = word->order_us;
    watch_wake(scene, entry, due_us > passed_us ? due_us : passed_us); /* its end may be on its way */
}

static void take_attempt(struct watch_scene *scene)
{
    struct watch_entry *attempt = watch_find(scene, scene->signal, scene->word->run);

    if (attempt)
        end_attempt(scene, attempt);
    if (scene->word->sort == WORD_STARTED)
        begin_attempt(scene);
}

static void look_at(struct watch_scene *scene, struct watch_entry *entry)
{
    struct overdue *attempt = (struct overdue *)entry->state;
    const struct watch_level *known = known_durations(scene, attempt->task);
    int64_t due_us = attempt_due(scene, attempt);

    if (!known || due_us > scene->now_us) {
        watch_wake(scene, entry, due_us);
        return;
    }
    attempt->told = true;
    watch_open(scene, entry->id); /* to stay while its task is opened */
    struct watch_entry *task = watch_open(scene, attempt->task);
    ((struct overdue *)task->state)->overdue++;
    watch_tell(scene, task,
               (struct watch_finding){.texts = entry->texts,
                                      .actual = seconds((double)(scene->now_us - attempt->since_us)),
                                      .usual = watch_level_usual(known),
                                      .unit = "s",
                                      .count = known->pace.count,
                                      .summary = "{{target}} still runs after {{actual}}; usually "
                                                 "{{usual}}, by {{count}} before"});
}

static void forget_attempt(struct watch_scene *scene, struct watch_entry *entry)
{
    struct overdue *attempt = (struct overdue *)entry->state;
    struct watch_entry *task = attempt->told ? watch_find(scene, scene->signal, attempt->task) : NULL;

    if (task)
        end_overdue(watch_open(scene, task->id));
}

static bool overdue_sound(const void *state)
{
    const struct overdue *attempt = state;

    return attempt->since_us >= -LONGEST_US && attempt->since_us <= LONGEST_US;
}

const struct watch_signal watch_signal_overdue = {
    .rule = {"watch_overdue", ALERT_OVERDUE, SEVERITY_WARNING, .rests = false},
    .words = WATCH_WORDS_RUN,
    .key = WATCH_KEY_TASK,
    .keep = WATCH_KEEP_ALL,
    .size = sizeof(struct overdue),
    .version = 1,
    .take = take_attempt,
    .due = look_at,
    .forget = forget_attempt,
    .sound = overdue_sound,
};
