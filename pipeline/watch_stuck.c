/* Runs and attempts that wait: in a queue to be started, or for somebody's consent; and do so for longer than
 * usual. An entry for each that waits, one for its task and state, which knows what is usual and is told
 * of. */
#include "pipeline/watch_level.h"
#include "pipeline/watch_signal.h"

#include <math.h>

static const double least_factor = 2, least_wait_s = 120, prior = .5; /* waits vary more than work does */

struct stuck {
    struct watch_level waits; /* of a task */
    struct id128 task;        /* of one that waits */
    int64_t since_us;
    uint32_t stuck;      /* of a task: told of and still waiting */
    uint8_t is_approval; /* it waits for consent */
    uint8_t told;
};

/* What is usual is another thing in a queue than for consent. */
static struct id128 id_of_task(struct id128 task, bool is_approval)
{
    return (struct id128){task.high, task.low ^ is_approval};
}

/* A wait of a state that is not known yet is looked at again when it is twice as long. */
static int64_t stuck_due(const struct watch_scene *scene, const struct stuck *one)
{
    const struct watch_entry *entry =
        watch_find(scene, scene->signal, id_of_task(one->task, one->is_approval));
    const struct watch_level *waits = entry ? &((const struct stuck *)entry->state)->waits : NULL;
    int64_t waited_us = scene->now_us - one->since_us;
    double most_s;

    if (waits && watch_level_known(waits)) {
        most_s = fmax(watch_level_limit(waits, prior), least_factor * watch_level_usual(waits));
        return one->since_us + (int64_t)(fmin(fmax(most_s, least_wait_s), 1e9) * SECOND_US);
    }
    if (waited_us < (int64_t)least_wait_s * SECOND_US)
        return one->since_us + (int64_t)least_wait_s * SECOND_US;
    return scene->now_us + waited_us;
}

static void begin_wait(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_open(scene, word->run);
    struct stuck *one = (struct stuck *)entry->state;
    int64_t passed_us = scene->watch->passed_us;

    one->task = word->key;
    one->since_us = word->order_us;
    one->is_approval = word->sort == WORD_WAITING;
    int64_t due_us = stuck_due(scene, one);
    watch_wake(scene, entry, due_us > passed_us ? due_us : passed_us);
}

/* What was told of waits no longer. */
static void end_told(struct watch_scene *scene, struct watch_entry *task)
{
    struct stuck *state = (struct stuck *)task->state;

    if (state->stuck == 0 || --state->stuck == 0)
        watch_tell_end(scene, task, (struct watch_finding){.actual = NAN});
}

static void end_wait(struct watch_scene *scene, struct watch_entry *entry)
{
    struct stuck one = *(const struct stuck *)entry->state;
    double waited_s = (double)(scene->now_us - one.since_us) / SECOND_US;

    watch_drop(scene, entry);
    struct watch_entry *task = watch_open(scene, id_of_task(one.task, one.is_approval));
    /* what was cancelled might have waited for much longer */
    if (scene->word->sort == WORD_STARTED)
        watch_level_add(&((struct stuck *)task->state)->waits, prior, fmax(waited_s, .1), scene->now_us);
    if (one.told)
        end_told(scene, task);
}

static void take_wait(struct watch_scene *scene)
{
    struct watch_entry *entry = watch_find(scene, scene->signal, scene->word->run);

    if (entry)
        end_wait(scene, entry);
    if (scene->word->sort == WORD_QUEUED || scene->word->sort == WORD_WAITING)
        begin_wait(scene);
}

static void look_at(struct watch_scene *scene, struct watch_entry *entry)
{
    struct stuck *one = (struct stuck *)entry->state;
    int64_t due_us = stuck_due(scene, one);

    if (due_us > scene->now_us) {
        watch_wake(scene, entry, due_us);
        return;
    }
    one->told = true;
    watch_open(scene, entry->id); /* to stay while its task is opened */
    struct watch_entry *task = watch_open(scene, id_of_task(one->task, one->is_approval));
    struct stuck *known = (struct stuck *)task->state;
    known->stuck++;
    watch_tell(scene, task,
               (struct watch_finding){.texts = entry->texts,
                                      .actual = (double)(scene->now_us - one->since_us) / SECOND_US,
                                      .usual = watch_level_usual(&known->waits),
                                      .unit = "s",
                                      .count = known->waits.pace.count,
                                      .summary = one->is_approval
                                                     ? "{{target}} waits for consent since {{actual}}; "
                                                       "usually {{usual}}, by {{count}} before"
                                                     : "{{target}} waits to be started since {{actual}}; "
                                                       "usually {{usual}}, by {{count}} before"});
}

static void forget_wait(struct watch_scene *scene, struct watch_entry *entry)
{
    const struct stuck *one = (const struct stuck *)entry->state;
    struct watch_entry *task =
        one->told ? watch_find(scene, scene->signal, id_of_task(one->task, one->is_approval)) : NULL;
    struct stuck *state = task ? (struct stuck *)watch_open(scene, task->id)->state : NULL;

    if (state && state->stuck)
        state->stuck--;
}

static bool stuck_sound(const void *bytes)
{
    const struct stuck *state = bytes;

    return watch_level_sound(&state->waits) && state->since_us > INT64_MIN / 4 &&
           state->since_us < INT64_MAX / 4;
}

const struct watch_signal watch_signal_stuck = {
    .rule = {"watch_stuck", ALERT_STUCK, SEVERITY_WARNING, .rests = false},
    .words = 1u << WORD_QUEUED | 1u << WORD_WAITING | WATCH_WORDS_RUN,
    .key = WATCH_KEY_TASK,
    .keep = WATCH_KEEP_ALL,
    .size = sizeof(struct stuck),
    .version = 1,
    .take = take_wait,
    .due = look_at,
    .forget = forget_wait,
    .sound = stuck_sound,
};
