/* Inside of a sequence model: what sequence.c, which judges steps and learns, shares with sequence_table.c
 * (its counts), sequence_counts.c (the other channel) and sequence_state.c. Nothing else includes this. */
#pragma once
#include "detectors/sequence.h"

enum { CHANNEL_STEPS, CHANNEL_COUNTS, CHANNELS };

enum { TAIL_BINS = 128, TAIL_BINS_A_NAT = 4 };

/* A context, or a symbol in a context. All counts are weights: an odd run adds less than 1. */
struct cell {
    uint64_t key;      /* 0: empty */
    uint64_t parent;   /* of a symbol: the key of its context; of a context: 0 */
    double count;      /* a context: the sum of its symbols' */
    uint32_t distinct; /* a context: its different symbols */
};

struct step_kind {
    uint64_t hash;
    double runs; /* that have it */
    uint8_t size;
    char name[SEQUENCE_NAME_MAX];
};

struct step_count {
    uint64_t hash;
    uint32_t count;
    uint32_t step; /* the first one of the run; of a prototype it means nothing */
};

struct prototype {             /* a count vector */
    struct step_count *counts; /* by rising hash */
    uint32_t size;
    double runs;
};

struct tail { /* of surprises: how many in each quarter of a nat */
    uint32_t bins[TAIL_BINS];
    uint32_t total;
};

struct sequence {
    double runs;
    double odd_share; /* of lately judged runs */
    struct cell *cells;
    uint32_t capacity, used, limit; /* limit: the greatest capacity */
    struct step_kind *kinds;
    size_t kind_count, kind_capacity;
    struct prototype *prototypes;
    size_t prototype_count, prototype_capacity, vector_counts; /* the last: in all of them */
    struct tail known[CHANNELS];                               /* of runs that are known to be good */
    struct tail judged;                                        /* of all runs, as told */
};

/* sequence_table.c */
uint64_t key_join(uint64_t key, uint64_t part); /* never 0 */
const struct cell *cell_find(const struct sequence *model, uint64_t key);
double symbol_count(const struct sequence *model, uint64_t context, uint64_t symbol);
void context_add(struct sequence *model, uint64_t context, uint64_t symbol, double weight);
bool context_is_open(const struct cell *context); /* nearly each value is a new one: nothing is rare in it */
void cells_resize(struct sequence *model, uint32_t capacity);
void cell_restore(struct sequence *model, const struct cell *cell); /* there is room */
void sequence_age(struct sequence *model); /* halves all counts, and forgets what comes below 1 */
void tail_add(struct tail *tail, double surprise);
double tail_share(const struct tail *tail, double surprise); /* of those at least as great, itself counted */

/* sequence_counts.c */
struct step_kind *kind_find(const struct sequence *model, uint64_t hash);
uint32_t vector_of(const struct sequence_run *run, struct step_count ret_vector[SEQUENCE_STEPS_MAX]);
double counts_judge(const struct sequence *model, const struct sequence_run *run,
                    struct sequence_verdict *verdict);
void counts_learn(struct sequence *model, const struct sequence_run *run, double weight);

/* sequence.c */
uint64_t step_hash(struct span name);
void reason_add(struct sequence_verdict *verdict, const struct sequence_reason *reason);
