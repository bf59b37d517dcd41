/* Rows of a file to closed buckets: one row is one bucket, and a step of more than one bucket in time is a
 * gap. Stamps are only used for gaps, so that a clock set back costs no row. */
#include "detectors/series.h"

#include "base/memory.h"

#include <assert.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

enum { RHYTHM_STEPS = 20 };

#define DEFAULT_BUCKET_US 1000000

int64_t series_bucket_us(const struct series *series)
{
    double steps[RHYTHM_STEPS];
    size_t count = 0;

    for (size_t i = 1; i < series->rows && i <= RHYTHM_STEPS; i++)
        if (series->time_us[i] > series->time_us[i - 1])
            steps[count++] = (double)(series->time_us[i] - series->time_us[i - 1]);
    if (count == 0)
        return DEFAULT_BUCKET_US;
    gsl_sort(steps, 1, count);
    return (int64_t)gsl_stats_median_from_sorted_data(steps, 1, count);
}

/* Empty buckets between the newest stamp so far and this one. */
static uint32_t gap_before(int64_t newest_us, int64_t time_us, int64_t bucket_us)
{
    int64_t steps;

    if (time_us <= newest_us)
        return 0;
    steps = (time_us - newest_us + bucket_us / 2) / bucket_us;
    return steps <= 1 ? 0 : steps > UINT32_MAX ? UINT32_MAX : (uint32_t)(steps - 1);
}

/* Buckets of thousands of years, one for each row, would leave the range. */
static int64_t later(int64_t time_us, int64_t step_us)
{
    return time_us < TIME_MAX_US - step_us ? time_us + step_us : TIME_MAX_US;
}

enum status detect_series(const struct series *series, const struct detector_type *type, const void *settings,
                          const struct backend_settings *backend, double *ret_score, uint8_t *ret_alert,
                          struct error *ret_error)
{
    int64_t bucket_us = series_bucket_us(series), newest_us = INT64_MIN, end_us = 0;
    size_t size = type->state_size(settings, bucket_us);
    size_t hot_size = detector_hot_size(type, settings, bucket_us);
    struct backend_state state = {0};
    void *detector_state, *hot = NULL;

    assert(bucket_us > 0);
    if (size == 0)
        return fail(ret_error,
                    "%s cannot work with these settings on buckets of %g s: too few or too many in a window",
                    type->name, (double)bucket_us * 1e-6);
    detector_state = memory_new(size);
    if (hot_size)
        hot = memory_new(hot_size);
    for (size_t i = 0; i < series->rows; i++) {
        uint32_t gap = i == 0 ? 0 : gap_before(newest_us, series->time_us[i], bucket_us), slot = 0;
        struct bucket_batch batch = {.rows = 1,
                                     .value = &series->value[i],
                                     .gap = &gap,
                                     .slot = &slot,
                                     .bucket_us = bucket_us,
                                     .hot = &hot};
        struct opinion opinion;
        struct signal signal;

        type->score(settings, detector_state, &batch, NAN, &opinion);
        end_us = later(end_us, ((int64_t)gap + 1) * bucket_us);
        backend_judge(backend, &state, bucket_us, end_us, series->value[i], &opinion, &signal);
        ret_score[i] = signal.opinion ? signal.score : 0;
        ret_alert[i] = signal.episode_start;
        if (series->time_us[i] > newest_us)
            newest_us = series->time_us[i];
    }
    free(detector_state);
    free(hot);
    return STATUS_OK;
}
