/* Ids are made for each document and keys are hashed once or more for each row. XXH3 takes some 7 ns for a
 * short key; its own streaming state was dropped for ids because it is 576 bytes that need setting up for
 * a dozen bytes of parts. */
#include "base/hash.h"

#include <endian.h>
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

void id_add_text(struct id_builder *builder, struct span text)
{
    add_bytes(builder, (const char *)&text.size, sizeof text.size);
    add_bytes(builder, text.data, text.size);
}

void id_add_integer(struct id_builder *builder, int64_t value)
{
    if (builder->used + sizeof value >= sizeof builder->bytes) {
        add_bytes(builder, (const char *)&value, sizeof value);
        return;
    }
    memcpy(builder->bytes + builder->used, &value, sizeof value);
    builder->used += (uint32_t)sizeof value;
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

/* The hex digits of 32 bits, the first one in the lowest byte. */
static uint64_t hex_of(uint32_t bits)
{
    uint64_t x = __builtin_bswap32(bits);

    x = (x | x << 16) & 0x0000FFFF0000FFFFu;
    x = (x | x << 8) & 0x00FF00FF00FF00FFu;
    x = (x >> 4 | x << 8) & 0x0F0F0F0F0F0F0F0Fu;
    uint64_t letters = ((x + 0x0606060606060606u) >> 4) & 0x0101010101010101u;
    return x + 0x3030303030303030u + letters * ('a' - '0' - 10);
}

void id_format(struct id128 id, char ret_hex[ID_HEX_SIZE])
{
    const uint64_t digits[] = {
        htole64(hex_of((uint32_t)(id.high >> 32))),
        htole64(hex_of((uint32_t)id.high)),
        htole64(hex_of((uint32_t)(id.low >> 32))),
        htole64(hex_of((uint32_t)id.low)),
    };

    memcpy(ret_hex, digits, ID_HEX_SIZE);
}
