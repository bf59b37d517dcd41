/* Distinct counts: exact while few, within the promised error when many, the same in any order. */
#include "base/hash.h"
#include "pipeline/distinct.h"
#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint64_t hash_of(uint64_t number)
{
    return hash_bytes(&number, sizeof number, 0);
}

static void test_exact_to_64(void **state)
{
    struct distinct *distinct = distinct_new();

    assert_int_equal(distinct_count(distinct), 0);
    for (uint64_t i = 0; i < 64; i++) {
        for (uint64_t again = 0; again <= i; again++)
            distinct_add(distinct, again == 63 ? 0 : hash_of(again)); /* a hash may be 0 */
        assert_int_equal(distinct_count(distinct), i + 1);
    }
    assert_null(distinct->registers);
    distinct_add(distinct, hash_of(64));
    assert_non_null(distinct->registers);
    assert_in_range(distinct_count(distinct), 63, 68);
    distinct_free(distinct);
}

/* The root of the mean square over 40 sets a size; one set would pass or fail by luck. */
static void test_error_is_as_promised(void **state)
{
    const uint64_t sizes[] = {65, 200, 1000, 2000, 4000, 5000, 6000, 8000, 20000, 200000};

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        double squares = 0;

        for (uint64_t set = 0; set < 40; set++) {
            struct distinct *distinct = distinct_new();

            for (uint64_t i = 0; i < sizes[s]; i++)
                distinct_add(distinct, hash_of(set << 32 | i));
            double error = (double)distinct_count(distinct) / (double)sizes[s] - 1;
            squares += error * error;
            distinct_free(distinct);
        }
        assert_true(sqrt(squares / 40) < 0.03);
    }
}

static void test_merge_in_any_order(void **state)
{
    uint64_t random = 1;

    for (int trial = 0; trial < 300; trial++) {
        struct distinct *whole = distinct_new(), *parts[2] = {distinct_new(), distinct_new()};
        uint64_t count = random_below(&random, 200);

        for (uint64_t i = 0; i < count; i++) {
            uint64_t hash = hash_of(random_below(&random, 100));

            distinct_add(whole, hash);
            distinct_add(parts[random_below(&random, 4) == 0], hash);
        }
        struct distinct *copy = distinct_copy(parts[0]);
        distinct_merge(copy, parts[1]);
        distinct_merge(parts[1], parts[0]);
        assert_int_equal(distinct_count(copy), distinct_count(whole));
        assert_int_equal(distinct_count(parts[1]), distinct_count(whole));
        assert_true(distinct_bytes(copy) >= sizeof *copy);
        distinct_free(whole);
        distinct_free(copy);
        distinct_free(parts[0]);
        distinct_free(parts[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_to_64),
        cmocka_unit_test(test_error_is_as_promised),
        cmocka_unit_test(test_merge_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
