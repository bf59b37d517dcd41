/* Sequences of runs: what the steps of one workflow's runs usually are, learned run by run, and how
 * surprising a new run is. Two channels, each in nats (-log of a probability), so that workflows compare:
 *
 * steps: each step, and each attribute of a step, given what came before it. Variable-order Markov chain of
 * order 0 to 3 with Witten and Bell's escape (method C of PPM, Moffat 1990); the rarest step counts.
 *
 * counts: how often each step occurs. The nearest known count vector (best on logs in Landauer et al. 2024),
 * where each difference costs the surprise of such a count, and a rare vector its own beyond the usual one.
 *
 * A run is odd from SEQUENCE_ODD on: one of its steps is less likely than 1 in 400. Odd runs teach little, so
 * that what is wrong again and again stays odd; but once most runs are odd the workflow has changed, and they
 * are learned as all are. The same runs in the same order give the same verdicts, also after a pack and
 * unpack. */
#pragma once
#include "base/state.h"

enum {
    SEQUENCE_STEPS_MAX = 1024,    /* of a run; later ones are left out */
    SEQUENCE_ATTRIBUTES_MAX = 64, /* of a step; later ones are left out */
    SEQUENCE_NAME_MAX = 63,       /* bytes kept of a step's name, for the words of a reason */
    SEQUENCE_KINDS_MAX = 256,     /* different steps that a workflow has; the rarest is forgotten */
    SEQUENCE_CELLS_MAX = 1 << 15, /* counts in their contexts; when full, all are halved, ones forgotten */
    SEQUENCE_CELLS_MIN = 256,
    SEQUENCE_COUNTS_MAX = 8192,    /* in all count vectors together */
    SEQUENCE_PROTOTYPES_MAX = 256, /* different count vectors; the rarest is forgotten */
    SEQUENCE_RUNS_MAX = 8192,      /* remembered: then all counts are halved */
    SEQUENCE_REASONS = 3,
};

#define SEQUENCE_ODD 6.0 /* nats */

struct sequence_attribute {
    struct span name, value; /* an empty value is no value */
};

struct sequence_step {
    struct span name;
    const struct sequence_attribute *attributes;
    uint32_t attribute_count;
};

struct sequence_run {
    const struct sequence_step *steps;
    uint32_t count;
};

enum sequence_reason_kind {
    SEQUENCE_NEW,       /* the step is in no run before */
    SEQUENCE_ORDER,     /* it does not come after `before` */
    SEQUENCE_ATTRIBUTE, /* the step's attribute `name` does not have `value` */
    SEQUENCE_MISSING,   /* the run has no such step */
    SEQUENCE_COUNT,     /* it has it `actual` times, not `usual` times */
};

struct sequence_reason { /* spans of the run, or of the model until it learns */
    enum sequence_reason_kind kind;
    struct span step, before, name, value; /* `before` empty: the beginning; `step` empty: the end */
    double surprise;
    double seen, of; /* so often before, of so many chances */
    uint32_t actual, usual;
};

struct sequence_verdict {
    double surprise;      /* nats, 0 and up */
    double steps, counts; /* of the channels, before calibration */
    double
        probability; /* the share of earlier runs at least as surprising: conformal, 1 / (runs + 1) and up */
    bool odd;
    uint32_t judged; /* earlier runs that `probability` is of */
    uint32_t reason_count;
    struct sequence_reason reasons[SEQUENCE_REASONS]; /* greatest surprise first, each at least 1 nat */
};

struct sequence; /* a model of one workflow */

/* `cells`: its most counts in context, a power of 2, SEQUENCE_CELLS_MIN..SEQUENCE_CELLS_MAX. */
struct sequence *sequence_new(uint32_t cells);
void sequence_free(struct sequence *model);          /* NULL does nothing */
size_t sequence_bytes(const struct sequence *model); /* follows from what it has learned alone */
double sequence_runs(const struct sequence *model);  /* learned and remembered */

void sequence_judge(const struct sequence *model, const struct sequence_run *run,
                    struct sequence_verdict *ret_verdict);

/* `verdict`: what sequence_judge said of this run, with nothing learned since. `known_good`: a person says
 * that the run is as it should be: it is learned whatever its verdict, and from 400 of those on they say from
 * what surprise on a run is odd. */
void sequence_learn(struct sequence *model, const struct sequence_run *run,
                    const struct sequence_verdict *verdict, bool known_good);

/* The reason in words: "step b follows a, as in 0 of 812 before". */
void sequence_reason_put(const struct sequence_reason *reason, struct buffer *out);

void sequence_pack(const struct sequence *model, struct buffer *out);
struct sequence *sequence_unpack(struct unpack *in); /* NULL, and in->broken: not what pack wrote */
