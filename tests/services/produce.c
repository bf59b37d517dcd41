/* Sends lines of standard input, `partition TAB milliseconds TAB value`, to a Kafka topic with those record
 * timestamps, which kcat cannot set. usage: produce BROKERS TOPIC */
#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_MS = 60000 };

static _Atomic unsigned refused;

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    refused += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void send_line(rd_kafka_t *producer, const char *topic, char *line, size_t size)
{
    char *end;
    long partition = strtol(line, &end, 10);
    long long time_ms = strtoll(end, &end, 10);
    rd_kafka_resp_err_t problem;

    assert(*end == '\t');
    end++;
    do {
        problem = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
                                    RD_KAFKA_V_PARTITION((int32_t)partition), RD_KAFKA_V_TIMESTAMP(time_ms),
                                    RD_KAFKA_V_VALUE(end, size - (size_t)(end - line)),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        rd_kafka_poll(producer, problem ? 100 : 0);
    } while (problem == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    refused += problem != RD_KAFKA_RESP_ERR_NO_ERROR;
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512], *line = NULL;
    size_t capacity = 0;
    ssize_t size;

    if (argc != 3)
        return 2;
    rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof text);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert(producer);
    while ((size = getline(&line, &capacity, stdin)) > 0)
        send_line(producer, argv[2], line, (size_t)size - (line[size - 1] == '\n'));
    free(line);
    bool all = rd_kafka_flush(producer, FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR && refused == 0;
    rd_kafka_destroy(producer);
    if (!all)
        fprintf(stderr, "%u messages refused, or not all sent in time\n", refused);
    return all ? 0 : 3;
}
