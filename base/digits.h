/* Decimal digits: of a small number into a text, and of a double. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Two digits at a time: half the divisions, and no table to fetch. */
static inline void digits_put_two(char *at, unsigned number) /* below 100 */
{
    unsigned tens = number * 103 >> 10;

    at[0] = (char)('0' + tens);
    at[1] = (char)('0' + (number - tens * 10));
}

struct digits { /* number / 10^places */
    uint64_t number;
    int places;
};

/* The size of a double in so many significant digits, 15 to 17, rounded as printf does it. False where the
 * way here does not reach: below 2^-36 and from 10^15 on. */
bool digits_round(double number, unsigned count, struct digits *ret_digits);

/* The same in the fewest digits of 15, 16 and 17 that read back equal. */
bool digits_shortest(double number, struct digits *ret_digits);
