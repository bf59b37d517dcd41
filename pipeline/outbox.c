#include "pipeline/outbox.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { BATCH_BYTES = 1024 * 1024, READ_BYTES = 2 * 1024 * 1024 };

struct outbox_put {
    struct keeper_job job;
    struct outbox_put *next;
    bool spilled; /* the items are the job's own */
    struct outbox_item **items;
    struct outbox_document *documents;
    size_t count, item_capacity, document_capacity;
};

static size_t item_bytes(const struct outbox_item *item)
{
    return sizeof *item + item->document.body.size;
}

static struct outbox_item *item_new(const struct outbox_document *document)
{
    struct outbox_item *item = memory_grow(NULL, sizeof *item + document->body.size);

    *item = (struct outbox_item){.document = *document};
    if (document->body.size)
        memcpy(item + 1, document->body.data, document->body.size);
    item->document.body.data = (char *)(item + 1);
    return item;
}

static void list_append(struct outbox_list *list, struct outbox_item *item)
{
    item->next = NULL;
    item->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = item;
    list->last = item;
}

static void list_remove(struct outbox_list *list, struct outbox_item *item)
{
    *(item->previous ? &item->previous->next : &list->first) = item->next;
    *(item->next ? &item->next->previous : &list->last) = item->previous;
}

static void list_free(struct outbox_list *list)
{
    while (list->first) {
        struct outbox_item *next = list->first->next;

        free(list->first);
        list->first = next;
    }
    list->last = NULL;
}

static void lane_add(struct outbox *outbox, uint64_t lane, uint64_t next)
{
    outbox->lanes =
        memory_reserve(outbox->lanes, &outbox->lane_capacity, outbox->lane_count + 1, sizeof *outbox->lanes);
    outbox->lanes[outbox->lane_count++] = (struct outbox_lane){.lane = lane, .next = next};
}

void outbox_open(struct outbox *outbox, const struct outbox_context *context)
{
    *outbox = (struct outbox){.context = *context};
}

static void put_free(struct outbox_put *put)
{
    free(put->items);
    free(put->documents);
    free(put);
}

void outbox_close(struct outbox *outbox)
{
    while (outbox->put_first) {
        struct outbox_put *put = outbox->put_first;

        for (size_t i = 0; put->spilled && i < put->count; i++)
            free(put->items[i]);
        outbox->put_first = put->next;
        put_free(put);
    }
    list_free(&outbox->items);
    list_free(&outbox->spill);
    list_free(&outbox->read.items);
    free(outbox->lanes);
}

static enum status run_put(struct keeper_job *job, const struct keeper_stores *stores,
                           struct error *ret_error)
{
    const struct outbox_put *put = (const struct outbox_put *)job;

    return store_outbox_put(stores->store, put->documents, put->count, ret_error);
}

static struct outbox_put *put_new(bool spilled)
{
    struct outbox_put *put = memory_new(sizeof *put);

    put->job.run = run_put;
    put->spilled = spilled;
    return put;
}

static void put_add(struct outbox *outbox, struct outbox_put *put, struct outbox_item *item)
{
    put->items =
        memory_reserve(put->items, &put->item_capacity, put->count + 1, sizeof(struct outbox_item *));
    put->documents =
        memory_reserve(put->documents, &put->document_capacity, put->count + 1, sizeof *put->documents);
    put->items[put->count] = item;
    put->documents[put->count++] = item->document;
    item->storing = true;
    atomic_fetch_add_explicit(outbox->context.stored_bytes, item_bytes(item), memory_order_relaxed);
}

static void put_submit(struct outbox *outbox, struct outbox_put *put)
{
    *(outbox->put_first ? &outbox->put_last->next : &outbox->put_first) = put;
    outbox->put_last = put;
    outbox->puts_submitted++;
    keeper_submit(outbox->context.keeper, &put->job);
}

static void submit_spill(struct outbox *outbox)
{
    struct outbox_put *put = put_new(true);

    for (struct outbox_item *item = outbox->spill.first; item; item = item->next)
        put_add(outbox, put, item);
    outbox->spill = (struct outbox_list){0};
    outbox->spill_bytes = 0;
    put_submit(outbox, put);
}

static void wait_in_memory(struct outbox *outbox, struct outbox_item *item)
{
    list_append(&outbox->items, item);
    outbox->waiting_bytes += item_bytes(item);
    if (!outbox->offer_at)
        outbox->offer_at = item;
    if (outbox->cutting && !outbox->save_at)
        outbox->save_at = item;
}

void outbox_push(struct outbox *outbox, const struct outbox_document *document)
{
    struct outbox_item *item = item_new(document);
    size_t bytes = item_bytes(item);

    item->document.place = (struct outbox_key){
        .sink = outbox->context.sink, .lane = outbox->context.lane, .sequence = outbox->next_sequence++};
    outbox->documents++;
    outbox->memory_bytes += bytes;
    if (outbox->context.keeper && !outbox->spilled && outbox->waiting_bytes + bytes > OUTBOX_MEMORY_BYTES) {
        outbox->spilled = true;
        outbox->lane_at = outbox->lane_count = 0;
        lane_add(outbox, outbox->context.lane, item->document.place.sequence);
    }
    if (!outbox->spilled) {
        wait_in_memory(outbox, item);
        return;
    }
    list_append(&outbox->spill, item);
    outbox->spill_bytes += bytes;
    outbox->spilling_bytes += bytes;
    outbox->away_bytes += bytes;
    outbox->away_count++;
    if (outbox->spill_bytes >= BATCH_BYTES)
        submit_spill(outbox);
}

static struct outbox_item *pass(struct outbox *outbox)
{
    struct outbox_item *item = outbox->offer_at;

    outbox->waiting_bytes -= item_bytes(item);
    outbox->offer_at = item->next;
    return item;
}

struct outbox_item *outbox_take(struct outbox *outbox)
{
    struct outbox_item *item = pass(outbox);

    item->taken = true;
    return item;
}

struct outbox_item *outbox_hold(struct outbox *outbox)
{
    struct outbox_item *item = pass(outbox);

    item->held = true;
    return item;
}

bool outbox_is_taken(const struct outbox *outbox)
{
    return !outbox->offer_at && !outbox->spilled;
}

/* What a sink wrote after the cut is taken back at a restart: the cut must have the document all the same. */
static bool cut_needs(const struct outbox *outbox, const struct outbox_item *item)
{
    return outbox->cutting && outbox->context.takes_back && !item->stored &&
           item->document.place.lane == outbox->context.lane &&
           item->document.place.sequence < outbox->cut_next;
}

/* Lets go of an acknowledged document as soon as no job and no cut needs it. */
static void settle(struct outbox *outbox, struct outbox_item *item)
{
    struct outbox_keys *keys = outbox->context.acknowledged;

    if (!item->acknowledged || item->storing || cut_needs(outbox, item))
        return;
    if (item->stored) {
        keys->items = memory_reserve(keys->items, &keys->capacity, keys->count + 1, sizeof *keys->items);
        keys->items[keys->count++] = item->document.place;
        atomic_fetch_sub_explicit(outbox->context.stored_bytes, item_bytes(item), memory_order_relaxed);
    }
    if (outbox->save_at == item)
        outbox->save_at = item->next;
    outbox->memory_bytes -= item_bytes(item);
    list_remove(&outbox->items, item);
    free(item);
}

void outbox_acknowledge(struct outbox *outbox, struct outbox_item *item)
{
    assert(item->taken && !item->acknowledged);
    item->acknowledged = true;
    outbox->documents--;
    settle(outbox, item);
}

static void take_put(struct outbox *outbox, struct outbox_put *put)
{
    for (size_t i = 0; i < put->count; i++) {
        struct outbox_item *item = put->items[i];

        if (put->spilled) {
            outbox->memory_bytes -= item_bytes(item);
            outbox->spilling_bytes -= item_bytes(item);
            free(item);
            continue;
        }
        item->storing = false;
        item->stored = true;
        settle(outbox, item);
    }
    outbox->puts_done++;
    put_free(put);
}

static bool collect_read(void *owner, const struct outbox_document *document)
{
    struct outbox_read *read = owner;
    struct outbox_item *item = item_new(document);

    item->stored = true;
    list_append(&read->items, item);
    read->bytes += item_bytes(item);
    read->stopped = read->bytes >= READ_BYTES;
    return !read->stopped;
}

static enum status run_read(struct keeper_job *job, const struct keeper_stores *stores,
                            struct error *ret_error)
{
    struct outbox_read *read = (struct outbox_read *)job;

    list_free(&read->items);
    read->bytes = 0;
    read->stopped = false;
    return store_outbox_read(stores->store, read->from.sink, read->from.lane, read->from.sequence,
                             collect_read, read, ret_error);
}

static void take_read(struct outbox *outbox)
{
    struct outbox_lane *lane = &outbox->lanes[outbox->lane_at];
    struct outbox_item *item = outbox->read.items.first;

    while (item) {
        struct outbox_item *next = item->next;

        lane->next = item->document.place.sequence + 1;
        outbox->away_count--;
        outbox->away_bytes -= item_bytes(item);
        outbox->memory_bytes += item_bytes(item);
        wait_in_memory(outbox, item);
        item = next;
    }
    outbox->read.items = (struct outbox_list){0};
    outbox->reading = false;
    if (!outbox->read.stopped && lane->lane != outbox->context.lane)
        outbox->lane_at++;
}

/* All of the store is back in memory: what was to follow it there stays in memory as well. */
static void end_spill(struct outbox *outbox)
{
    while (outbox->spill.first) {
        struct outbox_item *item = outbox->spill.first;

        list_remove(&outbox->spill, item);
        wait_in_memory(outbox, item);
        outbox->away_count--;
    }
    outbox->away_bytes -= outbox->spill_bytes;
    outbox->spilling_bytes -= outbox->spill_bytes;
    outbox->spill_bytes = 0;
    outbox->spilled = false;
    assert(outbox->away_count == 0 && outbox->away_bytes == 0);
}

static void read_back(struct outbox *outbox)
{
    const struct outbox_lane *lane = &outbox->lanes[outbox->lane_at];

    if (!outbox->spilled || outbox->reading || outbox->waiting_bytes > OUTBOX_MEMORY_BYTES / 2)
        return;
    if (lane->lane == outbox->context.lane && outbox->away_bytes == outbox->spill_bytes) {
        end_spill(outbox);
        return;
    }
    outbox->read.job = (struct keeper_job){.run = run_read};
    outbox->read.from =
        (struct outbox_key){.sink = outbox->context.sink, .lane = lane->lane, .sequence = lane->next};
    outbox->reading = true;
    keeper_submit(outbox->context.keeper, &outbox->read.job);
}

void outbox_advance(struct outbox *outbox)
{
    while (outbox->put_first && atomic_load_explicit(&outbox->put_first->job.done, memory_order_acquire)) {
        struct outbox_put *put = outbox->put_first;

        outbox->put_first = put->next;
        take_put(outbox, put);
    }
    if (outbox->reading && atomic_load_explicit(&outbox->read.job.done, memory_order_acquire))
        take_read(outbox);
    read_back(outbox);
}

bool outbox_full(const struct outbox *outbox)
{
    return outbox->waiting_bytes + outbox->spilling_bytes > 2 * (size_t)OUTBOX_MEMORY_BYTES ||
           (!outbox->context.keeper && outbox->waiting_bytes > OUTBOX_MEMORY_BYTES);
}

void outbox_freeze(struct outbox *outbox)
{
    assert(!outbox->cutting);
    outbox->cutting = true;
    outbox->cut_next = outbox->next_sequence;
    outbox->save_at = outbox->items.first;
    outbox->cut_puts = outbox->puts_submitted;
}

static bool before_cut(const struct outbox *outbox, const struct outbox_item *item)
{
    return item && (item->document.place.lane != outbox->context.lane ||
                    item->document.place.sequence < outbox->cut_next);
}

bool outbox_is_sent(const struct outbox *outbox)
{
    const struct outbox_item *item = outbox->save_at;

    return outbox->cutting && !outbox->context.takes_back && before_cut(outbox, item) && item->taken &&
           !item->stored && !item->storing;
}

/* Hands one batch of what the store does not have to it. */
static void save_batch(struct outbox *outbox, size_t *budget)
{
    struct outbox_put *put = put_new(false);
    size_t bytes = 0;

    while (before_cut(outbox, outbox->save_at) && bytes<BATCH_BYTES && * budget> 0) {
        struct outbox_item *item = outbox->save_at;
        bool missing = !item->stored && !item->storing;
        size_t cost = missing ? item_bytes(item) : sizeof *item;

        if (missing) {
            put_add(outbox, put, item);
            bytes += cost;
        }
        *budget -= cost < *budget ? cost : *budget;
        outbox->save_at = item->next;
    }
    if (put->count)
        put_submit(outbox, put);
    else
        put_free(put);
}

bool outbox_save(struct outbox *outbox, size_t *budget)
{
    if (outbox->cutting) {
        if (outbox->spill.first && before_cut(outbox, outbox->spill.first))
            submit_spill(outbox);
        while (before_cut(outbox, outbox->save_at) && *budget > 0)
            save_batch(outbox, budget);
        outbox->cutting = before_cut(outbox, outbox->save_at);
        outbox->cut_puts = outbox->puts_submitted;
    }
    return !outbox->cutting && outbox->puts_done >= outbox->cut_puts;
}

void outbox_restore(struct outbox *outbox, uint64_t lane, uint64_t next)
{
    lane_add(outbox, lane, next);
}

static bool add_stored_lane(void *owner, uint64_t lane)
{
    struct outbox *outbox = owner;

    for (size_t i = 0; i < outbox->lane_count; i++)
        if (outbox->lanes[i].lane == lane)
            return true;
    lane_add(outbox, lane, 0);
    return true;
}

struct counting {
    struct outbox *outbox;
    outbox_visit *visit;
    void *owner;
    bool broken;
};

static bool count_stored(void *owner, const struct outbox_document *document)
{
    struct counting *counting = owner;

    counting->outbox->away_count++;
    counting->outbox->away_bytes += sizeof(struct outbox_item) + document->body.size;
    counting->broken = !counting->visit(counting->owner, document);
    return !counting->broken;
}

enum status outbox_restored(struct outbox *outbox, struct store *store, unsigned workers, outbox_visit *visit,
                            void *owner, struct error *ret_error)
{
    uint64_t sink = outbox->context.sink, own = outbox->context.lane;
    struct counting counting = {.outbox = outbox, .visit = visit, .owner = owner};
    size_t kept = 0;

    if (store_outbox_lanes(store, sink, add_stored_lane, outbox, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    for (size_t i = 0; i < outbox->lane_count; i++) {
        struct outbox_lane lane = outbox->lanes[i];

        if (lane.lane % workers != own)
            continue;
        if (store_outbox_cut(store, sink, lane.lane, lane.next, ret_error) != STATUS_OK ||
            store_outbox_read(store, sink, lane.lane, 0, count_stored, &counting, ret_error) != STATUS_OK)
            return STATUS_FATAL;
        if (counting.broken)
            return fail(ret_error, "outbox: a document of lane %llu is broken, or of a newer weir",
                        (unsigned long long)lane.lane);
        if (lane.lane == own)
            outbox->next_sequence = lane.next;
        else
            outbox->lanes[kept++] = (struct outbox_lane){.lane = lane.lane};
    }
    outbox->lane_count = kept;
    lane_add(outbox, own, 0);
    outbox->documents = outbox->away_count;
    outbox->spilled = outbox->away_count > 0;
    atomic_fetch_add_explicit(outbox->context.stored_bytes, outbox->away_bytes, memory_order_relaxed);
    return STATUS_OK;
}
