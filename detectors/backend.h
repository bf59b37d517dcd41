/* The common back end: opinion -> probability -> score -> rest period -> episode, with a least effect size. One for all
 * detectors, so that scores are comparable and a person states how rare is rare, not a threshold a detector. */
#pragma once
#include "detectors/detector.h"

enum backend_direction { BACKEND_BOTH, BACKEND_UP, BACKEND_DOWN };

struct backend_settings {
    double one_in;          /* alert when rarer than 1 in this many buckets */
    int64_t warm_up_us;     /* 0: 20 buckets */
    int64_t rest_us;        /* after an episode ends no new one starts for so long */
    int direction;          /* enum backend_direction */
    double min_effect;      /* least |actual - nearest band edge|, in the measure's unit; 0: any */
    double min_effect_percent; /* the same as a share of the expected middle */
    double min_value;       /* never alert below this actual value; NaN: any */
};

extern const struct option backend_options[];
extern const size_t backend_option_count;

struct backend_state { /* plain bytes, zeroed at birth */
    int64_t first_us, last_us;  /* end of the first bucket with a value (0: none yet), of the last */
    int64_t rest_until_us;
    int64_t episode_us;         /* end of the episode's first bucket; 0: no episode is open */
    uint32_t seen;
    uint32_t reserved;
};

/* One closed bucket of one series. `value` NaN gives no opinion and leaves the state alone. */
void backend_judge(const struct backend_settings *settings, struct backend_state *state, int64_t bucket_us, int64_t end_us,
                   double value, const struct opinion *opinion, struct signal *ret_signal);
