/* Filling {{name}} in, what is refused at load, and the limit. */
#include "alerts/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool resolve(void *owner, struct span name, struct buffer *out)
{
    (void)owner;
    if (span_is(name, "task"))
        buffer_put_text(out, "load");
    else if (span_is(name, "braces"))
        buffer_put_text(out, "{{task}}");
    else if (span_is(name, "long"))
        for (unsigned i = 0; i < 3000; i++)
            buffer_put_text(out, "\xc3\xa9");
    else
        return span_is(name, "nothing");
    return true;
}

static void test_fill(void **state)
{
    // clang-format off
    static const char *const cases[][2] = {
        {"", ""}, {"plain", "plain"}, {"{{task}}", "load"}, {"a {{task}} b {{ task }} c", "a load b load c"},
        {"{{nothing}}{{task}}", "load"}, {"{{unknown}}!", "!"}, {"{{task", "{{task"}, {"task}} {", "task}} {"},
        {"{{}}x", "x"}, {"{{braces}}", "{{task}}"}, {"{ {task} }", "{ {task} }"}, {"{{{task}}}", "}"},
    };
    // clang-format on
    struct buffer out;

    buffer_init(&out, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buffer_clear(&out);
        buffer_put_text(&out, "before|");
        text_fill(span_of(cases[i][0]), resolve, NULL, &out);
        assert_int_equal(out.size, strlen("before|") + strlen(cases[i][1]));
        assert_memory_equal(out.data + strlen("before|"), cases[i][1], strlen(cases[i][1]));
    }
    buffer_free(&out);
}

static void test_limit(void **state)
{
    struct buffer out;

    buffer_init(&out, 1 << 20);
    buffer_put_text(&out, "before|");
    text_fill(span_of("x{{long}}{{task}}"), resolve, NULL, &out);
    /* the limit falls into the middle of a two-byte character */
    assert_int_equal(out.size, strlen("before|") + TEXT_LIMIT - 1);
    assert_memory_equal(out.data + out.size - 2, "\xc3\xa9", 2);
    buffer_free(&out);
}

static bool put_long(void *owner, struct span name, struct buffer *out)
{
    text_put(out, *(const struct span *)owner);
    return true;
}

/* A text that the buffer could not take whole is cut, not left out. */
static void test_long_piece(void **state)
{
    static char long_text[10 * TEXT_LIMIT];
    struct span text = span_make(long_text, sizeof long_text);
    struct buffer out;

    (void)state;
    for (size_t i = 0; i < sizeof long_text; i += 2)
        memcpy(long_text + i, "\xc3\xa9", 2);
    buffer_init(&out, 3 * TEXT_LIMIT);
    text_fill(span_of("{{a}}{{a}}"), put_long, &text, &out);
    assert_int_equal(out.size, TEXT_LIMIT);
    buffer_clear(&out);
    text_fill(span_of("x{{a}}"), put_long, &text, &out);
    assert_int_equal(out.size, TEXT_LIMIT - 1);
    text.data++; /* the limit falls into a character, and nothing stands before */
    text_fill(span_of("{{a}}"), put_long, &text, &out);
    assert_int_equal(out.size, TEXT_LIMIT - 1 + TEXT_LIMIT - 1);
    buffer_free(&out);
}

static void test_check(void **state)
{
    // clang-format off
    static const char *const good[] = {"", "plain", "{{task}} {{ nothing }}", "}} {"};
    static const char *const bad[][2] = {
        {"{{tsk}}", "'{{tsk}}' names nothing known"},
        {"{{task}} {{", "'{{' without '}}' in \"{{task}} {{\""},
        {"{{}}", "'{{}}' names nothing known"},
    };
    // clang-format on
    struct error error;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(text_check(span_of(good[i]), resolve, NULL, &error), STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(text_check(span_of(bad[i][0]), resolve, NULL, &error), STATUS_FATAL);
        assert_string_equal(error.text, bad[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_long_piece),
        cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
