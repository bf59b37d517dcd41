/* Offsets against a plain list of all batches, and the acknowledged time of derived documents. */
#include "pipeline/ledger.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { BATCHES = 200 };

struct batch {
    struct ledger_entry *entry; /* NULL: its offset was given out */
    uint64_t pending;
    int64_t next_offset, latest_us, watermark_us;
};

/* How many of the batches may be given up, from the front. */
static size_t naive_safe(const struct batch *batches, size_t count, int64_t needed_us)
{
    size_t safe = 0;

    while (safe < count && batches[safe].pending == 0 && batches[safe].latest_us < needed_us)
        safe++;
    return safe;
}

static void test_offsets(void **state)
{
    uint64_t random = 5;

    for (unsigned round = 0; round < 100; round++) {
        struct ledger ledger = {0};
        struct batch batches[BATCHES];
        size_t count = 0, given = 0, moves = 0;
        int64_t offset = 1000, needed = 0, watermark = 0;

        while (given < BATCHES) {
            size_t safe;
            int64_t ret_offset = -1, ret_watermark = -1;

            if (count < BATCHES && random_below(&random, 2)) {
                struct batch *batch = &batches[count++];

                batch->next_offset = offset + 1 + (int64_t)random_below(&random, 9);
                batch->watermark_us = watermark;
                batch->entry = ledger_add(&ledger, offset, batch->next_offset, watermark);
                offset =
                    batch->next_offset + (int64_t)random_below(&random, 2); /* gaps of compacted topics */
                batch->entry->pending += batch->pending = random_below(&random, 3);
                batch->pending++;
                batch->latest_us =
                    random_below(&random, 8) ? needed + (int64_t)random_below(&random, 30) : INT64_MIN;
                batch->entry->latest_us = batch->latest_us;
                watermark += (int64_t)random_below(&random, 5);
            }
            for (size_t i = given; i < count; i++)
                if (batches[i].pending && random_below(&random, 3) == 0) {
                    batches[i].pending--;
                    batches[i].entry->pending--;
                }
            needed += (int64_t)random_below(&random, 3);
            safe = naive_safe(batches, count, needed);
            bool moved = ledger_advance(&ledger, needed, watermark, &ret_offset, &ret_watermark);
            assert_true(moved == (safe > given));
            if (moved) {
                assert_true(ret_offset == batches[safe - 1].next_offset);
                assert_true(ret_watermark == (safe < count ? batches[safe].watermark_us : watermark));
                assert_true(ledger.committed == ret_offset);
            } else {
                assert_true(ret_offset == -1 && ret_watermark == -1);
            }
            moves += moved;
            given = safe;
        }
        assert_true(moves > 1);
        assert_null(ledger.first);
        assert_null(ledger.last);
        ledger_free(&ledger);
    }
}

static void test_free_with_entries(void **state)
{
    struct ledger ledger = {0};

    ledger_add(&ledger, 0, 10, 0);
    ledger_add(&ledger, 10, 20, 5);
    ledger_free(&ledger);
    assert_null(ledger.first);
    assert_null(ledger.last);
}

static void test_epochs(void **state)
{
    struct epochs epochs;
    struct epoch *first, *second;

    epochs_init(&epochs);
    assert_true(epochs.acknowledged_us == INT64_MIN);
    epochs_advance(&epochs, 10);
    assert_true(epochs.acknowledged_us == 10); /* nothing was told */
    first = epochs.current;
    first->pending = 2;
    epochs_advance(&epochs, 20);
    assert_true(epochs.current != first);
    assert_true(epochs.acknowledged_us == 10);
    second = epochs.current;
    second->pending = 1;
    epochs_advance(&epochs, 30);
    second->pending = 0;
    epochs_advance(&epochs, 40); /* the second is safe, the first is not */
    assert_true(epochs.acknowledged_us == 10);
    first->pending = 1;
    epochs_advance(&epochs, 40);
    assert_true(epochs.acknowledged_us == 10);
    first->pending = 0;
    epochs_advance(&epochs, 40);
    assert_true(epochs.acknowledged_us == 40);
    epochs.current->pending = 1;
    epochs_advance(&epochs, 50);
    epochs_free(&epochs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_free_with_entries),
        cmocka_unit_test(test_epochs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
