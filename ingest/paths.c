/* A document has far more keys than anybody asks for, so that the common answer of paths_key is no: an
 * empty head says so after a look at the key's size and ends. Tried and dropped: comparing with all
 * edges of a place in turn, sizes first, which was a tenth of the instructions of decoding a Celery
 * event.
 * A path's bare keys may stand joined in the document: n keys in a row make n (n + 1) / 2 edges, all
 * ways through them meeting in the same places. */
#include "ingest/paths.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { ALL_ELEMENTS = -1, INDEX_DIGITS_MAX = 9 };

static uint32_t place_new(struct paths *paths)
{
    paths->places =
        memory_reserve(paths->places, &paths->place_capacity, paths->place_count + 1, sizeof *paths->places);
    struct place *place = &paths->places[paths->place_count];
    *place = (struct place){.wish = WISH_NONE};
    for (unsigned i = 0; i < PLACE_HEADS; i++)
        place->heads[i] = EDGE_NONE;
    return (uint32_t)paths->place_count++;
}

static unsigned key_head(const char *key, size_t size)
{
    unsigned first = size ? (unsigned char)key[0] : 0, last = size ? (unsigned char)key[size - 1] : 0;

    return (unsigned)(size * 5 + first * 3 + last) % PLACE_HEADS;
}

uint32_t paths_key(const struct paths *paths, uint32_t from, const char *key, size_t size)
{
    const struct place *place = &paths->places[from];

    for (uint32_t i = place->heads[key_head(key, size)]; i != EDGE_NONE; i = place->edges[i].next)
        if (place->edges[i].size == size && memcmp(place->edges[i].key, key, size) == 0)
            return place->edges[i].child;
    return PLACE_NONE;
}

static void edge_add(struct paths *paths, uint32_t from, struct span key, uint32_t child)
{
    struct place *place = &paths->places[from];
    uint32_t *head = &place->heads[key_head(key.data, key.size)];

    place->edges =
        memory_reserve(place->edges, &place->edge_capacity, place->edge_count + 1, sizeof *place->edges);
    place->edges[place->edge_count] = (struct edge){
        .key = memory_text(key.data, key.size), .size = key.size, .child = child, .next = *head};
    *head = (uint32_t)place->edge_count++;
}

uint32_t paths_element(const struct paths *paths, uint32_t from, int32_t index)
{
    const struct place *place = &paths->places[from];

    for (size_t i = 0; i < place->element_count; i++)
        if (place->elements[i].index == index || place->elements[i].index == ALL_ELEMENTS)
            return place->elements[i].child;
    return PLACE_NONE;
}

/* The place that a path has led to so far. */
struct walk {
    struct paths *paths;
    uint32_t run[PATH_KEYS_MAX + 1]; /* places before, between and after the bare keys read last */
    const char *starts[PATH_KEYS_MAX];
    unsigned run_size; /* bare keys in the run */
    unsigned keys;
};

static void walk_restart(struct walk *walk, uint32_t place)
{
    walk->run[0] = place;
    walk->run_size = 0;
}

/* A bare key leads on from the place before it, and joined with the bare keys before it from theirs. */
static const char *walk_bare(struct walk *walk, const char *start, const char *end)
{
    uint32_t child = PLACE_NONE;

    walk->starts[walk->run_size++] = start;
    for (unsigned i = 0; i < walk->run_size; i++) {
        uint32_t found =
            paths_key(walk->paths, walk->run[i], walk->starts[i], (size_t)(end - walk->starts[i]));

        if (found != PLACE_NONE && child != PLACE_NONE && found != child)
            return "collides with a path whose quotes cut the same keys in another way";
        if (found != PLACE_NONE)
            child = found;
    }
    if (child == PLACE_NONE)
        child = place_new(walk->paths);
    for (unsigned i = 0; i < walk->run_size; i++) {
        struct span key = span_make(walk->starts[i], (size_t)(end - walk->starts[i]));

        if (paths_key(walk->paths, walk->run[i], key.data, key.size) == PLACE_NONE)
            edge_add(walk->paths, walk->run[i], key, child);
    }
    walk->run[walk->run_size] = child;
    return NULL;
}

static void walk_quoted(struct walk *walk, struct span key)
{
    uint32_t from = walk->run[walk->run_size];
    uint32_t child = paths_key(walk->paths, from, key.data, key.size);

    if (child == PLACE_NONE) {
        child = place_new(walk->paths);
        edge_add(walk->paths, from, key, child);
    }
    walk_restart(walk, child);
}

/* "[3]" or "[*]"; moves the cursor behind it. */
static const char *walk_element(struct walk *walk, const char **cursor, bool all_allowed)
{
    const char *at = *cursor + 1;
    int32_t index = 0;
    unsigned digits = 0;

    if (*at == '*') {
        if (!all_allowed)
            return "has [*], which stands in `each` only";
        index = ALL_ELEMENTS;
        at++;
    } else {
        for (; *at >= '0' && *at <= '9'; at++, digits++)
            if (digits < INDEX_DIGITS_MAX)
                index = index * 10 + (*at - '0');
        if (digits == 0 || digits > INDEX_DIGITS_MAX)
            return "has an index that is no number";
    }
    if (*at != ']')
        return "lacks a ]";

    uint32_t from = walk->run[walk->run_size];
    uint32_t child = paths_element(walk->paths, from, index);
    if (child == PLACE_NONE) {
        child = place_new(walk->paths);
        struct place *place = &walk->paths->places[from];
        place->elements = memory_reserve(place->elements, &place->element_capacity, place->element_count + 1,
                                         sizeof *place->elements);
        place->elements[place->element_count++] = (struct element){.index = index, .child = child};
    }
    walk_restart(walk, child);
    *cursor = at + 1;
    return NULL;
}

static const char *walk_key(struct walk *walk, const char **cursor)
{
    const char *start = *cursor, *end = start;
    char quote = *start == '"' || *start == '\'' ? *start : '\0';

    if (walk->keys++ == PATH_KEYS_MAX)
        return "has more than 16 keys";
    if (quote) {
        end = strchr(++start, quote);
        if (!end)
            return "lacks a closing quote";
        walk_quoted(walk, span_make(start, (size_t)(end - start)));
        *cursor = end + 1;
        return NULL;
    }
    end += strcspn(start, ".[]\"'");
    if (end == start)
        return "has an empty key";
    *cursor = end;
    return walk_bare(walk, start, end);
}

const char *paths_add(struct paths *paths, uint32_t from, const char *path, bool all_allowed,
                      uint32_t *ret_place)
{
    struct walk walk = {.paths = paths, .run = {from}};
    const char *cursor = path, *problem = NULL;

    if (*cursor == '\0')
        return "is empty";
    if (*cursor != '[')
        problem = walk_key(&walk, &cursor);
    while (!problem && *cursor) {
        if (*cursor == '[') {
            problem = walk_element(&walk, &cursor, all_allowed);
        } else if (*cursor == '.') {
            cursor++;
            problem = walk_key(&walk, &cursor);
        } else {
            problem = "has a quote or bracket in the middle of a key";
        }
    }
    if (!problem)
        *ret_place = walk.run[walk.run_size];
    return problem;
}

void paths_init(struct paths *paths)
{
    *paths = (struct paths){0};
    uint32_t root = place_new(paths);
    assert(root == PLACE_ROOT);
}

void paths_free(struct paths *paths)
{
    for (size_t i = 0; i < paths->place_count; i++) {
        for (size_t e = 0; e < paths->places[i].edge_count; e++)
            free(paths->places[i].edges[e].key);
        free(paths->places[i].edges);
        free(paths->places[i].elements);
    }
    free(paths->places);
    free(paths->wishes);
    *paths = (struct paths){0};
}

void paths_wish(struct paths *paths, uint32_t place, unsigned target)
{
    assert(place < paths->place_count);
    paths->wishes =
        memory_reserve(paths->wishes, &paths->wish_capacity, paths->wish_count + 1, sizeof *paths->wishes);
    paths->wishes[paths->wish_count] = (struct wish){.target = target, .next = paths->places[place].wish};
    paths->places[place].wish = (uint32_t)paths->wish_count++;
    if (target >= paths->target_count)
        paths->target_count = target + 1;
}

bool paths_is_array(const struct paths *paths, uint32_t place)
{
    return paths->places[place].element_count > 0;
}

bool paths_takes_all(const struct paths *paths, uint32_t place)
{
    return paths_is_array(paths, place) && paths->places[place].elements[0].index == ALL_ELEMENTS;
}
