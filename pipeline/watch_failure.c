/* Runs and attempts that fail for good. */
#include "pipeline/watch_signal.h"

#include <math.h>

/* `texts`: WATCH_TEXTS. */
static struct watch_finding failure_of(const struct span *texts, uint16_t attempt)
{
    return (struct watch_finding){.texts = texts,
                                  .url = texts[WATCH_URL],
                                  .error = texts[WATCH_ERROR],
                                  .attempt = attempt,
                                  .actual = NAN,
                                  .summary = texts[WATCH_ERROR].size ? "{{target}} failed: {{error}}"
                                                                     : "{{target}} failed"};
}

static void take_failure(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_find(scene, scene->signal, word->key);

    if (word->sort == WORD_FAILED)
        watch_tell(scene, watch_open(scene, word->key), failure_of(word->texts, word->attempt));
    else if (entry && entry->told)
        watch_tell_end(scene, watch_open(scene, word->key), failure_of(word->texts, word->attempt));
}

const struct watch_signal watch_signal_failure = {
    .rule = {"watch_failure", ALERT_FAILURE, SEVERITY_ERROR, .rests = true},
    .words = 1u << WORD_FAILED | 1u << WORD_SUCCEEDED,
    .key = WATCH_KEY_TASK,
    .version = 1,
    .take = take_failure,
};

void watch_expect(struct watch *watch, const struct runs *runs, const struct run_row *row)
{
    const struct span *from = row->texts;
    struct watch_scene scene = {.watch = watch, .signal = &watch_signal_failure, .now_us = row->order_us};

    if (!watch->plan->general.watch || !run_state_is_failure(row->state) || row->will_retry ||
        !from[RUN_WORKFLOW].size || !from[RUN_TASK].size || !runs_would_take(runs, row))
        return;
    const struct span texts[WATCH_TEXTS] = {
        [WATCH_SOURCE] = from[RUN_SOURCE],     [WATCH_NAMESPACE] = from[RUN_NAMESPACE],
        [WATCH_WORKFLOW] = from[RUN_WORKFLOW], [WATCH_TASK] = from[RUN_TASK],
        [WATCH_RUN] = from[RUN_RUN],           [WATCH_RUN_NAME] = from[RUN_RUN_NAME],
        [WATCH_HOST] = from[RUN_HOST],         [WATCH_ERROR] = from[RUN_ERROR],
        [WATCH_URL] = from[RUN_URL],
    };
    /* after the words of the same time */
    watch_send(&scene, failure_of(texts, row->attempt), CONDITION_EXPECTED, INT64_MAX);
}
