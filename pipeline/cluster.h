/* This process as a member of an application that several processes share. The work is divided into
 * `cluster.tasks` tasks, each a worker in the sense of worker.h: task t of n reads the input partitions
 * whose (hash of the topic + number) mod n = t and owns the shards s with s mod n = t; task 0 owns the
 * alerts. Kafka's consumer group of the application says which process has which task; there is no other
 * coordinator. Internal topics, made by the first process and checked by each: APPLICATION-exchange (a
 * partition a task: its inbox; deleted up to what is committed), APPLICATION-changelog (a partition a task,
 * compacted) and APPLICATION-page (one partition, kept for an hour: cluster_page.h). A poll a few times a
 * second; all calls from one thread, except those of the journals. */
#pragma once
#include "pipeline/journal.h"
#include "pipeline/plan.h"

struct cluster;

struct cluster_hooks {
    /* All tasks are taken away for now: returns when none of them is running any more (stopped at a cut).
     * Called from within cluster_poll and cluster_close. */
    void (*release)(void *owner);
    void (*warn)(void *owner, const char *text); /* any thread */
    void *owner;
};

/* Makes and checks the topics (waiting some seconds for the brokers), and joins. STATUS_RETRY: no broker
 * answered. STATUS_FATAL: a topic has other settings: says which and what to do. */
enum status cluster_open(const struct plan *plan, const struct cluster_hooks *hooks,
                         struct cluster **ret_cluster, struct error *ret_error);

/* Waits up to `wait_ms` for news of the group. ret_tasks: bits of the tasks that are this process's now.
 * STATUS_FATAL: the membership is lost for good. */
enum status cluster_poll(struct cluster *cluster, int wait_ms, uint64_t *ret_tasks, struct error *ret_error);

/* The group has said which tasks are this process's (perhaps none), and has not taken them away since. */
bool cluster_is_assigned(const struct cluster *cluster);

/* While it is on, an opening of a journal under way ends soon, with STATUS_RETRY. Any thread. */
void cluster_hurry(struct cluster *cluster, bool on);

void cluster_close(struct cluster *cluster); /* leaves; no journal is open after the release */
