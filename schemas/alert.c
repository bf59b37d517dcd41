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

static void put_name(struct buffer *out, struct span name)
{
    for (uint32_t i = 0; i < name.size; i++) {
        if (name.data[i] == '/')
            buffer_put_text(out, "%2F");
        else if (name.data[i] == '%')
            buffer_put_text(out, "%25");
        else
            buffer_put_char(out, name.data[i]);
    }
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
