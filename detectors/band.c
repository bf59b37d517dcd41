/* Runs once a closed bucket, 0.15 us. The day's shape is 96 slots of a quarter of an hour, each a 16-bit
 * number in units of the series' own width, read by linear interpolation; it is used from the third day on
 * and only while it lowers the error. Widths are learned from changes only: in a series that nearly always
 * stands still, they tell how large its changes are, not how seldom. An outlier moves level and width no
 * further than a value at three widths, the next in a row at six, then nine ... (as robust_moments), so that
 * a lasting shift is learned within tens of buckets. Tried and dropped: 144 slots (no gain), a level that
 * follows within the hour (KPI's event-F1 .55 for .57). */
#include "detectors/band.h"

#include <assert.h>
#include <math.h>

#define DAY_US           86400e6
#define FAST_HALF_LIFE   4.0  /* values */
#define SLOW_DAYS        0.25 /* half-life of the level */
#define SLOW_MIN         32.0
#define SLOW_MAX         1500.0
#define WIDTH_DAYS       1.0
#define WIDTH_MIN        64.0
#define WIDTH_MAX        3000.0
#define SHIFT_HALF_LIFE  8.0
#define COURSE_CLIP      8.0
#define COURSE_WIDTH_MIN 0.1

#define OUTLIER_WIDTHS 3.0
#define DEVIATION      1.2533 /* standard deviations in a mean distance, of a normal distribution */
#define WIDTH_LEAST    0.05   /* of the series' slow width: what the fast one cannot fall below */
#define WIDTH_OF_VALUE 1e-9
#define WIDTH_FLOOR    1e-12

#define SLOT_PART   0.3   /* by which a day moves a slot */
#define SLOT_CLIP   4.0   /* widths */
#define SLOT_UNITS  256.0 /* in a width */
#define SLOT_MAX    32000.0
#define SEASON_GAIN 0.9 /* the day's shape is used while its error is less than this part of the plain one */
#define SEASON_DAYS 2.0

enum { VALUES_BEFORE_CLIP = 10, WIDTHS_BEFORE_CLIP = 5 };

static double part_of(double half_life)
{
    return 1 - exp2(-1 / half_life);
}

struct band_pace band_pace(int64_t bucket_us)
{
    double day = fmax(DAY_US / (double)bucket_us, 1);

    return (struct band_pace){
        .day = day,
        .fast = part_of(FAST_HALF_LIFE),
        .slow = part_of(fmin(fmax(SLOW_DAYS * day, SLOW_MIN), SLOW_MAX)),
        .width = part_of(fmin(fmax(WIDTH_DAYS * day, WIDTH_MIN), WIDTH_MAX)),
        .shift = part_of(SHIFT_HALF_LIFE),
    };
}

void band_pass(struct band *band, uint64_t buckets)
{
    band->buckets += buckets;
}

bool band_ready(const struct band *band)
{
    return band->plain.values > VALUES_BEFORE_CLIP;
}

static double least_width(double value)
{
    return WIDTH_OF_VALUE * fabs(value) + WIDTH_FLOOR;
}

static double width_of(const struct band_level *level, double least)
{
    return fmax((double)level->width, least);
}

static void level_add(struct band_level *level, double value, double part, double width_part, double least,
                      bool changed)
{
    double distance = value - level->level;
    double limit = OUTLIER_WIDTHS * width_of(level, least) * (1 + level->outliers);

    level->values += level->values < UINT32_MAX;
    if (level->values == 1) {
        level->level = value;
        return;
    }
    if (level->values > VALUES_BEFORE_CLIP && level->widths > WIDTHS_BEFORE_CLIP && fabs(distance) > limit) {
        level->outliers++;
        distance = copysign(limit, distance);
    } else {
        level->outliers = 0;
    }
    level->level += fmax(part, 1.0 / level->values) * distance;
    if (!changed)
        return;
    level->widths += level->widths < UINT32_MAX;
    level->width +=
        (float)(fmax(width_part, 1.0 / level->widths) * (fabs(distance) * DEVIATION - (double)level->width));
}

/* Two slots and how far the bucket stands from the first to the second. */
struct place {
    unsigned first, second;
    double share, slots_a_bucket;
};

static struct place place_of(const struct band *band, const struct band_pace *pace)
{
    unsigned slots = pace->day < DAY_SLOTS ? (unsigned)pace->day : DAY_SLOTS;
    double at = fmod((double)band->buckets, pace->day) / pace->day * slots;
    unsigned first = (unsigned)at < slots ? (unsigned)at : slots - 1;

    return (struct place){.first = first,
                          .second = first + 1 < slots ? first + 1 : 0,
                          .share = at - first,
                          .slots_a_bucket = slots / pace->day};
}

static bool shape_known(const struct band *band, struct place place)
{
    return band->slots[place.first] != 0 && band->slots[place.second] != 0;
}

static double shape_at(const struct band *band, struct place place)
{
    if (!shape_known(band, place))
        return 0;
    return (double)band->unit *
           (band->slots[place.first] * (1 - place.share) + band->slots[place.second] * place.share);
}

static bool season_helps(const struct band *band, const struct band_pace *pace, struct place place)
{
    return (double)band->buckets > SEASON_DAYS * pace->day && shape_known(band, place) &&
           (double)band->season_error < SEASON_GAIN * (double)band->plain_error;
}

/* Writes a slot; when it does not fit, all slots change to a coarser unit. */
static void slot_set(struct band *band, unsigned slot, double value)
{
    while (fabs(value) > SLOT_MAX * (double)band->unit) {
        band->unit *= 2;
        for (unsigned i = 0; i < DAY_SLOTS; i++)
            if (band->slots[i] != 0)
                band->slots[i] = (int16_t)(band->slots[i] / 2 ? band->slots[i] / 2 : 1);
    }
    value = nearbyint(value / (double)band->unit);
    band->slots[slot] = (int16_t)(value == 0 ? 1 : value);
}

static void slot_move(struct band *band, unsigned slot, double distance)
{
    if (band->slots[slot] != 0)
        slot_set(band, slot, (double)band->unit * band->slots[slot] + distance);
}

static void shape_add(struct band *band, const struct band_pace *pace, struct place place, double above,
                      double least)
{
    double days = (double)band->buckets / pace->day, error = above - shape_at(band, place);
    double limit = SLOT_CLIP * width_of(&band->season, least), part;

    if (band->unit == 0) {
        band->unit = (float)(width_of(&band->plain, least) / SLOT_UNITS);
        if (!(band->unit > 0) || band->plain.widths <= WIDTHS_BEFORE_CLIP) {
            band->unit = 0;
            return;
        }
    }
    if (band->slots[place.first] == 0) {
        slot_set(band, place.first, above);
        return;
    }
    if (days > SEASON_DAYS)
        error = fmin(fmax(error, -limit), limit);
    part = fmax(SLOT_PART * fmin(place.slots_a_bucket, 1),
                1 / (1 + (floor(days) + place.share) / place.slots_a_bucket));
    slot_move(band, place.first, part * (1 - place.share) * error);
    slot_move(band, place.second, part * place.share * error);
}

static double course_of(const struct band *band, const struct band_pace *pace, double slow)
{
    double clipped = fmin(fmax(slow, -COURSE_CLIP), COURSE_CLIP);

    return (double)band->course + pace->shift * (clipped - (double)band->course);
}

struct band_view band_see(const struct band *band, const struct band_pace *pace, double value)
{
    struct place place = place_of(band, pace);
    bool season = season_helps(band, pace, place);
    double any = shape_at(band, place), shape = season ? any : 0, least = least_width(value);
    double fast_least = fmax(least, WIDTH_LEAST * (double)band->plain.width);
    const struct band_level *slow = season ? &band->season : &band->plain;
    struct band_view view = {.middle = shape + slow->level,
                             .width = width_of(slow, season ? fast_least : least),
                             .fast = (value - (band->seasonal ? any : 0) - band->fast.level) /
                                     width_of(&band->fast, fast_least)};

    view.slow = (value - view.middle) / view.width;
    view.course = course_of(band, pace, view.slow) / fmax((double)band->course_width, COURSE_WIDTH_MIN);
    return view;
}

void band_add(struct band *band, const struct band_pace *pace, double value)
{
    struct place place = place_of(band, pace);
    struct band_view view = band_see(band, pace, value);
    bool known = shape_known(band, place), changed = band->plain.values == 0 || value != band->last;
    double shape = shape_at(band, place), least = least_width(value);
    double fast_least = fmax(least, WIDTH_LEAST * (double)band->plain.width);
    bool season = season_helps(band, pace, place);
    double used = season ? shape : 0;
    double most = 6 * (double)band->plain.width, course;

    course = course_of(band, pace, view.slow);
    if (band_ready(band))
        band->course = (float)course;
    band->course_width +=
        (float)(fmax(pace->width, 1.0 / (1 + band->plain.values)) *
                (fmin(fabs(course) * DEVIATION, 3 * (double)band->course_width + COURSE_WIDTH_MIN) -
                 (double)band->course_width));
    band->plain_error +=
        (float)(pace->width * (fmin(fabs(value - band->plain.level), most) - (double)band->plain_error));
    if (known && (double)band->buckets > pace->day)
        band->season_error += (float)(pace->width * (fmin(fabs(value - shape - band->season.level), most) -
                                                     (double)band->season_error));
    else
        band->season_error = band->plain_error;
    shape_add(band, pace, place, value - band->season.level, fast_least);
    if (season != (bool)band->seasonal) /* what the fast level counts from has changed */
        band->fast.level += season ? -shape : shape;
    band->seasonal = season;
    level_add(&band->fast, value - used, pace->fast, pace->width, fast_least, changed);
    level_add(&band->plain, value, pace->slow, pace->width, least, changed);
    level_add(&band->season, value - shape, pace->slow, pace->width, fast_least, changed);
    band->last = value;
    band->buckets++;
}
