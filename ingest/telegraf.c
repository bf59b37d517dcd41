/* Metrics of Telegraf's JSON output. Source: influxdata/telegraf, plugins/serializers/json/README.md. Runs
 * once a metric, of one time and some fields: alone, in an array, or in a batch under `metrics`. A field is
 * the metric NAME.FIELD; one that only says how it was measured (value, gauge, counter) is NAME alone.
 * Texts are left out. */
#include "ingest/metrics.h"

enum target { NAME, TIMESTAMP, HOST, TARGET_COUNT };

static const char *const target_paths[TARGET_COUNT] = {
    [NAME] = "name", [TIMESTAMP] = "timestamp", [HOST] = "tags.host"};

static bool is_plain(struct span field)
{
    return span_is(field, "value") || span_is(field, "gauge") || span_is(field, "counter");
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    struct span name = item_text(item, NAME), metric = name;
    double value;

    item_take_time(item, TIMESTAMP, TIME_UNIT_AUTO, batch->time_us);
    if (name.size == 0 || batch->time_us[item->row] == TIME_NONE) {
        *ret_reason = name.size == 0 ? "no name" : "timestamp is missing or no time";
        return JSON_ROW_BAD;
    }
    batch->engine[item->row] = SPAN_LITERAL("telegraf");
    batch->host[item->row] = item_text(item, HOST);
    metric_labels(item, "tags.");
    for (size_t i = 0; i < item->leaf_count; i++) {
        struct span field = leaf_below(&item->leaves[i], "fields.");

        if (field.size == 0 || !leaf_number(&item->leaves[i], &value))
            continue;
        if ((!is_plain(field) && !metric_name(item, name, field, &metric)) ||
            !metric_add(item, is_plain(field) ? name : metric, value))
            return JSON_ROW_FULL;
    }
    return metric_verdict(item);
}

static enum status telegraf_open(const void *settings, const struct format_context *context,
                                 struct format **ret_format, struct error *ret_error)
{
    static const struct metric_shape shape = {"metrics[*]", target_paths, TARGET_COUNT, fill_row};

    return metric_format_open(&shape, ret_format);
}

const struct format_type telegraf_format = {
    .name = "telegraf",
    .help = "metrics of Telegraf with data_format json",
    .signs = "fields={ tags={|metrics=[{\"fields\":{",
    .open = telegraf_open,
    .decode = metric_format_decode,
    .close = metric_format_close,
};
