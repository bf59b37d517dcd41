/* A bootstrap rather than a rank test: with the few runs of a benchmark no rank test could tell anything, and
 * what people ask for is the ratio. The price: of figures of 3 runs that are equal one in ten seems to
 * differ. */
#include "bench/compare.h"

#include "base/memory.h"
#include "bench/result.h"

#include <gsl/gsl_randist.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 10000, SEED = 1, RUNS_MAX = 1000, NAME_WIDTH = 44 };

#define TAIL 0.025

bool compare_prefers_high(const char *unit)
{
    size_t size = strlen(unit);

    return size >= 2 && strcmp(unit + size - 2, "/s") == 0;
}

static double resampled_median(gsl_rng *random, const struct document_figure *figure)
{
    double drawn[RUNS_MAX];
    size_t count = figure->count < RUNS_MAX ? figure->count : RUNS_MAX;

    gsl_ran_sample(random, drawn, count, figure->values, figure->count, sizeof *drawn);
    gsl_sort(drawn, 1, count);
    return gsl_stats_median_from_sorted_data(drawn, 1, count);
}

struct comparison compare_figures(const struct document_figure *before, const struct document_figure *after)
{
    struct comparison comparison = {.before = median_of(before->values, before->count),
                                    .after = median_of(after->values, after->count),
                                    .low = NAN,
                                    .high = NAN};
    double *ratios;
    gsl_rng *random;

    comparison.ratio = comparison.before > 0 ? comparison.after / comparison.before : NAN;
    if (!(gsl_stats_min(before->values, 1, before->count) > 0) || before->count < 2 || after->count < 2)
        return comparison;
    ratios = memory_new(RESAMPLES * sizeof *ratios);
    random = gsl_rng_alloc(gsl_rng_taus2);
    gsl_rng_set(random, SEED);
    for (size_t i = 0; i < RESAMPLES; i++)
        ratios[i] = resampled_median(random, after) / resampled_median(random, before);
    gsl_sort(ratios, 1, RESAMPLES);
    comparison.low = gsl_stats_quantile_from_sorted_data(ratios, 1, RESAMPLES, TAIL);
    comparison.high = gsl_stats_quantile_from_sorted_data(ratios, 1, RESAMPLES, 1 - TAIL);
    comparison.differs = comparison.low > 1 || comparison.high < 1;
    gsl_rng_free(random);
    free(ratios);
    return comparison;
}

static void put_ratio(double value, struct buffer *out)
{
    if (isnan(value))
        buffer_print(out, " %8s", "-");
    else
        buffer_print(out, " %8.3f", value);
}

static const char *word_of(const struct comparison *comparison, const char *unit)
{
    if (isnan(comparison->low))
        return "unknown";
    if (!comparison->differs)
        return "same";
    return (comparison->ratio > 1) == compare_prefers_high(unit) ? "better" : "worse";
}

void compare_write(const struct document *before, const struct document *after, struct buffer *out)
{
    const char *case_name = "";

    buffer_print(out, "%-*s %-10s %12s %12s %8s %8s %8s\n", NAME_WIDTH, "figure", "unit",
                 before->commit[0] ? before->commit : "before", after->commit[0] ? after->commit : "after",
                 "ratio", "from", "to");
    for (size_t i = 0; i < before->figure_count; i++) {
        const struct document_figure *figure = &before->figures[i];
        const struct document_figure *other = document_find(after, figure->case_name, figure->name);

        if (!other)
            continue;
        struct comparison comparison = compare_figures(figure, other);

        if (strcmp(case_name, figure->case_name) != 0) {
            buffer_print(out, "%s\n", case_name = figure->case_name);
            if (strcmp(figure->parameters, other->parameters) != 0)
                buffer_print(out, "  not the same work: %sagainst %s\n", figure->parameters,
                             other->parameters);
        }
        buffer_print(out, "  %-*s %-10s %12.6g %12.6g", NAME_WIDTH - 2, figure->name, figure->unit,
                     comparison.before, comparison.after);
        put_ratio(comparison.ratio, out);
        put_ratio(comparison.low, out);
        put_ratio(comparison.high, out);
        buffer_print(out, "  %s\n", word_of(&comparison, figure->unit));
    }
}
