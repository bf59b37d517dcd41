/* Lines as Kubernetes' container runtimes write them, one file a container: RFC 3339 time, stream, P for a
 * part or F for the end of a line, the text. The runtime cuts long lines and may put lines of the other
 * stream between the parts, so a record goes on while a stream has an unfinished line, and gives a row for
 * each line in it, in the order in which they end; another format may read the texts. Source: CRI logging
 * design, kubernetes/design-proposals-archive, node/kubelet-cri-logging.md. */
#include "base/memory.h"
#include "ingest/json.h"

#include <assert.h>
#include <stdlib.h>

enum { STREAMS = 2 };
static const struct span stream_names[STREAMS] = {{.data = "stdout", .size = sizeof "stdout" - 1},
                                                  {.data = "stderr", .size = sizeof "stderr" - 1}};

struct cri_settings {
    char *text;
};

struct format {
    unsigned label;                      /* `stream` */
    const struct format_type *text_type; /* what reads the texts; NULL: they are messages */
    void *text_settings;
    struct format *text_format;
};

static const struct option cri_options[] = {
    {.name = "text",
     .type = OPTION_TEXT,
     .offset = offsetof(struct cri_settings, text),
     .help = "Format of the texts: auto, fields, ecs, logfmt, or another one of whole lines. A text that it "
             "cannot read is a message, as without this key."},
};

struct part {
    int64_t time_us;
    unsigned stream;
    bool is_last;
    struct span text;
};

static struct span take_word(struct span *rest)
{
    const char *blank = rest->size ? memchr(rest->data, ' ', rest->size) : NULL;
    struct span word = span_make(rest->data, blank ? (size_t)(blank - rest->data) : rest->size);
    uint32_t used = word.size + (blank != NULL);

    *rest = span_make(rest->data + used, rest->size - used);
    return word;
}

/* Tags behind P or F, with ':' between, say nothing yet. NULL, or what is wrong. */
static const char *read_part(struct span line, struct part *ret_part)
{
    struct span time = take_word(&line), stream = take_word(&line), tag = take_word(&line);
    struct part part = {.text = line};

    if (!time_parse(time, TIME_UNIT_AUTO, TIME_NONE, &part.time_us) ||
        time.size < sizeof "2026-11-21T10:00:00Z" - 1)
        return "does not begin with an RFC 3339 time";
    while (part.stream < STREAMS && !span_equal(stream, stream_names[part.stream]))
        part.stream++;
    if (part.stream == STREAMS)
        return "has neither stdout nor stderr behind the time";
    if (tag.size == 0 || (tag.data[0] != 'P' && tag.data[0] != 'F') || (tag.size > 1 && tag.data[1] != ':'))
        return "has neither P nor F behind the stream";
    part.is_last = tag.data[0] == 'F';
    *ret_part = part;
    return NULL;
}

static bool cri_joins(const struct format *format)
{
    return true;
}

static bool cri_continues(struct format *format, struct span before, struct span line)
{
    bool open[STREAMS] = {false};
    struct part part;
    struct span each;

    while (span_take_line(&before, &each))
        if (!read_part(each, &part))
            open[part.stream] = !part.is_last;
    return (open[0] || open[1]) && !read_part(line, &part);
}

static void cri_close(struct format *format)
{
    if (format->text_format)
        format->text_type->close(format->text_format);
    free(format->text_settings);
    free(format);
}

/* A text without a time has that of its line. */
static enum status open_text(struct format *format, const char *name, const struct format_context *context,
                             struct error *ret_error)
{
    struct format_context text_context = *context;
    const struct format_type *type = format_type_find(name);

    if (!type || type->joins)
        return format_refuse(context, "text", ret_error, "'%s' is no format of whole lines", name);
    text_context.arrival_is_time = true;
    format->text_type = type;
    format->text_settings = memory_new(type->settings_size);
    return type->open(format->text_settings, &text_context, &format->text_format, ret_error);
}

static enum status cri_open(const void *settings, const struct format_context *context,
                            struct format **ret_format, struct error *ret_error)
{
    const struct cri_settings *cri = settings;
    struct field_ref ref;

    if (!field_ref_parse(SPAN_LITERAL("labels.stream"), context->labels, &ref))
        return fail(ret_error, "no room for the label 'stream' (at most %d)", LABELS_MAX);
    struct format *format = memory_new(sizeof *format);
    format->label = ref.label;
    if (cri->text && open_text(format, cri->text, context, ret_error)) {
        cri_close(format);
        return STATUS_FATAL;
    }
    *ret_format = format;
    return STATUS_OK;
}

/* A line that is being put together. */
struct unfinished {
    bool is_open;
    int64_t time_us; /* of its first part */
    struct span text;
};

static bool append(struct event_batch *batch, struct span *text, struct span more)
{
    char *joined;

    if (text->size == 0) {
        *text = more;
        return true;
    }
    joined = arena_take(&batch->text, (size_t)text->size + more.size);
    if (!joined)
        return false;
    memcpy(joined, text->data, text->size);
    if (more.size)
        memcpy(joined + text->size, more.data, more.size);
    *text = span_make(joined, (size_t)text->size + more.size);
    return true;
}

/* The rows that the other format makes of a text; STATUS_SKIP: none, or not all are good. */
static enum status decode_text(struct format *format, struct event_batch *batch,
                               const struct unfinished *line)
{
    const struct message message = {.payload = line->text, .arrival_us = line->time_us};
    uint32_t first = batch->rows;
    const char *reason;

    if (!format->text_type || line->text.size == 0)
        return STATUS_SKIP;
    enum status status = format->text_type->decode(format->text_format, &message, batch, &reason);
    if (status != STATUS_OK)
        return status;
    for (uint32_t row = first; row < batch->rows; row++)
        if (batch->mark[row] != MARK_OK) {
            batch->rows = first;
            return STATUS_SKIP;
        }
    return batch->rows > first ? STATUS_OK : STATUS_SKIP;
}

/* The rows of a line that is whole, or that nothing follows. */
static enum status add_line(struct format *format, struct event_batch *batch, struct span stream,
                            const struct unfinished *line)
{
    uint32_t row = batch->rows;
    enum status status = decode_text(format, batch, line);

    if (status == STATUS_SKIP) {
        if (event_batch_add(batch) == UINT32_MAX)
            return STATUS_RETRY;
        batch->time_us[row] = line->time_us;
    } else if (status != STATUS_OK) {
        return status;
    }
    for (; row < batch->rows; row++) {
        batch->labels[format->label][row] = stream;
        if (batch->message[row].size == 0)
            batch->message[row] = line->text;
    }
    return STATUS_OK;
}

static enum status decode_parts(struct format *format, const struct message *message,
                                struct event_batch *batch, const char **ret_reason)
{
    struct unfinished lines[STREAMS] = {{.is_open = false}};
    struct span rest = message->payload, line;
    uint32_t before = batch->rows;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && span_take_line(&rest, &line)) {
        struct part part;
        const char *problem = read_part(line, &part);

        if (problem) {
            *ret_reason = reason_print(batch, "the line %s", problem);
            return STATUS_SKIP;
        }
        struct unfinished *unfinished = &lines[part.stream];
        if (!unfinished->is_open)
            *unfinished = (struct unfinished){.is_open = true, .time_us = part.time_us};
        if (!append(batch, &unfinished->text, part.text))
            return STATUS_RETRY;
        unfinished->is_open = !part.is_last;
        if (part.is_last)
            status = add_line(format, batch, stream_names[part.stream], unfinished);
    }
    for (unsigned stream = 0; stream < STREAMS && status == STATUS_OK; stream++)
        if (lines[stream].is_open)
            status = add_line(format, batch, stream_names[stream], &lines[stream]);
    for (uint32_t row = before; row < batch->rows; row++)
        batch->item[row] = (uint16_t)(row - before);
    return status;
}

static enum status cri_decode(struct format *format, const struct message *message, struct event_batch *batch,
                              const char **ret_reason)
{
    uint32_t before = batch->rows;

    if (message->payload.size == 0)
        return format_add_tombstone(batch);
    enum status status = decode_parts(format, message, batch, ret_reason);
    if (status != STATUS_OK)
        batch->rows = before;
    if (status == STATUS_RETRY && before == 0) {
        *ret_reason = "the record is longer than 64 MiB, or of too many lines";
        return STATUS_SKIP;
    }
    return status;
}

const struct format_type cri_format = {
    .name = "cri",
    .help = "log files of containers under Kubernetes (containerd, CRI-O): time, stream, P or F, text",
    .options = cri_options,
    .option_count = sizeof cri_options / sizeof *cri_options,
    .settings_size = sizeof(struct cri_settings),
    .open = cri_open,
    .decode = cri_decode,
    .close = cri_close,
    .joins = cri_joins,
    .continues = cri_continues,
};
