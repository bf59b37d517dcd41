/* A trial's alerts are those that a replay of the same events tells. */
#include "tests/tuning/support.h"

#include "base/json_writer.h"
#include "pipeline/engine.h"

#include <stdio.h>
#include <yajl/yajl_tree.h>

static const char yaml[] =
    "name: t\n"
    "time: {lateness: 0s, max_skew_ahead: 1h}\n"
    "sources: [{name: s, type: file, path: in.jsonl, format: f}]\n"
    "formats: [{name: f, type: fields, map: {time: t, workflow: w, value: v}}]\n"
    "measures: [{name: m, of: value, by: [workflow], every: 1m, statistics: [mean, count, sum]}]\n"
    "detectors:\n"
    "  - {name: plain, type: zscore, measure: m, statistic: mean, half_life: 2h, one_in: 300}\n"
    "  - {name: patient, type: zscore, measure: m, statistic: mean, half_life: 2h, one_in: 50, for: 2m, "
    "keep_firing_for: 3m, rest: 0s}\n"
    "  - {name: counted, type: ewma, measure: m, statistic: count, half_life: 1h, one_in: 100}\n"
    "  - {name: limit, type: threshold, measure: m, statistic: sum, above: 300, keep_firing_for: 10m, rest: "
    "0s}\n"
    "alerts: {expire: 20m}\n";

/* Two series of some rows a minute, with spans of spikes and of silence. */
static void write_input(const struct folder *folder)
{
    struct buffer out;
    uint64_t seed = 3;

    buffer_init(&out, 64 << 20);
    for (int minute = 0; minute < 3000; minute++)
        for (int series = 0; series < 2; series++) {
            bool spikes = random_below(&seed, 40) == 0 || (minute / 11) % 37 == 5;
            bool silent = random_below(&seed, 50) == 0 || (minute / 30) % 23 == 7 + series;

            for (unsigned k = 0; !silent && k < (spikes ? 40 : 2 + random_below(&seed, 2)); k++)
                buffer_print(&out, "{\"t\":%lld,\"w\":\"w%d\",\"v\":%.3f}\n",
                             (long long)(T0_US / 1000 + minute * 60000 + k * 1000), series,
                             100 + 10 * noise(&seed) + (spikes ? 40 + 60 * noise(&seed) : 0));
        }
    folder_put(folder, "in.jsonl", out.data, out.size);
    buffer_free(&out);
}

static struct span text_of(yajl_val line, const char *name)
{
    const char *path[] = {name, NULL};
    yajl_val value = yajl_tree_get(line, path, yajl_t_string);

    return value ? span_of(YAJL_GET_STRING(value)) : (struct span){0};
}

struct told { /* firing lines of one rule */
    const char *rule;
    struct {
        int64_t at_us, starts_us;
        char target[8];
    } items[4000];
    size_t count;
};

static void take_alert(struct told *told, char *line)
{
    char reason[100];
    yajl_val tree = yajl_tree_parse(line, reason, sizeof reason);

    if (span_is(text_of(tree, "rule"), told->rule) && span_is(text_of(tree, "state"), "firing")) {
        struct span target = text_of(tree, "target");

        assert_true(told->count < 4000);
        time_parse(text_of(tree, "at"), TIME_UNIT_AUTO, 0, &told->items[told->count].at_us);
        time_parse(text_of(tree, "starts_at"), TIME_UNIT_AUTO, 0, &told->items[told->count].starts_us);
        memcpy(told->items[told->count++].target, target.data, target.size);
    }
    yajl_tree_free(tree);
}

static void replay(const struct folder *folder, const struct plan *plan)
{
    const char *paths[DOC_KINDS] = {
        [DOC_ALERT] = folder_path(folder, "alerts"), [DOC_BUCKET] = folder_path(folder, "buckets")};
    struct engine_options options = {.mode = ENGINE_REPLAY, .quiet = true};
    struct engine *engine;
    struct error error;
    enum status status;

    assert_int_equal(collect_open(paths, &options.collect, &error), STATUS_OK);
    assert_int_equal(engine_start(plan, &options, &engine, &error), STATUS_OK);
    do
        status = engine_wait(engine, 1000, &error);
    while (status == STATUS_RETRY);
    assert_int_equal(status, STATUS_OK);
    engine_stop(engine);
    engine_free(engine);
    assert_int_equal(collect_close(options.collect, &error), STATUS_OK);
}

static bool is_told(struct told *told, const struct history *history, const struct trial_alert *alert)
{
    for (size_t i = 0; i < told->count; i++)
        if (told->items[i].at_us == alert->at_us && told->items[i].starts_us == alert->starts_us &&
            strcmp(told->items[i].target, history->series[alert->series].target) == 0)
            return true;
    return false;
}

static void compare(const struct plan *plan, const struct plan_detector *detector, char *alerts,
                    char *buckets)
{
    const struct alert_policy *policy = &plan->policies[detector->policy];
    const struct trial_settings settings = {.type = detector->type,
                                            .settings = detector->settings,
                                            .backend = &detector->backend,
                                            .empty = detector->empty,
                                            .for_us = policy->for_us,
                                            .keep_firing_us = policy->keep_firing_us,
                                            .expire_us = policy->expire_us};
    struct told *told = memory_new(sizeof *told);
    struct trial_alerts trial = {0};
    struct history history;
    struct error error;

    told->rule = detector->name;
    history_init(&history, &plan->measures[0], detector->statistic);
    for (char *line = strtok_r(buckets, "\n", &buckets); line; line = strtok_r(NULL, "\n", &buckets))
        assert_int_equal(history_add(&history, span_of(line), &error), STATUS_OK);
    for (char *line = strtok_r(alerts, "\n", &alerts); line; line = strtok_r(NULL, "\n", &alerts))
        take_alert(told, line);
    history_settle(&history);
    assert_true(
        trial_run(&history, &settings, &(struct trial_range){INT64_MIN, INT64_MAX}, NULL, NULL, &trial));
    if (told->count < 5)
        fail_msg("%s: only %zu alerts are told", detector->name, told->count);
    for (size_t i = 0; i < trial.count; i++)
        if (!is_told(told, &history, &trial.items[i]))
            fail_msg("%s: an alert of minute %d is not told", detector->name,
                     (int)((trial.items[i].at_us - T0_US) / MINUTE_US));
    assert_int_equal(trial.count, told->count);
    free(trial.items);
    free(told);
    history_free(&history);
}

static void alerts_are_those_of_a_replay(void **state)
{
    struct plan *plan;
    struct folder folder;
    struct error error;

    folder_open(&folder);
    write_input(&folder);
    if (plan_try(&folder, yaml, NULL, &plan, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    replay(&folder, plan);
    for (unsigned i = 0; i < plan->detector_count; i++) {
        size_t size;
        char *alerts = folder_get(&folder, "alerts", &size), *buckets = folder_get(&folder, "buckets", &size);

        compare(plan, &plan->detectors[i], alerts, buckets);
        free(alerts);
        free(buckets);
    }
    plan_free(plan);
    folder_close(&folder);
}

/* What is refused, and a range that begins late: a series that begins there. */
static void begins_with_its_range(void **state)
{
    struct plan *plan = plan_of(measure_yaml);
    struct trial_alerts late = {0}, fresh = {0};
    struct history whole, half;
    uint64_t seed = 2;
    struct trial_settings settings = {.type = plan->detectors[0].type,
                                      .settings = plan->detectors[0].settings,
                                      .backend = &plan->detectors[0].backend,
                                      .empty = NAN};

    history_init(&whole, &plan->measures[0], STAT_MEAN);
    history_init(&half, &plan->measures[0], STAT_MEAN);
    for (int i = 1; i <= 2000; i++) {
        double value = noise(&seed) + (i % 400 == 0 ? 30 * pow(4, i / 400) : 0);

        add_bucket(&whole, "a", T0_US + i * MINUTE_US, value, 1);
        if (i > 1000)
            add_bucket(&half, "a", T0_US + i * MINUTE_US, value, 1);
    }
    history_settle(&whole);
    history_settle(&half);
    const struct trial_range range = {T0_US + 1000 * MINUTE_US, T0_US + 1900 * MINUTE_US};
    assert_true(trial_run(&whole, &settings, &range, NULL, NULL, &late));
    assert_true(trial_run(&half, &settings, &range, NULL, NULL, &fresh));
    assert_int_equal(late.count, 2); /* of minutes 1200 and 1600 */
    assert_int_equal(fresh.count, 2);
    assert_memory_equal(late.items, fresh.items, 2 * sizeof *late.items);
    assert_int_equal(late.items[0].at_us, T0_US + 1200 * MINUTE_US);
    free(late.items);
    free(fresh.items);
    history_free(&whole);
    history_free(&half);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alerts_are_those_of_a_replay),
        cmocka_unit_test(begins_with_its_range),
    };

    detectors_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
