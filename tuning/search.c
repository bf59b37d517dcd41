/* A cost is a trial of some milliseconds to seconds, so the steps themselves do not matter. F1 over a few
 * incidents is a staircase: the simplex alone stays on its first step, hence the annealing before it. */
#include "tuning/search.h"

#include "base/memory.h"

#include <assert.h>
#include <gsl/gsl_multimin.h>
#include <gsl/gsl_siman.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMPERATURE_FIRST 0.2
#define TEMPERATURE_LAST  0.005
#define JUMP              0.3  /* of an annealing step, at most, in each direction */
#define SIMPLEX_SIZE      0.1  /* of the first simplex */
#define SIMPLEX_END       1e-3 /* it has come together */
#define COST_WORST        1e6  /* finite: the simplex reckons with it */
#define ANNEALING_SHARE   0.6

enum { STEPS_A_TEMPERATURE = 4, WATCH_US = 200 * 1000 };

struct walk {
    const struct search *search;
    unsigned number, taken, limit; /* steps; up to where in this phase */
    double best_cost, best[SEARCH_DIMENSIONS_MAX];
};

struct place { /* what the annealing copies */
    struct walk *walk;
    double point[SEARCH_DIMENSIONS_MAX];
};

struct crew {
    const struct search *search;
    atomic_uint next_walk, left;
};

/* Mirrors at the walls, so that points at a bound are as likely as others. */
static double inside(double x)
{
    x = fabs(fmod(x, 2));
    return x > 1 ? 2 - x : x;
}

static double try_point(struct walk *walk, const double *point)
{
    const struct search *search = walk->search;
    double inner[SEARCH_DIMENSIONS_MAX], cost;

    if (walk->taken >= walk->limit || search->is_over(search->owner))
        return COST_WORST;
    for (unsigned i = 0; i < search->dimensions; i++)
        inner[i] = inside(point[i]);
    walk->taken++;
    cost = fmin(search->cost(search->owner, walk->number, inner), COST_WORST);
    if (cost < walk->best_cost) {
        walk->best_cost = cost;
        memcpy(walk->best, inner, sizeof inner);
    }
    return cost;
}

static double place_cost(void *element)
{
    struct place *place = element;

    return try_point(place->walk, place->point);
}

/* One direction or all of them. */
static void place_step(const gsl_rng *random, void *element, double size)
{
    struct place *place = element;
    unsigned dimensions = place->walk->search->dimensions;
    unsigned only = (unsigned)gsl_rng_uniform_int(random, 2 * dimensions);

    for (unsigned i = 0; i < dimensions; i++)
        if (only >= dimensions || only == i)
            place->point[i] = inside(place->point[i] + size * (2 * gsl_rng_uniform(random) - 1));
}

static double place_distance(void *left, void *right)
{
    const struct place *a = left, *b = right;
    double sum = 0;

    for (unsigned i = 0; i < a->walk->search->dimensions; i++)
        sum += fabs(a->point[i] - b->point[i]);
    return sum;
}

static void anneal(struct walk *walk, gsl_rng *random)
{
    const struct search *search = walk->search;
    struct place place = {.walk = walk};
    unsigned temperatures = walk->limit / STEPS_A_TEMPERATURE + 1;

    for (unsigned i = 0; i < search->dimensions; i++)
        place.point[i] = walk->number == 0 ? search->start[i] : gsl_rng_uniform(random);
    gsl_siman_solve(
        random, &place, place_cost, place_step, place_distance, NULL, NULL, NULL, NULL, sizeof place,
        (gsl_siman_params_t){.n_tries = 1,
                             .iters_fixed_T = STEPS_A_TEMPERATURE,
                             .step_size = JUMP,
                             .k = 1,
                             .t_initial = TEMPERATURE_FIRST,
                             .mu_t = pow(TEMPERATURE_FIRST / TEMPERATURE_LAST, 1.0 / temperatures),
                             .t_min = TEMPERATURE_LAST});
}

static double vector_cost(const gsl_vector *vector, void *owner)
{
    double point[SEARCH_DIMENSIONS_MAX] = {0};

    for (size_t i = 0; i < vector->size; i++)
        point[i] = gsl_vector_get(vector, i);
    return try_point(owner, point);
}

static void descend(struct walk *walk)
{
    unsigned dimensions = walk->search->dimensions;
    gsl_vector *start = gsl_vector_alloc(dimensions), *sizes = gsl_vector_alloc(dimensions);
    gsl_multimin_fminimizer *simplex =
        gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, dimensions);
    gsl_multimin_function function = {.f = vector_cost, .n = dimensions, .params = walk};

    for (unsigned i = 0; i < dimensions; i++)
        gsl_vector_set(start, i, walk->best[i]);
    gsl_vector_set_all(sizes, SIMPLEX_SIZE);
    if (gsl_multimin_fminimizer_set(simplex, &function, start, sizes) == GSL_SUCCESS)
        while (walk->taken < walk->limit && !walk->search->is_over(walk->search->owner) &&
               gsl_multimin_fminimizer_iterate(simplex) == GSL_SUCCESS &&
               gsl_multimin_fminimizer_size(simplex) > SIMPLEX_END)
            continue;
    gsl_multimin_fminimizer_free(simplex);
    gsl_vector_free(start);
    gsl_vector_free(sizes);
}

static void take_walk(const struct search *search, unsigned number)
{
    struct walk walk = {.search = search, .number = number, .best_cost = INFINITY};
    gsl_rng *random = gsl_rng_alloc(gsl_rng_mt19937);

    gsl_rng_set(random, (unsigned long)(search->seed * SEARCH_WALKS_MAX + number));
    walk.limit = (unsigned)(ANNEALING_SHARE * search->steps);
    anneal(&walk, random);
    walk.limit = search->steps;
    if (isfinite(walk.best_cost))
        descend(&walk);
    gsl_rng_free(random);
}

static void *work(void *owner)
{
    struct crew *crew = owner;

    for (unsigned number; (number = atomic_fetch_add(&crew->next_walk, 1)) < crew->search->walks;)
        if (!crew->search->is_over(crew->search->owner))
            take_walk(crew->search, number);
    atomic_fetch_sub(&crew->left, 1);
    return NULL;
}

void search_run(const struct search *search)
{
    struct crew crew = {.search = search, .left = search->threads};
    pthread_t threads[SEARCH_THREADS_MAX];

    assert(search->dimensions > 0 && search->dimensions <= SEARCH_DIMENSIONS_MAX);
    assert(search->threads > 0 && search->threads <= SEARCH_THREADS_MAX);
    assert(search->walks <= SEARCH_WALKS_MAX);
    for (unsigned i = 0; i < search->threads; i++)
        if (pthread_create(&threads[i], NULL, work, &crew) != 0)
            abort(); /* as memory that is not there */
    while (atomic_load(&crew.left) > 0) {
        usleep(WATCH_US);
        if (search->watch)
            search->watch(search->owner);
    }
    for (unsigned i = 0; i < search->threads; i++)
        pthread_join(threads[i], NULL);
}
