/* Values of CEL: equality, order, lists and maps, numbers as text, UTF-8. Equality and order run up to once a
 * row and comparison where no column kernel fits; the rest runs at load, in `weir eval`, or in rules that
 * convert. Numbers of different types compare as cel-go does (common/types/compare.go): int and uint exactly,
 * either with a double after conversion to double. Maps are searched linearly: they come from literals and
 * are small. */
#include "rules/cel_internal.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *const cel_type_names[CEL_ERROR + 1] = {
    [CEL_DYN] = "dyn",
    [CEL_NULL] = "null_type",
    [CEL_BOOL] = "bool",
    [CEL_INT] = "int",
    [CEL_UINT] = "uint",
    [CEL_DOUBLE] = "double",
    [CEL_STRING] = "string",
    [CEL_BYTES] = "bytes",
    [CEL_DURATION] = "google.protobuf.Duration",
    [CEL_TIMESTAMP] = "google.protobuf.Timestamp",
    [CEL_LIST] = "list",
    [CEL_MAP] = "map",
    [CEL_TYPE] = "type",
    [CEL_ERROR] = "error",
};

struct cel_value cel_error(struct arena *arena, const char *format, ...)
{
    char text[256];
    struct span copy;
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    size = size < (int)sizeof text ? size : (int)sizeof text - 1;
    if (!arena_copy(arena, span_make(text, (size_t)size), &copy))
        return cel_no_room();
    return (struct cel_value){.type = CEL_ERROR, .text = copy};
}

struct cel_value cel_no_room(void)
{
    return (struct cel_value){.type = CEL_ERROR, .text = SPAN_LITERAL("the result is too large")};
}

static bool is_number(enum cel_type type)
{
    return type == CEL_INT || type == CEL_UINT || type == CEL_DOUBLE;
}

static int order_doubles(double a, double b)
{
    if (isnan(a) || isnan(b))
        return CEL_UNORDERED;
    return (a > b) - (a < b);
}

static double as_double(const struct cel_value *value)
{
    if (value->type == CEL_DOUBLE)
        return value->number;
    return value->type == CEL_INT ? (double)value->integer : (double)value->uinteger;
}

static int order_int_uint(int64_t a, uint64_t b)
{
    if (a < 0)
        return -1;
    return ((uint64_t)a > b) - ((uint64_t)a < b);
}

static int order_numbers(const struct cel_value *a, const struct cel_value *b)
{
    if (a->type == CEL_DOUBLE || b->type == CEL_DOUBLE)
        return order_doubles(as_double(a), as_double(b));
    if (a->type == CEL_INT && b->type == CEL_INT)
        return (a->integer > b->integer) - (a->integer < b->integer);
    if (a->type == CEL_INT)
        return order_int_uint(a->integer, b->uinteger);
    if (b->type == CEL_INT)
        return -order_int_uint(b->integer, a->uinteger);
    return (a->uinteger > b->uinteger) - (a->uinteger < b->uinteger);
}

static int order_times(const struct cel_value *a, const struct cel_value *b)
{
    if (a->time.seconds != b->time.seconds)
        return a->time.seconds < b->time.seconds ? -1 : 1;
    return (a->time.nanos > b->time.nanos) - (a->time.nanos < b->time.nanos);
}

int cel_order(const struct cel_value *a, const struct cel_value *b)
{
    int order;

    if (is_number(a->type) && is_number(b->type))
        return order_numbers(a, b);
    if (a->type != b->type)
        return CEL_UNORDERED;
    switch (a->type) {
    case CEL_BOOL:
        return a->boolean - b->boolean;
    case CEL_STRING:
    case CEL_BYTES:
        order = span_compare(a->text, b->text);
        return (order > 0) - (order < 0);
    case CEL_DURATION:
    case CEL_TIMESTAMP:
        return order_times(a, b);
    default:
        return CEL_UNORDERED;
    }
}

static bool equal_at(const struct cel_value *a, const struct cel_value *b, unsigned depth);

static const struct cel_value *map_find_at(const struct cel_list *map, const struct cel_value *key,
                                           unsigned depth)
{
    assert(map->count % 2 == 0);
    for (uint32_t i = 0; i < map->count; i += 2) {
        if (equal_at(&map->items[i], key, depth))
            return &map->items[i + 1];
    }
    return NULL;
}

static bool equal_lists(const struct cel_list *a, const struct cel_list *b, unsigned depth)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (!equal_at(&a->items[i], &b->items[i], depth))
            return false;
    }
    return true;
}

static bool equal_maps(const struct cel_list *a, const struct cel_list *b, unsigned depth)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i += 2) {
        const struct cel_value *other = map_find_at(b, &a->items[i], depth);

        if (!other || !equal_at(&a->items[i + 1], other, depth))
            return false;
    }
    return true;
}

static bool equal_at(const struct cel_value *a, const struct cel_value *b, unsigned depth)
{
    assert(depth <= CEL_LIST_DEPTH_MAX);
    if (a->type != b->type)
        return is_number(a->type) && is_number(b->type) && order_numbers(a, b) == 0;
    switch (a->type) {
    case CEL_NULL:
        return true;
    case CEL_TYPE:
        return span_equal(a->text, b->text);
    case CEL_STRING:
    case CEL_BYTES:
        return span_equal(a->text, b->text);
    case CEL_LIST:
        return equal_lists(a->list, b->list, depth + 1);
    case CEL_MAP:
        return equal_maps(a->list, b->list, depth + 1);
    default:
        return cel_order(a, b) == 0;
    }
}

bool cel_equal(const struct cel_value *a, const struct cel_value *b)
{
    return equal_at(a, b, 0);
}

const struct cel_value *cel_map_find(const struct cel_list *map, const struct cel_value *key)
{
    return map_find_at(map, key, 0);
}

struct cel_list *cel_list_new(struct arena *arena, uint32_t count)
{
    struct cel_list *list = arena_take(arena, sizeof *list + count * sizeof list->items[0]);

    if (list)
        list->count = count;
    return list;
}

struct cel_value cel_list_done(enum cel_type type, struct cel_list *list)
{
    uint64_t weight = 1;
    uint32_t depth = 0;

    if (!list)
        return cel_no_room();
    for (uint32_t i = 0; i < list->count; i++) {
        bool nested = list->items[i].type == CEL_LIST || list->items[i].type == CEL_MAP;

        weight += nested ? list->items[i].list->weight : 1;
        if (nested && list->items[i].list->depth > depth)
            depth = list->items[i].list->depth;
    }
    if (weight > CEL_LIST_WEIGHT_MAX || depth >= CEL_LIST_DEPTH_MAX)
        return cel_no_room();
    list->weight = (uint32_t)weight;
    list->depth = depth + 1;
    return (struct cel_value){.type = type, .list = list};
}

static bool list_position(const struct cel_value *key, uint32_t *ret_position)
{
    double number;

    if (!is_number(key->type))
        return false;
    number = as_double(key);
    if (!(number >= 0 && number < UINT32_MAX && number == floor(number)))
        return false;
    *ret_position = (uint32_t)number;
    return true;
}

struct cel_value cel_index(const struct cel_value *container, const struct cel_value *key,
                           struct arena *arena)
{
    uint32_t position;

    if (container->type == CEL_MAP) {
        const struct cel_value *found = cel_map_find(container->list, key);

        return found ? *found : cel_error(arena, "no such key");
    }
    assert(container->type == CEL_LIST);
    if (!list_position(key, &position) || position >= container->list->count)
        return cel_error(arena, "no such index in a list of %u", container->list->count);
    return container->list->items[position];
}

size_t cel_number_format(double number, char ret_text[CEL_NUMBER_SIZE])
{
    int size = 0;

    if (isnan(number))
        return (size_t)snprintf(ret_text, CEL_NUMBER_SIZE, "NaN");
    if (isinf(number))
        return (size_t)snprintf(ret_text, CEL_NUMBER_SIZE, number < 0 ? "-Infinity" : "Infinity");
    /* Below DBL_MIN fewer digits are exact, so %.15g would show noise. */
    for (int digits = fabs(number) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        size = snprintf(ret_text, CEL_NUMBER_SIZE, "%.*g", digits, number);
        if (strtod(ret_text, NULL) == number)
            break;
    }
    return (size_t)size;
}

bool cel_number_parse(struct span text, double *ret_number)
{
    char copy[512], *end;

    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, 0, text.size))
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (!strchr("+-.0123456789INin", copy[0])) /* strtod would skip blanks */
        return false;
    double number = strtod(copy, &end);
    if (*end != '\0')
        return false;
    *ret_number = number;
    return true;
}

bool cel_unsigned_parse(struct span text, uint64_t *ret_integer)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (unsigned)(text.data[i] - '0'), &value))
            return false;
    }
    if (text.size == 0)
        return false;
    *ret_integer = value;
    return true;
}

bool cel_integer_parse(struct span text, int64_t *ret_integer)
{
    bool negative = text.size > 0 && text.data[0] == '-',
         sign = negative || (text.size > 0 && text.data[0] == '+');
    uint64_t magnitude;

    if (!cel_unsigned_parse(span_make(text.data + sign, text.size - sign), &magnitude) ||
        magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *ret_integer = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

unsigned cel_utf8_length(const char *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    unsigned length = bytes[0] < 0x80   ? 1
                      : bytes[0] < 0xC2 ? 0
                      : bytes[0] < 0xE0 ? 2
                      : bytes[0] < 0xF0 ? 3
                                        : 4;

    if (bytes[0] > 0xF4 || length > size)
        return 0;
    for (unsigned i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    }
    /* overlong forms, surrogates, beyond U+10FFFF */
    if ((bytes[0] == 0xE0 && bytes[1] < 0xA0) || (bytes[0] == 0xED && bytes[1] > 0x9F) ||
        (bytes[0] == 0xF0 && bytes[1] < 0x90) || (bytes[0] == 0xF4 && bytes[1] > 0x8F))
        return 0;
    return length;
}

bool cel_utf8_valid(struct span text)
{
    for (uint32_t at = 0; at < text.size;) {
        unsigned length = cel_utf8_length(text.data + at, text.size - at);

        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* Event texts may hold any bytes: a broken sequence counts one for each of its leading bytes. */
uint32_t cel_utf8_count(struct span text)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < text.size; i++)
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return count;
}
