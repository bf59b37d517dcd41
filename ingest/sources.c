/* The list of sources; one line each. Looked through at load only. */
#include "ingest/source.h"

#include <string.h>

extern const struct source_type file_source, host_source, kafka_source, recorded_source, stdin_source;

const struct source_type *const source_types[] = {
    &file_source, &host_source, &kafka_source, &recorded_source, &stdin_source, NULL,
};

const struct source_type *source_type_find(const char *name)
{
    for (size_t i = 0; source_types[i]; i++)
        if (strcmp(source_types[i]->name, name) == 0)
            return source_types[i];
    return NULL;
}
