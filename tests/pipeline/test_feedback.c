/* Marks of alerts: kept over a close, replaced, taken back, and told as labels. */
#include "base/memory.h"
#include "pipeline/feedback.h"
#include "tests/pipeline/support.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static const struct id128 first = {1, 0xAB}, second = {2, 0}, third = {3, 0};

static struct feedback *open_feedback(const struct folder *folder)
{
    const struct store_options options = {.limit_bytes = 0};
    struct feedback *feedback;
    struct error error;

    if (feedback_open(folder_path(folder, "weir.db"), &options, &feedback, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return feedback;
}

static struct span line_of(struct id128 episode, const char *target, const char *more)
{
    static char line[512];
    int size =
        snprintf(line, sizeof line,
                 "{\"episode\":\"%016llx%016llx\",\"at\":\"2026-01-01T02:00:00.000Z\",\"starts_at\":"
                 "\"2026-01-01T01:00:00.000Z\",%s\"rule\":\"slow\",\"kind\":\"metric\",\"target\":\"%s\"}",
                 (unsigned long long)episode.high, (unsigned long long)episode.low, more, target);

    return span_make(line, (size_t)size);
}

static void put(struct feedback *feedback, struct id128 episode, enum feedback_mark mark, int64_t now_us,
                struct span line)
{
    struct error error;

    if (feedback_put(feedback, episode, mark, now_us, line, &error) != STATUS_OK)
        fail_msg("%s", error.text);
}

static void expect(struct feedback *feedback, const char *marks)
{
    struct buffer out;
    struct error error;

    buffer_init(&out, 1 << 16);
    assert_int_equal(feedback_write(feedback, &out, &error), STATUS_OK);
    buffer_put_char(&out, 0);
    assert_string_equal(out.data, marks);
    buffer_free(&out);
}

static void marks_are_kept(void **state)
{
    struct folder folder;
    struct feedback *feedback;

    folder_open(&folder);
    feedback = open_feedback(&folder);
    expect(feedback, "[]");
    put(feedback, first, FEEDBACK_NOISE, 1000000, line_of(first, "a", ""));
    put(feedback, second, FEEDBACK_NOISE, 2000000, line_of(second, "b", ""));
    put(feedback, first, FEEDBACK_RIGHT, 3000000, line_of(first, "a", ""));
    put(feedback, third, FEEDBACK_NONE, 4000000, line_of(third, "c", "")); /* there was none */
    feedback_close(feedback);
    feedback = open_feedback(&folder);
    expect(feedback, "[{\"episode\":\"000000000000000100000000000000ab\",\"mark\":\"right\",\"at\":"
                     "\"1970-01-01T00:00:03.000Z\"},"
                     "{\"episode\":\"00000000000000020000000000000000\",\"mark\":\"noise\",\"at\":"
                     "\"1970-01-01T00:00:02.000Z\"}]");
    put(feedback, first, FEEDBACK_NONE, 5000000, line_of(first, "a", ""));
    put(feedback, second, FEEDBACK_NONE, 5000000, line_of(second, "b", ""));
    expect(feedback, "[]");
    feedback_close(feedback);
    folder_close(&folder);
}

/* Right is an incident, noise is none, and of the others nothing is known. */
static void marks_become_labels(void **state)
{
    struct folder folder;
    struct feedback *feedback;
    struct buffer alerts, out;
    struct error error;

    folder_open(&folder);
    feedback = open_feedback(&folder);
    buffer_init(&alerts, 1 << 16);
    buffer_init(&out, 1 << 16);
    put(feedback, first, FEEDBACK_RIGHT, 1, line_of(first, "a", "\"ends_at\":\"2026-01-01T01:30:00.000Z\","));
    put(feedback, second, FEEDBACK_NOISE, 2, line_of(second, "b", ""));
    buffer_put_char(&alerts, '[');
    buffer_put_span(&alerts, line_of(first, "a", ""));
    buffer_put_char(&alerts, ',');
    buffer_put_span(&alerts, line_of(second, "b", ""));
    buffer_put_char(&alerts, ',');
    buffer_put_span(&alerts, line_of(third, "c/d", ""));
    buffer_put_char(&alerts, ']');
    assert_int_equal(feedback_write_labels(feedback, buffer_span(&alerts), &out, &error), STATUS_OK);
    buffer_put_char(&out, 0);
    assert_string_equal(
        out.data, "{\"start\":\"2026-01-01T01:00:00.000Z\",\"end\":\"2026-01-01T01:30:00.000Z\",\"target\":"
                  "\"a\",\"kind\":\"metric\",\"rule\":\"slow\"}\n"
                  "{\"start\":\"2026-01-01T01:00:00.000Z\",\"end\":\"2026-01-01T02:00:00.000Z\",\"target\":"
                  "\"c/d\",\"kind\":\"metric\",\"rule\":\"slow\",\"ignore\":true}\n");
    buffer_free(&alerts);
    buffer_free(&out);
    feedback_close(feedback);
    folder_close(&folder);
}

static void damage_is_told(void **state)
{
    struct folder folder;
    struct feedback *feedback;
    struct buffer out;
    struct error error;
    sqlite3 *database;

    folder_open(&folder);
    feedback = open_feedback(&folder);
    put(feedback, first, FEEDBACK_RIGHT, 1, line_of(first, "a", ""));
    assert_int_equal(sqlite3_open(folder_path(&folder, "weir.db"), &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, "UPDATE feedback SET mark = 1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
    buffer_init(&out, 1 << 16);
    assert_int_equal(feedback_write(feedback, &out, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "is damaged: a mark of an alert"));
    buffer_free(&out);
    feedback_close(feedback);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_kept),
        cmocka_unit_test(marks_become_labels),
        cmocka_unit_test(damage_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
