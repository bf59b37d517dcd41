/* The list of formats; one line each. Looked through at load only. */
#include "ingest/line.h"

#include <string.h>

extern const struct format_type airflow_json_format, airflow3_json_format, celery_format, cri_format,
    fields_format, line_format, logfmt_format, openlineage_format;

// clang-format off
const struct format_type *const format_types[] = {
    &openlineage_format,
    &celery_format,
    &airflow_json_format,
    &airflow3_json_format,
    &fields_format,
    &line_format,
    &logfmt_format,
    &cri_format,
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

bool format_preset_find(const char *name, struct format_preset *ret_preset)
{
    for (size_t i = 0; line_presets[i].name; i++)
        if (strcmp(line_presets[i].name, name) == 0) {
            *ret_preset = (struct format_preset){name, &line_format, line_presets[i].help};
            return true;
        }
    return false;
}
