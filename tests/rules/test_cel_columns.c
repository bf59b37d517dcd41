/* Columns against the scalar evaluator: random batches and random expressions, and every row must agree. The
 * scalar run is the oracle; its own truth is checked by test_cel.c and test_cel_cases.c. */
#include "rules/cel_internal.h"
#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROWS = 700, ROUNDS = 1500, TEXT_MAX = 4096, UNTOUCHED = 7 };

static const char *const words[] = {"",      "failed", "success",     "etl",     "etl_daily",
                                    "daily", "a",      "load.orders", "\xff\xfe"};
enum { WORDS = sizeof words / sizeof *words };

static const char *pick(uint64_t *random, const char *const *list, size_t count)
{
    return list[random_below(random, count)];
}

static double random_number(uint64_t *random)
{
    static const double special[] = {0, -0.0, 1, -1, 5000, 0.5, INFINITY, -INFINITY, NAN, 1e300};

    return special[random_below(random, sizeof special / sizeof *special)];
}

static void fill(struct event_batch *batch, uint64_t *random)
{
    for (uint32_t row = 0; row < ROWS; row++) {
        assert_int_equal(event_batch_add(batch), row);
        batch->mark[row] = random_below(random, 8) == 0 ? MARK_FILTERED : MARK_OK;
        batch->state[row] = (uint8_t)random_below(random, STATE_COUNT);
        batch->kind[row] = (uint8_t)random_below(random, KIND_COUNT);
        batch->workflow[row] = span_of(pick(random, words, WORDS));
        batch->task[row] = span_of(pick(random, words, WORDS));
        batch->duration_ms[row] = random_number(random);
        batch->value[row] = random_number(random);
        batch->attempt[row] = (uint16_t)random_below(random, 4);
        batch->map_index[row] = random_below(random, 3) ? (int32_t)random_below(random, 5) : INT32_MIN;
        batch->time_us[row] = random_below(random, 5) ? (int64_t)random_below(random, 1ULL << 50) : TIME_NONE;
        batch->labels[0][row] = span_of(pick(random, words, WORDS));
    }
}

static void write_number(uint64_t *random, struct buffer *out, unsigned depth)
{
    static const char *const leaves[] = {"duration_ms", "value", "progress",       "5000",
                                         "0.5",         "-1.0",  "double(attempt)"};
    static const char *const operators[] = {"+", "-", "*", "/"};

    if (depth == 0 || random_below(random, 3) == 0) {
        buffer_put_text(out, pick(random, leaves, 7));
        return;
    }
    buffer_put_text(out, random_below(random, 6) == 0 ? "-(1.0 * " : "(1.0 * ");
    write_number(random, out, depth - 1);
    buffer_print(out, " %s ", pick(random, operators, 4));
    write_number(random, out, depth - 1);
    buffer_put_text(out, " * 1.0)");
}

static void write_text_test(uint64_t *random, struct buffer *out)
{
    static const char *const fields[] = {"workflow", "task", "state", "kind", "labels.team", "message"};
    static const char *const plain[] = {"",  "failed", "success", "etl",      "daily",
                                        "a", "event",  "metric",  "timed_out"};
    static const char *const forms[] = {
        "%s == '%s'",
        "%s != '%s'",
        "'%2$s' == %1$s",
        "%s.startsWith('%s')",
        "%s.endsWith('%s')",
        "%s.contains('%s')",
        "%s in ['%s', 'failed']",
        "%s in []",
        "%s < '%s'",
        "%s.matches('%s.*l')",
        "%s + 'x' == '%sx'",
        "size(%s) > size('%s')",
        "%s in ['%s', 'a', 1]",
    };

    char text[160];

    /* one argument more than some forms use is fine */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, pick(random, forms, sizeof forms / sizeof *forms), pick(random, fields, 6),
             pick(random, plain, 9));
#pragma GCC diagnostic pop
    buffer_put_text(out, text);
}

static void write_leaf(uint64_t *random, struct buffer *out)
{
    static const char *const orders[] = {"<", "<=", ">", ">=", "==", "!="};
    static const char *const others[] = {
        "true",
        "false",
        "has(labels.team)",
        "attempt > 1",
        "map_index == -1",
        "attempt <= 2",
        "attempt < map_index",
        "10 / attempt > 3",
        "attempt % map_index == 0",
        "time.getHours() < 12",
        "time > timestamp('1990-01-01T00:00:00Z')",
        "(state == 'failed' ? attempt : map_index) > 1",
        "[1, 2].exists(x, x == attempt)",
        "attempt + 1 > 2",
        "value in [1, 5000]",
        "attempt >= 9007199254740993",
        "double(map_index) / double(attempt) > 1.0",
    };
    unsigned choice = (unsigned)random_below(random, 10);

    if (choice < 4) {
        write_text_test(random, out);
    } else if (choice < 7) {
        write_number(random, out, 2);
        buffer_print(out, " %s ", pick(random, orders, 6));
        write_number(random, out, 2);
    } else {
        buffer_put_text(out, pick(random, others, sizeof others / sizeof *others));
    }
}

static void write_truth(uint64_t *random, struct buffer *out, unsigned depth)
{
    if (depth == 0 || random_below(random, 4) == 0) {
        write_leaf(random, out);
        return;
    }
    buffer_put_text(out, random_below(random, 5) == 0 ? "!(" : "(");
    write_truth(random, out, depth - 1);
    buffer_put_text(out, random_below(random, 2) ? " && " : " || ");
    write_truth(random, out, depth - 1);
    buffer_put_char(out, ')');
}

static struct cel_program *compile(const char *text, size_t size, const struct cel_environment *environment,
                                   enum cel_type want)
{
    struct cel_program *program = NULL;
    struct error error;

    if (cel_compile(span_make(text, size), environment, want, &program, &error) != STATUS_OK)
        fail_msg("%.*s: %s", (int)size, text, error.text);
    return program;
}

/* Rows where the columns of one program differ from the scalar run of the other. */
static unsigned count_differences(const struct cel_program *columns, const struct cel_program *rows,
                                  struct event_batch *batch)
{
    uint64_t errors = 0, expected_errors = 0;
    uint8_t answers[ROWS];
    unsigned differences = 0;

    memset(answers, UNTOUCHED, sizeof answers);
    cel_filter(columns, batch, answers, &errors);
    for (uint32_t row = 0; row < ROWS; row++) {
        struct cel_value value = cel_row(rows, batch, row);
        uint8_t expected = batch->mark[row] != MARK_OK ? UNTOUCHED : value.type == CEL_BOOL && value.boolean;

        expected_errors += batch->mark[row] == MARK_OK && value.type != CEL_BOOL;
        differences += answers[row] != expected;
    }
    arena_reset(&batch->text);
    return differences + (errors != expected_errors);
}

static void check_filter(const struct cel_program *program, struct event_batch *batch, struct span text)
{
    unsigned differences = count_differences(program, program, batch);

    if (differences > 0)
        fail_msg("%u rows differ: %.*s", differences, (int)text.size, text.data);
}

static void check_numbers(const struct cel_program *program, struct event_batch *batch, struct span text)
{
    double answers[ROWS];
    uint64_t errors = 0, expected_errors = 0;

    for (uint32_t row = 0; row < ROWS; row++)
        answers[row] = UNTOUCHED;
    cel_numbers(program, batch, answers, &errors);
    for (uint32_t row = 0; row < ROWS; row++) {
        struct cel_value value = cel_row(program, batch, row);
        double expected = batch->mark[row] != MARK_OK ? UNTOUCHED
                          : value.type == CEL_DOUBLE  ? value.number
                                                      : NAN;

        expected_errors += batch->mark[row] == MARK_OK && value.type != CEL_DOUBLE;
        if (!(answers[row] == expected || (isnan(answers[row]) && isnan(expected))))
            fail_msg("row %u of %.*s: %g instead of %g", row, (int)text.size, text.data, answers[row],
                     expected);
    }
    assert_int_equal(errors, expected_errors);
    arena_reset(&batch->text);
}

static void batch_with_label(struct event_batch *batch, struct label_names *labels,
                             struct cel_environment *environment)
{
    struct field_ref ref;

    *labels = (struct label_names){0};
    assert_true(field_ref_parse(SPAN_LITERAL("labels.team"), labels, &ref));
    cel_event_environment(labels, environment);
    event_batch_init(batch, ROWS, labels);
}

static void free_labels(struct label_names *labels)
{
    for (unsigned i = 0; i < labels->count; i++)
        free(labels->names[i]);
}

static void columns_agree_with_rows(void **state)
{
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    struct buffer text;
    uint64_t random = 1;

    batch_with_label(&batch, &labels, &environment);
    fill(&batch, &random);
    buffer_init(&text, TEXT_MAX);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct cel_program *program;

        buffer_clear(&text);
        write_truth(&random, &text, round % 4);
        assert_false(text.full);
        program = compile(text.data, text.size, &environment, CEL_BOOL);
        check_filter(program, &batch, buffer_span(&text));
        cel_free(program);

        buffer_clear(&text);
        write_number(&random, &text, round % 4);
        program = compile(text.data, text.size, &environment, CEL_DOUBLE);
        check_numbers(program, &batch, buffer_span(&text));
        cel_free(program);
    }
    buffer_free(&text);
    event_batch_free(&batch);
    free_labels(&labels);
}

/* What falls back to rows as a number: integer arithmetic, ?:, errors, and results known only when run. */
static void numbers_of_any_kind_agree(void **state)
{
    static const char *const expressions[] = {
        "attempt",
        "map_index + 1",
        "10 / attempt",
        "state == 'failed' ? duration_ms : 0",
        "[1, 2.5][attempt]",
        "dyn(workflow)",
        "double(attempt) / value",
        "-duration_ms",
        "5000",
        "duration_ms * 60 * 1000",
    };
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    uint64_t random = 2;

    batch_with_label(&batch, &labels, &environment);
    fill(&batch, &random);
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        struct cel_program *program = compile(expressions[i], strlen(expressions[i]), &environment,
                                              i == 4 || i == 5 ? CEL_DYN : CEL_DOUBLE);

        if (cel_result_type(program) == CEL_DOUBLE)
            check_numbers(program, &batch, span_of(expressions[i]));
        cel_free(program);
    }
    event_batch_free(&batch);
    free_labels(&labels);
}

static void a_label_column_that_is_missing_is_absent(void **state)
{
    static const char text[] = "labels.late == '' && !has(labels.late) && labels.late != 'x'";
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    uint64_t random = 3;

    batch_with_label(&batch, &labels, &environment);
    fill(&batch, &random);
    struct cel_program *program = compile(text, sizeof text - 1, &environment, CEL_BOOL);
    assert_int_equal(labels.count, 2); /* named after the batch was made */
    check_filter(program, &batch, span_of(text));
    assert_true(cel_is_true(cel_row(program, &batch, 0)));
    cel_free(program);
    event_batch_free(&batch);
    free_labels(&labels);
}

/* Proves that the comparison can fail: the columns of one expression against the rows of its near twin. */
static void a_wrong_kernel_is_seen(void **state)
{
    static const char *const twins[][2] = {
        {"duration_ms > 5000", "duration_ms >= 5000"},
        {"workflow == 'etl'", "workflow.startsWith('etl')"},
        {"state == 'failed'", "state == 'success'"},
        {"attempt > 1 && 10 / attempt > 3", "attempt > 1 || 10 / attempt > 3"},
        {"false", "10 / attempt > 30"}, /* an error only */
    };
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    uint64_t random = 4;

    batch_with_label(&batch, &labels, &environment);
    fill(&batch, &random);
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        struct cel_program *one = compile(twins[i][0], strlen(twins[i][0]), &environment, CEL_BOOL);
        struct cel_program *other = compile(twins[i][1], strlen(twins[i][1]), &environment, CEL_BOOL);

        assert_int_equal(count_differences(one, one, &batch), 0);
        assert_true(count_differences(one, other, &batch) > 0);
        cel_free(one);
        cel_free(other);
    }
    event_batch_free(&batch);
    free_labels(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_agree_with_rows),
        cmocka_unit_test(numbers_of_any_kind_agree),
        cmocka_unit_test(a_label_column_that_is_missing_is_absent),
        cmocka_unit_test(a_wrong_kernel_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
