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
    /* no source of ours, no state of a run; a text of the wrong type is passed over */
    assert_int_equal(rig_decode_text(&rig, "ts=1 source=main.go:97 state=open kind=metric attempt=2/5"),
                     STATUS_OK);
    assert_int_equal(batch->source[0].size, 0);
    assert_int_equal(batch->state[0], STATE_NONE);
    assert_int_equal(batch->kind[0], KIND_EVENT);
    assert_int_equal(batch->attempt[0], 0);
    rig_assert_skipped(&rig, "just words", "has no key=value");
    rig_assert_skipped(&rig, "level=info msg=x", "no time");
    rig_assert_skipped(&rig, "ts=soon msg=x", "ts: text is not a time, or one without a year");
    rig_assert_skipped(&rig, "ts=1 msg=\"x", "a value in quotes does not end");
    rig_assert_skipped(&rig, "ts=1 msg=\"x\\", "a value in quotes does not end");
    rig_close(&rig);
}

/* The first in the list of names that is a time counts, wherever it stands. */
static void test_several_times(void **state)
{
    struct rig rig;

    rig_open(&rig, "logfmt", NULL);
    assert_int_equal(rig_decode_text(&rig, "ts=5 t=35ms msg=x"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == 5000000);
    assert_int_equal(rig_decode_text(&rig, "t=7 time=35ms timestamp=6"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == 6000000);
    rig_assert_skipped(&rig, "msg=x t=35ms", "t: text is not a time, or one without a year");
    rig_close(&rig);
    rig_open(&rig, "logfmt", "map: {time: at, state: state, source: app}\n");
    assert_int_equal(rig_decode_text(&rig, "ts=5 at=4 time=6 state=failed app=a"), STATUS_OK);
    assert_true(rig.batch.time_us[0] == 4000000);
    assert_int_equal(rig.batch.state[0], STATE_FAILED);
    assert_span(rig.batch.source[0], "a");
    rig_assert_skipped(&rig, "ts=5 at=35ms", "at: text is not a time, or one without a year");
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
        cmocka_unit_test(test_several_times),
        cmocka_unit_test(test_map_and_labels),
        cmocka_unit_test(test_bad_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
