/* Elastic Common Schema: the `fields` format with a built-in map. ecs-logging libraries write dotted keys,
 * Beats and Elastic Agent nested objects; paths find both. Filebeat puts a line's own JSON under `json` when
 * told to keep it apart. A service is a workflow, so that its log lines are counted by name; a log line tells
 * no state of a run. Source: ECS 8.11 field reference; filebeat exported fields. */
#include "base/config.h"
#include "base/memory.h"
#include "ingest/fields.h"

#include <assert.h>
#include <stdlib.h>

static const char ecs_map[] =
    "map:\n"
    "  time: [json.@timestamp, '@timestamp']\n"
    "  message: [json.message, message, event.original]\n"
    "  level: [json.log.level, log.level]\n"
    "  logger: [json.log.logger, log.logger]\n"
    "  error: [json.error.message, error.message]\n"
    "  error_type: [json.error.type, error.type]\n"
    "  stack_trace: [json.error.stack_trace, error.stack_trace]\n"
    "  trace: [json.trace.id, trace.id]\n"
    "  workflow: [json.service.name, service.name, kubernetes.container.name, container.name]\n"
    "  namespace: [json.service.environment, service.environment, kubernetes.namespace]\n"
    "  version: [json.service.version, service.version]\n"
    "  host: [host.name, host.hostname, agent.name]\n"
    "  worker: [service.node.name, kubernetes.pod.name]\n"
    "  action: [json.event.action, event.action, json.event.dataset, event.dataset]\n"
    "  id: [event.id]\n"
    "  result: [json.event.outcome, event.outcome]\n"
    "  started: [json.event.start, event.start]\n"
    "  duration_ms: {path: [json.event.duration, event.duration], unit: ns}\n"
    "  url: [json.url.full, url.full, event.url]\n";

struct format {
    struct config *config; /* owns what the map points to */
    struct format *fields;
};

static void ecs_close(struct format *format)
{
    fields_format.close(format->fields);
    config_free(format->config);
    free(format);
}

static enum status ecs_open(const void *settings, const struct format_context *context,
                            struct format **ret_format, struct error *ret_error)
{
    struct format *format = memory_new(sizeof *format);
    enum status status = config_parse(ecs_map, "ecs", &format->config, ret_error);

    assert(status == STATUS_OK);
    struct fields_settings fields = {.map = node_find(config_root(format->config), "map"), .is_preset = true};
    status = fields_format.open(&fields, context, &format->fields, ret_error);
    assert(status == STATUS_OK);
    *ret_format = format;
    return STATUS_OK;
}

static enum status ecs_decode(struct format *format, const struct message *message, struct event_batch *batch,
                              const char **ret_reason)
{
    return fields_format.decode(format->fields, message, batch, ret_reason);
}

const struct format_type ecs_format = {
    .name = "ecs",
    .help = "log lines in the Elastic Common Schema, of ecs-logging, Filebeat or Elastic Agent",
    .signs = "@timestamp ecs.version|@timestamp ecs|@timestamp log.level|@timestamp message|@timestamp agent",
    .open = ecs_open,
    .decode = ecs_decode,
    .close = ecs_close,
};
