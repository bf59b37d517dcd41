/* What a person asks first: how far everything has come, and what is wrong, in words. Each worker copies what
 * it knows of its partitions and sinks into a report a few times a second, beside its figures for /metrics;
 * page threads read the reports under their mutex. */
#pragma once
#include "pipeline/metrics.h"

#include <pthread.h>

enum { PAUSE_REASON_SIZE = 256 };

struct partition_report {
    unsigned source;
    const char *topic; /* lives as long as the source */
    int32_t number;
    int64_t next_offset, high_offset; /* OFFSET_NONE, -1: not known */
    int64_t watermark_us;             /* INT64_MIN: no row yet */
    enum poll_state state;
    bool idle, done;
};

struct worker_report {
    pthread_mutex_t mutex;
    struct partition_report *partitions;
    size_t partition_count, partition_capacity;
    bool *ready; /* by source: its partitions are known */
    struct pause {
        bool paused;
        char reason[PAUSE_REASON_SIZE];
    } * pauses; /* by sink */
};

struct worker_report *worker_report_new(const struct plan *plan);
void worker_report_free(struct worker_report *report);
void worker_report_publish(struct worker_report *report, struct worker *worker); /* the worker's own thread */

struct letter_totals {
    enum status status; /* else `error` says why they are not known */
    int64_t letters, bytes;
    struct error error;
};

struct health_source {
    struct metrics_source metrics;
    const struct letter_totals *letters; /* NULL: none are kept */
    int64_t now_us;
    bool ready;
    uint64_t tasks; /* of a cluster: bits of those that are this process's */
    bool assigned;  /* the group has said so */
};

/* One JSON object, see docs/api.md; its last member, "problems", lists what is wrong. */
void health_write(const struct health_source *source, struct buffer *out);

/* Detectors [{"name", "measure", "statistic", "type", "settings": {key: text}}] and rules [{"name",
 * "measure"?, "when"}]. */
void health_write_rules(const struct plan *plan, struct buffer *out);
