/* Kafka topics as a source: partitions that this process assigns itself, each with a queue of its own, so
 * that one can be left unread while the others go on. poll and release run once a batch and partition and
 * copy nothing; commits go out once a second.
 *
 * Measured with librdkafka 2.0 on two busy cores: 0.6 us of processor time for a message of 400 bytes,
 * lz4, which is what librdkafka costs alone; 0.18 us of it on this thread. A message that waits unread
 * takes 0.3 KiB more than its bytes.
 *
 * Tried and dropped: the consumer's one queue (twice the processor time, and to hold back one partition it
 * takes pause/resume, with which librdkafka 2.0 can skip offsets), subscribing (a rebalance for nothing),
 * and waking librdkafka by a question once its full queues drain (it sleeps for up to 1 s, which cost 12 %
 * at most; the question itself took 100 ms). */
#include "ingest/kafka_source.h"

#include "base/memory.h"
#include "ingest/kafka_probe.h"

#include <assert.h>
#include <stdlib.h>

enum { POLL_MESSAGES_MAX = 1024, CLOSE_TRIES = 5, CLOSE_WAIT_MS = 1000 };

#define COMMIT_INTERVAL_US INT64_C(1000000)
#define FOREIGN_AFTER_US                                                                                     \
    (45 * INT64_C(1000000)) /* Kafka's session timeout: dead members are forgotten by then */
#define TIMESTAMP_MAX_MS (TIME_MAX_US / 1000)

/* librdkafka gives what is not a message as one with an error. */
static void take_event(struct source *source, struct kafka_partition *partition,
                       const rd_kafka_message_t *event)
{
    switch (event->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        /* behind the last message may be control records and compacted ones */
        if (event->offset > partition->position)
            partition->position = event->offset;
        partition->at_end = true;
        partition->doubtful = false;
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        partition->at_end = false;
        partition->out_of_range = true;
        source->lookup_us = source->now_us;
        break;
    default:
        if (kafka_warn_due(source, &partition->told_us))
            kafka_warn(source, "%s [%d]: after offset %lld: %s", partition->about.topic,
                       partition->about.partition, (long long)partition->position - 1,
                       rd_kafka_message_errstr(event));
    }
}

static int64_t arrival_of(const rd_kafka_message_t *record)
{
    rd_kafka_timestamp_type_t type;
    int64_t time_ms = rd_kafka_message_timestamp(record, &type);

    /* producers may write any number */
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms < 0 || time_ms > TIMESTAMP_MAX_MS)
        return TIME_NONE;
    return time_ms * 1000;
}

/* False: it was none to be given, and is destroyed. */
static bool take_record(struct source *source, struct kafka_partition *partition, rd_kafka_message_t *record,
                        struct message *ret_message)
{
    bool is_wanted = false;

    if (record->err) {
        take_event(source, partition, record);
    } else if (record->offset < partition->position) {
        if (kafka_warn_due(source, &partition->told_us))
            kafka_warn(source, "%s [%d]: offset %lld came after %lld and was left out",
                       partition->about.topic, partition->about.partition, (long long)record->offset,
                       (long long)partition->position - 1);
    } else {
        partition->position = record->offset + 1;
        partition->at_end = false;
        partition->doubtful = false;
        is_wanted = record->offset < partition->stop;
    }
    if (!is_wanted) {
        rd_kafka_message_destroy(record);
        return false;
    }
    assert(record->len <= UINT32_MAX);
    *ret_message = (struct message){
        .payload = span_make(record->payload ? record->payload : "", record->len),
        .offset = record->offset,
        .arrival_us = arrival_of(record),
        .handle = record,
    };
    return true;
}

static enum poll_state state_of(const struct source *source, const struct kafka_partition *partition)
{
    if (source->has_foreign_members)
        return POLL_UNREACHABLE;
    if (partition->position >= partition->stop)
        return POLL_DONE;
    if (partition->doubtful || partition->out_of_range)
        return POLL_UNREACHABLE;
    return partition->at_end ? POLL_END : POLL_MORE;
}

static size_t kafka_poll(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                         enum poll_state *ret_state)
{
    rd_kafka_message_t *records[POLL_MESSAGES_MAX];
    struct kafka_partition *partition;
    size_t count = 0;

    assert(index < source->partition_count && limit > 0);
    partition = source->partitions[index];
    if (!source->has_foreign_members && partition->position < partition->stop) {
        ssize_t got = rd_kafka_consume_batch_queue(partition->queue, 0, records,
                                                   limit < POLL_MESSAGES_MAX ? limit : POLL_MESSAGES_MAX);

        for (ssize_t i = 0; i < got; i++)
            count += take_record(source, partition, records[i], &ret_messages[count]);
    }
    partition->outstanding += count;
    *ret_state = count > 0 ? POLL_MORE : state_of(source, partition);
    return count;
}

static void kafka_release(struct source *source, size_t index, struct message *messages, size_t count)
{
    assert(index < source->partition_count && count <= source->partitions[index]->outstanding);
    for (size_t i = 0; i < count; i++)
        rd_kafka_message_destroy(messages[i].handle);
    source->partitions[index]->outstanding -= count;
}

/* Kept until advance sends it; a newer one takes its place. */
static void kafka_commit(struct source *source, size_t index, int64_t offset, struct span metadata)
{
    struct kafka_partition *partition;

    assert(index < source->partition_count && offset >= 0 && metadata.size <= KAFKA_METADATA_BYTES_MAX);
    partition = source->partitions[index];
    partition->commit_offset = offset;
    buffer_clear(&partition->commit_metadata);
    buffer_put_span(&partition->commit_metadata, metadata);
    partition->commit_wanted = true;
}

/* A group with members refuses whoever is none of them. */
static bool is_refusal(rd_kafka_resp_err_t problem)
{
    return problem == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           problem == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           problem == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
           problem == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static void note_refusal(struct source *source)
{
    if (source->refused_since_us == TIME_NONE)
        source->refused_since_us = source->now_us;
    if (source->has_foreign_members || source->now_us - source->refused_since_us <= FOREIGN_AFTER_US)
        return;
    source->has_foreign_members = true;
    kafka_warn(source,
               "group '%s' has other members, which refuse its commits: nothing more is read; "
               "stop them, or choose another group, and start again",
               kafka_group(source));
}

static void note_commit(struct source *source, rd_kafka_resp_err_t problem)
{
    source->commit_in_flight = false;
    for (size_t i = 0; i < source->partition_count; i++) {
        source->partitions[i]->commit_wanted |= problem && source->partitions[i]->commit_sent;
        source->partitions[i]->commit_sent = false;
    }
    if (!problem)
        source->refused_since_us = source->commit_trouble.since_us = TIME_NONE;
    else if (is_refusal(problem))
        note_refusal(source);
    else if (kafka_trouble_due(source, &source->commit_trouble))
        kafka_warn(source, "cannot commit to group '%s' on %s: %s; goes on trying", kafka_group(source),
                   source->settings->brokers, rd_kafka_err2str(problem));
}

/* One partition refused is all refused: to commit the others again does no harm. */
static void on_commit(rd_kafka_t *client, rd_kafka_resp_err_t problem,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    for (int i = 0; offsets && i < offsets->cnt && !problem; i++)
        problem = offsets->elems[i].err;
    note_commit(opaque, problem);
}

static void add_commit(const struct source *source, struct kafka_partition *partition,
                       rd_kafka_topic_partition_list_t *offsets)
{
    rd_kafka_topic_partition_t *element =
        rd_kafka_topic_partition_list_add(offsets, partition->about.topic, partition->about.partition);
    struct span metadata = buffer_span(&partition->commit_metadata);

    element->offset = partition->commit_offset;
    if (metadata.size > 0) {
        /* goes with the list, which librdkafka frees */
        element->metadata = rd_kafka_mem_malloc(source->client, metadata.size);
        element->metadata_size = metadata.size;
        memcpy(element->metadata, metadata.data, metadata.size);
    }
    partition->commit_wanted = false;
    partition->commit_sent = true;
}

static void send_commits(struct source *source)
{
    rd_kafka_topic_partition_list_t *offsets =
        rd_kafka_topic_partition_list_new((int)source->partition_count);

    assert(!source->commit_in_flight);
    for (size_t i = 0; i < source->partition_count; i++)
        if (source->partitions[i]->commit_wanted)
            add_commit(source, source->partitions[i], offsets);
    if (offsets->cnt > 0) {
        source->commit_in_flight = true;
        source->commit_us = source->now_us;
        rd_kafka_resp_err_t problem =
            rd_kafka_commit_queue(source->client, offsets, source->commits, on_commit, source);
        if (problem)
            note_commit(source, problem);
    }
    rd_kafka_topic_partition_list_destroy(offsets);
}

static void kafka_advance(struct source *source, int64_t now_us)
{
    source->now_us = now_us;
    kafka_clients_serve(source);
    kafka_partitions_advance(source);
    rd_kafka_queue_poll_callback(source->commits, 0);
    if (!source->commit_in_flight && !source->has_foreign_members &&
        now_us - source->commit_us >= COMMIT_INTERVAL_US)
        send_commits(source);
}

static bool kafka_endless(const void *settings)
{
    return true;
}

static bool kafka_ready(const struct source *source)
{
    return source->ready;
}

static const char *kafka_refusal(const struct source *source)
{
    return source->refusal[0] ? source->refusal : NULL;
}

static size_t kafka_partition_count(const struct source *source)
{
    return source->partition_count;
}

static const struct source_partition *kafka_partition(const struct source *source, size_t index)
{
    assert(index < source->partition_count);
    return &source->partitions[index]->about;
}

static int64_t kafka_high_offset(const struct source *source, size_t index)
{
    const struct source_partition *about = kafka_partition(source, index);
    int64_t low, high;

    if (rd_kafka_get_watermark_offsets(source->reader, about->topic, about->partition, &low, &high))
        return -1;
    return high >= 0 ? high : -1;
}

static bool has_commits(const struct source *source)
{
    bool is_wanted = source->commit_in_flight;

    for (size_t i = 0; i < source->partition_count; i++)
        is_wanted |= source->partitions[i]->commit_wanted;
    return is_wanted && !source->has_foreign_members;
}

/* The one in flight may be an older offset, and a coordinator may just be moving: hence more than one try. */
static void flush_commits(struct source *source)
{
    for (int tries = 0; tries < CLOSE_TRIES && has_commits(source); tries++) {
        if (!source->commit_in_flight)
            send_commits(source);
        if (source->commit_in_flight)
            rd_kafka_queue_poll_callback(source->commits, CLOSE_WAIT_MS);
    }
}

static void kafka_close(struct source *source)
{
    if (source->client)
        flush_commits(source);
    kafka_partitions_close(source);
    kafka_clients_close(source);
    free(source->topics);
    free(source);
}

static int compare_topics(const void *a, const void *b)
{
    return strcmp(((const struct kafka_topic *)a)->name, ((const struct kafka_topic *)b)->name);
}

static enum status refuse_key(const struct source_context *context, const char *key, const char *value,
                              const char *reason, struct error *ret_error)
{
    const struct node *node = context->node ? node_find(context->node, key) : NULL;

    if (node)
        return node_fail(node, ret_error, "%s: '%s' %s", key, value, reason);
    return fail(ret_error, "%s: %s: '%s' %s", context->name, key, value, reason);
}

static enum status kafka_check(const void *settings, const struct source_context *context,
                               struct error *ret_error)
{
    const struct kafka_settings *kafka = settings;
    const struct option_texts *names = &kafka->topics;
    struct kafka_start start;

    if (!kafka_start_parse(kafka->start, &start))
        return refuse_key(context, "start", kafka->start,
                          "is not latest, earliest, a duration back like -1h, or a time like "
                          "2026-11-21T09:00:00Z",
                          ret_error);
    if (names->count == 0)
        return refuse_key(context, "topics", "", "names no topic", ret_error);
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i][0] == '\0' || names->items[i][0] == '^')
            return refuse_key(context, "topics", names->items[i], "is no exact name, as each topic needs",
                              ret_error);
    return STATUS_OK;
}

/* Each once, by name. */
static void read_topics(struct source *source)
{
    const struct option_texts *names = &source->settings->topics;

    source->topics = memory_new(names->count * sizeof *source->topics);
    for (size_t i = 0; i < names->count; i++)
        source->topics[i] = (struct kafka_topic){.name = names->items[i], .told_us = TIME_NONE};
    qsort(source->topics, names->count, sizeof *source->topics, compare_topics);
    source->topic_count = 1;
    for (size_t i = 1; i < names->count; i++)
        if (compare_topics(&source->topics[i], &source->topics[source->topic_count - 1]) != 0)
            source->topics[source->topic_count++] = source->topics[i];
}

static enum status kafka_open(const void *settings, const struct source_context *context,
                              struct source **ret_source, struct error *ret_error)
{
    struct source *source = memory_new(sizeof *source);

    assert(context->worker < context->workers);
    *source = (struct source){
        .context = *context,
        .settings = settings,
        .now_us = TIME_NONE,
        .lookup_us = TIME_NONE,
        .lookup_trouble = {.since_us = TIME_NONE, .told_us = TIME_NONE},
        .refused_since_us = TIME_NONE,
        .commit_trouble = {.since_us = TIME_NONE, .told_us = TIME_NONE},
    };
    bool known = kafka_start_parse(source->settings->start, &source->start);
    assert(known);
    read_topics(source);
    if (kafka_client_open(source, ret_error) != STATUS_OK) {
        kafka_close(source);
        return STATUS_FATAL;
    }
    *ret_source = source;
    return STATUS_OK;
}

static const struct option kafka_options[] = {
    {.name = "brokers",
     .type = OPTION_TEXT,
     .offset = offsetof(struct kafka_settings, brokers),
     .required = true,
     .help = "Brokers to ask for all others: host:port, several with commas."},
    {.name = "topics",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct kafka_settings, topics),
     .required = true,
     .help = "Exact names of the topics to read; one that does not exist is waited for."},
    {.name = "group",
     .type = OPTION_TEXT,
     .offset = offsetof(struct kafka_settings, group),
     .default_text = "weir",
     .help = "Consumer group to which offsets are committed; it must have no other members."},
    {.name = "start",
     .type = OPTION_TEXT,
     .offset = offsetof(struct kafka_settings, start),
     .default_text = "-1h",
     .help = "Where partitions without a committed offset start: `latest`, `earliest`, a duration back like "
             "`-1h`, or "
             "an RFC 3339 time. Partitions made later start at their beginning."},
    {.name = "librdkafka",
     .type = OPTION_PAIRS,
     .offset = offsetof(struct kafka_settings, librdkafka),
     .help = "Properties of librdkafka, like `security.protocol`, `sasl.username` or `ssl.ca.location`."},
    {.name = "queue_bytes",
     .type = OPTION_SIZE,
     .offset = offsetof(struct kafka_settings, queue_bytes),
     .default_text = "64MiB",
     .min = 1024.0 * 1024,
     .max = 1024.0 * 1024 * 1024,
     .help = "Messages that a worker may hold unread, shared by its partitions, at least 1 MiB each."},
};

const struct source_type kafka_source = {
    .name = "kafka",
    .help = "messages of Kafka topics",
    .options = kafka_options,
    .option_count = sizeof kafka_options / sizeof *kafka_options,
    .settings_size = sizeof(struct kafka_settings),
    .check = kafka_check,
    .open = kafka_open,
    .endless = kafka_endless,
    .ready = kafka_ready,
    .refusal = kafka_refusal,
    .advance = kafka_advance,
    .partition_count = kafka_partition_count,
    .partition = kafka_partition,
    .poll = kafka_poll,
    .release = kafka_release,
    .commit = kafka_commit,
    .high_offset = kafka_high_offset,
    .close = kafka_close,
    .probe = kafka_probe_report,
};
