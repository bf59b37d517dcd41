/* The common back end: opinion -> probability -> memory of the last surprise -> episode, with a least effect
 * size. One for all detectors, so that scores are comparable and a person states how rare is rare, not a
 * threshold a detector. */
#pragma once
#include "detectors/detector.h"

enum backend_direction { BACKEND_BOTH, BACKEND_UP, BACKEND_DOWN };

struct backend_settings {
    double one_in;             /* alert when rarer than 1 in this many buckets */
    int64_t warm_up_us;        /* 0: 20 buckets with a value */
    int64_t rest_us;           /* the memory of a surprise halves in so long, at least 60 buckets; 0: none */
    double alerts_per_day;     /* in place of one_in: episodes of one series; 0: by one_in */
    int direction;             /* enum backend_direction */
    double min_effect;         /* least |actual - nearest band edge|, in the measure's unit; 0: any */
    double min_effect_percent; /* the same as a share of the middle of the band */
    double min_value;          /* never alert below this actual value; NaN: any */
};

extern const struct option backend_options[];
extern const size_t backend_option_count;

struct backend_range { /* what was ever seen, from the first value on */
    float low, high;
};

enum backend_record { RECORD_VALUE, RECORD_SMOOTH, RECORD_RESIDUAL, RECORDS };

struct backend_state {         /* plain bytes, zeroed at birth */
    int64_t first_us, last_us; /* end of the first and of the last bucket with a value; seen is 0: none yet */
    int64_t episode_us;        /* end of the open episode's first bucket; only if in_episode */
    double origin;             /* the first value: ranges of values count from here */
    struct backend_range ranges[RECORDS];
    float smooth;   /* decaying mean of the values, from the origin */
    float widening; /* logarithm of how far the series' residuals reach beyond what they should */
    float memory;   /* decades of the rarest bucket lately; fades with the rest */
    float unrest;   /* the same, faster: what the score of quiet buckets is made of */
    float budget;   /* decades by which the alert budget has raised the bar */
    uint32_t seen;  /* buckets with a value, up to UINT32_MAX */
    uint32_t in_episode, reserved;
};

/* One closed bucket of one series, in order of time. `value` NaN gives no opinion and leaves the state alone.
 * The band told is the detector's, widened by the series' factor. */
void backend_judge(const struct backend_settings *settings, struct backend_state *state, int64_t bucket_us,
                   int64_t end_us, double value, const struct opinion *opinion, struct signal *ret_signal);
