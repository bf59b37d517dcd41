#include "alerts/lifecycle.h"

#include "base/memory.h"
#include "base/slots.h"

#include <assert.h>
#include <stdlib.h>

enum { EPISODES_MAX = 10 * 1000 * 1000 };

enum phase { PHASE_PENDING, PHASE_FIRING, PHASE_KEPT /* fires on although its condition has ended */ };

/* A condition with texts of its own. */
struct held {
    struct condition condition;
    char *texts;
};

struct episode {
    struct held latest; /* the newest evidence that was true */
    struct id128 id;
    enum phase phase;
    int64_t since_us; /* first evidence */
    int64_t due_us;   /* when it ends by itself; INT64_MAX: never */
    enum alert_reason due_reason;
    uint64_t revision;
    bool open;
};

struct lifecycle {
    const struct alert_policy *policies;
    size_t policy_count;
    struct held *held;
    size_t held_count, held_capacity;
    int64_t held_first_us, next_due_us;
    struct slots slots;    /* dedup -> episode */
    struct slots prompted; /* dedups told ahead of their episode, until it ends */
    struct episode *episodes;
    size_t capacity;
    struct lifecycle_figures figures;
    lifecycle_emit *emit; /* during an advance */
    void *owner;
};

struct lifecycle *lifecycle_new(const struct alert_policy *policies, size_t count)
{
    struct lifecycle *lifecycle = memory_new(sizeof *lifecycle);

    lifecycle->policies = policies;
    lifecycle->policy_count = count;
    lifecycle->held_first_us = lifecycle->next_due_us = INT64_MAX;
    slots_init(&lifecycle->slots, EPISODES_MAX);
    slots_init(&lifecycle->prompted, EPISODES_MAX);
    return lifecycle;
}

void lifecycle_free(struct lifecycle *lifecycle)
{
    for (size_t i = 0; i < lifecycle->held_count; i++)
        free(lifecycle->held[i].texts);
    for (uint32_t i = 0; i < lifecycle->slots.next; i++)
        if (lifecycle->episodes[i].open)
            free(lifecycle->episodes[i].latest.texts);
    slots_free(&lifecycle->slots);
    slots_free(&lifecycle->prompted);
    free(lifecycle->held);
    free(lifecycle->episodes);
    free(lifecycle);
}

static struct held hold(const struct condition *condition)
{
    struct held held = {.condition = *condition};
    struct span *texts[ALERT_TEXTS_MAX];
    size_t count = alert_texts(&held.condition.evidence, texts), size = 0;
    char *cursor;

    for (size_t i = 0; i < count; i++)
        size += texts[i]->size;
    cursor = held.texts = memory_new(size);
    for (size_t i = 0; i < count; i++) {
        if (texts[i]->size)
            memcpy(cursor, texts[i]->data, texts[i]->size);
        texts[i]->data = cursor;
        cursor += texts[i]->size;
    }
    return held;
}

void lifecycle_take(struct lifecycle *lifecycle, const struct condition *condition)
{
    assert(condition->policy < lifecycle->policy_count);
    lifecycle->held = memory_reserve(lifecycle->held, &lifecycle->held_capacity, lifecycle->held_count + 1,
                                     sizeof *lifecycle->held);
    lifecycle->held[lifecycle->held_count++] = hold(condition);
    if (condition->at_us < lifecycle->held_first_us)
        lifecycle->held_first_us = condition->at_us;
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

void lifecycle_prompt(struct lifecycle *lifecycle, const struct condition *condition,
                      lifecycle_emit *emit_alert, void *owner)
{
    struct alert alert = condition->evidence;
    bool is_new;

    assert(condition->policy < lifecycle->policy_count);
    if (!lifecycle->policies[condition->policy].momentary || condition->outcome != CONDITION_TRUE ||
        slots_find(&lifecycle->slots, alert.dedup) != SLOT_NONE ||
        slots_add(&lifecycle->prompted, alert.dedup, &is_new) == SLOT_NONE || !is_new)
        return;
    alert.rule = lifecycle->policies[condition->policy].name;
    alert.episode = episode_id(condition);
    alert.id = alert_line_id(alert.episode, 0);
    alert.at_us = alert.starts_us = condition->at_us;
    alert.ends_us = TIME_NONE;
    alert.state = ALERT_FIRING;
    alert.reason = REASON_CONDITION;
    alert.prompt = true;
    emit_alert(owner, &alert);
}

static int compare_held(const void *left, const void *right)
{
    const struct condition *a = &((const struct held *)left)->condition,
                           *b = &((const struct held *)right)->condition;
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
    struct alert alert = episode->latest.condition.evidence;

    alert.rule = lifecycle->policies[episode->latest.condition.policy].name;
    alert.episode = episode->id;
    alert.revision = episode->revision++;
    alert.id = alert_line_id(alert.episode, alert.revision);
    alert.at_us = at_us;
    alert.starts_us = episode->since_us;
    alert.ends_us = state == ALERT_RESOLVED ? at_us : TIME_NONE;
    alert.state = state;
    alert.reason = reason;
    alert.prompted = state == ALERT_FIRING && slots_find(&lifecycle->prompted, alert.dedup) != SLOT_NONE;
    lifecycle->emit(lifecycle->owner, &alert);
}

static void set_due(struct lifecycle *lifecycle, struct episode *episode, int64_t due_us,
                    enum alert_reason reason)
{
    episode->due_us = due_us;
    episode->due_reason = reason;
    if (due_us < lifecycle->next_due_us)
        lifecycle->next_due_us = due_us;
}

static void count_phase(struct lifecycle *lifecycle, const struct episode *episode, size_t change)
{
    if (episode->phase == PHASE_PENDING)
        lifecycle->figures.pending += change;
    else
        lifecycle->figures.firing += change;
}

static void resolve(struct lifecycle *lifecycle, struct episode *episode, enum alert_reason reason,
                    int64_t at_us)
{
    emit(lifecycle, episode, ALERT_RESOLVED, reason, at_us);
    count_phase(lifecycle, episode, (size_t)-1);
    if (slots_find(&lifecycle->prompted, episode->latest.condition.evidence.dedup) != SLOT_NONE)
        slots_remove(&lifecycle->prompted, episode->latest.condition.evidence.dedup);
    slots_remove(&lifecycle->slots, episode->latest.condition.evidence.dedup);
    free(episode->latest.texts);
    *episode = (struct episode){0};
}

/* The episode goes on: when would it end if nothing more is heard? */
static void await(struct lifecycle *lifecycle, struct episode *episode, int64_t at_us)
{
    const struct alert_policy *policy = &lifecycle->policies[episode->latest.condition.policy];

    if (policy->momentary)
        set_due(lifecycle, episode, at_us + policy->keep_firing_us, REASON_EXPIRED);
    else
        set_due(lifecycle, episode, policy->expire_us ? at_us + policy->expire_us : INT64_MAX,
                REASON_EXPIRED);
}

static void begin(struct lifecycle *lifecycle, struct episode *episode, struct held *evidence)
{
    *episode = (struct episode){
        .latest = *evidence,
        .id = episode_id(&evidence->condition),
        .phase = PHASE_PENDING,
        .since_us = evidence->condition.at_us,
        .open = true,
    };
    if (lifecycle->policies[evidence->condition.policy].for_us > 0)
        emit(lifecycle, episode, ALERT_PENDING, REASON_CONDITION, episode->since_us);
    lifecycle->figures.pending++;
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
        free(evidence->texts);
        return;
    }
    lifecycle->episodes =
        memory_reserve(lifecycle->episodes, &lifecycle->capacity, slot + 1u, sizeof *lifecycle->episodes);
    episode = &lifecycle->episodes[slot];
    if (is_new) {
        begin(lifecycle, episode, evidence);
    } else {
        free(episode->latest.texts);
        episode->latest = *evidence;
    }
    if (episode->phase == PHASE_KEPT)
        episode->phase = PHASE_FIRING;
    if (episode->phase == PHASE_PENDING && at_us - episode->since_us >= policy->for_us) {
        count_phase(lifecycle, episode, (size_t)-1);
        episode->phase = PHASE_FIRING;
        count_phase(lifecycle, episode, 1);
        emit(lifecycle, episode, ALERT_FIRING, REASON_CONDITION, at_us);
    }
    await(lifecycle, episode, at_us);
}

static void apply_false(struct lifecycle *lifecycle, const struct condition *condition)
{
    const struct alert_policy *policy = &lifecycle->policies[condition->policy];
    uint32_t slot = slots_find(&lifecycle->slots, condition->evidence.dedup);
    struct episode *episode = slot == SLOT_NONE ? NULL : &lifecycle->episodes[slot];

    if (!episode || episode->phase == PHASE_KEPT)
        return;
    if (episode->phase == PHASE_FIRING && policy->keep_firing_us > 0) {
        episode->phase = PHASE_KEPT;
        set_due(lifecycle, episode, condition->at_us + policy->keep_firing_us, REASON_CONDITION);
        return;
    }
    resolve(lifecycle, episode, REASON_CONDITION, condition->at_us);
}

static int compare_due(const void *left, const void *right)
{
    const struct episode *a = *(struct episode *const *)left, *b = *(struct episode *const *)right;

    if (a->due_us != b->due_us)
        return a->due_us < b->due_us ? -1 : 1;
    if (a->latest.condition.policy != b->latest.condition.policy)
        return a->latest.condition.policy < b->latest.condition.policy ? -1 : 1;
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
        resolve(lifecycle, due[i], due[i]->due_reason, due[i]->due_us);
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
        struct held held = lifecycle->held[i];

        if (final || held.condition.at_us < until_us) {
            lifecycle->held[i] = lifecycle->held[ready];
            lifecycle->held[ready++] = held;
        } else if (held.condition.at_us < lifecycle->held_first_us) {
            lifecycle->held_first_us = held.condition.at_us;
        }
    }
    if (ready)
        qsort(lifecycle->held, ready, sizeof *lifecycle->held, compare_held);
    return ready;
}

void lifecycle_advance(struct lifecycle *lifecycle, int64_t until_us, bool final, lifecycle_emit *emit_alert,
                       void *owner)
{
    size_t ready = sort_ready(lifecycle, until_us, final);

    lifecycle->emit = emit_alert;
    lifecycle->owner = owner;
    for (size_t i = 0; i < ready; i++) {
        struct held *held = &lifecycle->held[i];

        fire_due(lifecycle, held->condition.at_us);
        if (held->condition.outcome == CONDITION_TRUE) {
            apply_true(lifecycle, held);
        } else {
            apply_false(lifecycle, &held->condition);
            free(held->texts);
        }
    }
    if (ready) {
        lifecycle->held_count -= ready;
        memmove(lifecycle->held, lifecycle->held + ready, lifecycle->held_count * sizeof *lifecycle->held);
    }
    fire_due(lifecycle, final ? until_us + (until_us < INT64_MAX) : until_us);
}

void lifecycle_figures(const struct lifecycle *lifecycle, struct lifecycle_figures *ret_figures)
{
    *ret_figures = lifecycle->figures;
    ret_figures->held = lifecycle->held_count;
}
