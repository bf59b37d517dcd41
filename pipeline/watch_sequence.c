/* Runs that take an odd course: other tasks than usual, other numbers of them, another order. A run's steps
 * are gathered in an entry of its own from the words of its tasks' first attempts, and of the runs that it
 * has begun; some time after it has succeeded they are judged and learned by the model of its workflow, which
 * is an entry too. A run that failed has an alert of its own, and teaches nothing. */
#include "base/memory.h"
#include "detectors/sequence.h"
#include "pipeline/watch_signal.h"

#include <math.h>
#include <stdlib.h>

enum {
    STEPS_MAX = 256,           /* of a run; later ones are left out */
    CELLS = 4096,              /* of a model: at most 100 kB of counts */
    GRACE_US = 10 * SECOND_US, /* after the end: what it began may be told of later */
    LEARNED = 10,              /* runs that make a workflow known: as many are learned whatever they are */
    REASONS_SHOWN = 2,
    REASON_BYTES = 600,
};
static const double rare_share = 0.02; /* of the runs before were as surprising; or it is the first one */

struct course { /* of a run; of a workflow all zero */
    struct id128 workflow;
    uint8_t ended;
};

struct step_told {
    uint64_t instance; /* so that the end of an attempt is no step after its start */
    uint8_t size;
    char name[SEQUENCE_NAME_MAX];
};

struct course_more { /* a model, or the steps of a run */
    struct sequence *model;
    struct step_told *steps;
    size_t count, capacity;
};

static void more_free(void *memory)
{
    struct course_more *more = memory;

    sequence_free(more->model);
    free(more->steps);
    free(more);
}

static size_t more_bytes(const void *memory)
{
    const struct course_more *more = memory;

    return sizeof *more + (more->model ? sequence_bytes(more->model) : more->count * sizeof *more->steps);
}

static void more_pack(const void *memory, struct buffer *out)
{
    const struct course_more *more = memory;

    pack_u8(out, more->model != NULL);
    if (more->model) {
        sequence_pack(more->model, out);
        return;
    }
    pack_u32(out, (uint32_t)more->count);
    for (size_t i = 0; i < more->count; i++) {
        pack_u64(out, more->steps[i].instance);
        pack_text(out, span_make(more->steps[i].name, more->steps[i].size));
    }
}

static void add_step(struct course_more *more, uint64_t instance, struct span name)
{
    struct step_told step = {.instance = instance};

    for (size_t i = 0; i < more->count; i++)
        if (more->steps[i].instance == instance)
            return;
    if (more->count == STEPS_MAX)
        return;
    step.size = (uint8_t)(name.size < SEQUENCE_NAME_MAX ? name.size : SEQUENCE_NAME_MAX);
    memcpy(step.name, name.data, step.size);
    more->steps = memory_reserve(more->steps, &more->capacity, more->count + 1, sizeof *more->steps);
    more->steps[more->count++] = step;
}

static void *more_unpack(struct unpack *in)
{
    struct course_more *more = memory_new(sizeof *more);
    bool is_model = unpack_u8(in) == 1;
    uint32_t count = is_model ? 0 : unpack_u32(in);

    if (is_model)
        more->model = sequence_unpack(in);
    in->broken |= count > STEPS_MAX || (is_model && !more->model);
    for (uint32_t i = 0; i < count && !in->broken; i++) {
        uint64_t instance = unpack_u64(in);
        struct span name = unpack_text(in);

        in->broken |= name.size > SEQUENCE_NAME_MAX || name.size == 0;
        if (!in->broken)
            add_step(more, instance, name);
    }
    if (!in->broken)
        return more;
    more_free(more);
    return NULL;
}

static struct id128 id_of_run(const struct watch_word *word)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_integer(&builder, (int64_t)word->group.high);
    id_add_integer(&builder, (int64_t)word->group.low);
    id_add_text(&builder, word->texts[WATCH_RUN]);
    return id_end(&builder);
}

static struct watch_entry *open_run(struct watch_scene *scene)
{
    struct watch_entry *entry = watch_open(scene, id_of_run(scene->word));
    struct course *course = (struct course *)entry->state;

    course->workflow = scene->word->group;
    if (!entry->more)
        entry->more = memory_new(sizeof(struct course_more));
    return entry;
}

/* A task that is mapped over a list is one step, however long the list. */
static void take_step(struct watch_scene *scene)
{
    const struct watch_word *word = scene->word;

    bool is_told = word->sort == WORD_STARTED || word->sort == WORD_FAILED || word->sort == WORD_SUCCEEDED;

    if (word->sort != WORD_CHILD && (!is_told || word->attempt > 1))
        return;
    struct watch_entry *entry = open_run(scene);
    add_step(entry->more, word->map_index < 0 ? word->run.low : word->key.low, word->texts[WATCH_TASK]);
    watch_more_grown(scene, entry);
}

static void take_run(struct watch_scene *scene)
{
    struct watch_entry *entry = watch_find(scene, scene->signal, id_of_run(scene->word));

    if (scene->word->sort == WORD_STARTED || scene->word->sort == WORD_RETRIED)
        return;
    if (scene->word->sort != WORD_SUCCEEDED) {
        if (entry)
            watch_drop(scene, entry);
        return;
    }
    entry = open_run(scene);
    ((struct course *)entry->state)->ended = true;
    watch_more_grown(scene, entry);
    watch_wake(scene, entry, scene->now_us + GRACE_US);
}

static void take_course(struct watch_scene *scene)
{
    if (scene->word->texts[WATCH_TASK].size)
        take_step(scene);
    else
        take_run(scene);
}

static void put_reasons(const struct sequence_verdict *verdict, struct buffer *out)
{
    for (uint32_t i = 0; i < verdict->reason_count && i < REASONS_SHOWN; i++) {
        if (i)
            buffer_put_text(out, "; ");
        sequence_reason_put(&verdict->reasons[i], out);
    }
}

static void tell_course(struct watch_scene *scene, struct watch_entry *workflow,
                        const struct watch_entry *run, const struct sequence_verdict *verdict)
{
    bool is_rare = verdict->probability <= rare_share || verdict->probability * (verdict->judged + 1.0) < 1.5;
    bool is_known = verdict->judged >= LEARNED;
    struct span texts[WATCH_KEPT_TEXTS];
    struct buffer reasons;

    memcpy(texts, run->texts, sizeof texts);
    texts[WATCH_TASK] = texts[WATCH_HOST] = (struct span){0};
    buffer_init(&reasons, REASON_BYTES);
    put_reasons(verdict, &reasons);
    if (verdict->odd && is_rare && is_known)
        watch_tell(scene, workflow,
                   (struct watch_finding){.texts = texts,
                                          .actual = NAN,
                                          .error = buffer_span(&reasons),
                                          .summary = "{{target}} took an odd course: {{error}}"});
    else if (!verdict->odd)
        watch_tell_end(scene, workflow, (struct watch_finding){.texts = texts, .actual = NAN});
    buffer_free(&reasons);
}

static struct sequence *model_of(struct watch_entry *workflow)
{
    struct course_more *more = workflow->more;

    if (!more)
        workflow->more = more = memory_new(sizeof *more);
    if (!more->model)
        more->model = sequence_new(CELLS);
    return more->model;
}

static void judge_course(struct watch_scene *scene, struct watch_entry *run)
{
    const struct course_more *course = run->more;
    struct sequence_step steps[STEPS_MAX];
    struct sequence_run sequence = {.steps = steps, .count = course ? (uint32_t)course->count : 0};
    struct sequence_verdict verdict;

    /* what never has steps, as a task of Celery that begins no other, is kept no model of */
    if (sequence.count == 0 && !watch_find(scene, scene->signal, ((struct course *)run->state)->workflow)) {
        watch_drop(scene, run);
        return;
    }
    watch_open(scene, run->id); /* to stay while its workflow is opened */
    struct watch_entry *workflow = watch_open(scene, ((struct course *)run->state)->workflow);
    struct sequence *model = model_of(workflow);
    for (uint32_t i = 0; i < sequence.count; i++)
        steps[i] = (struct sequence_step){.name = span_make(course->steps[i].name, course->steps[i].size)};
    sequence_judge(model, &sequence, &verdict);
    tell_course(scene, workflow, run, &verdict);
    sequence_learn(model, &sequence, &verdict, verdict.judged < LEARNED);
    if (workflow != run) /* but for damaged state */
        watch_drop(scene, run);
    watch_more_grown(scene, workflow);
}

static const struct watch_more course_more = {
    .free = more_free, .bytes = more_bytes, .pack = more_pack, .unpack = more_unpack};

const struct watch_signal watch_signal_sequence = {
    .rule = {"watch_sequence", ALERT_SEQUENCE, SEVERITY_WARNING, .rests = true},
    .words =
        1u << WORD_STARTED | 1u << WORD_LEFT | 1u << WORD_FAILED | 1u << WORD_SUCCEEDED | 1u << WORD_CHILD,
    .key = WATCH_KEY_WORKFLOW,
    .keep = WATCH_KEEP_ALL,
    .size = sizeof(struct course),
    .version = 1,
    .more = &course_more,
    .take = take_course,
    .due = judge_course,
};
