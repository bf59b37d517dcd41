/* The input of the Kafka cases, made and removed by the case itself so that runs do not meet each other's
 * leftovers. Admin requests run twice a case, the producer once an event, outside what is measured. */
#include "bench/topic.h"

#include "base/hash.h"
#include "base/memory.h"

#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ADMIN_WAIT_MS = 30 * 1000,
    FLUSH_WAIT_MS = 120 * 1000,
    FULL_WAIT_MS = 50,
    FILL_LINGER_MS = 20,
    EVENT_BYTES_MAX = 4096
};

struct property {
    const char *key, *value;
};

struct topic_writer {
    const char *name;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    uint64_t failures;
};

static const struct property producer_properties[] = {
    {"compression.codec", "lz4"},
    {"batch.size", "1000000"},
    {"queue.buffering.max.kbytes", "131072"},
    {"queue.buffering.max.messages", "400000"},
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    uint64_t *failures = opaque;

    *failures += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    /* what matters comes as the result of a request or as a failed delivery */
}

static enum status client_open(const char *brokers, unsigned linger_ms, uint64_t *failures,
                               rd_kafka_t **ret_client, struct error *ret_error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client;
    char reason[256], linger[16];

    for (size_t i = 0; i < sizeof producer_properties / sizeof *producer_properties; i++)
        if (rd_kafka_conf_set(conf, producer_properties[i].key, producer_properties[i].value, reason,
                              sizeof reason))
            goto fail;
    (void)snprintf(linger, sizeof linger, "%u", linger_ms);
    if (rd_kafka_conf_set(conf, "linger.ms", linger, reason, sizeof reason) ||
        rd_kafka_conf_set(conf, "bootstrap.servers", brokers, reason, sizeof reason))
        goto fail;
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, failures);
    client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (!client)
        goto fail;
    *ret_client = client;
    return STATUS_OK;
fail:
    rd_kafka_conf_destroy(conf);
    return fail(ret_error, "librdkafka: %s", reason);
}

/* Waits for the answer to an admin request about one topic. */
static enum status admin_result(rd_kafka_queue_t *answers, const char *name, struct error *ret_error)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(answers, ADMIN_WAIT_MS);
    const rd_kafka_topic_result_t **results = NULL;
    enum status status = STATUS_OK;
    size_t count = 0;

    if (!event)
        return fail(ret_error, "topic %s: no answer from the broker", name);
    if (rd_kafka_event_error(event))
        status = fail(ret_error, "topic %s: %s", name, rd_kafka_event_error_string(event));
    else if (rd_kafka_event_CreateTopics_result(event))
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    else if (rd_kafka_event_DeleteTopics_result(event))
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        if (rd_kafka_topic_result_error(results[i]))
            status = fail(ret_error, "topic %s: %s", name,
                          rd_kafka_err2str(rd_kafka_topic_result_error(results[i])));
    rd_kafka_event_destroy(event);
    return status;
}

enum status topic_create(const char *brokers, const char *name, unsigned partitions, struct error *ret_error)
{
    rd_kafka_NewTopic_t *topic;
    rd_kafka_queue_t *answers;
    rd_kafka_t *client;
    uint64_t failures = 0;
    char reason[256];
    enum status status;

    if (client_open(brokers, 0, &failures, &client, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    answers = rd_kafka_queue_new(client);
    topic = rd_kafka_NewTopic_new(name, (int)partitions, 1, reason, sizeof reason);
    if (topic) {
        rd_kafka_CreateTopics(client, &topic, 1, NULL, answers);
        status = admin_result(answers, name, ret_error);
        rd_kafka_NewTopic_destroy(topic);
    } else {
        status = fail(ret_error, "topic %s: %s", name, reason);
    }
    rd_kafka_queue_destroy(answers);
    rd_kafka_destroy(client);
    return status;
}

enum status topic_delete(const char *brokers, const char *name, struct error *ret_error)
{
    rd_kafka_DeleteTopic_t *topic;
    rd_kafka_queue_t *answers;
    rd_kafka_t *client;
    uint64_t failures = 0;
    enum status status;

    if (client_open(brokers, 0, &failures, &client, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    answers = rd_kafka_queue_new(client);
    topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(client, &topic, 1, NULL, answers);
    status = admin_result(answers, name, ret_error);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_queue_destroy(answers);
    rd_kafka_destroy(client);
    return status;
}

enum status topic_writer_open(const char *brokers, const char *name, unsigned linger_ms,
                              struct topic_writer **ret_writer, struct error *ret_error)
{
    struct topic_writer *writer = memory_new(sizeof *writer);
    enum status status;

    writer->name = name;
    status = client_open(brokers, linger_ms, &writer->failures, &writer->client, ret_error);
    if (status == STATUS_OK) {
        writer->topic = rd_kafka_topic_new(writer->client, name, NULL);
        if (!writer->topic)
            status = fail(ret_error, "topic %s: %s", name, rd_kafka_err2str(rd_kafka_last_error()));
    }
    if (status == STATUS_OK)
        *ret_writer = writer;
    else
        topic_writer_close(writer);
    return status;
}

enum status topic_writer_put(struct topic_writer *writer, unsigned partition, struct span payload,
                             struct error *ret_error)
{
    while (payload.size > 0 && rd_kafka_produce(writer->topic, (int32_t)partition, RD_KAFKA_MSG_F_COPY,
                                                (void *)payload.data, payload.size, NULL, 0, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return fail(ret_error, "producing: %s", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(writer->client, FULL_WAIT_MS);
    }
    rd_kafka_poll(writer->client, 0);
    return STATUS_OK;
}

enum status topic_writer_flush(struct topic_writer *writer, struct error *ret_error)
{
    if (rd_kafka_flush(writer->client, FLUSH_WAIT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(ret_error, "topic %s: the broker did not take all events in time", writer->name);
    if (writer->failures > 0)
        return fail(ret_error, "topic %s: %llu events were not taken", writer->name,
                    (unsigned long long)writer->failures);
    return STATUS_OK;
}

void topic_writer_close(struct topic_writer *writer)
{
    if (writer->topic)
        rd_kafka_topic_destroy(writer->topic);
    if (writer->client)
        rd_kafka_destroy(writer->client);
    free(writer);
}

/* The inverse of the continuous 1/x law over a hash of the number. */
static unsigned choose_partition(uint64_t number, unsigned partitions)
{
    double unit = (double)(hash_bytes(&number, sizeof number, 0) >> 11) * 0x1p-53;
    unsigned place = (unsigned)(pow(partitions + 1, unit) - 1);

    return place < partitions ? place : partitions - 1;
}

enum status topic_fill(const char *brokers, const char *name, unsigned partitions, bool uneven,
                       const struct generator_options *options, struct error *ret_error)
{
    struct topic_writer *writer;
    struct generator generator;
    struct buffer event;
    enum status status;

    if (topic_writer_open(brokers, name, FILL_LINGER_MS, &writer, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    generator_init(&generator, options);
    buffer_init(&event, EVENT_BYTES_MAX);
    status = STATUS_OK;
    while (status == STATUS_OK && generator_next(&generator, &event)) {
        unsigned partition = uneven ? choose_partition(generator.next, partitions)
                                    : (unsigned)((generator.next - 1) % partitions);

        status = topic_writer_put(writer, partition, buffer_span(&event), ret_error);
        buffer_clear(&event);
    }
    if (status == STATUS_OK)
        status = topic_writer_flush(writer, ret_error);
    buffer_free(&event);
    topic_writer_close(writer);
    return status;
}
