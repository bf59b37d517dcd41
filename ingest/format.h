/* A format turns one message's payload into rows. One file a format, one line in the list in formats.c.
 * Each worker opens its own: decode keeps scratch memory in the format. */
#pragma once
#include "base/options.h"
#include "schemas/event.h"

struct message {
    struct span payload; /* valid until the batch that took it is released */
    int64_t offset;      /* Kafka offset, or line number from 0 */
    int64_t arrival_us;  /* Kafka record timestamp or receive time; TIME_NONE when unknown */
    void *handle;        /* the source's own */
};

struct format;

struct format_context {         /* borrowed while the format lives */
    struct label_names *labels; /* formats may add names while opening, never later */
    const struct node *node;    /* its entry in `formats:`, for messages; NULL: none, or opened again */
    bool arrival_is_time;       /* of log lines that tell none */
};

struct format_type {
    const char *name, *help;
    const char *signs; /* by which `auto` knows its messages (sniff.h); NULL: it never chooses it */
    const struct option *options; /* keys of an entry in `formats:`; may be NULL */
    size_t option_count, settings_size;

    /* Takes over nothing; `settings` outlive the format. */
    enum status (*open)(const void *settings, const struct format_context *context,
                        struct format **ret_format, struct error *ret_error);

    /* Appends the message's rows to the batch. Texts may point into the payload (which lives as long as
     * the batch's rows) or into batch->text. Sets per row: the fields it knows, item, and mark MALFORMED
     * with reason for a bad item. STATUS_OK: rows appended (none is fine: the message is of no
     * interest). STATUS_SKIP: the whole message is bad, no row appended, *ret_reason says why (static
     * text, or in batch->text). STATUS_RETRY: the batch has no room left; nothing appended, call again
     * with an empty batch; never told of a batch without rows. A message of more than BATCH_ROWS_MAX
     * rows is STATUS_SKIP. An empty payload is a row marked TOMBSTONE. */
    enum status (*decode)(struct format *format, const struct message *message, struct event_batch *batch,
                          const char **ret_reason);
    void (*close)(struct format *format);

    /* Records of several messages, as text files have them: NULL where a message is always whole. `joins`
     * says at once whether there can be any with these settings. `continues` says whether `line` belongs
     * to the record that `before` holds so far, its messages joined by newlines; the whole record is then
     * decoded as one message. Its answer depends on nothing else. */
    bool (*joins)(const struct format *format);
    bool (*continues)(struct format *format, struct span before, struct span line);

    /* The time of its rows is the arrival of their message. NULL: never. */
    bool (*undated)(const struct format *format);
};

/* A name for a type of format with its `preset` set: sources may name it like a type. */
struct format_preset {
    const char *name;
    const struct format_type *type;
    const char *help;
};

/* A row marked TOMBSTONE, of an empty payload; what decode then answers. */
enum status format_add_tombstone(struct event_batch *batch);

/* What is wrong with a key of the entry: "FILE:LINE:COLUMN: key: text". Returns STATUS_FATAL. */
enum status format_refuse(const struct format_context *context, const char *key, struct error *ret_error,
                          const char *text, ...) __attribute__((format(printf, 4, 5)));

extern const struct format_type *const format_types[]; /* ends with NULL */
const struct format_type *format_type_find(const char *name);
bool format_preset_at(size_t index, struct format_preset *ret_preset); /* false: there are no more */
