/* Which partitions there are, which are this worker's, and where each of them starts. Runs every 30 s and
 * costs one round trip then; every second while something is missing or out of reach.
 *
 * A partition's worker is (hash of its topic's name + its number) mod workers. Workers look at different
 * moments, so a running number over all partitions, which shifts when a topic grows, could give one to two
 * workers or to none; and in a cluster a partition stays with its task, which has its state, whatever topics
 * are added.
 *
 * Tried and dropped: asking on the reading connection (the answer waits for the fetch before it: 50 ms on
 * average), a statistics callback (no word on topics that do not exist), and librdkafka's own reset of
 * lost offsets (skips silently). */
#include "base/hash.h"
#include "base/memory.h"
#include "ingest/kafka_source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIST_WAIT_MS = 100, QUESTION_WAIT_MS = 1000 };

#define LOOKUP_INTERVAL_US (30 * INT64_C(1000000))
#define RETRY_INTERVAL_US  INT64_C(1000000)

bool kafka_start_parse(const char *text, struct kafka_start *ret_start)
{
    if (strcmp(text, "earliest") == 0)
        *ret_start = (struct kafka_start){.kind = KAFKA_START_EARLIEST};
    else if (strcmp(text, "latest") == 0)
        *ret_start = (struct kafka_start){.kind = KAFKA_START_LATEST};
    else if (text[0] == '-' && duration_parse(span_of(text + 1), &ret_start->time_us))
        ret_start->kind = KAFKA_START_AGO;
    else if (time_parse(span_of(text), TIME_UNIT_AUTO, TIME_NONE, &ret_start->time_us))
        ret_start->kind = KAFKA_START_AT;
    else
        return false;
    return true;
}

static void keep_complaint(struct source *source, rd_kafka_resp_err_t problem)
{
    /* what librdkafka said by itself tells more */
    if (source->complaint[0] == '\0')
        snprintf(source->complaint, sizeof source->complaint, "%s", rd_kafka_err2str(problem));
}

/* The offset of the first message from a time on, in ms; or RD_KAFKA_OFFSET_END, _BEGINNING. Where there
 * is no such message the answer is RD_KAFKA_OFFSET_END. */
static bool ask_offsets(struct source *source, rd_kafka_topic_partition_list_t *list, int64_t when)
{
    rd_kafka_resp_err_t problem;

    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = when;
    problem = rd_kafka_offsets_for_times(source->client, list, QUESTION_WAIT_MS);
    for (int i = 0; i < list->cnt && !problem; i++)
        problem = list->elems[i].err;
    if (problem)
        keep_complaint(source, problem);
    return !problem;
}

static bool ask_committed(struct source *source, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t problem = rd_kafka_committed(source->client, list, QUESTION_WAIT_MS);

    for (int i = 0; i < list->cnt && !problem; i++)
        problem = list->elems[i].err;
    if (problem)
        keep_complaint(source, problem);
    return !problem;
}

static struct kafka_partition *find_partition(const struct source *source, size_t topic, int32_t number)
{
    for (size_t i = 0; i < source->partition_count; i++)
        if (source->partitions[i]->topic == topic && source->partitions[i]->about.partition == number)
            return source->partitions[i];
    return NULL;
}

static size_t find_topic(const struct source *source, const char *name)
{
    for (size_t i = 0; i < source->topic_count; i++)
        if (strcmp(source->topics[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

static void tell_topic(struct source *source, struct kafka_topic *topic, rd_kafka_resp_err_t problem)
{
    const char *brokers = source->settings->brokers;

    if (source->context.once && problem == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        snprintf(source->refusal, sizeof source->refusal, "topic '%s' does not exist on %s", topic->name,
                 brokers);
        return;
    }
    if (!kafka_warn_due(source, &topic->told_us))
        return;
    if (problem == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        kafka_warn(source, "topic '%s' does not exist on %s; waiting for it", topic->name, brokers);
    else
        kafka_warn(source, "topic '%s' on %s: %s", topic->name, brokers, rd_kafka_err2str(problem));
}

/* Notes which partitions have leaders and adds this worker's new ones to the list. False: something should
 * be looked at again soon; *ret_known is false when it is not even known which partitions there are. */
static bool read_topic(struct source *source, const struct rd_kafka_metadata_topic *found,
                       rd_kafka_topic_partition_list_t *fresh, bool *ret_known)
{
    size_t index = find_topic(source, found->topic);
    uint64_t hash = hash_bytes(found->topic, strlen(found->topic), 0);
    bool is_whole = true;

    if (index == SIZE_MAX)
        return true;
    struct kafka_topic *topic = &source->topics[index];
    if (found->err) {
        tell_topic(source, topic, found->err);
        *ret_known &= found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        return false;
    }
    for (int i = 0; i < found->partition_cnt; i++) {
        int32_t number = found->partitions[i].id;
        bool has_leader = found->partitions[i].leader >= 0;

        if ((hash + (uint64_t)number) % source->context.workers != source->context.worker)
            continue;
        struct kafka_partition *partition = find_partition(source, index, number);
        is_whole &= has_leader;
        if (partition)
            partition->has_leader = has_leader;
        else if (has_leader)
            rd_kafka_topic_partition_list_add(fresh, topic->name, number);
        else
            *ret_known = false;
        if (!has_leader && kafka_warn_due(source, &topic->told_us))
            kafka_warn(source, "topic '%s', partition %d has no leader; waiting for it", topic->name, number);
    }
    return is_whole;
}

/* Messages may have come while the cluster was out of reach: an end confirmed before is one only if it
 * still is. */
static bool confirm_ends(struct source *source)
{
    rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_new((int)source->partition_count);
    bool is_answered = true;

    for (size_t i = 0; i < source->partition_count; i++) {
        const struct kafka_partition *partition = source->partitions[i];

        if (partition->doubtful && partition->has_leader)
            rd_kafka_topic_partition_list_add(ends, partition->about.topic, partition->about.partition);
    }
    if (ends->cnt > 0)
        is_answered = ask_offsets(source, ends, RD_KAFKA_OFFSET_END);
    for (int i = 0; i < ends->cnt && is_answered; i++) {
        struct kafka_partition *partition =
            find_partition(source, find_topic(source, ends->elems[i].topic), ends->elems[i].partition);

        partition->doubtful = false;
        partition->at_end &= ends->elems[i].offset <= partition->position;
    }
    rd_kafka_topic_partition_list_destroy(ends);
    return is_answered;
}

/* Fills in where to start without committed offsets. The end is a number: one that librdkafka looks up
 * later would skip what comes until then. Partitions that appear in mid-run are new, so nothing of them is
 * old. */
static bool ask_starts(struct source *source, rd_kafka_topic_partition_list_t *starts,
                       const rd_kafka_topic_partition_list_t *ends)
{
    enum kafka_start_kind kind = source->ready ? KAFKA_START_EARLIEST : source->start.kind;
    int64_t time_us = source->start.time_us;

    if (kind == KAFKA_START_AGO)
        time_us = source->now_us - time_us;
    if ((kind == KAFKA_START_AGO || kind == KAFKA_START_AT) &&
        !ask_offsets(source, starts, time_us > 0 ? time_us / 1000 : 0))
        return false;
    for (int i = 0; i < starts->cnt; i++) {
        if (kind == KAFKA_START_EARLIEST)
            starts->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
        else if (kind == KAFKA_START_LATEST || starts->elems[i].offset < 0)
            starts->elems[i].offset = ends->elems[i].offset;
    }
    return true;
}

static struct kafka_partition *partition_new(const struct source *source,
                                             const rd_kafka_topic_partition_t *committed, int64_t start,
                                             int64_t end)
{
    struct kafka_partition *partition = memory_new(sizeof *partition);
    size_t topic = find_topic(source, committed->topic);

    *partition = (struct kafka_partition){
        .about = {.topic = source->topics[topic].name,
                  .partition = committed->partition,
                  .committed = committed->offset >= 0 ? committed->offset : OFFSET_NONE},
        .topic = topic,
        .position = start >= 0 ? start : 0,
        .stop = source->context.once ? end : INT64_MAX,
        .has_leader = true,
        .told_us = TIME_NONE,
    };
    if (committed->metadata_size > 0)
        partition->about.metadata =
            span_make(memory_text(committed->metadata, committed->metadata_size), committed->metadata_size);
    buffer_init(&partition->commit_metadata, KAFKA_METADATA_BYTES_MAX);
    return partition;
}

static void partition_free(struct kafka_partition *partition)
{
    assert(partition->outstanding == 0);
    if (partition->queue)
        rd_kafka_queue_destroy(partition->queue);
    buffer_free(&partition->commit_metadata);
    free((char *)partition->about.metadata.data);
    free(partition);
}

static void assign(struct source *source, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *problem = rd_kafka_incremental_assign(source->reader, list);

    /* refused are only partitions assigned twice and a closed reader */
    assert(!problem);
}

/* Where the pipeline's store says to read on, or OFFSET_NONE. One below the beginning shows when it is
 * fetched, one beyond the end must be seen here: with `once` it would look like all having been read. */
static int64_t resume_offset(struct source *source, const rd_kafka_topic_partition_t *found, int64_t end,
                             bool *ret_anew)
{
    const struct source_context *context = &source->context;
    int64_t offset = context->resume
                         ? context->resume(context->resume_owner, found->topic, found->partition, true)
                         : OFFSET_NONE;

    *ret_anew = offset > end;
    if (!*ret_anew)
        return offset;
    kafka_warn(
        source,
        "%s [%d]: offset %lld, where to read on, is beyond the end %lld: the topic was made anew or lost "
        "data; goes on at %lld",
        found->topic, found->partition, (long long)offset, (long long)end, (long long)end);
    return end;
}

/* Splits the partitions' queues off before anything can be fetched into the reader's common one. */
static void start_partitions(struct source *source, const rd_kafka_topic_partition_list_t *committed,
                             rd_kafka_topic_partition_list_t *starts,
                             const rd_kafka_topic_partition_list_t *ends)
{
    source->partitions =
        memory_reserve(source->partitions, &source->partition_capacity,
                       source->partition_count + (size_t)starts->cnt, sizeof(struct kafka_partition *));
    for (int i = 0; i < starts->cnt; i++) {
        const rd_kafka_topic_partition_t *kept = &committed->elems[i];
        int64_t end = ends->elems[i].offset;
        bool anew;
        int64_t resumed = resume_offset(source, kept, end, &anew);

        if (resumed != OFFSET_NONE)
            starts->elems[i].offset = resumed;
        else if (kept->offset >= 0)
            starts->elems[i].offset = kept->offset;
        struct kafka_partition *partition = partition_new(source, kept, starts->elems[i].offset, end);
        partition->about.anew = anew;
        partition->queue = rd_kafka_queue_get_partition(source->reader, kept->topic, kept->partition);
        assert(partition->queue);
        rd_kafka_queue_forward(partition->queue, NULL);
        source->partitions[source->partition_count++] = partition;
    }
    assign(source, starts);
}

/* All or none; false: ask again later. The ends come first: a message that comes after that question is
 * read, whichever of the others it falls between. */
static bool add_partitions(struct source *source, rd_kafka_topic_partition_list_t *fresh)
{
    rd_kafka_topic_partition_list_sort(fresh, NULL, NULL);
    rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_copy(fresh);
    rd_kafka_topic_partition_list_t *starts = rd_kafka_topic_partition_list_copy(fresh);

    bool is_known = ask_offsets(source, ends, RD_KAFKA_OFFSET_END) && ask_committed(source, fresh) &&
                    ask_starts(source, starts, ends) &&
                    (source->reader || kafka_reader_open(source, (size_t)fresh->cnt));
    if (is_known)
        start_partitions(source, fresh, starts, ends);
    rd_kafka_topic_partition_list_destroy(starts);
    rd_kafka_topic_partition_list_destroy(ends);
    return is_known;
}

/* False: something is missing, ask again soon. */
static bool read_topics(struct source *source, const struct rd_kafka_metadata *answer)
{
    rd_kafka_topic_partition_list_t *fresh = rd_kafka_topic_partition_list_new(16);
    bool is_known = true, is_whole = true;

    for (size_t i = 0; i < source->partition_count; i++)
        source->partitions[i]->has_leader = false;
    for (int i = 0; i < answer->topic_cnt; i++)
        is_whole &= read_topic(source, &answer->topics[i], fresh, &is_known);
    for (size_t i = 0; i < source->partition_count; i++)
        source->partitions[i]->doubtful |= !source->partitions[i]->has_leader;
    is_whole &= confirm_ends(source);

    /* at first all or none, so that nothing is closed before all are known; `once` is what was there then */
    bool is_wanted = source->ready ? !source->context.once : is_known;
    if (is_wanted && (fresh->cnt == 0 || add_partitions(source, fresh)))
        source->ready = true;
    else
        is_whole &= !is_wanted;
    rd_kafka_topic_partition_list_destroy(fresh);
    return is_whole && source->ready;
}

static bool look(struct source *source)
{
    const struct rd_kafka_metadata *answer;
    rd_kafka_resp_err_t problem = rd_kafka_metadata(source->client, 0, NULL, &answer, LIST_WAIT_MS);

    if (problem) {
        keep_complaint(source, problem);
        kafka_partitions_doubt(source);
        return false;
    }
    source->complaint[0] = '\0';
    bool is_whole = read_topics(source, answer);
    rd_kafka_metadata_destroy(answer);
    return is_whole;
}

/* Goes on at what is left of a partition whose position is not in the log any more, and says what is gone. */
static bool restart(struct source *source, struct kafka_partition *partition)
{
    const char *topic = partition->about.topic;
    int32_t number = partition->about.partition;
    long long position = (long long)partition->position;
    int64_t low, high;
    rd_kafka_resp_err_t problem =
        rd_kafka_query_watermark_offsets(source->client, topic, number, &low, &high, QUESTION_WAIT_MS);

    if (problem) {
        keep_complaint(source, problem);
        return false;
    }
    if (position < low)
        kafka_warn(source,
                   "%s [%d]: %lld offsets were deleted before they were read: goes on at %lld, not %lld",
                   topic, number, (long long)low - position, (long long)low, position);
    else if (position > high)
        kafka_warn(source,
                   "%s [%d]: offset %lld is beyond the end %lld: the topic was made anew or lost data; "
                   "starts again at %lld",
                   topic, number, position, (long long)high, (long long)low);
    partition->about.anew |= position > high;
    if (position < low || position > high)
        partition->position = low;

    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, number)->offset = partition->position;
    rd_kafka_error_t *refusal = rd_kafka_incremental_unassign(source->reader, list);
    assert(!refusal);
    assign(source, list);
    rd_kafka_topic_partition_list_destroy(list);
    partition->out_of_range = false;
    return true;
}

static void tell_trouble(struct source *source)
{
    if (source->complaint[0] == '\0')
        source->lookup_trouble.since_us = TIME_NONE;
    else if (kafka_trouble_due(source, &source->lookup_trouble))
        kafka_warn(source, "waiting for %s: %s", source->settings->brokers, source->complaint);
}

void kafka_partitions_advance(struct source *source)
{
    if (source->now_us < source->lookup_us)
        return;
    /* a controller is known from the first contact on: before it, nothing waits */
    if (rd_kafka_controllerid(source->client, 0) < 0) {
        tell_trouble(source);
        return;
    }
    for (size_t i = 0; i < source->partition_count; i++)
        if (source->partitions[i]->out_of_range && !restart(source, source->partitions[i]))
            break;
    bool is_whole = look(source);
    source->lookup_us = source->now_us + (is_whole ? LOOKUP_INTERVAL_US : RETRY_INTERVAL_US);
    tell_trouble(source);
}

void kafka_partitions_doubt(struct source *source)
{
    for (size_t i = 0; i < source->partition_count; i++)
        source->partitions[i]->doubtful = true;
}

void kafka_partitions_close(struct source *source)
{
    for (size_t i = 0; i < source->partition_count; i++)
        partition_free(source->partitions[i]);
    free(source->partitions);
    source->partition_count = 0;
}
