#include "pipeline/sent_file.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare_lines(const void *left, const void *right)
{
    const struct sent_line *a = left, *b = right;

    if (a->sink != b->sink)
        return a->sink < b->sink ? -1 : 1;
    return id_compare(a->line, b->line);
}

static enum status read_lines(struct sent_file *sent)
{
    off_t size = lseek(sent->file, 0, SEEK_END);

    if (size < 0)
        return STATUS_FATAL;
    sent->count = (size_t)size / sizeof *sent->lines;
    sent->lines = memory_new((sent->count + 1) * sizeof *sent->lines);
    sent->size = sent->count * sizeof *sent->lines;
    for (size_t done = 0; done < sent->size;) {
        ssize_t read = pread(sent->file, (char *)sent->lines + done, sent->size - done, (off_t)done);

        if (read <= 0) {
            errno = read < 0 ? errno : EIO; /* it became shorter meanwhile */
            return STATUS_FATAL;
        }
        done += (size_t)read;
    }
    qsort(sent->lines, sent->count, sizeof *sent->lines, compare_lines);
    return STATUS_OK;
}

enum status sent_file_open(struct sent_file *sent, const char *path, struct error *ret_error)
{
    *sent = (struct sent_file){.file = -1};
    if (!path)
        return STATUS_OK;
    sent->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (sent->file < 0 || read_lines(sent) != STATUS_OK) {
        fail(ret_error, "cannot read %s: %s", path, strerror(errno));
        sent_file_close(sent);
        return STATUS_FATAL;
    }
    return STATUS_OK;
}

void sent_file_close(struct sent_file *sent)
{
    if (sent->file >= 0)
        close(sent->file);
    free(sent->lines);
    *sent = (struct sent_file){.file = -1};
}

/* A disk that is full makes it useless, not wrong: the log still gets its mark. */
void sent_file_add(struct sent_file *sent, uint64_t sink, struct id128 line)
{
    const struct sent_line added = {.sink = sink, .line = line};

    if (sent->file >= 0 && pwrite(sent->file, &added, sizeof added, (off_t)sent->size) == sizeof added)
        sent->size += sizeof added;
}

bool sent_file_had(const struct sent_file *sent, uint64_t sink, struct id128 line)
{
    const struct sent_line sought = {.sink = sink, .line = line};

    return sent->count > 0 &&
           bsearch(&sought, sent->lines, sent->count, sizeof sought, compare_lines) != NULL;
}

void sent_file_clear(struct sent_file *sent)
{
    if (sent->size > 0 && ftruncate(sent->file, 0) == 0)
        sent->size = 0;
}
