/* Processes of a cluster under test, all in one program, and another client of the same brokers. */
#pragma once
#include "pipeline/cluster_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SKIPPED = 77, TASKS_MAX = 8, PATIENCE_S = 40, SESSION_S = 6 };

extern const char *real_brokers; /* WEIR_KAFKA=127.0.0.1:PORT, as tests/services/kafka.sh starts it */
extern char application[64];     /* of the test that runs */
static const struct journal_type *const type = &journal_kafka;

/* A process: its membership, and the journals of its tasks. */
struct party {
    struct plan plan;
    struct cluster *cluster;
    uint64_t tasks;
    unsigned releases, warnings;
    int64_t session_us; /* 0: SESSION_S */
    bool is_deaf;       /* does not close its journals when it must */
    struct journal *journals[TASKS_MAX];
    char warning[sizeof(struct error)];
    struct error error;
};

int64_t now_us(void);
void party_close_journals(struct party *party);
void name_application(const char *name);
enum status party_try_join(struct party *party, const char *brokers, unsigned tasks, const char *instance);
void party_join(struct party *party, unsigned tasks, const char *instance);
void party_leave(struct party *party);
enum status party_poll(struct party *party, int wait_ms);
void party_poll_until(struct party *first, uint64_t tasks, struct party *second);
void party_join_alone(struct party *party, unsigned tasks);
struct journal *party_try_open(struct party *party, unsigned task, enum status *ret_status);
struct journal *party_open(struct party *party, unsigned task);
enum status try_commit(struct journal *journal, const struct journal_parcel *parcels, int64_t inbox_next,
                       struct error *error);
void commit(struct journal *journal, const struct journal_parcel *parcels, int64_t inbox_next);
rd_kafka_t *other_client(rd_kafka_type_t kind);
void name_topic(char text[128], const char *suffix);
rd_kafka_event_t *answer_of(rd_kafka_queue_t *queue);
void make_topic(const char *suffix, int partitions, const char *key, const char *value);
bool find_broker(void); /* false: it is said that there is none */
