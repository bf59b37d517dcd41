/* A whole engine in replay, and what it tells. */
#pragma once
#include "pipeline/engine.h"
#include "tests/pipeline/support.h"

struct outputs {
    char *texts[DOC_KINDS]; /* JSON lines; NULL of a kind without a name */
    size_t sizes[DOC_KINDS];
    char *metrics;
};

extern const char *const output_names[DOC_KINDS]; /* NULL: not collected */

/* Of a file in the folder; must be right. */
struct plan *plan_load_in(const struct folder *folder, const char *yaml, unsigned workers,
                          unsigned batch_rows);

void replay(const struct folder *folder, const char *yaml, unsigned workers, unsigned batch_rows,
            struct outputs *ret_outputs);
/* Replays with every combination of workers and batch sizes; returns what they all told. */
void replay_all_ways(const struct folder *folder, const char *yaml, struct outputs *ret_outputs);
void outputs_free(struct outputs *outputs);

size_t lines_of(const char *text);
size_t occurrences(const char *text, const char *piece);

/* The value of a metric's row: "messages_total" or "rows_dropped_total{reason=\"late\"}". */
long metric(const struct outputs *outputs, const char *name);
