/* The default detector: no setting, for any series. Band tells how far a value stands from the values just
 * before it and from its usual course; both must agree, so it takes their geometric mean. Shift looks at the
 * mean of the last values, for what is small and lasts. The farther of the two speaks; the back end knows
 * records and rarity. 304 bytes a series and 0.2 us a row. */
#include "detectors/band.h"

#include <math.h>

#define VALUE_MAX    1e30 /* beyond it values act as if they stood there */
#define RESIDUAL_MAX 38.0
#define BAND_WIDTHS  3.0
#define SHIFT_POWER  0.6 /* the mean of many values is no news in the moment: it counts for less */

enum { EMPTY_STEPS_MAX = 4096 }; /* of a longer gap only time passes */

static size_t state_size(const void *settings, int64_t bucket_us)
{
    (void)settings;
    (void)bucket_us;
    return sizeof(struct band);
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

    (void)settings;
    for (uint32_t i = 0; i < in->rows; i++) {
        struct band *band = (struct band *)states + in->slot[i];
        double value = limited(in->value[i]);
        struct band_view view;

        pass(band, &pace, empty, in->gap[i]);
        ret_opinions[i] = opinion_none();
        if (isnan(value)) {
            band_pass(band, 1);
            continue;
        }
        view = band_see(band, &pace, value);
        if (band_ready(band))
            ret_opinions[i] = opinion_of(&view);
        band_add(band, &pace, value);
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
};
