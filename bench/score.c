/* A closed bucket through each detector of the list and the common back end: --events buckets of --series
 * series, a minute each, one after the other as a closing has them. Values are normal around the level of
 * their series, so nearly nothing is an anomaly. Detectors that borrow memory get a block for each series,
 * and have at most HOT_SERIES. */
#include "bench/report.h"
#include "bench/result.h"

#include "base/memory.h"
#include "detectors/backend.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 256, HOT_SERIES = 1024, BUCKET_US = 60 * 1000 * 1000 };

/* Detectors that have no settings for everybody. */
static const struct {
    const char *detector, *key, *value;
} needed[] = {{"threshold", "above", "1e12"}, {"forecast", "above", "1e12"}};

struct scoring {
    const struct detector_type *type;
    void *settings, *states;
    struct backend_settings backend;
    struct backend_state *backends;
    size_t state_size, hot_size;
    char *hots; /* a block a series */
    gsl_rng *random;
    struct usage used;
};

static void score_rows(struct scoring *scoring, uint32_t first, uint32_t rows, int64_t end_us)
{
    static const uint32_t no_gaps[ROWS];
    struct opinion opinions[ROWS];
    struct signal signal;
    double values[ROWS];
    uint32_t slots[ROWS];
    void *hot[ROWS];
    const struct bucket_batch batch = {
        .rows = rows, .value = values, .gap = no_gaps, .slot = slots, .bucket_us = BUCKET_US, .hot = hot};
    struct usage before;

    for (uint32_t i = 0; i < rows; i++) {
        slots[i] = first + i;
        hot[i] = scoring->hot_size ? scoring->hots + slots[i] * scoring->hot_size : NULL;
        values[i] = 100 + slots[i] % 100 + gsl_ran_gaussian_ziggurat(scoring->random, 10);
    }
    before = usage_now();
    scoring->type->score(scoring->settings, scoring->states, &batch, NAN, opinions);
    for (uint32_t i = 0; i < rows; i++)
        backend_judge(&scoring->backend, &scoring->backends[slots[i]], BUCKET_US, end_us, values[i],
                      &opinions[i], &signal);
    usage_add(&scoring->used, usage_since(before));
}

static enum status read_settings(struct scoring *scoring, struct error *ret_error)
{
    const struct detector_type *type = scoring->type;
    const struct option_table tables[] = {{type->options, type->option_count, scoring->settings},
                                          {backend_options, backend_option_count, &scoring->backend}};
    enum status status = options_read(NULL, tables, sizeof tables / sizeof *tables, ret_error);

    for (size_t i = 0; i < sizeof needed / sizeof *needed && status == STATUS_OK; i++)
        if (strcmp(needed[i].detector, type->name) == 0)
            status = option_assign(type->options, type->option_count, scoring->settings, needed[i].key,
                                   needed[i].value, ret_error);
    if (status != STATUS_OK)
        return status;
    scoring->state_size = type->state_size(scoring->settings, BUCKET_US);
    scoring->hot_size = detector_hot_size(type, scoring->settings, BUCKET_US);
    return scoring->state_size ? STATUS_OK
                               : fail(ret_error, "the detector %s refuses its defaults", type->name);
}

static enum status run_once(const struct generator_options *options, const struct detector_type *type,
                            struct result *result, struct error *ret_error)
{
    struct scoring scoring = {.type = type, .settings = memory_new(type->settings_size + 1)};
    const struct option_table table = {type->options, type->option_count, scoring.settings};
    enum status status = read_settings(&scoring, ret_error);

    if (status == STATUS_OK) {
        uint32_t series = scoring.hot_size && options->tasks > HOT_SERIES ? HOT_SERIES : options->tasks;
        uint64_t rounds = options->events / series + 1;

        scoring.states = memory_new(series * scoring.state_size);
        scoring.hots = memory_new(series * scoring.hot_size);
        scoring.backends = memory_new(series * sizeof *scoring.backends);
        scoring.random = gsl_rng_alloc(gsl_rng_taus2);
        gsl_rng_set(scoring.random, options->seed);
        for (uint64_t round = 0; round < rounds; round++)
            for (uint32_t first = 0; first < series; first += ROWS)
                score_rows(&scoring, first, series - first < ROWS ? series - first : ROWS,
                           options->start_us + (int64_t)(round + 1) * BUCKET_US);
        gsl_rng_free(scoring.random);
        result_add(result, "ns", scoring.used.cpu / (double)(rounds * series) * 1e9, "%s.cpu_ns_per_bucket",
                   type->name);
        result_add(result, "bytes", (double)(scoring.state_size + sizeof *scoring.backends),
                   "%s.bytes_per_series", type->name);
        if (scoring.hot_size)
            result_add(result, "bytes", (double)scoring.hot_size, "%s.hot_bytes_per_series", type->name);
    }
    options_free(&table, 1);
    free(scoring.settings);
    free(scoring.states);
    free(scoring.hots);
    free(scoring.backends);
    return status;
}

enum status bench_score(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    enum status status = STATUS_OK;

    for (unsigned run = 0; run < options->runs; run++)
        for (size_t i = 0; detector_types[i] && status == STATUS_OK; i++)
            status = run_once(&options->generator, detector_types[i], result, ret_error);
    return status;
}
