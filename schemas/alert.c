/* An alert's names, the id of one of its lines, and its target. Made once a line of an alert's life. */
#include "schemas/alert.h"

const char *const alert_state_names[ALERT_STATES] = {"pending", "firing", "resolved"};
const char *const alert_reason_names[ALERT_REASONS] = {"condition", "no_data", "expired", "removed",
                                                       "withdrawn"};
const char *const severity_names[SEVERITIES + 1] = {"info", "warning", "error", "critical", NULL};
const char *const alert_kind_names[ALERT_KINDS + 1] = {
    "rule",   "failure",   "duration", "overdue",  "missing", "stuck",    "sequence", "retry", "template",
    "volume", "heartbeat", "metric",   "forecast", "rare",    "incident", "self",     NULL,
};

struct id128 alert_line_id(struct id128 episode, uint64_t revision)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_integer(&builder, (int64_t)episode.high);
    id_add_integer(&builder, (int64_t)episode.low);
    id_add_integer(&builder, (int64_t)revision);
    return id_end(&builder);
}

/* What has no room is cut, so that the buffer holds the beginning. */
static void put_plain(struct buffer *out, const char *data, size_t size)
{
    size_t room = out->limit - out->size;

    if (size > room) {
        buffer_put(out, data, room);
        data += room;
        size -= room;
    }
    buffer_put(out, data, size);
}

static void put_name(struct buffer *out, struct span name)
{
    uint32_t plain = 0; /* where the bytes begin that are put as they are */

    for (uint32_t i = 0; i < name.size; i++) {
        if (name.data[i] != '/' && name.data[i] != '%')
            continue;
        put_plain(out, name.data + plain, i - plain);
        buffer_put_text(out, name.data[i] == '/' ? "%2F" : "%25");
        plain = i + 1;
    }
    put_plain(out, name.data + plain, name.size - plain);
}

void alert_target(const struct alert *alert, struct buffer *out)
{
    if (alert->workflow.size) {
        put_name(out, alert->workflow);
        if (alert->task.size) {
            buffer_put_char(out, '/');
            put_name(out, alert->task);
        }
    } else if (alert->host.size) {
        buffer_put_text(out, "host:");
        put_name(out, alert->host);
    } else if (alert->source.size) {
        buffer_put_text(out, "source:");
        put_name(out, alert->source);
    }
}

size_t alert_target_limit(const struct alert *alert)
{
    /* Every byte of a name may become three; "source:" or the slash come on top. */
    return 3 * ((size_t)alert->workflow.size + alert->task.size + alert->host.size + alert->source.size) + 8;
}

size_t alert_texts(struct alert *alert, struct span *ret_texts[ALERT_TEXTS_MAX])
{
    struct span *fixed[] = {&alert->rule,    &alert->source,      &alert->namespace_, &alert->workflow,
                            &alert->task,    &alert->run,         &alert->run_name,   &alert->host,
                            &alert->summary, &alert->description, &alert->runbook,    &alert->url,
                            &alert->unit};
    size_t count = sizeof fixed / sizeof *fixed;

    memcpy(ret_texts, fixed, sizeof fixed);
    for (unsigned i = 0; i < alert->label_count; i++) {
        ret_texts[count++] = &alert->labels[i].name;
        ret_texts[count++] = &alert->labels[i].value;
    }
    return count;
}

void alert_pack(const struct alert *alert, struct buffer *out)
{
    struct alert copy = *alert;
    struct span *texts[ALERT_TEXTS_MAX];
    size_t count = alert_texts(&copy, texts);

    pack_id(out, alert->id);
    pack_id(out, alert->episode);
    pack_u64(out, alert->revision);
    pack_id(out, alert->dedup);
    pack_i64(out, alert->at_us);
    pack_i64(out, alert->starts_us);
    pack_i64(out, alert->ends_us);
    pack_u8(out, (uint8_t)alert->state);
    pack_u8(out, (uint8_t)alert->reason);
    pack_u8(out, (uint8_t)alert->kind);
    pack_u8(out, (uint8_t)alert->severity);
    pack_u16(out, alert->attempt);
    pack_double(out, alert->score);
    pack_double(out, alert->probability);
    pack_double(out, alert->actual);
    pack_double(out, alert->expected_low);
    pack_double(out, alert->expected_high);
    pack_u8(out, alert->provisional);
    pack_u8(out, alert->prompt);
    pack_u8(out, alert->prompted);
    pack_u8(out, (uint8_t)alert->label_count);
    for (size_t i = 0; i < count; i++)
        pack_text(out, *texts[i]);
}

/* A byte that numbers one of `count` things. */
static unsigned unpack_choice(struct unpack *in, unsigned count)
{
    uint8_t choice = unpack_u8(in);

    if (choice < count)
        return choice;
    in->broken = true;
    return 0;
}

void alert_unpack(struct unpack *in, struct alert *ret_alert)
{
    struct span *texts[ALERT_TEXTS_MAX];

    *ret_alert = (struct alert){.id = unpack_id(in)};
    ret_alert->episode = unpack_id(in);
    ret_alert->revision = unpack_u64(in);
    ret_alert->dedup = unpack_id(in);
    ret_alert->at_us = unpack_time(in);
    ret_alert->starts_us = unpack_time(in);
    ret_alert->ends_us = unpack_time(in);
    ret_alert->state = (enum alert_state)unpack_choice(in, ALERT_STATES);
    ret_alert->reason = (enum alert_reason)unpack_choice(in, ALERT_REASONS);
    ret_alert->kind = (enum alert_kind)unpack_choice(in, ALERT_KINDS);
    ret_alert->severity = (enum severity)unpack_choice(in, SEVERITIES);
    ret_alert->attempt = unpack_u16(in);
    ret_alert->score = unpack_double(in);
    ret_alert->probability = unpack_double(in);
    ret_alert->actual = unpack_double(in);
    ret_alert->expected_low = unpack_double(in);
    ret_alert->expected_high = unpack_double(in);
    ret_alert->provisional = unpack_choice(in, 2);
    ret_alert->prompt = unpack_choice(in, 2);
    ret_alert->prompted = unpack_choice(in, 2);
    ret_alert->label_count = unpack_choice(in, KEY_FIELDS_MAX + 1);
    size_t count = alert_texts(ret_alert, texts);
    for (size_t i = 0; i < count; i++)
        *texts[i] = unpack_text(in);
}
