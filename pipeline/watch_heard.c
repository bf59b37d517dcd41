/* Sources that fall silent and hosts whose heartbeats stop: told by their mean or longest interval. */
#include "pipeline/watch_signal.h"

#include <math.h>

enum {
    REMEMBERED = 50,              /* a mean is about that of the last so many */
    SILENCE_FACTOR = 5,           /* times the longest pause of a source */
    SILENCE_US = 300 * SECOND_US, /* and at least so long */
    SILENCE_SECONDS = 10,         /* in so many it was heard, or it is not missed */
    BEAT_FACTOR = 10,             /* times the mean interval of a host */
    BEAT_US = 30 * SECOND_US,     /* and at least so long */
};
#define LONGEST_US ((int64_t)SECOND_US * 86400 * 36500) /* what is longer is no interval */

struct heard {
    double mean_us; /* of the intervals */
    int64_t longest_us;
    int64_t last_us;
    uint32_t count;
    int64_t offline_us;           /* when it said that it goes; one that is soon back is no news */
    uint8_t is_heard, is_offline; /* what is stored may be damaged: any byte is one */
};

static double seconds(double us)
{
    return us / SECOND_US;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void learn(struct heard *heard, int64_t interval_us)
{
    heard->count += heard->count < UINT32_MAX;
    heard->mean_us +=
        ((double)interval_us - heard->mean_us) / (heard->count < REMEMBERED ? heard->count : REMEMBERED);
    heard->longest_us = greater(heard->longest_us, interval_us);
}

/* When it is missed: not by idle time that has gone by before its rows came. */
static int64_t silence_due(const struct watch_scene *scene, const struct heard *heard)
{
    int64_t heard_us = greater(heard->last_us, scene->watch->passed_us);

    if (scene->word->sort == WORD_BEAT)
        return heard->count == 0 ? INT64_MAX
                                 : heard_us + greater((int64_t)(BEAT_FACTOR * heard->mean_us), BEAT_US);
    return heard->count + 1 < SILENCE_SECONDS
               ? INT64_MAX
               : heard_us + greater(SILENCE_FACTOR * heard->longest_us, SILENCE_US);
}

static void hear(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_open(scene, word->key);
    struct heard *heard = (struct heard *)entry->state;
    int64_t interval_us = heard->is_heard ? word->order_us - heard->last_us : 0;

    /* a beat of the second in which the host said that it goes may be from before */
    if (heard->is_offline && word->order_us - SECOND_US < heard->offline_us)
        return;
    if (interval_us > LONGEST_US)
        interval_us = LONGEST_US;
    if (interval_us > 0 && !entry->told &&
        !heard->is_offline) /* the time away says nothing of what is usual */
        learn(heard, interval_us);
    if (word->sort == WORD_EVENTS || word->order_us - SECOND_US >= entry->told_us)
        watch_tell_end(scene, entry, (struct watch_finding){.actual = NAN});
    if (entry->told)
        return;
    if (!heard->is_heard || interval_us > 0)
        heard->last_us = word->order_us;
    heard->is_heard = true;
    heard->is_offline = false;
    watch_wake(scene, entry, silence_due(scene, heard));
}

static void tell_absent(struct watch_scene *scene, struct watch_entry *entry, double usual_us,
                        const char *summary)
{
    const struct heard *heard = (const struct heard *)entry->state;

    watch_tell(scene, entry,
               (struct watch_finding){.actual = seconds((double)(scene->now_us - heard->last_us)),
                                      .usual = seconds(usual_us),
                                      .unit = "s",
                                      .summary = summary});
}

static void tell_silent(struct watch_scene *scene, struct watch_entry *entry)
{
    tell_absent(scene, entry, (double)((const struct heard *)entry->state)->longest_us,
                "no events from {{source}} for {{actual}}; the longest pause before was {{usual}}");
}

static void tell_missing(struct watch_scene *scene, struct watch_entry *entry)
{
    if (((const struct heard *)entry->state)->is_offline) {
        watch_tell(scene, entry, (struct watch_finding){.actual = NAN, .summary = "{{host}} went offline"});
        return;
    }
    tell_absent(scene, entry, ((const struct heard *)entry->state)->mean_us,
                "no heartbeat of {{host}} for {{actual}}; usually every {{usual}}");
}

static void take_host(struct watch_scene *scene)
{
    if (scene->word->sort == WORD_BEAT) {
        hear(scene);
        return;
    }
    struct watch_entry *entry = watch_open(scene, scene->word->key);
    struct heard *heard = (struct heard *)entry->state;
    heard->is_offline = true;
    heard->offline_us = scene->now_us;
    if (!entry->told)
        watch_wake(scene, entry, scene->now_us + BEAT_US);
}

static bool heard_sound(const void *state)
{
    const struct heard *heard = state;

    return heard->mean_us >= 0 && heard->mean_us <= (double)LONGEST_US && heard->longest_us >= 0 &&
           heard->longest_us <= LONGEST_US && heard->last_us != TIME_NONE;
}

const struct watch_signal watch_signal_silence = {
    .rule = {"watch_silence", ALERT_VOLUME, SEVERITY_WARNING, .rests = false},
    .words = 1u << WORD_EVENTS,
    .key = WATCH_KEY_SOURCE,
    .size = sizeof(struct heard),
    .version = 1,
    .take = hear,
    .due = tell_silent,
    .sound = heard_sound,
};

const struct watch_signal watch_signal_heartbeat = {
    .rule = {"watch_heartbeat", ALERT_HEARTBEAT, SEVERITY_ERROR, .rests = false},
    .words = 1u << WORD_BEAT | 1u << WORD_OFFLINE,
    .key = WATCH_KEY_HOST,
    .size = sizeof(struct heard),
    .version = 1,
    .take = take_host,
    .due = tell_missing,
    .sound = heard_sound,
};
