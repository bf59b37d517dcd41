/* One search for the nearest neighbour a completed mean: plain loops over tiles of windows that the compiler
 * makes vectors of. All sums run in one fixed order, so that a figure depends on the values alone. */
#include "detectors/shape.h"

#include <assert.h>
#include <gsl/gsl_fft_halfcomplex.h>
#include <gsl/gsl_fft_real.h>
#include <math.h>

enum {
    FIRST_LOOK = 512, /* values after which the rhythm is looked for, and again at the last look */
    LAST_LOOK = 1024,
    RHYTHM_MIN = 40,
    RHYTHM_MAX = 400,
    RHYTHM_DEFAULT = 100,
    RHYTHM_TIMES = 3,     /* a rhythm must be seen so often */
    RHYTHM_MEANS = 32,    /* fewer than so many means in one */
    TILE = 128,           /* windows compared together */
    PAST_WINDOWS = 3,     /* a past shorter than so many windows tells nothing */
    NOVELTY_MEANS = 1000, /* half-life of what is ordinary novelty */
};

#define RHYTHM_CLEAR  0.2  /* least autocorrelation of a rhythm */
#define RHYTHM_ALIKE  0.9  /* of the best: the shortest rhythm that is as good counts */
#define FIRST_LOBE    0.2  /* lags up to where autocorrelation falls below it are no rhythm */
#define OFFSET_MAX    1e15 /* its square stays a float */
#define FORM_FLOOR    1e-3 /* of the typical spread: what is flatter has no form of its own */
#define NEAR          1e-4 /* squared distance, of the typical spread, that is as good as none */
#define NOVELTY_FLOOR 0.1  /* least standard deviation of the logarithm */

/* Autocorrelation by way of the power spectrum (Wiener and Khinchin), zero-padded. Unknown values count as
 * the mean. False: nothing moves. */
static bool autocorrelate(const float *values, uint32_t count, double ret_correlation[2 * LAST_LOOK])
{
    uint32_t known = 0, size = 2 * count;
    double mean = 0, *data = ret_correlation;

    for (uint32_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            mean += (double)values[i];
            known++;
        }
    mean /= known ? known : 1;
    for (uint32_t i = 0; i < size; i++)
        data[i] = i < count && !isnan(values[i]) ? (double)values[i] - mean : 0;
    gsl_fft_real_radix2_transform(data, 1, size);
    data[0] *= data[0];
    data[size / 2] *= data[size / 2];
    for (uint32_t i = 1; i < size / 2; i++) {
        data[i] = data[i] * data[i] + data[size - i] * data[size - i];
        data[size - i] = 0;
    }
    gsl_fft_halfcomplex_radix2_inverse(data, 1, size);
    if (!(data[0] > 0) || known < count / 2)
        return false;
    for (uint32_t lag = count; lag-- > 0;)
        data[lag] *= count / (data[0] * (count - lag));
    return true;
}

static bool is_peak(const double *correlation, uint32_t lag)
{
    return correlation[lag] >= correlation[lag - 1] && correlation[lag] >= correlation[lag + 1];
}

/* The shortest lag of clear autocorrelation behind the first lobe, or the least multiple of it that is long
 * enough; 0: none. */
static uint32_t find_rhythm(const float *values, uint32_t count)
{
    double correlation[2 * LAST_LOOK], best = 0;
    uint32_t end = count / RHYTHM_TIMES < RHYTHM_MAX ? count / RHYTHM_TIMES : RHYTHM_MAX, lag = 1, begin;

    assert(count == FIRST_LOOK || count == LAST_LOOK);
    if (!autocorrelate(values, count, correlation))
        return 0;
    while (lag <= end && correlation[lag] > FIRST_LOBE)
        lag++;
    begin = lag > 2 ? lag : 2;
    for (lag = begin; lag <= end; lag++)
        if (is_peak(correlation, lag) && correlation[lag] > best)
            best = correlation[lag];
    if (best < RHYTHM_CLEAR)
        return 0;
    for (lag = begin; !is_peak(correlation, lag) || correlation[lag] < RHYTHM_ALIKE * best;)
        lag++;
    return (RHYTHM_MIN + lag - 1) / lag * lag;
}

/* Of two neighbours, those of which nothing is known left out. */
static float mean_of_two(float left, float right)
{
    return isnan(left) ? right : isnan(right) ? left : (left + right) / 2;
}

/* Of the window that begins at the place. */
static void measure_window(struct shape *shape, uint32_t place)
{
    const float *means = shape->means + place;
    double mean = 0, squares = 0;

    for (uint32_t i = 0; i < shape->window; i++)
        mean += (double)means[i];
    mean /= shape->window;
    for (uint32_t i = 0; i < shape->window; i++)
        squares += ((double)means[i] - mean) * ((double)means[i] - mean);
    shape->middle[place] = (float)mean;
    shape->spread[place] = (float)squares;
}

static uint32_t ring_place(uint32_t place)
{
    return place % SHAPE_MEANS;
}

/* Single values become means, once it is known of how many. The ring has not gone round yet. */
static void begin_means(struct shape *shape, uint32_t rhythm)
{
    uint32_t length = rhythm ? rhythm : RHYTHM_DEFAULT;

    shape->rhythm = rhythm;
    for (shape->step = 1; length / shape->step >= RHYTHM_MEANS; shape->step *= 2) {
        shape->filled /= 2;
        for (uint32_t i = 0; i < shape->filled; i++)
            shape->means[i] = mean_of_two(shape->means[2 * i], shape->means[2 * i + 1]);
    }
    shape->head = shape->filled;
    shape->window = length / shape->step / 2;
    assert(shape->window <= SHAPE_WINDOW_MAX && shape->filled > shape->window);
    for (uint32_t i = 0; i < SHAPE_WINDOW_MAX; i++)
        shape->means[SHAPE_MEANS + i] = shape->means[i];
    for (uint32_t i = 0; i + shape->window <= shape->filled; i++)
        measure_window(shape, i);
}

static void look_for_rhythm(struct shape *shape)
{
    uint32_t rhythm;

    if (shape->filled != FIRST_LOOK && shape->filled != LAST_LOOK)
        return;
    rhythm = find_rhythm(shape->means, shape->filled);
    if (rhythm || shape->filled == LAST_LOOK)
        begin_means(shape, rhythm);
}

static void append(struct shape *shape, float mean)
{
    uint32_t place = shape->head, before = ring_place(place + SHAPE_MEANS - 1);
    bool same = shape->filled > 0 && shape->means[before] == mean;

    shape->means[place] = mean;
    if (place < SHAPE_WINDOW_MAX)
        shape->means[SHAPE_MEANS + place] = mean;
    shape->head = ring_place(place + 1);
    shape->filled += shape->filled < SHAPE_MEANS;
    shape->alike = !same ? 1 : shape->alike <= SHAPE_WINDOW_MAX ? shape->alike + 1 : shape->alike;
    if (shape->step == 0)
        look_for_rhythm(shape);
    else
        measure_window(shape, ring_place(place + SHAPE_MEANS - shape->window + 1));
}

struct query {
    float centred[SHAPE_WINDOW_MAX]; /* means less their own mean */
    float middle, spread, floor, inverse;
    float form[TILE], plain[TILE]; /* least squared distance found by the windows of a lane */
};

/* Windows that begin at [first, first + count), at most a tile. The loops have no branch, and compare so that
 * NaN is never the least. */
static void compare_tile(const struct shape *shape, struct query *query, uint32_t first, uint32_t count)
{
    const float *middle = shape->middle + first, *spread = shape->spread + first;
    float product[TILE] = {0}, own = query->spread * query->inverse * query->inverse;

    for (uint32_t j = 0; j < shape->window; j++) {
        const float *means = shape->means + first + j;
        float weight = query->centred[j];

        for (uint32_t i = 0; i < count; i++)
            product[i] += weight * means[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        float inverse = 1 / sqrtf(spread[i] + query->floor), apart = middle[i] - query->middle;
        float form = own + (spread[i] * inverse - 2 * product[i] * query->inverse) * inverse;
        float plain = query->spread + spread[i] - 2 * product[i] + (float)shape->window * apart * apart;

        query->form[i] = form < query->form[i] ? form : query->form[i];
        query->plain[i] = plain < query->plain[i] ? plain : query->plain[i];
    }
}

static void compare_places(const struct shape *shape, struct query *query, uint32_t first, uint32_t end)
{
    for (uint32_t at = first; at < end; at += TILE)
        compare_tile(shape, query, at, end - at < TILE ? end - at : TILE);
}

static double least(const float lanes[TILE])
{
    float best = lanes[0];

    for (uint32_t i = 1; i < TILE; i++)
        best = lanes[i] < best ? lanes[i] : best;
    return best > 0 ? (double)best : 0;
}

/* The logarithm of the geometric mean of both distances to the nearest of `count` windows that begin from the
 * oldest mean on. NaN: none could be compared. */
static double search(const struct shape *shape, uint32_t place, uint32_t count)
{
    uint32_t first = ring_place(shape->head + SHAPE_MEANS - shape->filled), end = first + count;
    struct query query = {.middle = shape->middle[place],
                          .spread = shape->spread[place],
                          .floor = (float)(FORM_FLOOR * shape->size)};
    double form, plain;

    query.inverse = 1 / sqrtf(query.spread + query.floor);
    for (uint32_t j = 0; j < shape->window; j++)
        query.centred[j] = shape->means[place + j] - query.middle;
    for (uint32_t i = 0; i < TILE; i++)
        query.form[i] = query.plain[i] = INFINITY;
    compare_places(shape, &query, first, end < SHAPE_MEANS ? end : SHAPE_MEANS);
    if (end > SHAPE_MEANS)
        compare_places(shape, &query, 0, end - SHAPE_MEANS);
    form = least(query.form);
    plain = least(query.plain) / shape->size;
    return isinf(form) || isinf(plain) ? NAN : (log(form + NEAR) + log(plain + NEAR)) / 4;
}

static void learn_size(struct shape *shape, double spread)
{
    double share = 1 / (shape->novelty.moments.weight + 1);

    shape->size += (spread - shape->size) * (shape->size > 0 ? share : 1);
}

/* Where nothing has moved for longer than a window there is nothing new, and nothing to learn. */
static double judge(struct shape *shape)
{
    static const int64_t unit_us = 1;
    uint32_t window = shape->window, place = ring_place(shape->head + SHAPE_MEANS - window);
    struct moments *moments = &shape->novelty.moments;
    double novelty, figure;

    if (shape->filled < (2 + PAST_WINDOWS) * window || isnan(shape->spread[place]))
        return NAN;
    if (shape->alike > window)
        return moments_ready(moments) ? 0 : NAN;
    learn_size(shape, (double)shape->spread[place]);
    if (!(shape->size > 0))
        return NAN;
    novelty = search(shape, place, shape->filled - 2 * window + 1);
    if (isnan(novelty))
        return NAN;
    figure = moments_ready(moments) ? (novelty - moments->mean) / fmax(moments_scale(moments), NOVELTY_FLOOR)
                                    : NAN;
    robust_add(&shape->novelty, decay_of(NOVELTY_MEANS * unit_us, unit_us), novelty);
    return figure;
}

/* Takes a bucket; true: a mean is complete. */
static bool take(struct shape *shape, double value)
{
    bool is_known = !isnan(value);

    if (is_known && !shape->has_origin) {
        shape->has_origin = 1;
        shape->origin = value;
    }
    if (is_known) {
        shape->sum += fmin(fmax(value - shape->origin, -OFFSET_MAX), OFFSET_MAX);
        shape->known++;
    }
    shape->passed++;
    if (shape->passed < shape->step)
        return false;
    append(shape, shape->known ? (float)(shape->sum / shape->known) : NAN);
    shape->passed = shape->known = 0;
    shape->sum = 0;
    return true;
}

double shape_push(struct shape *shape, double value)
{
    assert(!isinf(value));
    if (take(shape, value))
        shape->figure = shape->step ? judge(shape) : NAN;
    return isnan(value) || shape->step == 0 ? NAN : shape->figure;
}

/* Two rounds of one value leave nothing else in the ring, and further whole rounds change nothing. */
void shape_push_many(struct shape *shape, double value, uint64_t count)
{
    uint64_t round;

    for (; count > 0 && shape->step == 0; count--)
        (void)shape_push(shape, value);
    round = (uint64_t)SHAPE_MEANS * shape->step;
    if (count > 3 * round)
        count = 2 * round + count % round;
    for (; count > 0; count--)
        (void)shape_push(shape, value);
}

/* The detector `shape`: the figure where a block is lent. It asks for one where buckets come regularly and
 * the value moves, and gives it back where no rhythm was found. Beside the block 24 bytes a series. */
enum {
    REGULAR_LEAST = 64, /* buckets with a value, less the empty ones, less twice those that say nothing */
    MOVES_LEAST = 16,   /* of those that differ from the one before */
    COUNT_MAX = 1024,
    PAUSE = 16384, /* buckets without another try */
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    return sizeof(struct shape_use);
}

static size_t hot_size(const void *settings, int64_t bucket_us)
{
    return sizeof(struct shape);
}

bool shape_wanted(const struct shape_use *use)
{
    return use->regular >= REGULAR_LEAST && use->moves >= MOVES_LEAST && use->pause == 0;
}

static bool wants_hot(const void *settings, const void *state)
{
    return shape_wanted(state);
}

void shape_follow(struct shape_use *state, bool useless, uint32_t gap, double empty, double value)
{
    uint64_t missed = (uint64_t)gap * (isnan(empty) ? 2 : 1) + (isnan(value) ? 2 : 0);

    state->regular = missed < state->regular ? state->regular - (uint32_t)missed : 0;
    state->pause = gap < state->pause ? state->pause - gap : 0;
    state->pause -= state->pause > 0;
    if (useless)
        state->pause = PAUSE;
    if (isnan(value))
        return;
    state->regular += state->regular < COUNT_MAX;
    if (value != state->last)
        state->moves += state->moves < COUNT_MAX;
    state->last = value;
}

/* What repeats well is no news. */
static double upper_side(double figure)
{
    return isnan(figure) ? NAN : fmin(fmax(figure, 0), 38);
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    for (uint32_t i = 0; i < in->rows; i++) {
        struct shape_use *state = (struct shape_use *)states + in->slot[i];
        struct shape *shape = in->hot ? in->hot[i] : NULL;
        double value = limit_value(in->value[i]);

        ret_opinions[i] = opinion_none();
        if (shape) {
            shape_push_many(shape, empty, in->gap[i]);
            ret_opinions[i].residual = upper_side(shape_push(shape, value));
        }
        shape_follow(state, shape && shape->step > 0 && shape->rhythm == 0, in->gap[i], empty, value);
    }
}

const struct detector_type shape_detector = {
    .name = "shape",
    .help =
        "Compares the last stretch of a series with all before it; for series with a form that comes again. "
        "Needs memory of limits.hot.",
    .settings_size = 0,
    .state_size = state_size,
    .score = score,
    .hot_size = hot_size,
    .wants_hot = wants_hot,
};
