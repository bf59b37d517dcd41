/* Against strtod: the same double to the bit, and only what is wholly a decimal number. */
#include "base/decimal.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_BYTES = 64 };

/* What strtod takes of these letters alone is a decimal number. */
static bool read_slowly(struct span text, double *ret_number)
{
    char copy[TEXT_BYTES + 1], *end;

    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (text.size == 0 || strspn(copy, "0123456789+-.eE") != text.size)
        return false;
    *ret_number = strtod(copy, &end);
    return end == copy + text.size;
}

static void compare(struct span text)
{
    double slow = 0, fast = 0;

    if (read_slowly(text, &slow) != decimal_read(text, &fast))
        fail_msg("'%.*s' is taken by one only", (int)text.size, text.data);
    if (read_slowly(text, &slow) && memcmp(&slow, &fast, sizeof slow) != 0)
        fail_msg("'%.*s' is %.17g, not %.17g", (int)text.size, text.data, slow, fast);
}

static void test_numbers_of_all_sizes(void **state)
{
    uint64_t random = 1;
    char text[TEXT_BYTES];

    for (unsigned i = 0; i < 300000; i++) {
        uint64_t digits = random_next(&random) >> random_below(&random, 64);
        int point = (int)random_below(&random, 25), power = (int)random_below(&random, 60) - 30, size;

        size = snprintf(text, sizeof text, "%s%llu", i % 3 ? "" : "-", (unsigned long long)digits);
        if (i % 2 && point < size) {
            memmove(text + size - point + 1, text + size - point, (size_t)point + 1);
            text[size - point] = '.';
            size++;
        }
        if (i % 5 == 0)
            size += snprintf(text + size, sizeof text - (size_t)size, "%c%+d", i % 2 ? 'e' : 'E', power);
        compare(span_make(text, (size_t)size));
    }
}

static void test_any_letters(void **state)
{
    static const char letters[] = "0012359999+-..eE x";
    uint64_t random = 2;
    char text[TEXT_BYTES];

    for (unsigned i = 0; i < 300000; i++) {
        size_t size = random_below(&random, 10);

        for (size_t k = 0; k < size; k++)
            text[k] = letters[random_below(&random, sizeof letters - 1)];
        compare(span_make(text, size));
    }
}

static void test_by_hand(void **state)
{
    static const char *const texts[] = {
        "",     "0",      "-0",     "-",     ".",    "1.",    ".5",      "-.5e1",
        "1e",   "1e+",    "1e400",  "1e22",  "1e23", "1e-22", "1e-400",  "9007199254740993",
        "+1",   "0x10",   "inf",    "nan",   " 1",   "1 ",    "1e99999", "00000000000000000000000000000001",
        "0.10", "123e-3", "1e-324", "5e-324"};
    char zeros[DECIMAL_BYTES_MAX + 2];
    double number = 7;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        compare(span_of(texts[i]));
    assert_false(decimal_read(span_make("1\0", 2), &number));
    memset(zeros, '0', sizeof zeros);
    assert_false(decimal_read(span_make(zeros, sizeof zeros - 1), &number));
    assert_true(number == 7);
    assert_true(decimal_read(span_make(zeros, DECIMAL_BYTES_MAX), &number));
    assert_true(number == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_of_all_sizes),
        cmocka_unit_test(test_any_letters),
        cmocka_unit_test(test_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
