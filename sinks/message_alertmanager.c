/* The two forms of Alertmanager. An alert is known there by its labels, so these are only what stays the same
 * while it fires: the rule, its severity and kind, the pipeline and the key. */
#include "base/json_writer.h"
#include "base/memory.h"
#include "sinks/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum { LABELS_MAX = 16, LABEL_NAME_BYTES = 80 };

/* An Alertmanager resolves by itself what has no end and is not told again every few minutes. */
#define NEVER_US TIME_MAX_US

struct label {
    char name[LABEL_NAME_BYTES];
    struct span value;
};

struct labels {
    struct label items[LABELS_MAX];
    size_t count;
};

/* Names of Alertmanager before 0.27 are [a-zA-Z_][a-zA-Z0-9_]*. A value must not be empty; of two labels of
 * one name the first is kept. */
static void labels_add(struct labels *labels, const char *name, struct span value)
{
    struct label *label = &labels->items[labels->count];
    size_t size = 0;

    if (!value.size || labels->count == LABELS_MAX)
        return;
    if (*name >= '0' && *name <= '9')
        label->name[size++] = '_';
    for (; *name && size + 1 < sizeof label->name; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');

        label->name[size++] = letter || (*name >= '0' && *name <= '9') ? *name : '_';
    }
    label->name[size] = '\0';
    label->value = value;
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->items[i].name, label->name) == 0)
            return;
    labels->count++;
}

static int compare_labels(const void *left, const void *right)
{
    return strcmp(((const struct label *)left)->name, ((const struct label *)right)->name);
}

static void labels_of(const struct message_alert *alert, const char *pipeline, struct labels *ret_labels)
{
    const struct yajl_val_s *key = alert->labels;

    *ret_labels = (struct labels){0};
    labels_add(ret_labels, "alertname", alert->rule);
    labels_add(ret_labels, "severity", alert->severity);
    labels_add(ret_labels, "kind", alert->kind);
    labels_add(ret_labels, "pipeline", span_of(pipeline));
    for (size_t i = 0; YAJL_IS_OBJECT(key) && i < key->u.object.len; i++)
        labels_add(ret_labels, key->u.object.keys[i], span_of(YAJL_GET_STRING(key->u.object.values[i])));
    qsort(ret_labels->items, ret_labels->count, sizeof *ret_labels->items, compare_labels);
}

static void put_labels(struct json_writer *json, const char *key, const struct labels *labels)
{
    json_open(json, key);
    for (size_t i = 0; i < labels->count; i++)
        json_text(json, labels->items[i].name, labels->items[i].value);
    json_close(json);
}

static void put_annotations(struct json_writer *json, const char *key, const struct message_alert *alert)
{
    json_open(json, key);
    json_text_if(json, "summary", alert->summary);
    json_text_if(json, "description", alert->description);
    json_text_if(json, "runbook_url", alert->runbook);
    json_text_if(json, "target", alert->target);
    json_text_if(json, "run", alert->run_name.size ? alert->run_name : alert->run);
    json_text_if(json, "run_url", alert->url);
    json_close(json);
}

static bool is_known(const struct message_alert *alert)
{
    return alert->starts_us != TIME_NONE &&
           (span_is(alert->state, "firing") || span_is(alert->state, "resolved"));
}

static bool knows_any(const struct alert_message *message)
{
    for (size_t i = 0; i < message->count; i++)
        if (is_known(&message->alerts[i]))
            return true;
    return false;
}

bool message_alertmanager(const struct alert_message *message, const char *pipeline, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open_list(&json, NULL);
    for (size_t i = 0; i < message->count; i++) {
        const struct message_alert *alert = &message->alerts[i];
        struct labels labels;

        if (!is_known(alert))
            continue;
        labels_of(alert, pipeline, &labels);
        json_open(&json, NULL);
        put_labels(&json, "labels", &labels);
        put_annotations(&json, "annotations", alert);
        json_time(&json, "startsAt", alert->starts_us);
        json_time(&json, "endsAt", alert->ends_us == TIME_NONE ? NEVER_US : alert->ends_us);
        if (message_is_link(alert->url))
            json_text(&json, "generatorURL", alert->url);
        json_close(&json);
    }
    json_close_list(&json);
    return knows_any(message);
}

/* FNV-1a over names and values, each with 0xFF behind it: Alertmanager's fingerprint of labels. */
static void put_fingerprint(struct json_writer *json, const struct labels *labels)
{
    uint64_t hash = 14695981039346656037u;
    char text[17];

    for (size_t i = 0; i < labels->count; i++) {
        const struct span parts[] = {span_of(labels->items[i].name), labels->items[i].value};

        for (size_t k = 0; k < 2; k++) {
            for (uint32_t at = 0; at < parts[k].size; at++)
                hash = (hash ^ (unsigned char)parts[k].data[at]) * 1099511628211u;
            hash = (hash ^ 0xFF) * 1099511628211u;
        }
    }
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    json_text(json, "fingerprint", span_of(text));
}

static void put_webhook_alert(struct json_writer *json, const struct message_alert *alert,
                              const char *pipeline)
{
    struct labels labels;

    labels_of(alert, pipeline, &labels);
    json_open(json, NULL);
    json_text(json, "status", alert->state);
    put_labels(json, "labels", &labels);
    put_annotations(json, "annotations", alert);
    json_time(json, "startsAt", alert->starts_us);
    if (span_is(alert->state, "resolved") && alert->ends_us != TIME_NONE)
        json_time(json, "endsAt", alert->ends_us);
    else
        json_text(json, "endsAt", SPAN_LITERAL("0001-01-01T00:00:00Z"));
    json_text(json, "generatorURL", alert->url);
    put_fingerprint(json, &labels);
    json_close(json);
}

/* Keeps the labels that the alert has as well. */
static void labels_intersect(struct labels *labels, const struct message_alert *alert, const char *pipeline)
{
    struct labels others;
    size_t kept = 0;

    labels_of(alert, pipeline, &others);
    for (size_t i = 0; i < labels->count; i++)
        for (size_t k = 0; k < others.count; k++)
            if (strcmp(labels->items[i].name, others.items[k].name) == 0 &&
                span_equal(labels->items[i].value, others.items[k].value))
                labels->items[kept++] = labels->items[i];
    labels->count = kept;
}

bool message_alertmanager_webhook(const struct alert_message *message, const char *pipeline,
                                  const char *receiver, struct buffer *out)
{
    bool firing = false;
    struct labels common;
    struct json_writer json;

    if (!knows_any(message))
        return false;
    labels_of(message->alerts, pipeline, &common);
    for (size_t i = 0; i < message->count; i++) {
        labels_intersect(&common, &message->alerts[i], pipeline);
        firing |= span_is(message->alerts[i].state, "firing");
    }
    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "version", SPAN_LITERAL("4"));
    json_text(&json, "groupKey", message->is_digest ? SPAN_LITERAL("digest") : message->alerts->episode);
    json_integer(&json, "truncatedAlerts", 0);
    json_text(&json, "status", firing ? SPAN_LITERAL("firing") : SPAN_LITERAL("resolved"));
    json_text(&json, "receiver", span_of(receiver));
    put_labels(&json, "groupLabels", &common);
    put_labels(&json, "commonLabels", &common);
    if (message->count == 1)
        put_annotations(&json, "commonAnnotations", message->alerts);
    else
        put_labels(&json, "commonAnnotations", &(struct labels){0});
    json_text(&json, "externalURL", SPAN_LITERAL(""));
    json_open_list(&json, "alerts");
    for (size_t i = 0; i < message->count; i++)
        if (is_known(&message->alerts[i]))
            put_webhook_alert(&json, &message->alerts[i], pipeline);
    json_close_list(&json);
    json_close(&json);
    return true;
}
