/* Exponentially weighted mean and standard deviation: 32 bytes a series, 40 ns a row. The weights fade with
 * time, not with rows, so gaps count. Every value counts in full: see zscore for one that a spike does not
 * blind. */
#include "detectors/kernels.h"

struct ewma_settings {
    int64_t half_life_us;
};

static const struct option options[] = {
    {.name = "half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct ewma_settings, half_life_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "After this time a value counts half; at least two buckets. Left out: one day, at least 32 "
             "buckets."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct ewma_settings *own = settings;

    return decay_usable(decay_of(own->half_life_us, bucket_us)) ? sizeof(struct moments) : 0;
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct ewma_settings *own = settings;
    struct decay decay = decay_of(own->half_life_us, in->bucket_us);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct moments *moments = (struct moments *)states + in->slot[i];
        double value = limit_value(in->value[i]);

        moments_add_many(moments, decay, empty, in->gap[i]);
        ret_opinions[i] = moments_ready(moments) ? opinion_make(value, moments->mean, moments_scale(moments))
                                                 : opinion_none();
        moments_add(moments, decay, value);
    }
}

const struct detector_type ewma_detector = {
    .name = "ewma",
    .help = "Compares a value with the exponentially weighted mean, in exponentially weighted standard "
            "deviations.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct ewma_settings),
    .state_size = state_size,
    .score = score,
};
