/* One append an event, no allocation for it: text and items grow with the bulk and are reused. Everything
 * else runs once a bulk. The list is short (queue_bytes / bulk_bytes, and leftovers, which are merged), so
 * scanning it is cheap.
 * Tried and dropped: a list of documents that is packed into a body when it is sent, which copies each
 * document twice; waiting with whole bulks for an id, where one document that a server refuses for hours
 * would hold all others up. */
#include "sinks/bulk.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum {
    TEXT_BYTES_MAX = 1 << 30,
    SPARES_MAX = 4,
    SHRINK_ABOVE_BYTES = 64 * 1024,
    CLAIMS_MAX = 1 << 24,
};

struct holder {
    struct bulk *bulk;
    uint32_t items; /* of that bulk with the id */
};

static size_t item_size(const struct bulk_item *item)
{
    return (size_t)item->action_size + item->body_size + 1;
}

static void bulk_free(struct bulk *bulk)
{
    buffer_free(&bulk->text);
    buffer_free(&bulk->wire);
    free(bulk->items);
    free(bulk);
}

void bulk_queue_init(struct bulk_queue *queue, struct bulk_limits limits)
{
    *queue = (struct bulk_queue){.limits = limits, .releases = 1};
    slots_init(&queue->claims, CLAIMS_MAX);
}

void bulk_queue_free(struct bulk_queue *queue)
{
    for (struct bulk *bulk = queue->oldest, *newer; bulk; bulk = newer) {
        newer = bulk->newer;
        for (size_t i = 0; i < bulk->count; i++)
            if (bulk->items[i].shared && --bulk->items[i].shared->open == 0)
                free(bulk->items[i].shared);
        bulk_free(bulk);
    }
    for (struct bulk *bulk = queue->spare, *newer; bulk; bulk = newer) {
        newer = bulk->newer;
        bulk_free(bulk);
    }
    slots_free(&queue->claims);
    free(queue->holders);
    *queue = (struct bulk_queue){0};
}

/* A new bulk behind `older` (NULL: in front). */
static struct bulk *bulk_add(struct bulk_queue *queue, struct bulk *older)
{
    struct bulk *bulk = queue->spare;

    if (bulk) {
        queue->spare = bulk->newer;
        queue->spares--;
        *bulk = (struct bulk){
            .text = bulk->text, .wire = bulk->wire, .items = bulk->items, .capacity = bulk->capacity};
        buffer_clear(&bulk->text);
    } else {
        bulk = memory_new(sizeof *bulk);
        buffer_init(&bulk->text, TEXT_BYTES_MAX);
        buffer_init(&bulk->wire, TEXT_BYTES_MAX);
    }
    bulk->older = older;
    bulk->newer = older ? older->newer : queue->oldest;
    *(bulk->older ? &bulk->older->newer : &queue->oldest) = bulk;
    *(bulk->newer ? &bulk->newer->older : &queue->newest) = bulk;
    queue->bulks++;
    return bulk;
}

static void bulk_remove(struct bulk_queue *queue, struct bulk *bulk)
{
    assert(bulk->count == 0 && !bulk->flying);
    *(bulk->older ? &bulk->older->newer : &queue->oldest) = bulk->newer;
    *(bulk->newer ? &bulk->newer->older : &queue->newest) = bulk->older;
    queue->bulks--;
    if (queue->spares == SPARES_MAX) {
        bulk_free(bulk);
        return;
    }
    bulk->newer = queue->spare;
    queue->spare = bulk;
    queue->spares++;
}

static void append(struct bulk *bulk, const struct bulk_item *item, struct span action, struct span body)
{
    bulk->items = memory_reserve(bulk->items, &bulk->capacity, bulk->count + 1, sizeof *bulk->items);
    struct bulk_item *added = &bulk->items[bulk->count++];

    *added = *item;
    added->start = (uint32_t)bulk->text.size;
    added->action_size = action.size;
    added->body_size = body.size;
    buffer_put_span(&bulk->text, action);
    buffer_put_span(&bulk->text, body);
    buffer_put_char(&bulk->text, '\n');
    assert(!bulk->text.full);
}

bool bulk_queue_fits(const struct bulk_queue *queue, size_t bytes)
{
    return queue->items == 0 || queue->bytes + bytes <= queue->limits.queue_bytes;
}

bool bulk_queue_put(struct bulk_queue *queue, const struct bulk_item *item, struct span action,
                    struct span body)
{
    struct bulk *open = queue->newest && !queue->newest->sealed ? queue->newest : NULL;
    size_t size = (size_t)action.size + body.size + 1;
    bool begin;

    assert(size < TEXT_BYTES_MAX);
    if (open &&
        (open->count >= queue->limits.bulk_items || open->text.size + size > queue->limits.bulk_bytes)) {
        open->sealed = true;
        open = NULL;
    }
    begin = !open;
    if (begin)
        open = bulk_add(queue, queue->newest);
    append(open, item, action, body);
    queue->bytes += size;
    queue->items++;
    return begin;
}

void bulk_queue_seal(struct bulk_queue *queue)
{
    if (queue->newest)
        queue->newest->sealed = true;
}

/* Claims what is free for the bulk; returns how many of its items must wait for another bulk. */
static size_t claim(struct bulk_queue *queue, struct bulk *bulk)
{
    size_t blocked = 0;

    for (size_t i = 0; i < bulk->count; i++) {
        struct bulk_item *item = &bulk->items[i];
        bool is_new = false;

        if (!item->versioned || item->claimed)
            continue;
        uint32_t slot = slots_add(&queue->claims, item->id, &is_new);

        assert(slot != SLOT_NONE);
        if (is_new) {
            queue->holders = memory_reserve(queue->holders, &queue->holder_capacity, slot + (size_t)1,
                                            sizeof *queue->holders);
            queue->holders[slot] = (struct holder){.bulk = bulk};
        }
        item->claimed = queue->holders[slot].bulk == bulk;
        queue->holders[slot].items += item->claimed;
        blocked += !item->claimed;
    }
    return blocked;
}

static void release(struct bulk_queue *queue, struct bulk_item *item)
{
    if (!item->claimed)
        return;
    uint32_t slot = slots_find(&queue->claims, item->id);

    assert(slot != SLOT_NONE && queue->holders[slot].items > 0);
    item->claimed = false;
    if (--queue->holders[slot].items == 0) {
        slots_remove(&queue->claims, item->id);
        queue->releases++;
    }
}

/* A bulk that had megabytes and keeps a document would hold the megabytes as long as that one waits. */
static void shrink(struct bulk *bulk)
{
    struct buffer smaller;

    if (bulk->text.capacity <= SHRINK_ABOVE_BYTES || bulk->text.size > bulk->text.capacity / 4)
        return;
    buffer_init(&smaller, TEXT_BYTES_MAX);
    buffer_put(&smaller, bulk->text.data, bulk->text.size);
    buffer_free(&bulk->text);
    bulk->text = smaller;
    bulk->capacity = bulk->count;
    bulk->items = memory_grow(bulk->items, bulk->capacity * sizeof *bulk->items);
}

/* Drops the items that are finished or leaving; the others move up. */
static void compact(struct bulk *bulk)
{
    size_t kept = 0, size = 0;

    for (size_t i = 0; i < bulk->count; i++) {
        struct bulk_item item = bulk->items[i];

        if (item.finished || item.leaving)
            continue;
        memmove(bulk->text.data + size, bulk->text.data + item.start, item_size(&item));
        item.start = (uint32_t)size;
        size += item_size(&item);
        bulk->items[kept++] = item;
    }
    bulk->count = kept;
    buffer_truncate(&bulk->text, size);
    if (kept)
        shrink(bulk);
}

static void copy_item(struct bulk *to, const struct bulk *from, const struct bulk_item *item)
{
    append(to, item, span_make(from->text.data + item->start, item->action_size), bulk_body(from, item));
}

/* Moves the items that are `leaving` to a new bulk right behind. */
static struct bulk *split(struct bulk_queue *queue, struct bulk *bulk)
{
    struct bulk *fresh = bulk_add(queue, bulk);

    fresh->sealed = true;
    fresh->plain = bulk->plain;
    fresh->attempts = bulk->attempts;
    for (size_t i = 0; i < bulk->count; i++) {
        if (!bulk->items[i].leaving)
            continue;
        release(queue, &bulk->items[i]);
        copy_item(fresh, bulk, &bulk->items[i]);
        fresh->items[fresh->count - 1].leaving = false;
    }
    compact(bulk);
    assert(fresh->count > 0);
    return fresh;
}

/* What was filled when the limit was higher goes out in parts. */
static void cut_to_limit(struct bulk_queue *queue, struct bulk *bulk)
{
    if (bulk->text.size <= queue->limits.bulk_bytes || bulk->count == 1)
        return;
    for (size_t i = 1; i < bulk->count; i++)
        bulk->items[i].leaving = bulk->items[i].start + item_size(&bulk->items[i]) > queue->limits.bulk_bytes;
    split(queue, bulk);
}

struct bulk *bulk_queue_next(struct bulk_queue *queue, int64_t now_us)
{
    for (struct bulk *bulk = queue->oldest; bulk; bulk = bulk->newer) {
        if (!bulk->sealed || bulk->flying || bulk->due_us > now_us || bulk->blocked_at == queue->releases)
            continue;
        cut_to_limit(queue, bulk);
        size_t blocked = claim(queue, bulk);

        bulk->blocked_at = blocked == bulk->count ? queue->releases : 0;
        if (bulk->blocked_at)
            continue;
        if (blocked) {
            for (size_t i = 0; i < bulk->count; i++)
                bulk->items[i].leaving = bulk->items[i].versioned && !bulk->items[i].claimed;
            struct bulk *waiting = split(queue, bulk);
            waiting->blocked_at = queue->releases;
        }
        return bulk;
    }
    return NULL;
}

struct bulk *bulk_queue_probe(struct bulk_queue *queue)
{
    struct bulk *found = queue->oldest;
    size_t place = 0;

    for (struct bulk *bulk = queue->oldest; bulk; bulk = bulk->newer)
        if (bulk->flying)
            return NULL;
    for (struct bulk *bulk = queue->oldest; bulk; bulk = bulk->newer) {
        for (place = 0; place < bulk->count && !bulk->items[place].refused;)
            place++;
        if (place < bulk->count) {
            found = bulk;
            break;
        }
        place = 0;
    }
    if (!found)
        return NULL;
    found->sealed = true;
    if (found->count > 1) {
        found->items[place].leaving = true;
        found = split(queue, found);
    }
    claim(queue, found); /* external versions make it safe to try even where an older item holds the id */
    return found;
}

/* Leftovers of neighbours become one bulk: otherwise a server that refuses one document in a thousand for an
 * hour would be asked again in as many requests as there were bulks. */
static void merge_older(struct bulk_queue *queue, struct bulk *bulk)
{
    struct bulk *older = bulk->older;

    if (!older || !older->leftover || older->flying || older->plain || bulk->plain ||
        older->text.size + bulk->text.size > queue->limits.bulk_bytes ||
        older->count + bulk->count > queue->limits.bulk_items)
        return;
    for (size_t i = 0; i < bulk->count; i++) {
        release(queue, &bulk->items[i]);
        copy_item(older, bulk, &bulk->items[i]);
    }
    older->due_us = bulk->due_us > older->due_us ? bulk->due_us : older->due_us;
    bulk->count = 0;
    claim(queue, older);
    bulk_remove(queue, bulk);
}

void bulk_return(struct bulk_queue *queue, struct bulk *bulk, int64_t due_us)
{
    bool dropped = false;

    assert(bulk->flying);
    bulk->flying = false;
    for (size_t i = 0; i < bulk->count; i++) {
        struct bulk_item *item = &bulk->items[i];

        if (!item->finished)
            continue;
        release(queue, item);
        queue->bytes -= item_size(item);
        queue->items--;
        dropped = true;
    }
    if (dropped)
        compact(bulk);
    if (bulk->count == 0) {
        bulk_remove(queue, bulk);
        return;
    }
    bulk->due_us = due_us;
    bulk->attempts++;
    bulk->leftover = dropped || bulk->leftover;
    if (bulk->leftover)
        merge_older(queue, bulk);
}

void bulk_halve(struct bulk_queue *queue, struct bulk *bulk)
{
    assert(bulk->flying && bulk->count > 1);
    bulk->flying = bulk->leftover = false;
    bulk->due_us = 0;
    for (size_t i = bulk->count / 2; i < bulk->count; i++)
        bulk->items[i].leaving = true;
    claim(queue, split(queue, bulk));
}
