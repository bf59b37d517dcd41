/* Fixed limits. No statistics and no state; here so that a static limit gives the same signals, episodes and
 * least effect as a learned band. */
#include "detectors/kernels.h"

#include <math.h>

#define RESIDUAL_AT_LIMIT 8.0
#define RESIDUAL_FAR      38.0

struct threshold_settings {
    double above, below;
};

static const struct option options[] = {
    {.name = "above",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct threshold_settings, above),
     .help = "Alert when the value is greater than this."},
    {.name = "below",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct threshold_settings, below),
     .help = "Alert when the value is less than this; one of above and below is needed, and below < above."},
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct threshold_settings *own = settings;

    if (isnan(own->above) && isnan(own->below))
        return 0;
    return own->below >= own->above ? 0 : sizeof(double); /* nothing is kept in it */
}

/* From 8 at the limit towards 38 far beyond; the distance is measured by the limit's own size, or 1 for a
 * limit of 0. */
static double residual_beyond(double excess, double limit)
{
    double unit = limit < 0 || limit > 0 ? fabs(limit_value(limit)) : 1;

    return RESIDUAL_AT_LIMIT + (RESIDUAL_FAR - RESIDUAL_AT_LIMIT) * (excess / (excess + unit));
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct threshold_settings *own = settings;

    for (uint32_t i = 0; i < in->rows; i++) {
        double value = limit_value(in->value[i]), residual = 0;

        if (isnan(value)) {
            ret_opinions[i] = opinion_none();
            continue;
        }
        if (value > own->above)
            residual = residual_beyond(value - own->above, own->above);
        else if (value < own->below)
            residual = -residual_beyond(own->below - value, own->below);
        ret_opinions[i] =
            (struct opinion){.residual = residual, .low = own->below, .high = own->above, .certain = true};
    }
}

const struct detector_type threshold_detector = {
    .name = "threshold",
    .help = "Compares a value with fixed limits: no warm-up, and any value beyond a limit is an anomaly.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct threshold_settings),
    .state_size = state_size,
    .score = score,
};
