/* Lines byte for byte: names, order of keys, what is left out. Ids and targets, which lines carry, are
 * tested here too. */
#include "tests/schemas/examples.h"
#include "tests/schemas/flat_json.h"

static void assert_line(struct buffer *line, const char *expected)
{
    struct flat flat;

    flat_parse(buffer_span(line), &flat);
    flat_free(&flat);
    buffer_put_char(line, '\0');
    assert_string_equal(line->data, expected);
    buffer_clear(line);
}

static void a_bucket_tells_what_its_measure_asks_for(void **state)
{
    struct bucket bucket = example_bucket();
    struct buffer line;

    buffer_init(&line, 4096);
    line_of_bucket(&bucket, &line);
    assert_line(
        &line, "{\"schema\":1,\"id\":\"" EXAMPLE_HEX "\",\"measure\":\"latency\",\"key\":{\"workflow\":\"etl "
               "\\\"daily\\\"\",\"attempt\":\"2\",\"team.name\":\"blue\",\"host\":\"node-1\"},"
               "\"start\":\"2026-11-21T09:40:20.097Z\",\"end\":\"2026-11-21T09:41:20.597Z\",\"count\":12,"
               "\"mean\":4.5,\"p95\":8.5,\"late\":3,\"version\":13,\"provisional\":false,"
               "\"score\":0.75,\"statistic\":\"count\",\"anomaly\":true,\"expected\":[10,20.5]}");
    bucket.score = NAN;
    bucket.provisional = bucket.partial = true;
    bucket.late = 0;
    bucket.key = (const struct span[]){SPAN_LITERAL("etl"), {0}, {0}, {0}};
    bucket.values[STAT_MEAN] = bucket.values[STAT_P95] = NAN;
    line_of_bucket(&bucket, &line);
    assert_line(&line,
                "{\"schema\":1,\"id\":\"" EXAMPLE_HEX
                "\",\"measure\":\"latency\",\"key\":{\"workflow\":\"etl\"},"
                "\"start\":\"2026-11-21T09:40:20.097Z\",\"end\":\"2026-11-21T09:41:20.597Z\",\"count\":12,"
                "\"late\":0,\"version\":13,\"provisional\":true,\"partial\":true}");
    buffer_free(&line);
}

static void all_statistics_come_in_order(void **state)
{
    struct measure_shape shape = {.name = "m", .statistics = (1u << STATISTICS) - 1};
    struct bucket bucket = example_bucket();
    struct buffer line;

    bucket.shape = &shape;
    bucket.values[STAT_RATIO] = 0.25;
    bucket.anomaly = false;
    bucket.expected_low = NAN;
    buffer_init(&line, 4096);
    line_of_bucket(&bucket, &line);
    assert_line(
        &line,
        "{\"schema\":1,\"id\":\"" EXAMPLE_HEX "\",\"measure\":\"m\",\"key\":{},"
        "\"start\":\"2026-11-21T09:40:20.097Z\",\"end\":\"2026-11-21T09:41:20.597Z\",\"count\":12,"
        "\"sum\":1.5,\"min\":2.5,\"max\":3.5,\"mean\":4.5,\"variance\":5.5,\"p50\":6.5,\"p90\":7.5,"
        "\"p95\":8.5,\"p99\":9.5,\"distinct\":10.5,\"ratio\":0.25,\"rate\":12.5,\"late\":3,\"version\":13,"
        "\"provisional\":false,\"score\":0.75,\"statistic\":\"count\",\"anomaly\":false}");
    for (int i = 0; i < STATISTICS; i++)
        assert_int_equal(statistic_find(span_of(statistic_names[i])), i);
    assert_int_equal(statistic_find(SPAN_LITERAL("p9")), -1);
    buffer_free(&line);
}

static void a_signal_with_and_without_opinion(void **state)
{
    struct bucket bucket = example_bucket();
    struct signal_record record = example_signal(&bucket);
    struct buffer line;

    bucket.key = (const struct span[]){SPAN_LITERAL("etl"), {0}, {0}, {0}};
    buffer_init(&line, 4096);
    line_of_signal(&record, &line);
    assert_line(&line,
                "{\"schema\":1,\"id\":\"" OTHER_HEX "\",\"detector\":\"slow\",\"measure\":\"latency\","
                "\"key\":{\"workflow\":\"etl\"},\"bucket\":\"" EXAMPLE_HEX "\","
                "\"at\":\"2026-11-21T09:41:20.597Z\",\"score\":0.9,\"probability\":0.001,\"one_in\":1000,"
                "\"actual\":42,\"expected\":[10,20],\"direction\":\"up\",\"channel\":\"level\","
                "\"provisional\":false}");
    record.signal.probability = 0;
    record.signal.one_in = INFINITY;
    record.signal.expected_low = NAN;
    record.signal.direction = DIRECTION_NONE;
    record.signal.channel = NULL;
    line_of_signal(&record, &line);
    assert_line(&line, "{\"schema\":1,\"id\":\"" OTHER_HEX "\",\"detector\":\"slow\",\"measure\":\"latency\","
                       "\"key\":{\"workflow\":\"etl\"},\"bucket\":\"" EXAMPLE_HEX "\","
                       "\"at\":\"2026-11-21T09:41:20.597Z\",\"score\":0.9,\"probability\":0,\"actual\":42,"
                       "\"provisional\":false}");
    record.signal.opinion = false;
    line_of_signal(&record, &line);
    assert_line(&line, "{\"schema\":1,\"id\":\"" OTHER_HEX "\",\"detector\":\"slow\",\"measure\":\"latency\","
                       "\"key\":{\"workflow\":\"etl\"},\"bucket\":\"" EXAMPLE_HEX "\","
                       "\"at\":\"2026-11-21T09:41:20.597Z\",\"provisional\":false}");
    buffer_free(&line);
}

static void a_run_counts_its_tasks_and_a_task_does_not(void **state)
{
    struct run_record run = example_run(), task = example_task();
    struct buffer line;

    buffer_init(&line, 4096);
    line_of_run(&run, &line);
    assert_line(&line,
                "{\"schema\":1,\"id\":\"" EXAMPLE_HEX "\",\"level\":\"run\",\"source\":\"lineage\","
                "\"namespace\":\"default\",\"workflow\":\"etl\",\"run\":\"r1\",\"run_name\":\"scheduled__1\","
                "\"state\":\"failed\",\"scheduled_at\":\"2026-11-21T09:40:20.097Z\","
                "\"queued_at\":\"2026-11-21T09:40:21.097Z\",\"started_at\":\"2026-11-21T09:40:22.097Z\","
                "\"ended_at\":\"2026-11-21T09:40:23.597Z\",\"duration_ms\":1500.0000005,"
                "\"tasks\":{\"success\":3,\"failed\":1},\"attempts\":2,\"error\":\"boom\"}");
    task.scheduled_us = task.queued_us = task.ended_us = TIME_NONE;
    task.duration_ms = NAN;
    task.error = (struct span){0};
    task.state = STATE_RUNNING;
    line_of_run(&task, &line);
    assert_line(&line, "{\"schema\":1,\"id\":\"" EXAMPLE_HEX "\",\"level\":\"task\",\"source\":\"lineage\","
                       "\"namespace\":\"default\",\"workflow\":\"etl\",\"task\":\"load\",\"run\":\"r1\","
                       "\"run_name\":\"scheduled__1\",\"attempt\":2,\"map_index\":0,\"state\":\"running\","
                       "\"started_at\":\"2026-11-21T09:40:22.097Z\",\"attempts\":2}");
    buffer_free(&line);
}

static void an_alert_in_full(void **state)
{
    struct alert alert = example_alert();
    struct buffer line;

    buffer_init(&line, 4096);
    line_of_alert(&alert, &line);
    assert_line(
        &line, "{\"schema\":1,\"id\":\"" EXAMPLE_HEX "\",\"episode\":\"" OTHER_HEX "\",\"revision\":1,"
               "\"at\":\"2026-11-21T09:40:20.097Z\",\"state\":\"resolved\",\"reason\":\"no_data\","
               "\"rule\":\"slow\",\"kind\":\"duration\",\"severity\":\"critical\",\"target\":\"a%2Fb/50%25\","
               "\"source\":\"lineage\",\"namespace\":\"default\",\"workflow\":\"a/b\",\"task\":\"50%\","
               "\"run\":\"r1\",\"run_name\":\"scheduled__1\",\"attempt\":2,\"host\":\"node-1\","
               "\"labels\":{\"workflow\":\"a/b\",\"labels.team\":\"blue\",\"queue\":\"q\",\"unit\":\"s\"},"
               "\"annotations\":{\"summary\":\"too slow\",\"description\":\"took 42 s\","
               "\"runbook\":\"http://x/book\"},\"links\":{\"url\":\"http://x/r1\"},"
               "\"starts_at\":\"2026-11-21T09:40:19.097Z\",\"ends_at\":\"2026-11-21T09:40:21.097Z\","
               "\"score\":0.9,\"probability\":0.001,\"actual\":42,\"expected\":[10,20],\"unit\":\"s\","
               "\"provisional\":true}");
    buffer_free(&line);
}

static void an_alert_with_as_little_as_there_is(void **state)
{
    struct alert alert = {
        .id = EXAMPLE_ID,
        .episode = OTHER_ID,
        .at_us = EXAMPLE_US,
        .starts_us = EXAMPLE_US,
        .ends_us = TIME_NONE,
        .rule = SPAN_LITERAL("r"),
        .score = NAN,
        .probability = NAN,
        .actual = NAN,
        .expected_low = 1,
        .expected_high = NAN,
    };
    struct buffer line;

    buffer_init(&line, 4096);
    line_of_alert(&alert, &line);
    assert_line(&line,
                "{\"schema\":1,\"id\":\"" EXAMPLE_HEX "\",\"episode\":\"" OTHER_HEX "\",\"revision\":0,"
                "\"at\":\"2026-11-21T09:40:20.097Z\",\"state\":\"pending\",\"reason\":\"condition\","
                "\"rule\":\"r\",\"kind\":\"rule\",\"severity\":\"info\",\"labels\":{},\"annotations\":{},"
                "\"links\":{},\"starts_at\":\"2026-11-21T09:40:20.097Z\",\"provisional\":false}");
    buffer_free(&line);
}

static void assert_target(const struct alert *alert, const char *expected)
{
    struct buffer target;

    buffer_init(&target, alert_target_limit(alert));
    alert_target(alert, &target);
    assert_false(target.full);
    assert_true(span_is(buffer_span(&target), expected));
    buffer_free(&target);
}

static void the_target_is_the_most_specific(void **state)
{
    struct alert alert = {
        .source = SPAN_LITERAL("s/1"),
        .host = SPAN_LITERAL("%%"),
        .workflow = SPAN_LITERAL("w"),
        .task = SPAN_LITERAL("///"),
    };

    assert_target(&alert, "w/%2F%2F%2F");
    alert.task = (struct span){0};
    assert_target(&alert, "w");
    alert.workflow = (struct span){0};
    assert_target(&alert, "host:%25%25");
    alert.task = SPAN_LITERAL("task without workflow");
    assert_target(&alert, "host:%25%25");
    alert.host = (struct span){0};
    assert_target(&alert, "source:s%2F1");
    alert.source = (struct span){0};
    assert_target(&alert, "");
}

/* Each part of an identity must change the id, and nothing else may. */
static void ids_follow_identity(void **state)
{
    struct run_record run = example_run(), other = example_run();
    struct bucket bucket = example_bucket(), moved = example_bucket();

    other.state = STATE_SUCCESS;
    other.attempt = 7; /* a run's attempt and task are no part of its id */
    assert_true(id_equal(run_id(EXAMPLE_PIPELINE, &run), run_id(EXAMPLE_PIPELINE, &other)));
    assert_false(id_equal(run_id(EXAMPLE_PIPELINE, &run), run_id(SPAN_LITERAL("order"), &run)));
    run = other = example_task();
    other.attempt = 3;
    assert_false(id_equal(run_id(EXAMPLE_PIPELINE, &run), run_id(EXAMPLE_PIPELINE, &other)));
    other = run;
    other.map_index = 1;
    assert_false(id_equal(run_id(EXAMPLE_PIPELINE, &run), run_id(EXAMPLE_PIPELINE, &other)));
    run.workflow = SPAN_LITERAL("ab");
    run.run = SPAN_LITERAL("c");
    other = run;
    other.workflow = SPAN_LITERAL("a");
    other.run = SPAN_LITERAL("bc");
    assert_false(id_equal(run_id(EXAMPLE_PIPELINE, &run), run_id(EXAMPLE_PIPELINE, &other)));

    moved.version++;
    assert_true(id_equal(bucket_id(EXAMPLE_PIPELINE, &bucket), bucket_id(EXAMPLE_PIPELINE, &moved)));
    moved.end_us++;
    assert_false(id_equal(bucket_id(EXAMPLE_PIPELINE, &bucket), bucket_id(EXAMPLE_PIPELINE, &moved)));
    assert_false(id_equal(alert_line_id(OTHER_ID, 0), alert_line_id(OTHER_ID, 1)));
    assert_false(id_equal(signal_id(EXAMPLE_PIPELINE, OTHER_ID, SPAN_LITERAL("a")),
                          signal_id(EXAMPLE_PIPELINE, EXAMPLE_ID, SPAN_LITERAL("a"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_tells_what_its_measure_asks_for),
        cmocka_unit_test(all_statistics_come_in_order),
        cmocka_unit_test(a_signal_with_and_without_opinion),
        cmocka_unit_test(a_run_counts_its_tasks_and_a_task_does_not),
        cmocka_unit_test(an_alert_in_full),
        cmocka_unit_test(an_alert_with_as_little_as_there_is),
        cmocka_unit_test(the_target_is_the_most_specific),
        cmocka_unit_test(ids_follow_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
