/* The places in a document that somebody asked for, as a tree: an object's keys and an array's elements
 * lead from one place to the next. Built once at load, walked for each key of each message. json.h says
 * how a path is written. */
#pragma once
#include "base/span.h"

#define PLACE_NONE UINT32_MAX
#define WISH_NONE  UINT32_MAX
#define EDGE_NONE  UINT32_MAX

enum { PLACE_ROOT = 0, PLACE_HEADS = 32, PATH_KEYS_MAX = 16 };

struct edge { /* from an object to what one of its keys holds */
    char *key;
    uint32_t size, child;
    uint32_t next; /* edge of the same head; EDGE_NONE ends */
};

struct element { /* from an array to one of its elements, or all */
    int32_t index;
    uint32_t child;
};

struct place {
    uint32_t heads[PLACE_HEADS]; /* first edge of each hash of a key */
    struct edge *edges;
    size_t edge_count, edge_capacity;
    struct element *elements;
    size_t element_count, element_capacity;
    uint32_t wish; /* first wish for the value here */
};

struct wish { /* what stands at a place is to become values[target] */
    unsigned target;
    uint32_t next;
};

struct paths {
    struct place *places;
    size_t place_count, place_capacity;
    struct wish *wishes;
    size_t wish_count, wish_capacity;
    size_t target_count; /* greatest target + 1 */
};

void paths_init(struct paths *paths); /* with the root */
void paths_free(struct paths *paths);

/* Makes the places of `path` as seen from `from` and tells the last. Returns NULL, or what is wrong as
 * static text; the places made so far then lead nowhere and do no harm. */
const char *paths_add(struct paths *paths, uint32_t from, const char *path, bool all_allowed,
                      uint32_t *ret_place);
void paths_wish(struct paths *paths, uint32_t place, unsigned target);

/* The place that a key or an index leads to, or PLACE_NONE. */
uint32_t paths_key(const struct paths *paths, uint32_t from, const char *key, size_t size);
uint32_t paths_element(const struct paths *paths, uint32_t from, int32_t index);

bool paths_is_array(const struct paths *paths, uint32_t place);  /* some path goes on with an index or [*] */
bool paths_takes_all(const struct paths *paths, uint32_t place); /* some path goes on with [*] */
