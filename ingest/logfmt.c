/* The `logfmt` format: key=value pairs in one line, values with blanks in double quotes, as Go services write
 * them. Keys are looked up in a list of some dozen names per pair: a line has few. Keys that are neither a
 * field nor a label that the pipeline names are passed over; so are `source`, `state` and `kind`, which mean
 * something else there (the place in the code, a circuit breaker's state), unless the map names them. */
#include "base/memory.h"
#include "ingest/json.h"

#include <stdlib.h>

struct logfmt_settings {
    struct option_pairs map;
};

struct known { /* a key and where its value goes */
    struct span key;
    struct field_ref ref;
    bool guessed; /* nobody wrote the key: a value of the wrong type is passed over */
};

struct format {
    struct known *known;
    size_t count, capacity;
    bool arrival_is_time;  /* of lines that tell none */
    unsigned labels_known; /* how many of the pipeline's labels are in `known` */
};

static const struct option logfmt_options[] = {
    {.name = "map",
     .type = OPTION_PAIRS,
     .offset = offsetof(struct logfmt_settings, map),
     .help =
         "Field or label to key, `workflow: job`; besides, keys are taken by the fields' own names (but "
         "source, state and kind) and by the usual ones: ts, timestamp, t, lvl, severity, msg, err, caller, "
         "component, hostname, trace_id. Of keys for the time the first of the map, time, ts, timestamp, t "
         "that is one counts."},
};

static const struct usual_key {
    const char *key;
    enum field field;
} usual_keys[] = {
    {"ts", F_TIME},          {"timestamp", F_TIME}, {"t", F_TIME},         {"lvl", F_LEVEL},
    {"severity", F_LEVEL},   {"msg", F_MESSAGE},    {"err", F_ERROR},      {"caller", F_LOGGER},
    {"component", F_LOGGER}, {"hostname", F_HOST},  {"trace_id", F_TRACE},
};

static void know(struct format *format, struct span key, struct field_ref ref, bool guessed)
{
    format->known =
        memory_reserve(format->known, &format->capacity, format->count + 1, sizeof *format->known);
    format->known[format->count++] = (struct known){key, ref, guessed};
}

static void logfmt_close(struct format *format)
{
    free(format->known);
    free(format);
}

static enum status logfmt_open(const void *settings, const struct format_context *context,
                               struct format **ret_format, struct error *ret_error)
{
    const struct logfmt_settings *logfmt = settings;
    struct format *format = memory_new(sizeof *format);

    format->arrival_is_time = context->arrival_is_time;
    for (size_t i = 0; i < logfmt->map.count; i++) {
        struct field_ref ref;

        if (!field_ref_parse(span_of(logfmt->map.items[i].key), context->labels, &ref)) {
            format_refuse(context, "map", ret_error, "no field '%s'", logfmt->map.items[i].key);
            logfmt_close(format);
            return STATUS_FATAL;
        }
        know(format, span_of(logfmt->map.items[i].value), ref, false);
    }
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        if (field != F_SOURCE && field != F_STATE && field != F_KIND)
            know(format, span_of(field_rows[field].name), (struct field_ref){.field = (enum field)field},
                 true);
    for (size_t i = 0; i < sizeof usual_keys / sizeof *usual_keys; i++)
        know(format, span_of(usual_keys[i].key), (struct field_ref){.field = usual_keys[i].field}, true);
    *ret_format = format;
    return STATUS_OK;
}

/* Labels that other parts of the configuration name after this format is open. */
static void know_new_labels(struct format *format, const struct event_batch *batch)
{
    for (; format->labels_known < batch->label_columns; format->labels_known++)
        know(format, span_of(batch->label_names->names[format->labels_known]),
             (struct field_ref){.field = FIELD_COUNT, .label = format->labels_known}, true);
}

/* What is left of the line. */
struct pairs {
    const char *at, *end;
};

static struct span take_until(struct pairs *pairs, const char *stops)
{
    const char *start = pairs->at;

    while (pairs->at < pairs->end && !memchr(stops, *pairs->at, strlen(stops)))
        pairs->at++;
    return span_make(start, (size_t)(pairs->at - start));
}

/* The text between the quotes; without escapes in it no copy is made. False: it does not end, or the arena is
 * full. */
static bool take_quoted(struct pairs *pairs, struct arena *arena, struct span *ret_value)
{
    const char *start = ++pairs->at;
    bool escaped = false;
    uint32_t size = 0;

    while (pairs->at < pairs->end && *pairs->at != '"') {
        if (*pairs->at == '\\') {
            escaped = true;
            pairs->at++;
        }
        if (pairs->at < pairs->end)
            pairs->at++;
    }
    if (pairs->at == pairs->end)
        return false;
    struct span raw = span_make(start, (size_t)(pairs->at++ - start));
    if (!escaped) {
        *ret_value = raw;
        return true;
    }
    char *plain = arena_take(arena, raw.size);
    if (!plain)
        return false;
    for (uint32_t i = 0; i < raw.size; i++) {
        char c = raw.data[i];

        if (c == '\\')
            c = raw.data[++i] == 'n' ? '\n' : raw.data[i] == 't' ? '\t' : raw.data[i];
        plain[size++] = c;
    }
    *ret_value = span_make(plain, size);
    return true;
}

/* Which of the keys for the time has told it. */
struct teller {
    size_t rank;         /* in `known`; SIZE_MAX: none */
    const char *problem; /* of one that could not; NULL: none */
};

static const char *store_pair(const struct format *format, struct span key, struct span text,
                              const struct message *message, struct event_batch *batch, uint32_t row,
                              struct teller *teller)
{
    static const struct time_form form = {.unit = TIME_UNIT_AUTO};
    const struct json_value value = {.type = JSON_TEXT, .text = text};

    for (size_t i = 0; i < format->count && text.size > 0; i++) {
        const struct known *known = &format->known[i];
        bool is_time = known->ref.field == F_TIME;

        if (!span_equal(known->key, key) || (is_time && i > teller->rank))
            continue;
        const char *problem = field_store(batch, row, known->ref, &value, &form, 1, message->arrival_us);
        if (problem && (is_time || !known->guessed))
            problem = reason_print(batch, "%.*s: text %s", (int)key.size, key.data, problem);
        if (problem && !known->guessed)
            return problem;
        if (is_time && problem)
            teller->problem = problem;
        else if (is_time)
            teller->rank = i;
    }
    return NULL;
}

static const char *fill_row(const struct format *format, const struct message *message,
                            struct event_batch *batch, uint32_t row)
{
    struct pairs pairs = {message->payload.data, message->payload.data + message->payload.size};
    struct teller teller = {.rank = SIZE_MAX};
    const char *problem = NULL;
    bool any = false;

    while (!problem) {
        take_until(&pairs, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@_");
        struct span key = take_until(&pairs, "= \t\""), value = {0};

        if (key.size == 0)
            break;
        if (pairs.at == pairs.end || *pairs.at != '=')
            continue; /* a key alone */
        pairs.at++;
        any = true;
        if (pairs.at == pairs.end || *pairs.at != '"')
            value = take_until(&pairs, " \t");
        else if (!take_quoted(&pairs, &batch->text, &value))
            return "a value in quotes does not end";
        problem = store_pair(format, key, value, message, batch, row, &teller);
    }
    if (problem)
        return problem;
    if (!any)
        return "has no key=value";
    if (batch->time_us[row] == TIME_NONE && !teller.problem && format->arrival_is_time)
        batch->time_us[row] = message->arrival_us;
    if (batch->time_us[row] != TIME_NONE)
        return NULL;
    return teller.problem ? teller.problem : "no time";
}

static enum status logfmt_decode(struct format *format, const struct message *message,
                                 struct event_batch *batch, const char **ret_reason)
{
    if (message->payload.size == 0)
        return format_add_tombstone(batch);
    uint32_t row = event_batch_add(batch);
    if (row == UINT32_MAX)
        return STATUS_RETRY;
    if (format->labels_known < batch->label_columns)
        know_new_labels(format, batch);
    const char *problem = fill_row(format, message, batch, row);
    if (!problem)
        return STATUS_OK;
    batch->rows--;
    *ret_reason = problem;
    return STATUS_SKIP;
}

const struct format_type logfmt_format = {
    .name = "logfmt",
    .help = "lines of key=value pairs",
    .options = logfmt_options,
    .option_count = sizeof logfmt_options / sizeof *logfmt_options,
    .settings_size = sizeof(struct logfmt_settings),
    .open = logfmt_open,
    .decode = logfmt_decode,
    .close = logfmt_close,
};
