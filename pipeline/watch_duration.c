/* Runs and attempts that took, or still take, much longer than those before: of their mean and their
 * longest. */
#include "pipeline/watch_signal.h"

#include <math.h>

enum {
    LEARNED = 5,               /* durations that make a task known */
    REMEMBERED = 50,           /* a mean is about that of the last so many */
    SLOW_FACTOR = 3,           /* times the mean duration */
    OVERDUE_FACTOR = 3,        /* times the longest duration */
    EXCESS_US = 2 * SECOND_US, /* and so much longer */
};
#define LONGEST_US ((int64_t)SECOND_US * 86400 * 36500) /* what is longer is no duration */

struct durations {
    double mean_us;
    int64_t longest_us;
    uint32_t count;
};

extern const struct watch_signal watch_signal_duration, watch_signal_overdue;

static double seconds(double us)
{
    return us / SECOND_US;
}

static int64_t longest_run(const struct durations *known)
{
    int64_t far_us = OVERDUE_FACTOR * known->longest_us, least_us = known->longest_us + EXCESS_US;

    return far_us > least_us ? far_us : least_us;
}

/* A success that a wrong start made years long is no measure: of a known task nothing longer than what is
 * overdue is learned. */
static void learn(struct durations *known, double run_us)
{
    double most_us = (double)longest_run(known);

    if (known->count >= LEARNED && run_us > most_us)
        run_us = most_us;
    known->count += known->count < UINT32_MAX;
    known->mean_us += (run_us - known->mean_us) / (known->count < REMEMBERED ? known->count : REMEMBERED);
    if (run_us > (double)known->longest_us)
        known->longest_us = (int64_t)run_us;
}

static void take_duration(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    double run_us = word->duration_ms * 1000;

    if (!(run_us >= 0 && run_us <= (double)LONGEST_US))
        return;
    struct watch_entry *entry = watch_open(scene, word->key);
    struct durations *known = (struct durations *)entry->state;
    struct watch_finding finding = {
        .url = word->texts[WATCH_URL],
        .attempt = word->attempt,
        .actual = seconds(run_us),
        .usual = seconds(known->mean_us),
        .unit = "s",
        .count = known->count,
        .summary = "{{target}} took {{actual}}; the mean of {{count}} before is {{usual}}"};
    if (known->count >= LEARNED && run_us > SLOW_FACTOR * known->mean_us &&
        run_us > known->mean_us + EXCESS_US)
        watch_tell(scene, entry, finding);
    else
        watch_tell_end(scene, entry, finding);
    learn(known, run_us);
}

static bool durations_sound(const void *state)
{
    const struct durations *known = state;

    return known->mean_us >= 0 && known->mean_us <= (double)LONGEST_US && known->longest_us >= 0 &&
           known->longest_us <= LONGEST_US;
}

const struct watch_signal watch_signal_duration = {
    .rule = {"watch_duration", ALERT_DURATION, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct durations),
    .version = 1,
    .take = take_duration,
    .sound = durations_sound,
};

/* Overdue: an entry for each attempt that runs, and one for its task, which is told of. */

struct overdue {
    struct id128 task;
    int64_t since_us;
    uint32_t overdue; /* a task: attempts told of and still running */
    bool told;
};

static const struct durations *known_durations(const struct watch_scene *scene, struct id128 task)
{
    const struct watch_entry *entry = watch_find(scene, &watch_signal_duration, task);
    const struct durations *known = entry ? (const struct durations *)entry->state : NULL;

    return known && known->count >= LEARNED ? known : NULL;
}

/* As long as its task is not known, an attempt is looked at again when it has run twice as long. */
static int64_t attempt_due(const struct watch_scene *scene, const struct overdue *attempt)
{
    const struct durations *known = known_durations(scene, attempt->task);
    int64_t run_us = scene->now_us - attempt->since_us;

    if (known)
        return attempt->since_us + longest_run(known);
    if (run_us < 0)
        return attempt->since_us + EXCESS_US;
    return scene->now_us + (run_us > EXCESS_US ? run_us : EXCESS_US);
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
    const struct durations *known = known_durations(scene, attempt->task);
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
                                      .usual = seconds((double)known->longest_us),
                                      .unit = "s",
                                      .count = known->count,
                                      .summary = "{{target}} still runs after {{actual}}; the longest of "
                                                 "{{count}} before took {{usual}}"});
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
    .words = 1u << WORD_STARTED | 1u << WORD_LEFT | 1u << WORD_FAILED | 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .keep = WATCH_KEEP_ALL,
    .size = sizeof(struct overdue),
    .version = 1,
    .take = take_attempt,
    .due = look_at,
    .forget = forget_attempt,
    .sound = overdue_sound,
};
