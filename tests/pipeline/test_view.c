/* The view against plain arrays of everything written, its limits, and two threads at a time. */
#include "base/memory.h"
#include "pipeline/view.h"
#include "tests/base/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { STEPS = 6000, GROUPS = 3000, OUT_LIMIT = 1 << 28 };

static struct id128 group_id(uint64_t group)
{
    return (struct id128){.high = group * 0x9E3779B97F4A7C15u, .low = group};
}

static void put(struct view *view, enum document_kind kind, uint64_t group, int64_t time_us, struct span text)
{
    view_put(view,
             &(struct view_line){.kind = kind, .group = group_id(group), .time_us = time_us, .text = text});
}

static void put_number(struct view *view, enum document_kind kind, uint64_t group, int64_t time_us,
                       unsigned number)
{
    char line[16];
    int size = snprintf(line, sizeof line, "%u", number);

    put(view, kind, group, time_us, span_make(line, (size_t)size));
}

/* What a bucket's line has at least; `number` tells lines apart. */
static void put_bucket(struct view *view, uint64_t group, int64_t time_us, unsigned number, bool anomaly)
{
    char line[160];
    int size =
        snprintf(line, sizeof line,
                 "{\"schema\":1,\"measure\":\"m%u\",\"key\":{\"a\":\"x}{\\\"\"},\"count\":%u,\"anomaly\":%s}",
                 (unsigned)group, number, anomaly ? "true" : "false");

    put(view, DOC_BUCKET, group, time_us, span_make(line, (size_t)size));
}

static void assert_out(struct buffer *out, const char *expected)
{
    buffer_put(out, "", 1);
    assert_false(out->full);
    assert_string_equal(out->data, expected);
    buffer_clear(out);
}

static size_t count(const struct buffer *out, const char *text)
{
    size_t found = 0;

    for (const char *at = out->data;
         (at = memmem(at, (size_t)(out->data + out->size - at), text, strlen(text))); at += strlen(text))
        found++;
    return found;
}

struct written {
    uint64_t group;
    int64_t time_us;
    unsigned number;
};

/* Newest time first, of equal times the last written. */
static int compare_written(const void *left, const void *right)
{
    const struct written *a = left, *b = right;

    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? 1 : -1;
    return (a->number < b->number) - (a->number > b->number);
}

/* All lines of one kind, the naive way: one a group, sorted at each addition, cut at the limit. */
static size_t naive_put(struct written *all, size_t used, size_t limit, struct written line)
{
    size_t at = 0;

    while (at < used && all[at].group != line.group)
        at++;
    all[at] = line;
    used += at == used;
    qsort(all, used, sizeof *all, compare_written);
    return used > limit ? limit : used;
}

static void lists_agree_with_a_sorted_array(void **state)
{
    static struct written all[VIEW_ALERTS_MAX + 1];
    struct view *view = view_new();
    struct buffer out, expected;
    uint64_t random = 3;
    size_t used = 0;

    buffer_init(&out, OUT_LIMIT);
    buffer_init(&expected, OUT_LIMIT);
    for (unsigned i = 0; i < STEPS; i++) {
        struct written line = {random_below(&random, GROUPS), (int64_t)(i / 4 + random_below(&random, 200)),
                               i};

        used = naive_put(all, used, VIEW_ALERTS_MAX, line);
        put_number(view, DOC_ALERT, line.group, line.time_us, line.number);
        if (i % 500 != 499)
            continue;
        size_t limit = 1 + random_below(&random, 1200);
        buffer_put_char(&expected, '[');
        for (size_t k = 0; k < used && k < limit; k++)
            buffer_print(&expected, "%s%u", k ? "," : "", all[k].number);
        buffer_put(&expected, "]", 2);
        view_list(view, DOC_ALERT, &(struct view_query){.limit = limit}, &out);
        assert_out(&out, expected.data);
        buffer_clear(&expected);
    }
    assert_int_equal(used, VIEW_ALERTS_MAX);
    buffer_free(&out);
    buffer_free(&expected);
    view_free(view);
}

static void kinds_are_kept_apart_and_others_ignored(void **state)
{
    struct view *view = view_new();
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    view_list(view, DOC_RUN, &(struct view_query){.limit = 10}, &out);
    assert_out(&out, "[]");
    view_series(view, &out);
    assert_out(&out, "[]");
    put_number(view, DOC_ALERT, 1, 1, 11);
    put_number(view, DOC_RUN, 1, 1, 12);
    put_number(view, DOC_EVENT, 1, 1, 13);
    put_number(view, DOC_SIGNAL, 1, 1, 14);
    view_list(view, DOC_ALERT, &(struct view_query){.limit = 10}, &out);
    assert_out(&out, "[11]");
    view_list(view, DOC_RUN, &(struct view_query){.limit = 10}, &out);
    assert_out(&out, "[12]");
    assert_false(view_points(view, group_id(1), &out));
    assert_int_equal(out.size, 0);
    buffer_free(&out);
    view_free(view);
}

static void runs_are_bounded_by_number_and_by_bytes(void **state)
{
    struct view *view = view_new();
    size_t size = VIEW_LINES_BYTES / 8;
    char *large = memory_new(size);
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    for (unsigned i = 0; i < VIEW_RUNS_MAX + 10; i++)
        put_number(view, DOC_RUN, i, i, 100000 + i);
    view_list(view, DOC_RUN, &(struct view_query){.limit = VIEW_RUNS_MAX + 10}, &out);
    assert_int_equal(count(&out, ",") + 1, VIEW_RUNS_MAX);
    buffer_clear(&out);
    memset(large, 'x', size);
    for (unsigned i = 0; i < 20; i++)
        put(view, DOC_RUN, i, 1000000 + i, span_make(large, size));
    view_list(view, DOC_RUN, &(struct view_query){.limit = VIEW_RUNS_MAX}, &out);
    assert_in_range(out.size, 6 * size, VIEW_LINES_BYTES);
    free(large);
    buffer_free(&out);
    view_free(view);
}

/* Alerts that are open stay when others come, and give way only to open ones. */
static void an_open_alert_outlasts_resolved_ones(void **state)
{
    const struct span resolved = SPAN_LITERAL("{\"state\":\"resolved\"}"),
                      firing =
                          SPAN_LITERAL("{\"state\":\"firing\",\"text\":\"\\\"state\\\":\\\"resolved\\\"\"}");
    struct view *view = view_new();
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    put(view, DOC_ALERT, 0, 0, firing);
    for (unsigned i = 1; i <= 2 * VIEW_ALERTS_MAX; i++)
        put(view, DOC_ALERT, i, i, resolved);
    assert_true(view_history(view, group_id(0), &out));
    assert_false(view_history(view, group_id(VIEW_ALERTS_MAX), &out));
    assert_true(view_history(view, group_id(VIEW_ALERTS_MAX + 2), &out));
    put(view, DOC_ALERT, 0, 1, resolved);
    put(view, DOC_ALERT, 1, 2, firing);
    assert_false(view_history(view, group_id(0), &out));
    for (unsigned i = 2; i <= VIEW_ALERTS_MAX; i++)
        put(view, DOC_ALERT, i, i, firing);
    assert_true(view_history(view, group_id(1), &out));
    put(view, DOC_ALERT, 0, VIEW_ALERTS_MAX + 1, firing);
    assert_false(view_history(view, group_id(1), &out));
    buffer_free(&out);
    view_free(view);
}

static void points_come_in_order_of_time_and_replace(void **state)
{
    struct view *view = view_new();
    struct buffer out;
    uint64_t random = 5;
    unsigned newest[1000] = {0};

    buffer_init(&out, OUT_LIMIT);
    put_bucket(view, 7, 20, 2, false);
    put_bucket(view, 7, 10, 1, true);
    put_bucket(view, 7, 20, 3, false);
    assert_true(view_points(view, group_id(7), &out));
    assert_out(
        &out, "[{\"schema\":1,\"measure\":\"m7\",\"key\":{\"a\":\"x}{\\\"\"},\"count\":1,\"anomaly\":true},"
              "{\"schema\":1,\"measure\":\"m7\",\"key\":{\"a\":\"x}{\\\"\"},\"count\":3,\"anomaly\":false}]");
    for (unsigned i = 0; i < 1000; i++) {
        put_bucket(view, 8, i, i, false);
        newest[i] = i;
        unsigned earlier = i - (unsigned)random_below(&random, i < 200 ? i + 1 : 200);
        put_bucket(view, 8, earlier, 1000 + i, false);
        newest[earlier] = 1000 + i;
    }
    assert_true(view_points(view, group_id(8), &out));
    assert_int_equal(count(&out, "\"count\":"), VIEW_POINTS_MAX);
    buffer_put(&out, "", 1);
    const char *at = out.data;
    for (unsigned i = 1000 - VIEW_POINTS_MAX; i < 1000; i++) {
        at = strstr(at, "\"count\":") + strlen("\"count\":");
        assert_int_equal(strtoul(at, NULL, 10), newest[i]);
    }
    buffer_free(&out);
    view_free(view);
}

static void series_tell_what_they_are(void **state)
{
    struct view *view = view_new();
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    put_bucket(view, 0, 1000000, 1, true);
    put_bucket(view, 0, 2000000, 1, true);
    put_bucket(view, 0, 3000000, 1, false);
    view_series(view, &out);
    assert_out(
        &out,
        "[{\"series\":\"00000000000000000000000000000000\",\"measure\":\"m0\",\"key\":{\"a\":\"x}{\\\"\"},"
        "\"points\":3,\"newest\":\"1970-01-01T00:00:03.000Z\",\"anomaly_at\":\"1970-01-01T00:00:02.000Z\"}]");
    put_bucket(view, 0, 1000000, 1, false);
    put_bucket(view, 0, 2000000, 1, false);
    put_bucket(view, 1, 1, 1, false);
    view_series(view, &out);
    assert_int_equal(count(&out, "anomaly_at"), 0);
    assert_int_equal(count(&out, "\"series\""), 2);
    assert_true(strstr(out.data, "\"m0\"") < strstr(out.data, "\"m1\""));
    buffer_free(&out);
    view_free(view);
}

/* More live series than fit do not push each other out; one that has become quiet gives way. */
static void only_a_quiet_series_gives_way(void **state)
{
    struct view *view = view_new();
    struct buffer out;
    int64_t now = 1000;

    buffer_init(&out, OUT_LIMIT);
    for (unsigned i = 0; i < VIEW_SERIES_MAX + 500; i++)
        put_bucket(view, i, now, i, false);
    assert_false(view_points(view, group_id(VIEW_SERIES_MAX), &out));
    now += VIEW_SERIES_QUIET_US;
    for (unsigned i = 1; i < VIEW_SERIES_MAX; i++)
        put_bucket(view, i, now, i, false);
    put_bucket(view, 5000, now - 1, 1, false);
    assert_false(view_points(view, group_id(5000), &out));
    put_bucket(view, 5000, now, 1, false);
    assert_true(view_points(view, group_id(5000), &out));
    assert_false(view_points(view, group_id(0), &out));
    put_bucket(view, 5001, now, 1, false);
    assert_false(view_points(view, group_id(5001), &out));
    buffer_clear(&out);
    view_series(view, &out);
    assert_int_equal(count(&out, "\"series\""), VIEW_SERIES_MAX);
    buffer_free(&out);
    view_free(view);
}

static void series_share_the_bytes(void **state)
{
    enum { SHARERS = 8, LINE = 1 << 16 };
    struct view *view = view_new();
    char *line = memory_new(LINE);
    struct buffer out;
    size_t total = 0;

    buffer_init(&out, OUT_LIMIT);
    int head = snprintf(line, LINE, "{\"measure\":\"m\",\"key\":{},\"text\":\"");
    memset(line + head, 'x', (size_t)(LINE - head));
    for (int i = 0; i < 2 * VIEW_POINTS_MAX; i++)
        for (unsigned k = 0; k < SHARERS; k++)
            put(view, DOC_BUCKET, k, i, span_make(line, LINE));
    for (unsigned k = 0; k < SHARERS; k++) {
        view_points(view, group_id(k), &out);
        assert_in_range(out.size, VIEW_POINTS_BYTES / SHARERS / 2, VIEW_POINTS_BYTES / SHARERS * 2);
        total += out.size;
        buffer_clear(&out);
    }
    assert_in_range(total, VIEW_POINTS_BYTES / 2, 2 * VIEW_POINTS_BYTES);
    free(line);
    buffer_free(&out);
    view_free(view);
}

static void hear(struct view *view, enum document_kind kind, uint64_t group, int64_t time_us,
                 uint64_t version, const char *text)
{
    assert_true(view_hear(view, &(struct view_line){.kind = kind,
                                                    .group = group_id(group),
                                                    .time_us = time_us,
                                                    .version = version,
                                                    .text = span_of(text)}));
}

/* By versions, whatever the times, and whoever has told it. */
static void an_older_line_does_not_replace_a_newer_one(void **state)
{
    struct view *view = view_new();
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    hear(view, DOC_RUN, 1, 10, 5, "5");
    hear(view, DOC_RUN, 1, 20, 4, "4");
    view_list(view, DOC_RUN, &(struct view_query){.limit = 10}, &out);
    assert_out(&out, "[5]");
    hear(view, DOC_RUN, 1, 9, 6, "6");
    hear(view, DOC_RUN, 1, 8, 6, "7");
    view_list(view, DOC_RUN, &(struct view_query){.limit = 10}, &out);
    assert_out(&out, "[7]");
    put_number(view, DOC_RUN, 1, 7, 8);
    view_list(view, DOC_RUN, &(struct view_query){.limit = 10}, &out);
    assert_out(&out, "[7]");

    hear(view, DOC_BUCKET, 2, 10, 5, "{\"measure\":\"m\",\"key\":{},\"count\":5}");
    hear(view, DOC_BUCKET, 2, 10, 4, "{\"measure\":\"m\",\"key\":{},\"count\":4}");
    hear(view, DOC_BUCKET, 2, 9, 1, "{\"measure\":\"m\",\"key\":{},\"count\":1}");
    assert_true(view_points(view, group_id(2), &out));
    assert_out(&out,
               "[{\"measure\":\"m\",\"key\":{},\"count\":1},{\"measure\":\"m\",\"key\":{},\"count\":5}]");
    hear(view, DOC_BUCKET, 2, 10, 5, "{\"measure\":\"m\",\"key\":{},\"count\":6}");
    assert_true(view_points(view, group_id(2), &out));
    assert_int_equal(count(&out, "\"count\":6"), 1);
    assert_int_equal(count(&out, "\"count\":5"), 0);
    buffer_free(&out);
    view_free(view);
}

static void remember(void *owner, const struct view_line *line)
{
    buffer_print(owner, "%d:%.*s ", line->kind, (int)line->text.size, line->text.data);
}

static void the_tap_has_what_was_put_and_not_what_was_heard(void **state)
{
    struct view *view = view_new();
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    view_set_tap(view, remember, &out);
    put_number(view, DOC_RUN, 1, 1, 11);
    hear(view, DOC_RUN, 1, 1, 1, "12");
    put_number(view, DOC_SIGNAL, 1, 1, 13);
    put_number(view, DOC_ALERT, 1, 1, 14);
    view_set_tap(view, NULL, NULL);
    put_number(view, DOC_ALERT, 1, 1, 15);
    assert_out(&out, "1:11 4:14 ");
    buffer_free(&out);
    view_free(view);
}

static void *write_all(void *argument)
{
    for (unsigned i = 0; i < STEPS; i++) {
        put_number(argument, DOC_ALERT, i, i, 100000 + i);
        put_number(argument, DOC_RUN, i % 100, i, 100000 + i);
        put_bucket(argument, i % 50, i, 100000 + i, i % 7 == 0);
    }
    return NULL;
}

static void readers_and_writers_at_a_time(void **state)
{
    struct view *view = view_new();
    pthread_t writers[2];
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_all, view), 0);
    for (unsigned i = 0; i < 200; i++) {
        view_list(view, DOC_ALERT, &(struct view_query){.limit = 50}, &out);
        assert_true(out.data[0] == '[' && out.data[out.size - 1] == ']');
        assert_true(count(&out, ",") < 50);
        view_series(view, &out);
        view_points(view, group_id(i % 50), &out);
        buffer_clear(&out);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    view_list(view, DOC_ALERT, &(struct view_query){.limit = 1}, &out);
    assert_out(&out, "[105999]");
    view_list(view, DOC_RUN, &(struct view_query){.limit = VIEW_RUNS_MAX}, &out);
    assert_int_equal(count(&out, ",") + 1, 100);
    buffer_free(&out);
    view_free(view);
}

/* Asks for lines by members ("name=TEXT", as JSON writes it) and words; compares the answer and the total. */
static void assert_found(struct view *view, const char *const *members, const char *words, size_t skip,
                         size_t limit, size_t total, const char *expected)
{
    struct view_match matches[4];
    struct span texts[4];
    struct view_query query = {.matches = matches, .words = texts, .skip = skip, .limit = limit};
    char names[4][16];
    struct buffer out;

    buffer_init(&out, OUT_LIMIT);
    for (; members && members[query.match_count]; query.match_count++) {
        const char *member = members[query.match_count], *equals = strchr(member, '=');
        char *name = names[query.match_count];

        snprintf(name, sizeof names[0], "%.*s", (int)(equals - member), member);
        matches[query.match_count] = (struct view_match){.member = name, .text = span_of(equals + 1)};
    }
    while (*(words += strspn(words, " "))) {
        texts[query.word_count++] = span_make(words, strcspn(words, " "));
        words += strcspn(words, " ");
    }
    assert_int_equal(view_list(view, DOC_ALERT, &query, &out), total);
    assert_out(&out, expected);
    buffer_free(&out);
}

#define FIRST  "{\"state\":\"firing\",\"x\":{\"rule\":\"b\",\"state\":\"z\"},\"rule\":\"a:b\",\"n\":1}"
#define SECOND "{\"state\":\"resolved\",\"why\":[{\"rule\":\"c\"},\"state\"],\"task\":\"say \\\"Hi\\\"\"}"
#define THIRD  "{\"rule\":\"a:b\",\"state\":\"pending\",\"target\":\"orders\\\\\"}"

static void lists_are_filtered_by_members_and_words(void **state)
{
    static const char *const texts[] = {THIRD, SECOND, FIRST};
    static const char *const firing[] = {"state=\"firing\"", NULL},
                             *const open[] = {"state=\"firing\"", "state=\"pending\"", NULL},
                             *const both[] = {"state=\"pending\"", "rule=\"a:b\"", NULL},
                             *const escaped[] = {"task=\"say \\\"Hi\\\"\"", NULL},
                             *const inner[] = {"rule=\"b\"", NULL}, *const absent[] = {"rule=", NULL},
                             *const number[] = {"n=1", NULL}, *const value[] = {"firing=\"x\"", NULL};
    struct view *view = view_new();

    for (unsigned i = 0; i < 3; i++)
        put(view, DOC_ALERT, i, i, span_of(texts[i]));
    assert_found(view, NULL, "", 0, 9, 3, "[" FIRST "," SECOND "," THIRD "]");
    assert_found(view, firing, "", 0, 9, 1, "[" FIRST "]");
    assert_found(view, open, "", 0, 9, 2, "[" FIRST "," THIRD "]");
    assert_found(view, open, "", 1, 9, 2, "[" THIRD "]");
    assert_found(view, open, "", 0, 1, 2, "[" FIRST "]");
    assert_found(view, open, "", 5, 1, 2, "[]");
    assert_found(view, both, "", 0, 9, 1, "[" THIRD "]");
    assert_found(view, escaped, "", 0, 9, 1, "[" SECOND "]");
    assert_found(view, inner, "", 0, 9, 0, "[]");
    assert_found(view, absent, "", 0, 9, 1, "[" SECOND "]");
    assert_found(view, number, "", 0, 9, 0, "[]");
    assert_found(view, value, "", 0, 9, 0, "[]");
    assert_found(view, NULL, "SAY hi", 0, 9, 1, "[" SECOND "]");
    assert_found(view, NULL, "state", 0, 9, 1, "[" SECOND "]");
    assert_found(view, NULL, "target", 0, 9, 0, "[]");
    assert_found(view, NULL, "ORDERS\\\\", 0, 9, 1, "[" THIRD "]");
    assert_found(view, NULL, "a:b fir", 0, 9, 1, "[" FIRST "]");
    view_free(view);
}

static void an_alert_keeps_its_lines(void **state)
{
    struct view *view = view_new();
    struct buffer out;
    char text[16];

    buffer_init(&out, OUT_LIMIT);
    hear(view, DOC_ALERT, 1, 10, 1, "1");
    hear(view, DOC_ALERT, 1, 20, 2, "2");
    hear(view, DOC_ALERT, 1, 20, 2, "22");
    hear(view, DOC_ALERT, 1, 15, 1, "11");
    hear(view, DOC_ALERT, 1, 30, 3, "3");
    hear(view, DOC_ALERT, 2, 30, 1, "other");
    assert_true(view_history(view, group_id(1), &out));
    assert_out(&out, "[1,22,3]");
    assert_false(view_history(view, group_id(3), &out));
    assert_int_equal(out.size, 0);
    for (unsigned i = 4; i < 4 + 2 * VIEW_HISTORY_MAX; i++) {
        snprintf(text, sizeof text, "%u", i);
        hear(view, DOC_ALERT, 1, 30 + i, i, text);
    }
    assert_true(view_history(view, group_id(1), &out));
    assert_int_equal(count(&out, ","), VIEW_HISTORY_MAX);
    assert_int_equal(strncmp(out.data, "[53,54,", 7), 0);
    buffer_free(&out);
    view_free(view);
}

/* Many lines of few alerts stay within the bytes, too. */
static void earlier_lines_count_as_bytes(void **state)
{
    struct view *view = view_new();
    struct buffer out;
    size_t size = VIEW_LINES_BYTES / 100;
    char *text = memory_new(size);

    memset(text, '7', size);
    buffer_init(&out, OUT_LIMIT);
    for (uint64_t version = 1; version <= 40; version++)
        for (uint64_t group = 0; group < 4; group++)
            view_hear(view, &(struct view_line){.kind = DOC_ALERT,
                                                .group = group_id(group),
                                                .time_us = (int64_t)version,
                                                .version = version,
                                                .text = span_make(text, size)});
    for (uint64_t group = 0; group < 4; group++)
        view_history(view, group_id(group), &out);
    assert_true(out.size > VIEW_LINES_BYTES / 2 && out.size <= VIEW_LINES_BYTES);
    buffer_free(&out);
    free(text);
    view_free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_agree_with_a_sorted_array),
        cmocka_unit_test(kinds_are_kept_apart_and_others_ignored),
        cmocka_unit_test(runs_are_bounded_by_number_and_by_bytes),
        cmocka_unit_test(an_open_alert_outlasts_resolved_ones),
        cmocka_unit_test(points_come_in_order_of_time_and_replace),
        cmocka_unit_test(series_tell_what_they_are),
        cmocka_unit_test(only_a_quiet_series_gives_way),
        cmocka_unit_test(series_share_the_bytes),
        cmocka_unit_test(an_older_line_does_not_replace_a_newer_one),
        cmocka_unit_test(lists_are_filtered_by_members_and_words),
        cmocka_unit_test(an_alert_keeps_its_lines),
        cmocka_unit_test(earlier_lines_count_as_bytes),
        cmocka_unit_test(the_tap_has_what_was_put_and_not_what_was_heard),
        cmocka_unit_test(readers_and_writers_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
