/* Why there is an alert, in words and numbers: from its lines, what decides of its rule, and the buckets of
 * its series. All of it is JSON as the API has it (docs/api.md), asked for or made of files. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"

enum { EXPLAIN_ID_BYTES = 40 };

struct explain;

/* Arrays: the alert's lines, oldest first; rules as /api/rules has them, or empty. STATUS_FATAL: there is no
 * line. */
enum status explain_new(struct span lines, struct span rules, struct explain **ret_explain,
                        struct error *ret_error);
void explain_free(struct explain *explain);

/* Of the answer of /api/series: the id of the series that the alert is about. False: it is not there. */
bool explain_find_series(const struct explain *explain, struct span series, char ret_id[EXPLAIN_ID_BYTES]);

/* A bucket line, or an array of them, oldest first; those of other series are passed over. */
void explain_take(struct explain *explain, struct span buckets);
void explain_write(const struct explain *explain, struct buffer *out);

/* The alert line is of this episode, or is this very line. */
bool explain_is_alert(struct span line, const char *id, char ret_episode[EXPLAIN_ID_BYTES]);
