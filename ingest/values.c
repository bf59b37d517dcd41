/* What a JSON value says, as the type that a field wants; and what the formats with a table of paths do with
 * many of their values. Runs once a value that somebody asked for. */
#include "ingest/json.h"

#include "base/decimal.h"

#include <assert.h>
#include <math.h>

const char *json_value_number(const struct json_value *value, double *ret_number)
{
    double number;

    if (value->type != JSON_NUMBER && value->type != JSON_TEXT)
        return "is not a number";
    if (!decimal_read(value->text, &number))
        return value->type == JSON_NUMBER ? "has too many digits" : "is not a number";
    if (!isfinite(number))
        return "is out of range";
    *ret_number = number;
    return NULL;
}

const char *json_value_integer(const struct json_value *value, int64_t min, int64_t max, int64_t *ret_integer)
{
    double number;
    const char *problem = json_value_number(value, &number);

    /* The bounds asked for are far within 2^53, where doubles hold integers exactly. */
    assert(min > -(1LL << 53) && max < 1LL << 53);
    if (problem)
        return problem;
    if (number != trunc(number))
        return "is not an integer";
    if (number < (double)min || number > (double)max)
        return "is out of range";
    *ret_integer = (int64_t)number;
    return NULL;
}

const char *json_value_time(const struct json_value *value, enum time_unit unit, int64_t reference_us,
                            int64_t *ret_us)
{
    if (value->type != JSON_NUMBER && value->type != JSON_TEXT)
        return "is not a time";
    return time_parse(value->text, unit, reference_us, ret_us) ? NULL : "is not a time";
}

static const char *store_time(const struct json_value *value, const struct time_form *forms,
                              size_t form_count, int64_t reference_us, int64_t *ret_us)
{
    for (size_t i = 0; i < form_count; i++)
        if (time_read(value->text, &forms[i], reference_us, ret_us))
            return NULL;
    return value->type == JSON_TEXT && reference_us == TIME_NONE ? "is not a time, or one without a year"
                                                                 : "is not a time";
}

static const char *store_integer(const struct json_value *value, int32_t *ret_integer)
{
    int64_t integer;
    const char *problem = json_value_integer(value, INT32_MIN + 1, INT32_MAX, &integer);

    /* Airflow's -1 is a task that is not mapped. */
    if (!problem && integer >= 0)
        *ret_integer = (int32_t)integer;
    return problem;
}

static const char *store_small(const struct json_value *value, uint16_t *ret_integer)
{
    int64_t integer;
    const char *problem = json_value_integer(value, 0, UINT16_MAX, &integer);

    if (!problem)
        *ret_integer = (uint16_t)integer;
    return problem;
}

static const char *store_kind(struct span name, uint8_t *ret_kind)
{
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        if (span_is(name, event_kind_names[kind])) {
            *ret_kind = (uint8_t)kind;
            return NULL;
        }
    return "is neither event nor metric";
}

const char *field_store(struct event_batch *batch, uint32_t row, struct field_ref ref,
                        const struct json_value *value, const struct time_form *forms, size_t form_count,
                        int64_t reference_us)
{
    static const char *const not_a_scalar[] = {
        [FIELD_TIME] = "is not a time",     [FIELD_TEXT] = "is not a text",
        [FIELD_NUMBER] = "is not a number", [FIELD_INTEGER] = "is not a number",
        [FIELD_SMALL] = "is not a number",  [FIELD_STATE] = "is not a text",
        [FIELD_KIND] = "is not a text",
    };
    void *column = ref.field == FIELD_COUNT ? batch->labels[ref.label] : event_column(batch, ref.field);
    enum field_type type = ref.field == FIELD_COUNT ? FIELD_TEXT : field_rows[ref.field].type;
    enum run_state state;

    assert(column);
    if (!json_is_scalar(value))
        return not_a_scalar[type];
    switch (type) {
    case FIELD_TIME:
        return store_time(value, forms, form_count, reference_us, (int64_t *)column + row);
    case FIELD_TEXT:
        ((struct span *)column)[row] = value->text;
        return NULL;
    case FIELD_NUMBER:
        return json_value_number(value, (double *)column + row);
    case FIELD_INTEGER:
        return store_integer(value, (int32_t *)column + row);
    case FIELD_SMALL:
        return store_small(value, (uint16_t *)column + row);
    case FIELD_STATE:
        state = run_state_find(value->text);
        ((uint8_t *)column)[row] = (uint8_t)(state == STATE_COUNT ? STATE_UNKNOWN : state);
        return NULL;
    case FIELD_KIND:
        return store_kind(value->text, (uint8_t *)column + row);
    }
    return NULL;
}

struct span item_text(const struct json_item *item, unsigned target)
{
    const struct json_value *value = &item->values[target];

    return value->type == JSON_TEXT ? value->text : (struct span){0};
}

struct span item_first_text(const struct json_item *item, unsigned first, unsigned second)
{
    struct span text = item_text(item, first);

    return text.size ? text : item_text(item, second);
}

struct span item_id(const struct json_item *item, unsigned target)
{
    const struct json_value *value = &item->values[target];

    return value->type == JSON_TEXT || value->type == JSON_NUMBER ? value->text : (struct span){0};
}

void item_take_time(const struct json_item *item, unsigned target, enum time_unit unit, int64_t *column)
{
    json_value_time(&item->values[target], unit, TIME_NONE, &column[item->row]);
}

void item_take_number(const struct json_item *item, unsigned target, double factor, double *column)
{
    double number;

    if (!json_value_number(&item->values[target], &number) && isfinite(number * factor))
        column[item->row] = number * factor;
}

void item_take_texts(const struct json_item *item, const struct json_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct span text = item_id(item, columns[i].target);

        assert(field_rows[columns[i].field].type == FIELD_TEXT);
        if (text.size)
            ((struct span *)event_column(item->batch, columns[i].field))[item->row] = text;
    }
}

bool item_join(const struct json_item *item, struct span first, char between, struct span second,
               struct span *column)
{
    size_t size = (size_t)first.size + 1 + second.size;
    char *joined = arena_take(&item->batch->text, size);

    if (!joined)
        return false;
    memcpy(joined, first.data, first.size);
    joined[first.size] = between;
    memcpy(joined + first.size + 1, second.data, second.size);
    column[item->row] = span_make(joined, size);
    return true;
}

enum run_state state_of_name(const struct state_name *names, struct span name)
{
    while (names->name && !span_is(name, names->name))
        names++;
    return names->name ? names->state : STATE_NONE;
}
