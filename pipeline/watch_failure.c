/* Failures: a run or attempt that fails for good, where that is rare enough to tell of each; and bursts of
 * failures or retries of a task, by the share that is usual for it and for its workflow. */
#include "pipeline/watch_level.h"
#include "pipeline/watch_signal.h"

#include <math.h>

static const double usual_share = .01; /* where nothing is known */
static const double group_weight = 50; /* outcomes, of a workflow against the share where nothing is known */
static const double lone_a_day = 1;    /* failures by chance of a task: if fewer, each one is told */

extern const struct watch_signal watch_signal_failure, watch_signal_failure_rate, watch_signal_retry;

/* The share that is usual for the workflow. */
static double prior_of(const struct watch_scene *scene, const struct watch_signal *signal, struct id128 task,
                       struct id128 group)
{
    const struct watch_entry *entry = id_equal(task, group) ? NULL : watch_find(scene, signal, group);
    const struct watch_rate *rate = entry ? (const struct watch_rate *)entry->state : NULL;

    return rate ? (rate->bad + group_weight * usual_share) / (rate->all + group_weight) : usual_share;
}

static bool add_outcome(struct watch_scene *scene, struct watch_entry *entry, bool bad)
{
    const struct watch_word *word = scene->word;
    struct watch_rate *rate = (struct watch_rate *)entry->state;
    bool is_high =
        watch_rate_add(rate, bad, prior_of(scene, scene->signal, word->key, word->group), scene->now_us);

    if (!id_equal(word->key, word->group) && !is_high) {
        struct watch_rate *group = (struct watch_rate *)watch_open(scene, word->group)->state;

        group->bad = group->bad * .9995 + bad;
        group->all = group->all * .9995 + 1;
    }
    return is_high;
}

static struct watch_finding share_of(const struct watch_rate *rate, double usual, const char *summary)
{
    return (struct watch_finding){
        .actual = NAN, .usual = 100 * usual, .unit = "%", .count = rate->pace.count, .summary = summary};
}

static void take_outcome(struct watch_scene *scene, bool bad, const char *summary)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_open(scene, word->key);
    struct watch_rate *rate = (struct watch_rate *)entry->state;
    double usual = watch_rate_usual(rate, prior_of(scene, scene->signal, word->key, word->group));
    bool is_high = add_outcome(scene, entry, bad);
    struct watch_finding finding = share_of(rate, usual, summary);

    finding.error = word->texts[WATCH_ERROR];
    finding.url = word->texts[WATCH_URL];
    finding.attempt = word->attempt;
    if (is_high && bad)
        watch_tell(scene, entry, finding);
    else if (rate->sum == 0)
        watch_tell_end(scene, entry, finding);
}

static void take_failures(struct watch_scene *scene)
{
    take_outcome(scene, scene->word->sort != WORD_SUCCEEDED,
                 "{{target}} fails much more often than usual, which is {{usual}} of {{count}}");
}

static void take_retries(struct watch_scene *scene)
{
    take_outcome(scene, scene->word->sort == WORD_RETRIED,
                 "{{target}} is retried much more often than usual, which is {{usual}} of {{count}}");
}

static bool rate_sound(const void *state)
{
    return watch_rate_sound(state);
}

const struct watch_signal watch_signal_failure_rate = {
    .rule = {"watch_failure_rate", ALERT_FAILURE, SEVERITY_ERROR, .rests = true},
    .words = 1u << WORD_FAILED | 1u << WORD_CANCELLED | 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct watch_rate),
    .version = 1,
    .take = take_failures,
    .sound = rate_sound,
};

const struct watch_signal watch_signal_retry = {
    .rule = {"watch_retry", ALERT_RETRY, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_FAILED | 1u << WORD_RETRIED | 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct watch_rate),
    .version = 1,
    .take = take_retries,
    .sound = rate_sound,
};

/* Each failure. */

/* Fails so seldom that each time is news. It comes before the rate has learned the word. */
static bool is_news(const struct watch_scene *scene, struct id128 task, struct id128 group)
{
    const struct watch_entry *entry = watch_find(scene, &watch_signal_failure_rate, task);
    const struct watch_rate *rate = entry ? (const struct watch_rate *)entry->state : NULL;

    return !rate || watch_pace_day(&rate->pace) *
                            watch_rate_usual(rate, prior_of(scene, &watch_signal_failure_rate, task, group)) <
                        lone_a_day;
}

/* `texts`: WATCH_TEXTS. */
static struct watch_finding failure_of(const struct watch_word *word)
{
    return (struct watch_finding){.texts = word->texts,
                                  .url = word->texts[WATCH_URL],
                                  .error = word->texts[WATCH_ERROR],
                                  .attempt = word->attempt,
                                  .actual = NAN,
                                  .summary = word->texts[WATCH_ERROR].size ? "{{target}} failed: {{error}}"
                                                                           : "{{target}} failed"};
}

static void take_failure(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_find(scene, scene->signal, word->key);

    if (word->sort == WORD_FAILED && ((entry && entry->told) || is_news(scene, word->key, word->group)))
        watch_tell(scene, watch_open(scene, word->key), failure_of(word));
    else if (word->sort == WORD_SUCCEEDED && entry && entry->told)
        watch_tell_end(scene, watch_open(scene, word->key), failure_of(word));
}

const struct watch_signal watch_signal_failure = {
    .rule = {"watch_failure", ALERT_FAILURE, SEVERITY_ERROR, .rests = true},
    .words = 1u << WORD_FAILED | 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .version = 1,
    .take = take_failure,
};

/* A check of data that fails, as of Dagster's assets: whoever wrote it wants to know. */
static void take_check(struct watch_scene *scene)
{
    struct watch_entry *entry = watch_open(scene, scene->word->key);

    if (scene->word->sort == WORD_CHECK_FAILED)
        watch_tell(scene, entry, failure_of(scene->word));
    else
        watch_tell_end(scene, entry, failure_of(scene->word));
}

const struct watch_signal watch_signal_check = {
    .rule = {"watch_check", ALERT_FAILURE, SEVERITY_ERROR, .rests = true},
    .words = 1u << WORD_CHECK_PASSED | 1u << WORD_CHECK_FAILED,
    .key = WATCH_KEY_TASK,
    .version = 1,
    .take = take_check,
};

/* The word is not of its time yet: what is known of the task is not all that will be when it is. */
void watch_expected(struct watch *watch, const struct watch_word *word)
{
    struct watch_scene scene = {.watch = watch,
                                .shard = &watch->shards[word->shard],
                                .signal = &watch_signal_failure,
                                .word = word,
                                .now_us = word->order_us};

    if (is_news(&scene, word->key, word->group)) /* after the words of the same time */
        watch_send(&scene, failure_of(word), CONDITION_EXPECTED, INT64_MAX);
}
