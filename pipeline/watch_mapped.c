/* Tasks that a run maps over a list: how many there are of each, when the run has ended. */
#include "pipeline/watch_level.h"
#include "pipeline/watch_signal.h"

#include <math.h>

enum { TASKS = 16 }; /* mapped ones of a run; others are not counted */
static const double least_factor = 1.4, prior = .05;

/* An entry of a run counts; an entry of a task knows what is usual. */
struct mapped {
    struct watch_level level;
    struct {
        struct id128 key;
        uint32_t count;
    } tasks[TASKS];
    uint32_t count;
};

static struct id128 id_of_run(const struct watch_word *word)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_integer(&builder, (int64_t)word->group.low);
    id_add_text(&builder, word->texts[WATCH_RUN]);
    return id_end(&builder);
}

static void count_task(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct mapped *run = (struct mapped *)watch_open(scene, id_of_run(word))->state;
    uint32_t at = 0;

    while (at < run->count && !id_equal(run->tasks[at].key, word->key))
        at++;
    if (at == TASKS)
        return;
    if (at == run->count) {
        run->tasks[run->count++].key = word->key;
        watch_open(scene, word->key); /* knows its names */
    }
    run->tasks[at].count++;
}

static void judge_count(struct watch_scene *scene, struct watch_entry *task, double count)
{
    struct watch_level *level = &((struct mapped *)task->state)->level;
    double usual = watch_level_usual(level);
    struct watch_finding finding = {.texts = task->texts,
                                    .actual = count,
                                    .usual = usual,
                                    .unit = "instances",
                                    .count = level->pace.count,
                                    .summary = "a run mapped {{target}} to {{actual}}; usually {{usual}}, by "
                                               "{{count}} before"};
    int verdict = watch_level_add(level, prior, count, scene->now_us);

    if ((verdict > 0 && count > usual * least_factor) || (verdict < 0 && count < usual / least_factor))
        watch_tell(scene, task, finding);
    else
        watch_tell_end(scene, task, finding);
}

static void take_mapped(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;

    if (word->sort == WORD_STARTED) {
        if (word->map_index >= 0 && word->attempt <= 1)
            count_task(scene);
        return;
    }
    struct watch_entry *entry =
        id_equal(word->key, word->group) ? watch_find(scene, scene->signal, id_of_run(word)) : NULL;
    if (!entry)
        return;
    struct mapped run = *(struct mapped *)entry->state;
    watch_drop(scene, entry);
    for (uint32_t i = 0; i < run.count && i < TASKS; i++) {
        struct watch_entry *task = watch_find(scene, scene->signal, run.tasks[i].key);

        if (task)
            judge_count(scene, watch_open(scene, task->id), run.tasks[i].count);
    }
}

static bool mapped_sound(const void *bytes)
{
    const struct mapped *state = bytes;

    return watch_level_sound(&state->level) && state->count <= TASKS;
}

const struct watch_signal watch_signal_mapped = {
    .rule = {"watch_mapped", ALERT_VOLUME, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_STARTED | 1u << WORD_SUCCEEDED | 1u << WORD_FAILED | 1u << WORD_LEFT,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct mapped),
    .version = 1,
    .take = take_mapped,
    .sound = mapped_sound,
};
