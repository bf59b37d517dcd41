/* The internal topics, once when a process joins: the first one makes them, each one checks them. A topic
 * with other settings would lose state or parcels without a word, so it is refused. */
#include "pipeline/cluster_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOPICS = 3, SETTINGS_MAX = 6, ASK_MS = 2000, ANSWER_MS = 10000 };

#define PATIENCE_US (15 * INT64_C(1000000))

struct setting {
    const char *key, *value;
    enum { IS_WISH, IS_NEEDED, IS_LEAST } kind; /* of a topic that is already there */
};

/* Segments are small because what is deleted or compacted goes by segments. */
static const struct setting settings[TOPICS][SETTINGS_MAX] = {
    {
        {"cleanup.policy", "delete", IS_NEEDED},
        {"retention.ms", "-1", IS_NEEDED},
        {"retention.bytes", "-1", IS_NEEDED},
        {"max.message.bytes", "16777216", IS_LEAST},
        {"segment.bytes", "67108864", IS_WISH},
    },
    {
        {"cleanup.policy", "compact", IS_NEEDED},
        {"max.message.bytes", "16777216", IS_LEAST},
        {"segment.bytes", "67108864", IS_WISH},
        {"min.cleanable.dirty.ratio", "0.1", IS_WISH},
    },
    {
        {"cleanup.policy", "delete", IS_NEEDED},
        {"retention.ms", "3600000", IS_WISH},
        {"retention.bytes", "268435456", IS_WISH},
        {"segment.bytes", "16777216", IS_WISH},
        {"segment.ms", "600000", IS_WISH},
    },
};

struct topic {
    rd_kafka_topic_t *handle; /* the reader's */
    const char *name;
    int partitions;
    const struct setting *settings;
};

/* STATUS_RETRY: no answer, or no leader yet. A topic that is not there has 0 partitions. */
static enum status count_partitions(struct cluster *cluster, rd_kafka_topic_t *topic, int *ret_count,
                                    struct error *ret_error)
{
    const struct rd_kafka_metadata *answer;
    rd_kafka_resp_err_t problem = rd_kafka_metadata(cluster->reader, 0, topic, &answer, ASK_MS);
    enum status status = STATUS_OK;

    rd_kafka_poll(cluster->reader, 0); /* its complaints */
    if (problem) {
        fail(ret_error, "cluster: no answer from %s: %s", cluster->settings->brokers,
             rd_kafka_err2str(problem));
        return STATUS_RETRY;
    }
    assert(answer->topic_cnt == 1);
    problem = answer->topics[0].err;
    if (problem == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *ret_count = answer->topics[0].partition_cnt;
    } else if (problem == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        *ret_count = 0;
    } else {
        fail(ret_error, "cluster: topic '%s': %s", rd_kafka_topic_name(topic), rd_kafka_err2str(problem));
        status = problem == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ? STATUS_RETRY : STATUS_FATAL;
    }
    rd_kafka_metadata_destroy(answer);
    return status;
}

static enum status check_creation(const char *name, rd_kafka_event_t *answer, struct error *ret_error)
{
    rd_kafka_resp_err_t problem = answer ? rd_kafka_event_error(answer) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    const char *reason = rd_kafka_err2str(problem);

    if (problem == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(answer), &count);

        assert(count == 1);
        problem = rd_kafka_topic_result_error(results[0]);
        reason = rd_kafka_topic_result_error_string(results[0]);
    }
    if (problem == RD_KAFKA_RESP_ERR_NO_ERROR || problem == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return STATUS_OK;
    fail(ret_error, "cluster: topic '%s' cannot be made: %s%s", name,
         reason ? reason : rd_kafka_err2str(problem),
         problem == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR ? " (cluster.replication)" : "");
    return problem == RD_KAFKA_RESP_ERR__TIMED_OUT || problem == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT ||
                   problem == RD_KAFKA_RESP_ERR__TRANSPORT || problem == RD_KAFKA_RESP_ERR_NOT_CONTROLLER
               ? STATUS_RETRY
               : STATUS_FATAL;
}

static enum status make(struct cluster *cluster, const struct topic *wanted, struct error *ret_error)
{
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(wanted->name, wanted->partitions, (int)cluster->settings->replication, NULL, 0);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(cluster->reader);

    if (!topic) {
        rd_kafka_queue_destroy(queue);
        return fail(ret_error, "cluster: topic '%s' cannot be made with cluster.replication %lld",
                    wanted->name, (long long)cluster->settings->replication);
    }
    for (const struct setting *setting = wanted->settings; setting->key; setting++)
        rd_kafka_NewTopic_set_config(topic, setting->key, setting->value);
    rd_kafka_CreateTopics(cluster->reader, &topic, 1, NULL, queue);
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, ANSWER_MS);
    enum status status = check_creation(wanted->name, answer, ret_error);

    if (answer)
        rd_kafka_event_destroy(answer);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    return status;
}

static enum status refuse_count(const struct cluster *cluster, const struct topic *topic, int count,
                                struct error *ret_error)
{
    if (topic->handle == cluster->pages)
        return fail(
            ret_error,
            "cluster: topic '%s' has %d partitions, but needs 1: delete it (it is made again; nothing "
            "but pages is lost), or choose another cluster.application_id",
            topic->name, count);
    return fail(ret_error,
                "cluster: topic '%s' has %d partitions, but cluster.tasks is %d: it cannot be changed while "
                "there is state; set it to %d, or choose another cluster.application_id",
                topic->name, count, topic->partitions, count);
}

/* Until the topic is there with all its partitions. */
static enum status make_and_count(struct cluster *cluster, const struct topic *topic, int64_t until_us,
                                  struct error *ret_error)
{
    const struct timespec pause = {.tv_nsec = 100000000};

    for (;;) {
        int count = 0;
        enum status status = count_partitions(cluster, topic->handle, &count, ret_error);

        if (status == STATUS_OK && count == topic->partitions)
            return STATUS_OK;
        if (status == STATUS_OK && count > 0)
            return refuse_count(cluster, topic, count, ret_error);
        if (status == STATUS_OK) {
            fail(ret_error, "cluster: topic '%s' was made, but is not there yet", topic->name);
            status = make(cluster, topic, ret_error);
        }
        if (status == STATUS_FATAL)
            return STATUS_FATAL;
        if (cluster_monotonic_us() > until_us)
            return STATUS_RETRY;
        nanosleep(&pause, NULL);
    }
}

static const char *value_of(const rd_kafka_ConfigResource_t *topic, const char *key)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(topic, &count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), key) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    return NULL;
}

static enum status check_settings(const rd_kafka_ConfigResource_t *topic, const struct setting *setting,
                                  struct error *ret_error)
{
    for (; setting->key; setting++) {
        const char *value = value_of(topic, setting->key);
        bool is_right =
            setting->kind == IS_WISH || !value ||
            (setting->kind == IS_NEEDED ? strcmp(value, setting->value) == 0
                                        : strtoll(value, NULL, 10) >= strtoll(setting->value, NULL, 10));

        if (!is_right)
            return fail(
                ret_error,
                "cluster: topic '%s' has %s=%s, but needs %s%s: change it with Kafka's tools, or choose "
                "another cluster.application_id",
                rd_kafka_ConfigResource_name(topic), setting->key, value,
                setting->kind == IS_LEAST ? "at least " : "", setting->value);
    }
    return STATUS_OK;
}

static enum status check_answer(struct cluster *cluster, const struct topic topics[TOPICS],
                                rd_kafka_event_t *answer, struct error *ret_error)
{
    rd_kafka_resp_err_t problem = answer ? rd_kafka_event_error(answer) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    size_t count = 0;

    if (problem) {
        fail(ret_error, "cluster: no answer about the settings of topics: %s", rd_kafka_err2str(problem));
        return STATUS_RETRY;
    }
    const rd_kafka_ConfigResource_t **described =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(answer), &count);

    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConfigResource_name(described[i]);

        /* some clusters do not let everybody ask */
        if (rd_kafka_ConfigResource_error(described[i])) {
            cluster_warn(cluster, TROUBLE_ACCESS, "cluster: settings of topic '%s' are not checked: %s", name,
                         rd_kafka_ConfigResource_error_string(described[i]));
            continue;
        }
        for (unsigned k = 0; k < TOPICS; k++)
            if (strcmp(name, topics[k].name) == 0 &&
                check_settings(described[i], topics[k].settings, ret_error))
                return STATUS_FATAL;
    }
    return STATUS_OK;
}

static enum status describe_and_check(struct cluster *cluster, const struct topic topics[TOPICS],
                                      struct error *ret_error)
{
    rd_kafka_ConfigResource_t *asked[TOPICS];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(cluster->reader);

    for (unsigned i = 0; i < TOPICS; i++)
        asked[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
    rd_kafka_DescribeConfigs(cluster->reader, asked, TOPICS, NULL, queue);
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, ANSWER_MS);
    enum status status = check_answer(cluster, topics, answer, ret_error);

    if (answer)
        rd_kafka_event_destroy(answer);
    rd_kafka_ConfigResource_destroy_array(asked, TOPICS);
    rd_kafka_queue_destroy(queue);
    return status;
}

enum status cluster_topics_open(struct cluster *cluster, struct error *ret_error)
{
    int tasks = (int)cluster->settings->tasks;
    const struct topic topics[TOPICS] = {
        {cluster->inboxes, cluster->exchange, tasks, settings[0]},
        {cluster->changelogs, cluster->changelog, tasks, settings[1]},
        {cluster->pages, cluster->page, 1, settings[2]},
    };
    int64_t until_us = cluster_monotonic_us() + PATIENCE_US;

    for (unsigned i = 0; i < TOPICS; i++) {
        enum status status = make_and_count(cluster, &topics[i], until_us, ret_error);

        if (status)
            return status;
    }
    return describe_and_check(cluster, topics, ret_error);
}
