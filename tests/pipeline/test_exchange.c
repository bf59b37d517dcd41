/* Records between two threads arrive once, in order and whole, also when rings are full and records are
 * larger than a block. */
#include "base/memory.h"
#include "pipeline/exchange.h"
#include "tests/base/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { RECORDS = 20000, WORKERS = 2, TEXT_MAX = 3000, HUGE_TEXT = 100 * 1000 };

struct numbered {
    struct record head;
    uint32_t sender, number;
    struct span text; /* in the record */
};

static uint32_t text_size(uint32_t sender, uint32_t number)
{
    uint64_t random = sender * 1000003u + number;
    uint64_t size = random_next(&random);

    return number % 1000 == 999 ? HUGE_TEXT : (uint32_t)(size % (number % 10 ? 40 : TEXT_MAX));
}

static void send_one(struct exchange_port *port, unsigned target, uint32_t sender, uint32_t number)
{
    static const char letters[HUGE_TEXT];
    uint32_t size = text_size(sender, number);
    struct numbered *record = exchange_record(port, target, RECORD_ROW, sizeof *record + size);
    char *cursor = (char *)(record + 1);

    assert_int_equal(record->head.size % 8, 0);
    record->sender = sender;
    record->number = number;
    record->text = record_text(&cursor, span_make(letters, size));
    memset((char *)(record + 1), (int)('a' + number % 26), size);
}

static void check_one(const struct numbered *record, uint32_t sender, uint32_t *expected)
{
    assert_int_equal(record->head.type, RECORD_ROW);
    assert_int_equal(record->sender, sender);
    assert_int_equal(record->number, *expected);
    assert_int_equal(record->text.size, text_size(sender, *expected));
    assert_ptr_equal(record->text.data, record + 1);
    if (record->text.size) {
        assert_int_equal(record->text.data[0], 'a' + *expected % 26);
        assert_int_equal(record->text.data[record->text.size - 1], 'a' + *expected % 26);
    }
    ++*expected;
}

static bool receive(struct exchange_port *port, uint32_t expected[WORKERS])
{
    struct block *block = exchange_receive(port);

    if (!block)
        return false;
    for (uint32_t at = 0; at < block->used;) {
        const struct numbered *record = (const struct numbered *)(block->bytes + at);

        check_one(record, record->sender, &expected[record->sender]);
        at += record->head.size;
    }
    block_release(block);
    return true;
}

struct peer {
    struct exchange_port *port;
    unsigned number;
    uint32_t got[WORKERS];
    bool stalled;
};

/* Sends to itself and to the other as a worker does: nothing new while a ring is full, but always receiving.
 * */
static void *run_peer(void *argument)
{
    struct peer *peer = argument;
    uint64_t random = peer->number;
    uint32_t sent = 0;

    while (sent < RECORDS || peer->got[0] < RECORDS || peer->got[1] < RECORDS) {
        if (exchange_stalled(peer->port))
            peer->stalled = true;
        else
            for (uint64_t burst = random_below(&random, 500); burst > 0 && sent < RECORDS; burst--, sent++)
                for (unsigned target = 0; target < WORKERS; target++)
                    send_one(peer->port, target, peer->number, sent);
        if (random_below(&random, 4) || sent == RECORDS)
            exchange_flush(peer->port);
        for (uint64_t turns = random_below(&random, 3); turns > 0 || sent == RECORDS; turns--)
            if (!receive(peer->port, peer->got))
                break;
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    struct exchange *exchange = exchange_new(WORKERS);
    struct peer peers[WORKERS] = {0};
    pthread_t thread;

    for (unsigned i = 0; i < WORKERS; i++)
        peers[i] = (struct peer){.port = exchange_port(exchange, i), .number = i};
    assert_int_equal(pthread_create(&thread, NULL, run_peer, &peers[1]), 0);
    run_peer(&peers[0]);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned s = 0; s < WORKERS; s++)
            assert_int_equal(peers[i].got[s], RECORDS);
    exchange_free(exchange);
}

/* With nobody receiving, blocks wait with the sender and nothing is lost or turned round. */
static void test_full_ring(void **state)
{
    struct exchange *exchange = exchange_new(WORKERS);
    struct exchange_port *sender = exchange_port(exchange, 0), *target = exchange_port(exchange, 1);
    uint32_t sent = 0, expected[WORKERS] = {0};

    assert_false(exchange_stalled(sender));
    while (!exchange_stalled(sender)) {
        send_one(sender, 1, 0, sent++);
        exchange_flush(sender);
        assert_true(sent < RECORDS);
    }
    for (unsigned more = 0; more < 1000; more++)
        send_one(sender, 1, 0, sent++);
    exchange_flush(sender);
    while (expected[0] < sent) {
        while (receive(target, expected))
            continue;
        exchange_flush(sender);
    }
    assert_false(exchange_stalled(sender));
    assert_false(receive(target, expected));
    exchange_free(exchange);
}

/* What is under way at the end is freed: begun, waiting and in the ring. */
static void test_free_under_way(void **state)
{
    struct exchange *exchange = exchange_new(3);
    struct exchange_port *sender = exchange_port(exchange, 2);

    for (uint32_t sent = 0; sent < 400; sent++) {
        send_one(sender, sent % 3, 2, sent);
        if (sent < 395)
            exchange_flush(sender);
    }
    exchange_free(exchange);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_full_ring),
        cmocka_unit_test(test_free_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
