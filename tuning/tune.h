/* The search for a detector's parameters over a history: what to make least, the trials, and what came of it.
 * With labels the aim is F1 of whole incidents, then fewer false alerts and less delay; without, a number of
 * alerts a day, and alerts that stay the same when a series begins later. */
#pragma once
#include "tuning/assessment.h"
#include "tuning/space.h"

struct tune_options {
    double alerts_per_day; /* over all series; 0: none, with labels only */
    uint64_t seed;
    unsigned walks, steps, threads; /* trials are walks times steps at most */
    bool (*is_over)(void *owner);   /* no more trials; NULL: never, then the seed alone decides */
    void (*watch)(void *owner, uint64_t trials, uint64_t of); /* may be NULL */
    void *owner;
};

struct tune_trial {
    double values[SEARCH_DIMENSIONS_MAX];
    double cost; /* over the folds */
    struct tally folds[FOLDS];
};

struct tune_outcome { /* some settings over the whole history */
    double values[SEARCH_DIMENSIONS_MAX];
    double cost; /* of the folds */
    struct trial_alerts alerts;
    struct assessment assessment;
    struct tally training; /* the folds added up; assessment.parts[PART_HELD] is what is held out */
};

struct tune {
    const struct history *history;
    const struct truth *truth;
    const struct tune_options *options;
    struct trial_settings base; /* the settings that the search begins with */
    struct space space;

    struct tune_trial *trials; /* walk by walk, each in its order */
    unsigned *taken;           /* by walk */
    struct tune_outcome before, after;
    struct tally crossed; /* each fold by the trial that is best over the others */
    uint64_t tried;
    bool cut_short; /* the time was over first: another run may find another result */
    bool improved;  /* `after` is not `before` */
    bool parts;     /* held out, the gain is gone or much smaller: the settings fit the training part */
};

/* `base` and what it points to, history, truth and options are borrowed until tune_free. False: there is
 * nothing to turn, or the detector refuses the settings that it begins with. */
bool tune_run(struct tune *tune, const struct history *history, const struct truth *truth,
              const struct trial_settings *base, const struct tune_options *options, struct error *ret_error);
void tune_free(struct tune *tune);

/* A copy of the base with these values, for a trial. */
struct tune_copy {
    void *settings;
    struct backend_settings backend;
    struct trial_settings trial;
};
void tune_copy_make(const struct tune *tune, const double *values,
                    struct tune_copy *ret_copy); /* which stays where it is */
void tune_copy_free(struct tune_copy *copy);

double tune_cost(const struct tune *tune, const struct tally *tally, double days); /* least is best */
