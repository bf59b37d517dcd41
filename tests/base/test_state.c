/* Packed values read back, damaged ones are found, and blocks that change while they are being saved keep the
 * moment of the cut. */
#include "base/memory.h"
#include "base/slots.h"
#include "base/state.h"
#include "tests/base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SLOTS = 5 * BLOCK_SLOTS + 7, ROUNDS = 300 };

static void test_pack(void **state)
{
    struct buffer out;
    struct id128 id = {.high = 0x0123456789abcdef, .low = UINT64_MAX};

    buffer_init(&out, 1000);
    pack_u8(&out, 250);
    pack_u16(&out, 65000);
    pack_u32(&out, 4000000000u);
    pack_u64(&out, UINT64_MAX - 1);
    pack_i64(&out, INT64_MIN);
    pack_double(&out, -0.0);
    pack_double(&out, NAN);
    pack_id(&out, id);
    pack_text(&out, span_make("a\0b", 3));
    pack_text(&out, (struct span){0});
    for (size_t size = 0; size <= out.size; size++) {
        struct unpack in = unpack_begin(span_make(out.data, size));
        bool same = unpack_u8(&in) == 250 && unpack_u16(&in) == 65000 && unpack_u32(&in) == 4000000000u &&
                    unpack_u64(&in) == UINT64_MAX - 1 && unpack_i64(&in) == INT64_MIN;
        double zero = unpack_double(&in), nan = unpack_double(&in);
        struct id128 read = unpack_id(&in);
        struct span text = unpack_text(&in), empty = unpack_text(&in);

        assert_int_equal(unpack_ended(&in), size == out.size);
        if (size == out.size) {
            assert_true(same && zero == 0 && signbit(zero) && isnan(nan) && id_equal(read, id));
            assert_true(span_equal(text, span_make("a\0b", 3)) && empty.size == 0);
        }
    }
    buffer_free(&out);
}

/* A table of numbers as a user of blocks: `saved` is the store. */
struct table {
    struct blocks blocks;
    uint64_t values[SLOTS], saved[SLOTS], at_cut[SLOTS];
};

static void save_block(struct table *table, uint32_t block)
{
    for (uint32_t slot = block * BLOCK_SLOTS; slot < (block + 1) * BLOCK_SLOTS && slot < SLOTS; slot++)
        table->saved[slot] = table->values[slot];
    blocks_saved(&table->blocks, block);
}

static void test_cut_is_kept(void **state)
{
    struct table *table = memory_new(sizeof *table);
    uint64_t random = 11;
    size_t saved = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t changes = random_below(&random, 3);

        blocks_freeze(&table->blocks);
        memcpy(table->at_cut, table->values, sizeof table->values);
        while (table->blocks.frozen || changes) {
            uint32_t slot = (uint32_t)random_below(&random, SLOTS);

            if (changes && random_below(&random, 2)) {
                changes--;
                if (blocks_touch(&table->blocks, slot))
                    save_block(table, slot / BLOCK_SLOTS);
                table->values[slot]++;
            } else if (table->blocks.frozen) {
                save_block(table, blocks_next_frozen(&table->blocks));
                saved++;
            }
        }
        assert_int_equal(blocks_next_frozen(&table->blocks), UINT32_MAX);
        assert_memory_equal(table->saved, table->at_cut, sizeof table->saved);
    }
    assert_true(saved < ROUNDS * 3); /* what did not change is not saved again */
    blocks_free(&table->blocks);
    free(table);
}

static void test_slots_restored(void **state)
{
    struct slots before, after;
    struct id128 keys[SLOTS];
    uint32_t numbers[SLOTS];
    uint64_t random = 3;
    bool is_new;

    slots_init(&before, SLOTS);
    slots_init(&after, SLOTS);
    for (unsigned i = 0; i < SLOTS; i++) {
        keys[i] = (struct id128){.high = random_below(&random, 1 << 30), .low = i};
        numbers[i] = slots_add(&before, keys[i], &is_new);
    }
    for (unsigned i = 0; i < SLOTS; i += 3)
        slots_remove(&before, keys[i]);
    for (unsigned i = SLOTS; i-- > 0;)
        if (i % 3)
            assert_true(slots_restore(&after, keys[i], numbers[i]));
    slots_restored(&after);
    assert_false(slots_restore(&after, keys[1], numbers[0])); /* the key is there */
    assert_false(slots_restore(&after, keys[0], SLOTS));      /* beyond the limit */
    for (unsigned i = 0; i < SLOTS; i++)
        assert_int_equal(slots_find(&after, keys[i]), i % 3 ? numbers[i] : SLOT_NONE);
    for (unsigned i = 0; i < SLOTS; i += 3) /* all that was freed is given out again */
        assert_true(slots_add(&after, keys[i], &is_new) < SLOTS && is_new);
    assert_int_equal(after.used, SLOTS);
    slots_free(&before);
    slots_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_cut_is_kept),
        cmocka_unit_test(test_slots_restored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
