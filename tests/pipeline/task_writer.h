/* The store of a task that somebody writes: cuts of random values, documents, notifications and history lines
 * that come and go, as an engine makes them; and a digest of all that a store holds. */
#pragma once
#include "pipeline/store.h"

struct task_writer {
    const struct journal_type *type;
    struct journal *journal;
    struct store *store;
    uint64_t seed, sequence, lines;
    unsigned keys;     /* values at most */
    size_t value_size; /* bytes, which do not get smaller */
};

/* As an engine does: the mirror at `path` with what the task's changelog has. */
void task_writer_open(struct task_writer *writer, const struct journal_type *type, void *cluster,
                      unsigned task, const char *path);
void task_writer_close(struct task_writer *writer);
void task_writer_cut(struct task_writer *writer, unsigned values);

struct task_digest {
    uint64_t hash, generation;
    unsigned values, documents, notifications, lines, runs;
};
struct task_digest task_digest(struct store *store);
void assert_same_digest(struct task_digest a, struct task_digest b);
