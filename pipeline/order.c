#include "pipeline/order.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct order_entry *a, const struct order_entry *b)
{
    if (a->order_us != b->order_us)
        return a->order_us < b->order_us;
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us;
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->partition != b->partition)
        return a->partition < b->partition;
    if (a->offset != b->offset)
        return a->offset < b->offset;
    return a->item < b->item;
}

void order_push(struct order *order, const struct order_entry *entry)
{
    size_t at = order->count++;

    order->entries = memory_reserve(order->entries, &order->capacity, order->count, sizeof *order->entries);
    while (at > 0 && before(entry, &order->entries[(at - 1) / 2])) {
        order->entries[at] = order->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    order->entries[at] = *entry;
    order->bytes += entry->record->size;
    block_retain(entry->block);
}

const struct order_entry *order_first(const struct order *order)
{
    return order->count ? order->entries : NULL;
}

void order_pop(struct order *order)
{
    struct order_entry last;
    size_t at = 0;

    assert(order->count > 0);
    order->bytes -= order->entries->record->size;
    block_release(order->entries->block);
    last = order->entries[--order->count];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= order->count)
            break;
        if (child + 1 < order->count && before(&order->entries[child + 1], &order->entries[child]))
            child++;
        if (!before(&order->entries[child], &last))
            break;
        order->entries[at] = order->entries[child];
        at = child;
    }
    order->entries[at] = last;
}

void order_freeze(const struct order *order, struct order_frozen *ret_frozen)
{
    *ret_frozen = (struct order_frozen){.count = order->count};
    if (!order->count)
        return;
    ret_frozen->entries = memory_grow(NULL, order->count * sizeof *order->entries);
    memcpy(ret_frozen->entries, order->entries, order->count * sizeof *order->entries);
    for (size_t i = 0; i < order->count; i++)
        block_retain(order->entries[i].block);
}

void order_frozen_free(struct order_frozen *frozen)
{
    for (size_t i = 0; i < frozen->count; i++)
        block_release(frozen->entries[i].block);
    free(frozen->entries);
    *frozen = (struct order_frozen){0};
}

void order_free(struct order *order)
{
    while (order->count)
        order_pop(order);
    free(order->entries);
    *order = (struct order){0};
}
