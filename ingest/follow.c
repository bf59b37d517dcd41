/* Files that grow, are rotated and appear. Each second the files of the pattern are looked at; one that
 * has not been seen under any name begins a stream, or goes on with the stream of its name once the file
 * before it is read to its end. So a log is one stream of lines, in order, however often it is rotated.
 *
 * A file is known by its mark: how it begins, at least a line and at most HEAD_BYTES, decompressed. Renamed,
 * copied (copytruncate) and packed files are thereby the ones they were, also after a restart, when the
 * marks come back from the store with the offsets; what was not read of a file is read wherever it is now.
 * Device and inode only choose between files that begin alike. What cannot be known: whether two files with
 * the same beginning are two (the second is left out and said, unless its beginning changes), and what stood
 * in a file that is gone.
 * Tried and dropped: a file as a partition (each rotation would begin without a watermark, and a year of them
 * stays in memory), device and inode alone (used again soon, lost by copies), inotify (polling is needed
 * anyhow for remote file systems, and costs one stat a file and second). */
#include "base/memory.h"
#include "base/state.h"
#include "ingest/file_source.h"

#include <assert.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LAYOUT = 1,
    SCAN_EVERY_US = 1000 * 1000,
    HEAD_BYTES = 1024,
    MARKS_KEPT = 128, /* of a stream, and more where the files of all of them are still there */
    MARK_BYTES = 36,  /* in a note */
    STILL_SCANS = 5,  /* a renamed file may still be written to: quiet for so long before it is left */
    CUT_SCANS = 2,    /* a copy of a file cut off may be seen a little later */
};

struct candidate {
    char *path;
    uint64_t name; /* hash of the path */
    uint64_t device, inode;
    int64_t size, changed_ns;
    uint32_t head_size; /* 0: not a whole line yet */
    uint64_t hash;      /* of the head */
    bool told, unreadable;
    char head[HEAD_BYTES];
};

struct follower {
    struct candidate **files; /* by path */
    size_t count;
    int64_t due_us;
    bool recalled, scanned, told_many;
};

struct follower *follow_open(void)
{
    struct follower *follower = memory_new(sizeof *follower);

    follower->due_us = INT64_MIN;
    return follower;
}

static void forget_file(struct candidate *file)
{
    free(file->path);
    free(file);
}

static void forget_files(struct candidate **files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        forget_file(files[i]);
    free(files);
}

void follow_close(struct follower *follower)
{
    if (!follower)
        return;
    forget_files(follower->files, follower->count);
    free(follower);
}

bool follow_ready(const struct source *source)
{
    return source->follower->scanned;
}

static int64_t changed_at(const struct stat *about)
{
    return (int64_t)about->st_mtim.tv_sec * 1000000000 + about->st_mtim.tv_nsec;
}

static struct candidate *find_path(const struct follower *follower, const char *path)
{
    uint64_t name = hash_bytes(path, strlen(path), 0);

    for (size_t i = 0; i < follower->count; i++)
        if (follower->files[i]->name == name && strcmp(follower->files[i]->path, path) == 0)
            return follower->files[i];
    return NULL;
}

/* False: it has gone meanwhile. What cannot be read is said once, and tried with each look. */
static bool read_head(struct source *source, struct candidate *file)
{
    struct error error;
    size_t size = 0;
    bool told = file->unreadable;

    file->unreadable = lines_head(file->path, file->head, HEAD_BYTES, &size, &error) != STATUS_OK;
    if (file->unreadable && access(file->path, F_OK) != 0)
        return false;
    if (file->unreadable && !told)
        source->context.warn(source->context.owner, error.text);
    bool tells = size == HEAD_BYTES || source->context.once || memchr(file->head, '\n', size);
    file->head_size = tells ? (uint32_t)size : 0;
    file->hash = hash_bytes(file->head, file->head_size, 0);
    return true;
}

/* NULL: no regular file. The head of one that has not changed is not read again. */
static struct candidate *examine(struct source *source, const char *path)
{
    const struct candidate *before = find_path(source->follower, path);
    struct candidate *file;
    struct stat about;

    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
        return NULL;
    file = memory_new(sizeof *file);
    if (before)
        *file = *before;
    bool same = before && !file->unreadable && file->device == about.st_dev && file->inode == about.st_ino &&
                file->size == about.st_size && file->changed_ns == changed_at(&about);
    file->path = memory_text(path, strlen(path));
    file->name = hash_bytes(path, strlen(path), 0);
    file->device = about.st_dev;
    file->inode = about.st_ino;
    file->size = about.st_size;
    file->changed_ns = changed_at(&about);
    if (!same && !read_head(source, file)) {
        forget_file(file);
        return NULL;
    }
    return file;
}

struct match {
    char *path;
    int64_t changed_ns;
};

static int compare_paths(const void *left, const void *right)
{
    return strcmp(((const struct match *)left)->path, ((const struct match *)right)->path);
}

static int compare_newest(const void *left, const void *right)
{
    int64_t a = ((const struct match *)left)->changed_ns, b = ((const struct match *)right)->changed_ns;

    return a == b ? compare_paths(left, right) : a > b ? -1 : 1;
}

/* The newest files of too many, by path. */
static void keep_newest(glob_t *found)
{
    struct match *matches = memory_new(found->gl_pathc * sizeof *matches);

    for (size_t i = 0; i < found->gl_pathc; i++) {
        struct stat about;

        matches[i].path = found->gl_pathv[i];
        matches[i].changed_ns = stat(matches[i].path, &about) == 0 ? changed_at(&about) : INT64_MIN;
    }
    qsort(matches, found->gl_pathc, sizeof *matches, compare_newest);
    qsort(matches, FILES_MAX, sizeof *matches, compare_paths);
    for (size_t i = 0; i < found->gl_pathc; i++)
        found->gl_pathv[i] = matches[i].path;
    free(matches);
}

static void add_file(struct source *source, const char *path, struct candidate **files, size_t *count)
{
    struct candidate *file = examine(source, path);

    if (file)
        files[(*count)++] = file;
}

static void list_files(struct source *source)
{
    struct follower *follower = source->follower;
    const char *pattern = source->settings->path;
    struct candidate **files = memory_new(FILES_MAX * sizeof *files);
    size_t count = 0;
    glob_t found = {0};

    if (!file_is_pattern(pattern))
        add_file(source, pattern, files, &count);
    else if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > FILES_MAX)
        keep_newest(&found);
    for (size_t i = 0; i < found.gl_pathc && i < FILES_MAX; i++)
        add_file(source, found.gl_pathv[i], files, &count);
    if (count == 0 && !follower->scanned)
        file_warn(source, pattern, 0, "no such file yet");
    if (found.gl_pathc > FILES_MAX && !follower->told_many)
        file_warn(source, pattern, 0, "more than 1000 files match; those written to last are followed");
    follower->told_many |= found.gl_pathc > FILES_MAX;
    globfree(&found);
    forget_files(follower->files, follower->count);
    follower->files = files;
    follower->count = count;
}

static bool fits(const struct file_mark *mark, const struct candidate *file)
{
    if (mark->head_size == 0 || file->head_size < mark->head_size)
        return false;
    if (mark->head_size == file->head_size)
        return mark->hash == file->hash;
    return mark->hash == hash_bytes(file->head, mark->head_size, 0);
}

static bool same_inode(const struct file_mark *mark, const struct candidate *file)
{
    return mark->device == file->device && mark->inode == file->inode;
}

/* The mark of the file in any stream; NULL: it was never seen. */
static const struct file_mark *find_mark(const struct source *source, const struct candidate *file)
{
    for (int by_inode = 1; by_inode >= 0; by_inode--)
        for (size_t i = 0; i < source->stream_count; i++) {
            const struct stream *stream = source->streams[i];

            for (size_t m = 0; m < stream->mark_count; m++)
                if ((!by_inode || same_inode(&stream->marks[m], file)) && fits(&stream->marks[m], file))
                    return &stream->marks[m];
        }
    return NULL;
}

/* Where the file of a mark is now; `but_here`: elsewhere than it was. */
static struct candidate *find_file(const struct source *source, const struct file_mark *mark, bool but_here)
{
    const struct follower *follower = source->follower;

    for (int by_inode = !but_here; by_inode >= 0; by_inode--)
        for (size_t i = 0; i < follower->count; i++)
            if (same_inode(mark, follower->files[i]) == by_inode && fits(mark, follower->files[i]))
                return follower->files[i];
    return NULL;
}

/* A new file under the stream's name. */
static struct candidate *find_successor(const struct source *source, const struct stream *stream)
{
    struct candidate *file = find_path(source->follower, stream->topic);

    return file && file->head_size > 0 && !find_mark(source, file) ? file : NULL;
}

/* Another file under the stream's name that begins as the newest one read: it was written anew with the same
 * lines and more (rsync, sed -i), and is read on. */
static struct candidate *find_replacement(const struct source *source, const struct stream *stream)
{
    struct candidate *file = find_path(source->follower, stream->topic);

    if (!file || stream->mark_count == 0)
        return NULL;
    const struct file_mark *newest = &stream->marks[stream->mark_count - 1];
    return fits(newest, file) && !same_inode(newest, file) ? file : NULL;
}

static void write_note(struct stream *stream)
{
    buffer_clear(&stream->note);
    pack_u8(&stream->note, LAYOUT);
    for (size_t i = 0; i < stream->mark_count; i++) {
        const struct file_mark *mark = &stream->marks[i];

        pack_i64(&stream->note, mark->first_offset);
        pack_u64(&stream->note, mark->device);
        pack_u64(&stream->note, mark->inode);
        pack_u64(&stream->note, mark->hash);
        pack_u32(&stream->note, mark->head_size);
    }
    stream->partition.note = buffer_span(&stream->note);
}

static struct stream *add_stream(struct source *source, const char *topic)
{
    struct stream *stream = file_add_stream(source, topic);

    stream->name = hash_bytes(topic, strlen(topic), 0);
    stream->note.limit = SOURCE_NOTE_MAX;
    return stream;
}

static int64_t resume(const struct source *source, const struct stream *stream, bool can_repeat)
{
    const struct source_context *context = &source->context;

    return context->resume ? context->resume(context->resume_owner, stream->topic, 0, can_repeat)
                           : OFFSET_NONE;
}

/* For the next line that is surely new: offsets that lines had before a restart are not given again, even
 * when those lines are found no more. */
static int64_t new_offset(const struct source *source, const struct stream *stream)
{
    int64_t known = resume(source, stream, false);

    return known > stream->next_offset ? known : stream->next_offset;
}

/* The last file that begins at or before the line where to read on. */
static void choose_mark(struct stream *stream)
{
    stream->mark = 0;
    while (stream->mark + 1 < stream->mark_count &&
           stream->marks[stream->mark + 1].first_offset <= stream->first_offset)
        stream->mark++;
}

static struct file_mark *push_mark(struct stream *stream)
{
    stream->marks =
        memory_reserve(stream->marks, &stream->mark_capacity, stream->mark_count + 1, sizeof *stream->marks);
    return &stream->marks[stream->mark_count++];
}

static void read_note(struct stream *stream, struct span note)
{
    struct unpack in;
    struct error ignored;

    if (unpack_layout(note, LAYOUT, &in, &ignored) != STATUS_OK)
        return;
    while (in.at < in.end) {
        struct file_mark mark = {.first_offset = unpack_i64(&in)};

        mark.device = unpack_u64(&in);
        mark.inode = unpack_u64(&in);
        mark.hash = unpack_u64(&in);
        mark.head_size = unpack_u32(&in);
        if (in.broken)
            return;
        *push_mark(stream) = mark;
    }
}

static void recall_stream(void *owner, struct span topic, struct span note)
{
    struct source *source = owner;
    char *path = memory_text(topic.data, topic.size);
    struct stream *stream = add_stream(source, path);

    free(path);
    read_note(stream, note);
    stream->first_offset = stream->next_offset = resume(source, stream, true);
    choose_mark(stream);
    write_note(stream);
}

static void set_mark(struct file_mark *mark, const struct candidate *file)
{
    mark->device = file->device;
    mark->inode = file->inode;
    mark->head_size = file->head_size;
    mark->hash = file->hash;
}

/* The oldest one whose file is gone; a file still there without its mark would be read again. */
static void drop_mark(const struct source *source, struct stream *stream)
{
    size_t dropped = 0;

    while (dropped < stream->mark_count && find_file(source, &stream->marks[dropped], false))
        dropped++;
    if (dropped == stream->mark_count && stream->mark_count < SOURCE_NOTE_MAX / MARK_BYTES)
        return;
    dropped %= stream->mark_count;
    stream->mark_count--;
    memmove(stream->marks + dropped, stream->marks + dropped + 1,
            (stream->mark_count - dropped) * sizeof *stream->marks);
    stream->mark--;
}

static void add_mark(struct source *source, struct stream *stream, const struct candidate *file,
                     int64_t first_offset)
{
    assert(stream->mark == stream->mark_count);
    if (stream->mark_count >= MARKS_KEPT)
        drop_mark(source, stream);
    *push_mark(stream) = (struct file_mark){.first_offset = first_offset};
    set_mark(&stream->marks[stream->mark], file);
}

/* Reads the file of the stream's mark from its first line to the one where to read on; nothing will be added
 * to a file that is not the newest. */
static void open_file(struct source *source, struct stream *stream, struct candidate *file, bool goes_on)
{
    struct file_mark *mark = &stream->marks[stream->mark];
    struct error error;

    if (lines_open(&stream->lines, file->path, &error) != STATUS_OK) {
        lines_close(&stream->lines); /* tried again with the next look */
        if (!file->told)
            source->context.warn(source->context.owner, error.text);
        file->told = true;
        return;
    }
    if (file->head_size >= mark->head_size)
        set_mark(mark, file);
    stream->lines.goes_on = goes_on && !source->context.once;
    stream->next_offset = mark->first_offset;
    if (stream->first_offset < mark->first_offset)
        stream->first_offset = mark->first_offset;
    stream->quiet = stream->over = false;
    stream->still = stream->cut = 0;
    stream->size = -1;
    write_note(stream);
}

/* Lines that are still owed something may be in a file that is gone; those not read yet need not be. */
static void skip_lost(struct source *source, struct stream *stream)
{
    int64_t next = resume(source, stream, false);

    file_warn(source, stream->topic, stream->first_offset,
              "the file that was read is gone; what was not read of it, or not delivered, is lost");
    if (!stream->found && next > stream->first_offset) {
        stream->first_offset = next;
        choose_mark(stream);
    } else {
        stream->mark++;
    }
    stream->next_offset = stream->first_offset;
}

static void open_next(struct source *source, struct stream *stream)
{
    struct candidate *successor = find_successor(source, stream), *replacement;

    while (stream->mark < stream->mark_count) {
        struct candidate *file = find_file(source, &stream->marks[stream->mark], false);

        if (file) {
            open_file(source, stream, file, stream->mark + 1 == stream->mark_count);
            return;
        }
        if (stream->mark + 1 == stream->mark_count && !successor)
            break; /* it may come back under another name */
        skip_lost(source, stream);
    }
    replacement = stream->mark == stream->mark_count ? find_replacement(source, stream) : NULL;
    stream->over = !successor && !replacement;
    if (successor) {
        add_mark(source, stream, successor, new_offset(source, stream));
        open_file(source, stream, successor, true);
    } else if (replacement) {
        stream->mark--;
        open_file(source, stream, replacement, true);
    }
}

void follow_finished(struct source *source, struct stream *stream)
{
    lines_close(&stream->lines);
    stream->mark++;
    stream->over = false;
    stream->first_offset = stream->next_offset;
    source->follower->due_us = INT64_MIN;
}

/* It begins as the one that was read, and has fewer lines. Under the log's name it was cut off and is written
 * again; elsewhere it is a copy made before the last lines were written that were read, or has lost them. */
void follow_too_short(struct source *source, struct stream *stream)
{
    if (strcmp(stream->lines.path, stream->topic) != 0) {
        stream->next_offset = stream->first_offset;
        follow_finished(source, stream);
        return;
    }
    file_warn(source, stream->lines.path, stream->first_offset,
              "it ends before the line where it was to be read on, and is read from its beginning");
    lines_rewind(&stream->lines);
    stream->next_offset = stream->first_offset;
    stream->first_offset = stream->next_offset = new_offset(source, stream);
    stream->marks[stream->mark].first_offset = stream->next_offset;
    write_note(stream);
}

/* The open file still begins as it did, and has what was read of it. A longer beginning tells more. */
static bool is_intact(struct stream *stream)
{
    struct file_mark *mark = &stream->marks[stream->mark];
    char head[HEAD_BYTES];
    struct stat about;

    if (fstat(stream->lines.descriptor, &about) != 0 ||
        about.st_size < lseek(stream->lines.descriptor, 0, SEEK_CUR))
        return false;
    if (stream->lines.zstd)
        return true;
    ssize_t size = pread(stream->lines.descriptor, head, HEAD_BYTES, stream->lines.begin);
    if (size < (ssize_t)mark->head_size || hash_bytes(head, mark->head_size, 0) != mark->hash)
        return false;
    if (size > (ssize_t)mark->head_size) {
        mark->head_size = (uint32_t)size;
        mark->hash = hash_bytes(head, mark->head_size, 0);
        write_note(stream);
    }
    return true;
}

bool follow_may_read(struct source *source, struct stream *stream)
{
    if (is_intact(stream))
        return true;
    stream->quiet = true;
    stream->size = -1;
    return false;
}

/* What was not read of a file cut off is read in its copy, if there is one. */
static void go_to_copy(struct source *source, struct stream *stream)
{
    struct file_mark *mark = &stream->marks[stream->mark];
    struct candidate *copy = find_file(source, mark, true);

    stream->quiet = true;
    if (copy) {
        lines_close(&stream->lines);
        stream->first_offset = stream->next_offset;
        open_file(source, stream, copy, false);
    } else if (++stream->cut > CUT_SCANS) {
        file_warn(source, stream->lines.path, stream->next_offset,
                  "the file was cut off; what had not been read of it is lost");
        mark->head_size = 0; /* fits nothing: what comes now is new */
        write_note(stream);
        stream->lines.state = READ_DONE; /* what is in the buffer is still given */
        if (stream->next_offset < stream->first_offset) {
            stream->next_offset = stream->first_offset;
            follow_finished(source, stream);
        }
    }
}

/* Nothing is written any more to a file that has lost its name. */
static bool is_left(const struct source *source, const struct stream *stream, const struct stat *about)
{
    return about->st_nlink == 0 || find_successor(source, stream) || find_replacement(source, stream);
}

static void look_at(struct source *source, struct stream *stream)
{
    struct stat about;

    if (fstat(stream->lines.descriptor, &about) != 0)
        return;
    bool same = about.st_size == stream->size && changed_at(&about) == stream->changed_ns;
    if (stream->cut || (!same && !is_intact(stream))) {
        go_to_copy(source, stream);
        return;
    }
    if (!same) {
        stream->size = about.st_size;
        stream->changed_ns = changed_at(&about);
        stream->still = 0;
        stream->quiet = false;
    } else if (stream->quiet && stream->lines.goes_on && is_left(source, stream, &about) &&
               ++stream->still >= STILL_SCANS) {
        stream->lines.goes_on = stream->quiet = false; /* a last line without its end is given too */
        if (about.st_nlink == 0)
            stream->marks[stream->mark].inode = 0; /* it may soon be another file's */
    }
}

static const struct stream *find_stream(const struct source *source, const struct candidate *file)
{
    for (size_t i = 0; i < source->stream_count; i++)
        if (source->streams[i]->name == file->name && strcmp(source->streams[i]->topic, file->path) == 0)
            return source->streams[i];
    return NULL;
}

/* Two files begin alike, and the one that was read is still there: a copy, for all that can be known. */
static void tell_copy(struct source *source, struct candidate *file, const struct file_mark *mark)
{
    const struct candidate *other = find_file(source, mark, false);

    if (file->told || same_inode(mark, file) || !other || !same_inode(mark, other))
        return;
    file->told = true;
    file_warn(source, file->path, 0, "it begins like another file and is taken for a copy");
}

static void begin_streams(struct source *source)
{
    struct follower *follower = source->follower;

    for (size_t i = 0; i < follower->count; i++) {
        struct candidate *file = follower->files[i];
        const struct file_mark *mark = file->head_size > 0 ? find_mark(source, file) : NULL;
        const struct stream *known = find_stream(source, file);
        int64_t offset;

        if (mark && !(known && find_replacement(source, known)))
            tell_copy(source, file, mark);
        if (mark || file->head_size == 0 || known)
            continue;
        struct stream *stream = add_stream(source, file->path);
        offset = resume(source, stream, true);
        stream->first_offset = offset == OFFSET_NONE ? 0 : offset;
        add_mark(source, stream, file, 0);
        open_file(source, stream, file, true);
    }
}

void follow_advance(struct source *source, int64_t now_us)
{
    struct follower *follower = source->follower;
    const struct source_context *context = &source->context;

    if (now_us < follower->due_us && follower->due_us - now_us <= SCAN_EVERY_US)
        return;
    follower->due_us = now_us + SCAN_EVERY_US;
    if (!follower->recalled && context->recall)
        context->recall(context->resume_owner, recall_stream, source);
    follower->recalled = true;
    list_files(source);
    for (size_t i = 0; i < source->stream_count; i++)
        if (source->streams[i]->lines.descriptor >= 0)
            look_at(source, source->streams[i]);
    for (size_t i = 0; i < source->stream_count; i++)
        if (source->streams[i]->lines.descriptor < 0)
            open_next(source, source->streams[i]);
    begin_streams(source);
    follower->scanned = true;
}
