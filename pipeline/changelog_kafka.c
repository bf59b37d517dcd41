/* Reads a task's changelog with the process's reader: a replay for a journal that is being opened, or the
 * whole time for a standby. What is committed is read, in batches, each a copy out of librdkafka's buffers;
 * at most half a thousand messages a call.
 *
 * A compacted topic forgets that a key was removed after delete.retention.ms (a day), counted from some time
 * after the removal was written. So what a mirror has is known to go on from its place only for a while after
 * it was whole; that it is whole is known by asking the broker now and then, not from what has come lately,
 * since nothing comes during an outage either. */
#include "pipeline/cluster_internal.h"

#include "base/memory.h"

#include <stdlib.h>

enum { READ_MESSAGES = 512 };

#define FRESH_US    (60 * 60 * INT64_C(1000000)) /* far below a day, with clocks that differ */
#define QUESTION_US (5 * 60 * INT64_C(1000000))

struct changelog {
    struct cluster *cluster;
    int32_t partition;
    rd_kafka_queue_t *queue;
    struct journal_place place;
    int64_t end, asked_us; /* where the changelog ended at this wall time */
    int64_t question_us;   /* wall time of the last question, answered or not */
};

/* Takes a question's time before the question, so that what was written meanwhile counts as later. */
static enum status ask_end(struct changelog *changelog, int64_t *ret_begin, struct error *ret_error)
{
    struct cluster *cluster = changelog->cluster;
    int64_t end;

    changelog->question_us = cluster_real_us();
    rd_kafka_resp_err_t problem = rd_kafka_query_watermark_offsets(
        cluster->reader, cluster->changelog, changelog->partition, ret_begin, &end, CLUSTER_QUERY_MS);

    if (problem) {
        fail(ret_error, "task %d: topic '%s': %s", (int)changelog->partition, cluster->changelog,
             rd_kafka_err2str(problem));
        return STATUS_RETRY;
    }
    changelog->end = end;
    changelog->asked_us = changelog->question_us;
    return STATUS_OK;
}

static enum status refuse(const struct changelog *changelog, const char *reason, struct error *ret_error)
{
    fail(ret_error, "task %d: topic '%s' from offset %lld on: %s", (int)changelog->partition,
         changelog->cluster->changelog, (long long)changelog->place.next, reason);
    return STATUS_SKIP;
}

static enum status check_age(const struct changelog *changelog, struct error *ret_error)
{
    if (llabs(cluster_real_us() - changelog->place.fresh_us) <= FRESH_US)
        return STATUS_OK;
    return refuse(changelog, "so long after, removed keys may be forgotten", ret_error);
}

static enum status check_place(const struct changelog *changelog, int64_t begin, struct error *ret_error)
{
    int64_t next = changelog->place.next;

    if (next == 0 || next == changelog->end)
        return STATUS_OK;
    if (next < begin || next > changelog->end)
        return refuse(changelog, "it is not there", ret_error);
    return check_age(changelog, ret_error);
}

static void note_fresh(struct changelog *changelog)
{
    if (changelog->place.next >= changelog->end && changelog->asked_us > changelog->place.fresh_us)
        changelog->place.fresh_us = changelog->asked_us;
}

static void close_changelog(struct changelog *changelog)
{
    if (changelog->queue) {
        rd_kafka_consume_stop(changelog->cluster->changelogs, changelog->partition);
        rd_kafka_queue_destroy(changelog->queue);
    }
    free(changelog);
}

static enum status begin_reading(struct changelog *changelog, struct error *ret_error)
{
    struct cluster *cluster = changelog->cluster;
    int64_t from = changelog->place.next ? changelog->place.next : RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(cluster->reader);

    if (rd_kafka_consume_start_queue(cluster->changelogs, changelog->partition, from, queue)) {
        fail(ret_error, "task %d: topic '%s': %s", (int)changelog->partition, cluster->changelog,
             rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_queue_destroy(queue);
        return STATUS_RETRY;
    }
    changelog->queue = queue;
    return STATUS_OK;
}

static enum status open_changelog(void *cluster, unsigned task, const struct journal_place *from,
                                  struct changelog **ret_changelog, struct error *ret_error)
{
    struct changelog *changelog = memory_new(sizeof *changelog);
    int64_t begin = 0;

    *changelog = (struct changelog){.cluster = cluster, .partition = (int32_t)task, .place = *from};
    if (from->next == 0)
        changelog->place.fresh_us = cluster_real_us();
    enum status status = ask_end(changelog, &begin, ret_error);

    if (status == STATUS_OK)
        status = check_place(changelog, begin, ret_error);
    if (status == STATUS_OK)
        status = begin_reading(changelog, ret_error);
    note_fresh(changelog);
    if (status == STATUS_OK)
        *ret_changelog = changelog;
    else
        close_changelog(changelog);
    return status;
}

static enum status take_message(struct changelog *changelog, const rd_kafka_message_t *message,
                                journal_visit *visit, void *owner, struct error *ret_error)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        break;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF: /* behind marks and aborted entries, too */
        if (message->offset > changelog->place.next)
            changelog->place.next = message->offset;
        return STATUS_OK;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return refuse(changelog, rd_kafka_message_errstr(message), ret_error);
    default:
        fail(ret_error, "task %d: topic '%s': %s", (int)changelog->partition, changelog->cluster->changelog,
             rd_kafka_message_errstr(message));
        return STATUS_RETRY;
    }
    const struct journal_entry entry = {
        .key = span_make(message->key ? message->key : "", message->key_len),
        .value = span_make(message->payload, message->len),
    };
    enum status status = check_age(changelog, ret_error);

    if (status == STATUS_OK)
        status = visit(owner, &entry, ret_error);
    if (status == STATUS_OK)
        changelog->place.next = message->offset + 1;
    return status;
}

/* A batch call waits until the batch is full, so only a first message is waited for. */
static size_t fetch(struct changelog *changelog, int wait_ms, rd_kafka_message_t **messages)
{
    messages[0] = rd_kafka_consume_queue(changelog->queue, wait_ms);
    if (!messages[0])
        return 0;
    ssize_t more = rd_kafka_consume_batch_queue(changelog->queue, 0, messages + 1, READ_MESSAGES - 1);

    return more > 0 ? (size_t)more + 1 : 1;
}

/* An answer that does not come is asked for again later: until then the place grows old. */
static void ask_again(struct changelog *changelog)
{
    int64_t begin;
    struct error error;

    if (cluster_real_us() - changelog->question_us > QUESTION_US)
        ask_end(changelog, &begin, &error);
    note_fresh(changelog);
}

static int64_t count_behind(const struct changelog *changelog)
{
    const struct cluster *cluster = changelog->cluster;
    int64_t begin, end = changelog->end, last = 0;

    if (rd_kafka_get_watermark_offsets(cluster->reader, cluster->changelog, changelog->partition, &begin,
                                       &last) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        last > end)
        end = last;
    return end > changelog->place.next ? end - changelog->place.next : 0;
}

static enum status read_changelog(struct changelog *changelog, int wait_ms, journal_visit *visit, void *owner,
                                  struct journal_place *ret_place, int64_t *ret_behind,
                                  struct error *ret_error)
{
    rd_kafka_message_t *messages[READ_MESSAGES];
    size_t count = fetch(changelog, wait_ms, messages);
    enum status status = STATUS_OK;

    for (size_t i = 0; i < count; i++) {
        if (status == STATUS_OK)
            status = take_message(changelog, messages[i], visit, owner, ret_error);
        rd_kafka_message_destroy(messages[i]);
    }
    if (status != STATUS_OK)
        return status;
    ask_again(changelog);
    *ret_place = changelog->place;
    *ret_behind = count_behind(changelog);
    return STATUS_OK;
}

const struct changelog_type changelog_kafka = {
    .open = open_changelog,
    .close = close_changelog,
    .read = read_changelog,
};
