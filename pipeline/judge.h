/* Rules and detectors become conditions: (rule, key) true or false at a time, with evidence, sent to the
 * alert owner. Event and run rules look at rows, bucket rules and detectors at closed buckets. One judge a
 * worker; a rule costs one pass over the batch, evidence is gathered only for what is true. */
#pragma once
#include "pipeline/exchange.h"
#include "pipeline/plan.h"

enum { ALERT_OWNER = 0 }; /* the worker that owns all alerts */

struct condition_record {
    struct record head;
    struct condition condition; /* texts in the record */
};

/* Copies the condition and its texts into a record for the alert owner. */
void condition_send(const struct condition *condition, struct exchange_port *port);

/* hash(pipeline, rule, key): what alerts of one key have in common. */
struct id128 condition_key(const struct plan *plan, const char *rule, const struct span *key, unsigned count);

/* An alert with all numbers absent. */
struct alert condition_evidence(enum alert_kind kind, int severity);

struct judge;

struct judge *judge_new(const struct plan *plan, struct exchange_port *port);
void judge_free(struct judge *judge);

/* All event rules (or run rules) over the rows with mark ok. */
void judge_rows(struct judge *judge, enum rule_scope scope, struct event_batch *batch);

/* What one key's closed buckets of a group say at `end_us`. */
struct judged {
    const struct plan_group *group;
    const struct span *key;
    int64_t end_us;
    const struct bucket *buckets[PLAN_GROUP_MEASURES_MAX]; /* NULL: that measure had no rows */
    const struct signal *signals;                          /* one a detector of the group */
    uint8_t *told;      /* one a bucket rule, then one a detector: 1 while its last word was true */
    uint64_t calendars; /* that the buckets touch */
    bool provisional;
};

/* Sends a condition where the outcome is true, and one false after it was true. An empty bucket counts as
 * false only where nothing undefined is read: no data is not "resolved". */
void judge_buckets(struct judge *judge, const struct judged *judged);
uint64_t judge_errors(const struct judge *judge); /* CEL evaluation errors */
