/* The parameters that a tuner may turn: the rows marked tunable of a detector's options and of the back
 * end's. A point of the unit cube becomes values as a person would write them, of two digits, so that what
 * is tried is what the file will say. */
#pragma once
#include "detectors/backend.h"
#include "tuning/search.h"

struct parameter {
    const struct option *row;
    bool of_backend;
    bool is_log;
    bool has_zero;    /* the lowest twentieth of the range is the least value, such as "no rest" */
    double low, high; /* in the row's unit: seconds of a duration */
};

struct space {
    struct parameter parameters[SEARCH_DIMENSIONS_MAX];
    unsigned count, left_out; /* tunable, but of too wide a range or one too many */
};

/* `settings` and `backend` are where the search begins. Durations go from a bucket to the data's span. */
void space_make(struct space *space, const struct detector_type *type, const void *settings,
                const struct backend_settings *backend, double bucket_s, double span_s);

double parameter_read(const struct parameter *parameter, const void *settings,
                      const struct backend_settings *backend); /* NaN: absent */
void parameter_write(const struct parameter *parameter, double value, void *settings,
                     struct backend_settings *backend);
void parameter_put(const struct parameter *parameter, double value, struct buffer *out);

double parameter_value(const struct parameter *parameter, double place); /* of 0..1 */
double parameter_place(const struct parameter *parameter, double value);
