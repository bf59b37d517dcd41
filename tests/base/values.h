/* Stored values in memory, as a store would hold them: for tests of state. */
#pragma once
#include "base/memory.h"
#include "base/state.h"

#include <stdlib.h>

struct value {
    struct state_key key;
    char *bytes;
    uint32_t size;
};

struct values {
    struct value *items;
    size_t count, capacity;
    size_t puts; /* since the caller set it to 0 */
};

static inline void values_put(void *owner, const struct state_key *key, struct span bytes)
{
    struct values *values = owner;
    size_t at = 0;

    values->puts++;
    while (at < values->count && memcmp(&values->items[at].key, key, sizeof *key) != 0)
        at++;
    if (at == values->count) {
        values->items =
            memory_reserve(values->items, &values->capacity, ++values->count, sizeof *values->items);
        values->items[at] = (struct value){.key = *key};
    }
    free(values->items[at].bytes);
    values->items[at].bytes = memory_text(bytes.data, bytes.size);
    values->items[at].size = bytes.size;
}

static inline void values_drop(void *owner, uint32_t kind, uint64_t table_owner, uint64_t part)
{
    struct values *values = owner;
    size_t kept = 0;

    for (size_t i = 0; i < values->count; i++) {
        const struct state_key *key = &values->items[i].key;

        if (key->kind == kind && key->owner == table_owner && key->part == part)
            free(values->items[i].bytes);
        else
            values->items[kept++] = values->items[i];
    }
    values->count = kept;
}

static inline struct saver values_saver(struct values *values)
{
    struct saver saver = {.put = values_put, .drop = values_drop, .owner = values};

    buffer_init(&saver.bytes, 64 << 20);
    return saver;
}

static inline void values_free(struct values *values)
{
    for (size_t i = 0; i < values->count; i++)
        free(values->items[i].bytes);
    free(values->items);
    *values = (struct values){0};
}

static inline struct span value_span(const struct value *value)
{
    return span_make(value->bytes, value->size);
}

/* Calls `restore` with each byte of the value changed, and with each beginning of it. Copies are allocated
 * alone, so that the address sanitizer sees a read beyond their end. */
static inline void value_damage(const struct value *value,
                                void (*restore)(void *owner, const struct state_key *key, struct span bytes),
                                void *owner)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};

    for (uint32_t at = 0; at < value->size; at++) {
        char *start = memory_grow(NULL, at + 1u);

        memcpy(start, value->bytes, at);
        restore(owner, &value->key, span_make(start, at));
        free(start);
        for (size_t flip = 0; flip < sizeof flips; flip++) {
            char *copy = memory_grow(NULL, value->size);

            memcpy(copy, value->bytes, value->size);
            copy[at] = (char)(copy[at] ^ flips[flip]);
            restore(owner, &value->key, span_make(copy, value->size));
            free(copy);
        }
    }
}
