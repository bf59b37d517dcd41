#include "pipeline/digest.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

#define SECOND_US    INT64_C(1000000)
#define QUIET_US     (5 * SECOND_US)
#define PATIENCE_US  (30 * SECOND_US) /* doubles while a catch-up goes on */
#define PATIENCE_MAX (3600 * SECOND_US)

enum { LINES_MAX = 4096, LINE_BYTES_MAX = 8 * 1024 * 1024, BODY_BYTES_MAX = 128 * 1024 * 1024 };

static void lines_open(struct digest_lines *lines)
{
    *lines = (struct digest_lines){0};
    slots_init(&lines->keys, LINES_MAX);
}

static void lines_close(struct digest_lines *lines)
{
    slots_free(&lines->keys);
    free(lines->items);
    free(lines->latest);
}

void digest_open(struct digest *digest)
{
    *digest = (struct digest){.patience_us = PATIENCE_US};
    lines_open(&digest->held);
    lines_open(&digest->flying);
    buffer_init(&digest->body, BODY_BYTES_MAX);
}

void digest_close(struct digest *digest)
{
    lines_close(&digest->held);
    lines_close(&digest->flying);
    buffer_free(&digest->body);
}

static bool is_full(const struct digest *digest)
{
    return digest->held.count == LINES_MAX || digest->held.bytes >= LINE_BYTES_MAX;
}

static enum digest_place place_of(const struct digest *digest, const struct alert *alert, bool late)
{
    if (alert->prompt)
        return DIGEST_NONE;
    if (slots_find(&digest->flying.keys, alert->dedup) != SLOT_NONE)
        return DIGEST_WAIT;
    if (!late && slots_find(&digest->held.keys, alert->dedup) == SLOT_NONE)
        return DIGEST_NONE;
    return is_full(digest) ? DIGEST_WAIT : DIGEST_HOLD;
}

static struct alert alert_of(const struct outbox_item *item)
{
    struct alert alert;
    bool whole = notices_unpack(item->document.body, &alert);

    assert(whole);
    return alert;
}

static void hold(struct digest *digest, struct outbox_item *item, const struct alert *alert, int64_t now_us)
{
    struct digest_lines *lines = &digest->held;
    bool is_new;

    if (lines->count == 0) {
        lines->from_us = lines->until_us = alert->at_us;
        digest->since_us = digest->gained_us = now_us;
        digest->least_lag_us = INT64_MAX;
    }
    lines->items =
        memory_reserve(lines->items, &lines->capacity, lines->count + 1, sizeof(struct outbox_item *));
    lines->items[lines->count++] = item;
    lines->bytes += item->document.body.size;
    uint32_t slot = slots_add(&lines->keys, alert->dedup, &is_new);

    assert(slot != SLOT_NONE);
    lines->latest =
        memory_reserve(lines->latest, &lines->latest_capacity, slot + 1u, sizeof(struct outbox_item *));
    lines->latest[slot] = item;
    lines->begun += alert->state == ALERT_FIRING;
    if (alert->at_us < lines->from_us)
        lines->from_us = alert->at_us;
    if (alert->at_us > lines->until_us)
        lines->until_us = alert->at_us;
}

enum digest_place digest_take(struct digest *digest, struct outbox *outbox, int64_t now_us)
{
    const struct outbox_item *item = outbox->offer_at;
    struct alert alert = alert_of(item);
    enum digest_place place = place_of(digest, &alert, item->document.late);

    if (place == DIGEST_HOLD)
        hold(digest, outbox_hold(outbox), &alert, now_us);
    return place;
}

static bool is_due(struct digest *digest, const struct digest_turn *turn)
{
    int64_t now_us = turn->now_us;
    int64_t lag_us = turn->passed_us == INT64_MIN ? INT64_MAX : now_us - turn->passed_us;

    if (digest->held.count == 0 || digest->flying.count > 0)
        return false;
    if (digest->least_lag_us == INT64_MAX || lag_us < digest->least_lag_us - SECOND_US) {
        digest->least_lag_us = lag_us;
        digest->gained_us = now_us;
    }
    if (turn->last || now_us - digest->gained_us >= QUIET_US) {
        digest->patience_us = PATIENCE_US;
        return true;
    }
    if (now_us - digest->since_us >= digest->patience_us) {
        digest->patience_us = digest->patience_us * 2 < PATIENCE_MAX ? digest->patience_us * 2 : PATIENCE_MAX;
        return true;
    }
    return is_full(digest);
}

static size_t count_firing(const struct digest_lines *lines)
{
    size_t firing = 0;

    for (uint32_t i = 0; i < lines->keys.used; i++)
        firing += alert_of(lines->latest[i]).state == ALERT_FIRING;
    return firing;
}

static void write_body(struct digest *digest)
{
    const struct digest_lines *lines = &digest->flying;
    size_t firing = count_firing(lines);
    struct json_writer json;
    struct buffer line;

    buffer_init(&line, BODY_BYTES_MAX);
    buffer_clear(&digest->body);
    json_begin(&json, &digest->body);
    json_open(&json, NULL);
    json_integer(&json, "schema", SCHEMA_VERSION);
    json_id(&json, "id", digest->id);
    json_open(&json, "digest");
    json_time(&json, "from", lines->from_us);
    json_time(&json, "until", lines->until_us);
    json_unsigned(&json, "alerts", lines->begun);
    json_unsigned(&json, "resolved", lines->begun - firing);
    json_unsigned(&json, "firing", firing);
    json_close(&json);
    json_open_list(&json, "alerts");
    for (uint32_t i = 0; i < lines->keys.used; i++) {
        struct alert alert = alert_of(lines->latest[i]);

        if (alert.state != ALERT_FIRING)
            continue;
        buffer_clear(&line);
        line_of_alert(&alert, &line);
        json_raw(&json, NULL, buffer_span(&line));
    }
    json_close_list(&json);
    json_close(&json);
    buffer_free(&line);
}

static void begin(struct digest *digest)
{
    struct digest_lines emptied = digest->flying;
    struct id_builder builder;

    assert(emptied.count == 0 && digest->held.count > 0);
    digest->flying = digest->held;
    digest->held = emptied;
    digest->offered = false;
    id_begin(&builder);
    for (size_t i = 0; i < digest->flying.count; i++) {
        struct id128 line = digest->flying.items[i]->document.id;

        id_add_integer(&builder, (int64_t)line.high);
        id_add_integer(&builder, (int64_t)line.low);
    }
    digest->id = id_end(&builder);
    write_body(digest);
}

bool digest_advance(struct digest *digest, const struct digest_turn *turn, struct document *ret_document)
{
    if (is_due(digest, turn))
        begin(digest);
    if (digest->flying.count == 0 || digest->offered)
        return false;
    *ret_document = (struct document){.kind = DOC_ALERT,
                                      .id = digest->id,
                                      .group = digest->id,
                                      .time_us = digest->flying.until_us,
                                      .body = buffer_span(&digest->body)};
    return true;
}

void digest_offered(struct digest *digest)
{
    digest->offered = true;
}

void digest_finish(struct digest *digest, struct outbox *outbox, struct notices *notices, int64_t now_us)
{
    struct digest_lines *lines = &digest->flying;

    assert(digest->offered);
    for (size_t i = 0; i < lines->count; i++) {
        struct outbox_item *item = lines->items[i];

        if (notices)
            notices_mark(notices, item, now_us);
        item->taken = true;
        outbox_acknowledge(outbox, item);
    }
    lines_close(lines);
    lines_open(lines);
}
