/* The kernel against a naive search that keeps everything, in doubles and without a ring. */
#include "detectors/shape.h"
#include "tests/detectors/support.h"

#include <string.h>
#include <time.h>

enum { PERIOD = 64, STEP = 4, WINDOW = 8, LONG = 5200 * STEP, PAST = 4096 };

/* A pulse that comes again, with noise and a slow drift. */
static double pulse(unsigned i, uint64_t *seed)
{
    double phase = (double)(i % PERIOD) / PERIOD;

    return 100 + 10 * exp(-80 * (phase - 0.3) * (phase - 0.3)) -
           4 * exp(-300 * (phase - 0.5) * (phase - 0.5)) + 0.3 * noise(seed) + i * 1e-4;
}

static struct shape *shape_new(void)
{
    return memory_new(sizeof(struct shape));
}

struct naive {
    double means[LONG / STEP], size;
    unsigned count;
    struct robust_moments novelty;
};

static double centre_of(const double *window, double *ret_spread)
{
    double mean = 0, spread = 0;

    for (unsigned j = 0; j < WINDOW; j++)
        mean += window[j] / WINDOW;
    for (unsigned j = 0; j < WINDOW; j++)
        spread += (window[j] - mean) * (window[j] - mean);
    *ret_spread = spread;
    return mean;
}

static double naive_novelty(const struct naive *naive)
{
    unsigned last = naive->count - WINDOW, from = naive->count > PAST ? naive->count - PAST : 0;
    double own_spread, own = centre_of(naive->means + last, &own_spread), form = INFINITY, plain = INFINITY;
    double floor = 1e-3 * naive->size;

    for (unsigned at = from; at + WINDOW <= last; at++) {
        double spread, centre = centre_of(naive->means + at, &spread), form_here = 0, plain_here = 0;

        for (unsigned j = 0; j < WINDOW; j++) {
            double left = naive->means[last + j], right = naive->means[at + j];

            form_here +=
                pow((left - own) / sqrt(own_spread + floor) - (right - centre) / sqrt(spread + floor), 2);
            plain_here += (left - right) * (left - right);
        }
        form = fmin(form, form_here);
        plain = fmin(plain, plain_here / naive->size);
    }
    return (log(form + 1e-4) + log(plain + 1e-4)) / 4;
}

static double naive_figure(struct naive *naive)
{
    struct moments *moments = &naive->novelty.moments;
    double spread, novelty, figure;

    (void)centre_of(naive->means + naive->count - WINDOW, &spread);
    naive->size += (spread - naive->size) / (naive->size > 0 ? moments->weight + 1 : 1);
    novelty = naive_novelty(naive);
    figure = moments_ready(moments) ? (novelty - moments->mean) / fmax(moments_scale(moments), 0.1) : NAN;
    robust_add(&naive->novelty, decay_of(1000, 1), novelty);
    return figure;
}

static void test_equals_naive_search(void **state)
{
    struct shape *shape = shape_new();
    struct naive *naive = memory_new(sizeof *naive);
    uint64_t seed = 5;
    double sum = 0, high = 0;

    for (unsigned i = 0; i < LONG; i++) {
        double value = pulse(i, &seed), figure = shape_push(shape, value), expected = NAN;

        sum += value;
        if (i % STEP < STEP - 1)
            continue;
        naive->means[naive->count++] = sum / STEP;
        sum = 0;
        if (i >= 511)
            expected = naive_figure(naive);
        assert_int_equal(isnan(figure), isnan(expected));
        if (!isnan(expected))
            assert_near(figure, expected, 0.02);
        high = isnan(figure) ? high : fmax(high, fabs(figure));
    }
    assert_true(high > 2);
    assert_int_equal(shape->rhythm, PERIOD);
    assert_int_equal(shape->step, STEP);
    assert_int_equal(shape->window, WINDOW);
    free(naive);
    free(shape);
}

/* One pulse comes upside down: no value is out of range, only their order is new. */
static void test_finds_a_strange_form(void **state)
{
    struct shape *shape = shape_new();
    uint64_t seed = 8;
    double best = 0;
    unsigned at = 0;

    for (unsigned i = 0; i < 10000; i++) {
        double value = pulse(i / PERIOD == 90 ? 90 * PERIOD + PERIOD - 1 - i % PERIOD : i, &seed);
        double figure = shape_push(shape, value);

        if (figure > best) {
            best = figure;
            at = i;
        }
    }
    assert_in_range(at, 90 * PERIOD, 91 * PERIOD + PERIOD / 2);
    assert_true(best > 5);
    free(shape);
}

/* The same in another unit. */
static void test_unit_does_not_matter(void **state)
{
    struct shape *plain = shape_new(), *scaled = shape_new();
    uint64_t seed = 21;

    for (unsigned i = 0; i < 4000; i++) {
        double value = pulse(i, &seed), left = shape_push(plain, value),
               right = shape_push(scaled, value * 0x1p30);

        assert_close(left, right, 0);
    }
    free(plain);
    free(scaled);
}

static uint32_t rhythm_of(double period, double loudness)
{
    struct shape *shape = shape_new();
    uint64_t seed = 3;
    uint32_t rhythm;

    for (unsigned i = 0; i < 1100; i++)
        shape_push(shape, sin(2 * M_PI * i / period) + loudness * noise(&seed));
    rhythm = shape->rhythm;
    assert_true(shape->step >= 2 && shape->window >= 8 && shape->window < SHAPE_WINDOW_MAX);
    free(shape);
    return rhythm;
}

static void test_rhythm(void **state)
{
    assert_in_range(rhythm_of(64, 0.5), 63, 65);
    assert_in_range(rhythm_of(10, 0.5), 40, 40);    /* the least multiple that is long enough */
    assert_in_range(rhythm_of(300, 0.2), 295, 305); /* not seen three times in the first look */
    assert_int_equal(rhythm_of(64, 100), 0);
    assert_int_equal(rhythm_of(1000, 0), 0); /* too long */
}

static void assert_alike(struct shape *left, struct shape *right, uint64_t *seed)
{
    assert_memory_equal(left, right, sizeof *left);
    for (unsigned i = 0; i < 200; i++) {
        double value = pulse(i, seed);

        assert_close(shape_push(left, value), shape_push(right, value), 0);
    }
}

static void test_many_are_as_many(void **state)
{
    static const uint64_t counts[] = {0, 1, 3, 511, 1100, 3 * PAST * 4 + 3, 5 * PAST * 4 + 7};
    static const double values[] = {0, 100, NAN};

    for (unsigned before = 0; before <= 2000; before += 1000)
        for (unsigned c = 0; c < sizeof counts / sizeof *counts; c++)
            for (unsigned v = 0; v < 3; v++) {
                struct shape *left = shape_new(), *right = shape_new();
                uint64_t seed = 77, other = 77;

                for (unsigned i = 0; i < before; i++) {
                    shape_push(left, pulse(i, &seed));
                    shape_push(right, pulse(i, &other));
                }
                shape_push_many(left, values[v], counts[c]);
                for (uint64_t i = 0; i < counts[c]; i++)
                    shape_push(right, values[v]);
                assert_alike(left, right, &seed);
                free(left);
                free(right);
            }
}

static void test_a_long_silence_is_quick(void **state)
{
    struct shape *shape = shape_new();
    uint64_t seed = 4;
    clock_t begin = clock();

    for (unsigned i = 0; i < 2000; i++)
        shape_push(shape, pulse(i, &seed));
    for (unsigned i = 0; i < 10; i++)
        shape_push_many(shape, i % 2 ? NAN : 0, UINT64_MAX);
    assert_true(clock() - begin < CLOCKS_PER_SEC / 2);
    free(shape);
}

/* What is unknown gives no opinion, and matches nothing later. */
static void test_unknown_values(void **state)
{
    struct shape *shape = shape_new();
    uint64_t seed = 4;

    for (unsigned i = 0; i < 3000; i++) {
        bool hole = i >= 2000 && i < 2000 + 3 * PERIOD;
        double figure = shape_push(shape, hole ? NAN : pulse(i, &seed));

        if (hole || (i > 2000 && i < 2000 + 3 * PERIOD + WINDOW * STEP - 1))
            assert_true(isnan(figure));
        else if (i > 1000)
            assert_true(!isnan(figure));
    }
    free(shape);
}

/* What never moves is never new; its first move is, and figures stay within bounds whatever comes. */
static void test_constant_and_nasty(void **state)
{
    static const double nasty[] = {1e140, -1e140, 0, 1e-300, 1, 1e16, -1e30};
    struct shape *shape = shape_new();
    uint64_t seed = 9;
    double figure = NAN;

    for (unsigned i = 0; i < 3000; i++)
        figure = shape_push(shape, 5);
    assert_true(isnan(figure) || figure == 0);
    for (unsigned i = 0; i < 20000; i++) {
        figure = shape_push(shape, nasty[(unsigned)((noise(&seed) + 1) / 2 * 7)]);
        assert_true(isnan(figure) || fabs(figure) < 200);
    }
    free(shape);
}

static bool wants(struct subject subject, const void *state)
{
    return subject.type->wants_hot(subject.settings, state);
}

/* Who gets a block: a series that comes regularly and moves; not for long when there is no rhythm. */
static void test_asks_where_it_pays(void **state)
{
    struct subject subject = subject_new("shape");
    char *regular = subject_state(subject, MINUTE_US), *sparse = subject_state(subject, MINUTE_US),
         *still = subject_state(subject, MINUTE_US), *random = subject_state(subject, MINUTE_US);
    uint64_t seed = 6;

    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(wants(subject, regular), i >= 64);
        assert_int_equal(wants(subject, random), i >= 64 && i < 1024);
        subject_step(subject, regular, MINUTE_US, NAN, 0, pulse(i, &seed));
        subject_step(subject, sparse, MINUTE_US, NAN, 1, pulse(i, &seed));
        subject_step(subject, still, MINUTE_US, NAN, 0, 5);
        subject_step(subject, random, MINUTE_US, NAN, 0, noise(&seed));
        assert_true(!wants(subject, sparse) && !wants(subject, still));
    }
    subject_step(subject, regular, MINUTE_US, NAN, 600, 1);
    assert_true(!wants(subject, regular));
    free(regular);
    free(sparse);
    free(still);
    free(random);
    subject_free(subject);
}

/* Through the detector: the figure, its lower side cut off; nothing without a block. */
static void test_detector_tells_the_figure(void **state)
{
    struct subject subject = subject_new("shape");
    struct shape *shape = shape_new();
    char *series = subject_state(subject, MINUTE_US);
    uint64_t seed = 6, told = 0;

    for (unsigned i = 0; i < 3000; i++) {
        uint32_t gap = i % 500 == 499 ? 2 : 0, slot = 0;
        double value = pulse(i, &seed), figure;
        struct bucket_batch alone = {
            .rows = 1, .value = &value, .gap = &gap, .slot = &slot, .bucket_us = MINUTE_US};
        struct opinion opinion = subject_step(subject, series, MINUTE_US, NAN, gap, value);

        shape_push_many(shape, NAN, gap);
        figure = shape_push(shape, value);
        assert_close(opinion.residual, isnan(figure) ? NAN : fmax(figure, 0), 0);
        assert_true(isnan(opinion.low) && isnan(opinion.high));
        told += opinion.residual > 0;
        subject.type->score(subject.settings, series, &alone, NAN, &opinion);
        assert_true(isnan(opinion.residual));
    }
    assert_true(told > 500);
    free(series);
    free(shape);
    subject_free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_naive_search),  cmocka_unit_test(test_finds_a_strange_form),
        cmocka_unit_test(test_unit_does_not_matter), cmocka_unit_test(test_rhythm),
        cmocka_unit_test(test_many_are_as_many),     cmocka_unit_test(test_a_long_silence_is_quick),
        cmocka_unit_test(test_asks_where_it_pays),   cmocka_unit_test(test_detector_tells_the_figure),
        cmocka_unit_test(test_unknown_values),       cmocka_unit_test(test_constant_and_nasty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
