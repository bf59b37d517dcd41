/* Lines of a file, plain or zstd, or of standard input. */
#pragma once
#include "base/span.h"
#include "base/status.h"

#include <sys/types.h>
#include <zstd.h>

enum read_state { READ_MORE, READ_END_FOR_NOW, READ_DONE };

struct lines {
    char *path;
    int descriptor;     /* -1: closed */
    bool may_wait;      /* a pipe or terminal: looked at before it is read */
    bool goes_on;       /* more may be written: its end is none; the caller's */
    off_t begin;        /* of the first line in a regular file */
    ZSTD_DStream *zstd; /* NULL: plain */
    char *input;        /* compressed bytes */
    ZSTD_inBuffer compressed;
    bool in_frame;       /* the frame begun is not complete */
    bool held_back;      /* the stream has more to give without more input */
    const char *trouble; /* to be told; static text */

    char *data;
    size_t start, size, capacity; /* of `data`; what is before `start` has been given */
    size_t searched;              /* no newline from `start` to here */
    bool skipping;                /* within the rest of a line that is not given */
    enum read_state state;
};

/* "-" is standard input, which is never closed. On failure too the lines must be closed. */
enum status lines_open(struct lines *lines, const char *path, struct error *ret_error);
void lines_close(struct lines *lines);
void lines_rewind(struct lines *lines); /* back to the first line of a regular file */

/* Reads on, once; see `state`. Lines given before are no longer valid. */
void lines_fill(struct lines *lines);

/* The next line that stands whole in the buffer, without its end. The last may lack one; a line above
 * 64 MiB is cut. */
bool lines_next(struct lines *lines, struct span *ret_line);

/* Whether the buffer ends within a line; what there is of it, and what will be, is dropped. */
bool lines_drop_rest(struct lines *lines);

/* The first bytes of a file, decompressed, at most `size`. */
enum status lines_head(const char *path, char *ret_bytes, size_t size, size_t *ret_size,
                       struct error *ret_error);
