/* Level, trend and season by exponential smoothing: additive Holt-Winters in its error-correction form (P.
 * Winters, 1960; E. Gardner, "Exponential smoothing: the state of the art", 1985), with errors clipped before
 * they are learned (R. Gelper et al., 2010), so that one spike spoils neither the level nor its place in the
 * season. Until one season has been heard it works without. 72 bytes a series and 8 for each bucket of a
 * season. Dropped: silence in the first season, a day without any opinion. */
#include "detectors/kernels.h"

#include <math.h>
#include <string.h>

#define HOUR_US (3600LL * 1000000)

enum { LEVEL_BUCKETS_MIN = 8, SEASONS_REMEMBERED = 8 };

struct holt_winters_settings {
    int64_t season_us, level_us, half_life_us, season_half_life_us;
};

struct holt_winters_state {
    struct robust_moments errors; /* of the forecasts for the next bucket */
    double level, trend;          /* as they stand after the last bucket; the trend is a bucket's */
    uint32_t known;               /* values, up to UINT32_MAX */
    uint32_t place;               /* in the season, of the next bucket */
    uint32_t heard;               /* buckets, up to a season; it is settled then */
    uint32_t reserved;
    double season[]; /* NaN: not known. Before it is settled the values themselves */
};

/* What the settings say of buckets of this length. */
struct model {
    bool refused;
    uint32_t slots;                             /* buckets of a season; 0: there is none */
    double level_gain, trend_gain, season_gain; /* the share of an error that each takes over */
    struct decay decay;                         /* of the trend when nothing is known, and of the errors */
};

static const struct option options[] = {
    {.name = "season",
     .type = OPTION_DURATION,
     .offset = offsetof(struct holt_winters_settings, season_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "Length of the season: 5 to 4096 whole buckets. Left out: one day where that is so, else there "
             "is no season, only level and trend."},
    {.name = "level_half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct holt_winters_settings, level_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "In this time the level takes over half of a change; at least two buckets. Left out: one hour, "
             "at least 8 buckets."},
    {.name = "half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct holt_winters_settings, half_life_us),
     .min = 0.001,
     .max = 366 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "The same for the trend, and after this time an error of the forecast counts half; at least two "
             "buckets. Left out: one day, at least 32 buckets."},
    {.name = "season_half_life",
     .type = OPTION_DURATION,
     .offset = offsetof(struct holt_winters_settings, season_half_life_us),
     .min = 0.001,
     .max = 3660 * 86400.0,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "The same for the season; at least two seasons. Left out: eight seasons."},
};

static uint32_t season_buckets(const struct holt_winters_settings *settings, int64_t bucket_us)
{
    int64_t season_us = settings->season_us ? settings->season_us : 24 * HOUR_US;

    return season_us % bucket_us == 0 ? window_buckets(season_us, bucket_us, VALUES_MIN) : 0;
}

static struct model model_of(const struct holt_winters_settings *settings, int64_t bucket_us)
{
    uint32_t buckets = season_buckets(settings, bucket_us);
    int64_t season_us = buckets * bucket_us;
    int64_t level_us = HOUR_US > LEVEL_BUCKETS_MIN * bucket_us ? HOUR_US : LEVEL_BUCKETS_MIN * bucket_us;
    struct decay level = decay_of(settings->level_us ? settings->level_us : level_us, bucket_us),
                 season = {0};
    struct model model = {.slots = buckets, .decay = decay_of(settings->half_life_us, bucket_us)};

    if (buckets > 0)
        season = decay_of(settings->season_half_life_us ? settings->season_half_life_us
                                                        : SEASONS_REMEMBERED * season_us,
                          season_us);
    model.level_gain = -expm1(-level.rate);
    model.trend_gain = -expm1(-model.decay.rate);
    model.season_gain = -expm1(-season.rate);
    model.refused = !decay_usable(level) || !decay_usable(model.decay) ||
                    (buckets > 0 && !decay_usable(season)) ||
                    (buckets == 0 && (settings->season_us || settings->season_half_life_us));
    return model;
}

static size_t size_of_state(const struct model *model)
{
    return sizeof(struct holt_winters_state) + model->slots * sizeof(double);
}

static size_t state_size(const void *settings, int64_t bucket_us)
{
    struct model model = model_of(settings, bucket_us);

    return model.refused ? 0 : size_of_state(&model);
}

static bool is_settled(const struct holt_winters_state *state, const struct model *model)
{
    return state->heard == model->slots;
}

/* NaN: nothing is known, or not this place of the season. */
static double forecast(const struct holt_winters_state *state, const struct model *model)
{
    double season = model->slots && is_settled(state, model) ? state->season[state->place] : 0;

    return state->known ? limit_value(state->level + state->trend + season) : NAN;
}

/* The values heard become the first season around their mean. Too few of them: goes on hearing. */
static void settle(struct holt_winters_state *state, const struct model *model)
{
    double sum = 0;
    uint32_t known = 0;

    for (uint32_t i = 0; i < model->slots; i++)
        if (!isnan(state->season[i])) {
            sum += state->season[i];
            known++;
        }
    if (known < VALUES_MIN) {
        state->heard--;
        return;
    }
    state->level = sum / known;
    for (uint32_t i = 0; i < model->slots; i++)
        state->season[i] -= state->level;
}

static void learn_error(struct holt_winters_state *state, const struct model *model, double error)
{
    double clipped = robust_clip(&state->errors, limit_value(error));
    double gain = fmax(model->level_gain, 1 / (state->known + 1.0)); /* at first the mean */

    moments_add(&state->errors.moments, model->decay, clipped);
    state->level = limit_value(state->level + gain * clipped);
    state->trend = limit_value(state->trend + model->level_gain * model->trend_gain * clipped);
    if (model->slots && is_settled(state, model))
        state->season[state->place] =
            limit_value(state->season[state->place] + model->season_gain * (1 - model->level_gain) * clipped);
}

static void learn(struct holt_winters_state *state, const struct model *model, double value)
{
    double error = value - forecast(state, model);

    state->level = limit_value(state->level + state->trend);
    if (!isnan(error)) {
        learn_error(state, model, error);
    } else {
        robust_pass(&state->errors, model->decay, 1);
        if (isnan(value)) /* nothing confirms the trend any more */
            state->trend *= model->decay.factor;
        else if (state->known == 0)
            state->level = value;
        else
            state->season[state->place] = value - state->level;
    }
    state->known += !isnan(value) && state->known < UINT32_MAX;
}

static void step(struct holt_winters_state *state, const struct model *model, double value)
{
    bool was_settled = is_settled(state, model);

    learn(state, model, value);
    if (!was_settled) {
        state->season[state->place] = value;
        if (++state->heard == model->slots)
            settle(state, model);
    }
    if (model->slots)
        state->place = state->place + 1 == model->slots ? 0 : state->place + 1;
}

/* Many buckets of which nothing is known, in O(1): the sum of a trend that fades by a factor in each. */
static void pass(struct holt_winters_state *state, const struct model *model, uint32_t count)
{
    double rate = model->decay.rate;

    if (model->slots)
        state->place = (uint32_t)(((uint64_t)state->place + count) % model->slots);
    state->level = limit_value(state->level + state->trend * (expm1(-rate * count) / expm1(-rate)));
    state->trend *= exp(-rate * count);
    robust_pass(&state->errors, model->decay, count);
}

/* Before the season is settled, nothing of it is known after as many empty buckets as it has. */
static void skip(struct holt_winters_state *state, const struct model *model, double empty, uint32_t gap)
{
    if (gap > GAP_STEPS_MAX && !isnan(empty)) {
        memset(state, 0, size_of_state(model));
        gap = GAP_STEPS_MAX;
    }
    for (uint32_t steps = 0; gap > 0; steps++, gap--) {
        if (isnan(empty) && (is_settled(state, model) || steps == model->slots))
            break;
        step(state, model, empty);
    }
    if (gap > 0)
        pass(state, model, gap);
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    struct model model = model_of(settings, in->bucket_us);
    size_t size = size_of_state(&model);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct holt_winters_state *state = (struct holt_winters_state *)((char *)states + in->slot[i] * size);
        const struct moments *errors = &state->errors.moments;
        double value = limit_value(in->value[i]), expected;

        skip(state, &model, empty, in->gap[i]);
        expected = forecast(state, &model);
        ret_opinions[i] = isnan(expected) || !moments_ready(errors)
                              ? opinion_none()
                              : opinion_make(value, expected, moments_scale(errors));
        step(state, &model, value);
    }
}

const struct detector_type holt_winters_detector = {
    .name = "holt_winters",
    .help = "Compares a value with the forecast from level, trend and season, in the standard deviations of "
            "its errors; the season joins in when one has been heard.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct holt_winters_settings),
    .state_size = state_size,
    .score = score,
};
