/* CEL over the columns of a batch: the hot path of event rules, clean steps and `where`. At load each node
 * gets a step; a step is a plain loop over up to 256 chosen rows where the node is one of
 *   a text field or label against constants (==, !=, in, startsWith, endsWith, contains),
 *   a comparison of numbers (double and integer fields, constants, + - * / of doubles),
 *   anything that reads the state or the kind alone: a table of answers, made at load by running it for each,
 *   && || ! over such;
 * every other part runs row by row in cel_run.c. The right side of && and || runs on the rows that the left
 * one left open, closed up: a rare left side pays for all. Errors are a third truth value, so that the result
 * is the scalar one: tests/rules/test_cel_columns.c compares the two. 256 rows keep the working bytes of a
 * block in the first-level cache; bit sets instead of bytes were not tried. */
#include "base/memory.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <math.h>

enum { BLOCK_ROWS = 256, NUMBER_HEIGHT_MAX = 16, SCRATCH_BYTES = 1 << 20 };
enum truth { IS_FALSE, IS_TRUE, IS_ERROR };

_Static_assert((int)KIND_COUNT <= (int)STATE_COUNT, "answers has room for both lists");

/* The environment of events */

static struct cel_variable event_variables[FIELD_COUNT];

static enum cel_type field_value_type(enum field_type type)
{
    switch (type) {
    case FIELD_TIME:
        return CEL_TIMESTAMP;
    case FIELD_NUMBER:
        return CEL_DOUBLE;
    case FIELD_INTEGER:
    case FIELD_SMALL:
        return CEL_INT;
    default:
        return CEL_STRING;
    }
}

/* Called at load, before threads are started: the rows are filled each time, with the same. */
void cel_event_environment(struct label_names *labels, struct cel_environment *ret_environment)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        event_variables[i] =
            (struct cel_variable){.name = field_rows[i].name, .type = field_value_type(field_rows[i].type)};
    *ret_environment = (struct cel_environment){
        .variables = event_variables, .count = FIELD_COUNT, .labels = labels != NULL, .label_names = labels};
}

bool cel_is_event_environment(const struct cel_environment *environment)
{
    return environment->variables == event_variables;
}

static struct cel_value field_value(const struct event_batch *batch, enum field field, uint32_t row)
{
    const void *column = event_column(batch, field);
    int32_t index;

    switch (field_rows[field].type) {
    case FIELD_TIME:
        return cel_timestamp_from_us(((const int64_t *)column)[row]);
    case FIELD_TEXT:
        return cel_string(((const struct span *)column)[row]);
    case FIELD_NUMBER:
        return cel_double(((const double *)column)[row]);
    case FIELD_INTEGER:
        index = ((const int32_t *)column)[row];
        return cel_int(index == INT32_MIN ? -1 : index);
    case FIELD_SMALL:
        return cel_int(((const uint16_t *)column)[row]);
    case FIELD_STATE:
        return cel_string(span_of(run_state_names[((const uint8_t *)column)[row]]));
    case FIELD_KIND:
        return cel_string(span_of(event_kind_names[((const uint8_t *)column)[row]]));
    }
    assert(!"a field of an unknown type");
    return cel_no_room();
}

static struct span label_value(const struct event_batch *batch, unsigned label, uint32_t row)
{
    return batch->labels[label] ? batch->labels[label][row] : (struct span){0};
}

/* Planning, at load */

static struct expr *expr_at(const struct cel_program *program, uint16_t index)
{
    assert(index > 0 && index < program->expr_count);
    return &program->exprs[index];
}

static bool is_operator(const struct expr *expr, const char *name, unsigned count)
{
    return expr->kind == EXPR_CALL && expr->form == FORM_OPERATOR && expr->count == count &&
           span_is(expr->name, name);
}

/* Does the tree read nothing but one field of a closed list? */
static bool reads_one_code(const struct cel_program *program, uint16_t index, enum field *field)
{
    const struct expr *expr = expr_at(program, index);

    if (expr->kind == EXPR_LABEL || expr->kind == EXPR_HAS_LABEL)
        return false;
    if (expr->kind == EXPR_VARIABLE) {
        enum field_type type = field_rows[expr->slot].type;

        if ((type != FIELD_STATE && type != FIELD_KIND) || (*field != FIELD_COUNT && *field != expr->slot))
            return false;
        *field = (enum field)expr->slot;
    }
    for (uint16_t child = expr->first, i = 0; i < expr->count; i++, child = expr_at(program, child)->next) {
        if (!reads_one_code(program, child, field))
            return false;
    }
    return true;
}

static uint8_t truth_of(struct cel_value value)
{
    return value.type != CEL_BOOL ? IS_ERROR : value.boolean ? IS_TRUE : IS_FALSE;
}

static bool plan_code(struct cel_program *program, uint16_t index, struct column_step *step)
{
    struct cel_value values[FIELD_COUNT];
    struct frame frame = {.program = program, .values = values};
    enum field field = FIELD_COUNT;
    struct arena scratch;

    if (!reads_one_code(program, index, &field) || field == FIELD_COUNT)
        return false;
    bool states = field_rows[field].type == FIELD_STATE;
    for (unsigned code = 0; code < (states ? STATE_COUNT : KIND_COUNT); code++) {
        arena_init(&scratch, SCRATCH_BYTES);
        frame.arena = &scratch;
        frame.cost = 0;
        values[field] = cel_string(span_of(states ? run_state_names[code] : event_kind_names[code]));
        step->answers[code] = truth_of(cel_evaluate(&frame, index));
        arena_free(&scratch);
    }
    step->work = WORK_CODE;
    step->column = (struct field_ref){.field = field};
    return true;
}

static bool is_text_column(const struct cel_program *program, const struct expr *expr,
                           struct field_ref *ret_column)
{
    if (expr->kind == EXPR_LABEL) {
        *ret_column = (struct field_ref){.field = FIELD_COUNT, .label = expr->slot};
        return true;
    }
    if (expr->kind != EXPR_VARIABLE || expr->type != CEL_STRING ||
        (program->steps && field_rows[expr->slot].type != FIELD_TEXT))
        return false;
    *ret_column = (struct field_ref){.field = (enum field)expr->slot};
    return true;
}

bool cel_text_test(const struct cel_program *program, const struct expr *expr, struct column_step *ret_step)
{
    static const struct {
        const char *name;
        enum cel_form form;
        enum text_test test;
    } tests[] = {
        {"==", FORM_OPERATOR, TEXT_EQUAL},    {"!=", FORM_OPERATOR, TEXT_UNEQUAL},
        {"in", FORM_OPERATOR, TEXT_IN},       {"startsWith", FORM_METHOD, TEXT_STARTS},
        {"endsWith", FORM_METHOD, TEXT_ENDS}, {"contains", FORM_METHOD, TEXT_CONTAINS},
    };
    const struct expr *column, *constant;
    size_t i = 0;

    if (expr->kind != EXPR_CALL || expr->count != 2)
        return false;
    while (i < sizeof tests / sizeof *tests &&
           (expr->form != tests[i].form || !span_is(expr->name, tests[i].name)))
        i++;
    if (i == sizeof tests / sizeof *tests)
        return false;
    column = expr_at(program, expr->first);
    constant = expr_at(program, column->next);
    if (constant->kind != EXPR_LITERAL && (tests[i].test == TEXT_EQUAL || tests[i].test == TEXT_UNEQUAL)) {
        constant = column;
        column = expr_at(program, constant->next);
    }
    if (!is_text_column(program, column, &ret_step->column) || constant->kind != EXPR_LITERAL ||
        constant->literal.type != (tests[i].test == TEXT_IN ? CEL_LIST : CEL_STRING))
        return false;
    bool list = tests[i].test == TEXT_IN;
    ret_step->work = WORK_TEXT;
    ret_step->test = tests[i].test;
    ret_step->texts = list ? constant->literal.list->items : &constant->literal;
    ret_step->text_count = list ? constant->literal.list->count : 1;
    return true;
}

static bool plan_number(struct cel_program *program, uint16_t index);

static bool plan_arithmetic(struct cel_program *program, uint16_t index)
{
    struct column_step *step = &program->steps[index], *steps = program->steps;
    const struct expr *expr = expr_at(program, index);
    uint16_t left = expr->first, right;

    if (expr->kind != EXPR_CALL || expr->type != CEL_DOUBLE || !plan_number(program, left))
        return false;
    if (expr->form == FORM_GLOBAL && span_is(expr->name, "double")) {
        *step = steps[left];
        return true;
    }
    if (is_operator(expr, "-", 1)) {
        step->work = WORK_NEGATE;
        step->height = steps[left].height + 1;
        return true;
    }
    right = expr_at(program, left)->next;
    if (expr->form != FORM_OPERATOR || expr->count != 2 || !strchr("+-*/", expr->name.data[0]) ||
        !plan_number(program, right))
        return false;
    step->work = WORK_ARITHMETIC;
    step->symbol = expr->name.data[0];
    step->height = 1 + (steps[left].height > steps[right].height ? steps[left].height : steps[right].height);
    return step->height <= NUMBER_HEIGHT_MAX;
}

/* Integers too large for a double would compare wrongly; integer arithmetic can overflow: both go row by
 * row. */
static bool plan_number(struct cel_program *program, uint16_t index)
{
    struct column_step *step = &program->steps[index];
    const struct expr *expr = expr_at(program, index);

    if (expr->kind == EXPR_VARIABLE && (expr->type == CEL_DOUBLE || expr->type == CEL_INT)) {
        step->work = WORK_FIELD;
        step->column = (struct field_ref){.field = (enum field)expr->slot};
        return true;
    }
    if (expr->kind == EXPR_LITERAL && (expr->literal.type == CEL_DOUBLE || expr->literal.type == CEL_INT)) {
        bool real = expr->literal.type == CEL_DOUBLE;

        step->work = WORK_NUMBER;
        step->number = real ? expr->literal.number : (double)expr->literal.integer;
        return real ||
               (expr->literal.integer <= INT64_C(1) << 53 && expr->literal.integer >= -(INT64_C(1) << 53));
    }
    return plan_arithmetic(program, index);
}

static bool plan_compare(struct cel_program *program, const struct expr *expr, struct column_step *step)
{
    static const char *const names[] = {"<", "<=", ">", ">=", "==", "!="};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (!is_operator(expr, names[i], 2))
            continue;
        step->comparison = (enum comparison)i;
        if (!plan_number(program, expr->first) || !plan_number(program, expr_at(program, expr->first)->next))
            return false;
        step->work = WORK_COMPARE;
        return true;
    }
    return false;
}

static void plan_truth(struct cel_program *program, uint16_t index)
{
    struct column_step *step = &program->steps[index];
    const struct expr *expr = expr_at(program, index);

    if (plan_code(program, index, step))
        return;
    if (expr->kind == EXPR_AND || expr->kind == EXPR_OR) {
        step->work = expr->kind == EXPR_AND ? WORK_AND : WORK_OR;
        plan_truth(program, expr->first);
        plan_truth(program, expr_at(program, expr->first)->next);
    } else if (is_operator(expr, "!", 1)) {
        step->work = WORK_NOT;
        plan_truth(program, expr->first);
    } else if (expr->kind == EXPR_LITERAL) {
        step->work = WORK_CONSTANT;
        step->answers[0] = truth_of(expr->literal);
    } else if (!cel_text_test(program, expr, step) && !plan_compare(program, expr, step)) {
        step->work = WORK_ROWS;
    }
}

void cel_columns_plan(struct cel_program *program)
{
    program->steps = memory_new(program->expr_count * sizeof *program->steps);
    if (cel_result_type(program) == CEL_BOOL || cel_result_type(program) == CEL_DYN)
        plan_truth(program, program->root);
    else if (cel_result_type(program) != CEL_DOUBLE || !plan_number(program, program->root))
        program->steps[program->root].work = WORK_ROWS;
}

/* Running, a block of chosen rows at a time */

struct sweep {
    const struct cel_program *program;
    const struct event_batch *batch;
    struct cel_value values[FIELD_COUNT];
    struct span labels[LABELS_MAX];
    struct arena scratch; /* of one row's scalar run */
};

/* Only what the program reads is set. */
static void read_row(const struct cel_program *program, const struct event_batch *batch, uint32_t row,
                     struct cel_value *values, struct span *labels)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (program->reads[i])
            values[i] = field_value(batch, (enum field)i, row);
    }
    for (uint64_t left = program->label_reads; left; left &= left - 1) {
        unsigned label = (unsigned)__builtin_ctzll(left);

        labels[label] = label_value(batch, label, row);
    }
}

/* The value points into scratch, which the next row clears. */
static struct cel_value run_row(struct sweep *sweep, uint16_t index, uint32_t row)
{
    arena_reset(&sweep->scratch);
    read_row(sweep->program, sweep->batch, row, sweep->values, sweep->labels);
    struct frame frame = {.program = sweep->program,
                          .values = sweep->values,
                          .labels = sweep->labels,
                          .arena = &sweep->scratch};
    return cel_evaluate(&frame, index);
}

static bool test_text(const struct column_step *step, struct span text)
{
    struct span wanted = step->texts[0].text;

    switch (step->test) {
    case TEXT_STARTS:
        return text.size >= wanted.size && span_equal(span_make(text.data, wanted.size), wanted);
    case TEXT_ENDS:
        return text.size >= wanted.size && (wanted.size == 0 || memcmp(text.data + text.size - wanted.size,
                                                                       wanted.data, wanted.size) == 0);
    default:
        assert(step->test == TEXT_CONTAINS);
        return text.size >= wanted.size &&
               (wanted.size == 0 || memmem(text.data, text.size, wanted.data, wanted.size) != NULL);
    }
}

static bool is_one_of(const struct column_step *step, struct span text)
{
    for (uint32_t i = 0; i < step->text_count; i++) {
        if (step->texts[i].type == CEL_STRING && span_equal(text, step->texts[i].text))
            return true;
    }
    return false;
}

static bool is_text(struct span text, struct span wanted)
{
    /* names of one kind differ at their ends */
    return text.size == wanted.size &&
           (text.size == 0 || (text.data[text.size - 1] == wanted.data[text.size - 1] &&
                               memcmp(text.data, wanted.data, text.size) == 0));
}

const struct span *cel_text_column(const struct event_batch *batch, struct field_ref column)
{
    static const struct span absent[BATCH_ROWS_MAX];

    if (column.field != FIELD_COUNT)
        return event_column(batch, column.field);
    return batch->labels[column.label] ? batch->labels[column.label] : absent;
}

static void sweep_text(const struct sweep *sweep, const struct column_step *step, const uint16_t *rows,
                       uint32_t count, uint8_t *ret_truth)
{
    const struct span *texts = cel_text_column(sweep->batch, step->column);

    if (step->test == TEXT_EQUAL || step->test == TEXT_UNEQUAL) {
        bool unequal = step->test == TEXT_UNEQUAL;
        struct span wanted = step->texts[0].text;

        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = is_text(texts[rows[i]], wanted) != unequal;
    } else if (step->test == TEXT_IN) {
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = is_one_of(step, texts[rows[i]]);
    } else {
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = test_text(step, texts[rows[i]]);
    }
}

void cel_field_numbers(const struct event_batch *batch, enum field field, const uint16_t *rows,
                       uint32_t count, double *ret_numbers)
{
    const void *column = event_column(batch, field);

    switch (field_rows[field].type) {
    case FIELD_NUMBER:
        for (uint32_t i = 0; i < count; i++)
            ret_numbers[i] = ((const double *)column)[rows[i]];
        break;
    case FIELD_INTEGER:
        for (uint32_t i = 0; i < count; i++) {
            int32_t value = ((const int32_t *)column)[rows[i]];

            ret_numbers[i] = value == INT32_MIN ? -1 : value;
        }
        break;
    default:
        assert(field_rows[field].type == FIELD_SMALL);
        for (uint32_t i = 0; i < count; i++)
            ret_numbers[i] = ((const uint16_t *)column)[rows[i]];
    }
}

static void calculate(char symbol, uint32_t rows, const double *right, double *left)
{
    switch (symbol) {
    case '+':
        for (uint32_t i = 0; i < rows; i++)
            left[i] += right[i];
        break;
    case '-':
        for (uint32_t i = 0; i < rows; i++)
            left[i] -= right[i];
        break;
    case '*':
        for (uint32_t i = 0; i < rows; i++)
            left[i] *= right[i];
        break;
    default:
        assert(symbol == '/');
        for (uint32_t i = 0; i < rows; i++)
            left[i] /= right[i];
    }
}

static void sweep_numbers(const struct sweep *sweep, uint16_t index, const uint16_t *rows, uint32_t count,
                          double *ret_numbers)
{
    const struct column_step *step = &sweep->program->steps[index];
    const struct expr *expr = expr_at(sweep->program, index);
    double right[BLOCK_ROWS];

    switch (step->work) {
    case WORK_FIELD:
        cel_field_numbers(sweep->batch, step->column.field, rows, count, ret_numbers);
        break;
    case WORK_NUMBER:
        for (uint32_t i = 0; i < count; i++)
            ret_numbers[i] = step->number;
        break;
    case WORK_NEGATE:
        sweep_numbers(sweep, expr->first, rows, count, ret_numbers);
        for (uint32_t i = 0; i < count; i++)
            ret_numbers[i] = -ret_numbers[i];
        break;
    default:
        assert(step->work == WORK_ARITHMETIC);
        sweep_numbers(sweep, expr->first, rows, count, ret_numbers);
        sweep_numbers(sweep, expr_at(sweep->program, expr->first)->next, rows, count, right);
        calculate(step->symbol, count, right, ret_numbers);
    }
}

static void sweep_compare(const struct sweep *sweep, uint16_t index, const uint16_t *rows, uint32_t count,
                          uint8_t *ret_truth)
{
    const struct expr *expr = expr_at(sweep->program, index);
    double left[BLOCK_ROWS], right[BLOCK_ROWS];

    sweep_numbers(sweep, expr->first, rows, count, left);
    sweep_numbers(sweep, expr_at(sweep->program, expr->first)->next, rows, count, right);
    switch (sweep->program->steps[index].comparison) {
    case COMPARE_LESS:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = left[i] < right[i];
        break;
    case COMPARE_LESS_EQUAL:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = left[i] <= right[i];
        break;
    case COMPARE_GREATER:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = left[i] > right[i];
        break;
    case COMPARE_GREATER_EQUAL:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = left[i] >= right[i];
        break;
    case COMPARE_EQUAL:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = left[i] == right[i];
        break;
    case COMPARE_UNEQUAL:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = left[i] != right[i];
        break;
    }
}

static void sweep_truth(struct sweep *sweep, uint16_t index, const uint16_t *rows, uint32_t count,
                        uint8_t *ret_truth);

static void sweep_logic(struct sweep *sweep, uint16_t index, const uint16_t *rows, uint32_t count,
                        uint8_t *ret_truth)
{
    const struct expr *expr = expr_at(sweep->program, index);
    uint8_t deciding = expr->kind == EXPR_OR ? IS_TRUE : IS_FALSE, right[BLOCK_ROWS];
    uint16_t open_rows[BLOCK_ROWS], places[BLOCK_ROWS];
    uint32_t open = 0;

    sweep_truth(sweep, expr->first, rows, count, ret_truth);
    for (uint32_t i = 0; i < count; i++) {
        open_rows[open] = rows[i];
        places[open] = (uint16_t)i;
        open += ret_truth[i] != deciding;
    }
    if (open == 0)
        return;
    sweep_truth(sweep, expr_at(sweep->program, expr->first)->next, open_rows, open, right);
    for (uint32_t i = 0; i < open; i++)
        if (right[i] == deciding || right[i] == IS_ERROR)
            ret_truth[places[i]] = right[i];
}

static void sweep_truth(struct sweep *sweep, uint16_t index, const uint16_t *rows, uint32_t count,
                        uint8_t *ret_truth)
{
    const struct column_step *step = &sweep->program->steps[index];
    const uint8_t *codes;

    switch (step->work) {
    case WORK_AND:
    case WORK_OR:
        sweep_logic(sweep, index, rows, count, ret_truth);
        break;
    case WORK_NOT:
        sweep_truth(sweep, expr_at(sweep->program, index)->first, rows, count, ret_truth);
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = ret_truth[i] == IS_ERROR ? IS_ERROR : !ret_truth[i];
        break;
    case WORK_CONSTANT:
        memset(ret_truth, step->answers[0], count);
        break;
    case WORK_CODE:
        codes = event_column(sweep->batch, step->column.field);
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = step->answers[codes[rows[i]]];
        break;
    case WORK_TEXT:
        sweep_text(sweep, step, rows, count, ret_truth);
        break;
    case WORK_COMPARE:
        sweep_compare(sweep, index, rows, count, ret_truth);
        break;
    default:
        for (uint32_t i = 0; i < count; i++)
            ret_truth[i] = truth_of(run_row(sweep, index, rows[i]));
    }
}

static void sweep_init(struct sweep *sweep, const struct cel_program *program,
                       const struct event_batch *batch)
{
    assert(program->steps && program->variable_count == FIELD_COUNT);
    sweep->program = program;
    sweep->batch = batch;
    arena_init(&sweep->scratch, SCRATCH_BYTES);
}

void cel_filter_rows(const struct cel_program *program, struct event_batch *batch, const uint16_t *rows,
                     uint32_t count, uint8_t *ret_true, uint64_t *errors)
{
    uint8_t truth[BLOCK_ROWS];
    struct sweep sweep;

    sweep_init(&sweep, program, batch);
    for (uint32_t first = 0; first < count; first += BLOCK_ROWS) {
        uint32_t size = count - first < BLOCK_ROWS ? count - first : BLOCK_ROWS;

        sweep_truth(&sweep, program->root, rows + first, size, truth);
        for (uint32_t i = 0; i < size; i++) {
            ret_true[first + i] = truth[i] == IS_TRUE;
            *errors += truth[i] == IS_ERROR;
        }
    }
    arena_free(&sweep.scratch);
}

/* The next rows with mark ok, at most a block of them. */
static uint32_t take_block(const struct event_batch *batch, uint32_t *next, uint16_t ret_rows[BLOCK_ROWS])
{
    uint32_t row = *next, count = 0;

    for (; row < batch->rows && count < BLOCK_ROWS; row++) {
        ret_rows[count] = (uint16_t)row;
        count += batch->mark[row] == MARK_OK;
    }
    *next = row;
    return count;
}

void cel_filter(const struct cel_program *program, struct event_batch *batch, uint8_t *ret_true,
                uint64_t *errors)
{
    uint16_t rows[BLOCK_ROWS];
    uint8_t answers[BLOCK_ROWS];
    uint32_t next = 0, count;

    while ((count = take_block(batch, &next, rows)) > 0) {
        cel_filter_rows(program, batch, rows, count, answers, errors);
        for (uint32_t i = 0; i < count; i++)
            ret_true[rows[i]] = answers[i];
    }
}

static bool as_number(struct cel_value value, double *ret_number)
{
    if (value.type == CEL_DOUBLE)
        *ret_number = value.number;
    else if (value.type == CEL_INT)
        *ret_number = (double)value.integer;
    else if (value.type == CEL_UINT)
        *ret_number = (double)value.uinteger;
    else
        *ret_number = NAN;
    return value.type == CEL_DOUBLE || value.type == CEL_INT || value.type == CEL_UINT;
}

void cel_numbers(const struct cel_program *program, struct event_batch *batch, double *ret_values,
                 uint64_t *errors)
{
    bool by_row = program->steps[program->root].work < WORK_FIELD;
    uint16_t rows[BLOCK_ROWS];
    double numbers[BLOCK_ROWS];
    uint32_t next = 0, count;
    struct sweep sweep;

    sweep_init(&sweep, program, batch);
    while ((count = take_block(batch, &next, rows)) > 0) {
        if (!by_row)
            sweep_numbers(&sweep, program->root, rows, count, numbers);
        for (uint32_t i = 0; i < count; i++) {
            if (by_row && !as_number(run_row(&sweep, program->root, rows[i]), &numbers[i]))
                (*errors)++;
            ret_values[rows[i]] = numbers[i];
        }
    }
    arena_free(&sweep.scratch);
}

struct cel_value cel_row(const struct cel_program *program, struct event_batch *batch, uint32_t row)
{
    struct cel_value values[FIELD_COUNT];
    struct span labels[LABELS_MAX];

    assert(row < batch->rows && program->variable_count == FIELD_COUNT);
    read_row(program, batch, row, values, labels);
    return cel_run(program, values, labels, &batch->text);
}
