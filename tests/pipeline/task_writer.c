#include "tests/pipeline/task_writer.h"

#include "base/hash.h"
#include "base/memory.h"
#include "tests/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SINKS = 2, LANES = 2, DOCUMENTS = 3, DROP_ONE_IN = 10, TABLES = 8 };

static void check(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        fail_msg("status %d: %s", status, error->text);
}

void task_writer_open(struct task_writer *writer, const struct journal_type *type, void *cluster,
                      unsigned task, const char *path)
{
    const struct store_options options = {.mirror = true, .history_us = 1000000};
    struct error error = {""};

    writer->type = type;
    check(type->open(cluster, task, &writer->journal, &error), &error);
    check(store_open(path, &options, &writer->store, &error), &error);
    check(store_follow(writer->store, type, writer->journal, &error), &error);
}

void task_writer_close(struct task_writer *writer)
{
    store_close(writer->store);
    writer->type->close(writer->journal);
    writer->store = NULL;
    writer->journal = NULL;
}

static void fill(uint64_t *seed, char *bytes, size_t size)
{
    for (size_t at = 0; at + 8 <= size; at += 8) {
        uint64_t number = random_next(seed);

        memcpy(bytes + at, &number, 8);
    }
}

static void put_values(struct task_writer *writer, uint64_t generation, unsigned count)
{
    char *bytes = memory_new(writer->value_size);
    struct error error;

    for (unsigned i = 0; i < count; i++) {
        uint64_t key = random_below(&writer->seed, writer->keys);
        const struct state_value value = {
            .key = {.kind = STATE_SERIES, .owner = key % TABLES, .block = (uint32_t)key},
            .bytes = span_make(bytes, writer->value_size)};

        fill(&writer->seed, bytes, writer->value_size);
        check(store_put(writer->store, generation, &value, 1, &error), &error);
    }
    free(bytes);
}

static void put_documents(struct task_writer *writer)
{
    struct error error;

    for (unsigned i = 0; i < DOCUMENTS; i++) {
        const struct outbox_document document = {
            .place = {.sink = i % SINKS, .lane = i % LANES, .sequence = writer->sequence + i},
            .kind = DOC_ALERT,
            .id = {writer->sequence, i},
            .body = SPAN_LITERAL("a document")};

        check(store_outbox_put(writer->store, &document, 1, &error), &error);
    }
}

static void put_lines(struct task_writer *writer)
{
    const struct notification notification = {.sink = 1,
                                              .line = {7, writer->lines / 2}, /* each is told, then marked */
                                              .at_us = (int64_t)writer->lines,
                                              .told_us = (int64_t)writer->lines * 100000,
                                              .sent = writer->lines % 2,
                                              .body = SPAN_LITERAL("a line")};
    const struct history_line line = {.id = {8, writer->lines},
                                      .at_us = (int64_t)writer->lines,
                                      .told_us = (int64_t)writer->lines * 100000,
                                      .line = SPAN_LITERAL("{}")};
    const struct ended_run run = {.first_us = (int64_t)writer->lines / 3, /* each is told three times */
                                  .id = {9, writer->lines / 3},
                                  .version = writer->lines,
                                  .told_us = (int64_t)writer->lines * 100000,
                                  .line = SPAN_LITERAL("{}")};
    struct error error;

    check(store_notify(writer->store, &notification, 1, &error), &error);
    check(store_history_put(writer->store, &line, 1, &error), &error);
    check(store_runs_put(writer->store, &run, 1, &error), &error);
    writer->lines++;
}

/* One document of each cut waits for long; the others are acknowledged by the next one. */
void task_writer_cut(struct task_writer *writer, unsigned values)
{
    uint64_t generation = store_generation(writer->store) + 1;
    const struct state_table dropped = {.kind = STATE_SERIES, .owner = random_below(&writer->seed, TABLES)};
    struct outbox_key acknowledged[DOCUMENTS - 1];
    const struct journal_commit commit = {.parcels = NULL};
    struct store_flip flip = {.generation = generation,
                              .dropped = &dropped,
                              .dropped_count = random_below(&writer->seed, DROP_ONE_IN) == 0,
                              .acknowledged = acknowledged,
                              .commit = &commit};
    struct error error;

    for (unsigned i = 0; i < DOCUMENTS - 1 && writer->sequence; i++)
        acknowledged[flip.acknowledged_count++] = (struct outbox_key){
            .sink = i % SINKS, .lane = i % LANES, .sequence = writer->sequence - DOCUMENTS + i};
    while (store_tidy(writer->store, (int64_t)writer->lines * 100000))
        continue; /* committed with this cut */
    put_values(writer, generation, values);
    put_documents(writer);
    put_lines(writer);
    writer->sequence += DOCUMENTS;
    check(store_flip(writer->store, &flip, &error), &error);
}

static void add(struct task_digest *digest, const void *data, size_t size)
{
    digest->hash = hash_bytes(data, size, digest->hash);
}

static enum status add_value(void *owner, const struct state_key *key, struct span bytes,
                             struct error *ret_error)
{
    struct task_digest *digest = owner;
    const uint64_t numbers[] = {key->kind, key->owner, key->part, key->block};

    (void)ret_error;
    digest->values++;
    add(digest, numbers, sizeof numbers);
    add(digest, bytes.data, bytes.size);
    return STATUS_OK;
}

static bool add_document(void *owner, const struct outbox_document *document)
{
    struct task_digest *digest = owner;

    digest->documents++;
    add(digest, &document->place, sizeof document->place);
    add(digest, &document->id, sizeof document->id);
    add(digest, document->body.data, document->body.size);
    return true;
}

static bool add_notification(void *owner, const struct notification *notification)
{
    struct task_digest *digest = owner;

    digest->notifications++;
    add(digest, &notification->line, sizeof notification->line);
    add(digest, &notification->told_us, sizeof notification->told_us);
    add(digest, &notification->sent, sizeof notification->sent);
    add(digest, notification->body.data, notification->body.size);
    return true;
}

static bool add_line(void *owner, const struct history_line *line)
{
    struct task_digest *digest = owner;

    digest->lines++;
    add(digest, &line->id, sizeof line->id);
    add(digest, &line->told_us, sizeof line->told_us);
    add(digest, line->line.data, line->line.size);
    return true;
}

static bool add_run(void *owner, const struct ended_run *run)
{
    struct task_digest *digest = owner;

    digest->runs++;
    add(digest, &run->id, sizeof run->id);
    add(digest, &run->version, sizeof run->version);
    add(digest, run->line.data, run->line.size);
    return true;
}

struct task_digest task_digest(struct store *store)
{
    struct task_digest digest = {.generation = store_generation(store)};
    struct error error;

    check(store_load(store, add_value, &digest, &error), &error);
    for (uint64_t sink = 0; sink < SINKS; sink++)
        for (uint64_t lane = 0; lane < LANES; lane++)
            check(store_outbox_read(store, sink, lane, 0, add_document, &digest, &error), &error);
    check(store_notifications(store, add_notification, &digest, &error), &error);
    check(store_history(store, 1 << 20, add_line, &digest, &error), &error);
    check(store_runs(store, add_run, &digest, &error), &error);
    return digest;
}

void assert_same_digest(struct task_digest a, struct task_digest b)
{
    assert_int_equal(a.generation, b.generation);
    assert_int_equal(a.values, b.values);
    assert_int_equal(a.documents, b.documents);
    assert_int_equal(a.notifications, b.notifications);
    assert_int_equal(a.lines, b.lines);
    assert_int_equal(a.runs, b.runs);
    assert_true(a.hash == b.hash);
}
