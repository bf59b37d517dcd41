/* Slots against the plainest model there is: a list of (key, slot) that is searched from its beginning. */
#include "base/slots.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { KEYS = 600, LIMIT = 400, STEPS = 60000 };

struct model {
    bool present[KEYS];
    uint32_t slot[KEYS];
    uint32_t count;
};

/* Keys that collide on purpose: equal low halves, so that the home depends on the high half alone. */
static struct id128 key_of(uint64_t number)
{
    return (struct id128){.high = number << 32 | number % 3, .low = number % 5};
}

static bool slot_is_taken(const struct model *model, uint32_t slot)
{
    for (int i = 0; i < KEYS; i++)
        if (model->present[i] && model->slot[i] == slot)
            return true;
    return false;
}

static void check_add(struct slots *slots, struct model *model, uint64_t i)
{
    bool new = model->present[i];
    uint32_t slot = slots_add(slots, key_of(i), &new);

    if (model->present[i]) {
        assert_false(new);
        assert_int_equal(slot, model->slot[i]);
    } else if (model->count == LIMIT) {
        assert_int_equal(slot, SLOT_NONE);
    } else {
        assert_true(new);
        assert_true(slot < LIMIT);
        assert_false(slot_is_taken(model, slot));
        model->present[i] = true;
        model->slot[i] = slot;
        model->count++;
    }
}

static void agrees_with_a_list(void **state)
{
    struct model model = {.count = 0};
    struct slots slots;
    uint64_t random = 1, adds_of_ten = 8;

    slots_init(&slots, LIMIT);
    for (int step = 0; step < STEPS; step++) {
        uint64_t i = random_below(&random, KEYS);

        if (step % 5000 == 0) /* phases that grow to the limit and phases that drain */
            adds_of_ten = step / 5000 % 2 ? 2 : 8;
        if (random_below(&random, 10) < adds_of_ten) {
            check_add(&slots, &model, i);
        } else {
            slots_remove(&slots, key_of(i));
            model.count -= model.present[i];
            model.present[i] = false;
        }
        assert_int_equal(slots.used, model.count);
        uint64_t asked = random_below(&random, KEYS);
        assert_int_equal(slots_find(&slots, key_of(asked)),
                         model.present[asked] ? model.slot[asked] : SLOT_NONE);
    }
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(slots_find(&slots, key_of((uint64_t)i)),
                         model.present[i] ? model.slot[i] : SLOT_NONE);
    slots_free(&slots);
}

static void numbers_are_dense_and_given_out_again(void **state)
{
    struct slots slots;
    bool new;

    slots_init(&slots, 100000);
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(slots_add(&slots, key_of(i), &new), i);
    assert_int_equal(slots_add(&slots, key_of(100000), &new), SLOT_NONE);
    for (uint32_t i = 0; i < 100000; i += 2)
        slots_remove(&slots, key_of(i));
    slots_remove(&slots, key_of(0)); /* absent: nothing happens */
    assert_int_equal(slots.used, 50000);
    for (uint32_t i = 0; i < 50000; i++) {
        uint32_t slot = slots_add(&slots, key_of(200000 + i), &new);

        assert_true(new);
        assert_true(slot < 100000 && slot % 2 == 0);
    }
    assert_int_equal(slots_add(&slots, key_of(300000), &new), SLOT_NONE);
    for (uint32_t i = 1; i < 100000; i += 2)
        assert_int_equal(slots_find(&slots, key_of(i)), i);
    slots_free(&slots);
}

static void an_empty_table_finds_nothing(void **state)
{
    struct slots slots;
    bool new;

    slots_init(&slots, 0);
    assert_int_equal(slots_find(&slots, key_of(1)), SLOT_NONE);
    assert_int_equal(slots_add(&slots, key_of(1), &new), SLOT_NONE);
    slots_remove(&slots, key_of(1));
    slots_free(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_list),
        cmocka_unit_test(numbers_are_dense_and_given_out_again),
        cmocka_unit_test(an_empty_table_finds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
