/* The presets of the `line` format. */
#pragma once
#include "ingest/format.h"

struct line_preset {
    const char *name, *help;
    const char *pattern, *begins; /* as the settings of that name; `begins` NULL: each line is a record */
    const char *layouts[2];       /* of times that time_parse does not know */
    const char *engine;           /* of all rows, or NULL */
    const char *metric;           /* name of what the group `value` measures, or NULL */
    const char *unit;
};

extern const struct line_preset line_presets[]; /* ends with a NULL name */
