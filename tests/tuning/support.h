/* What the tuner's tests share: a plan with one measure, and histories made line by line. */
#pragma once
#include "base/json_writer.h"
#include "base/memory.h"
#include "tests/base/random.h"
#include "tuning/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/pipeline/support.h" /* last: cmocka defines fail() */

#define T0_US     INT64_C(1767225600000000) /* 2026-01-01 */
#define MINUTE_US INT64_C(60000000)

static const char measure_yaml[] =
    "name: t\n"
    "sources: [{name: s, type: file, path: in.jsonl, format: openlineage}]\n"
    "measures: [{name: m, of: value, by: [workflow, task], every: 1m, statistics: [mean, count]}]\n"
    "detectors: [{name: d, type: zscore, measure: m, half_life: 1h}]\n";

static inline void put_bucket(struct buffer *out, const char *workflow, int64_t end_us, double mean,
                              unsigned version)
{
    struct json_writer json;

    buffer_clear(out);
    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "measure", SPAN_LITERAL("m"));
    json_open(&json, "key");
    json_text(&json, "workflow", span_of(workflow));
    json_text(&json, "task", SPAN_LITERAL("x"));
    json_close(&json);
    json_time(&json, "end", end_us);
    json_number_if(&json, "mean", mean);
    json_unsigned(&json, "version", version);
    json_close(&json);
}

static inline void add_bucket(struct history *history, const char *workflow, int64_t end_us, double mean,
                              unsigned version)
{
    struct buffer line;
    struct error error;

    buffer_init(&line, 4096);
    put_bucket(&line, workflow, end_us, mean, version);
    assert_int_equal(history_add(history, buffer_span(&line), &error), STATUS_OK);
    buffer_free(&line);
}

static inline void add_label(struct labels *labels, const char *line)
{
    struct error error;

    if (labels_add(labels, span_of(line), "d", &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static inline void assert_near(double left, double right, double tolerance)
{
    if (!(fabs(left - right) <= tolerance))
        fail_msg("%.17g is not %.17g", left, right);
}

static inline double noise(uint64_t *seed) /* -1 to 1 */
{
    return (double)random_below(seed, 2000001) / 1e6 - 1;
}
