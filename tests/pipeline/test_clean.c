/* Each clean step on small batches, what is refused at load, and dedupe and throttle against a naive model
 * with batches of several sizes. */
#include "base/memory.h"
#include "pipeline/clean.h"
#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROWS_MAX = 1024 };
static const int64_t second = 1000000;

struct fixture {
    struct config *config;
    struct cleaner *cleaner;
    struct label_names labels;
    struct event_batch batch;
    struct clean_figures figures;
};

static enum status open_cleaner(struct fixture *fixture, const char *steps, struct error *ret_error)
{
    char text[2048];

    *fixture = (struct fixture){0};
    snprintf(text, sizeof text, "clean:\n%s", steps);
    enum status status = config_parse(text, "weir.yaml", &fixture->config, ret_error);
    if (status == STATUS_OK)
        status = cleaner_open(node_find(config_root(fixture->config), "clean"), &fixture->labels,
                              &fixture->cleaner, ret_error);
    config_free(fixture->config); /* as promised, the nodes are not needed afterwards */
    return status;
}

static void set_up(struct fixture *fixture, const char *steps)
{
    struct error error;

    if (open_cleaner(fixture, steps, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    event_batch_init(&fixture->batch, ROWS_MAX, &fixture->labels);
}

static void free_labels(struct fixture *fixture)
{
    for (unsigned i = 0; i < fixture->labels.count; i++)
        free(fixture->labels.names[i]);
}

static void tear_down(struct fixture *fixture)
{
    event_batch_free(&fixture->batch);
    cleaner_close(fixture->cleaner);
    free_labels(fixture);
}

/* A row at so many seconds, of partition 3, in order, without lateness. */
static uint32_t add_row(struct fixture *fixture, int64_t at_s)
{
    uint32_t row = event_batch_add(&fixture->batch);

    fixture->batch.time_us[row] = at_s * second;
    fixture->batch.offset[row] = row;
    fixture->batch.partition[row] = 3;
    return row;
}

static void apply(struct fixture *fixture)
{
    cleaner_apply(fixture->cleaner, &fixture->batch, &fixture->figures);
}

static void assert_text(struct span text, const char *wanted)
{
    if (!span_is(text, wanted))
        fail_msg("'%.*s' is not '%s'", (int)text.size, text.data, wanted);
}

static void assert_refused(const char *steps, const char *reason)
{
    struct fixture fixture;
    struct error error = {{0}};

    assert_int_equal(open_cleaner(&fixture, steps, &error), STATUS_FATAL);
    free_labels(&fixture);
    if (!strstr(error.text, reason))
        fail_msg("'%s' does not say '%s'", error.text, reason);
    assert_int_equal(strncmp(error.text, "weir.yaml:", 10), 0);
}

static void test_nothing_to_do(void **state)
{
    struct cleaner *cleaner;
    struct label_names labels = {0};
    struct error error;

    assert_int_equal(cleaner_open(NULL, &labels, &cleaner, &error), STATUS_OK);
    cleaner_close(cleaner);
    cleaner_close(NULL);
}

static void test_keep_and_drop(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {keep: 'value > 1.0'}\n- {drop: 'workflow == \"b\"'}\n");
    struct event_batch *batch = &fixture.batch;
    for (int i = 0; i < 6; i++)
        batch->value[add_row(&fixture, i)] = i;
    batch->value[5] = NAN;
    batch->workflow[2] = batch->workflow[4] = SPAN_LITERAL("b");
    batch->mark[4] = MARK_MALFORMED;
    apply(&fixture);
    const uint8_t wanted[] = {MARK_FILTERED, MARK_FILTERED,  MARK_FILTERED,
                              MARK_OK,       MARK_MALFORMED, MARK_FILTERED};
    assert_memory_equal(batch->mark, wanted, 6);
    assert_int_equal(fixture.figures.filtered, 4);
    assert_int_equal(fixture.figures.errors, 0);
    tear_down(&fixture);
}

static void test_set(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {set: duration_ms, to: 'duration_ms * 1000.0'}\n"
                     "- {set: workflow, to: 'source + \"/\" + workflow'}\n"
                     "- {set: labels.team, to: 'owner == \"\" ? \"none\" : owner'}\n"
                     "- {set: state, to: 'value > 0.0 ? \"success\" : \"broken\"'}\n"
                     "- {set: attempt, to: 'value'}\n"
                     "- {set: scheduled, to: 'time'}\n"
                     "- {set: started, to: '\"2026-01-02T03:04:05Z\"'}\n"
                     "- {set: value, to: '1.0 / 0.0'}\n"
                     "- {set: owner, to: 'null'}\n"
                     "- {set: map_index, to: '7'}\n"
                     "- {set: kind, to: '\"metric\"'}\n"
                     "- {set: progress, to: 'duration(\"90s\")'}\n");
    struct event_batch *batch = &fixture.batch;
    for (int i = 0; i < 2; i++)
        add_row(&fixture, 100 + i);
    batch->duration_ms[0] = 2.5;
    batch->source[0] = SPAN_LITERAL("prod");
    batch->workflow[0] = SPAN_LITERAL("etl");
    batch->owner[0] = SPAN_LITERAL("data");
    batch->value[0] = 3;
    batch->value[1] = -1;
    apply(&fixture);
    assert_true(batch->duration_ms[0] == 2500 && isnan(batch->duration_ms[1]));
    assert_text(batch->workflow[0], "prod/etl");
    assert_text(batch->labels[0][0], "data");
    assert_text(batch->labels[0][1], "none");
    assert_int_equal(batch->state[0], STATE_SUCCESS);
    assert_int_equal(batch->state[1], STATE_NONE); /* "broken" is no state: counted */
    assert_int_equal(batch->attempt[0], 3);
    assert_int_equal(batch->attempt[1], 0); /* -1 does not fit: counted */
    assert_int_equal(batch->scheduled_us[1], 101 * second);
    assert_int_equal(batch->started_us[0], 1767323045 * second);
    assert_true(isnan(batch->value[0]) && isnan(batch->value[1]));
    assert_int_equal(batch->owner[0].size, 0);
    assert_int_equal(batch->map_index[1], 7);
    assert_int_equal(batch->kind[0], KIND_METRIC);
    assert_true(batch->progress[0] == 90000); /* a duration is milliseconds */
    assert_int_equal(fixture.figures.errors, 4);
    tear_down(&fixture);
}

static void test_set_keeps_the_event_time(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {set: time, to: 'message'}\n");
    add_row(&fixture, 5);
    fixture.batch.message[add_row(&fixture, 6)] = SPAN_LITERAL("1970-01-01T00:01:00Z");
    fixture.batch.message[add_row(&fixture, 7)] = SPAN_LITERAL("soon");
    apply(&fixture);
    assert_int_equal(fixture.batch.time_us[0], 5 * second);
    assert_int_equal(fixture.batch.time_us[1], 60 * second);
    assert_int_equal(fixture.batch.time_us[2], 7 * second);
    assert_int_equal(fixture.figures.errors, 1);
    tear_down(&fixture);
}

static void test_rename(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {rename: labels.dag, to: workflow}\n- {rename: value, to: duration_ms}\n");
    struct event_batch *batch = &fixture.batch;
    add_row(&fixture, 1);
    batch->labels[0][0] = SPAN_LITERAL("etl");
    batch->workflow[0] = SPAN_LITERAL("old");
    batch->value[0] = 4;
    batch->workflow[add_row(&fixture, 2)] = SPAN_LITERAL("stays");
    apply(&fixture);
    assert_text(batch->workflow[0], "etl");
    assert_int_equal(batch->labels[0][0].size, 0);
    assert_true(batch->duration_ms[0] == 4 && isnan(batch->value[0]));
    assert_text(batch->workflow[1], "stays");
    tear_down(&fixture);
}

static void test_redact(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {redact: message, pattern: 'password=\\K\\S+'}\n"
                     "- {redact: labels.card, pattern: '\\d', with: ''}\n");
    struct event_batch *batch = &fixture.batch;
    for (int i = 0; i < 4; i++)
        add_row(&fixture, i);
    batch->message[0] = SPAN_LITERAL("login password=secret ok password=x");
    batch->message[1] = SPAN_LITERAL("no word here");
    batch->message[2] = SPAN_LITERAL("\xff\xfe password=\xc3\xa4\xff rest"); /* bytes that are no UTF-8 */
    batch->labels[0][3] = SPAN_LITERAL("4111 1111");
    apply(&fixture);
    assert_text(batch->message[0], "login password=*** ok password=***");
    assert_text(batch->message[1], "no word here");
    assert_null(memmem(batch->message[2].data, batch->message[2].size, "\xc3\xa4", 2));
    assert_text(batch->labels[0][3], " ");
    assert_int_equal(batch->notes[0], NOTE_REDACTED);
    assert_int_equal(batch->notes[1], 0);
    assert_int_equal(fixture.figures.redacted, 3);
    tear_down(&fixture);
}

/* A pattern that would take for ever gives up and hides the whole text. */
static void test_redact_gives_up_safely(void **state)
{
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
    struct fixture fixture;

    set_up(&fixture, "- {redact: message, pattern: '(a+)+(a+)+(a+)+$'}\n");
    fixture.batch.message[add_row(&fixture, 0)] = SPAN_LITERAL(text);
    apply(&fixture);
    assert_text(fixture.batch.message[0], "***");
    assert_int_equal(fixture.figures.errors, 1);
    assert_int_equal(fixture.batch.notes[0], NOTE_REDACTED);
    tear_down(&fixture);
}

static void test_redact_without_room(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {redact: message, pattern: x}\n");
    fixture.batch.text.limit = 16;
    for (int i = 0; i < 3; i++)
        fixture.batch.message[add_row(&fixture, i)] = SPAN_LITERAL("xaaa");
    apply(&fixture);
    assert_int_equal(fixture.batch.mark[0], MARK_OK);
    assert_int_equal(fixture.batch.mark[2], MARK_REFUSED);
    assert_non_null(fixture.batch.reason[2]);
    tear_down(&fixture);
}

static void test_missing_limit_convert(void **state)
{
    struct fixture fixture;

    set_up(&fixture,
           "- {missing: run, policy: drop}\n- {missing: owner, value: nobody}\n- {missing: state, value: "
           "unknown}\n"
           "- {missing: attempt, value: 1}\n- {missing: host, policy: keep}\n"
           "- {limit: value, min: 0, max: 100, policy: clamp}\n- {limit: progress, max: 1, policy: clear}\n"
           "- {limit: map_index, min: 0, policy: drop}\n"
           "- {convert: duration_ms, from: s}\n- {convert: value, factor: 0.5}\n");
    struct event_batch *batch = &fixture.batch;
    for (int i = 0; i < 4; i++)
        batch->run[add_row(&fixture, i)] = SPAN_LITERAL("r");
    batch->run[3] = (struct span){0};
    batch->owner[1] = SPAN_LITERAL("me");
    batch->attempt[1] = 4;
    batch->value[0] = -3;
    batch->value[1] = 250;
    batch->progress[0] = 1.5;
    batch->progress[1] = 0.5;
    batch->map_index[2] = -1;
    batch->duration_ms[0] = 1.5;
    batch->duration_ms[1] = 1e307;
    apply(&fixture);
    const uint8_t wanted[] = {MARK_OK, MARK_OK, MARK_FILTERED, MARK_FILTERED};
    assert_memory_equal(batch->mark, wanted, 4);
    assert_text(batch->owner[0], "nobody");
    assert_text(batch->owner[1], "me");
    assert_int_equal(batch->state[0], STATE_UNKNOWN);
    assert_int_equal(batch->attempt[0], 1);
    assert_int_equal(batch->attempt[1], 4);
    assert_true(batch->value[0] == 0 && batch->value[1] == 50);
    assert_true(isnan(batch->progress[0]) && batch->progress[1] == 0.5);
    assert_true(batch->duration_ms[0] == 1500 &&
                isnan(batch->duration_ms[1])); /* the second is beyond a double */
    assert_int_equal(fixture.figures.filtered, 2);
    assert_int_equal(fixture.figures.errors, 1);
    assert_int_equal(fixture.figures.repaired,
                     2 + 3 + 2 + 2 + 1); /* owner, state, attempt, value, progress */
    tear_down(&fixture);
}

static void test_dedupe_edges(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {dedupe: id, within: 10s}\n");
    struct event_batch *batch = &fixture.batch;
    const int64_t watermarks[] = {INT64_MIN, 0, 5, 9, 10, 12, 12, 12};
    for (int i = 0; i < 8; i++) {
        uint32_t row = add_row(&fixture, i < 5 ? 0 : 12);

        batch->watermark_us[row] = i ? watermarks[i] * second : INT64_MIN;
        batch->id[row] = SPAN_LITERAL("a");
    }
    batch->id[6] = batch->id[7] = (struct span){0};
    apply(&fixture);
    /* The end is where the watermark reaches event time + within; duplicates do not move it. */
    const uint8_t wanted[] = {MARK_OK, MARK_DUPLICATE, MARK_DUPLICATE, MARK_DUPLICATE,
                              MARK_OK, MARK_OK,        MARK_OK,        MARK_OK};
    assert_memory_equal(batch->mark, wanted, 8);
    assert_int_equal(fixture.figures.duplicates, 3);
    tear_down(&fixture);
}

static void test_partitions_do_not_share(void **state)
{
    struct fixture fixture;

    set_up(&fixture, "- {dedupe: [id, time]}\n");
    for (uint32_t partition = 0; partition < 20; partition += 19) {
        for (int i = 0; i < 2; i++) {
            uint32_t row = add_row(&fixture, 1);

            fixture.batch.partition[row] = partition;
            fixture.batch.id[row] = SPAN_LITERAL("a");
            fixture.batch.time_us[row] += 3 * i; /* microseconds tell rows apart */
        }
        apply(&fixture);
        assert_int_equal(fixture.figures.duplicates, 0);
        event_batch_reset(&fixture.batch);
    }
    tear_down(&fixture);
}

/* Rows of two partitions, as a source would give them. */
enum { MODEL_ROWS = 6000 };
struct model_row {
    int64_t time_us, watermark_us;
    uint32_t partition;
    uint8_t id, task; /* 0: absent */
    uint8_t mark, wanted;
};

static void make_rows(struct model_row *rows, uint64_t *random)
{
    int64_t highest[2] = {0};
    int64_t now = 1000 * second;

    for (int i = 0; i < MODEL_ROWS; i++) {
        uint32_t partition = (uint32_t)random_below(random, 2);
        int64_t time_us = now - (int64_t)random_below(random, 30) * second;

        now += (int64_t)random_below(random, (uint64_t)second);
        if (random_below(random, 500) == 0)
            now += 60 * second;
        rows[i] = (struct model_row){
            .time_us = time_us,
            .watermark_us = highest[partition] ? highest[partition] - 10 * second : INT64_MIN,
            .partition = partition,
            .id = (uint8_t)random_below(random, 8),
            .task = (uint8_t)random_below(random, 4),
            .mark = random_below(random, 50) ? MARK_OK : MARK_MALFORMED,
        };
        if (rows[i].mark == MARK_OK && time_us > highest[partition])
            highest[partition] = time_us;
    }
}

/* Looks back over all rows before: no table, no expiry. */
static void model_dedupe(struct model_row *rows, int64_t within_us)
{
    for (int i = 0; i < MODEL_ROWS; i++) {
        rows[i].wanted = rows[i].mark;
        if (rows[i].mark != MARK_OK || (rows[i].id == 0 && rows[i].task == 0))
            continue;
        for (int before = i - 1; before >= 0; before--) {
            const struct model_row *row = &rows[before];

            if (row->wanted != MARK_OK || row->partition != rows[i].partition || row->id != rows[i].id ||
                row->task != rows[i].task)
                continue;
            if (row->time_us + within_us > rows[i].watermark_us)
                rows[i].wanted = MARK_DUPLICATE;
            break; /* only the newest that was kept is remembered */
        }
    }
}

static void model_throttle(struct model_row *rows, int limit, int64_t per_us)
{
    for (int i = 0; i < MODEL_ROWS; i++) {
        int64_t window = rows[i].time_us / per_us;
        int passed = 0;

        rows[i].wanted = rows[i].mark;
        if (rows[i].mark != MARK_OK || (window + 1) * per_us <= rows[i].watermark_us)
            continue;
        for (int before = 0; before < i; before++)
            passed += rows[before].wanted == MARK_OK && rows[before].partition == rows[i].partition &&
                      rows[before].id == rows[i].id && rows[before].time_us / per_us == window &&
                      (window + 1) * per_us > rows[before].watermark_us;
        if (passed >= limit)
            rows[i].wanted = MARK_FILTERED;
    }
}

/* In batches of at most `size` rows of one partition; answers how many differ from the model. */
static int count_wrong(struct fixture *fixture, struct model_row *rows, uint32_t size)
{
    static char names[8][4];
    struct event_batch *batch = &fixture->batch;
    int wrong = 0;

    for (int i = 0; i < 8; i++)
        snprintf(names[i], sizeof names[i], "%d", i);
    for (uint32_t partition = 0; partition < 2; partition++) {
        int at[ROWS_MAX];

        event_batch_reset(batch);
        for (int i = 0; i <= MODEL_ROWS; i++) {
            if (batch->rows == size || (i == MODEL_ROWS && batch->rows > 0)) {
                apply(fixture);
                for (uint32_t row = 0; row < batch->rows; row++)
                    wrong += batch->mark[row] != rows[at[row]].wanted;
                event_batch_reset(batch);
            }
            if (i == MODEL_ROWS || rows[i].partition != partition)
                continue;
            uint32_t row = event_batch_add(batch);
            at[row] = i;
            batch->partition[row] = partition;
            batch->time_us[row] = rows[i].time_us;
            batch->watermark_us[row] = rows[i].watermark_us;
            batch->mark[row] = rows[i].mark;
            batch->id[row] = rows[i].id ? span_of(names[rows[i].id]) : (struct span){0};
            batch->task[row] = rows[i].task ? span_of(names[rows[i].task]) : (struct span){0};
        }
    }
    return wrong;
}

static void test_dedupe_and_throttle_against_naive_model(void **state)
{
    static struct model_row rows[MODEL_ROWS];
    const uint32_t sizes[] = {1, 7, 1024};
    uint64_t random = 7;

    for (int trial = 0; trial < 4; trial++) {
        make_rows(rows, &random);
        for (int step = 0; step < 2; step++) {
            if (step == 0)
                model_dedupe(rows, 20 * second);
            else
                model_throttle(rows, 2, 15 * second);
            int marked = 0;
            for (int i = 0; i < MODEL_ROWS; i++)
                marked += rows[i].wanted != rows[i].mark;
            assert_true(marked > 100);
            for (int s = 0; s < 3; s++) {
                struct fixture fixture;

                set_up(&fixture, step == 0 ? "- {dedupe: [id, task], within: 20s}\n"
                                           : "- {throttle: id, limit: 2, per: 15s}\n");
                assert_int_equal(count_wrong(&fixture, rows, sizes[s]), 0);
                assert_int_equal(step == 0 ? fixture.figures.duplicates : fixture.figures.throttled, marked);
                tear_down(&fixture);
            }
        }
    }
}

static void test_order_is_as_declared(void **state)
{
    struct fixture fixture;

    set_up(&fixture,
           "- {drop: 'value > 5.0'}\n- {set: value, to: 'value + 10.0'}\n- {drop: 'value > 13.0'}\n");
    for (int i = 0; i < 8; i++)
        fixture.batch.value[add_row(&fixture, i)] = i;
    apply(&fixture);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(fixture.batch.mark[i], i <= 3 ? MARK_OK : MARK_FILTERED);
    tear_down(&fixture);
}

static void test_what_is_refused(void **state)
{
    assert_refused("  keep: x\n", "clean is a list of steps");
    assert_refused("- keep\n", "a clean step is a map");
    assert_refused("- {}\n", "empty clean step");
    assert_refused("- {dedup: id}\n", "2:3: unknown clean step 'dedup'; did you mean 'dedupe'?");
    assert_refused("- {dedupe: idd}\n", "2:12: unknown field 'idd'; did you mean 'id'?");
    assert_refused("- {dedupe: [id, tsk]}\n", "did you mean 'task'?");
    assert_refused("- {dedupe: []}\n", "1 to 8 fields");
    assert_refused("- {dedupe: id, with: 3}\n", "within");
    assert_refused("- {dedupe: id, within: never}\n", "duration");
    assert_refused("- {drop: 'stat == \"x\"'}\n", "did you mean 'state'?");
    assert_refused("- {drop: 'value'}\n", "weir.yaml:2:10");
    assert_refused("- {set: workflow, to: '1 + 1'}\n", "string(...)");
    assert_refused("- {set: value, to: 'workflow'}\n", "does not fit 'value', which is a number");
    assert_refused("- {set: value}\n", "to");
    assert_refused("- {rename: value, to: workflow}\n", "use set to convert");
    assert_refused("- {rename: value, to: value}\n", "renamed to itself");
    assert_refused("- {rename: time, to: started}\n", "can be set, not moved away");
    assert_refused("- {redact: value, pattern: x}\n", "redact takes a text field");
    assert_refused("- {redact: message, pattern: '(x'}\n", "in the pattern at character 3");
    assert_refused("- {throttle: id, per: 1m}\n", "limit");
    assert_refused("- {throttle: id, limit: 0}\n", "range");
    assert_refused("- {missing: run}\n", "missing needs a value");
    assert_refused("- {missing: run, policy: drop, value: x}\n", "value goes with policy: value");
    assert_refused("- {missing: state, value: broken}\n", "'broken' is no value for 'state'");
    assert_refused("- {limit: value, policy: drop}\n", "limit needs min, max or both");
    assert_refused("- {limit: value, min: 2, max: 1, policy: drop}\n", "min is greater than max");
    assert_refused("- {limit: workflow, min: 2, policy: drop}\n", "limit takes a number field");
    assert_refused("- {limit: attempt, max: 1.5, policy: clamp}\n", "cannot be set to this max");
    assert_refused("- {limit: value, min: 0}\n", "policy");
    assert_refused("- {convert: value}\n", "one of from and factor");
    assert_refused("- {convert: value, from: s, factor: 2}\n", "one of from and factor");
    assert_refused("- {convert: duration_ms, from: KiB}\n", "no unit of time");
}

static void test_steps_describe_themselves(void **state)
{
    const char *help;
    const struct option *options;
    size_t count;
    unsigned i = 0;

    for (const char *key; (key = clean_step_describe(i, &help, &options, &count)); i++) {
        assert_string_equal(options[0].name, key);
        assert_true(count >= 1 && strlen(help) > 0);
    }
    assert_int_equal(i, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_keep_and_drop),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_keeps_the_event_time),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_redact),
        cmocka_unit_test(test_redact_gives_up_safely),
        cmocka_unit_test(test_redact_without_room),
        cmocka_unit_test(test_missing_limit_convert),
        cmocka_unit_test(test_dedupe_edges),
        cmocka_unit_test(test_partitions_do_not_share),
        cmocka_unit_test(test_dedupe_and_throttle_against_naive_model),
        cmocka_unit_test(test_order_is_as_declared),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_steps_describe_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
