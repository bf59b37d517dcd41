/* Hands each message to the format whose signs it bears. Runs once a message: one look at its first bytes
 * (sniff.h), then that format's decode. A message is judged by itself, so what came before changes nothing;
 * for that reason no memory of the source's last format is kept, and none would save work: all signs are
 * looked for at once. What bears no sign is read as `fields` without a map. */
#include "base/memory.h"
#include "ingest/json.h"
#include "ingest/sniff.h"

#include <stdlib.h>

enum { FORMATS_MAX = 64, FOREIGN = FORMATS_MAX /* answers from here on are foreign */ };

struct part {
    const struct format_type *type;
    void *settings;
    struct format *format;
};

struct format {
    struct sniffer sniffer;
    struct part parts[FORMATS_MAX]; /* the first is `fields` */
    unsigned count;
};

static void auto_close(struct format *format)
{
    for (unsigned i = 0; i < format->count; i++) {
        format->parts[i].type->close(format->parts[i].format);
        free(format->parts[i].settings);
    }
    free(format);
}

static enum status part_open(struct format *format, const struct format_type *type,
                             const struct format_context *context, struct error *ret_error)
{
    struct part *part = &format->parts[format->count];

    *part = (struct part){.type = type, .settings = memory_new(type->settings_size)};
    if (type->open(part->settings, context, &part->format, ret_error)) {
        free(part->settings);
        return STATUS_FATAL;
    }
    if (type->signs)
        sniffer_add(&format->sniffer, type->signs, format->count);
    format->count++;
    return STATUS_OK;
}

static enum status auto_open(const void *settings, const struct format_context *context,
                             struct format **ret_format, struct error *ret_error)
{
    struct format *format = memory_new(sizeof *format);
    enum status status = part_open(format, format_type_find("fields"), context, ret_error);

    for (size_t i = 0; format_types[i] && status == STATUS_OK; i++)
        if (format_types[i]->signs)
            status = part_open(format, format_types[i], context, ret_error);
    sniffer_add_foreign(&format->sniffer, FOREIGN);
    if (status == STATUS_OK)
        *ret_format = format;
    else
        auto_close(format);
    return status;
}

static enum status auto_decode(struct format *format, const struct message *message,
                               struct event_batch *batch, const char **ret_reason)
{
    int answer = sniffer_ask(&format->sniffer, message->payload);

    if (answer >= FOREIGN) {
        *ret_reason = reason_print(batch, "looks like %s; no format reads it yet",
                                   sniff_foreign_name((unsigned)answer - FOREIGN));
        return STATUS_SKIP;
    }
    const struct part *part = &format->parts[answer < 0 ? 0 : answer];
    return part->type->decode(part->format, message, batch, ret_reason);
}

const struct format_type auto_format = {
    .name = "auto",
    .help = "each message by the format that its top-level keys tell; `fields` when they tell none",
    .open = auto_open,
    .decode = auto_decode,
    .close = auto_close,
};
