/* Tests that the watch's signals share: each is a cumulative sum of log likelihood ratios (Page 1954) against
 * what was learned, so that one gross outlier and several small ones are both told, and a sum of h comes by
 * chance about once in e^h observations (Wald). h is chosen so that a task's test is wrong about once in ten
 * days, however often it runs. Arithmetic only; plain bytes. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { WATCH_LEARNED = 5 }; /* values that make a level known */

/* How often something is observed. */
struct watch_pace {
    int64_t first_us, last_us;
    uint32_t count;
};
void watch_pace_add(struct watch_pace *pace, int64_t at_us);
double watch_pace_day(const struct watch_pace *pace);   /* observations a day */
double watch_pace_limit(const struct watch_pace *pace); /* h */

/* A positive value, by its logarithm: mean and spread with less weight for outliers and a prior spread while
 * little is known. What stays away for long becomes the new level. */
struct watch_level {
    struct watch_pace pace;
    double mean, longest; /* longest: of late, sinks towards the mean */
    double variances[2];  /* of what is below the mean, and above */
    struct watch_sum {
        double before, now; /* the sum before this block, and with it */
        double mean;        /* of the values since it left 0 */
        int64_t since;      /* the block then */
        uint32_t count;
    } up, down;
    double block_mean; /* of the values within seconds, which are alike: one step of the sums */
    int64_t block;     /* its number */
    uint32_t block_count, blocks;
    uint32_t weight; /* values that the mean stands for */
};

bool watch_level_known(const struct watch_level *level);
double watch_level_usual(const struct watch_level *level); /* the value in the middle */

/* `prior`: the variance of the logarithms where nothing is known. */

/* The value from which on one alone is told. */
double watch_level_limit(const struct watch_level *level, double prior);

/* Learns the value. 1: the values are too high, -1: too low, 0: as usual. */
int watch_level_add(struct watch_level *level, double prior, double value, int64_t at_us);

/* The share of outcomes that are bad. */
struct watch_rate {
    struct watch_pace pace;
    double bad, all; /* of about the last REMEMBERED */
    double sum;
};

/* The usual share; `prior`: what it is where nothing is known. */
double watch_rate_usual(const struct watch_rate *rate, double prior);

/* Learns an outcome. True: too many are bad, now or lately. */
bool watch_rate_add(struct watch_rate *rate, bool bad, double prior, int64_t at_us);
bool watch_level_sound(const struct watch_level *level);
bool watch_rate_sound(const struct watch_rate *rate);

/* How many come in a time, by quasi-Poisson: the sums look for twice and for half as many. */
struct watch_flow {
    double all, buckets, squares; /* counts, how many, squared residuals; of about the last REMEMBERED */
    double up, down;
    int64_t bucket; /* number of the one that is open */
    uint32_t count; /* in it */
    uint32_t seen;  /* buckets closed since the first */
};
enum { WATCH_BUCKET_US = 10 * 1000 * 1000 };

double watch_flow_usual(const struct watch_flow *flow); /* a bucket */

/* More come at a time not before those added until now. 1: too many lately, -1: too few, 0: as usual. */
int watch_flow_add(struct watch_flow *flow, uint32_t count, int64_t at_us);

/* When there are too few if none comes until then; INT64_MAX: never. */
int64_t watch_flow_due(const struct watch_flow *flow);
bool watch_flow_sound(const struct watch_flow *flow);
