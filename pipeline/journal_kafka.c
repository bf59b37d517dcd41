/* A task's journal in Kafka. Two producers, one for the transactions of cuts and one for what is appended
 * beside them, each with a transactional.id that fences its earlier holder; both are opened at once, because
 * an appender that is opened later could be that of an earlier holder. Inbox and changelog are read by the
 * process's one reader, so a process has at most one journal of a task that has sought its inbox. A commit
 * carries the membership as it was when the journal was opened, so that it fails as soon as the group has
 * moved on, even if this process has not noticed.
 *
 * A put costs a copy; a commit is four rounds to the broker. Parcels are only sent within a commit: an open
 * transaction holds back all readers of the partitions that it has written to. */
#include "pipeline/cluster_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    OPEN_MS = 30000,
    ABORT_MS = 2000,
    REPLAY_WAIT_MS = 100,
    RETRY_PAUSE_MS = 20,
    QUEUE_WAIT_MS = 100,
    STEP_MS = 1000, /* a call that waits is made again until its time is over */
};

#define COMMIT_US         (2 * CLUSTER_TRANSACTION_MS * INT64_C(1000))
#define REPLAY_STALLED_US (90 * INT64_C(1000000)) /* the broker ends a lost transaction after a minute */
#define PURGE_INTERVAL_US (30 * INT64_C(1000000))

struct writer {
    rd_kafka_t *client;
    rd_kafka_topic_t *exchange, *changelog;
    bool in_transaction;
    struct error complaint; /* of the first message that was not delivered */
};

struct journal {
    struct cluster *cluster;
    unsigned task;
    rd_kafka_consumer_group_metadata_t *membership;

    /* The keeper's thread. */
    struct writer cuts, log;
    bool is_lost;
    struct error failure;
    rd_kafka_queue_t *purges; /* answers about what was deleted from the inbox */
    int64_t purge_us, purged_next;

    /* The worker's thread. */
    rd_kafka_queue_t *inbox; /* NULL before seek */
    rd_kafka_message_t *parcel;
    int64_t next;

    _Atomic bool is_cancelled;
    _Atomic bool inbox_is_lost; /* set by the worker once inbox_failure is written */
    struct error inbox_failure;
    _Atomic int64_t confirmed_us;
};

/* True: the same call may succeed now, and the problem is destroyed. */
static bool is_worth_retrying(const struct journal *journal, rd_kafka_error_t *problem, int64_t until_us)
{
    const struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000};

    if (!rd_kafka_error_is_retriable(problem) || rd_kafka_error_txn_requires_abort(problem) ||
        rd_kafka_error_is_fatal(problem) || atomic_load(&journal->is_cancelled) ||
        cluster_monotonic_us() > until_us)
        return false;
    rd_kafka_error_destroy(problem);
    nanosleep(&pause, NULL);
    return true;
}

static bool is_fencing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH || code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static void abort_transaction(struct writer *writer)
{
    if (!writer->in_transaction)
        return;
    rd_kafka_error_t *problem = rd_kafka_abort_transaction(writer->client, ABORT_MS);

    /* then it is for the next holder, whose first call aborts it */
    if (problem)
        rd_kafka_error_destroy(problem);
    writer->in_transaction = false;
}

/* Nothing can be done with this journal any more, and each later call says why. */
static enum status lose(struct journal *journal, const struct writer *writer, rd_kafka_resp_err_t code,
                        const char *reason, struct error *ret_error)
{
    char fatal[256];
    rd_kafka_resp_err_t fatal_code = rd_kafka_fatal_error(writer->client, fatal, sizeof fatal);

    if (fatal_code) {
        code = fatal_code;
        reason = fatal;
    } else if (writer->complaint.text[0] && !is_fencing(code)) {
        reason = writer->complaint.text;
    }
    if (is_fencing(code))
        fail(&journal->failure, "task %u is no longer this process's: %s", journal->task, reason);
    else
        fail(&journal->failure, "task %u: a transaction is lost: %s", journal->task, reason);
    journal->is_lost = true;
    abort_transaction(&journal->cuts);
    abort_transaction(&journal->log);
    *ret_error = journal->failure;
    return STATUS_FATAL;
}

static enum status lose_by(struct journal *journal, const struct writer *writer, rd_kafka_error_t *problem,
                           struct error *ret_error)
{
    enum status status =
        lose(journal, writer, rd_kafka_error_code(problem), rd_kafka_error_string(problem), ret_error);

    rd_kafka_error_destroy(problem);
    return status;
}

/* First in each call of the keeper. */
static enum status check(struct journal *journal, struct error *ret_error)
{
    if (!journal->is_lost && atomic_load_explicit(&journal->inbox_is_lost, memory_order_acquire)) {
        journal->is_lost = true;
        journal->failure = journal->inbox_failure;
        abort_transaction(&journal->cuts);
    }
    if (!journal->is_lost)
        return STATUS_OK;
    *ret_error = journal->failure;
    return STATUS_FATAL;
}

/* From here on its earlier holder's writes fail, and what that one has not committed is aborted. */
static enum status open_writer(struct journal *journal, const char *suffix, struct writer *writer,
                               struct error *ret_error)
{
    struct cluster *cluster = journal->cluster;
    int64_t until_us = cluster_monotonic_us() + OPEN_MS * INT64_C(1000);
    char id[256];

    snprintf(id, sizeof id, "%s-%u%s", cluster->settings->application_id, journal->task, suffix);
    if (cluster_client_new(cluster, CLUSTER_PRODUCER, id, &writer->client, ret_error))
        return STATUS_FATAL;
    writer->exchange = rd_kafka_topic_new(writer->client, cluster->exchange, NULL);
    writer->changelog = rd_kafka_topic_new(writer->client, cluster->changelog, NULL);
    assert(writer->exchange && writer->changelog);
    rd_kafka_error_t *problem;

    while ((problem = rd_kafka_init_transactions(writer->client, STEP_MS))) {
        bool is_retriable = rd_kafka_error_is_retriable(problem);

        fail(ret_error, "task %u: transactions of '%s': %s", journal->task, id,
             rd_kafka_error_string(problem));
        if (!atomic_load(&cluster->hurries) && is_worth_retrying(journal, problem, until_us))
            continue;
        rd_kafka_error_destroy(problem);
        return is_retriable ? STATUS_RETRY : STATUS_FATAL;
    }
    return STATUS_OK;
}

static void close_writer(struct writer *writer)
{
    if (!writer->client)
        return;
    abort_transaction(writer);
    if (writer->exchange)
        rd_kafka_topic_destroy(writer->exchange);
    if (writer->changelog)
        rd_kafka_topic_destroy(writer->changelog);
    rd_kafka_destroy(writer->client);
}

static void close_journal(struct journal *journal)
{
    if (journal->parcel)
        rd_kafka_message_destroy(journal->parcel);
    if (journal->inbox) {
        rd_kafka_consume_stop(journal->cluster->inboxes, (int32_t)journal->task);
        rd_kafka_queue_destroy(journal->inbox);
    }
    if (journal->purges)
        rd_kafka_queue_destroy(journal->purges);
    close_writer(&journal->cuts);
    close_writer(&journal->log);
    if (journal->membership)
        rd_kafka_consumer_group_metadata_destroy(journal->membership);
    free(journal);
}

static enum status open_journal(void *cluster, unsigned task, struct journal **ret_journal,
                                struct error *ret_error)
{
    struct journal *journal = memory_new(sizeof *journal);
    int64_t begun_us = cluster_real_us();
    enum status status;

    journal->cluster = cluster;
    journal->task = task;
    journal->membership = cluster_membership(cluster, task);
    if (!journal->membership) {
        free(journal);
        fail(ret_error, "task %u is no longer this process's", task);
        return STATUS_RETRY;
    }
    status = open_writer(journal, "", &journal->cuts, ret_error);
    if (status == STATUS_OK)
        status = open_writer(journal, "-log", &journal->log, ret_error);
    if (status) {
        close_journal(journal);
        return status;
    }
    journal->purges = rd_kafka_queue_new(journal->cluster->reader);
    journal->purge_us = cluster_monotonic_us();
    atomic_init(&journal->confirmed_us, begun_us);
    *ret_journal = journal;
    return STATUS_OK;
}

/* Up to `end`, which a transaction that is still open holds back. */
static enum status replay_up_to(const struct journal *journal, struct changelog *changelog, int64_t end,
                                struct journal_place *place, journal_visit *visit, void *owner,
                                struct error *ret_error)
{
    int64_t moved_us = cluster_monotonic_us(), behind;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && place->next < end) {
        int64_t before = place->next;

        if (atomic_load(&journal->cluster->hurries)) {
            fail(ret_error, "task %u is no longer wanted", journal->task);
            return STATUS_RETRY;
        }
        status = changelog_kafka.read(changelog, REPLAY_WAIT_MS, visit, owner, place, &behind, ret_error);
        if (place->next > before) {
            moved_us = cluster_monotonic_us();
        } else if (status == STATUS_OK && cluster_monotonic_us() - moved_us > REPLAY_STALLED_US) {
            fail(ret_error, "task %u: topic '%s' is not readable up to its end", journal->task,
                 journal->cluster->changelog);
            status = STATUS_RETRY;
        }
    }
    return status;
}

static enum status replay_journal(struct journal *journal, struct journal_place *place, journal_visit *visit,
                                  void *owner, struct error *ret_error)
{
    struct cluster *cluster = journal->cluster;
    struct changelog *changelog;
    int64_t begin, end;
    rd_kafka_resp_err_t problem = rd_kafka_query_watermark_offsets(
        journal->cuts.client, cluster->changelog, (int32_t)journal->task, &begin, &end, CLUSTER_QUERY_MS);

    if (problem) {
        fail(ret_error, "task %u: topic '%s': %s", journal->task, cluster->changelog,
             rd_kafka_err2str(problem));
        return STATUS_RETRY;
    }
    enum status status = changelog_kafka.open(cluster, journal->task, place, &changelog, ret_error);

    if (status != STATUS_OK)
        return status;
    status = replay_up_to(journal, changelog, end, place, visit, owner, ret_error);
    changelog_kafka.close(changelog);
    return status;
}

static void lose_inbox(struct journal *journal, const char *reason)
{
    if (atomic_load_explicit(&journal->inbox_is_lost, memory_order_relaxed))
        return;
    fail(&journal->inbox_failure, "task %u: topic '%s' from offset %lld on: %s: parcels may be lost",
         journal->task, journal->cluster->exchange, (long long)journal->next, reason);
    atomic_store_explicit(&journal->inbox_is_lost, true, memory_order_release);
}

static void seek_inbox(struct journal *journal, int64_t next)
{
    assert(!journal->inbox && next >= 0);
    journal->next = next;
    journal->inbox = rd_kafka_queue_new(journal->cluster->reader);
    if (rd_kafka_consume_start_queue(journal->cluster->inboxes, (int32_t)journal->task,
                                     next == 0 ? RD_KAFKA_OFFSET_BEGINNING : next, journal->inbox))
        lose_inbox(journal, rd_kafka_err2str(rd_kafka_last_error()));
}

static void take_inbox_event(struct journal *journal, const rd_kafka_message_t *event)
{
    switch (event->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        lose_inbox(journal, rd_kafka_message_errstr(event));
        break;
    default:
        cluster_warn(journal->cluster, TROUBLE_OTHER, "cluster: task %u: topic '%s': %s", journal->task,
                     journal->cluster->exchange, rd_kafka_message_errstr(event));
    }
}

static bool receive_parcel(struct journal *journal, struct span *ret_bytes, int64_t *ret_next)
{
    assert(journal->inbox);
    if (journal->parcel) {
        rd_kafka_message_destroy(journal->parcel);
        journal->parcel = NULL;
    }
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(journal->inbox, 0);

        if (!message)
            return false;
        if (!message->err) {
            assert(message->offset >= journal->next && message->len <= UINT32_MAX);
            journal->parcel = message;
            journal->next = message->offset + 1;
            *ret_bytes = span_make(message->payload ? message->payload : "", message->len);
            *ret_next = journal->next;
            return true;
        }
        take_inbox_event(journal, message);
        rd_kafka_message_destroy(message);
    }
}

/* The process may have been stopped since the turn began, which gives its time. */
static bool is_confirmed(struct journal *journal, int64_t now_us)
{
    int64_t real_us = cluster_real_us(), since_us = real_us > now_us ? real_us : now_us;

    since_us -= atomic_load_explicit(&journal->confirmed_us, memory_order_relaxed);
    return since_us >= 0 && since_us <= journal->cluster->settings->session_us / 2;
}

static enum status begin(struct journal *journal, struct writer *writer, struct error *ret_error)
{
    if (writer->in_transaction)
        return STATUS_OK;
    rd_kafka_error_t *problem = rd_kafka_begin_transaction(writer->client);

    if (problem)
        return lose_by(journal, writer, problem, ret_error);
    writer->in_transaction = true;
    return STATUS_OK;
}

/* Waits while the producer's queue is full: it empties, or its messages time out, which loses the
 * transaction. */
static enum status produce(struct journal *journal, struct writer *writer, rd_kafka_topic_t *topic,
                           unsigned partition, struct span key, struct span value, struct error *ret_error)
{
    for (;;) {
        rd_kafka_resp_err_t problem = rd_kafka_producev(
            writer->client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION((int32_t)partition),
            RD_KAFKA_V_KEY(key.size ? key.data : NULL, key.size),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size),
            RD_KAFKA_V_OPAQUE(&writer->complaint), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);

        if (problem == RD_KAFKA_RESP_ERR_NO_ERROR)
            return STATUS_OK;
        if (problem != RD_KAFKA_RESP_ERR__QUEUE_FULL || atomic_load(&journal->is_cancelled))
            return lose(journal, writer, problem, rd_kafka_err2str(problem), ret_error);
        rd_kafka_poll(writer->client, QUEUE_WAIT_MS);
    }
}

static enum status put_entry(struct journal *journal, const struct journal_entry *entry,
                             struct error *ret_error)
{
    struct writer *writer = &journal->cuts;

    if (check(journal, ret_error) || begin(journal, writer, ret_error))
        return STATUS_FATAL;
    rd_kafka_poll(writer->client, 0);
    return produce(journal, writer, writer->changelog, journal->task, entry->key, entry->value, ret_error);
}

/* Retries with the same arguments until the transaction would be too old. */
static enum status end(struct journal *journal, struct writer *writer, struct error *ret_error)
{
    int64_t until_us = cluster_monotonic_us() + COMMIT_US;
    rd_kafka_error_t *problem;

    while ((problem = rd_kafka_commit_transaction(writer->client, STEP_MS)))
        if (!is_worth_retrying(journal, problem, until_us))
            return lose_by(journal, writer, problem, ret_error);
    writer->in_transaction = false;
    return STATUS_OK;
}

static void add_offset(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t partition,
                       int64_t offset, struct span metadata)
{
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, topic, partition);

    entry->offset = offset;
    if (metadata.size) {
        entry->metadata = memory_text(metadata.data, metadata.size); /* the list frees it */
        entry->metadata_size = metadata.size;
    }
}

/* At each commit, so that a process that is no longer a member fails at each. */
static enum status send_offsets(struct journal *journal, const struct journal_commit *commit,
                                struct error *ret_error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)commit->offset_count + 1);
    int64_t until_us = cluster_monotonic_us() + CLUSTER_TRANSACTION_MS * INT64_C(1000);
    rd_kafka_error_t *problem;

    for (size_t i = 0; i < commit->offset_count; i++) {
        const struct journal_offset *offset = &commit->offsets[i];

        add_offset(list, offset->topic, offset->partition, offset->offset, offset->metadata);
    }
    add_offset(list, journal->cluster->exchange, (int32_t)journal->task, commit->inbox_next,
               (struct span){0});
    do {
        problem =
            rd_kafka_send_offsets_to_transaction(journal->cuts.client, list, journal->membership, STEP_MS);
    } while (problem && is_worth_retrying(journal, problem, until_us));
    rd_kafka_topic_partition_list_destroy(list);
    return problem ? lose_by(journal, &journal->cuts, problem, ret_error) : STATUS_OK;
}

static rd_kafka_resp_err_t purge_problem(rd_kafka_event_t *answer)
{
    if (rd_kafka_event_error(answer))
        return rd_kafka_event_error(answer);
    const rd_kafka_topic_partition_list_t *list =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(answer));

    assert(list->cnt == 1);
    return list->elems[0].err;
}

/* The answers come with a later commit; what could not be deleted is asked for again. */
static void purge_inbox(struct journal *journal, int64_t next)
{
    rd_kafka_event_t *answer;
    int64_t now_us = cluster_monotonic_us();

    while ((answer = rd_kafka_queue_poll(journal->purges, 0))) {
        rd_kafka_resp_err_t problem = purge_problem(answer);

        if (problem) {
            cluster_warn(journal->cluster, TROUBLE_PURGE, "cluster: task %u: topic '%s' grows: %s",
                         journal->task, journal->cluster->exchange, rd_kafka_err2str(problem));
            journal->purged_next = 0;
        }
        rd_kafka_event_destroy(answer);
    }
    if (now_us - journal->purge_us < PURGE_INTERVAL_US || next == journal->purged_next)
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    add_offset(list, journal->cluster->exchange, (int32_t)journal->task, next, (struct span){0});
    rd_kafka_DeleteRecords_t *purge = rd_kafka_DeleteRecords_new(list);

    rd_kafka_DeleteRecords(journal->cluster->reader, &purge, 1, NULL, journal->purges);
    rd_kafka_DeleteRecords_destroy(purge);
    rd_kafka_topic_partition_list_destroy(list);
    journal->purge_us = now_us;
    journal->purged_next = next;
}

static enum status commit_cut(struct journal *journal, const struct journal_commit *commit,
                              struct error *ret_error)
{
    struct writer *writer = &journal->cuts;
    int64_t begun_us = cluster_real_us();

    if (check(journal, ret_error) || begin(journal, writer, ret_error))
        return STATUS_FATAL;
    for (const struct journal_parcel *parcel = commit->parcels; parcel; parcel = parcel->next) {
        assert(parcel->target < journal->cluster->settings->tasks);
        if (produce(journal, writer, writer->exchange, parcel->target, (struct span){0},
                    span_make(parcel->bytes, parcel->size), ret_error))
            return STATUS_FATAL;
    }
    if (send_offsets(journal, commit, ret_error) || end(journal, writer, ret_error))
        return STATUS_FATAL;
    atomic_store_explicit(&journal->confirmed_us, begun_us, memory_order_relaxed);
    purge_inbox(journal, commit->inbox_next);
    return STATUS_OK;
}

static enum status append_entries(struct journal *journal, const struct journal_entry *entries, size_t count,
                                  struct error *ret_error)
{
    struct writer *writer = &journal->log;

    if (check(journal, ret_error) || begin(journal, writer, ret_error))
        return STATUS_FATAL;
    for (size_t i = 0; i < count; i++)
        if (produce(journal, writer, writer->changelog, journal->task, entries[i].key, entries[i].value,
                    ret_error))
            return STATUS_FATAL;
    return end(journal, writer, ret_error);
}

static void cancel_journal(struct journal *journal)
{
    atomic_store(&journal->is_cancelled, true);
}

const struct journal_type journal_kafka = {
    .open = open_journal,
    .close = close_journal,
    .replay = replay_journal,
    .seek = seek_inbox,
    .receive = receive_parcel,
    .is_confirmed = is_confirmed,
    .put = put_entry,
    .commit = commit_cut,
    .append = append_entries,
    .cancel = cancel_journal,
};
