/* The sinks `file` and `stdout`: JSON lines, or readable alerts on a terminal. offer() appends to a bounded
 * queue, advance() writes what the descriptor takes without waiting. A line is told as stored when write(2)
 * has taken all of it: it survives the end of the process, not of the machine.
 * Several workers write to one file or to standard output: each keeps the others out, without waiting, while
 * it writes and until its line is whole. From a file a piece of a line is taken back when the disk is full.
 * Pipes get at most PIPE_BUF bytes at a time, which a pipe that polls writable takes without blocking.
 * Tried and dropped: O_NONBLOCK on standard output, which every process that shares it would get too. */
#include "sinks/sink.h"

#include "base/memory.h"
#include "base/state.h"
#include "sinks/terminal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_US 1000000LL
enum {
    STEP_BYTES = 4 * 1024 * 1024,
    STEPS = 64,
    COMPACT_BYTES = 64 * 1024,
    TEXT_BYTES_MAX = 2000000000,
    LAYOUT = 1
};

struct file_settings {
    char *path; /* NULL: standard output */
    int64_t queue_bytes;
};

struct queued_line {
    size_t end; /* in bytes since open */
    uint64_t ticket;
};

struct sink {
    struct sink_context context;
    const char *path; /* NULL: standard output */
    int descriptor;
    bool regular, terminal, colour;
    bool broken;      /* nobody reads any more: lines are dropped as done */
    bool within_line; /* a part of the first line is out, and the others are kept out */
    size_t queue_bytes;
    struct buffer queue;
    size_t head;           /* bytes at the queue's front that are out */
    size_t taken, written; /* bytes since open */
    struct queued_line *lines;
    size_t line_first, line_count, line_capacity; /* lines [first, count) wait */
    int64_t retry_us, next_warning_us;
    struct sink_figures figures;
};

/* Whose line is not whole on standard output; there is one for the process. */
static _Atomic(const struct sink *) stdout_owner;

// clang-format off
#define QUEUE_ROW {.name = "queue_bytes", .type = OPTION_SIZE, .offset = offsetof(struct file_settings, queue_bytes), \
     .default_text = "16MiB", .min = 64 * 1024, .max = 1024 * 1024 * 1024, .scale = SCALE_LOG, \
     .help = "Lines that wait for a full disk or a slow reader, a worker; beyond it the sources are held back."}
static const struct option file_options[] = {
    {.name = "path", .type = OPTION_PATH, .offset = offsetof(struct file_settings, path), .required = true,
     .help = "File to append to; made when missing."},
    QUEUE_ROW,
};
static const struct option stdout_options[] = {QUEUE_ROW};
// clang-format on

static void begin(struct sink *sink, const struct file_settings *settings, const struct sink_context *context)
{
    const char *no_colour = getenv("NO_COLOR");
    struct stat status = {0};

    *sink = (struct sink){
        .context = *context,
        .path = settings->path,
        .descriptor = sink->descriptor,
        .queue_bytes = (size_t)settings->queue_bytes,
    };
    sink->regular = fstat(sink->descriptor, &status) == 0 && S_ISREG(status.st_mode);
    sink->terminal = isatty(sink->descriptor) == 1;
    sink->colour = sink->terminal && !(no_colour && *no_colour);
    buffer_init(&sink->queue, TEXT_BYTES_MAX);
}

static void close_sink(struct sink *sink)
{
    const struct sink *self = sink;

    atomic_compare_exchange_strong(&stdout_owner, &self, NULL);
    if (sink->path)
        close(sink->descriptor);
    buffer_free(&sink->queue);
    free(sink->lines);
    free(sink);
}

/* A line that a kill has torn stays as it is, but the next one begins on a line of its own. While another
 * worker has the lock it is writing: its line is not torn. */
static bool end_torn_line(const struct sink *sink)
{
    if (!sink->regular || flock(sink->descriptor, LOCK_EX | LOCK_NB) != 0)
        return true;
    int reader = open(sink->path, O_RDONLY | O_CLOEXEC);
    off_t size = reader < 0 ? 0 : lseek(reader, 0, SEEK_END);
    char last = '\n';
    bool torn = size > 0 && pread(reader, &last, 1, size - 1) == 1 && last != '\n';
    bool ended = !torn || write(sink->descriptor, "\n", 1) == 1;

    if (reader >= 0)
        close(reader);
    flock(sink->descriptor, LOCK_UN);
    return ended;
}

static enum status open_file(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    const struct file_settings *own = settings;
    int descriptor = open(own->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);

    if (descriptor < 0)
        return fail(ret_error, "%s: %s", own->path, strerror(errno));
    *ret_sink = memory_new(sizeof **ret_sink);
    (*ret_sink)->descriptor = descriptor;
    begin(*ret_sink, own, context);
    if (!end_torn_line(*ret_sink)) {
        int cause = errno;

        close_sink(*ret_sink);
        *ret_sink = NULL;
        return fail(ret_error, "%s: %s", own->path, strerror(cause));
    }
    return STATUS_OK;
}

static enum status open_stdout(const void *settings, const struct sink_context *context,
                               struct sink **ret_sink, struct error *ret_error)
{
    *ret_sink = memory_new(sizeof **ret_sink);
    (*ret_sink)->descriptor = STDOUT_FILENO;
    begin(*ret_sink, settings, context);
    assert((*ret_sink)->path == NULL);
    return STATUS_OK;
}

static size_t waiting(const struct sink *sink)
{
    return sink->queue.size - sink->head;
}

static enum status offer(struct sink *sink, const struct document *document)
{
    size_t size = (size_t)document->body.size + 1;

    if (waiting(sink) > 0 && waiting(sink) + size > sink->queue_bytes)
        return STATUS_RETRY;
    size_t before = sink->queue.size;

    if (!(sink->terminal && document->kind == DOC_ALERT &&
          terminal_put_alert(document->body, sink->colour, &sink->queue))) {
        buffer_put_span(&sink->queue, document->body);
        buffer_put_char(&sink->queue, '\n');
    }
    assert(!sink->queue.full);
    sink->taken += sink->queue.size - before;
    sink->lines =
        memory_reserve(sink->lines, &sink->line_capacity, sink->line_count + 1, sizeof *sink->lines);
    sink->lines[sink->line_count++] = (struct queued_line){.end = sink->taken, .ticket = document->ticket};
    sink->figures.documents++;
    return STATUS_OK;
}

/* Tells of the lines that are out now, `size` more bytes of the queue. Moving the rest up waits until as much
 * is out as there is to move, so each byte moves once. */
static void take_written(struct sink *sink, size_t size, struct verdicts *verdicts)
{
    size_t whole = sink->within_line ? 0 : sink->written;

    sink->written += size;
    sink->head += size;
    sink->figures.bytes += size;
    while (sink->line_first < sink->line_count && sink->lines[sink->line_first].end <= sink->written) {
        whole = sink->lines[sink->line_first].end;
        verdicts_done(verdicts, sink->lines[sink->line_first++].ticket);
    }
    sink->within_line = sink->written > whole;
    if (sink->head < COMPACT_BYTES && sink->head < sink->queue.size)
        return;
    if (sink->head >= waiting(sink)) {
        buffer_remove_front(&sink->queue, sink->head);
        sink->head = 0;
        sink->line_count -= sink->line_first;
        memmove(sink->lines, sink->lines + sink->line_first, sink->line_count * sizeof *sink->lines);
        sink->line_first = 0;
    }
}

static void wait_and_tell(struct sink *sink, int64_t now_us, int error)
{
    sink->retry_us = now_us + SECOND_US;
    sink->figures.retries++;
    sink_warn(&sink->context, &sink->next_warning_us, now_us, "%s: %s; trying again, nothing is lost",
              sink->path ? sink->path : "standard output", strerror(error));
}

/* Bytes of whole lines within the next `size` bytes of the queue. */
static size_t whole_lines(const struct sink *sink, size_t size)
{
    const char *start = sink->queue.data + sink->head;
    const char *end = size ? memrchr(start, '\n', size) : NULL;

    return end ? (size_t)(end - start) + 1 : 0;
}

/* Keeps the other workers out; false: one of them is writing, the next advance tries again. */
static bool enter(struct sink *sink)
{
    const struct sink *owner = NULL;

    if (sink->within_line)
        return true;
    if (sink->path)
        return flock(sink->descriptor, LOCK_EX | LOCK_NB) == 0 ||
               errno != EWOULDBLOCK; /* no locks there: go on */
    return atomic_compare_exchange_strong(&stdout_owner, &owner, sink);
}

static void leave(struct sink *sink)
{
    if (sink->within_line)
        return;
    if (sink->path)
        flock(sink->descriptor, LOCK_UN);
    else
        atomic_store(&stdout_owner, NULL);
}

/* Takes the piece of a line at the end of a short write back; returns how much of the write stays. */
static size_t take_back(struct sink *sink, size_t written)
{
    size_t whole = whole_lines(sink, written);
    off_t end = lseek(sink->descriptor, 0, SEEK_CUR); /* O_APPEND: where this write ended */

    if (sink->within_line || whole == written || end < (off_t)written)
        return written;
    return ftruncate(sink->descriptor, end - (off_t)(written - whole)) == 0 ? whole : written;
}

/* Whether there may be more to write now. */
static bool write_some(struct sink *sink, int64_t now_us, struct verdicts *verdicts)
{
    size_t most = sink->regular ? STEP_BYTES : PIPE_BUF;
    size_t size = waiting(sink) < most ? waiting(sink) : most;
    size_t whole = sink->within_line ? 0 : whole_lines(sink, size);

    if (whole)
        size = whole;
    else if (sink->regular)
        size = waiting(sink); /* a line above STEP_BYTES goes out at once */
    ssize_t written = write(sink->descriptor, sink->queue.data + sink->head, size);

    if (written < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (written < 0 && errno == EPIPE && !sink->path) {
        sink->broken = true;
        sink_warn(&sink->context, &sink->next_warning_us, now_us,
                  "nobody reads standard output any more; nothing more is written");
        return false;
    }
    if (written < 0) {
        wait_and_tell(sink, now_us, errno);
        return false;
    }
    bool disk_full = sink->regular && (size_t)written < size;

    take_written(sink, disk_full && sink->path ? take_back(sink, (size_t)written) : (size_t)written,
                 verdicts);
    if (disk_full)
        wait_and_tell(sink, now_us, ENOSPC);
    return !disk_full;
}

static void advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct pollfd ready = {.fd = sink->descriptor, .events = POLLOUT};

    if (waiting(sink) > 0 && !sink->broken && now_us >= sink->retry_us && enter(sink)) {
        for (unsigned i = 0; i < STEPS && waiting(sink) > 0 && poll(&ready, 1, 0) > 0; i++)
            if (!write_some(sink, now_us, verdicts))
                break;
        leave(sink);
    }
    if (sink->broken) {
        sink->within_line = false;
        take_written(sink, waiting(sink), verdicts);
    }
}

static size_t pending(const struct sink *sink)
{
    return sink->line_count - sink->line_first;
}

static void figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    *ret_figures = sink->figures;
    ret_figures->queue_bytes = waiting(sink);
}

/* The file and its size: between advances it ends with a whole line, whoever wrote it. */
static void mark(const struct sink *sink, struct buffer *out)
{
    struct stat status = {0};

    if (!sink->regular || fstat(sink->descriptor, &status) != 0)
        return;
    pack_u8(out, LAYOUT);
    pack_u64(out, status.st_dev);
    pack_u64(out, status.st_ino);
    pack_u64(out, (uint64_t)status.st_size);
}

static void resume(struct sink *sink, struct span mark_then)
{
    struct unpack in = unpack_begin(mark_then);
    struct stat status = {0};

    if (!sink->regular || mark_then.size == 0)
        return;
    bool known = unpack_u8(&in) == LAYOUT;
    uint64_t device = unpack_u64(&in), number = unpack_u64(&in), size = unpack_u64(&in);

    if (known && unpack_ended(&in) && fstat(sink->descriptor, &status) == 0 && status.st_dev == device &&
        status.st_ino == number && (uint64_t)status.st_size >= size &&
        ftruncate(sink->descriptor, (off_t)size) == 0)
        return;
    sink_warn(&sink->context, &sink->next_warning_us, 0,
              "%s: not the file of the last checkpoint; lines written since then may be there twice",
              sink->path);
}

const struct sink_type sink_file = {
    .name = "file",
    .help = "JSON lines, appended to a file",
    .form = SINK_LINES,
    .options = file_options,
    .option_count = sizeof file_options / sizeof *file_options,
    .settings_size = sizeof(struct file_settings),
    .open = open_file,
    .offer = offer,
    .advance = advance,
    .pending = pending,
    .figures = figures,
    .mark = mark,
    .resume = resume,
    .close = close_sink,
};

const struct sink_type sink_stdout = {
    .name = "stdout",
    .help = "JSON lines on standard output; readable alerts on a terminal",
    .form = SINK_LINES,
    .options = stdout_options,
    .option_count = sizeof stdout_options / sizeof *stdout_options,
    .settings_size = sizeof(struct file_settings),
    .open = open_stdout,
    .offer = offer,
    .advance = advance,
    .pending = pending,
    .figures = figures,
    .close = close_sink,
};
