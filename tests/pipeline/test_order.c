/* The heap against a sorted array, with pushes and pops mixed; blocks are given back with their last record.
 * */
#include "base/memory.h"
#include "pipeline/order.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ENTRIES = 500, BLOCKS = 7 };

static int compare(const void *left, const void *right)
{
    const struct order_entry *a = left, *b = right;
    const int64_t pairs[][2] = {{a->order_us, b->order_us},   {a->time_us, b->time_us}, {a->rank, b->rank},
                                {a->partition, b->partition}, {a->offset, b->offset},   {a->item, b->item}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
    return 0;
}

static struct block *new_block(void)
{
    struct block *block = memory_new(sizeof *block);

    block->references = 1;
    return block;
}

/* Few different values, so that every part of the order decides somewhere; the item makes entries unequal. */
static struct order_entry random_entry(uint64_t *random, uint16_t item)
{
    return (struct order_entry){
        .order_us = (int64_t)random_below(random, 4) - 2,
        .time_us = (int64_t)random_below(random, 3),
        .rank = (uint8_t)random_below(random, 3),
        .partition = (uint32_t)random_below(random, 3),
        .offset = (int64_t)random_below(random, 3),
        .item = item,
    };
}

static void test_against_sorting(void **state)
{
    uint64_t random = 3;

    for (unsigned round = 0; round < 50; round++) {
        struct order_entry expected[ENTRIES];
        struct order order = {0};
        struct record record = {.size = 16};
        struct block *blocks[BLOCKS];
        size_t held = 0, pushed = 0, bytes = 0;

        for (unsigned b = 0; b < BLOCKS; b++)
            blocks[b] = new_block();
        while (pushed < ENTRIES || held) {
            if (pushed < ENTRIES && random_below(&random, 3)) {
                struct order_entry entry = random_entry(&random, (uint16_t)pushed);

                entry.record = &record;
                entry.block = blocks[pushed++ % BLOCKS];
                order_push(&order, &entry);
                expected[held++] = entry;
                bytes += record.size;
            } else if (held) {
                qsort(expected, held, sizeof *expected, compare);
                assert_int_equal(compare(order_first(&order), &expected[0]), 0);
                order_pop(&order);
                bytes -= record.size;
                memmove(expected, expected + 1, --held * sizeof *expected);
            }
            assert_int_equal(order.count, held);
            assert_int_equal(order.bytes, bytes);
        }
        assert_null(order_first(&order));
        for (unsigned b = 0; b < BLOCKS; b++) {
            assert_int_equal(blocks[b]->references, 1);
            block_release(blocks[b]);
        }
        order_free(&order);
    }
}

/* A block lives as long as one of its records waits; free gives back all. */
static void test_blocks(void **state)
{
    struct block *block = new_block();
    struct record record = {.size = 8};
    struct order order = {0};

    for (uint16_t item = 0; item < 3; item++)
        order_push(&order, &(struct order_entry){.item = item, .record = &record, .block = block});
    block_release(block);
    assert_int_equal(block->references, 3);
    order_pop(&order);
    assert_int_equal(block->references, 2);
    order_free(&order);
    assert_int_equal(order.count, 0);
}

/* What a cut took stays as it was, with its blocks, while the order goes on. */
static void test_freeze(void **state)
{
    struct block *block = new_block();
    struct record record = {.size = 8};
    struct order order = {0};
    struct order_frozen frozen;

    for (uint16_t item = 0; item < 5; item++)
        order_push(&order, &(struct order_entry){.item = item, .record = &record, .block = block});
    order_freeze(&order, &frozen);
    assert_int_equal(block->references, 11);
    order_free(&order);
    assert_int_equal(frozen.count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_ptr_equal(frozen.entries[i].block, block);
    order_frozen_free(&frozen);
    assert_int_equal(block->references, 1);
    block_release(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorting),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_freeze),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
