/* One detector over one series from beginning to end, as `weir detect` and tests do. Pure: no clock, no
 * files. */
#pragma once
#include "base/status.h"
#include "detectors/backend.h"

struct series {
    size_t rows;
    const int64_t *time_us; /* in the order of the file; a repeated or backward one is a bucket of its own */
    const double *value;    /* NaN: missing */
};

/* The series' rhythm: the median of the first 20 steps forward in time; one second when there is none. */
int64_t series_bucket_us(const struct series *series);

/* Missing rows are gaps; a hot block is lent from the first row on. ret_score: 0..1, 0 = no opinion yet;
 * ret_alert: 1 in the first bucket of each episode, else 0. STATUS_FATAL when the detector refuses its
 * settings for this rhythm. */
enum status detect_series(const struct series *series, const struct detector_type *type, const void *settings,
                          const struct backend_settings *backend, double *ret_score, uint8_t *ret_alert,
                          struct error *ret_error);
