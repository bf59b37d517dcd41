/* What a Kafka source's topics hold now, for commands: everything here waits, nothing is committed. */
#pragma once
#include "ingest/source.h"

struct kafka_probe;

struct kafka_place { /* one partition */
    int32_t partition;
    int64_t low, high; /* the first offset that is there, the next that will be */
    int64_t committed; /* by the group; OFFSET_NONE: never */
};

/* `settings` are a Kafka source's and outlive the probe. STATUS_FATAL: librdkafka refuses a property. */
enum status kafka_probe_open(const void *settings, const struct source_context *context,
                             struct kafka_probe **ret_probe, struct error *ret_error);
void kafka_probe_close(struct kafka_probe *probe);

/* The partitions of a topic by number, malloc'ed. STATUS_RETRY: no broker answers. STATUS_SKIP: no such
 * topic, and which is near. STATUS_FATAL: the broker refuses. Each says why. */
enum status kafka_probe_topic(struct kafka_probe *probe, const char *topic, struct kafka_place **ret_places,
                              size_t *ret_count, struct error *ret_error);

/* Called once a message; the payload is borrowed until it returns. */
typedef void kafka_probe_take(void *owner, int32_t partition, const struct message *message);

/* The last messages of each partition, at most about `each` of one. STATUS_RETRY: they did not all come in
 * time. */
enum status kafka_probe_read(struct kafka_probe *probe, const char *topic, const struct kafka_place *places,
                             size_t count, int64_t each, kafka_probe_take *take, void *owner,
                             struct error *ret_error);

/* source_type.probe of the Kafka source. */
void kafka_probe_report(const void *settings, const struct source_context *context, report_line *tell,
                        void *owner);
