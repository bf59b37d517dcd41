#include "pipeline/restart.h"

#include "base/memory.h"
#include "pipeline/worker.h"

#include <assert.h>
#include <stdlib.h>

enum { LAYOUT = 1, PARTITION_LAYOUT = 2 /* 1: without notes and ends of records */ };

void restart_free(struct restart *restart)
{
    for (size_t i = 0; i < restart->count; i++)
        free(restart->values[i].bytes);
    free(restart->values);
    free(restart->stale);
}

static void keep(struct restart *restart, const struct state_key *key, struct span bytes)
{
    restart->values =
        memory_reserve(restart->values, &restart->capacity, restart->count + 1, sizeof *restart->values);
    restart->values[restart->count++] =
        (struct kept_value){.key = *key, .bytes = memory_text(bytes.data, bytes.size), .size = bytes.size};
}

static void forget(struct restart *restart, const struct state_key *key)
{
    const struct state_table table = {.kind = key->kind, .owner = key->owner, .part = key->part};
    const struct state_table *last = restart->stale_count ? &restart->stale[restart->stale_count - 1] : NULL;

    if (last && last->kind == table.kind && last->owner == table.owner && last->part == table.part)
        return;
    restart->stale = memory_reserve(restart->stale, &restart->stale_capacity, restart->stale_count + 1,
                                    sizeof *restart->stale);
    restart->stale[restart->stale_count++] = table;
}

void times_freeze(struct worker *worker)
{
    struct saver *saver = &worker->saving.saver;
    const int64_t times[] = {worker->rows_us,
                             worker->firm_us,
                             worker->runs_us,
                             worker->applied_us,
                             worker->closed_us,
                             worker->notified_us,
                             atomic_load(&worker->shared->partial_us)};

    pack_u8(&saver->bytes, LAYOUT);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        pack_i64(&saver->bytes, times[i]);
    saver_put(saver, (struct state_key){.kind = STATE_TIMES});
}

/* Of a shard, or a number modulo the number of workers; NULL: it is not in this engine. */
static struct worker *find_owner(struct worker *const *workers, unsigned count, uint64_t number)
{
    const struct shared *shared = workers[0]->shared;
    uint64_t place = number % shared->workers - shared->first;

    return place < count ? workers[place] : NULL;
}

static enum status not_here(struct error *error)
{
    return fail(error, "holds state of another task: it was stored with another number of cluster.tasks");
}

void inbox_freeze(struct worker *worker)
{
    struct saver *saver = &worker->saving.saver;

    pack_u8(&saver->bytes, LAYOUT);
    pack_i64(&saver->bytes, worker->shared->task->inbox_next);
    pack_u32(&saver->bytes, worker->shared->workers);
    for (unsigned stage = 0; stage < WATERMARK_STAGES; stage++)
        for (unsigned i = 0; i < worker->shared->workers; i++) {
            struct watermark_record mark = worker->heard[stage][i];

            mark.stage = stage; /* not set before anything was heard */
            mark.sender = i;
            watermark_pack(&mark, &saver->bytes);
        }
    saver_put(saver, (struct state_key){.kind = STATE_INBOX});
}

static enum status restore_inbox(struct worker *worker, struct span bytes, struct error *error)
{
    const struct shared *shared = worker->shared;
    struct unpack in;

    if (!shared->task)
        return fail(error, "holds the state of one task of a cluster (cluster.enabled)");
    if (unpack_layout(bytes, LAYOUT, &in, error) != STATUS_OK)
        return STATUS_FATAL;
    shared->task->inbox_next = unpack_i64(&in);
    if (unpack_u32(&in) != shared->workers)
        return not_here(error);
    while (!in.broken && in.at < in.end) {
        struct watermark_record mark;

        watermark_unpack(&in, shared->workers, &mark);
        if (!in.broken)
            worker->heard[mark.stage][mark.sender] = mark;
    }
    return unpack_finish(&in, error);
}

static enum status restore_times(struct worker *const *workers, unsigned count, struct span bytes,
                                 struct error *error)
{
    struct unpack in = unpack_begin(bytes);
    int64_t times[7];
    uint8_t layout = unpack_u8(&in);

    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        times[i] = unpack_i64(&in);
    if (layout != LAYOUT || !unpack_ended(&in))
        return fail(error, "the times of the process cannot be read");
    atomic_store(&workers[0]->shared->partial_us, times[6]);
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = workers[i];

        worker->rows_us = times[0];
        worker->events_us = times[3]; /* no more than what was applied is known */
        worker->firm_us = times[1];
        worker->runs_us = times[2];
        worker->watched_us = times[5]; /* every watch was advanced over that at least */
        worker->applied_us = times[3];
        worker->closed_us = times[4];
        worker->notified_us = times[5];
    }
    return STATUS_OK;
}

static const struct plan_group *find_group(const struct plan *plan, uint64_t identity)
{
    for (unsigned i = 0; i < plan->group_count; i++)
        if (plan->groups[i].identity == identity)
            return &plan->groups[i];
    return NULL;
}

static enum status restore_panes(struct restart *restart, struct worker *const *workers, unsigned count,
                                 const struct state_key *key, struct span bytes, struct error *error)
{
    const struct plan_group *group = find_group(workers[0]->plan, key->owner);
    struct worker *worker = workers[key->part % count];

    if (!group) {
        forget(restart, key);
        return STATUS_OK;
    }
    return fold_restore(group->on_run ? worker->run_fold : worker->fold, key, bytes, error);
}

static enum status restore_series(struct restart *restart, struct worker *const *workers, unsigned count,
                                  const struct state_key *key, struct span bytes, struct error *error)
{
    struct worker *owner = find_owner(workers, count, key->owner);

    if (!owner)
        return not_here(error);
    if (key->owner < SHARDS && find_group(owner->plan, key->part))
        return windows_restore(owner->windows, key, bytes, error);
    forget(restart, key);
    return STATUS_OK;
}

static bool has_detector(const struct plan *plan, uint64_t identity)
{
    for (unsigned i = 0; i < plan->detector_count; i++)
        if (plan->detectors[i].identity == identity)
            return true;
    return false;
}

static enum status restore_hot(struct restart *restart, struct worker *const *workers, unsigned count,
                               const struct state_key *key, struct span bytes, struct error *error)
{
    struct worker *owner = find_owner(workers, count, key->owner);

    if (!owner)
        return not_here(error);
    if (has_detector(owner->plan, key->part))
        return windows_restore(owner->windows, key, bytes, error);
    forget(restart, key);
    return STATUS_OK;
}

static enum status restore_shard_seen(struct worker *const *workers, unsigned count,
                                      const struct state_key *key, struct span bytes, struct error *error)
{
    struct worker *owner = find_owner(workers, count, key->owner - CLEAN_SHARD);

    return owner ? cleaner_restore(owner->cleaner, key, bytes, error) : not_here(error);
}

static enum status restore_watch(struct restart *restart, struct worker *const *workers, unsigned count,
                                 const struct state_key *key, struct span bytes, struct error *error)
{
    struct worker *owner = find_owner(workers, count, key->owner);

    if (!owner)
        return not_here(error);
    if (owner->plan->general.watch)
        return watch_restore(owner->watch, key, bytes, error);
    forget(restart, key);
    return STATUS_OK;
}

enum status restart_value(struct restart *restart, struct worker *const *workers, unsigned count,
                          const struct state_key *key, struct span bytes, struct error *ret_error)
{
    enum status status = STATUS_OK;
    struct worker *owner;

    restart->restored = true;
    switch ((enum state_kind)key->kind) {
    case STATE_PLAN: /* read before, see continuation.h */
        return STATUS_OK;
    case STATE_TIMES:
        return restore_times(workers, count, bytes, ret_error);
    case STATE_SEEN:
        if (key->owner >= CLEAN_SHARD)
            return restore_shard_seen(workers, count, key, bytes, ret_error);
        keep(restart, key, bytes);
        return STATUS_OK;
    case STATE_PARTITION:
        keep(restart, key, bytes);
        return STATUS_OK;
    case STATE_PANES:
        return restore_panes(restart, workers, count, key, bytes, ret_error);
    case STATE_SERIES:
    case STATE_TABLE:
        return restore_series(restart, workers, count, key, bytes, ret_error);
    case STATE_HOT:
        return restore_hot(restart, workers, count, key, bytes, ret_error);
    case STATE_RUNS:
    case STATE_PAST_RUNS:
        owner = find_owner(workers, count, key->owner);
        return owner ? runs_restore(owner->runs, key, bytes, ret_error) : not_here(ret_error);
    case STATE_ROWS:
        forget(restart, key);
        return rows_restore(workers[0]->plan, bytes, workers[0]->port, workers[0]->shared->workers,
                            ret_error);
    case STATE_UNIQUE:
        forget(restart, key);
        return unique_restore(bytes, workers[0]->port, workers[0]->shared->workers, ret_error);
    case STATE_WATCH:
        return restore_watch(restart, workers, count, key, bytes, ret_error);
    case STATE_WATCH_WORDS:
        forget(restart, key);
        return workers[0]->plan->general.watch
                   ? watch_words_restore(bytes, workers[0]->port, workers[0]->shared->workers, ret_error)
                   : STATUS_OK;
    case STATE_CORRECTIONS:
        for (unsigned i = 0; i < count && status == STATUS_OK; i++)
            status = windows_restore(workers[i]->windows, key, bytes, ret_error);
        return status;
    case STATE_EPISODES:
    case STATE_CONDITIONS:
        owner = find_owner(workers, count, ALERT_OWNER);
        return owner ? lifecycle_restore(owner->lifecycle, key, bytes, ret_error) : not_here(ret_error);
    case STATE_INBOX:
        return restore_inbox(workers[0], bytes, ret_error);
    case STATE_OUTLET:
        for (unsigned i = 0; i < count && status == STATUS_OK; i++)
            status = deliver_restore(workers[i]->deliver, key, bytes, ret_error);
        return status;
    }
    return fail(ret_error, "holds state of kind %u, which this weir does not know", key->kind);
}

static void lifecycle_knows(void *owner, struct id128 dedup, int64_t known_us)
{
    struct worker *worker = owner;

    lifecycle_told(worker->lifecycle, dedup, known_us);
}

/* Rows that wait came by the exchange: they must stand in the owners' orders before anybody takes a turn. */
static void receive_rows(struct worker *const *workers, unsigned count)
{
    bool any = true;

    while (any) {
        exchange_flush(workers[0]->port);
        any = exchange_stalled(workers[0]->port);
        for (unsigned i = 0; i < count; i++)
            any |= worker_take_sent(workers[i], 0);
    }
}

enum status restart_end(struct restart *restart, struct worker *const *workers, unsigned count,
                        struct store *store, struct error *ret_error)
{
    struct worker *alerts = find_owner(workers, count, ALERT_OWNER);

    receive_rows(workers, count);
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = workers[i];

        windows_restored(worker->windows);
        runs_restored(worker->runs);
        cleaner_restored(worker->cleaner);
        watch_restored(worker->watch, worker->watched_us);
        if (deliver_restored(worker->deliver, store, worker->shared->workers, lifecycle_knows, worker,
                             ret_error) != STATUS_OK)
            return STATUS_FATAL;
    }
    if (restart->restored && alerts)
        lifecycle_restored(alerts->lifecycle, alerts->notified_us, worker_tell_alert, alerts);
    for (size_t i = 0; i < restart->stale_count; i++)
        saver_drop(&workers[0]->saving.saver, restart->stale[i].kind, restart->stale[i].owner,
                   restart->stale[i].part);
    return STATUS_OK;
}

static bool read_place(const struct kept_value *value, struct restart_place *ret_place)
{
    struct unpack in = unpack_begin(span_make(value->bytes, value->size));
    uint8_t layout = unpack_u8(&in);

    if (value->key.kind != STATE_PARTITION || layout == 0 || layout > PARTITION_LAYOUT)
        return false;
    *ret_place = (struct restart_place){.low_offset = unpack_i64(&in)};
    ret_place->next_offset = unpack_i64(&in);
    ret_place->watermark_us = unpack_i64(&in);
    ret_place->greatest_us = unpack_i64(&in);
    ret_place->jump_rows = unpack_u32(&in);
    ret_place->rows = unpack_text(&in);
    if (layout > 1) {
        ret_place->source = unpack_text(&in);
        ret_place->topic = unpack_text(&in);
        ret_place->note = unpack_text(&in);
    }
    if (layout > 1 && in.at < in.end)
        ret_place->record_ends = unpack_text(&in);
    return unpack_ended(&in);
}

bool restart_find(const struct restart *restart, uint64_t partition, struct restart_place *ret_place)
{
    for (size_t i = 0; i < restart->count; i++)
        if (restart->values[i].key.owner == partition && read_place(&restart->values[i], ret_place))
            return true;
    return false;
}

void restart_notes(const struct restart *restart, struct span source,
                   void (*take)(void *owner, struct span topic, struct span note), void *owner)
{
    struct restart_place place;

    for (size_t i = 0; i < restart->count; i++)
        if (read_place(&restart->values[i], &place) && place.note.size && span_equal(place.source, source))
            take(owner, place.topic, place.note);
}

enum status restart_seen(const struct restart *restart, uint32_t partition, struct cleaner *cleaner)
{
    enum status status = STATUS_OK;
    struct error error;

    for (size_t i = 0; i < restart->count && status == STATUS_OK; i++) {
        const struct kept_value *value = &restart->values[i];

        if (value->key.kind == STATE_SEEN && value->key.owner == partition)
            status = cleaner_restore(cleaner, &value->key, span_make(value->bytes, value->size), &error);
    }
    cleaner_restored(cleaner);
    return status;
}

static void pack_rows(const struct partition *partition, struct buffer *out)
{
    size_t count = partition->again_count - partition->again_next;
    const struct ledger_entry *entry;

    for (entry = partition->ledger.first; entry; entry = entry->next)
        count += entry->row_count;
    assert(count * sizeof(struct ledger_row) <= UINT32_MAX);
    pack_u32(out, (uint32_t)(count * sizeof(struct ledger_row)));
    for (entry = partition->ledger.first; entry; entry = entry->next)
        buffer_put(out, entry->rows, entry->row_count * sizeof(struct ledger_row));
    buffer_put(out, partition->again + partition->again_next,
               (partition->again_count - partition->again_next) * sizeof(struct ledger_row));
}

static void pack_note(const struct worker *worker, const struct partition *partition, struct buffer *out)
{
    const struct input *input = &worker->inputs[partition->source];
    const struct source_partition *place = input->plan->type->partition(input->source, partition->index);
    bool has_note = place->note.size > 0;

    assert(place->note.size <= SOURCE_NOTE_MAX);
    pack_text(out, has_note ? span_of(input->plan->name) : (struct span){0});
    pack_text(out, has_note ? span_of(place->topic) : (struct span){0});
    pack_text(out, place->note);
}

/* Mostly there are none, and then nothing is written. */
static void pack_record_ends(struct partition *partition, struct buffer *out)
{
    struct held_record *held = &partition->held;

    held_record_forget(held, partition->cut_offset);
    if (held->end_count == 0)
        return;
    pack_u32(out, (uint32_t)(held->end_count * sizeof *held->ends));
    for (size_t i = 0; i < held->end_count; i++)
        pack_i64(out, held->ends[i]);
}

void partitions_freeze(struct worker *worker)
{
    struct saver *saver = &worker->saving.saver;

    for (size_t i = 0; i < worker->partition_count; i++) {
        struct partition *partition = &worker->partitions[i];
        int64_t next = partition->ledger.next_offset;

        ledger_advance(&partition->ledger);
        if (next == OFFSET_NONE)
            continue;
        partition->cut_offset = ledger_low_offset(&partition->ledger);
        partition->cut_watermark_us =
            partition->ledger.first ? partition->ledger.first->watermark_us : partition->watermark_us;
        partition->cut = true;
        pack_u8(&saver->bytes, PARTITION_LAYOUT);
        pack_i64(&saver->bytes, partition->cut_offset);
        pack_i64(&saver->bytes, next > partition->again_until ? next : partition->again_until);
        pack_i64(&saver->bytes, partition->watermark_us);
        pack_i64(&saver->bytes, partition->greatest_us);
        pack_u32(&saver->bytes, partition->jump_rows);
        pack_rows(partition, &saver->bytes);
        pack_note(worker, partition, &saver->bytes);
        pack_record_ends(partition, &saver->bytes);
        saver_put(saver, (struct state_key){.kind = STATE_PARTITION, .owner = partition->id});
    }
}
