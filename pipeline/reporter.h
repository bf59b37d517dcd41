/* The figures of /metrics as documents, for the sinks that `send: [metrics]`: sink instances of the process's
 * own, so that what workers deliver is not touched. Nothing is kept: what a sink does not take, or has not
 * sent at the end, is lost, and a replay has none. All calls from one thread. */
#pragma once
#include "pipeline/plan.h"

struct reporter;

struct reporter_options {
    const struct plan *plan; /* outlives the reporter */
    void (*warn)(void *owner, const char *text);
    void *owner;
};

/* *ret_reporter is NULL when no sink asks for metrics. STATUS_FATAL: a sink cannot be opened. */
enum status reporter_open(const struct reporter_options *options, struct reporter **ret_reporter,
                          struct error *ret_error);
void reporter_close(struct reporter *reporter); /* NULL: nothing */

/* Every 10 s, the first time 10 s after the first call. Wall time. */
bool reporter_is_due(struct reporter *reporter, int64_t now_us);

/* One document a sample of the page, which is in Prometheus text format 0.0.4. */
void reporter_tell(struct reporter *reporter, struct span page, int64_t now_us);

void reporter_advance(struct reporter *reporter, int64_t now_us);
