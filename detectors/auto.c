/* The default detector: no setting, for any series. Band tells how far a value stands from the values just
 * before it and from its usual course; both must agree, so it takes their geometric mean. Shift looks at the
 * mean of the last values, for what is small and lasts. Shape, where memory is lent, knows the form of a
 * rhythm. The farthest of them speaks; the back end knows records and rarity. 328 bytes a series. Tried and
 * dropped: form in place of the band (UCR + 5 points, NAB - 11), the band's residual halved beside a form
 * (NAB - 3). */
#include "detectors/band.h"
#include "detectors/shape.h"

#include <math.h>

#define VALUE_MAX    1e30 /* beyond it values act as if they stood there */
#define RESIDUAL_MAX 38.0
#define BAND_WIDTHS  3.0
#define DAILY        0.1 /* of a day: a rhythm so near to it is the day */
#define SHIFT_POWER  0.6 /* the mean of many values is no news in the moment: it counts for less */

enum { EMPTY_STEPS_MAX = 4096 }; /* of a longer gap only time passes */

struct auto_state { /* plain bytes, zeroed at birth */
    struct band band;
    struct shape_use use;
};

static size_t state_size(const void *settings, int64_t bucket_us)
{
    return sizeof(struct auto_state);
}

static double limited(double value)
{
    return isnan(value) ? value : fmin(fmax(value, -VALUE_MAX), VALUE_MAX);
}

static struct opinion opinion_of(const struct band_view *view)
{
    double point = sqrt(fabs(view->fast) * fabs(view->slow));
    double shift = pow(fabs(view->course), SHIFT_POWER);
    bool shifted = shift > point;

    return (struct opinion){
        .residual =
            copysign(fmin(shifted ? shift : point, RESIDUAL_MAX), shifted ? view->course : view->slow),
        .low = view->middle - BAND_WIDTHS * view->width,
        .high = view->middle + BAND_WIDTHS * view->width,
        .channel = shifted ? "shift" : "band",
    };
}

static size_t hot_size(const void *settings, int64_t bucket_us)
{
    return sizeof(struct shape);
}

static bool wants_hot(const void *settings, const void *state)
{
    return shape_wanted(&((const struct auto_state *)state)->use);
}

/* A rhythm that is the day's, or half of it, is in the shape of the day already. */
static bool is_daily(const struct shape *shape, const struct band_pace *pace)
{
    double part = shape->rhythm / pace->day;

    return fabs(part - 1) < DAILY || fabs(part - 0.5) < DAILY;
}

/* The form of a series with a rhythm of its own speaks when it is the farther off. */
static void look_at_shape(struct shape *shape, const struct band_pace *pace, uint32_t gap, double empty,
                          double value, struct opinion *opinion)
{
    double figure;

    shape_push_many(shape, empty, gap);
    figure = shape_push(shape, value);
    if (isnan(figure) || isnan(opinion->residual) || shape->rhythm == 0 || is_daily(shape, pace))
        return;
    figure = fmin(fmax(figure, 0), RESIDUAL_MAX);
    if (fabs(opinion->residual) >= figure)
        return;
    opinion->residual = copysign(figure, opinion->residual);
    opinion->channel = "shape";
}

static void pass(struct band *band, const struct band_pace *pace, double empty, uint32_t gap)
{
    uint32_t steps = gap < EMPTY_STEPS_MAX ? gap : EMPTY_STEPS_MAX;

    if (isnan(empty))
        steps = 0;
    for (uint32_t i = 0; i < steps; i++)
        band_add(band, pace, empty);
    band_pass(band, gap - steps);
}

static void score(const void *settings, void *states, const struct bucket_batch *in, double empty,
                  struct opinion *ret_opinions)
{
    struct band_pace pace = band_pace(in->bucket_us);

    for (uint32_t i = 0; i < in->rows; i++) {
        struct auto_state *state = (struct auto_state *)states + in->slot[i];
        struct shape *shape = in->hot ? in->hot[i] : NULL;
        struct band *band = &state->band;
        double value = limited(in->value[i]);
        struct band_view view;

        pass(band, &pace, empty, in->gap[i]);
        ret_opinions[i] = opinion_none();
        if (isnan(value)) {
            band_pass(band, 1);
        } else {
            view = band_see(band, &pace, value);
            if (band_ready(band))
                ret_opinions[i] = opinion_of(&view);
            band_add(band, &pace, value);
        }
        if (shape)
            look_at_shape(shape, &pace, in->gap[i], empty, value, &ret_opinions[i]);
        shape_follow(&state->use, shape && shape->step > 0 && (shape->rhythm == 0 || is_daily(shape, &pace)),
                     in->gap[i], empty, value);
    }
}

const struct detector_type auto_detector = {
    .name = "auto",
    .help =
        "Learns level, width and the shape of the day, and reports what is far from both the usual course "
        "and the last values, shifts, and records.",
    .settings_size = 0,
    .state_size = state_size,
    .score = score,
    .hot_size = hot_size,
    .wants_hot = wants_hot,
};
