/* Templates learned from lines: places that become values, limits, what is saved, and the log sets. */
#include "detectors/templates.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct log_template *learn(struct templates *templates, const char *line, bool *ret_new)
{
    struct skeleton skeleton;
    bool is_new;

    skeleton_make(span_of(line), &skeleton);
    return templates_learn(templates, &skeleton, 1, ret_new ? ret_new : &is_new);
}

static const struct log_template *find(struct templates *templates, const char *line)
{
    struct skeleton skeleton;

    skeleton_make(span_of(line), &skeleton);
    return templates_find(templates, &skeleton);
}

static void assert_text(struct templates *templates, const char *line, const char *wanted)
{
    const struct log_template *template = find(templates, line);
    struct buffer text;

    assert_non_null(template);
    buffer_init(&text, 1000);
    template_text(template, &text);
    buffer_put_char(&text, 0);
    assert_string_equal(text.data, wanted);
    buffer_free(&text);
}

static void learn_names(struct templates *templates, const char *before, const char *names, const char *after)
{
    char line[200];

    for (size_t size; *names; names += size + (names[size] == ' ')) {
        char name[64] = "";

        size = strcspn(names, " ");
        assert_true(size < sizeof name);
        memcpy(name, names, size);
        (void)snprintf(line, sizeof line, "%s%s%s", before, name, after);
        (void)learn(templates, line, NULL);
    }
}

static void test_values_by_look(void **state)
{
    struct templates *templates = templates_new(64);
    bool is_new;
    uint64_t id = template_id(learn(templates, "job 17 took 3 ms", &is_new));

    assert_true(is_new);
    assert_int_equal(template_id(learn(templates, "job 18 took 4 ms", &is_new)), id);
    assert_false(is_new);
    assert_int_equal(templates_count(templates), 1);
    assert_int_equal(template_seen(find(templates, "job 1 took 1 ms")), 2);
    assert_null(find(templates, "job 1 took one ms"));
    templates_free(templates);
}

/* A few different words are statements of their own, many are a value; the id of the first stays. */
static void test_many_words_are_a_value(void **state)
{
    struct templates *templates = templates_new(64);
    uint64_t id = template_id(learn(templates, "session for alice is now open", NULL));
    bool is_new;

    learn_names(templates, "session for ", "alice bob carol dave", " is now open");
    assert_int_equal(templates_count(templates), 4);
    assert_text(templates, "session for bob is now open", "session for bob is now open");
    assert_int_equal(template_id(learn(templates, "session for erin is now open", &is_new)), id);
    assert_false(is_new);
    assert_int_equal(templates_count(templates), 1);
    assert_text(templates, "session for nobody is now open", "session for <*> is now open");
    assert_int_equal(template_seen(find(templates, "session for bob is now open")), 6);
    learn_names(templates, "", "cupsd klogd sshd crond httpd named", " startup has succeeded");
    assert_int_equal(templates_count(templates), 7);
    templates_free(templates);
}

/* Two different loose words suffice, and one beside a value; units of a value are loose. */
static void test_loose_words(void **state)
{
    struct templates *templates = templates_new(64);

    learn_names(templates, "link on ", "eth0 eth1", " went down");
    assert_text(templates, "link on eth7 went down", "link on <*> went down");
    learn_names(templates, "stored in ", "5 8", " KB of space");
    assert_text(templates, "stored in 9 KB of space", "stored in <*> KB of space");
    learn_names(templates, "stored in ", "5", " MB of space");
    assert_text(templates, "stored in 9 KB of space", "stored in <*> of space");
    learn_names(templates, "login failed rhost=", "10.0.0.1 gateway", "");
    assert_text(templates, "login failed rhost=10.0.0.2", "login failed rhost=<*>");
    learn_names(templates, "connection (", "10.0.0.1", ") from outside");
    (void)learn(templates, "connection () from outside", NULL);
    assert_text(templates, "connection () from outside", "connection (<*>) from outside");
    templates_free(templates);
}

/* All pairs are different, so no place alone tells that it is a value. */
static void test_two_places(void **state)
{
    static const char *const hosts[] = {"rome", "oslo", "bern", "kyiv", "lima",
                                        "baku", "doha", "male", "riga", "suva"};
    struct templates *templates = templates_new(64);
    char line[100];

    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(line, sizeof line, "moved shard %c%c from rack %s to the spare pool", 'p' + (int)i,
                       'q', hosts[i]);
        (void)learn(templates, line, NULL);
    }
    assert_int_equal(templates_count(templates), 1);
    assert_text(templates, line, "moved shard <*> from rack <*> to the spare pool");
    templates_free(templates);
}

static void test_values_of_a_line(void **state)
{
    static const char line[] = "session for erin from 10.0.0.9:22 is open";
    struct templates *templates = templates_new(64);
    struct span values[SKELETON_TOKENS_MAX];
    struct skeleton skeleton;
    bool is_new;

    learn_names(templates, "session for ", "alice bob carol dave", " from 10.0.0.1:99 is open");
    skeleton_make(span_of(line), &skeleton);
    const struct log_template *template = templates_learn(templates, &skeleton, 1, &is_new);
    assert_int_equal(template_values(template, &skeleton, span_of(line), values), 3);
    assert_true(span_is(values[0], "erin"));
    assert_true(span_is(values[1], "10.0.0.9"));
    assert_true(span_is(values[2], "22"));
    templates_free(templates);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void random_line(uint64_t *seed, char line[200])
{
    unsigned size = 0, words = 1 + (unsigned)next_random(seed) % 9;

    for (unsigned word = 0; word < words; word++) {
        for (unsigned i = 0; i < 1 + next_random(seed) % 8; i++)
            line[size++] = (char)('a' + next_random(seed) % 26);
        line[size++] = word + 1 < words ? ' ' : 0;
    }
}

/* What is seen often outlives any number of lines that are seen once; the memory never grows. */
static void test_random_text_is_bounded(void **state)
{
    struct templates *templates = templates_new(128);
    size_t bytes = templates_bytes(templates);
    uint64_t seed = 3;
    char line[200];

    for (unsigned i = 0; i < 100; i++)
        (void)learn(templates, "the one that is real", NULL);
    for (unsigned i = 0; i < 20000; i++) {
        random_line(&seed, line);
        (void)learn(templates, line, NULL);
        if (i % 100 == 0)
            (void)learn(templates, "the one that is real", NULL);
        assert_in_range(templates_count(templates), 1, 128);
    }
    assert_int_equal(template_seen(find(templates, "the one that is real")), 300);
    assert_in_range(templates_evicted(templates), 18000, 20000);
    assert_int_equal(templates_bytes(templates), bytes);
    templates_free(templates);
}

static void mixed_line(uint64_t *seed, char line[200])
{
    static const char *const verbs[] = {"opened", "closed", "moved", "lost"};
    unsigned long number = next_random(seed);

    if (number % 5 == 0)
        random_line(seed, line);
    else
        (void)snprintf(line, 200, "file n%c%c was %s by eth%lu after %lu %s", 'a' + (int)(number / 7 % 26),
                       'a' + (int)(number / 191 % 26), verbs[number / 11 % 4], number / 13 % 5, number,
                       number % 2 ? "s" : "ms");
}

/* Saved and restored in the middle, with evictions: every id afterwards is as if there had been no break. */
static void test_ids_survive_a_restart(void **state)
{
    struct templates *one = templates_new(64), *two = templates_new(64);
    uint64_t seed = 5;
    char line[200];
    bool new_in_one, new_in_two;

    for (unsigned i = 0; i < 6000; i++) {
        if (i % 500 == 250) {
            struct buffer saved, again;
            struct error error;
            buffer_init(&saved, 1 << 20);
            buffer_init(&again, 1 << 20);
            templates_save(two, &saved);
            templates_free(two);
            two = templates_new(64);
            assert_int_equal(templates_restore(two, buffer_span(&saved), &error), STATUS_OK);
            templates_save(two, &again);
            assert_int_equal(again.size, saved.size);
            buffer_free(&saved);
            buffer_free(&again);
        }
        mixed_line(&seed, line);
        assert_int_equal(template_id(learn(one, line, &new_in_one)),
                         template_id(learn(two, line, &new_in_two)));
        assert_int_equal(new_in_one, new_in_two);
    }
    assert_int_equal(templates_count(one), templates_count(two));
    assert_int_equal(templates_evicted(one), templates_evicted(two));
    assert_true(templates_evicted(one) > 500);
    templates_free(one);
    templates_free(two);
}

/* Lines of one skeleton at once count as one by one. */
static void test_counts(void **state)
{
    struct templates *templates = templates_new(64);
    struct skeleton skeleton;
    bool is_new;

    skeleton_make(span_of("disk full"), &skeleton);
    assert_int_equal(template_seen(templates_learn(templates, &skeleton, 5, &is_new)), 5);
    assert_true(is_new);
    assert_int_equal(template_seen(templates_learn(templates, &skeleton, 2, &is_new)), 7);
    assert_false(is_new);
    templates_free(templates);
}

static void test_damaged_state_is_refused(void **state)
{
    struct templates *templates = templates_new(64);
    struct buffer saved;
    struct error error;

    (void)learn(templates, "disk full", NULL);
    (void)learn(templates, "disk 5 full", NULL);
    buffer_init(&saved, 1 << 20);
    templates_save(templates, &saved);
    templates_free(templates);
    for (uint32_t size = 0; size < saved.size; size++) {
        templates = templates_new(64);
        char *exact = memory_text(saved.data, size);
        assert_int_equal(templates_restore(templates, span_make(exact, size), &error), STATUS_FATAL);
        free(exact);
        templates_free(templates);
    }
    buffer_free(&saved);
}

/* Any byte of a state may be wrong: it is refused, or what it says is learned on from. */
static void test_flipped_bytes(void **state)
{
    struct templates *templates = templates_new(64);
    struct buffer saved;
    struct error error;
    uint64_t seed = 9;
    char line[200];

    for (unsigned i = 0; i < 200; i++) {
        mixed_line(&seed, line);
        (void)learn(templates, line, NULL);
    }
    buffer_init(&saved, 1 << 20);
    templates_save(templates, &saved);
    templates_free(templates);
    for (size_t at = 0; at < saved.size; at++) {
        saved.data[at] ^= (char)(1 << at % 8);
        templates = templates_new(64);
        if (templates_restore(templates, buffer_span(&saved), &error) == STATUS_OK)
            for (unsigned i = 0; i < 5; i++) {
                mixed_line(&seed, line);
                assert_non_null(learn(templates, line, NULL));
            }
        assert_in_range(templates_count(templates), 0, 64);
        templates_free(templates);
        saved.data[at] ^= (char)(1 << at % 8);
    }
    buffer_free(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_by_look),
        cmocka_unit_test(test_many_words_are_a_value),
        cmocka_unit_test(test_loose_words),
        cmocka_unit_test(test_two_places),
        cmocka_unit_test(test_values_of_a_line),
        cmocka_unit_test(test_random_text_is_bounded),
        cmocka_unit_test(test_ids_survive_a_restart),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_damaged_state_is_refused),
        cmocka_unit_test(test_flipped_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
