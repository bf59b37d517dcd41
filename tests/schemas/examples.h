/* One bucket, signal, run and alert of which every member is set; tests change copies. */
#pragma once
#include "schemas/encode.h"

#include <math.h>

#define EXAMPLE_US       1795254020097000 /* 2026-11-21T09:40:20.097Z */
#define EXAMPLE_ID       ((struct id128){0x0123456789abcdef, 0xfedcba9876543210})
#define EXAMPLE_HEX      "0123456789abcdeffedcba9876543210"
#define OTHER_ID         ((struct id128){1, 2})
#define OTHER_HEX        "00000000000000010000000000000002"
#define EXAMPLE_PIPELINE SPAN_LITERAL("orders")

static const struct measure_shape example_shape = {
    .name = "latency",
    .unit = "ms",
    .statistics = 1u << STAT_COUNT | 1u << STAT_MEAN | 1u << STAT_P95 | 1u << STAT_RATIO,
    .by_count = 4,
    .by = {{.field = F_WORKFLOW},
           {.field = F_ATTEMPT},
           {.field = FIELD_COUNT, .label = 0},
           {.field = F_HOST}},
    .by_names = {"workflow", "attempt", "team.name", "host"},
    .every_us = 10000000,
    .window_us = 60500000,
};

static const struct span example_key[] = {
    {"etl \"daily\"", 11},
    {"2", 1},
    {"blue", 4},
    {"node-1", 6},
};

static inline struct bucket example_bucket(void)
{
    struct bucket bucket = {
        .shape = &example_shape,
        .key = example_key,
        .id = EXAMPLE_ID,
        .start_us = EXAMPLE_US,
        .end_us = EXAMPLE_US + 60500000,
        .rows = 12,
        .late = 3,
        .version = 13,
        .score = 0.75,
        .expected_low = 10,
        .expected_high = 20.5,
        .anomaly = true,
    };

    for (int i = 0; i < STATISTICS; i++)
        bucket.values[i] = i + 0.5;
    bucket.values[STAT_COUNT] = 12;
    bucket.values[STAT_RATIO] = NAN;
    return bucket;
}

static inline struct signal_record example_signal(const struct bucket *bucket)
{
    return (struct signal_record){
        .detector = "slow",
        .bucket = bucket,
        .signal = {.opinion = true,
                   .anomaly = true,
                   .residual = 4,
                   .probability = 0.001,
                   .score = 0.9,
                   .one_in = 1000,
                   .actual = 42,
                   .expected_low = 10,
                   .expected_high = 20,
                   .direction = DIRECTION_UP,
                   .channel = "level"},
        .id = OTHER_ID,
        .episode = EXAMPLE_ID,
    };
}

static const struct label_names example_label_names = {.names = {"team.name", "zone"}, .count = 2};
static const struct span example_label_values[] = {{"blue", 4}, {0}};

static inline struct run_record example_run(void)
{
    return (struct run_record){
        .id = EXAMPLE_ID,
        .state = STATE_FAILED,
        .version = 5,
        .at_us = EXAMPLE_US,
        .first_us = EXAMPLE_US,
        .scheduled_us = EXAMPLE_US,
        .queued_us = EXAMPLE_US + 1000000,
        .started_us = EXAMPLE_US + 2000000,
        .ended_us = EXAMPLE_US + 3500000,
        .duration_ms = 1500.0000005,
        .queue_wait_ms = 1000,
        .late_by_ms = 2000,
        .source = SPAN_LITERAL("lineage"),
        .namespace_ = SPAN_LITERAL("default"),
        .engine = SPAN_LITERAL("airflow"),
        .workflow = SPAN_LITERAL("etl"),
        .run = SPAN_LITERAL("r1"),
        .run_name = SPAN_LITERAL("scheduled__1"),
        .root_run = SPAN_LITERAL("r0"),
        .parent_run = SPAN_LITERAL("p0"),
        .queue = SPAN_LITERAL("q"),
        .worker = SPAN_LITERAL("w"),
        .owner = SPAN_LITERAL("ops"),
        .host = SPAN_LITERAL("node-1"),
        .error = SPAN_LITERAL("boom"),
        .error_type = SPAN_LITERAL("ValueError"),
        .url = SPAN_LITERAL("http://x/r1"),
        .attempts = 2,
        .map_index = INT32_MIN,
        .tasks = {[STATE_SUCCESS] = 3, [STATE_FAILED] = 1},
        .label_names = &example_label_names,
        .labels = example_label_values,
    };
}

static inline struct run_record example_task(void)
{
    struct run_record task = example_run();

    task.is_task = true;
    task.task = SPAN_LITERAL("load");
    task.attempt = 2;
    task.map_index = 0;
    return task;
}

static inline struct alert example_alert(void)
{
    return (struct alert){
        .id = EXAMPLE_ID,
        .episode = OTHER_ID,
        .revision = 1,
        .at_us = EXAMPLE_US,
        .starts_us = EXAMPLE_US - 1000000,
        .ends_us = EXAMPLE_US + 1000000,
        .state = ALERT_RESOLVED,
        .reason = REASON_NO_DATA,
        .kind = ALERT_DURATION,
        .severity = SEVERITY_CRITICAL,
        .rule = SPAN_LITERAL("slow"),
        .source = SPAN_LITERAL("lineage"),
        .namespace_ = SPAN_LITERAL("default"),
        .workflow = SPAN_LITERAL("a/b"),
        .task = SPAN_LITERAL("50%"),
        .run = SPAN_LITERAL("r1"),
        .run_name = SPAN_LITERAL("scheduled__1"),
        .host = SPAN_LITERAL("node-1"),
        .attempt = 2,
        .labels = {{SPAN_LITERAL("workflow"), SPAN_LITERAL("a/b")},
                   {SPAN_LITERAL("labels.team"), SPAN_LITERAL("blue")},
                   {SPAN_LITERAL("queue"), SPAN_LITERAL("q")},
                   {SPAN_LITERAL("unit"), SPAN_LITERAL("s")}},
        .label_count = 4,
        .summary = SPAN_LITERAL("too slow"),
        .description = SPAN_LITERAL("took 42 s"),
        .runbook = SPAN_LITERAL("http://x/book"),
        .url = SPAN_LITERAL("http://x/r1"),
        .score = 0.9,
        .probability = 0.001,
        .actual = 42,
        .expected_low = 10,
        .expected_high = 20,
        .unit = SPAN_LITERAL("s"),
        .provisional = true,
    };
}

static inline struct metric_sample example_metric(void)
{
    return (struct metric_sample){
        .name = SPAN_LITERAL("weir_rows_total"),
        .value = 12.5,
        .time_us = EXAMPLE_US,
        .labels = {{SPAN_LITERAL("reason"), SPAN_LITERAL("\"late\"")},
                   {SPAN_LITERAL("sink"), SPAN_LITERAL("\"a\\\"b\"")}},
        .label_count = 2,
        .host = SPAN_LITERAL("node-1"),
        .process = 4242,
    };
}
