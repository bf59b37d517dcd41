/* State of the alerts' life: episodes in blocks, written once a cut when they changed; what was taken and is
 * not applied yet, with the keys prompted, as a whole once a cut. Rules are found by their names, due times
 * follow from the policy of now. */
#include "alerts/lifecycle_table.h"
#include "base/memory.h"

#include <stdlib.h>

enum {
    LAYOUT = 2, /* 2: a rule's identity beside its name */
    VALUE_BYTES = 256 * 1024,
    VALUE_PROMPTED = 8192,
    BLOCKS_MAX = EPISODES_MAX / BLOCK_SLOTS + 1
};

void condition_pack(const struct alert_policy *policies, const struct condition *condition,
                    struct buffer *out)
{
    pack_text(out, policies[condition->policy].name);
    pack_u64(out, policies[condition->policy].identity);
    pack_u8(out, (uint8_t)condition->outcome);
    pack_i64(out, condition->at_us);
    pack_u32(out, condition->partition);
    pack_i64(out, condition->offset);
    pack_u16(out, condition->item);
    alert_pack(&condition->evidence, out);
}

static uint32_t find_policy(const struct alert_policy *policies, size_t count, struct span name,
                            uint64_t identity)
{
    for (uint32_t i = 0; i < count; i++)
        if (span_equal(policies[i].name, name) && policies[i].identity == identity)
            return i;
    return POLICY_GONE;
}

static int64_t unpack_known_time(struct unpack *in)
{
    int64_t time_us = unpack_time(in);

    in->broken |= time_us == TIME_NONE;
    return time_us;
}

void condition_unpack(const struct alert_policy *policies, size_t count, struct unpack *in,
                      struct condition *ret_condition)
{
    struct span rule = unpack_text(in);
    uint64_t identity = unpack_u64(in);
    uint8_t outcome = unpack_u8(in);

    *ret_condition = (struct condition){.policy = find_policy(policies, count, rule, identity),
                                        .outcome = (enum condition_outcome)outcome};
    in->broken |= outcome > CONDITION_EXPECTED;
    ret_condition->at_us = unpack_known_time(in);
    ret_condition->partition = unpack_u32(in);
    ret_condition->offset = unpack_i64(in);
    ret_condition->item = unpack_u16(in);
    alert_unpack(in, &ret_condition->evidence);
    ret_condition->evidence.rule = rule;
}

void episode_block_save(struct lifecycle *lifecycle, uint32_t block)
{
    struct buffer *out = &lifecycle->saver->bytes;
    uint32_t first = block * BLOCK_SLOTS, end = first + BLOCK_SLOTS;

    if (end > lifecycle->slots.next)
        end = lifecycle->slots.next;
    pack_u8(out, LAYOUT);
    for (uint32_t slot = first; slot < end; slot++) {
        const struct episode *episode = &lifecycle->episodes[slot];

        if (!episode->open)
            continue;
        pack_u8(out, (uint8_t)(slot - first));
        pack_id(out, episode->id);
        pack_u8(out, (uint8_t)episode->phase);
        pack_i64(out, episode->since_us);
        pack_i64(out, episode->heard_us);
        pack_u64(out, episode->revision);
        condition_pack(lifecycle->policies, &episode->latest->condition, out);
    }
    saver_put(lifecycle->saver, (struct state_key){.kind = STATE_EPISODES, .block = block});
    blocks_saved(&lifecycle->blocks, block);
}

void frozen_conditions_free(struct frozen_conditions *frozen)
{
    for (size_t i = frozen->held_next; i < frozen->held_count; i++)
        held_release(frozen->held[i]);
    free(frozen->held);
    free(frozen->prompted);
    *frozen = (struct frozen_conditions){0};
}

void lifecycle_freeze(struct lifecycle *lifecycle, struct saver *saver, uint64_t cut)
{
    struct frozen_conditions *frozen = &lifecycle->frozen;

    blocks_freeze(&lifecycle->blocks);
    if (lifecycle->cut)
        saver_drop(saver, STATE_CONDITIONS, 0, lifecycle->cut);
    lifecycle->saver = saver;
    lifecycle->cut = cut;
    *frozen = (struct frozen_conditions){
        .held = memory_new(lifecycle->held_count * sizeof(struct held *)),
        .held_count = lifecycle->held_count,
        .prompted = memory_new(lifecycle->prompts.slots.used * sizeof *frozen->prompted),
        .waiting = true,
    };
    for (size_t i = 0; i < lifecycle->held_count; i++) {
        frozen->held[i] = lifecycle->held[i];
        frozen->held[i]->references++;
    }
    frozen->prompted_count = prompts_list(&lifecycle->prompts, frozen->prompted);
}

/* The next value: keys prompted, then conditions. */
static void save_conditions(struct lifecycle *lifecycle)
{
    struct frozen_conditions *frozen = &lifecycle->frozen;
    struct buffer *out = &lifecycle->saver->bytes;
    size_t prompted = frozen->prompted_count - frozen->prompted_next, begun = frozen->held_next;

    prompted = prompted < VALUE_PROMPTED ? prompted : VALUE_PROMPTED;
    pack_u8(out, LAYOUT);
    pack_u32(out, (uint32_t)prompted);
    for (size_t i = 0; i < prompted; i++)
        pack_id(out, frozen->prompted[frozen->prompted_next++]);
    while (frozen->held_next < frozen->held_count) {
        struct held *held = frozen->held[frozen->held_next];
        size_t size = out->size;

        condition_pack(lifecycle->policies, &held->condition, out);
        if (out->size > VALUE_BYTES && frozen->held_next > begun) {
            buffer_truncate(out, size);
            break;
        }
        held_release(held);
        frozen->held_next++;
    }
    saver_put(lifecycle->saver,
              (struct state_key){.kind = STATE_CONDITIONS, .block = frozen->block++, .part = lifecycle->cut});
    if (frozen->prompted_next == frozen->prompted_count && frozen->held_next == frozen->held_count)
        frozen_conditions_free(frozen);
}

bool lifecycle_save(struct lifecycle *lifecycle, size_t budget)
{
    for (;;) {
        uint32_t block = blocks_next_frozen(&lifecycle->blocks);

        if (block == UINT32_MAX && !lifecycle->frozen.waiting)
            return true;
        if (budget == 0)
            return false;
        size_t before = lifecycle->saver->taken;
        if (block != UINT32_MAX)
            episode_block_save(lifecycle, block);
        else
            save_conditions(lifecycle);
        size_t taken = lifecycle->saver->taken - before;
        budget -= taken < budget ? taken : budget;
    }
}

/* False: another episode has its slot or its key. */
static bool add_episode(struct lifecycle *lifecycle, uint32_t slot, const struct episode *episode,
                        const struct condition *latest)
{
    episode_reserve(lifecycle, slot);
    if (lifecycle->episodes[slot].open || !slots_restore(&lifecycle->slots, latest->evidence.dedup, slot))
        return false;
    lifecycle->episodes[slot] = *episode;
    lifecycle->episodes[slot].latest = held_new(latest);
    episode_count(lifecycle, episode, 1);
    if (latest->policy != POLICY_GONE)
        episode_set_due(lifecycle, &lifecycle->episodes[slot], episode->heard_us);
    return true;
}

static void restore_episodes(struct lifecycle *lifecycle, uint32_t block, struct unpack *in)
{
    while (!in->broken && in->at < in->end) {
        uint32_t slot = block * BLOCK_SLOTS + unpack_u8(in);
        struct episode episode = {.id = unpack_id(in), .open = true};
        uint8_t phase = unpack_u8(in);
        struct condition latest;

        in->broken |= phase >= PHASES;
        episode.phase = (enum phase)phase;
        episode.since_us = unpack_known_time(in);
        episode.heard_us = unpack_known_time(in);
        episode.revision = unpack_u64(in);
        condition_unpack(lifecycle->policies, lifecycle->policy_count, in, &latest);
        if (!in->broken && !add_episode(lifecycle, slot, &episode, &latest))
            in->broken = true;
    }
    blocks_restored(&lifecycle->blocks, block);
}

static void restore_conditions(struct lifecycle *lifecycle, struct unpack *in)
{
    uint32_t prompted = unpack_u32(in);

    for (uint32_t i = 0; i < prompted && !in->broken; i++) {
        struct id128 dedup = unpack_id(in);

        if (!in->broken)
            prompts_add(&lifecycle->prompts, dedup);
    }
    while (!in->broken && in->at < in->end) {
        struct condition condition;

        condition_unpack(lifecycle->policies, lifecycle->policy_count, in, &condition);
        if (!in->broken && condition.policy != POLICY_GONE)
            held_add(lifecycle, held_new(&condition));
    }
}

enum status lifecycle_restore(struct lifecycle *lifecycle, const struct state_key *key, struct span value,
                              struct error *ret_error)
{
    struct unpack in;

    if (unpack_layout(value, LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (key->kind == STATE_CONDITIONS) {
        lifecycle->cut = key->part;
        restore_conditions(lifecycle, &in);
    } else if (key->block < BLOCKS_MAX) {
        restore_episodes(lifecycle, key->block, &in);
    } else {
        return fail(ret_error, "a stored value has a place that cannot be");
    }
    return unpack_finish(&in, ret_error);
}

static int compare_ids(const void *left, const void *right)
{
    return id_compare((*(struct episode *const *)left)->id, (*(struct episode *const *)right)->id);
}

void lifecycle_restored(struct lifecycle *lifecycle, int64_t at_us, lifecycle_emit *emit, void *owner)
{
    struct episode **gone = memory_new(lifecycle->slots.used * sizeof *gone);
    size_t count = 0;

    slots_restored(&lifecycle->slots);
    lifecycle->passed_us = at_us;
    lifecycle->emit = emit;
    lifecycle->owner = owner;
    for (uint32_t i = 0; i < lifecycle->slots.next; i++) {
        struct episode *episode = &lifecycle->episodes[i];

        if (episode->open && episode->latest->condition.policy == POLICY_GONE)
            gone[count++] = episode;
    }
    if (count)
        qsort(gone, count, sizeof *gone, compare_ids);
    for (size_t i = 0; i < count; i++)
        episode_resolve(lifecycle, gone[i], REASON_REMOVED, at_us);
    free(gone);
}
