#include "pipeline/sent_file.h"

#include "base/hash.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAYOUT = 1, PACKED_MAX = 128 * 1024 * 1024 };

/* Ends with the hash of what stands before it. */
static void pack(const struct notification *notification, struct buffer *out)
{
    pack_u64(out, notification->sink);
    pack_id(out, notification->line);
    pack_id(out, notification->dedup);
    pack_id(out, notification->episode);
    pack_i64(out, notification->at_us);
    pack_i64(out, notification->told_us);
    pack_u8(out, notification->firing);
    pack_u8(out, notification->prompt);
    pack_text(out, notification->body);
    pack_u64(out, hash_bytes(out->data, out->size, LAYOUT));
}

static bool unpack(struct unpack *in, struct notification *ret_notification)
{
    struct notification *notification = ret_notification;
    const char *start = in->at;

    *notification = (struct notification){.sink = unpack_u64(in), .sent = true};
    notification->line = unpack_id(in);
    notification->dedup = unpack_id(in);
    notification->episode = unpack_id(in);
    notification->at_us = unpack_i64(in);
    notification->told_us = unpack_i64(in);
    notification->firing = unpack_u8(in);
    notification->prompt = unpack_u8(in);
    notification->body = unpack_text(in);
    uint64_t hash = hash_bytes(start, (size_t)(in->at - start), LAYOUT);

    return unpack_u64(in) == hash && !in->broken;
}

static bool read_bytes(struct sent_file *sent, size_t size)
{
    sent->bytes = memory_new(size + 1);
    for (size_t done = 0; done < size;) {
        ssize_t read = pread(sent->file, sent->bytes + done, size - done, (off_t)done);

        if (read <= 0) {
            errno = read < 0 ? errno : EIO; /* it became shorter meanwhile */
            return false;
        }
        done += (size_t)read;
    }
    return true;
}

static bool read_items(struct sent_file *sent)
{
    off_t size = lseek(sent->file, 0, SEEK_END);
    struct notification notification;

    if (size < 0 || !read_bytes(sent, (size_t)size))
        return false;
    struct unpack in = {.at = sent->bytes, .end = sent->bytes + size};

    while (in.at < in.end && unpack(&in, &notification)) {
        sent->items = memory_reserve(sent->items, &sent->capacity, sent->count + 1, sizeof *sent->items);
        sent->items[sent->count++] = notification;
        sent->size = (uint64_t)(in.at - sent->bytes);
    }
    return true;
}

enum status sent_file_open(struct sent_file *sent, const char *path, struct error *ret_error)
{
    *sent = (struct sent_file){.file = -1};
    buffer_init(&sent->packed, PACKED_MAX);
    if (!path)
        return STATUS_OK;
    sent->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (sent->file < 0 || !read_items(sent)) {
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
    buffer_free(&sent->packed);
    free(sent->items);
    free(sent->bytes);
    *sent = (struct sent_file){.file = -1};
}

/* A disk that is full makes it useless, not wrong: the log still gets its mark. */
void sent_file_add(struct sent_file *sent, const struct notification *notification)
{
    if (sent->file < 0)
        return;
    buffer_clear(&sent->packed);
    pack(notification, &sent->packed);
    size_t size = sent->packed.size;

    if (pwrite(sent->file, sent->packed.data, size, (off_t)sent->size) == (ssize_t)size)
        sent->size += size;
}

void sent_file_clear(struct sent_file *sent)
{
    if (sent->size > 0 && ftruncate(sent->file, 0) == 0)
        sent->size = 0;
}
