/* Conversions between CEL's types: int(x), string(x) and the like. Once a row at most. Ranges as in cel-go: a
 * double becomes an int only when it lies strictly between the least and the greatest. */
#include "rules/cel_internal.h"

#include <stdio.h>

static struct cel_value out_of_range(const struct cel_call *call)
{
    return cel_error(call->arena, "the number is out of range");
}

static struct cel_value not_a(const struct cel_call *call, const char *what)
{
    struct span text = call->arguments[0].text;

    return cel_error(call->arena, "'%.*s' is not %s", text.size < 64 ? (int)text.size : 64,
                     text.data ? text.data : "", what);
}

struct cel_value convert_dyn(const struct cel_call *call)
{
    return call->arguments[0];
}

struct cel_value convert_type(const struct cel_call *call)
{
    return (struct cel_value){.type = CEL_TYPE, .text = span_of(cel_type_names[call->arguments[0].type])};
}

struct cel_value convert_bool(const struct cel_call *call)
{
    static const char *const words[] = {"0", "f", "false", "False", "FALSE",
                                        "1", "t", "true",  "True",  "TRUE"};
    const struct cel_value *value = &call->arguments[0];

    if (value->type == CEL_BOOL)
        return *value;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (span_is(value->text, words[i]))
            return cel_bool(i >= 5);
    }
    return not_a(call, "a bool");
}

struct cel_value convert_bytes(const struct cel_call *call)
{
    return (struct cel_value){.type = CEL_BYTES, .text = call->arguments[0].text};
}

struct cel_value convert_int(const struct cel_call *call)
{
    const struct cel_value *value = &call->arguments[0];
    int64_t integer;

    switch (value->type) {
    case CEL_INT:
        return *value;
    case CEL_UINT:
        return value->uinteger > INT64_MAX ? out_of_range(call) : cel_int((int64_t)value->uinteger);
    case CEL_DOUBLE:
        if (!(value->number > -0x1p63 && value->number < 0x1p63))
            return out_of_range(call);
        return cel_int((int64_t)value->number);
    case CEL_TIMESTAMP:
        return cel_int(value->time.seconds);
    default:
        return cel_integer_parse(value->text, &integer) ? cel_int(integer) : not_a(call, "an int");
    }
}

struct cel_value convert_uint(const struct cel_call *call)
{
    const struct cel_value *value = &call->arguments[0];
    uint64_t integer;

    switch (value->type) {
    case CEL_UINT:
        return *value;
    case CEL_INT:
        return value->integer < 0 ? out_of_range(call) : cel_uint((uint64_t)value->integer);
    case CEL_DOUBLE:
        if (!(value->number >= 0 && value->number < 0x1p64))
            return out_of_range(call);
        return cel_uint((uint64_t)value->number);
    default:
        return cel_unsigned_parse(value->text, &integer) ? cel_uint(integer) : not_a(call, "a uint");
    }
}

struct cel_value convert_double(const struct cel_call *call)
{
    const struct cel_value *value = &call->arguments[0];
    double number;

    switch (value->type) {
    case CEL_DOUBLE:
        return *value;
    case CEL_INT:
        return cel_double((double)value->integer);
    case CEL_UINT:
        return cel_double((double)value->uinteger);
    default:
        return cel_number_parse(value->text, &number) ? cel_double(number) : not_a(call, "a double");
    }
}

struct cel_value convert_duration(const struct cel_call *call)
{
    struct cel_value duration;

    if (call->arguments[0].type == CEL_DURATION)
        return call->arguments[0];
    if (!cel_duration_parse(call->arguments[0].text, &duration))
        return not_a(call, "a duration within 292 years, such as '1h30m' or '0.5s'");
    return duration;
}

struct cel_value convert_timestamp(const struct cel_call *call)
{
    const struct cel_value *value = &call->arguments[0];
    struct cel_value timestamp;

    if (value->type == CEL_TIMESTAMP)
        return *value;
    if (value->type == CEL_INT)
        return cel_timestamp_make(value->integer, 0, &timestamp) ? timestamp : out_of_range(call);
    if (!cel_timestamp_parse(value->text, &timestamp))
        return not_a(call, "an RFC 3339 time of the years 1 to 9999");
    return timestamp;
}

struct cel_value convert_string(const struct cel_call *call)
{
    const struct cel_value *value = &call->arguments[0];
    char text[CEL_TIME_SIZE > CEL_NUMBER_SIZE ? CEL_TIME_SIZE : CEL_NUMBER_SIZE];
    struct span copy;
    size_t size;

    switch (value->type) {
    case CEL_STRING:
        return *value;
    case CEL_BYTES:
        return cel_utf8_valid(value->text) ? cel_string(value->text)
                                           : cel_error(call->arena, "the bytes are not UTF-8");
    case CEL_BOOL:
        return cel_string(value->boolean ? SPAN_LITERAL("true") : SPAN_LITERAL("false"));
    case CEL_DOUBLE:
        size = cel_number_format(value->number, text);
        break;
    case CEL_INT:
        size = (size_t)snprintf(text, sizeof text, "%lld", (long long)value->integer);
        break;
    case CEL_UINT:
        size = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value->uinteger);
        break;
    default:
        size = cel_time_format(value, text);
    }
    return arena_copy(call->arena, span_make(text, size), &copy) ? cel_string(copy) : cel_no_room();
}
