/* Every scalar of an item with its path, for formats whose keys are not known ahead. Told by yajl alone. */
#include "ingest/json_events.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 1024, LEAVES_MAX = BATCH_ROWS_MAX };

struct leaf_level { /* one open object or array */
    size_t path_size;
    int32_t index; /* of the element last seen; -1: none, -2: an object */
};

struct json_leaves {
    struct json_leaf *leaves;
    size_t count, capacity;
    char path[PATH_BYTES]; /* of the value that begins, seen from the item */
    size_t path_size;      /* above PATH_BYTES: too long, and left out */
    struct leaf_level levels[JSON_DEPTH_MAX];
    unsigned depth;
};

enum { NO_ELEMENT = -1, OBJECT = -2 };

void json_reader_take_leaves(struct json_reader *reader)
{
    reader->leaves = memory_new(sizeof *reader->leaves);
}

void json_leaves_free(struct json_reader *reader)
{
    if (reader->leaves)
        free(reader->leaves->leaves);
    free(reader->leaves);
}

static void path_go(struct json_leaves *leaves, struct span name)
{
    size_t start = leaves->levels[leaves->depth - 1].path_size, dot = start > 0;

    if (start > PATH_BYTES || name.size > PATH_BYTES - dot - start || start + dot > PATH_BYTES) {
        leaves->path_size = PATH_BYTES + 1;
        return;
    }
    if (dot)
        leaves->path[start] = '.';
    memcpy(leaves->path + start + dot, name.data, name.size);
    leaves->path_size = start + dot + name.size;
}

/* Before a value: in an array its path is the next index. */
static void begin_value(struct json_leaves *leaves)
{
    struct leaf_level *level = leaves->depth ? &leaves->levels[leaves->depth - 1] : NULL;
    char digits[16];

    if (level && level->index != OBJECT)
        path_go(leaves,
                span_make(digits, (size_t)snprintf(digits, sizeof digits, "%d", (int)++level->index)));
}

void json_leaves_key(struct json_reader *reader, struct span key)
{
    path_go(reader->leaves, key);
}

void json_leaves_begin(struct json_reader *reader)
{
    struct json_leaves *leaves = reader->leaves;

    leaves->depth = 0;
    leaves->count = leaves->path_size = 0;
}

void json_leaves_open(struct json_reader *reader, bool is_array)
{
    struct json_leaves *leaves = reader->leaves;
    const struct json_level *level = &reader->levels[reader->depth - 1];

    begin_value(leaves);
    if (!is_array && level->place != PLACE_NONE && level->place == reader->item_place) {
        leaves->count = leaves->path_size = 0;
        reader->item.leaves = leaves->leaves;
        reader->item.leaf_count = 0;
    }
    leaves->levels[leaves->depth++] =
        (struct leaf_level){.path_size = leaves->path_size, .index = is_array ? NO_ELEMENT : OBJECT};
}

void json_leaves_close(struct json_reader *reader)
{
    reader->leaves->depth--;
}

bool json_leaves_scalar(struct json_reader *reader, enum json_type type, struct span text)
{
    struct json_leaves *leaves = reader->leaves;
    struct span path;

    begin_value(leaves);
    if (type == JSON_NULL || leaves->path_size > PATH_BYTES)
        return true;
    if (leaves->count == LEAVES_MAX) {
        reader->stop = STOP_ROWS;
        return false;
    }
    path = span_make(leaves->path, leaves->path_size);
    if (!json_keep_text(reader, &path) || !json_keep_text(reader, &text))
        return false;
    leaves->leaves =
        memory_reserve(leaves->leaves, &leaves->capacity, leaves->count + 1, sizeof *leaves->leaves);
    leaves->leaves[leaves->count++] = (struct json_leaf){.path = path, .value = {.type = type, .text = text}};
    reader->item.leaves = leaves->leaves;
    reader->item.leaf_count = leaves->count;
    return true;
}
