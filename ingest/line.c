/* The `line` format: lines of text taken apart by a pattern with named groups. The pattern is matched once a
 * line, and `begins` once more where records have several lines; both are compiled to machine code and
 * bounded, so that no input can hang them. What stands in the lines behind the first goes to the message, or
 * to the stack trace. PCRE2 without UTF mode: a log line may hold any bytes. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "ingest/line.h"
#include "base/memory.h"
#include "ingest/json.h"
#include "ingest/trace.h"

#include <assert.h>
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MATCH_LIMIT = 100000, /* steps of one match: about a millisecond */
    JIT_STACK_START = 32 * 1024,
    JIT_STACK_MAX = 512 * 1024,
    SYSLOG_SEVERITIES = 8,
};

struct line_settings {
    char *preset, *pattern, *begins, *time_zone;
    struct option_texts time_layouts;
    int time_unit; /* enum time_unit */
    int64_t year;  /* 0: not told */
};

struct group { /* a named group of the pattern */
    uint32_t number;
    bool is_priority; /* of syslog: severity and facility in one number */
    const char *name;
    struct field_ref ref;
};

struct format {
    const struct line_preset *preset; /* NULL: the user's own pattern */
    pcre2_code *pattern, *begins;     /* begins NULL: each line is a record */
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct group *groups;
    size_t count;
    bool has_time;
    unsigned facility;         /* label of syslog's facility, with is_priority */
    struct time_form forms[5]; /* two layouts of the user's, the usual forms, two layouts of the preset's */
    size_t form_count;
    int64_t year_us; /* the middle of the year that times without one are of; TIME_NONE: the arrival's */
};

static const char *const unit_names[] = {"auto", "s", "ms", "us", "ns", NULL}; /* by enum time_unit */

static const struct option line_options[] = {
    {.name = "preset",
     .type = OPTION_TEXT,
     .offset = offsetof(struct line_settings, preset),
     .help = "What writes the lines, one of the presets below, instead of a pattern."},
    {.name = "pattern",
     .type = OPTION_TEXT,
     .offset = offsetof(struct line_settings, pattern),
     .help =
         "Perl regular expression (PCRE2) from the line's beginning, instead of a preset; its named groups "
         "`(?<level>[A-Z]+)` go to the fields of that name, other names become labels."},
    {.name = "begins",
     .type = OPTION_TEXT,
     .offset = offsetof(struct line_settings, begins),
     .help = "Pattern of the lines that begin a record; the lines up to the next one belong to it. Without "
             "it each line is a record."},
    {.name = "time_layout",
     .type = OPTION_TEXTS,
     .offset = offsetof(struct line_settings, time_layouts),
     .help = "How times are written, `%d/%b/%Y:%H:%M:%S %z`, besides the usual forms; at most two, the first "
             "that fits counts. Directives: %Y %y %m %b %d %H %M %S (with its fraction) %a %z %%."},
    {.name = "time_unit",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct line_settings, time_unit),
     .default_text = "auto",
     .choices = unit_names,
     .help = "Unit of times that are bare numbers; auto goes by their size."},
    {.name = "time_zone",
     .type = OPTION_TEXT,
     .offset = offsetof(struct line_settings, time_zone),
     .default_text = "Z",
     .help = "Offset of times that name no zone, `+02:00`."},
    {.name = "year",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct line_settings, year),
     .min = 1970,
     .max = 9999,
     .help = "Year of times without one, as syslog has them; else the year that puts them nearest to the "
             "message's arrival."},
};

static void line_close(struct format *format)
{
    pcre2_code_free(format->pattern);
    pcre2_code_free(format->begins);
    pcre2_match_data_free(format->match);
    pcre2_match_context_free(format->context);
    pcre2_jit_stack_free(format->stack);
    free(format->groups);
    free(format);
}

static pcre2_code *compile(const char *name, const char *pattern, const struct format_context *context,
                           struct error *ret_error)
{
    const uint32_t options = PCRE2_ANCHORED | PCRE2_DUPNAMES | PCRE2_DOLLAR_ENDONLY;
    unsigned char reason[128];
    size_t at;
    int code;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);

    if (!compiled) {
        pcre2_get_error_message(code, reason, sizeof reason);
        format_refuse(context, name, ret_error, "at character %zu: %s", at + 1, reason);
        return NULL;
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it the interpreter runs, with equal results */
    return compiled;
}

/* "level" is the field, "client" a label. */
static enum status read_group(struct format *format, struct group *group,
                              const struct format_context *context, struct error *ret_error)
{
    char label[sizeof "labels." + LABEL_NAME_MAX];
    struct field_ref facility;

    group->is_priority = strcmp(group->name, "priority") == 0;
    if (group->is_priority) {
        group->ref.field = F_LEVEL;
        if (!field_ref_parse(SPAN_LITERAL("labels.facility"), context->labels, &facility))
            return format_refuse(context, "pattern", ret_error,
                                 "no room for the label 'facility' (at most %d)", LABELS_MAX);
        format->facility = facility.label;
        return STATUS_OK;
    }
    if (field_find(span_of(group->name)) >= 0) {
        group->ref.field = (enum field)field_find(span_of(group->name));
        format->has_time |= group->ref.field == F_TIME;
        return STATUS_OK;
    }
    snprintf(label, sizeof label, "labels.%s", group->name);
    if (!field_ref_parse(span_of(label), context->labels, &group->ref))
        return format_refuse(context, "pattern", ret_error, "no room for the label '%s' (at most %d)",
                             group->name, LABELS_MAX);
    return STATUS_OK;
}

static enum status read_groups(struct format *format, const struct format_context *context,
                               struct error *ret_error)
{
    PCRE2_SPTR names;
    uint32_t count, size;

    pcre2_pattern_info(format->pattern, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(format->pattern, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(format->pattern, PCRE2_INFO_NAMETABLE, &names);
    if (count == 0)
        return format_refuse(context, "pattern", ret_error,
                             "has no named group, so nothing of a line would be kept");
    format->groups = memory_new(count * sizeof *format->groups);
    format->count = count;
    for (uint32_t i = 0; i < count; i++, names += size) {
        format->groups[i].number = (uint32_t)names[0] << 8 | names[1];
        format->groups[i].name = (const char *)names + 2;
        if (read_group(format, &format->groups[i], context, ret_error))
            return STATUS_FATAL;
    }
    return STATUS_OK;
}

/* In days since 1970 the middle is half the sum of the ends. */
static int64_t middle_of_year(int64_t year)
{
    return (days_from_civil(year, 1, 1) + days_from_civil(year + 1, 1, 1)) * (86400 / 2) * 1000000;
}

static enum status read_times(struct format *format, const struct line_settings *settings,
                              const struct format_context *context, struct error *ret_error)
{
    struct time_form form = {.unit = (enum time_unit)settings->time_unit};
    const char *problem = NULL;

    if (!time_zone_parse(span_of(settings->time_zone), &form.zone_us))
        return format_refuse(context, "time_zone", ret_error, "'%s' is not an offset such as +02:00",
                             settings->time_zone);
    if (settings->time_layouts.count > 2)
        return format_refuse(context, "time_layout", ret_error, "at most two");
    for (size_t i = 0; i < settings->time_layouts.count; i++) {
        form.layout = settings->time_layouts.items[i];
        problem = time_layout_check(form.layout);
        if (problem)
            return format_refuse(context, "time_layout", ret_error, "'%s' %s", form.layout, problem);
        format->forms[format->form_count++] = form;
    }
    form.layout = NULL;
    format->forms[format->form_count++] = form;
    for (size_t i = 0; format->preset && i < 2 && format->preset->layouts[i]; i++) {
        form.layout = format->preset->layouts[i];
        assert(!time_layout_check(form.layout));
        format->forms[format->form_count++] = form;
    }
    format->year_us = settings->year ? middle_of_year(settings->year) - form.zone_us : TIME_NONE;
    return STATUS_OK;
}

static enum status find_preset(const char *name, const struct format_context *context,
                               const struct line_preset **ret_preset, struct error *ret_error)
{
    const char *names[32];
    size_t count = 0;

    for (; line_presets[count].name; count++) {
        if (strcmp(line_presets[count].name, name) == 0) {
            *ret_preset = &line_presets[count];
            return STATUS_OK;
        }
        names[count] = line_presets[count].name;
    }
    const char *near = nearest_name(name, names, count);
    return format_refuse(context, "preset", ret_error, "there is no '%s'%s%s%s", name,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static enum status line_read(struct format *format, const struct line_settings *settings,
                             const struct format_context *context, struct error *ret_error)
{
    const char *pattern = settings->pattern, *begins = settings->begins;

    if (!settings->preset == !settings->pattern)
        return format_refuse(context, "pattern", ret_error, "it is this or a 'preset', one of both");
    if (settings->preset) {
        if (find_preset(settings->preset, context, &format->preset, ret_error))
            return STATUS_FATAL;
        pattern = format->preset->pattern;
        begins = begins ? begins : format->preset->begins;
    }
    format->pattern = compile("pattern", pattern, context, ret_error);
    if (!format->pattern)
        return STATUS_FATAL;
    format->begins = begins ? compile("begins", begins, context, ret_error) : NULL;
    if (begins && !format->begins)
        return STATUS_FATAL;
    if (read_groups(format, context, ret_error) || read_times(format, settings, context, ret_error))
        return STATUS_FATAL;
    format->match = pcre2_match_data_create_from_pattern(format->pattern, NULL);
    format->context = pcre2_match_context_create(NULL);
    format->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    assert(format->match && format->context && format->stack);
    pcre2_set_match_limit(format->context, MATCH_LIMIT);
    pcre2_jit_stack_assign(format->context, NULL, format->stack);
    return STATUS_OK;
}

static enum status line_open(const void *settings, const struct format_context *context,
                             struct format **ret_format, struct error *ret_error)
{
    struct format *format = memory_new(sizeof *format);

    if (line_read(format, settings, context, ret_error)) {
        line_close(format);
        return STATUS_FATAL;
    }
    *ret_format = format;
    return STATUS_OK;
}

static int match(struct format *format, const pcre2_code *code, struct span line)
{
    return pcre2_match(code, (PCRE2_SPTR)line.data, line.size, 0, 0, format->match, format->context);
}

/* The message's severity names the level unless the pattern has found one; RFC 5424, section 6.2.1. */
static const char *store_priority(const struct format *format, struct span text, struct event_batch *batch,
                                  uint32_t row)
{
    static const char *const severities[SYSLOG_SEVERITIES] = {"emergency", "alert",  "critical", "error",
                                                              "warning",   "notice", "info",     "debug"};
    static const char *const facilities[] = {"kern",   "user",   "mail",   "daemon", "auth",     "syslog",
                                             "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                             "ntp",    "audit",  "alert",  "clock",  "local0",   "local1",
                                             "local2", "local3", "local4", "local5", "local6",   "local7"};
    const struct json_value value = {.type = JSON_NUMBER, .text = text};
    int64_t priority;

    if (json_value_integer(&value, 0, 191, &priority))
        return "is not 0 to 191";
    if (batch->level[row].size == 0)
        batch->level[row] = span_of(severities[priority % SYSLOG_SEVERITIES]);
    batch->labels[format->facility][row] = span_of(facilities[priority / SYSLOG_SEVERITIES]);
    return NULL;
}

static const char *store(const struct format *format, const struct group *group, struct span text,
                         const struct message *message, struct event_batch *batch, uint32_t row)
{
    const struct json_value value = {.type = JSON_TEXT, .text = text};
    int64_t reference_us = format->year_us == TIME_NONE ? message->arrival_us : format->year_us;

    if (group->is_priority)
        return store_priority(format, text, batch, row);
    return field_store(batch, row, group->ref, &value, format->forms, format->form_count, reference_us);
}

/* The lines behind the first go on with the message, which mostly ends where its line does. */
static bool add_lines(struct event_batch *batch, uint32_t row, struct span first, struct span payload)
{
    struct span rest = span_make(payload.data + first.size, payload.size - first.size);
    struct span *message = &batch->message[row];

    if (message->size > 0 && message->data + message->size == rest.data) {
        message->size += rest.size;
    } else {
        char *text = arena_take(&batch->text, (size_t)message->size + rest.size);

        if (!text)
            return false;
        if (message->size)
            memcpy(text, message->data, message->size);
        memcpy(text + message->size, rest.data, rest.size);
        *message = span_make(text, (size_t)message->size + rest.size);
    }
    trace_split(batch, row);
    return true;
}

static void fill_constants(const struct line_preset *preset, struct event_batch *batch, uint32_t row)
{
    if (preset->engine)
        batch->engine[row] = span_of(preset->engine);
    if (preset->metric && !isnan(batch->value[row])) {
        batch->metric[row] = span_of(preset->metric);
        batch->unit[row] = span_of(preset->unit);
    }
}

static const char *fill_row(struct format *format, const struct message *message, struct event_batch *batch,
                            uint32_t row)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(format->match);

    for (size_t i = 0; i < format->count; i++) {
        const struct group *group = &format->groups[i];
        PCRE2_SIZE start = ends[2 * group->number], end = ends[2 * group->number + 1];

        if (start == PCRE2_UNSET || end <= start)
            continue;
        const char *problem =
            store(format, group, span_make(message->payload.data + start, end - start), message, batch, row);
        if (problem)
            return reason_print(batch, "%s: text %s", group->name, problem);
    }
    if (!format->has_time)
        batch->time_us[row] = message->arrival_us;
    if (batch->time_us[row] == TIME_NONE)
        return "no time";
    if (format->preset)
        fill_constants(format->preset, batch, row);
    return NULL;
}

static const char *why_no_match(struct format *format, struct span line, int found)
{
    if (found != PCRE2_ERROR_NOMATCH)
        return "the pattern takes too many steps on the line";
    if (format->begins && match(format, format->begins, line) == PCRE2_ERROR_NOMATCH)
        return "begins no record, and no line before it did";
    return "the line does not match the pattern";
}

static enum status line_decode(struct format *format, const struct message *message,
                               struct event_batch *batch, const char **ret_reason)
{
    if (message->payload.size == 0)
        return format_add_tombstone(batch);
    uint32_t row = event_batch_add(batch);
    if (row == UINT32_MAX)
        return STATUS_RETRY;
    struct span line = message->payload, rest = line;

    if (format->begins)
        span_take_line(&rest, &line);
    int found = match(format, format->pattern, line);
    const char *problem =
        found < 0 ? why_no_match(format, line, found) : fill_row(format, message, batch, row);

    if (!problem && line.size < message->payload.size && !add_lines(batch, row, line, message->payload)) {
        if (--batch->rows > 0)
            return STATUS_RETRY;
        *ret_reason = "the record is longer than 64 MiB";
        return STATUS_SKIP;
    }
    if (!problem)
        return STATUS_OK;
    batch->rows--;
    *ret_reason = problem;
    return STATUS_SKIP;
}

static bool line_joins(const struct format *format)
{
    return format->begins;
}

static bool line_continues(struct format *format, struct span before, struct span line)
{
    return match(format, format->begins, line) == PCRE2_ERROR_NOMATCH;
}

static bool line_undated(const struct format *format)
{
    return !format->has_time;
}

const struct format_type line_format = {
    .name = "line",
    .help = "lines of text, taken apart by a pattern or as a well-known program writes them",
    .options = line_options,
    .option_count = sizeof line_options / sizeof *line_options,
    .settings_size = sizeof(struct line_settings),
    .open = line_open,
    .decode = line_decode,
    .close = line_close,
    .joins = line_joins,
    .continues = line_continues,
    .undated = line_undated,
};
