/* Runs once a closed bucket and detector. Dropped: GSL's movstat accumulators, which hold pointers into
 * themselves, so that state could not be copied, stored or moved. */
#include "detectors/kernels.h"

#include <assert.h>
#include <math.h>

#define VALUE_MAX        1e140
#define RESIDUAL_MAX     38.0 /* beyond it a Gaussian tail is 0 in a double */
#define BAND_SCALES      3.0
#define OUTLIER_SCALES   3.0
#define SCALE_OF_MIDDLE  1e-9
#define SCALE_MIN        1e-12
#define PERSISTENCE_MAX  0.99
#define WEIGHT_FORGOTTEN 1e-100 /* its square is still a normal number */
#define DEFAULT_SPAN_US  (24LL * 3600 * 1000000)

enum { DEFAULT_BUCKETS_MIN = 32, DEFAULT_BUCKETS_MAX = 1440 };

double limit_value(double value)
{
    if (isnan(value))
        return value;
    return fmin(fmax(value, -VALUE_MAX), VALUE_MAX);
}

static double floor_scale(double scale, double middle)
{
    return fmax(scale, fmax(SCALE_OF_MIDDLE * fabs(middle), SCALE_MIN));
}

struct opinion opinion_none(void)
{
    return (struct opinion){.residual = NAN, .low = NAN, .high = NAN};
}

struct opinion opinion_make(double value, double middle, double scale)
{
    double width = floor_scale(scale, middle), residual = (value - middle) / width;

    if (isnan(value))
        return opinion_none();
    assert(isfinite(middle) && isfinite(width));
    return (struct opinion){.residual = fmin(fmax(residual, -RESIDUAL_MAX), RESIDUAL_MAX),
                            .low = middle - BAND_SCALES * width,
                            .high = middle + BAND_SCALES * width};
}

uint32_t window_buckets(int64_t window_us, int64_t bucket_us, uint32_t least)
{
    int64_t buckets;

    assert(window_us >= 0 && bucket_us > 0);
    if (window_us == 0) {
        buckets = DEFAULT_SPAN_US / bucket_us;
        if (buckets < DEFAULT_BUCKETS_MIN)
            return DEFAULT_BUCKETS_MIN;
        return buckets < DEFAULT_BUCKETS_MAX ? (uint32_t)buckets : DEFAULT_BUCKETS_MAX;
    }
    buckets = window_us / bucket_us + (window_us % bucket_us >= bucket_us - bucket_us / 2);
    return buckets < least || buckets > WINDOW_BUCKETS_MAX ? 0 : (uint32_t)buckets;
}

size_t window_size(uint32_t buckets)
{
    return buckets ? sizeof(struct window) + buckets * sizeof(double) : 0;
}

void window_push(struct window *window, uint32_t buckets, double value)
{
    assert(window->head < buckets);
    window->ring[window->head] = value;
    window->head = window->head + 1 == buckets ? 0 : window->head + 1;
    window->filled += window->filled < buckets;
}

void window_push_many(struct window *window, uint32_t buckets, double value, uint64_t count)
{
    if (count > buckets) /* the rest goes around and changes nothing but the place */
        window->head = (uint32_t)((window->head + (count - buckets)) % buckets);
    for (uint64_t i = 0; i < count && i < buckets; i++)
        window_push(window, buckets, value);
}

uint32_t window_values(const struct window *window, double ret_values[WINDOW_BUCKETS_MAX])
{
    uint32_t count = 0;

    assert(window->filled <= WINDOW_BUCKETS_MAX);
    for (uint32_t i = 0; i < window->filled; i++) {
        ret_values[count] = window->ring[i];
        if (!isnan(window->ring[i]))
            count++;
    }
    return count;
}

struct decay decay_of(int64_t half_life_us, int64_t bucket_us)
{
    double buckets;

    assert(half_life_us >= 0 && bucket_us > 0);
    if (half_life_us == 0)
        buckets = fmax((double)DEFAULT_SPAN_US / (double)bucket_us, DEFAULT_BUCKETS_MIN);
    else
        buckets = (double)half_life_us / (double)bucket_us;
    return (struct decay){.rate = M_LN2 / buckets, .factor = exp(-M_LN2 / buckets)};
}

bool decay_usable(struct decay decay)
{
    return decay.rate <= M_LN2 / 2 && decay.factor < 1;
}

static void moments_fade(struct moments *moments, double factor)
{
    moments->weight *= factor;
    moments->weight_squares *= factor * factor;
    moments->squares *= factor;
    if (moments->weight < WEIGHT_FORGOTTEN)
        *moments = (struct moments){0};
}

/* Adds values that are all equal, of the given sum of weights and sum of squared weights. */
static void moments_merge(struct moments *moments, double value, double weight, double weight_squares)
{
    double distance = value - moments->mean, before = moments->weight;

    moments->weight += weight;
    moments->weight_squares += weight_squares;
    moments->mean += distance * (weight / moments->weight);
    moments->squares += distance * distance * (before * (weight / moments->weight));
}

void moments_pass(struct moments *moments, struct decay decay, uint64_t count)
{
    if (count == 1)
        moments_fade(moments, decay.factor);
    else if (count > 1)
        moments_fade(moments, exp(-decay.rate * (double)count));
}

void moments_add(struct moments *moments, struct decay decay, double value)
{
    moments_fade(moments, decay.factor);
    if (!isnan(value))
        moments_merge(moments, value, 1, 1);
}

void moments_add_many(struct moments *moments, struct decay decay, double value, uint64_t count)
{
    double span = decay.rate * (double)count;

    moments_pass(moments, decay, count);
    if (count > 0 && !isnan(value))
        moments_merge(moments, value, expm1(-span) / expm1(-decay.rate),
                      expm1(-2 * span) / expm1(-2 * decay.rate));
}

bool moments_ready(const struct moments *moments)
{
    return moments->weight * moments->weight >= VALUES_MIN * moments->weight_squares && moments->weight > 0;
}

double moments_scale(const struct moments *moments)
{
    assert(moments_ready(moments));
    return sqrt(moments->squares / (moments->weight - moments->weight_squares / moments->weight));
}

void robust_pass(struct robust_moments *robust, struct decay decay, uint64_t count)
{
    moments_pass(&robust->moments, decay, count);
}

/* How far from the mean a value may stand without being an outlier; infinite while nothing can be said. */
static double outlier_distance(const struct moments *moments)
{
    if (!moments_ready(moments))
        return INFINITY;
    return OUTLIER_SCALES * floor_scale(moments_scale(moments), moments->mean);
}

double robust_clip(struct robust_moments *robust, double value)
{
    double distance = value - robust->moments.mean, limit = outlier_distance(&robust->moments);

    if (isnan(value))
        return value;
    if (fabs(distance) <= limit) {
        robust->outliers = 0;
        return value;
    }
    robust->outliers++;
    distance = copysign(fmin(fabs(distance), limit * robust->outliers), distance);
    return robust->moments.mean + distance;
}

void robust_add(struct robust_moments *robust, struct decay decay, double value)
{
    moments_add(&robust->moments, decay, robust_clip(robust, value));
}

void robust_add_many(struct robust_moments *robust, struct decay decay, double value, uint64_t count)
{
    while (count > 0 && !isnan(value) &&
           (!moments_ready(&robust->moments) ||
            fabs(value - robust->moments.mean) > outlier_distance(&robust->moments))) {
        robust_add(robust, decay, value);
        count--;
    }
    if (count > 0 && !isnan(value))
        robust->outliers = 0;
    moments_add_many(&robust->moments, decay, value, count);
}

void persistence_pass(struct persistence *persistence, struct decay decay, uint64_t count)
{
    if (count == 0)
        return;
    persistence->products *= exp(-decay.rate * (double)count);
    persistence->last = 0; /* no pair with the next one */
}

void persistence_add(struct persistence *persistence, struct decay decay, double deviation)
{
    persistence->products = persistence->products * decay.factor + persistence->last * deviation;
    persistence->last = deviation;
}

double persistence_share(const struct persistence *persistence, const struct moments *moments)
{
    double share = moments->squares > 0 ? persistence->products / moments->squares : 0;

    return fmin(fmax(share, 0), PERSISTENCE_MAX);
}

double persistence_factor(const struct persistence *persistence, const struct moments *moments)
{
    double share = persistence_share(persistence, moments);

    return (1 + share) / (1 - share);
}
