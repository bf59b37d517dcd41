/* Known valleys are found, and a walk depends on seed and number alone. */
#include "tests/tuning/support.h"

#include <stdatomic.h>

enum { WALKS = 6, STEPS = 120 };

struct log {
    double points[WALKS][STEPS][3];
    unsigned taken[WALKS];
    double best, best_point[3];
    atomic_uint calls, limit;
    bool narrow;
};

/* 0 at (.2, .7, .5); `narrow`: a staircase, flat nearly everywhere, as F1 over a few incidents is. */
static double valley(void *owner, unsigned walk, const double *point)
{
    static const double bottom[] = {0.2, 0.7, 0.5};
    struct log *log = owner;
    double sum = 0;

    for (int i = 0; i < 3; i++) {
        assert_true(point[i] >= 0 && point[i] <= 1);
        sum += (point[i] - bottom[i]) * (point[i] - bottom[i]);
    }
    memcpy(log->points[walk][log->taken[walk]++], point, sizeof log->points[0][0]);
    atomic_fetch_add(&log->calls, 1);
    return log->narrow ? floor(sum * 8) / 8 : sum;
}

static bool is_over(void *owner)
{
    struct log *log = owner;

    return atomic_load(&log->calls) >= atomic_load(&log->limit);
}

static struct log *run(unsigned threads, uint64_t seed, unsigned limit, bool narrow)
{
    static const double start[] = {0.9, 0.1, 0.9};
    struct log *log = memory_new(sizeof *log);
    struct search search = {.dimensions = 3,
                            .walks = WALKS,
                            .steps = STEPS,
                            .threads = threads,
                            .seed = seed,
                            .start = start,
                            .cost = valley,
                            .is_over = is_over,
                            .owner = log};

    log->narrow = narrow;
    atomic_store(&log->limit, limit);
    search_run(&search);
    log->best = INFINITY;
    for (unsigned w = 0; w < WALKS; w++)
        for (unsigned i = 0; i < log->taken[w]; i++) {
            double sum = 0, *point = log->points[w][i];

            sum = pow(point[0] - 0.2, 2) + pow(point[1] - 0.7, 2) + pow(point[2] - 0.5, 2);
            log->best = fmin(log->best, sum);
        }
    return log;
}

static void finds_the_bottom(void **state)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct log *log = run(1, seed, UINT32_MAX, false);

        if (log->best > 1e-4)
            fail_msg("seed %d: %g", (int)seed, log->best);
        for (unsigned w = 0; w < WALKS; w++)
            assert_in_range(log->taken[w], 1, STEPS);
        assert_near(log->points[0][0][0], 0.9, 0); /* the first walk begins where it was told */
        free(log);
        log = run(1, seed, UINT32_MAX, true);
        assert_true(log->best < 0.125);
        free(log);
    }
}

static void depends_on_the_seed_alone(void **state)
{
    struct log *one = run(1, 7, UINT32_MAX, false), *many = run(5, 7, UINT32_MAX, false),
               *other = run(1, 8, UINT32_MAX, false);

    assert_memory_equal(one->points, many->points, sizeof one->points);
    assert_memory_equal(one->taken, many->taken, sizeof one->taken);
    assert_true(memcmp(one->points, other->points, sizeof one->points) != 0);
    free(one);
    free(many);
    free(other);
}

static void ends_when_told(void **state)
{
    struct log *log = run(1, 7, 50, false);

    assert_int_equal(atomic_load(&log->calls), 50);
    free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_bottom),
        cmocka_unit_test(depends_on_the_seed_alone),
        cmocka_unit_test(ends_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
