/* Two documents of the benchmark, figure by figure. */
#pragma once
#include "base/buffer.h"
#include "bench/document.h"

struct comparison {
    double before, after; /* medians */
    double ratio, low,
        high;     /* after / before and its interval; NaN: none (a value of 0 or less; a single run) */
    bool differs; /* the interval does not hold 1 */
};

/* The interval is the percentile bootstrap's of 95 % (B. Efron and R. Tibshirani, "An Introduction to the
 * Bootstrap", 1993, chapter 13): both sides' runs drawn again 10,000 times, by a generator with a fixed
 * seed. */
struct comparison compare_figures(const struct document_figure *before, const struct document_figure *after);

/* Whether a higher value of that unit is the better one: rates, "/s". */
bool compare_prefers_high(const char *unit);

/* A line for each figure that both have, under a line of headings. */
void compare_write(const struct document *before, const struct document *after, struct buffer *out);
