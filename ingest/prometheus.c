/* Samples of prometheus-kafka-adapter with its JSON serializer: {timestamp, value, name, labels}, all texts.
 * Source: Telefonica/prometheus-kafka-adapter, README and serializers.go. Runs once a sample. NaN and
 * infinite values, as of a series that has ended, are of no interest. The host is the label instance without
 * its port. */
#include "ingest/metrics.h"

#include <math.h>

enum target { NAME, VALUE, TIMESTAMP, INSTANCE, TARGET_COUNT };

static const char *const target_paths[TARGET_COUNT] = {
    [NAME] = "name", [VALUE] = "value", [TIMESTAMP] = "timestamp", [INSTANCE] = "labels.instance"};

static bool is_no_number(struct span text)
{
    return span_is(text, "NaN") || span_is(text, "+Inf") || span_is(text, "-Inf");
}

/* "db1" of "db1:9100"; of "[::1]:9100" what stands before the port. */
static struct span host_of(struct span instance)
{
    const char *colon = instance.size ? memrchr(instance.data, ':', instance.size) : NULL;

    return colon ? span_make(instance.data, (size_t)(colon - instance.data)) : instance;
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    struct span name = item_text(item, NAME);
    double value = NAN;

    item_take_time(item, TIMESTAMP, TIME_UNIT_AUTO, batch->time_us);
    if (name.size == 0 || batch->time_us[item->row] == TIME_NONE) {
        *ret_reason = name.size == 0 ? "no name" : "timestamp is missing or no time";
        return JSON_ROW_BAD;
    }
    if (is_no_number(item_text(item, VALUE)))
        return JSON_ROW_DROPPED;
    if (json_value_number(&item->values[VALUE], &value) != NULL || !isfinite(value)) {
        *ret_reason = "value is missing or no number";
        return JSON_ROW_BAD;
    }
    batch->engine[item->row] = SPAN_LITERAL("prometheus");
    batch->host[item->row] = host_of(item_text(item, INSTANCE));
    metric_labels(item, "labels.");
    return metric_add(item, name, value) ? JSON_ROW_KEPT : JSON_ROW_FULL;
}

static enum status prometheus_open(const void *settings, const struct format_context *context,
                                   struct format **ret_format, struct error *ret_error)
{
    static const struct metric_shape shape = {NULL, target_paths, TARGET_COUNT, fill_row};

    return metric_format_open(&shape, ret_format);
}

const struct format_type prometheus_format = {
    .name = "prometheus",
    .help = "samples of prometheus-kafka-adapter in JSON",
    .signs = "labels={ timestamp value",
    .open = prometheus_open,
    .decode = metric_format_decode,
    .close = metric_format_close,
};
