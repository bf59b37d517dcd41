/* The one C++ file: simdjson has no C interface. */
#include "ingest/json_index.h"

#include <memory>
#include <simdjson.h>

struct json_index {
    std::unique_ptr<simdjson::internal::dom_parser_implementation> parser;
};

enum {
    DEPTH = 64,              /* of the stage that is not used */
    CAPACITY_LEAST = 4096,   /* bytes */
    CAPACITY_MOST = 16 << 20 /* the index has four bytes for each */
};

json_index *json_index_new(void)
{
    return new json_index;
}

void json_index_free(json_index *index)
{
    delete index;
}

/* Doubles, as long as messages grow. */
static bool make_room(json_index *index, size_t size)
{
    size_t capacity = index->parser ? index->parser->capacity() : 0, wanted = CAPACITY_LEAST;

    if (size <= capacity)
        return true;
    if (size > CAPACITY_MOST)
        return false;
    while (wanted < size)
        wanted *= 2;
    return simdjson::get_active_implementation()->create_dom_parser_implementation(
               wanted, DEPTH, index->parser) == simdjson::SUCCESS;
}

bool json_index_make(json_index *index, const char *text, size_t size, const uint32_t **ret_positions,
                     size_t *ret_count)
{
    if (size == 0 || !make_room(index, size) ||
        index->parser->stage1(reinterpret_cast<const uint8_t *>(text), size,
                              simdjson::stage1_mode::regular) != simdjson::SUCCESS)
        return false;
    *ret_positions = index->parser->structural_indexes.get();
    *ret_count = index->parser->n_structural_indexes;
    return true;
}
