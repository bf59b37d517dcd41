/* A trial is one pass over the training part; its tallies by fold are kept, so that the cross-validation
 * needs no trial of its own. Tried and dropped: half of the cost from the worst fold. Held out it changed
 * nothing with one back end (F1 .348, .300, .333 for .444, .300, .333 over three seeds), and lost with the
 * next one. */
#include "tuning/tune.h"

#include "base/memory.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#define COST_REFUSED  1e6
#define DELAY_WEIGHT  0.05
#define FALSE_WEIGHT  1e-3
#define FLIP_WEIGHT   0.5
#define GAIN_LEAST    1e-9 /* less is the same */
#define PARTING_RATIO 0.5  /* of the gain that is left where it was held out */

struct work { /* of the search, shared by its threads */
    struct tune *tune;
    atomic_ullong tried;
    atomic_bool cut_short;
};

/* More alerts than asked for, as a power of ten; 0 when there are no more. */
static double excess(double alerts, double expected)
{
    return fmax(log10((alerts + 1) / (expected + 1)), 0);
}

static double labelled_cost(const struct tune *tune, const struct tally *tally, double days)
{
    double grace_s = (double)tune->truth->grace_us * 1e-6 + 1;
    double delay_s = tally->found ? tally->delay_s / tally->found : 0;
    double cost = 1 - tally_f1(tally) + DELAY_WEIGHT * delay_s / (delay_s + grace_s) +
                  FALSE_WEIGHT * (tally->false_alerts + tally->repeats);

    if (tune->options->alerts_per_day > 0)
        cost += excess(tally->alerts, tune->options->alerts_per_day * days);
    return cost;
}

double tune_cost(const struct tune *tune, const struct tally *tally, double days)
{
    double expected = tune->options->alerts_per_day * days;

    if (tune->truth->labels)
        return labelled_cost(tune, tally, days);
    return fabs(log10((tally->alerts + 1) / (expected + 1))) +
           FLIP_WEIGHT * (tally->compared ? (double)tally->flips / tally->compared : 0);
}

void tune_copy_make(const struct tune *tune, const double *values, struct tune_copy *ret_copy)
{
    size_t size = tune->base.type->settings_size;

    *ret_copy =
        (struct tune_copy){.settings = memory_new(size), .backend = *tune->base.backend, .trial = tune->base};
    memcpy(ret_copy->settings, tune->base.settings, size);
    for (unsigned i = 0; i < tune->space.count; i++)
        parameter_write(&tune->space.parameters[i], values[i], ret_copy->settings, &ret_copy->backend);
    ret_copy->trial.settings = ret_copy->settings;
    ret_copy->trial.backend = &ret_copy->backend;
}

void tune_copy_free(struct tune_copy *copy)
{
    free(copy->settings);
}

static bool is_training(const struct tune *tune, uint32_t series)
{
    return !tune->truth->by_series || tune->truth->series_part[series] != PART_HELD;
}

static bool has_match(const struct trial_alerts *alerts, const struct trial_alert *wanted, int64_t within_us)
{
    for (size_t i = 0; i < alerts->count; i++)
        if (alerts->items[i].series == wanted->series &&
            alerts->items[i].at_us <= wanted->at_us + within_us &&
            alerts->items[i].at_us >= wanted->at_us - within_us)
            return true;
    return false;
}

static void count_flips(const struct truth *truth, const struct trial_alerts *these,
                        const struct trial_alerts *those, int64_t from_us, struct tally parts[PARTS])
{
    for (size_t i = 0; i < these->count; i++) {
        const struct trial_alert *alert = &these->items[i];
        struct tally *tally = &parts[truth_part(truth, alert->series, alert->at_us)];

        if (alert->at_us <= from_us)
            continue;
        tally->compared++;
        tally->flips += !has_match(those, alert, truth->grace_us);
    }
}

/* Stability, without labels: the series begin once more in the middle, and the alerts of the last quarter are
 * compared. */
static void compare_halves(const struct tune *tune, const struct trial_settings *settings,
                           const struct trial_alerts *alerts, struct tally parts[PARTS])
{
    struct trial_range range = truth_training(tune->truth);
    int64_t first_us = tune->history->first_us;
    int64_t last_us = range.to_us < tune->history->last_us ? range.to_us : tune->history->last_us;
    int64_t quarter_us = (last_us - first_us) / 4;
    struct trial_alerts others = {0};

    range.from_us = first_us + 2 * quarter_us;
    for (uint32_t s = 0; s < tune->history->count; s++)
        if (is_training(tune, s))
            trial_run_series(tune->history, settings, s, &range, NULL, NULL, &others);
    count_flips(tune->truth, alerts, &others, first_us + 3 * quarter_us, parts);
    count_flips(tune->truth, &others, alerts, first_us + 3 * quarter_us, parts);
    free(others.items);
}

static double cost_of_folds(const struct tune *tune, const struct tally *folds, unsigned left_out)
{
    struct tally sum = {0};
    double days = 0;

    for (unsigned fold = 0; fold < FOLDS; fold++)
        if (fold != left_out) {
            tally_add(&sum, &folds[fold]);
            days += tune->truth->part_days[fold];
        }
    return tune_cost(tune, &sum, days);
}

/* One pass over the training part. */
static void run_trial(const struct tune *tune, struct tune_trial *trial)
{
    struct trial_range range = truth_training(tune->truth);
    struct trial_alerts alerts = {0};
    struct assessment assessment;
    struct tune_copy copy;

    tune_copy_make(tune, trial->values, &copy);
    trial->cost = COST_REFUSED;
    if (copy.trial.type->state_size(copy.settings, tune->history->measure->shape.every_us)) {
        for (uint32_t s = 0; s < tune->history->count; s++)
            if (is_training(tune, s))
                trial_run_series(tune->history, &copy.trial, s, &range, NULL, NULL, &alerts);
        assessment_make(tune->truth, &alerts, &assessment);
        if (!tune->truth->labels)
            compare_halves(tune, &copy.trial, &alerts, assessment.parts);
        memcpy(trial->folds, assessment.parts, sizeof trial->folds);
        trial->cost = cost_of_folds(tune, trial->folds, FOLDS);
        assessment_free(&assessment);
    }
    free(alerts.items);
    tune_copy_free(&copy);
}

static struct tune_trial *trial_at(const struct tune *tune, unsigned walk, unsigned step)
{
    return &tune->trials[(size_t)walk * tune->options->steps + step];
}

/* The same values were tried in this walk. */
static const struct tune_trial *find_trial(const struct tune *tune, unsigned walk, const double *values)
{
    for (unsigned step = 0; step < tune->taken[walk]; step++) {
        const struct tune_trial *trial = trial_at(tune, walk, step);

        if (memcmp(trial->values, values, tune->space.count * sizeof *values) == 0)
            return trial;
    }
    return NULL;
}

static double cost_of_point(void *owner, unsigned walk, const double *point)
{
    struct work *work = owner;
    struct tune *tune = work->tune;
    struct tune_trial trial = {.cost = 0};

    for (unsigned i = 0; i < tune->space.count; i++)
        trial.values[i] = parameter_value(&tune->space.parameters[i], point[i]);
    const struct tune_trial *known = find_trial(tune, walk, trial.values);

    if (!known)
        run_trial(tune, &trial);
    else
        trial = *known;
    atomic_fetch_add(&work->tried, 1);
    *trial_at(tune, walk, tune->taken[walk]) = trial;
    tune->taken[walk]++;
    return trial.cost;
}

static bool search_is_over(void *owner)
{
    struct work *work = owner;
    const struct tune_options *options = work->tune->options;

    if (!options->is_over || !options->is_over(options->owner))
        return false;
    atomic_store(&work->cut_short, true);
    return true;
}

/* The least cost; of equal ones the first. `left_out`: a fold that does not count, FOLDS: none. */
static const struct tune_trial *best_trial(const struct tune *tune, unsigned left_out)
{
    const struct tune_trial *best = NULL;
    double best_cost = INFINITY;

    for (unsigned walk = 0; walk < tune->options->walks; walk++)
        for (unsigned step = 0; step < tune->taken[walk]; step++) {
            const struct tune_trial *trial = trial_at(tune, walk, step);
            double cost = trial->cost < COST_REFUSED ? cost_of_folds(tune, trial->folds, left_out) : INFINITY;

            if (cost < best_cost - GAIN_LEAST) {
                best = trial;
                best_cost = cost;
            }
        }
    return best;
}

static void watch_search(void *owner)
{
    struct work *work = owner;
    const struct tune_options *options = work->tune->options;

    if (options->watch)
        options->watch(options->owner, atomic_load(&work->tried), (uint64_t)options->walks * options->steps);
}

/* Takes back each change that gains nothing: what is left is what matters. */
static void take_back(const struct tune *tune, struct tune_trial *best)
{
    for (unsigned i = 0; i < tune->space.count; i++) {
        struct tune_trial trial = *best;

        trial.values[i] = tune->before.values[i];
        if (trial.values[i] <= best->values[i] && trial.values[i] >= best->values[i])
            continue;
        run_trial(tune, &trial);
        if (trial.cost <= best->cost + GAIN_LEAST)
            *best = trial;
    }
}

static bool run_outcome(const struct tune *tune, struct tune_outcome *outcome)
{
    const struct trial_range all = {INT64_MIN, INT64_MAX};
    struct tune_copy copy;

    tune_copy_make(tune, outcome->values, &copy);
    bool good = trial_run(tune->history, &copy.trial, &all, NULL, NULL, &outcome->alerts);
    assessment_make(tune->truth, &outcome->alerts, &outcome->assessment);
    tune_copy_free(&copy);
    return good;
}

/* Each fold is judged by what the others choose, so its figure was not looked at. */
static void cross_validate(struct tune *tune)
{
    for (unsigned fold = 0; fold < FOLDS; fold++) {
        const struct tune_trial *best = best_trial(tune, fold);

        if (best)
            tally_add(&tune->crossed, &best->folds[fold]);
    }
}

/* The settings fit the training part better than the rest of the world: what was gained there is gone, or
 * half gone, where they were not fitted. */
static bool figures_part(const struct tune *tune)
{
    const struct truth *truth = tune->truth;
    double days = 0, training, held;

    for (unsigned fold = 0; fold < FOLDS; fold++)
        days += truth->part_days[fold];
    training = tune_cost(tune, &tune->before.training, days) - tune_cost(tune, &tune->after.training, days);
    held = tune_cost(tune, &tune->before.assessment.parts[PART_HELD], truth->part_days[PART_HELD]) -
           tune_cost(tune, &tune->after.assessment.parts[PART_HELD], truth->part_days[PART_HELD]);
    if (truth->labels && tune->before.assessment.parts[PART_HELD].incidents == 0)
        return false; /* nothing to compare */
    return truth->held && tune->improved && held < PARTING_RATIO * training;
}

static void search_all(struct tune *tune, struct work *work)
{
    double start[SEARCH_DIMENSIONS_MAX];
    struct search search = {.dimensions = tune->space.count,
                            .walks = tune->options->walks,
                            .steps = tune->options->steps,
                            .threads = tune->options->threads,
                            .seed = tune->options->seed,
                            .start = start,
                            .cost = cost_of_point,
                            .is_over = search_is_over,
                            .watch = watch_search,
                            .owner = work};

    for (unsigned i = 0; i < tune->space.count; i++)
        start[i] = parameter_place(&tune->space.parameters[i], tune->before.values[i]);
    search_run(&search);
    tune->tried = atomic_load(&work->tried);
    tune->cut_short = atomic_load(&work->cut_short);
}

static void keep_outcome(const struct tune_trial *trial, struct tune_outcome *outcome)
{
    outcome->cost = trial->cost;
    memcpy(outcome->values, trial->values, sizeof outcome->values);
    for (unsigned fold = 0; fold < FOLDS; fold++)
        tally_add(&outcome->training, &trial->folds[fold]);
}

static void choose(struct tune *tune)
{
    const struct tune_trial *found = best_trial(tune, FOLDS);
    struct tune_trial before = {.cost = 0};

    memcpy(before.values, tune->before.values, sizeof before.values);
    run_trial(tune, &before);
    struct tune_trial best = before;

    if (found && found->cost < before.cost - GAIN_LEAST) {
        best = *found;
        take_back(tune, &best);
        tune->improved = true;
    }
    keep_outcome(&before, &tune->before);
    keep_outcome(&best, &tune->after);
}

bool tune_run(struct tune *tune, const struct history *history, const struct truth *truth,
              const struct trial_settings *base, const struct tune_options *options, struct error *ret_error)
{
    struct work work = {.tune = tune};
    double bucket_s = (double)history->measure->shape.every_us * 1e-6,
           span_s = (double)(history->last_us - history->first_us) * 1e-6;

    *tune = (struct tune){.history = history, .truth = truth, .options = options, .base = *base};
    space_make(&tune->space, base->type, base->settings, base->backend, bucket_s, span_s);
    if (tune->space.count == 0)
        return fail(ret_error, "%s has no parameter that can be tuned", base->type->name), false;
    for (unsigned i = 0; i < tune->space.count; i++)
        tune->before.values[i] = parameter_read(&tune->space.parameters[i], base->settings, base->backend);
    if (!run_outcome(tune, &tune->before))
        return fail(ret_error, "%s refuses its settings for buckets of %g s", base->type->name, bucket_s),
               false;
    tune->trials = memory_new((size_t)options->walks * options->steps * sizeof *tune->trials);
    tune->taken = memory_new(options->walks * sizeof *tune->taken);
    search_all(tune, &work);
    choose(tune);
    cross_validate(tune);
    (void)run_outcome(tune, &tune->after);
    tune->parts = figures_part(tune);
    return true;
}

static void outcome_free(struct tune_outcome *outcome)
{
    free(outcome->alerts.items);
    assessment_free(&outcome->assessment);
}

void tune_free(struct tune *tune)
{
    outcome_free(&tune->before);
    outcome_free(&tune->after);
    free(tune->trials);
    free(tune->taken);
}
