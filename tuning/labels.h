/* What people know of a history: incidents, as JSON Lines {"start","end","target","kind"?,"ignore"?}. A
 * target is a text, a beginning that ends in '*', or a list of these; "any": true takes every target. Marks
 * of alerts (feedback.h) have a "rule", too, and count only for the detector of that name. */
#pragma once
#include "base/span.h"
#include "base/status.h"

#include <stddef.h>

enum { INCIDENTS_MAX = 1000000 };

struct incident {
    int64_t start_us, end_us;
    char **targets;
    size_t target_count;
    char *kind; /* "": not said */
    bool any;
    bool ignore; /* its alerts are neither right nor wrong, and it need not be found */
};

struct labels {
    struct incident *items; /* in the order of the file */
    size_t count, capacity;
};

/* One line of the file. STATUS_SKIP: of another rule; STATUS_FATAL: the error says why, without the place. */
enum status labels_add(struct labels *labels, struct span line, const char *rule, struct error *ret_error);
void labels_free(struct labels *labels);
bool incident_matches(const struct incident *incident, const char *target);
