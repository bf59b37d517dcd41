/* THE table of CEL's operators and functions: a new function is one row here and one implementation. Looked
 * up at load; a call node keeps its rows, so that a run only compares argument types. Small arithmetic lives
 * here; texts, times, conversions and patterns in their own files. Rows of one name and form stand together.
 * Numbers of different types may be ordered but not added, as CEL has it. */
#include "base/options.h"
#include "rules/cel_internal.h"

#include <assert.h>

enum {
    NONE = 0,
    BOOL = 1 << CEL_BOOL,
    INT = 1 << CEL_INT,
    UINT = 1 << CEL_UINT,
    DOUBLE = 1 << CEL_DOUBLE,
    STRING = 1 << CEL_STRING,
    BYTES = 1 << CEL_BYTES,
    DURATION = 1 << CEL_DURATION,
    TIMESTAMP = 1 << CEL_TIMESTAMP,
    LIST = 1 << CEL_LIST,
    MAP = 1 << CEL_MAP,
    NUMBER = INT | UINT | DOUBLE,
    ANY = (1 << CEL_ERROR) - 1,
};

static struct cel_value overflow(const struct cel_call *call)
{
    return cel_error(call->arena, "integer overflow");
}

static struct cel_value zero_division(const struct cel_call *call)
{
    return cel_error(call->arena, "division by zero");
}

static struct cel_value int_add(const struct cel_call *call)
{
    int64_t result;

    if (__builtin_add_overflow(call->arguments[0].integer, call->arguments[1].integer, &result))
        return overflow(call);
    return cel_int(result);
}

static struct cel_value int_subtract(const struct cel_call *call)
{
    int64_t result;

    if (__builtin_sub_overflow(call->arguments[0].integer, call->arguments[1].integer, &result))
        return overflow(call);
    return cel_int(result);
}

static struct cel_value int_multiply(const struct cel_call *call)
{
    int64_t result;

    if (__builtin_mul_overflow(call->arguments[0].integer, call->arguments[1].integer, &result))
        return overflow(call);
    return cel_int(result);
}

static struct cel_value int_divide(const struct cel_call *call)
{
    int64_t a = call->arguments[0].integer, b = call->arguments[1].integer;

    if (b == 0)
        return zero_division(call);
    return a == INT64_MIN && b == -1 ? overflow(call) : cel_int(a / b);
}

static struct cel_value int_modulo(const struct cel_call *call)
{
    int64_t a = call->arguments[0].integer, b = call->arguments[1].integer;

    if (b == 0)
        return cel_error(call->arena, "modulus by zero");
    return a == INT64_MIN && b == -1 ? overflow(call) : cel_int(a % b);
}

static struct cel_value int_negate(const struct cel_call *call)
{
    return call->arguments[0].integer == INT64_MIN ? overflow(call) : cel_int(-call->arguments[0].integer);
}

static struct cel_value uint_add(const struct cel_call *call)
{
    uint64_t result;

    if (__builtin_add_overflow(call->arguments[0].uinteger, call->arguments[1].uinteger, &result))
        return overflow(call);
    return cel_uint(result);
}

static struct cel_value uint_subtract(const struct cel_call *call)
{
    uint64_t result;

    if (__builtin_sub_overflow(call->arguments[0].uinteger, call->arguments[1].uinteger, &result))
        return overflow(call);
    return cel_uint(result);
}

static struct cel_value uint_multiply(const struct cel_call *call)
{
    uint64_t result;

    if (__builtin_mul_overflow(call->arguments[0].uinteger, call->arguments[1].uinteger, &result))
        return overflow(call);
    return cel_uint(result);
}

static struct cel_value uint_divide(const struct cel_call *call)
{
    uint64_t divisor = call->arguments[1].uinteger;

    return divisor == 0 ? zero_division(call) : cel_uint(call->arguments[0].uinteger / divisor);
}

static struct cel_value uint_modulo(const struct cel_call *call)
{
    uint64_t divisor = call->arguments[1].uinteger;

    if (divisor == 0)
        return cel_error(call->arena, "modulus by zero");
    return cel_uint(call->arguments[0].uinteger % divisor);
}

static struct cel_value double_add(const struct cel_call *call)
{
    return cel_double(call->arguments[0].number + call->arguments[1].number);
}

static struct cel_value double_subtract(const struct cel_call *call)
{
    return cel_double(call->arguments[0].number - call->arguments[1].number);
}

static struct cel_value double_multiply(const struct cel_call *call)
{
    return cel_double(call->arguments[0].number * call->arguments[1].number);
}

static struct cel_value double_divide(const struct cel_call *call)
{
    return cel_double(call->arguments[0].number / call->arguments[1].number);
}

static struct cel_value double_negate(const struct cel_call *call)
{
    return cel_double(-call->arguments[0].number);
}

static struct cel_value text_add(const struct cel_call *call)
{
    return cel_concatenate(call->arena, call->arguments[0].type, call->arguments[0].text,
                           call->arguments[1].text);
}

static struct cel_value list_add(const struct cel_call *call)
{
    const struct cel_list *a = call->arguments[0].list, *b = call->arguments[1].list;
    struct cel_list *sum = cel_list_new(call->arena, a->count + b->count);

    if (!sum)
        return cel_no_room();
    memcpy(sum->items, a->items, a->count * sizeof a->items[0]);
    memcpy(sum->items + a->count, b->items, b->count * sizeof b->items[0]);
    return cel_list_done(CEL_LIST, sum);
}

static struct cel_value less(const struct cel_call *call)
{
    return cel_bool(cel_order(&call->arguments[0], &call->arguments[1]) == -1);
}

static struct cel_value less_or_equal(const struct cel_call *call)
{
    return cel_bool(cel_order(&call->arguments[0], &call->arguments[1]) <= 0);
}

static struct cel_value greater(const struct cel_call *call)
{
    return cel_bool(cel_order(&call->arguments[0], &call->arguments[1]) == 1);
}

static struct cel_value greater_or_equal(const struct cel_call *call)
{
    int order = cel_order(&call->arguments[0], &call->arguments[1]);

    return cel_bool(order == 0 || order == 1);
}

static struct cel_value equal(const struct cel_call *call)
{
    return cel_bool(cel_equal(&call->arguments[0], &call->arguments[1]));
}

static struct cel_value not_equal(const struct cel_call *call)
{
    return cel_bool(!cel_equal(&call->arguments[0], &call->arguments[1]));
}

static struct cel_value inverse(const struct cel_call *call)
{
    return cel_bool(!call->arguments[0].boolean);
}

static struct cel_value element_of(const struct cel_call *call)
{
    return cel_index(&call->arguments[0], &call->arguments[1], call->arena);
}

static struct cel_value in_list(const struct cel_call *call)
{
    const struct cel_list *list = call->arguments[1].list;

    for (uint32_t i = 0; i < list->count; i++) {
        if (cel_equal(&call->arguments[0], &list->items[i]))
            return cel_bool(true);
    }
    return cel_bool(false);
}

static struct cel_value in_map(const struct cel_call *call)
{
    return cel_bool(cel_map_find(call->arguments[1].list, &call->arguments[0]) != NULL);
}

static struct cel_value size_of(const struct cel_call *call)
{
    const struct cel_value *value = &call->arguments[0];

    switch (value->type) {
    case CEL_STRING:
        return cel_int(cel_utf8_count(value->text));
    case CEL_BYTES:
        return cel_int(value->text.size);
    case CEL_MAP:
        return cel_int(value->list->count / 2);
    default:
        assert(value->type == CEL_LIST);
        return cel_int(value->list->count);
    }
}

// clang-format off
static const struct cel_function functions[] = {
    {"+", FORM_OPERATOR, 2, {INT, INT}, CEL_INT, int_add, NULL},
    {"+", FORM_OPERATOR, 2, {UINT, UINT}, CEL_UINT, uint_add, NULL},
    {"+", FORM_OPERATOR, 2, {DOUBLE, DOUBLE}, CEL_DOUBLE, double_add, NULL},
    {"+", FORM_OPERATOR, 2, {STRING, STRING}, CEL_STRING, text_add, NULL},
    {"+", FORM_OPERATOR, 2, {BYTES, BYTES}, CEL_BYTES, text_add, NULL},
    {"+", FORM_OPERATOR, 2, {LIST, LIST}, CEL_LIST, list_add, NULL},
    {"+", FORM_OPERATOR, 2, {TIMESTAMP, DURATION}, CEL_TIMESTAMP, timestamp_add, NULL},
    {"+", FORM_OPERATOR, 2, {DURATION, TIMESTAMP}, CEL_TIMESTAMP, timestamp_add, NULL},
    {"+", FORM_OPERATOR, 2, {DURATION, DURATION}, CEL_DURATION, duration_add, NULL},
    {"-", FORM_OPERATOR, 2, {INT, INT}, CEL_INT, int_subtract, NULL},
    {"-", FORM_OPERATOR, 2, {UINT, UINT}, CEL_UINT, uint_subtract, NULL},
    {"-", FORM_OPERATOR, 2, {DOUBLE, DOUBLE}, CEL_DOUBLE, double_subtract, NULL},
    {"-", FORM_OPERATOR, 2, {TIMESTAMP, DURATION}, CEL_TIMESTAMP, timestamp_subtract, NULL},
    {"-", FORM_OPERATOR, 2, {TIMESTAMP, TIMESTAMP}, CEL_DURATION, timestamp_difference, NULL},
    {"-", FORM_OPERATOR, 2, {DURATION, DURATION}, CEL_DURATION, duration_subtract, NULL},
    {"-", FORM_OPERATOR, 1, {INT}, CEL_INT, int_negate, NULL},
    {"-", FORM_OPERATOR, 1, {DOUBLE}, CEL_DOUBLE, double_negate, NULL},
    {"-", FORM_OPERATOR, 1, {DURATION}, CEL_DURATION, duration_negate, NULL},
    {"*", FORM_OPERATOR, 2, {INT, INT}, CEL_INT, int_multiply, NULL},
    {"*", FORM_OPERATOR, 2, {UINT, UINT}, CEL_UINT, uint_multiply, NULL},
    {"*", FORM_OPERATOR, 2, {DOUBLE, DOUBLE}, CEL_DOUBLE, double_multiply, NULL},
    {"/", FORM_OPERATOR, 2, {INT, INT}, CEL_INT, int_divide, NULL},
    {"/", FORM_OPERATOR, 2, {UINT, UINT}, CEL_UINT, uint_divide, NULL},
    {"/", FORM_OPERATOR, 2, {DOUBLE, DOUBLE}, CEL_DOUBLE, double_divide, NULL},
    {"%", FORM_OPERATOR, 2, {INT, INT}, CEL_INT, int_modulo, NULL},
    {"%", FORM_OPERATOR, 2, {UINT, UINT}, CEL_UINT, uint_modulo, NULL},
    {"!", FORM_OPERATOR, 1, {BOOL}, CEL_BOOL, inverse, NULL},
    {"==", FORM_OPERATOR, 2, {ANY, ANY}, CEL_BOOL, equal, NULL},
    {"!=", FORM_OPERATOR, 2, {ANY, ANY}, CEL_BOOL, not_equal, NULL},
    {"<", FORM_OPERATOR, 2, {NUMBER, NUMBER}, CEL_BOOL, less, NULL},
    {"<", FORM_OPERATOR, 2, {STRING, STRING}, CEL_BOOL, less, NULL},
    {"<", FORM_OPERATOR, 2, {BYTES, BYTES}, CEL_BOOL, less, NULL},
    {"<", FORM_OPERATOR, 2, {BOOL, BOOL}, CEL_BOOL, less, NULL},
    {"<", FORM_OPERATOR, 2, {TIMESTAMP, TIMESTAMP}, CEL_BOOL, less, NULL},
    {"<", FORM_OPERATOR, 2, {DURATION, DURATION}, CEL_BOOL, less, NULL},
    {"<=", FORM_OPERATOR, 2, {NUMBER, NUMBER}, CEL_BOOL, less_or_equal, NULL},
    {"<=", FORM_OPERATOR, 2, {STRING, STRING}, CEL_BOOL, less_or_equal, NULL},
    {"<=", FORM_OPERATOR, 2, {BYTES, BYTES}, CEL_BOOL, less_or_equal, NULL},
    {"<=", FORM_OPERATOR, 2, {BOOL, BOOL}, CEL_BOOL, less_or_equal, NULL},
    {"<=", FORM_OPERATOR, 2, {TIMESTAMP, TIMESTAMP}, CEL_BOOL, less_or_equal, NULL},
    {"<=", FORM_OPERATOR, 2, {DURATION, DURATION}, CEL_BOOL, less_or_equal, NULL},
    {">", FORM_OPERATOR, 2, {NUMBER, NUMBER}, CEL_BOOL, greater, NULL},
    {">", FORM_OPERATOR, 2, {STRING, STRING}, CEL_BOOL, greater, NULL},
    {">", FORM_OPERATOR, 2, {BYTES, BYTES}, CEL_BOOL, greater, NULL},
    {">", FORM_OPERATOR, 2, {BOOL, BOOL}, CEL_BOOL, greater, NULL},
    {">", FORM_OPERATOR, 2, {TIMESTAMP, TIMESTAMP}, CEL_BOOL, greater, NULL},
    {">", FORM_OPERATOR, 2, {DURATION, DURATION}, CEL_BOOL, greater, NULL},
    {">=", FORM_OPERATOR, 2, {NUMBER, NUMBER}, CEL_BOOL, greater_or_equal, NULL},
    {">=", FORM_OPERATOR, 2, {STRING, STRING}, CEL_BOOL, greater_or_equal, NULL},
    {">=", FORM_OPERATOR, 2, {BYTES, BYTES}, CEL_BOOL, greater_or_equal, NULL},
    {">=", FORM_OPERATOR, 2, {BOOL, BOOL}, CEL_BOOL, greater_or_equal, NULL},
    {">=", FORM_OPERATOR, 2, {TIMESTAMP, TIMESTAMP}, CEL_BOOL, greater_or_equal, NULL},
    {">=", FORM_OPERATOR, 2, {DURATION, DURATION}, CEL_BOOL, greater_or_equal, NULL},
    {"in", FORM_OPERATOR, 2, {ANY, LIST}, CEL_BOOL, in_list, NULL},
    {"in", FORM_OPERATOR, 2, {ANY, MAP}, CEL_BOOL, in_map, NULL},
    {"[]", FORM_OPERATOR, 2, {LIST, NUMBER}, CEL_DYN, element_of, NULL},
    {"[]", FORM_OPERATOR, 2, {MAP, ANY}, CEL_DYN, element_of, NULL},

    {"size", FORM_GLOBAL, 1, {STRING | BYTES | LIST | MAP}, CEL_INT, size_of, NULL},
    {"size", FORM_METHOD, 1, {STRING | BYTES | LIST | MAP}, CEL_INT, size_of, NULL},
    {"matches", FORM_GLOBAL, 2, {STRING, STRING}, CEL_BOOL, string_matches, regex_prepare},
    {"matches", FORM_METHOD, 2, {STRING, STRING}, CEL_BOOL, string_matches, regex_prepare},

    {"bool", FORM_GLOBAL, 1, {BOOL | STRING}, CEL_BOOL, convert_bool, NULL},
    {"bytes", FORM_GLOBAL, 1, {BYTES | STRING}, CEL_BYTES, convert_bytes, NULL},
    {"double", FORM_GLOBAL, 1, {NUMBER | STRING}, CEL_DOUBLE, convert_double, NULL},
    {"duration", FORM_GLOBAL, 1, {DURATION | STRING}, CEL_DURATION, convert_duration, NULL},
    {"dyn", FORM_GLOBAL, 1, {ANY}, CEL_DYN, convert_dyn, NULL},
    {"int", FORM_GLOBAL, 1, {NUMBER | STRING | TIMESTAMP}, CEL_INT, convert_int, NULL},
    {"string", FORM_GLOBAL, 1, {NUMBER | STRING | BYTES | BOOL | TIMESTAMP | DURATION}, CEL_STRING, convert_string, NULL},
    {"timestamp", FORM_GLOBAL, 1, {STRING | INT | TIMESTAMP}, CEL_TIMESTAMP, convert_timestamp, NULL},
    {"type", FORM_GLOBAL, 1, {ANY}, CEL_TYPE, convert_type, NULL},
    {"uint", FORM_GLOBAL, 1, {NUMBER | STRING}, CEL_UINT, convert_uint, NULL},

    {"startsWith", FORM_METHOD, 2, {STRING, STRING}, CEL_BOOL, string_starts_with, NULL},
    {"endsWith", FORM_METHOD, 2, {STRING, STRING}, CEL_BOOL, string_ends_with, NULL},
    {"contains", FORM_METHOD, 2, {STRING, STRING}, CEL_BOOL, string_contains, NULL},
    {"charAt", FORM_METHOD, 2, {STRING, INT}, CEL_STRING, string_char_at, NULL},
    {"indexOf", FORM_METHOD, 2, {STRING, STRING}, CEL_INT, string_index_of, NULL},
    {"indexOf", FORM_METHOD, 3, {STRING, STRING, INT}, CEL_INT, string_index_of, NULL},
    {"lastIndexOf", FORM_METHOD, 2, {STRING, STRING}, CEL_INT, string_last_index_of, NULL},
    {"lastIndexOf", FORM_METHOD, 3, {STRING, STRING, INT}, CEL_INT, string_last_index_of, NULL},
    {"lowerAscii", FORM_METHOD, 1, {STRING}, CEL_STRING, string_lower, NULL},
    {"upperAscii", FORM_METHOD, 1, {STRING}, CEL_STRING, string_upper, NULL},
    {"replace", FORM_METHOD, 3, {STRING, STRING, STRING}, CEL_STRING, string_replace, NULL},
    {"replace", FORM_METHOD, 4, {STRING, STRING, STRING, INT}, CEL_STRING, string_replace, NULL},
    {"split", FORM_METHOD, 2, {STRING, STRING}, CEL_LIST, string_split, NULL},
    {"split", FORM_METHOD, 3, {STRING, STRING, INT}, CEL_LIST, string_split, NULL},
    {"substring", FORM_METHOD, 2, {STRING, INT}, CEL_STRING, string_substring, NULL},
    {"substring", FORM_METHOD, 3, {STRING, INT, INT}, CEL_STRING, string_substring, NULL},
    {"trim", FORM_METHOD, 1, {STRING}, CEL_STRING, string_trim, NULL},
    {"reverse", FORM_METHOD, 1, {STRING}, CEL_STRING, string_reverse, NULL},
    {"join", FORM_METHOD, 1, {LIST}, CEL_STRING, string_join, NULL},
    {"join", FORM_METHOD, 2, {LIST, STRING}, CEL_STRING, string_join, NULL},
    {"format", FORM_METHOD, 2, {STRING, LIST}, CEL_STRING, string_format, NULL},
    {"strings.quote", FORM_GLOBAL, 1, {STRING}, CEL_STRING, string_quote, NULL},

    {"getFullYear", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_full_year, NULL},
    {"getFullYear", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_full_year, zone_prepare},
    {"getMonth", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_month, NULL},
    {"getMonth", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_month, zone_prepare},
    {"getDate", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_date, NULL},
    {"getDate", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_date, zone_prepare},
    {"getDayOfMonth", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_day_of_month, NULL},
    {"getDayOfMonth", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_day_of_month, zone_prepare},
    {"getDayOfWeek", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_day_of_week, NULL},
    {"getDayOfWeek", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_day_of_week, zone_prepare},
    {"getDayOfYear", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_day_of_year, NULL},
    {"getDayOfYear", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_day_of_year, zone_prepare},
    {"getHours", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_hours, NULL},
    {"getHours", FORM_METHOD, 1, {DURATION}, CEL_INT, duration_hours, NULL},
    {"getHours", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_hours, zone_prepare},
    {"getMinutes", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_minutes, NULL},
    {"getMinutes", FORM_METHOD, 1, {DURATION}, CEL_INT, duration_minutes, NULL},
    {"getMinutes", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_minutes, zone_prepare},
    {"getSeconds", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_seconds, NULL},
    {"getSeconds", FORM_METHOD, 1, {DURATION}, CEL_INT, duration_seconds, NULL},
    {"getSeconds", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_seconds, zone_prepare},
    {"getMilliseconds", FORM_METHOD, 1, {TIMESTAMP}, CEL_INT, timestamp_milliseconds, NULL},
    {"getMilliseconds", FORM_METHOD, 1, {DURATION}, CEL_INT, duration_milliseconds, NULL},
    {"getMilliseconds", FORM_METHOD, 2, {TIMESTAMP, STRING}, CEL_INT, timestamp_milliseconds, zone_prepare},
};
// clang-format on

enum { FUNCTION_COUNT = sizeof functions / sizeof *functions };

static bool is_row_of(const struct cel_function *row, struct span name, enum cel_form form)
{
    return row->form == form && span_is(name, row->name);
}

const struct cel_function *cel_function_find(struct span name, enum cel_form form, unsigned *ret_count)
{
    const struct cel_function *end = functions + FUNCTION_COUNT, *first = functions, *behind;

    while (first < end && !is_row_of(first, name, form))
        first++;
    behind = first;
    while (behind < end && is_row_of(behind, name, form))
        behind++;
    *ret_count = (unsigned)(behind - first);
    return first;
}

const char *cel_function_nearest(struct span name)
{
    const char *names[FUNCTION_COUNT];
    char text[64] = "";
    size_t count = 0;

    if (name.size >= sizeof text)
        return NULL;
    memcpy(text, name.data, name.size);
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        if (functions[i].form != FORM_OPERATOR)
            names[count++] = functions[i].name;
    }
    return nearest_name(text, names, count);
}

bool cel_function_takes(const struct cel_function *function, unsigned count, const enum cel_type *types)
{
    if (function->count != count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (types[i] != CEL_DYN && !(function->arguments[i] & (1u << types[i])))
            return false;
    }
    return true;
}
