/* The buffer: what is put in comes out, to the last byte of the limit and never beyond. */
#include "base/buffer.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void holds_what_is_put(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 1000);
    buffer_put_text(&buffer, "one ");
    buffer_put_span(&buffer, SPAN_LITERAL("two "));
    buffer_put_char(&buffer, '3');
    buffer_print(&buffer, " %d %s", 4, "five");
    buffer_put(&buffer, NULL, 0);
    buffer_put_span(&buffer, (struct span){0});
    assert_true(span_is(buffer_span(&buffer), "one two 3 4 five"));
    buffer_truncate(&buffer, 7);
    assert_true(span_is(buffer_span(&buffer), "one two"));
    buffer_remove_front(&buffer, 4);
    assert_true(span_is(buffer_span(&buffer), "two"));
    buffer_remove_front(&buffer, 3);
    assert_int_equal(buffer.size, 0);
    buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.limit, 1000);
}

static void a_terminal_gets_no_control_characters(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 100);
    buffer_put_plain(&buffer, SPAN_LITERAL("a\x1b[\xc2\x9b\x7f\n\xc3\xa9\xc2\xa0\x9b\xc3"));
    assert_true(span_is(buffer_span(&buffer), "a?[???\xc3\xa9\xc2\xa0??"));
    buffer_free(&buffer);
}

static void fills_to_the_limit_and_no_further(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 10);
    buffer_print(&buffer, "%s", "0123456789");
    assert_false(buffer.full);
    assert_int_equal(buffer.size, 10);
    buffer_put_char(&buffer, 'x');
    assert_true(buffer.full);
    assert_true(span_is(buffer_span(&buffer), "0123456789"));

    buffer_truncate(&buffer, 5);
    assert_false(buffer.full);
    buffer_put_text(&buffer, "too long");
    buffer_put_char(&buffer, 'x'); /* would fit, but would tear a hole */
    assert_true(buffer.full);
    assert_null(buffer_room(&buffer, 1));
    assert_true(span_is(buffer_span(&buffer), "01234"));
    buffer_clear(&buffer);
    assert_false(buffer.full);
    buffer_print(&buffer, "%011d", 1);
    assert_true(buffer.full);
    assert_int_equal(buffer.size, 0);
    buffer_free(&buffer);

    buffer_init(&buffer, 0);
    buffer_print(&buffer, "%s", "");
    assert_false(buffer.full);
    buffer_free(&buffer);
}

static void agrees_with_a_plain_array(void **state)
{
    enum { LIMIT = 5000 };
    static char model[LIMIT], piece[256];
    size_t size = 0;
    uint64_t random = 1;
    struct buffer buffer;

    buffer_init(&buffer, LIMIT);
    for (int i = 0; i < 20000; i++) {
        size_t length = random_below(&random, sizeof piece);

        if (random_below(&random, 4) == 0) {
            length = length < size ? length : size;
            buffer_remove_front(&buffer, length);
            memmove(model, model + length, size - length);
            size -= length;
        } else if (!buffer.full) {
            memset(piece, (int)('a' + i % 26), length);
            buffer_put(&buffer, piece, length);
            if (size + length <= LIMIT) {
                memcpy(model + size, piece, length);
                size += length;
            } else {
                assert_true(buffer.full);
                buffer_truncate(&buffer, size / 2);
                size /= 2;
            }
        }
        assert_false(buffer.full);
        assert_int_equal(buffer.size, size);
        assert_true(size == 0 || memcmp(buffer.data, model, size) == 0);
    }
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_is_put),
        cmocka_unit_test(a_terminal_gets_no_control_characters),
        cmocka_unit_test(fills_to_the_limit_and_no_further),
        cmocka_unit_test(agrees_with_a_plain_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
