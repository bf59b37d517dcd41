/* What a seed means: the messages of each partition with what they say, the configuration, and which troubles
 * come. The same on every machine. */
#pragma once
#include "pipeline/plan.h"

enum {
    PARTITIONS_MAX = 6,
    TASKS_LIMIT = 4,
    PROCESSES_LIMIT = 3,
    YAML_BYTES = 4096,
    WORKFLOW_BYTES = 16,
    RUN_BYTES = 32,
    ROW_ID_BYTES = 16
};

enum row_sort { ROW_GOOD, ROW_BAD, ROW_TOMBSTONE, ROW_MORE /* goes on with the message before */ };

struct row { /* one message; the meaning is set for good ones */
    enum row_sort sort;
    int64_t offset, arrival_us, time_us;
    char workflow[WORKFLOW_BYTES], run[RUN_BYTES], id[ROW_ID_BYTES]; /* "": absent */
    char host[WORKFLOW_BYTES];                                       /* which beats, or goes */
    bool is_offline;
    enum run_state state;
    int value;
    char *payload;
    size_t size;
};

struct queue { /* one partition */
    struct row *rows;
    size_t count, capacity;
    int64_t next_offset, skew_us;
    bool sparse;
};

struct scenario {
    uint64_t seed;
    struct queue queues[PARTITIONS_MAX];
    unsigned queue_count;
    int64_t start_us, end_us; /* arrival of the first and of the last row, those that flush apart */
    int64_t flush_us;         /* live: one last row a partition, so that all buckets of the others close */
    bool live, backlog;       /* backlog: all rows have arrived before the first start */
    bool dedupe, throttle, poison, watch;
    bool is_text;                              /* lines, some records of several messages; else JSON */
    int64_t lateness_us, max_skew_us, keep_us; /* keep: of runs that are over */
    enum late_policy late;
    enum skew_policy skew;
    bool has_crashes, has_stops, has_full_disk, has_slow_sinks, has_unreachable_source, has_starving;
    bool loses_store; /* one crash takes the disk with it */
    /* The plan runs as a cluster of several processes, which share the disk but no file on it. */
    bool is_cluster;
    unsigned tasks, processes;
    int64_t session_us; /* a process silent for so long loses its tasks */
    bool has_freezes, has_rebalances, has_busy_broker, has_lost_transactions, has_late_parcels;
    char yaml[YAML_BYTES];
};

/* Times of the configuration that the reference must know. */
#define SIM_SECOND_US ((int64_t)1000000)
enum { DEDUPE_S = 30, THROTTLE_S = 10, THROTTLE_ROWS = 6, EVERY_S = 10, WIDE_S = 90 };

void scenario_make(uint64_t seed, const char *store_path, struct scenario *ret_scenario);
void scenario_free(struct scenario *scenario);
