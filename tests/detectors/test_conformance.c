/* What every detector promises, run over the list: a new detector is held to it without a new test. Settings
 * are the defaults, but for the types that have none that work, below. */
#include "tests/detectors/support.h"

#include <float.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Ten minutes a bucket keep the default day at 144 buckets. */
#define BUCKET_US (10 * MINUTE_US)

enum { SERIES = 1024, STEPS = 40, HISTORY = 400 };

static const struct {
    const char *type, *key, *value;
} needed_settings[] = {
    {"threshold", "above", "1"},
    {"threshold", "below", "-1"},
    {"forecast", "above", "1"},
    {"forecast", "below", "-1"},
};

static struct subject subject_of(const struct detector_type *type)
{
    struct subject subject = subject_new(type->name);

    for (unsigned i = 0; i < sizeof needed_settings / sizeof *needed_settings; i++)
        if (strcmp(needed_settings[i].type, type->name) == 0)
            subject_set(subject, needed_settings[i].key, needed_settings[i].value);
    return subject;
}

static void *state_of(struct subject subject)
{
    return subject_state(subject, BUCKET_US);
}

static void assert_sound(const struct opinion *opinion)
{
    if (isnan(opinion->residual)) {
        assert_true(isnan(opinion->low) && isnan(opinion->high));
        return;
    }
    assert_true(fabs(opinion->residual) <= 38);
    if (isnan(opinion->low) && isnan(opinion->high))
        return; /* no band: what is expected is no range of values */
    assert_true(isfinite(opinion->low) && isfinite(opinion->high));
    assert_true(opinion->low <= opinion->high);
}

static void assert_opinions_close(const struct opinion *left, const struct opinion *right)
{
    double size = fmax(fabs(right->low), fabs(right->high));

    assert_int_equal(isnan(left->residual), isnan(right->residual));
    if (isnan(right->residual))
        return;
    assert_near(left->residual, right->residual, 1e-9 * fmax(1, fabs(right->residual)));
    assert_int_equal(isnan(left->low), isnan(right->low));
    if (isnan(right->low))
        return;
    assert_near(left->low, right->low, 1e-9 * size);
    assert_near(left->high, right->high, 1e-9 * size);
}

/* What borrows memory may fill some of it first. */
static void check_warm_up(struct subject subject)
{
    unsigned enough = detector_hot_size(subject.type, subject.settings, BUCKET_US) ? 1100 : 40;
    void *state = state_of(subject);
    uint64_t seed = 1;
    struct opinion opinion = opinion_none();

    for (unsigned i = 0; i < enough; i++) {
        opinion = subject_step(subject, state, BUCKET_US, NAN, 0, noise(&seed));
        assert_sound(&opinion);
        if (i < VALUES_MIN)
            assert_true(opinion.certain || isnan(opinion.residual));
    }
    assert_true(fabs(opinion.residual) <= 38);
    free(state);
}

/* A block is lent to every LENT-th series. */
static void score_in_batches(struct subject subject, char *states, uint32_t batch_rows,
                             struct opinion *ret_opinions)
{
    enum { LENT = 32 };
    static double value[SERIES];
    static uint32_t gap[SERIES], slot[SERIES];
    static void *hot[SERIES];
    size_t hot_size = detector_hot_size(subject.type, subject.settings, BUCKET_US);
    char *blocks = memory_new(hot_size * SERIES / LENT);
    uint64_t seed = 99;

    for (unsigned step = 0; step < STEPS; step++) {
        for (unsigned i = 0; i < SERIES; i++) {
            slot[i] = (i * 5 + step) % SERIES;
            hot[i] = hot_size && slot[i] % LENT == 0 ? blocks + slot[i] / LENT * hot_size : NULL;
            gap[i] = noise(&seed) > 0.8 ? 3 : 0;
            value[i] = noise(&seed) > 0.95 ? NAN : noise(&seed) * (i + 1);
        }
        for (uint32_t from = 0; from < SERIES; from += batch_rows) {
            uint32_t rows = SERIES - from < batch_rows ? SERIES - from : batch_rows;
            struct bucket_batch batch = {.rows = rows,
                                         .value = value + from,
                                         .gap = gap + from,
                                         .slot = slot + from,
                                         .bucket_us = BUCKET_US,
                                         .hot = hot + from};

            subject.type->score(subject.settings, states, &batch, 0, ret_opinions + step * SERIES + from);
        }
    }
    free(blocks);
}

static void check_batch_sizes(struct subject subject)
{
    static const uint32_t sizes[] = {1, 7, 1024};
    size_t bytes = subject.type->state_size(subject.settings, BUCKET_US) * SERIES;
    size_t opinion_bytes = sizeof(struct opinion) * SERIES * STEPS;
    struct opinion *expected = memory_new(opinion_bytes), *opinions = memory_new(opinion_bytes);
    char *expected_states = memory_new(bytes), *states;

    score_in_batches(subject, expected_states, sizes[0], expected);
    for (unsigned i = 1; i < 3; i++) {
        states = memory_new(bytes);
        score_in_batches(subject, states, sizes[i], opinions);
        assert_memory_equal(states, expected_states, bytes);
        for (unsigned j = 0; j < SERIES * STEPS; j++) {
            assert_memory_equal(&opinions[j].residual, &expected[j].residual, sizeof(double));
            assert_memory_equal(&opinions[j].low, &expected[j].low, sizeof(double));
            assert_memory_equal(&opinions[j].high, &expected[j].high, sizeof(double));
        }
        free(states);
    }
    free(expected_states);
    free(expected);
    free(opinions);
}

static void check_bounds(struct subject subject)
{
    static const double nasty[] = {
        0.0,    -0.0,  1e300,  -1e300, DBL_MAX,  -DBL_MAX,  DBL_MIN, DBL_TRUE_MIN, 1, 1, 1, -DBL_TRUE_MIN,
        1e-300, 1e150, -1e150, 1e140,  INFINITY, -INFINITY, 1e16,    1e16 + 2,     0, 0, 0, 0};
    enum { NASTY = sizeof nasty / sizeof *nasty };
    uint64_t seed = 7;

    for (unsigned shape = 0; shape < NASTY + 2; shape++) {
        void *state = state_of(subject);

        for (unsigned i = 0; i < HISTORY; i++) {
            unsigned pick = (unsigned)((noise(&seed) + 1) / 2 * NASTY);
            double constant = nasty[shape % NASTY],
                   value = shape >= NASTY || i == 300 ? nasty[pick] : constant;
            struct opinion opinion =
                subject_step(subject, state, BUCKET_US, shape % 2 ? NAN : 0, pick % 9 == 0, value);

            assert_sound(&opinion);
        }
        free(state);
    }
}

static void check_constant_series(struct subject subject)
{
    static const double constants[] = {0, 0.1, -0.3, 1};

    for (unsigned c = 0; c < 4; c++) {
        void *state = state_of(subject);

        for (unsigned i = 0; i < HISTORY; i++) {
            struct opinion opinion = subject_step(subject, state, BUCKET_US, NAN, 0, constants[c]);

            assert_true(isnan(opinion.residual) || fabs(opinion.residual) < 1e-3);
        }
        free(state);
    }
}

static void check_state_moves(struct subject subject)
{
    size_t size = subject_state_size(subject, BUCKET_US);
    char *state = memory_new(size), *moved = memory_new(size + 8);
    uint64_t seed = 13;

    for (unsigned i = 0; i < HISTORY; i++) {
        uint32_t gap = noise(&seed) > 0.9 ? 5 : 0;
        double value = noise(&seed);
        struct opinion stays, moves;

        if (i % 37 == 0) {
            char *elsewhere = memory_new(size);

            memcpy(elsewhere, state, size);
            free(moved);
            moved = elsewhere;
        }
        stays = subject_step(subject, state, BUCKET_US, 0, gap, value);
        moves = subject_step(subject, moved, BUCKET_US, 0, gap, value);
        assert_memory_equal(&stays.residual, &moves.residual, sizeof(double));
        assert_memory_equal(&stays.low, &moves.low, sizeof(double));
        assert_memory_equal(state, moved, size);
    }
    free(state);
    free(moved);
}

static void check_gap_is_empty_buckets(struct subject subject, double empty, unsigned before)
{
    static const uint32_t gaps[] = {1, 2, 3, 7, 50, 143, 144, 145, 200, 3000};

    for (unsigned g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        char *jumps = state_of(subject), *walks = state_of(subject);
        uint64_t seed = 41 + before;

        for (unsigned i = 0; i < before; i++) {
            double value = 2 + noise(&seed);

            subject_step(subject, jumps, BUCKET_US, empty, 0, value);
            subject_step(subject, walks, BUCKET_US, empty, 0, value);
        }
        for (uint32_t i = 0; i < gaps[g]; i++)
            subject_step(subject, walks, BUCKET_US, empty, 0, empty);
        for (unsigned i = 0; i < 30; i++) {
            double value = 2 + noise(&seed);
            struct opinion left = subject_step(subject, jumps, BUCKET_US, empty, i == 0 ? gaps[g] : 0, value);
            struct opinion right = subject_step(subject, walks, BUCKET_US, empty, 0, value);

            assert_opinions_close(&left, &right);
        }
        free(jumps);
        free(walks);
    }
}

static void check_long_gap_is_quick(struct subject subject)
{
    void *state = state_of(subject);
    uint64_t seed = 2;
    clock_t begin = clock();

    for (unsigned i = 0; i < 200; i++)
        subject_step(subject, state, BUCKET_US, 0, 0, noise(&seed));
    for (unsigned i = 0; i < 20; i++) {
        struct opinion opinion =
            subject_step(subject, state, BUCKET_US, i % 2 ? 0 : NAN, 4000000000u, 1000 * noise(&seed));

        assert_sound(&opinion);
    }
    assert_true(clock() - begin < CLOCKS_PER_SEC / 2);
    free(state);
}

/* A row of NaN takes nothing in: only time passes, as by one empty bucket more. */
static void check_missing_values(struct subject subject)
{
    char *rows = state_of(subject), *gaps = state_of(subject);
    uint64_t seed = 23;

    for (unsigned i = 0; i < HISTORY; i++) {
        uint32_t gap = i % 11 == 0 ? 2 : 0;
        bool missing = i % 7 == 3;
        double value = noise(&seed);
        struct opinion left, right;

        if (missing) {
            left = subject_step(subject, rows, BUCKET_US, NAN, gap, NAN);
            assert_true(isnan(left.residual));
        }
        left = subject_step(subject, rows, BUCKET_US, NAN, missing ? 0 : gap, value);
        right = subject_step(subject, gaps, BUCKET_US, NAN, gap + missing, value);
        assert_opinions_close(&left, &right);
    }
    free(rows);
    free(gaps);
}

static void assert_refused(struct subject subject, const struct option *row, double number)
{
    struct error error;
    char text[64];

    (void)snprintf(text, sizeof text, row->type == OPTION_DURATION ? "%.9gs" : "%.9g", number);
    assert_int_equal(option_assign(subject.type->options, subject.type->option_count, subject.settings,
                                   row->name, text, &error),
                     STATUS_FATAL);
    assert_non_null(strstr(error.text, row->name));
}

static void check_settings(struct subject subject)
{
    static const int64_t buckets_us[] = {
        1, 1000, 1000000, BUCKET_US, 24 * 60 * MINUTE_US, 366 * 24 * 60 * MINUTE_US};

    for (size_t i = 0; i < subject.type->option_count; i++) {
        const struct option *row = &subject.type->options[i];

        assert_non_null(row->help);
        if (row->min >= row->max)
            continue;
        assert_refused(subject, row, row->min / 2);
        assert_refused(subject, row, row->max * 2);
        if (row->type == OPTION_DURATION) {
            struct subject other = subject_of(subject.type);

            subject_set(other, row->name, "1s");
            assert_int_equal(other.type->state_size(other.settings, BUCKET_US), 0);
            subject_free(other);
        }
    }
    for (unsigned i = 0; i < sizeof buckets_us / sizeof *buckets_us; i++) {
        size_t size = subject.type->state_size(subject.settings, buckets_us[i]);

        assert_in_range(size, 8, 64 * 1024);
        assert_int_equal(size % 8, 0);
        size = detector_hot_size(subject.type, subject.settings, buckets_us[i]);
        assert_in_range(size, 0, 256 * 1024);
        assert_int_equal(size % 8, 0);
        assert_int_equal(size > 0, subject.type->hot_size && subject.type->wants_hot);
    }
}

static void check_gaps(struct subject subject)
{
    check_gap_is_empty_buckets(subject, NAN, 0);
    check_gap_is_empty_buckets(subject, NAN, 200);
    check_gap_is_empty_buckets(subject, 0, 0);
    check_gap_is_empty_buckets(subject, 0, 3);
    check_gap_is_empty_buckets(subject, 0, 200);
}

struct check {
    const char *name;
    void (*run)(struct subject subject);
};

static const struct check checks[] = {
    {"warm_up", check_warm_up},
    {"batch_sizes", check_batch_sizes},
    {"bounds", check_bounds},
    {"constant_series", check_constant_series},
    {"state_moves", check_state_moves},
    {"gaps", check_gaps},
    {"long_gap_is_quick", check_long_gap_is_quick},
    {"missing_values", check_missing_values},
    {"settings", check_settings},
};

static void run_check(void **state)
{
    const struct check *check = *state;

    for (unsigned i = 0; detector_types[i]; i++) {
        struct subject subject = subject_of(detector_types[i]);

        print_message("%s\n", detector_types[i]->name);
        check->run(subject);
        subject_free(subject);
    }
}

int main(void)
{
    struct CMUnitTest tests[sizeof checks / sizeof *checks];

    for (unsigned i = 0; i < sizeof checks / sizeof *checks; i++)
        tests[i] = (struct CMUnitTest){
            .name = checks[i].name, .test_func = run_check, .initial_state = (void *)(uintptr_t)&checks[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
