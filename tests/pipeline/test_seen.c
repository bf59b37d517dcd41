/* Remembered keys against a plain array, with a small limit so that eviction happens. */
#include "base/memory.h"
#include "pipeline/seen.h"
#include "tests/base/random.h"
#include "tests/base/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { STEPS = 20000, LIMIT = 50 };

struct naive_entry {
    uint64_t key;
    int64_t end_us;
};

struct naive { /* oldest first */
    struct naive_entry entries[LIMIT];
    int count;
    uint64_t evicted;
};

static void naive_remove(struct naive *naive, int at)
{
    memmove(&naive->entries[at], &naive->entries[at + 1],
            (size_t)(naive->count - at - 1) * sizeof *naive->entries);
    naive->count--;
}

static bool naive_find(struct naive *naive, uint64_t key, int64_t watermark_us)
{
    while (naive->count && naive->entries[0].end_us <= watermark_us)
        naive_remove(naive, 0);
    for (int i = 0; i < naive->count; i++) {
        if (naive->entries[i].key != key)
            continue;
        if (naive->entries[i].end_us > watermark_us)
            return true;
        naive_remove(naive, i);
        return false;
    }
    return false;
}

static void naive_add(struct naive *naive, uint64_t key, int64_t end_us)
{
    if (naive->count == LIMIT) {
        naive_remove(naive, 0);
        naive->evicted++;
    }
    naive->entries[naive->count++] = (struct naive_entry){.key = key, .end_us = end_us};
}

static void test_against_naive_model(void **state)
{
    uint64_t random = 1;

    for (unsigned keys = 10; keys <= 1000; keys *= 10) {
        struct naive *naive = memory_new(sizeof *naive);
        struct seen seen;
        int64_t watermark_us = INT64_MIN;

        seen_init(&seen, LIMIT);
        for (int i = 0; i < STEPS; i++) {
            uint64_t key = random_below(&random, keys);
            struct id128 id = {.high = key % 3, .low = key};
            int64_t end_us = i + (int64_t)random_below(&random, 100);

            if (random_below(&random, 3) == 0 && watermark_us < i - 20)
                watermark_us = i - 20;
            bool found = seen_find(&seen, id, watermark_us) != NULL;
            assert_int_equal(found, naive_find(naive, key, watermark_us));
            if (!found) {
                assert_int_equal(seen_add(&seen, id, end_us)->count, 0);
                naive_add(naive, key, end_us);
            }
            assert_int_equal(seen.slots.used, naive->count);
        }
        assert_int_equal(seen.evicted, naive->evicted);
        assert_true(keys < 100 || seen.evicted > 0);
        seen_free(&seen);
        free(naive);
    }
}

/* Under a smaller limit the newest entries stay, in their order. */
static void test_restored_with_smaller_limit(void **state)
{
    struct values values = {0};
    struct saver saver = values_saver(&values);
    struct seen seen, small;
    struct error error;

    seen_init(&seen, 1000);
    for (uint64_t i = 0; i < 1500; i++)
        seen_add(&seen, (struct id128){.low = i}, INT64_MAX);
    seen_freeze(&seen, &saver);
    assert_true(seen_save(&seen, &(size_t){SIZE_MAX}));
    assert_int_equal(values.count, 4);
    seen_init(&small, 100);
    for (size_t i = 0; i < values.count; i++)
        assert_int_equal(
            seen_restore(&small, values.items[i].key.block, value_span(&values.items[i]), &error), STATUS_OK);
    seen_restored(&small);
    for (uint64_t i = 1500; i < 1550; i++)
        seen_add(&small, (struct id128){.low = i}, INT64_MAX);
    assert_int_equal(small.evicted, 50);
    for (uint64_t i = 0; i < 1550; i++)
        assert_int_equal(seen_find(&small, (struct id128){.low = i}, 0) != NULL, i >= 1450);
    seen_free(&seen);
    seen_free(&small);
    buffer_free(&saver.bytes);
    values_free(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive_model),
        cmocka_unit_test(test_restored_with_smaller_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
