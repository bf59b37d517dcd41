/* Lines of a file or of standard input, plain or zstd: one partition, whose offset is the number of the
 * line from 0. A file is resumed by passing over its first lines, a buffer an advance; the partition is
 * there when that is done. What came through a pipe cannot be read again, so there only the numbers go on. */
#include "base/memory.h"
#include "ingest/lines.h"
#include "ingest/source.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

enum { WARNING_BYTES = 512 };

struct file_settings {
    char *path, *arrivals;
};

struct source {
    struct source_context context;
    struct source_partition partition;
    bool mine;  /* the partition is this worker's; else nothing is open */
    bool found; /* the place where to read on */
    struct lines lines, arrivals;
    bool has_arrivals;
    int64_t next_offset;
    int64_t first_offset; /* lines before it are passed over; OFFSET_NONE: not asked for yet */
};

static void warn(struct source *source, const char *path, const char *text)
{
    char line[WARNING_BYTES];
    struct buffer out = {.data = line, .capacity = sizeof line, .limit = sizeof line};

    buffer_print(&out, "%.300s: after line %lld: %s", path, (long long)source->next_offset, text);
    assert(!out.full);
    source->context.warn(source->context.owner, line);
}

/* The arrival of the line just cut; the lines of both files go side by side. */
static int64_t next_arrival(struct source *source)
{
    struct lines *arrivals = &source->arrivals;
    struct span line;
    int64_t arrival_us;

    if (!source->has_arrivals)
        return TIME_NONE;
    while (!lines_next(arrivals, &line)) {
        if (arrivals->state == READ_DONE) {
            source->has_arrivals = false;
            warn(source, arrivals->path, arrivals->trouble ? arrivals->trouble : "no more arrival times");
            return TIME_NONE;
        }
        lines_fill(arrivals);
    }
    return time_parse(line, TIME_UNIT_MS, TIME_NONE, &arrival_us) ? arrival_us : TIME_NONE;
}

/* The file is shorter than what was read of it before: another one of the same name. */
static void start_anew(struct source *source)
{
    warn(source, source->lines.path,
         "it ends before the line where it was to be read on, and is read from its beginning");
    lines_rewind(&source->lines);
    source->has_arrivals = source->arrivals.descriptor >= 0;
    if (source->has_arrivals)
        lines_rewind(&source->arrivals);
    source->next_offset = source->first_offset = 0;
    source->partition.anew = true;
}

/* Towards the line where to read on, at most a buffer; true: it stands there. */
static bool pass_over(struct source *source)
{
    struct lines *lines = &source->lines;
    bool filled = false;

    while (source->next_offset < source->first_offset) {
        struct span line;

        if (lines_next(lines, &line)) {
            (void)next_arrival(source);
            source->next_offset++;
        } else if (lines->state == READ_DONE) {
            start_anew(source);
        } else if (filled) {
            return false;
        } else {
            lines_fill(lines);
            filled = true;
        }
    }
    return true;
}

/* Cuts lines until `limit` are found or none is left in the buffer; fills the buffer at most once, so
 * that a file of blank lines or one long line does not hold up the caller. */
static size_t file_poll(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                        enum poll_state *ret_state)
{
    static const enum poll_state states[] = {
        [READ_MORE] = POLL_MORE, [READ_END_FOR_NOW] = POLL_END, [READ_DONE] = POLL_DONE};
    struct lines *lines = &source->lines;
    bool filled = false;
    size_t count = 0;

    assert(source->found && index == 0 && limit > 0);
    while (count < limit) {
        struct span line;

        if (lines_next(lines, &line)) {
            int64_t arrival_us = next_arrival(source);
            int64_t offset = source->next_offset++;

            if (line.size > 0)
                ret_messages[count++] =
                    (struct message){.payload = line, .offset = offset, .arrival_us = arrival_us};
            continue;
        }
        if (count > 0 || filled || lines->state == READ_DONE)
            break;
        lines_fill(lines);
        filled = true;
    }
    if (lines->trouble)
        warn(source, lines->path, lines->trouble);
    lines->trouble = NULL;
    *ret_state = count > 0 ? POLL_MORE : states[lines->state];
    return count;
}

/* The buffer moves only in the next poll. */
static void file_release(struct source *source, size_t index, struct message *messages, size_t count)
{
}

/* What the store knows is there by the first advance, not yet when the source is opened. */
static void find_place(struct source *source)
{
    const struct source_context *context = &source->context;
    bool can_repeat = !source->lines.may_wait && source->lines.descriptor != STDIN_FILENO;
    int64_t offset = context->resume
                         ? context->resume(context->resume_owner, source->partition.topic, 0, can_repeat)
                         : OFFSET_NONE;

    source->first_offset = offset == OFFSET_NONE ? 0 : offset;
    if (!can_repeat)
        source->next_offset = source->first_offset;
}

static void file_advance(struct source *source, int64_t now_us)
{
    if (!source->mine || source->found)
        return;
    if (source->first_offset == OFFSET_NONE)
        find_place(source);
    source->found = pass_over(source);
}

static bool file_ready(const struct source *source)
{
    return source->found || !source->mine;
}

static size_t file_partition_count(const struct source *source)
{
    return source->found;
}

static const struct source_partition *file_partition(const struct source *source, size_t index)
{
    assert(source->found && index == 0);
    return &source->partition;
}

static void file_close(struct source *source)
{
    lines_close(&source->lines);
    lines_close(&source->arrivals);
    free(source);
}

static enum status open_arrivals(struct source *source, const char *path, struct error *ret_error)
{
    if (lines_open(&source->arrivals, path, ret_error))
        return STATUS_FATAL;
    if (source->arrivals.may_wait)
        return fail(ret_error, "%s: arrival times are read from a regular file only", path);
    source->has_arrivals = true;
    return STATUS_OK;
}

static enum status open_path(const char *path, const char *arrivals, const struct source_context *context,
                             struct source **ret_source, struct error *ret_error)
{
    struct source *source = memory_new(sizeof *source);

    *source = (struct source){
        .context = *context,
        .partition = {.committed = OFFSET_NONE},
        .mine = context->worker == 0,
        .first_offset = OFFSET_NONE,
        .lines.descriptor = -1,
        .arrivals.descriptor = -1,
    };
    if (source->mine && (lines_open(&source->lines, path, ret_error) ||
                         (arrivals && open_arrivals(source, arrivals, ret_error)))) {
        file_close(source);
        return STATUS_FATAL;
    }
    source->partition.topic = source->lines.path;
    *ret_source = source;
    return STATUS_OK;
}

static enum status file_open(const void *settings, const struct source_context *context,
                             struct source **ret_source, struct error *ret_error)
{
    const struct file_settings *file = settings;

    return open_path(file->path, file->arrivals, context, ret_source, ret_error);
}

static enum status stdin_open(const void *settings, const struct source_context *context,
                              struct source **ret_source, struct error *ret_error)
{
    return open_path("-", NULL, context, ret_source, ret_error);
}

static const struct option file_options[] = {
    {.name = "path",
     .type = OPTION_PATH,
     .offset = offsetof(struct file_settings, path),
     .required = true,
     .help = "File to read from its beginning, plain or zstd; each line is a message. A restart goes on at "
             "the line "
             "where it stopped."},
    {.name = "arrivals",
     .type = OPTION_PATH,
     .offset = offsetof(struct file_settings, arrivals),
     .help = "File with the arrival time of each line in epoch milliseconds, plain or zstd."},
};

const struct source_type file_source = {
    .name = "file",
    .help = "lines of a file, plain or zstd, once from beginning to end",
    .options = file_options,
    .option_count = sizeof file_options / sizeof *file_options,
    .settings_size = sizeof(struct file_settings),
    .open = file_open,
    .ready = file_ready,
    .advance = file_advance,
    .partition_count = file_partition_count,
    .partition = file_partition,
    .poll = file_poll,
    .release = file_release,
    .close = file_close,
};

const struct source_type stdin_source = {
    .name = "stdin",
    .help =
        "lines of standard input until it ends; a restart cannot read them again, only their numbers go on",
    .open = stdin_open,
    .ready = file_ready,
    .advance = file_advance,
    .partition_count = file_partition_count,
    .partition = file_partition,
    .poll = file_poll,
    .release = file_release,
    .close = file_close,
};
