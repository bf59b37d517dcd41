/* Decimal digits two at a time: half the divisions, and no table to fetch. */
#pragma once

static inline void digits_put_two(char *at, unsigned number) /* below 100 */
{
    unsigned tens = number * 103 >> 10;

    at[0] = (char)('0' + tens);
    at[1] = (char)('0' + (number - tens * 10));
}
