/* Lines of incidents. */
#include "tests/tuning/support.h"

static void reads_all_forms(void **state)
{
    struct labels labels = {0};

    add_label(&labels,
              "{\"start\":\"2026-01-01T00:00:00Z\",\"end\":\"2026-01-01T01:00:00+00:00\",\"target\":\"a\","
              "\"kind\":\"metric\"}");
    add_label(&labels,
              "{\"start\":1767225600,\"end\":1767225660.5,\"target\":[\"a/x\",\"b*\"],\"ignore\":true}");
    add_label(&labels, "{\"start\":1767225600,\"end\":1767225660,\"any\":true}");
    assert_int_equal(labels.count, 3);
    assert_int_equal(labels.items[0].start_us, T0_US);
    assert_int_equal(labels.items[0].end_us, T0_US + 60 * MINUTE_US);
    assert_string_equal(labels.items[0].kind, "metric");
    assert_false(labels.items[0].ignore);
    assert_int_equal(labels.items[1].end_us, T0_US + MINUTE_US + 500000);
    assert_true(labels.items[1].ignore);
    assert_true(incident_matches(&labels.items[0], "a"));
    assert_false(incident_matches(&labels.items[0], "a/x"));
    assert_true(incident_matches(&labels.items[1], "a/x"));
    assert_true(incident_matches(&labels.items[1], "b"));
    assert_true(incident_matches(&labels.items[1], "bc/d"));
    assert_false(incident_matches(&labels.items[1], "ab"));
    assert_true(incident_matches(&labels.items[2], ""));
    labels_free(&labels);
}

static void takes_marks_of_its_rule(void **state)
{
    static const char mark[] = "{\"start\":0,\"end\":1,\"target\":\"a\",\"rule\":\"%s\"}";
    struct labels labels = {0};
    struct error error;
    char line[128];

    snprintf(line, sizeof line, mark, "other");
    assert_int_equal(labels_add(&labels, span_of(line), "d", &error), STATUS_SKIP);
    snprintf(line, sizeof line, mark, "d");
    assert_int_equal(labels_add(&labels, span_of(line), "d", &error), STATUS_OK);
    assert_int_equal(labels.count, 1);
    assert_int_equal(labels.items[0].start_us, -5 * MINUTE_US); /* a better detector may be earlier */
    assert_int_equal(labels.items[0].end_us, 1000000);
    labels_free(&labels);
}

static void says_what_is_wrong(void **state)
{
    static const char *const wrong[][2] = {
        {"x", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{\"end\":1,\"target\":\"a\"}", "'start' is missing"},
        {"{\"start\":1,\"end\":\"later\",\"target\":\"a\"}", "end: 'later' is not a time"},
        {"{\"start\":2,\"end\":1,\"target\":\"a\"}", "it ends before it starts"},
        {"{\"start\":1,\"end\":2}", "'target' is missing"},
        {"{\"start\":1,\"end\":2,\"target\":[\"a\",3]}", "'target' is missing"},
    };
    struct labels labels = {0};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error error;

        assert_int_equal(labels_add(&labels, span_of(wrong[i][0]), "d", &error), STATUS_FATAL);
        if (!strstr(error.text, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], error.text);
    }
    assert_int_equal(labels.count, 0);
    labels_free(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_forms),
        cmocka_unit_test(takes_marks_of_its_rule),
        cmocka_unit_test(says_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
