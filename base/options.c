/* Option rows at work: once at load for each table, and once a trial when a tuner assigns. A default goes
 * through the same parser as a value from a file, so it can be printed as written and cannot have a form
 * that users may not type. Tried and dropped: a callback per row for checking, since a type and a range
 * say nearly all of it in data. */
#include "base/options.h"

#include "base/hash.h"
#include "base/json_writer.h"
#include "base/memory.h"
#include "base/timestamp.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { NAME_BYTES_MAX = 64, TRAIL_BYTES_MAX = 256, SECRET_BYTES_MAX = 64 * 1024 };

// clang-format off
static const struct {
    const char *name;  /* in the reference page */
    size_t size;       /* of the member */
    const char *wrong; /* what is said of a text that is none */
} types[] = {
    [OPTION_BOOL]     = {"bool",          sizeof(bool),                "is not true or false"},
    [OPTION_INTEGER]  = {"integer",       sizeof(int64_t),             "is not a whole number"},
    [OPTION_NUMBER]   = {"number",        sizeof(double),              "is not a number"},
    [OPTION_DURATION] = {"duration",      sizeof(int64_t),             "is not a duration (like 500ms, 30s, 5m, 1h, 1d)"},
    [OPTION_SIZE]     = {"size",          sizeof(int64_t),             "is not a size (like 512, 64KiB, 10MiB, 1GiB)"},
    [OPTION_TEXT]     = {"text",          sizeof(char *),              NULL},
    [OPTION_SECRET]   = {"secret",        sizeof(char *),              NULL},
    [OPTION_PATH]     = {"path",          sizeof(char *),              NULL},
    [OPTION_CHOICE]   = {"choice",        sizeof(int),                 NULL},
    [OPTION_TEXTS]    = {"list of texts", sizeof(struct option_texts), NULL},
    [OPTION_PAIRS]    = {"map of texts",  sizeof(struct option_pairs), NULL},
    [OPTION_NODE]     = {"structure",     sizeof(void *),              NULL},
};
// clang-format on

/* One value on its way into one row. */
struct reading {
    const struct option *row;
    void *settings;
    bool from_file; /* else a default or an assignment, whose nodes tell no place */
    struct error *error;
};

/* A bool, integer, number, duration or size as read. */
struct scalar {
    int64_t integer;
    double number; /* in the unit of the row's range */
};

static void *member_of(const struct option *row, void *settings)
{
    return (char *)settings + row->offset;
}

/* "detectors.slow.threshold": keys, and of list elements the name or the index. */
static void put_trail(const struct node *node, struct buffer *out)
{
    const struct node *parent = node->parent;

    if (!parent)
        return;
    size_t index = 0;
    while (parent->items[index] != node)
        index++;
    put_trail(parent, out);
    if (out->size > 0)
        buffer_put_char(out, '.');
    if (parent->type == NODE_MAP) {
        buffer_put_text(out, parent->keys[index]);
        return;
    }
    const struct node *name = node->type == NODE_MAP ? node_find(node, "name") : NULL;
    if (name && name->type == NODE_SCALAR)
        buffer_put_text(out, name->text);
    else
        buffer_print(out, "%zu", index);
}

/* Puts the value's place and its key before the reason. */
__attribute__((format(printf, 3, 4))) static enum status value_fail(const struct reading *reading,
                                                                    const struct node *value,
                                                                    const char *format, ...)
{
    char reason[sizeof reading->error->text];
    struct buffer trail;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (!reading->from_file)
        return fail(reading->error, "%s: %s", reading->row->name, reason);
    buffer_init(&trail, TRAIL_BYTES_MAX);
    put_trail(value, &trail);
    node_fail(value, reading->error, "%.*s: %s", (int)trail.size, trail.data, reason);
    buffer_free(&trail);
    return STATUS_FATAL;
}

static bool parse_bool(const char *text, int64_t *ret_value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

    for (int i = 0; i < 6; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret_value = i % 2;
            return true;
        }
    }
    return false;
}

/* Digits with an optional sign; what follows them is *ret_rest. */
static bool parse_integer(const char *text, int64_t *ret_value, const char **ret_rest)
{
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    char *rest;

    if (digits[0] < '0' || digits[0] > '9')
        return false;
    errno = 0;
    long long value = strtoll(text, &rest, 10);
    if (errno == ERANGE)
        return false;
    *ret_value = value;
    *ret_rest = rest;
    return true;
}

/* strtod also takes hexadecimal, inf and nan, which nobody means here. */
static bool parse_number(const char *text, double *ret_value)
{
    char *rest;

    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0')
        return false;
    double value = strtod(text, &rest);
    if (*rest != '\0' || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

static bool parse_size(const char *text, int64_t *ret_value)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    int64_t value;
    const char *unit;

    if (!parse_integer(text, &value, &unit) || value < 0)
        return false;
    for (int i = 0; i < 5; i++)
        if (strcmp(unit, units[i]) == 0)
            return !__builtin_mul_overflow(value, (int64_t)1 << (10 * i), ret_value);
    return false;
}

static bool parse_scalar(const struct option *row, const struct node *value, struct scalar *ret_scalar)
{
    struct scalar scalar = {0};
    const char *rest = "";
    bool good;

    switch (row->type) {
    case OPTION_BOOL:
        good = !value->quoted && parse_bool(value->text, &scalar.integer);
        break;
    case OPTION_INTEGER:
        good = !value->quoted && parse_integer(value->text, &scalar.integer, &rest) && rest[0] == '\0';
        scalar.number = (double)scalar.integer;
        break;
    case OPTION_NUMBER:
        good = !value->quoted && parse_number(value->text, &scalar.number);
        break;
    case OPTION_DURATION:
        good = duration_parse(span_of(value->text), &scalar.integer);
        scalar.number = (double)scalar.integer / 1e6;
        break;
    default:
        assert(row->type == OPTION_SIZE);
        good = parse_size(value->text, &scalar.integer);
        scalar.number = (double)scalar.integer;
    }
    if (good)
        *ret_scalar = scalar;
    return good;
}

static bool has_range(const struct option *row)
{
    return row->min != 0 || row->max != 0;
}

static void put_bound(const struct option *row, double bound, struct buffer *out)
{
    char text[24];

    if (row->type == OPTION_DURATION) {
        duration_format((int64_t)llround(bound * 1e6), text);
        buffer_put_text(out, text);
    } else {
        json_put_number(out, bound);
    }
}

/* "1..8192", or with an infinite bound "at least 1", "at most 0". */
static void put_range(const struct option *row, struct buffer *out)
{
    if (isfinite(row->min) && isfinite(row->max)) {
        put_bound(row, row->min, out);
        buffer_put_text(out, "..");
        put_bound(row, row->max, out);
    } else if (isfinite(row->min)) {
        buffer_put_text(out, "at least ");
        put_bound(row, row->min, out);
    } else if (isfinite(row->max)) {
        buffer_put_text(out, "at most ");
        put_bound(row, row->max, out);
    }
}

static enum status check_range(const struct reading *reading, const struct node *value, double number)
{
    const struct option *row = reading->row;
    struct buffer range;

    if (!has_range(row) || (number >= row->min && number <= row->max))
        return STATUS_OK;
    buffer_init(&range, 128);
    put_range(row, &range);
    value_fail(reading, value, "%s is out of range %.*s", value->text, (int)range.size, range.data);
    buffer_free(&range);
    return STATUS_FATAL;
}

static enum status read_scalar(const struct reading *reading, const struct node *value)
{
    const struct option *row = reading->row;
    void *member = member_of(row, reading->settings);
    struct scalar scalar;

    if (value->type != NODE_SCALAR)
        return value_fail(reading, value, "expected one %s", types[row->type].name);
    if (!parse_scalar(row, value, &scalar))
        return value_fail(reading, value, "'%s' %s", value->text, types[row->type].wrong);
    if (check_range(reading, value, scalar.number) != STATUS_OK)
        return STATUS_FATAL;
    if (row->type == OPTION_BOOL)
        *(bool *)member = scalar.integer != 0;
    else if (row->type == OPTION_NUMBER)
        *(double *)member = scalar.number;
    else
        *(int64_t *)member = scalar.integer;
    return STATUS_OK;
}

static enum status read_choice(const struct reading *reading, const struct node *value)
{
    const struct option *row = reading->row;
    struct buffer list;
    int i = 0;

    assert(row->choices);
    if (value->type != NODE_SCALAR)
        return value_fail(reading, value, "expected one text");
    for (; row->choices[i]; i++) {
        if (strcmp(row->choices[i], value->text) == 0) {
            *(int *)member_of(row, reading->settings) = i;
            return STATUS_OK;
        }
    }
    const char *near = nearest_name(value->text, row->choices, (size_t)i);
    buffer_init(&list, sizeof reading->error->text);
    for (i = 0; row->choices[i]; i++)
        buffer_print(&list, "%s%s", i ? ", " : "", row->choices[i]);
    if (near)
        buffer_print(&list, "; did you mean '%s'?", near);
    value_fail(reading, value, "'%s' is not one of %.*s", value->text, (int)list.size, list.data);
    buffer_free(&list);
    return STATUS_FATAL;
}

static enum status read_secret_file(const struct reading *reading, const struct node *value, char **ret_text)
{
    char *path = node_path(value, value->text);
    char *text = memory_grow(NULL, SECRET_BYTES_MAX + 1);
    enum status status = STATUS_OK;
    size_t size = 0;
    FILE *file = fopen(path, "re");

    if (!file) {
        status = value_fail(reading, value, "cannot read %s: %s", path, strerror(errno));
    } else {
        errno = 0;
        size = fread(text, 1, SECRET_BYTES_MAX, file);
        if (ferror(file))
            status = value_fail(reading, value, "cannot read %s: %s", path, strerror(errno));
        else if (size == SECRET_BYTES_MAX || memchr(text, '\0', size))
            status = value_fail(reading, value, "%s is not a short text", path);
        fclose(file);
    }
    if (status == STATUS_OK) {
        if (size > 0 && text[size - 1] == '\n')
            size--;
        if (size > 0 && text[size - 1] == '\r')
            size--;
        *ret_text = memory_text(text, size);
    }
    explicit_bzero(text, SECRET_BYTES_MAX);
    free(text);
    free(path);
    return status;
}

/* A text, {env: NAME} or {file: PATH}. What was read is never part of an error. */
static enum status read_secret(const struct reading *reading, const struct node *value, char **ret_text)
{
    if (value->type == NODE_SCALAR) {
        const char *text = node_is_null(value) ? "" : value->text;
        *ret_text = memory_text(text, strlen(text));
        return STATUS_OK;
    }
    if (value->type != NODE_MAP || value->count != 1 || value->items[0]->type != NODE_SCALAR)
        return value_fail(reading, value, "expected a text, {env: NAME} or {file: PATH}");
    const struct node *source = value->items[0];
    if (strcmp(value->keys[0], "file") == 0)
        return read_secret_file(reading, source, ret_text);
    if (strcmp(value->keys[0], "env") != 0)
        return value_fail(reading, value, "expected {env: NAME} or {file: PATH}, not '%s'", value->keys[0]);
    const char *text = getenv(source->text);
    if (!text)
        return value_fail(reading, source, "environment variable %s is not set", source->text);
    *ret_text = memory_text(text, strlen(text));
    return STATUS_OK;
}

static enum status read_text(const struct reading *reading, const struct node *value)
{
    char **member = member_of(reading->row, reading->settings);

    if (reading->row->type == OPTION_SECRET)
        return read_secret(reading, value, member);
    if (value->type != NODE_SCALAR)
        return value_fail(reading, value, "expected one text");
    /* a path that a default or an assignment names is relative to where the program runs */
    if (reading->row->type == OPTION_PATH && reading->from_file)
        *member = node_path(value, value->text);
    else
        *member = memory_text(value->text, strlen(value->text));
    return STATUS_OK;
}

static enum status read_texts(const struct reading *reading, const struct node *value)
{
    struct option_texts *texts = member_of(reading->row, reading->settings);
    const struct node *const *items =
        value->type == NODE_LIST ? (const struct node *const *)value->items : &value;
    size_t count = value->type == NODE_LIST ? value->count : 1;

    if (value->type == NODE_MAP)
        return value_fail(reading, value, "expected a list of texts");
    for (size_t i = 0; i < count; i++)
        if (items[i]->type != NODE_SCALAR || node_is_null(items[i]))
            return value_fail(reading, items[i], "expected a text");
    *texts = (struct option_texts){.items = memory_new(count * sizeof *texts->items), .count = count};
    for (size_t i = 0; i < count; i++)
        texts->items[i] = memory_text(items[i]->text, strlen(items[i]->text));
    return STATUS_OK;
}

static enum status read_pairs(const struct reading *reading, const struct node *value)
{
    struct option_pairs *pairs = member_of(reading->row, reading->settings);

    if (value->type != NODE_MAP)
        return value_fail(reading, value, "expected a map of texts");
    pairs->items = memory_new(value->count * sizeof *pairs->items);
    for (size_t i = 0; i < value->count; i++) {
        char *text;

        if (read_secret(reading, value->items[i], &text) != STATUS_OK)
            return STATUS_FATAL;
        pairs->items[pairs->count++] =
            (struct option_pair){.key = memory_text(value->keys[i], strlen(value->keys[i])), .value = text};
    }
    return STATUS_OK;
}

/* Into a member that holds nothing yet; on failure it may hold a part, for member_free. */
static enum status read_value(const struct reading *reading, const struct node *value)
{
    switch (reading->row->type) {
    case OPTION_CHOICE:
        return read_choice(reading, value);
    case OPTION_TEXT:
    case OPTION_SECRET:
    case OPTION_PATH:
        return read_text(reading, value);
    case OPTION_TEXTS:
        return read_texts(reading, value);
    case OPTION_PAIRS:
        return read_pairs(reading, value);
    case OPTION_NODE:
        *(const struct node **)member_of(reading->row, reading->settings) = value;
        return STATUS_OK;
    default:
        return read_scalar(reading, value);
    }
}

static void secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* Frees what the member owns and leaves it zeroed. */
static void member_free(const struct option *row, void *member)
{
    const struct option_texts *texts = member;
    const struct option_pairs *pairs = member;

    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_SECRET:
    case OPTION_PATH:
        secret_free(*(char **)member);
        break;
    case OPTION_TEXTS:
        for (size_t i = 0; i < texts->count; i++)
            free(texts->items[i]);
        free(texts->items);
        break;
    case OPTION_PAIRS:
        for (size_t i = 0; i < pairs->count; i++) {
            free(pairs->items[i].key);
            secret_free(pairs->items[i].value);
        }
        free(pairs->items);
        break;
    default:
        break;
    }
    memset(member, 0, types[row->type].size);
}

/* Text that stands in no file: one scalar, or YAML for the types that need more. */
static enum status read_plain(const struct reading *reading, const char *text)
{
    enum option_type type = reading->row->type;
    struct node scalar = {.type = NODE_SCALAR, .text = (char *)text, .file = ""};
    struct config *config;
    struct buffer yaml;

    if (type == OPTION_NODE)
        return fail(reading->error, "%s: cannot be given as one value", reading->row->name);
    if (type != OPTION_PAIRS && !(type == OPTION_TEXTS && text[0] == '[') &&
        !(type == OPTION_SECRET && text[0] == '{'))
        return read_value(reading, &scalar);
    buffer_init(&yaml, strlen(text) + 16);
    buffer_print(&yaml, "value: %s", text);
    buffer_put_char(&yaml, '\0');
    enum status status = config_parse(yaml.data, reading->row->name, &config, reading->error);
    buffer_free(&yaml);
    if (status != STATUS_OK)
        return status;
    const struct node *value = node_find(config_root(config), "value");
    if (value)
        status = read_value(reading, value);
    else
        status = fail(reading->error, "%s: '%s' is not a value", reading->row->name, text);
    config_free(config);
    return status;
}

static void read_default(const struct option *row, void *settings)
{
    struct error error = {.text = ""};
    struct reading reading = {.row = row, .settings = settings, .error = &error};

    if (row->default_text) {
        enum status status = read_plain(&reading, row->default_text);
        assert(status == STATUS_OK);
    } else if (row->type == OPTION_NUMBER) {
        *(double *)member_of(row, settings) = NAN;
    }
}

static enum status read_row(const struct node *map, const struct option *row, void *settings,
                            struct error *ret_error)
{
    struct reading reading = {.row = row, .settings = settings, .from_file = true, .error = ret_error};
    const struct node *value = map ? node_find(map, row->name) : NULL;
    struct buffer trail;

    if (value && !node_is_null(value))
        return read_value(&reading, value);
    if (!row->required) {
        read_default(row, settings);
        return STATUS_OK;
    }
    if (!map)
        return fail(ret_error, "'%s' is missing", row->name);
    buffer_init(&trail, TRAIL_BYTES_MAX);
    put_trail(map, &trail);
    node_fail(map, ret_error, "%.*s%s'%s' is missing", (int)trail.size, trail.data, trail.size ? ": " : "",
              row->name);
    buffer_free(&trail);
    return STATUS_FATAL;
}

static const struct option *find_row(const struct option *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static const char *nearest_row(const char *name, const struct option_table *tables, size_t table_count)
{
    const char **names = NULL, *near;
    size_t count = 0, capacity = 0;

    for (size_t t = 0; t < table_count; t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            names = memory_reserve(names, &capacity, count + 1, sizeof *names);
            names[count++] = tables[t].rows[i].name;
        }
    }
    near = nearest_name(name, names, count);
    free(names);
    return near;
}

static enum status unknown_key(const struct node *map, size_t index, const struct option_table *tables,
                               size_t table_count, struct error *ret_error)
{
    const struct node *value = map->items[index];
    const char *key = map->keys[index], *near = nearest_row(key, tables, table_count);

    if (near)
        return fail(ret_error, "%s:%d:%d: unknown key '%s'; did you mean '%s'?", value->file, value->key_line,
                    value->key_column, key, near);
    return fail(ret_error, "%s:%d:%d: unknown key '%s'", value->file, value->key_line, value->key_column,
                key);
}

static enum status check_keys(const struct node *map, const struct option_table *tables, size_t table_count,
                              struct error *ret_error)
{
    if (map->type != NODE_MAP)
        return node_fail(map, ret_error, "expected a map of keys and values");
    for (size_t i = 0; i < map->count; i++) {
        bool known = false;

        for (size_t t = 0; t < table_count && !known; t++)
            known = find_row(tables[t].rows, tables[t].count, map->keys[i]) != NULL;
        if (!known)
            return unknown_key(map, i, tables, table_count, ret_error);
    }
    return STATUS_OK;
}

enum status options_read(const struct node *map, const struct option_table *tables, size_t table_count,
                         struct error *ret_error)
{
    enum status status = STATUS_OK;

    if (map && node_is_null(map))
        map = NULL;
    if (map)
        status = check_keys(map, tables, table_count, ret_error);
    for (size_t t = 0; t < table_count; t++)
        for (size_t i = 0; i < tables[t].count && status == STATUS_OK; i++)
            status = read_row(map, &tables[t].rows[i], tables[t].settings, ret_error);
    if (status != STATUS_OK)
        options_free(tables, table_count);
    return status;
}

void options_free(const struct option_table *tables, size_t table_count)
{
    for (size_t t = 0; t < table_count; t++)
        for (size_t i = 0; i < tables[t].count; i++)
            member_free(&tables[t].rows[i], member_of(&tables[t].rows[i], tables[t].settings));
}

enum status option_assign(const struct option *rows, size_t count, void *settings, const char *key,
                          const char *value, struct error *ret_error)
{
    const struct option *row = find_row(rows, count, key);
    struct option_table table = {.rows = rows, .count = count};

    if (!row) {
        const char *near = nearest_row(key, &table, 1);
        if (near)
            return fail(ret_error, "unknown key '%s'; did you mean '%s'?", key, near);
        return fail(ret_error, "unknown key '%s'", key);
    }
    /* read beside the old value, so that a failure leaves that in place */
    union {
        int64_t integer;
        double number;
        bool flag;
        int choice;
        char *text;
        struct option_texts texts;
        struct option_pairs pairs;
    } fresh = {.texts = {0}};
    struct option alone = *row;
    alone.offset = 0;
    struct reading reading = {.row = &alone, .settings = &fresh, .error = ret_error};
    if (read_plain(&reading, value) != STATUS_OK) {
        member_free(&alone, &fresh);
        return STATUS_FATAL;
    }
    member_free(row, member_of(row, settings));
    memcpy(member_of(row, settings), &fresh, types[row->type].size);
    return STATUS_OK;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours count one each
 * (L. Boytsov, "Indexing methods for approximate dictionary searching", 2011). */
static size_t edit_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][NAME_BYTES_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];

    assert(b_size <= NAME_BYTES_MAX);
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *oldest = before;

        before = above;
        above = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[b_size];
}

const char *nearest_name(const char *name, const char *const *names, size_t count)
{
    size_t size = strlen(name), nearest_distance = SIZE_MAX;
    const char *nearest = NULL;

    if (size > NAME_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = strlen(names[i]);

        if (other > NAME_BYTES_MAX)
            continue;
        size_t distance = edit_distance(name, size, names[i], other);
        if (distance < nearest_distance) {
            nearest = names[i];
            nearest_distance = distance;
        }
    }
    /* a third of the letters may be wrong, not all of a short name */
    return nearest_distance <= (size + 2) / 3 && nearest_distance < size ? nearest : NULL;
}

/* A cell of a Markdown table. */
static void put_cell(const char *text, struct buffer *out)
{
    for (; *text; text++) {
        if (*text == '|')
            buffer_put_char(out, '\\');
        buffer_put_char(out, *text == '\n' ? ' ' : *text);
    }
}

static void describe_row(const struct option *row, struct buffer *out)
{
    buffer_print(out, "| `%s` | ", row->name);
    if (row->type == OPTION_CHOICE) {
        for (size_t i = 0; row->choices[i]; i++)
            buffer_print(out, "%s`%s`", i ? ", " : "", row->choices[i]);
    } else {
        buffer_put_text(out, types[row->type].name);
    }
    if (row->unit)
        buffer_print(out, " (%s)", row->unit);
    buffer_put_text(out, " | ");
    if (row->required) {
        buffer_put_text(out, "required");
    } else if (row->default_text) {
        buffer_put_char(out, '`');
        put_cell(row->default_text[0] ? row->default_text : "\"\"", out);
        buffer_put_char(out, '`');
    }
    buffer_put_text(out, " | ");
    if (has_range(row))
        put_range(row, out);
    buffer_put_text(out, " | ");
    put_cell(row->help ? row->help : "", out);
    buffer_put_text(out, " |\n");
}

void options_describe(const struct option *rows, size_t count, struct buffer *out)
{
    for (size_t i = 0; i < count; i++)
        describe_row(&rows[i], out);
}

static void identify(const struct option *row, const void *value, struct id_builder *id)
{
    switch (row->type) {
    case OPTION_BOOL:
        id_add_integer(id, *(const bool *)value);
        break;
    case OPTION_CHOICE:
        id_add_text(id, span_of(row->choices[*(const int *)value]));
        break;
    case OPTION_INTEGER:
    case OPTION_DURATION:
    case OPTION_SIZE:
        id_add_integer(id, *(const int64_t *)value);
        break;
    case OPTION_NUMBER:
        id_add_text(id, span_make(value, sizeof(double)));
        break;
    case OPTION_TEXT:
    case OPTION_SECRET:
    case OPTION_PATH:
        id_add_text(id, span_of(*(char *const *)value));
        break;
    case OPTION_TEXTS:
        for (size_t i = 0; i < ((const struct option_texts *)value)->count; i++)
            id_add_text(id, span_of(((const struct option_texts *)value)->items[i]));
        break;
    case OPTION_PAIRS:
        for (size_t i = 0; i < ((const struct option_pairs *)value)->count; i++) {
            id_add_text(id, span_of(((const struct option_pairs *)value)->items[i].key));
            id_add_text(id, span_of(((const struct option_pairs *)value)->items[i].value));
        }
        break;
    case OPTION_NODE:
        break;
    }
}

void options_identify(const struct option *rows, size_t count, const void *settings, struct id_builder *id)
{
    for (size_t i = 0; i < count; i++) {
        id_add_text(id, span_of(rows[i].name));
        identify(&rows[i], (const char *)settings + rows[i].offset, id);
    }
}
