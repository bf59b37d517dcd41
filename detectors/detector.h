/* A detector is arithmetic on columns of closed buckets: no clock, no allocation, no I/O, no text. It gives
 * an opinion (residual and expected band); the common back end (backend.h) turns any opinion into a signal,
 * so that no detector owns a threshold. One file a detector, one line in the list in detectors.c. */
#pragma once
#include "base/options.h"
#include "schemas/alert.h"

struct bucket_batch { /* one measure's closed buckets; at most one row a series */
    uint32_t rows;
    const double *value;  /* the statistic that the detector watches; NaN: undefined in this bucket */
    const uint32_t *gap;  /* number of empty buckets of the series just before this one */
    const uint32_t *slot; /* which state: states + slot * state size */
    int64_t bucket_us;    /* hop of the measure */
    void *const *hot;     /* a row: the block lent to its series, or NULL; NULL: none is lent to any */
};

struct opinion {
    double residual;     /* signed standard deviations; NaN: no opinion yet */
    double low, high;    /* expected band, at 3 standard deviations; NaN: none, or open on that side */
    bool certain;        /* a limit that a person set, not an estimate: no warm-up, no calibration */
    int64_t due_us;      /* forecast: the limit will be crossed so long after the bucket's end; else 0 */
    const char *channel; /* which part of the detector spoke; static text, NULL: it has no parts */
};

struct detector_type {
    const char *name, *help;
    enum alert_kind kind;         /* of its alerts; 0 is ALERT_METRIC */
    const struct option *options; /* windows and half-lives are times, never counts */
    size_t option_count, settings_size;

    /* Bytes of state a series: zeroed at birth, plain bytes that may be copied and moved (no pointers), at
     * most 64 KiB, a multiple of 8. 0: these settings are refused for such buckets (a window of fewer than 5
     * or more than 4096, a half-life below 2, threshold without or with crossed limits); the caller makes the
     * error. */
    size_t (*state_size)(const void *settings, int64_t bucket_us);

    /* Row i reads and updates the state of slot[i]. A gap of n acts as n empty buckets: `empty` says how the
     * detector sees one (0 for count-like statistics; NaN: time passes, nothing is known). A row of value NaN
     * is such a bucket of which nothing is known: it gives no opinion, and time passes. Bounded time for any
     * gap. */
    void (*score)(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions);

    /* Of those that do more for a series with more memory, else NULL: bytes of a block (a multiple of 8, at
     * most 256 KiB) that the caller may lend to it, zeroed when lent, plain bytes as the state. The caller
     * decides who gets one and may take it back between any two rows: what was learned there is gone, and a
     * row without it must give its opinion, or none, all the same. */
    size_t (*hot_size)(const void *settings, int64_t bucket_us);
    /* After a row: a block would pay, or goes on paying, for the series of this state. */
    bool (*wants_hot)(const void *settings, const void *state);
};

size_t detector_hot_size(const struct detector_type *type, const void *settings, int64_t bucket_us);

extern const struct detector_type *const detector_types[]; /* ends with NULL */
const struct detector_type *detector_type_find(const char *name);
void detectors_init(void); /* turns GSL's aborting error handler off; once, before any other call */
