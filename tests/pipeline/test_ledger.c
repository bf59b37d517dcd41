/* What is still owed, against a plain list of all batches. */
#include "pipeline/ledger.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { BATCHES = 200 };

struct batch {
    struct ledger_entry *entry; /* NULL: dropped */
    uint64_t pending;
    int64_t first_offset;
};

static void test_owed(void **state)
{
    uint64_t random = 5;

    for (unsigned round = 0; round < 100; round++) {
        struct ledger ledger = {0};
        struct batch batches[BATCHES];
        size_t count = 0, safe = 0;
        int64_t offset = 1000;

        while (safe < BATCHES) {
            if (count < BATCHES && random_below(&random, 2)) {
                struct batch *batch = &batches[count++];
                int64_t next = offset + 1 + (int64_t)random_below(&random, 9);

                batch->first_offset = offset;
                batch->entry = ledger_add(&ledger, offset, next, (int64_t)count);
                batch->pending = random_below(&random, 3);
                batch->entry->pending += batch->pending++;
                offset = next + (int64_t)random_below(&random, 2); /* gaps of compacted topics */
            }
            for (size_t i = safe; i < count; i++)
                if (batches[i].pending && random_below(&random, 3) == 0) {
                    batches[i].pending--;
                    batches[i].entry->pending--;
                }
            ledger_advance(&ledger);
            while (safe < count && batches[safe].pending == 0)
                safe++;
            if (safe < count)
                assert_int_equal(ledger.first->first_offset, batches[safe].first_offset);
            else
                assert_null(ledger.first);
        }
        assert_null(ledger.last);
        ledger_free(&ledger);
    }
}

static void test_rows_are_kept(void **state)
{
    struct ledger ledger = {0};
    struct ledger_entry *entry = ledger_add(&ledger, 7, 9, 0);

    for (unsigned i = 0; i < 100; i++)
        ledger_keep(entry, (struct ledger_row){.mark = (uint8_t)(i % 5), .notes = (uint8_t)(i % 3)});
    assert_int_equal(entry->row_count, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_true(entry->rows[i].mark == i % 5 && entry->rows[i].notes == i % 3);
    ledger_advance(&ledger);
    assert_ptr_equal(ledger.first, entry); /* the batch itself is not through */
    entry->pending--;
    ledger_advance(&ledger);
    assert_null(ledger.first);
    assert_int_equal(ledger.next_offset, 9);
    ledger_free(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owed),
        cmocka_unit_test(test_rows_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
