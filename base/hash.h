/* Identity and dispatch by hash: 128-bit ids of documents, and 64-bit hashes of keys (xxHash XXH3,
 * seedless, so ids are the same on every machine and in every run). Parts are hashed with their length
 * before them: ("ab","c") and ("a","bc") differ. */
#pragma once
#include "base/span.h"

struct id128 {
    uint64_t high, low;
};

enum { ID_HEX_SIZE = 32 };

/* Collects the parts of one id. Lives on the stack; parts may be of any length. */
struct id_builder {
    struct id128 chain;
    uint32_t used;
    char bytes[1024];
};

static inline void id_begin(struct id_builder *builder)
{
    builder->chain = (struct id128){0};
    builder->used = 0;
}

void id_add_across(struct id_builder *builder, const char *data, size_t size); /* what ends a block */

static inline void id_add_bytes(struct id_builder *builder, const void *data, size_t size)
{
    if (size >= sizeof builder->bytes - builder->used) {
        id_add_across(builder, data, size);
        return;
    }
    memcpy(builder->bytes + builder->used, data, size);
    builder->used += (uint32_t)size;
}

static inline void id_add_text(struct id_builder *builder, struct span text)
{
    id_add_bytes(builder, &text.size, sizeof text.size);
    if (text.size)
        id_add_bytes(builder, text.data, text.size);
}

static inline void id_add_integer(struct id_builder *builder, int64_t value)
{
    id_add_bytes(builder, &value, sizeof value);
}

struct id128 id_end(struct id_builder *builder);

uint64_t hash_bytes(const void *data, size_t size, uint64_t seed);

/* 32 lower-case hex digits, no final null byte. */
void id_format(struct id128 id, char ret_hex[ID_HEX_SIZE]);

static inline int id_compare(struct id128 a, struct id128 b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

static inline bool id_equal(struct id128 a, struct id128 b)
{
    return a.high == b.high && a.low == b.low;
}
