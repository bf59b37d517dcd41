/* A store in memory for tests of state: the values of the newest complete cut, and those of the cut under
 * way. A table dropped by a cut loses what earlier cuts put there. */
#pragma once
#include "base/memory.h"
#include "base/state.h"

#include <stdlib.h>

struct stored_value {
    struct state_key key;
    struct span bytes; /* owned */
};

struct stored_values {
    struct stored_value *items;
    size_t count, capacity;
};

struct stored {
    struct stored_values complete, begun;
    struct stored_values dropped; /* by the cut under way; no bytes */
    size_t puts;
    struct saver saver;
};

static inline bool stored_same_table(const struct state_key *a, const struct state_key *b)
{
    return a->kind == b->kind && a->owner == b->owner && a->part == b->part;
}

static inline void stored_remove(struct stored_values *values, size_t at)
{
    free((char *)values->items[at].bytes.data);
    memmove(&values->items[at], &values->items[at + 1], (--values->count - at) * sizeof *values->items);
}

static inline void stored_clear(struct stored_values *values)
{
    while (values->count)
        stored_remove(values, values->count - 1);
}

/* Values stand in the order of their keys, as a store gives them. */
static inline void stored_set(struct stored_values *values, const struct state_key *key, struct span bytes)
{
    size_t at = values->count;

    for (; at > 0; at--) {
        const struct state_key *other = &values->items[at - 1].key;
        bool same = stored_same_table(other, key);

        if (same && other->block == key->block)
            stored_remove(values, at - 1);
        else if (same                         ? other->block < key->block
                 : other->kind != key->kind   ? other->kind < key->kind
                 : other->owner != key->owner ? other->owner < key->owner
                                              : other->part < key->part)
            break;
    }
    values->items =
        memory_reserve(values->items, &values->capacity, values->count + 1, sizeof *values->items);
    memmove(&values->items[at + 1], &values->items[at], (values->count++ - at) * sizeof *values->items);
    values->items[at] =
        (struct stored_value){.key = *key, .bytes = {memory_text(bytes.data, bytes.size), bytes.size}};
}

static inline void stored_put(void *owner, const struct state_key *key, struct span bytes)
{
    struct stored *stored = owner;

    stored->puts++;
    stored_set(&stored->begun, key, bytes);
}

static inline void stored_drop(void *owner, uint32_t kind, uint64_t table_owner, uint64_t part)
{
    struct stored *stored = owner;

    stored_set(&stored->dropped, &(struct state_key){.kind = kind, .owner = table_owner, .part = part},
               (struct span){0});
}

static inline void stored_open(struct stored *stored)
{
    *stored = (struct stored){.saver = {.put = stored_put, .drop = stored_drop, .owner = stored}};
    buffer_init(&stored->saver.bytes, 1 << 30);
}

/* The process ended before the cut was complete. */
static inline void stored_forget(struct stored *stored)
{
    stored_clear(&stored->begun);
    stored_clear(&stored->dropped);
    buffer_clear(&stored->saver.bytes);
}

static inline void stored_flip(struct stored *stored)
{
    for (size_t i = 0; i < stored->dropped.count; i++)
        for (size_t k = stored->complete.count; k-- > 0;)
            if (stored_same_table(&stored->complete.items[k].key, &stored->dropped.items[i].key))
                stored_remove(&stored->complete, k);
    for (size_t i = 0; i < stored->begun.count; i++)
        stored_set(&stored->complete, &stored->begun.items[i].key, stored->begun.items[i].bytes);
    stored_forget(stored);
}

static inline void stored_close(struct stored *stored)
{
    stored_forget(stored);
    stored_clear(&stored->complete);
    free(stored->complete.items);
    free(stored->begun.items);
    free(stored->dropped.items);
    buffer_free(&stored->saver.bytes);
}
