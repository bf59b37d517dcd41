/* Where the trend leads: a straight line through the last values, weighted by age (discounted least squares:
 * R. Brown, "Smoothing, forecasting and prediction", 1963), each clipped to what the line lets expect, as one
 * outlier turns a line. The residual is how surely the line will have crossed a limit `within` from now: the
 * distance beyond it in standard errors of the line there, those of errors that hang together. Nothing is
 * said in the first quarter of a half-life: a short line leads anywhere. 112 bytes a series. */
#include "detectors/kernels.h"

#include <math.h>
#include <string.h>

#define RESIDUAL_BEYOND  38.0 /* it has crossed the limit */
#define WEIGHT_FORGOTTEN 1e-100
#define HALF_LIVES_MIN   0.25
#define SPREAD_MIN       1e-9 /* of ages, as a share of their squares: less is rounding */

struct forecast_settings {
    double above, below;
    int64_t within_us, half_life_us;
};

struct line { /* weighted sums; ages in buckets before the last one */
    double weight, ages, squares, values, products;
};

struct forecast_state {
    struct line line;
    struct robust_moments errors; /* of the line's word for the next bucket */
    struct persistence persistence;
    uint64_t buckets; /* since the first value */
};

static const struct option options[] = {
    {.name = "above",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct forecast_settings, above),
     .help = "Alert when the value is going to be greater than this."},
    {.name = "below",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct forecast_settings, below),
     .help =
         "Alert when the value is going to be less than this; one of above and below is needed, and below "
         "< above."},
    {.name = "within",
     .type = OPTION_DURATION,
     .offset = offsetof(struct forecast_settings, within_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .help = "How far ahead to look, at least one bucket. Left out: one day, at least 32 buckets."},
    {.name = "half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct forecast_settings, half_life_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "After this time a value counts half in the trend; at least two buckets. Left out: as long as "
             "`within`, at least two buckets."},
};

/* How far ahead, in buckets; 0: less than one. */
static double horizon_buckets(const struct forecast_settings *settings, int64_t bucket_us)
{
    if (settings->within_us == 0)
        return M_LN2 / decay_of(0, bucket_us).rate;
    return settings->within_us < bucket_us ? 0 : (double)settings->within_us / (double)bucket_us;
}

static struct decay decay_for(const struct forecast_settings *settings, int64_t bucket_us)
{
    int64_t half_life_us = settings->half_life_us ? settings->half_life_us : settings->within_us;

    if (settings->half_life_us == 0 && half_life_us > 0 && half_life_us < 2 * bucket_us)
        half_life_us = 2 * bucket_us;
    return decay_of(half_life_us, bucket_us);
}

static size_t state_size(const void *settings, int64_t bucket_us)
{
    const struct forecast_settings *own = settings;

    if ((isnan(own->above) && isnan(own->below)) || own->below >= own->above)
        return 0;
    if (horizon_buckets(own, bucket_us) < 1 || !decay_usable(decay_for(own, bucket_us)))
        return 0;
    return sizeof(struct forecast_state);
}

static void line_pass(struct line *line, struct decay decay, uint32_t count)
{
    double n = count, factor = exp(-decay.rate * n);

    *line = (struct line){
        .weight = line->weight * factor,
        .ages = (line->ages + n * line->weight) * factor,
        .squares = (line->squares + n * (2 * line->ages + n * line->weight)) * factor,
        .values = line->values * factor,
        .products = (line->products + n * line->values) * factor,
    };
}

/* Weight times the spread of ages; 0: no line yet. */
static double line_spread(const struct line *line)
{
    double spread = line->weight * line->squares - line->ages * line->ages;

    return spread > SPREAD_MIN * line->weight * line->squares ? spread : 0;
}

/* What the line says so many buckets ahead. */
static double line_at(const struct line *line, double ahead)
{
    double level = line->squares * line->values - line->ages * line->products,
           slope = line->ages * line->values - line->weight * line->products;

    return limit_value((level + slope * ahead) / line_spread(line));
}

/* The variance of that, for errors of variance 1 which know nothing of each other. */
static double line_variance(const struct line *line, double ahead)
{
    return (line->squares + ahead * (2 * line->ages + ahead * line->weight)) / line_spread(line);
}

static void pass(struct forecast_state *state, struct decay decay, uint32_t count)
{
    line_pass(&state->line, decay, count);
    robust_pass(&state->errors, decay, count);
    persistence_pass(&state->persistence, decay, count);
    state->buckets += state->buckets > 0 ? count : 0;
    if (state->line.weight < WEIGHT_FORGOTTEN)
        memset(state, 0, sizeof *state);
}

static void step(struct forecast_state *state, struct decay decay, double value)
{
    if (isnan(value)) {
        pass(state, decay, 1);
        return;
    }
    line_pass(&state->line, decay, 1);
    if (line_spread(&state->line) > 0) {
        double expected = line_at(&state->line, 0);
        double error = robust_clip(&state->errors, limit_value(value - expected));

        persistence_add(&state->persistence, decay, error - state->errors.moments.mean);
        moments_add(&state->errors.moments, decay, error);
        value = limit_value(expected + error);
    }
    state->line.weight += 1;
    state->line.values += value;
    state->buckets++;
}

static void skip(struct forecast_state *state, struct decay decay, double empty, uint32_t gap)
{
    if (gap > GAP_STEPS_MAX && !isnan(empty)) {
        memset(state, 0, sizeof *state);
        gap = GAP_STEPS_MAX;
    }
    for (; gap > 0 && !isnan(empty); gap--)
        step(state, decay, empty);
    if (gap > 0)
        pass(state, decay, gap);
}

/* Standard errors by which the line will be beyond the limit in the direction `side`, 1 or -1; 0: it will
 * not. */
static double certainty(const struct forecast_state *state, double value, double limit, double side,
                        double horizon)
{
    const struct moments *errors = &state->errors.moments;
    double variance = persistence_factor(&state->persistence, errors) * line_variance(&state->line, horizon);

    if (isnan(limit))
        return 0;
    if (side * (value - limit) > 0)
        return RESIDUAL_BEYOND;
    return fmax(
        side * opinion_make(line_at(&state->line, horizon), limit, moments_scale(errors) * sqrt(variance))
                   .residual,
        0);
}

static int64_t due_after(const struct line *line, double value, double limit, double side, double horizon,
                         int64_t bucket_us)
{
    double now = line_at(line, 0), then = line_at(line, horizon);

    if (side * (value - limit) > 0 || side * (now - limit) >= 0)
        return 0;
    return (int64_t)((limit - now) / (then - now) * horizon * (double)bucket_us);
}

static struct opinion judge(const struct forecast_state *state, const struct forecast_settings *settings,
                            struct decay decay, double value, int64_t bucket_us)
{
    double horizon = horizon_buckets(settings, bucket_us), up, down;
    struct opinion opinion = {.low = settings->below, .high = settings->above, .certain = true};

    if (isnan(value) || !moments_ready(&state->errors.moments) || line_spread(&state->line) <= 0 ||
        (double)state->buckets * decay.rate < HALF_LIVES_MIN * M_LN2)
        return opinion_none();
    up = certainty(state, value, settings->above, 1, horizon);
    down = certainty(state, value, settings->below, -1, horizon);
    opinion.residual = up >= down ? up : -down;
    if (up > 0 && up >= down)
        opinion.due_us = due_after(&state->line, value, settings->above, 1, horizon, bucket_us);
    else if (down > 0)
        opinion.due_us = due_after(&state->line, value, settings->below, -1, horizon, bucket_us);
    return opinion;
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    const struct forecast_settings *own = settings;
    struct decay decay = decay_for(own, in->bucket_us);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct forecast_state *state = (struct forecast_state *)states + in->slot[i];
        double value = limit_value(in->value[i]);

        skip(state, decay, empty, in->gap[i]);
        step(state, decay, value);
        ret_opinions[i] = judge(state, own, decay, value, in->bucket_us);
    }
}

const struct detector_type forecast_detector = {
    .name = "forecast",
    .help =
        "Follows the trend to a fixed limit and tells when it will be crossed, as long before as `within`; "
        "the alert goes on while the value is beyond.",
    .kind = ALERT_FORECAST,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct forecast_settings),
    .state_size = state_size,
    .score = score,
};
