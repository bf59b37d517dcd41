/* From a detector's opinion to a signal; runs once a closed bucket and detector, under 0.2 us.
 *
 * How rare a bucket is is measured in decades: 4 is one in 10,000. Two witnesses speak, and the rarer counts.
 * The tail: the residual's, of Student's t, after each series has widened its own scale towards one bucket in
 * fifty beyond what one in fifty should (an episode counts once). A series of n values cannot show anything
 * that is rarer than one in n / 2, so the tail of a young series says little. The record: a value, a smoothed
 * value or a residual beyond all that this series has ever shown, by its margin over their range; this one is
 * worth most while a series is young. What is news is what is rarer than the memory of the last surprise,
 * which fades: the steps and echoes of one incident are told once.
 *
 * Figures on the development files are in docs/detectors.md. Dropped: widening in full, which evens the
 * number of alerts out over series that do not have equally many incidents (event-F1 of KPI .51 for .58);
 * generalised Pareto and Hill estimates of each series' tail (.25); forgetting records, which costs NAB 5 and
 * WSD 10 points; a second quantile at one in 500. */
#include "detectors/backend.h"

#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>

#define TAIL_SHARE    0.02
#define TAIL_RESIDUAL 3.142668 /* two-sided quantile of that t at TAIL_SHARE */
#define WIDEN_STEP    0.25     /* of the scale's logarithm, for a residual beyond TAIL_RESIDUAL */
#define WIDENING_MAX  3.0      /* a factor of 20: residuals end at 38 anyway */
#define WIDENING_USED 0.5      /* the part of it that is applied */

#define RECORD_DECADES 3.06  /* of the least record */
#define RECORD_SLOPE   5.4   /* decades more for each tenfold of margin over ... */
#define RECORD_MARGIN  0.05  /* ... this share of the range */
#define RECORD_DOUBT   5.0   /* in n values a margin of 5 / n of the range is nothing */
#define BAND_SHARE     1.0   /* of the band: the least range */
#define USUAL_RESIDUAL 3.0F  /* up to here residuals are no records */
#define RECORD_NEEDS   2.0   /* a record that the detector expected is none */
#define SMOOTH_PART    0.083 /* half-life of 8 values */

#define VALUE_MAX     1e36 /* ranges are floats */
#define RECORD_LEAD   1.0  /* decades over the tail, once the series is old enough for its tail to speak */
#define DECADES_MAX   300.0
#define UNREST_FULL   8.0   /* decades at which unrest is at its highest */
#define UNREST_KEPT   0.966 /* half-life of 20 values */
#define QUIET_DECADES 2.0   /* the score of what is no news stays below that of news of so many decades */
#define SCORE_HALF    3.0   /* score 1/2 at one in 1000 */
#define BUDGET_STEP   0.5   /* decades, for an episode */
#define DAY_US        86400e6

enum { WARM_UP_BUCKETS = 20, REST_BUCKETS_MIN = 60 };

static const char *const direction_choices[] = {"both", "up", "down", NULL};

const struct option backend_options[] = {
    {.name = "one_in",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct backend_settings, one_in),
     .default_text = "10000",
     .unit = "buckets",
     .min = 2,
     .max = 1e12,
     .scale = SCALE_LOG,
     .tunable = true,
     .help = "Alert on a value that is expected less often than once in this many buckets."},
    {.name = "warm_up",
     .type = OPTION_DURATION,
     .offset = offsetof(struct backend_settings, warm_up_us),
     .default_text = "0",
     .min = 0,
     .max = 366 * 86400.0,
     .help = "No opinion before a series is so old; 0 is 20 buckets with a value."},
    {.name = "rest",
     .type = OPTION_DURATION,
     .offset = offsetof(struct backend_settings, rest_us),
     .default_text = "1h",
     .min = 0,
     .max = 366 * 86400.0,
     .tunable = true,
     .help = "A new episode must be rarer than what was lately seen; that memory halves in so long, at least "
             "60 buckets. 0 is no memory."},
    {.name = "alerts_per_day",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct backend_settings, alerts_per_day),
     .default_text = "0",
     .min = 0,
     .max = 1e6,
     .tunable = true,
     .help =
         "Instead of one_in: about so many episodes a day of one series, at most; the bar rises with each "
         "episode and sinks again. 0 is by one_in."},
    {.name = "direction",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct backend_settings, direction),
     .default_text = "both",
     .choices = direction_choices,
     .help = "Which side of the expected value is of interest."},
    {.name = "min_effect",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct backend_settings, min_effect),
     .default_text = "0",
     .min = 0,
     .max = 1e140,
     .help =
         "Alert only when the value is at least so far outside the expected band, in the measure's unit."},
    {.name = "min_effect_percent",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct backend_settings, min_effect_percent),
     .default_text = "0",
     .unit = "%",
     .min = 0,
     .max = 1e9,
     .help = "The same as a share of the middle of the expected band."},
    {.name = "min_value",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct backend_settings, min_value),
     .help = "Never alert on a value below this."},
};
const size_t backend_option_count = sizeof backend_options / sizeof *backend_options;

static bool is_warm(const struct backend_settings *settings, const struct backend_state *state,
                    int64_t end_us)
{
    if (settings->warm_up_us > 0)
        return end_us - state->first_us >= settings->warm_up_us;
    return state->seen > WARM_UP_BUCKETS;
}

/* Upper tail of Student's t with 6 degrees of freedom, for distances from 0 on: for an even number of degrees
 * it is algebraic (Abramowitz and Stegun 26.7.4), here without the difference of two numbers near 1. The same
 * as GSL's to 1e-12 in 0.02 us instead of 0.6. */
static double student_tail(double distance)
{
    double x = 6 / (6 + distance * distance); /* squared cosine of the angle */
    double within = sqrt(1 - x) * (1 + x * (0.5 + x * 0.375));

    return 0.5 * x * x * x * (0.625 + x * (0.234375 + x * 0.140625)) / (1 + within);
}

/* Decades of the tail that is of interest. */
static double tail_decades(const struct backend_settings *settings, double residual, bool certain)
{
    double distance = settings->direction == BACKEND_BOTH ? fabs(residual)
                      : settings->direction == BACKEND_UP ? residual
                                                          : -residual;
    double tail = certain        ? gsl_cdf_ugaussian_Q(distance)
                  : distance < 0 ? 1 - student_tail(-distance)
                                 : student_tail(distance);

    if (settings->direction == BACKEND_BOTH)
        tail = fmin(2 * tail, 1);
    return tail > 0 ? fmin(-log10(tail), DECADES_MAX) : DECADES_MAX;
}

/* How far the value lies outside the band; an open side (NaN) is never left. */
static double effect_of(double actual, double low, double high)
{
    if (actual > high)
        return actual - high;
    return actual < low ? low - actual : 0;
}

static bool is_large(const struct backend_settings *settings, const struct signal *signal)
{
    double low = signal->expected_low, high = signal->expected_high;
    double middle = isnan(low) ? high : isnan(high) ? low : low / 2 + high / 2;
    double least = fmax(settings->min_effect, settings->min_effect_percent / 100 * fabs(middle));

    if (signal->actual < settings->min_value)
        return false;
    return least <= 0 || effect_of(signal->actual, low, high) >= least;
}

static bool is_anomaly(const struct backend_settings *settings, const struct signal *signal)
{
    if (signal->direction == DIRECTION_NONE)
        return false;
    if ((settings->direction == BACKEND_UP && signal->direction != DIRECTION_UP) ||
        (settings->direction == BACKEND_DOWN && signal->direction != DIRECTION_DOWN))
        return false;
    return is_large(settings, signal);
}

/* How far `at` lies beyond the range, as a share of it and signed; then the range takes it in. */
static double range_push(struct backend_range *range, double at, double least_span, bool first)
{
    double low = range->low, high = range->high, span = fmax(high - low, least_span);

    if (first || at < low)
        range->low = (float)at;
    if (first || at > high)
        range->high = (float)at;
    if (first || (at >= low && at <= high))
        return 0;
    return at > high ? (at - high) / span : (at - low) / span;
}

static double record_decades(const struct backend_settings *settings, double margin, uint32_t seen)
{
    double size = fabs(margin) - RECORD_DOUBT / seen;

    if (size <= 0 || (settings->direction == BACKEND_UP && margin < 0) ||
        (settings->direction == BACKEND_DOWN && margin > 0))
        return 0;
    return fmin(RECORD_DECADES + RECORD_SLOPE * log10(1 + size / RECORD_MARGIN), DECADES_MAX);
}

/* The decades of the greatest record among the value, its smoothed course and the residual. */
static double follow_records(const struct backend_settings *settings, struct backend_state *state,
                             double value, const struct opinion *opinion)
{
    bool first = state->seen == 1;

    value = fmin(fmax(value, -VALUE_MAX), VALUE_MAX);
    double offset = first ? 0 : value - state->origin, least = 1e-6 * fabs(value) + 1e-12, decades;

    if (first)
        state->origin = value;
    if (isfinite(opinion->low) && isfinite(opinion->high))
        least = fmax(least, BAND_SHARE * (opinion->high - opinion->low));
    state->smooth += (float)(SMOOTH_PART * (offset - (double)state->smooth));
    decades =
        record_decades(settings, range_push(&state->ranges[RECORD_VALUE], offset, least, first), state->seen);
    decades =
        fmax(decades,
             record_decades(settings,
                            range_push(&state->ranges[RECORD_SMOOTH], (double)state->smooth, least, first),
                            state->seen));
    if (isnan(opinion->residual))
        return decades;
    if (fabs(opinion->residual) < RECORD_NEEDS)
        decades = 0;
    if (state->ranges[RECORD_RESIDUAL].high < USUAL_RESIDUAL)
        state->ranges[RECORD_RESIDUAL] = (struct backend_range){-USUAL_RESIDUAL, USUAL_RESIDUAL};
    return fmax(decades, record_decades(settings,
                                        range_push(&state->ranges[RECORD_RESIDUAL], opinion->residual,
                                                   2 * USUAL_RESIDUAL, false),
                                        state->seen));
}

/* The memory of the last surprise fades with time; true: this bucket is rarer than what is left of it. */
static bool is_news(const struct backend_settings *settings, struct backend_state *state, int64_t bucket_us,
                    int64_t end_us, double decades)
{
    double rest_us = fmax((double)settings->rest_us, REST_BUCKETS_MIN * (double)bucket_us);
    bool news;

    if (settings->rest_us == 0)
        return true;
    state->memory *= (float)exp2(-(double)(end_us - state->last_us) / rest_us);
    news = decades > (double)state->memory;
    if (news)
        state->memory = (float)decades;
    return news;
}

/* Opens and closes the episode and says whether this bucket belongs to one. A silence longer than the rest
 * ends it too: what comes after is news. */
static bool follow_episode(const struct backend_settings *settings, struct backend_state *state,
                           int64_t bucket_us, int64_t end_us, bool anomaly, bool news)
{
    double silence_us =
        (double)bucket_us + fmax(REST_BUCKETS_MIN * (double)bucket_us, (double)settings->rest_us);

    if (!anomaly || (state->in_episode && (double)(end_us - state->last_us) > silence_us))
        state->in_episode = 0;
    if (!anomaly || state->in_episode)
        return anomaly;
    if (!news)
        return false;
    state->in_episode = 1;
    state->episode_us = end_us;
    return true;
}

/* The bar in decades. With a budget it rises with each episode and sinks by as much in the time in which one
 * may be told. */
static double bar_of(const struct backend_settings *settings, const struct backend_state *state,
                     int64_t bucket_us)
{
    if (settings->alerts_per_day <= 0)
        return log10(settings->one_in);
    return fmax(log10(DAY_US / (double)bucket_us / settings->alerts_per_day), 1) + (double)state->budget;
}

static void follow_budget(const struct backend_settings *settings, struct backend_state *state,
                          int64_t end_us, bool start)
{
    double spent = (double)(end_us - state->last_us) / DAY_US * settings->alerts_per_day;

    state->budget = (float)fmax((double)state->budget - BUDGET_STEP * spent, 0);
    if (start)
        state->budget += (float)BUDGET_STEP;
}

/* Stochastic approximation of the TAIL_SHARE quantile (H. Robbins, S. Monro, 1951), on the logarithm of the
 * scale. */
static void learn_widening(struct backend_state *state, double residual)
{
    double beyond = fabs(residual) > TAIL_RESIDUAL * exp((double)state->widening);
    double widening = (double)state->widening + WIDEN_STEP * (beyond - TAIL_SHARE);

    state->widening = (float)fmin(fmax(widening, 0), WIDENING_MAX);
}

/* News scores by its rarity; other buckets by how unquiet the series lately was, which stays below. */
static double score_of(struct backend_state *state, double decades, bool news)
{
    double unrest = fmin(decades, UNREST_FULL), quiet;

    state->unrest = (float)fmax((double)state->unrest * UNREST_KEPT, unrest);
    quiet = QUIET_DECADES * fmax((double)state->unrest / UNREST_FULL, 0.5 * (1 - exp(-decades / SCORE_HALF)));
    if (!news || decades <= QUIET_DECADES)
        decades = quiet;
    return decades / (decades + SCORE_HALF);
}

static void fill_signal(double value, const struct opinion *opinion, double factor, double decades,
                        struct signal *ret_signal)
{
    double middle = opinion->low / 2 + opinion->high / 2, half = opinion->high / 2 - opinion->low / 2;
    double residual = opinion->residual / factor;

    *ret_signal = (struct signal){
        .opinion = true,
        .residual = residual,
        .probability = pow(10, -decades),
        .one_in = pow(10, decades),
        .actual = value,
        .expected_low = opinion->certain ? opinion->low : middle - half * factor,
        .expected_high = opinion->certain ? opinion->high : middle + half * factor,
        .due_us = opinion->due_us,
        .direction = residual > 0   ? DIRECTION_UP
                     : residual < 0 ? DIRECTION_DOWN
                                    : DIRECTION_NONE,
        .channel = opinion->channel,
    };
}

/* The rarer of the two witnesses, and the signal but for what the past decides. */
static double weigh(const struct backend_settings *settings, struct backend_state *state, double value,
                    const struct opinion *opinion, double record, double bar, struct signal *ret_signal)
{
    double factor = opinion->certain ? 1 : exp(WIDENING_USED * (double)state->widening);
    double decades = tail_decades(settings, opinion->residual / factor, opinion->certain);

    if (!opinion->certain) {
        double most = log10(fmax(state->seen / 2.0, 1));

        if (most > bar)
            record = fmin(record, decades + RECORD_LEAD);
        decades = fmax(fmin(decades, most), record);
    }
    fill_signal(value, opinion, factor, decades, ret_signal);
    if (!opinion->certain && record > 0 && record >= decades)
        ret_signal->channel = "record";
    return decades;
}

void backend_judge(const struct backend_settings *settings, struct backend_state *state, int64_t bucket_us,
                   int64_t end_us, double value, const struct opinion *opinion, struct signal *ret_signal)
{
    bool anomaly = false, news = false, was_open = state->in_episode;
    double record, decades, bar = bar_of(settings, state, bucket_us);

    assert(bucket_us > 0);
    *ret_signal = (struct signal){.residual = NAN,
                                  .probability = NAN,
                                  .score = NAN,
                                  .one_in = NAN,
                                  .actual = NAN,
                                  .expected_low = NAN,
                                  .expected_high = NAN};
    if (isnan(value))
        return;
    if (state->seen == 0)
        state->first_us = state->last_us = end_us;
    state->seen += state->seen < UINT32_MAX;
    record = follow_records(settings, state, value, opinion);
    if (!isnan(opinion->residual) && (opinion->certain || is_warm(settings, state, end_us))) {
        decades = weigh(settings, state, value, opinion, record, bar, ret_signal);
        news = is_news(settings, state, bucket_us, end_us, decades);
        ret_signal->score = score_of(state, decades, news);
        anomaly = decades >= bar && is_anomaly(settings, ret_signal);
    }
    ret_signal->anomaly = follow_episode(settings, state, bucket_us, end_us, anomaly, news);
    ret_signal->episode_start = ret_signal->anomaly && state->episode_us == end_us;
    if (settings->alerts_per_day > 0)
        follow_budget(settings, state, end_us, ret_signal->episode_start);
    if (ret_signal->opinion && !opinion->certain && !(was_open && anomaly))
        learn_widening(state, opinion->residual);
    state->last_us = end_us;
}
