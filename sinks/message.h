/* What receivers are told, rendered from what the pipeline hands to sinks that notify: an alert line, or a
 * digest, {"schema":1,"id","digest":{"from","until","alerts","resolved","firing"},"alerts":[LINE...]}, whose
 * lines are those still firing. Every text in them may come from anywhere: each rendering escapes what its
 * reader would take for more than text, and cuts what is longer than the reader takes. A handful an hour. */
#pragma once
#include "base/buffer.h"
#include "base/status.h"
#include "base/timestamp.h"

enum { MESSAGE_BYTES_MAX = 32 * 1024 * 1024 };

struct yajl_val_s;

struct message_alert { /* texts are empty when absent, times TIME_NONE */
    struct span episode, state, reason, rule, kind, severity, target, workflow, task, run, run_name;
    struct span summary, description, runbook, url;
    int64_t at_us, starts_us, ends_us;
    const struct yajl_val_s *labels;
};

struct alert_message {
    bool is_digest;
    int64_t from_us, until_us, total, resolved, firing; /* of a digest */
    struct message_alert *alerts;                       /* one, or those of the digest */
    size_t count;
    struct yajl_val_s *tree; /* all texts are in it */
};

/* false: neither an alert line nor a digest. Free it after true only. */
bool message_read(struct span document, struct alert_message *ret_message);
void message_free(struct alert_message *message);

/* All append. The title is one line of at most 300 bytes, the text some short lines. */
void message_title(const struct alert_message *message, struct buffer *out);
void message_text(const struct alert_message *message, const char *pipeline, struct buffer *out);

/* Incoming webhooks of Slack and what is compatible with them: {text, blocks}. */
void message_slack(const struct alert_message *message, const char *pipeline, struct buffer *out);

/* An http address of characters that RFC 3986 allows and nobody takes for markup; not too long for a link. */
bool message_is_link(struct span url);

/* What POST /api/v2/alerts of an Alertmanager takes. An alert fires until it is told to be resolved. False:
 * there is nothing in it that an Alertmanager wants to know. */
bool message_alertmanager(const struct alert_message *message, const char *pipeline, struct buffer *out);

/* What an Alertmanager posts to webhooks, version 4. False as above. */
bool message_alertmanager_webhook(const struct alert_message *message, const char *pipeline,
                                  const char *receiver, struct buffer *out);
