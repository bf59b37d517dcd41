/* The Kafka source: what it refuses without a broker, an outage on librdkafka's mock cluster, and all else on a real
 * broker. Environment:
 *   WEIR_KAFKA=127.0.0.1:PORT      the real broker (tests/services/kafka.sh); without it those tests are skipped (exit 77)
 *   KAFKA_DATA                     its folder; with it the broker is killed and started again in mid-run
 *   WEIR_KAFKA_TLS, WEIR_KAFKA_CA  a listener with SASL_SSL and PLAIN (alice, alice-secret), and the file of its CA */
#include "ingest/kafka_source.h"

#include "base/memory.h"

#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS_MAX = 2, PARTITIONS_MAX = 8, LIMIT = 100, PATIENCE_S = 60, SKIPPED = 77 };

extern char **environ;

/* One pipeline's sources. Messages are numbered from 0 in each partition, as text before a blank or the end. */
struct rig {
    struct config *config;
    struct kafka_settings settings;
    struct option_table table;
    const struct source_type *type;
    struct source *sources[WORKERS_MAX];
    unsigned workers;
    int64_t ahead_us; /* of the real time */
    int64_t next[PARTITIONS_MAX];
    uint64_t bytes;
    size_t count, tombstones, done;
    bool is_lossy; /* numbers may be left out */
    int64_t offsets[PARTITIONS_MAX];
    enum poll_state states[PARTITIONS_MAX];
    unsigned warnings;
    char warning[1024]; /* the last */
    struct error error;
};

static const char *real_brokers;
static char topic_name[64];
static rd_kafka_t *producer;

static void on_warning(void *owner, const char *text)
{
    struct rig *rig = owner;

    rig->warnings++;
    snprintf(rig->warning, sizeof rig->warning, "%s", text);
}

static int64_t now_us(const struct rig *rig)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 + rig->ahead_us;
}

static enum status rig_try_open(struct rig *rig, const char *yaml, unsigned workers, bool once)
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
                                               .owner = rig};
        if (rig->type->open(&rig->settings, &context, &rig->sources[i], &rig->error))
            return STATUS_FATAL;
    }
    for (int i = 0; i < PARTITIONS_MAX; i++)
        rig->offsets[i] = -1;
    return STATUS_OK;
}

static void rig_close(struct rig *rig)
{
    for (unsigned i = 0; i < rig->workers; i++)
        if (rig->sources[i])
            rig->type->close(rig->sources[i]);
    options_free(&rig->table, 1);
    config_free(rig->config);
}

/* On the topic of the test, in a group of its name. */
static void rig_open(struct rig *rig, const char *brokers, const char *more, unsigned workers, bool once)
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
    assert_true(rig->is_lossy ? serial >= rig->next[number] : serial == rig->next[number]);
    rig->next[number] = serial + 1;
}

/* Number of messages read in one round over all partitions. */
static size_t rig_step(struct rig *rig)
{
    struct message messages[LIMIT];
    size_t sum = 0;

    for (unsigned i = 0; i < rig->workers; i++) {
        struct source *source = rig->sources[i];

        rig->type->advance(source, now_us(rig));
        for (size_t k = 0; k < rig->type->partition_count(source); k++) {
            const struct source_partition *about = rig->type->partition(source, k);
            enum poll_state *state = &rig->states[about->partition];
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

static bool rig_is_ready(const struct rig *rig)
{
    bool is_ready = true;

    for (unsigned i = 0; i < rig->workers; i++)
        is_ready &= rig->type->ready(rig->sources[i]);
    return is_ready;
}

/* Until all of the partitions 0 to `partitions` - 1 are in this state. */
static void rig_run(struct rig *rig, int partitions, enum poll_state state)
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

static void rig_run_until_warned(struct rig *rig, const char *text)
{
    int64_t end_us = now_us(rig) + PATIENCE_S * INT64_C(1000000);

    while (!strstr(rig->warning, text)) {
        rig_step(rig);
        if (now_us(rig) > end_us)
            fail_msg("no warning '%s', the last: %s", text, rig->warning);
        usleep(1000);
    }
}

static rd_kafka_t *client_new(rd_kafka_type_t type, const char *brokers, const char *key, const char *value)
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

static void produce(rd_kafka_t *by, int32_t partition, const void *payload, size_t size, int64_t time_ms)
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

/* Numbers from `first` to `end` - 1 in each partition. */
static void produce_numbers(int partitions, int first, int end, int64_t time_ms)
{
    for (int i = first; i < end; i++) {
        for (int p = 0; p < partitions; p++) {
            char text[24];
            int size = snprintf(text, sizeof text, "%d", i);

            produce(producer, p, text, (size_t)size, time_ms);
        }
        if (i % 1000 == 0)
            rd_kafka_poll(producer, 0);
    }
    assert_int_equal(rd_kafka_flush(producer, PATIENCE_S * 1000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void name_topic(const char *name)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(topic_name, sizeof topic_name, "weir-%s-%llx", name,
             (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

static rd_kafka_event_t *admin_answer(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, PATIENCE_S * 1000);

    assert_non_null(answer);
    assert_int_equal(rd_kafka_event_error(answer), RD_KAFKA_RESP_ERR_NO_ERROR);
    return answer;
}

static void make_topic(int partitions, const char *key, const char *value)
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

static void name_and_make_topic(const char *name, int partitions)
{
    name_topic(name);
    make_topic(partitions, NULL, NULL);
}

static void grow_topic(size_t partitions)
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

/* Deletes what lies before the offset in partition 0. */
static void delete_before(int64_t offset)
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

static void assert_refused(const char *more, const char *reason)
{
    struct rig rig;
    char yaml[512];

    snprintf(yaml, sizeof yaml, "brokers: 127.0.0.1:1\n%s", more);
    if (rig_try_open(&rig, yaml, 1, false) == STATUS_OK)
        fail_msg("accepted: %s", yaml);
    if (!strstr(rig.error.text, reason))
        fail_msg("'%s' is not in: %s", reason, rig.error.text);
    rig_close(&rig);
}

static void test_refused_settings(void **state)
{
    assert_refused(
        "topics: [a]\nlibrdkafka: {sasl.passwort: x}",
        "test.yaml:3:29: librdkafka.sasl.passwort: No such configuration property: \"sasl.passwort\"");
    assert_refused("topics: [a]\nlibrdkafka: {security.protocol: tls}",
                   "librdkafka.security.protocol: Invalid value \"tls\"");
    assert_refused("topics: [a]\nlibrdkafka: {fetch.wait.max.ms: \"-1\"}", "librdkafka.fetch.wait.max.ms: ");
    assert_refused("topics: [a]\nlibrdkafka: {rebalance_cb: x}", "librdkafka.rebalance_cb: ");
    assert_refused("topics: [a]\nlibrdkafka: {enable.auto.commit: true}", "weir needs its own value here");
    assert_refused("topics: [a]\nlibrdkafka: {enable.partition.eof: false}", "weir needs its own value here");
    assert_refused("topics: [a]\nlibrdkafka: {group.id: x}", "the key `group` says it");
    assert_refused("topics: [a]\nlibrdkafka: {metadata.broker.list: x}", "the key `brokers` says it");
    assert_refused("topics: [a]\nlibrdkafka: {security.protocol: SSL, ssl.ca.location: /nonexistent.pem}",
                   "ssl.ca.location");
    assert_refused("topics: [a]\nlibrdkafka: {sasl.password: {env: WEIR_NO_SUCH_VARIABLE}}",
                   "WEIR_NO_SUCH_VARIABLE is not set");
    assert_refused("topics: [a]\nstart: yesterday",
                   "test.yaml:3:8: start: 'yesterday' is not latest, earliest");
    assert_refused("topics: []", "names no topic");
    assert_refused("topics: [\"^logs-.*\"]", "is no exact name");
    assert_refused("topics: [a]\nqueue_bytes: 1KiB", "out of range");
    assert_refused("group: weir", "topics");
}

static void test_properties_that_agree(void **state)
{
    struct rig rig;

    name_topic("none");
    rig_open(&rig, "127.0.0.1:1",
             "librdkafka: {enable.auto.commit: \"False\", queued.max.messages.kbytes: 2048}", 1, false);
    rig_close(&rig);
}

static void test_start_forms(void **state)
{
    struct kafka_start start;

    assert_true(kafka_start_parse("earliest", &start) && start.kind == KAFKA_START_EARLIEST);
    assert_true(kafka_start_parse("latest", &start) && start.kind == KAFKA_START_LATEST);
    assert_true(kafka_start_parse("-90m", &start) && start.kind == KAFKA_START_AGO);
    assert_int_equal(start.time_us, 90 * 60 * INT64_C(1000000));
    assert_true(kafka_start_parse("2026-11-21T09:40:20.097Z", &start) && start.kind == KAFKA_START_AT);
    assert_int_equal(start.time_us, INT64_C(1795254020097000));
    assert_false(kafka_start_parse("1h", &start));
    assert_false(kafka_start_parse("-", &start));
    assert_false(kafka_start_parse("", &start));
}

static void test_no_broker(void **state)
{
    struct rig rig;

    name_topic("none");
    rig_open(&rig, "127.0.0.1:1", "", 1, false);
    rig_run_until_warned(&rig, "waiting for 127.0.0.1:1: ");
    assert_non_null(strstr(rig.warning, "Connection refused"));
    for (int i = 0; i < 50; i++) {
        rig_step(&rig);
        usleep(10000);
    }
    assert_int_equal(rig.warnings, 1);
    assert_false(rig_is_ready(&rig));
    assert_int_equal(rig.type->partition_count(rig.sources[0]), 0);
    rig.ahead_us = 61 * INT64_C(1000000);
    rig_step(&rig);
    assert_int_equal(rig.warnings, 2);
    rig_close(&rig);
}

/* The end is taken back while no broker answers, and given again without a new message. */
static void test_outage(void **state)
{
    rd_kafka_t *host = client_new(RD_KAFKA_PRODUCER, "127.0.0.1:1", NULL, NULL);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 1);
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    struct rig rig;

    name_topic("outage");
    assert_int_equal(rd_kafka_mock_topic_create(cluster, topic_name, 3, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    producer = client_new(RD_KAFKA_PRODUCER, brokers, NULL, NULL);
    produce_numbers(3, 0, 500, 0);
    rig_open(&rig, brokers, "start: earliest", 1, false);
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * 500);
    assert_int_equal(rig.type->high_offset(rig.sources[0], 0), 500);

    rd_kafka_mock_broker_set_down(cluster, 1);
    rig_run(&rig, 3, POLL_UNREACHABLE);
    rig_run_until_warned(&rig, "waiting for ");
    assert_int_equal(rig.warnings, 1);
    rd_kafka_mock_broker_set_up(cluster, 1);
    rig_run(&rig, 3, POLL_END);

    produce_numbers(3, 500, 600, 0);
    while (rig.count < 3 * 600)
        rig_step(&rig);
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * 600);
    rig_close(&rig);
    rd_kafka_destroy(producer);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

static void test_each_message_once(void **state)
{
    name_and_make_topic("once-each", 3);
    produce_numbers(3, 0, 20000, 0);
    for (unsigned workers = 1; workers <= WORKERS_MAX; workers++) {
        struct rig rig;

        rig_open(&rig, real_brokers, "start: earliest", workers, false);
        rig_run(&rig, 3, POLL_END);
        assert_int_equal(rig.count, 3 * 20000);
        assert_int_equal(rig.warnings, 0);
        assert_int_equal(rig.type->partition_count(rig.sources[0]), workers == 1 ? 3 : 2);
        rig_close(&rig);
    }
}

/* Many topics and workers: no partition twice, none left out. */
static void test_workers_share_topics(void **state)
{
    char first[64], yaml[512];
    struct rig rig;
    int seen[2][3] = {0};

    name_and_make_topic("share-b", 2);
    memcpy(first, topic_name, sizeof first);
    name_and_make_topic("share-a", 3);
    snprintf(yaml, sizeof yaml, "{brokers: \"%s\", topics: [%s, %s, %s], group: %s}", real_brokers, first,
             topic_name, first, topic_name);
    assert_int_equal(rig_try_open(&rig, yaml, 2, false), STATUS_OK);
    while (!rig_is_ready(&rig))
        for (unsigned i = 0; i < 2; i++)
            rig.type->advance(rig.sources[i], now_us(&rig));
    for (unsigned i = 0; i < 2; i++) {
        for (size_t k = 0; k < rig.type->partition_count(rig.sources[i]); k++) {
            const struct source_partition *about = rig.type->partition(rig.sources[i], k);

            seen[strcmp(about->topic, first) == 0][about->partition]++;
        }
        assert_in_range(rig.type->partition_count(rig.sources[i]), 2, 3);
    }
    for (int p = 0; p < 3; p++) {
        assert_int_equal(seen[0][p], 1);
        assert_int_equal(seen[1][p], p < 2);
    }
    rig_close(&rig);
}

static void test_commit(void **state)
{
    struct rig rig;

    name_and_make_topic("commit", 2);
    produce_numbers(2, 0, 100, 0);
    rig_open(&rig, real_brokers, "start: earliest", 1, false);
    rig_run(&rig, 2, POLL_END);
    assert_int_equal(rig.type->partition(rig.sources[0], 0)->committed, OFFSET_NONE);
    rig.type->commit(rig.sources[0], 0, 30, SPAN_LITERAL("first"));
    rig_step(&rig);
    rig.type->commit(rig.sources[0], 0, 40, SPAN_LITERAL("watermark=1795254020097"));
    rig.type->commit(rig.sources[0], 1, 100, (struct span){0});
    rig_close(&rig);

    rig_open(&rig, real_brokers, "start: earliest", 1, false);
    rig.next[0] = 40;
    rig.next[1] = 100;
    rig_run(&rig, 2, POLL_END);
    assert_int_equal(rig.count, 60);
    const struct source_partition *first = rig.type->partition(rig.sources[0], 0);
    const struct source_partition *second = rig.type->partition(rig.sources[0], 1);
    assert_int_equal(first->committed, 40);
    assert_true(span_is(first->metadata, "watermark=1795254020097"));
    assert_int_equal(second->committed, 100);
    assert_int_equal(second->metadata.size, 0);

    /* sent by advance alone, one a second */
    rig.type->commit(rig.sources[0], 0, 55, SPAN_LITERAL("later"));
    rig.ahead_us = 2 * INT64_C(1000000);
    rig_step(&rig);
    rd_kafka_t *other = client_new(RD_KAFKA_CONSUMER, real_brokers, "group.id", topic_name);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic_name, 0);
    for (int i = 0; i < 100 && list->elems[0].offset != 55; i++) {
        rig_step(&rig);
        assert_int_equal(rd_kafka_committed(other, list, 5000), RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    assert_int_equal(list->elems[0].offset, 55);
    assert_int_equal(rig.warnings, 0);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(other);
    rig_close(&rig);
}

static void test_topic_made_later(void **state)
{
    struct rig rig;

    name_topic("later");
    rig_open(&rig, real_brokers, "start: latest", 2, false);
    rig_run_until_warned(&rig, "does not exist on ");
    for (int i = 0; i < 100; i++) {
        rig_step(&rig);
        usleep(1000);
    }
    assert_true(rig_is_ready(&rig));
    assert_int_equal(rig.warnings, 2); /* one a worker */
    make_topic(2, NULL, NULL);
    produce_numbers(2, 0, 10, 0);
    rig_run(&rig, 2, POLL_END);
    assert_int_equal(rig.count, 20); /* from the beginning, though it says latest */

    grow_topic(4);
    rig.ahead_us = 31 * INT64_C(1000000);
    for (int p = 2; p < 4; p++)
        produce(producer, p, "0", 1, 0);
    rd_kafka_flush(producer, 10000);
    rig_run(&rig, 4, POLL_END);
    assert_int_equal(rig.count, 22);
    rig_close(&rig);
}

static void assert_started(const char *start, size_t skipped, size_t old, size_t fresh)
{
    struct rig rig;

    rig_open(&rig, real_brokers, start, 1, false);
    rig.next[0] = (int64_t)skipped;
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, old);
    produce_numbers(1, (int)(skipped + old), (int)(skipped + old + fresh), 0);
    while (rig.count < old + fresh)
        rig_step(&rig);
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, old + fresh);
    rig_close(&rig);
}

static void test_starts(void **state)
{
    int64_t now_ms;
    struct rig clock = {0};

    name_and_make_topic("starts", 1);
    now_ms = now_us(&clock) / 1000;
    produce_numbers(1, 0, 100, now_ms - 3 * 3600 * 1000);
    produce_numbers(1, 100, 150, now_ms - 30 * 60 * 1000);
    assert_started("start: earliest", 0, 150, 1);
    assert_started("start: latest", 151, 0, 1);
    assert_started("start: -1h", 100, 52, 1);
    assert_started("group: other", 100, 53, 1); /* -1h is the default */
    assert_started("start: \"2000-01-01T00:00:00Z\"", 0, 154, 1);
    assert_started("start: \"9000-01-01T00:00:00Z\"", 155, 0, 1); /* nothing there yet: from now on */
}

static void test_once(void **state)
{
    struct rig rig;

    name_and_make_topic("once", 3);
    produce_numbers(2, 0, 1000, 0);
    rig_open(&rig, real_brokers, "start: earliest", 1, true);
    while (!rig_is_ready(&rig))
        rig.type->advance(rig.sources[0], now_us(&rig));
    produce_numbers(2, 1000, 1100, 0); /* too late: the end is that of the start */
    rig_run(&rig, 3, POLL_DONE);
    assert_int_equal(rig.count, 2000);
    rig_close(&rig);
}

static void test_transactions(void **state)
{
    rd_kafka_t *by = client_new(RD_KAFKA_PRODUCER, real_brokers, "transactional.id", topic_name);
    struct rig rig;

    name_and_make_topic("transactions", 1);
    assert_null(rd_kafka_init_transactions(by, PATIENCE_S * 1000));
    for (int round = 0; round < 4; round++) {
        bool is_aborted = round % 2 == 1;

        assert_null(rd_kafka_begin_transaction(by));
        for (int i = 0; i < 10; i++) {
            char text[8];
            int size = snprintf(text, sizeof text, "%d", is_aborted ? 999 : round / 2 * 10 + i);

            produce(by, 0, text, (size_t)size, 0);
        }
        rd_kafka_flush(by, 10000);
        assert_null(is_aborted ? rd_kafka_abort_transaction(by, -1) : rd_kafka_commit_transaction(by, -1));
    }
    for (int once = 0; once < 2; once++) {
        rig_open(&rig, real_brokers, "start: earliest", 1, once != 0);
        rig_run(&rig, 1, once ? POLL_DONE : POLL_END);
        assert_int_equal(rig.count, 20);
        rig_close(&rig);
    }
    rd_kafka_destroy(by);
}

static void test_tombstone_and_large_message(void **state)
{
    enum { LARGE = 10 * 1000 * 1000 };
    char *large = memory_new(LARGE);
    struct rig rig;

    name_topic("sizes");
    make_topic(1, "max.message.bytes", "20000000");
    memset(large, 'x', LARGE);
    memcpy(large, "1 ", 2);
    produce(producer, 0, "0", 1, 0);
    produce(producer, 0, NULL, 0, 0);
    produce(producer, 0, large, LARGE, 0);
    produce(producer, 0, "2", 1, 0);
    rd_kafka_flush(producer, PATIENCE_S * 1000);
    rig_open(&rig, real_brokers,
             "start: earliest, queue_bytes: 1MiB, librdkafka: {fetch.message.max.bytes: \"20000000\"}", 1,
             false);
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, 4);
    assert_int_equal(rig.tombstones, 1);
    assert_int_equal(rig.bytes, LARGE + 2);
    rig_close(&rig);

    rig_open(&rig, real_brokers, "start: earliest, group: other", 1,
             false); /* the default size will do too */
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, 4);
    rig_close(&rig);
    free(large);
}

static void test_deleted_before_read(void **state)
{
    struct rig rig;

    name_and_make_topic("deleted", 1);
    produce_numbers(1, 0, 100, 0);
    rig_open(&rig, real_brokers, "start: earliest", 1, false);
    rig_run(&rig, 1, POLL_END);
    rig.type->commit(rig.sources[0], 0, 20, (struct span){0});
    rig_close(&rig);

    delete_before(70);
    rig_open(&rig, real_brokers, "", 1, false);
    rig.next[0] = 70;
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, 30);
    assert_int_equal(rig.warnings, 1);
    assert_non_null(
        strstr(rig.warning, "[0]: 50 offsets were deleted before they were read: goes on at 70, not 20"));
    rig.type->commit(rig.sources[0], 0, 5000, (struct span){0});
    rig_close(&rig);

    rig_open(&rig, real_brokers, "", 1, false);
    rig.next[0] = 70;
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, 30);
    assert_non_null(strstr(rig.warning, "offset 5000 is beyond the end 100"));
    rig_close(&rig);
}

static void test_group_with_other_members(void **state)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_t *other;
    struct rig rig;

    name_and_make_topic("members", 1);
    produce_numbers(1, 0, 100, 0);
    other = client_new(RD_KAFKA_CONSUMER, real_brokers, "group.id", topic_name);
    rd_kafka_poll_set_consumer(other);
    rd_kafka_topic_partition_list_add(list, topic_name, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(other, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_t *assigned = list;
    for (int i = 0; i < 100 && assigned->elems == list->elems; i++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(other, 100);

        if (message)
            rd_kafka_message_destroy(message);
        rd_kafka_assignment(other, &assigned);
        if (assigned->cnt == 0) {
            rd_kafka_topic_partition_list_destroy(assigned);
            assigned = list;
        }
    }
    assert_ptr_not_equal(assigned, list);
    rd_kafka_topic_partition_list_destroy(assigned);

    rig_open(&rig, real_brokers, "start: earliest", 1, false);
    rig_run(&rig, 1, POLL_END);
    rig.type->commit(rig.sources[0], 0, 50, (struct span){0});
    for (int i = 0; i < 300; i++) {
        rig_step(&rig);
        usleep(10000);
    }
    assert_int_equal(rig.states[0], POLL_END); /* not yet: it may be a member that died */
    assert_int_equal(rig.warnings, 0);
    rig.ahead_us = 46 * INT64_C(1000000);
    rig_run_until_warned(&rig, "has other members");
    produce_numbers(1, 100, 110, 0);
    rig_run(&rig, 1, POLL_UNREACHABLE);
    assert_int_equal(rig.count, 100);
    rig_close(&rig);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(other);
    rd_kafka_destroy(other);
}

static void start_broker(void)
{
    char script[512], *port = strrchr(real_brokers, ':') + 1;
    char *arguments[] = {script, "start", port, NULL};
    int status;
    pid_t child;

    snprintf(script, sizeof script, "%s/tests/services/kafka.sh", getenv("WEIR_ROOT"));
    assert_int_equal(posix_spawn(&child, script, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void kill_broker(const char *data)
{
    char path[512], text[16] = "";

    snprintf(path, sizeof path, "%s/pid", data);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    pid_t broker = (pid_t)strtol(text, NULL, 10);
    assert_true(broker > 1);
    assert_int_equal(kill(broker, SIGKILL), 0);
    while (kill(broker, 0) == 0)
        usleep(10000);
}

/* SIGKILL in mid-run, and start again: nothing missing, nothing twice. */
static void test_broker_killed(void **state)
{
    enum { COUNT = 100000 };
    const char *data = getenv("KAFKA_DATA");
    struct rig rig;

    if (!data)
        skip();
    name_and_make_topic("killed", 3);
    produce_numbers(3, 0, COUNT, 0);
    rig_open(&rig, real_brokers, "start: earliest, librdkafka: {queued.max.messages.kbytes: \"1024\"}", 2,
             false);
    while (rig.count < COUNT)
        rig_step(&rig);
    kill_broker(data);
    rig_run(&rig, 3, POLL_UNREACHABLE);
    assert_true(rig.count < 3 * COUNT);
    rig.type->commit(rig.sources[0], 0, 1, SPAN_LITERAL("while it is down"));
    start_broker();
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * COUNT);

    produce_numbers(3, COUNT, COUNT + 10, 0);
    while (rig.count < 3 * (COUNT + 10))
        rig_step(&rig);
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * (COUNT + 10));
    rig_close(&rig);

    rig_open(&rig, real_brokers, "", 1, false);
    while (!rig_is_ready(&rig))
        rig.type->advance(rig.sources[0], now_us(&rig));
    assert_int_equal(rig.type->partition(rig.sources[0], 0)->committed, 1);
    rig_close(&rig);
}

static void test_sasl_over_tls(void **state)
{
    const char *brokers = getenv("WEIR_KAFKA_TLS"), *authority = getenv("WEIR_KAFKA_CA");
    char more[512];
    struct rig rig;

    if (!brokers || !authority)
        skip();
    name_and_make_topic("tls", 1);
    produce_numbers(1, 0, 100, 0);
    assert_int_equal(setenv("WEIR_TEST_PASSWORD", "alice-secret", 1), 0);
    snprintf(more, sizeof more,
             "start: earliest, librdkafka: {security.protocol: SASL_SSL, sasl.mechanism: PLAIN, "
             "sasl.username: alice, "
             "sasl.password: {env: WEIR_TEST_PASSWORD}, ssl.ca.location: %s}",
             authority);
    rig_open(&rig, brokers, more, 1, false);
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, 100);
    rig_close(&rig);

    setenv("WEIR_TEST_PASSWORD", "wrong", 1);
    rig_open(&rig, brokers, more, 1, false);
    rig_run_until_warned(&rig, "Authentication failed");
    assert_null(strstr(rig.warning, "wrong"));
    assert_false(rig_is_ready(&rig));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest without_broker[] = {
        cmocka_unit_test(test_refused_settings), cmocka_unit_test(test_properties_that_agree),
        cmocka_unit_test(test_start_forms),      cmocka_unit_test(test_no_broker),
        cmocka_unit_test(test_outage),
    };
    const struct CMUnitTest with_broker[] = {
        cmocka_unit_test(test_each_message_once),
        cmocka_unit_test(test_workers_share_topics),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_topic_made_later),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_tombstone_and_large_message),
        cmocka_unit_test(test_deleted_before_read),
        cmocka_unit_test(test_group_with_other_members),
        cmocka_unit_test(test_sasl_over_tls),
        cmocka_unit_test(test_broker_killed),
    };
    int failures = cmocka_run_group_tests(without_broker, NULL, NULL);

    real_brokers = getenv("WEIR_KAFKA");
    if (failures)
        return failures;
    if (!real_brokers || !real_brokers[0]) {
        puts("WEIR_KAFKA names no broker: only what needs none was tested");
        return SKIPPED;
    }
    producer = client_new(RD_KAFKA_PRODUCER, real_brokers, NULL, NULL);
    failures = cmocka_run_group_tests(with_broker, NULL, NULL);
    rd_kafka_destroy(producer);
    return failures;
}
