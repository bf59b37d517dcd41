#include "ingest/text_field.h"

static const char *store_time(struct span text, const struct time_form *forms, size_t form_count,
                              int64_t reference_us, int64_t *ret_us)
{
    for (size_t i = 0; i < form_count; i++)
        if (time_read(text, &forms[i], reference_us, ret_us))
            return NULL;
    return reference_us == TIME_NONE ? "is not a time, or one without a year" : "is not a time";
}

static const char *store_integer(const struct json_value *value, bool is_small, void *column, uint32_t row)
{
    int64_t integer;
    const char *problem =
        json_value_integer(value, is_small ? 0 : INT32_MIN + 1, is_small ? UINT16_MAX : INT32_MAX, &integer);

    if (problem)
        return problem;
    if (is_small)
        ((uint16_t *)column)[row] = (uint16_t)integer;
    else
        ((int32_t *)column)[row] = (int32_t)integer;
    return NULL;
}

const char *text_field_store(struct event_batch *batch, uint32_t row, struct field_ref ref, struct span text,
                             const struct time_form *forms, size_t form_count, int64_t reference_us)
{
    const struct json_value value = {.type = JSON_TEXT, .text = text};
    void *column = ref.field == FIELD_COUNT ? batch->labels[ref.label] : event_column(batch, ref.field);
    enum field_type type = ref.field == FIELD_COUNT ? FIELD_TEXT : field_rows[ref.field].type;
    enum run_state state;

    switch (type) {
    case FIELD_TIME:
        return store_time(text, forms, form_count, reference_us, (int64_t *)column + row);
    case FIELD_TEXT:
        ((struct span *)column)[row] = text;
        return NULL;
    case FIELD_NUMBER:
        return json_value_number(&value, (double *)column + row);
    case FIELD_INTEGER:
    case FIELD_SMALL:
        return store_integer(&value, type == FIELD_SMALL, column, row);
    case FIELD_STATE:
        state = run_state_find(text);
        ((uint8_t *)column)[row] = (uint8_t)(state == STATE_COUNT ? STATE_UNKNOWN : state);
        return NULL;
    case FIELD_KIND:
        ((uint8_t *)column)[row] = span_is(text, event_kind_names[KIND_METRIC]) ? KIND_METRIC : KIND_EVENT;
        return NULL;
    }
    return NULL;
}
