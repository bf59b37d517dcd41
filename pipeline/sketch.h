/* Quantiles of one bucket within 1 % of the value, whatever the distribution: DDSketch (Masson, Rim, Lee,
 * "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019), sparse.
 * The order of adding and merging does not matter. Born empty with sketch_new, owned by one accumulator. */
#pragma once
#include "base/state.h"

/* Buckets a side; 2048 filled neighbours span 17 powers of ten. Values that wait for their bucket. */
enum { SKETCH_SIDE_MAX = 2048, SKETCH_WAITING_MAX = 14 };

struct sketch_bucket {
    int32_t index;  /* holds sizes in (gamma^(index-1), gamma^index] */
    uint32_t count; /* stays at its maximum */
};

struct sketch_side {
    struct sketch_bucket *buckets; /* by index, ascending */
    uint32_t used, capacity;
    uint64_t count; /* values of this side */
};

struct sketch {
    struct sketch_side positive, negative; /* negative: by size */
    uint64_t zeros;
    uint64_t collapsed; /* times that the bucket of the smallest values gave its count to the next, to stay at
                           the maximum */
    uint32_t waiting_count;
    int32_t waiting[SKETCH_WAITING_MAX]; /* twice the index, and 1 more for a negative value */
};

struct sketch *sketch_new(void);
void sketch_free(struct sketch *sketch);
void sketch_add(struct sketch *sketch, double value); /* finite */
void sketch_merge(struct sketch *into, const struct sketch *from);
struct sketch *sketch_copy(const struct sketch *sketch);
size_t sketch_bytes(const struct sketch *sketch);

/* The value at rank floor(percent * (n - 1) / 100), from 0. NaN when empty. */
double sketch_quantile(const struct sketch *sketch, unsigned percent);

void sketch_pack(const struct sketch *sketch, struct buffer *out);
struct sketch *sketch_unpack(struct unpack *in); /* NULL, and the reader is broken: not a sketch */
