/* Looks for the least cost in the unit cube by walks from several starts: simulated annealing (GSL's
 * gsl_siman) to find a valley, then the simplex of Nelder and Mead (gsl_multimin) to its bottom. A walk
 * depends on the seed and its number alone, so the result does not depend on the number of threads. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEARCH_DIMENSIONS_MAX = 16, SEARCH_WALKS_MAX = 1000, SEARCH_THREADS_MAX = 64 };

struct search {
    unsigned dimensions, walks, steps, threads; /* steps: calls of `cost` a walk */
    uint64_t seed;
    const double *start; /* of the first walk; the others begin anywhere */

    /* Of one point; called by one thread a walk, by several at a time. */
    double (*cost)(void *owner, unsigned walk, const double *point);
    /* True: no more points, though walks are not at their end. */
    bool (*is_over)(void *owner);
    /* On the caller's thread, some times a second; may be NULL. */
    void (*watch)(void *owner);
    void *owner;
};

void search_run(const struct search *search);
