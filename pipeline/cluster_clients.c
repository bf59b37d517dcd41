/* librdkafka's clients in the roles that a cluster has for them, made at a join and when a task is opened,
 * and what they have to say while they run. What they may do without (time to connect again, sizes) can be
 * changed under cluster.librdkafka; what the promises of journal.h rest on cannot. Tried and dropped: a
 * consumer for each journal, whose fetches while nothing happens cost more than all else. */
#include "pipeline/cluster_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define WARNING_INTERVAL_US (60 * INT64_C(1000000))

enum { HEARTBEAT_MS_MAX = 1000, POLL_INTERVAL_MS = 300000 };

struct property {
    const char *key, *value;
    bool is_fixed;
};

// clang-format off
static const struct property of_all[] = {
    {"client.id",                          "weir",             false},
    {"socket.keepalive.enable",            "true",             false},
    {"socket.nagle.disable",               "true",             false}, /* librdkafka 2.0 waits otherwise */
    {"reconnect.backoff.max.ms",           "2000",             false},
    /* above 715827, librdkafka 2.0 has metadata expire at once (three times it in microseconds, in an int) */
    {"topic.metadata.refresh.interval.ms", "600000",           false},
    {NULL,                                 NULL,               false},
};
static const struct property of_member[] = {
    {"enable.auto.commit",                 "false",            true},
    {"enable.auto.offset.store",           "false",            true},
    {"partition.assignment.strategy",      "roundrobin",       true}, /* eager: all stop, then all start */
    {"allow.auto.create.topics",           "false",            true},
    {NULL,                                 NULL,               false},
};
static const struct property of_reader[] = {
    {"enable.auto.commit",                 "false",            true},
    {"auto.commit.enable",                 "false",            true}, /* of topics */
    {"isolation.level",                    "read_committed",   true},
    {"enable.partition.eof",               "true",             true}, /* else a replay has no end */
    {"auto.offset.reset",                  "error",            true}, /* else a loss goes unseen */
    {"allow.auto.create.topics",           "false",            true},
    {"fetch.wait.max.ms",                  "100",              false}, /* so long a new inbox waits for the old fetch */
    {"queued.max.messages.kbytes",         "16384",            false}, /* for each partition */
    {NULL,                                 NULL,               false},
};
static const struct property of_producer[] = {
    {"enable.idempotence",                 "true",             true},
    {"transaction.timeout.ms",             "60000",            true},
    {"message.timeout.ms",                 "60000",            false},
    {"message.max.bytes",                  "16777216",         true},
    {"queue.buffering.max.kbytes",         "65536",            false},
    {"linger.ms",                          "5",                false}, /* a commit does not wait for it */
    {"compression.codec",                  "lz4",              false},
    {"retry.backoff.ms",                   "10",               false}, /* the broker is still ending the last one */
    {"delivery.report.only.error",         "true",             true},
    {"isolation.level",                    "read_uncommitted", true}, /* of the question where a partition ends */
    {NULL,                                 NULL,               false},
};
static const struct property of_teller[] = { /* rather loses than keeps much or waits long */
    {"acks",                               "1",                false},
    {"message.timeout.ms",                 "10000",            false},
    {"queue.buffering.max.kbytes",         "16384",            false},
    {"linger.ms",                          "5",                false},
    {"compression.codec",                  "lz4",              false},
    {"delivery.report.only.error",         "false",            true}, /* they are counted */
    {NULL,                                 NULL,               false},
};
static const struct {
    const char *property, *key;
} said_elsewhere[] = {
    {"bootstrap.servers",  "brokers"},        {"metadata.broker.list", "brokers"},
    {"group.id",           "application_id"}, {"transactional.id",     "application_id"},
    {"group.instance.id",  "instance"},       {"session.timeout.ms",   "session_timeout"},
};
// clang-format on

int64_t cluster_monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

int64_t cluster_real_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

void cluster_warn(struct cluster *cluster, enum cluster_trouble kind, const char *format, ...)
{
    int64_t now_us = cluster_monotonic_us(), told_us = atomic_load(&cluster->told_us[kind]);
    struct error line;
    va_list arguments;

    if (told_us != 0 && now_us - told_us < WARNING_INTERVAL_US)
        return;
    if (!atomic_compare_exchange_strong(&cluster->told_us[kind], &told_us, now_us))
        return;
    va_start(arguments, format);
    vsnprintf(line.text, sizeof line.text, format, arguments);
    va_end(arguments);
    cluster->hooks.warn(cluster->hooks.owner, line.text);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct cluster *cluster = opaque;

    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL: /* whoever uses the client next is told */
        break;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
        cluster_warn(cluster, TROUBLE_OUTAGE, "cluster: waiting for %s: %s", cluster->settings->brokers,
                     reason);
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
        cluster_warn(cluster, TROUBLE_ACCESS, "cluster: %s", reason);
        break;
    default:
        cluster_warn(cluster, TROUBLE_OTHER, "cluster: %s", reason);
    }
}

/* All lines: somebody has set `debug`. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    struct cluster *cluster = rd_kafka_opaque(client);
    struct error line;

    snprintf(line.text, sizeof line.text, "librdkafka: %s: %s: %s", rd_kafka_name(client), facility, text);
    cluster->hooks.warn(cluster->hooks.owner, line.text);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct error *complaint = message->_private;

    if (message->err && complaint && complaint->text[0] == '\0')
        snprintf(complaint->text, sizeof complaint->text, "%s", rd_kafka_err2str(message->err));
}

/* Says where the property stands in the configuration, if it came from one. */
static enum status refuse(const struct cluster *cluster, const char *key, const char *reason,
                          struct error *ret_error)
{
    const struct node *map = cluster->node ? node_find(cluster->node, "librdkafka") : NULL;
    const struct node *node = map && map->type == NODE_MAP ? node_find(map, key) : NULL;

    if (node)
        return node_fail(node, ret_error, "cluster.librdkafka.%s: %s", key, reason);
    return fail(ret_error, "cluster: librdkafka.%s: %s", key, reason);
}

static enum status set(const struct cluster *cluster, rd_kafka_conf_t *conf, const char *key,
                       const char *value, struct error *ret_error)
{
    char reason[256];

    if (rd_kafka_conf_set(conf, key, value, reason, sizeof reason) != RD_KAFKA_CONF_OK)
        return refuse(cluster, key, reason, ret_error);
    return STATUS_OK;
}

static enum status set_all(const struct cluster *cluster, rd_kafka_conf_t *conf,
                           const struct property *properties, struct error *ret_error)
{
    for (; properties->key; properties++)
        if (set(cluster, conf, properties->key, properties->value, ret_error))
            return STATUS_FATAL;
    return STATUS_OK;
}

/* After the user's properties: an alias may have changed what its other name set, so the values are looked
 * at. */
static enum status check_all(const struct cluster *cluster, const rd_kafka_conf_t *conf,
                             const struct property *properties, struct error *ret_error)
{
    for (; properties->key; properties++) {
        char now[256];
        size_t size = sizeof now;

        if (properties->is_fixed &&
            (rd_kafka_conf_get(conf, properties->key, now, &size) != RD_KAFKA_CONF_OK ||
             strcmp(now, properties->value) != 0))
            return refuse(cluster, properties->key, "weir needs its own value here", ret_error);
    }
    return STATUS_OK;
}

static enum status set_user_properties(const struct cluster *cluster, rd_kafka_conf_t *conf,
                                       struct error *ret_error)
{
    const struct option_pairs *pairs = &cluster->settings->librdkafka;

    for (size_t i = 0; i < pairs->count; i++) {
        const struct option_pair *pair = &pairs->items[i];

        for (size_t k = 0; k < sizeof said_elsewhere / sizeof *said_elsewhere; k++)
            if (strcmp(pair->key, said_elsewhere[k].property) == 0) {
                char reason[64];

                snprintf(reason, sizeof reason, "the key `cluster.%s` says it", said_elsewhere[k].key);
                return refuse(cluster, pair->key, reason, ret_error);
            }
        if (set(cluster, conf, pair->key, pair->value, ret_error))
            return STATUS_FATAL;
        if (strcmp(pair->key, "debug") == 0)
            rd_kafka_conf_set_log_cb(conf, on_log);
    }
    return STATUS_OK;
}

static enum status set_membership(const struct cluster *cluster, rd_kafka_conf_t *conf, const char *id,
                                  struct error *ret_error)
{
    int64_t session_ms = cluster->settings->session_us / 1000;
    char session[24], heartbeat[24], poll[24];

    snprintf(session, sizeof session, "%lld", (long long)session_ms);
    snprintf(heartbeat, sizeof heartbeat, "%lld",
             (long long)(session_ms / 3 < HEARTBEAT_MS_MAX ? session_ms / 3 : HEARTBEAT_MS_MAX));
    snprintf(poll, sizeof poll, "%lld",
             (long long)(session_ms > POLL_INTERVAL_MS ? session_ms : POLL_INTERVAL_MS));
    const struct property own[] = {
        {"group.id", cluster->settings->application_id, false},
        {"group.instance.id", id, false},
        {"session.timeout.ms", session, false},
        {"heartbeat.interval.ms", heartbeat, false},
        {"max.poll.interval.ms", poll, false},
        {NULL, NULL, false},
    };
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE);
    return set_all(cluster, conf, own, ret_error);
}

static enum status fill_conf(struct cluster *cluster, enum cluster_role role, const char *id,
                             rd_kafka_conf_t *conf, struct error *ret_error)
{
    static const struct property *const of_role[] = {[CLUSTER_MEMBER] = of_member,
                                                     [CLUSTER_READER] = of_reader,
                                                     [CLUSTER_PRODUCER] = of_producer,
                                                     [CLUSTER_TELLER] = of_teller};
    const struct property *own = of_role[role];

    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_opaque(conf, cluster);
    if (set_all(cluster, conf, of_all, ret_error) || set_all(cluster, conf, own, ret_error) ||
        set(cluster, conf, "bootstrap.servers", cluster->settings->brokers, ret_error) ||
        set_user_properties(cluster, conf, ret_error) || check_all(cluster, conf, own, ret_error))
        return STATUS_FATAL;
    if (role == CLUSTER_MEMBER)
        return set_membership(cluster, conf, id, ret_error);
    if (role == CLUSTER_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        return set(cluster, conf, "transactional.id", id, ret_error);
    }
    if (role == CLUSTER_TELLER)
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    return STATUS_OK;
}

enum status cluster_client_new(struct cluster *cluster, enum cluster_role role, const char *id,
                               rd_kafka_t **ret_client, struct error *ret_error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256];

    if (fill_conf(cluster, role, id, conf, ret_error)) {
        rd_kafka_conf_destroy(conf);
        return STATUS_FATAL;
    }
    bool writes = role == CLUSTER_PRODUCER || role == CLUSTER_TELLER;
    rd_kafka_t *client =
        rd_kafka_new(writes ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, reason, sizeof reason);

    if (!client) {
        rd_kafka_conf_destroy(conf);
        return fail(ret_error, "cluster: librdkafka: %s", reason);
    }
    *ret_client = client;
    return STATUS_OK;
}
