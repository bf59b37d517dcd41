/* What receivers were told and the notification log does not have yet, in a small file beside the store:
 * written at the receiver's answer, without waiting for the log, so that a process that is killed between the
 * two, or a task that is opened anew, does not tell it again. It is not synced: it outlives the process, not
 * the machine. What has moved to another process is not known there. A few writes a second. One thread. */
#pragma once
#include "pipeline/store.h"

/* Beyond it nothing more is to be sent until the log has all of it; a digest may pass it by its lines. */
enum { SENT_FILE_BYTES_MAX = 1024 * 1024 };

struct sent_file {
    int file;                   /* -1: nothing is kept */
    struct notification *items; /* that it had at the start, in order */
    size_t count, capacity;
    char *bytes;          /* theirs */
    struct buffer packed; /* the one that is being written */
    uint64_t size;        /* bytes in it now */
};

/* `path` NULL keeps nothing. What is cut off was never answered for: it and all behind it is left out. */
enum status sent_file_open(struct sent_file *sent, const char *path, struct error *ret_error);
void sent_file_close(struct sent_file *sent);

void sent_file_add(struct sent_file *sent, const struct notification *notification);
void sent_file_clear(struct sent_file *sent); /* the log has all of them */
