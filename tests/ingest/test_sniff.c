/* Signs against messages in all spellings, and bytes that are no JSON. */
#include "tests/ingest/support.h"

#include "base/memory.h"
#include "ingest/sniff.h"
#include "tests/base/random.h"

#include <stdlib.h>

static int ask(const struct sniffer *sniffer, const char *text)
{
    return sniffer_ask(sniffer, span_of(text));
}

static void test_signs(void **state)
{
    struct sniffer sniffer = {.key_count = 0};

    sniffer_add(&sniffer, "a b|c", 0);
    sniffer_add(&sniffer, "kind=argo/ d", 1);
    sniffer_add(&sniffer, "kind d", 2);
    assert_int_equal(ask(&sniffer, "{\"a\":1,\"b\":2}"), 0);
    assert_int_equal(ask(&sniffer, " [ \n{ \"b\" : [1,{\"c\":2}] , \"a\" : \"}\\\"{\" } ]"), 0);
    assert_int_equal(ask(&sniffer, "{\"x\":{\"c\":1},\"c\":null}"), 0);
    assert_int_equal(ask(&sniffer, "{\"kind\":\"argo/v1\",\"d\":1}"), 1);
    assert_int_equal(ask(&sniffer, "{\"d\":1,\"kind\":\"argo\"}"), 2);
    assert_int_equal(ask(&sniffer, "{\"d\":1,\"kind\":7}"), 2);
    assert_int_equal(ask(&sniffer, "{\"x\":\"\\\\\",\"c\":1}"), 0);
    /* keys of inner objects and half the keys are no sign */
    assert_int_equal(ask(&sniffer, "{\"x\":{\"c\":1,\"a\":1,\"b\":1}}"), -1);
    assert_int_equal(ask(&sniffer, "{\"a\":\"b\",\"x\":\"c\"}"), -1);
    assert_int_equal(ask(&sniffer, "{}"), -1);
    assert_int_equal(ask(&sniffer, "[]"), -1);
    assert_int_equal(ask(&sniffer, "[1,{\"c\":1}]"), -1);
    assert_int_equal(ask(&sniffer, "\"c\""), -1);
    assert_int_equal(ask(&sniffer, ""), -1);
}

static void test_foreign(void **state)
{
    assert_string_equal(sniff_foreign(span_of("{\"resourceSpans\":[]}")), "an OTLP traces message");
    assert_string_equal(
        sniff_foreign(span_of("{\"apiVersion\":\"argoproj.io/v1alpha1\",\"kind\":\"Workflow\"}")),
        "an Argo Workflows object");
    assert_string_equal(sniff_foreign(span_of("{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"s\"}")),
                        "a CloudEvents message");
    assert_string_equal(sniff_foreign(span_of("{\"context\":{},\"subject\": {}}")), "a CDEvents message");
    assert_null(sniff_foreign(span_of("{\"type\":\"task-sent\"}")));
    /* somebody's own words */
    assert_null(sniff_foreign(span_of("{\"object\":{},\"type\":\"created\"}")));
    assert_null(sniff_foreign(span_of("{\"context\":\"a\",\"subject\":{}}")));
}

static void test_registry_header(void **state)
{
    struct span framed = span_make("\0\0\0\0\1 {}", 8), avro = span_make("\0\0\0\0\1\2hi", 8);

    assert_span(sniff_json(framed), " {}");
    assert_true(span_equal(sniff_json(avro), avro));
    assert_int_equal(sniff_json(span_make("\0\0\0\0\1", 5)).size, 5);
    assert_span(sniff_json(span_of("{}")), "{}");
}

/* Any bytes, each text in memory of its exact size. */
static void test_any_bytes(void **state)
{
    static const char spice[] = "{}[]\",:\\ ca\0";
    struct sniffer sniffer = {.key_count = 0};
    uint64_t random = 7;

    sniffer_add(&sniffer, "c|a=a", 3);
    for (unsigned round = 0; round < 200000; round++) {
        size_t size = random_below(&random, 24);
        char *text = memory_new(size);

        for (size_t i = 0; i < size; i++)
            text[i] = spice[random_below(&random, sizeof spice)];
        int answer = sniffer_ask(&sniffer, span_make(text, size));
        assert_true(answer == -1 || answer == 3);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_registry_header),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
