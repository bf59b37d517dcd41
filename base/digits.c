/* Some times a document. The sizes that measures have, scaled to 17 digits, are exact in 128 bits, so that
 * rounding them and asking whether digits read back equal are comparisons of integers: a thirtieth of the
 * time of printf and strtod. Dropped: Ryu, as in std::to_chars, whose fewest digits are others than printf's
 * beside powers of two. */
#include "base/digits.h"

#include <assert.h>
#include <string.h>

enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023, EXPONENT_MASK = 0x7ff };
enum { DIGITS_MOST = 17, EXPONENT_MIN = -36, EXPONENT_MAX = 49, PLACES_MIN = 2, PLACES_MAX = 27 };

// clang-format off
static const uint64_t powers_of_five[PLACES_MAX + 1] = {
    1, 5, 25, 125, 625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125, 244140625, 1220703125,
    6103515625, 30517578125, 152587890625, 762939453125, 3814697265625, 19073486328125, 95367431640625,
    476837158203125, 2384185791015625, 11920928955078125, 59604644775390625, 298023223876953125,
    1490116119384765625, 7450580596923828125,
};
// clang-format on

static const uint64_t ten_to_17 = UINT64_C(100000000000000000);

typedef unsigned __int128 wide;

/* The size of a double with 17 digits before the point: exact / 2^shift. */
struct scaled {
    wide exact;
    int shift, places; /* times 10^places */
    uint64_t mantissa;
};

static bool scale(double number, struct scaled *ret_scaled)
{
    uint64_t bits, hidden = UINT64_C(1) << MANTISSA_BITS;

    memcpy(&bits, &number, sizeof bits);
    int exponent = (int)(bits >> MANTISSA_BITS & EXPONENT_MASK) - EXPONENT_BIAS;
    if (exponent < EXPONENT_MIN || exponent > EXPONENT_MAX)
        return false;
    struct scaled scaled = {.mantissa = hidden | (bits & (hidden - 1))};
    scaled.places = DIGITS_MOST - 1 - (exponent * 1233 >> 12); /* 1233 / 4096: the logarithm of 2 */
    scaled.shift = MANTISSA_BITS - exponent - scaled.places;
    scaled.exact = (wide)scaled.mantissa * powers_of_five[scaled.places];
    if (scaled.exact >> scaled.shift >= ten_to_17) {
        scaled.exact = (wide)scaled.mantissa * powers_of_five[--scaled.places];
        scaled.shift++;
    }
    *ret_scaled = scaled;
    return scaled.places >= PLACES_MIN;
}

/* To the nearest multiple of a power of ten, of two as near to the one whose last digit is even. */
static uint64_t round_to(const struct scaled *scaled, uint64_t unit)
{
    uint64_t digits = (uint64_t)(scaled->exact >> scaled->shift) / unit;
    wide one = (wide)unit << scaled->shift, rest = scaled->exact - digits * one;

    digits += 2 * rest > one || (2 * rest == one && digits % 2);
    return digits * unit;
}

/* Whether the double is the nearest one; of two as near the one with the even mantissa is read. */
static bool reads_back(const struct scaled *scaled, uint64_t rounded)
{
    wide read = (wide)rounded << scaled->shift,
         step = powers_of_five[scaled->places]; /* to the next double */
    bool below = read < scaled->exact;
    wide twice = 2 * (below ? scaled->exact - read : read - scaled->exact);

    if (below && scaled->mantissa == UINT64_C(1) << MANTISSA_BITS) /* the one before it is half as far */
        twice *= 2;
    return twice < step || (twice == step && scaled->mantissa % 2 == 0);
}

bool digits_round(double number, unsigned count, struct digits *ret_digits)
{
    uint64_t unit = count == 15 ? 100 : count == 16 ? 10 : 1;
    struct scaled scaled;

    assert(count >= 15 && count <= DIGITS_MOST);
    if (!scale(number, &scaled))
        return false;
    *ret_digits = (struct digits){.number = round_to(&scaled, unit) / unit,
                                  .places = scaled.places - (int)(DIGITS_MOST - count)};
    return true;
}

bool digits_shortest(double number, struct digits *ret_digits)
{
    struct scaled scaled;

    if (!scale(number, &scaled))
        return false;
    *ret_digits = (struct digits){.places = scaled.places - 2};
    for (uint64_t unit = 100;; unit /= 10, ret_digits->places++) {
        uint64_t rounded = round_to(&scaled, unit);

        ret_digits->number = rounded / unit;
        if (unit == 1 || reads_back(&scaled, rounded))
            return true;
    }
}
