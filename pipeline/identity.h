/* Names for stored state that survive a restart and a changed configuration: kind, name and a hash of the
 * options that change the meaning. What has the same identity keeps its state. Called once by plan_link. */
#pragma once
#include "pipeline/plan.h"

void plan_identify(struct plan *plan);
