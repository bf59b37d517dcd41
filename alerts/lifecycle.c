#include "alerts/lifecycle_table.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

/* A prompt has an id of its own: the line that it stands for may be of another row, and its own row may begin
 * a later episode whose line must be told too. */
#define PROMPT_REVISION    UINT64_MAX
#define TAKE_BACK_REVISION (UINT64_MAX - 1)

struct lifecycle *lifecycle_new(const struct alert_policy *policies, size_t count)
{
    struct lifecycle *lifecycle = memory_new(sizeof *lifecycle);

    lifecycle->policies = policies;
    lifecycle->policy_count = count;
    lifecycle->held_first_us = lifecycle->next_due_us = INT64_MAX;
    slots_init(&lifecycle->slots, EPISODES_MAX);
    lifecycle->passed_us = INT64_MIN;
    prompts_init(&lifecycle->prompts, EPISODES_MAX);
    return lifecycle;
}

void held_release(struct held *held)
{
    if (--held->references == 0)
        free(held);
}

void lifecycle_free(struct lifecycle *lifecycle)
{
    frozen_conditions_free(&lifecycle->frozen);
    for (size_t i = 0; i < lifecycle->held_count; i++)
        held_release(lifecycle->held[i]);
    for (uint32_t i = 0; i < lifecycle->slots.next; i++)
        if (lifecycle->episodes[i].open)
            held_release(lifecycle->episodes[i].latest);
    slots_free(&lifecycle->slots);
    prompts_free(&lifecycle->prompts);
    blocks_free(&lifecycle->blocks);
    free(lifecycle->held);
    free(lifecycle->episodes);
    free(lifecycle);
}

struct held *held_new(const struct condition *condition)
{
    struct condition copy = *condition;
    struct span *texts[ALERT_TEXTS_MAX];
    size_t count = alert_texts(&copy.evidence, texts), size = sizeof(struct held);

    for (size_t i = 0; i < count; i++)
        size += texts[i]->size;
    struct held *held = memory_new(size);
    char *cursor = (char *)(held + 1);
    for (size_t i = 0; i < count; i++) {
        if (texts[i]->size)
            memcpy(cursor, texts[i]->data, texts[i]->size);
        texts[i]->data = cursor;
        cursor += texts[i]->size;
    }
    *held = (struct held){.references = 1, .condition = copy};
    return held;
}

void held_add(struct lifecycle *lifecycle, struct held *held)
{
    lifecycle->held = memory_reserve(lifecycle->held, &lifecycle->held_capacity, lifecycle->held_count + 1,
                                     sizeof(struct held *));
    lifecycle->held[lifecycle->held_count++] = held;
    if (held->condition.at_us < lifecycle->held_first_us)
        lifecycle->held_first_us = held->condition.at_us;
}

void lifecycle_take(struct lifecycle *lifecycle, const struct condition *condition)
{
    assert(condition->policy < lifecycle->policy_count);
    held_add(lifecycle, held_new(condition));
}

bool lifecycle_is_open(const struct lifecycle *lifecycle, struct id128 dedup)
{
    return slots_find(&lifecycle->slots, dedup) != SLOT_NONE;
}

size_t lifecycle_open_lines(const struct lifecycle *lifecycle, size_t limit, struct id128 *ret_lines)
{
    size_t count = 0;

    for (uint32_t i = 0; i < lifecycle->slots.next && count < limit; i++) {
        const struct episode *episode = &lifecycle->episodes[i];

        if (episode->open && episode->revision)
            ret_lines[count++] = alert_line_id(episode->id, episode->revision - 1);
    }
    return count;
}

void lifecycle_told(struct lifecycle *lifecycle, struct id128 dedup, int64_t known_us)
{
    prompts_told(&lifecycle->prompts, dedup, known_us);
}

/* The episode that begins with this condition: hash(dedup, order time of the first evidence). */
static struct id128 episode_id(const struct condition *condition)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_integer(&builder, (int64_t)condition->evidence.dedup.high);
    id_add_integer(&builder, (int64_t)condition->evidence.dedup.low);
    id_add_integer(&builder, condition->at_us);
    return id_end(&builder);
}

static struct alert prompt_of(const struct lifecycle *lifecycle, const struct condition *condition)
{
    struct alert alert = condition->evidence;

    alert.rule = lifecycle->policies[condition->policy].name;
    alert.episode = episode_id(condition);
    alert.id = alert_line_id(alert.episode, PROMPT_REVISION);
    alert.at_us = alert.starts_us = condition->at_us;
    alert.ends_us = TIME_NONE;
    alert.state = ALERT_FIRING;
    alert.reason = REASON_CONDITION;
    alert.prompt = true;
    return alert;
}

/* What is expected at a time that has gone by comes now, or does not. */
static bool may_prompt(const struct lifecycle *lifecycle, const struct condition *condition)
{
    if (condition->outcome == CONDITION_EXPECTED)
        return condition->at_us >= lifecycle->passed_us;
    return condition->outcome == CONDITION_TRUE && lifecycle->policies[condition->policy].momentary;
}

void lifecycle_prompt(struct lifecycle *lifecycle, const struct condition *condition,
                      lifecycle_emit *emit_alert, void *owner)
{
    struct id128 dedup = condition->evidence.dedup;

    assert(condition->policy < lifecycle->policy_count);
    if (!may_prompt(lifecycle, condition) || lifecycle_is_open(lifecycle, dedup) ||
        prompts_known(&lifecycle->prompts, dedup, lifecycle->passed_us) ||
        !prompts_add(&lifecycle->prompts, dedup))
        return;
    struct alert alert = prompt_of(lifecycle, condition);
    emit_alert(owner, &alert);
}

static int compare_held(const void *left, const void *right)
{
    const struct condition *a = &(*(struct held *const *)left)->condition,
                           *b = &(*(struct held *const *)right)->condition;
    int key = id_compare(a->evidence.dedup, b->evidence.dedup);

    if (a->at_us != b->at_us)
        return a->at_us < b->at_us ? -1 : 1;
    if (a->policy != b->policy)
        return a->policy < b->policy ? -1 : 1;
    if (key)
        return key;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->item > b->item) - (a->item < b->item);
}

static void emit(struct lifecycle *lifecycle, struct episode *episode, enum alert_state state,
                 enum alert_reason reason, int64_t at_us)
{
    const struct condition *condition = &episode->latest->condition;
    struct alert alert = condition->evidence;

    if (condition->policy != POLICY_GONE)
        alert.rule = lifecycle->policies[condition->policy].name;
    alert.episode = episode->id;
    alert.revision = episode->revision++;
    alert.id = alert_line_id(alert.episode, alert.revision);
    alert.at_us = at_us;
    alert.starts_us = episode->since_us;
    alert.ends_us = state == ALERT_RESOLVED ? at_us : TIME_NONE;
    alert.state = state;
    alert.reason = reason;
    alert.quiet = episode->phase == PHASE_PENDING;
    alert.prompted = state == ALERT_FIRING && prompts_take(&lifecycle->prompts, alert.dedup, at_us);
    lifecycle->emit(lifecycle->owner, &alert);
}

/* When would the episode end if nothing more is heard? */
void episode_set_due(struct lifecycle *lifecycle, struct episode *episode, int64_t heard_us)
{
    const struct alert_policy *policy = &lifecycle->policies[episode->latest->condition.policy];

    episode->heard_us = heard_us;
    if (policy->momentary || episode->phase == PHASE_KEPT)
        episode->due_us = heard_us + policy->keep_firing_us;
    else
        episode->due_us = policy->expire_us ? heard_us + policy->expire_us : INT64_MAX;
    if (episode->due_us < lifecycle->next_due_us)
        lifecycle->next_due_us = episode->due_us;
}

void episode_count(struct lifecycle *lifecycle, const struct episode *episode, size_t change)
{
    if (episode->phase == PHASE_PENDING)
        lifecycle->figures.pending += change;
    else
        lifecycle->figures.firing += change;
}

void episode_reserve(struct lifecycle *lifecycle, uint32_t slot)
{
    size_t before = lifecycle->capacity;

    lifecycle->episodes =
        memory_reserve(lifecycle->episodes, &lifecycle->capacity, slot + 1u, sizeof *lifecycle->episodes);
    if (lifecycle->capacity > before)
        memset(lifecycle->episodes + before, 0, (lifecycle->capacity - before) * sizeof *lifecycle->episodes);
}

/* Comes before any change of an episode. */
static void touch(struct lifecycle *lifecycle, uint32_t slot)
{
    if (blocks_touch(&lifecycle->blocks, slot))
        episode_block_save(lifecycle, slot / BLOCK_SLOTS);
}

void episode_resolve(struct lifecycle *lifecycle, struct episode *episode, enum alert_reason reason,
                     int64_t at_us)
{
    touch(lifecycle, (uint32_t)(episode - lifecycle->episodes));
    emit(lifecycle, episode, ALERT_RESOLVED, reason, at_us);
    episode_count(lifecycle, episode, (size_t)-1);
    slots_remove(&lifecycle->slots, episode->latest->condition.evidence.dedup);
    held_release(episode->latest);
    *episode = (struct episode){0};
}

static void begin(struct lifecycle *lifecycle, struct episode *episode, struct held *evidence)
{
    *episode = (struct episode){
        .latest = evidence,
        .id = episode_id(&evidence->condition),
        .phase = PHASE_PENDING,
        .since_us = evidence->condition.at_us,
        .open = true,
    };
    if (lifecycle->policies[evidence->condition.policy].for_us > 0)
        emit(lifecycle, episode, ALERT_PENDING, REASON_CONDITION, episode->since_us);
    lifecycle->figures.pending++;
}

/* The evidence takes the place of the episode's. Severity and kind stay those that receivers know it by, also
 * when the configuration has others since. A cut may share the evidence. */
static void succeed(struct episode *episode, struct held *evidence)
{
    const struct alert *known = &episode->latest->condition.evidence;
    struct condition copy = evidence->condition;

    copy.evidence.severity = known->severity;
    copy.evidence.kind = known->kind;
    held_release(episode->latest);
    episode->latest = evidence;
    if (copy.evidence.severity == evidence->condition.evidence.severity &&
        copy.evidence.kind == evidence->condition.evidence.kind)
        return;
    episode->latest = held_new(&copy);
    held_release(evidence);
}

/* Takes over the evidence. */
static void apply_true(struct lifecycle *lifecycle, struct held *evidence)
{
    const struct alert_policy *policy = &lifecycle->policies[evidence->condition.policy];
    int64_t at_us = evidence->condition.at_us;
    bool is_new;
    uint32_t slot = slots_add(&lifecycle->slots, evidence->condition.evidence.dedup, &is_new);
    struct episode *episode;

    if (slot == SLOT_NONE) {
        held_release(evidence);
        return;
    }
    episode_reserve(lifecycle, slot);
    touch(lifecycle, slot);
    episode = &lifecycle->episodes[slot];
    if (is_new) {
        begin(lifecycle, episode, evidence);
    } else {
        succeed(episode, evidence);
    }
    if (episode->phase == PHASE_KEPT)
        episode->phase = PHASE_FIRING;
    if (episode->phase == PHASE_PENDING && at_us - episode->since_us >= policy->for_us) {
        episode_count(lifecycle, episode, (size_t)-1);
        episode->phase = PHASE_FIRING;
        episode_count(lifecycle, episode, 1);
        emit(lifecycle, episode, ALERT_FIRING, REASON_CONDITION, at_us);
    }
    episode_set_due(lifecycle, episode, at_us);
}

static bool is_same_moment(const struct condition *a, const struct condition *b)
{
    return a->at_us == b->at_us && id_equal(a->evidence.dedup, b->evidence.dedup);
}

/* `next`: what is applied next, NULL: nothing. */
static void apply_false(struct lifecycle *lifecycle, const struct condition *condition,
                        const struct condition *next)
{
    uint32_t slot = slots_find(&lifecycle->slots, condition->evidence.dedup);
    struct episode *episode = slot == SLOT_NONE ? NULL : &lifecycle->episodes[slot];

    if (!episode || episode->phase == PHASE_KEPT)
        return;
    if (episode->phase == PHASE_FIRING && lifecycle->policies[condition->policy].keep_firing_us > 0) {
        touch(lifecycle, slot);
        episode->phase = PHASE_KEPT;
        episode_set_due(lifecycle, episode, condition->at_us);
        return;
    }
    /* it does not end at the moment of its beginning to begin again there: both would have one id */
    if (episode->since_us == condition->at_us && next && is_same_moment(condition, next))
        return;
    episode_resolve(lifecycle, episode, REASON_CONDITION, condition->at_us);
}

/* The turn of what was expected: a prompt that no line stands for by now was wrong. */
static void apply_expected(struct lifecycle *lifecycle, const struct condition *condition)
{
    if (!prompts_take(&lifecycle->prompts, condition->evidence.dedup, condition->at_us))
        return;
    struct alert alert = prompt_of(lifecycle, condition);
    alert.id = alert_line_id(alert.episode, TAKE_BACK_REVISION);
    alert.ends_us = condition->at_us;
    alert.state = ALERT_RESOLVED;
    alert.reason = REASON_WITHDRAWN;
    lifecycle->emit(lifecycle->owner, &alert);
}

static int compare_due(const void *left, const void *right)
{
    const struct episode *a = *(struct episode *const *)left, *b = *(struct episode *const *)right;

    if (a->due_us != b->due_us)
        return a->due_us < b->due_us ? -1 : 1;
    if (a->latest->condition.policy != b->latest->condition.policy)
        return a->latest->condition.policy < b->latest->condition.policy ? -1 : 1;
    return id_compare(a->id, b->id);
}

/* Ends the episodes that fall due before `before_us`, in the order of their due times. */
static void fire_due(struct lifecycle *lifecycle, int64_t before_us)
{
    struct episode **due = NULL;
    size_t count = 0, capacity = 0;

    if (lifecycle->next_due_us >= before_us)
        return;
    for (uint32_t i = 0; i < lifecycle->slots.next; i++)
        if (lifecycle->episodes[i].open && lifecycle->episodes[i].due_us < before_us) {
            due = memory_reserve(due, &capacity, count + 1, sizeof *due);
            due[count++] = &lifecycle->episodes[i];
        }
    if (count)
        qsort(due, count, sizeof *due, compare_due);
    for (size_t i = 0; i < count; i++)
        episode_resolve(lifecycle, due[i], due[i]->phase == PHASE_KEPT ? REASON_CONDITION : REASON_EXPIRED,
                        due[i]->due_us);
    free(due);
    lifecycle->next_due_us = INT64_MAX;
    for (uint32_t i = 0; i < lifecycle->slots.next; i++)
        if (lifecycle->episodes[i].open && lifecycle->episodes[i].due_us < lifecycle->next_due_us)
            lifecycle->next_due_us = lifecycle->episodes[i].due_us;
}

/* Moves the conditions that may be applied to the front, in order, and returns how many there are. */
static size_t sort_ready(struct lifecycle *lifecycle, int64_t until_us, bool final)
{
    size_t ready = 0;

    if (!final && lifecycle->held_first_us >= until_us)
        return 0;
    lifecycle->held_first_us = INT64_MAX;
    for (size_t i = 0; i < lifecycle->held_count; i++) {
        struct held *held = lifecycle->held[i];

        if (final || held->condition.at_us < until_us) {
            lifecycle->held[i] = lifecycle->held[ready];
            lifecycle->held[ready++] = held;
        } else if (held->condition.at_us < lifecycle->held_first_us) {
            lifecycle->held_first_us = held->condition.at_us;
        }
    }
    if (ready)
        qsort(lifecycle->held, ready, sizeof(struct held *), compare_held);
    return ready;
}

void lifecycle_advance(struct lifecycle *lifecycle, int64_t until_us, bool final, lifecycle_emit *emit_alert,
                       void *owner)
{
    size_t ready = sort_ready(lifecycle, until_us, final);
    int64_t end_us = final && until_us < INT64_MAX ? until_us + 1 : until_us;

    lifecycle->emit = emit_alert;
    lifecycle->owner = owner;
    for (size_t i = 0; i < ready; i++) {
        struct held *held = lifecycle->held[i];

        /* a second of the watch may end after the input: nothing falls due in between */
        fire_due(lifecycle, held->condition.at_us < end_us ? held->condition.at_us : end_us);
        if (held->condition.outcome == CONDITION_TRUE) {
            apply_true(lifecycle, held);
            continue;
        }
        if (held->condition.outcome == CONDITION_FALSE)
            apply_false(lifecycle, &held->condition,
                        i + 1 < ready ? &lifecycle->held[i + 1]->condition : NULL);
        else
            apply_expected(lifecycle, &held->condition);
        held_release(held);
    }
    if (ready) {
        lifecycle->held_count -= ready;
        memmove(lifecycle->held, lifecycle->held + ready, lifecycle->held_count * sizeof(struct held *));
    }
    fire_due(lifecycle, end_us);
    if (until_us > lifecycle->passed_us)
        lifecycle->passed_us = until_us;
}

void lifecycle_figures(const struct lifecycle *lifecycle, struct lifecycle_figures *ret_figures)
{
    *ret_figures = lifecycle->figures;
    ret_figures->held = lifecycle->held_count;
}
