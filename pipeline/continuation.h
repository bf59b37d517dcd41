/* A start with another configuration than the store was written under. A measure that did not change (its
 * identity is the same) goes on. A new or changed one is told from its first whole bucket on; the old one
 * stays in the plan, without detectors and rules, until the buckets that had begun are told. The list of
 * measures is part of every cut. */
#pragma once
#include "base/state.h"
#include "pipeline/plan.h"

/* STATE_PLAN: the measures of the plan, as they are. `greatest_us`: the greatest event time read so far,
 * INT64_MIN when there is none. */
void continuation_pack(const struct plan *plan, int64_t greatest_us, struct buffer *out);

/* The plan to go on with after that value, to be freed; *ret_plan is NULL when `plan` will do as it is. */
enum status continuation_plan(const struct plan *plan, struct span value, struct plan **ret_plan,
                              struct error *ret_error);
