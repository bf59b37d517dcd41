/* Offsets have holes, as markers of transactions leave them. Who has lost a task may be told so by its next
 * entry or only by its commit, which is up to a client's buffer in the real one. */
#include "tests/simulation/journal.h"

#include "base/memory.h"
#include "base/slots.h"
#include "tests/base/random.h"

#include <assert.h>
#include <stdlib.h>

enum {
    BUSY_ONE_IN = 8, /* calls that are to be tried again */
    BUSY_ENTRY_ONE_IN = 400,
    LOST_ONE_IN = 60, /* transactions that are lost, and as many answers */
    LATE_ONE_IN = 6,
    LATE_MS_MAX = 4000,
    PURGE_ONE_IN = 4,
};

struct letter { /* a parcel in an inbox */
    int64_t offset, visible_us;
    size_t size;
    char *bytes; /* NULL: purged */
};

struct inbox {
    struct letter *letters;
    size_t count, capacity;
    int64_t next_offset, committed;
};

struct entry {         /* of a changelog */
    char *key, *value; /* value NULL: removed */
    struct span key_span, value_span;
    const struct journal *writer; /* whose transaction under way it is part of; NULL: committed */
};

struct entries {
    struct entry *items;
    size_t count, capacity;
};

struct place { /* a task's */
    struct inbox inbox;
    struct entries changelog;
    unsigned epoch; /* of the last who opened it */
};

struct broker {
    struct world *world;
    const struct scenario *scenario;
    uint64_t random;
    bool is_well;
    struct place tasks[TASKS_LIMIT];
};

struct journal {
    struct broker *broker;
    struct member *member;
    struct place *place;
    unsigned number, epoch;
    struct entries pending; /* of the transaction under way: those still on their way to the broker */
    size_t sent;            /* those in the changelog */
    size_t next;            /* letter of the inbox */
    int64_t taken;          /* inbox_next of the last one received */
    int64_t confirmed_us;
    bool sought, lost;
};

/* One of the scenario's troubles, now and then. */
static bool chance(struct broker *broker, bool may, unsigned one_in)
{
    return may && !broker->is_well && random_below(&broker->random, one_in) == 0;
}

static void entry_free(struct entry *entry)
{
    free(entry->key);
    free(entry->value);
}

static void entries_clear(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        entry_free(&entries->items[i]);
    free(entries->items);
    *entries = (struct entries){0};
}

static void entries_add(struct entries *entries, const struct entry *entry)
{
    entries->items =
        memory_reserve(entries->items, &entries->capacity, entries->count + 1, sizeof *entries->items);
    entries->items[entries->count++] = *entry;
}

static void entries_copy(struct entries *entries, const struct journal_entry *from)
{
    struct entry entry = {.key = memory_text(from->key.data, from->key.size),
                          .value = from->value.data ? memory_text(from->value.data, from->value.size) : NULL};

    entry.key_span = span_make(entry.key, from->key.size);
    entry.value_span = span_make(entry.value, from->value.size);
    entries_add(entries, &entry);
}

struct broker *broker_new(struct world *world, const struct scenario *scenario)
{
    struct broker *broker = memory_new(sizeof *broker);

    *broker = (struct broker){.world = world, .scenario = scenario, .random = scenario->seed ^ 0xb20ce2};
    return broker;
}

void broker_free(struct broker *broker)
{
    for (unsigned t = 0; t < TASKS_LIMIT; t++) {
        struct inbox *inbox = &broker->tasks[t].inbox;

        for (size_t i = 0; i < inbox->count; i++)
            free(inbox->letters[i].bytes);
        free(inbox->letters);
        entries_clear(&broker->tasks[t].changelog);
    }
    free(broker);
}

void broker_mend(struct broker *broker)
{
    broker->is_well = true;
}

bool broker_is_read(const struct broker *broker)
{
    for (unsigned t = 0; t < broker->scenario->tasks; t++) {
        const struct inbox *inbox = &broker->tasks[t].inbox;

        if (inbox->count && inbox->letters[inbox->count - 1].offset >= inbox->committed)
            return false;
    }
    return true;
}

/* What is not committed was never there, and who had it under way is fenced. */
static void abort_transaction(struct place *place, const struct journal *journal)
{
    struct entries *log = &place->changelog;
    size_t kept = 0;

    for (size_t i = 0; i < log->count; i++)
        if (log->items[i].writer && (!journal || log->items[i].writer == journal))
            entry_free(&log->items[i]);
        else
            log->items[kept++] = log->items[i];
    log->count = kept;
}

/* Offsets are given when entries arrive, not when they are committed. */
static void send_pending(struct journal *journal)
{
    for (size_t i = 0; i < journal->pending.count; i++) {
        journal->pending.items[i].writer = journal;
        entries_add(&journal->place->changelog, &journal->pending.items[i]);
    }
    free(journal->pending.items);
    journal->sent += journal->pending.count;
    journal->pending = (struct entries){0};
}

static enum status simulated_open(void *cluster, unsigned task, struct journal **ret_journal,
                                  struct error *ret_error)
{
    struct member *member = cluster;
    struct broker *broker = member->broker;
    struct journal *journal;

    if (!(member->tasks & 1u << task) || chance(broker, broker->scenario->has_busy_broker, BUSY_ONE_IN)) {
        fail(ret_error, "task %u: the broker does not answer, or it is another's", task);
        return STATUS_RETRY;
    }
    assert(task < broker->scenario->tasks && !member->journals[task]);
    abort_transaction(&broker->tasks[task], NULL);
    journal = memory_new(sizeof *journal);
    *journal = (struct journal){.broker = broker,
                                .member = member,
                                .place = &broker->tasks[task],
                                .number = task,
                                .epoch = ++broker->tasks[task].epoch,
                                .confirmed_us = broker->world->now_us};
    member->journals[task] = *ret_journal = journal;
    return STATUS_OK;
}

static void simulated_close(struct journal *journal)
{
    journal->member->journals[journal->number] = NULL;
    entries_clear(&journal->pending);
    abort_transaction(journal->place, journal);
    free(journal);
}

/* Of the entries before `end` only the newest of each key stay, and removed keys may go. */
static void compact(struct broker *broker, struct entries *log, size_t end)
{
    struct slots keys;
    size_t *newest = memory_new((log->count + 1) * sizeof *newest), kept = 0;
    struct id_builder builder;
    uint32_t *slots = memory_new((log->count + 1) * sizeof *slots);
    bool is_new, removes = random_below(&broker->random, 2);

    slots_init(&keys, UINT32_MAX - 1);
    for (size_t i = 0; i < log->count; i++) {
        id_begin(&builder);
        id_add_text(&builder, log->items[i].key_span);
        slots[i] = slots_add(&keys, id_end(&builder), &is_new);
        newest[slots[i]] = i;
    }
    for (size_t i = 0; i < log->count; i++) {
        struct entry *entry = &log->items[i];

        if (i < end && (newest[slots[i]] != i || (removes && !entry->value)))
            entry_free(entry);
        else
            log->items[kept++] = *entry;
    }
    log->count = kept;
    slots_free(&keys);
    free(newest);
    free(slots);
}

/* There are no standbys: a mirror begins with nothing, and where it ends is of no use. */
static enum status simulated_replay(struct journal *journal, struct journal_place *place,
                                    journal_visit *visit, void *owner, struct error *ret_error)
{
    struct broker *broker = journal->broker;
    struct entries *log = &journal->place->changelog;
    enum status status = STATUS_OK;

    assert(place->next == 0);
    if (random_below(&broker->random, 2))
        compact(broker, log, log->count - random_below(&broker->random, log->count + 1) / 2);
    for (size_t i = 0; i < log->count && status == STATUS_OK; i++)
        status = visit(
            owner, &(struct journal_entry){.key = log->items[i].key_span, .value = log->items[i].value_span},
            ret_error);
    return status;
}

static void simulated_seek(struct journal *journal, int64_t next)
{
    struct world *world = journal->broker->world;
    const struct inbox *inbox = &journal->place->inbox;

    /* an older holder may still be on its way here */
    if (journal->epoch == journal->place->epoch && next != inbox->committed)
        world_fail(world, "task %u reads its inbox on at %lld and has committed %lld", journal->number,
                   (long long)next, (long long)inbox->committed);
    if (world->plants.inbox_low && next > 0)
        next--;
    if (world->plants.inbox_high && next > 0)
        next += 2; /* the first may be a marker's */
    while (journal->next < inbox->count && inbox->letters[journal->next].offset < next)
        journal->next++;
    journal->taken = next;
    journal->sought = true;
}

static bool simulated_receive(struct journal *journal, struct span *ret_bytes, int64_t *ret_next)
{
    const struct inbox *inbox = &journal->place->inbox;
    const struct letter *letter = &inbox->letters[journal->next];

    assert(journal->sought);
    if (journal->next == inbox->count || letter->visible_us > journal->broker->world->now_us)
        return false;
    if (!letter->bytes) { /* only somebody who was stopped for long can find that */
        journal->lost = true;
        return false;
    }
    *ret_bytes = span_make(letter->bytes, letter->size);
    *ret_next = journal->taken = letter->offset + 1;
    journal->next++;
    return true;
}

static bool simulated_is_confirmed(struct journal *journal, int64_t now_us)
{
    return now_us - journal->confirmed_us <= journal->broker->scenario->session_us / 2;
}

static bool is_fenced(const struct journal *journal)
{
    return journal->epoch != journal->place->epoch && !journal->broker->world->plants.unfenced;
}

static bool has_left(const struct journal *journal)
{
    return !(journal->member->tasks & 1u << journal->number) && !journal->broker->world->plants.unfenced;
}

bool journal_is_lost(const struct journal *journal)
{
    return journal->lost || is_fenced(journal) || has_left(journal);
}

static enum status lose(struct journal *journal, const char *why, struct error *ret_error)
{
    journal->lost = true;
    entries_clear(&journal->pending);
    abort_transaction(journal->place, journal);
    return fail(ret_error, "task %u: %s", journal->number, why);
}

static enum status retry(const struct journal *journal, struct error *ret_error)
{
    fail(ret_error, "task %u: the broker does not answer", journal->number);
    return STATUS_RETRY;
}

static enum status simulated_put(struct journal *journal, const struct journal_entry *entry,
                                 struct error *ret_error)
{
    struct broker *broker = journal->broker;

    if (journal->lost || (is_fenced(journal) && random_below(&broker->random, 2)))
        return lose(journal, "fenced", ret_error);
    if (chance(broker, broker->scenario->has_busy_broker, BUSY_ENTRY_ONE_IN))
        return retry(journal, ret_error);
    entries_copy(&journal->pending, entry);
    if (random_below(&broker->random, 2) && !is_fenced(journal))
        send_pending(journal);
    return STATUS_OK;
}

static void post(struct broker *broker, const struct journal_parcel *parcels)
{
    bool late = broker->scenario->has_late_parcels;

    for (const struct journal_parcel *parcel = parcels; parcel; parcel = parcel->next) {
        struct inbox *inbox = &broker->tasks[parcel->target].inbox;
        int64_t visible_us = broker->world->now_us;

        assert(parcel->target < broker->scenario->tasks);
        if (chance(broker, late, LATE_ONE_IN))
            visible_us += (int64_t)random_below(&broker->random, LATE_MS_MAX) * 1000;
        inbox->letters =
            memory_reserve(inbox->letters, &inbox->capacity, inbox->count + 1, sizeof *inbox->letters);
        inbox->letters[inbox->count++] = (struct letter){.offset = inbox->next_offset,
                                                         .visible_us = visible_us,
                                                         .size = parcel->size,
                                                         .bytes = memory_text(parcel->bytes, parcel->size)};
        inbox->next_offset += 1 + (parcel->next == NULL); /* the marker of the end */
    }
}

static void commit_inbox(struct journal *journal, int64_t next)
{
    struct broker *broker = journal->broker;
    struct inbox *inbox = &journal->place->inbox;
    bool purges = random_below(&broker->random, PURGE_ONE_IN) == 0;

    if (next < inbox->committed || next > journal->taken)
        world_fail(broker->world, "task %u: inbox %lld is committed after %lld, and %lld was taken",
                   journal->number, (long long)next, (long long)inbox->committed, (long long)journal->taken);
    inbox->committed = next;
    for (size_t i = 0; purges && i < inbox->count && inbox->letters[i].offset < next; i++) {
        free(inbox->letters[i].bytes);
        inbox->letters[i].bytes = NULL;
    }
}

static void take_effect(struct journal *journal, const struct journal_commit *commit)
{
    struct entries *log = &journal->place->changelog;

    send_pending(journal);
    for (size_t i = log->count; i-- > 0 && journal->sent > 0;)
        if (log->items[i].writer == journal) {
            log->items[i].writer = NULL;
            journal->sent--;
        }
    for (size_t i = 0; i < commit->offset_count; i++)
        world_commit(journal->broker->world, &commit->offsets[i]);
    commit_inbox(journal, commit->inbox_next);
    if (!journal->broker->world->plants.loose_parcels)
        post(journal->broker, commit->parcels);
}

static enum status simulated_commit(struct journal *journal, const struct journal_commit *commit,
                                    struct error *ret_error)
{
    struct broker *broker = journal->broker;
    const struct scenario *scenario = broker->scenario;

    if (!journal->lost && !is_fenced(journal) && !has_left(journal) &&
        chance(broker, scenario->has_busy_broker, BUSY_ONE_IN))
        return retry(journal, ret_error);
    if (broker->world->plants.loose_parcels)
        post(broker, commit->parcels);
    if (journal->lost || is_fenced(journal))
        return lose(journal, "fenced", ret_error);
    if (has_left(journal))
        return lose(journal, "no member of the group any more", ret_error);
    if (chance(broker, scenario->has_lost_transactions, LOST_ONE_IN))
        return lose(journal, "the transaction was aborted", ret_error);
    take_effect(journal, commit);
    if (chance(broker, scenario->has_lost_transactions, LOST_ONE_IN))
        return lose(journal, "the answer to the commit was lost", ret_error);
    journal->confirmed_us = broker->world->now_us;
    return STATUS_OK;
}

static enum status simulated_append(struct journal *journal, const struct journal_entry *entries,
                                    size_t count, struct error *ret_error)
{
    struct broker *broker = journal->broker;

    if (journal->lost || is_fenced(journal))
        return lose(journal, "fenced", ret_error);
    if (chance(broker, broker->scenario->has_busy_broker, BUSY_ONE_IN))
        return retry(journal, ret_error);
    for (size_t i = 0; i < count; i++)
        entries_copy(&journal->place->changelog, &entries[i]);
    return STATUS_OK;
}

static void simulated_cancel(struct journal *journal)
{
    journal->lost = true;
}

const struct journal_type journal_simulated = {
    .open = simulated_open,
    .close = simulated_close,
    .replay = simulated_replay,
    .seek = simulated_seek,
    .receive = simulated_receive,
    .is_confirmed = simulated_is_confirmed,
    .put = simulated_put,
    .commit = simulated_commit,
    .append = simulated_append,
    .cancel = simulated_cancel,
};
