/* YAML to nodes, once at load and once for each --set. libyaml's events are read by recursive descent; its
 * own document tree was dropped because it forgets where keys stood. Anchors are refused rather than
 * resolved: with aliases a file of a few lines can unfold to gigabytes, and `include:` covers what people
 * use them for. */
#include "base/config.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum {
    DEPTH_MAX = 32,
    INCLUDE_DEPTH_MAX = 8,
    MAP_KEYS_MAX = 4096, /* keys are compared pairwise */
    FILE_BYTES_MAX = 4 * 1024 * 1024,
    PATH_BYTES_MAX = 4096,
};

struct config {
    struct node *root;
    char **files; /* names that nodes point to */
    size_t file_count, file_capacity;
};

/* One text being read. */
struct reader {
    const char *file;
    yaml_parser_t parser;
    struct error *error;
};

static void node_free(struct node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++) {
        node_free(node->items[i]);
        if (node->keys)
            free(node->keys[i]);
    }
    free(node->items);
    free(node->keys);
    free(node->text);
    free(node);
}

static struct node *node_new(enum node_type type, const char *file, yaml_mark_t mark)
{
    struct node *node = memory_new(sizeof *node);

    *node =
        (struct node){.type = type, .file = file, .line = (int)mark.line + 1, .column = (int)mark.column + 1};
    return node;
}

/* Room for one more element is made by doubling at each power of two, so nodes need no capacity member. */
static void *grow_at_powers(void *pointers, size_t count)
{
    if ((count & (count - 1)) != 0)
        return pointers;
    return memory_grow(pointers, (count ? 2 * count : 1) * sizeof(void *));
}

static void give_item(struct node *list, struct node *item)
{
    assert(list->type == NODE_LIST);
    list->items = grow_at_powers(list->items, list->count);
    list->items[list->count++] = item;
    item->parent = list;
}

static void give_value(struct node *map, char *key, struct node *value)
{
    assert(map->type == NODE_MAP);
    map->items = grow_at_powers(map->items, map->count);
    map->keys = grow_at_powers(map->keys, map->count);
    map->keys[map->count] = key;
    map->items[map->count++] = value;
    value->parent = map;
}

/* The place in `items` of a key, or the map's count. */
static size_t key_index(const struct node *map, const char *key)
{
    size_t i = 0;

    assert(map->type == NODE_MAP);
    while (i < map->count && strcmp(map->keys[i], key) != 0)
        i++;
    return i;
}

static struct node *take_value(struct node *map, const char *key)
{
    size_t i = key_index(map, key);

    if (i == map->count)
        return NULL;
    assert(map->items && map->keys);
    struct node *value = map->items[i];
    free(map->keys[i]);
    map->count--;
    memmove(map->keys + i, map->keys + i + 1, (map->count - i) * sizeof(void *));
    memmove(map->items + i, map->items + i + 1, (map->count - i) * sizeof(void *));
    return value;
}

const struct node *node_find(const struct node *map, const char *key)
{
    size_t i = key_index(map, key);

    return i < map->count ? map->items[i] : NULL;
}

bool node_is_null(const struct node *node)
{
    static const char *const names[] = {"", "~", "null", "Null", "NULL"};

    if (node->type != NODE_SCALAR || node->quoted)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(node->text, names[i]) == 0)
            return true;
    return false;
}

enum status node_fail(const struct node *node, struct error *ret_error, const char *format, ...)
{
    char reason[sizeof ret_error->text];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return fail(ret_error, "%s:%d:%d: %s", node->file, node->line, node->column, reason);
}

char *node_path(const struct node *node, const char *relative)
{
    const char *slash = strrchr(node->file, '/');
    size_t folder = slash ? (size_t)(slash - node->file) + 1 : 0, size = strlen(relative);

    if (relative[0] == '/' || folder == 0)
        return memory_text(relative, size);
    char *path = memory_grow(NULL, folder + size + 1);
    memcpy(path, node->file, folder);
    memcpy(path + folder, relative, size + 1);
    return path;
}

static enum status fail_at(struct reader *reader, yaml_mark_t mark, const char *reason)
{
    return fail(reader->error, "%s:%zu:%zu: %s", reader->file, mark.line + 1, mark.column + 1, reason);
}

static enum status next_event(struct reader *reader, yaml_event_t *ret_event)
{
    const yaml_parser_t *parser = &reader->parser;

    if (yaml_parser_parse(&reader->parser, ret_event))
        return STATUS_OK;
    if (parser->error == YAML_READER_ERROR)
        return fail(reader->error, "%s: byte %zu: %s", reader->file, parser->problem_offset, parser->problem);
    return fail_at(reader, parser->problem_mark, parser->problem ? parser->problem : "is not YAML");
}

static enum status read_scalar(struct reader *reader, const yaml_event_t *event, struct node **ret_node)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;

    if (memchr(text, '\0', size))
        return fail_at(reader, event->start_mark, "a text must not contain a null byte");
    *ret_node = node_new(NODE_SCALAR, reader->file, event->start_mark);
    (*ret_node)->text = memory_text(text, size);
    (*ret_node)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return STATUS_OK;
}

static enum status read_node(struct reader *reader, const yaml_event_t *event, int depth,
                             struct node **ret_node);

static enum status read_list(struct reader *reader, struct node *list, int depth)
{
    yaml_event_t event;
    struct node *item;

    for (;;) {
        if (next_event(reader, &event) != STATUS_OK)
            return STATUS_FATAL;
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        enum status status = end ? STATUS_OK : read_node(reader, &event, depth + 1, &item);
        yaml_event_delete(&event);
        if (end || status != STATUS_OK)
            return status;
        give_item(list, item);
    }
}

static enum status check_key(const struct node *map, const struct node *key, struct error *ret_error)
{
    if (key->type != NODE_SCALAR)
        return node_fail(key, ret_error, "a key must be a text");
    if (map->count >= MAP_KEYS_MAX)
        return node_fail(key, ret_error, "more than %d keys in one map", MAP_KEYS_MAX);
    const struct node *before = node_find(map, key->text);
    if (before)
        return node_fail(key, ret_error, "key '%s' was given at line %d already", key->text,
                         before->key_line);
    return STATUS_OK;
}

/* Reads the value of a key whose event is at hand, and gives both to the map. */
static enum status read_value(struct reader *reader, const yaml_event_t *key_event, struct node *map,
                              int depth)
{
    struct node *key, *value;
    yaml_event_t event;
    enum status status = read_node(reader, key_event, depth + 1, &key);

    if (status != STATUS_OK)
        return status;
    status = check_key(map, key, reader->error);
    if (status == STATUS_OK)
        status = next_event(reader, &event);
    if (status == STATUS_OK) {
        status = read_node(reader, &event, depth + 1, &value);
        yaml_event_delete(&event);
    }
    if (status == STATUS_OK) {
        value->key_line = key->line;
        value->key_column = key->column;
        give_value(map, key->text, value);
        key->text = NULL;
    }
    node_free(key);
    return status;
}

static enum status read_map(struct reader *reader, struct node *map, int depth)
{
    yaml_event_t event;

    for (;;) {
        if (next_event(reader, &event) != STATUS_OK)
            return STATUS_FATAL;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        enum status status = end ? STATUS_OK : read_value(reader, &event, map, depth);
        yaml_event_delete(&event);
        if (end || status != STATUS_OK)
            return status;
    }
}

static bool has_anchor(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return true;
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL;
    default:
        return false;
    }
}

static enum status read_node(struct reader *reader, const yaml_event_t *event, int depth,
                             struct node **ret_node)
{
    bool is_map = event->type == YAML_MAPPING_START_EVENT;

    if (has_anchor(event))
        return fail_at(reader, event->start_mark, "anchors and aliases are not supported; use include:");
    if (depth > DEPTH_MAX)
        return fail_at(reader, event->start_mark, "nested too deep");
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(reader, event, ret_node);
    assert(is_map || event->type == YAML_SEQUENCE_START_EVENT);
    struct node *node = node_new(is_map ? NODE_MAP : NODE_LIST, reader->file, event->start_mark);
    enum status status = is_map ? read_map(reader, node, depth) : read_list(reader, node, depth);
    if (status != STATUS_OK) {
        node_free(node);
        return status;
    }
    *ret_node = node;
    return STATUS_OK;
}

/* Reads the whole stream: at most one document, *ret_node NULL when there is none. */
static enum status read_stream(struct reader *reader, struct node **ret_node)
{
    struct node *node = NULL;
    enum status status = STATUS_OK;
    bool end = false;

    while (status == STATUS_OK && !end) {
        yaml_event_t event;

        status = next_event(reader, &event);
        if (status != STATUS_OK)
            break;
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (node)
                status =
                    fail_at(reader, event.start_mark, "a file holds one document, here a second one begins");
            break;
        case YAML_STREAM_END_EVENT:
            end = true;
            break;
        default:
            status = read_node(reader, &event, 0, &node);
        }
        yaml_event_delete(&event);
    }
    if (status == STATUS_OK)
        *ret_node = node;
    else
        node_free(node);
    return status;
}

static const char *keep_name(struct config *config, const char *name)
{
    config->files =
        memory_reserve(config->files, &config->file_capacity, config->file_count + 1, sizeof *config->files);
    config->files[config->file_count] = memory_text(name, strlen(name));
    return config->files[config->file_count++];
}

static enum status parse_text(struct config *config, const char *text, size_t size, const char *name,
                              struct node **ret_node, struct error *ret_error)
{
    struct reader reader = {.file = keep_name(config, name), .error = ret_error};
    enum status status;

    if (!yaml_parser_initialize(&reader.parser))
        return fail(ret_error, "%s: out of memory", name);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size);
    status = read_stream(&reader, ret_node);
    yaml_parser_delete(&reader.parser);
    return status;
}

static enum status merge_maps(struct node *into, struct node *from, struct error *ret_error);

static enum status merge_value(struct node *into, struct node *value, const char *key,
                               struct error *ret_error)
{
    size_t i = key_index(into, key);
    struct node *before = i < into->count ? into->items[i] : NULL;

    if (!before) {
        give_value(into, memory_text(key, strlen(key)), value);
        return STATUS_OK;
    }
    if (node_is_null(value)) {
        node_free(value);
        return STATUS_OK;
    }
    if (node_is_null(before)) {
        node_free(before);
        into->items[i] = value;
        value->parent = into;
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (before->type == NODE_LIST && value->type == NODE_LIST) {
        for (size_t item = 0; item < value->count; item++)
            give_item(before, value->items[item]);
        value->count = 0;
    } else if (before->type == NODE_MAP && value->type == NODE_MAP) {
        status = merge_maps(before, value, ret_error);
    } else {
        status = node_fail(value, ret_error, "'%s' was given at %s:%d:%d already", key, before->file,
                           before->line, before->column);
    }
    node_free(value);
    return status;
}

/* Moves the values, leaving NULL in their places; on an error `from` keeps the rest. */
static enum status merge_maps(struct node *into, struct node *from, struct error *ret_error)
{
    enum status status = STATUS_OK;

    for (size_t i = 0; status == STATUS_OK && i < from->count; i++) {
        status = merge_value(into, from->items[i], from->keys[i], ret_error);
        from->items[i] = NULL;
    }
    return status;
}

static enum status read_whole(const char *path, struct buffer *text, const char **ret_reason)
{
    FILE *file = fopen(path, "re");

    if (!file) {
        *ret_reason = strerror(errno);
        return STATUS_FATAL;
    }
    char *room = buffer_room(text, FILE_BYTES_MAX + 1);
    assert(room);
    errno = 0;
    text->size = fread(room, 1, FILE_BYTES_MAX + 1, file);
    if (ferror(file))
        *ret_reason = strerror(errno);
    else if (text->size > FILE_BYTES_MAX)
        *ret_reason = "larger than 4 MiB";
    else
        *ret_reason = NULL;
    fclose(file);
    return *ret_reason ? STATUS_FATAL : STATUS_OK;
}

static enum status load_map(struct config *config, struct span text, const char *name, int depth,
                            struct node **ret_map, struct error *ret_error);

/* Loads one included file into the map; `named_by` is the pattern's node. */
static enum status include_file(struct config *config, struct node *map, const struct node *named_by,
                                const char *path, int depth, struct error *ret_error)
{
    struct buffer text;
    struct node *included = NULL;
    const char *reason;
    enum status status;

    buffer_init(&text, FILE_BYTES_MAX + 1);
    if (depth >= INCLUDE_DEPTH_MAX)
        status = node_fail(named_by, ret_error, "include is nested deeper than %d files", INCLUDE_DEPTH_MAX);
    else if (read_whole(path, &text, &reason) != STATUS_OK)
        status = node_fail(named_by, ret_error, "cannot read %s: %s", path, reason);
    else
        status = load_map(config, buffer_span(&text), path, depth + 1, &included, ret_error);
    buffer_free(&text);
    if (status != STATUS_OK)
        return status;
    status = merge_maps(map, included, ret_error);
    node_free(included);
    return status;
}

static enum status include_pattern(struct config *config, struct node *map, const struct node *pattern,
                                   int depth, struct error *ret_error)
{
    glob_t found;
    enum status status = STATUS_OK;

    if (pattern->type != NODE_SCALAR || node_is_null(pattern))
        return node_fail(pattern, ret_error, "include: expected a path or a list of paths");
    char *path = node_path(pattern, pattern->text);
    int answer = glob(path, 0, NULL, &found);
    if (answer == 0) {
        for (size_t i = 0; i < found.gl_pathc && status == STATUS_OK; i++)
            status = include_file(config, map, pattern, found.gl_pathv[i], depth, ret_error);
        globfree(&found);
    } else if (answer != GLOB_NOMATCH || !strpbrk(path, "*?[")) {
        status = node_fail(pattern, ret_error, "include: no file %s", path);
    }
    free(path);
    return status;
}

static enum status include_all(struct config *config, struct node *map, int depth, struct error *ret_error)
{
    struct node *include = take_value(map, "include");
    enum status status = STATUS_OK;

    if (!include)
        return STATUS_OK;
    if (include->type == NODE_LIST) {
        for (size_t i = 0; i < include->count && status == STATUS_OK; i++)
            status = include_pattern(config, map, include->items[i], depth, ret_error);
    } else if (!node_is_null(include)) {
        status = include_pattern(config, map, include, depth, ret_error);
    }
    node_free(include);
    return status;
}

/* Text to a map with its includes merged in. */
static enum status load_map(struct config *config, struct span text, const char *name, int depth,
                            struct node **ret_map, struct error *ret_error)
{
    struct node *map = NULL;
    enum status status = parse_text(config, text.data, text.size, name, &map, ret_error);

    if (status != STATUS_OK)
        return status;
    if (!map || node_is_null(map)) {
        node_free(map);
        map = node_new(NODE_MAP, config->files[config->file_count - 1], (yaml_mark_t){0});
    }
    if (map->type != NODE_MAP)
        status = node_fail(map, ret_error, "a configuration is a map of keys and values");
    else
        status = include_all(config, map, depth, ret_error);
    if (status != STATUS_OK) {
        node_free(map);
        return status;
    }
    *ret_map = map;
    return STATUS_OK;
}

enum status config_load(const char *path, struct config **ret_config, struct error *ret_error)
{
    struct buffer text;
    const char *reason;
    enum status status;

    buffer_init(&text, FILE_BYTES_MAX + 1);
    if (read_whole(path, &text, &reason) != STATUS_OK) {
        status = fail(ret_error, "%s: cannot read: %s", path, reason);
    } else {
        struct config *config = memory_new(sizeof *config);

        status = load_map(config, buffer_span(&text), path, 0, &config->root, ret_error);
        if (status == STATUS_OK)
            *ret_config = config;
        else
            config_free(config);
    }
    buffer_free(&text);
    return status;
}

enum status config_parse(const char *text, const char *name, struct config **ret_config,
                         struct error *ret_error)
{
    struct config *config;
    enum status status;

    if (strlen(text) > FILE_BYTES_MAX)
        return fail(ret_error, "%s: larger than 4 MiB", name);
    config = memory_new(sizeof *config);
    status = load_map(config, span_of(text), name, 0, &config->root, ret_error);
    if (status == STATUS_OK)
        *ret_config = config;
    else
        config_free(config);
    return status;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    node_free(config->root);
    for (size_t i = 0; i < config->file_count; i++)
        free(config->files[i]);
    free(config->files);
    free(config);
}

const struct node *config_root(const struct config *config)
{
    assert(config->root && config->root->type == NODE_MAP);
    return config->root;
}

/* How many bytes of the path the name covers as a whole step, 0 when it is another one. */
static size_t step_size(const char *path, const char *name)
{
    size_t size = strlen(name);

    return strncmp(path, name, size) == 0 && (path[size] == '.' || path[size] == '\0') ? size : 0;
}

static size_t step_size_in_list(const char *path, const struct node *item, size_t index)
{
    const struct node *name = item->type == NODE_MAP ? node_find(item, "name") : NULL;
    char number[24];
    size_t size = 0;

    if (name && name->type == NODE_SCALAR)
        size = step_size(path, name->text);
    snprintf(number, sizeof number, "%zu", index);
    return size ? size : step_size(path, number);
}

/* The place of the key or element that a --set path begins with, and the size of that step; `count` when
 * there is none. The longest wins, since keys and names may contain dots themselves (security.protocol). */
static size_t step_find(const struct node *node, const char *path, size_t *ret_size)
{
    size_t best = node->count, best_size = 0;

    for (size_t i = 0; i < node->count; i++) {
        size_t size = node->type == NODE_MAP ? step_size(path, node->keys[i])
                                             : step_size_in_list(path, node->items[i], i);
        if (size > best_size) {
            best = i;
            best_size = size;
        }
    }
    *ret_size = best_size;
    return best;
}

static void give_set_value(struct node *map, const char *key, size_t key_size, struct node *value)
{
    value->key_line = value->key_column = 1;
    give_value(map, memory_text(key, key_size), value);
}

static void replace_value(struct node *node, size_t index, struct node *value)
{
    value->key_line = node->items[index]->key_line;
    value->key_column = node->items[index]->key_column;
    value->parent = node;
    node_free(node->items[index]);
    node->items[index] = value;
}

/* Walks down the path, making maps where nothing is, and takes the value over if the answer is STATUS_OK. */
static enum status place_value(struct node *node, const char *path, struct node *value,
                               struct error *ret_error)
{
    for (;;) {
        size_t size, index = step_find(node, path, &size);
        bool found = index < node->count;

        if (!found)
            size = strcspn(path, ".");
        bool last = path[size] == '\0';
        if (!found && node->type == NODE_LIST)
            return fail(ret_error, "%s: no list element is named '%.*s'", value->file, (int)size, path);
        if (size == 0)
            return fail(ret_error, "%s: a key is missing", value->file);
        if (found && last) {
            replace_value(node, index, value);
            return STATUS_OK;
        }
        if (!found && last) {
            give_set_value(node, path, size, value);
            return STATUS_OK;
        }
        if (!found)
            give_set_value(node, path, size, node_new(NODE_MAP, value->file, (yaml_mark_t){0}));
        else if (node_is_null(node->items[index]))
            replace_value(node, index, node_new(NODE_MAP, value->file, (yaml_mark_t){0}));
        node = node->items[index];
        if (node->type == NODE_SCALAR)
            return fail(ret_error, "%s: '%.*s' is one text, it has no keys", value->file, (int)size, path);
        path += size + 1;
    }
}

enum status config_set(struct config *config, const char *assignment, struct error *ret_error)
{
    const char *equals = strchr(assignment, '=');
    struct node *value = NULL;
    struct buffer name;
    enum status status;

    if (!equals || equals == assignment)
        return fail(ret_error, "--set %s: expected path.key=value", assignment);
    buffer_init(&name, PATH_BYTES_MAX);
    buffer_print(&name, "--set %.*s", (int)(equals - assignment), assignment);
    if (name.full) {
        buffer_free(&name);
        return fail(ret_error, "--set: a path longer than %d bytes", PATH_BYTES_MAX);
    }
    buffer_put_char(&name, '\0');
    status = parse_text(config, equals + 1, strlen(equals + 1), name.data, &value, ret_error);
    if (status == STATUS_OK) {
        if (!value) {
            value = node_new(NODE_SCALAR, config->files[config->file_count - 1], (yaml_mark_t){0});
            value->text = memory_text("", 0);
        }
        status = place_value(config->root, name.data + strlen("--set "), value, ret_error);
        if (status != STATUS_OK)
            node_free(value);
    }
    buffer_free(&name);
    return status;
}
