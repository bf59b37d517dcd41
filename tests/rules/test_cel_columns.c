/* Columns against the scalar evaluator: random batches and random expressions, and every row must agree. The
 * scalar run is the oracle; its own truth is checked by test_cel.c and test_cel_cases.c. */
#include "rules/cel_internal.h"
#include "tests/base/random.h"
#include "tests/rules/random_rules.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROWS = 700, ROUNDS = 1500, TEXT_MAX = 4096, UNTOUCHED = 7 };

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

static void columns_agree_with_rows(void **state)
{
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    struct buffer text;
    uint64_t random = 1;

    batch_with_label(&batch, ROWS, &labels, &environment);
    random_rows(&batch, &random);
    buffer_init(&text, TEXT_MAX);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct cel_program *program;

        buffer_clear(&text);
        random_truth(&random, &text, round % 4);
        assert_false(text.full);
        program = compile_rule(text.data, text.size, &environment, CEL_BOOL);
        check_filter(program, &batch, buffer_span(&text));
        cel_free(program);

        buffer_clear(&text);
        random_number_expression(&random, &text, round % 4);
        program = compile_rule(text.data, text.size, &environment, CEL_DOUBLE);
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

    batch_with_label(&batch, ROWS, &labels, &environment);
    random_rows(&batch, &random);
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        struct cel_program *program = compile_rule(expressions[i], strlen(expressions[i]), &environment,
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

    batch_with_label(&batch, ROWS, &labels, &environment);
    random_rows(&batch, &random);
    struct cel_program *program = compile_rule(text, sizeof text - 1, &environment, CEL_BOOL);
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

    batch_with_label(&batch, ROWS, &labels, &environment);
    random_rows(&batch, &random);
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        struct cel_program *one = compile_rule(twins[i][0], strlen(twins[i][0]), &environment, CEL_BOOL);
        struct cel_program *other = compile_rule(twins[i][1], strlen(twins[i][1]), &environment, CEL_BOOL);

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
