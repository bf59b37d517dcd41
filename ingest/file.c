/* Lines of files or of standard input, plain or zstd. A file is one partition, whose offset is the number of
 * the line from 0; a followed one goes on in the next file of its name (follow.c). A file is resumed by
 * passing over its first lines, some buffers an advance; the partition is there when that is done. What came
 * through a pipe cannot be read again, so there only the numbers go on. Files of a pattern are dealt to the
 * workers; what is followed, and standard input, is the first one's. */
#include "ingest/file_source.h"

#include "base/memory.h"

#include <assert.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WARNING_BYTES = 512 };

/* Passed over in one step: half a megabyte each, some milliseconds in all. A worker without rows sleeps. */
enum { PASS_OVER_BUFFERS = 16 };

void file_warn(struct source *source, const char *path, int64_t offset, const char *text)
{
    char line[WARNING_BYTES];
    struct buffer out = {.data = line, .capacity = sizeof line, .limit = sizeof line};

    buffer_print(&out, "%.300s: after line %lld: %s", path, (long long)offset, text);
    assert(!out.full);
    source->context.warn(source->context.owner, line);
}

/* The arrival of the line just cut; the lines of both files go side by side. */
static int64_t next_kept_arrival(struct source *source)
{
    struct lines *arrivals = &source->arrivals;
    struct span line;
    int64_t arrival_us;

    while (!lines_next(arrivals, &line)) {
        if (arrivals->state == READ_DONE) {
            source->has_arrivals = false;
            file_warn(source, arrivals->path, source->streams[0]->next_offset,
                      arrivals->trouble ? arrivals->trouble : "no more arrival times");
            return TIME_NONE;
        }
        lines_fill(arrivals);
    }
    return time_parse(line, TIME_UNIT_MS, TIME_NONE, &arrival_us) ? arrival_us : TIME_NONE;
}

/* A line arrives when it is read, where it is read as it comes: a file at rest is the same at any time. */
static int64_t next_arrival(struct source *source, const struct stream *stream)
{
    bool comes = source->follower || stream->partition.passing;

    if (source->has_arrivals)
        return next_kept_arrival(source);
    return source->context.receives && comes ? source->now_us : TIME_NONE;
}

/* The file is shorter than what was read of it before: another one of the same name. */
static void start_anew(struct source *source, struct stream *stream)
{
    if (source->follower) {
        follow_too_short(source, stream);
        return;
    }
    file_warn(source, stream->lines.path, stream->next_offset,
              "it ends before the line where it was to be read on, and is read from its beginning");
    lines_rewind(&stream->lines);
    source->has_arrivals = source->arrivals.descriptor >= 0;
    if (source->has_arrivals)
        lines_rewind(&source->arrivals);
    stream->next_offset = stream->first_offset = 0;
    stream->partition.anew = true;
}

/* False: the file is not what it was, and follow.c finds out. */
static bool fill(struct source *source, struct stream *stream)
{
    if (source->follower && !follow_may_read(source, stream))
        return false;
    lines_fill(&stream->lines);
    return true;
}

/* Towards the line where to read on, at most some buffers; true: it stands there. The last line passed over
 * may have no end yet, when it was given as the last one of its file. */
static bool pass_over(struct source *source, struct stream *stream)
{
    struct lines *lines = &stream->lines;
    unsigned filled = 0;

    while (stream->next_offset < stream->first_offset) {
        struct span line;

        if (lines_next(lines, &line)) {
            (void)next_arrival(source, stream);
            stream->next_offset++;
        } else if (lines->state == READ_END_FOR_NOW && stream->next_offset + 1 == stream->first_offset &&
                   lines_drop_rest(lines)) {
            stream->next_offset++;
        } else if (lines->state != READ_MORE) {
            start_anew(source, stream);
        } else if (filled == PASS_OVER_BUFFERS || !fill(source, stream)) {
            return false;
        } else {
            filled++;
        }
    }
    return true;
}

/* Nothing stands in the buffer. */
static enum poll_state state_at_end(struct source *source, struct stream *stream)
{
    static const enum poll_state states[] = {
        [READ_MORE] = POLL_MORE, [READ_END_FOR_NOW] = POLL_END, [READ_DONE] = POLL_DONE};

    if (source->follower && stream->lines.state == READ_DONE)
        follow_finished(source, stream);
    if (!source->follower || stream->lines.descriptor >= 0)
        return states[stream->lines.state];
    return !stream->over ? POLL_MORE : source->context.once ? POLL_DONE : POLL_END;
}

/* Cuts lines until `limit` are found or none is left in the buffer; fills the buffer at most once, so
 * that a file of blank lines or one long line does not hold up the caller. */
static size_t file_poll(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                        enum poll_state *ret_state)
{
    struct stream *stream = source->partitions[index];
    struct lines *lines = &stream->lines;
    bool filled = stream->quiet;
    size_t count = 0;

    assert(index < source->partition_count && limit > 0);
    *ret_state = POLL_MORE;
    if (stream->next_offset < stream->first_offset) /* on its way to the line in another file */
        return 0;
    while (count < limit) {
        struct span line;

        if (lines_next(lines, &line)) {
            int64_t arrival_us = next_arrival(source, stream);
            int64_t offset = stream->next_offset++;

            if (line.size > 0)
                ret_messages[count++] =
                    (struct message){.payload = line, .offset = offset, .arrival_us = arrival_us};
            continue;
        }
        if (count > 0 || filled || lines->state == READ_DONE || lines->descriptor < 0)
            break;
        if (!fill(source, stream))
            break;
        filled = true;
        stream->quiet = lines->goes_on && lines->state == READ_END_FOR_NOW;
    }
    if (lines->trouble)
        file_warn(source, lines->path, stream->next_offset, lines->trouble);
    lines->trouble = NULL;
    if (count == 0)
        *ret_state = state_at_end(source, stream);
    return count;
}

/* The buffer moves only in the next poll. */
static void file_release(struct source *source, size_t index, struct message *messages, size_t count)
{
}

/* What the store knows is there by the first advance, not yet when the source is opened. */
static void find_place(struct source *source, struct stream *stream)
{
    const struct source_context *context = &source->context;
    bool can_repeat = !stream->lines.may_wait && stream->lines.descriptor != STDIN_FILENO;
    int64_t offset =
        context->resume ? context->resume(context->resume_owner, stream->topic, 0, can_repeat) : OFFSET_NONE;

    stream->first_offset = offset == OFFSET_NONE ? 0 : offset;
    stream->partition.passing = !can_repeat;
    if (!can_repeat)
        stream->next_offset = stream->first_offset;
}

static void file_advance(struct source *source, int64_t now_us)
{
    source->now_us = now_us;
    if (source->follower)
        follow_advance(source, now_us);
    for (size_t i = 0; i < source->stream_count; i++) {
        struct stream *stream = source->streams[i];

        if (stream->lines.descriptor < 0)
            continue;
        if (stream->first_offset == OFFSET_NONE)
            find_place(source, stream);
        if (!pass_over(source, stream) || stream->found)
            continue;
        stream->found = true;
        source->partitions = memory_reserve(source->partitions, &source->partition_capacity,
                                            source->partition_count + 1, sizeof(struct stream *));
        source->partitions[source->partition_count++] = stream;
    }
}

static bool file_ready(const struct source *source)
{
    if (source->follower && !follow_ready(source))
        return false;
    for (size_t i = 0; i < source->stream_count; i++)
        if (!source->streams[i]->found && source->streams[i]->lines.descriptor >= 0)
            return false;
    return true;
}

static bool file_endless(const void *settings)
{
    return ((const struct file_settings *)settings)->follow;
}

static bool file_dates(const void *settings)
{
    const struct file_settings *file = settings;
    struct stat about;

    return file->follow || file->arrivals || (stat(file->path, &about) == 0 && !S_ISREG(about.st_mode));
}

static size_t file_partition_count(const struct source *source)
{
    return source->partition_count;
}

static const struct source_partition *file_partition(const struct source *source, size_t index)
{
    assert(index < source->partition_count);
    return &source->partitions[index]->partition;
}

static void file_close(struct source *source)
{
    for (size_t i = 0; i < source->stream_count; i++) {
        struct stream *stream = source->streams[i];

        lines_close(&stream->lines);
        buffer_free(&stream->note);
        free(stream->marks);
        free(stream->topic);
        free(stream);
    }
    lines_close(&source->arrivals);
    follow_close(source->follower);
    free(source->streams);
    free(source->partitions);
    free(source);
}

struct stream *file_add_stream(struct source *source, const char *path)
{
    struct stream *stream = memory_new(sizeof *stream);

    *stream = (struct stream){.topic = memory_text(path, strlen(path)),
                              .partition.committed = OFFSET_NONE,
                              .first_offset = OFFSET_NONE,
                              .lines.descriptor = -1};
    stream->partition.topic = stream->topic;
    source->streams = memory_reserve(source->streams, &source->stream_capacity, source->stream_count + 1,
                                     sizeof(struct stream *));
    return source->streams[source->stream_count++] = stream;
}

/* A file whose name has such characters itself is meant as it is. */
bool file_is_pattern(const char *path)
{
    return strpbrk(path, "*?[") && access(path, F_OK) != 0;
}

static bool is_mine(const struct source *source, size_t file)
{
    return file % source->context.workers == source->context.worker;
}

static enum status open_all(struct source *source, const char *path, struct error *ret_error)
{
    enum status status = STATUS_OK;
    size_t files = 0;
    glob_t found;

    if (!file_is_pattern(path))
        return is_mine(source, 0) ? lines_open(&file_add_stream(source, path)->lines, path, ret_error)
                                  : STATUS_OK;
    if (glob(path, 0, NULL, &found) != 0)
        return fail(ret_error, "%s: no file matches the pattern", path);
    for (size_t i = 0; i < found.gl_pathc && status == STATUS_OK; i++) {
        struct stat about;

        if (stat(found.gl_pathv[i], &about) != 0 || !S_ISREG(about.st_mode))
            continue;
        if (files == FILES_MAX)
            status = fail(ret_error, "%s: more than %d files match the pattern", path, FILES_MAX);
        else if (is_mine(source, files++))
            status =
                lines_open(&file_add_stream(source, found.gl_pathv[i])->lines, found.gl_pathv[i], ret_error);
    }
    globfree(&found);
    return status;
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

static enum status file_check(const void *settings, const struct source_context *context,
                              struct error *ret_error)
{
    const struct file_settings *file = settings;

    if (file->arrivals && (file->follow || file_is_pattern(file->path)))
        return node_fail(node_find(context->node, "arrivals"), ret_error,
                         "arrivals: only for one file that is not followed");
    return STATUS_OK;
}

static enum status open_files(const struct file_settings *settings, const struct source_context *context,
                              struct source **ret_source, struct error *ret_error)
{
    struct source *source = memory_new(sizeof *source);
    enum status status = STATUS_OK;

    *source = (struct source){.context = *context, .settings = settings, .arrivals.descriptor = -1};
    if (!settings->follow)
        status = open_all(source, settings->path, ret_error);
    else if (context->worker == 0)
        source->follower = follow_open();
    if (status == STATUS_OK && context->worker == 0 && settings->arrivals)
        status = open_arrivals(source, settings->arrivals, ret_error);
    if (status != STATUS_OK) {
        file_close(source);
        return status;
    }
    *ret_source = source;
    return STATUS_OK;
}

static enum status file_open(const void *settings, const struct source_context *context,
                             struct source **ret_source, struct error *ret_error)
{
    return open_files(settings, context, ret_source, ret_error);
}

static enum status stdin_open(const void *settings, const struct source_context *context,
                              struct source **ret_source, struct error *ret_error)
{
    static const struct file_settings standard_input = {.path = "-"};

    return open_files(&standard_input, context, ret_source, ret_error);
}

static const struct option file_options[] = {
    {.name = "path",
     .type = OPTION_PATH,
     .offset = offsetof(struct file_settings, path),
     .required = true,
     .help =
         "File to read from its beginning, plain or zstd, or a pattern like `logs/*.jsonl`, of which each "
         "file is a partition; each line is a message. A restart goes on at the line where it stopped."},
    {.name = "follow",
     .type = OPTION_BOOL,
     .offset = offsetof(struct file_settings, follow),
     .default_text = "false",
     .help = "Wait for more lines, for files that do not exist yet, and go on in the next file when one is "
             "renamed, truncated or removed. Files are known again by how they begin, so a pattern may match "
             "the renamed and packed ones too."},
    {.name = "arrivals",
     .type = OPTION_PATH,
     .offset = offsetof(struct file_settings, arrivals),
     .help = "File with the arrival time of each line in epoch milliseconds, plain or zstd."},
};

const struct source_type file_source = {
    .name = "file",
    .help = "lines of files, plain or zstd, once from beginning to end or followed as they grow",
    .options = file_options,
    .option_count = sizeof file_options / sizeof *file_options,
    .settings_size = sizeof(struct file_settings),
    .check = file_check,
    .open = file_open,
    .ready = file_ready,
    .endless = file_endless,
    .dates = file_dates,
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
