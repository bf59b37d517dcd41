/* The alerts of two replays of the same input: which are new, which are gone, and which begin at another
 * time. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

struct alert_list; /* the alerts of one replay */

struct alert_list *alert_list_new(void);
void alert_list_free(struct alert_list *list);
/* An alert line. Alerts that never fire are left out, as people do not hear of them. */
void alert_list_add(struct alert_list *list, struct span line);

struct alert_diff {
    size_t before, after; /* alerts */
    size_t same, gained, lost, moved;
};

/* Alerts of the same rule, target and labels are the same one when they start at the same time; moved when
 * they overlap or start at most `within_us` apart. A line each for what differs, in the order of time. */
void alert_list_compare(struct alert_list *before, struct alert_list *after, int64_t within_us,
                        struct buffer *out, struct alert_diff *ret_diff);
