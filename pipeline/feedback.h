/* What people say of alerts, right or noise: one mark an episode, with the alert's line as it was then, in
 * a table of the store's file. `weir tune` takes them as labels. A mark is durable when feedback_put has
 * answered with STATUS_OK. All calls from any thread: one connection behind a mutex. */
#pragma once
#include "pipeline/store.h"

enum { FEEDBACK_MAX = 100000 }; /* marks; beyond it the oldest goes */

enum feedback_mark { FEEDBACK_NONE, FEEDBACK_NOISE, FEEDBACK_RIGHT, FEEDBACK_MARKS };
extern const char *const feedback_names[FEEDBACK_MARKS + 1]; /* none, noise, right; ends with NULL */

struct feedback;

enum status feedback_open(const char *path, const struct store_options *options,
                          struct feedback **ret_feedback, struct error *ret_error);
void feedback_close(struct feedback *feedback); /* NULL is fine */

/* Takes the place of an earlier mark; FEEDBACK_NONE takes it back. */
enum status feedback_put(struct feedback *feedback, struct id128 episode, enum feedback_mark mark,
                         int64_t now_us, struct span line, struct error *ret_error);

/* [{"episode", "mark", "at"}], newest first. */
enum status feedback_write(struct feedback *feedback, struct buffer *out, struct error *ret_error);

/* JSON Lines of labels: an alert marked right is an incident; one marked noise is none, so that alerts
 * there are false; `alerts`, an array of alert lines, are those that are known: those without a mark are
 * told to be ignored. Each names its rule. */
enum status feedback_write_labels(struct feedback *feedback, struct span alerts, struct buffer *out,
                                  struct error *ret_error);
