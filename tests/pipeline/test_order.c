/* The order against a search for the least, with pushes and pops mixed; blocks are given back with their last
 * record. */
#include "base/memory.h"
#include "pipeline/order.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ENTRIES = 1500, BLOCKS = 7, ROUNDS = 40, TAKEN = 9 };

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
static struct order_entry random_entry(uint64_t *random, int64_t from_us, uint64_t within_us, uint16_t item)
{
    return (struct order_entry){
        .order_us = (int64_t)((uint64_t)from_us + random_below(random, within_us)),
        .time_us = (int64_t)random_below(random, 3),
        .rank = (uint8_t)random_below(random, 3),
        .partition = (uint32_t)random_below(random, 3),
        .offset = (int64_t)random_below(random, 3),
        .item = item,
    };
}

static struct order_entry take_least(struct order_entry *entries, size_t *count)
{
    size_t least = 0;

    for (size_t i = 1; i < *count; i++)
        if (compare(&entries[i], &entries[least]) < 0)
            least = i;
    struct order_entry entry = entries[least];
    entries[least] = entries[--*count];
    return entry;
}

struct model { /* what waits */
    struct order_entry entries[ENTRIES];
    size_t count, bytes;
};

static void assert_taken(struct model *model, const struct order_entry *taken)
{
    struct order_entry least = take_least(model->entries, &model->count);

    assert_int_equal(compare(taken, &least), 0);
    model->bytes -= least.record->size;
}

/* A round of pushes and pops; times rise by `step_us` an entry, so that piles come and go. */
static void mix(struct order *order, struct block *const *blocks, uint64_t within_us, int64_t step_us,
                uint64_t *random)
{
    static const struct record records[] = {{.size = 16}, {.size = 40}};
    static struct model model;
    size_t pushed = 0;

    model = (struct model){0};
    while (pushed < ENTRIES || model.count) {
        struct order_entry taken[TAKEN];

        if (pushed < ENTRIES && random_below(random, 4)) {
            int64_t from_us = (within_us > UINT64_MAX / 2 ? INT64_MIN : -2) + (int64_t)pushed * step_us;
            struct order_entry entry = random_entry(random, from_us, within_us, (uint16_t)pushed);

            entry.record = &records[pushed % 2];
            entry.block = blocks[pushed++ % BLOCKS];
            order_push(order, &entry);
            model.entries[model.count++] = entry;
            model.bytes += entry.record->size;
        } else if (model.count && random_below(random, 2)) {
            assert_taken(&model, order_first(order));
            order_pop(order);
        } else if (model.count) {
            int64_t until_us = model.entries[0].order_us;
            bool all = random_below(random, 10) == 0;
            size_t count = order_take(order, until_us, all, TAKEN, taken);

            for (size_t i = 0; i < count; i++) {
                assert_true(all || taken[i].order_us < until_us);
                assert_taken(&model, &taken[i]);
                block_release(taken[i].block);
            }
            assert_true(count == TAKEN || !order_first(order) ||
                        (!all && order_first(order)->order_us >= until_us));
        }
        assert_int_equal(order->count, model.count);
        assert_int_equal(order->bytes, model.bytes);
    }
    assert_null(order_first(order));
}

static void test_against_search(void **state)
{
    static const uint64_t within_us[] = {4, 1000, 10 * 1000 * 1000, UINT64_MAX};
    static const int64_t steps_us[] = {0, 1, 20000};
    struct order order = {0};
    uint64_t random = 3;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct block *blocks[BLOCKS];

        for (unsigned b = 0; b < BLOCKS; b++)
            blocks[b] = new_block();
        mix(&order, blocks, within_us[round % 4], steps_us[round % 3], &random);
        for (unsigned b = 0; b < BLOCKS; b++) {
            assert_int_equal(blocks[b]->references, 1);
            block_release(blocks[b]);
        }
    }
    order_free(&order);
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

    for (uint16_t item = 0; item < ENTRIES; item++)
        order_push(&order,
                   &(struct order_entry){
                       .order_us = item * 7919 % 1000, .item = item, .record = &record, .block = block});
    for (unsigned popped = 0; popped < ENTRIES / 2; popped++)
        order_pop(&order);
    for (uint16_t item = 0; item < ENTRIES / 2; item++)
        order_push(&order, &(struct order_entry){.order_us = 990 + item,
                                                 .item = (uint16_t)(ENTRIES + item),
                                                 .record = &record,
                                                 .block = block});
    order_freeze(&order, &frozen);
    assert_int_equal(block->references, 1 + 2 * ENTRIES);
    assert_int_equal(frozen.count, ENTRIES);
    qsort(frozen.entries, frozen.count, sizeof *frozen.entries, compare);
    for (unsigned i = 0; i < ENTRIES; i++, order_pop(&order)) {
        assert_int_equal(compare(&frozen.entries[i], order_first(&order)), 0);
        assert_ptr_equal(frozen.entries[i].block, block);
    }
    order_free(&order);
    order_frozen_free(&frozen);
    assert_int_equal(block->references, 1);
    block_release(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_search),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_freeze),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
