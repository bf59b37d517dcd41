#include "tests/rules/random_rules.h"

#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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

void random_rows(struct event_batch *batch, uint64_t *random)
{
    for (uint32_t row = 0; row < batch->row_limit; row++) {
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

void random_number_expression(uint64_t *random, struct buffer *out, unsigned depth)
{
    static const char *const leaves[] = {"duration_ms", "value", "progress",       "5000",
                                         "0.5",         "-1.0",  "double(attempt)"};
    static const char *const operators[] = {"+", "-", "*", "/"};

    if (depth == 0 || random_below(random, 3) == 0) {
        buffer_put_text(out, pick(random, leaves, 7));
        return;
    }
    buffer_put_text(out, random_below(random, 6) == 0 ? "-(1.0 * " : "(1.0 * ");
    random_number_expression(random, out, depth - 1);
    buffer_print(out, " %s ", pick(random, operators, 4));
    random_number_expression(random, out, depth - 1);
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
        random_number_expression(random, out, 2);
        buffer_print(out, " %s ", pick(random, orders, 6));
        random_number_expression(random, out, 2);
    } else {
        buffer_put_text(out, pick(random, others, sizeof others / sizeof *others));
    }
}

void random_truth(uint64_t *random, struct buffer *out, unsigned depth)
{
    if (depth == 0 || random_below(random, 4) == 0) {
        write_leaf(random, out);
        return;
    }
    buffer_put_text(out, random_below(random, 5) == 0 ? "!(" : "(");
    random_truth(random, out, depth - 1);
    buffer_put_text(out, random_below(random, 2) ? " && " : " || ");
    random_truth(random, out, depth - 1);
    buffer_put_char(out, ')');
}

struct cel_program *compile_rule(const char *text, size_t size, const struct cel_environment *environment,
                                 enum cel_type want)
{
    struct cel_program *program = NULL;
    struct error error;

    if (cel_compile(span_make(text, size), environment, want, &program, &error) != STATUS_OK)
        fail_msg("%.*s: %s", (int)size, text, error.text);
    return program;
}

void batch_with_label(struct event_batch *batch, uint32_t rows, struct label_names *labels,
                      struct cel_environment *environment)
{
    struct field_ref ref;

    *labels = (struct label_names){0};
    assert_true(field_ref_parse(SPAN_LITERAL("labels.team"), labels, &ref));
    cel_event_environment(labels, environment);
    event_batch_init(batch, rows, labels);
}

void free_labels(struct label_names *labels)
{
    for (unsigned i = 0; i < labels->count; i++)
        free(labels->names[i]);
}
