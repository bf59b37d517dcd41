/* Ranges are those of the option rows, cut to what the data can tell apart. */
#include "tuning/space.h"

#include "base/json_writer.h"
#include "base/timestamp.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ZERO_SHARE   0.05
#define LOG_RATIO    30   /* a wider range is searched by its logarithm */
#define WIDTH_MAX    1e15 /* a wider one is not searched */
#define NUMBER_LEAST 1e-3 /* of a range that begins at 0 and is searched by its logarithm */

static bool is_number(const struct option *row)
{
    return row->type == OPTION_NUMBER || row->type == OPTION_DURATION || row->type == OPTION_INTEGER ||
           row->type == OPTION_SIZE;
}

/* False: not to be searched. */
static bool make_parameter(const struct option *row, bool of_backend, double bucket_s, double span_s,
                           struct parameter *ret_parameter)
{
    struct parameter parameter = {.row = row, .of_backend = of_backend, .low = row->min, .high = row->max};

    if (row->type == OPTION_BOOL) {
        parameter.high = 1;
    } else if (row->type == OPTION_CHOICE) {
        while (row->choices[(int)parameter.high])
            parameter.high++;
        parameter.high--;
    } else if (row->type == OPTION_DURATION) {
        parameter.low = fmax(row->min, bucket_s);
        parameter.high = fmin(row->max, fmax(span_s, 2 * bucket_s));
    }
    if (is_number(row)) {
        if (!(row->min < row->max) || !isfinite(row->min) || !isfinite(row->max))
            return false;
        parameter.is_log = row->scale == SCALE_LOG || parameter.low * LOG_RATIO < parameter.high;
        parameter.is_log &= row->min >= 0;
        if (parameter.is_log && parameter.low <= 0)
            parameter.low = NUMBER_LEAST;
        parameter.has_zero = row->min == 0 && parameter.low > 0;
    }
    if (!(parameter.low < parameter.high) ||
        (parameter.is_log ? parameter.high / parameter.low : parameter.high - parameter.low) > WIDTH_MAX)
        return false;
    *ret_parameter = parameter;
    return true;
}

static void add_rows(struct space *space, const struct option *rows, size_t count, bool of_backend,
                     double bucket_s, double span_s)
{
    for (size_t i = 0; i < count; i++) {
        struct parameter parameter;

        if (!rows[i].tunable)
            continue;
        if (space->count < SEARCH_DIMENSIONS_MAX &&
            make_parameter(&rows[i], of_backend, bucket_s, span_s, &parameter))
            space->parameters[space->count++] = parameter;
        else
            space->left_out++;
    }
}

void space_make(struct space *space, const struct detector_type *type, const void *settings,
                const struct backend_settings *backend, double bucket_s, double span_s)
{
    *space = (struct space){.count = 0};
    add_rows(space, type->options, type->option_count, false, bucket_s, span_s);
    add_rows(space, backend_options, backend_option_count, true, bucket_s, span_s);
    for (unsigned i = 0; i < space->count; i++) { /* the beginning is in the range */
        struct parameter *parameter = &space->parameters[i];
        double value = parameter_read(parameter, settings, backend);

        if (isfinite(value) && value > 0 && is_number(parameter->row)) {
            parameter->low = fmin(parameter->low, value);
            parameter->high = fmax(parameter->high, value);
        }
    }
}

double parameter_read(const struct parameter *parameter, const void *settings,
                      const struct backend_settings *backend)
{
    const char *value =
        (const char *)(parameter->of_backend ? (const void *)backend : settings) + parameter->row->offset;

    switch (parameter->row->type) {
    case OPTION_NUMBER:
        return *(const double *)value;
    case OPTION_DURATION:
        return (double)*(const int64_t *)value / 1e6;
    case OPTION_INTEGER:
    case OPTION_SIZE:
        return (double)*(const int64_t *)value;
    case OPTION_BOOL:
        return *(const bool *)value;
    case OPTION_CHOICE:
        return *(const int *)value;
    default:
        return NAN;
    }
}

void parameter_put(const struct parameter *parameter, double value, struct buffer *out)
{
    char text[24];

    if (isnan(value) || (value == 0 && !parameter->row->default_text && value < parameter->row->min)) {
        buffer_put_text(out, "default"); /* the detector chooses */
    } else if (parameter->row->type == OPTION_DURATION) {
        duration_format(llround(value * 1e6), text);
        buffer_put_text(out, text);
    } else if (parameter->row->type == OPTION_BOOL) {
        buffer_put_text(out, value > 0 ? "true" : "false");
    } else if (parameter->row->type == OPTION_CHOICE) {
        buffer_put_text(out, parameter->row->choices[(int)value]);
    } else {
        json_put_number(out, value);
    }
}

void parameter_write(const struct parameter *parameter, double value, void *settings,
                     struct backend_settings *backend)
{
    char *place = (char *)(parameter->of_backend ? (void *)backend : settings) + parameter->row->offset;

    if (parameter->row->type == OPTION_NUMBER)
        *(double *)place = value;
    else if (parameter->row->type == OPTION_DURATION)
        *(int64_t *)place = llround(value * 1e6);
    else if (parameter->row->type == OPTION_BOOL)
        *(bool *)place = value > 0;
    else if (parameter->row->type == OPTION_CHOICE)
        *(int *)place = (int)value;
    else
        *(int64_t *)place = llround(value);
}

/* Two digits. */
static double rounded(double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.1e", value);
    return strtod(text, NULL);
}

/* Of two digits in the unit that people would say it in: 37m, 1.5h is 90m. */
static double rounded_seconds(double seconds)
{
    double unit = seconds < 60 ? 1 : seconds < 5400 ? 60 : seconds < 172800 ? 3600 : 86400;

    return rounded(seconds / unit) * unit;
}

double parameter_value(const struct parameter *parameter, double place)
{
    const struct option *row = parameter->row;
    double value;

    if (!is_number(row))
        return fmin(floor(parameter->low + place * (parameter->high - parameter->low + 1)), parameter->high);
    if (parameter->has_zero) {
        if (place < ZERO_SHARE)
            return row->min;
        place = (place - ZERO_SHARE) / (1 - ZERO_SHARE);
    }
    if (parameter->is_log)
        value = parameter->low * pow(parameter->high / parameter->low, place);
    else
        value = parameter->low + place * (parameter->high - parameter->low);
    value = row->type == OPTION_DURATION ? rounded_seconds(value) : rounded(value);
    if (row->type == OPTION_INTEGER || row->type == OPTION_SIZE)
        value = round(value);
    return fmin(fmax(value, row->min), row->max);
}

double parameter_place(const struct parameter *parameter, double value)
{
    double width = parameter->high - parameter->low, place;

    if (!is_number(parameter->row))
        return (value - parameter->low + 0.5) / (width + 1);
    if (isnan(value) || value < parameter->low)
        return parameter->has_zero ? 0 : 0.5; /* absent: the detector chooses, so begin anywhere */
    place = parameter->is_log ? log(value / parameter->low) / log(parameter->high / parameter->low)
                              : (value - parameter->low) / width;
    place = fmin(fmax(place, 0), 1);
    return parameter->has_zero ? ZERO_SHARE + place * (1 - ZERO_SHARE) : place;
}
