/* Sparse DDSketch: one binary search a row, an insertion now and then, one walk a bucket closed. Latencies of
 * one series fill 50 to 200 buckets, so a sorted array of 8 bytes each is smaller than any dense one and
 * searches in cache. A row that comes alone would find nothing of it there: values wait in the sketch itself
 * until a dozen go to their buckets at once, or somebody asks for these. Dropped: the dense array of the
 * reference implementation (8 KB a series from the first outlier on). */
#include "pipeline/sketch.h"

#include "base/memory.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* gamma = (1 + a) / (1 - a) for a relative accuracy of a = 1 % */
static const double gamma_value = 1.01 / 0.99;
static const double per_log_gamma = 49.99833328888656; /* 1 / ln(gamma) */

struct sketch *sketch_new(void)
{
    return memory_new(sizeof(struct sketch));
}

void sketch_free(struct sketch *sketch)
{
    if (!sketch)
        return;
    free(sketch->positive.buckets);
    free(sketch->negative.buckets);
    free(sketch);
}

static void count_up(struct sketch_bucket *bucket, uint32_t count)
{
    bucket->count = bucket->count > UINT32_MAX - count ? UINT32_MAX : bucket->count + count;
}

static void reserve(struct sketch_side *side, uint32_t needed)
{
    size_t capacity = side->capacity;

    side->buckets = memory_reserve(side->buckets, &capacity, needed, sizeof *side->buckets);
    side->capacity = (uint32_t)capacity;
}

/* Keeps the 2048 highest buckets that were ever filled, all below added to the lowest of them: the same set
 * in any order. */
static void collapse(struct sketch *sketch, struct sketch_side *side)
{
    uint32_t surplus = side->used > SKETCH_SIDE_MAX ? side->used - SKETCH_SIDE_MAX : 0;

    if (!surplus)
        return;
    for (uint32_t i = 0; i < surplus; i++)
        count_up(&side->buckets[surplus], side->buckets[i].count);
    side->used = SKETCH_SIDE_MAX;
    sketch->collapsed += surplus;
    memmove(side->buckets, side->buckets + surplus, side->used * sizeof *side->buckets);
}

/* Place of the first bucket not below the index. The step is a multiplication because a branch would be
 * guessed wrong half the time: 60 ns a row then. */
static uint32_t find_place(const struct sketch_side *side, int32_t index)
{
    uint32_t first = 0, left = side->used;

    while (left > 1) {
        uint32_t half = left / 2;

        first += (side->buckets[first + half - 1].index < index) * half;
        left -= half;
    }
    return first + (left == 1 && side->buckets[first].index < index);
}

static void add_index(struct sketch *sketch, struct sketch_side *side, int32_t index)
{
    uint32_t low = find_place(side, index);

    side->count++;
    if (low < side->used && side->buckets[low].index == index) {
        count_up(&side->buckets[low], 1);
        return;
    }
    reserve(side, side->used + 1);
    memmove(side->buckets + low + 1, side->buckets + low, (side->used - low) * sizeof *side->buckets);
    side->buckets[low] = (struct sketch_bucket){.index = index, .count = 1};
    side->used++;
    collapse(sketch, side);
}

/* Nobody sees a difference. */
static void settle(const struct sketch *waiting)
{
    struct sketch *sketch = (struct sketch *)waiting;

    for (uint32_t i = 0; i < sketch->waiting_count; i++) {
        int32_t value = sketch->waiting[i];

        add_index(sketch, value & 1 ? &sketch->negative : &sketch->positive, value >> 1);
    }
    sketch->waiting_count = 0;
}

static void add_waiting(struct sketch *sketch, int32_t value)
{
    if (sketch->waiting_count == SKETCH_WAITING_MAX)
        settle(sketch);
    sketch->waiting[sketch->waiting_count++] = value;
}

void sketch_add(struct sketch *sketch, double value)
{
    assert(isfinite(value));
    if (value == 0) {
        sketch->zeros++;
        return;
    }
    add_waiting(sketch, 2 * (int32_t)ceil(log(fabs(value)) * per_log_gamma) + (value < 0));
}

static void merge_side(struct sketch *sketch, struct sketch_side *into, const struct sketch_side *from)
{
    struct sketch_side merged = {.count = into->count + from->count};
    uint32_t a = 0, b = 0;

    if (!from->used)
        return;
    reserve(&merged, into->used + from->used);
    while (a < into->used || b < from->used) {
        const struct sketch_bucket *next;

        if (b == from->used || (a < into->used && into->buckets[a].index <= from->buckets[b].index))
            next = &into->buckets[a++];
        else
            next = &from->buckets[b++];
        if (merged.used && merged.buckets[merged.used - 1].index == next->index)
            count_up(&merged.buckets[merged.used - 1], next->count);
        else
            merged.buckets[merged.used++] = *next;
    }
    free(into->buckets);
    *into = merged;
    collapse(sketch, into);
}

void sketch_merge(struct sketch *into, const struct sketch *from)
{
    merge_side(into, &into->positive, &from->positive);
    merge_side(into, &into->negative, &from->negative);
    for (uint32_t i = 0; i < from->waiting_count; i++)
        add_waiting(into, from->waiting[i]);
    into->zeros += from->zeros;
    into->collapsed += from->collapsed;
}

static void copy_side(struct sketch_side *into, const struct sketch_side *from)
{
    *into = (struct sketch_side){.count = from->count, .used = from->used};
    if (!from->used)
        return;
    reserve(into, from->used);
    memcpy(into->buckets, from->buckets, from->used * sizeof *from->buckets);
}

struct sketch *sketch_copy(const struct sketch *sketch)
{
    struct sketch *copy = sketch_new();

    copy->zeros = sketch->zeros;
    copy->collapsed = sketch->collapsed;
    copy_side(&copy->positive, &sketch->positive);
    copy_side(&copy->negative, &sketch->negative);
    copy->waiting_count = sketch->waiting_count;
    memcpy(copy->waiting, sketch->waiting, sketch->waiting_count * sizeof *sketch->waiting);
    return copy;
}

size_t sketch_bytes(const struct sketch *sketch)
{
    return sizeof *sketch +
           (sketch->positive.capacity + sketch->negative.capacity) * sizeof(struct sketch_bucket);
}

/* The point of a bucket whose relative distance to both ends is the same. */
static double bucket_value(int32_t index)
{
    return fmin(2 / (gamma_value + 1) * exp(index / per_log_gamma), DBL_MAX);
}

double sketch_quantile(const struct sketch *sketch, unsigned percent)
{
    const struct sketch_side *negative = &sketch->negative, *positive = &sketch->positive;

    assert(percent <= 100);
    settle(sketch);
    uint64_t total = negative->count + sketch->zeros + positive->count;
    if (!total)
        return NAN;
    uint64_t rank = (uint64_t)((unsigned __int128)(total - 1) * percent / 100);
    for (uint32_t i = negative->used; i-- > 0; rank -= negative->buckets[i].count)
        if (rank < negative->buckets[i].count)
            return -bucket_value(negative->buckets[i].index);
    if (rank < sketch->zeros)
        return 0;
    rank -= sketch->zeros;
    for (uint32_t i = 0; i < positive->used; rank -= positive->buckets[i].count, i++)
        if (rank < positive->buckets[i].count)
            return bucket_value(positive->buckets[i].index);
    /* Only when a count stands at its maximum: the ranks beyond it belong to the largest values. */
    return positive->used ? bucket_value(positive->buckets[positive->used - 1].index) : 0;
}

static void pack_side(const struct sketch_side *side, struct buffer *out)
{
    pack_u16(out, (uint16_t)side->used);
    pack_u64(out, side->count);
    for (uint32_t i = 0; i < side->used; i++) {
        pack_u32(out, (uint32_t)side->buckets[i].index);
        pack_u32(out, side->buckets[i].count);
    }
}

void sketch_pack(const struct sketch *sketch, struct buffer *out)
{
    settle(sketch);
    pack_u64(out, sketch->zeros);
    pack_u64(out, sketch->collapsed);
    pack_side(&sketch->positive, out);
    pack_side(&sketch->negative, out);
}

static void unpack_side(struct unpack *in, struct sketch_side *side)
{
    uint32_t used = unpack_u16(in);

    side->count = unpack_u64(in);
    in->broken |= used > SKETCH_SIDE_MAX;
    if (used && !in->broken)
        reserve(side, used);
    for (; side->used < used && !in->broken; side->used++) {
        struct sketch_bucket *bucket = &side->buckets[side->used];

        bucket->index = (int32_t)unpack_u32(in);
        bucket->count = unpack_u32(in);
        in->broken |= side->used > 0 && bucket->index <= bucket[-1].index;
    }
}

struct sketch *sketch_unpack(struct unpack *in)
{
    struct sketch *sketch = sketch_new();

    sketch->zeros = unpack_u64(in);
    sketch->collapsed = unpack_u64(in);
    unpack_side(in, &sketch->positive);
    unpack_side(in, &sketch->negative);
    if (!in->broken)
        return sketch;
    sketch_free(sketch);
    return NULL;
}
