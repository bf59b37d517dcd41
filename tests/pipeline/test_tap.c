/* Taps on batches made by hand: what a reader gets, what is hidden from it, and what it cannot slow down. */
#include "base/memory.h"
#include "pipeline/tap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 2048, TEXT_BYTES = 1 << 20, DECODE = 2, CLEAN = 4 }; /* places in stages.c */

#define SECOND_US INT64_C(1000000)

struct fixture {
    struct label_names labels;
    struct cleaner *cleaner;
    struct event_batch batch;
    struct taps *taps;
    unsigned woken;
    char text[TEXT_BYTES]; /* what the last read gave */
};

static void count_wake(void *owner)
{
    ((struct fixture *)owner)->woken++;
}

static int set_up(void **state)
{
    static const char steps[] =
        "clean: [{drop: 'task == \"noise\"'}, {redact: message, pattern: 'key=[a-z]+'},\n"
        "  {redact: labels.team, pattern: 'red'}]";
    struct fixture *fixture = memory_new(sizeof *fixture);
    struct config *config;
    struct error error;

    assert_int_equal(config_parse(steps, "test", &config, &error), STATUS_OK);
    assert_int_equal(
        cleaner_open(node_find(config_root(config), "clean"), &fixture->labels, &fixture->cleaner, &error),
        STATUS_OK);
    config_free(config);
    event_batch_init(&fixture->batch, ROWS, &fixture->labels);
    fixture->taps = taps_new();
    taps_set_labels(fixture->taps, &fixture->labels);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    taps_free(fixture->taps);
    event_batch_free(&fixture->batch);
    cleaner_close(fixture->cleaner);
    for (unsigned i = 0; i < fixture->labels.count; i++)
        free(fixture->labels.names[i]);
    free(fixture);
    return 0;
}

static struct tap *open_tap(struct fixture *fixture, const char *stage, const char *where, uint64_t limit)
{
    struct tap_query query = {.stage = stage, .where = where, .limit = limit};
    struct tap *tap = NULL;
    struct error error = {.text = ""};

    if (tap_open(fixture->taps, &query, count_wake, fixture, &tap, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return tap;
}

/* Everything that is there; false at its end. */
static bool read_all(struct fixture *fixture, struct tap *tap)
{
    size_t size = 0, taken;
    bool ended;

    while ((taken = tap_read(tap, fixture->text + size, TEXT_BYTES - 1 - size, &ended)))
        size += taken;
    fixture->text[size] = '\0';
    return !ended;
}

static unsigned count(const char *text, const char *part)
{
    unsigned found = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        found++;
    return found;
}

static void add_rows(struct fixture *fixture, unsigned rows)
{
    for (unsigned i = 0; i < rows; i++) {
        uint32_t row = event_batch_add(&fixture->batch);

        fixture->batch.time_us[row] = SECOND_US;
        fixture->batch.offset[row] = row;
        fixture->batch.workflow[row] = span_of(i % 2 ? "odd" : "even");
        fixture->batch.message[row] = span_of("the key=secret is");
        fixture->batch.labels[0][row] = span_of("redhead");
    }
}

static void offer(struct fixture *fixture, unsigned stage, int64_t now_us)
{
    taps_offer(fixture->taps, stage, stage != CLEAN, &fixture->batch, fixture->cleaner, now_us);
}

static void rows_are_shown_redacted(void **state)
{
    struct fixture *fixture = *state;
    struct tap *tap = open_tap(fixture, "decode", NULL, 0);

    assert_int_equal(taps_wanted(fixture->taps), 1U << DECODE);
    add_rows(fixture, 1);
    offer(fixture, CLEAN, SECOND_US); /* another stage */
    assert_true(read_all(fixture, tap));
    assert_string_equal(fixture->text, "");
    offer(fixture, DECODE, SECOND_US);
    assert_int_equal(fixture->woken, 1);
    assert_true(read_all(fixture, tap));
    assert_string_equal(fixture->text,
                        "{\"schema\":1,\"stage\":\"decode\",\"mark\":\"ok\",\"offset\":0,\"item\":0,"
                        "\"time\":\"1970-01-01T00:00:01.000Z\",\"workflow\":\"even\",\"kind\":\"event\","
                        "\"message\":\"the *** is\",\"labels\":{\"team\":\"***head\"}}\n");
    assert_true(span_is(fixture->batch.message[0], "the key=secret is")); /* the row itself is as it was */
    tap_close(tap);
    assert_int_equal(taps_wanted(fixture->taps), 0);
}

/* Behind `clean` a row that an earlier step dropped has not been redacted yet. */
static void dropped_rows_are_redacted_too(void **state)
{
    struct fixture *fixture = *state;
    struct tap *tap = open_tap(fixture, "clean", NULL, 0);
    struct clean_figures figures = {0};

    add_rows(fixture, 2);
    fixture->batch.task[1] = span_of("noise");
    cleaner_apply(fixture->cleaner, &fixture->batch, &figures);
    offer(fixture, CLEAN, SECOND_US);
    assert_true(read_all(fixture, tap));
    assert_int_equal(count(fixture->text, "\"mark\":\"ok\""), 1);
    assert_int_equal(count(fixture->text, "\"mark\":\"filtered\""), 1);
    assert_int_equal(count(fixture->text, "secret"), 0);
    tap_close(tap);
}

static void conditions_and_limits(void **state)
{
    struct fixture *fixture = *state;
    struct tap *tap = open_tap(fixture, "clean", "workflow == \"odd\"", 3);

    add_rows(fixture, 10);
    offer(fixture, CLEAN, SECOND_US);
    assert_false(read_all(fixture, tap));
    assert_int_equal(count(fixture->text, "\"odd\""), 3);
    assert_int_equal(count(fixture->text, "\"even\""), 0);
    tap_close(tap);
}

static void a_flood_is_cut_and_counted(void **state)
{
    struct fixture *fixture = *state;
    struct tap *tap = open_tap(fixture, "clean", NULL, 0);

    add_rows(fixture, ROWS);
    offer(fixture, CLEAN, SECOND_US);
    assert_true(read_all(fixture, tap));
    assert_int_equal(count(fixture->text, "\"stage\""), TAP_ROWS_PER_SECOND);
    assert_non_null(strstr(fixture->text, "{\"dropped\":1048}\n"));
    offer(fixture, CLEAN, SECOND_US + SECOND_US / 10); /* a tenth of a second is a tenth of the rows */
    assert_true(read_all(fixture, tap));
    assert_int_equal(count(fixture->text, "\"stage\""), TAP_ROWS_PER_SECOND / 10);
    for (int64_t s = 3; s < 20; s++) /* nobody reads: the ring is all the memory there is */
        offer(fixture, CLEAN, s * SECOND_US);
    assert_true(read_all(fixture, tap));
    assert_in_range(count(fixture->text, "\"stage\""), 4000, TAP_RING_BYTES / 150);
    tap_close(tap);
}

static void what_cannot_be_asked(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        struct tap_query query;
        const char *reason;
    } cases[] = {
        {{.stage = "fold"}, "stage: 'fold' is none of decode, time, clean"},
        {{.stage = "clean", .where = "stat == \"x\""},
         "where: 1:1: unknown name 'stat'; did you mean 'state'?"},
        {{.stage = "clean", .where = "labels.color == \"x\""}, "where: the pipeline has no label 'color'"},
    };
    struct tap *taps[TAPS_MAX], *none = NULL;
    struct error error;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tap_open(fixture->taps, &cases[i].query, count_wake, fixture, &none, &error),
                         STATUS_FATAL);
        assert_string_equal(error.text, cases[i].reason);
    }
    for (unsigned i = 0; i < TAPS_MAX; i++)
        taps[i] = open_tap(fixture, "clean", NULL, 0);
    assert_int_equal(
        tap_open(fixture->taps, &(struct tap_query){.stage = "clean"}, count_wake, fixture, &none, &error),
        STATUS_RETRY);
    for (unsigned i = 0; i < TAPS_MAX; i++)
        tap_close(taps[i]);
}

static void beats_and_ends(void **state)
{
    struct fixture *fixture = *state;
    struct tap *tap = open_tap(fixture, "clean", NULL, 0);
    const struct label_names others = {.names = {"region"}, .count = 1};

    assert_true(read_all(fixture, tap));
    taps_beat(fixture->taps); /* a reader that waits hears that the pipeline lives */
    assert_int_equal(fixture->woken, 1);
    assert_true(read_all(fixture, tap));
    assert_string_equal(fixture->text, "\n");
    taps_set_labels(fixture->taps, &fixture->labels); /* a reload that changes none */
    assert_true(read_all(fixture, tap));
    taps_set_labels(fixture->taps, &others);
    assert_false(read_all(fixture, tap));
    tap_close(tap);
    taps_end(fixture->taps);
    struct error error;
    assert_int_equal(
        tap_open(fixture->taps, &(struct tap_query){.stage = "clean"}, count_wake, fixture, &tap, &error),
        STATUS_RETRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_shown_redacted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dropped_rows_are_redacted_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(conditions_and_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_is_cut_and_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(beats_and_ends, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
