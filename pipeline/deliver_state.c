/* Outputs in a cut, and after a restart. */
#include "pipeline/deliver_internal.h"

#include <assert.h>

enum { LAYOUT = 1, ANSWER_US = 100 * 1000 };

void deliver_freeze(struct deliver *deliver, struct saver *saver, bool again)
{
    struct outbox_keys emptied = deliver->frozen;
    struct buffer mark;

    assert(emptied.count == 0);
    deliver->send = true;
    deliver->cut_us = deliver->turn.now_us;
    deliver->frozen = deliver->acknowledged;
    deliver->acknowledged = emptied;
    filing_freeze(&deliver->filing);
    buffer_init(&mark, ENCODED_MAX);
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        outlet->behind &= again;
        outbox_freeze(&outlet->outbox);
        notices_freeze(&outlet->notices);
        buffer_clear(&mark);
        if (outlet_takes_back(deliver, outlet))
            outlet->plan->type->mark(outlet->sink, &mark);
        pack_u8(&saver->bytes, LAYOUT);
        pack_u8(&saver->bytes, outlet->behind || outlet->raw_pending > 0);
        pack_u64(&saver->bytes, outlet->outbox.next_sequence);
        pack_text(&saver->bytes, buffer_span(&mark));
        saver_put(saver, (struct state_key){.kind = STATE_OUTLET,
                                            .owner = outlet->plan->identity,
                                            .part = deliver->context.worker});
    }
    buffer_free(&mark);
}

/* Documents of the cut under way are at a server, which mostly takes them in less time than the store. Not
 * those of a task: it may hear no answers before the cut is committed, and others wait for that. */
static bool waits_for_answers(const struct deliver *deliver)
{
    if (deliver->context.moves || deliver->turn.now_us - deliver->cut_us >= ANSWER_US)
        return false;
    for (unsigned i = 0; i < deliver->outlet_count; i++)
        if (outbox_is_sent(&deliver->outlets[i].outbox))
            return true;
    return false;
}

bool deliver_save(struct deliver *deliver, size_t budget)
{
    if (waits_for_answers(deliver))
        return false;
    filing_advance(&deliver->filing, deliver->turn.now_us, false, deliver_settle, deliver);
    bool saved = filing_saved(&deliver->filing);

    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        outbox_advance(&outlet->outbox);
        notices_advance(&outlet->notices);
        saved &= outbox_save(&outlet->outbox, &budget) && notices_saved(&outlet->notices);
    }
    return saved;
}

void deliver_take_acknowledged(struct deliver *deliver, struct outbox_key **ret_keys, size_t *ret_count,
                               size_t *ret_capacity)
{
    struct outbox_keys taken = deliver->frozen;

    deliver->frozen = (struct outbox_keys){.items = *ret_keys, .capacity = *ret_capacity};
    *ret_keys = taken.items;
    *ret_count = taken.count;
    *ret_capacity = taken.capacity;
}

enum status deliver_restore(struct deliver *deliver, const struct state_key *key, struct span value,
                            struct error *ret_error)
{
    struct unpack in = unpack_begin(value);
    bool known = unpack_u8(&in) == LAYOUT, behind = unpack_u8(&in);
    uint64_t next = unpack_u64(&in);
    struct span mark = unpack_text(&in);

    if (!known || !unpack_ended(&in))
        return fail(ret_error, "where an output stood is broken, or of a newer weir");
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        if (outlet->plan->identity != key->owner)
            continue;
        outbox_restore(&outlet->outbox, key->part, next);
        outlet->behind |= behind;
        /* All workers' marks are of one moment; only the first worker's is sure to be of the newest cut. */
        if (outlet_takes_back(deliver, outlet) && key->part == 0 && deliver->context.worker == 0)
            outlet->plan->type->resume(outlet->sink, mark);
    }
    return STATUS_OK;
}

/* What waits in the outbox will be told: nothing to withdraw. */
static bool look_at_stored(void *owner, const struct outbox_document *document)
{
    const struct outlet *outlet = owner;
    struct alert alert;

    if (!outlet_tells(outlet, document->kind))
        return true;
    if (!notices_unpack(document->body, &alert))
        return false;
    outlet_settle_told(outlet, &alert);
    return true;
}

enum status deliver_restored(struct deliver *deliver, struct store *store, unsigned workers,
                             deliver_told *told, void *owner, struct error *ret_error)
{
    for (unsigned i = 0; i < deliver->outlet_count; i++) {
        struct outlet *outlet = &deliver->outlets[i];

        if (outlet_tells(outlet, DOC_ALERT) && notices_load(&outlet->notices, store, ret_error) != STATUS_OK)
            return STATUS_FATAL;
        if (outbox_restored(&outlet->outbox, store, workers, look_at_stored, outlet, ret_error) != STATUS_OK)
            return STATUS_FATAL;
    }
    for (unsigned i = 0; deliver->context.worker == 0 && i < deliver->outlet_count; i++) {
        const struct notices *notices = &deliver->outlets[i].notices;

        for (size_t k = 0; k < notices->told_count; k++)
            told(owner, notices->told[k].notification.dedup, notices->told[k].known_us);
    }
    return STATUS_OK;
}
