#include "pipeline/exchange.h"

#include "base/memory.h"

#include <assert.h>
#include <ck_ring.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 32 * 1024, RING_BLOCKS = 256 };

struct ring {
    ck_ring_t ring;
    ck_ring_buffer_t slots[RING_BLOCKS];
};

/* Blocks to one target: begun, and complete but not taken by the ring yet. */
struct outbound {
    struct block *begun, *first, *last;
};

struct exchange_port {
    struct exchange *exchange;
    unsigned worker, next_sender;
    struct outbound *outbound; /* a target */
};

struct exchange {
    unsigned workers;
    struct ring *rings; /* [sender * workers + target] */
    struct exchange_port *ports;
};

struct exchange *exchange_new(unsigned workers)
{
    struct exchange *exchange = memory_new(sizeof *exchange);

    exchange->workers = workers;
    exchange->rings = memory_new(sizeof *exchange->rings * workers * workers);
    exchange->ports = memory_new(sizeof *exchange->ports * workers);
    for (unsigned i = 0; i < workers * workers; i++)
        ck_ring_init(&exchange->rings[i].ring, RING_BLOCKS);
    for (unsigned i = 0; i < workers; i++)
        exchange->ports[i] = (struct exchange_port){
            .exchange = exchange, .worker = i, .outbound = memory_new(sizeof(struct outbound) * workers)};
    return exchange;
}

struct exchange_port *exchange_port(struct exchange *exchange, unsigned worker)
{
    assert(worker < exchange->workers);
    return &exchange->ports[worker];
}

static void free_list(struct block *block)
{
    while (block) {
        struct block *next = block->next;

        free(block);
        block = next;
    }
}

void exchange_free(struct exchange *exchange)
{
    for (unsigned i = 0; i < exchange->workers; i++) {
        struct exchange_port *port = &exchange->ports[i];
        struct block *block;
        unsigned sender;

        while ((block = exchange_receive(port, &sender)))
            free(block);
        for (unsigned t = 0; t < exchange->workers; t++) {
            free(port->outbound[t].begun);
            free_list(port->outbound[t].first);
        }
        free(port->outbound);
    }
    free(exchange->ports);
    free(exchange->rings);
    free(exchange);
}

static void complete(struct outbound *outbound)
{
    struct block *block = outbound->begun;

    if (!block)
        return;
    outbound->begun = NULL;
    if (outbound->first)
        outbound->last->next = block;
    else
        outbound->first = block;
    outbound->last = block;
}

void *exchange_record(struct exchange_port *port, unsigned target, enum record_type type, size_t size)
{
    struct outbound *outbound = &port->outbound[target];
    size_t rounded = (size + 7) & ~(size_t)7;
    struct record *record;

    assert(target < port->exchange->workers && rounded < UINT32_MAX);
    if (outbound->begun && rounded > outbound->begun->size - outbound->begun->used)
        complete(outbound);
    if (!outbound->begun) {
        size_t bytes = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;

        outbound->begun = memory_grow(NULL, sizeof(struct block) + bytes);
        *outbound->begun = (struct block){.references = 1, .size = (uint32_t)bytes};
    }
    record = (struct record *)(outbound->begun->bytes + outbound->begun->used);
    outbound->begun->used += (uint32_t)rounded;
    *record = (struct record){.size = (uint32_t)rounded, .type = type};
    return record;
}

static void push(struct exchange_port *port, unsigned target)
{
    struct outbound *outbound = &port->outbound[target];
    struct ring *ring = &port->exchange->rings[port->worker * port->exchange->workers + target];

    while (outbound->first) {
        struct block *next = outbound->first->next;

        if (!ck_ring_enqueue_spsc(&ring->ring, ring->slots, outbound->first))
            return;
        outbound->first = next;
    }
    outbound->last = NULL;
}

void exchange_flush(struct exchange_port *port)
{
    for (unsigned target = 0; target < port->exchange->workers; target++) {
        complete(&port->outbound[target]);
        push(port, target);
    }
}

bool exchange_stalled(struct exchange_port *port)
{
    bool stalled = false;

    for (unsigned target = 0; target < port->exchange->workers; target++) {
        push(port, target);
        stalled |= port->outbound[target].first != NULL;
    }
    return stalled;
}

struct block *exchange_receive(struct exchange_port *port, unsigned *ret_sender)
{
    for (unsigned tried = 0; tried < port->exchange->workers; tried++) {
        unsigned sender = port->next_sender;
        struct ring *ring = &port->exchange->rings[sender * port->exchange->workers + port->worker];
        void *block;

        port->next_sender = (sender + 1) % port->exchange->workers;
        if (ck_ring_dequeue_spsc(&ring->ring, ring->slots, &block)) {
            *ret_sender = sender;
            return block;
        }
    }
    return NULL;
}

void block_retain(struct block *block)
{
    block->references++;
}

void block_release(struct block *block)
{
    assert(block->references > 0);
    if (--block->references == 0)
        free(block);
}
