/* What alerts are worth: counted against incidents as the project's scorer does (an incident is found by an
 * alert on its target between its start and its end plus a grace; a further alert on it is a repeat; an alert
 * with no incident is false), and by parts of the history, so that one trial tells the figures of every fold
 * of a cross-validation and of what is held out. */
#pragma once
#include "tuning/labels.h"
#include "tuning/trial.h"

enum { FOLDS = 3, PARTS = FOLDS + 1, PART_HELD = FOLDS }; /* the folds make the training part */

struct tally { /* of one part, or of several added up */
    uint32_t incidents, found, alerts, false_alerts, repeats, ignored;
    double delay_s;           /* of those found, added up */
    uint32_t compared, flips; /* alerts of a series that began in the middle, and of one that did not; those
                                 that only one of the two has */
};

struct truth {
    const struct history *history;
    const struct labels *labels; /* NULL: none */
    int64_t grace_us, early_us;
    bool by_series;
    bool held;                  /* there is a part that is held out */
    int64_t part_end_us[PARTS]; /* by time: the last instant of each */
    uint8_t *series_part;       /* by series */
    double part_days[PARTS];    /* how long it is, as a share of all series' buckets times the days of all */
    size_t *incident_first;     /* by series, and one more: where its incidents begin in `incidents` */
    uint32_t *incidents;        /* numbers of labels, series by series */
    size_t outside, without_series; /* labels that do not count: of another time; of no series here */
};

/* `labels` and `history` are borrowed. By time the parts are made so that no incident lies in two of them, if
 * that can be. */
void truth_make(struct truth *truth, const struct history *history, const struct labels *labels,
                bool by_series, int64_t grace_us, int64_t early_us);
void truth_free(struct truth *truth);
unsigned truth_part(const struct truth *truth, uint32_t series, int64_t time_us);
struct trial_range truth_training(const struct truth *truth); /* by time: the end of the last fold */

enum alert_verdict { ALERT_FALSE, ALERT_RIGHT, ALERT_REPEAT, ALERT_EXCUSED };

struct assessment {
    struct tally parts[PARTS];
    int64_t *found_us; /* [label * PARTS + part]: its first alert; TIME_NONE: none */
    uint8_t *alerts;   /* enum alert_verdict of each */
};

void assessment_make(const struct truth *truth, const struct trial_alerts *alerts,
                     struct assessment *ret_assessment);
void assessment_free(struct assessment *assessment);
bool truth_counts(const struct truth *truth, size_t label, unsigned part); /* it can be found there */

void tally_add(struct tally *tally, const struct tally *more);
double tally_recall(const struct tally *tally);    /* without incidents 0, as of the scorer */
double tally_precision(const struct tally *tally); /* found / (found + false) */
double tally_f1(const struct tally *tally);
