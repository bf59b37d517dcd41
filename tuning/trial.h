/* One trial: a detector with some settings and the back end over a history, as the pipeline would have run
 * it, and the alerts that come of it. Pure: no clock, no files; series by series. */
#pragma once
#include "tuning/history.h"

struct trial_alert {
    uint32_t series;
    int64_t starts_us, at_us,
        ends_us;               /* first anomalous bucket's end; it fires; the last anomalous one's end */
    double score, probability; /* as it fired */
};

struct trial_alerts {
    struct trial_alert *items; /* by series, then in time */
    size_t count, capacity;
};

struct trial_settings {
    const struct detector_type *type;
    const void *settings;
    const struct backend_settings *backend;
    double empty;                              /* how an empty bucket looks */
    int64_t for_us, keep_firing_us, expire_us; /* of its alerts */
};

/* Called with each bucket in order, for plots. */
typedef void trial_visit(void *owner, uint32_t series, size_t row, const struct signal *signal);

struct trial_range { /* ends of the buckets that are run, (from, to] */
    int64_t from_us, to_us;
};

/* False: the detector refuses the settings for these buckets. `visit` may be NULL. */
bool trial_run(const struct history *history, const struct trial_settings *settings,
               const struct trial_range *range, trial_visit *visit, void *owner,
               struct trial_alerts *ret_alerts);

/* One series; its state is that of a series which begins with the range. Adds to the alerts. */
void trial_run_series(const struct history *history, const struct trial_settings *settings, uint32_t series,
                      const struct trial_range *range, trial_visit *visit, void *owner,
                      struct trial_alerts *ret_alerts);
