/* CEL by itself: what the conformance cases do not cover, the checked mode of rules, messages, limits, time
 * zones. */
#include "rules/cel_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ANSWER_MAX = 1 << 16 };

/* What `weir eval` prints. */
static void expect_answer(const char *expr, const char *expected)
{
    struct buffer answer;
    bool error;

    buffer_init(&answer, ANSWER_MAX);
    cel_eval_expression(span_of(expr), NULL, 0, &answer, &error);
    buffer_put_char(&answer, '\0');
    if (strcmp(answer.data, expected) != 0)
        fail_msg("%s gives %s instead of %s", expr, answer.data, expected);
    assert_int_equal(error, strncmp(expected, "{\"error\"", 8) == 0);
    buffer_free(&answer);
}

static void expect_true(const char *expr)
{
    expect_answer(expr, "{\"value\":{\"bool\":true}}");
}

static void expect_failure(const char *expr)
{
    struct buffer answer;
    bool error;

    buffer_init(&answer, ANSWER_MAX);
    assert_int_equal(cel_eval_expression(span_of(expr), NULL, 0, &answer, &error), STATUS_SKIP);
    if (!error)
        fail_msg("%s gives %.*s instead of an error", expr, (int)answer.size, answer.data);
    buffer_free(&answer);
}

static void compile_message(const char *expr, enum cel_type want, struct error *ret_error)
{
    struct label_names labels = {0};
    struct cel_environment environment;
    struct cel_program *program;

    ret_error->text[0] = '\0';
    cel_event_environment(&labels, &environment);
    if (cel_compile(span_of(expr), &environment, want, &program, ret_error) == STATUS_OK)
        cel_free(program);
    for (unsigned i = 0; i < labels.count; i++)
        free(labels.names[i]);
}

/* In the environment of events; "" when it compiles. */
static void expect_message(const char *expr, enum cel_type want, const char *expected)
{
    struct error error;

    compile_message(expr, want, &error);
    if (strcmp(error.text, expected) != 0)
        fail_msg("%s says '%s' instead of '%s'", expr, error.text, expected);
}

static void answers_have_their_types(void **state)
{
    expect_answer("1 + 2", "{\"value\":{\"int\":3}}");
    expect_answer("18446744073709551615u", "{\"value\":{\"uint\":18446744073709551615}}");
    expect_answer("1e23", "{\"value\":{\"double\":\"1e+23\"}}");
    expect_answer("0.1 + 0.2", "{\"value\":{\"double\":\"0.30000000000000004\"}}");
    expect_answer("5e-324", "{\"value\":{\"double\":\"5e-324\"}}");
    expect_answer("0.0 / 0.0", "{\"value\":{\"double\":\"NaN\"}}");
    expect_answer("-1.0 / 0.0", "{\"value\":{\"double\":\"-Infinity\"}}");
    expect_answer("'a\\u0000\"'", "{\"value\":{\"string\":\"a\\u0000\\\"\"}}");
    expect_answer("b'\\xff\\x0a'", "{\"value\":{\"bytes_hex\":\"ff0a\"}}");
    expect_answer("duration('-1.5s')", "{\"value\":{\"duration\":\"-1.5s\"}}");
    expect_answer("timestamp('2024-02-29T23:59:59.25+01:00')",
                  "{\"value\":{\"timestamp\":\"2024-02-29T22:59:59.25Z\"}}");
    expect_answer("null", "{\"value\":{\"null\":null}}");
    expect_answer("type(1u)", "{\"value\":{\"type\":\"uint\"}}");
    expect_answer("[1, 'a']", "{\"value\":{\"list\":[{\"int\":1},{\"string\":\"a\"}]}}");
    expect_answer("{'a': [true]}",
                  "{\"value\":{\"map\":[[{\"string\":\"a\"},{\"list\":[{\"bool\":true}]}]]}}");
}

static void bindings_are_read(void **state)
{
    const struct span good[] = {SPAN_LITERAL("x={\"uint\": 7}"), SPAN_LITERAL("y={\"double\": 1.5}"),
                                SPAN_LITERAL("t={\"timestamp\":\"2020-01-01T00:00:00Z\"}")};
    const struct span bad[] = {SPAN_LITERAL("x={\"int\": 1.5}"),
                               SPAN_LITERAL("x=1"),
                               SPAN_LITERAL("={}"),
                               SPAN_LITERAL("x={}"),
                               SPAN_LITERAL("x={\"int\":1,\"uint\":2}"),
                               SPAN_LITERAL("x"),
                               SPAN_LITERAL("x={\"bytes_hex\":\"abc\"}"),
                               SPAN_LITERAL("x={\"int\":[1]}"),
                               SPAN_LITERAL("x={\"int\":1}}"),
                               SPAN_LITERAL("x={\"bool\":null}")};
    struct buffer answer;
    bool error;

    buffer_init(&answer, ANSWER_MAX);
    cel_eval_expression(SPAN_LITERAL("double(x) + y + double(t.getFullYear())"), good, 3, &answer, &error);
    assert_true(span_is(buffer_span(&answer), "{\"value\":{\"double\":\"2028.5\"}}"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buffer_clear(&answer);
        assert_int_equal(cel_eval_expression(SPAN_LITERAL("true"), &bad[i], 1, &answer, &error), STATUS_SKIP);
        assert_true(error);
        assert_memory_equal(answer.data, "{\"error\":\"", 10);
    }
    buffer_free(&answer);
}

static void bad_lines_are_answered(void **state)
{
    static const char *const lines[] = {"",
                                        "{",
                                        "[]",
                                        "1",
                                        "{}",
                                        "{\"expr\":1}",
                                        "{\"bindings\":[]}",
                                        "nonsense",
                                        "{\"expr\":\"1\",\"bindings\":{\"x\":{\"int\":{}}}}",
                                        "{\"expr\":\"1\"} {}"};
    struct buffer answer;

    buffer_init(&answer, ANSWER_MAX);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        buffer_clear(&answer);
        if (cel_eval_case(span_of(lines[i]), &answer) != STATUS_SKIP)
            fail_msg("%s is taken", lines[i]);
        assert_memory_equal(answer.data, "{\"error\":\"", 10);
    }
    buffer_clear(&answer);
    assert_int_equal(
        cel_eval_case(SPAN_LITERAL("{\"more\":[[{}],1],\"expr\":\"1\",\"value\":{\"int\":1}}"), &answer),
        STATUS_OK);
    buffer_free(&answer);
}

static void errors_are_absorbed(void **state)
{
    expect_true("true || 1 / 0 == 1");
    expect_true("1 / 0 == 1 || true");
    expect_true("!(1 / 0 == 1 && false)");
    expect_true("[0, 1].exists(x, 1 / x == 1)");
    expect_true("nobody.knows() || true");
    expect_failure("1 / 0 == 1 && true");
    expect_failure("[0, 2].exists(x, 1 / x == 1)");
    expect_failure("true ? 1 / 0 : 2");
    expect_answer("true ? 1 : 1 / 0", "{\"value\":{\"int\":1}}");
}

static void integers_do_not_wrap(void **state)
{
    expect_failure("9223372036854775807 + 1");
    expect_failure("-9223372036854775808 - 1");
    expect_failure("-(-9223372036854775808)");
    expect_failure("-9223372036854775808 % -1");
    expect_failure("1u - 2u");
    expect_failure("9223372036854775808");
    expect_failure("int(-9223372036854775808.0)");
    expect_failure("uint(-1)");
    expect_answer("-9223372036854775808", "{\"value\":{\"int\":-9223372036854775808}}");
    expect_answer("-7 / 2 * 10 + -7 % 2", "{\"value\":{\"int\":-31}}");
}

static void times_keep_to_their_ranges(void **state)
{
    expect_true("duration('1h') + duration('30m') == duration('90m')");
    expect_true("duration('-0.5s') < duration('0s') && string(duration('-0.5s')) == '-0.5s'");
    expect_true("duration('1h1m1s1ms1us1ns') == duration('3661.001001001s')");
    expect_true("string(duration('9223372036.854775807s')) == '9223372036.854775807s'");
    expect_true("timestamp(1234567890).getSeconds() == 30 && int(timestamp(-1)) == -1");
    expect_true("timestamp('1969-12-31T23:59:59.5Z').getMilliseconds() == 500");
    expect_true("timestamp('2024-12-31T00:00:00Z').getDayOfYear() == 365");
    expect_true("timestamp('2024-06-02T00:00:00Z').getDayOfWeek() == 0");
    expect_true(
        "duration('123.321456789s').getMilliseconds() == 321 && duration('3730s').getMinutes() == 62");
    expect_failure("duration('9223372036.854775808s')");
    expect_failure("duration('1')");
    expect_failure("duration('1h 2m')");
    expect_failure("duration('')");
    expect_failure("timestamp('2023-02-29T00:00:00Z')");
    expect_failure("timestamp('2023-02-28 00:00:00Z')");
    expect_failure("timestamp('2023-02-28T00:00:00')");
    expect_failure("timestamp('9999-12-31T23:59:59Z') + duration('1s')");
    expect_failure("timestamp('0001-01-01T00:00:00Z') - duration('1ns')");
    expect_failure("-duration('-9223372036.854775808s')");
}

static void zones_follow_their_rules(void **state)
{
    /* both sides of two changes: in the file's transitions, and far behind them by the footer's rule */
    expect_true("timestamp('2024-03-31T00:59:59Z').getHours('Europe/Berlin') == 1");
    expect_true("timestamp('2024-03-31T01:00:00Z').getHours('Europe/Berlin') == 3");
    expect_true("timestamp('2024-10-27T00:59:59Z').getHours('Europe/Berlin') == 2");
    expect_true("timestamp('2024-10-27T01:00:00Z').getHours('Europe/Berlin') == 2");
    expect_true("timestamp('2090-03-26T00:59:59Z').getHours('Europe/Berlin') == 1");
    expect_true("timestamp('2090-03-26T01:00:00Z').getHours('Europe/Berlin') == 3");
    expect_true(
        "timestamp('2090-01-01T00:00:00Z').getHours('Australia/Sydney') == 11"); /* summer over new year */
    expect_true("timestamp('2090-07-01T00:00:00Z').getHours('Australia/Sydney') == 10");
    expect_true("timestamp('1850-01-01T12:00:00Z').getMinutes('Europe/Berlin') == 53"); /* local mean time */
    expect_true("timestamp('2024-01-01T00:00:00Z').getMinutes('Asia/Kathmandu') == 45");
    expect_true("timestamp('2024-01-01T00:00:00Z').getDate('-00:30') == 31");
    expect_true("timestamp('2024-01-01T00:00:00Z').getHours('02:00') == 2");
    expect_true(
        "['UTC', '+05:30', 'Asia/Tokyo'].map(z, timestamp('2024-01-01T00:00:00Z').getHours(z)) == [0, 5, 9]");
    expect_failure("timestamp('2024-01-01T00:00:00Z').getHours('Nowhere/Land')");
    expect_failure("timestamp('2024-01-01T00:00:00Z').getHours('../zoneinfo/UTC')");
    expect_failure("timestamp('2024-01-01T00:00:00Z').getHours('/etc/passwd')");
    expect_failure("timestamp('2024-01-01T00:00:00Z').getHours('+25:00')");
}

static void patterns_are_re2(void **state)
{
    expect_true("'ERROR: disk'.matches('^ERROR') && !'x'.matches('^$') && matches('abc', 'b')");
    expect_true("'a\\n'.matches('^a$') == false"); /* $ is the end of the text */
    expect_true("'K9'.matches(r'^\\w\\d$') && 'é'.matches('^.$') && 'x'.matches('(?i)X') && "
                "'ab'.matches('(?P<n>a)b')");
    expect_true("['a+', '^b'].exists(p, 'caat'.matches(p))"); /* a pattern known only when run */
    expect_failure("'aa'.matches(r'(a)\\1')");
    expect_failure("'aa'.matches('a(?=a)')");
    expect_failure("'aa'.matches('(?<=a)a')");
    expect_failure("'aa'.matches('a++')");
    expect_failure("'aa'.matches('(')");
    expect_true("'[a+]+'.matches('[[](?:a)[+][]][+]')");
}

static void texts_count_code_points(void **state)
{
    expect_true("size('é€😀') == 3 && 'é€😀'.charAt(2) == '😀' && 'é€😀'.substring(1, 2) == '€'");
    expect_true("'é€😀'.reverse() == '😀€é' && 'aéb'.indexOf('b') == 2 && 'éé'.lastIndexOf('é') == 1");
    expect_true("'abc'.replace('', '-') == '-a-b-c-' && 'aaa'.replace('a', 'b', 2) == 'bba'");
    expect_true("'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']");
    expect_true("'é€'.split('') == ['é', '€'] && ''.split(',') == [''] && 'a'.split(',', 0) == []");
    expect_true("' \\u00a0x y\\u2003'.trim() == 'x y' && ['a', 'b'].join('-') == 'a-b'");
    expect_true("'%s|%d|%.1f|%e|%b|%o|%x|%X'.format(['a', -5, 2.25, 1.5, 5, 8, b'\\xab', 171]) == "
                "'a|-5|2.2|1.500000e+00|101|10|ab|AB'");
    expect_failure("'abc'.substring(2, 1)");
    expect_failure("'abc'.charAt(-1)");
    expect_failure("[1].join()");
}

static void mistakes_are_found_at_load(void **state)
{
    expect_message("state == 'failed' && duration_ms > 5000", CEL_BOOL, "");
    expect_message("state == 'failed' &&\n  stat == 'x'", CEL_BOOL,
                   "2:3: unknown name 'stat'; did you mean 'state'?");
    expect_message("'é' == workflow.startWith('a')", CEL_BOOL,
                   "1:17: unknown method 'startWith'; did you mean 'startsWith'?");
    expect_message("workflow > 5", CEL_BOOL, "1:10: no '>' for string and int");
    expect_message("workflow == 5", CEL_BOOL, "1:10: no '==' for string and int");
    expect_message("attempt == 1.5", CEL_BOOL, "1:9: no '==' for int and double");
    expect_message("workflow", CEL_BOOL, "1:1: the expression must be bool but is string");
    expect_message("workflow && true", CEL_BOOL, "1:1: a bool is needed here, not string");
    expect_message("true ? 'a' : 1", CEL_DYN, "1:6: the two sides of ?: are string and int");
    expect_message("workflow.matches('(')", CEL_BOOL,
                   "1:10: bad pattern at byte 1: missing closing parenthesis");
    expect_message("time.getHours('Mars/Base') == 1", CEL_BOOL, "1:6: unknown time zone 'Mars/Base'");
    expect_message("labels == 'x'", CEL_BOOL, "1:1: labels is not a value by itself; write labels.NAME");
    expect_message("has(workflow)", CEL_BOOL, "1:1: has() takes one field, as in has(labels.team)");
    expect_message("workflow.name", CEL_DYN, "1:10: string has no field 'name'");
    expect_message("", CEL_DYN, "1:1: the expression ends too early");
    expect_message("1 +", CEL_DYN, "1:4: the expression ends too early");
    expect_message("f(1", CEL_DYN, "1:4: ',' is missing here");
    expect_message("a = 1", CEL_DYN, "1:3: '=' must be written twice");
    expect_message("'abc", CEL_DYN, "1:1: this text has no closing quote");
    expect_message("'\\q'", CEL_DYN, "1:2: unknown escape; write \\\\ for a backslash, or r'...'");
    expect_message("size()", CEL_DYN, "1:1: 'size' does not take 0 arguments");
    expect_message("'a'.replace(1, 2, 3, 4)", CEL_DYN, "1:5: 'replace' does not take 5 arguments");
    expect_message("'a'.trim(1)", CEL_DYN, "1:5: no 'trim' for string and int");
    expect_message("state 1", CEL_DYN, "1:7: an operator is missing here");
}

/* The one deviation: an int literal beside a double is a double, outside of strict. */
static void literals_become_doubles(void **state)
{
    expect_message("duration_ms > 5000 && value == 1 && progress * 100 < 50", CEL_BOOL, "");
    expect_message("duration_ms > 60 * 1000", CEL_BOOL, "");
    expect_message("state == 'failed' ? 0 : duration_ms", CEL_DOUBLE, "");
    expect_message("attempt", CEL_DOUBLE, "");
    expect_message("duration_ms * attempt", CEL_DOUBLE, "1:13: no '*' for double and int");
    expect_failure("1.0 + 1");
    expect_true("1.0 == 1");
}

static void limits_hold(void **state)
{
    struct buffer text;
    struct error error;

    buffer_init(&text, CEL_TEXT_MAX * 2);
    for (int i = 0; i < CEL_NESTING_MAX; i++)
        buffer_put_char(&text, '(');
    buffer_put_text(&text, "1");
    for (int i = 0; i < CEL_NESTING_MAX; i++)
        buffer_put_char(&text, ')');
    buffer_put_char(&text, '\0');
    expect_message(text.data, CEL_DYN, "1:65: the expression is nested too deeply (64 levels)");

    buffer_clear(&text);
    buffer_put_text(&text, "1");
    for (int i = 0; i < CEL_NODES_MAX / 2; i++)
        buffer_put_text(&text, "+1");
    buffer_put_char(&text, '\0');
    compile_message(text.data, CEL_DYN, &error);
    assert_non_null(strstr(error.text, "too large (1024 nodes)"));
    text.data[text.size - 3] = '\0'; /* one operator less */
    expect_message(text.data, CEL_DYN, "");

    buffer_clear(&text);
    while (text.size <= CEL_TEXT_MAX)
        buffer_put_char(&text, ' ');
    buffer_put_char(&text, '\0');
    expect_message(text.data, CEL_DYN, "1:1: the expression is longer than 16384 bytes");
    buffer_free(&text);
    expect_failure("'aaaaaaaaaaaaaaaaaaaa'.split('').map(a, 'aaaaaaaaaaaaaaaaaaaa'.split('').map(b, "
                   "'aaaaaaaaaaaaaaaaaaaa'.split('').map(c, 'aaaaaaaaaaaaaaaaaaaa'.split('').map(d, "
                   "'aaaaaaaaaaaaaaaaaaaa'.split('').all(e, e == a)))))");
}

static void reads_are_known(void **state)
{
    struct label_names labels = {0};
    struct cel_environment environment;
    struct cel_program *program;
    struct error error;

    cel_event_environment(&labels, &environment);
    assert_int_equal(cel_compile(SPAN_LITERAL("state == 'x' && labels.team == workflow"), &environment,
                                 CEL_BOOL, &program, &error),
                     STATUS_OK);
    for (size_t i = 0; i < FIELD_COUNT; i++)
        assert_int_equal(cel_reads(program, i), i == F_STATE || i == F_WORKFLOW);
    assert_int_equal(labels.count, 1);
    assert_string_equal(labels.names[0], "team");
    cel_free(program);
    free(labels.names[0]);
}

/* A bucket's environment: dotted names are variables of their own, a value may be known only when run. */
static void dotted_names_are_variables(void **state)
{
    const struct cel_variable variables[] = {
        {"count", CEL_DOUBLE}, {"slow.score", CEL_DOUBLE}, {"slow", CEL_DYN}};
    const struct cel_environment environment = {.variables = variables, .count = 3};
    struct cel_value values[] = {cel_double(3), cel_double(0.9),
                                 cel_error(&(struct arena){.limit = 0}, "unused")};
    struct cel_program *program;
    struct arena arena;
    struct error error;

    arena_init(&arena, ANSWER_MAX);
    assert_int_equal(cel_compile(SPAN_LITERAL("count >= 3 && slow.score > 0.5 && count == 3"), &environment,
                                 CEL_BOOL, &program, &error),
                     STATUS_OK);
    assert_true(cel_is_true(cel_run(program, values, NULL, &arena)));
    cel_free(program);
    assert_int_equal(cel_compile(SPAN_LITERAL("fast.score > 1"), &environment, CEL_BOOL, &program, &error),
                     STATUS_FATAL);
    assert_string_equal(error.text, "1:1: unknown name 'fast.score'; did you mean 'slow.score'?");
    arena_free(&arena);
}

/* A full arena is an evaluation error, not a crash. */
static void a_full_arena_is_an_error(void **state)
{
    const struct cel_variable variables[] = {{"x", CEL_STRING}};
    const struct cel_environment environment = {.variables = variables, .count = 1};
    struct cel_value x = cel_string(SPAN_LITERAL("0123456789")), value;
    struct cel_program *program;
    struct arena arena;
    struct error error;

    assert_int_equal(cel_compile(SPAN_LITERAL("[x + x].map(y, y + x)[0].replace('0', x)"), &environment,
                                 CEL_STRING, &program, &error),
                     STATUS_OK);
    for (size_t limit = 0; limit < 400; limit++) {
        arena_init(&arena, limit);
        value = cel_run(program, &x, NULL, &arena);
        assert_true(value.type == CEL_ERROR || value.text.size == 57);
        arena_free(&arena);
    }
    assert_int_equal(value.type, CEL_STRING);
    cel_free(program);
}

/* The table keeps rows of one name and form together: a lookup sees them all. */
static void table_rows_stand_together(void **state)
{
    static const struct {
        const char *name;
        enum cel_form form;
        unsigned rows;
    } expected[] = {{"+", FORM_OPERATOR, 9},    {"-", FORM_OPERATOR, 9},  {"getHours", FORM_METHOD, 3},
                    {"in", FORM_OPERATOR, 2},   {"size", FORM_GLOBAL, 1}, {"size", FORM_METHOD, 1},
                    {"nothing", FORM_GLOBAL, 0}};
    unsigned count;

    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cel_function_find(span_of(expected[i].name), expected[i].form, &count);
        assert_int_equal(count, expected[i].rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_have_their_types), cmocka_unit_test(bindings_are_read),
        cmocka_unit_test(bad_lines_are_answered),   cmocka_unit_test(errors_are_absorbed),
        cmocka_unit_test(integers_do_not_wrap),     cmocka_unit_test(times_keep_to_their_ranges),
        cmocka_unit_test(zones_follow_their_rules), cmocka_unit_test(patterns_are_re2),
        cmocka_unit_test(texts_count_code_points),  cmocka_unit_test(mistakes_are_found_at_load),
        cmocka_unit_test(literals_become_doubles),  cmocka_unit_test(limits_hold),
        cmocka_unit_test(reads_are_known),          cmocka_unit_test(dotted_names_are_variables),
        cmocka_unit_test(a_full_arena_is_an_error), cmocka_unit_test(table_rows_stand_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
