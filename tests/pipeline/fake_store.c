#include "tests/pipeline/fake_store.h"

#include "base/memory.h"

#include <stdlib.h>

struct keeper {
    struct keeper_stores stores;
    struct keeper_job *urgent, *others; /* in order */
};

struct store *fake_store_new(void)
{
    return memory_new(sizeof(struct store));
}

void fake_store_free(struct store *store)
{
    for (size_t i = 0; i < store->document_count; i++)
        free(store->documents[i].body);
    for (size_t i = 0; i < store->notification_count; i++)
        free(store->notifications[i].body);
    free(store->documents);
    free(store->notifications);
    free(store);
}

static int compare_keys(const struct outbox_key *a, const struct outbox_key *b)
{
    if (a->sink != b->sink)
        return a->sink < b->sink ? -1 : 1;
    if (a->lane != b->lane)
        return a->lane < b->lane ? -1 : 1;
    return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static size_t first_from(const struct store *store, const struct outbox_key *key)
{
    size_t low = 0, high = store->document_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_keys(&store->documents[middle].document.place, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct store *store, size_t place, const struct outbox_key *key)
{
    return place < store->document_count && compare_keys(&store->documents[place].document.place, key) == 0;
}

enum status store_outbox_put(struct store *store, const struct outbox_document *documents, size_t count,
                             struct error *ret_error)
{
    if (store->refusing)
        return STATUS_RETRY;
    store->puts++;
    for (size_t i = 0; i < count; i++) {
        size_t place = first_from(store, &documents[i].place);
        struct fake_document *mine;

        if (is_at(store, place, &documents[i].place))
            continue;
        store->documents = memory_reserve(store->documents, &store->document_capacity,
                                          store->document_count + 1, sizeof *store->documents);
        mine = &store->documents[place];
        memmove(mine + 1, mine, (store->document_count++ - place) * sizeof *mine);
        *mine = (struct fake_document){.document = documents[i]};
        mine->body = memory_text(documents[i].body.data, documents[i].body.size);
        mine->document.body.data = mine->body;
    }
    return STATUS_OK;
}

static void remove_range(struct store *store, size_t from, size_t until)
{
    for (size_t i = from; i < until; i++)
        free(store->documents[i].body);
    if (until > from)
        memmove(&store->documents[from], &store->documents[until],
                (store->document_count - until) * sizeof *store->documents);
    store->document_count -= until - from;
}

void fake_store_remove(struct store *store, const struct outbox_key *keys, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        size_t place = first_from(store, &keys[i]);

        if (is_at(store, place, &keys[i])) {
            free(store->documents[place].body);
            store->documents[place].body = NULL;
        }
    }
    for (size_t i = 0; i < store->document_count; i++)
        if (store->documents[i].body)
            store->documents[kept++] = store->documents[i];
    store->document_count = kept;
}

enum status store_outbox_read(struct store *store, uint64_t sink, uint64_t lane, uint64_t from_sequence,
                              outbox_visit *visit, void *owner, struct error *ret_error)
{
    size_t place = first_from(store, &(struct outbox_key){sink, lane, from_sequence});

    for (; place < store->document_count && store->documents[place].document.place.sink == sink &&
           store->documents[place].document.place.lane == lane;
         place++)
        if (!visit(owner, &store->documents[place].document))
            break;
    return STATUS_OK;
}

enum status store_outbox_cut(struct store *store, uint64_t sink, uint64_t lane, uint64_t next,
                             struct error *ret_error)
{
    remove_range(store, first_from(store, &(struct outbox_key){sink, lane, next}),
                 first_from(store, &(struct outbox_key){sink, lane + 1, 0}));
    return STATUS_OK;
}

enum status store_outbox_lanes(struct store *store, uint64_t sink, bool (*visit)(void *owner, uint64_t lane),
                               void *owner, struct error *ret_error)
{
    for (uint64_t lane = 0; lane < 64; lane++) {
        size_t place = first_from(store, &(struct outbox_key){sink, lane, 0});

        if (place < store->document_count && store->documents[place].document.place.sink == sink &&
            store->documents[place].document.place.lane == lane && !visit(owner, lane))
            break;
    }
    return STATUS_OK;
}

struct notification *fake_store_find(struct store *store, uint64_t sink, struct id128 line)
{
    for (size_t i = 0; i < store->notification_count; i++)
        if (store->notifications[i].notification.sink == sink &&
            id_equal(store->notifications[i].notification.line, line))
            return &store->notifications[i].notification;
    return NULL;
}

enum status store_notify(struct store *store, const struct notification *notifications, size_t count,
                         struct error *ret_error)
{
    if (store->refusing)
        return STATUS_RETRY;
    for (size_t i = 0; i < count; i++) {
        struct notification *known = fake_store_find(store, notifications[i].sink, notifications[i].line);
        struct fake_notification *mine = (struct fake_notification *)known;

        if (!mine) {
            store->notifications =
                memory_reserve(store->notifications, &store->notification_capacity,
                               store->notification_count + 1, sizeof *store->notifications);
            mine = &store->notifications[store->notification_count++];
            mine->body = NULL;
        }
        free(mine->body);
        mine->body = memory_text(notifications[i].body.data, notifications[i].body.size);
        mine->notification = notifications[i];
        mine->notification.body.data = mine->body;
    }
    return STATUS_OK;
}

enum status store_notifications(struct store *store, notification_visit *visit, void *owner,
                                struct error *ret_error)
{
    for (size_t i = 0; i < store->notification_count; i++)
        if (!visit(owner, &store->notifications[i].notification))
            break;
    return STATUS_OK;
}

enum status store_history_put(struct store *store, const struct history_line *lines, size_t count,
                              struct error *ret_error)
{
    if (store->refusing)
        return STATUS_RETRY;
    store->history_lines += count;
    return STATUS_OK;
}

enum status store_runs_put(struct store *store, const struct ended_run *runs, size_t count,
                           struct error *ret_error)
{
    if (store->refusing)
        return STATUS_RETRY;
    store->runs += count;
    store->told_us = runs[count - 1].told_us;
    return STATUS_OK;
}

enum status dead_letters_put(struct dead_letters *store, const struct dead_letter *letters, size_t count,
                             struct error *ret_error)
{
    struct store *mine = (struct store *)store;

    if (mine->refusing)
        return STATUS_RETRY;
    mine->letters += count;
    return STATUS_OK;
}

struct keeper *keeper_new(const struct keeper_stores *stores, void (*warn)(void *owner, const char *text),
                          void *owner)
{
    struct keeper *keeper = memory_new(sizeof *keeper);

    keeper->stores = *stores;
    return keeper;
}

void keeper_free(struct keeper *keeper)
{
    free(keeper);
}

void keeper_submit(struct keeper *keeper, struct keeper_job *job)
{
    struct keeper_job **end = job->urgent ? &keeper->urgent : &keeper->others;

    while (*end)
        end = &(*end)->next;
    job->next = NULL;
    *end = job;
}

bool keeper_step(struct keeper *keeper, int64_t now_us)
{
    struct keeper_job **front = keeper->urgent ? &keeper->urgent : &keeper->others;
    struct keeper_job *job = *front;
    struct error error;

    if (!job || job->run(job, &keeper->stores, &error) == STATUS_RETRY)
        return false;
    *front = job->next;
    atomic_store(&job->done, true);
    return true;
}

size_t fake_keeper_drain(struct keeper *keeper)
{
    size_t count = 0;

    while (keeper_step(keeper, 0))
        count++;
    return count;
}
