/* The life of alerts, in event time: conditions come in (rule, key, true or false at a time, with evidence),
 * revisions of episodes go out. One alert owner; conditions are taken in the order (time, rule, key,
 * partition, offset, item), so what comes out does not depend on who sent what first. A handful of calls a
 * second. */
#pragma once
#include "base/state.h"
#include "base/status.h"
#include "schemas/alert.h"

struct alert_policy { /* of one rule or detector */
    struct span name;
    uint64_t identity;      /* of what its keys mean: an episode of another identity is not its own */
    int64_t for_us;         /* true for so long before it fires */
    int64_t keep_firing_us; /* goes on firing so long after the condition ended */
    int64_t expire_us;      /* resolved after so long without any word; 0: never */
    bool momentary; /* each true is an instant (event rules): it ends by itself after keep_firing_us */
};

enum condition_outcome {
    CONDITION_FALSE,
    CONDITION_TRUE,
    CONDITION_EXPECTED /* true as far as is known ahead of its turn: told by a prompt, and taken back in its
                        * turn when no line has come of it */
};

struct condition {
    uint32_t policy;
    enum condition_outcome outcome;
    int64_t at_us;
    uint32_t partition; /* place of the evidence, for the order of equal times */
    int64_t offset;
    uint16_t item;
    /* dedup, kind, severity, names, labels, texts and numbers are set; the rest is the owner's */
    struct alert evidence;
};

/* Packed: on the way to another process, and in the store while it waits. The policy is found by its name
 * and identity; texts are borrowed from the bytes. */
#define POLICY_GONE UINT32_MAX /* its rule is not in the configuration, or has keys of another meaning */
void condition_pack(const struct alert_policy *policies, const struct condition *condition,
                    struct buffer *out);
void condition_unpack(const struct alert_policy *policies, size_t count, struct unpack *in,
                      struct condition *ret_condition);

struct lifecycle;
typedef void lifecycle_emit(void *owner, const struct alert *alert); /* borrowed during the call */

struct lifecycle *lifecycle_new(const struct alert_policy *policies, size_t count);
void lifecycle_free(struct lifecycle *lifecycle);
void lifecycle_take(struct lifecycle *lifecycle, const struct condition *condition); /* copies */

/* A momentary or expected condition as it arrives, live: emits a prompt (alert.prompt) unless its (rule, key)
 * is open or prompted already. The ordered pass makes the episode later and marks as prompted the next firing
 * line of the key, which need not be of the same condition. A prompt of what was expected and did not come is
 * followed by one that resolves it. */
void lifecycle_prompt(struct lifecycle *lifecycle, const struct condition *condition, lifecycle_emit *emit,
                      void *owner);

/* Everything before `until_us` is known: applies the conditions and due times below it, calling emit in
 * order. `final`: the input has ended at until_us: applies all that was taken and what fell due up to it, and
 * resolves nothing beyond. */
void lifecycle_advance(struct lifecycle *lifecycle, int64_t until_us, bool final, lifecycle_emit *emit,
                       void *owner);

/* State (base/state.h): STATE_EPISODES in blocks, STATE_CONDITIONS whole under part `cut`, the one of the cut
 * before is dropped. Freeze belongs to a cut; save makes about `budget` bytes of values, true when nothing
 * frozen is left. Policies are found by name: episodes of one that is gone are kept apart, see
 * lifecycle_restored. */
void lifecycle_freeze(struct lifecycle *lifecycle, struct saver *saver, uint64_t cut);
bool lifecycle_save(struct lifecycle *lifecycle, size_t budget);
enum status lifecycle_restore(struct lifecycle *lifecycle, const struct state_key *key, struct span value,
                              struct error *ret_error);
/* After the last value: resolves, at `at_us` and with reason removed, the episodes whose rule is gone. */
void lifecycle_restored(struct lifecycle *lifecycle, int64_t at_us, lifecycle_emit *emit, void *owner);

/* At a start: receivers were told lines and prompts of the dedup key up to `known_us`. Until the pass is
 * beyond it no prompt is made: their log says what was told. */
void lifecycle_told(struct lifecycle *lifecycle, struct id128 dedup, int64_t known_us);

bool lifecycle_is_open(const struct lifecycle *lifecycle, struct id128 dedup);

/* Ids of the last lines of open episodes, at most `limit`. Returns how many. */
size_t lifecycle_open_lines(const struct lifecycle *lifecycle, size_t limit, struct id128 *ret_lines);

struct lifecycle_figures {
    size_t pending, firing, held; /* episodes by state; conditions not applied yet */
};
void lifecycle_figures(const struct lifecycle *lifecycle, struct lifecycle_figures *ret_figures);
