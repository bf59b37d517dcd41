/* The queue against a model: whatever is sent, refused, halved and probed, each document is finished once,
 * documents keep their text, an id is under way in one bulk at a time and its versions go out in order. */
#include "sinks/bulk.h"

#include "tests/base/random.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { IDS = 40, DOCUMENTS = 3000, FLYING_MAX = 4 };

struct model {
    struct bulk_queue queue;
    uint64_t random;
    int64_t now_us;
    struct bulk *flying[FLYING_MAX];
    size_t flying_count;
    uint64_t put, finished;
    bool done[DOCUMENTS + 1];
};

static uint32_t draw(struct model *model, uint32_t below)
{
    return (uint32_t)random_below(&model->random, below);
}

static void put_one(struct model *model)
{
    uint64_t id = draw(model, IDS), ticket = ++model->put;
    bool versioned = id % 2 == 0;
    struct bulk_item item = {
        .id = {.high = versioned ? 1 : ticket + 1, .low = id}, .ticket = ticket, .versioned = versioned};
    char action[64], body[256];
    int action_size = snprintf(action, sizeof action, "{\"create\":{\"_id\":\"%lu\"}}\n", (unsigned long)id);
    int body_size = snprintf(body, sizeof body, "{\"ticket\":%lu,\"pad\":\"%.*s\"}", (unsigned long)ticket,
                             (int)draw(model, 100),
                             "................................................................"
                             "....................................");

    bulk_queue_put(&model->queue, &item, span_make(action, (size_t)action_size),
                   span_make(body, (size_t)body_size));
}

/* The text is exactly the items, in their places. */
static void assert_text(const struct bulk *bulk)
{
    size_t at = 0;

    for (size_t i = 0; i < bulk->count; i++) {
        const struct bulk_item *item = &bulk->items[i];
        struct span body = bulk_body(bulk, item);
        unsigned long ticket = 0;
        char beginning[32]; /* sscanf reads on to a null byte */

        assert_int_equal(item->start, at);
        at += (size_t)item->action_size + item->body_size + 1;
        snprintf(beginning, sizeof beginning, "%.*s", (int)body.size, body.data);
        assert_int_equal(sscanf(beginning, "{\"ticket\":%lu,", &ticket), 1);
        assert_int_equal(ticket, item->ticket);
        assert_int_equal(bulk->text.data[at - 1], '\n');
    }
    assert_int_equal(at, bulk->text.size);
}

static void assert_alone(const struct model *model, const struct bulk *bulk)
{
    for (size_t f = 0; f < model->flying_count; f++)
        for (size_t i = 0; i < bulk->count; i++)
            for (size_t k = 0; k < model->flying[f]->count; k++)
                assert_false(id_equal(bulk->items[i].id, model->flying[f]->items[k].id));
}

static void send_one(struct model *model)
{
    struct bulk *bulk =
        model->flying_count < FLYING_MAX ? bulk_queue_next(&model->queue, model->now_us) : NULL;

    if (!bulk)
        return;
    assert_true(bulk->count > 0);
    assert_text(bulk);
    assert_alone(model, bulk);
    bulk->flying = true;
    model->flying[model->flying_count++] = bulk;
}

static void finish(struct model *model, struct bulk_item *item)
{
    item->finished = true;
    assert_false(model->done[item->ticket]);
    model->done[item->ticket] = true;
    model->finished++;
}

/* No bulk may go out with a version while an older version waits in another bulk. */
static void assert_order(const struct model *model, const struct bulk *sent)
{
    for (const struct bulk *bulk = model->queue.oldest; bulk; bulk = bulk->newer)
        for (size_t i = 0; bulk != sent && i < bulk->count; i++)
            for (size_t k = 0; k < sent->count; k++)
                if (bulk->items[i].versioned && id_equal(bulk->items[i].id, sent->items[k].id))
                    assert_true(bulk->items[i].ticket > sent->items[k].ticket);
}

static void answer_one(struct model *model)
{
    if (model->flying_count == 0)
        return;
    size_t place = draw(model, (uint32_t)model->flying_count);
    struct bulk *bulk = model->flying[place];
    uint32_t kind = draw(model, 10);

    assert_order(model, bulk);
    model->flying[place] = model->flying[--model->flying_count];
    if (kind == 0 && bulk->count > 1) {
        bulk_halve(&model->queue, bulk);
        return;
    }
    for (size_t i = 0; i < bulk->count && kind != 1; i++)
        if (draw(model, 4) > 0)
            finish(model, &bulk->items[i]);
        else
            bulk->items[i].refused = draw(model, 3) == 0;
    bulk_return(&model->queue, bulk, model->now_us + draw(model, 20));
}

static void probe_one(struct model *model)
{
    struct bulk *bulk = bulk_queue_probe(&model->queue);

    assert_true(bulk == NULL || model->flying_count == 0);
    if (!bulk)
        return;
    assert_int_equal(bulk->count, 1);
    bulk->flying = true;
    if (draw(model, 2))
        finish(model, &bulk->items[0]);
    bulk_return(&model->queue, bulk, 0);
}

static void assert_books(const struct model *model)
{
    size_t bytes = 0, items = 0, bulks = 0;

    for (const struct bulk *bulk = model->queue.oldest; bulk; bulk = bulk->newer, bulks++) {
        bytes += bulk->text.size;
        items += bulk->count;
        assert_true(bulk->newer ? bulk->newer->older == bulk : model->queue.newest == bulk);
    }
    assert_int_equal(bytes, model->queue.bytes);
    assert_int_equal(items, model->queue.items);
    assert_int_equal(bulks, model->queue.bulks);
    assert_int_equal(items, model->put - model->finished);
}

static void run_model(uint64_t seed)
{
    struct model model = {.random = seed};

    bulk_queue_init(&model.queue,
                    (struct bulk_limits){.bulk_bytes = 2000, .bulk_items = 12, .queue_bytes = 100000});
    for (unsigned step = 0; step < 200000 && model.finished < DOCUMENTS; step++) {
        uint32_t kind = draw(&model, 40);

        model.now_us++;
        if (step % 500 == 0)
            model.queue.limits.bulk_bytes = 200 + draw(&model, 1800);
        if (kind < 18 && model.put < DOCUMENTS && bulk_queue_fits(&model.queue, 400))
            put_one(&model);
        else if (kind < 20)
            bulk_queue_seal(&model.queue);
        else if (kind < 30)
            send_one(&model);
        else
            answer_one(&model);
        if (step % 16 == 0)
            assert_books(&model);
    }
    assert_int_equal(model.finished, DOCUMENTS);
    assert_int_equal(model.queue.items, 0);
    assert_int_equal(model.queue.bytes, 0);
    assert_int_equal(model.queue.claims.used, 0);
    bulk_queue_free(&model.queue);
}

static void test_against_model(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_model(seed);
}

/* Probes may pass an older version of their id (the external version makes that safe), nothing else
 * changes. */
static void test_with_probes(void **state)
{
    for (uint64_t seed = 100; seed <= 106; seed++) {
        struct model model = {.random = seed};

        bulk_queue_init(&model.queue,
                        (struct bulk_limits){.bulk_bytes = 2000, .bulk_items = 12, .queue_bytes = 100000});
        for (unsigned step = 0; step < 100000 && model.finished < DOCUMENTS; step++) {
            if (model.put < DOCUMENTS && bulk_queue_fits(&model.queue, 400))
                put_one(&model);
            probe_one(&model);
            if (step % 64 == 0)
                assert_books(&model);
        }
        assert_int_equal(model.finished, DOCUMENTS);
        bulk_queue_free(&model.queue);
    }
}

static void put_text(struct bulk_queue *queue, uint64_t id, uint64_t ticket, const char *body)
{
    struct bulk_item item = {.id = {.low = id}, .ticket = ticket, .versioned = true};

    bulk_queue_put(queue, &item, SPAN_LITERAL("{}\n"), span_of(body));
}

static void test_newer_version_waits(void **state)
{
    struct bulk_queue queue;

    bulk_queue_init(&queue, (struct bulk_limits){.bulk_bytes = 1000, .bulk_items = 10, .queue_bytes = 10000});
    put_text(&queue, 1, 1, "{\"a\":1}");
    bulk_queue_seal(&queue);
    put_text(&queue, 1, 2, "{\"a\":2}");
    put_text(&queue, 2, 3, "{\"b\":1}");
    bulk_queue_seal(&queue);
    struct bulk *first = bulk_queue_next(&queue, 0);

    first->flying = true;
    struct bulk *second = bulk_queue_next(&queue, 0);

    assert_int_equal(second->count, 1);
    assert_int_equal(second->items[0].ticket, 3);
    second->flying = true;
    assert_null(bulk_queue_next(&queue, 0));
    bulk_return(&queue, first, 5); /* nothing finished: it still holds the id */
    assert_null(bulk_queue_next(&queue, 0));
    first = bulk_queue_next(&queue, 5);
    assert_int_equal(first->items[0].ticket, 1);
    first->flying = true;
    first->items[0].finished = true;
    bulk_return(&queue, first, 0);
    struct bulk *third = bulk_queue_next(&queue, 5);

    assert_int_equal(third->count, 1);
    assert_int_equal(third->items[0].ticket, 2);
    bulk_queue_free(&queue);
}

static void test_seals_before_limits(void **state)
{
    struct bulk_queue queue;
    char large[2000];

    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    bulk_queue_init(&queue, (struct bulk_limits){.bulk_bytes = 1000, .bulk_items = 3, .queue_bytes = 3000});
    assert_true(bulk_queue_fits(&queue, 100000)); /* an empty queue takes a document of any size */
    for (uint64_t i = 1; i <= 4; i++)
        put_text(&queue, i, i, "{}");
    assert_int_equal(queue.bulks, 2);
    assert_int_equal(queue.oldest->count, 3);
    put_text(&queue, 5, 5, large);
    assert_int_equal(queue.bulks, 3);
    assert_int_equal(queue.newest->count, 1);
    assert_false(bulk_queue_fits(&queue, 1000));
    assert_true(bulk_queue_fits(&queue, 3000 - queue.bytes));
    bulk_queue_free(&queue);
}

static void test_leftovers_merge_and_shrink(void **state)
{
    struct bulk_queue queue;
    struct bulk *sent[8];
    char large[20001];

    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    bulk_queue_init(&queue,
                    (struct bulk_limits){.bulk_bytes = 1 << 20, .bulk_items = 100, .queue_bytes = 1 << 26});
    for (uint64_t bulk = 0; bulk < 8; bulk++) {
        for (uint64_t i = 0; i < 40; i++)
            put_text(&queue, bulk * 100 + i, bulk * 100 + i, i ? large : "{}");
        bulk_queue_seal(&queue);
    }
    for (size_t b = 0; b < 8; b++) {
        sent[b] = bulk_queue_next(&queue, 0);
        sent[b]->flying = true;
    }
    for (size_t b = 0; b < 8; b++) {
        for (size_t i = 1; i < sent[b]->count; i++)
            sent[b]->items[i].finished = true;
        bulk_return(&queue, sent[b], 10);
    }
    assert_int_equal(queue.bulks, 1);
    assert_int_equal(queue.items, 8);
    assert_true(queue.oldest->text.capacity < 64 * 1024);
    struct bulk *bulk = bulk_queue_next(&queue, 10);

    for (size_t i = 0; i < 8; i++)
        assert_int_equal(bulk->items[i].ticket, i * 100);
    bulk_queue_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_with_probes),
        cmocka_unit_test(test_newer_version_waits),
        cmocka_unit_test(test_seals_before_limits),
        cmocka_unit_test(test_leftovers_merge_and_shrink),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
