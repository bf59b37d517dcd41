/* Median and median absolute deviation of a window: up to half of the values may be wild without moving
 * either. Two quickselects for each row: 2 us at 60 buckets, 60 us at 1440. Keeping the window sorted was
 * dropped, since the deviations have to be selected anew anyway. */
#include "detectors/kernels.h"

#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <string.h>

/* The standard deviation of a Gaussian over its mean absolute deviation: sqrt(pi / 2). */
#define GAUSSIAN_OVER_MEAN_DEVIATION 1.2533141373155003

struct mad_settings {
    int64_t window_us;
};

static const struct option options[] = {
    {.name = "window",
     .type = OPTION_DURATION,
     .offset = offsetof(struct mad_settings, window_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "How far back the median reaches; 5 to 4096 buckets. Left out: one day, at least 32 and at "
             "most 1440 buckets."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct mad_settings *own = settings;

    return window_size(window_buckets(own->window_us, bucket_us, VALUES_MIN));
}

/* If more than half of the values are equal their median deviation is 0 and says nothing of the others: the
 * mean absolute deviation steps in (B. Iglewicz, D. Hoaglin, "How to detect and handle outliers", 1993). */
static struct opinion judge(const struct window *window, double value)
{
    double values[WINDOW_BUCKETS_MAX], work[WINDOW_BUCKETS_MAX], median, scale;
    uint32_t count = window_values(window, values);

    if (count < VALUES_MIN)
        return opinion_none();
    memcpy(work, values, count * sizeof *work);
    median = gsl_stats_median(work, 1, count);
    for (uint32_t i = 0; i < count; i++)
        work[i] = fabs(values[i] - median);
    scale = gsl_stats_median(work, 1, count) * 1.4826;
    if (scale <= 0)
        scale = gsl_stats_absdev_m(values, 1, count, median) * GAUSSIAN_OVER_MEAN_DEVIATION;
    return opinion_make(value, median, scale);
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct mad_settings *own = settings;
    uint32_t buckets = window_buckets(own->window_us, in->bucket_us, VALUES_MIN);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct window *window = (struct window *)((char *)states + in->slot[i] * window_size(buckets));
        double value = limit_value(in->value[i]);

        window_push_many(window, buckets, empty, in->gap[i]);
        ret_opinions[i] = judge(window, value);
        window_push(window, buckets, value);
    }
}

const struct detector_type mad_detector = {
    .name = "mad",
    .help =
        "Compares a value with the median of the window before it, in median absolute deviations (x 1.4826).",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct mad_settings),
    .state_size = state_size,
    .score = score,
};
