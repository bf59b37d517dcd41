/* Events of Metricbeat. Source: elastic/beats, data.json of the metricsets; libbeat's JSON codec. Runs
 * once an event of one metricset, whose numbers stand at any depth below its module: each is the metric of
 * its path, like system.cpu.total.norm.pct; numbers below `host` too. Texts there are labels by their paths.
 * Shares stay 0 to 1, as the agent tells them. */
#include "ingest/metrics.h"

#include <stdio.h>

enum { PREFIX_BYTES = 64 };

enum target { TIMESTAMP, MODULE, DATASET, HOST, TARGET_COUNT };

static const char *const target_paths[TARGET_COUNT] = {
    [TIMESTAMP] = "'@timestamp'",
    [MODULE] = "metricset.module|event.module",
    [DATASET] = "event.dataset",
    [HOST] = "agent.name|beat.hostname|agent.hostname|host.hostname|host.name",
};

/* "system" of the module, or of the dataset system.cpu. */
static struct span module_of(const struct json_item *item)
{
    struct span module = item_text(item, MODULE), dataset = item_text(item, DATASET);
    const char *dot = dataset.size ? memchr(dataset.data, '.', dataset.size) : NULL;

    return module.size > 0 ? module : span_make(dataset.data, dot ? (size_t)(dot - dataset.data) : 0);
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    struct event_batch *batch = item->batch;
    struct span module = module_of(item);
    char prefix[PREFIX_BYTES];
    double value;

    item_take_time(item, TIMESTAMP, TIME_UNIT_AUTO, batch->time_us);
    if (module.size == 0 || module.size + 2 > sizeof prefix) {
        *ret_reason = "no event.module or event.dataset";
        return JSON_ROW_BAD;
    }
    if (batch->time_us[item->row] == TIME_NONE) {
        *ret_reason = "@timestamp is missing or no time";
        return JSON_ROW_BAD;
    }
    (void)snprintf(prefix, sizeof prefix, "%.*s.", (int)module.size, module.data);
    batch->engine[item->row] = SPAN_LITERAL("metricbeat");
    batch->host[item->row] = item_text(item, HOST);
    metric_labels(item, "");
    for (size_t i = 0; i < item->leaf_count; i++) {
        const struct json_leaf *leaf = &item->leaves[i];

        if ((leaf_below(leaf, prefix).size > 0 || leaf_below(leaf, "host.").size > 0) &&
            leaf_number(leaf, &value) && !metric_add(item, leaf->path, value))
            return JSON_ROW_FULL;
    }
    return metric_verdict(item);
}

static enum status metricbeat_open(const void *settings, const struct format_context *context,
                                   struct format **ret_format, struct error *ret_error)
{
    static const struct metric_shape shape = {NULL, target_paths, TARGET_COUNT, fill_row};

    return metric_format_open(&shape, ret_format);
}

const struct format_type metricbeat_format = {
    .name = "metricbeat",
    .help = "events of Metricbeat, or of Elastic Agent's metrics",
    .signs = "@metadata={\"beat\":\"metricbeat\"|@timestamp metricset={",
    .open = metricbeat_open,
    .decode = metric_format_decode,
    .close = metric_format_close,
};
