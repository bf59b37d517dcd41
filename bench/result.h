/* What a case found, in the one shape of all cases: named figures with a value a run, and checks. */
#pragma once
#include "bench/bench.h"

#include "base/json_writer.h"

#include <stdint.h>

struct figure {
    char *name; /* parts with dots between: "main.events_per_second" */
    const char *unit;
    double *values; /* one a run, in the order of the runs */
    size_t count, capacity;
    double asked_at_most; /* NaN: nothing is asked of it */
};

struct check {
    char *name;
    bool holds;
};

struct result {
    struct figure *figures;
    struct check *checks;
    size_t figure_count, figure_capacity, check_count, check_capacity;
};

void result_free(struct result *result); /* begins as all zero bytes */

/* One more run's value of the figure of that name, which may be new. The unit is static text; one that ends
 * in "/s" is better when it is higher, any other when it is lower. NaN and infinite values are left out. */
void result_add(struct result *result, const char *unit, double value, const char *name_format, ...)
    __attribute__((format(printf, 4, 5)));

/* "PREFIX.ITEMs_per_second" of wall time and "PREFIX.cpu_us_per_ITEM" of a run that did so many; an empty
 * prefix has no dot. */
struct usage;
void result_add_usage(struct result *result, const char *prefix, const char *item, double count,
                      struct usage used);

/* Of the median of a figure that was added. */
void result_ask(struct result *result, const char *name, double at_most);

/* One that failed once stays failed. */
void result_check(struct result *result, const char *name, bool holds);

double result_median(const struct result *result, const char *name); /* NaN: no such figure */

/* Of at least one value; 15 significant digits. */
double median_of(const double *values, size_t count);

/* A document is what it was measured with, and the results of some cases. */
void document_open(struct json_writer *json, struct buffer *out);
void document_close(struct json_writer *json);
void result_write(const struct result *result, const struct bench_case *bench_case,
                  const struct bench_options *options, struct json_writer *json);
