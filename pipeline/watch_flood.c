/* Log floods: a task that logs far more lines in ten seconds than it ever has. The most frequent template
 * of those is told. What is usual follows a lasting change within some minutes. */
#include "pipeline/watch_signal.h"

#include <math.h>

enum {
    WINDOW_US = 10 * SECOND_US,
    QUIET_US = 300 * SECOND_US, /* so long after its last lines the alert ends */
    WINDOWS = 10,               /* with lines, before anything is told */
    LINES_LEAST = 30,           /* and so many */
    FACTOR = 3,                 /* times the most that is usual */
    PATTERNS = 8,
    PATTERN_BYTES = 112,
};

static const double fading = 0.99; /* of the most that is usual, by a window with lines */
static const double growth = 1.5;  /* at most, by a window with lines */

struct flood_pattern { /* the first templates of the window, in order of event time */
    uint64_t hash;
    uint32_t lines;
    uint32_t size;
    char text[PATTERN_BYTES];
};

struct flood {
    int64_t window_us; /* end of the one that is counted; 0: none */
    double usual;      /* the most lines in a window, fading */
    uint32_t windows;  /* with lines, up to those that are needed */
    uint32_t lines, patterns;
    struct flood_pattern pattern[PATTERNS];
};

/* Words of one template may come in parts, so only sums may decide. */
static void count_pattern(struct flood *flood, const struct watch_word *word)
{
    char text[WATCH_LINE_BYTES];
    uint32_t i = 0;

    while (i < flood->patterns && flood->pattern[i].hash != word->run.low)
        i++;
    if (i == PATTERNS)
        return;
    struct flood_pattern *pattern = &flood->pattern[i];
    if (i == flood->patterns) {
        struct span full = watch_line_template(word->texts[WATCH_ERROR], word->texts, text);
        flood->patterns++;
        pattern->hash = word->run.low;
        pattern->lines = 0;
        pattern->size = full.size < PATTERN_BYTES ? full.size : PATTERN_BYTES;
        memcpy(pattern->text, full.data, pattern->size);
    }
    pattern->lines += word->count;
}

static struct span top_pattern(const struct flood *flood)
{
    const struct flood_pattern *top = &flood->pattern[0];

    for (uint32_t i = 1; i < flood->patterns; i++)
        if (flood->pattern[i].lines > top->lines)
            top = &flood->pattern[i];
    return span_make(top->text, top->size);
}

static void take_lines(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    struct watch_entry *entry = watch_open(scene, word->key);
    struct flood *flood = (struct flood *)entry->state;
    int64_t window_us = (floor_div(word->order_us - 1, WINDOW_US) + 1) * WINDOW_US;

    if (flood->window_us != window_us) { /* its timer has closed the one before */
        flood->window_us = window_us;
        flood->lines = flood->patterns = 0;
        watch_wake(scene, entry, window_us);
    }
    flood->lines += word->count;
    count_pattern(flood, word);
}

static void close_window(struct watch_scene *scene, struct watch_entry *entry)
{
    struct flood *flood = (struct flood *)entry->state;
    double limit = FACTOR * flood->usual;
    double learned =
        flood->windows && flood->lines > growth * flood->usual ? growth * flood->usual : flood->lines;

    if (flood->window_us == 0) { /* quiet for long */
        watch_tell_end(scene, entry, (struct watch_finding){.actual = NAN});
        return;
    }
    if (flood->windows >= WINDOWS && flood->lines >= LINES_LEAST && flood->lines > limit)
        watch_tell(scene, entry,
                   (struct watch_finding){.actual = flood->lines,
                                          .usual = flood->usual,
                                          .unit = "lines",
                                          .pattern = top_pattern(flood),
                                          .summary =
                                              "{{target}} logs {{actual}} in 10 s, usually no more than "
                                              "{{usual}}; most of them: {{pattern}}"});
    else
        watch_tell_end(scene, entry, (struct watch_finding){.actual = NAN});
    flood->usual = fmax(fading * flood->usual, learned);
    flood->windows += flood->windows < WINDOWS;
    flood->window_us = 0;
    watch_wake(scene, entry, entry->told ? scene->now_us + QUIET_US : INT64_MAX);
}

static bool flood_sound(const void *state)
{
    const struct flood *flood = state;

    for (uint32_t i = 0; i < PATTERNS; i++)
        if (flood->pattern[i].size > PATTERN_BYTES)
            return false;
    return flood->usual >= 0 && flood->usual <= (double)UINT32_MAX && flood->patterns <= PATTERNS &&
           flood->window_us >= 0;
}

const struct watch_signal watch_signal_flood = {
    .rule = {"watch_flood", ALERT_VOLUME, SEVERITY_WARNING, .rests = true},
    .words = 1u << WORD_LINE,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct flood),
    .version = 1,
    .take = take_lines,
    .due = close_window,
    .sound = flood_sound,
};
