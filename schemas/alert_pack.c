/* An alert as bytes, for the store: each field in the order of the struct, texts with their size. Made once a
 * line that is kept. The value that holds it carries the layout's version. */
#include "base/state.h"
#include "schemas/alert.h"

enum { FLAG_PROVISIONAL = 1, FLAG_PROMPT = 2, FLAG_PROMPTED = 4, FLAGS_END = 8 };

void alert_pack(const struct alert *alert, struct buffer *out)
{
    struct alert copy = *alert;
    struct span *texts[ALERT_TEXTS_MAX];
    size_t text_count = alert_texts(&copy, texts);
    unsigned flags = (alert->provisional ? FLAG_PROVISIONAL : 0u) | (alert->prompt ? FLAG_PROMPT : 0u) |
                     (alert->prompted ? FLAG_PROMPTED : 0u);

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
    pack_u8(out, (uint8_t)flags);
    pack_u8(out, (uint8_t)alert->label_count);
    for (size_t i = 0; i < text_count; i++)
        pack_text(out, *texts[i]);
}

bool alert_unpack(struct unpack *in, struct alert *ret_alert)
{
    struct alert alert = {.id = unpack_id(in), .episode = {0}};
    struct span *texts[ALERT_TEXTS_MAX];
    unsigned flags, state, reason, kind, severity;

    alert.episode = unpack_id(in);
    alert.revision = unpack_u64(in);
    alert.dedup = unpack_id(in);
    alert.at_us = unpack_i64(in);
    alert.starts_us = unpack_i64(in);
    alert.ends_us = unpack_i64(in);
    state = unpack_u8(in);
    reason = unpack_u8(in);
    kind = unpack_u8(in);
    severity = unpack_u8(in);
    alert.attempt = unpack_u16(in);
    alert.score = unpack_double(in);
    alert.probability = unpack_double(in);
    alert.actual = unpack_double(in);
    alert.expected_low = unpack_double(in);
    alert.expected_high = unpack_double(in);
    flags = unpack_u8(in);
    alert.label_count = unpack_u8(in);
    if (in->broken || state >= ALERT_STATES || reason >= ALERT_REASONS || kind >= ALERT_KINDS ||
        severity >= SEVERITIES || flags >= FLAGS_END || alert.label_count > KEY_FIELDS_MAX)
        return false;
    alert.state = (enum alert_state)state;
    alert.reason = (enum alert_reason)reason;
    alert.kind = (enum alert_kind)kind;
    alert.severity = (enum severity)severity;
    alert.provisional = flags & FLAG_PROVISIONAL;
    alert.prompt = flags & FLAG_PROMPT;
    alert.prompted = flags & FLAG_PROMPTED;
    size_t text_count = alert_texts(&alert, texts);
    for (size_t i = 0; i < text_count; i++)
        *texts[i] = unpack_text(in);
    if (in->broken)
        return false;
    *ret_alert = alert;
    return true;
}
