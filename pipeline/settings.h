/* The option rows of each section of a configuration file. Type-specific rows live with their source, format,
 * detector and sink. */
#pragma once
#include "pipeline/plan.h"

struct option_rows {
    const struct option *rows;
    size_t count;
};

extern const struct option_rows general_rows, time_rows, runs_rows, limits_rows, store_rows, cluster_rows,
    http_rows, alerts_rows, format_rows, source_rows, measure_rows, detector_rows, rule_rows, annotation_rows,
    calendar_rows, sink_rows, receiver_rows, schedule_rows;
