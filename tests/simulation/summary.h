/* What has reached the world, as the facts that the reference tells (reference.h). */
#pragma once
#include "tests/simulation/world.h"

enum { STORE_PATH_BYTES = 128 };

struct stores { /* of all processes that there were */
    char paths[PROCESSES_LIMIT][STORE_PATH_BYTES];
    unsigned count;
    const char *vfs;
};

/* The stores are read for the dead letters, which several may have; false: one cannot be read, and the world
 * has failed. */
bool summary_take(struct world *world, const struct stores *stores, struct texts *ret_facts);

/* Says the first difference of two sorted lists to the world: what is missing, and what is too much. */
bool texts_compare(struct world *world, const char *what, const struct texts *expected,
                   const struct texts *told);

/* All that must be told to people was told, and nothing more often than the lives of the world explain. */
void summary_check_notes(struct world *world);
