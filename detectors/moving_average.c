/* Mean and standard deviation of the values in a window before the bucket. The window is read whole for each row: some
 * 10 ns a bucket of the window, all of it GSL's running mean in long double. */
#include "detectors/kernels.h"

#include <gsl/gsl_statistics_double.h>

struct moving_average_settings {
    int64_t window_us;
};

static const struct option options[] = {
    {.name = "window",
     .type = OPTION_DURATION,
     .offset = offsetof(struct moving_average_settings, window_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "How far back the mean and the standard deviation reach; 5 to 4096 buckets. Left out: one day, "
             "at least "
             "32 and at most 4096 buckets."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct moving_average_settings *own = settings;

    return window_size(window_buckets(own->window_us, bucket_us, VALUES_MIN));
}

static struct opinion judge(const struct window *window, double value)
{
    double values[WINDOW_BUCKETS_MAX], mean;
    uint32_t count = window_values(window, values);

    if (count < VALUES_MIN)
        return opinion_none();
    mean = gsl_stats_mean(values, 1, count);
    return opinion_make(value, mean, gsl_stats_sd_m(values, 1, count, mean));
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct moving_average_settings *own = settings;
    uint32_t buckets = window_buckets(own->window_us, in->bucket_us, VALUES_MIN);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct window *window = (struct window *)((char *)states + in->slot[i] * window_size(buckets));
        double value = limit_value(in->value[i]);

        window_push_many(window, buckets, empty, in->gap[i]);
        ret_opinions[i] = judge(window, value);
        window_push(window, buckets, value);
    }
}

const struct detector_type moving_average_detector = {
    .name = "moving_average",
    .help = "Compares a value with the mean of the window before it, in standard deviations of that window.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct moving_average_settings),
    .state_size = state_size,
    .score = score,
};
