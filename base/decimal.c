/* Runs twice an event or so. Up to 2^53 digits and powers of ten up to 10^22 are exact doubles, so that one
 * multiplication or division rounds as it should (Clinger, "How to read floating point numbers accurately",
 * 1990); that is nearly every number in a log. The rest is strtod's, which took a tenth of decoding. */
#include "base/decimal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_POWER_MAX = 22, POWER_MAX = 9999 };

#define EXACT_INTEGER_MAX (UINT64_C(1) << 53)

/* Digits from `at` on, added to what stands in *mantissa; how many there are. A mantissa beyond what is exact
 * stays beyond it. */
static uint32_t read_digits(struct span text, uint32_t at, uint64_t *mantissa)
{
    uint32_t start = at;

    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++)
        if (*mantissa <= EXACT_INTEGER_MAX)
            *mantissa = *mantissa * 10 + (uint64_t)(text.data[at] - '0');
    return at - start;
}

/* Behind "e": moves the cursor to the end of the power. False: there is none. */
static bool read_power(struct span text, uint32_t *cursor, int *ret_power)
{
    uint32_t at = *cursor, start;
    bool negative = at < text.size && text.data[at] == '-';
    int power = 0;

    at += negative || (at < text.size && text.data[at] == '+');
    for (start = at; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++)
        if (power < POWER_MAX)
            power = power * 10 + (text.data[at] - '0');
    *cursor = at;
    *ret_power = negative ? -power : power;
    return at > start;
}

static double convert(struct span text)
{
    char copy[DECIMAL_BYTES_MAX + 1], *end;

    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    double number = strtod(copy, &end);
    assert(end == copy + text.size);
    return number;
}

bool decimal_read(struct span text, double *ret_number)
{
    static const double powers[EXACT_POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t mantissa = 0;
    uint32_t at = text.size && (text.data[0] == '-' || text.data[0] == '+'), whole, part = 0;
    int power = 0;

    if (text.size > DECIMAL_BYTES_MAX)
        return false;
    whole = read_digits(text, at, &mantissa);
    at += whole;
    if (at < text.size && text.data[at] == '.') {
        part = read_digits(text, ++at, &mantissa);
        at += part;
    }
    if (whole + part == 0)
        return false;
    if (at < text.size && (text.data[at] | 0x20) == 'e') {
        at++;
        if (!read_power(text, &at, &power))
            return false;
    }
    if (at != text.size)
        return false;
    power -= (int)part;
    if (mantissa > EXACT_INTEGER_MAX || power < -EXACT_POWER_MAX || power > EXACT_POWER_MAX) {
        *ret_number = convert(text);
        return true;
    }
    double number = power < 0 ? (double)mantissa / powers[-power] : (double)mantissa * powers[power];
    *ret_number = text.data[0] == '-' ? -number : number;
    return true;
}
