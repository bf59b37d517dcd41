/* cel-spec's conformance cases (data/cel/cases.jsonl in the shared data): each line is given to
 * cel_eval_case, as `weir eval` does, and the answer is compared as a value. Prints a table by suite. */
#include "rules/cel_internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SKIPPED = 77, ANSWER_MAX = 1 << 20, LEAST_PERCENT = 95 };

struct suite {
    const char *name;
    bool counts; /* among the nine that must reach LEAST_PERCENT */
    unsigned passed, total;
};

static struct suite suites[] = {
    {"basic", true, 0, 0},   {"comparisons", true, 0, 0},  {"conversions", true, 0, 0},
    {"fp_math", true, 0, 0}, {"integer_math", true, 0, 0}, {"logic", true, 0, 0},
    {"parse", true, 0, 0},   {"string", true, 0, 0},       {"timestamps", true, 0, 0},
    {"macros", false, 0, 0}, {"lists", false, 0, 0},       {"string_ext", false, 0, 0},
};
static FILE *cases;

/* The text between two marks; quotes within JSON texts are escaped, so the marks cannot occur in an
 * expression. */
static bool between(struct span line, const char *before, const char *behind, struct span *ret_text)
{
    const char *start = memmem(line.data, line.size, before, strlen(before)), *end;

    if (!start)
        return false;
    start += strlen(before);
    end = memmem(start, (size_t)(line.data + line.size - start), behind, strlen(behind));
    if (!end)
        return false;
    *ret_text = span_make(start, (size_t)(end - start));
    return true;
}

/* {"type": json}} at the end of a line, with or without blanks. */
static bool read_value(struct span line, const char *mark, struct arena *arena, struct cel_value *ret_value)
{
    struct span type, json;
    struct error error;

    if (!between(line, mark, "\"", &type))
        return false;
    const char *start = type.data + type.size + 2, *end = line.data + line.size - 2;
    json = span_make(start, (size_t)(end - start));
    return cel_value_from_json(type, json, arena, ret_value, &error) == STATUS_OK;
}

static bool same_value(const struct cel_value *a, const struct cel_value *b)
{
    if (a->type == CEL_DOUBLE && b->type == CEL_DOUBLE && isnan(a->number) && isnan(b->number))
        return true;
    return a->type == b->type && cel_equal(a, b);
}

static bool case_passes(struct span line, struct arena *arena, struct buffer *answer)
{
    struct cel_value expected, actual;
    enum status status = cel_eval_case(line, answer);

    assert_false(answer->full);
    if (memmem(line.data, line.size, ", \"error\": ", 11))
        return status == STATUS_SKIP && strncmp(answer->data, "{\"error\":\"", 10) == 0;
    if (status != STATUS_OK || !read_value(line, ", \"value\": {\"", arena, &expected))
        return false;
    return read_value(buffer_span(answer), "{\"value\":{\"", arena, &actual) &&
           same_value(&expected, &actual);
}

static struct suite *suite_of(struct span line)
{
    struct span name = {0};

    assert_true(between(line, "\"suite\": \"", "\"", &name));
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        if (span_is(name, suites[i].name))
            return &suites[i];
    }
    fail_msg("unknown suite %.*s", (int)name.size, name.data);
    return NULL;
}

static void print_table(unsigned *ret_passed, unsigned *ret_total)
{
    *ret_passed = *ret_total = 0;
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        printf("%-14s %4u / %4u  %5.1f %%\n", suites[i].name, suites[i].passed, suites[i].total,
               suites[i].total ? 100.0 * suites[i].passed / suites[i].total : 100.0);
        *ret_passed += suites[i].counts ? suites[i].passed : 0;
        *ret_total += suites[i].counts ? suites[i].total : 0;
    }
    printf("nine suites    %4u / %4u\n", *ret_passed, *ret_total);
}

static void conformance_cases_pass(void **state)
{
    unsigned passed, total;
    struct buffer answer;
    struct arena arena;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    arena_init(&arena, ANSWER_MAX);
    buffer_init(&answer, ANSWER_MAX);
    while ((size = getline(&line, &capacity, cases)) > 0) {
        struct span text = span_make(line, (size_t)size - (line[size - 1] == '\n'));
        struct suite *suite = suite_of(text);

        buffer_clear(&answer);
        suite->total++;
        if (case_passes(text, &arena, &answer))
            suite->passed++;
        else
            printf("FAILS %.*s -> %.*s\n", (int)text.size, text.data, (int)answer.size, answer.data);
        arena_reset(&arena);
    }
    free(line);
    buffer_free(&answer);
    arena_free(&arena);
    print_table(&passed, &total);
    assert_int_equal(total, 441);
    assert_true(passed * 100 >= total * LEAST_PERCENT);
}

/* Proves that the comparison above can fail. */
static void wrong_answers_are_seen(void **state)
{
    static const char *const wrong[] = {
        "{\"expr\": \"1 + 1\", \"bindings\": {}, \"value\": {\"int\": 3}}",
        "{\"expr\": \"1 + 1\", \"bindings\": {}, \"value\": {\"uint\": 2}}",
        "{\"expr\": \"1 / 0\", \"bindings\": {}, \"value\": {\"int\": 2}}",
        "{\"expr\": \"1 + 1\", \"bindings\": {}, \"error\": true}",
        "{\"expr\": \"x\", \"bindings\": {\"x\": {\"string\": \"a\"}}, \"value\": {\"string\": \"b\"}}",
    };
    struct buffer answer;
    struct arena arena;

    arena_init(&arena, ANSWER_MAX);
    buffer_init(&answer, ANSWER_MAX);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        buffer_clear(&answer);
        assert_false(case_passes(span_of(wrong[i]), &arena, &answer));
    }
    buffer_free(&answer);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conformance_cases_pass),
        cmocka_unit_test(wrong_answers_are_seen),
    };
    const char *shared = getenv("WEIR_SHARED");
    char path[4096];

    snprintf(path, sizeof path, "%s/data/cel/cases.jsonl", shared ? shared : "../shared");
    cases = fopen(path, "r");
    if (!cases)
        return SKIPPED;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fclose(cases);
    return failed;
}
