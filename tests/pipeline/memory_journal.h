/* The changelogs of some tasks in memory, and journals that write them: what journal.h says, without brokers,
 * fencing and inboxes. The log outlives its journals. */
#pragma once
#include "pipeline/journal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { MEMORY_TASKS = 4 };

struct memory_entry {
    struct span key, value; /* owned; value.data NULL: removed */
    bool compacted;         /* no longer there; its offset stays empty */
};

struct memory_log { /* of one task */
    struct memory_entry *entries;
    size_t count, capacity, begin; /* offsets are those of the entries; below `begin` all is deleted */
    bool is_read;
    size_t next;  /* of the last reader */
    size_t given; /* entries, to all readers */
};

/* What changelog and journal types get as their cluster. */
struct memory_journals {
    pthread_mutex_t lock; /* the logs */
    struct memory_log logs[MEMORY_TASKS];
    _Atomic bool away;               /* STATUS_RETRY to all that reads */
    _Atomic bool aged;               /* no place that is not the end is of use */
    _Atomic unsigned opens, read_us; /* a read takes so long */
};

extern const struct journal_type journal_memory;
extern const struct changelog_type changelog_memory;

void memory_journals_open(struct memory_journals *journals);
void memory_journals_close(struct memory_journals *journals);
void memory_compact(struct memory_journals *journals, unsigned task);    /* up to its end */
bool memory_is_read_up(struct memory_journals *journals, unsigned task); /* to its end */
size_t memory_count(struct memory_journals *journals, unsigned task);
size_t memory_given(struct memory_journals *journals, unsigned task); /* since the last time */
