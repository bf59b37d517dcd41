/* A Kafka source under test, and the cluster that it reads: topics, messages, and what is done to them. */
#pragma once
#include "ingest/kafka_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { WORKERS_MAX = 2, PARTITIONS_MAX = 8, PATIENCE_S = 60 };

/* One pipeline's sources. Messages are numbered from 0 in each partition, as text before a blank or the
 * end. */
struct rig {
    struct config *config;
    struct kafka_settings settings;
    struct option_table table;
    const struct source_type *type;
    struct source *sources[WORKERS_MAX];
    unsigned workers;
    int64_t ahead_us; /* of the real time */
    int64_t next[PARTITIONS_MAX];
    uint64_t bytes;
    size_t count, tombstones;
    bool is_held[PARTITIONS_MAX]; /* not to be polled */
    int64_t offsets[PARTITIONS_MAX];
    enum poll_state states[PARTITIONS_MAX];
    unsigned warnings;
    char warning[1024]; /* the last */
    struct error error;
};

extern char topic_name[64]; /* of the test that runs */
extern int64_t resume_at; /* what the store says of partition 0 to sources opened from now on; OFFSET_NONE */
extern rd_kafka_t *producer; /* to the cluster of the test that runs */

/* STATUS_FATAL: rig->error tells; the rig must be closed either way. */
enum status rig_try_open(struct rig *rig, const char *yaml, unsigned workers, bool once);
/* On the topic of the test, in a group of its name unless `more`, further keys, names one. */
void rig_open(struct rig *rig, const char *brokers, const char *more, unsigned workers, bool once);
void rig_close(struct rig *rig);
int64_t now_us(const struct rig *rig);

size_t rig_step(struct rig *rig); /* one round over all partitions; the number of messages read */
bool rig_is_ready(const struct rig *rig);
void rig_wait_ready(struct rig *rig); /* without reading */
/* Until all of the partitions 0 to `partitions` - 1 are in this state. */
void rig_run(struct rig *rig, int partitions, enum poll_state state);
void rig_run_until_warned(struct rig *rig, const char *text);
void rig_run_until_read(struct rig *rig, size_t count);
/* Partition 0, in the group of the test's name, as another client sees it. */
void rig_run_until_committed(struct rig *rig, const char *brokers, int64_t offset);

rd_kafka_t *client_new(rd_kafka_type_t type, const char *brokers, const char *key, const char *value);
void produce(rd_kafka_t *by, int32_t partition, const void *payload, size_t size, int64_t time_ms);
/* Numbers from `first` to `end` - 1 in each partition; a time of 0 is now. */
void produce_numbers(int partitions, int first, int end, int64_t time_ms);
void name_topic(const char *name); /* a topic of this name that was never there */
void make_topic(int partitions, const char *key, const char *value);
void name_and_make_topic(const char *name, int partitions);
void grow_topic(size_t partitions);
void delete_before(int64_t offset); /* in partition 0 */
