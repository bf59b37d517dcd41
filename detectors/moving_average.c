/* Mean and standard deviation of the values in a window before the bucket. The window is read whole for each
 * row: 0.3 us at 60 buckets, 5 us at 1440. GSL's running mean in long double took 8 times as long; running
 * sums over the ring leave noise behind that a constant series then alarms on. */
#include "detectors/kernels.h"

#include <math.h>

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
             "at least 32 and at most 1440 buckets."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct moving_average_settings *own = settings;

    return window_size(window_buckets(own->window_us, bucket_us, VALUES_MIN));
}

/* Two passes, so that nothing is lost when the spread is small beside the mean. */
static struct opinion judge(const struct window *window, double value)
{
    double values[WINDOW_BUCKETS_MAX], sum = 0, squares = 0, mean;
    uint32_t count = window_values(window, values);

    if (count < VALUES_MIN)
        return opinion_none();
    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    mean = sum / count;
    for (uint32_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return opinion_make(value, mean, sqrt(squares / (count - 1)));
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
