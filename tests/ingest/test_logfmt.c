/* key=value lines: quotes, the usual names, names of the pipeline's labels, a map of one's own. */
#include "tests/ingest/bad_lines.h"

static void test_usual_names(void **state)
{
    struct rig rig;

    rig_open(&rig, "logfmt", NULL);
    assert_int_equal(
        rig_decode_text(&rig,
                        "ts=2026-11-21T10:00:01.5Z lvl=warn msg=\"a \\\"b\\\" \\\\ c\\n\" caller=main.go:12 "
                        "workflow=etl attempt=2 duration_ms=12.5 progress=50% debug other=x err="),
        STATUS_OK);
    const struct event_batch *batch = &rig.batch;
    assert_int_equal(batch->rows, 1);
    assert_true(batch->time_us[0] == time_of("2026-11-21T10:00:01.5Z"));
    assert_span(batch->level[0], "warn");
    assert_span(batch->message[0], "a \"b\" \\ c\n");
    assert_span(batch->logger[0], "main.go:12");
    assert_span(batch->workflow[0], "etl");
    assert_int_equal(batch->attempt[0], 2);
    assert_true(batch->duration_ms[0] == 12.5);
    assert_int_equal(batch->error[0].size, 0);
    assert_int_equal(rig_decode_text(&rig, "time=1795252618 level=info msg=plain"), STATUS_OK);
    assert_span(batch->message[0], "plain");
    rig_assert_skipped(&rig, "just words", "has no key=value");
    rig_assert_skipped(&rig, "level=info msg=x", "no time");
    rig_assert_skipped(&rig, "ts=soon msg=x", "ts: text is not a time, or one without a year");
    rig_assert_skipped(&rig, "ts=1 msg=\"x", "a value in quotes does not end");
    rig_assert_skipped(&rig, "ts=1 msg=\"x\\", "a value in quotes does not end");
    rig_close(&rig);
}

static void test_map_and_labels(void **state)
{
    struct field_ref team;
    struct rig rig;

    rig_open(&rig, "logfmt", "map: {workflow: job, labels.region: dc, attempt: n}\n");
    assert_true(field_ref_parse(SPAN_LITERAL("labels.team"), &rig.labels, &team)); /* some rule names it */
    event_batch_free(&rig.batch);
    event_batch_init(&rig.batch, 8, &rig.labels);
    assert_int_equal(rig_decode_text(&rig, "ts=1 job=etl dc=eu team=red n=3"), STATUS_OK);
    assert_span(rig.batch.workflow[0], "etl");
    assert_span(rig.batch.labels[0][0], "eu");
    assert_span(rig.batch.labels[team.label][0], "red");
    assert_int_equal(rig.batch.attempt[0], 3);
    rig_assert_skipped(&rig, "ts=1 n=many", "n: text is not a number");
    rig_close(&rig);
    assert_false(rig_try_open(&rig, "logfmt", "map: {workflo: job}\n", 8));
    assert_string_equal(rig.error.text, "map: no field 'workflo'");
}

static void test_bad_lines(void **state)
{
    static const char *const good[] = {
        "ts=2026-11-21T10:00:01.5Z lvl=warn msg=\"a \\\"b\\\" c\" caller=main.go:12 x attempt=1"};
    struct rig rig;

    rig_open(&rig, "logfmt", NULL);
    check_bad_lines(&rig, good, 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual_names),
        cmocka_unit_test(test_map_and_labels),
        cmocka_unit_test(test_bad_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
