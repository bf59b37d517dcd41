/* The Kafka source: what it refuses without a broker, an outage on librdkafka's mock cluster, and all else
 * on a real broker, without which those tests are skipped (exit 77). Environment:
 *   WEIR_KAFKA=127.0.0.1:PORT      the real broker, as tests/services/kafka.sh starts it
 *   KAFKA_DATA                     its folder; with it the broker is killed and started again in mid-run
 *   WEIR_KAFKA_TLS, WEIR_KAFKA_CA  a listener with SASL_SSL and PLAIN (alice, alice-secret); its CA's file */
#include "tests/ingest/kafka_rig.h"

#include "base/memory.h"
#include "ingest/kafka_probe.h"

#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

extern char **environ;

static const char *real_brokers;

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
    assert_refused("topics: [a]\nlibrdkafka: {auto.offset.reset: earliest}", "the key `start` says it");
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
    assert_false(kafka_start_parse("-1x", &start));
    assert_false(kafka_start_parse("2026-13-01T00:00:00Z", &start));
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
    rig_run_until_read(&rig, 3 * 600);
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * 600);
    rig_close(&rig);
    rd_kafka_destroy(producer);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

static void take_of_busy(void *owner, int32_t partition, const struct message *message)
{
    size_t *counts = owner;

    counts[partition]++;
    if (partition != 0 || message->offset > 20)
        return;
    produce(producer, 0, "more", 4, 0);
    rd_kafka_flush(producer, PATIENCE_S * 1000);
}

/* One partition grows while it is read, so that its end comes again and again; the other's broker is slow. */
static void test_probe_of_a_busy_partition(void **state)
{
    rd_kafka_t *host = client_new(RD_KAFKA_PRODUCER, "127.0.0.1:1", NULL, NULL);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 2);
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    const struct source_context context = {.name = "s", .workers = 1};
    const struct kafka_place places[] = {{.high = 3}, {.partition = 1, .high = 3}};
    struct kafka_probe *probe;
    struct rig rig;
    size_t counts[2] = {0};

    name_topic("busy");
    assert_int_equal(rd_kafka_mock_topic_create(cluster, topic_name, 2, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_mock_partition_set_leader(cluster, topic_name, 0, 1);
    rd_kafka_mock_partition_set_leader(cluster, topic_name, 1, 2);
    producer = client_new(RD_KAFKA_PRODUCER, brokers, NULL, NULL);
    produce_numbers(2, 0, 3, 0);
    rig_open(&rig, brokers, "", 1, false);
    assert_int_equal(kafka_probe_open(&rig.settings, &context, &probe, &rig.error), STATUS_OK);
    rd_kafka_mock_broker_set_rtt(cluster, 2, 2000);
    assert_int_equal(kafka_probe_read(probe, topic_name, places, 2, 3, take_of_busy, counts, &rig.error),
                     STATUS_OK);
    assert_int_equal(counts[0], 3);
    assert_int_equal(counts[1], 3);
    kafka_probe_close(probe);
    rig_close(&rig);
    rd_kafka_destroy(producer);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

/* The store's word goes before the committed offset and before `start`. */
static void test_resume(void **state)
{
    rd_kafka_t *host = client_new(RD_KAFKA_PRODUCER, "127.0.0.1:1", NULL, NULL);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 1);
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    struct rig rig;

    name_topic("resume");
    assert_int_equal(rd_kafka_mock_topic_create(cluster, topic_name, 2, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    producer = client_new(RD_KAFKA_PRODUCER, brokers, NULL, NULL);
    produce_numbers(2, 0, 300, 0);
    for (unsigned once = 0; once < 2; once++) {
        enum poll_state end = once ? POLL_DONE : POLL_END;

        resume_at = 200;
        rig_open(&rig, brokers, "start: earliest", 1, once);
        rig.next[0] = 200;
        rig_run(&rig, 2, end);
        assert_int_equal(rig.count, 100 + 300);
        assert_int_equal(rig.warnings, 0);
        rig_close(&rig);

        resume_at = 301;
        rig_open(&rig, brokers, "start: earliest", 1, once);
        rig_run(&rig, 2, end);
        assert_int_equal(rig.count, 300);
        assert_int_equal(rig.warnings, 1);
        assert_non_null(strstr(rig.warning, " [0]: offset 301, where to read on, is beyond the end 300"));
        assert_true(rig.type->partition(rig.sources[0], 0)->anew);
        assert_false(rig.type->partition(rig.sources[0], 1)->anew);
        rig_close(&rig);
    }
    resume_at = OFFSET_NONE;
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
        assert_in_range(rig.type->partition_count(rig.sources[0]), workers == 1 ? 3 : 1, 4 - workers);
        rig_close(&rig);
    }
}

/* As a partition is that runs ahead of the others. */
static void test_partition_held_back(void **state)
{
    struct rig rig;

    name_and_make_topic("held", 3);
    produce_numbers(3, 0, 40000, 0);
    rig_open(&rig, real_brokers, "start: earliest, librdkafka: {queued.max.messages.kbytes: \"1024\"}", 1,
             false);
    for (int round = 0; round < 3; round++) {
        size_t least = rig.count + 10000;
        int64_t stand = rig.next[round];

        memset(rig.is_held, 0, sizeof rig.is_held);
        rig.is_held[round] = true;
        rig_run_until_read(&rig, least);
        assert_int_equal(rig.next[round], stand);
    }
    memset(rig.is_held, 0, sizeof rig.is_held);
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * 40000);
    assert_int_equal(rig.warnings, 0);
    rig_close(&rig);
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
    rig_wait_ready(&rig);
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
    rig_run_until_committed(&rig, real_brokers, 55);
    assert_int_equal(rig.warnings, 0);
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
    rig_run_until_read(&rig, old + fresh);
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
    rig_wait_ready(&rig);
    produce_numbers(2, 1000, 1100, 0); /* too late: the end is that of the start */
    rig_run(&rig, 3, POLL_DONE);
    assert_int_equal(rig.count, 2000);
    rig_close(&rig);
}

static void test_once_without_topic(void **state)
{
    struct rig rig;

    name_topic("never");
    rig_open(&rig, real_brokers, "", 1, true);
    assert_null(rig.type->refusal(rig.sources[0]));
    for (int i = 0; i < 1000 && !rig.type->refusal(rig.sources[0]); i++) {
        rig_step(&rig);
        usleep(10000);
    }
    assert_non_null(strstr(rig.type->refusal(rig.sources[0]), "does not exist on "));
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
    assert_true(rig.type->partition(rig.sources[0], 0)->anew);
    rig_close(&rig);

    resume_at = 60;
    rig_open(&rig, real_brokers, "", 1, false);
    rig.next[0] = 70;
    rig_run(&rig, 1, POLL_END);
    assert_int_equal(rig.count, 30);
    assert_non_null(
        strstr(rig.warning, "[0]: 10 offsets were deleted before they were read: goes on at 70, not 60"));
    assert_false(rig.type->partition(rig.sources[0], 0)->anew);
    rig_close(&rig);
    resume_at = OFFSET_NONE;
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

/* Which worker reads partition 0 depends on the topic's name. */
static void commit_of_first(struct rig *rig, int64_t offset, struct span metadata)
{
    unsigned committed = 0;

    for (unsigned i = 0; i < rig->workers; i++) {
        for (size_t k = 0; k < rig->type->partition_count(rig->sources[i]); k++) {
            if (rig->type->partition(rig->sources[i], k)->partition == 0) {
                rig->type->commit(rig->sources[i], k, offset, metadata);
                committed++;
            }
        }
    }
    assert_int_equal(committed, 1);
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
    rig_run_until_read(&rig, COUNT);
    kill_broker(data);
    rig_run(&rig, 3, POLL_UNREACHABLE);
    assert_true(rig.count < 3 * COUNT);
    commit_of_first(&rig, 1, SPAN_LITERAL("while it is down"));
    start_broker();
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * COUNT);

    produce_numbers(3, COUNT, COUNT + 10, 0);
    rig_run_until_read(&rig, 3 * (COUNT + 10));
    rig_run(&rig, 3, POLL_END);
    assert_int_equal(rig.count, 3 * (COUNT + 10));
    rig_run_until_committed(&rig, real_brokers, 1);
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
        cmocka_unit_test(test_outage),           cmocka_unit_test(test_probe_of_a_busy_partition),
        cmocka_unit_test(test_resume),
    };
    const struct CMUnitTest with_broker[] = {
        cmocka_unit_test(test_each_message_once),
        cmocka_unit_test(test_partition_held_back),
        cmocka_unit_test(test_workers_share_topics),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_topic_made_later),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_once_without_topic),
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
