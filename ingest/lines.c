/* The bytes of one file, plain or zstd, and the lines cut out of them: one buffer that is filled only when no
 * whole line is left in it, so each byte is moved at most once beyond the read, and lines stay put until the
 * next filling. It is there only while it holds something.
 * Tried and dropped: mapping the file (a file that shrinks meanwhile would kill the process), getline (a
 * copy a line). */
#include "ingest/lines.h"

#include "base/memory.h"
#include "schemas/event.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 512 * 1024,
    LINE_BYTES_MAX = EVENT_TEXT_MAX, /* the rest of a longer line is dropped */
    BUFFER_BYTES_KEPT = 4 * BUFFER_BYTES,
    INPUT_BYTES = 128 * 1024,
    MAGIC_BYTES = 10,
    BLOCK_BYTES = 16 * 1024,
};

static bool is_zstd(struct span head)
{
    const unsigned char *magic = (const unsigned char *)head.data;

    if (head.size < 4)
        return false;
    uint32_t number =
        (uint32_t)magic[0] | (uint32_t)magic[1] << 8 | (uint32_t)magic[2] << 16 | (uint32_t)magic[3] << 24;
    return number == ZSTD_MAGICNUMBER || (number & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

/* By what else than zstd the file is packed; NULL: by nothing known. */
static const char *find_packer(struct span head)
{
    static const struct {
        const char *name;
        struct span magic;
    } packers[] = {
        {"gzip", SPAN_LITERAL("\x1f\x8b\x08")},
        {"xz", SPAN_LITERAL("\xfd\x37zXZ\0")},
        {"bzip2", SPAN_LITERAL("BZh91AY&SY")},
    };

    for (size_t i = 0; i < sizeof packers / sizeof *packers; i++)
        if (head.size >= packers[i].magic.size &&
            memcmp(head.data, packers[i].magic.data, packers[i].magic.size) == 0)
            return packers[i].name;
    return NULL;
}

/* What is left of standard input when a source is closed is for the next one: a reload loses no line. */
static struct lines kept_stdin = {.descriptor = -1};

void lines_close(struct lines *lines)
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

/* A writer that does not append goes on where it was when its file was cut off, behind a hole of NULs, which
 * may have been filled in copies. More NULs than a line may have are lines. */
static off_t find_begin(int descriptor)
{
    char block[BLOCK_BYTES];

    if (descriptor == STDIN_FILENO)
        return lseek(descriptor, 0, SEEK_CUR);
    off_t data = lseek(descriptor, 0, SEEK_DATA), begin = data;
    ssize_t size, nuls;

    if (data < 0) /* nothing but a hole, or a file system that knows none, as /proc */
        return lseek(descriptor, 0, errno == ENXIO ? SEEK_END : SEEK_SET);
    do {
        size = pread(descriptor, block, sizeof block, begin);
        for (nuls = 0; nuls < size && block[nuls] == '\0';)
            nuls++;
        begin += nuls;
    } while (nuls > 0 && nuls == size && begin - data < LINE_BYTES_MAX);
    return lseek(descriptor, begin - data < LINE_BYTES_MAX ? begin : data, SEEK_SET);
}

static enum status begin_regular(struct lines *lines, struct error *ret_error)
{
    char bytes[MAGIC_BYTES];

    lines->begin = find_begin(lines->descriptor);
    ssize_t size = pread(lines->descriptor, bytes, sizeof bytes, lines->begin);
    struct span head = span_make(bytes, size > 0 ? (size_t)size : 0);
    const char *packer = find_packer(head);

    if (packer)
        return fail(ret_error, "%s: is packed with %s; only plain files and zstd are read", lines->path,
                    packer);
    if (is_zstd(head)) {
        lines->zstd = ZSTD_createDStream();
        if (!lines->zstd)
            abort();
        lines->input = memory_new(INPUT_BYTES);
        lines->compressed.src = lines->input;
    }
    return STATUS_OK;
}

enum status lines_open(struct lines *lines, const char *path, struct error *ret_error)
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
    if (lines->may_wait)
        return STATUS_OK;
    return begin_regular(lines, ret_error);
}

void lines_rewind(struct lines *lines)
{
    off_t start = lseek(lines->descriptor, lines->begin, SEEK_SET);

    assert(start == lines->begin);
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
    bool more_may_come = got < 0 ? errno == EAGAIN : lines->goes_on;
    lines->state = more_may_come ? READ_END_FOR_NOW : READ_DONE;
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
        lines->held_back = lines->in_frame && plain.pos == plain.size;
    }
    return plain.pos;
}

static size_t read_plain(struct lines *lines, char *bytes, size_t size)
{
    return lines->zstd ? read_zstd(lines, bytes, size) : read_bytes(lines, bytes, size);
}

enum status lines_head(const char *path, char *bytes, size_t size, size_t *ret_size, struct error *ret_error)
{
    struct lines lines;
    size_t got = 0;
    enum status status = lines_open(&lines, path, ret_error);

    while (status == STATUS_OK && got < size && lines.state == READ_MORE)
        got += read_plain(&lines, bytes + got, size - got);
    lines_close(&lines);
    if (status == STATUS_OK)
        *ret_size = got;
    return status;
}

/* Takes back the room of the lines already given and reads on; grows when one line fills all of it. */
void lines_fill(struct lines *lines)
{
    size_t kept = lines->size - lines->start;

    if (lines->capacity > BUFFER_BYTES_KEPT && kept < BUFFER_BYTES) {
        char *smaller = memory_new(BUFFER_BYTES);

        memcpy(smaller, lines->data + lines->start, kept);
        free(lines->data);
        lines->data = smaller;
        lines->capacity = BUFFER_BYTES;
    } else if (kept > 0) {
        memmove(lines->data, lines->data + lines->start, kept);
    }
    lines->searched -= lines->start;
    lines->start = 0;
    lines->size = kept;
    if (lines->capacity == 0)
        lines->data = memory_new(lines->capacity = BUFFER_BYTES);
    else if (kept == lines->capacity)
        lines->data = memory_reserve(lines->data, &lines->capacity, kept + 1, 1);

    char *room = lines->data + kept;
    size_t left = lines->capacity - kept;
    lines->state = READ_MORE;
    lines->size += read_plain(lines, room, left);
    if (lines->size == 0 && lines->state != READ_MORE) {
        free(lines->data);
        lines->data = NULL;
        lines->capacity = 0;
    }
}

bool lines_drop_rest(struct lines *lines)
{
    if (lines->start == lines->size)
        return false;
    lines->skipping = true;
    lines->start = lines->searched = lines->size;
    return true;
}

/* Drops the rest of a line that is not given; false: it goes on beyond the buffer. */
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

bool lines_next(struct lines *lines, struct span *ret_line)
{
    if (lines->start == lines->size || !lines_skip(lines))
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
