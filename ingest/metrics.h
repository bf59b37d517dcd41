/* What the formats of metric agents share: one item tells many samples, and each becomes a row with metric,
 * value, host and labels. */
#pragma once
#include "ingest/json.h"

struct metric_shape {
    const char *each;         /* where items stand in a batch ("metrics[*]"); NULL: there are no batches */
    const char *const *paths; /* of values by target, of an item */
    unsigned count;
    json_row *row; /* fills the fields that all samples of the item share, then calls metric_add */
};

enum status metric_format_open(const struct metric_shape *shape, struct format **ret_format);
enum status metric_format_decode(struct format *format, const struct message *message,
                                 struct event_batch *batch, const char **ret_reason);
void metric_format_close(struct format *format);

/* A leaf whose path is `prefix` and a name; the name, or size 0. */
struct span leaf_below(const struct json_leaf *leaf, const char *prefix);

/* What a number or bool says; false: it is neither, or is not finite. */
bool leaf_number(const struct json_leaf *leaf, double *ret_number);

/* Texts below `prefix` are labels of the row, by their names there, where the configuration names them. */
void metric_labels(const struct json_item *item, const char *prefix);

/* One sample: the item's row where it has none yet, else one like it. False: the batch is full. */
bool metric_add(const struct json_item *item, struct span metric, double value);

/* Two names with a dot between, in batch->text. False: no room. */
bool metric_name(const struct json_item *item, struct span first, struct span second, struct span *ret_name);

/* The verdict on an item of which metric_add was true each time: one without samples is of no interest. */
enum json_verdict metric_verdict(const struct json_item *item);
