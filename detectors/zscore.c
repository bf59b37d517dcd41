/* The default among the plain detectors: as ewma, but outliers are clipped before they enter the mean and the
 * variance, so that one spike does not hide the next. 40 bytes a series, 50 ns a row. */
#include "detectors/kernels.h"

struct zscore_settings {
    int64_t half_life_us;
};

static const struct option options[] = {
    {.name = "half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct zscore_settings, half_life_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "After this time a value counts half; at least two buckets. Left out: one day, at least 32 "
             "buckets."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct zscore_settings *own = settings;

    return decay_usable(decay_of(own->half_life_us, bucket_us)) ? sizeof(struct robust_moments) : 0;
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct zscore_settings *own = settings;
    struct decay decay = decay_of(own->half_life_us, in->bucket_us);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct robust_moments *robust = (struct robust_moments *)states + in->slot[i];
        const struct moments *moments = &robust->moments;
        double value = limit_value(in->value[i]);

        robust_add_many(robust, decay, empty, in->gap[i]);
        ret_opinions[i] = moments_ready(moments) ? opinion_make(value, moments->mean, moments_scale(moments))
                                                 : opinion_none();
        robust_add(robust, decay, value);
    }
}

const struct detector_type zscore_detector = {
    .name = "zscore",
    .help = "Compares a value with a decaying mean, in decaying standard deviations; outliers are clipped as "
            "they enter.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct zscore_settings),
    .state_size = state_size,
    .score = score,
};
