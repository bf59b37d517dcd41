/* What the cases of one part of the program share: a plan from text, and batches of generated events, decoded
 * and timed as the worker hands them to its stages. Making a batch is not what they measure. */
#pragma once
#include "bench/generate.h"

#include "pipeline/plan.h"

enum { RIG_ROWS = 1024 };

struct rig {
    struct plan *plan;
    const struct format_type *format_type;
    struct format *format;
    struct generator generator;
    struct buffer texts; /* of the batch at hand */
    struct event_batch batch;
    int64_t offset, greatest_us;
};

/* A configuration's text; to be freed with plan_free. */
enum status rig_plan(const char *text, struct plan **ret_plan, struct error *ret_error);

/* Sections of a configuration beside the name, time, format and source that every rig has; "" for none. To
 * be closed only after STATUS_OK. */
enum status rig_open(const struct generator_options *options, const char *sections, struct rig *ret_rig,
                     struct error *ret_error);
void rig_close(struct rig *rig);

/* The next events, at most RIG_ROWS of them; false at the end. */
bool rig_next(struct rig *rig);
