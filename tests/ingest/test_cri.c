/* Lines of a container runtime: parts of one line are put together, each stream by itself. */
#include "tests/ingest/bad_lines.h"

#define AT(second) "2026-11-21T10:00:0" second ".123456789Z "

static struct span stream_of(const struct rig *rig, uint32_t row)
{
    return rig->batch.labels[0][row];
}

static void test_whole_lines(void **state)
{
    struct rig rig;

    rig_open(&rig, "cri", NULL);
    assert_int_equal(rig_decode_text(&rig, AT("1") "stdout F hello  world "), STATUS_OK);
    assert_int_equal(rig.batch.rows, 1);
    assert_true(rig.batch.time_us[0] == time_of("2026-11-21T10:00:01.123456Z"));
    assert_span(rig.batch.message[0], "hello  world ");
    assert_span(stream_of(&rig, 0), "stdout");
    assert_int_equal(rig_decode_text(&rig, "2026-11-21T10:00:01+02:00 stderr F"), STATUS_OK);
    assert_int_equal(rig.batch.message[0].size, 0);
    assert_span(stream_of(&rig, 0), "stderr");
    rig_assert_skipped(&rig, "hello", "the line does not begin with an RFC 3339 time");
    rig_assert_skipped(&rig, "2026-11-21 stdout F x", "the line does not begin with an RFC 3339 time");
    rig_assert_skipped(&rig, AT("1") "stdin F x", "the line has neither stdout nor stderr behind the time");
    rig_assert_skipped(&rig, AT("1") "stdout X x", "the line has neither P nor F behind the stream");
    rig_close(&rig);
}

/* A line of stderr comes between the parts of one of stdout. */
static void test_parts(void **state)
{
    struct rig rig;

    rig_open(&rig, "cri", NULL);
    assert_int_equal(rig_decode_text(&rig, AT("1") "stdout P one \n" AT("2") "stdout P two\n" AT(
                                               "3") "stderr F oops\n" AT("4") "stdout F  three"),
                     STATUS_OK);
    assert_int_equal(rig.batch.rows, 2);
    assert_span(rig.batch.message[0], "oops"); /* ends first */
    assert_span(stream_of(&rig, 0), "stderr");
    assert_int_equal(rig.batch.item[0], 0);
    assert_span(rig.batch.message[1], "one two three");
    assert_true(rig.batch.time_us[1] == time_of("2026-11-21T10:00:01.123456Z"));
    assert_int_equal(rig.batch.item[1], 1);
    assert_int_equal(rig_decode_text(&rig, AT("1") "stdout P cut"), STATUS_OK);
    assert_span(rig.batch.message[0], "cut");
    rig_close(&rig);
}

static void assert_continues(struct rig *rig, const char *before, const char *line, bool expected)
{
    assert_int_equal(rig->type->continues(rig->format, span_of(before), span_of(line)), expected);
}

static void test_continues(void **state)
{
    struct rig rig;

    rig_open(&rig, "cri", NULL);
    assert_true(rig.type->joins(rig.format));
    assert_continues(&rig, AT("1") "stdout F a", AT("2") "stdout F b", false);
    assert_continues(&rig, AT("1") "stdout P a", AT("2") "stdout F b", true);
    assert_continues(&rig, AT("1") "stdout P a", AT("2") "stderr F b", true);
    assert_continues(&rig, AT("1") "stdout P a\n" AT("2") "stderr F b", AT("3") "stderr F c", true);
    assert_continues(&rig, AT("1") "stdout P a\n" AT("2") "stdout F b", AT("3") "stdout F c", false);
    assert_continues(&rig, AT("1") "stdout P a", "garbage", false);
    assert_continues(&rig, "garbage", AT("1") "stdout F a", false);
    rig_close(&rig);
}

static void test_full_batch(void **state)
{
    struct message message = {
        .payload = SPAN_LITERAL(AT("1") "stdout P a\n" AT("2") "stderr F b\n" AT("3") "stdout F c")};
    const char *reason = NULL;
    struct rig rig;

    assert_true(rig_try_open(&rig, "cri", NULL, 2));
    event_batch_add(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &reason), STATUS_RETRY);
    assert_int_equal(rig.batch.rows, 1);
    event_batch_reset(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &reason), STATUS_OK);
    assert_int_equal(rig.batch.rows, 2);
    rig_close(&rig);
}

static void test_texts_of_json(void **state)
{
    struct rig rig;

    rig_open(&rig, "cri", "text: auto\n");
    const struct event_batch *batch = &rig.batch;
    assert_int_equal(rig_decode_text(&rig, AT("1") "stdout P {\"time\":5,\"level\":\"warn\",\"mes\n" AT(
                                               "2") "stdout F sage\":\"m\",\"workflow\":\"w\"}"),
                     STATUS_OK);
    assert_int_equal(batch->rows, 1);
    assert_true(batch->time_us[0] == 5000000);
    assert_span(batch->level[0], "warn");
    assert_span(batch->message[0], "m");
    assert_span(batch->workflow[0], "w");
    assert_span(stream_of(&rig, 0), "stdout");

    /* no time of its own, and no message; a batch of them */
    assert_int_equal(rig_decode_text(&rig, AT("1") "stderr F [{\"level\":\"a\"},{\"level\":\"b\"}]"),
                     STATUS_OK);
    assert_int_equal(batch->rows, 2);
    assert_span(batch->level[1], "b");
    assert_int_equal(batch->item[1], 1);
    assert_true(batch->time_us[1] == time_of("2026-11-21T10:00:01.123456Z"));
    assert_span(batch->message[1], "[{\"level\":\"a\"},{\"level\":\"b\"}]");
    assert_span(stream_of(&rig, 1), "stderr");

    /* what auto cannot read is a message */
    static const char *const texts[] = {"plain", "{\"time\":\"soon\"}",  "[{},5]", "[]", "{",
                                        "",      "{\"resourceLogs\":[]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char line[128] = AT("1") "stdout F ";

        strncat(line, texts[i], 64);
        assert_int_equal(rig_decode_text(&rig, line), STATUS_OK);
        assert_int_equal(batch->rows, 1);
        assert_int_equal(batch->mark[0], MARK_OK);
        assert_span(batch->message[0], texts[i]);
        assert_true(batch->time_us[0] == time_of("2026-11-21T10:00:01.123456Z"));
    }
    rig_close(&rig);
}

static void test_full_batch_of_texts(void **state)
{
    struct message message = {.payload = SPAN_LITERAL(AT("1") "stdout F [{},{},{}]")};
    const char *reason = NULL;
    struct rig rig;

    assert_true(rig_try_open(&rig, "cri", "text: fields\n", 3));
    event_batch_add(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &reason), STATUS_RETRY);
    assert_int_equal(rig.batch.rows, 1);
    event_batch_reset(&rig.batch);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &reason), STATUS_OK);
    assert_int_equal(rig.batch.rows, 3);
    rig_close(&rig);
}

static void test_texts_of_other_formats(void **state)
{
    struct rig rig;

    rig_open(&rig, "cri", "text: logfmt\n");
    assert_int_equal(rig_decode_text(&rig, AT("1") "stdout F level=info msg=\"a b\""), STATUS_OK);
    assert_span(rig.batch.level[0], "info");
    assert_span(rig.batch.message[0], "a b");
    assert_true(rig.batch.time_us[0] == time_of("2026-11-21T10:00:01.123456Z"));
    assert_int_equal(rig_decode_text(&rig, AT("1") "stdout F ts=2 msg=x\n" AT("2") "stdout F just words"),
                     STATUS_OK);
    assert_int_equal(rig.batch.rows, 2);
    assert_true(rig.batch.time_us[0] == 2000000);
    assert_span(rig.batch.message[1], "just words");
    rig_close(&rig);
    assert_false(rig_try_open(&rig, "cri", "text: syslogg\n", 8));
    assert_string_equal(rig.error.text, "text: 'syslogg' is no format of whole lines");
    assert_false(rig_try_open(&rig, "cri", "text: cri\n", 8));
}

static void test_bad_lines(void **state)
{
    static const char *const good[] = {
        AT("1") "stdout F hello",
        AT("1") "stdout P one \n" AT("3") "stderr F oops\n" AT("4") "stdout F  three",
        AT("1") "stdout F {\"time\":1,\"message\":\"m\"}"};
    static const char *const settings[] = {NULL, "text: auto\n", "text: logfmt\n"};

    for (size_t i = 0; i < 3; i++) {
        struct rig rig;

        rig_open(&rig, "cri", settings[i]);
        check_bad_lines(&rig, good, 3);
        rig_close(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_lines),         cmocka_unit_test(test_parts),
        cmocka_unit_test(test_continues),           cmocka_unit_test(test_full_batch),
        cmocka_unit_test(test_texts_of_json),       cmocka_unit_test(test_texts_of_other_formats),
        cmocka_unit_test(test_full_batch_of_texts), cmocka_unit_test(test_bad_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
