/* Sequence models: surprises by hand, what is learned and forgotten, bounds, and bytes. */
#include "base/memory.h"
#include "detectors/sequence.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h> /* last: it defines fail() */

static void assert_near(double actual, double expected)
{
    if (!(fabs(actual - expected) <= 1e-9 * (1 + fabs(expected))))
        fail_msg("%.12g, not %.12g", actual, expected);
}

/* A run of steps parted by blanks; in "name=value" value is the step's attribute "user". */
struct text_run {
    struct sequence_step steps[2000];
    struct sequence_attribute attributes[2000];
    struct sequence_run run;
};

static const struct sequence_run *run_of(struct text_run *into, const char *text)
{
    into->run = (struct sequence_run){.steps = into->steps};
    while (*text) {
        size_t size = strcspn(text, " "), name = strcspn(text, " =");
        struct sequence_attribute *attribute = &into->attributes[into->run.count];

        *attribute = (struct sequence_attribute){.name = SPAN_LITERAL("user")};
        if (name < size)
            attribute->value = span_make(text + name + 1, size - name - 1);
        into->steps[into->run.count++] = (struct sequence_step){
            .name = span_make(text, name), .attributes = attribute, .attribute_count = name < size};
        text += size + (text[size] == ' ');
    }
    return &into->run;
}

static struct sequence_verdict judge(const struct sequence *model, const char *text)
{
    static struct text_run into;
    struct sequence_verdict verdict;

    sequence_judge(model, run_of(&into, text), &verdict);
    return verdict;
}

static struct sequence_verdict learn(struct sequence *model, const char *text, unsigned times,
                                     bool known_good)
{
    static struct text_run into;
    struct sequence_verdict verdict = {0};

    while (times-- > 0) {
        sequence_judge(model, run_of(&into, text), &verdict);
        sequence_learn(model, &into.run, &verdict, known_good);
    }
    return verdict;
}

static void assert_reason(const struct sequence_reason *reason, const char *words)
{
    struct buffer out;

    buffer_init(&out, 4096);
    sequence_reason_put(reason, &out);
    buffer_put_char(&out, '\0');
    assert_string_equal(out.data, words);
    buffer_free(&out);
}

static void test_an_empty_model_has_no_opinion(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct sequence_verdict verdict = judge(model, "a b");

    assert_near(verdict.surprise, 0);
    assert_near(verdict.probability, 1);
    assert_false(verdict.odd);
    assert_int_equal(verdict.reason_count, 0);
    sequence_free(model);
}

/* Ten runs "a b": in all 30 symbols of 3 sorts (a, b, the end). c was never seen: 3/33 without context;
 * behind a, and behind the beginning and a, each seen 10 times with one successor: 1/11 of that. */
static void test_surprises_by_hand(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct sequence_verdict verdict;
    double missing = log(11), usual = 10 * log(1.1) / 11, base = log(1.1) - usual;

    learn(model, "a b", 10, false);
    assert_near(sequence_runs(model), 10);
    verdict = judge(model, "a c");
    assert_near(verdict.steps, -log(3.0 / 33 / 11 / 11));
    assert_near(verdict.counts, sqrt(base * base + 2 * missing * missing));
    assert_near(verdict.surprise, verdict.steps);
    assert_near(verdict.probability, 1.0 / 11);
    assert_true(verdict.odd);
    assert_int_equal(verdict.reason_count, 2);
    assert_reason(&verdict.reasons[0], "c is in none of 10 runs before");
    assert_reason(&verdict.reasons[1], "b is missing, as in 0 of 10 before");

    verdict = judge(model, "a b");
    assert_false(verdict.odd);
    assert_near(verdict.probability, 1);
    /* a: (10 + 3) / 33, and behind the beginning as follows; b has two such contexts, the end three */
    double first = (10 + 13.0 / 33) / 11;
    assert_near(verdict.steps, -log(first));
    sequence_free(model);
}

static void test_order_and_counts_are_told(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct sequence_verdict verdict;

    learn(model, "load check send", 50, false);
    verdict = judge(model, "load send check");
    assert_true(verdict.odd);
    assert_near(verdict.counts, judge(model, "load check send").counts); /* order does not matter to counts */
    assert_reason(&verdict.reasons[0], "send follows load, as in 0 of 50 before");
    verdict = judge(model, "load check send send send");
    assert_true(verdict.odd);
    assert_int_equal(verdict.reasons[0].kind, SEQUENCE_ORDER);
    for (unsigned i = 1; i < verdict.reason_count; i++)
        assert_true(verdict.reasons[i].surprise <= verdict.reasons[i - 1].surprise);
    verdict = judge(model, "load");
    assert_reason(&verdict.reasons[0], "the end follows load, as in 0 of 50 before");
    sequence_free(model);
}

static void test_attributes_count_in_their_step(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct sequence_verdict verdict;

    learn(model, "a=ann b=bob", 100, false);
    assert_false(judge(model, "a=ann b=bob").odd);
    verdict = judge(model, "a=bob b=bob"); /* bob is known, but not to do a */
    /* (100 + 2) / 202 of all values, a hundredth of that in a */
    assert_near(verdict.steps, -log(102.0 / 202 / 101));
    assert_reason(&verdict.reasons[0], "user of a is bob, as in 0 of 100 before");
    assert_true(judge(model, "a=eve b=bob").odd);
    assert_near(judge(model, "a= b").steps, judge(model, "a b").steps); /* an empty value is none */
    sequence_free(model);
}

/* Values that are nearly all different are names of something, and no news. */
static void test_unique_values_are_not_odd(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    char text[40];

    for (unsigned i = 0; i < 500; i++) {
        struct sequence_verdict verdict;

        (void)snprintf(text, sizeof text, "a=%u b", i * 7919);
        verdict = learn(model, text, 1, false);
        assert_true(i < 100 || !verdict.odd);
    }
    sequence_free(model);
}

static void test_what_is_wrong_now_and_then_stays_odd(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);

    learn(model, "a b c", 1000, false);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(learn(model, "a c", 1, false).odd);
        learn(model, "a b c", 200, false);
    }
    sequence_free(model);
}

static void test_a_new_version_is_learned(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    unsigned odd = 0;

    learn(model, "a b c", 1000, false);
    while (learn(model, "a b d c", 1, false).odd)
        odd++;
    assert_in_range(odd, 5, 60);
    learn(model, "a b d c", 200, false);
    assert_false(judge(model, "a b d c").odd);
    assert_false(judge(model, "a b c").odd); /* and the old one is not forgotten at once */
    sequence_free(model);
}

/* Steps side by side come in any order: good runs say that order means nothing, and counts remain. */
static void test_good_runs_calibrate(void **state)
{
    static const char *const orders[] = {"a b c d", "a b d c", "a c b d", "a c d b", "a d b c", "a d c b"};
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    uint64_t seed = 5;

    for (unsigned i = 0; i < 2000; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        learn(model, orders[(seed >> 33) % 6], 1, true);
    }
    assert_false(judge(model, "a d c b").odd);
    assert_true(judge(model, "a b c").odd);
    assert_true(judge(model, "a b c d e").odd);
    sequence_free(model);
}

/* Names, values and lengths without end: each bound holds, and runs of before are still known. */
static void test_memory_is_bounded(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    static struct text_run into;
    char names[1500][24];
    size_t most = 0;

    for (unsigned i = 0; i < 300; i++) {
        struct sequence_verdict verdict;

        into.run = (struct sequence_run){.steps = into.steps, .count = 1500};
        for (unsigned s = 0; s < into.run.count; s++) {
            (void)snprintf(names[s], sizeof names[s], "step %u", i * 1500 + s);

            into.attributes[s] =
                (struct sequence_attribute){.name = SPAN_LITERAL("id"), .value = span_of(names[s])};
            into.steps[s] = (struct sequence_step){
                .name = span_of(names[s]), .attributes = &into.attributes[s], .attribute_count = 1};
        }
        sequence_judge(model, &into.run, &verdict);
        assert_true(isfinite(verdict.surprise) && verdict.surprise >= 0);
        sequence_learn(model, &into.run, &verdict, false);
        learn(model, "a b c", 20, false);
        most = sequence_bytes(model) > most ? sequence_bytes(model) : most;
    }
    assert_true(most < 1200 * 1024);
    assert_false(judge(model, "a b c").odd);
    sequence_free(model);
}

static void assert_same(const struct sequence_verdict *a, const struct sequence_verdict *b)
{
    assert_memory_equal(&a->surprise, &b->surprise, sizeof a->surprise);
    assert_memory_equal(&a->probability, &b->probability, sizeof a->probability);
    assert_int_equal(a->odd, b->odd);
    assert_int_equal(a->reason_count, b->reason_count);
}

/* A model that is packed and unpacked after each run says what one that stays in memory says. */
static void test_bytes_are_the_model(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX), *copy = sequence_new(SEQUENCE_CELLS_MAX);
    struct buffer out;
    uint64_t seed = 11;

    buffer_init(&out, SIZE_MAX);
    for (unsigned i = 0; i < 1500; i++) {
        struct sequence_verdict mine, other;
        struct unpack in;
        char text[64] = "";

        for (unsigned s = 0; s < 5; s++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%c=%u", s ? " " : "",
                           "abcdefghi"[(seed >> 60) % 9], (unsigned)(seed >> 40) % 300);
        }
        mine = learn(model, text, 1, i % 7 == 0);
        other = learn(copy, text, 1, i % 7 == 0);
        assert_same(&mine, &other);
        buffer_clear(&out);
        sequence_pack(copy, &out);
        sequence_free(copy);
        in = unpack_begin(buffer_span(&out));
        copy = sequence_unpack(&in);
        assert_non_null(copy);
        assert_true(unpack_ended(&in));
    }
    buffer_free(&out);
    sequence_free(model);
    sequence_free(copy);
}

static void test_other_bytes_are_refused(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct buffer out;
    uint64_t seed = 3;

    learn(model, "a=x b=y c", 30, false);
    buffer_init(&out, SIZE_MAX);
    sequence_pack(model, &out);
    for (size_t size = 0; size < out.size; size += 7) {
        struct unpack in = unpack_begin(span_make(out.data, size));

        assert_null(sequence_unpack(&in));
        assert_true(in.broken);
    }
    for (unsigned i = 0; i < 5000; i++) { /* one byte changed: refused, or a model that can be asked */
        struct sequence *changed;
        size_t at;
        char kept;

        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        at = (seed >> 20) % out.size;
        kept = out.data[at];
        out.data[at] = (char)(seed >> 10 & 0x7F);
        struct unpack in = unpack_begin(buffer_span(&out));
        changed = sequence_unpack(&in);
        if (changed)
            assert_true(learn(changed, "a=x c b", 3, false).surprise >= 0);
        sequence_free(changed);
        out.data[at] = kept;
    }
    buffer_free(&out);
    sequence_free(model);
}

/* Any bytes as names, none at all, and no steps. */
static void test_odd_input(void **state)
{
    struct sequence *model = sequence_new(SEQUENCE_CELLS_MAX);
    struct sequence_step steps[2] = {{.name = span_make("\0\xff\n", 3)}, {.name = {0}}};
    struct sequence_run run = {.steps = steps, .count = 2}, none = {0};
    struct sequence_verdict verdict;
    struct buffer out;

    for (unsigned i = 0; i < 20; i++) {
        sequence_judge(model, &run, &verdict);
        sequence_learn(model, &run, &verdict, false);
    }
    sequence_judge(model, &none, &verdict);
    assert_true(verdict.surprise > 1);
    buffer_init(&out, 4096);
    for (unsigned i = 0; i < verdict.reason_count; i++)
        sequence_reason_put(&verdict.reasons[i], &out);
    for (size_t i = 0; i < out.size; i++)
        assert_true((unsigned char)out.data[i] >= ' ');
    sequence_learn(model, &none, &verdict, false);
    buffer_free(&out);
    sequence_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_model_has_no_opinion),
        cmocka_unit_test(test_surprises_by_hand),
        cmocka_unit_test(test_order_and_counts_are_told),
        cmocka_unit_test(test_attributes_count_in_their_step),
        cmocka_unit_test(test_unique_values_are_not_odd),
        cmocka_unit_test(test_what_is_wrong_now_and_then_stays_odd),
        cmocka_unit_test(test_a_new_version_is_learned),
        cmocka_unit_test(test_good_runs_calibrate),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_bytes_are_the_model),
        cmocka_unit_test(test_other_bytes_are_refused),
        cmocka_unit_test(test_odd_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
