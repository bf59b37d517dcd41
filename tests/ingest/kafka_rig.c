#include "tests/ingest/kafka_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 100 };

char topic_name[64];
rd_kafka_t *producer;
int64_t resume_at = OFFSET_NONE;

static int64_t resume(void *owner, const char *topic, int32_t partition, bool can_repeat)
{
    return partition == 0 ? resume_at : OFFSET_NONE;
}

static void on_warning(void *owner, const char *text)
{
    struct rig *rig = owner;

    rig->warnings++;
    snprintf(rig->warning, sizeof rig->warning, "%s", text);
}

int64_t now_us(const struct rig *rig)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 + rig->ahead_us;
}

enum status rig_try_open(struct rig *rig, const char *yaml, unsigned workers, bool once)
{
    *rig = (struct rig){.type = source_type_find("kafka"), .workers = workers};
    assert_non_null(rig->type);
    assert_int_equal(rig->type->settings_size, sizeof rig->settings);
    rig->table = (struct option_table){rig->type->options, rig->type->option_count, &rig->settings};
    assert_int_equal(config_parse(yaml, "test.yaml", &rig->config, &rig->error), STATUS_OK);
    if (options_read(config_root(rig->config), &rig->table, 1, &rig->error))
        return STATUS_FATAL;
    for (unsigned i = 0; i < workers; i++) {
        const struct source_context context = {.name = "lines",
                                               .worker = i,
                                               .workers = workers,
                                               .node = config_root(rig->config),
                                               .once = once,
                                               .warn = on_warning,
                                               .owner = rig,
                                               .resume = resume};
        if (rig->type->check(&rig->settings, &context, &rig->error) ||
            rig->type->open(&rig->settings, &context, &rig->sources[i], &rig->error))
            return STATUS_FATAL;
    }
    for (int i = 0; i < PARTITIONS_MAX; i++)
        rig->offsets[i] = -1;
    return STATUS_OK;
}

void rig_close(struct rig *rig)
{
    for (unsigned i = 0; i < rig->workers; i++)
        if (rig->sources[i])
            rig->type->close(rig->sources[i]);
    options_free(&rig->table, 1);
    config_free(rig->config);
}

void rig_open(struct rig *rig, const char *brokers, const char *more, unsigned workers, bool once)
{
    char yaml[1024];

    snprintf(yaml, sizeof yaml, "{brokers: \"%s\", topics: [%s]%s%s%s%s}", brokers, topic_name,
             strstr(more, "group:") ? "" : ", group: ", strstr(more, "group:") ? "" : topic_name,
             more[0] ? ", " : "", more);
    if (rig_try_open(rig, yaml, workers, once))
        fail_msg("%s", rig->error.text);
}

static void take(struct rig *rig, int32_t number, const struct message *message)
{
    assert_in_range(number, 0, PARTITIONS_MAX - 1);
    assert_true(message->offset > rig->offsets[number]);
    assert_true(message->arrival_us > 0);
    rig->offsets[number] = message->offset;
    rig->count++;
    rig->bytes += message->payload.size;
    if (message->payload.size == 0) {
        rig->tombstones++;
        return;
    }
    char text[24] = "";
    memcpy(text, message->payload.data, message->payload.size < 20 ? message->payload.size : 20);
    int64_t serial = strtoll(text, NULL, 10);
    assert_int_equal(serial, rig->next[number]);
    rig->next[number] = serial + 1;
}

size_t rig_step(struct rig *rig)
{
    struct message messages[LIMIT];
    size_t sum = 0;

    for (unsigned i = 0; i < rig->workers; i++) {
        struct source *source = rig->sources[i];

        rig->type->advance(source, now_us(rig));
        for (size_t k = 0; k < rig->type->partition_count(source); k++) {
            const struct source_partition *about = rig->type->partition(source, k);
            enum poll_state *state = &rig->states[about->partition];

            if (rig->is_held[about->partition])
                continue;
            size_t got = rig->type->poll(source, k, messages, LIMIT, state);

            assert_string_equal(about->topic, topic_name);
            assert_true(got == 0 || *state == POLL_MORE);
            for (size_t m = 0; m < got; m++)
                take(rig, about->partition, &messages[m]);
            rig->type->release(source, k, messages, got);
            sum += got;
        }
    }
    return sum;
}

bool rig_is_ready(const struct rig *rig)
{
    bool is_ready = true;

    for (unsigned i = 0; i < rig->workers; i++)
        is_ready &= rig->type->ready(rig->sources[i]);
    return is_ready;
}

void rig_run(struct rig *rig, int partitions, enum poll_state state)
{
    int64_t end_us = now_us(rig) + PATIENCE_S * INT64_C(1000000);
    int reached = 0;

    while (reached < partitions || !rig_is_ready(rig)) {
        size_t got = rig_step(rig);

        reached = 0;
        for (int i = 0; i < partitions; i++)
            reached += rig->states[i] == state;
        if (now_us(rig) > end_us)
            fail_msg("%d of %d partitions in state %d, %zu messages; last warning: %s", reached, partitions,
                     (int)state, rig->count, rig->warning);
        if (got == 0)
            usleep(1000);
    }
}

void rig_wait_ready(struct rig *rig)
{
    int64_t end_us = now_us(rig) + PATIENCE_S * INT64_C(1000000);

    while (!rig_is_ready(rig)) {
        for (unsigned i = 0; i < rig->workers; i++)
            rig->type->advance(rig->sources[i], now_us(rig));
        if (now_us(rig) > end_us)
            fail_msg("not ready; last warning: %s", rig->warning);
        usleep(1000);
    }
}

void rig_run_until_read(struct rig *rig, size_t count)
{
    int64_t end_us = now_us(rig) + PATIENCE_S * INT64_C(1000000);

    while (rig->count < count)
        if (rig_step(rig) == 0 && now_us(rig) > end_us)
            fail_msg("%zu of %zu messages; last warning: %s", rig->count, count, rig->warning);
}

void rig_run_until_warned(struct rig *rig, const char *text)
{
    int64_t end_us = now_us(rig) + PATIENCE_S * INT64_C(1000000);

    while (!strstr(rig->warning, text)) {
        rig_step(rig);
        if (now_us(rig) > end_us)
            fail_msg("no warning '%s', the last: %s", text, rig->warning);
        usleep(1000);
    }
}

rd_kafka_t *client_new(rd_kafka_type_t type, const char *brokers, const char *key, const char *value)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256];

    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", brokers, reason, sizeof reason),
                     RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "message.max.bytes", "20000000", reason, sizeof reason),
                     RD_KAFKA_CONF_OK);
    if (key)
        assert_int_equal(rd_kafka_conf_set(conf, key, value, reason, sizeof reason), RD_KAFKA_CONF_OK);
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    assert_non_null(client);
    return client;
}

static void learn_topic(rd_kafka_t *by)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(by, topic_name, NULL);
    const struct rd_kafka_metadata *answer;

    if (rd_kafka_metadata(by, 0, topic, &answer, 10000) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(answer);
    rd_kafka_topic_destroy(topic);
}

void produce(rd_kafka_t *by, int32_t partition, const void *payload, size_t size, int64_t time_ms)
{
    rd_kafka_resp_err_t problem;

    do {
        problem = rd_kafka_producev(
            by, RD_KAFKA_V_TOPIC(topic_name), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY("k", 1),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)payload, size), RD_KAFKA_V_TIMESTAMP(time_ms),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (problem == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(by, 100);
        else if (problem == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) /* made after the producer looked */
            learn_topic(by);
    } while (problem == RD_KAFKA_RESP_ERR__QUEUE_FULL || problem == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    assert_int_equal(problem, RD_KAFKA_RESP_ERR_NO_ERROR);
}

void produce_numbers(int partitions, int first, int end, int64_t time_ms)
{
    for (int i = first; i < end; i++) {
        for (int p = 0; p < partitions; p++) {
            char text[128];
            int size = snprintf(text, sizeof text, "%-100d", i); /* so that queues fill */

            produce(producer, p, text, (size_t)size, time_ms);
        }
        if (i % 1000 == 0)
            rd_kafka_poll(producer, 0);
    }
    assert_int_equal(rd_kafka_flush(producer, PATIENCE_S * 1000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

void name_topic(const char *name)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(topic_name, sizeof topic_name, "weir-%s-%llx", name,
             (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

void rig_run_until_committed(struct rig *rig, const char *brokers, int64_t offset)
{
    rd_kafka_t *other = client_new(RD_KAFKA_CONSUMER, brokers, "group.id", topic_name);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *first = rd_kafka_topic_partition_list_add(list, topic_name, 0);
    int64_t end_us = now_us(rig) + PATIENCE_S * INT64_C(1000000);

    while (first->offset != offset) {
        rig_step(rig);
        rd_kafka_committed(other, list, 100);
        if (now_us(rig) > end_us)
            fail_msg("committed is %lld; last warning: %s", (long long)first->offset, rig->warning);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(other);
}

static rd_kafka_event_t *admin_answer(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, PATIENCE_S * 1000);

    assert_non_null(answer);
    assert_int_equal(rd_kafka_event_error(answer), RD_KAFKA_RESP_ERR_NO_ERROR);
    return answer;
}

void make_topic(int partitions, const char *key, const char *value)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(producer);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(topic_name, partitions, 1, NULL, 0);
    size_t count;

    if (key)
        assert_int_equal(rd_kafka_NewTopic_set_config(topic, key, value), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_CreateTopics(producer, &topic, 1, NULL, queue);
    rd_kafka_event_t *answer = admin_answer(queue);
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(answer), &count);
    assert_int_equal(rd_kafka_topic_result_error(results[0]), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(answer);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
}

void name_and_make_topic(const char *name, int partitions)
{
    name_topic(name);
    make_topic(partitions, NULL, NULL);
}

void grow_topic(size_t partitions)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(producer);
    char reason[256];
    rd_kafka_NewPartitions_t *more =
        rd_kafka_NewPartitions_new(topic_name, partitions, reason, sizeof reason);

    rd_kafka_CreatePartitions(producer, &more, 1, NULL, queue);
    rd_kafka_event_destroy(admin_answer(queue));
    rd_kafka_NewPartitions_destroy(more);
    rd_kafka_queue_destroy(queue);
}

void delete_before(int64_t offset)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(producer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, topic_name, 0)->offset = offset;
    rd_kafka_DeleteRecords_t *deletion = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(producer, &deletion, 1, NULL, queue);
    rd_kafka_event_destroy(admin_answer(queue));
    rd_kafka_DeleteRecords_destroy(deletion);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
}
