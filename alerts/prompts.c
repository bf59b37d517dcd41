#include "alerts/prompts.h"

#include "base/memory.h"

#include <stdlib.h>

void prompts_init(struct prompts *prompts, uint32_t limit)
{
    *prompts = (struct prompts){0};
    slots_init(&prompts->slots, limit);
}

void prompts_free(struct prompts *prompts)
{
    slots_free(&prompts->slots);
    free(prompts->items);
}

/* NULL: absent. */
static struct prompt *find(const struct prompts *prompts, struct id128 dedup)
{
    uint32_t slot = slots_find(&prompts->slots, dedup);

    return slot == SLOT_NONE ? NULL : &prompts->items[slot];
}

/* NULL: no place. */
static struct prompt *find_or_add(struct prompts *prompts, struct id128 dedup)
{
    bool is_new;
    uint32_t slot = slots_add(&prompts->slots, dedup, &is_new);

    if (slot == SLOT_NONE)
        return NULL;
    prompts->items = memory_reserve(prompts->items, &prompts->capacity, slot + 1u, sizeof *prompts->items);
    if (is_new)
        prompts->items[slot] = (struct prompt){.known_us = INT64_MIN};
    return &prompts->items[slot];
}

bool prompts_add(struct prompts *prompts, struct id128 dedup)
{
    struct prompt *prompt = find_or_add(prompts, dedup);

    if (prompt)
        prompt->out = true;
    return prompt != NULL;
}

void prompts_told(struct prompts *prompts, struct id128 dedup, int64_t known_us)
{
    struct prompt *prompt = find_or_add(prompts, dedup);

    if (prompt && known_us > prompt->known_us)
        prompt->known_us = known_us;
}

bool prompts_known(const struct prompts *prompts, struct id128 dedup, int64_t passed_us)
{
    const struct prompt *prompt = find(prompts, dedup);

    return prompt && (prompt->out || prompt->known_us >= passed_us);
}

bool prompts_take(struct prompts *prompts, struct id128 dedup, int64_t at_us)
{
    struct prompt *prompt = find(prompts, dedup);
    bool out = prompt && prompt->out;

    if (!prompt)
        return false;
    prompt->out = false;
    if (at_us >= prompt->known_us)
        slots_remove(&prompts->slots, dedup);
    return out;
}

size_t prompts_list(const struct prompts *prompts, struct id128 *ret_keys)
{
    const struct slots *slots = &prompts->slots;
    size_t count = 0;

    for (size_t i = 0; i <= slots->mask; i++)
        if (slots->cells[i].number && prompts->items[slots->cells[i].number - 1].out)
            ret_keys[count++] = slots->keys[slots->cells[i].number - 1];
    return count;
}
