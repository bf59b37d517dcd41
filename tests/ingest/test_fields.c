/* The `fields` format: each kind of mapping, what it refuses at load, and what it does with values of
 * the wrong type. */
#include "tests/ingest/json_support.h"

#include <math.h>
#include <stdlib.h>

static const char order_map[] =
    "each: \"events[*]\"\n"
    "map:\n"
    "  time: {path: ts, unit: ms}\n"
    "  workflow: pipeline\n"
    "  run: [run_id, run.id]\n"
    "  state: {path: status, values: {OK: success, ERR: failed, 0: skipped, hb: none}}\n"
    "  labels.team: meta.team\n"
    "  duration_ms: {path: took, unit: s}\n"
    "  engine: {value: shop}\n"
    "  attempt: try\n"
    "  map_index: index\n"
    "  level: log.level\n"
    "  owner: '\"meta.owner\"'\n"
    "  task: steps[1].name\n"
    "  kind: kind\n";

static struct span label_of(const struct rig *rig, uint32_t row, unsigned label)
{
    return rig->batch.labels[label][row];
}

static void test_mapped(void **state)
{
    struct rig rig;

    rig_open(&rig, "fields", order_map);
    const struct event_batch *batch = &rig.batch;

    assert_int_equal(
        rig_decode_text(
            &rig,
            "{\"source\":\"x\",\"events\":["
            "{\"ts\":1795252618196,\"pipeline\":\"p\",\"run\":{\"id\":9223372036854775807},\"status\":\"OK\","
            "\"meta\":{\"team\":\"red\",\"owner\":\"no\"},\"meta.owner\":\"ann\",\"took\":1.5,\"try\":3,"
            "\"index\":\"7\",\"log.level\":\"WARN\",\"steps\":[{\"name\":\"a\"},{\"name\":\"b\"}],"
            "\"kind\":\"metric\"},"
            "{\"ts\":\"2026-11-21T09:16:58.196796Z\",\"run_id\":\"r\",\"run\":{\"id\":1},\"status\":"
            "\"weird\","
            "\"meta.team\":\"blue\",\"log\":{\"level\":\"INFO\"},\"steps\":[]},"
            "{\"ts\":1,\"status\":0,\"run_id\":null,\"run.id\":true},"
            "{\"ts\":1,\"status\":\"TIMED_OUT\",\"pipeline\":\"caf\\u00e9 \\\"x\\\"\"},"
            "{\"ts\":1,\"status\":\"hb\"}]}"),
        STATUS_OK);
    assert_int_equal(batch->rows, 5);
    assert_true(batch->time_us[0] == 1795252618196000);
    assert_span(batch->workflow[0], "p");
    assert_span(batch->run[0], "9223372036854775807");
    assert_int_equal(batch->state[0], STATE_SUCCESS);
    assert_span(label_of(&rig, 0, 0), "red");
    assert_span(batch->owner[0], "ann");
    assert_true(batch->duration_ms[0] == 1500);
    assert_span(batch->engine[0], "shop");
    assert_int_equal(batch->attempt[0], 3);
    assert_int_equal(batch->map_index[0], 7);
    assert_span(batch->level[0], "WARN");
    assert_span(batch->task[0], "b");
    assert_int_equal(batch->kind[0], KIND_METRIC);

    assert_int_equal(batch->item[1], 1);
    assert_true(batch->time_us[1] == 1795252618196796);
    assert_span(batch->run[1], "r");
    assert_int_equal(batch->state[1], STATE_UNKNOWN);
    assert_span(label_of(&rig, 1, 0), "blue");
    assert_span(batch->level[1], "INFO");
    assert_int_equal(batch->task[1].size, 0);
    assert_int_equal(batch->owner[1].size, 0);
    assert_true(isnan(batch->duration_ms[1]));

    assert_int_equal(batch->state[2], STATE_SKIPPED);
    assert_span(batch->run[2], "true");
    assert_int_equal(batch->state[3], STATE_TIMED_OUT);
    assert_span(batch->workflow[3], "caf\xc3\xa9 \"x\"");
    assert_int_equal(batch->state[4], STATE_NONE);
    rig_close(&rig);
}

static void test_malformed_items(void **state)
{
    struct rig rig;

    rig_open(&rig, "fields", order_map);
#define ONE(item) "{\"events\":[" item "]}"
    rig_assert_malformed(&rig, ONE("{\"pipeline\":\"p\"}"), "no time");
    rig_assert_malformed(&rig, ONE("{\"ts\":null}"), "no time");
    rig_assert_malformed(&rig, ONE("{\"ts\":{}}"), "time: object is not a time");
    rig_assert_malformed(&rig, ONE("{\"ts\":\"soon\"}"), "time: text is not a time, or one without a year");
    rig_assert_malformed(&rig, ONE("{\"ts\":true}"), "time: bool is not a time");
    rig_assert_malformed(&rig, ONE("{\"ts\":1e999}"), "time: number is not a time");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"pipeline\":[]}"), "workflow: array is not a text");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"meta\":{\"team\":{}}}"), "labels.team: object is not a text");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"took\":\"1,5\"}"), "duration_ms: text is not a number");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"took\":true}"), "duration_ms: bool is not a number");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"took\":1e308}"), "duration_ms: number is out of range");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"try\":1.5}"), "attempt: number is not an integer");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"try\":65536}"), "attempt: number is out of range");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"index\":-2147483648}"), "map_index: number is out of range");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"status\":{}}"), "state: object is not a text");
    rig_assert_malformed(&rig, ONE("{\"ts\":1,\"kind\":\"x\"}"), "kind: text is neither event nor metric");
    rig_assert_malformed(&rig, ONE("5"), "item is not a JSON object");
    rig_assert_skipped(&rig, "{\"events\":{\"ts\":1}}", "nothing where `each` points to");
    rig_assert_skipped(&rig, "{\"other\":[]}", "nothing where `each` points to");
    rig_assert_skipped(&rig, "[]", "nothing where `each` points to");
    assert_int_equal(rig_decode_text(&rig, "{\"events\":[]}"), STATUS_OK);
    assert_int_equal(rig.batch.rows, 0);
#undef ONE
    rig_close(&rig);
}

static void test_without_map(void **state)
{
    struct rig rig;
    struct field_ref team, zone;

    rig_open(&rig, "fields", NULL);
    const struct event_batch *batch = &rig.batch;

    rig_assert_malformed(&rig, "{\"workflow\":\"w\"}", "no time");
    /* labels that the rest of the configuration names later */
    assert_true(field_ref_parse(SPAN_LITERAL("labels.team"), &rig.labels, &team));
    assert_true(field_ref_parse(SPAN_LITERAL("labels.a[b"), &rig.labels, &zone));
    event_batch_free(&rig.batch);
    event_batch_init(&rig.batch, 16, &rig.labels);
    rig_decode_text(
        &rig,
        "{\"@timestamp\":\"2026-11-21T09:16:58Z\",\"workflow\":\"w\",\"state\":\"FAILED\",\"value\":\"2.5\","
        "\"labels\":{\"team\":\"red\",\"other\":\"x\"},\"host\":{\"name\":\"h\"},\"kind\":\"Pod\","
        "\"scheduled\":\"2026-11-21\",\"unknown\":[{}]}");
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_span(batch->workflow[0], "w");
    assert_int_equal(batch->state[0], STATE_FAILED);
    assert_true(batch->value[0] == 2.5);
    assert_span(label_of(&rig, 0, team.label), "red");
    assert_int_equal(batch->host[0].size, 0);
    assert_int_equal(batch->kind[0], KIND_EVENT);
    assert_true(batch->scheduled_us[0] == time_of("2026-11-21T00:00:00Z"));

    /* the first of the names for a time wins */
    rig_decode_text(&rig,
                    "[{\"eventTime\":4,\"@timestamp\":3,\"ts\":2,\"time\":1},{\"ts\":{},\"eventTime\":4}]");
    assert_int_equal(batch->rows, 2);
    assert_true(batch->time_us[0] == 1000000 && batch->time_us[1] == 4000000);
    rig_decode_text(&rig, "{\"time\":1,\"labels.team\":5}");
    assert_span(label_of(&rig, 0, team.label), "5");

    /* nobody asked for these: a wrong one is passed over, and of times the first that is one counts */
    rig_decode_text(
        &rig, "{\"time\":\"35ms\",\"ts\":2,\"value\":\"high\",\"attempt\":\"2/5\",\"source\":\"stdout\","
              "\"map_index\":-1,\"message\":\"retry\"}");
    assert_int_equal(batch->mark[0], MARK_OK);
    assert_true(batch->time_us[0] == 2000000);
    assert_true(isnan(batch->value[0]) && batch->attempt[0] == 0 && batch->map_index[0] == INT32_MIN);
    assert_int_equal(batch->source[0].size, 0);
    assert_span(batch->message[0], "retry");
    rig_assert_malformed(&rig, "{\"time\":\"soon\",\"ts\":true}",
                         "time: text is not a time, or one without a year");
    rig_close(&rig);
}

/* Labels that no path leads to leave no value to look for behind the others. */
static void test_labels_that_are_no_paths(void **state)
{
    static const char *const names[] = {"labels.a..b", "labels.team.",
                                        "labels.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", "labels.zone", "labels..x"};
    struct rig rig;
    struct field_ref ref;

    rig_open(&rig, "fields", NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(field_ref_parse(span_of(names[i]), &rig.labels, &ref));
    event_batch_free(&rig.batch);
    event_batch_init(&rig.batch, 16, &rig.labels);
    rig_decode_text(&rig, "{\"time\":1,\"labels\":{\"zone\":\"b\",\"team.\":\"red\"}}");
    assert_int_equal(rig.batch.mark[0], MARK_OK);
    for (unsigned label = 0; label < rig.labels.count; label++)
        assert_span(label_of(&rig, 0, label), label == 3 ? "b" : "");
    rig_close(&rig);
}

static void test_units(void **state)
{
    static const struct {
        const char *yaml, *payload;
        int64_t time_us;
        double duration_ms;
    } cases[] = {
        {"map: {time: {path: t, unit: s}, duration_ms: d}", "{\"t\":1795252618,\"d\":5}", 1795252618000000,
         5},
        {"map: {time: {path: t, unit: us}, duration_ms: {path: d, unit: us}}", "{\"t\":5,\"d\":1500}", 5,
         1.5},
        {"map: {time: {path: t, unit: ns}, duration_ms: {path: d, unit: ns}}",
         "{\"t\":\"5999\",\"d\":\"2e6\"}", 5, 2},
        {"map: {time: {path: t, unit: auto}, duration_ms: {path: d, unit: ms}}",
         "{\"t\":1795252618196,\"d\":0}", 1795252618196000, 0},
        {"map: {duration_ms: {path: [x, d], unit: s}}", "{\"ts\":1795252618.5,\"d\":2}", 1795252618500000,
         2000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;

        rig_open(&rig, "fields", cases[i].yaml);
        assert_int_equal(rig_decode_text(&rig, cases[i].payload), STATUS_OK);
        assert_int_equal(rig.batch.mark[0], MARK_OK);
        assert_true(rig.batch.time_us[0] == cases[i].time_us);
        assert_true(rig.batch.duration_ms[0] == cases[i].duration_ms);
        rig_close(&rig);
    }
}

static void test_configuration_errors(void **state)
{
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"each: \"events[\"", "each: path \"events[\" has an index that is no number"},
        {"map: [a]", "test.yaml:1:6: 'map' is a map of fields to paths"},
        {"map: {workflw: a}", "test.yaml:1:16: no field 'workflw'; did you mean 'workflow'?"},
        {"map: {zzzzzzzzz: a}", "test.yaml:1:18: no field 'zzzzzzzzz'"},
        {"map: {run: \"a[*]\"}", "test.yaml:1:12: run: path \"a[*]\" has [*], which stands in `each` only"},
        {"map:\n  run: [a, b..c]", "test.yaml:2:12: run: path \"b..c\" has an empty key"},
        {"map: {run: []}", "test.yaml:1:12: run: 1 to 16 paths"},
        {"map: {run: {path: a, unit: s}}", "test.yaml:1:28: run: only times and duration_ms have a unit"},
        {"map: {time: {path: a, unit: h}}", "test.yaml:1:29: time: unit is s, ms, us or ns, or auto"},
        {"map: {duration_ms: {path: a, unit: auto}}", "test.yaml:1:36: duration_ms: unit is s, ms, us or ns"},
        {"map: {run: {path: a, values: {}}}", "test.yaml:1:30: run: only state has 'values'"},
        {"map: {state: {path: a, values: [b]}}",
         "test.yaml:1:32: state: 'values' is a map of at most 256 words to states"},
        {"map: {state: {path: a, otherwise: good}}", "test.yaml:1:35: state: \"good\" is none of queued, "
                                                     "waiting, running, retrying, success, failed, skipped, "
                                                     "upstream_failed, cancelled, timed_out, unknown, none"},
        {"map: {run: {pth: a}}", "test.yaml:1:18: run: unknown key 'pth'; did you mean 'path'?"},
        {"map: {run: {unit: s}}", "test.yaml:1:19: run: only times and duration_ms have a unit"},
        {"map: {time: {unit: s}}", "test.yaml:1:13: time: needs a 'path' or a 'value', not both"},
        {"map: {run: {path: a, value: b}}", "test.yaml:1:12: run: needs a 'path' or a 'value', not both"},
        {"map: {time: {value: 5, unit: s}}", "test.yaml:1:13: time: 'value' stands alone"},
        {"map: {attempt: {value: x}}", "test.yaml:1:24: attempt: \"x\" is not a number"},
        {"map: {run: {path: {a: b}}}", "test.yaml:1:19: run: a path is a text"},
        {"map: {\"labels.a b\": x}", "test.yaml:1:21: 'labels.a b': not a good label name, too much like "
                                     "another, or one too many (at most 64)"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;

        assert_false(rig_try_open(&rig, "fields", cases[i].yaml, 4));
        assert_string_equal(rig.error.text, cases[i].error);
    }
}

static void test_batch_limits(void **state)
{
    struct rig rig;
    struct message message = {.arrival_us = TIME_NONE};

    assert_true(rig_try_open(&rig, "fields", NULL, 4));
    message.payload = SPAN_LITERAL("[{\"time\":1},{\"time\":2},{\"time\":3}]");
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_OK);
    assert_int_equal(rig.batch.rows, 3);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_RETRY);
    assert_int_equal(rig.batch.rows, 3);
    assert_true(rig.batch.time_us[2] == 3000000);
    message.payload = SPAN_LITERAL("");
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_OK);
    assert_int_equal(rig.batch.mark[3], MARK_TOMBSTONE);
    assert_int_equal(rig.type->decode(rig.format, &message, &rig.batch, &rig.reason), STATUS_RETRY);
    rig_assert_skipped(&rig, "[{},{},{},{},{}]", "does not fit into an empty batch");
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    struct rig rig;

    rig_open(&rig, "fields", NULL);
    check_bad_input(&rig);
    rig_close(&rig);
}

static void test_mutations(void **state)
{
    static char first[] =
        "[{\"time\":\"2026-11-21T09:16:58Z\",\"workflow\":\"w\\n\\u00e9\",\"attempt\":3,\"value\":1.5e3,"
        "\"state\":\"running\",\"labels\":{\"team\":\"r\"}},{\"ts\":1795252618,\"duration_ms\":\"12\"}]";
    static char second[] =
        "{\"@timestamp\":1795252618196,\"message\":\"caf\xc3\xa9 \xf0\x9f\x9a\x80\",\"log.level\":\"x\","
        "\"progress\":0.5,\"map_index\":-1,\"kind\":\"metric\",\"metric\":\"m\",\"unit\":null}";
    char *lines[] = {first, second};
    struct rig rig;

    rig_open(&rig, "fields", NULL);
    check_mutations(&rig, lines, 2, 1);
    rig_close(&rig);
}

static void test_wrong_types(void **state)
{
    check_json_format("fields", "{\"time\":1795252618,\"workflow\":\"w\",\"value\":2,\"state\":\"failed\","
                                "\"attempt\":3,\"labels\":{\"a\":\"b\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_types),     cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_malformed_items), cmocka_unit_test(test_without_map),
        cmocka_unit_test(test_units),           cmocka_unit_test(test_configuration_errors),
        cmocka_unit_test(test_batch_limits),    cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_mutations),       cmocka_unit_test(test_labels_that_are_no_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
