/* Inside of the file source: what file.c, which reads, and follow.c, which finds what to read, share. Nothing
 * else includes this. */
#pragma once
#include "ingest/lines.h"
#include "ingest/source.h"

enum { FILES_MAX = 1000 /* that a pattern may match */ };

struct file_settings {
    char *path, *arrivals;
    bool follow;
};

/* By which a file is known again, whatever its name: how it begins. */
struct file_mark {
    int64_t first_offset; /* of its first line, in the stream */
    uint64_t device, inode;
    uint64_t hash; /* of the first head_size bytes, decompressed */
    uint32_t head_size;
};

/* A partition: the lines of one file, or when followed those of all files that had its name in turn. */
struct stream {
    struct source_partition partition;
    char *topic;
    struct lines lines; /* of the file that is read; closed: none is */
    bool found;         /* the place where to read on: it is a partition */
    int64_t next_offset;
    int64_t first_offset; /* lines before it are passed over; OFFSET_NONE: not asked for yet */

    /* followed */
    uint64_t name;           /* hash of the topic */
    struct file_mark *marks; /* of the files read so far, oldest first */
    size_t mark_count, mark_capacity;
    size_t mark;        /* the one that is read, or is next */
    struct buffer note; /* the marks, for a restart */
    bool quiet;         /* all that was written when last looked at is read */
    bool over;          /* nothing to read is in sight */
    unsigned still;     /* times it had not grown although it has a successor */
    unsigned cut;       /* times looked at since it was cut off */
    int64_t size, changed_ns;
};

struct follower;

struct source {
    struct source_context context;
    const struct file_settings *settings;
    struct stream **streams, **partitions; /* all, and those found, which the worker knows by index */
    size_t stream_count, stream_capacity, partition_count, partition_capacity;
    struct lines arrivals;
    bool has_arrivals;
    struct follower *follower; /* NULL: files are read once */
    int64_t now_us;            /* of the last advance */
};

/* file.c */
struct stream *file_add_stream(struct source *source, const char *path);
bool file_is_pattern(const char *path);
void file_warn(struct source *source, const char *path, int64_t offset, const char *text);

/* follow.c */
struct follower *follow_open(void);
void follow_close(struct follower *follower);
void follow_advance(struct source *source, int64_t now_us);         /* looks for files, now and then */
bool follow_may_read(struct source *source, struct stream *stream); /* its file is the one it was */
bool follow_ready(const struct source *source);                     /* has looked at least once */
void follow_finished(struct source *source, struct stream *stream); /* the file has been read to its end */
void follow_too_short(struct source *source, struct stream *stream);
