/* A run, another configuration, and a run that goes on from the first one's store: what changed, what did
 * not. */
#include "pipeline/engine.h"
#include "tests/pipeline/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_S = 1000000, CHANGE_S = 1000095, END_S = 1000200, PATH_BYTES = 256 };

static const char head[] =
    "name: t\n"
    "workers: 1\n" /* reads, closes and tells in turn: what fires before the last cut is certain */
    "batch_rows: 1\n"
    "store: {path: t.db}\n"
    "http: {listen: \"\"}\n"
    "time: {lateness: 2s, max_skew: 3650d}\n"
    "formats: [{name: f, type: fields, map: {time: {path: ts, unit: s}, workflow: w, value: v}}]\n"
    "sources: [{name: s, type: file, path: in.jsonl, format: f}]\n"
    "sinks: [{name: out, type: file, path: out.jsonl, send: [buckets, alerts]}]\n";
static const char same[] =
    "  - {name: same, by: [workflow], every: 10s, of: value, statistics: [count, mean]}\n"
    "detectors: [{name: d, type: zscore, measure: same, statistic: mean, half_life: 30s}]\n";

struct run {
    struct folder folder;
    char text[4096];
};

static void put_rows(const struct run *run, int until_s)
{
    struct buffer text;

    buffer_init(&text, 1 << 20);
    for (int time_s = FIRST_S; time_s < until_s; time_s++)
        buffer_print(&text, "{\"ts\":%d,\"w\":\"a\",\"v\":%d}\n", time_s, time_s % 10);
    folder_put(&run->folder, "in.jsonl", text.data, text.size);
    buffer_free(&text);
}

static void go(struct run *run, const char *parts)
{
    struct engine_options options = {.mode = ENGINE_ONCE, .quiet = true};
    struct engine *engine;
    struct error error = {0};
    struct plan *plan;
    enum status status;

    snprintf(run->text, sizeof run->text, "%s%s", head, parts);
    if (plan_try(&run->folder, run->text, NULL, &plan, &error) != STATUS_OK ||
        engine_start(plan, &options, &engine, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    while ((status = engine_wait(engine, 1000, &error)) == STATUS_RETRY)
        continue;
    if (status != STATUS_OK)
        fail_msg("%s", error.text);
    engine_stop(engine);
    engine_free(engine);
    plan_free(plan);
}

/* Lines of the output that hold both texts. */
static unsigned lines_with(const struct run *run, const char *one, const char *other)
{
    size_t size;
    char *text = folder_get(&run->folder, "out.jsonl", &size), *line, *rest = text;
    unsigned found = 0;

    while ((line = strsep(&rest, "\n")))
        found += strstr(line, one) && strstr(line, other);
    free(text);
    return found;
}

static void test_changed_measure(void **state)
{
    struct run run;
    char old[1024], new[1024], *changed, *undisturbed;
    size_t size, other_size;

    folder_open(&run.folder);
    snprintf(old, sizeof old,
             "measures:\n  - {name: m, by: [workflow], every: 10s, where: 'value > 0.0'}\n%s", same);
    snprintf(new, sizeof new,
             "measures:\n  - {name: m, by: [workflow], every: 10s, where: 'value > 5.0'}\n%s", same);
    put_rows(&run, CHANGE_S);
    go(&run, old);
    put_rows(&run, END_S);
    go(&run, new);
    assert_int_equal(lines_with(&run, "\"measure\":\"m\"", "\"count\":9,"),
                     10); /* the last began before the change */
    assert_int_equal(lines_with(&run, "\"measure\":\"m\"", "\"count\":4,"), 9);
    assert_int_equal(lines_with(&run, "\"measure\":\"m\"", "{"), 19);
    assert_int_equal(lines_with(&run, "\"measure\":\"same\"", "\"count\":10,"), 19);

    /* once more from nothing, without a change: the other measure and its scores are the same */
    changed = folder_get(&run.folder, "out.jsonl", &size);
    remove(folder_path(&run.folder, "t.db"));
    remove(folder_path(&run.folder, "out.jsonl"));
    go(&run, old);
    undisturbed = folder_get(&run.folder, "out.jsonl", &other_size);
    for (char *line, *rest = undisturbed; (line = strsep(&rest, "\n"));)
        if (strstr(line, "\"measure\":\"same\""))
            assert_non_null(strstr(changed, line));
    free(changed);
    free(undisturbed);
    folder_close(&run.folder);
}

static void test_removed_rule(void **state)
{
    struct run run;
    char with[1024];

    folder_open(&run.folder);
    snprintf(with, sizeof with,
             "measures:\n%srules:\n"
             "  - {name: busy, on: bucket, measure: same, when: 'count > 5'}\n"
             "  - {name: often, on: bucket, measure: same, when: 'count > 6'}\n",
             same);
    put_rows(&run, CHANGE_S);
    go(&run, with);
    *strstr(with, "  - {name: often") = '\0';
    put_rows(&run, END_S);
    go(&run, with);
    assert_int_equal(lines_with(&run, "\"rule\":\"often\"", "\"state\":\"firing\""), 1);
    assert_int_equal(lines_with(&run, "\"rule\":\"often\"", "\"reason\":\"removed\""), 1);
    assert_int_equal(lines_with(&run, "\"rule\":\"busy\"", "\"reason\":\"removed\""), 0);
    folder_close(&run.folder);
}

/* Another condition ends what it does not hold for; another measure's keys end what was open on the old. */
static void test_changed_rules(void **state)
{
    static const char rules[] =
        "measures:\n%s  - {name: m, by: [workflow], every: 10s, where: 'value > %s'}\nrules:\n"
        "  - {name: busy, on: bucket, measure: same, when: 'count > %d'}\n"
        "  - {name: often, on: bucket, measure: m, when: 'count > 3'}\n";
    struct run run;
    char same_measure[256], text[1024];

    snprintf(same_measure, sizeof same_measure, "%.*s", (int)(strchr(same, '\n') + 1 - same), same);
    folder_open(&run.folder);
    put_rows(&run, CHANGE_S);
    snprintf(text, sizeof text, rules, same_measure, "0.0", 5);
    go(&run, text);
    assert_int_equal(lines_with(&run, "\"state\":\"firing\"", "{"), 2);
    assert_int_equal(lines_with(&run, "\"state\":\"resolved\"", "{"), 0);
    put_rows(&run, END_S);
    snprintf(text, sizeof text, rules, same_measure, "5.0", 500);
    go(&run, text);
    assert_int_equal(lines_with(&run, "\"rule\":\"busy\"", "\"state\":\"resolved\",\"reason\":\"condition\""),
                     1);
    assert_int_equal(lines_with(&run, "\"rule\":\"busy\"", "\"state\":\"firing\""), 1);
    assert_int_equal(lines_with(&run, "\"rule\":\"often\"", "\"state\":\"resolved\",\"reason\":\"removed\""),
                     1);
    assert_int_equal(lines_with(&run, "\"rule\":\"often\"", "\"state\":\"firing\""), 2);
    folder_close(&run.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed_measure),
        cmocka_unit_test(test_removed_rule),
        cmocka_unit_test(test_changed_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
