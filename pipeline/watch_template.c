/* New log templates: a line of a task unlike any that its source has logged, after both were long known to
 * say nothing new. A line is known by its skeleton (detectors/skeleton.h), in which the names of its
 * workflow, task and run are values too, so that a line which other tasks of the source have is no
 * surprise.
 *
 * An entry is a source, a task, or a page of what a source is known to log: one shape for all three keeps
 * what is remembered of a source bounded. */
#include "detectors/skeleton.h"
#include "pipeline/watch_signal.h"

#include <math.h>

enum {
    PAGES = 32,                 /* of a source */
    PAGE_TEMPLATES = 32,        /* the one not heard of for longest goes */
    QUIET_US = 300 * SECOND_US, /* so long after the last new template the alert ends */
};

/* How long nothing new was said: by the task in seconds that it logged in, by the source in different
 * lines a second. Warnings and errors are told earlier. */
static const struct {
    uint64_t task, source;
} needed[] = {{50, 200}, {20, 50}};

struct logged {
    uint64_t heard;      /* seconds of a task; of a source, different lines a second */
    uint64_t quiet_from; /* `heard` when it last said something new ... */
    uint64_t quiet;      /* ... and how long it had not before that second */
    int64_t new_us;      /* that second */
    int64_t last_us;
    struct {
        uint64_t hash; /* 0: free */
        int64_t last_us;
    } known[PAGE_TEMPLATES];
};

static bool is_name(struct span text, const struct span *names)
{
    static const enum watch_text checked[] = {WATCH_WORKFLOW, WATCH_TASK, WATCH_RUN, WATCH_RUN_NAME,
                                              WATCH_HOST};
    struct span workflow = names[WATCH_WORKFLOW], task = names[WATCH_TASK];

    for (unsigned i = 0; i < sizeof checked / sizeof *checked; i++)
        if (text.size && span_equal(text, names[checked[i]]))
            return true;
    return task.size && text.size == workflow.size + 1 + task.size &&
           memcmp(text.data, workflow.data, workflow.size) == 0 && text.data[workflow.size] == '.' &&
           memcmp(text.data + workflow.size + 1, task.data, task.size) == 0;
}

struct span watch_line_template(struct span line, const struct span *names, char *text)
{
    struct skeleton skeleton;
    size_t size = 0, end = 0;
    bool value = false;

    skeleton_make(line, &skeleton);
    for (unsigned i = 0; i < skeleton.tokens; i++) {
        const struct token *token = &skeleton.token[i];
        struct span word = span_make(skeleton.text + token->at, token->size);
        size_t gap = token->at - end;
        bool before = value;
        value = token->kind != TOKEN_WORD || is_name(word, names);
        if (before && value && gap == 1 && skeleton.text[end] == ' ') {
            word.size = 0; /* neighbours are one */
            gap = 0;
        } else if (value) {
            word = SPAN_LITERAL("<*>");
        }
        memcpy(text + size, skeleton.text + end, gap);
        memcpy(text + size + gap, word.data, word.size);
        size += gap + word.size;
        end = (size_t)token->at + token->size;
    }
    memcpy(text + size, skeleton.text + end, skeleton.size - end);
    return span_make(text, size + skeleton.size - end);
}

static bool find_known(struct logged *page, uint64_t hash, int64_t now_us, bool *ret_first_in_second)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < PAGE_TEMPLATES; i++) {
        if (page->known[i].hash == hash) {
            *ret_first_in_second = page->known[i].last_us != now_us;
            page->known[i].last_us = now_us;
            return true;
        }
        if (page->known[i].last_us < page->known[oldest].last_us || !page->known[i].hash)
            oldest = i;
    }
    page->known[oldest].hash = hash;
    page->known[oldest].last_us = now_us;
    *ret_first_in_second = true;
    return false;
}

/* How long nothing new had been said before this second. */
static uint64_t quiet_before(struct logged *logged, int64_t now_us)
{
    if (logged->new_us != now_us) {
        logged->quiet = logged->heard - logged->quiet_from;
        logged->new_us = now_us;
    }
    logged->quiet_from = logged->heard;
    return logged->quiet;
}

static void tell_new(struct watch_scene *scene, struct watch_entry *entry)
{
    const struct watch_word *word = scene->word;
    char text[WATCH_LINE_BYTES];

    watch_tell(scene, entry,
               (struct watch_finding){
                   .actual = NAN,
                   .error = word->texts[WATCH_ERROR],
                   .pattern = watch_line_template(word->texts[WATCH_ERROR], word->texts, text),
                   .summary = "{{target}} logs what it never did: {{pattern}}; a line: {{error}}"});
    watch_wake(scene, entry, scene->now_us + QUIET_US);
}

/* A word may come twice, so a second counts once. */
static void take_line(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;
    uint64_t hash = word->run.low ? word->run.low : 1;
    struct id128 page_id = {word->group.high + 1 + hash % PAGES, word->group.low};
    struct watch_entry *entry = watch_open(scene, word->key);
    struct logged *page = (struct logged *)watch_open(scene, page_id)->state,
                  *source = (struct logged *)watch_open(scene, word->group)->state,
                  *task = (struct logged *)entry->state;
    bool first_in_second, known = find_known(page, hash, scene->now_us, &first_in_second);

    source->heard += first_in_second;
    task->heard += task->last_us != scene->now_us || task->heard == 0;
    task->last_us = scene->now_us;
    if (known)
        return;
    bool trouble = word->attempt != 0;
    uint64_t task_quiet = quiet_before(task, scene->now_us),
             source_quiet = quiet_before(source, scene->now_us);
    if (task_quiet >= needed[trouble].task && source_quiet >= needed[trouble].source)
        tell_new(scene, entry);
    else if (entry->told)
        watch_wake(scene, entry, scene->now_us + QUIET_US);
}

static void end_quiet(struct watch_scene *scene, struct watch_entry *entry)
{
    watch_tell_end(scene, entry, (struct watch_finding){.actual = NAN});
}

static bool logged_sound(const void *state)
{
    const struct logged *logged = state;

    return logged->quiet_from <= logged->heard;
}

const struct watch_signal watch_signal_template = {
    .rule = {"watch_template", ALERT_TEMPLATE, SEVERITY_WARNING, .rests = false},
    .words = 1u << WORD_TEMPLATE,
    .key = WATCH_KEY_TASK,
    .size = sizeof(struct logged),
    .version = 1,
    .take = take_line,
    .due = end_quiet,
    .sound = logged_sound,
};
