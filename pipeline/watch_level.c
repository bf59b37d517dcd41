#include "pipeline/watch_level.h"

#include <math.h>

#define DAY_US ((int64_t)86400 * 1000 * 1000)

enum {
    DAYS = 3,        /* between two wrong alarms of a test */
    REMEMBERED = 40, /* values that a mean stands for */
    NEW_LEVEL = 3,   /* values that make one */
    BLOCK_US = 10 * 1000 * 1000,
    LASTING = 12, /* values that make a new level of one that was told of */
};
static const double least_limit = 6;                  /* of h: for what comes once a day */
static const double prior_weight = 2;                 /* values that a prior variance stands for */
static const double far_factor = 3, far_spread = 4.5; /* beyond the longest; beyond the mean, in deviations */
static const double shift = 2;                        /* standard deviations that a sum looks for */
static const double score_most = 8, huber = 2.5;
static const double rate_weight = 20, rate_most = 2000; /* outcomes */

void watch_pace_add(struct watch_pace *pace, int64_t at_us)
{
    if (pace->count == 0)
        pace->first_us = at_us;
    if (pace->count == 0 || at_us > pace->last_us)
        pace->last_us = at_us;
    pace->count += pace->count < UINT32_MAX;
}

double watch_pace_day(const struct watch_pace *pace)
{
    double past_us = (double)pace->last_us - (double)pace->first_us;

    if (pace->count < 2)
        return 1;
    return fmax(1, (pace->count - 1) * (double)DAY_US / fmax(past_us, 1e6));
}

double watch_pace_limit(const struct watch_pace *pace)
{
    return fmax(least_limit, log(DAYS * watch_pace_day(pace)));
}

bool watch_level_known(const struct watch_level *level)
{
    return level->pace.count >= WATCH_LEARNED;
}

double watch_level_usual(const struct watch_level *level)
{
    return exp(level->mean);
}

static double spread_of(const struct watch_level *level, double prior, bool above)
{
    double weight = level->weight;
    double variance = (prior_weight * prior + weight * level->variances[above]) / (prior_weight + weight);

    return sqrt(variance * (1 + 1 / fmax(weight, 1)));
}

/* Wallace 1959: Student's t with n degrees of freedom to a normal score, and back. */
static double score_of_t(double t, double n)
{
    double score = (8 * n + 1) / (8 * n + 3) * sqrt(n * log1p(t * t / n));

    return copysign(fmin(score, score_most), t);
}

static double t_of_score(double score, double n)
{
    double scaled = score * (8 * n + 3) / (8 * n + 1);

    return sqrt(n * expm1(scaled * scaled / n));
}

static double log_of(double value)
{
    return log(fmin(fmax(value, 1e-3), 1e15));
}

/* How unusual: a normal score, by Student's t with the degrees of freedom that there are. */
static double score_of(const struct watch_level *level, double prior, double x)
{
    double away = x - level->mean;

    return score_of_t(away / spread_of(level, prior, away > 0), level->weight + prior_weight);
}

double watch_level_limit(const struct watch_level *level, double prior)
{
    double score = fmin((watch_pace_limit(&level->pace) + shift * shift / 2) / shift, score_most);
    double spread = spread_of(level, prior, true);
    double exact = level->mean + t_of_score(score, level->weight + prior_weight) * spread;
    /* the tail of a few values is not known so well: what is far beyond the longest will do */
    double far = fmax(level->longest + log(far_factor), level->mean + far_spread * spread);

    return exp(fmin(exact, far));
}

static void add_side(struct watch_sum *sum, double score, double x, int64_t block)
{
    sum->now = sum->before + shift * score - shift * shift / 2;
    if (sum->now <= 0) {
        sum->now = sum->mean = 0;
        sum->count = 0;
        return;
    }
    if (sum->count == 0)
        sum->since = block;
    sum->count += sum->count < UINT32_MAX;
    sum->mean += (x - sum->mean) / sum->count;
}

/* The values since a sum left 0 are the new level. */
static void settle(struct watch_level *level, const struct watch_sum *sum)
{
    level->mean = level->longest = sum->mean;
    level->weight = sum->count < REMEMBERED ? sum->count : REMEMBERED;
    level->up = level->down = (struct watch_sum){0};
    level->block_count = 0;
}

/* The mean of the block, with x. */
static double add_to_block(struct watch_level *level, double x, int64_t at_us)
{
    int64_t block = at_us / BLOCK_US;

    if (block != level->block || level->block_count == 0) {
        level->block = block;
        level->block_count = 0;
        level->blocks += level->blocks < UINT32_MAX;
        level->up.before = level->up.now;
        level->down.before = level->down.now;
    }
    level->block_count += level->block_count < UINT32_MAX;
    level->block_mean += (x - level->block_mean) / level->block_count;
    return level->block_mean;
}

static void learn(struct watch_level *level, double prior, double x)
{
    double away = x - level->mean, most = huber * spread_of(level, prior, away > 0);
    double *variance = &level->variances[away > 0];

    level->weight += level->weight / REMEMBERED < level->pace.count / (level->blocks ? level->blocks : 1);
    if (level->pace.count == 1) {
        level->mean = level->longest = x;
        return;
    }
    away = fmax(fmin(away, most), -most);
    level->mean += away / level->weight;
    *variance += (away * away - *variance) * 2 / fmax(level->weight, 2); /* of half of the values */
    level->longest += (level->mean - level->longest) / REMEMBERED;
    level->longest = fmax(level->longest, fmin(x, level->mean + 2 * most));
}

int watch_level_add(struct watch_level *level, double prior, double value, int64_t at_us)
{
    bool known = watch_level_known(level);
    double x = log_of(value), score = 0, limit;
    bool far = known && value >= watch_level_limit(level, prior);

    watch_pace_add(&level->pace, at_us);
    limit = fmin(watch_pace_limit(&level->pace), log(DAYS * (double)DAY_US / BLOCK_US));
    double mean = add_to_block(level, x, at_us);
    if (known)
        score = score_of(level, prior, mean);
    add_side(&level->up, score, x, level->block);
    add_side(&level->down, -score, x, level->block);
    bool high = far || level->up.now >= limit, low = level->down.now >= limit;
    learn(level, prior, x);
    level->up.now = fmin(level->up.now, 2 * limit);
    if (low && level->down.count >= NEW_LEVEL)
        settle(level, &level->down);
    else if (level->up.now >= limit && level->up.count >= LASTING &&
             level->block - level->up.since >= LASTING)
        settle(level, &level->up);
    return high ? 1 : low ? -1 : 0;
}

double watch_rate_usual(const struct watch_rate *rate, double prior)
{
    return (rate->bad + rate_weight * prior) / (rate->all + rate_weight);
}

bool watch_rate_add(struct watch_rate *rate, bool bad, double prior, int64_t at_us)
{
    double usual = fmin(watch_rate_usual(rate, prior), .9), odds = usual / (1 - usual);
    double much = fmax(1, 4 * odds) / (1 + fmax(1, 4 * odds)); /* the share that the sum looks for */
    double limit, keep = 1 - 1 / rate_most;

    watch_pace_add(&rate->pace, at_us);
    limit = watch_pace_limit(&rate->pace);
    rate->sum = fmax(0, rate->sum + (bad ? log(much / usual) : log((1 - much) / (1 - usual))));
    bool high = rate->sum >= limit;
    rate->sum = fmin(rate->sum, 2 * limit);
    if (high) /* of what is told of little is learned */
        keep = 1;
    rate->bad = rate->bad * keep + (bad ? high ? .1 : 1 : 0);
    rate->all = rate->all * keep + (high ? .1 : 1);
    return high;
}

static bool is_finite(const double *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!(fabs(values[i]) < 1e6))
            return false;
    return true;
}

bool watch_level_sound(const struct watch_level *level)
{
    const double values[] = {level->mean,      level->longest,   level->variances[0], level->variances[1],
                             level->up.before, level->up.now,    level->up.mean,      level->down.before,
                             level->down.now,  level->down.mean, level->block_mean};

    return is_finite(values, sizeof values / sizeof *values) && level->variances[0] >= 0 &&
           level->variances[1] >= 0 && fabs(level->mean) < 50 && level->pace.count >= level->blocks;
}

bool watch_rate_sound(const struct watch_rate *rate)
{
    const double values[] = {rate->bad, rate->all, rate->sum};

    return is_finite(values, 3) && rate->bad >= 0 && rate->all >= rate->bad;
}

/* Counts in buckets. */

enum { KNOWN_BUCKETS = 12, KNOWN_COUNT = 24 };
static const double flow_most = 180, margin = .5; /* buckets; standard errors of the usual count */
static const double day_buckets = 8640, more = 2, fewer = 1.5; /* times what is usual */
static const double doubtful = 2;

struct flow_usual {
    double high, low, dispersion; /* a bucket, by what is known at least and at most */
};

double watch_flow_usual(const struct watch_flow *flow)
{
    return flow->buckets > 0 ? flow->all / flow->buckets : 0;
}

static double flow_limit(void)
{
    return log(day_buckets) - 1.8; /* a sum of small steps is wrong less often (Siegmund 1985) */
}

static bool flow_known(const struct watch_flow *flow)
{
    return flow->seen >= KNOWN_BUCKETS && flow->all >= KNOWN_COUNT;
}

static struct flow_usual flow_usual(const struct watch_flow *flow)
{
    double usual = watch_flow_usual(flow);
    double dispersion = fmax(1, flow->squares / fmax(flow->all, 1));
    double error = margin * sqrt(dispersion * flow->all);

    (void)usual;
    return (struct flow_usual){.high = (flow->all + error + 1) / flow->buckets,
                               .low = fmax(0, flow->all - error) / flow->buckets,
                               .dispersion = dispersion};
}

/* One bucket with `count`, or `times` empty ones. */
static void close_buckets(struct watch_flow *flow, double count, double times)
{
    double usual = watch_flow_usual(flow), limit = flow_limit(), weight = 1, keep;

    if (flow_known(flow)) {
        struct flow_usual known = flow_usual(flow);

        flow->up += (count * log(more) - known.high * times * (more - 1)) / known.dispersion;
        flow->down += (known.low * times * (1 - 1 / fewer) - count * log(fewer)) / known.dispersion;
        flow->up = fmin(fmax(flow->up, 0), 1.2 * limit);
        flow->down = fmin(fmax(flow->down, 0), 1.2 * limit);
        count = fmin(count, usual + 3 * sqrt(known.dispersion * usual) + 1);
        if (flow->up > doubtful || flow->down > doubtful) /* of what may be told soon, little is learned */
            weight = .2;
    }
    keep = pow(1 - weight / flow_most, times);
    flow->all = flow->all * keep + count * weight;
    flow->squares =
        flow->squares * keep + (flow->seen ? (count - usual) * (count - usual) * times * weight : 0);
    flow->buckets = flow->buckets * keep + flow_most * (1 - keep);
    flow->seen += flow->seen < UINT32_MAX - 1000000 ? (uint32_t)fmin(times, 1000000) : 0;
}

int watch_flow_add(struct watch_flow *flow, uint32_t count, int64_t at_us)
{
    int64_t bucket = at_us / WATCH_BUCKET_US;

    if (bucket > flow->bucket) {
        if (flow->bucket || flow->count) {
            close_buckets(flow, flow->count, 1);
            if (bucket - flow->bucket > 1)
                close_buckets(flow, 0, (double)(bucket - flow->bucket - 1));
        }
        flow->bucket = bucket;
        flow->count = 0;
    }
    flow->count += count;
    return flow->up >= flow_limit() ? 1 : flow->down >= flow_limit() ? -1 : 0;
}

int64_t watch_flow_due(const struct watch_flow *flow)
{
    struct flow_usual known;
    double step, times;

    if (!flow_known(flow))
        return INT64_MAX;
    known = flow_usual(flow);
    step = known.low * (1 - 1 / fewer) / known.dispersion;
    times = (flow_limit() - flow->down + flow->count * log(fewer) / known.dispersion) / step;
    if (!(times < 1e6))
        return INT64_MAX;
    return (flow->bucket + 2 + (int64_t)fmax(times, 0)) * WATCH_BUCKET_US;
}

bool watch_flow_sound(const struct watch_flow *flow)
{
    const double values[] = {flow->all, flow->buckets, flow->squares, flow->up, flow->down};

    for (unsigned i = 0; i < 5; i++)
        if (!(values[i] >= 0 && values[i] < 1e15))
            return false;
    return flow->bucket >= 0 && flow->bucket < INT64_MAX / WATCH_BUCKET_US / 4;
}
