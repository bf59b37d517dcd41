/* Inside of the alerts' life: what lifecycle.c, which applies conditions, shares with lifecycle_state.c.
 * Nothing else includes this. */
#pragma once
#include "alerts/lifecycle.h"
#include "alerts/prompts.h"

enum { EPISODES_MAX = 10 * 1000 * 1000 };

enum phase {
    PHASE_PENDING,
    PHASE_FIRING,
    PHASE_KEPT /* fires on although its condition has ended */,
    PHASES
};

/* A condition with texts of its own, behind it in the same allocation. A cut shares it until it is saved. */
struct held {
    unsigned references;
    struct condition condition;
};

struct episode {
    struct held *latest; /* the newest evidence that was true */
    struct id128 id;
    enum phase phase;
    int64_t since_us; /* first evidence */
    int64_t heard_us; /* the word that its due time counts from */
    int64_t due_us;   /* when it ends by itself; INT64_MAX: never */
    uint64_t revision;
    bool open;
};

/* What a cut takes besides the episodes. */
struct frozen_conditions {
    struct held **held;
    size_t held_count, held_next;
    struct id128 *prompted;
    size_t prompted_count, prompted_next;
    uint32_t block; /* number of the next value */
    bool waiting;
};

struct lifecycle {
    const struct alert_policy *policies;
    size_t policy_count;
    struct held **held;
    size_t held_count, held_capacity;
    int64_t held_first_us, next_due_us;
    int64_t passed_us;  /* all before it is applied */
    struct slots slots; /* dedup -> episode */
    struct prompts prompts;
    struct episode *episodes;
    size_t capacity;
    struct lifecycle_figures figures;
    lifecycle_emit *emit; /* during an advance */
    void *owner;
    struct blocks blocks; /* of episodes */
    struct saver *saver;  /* of the last cut */
    uint64_t cut;         /* whose conditions are stored; 0: none */
    struct frozen_conditions frozen;
};

struct held *held_new(const struct condition *condition);
void held_release(struct held *held);
void held_add(struct lifecycle *lifecycle, struct held *held); /* takes it over */

void episode_reserve(struct lifecycle *lifecycle, uint32_t slot);
void episode_set_due(struct lifecycle *lifecycle, struct episode *episode, int64_t heard_us);
void episode_count(struct lifecycle *lifecycle, const struct episode *episode, size_t change);
void episode_resolve(struct lifecycle *lifecycle, struct episode *episode, enum alert_reason reason,
                     int64_t at_us);
void episode_block_save(struct lifecycle *lifecycle, uint32_t block);

/* Frees what a cut still shares. */
void frozen_conditions_free(struct frozen_conditions *frozen);
