/* What the membership of a process (cluster.c), its internal topics (cluster_topics.c), its librdkafka
 * clients (cluster_clients.c), the journals of its tasks (journal_kafka.c), the changelogs that it reads
 * (changelog_kafka.c) and its page (cluster_page.c) share. Two clients a process, one more if it has a page,
 * and two a journal: each is four threads or more, which sleep. */
#pragma once
#include "pipeline/cluster.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

/* Each kind is told once a minute, however many clients have it. */
enum cluster_trouble { TROUBLE_OUTAGE, TROUBLE_ACCESS, TROUBLE_OTHER, TROUBLE_PURGE, TROUBLE_KINDS };

enum { CLUSTER_MESSAGE_BYTES_MAX = 16 << 20, CLUSTER_TRANSACTION_MS = 60000, CLUSTER_QUERY_MS = 10000 };

struct cluster {
    const struct plan_cluster *settings;
    const struct node *node; /* of the settings; may be NULL */
    struct cluster_hooks hooks;
    char *exchange, *changelog, *page; /* names of the topics */
    char *instance;
    rd_kafka_t *member; /* of the group; fetches nothing */
    rd_kafka_queue_t *news;
    rd_kafka_t
        *reader; /* of no group: reads for all journals, one fetch for all of them; asks about topics */
    rd_kafka_topic_t *inboxes, *changelogs, *pages; /* the reader's */
    bool is_assigned;                               /* since the last assignment nothing was taken away */

    int64_t fenced_us; /* monotonic: since when fencings are counted; 0: there were none */
    unsigned fenced;

    _Atomic bool hurries; /* cluster_hurry */

    pthread_mutex_t lock;
    uint64_t tasks; /* under the lock: ours */

    _Atomic int64_t told_us[TROUBLE_KINDS]; /* monotonic; 0: never */
};

enum cluster_role { CLUSTER_MEMBER, CLUSTER_READER, CLUSTER_PRODUCER, CLUSTER_TELLER };

/* `id`: group.instance.id of a member, transactional.id of a producer, NULL for others. A producer's
 * messages have a struct error as their opaque pointer: the first one that fails leaves its reason there. A
 * teller sends without transactions, to the page's topic; its delivery reports are events. */
enum status cluster_client_new(struct cluster *cluster, enum cluster_role role, const char *id,
                               rd_kafka_t **ret_client, struct error *ret_error);

/* Any thread. */
void cluster_warn(struct cluster *cluster, enum cluster_trouble kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int64_t cluster_monotonic_us(void);
int64_t cluster_real_us(void);

/* The member's place in the group, with which a task's transactions prove that it is still this process's.
 * NULL: it is not. Any thread. */
rd_kafka_consumer_group_metadata_t *cluster_membership(struct cluster *cluster, unsigned task);

/* Makes the topics that are missing, and checks them, as cluster_open says. */
enum status cluster_topics_open(struct cluster *cluster, struct error *ret_error);
