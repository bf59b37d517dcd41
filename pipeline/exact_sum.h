/* Sums of doubles in which the order of the terms cannot matter: every term is cut at fixed binary places
 * (multiples of 26 bits) into pieces that are added as integers, and the pieces within 130 bits of the
 * largest term are kept. Source: Demmel and Nguyen, "Parallel Reproducible Summation" (2015), here in
 * integers. Good for 2^36 terms. */
#pragma once
#include "base/state.h"

enum { EXACT_PIECES = 5 };

struct exact_sum {  /* all zero bytes: no terms */
    int32_t top;    /* place of pieces[0] in units of 26 bits above 2^-1074; 0: only zeros so far */
    int32_t broken; /* a square overflowed: the total is NaN, in whatever order */
    int64_t pieces[EXACT_PIECES]; /* from the highest place down */
};

struct double_double { /* the unevaluated sum of two doubles, |low| at most half a last place of high */
    double high, low;
};

void exact_add(struct exact_sum *sum, double value);        /* finite */
void exact_add_square(struct exact_sum *sum, double value); /* its square, without rounding error */
void exact_merge(struct exact_sum *into, const struct exact_sum *from);

/* The total to about 104 bits below the largest term; the same bits for any order of adding and merging. */
struct double_double exact_total(const struct exact_sum *sum);

/* Arithmetic to about 100 bits (Dekker 1971). */
struct double_double double_double_times(struct double_double a, struct double_double b);
struct double_double double_double_minus(struct double_double a, struct double_double b);
struct double_double double_double_over(struct double_double a, double divisor);

/* As stored: one byte when empty. What does not fit makes the reader broken and gives an empty sum. */
void exact_pack(const struct exact_sum *sum, struct buffer *out);
void exact_unpack(struct unpack *in, struct exact_sum *ret_sum);
