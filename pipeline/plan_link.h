/* The second half of plan_load: connects measures, groups, detectors and rules by name, and compiles
 * expressions. */
#pragma once
#include "pipeline/plan.h"

enum status plan_link(struct plan *plan, struct error *ret_error);
void plan_unlink(struct plan *plan); /* frees what plan_link made; fine on a half-linked plan */

/* The variables of a bucket rule, in this order: the key fields of the group, the STATISTICS of the rule's
 * own measure by bare name, then per other measure of the group the STATISTICS as MEASURE.STATISTIC, then per
 * detector on the group DETECTOR.score, .probability and .anomaly. */
enum { DETECTOR_VARIABLES = 3 };
