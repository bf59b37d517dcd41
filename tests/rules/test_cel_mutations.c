/* Garbage and mutated expressions: whatever is typed, compiling and running ends, in bounds and within the
 * limits. Seeds are expressions of every kind of syntax, and the conformance cases when the shared data is
 * there. Meant for the address sanitizer with the arena emulator. */
#include "rules/cel_internal.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    SEEDS_MAX = 1024,
    ROUNDS = 20000,
    GARBAGE_ROUNDS = 5000,
    LINE_MAX_BYTES = 8192,
    ARENA_BYTES = 1 << 20
};

static char *seeds[SEEDS_MAX];
static size_t seed_count;

static const char *const own_seeds[] = {
    "state == 'failed' && duration_ms > 5000 || !(workflow in ['a', \"b\"])",
    "[1, 2, 3].map(x, x > 1, [x, {x: -x}]).filter(y, y.size() == 2)[0][1][2]",
    "timestamp('2009-02-13T23:31:30.5+01:00').getHours('Europe/Berlin') + duration('1h30m').getMinutes()",
    "'%s %d %.3f %x %b'.format(['a', 1, 2.5, 255, true]) + strings.quote('\\u00e9\\n')",
    "r'\\d' + '''triple''' + string(b'\\xff\\377' == b'') + `quoted`.name",
    "'a,b'.split(',', 2).join('-').replace('a', 'bb', 1).substring(1, 2).charAt(0).matches('(a|b)*[^]x]+$')",
    "has(labels.team) ? labels.team : {'a': 0x1Fu, 2u: .5e-3}.a // comment",
    "[1].map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]) == [[]]",
    "-9223372036854775808 / -1 + 1 % 0 - --5 * 1.5e300",
};

static const char alphabet[] = "()[]{}.,:?!<>=&|+-*/%'\"`\\ \n09aexXuUrbnf_";

static void add_seed(const char *text, size_t size)
{
    if (seed_count < SEEDS_MAX)
        seeds[seed_count++] = memcpy(calloc(1, size + 1), text, size);
}

/* The expr of each case, still with JSON's escapes: as good a seed. */
static void read_seeds(void)
{
    const char *shared = getenv("WEIR_SHARED");
    char path[4096], *line = NULL;
    size_t capacity = 0;
    FILE *file;

    for (size_t i = 0; i < sizeof own_seeds / sizeof *own_seeds; i++)
        add_seed(own_seeds[i], strlen(own_seeds[i]));
    snprintf(path, sizeof path, "%s/data/cel/cases.jsonl", shared ? shared : "../shared");
    file = fopen(path, "r");
    while (file && getline(&line, &capacity, file) > 0) {
        char *start = strstr(line, "\"expr\": \""), *end = start ? strstr(start, "\", \"bindings\"") : NULL;

        if (end && end - start < LINE_MAX_BYTES / 2)
            add_seed(start + 9, (size_t)(end - start - 9));
    }
    if (file)
        fclose(file);
    free(line);
}

/* Compiles and runs in both modes. Any answer will do, as long as there is one. */
static void survive(struct span text, struct label_names *labels)
{
    struct cel_environment environment;
    struct cel_value values[FIELD_COUNT];
    struct span label_values[LABELS_MAX] = {{0}};
    struct arena arena;
    struct buffer out;

    cel_event_environment(labels, &environment);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        values[i] = cel_string(SPAN_LITERAL("caf\xc3\xa9 \xff"));
        if (environment.variables[i].type == CEL_DOUBLE)
            values[i] = cel_double(0.5);
        else if (environment.variables[i].type == CEL_INT)
            values[i] = cel_int(-1);
        else if (environment.variables[i].type == CEL_TIMESTAMP)
            values[i] = cel_timestamp_from_us(TIME_NONE);
    }
    arena_init(&arena, ARENA_BYTES);
    buffer_init(&out, 16 * ARENA_BYTES);
    for (int strict = 0; strict < 2; strict++) {
        struct cel_program *program;
        struct error error = {""};

        environment.strict = strict;
        if (cel_compile(text, &environment, CEL_DYN, &program, &error) != STATUS_OK) {
            assert_true(error.text[0] >= '1' && error.text[0] <= '9'); /* LINE:COLUMN: */
            continue;
        }
        struct cel_value value = cel_run(program, values, label_values, &arena);
        if (value.type != CEL_ERROR)
            cel_value_to_json(&value, &out);
        assert_int_equal(cel_equal(&value, &value), cel_equal(&value, &value));
        cel_free(program);
    }
    buffer_free(&out);
    arena_free(&arena);
}

static size_t mutate(uint64_t *random, char *text, size_t size)
{
    for (unsigned changes = 1 + (unsigned)random_below(random, 4); changes > 0 && size > 0; changes--) {
        size_t at = random_below(random, size), length = 1 + random_below(random, 8);

        length = length > size - at ? size - at : length;
        switch (random_below(random, 5)) {
        case 0: /* drop */
            memmove(text + at, text + at + length, size - at - length);
            size -= length;
            break;
        case 1: /* repeat */
            if (size + length < LINE_MAX_BYTES) {
                memmove(text + at + length, text + at, size - at);
                size += length;
            }
            break;
        case 2:
            text[at] = (char)random_next(random);
            break;
        case 3:
            text[at] = alphabet[random_below(random, sizeof alphabet - 1)];
            break;
        default: { /* a piece of another expression */
            const char *other = seeds[random_below(random, seed_count)];
            size_t from = random_below(random, strlen(other) + 1), piece = strlen(other) - from;

            piece = piece > 40 ? 40 : piece;
            if (at + piece < LINE_MAX_BYTES) {
                memcpy(text + at, other + from, piece);
                size = at + piece > size ? at + piece : size;
            }
        }
        }
    }
    return size;
}

static void mutations_survive(void **state)
{
    struct label_names labels = {0};
    static char text[LINE_MAX_BYTES];
    uint64_t random = 7;

    for (unsigned round = 0; round < ROUNDS; round++) {
        const char *seed = seeds[random_below(&random, seed_count)];
        size_t size = strlen(seed);

        memcpy(text, seed, size);
        size = mutate(&random, text, size);
        survive(span_make(text, size), &labels);
    }
    for (unsigned i = 0; i < labels.count; i++)
        free(labels.names[i]);
}

static void garbage_survives(void **state)
{
    struct label_names labels = {0};
    char text[200];
    uint64_t random = 8;

    for (unsigned round = 0; round < GARBAGE_ROUNDS; round++) {
        size_t size = random_below(&random, sizeof text);

        for (size_t i = 0; i < size; i++)
            text[i] =
                round % 2 ? (char)random_next(&random) : alphabet[random_below(&random, sizeof alphabet - 1)];
        survive(span_make(text, size), &labels);
    }
    for (unsigned i = 0; i < labels.count; i++)
        free(labels.names[i]);
}

/* Repeats a text until the limit on size, to reach each of the other limits. */
static void repeats_survive(void **state)
{
    static const char *const pieces[] = {
        "(",  "[",    "{1:",   "!",          "-",  "a.",  "1+", "1<", "true&&",        "a?b:",
        "a?", "'x'+", "f(",    "[1].map(x,", ".a", "-1",  "`",  "1,", "[0].exists(x,", "\xc3\xa9",
        "a[", "''.",  "1 in ", "0x",         "9",  "//\n"};
    struct label_names labels = {0};
    static char text[CEL_TEXT_MAX + 64];

    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t length = strlen(pieces[i]), size = 0;

        while (size + length <= CEL_TEXT_MAX) {
            memcpy(text + size, pieces[i], length);
            size += length;
            if (size > 300 && size < CEL_TEXT_MAX / 2)
                continue;
            if (size < 300)
                survive(span_make(text, size), &labels);
        }
        survive(span_make(text, size), &labels);
        text[size] = '1';
        survive(span_make(text, size + 1), &labels);
    }
}

/* Each of these doubles what it holds: lists that share their parts, texts, loops within loops. */
static void growth_is_bounded(void **state)
{
    struct label_names labels = {0};
    struct buffer text;

    buffer_init(&text, CEL_TEXT_MAX);
    buffer_put_text(&text, "[1]");
    for (int i = 0; i < 60; i++)
        buffer_put_text(&text, ".map(x,[x,x])");
    survive(buffer_span(&text), &labels);
    buffer_put_text(&text, " == [workflow]");
    survive(buffer_span(&text), &labels);

    buffer_clear(&text);
    buffer_put_text(&text, "workflow");
    for (int i = 0; i < 200; i++)
        buffer_put_text(&text, ".replace('a','aaaa')");
    survive(buffer_span(&text), &labels);

    buffer_clear(&text);
    for (int i = 0; i < CEL_LOCALS_MAX; i++)
        buffer_print(&text, "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.split('').all(x%d,", i);
    buffer_put_text(&text, "x0 == workflow || true");
    for (int i = 0; i < CEL_LOCALS_MAX; i++)
        buffer_put_char(&text, ')');
    survive(buffer_span(&text), &labels);
    survive(SPAN_LITERAL("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'.matches('^(a+)+$')"),
            &labels);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutations_survive),
        cmocka_unit_test(garbage_survives),
        cmocka_unit_test(repeats_survive),
        cmocka_unit_test(growth_is_bounded),
    };

    read_seeds();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    while (seed_count > 0)
        free(seeds[--seed_count]);
    return failed;
}
