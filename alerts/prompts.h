/* Which dedup keys receivers were told ahead of the ordered pass: prompts whose firing line is still to come,
 * and, after a restart, how far their knowledge goes. One thread. */
#pragma once
#include "base/slots.h"

struct prompt {
    bool out;         /* stands for the next firing line */
    int64_t known_us; /* until the pass is beyond it there are no prompts; INT64_MIN: there are */
};

struct prompts {
    struct slots slots;
    struct prompt *items;
    size_t capacity;
};

void prompts_init(struct prompts *prompts, uint32_t limit);
void prompts_free(struct prompts *prompts);

bool prompts_add(struct prompts *prompts, struct id128 dedup); /* false: no place */
void prompts_told(struct prompts *prompts, struct id128 dedup, int64_t known_us);

/* A prompt of the key would be one too many. */
bool prompts_known(const struct prompts *prompts, struct id128 dedup, int64_t passed_us);

/* A firing line: true when a prompt was told for it, which is used up by that. */
bool prompts_take(struct prompts *prompts, struct id128 dedup, int64_t at_us);

/* Copies the keys of prompts that are out; returns how many. There is room for slots.used. */
size_t prompts_list(const struct prompts *prompts, struct id128 *ret_keys);
