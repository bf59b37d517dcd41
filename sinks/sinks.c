/* The list of sinks, and the few things that all of them share. */
#include "sinks/sink.h"

#include "base/memory.h"

#include <stdio.h>

extern const struct sink_type sink_elasticsearch, sink_file, sink_smtp, sink_stdout, sink_webhook;

const struct sink_type *const sink_types[] = {
    &sink_elasticsearch, &sink_file, &sink_smtp, &sink_stdout, &sink_webhook, NULL,
};

const struct sink_type *sink_type_find(const char *name)
{
    for (size_t i = 0; sink_types[i]; i++)
        if (strcmp(sink_types[i]->name, name) == 0)
            return sink_types[i];
    return NULL;
}

static struct verdict *verdicts_add(struct verdicts *verdicts)
{
    verdicts->items =
        memory_reserve(verdicts->items, &verdicts->capacity, verdicts->count + 1, sizeof *verdicts->items);
    return &verdicts->items[verdicts->count++];
}

void verdicts_done(struct verdicts *verdicts, uint64_t ticket)
{
    struct verdict *last = verdicts->count ? &verdicts->items[verdicts->count - 1] : NULL;

    if (last && last->ticket == ticket && !last->dead_letter)
        last->count++;
    else if (ticket != 0)
        *verdicts_add(verdicts) = (struct verdict){.ticket = ticket, .count = 1};
}

void verdicts_dead_letter(struct verdicts *verdicts, uint64_t ticket, enum document_kind kind,
                          const char *reason, struct span body)
{
    *verdicts_add(verdicts) = (struct verdict){
        .ticket = ticket,
        .count = 1,
        .dead_letter = true,
        .reason = memory_text(reason, strlen(reason)),
        .body = memory_text(body.data, body.size),
        .body_size = body.size,
        .kind = kind,
    };
}

void sink_warn(const struct sink_context *context, int64_t *next_us, int64_t now_us, const char *format, ...)
{
    char text[640];
    va_list arguments;
    int used;

    if (now_us < *next_us || !context->warn)
        return;
    *next_us = now_us + 60 * 1000000LL;
    used = snprintf(text, sizeof text, "sink %s: ", context->name);
    if (used < 0 || (size_t)used >= sizeof text)
        return;
    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, arguments);
    va_end(arguments);
    context->warn(context->owner, text);
}
