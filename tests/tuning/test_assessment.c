/* Alerts against incidents: a case counted by hand, and random ones against the project's scorer. */
#include "tests/tuning/support.h"

#include <stdio.h>

enum { BUCKETS = 600 };

static void fill(struct history *history, const struct plan *plan, unsigned series)
{
    char name[2] = "a";

    history_init(history, &plan->measures[0], STAT_MEAN);
    for (unsigned s = 0; s < series; s++)
        for (unsigned i = 1; i <= BUCKETS; i++) {
            name[0] = (char)('a' + s);
            add_bucket(history, name, T0_US + i * MINUTE_US, i, 1);
        }
    history_settle(history);
}

static void add_incident(struct labels *labels, const char *target, int from, int to, bool ignore)
{
    char line[200];

    snprintf(line, sizeof line, "{\"start\":%lld,\"end\":%lld,\"target\":\"%s\"%s}",
             (long long)(T0_US / 1000000 + from * 60), (long long)(T0_US / 1000000 + to * 60), target,
             ignore ? ",\"ignore\":true" : "");
    add_label(labels, line);
}

static struct trial_alert alert_at(uint32_t series, int minute)
{
    return (struct trial_alert){.series = series, .at_us = T0_US + minute * MINUTE_US};
}

/* Incidents of series a at 10-20 (found at 12 and again), 100-110 (found within the grace), 200-210
 * (missed), of b at 100-110 (missed), an ignored one of b. */
static void counts_as_by_hand(void **state)
{
    struct plan *plan = plan_of(measure_yaml);
    struct trial_alert items[] = {alert_at(0, 12),  alert_at(0, 15),  alert_at(0, 50), alert_at(0, 113),
                                  alert_at(0, 216), alert_at(1, 400), alert_at(1, 99)};
    struct trial_alerts alerts = {.items = items, .count = 7};
    static const uint8_t expected[] = {ALERT_RIGHT, ALERT_REPEAT,  ALERT_FALSE, ALERT_RIGHT,
                                       ALERT_FALSE, ALERT_EXCUSED, ALERT_FALSE};
    struct history history;
    struct labels labels = {0};
    struct truth truth;
    struct assessment assessment;
    struct tally sum = {0};

    fill(&history, plan, 2);
    add_incident(&labels, "a/x", 10, 20, false);
    add_incident(&labels, "a*", 100, 110, false);
    add_incident(&labels, "a/x", 200, 210, false);
    add_incident(&labels, "b/x", 100, 110, false);
    add_incident(&labels, "b/x", 390, 410, true);
    add_incident(&labels, "c/x", 100, 110, false);
    add_incident(&labels, "a/x", 5000, 5010, false);
    truth_make(&truth, &history, &labels, false, 5 * MINUTE_US, 0);
    assert_int_equal(truth.outside, 1);
    assert_int_equal(truth.without_series, 1);
    assessment_make(&truth, &alerts, &assessment);
    assert_memory_equal(assessment.alerts, expected, sizeof expected);
    for (unsigned part = 0; part < PARTS; part++)
        tally_add(&sum, &assessment.parts[part]);
    assert_int_equal(sum.incidents, 4);
    assert_int_equal(sum.found, 2);
    assert_int_equal(sum.alerts, 7);
    assert_int_equal(sum.false_alerts, 3);
    assert_int_equal(sum.repeats, 1);
    assert_int_equal(sum.ignored, 1);
    assert_near(sum.delay_s, 2 * 60 + 13 * 60, 1e-9);
    assert_near(tally_recall(&sum), 0.5, 1e-12);
    assert_near(tally_precision(&sum), 0.4, 1e-12);
    assert_near(tally_f1(&sum), 2 * 0.5 * 0.4 / 0.9, 1e-12);
    assessment_free(&assessment);
    truth_free(&truth);
    labels_free(&labels);
    history_free(&history);
    plan_free(plan);
}

/* What the scorer prints of these files. False: it is not here. */
static bool ask_scorer(const char *incidents, const char *alerts, int64_t from_us, int64_t to_us,
                       double ret_figures[4])
{
    const char *shared = getenv("WEIR_SHARED");
    char command[1024], answer[4096] = "";
    static const char *const names[] = {"\"incidents\": ", "\"found\": ", "\"false_alerts\": ", "\"f1\": "};

    snprintf(command, sizeof command,
             "python3 %s/tools/alert_score.py %s %s --from %.6f --to %.6f --grace 300 --json 2>/dev/null",
             shared ? shared : "../shared", incidents, alerts, (double)from_us / 1e6, (double)to_us / 1e6);
    FILE *pipe = popen(command, "r");
    size_t size = pipe ? fread(answer, 1, sizeof answer - 1, pipe) : 0;

    if (pipe)
        pclose(pipe);
    for (int i = 0; i < 4 && size; i++) {
        const char *place = strstr(answer, names[i]);

        assert_non_null(place);
        ret_figures[i] = strtod(place + strlen(names[i]), NULL);
    }
    return size > 0;
}

static void write_files(const struct folder *folder, const struct history *history,
                        const struct labels *labels, const struct trial_alerts *alerts)
{
    struct buffer out;

    buffer_init(&out, 1 << 20);
    for (size_t i = 0; i < labels->count; i++)
        buffer_print(&out, "{\"start\":%.6f,\"end\":%.6f,\"target\":\"%s\",\"ignore\":%s}\n",
                     (double)labels->items[i].start_us / 1e6, (double)labels->items[i].end_us / 1e6,
                     labels->items[i].targets[0], labels->items[i].ignore ? "true" : "false");
    folder_put(folder, "incidents", out.data, out.size);
    buffer_clear(&out);
    for (size_t i = 0; i < alerts->count; i++)
        buffer_print(&out, "{\"at\":%.6f,\"target\":\"%s\",\"state\":\"firing\"}\n",
                     (double)alerts->items[i].at_us / 1e6, history->series[alerts->items[i].series].target);
    folder_put(folder, "alerts", out.data, out.size);
    buffer_free(&out);
}

/* Part by part in time, each asked of the scorer as a span of its own. */
static void counts_as_the_scorer(void **state)
{
    struct plan *plan = plan_of(measure_yaml);
    struct folder folder;
    struct history history;
    uint64_t seed = 11;

    folder_open(&folder);
    fill(&history, plan, 3);
    for (int round = 0; round < 4; round++) {
        struct trial_alert items[60];
        struct trial_alerts alerts = {.items = items, .count = 5 + random_below(&seed, 50)};
        struct labels labels = {0};
        struct truth truth;
        struct assessment assessment;
        double figures[4];

        for (int i = 0, minute = 5; i < 14; i++, minute += 20 + (int)random_below(&seed, 30)) {
            char target[4] = "a/x";

            target[0] = (char)('a' + random_below(&seed, 3));
            add_incident(&labels, target, minute, minute + 2 + (int)random_below(&seed, 25), i % 5 == 4);
        }
        for (size_t i = 0; i < alerts.count; i++) /* by series, then in time, as a trial gives them */
            items[i] = alert_at((uint32_t)(i * 3 / alerts.count), (int)(i * 37 % 600) + 1);
        write_files(&folder, &history, &labels, &alerts);
        truth_make(&truth, &history, &labels, false, 5 * MINUTE_US, 0);
        assessment_make(&truth, &alerts, &assessment);
        int64_t from_us = T0_US;
        for (unsigned part = 0; part < PARTS; part++) {
            const struct tally *tally = &assessment.parts[part];
            int64_t to_us = part == PART_HELD ? T0_US + 100000 * MINUTE_US : truth.part_end_us[part];

            if (!ask_scorer(folder_path(&folder, "incidents"), folder_path(&folder, "alerts"), from_us, to_us,
                            figures))
                skip();
            assert_int_equal(tally->incidents, (int)figures[0]);
            assert_int_equal(tally->found, (int)figures[1]);
            assert_int_equal(tally->false_alerts, (int)figures[2]);
            assert_near(tally_f1(tally), figures[3], 1e-9);
            from_us = to_us + 1;
        }
        assessment_free(&assessment);
        truth_free(&truth);
        labels_free(&labels);
    }
    history_free(&history);
    folder_close(&folder);
    plan_free(plan);
}

/* No incident lies in two parts; parts of series hold what was dealt to them. */
static void parts_do_not_cut_incidents(void **state)
{
    struct plan *plan = plan_of(measure_yaml);
    struct history history;
    struct labels labels = {0};
    struct truth truth;
    unsigned counts[PARTS] = {0};

    fill(&history, plan, 18);
    for (int i = 0; i < 18; i++)
        add_incident(&labels, "a/x", 10 + 30 * i, 10 + 30 * i + 20, false);
    truth_make(&truth, &history, &labels, false, 5 * MINUTE_US, 0);
    assert_true(truth.held);
    for (size_t i = 0; i < labels.count; i++) {
        unsigned part = truth_part(&truth, 0, labels.items[i].start_us);

        assert_int_equal(part, truth_part(&truth, 0, labels.items[i].end_us + 5 * MINUTE_US));
        counts[part]++;
    }
    for (unsigned part = 0; part < PARTS; part++)
        assert_int_equal(counts[part], part == PART_HELD ? 6 : 4); /* two, two, two and three ninths */
    truth_free(&truth);
    truth_make(&truth, &history, &labels, true, 5 * MINUTE_US, 0);
    memset(counts, 0, sizeof counts);
    double days = 0;
    for (uint32_t s = 0; s < history.count; s++)
        counts[truth_part(&truth, s, 0)]++;
    for (unsigned part = 0; part < PARTS; part++) {
        assert_int_equal(counts[part], part == PART_HELD ? 6 : 4);
        days += truth.part_days[part];
    }
    assert_near(days, (BUCKETS - 1) / 1440.0, 1e-9);
    truth_free(&truth);
    labels_free(&labels);
    history_free(&history);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_as_by_hand),
        cmocka_unit_test(counts_as_the_scorer),
        cmocka_unit_test(parts_do_not_cut_incidents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
