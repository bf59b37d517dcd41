/* Ids: parts are told apart, blocks are not, and the values never change: documents are found by them. */
#include "base/hash.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct id128 id_of_texts(const char *first, const char *second)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, span_of(first));
    id_add_text(&builder, span_of(second));
    return id_end(&builder);
}

static void parts_are_told_apart(void **state)
{
    assert_true(id_equal(id_of_texts("ab", "c"), id_of_texts("ab", "c")));
    assert_false(id_equal(id_of_texts("ab", "c"), id_of_texts("a", "bc")));
    assert_false(id_equal(id_of_texts("", "abc"), id_of_texts("abc", "")));
    assert_false(id_equal(id_of_texts("a", "b"), id_of_texts("b", "a")));
}

/* The same bytes as one text and in pieces of eight, after words that shift them over the ends of blocks. */
static void splits_at_the_block_do_not_matter(void **state)
{
    enum { WORDS_MAX = 700, BLOCK_WORDS = 1024 / 8 };
    static union {
        struct {
            uint32_t size; /* as id_add_text puts it before the bytes */
            char bytes[WORDS_MAX * 8 - 4];
        } text;
        int64_t words[WORDS_MAX];
    } stream;
    uint64_t random = 1;

    for (size_t i = 0; i < sizeof stream.text.bytes; i++)
        stream.text.bytes[i] = (char)random_next(&random);
    for (size_t words = 1; words <= WORDS_MAX; words += words < 3 ? 1 : BLOCK_WORDS / 3) {
        stream.text.size = (uint32_t)(words * 8 - 4);
        for (int before = 0; before <= 2 * BLOCK_WORDS; before++) {
            struct id_builder whole, pieces;

            id_begin(&whole);
            id_begin(&pieces);
            for (int i = 0; i < before; i++) {
                id_add_integer(&whole, i);
                id_add_integer(&pieces, i);
            }
            id_add_text(&whole, span_make(stream.text.bytes, stream.text.size));
            for (size_t i = 0; i < words; i++)
                id_add_integer(&pieces, stream.words[i]);
            assert_true(id_equal(id_end(&whole), id_end(&pieces)));
        }
    }
}

/* Documents of earlier versions are found by these values: a change here orphans every one of them. */
static void ids_never_change(void **state)
{
    struct id_builder builder;
    char hex[ID_HEX_SIZE];

    id_begin(&builder);
    id_add_text(&builder, SPAN_LITERAL("airflow"));
    id_add_integer(&builder, -1);
    id_format(id_end(&builder), hex);
    assert_memory_equal(hex, "637092eb836cf97c4f437ba2a8a623e3", ID_HEX_SIZE);
    assert_int_equal(hash_bytes("airflow", 7, 0), 0xa663f53094c6dc53);
    id_format((struct id128){.high = 0x0123456789abcdef, .low = 0xfedcba9876543210}, hex);
    assert_memory_equal(hex, "0123456789abcdeffedcba9876543210", ID_HEX_SIZE);
}

static void ids_compare_as_their_text(void **state)
{
    uint64_t random = 2;

    for (int i = 0; i < 1000; i++) {
        struct id128 a = {random_below(&random, 3) << 62, random_next(&random)};
        struct id128 b = {random_below(&random, 3) << 62,
                          random_below(&random, 2) ? a.low : random_next(&random)};
        char a_hex[ID_HEX_SIZE], b_hex[ID_HEX_SIZE];

        id_format(a, a_hex);
        id_format(b, b_hex);
        int order = memcmp(a_hex, b_hex, ID_HEX_SIZE);
        assert_int_equal(id_compare(a, b), (order > 0) - (order < 0));
        assert_int_equal(id_equal(a, b), order == 0);
    }
}

static void long_texts_count_to_the_last_byte(void **state)
{
    enum { SIZE = 100000 };
    char *text = malloc(SIZE);
    struct id_builder builder;
    struct id128 before, after;

    memset(text, 'x', SIZE);
    for (size_t size = 1000; size < SIZE; size = size * 3 / 2) {
        id_begin(&builder);
        id_add_text(&builder, span_make(text, size));
        before = id_end(&builder);
        text[size - 1] = 'y';
        id_begin(&builder);
        id_add_text(&builder, span_make(text, size));
        after = id_end(&builder);
        text[size - 1] = 'x';
        assert_false(id_equal(before, after));
        assert_true(before.high != after.high && before.low != after.low);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_told_apart),
        cmocka_unit_test(splits_at_the_block_do_not_matter),
        cmocka_unit_test(ids_never_change),
        cmocka_unit_test(ids_compare_as_their_text),
        cmocka_unit_test(long_texts_count_to_the_last_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
