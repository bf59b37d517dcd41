/* Inside of the reference: what reference.c, which knows measures, rules and runs, shares with
 * reference_watch.c. Nothing else includes this. */
#pragma once
#include "tests/simulation/reference.h"

enum { SERIES_MAX = 16 };

// clang-format off
enum {
    RULE_FAILED, RULE_HEAVY, RULE_BROKEN, RULE_ODD, RULE_FAILURE, RULE_FAILING, RULE_SLOW, RULE_OVERDUE,
    RULE_MISSING, RULE_VOLUME, RULE_SILENCE, RULE_BEAT,
    RULES,
};
// clang-format on

/* A row that came through, with what its place decided. */
struct good {
    const struct row *row;
    unsigned queue;
    int64_t time_us, watermark_us, order_us; /* watermark: of its partition just before it */
    uint32_t number;                         /* of its partition, for the order of equal rows */
    uint64_t version;                        /* of a transition: which one of its run */
    int64_t started_us;                      /* of a transition: since when it runs; INT64_MAX: unknown */
};

struct beat { /* what a row says of its source or host: not when it is a duplicate */
    int64_t order_us;
    char name[WORKFLOW_BYTES]; /* "": the source */
    bool is_offline;
};

struct condition_fact { /* of one rule and workflow */
    int64_t at_us;
    bool is_true;
};

struct conditions {
    struct condition_fact *items;
    size_t count, capacity;
};

struct reference {
    const struct scenario *scenario;
    const struct plan *plan;
    struct texts *facts;
    struct good *rows;
    size_t row_count, row_capacity;
    struct beat *beats;
    size_t beat_count, beat_capacity;
    struct good *transitions; /* rows that changed a run, in order */
    size_t transition_count, transition_capacity;
    char workflows[SERIES_MAX][WORKFLOW_BYTES];
    unsigned workflow_count;
    struct conditions conditions[RULES][SERIES_MAX];
    int64_t until_us; /* buckets that end at or before it are told */
    int64_t heard_us; /* what happened before it is told */
};

unsigned reference_workflow(struct reference *reference, const char *name); /* its number */
void reference_condition(struct reference *reference, unsigned rule, unsigned workflow, int64_t at_us,
                         bool is_true);

/* A row says that its source, or a host, is there; before the watch. */
void reference_beat(struct reference *reference, const struct good *row, const char *name);
void reference_watch(struct reference *reference); /* after the transitions */
