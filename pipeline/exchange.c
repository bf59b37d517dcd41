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
    unsigned workers, first, here; /* ports are of first, first + 1, ... */
    struct ring *rings;            /* [sender * here + target], both from first on */
    struct exchange_port *ports;
    struct exchange_link link;
};

static struct exchange *new_exchange(unsigned workers, unsigned first, unsigned here)
{
    struct exchange *exchange = memory_new(sizeof *exchange);

    exchange->workers = workers;
    exchange->first = first;
    exchange->here = here;
    exchange->rings = memory_new(sizeof *exchange->rings * here * here);
    exchange->ports = memory_new(sizeof *exchange->ports * here);
    for (unsigned i = 0; i < here * here; i++)
        ck_ring_init(&exchange->rings[i].ring, RING_BLOCKS);
    for (unsigned i = 0; i < here; i++)
        exchange->ports[i] =
            (struct exchange_port){.exchange = exchange,
                                   .worker = first + i,
                                   .outbound = memory_new(sizeof(struct outbound) * workers)};
    return exchange;
}

struct exchange *exchange_new(unsigned workers)
{
    return new_exchange(workers, 0, workers);
}

struct exchange *exchange_new_linked(unsigned workers, unsigned number, const struct exchange_link *link)
{
    struct exchange *exchange = new_exchange(workers, number, 1);

    exchange->link = *link;
    return exchange;
}

struct exchange_port *exchange_port(struct exchange *exchange, unsigned worker)
{
    assert(worker - exchange->first < exchange->here);
    return &exchange->ports[worker - exchange->first];
}

static struct ring *ring_of(const struct exchange *exchange, unsigned sender, unsigned target)
{
    return &exchange->rings[(sender - exchange->first) * exchange->here + target - exchange->first];
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
    if (!exchange)
        return;
    for (unsigned i = 0; i < exchange->here; i++) {
        struct exchange_port *port = &exchange->ports[i];
        struct block *block;

        while ((block = exchange_receive(port)))
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
    const struct exchange *exchange = port->exchange;
    struct outbound *outbound = &port->outbound[target];
    bool here = target - exchange->first < exchange->here;
    struct ring *ring = here ? ring_of(exchange, port->worker, target) : NULL;

    while (outbound->first) {
        struct block *next = outbound->first->next;

        if (!here)
            exchange->link.send(exchange->link.owner, target, outbound->first);
        else if (!ck_ring_enqueue_spsc(&ring->ring, ring->slots, outbound->first))
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

bool exchange_full(struct exchange_port *port)
{
    const struct exchange_link *link = &port->exchange->link;

    return exchange_stalled(port) || (link->full && link->full(link->owner));
}

struct block *exchange_receive(struct exchange_port *port)
{
    const struct exchange *exchange = port->exchange;

    for (unsigned tried = 0; tried < exchange->here; tried++) {
        struct ring *ring = ring_of(exchange, exchange->first + port->next_sender, port->worker);
        void *block;

        port->next_sender = (port->next_sender + 1) % exchange->here;
        if (ck_ring_dequeue_spsc(&ring->ring, ring->slots, &block))
            return block;
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

void watermark_pack(const struct watermark_record *mark, struct buffer *out)
{
    pack_u8(out, (uint8_t)mark->stage);
    pack_u32(out, mark->sender);
    pack_u8(out, (uint8_t)(mark->waits | mark->ended << 1));
    pack_i64(out, mark->time_us);
    pack_i64(out, mark->firm_us);
    pack_i64(out, mark->slowest_us);
}

void watermark_unpack(struct unpack *in, unsigned workers, struct watermark_record *ret_mark)
{
    *ret_mark = (struct watermark_record){.stage = unpack_u8(in), .sender = unpack_u32(in)};
    uint8_t flags = unpack_u8(in);

    ret_mark->waits = flags & 1;
    ret_mark->ended = flags & 2;
    ret_mark->time_us = unpack_i64(in);
    ret_mark->firm_us = unpack_i64(in);
    ret_mark->slowest_us = unpack_i64(in);
    in->broken |= ret_mark->stage >= WATERMARK_STAGES || ret_mark->sender >= workers || flags > 3;
}
