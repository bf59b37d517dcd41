/* The `fields` format: any JSON with its own names, mapped to ours by paths. Filling runs once a row
 * over a flat list of mappings; all names, units and state words are resolved at open.
 * Without a `map` the document's own top level is taken to use our names. Such a document did not ask to
 * be read that way, so a value of the wrong type under one of the names is somebody else's (ECS writes
 * "host": {"name": ...}) and is passed over; under a path that the user wrote it is an error.
 * Tried and dropped: dropping rows of unknown state, which would hide a new word of an engine from
 * everybody. */
#include "ingest/fields.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

enum { PATHS_MAX = 16 /* of one field */, STATE_WORDS_MAX = 256 };

struct state_word {
    struct span word;
    enum run_state state;
};

struct mapping {
    unsigned target, target_count; /* candidates in values: the first present wins */
    size_t column;                 /* where the batch has the field's column */
    enum field_type type;
    struct field_ref ref;
    const char *name;    /* for reasons */
    enum time_unit unit; /* of a time */
    double factor;       /* of a number, to our unit */
    struct state_word *words;
    size_t word_count;
    enum run_state otherwise; /* STATE_UNKNOWN unless told */
    struct json_value constant;
    bool guessed; /* nobody wrote the path */
};

struct format {
    struct json_reader *reader;
    struct mapping *mappings;
    size_t count, capacity;
    unsigned targets;
    bool arrival_is_time;   /* of rows that tell none */
    bool guesses;           /* no map of the user: labels.* too */
    unsigned labels_mapped; /* how many of the pipeline's labels that covers so far */
};

static const struct option fields_options[] = {
    {.name = "each",
     .type = OPTION_TEXT,
     .offset = offsetof(struct fields_settings, each),
     .help = "Path to the items of a message that become rows, `events[*]`; without it the message is one "
             "row, an array at the root one row an element."},
    {.name = "map",
     .type = OPTION_NODE,
     .offset = offsetof(struct fields_settings, map),
     .help = "Field to path, to a list of paths (the first present wins), or to {path, unit, values, "
             "otherwise} or {value}; without it all fields but source are looked up by their own names, the "
             "time also as timestamp, ts, @timestamp and eventTime."},
};

static const char *const mapping_keys[] = {"path", "unit", "values", "otherwise", "value"};
static const char *const time_names[] = {"time", "timestamp", "ts", "@timestamp", "eventTime"};
static const char *const unit_names[] = {"auto", "s", "ms", "us", "ns"}; /* by enum time_unit */
static const double unit_to_ms[] = {1, 1e3, 1, 1e-3, 1e-6};

/* Our own words, in any case. */
static enum run_state state_by_name(struct span word)
{
    for (unsigned state = STATE_QUEUED; state < STATE_COUNT; state++)
        if ((word.data[0] | 0x20) == run_state_names[state][0] &&
            word.size == strlen(run_state_names[state]) &&
            strncasecmp(word.data, run_state_names[state], word.size) == 0)
            return (enum run_state)state;
    return STATE_COUNT;
}

static enum run_state state_of(const struct mapping *mapping, struct span word)
{
    for (size_t i = 0; i < mapping->word_count; i++)
        if (span_equal(mapping->words[i].word, word))
            return mapping->words[i].state;
    if (word.size == 0)
        return STATE_NONE;
    enum run_state state = state_by_name(word);
    return state == STATE_COUNT ? mapping->otherwise : state;
}

static const char *store_number(const struct mapping *mapping, const struct json_value *value,
                                double *ret_number)
{
    double number;
    const char *problem = json_value_number(value, &number);

    if (problem)
        return problem;
    if (!isfinite(number * mapping->factor))
        return "is out of range";
    *ret_number = number * mapping->factor;
    return NULL;
}

/* Puts a value into the row's column; NULL, or what is wrong with it. */
static const char *store(const struct mapping *mapping, const struct json_value *value,
                         const struct json_item *item)
{
    const struct time_form form = {.unit = mapping->unit};
    struct event_batch *batch = item->batch;

    if (mapping->type == FIELD_NUMBER)
        return store_number(mapping, value, (double *)event_column(batch, mapping->ref.field) + item->row);
    if (mapping->type == FIELD_STATE && json_is_scalar(value)) {
        batch->state[item->row] = (uint8_t)state_of(mapping, value->text);
        return NULL;
    }
    return field_store(batch, item->row, mapping->ref, value, &form, 1, item->message->arrival_us);
}

/* Takes the first candidate that is there; where nobody wrote the path, the first that fits, and only a wrong
 * time is told. NULL, or what is wrong. */
static const char *fill_field(const struct mapping *mapping, const struct json_item *item)
{
    const struct json_value *candidates =
        mapping->target_count ? &item->values[mapping->target] : &mapping->constant;
    unsigned count = mapping->target_count ? mapping->target_count : 1;
    const struct json_value *wrong = NULL;
    const char *problem = NULL;

    for (unsigned i = 0; i < count && (!wrong || mapping->guessed); i++) {
        if (candidates[i].type == JSON_ABSENT)
            continue;
        const char *found = store(mapping, &candidates[i], item);
        if (!found)
            return NULL;
        if (!wrong) {
            wrong = &candidates[i];
            problem = found;
        }
    }
    if (!wrong || (mapping->guessed && mapping->ref.field != F_TIME))
        return NULL;
    return reason_print(item->batch, "%s: %s %s", mapping->name, json_type_names[wrong->type], problem);
}

/* What most fields are: a text that is there under its first path. False: it is not. */
static bool fill_text(const struct mapping *mapping, const struct json_item *item)
{
    const struct json_value *value = &item->values[mapping->target];

    if (mapping->type != FIELD_TEXT || !mapping->target_count || !json_is_scalar(value))
        return false;
    (*(struct span **)((char *)item->batch + mapping->column))[item->row] = value->text;
    return true;
}

static enum json_verdict fill_row(void *owner, const struct json_item *item, const char **ret_reason)
{
    const struct format *format = owner;

    for (size_t i = 0; i < format->count; i++) {
        const struct mapping *mapping = &format->mappings[i];

        if (fill_text(mapping, item))
            continue;
        *ret_reason = fill_field(mapping, item);
        if (*ret_reason)
            return JSON_ROW_BAD;
    }
    int64_t *time_us = &item->batch->time_us[item->row];
    if (*time_us == TIME_NONE && format->arrival_is_time)
        *time_us = item->message->arrival_us;
    if (*time_us != TIME_NONE)
        return JSON_ROW_KEPT;
    *ret_reason = "no time";
    return JSON_ROW_BAD;
}

static struct mapping *mapping_new(struct format *format, const char *name, struct field_ref ref)
{
    format->mappings =
        memory_reserve(format->mappings, &format->capacity, format->count + 1, sizeof *format->mappings);
    struct mapping *mapping = &format->mappings[format->count++];
    *mapping = (struct mapping){.name = name,
                                .ref = ref,
                                .type = ref.field == FIELD_COUNT ? FIELD_TEXT : field_rows[ref.field].type,
                                .column = ref.field == FIELD_COUNT ? offsetof(struct event_batch, labels[0]) +
                                                                         ref.label * sizeof(struct span *)
                                                                   : field_rows[ref.field].column,
                                .target = format->targets,
                                .factor = 1,
                                .otherwise = STATE_UNKNOWN};
    return mapping;
}

static const char *mapping_add_path(struct format *format, struct mapping *mapping, const char *path)
{
    assert(mapping->target + mapping->target_count == format->targets);
    mapping->target_count++;
    return json_reader_add(format->reader, path, format->targets++);
}

static void guess_field(struct format *format, enum field field)
{
    struct mapping *mapping = mapping_new(format, field_rows[field].name, (struct field_ref){.field = field});
    const char *problem = NULL;

    mapping->guessed = true;
    if (field != F_TIME)
        problem = mapping_add_path(format, mapping, mapping->name);
    for (size_t i = 0; field == F_TIME && i < sizeof time_names / sizeof *time_names && !problem; i++)
        problem = mapping_add_path(format, mapping, time_names[i]);
    assert(!problem);
}

/* Labels that other parts of the configuration name after this format is open. A name that is no path in the
 * document's spelling ("a[b", "a..b") is never found. */
static void guess_new_labels(struct format *format, const struct event_batch *batch)
{
    for (; format->labels_mapped < batch->label_columns; format->labels_mapped++) {
        struct field_ref ref = {.field = FIELD_COUNT, .label = format->labels_mapped};
        const char *name = batch->label_names->names[ref.label];
        char path[LABEL_NAME_MAX + sizeof "labels."] = "labels.";

        if (strpbrk(name, "[]\"'"))
            continue;
        struct mapping *mapping = mapping_new(format, name, ref);
        mapping->guessed = true;
        memcpy(path + strlen("labels."), name, strlen(name) + 1);
        if (mapping_add_path(format, mapping, path)) {
            format->count--;
            format->targets--;
        }
    }
}

static enum status read_paths(struct format *format, struct mapping *mapping, const struct node *node,
                              struct error *ret_error)
{
    bool is_list = node->type == NODE_LIST;
    size_t count = is_list ? node->count : 1;

    if (count == 0 || count > PATHS_MAX)
        return node_fail(node, ret_error, "%s: 1 to %d paths", mapping->name, PATHS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct node *path = is_list ? node->items[i] : node;

        if (path->type != NODE_SCALAR)
            return node_fail(path, ret_error, "%s: a path is a text", mapping->name);
        const char *problem = mapping_add_path(format, mapping, path->text);
        if (problem)
            return node_fail(path, ret_error, "%s: path \"%s\" %s", mapping->name, path->text, problem);
    }
    return STATUS_OK;
}

static enum status read_unit(struct mapping *mapping, const struct node *node, struct error *ret_error)
{
    unsigned unit = 0;

    if (mapping->type != FIELD_TIME && mapping->ref.field != F_DURATION_MS)
        return node_fail(node, ret_error, "%s: only times and duration_ms have a unit", mapping->name);
    if (mapping->ref.field == F_DURATION_MS)
        unit = TIME_UNIT_S;
    while (unit <= TIME_UNIT_NS && (node->type != NODE_SCALAR || strcmp(node->text, unit_names[unit]) != 0))
        unit++;
    if (unit > TIME_UNIT_NS)
        return node_fail(node, ret_error, "%s: unit is s, ms, us or ns%s", mapping->name,
                         mapping->ref.field == F_DURATION_MS ? "" : ", or auto");
    mapping->unit = (enum time_unit)unit;
    mapping->factor = unit_to_ms[unit];
    return STATUS_OK;
}

static enum status read_state(const struct mapping *mapping, const struct node *node,
                              enum run_state *ret_state, struct error *ret_error)
{
    struct span name = span_of(node->type == NODE_SCALAR ? node->text : "");
    enum run_state state = span_is(name, "none") ? STATE_NONE : run_state_find(name);

    if (state == STATE_COUNT)
        return node_fail(
            node, ret_error,
            "%s: \"%s\" is none of queued, waiting, running, retrying, success, failed, skipped, "
            "upstream_failed, cancelled, timed_out, unknown, none",
            mapping->name, name.data);
    *ret_state = state;
    return STATUS_OK;
}

static enum status read_words(struct mapping *mapping, const struct node *node, struct error *ret_error)
{
    if (node->type != NODE_MAP || node->count > STATE_WORDS_MAX)
        return node_fail(node, ret_error, "%s: 'values' is a map of at most %d words to states",
                         mapping->name, STATE_WORDS_MAX);
    mapping->words = memory_new(node->count * sizeof *mapping->words);
    mapping->word_count = node->count;
    for (size_t i = 0; i < node->count; i++) {
        mapping->words[i].word = span_of(node->keys[i]);
        if (read_state(mapping, node->items[i], &mapping->words[i].state, ret_error))
            return STATUS_FATAL;
    }
    return STATUS_OK;
}

/* A constant is tried once on a row of its own, so that a wrong one is told at load and not in each row. */
static enum status read_constant(struct mapping *mapping, const struct node *node, struct error *ret_error)
{
    const struct message message = {.arrival_us = TIME_NONE};
    struct event_batch scratch;
    const char *problem = NULL;

    if (node->type != NODE_SCALAR)
        return node_fail(node, ret_error, "%s: a constant is one text or number", mapping->name);
    mapping->constant = (struct json_value){.type = JSON_TEXT, .text = span_of(node->text)};
    if (mapping->ref.field == FIELD_COUNT)
        return STATUS_OK;
    event_batch_init(&scratch, 1, NULL);
    struct json_item item = {.message = &message, .batch = &scratch, .row = event_batch_add(&scratch)};
    problem = store(mapping, &mapping->constant, &item);
    event_batch_free(&scratch);
    return problem ? node_fail(node, ret_error, "%s: \"%s\" %s", mapping->name, node->text, problem)
                   : STATUS_OK;
}

static enum status read_mapping_key(struct format *format, struct mapping *mapping, const char *key,
                                    const struct node *value, struct error *ret_error)
{
    bool is_state_key = strcmp(key, "values") == 0 || strcmp(key, "otherwise") == 0;

    if (is_state_key && mapping->ref.field != F_STATE)
        return node_fail(value, ret_error, "%s: only state has '%s'", mapping->name, key);
    if (strcmp(key, "path") == 0)
        return read_paths(format, mapping, value, ret_error);
    if (strcmp(key, "unit") == 0)
        return read_unit(mapping, value, ret_error);
    if (strcmp(key, "values") == 0)
        return read_words(mapping, value, ret_error);
    if (strcmp(key, "otherwise") == 0)
        return read_state(mapping, value, &mapping->otherwise, ret_error);
    assert(strcmp(key, "value") == 0);
    return read_constant(mapping, value, ret_error);
}

static enum status read_mapping_map(struct format *format, struct mapping *mapping, const struct node *node,
                                    struct error *ret_error)
{
    const size_t key_count = sizeof mapping_keys / sizeof *mapping_keys;
    const struct node *value = node_find(node, "value");

    for (size_t i = 0; i < node->count; i++) {
        size_t known = 0;

        while (known < key_count && strcmp(node->keys[i], mapping_keys[known]) != 0)
            known++;
        if (known == key_count) {
            const char *near = nearest_name(node->keys[i], mapping_keys, key_count);
            return node_fail(node->items[i], ret_error, "%s: unknown key '%s'; did you mean '%s'?",
                             mapping->name, node->keys[i], near ? near : "path");
        }
        if (read_mapping_key(format, mapping, node->keys[i], node->items[i], ret_error))
            return STATUS_FATAL;
    }
    if (!value == !node_find(node, "path"))
        return node_fail(node, ret_error, "%s: needs a 'path' or a 'value', not both", mapping->name);
    if (value && node->count > 1)
        return node_fail(node, ret_error, "%s: 'value' stands alone", mapping->name);
    return STATUS_OK;
}

static enum status fail_unknown_field(const struct node *map, size_t index, struct error *ret_error)
{
    const char *names[FIELD_COUNT];

    if (strncmp(map->keys[index], "labels.", strlen("labels.")) == 0)
        return node_fail(map->items[index], ret_error,
                         "'%s': not a good label name, too much like another, or one too many (at most %d)",
                         map->keys[index], LABELS_MAX);
    for (size_t i = 0; i < FIELD_COUNT; i++)
        names[i] = field_rows[i].name;
    const char *near = nearest_name(map->keys[index], names, FIELD_COUNT);
    return near ? node_fail(map->items[index], ret_error, "no field '%s'; did you mean '%s'?",
                            map->keys[index], near)
                : node_fail(map->items[index], ret_error, "no field '%s'", map->keys[index]);
}

static enum status read_map(struct format *format, const struct node *map, struct label_names *labels,
                            struct error *ret_error)
{
    if (map->type != NODE_MAP)
        return node_fail(map, ret_error, "'map' is a map of fields to paths");
    for (size_t i = 0; i < map->count; i++) {
        const struct node *node = map->items[i];
        struct field_ref ref;

        if (!field_ref_parse(span_of(map->keys[i]), labels, &ref))
            return fail_unknown_field(map, i, ret_error);
        struct mapping *mapping = mapping_new(format, map->keys[i], ref);
        enum status status = node->type == NODE_MAP ? read_mapping_map(format, mapping, node, ret_error)
                                                    : read_paths(format, mapping, node, ret_error);
        if (status)
            return status;
    }
    return STATUS_OK;
}

static void fields_close(struct format *format)
{
    for (size_t i = 0; i < format->count; i++)
        free(format->mappings[i].words);
    free(format->mappings);
    json_reader_free(format->reader);
    free(format);
}

static enum status fields_open(const void *settings, const struct format_context *context,
                               struct format **ret_format, struct error *ret_error)
{
    const struct fields_settings *fields = settings;
    const char *problem = NULL;
    struct json_reader *reader = json_reader_new(fields->each, &problem);

    if (!reader)
        return fail(ret_error, "each: path \"%s\" %s", fields->each, problem);
    struct format *format = memory_new(sizeof *format);
    format->reader = reader;
    format->arrival_is_time = context->arrival_is_time;
    format->guesses = !fields->map || fields->is_preset;
    if (fields->map && read_map(format, fields->map, context->labels, ret_error)) {
        fields_close(format);
        return STATUS_FATAL;
    }
    for (size_t i = 0; i < format->count; i++)
        format->mappings[i].guessed = fields->is_preset;
    if (!fields->map)
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
            if (field != F_SOURCE) /* the configuration's; "source": "stdout" is something else */
                guess_field(format, (enum field)field);
        }
    else if (!node_find(fields->map, "time"))
        guess_field(format, F_TIME);
    *ret_format = format;
    return STATUS_OK;
}

static enum status fields_decode(struct format *format, const struct message *message,
                                 struct event_batch *batch, const char **ret_reason)
{
    uint32_t first_row = batch->rows;

    if (format->guesses && format->labels_mapped < batch->label_columns)
        guess_new_labels(format, batch);
    enum status status = json_reader_decode(format->reader, message, batch, fill_row, format, ret_reason);
    return format->guesses ? json_name_foreign(status, message, batch, first_row, ret_reason) : status;
}

const struct format_type fields_format = {
    .name = "fields",
    .help = "any JSON, its values mapped to fields by paths",
    .options = fields_options,
    .option_count = sizeof fields_options / sizeof *fields_options,
    .settings_size = sizeof(struct fields_settings),
    .open = fields_open,
    .decode = fields_decode,
    .close = fields_close,
};
