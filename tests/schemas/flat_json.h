/* Parses one JSON object with yajl into a flat list of (path, value) in order: {"a":{"b":[1]}} gives
 * a = {, a.b = [, a.b.0 = 1. A key that comes twice in one object fails the test, and so
 * does anything yajl refuses. */
#pragma once
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <yajl/yajl_parse.h>

enum { FLAT_MAX = 1024, FLAT_DEPTH = 16, FLAT_PATH = 160, FLAT_VALUE = 600 };

struct flat_entry {
    char path[FLAT_PATH], value[FLAT_VALUE]; /* texts in quotes, unescaped */
};

struct flat {
    struct flat_entry *entries;
    size_t count;
    char twice[FLAT_PATH]; /* a path that came more than once */
    unsigned depth;
    char keys[FLAT_DEPTH][FLAT_PATH];
    int element[FLAT_DEPTH]; /* next index of a list, -1 in an object */
};

static inline const char *flat_find(const struct flat *flat, const char *path)
{
    for (size_t i = 0; i < flat->count; i++)
        if (strcmp(flat->entries[i].path, path) == 0)
            return flat->entries[i].value;
    return NULL;
}

static inline int flat_add(struct flat *flat, const char *format, int size, const char *text)
{
    char path[FLAT_PATH] = "";

    if (flat->depth > 0 && flat->element[flat->depth] >= 0)
        snprintf(flat->keys[flat->depth], FLAT_PATH, "%d", flat->element[flat->depth]++);
    for (unsigned i = 1; i <= flat->depth; i++) {
        size_t used = strlen(path);

        snprintf(path + used, sizeof path - used, "%s%s", i > 1 ? "." : "", flat->keys[i]);
    }
    if (flat_find(flat, path))
        memcpy(flat->twice, path, sizeof path);
    assert_true(flat->count < FLAT_MAX);
    snprintf(flat->entries[flat->count].path, FLAT_PATH, "%s", path);
    snprintf(flat->entries[flat->count].value, FLAT_VALUE, format, size, text);
    flat->count++;
    return 1;
}

static inline int flat_on_text(void *flat, const unsigned char *text, size_t size)
{
    return flat_add(flat, "\"%.*s\"", (int)size, (const char *)text);
}

static inline int flat_on_number(void *flat, const char *text, size_t size)
{
    return flat_add(flat, "%.*s", (int)size, text);
}

static inline int flat_on_bool(void *flat, int value)
{
    return flat_add(flat, "%.*s", 5, value ? "true" : "false");
}

static inline int flat_open(struct flat *flat, const char *bracket, int element)
{
    if (flat->depth > 0)
        flat_add(flat, "%.*s", 1, bracket);
    flat->depth++;
    assert_true(flat->depth < FLAT_DEPTH);
    flat->element[flat->depth] = element;
    return 1;
}

static inline int flat_on_map(void *flat)
{
    return flat_open(flat, "{", -1);
}

static inline int flat_on_list(void *flat)
{
    return flat_open(flat, "[", 0);
}

static inline int flat_on_key(void *context, const unsigned char *key, size_t size)
{
    struct flat *flat = context;

    snprintf(flat->keys[flat->depth], FLAT_PATH, "%.*s", (int)size, (const char *)key);
    return 1;
}

static inline int flat_on_close(void *context)
{
    ((struct flat *)context)->depth--;
    return 1;
}

/* Null is not handled: it must not occur, and yajl then stops with "client cancelled". */
static inline int flat_on_null(void *context)
{
    return 0;
}

static inline void flat_read(struct span text, struct flat *ret_flat)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = flat_on_null,
        .yajl_boolean = flat_on_bool,
        .yajl_number = flat_on_number,
        .yajl_string = flat_on_text,
        .yajl_start_map = flat_on_map,
        .yajl_map_key = flat_on_key,
        .yajl_end_map = flat_on_close,
        .yajl_start_array = flat_on_list,
        .yajl_end_array = flat_on_close,
    };
    yajl_handle handle = yajl_alloc(&callbacks, NULL, ret_flat);

    *ret_flat = (struct flat){.entries = calloc(FLAT_MAX, sizeof *ret_flat->entries)};
    if (yajl_parse(handle, (const unsigned char *)text.data, text.size) != yajl_status_ok ||
        yajl_complete_parse(handle) != yajl_status_ok)
        fail_msg("not JSON: %.*s", (int)text.size, text.data);
    assert_int_equal(ret_flat->depth, 0);
    yajl_free(handle);
}

static inline void flat_parse(struct span text, struct flat *ret_flat)
{
    flat_read(text, ret_flat);
    if (ret_flat->twice[0])
        fail_msg("key %s comes twice", ret_flat->twice);
}

static inline void flat_free(struct flat *flat)
{
    free(flat->entries);
}

struct flat_expected {
    const char *path, *value;
};

/* The values that are no brackets, all of them and in this order; the table ends with a NULL path. */
static inline void flat_assert(const struct flat *flat, const struct flat_expected *expected)
{
    for (size_t i = 0; i < flat->count; i++) {
        if (strchr("{[", flat->entries[i].value[0]))
            continue;
        if (!expected->path)
            fail_msg("not expected: %s = %s", flat->entries[i].path, flat->entries[i].value);
        assert_string_equal(flat->entries[i].path, expected->path);
        assert_string_equal(flat->entries[i].value, expected->value);
        expected++;
    }
    if (expected->path)
        fail_msg("missing: %s", expected->path);
}
