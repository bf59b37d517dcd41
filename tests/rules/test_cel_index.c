/* Many programs through the index against each of them over all rows: matches and errors must be the same. */
#include "base/memory.h"
#include "rules/cel_index.h"
#include "rules/cel_internal.h"
#include "tests/base/random.h"
#include "tests/rules/random_rules.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROWS = 300, ROUNDS = 120, BATCHES = 4, RULES_MAX = 90, TEXT_MAX = 8192 };

struct rules {
    struct cel_program *programs[RULES_MAX];
    struct cel_indexed indexed[RULES_MAX];
    uint32_t count;
    struct cel_index *index;
    struct cel_look *look;
};

static void write_demand(uint64_t *random, struct buffer *out)
{
    static const char *const demands[] = {
        "workflow == 'etl'",
        "workflow == ''",
        "'daily' == workflow",
        "task in ['a', 'etl', 'a', 3]",
        "task in []",
        "labels.team == 'etl_daily'",
        "labels.other == ''",
        "(workflow == 'etl' || 'failed' == workflow)",
        "(workflow == 'etl' || task == 'a')",
        "(task in ['a'] || task == 'etl' || task == '')",
        "state == 'failed'",
        "state in ['success', 'failed']",
        "state != 'failed'",
        "kind == 'event'",
        "10 / size(state) > 1",
        "!(workflow == 'etl')",
        "false",
    };
    static const char *const orders[] = {"<", "<=", ">", ">=", "==", "!="};
    static const char *const numbers[] = {"duration_ms", "value", "attempt", "map_index"};
    static const char *const constants[] = {"0", "1", "-1", "5000", "2"};
    const char *order = orders[random_below(random, 6)], *number = numbers[random_below(random, 4)],
               *constant = constants[random_below(random, 5)];
    unsigned choice = (unsigned)random_below(random, 24);

    if (choice < sizeof demands / sizeof *demands)
        buffer_put_text(out, demands[choice]);
    else if (choice < 20)
        buffer_print(out, "%s %s %s", number, order, constant);
    else if (choice < 22)
        buffer_print(out, "%s %s %s", constant, order, number);
    else
        buffer_print(out, "duration_ms %s 0.0 / 0.0", order);
}

static void write_rule(uint64_t *random, struct buffer *out)
{
    unsigned parts = (unsigned)random_below(random, 5);

    if (parts == 0)
        random_truth(random, out, 2);
    for (unsigned i = 0; i < parts; i++) {
        if (i > 0)
            buffer_put_text(out, random_below(random, 12) == 0 ? " || " : " && ");
        if (random_below(random, 4) == 0)
            random_truth(random, out, 1);
        else
            write_demand(random, out);
    }
}

static void make_rules(struct rules *rules, uint64_t *random, const struct cel_environment *environment,
                       const struct cel_columns *columns)
{
    struct buffer text;

    *rules = (struct rules){.count = (uint32_t)random_below(random, RULES_MAX + 1)};
    buffer_init(&text, TEXT_MAX);
    for (uint32_t i = 0; i < rules->count; i++) {
        buffer_clear(&text);
        write_rule(random, &text);
        assert_false(text.full);
        rules->programs[i] = compile_rule(text.data, text.size, environment, CEL_BOOL);
        rules->indexed[i] = (struct cel_indexed){.program = rules->programs[i], .columns = columns};
    }
    buffer_free(&text);
    rules->index = cel_index_new(rules->indexed, rules->count);
    rules->look = cel_look_new(rules->index);
}

static void free_rules(struct rules *rules)
{
    cel_look_free(rules->look);
    cel_index_free(rules->index);
    for (uint32_t i = 0; i < rules->count; i++)
        cel_free(rules->programs[i]);
}

/* The truth of every (program, row) by the index, 0 where it left the row out; returns how many it did
 * not. */
static uint64_t run_index(struct rules *rules, struct event_batch *batch, uint8_t *ret_true, uint64_t *errors)
{
    uint32_t program, before = 0, count;
    uint8_t answers[ROWS];
    uint64_t pairs = 0;

    cel_look_batch(rules->look, batch);
    while (cel_look_next(rules->look, &program)) {
        const uint16_t *rows = cel_look_rows(rules->look, program, &count);

        assert_true(program >= before && program < rules->count);
        before = program + 1;
        cel_filter_rows(rules->programs[program], batch, rows, count, answers, errors);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(i == 0 || rows[i] > rows[i - 1]);
            ret_true[program * ROWS + rows[i]] = answers[i];
        }
        pairs += count;
    }
    return pairs;
}

static void index_and_scan_agree(void **state)
{
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    struct rules rules;
    uint64_t random = 1, pairs = 0, all = 0;
    uint8_t *answers = memory_new((size_t)ROWS * RULES_MAX), *expected = memory_new((size_t)ROWS * RULES_MAX);

    batch_with_label(&batch, ROWS, &labels, &environment);
    for (unsigned round = 0; round < ROUNDS; round++) {
        make_rules(&rules, &random, &environment, NULL);
        for (unsigned turn = 0; turn < BATCHES; turn++) {
            uint64_t errors = 0, expected_errors = 0;

            event_batch_reset(&batch);
            random_rows(&batch, &random);
            memset(answers, 0, (size_t)ROWS * RULES_MAX);
            memset(expected, 0, (size_t)ROWS * RULES_MAX);
            pairs += run_index(&rules, &batch, answers, &errors);
            for (uint32_t i = 0; i < rules.count; i++)
                cel_filter(rules.programs[i], &batch, expected + (size_t)i * ROWS, &expected_errors);
            for (uint32_t i = 0; i < rules.count; i++)
                if (memcmp(answers + (size_t)i * ROWS, expected + (size_t)i * ROWS, ROWS) != 0)
                    fail_msg("%.*s", (int)rules.programs[i]->text.size, rules.programs[i]->text.data);
            assert_int_equal(errors, expected_errors);
            all += (uint64_t)rules.count * ROWS;
        }
        free_rules(&rules);
    }
    assert_true(pairs > 0 && pairs < all / 2);
    free(answers);
    free(expected);
    event_batch_free(&batch);
    free_labels(&labels);
}

/* Asked to look at one column alone, it leaves out the same rows whatever the others hold. */
static void only_the_columns_allowed_leave_rows_out(void **state)
{
    const struct cel_columns columns = {.fields = 1ULL << F_WORKFLOW};
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    struct rules rules;
    struct span workflows[ROWS];
    uint8_t marks[ROWS];
    uint64_t random = 2, left_out = 0;

    batch_with_label(&batch, ROWS, &labels, &environment);
    random_rows(&batch, &random);
    memcpy(workflows, batch.workflow, sizeof workflows);
    memcpy(marks, batch.mark, sizeof marks);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t counts[RULES_MAX] = {0}, program, count;

        make_rules(&rules, &random, &environment, &columns);
        for (unsigned turn = 0; turn < BATCHES; turn++) {
            event_batch_reset(&batch);
            random_rows(&batch, &random);
            memcpy(batch.workflow, workflows, sizeof workflows);
            memcpy(batch.mark, marks, sizeof marks);
            cel_look_batch(rules.look, &batch);
            for (uint32_t i = 0; i < rules.count; i++) {
                cel_look_rows(rules.look, i, &count);
                assert_true(turn == 0 || counts[i] == count);
                counts[i] = count;
                left_out += count < ROWS / 2;
            }
            while (cel_look_next(rules.look, &program))
                assert_true(program < rules.count);
        }
        free_rules(&rules);
    }
    assert_true(left_out > 0);
    event_batch_free(&batch);
    free_labels(&labels);
}

static const struct cel_variable bucket_variables[] = {
    {"workflow", CEL_STRING}, {"task", CEL_STRING}, {"count", CEL_DOUBLE}, {"slow.anomaly", CEL_BOOL}};
static const struct cel_environment bucket_environment = {.variables = bucket_variables, .count = 4};
static const struct cel_columns bucket_columns = {.fields = 3};

static void scalar_programs_agree(void **state)
{
    static const char *const parts[] = {"workflow == 'etl'",
                                        "task == 'a'",
                                        "'b' == task",
                                        "task in ['a', 'b']",
                                        "count > 3",
                                        "count > 3 || workflow == 'etl'",
                                        "slow.anomaly",
                                        "10 / size(task) > 1",
                                        "workflow == 'etl' || workflow == 'daily'",
                                        "!(task == 'a')",
                                        "task + 'x' == 'ax'",
                                        "workflow.startsWith('e')",
                                        "count / 0.0 > 1.0",
                                        "size(workflow) < 100",
                                        "[1, 2].exists(x, x / (size(task) - 1) > 0)"};
    static const char *const texts[] = {"", "a", "b", "etl", "daily"};
    uint64_t random = 3, left_out = 0;
    struct arena scratch;

    arena_init(&scratch, 1 << 20);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rules rules = {.count = RULES_MAX};

        for (uint32_t i = 0; i < rules.count; i++) {
            char text[512];
            int size = snprintf(text, sizeof text, "(%s) && (%s) && (%s)", parts[random_below(&random, 15)],
                                parts[random_below(&random, 15)], parts[random_below(&random, 15)]);

            rules.programs[i] = compile_rule(text, (size_t)size, &bucket_environment, CEL_BOOL);
            rules.indexed[i] = (struct cel_indexed){rules.programs[i], &bucket_columns};
        }
        rules.index = cel_index_new(rules.indexed, rules.count);
        rules.look = cel_look_new(rules.index);
        for (unsigned turn = 0; turn < BATCHES; turn++) {
            struct span key[] = {span_of(texts[random_below(&random, 5)]),
                                 span_of(texts[random_below(&random, 5)])};
            struct cel_value values[] = {cel_string(key[0]), cel_string(key[1]),
                                         cel_double((double)random_below(&random, 6)),
                                         cel_bool(random_below(&random, 2) == 1)};
            uint32_t program, next = 0;

            cel_look_texts(rules.look, key, 2);
            do {
                bool more = cel_look_next(rules.look, &program);

                for (; next < (more ? program : rules.count); next++, left_out++)
                    assert_true(cel_is_false(cel_run(rules.programs[next], values, NULL, &scratch)));
                next = more ? program + 1 : UINT32_MAX;
            } while (next != UINT32_MAX);
            arena_reset(&scratch);
        }
        free_rules(&rules);
    }
    assert_true(left_out > (uint64_t)ROUNDS * BATCHES * RULES_MAX / 4);
    arena_free(&scratch);
}

/* What an evaluation may cost ends before the part that is false is reached: an error, to be counted. */
static void a_costly_scalar_part_hides_what_stands_behind_it(void **state)
{
    static const char list[] = "[1,2,3,4,5,6,7,8,9,10]";
    struct buffer text;
    uint32_t program;
    struct span key[] = {SPAN_LITERAL("other"), SPAN_LITERAL("")};

    buffer_init(&text, TEXT_MAX);
    for (char name = 'a'; name <= 'g'; name++)
        buffer_print(&text, "%s.all(%c, ", list, name);
    buffer_put_text(&text, "true))))))) && workflow == 'etl'");
    struct cel_indexed rule = {compile_rule(text.data, text.size, &bucket_environment, CEL_BOOL),
                               &bucket_columns};
    struct cel_index *index = cel_index_new(&rule, 1);
    struct cel_look *look = cel_look_new(index);
    cel_look_texts(look, key, 2);
    assert_true(cel_look_next(look, &program));
    assert_false(cel_look_next(look, &program));
    cel_look_free(look);
    cel_index_free(index);
    cel_free((struct cel_program *)rule.program);
    buffer_free(&text);
}

/* Proves that the index is one: of a thousand rules on workflows only those that can be true are looked
 * at. */
static void rules_on_constants_are_not_scanned(void **state)
{
    enum { MANY = 1000 };
    static struct cel_program *programs[MANY];
    static struct cel_indexed indexed[MANY];
    struct cel_environment environment;
    struct event_batch batch;
    struct label_names labels;
    uint32_t program, count;
    char text[200];

    batch_with_label(&batch, ROWS, &labels, &environment);
    for (unsigned i = 0; i < MANY; i++) {
        int size = snprintf(text, sizeof text, "workflow == 'w%u' && state == 'failed' && duration_ms > %u",
                            i % 10, i);

        programs[i] = compile_rule(text, (size_t)size, &environment, CEL_BOOL);
        indexed[i] = (struct cel_indexed){.program = programs[i]};
    }
    struct cel_index *index = cel_index_new(indexed, MANY);
    struct cel_look *look = cel_look_new(index);
    for (unsigned i = 0; i < 20; i++) {
        uint32_t row = event_batch_add(&batch);

        batch.workflow[row] = i % 2 ? SPAN_LITERAL("w3") : SPAN_LITERAL("w4");
        batch.state[row] = i < 10 ? STATE_FAILED : STATE_SUCCESS;
        batch.duration_ms[row] = i < 10 ? 24 : 5000;
    }
    cel_look_batch(look, &batch);
    for (unsigned wanted = 3; wanted < 25; wanted += wanted % 10 == 3 ? 1 : 9) {
        assert_true(cel_look_next(look, &program));
        assert_int_equal(program, wanted);
        cel_look_rows(look, program, &count);
        assert_int_equal(count, 5);
    }
    assert_false(cel_look_next(look, &program));
    cel_look_free(look);
    cel_index_free(index);
    for (unsigned i = 0; i < MANY; i++)
        cel_free(programs[i]);
    event_batch_free(&batch);
    free_labels(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_and_scan_agree),
        cmocka_unit_test(only_the_columns_allowed_leave_rows_out),
        cmocka_unit_test(scalar_programs_agree),
        cmocka_unit_test(a_costly_scalar_part_hides_what_stands_behind_it),
        cmocka_unit_test(rules_on_constants_are_not_scanned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
