/* The change against the value one window ago, measured by the changes of the past. Sees jumps that a level
 * detector takes for part of the daily swing. 80 ns a row. */
#include "detectors/kernels.h"

#include <math.h>

struct rate_settings {
    int64_t window_us, half_life_us;
};

struct rate_state {
    struct robust_moments changes;
    double held;    /* the last known value */
    uint32_t known; /* 0: there is none yet */
    uint32_t reserved;
    struct window window; /* what was held in each of the last buckets */
};

static const struct option options[] = {
    {.name = "window",
     .type = OPTION_DURATION,
     .offset = offsetof(struct rate_settings, window_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "The value so long ago is what a value is compared with; 1 to 4096 buckets. Left out: the "
             "bucket before."},
    {.name = "half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct rate_settings, half_life_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "After this time a past change counts half; at least two buckets. Left out: one day, at least "
             "32 buckets."},
};

static uint32_t lag_buckets(const struct rate_settings *settings, int64_t bucket_us)
{
    return settings->window_us ? window_buckets(settings->window_us, bucket_us, 1) : 1;
}

static size_t size_of_state(uint32_t lag)
{
    return lag ? offsetof(struct rate_state, window) + window_size(lag) : 0;
}

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct rate_settings *own = settings;

    return decay_usable(decay_of(own->half_life_us, bucket_us)) ? size_of_state(lag_buckets(own, bucket_us))
                                                                : 0;
}

/* What a value is compared with; NaN: not known. */
static double reference(const struct rate_state *state, uint32_t lag)
{
    return state->window.filled == lag ? state->window.ring[state->window.head] : NAN;
}

/* One bucket. In one without a value the last known one goes on: a sparse series is compared with the latest
 * value that is at least a window old. */
static void step(struct rate_state *state, uint32_t lag, struct decay decay, double value)
{
    robust_add(&state->changes, decay, value - reference(state, lag));
    if (!isnan(value)) {
        state->held = value;
        state->known = 1;
    }
    window_push(&state->window, lag, state->known ? state->held : NAN);
}

static void pass(struct rate_state *state, uint32_t lag, struct decay decay, double empty, uint32_t gap)
{
    uint32_t steps = gap < lag ? gap : lag;

    for (uint32_t i = 0; i < steps; i++)
        step(state, lag, decay, empty);
    window_push_many(&state->window, lag, state->known ? state->held : NAN, gap - steps);
    robust_add_many(&state->changes, decay, isnan(empty) ? NAN : 0, gap - steps);
}

static struct opinion judge(const struct rate_state *state, uint32_t lag, double value)
{
    const struct moments *changes = &state->changes.moments;
    double before = reference(state, lag);

    if (isnan(before) || !moments_ready(changes))
        return opinion_none();
    return opinion_make(value, before + changes->mean, moments_scale(changes));
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct rate_settings *own = settings;
    uint32_t lag = lag_buckets(own, in->bucket_us);
    struct decay decay = decay_of(own->half_life_us, in->bucket_us);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct rate_state *state = (struct rate_state *)((char *)states + in->slot[i] * size_of_state(lag));
        double value = limit_value(in->value[i]);

        pass(state, lag, decay, empty, in->gap[i]);
        ret_opinions[i] = judge(state, lag, value);
        step(state, lag, decay, value);
    }
}

const struct detector_type rate_of_change_detector = {
    .name = "rate_of_change",
    .help = "Compares the change since one window ago with the changes of the past, in their standard "
            "deviations.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct rate_settings),
    .state_size = state_size,
    .score = score,
};
