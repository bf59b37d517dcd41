/* Shared statistics against naive ones over the whole history. */
#include "tests/detectors/support.h"

#include <time.h>

enum { HISTORY = 600 };

static void test_opinion_is_bounded(void **state)
{
    struct opinion opinion = opinion_make(5, 3, 0.5);

    assert_near(opinion.residual, 4, 1e-12);
    assert_near(opinion.low, 1.5, 1e-12);
    assert_near(opinion.high, 4.5, 1e-12);
    assert_false(opinion.certain);
    assert_near(opinion_make(1e9, 1, 0).residual, 38, 0);
    assert_near(opinion_make(-1e9, 1, 0).residual, -38, 0);
    assert_near(opinion_make(1, 1, 0).residual, 0, 0);
    /* the floor is a billionth of the middle: a step of two billionths is two scales */
    assert_near(opinion_make(1000.000002, 1000, 0).residual, 2, 1e-6);
    assert_near(opinion_make(3e-12, 0, 0).residual, 3, 1e-9);
    assert_true(isnan(opinion_make(NAN, 1, 1).residual) && isnan(opinion_make(NAN, 1, 1).low));
}

static void test_limit_value(void **state)
{
    assert_near(limit_value(1e300), 1e140, 0);
    assert_near(limit_value(-INFINITY), -1e140, 0);
    assert_near(limit_value(12.5), 12.5, 0);
    assert_true(isnan(limit_value(NAN)));
}

static void test_window_buckets(void **state)
{
    assert_int_equal(window_buckets(60 * MINUTE_US, MINUTE_US, 5), 60);
    assert_int_equal(window_buckets(5 * MINUTE_US, MINUTE_US, 5), 5);
    assert_int_equal(window_buckets(4 * MINUTE_US, MINUTE_US, 5), 0);
    assert_int_equal(window_buckets(4096 * MINUTE_US, MINUTE_US, 5), 4096);
    assert_int_equal(window_buckets(4097 * MINUTE_US, MINUTE_US, 5), 0);
    assert_int_equal(window_buckets(7 * MINUTE_US + MINUTE_US / 2, MINUTE_US, 5), 8);
    assert_int_equal(window_buckets(7 * MINUTE_US + MINUTE_US / 2 - 1, MINUTE_US, 5), 7);
    assert_int_equal(window_buckets(INT64_MAX, 1, 5), 0);
    assert_int_equal(window_buckets(0, MINUTE_US, 5), 1440);
    assert_int_equal(window_buckets(0, 24 * 60 * MINUTE_US, 5), 32);
    assert_int_equal(window_buckets(0, 1000000, 5), 1440);
    assert_int_equal(window_size(0), 0);
}

static void test_window_keeps_the_last(void **state)
{
    enum { BUCKETS = 7 };
    struct window *window = memory_new(window_size(BUCKETS));
    double history[HISTORY], values[WINDOW_BUCKETS_MAX];
    uint64_t seed = 11;

    for (unsigned i = 0; i < HISTORY; i++) {
        double sum = 0, expected = 0;
        unsigned known = 0;

        history[i] = noise(&seed) < -0.5 ? NAN : noise(&seed);
        window_push(window, BUCKETS, history[i]);
        for (unsigned j = i + 1 > BUCKETS ? i + 1 - BUCKETS : 0; j <= i; j++)
            if (!isnan(history[j])) {
                expected += history[j];
                known++;
            }
        assert_int_equal(window_values(window, values), known);
        for (unsigned j = 0; j < known; j++)
            sum += values[j];
        assert_near(sum, expected, 1e-12);
    }
    free(window);
}

static void test_window_push_many_is_pushes(void **state)
{
    enum { BUCKETS = 6 };

    for (unsigned before = 0; before < 15; before++)
        for (unsigned count = 0; count < 20; count++) {
            struct window *many = memory_new(window_size(BUCKETS)),
                          *single = memory_new(window_size(BUCKETS));

            for (unsigned i = 0; i < before; i++) {
                window_push(many, BUCKETS, i);
                window_push(single, BUCKETS, i);
            }
            window_push_many(many, BUCKETS, -1, count);
            for (unsigned i = 0; i < count; i++)
                window_push(single, BUCKETS, -1);
            for (unsigned i = 0; i < 3; i++) {
                window_push(many, BUCKETS, 100 + i);
                window_push(single, BUCKETS, 100 + i);
            }
            assert_memory_equal(many, single, window_size(BUCKETS));
            free(many);
            free(single);
        }
}

/* Mean and unbiased variance by their definition, weights 2^(-age / half-life). */
static void naive_moments(const double *history, unsigned count, double half_life, double *ret_mean,
                          double *ret_sd)
{
    double weight = 0, squares = 0, sum = 0, deviation = 0;

    for (unsigned i = 0; i < count; i++) {
        double w = isnan(history[i]) ? 0 : pow(0.5, (count - 1 - i) / half_life);

        weight += w;
        squares += w * w;
        sum += w > 0 ? w * history[i] : 0;
    }
    for (unsigned i = 0; i < count; i++)
        if (!isnan(history[i]))
            deviation += pow(0.5, (count - 1 - i) / half_life) * pow(history[i] - sum / weight, 2);
    *ret_mean = sum / weight;
    *ret_sd = sqrt(deviation / (weight - squares / weight));
}

static void test_moments_are_the_definition(void **state)
{
    struct decay decay = decay_of(20 * MINUTE_US, MINUTE_US);
    struct moments moments = {0};
    double history[HISTORY], mean, sd;
    uint64_t seed = 5;

    for (unsigned i = 0; i < HISTORY; i++) {
        history[i] = noise(&seed) > 0.8 ? NAN : 100 + 10 * noise(&seed);
        moments_add(&moments, decay, history[i]);
        if (!moments_ready(&moments))
            continue;
        naive_moments(history, i + 1, 20, &mean, &sd);
        assert_close(moments.mean, mean, 1e-10);
        assert_close(moments_scale(&moments), sd, 1e-9);
    }
    assert_true(moments_ready(&moments));
}

static void test_add_many_is_adds(void **state)
{
    static const double half_lives[] = {2, 7.5, 100, 1e6};
    static const unsigned counts[] = {0, 1, 2, 17, 1000};

    for (unsigned h = 0; h < 4; h++)
        for (unsigned c = 0; c < 5; c++) {
            struct decay decay = decay_of((int64_t)(half_lives[h] * (double)MINUTE_US), MINUTE_US);
            struct moments many = {0};
            struct moments single;

            moments_add(&many, decay, 1);
            moments_add(&many, decay, 4);
            moments_add(&many, decay, 2);
            single = many;
            moments_add_many(&many, decay, 3.5, counts[c]);
            for (unsigned i = 0; i < counts[c]; i++)
                moments_add(&single, decay, 3.5);
            assert_close(many.weight, single.weight, 1e-9);
            assert_close(many.weight_squares, single.weight_squares, 1e-9);
            assert_close(many.mean, single.mean, 1e-9);
            assert_near(many.squares, single.squares, 1e-9 * single.squares + 1e-15);
        }
}

static void test_all_is_forgotten_in_the_end(void **state)
{
    struct decay decay = decay_of(20 * MINUTE_US, MINUTE_US);
    struct moments moments = {0};

    for (unsigned i = 0; i < 10; i++)
        moments_add(&moments, decay, i);
    assert_true(moments_ready(&moments));
    moments_pass(&moments, decay, UINT32_MAX);
    assert_false(moments_ready(&moments));
    assert_near(moments.weight, 0, 0);
}

static void test_decay_bounds(void **state)
{
    assert_true(decay_usable(decay_of(2 * MINUTE_US, MINUTE_US)));
    assert_false(decay_usable(decay_of(2 * MINUTE_US - 1, MINUTE_US)));
    assert_near(decay_of(MINUTE_US, MINUTE_US).factor, 0.5, 1e-15);
    assert_near(decay_of(0, MINUTE_US).rate, M_LN2 / 1440, 1e-15);
    assert_near(decay_of(0, 24 * 60 * MINUTE_US).rate, M_LN2 / 32, 1e-15);
}

static void test_one_outlier_counts_three_scales(void **state)
{
    struct decay decay = decay_of(1000 * MINUTE_US, MINUTE_US);
    struct robust_moments robust = {0};
    struct moments expected;
    uint64_t seed = 3;

    for (unsigned i = 0; i < 200; i++)
        robust_add(&robust, decay, noise(&seed));
    expected = robust.moments;
    moments_add(&expected, decay, expected.mean + 3 * moments_scale(&expected));
    robust_add(&robust, decay, 1e6);
    assert_close(robust.moments.mean, expected.mean, 1e-12);
    assert_close(robust.moments.squares, expected.squares, 1e-12);
    assert_int_equal(robust.outliers, 1);
    /* the second in a row counts up to six */
    expected = robust.moments;
    moments_add(&expected, decay, expected.mean - 6 * moments_scale(&expected));
    robust_add(&robust, decay, -1e6);
    assert_close(robust.moments.mean, expected.mean, 1e-12);
    robust_add(&robust, decay, robust.moments.mean);
    assert_int_equal(robust.outliers, 0);
}

static void test_lasting_shift_is_learned(void **state)
{
    static const double starts[] = {0, 1, 1e6};

    for (unsigned s = 0; s < 3; s++) {
        struct decay decay = decay_of(60 * MINUTE_US, MINUTE_US);
        struct robust_moments robust = {0};
        unsigned steps = 0;

        for (unsigned i = 0; i < 500; i++)
            robust_add(&robust, decay, starts[s]); /* a scale of 0 */
        do {
            robust_add(&robust, decay, starts[s] + 10 + steps % 2);
            steps++;
        } while (robust.outliers > 0);
        assert_in_range(steps, 2, 60);
    }
}

static void test_robust_add_many_is_adds(void **state)
{
    static const double values[] = {0.2, -40, 1e9, 0};
    static const unsigned counts[] = {1, 5, 60, 3000};

    for (unsigned v = 0; v < 4; v++)
        for (unsigned c = 0; c < 4; c++)
            for (unsigned before = 0; before < 60; before += 10) {
                struct decay decay = decay_of(50 * MINUTE_US, MINUTE_US);
                struct robust_moments many = {0}, single;
                uint64_t seed = 17;

                for (unsigned i = 0; i < before; i++)
                    robust_add(&many, decay, noise(&seed));
                single = many;
                robust_add_many(&many, decay, values[v], counts[c]);
                for (unsigned i = 0; i < counts[c]; i++)
                    robust_add(&single, decay, values[v]);
                assert_int_equal(many.outliers, single.outliers);
                assert_close(many.moments.weight, single.moments.weight, 1e-9);
                assert_near(many.moments.mean, single.moments.mean, 1e-9 * fabs(single.moments.mean) + 1e-15);
                assert_near(many.moments.squares, single.moments.squares,
                            1e-9 * single.moments.squares + 1e-12 * pow(values[v], 2));
            }
}

static void test_longest_gap_is_quick(void **state)
{
    struct decay decay = decay_of(366LL * 24 * 60 * MINUTE_US, 1000);
    struct robust_moments robust = {0};
    clock_t begin = clock();
    uint64_t seed = 1;

    for (unsigned i = 0; i < 1000; i++)
        robust_add(&robust, decay, 1e100 + 1e90 * noise(&seed));
    robust_add_many(&robust, decay, 0, UINT32_MAX);
    assert_true(clock() - begin < CLOCKS_PER_SEC / 10);
    assert_true(isfinite(robust.moments.mean) && isfinite(robust.moments.squares));
}

/* Deviations 1 1 -1 1 1 from a mean of 0: pairs 1 -1 -1 1 fade to nearly their sum 0; then all 2, of which
 * each keeps nearly all of the one before. */
static void test_persistence(void **state)
{
    static const double deviations[] = {1, 1, -1, 1, 1};
    struct decay decay = decay_of(1000 * MINUTE_US, MINUTE_US);
    struct persistence persistence = {0};
    struct moments moments = {.squares = 5};
    double f = pow(0.5, 1 / 1000.0);

    for (unsigned i = 0; i < 5; i++)
        persistence_add(&persistence, decay, deviations[i]);
    assert_near(persistence.products, f * f * f - f * f - f + 1, 1e-15);
    assert_near(persistence_factor(&persistence, &moments), 1, 1e-5);
    persistence.products = 2.5;
    assert_near(persistence_share(&persistence, &moments), 0.5, 0);
    assert_near(persistence_factor(&persistence, &moments), 3, 0);
    persistence.products = 5;
    assert_near(persistence_factor(&persistence, &moments), 199, 1e-9);
    persistence_pass(&persistence, decay, 1000);
    assert_near(persistence.products, 2.5, 1e-12);
    assert_near(persistence.last, 0, 0);
    assert_near(persistence_factor(&persistence, &(struct moments){0}), 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opinion_is_bounded),
        cmocka_unit_test(test_limit_value),
        cmocka_unit_test(test_window_buckets),
        cmocka_unit_test(test_window_keeps_the_last),
        cmocka_unit_test(test_window_push_many_is_pushes),
        cmocka_unit_test(test_moments_are_the_definition),
        cmocka_unit_test(test_add_many_is_adds),
        cmocka_unit_test(test_all_is_forgotten_in_the_end),
        cmocka_unit_test(test_decay_bounds),
        cmocka_unit_test(test_one_outlier_counts_three_scales),
        cmocka_unit_test(test_lasting_shift_is_learned),
        cmocka_unit_test(test_robust_add_many_is_adds),
        cmocka_unit_test(test_longest_gap_is_quick),
        cmocka_unit_test(test_persistence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
