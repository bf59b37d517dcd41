/* Wrong configurations: each error names the place, the key and what was expected. And what a right one
 * becomes. */
#include "pipeline/watch_signal.h"
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>

#define BASE "name: t\nsources: [{name: s, type: file, path: x}]\n"
#define MEASURES                                                                                             \
    BASE "measures:\n- {name: latency, of: duration_ms, statistics: [mean, p95], by: [workflow], every: "    \
         "1m}\n"

// clang-format off
static const char *const wrong[][2] = {
    {"name: t\nsources: [{name: s\n", "3:1: did not find expected ',' or '}'"},
    {"name: t\nsuorces: []\n", "2:1: unknown key 'suorces'; did you mean 'sources'?"},
    {"sources: [{name: s, type: file, path: x}]\n", "1:1: 'name' is missing"},
    {"name: t\n", "1:1: no sources: name at least one under sources"},
    {"name: t\nsources: []\n", "1:1: no sources: name at least one under sources"},
    {"name: t\nsources: {name: s}\n", "2:10: sources must be a list"},
    {"name: t\nsources: [file]\n", "2:11: an entry of sources must be a map"},
    {"name: t\nsources: [{name: s}]\n", "2:11: 'type' is missing: what kind of source?"},
    {"name: t\nsources: [{name: s, type: flie, path: x}]\n",
     "2:27: unknown source type 'flie'; did you mean 'file'?"},
    {"name: t\nsources: [{name: s, type: file}]\n", "2:11: sources.s: 'path' is missing"},
    {"name: t\nsources: [{type: file, path: x}]\n", "2:11: sources.0: 'name' is missing"},
    {"name: t\nsources: [{name: s, type: file, path: x, format: celary}]\n",
     "2:50: format: 'celary' is neither under formats nor built in; did you mean 'celery'?"},
    {BASE "receivers: [{name: ops, type: file, path: x}]\n",
     "3:31: a receiver cannot be of type 'file', which tells nobody"},
    {BASE "receivers: [{name: ops, type: webhok, url: 'http://x'}]\n",
     "3:31: unknown receiver type 'webhok'; did you mean 'webhook'?"},
    {BASE "receivers: [{name: ops, type: webhook, url: 'http://x', send: [alerts]}]\n", "3:57: unknown key 'send'"},
    {BASE "sinks: [{name: ops, type: stdout, send: [alerts]}]\nreceivers: [{name: ops, type: webhook, url: "
          "'http://x'}]\n",
     "4:13: the name 'ops' is used twice in receivers"},
    {BASE "receivers: [{name: ops, type: webhook, url: 'http://x'}]\nalerts: {to: [opps]}\n",
     "4:14: no receiver named 'opps'; did you mean 'ops'?"},
    {BASE "sinks: [{name: console, type: stdout, send: [alerts]}]\nalerts: {to: [console]}\n",
     "4:14: no receiver named 'console'"},
    {"name: t\nname: u\n", "2:1: key 'name' was given at line 1 already"},
    {BASE "time: {lateness: soon}\n",
     "3:18: time.lateness: 'soon' is not a duration (like 500ms, 30s, 5m, 1h, 1d)"},
    {BASE "time: {lateness: 90d}\n", "3:18: time.lateness: 90d is out of range 0s..30d"},
    {BASE "time: 10s\n", "3:7: time: expected a map of keys"},
    {BASE "time: {late: never}\n", "3:14: time.late: 'never' is not one of drop, dead_letter, correct"},
    {BASE "workers: 65\n", "3:10: workers: 65 is out of range 0..64"},
    {BASE "batch_rows: 0\n", "3:13: batch_rows: 0 is out of range 1..8192"},
    {BASE "batch_rows: many\n", "3:13: batch_rows: 'many' is not a whole number"},
    {BASE "measures: [{of: count}]\n", "3:12: measures.0: 'name' is missing"},
    {BASE "measures: [{name: m, evry: 1m}]\n", "3:22: unknown key 'evry'; did you mean 'every'?"},
    {BASE "measures:\n- {name: m}\n- {name: m}\n", "5:3: the name 'm' is used twice in measures"},
    {BASE "measures: [{name: m, by: [workflw]}]\n",
     "3:26: by: unknown field 'workflw'; did you mean 'workflow'?"},
    {BASE "measures: [{name: m, by: [a1, a2, a3, a4, a5, a6, a7, a8, a9]}]\n", "3:26: by: at most 8 fields"},
    {BASE "measures: [{name: m, every: 1m, window: 30s}]\n", "3:41: window: shorter than every leaves gaps"},
    {BASE "measures: [{name: m, every: 1ms, window: 1h}]\n",
     "3:42: window: more than 4096 panes (window / gcd(window, every))"},
    {BASE "measures: [{name: m, statistics: [p96]}]\n",
     "3:34: statistics: unknown statistic 'p96' (count sum min max mean variance p50 p90 p95 p99 distinct ratio rate)"},
    {BASE "measures: [{name: m, statistics: [ratio]}]\n",
     "3:12: the statistic ratio needs `ratio: EXPRESSION`"},
    {BASE "measures: [{name: m, of: value, statistics: [distinct]}]\n",
     "3:12: the statistic distinct needs `of` a text field"},
    {BASE "measures: [{name: m, of: task, statistics: [mean]}]\n",
     "3:12: `of: task` is a text: only count, distinct and ratio"},
    {BASE "measures:\n- name: m\n  where: 'state = \"failed\"'\n",
     "5:10: where: 1:7: '=' must be written twice"},
    {BASE "measures:\n- name: m\n  where: 'duration_ms + 1.0'\n",
     "5:10: where: 1:1: the expression must be bool but is double"},
    {BASE "measures:\n- name: m\n  of: 'duration * 2.0'\n",
     "5:7: of: 1:1: unknown name 'duration'; did you mean 'duration_ms'?"},
    {MEASURES "calendars: [{name: night, times: '00:00-06:00'}]\nmaintenance: [nigth]\n",
     "6:14: maintenance: no calendar named 'nigth'; did you mean 'night'?"},
    {MEASURES "detectors: [{name: d, type: zscore, measure: latency, except: [night]}]\n",
     "5:63: except: no calendar named 'night'"},
    {MEASURES "detectors: [{name: d, type: zscore, measure: latancy}]\n",
     "5:46: no measure named 'latancy'; did you mean 'latency'?"},
    {MEASURES "detectors: [{name: d, type: zscroe, measure: latency}]\n",
     "5:29: unknown detector type 'zscroe'; did you mean 'zscore'?"},
    {MEASURES "detectors: [{name: d, type: zscore}]\n", "5:13: detectors.d: 'measure' is missing"},
    {MEASURES "detectors: [{name: d, type: zscore, measure: latency, statistic: p90}]\n",
     "5:66: the measure 'latency' has no statistic 'p90'"},
    {MEASURES "rules: [{name: r, on: bucket, when: 'mean > 1.0'}]\n",
     "5:9: 'measure' is missing: a bucket rule judges the buckets of one"},
    {MEASURES "rules: [{name: r, on: bucket, measure: latncy, when: 'mean > 1.0'}]\n",
     "5:40: no measure named 'latncy'; did you mean 'latency'?"},
    {MEASURES "rules: [{name: r, on: bucket, measure: latency, by: [task], when: 'mean > 1.0'}]\n",
     "5:53: by: a bucket rule has the key of its measure"},
    {MEASURES "rules: [{name: r, on: bucket, measure: latency, when: 'p99 > 1.0'}]\n",
     "5:55: when: the measure 'latency' does not have the statistic p99; add it to its statistics"},
    {MEASURES "rules:\n- name: r\n  on: bucket\n  measure: latency\n  when: |\n    mean > 1.0 &&\n    p95 > \"x\"\n",
     "9:9: when: 2:5: no '>' for double and string"},
    {MEASURES "rules: [{name: r, when: 'state == \"failed\"', measure: latency}]\n",
     "5:55: measure: only for rules with on: bucket"},
    {MEASURES "rules: [{name: r, when: 'state == \"failed\"', for: 1m}]\n",
     "5:51: for: only for rules with on: bucket"},
    {MEASURES "rules: [{name: watch_me, when: 'true'}]\n",
     "5:16: name: 'watch_me': watch_... is for the built-in watch"},
    {BASE "schedules: [{workflow: w, cron: '61 * * * *'}]\n",
     "3:33: cron: '61 * * * *' is no cron line: its minute must be *, or values from 0 to 59 with , - /"},
    {BASE "schedules: [{workflow: w, cron: '@daily', timezone: Mars/Olympus}]\n",
     "3:53: timezone: there is no time zone 'Mars/Olympus'"},
    {BASE "watch: false\nschedules: [{workflow: w, cron: '@daily'}]\n",
     "4:13: schedules are for the watch, which `watch: false` switches off"},
    {MEASURES "detectors: [{name: watch_it, type: zscore, measure: latency}]\n",
     "5:20: name: 'watch_it': watch_... is for the built-in watch"},
    {MEASURES "rules: [{name: r}]\n", "5:9: rules.r: 'when' is missing"},
    {MEASURES "rules: [{name: r, on: buckets, when: 'true'}]\n",
     "5:23: rules.r.on: 'buckets' is not one of event, bucket, run; did you mean 'bucket'?"},
    {MEASURES "rules: [{name: r, when: 'true', annotations: {summary: '{{tsk}}'}}]\n",
     "5:56: summary: '{{tsk}}' names nothing known"},
    {MEASURES "rules: [{name: r, when: 'true', annotations: {sumary: x}}]\n",
     "5:47: unknown key 'sumary'; did you mean 'summary'?"},
    {BASE "sinks: [{name: s, type: stdout, send: [alert]}]\n",
     "3:39: send: unknown kind 'alert' (events, runs, buckets, signals, alerts, metrics)"},
    {BASE "sinks: [{name: s, type: stdout, send: [metrics]}]\n",
     "3:39: send: metrics have no lines; a sink of type stdout cannot take them"},
    {BASE "sinks: [{name: s, type: stdout}]\n", "3:9: sinks.s: 'send' is missing"},
    {BASE "clean: [{drpo: 'true'}]\n", "3:9: unknown clean step 'drpo'; did you mean 'drop'?"},
};
// clang-format on

static void test_wrong(void **state)
{
    struct folder folder;
    unsigned failed = 0;

    folder_open(&folder);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct plan *plan = NULL;
        struct error error;

        if (plan_try(&folder, wrong[i][0], NULL, &plan, &error) != STATUS_FATAL)
            fail_msg("taken: %s", wrong[i][0]);
        assert_null(plan);
        const char *text = strstr(error.text, "plan.yaml:");
        if (!text || strcmp(text + strlen("plan.yaml:"), wrong[i][1]) != 0) {
            print_error("%s\n-> %s\nexpected %s\n", wrong[i][0], error.text, wrong[i][1]);
            failed++;
        }
    }
    folder_close(&folder);
    assert_int_equal(failed, 0);
}

/* Missing files, and --set that names nothing. */
static void test_outside(void **state)
{
    static const char *const assignments[][2] = {{"time.latenes=5s", NULL}, {"workers=-1", NULL}};
    static const char *const expected[] = {"unknown key 'latenes'; did you mean 'lateness'?",
                                           "out of range 0..64"};
    struct folder folder;
    struct plan *plan = NULL;
    struct error error;

    folder_open(&folder);
    assert_int_equal(plan_load(folder_path(&folder, "none.yaml"), NULL, 0, &plan, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "none.yaml: cannot read"));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(plan_try(&folder, BASE, assignments[i], &plan, &error), STATUS_FATAL);
        if (!strstr(error.text, expected[i]))
            fail_msg("%s", error.text);
    }
    folder_close(&folder);
    assert_null(plan);
}

/* Measures of one key and window are one group; names become places; defaults follow from the measure. */
static void test_links(void **state)
{
    struct plan *plan =
        plan_of(BASE "watch: false\nmeasures:\n- {name: a, by: [workflow], every: 10s, window: 25s}\n"
                     "- {name: b, of: duration_ms, by: [workflow], every: 10s, window: 25s}\n"
                     "- {name: c, of: host, by: [labels.team], on: run}\n"
                     "detectors: [{name: d, type: zscore, measure: b}]\n"
                     "rules:\n- {name: r, on: bucket, measure: a, when: 'count > 2.0 && d.anomaly'}\n"
                     "- {name: q, on: bucket, measure: a, when: 'count > 2.0 || b.mean > 5.0'}\n"
                     "- {name: e, when: 'state == \"failed\"', by: [task]}\n"
                     "alerts: {rest: 3m}\n");

    assert_int_equal(plan->group_count, 2);
    assert_int_equal(plan->groups[0].measure_count, 2);
    assert_true(plan->groups[0].pane_us == 5000000);
    assert_int_equal(plan->measures[1].place, 1);
    assert_int_equal(plan->measures[0].shape.statistics, 1 << STAT_COUNT);
    assert_int_equal(plan->measures[1].shape.statistics, 1 << STAT_COUNT | 1 << STAT_MEAN | 1 << STAT_P95);
    assert_int_equal(plan->measures[2].shape.statistics, 1 << STAT_COUNT | 1 << STAT_DISTINCT);
    assert_true(plan->groups[1].on_run && plan->wants_runs);
    assert_string_equal(plan->labels.names[0], "team");
    assert_int_equal(plan->detectors[0].statistic, STAT_COUNT);
    assert_true(plan->detectors[0].empty == 0);
    assert_int_equal(plan->groups[0].rule_count, 2);
    assert_false(plan->rules[0].defined_on_empty); /* reads the detector */
    assert_false(plan->rules[1].defined_on_empty); /* reads a mean */
    assert_int_equal(plan->policy_count, 4);
    assert_true(plan->policies[2].momentary && plan->policies[2].keep_firing_us == 180000000);
    assert_false(plan->policies[0].momentary);
    assert_true(plan->longest_window_us == 60000000);
    plan_free(plan);
}

/* A field and the label of its name are different keys, also of stored state. */
static void test_identities(void **state)
{
    struct plan *field = plan_of(BASE "measures: [{name: m, by: [workflow]}]\n"
                                      "rules: [{name: r, when: 'true', by: [workflow]}]\n");
    struct plan *label = plan_of(BASE "measures: [{name: m, by: [labels.workflow]}]\n"
                                      "rules: [{name: r, when: 'true', by: [labels.workflow]}]\n");

    assert_int_not_equal(field->groups[0].identity, label->groups[0].identity);
    assert_int_not_equal(field->rules[0].identity, label->rules[0].identity);
    plan_free(label);
    plan_free(field);
}

static void test_watch(void **state)
{
    struct plan *plan = plan_of(BASE "http: {listen: \"\"}\nwatch: true\nalerts: {rest: 3m}\n"
                                     "rules: [{name: r, when: 'true'}]\n");

    (void)state;
    assert_true(plan->wants_runs);
    assert_int_equal(plan->watch_policy, 1);
    assert_int_equal(plan->policy_count, 1 + watch_signal_count());
    for (unsigned i = 0; watch_signals[i]; i++) {
        const struct alert_policy *policy = &plan->policies[1 + i];

        assert_true(span_is(policy->name, watch_signals[i]->rule.name));
        assert_true(policy->keep_firing_us == (watch_signals[i]->rule.rests ? 180000000 : 0));
    }
    plan_free(plan);
}

/* What the watch tells once holds for days. */
static void test_watch_expires_late(void **state)
{
    static const struct {
        const char *expire;
        int64_t days;
    } cases[] = {{"0s", 0}, {"1h", 7}, {"30d", 30}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[512];

        snprintf(yaml, sizeof yaml, BASE "watch: true\nalerts: {expire: %s}\n", cases[i].expire);
        struct plan *plan = plan_of(yaml);

        for (unsigned rule = 0; rule < watch_signal_count(); rule++)
            assert_int_equal(plan->policies[plan->watch_policy + rule].expire_us,
                             cases[i].days * 86400 * 1000000);
        plan_free(plan);
    }
}

/* Who gets the alerts: all receivers, those that are named, or nobody. */
static void test_receivers(void **state)
{
    static const char *const to[] = {"", "alerts: {to: [chat]}\n", "alerts: {to: []}\n"};
    static const unsigned expected[][3] = {{1, 1, 1}, {1, 0, 1}, {1, 0, 0}};

    for (size_t i = 0; i < sizeof to / sizeof *to; i++) {
        char *text = NULL;

        assert_true(asprintf(&text,
                             BASE "sinks: [{name: console, type: stdout, send: [alerts]}]\n"
                                  "receivers:\n- {name: ops, type: webhook, url: 'http://x'}\n"
                                  "- {name: chat, type: webhook, url: 'http://y'}\n%s",
                             to[i]) > 0);
        struct plan *plan = plan_of(text);
        struct plan_sink *receiver;
        struct error error;

        assert_int_equal(plan->sink_count, 3);
        for (unsigned k = 0; k < 3; k++) {
            assert_int_equal(plan->sinks[k].kinds, expected[i][k] << DOC_ALERT);
            assert_int_equal(plan->sinks[k].receiver, k > 0);
        }
        assert_int_equal(plan->alerts.notify_max_age, 900000000);
        assert_int_equal(plan_find_receiver(plan, "chat", &receiver, &error), STATUS_OK);
        assert_ptr_equal(receiver, &plan->sinks[2]);
        assert_int_equal(plan_find_receiver(plan, "console", &receiver, &error), STATUS_FATAL);
        plan_free(plan);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_watch_expires_late),
        cmocka_unit_test(test_receivers),
        cmocka_unit_test(test_identities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
