/* CEL values from and to JSON, for `weir eval` and the tests: {"int":1}. Never on the path of events. yajl's
 * callbacks rather than its tree, because the tree ends texts at a null byte and CEL's may hold some. Doubles
 * are texts ("NaN" is no JSON number), 64-bit integers are JSON integers. */
#include "base/json_writer.h"
#include "base/memory.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

enum { CASE_BYTES = 4 << 20, DEPTH_MAX = 64, BINDINGS_MAX = 256 };

/* How deep the reader is in {"expr","bindings":{name:{type:value}}}. A single binding or value starts further
 * in. */
enum level { LEVEL_START, LEVEL_CASE, LEVEL_BINDINGS, LEVEL_BINDING };

struct binding {
    char *name; /* with a null byte, in the arena */
    struct cel_value value;
};

struct reader {
    struct arena *arena;
    struct error *error;
    enum level level;
    unsigned skipping; /* depth within a value that is ignored */
    struct span key;   /* the last one */
    bool has_expr, has_value;
    struct span expr;
    struct binding bindings[BINDINGS_MAX];
    size_t count;
};

static int reader_fails(struct reader *reader, const char *reason)
{
    fail(reader->error, "%s", reason);
    return 0;
}

static char *keep_text(struct reader *reader, struct span text)
{
    char *copy = arena_take(reader->arena, text.size + 1u);

    if (copy) {
        if (text.size)
            memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
    }
    return copy;
}

static bool from_hex(struct reader *reader, struct span hex, struct span *ret_bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *bytes = arena_take(reader->arena, hex.size / 2);

    if (!bytes || hex.size % 2)
        return false;
    for (uint32_t i = 0; i < hex.size; i++) {
        const char *digit = hex.data[i] ? strchr(digits, hex.data[i] | 0x20) : NULL;

        if (!digit)
            return false;
        bytes[i / 2] = (char)(i % 2 ? bytes[i / 2] | (digit - digits) : (digit - digits) << 4);
    }
    *ret_bytes = span_make(bytes, hex.size / 2);
    return true;
}

/* A value that JSON wrote as text. */
static bool value_from_text(struct reader *reader, struct span type, struct span text,
                            struct cel_value *ret_value)
{
    struct span copy = {0};

    if (span_is(type, "string")) {
        if (!arena_copy(reader->arena, text, &copy))
            return false;
        *ret_value = cel_string(copy);
        return true;
    }
    if (span_is(type, "bytes_hex")) {
        ret_value->type = CEL_BYTES;
        return from_hex(reader, text, &ret_value->text);
    }
    if (span_is(type, "double")) {
        ret_value->type = CEL_DOUBLE;
        return cel_number_parse(text, &ret_value->number);
    }
    if (span_is(type, "duration"))
        return cel_duration_parse(text, ret_value);
    return span_is(type, "timestamp") && cel_timestamp_parse(text, ret_value);
}

static bool value_from_number(struct span type, struct span text, struct cel_value *ret_value)
{
    if (span_is(type, "int")) {
        ret_value->type = CEL_INT;
        return cel_integer_parse(text, &ret_value->integer);
    }
    if (span_is(type, "uint")) {
        ret_value->type = CEL_UINT;
        return cel_unsigned_parse(text, &ret_value->uinteger);
    }
    ret_value->type = CEL_DOUBLE;
    return span_is(type, "double") && cel_number_parse(text, &ret_value->number);
}

/* Is a value of a binding due? Anything else is skipped, or an error where a map must stand. */
static bool value_is_due(const struct reader *reader)
{
    return reader->level == LEVEL_BINDING && !reader->skipping;
}

static int take_value(struct reader *reader, bool good, struct cel_value value)
{
    if (!good || reader->has_value)
        return reader_fails(reader, "a bound value does not fit its type, or there are two");
    assert(reader->count > 0);
    reader->bindings[reader->count - 1].value = value;
    reader->has_value = true;
    return 1;
}

/* Scalars elsewhere: fine where keys are ignored. */
static int skip_scalar(struct reader *reader)
{
    if (reader->skipping || (reader->level == LEVEL_CASE && !span_is(reader->key, "bindings")))
        return 1;
    return reader_fails(reader, "a map is missing in the bindings");
}

static int on_text(void *context, const unsigned char *data, size_t size)
{
    struct reader *reader = context;
    struct span text = span_make((const char *)data, size);
    struct cel_value value = {.type = CEL_NULL};

    if (value_is_due(reader)) {
        bool good = value_from_text(reader, reader->key, text, &value);

        return take_value(reader, good, value);
    }
    if (reader->level == LEVEL_CASE && !reader->skipping && span_is(reader->key, "expr")) {
        reader->has_expr = true;
        return arena_copy(reader->arena, text, &reader->expr);
    }
    return skip_scalar(reader);
}

static int on_number(void *context, const char *data, size_t size)
{
    struct reader *reader = context;
    struct cel_value value = {.type = CEL_NULL};

    if (!value_is_due(reader))
        return skip_scalar(reader);
    bool good = value_from_number(reader->key, span_make(data, size), &value);
    return take_value(reader, good, value);
}

static int on_bool(void *context, int yes)
{
    struct reader *reader = context;

    if (!value_is_due(reader))
        return skip_scalar(reader);
    return take_value(reader, span_is(reader->key, "bool"), cel_bool(yes));
}

static int on_null(void *context)
{
    struct reader *reader = context;

    if (!value_is_due(reader))
        return skip_scalar(reader);
    return take_value(reader, span_is(reader->key, "null"), (struct cel_value){.type = CEL_NULL});
}

static int on_key(void *context, const unsigned char *data, size_t size)
{
    struct reader *reader = context;
    const char *copy;

    if (reader->skipping)
        return 1;
    copy = keep_text(reader, span_make((const char *)data, size));
    if (!copy)
        return reader_fails(reader, "the line is too large");
    reader->key = span_make(copy, size);
    return 1;
}

static int open_binding(struct reader *reader)
{
    if (reader->count == BINDINGS_MAX)
        return reader_fails(reader, "more than 256 bindings");
    reader->bindings[reader->count++] = (struct binding){.name = (char *)reader->key.data};
    reader->has_value = false;
    reader->level = LEVEL_BINDING;
    return 1;
}

static int on_open_map(void *context)
{
    struct reader *reader = context;

    if (reader->skipping) {
        return ++reader->skipping <= DEPTH_MAX;
    } else if (reader->level == LEVEL_START) {
        reader->level = LEVEL_CASE;
    } else if (reader->level == LEVEL_CASE && span_is(reader->key, "bindings")) {
        reader->level = LEVEL_BINDINGS;
    } else if (reader->level == LEVEL_CASE) {
        reader->skipping = 1;
    } else if (reader->level == LEVEL_BINDINGS) {
        return open_binding(reader);
    } else {
        return reader_fails(reader, "maps and lists cannot be bound");
    }
    return 1;
}

static int on_close_map(void *context)
{
    struct reader *reader = context;

    if (reader->skipping) {
        reader->skipping--;
        return 1;
    }
    if (reader->level == LEVEL_BINDING && !reader->has_value)
        return reader_fails(reader, "a bound value is missing");
    assert(reader->level > LEVEL_START);
    reader->level--;
    return 1;
}

static int on_open_list(void *context)
{
    struct reader *reader = context;

    if (!reader->skipping && (reader->level != LEVEL_CASE || span_is(reader->key, "bindings")))
        return reader_fails(reader, "maps and lists cannot be bound");
    return ++reader->skipping <= DEPTH_MAX;
}

static int on_close_list(void *context)
{
    ((struct reader *)context)->skipping--;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_text,
    .yajl_start_map = on_open_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close_map,
    .yajl_start_array = on_open_list,
    .yajl_end_array = on_close_list,
};

static enum status read_json(struct reader *reader, struct span json)
{
    yajl_handle parser = yajl_alloc(&callbacks, NULL, reader);
    yajl_status status;

    assert(parser);
    reader->error->text[0] = '\0';
    status = yajl_parse(parser, (const unsigned char *)json.data, json.size);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(parser);
    yajl_free(parser);
    if (status == yajl_status_ok)
        return STATUS_OK;
    if (reader->error->text[0] == '\0')
        fail(reader->error, "this is not JSON");
    return STATUS_FATAL;
}

/* A reader is some 12 KiB: on the heap, and only here. */
static struct reader *reader_new(struct arena *arena, enum level level, struct error *error)
{
    struct reader *reader = memory_new(sizeof *reader);

    reader->arena = arena;
    reader->level = level;
    reader->error = error;
    return reader;
}

enum status cel_value_from_json(struct span type, struct span json, struct arena *arena,
                                struct cel_value *ret_value, struct error *ret_error)
{
    struct reader *reader = reader_new(arena, LEVEL_BINDING, ret_error);
    enum status status;

    reader->count = 1;
    reader->key = type;
    status = read_json(reader, json);
    if (status == STATUS_OK)
        *ret_value = reader->bindings[0].value;
    free(reader);
    return status;
}

static void put_bytes(struct json_writer *json, struct span bytes)
{
    static const char digits[] = "0123456789abcdef";
    struct buffer hex;

    buffer_init(&hex, (size_t)bytes.size * 2 + 1);
    for (uint32_t i = 0; i < bytes.size; i++) {
        buffer_put_char(&hex, digits[(unsigned char)bytes.data[i] >> 4]);
        buffer_put_char(&hex, digits[bytes.data[i] & 15]);
    }
    json_text(json, "bytes_hex", buffer_span(&hex));
    buffer_free(&hex);
}

static void put_value(struct json_writer *json, const char *key, const struct cel_value *value);

static void put_list(struct json_writer *json, const struct cel_value *value)
{
    const struct cel_list *list = value->list;
    bool map = value->type == CEL_MAP;

    json_open_list(json, map ? "map" : "list");
    for (uint32_t i = 0; i < list->count; i++) {
        if (map && i % 2 == 0)
            json_open_list(json, NULL);
        put_value(json, NULL, &list->items[i]);
        if (map && i % 2 == 1)
            json_close_list(json);
    }
    json_close_list(json);
}

static void put_value(struct json_writer *json, const char *key, const struct cel_value *value)
{
    char text[CEL_TIME_SIZE > CEL_NUMBER_SIZE ? CEL_TIME_SIZE : CEL_NUMBER_SIZE];

    json_open(json, key);
    switch (value->type) {
    case CEL_NULL:
        json_raw(json, "null", SPAN_LITERAL("null"));
        break;
    case CEL_BOOL:
        json_bool(json, "bool", value->boolean);
        break;
    case CEL_INT:
        json_integer(json, "int", value->integer);
        break;
    case CEL_UINT:
        json_unsigned(json, "uint", value->uinteger);
        break;
    case CEL_DOUBLE:
        json_text(json, "double", span_make(text, cel_number_format(value->number, text)));
        break;
    case CEL_DURATION:
    case CEL_TIMESTAMP:
        json_text(json, value->type == CEL_DURATION ? "duration" : "timestamp",
                  span_make(text, cel_time_format(value, text)));
        break;
    case CEL_BYTES:
        put_bytes(json, value->text);
        break;
    case CEL_LIST:
    case CEL_MAP:
        put_list(json, value);
        break;
    default:
        assert(value->type != CEL_ERROR);
        json_text(json, value->type == CEL_STRING ? "string" : "type", value->text);
    }
    json_close(json);
}

void cel_value_to_json(const struct cel_value *value, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    put_value(&json, NULL, value);
}

static enum status put_error(struct buffer *out, struct span text)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "error", text);
    json_close(&json);
    return STATUS_SKIP;
}

/* Compiles and runs with what the reader has bound; `expr` may be the reader's own. */
static enum status answer(struct span expr, const struct reader *reader, struct buffer *out)
{
    struct cel_variable variables[BINDINGS_MAX];
    struct cel_value values[BINDINGS_MAX], value;
    struct cel_environment environment = {.variables = variables, .count = reader->count, .strict = true};
    struct cel_program *program;
    struct error error;
    enum status status = STATUS_OK;

    for (size_t i = 0; i < reader->count; i++) {
        variables[i] =
            (struct cel_variable){.name = reader->bindings[i].name, .type = reader->bindings[i].value.type};
        values[i] = reader->bindings[i].value;
    }
    if (cel_compile(expr, &environment, CEL_DYN, &program, &error) != STATUS_OK)
        return put_error(out, span_of(error.text));
    value = cel_run(program, values, NULL, reader->arena);
    if (value.type == CEL_ERROR) {
        status = put_error(out, value.text);
    } else {
        struct json_writer json;

        json_begin(&json, out);
        json_open(&json, NULL);
        put_value(&json, "value", &value);
        json_close(&json);
    }
    cel_free(program);
    return status;
}

enum status cel_eval_case(struct span json_line, struct buffer *out)
{
    struct arena arena;
    struct error error;
    struct reader *reader;
    enum status status;

    arena_init(&arena, CASE_BYTES);
    reader = reader_new(&arena, LEVEL_START, &error);
    if (read_json(reader, json_line) != STATUS_OK)
        status = put_error(out, span_of(error.text));
    else if (!reader->has_expr)
        status = put_error(out, SPAN_LITERAL("the line has no text \"expr\""));
    else
        status = answer(reader->expr, reader, out);
    free(reader);
    arena_free(&arena);
    return status;
}

/* "name=JSON" */
static enum status read_binding(struct reader *reader, struct span binding, struct error *ret_error)
{
    const char *equals = binding.size ? memchr(binding.data, '=', binding.size) : NULL;
    size_t length = equals ? (size_t)(equals - binding.data) : 0;

    if (length == 0)
        return fail(ret_error, "a binding is written NAME={\"TYPE\":VALUE}");
    reader->key = span_make(keep_text(reader, span_make(binding.data, length)), length);
    return reader->key.data ? read_json(reader, span_make(equals + 1, binding.size - length - 1))
                            : fail(ret_error, "the bindings are too large");
}

enum status cel_eval_expression(struct span expr, const struct span *bindings, size_t count,
                                struct buffer *out, bool *ret_error)
{
    struct arena arena;
    struct error error;
    struct reader *reader;
    enum status status = STATUS_OK;

    arena_init(&arena, CASE_BYTES);
    reader = reader_new(&arena, LEVEL_BINDINGS, &error);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = read_binding(reader, bindings[i], &error);
    if (status == STATUS_OK)
        status = answer(expr, reader, out);
    else
        status = put_error(out, span_of(error.text));
    *ret_error = status != STATUS_OK;
    free(reader);
    arena_free(&arena);
    return status;
}
