/* What the files of the Kafka source share: kafka_client.c makes librdkafka's handles, kafka_partitions.c
 * finds the partitions and where to start, kafka.c reads and commits. All of it belongs to one worker's
 * thread.
 *
 * There are two handles. `client` asks and commits, `reader` only fetches: a question on a fetching
 * connection would wait behind the fetch that the broker holds back, and what a partition may keep in
 * memory is settled when a handle is made, so the number of partitions must be known by then. */
#pragma once
#include "ingest/source.h"

#include <librdkafka/rdkafka.h>

enum { KAFKA_METADATA_BYTES_MAX = 4096 }; /* the broker's default of offset.metadata.max.bytes */

struct kafka_settings {
    char *brokers, *group, *start;
    struct option_texts topics;
    struct option_pairs librdkafka;
    int64_t queue_bytes;
};

enum kafka_start_kind { KAFKA_START_EARLIEST, KAFKA_START_LATEST, KAFKA_START_AGO, KAFKA_START_AT };

struct kafka_start {
    enum kafka_start_kind kind;
    int64_t time_us; /* AGO: before now; AT: since 1970 */
};

/* Something that may pass: told when it has lasted some seconds, and then once a minute. */
struct kafka_trouble {
    int64_t since_us; /* TIME_NONE: all is well */
    int64_t told_us;
};

struct kafka_topic {
    const char *name; /* the settings' */
    rd_kafka_topic_t *handle;
    int64_t told_us;
};

struct kafka_partition {
    struct source_partition about; /* its metadata is a copy to be freed */
    size_t topic;                  /* index of its topic */
    rd_kafka_queue_t *queue;
    int64_t position; /* offset behind the last message or end seen: none below may come */
    int64_t stop;     /* `once`: messages from here on are not read; else INT64_MAX */
    bool at_end;      /* everything below the end was given, as the broker said at that time */
    bool doubtful;    /* the cluster was out of reach since `at_end` was last confirmed */
    bool has_leader;
    bool out_of_range; /* position is not in the log any more: to be restarted */
    size_t outstanding;
    int64_t told_us;

    int64_t commit_offset;
    struct buffer commit_metadata;
    bool commit_wanted, commit_sent;
};

struct source {
    struct source_context context;
    const struct kafka_settings *settings;
    struct kafka_start start;
    int64_t now_us; /* of the last advance */

    rd_kafka_conf_t *conf;      /* of both handles */
    rd_kafka_t *client;         /* asks and commits */
    rd_kafka_t *reader;         /* NULL until this worker has partitions */
    rd_kafka_queue_t *commits;  /* answers to commits */
    struct kafka_topic *topics; /* by name */
    size_t topic_count;
    struct kafka_partition **partitions;
    size_t partition_count, partition_capacity;

    bool ready;          /* the partitions that exist are known */
    int64_t lookup_us;   /* when to ask next */
    char refusal[256];   /* with `once`: a topic that does not exist */
    char complaint[256]; /* librdkafka's last since the last answer */
    struct kafka_trouble lookup_trouble;

    bool commit_in_flight;
    int64_t commit_us;        /* of the last sent */
    int64_t refused_since_us; /* TIME_NONE: the last commit was taken */
    struct kafka_trouble commit_trouble;
    bool has_foreign_members; /* somebody else owns the group: nothing more is read */
};

/* kafka_client.c */

/* Checks all properties, as far as librdkafka can without a broker, and makes `client` and the reader's
 * `conf`. */
enum status kafka_client_open(struct source *source, struct error *ret_error);
bool kafka_reader_open(struct source *source, size_t partition_count); /* false: told, may be tried again */
void kafka_clients_serve(struct source *source);                       /* librdkafka's events; never waits */
void kafka_clients_close(struct source *source);

const char *kafka_group(const struct source *source);
void kafka_warn(struct source *source, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* True at most once a minute for each place that keeps a *told_us, which starts as TIME_NONE. */
bool kafka_warn_due(const struct source *source, int64_t *told_us);
bool kafka_trouble_due(const struct source *source, struct kafka_trouble *trouble);

/* kafka_partitions.c */

bool kafka_start_parse(const char *text, struct kafka_start *ret_start);

/* Looks for new partitions and for trouble when it is time to, and starts what must be started. Waits at
 * most 100 ms for the list of partitions, and 1 s for each of the three questions that must be asked of
 * new ones. */
void kafka_partitions_advance(struct source *source);
void kafka_partitions_doubt(struct source *source); /* until the cluster answers again */
void kafka_partitions_close(struct source *source);
