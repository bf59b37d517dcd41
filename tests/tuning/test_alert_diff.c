/* Alerts of two replays against each other, by hand. */
#include "tests/tuning/support.h"
#include "tuning/alert_diff.h"

/* An alert from one minute to another; to -1: still open. */
static void add(struct alert_list *list, const char *rule, const char *target, int from, int to)
{
    static unsigned number;
    char line[512], start[TIME_TEXT_SIZE], end[TIME_TEXT_SIZE];
    const char *states[] = {"firing", "resolved"};

    number++;
    time_format(T0_US + from * MINUTE_US, start);
    time_format(T0_US + (to < 0 ? 0 : to) * MINUTE_US, end);
    for (int i = 0; i < (to < 0 ? 1 : 2); i++) {
        int size =
            snprintf(line, sizeof line,
                     "{\"episode\":\"%032x\",\"state\":\"%s\",\"rule\":\"%s\",\"target\":\"%s\",\"labels\":"
                     "{\"workflow\":\"%s\"},\"annotations\":{\"summary\":\"it is\"},\"starts_at\":\"%.*s\"",
                     number, states[i], rule, target, target, TIME_TEXT_SIZE, start);

        if (i)
            size += snprintf(line + size, sizeof line - (size_t)size, ",\"ends_at\":\"%.*s\"", TIME_TEXT_SIZE,
                             end);
        snprintf(line + size, sizeof line - (size_t)size, "}");
        alert_list_add(list, span_of(line));
    }
}

static void expect(struct alert_list *before, struct alert_list *after, int within, const char *text,
                   size_t same, size_t gained, size_t lost, size_t moved)
{
    struct alert_diff diff;
    struct buffer out;

    buffer_init(&out, 1 << 16);
    alert_list_compare(before, after, within * MINUTE_US, &out, &diff);
    buffer_put_char(&out, 0);
    assert_string_equal(out.data, text);
    assert_int_equal(diff.same, same);
    assert_int_equal(diff.gained, gained);
    assert_int_equal(diff.lost, lost);
    assert_int_equal(diff.moved, moved);
    buffer_free(&out);
    alert_list_free(before);
    alert_list_free(after);
}

static void equal_lists_do_not_differ(void **state)
{
    struct alert_list *before = alert_list_new(), *after = alert_list_new();

    for (int i = 0; i < 50; i++) {
        add(before, "r", i % 2 ? "a" : "b", i, i + 3);
        add(after, "r", (49 - i) % 2 ? "a" : "b", 49 - i, 52 - i); /* in another order */
    }
    expect(before, after, 10, "", 50, 0, 0, 0);
}

static void names_each_difference(void **state)
{
    struct alert_list *before = alert_list_new(), *after = alert_list_new();

    add(before, "r", "a", 0, 5);
    add(after, "r", "a", 0, 9); /* another end is the same alert */
    add(before, "r", "a", 100, 105);
    add(before, "r", "b", 200, 205);
    add(after, "r", "b", 203, 208);
    add(before, "r", "b", 300, 400);
    add(after, "r", "b", 390, -1);  /* overlaps */
    add(after, "s", "a", 100, 105); /* another rule */
    add(before, "r", "c", 500, 501);
    add(after, "r", "c", 520, 521); /* too far */
    expect(before, after, 10,
           "lost    2026-01-01T01:40:00Z r a: it is\n"
           "gained  2026-01-01T01:40:00Z s a: it is\n"
           "moved   2026-01-01T03:20:00Z (3m later) r b: it is\n"
           "moved   2026-01-01T05:00:00Z (90m later) r b: it is\n"
           "lost    2026-01-01T08:20:00Z r c: it is\n"
           "gained  2026-01-01T08:40:00Z r c: it is\n",
           1, 2, 2, 2);
}

/* One more before does not shift those that start as they did. */
static void equal_starts_find_each_other(void **state)
{
    struct alert_list *before = alert_list_new(), *after = alert_list_new();

    for (int i = 0; i < 5; i++)
        add(before, "r", "a", 10 * i, 10 * i + 2);
    add(after, "r", "a", -5, -3);
    for (int i = 0; i < 5; i++)
        add(after, "r", "a", 10 * i, 10 * i + 2);
    expect(before, after, 10, "gained  2025-12-31T23:55:00Z r a: it is\n", 5, 1, 0, 0);
}

static void what_never_fired_is_left_out(void **state)
{
    struct alert_list *before = alert_list_new(), *after = alert_list_new();

    alert_list_add(
        before,
        span_of("{\"episode\":\"1\",\"state\":\"pending\",\"rule\":\"r\",\"starts_at\":\"2026-01-01\"}"));
    alert_list_add(after, span_of("no alert"));
    alert_list_add(after, span_of("[]"));
    expect(before, after, 10, "", 0, 0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_lists_do_not_differ),
        cmocka_unit_test(names_each_difference),
        cmocka_unit_test(equal_starts_find_each_other),
        cmocka_unit_test(what_never_fired_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
