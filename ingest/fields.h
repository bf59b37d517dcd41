/* The `fields` format for formats that are a built-in map. */
#pragma once
#include "base/config.h"
#include "ingest/json.h"

struct fields_settings {
    char *each;
    const struct node *map;
    bool is_preset; /* the map is not the user's: an object where a scalar was expected is passed over, and
                       labels are looked up by their names */
};

extern const struct format_type fields_format;
