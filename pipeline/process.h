/* What runs the plan in this process, for `weir run` and the page: one engine, or, with cluster.enabled, an
 * engine a task that the group has given to this process. The calls are those of engine.h. */
#pragma once
#include "pipeline/engine.h"

struct process;

/* Cluster: returns when the process has joined; tasks come later. Live only. STATUS_RETRY: another process
 * has the store, or no broker answers. */
enum status process_start(const struct plan *plan, const struct engine_options *options,
                          struct process **ret_process, struct error *ret_error);

/* Once every now and then, from one thread: the cluster's group is served here, at most `wait_ms`. STATUS_OK:
 * the input has ended (never in a cluster). STATUS_RETRY: still running. A task that fails is opened anew;
 * what fails for good (STATUS_FATAL) is the process. */
enum status process_wait(struct process *process, int wait_ms, struct error *ret_error);
void process_stop(struct process *process);
void process_stop_at_cut(struct process *process);
bool process_is_alive(struct process *process);
void process_free(struct process *process); /* after a stop; uses the plan */

/* Called about once a second while process_wait or a stop waits for tasks to end, on the caller's thread. */
typedef void process_heartbeat(void *owner);
void process_set_heartbeat(struct process *process, process_heartbeat *heartbeat, void *owner);

/* Any thread, but not beside process_free. Ready in a cluster: the group has said which tasks are ours (maybe
 * none), and each of them is ready. */
bool process_is_ready(struct process *process);
void process_metrics(struct process *process, struct buffer *out);
void process_health(struct process *process, int64_t now_us, struct buffer *out); /* health.h */
void process_rules(struct process *process, struct buffer *out);                  /* health_write_rules */
struct dead_letters *process_dead_letters(struct process *process);
struct feedback *process_feedback(struct process *process); /* NULL: none is kept: no page, or no store */
