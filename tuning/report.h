/* A report: per workflow and task what became of their runs, how long they took and waited, how much there
 * was of them, and how long they were down. Made of run lines (documents.md), of a recording or of a store's
 * history; docs/report.md has the formulas. Takes some 100 bytes a run. One thread. */
#pragma once
#include "base/buffer.h"
#include "schemas/event.h"

enum report_by { REPORT_BY_BOTH, REPORT_BY_WORKFLOW, REPORT_BY_TASK };

struct report_options {
    int64_t from_us, to_us; /* to is not in it; TIME_NONE: as far as the runs go */
    enum report_by by;
    bool ended_only; /* the lines are of ended runs only: nothing is known of open ones */
};

struct report_run { /* by its last line; times in whole milliseconds, TIME_NONE absent */
    uint32_t group;
    uint32_t retries; /* tries beyond the first that the line tells of */
    enum run_state state;
    int64_t queued_us, started_us, ended_us;
    double duration_ms; /* NaN absent */
};

struct report_spread { /* of exact values; NaN when there are none */
    double mean, p50, p95, max;
};

struct report_figures {
    uint64_t ended, states[STATE_COUNT], open, retries, arrivals, outages;
    double success_rate;
    struct report_spread wait_ms, duration_ms; /* duration: of successful ones */
    double arrivals_per_hour, completions_per_hour;
    uint64_t concurrency; /* most at once */
    double busy_ms, utilisation, down_ms, availability, mtbf_ms, mttr_ms;
};

struct report_group { /* a workflow, or a task of it; texts live as long as the report */
    struct span source, namespace_, workflow, task;
    bool is_task;
    struct report_figures figures;
    const struct report_run *runs; /* by their end */
    size_t run_count;
};

struct report {
    struct report_options options;
    int64_t from_us, to_us; /* the time covered */
    struct report_group *groups;
    size_t group_count;
    struct report_work *work;
};

struct report *report_new(const struct report_options *options);
void report_free(struct report *report);

/* The last line of a run counts. False: it is no run line. */
bool report_add(struct report *report, struct span line);

/* Once, after the last line: groups in the order of their names, a workflow before its tasks. */
void report_reckon(struct report *report);

/* Whether the run ended within the time covered. */
bool report_covers(const struct report *report, const struct report_run *run);
bool report_is_failure(enum run_state state);

/* Sorts the values. Quantiles are between the two nearest ranks (R. Hyndman and Y. Fan 1996,
 * definition 7). */
struct report_spread report_spread_of(double *values, size_t count);

/* `width` columns at most where the names allow it, in several tables if need be; 0: no limit. */
void report_write_text(const struct report *report, unsigned width, struct buffer *out);
void report_write_csv(const struct report *report, struct buffer *out); /* RFC 4180 with header */
void report_write_html(const struct report *report, struct span title, struct buffer *out);
