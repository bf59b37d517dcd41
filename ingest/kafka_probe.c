/* Questions to a cluster that a person waits for: `weir init` and `weir check --connect`, a few a run. The
 * client is the source's own, so that what connects here connects there. */
#include "ingest/kafka_probe.h"

#include "base/memory.h"
#include "ingest/kafka_source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 5000, POLL_MS = 100, READ_TURNS = 100, NEAR_TOPICS = 5, REPORT_BYTES = 640 };

struct kafka_probe {
    struct source source; /* only its client is used */
};

enum status kafka_probe_open(const void *settings, const struct source_context *context,
                             struct kafka_probe **ret_probe, struct error *ret_error)
{
    struct kafka_probe *probe = memory_new(sizeof *probe);

    probe->source = (struct source){.context = *context, .settings = settings};
    if (kafka_client_open(&probe->source, ret_error) != STATUS_OK) {
        kafka_probe_close(probe);
        return STATUS_FATAL;
    }
    rd_kafka_poll_set_consumer(probe->source.client);
    *ret_probe = probe;
    return STATUS_OK;
}

void kafka_probe_close(struct kafka_probe *probe)
{
    kafka_clients_close(&probe->source);
    free(probe);
}

static enum status unreachable(struct kafka_probe *probe, rd_kafka_resp_err_t err, struct error *ret_error)
{
    const char *complaint = probe->source.complaint;

    rd_kafka_poll(probe->source.client, 0);
    fail(ret_error, "no broker answers at %s: %s", probe->source.settings->brokers,
         complaint[0] ? complaint : rd_kafka_err2str(err));
    return STATUS_RETRY;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names the topic that was meant, or the first ones that there are. */
static enum status no_topic(const struct rd_kafka_metadata *cluster, const char *topic,
                            struct error *ret_error)
{
    const char **names = memory_new(((size_t)cluster->topic_cnt + 1) * sizeof *names);
    size_t count = 0;
    struct buffer list;

    for (int i = 0; i < cluster->topic_cnt; i++)
        if (strncmp(cluster->topics[i].topic, "__", 2) != 0)
            names[count++] = cluster->topics[i].topic;
    qsort(names, count, sizeof *names, compare_names);
    const char *near = nearest_name(topic, names, count);
    buffer_init(&list, sizeof ret_error->text);
    for (size_t i = 0; !near && i < count && i < NEAR_TOPICS; i++)
        buffer_print(&list, "%s%s", i ? ", " : "", names[i]);
    if (near)
        fail(ret_error, "no topic '%s'; did you mean '%s'?", topic, near);
    else if (count)
        fail(ret_error, "no topic '%s'; the cluster has %.*s%s", topic, (int)list.size, list.data,
             count > NEAR_TOPICS ? " ..." : "");
    else
        fail(ret_error, "no topic '%s'; the cluster has none that this user may see", topic);
    buffer_free(&list);
    free(names);
    return STATUS_SKIP;
}

static const rd_kafka_metadata_topic_t *find_topic(const struct rd_kafka_metadata *cluster, const char *topic)
{
    for (int i = 0; i < cluster->topic_cnt; i++)
        if (strcmp(cluster->topics[i].topic, topic) == 0 &&
            cluster->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            return &cluster->topics[i];
    return NULL;
}

static enum status ask_offsets(struct kafka_probe *probe, const char *topic, struct kafka_place *places,
                               size_t count, struct error *ret_error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    rd_kafka_resp_err_t err = 0;

    for (size_t i = 0; i < count && !err; i++) {
        rd_kafka_topic_partition_list_add(list, topic, places[i].partition);
        err = rd_kafka_query_watermark_offsets(probe->source.client, topic, places[i].partition,
                                               &places[i].low, &places[i].high, ANSWER_MS);
    }
    if (err)
        fail(ret_error, "topic '%s': its offsets are not told: %s", topic, rd_kafka_err2str(err));
    else if ((err = rd_kafka_committed(probe->source.client, list, ANSWER_MS)))
        fail(ret_error, "group '%s': its offsets are not told: %s", kafka_group(&probe->source),
             rd_kafka_err2str(err));
    for (size_t i = 0; i < count && !err; i++)
        places[i].committed = list->elems[i].offset >= 0 ? list->elems[i].offset : OFFSET_NONE;
    rd_kafka_topic_partition_list_destroy(list);
    return err ? STATUS_FATAL : STATUS_OK;
}

static int compare_places(const void *a, const void *b)
{
    int32_t left = ((const struct kafka_place *)a)->partition;
    int32_t right = ((const struct kafka_place *)b)->partition;

    return (left > right) - (left < right);
}

static enum status list_partitions(const rd_kafka_metadata_topic_t *found, struct kafka_place **ret_places,
                                   size_t *ret_count, struct error *ret_error)
{
    if (found->err)
        return fail(ret_error, "topic '%s': %s", found->topic, rd_kafka_err2str(found->err));
    *ret_count = (size_t)found->partition_cnt;
    *ret_places = memory_new((*ret_count + 1) * sizeof **ret_places);
    for (size_t i = 0; i < *ret_count; i++)
        (*ret_places)[i].partition = found->partitions[i].id;
    qsort(*ret_places, *ret_count, sizeof **ret_places, compare_places);
    return STATUS_OK;
}

enum status kafka_probe_topic(struct kafka_probe *probe, const char *topic, struct kafka_place **ret_places,
                              size_t *ret_count, struct error *ret_error)
{
    const struct rd_kafka_metadata *cluster;
    rd_kafka_resp_err_t err = rd_kafka_metadata(probe->source.client, 1, NULL, &cluster, ANSWER_MS);
    struct kafka_place *places = NULL;
    size_t count = 0;
    enum status status;

    if (err)
        return unreachable(probe, err, ret_error);
    const rd_kafka_metadata_topic_t *found = find_topic(cluster, topic);

    status = found ? list_partitions(found, &places, &count, ret_error) : no_topic(cluster, topic, ret_error);
    rd_kafka_metadata_destroy(cluster);
    if (status == STATUS_OK)
        status = ask_offsets(probe, topic, places, count, ret_error);
    if (status != STATUS_OK) {
        free(places);
        return status;
    }
    *ret_places = places;
    *ret_count = count;
    return STATUS_OK;
}

struct reading {
    const struct kafka_place *places;
    size_t count, open;
    bool *ended; /* by place */
};

static size_t place_of(const struct reading *reading, int32_t partition)
{
    const struct kafka_place sought = {.partition = partition};
    const struct kafka_place *found =
        bsearch(&sought, reading->places, reading->count, sizeof sought, compare_places);

    assert(found);
    return (size_t)(found - reading->places);
}

static void end_place(struct reading *reading, size_t place)
{
    reading->open -= !reading->ended[place];
    reading->ended[place] = true;
}

static void take_record(struct reading *reading, const rd_kafka_message_t *record, kafka_probe_take *take,
                        void *owner)
{
    size_t place = place_of(reading, record->partition);
    int64_t time_ms = rd_kafka_message_timestamp(record, NULL);
    bool known = time_ms > 0 && time_ms <= TIME_MAX_US / 1000;
    struct message message = {.payload = span_make(record->payload ? record->payload : "", record->len),
                              .offset = record->offset,
                              .arrival_us = known ? time_ms * 1000 : TIME_NONE};

    if (!reading->ended[place])
        take(owner, record->partition, &message);
    if (record->offset + 1 >= reading->places[place].high)
        end_place(reading, place);
}

/* A partition ends where it ended when it was asked, as new messages may come for ever, or by the broker's
 * word, since offsets may have holes. */
static void read_until_ends(struct kafka_probe *probe, struct reading *reading, kafka_probe_take *take,
                            void *owner)
{
    for (int quiet = 0; reading->open > 0 && quiet < READ_TURNS;) {
        rd_kafka_message_t *record = rd_kafka_consumer_poll(probe->source.client, POLL_MS);

        if (!record) {
            quiet++;
            continue;
        }
        if (record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            end_place(reading, place_of(reading, record->partition));
        } else if (record->err) {
            snprintf(probe->source.complaint, sizeof probe->source.complaint, "%s",
                     rd_kafka_message_errstr(record));
            quiet++;
        } else {
            take_record(reading, record, take, owner);
        }
        rd_kafka_message_destroy(record);
    }
}

enum status kafka_probe_read(struct kafka_probe *probe, const char *topic, const struct kafka_place *places,
                             size_t count, int64_t each, kafka_probe_take *take, void *owner,
                             struct error *ret_error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    struct reading reading = {
        .places = places, .count = count, .ended = memory_new((count + 1) * sizeof *reading.ended)};

    for (size_t i = 0; i < count; i++) {
        const struct kafka_place *place = &places[i];
        int64_t from = place->high - each;

        if (place->high <= place->low)
            continue;
        rd_kafka_topic_partition_list_add(list, topic, place->partition)->offset =
            from > place->low ? from : place->low;
        reading.open++;
    }
    rd_kafka_resp_err_t err = rd_kafka_assign(probe->source.client, list);

    rd_kafka_topic_partition_list_destroy(list);
    if (!err)
        read_until_ends(probe, &reading, take, owner);
    rd_kafka_assign(probe->source.client, NULL);
    free(reading.ended);
    if (!err && reading.open == 0)
        return STATUS_OK;
    fail(ret_error, "topic '%s': cannot read: %s", topic,
         err                                  ? rd_kafka_err2str(err)
         : probe->source.complaint[0] != '\0' ? probe->source.complaint
                                              : "nothing came within 10 s");
    return STATUS_RETRY;
}

static void count_message(void *owner, int32_t partition, const struct message *message)
{
    size_t *count = owner;

    (void)partition;
    (void)message;
    ++*count;
}

static void report_topic(struct kafka_probe *probe, const char *topic, report_line *tell, void *owner)
{
    const char *group = kafka_group(&probe->source);
    struct kafka_place *places;
    char line[REPORT_BYTES];
    struct error error;
    size_t count, got = 0, committed = 0;
    int64_t kept = 0, lag = 0;

    if (kafka_probe_topic(probe, topic, &places, &count, &error) != STATUS_OK) {
        tell(owner, false, error.text);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool known = places[i].committed != OFFSET_NONE;

        kept += places[i].high - places[i].low;
        committed += known;
        lag += known ? places[i].high - places[i].committed : 0;
    }
    if (kafka_probe_read(probe, topic, places, count, 1, count_message, &got, &error) != STATUS_OK) {
        tell(owner, false, error.text);
    } else {
        int size = snprintf(line, sizeof line, "topic '%s': %zu partition%s, %lld offsets kept; ", topic,
                            count, count == 1 ? "" : "s", (long long)kept);

        if (committed)
            size += snprintf(line + size, sizeof line - (size_t)size,
                             "group '%s' has committed in %zu, lag %lld; ", group, committed, (long long)lag);
        else
            size += snprintf(line + size, sizeof line - (size_t)size, "group '%s' has committed nothing; ",
                             group);
        snprintf(line + size, sizeof line - (size_t)size, "%s",
                 got ? "the last message can be read" : "no message to read yet");
        tell(owner, true, line);
    }
    free(places);
}

void kafka_probe_report(const void *settings, const struct source_context *context, report_line *tell,
                        void *owner)
{
    const struct kafka_settings *own = settings;
    struct kafka_probe *probe;
    struct error error;

    if (kafka_probe_open(settings, context, &probe, &error) != STATUS_OK) {
        tell(owner, false, error.text);
        return;
    }
    for (size_t i = 0; i < own->topics.count; i++)
        report_topic(probe, own->topics.items[i], tell, owner);
    kafka_probe_close(probe);
}
