#include "tests/pipeline/cluster_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *real_brokers;
char application[64];

int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

void party_close_journals(struct party *party)
{
    for (unsigned t = 0; t < TASKS_MAX; t++)
        if (party->journals[t]) {
            type->close(party->journals[t]);
            party->journals[t] = NULL;
        }
}

static void release(void *owner)
{
    struct party *party = owner;

    party->releases++;
    if (!party->is_deaf)
        party_close_journals(party);
}

static void warn(void *owner, const char *text)
{
    struct party *party = owner;

    party->warnings++;
    snprintf(party->warning, sizeof party->warning, "%s", text);
}

void name_application(const char *name)
{
    snprintf(application, sizeof application, "weir-%s-%llx", name, (unsigned long long)now_us());
}

enum status party_try_join(struct party *party, const char *brokers, unsigned tasks, const char *instance)
{
    const struct cluster_hooks hooks = {.release = release, .warn = warn, .owner = party};

    party->plan = (struct plan){
        .cluster = {.enabled = true,
                    .application_id = application,
                    .brokers = (char *)(uintptr_t)brokers,
                    .instance = (char *)(uintptr_t)instance,
                    .tasks = tasks,
                    .session_us = party->session_us ? party->session_us : SESSION_S * INT64_C(1000000),
                    .replication = 1,
                    .librdkafka = party->plan.cluster.librdkafka},
        .store = {.path = (char *)(uintptr_t) "weir.db"},
    };
    return cluster_open(&party->plan, &hooks, &party->cluster, &party->error);
}

void party_join(struct party *party, unsigned tasks, const char *instance)
{
    *party = (struct party){0};
    if (party_try_join(party, real_brokers, tasks, instance))
        fail_msg("%s", party->error.text);
}

void party_leave(struct party *party)
{
    cluster_close(party->cluster);
    party->cluster = NULL;
}

enum status party_poll(struct party *party, int wait_ms)
{
    return cluster_poll(party->cluster, wait_ms, &party->tasks, &party->error);
}

/* Until `first` has `tasks`; the second, if any, is served meanwhile. */
void party_poll_until(struct party *first, uint64_t tasks, struct party *second)
{
    int64_t end_us = now_us() + PATIENCE_S * INT64_C(1000000);

    while (first->tasks != tasks) {
        if (party_poll(first, 20) != STATUS_OK || (second && party_poll(second, 20) != STATUS_OK))
            fail_msg("%s %s", first->error.text, second ? second->error.text : "");
        if (now_us() > end_us)
            fail_msg("tasks are %llx, not %llx; last warning: %s", (unsigned long long)first->tasks,
                     (unsigned long long)tasks, first->warning);
    }
}

void party_join_alone(struct party *party, unsigned tasks)
{
    party_join(party, tasks, "alone");
    party_poll_until(party, (UINT64_C(1) << tasks) - 1, NULL);
}

struct journal *party_try_open(struct party *party, unsigned task, enum status *ret_status)
{
    struct journal *journal = NULL;

    *ret_status = type->open(party->cluster, task, &journal, &party->error);
    return journal;
}

struct journal *party_open(struct party *party, unsigned task)
{
    enum status status;
    struct journal *journal = party_try_open(party, task, &status);

    if (status)
        fail_msg("%s", party->error.text);
    party->journals[task] = journal;
    return journal;
}

enum status try_commit(struct journal *journal, const struct journal_parcel *parcels, int64_t inbox_next,
                       struct error *error)
{
    const struct journal_commit commit = {.parcels = parcels, .inbox_next = inbox_next};

    return type->commit(journal, &commit, error);
}

void commit(struct journal *journal, const struct journal_parcel *parcels, int64_t inbox_next)
{
    struct error error;

    if (try_commit(journal, parcels, inbox_next, &error))
        fail_msg("%s", error.text);
}

rd_kafka_t *other_client(rd_kafka_type_t kind)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256];

    rd_kafka_conf_set(conf, "bootstrap.servers", real_brokers, reason, sizeof reason);
    rd_kafka_conf_set(conf, "group.id", application, reason, sizeof reason);
    rd_kafka_conf_set_log_cb(conf, NULL);
    rd_kafka_t *client = rd_kafka_new(kind, conf, reason, sizeof reason);
    assert_non_null(client);
    return client;
}

void name_topic(char text[128], const char *suffix)
{
    snprintf(text, 128, "%s-%s", application, suffix);
}

rd_kafka_event_t *answer_of(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, PATIENCE_S * 1000);

    assert_non_null(answer);
    assert_int_equal(rd_kafka_event_error(answer), RD_KAFKA_RESP_ERR_NO_ERROR);
    return answer;
}

void make_topic(const char *suffix, int partitions, const char *key, const char *value)
{
    rd_kafka_t *client = other_client(RD_KAFKA_PRODUCER);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    char name[128];

    name_topic(name, suffix);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, NULL, 0);
    rd_kafka_NewTopic_set_config(topic, key, value);
    rd_kafka_CreateTopics(client, &topic, 1, NULL, queue);
    rd_kafka_event_destroy(answer_of(queue));
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

bool find_broker(void)
{
    real_brokers = getenv("WEIR_KAFKA");
    if (real_brokers && real_brokers[0])
        return true;
    puts("WEIR_KAFKA names no broker: only what needs none was tested");
    return false;
}
