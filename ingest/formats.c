/* The list of formats, one line each, looked through at load only; and what several of them do. */
#include "ingest/line.h"

#include <stdio.h>
#include <string.h>

extern const struct format_type airflow_json_format, airflow3_json_format, auto_format, celery_format,
    collectd_format, cri_format, dagster_format, dbt_format, ecs_format, fields_format, github_format,
    line_format, logfmt_format, metricbeat_format, openlineage_format, prometheus_format, telegraf_format,
    zeebe_format;

// clang-format off
const struct format_type *const format_types[] = {
    &openlineage_format,
    &celery_format,
    &dagster_format,
    &dbt_format,
    &ecs_format,
    &github_format,
    &zeebe_format,
    &airflow_json_format,
    &airflow3_json_format,
    &telegraf_format,
    &collectd_format,
    &metricbeat_format,
    &prometheus_format,
    &fields_format,
    &line_format,
    &logfmt_format,
    &cri_format,
    &auto_format,
    NULL,
};
// clang-format on

const struct format_type *format_type_find(const char *name)
{
    for (size_t i = 0; format_types[i]; i++)
        if (strcmp(format_types[i]->name, name) == 0)
            return format_types[i];
    return NULL;
}

bool format_preset_at(size_t index, struct format_preset *ret_preset)
{
    const struct line_preset *preset = &line_presets[index];

    if (!preset->name)
        return false;
    *ret_preset = (struct format_preset){preset->name, &line_format, preset->help};
    return true;
}

enum status format_add_tombstone(struct event_batch *batch)
{
    uint32_t row = event_batch_add(batch);

    if (row == UINT32_MAX)
        return STATUS_RETRY;
    batch->mark[row] = MARK_TOMBSTONE;
    return STATUS_OK;
}

enum status format_refuse(const struct format_context *context, const char *key, struct error *ret_error,
                          const char *text, ...)
{
    const struct node *entry = context->node, *value = entry ? node_find(entry, key) : NULL;
    char reason[sizeof ret_error->text];
    va_list arguments;

    va_start(arguments, text);
    vsnprintf(reason, sizeof reason, text, arguments);
    va_end(arguments);
    return entry ? node_fail(value ? value : entry, ret_error, "%s: %s", key, reason)
                 : fail(ret_error, "%s: %s", key, reason);
}
