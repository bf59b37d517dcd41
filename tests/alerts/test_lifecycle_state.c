/* The alerts' life through cuts and restarts: what was restored tells the same lines as what was cut; rules
 * that are gone are resolved; damaged values never do harm. */
#include "alerts/lifecycle.h"
#include "base/memory.h"
#include "tests/base/random.h"
#include "tests/base/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000000, STEPS = 4000, SEEDS = 6, KEYS = 900 };

static const struct alert_policy policies[] = {
    {.name = SPAN_LITERAL("moments"), .keep_firing_us = 7 * SECOND, .momentary = true},
    {.name = SPAN_LITERAL("slow"),
     .for_us = 10 * SECOND,
     .keep_firing_us = 5 * SECOND,
     .expire_us = 90 * SECOND},
    {.name = SPAN_LITERAL("plain"), .expire_us = 40 * SECOND},
};

struct rig {
    struct lifecycle *lifecycle;
    struct buffer told;
};

static struct rig *rig_open(const struct alert_policy *of, size_t count)
{
    struct rig *rig = memory_new(sizeof *rig);

    rig->lifecycle = lifecycle_new(of, count);
    buffer_init(&rig->told, 1 << 24);
    return rig;
}

static void rig_close(struct rig *rig)
{
    lifecycle_free(rig->lifecycle);
    buffer_free(&rig->told);
    free(rig);
}

/* Every member. */
static void tell(void *owner, const struct alert *alert)
{
    alert_pack(alert, &((struct rig *)owner)->told);
}

static struct condition condition_of(unsigned key, bool outcome, int64_t at_us)
{
    struct condition condition = {
        .policy = key % 3, .outcome = outcome ? CONDITION_TRUE : CONDITION_FALSE, .at_us = at_us};

    condition.evidence.dedup.low = key;
    condition.evidence.label_count = 1;
    condition.evidence.labels[0] = (struct alert_label){SPAN_LITERAL("workflow"), SPAN_LITERAL("w")};
    condition.evidence.actual = key * 0.5;
    condition.evidence.severity = SEVERITY_ERROR;
    return condition;
}

/* Step i of a seed: always the same. */
static void step(struct rig *rig, uint64_t seed, unsigned i)
{
    uint64_t random = seed * 1000003 + i;
    unsigned key = (unsigned)random_below(&random, KEYS);
    int64_t at_us = i * (int64_t)SECOND / 20 + (int64_t)random_below(&random, 3 * SECOND);
    struct condition condition = condition_of(key, key % 3 == 0 || random_below(&random, 3) > 0, at_us);
    char text[32];

    snprintf(text, sizeof text, "summary %u", i);
    condition.evidence.summary = span_of(text);
    condition.offset = i;
    if (key % 3 == 2 && random_below(&random, 3) == 0)
        condition.outcome = CONDITION_EXPECTED;
    if (random_below(&random, 2))
        lifecycle_prompt(rig->lifecycle, &condition, tell, rig);
    lifecycle_take(rig->lifecycle, &condition);
    if (random_below(&random, 10) == 0)
        lifecycle_advance(rig->lifecycle, i * (int64_t)SECOND / 20, false, tell, rig);
}

static void restore(struct rig *rig, const struct values *values, int64_t at_us)
{
    struct error error;

    for (size_t i = 0; i < values->count; i++)
        if (lifecycle_restore(rig->lifecycle, &values->items[i].key, value_span(&values->items[i]), &error) !=
            STATUS_OK)
            fail_msg("%s", error.text);
    lifecycle_restored(rig->lifecycle, at_us, tell, rig);
}

static struct rig *restart(const struct rig *rig, const struct values *values, uint64_t seed, unsigned cut,
                           unsigned end)
{
    struct rig *next = rig_open(policies, 3);
    struct lifecycle_figures a, b;

    restore(next, values, 0);
    assert_int_equal(next->told.size, 0);
    for (unsigned i = cut; i < end; i++)
        step(next, seed, i);
    assert_true(span_equal(buffer_span(&rig->told), buffer_span(&next->told)));
    lifecycle_figures(rig->lifecycle, &a);
    lifecycle_figures(next->lifecycle, &b);
    assert_true(a.pending == b.pending && a.firing == b.firing && a.held == b.held);
    return next;
}

static void test_restarts(void **state)
{
    unsigned restarts = 0, told = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct values values = {0};
        struct saver saver = values_saver(&values);
        struct rig *rig = rig_open(policies, 3);
        uint64_t random = seed, number = 0;
        unsigned cut = 0;
        bool saving = false;

        for (unsigned i = 0; i < STEPS; i++) {
            if (!saving && random_below(&random, 100) == 0) {
                lifecycle_freeze(rig->lifecycle, &saver, ++number);
                buffer_clear(&rig->told);
                cut = i;
                saving = true;
            }
            step(rig, seed, i);
            if (!saving || random_below(&random, 10) ||
                !lifecycle_save(rig->lifecycle, random_below(&random, 20000)))
                continue;
            struct rig *next = restart(rig, &values, seed, cut, i + 1);
            bool goes_on = random_below(&random, 2);
            saving = false;
            restarts++;
            told += rig->told.size > 0;
            rig_close(goes_on ? rig : next);
            rig = goes_on ? next : rig;
            for (size_t n = 0; n < values.count; n++) /* those of older cuts were dropped */
                assert_true(values.items[n].key.kind != STATE_CONDITIONS ||
                            values.items[n].key.part == number);
        }
        rig_close(rig);
        buffer_free(&saver.bytes);
        values_free(&values);
    }
    assert_true(restarts > 10 * SEEDS && told > 5 * SEEDS);
}

static void save_all(struct rig *rig, struct values *values, uint64_t cut)
{
    struct saver saver = values_saver(values);

    lifecycle_freeze(rig->lifecycle, &saver, cut);
    assert_true(lifecycle_save(rig->lifecycle, SIZE_MAX));
    buffer_free(&saver.bytes);
}

static void test_unchanged_is_not_saved(void **state)
{
    struct rig *rig = rig_open(policies, 3), *next = rig_open(policies, 3);
    struct values values = {0};

    for (unsigned i = 0; i < 500; i++)
        step(rig, 1, i);
    save_all(rig, &values, 1);
    restore(next, &values, 0);
    values.puts = 0;
    save_all(next, &values, 2);
    assert_int_equal(values.puts, 1); /* the conditions of the cut */
    rig_close(rig);
    rig_close(next);
    values_free(&values);
}

struct lines {
    struct buffer text;
};

static void tell_line(void *owner, const struct alert *alert)
{
    buffer_print(&((struct lines *)owner)->text, "%llu:%.*s:%s/%s@%lld ",
                 (unsigned long long)alert->dedup.low, (int)alert->rule.size, alert->rule.data,
                 alert_state_names[alert->state], alert_reason_names[alert->reason],
                 (long long)(alert->at_us / SECOND));
}

static void assert_lines(struct lines *lines, const char *expected)
{
    if (!span_is(buffer_span(&lines->text), expected))
        fail_msg("%.*s, expected %s", (int)lines->text.size, lines->text.data, expected);
    buffer_clear(&lines->text);
}

/* Another order, a rule gone, another time to keep firing. */
static void test_changed_policies(void **state)
{
    static const struct alert_policy changed[] = {
        {.name = SPAN_LITERAL("new")},
        {.name = SPAN_LITERAL("plain"), .expire_us = 60 * SECOND},
        {.name = SPAN_LITERAL("moments"), .keep_firing_us = 20 * SECOND, .momentary = true},
    };
    struct lifecycle *before = lifecycle_new(policies, 3), *after = lifecycle_new(changed, 3);
    struct rig rig = {.lifecycle = before};
    struct values values = {0};
    struct lines lines;
    struct error error;
    struct lifecycle_figures figures;

    buffer_init(&lines.text, 1 << 16);
    for (unsigned key = 0; key < 3; key++) {
        struct condition now = condition_of(key, true, 10 * SECOND), later = now;

        later.at_us = 12 * SECOND;
        lifecycle_take(before, &now);
        lifecycle_take(before, &later);
    }
    lifecycle_advance(before, 11 * SECOND, false, tell_line, &lines);
    assert_lines(&lines,
                 "0:moments:firing/condition@10 1:slow:pending/condition@10 2:plain:firing/condition@10 ");
    save_all(&rig, &values, 1);
    for (size_t i = 0; i < values.count; i++)
        assert_int_equal(lifecycle_restore(after, &values.items[i].key, value_span(&values.items[i]), &error),
                         STATUS_OK);
    lifecycle_restored(after, 11 * SECOND, tell_line, &lines);
    assert_lines(&lines, "1:slow:resolved/removed@11 ");
    lifecycle_figures(after, &figures);
    assert_true(figures.held == 2 && figures.firing == 2 && figures.pending == 0);
    assert_true(lifecycle_is_open(after, (struct id128){.low = 0}));
    assert_false(lifecycle_is_open(after, (struct id128){.low = 1}));
    lifecycle_advance(after, 100 * SECOND, false, tell_line, &lines);
    assert_lines(&lines, "0:moments:resolved/expired@32 2:plain:resolved/expired@72 ");
    lifecycle_free(before);
    lifecycle_free(after);
    buffer_free(&lines.text);
    values_free(&values);
}

/* An episode that changes alone between two cuts. */
static void test_kept_between_cuts(void **state)
{
    struct rig *rig = rig_open(policies, 3), *next = rig_open(policies, 3);
    struct condition begun = condition_of(1, true, 10 * SECOND), fires = begun, ends = begun;
    struct values values = {0};
    struct lines lines;

    fires.at_us = 20 * SECOND;
    ends.at_us = 30 * SECOND;
    ends.outcome = CONDITION_FALSE;
    lifecycle_take(rig->lifecycle, &begun);
    lifecycle_take(rig->lifecycle, &fires);
    lifecycle_advance(rig->lifecycle, 29 * SECOND, false, tell, rig);
    save_all(rig, &values, 1);
    lifecycle_take(rig->lifecycle, &ends);
    lifecycle_advance(rig->lifecycle, 31 * SECOND, false, tell, rig);
    save_all(rig, &values, 2);
    restore(next, &values, 0);
    buffer_init(&lines.text, 1 << 16);
    lifecycle_advance(next->lifecycle, 100 * SECOND, false, tell_line, &lines);
    assert_lines(&lines, "1:slow:resolved/condition@35 ");
    rig_close(rig);
    rig_close(next);
    buffer_free(&lines.text);
    values_free(&values);
}

static void count_prompted(void *owner, const struct alert *alert)
{
    unsigned *counts = owner;

    counts[0] += alert->prompt;
    counts[1] += alert->state == ALERT_FIRING && !alert->prompt;
    counts[2] += alert->prompted;
}

/* What receivers know up to 50 s is not prompted again, and is no prompt for the lines until then. */
static void test_told(void **state)
{
    struct rig *rig = rig_open(policies, 3);
    static const int64_t seconds[] = {10, 40, 70};
    unsigned counts[3] = {0};

    lifecycle_told(rig->lifecycle, condition_of(0, true, 0).evidence.dedup, 50 * SECOND);
    for (unsigned i = 0; i < 3; i++) {
        struct condition condition = condition_of(0, true, seconds[i] * SECOND);

        lifecycle_prompt(rig->lifecycle, &condition, count_prompted, counts);
        lifecycle_take(rig->lifecycle, &condition);
        lifecycle_advance(rig->lifecycle, (seconds[i] + 20) * SECOND, false, count_prompted, counts);
        assert_int_equal(counts[1], i + 1);
        assert_int_equal(counts[0], i == 2);
        assert_int_equal(counts[2], i == 2);
    }
    rig_close(rig);
}

static void restore_damaged(void *owner, const struct state_key *key, struct span bytes)
{
    struct rig *rig = rig_open(policies, 3);
    struct error error;
    enum status status = lifecycle_restore(rig->lifecycle, key, bytes, &error);

    assert_true(status == STATUS_OK || status == STATUS_FATAL);
    if (status == STATUS_OK) {
        lifecycle_restored(rig->lifecycle, 50 * SECOND, tell, rig);
        for (unsigned i = 0; i < 20; i++)
            step(rig, 1, i);
        lifecycle_advance(rig->lifecycle, 100 * SECOND, true, tell, rig);
    }
    ++((unsigned *)owner)[status == STATUS_OK];
    rig_close(rig);
}

static void test_damage(void **state)
{
    struct rig *rig = rig_open(policies, 3);
    struct values values = {0};
    unsigned outcomes[2] = {0};

    for (unsigned i = 0; i < 8; i++)
        step(rig, 1, i);
    lifecycle_advance(rig->lifecycle, 2 * SECOND, false, tell, rig);
    save_all(rig, &values, 1);
    assert_int_equal(values.count, 2);
    for (size_t i = 0; i < values.count; i++)
        value_damage(&values.items[i], restore_damaged, outcomes);
    assert_true(outcomes[0] > 0 && outcomes[1] > 0);
    rig_close(rig);
    values_free(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_unchanged_is_not_saved),
        cmocka_unit_test(test_changed_policies),
        cmocka_unit_test(test_kept_between_cuts),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
