/* Where simdjson is missing: nothing is indexed, and yajl reads all. */
#include "ingest/json_index.h"

struct json_index *json_index_new(void)
{
    return NULL;
}

void json_index_free(struct json_index *index)
{
}

bool json_index_make(struct json_index *index, const char *text, size_t size, const uint32_t **ret_positions,
                     size_t *ret_count)
{
    return false;
}
