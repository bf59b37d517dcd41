/* How many different texts a bucket has seen: exact up to 64, then HyperLogLog with 2048 registers (standard
 * error 2.3 %). Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007), counted by the improved estimator of
 * Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017). The order of adding and
 * merging does not matter. Born empty with distinct_new, owned by one accumulator. */
#pragma once
#include "base/state.h"

enum { DISTINCT_EXACT_MAX = 64, DISTINCT_PRECISION = 11, DISTINCT_REGISTERS = 1 << DISTINCT_PRECISION };

struct distinct {
    uint8_t *registers; /* NULL while exact */
    uint64_t *hashes;   /* while exact: ascending, none twice */
    uint32_t used, capacity;
};

struct distinct *distinct_new(void);
void distinct_free(struct distinct *distinct);
void distinct_add(struct distinct *distinct, uint64_t hash);
void distinct_merge(struct distinct *into, const struct distinct *from);
struct distinct *distinct_copy(const struct distinct *distinct);
size_t distinct_bytes(const struct distinct *distinct);
uint64_t distinct_count(const struct distinct *distinct);

void distinct_pack(const struct distinct *distinct, struct buffer *out);
struct distinct *distinct_unpack(struct unpack *in); /* NULL, and the reader is broken: not one */
