/* Samples of a page as documents, to those sinks that ask for them; what is busy or refuses loses them. */
#include "pipeline/reporter.h"

#include "base/memory.h"
#include "tests/schemas/flat_json.h"

#include <unistd.h>

#define SECOND_US 1000000LL

enum { TOLD_MAX = 32 };

static struct told {
    struct id128 ids[TOLD_MAX];
    char *bodies[TOLD_MAX];
    size_t count;
    unsigned open, warnings;
    bool busy, refuses;
} told;

static enum status fake_open(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    if (settings)
        return (fail)(ret_error, "no such server");
    told.open++;
    *ret_sink = (struct sink *)&told;
    return STATUS_OK;
}

static enum status fake_offer(struct sink *sink, const struct document *document)
{
    assert_int_equal(document->kind, DOC_METRIC);
    assert_true(document->ticket == 0 && document->version == 0);
    if (told.busy)
        return STATUS_RETRY;
    assert_true(told.count < TOLD_MAX);
    told.ids[told.count] = document->id;
    told.bodies[told.count++] = memory_text(document->body.data, document->body.size);
    return STATUS_OK;
}

static void fake_advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    if (told.refuses)
        verdicts_dead_letter(verdicts, 0, DOC_METRIC, "not wanted", SPAN_LITERAL("{}"));
}

static void fake_close(struct sink *sink)
{
    told.open--;
}

static void count_warning(void *owner, const char *text)
{
    assert_string_equal(text, "sink figures: metrics are refused: not wanted");
    told.warnings++;
}

static const struct sink_type fake = {
    .open = fake_open, .offer = fake_offer, .advance = fake_advance, .close = fake_close};
static struct plan_sink sinks[] = {{.name = "others", .type = &fake, .kinds = 1u << DOC_ALERT},
                                   {.name = "figures", .type = &fake, .kinds = 1u << DOC_METRIC}};
static struct plan plan = {.general.name = "orders", .name = {"orders", 6}, .sinks = sinks, .sink_count = 2};

static struct reporter *begin(void)
{
    struct reporter *reporter = NULL;
    struct error error;

    told = (struct told){0};
    assert_int_equal(
        reporter_open(&(struct reporter_options){.plan = &plan, .warn = count_warning}, &reporter, &error),
        STATUS_OK);
    assert_int_equal(told.open, 1);
    return reporter;
}

static void end(struct reporter *reporter)
{
    reporter_close(reporter);
    assert_int_equal(told.open, 0);
    for (size_t i = 0; i < told.count; i++)
        free(told.bodies[i]);
}

static void assert_body(size_t i, const char *path, const char *expected)
{
    struct flat flat;

    flat_parse(span_of(told.bodies[i]), &flat);
    const char *found = flat_find(&flat, path);
    if (expected)
        assert_string_equal(found ? found : "(absent)", expected);
    else
        assert_null(found);
    flat_free(&flat);
}

static void test_samples(void **state)
{
    struct reporter *reporter = begin();
    char host[256] = "", quoted[300];

    reporter_tell(reporter,
                  SPAN_LITERAL("# HELP weir_info the pipeline\n# TYPE weir_info gauge\n"
                               "weir_info{pipeline=\"a\\\"{b} c=\\\\\",version=\"1\"} 1\n"
                               "weir_rows_total 18446744073709551615\n"
                               "weir_stage_seconds_total{stage=\"decode\"} 0.250000\n"
                               "weir_broken{sink=\"a\"b\"} 3\n"),
                  1795254020097000);
    assert_int_equal(told.count, 4);
    assert_body(0, "weir.metric", "\"weir_info\"");
    assert_body(0, "labels.pipeline", "\"a\"{b} c=\\\"");
    assert_body(0, "labels.version", "\"1\"");
    assert_body(0, "@timestamp", "\"2026-11-21T09:40:20.097Z\"");
    assert_body(1, "weir.metric", "\"weir_rows_total\"");
    assert_body(1, "weir.value", "1.8446744073709552e+19");
    assert_body(1, "labels", NULL);
    assert_body(2, "weir.value", "0.25");
    assert_body(2, "labels.stage", "\"decode\"");
    assert_body(3, "labels.sink", "\"a\"");
    gethostname(host, sizeof host - 1);
    snprintf(quoted, sizeof quoted, "\"%s\"", host);
    assert_body(3, "host.name", quoted);
    for (size_t i = 0; i < told.count; i++)
        for (size_t k = 0; k < i; k++)
            assert_false(id_equal(told.ids[i], told.ids[k]));
    end(reporter);
}

static void test_due(void **state)
{
    struct reporter *reporter = begin();

    assert_false(reporter_is_due(reporter, 100 * SECOND_US));
    assert_false(reporter_is_due(reporter, 109 * SECOND_US));
    assert_true(reporter_is_due(reporter, 110 * SECOND_US));
    assert_false(reporter_is_due(reporter, 119 * SECOND_US));
    assert_false(reporter_is_due(reporter, 50 * SECOND_US)); /* the clock was set back */
    assert_true(reporter_is_due(reporter, 60 * SECOND_US));
    end(reporter);
}

static void test_lost(void **state)
{
    struct reporter *reporter = begin();

    told.busy = told.refuses = true;
    reporter_tell(reporter, SPAN_LITERAL("weir_rows_total 1\nweir_cut 2"), SECOND_US);
    assert_int_equal(told.count, 0);
    reporter_advance(reporter, 2 * SECOND_US);
    reporter_advance(reporter, 3 * SECOND_US);
    assert_int_equal(told.warnings, 1); /* a minute */
    end(reporter);
}

static void test_none_and_unusable(void **state)
{
    struct reporter *reporter = NULL;
    struct error error;
    int settings = 0;

    told = (struct told){0};
    sinks[1].settings = &settings;
    assert_int_equal(reporter_open(&(struct reporter_options){.plan = &plan}, &reporter, &error),
                     STATUS_FATAL);
    assert_string_equal(error.text, "no such server");
    sinks[1] = sinks[0];
    assert_int_equal(reporter_open(&(struct reporter_options){.plan = &plan}, &reporter, &error), STATUS_OK);
    assert_null(reporter);
    assert_int_equal(told.open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_none_and_unusable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
