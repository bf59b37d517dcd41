/* Against printf and strtod: the same digits, and as few of them. */
#include "base/digits.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 64 };

static bool is_within(double number)
{
    return fabs(number) >= 0x1p-36 && fabs(number) < 1e15;
}

static void print_size(double number, unsigned count, char text[TEXT_BYTES])
{
    snprintf(text, TEXT_BYTES, "%.*e", (int)count - 1, fabs(number));
}

/* The same number, whatever zeros it ends with. */
static void assert_digits(double number, const char *text, struct digits of)
{
    uint64_t digits = 0;
    int places = -(int)strtol(strchr(text, 'e') + 1, NULL, 10);

    for (const char *at = text; *at != 'e'; at++) {
        if (*at == '.')
            continue;
        digits = digits * 10 + (uint64_t)(*at - '0');
        places += at > text;
    }
    for (; of.places > places && of.number % 10 == 0; of.places--)
        of.number /= 10;
    for (; places > of.places && digits % 10 == 0; places--)
        digits /= 10;
    if (of.number != digits || of.places != places)
        fail_msg("%a: %s became %llu, %d places", number, text, (unsigned long long)of.number, of.places);
}

static void assert_same(double number)
{
    struct digits of = {0};
    char text[TEXT_BYTES];

    for (unsigned count = 15; count <= 17; count++) {
        assert_int_equal(digits_round(number, count, &of), is_within(number));
        print_size(number, count, text);
        if (is_within(number))
            assert_digits(number, text, of);
    }
    assert_int_equal(digits_shortest(number, &of), is_within(number));
    for (unsigned count = 15; count <= 17; count++) {
        print_size(number, count, text);
        if (strtod(text, NULL) == fabs(number))
            break;
    }
    if (is_within(number))
        assert_digits(number, text, of);
}

static void assert_around(double number)
{
    double above = number, below = number;

    for (int step = 0; step < 50; step++) {
        assert_same(above);
        assert_same(-below);
        above = nextafter(above, INFINITY);
        below = nextafter(below, 0);
    }
}

static void test_random_numbers(void **state)
{
    uint64_t random = 1;

    for (int trial = 0; trial < 100000; trial++) {
        uint64_t bits = random_next(&random);
        double number, fraction = (double)(bits >> 11) * 0x1p-53;

        memcpy(&number, &bits, sizeof number);
        if (isfinite(number))
            assert_same(number);
        assert_same(ldexp(1 + fraction, (int)random_below(&random, 90) - 38));
    }
}

/* Their digits are few, or end in a 5 behind the last one asked for. */
static void test_short_numbers(void **state)
{
    uint64_t random = 2;

    for (int trial = 0; trial < 100000; trial++) {
        double decimals = pow(10, (double)random_below(&random, 12));

        assert_same((double)(random_next(&random) >> random_below(&random, 64)) / decimals);
        assert_same(ldexp((double)(random_next(&random) >> 11), -(int)random_below(&random, 40)));
    }
}

/* Beside a power of two the doubles below are twice as dense. */
static void test_beside_powers(void **state)
{
    for (int power = -40; power < 55; power++)
        assert_around(ldexp(1, power));
    for (int power = -12; power < 17; power++) {
        assert_around(pow(10, power));
        assert_around(5 * pow(10, power));
    }
    assert_same(0);
    assert_same(INFINITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_short_numbers),
        cmocka_unit_test(test_beside_powers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
