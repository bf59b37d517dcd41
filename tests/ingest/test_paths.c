/* Paths in their written form: where they lead, and what is wrong with bad ones. */
#include "ingest/paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint32_t add(struct paths *paths, const char *path)
{
    uint32_t place = PLACE_NONE;
    const char *problem = paths_add(paths, PLACE_ROOT, path, true, &place);

    if (problem)
        fail_msg("%s %s", path, problem);
    return place;
}

static uint32_t key(const struct paths *paths, uint32_t from, const char *name)
{
    return paths_key(paths, from, name, strlen(name));
}

static void test_joined_keys(void **state)
{
    struct paths paths;

    paths_init(&paths);
    uint32_t place = add(&paths, "a.b.c");
    uint32_t a = key(&paths, PLACE_ROOT, "a"), ab = key(&paths, a, "b");
    assert_int_equal(key(&paths, ab, "c"), place);
    assert_int_equal(key(&paths, a, "b.c"), place);
    assert_int_equal(key(&paths, PLACE_ROOT, "a.b"), ab);
    assert_int_equal(key(&paths, PLACE_ROOT, "a.b.c"), place);
    assert_int_equal(key(&paths, PLACE_ROOT, "b"), PLACE_NONE);
    assert_int_equal(add(&paths, "a.b.c"), place);
    assert_int_equal(add(&paths, "a.b"), ab);
    assert_int_equal(add(&paths, "'a.b'.c"), place);
    paths_free(&paths);
}

static void test_quoted_keys(void **state)
{
    struct paths paths;

    paths_init(&paths);
    uint32_t place = add(&paths, "x.\"a.b[0]\".'c \"d\"'.y");
    uint32_t x = key(&paths, PLACE_ROOT, "x"), quoted = key(&paths, x, "a.b[0]");
    assert_int_equal(key(&paths, x, "a"), PLACE_NONE);
    assert_int_equal(key(&paths, key(&paths, quoted, "c \"d\""), "y"), place);
    /* written in quotes first, found nested later */
    uint32_t literal = add(&paths, "'m.n'");
    assert_int_equal(add(&paths, "m.n"), literal);
    assert_int_equal(key(&paths, key(&paths, PLACE_ROOT, "m"), "n"), literal);
    paths_free(&paths);
}

static void test_elements(void **state)
{
    struct paths paths;

    paths_init(&paths);
    uint32_t second = add(&paths, "a[1].b"), all = add(&paths, "c[*]"), root = add(&paths, "[0][2]");
    uint32_t a = key(&paths, PLACE_ROOT, "a"), c = key(&paths, PLACE_ROOT, "c");
    assert_int_equal(key(&paths, paths_element(&paths, a, 1), "b"), second);
    assert_int_equal(paths_element(&paths, a, 0), PLACE_NONE);
    assert_int_equal(paths_element(&paths, c, 99), all);
    assert_int_equal(paths_element(&paths, paths_element(&paths, PLACE_ROOT, 0), 2), root);
    assert_true(paths_is_array(&paths, a) && !paths_takes_all(&paths, a));
    assert_true(paths_takes_all(&paths, c) && !paths_is_array(&paths, all));
    assert_int_equal(key(&paths, PLACE_ROOT, "a[1].b"), PLACE_NONE);
    paths_free(&paths);
}

static void test_wishes(void **state)
{
    struct paths paths;

    paths_init(&paths);
    uint32_t place = add(&paths, "a");
    paths_wish(&paths, place, 7);
    paths_wish(&paths, place, 2);
    assert_int_equal(paths.target_count, 8);
    const struct wish *wish = &paths.wishes[paths.places[place].wish];
    assert_int_equal(wish->target, 2);
    assert_int_equal(paths.wishes[wish->next].target, 7);
    assert_int_equal(paths.wishes[wish->next].next, WISH_NONE);
    assert_int_equal(paths.places[PLACE_ROOT].wish, WISH_NONE);
    paths_free(&paths);
}

static void test_bad_paths(void **state)
{
    static const char *const cases[][2] = {
        {"", "is empty"},
        {".", "has an empty key"},
        {".a", "has an empty key"},
        {"a.", "has an empty key"},
        {"a..b", "has an empty key"},
        {"]", "has an empty key"},
        {"a.[0]", "has an empty key"},
        {"a[", "has an index that is no number"},
        {"a[]", "has an index that is no number"},
        {"a[-1]", "has an index that is no number"},
        {"a[x]", "has an index that is no number"},
        {"a[1234567890]", "has an index that is no number"},
        {"a[1", "lacks a ]"},
        {"a[1x]", "lacks a ]"},
        {"a[*", "has [*], which stands in `each` only"},
        {"a[0]b", "has a quote or bracket in the middle of a key"},
        {"a]", "has a quote or bracket in the middle of a key"},
        {"a\"b\"", "has a quote or bracket in the middle of a key"},
        {"\"a", "lacks a closing quote"},
        {"'a\"", "lacks a closing quote"},
        {"a[*]", "has [*], which stands in `each` only"},
        {"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", "has more than 16 keys"},
    };
    struct paths paths;

    paths_init(&paths);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t place = 4711;

        assert_string_equal(paths_add(&paths, PLACE_ROOT, cases[i][0], false, &place), cases[i][1]);
        assert_int_equal(place, 4711);
    }
    add(&paths, "b.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b");
    /* two cuts of the same three keys are two places; the third way cannot lead to both */
    add(&paths, "'p.q'.r");
    add(&paths, "p.'q.r'");
    uint32_t place;
    assert_string_equal(paths_add(&paths, PLACE_ROOT, "p.q.r", false, &place),
                        "collides with a path whose quotes cut the same keys in another way");
    paths_free(&paths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined_keys), cmocka_unit_test(test_quoted_keys),
        cmocka_unit_test(test_elements),    cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_bad_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
