/* Documents of one outlet: all come out in order whatever goes to the store in between, and a cut with
 * what is acknowledged after it brings back exactly what was not. */
#include "pipeline/outbox.h"

#include "base/memory.h"
#include "tests/pipeline/fake_store.h"
#include "tests/pipeline/support.h"

#include <stdlib.h>

struct world {
    struct store *store;
    struct keeper *keeper;
    _Atomic uint64_t stored_bytes;
    struct outbox_keys acknowledged;
    struct outbox outbox;
};

static void world_begin(struct world *world, bool takes_back)
{
    if (!world->store)
        world->store = fake_store_new();
    world->keeper = keeper_new(&(struct keeper_stores){.store = world->store}, NULL, NULL);
    atomic_store(&world->stored_bytes, 0);
    outbox_open(&world->outbox, &(struct outbox_context){.sink = 7,
                                                         .lane = 1,
                                                         .takes_back = takes_back,
                                                         .keeper = world->keeper,
                                                         .stored_bytes = &world->stored_bytes,
                                                         .acknowledged = &world->acknowledged});
}

static void world_crash(struct world *world)
{
    keeper_free(world->keeper);
    outbox_close(&world->outbox);
    free(world->acknowledged.items);
    world->acknowledged = (struct outbox_keys){0};
}

static void world_end(struct world *world)
{
    world_crash(world);
    fake_store_free(world->store);
}

static void push(struct world *world, uint64_t number, size_t size)
{
    char *body = memory_new(size + 1);

    memset(body, 'x', size);
    outbox_push(
        &world->outbox,
        &(struct outbox_document){.kind = DOC_BUCKET, .id = {.low = number}, .body = span_make(body, size)});
    free(body);
}

static struct outbox_item *take(struct world *world, uint64_t number)
{
    struct outbox_item *item = world->outbox.offer_at;

    assert_non_null(item);
    assert_int_equal(item->document.id.low, number);
    assert_ptr_equal(outbox_take(&world->outbox), item);
    return item;
}

static void turn(struct world *world)
{
    outbox_advance(&world->outbox);
    fake_keeper_drain(world->keeper);
    outbox_advance(&world->outbox);
}

static void save(struct world *world)
{
    size_t budget = SIZE_MAX, turns = 0;

    while (!outbox_save(&world->outbox, &budget)) {
        turn(world);
        assert_true(turns++ < 1000);
    }
}

static bool accept(void *owner, const struct outbox_document *document)
{
    return true;
}

static void restore(struct world *world, uint64_t next, unsigned workers)
{
    struct error error;

    outbox_restore(&world->outbox, 1, next);
    assert_int_equal(outbox_restored(&world->outbox, world->store, workers, accept, NULL, &error), STATUS_OK);
}

enum { MANY = 100000, BODY = 400 };

static void memory_is_bounded_and_the_order_kept(void **state)
{
    struct world world = {0};

    world_begin(&world, false);
    for (uint64_t i = 0; i < MANY; i++) {
        push(&world, i, BODY);
        if (i % 100 == 0)
            turn(&world);
        assert_true(world.outbox.memory_bytes < OUTBOX_MEMORY_BYTES + 3 * 1024 * 1024);
        assert_false(outbox_full(&world.outbox));
    }
    assert_int_equal(world.outbox.documents, MANY);
    for (uint64_t i = 0; i < MANY + 5000; i++) {
        while (!world.outbox.offer_at)
            turn(&world);
        outbox_acknowledge(&world.outbox, take(&world, i));
        if (i < 5000)
            push(&world, MANY + i, BODY);
        if (i % 100 == 0)
            turn(&world);
        assert_true(world.outbox.memory_bytes < OUTBOX_MEMORY_BYTES + 5 * 1024 * 1024);
    }
    turn(&world);
    assert_int_equal(world.outbox.documents, 0);
    assert_int_equal(world.outbox.memory_bytes, 0);
    assert_int_equal(atomic_load(&world.stored_bytes), 0);
    assert_false(world.outbox.spilled);
    assert_true(world.store->puts < 100);
    fake_store_remove(world.store, world.acknowledged.items, world.acknowledged.count);
    assert_int_equal(world.store->document_count, 0);
    world_end(&world);
}

static void refused_by_the_store_it_is_full(void **state)
{
    struct world world = {0};
    uint64_t i = 0;

    world_begin(&world, false);
    world.store->refusing = true;
    for (; !outbox_full(&world.outbox); i++) {
        push(&world, i, BODY);
        turn(&world);
    }
    assert_true(world.outbox.memory_bytes < 2 * OUTBOX_MEMORY_BYTES + 1024);
    world.store->refusing = false;
    turn(&world);
    assert_false(outbox_full(&world.outbox));
    world_end(&world);
}

static void a_cut_keeps_what_is_not_acknowledged(void **state)
{
    struct world world = {0};

    world_begin(&world, false);
    for (uint64_t i = 0; i < 10; i++)
        push(&world, i, BODY);
    struct outbox_item *first = take(&world, 0), *second = take(&world, 1);
    outbox_acknowledge(&world.outbox, second);
    outbox_freeze(&world.outbox);
    outbox_acknowledge(&world.outbox, first); /* meanwhile: need not be stored */
    push(&world, 10, BODY);                   /* after the cut */
    save(&world);
    assert_int_equal(world.store->document_count, 8);
    outbox_acknowledge(&world.outbox, take(&world, 2));
    assert_int_equal(world.acknowledged.count, 1);
    assert_int_equal(world.store->document_count, 8); /* until the next flip */
    world_crash(&world);

    world_begin(&world, false);
    restore(&world, 10, 2);
    assert_int_equal(world.outbox.documents, 8);
    push(&world, 10, BODY); /* computed again, behind what comes from the store */
    assert_null(world.outbox.offer_at);
    for (uint64_t i = 2; i <= 10; i++) {
        while (!world.outbox.offer_at)
            turn(&world);
        outbox_acknowledge(&world.outbox, take(&world, i));
    }
    assert_int_equal(world.outbox.documents, 0);
    world_end(&world);
}

static void what_a_sink_takes_back_is_stored_though_acknowledged(void **state)
{
    struct world world = {0};

    world_begin(&world, true);
    for (uint64_t i = 0; i < 3; i++)
        push(&world, i, BODY);
    struct outbox_item *first = take(&world, 0);
    outbox_freeze(&world.outbox);
    outbox_acknowledge(&world.outbox, first);
    save(&world);
    assert_int_equal(world.store->document_count, 3);
    assert_int_equal(world.acknowledged.count, 1);
    assert_int_equal(world.outbox.documents, 2);
    world_end(&world);
}

static void documents_after_the_cut_are_forgotten(void **state)
{
    struct world world = {0};

    world_begin(&world, false);
    for (uint64_t i = 0; i < 5; i++)
        push(&world, i, 20 * 1024 * 1024); /* each alone is more than the memory: to the store */
    turn(&world);
    assert_int_equal(world.store->document_count, 5);
    world_crash(&world);
    world_begin(&world, false);
    restore(&world, 3, 2);
    assert_int_equal(world.store->document_count, 3);
    assert_int_equal(world.outbox.next_sequence, 3);
    world_crash(&world);
    world_begin(&world, false);
    struct error error;
    assert_int_equal(outbox_restored(&world.outbox, world.store, 2, accept, NULL, &error), STATUS_OK);
    assert_int_equal(world.store->document_count, 0); /* a lane that no cut knows */
    world_end(&world);
}

static void lanes_of_workers_that_are_no_more_come_first(void **state)
{
    struct world world = {0};
    struct error error;

    world_begin(&world, false);
    for (uint64_t lane = 0; lane < 6; lane++)
        for (uint64_t i = 0; i < 2; i++)
            store_outbox_put(world.store,
                             &(struct outbox_document){
                                 .place = {7, lane, i}, .kind = DOC_RUN, .id = {.low = lane * 10 + i}},
                             1, &error);
    for (uint64_t lane = 0; lane < 6; lane++)
        outbox_restore(&world.outbox, lane, 2);
    assert_int_equal(outbox_restored(&world.outbox, world.store, 2, accept, NULL, &error), STATUS_OK);
    push(&world, 99, 1);
    static const uint64_t expected[] = {30, 31, 50, 51, 10, 11, 99};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        for (unsigned turns = 0; !world.outbox.offer_at && turns < 10; turns++)
            turn(&world);
        outbox_acknowledge(&world.outbox, take(&world, expected[i]));
    }
    world_end(&world);
}

static void without_a_store_the_memory_is_the_limit(void **state)
{
    struct outbox outbox;
    struct outbox_keys keys = {0};

    outbox_open(&outbox, &(struct outbox_context){.acknowledged = &keys});
    char body[BODY] = {0};
    for (size_t i = 0; !outbox_full(&outbox); i++) {
        assert_true(i < MANY);
        outbox_push(&outbox, &(struct outbox_document){.body = span_make(body, BODY)});
        outbox_advance(&outbox);
    }
    outbox_acknowledge(&outbox, outbox_take(&outbox));
    assert_false(outbox_full(&outbox));
    outbox_close(&outbox);
}

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

enum { INPUTS = 120, BIG = 3 * 1024 * 1024, LOG_MAX = 16 * INPUTS };

/* A sink that takes a few documents at a time and can be taken back to a mark, or tells twice. */
struct trial {
    struct world world;
    bool takes_back;
    uint64_t at, cut_at, next_cut; /* inputs told: now, at the complete cut, at the one under way */
    size_t count, mark, next_mark; /* of the log, likewise */
    uint64_t cut_sequence, next_sequence;
    bool cutting;
    struct outbox_keys frozen;
    uint64_t log[LOG_MAX];
    struct outbox_item *taken[4];
    size_t taken_count;
};

static void trial_freeze(struct trial *trial)
{
    struct outbox_keys emptied = trial->frozen;

    trial->frozen = trial->world.acknowledged;
    trial->world.acknowledged = emptied;
    outbox_freeze(&trial->world.outbox);
    trial->next_sequence = trial->world.outbox.next_sequence;
    trial->next_cut = trial->at;
    trial->next_mark = trial->count;
    trial->cutting = true;
}

static void trial_save(struct trial *trial)
{
    size_t budget = 1 + draw(BIG);

    if (!outbox_save(&trial->world.outbox, &budget))
        return;
    fake_store_remove(trial->world.store, trial->frozen.items, trial->frozen.count);
    trial->frozen.count = 0;
    trial->cut_sequence = trial->next_sequence;
    trial->cut_at = trial->next_cut;
    trial->mark = trial->next_mark;
    trial->cutting = false;
}

static void trial_restart(struct trial *trial)
{
    world_crash(&trial->world);
    trial->frozen.count = trial->taken_count = 0;
    trial->cutting = false;
    world_begin(&trial->world, trial->takes_back);
    restore(&trial->world, trial->cut_sequence, 2);
    trial->at = trial->cut_at;
    trial->count = trial->takes_back ? trial->mark : trial->count;
}

static void trial_finish_one(struct trial *trial)
{
    struct outbox_item *item = trial->taken[0];

    assert_true(trial->count < LOG_MAX);
    trial->log[trial->count++] = item->document.id.low;
    memmove(trial->taken, trial->taken + 1, --trial->taken_count * sizeof(struct outbox_item *));
    outbox_acknowledge(&trial->world.outbox, item);
}

static void trial_turn(struct trial *trial, bool down)
{
    unsigned chance = draw(100);

    outbox_advance(&trial->world.outbox);
    if (chance < 35 && trial->at < INPUTS && !outbox_full(&trial->world.outbox))
        push(&trial->world, trial->at++, draw(BIG));
    else if (chance < 55 && trial->world.outbox.offer_at && trial->taken_count < 4)
        trial->taken[trial->taken_count++] = outbox_take(&trial->world.outbox);
    else if (chance < 65 && trial->taken_count > 0 && !down)
        trial_finish_one(trial);
    else if (chance < 80)
        keeper_step(trial->world.keeper, 0);
    else if (chance < 88 && trial->cutting)
        trial_save(trial);
    else if (chance < 91 && !trial->cutting)
        trial_freeze(trial);
    else if (chance < 92 && draw(4) == 0)
        trial_restart(trial);
}

static void nothing_is_lost_whenever_it_crashes(void **state)
{
    struct trial *trial = memory_new(sizeof *trial);

    for (uint64_t round = 0; round < 12; round++) {
        bool seen[INPUTS] = {0};
        size_t distinct = 0;

        seed = round;
        *trial = (struct trial){.takes_back = round % 2};
        world_begin(&trial->world, trial->takes_back);
        for (unsigned turns = 0; turns < 1200; turns++)
            trial_turn(trial, turns / 200 % 2);
        while (trial->at < INPUTS || trial->world.outbox.documents > 0 || trial->cutting)
            trial_turn(trial, false);
        for (size_t i = 0; i < trial->count; i++) {
            distinct += !seen[trial->log[i]];
            seen[trial->log[i]] = true;
            if (trial->takes_back)
                assert_int_equal(trial->log[i], i);
        }
        assert_int_equal(distinct, INPUTS);
        free(trial->frozen.items);
        world_end(&trial->world);
    }
    free(trial);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_bounded_and_the_order_kept),
        cmocka_unit_test(refused_by_the_store_it_is_full),
        cmocka_unit_test(a_cut_keeps_what_is_not_acknowledged),
        cmocka_unit_test(what_a_sink_takes_back_is_stored_though_acknowledged),
        cmocka_unit_test(documents_after_the_cut_are_forgotten),
        cmocka_unit_test(lanes_of_workers_that_are_no_more_come_first),
        cmocka_unit_test(without_a_store_the_memory_is_the_limit),
        cmocka_unit_test(nothing_is_lost_whenever_it_crashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
