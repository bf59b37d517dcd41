/* The arena: pieces keep their bytes until the reset, whatever their sizes, and the limit holds. Also built
 * with WEIR_ARENA_EMULATOR, where each piece is an allocation of its own. */
#include "base/arena.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PIECES = 500, LIMIT = 64 * 1024 * 1024 };

static void pieces_keep_their_bytes(void **state)
{
    struct arena arena;
    unsigned char *pieces[PIECES];
    size_t sizes[PIECES];
    uint64_t random = 1;

    arena_init(&arena, LIMIT);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            sizes[i] = random_below(&random, i % 50 == 49 ? 200000 : 600);
            pieces[i] = arena_take(&arena, sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 8, 0);
            memset(pieces[i], (int)(i & 255), sizes[i]);
        }
        for (size_t i = 0; i < PIECES; i++)
            for (size_t at = 0; at < sizes[i]; at++)
                assert_int_equal(pieces[i][at], i & 255);
        arena_reset(&arena);
        assert_int_equal(arena.used, 0);
    }
    arena_free(&arena);
}

static void the_limit_holds(void **state)
{
    struct arena arena;
    struct span copy = SPAN_LITERAL("untouched");

    arena_init(&arena, 1024);
    assert_null(arena_take(&arena, 1025));
    assert_null(arena_take(&arena, SIZE_MAX));
    assert_non_null(arena_take(&arena, 1000));
    assert_false(arena_copy(&arena, SPAN_LITERAL("a text of more than twenty-four bytes"), &copy));
    assert_true(span_is(copy, "untouched"));
    assert_non_null(arena_take(&arena, 24));
    assert_null(arena_take(&arena, 1));
    arena_reset(&arena);
    assert_non_null(arena_take(&arena, 1024));
    arena_free(&arena);
}

static void copies_are_independent(void **state)
{
    struct arena arena;
    char text[] = "a text";
    struct span copy, empty;

    arena_init(&arena, LIMIT);
    assert_true(arena_copy(&arena, span_of(text), &copy));
    assert_true(arena_copy(&arena, (struct span){0}, &empty));
    text[0] = 'b';
    assert_true(span_is(copy, "a text"));
    assert_int_equal(empty.size, 0);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_keep_their_bytes),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(copies_are_independent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
