/* What receivers were told and the notification log has no mark of yet, in a small file beside the store:
 * written at the receiver's answer, without waiting for the log, so that a process that is killed between the
 * two, or a task that is opened anew, does not tell it again. It is not synced: it outlives the process, not
 * the machine. What has moved to another process is not known there. A few writes a second. One thread. */
#pragma once
#include "base/hash.h"
#include "base/status.h"

struct sent_line {
    uint64_t sink; /* identity */
    struct id128 line;
};

struct sent_file {
    int file;                /* -1: nothing is kept */
    struct sent_line *lines; /* that it had at the start, sorted */
    size_t count;
    uint64_t size; /* bytes in it now */
};

/* `path` NULL keeps nothing. A last line that is cut off was never answered for, and is left out. */
enum status sent_file_open(struct sent_file *sent, const char *path, struct error *ret_error);
void sent_file_close(struct sent_file *sent);

void sent_file_add(struct sent_file *sent, uint64_t sink, struct id128 line);
bool sent_file_had(const struct sent_file *sent, uint64_t sink, struct id128 line); /* at the start */
void sent_file_clear(struct sent_file *sent); /* the log has marks of all */
