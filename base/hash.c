/* Ids are made for each document and keys are hashed once or more for each row. XXH3 takes some 7 ns for a
 * short key; its own streaming state was dropped for ids because it is 576 bytes that need setting up for
 * a dozen bytes of parts. */
#include "base/hash.h"

#include <xxhash.h>

void id_begin(struct id_builder *builder)
{
    builder->chain = (struct id128){0};
    builder->used = 0;
}

/* Folds the block into the chain, so that the builder never allocates however long the parts are. Blocks
 * are cut by their size alone, never where a part ends. */
static void fold(struct id_builder *builder)
{
    uint64_t seed = builder->chain.low ^ builder->used;
    XXH128_hash_t hash = XXH3_128bits_withSeed(builder->bytes, builder->used, seed);

    builder->chain.high = builder->chain.high * 0x9E3779B97F4A7C15u + hash.high64;
    builder->chain.low = hash.low64 + (builder->chain.low << 1);
    builder->used = 0;
}

static void add_bytes(struct id_builder *builder, const char *data, size_t size)
{
    while (size > 0) {
        size_t piece = sizeof builder->bytes - builder->used;

        if (piece > size)
            piece = size;
        memcpy(builder->bytes + builder->used, data, piece);
        builder->used += (uint32_t)piece;
        data += piece;
        size -= piece;
        if (builder->used == sizeof builder->bytes)
            fold(builder);
    }
}

/* Whether so much can be added and the block be still open: nearly always. */
static bool has_room(const struct id_builder *builder, size_t size)
{
    return size < sizeof builder->bytes - builder->used;
}

void id_add_text(struct id_builder *builder, struct span text)
{
    if (text.size < sizeof builder->bytes && has_room(builder, sizeof text.size + text.size)) {
        char *to = builder->bytes + builder->used;

        memcpy(to, &text.size, sizeof text.size);
        if (text.size)
            memcpy(to + sizeof text.size, text.data, text.size);
        builder->used += (uint32_t)(sizeof text.size + text.size);
        return;
    }
    add_bytes(builder, (const char *)&text.size, sizeof text.size);
    add_bytes(builder, text.data, text.size);
}

void id_add_integer(struct id_builder *builder, int64_t value)
{
    if (has_room(builder, sizeof value)) {
        memcpy(builder->bytes + builder->used, &value, sizeof value);
        builder->used += (uint32_t)sizeof value;
        return;
    }
    add_bytes(builder, (const char *)&value, sizeof value);
}

struct id128 id_end(struct id_builder *builder)
{
    fold(builder);
    return builder->chain;
}

uint64_t hash_bytes(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

void id_format(struct id128 id, char ret_hex[ID_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        ret_hex[i] = digits[(id.high >> (60 - 4 * i)) & 15];
        ret_hex[16 + i] = digits[(id.low >> (60 - 4 * i)) & 15];
    }
}
