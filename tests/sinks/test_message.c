/* What people and Alertmanagers are told: golden texts, limits, texts that look like markup. */
#include "sinks/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IDENTITY                                                                                             \
    "\"rule\":\"task_failed\",\"kind\":\"failure\",\"severity\":\"critical\",\"target\":\"etl/load\","       \
    "\"workflow\":\"etl\",\"task\":\"load\",\"run\":\"0b1c\",\"run_name\":\"manual__1\","                    \
    "\"labels\":{\"workflow\":\"etl\",\"labels.team\":\"data\"},"                                            \
    "\"annotations\":{\"summary\":\"load: database is locked\",\"runbook\":\"https://wiki/load\"},"          \
    "\"links\":{\"url\":\"https://airflow/log?a=1&b=2\"}"
#define FIRING                                                                                               \
    "{\"schema\":1,\"id\":\"0a\",\"episode\":\"0e\",\"revision\":0,\"at\":\"2026-11-21T02:05:30.000Z\","     \
    "\"state\":\"firing\",\"reason\":\"condition\"," IDENTITY                                                \
    ",\"starts_at\":\"2026-11-21T02:00:00.000Z\",\"provisional\":false}"
#define RESOLVED                                                                                             \
    "{\"schema\":1,\"id\":\"0b\",\"episode\":\"0e\",\"revision\":1,\"at\":\"2026-11-21T03:10:00.000Z\","     \
    "\"state\":\"resolved\",\"reason\":\"expired\"," IDENTITY                                                \
    ",\"starts_at\":\"2026-11-21T02:00:00.000Z\",\"ends_at\":\"2026-11-21T03:10:00.000Z\"}"
#define DIGEST(alerts, resolved, firing, lines)                                                              \
    "{\"schema\":1,\"id\":\"0d\",\"digest\":{\"from\":\"2026-11-21T02:00:00.000Z\",\"until\":"               \
    "\"2026-11-21T03:10:00.000Z\",\"alerts\":" alerts ",\"resolved\":" resolved ",\"firing\":" firing        \
    "},\"alerts\":[" lines "]}"

enum form { TITLE, TEXT, SLACK, ALERTMANAGER, WEBHOOK };

/* "": there is nothing in it for the reader. */
static char *render(enum form form, const char *document)
{
    struct alert_message message;
    struct buffer out;
    bool any = true;

    assert_true(message_read(span_of(document), &message));
    buffer_init(&out, 1 << 24);
    if (form == TITLE)
        message_title(&message, &out);
    else if (form == TEXT)
        message_text(&message, "night", &out);
    else if (form == SLACK)
        message_slack(&message, "night", &out);
    else if (form == ALERTMANAGER)
        any = message_alertmanager(&message, "night", &out);
    else
        any = message_alertmanager_webhook(&message, "night", "ops", &out);
    if (!any)
        buffer_clear(&out);
    buffer_put_char(&out, '\0');
    message_free(&message);
    return out.data;
}

static void must_be(enum form form, const char *document, const char *expected)
{
    char *text = render(form, document);

    assert_string_equal(text, expected);
    free(text);
}

static void test_title(void **state)
{
    must_be(TITLE, FIRING, "CRITICAL firing: etl / load: load: database is locked");
    must_be(TITLE, RESOLVED, "resolved (expired): etl / load: load: database is locked");
    must_be(TITLE, DIGEST("23", "20", "3", ""),
            "23 alerts between 2026-11-21 02:00 and 2026-11-21 03:10 UTC while weir was behind: 20 resolved, "
            "3 still firing");
}

static void test_text(void **state)
{
    must_be(
        TEXT, FIRING,
        "CRITICAL firing: etl / load\nload: database is locked\nSince 2026-11-21 02:00:00 UTC, for 5m 30s\n"
        "Run: manual__1 https://airflow/log?a=1&b=2\nRunbook: https://wiki/load\nRule: task_failed\n"
        "Pipeline: night\n");
    must_be(TEXT, RESOLVED,
            "resolved (expired): etl / load\nload: database is locked\n"
            "From 2026-11-21 02:00:00 to 2026-11-21 03:10:00 UTC, lasted 1h 10m\n"
            "Run: manual__1 https://airflow/log?a=1&b=2\nRunbook: https://wiki/load\nRule: task_failed\n"
            "Pipeline: night\n");
    must_be(TEXT, DIGEST("1", "0", "1", FIRING),
            "1 alert between 2026-11-21 02:00 and 2026-11-21 03:10 UTC while weir was behind: 0 resolved, 1 "
            "still firing.\n\nCRITICAL firing: etl / load: load: database is locked\n"
            "Since 2026-11-21 02:00:00 UTC, for 5m 30s\nRun: manual__1 https://airflow/log?a=1&b=2\n"
            "Pipeline: night\n");
}

#define SECTION(text) "{\"type\":\"section\",\"text\":{\"type\":\"mrkdwn\",\"text\":\"" text "\"}}"
#define CONTEXT                                                                                              \
    "{\"type\":\"context\",\"elements\":[{\"type\":\"mrkdwn\",\"text\":\"weir, pipeline night\"}]}"

static void test_slack(void **state)
{
    must_be(SLACK, FIRING,
            "{\"text\":\"CRITICAL firing: etl / load: load: database is locked\",\"blocks\":[" SECTION(
                "*CRITICAL firing*: etl / load\\nload: database is locked\\n"
                "Since 2026-11-21 02:00:00 UTC, for 5m 30s\\n"
                "Run: <https://airflow/log?a=1&amp;b=2|manual__1>\\nRunbook: <https://wiki/load>\\n"
                "Rule: task_failed") "," CONTEXT "]}");
    must_be(
        SLACK, DIGEST("21", "20", "1", FIRING),
        "{\"text\":\"21 alerts between 2026-11-21 02:00 and 2026-11-21 03:10 UTC while weir was behind: 20 "
        "resolved, 1 still firing\",\"blocks\":[" SECTION(
            "21 alerts between 2026-11-21 02:00 and 2026-11-21 03:10 UTC while weir was behind: 20 "
            "resolved, 1 still firing") "," SECTION("CRITICAL firing: etl / load: load: database is "
                                                    "locked\\nSince 2026-11-21 02:00:00 UTC, for 5m "
                                                    "30s\\nRun: "
                                                    "<https://airflow/log?a=1&amp;b=2|manual__1>") "," CONTEXT
                                                                                                   "]}");
}

#define LABELS                                                                                               \
    "\"labels\":{\"alertname\":\"task_failed\",\"kind\":\"failure\",\"labels_team\":\"data\","               \
    "\"pipeline\":\"night\",\"severity\":\"critical\",\"workflow\":\"etl\"}"
#define ANNOTATIONS                                                                                          \
    "{\"summary\":\"load: database is locked\",\"runbook_url\":\"https://wiki/load\","                       \
    "\"target\":\"etl/load\",\"run\":\"manual__1\",\"run_url\":\"https://airflow/log?a=1&b=2\"}"

static void test_alertmanager(void **state)
{
    must_be(ALERTMANAGER, FIRING,
            "[{" LABELS ",\"annotations\":" ANNOTATIONS
            ",\"startsAt\":\"2026-11-21T02:00:00.000Z\",\"endsAt\":\"9999-12-31T23:59:59.999Z\","
            "\"generatorURL\":\"https://airflow/log?a=1&b=2\"}]");
    must_be(ALERTMANAGER, RESOLVED,
            "[{" LABELS ",\"annotations\":" ANNOTATIONS
            ",\"startsAt\":\"2026-11-21T02:00:00.000Z\",\"endsAt\":\"2026-11-21T03:10:00.000Z\","
            "\"generatorURL\":\"https://airflow/log?a=1&b=2\"}]");
    must_be(ALERTMANAGER, DIGEST("20", "20", "0", ""), "");
    must_be(ALERTMANAGER,
            "{\"state\":\"pending\",\"severity\":\"info\",\"starts_at\":\"2026-11-21T02:00:00Z\"}", "");
}

static void test_alertmanager_webhook(void **state)
{
    must_be(WEBHOOK, RESOLVED,
            "{\"version\":\"4\",\"groupKey\":\"0e\",\"truncatedAlerts\":0,\"status\":\"resolved\","
            "\"receiver\":\"ops\",\"groupLabels\":{\"alertname\":\"task_failed\",\"kind\":\"failure\","
            "\"labels_team\":\"data\",\"pipeline\":\"night\",\"severity\":\"critical\",\"workflow\":\"etl\"},"
            "\"commonLabels\":{\"alertname\":\"task_failed\",\"kind\":\"failure\",\"labels_team\":\"data\","
            "\"pipeline\":\"night\",\"severity\":\"critical\",\"workflow\":\"etl\"},"
            "\"commonAnnotations\":" ANNOTATIONS
            ",\"externalURL\":\"\",\"alerts\":[{\"status\":\"resolved\"," LABELS
            ",\"annotations\":" ANNOTATIONS
            ",\"startsAt\":\"2026-11-21T02:00:00.000Z\",\"endsAt\":\"2026-11-21T03:10:00.000Z\","
            "\"generatorURL\":\"https://airflow/log?a=1&b=2\",\"fingerprint\":\"f986d6fb9bcfce3c\"}]}");
    must_be(WEBHOOK, DIGEST("20", "20", "0", ""), "");
}

static void test_hostile_texts(void **state)
{
    char *text = render(SLACK, "{\"state\":\"firing\",\"severity\":\"info\",\"reason\":\"condition\","
                               "\"rule\":\"<!channel>\",\"workflow\":\"a|b>c\",\"run\":\"r>|<\","
                               "\"annotations\":{\"summary\":\"<@U1> &lt; \\u0007\\n\\\"'\","
                               "\"runbook\":\"javascript:alert(1)\"},"
                               "\"links\":{\"url\":\"https://x/<|>%zz\"}}");

    assert_string_equal(text,
                        "{\"text\":\"INFO firing: a|b&gt;c: &lt;@U1&gt; &amp;lt;   \\\"'\","
                        "\"blocks\":[" SECTION("*INFO firing*: a|b&gt;c\\n&lt;@U1&gt; &amp;lt;  \\n\\\"'\\n"
                                               "Run: r&gt;|&lt; https://x/&lt;|&gt;%zz\\n"
                                               "Runbook: javascript:alert(1)\\n"
                                               "Rule: &lt;!channel&gt;") "," CONTEXT "]}");
    free(text);
    text = render(ALERTMANAGER,
                  "{\"state\":\"firing\",\"severity\":\"info\",\"rule\":\"r\","
                  "\"starts_at\":\"2026-11-21T02:00:00Z\",\"links\":{\"url\":\"https://x/%zz\"},"
                  "\"labels\":{\"9 x\":\"a\",\"\xC3\xA9\":\"b\",\"__\":\"c\",\"alertname\":\"no\"}}");
    assert_string_equal(
        text, "[{\"labels\":{\"_9_x\":\"a\",\"__\":\"b\",\"alertname\":\"r\","
              "\"pipeline\":\"night\",\"severity\":\"info\"},"
              "\"annotations\":{\"run_url\":\"https://x/%zz\"},"
              "\"startsAt\":\"2026-11-21T02:00:00.000Z\",\"endsAt\":\"9999-12-31T23:59:59.999Z\"}]");
    free(text);
}

static size_t text_size(yajl_val tree, const char *first, const char *second)
{
    const char *path[] = {first, second, NULL};

    return span_of(YAJL_GET_STRING(yajl_tree_get(tree, path, yajl_t_string))).size;
}

/* Every text as long as can be, of characters that grow by escapes or have several bytes. */
static void test_limits(void **state)
{
    static const char *const fillers[] = {"&", "\xF0\x9F\x98\x80", "x"};
    const char *blocks_path[] = {"blocks", NULL};

    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        struct buffer filler, line, digest;

        buffer_init(&filler, 1 << 24);
        buffer_init(&line, 1 << 24);
        buffer_init(&digest, 1 << 24);
        while (filler.size < 4000)
            buffer_put_text(&filler, fillers[i]);
        buffer_put_char(&filler, '\0');
        buffer_print(
            &line,
            "{\"state\":\"firing\",\"severity\":\"info\",\"rule\":\"%1$s\",\"workflow\":\"%1$s\","
            "\"task\":\"%1$s\",\"run\":\"%1$s\",\"annotations\":{\"summary\":\"%1$s\",\"description\":"
            "\"%1$s\",\"runbook\":\"https://%1$s\"},\"links\":{\"url\":\"https://%1$s\"},"
            "\"starts_at\":\"2026-11-21T02:00:00Z\",\"at\":\"2026-11-22T02:00:00Z\"}",
            filler.data);
        buffer_print(&digest, "{\"digest\":{\"alerts\":60},\"alerts\":[%s", line.data);
        for (unsigned k = 1; k < 60; k++)
            buffer_print(&digest, ",%s", line.data);
        buffer_put_text(&digest, "]}");
        buffer_put_char(&line, '\0');
        buffer_put_char(&digest, '\0');
        for (unsigned k = 0; k < 2; k++) {
            char *text = render(SLACK, k ? digest.data : line.data);
            yajl_val tree = yajl_tree_parse(text, NULL, 0);
            yajl_val blocks = yajl_tree_get(tree, blocks_path, yajl_t_array);

            assert_non_null(blocks);
            assert_in_range(text_size(tree, "text", NULL), 1, 300);
            assert_int_equal(YAJL_GET_ARRAY(blocks)->len, k ? 43 : 2);
            for (size_t b = 0; b + 1 < YAJL_GET_ARRAY(blocks)->len; b++)
                assert_in_range(text_size(YAJL_GET_ARRAY(blocks)->values[b], "text", "text"), 1, 3000);
            yajl_tree_free(tree);
            free(text);
        }
        buffer_free(&filler);
        buffer_free(&line);
        buffer_free(&digest);
    }
}

static void test_not_a_message(void **state)
{
    static const char *const others[] = {
        "", "{", "[]", "7", "{\"state\":\"firing\"}", "{\"digest\":1}", "{\"id\":\"x\"}"};
    struct alert_message message;

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(message_read(span_of(others[i]), &message));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_title),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_slack),
        cmocka_unit_test(test_alertmanager),
        cmocka_unit_test(test_alertmanager_webhook),
        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_not_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
