/* collectd's value lists. */
#include "tests/ingest/json_support.h"

#define CPU                                                                                                  \
    "{\"values\":[1901474177],\"dstypes\":[\"counter\"],\"dsnames\":[\"value\"],\"time\":1280959128.5,"      \
    "\"interval\":10,\"host\":\"leeloo\",\"plugin\":\"cpu\",\"plugin_instance\":\"0\",\"type\":\"cpu\","     \
    "\"type_instance\":\"idle\"}"
#define LINK                                                                                                 \
    "{\"values\":[7.5,null],\"dstypes\":[\"derive\",\"derive\"],\"dsnames\":[\"rx\",\"tx\"],"                \
    "\"time\":1280959128.5,\"interval\":10,\"host\":\"leeloo\",\"plugin\":\"interface\","                    \
    "\"plugin_instance\":\"eth0\",\"type\":\"if_octets\",\"type_instance\":\"\"}"

static void test_value_lists(void **state)
{
    struct rig rig;

    rig_open(&rig, "collectd", NULL);
    assert_int_equal(rig_decode_text(&rig, "[" CPU "," LINK "]"), STATUS_OK);
    const struct event_batch *batch = &rig.batch;
    assert_int_equal(batch->rows, 2);
    assert_span(batch->metric[0], "cpu");
    assert_true(batch->value[0] == 1901474177);
    assert_span(batch->host[0], "leeloo");
    assert_int_equal(batch->kind[0], KIND_METRIC);
    assert_true(batch->time_us[0] == time_of("2010-08-04T21:58:48.500Z"));
    assert_span(batch->metric[1], "interface.if_octets.rx");
    assert_true(batch->value[1] == 7.5);
    assert_int_equal(batch->item[1], 1);
    rig_close(&rig);
}

static void test_bad_input(void **state)
{
    struct rig rig;

    rig_open(&rig, "collectd", NULL);
    rig_assert_malformed(&rig, "{\"values\":1,\"plugin\":\"cpu\",\"time\":1}", "no plugin or values");
    rig_assert_malformed(&rig, "{\"values\":[1],\"time\":1}", "no plugin or values");
    rig_assert_malformed(&rig, "{\"values\":[1],\"plugin\":\"cpu\"}", "time is missing or no time");
    rig_close(&rig);
    check_json_format("collectd", CPU);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_lists),
        cmocka_unit_test(test_bad_input),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
