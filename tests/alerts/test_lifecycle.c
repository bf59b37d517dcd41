/* The life of an alert as a table of scripts, then the promise that neither the order of arrival nor the
 * times of the advances change what is told. */
#include "alerts/lifecycle.h"
#include "base/memory.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000000, KEYS = 5, CONDITIONS = 80 };

/* What came out, as text: "a:firing@10 a:resolved@20/condition", a letter a key, times in seconds. */
struct told {
    struct buffer text;
    struct id128 episodes[26]; /* of the key's open episode */
    uint64_t revisions[26];    /* next one */
    bool with_ids;
};

static void told_init(struct told *told)
{
    *told = (struct told){0};
    buffer_init(&told->text, 1 << 20);
}

static void tell(void *owner, const struct alert *alert)
{
    struct told *told = owner;
    unsigned key = (unsigned)alert->dedup.low - 'a';
    char hex[ID_HEX_SIZE];

    assert_true(key < 26);
    assert_true(alert->revision == told->revisions[key]);
    assert_true(id_equal(alert->id, alert_line_id(alert->episode, alert->revision)));
    if (alert->revision > 0)
        assert_true(id_equal(alert->episode, told->episodes[key]));
    told->episodes[key] = alert->episode;
    told->revisions[key] = alert->state == ALERT_RESOLVED ? 0 : alert->revision + 1;
    assert_true(alert->starts_us <= alert->at_us);
    assert_true(alert->ends_us == (alert->state == ALERT_RESOLVED ? alert->at_us : TIME_NONE));
    assert_true(span_is(alert->rule, "rule"));
    assert_true(span_is(alert->workflow, "a text of its own"));
    buffer_print(&told->text, "%s%c:%s@%lld", told->text.size ? " " : "", (char)alert->dedup.low,
                 alert_state_names[alert->state], (long long)(alert->at_us / SECOND));
    if (alert->state == ALERT_RESOLVED)
        buffer_print(&told->text, "/%s", alert_reason_names[alert->reason]);
    if (told->with_ids) {
        id_format(alert->id, hex);
        buffer_print(&told->text, " %.32s %lld", hex, (long long)alert->starts_us);
    }
}

static struct condition condition_of(char key, bool outcome, int64_t at_s)
{
    struct condition condition = {.outcome = outcome ? CONDITION_TRUE : CONDITION_FALSE,
                                  .at_us = at_s * SECOND};

    condition.evidence.dedup.low = (uint64_t)key;
    condition.evidence.ends_us = TIME_NONE;
    return condition;
}

/* The text of the evidence is gone right after the call. */
static void take(struct lifecycle *lifecycle, struct condition condition)
{
    static const char text[] = "a text of its own";
    char *copy = memory_text(text, sizeof text - 1);

    condition.evidence.workflow = span_of(copy);
    lifecycle_take(lifecycle, &condition);
    free(copy);
}

static void take_script(struct lifecycle *lifecycle, const char *script)
{
    for (int64_t offset = 0; *script; offset++) {
        char outcome = *script++, *end;
        long at_s = strtol(script, &end, 10);
        struct condition condition = condition_of(*end, outcome == 'T', at_s);

        condition.offset = offset;
        take(lifecycle, condition);
        script = end + 1;
        script += *script == ' ';
    }
}

// clang-format off
static const struct script_case {
    const char *name;
    int64_t for_s, keep_s, expire_s;
    bool momentary;
    const char *script; /* T or F, seconds, key */
    int64_t until_s;
    bool final;
    const char *expected;
} cases[] = {
    {"true then false", 0, 0, 0, false, "T10a F20a", 100, false, "a:firing@10 a:resolved@20/condition"},
    {"goes on", 0, 0, 0, false, "T10a T20a T30a", 100, true, "a:firing@10"},
    {"false alone", 0, 0, 0, false, "F10a", 100, true, ""},
    {"again is a new episode", 0, 0, 0, false, "T10a F20a T30a", 100, true,
     "a:firing@10 a:resolved@20/condition a:firing@30"},
    {"again at the same moment is not", 0, 0, 0, false, "T10a F10a F10a T10a T10b F20a", 100, true,
     "a:firing@10 b:firing@10 a:resolved@20/condition"},
    {"over at the moment of its beginning", 0, 0, 0, false, "T10a F10a T10b F10b F10b", 100, true,
     "a:firing@10 a:resolved@10/condition b:firing@10 b:resolved@10/condition"},
    {"an older one ends, and another begins there once", 0, 0, 0, false, "T5a F10a T10a F10a T10a", 100, true,
     "a:firing@5 a:resolved@10/condition a:firing@10"},
    {"pending again at the same moment is not", 20, 0, 0, false, "T10a F10a T10a T30a", 100, true, "a:pending@10 a:firing@30"},
    {"for", 20, 0, 0, false, "T10a T20a T30a F40a", 100, false, "a:pending@10 a:firing@30 a:resolved@40/condition"},
    {"for, not long enough", 20, 0, 0, false, "T10a F20a", 100, false, "a:pending@10 a:resolved@20/condition"},
    {"for, told late", 20, 0, 0, false, "T10a T35a", 100, true, "a:pending@10 a:firing@35"},
    {"for begins anew", 20, 0, 0, false, "T10a F20a T25a T35a", 100, true,
     "a:pending@10 a:resolved@20/condition a:pending@25"},
    {"keep firing", 0, 30, 0, false, "T10a F20a", 100, false, "a:firing@10 a:resolved@50/condition"},
    {"kept and true again", 0, 30, 0, false, "T10a F20a T40a F60a", 100, false, "a:firing@10 a:resolved@90/condition"},
    {"kept, false again", 0, 30, 0, false, "T10a F20a F40a", 100, false, "a:firing@10 a:resolved@50/condition"},
    {"true at the very end of keeping", 0, 30, 0, false, "T10a F20a T50a", 100, true, "a:firing@10"},
    {"pending is not kept", 20, 30, 0, false, "T10a F20a", 100, false, "a:pending@10 a:resolved@20/condition"},
    {"expires", 0, 0, 60, false, "T10a T40a", 200, false, "a:firing@10 a:resolved@100/expired"},
    {"expires while pending", 100, 0, 60, false, "T10a", 200, false, "a:pending@10 a:resolved@70/expired"},
    {"kept beyond expiry", 0, 90, 60, false, "T10a F20a", 200, false, "a:firing@10 a:resolved@110/condition"},
    {"moments", 0, 30, 0, true, "T10a T20a", 100, false, "a:firing@10 a:resolved@50/expired"},
    {"moments apart", 0, 30, 0, true, "T10a T60a", 100, false,
     "a:firing@10 a:resolved@40/expired a:firing@60 a:resolved@90/expired"},
    {"a moment at the due time prolongs", 0, 30, 0, true, "T10a T40a", 100, false, "a:firing@10 a:resolved@70/expired"},
    {"a moment without rest", 0, 0, 0, true, "T10a T10a T11a", 100, false,
     "a:firing@10 a:resolved@10/expired a:firing@11 a:resolved@11/expired"},
    {"keys of equal time by id", 0, 0, 0, false, "T10b T10a F20a F20b", 100, false,
     "a:firing@10 b:firing@10 a:resolved@20/condition b:resolved@20/condition"},
    {"due times of others come in between", 0, 30, 0, true, "T50b T10a", 100, false,
     "a:firing@10 a:resolved@40/expired b:firing@50 b:resolved@80/expired"},
    {"what is not known yet waits", 0, 0, 0, false, "T10a F20a", 20, false, "a:firing@10"},
    {"due at the end, more may come", 0, 30, 0, false, "T10a F20a", 50, false, "a:firing@10"},
    {"due at the final end", 0, 30, 0, false, "T10a F20a", 50, true, "a:firing@10 a:resolved@50/condition"},
    {"due beyond the final end", 0, 30, 0, false, "T10a F20a", 49, true, "a:firing@10"},
    {"conditions beyond the final end", 0, 0, 0, false, "T60a", 50, true, "a:firing@60"},
};
// clang-format on

static void test_scripts(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct script_case *script = &cases[i];
        struct alert_policy policy = {.name = SPAN_LITERAL("rule"),
                                      .for_us = script->for_s * SECOND,
                                      .keep_firing_us = script->keep_s * SECOND,
                                      .expire_us = script->expire_s * SECOND,
                                      .momentary = script->momentary};
        struct lifecycle *lifecycle = lifecycle_new(&policy, 1);
        struct told told;

        told_init(&told);
        take_script(lifecycle, script->script);
        lifecycle_advance(lifecycle, script->until_s * SECOND, script->final, tell, &told);
        if (!span_is(buffer_span(&told.text), script->expected))
            fail_msg("%s: %.*s, expected %s", script->name, (int)told.text.size, told.text.data,
                     script->expected);
        lifecycle_free(lifecycle);
        buffer_free(&told.text);
    }
}

static void keep_severity(void *owner, const struct alert *alert)
{
    enum severity *last = owner;

    *last = alert->severity;
}

/* Receivers know an episode by its severity: another one in the configuration is that of the next. */
static void test_severity_stays(void **state)
{
    const struct alert_policy policy = {.name = SPAN_LITERAL("rule")};
    struct lifecycle *lifecycle = lifecycle_new(&policy, 1);
    enum severity last = SEVERITY_INFO;

    for (unsigned i = 0; i < 4; i++) {
        struct condition condition = condition_of('a', i % 3 < 2, 10 + i);

        condition.evidence.severity = i ? SEVERITY_CRITICAL : SEVERITY_WARNING;
        lifecycle_take(lifecycle, &condition);
        lifecycle_advance(lifecycle, (11 + i) * SECOND, false, keep_severity, &last);
        assert_int_equal(last, i < 3 ? SEVERITY_WARNING : SEVERITY_CRITICAL);
    }
    lifecycle_free(lifecycle);
}

static void test_figures(void **state)
{
    const struct alert_policy policy = {.name = SPAN_LITERAL("rule"), .for_us = 20 * SECOND};
    struct lifecycle *lifecycle = lifecycle_new(&policy, 1);
    struct lifecycle_figures figures;
    struct told told;

    told_init(&told);
    take_script(lifecycle, "T10a T10b T30b T90c");
    lifecycle_advance(lifecycle, 50 * SECOND, false, tell, &told);
    lifecycle_figures(lifecycle, &figures);
    assert_int_equal(figures.pending, 1);
    assert_int_equal(figures.firing, 1);
    assert_int_equal(figures.held, 1);
    struct id128 lines[4];
    assert_int_equal(lifecycle_open_lines(lifecycle, 4, lines), 2);
    assert_int_equal(lifecycle_open_lines(lifecycle, 1, lines), 1);
    take_script(lifecycle, "F60a F60b");
    lifecycle_advance(lifecycle, 80 * SECOND, false, tell, &told);
    lifecycle_figures(lifecycle, &figures);
    assert_int_equal(figures.pending, 0);
    assert_int_equal(figures.firing, 0);
    assert_int_equal(lifecycle_open_lines(lifecycle, 4, lines), 0);
    lifecycle_free(lifecycle);
    buffer_free(&told.text);
}

static const struct alert_policy mixed[] = {
    {.name = SPAN_LITERAL("rule"), .for_us = 0, .keep_firing_us = 7 * SECOND, .momentary = true},
    {.name = SPAN_LITERAL("rule"),
     .for_us = 10 * SECOND,
     .keep_firing_us = 5 * SECOND,
     .expire_us = 30 * SECOND},
    {.name = SPAN_LITERAL("rule"), .expire_us = 12 * SECOND},
};

static void random_conditions(struct condition *conditions, uint64_t *random)
{
    for (unsigned i = 0; i < CONDITIONS; i++) {
        char key = (char)('a' + random_below(random, KEYS));

        conditions[i] = condition_of(key, random_below(random, 3) > 0, (int64_t)random_below(random, 120));
        conditions[i].policy = (uint32_t)(key - 'a') % 3; /* the key of a condition contains its rule */
        if (conditions[i].policy == 0)
            conditions[i].outcome = CONDITION_TRUE;
        conditions[i].partition = (uint32_t)random_below(random, 2);
        conditions[i].offset = i;
    }
}

static void test_order_independence(void **state)
{
    struct condition conditions[CONDITIONS];
    uint64_t random = 11;
    size_t lines = 0;

    for (unsigned round = 0; round < 200; round++) {
        struct lifecycle *whole = lifecycle_new(mixed, 3), *sliced = lifecycle_new(mixed, 3);
        struct told expected, told;
        bool taken[CONDITIONS] = {0};

        told_init(&expected);
        told_init(&told);
        expected.with_ids = told.with_ids = true;
        random_conditions(conditions, &random);
        for (unsigned i = 0; i < CONDITIONS; i++)
            take(whole, conditions[i]);
        lifecycle_advance(whole, 130 * SECOND, true, tell, &expected);
        for (int64_t until_s = 0; until_s < 130; until_s += 1 + (int64_t)random_below(&random, 40)) {
            for (unsigned n = 0; n < 3 * CONDITIONS; n++) {
                unsigned i = (unsigned)random_below(&random, CONDITIONS);

                if (!taken[i])
                    take(sliced, conditions[i]);
                taken[i] = true;
            }
            for (unsigned i = CONDITIONS; i-- > 0;) {
                if (!taken[i] && conditions[i].at_us < until_s * SECOND)
                    take(sliced, conditions[i]);
                taken[i] |= conditions[i].at_us < until_s * SECOND;
            }
            lifecycle_advance(sliced, until_s * SECOND, false, tell, &told);
        }
        for (unsigned i = 0; i < CONDITIONS; i++)
            if (!taken[i])
                take(sliced, conditions[i]);
        lifecycle_advance(sliced, 130 * SECOND, true, tell, &told);
        assert_true(span_equal(buffer_span(&expected.text), buffer_span(&told.text)));
        lines += expected.text.size > 0;
        lifecycle_free(whole);
        lifecycle_free(sliced);
        buffer_free(&expected.text);
        buffer_free(&told.text);
    }
    assert_int_equal(lines, 200);
}

struct prompts_seen {
    struct id128 id;
    unsigned prompts, prompted, lines, resolved;
};

static void count_prompt(void *owner, const struct alert *alert)
{
    struct prompts_seen *prompts = owner;

    assert_false(alert->prompt && alert->prompted);
    prompts->prompts += alert->prompt;
    prompts->prompted += alert->prompted;
    prompts->lines += !alert->prompt;
    prompts->resolved += alert->state == ALERT_RESOLVED && alert->reason == REASON_WITHDRAWN;
    if (alert->prompt)
        prompts->id = alert->id;
    if (alert->prompted)
        assert_false(id_equal(alert->id, prompts->id));
}

/* One prompt an episode; its firing line is marked, and after the end the next match prompts again. */
static void test_prompt(void **state)
{
    static const struct alert_policy policies[] = {
        {.name = SPAN_LITERAL("rule"), .keep_firing_us = 30 * SECOND, .momentary = true},
        {.name = SPAN_LITERAL("rule")}};
    struct lifecycle *lifecycle = lifecycle_new(policies, 2);
    struct condition first = condition_of('a', true, 10), again = condition_of('a', true, 12);
    struct condition later = condition_of('a', true, 60), lasting = condition_of('b', true, 10);
    struct prompts_seen prompts = {0};

    lasting.policy = 1;
    lifecycle_prompt(lifecycle, &lasting, count_prompt, &prompts);
    assert_int_equal(prompts.prompts, 0);
    lifecycle_prompt(lifecycle, &first, count_prompt, &prompts);
    lifecycle_prompt(lifecycle, &again, count_prompt, &prompts);
    assert_int_equal(prompts.prompts, 1);
    take(lifecycle, first);
    take(lifecycle, again);
    lifecycle_advance(lifecycle, 20 * SECOND, false, count_prompt, &prompts);
    assert_int_equal(prompts.lines, 1);
    assert_int_equal(prompts.prompted, 1);
    lifecycle_prompt(lifecycle, &again, count_prompt, &prompts); /* it is open */
    assert_int_equal(prompts.prompts, 1);
    lifecycle_advance(lifecycle, 50 * SECOND, false, count_prompt, &prompts);
    assert_int_equal(prompts.lines, 2);
    lifecycle_prompt(lifecycle, &later, count_prompt, &prompts);
    take(lifecycle, later);
    lifecycle_advance(lifecycle, 70 * SECOND, false, count_prompt, &prompts);
    assert_int_equal(prompts.prompts, 2);
    assert_int_equal(prompts.prompted, 2);
    assert_int_equal(prompts.lines, 3);
    lifecycle_free(lifecycle);
}

/* The prompt's own condition may begin a later episode, whose line was not told. */
static void test_prompt_for_another(void **state)
{
    static const struct alert_policy policies[] = {
        {.name = SPAN_LITERAL("rule"), .keep_firing_us = 30 * SECOND, .momentary = true}};
    struct lifecycle *lifecycle = lifecycle_new(policies, 1);
    struct condition early = condition_of('a', true, 10), late = condition_of('a', true, 60);
    struct prompts_seen prompts = {0};

    lifecycle_prompt(lifecycle, &late, count_prompt, &prompts);
    lifecycle_prompt(lifecycle, &early, count_prompt, &prompts);
    assert_int_equal(prompts.prompts, 1);
    take(lifecycle, early);
    take(lifecycle, late);
    lifecycle_advance(lifecycle, 100 * SECOND, false, count_prompt, &prompts);
    assert_int_equal(prompts.lines, 4);
    assert_int_equal(prompts.prompted, 1);
    lifecycle_free(lifecycle);
}

/* What is expected is told ahead, and taken back in its turn unless a line has come of it. */
static void test_expected(void **state)
{
    static const struct alert_policy policies[] = {{.name = SPAN_LITERAL("rule")}};
    struct lifecycle *lifecycle = lifecycle_new(policies, 1);
    struct condition first = condition_of('a', true, 10), wrong = condition_of('b', true, 10),
                     again = condition_of('b', true, 12), past = condition_of('c', true, 15);
    struct prompts_seen prompts = {0};
    struct id128 told;

    (void)state;
    take(lifecycle, first);
    first.outcome = wrong.outcome = again.outcome = past.outcome = CONDITION_EXPECTED;
    first.offset = INT64_MAX; /* after the word itself */
    lifecycle_prompt(lifecycle, &first, count_prompt, &prompts);
    lifecycle_prompt(lifecycle, &wrong, count_prompt, &prompts);
    lifecycle_prompt(lifecycle, &again, count_prompt, &prompts);
    told = prompts.id;
    assert_int_equal(prompts.prompts, 2);
    take(lifecycle, first);
    take(lifecycle, wrong);
    take(lifecycle, again);
    lifecycle_advance(lifecycle, 20 * SECOND, false, count_prompt, &prompts);
    assert_int_equal(prompts.lines, 1); /* of a */
    assert_int_equal(prompts.prompted, 1);
    assert_int_equal(prompts.prompts, 3);
    assert_int_equal(prompts.resolved, 1); /* of b, once */
    assert_false(id_equal(prompts.id, told));
    lifecycle_prompt(lifecycle, &past, count_prompt, &prompts);
    assert_int_equal(prompts.prompts, 3);
    lifecycle_free(lifecycle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_order_independence),
        cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_prompt_for_another),
        cmocka_unit_test(test_expected),
        cmocka_unit_test(test_severity_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
