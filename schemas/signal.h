/* What a detector and the common back end say of one closed bucket. */
#pragma once
#include "schemas/bucket.h"

enum direction { DIRECTION_NONE, DIRECTION_UP, DIRECTION_DOWN };

struct signal {
    bool opinion;       /* false during warm-up: all else is absent */
    bool anomaly;       /* the back end would alert: rare enough, large enough, not resting */
    bool episode_start; /* anomaly here and not in the bucket before */
    double residual;    /* standard deviations from the expected value, signed */
    double probability; /* of a residual at least as large, 0..1 */
    double score;       /* 0..1, rises with rarity */
    double one_in;      /* 1 / probability */
    double actual, expected_low, expected_high;
    enum direction direction;
    int64_t due_us;      /* so long after the bucket's end a limit will be crossed; 0: not told */
    const char *channel; /* which part of the detector spoke; static text */
};

/* A signal as it is told: with the detector and bucket it belongs to. */
struct signal_record {
    const char *detector;
    const struct bucket *bucket;
    struct signal signal;
    struct id128 id, episode; /* episode all 0: none */
};

/* hash(pipeline, bucket, detector) */
struct id128 signal_id(struct span pipeline, struct id128 bucket, struct span detector);
extern const char *const direction_names[]; /* "", "up", "down" */
