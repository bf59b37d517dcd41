/* Where a series should be: its level, fast and slow, and the shape of its day. Gives for each value how far
 * it stands from the values just before it and from its usual course, in its own widths. Plain state, zeroed
 * at birth; values are within 1e30. */
#pragma once
#include "detectors/kernels.h"

enum { DAY_SLOTS = 96 };

struct band_pace {                   /* of one bucket; the same for all series of a measure */
    double day;                      /* buckets in a day, at least 1 */
    double fast, slow, width, shift; /* parts by which a new value moves the decaying means */
};

struct band_level {
    double level;
    float width; /* decaying mean distance of the values from it, as a standard deviation */
    uint32_t values, widths,
        outliers; /* how many there were; how many told of the width; outliers in a row */
};

struct band {
    uint64_t buckets; /* since birth, empty ones too: where in the day it is */
    double last;      /* the newest value */
    struct band_level fast, plain,
        season;                      /* of the last values; of all; of what the day's shape leaves over */
    float plain_error, season_error; /* decaying mean distances: is the day's shape of use? */
    float course, course_width;      /* decaying mean of the distances from the usual course; its own width */
    uint32_t seasonal;               /* whether the fast level counts from the shape of the day */
    float unit;                      /* of the slots below; 0: no slot is known */
    int16_t slots[DAY_SLOTS];        /* the day's shape, apart from the level; 0: not known */
};

struct band_view {        /* of one value, before it was taken in */
    double fast, slow;    /* widths from the values just before; from the usual course */
    double course;        /* the same of the mean of the last values */
    double middle, width; /* the usual course */
};

struct band_pace band_pace(int64_t bucket_us);
void band_pass(struct band *band, uint64_t buckets); /* buckets of which nothing is known */
struct band_view band_see(const struct band *band, const struct band_pace *pace, double value);
void band_add(struct band *band, const struct band_pace *pace, double value);
bool band_ready(const struct band *band);
