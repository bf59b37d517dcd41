/* Lines as Kubernetes' container runtimes write them, one file a container: RFC 3339 time, stream, P for a
 * part or F for the end of a line, the text. The runtime cuts long lines and may put lines of the other
 * stream between the parts, so a record goes on while a stream has an unfinished line, and gives a row for
 * each line in it. Source: CRI logging design, kubernetes/design-proposals-archive,
 * node/kubelet-cri-logging.md. */
#include "base/memory.h"
#include "ingest/json.h"

#include <assert.h>
#include <stdlib.h>

enum { STREAMS = 2 };
static const struct span stream_names[STREAMS] = {{.data = "stdout", .size = sizeof "stdout" - 1},
                                                  {.data = "stderr", .size = sizeof "stderr" - 1}};

struct format {
    unsigned label; /* `stream` */
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

static enum status cri_open(const void *settings, const struct format_context *context,
                            struct format **ret_format, struct error *ret_error)
{
    struct field_ref ref;

    if (!field_ref_parse(SPAN_LITERAL("labels.stream"), context->labels, &ref))
        return fail(ret_error, "no room for the label 'stream' (at most %d)", LABELS_MAX);
    *ret_format = memory_new(sizeof **ret_format);
    (*ret_format)->label = ref.label;
    return STATUS_OK;
}

/* A line that is being put together. */
struct unfinished {
    uint32_t row; /* UINT32_MAX: none */
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

/* The row of the part's line, begun by its first part; UINT32_MAX: the batch is full. */
static uint32_t row_of(struct format *format, struct event_batch *batch, struct unfinished *unfinished,
                       const struct part *part, uint32_t item)
{
    uint32_t row = unfinished->row;

    if (row != UINT32_MAX)
        return row;
    row = event_batch_add(batch);
    if (row == UINT32_MAX)
        return row;
    batch->item[row] = (uint16_t)item;
    batch->time_us[row] = part->time_us;
    batch->labels[format->label][row] = stream_names[part->stream];
    unfinished->row = row;
    return row;
}

static enum status decode_parts(struct format *format, const struct message *message,
                                struct event_batch *batch, const char **ret_reason)
{
    struct unfinished lines[STREAMS] = {{.row = UINT32_MAX}, {.row = UINT32_MAX}};
    struct span rest = message->payload, line;
    uint32_t before = batch->rows;

    while (span_take_line(&rest, &line)) {
        struct part part;
        const char *problem = read_part(line, &part);

        if (problem) {
            *ret_reason = reason_print(batch, "the line %s", problem);
            return STATUS_SKIP;
        }
        struct unfinished *unfinished = &lines[part.stream];
        uint32_t row = row_of(format, batch, unfinished, &part, batch->rows - before);

        if (row == UINT32_MAX || !append(batch, &batch->message[row], part.text))
            return STATUS_RETRY;
        if (part.is_last)
            unfinished->row = UINT32_MAX;
    }
    return STATUS_OK;
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

static void cri_close(struct format *format)
{
    free(format);
}

const struct format_type cri_format = {
    .name = "cri",
    .help = "log files of containers under Kubernetes (containerd, CRI-O): time, stream, P or F, text",
    .open = cri_open,
    .decode = cri_decode,
    .close = cri_close,
    .joins = cri_joins,
    .continues = cri_continues,
};
