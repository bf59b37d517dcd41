/* The store and its keeper without disk and thread, for tests of what hands jobs to them. The store outlives
 * whoever used it, as a file would; jobs run when the test says so. */
#pragma once
#include "pipeline/dead_letters.h"
#include "pipeline/keeper.h"
#include "pipeline/store.h"

struct fake_document {
    struct outbox_document document;
    char *body;
};

struct fake_notification {
    struct notification notification;
    char *body;
};

struct store {
    struct fake_document *documents; /* by sink, lane, sequence */
    size_t document_count, document_capacity;
    struct fake_notification *notifications;
    size_t notification_count, notification_capacity;
    uint64_t history_lines, runs, letters, puts;
    int64_t told_us; /* of the last run */
    bool refusing;   /* answers STATUS_RETRY to every writing call */
};

struct store *fake_store_new(void);
void fake_store_free(struct store *store);
void fake_store_remove(struct store *store, const struct outbox_key *keys, size_t count); /* as a flip does */
struct notification *fake_store_find(struct store *store, uint64_t sink, struct id128 line); /* or NULL */
size_t fake_keeper_drain(struct keeper *keeper); /* runs all that can run */
