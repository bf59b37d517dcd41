#include "tests/pipeline/memory_journal.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_ENTRIES = 50 };

struct journal {
    struct memory_journals *journals;
    unsigned task;
    struct memory_entry *pending; /* of the transaction under way */
    size_t count, capacity;
};

struct changelog {
    struct memory_journals *journals;
    struct memory_log *log;
    struct journal_place place;
};

static struct span copy(struct span bytes)
{
    return bytes.data ? span_make(memory_text(bytes.data, bytes.size), bytes.size) : bytes;
}

static void discard(struct memory_entry *entry)
{
    free((char *)(uintptr_t)entry->key.data);
    free((char *)(uintptr_t)entry->value.data);
}

void memory_journals_open(struct memory_journals *journals)
{
    memset((void *)journals, 0, sizeof *journals);
    pthread_mutex_init(&journals->lock, NULL);
}

void memory_journals_close(struct memory_journals *journals)
{
    for (unsigned t = 0; t < MEMORY_TASKS; t++) {
        for (size_t i = 0; i < journals->logs[t].count; i++)
            discard(&journals->logs[t].entries[i]);
        free(journals->logs[t].entries);
    }
    pthread_mutex_destroy(&journals->lock);
}

void memory_compact(struct memory_journals *journals, unsigned task)
{
    struct memory_log *log = &journals->logs[task];

    pthread_mutex_lock(&journals->lock);
    for (size_t i = 0; i < log->count; i++)
        for (size_t k = i + 1; k < log->count && !log->entries[i].compacted; k++)
            log->entries[i].compacted = span_equal(log->entries[i].key, log->entries[k].key);
    pthread_mutex_unlock(&journals->lock);
}

bool memory_is_read_up(struct memory_journals *journals, unsigned task)
{
    const struct memory_log *log = &journals->logs[task];

    pthread_mutex_lock(&journals->lock);
    bool is_up = log->is_read && log->next == log->count;
    pthread_mutex_unlock(&journals->lock);
    return is_up;
}

size_t memory_count(struct memory_journals *journals, unsigned task)
{
    pthread_mutex_lock(&journals->lock);
    size_t count = journals->logs[task].count;
    pthread_mutex_unlock(&journals->lock);
    return count;
}

size_t memory_given(struct memory_journals *journals, unsigned task)
{
    pthread_mutex_lock(&journals->lock);
    size_t given = journals->logs[task].given;
    journals->logs[task].given = 0;
    pthread_mutex_unlock(&journals->lock);
    return given;
}

static void add(struct memory_journals *journals, unsigned task, const struct memory_entry *entries,
                size_t count)
{
    struct memory_log *log = &journals->logs[task];

    pthread_mutex_lock(&journals->lock);
    log->entries = memory_reserve(log->entries, &log->capacity, log->count + count, sizeof *log->entries);
    memcpy(log->entries + log->count, entries, count * sizeof *entries);
    log->count += count;
    pthread_mutex_unlock(&journals->lock);
}

static enum status open_changelog(void *cluster, unsigned task, const struct journal_place *from,
                                  struct changelog **ret_changelog, struct error *ret_error)
{
    struct memory_journals *journals = cluster;
    struct memory_log *log = &journals->logs[task];
    size_t next = (size_t)from->next;
    enum status status = STATUS_OK;

    atomic_fetch_add(&journals->opens, 1);
    pthread_mutex_lock(&journals->lock);
    assert(!log->is_read);
    if (journals->away)
        status = STATUS_RETRY;
    else if (next && (next < log->begin || next > log->count || (journals->aged && next < log->count)))
        status = STATUS_SKIP;
    log->is_read = status == STATUS_OK;
    log->next = next;
    pthread_mutex_unlock(&journals->lock);
    if (status != STATUS_OK) {
        fail(ret_error, "task %u: %s", task, status == STATUS_RETRY ? "away" : "no such place");
        return status;
    }
    *ret_changelog = memory_new(sizeof **ret_changelog);
    **ret_changelog = (struct changelog){.journals = journals, .log = log, .place = *from};
    return STATUS_OK;
}

static void close_changelog(struct changelog *changelog)
{
    pthread_mutex_lock(&changelog->journals->lock);
    changelog->log->is_read = false;
    pthread_mutex_unlock(&changelog->journals->lock);
    free(changelog);
}

static enum status read_changelog(struct changelog *changelog, int wait_ms, journal_visit *visit, void *owner,
                                  struct journal_place *ret_place, int64_t *ret_behind,
                                  struct error *ret_error)
{
    struct memory_log *log = changelog->log;
    size_t next = (size_t)changelog->place.next;
    enum status status = STATUS_OK;

    (void)wait_ms;
    usleep(changelog->journals->read_us);
    if (changelog->journals->away) {
        fail(ret_error, "away");
        return STATUS_RETRY;
    }
    pthread_mutex_lock(&changelog->journals->lock);
    for (size_t left = READ_ENTRIES; left && next < log->count && status == STATUS_OK; next++) {
        const struct memory_entry *entry = &log->entries[next];

        if (entry->compacted)
            continue;
        left--;
        log->given++;
        status = visit(owner, &(struct journal_entry){.key = entry->key, .value = entry->value}, ret_error);
    }
    changelog->place = (struct journal_place){.next = (int64_t)next, .fresh_us = 1};
    log->next = next;
    *ret_place = changelog->place;
    *ret_behind = (int64_t)(log->count - next);
    pthread_mutex_unlock(&changelog->journals->lock);
    return status;
}

static enum status open_journal(void *cluster, unsigned task, struct journal **ret_journal,
                                struct error *ret_error)
{
    (void)ret_error;
    *ret_journal = memory_new(sizeof **ret_journal);
    (*ret_journal)->journals = cluster;
    (*ret_journal)->task = task;
    return STATUS_OK;
}

static void close_journal(struct journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        discard(&journal->pending[i]);
    free(journal->pending);
    free(journal);
}

static enum status replay(struct journal *journal, struct journal_place *place, journal_visit *visit,
                          void *owner, struct error *ret_error)
{
    struct changelog *changelog;
    int64_t behind = 1;
    enum status status = open_changelog(journal->journals, journal->task, place, &changelog, ret_error);

    if (status != STATUS_OK)
        return status;
    while (status == STATUS_OK && behind > 0)
        status = read_changelog(changelog, 0, visit, owner, place, &behind, ret_error);
    close_changelog(changelog);
    return status;
}

static enum status put(struct journal *journal, const struct journal_entry *entry, struct error *ret_error)
{
    (void)ret_error;
    journal->pending =
        memory_reserve(journal->pending, &journal->capacity, journal->count + 1, sizeof *journal->pending);
    journal->pending[journal->count++] =
        (struct memory_entry){.key = copy(entry->key), .value = copy(entry->value)};
    return STATUS_OK;
}

static enum status commit(struct journal *journal, const struct journal_commit *what, struct error *ret_error)
{
    (void)what, (void)ret_error;
    add(journal->journals, journal->task, journal->pending, journal->count);
    journal->count = 0;
    return STATUS_OK;
}

static enum status append(struct journal *journal, const struct journal_entry *entries, size_t count,
                          struct error *ret_error)
{
    (void)ret_error;
    for (size_t i = 0; i < count; i++) {
        struct memory_entry entry = {.key = copy(entries[i].key), .value = copy(entries[i].value)};

        add(journal->journals, journal->task, &entry, 1);
    }
    return STATUS_OK;
}

const struct journal_type journal_memory = {.open = open_journal,
                                            .close = close_journal,
                                            .replay = replay,
                                            .put = put,
                                            .commit = commit,
                                            .append = append};
const struct changelog_type changelog_memory = {
    .open = open_changelog, .close = close_changelog, .read = read_changelog};
