/* The membership of a process: a consumer of the group that is given partitions of the exchange topic, takes
 * each as a task, and fetches nothing. Polled a few times a second. The assignment is eager: at each change
 * all processes stop all tasks first, so that no two generations of the group ever run side by side; that
 * costs a pause at each change, and a rule for who may still commit what is not needed. The member is static
 * (KIP-345): it does not leave at a stop, so that a restart within the session timeout moves no task. */
#include "pipeline/cluster_internal.h"

#include "base/hash.h"
#include "base/memory.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { APPLICATION_ID_MAX = 200, INSTANCE_MAX = 200, FENCED_MAX = 3 };

#define FENCED_WITHIN_US (10 * 60 * INT64_C(1000000))

#define LEGAL "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

/* Of a Kafka topic, which is why the lengths end well below its 249. */
static enum status check_application_id(const struct plan_cluster *settings, struct error *ret_error)
{
    const char *id = settings->application_id;
    size_t size = strlen(id);

    if (size == 0 || size > APPLICATION_ID_MAX || strspn(id, LEGAL) != size)
        return fail(ret_error,
                    "cluster.application_id: '%s' cannot be part of a topic's name: 1 to %d letters, digits, "
                    "'.', '_' and '-'",
                    id, APPLICATION_ID_MAX);
    return STATUS_OK;
}

static char *text_of(const char *first, const char *second)
{
    size_t size = strlen(first) + strlen(second);
    char *text = memory_new(size + 1);

    snprintf(text, size + 1, "%s%s", first, second);
    return text;
}

/* The same after a restart, another one in each process of a machine. The store may not be there yet, its
 * folder is. */
static char *make_instance(const char *store_path)
{
    char host[64 + 1] = "", folder[PATH_MAX], real[PATH_MAX], text[INSTANCE_MAX];
    const char *slash = strrchr(store_path, '/');

    gethostname(host, sizeof host - 1);
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - store_path) + 1 : 1,
             slash ? store_path : ".");
    if (!realpath(folder, real))
        snprintf(real, sizeof real, "%s", folder);
    uint64_t hash = hash_bytes(real, strlen(real), 0);
    const char *name = slash ? slash + 1 : store_path;

    hash = hash_bytes(name, strlen(name), hash);
    snprintf(text, sizeof text, "%s-%016llx", host, (unsigned long long)hash);
    return memory_text(text, strlen(text));
}

static void end_membership(struct cluster *cluster)
{
    if (cluster->news)
        rd_kafka_queue_destroy(cluster->news);
    if (cluster->member)
        rd_kafka_destroy_flags(cluster->member, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    cluster->news = NULL;
    cluster->member = NULL;
}

static void free_cluster(struct cluster *cluster)
{
    if (cluster->inboxes)
        rd_kafka_topic_destroy(cluster->inboxes);
    if (cluster->changelogs)
        rd_kafka_topic_destroy(cluster->changelogs);
    if (cluster->pages)
        rd_kafka_topic_destroy(cluster->pages);
    end_membership(cluster);
    if (cluster->reader)
        rd_kafka_destroy_flags(cluster->reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster->exchange);
    free(cluster->changelog);
    free(cluster->page);
    free(cluster->instance);
    free(cluster);
}

static enum status join(struct cluster *cluster, struct error *ret_error)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t problem;

    rd_kafka_poll_set_consumer(cluster->member);
    cluster->news = rd_kafka_queue_get_consumer(cluster->member);
    rd_kafka_topic_partition_list_add(topics, cluster->exchange, RD_KAFKA_PARTITION_UA);
    problem = rd_kafka_subscribe(cluster->member, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (problem)
        return fail(ret_error, "cluster: group '%s': %s", cluster->settings->application_id,
                    rd_kafka_err2str(problem));
    return STATUS_OK;
}

static enum status begin_membership(struct cluster *cluster, struct error *ret_error)
{
    enum status status =
        cluster_client_new(cluster, CLUSTER_MEMBER, cluster->instance, &cluster->member, ret_error);

    return status == STATUS_OK ? join(cluster, ret_error) : status;
}

/* A gap in the page's topic is nothing: what it has is read from where it begins. */
static rd_kafka_topic_t *page_topic_new(struct cluster *cluster)
{
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(cluster->reader);
    char reason[256];
    rd_kafka_conf_res_t set =
        rd_kafka_topic_conf_set(conf, "auto.offset.reset", "earliest", reason, sizeof reason);

    assert(set == RD_KAFKA_CONF_OK);
    return rd_kafka_topic_new(cluster->reader, cluster->page, conf);
}

enum status cluster_open(const struct plan *plan, const struct cluster_hooks *hooks,
                         struct cluster **ret_cluster, struct error *ret_error)
{
    const struct plan_cluster *settings = &plan->cluster;
    enum status status = check_application_id(settings, ret_error);

    assert(settings->tasks > 0 && settings->tasks <= WORKERS_MAX && hooks->release && hooks->warn);
    if (status)
        return status;
    struct cluster *cluster = memory_new(sizeof *cluster);

    *cluster = (struct cluster){
        .settings = settings,
        .node = plan->general.cluster,
        .hooks = *hooks,
        .exchange = text_of(settings->application_id, "-exchange"),
        .changelog = text_of(settings->application_id, "-changelog"),
        .page = text_of(settings->application_id, "-page"),
        .instance = settings->instance ? text_of(settings->instance, "") : make_instance(plan->store.path),
    };
    pthread_mutex_init(&cluster->lock, NULL);
    status = cluster_client_new(cluster, CLUSTER_READER, NULL, &cluster->reader, ret_error);
    if (status)
        goto fail;
    cluster->inboxes = rd_kafka_topic_new(cluster->reader, cluster->exchange, NULL);
    cluster->changelogs = rd_kafka_topic_new(cluster->reader, cluster->changelog, NULL);
    cluster->pages = page_topic_new(cluster);
    assert(cluster->inboxes && cluster->changelogs && cluster->pages);
    status = cluster_topics_open(cluster, ret_error);
    if (status)
        goto fail;
    status = begin_membership(cluster, ret_error);
    if (status)
        goto fail;
    *ret_cluster = cluster;
    return STATUS_OK;
fail:
    free_cluster(cluster);
    return status;
}

static void set_tasks(struct cluster *cluster, uint64_t tasks)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->tasks = tasks;
    pthread_mutex_unlock(&cluster->lock);
}

/* First of all no journal can be opened any more; those that are open have what they need for a last cut. */
static void take_away(struct cluster *cluster)
{
    cluster->is_assigned = false;
    if (cluster->tasks == 0)
        return;
    set_tasks(cluster, 0);
    cluster->hooks.release(cluster->hooks.owner);
}

static uint64_t tasks_of(const struct cluster *cluster, const rd_kafka_topic_partition_list_t *partitions)
{
    uint64_t tasks = 0;

    for (int i = 0; i < partitions->cnt; i++) {
        const rd_kafka_topic_partition_t *partition = &partitions->elems[i];

        assert(strcmp(partition->topic, cluster->exchange) == 0);
        assert(partition->partition >= 0 && partition->partition < cluster->settings->tasks);
        tasks |= UINT64_C(1) << partition->partition;
    }
    return tasks;
}

/* librdkafka waits for the answer to each of these, and joins again only after it. An answer with no
 * partitions keeps the membership and fetches nothing. */
static void take_rebalance(struct cluster *cluster, rd_kafka_event_t *event)
{
    take_away(cluster);
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);

        rd_kafka_assign(cluster->member, nothing);
        rd_kafka_topic_partition_list_destroy(nothing);
        set_tasks(cluster, tasks_of(cluster, rd_kafka_event_topic_partition_list(event)));
        cluster->is_assigned = true;
    } else {
        rd_kafka_assign(cluster->member, NULL);
    }
}

static enum status take_error(struct cluster *cluster, rd_kafka_event_t *event, struct error *ret_error)
{
    const char *group = cluster->settings->application_id, *text = rd_kafka_event_error_string(event);

    switch (rd_kafka_event_error(event)) {
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
        return fail(ret_error,
                    "cluster.session_timeout: %lld ms is outside of what the brokers allow "
                    "(group.min.session.timeout.ms, group.max.session.timeout.ms)",
                    (long long)cluster->settings->session_us / 1000);
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
        return fail(ret_error,
                    "cluster: group '%s' has members that are not of weir: choose another "
                    "cluster.application_id",
                    group);
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
        return fail(ret_error, "cluster: group '%s': %s", group, text);
    default:
        cluster_warn(cluster, TROUBLE_OTHER, "cluster: group '%s': %s", group, text);
        return STATUS_OK;
    }
}

/* The group has another member of our name. That can be this process's own join, when the answer to an
 * earlier one came too late (brokers that stall); only two processes of one name fence each other again and
 * again. */
static enum status join_again(struct cluster *cluster, struct error *ret_error)
{
    int64_t now_us = cluster_monotonic_us();

    if (cluster->fenced_us == 0 || now_us - cluster->fenced_us > FENCED_WITHIN_US) {
        cluster->fenced_us = now_us;
        cluster->fenced = 0;
    }
    if (++cluster->fenced > FENCED_MAX)
        return fail(ret_error,
                    "cluster: another process has joined group '%s' as '%s': each needs a cluster.instance "
                    "or a store.path of its own",
                    cluster->settings->application_id, cluster->instance);
    take_away(cluster);
    cluster_warn(cluster, TROUBLE_OTHER, "cluster: group '%s' knows '%s' by another join: joins again",
                 cluster->settings->application_id, cluster->instance);
    end_membership(cluster);
    return begin_membership(cluster, ret_error);
}

static enum status check_member(struct cluster *cluster, struct error *ret_error)
{
    char reason[256];
    rd_kafka_resp_err_t problem = rd_kafka_fatal_error(cluster->member, reason, sizeof reason);

    if (problem == RD_KAFKA_RESP_ERR_NO_ERROR)
        return STATUS_OK;
    if (problem == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        return join_again(cluster, ret_error);
    return fail(ret_error, "cluster: group '%s': %s", cluster->settings->application_id, reason);
}

enum status cluster_poll(struct cluster *cluster, int wait_ms, uint64_t *ret_tasks, struct error *ret_error)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(cluster->news, wait_ms);
    enum status status = STATUS_OK;

    rd_kafka_poll(cluster->reader, 0); /* its complaints */
    if (event) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
            take_rebalance(cluster, event);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            status = take_error(cluster, event, ret_error);
        rd_kafka_event_destroy(event);
    }
    if (status == STATUS_OK)
        status = check_member(cluster, ret_error);
    if (status) {
        take_away(cluster);
        return status;
    }
    *ret_tasks = cluster->tasks;
    return STATUS_OK;
}

bool cluster_is_assigned(const struct cluster *cluster)
{
    return cluster->is_assigned;
}

void cluster_hurry(struct cluster *cluster, bool on)
{
    atomic_store(&cluster->hurries, on);
}

/* A static member does not leave the group: nothing to wait for. */
void cluster_close(struct cluster *cluster)
{
    take_away(cluster);
    free_cluster(cluster);
}

rd_kafka_consumer_group_metadata_t *cluster_membership(struct cluster *cluster, unsigned task)
{
    rd_kafka_consumer_group_metadata_t *membership = NULL;

    assert(task < cluster->settings->tasks);
    pthread_mutex_lock(&cluster->lock);
    if (cluster->tasks >> task & 1)
        membership = rd_kafka_consumer_group_metadata(cluster->member);
    pthread_mutex_unlock(&cluster->lock);
    return membership;
}
