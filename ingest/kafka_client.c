/* librdkafka's handles as the Kafka source needs them, and what librdkafka has to say while it runs. The
 * handles are made once; their events are served once a batch, which costs two short locks when there are
 * none. Tried and dropped: librdkafka's own lines on standard error, which double its error events; they
 * are only passed on when somebody sets `debug`. */
#include "ingest/kafka_source.h"

#include <assert.h>
#include <stdio.h>

enum { WARNING_BYTES = 640, KIB = 1024, PARTITION_KIB_MIN = 1024 };

#define WARNING_INTERVAL_US (60 * INT64_C(1000000))
#define GRACE_US            (3 * INT64_C(1000000)) /* a leader that moves, a coordinator that loads */
#define QUEUE_LIMIT         "queued.max.messages.kbytes"

#define OWN "weir needs its own value here"

// clang-format off
static const struct {
    const char *key, *value;
    const char *fixed; /* another value would break the source's promises: what is said of one; NULL: may differ */
} properties[] = {
    {"enable.auto.commit",       "false",          OWN}, /* committed is what is acknowledged */
    {"enable.auto.offset.store", "false",          OWN},
    {"enable.partition.eof",     "true",           OWN}, /* else no end is ever confirmed */
    {"auto.offset.reset",        "error",          "the key `start` says it"}, /* librdkafka would skip without a word */
    {"isolation.level",          "read_committed", NULL},
    {"queued.min.messages",      "1000000",        NULL}, /* bytes are the bound, see queue_bytes */
    {"fetch.message.max.bytes",  "1048576",        NULL},
    {"fetch.wait.max.ms",        "100",            NULL},
    {"allow.auto.create.topics", "false",          NULL},
    {"socket.keepalive.enable",  "true",           NULL},
    {"client.id",                "weir",           NULL},
    {"reconnect.backoff.max.ms", "2000",           NULL}, /* 10 s by default: long after an outage */
};
// clang-format on

const char *kafka_group(const struct source *source)
{
    return source->context.group ? source->context.group : source->settings->group;
}

void kafka_warn(struct source *source, const char *format, ...)
{
    char line[WARNING_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    source->context.warn(source->context.owner, line);
}

bool kafka_warn_due(const struct source *source, int64_t *told_us)
{
    if (*told_us != TIME_NONE && source->now_us - *told_us < WARNING_INTERVAL_US)
        return false;
    *told_us = source->now_us;
    return true;
}

bool kafka_trouble_due(const struct source *source, struct kafka_trouble *trouble)
{
    if (trouble->since_us == TIME_NONE)
        trouble->since_us = source->now_us;
    return source->now_us - trouble->since_us >= GRACE_US && kafka_warn_due(source, &trouble->told_us);
}

/* Whatever it is about, no end that was confirmed before is taken for granted after it. (That all brokers
 * are down is said of those that were tried, so it may not be said at all.) */
static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct source *source = opaque;

    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || source->complaint[0] == '\0')
        snprintf(source->complaint, sizeof source->complaint, "%s", reason);
    kafka_partitions_doubt(source);
    source->lookup_us = source->now_us;
}

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    kafka_warn(rd_kafka_opaque(client), "librdkafka: %s: %s", facility, text);
}

/* Says where the property stands in the configuration, if it came from one. */
static enum status refuse(const struct source *source, const char *key, const char *reason,
                          struct error *ret_error)
{
    const struct node *map = source->context.node ? node_find(source->context.node, "librdkafka") : NULL;
    const struct node *node = map && map->type == NODE_MAP ? node_find(map, key) : NULL;

    if (node)
        return node_fail(node, ret_error, "librdkafka.%s: %s", key, reason);
    return fail(ret_error, "%s: librdkafka.%s: %s", source->context.name, key, reason);
}

static bool conf_is(const rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char now[4096];
    size_t size = sizeof now;

    return rd_kafka_conf_get(conf, key, now, &size) == RD_KAFKA_CONF_OK && strcmp(now, value) == 0;
}

static const struct option_pair *user_property(const struct source *source, const char *key)
{
    const struct option_pairs *pairs = &source->settings->librdkafka;

    for (size_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->items[i].key, key) == 0)
            return &pairs->items[i];
    return NULL;
}

/* After the user's properties: an alias may have changed what its other name set, so the values are looked
 * at. */
static enum status check_conf(const struct source *source, struct error *ret_error)
{
    const struct kafka_settings *settings = source->settings;

    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (properties[i].fixed && !conf_is(source->conf, properties[i].key, properties[i].value))
            return refuse(source, properties[i].key, properties[i].fixed, ret_error);
    if (!conf_is(source->conf, "group.id", kafka_group(source)))
        return refuse(source, "group.id", "the key `group` says it", ret_error);
    if (!conf_is(source->conf, "bootstrap.servers", settings->brokers))
        return refuse(source, "bootstrap.servers", "the key `brokers` says it", ret_error);
    return STATUS_OK;
}

static enum status fill_conf(struct source *source, struct error *ret_error)
{
    const struct kafka_settings *settings = source->settings;
    rd_kafka_conf_t *conf = source->conf;
    char reason[256];

    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (rd_kafka_conf_set(conf, properties[i].key, properties[i].value, reason, sizeof reason))
            return refuse(source, properties[i].key, reason, ret_error);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", settings->brokers, reason, sizeof reason))
        return fail(ret_error, "%s: brokers: %s", source->context.name, reason);
    if (rd_kafka_conf_set(conf, "group.id", kafka_group(source), reason, sizeof reason))
        return fail(ret_error, "%s: group: %s", source->context.name, reason);
    for (size_t i = 0; i < settings->librdkafka.count; i++) {
        const struct option_pair *pair = &settings->librdkafka.items[i];

        if (rd_kafka_conf_set(conf, pair->key, pair->value, reason, sizeof reason))
            return refuse(source, pair->key, reason, ret_error);
    }
    if (check_conf(source, ret_error))
        return STATUS_FATAL;

    bool is_debugged = user_property(source, "debug") != NULL;
    rd_kafka_conf_set_log_cb(conf, is_debugged ? on_log : NULL);
    if (is_debugged && rd_kafka_conf_set(conf, "log.queue", "true", reason, sizeof reason))
        return refuse(source, "log.queue", reason, ret_error);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_opaque(conf, source);
    return STATUS_OK;
}

static rd_kafka_t *client_new(const struct source *source, char *reason, size_t reason_size)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(source->conf);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, reason_size);

    if (!client) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    if (user_property(source, "debug"))
        rd_kafka_set_log_queue(client, NULL);
    return client;
}

enum status kafka_client_open(struct source *source, struct error *ret_error)
{
    char reason[256];

    source->conf = rd_kafka_conf_new();
    if (fill_conf(source, ret_error))
        return STATUS_FATAL;
    source->client = client_new(source, reason, sizeof reason);
    if (!source->client)
        return fail(ret_error, "%s: librdkafka: %s", source->context.name, reason);
    source->commits = rd_kafka_queue_new(source->client);
    for (size_t i = 0; i < source->topic_count; i++) {
        struct kafka_topic *topic = &source->topics[i];

        topic->handle = rd_kafka_topic_new(source->client, topic->name, NULL);
        if (!topic->handle)
            return fail(ret_error, "%s: topic '%s': %s", source->context.name, topic->name,
                        rd_kafka_err2str(rd_kafka_last_error()));
    }
    return STATUS_OK;
}

bool kafka_reader_open(struct source *source, size_t partition_count)
{
    char kib[24], reason[256];
    int64_t share = source->settings->queue_bytes / KIB / (int64_t)partition_count;

    assert(!source->reader && partition_count > 0);
    snprintf(kib, sizeof kib, "%lld", (long long)(share > PARTITION_KIB_MIN ? share : PARTITION_KIB_MIN));
    if (!user_property(source, QUEUE_LIMIT)) {
        rd_kafka_conf_res_t result = rd_kafka_conf_set(source->conf, QUEUE_LIMIT, kib, reason, sizeof reason);
        assert(result == RD_KAFKA_CONF_OK);
    }
    source->reader = client_new(source, reason, sizeof reason);
    if (!source->reader) {
        if (kafka_warn_due(source, &source->lookup_trouble.told_us))
            kafka_warn(source, "cannot read from %s: %s", source->settings->brokers, reason);
        return false;
    }
    rd_kafka_poll_set_consumer(source->reader);
    return true;
}

void kafka_clients_serve(struct source *source)
{
    rd_kafka_message_t *event;

    rd_kafka_poll(source->client, 0);
    while (source->reader && (event = rd_kafka_consumer_poll(source->reader, 0))) {
        /* messages come by the partitions' queues, so this is trouble of the whole reader */
        snprintf(source->complaint, sizeof source->complaint, "%s", rd_kafka_message_errstr(event));
        rd_kafka_message_destroy(event);
    }
}

void kafka_clients_close(struct source *source)
{
    /* no member of a group, so there is nothing to leave */
    if (source->reader)
        rd_kafka_destroy_flags(source->reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    for (size_t i = 0; i < source->topic_count; i++)
        if (source->topics[i].handle)
            rd_kafka_topic_destroy(source->topics[i].handle);
    if (source->commits)
        rd_kafka_queue_destroy(source->commits);
    if (source->client)
        rd_kafka_destroy_flags(source->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (source->conf)
        rd_kafka_conf_destroy(source->conf);
}
