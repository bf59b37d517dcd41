/* Records of several messages: the lines of a stack trace, the parts of a line that a container runtime cut.
 * Between poll and decode the messages of a partition that continue a record are put together with the one
 * that begins it, and the last record, which may not be complete, is held back as if it had not been polled:
 * what was read before it may be acknowledged and stored, and a restart reads it again whole. So where a
 * batch, a checkpoint or a process ends changes no record.
 *
 * A record ends where the next one begins, at the end of input, and at the limits below; live, also when
 * nothing has followed it for a second. What continues it after that is a record of its own, so the clock's
 * ends are kept with the partition's state: the same messages read again give the same records. */
#pragma once
#include "base/buffer.h"
#include "ingest/format.h"

enum {
    RECORD_LINES_MAX = 512,
    RECORD_BYTES_MAX = 256 * 1024, /* a longer single message is a record by itself */
    RECORD_WAIT_US = 1000 * 1000,  /* live: how long the last one waits for more */
};

/* The messages taken at one time; a worker's. */
struct records {
    struct buffer text; /* all payloads; valid until the next take */
    struct message *messages;
    size_t count, capacity;
    int64_t next_offset; /* behind the last message of them */
};

/* What a partition keeps between takes. All zero bytes: nothing. */
struct held_record {
    struct buffer text;
    int64_t offset, last_offset, arrival_us;
    unsigned lines; /* 0: nothing is held */

    int64_t *ends; /* offsets that no record goes beyond, whatever is there */
    size_t end_count, end_capacity;
};

void records_free(struct records *records);
void held_record_free(struct held_record *held);

/* The held record and what was polled become records->messages, but for the last record, which is held unless
 * `all`. `count` may be 0. The polled messages may be released at once. */
void records_take(struct records *records, struct held_record *held, struct format *format,
                  const struct format_type *type, const struct message *polled, size_t count, bool all);

/* Some record ends before this offset, as the clock or an earlier process has decided. */
void held_record_end(struct held_record *held, int64_t offset);
/* Nothing below it will be read again. */
void held_record_forget(struct held_record *held, int64_t low_offset);
