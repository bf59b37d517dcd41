/* HyperLogLog with a sparse beginning: most keys see a handful of different texts a bucket, and 2 KB for each
 * would be the largest thing a series owns. Added to once a row, counted once a bucket. Tried and dropped:
 * the estimator of 2007 with linear counting below 5120, which is 3 % too high around there. */
#include "pipeline/distinct.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANK_MAX = 64 - DISTINCT_PRECISION + 1, PACKED_REGISTERS = UINT8_MAX };

struct distinct *distinct_new(void)
{
    return memory_new(sizeof(struct distinct));
}

void distinct_free(struct distinct *distinct)
{
    if (!distinct)
        return;
    free(distinct->registers);
    free(distinct->hashes);
    free(distinct);
}

/* The register is named by the first 11 bits; it keeps the longest run of zeros seen in the rest, plus one.
 */
static void register_hash(struct distinct *distinct, uint64_t hash)
{
    uint8_t *place = &distinct->registers[hash >> (64 - DISTINCT_PRECISION)];
    uint64_t rest = hash << DISTINCT_PRECISION | 1ull << (DISTINCT_PRECISION - 1); /* ends the run */
    uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);

    if (rank > *place)
        *place = rank;
}

static void make_registers(struct distinct *distinct)
{
    distinct->registers = memory_new(DISTINCT_REGISTERS);
    for (uint32_t i = 0; i < distinct->used; i++)
        register_hash(distinct, distinct->hashes[i]);
    free(distinct->hashes);
    distinct->hashes = NULL;
    distinct->used = distinct->capacity = 0;
}

void distinct_add(struct distinct *distinct, uint64_t hash)
{
    uint32_t low = 0, high = distinct->used;

    if (distinct->registers) {
        register_hash(distinct, hash);
        return;
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (distinct->hashes[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < distinct->used && distinct->hashes[low] == hash)
        return;
    if (distinct->used == DISTINCT_EXACT_MAX) {
        make_registers(distinct);
        register_hash(distinct, hash);
        return;
    }
    size_t capacity = distinct->capacity;
    distinct->hashes =
        memory_reserve(distinct->hashes, &capacity, distinct->used + 1, sizeof *distinct->hashes);
    distinct->capacity = (uint32_t)capacity;
    memmove(distinct->hashes + low + 1, distinct->hashes + low,
            (distinct->used - low) * sizeof *distinct->hashes);
    distinct->hashes[low] = hash;
    distinct->used++;
}

void distinct_merge(struct distinct *into, const struct distinct *from)
{
    if (!from->registers) {
        for (uint32_t i = 0; i < from->used; i++)
            distinct_add(into, from->hashes[i]);
        return;
    }
    if (!into->registers)
        make_registers(into);
    for (unsigned i = 0; i < DISTINCT_REGISTERS; i++)
        if (from->registers[i] > into->registers[i])
            into->registers[i] = from->registers[i];
}

struct distinct *distinct_copy(const struct distinct *distinct)
{
    struct distinct *copy = distinct_new();

    distinct_merge(copy, distinct);
    return copy;
}

size_t distinct_bytes(const struct distinct *distinct)
{
    return sizeof *distinct + distinct->capacity * sizeof *distinct->hashes +
           (distinct->registers ? DISTINCT_REGISTERS : 0);
}

/* x + x^2 + 2 x^4 + 4 x^8 ...: what the empty registers, a share x, tell. */
static double weigh_empty(double share)
{
    double power = share, factor = 1, sum = share, before;

    if (share == 1)
        return INFINITY;
    do {
        power *= power;
        before = sum;
        sum += power * factor;
        factor += factor;
    } while (sum != before);
    return sum;
}

uint64_t distinct_count(const struct distinct *distinct)
{
    unsigned registers_at[RANK_MAX + 1] = {0};
    const double registers = DISTINCT_REGISTERS;
    double sum = 0;

    if (!distinct->registers)
        return distinct->used;
    for (unsigned i = 0; i < DISTINCT_REGISTERS; i++)
        registers_at[distinct->registers[i]]++;
    for (unsigned rank = RANK_MAX; rank > 0; rank--)
        sum = (sum + registers_at[rank]) / 2;
    sum += registers * weigh_empty(registers_at[0] / registers);
    return (uint64_t)llround(registers * registers / (2 * M_LN2 * sum));
}

void distinct_pack(const struct distinct *distinct, struct buffer *out)
{
    pack_u8(out, distinct->registers ? PACKED_REGISTERS : (uint8_t)distinct->used);
    if (distinct->registers)
        buffer_put(out, distinct->registers, DISTINCT_REGISTERS);
    for (uint32_t i = 0; i < distinct->used; i++)
        pack_u64(out, distinct->hashes[i]);
}

static void unpack_registers(struct unpack *in, struct distinct *distinct)
{
    const uint8_t *ranks = unpack_bytes(in, DISTINCT_REGISTERS);

    make_registers(distinct);
    for (unsigned i = 0; ranks && i < DISTINCT_REGISTERS; i++) {
        distinct->registers[i] = ranks[i];
        in->broken |= ranks[i] > RANK_MAX;
    }
}

struct distinct *distinct_unpack(struct unpack *in)
{
    struct distinct *distinct = distinct_new();
    unsigned used = unpack_u8(in);

    if (used == PACKED_REGISTERS)
        unpack_registers(in, distinct);
    else if (used > DISTINCT_EXACT_MAX)
        in->broken = true;
    for (unsigned i = 0; used != PACKED_REGISTERS && i < used && !in->broken; i++) {
        distinct_add(distinct, unpack_u64(in));
        in->broken |= distinct->used != i + 1;
    }
    if (!in->broken)
        return distinct;
    distinct_free(distinct);
    return NULL;
}
