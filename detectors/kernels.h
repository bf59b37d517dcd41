/* Statistics that several detectors share: the window of the last buckets, decaying moments, and the step
 * from a value to an opinion. All state is plain bytes, zeroed at birth. Values are finite or NaN (NaN:
 * nothing known) and must have passed `limit_value`. */
#pragma once
#include "detectors/detector.h"

/* Fewer values than VALUES_MIN are no statistic; windows that could never hold so many are refused. */
enum { VALUES_MIN = 5, WINDOW_BUCKETS_MAX = 4096 };

/* Detectors that must take the empty buckets of a gap one by one take so many: after a longer gap a series
 * begins anew, with so many empty buckets. */
enum { GAP_STEPS_MAX = 16384 };

/* Keeps squares and their sums finite: beyond +-1e140 values act as if they stood there. Infinities too; NaN
 * stays. */
double limit_value(double value);

/* (value - middle) / scale, at most +-38, and the band middle +- 3 scale. The scale has a floor of 1e-9
 * |middle| and of 1e-12, so that a constant series gives a bounded answer and rounding noise gives none. NaN
 * value: no opinion. */
struct opinion opinion_make(double value, double middle, double scale);
struct opinion opinion_none(void);

/* The values of the last `buckets` buckets, in a ring. How many there are is the settings' business, not the
 * state's. */
struct window {
    uint32_t head;   /* where the next value goes; the oldest value once `filled` is `buckets` */
    uint32_t filled; /* buckets seen, at most `buckets` */
    double ring[];   /* NaN: a bucket of which nothing is known */
};

/* Buckets in a window; 0: refused (fewer than `least` or more than WINDOW_BUCKETS_MAX). window_us 0 is the
 * default of one day, at least 32 and at most 1440 buckets. */
uint32_t window_buckets(int64_t window_us, int64_t bucket_us, uint32_t least);
size_t window_size(uint32_t buckets); /* bytes of a struct window; 0 for 0 buckets */
void window_push(struct window *window, uint32_t buckets, double value);
void window_push_many(struct window *window, uint32_t buckets, double value, uint64_t count);

/* The known ones, in no order; returns how many. */
uint32_t window_values(const struct window *window, double ret_values[WINDOW_BUCKETS_MAX]);

/* How much the past loses in one bucket: weights are multiplied by `factor` = exp(-rate). */
struct decay {
    double rate, factor;
};

/* half_life_us 0 is the default of one day, but at least 32 buckets. */
struct decay decay_of(int64_t half_life_us, int64_t bucket_us);
bool decay_usable(struct decay decay); /* false: a half-life below two buckets, too short for a variance */

/* Weighted mean and variance of which old values fade (T. Finch, "Incremental calculation of weighted mean
 * and variance", 2009, section 9, with the weights kept so that the start is not biased). */
struct moments {
    double weight, weight_squares; /* sums of the weights and of their squares */
    double mean, squares;          /* squares: weighted sum of (value - mean)^2 */
};

/* Buckets without a value; one with this value; many with this value. O(1) each; NaN is no value. */
void moments_pass(struct moments *moments, struct decay decay, uint64_t count);
void moments_add(struct moments *moments, struct decay decay, double value);
void moments_add_many(struct moments *moments, struct decay decay, double value, uint64_t count);

bool moments_ready(const struct moments *moments);   /* the weights are worth VALUES_MIN values or more */
double moments_scale(const struct moments *moments); /* standard deviation; only when ready */

/* Moments that one spike cannot blind (P. Huber's clipping: R. Gelper et al., "Robust forecasting with
 * exponential and Holt-Winters smoothing", 2010): a value beyond 3 standard deviations counts as if it stood
 * at 3, the next one in a row beyond at 6, then 9 ..., so that a lasting shift is learned within tens of
 * buckets, from a scale of 0 too. */
struct robust_moments {
    struct moments moments;
    uint32_t outliers; /* in a row, up to now */
    uint32_t reserved;
};

void robust_pass(struct robust_moments *robust, struct decay decay, uint64_t count);
/* What a value counts as, which is then to be added: for who learns more from it than the moments do. NaN
 * stays. */
double robust_clip(struct robust_moments *robust, double value);
void robust_add(struct robust_moments *robust, struct decay decay, double value);
/* Steps while the value is an outlier (tens of steps, whatever the count), then in O(1): a value that is none
 * stays none. */
void robust_add_many(struct robust_moments *robust, struct decay decay, double value, uint64_t count);

/* How much longer deviations from a mean last than chance: the sum of n of them has n times their variance,
 * times the factor (the long-run variance where each keeps the share r of the one before: (1 + r) / (1 - r),
 * at most 199). */
struct persistence {
    double products; /* faded sum of each deviation times the one before */
    double last;     /* deviation; 0 where the bucket before is not known */
};

void persistence_pass(struct persistence *persistence, struct decay decay, uint64_t count);
void persistence_add(struct persistence *persistence, struct decay decay, double deviation);
double persistence_share(const struct persistence *persistence, const struct moments *moments);
double persistence_factor(const struct persistence *persistence, const struct moments *moments);
