/* The search over a small history: it gets better where it can, and the seed alone decides. */
#include "tests/tuning/support.h"

#include <stdatomic.h>

enum { MINUTES = 3000, SERIES = 3 };

struct world {
    struct plan *plan;
    struct history history;
    struct labels labels;
    struct truth truth;
    struct trial_settings base;
};

/* A daily rhythm, which the default half-life of an hour follows too slowly, and 20 incidents. */
static void open_world(struct world *world, bool labelled, bool by_series)
{
    uint64_t seed = 17;
    char line[160], name[2] = "a";

    *world = (struct world){.plan = plan_of(measure_yaml)};
    history_init(&world->history, &world->plan->measures[0], STAT_MEAN);
    for (int s = 0; s < SERIES * 2; s++)
        for (int i = 1; i <= MINUTES; i++) {
            bool incident = i % 200 >= 180 && (i / 200) % SERIES == s % SERIES;

            name[0] = (char)('a' + s);
            add_bucket(&world->history, name, T0_US + i * MINUTE_US,
                       100 + 30 * sin(i * 2 * M_PI / 700) + 3 * noise(&seed) + (incident ? 25 : 0), 1);
        }
    history_settle(&world->history);
    for (int k = 0; k < MINUTES / 200; k++)
        for (int s = k % SERIES; s < SERIES * 2; s += SERIES) {
            int64_t start = T0_US / 1000000 + (k * 200 + 180) * 60;

            snprintf(line, sizeof line, "{\"start\":%lld,\"end\":%lld,\"target\":\"%c/x\"}", (long long)start,
                     (long long)start + 19 * 60, 'a' + s);
            add_label(&world->labels, line);
        }
    truth_make(&world->truth, &world->history, labelled ? &world->labels : NULL, by_series, 2 * MINUTE_US, 0);
    const struct plan_detector *detector = &world->plan->detectors[0];
    world->base = (struct trial_settings){
        .type = detector->type, .settings = detector->settings, .backend = &detector->backend, .empty = NAN};
}

static void close_world(struct world *world)
{
    truth_free(&world->truth);
    labels_free(&world->labels);
    history_free(&world->history);
    plan_free(world->plan);
}

static void run(struct tune *tune, const struct world *world, const struct tune_options *options)
{
    struct error error;

    if (!tune_run(tune, &world->history, &world->truth, &world->base, options, &error))
        fail_msg("%s", error.text);
}

static void improves_what_is_held_out(void **state)
{
    for (int by_series = 0; by_series < 2; by_series++) {
        const struct tune_options options = {.seed = 1, .walks = 4, .steps = 25, .threads = 2};
        struct world world;
        struct tune tune;

        open_world(&world, true, by_series);
        run(&tune, &world, &options);
        const struct tally *before = &tune.before.assessment.parts[PART_HELD],
                           *after = &tune.after.assessment.parts[PART_HELD];

        assert_true(tune.improved);
        assert_true(before->incidents >= 8);
        if (tally_f1(after) < tally_f1(before) + 0.1)
            fail_msg("F1 held out: %g, then %g", tally_f1(before), tally_f1(after));
        assert_true(tune.after.cost < tune.before.cost);
        assert_int_equal(tune.crossed.incidents, tune.after.training.incidents);
        assert_false(tune.cut_short);
        tune_free(&tune);
        close_world(&world);
    }
}

/* With labels and without: threads and repetition change nothing, another seed does. */
static void depends_on_the_seed_alone(void **state)
{
    for (int labelled = 0; labelled < 2; labelled++) {
        struct tune_options options = {.alerts_per_day = 5, .seed = 3, .walks = 5, .steps = 15, .threads = 1};
        struct world world;
        struct tune one, many, other;

        open_world(&world, labelled, false);
        run(&one, &world, &options);
        options.threads = 4;
        run(&many, &world, &options);
        options.seed = 4;
        run(&other, &world, &options);
        assert_memory_equal(one.after.values, many.after.values, sizeof one.after.values);
        assert_memory_equal(&one.after.training, &many.after.training, sizeof one.after.training);
        assert_memory_equal(&one.crossed, &many.crossed, sizeof one.crossed);
        assert_int_equal(one.tried, many.tried);
        for (unsigned i = 0; i < options.walks; i++)
            assert_int_equal(one.taken[i], many.taken[i]);
        assert_true(memcmp(one.trials, other.trials, 50 * sizeof *one.trials) != 0);
        tune_free(&one);
        tune_free(&many);
        tune_free(&other);
        close_world(&world);
    }
}

/* Without labels the alerts come near what was asked for. */
static void keeps_to_a_budget(void **state)
{
    static const double budgets[] = {2, 20};

    for (size_t i = 0; i < 2; i++) {
        const struct tune_options options = {
            .alerts_per_day = budgets[i], .seed = 1, .walks = 4, .steps = 30, .threads = 2};
        struct world world;
        struct tune tune;

        open_world(&world, false, false);
        run(&tune, &world, &options);
        double days = world.truth.part_days[0] + world.truth.part_days[1] + world.truth.part_days[2];

        assert_in_range(tune.after.training.alerts, budgets[i] * days * 0.6, budgets[i] * days * 1.5);
        tune_free(&tune);
        close_world(&world);
    }
}

static atomic_uint asked;

static bool soon(void *owner)
{
    return atomic_fetch_add(&asked, 1) > 40;
}

static void says_that_time_was_over(void **state)
{
    const struct tune_options options = {.seed = 1, .walks = 8, .steps = 200, .threads = 2, .is_over = soon};
    struct world world;
    struct tune tune;

    open_world(&world, true, false);
    run(&tune, &world, &options);
    assert_true(tune.cut_short);
    assert_in_range(tune.tried, 1, 60);
    tune_free(&tune);
    close_world(&world);
}

/* Fitted to noise: labels that no value shows. Whatever is found in training is not there in what is held
 * out, and the figures say so or nothing is claimed. */
static void noise_is_not_claimed(void **state)
{
    struct tune_options options = {.seed = 1, .walks = 4, .steps = 40, .threads = 2};
    struct plan *plan = plan_of(measure_yaml);
    struct history history;
    struct labels labels = {0};
    struct truth truth;
    struct tune tune;
    struct error error;
    uint64_t seed = 4;
    char line[160];

    history_init(&history, &plan->measures[0], STAT_MEAN);
    for (int i = 1; i <= MINUTES; i++)
        add_bucket(&history, "a", T0_US + i * MINUTE_US, noise(&seed) + noise(&seed) + noise(&seed), 1);
    history_settle(&history);
    for (int k = 0; k < 14; k++) {
        int64_t start = T0_US / 1000000 + (k * 200 + (int)random_below(&seed, 200)) * 60;

        snprintf(line, sizeof line, "{\"start\":%lld,\"end\":%lld,\"target\":\"a/x\"}", (long long)start,
                 (long long)start + 300);
        add_label(&labels, line);
    }
    truth_make(&truth, &history, &labels, false, MINUTE_US, 0);
    const struct plan_detector *detector = &plan->detectors[0];
    const struct trial_settings base = {
        .type = detector->type, .settings = detector->settings, .backend = &detector->backend, .empty = NAN};
    assert_true(tune_run(&tune, &history, &truth, &base, &options, &error));
    assert_true(!tune.improved || tune.parts ||
                tally_f1(&tune.after.training) - tally_f1(&tune.before.training) < 0.2);
    tune_free(&tune);
    truth_free(&truth);
    labels_free(&labels);
    history_free(&history);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(improves_what_is_held_out), cmocka_unit_test(depends_on_the_seed_alone),
        cmocka_unit_test(keeps_to_a_budget),         cmocka_unit_test(says_that_time_was_over),
        cmocka_unit_test(noise_is_not_claimed),
    };

    detectors_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
