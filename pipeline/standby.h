/* Warm mirrors of the tasks that other processes have (cluster.standby): one thread follows their changelogs,
 * without fencing anybody, into the files that the engines of these tasks would make. An engine that is then
 * started on such a file has only the rest to replay. What goes wrong here is told once and tried again; it
 * never ends more than the mirror, which is made anew. */
#pragma once
#include "pipeline/journal.h"

struct standby;

struct standby_options {
    const struct changelog_type *changelog;
    void *cluster;          /* given to changelog->open; outlives the standby */
    const char *store_path; /* the mirrors are beside it (store_task_path); its lock is the process's */
    unsigned tasks;
    void (*warn)(void *owner, const char *text); /* on the standby's thread */
    void *owner;
};

/* Follows nothing yet. */
enum status standby_start(const struct standby_options *options, struct standby **ret_standby,
                          struct error *ret_error);
void standby_stop(struct standby *standby); /* ends the thread and frees; NULL is fine */

/* Any thread. A task that is followed already goes on. */
void standby_follow(struct standby *standby, unsigned task);
/* Returns when the task's file and changelog are no longer touched: some milliseconds, with an outage up to
 * some seconds. */
void standby_release(struct standby *standby, unsigned task);

/* Offsets of the changelog that are not in the mirror, those of a transaction under way included; -1: the
 * task is not followed, or not yet. */
int64_t standby_behind(const struct standby *standby, unsigned task);
