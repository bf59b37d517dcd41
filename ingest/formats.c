/* The list of formats; one line each. Looked through at load only. */
#include "ingest/format.h"

#include <string.h>

extern const struct format_type auto_format, celery_format, dagster_format, dbt_format, ecs_format,
    fields_format, github_format, openlineage_format, zeebe_format;

const struct format_type *const format_types[] = {
    &openlineage_format, &celery_format, &dagster_format, &dbt_format,  &ecs_format,
    &github_format,      &zeebe_format,  &fields_format,  &auto_format, NULL,
};

const struct format_type *format_type_find(const char *name)
{
    for (size_t i = 0; format_types[i]; i++)
        if (strcmp(format_types[i]->name, name) == 0)
            return format_types[i];
    return NULL;
}
