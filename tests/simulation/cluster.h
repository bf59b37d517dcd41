/* A scenario's plan run as a cluster: simulated processes that come, go and stop for a while share the tasks,
 * as a consumer group would give them out, each task an engine of its own. All turns follow from the seed. */
#pragma once
#include "tests/simulation/disk.h"
#include "tests/simulation/summary.h"

struct cluster_setting {
    const struct scenario *scenario;
    struct world *world;
    struct disk *disk;
    const char *folder, *plan_path;
    unsigned steps_max;
    bool trace;
};

/* Until all is told; the world says what went wrong. Returns the steps. */
uint64_t cluster_run(const struct cluster_setting *setting);

void cluster_stores(const char *folder, unsigned processes, struct stores *ret_stores);
