/* Two cumulative sums of standardised values, one for each direction (E. Page, "Continuous inspection
 * schemes", 1954): small shifts that last add up where no single value stands out. A sum at the limit is a
 * shift: it is told in that bucket, and the mean of the last values becomes the baseline, so that it is told
 * once. While one is suspected the baseline learns nothing. Real values depend on the ones before, so their
 * standard deviation is that of long runs. 128 bytes a series. Dropped: the sum itself as the residual, which
 * stays high for so long that the back end learns to expect it: on NAB it never alerted. */
#include "detectors/kernels.h"

#include <math.h>
#include <string.h>

#define SHIFT_RESIDUAL 38.0 /* the largest there is: the sum has decided */
#define LIMIT_RESIDUAL 3.0  /* just below the limit */
#define VALUE_SCALES   4.0  /* a value counts as at most so far: one spike is no shift */

struct cusum_settings {
    int64_t half_life_us;
    double drift, limit;
};

struct cusum_side {
    double sum, total; /* total: of the values since a shift is suspected, surely of the new level */
    uint64_t count;    /* of these */
};

struct cusum_state {
    struct robust_moments baseline;
    struct persistence persistence;
    struct cusum_side up, down;
};

static const struct option options[] = {
    {.name = "drift",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct cusum_settings, drift),
     .default_text = "0.5",
     .unit = "standard deviations",
     .min = 0.05,
     .max = 4,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "What each value may stand away from the baseline without adding to a sum: half the shift that "
             "is to be found."},
    {.name = "limit",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct cusum_settings, limit),
     .default_text = "16",
     .unit = "standard deviations",
     .min = 2,
     .max = 100,
     .scale = SCALE_LOG,
     .tunable = true,
     .help =
         "A sum of so much is a shift. Of normal values chance makes 8 once in 10000 buckets (drift 0.5); "
         "real ones stray further."},
    {.name = "half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct cusum_settings, half_life_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "After this time a value counts half in the baseline; at least two buckets. Left out: one day, "
             "at least 32 buckets."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct cusum_settings *own = settings;

    return decay_usable(decay_of(own->half_life_us, bucket_us)) ? sizeof(struct cusum_state) : 0;
}

static void side_add(struct cusum_side *side, double limit, double distance, double value)
{
    side->sum = fmax(side->sum + distance, 0);
    if (side->sum < limit / 2) {
        side->total = 0;
        side->count = 0;
    } else {
        side->total += value;
        side->count++;
    }
}

static double larger_sum(const struct cusum_state *state)
{
    return state->up.sum >= state->down.sum ? state->up.sum : -state->down.sum;
}

static void learn(struct cusum_state *state, struct decay decay, double value)
{
    double clipped = robust_clip(&state->baseline, value);

    if (isnan(value)) {
        robust_pass(&state->baseline, decay, 1);
        persistence_pass(&state->persistence, decay, 1);
    } else {
        persistence_add(&state->persistence, decay, clipped - state->baseline.moments.mean);
        moments_add(&state->baseline.moments, decay, clipped);
    }
}

/* The new level is known from a few values only, so that the next ones move it; the scale stays. */
static void rebase(struct cusum_state *state, const struct cusum_side *side)
{
    struct moments *moments = &state->baseline.moments;
    double values = fmax((double)side->count, VALUES_MIN), scale = moments_scale(moments);
    double share = persistence_share(&state->persistence, moments);

    *moments = (struct moments){.weight = values,
                                .weight_squares = values,
                                .mean = limit_value(side->total / (double)side->count),
                                .squares = scale * scale * (values - 1)};
    state->persistence = (struct persistence){.products = share * moments->squares};
    state->baseline.outliers = 0;
    state->up = state->down = (struct cusum_side){0};
}

/* Takes the value in and returns the residual; NaN: nothing is known. */
static double step(struct cusum_state *state, const struct cusum_settings *settings, struct decay decay,
                   double value)
{
    const struct moments *moments = &state->baseline.moments;
    double z, sum;

    if (isnan(value) || !moments_ready(moments)) {
        learn(state, decay, value);
        return NAN;
    }
    z = opinion_make(value, moments->mean, moments_scale(moments)).residual /
        sqrt(persistence_factor(&state->persistence, moments));
    z = fmin(fmax(z, -VALUE_SCALES), VALUE_SCALES);
    side_add(&state->up, settings->limit, z - settings->drift, value);
    side_add(&state->down, settings->limit, -z - settings->drift, value);
    sum = larger_sum(state);
    if (fabs(sum) >= settings->limit) {
        rebase(state, sum > 0 ? &state->up : &state->down);
        return copysign(SHIFT_RESIDUAL, sum);
    }
    if (fabs(sum) < settings->limit / 2)
        learn(state, decay, value);
    else
        robust_pass(&state->baseline, decay, 1);
    return LIMIT_RESIDUAL * sum / settings->limit;
}

static void skip(struct cusum_state *state, const struct cusum_settings *settings, struct decay decay,
                 double empty, uint32_t gap)
{
    if (isnan(empty)) {
        robust_pass(&state->baseline, decay, gap);
        persistence_pass(&state->persistence, decay, gap);
        return;
    }
    if (gap > GAP_STEPS_MAX) {
        memset(state, 0, sizeof *state);
        gap = GAP_STEPS_MAX;
    }
    for (; gap > 0; gap--)
        step(state, settings, decay, empty);
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct cusum_settings *own = settings;
    struct decay decay = decay_of(own->half_life_us, in->bucket_us);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct cusum_state *state = (struct cusum_state *)states + in->slot[i];
        const struct moments *moments = &state->baseline.moments;
        double value = limit_value(in->value[i]);

        skip(state, own, decay, empty, in->gap[i]);
        ret_opinions[i] = moments_ready(moments) ? opinion_make(value, moments->mean, moments_scale(moments))
                                                 : opinion_none();
        ret_opinions[i].residual = step(state, own, decay, value);
    }
}

const struct detector_type cusum_detector = {
    .name = "cusum",
    .help = "Adds up how far values stand from their mean, in standard deviations: finds shifts too small "
            "for a single value to show, and tells each once.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct cusum_settings),
    .state_size = state_size,
    .score = score,
};
