/* Lines of a file or of standard input, plain or zstd: one partition, whose offset is the number of the
 * line from 0. poll runs once a batch and cuts lines out of one buffer that is filled only when no whole
 * line is left in it, so each byte is moved at most once beyond the read, and payloads stay put until
 * they are released. A file is resumed by passing over its first lines, a buffer an advance; the partition is
 * there when that is done. What came through a pipe cannot be read again, so there only the numbers go on.
 * Tried and dropped: mapping the file (a file that shrinks meanwhile would kill the process), getline (a
 * copy a line). */
#include "base/memory.h"
#include "ingest/source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum {
    BUFFER_BYTES = 1024 * 1024,
    LINE_BYTES_MAX = EVENT_TEXT_MAX, /* the rest of a longer line is dropped */
    BUFFER_BYTES_KEPT = 4 * BUFFER_BYTES,
    INPUT_BYTES = 128 * 1024,
    WARNING_BYTES = 512,
};

struct file_settings {
    char *path, *arrivals;
};

enum read_state { READ_MORE, READ_END_FOR_NOW, READ_DONE };

/* The bytes of one file and the lines cut out of them. */
struct lines {
    char *path;
    int descriptor;     /* -1: closed */
    bool may_wait;      /* a pipe or terminal: looked at before it is read */
    ZSTD_DStream *zstd; /* NULL: plain */
    char *input;        /* compressed bytes */
    ZSTD_inBuffer compressed;
    bool in_frame;       /* the frame begun is not complete */
    bool held_back;      /* the stream has more to give without more input */
    const char *trouble; /* to be told; static text */

    char *data;
    size_t start, size, capacity; /* of `data`; what is before `start` has been given */
    size_t searched;              /* no newline from `start` to here */
    bool skipping;                /* within the rest of a line that was too long */
    enum read_state state;
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

static bool is_zstd(int descriptor)
{
    unsigned char magic[4];

    if (pread(descriptor, magic, sizeof magic, 0) != (ssize_t)sizeof magic)
        return false;
    uint32_t number =
        (uint32_t)magic[0] | (uint32_t)magic[1] << 8 | (uint32_t)magic[2] << 16 | (uint32_t)magic[3] << 24;
    return number == ZSTD_MAGICNUMBER || (number & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

/* What is left of standard input when a source is closed is for the next one: a reload loses no line. */
static struct lines kept_stdin = {.descriptor = -1};

static void lines_close(struct lines *lines)
{
    if (lines->descriptor == STDIN_FILENO && lines->state != READ_DONE) {
        kept_stdin = *lines;
        *lines = (struct lines){.descriptor = -1};
        return;
    }
    if (lines->descriptor > STDERR_FILENO)
        close(lines->descriptor);
    ZSTD_freeDStream(lines->zstd);
    free(lines->input);
    free(lines->data);
    free(lines->path);
    *lines = (struct lines){.descriptor = -1};
}

/* "-" is standard input, which is never closed. On failure too the lines must be closed. */
static enum status lines_open(struct lines *lines, const char *path, struct error *ret_error)
{
    struct stat about;
    bool is_stdin = strcmp(path, "-") == 0;

    if (is_stdin && kept_stdin.descriptor == STDIN_FILENO) {
        *lines = kept_stdin;
        kept_stdin.descriptor = -1;
        return STATUS_OK;
    }
    int descriptor = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

    *lines = (struct lines){.path = memory_text(path, strlen(path)), .descriptor = descriptor};
    if (descriptor < 0 || fstat(descriptor, &about) != 0)
        return fail(ret_error, "%s: %s", path, strerror(errno));
    if (S_ISDIR(about.st_mode))
        return fail(ret_error, "%s: is a directory", path);
    lines->may_wait = !S_ISREG(about.st_mode);
    if (!lines->may_wait && is_zstd(descriptor)) {
        lines->zstd = ZSTD_createDStream();
        if (!lines->zstd)
            abort();
        lines->input = memory_new(INPUT_BYTES);
        lines->compressed.src = lines->input;
    }
    lines->capacity = BUFFER_BYTES;
    lines->data = memory_new(lines->capacity);
    return STATUS_OK;
}

/* Back to the first byte of a regular file. */
static void lines_rewind(struct lines *lines)
{
    off_t start = lseek(lines->descriptor, 0, SEEK_SET);

    assert(start == 0);
    if (lines->zstd)
        ZSTD_DCtx_reset(lines->zstd, ZSTD_reset_session_only);
    lines->compressed.size = lines->compressed.pos = 0;
    lines->in_frame = lines->held_back = lines->skipping = false;
    lines->start = lines->size = lines->searched = 0;
    lines->state = READ_MORE;
}

static bool lines_readable(const struct lines *lines)
{
    struct pollfd waiting = {.fd = lines->descriptor, .events = POLLIN};

    return !lines->may_wait || poll(&waiting, 1, 0) > 0;
}

/* Some bytes of the file; 0: see the state. */
static size_t read_bytes(struct lines *lines, char *bytes, size_t size)
{
    ssize_t got;

    if (!lines_readable(lines)) {
        lines->state = READ_END_FOR_NOW;
        return 0;
    }
    do {
        got = read(lines->descriptor, bytes, size);
    } while (got < 0 && errno == EINTR);
    if (got > 0)
        return (size_t)got;
    lines->state = got < 0 && errno == EAGAIN ? READ_END_FOR_NOW : READ_DONE;
    if (lines->state == READ_DONE && got < 0)
        lines->trouble = "cannot be read further";
    return 0;
}

static size_t read_zstd(struct lines *lines, char *bytes, size_t size)
{
    ZSTD_outBuffer plain = {.dst = bytes, .size = size};

    while (plain.pos == 0 && lines->state == READ_MORE) {
        if (lines->compressed.pos == lines->compressed.size && !lines->held_back) {
            lines->compressed.pos = 0;
            lines->compressed.size = read_bytes(lines, lines->input, INPUT_BYTES);
        }
        if (lines->compressed.size == 0 && !lines->held_back) {
            if (lines->state == READ_DONE && lines->in_frame && !lines->trouble)
                lines->trouble = "ends in the middle of a zstd frame";
            break;
        }
        size_t result = ZSTD_decompressStream(lines->zstd, &plain, &lines->compressed);
        if (ZSTD_isError(result)) {
            lines->trouble = "is no valid zstd from here on";
            lines->state = READ_DONE;
        }
        lines->in_frame = result != 0;
        lines->held_back = plain.pos == plain.size;
    }
    return plain.pos;
}

/* Takes back the room of the lines already given and reads on; grows when one line fills all of it. */
static void lines_fill(struct lines *lines)
{
    size_t kept = lines->size - lines->start;

    if (lines->capacity > BUFFER_BYTES_KEPT && kept < BUFFER_BYTES) {
        char *smaller = memory_new(BUFFER_BYTES);

        memcpy(smaller, lines->data + lines->start, kept);
        free(lines->data);
        lines->data = smaller;
        lines->capacity = BUFFER_BYTES;
    } else {
        memmove(lines->data, lines->data + lines->start, kept);
    }
    lines->searched -= lines->start;
    lines->start = 0;
    lines->size = kept;
    if (kept == lines->capacity)
        lines->data = memory_reserve(lines->data, &lines->capacity, kept + 1, 1);

    char *room = lines->data + kept;
    size_t left = lines->capacity - kept;
    lines->state = READ_MORE;
    lines->size += lines->zstd ? read_zstd(lines, room, left) : read_bytes(lines, room, left);
}

/* Drops the rest of a line that was too long; false: it goes on beyond the buffer. */
static bool lines_skip(struct lines *lines)
{
    if (!lines->skipping)
        return true;
    char *newline = memchr(lines->data + lines->start, '\n', lines->size - lines->start);
    lines->skipping = !newline;
    lines->start = newline ? (size_t)(newline - lines->data) + 1 : lines->size;
    lines->searched = lines->start;
    return newline;
}

/* The next line that stands whole in the buffer, without its end. The last may lack one; a line above
 * the limit is cut. */
static bool lines_next(struct lines *lines, struct span *ret_line)
{
    if (!lines_skip(lines))
        return false;

    char *start = lines->data + lines->start;
    char *newline = memchr(lines->data + lines->searched, '\n', lines->size - lines->searched);
    size_t size = newline ? (size_t)(newline - start) : lines->size - lines->start;
    bool is_last = !newline && lines->state == READ_DONE && size > 0;

    lines->searched = lines->size;
    if (!newline && !is_last && size < LINE_BYTES_MAX)
        return false;
    lines->skipping = !newline && !is_last;
    lines->start += newline ? size + 1 : size;
    lines->searched = lines->start;
    if (size > LINE_BYTES_MAX || lines->skipping) {
        lines->trouble = "the line is longer than 64 MiB and was cut";
        size = LINE_BYTES_MAX;
    }
    if (newline && size > 0 && start[size - 1] == '\r')
        size--;
    *ret_line = span_make(start, size);
    return true;
}

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
    source->partition.passing = !can_repeat;
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
