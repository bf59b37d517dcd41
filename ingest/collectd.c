/* Value lists of collectd, as write_http and write_kafka send them with Format JSON. Source: collectd.org,
 * JSON format; collectd 5.12 format_json.c. Runs once a value list. The metric is PLUGIN.TYPE, or PLUGIN
 * where both are one word, and .NAME of a data source that is not called `value`; what it is of stands in
 * the labels plugin_instance and type_instance. */
#include "ingest/metrics.h"

enum target { TIME, HOST, PLUGIN, PLUGIN_INSTANCE, TYPE, TYPE_INSTANCE, VALUES, TARGET_COUNT };

static const char *const target_paths[TARGET_COUNT] = {
    [TIME] = "time",     [HOST] = "host",
    [PLUGIN] = "plugin", [PLUGIN_INSTANCE] = "plugin_instance",
    [TYPE] = "type",     [TYPE_INSTANCE] = "type_instance",
    [VALUES] = "values",
};

/* The name of the data source with this index, as a text; size 0: it has none. */
static struct span source_name(const struct json_item *item, struct span index)
{
    for (size_t i = 0; i < item->leaf_count; i++)
        if (span_equal(leaf_below(&item->leaves[i], "dsnames."), index) &&
            !span_is(item->leaves[i].value.text, "value"))
            return item->leaves[i].value.text;
    return (struct span){0};
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    struct span plugin = item_text(item, PLUGIN), type = item_text(item, TYPE), metric;
    double value;

    item_take_time(item, TIME, TIME_UNIT_S, batch->time_us);
    if (plugin.size == 0 || item->values[VALUES].type != JSON_ARRAY) {
        *ret_reason = "no plugin or values";
        return JSON_ROW_BAD;
    }
    if (batch->time_us[item->row] == TIME_NONE) {
        *ret_reason = "time is missing or no time";
        return JSON_ROW_BAD;
    }
    batch->engine[item->row] = SPAN_LITERAL("collectd");
    batch->host[item->row] = item_text(item, HOST);
    metric_labels(item, "");
    if (span_equal(plugin, type))
        type = (struct span){0};
    for (size_t i = 0; i < item->leaf_count; i++) {
        struct span index = leaf_below(&item->leaves[i], "values.");

        if (index.size == 0 || !leaf_number(&item->leaves[i], &value))
            continue;
        if (!metric_name(item, plugin, type, &metric) ||
            !metric_name(item, metric, source_name(item, index), &metric) || !metric_add(item, metric, value))
            return JSON_ROW_FULL;
    }
    return metric_verdict(item);
}

static enum status collectd_open(const void *settings, const struct format_context *context,
                                 struct format **ret_format, struct error *ret_error)
{
    static const struct metric_shape shape = {NULL, target_paths, TARGET_COUNT, fill_row};

    return metric_format_open(&shape, ret_format);
}

const struct format_type collectd_format = {
    .name = "collectd",
    .help = "value lists of collectd's write_http and write_kafka in JSON",
    .signs = "dstypes dsnames",
    .open = collectd_open,
    .decode = metric_format_decode,
    .close = metric_format_close,
};
