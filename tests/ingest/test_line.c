/* The `line` format: what each preset makes of a line, stack traces, what settings are refused, patterns that
 * would take for ever, and lines of any bytes. */
#include "ingest/line.h"
#include "tests/ingest/bad_lines.h"

#include <stdio.h>

enum { FIELDS_MAX = 8 };

static const struct example {
    const char *preset, *line, *time;
    struct {
        const char *field, *value; /* a label is "labels.x" */
    } fields[FIELDS_MAX];
} examples[] = {
    {"airflow_text",
     "[2026-11-21T09:40:15.086+0000] {plugins.py:37} INFO - setup plugin x",
     "2026-11-21T09:40:15.086Z",
     {{"level", "INFO"},
      {"logger", "plugins.py"},
      {"labels.line", "37"},
      {"message", "setup plugin x"},
      {"engine", "airflow"}}},
    {"airflow_text",
     "[2020-05-01 09:40:15,086] {taskinstance.py:900} ERROR - ",
     "2020-05-01T09:40:15.086Z",
     {{"level", "ERROR"}, {"logger", "taskinstance.py"}, {"message", ""}}},
    {"airflow_text",
     "[2026-11-21 10:06:07 +0100] [9570] [INFO] Handling signal: term",
     "2026-11-21T09:06:07Z",
     {{"labels.pid", "9570"}, {"message", "Handling signal: term"}}},
    {"airflow3_text",
     "2026-11-21T10:09:05.782731Z [error    ] Failed [x] to run  [airflow.plugins] dag_id=shop loc=p.py:210 "
     "map_index=-1 run_id=manual__1 task_id=load try_number=2",
     "2026-11-21T10:09:05.782731Z",
     {{"level", "error"},
      {"message", "Failed [x] to run"},
      {"logger", "airflow.plugins"},
      {"workflow", "shop"},
      {"task", "load"},
      {"run_name", "manual__1"}}},
    {"airflow3_text",
     "2026-11-21 10:09:05.782731+00:00 [info     ] 2 tasks up:",
     "2026-11-21T10:09:05.782731Z",
     {{"message", "2 tasks up:"}, {"logger", ""}}},
    {"celery_text",
     "[2026-11-21 09:16:58,204: INFO/ForkPoolWorker-4] Task "
     "orders.accept[31b6289e-941b-4dc8-ba89-d89dc8850eac] "
     "received",
     "2026-11-21T09:16:58.204Z",
     {{"level", "INFO"},
      {"labels.process", "ForkPoolWorker-4"},
      {"workflow", "orders.accept"},
      {"run", "31b6289e-941b-4dc8-ba89-d89dc8850eac"},
      {"message", "Task orders.accept[31b6289e-941b-4dc8-ba89-d89dc8850eac] received"}}},
    {"celery_text",
     "[2026-11-21 09:16:56,721: WARNING/MainProcess] worker-a@prod ready.",
     "2026-11-21T09:16:56.721Z",
     {{"workflow", ""}, {"message", "worker-a@prod ready."}}},
    {"syslog",
     "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 12 ID47 [exampleSDID@32473 iut=\"3\" "
     "eventSource=\"App\\\"]lication\"][b c=\"d\"] \xef\xbb\xbf"
     "An application event",
     "2003-10-11T22:14:15.003Z",
     {{"level", "notice"},
      {"labels.facility", "local4"},
      {"host", "mymachine.example.com"},
      {"logger", "evntslog"},
      {"labels.pid", "12"},
      {"action", "ID47"},
      {"message", "An application event"}}},
    {"syslog",
     "<34>1 2003-10-11T22:14:15.003Z host su - - - 'su root' failed",
     "2003-10-11T22:14:15.003Z",
     {{"level", "critical"},
      {"labels.facility", "auth"},
      {"labels.pid", ""},
      {"message", "'su root' failed"}}},
    {"syslog",
     "<34>Oct 11 22:14:15 mymachine su[77]: 'su root' failed for lonvick",
     "2024-10-11T22:14:15Z",
     {{"level", "critical"},
      {"host", "mymachine"},
      {"logger", "su"},
      {"labels.pid", "77"},
      {"message", "'su root' failed for lonvick"}}},
    {"syslog",
     "Jun  9 06:06:20 combo syslogd 1.4.1: restart.",
     "2024-06-09T06:06:20Z",
     {{"level", ""}, {"logger", "syslogd 1.4.1"}, {"message", "restart."}}},
    {"log4j",
     "081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 terminating",
     "2008-11-09T20:36:15Z",
     {{"labels.thread", "148"},
      {"level", "INFO"},
      {"logger", "dfs.DataNode$PacketResponder"},
      {"message", "PacketResponder 1 terminating"}}},
    {"log4j",
     "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.MRAppMaster: Created",
     "2015-10-18T18:01:47.978Z",
     {{"labels.thread", "main"},
      {"level", "INFO"},
      {"logger", "org.apache.hadoop.MRAppMaster"},
      {"message", "Created"}}},
    {"log4j",
     "17/06/09 20:10:40 INFO executor.Executor: Running task",
     "2017-06-09T20:10:40Z",
     {{"level", "INFO"}, {"logger", "executor.Executor"}, {"message", "Running task"}}},
    {"log4j",
     "2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:0:2181:FastLeaderElection@774] - Notification",
     "2015-07-29T17:41:44.747Z",
     {{"labels.thread", "QuorumPeer[myid=1]/0:0:0:2181"},
      {"logger", "FastLeaderElection"},
      {"labels.line", "774"},
      {"message", "Notification"}}},
    {"log4j",
     "[2023-01-01 00:00:00,123] WARN Found a corrupt index (kafka.log.LogSegment)",
     "2023-01-01T00:00:00.123Z",
     {{"level", "WARN"}, {"logger", "kafka.log.LogSegment"}, {"message", "Found a corrupt index"}}},
    {"log4j",
     "2023-01-01 00:00:00.123  INFO 4242 --- [   main] c.e.App                  : Started",
     "2023-01-01T00:00:00.123Z",
     {{"level", "INFO"},
      {"labels.pid", "4242"},
      {"labels.thread", "main"},
      {"logger", "c.e.App"},
      {"message", "Started"}}},
    {"log4j",
     "2023-01-01 00:00:00,123 [pool-1] DEBUG c.e.App - hello",
     "2023-01-01T00:00:00.123Z",
     {{"level", "DEBUG"}, {"labels.thread", "pool-1"}, {"logger", "c.e.App"}, {"message", "hello"}}},
    {"apache_error",
     "[Sun Dec 04 04:47:44 2005] [error] [client 10.0.0.1] File does not exist",
     "2005-12-04T04:47:44Z",
     {{"level", "error"}, {"labels.client", "10.0.0.1"}, {"message", "File does not exist"}}},
    {"apache_error",
     "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187] gone",
     "2011-09-09T10:42:29.902022Z",
     {{"level", "error"}, {"logger", "core"}, {"labels.pid", "35708"}, {"message", "gone"}}},
    {"combined",
     "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 "
     "\"http://example.com/\" \"Mozilla/4.08 \\\"x\\\"\"",
     "2000-10-10T20:55:36Z",
     {{"labels.status", "200"},
      {"labels.method", "GET"},
      {"labels.client", "127.0.0.1"},
      {"labels.user", "frank"},
      {"message", "GET /apache_pb.gif HTTP/1.0"},
      {"metric", "response_bytes"},
      {"unit", "bytes"}}},
    {"combined",
     "::1 - - [10/Oct/2000:13:55:36 +0000] \"\\x16\\x03\" 400 -",
     "2000-10-10T13:55:36Z",
     {{"labels.status", "400"}, {"labels.method", ""}, {"metric", ""}, {"message", "\\x16\\x03"}}},
    {"openstack",
     "nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.server [req-38101a0b a b - "
     "- -] "
     "10.11.10.1 \"GET\"",
     "2017-05-16T00:00:00.008Z",
     {{"labels.pid", "25746"},
      {"level", "INFO"},
      {"logger", "nova.server"},
      {"trace", "req-38101a0b"},
      {"message", "10.11.10.1 \"GET\""}}},
    {"openstack",
     "2017-05-16 00:00:00.008 25746 WARNING nova.compute [-] lost",
     "2017-05-16T00:00:00.008Z",
     {{"level", "WARNING"}, {"trace", ""}, {"message", "lost"}}},
};

static void rig_preset(struct rig *rig, const char *preset)
{
    char yaml[128];

    snprintf(yaml, sizeof yaml, "preset: %s\nyear: 2024\n", preset);
    rig_open(rig, "line", yaml);
}

static void assert_field(struct rig *rig, const char *name, const char *value)
{
    struct field_ref ref;
    struct span text;

    assert_true(field_ref_parse(span_of(name), &rig->labels, &ref));
    assert_true(event_text(&rig->batch, 0, ref, &text));
    if (!span_is(text, value))
        fail_msg("%s is \"%.*s\", not \"%s\"", name, (int)text.size, text.size ? text.data : "", value);
}

static void test_presets(void **state)
{
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *example = &examples[i];
        struct rig rig;

        rig_preset(&rig, example->preset);
        if (rig_decode_text(&rig, example->line) != STATUS_OK)
            fail_msg("%s: %s", example->line, rig.reason);
        assert_int_equal(rig.batch.rows, 1);
        if (rig.batch.time_us[0] != time_of(example->time))
            fail_msg("%s: time", example->line);
        for (size_t f = 0; f < FIELDS_MAX && example->fields[f].field; f++)
            assert_field(&rig, example->fields[f].field, example->fields[f].value);
        if (rig.type->joins(rig.format))
            assert_false(rig.type->continues(rig.format, SPAN_LITERAL("x"), span_of(example->line)));
        rig_close(&rig);
    }
}

static void test_every_preset_has_an_example(void **state)
{
    for (size_t i = 0; line_presets[i].name; i++) {
        struct format_preset found;
        size_t count = 0;

        assert_true(format_preset_at(i, &found));
        assert_string_equal(found.type->name, "line");
        for (size_t e = 0; e < sizeof examples / sizeof *examples; e++)
            count += strcmp(examples[e].preset, found.name) == 0;
        if (count == 0)
            fail_msg("%s has no example", found.name);
    }
}

static void test_more_fields(void **state)
{
    struct rig rig;

    rig_preset(&rig, "airflow3_text");
    assert_int_equal(rig_decode_text(&rig, examples[3].line), STATUS_OK);
    assert_int_equal(rig.batch.attempt[0], 2);
    assert_int_equal(rig.batch.map_index[0], INT32_MIN); /* -1 is a task that is not mapped */
    rig_close(&rig);
    rig_preset(&rig, "combined");
    assert_int_equal(rig_decode_text(&rig, examples[20].line), STATUS_OK);
    assert_true(rig.batch.value[0] == 2326);
    rig_close(&rig);
}

#define HEAD "[2026-11-21 09:16:58,204: ERROR/ForkPoolWorker-4] "

static const struct traced {
    const char *record, *message, *trace, *error, *type;
} traced[] = {
    {HEAD "raised\nTraceback (most recent call last):\n  File \"a.py\", line 1, in run\n    "
          "x()\napp.GatewayError: 502",
     "raised",
     "Traceback (most recent call last):\n  File \"a.py\", line 1, in run\n    x()\napp.GatewayError: 502",
     "app.GatewayError: 502", "app.GatewayError"},
    {HEAD
     "a\nb\nTraceback (most recent call last):\n  File \"a\"\nKeyError: 1\n\nDuring handling of the above "
     "exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"b\"\n    y\n"
     "ValueError: bad\nmore of it",
     "a\nb", NULL, "ValueError: bad", "ValueError"},
    {HEAD "x\n  Traceback (most recent call last):\n    File \"a\"\n  StopIteration", "x", NULL,
     "StopIteration", "StopIteration"},
    {HEAD "failed\njava.io.IOException: no file\n\tat a.B.c(B.java:1)\nCaused by: java.lang.Error: y\n\t... "
          "3 more",
     "failed", NULL, "java.io.IOException: no file", "java.io.IOException"},
    {HEAD "failed: x\n\tat a.B.c(B.java:1)", "failed: x", "\tat a.B.c(B.java:1)", "", ""},
    {HEAD "TypeError: x is not a function\n    at Object.<anonymous> (a.js:1:1)",
     "TypeError: x is not a function", NULL, "TypeError: x is not a function", "TypeError"},
    {HEAD "table:\n  a  b\n\n  1  2", "table:\n  a  b\n\n  1  2", "", "", ""},
    {HEAD "cut\nTraceback (most recent call last):\n  File \"a\"", "cut", NULL, "", ""},
};

static void test_stack_traces(void **state)
{
    struct rig rig;

    rig_preset(&rig, "celery_text");
    for (size_t i = 0; i < sizeof traced / sizeof *traced; i++) {
        assert_int_equal(rig_decode_text(&rig, traced[i].record), STATUS_OK);
        assert_int_equal(rig.batch.rows, 1);
        assert_field(&rig, "message", traced[i].message);
        assert_field(&rig, "error", traced[i].error);
        assert_field(&rig, "error_type", traced[i].type);
        if (traced[i].trace)
            assert_field(&rig, "stack_trace", traced[i].trace);
        else
            assert_true(rig.batch.stack_trace[0].size > 0);
    }
    rig_close(&rig);
}

static void test_lines_behind_a_message_that_is_not_the_end(void **state)
{
    struct rig rig;

    rig_preset(&rig, "log4j");
    assert_int_equal(
        rig_decode_text(&rig,
                        "[2023-01-01 00:00:00,123] ERROR Broken (kafka.Log)\njava.lang.Error: x\n\tat a"),
        STATUS_OK);
    assert_field(&rig, "message", "Broken");
    assert_field(&rig, "logger", "kafka.Log");
    assert_field(&rig, "error", "java.lang.Error: x");
    rig_close(&rig);
}

static void test_own_pattern(void **state)
{
    struct rig rig;

    rig_open(&rig, "line",
             "pattern: '(?<time>\\S+ \\S+) (?<state>\\w+) (?<duration_ms>[^ ]*) (?<team>\\w*)$'\n"
             "time_layout: '%d.%m.%Y %H:%M:%S'\ntime_zone: '+02:00'\n");
    assert_int_equal(rig_decode_text(&rig, "21.11.2026 11:16:58,25 failed 12.5 red"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == time_of("2026-11-21T09:16:58.25Z"));
    assert_int_equal(rig.batch.state[0], STATE_FAILED);
    assert_true(rig.batch.duration_ms[0] == 12.5);
    assert_field(&rig, "labels.team", "red");
    rig_assert_skipped(&rig, "21.11.2026 11:16:58 failed soon red", "duration_ms: text is not a number");
    rig_assert_skipped(&rig, "31.11.2026 11:16:58 failed 1 red",
                       "time: text is not a time, or one without a year");
    rig_assert_skipped(&rig, "no", "the line does not match the pattern");
    assert_false(rig.type->joins(rig.format));
    rig_close(&rig);
}

/* Without a group `time` the arrival is the time. */
static void test_without_a_time(void **state)
{
    struct message message = {.payload = SPAN_LITERAL("hello"), .arrival_us = 5000000};
    const char *reason = NULL;
    struct rig rig;

    rig_open(&rig, "line", "pattern: '(?<message>.*)'\n");
    rig_assert_skipped(&rig, "hello", "no time");
    event_batch_reset(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &reason), STATUS_OK);
    assert_true(rig.batch.time_us[0] == 5000000);
    rig_close(&rig);
}

static void test_year_of_the_arrival(void **state)
{
    struct message message = {.payload = SPAN_LITERAL("Dec 31 23:59:59 a b: c"),
                              .arrival_us = time_of("2027-01-01T00:00:01Z")};
    const char *reason = NULL;
    struct rig rig;

    rig_open(&rig, "line", "preset: syslog\n");
    rig_assert_skipped(&rig, "Dec 31 23:59:59 a b: c", "time: text is not a time, or one without a year");
    event_batch_reset(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &reason), STATUS_OK);
    assert_true(rig.batch.time_us[0] == time_of("2026-12-31T23:59:59Z"));
    rig_close(&rig);
}

/* The given year is that of the line's own clock, from its first second to its last. */
static void test_given_year(void **state)
{
    static const struct {
        const char *settings, *first, *last;
    } cases[] = {
        {"year: 2023\n", "2023-01-01T00:00:00Z", "2023-12-31T23:59:59Z"},
        {"year: 2024\n", "2024-01-01T00:00:00Z", "2024-12-31T23:59:59Z"},
        {"year: 2023\ntime_zone: '+14:00'\n", "2022-12-31T10:00:00Z", "2023-12-31T09:59:59Z"},
        {"year: 2024\ntime_zone: '+02:00'\n", "2023-12-31T22:00:00Z", "2024-12-31T21:59:59Z"},
        {"year: 2024\ntime_zone: '-05:00'\n", "2024-01-01T05:00:00Z", "2025-01-01T04:59:59Z"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[128];
        struct rig rig;

        snprintf(yaml, sizeof yaml, "preset: syslog\n%s", cases[i].settings);
        rig_open(&rig, "line", yaml);
        assert_int_equal(rig_decode_text(&rig, "Jan  1 00:00:00 a b: c"), STATUS_OK);
        assert_true(rig.batch.time_us[0] == time_of(cases[i].first));
        assert_int_equal(rig_decode_text(&rig, "Dec 31 23:59:59 a b: c"), STATUS_OK);
        assert_true(rig.batch.time_us[0] == time_of(cases[i].last));
        rig_close(&rig);
    }
}

/* The usual forms and the preset's are taken beside the user's. */
static void test_layout_is_an_addition(void **state)
{
    struct rig rig;

    rig_open(&rig, "line",
             "preset: log4j\ntime_zone: '+02:00'\ntime_layout: ['%m/%d/%y %H:%M:%S', '%Y/%m/%d %H:%M:%S']\n");
    assert_int_equal(rig_decode_text(&rig, "2023-01-01 02:00:00,123 INFO [main] a.B: x"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == time_of("2023-01-01T00:00:00.123Z"));
    assert_int_equal(rig_decode_text(&rig, "12/31/22 02:00:00 INFO [main] a.B: x"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == time_of("2022-12-31T00:00:00Z"));
    assert_int_equal(rig_decode_text(&rig, "230101 020000 7 INFO a.B: x"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == time_of("2023-01-01T00:00:00Z"));
    rig_close(&rig);
}

static void test_refused_settings(void **state)
{
    static const struct {
        const char *yaml, *problem;
    } cases[] = {
        {NULL, "pattern: it is this or a 'preset', one of both"},
        {"preset: syslog\npattern: '(?<message>.*)'\n", "pattern: it is this or a 'preset', one of both"},
        {"preset: syslogg\n", "preset: there is no 'syslogg'; did you mean 'syslog'?"},
        {"pattern: '(?<message>.*'\n", "pattern: at character 14: missing closing parenthesis"},
        {"pattern: '.*'\n", "pattern: has no named group, so nothing of a line would be kept"},
        {"pattern: '(?<message>.*)'\nbegins: '['\n", "begins: at character 2: missing terminating ]"},
        {"preset: syslog\ntime_zone: Berlin\n", "time_zone: 'Berlin' is not an offset such as +02:00"},
        {"preset: syslog\ntime_layout: '%H:%M'\n", "time_layout: '%H:%M' needs %d, %H, %M and %S"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;

        assert_false(rig_try_open(&rig, "line", cases[i].yaml, 8));
        if (!strstr(rig.error.text, cases[i].problem))
            fail_msg("\"%s\" does not say \"%s\"", rig.error.text, cases[i].problem);
    }
}

/* Exponential in the length of the line without a limit. */
static void test_pattern_without_end(void **state)
{
    char line[4096];
    struct rig rig;

    memset(line, 'a', sizeof line - 1);
    line[sizeof line - 2] = 'x';
    line[sizeof line - 1] = '\0';
    rig_open(&rig, "line", "pattern: '(?<message>(?:a|aa)+)$'\n");
    rig_assert_skipped(&rig, line, "the pattern takes too many steps on the line");
    rig_close(&rig);
}

static void test_bad_lines(void **state)
{
    for (size_t i = 0; line_presets[i].name; i++) {
        const char *good[8];
        size_t count = 0;
        struct rig rig;

        for (size_t e = 0; e < sizeof examples / sizeof *examples; e++)
            if (strcmp(examples[e].preset, line_presets[i].name) == 0)
                good[count++] = examples[e].line;
        rig_preset(&rig, line_presets[i].name);
        check_bad_lines(&rig, good, count);
        rig_close(&rig);
    }
}

static void test_headless_lines(void **state)
{
    struct rig rig;

    rig_preset(&rig, "airflow_text");
    rig_assert_skipped(&rig, "  ____\n |_  /", "begins no record, and no line before it did");
    rig_assert_skipped(&rig, "[2026-11-21T09:40:15.086+0000] what\nmore",
                       "the line does not match the pattern");
    assert_true(rig.type->continues(rig.format, SPAN_LITERAL("x"), SPAN_LITERAL("  File \"a\"")));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_every_preset_has_an_example),
        cmocka_unit_test(test_more_fields),
        cmocka_unit_test(test_stack_traces),
        cmocka_unit_test(test_lines_behind_a_message_that_is_not_the_end),
        cmocka_unit_test(test_own_pattern),
        cmocka_unit_test(test_without_a_time),
        cmocka_unit_test(test_year_of_the_arrival),
        cmocka_unit_test(test_given_year),
        cmocka_unit_test(test_layout_is_an_addition),
        cmocka_unit_test(test_refused_settings),
        cmocka_unit_test(test_pattern_without_end),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_headless_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
