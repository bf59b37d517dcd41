/* Clean steps that change values: set, rename, missing, limit, convert, over fields of any type. Each runs
 * once a batch, as a loop over rows; only set with a result that is no number runs its program row by row.
 * The text of a changed field lies in the batch's arena, in the program, or in the step. */
#include "base/decimal.h"
#include "base/memory.h"
#include "pipeline/clean_step.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

// clang-format off
static const struct {
    const char *name;   /* as people say it */
    unsigned results;   /* CEL types that set takes, besides null and dyn */
} types[] = {
    [FIELD_TIME]    = {"time",         1 << CEL_TIMESTAMP | 1 << CEL_STRING | 1 << CEL_INT | 1 << CEL_DOUBLE},
    [FIELD_TEXT]    = {"text",         1 << CEL_STRING},
    [FIELD_NUMBER]  = {"number",       1 << CEL_INT | 1 << CEL_UINT | 1 << CEL_DOUBLE | 1 << CEL_DURATION},
    [FIELD_INTEGER] = {"whole number", 1 << CEL_INT | 1 << CEL_UINT | 1 << CEL_DOUBLE},
    [FIELD_SMALL]   = {"whole number", 1 << CEL_INT | 1 << CEL_UINT | 1 << CEL_DOUBLE},
    [FIELD_STATE]   = {"state",        1 << CEL_STRING},
    [FIELD_KIND]    = {"kind",         1 << CEL_STRING},
};

enum unit_kind { UNIT_TIME, UNIT_SIZE, UNIT_SHARE };
static const struct {
    enum unit_kind kind;
    double factor;
} units[] = {
    {UNIT_TIME, 1e-6}, {UNIT_TIME, 1e-3}, {UNIT_TIME, 1}, {UNIT_TIME, 1e3}, {UNIT_TIME, 6e4}, {UNIT_TIME, 36e5}, {UNIT_TIME, 864e5},
    {UNIT_SIZE, 1e3}, {UNIT_SIZE, 1e6}, {UNIT_SIZE, 1e9}, {UNIT_SIZE, 1e12},
    {UNIT_SIZE, 0x1p10}, {UNIT_SIZE, 0x1p20}, {UNIT_SIZE, 0x1p30}, {UNIT_SIZE, 0x1p40}, {UNIT_SHARE, 0.01},
};
const char *const clean_unit_names[] = {
    "ns", "us", "ms", "s", "m", "h", "d", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "percent", NULL,
};
// clang-format on

const char *const clean_missing_names[] = {"drop", "keep", "value", NULL};
const char *const clean_limit_names[] = {"drop", "clamp", "clear", NULL};

static struct field_value absent_value(void)
{
    return (struct field_value){.number = NAN, .integer = TIME_NONE};
}

bool clean_value_get(const struct event_batch *batch, uint32_t row, struct field_ref ref,
                     struct field_value *ret_value)
{
    const void *column = clean_column(batch, ref);
    struct field_value value = absent_value();
    bool present = false;

    switch (clean_field_type(ref)) {
    case FIELD_TEXT:
        value.text = ((const struct span *)column)[row];
        present = value.text.size > 0;
        break;
    case FIELD_NUMBER:
        value.number = ((const double *)column)[row];
        present = !isnan(value.number);
        break;
    case FIELD_TIME:
        value.integer = ((const int64_t *)column)[row];
        present = value.integer != TIME_NONE;
        break;
    case FIELD_INTEGER:
        value.integer = ((const int32_t *)column)[row];
        present = value.integer != INT32_MIN;
        break;
    case FIELD_SMALL:
        value.integer = ((const uint16_t *)column)[row];
        present = value.integer != 0;
        break;
    case FIELD_STATE:
        value.integer = ((const uint8_t *)column)[row];
        present = value.integer != STATE_NONE;
        break;
    case FIELD_KIND:
        value.integer = ((const uint8_t *)column)[row];
        present = true;
        break;
    }
    *ret_value = present ? value : absent_value();
    return present;
}

void clean_value_hash(const struct field_value *value, enum field_type type, struct id_builder *builder)
{
    int64_t bits;

    switch (type) {
    case FIELD_TEXT:
        id_add_text(builder, value->text);
        break;
    case FIELD_NUMBER:
        memcpy(&bits, &value->number, sizeof bits);
        id_add_integer(builder, bits);
        break;
    default:
        id_add_integer(builder, value->integer);
    }
}

/* The absent value clears the field; the event's time is never cleared, since every row has its place in
 * time. */
void clean_value_put(struct event_batch *batch, uint32_t row, struct field_ref ref,
                     const struct field_value *value)
{
    void *column = clean_column(batch, ref);
    bool absent = value->integer == TIME_NONE;

    switch (clean_field_type(ref)) {
    case FIELD_TEXT:
        ((struct span *)column)[row] = value->text;
        break;
    case FIELD_NUMBER:
        ((double *)column)[row] = value->number;
        break;
    case FIELD_TIME:
        if (!absent || ref.field != F_TIME)
            ((int64_t *)column)[row] = value->integer;
        break;
    case FIELD_INTEGER:
        ((int32_t *)column)[row] = absent ? INT32_MIN : (int32_t)value->integer;
        break;
    case FIELD_SMALL:
        ((uint16_t *)column)[row] = absent ? 0 : (uint16_t)value->integer;
        break;
    case FIELD_STATE:
    case FIELD_KIND:
        ((uint8_t *)column)[row] = absent ? 0 : (uint8_t)value->integer;
        break;
    }
}

/* For number, integer, small and time fields; false when the number does not fit. */
static bool value_from_number(enum field_type type, double number, struct field_value *ret_value)
{
    struct field_value value = absent_value();

    if (!isfinite(number))
        return false;
    switch (type) {
    case FIELD_NUMBER:
        value.number = number;
        break;
    case FIELD_TIME:
        if (!time_from_number(number, TIME_UNIT_AUTO, &value.integer))
            return false;
        break;
    case FIELD_INTEGER:
    case FIELD_SMALL:
        if (number != nearbyint(number) || number < (type == FIELD_SMALL ? 0 : -INT32_MAX) ||
            number > (type == FIELD_SMALL ? UINT16_MAX : INT32_MAX))
            return false;
        value.integer = (int64_t)number;
        break;
    default:
        return false;
    }
    *ret_value = value;
    return true;
}

/* A text as a value of the field; "" is absent. False when it is none. */
static bool value_from_text(enum field_type type, struct span text, int64_t reference_us,
                            struct field_value *ret_value)
{
    struct field_value value = absent_value();
    double number;

    if (text.size == 0) {
        *ret_value = value;
        return true;
    }
    switch (type) {
    case FIELD_TEXT:
        value.text = text;
        break;
    case FIELD_TIME:
        if (!time_parse(text, TIME_UNIT_AUTO, reference_us, &value.integer))
            return false;
        break;
    case FIELD_STATE:
        value.integer = run_state_find(text);
        if (value.integer == STATE_COUNT)
            return false;
        break;
    case FIELD_KIND:
        value.integer = KIND_EVENT;
        while (value.integer < KIND_COUNT && !span_is(text, event_kind_names[value.integer]))
            value.integer++;
        if (value.integer == KIND_COUNT)
            return false;
        break;
    default:
        return decimal_read(text, &number) && value_from_number(type, number, ret_value);
    }
    *ret_value = value;
    return true;
}

enum status clean_set_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                           struct error *ret_error)
{
    const struct node *to = node_find(map, "to");
    enum field_type type = clean_field_type(step->fields[0]);

    if (clean_compile(cleaner, to, CEL_DYN, &step->program, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    unsigned taken = types[type].results | 1 << CEL_DYN | 1 << CEL_NULL;
    if (taken & 1u << cel_result_type(step->program))
        return STATUS_OK;
    return node_fail(to, ret_error, "the expression's type does not fit '%s', which is a %s%s",
                     step->settings.field, types[type].name,
                     type == FIELD_TEXT ? "; string(...) makes it one" : "");
}

/* What the program gave, as a value of the field; false on an error of the expression or a value that does
 * not fit. */
static bool value_from_result(enum field_type type, const struct cel_value *result, int64_t reference_us,
                              struct field_value *ret_value)
{
    switch (result->type) {
    case CEL_NULL:
        *ret_value = absent_value();
        return true;
    case CEL_STRING:
        return (types[type].results & 1 << CEL_STRING) &&
               value_from_text(type, result->text, reference_us, ret_value);
    case CEL_INT:
        return value_from_number(type, (double)result->integer, ret_value);
    case CEL_UINT:
        return value_from_number(type, (double)result->uinteger, ret_value);
    case CEL_DOUBLE:
        if (!isnan(result->number))
            return value_from_number(type, result->number, ret_value);
        *ret_value = absent_value();
        return (types[type].results & 1 << CEL_DOUBLE) != 0;
    case CEL_DURATION: /* as milliseconds, the unit of duration_ms */
        return type == FIELD_NUMBER &&
               value_from_number(type, (double)result->time.seconds * 1e3 + result->time.nanos / 1e6,
                                 ret_value);
    case CEL_TIMESTAMP:
        *ret_value = absent_value();
        ret_value->integer = result->time.seconds * 1000000 + result->time.nanos / 1000;
        return type == FIELD_TIME;
    default:
        return false;
    }
}

static void set_numbers(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                        struct clean_figures *figures)
{
    double *column = clean_column(batch, step->fields[0]);

    cel_numbers(step->program, batch, cleaner->numbers, &figures->errors);
    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK)
            continue;
        bool infinite = isinf(cleaner->numbers[row]);
        column[row] = infinite ? NAN : cleaner->numbers[row];
        figures->errors += infinite;
    }
}

void clean_set_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                     struct clean_figures *figures)
{
    const unsigned plain = 1 << CEL_INT | 1 << CEL_UINT | 1 << CEL_DOUBLE;
    enum field_type type = clean_field_type(step->fields[0]);

    if (type == FIELD_NUMBER && (plain & 1u << cel_result_type(step->program))) {
        set_numbers(cleaner, step, batch, figures);
        return;
    }
    for (uint32_t row = 0; row < batch->rows; row++) {
        struct field_value value;

        if (batch->mark[row] != MARK_OK)
            continue;
        struct cel_value result = cel_row(step->program, batch, row);
        if (!value_from_result(type, &result, batch->arrival_us[row], &value)) {
            value = absent_value();
            figures->errors++;
        }
        clean_value_put(batch, row, step->fields[0], &value);
    }
}

enum status clean_rename_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                              struct error *ret_error)
{
    const struct node *to = node_find(map, "to");
    struct field_ref from = step->fields[0];

    if (clean_field_find(cleaner, to, step->settings.to, &step->target, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    enum field_type type = clean_field_type(from), target = clean_field_type(step->target);
    if (from.field == F_TIME || type == FIELD_KIND)
        return node_fail(map, ret_error, "every row has a '%s': it can be set, not moved away",
                         step->settings.field);
    if (type != target)
        return node_fail(to, ret_error, "'%s' is a %s and '%s' a %s; use set to convert",
                         step->settings.field, types[type].name, step->settings.to, types[target].name);
    if (from.field == step->target.field && from.label == step->target.label)
        return node_fail(to, ret_error, "'%s' is renamed to itself", step->settings.field);
    return STATUS_OK;
}

void clean_rename_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                        struct clean_figures *figures)
{
    const struct field_value nothing = absent_value();

    for (uint32_t row = 0; row < batch->rows; row++) {
        struct field_value value;

        if (batch->mark[row] != MARK_OK || !clean_value_get(batch, row, step->fields[0], &value))
            continue;
        clean_value_put(batch, row, step->target, &value);
        clean_value_put(batch, row, step->fields[0], &nothing);
    }
}

enum status clean_missing_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                               struct error *ret_error)
{
    const struct node *value = step->settings.value;
    enum field_type type = clean_field_type(step->fields[0]);

    if (step->settings.policy != MISSING_VALUE)
        return value ? node_fail(value, ret_error, "value goes with policy: value") : STATUS_OK;
    if (!value || value->type != NODE_SCALAR || value->text[0] == '\0')
        return node_fail(value ? value : map, ret_error, "missing needs a value: or a policy: drop or keep");
    step->value_text = memory_text(value->text, strlen(value->text));
    if (!value_from_text(type, span_of(step->value_text), TIME_NONE, &step->value))
        return node_fail(value, ret_error, "'%s' is no value for '%s', which is a %s", value->text,
                         step->settings.field, types[type].name);
    return STATUS_OK;
}

void clean_missing_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                         struct clean_figures *figures)
{
    if (step->settings.policy == MISSING_KEEP)
        return;
    for (uint32_t row = 0; row < batch->rows; row++) {
        struct field_value value;

        if (batch->mark[row] != MARK_OK || clean_value_get(batch, row, step->fields[0], &value))
            continue;
        if (step->settings.policy == MISSING_DROP) {
            clean_drop_row(batch, row, MARK_FILTERED, &figures->filtered);
            continue;
        }
        clean_value_put(batch, row, step->fields[0], &step->value);
        figures->repaired++;
    }
}

static bool is_number(enum field_type type)
{
    return type == FIELD_NUMBER || type == FIELD_INTEGER || type == FIELD_SMALL;
}

enum status clean_limit_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                             struct error *ret_error)
{
    const struct clean_settings *settings = &step->settings;
    enum field_type type = clean_field_type(step->fields[0]);
    struct field_value value;

    if (!is_number(type))
        return node_fail(map, ret_error, "limit takes a number field; '%s' is a %s", settings->field,
                         types[type].name);
    if (isnan(settings->min) && isnan(settings->max))
        return node_fail(map, ret_error, "limit needs min, max or both");
    if (settings->min > settings->max)
        return node_fail(map, ret_error, "min is greater than max");
    if (settings->policy != LIMIT_CLAMP)
        return STATUS_OK;
    if (!isnan(settings->min) && !value_from_number(type, settings->min, &value))
        return node_fail(node_find(map, "min"), ret_error, "'%s' cannot be set to this min", settings->field);
    if (!isnan(settings->max) && !value_from_number(type, settings->max, &value))
        return node_fail(node_find(map, "max"), ret_error, "'%s' cannot be set to this max", settings->field);
    return STATUS_OK;
}

void clean_limit_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                       struct clean_figures *figures)
{
    const struct clean_settings *settings = &step->settings;
    enum field_type type = clean_field_type(step->fields[0]);

    for (uint32_t row = 0; row < batch->rows; row++) {
        struct field_value value;

        if (batch->mark[row] != MARK_OK || !clean_value_get(batch, row, step->fields[0], &value))
            continue;
        double number = type == FIELD_NUMBER ? value.number : (double)value.integer;
        bool low = number<settings->min, high = number> settings->max; /* NaN: no limit */
        if (!low && !high)
            continue;
        if (settings->policy == LIMIT_DROP) {
            clean_drop_row(batch, row, MARK_FILTERED, &figures->filtered);
            continue;
        }
        value = absent_value();
        if (settings->policy == LIMIT_CLAMP) {
            bool fits = value_from_number(type, low ? settings->min : settings->max, &value);

            assert(fits); /* seen to while opening */
        }
        clean_value_put(batch, row, step->fields[0], &value);
        figures->repaired++;
    }
}

enum status clean_convert_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                               struct error *ret_error)
{
    struct clean_settings *settings = &step->settings;
    enum field_type type = clean_field_type(step->fields[0]);
    const struct node *from = node_find(map, "from"), *factor = node_find(map, "factor");

    if (type != FIELD_NUMBER)
        return node_fail(map, ret_error, "convert takes a number field; '%s' is a %s", settings->field,
                         types[type].name);
    if (!from == !factor)
        return node_fail(map, ret_error, "convert needs one of from and factor");
    if (from && step->fields[0].field == F_DURATION_MS && units[settings->unit].kind != UNIT_TIME)
        return node_fail(from, ret_error, "duration_ms is a time; '%s' is no unit of time",
                         clean_unit_names[settings->unit]);
    if (from)
        settings->factor = units[settings->unit].factor;
    return STATUS_OK;
}

void clean_convert_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                         struct clean_figures *figures)
{
    double *column = clean_column(batch, step->fields[0]);

    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK || isnan(column[row]))
            continue;
        column[row] *= step->settings.factor;
        if (!isfinite(column[row])) {
            column[row] = NAN;
            figures->errors++;
        }
    }
}
