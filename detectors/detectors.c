/* The list of detectors. A new one is a file and a line here. */
#include "detectors/detector.h"

#include <gsl/gsl_errno.h>
#include <string.h>

extern const struct detector_type auto_detector, moving_average_detector, ewma_detector, zscore_detector,
    mad_detector, rate_of_change_detector, threshold_detector, holt_winters_detector, cusum_detector,
    forecast_detector, shape_detector;

/* clang-format off */
const struct detector_type *const detector_types[] = {
    &auto_detector,
    &moving_average_detector,
    &ewma_detector,
    &zscore_detector,
    &mad_detector,
    &rate_of_change_detector,
    &threshold_detector,
    &holt_winters_detector,
    &cusum_detector,
    &forecast_detector,
    &shape_detector,
    NULL,
};
/* clang-format on */

const struct detector_type *detector_type_find(const char *name)
{
    for (unsigned i = 0; detector_types[i]; i++)
        if (strcmp(detector_types[i]->name, name) == 0)
            return detector_types[i];
    return NULL;
}

size_t detector_hot_size(const struct detector_type *type, const void *settings, int64_t bucket_us)
{
    return type->hot_size ? type->hot_size(settings, bucket_us) : 0;
}

void detectors_init(void)
{
    gsl_set_error_handler_off();
}
