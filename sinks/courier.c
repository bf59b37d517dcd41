#include "sinks/courier.h"

#include "base/memory.h"

#include <stdlib.h>

enum { LOOK_AHEAD = 256, WRITTEN_BYTES_MAX = 64 * 1024 * 1024 };

void courier_open(struct courier *courier, const struct courier_settings *settings,
                  const struct sink_context *context)
{
    *courier = (struct courier){
        .settings = settings,
        .context = *context,
        .backoff =
            backoff_make(settings->retry_base_us, settings->retry_max_us, context->name, context->worker),
    };
}

static void item_free(struct courier_item *item)
{
    buffer_free(&item->written);
    free(item);
}

void courier_close(struct courier *courier)
{
    for (size_t i = 0; i < courier->count; i++)
        item_free(courier->items[i]);
    free(courier->items);
}

enum status courier_offer(struct courier *courier, const struct document *document)
{
    struct id128 none = {0};
    size_t size = document->body.size;
    struct courier_item *item;

    if (courier->count > 0 && courier->bytes + size > (size_t)courier->settings->queue_bytes)
        return STATUS_RETRY;
    item = memory_new(sizeof *item + size);
    *item = (struct courier_item){
        .id = document->id,
        .group = id_equal(document->group, none) ? document->id : document->group,
        .ticket = document->ticket,
        .kind = document->kind,
        .body = span_make((char *)(item + 1), size),
    };
    if (size)
        memcpy(item + 1, document->body.data, size);
    buffer_init(&item->written, WRITTEN_BYTES_MAX);
    courier->items =
        memory_reserve(courier->items, &courier->capacity, courier->count + 1, sizeof(struct courier_item *));
    courier->items[courier->count++] = item;
    courier->bytes += size;
    return STATUS_OK;
}

static bool may_go(const struct courier *courier, size_t place, int64_t now_us)
{
    const struct courier_item *item = courier->items[place];

    if (item->flying || item->finished || item->due_us > now_us)
        return false;
    for (size_t i = 0; i < place; i++)
        if (!courier->items[i]->finished && id_equal(courier->items[i]->group, item->group))
            return false;
    return true;
}

struct courier_item *courier_next(const struct courier *courier, int64_t now_us)
{
    if (now_us < courier->pause_until_us)
        return NULL;
    for (size_t i = 0; i < courier->count && i < LOOK_AHEAD; i++)
        if (may_go(courier, i, now_us))
            return courier->items[i];
    return NULL;
}

void courier_sent(struct courier *courier, struct courier_item *item, size_t bytes, int64_t now_us)
{
    if (item->attempts++ == 0)
        item->first_us = now_us;
    item->flying = true;
    courier->figures.requests++;
    courier->figures.bytes += bytes;
}

void courier_delivered(struct courier *courier, struct courier_item *item, struct verdicts *verdicts)
{
    item->flying = false;
    item->finished = true;
    verdicts_done(verdicts, item->ticket);
    courier->figures.documents++;
}

void courier_refused(struct courier *courier, struct courier_item *item, const char *reason,
                     struct verdicts *verdicts)
{
    item->flying = false;
    item->finished = true;
    verdicts_dead_letter(verdicts, item->ticket, item->kind, reason, item->body);
    courier->figures.dead_letters++;
}

void courier_failed(struct courier *courier, struct courier_item *item, const char *reason,
                    int64_t retry_after_us, int64_t now_us, struct verdicts *verdicts)
{
    int64_t delay;

    if (now_us - item->first_us >= courier->settings->give_up_us) {
        courier_refused(courier, item, reason, verdicts);
        return;
    }
    delay = backoff_delay(&courier->backoff, item->attempts);
    item->flying = false;
    item->due_us = now_us + (delay > retry_after_us ? delay : retry_after_us);
    courier->figures.retries++;
    sink_warn(&courier->context, &courier->next_warning_us, now_us, "%s; trying again", reason);
}

void courier_tidy(struct courier *courier)
{
    size_t kept = 0;

    for (size_t i = 0; i < courier->count; i++) {
        struct courier_item *item = courier->items[i];

        if (!item->finished) {
            courier->items[kept++] = item;
            continue;
        }
        courier->bytes -= item->body.size;
        item_free(item);
    }
    courier->count = kept;
}

void courier_pause(struct courier *courier, int64_t until_us)
{
    if (until_us > courier->pause_until_us)
        courier->pause_until_us = until_us;
}

void courier_figures(const struct courier *courier, struct sink_figures *ret_figures)
{
    *ret_figures = courier->figures;
    ret_figures->queue_bytes = courier->bytes;
    for (size_t i = 0; i < courier->count; i++) {
        const struct courier_item *item = courier->items[i];

        ret_figures->waiting_alerts +=
            item->kind == DOC_ALERT && item->attempts > 0 && !item->flying && !item->finished;
    }
}
