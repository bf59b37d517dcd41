/* One POST a document to one address: for chat services and their gateways, Alertmanager, pagers and programs
 * of the user's own. Alerts are sent as they are or as the receiver wants them (message.h).
 * The server's answers never get into a reason, since they may quote the document, and the address is a
 * secret; but for the one word that Slack says. */
#include "sinks/sink.h"

#include "base/memory.h"
#include "sinks/courier.h"
#include "sinks/http.h"
#include "sinks/message.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

enum webhook_body { BODY_JSON, BODY_SLACK, BODY_ALERTMANAGER, BODY_ALERTMANAGER_WEBHOOK };

enum { OWN_HEADERS = 2, SLACK_WORD_BYTES = 64 };

struct webhook_settings {
    char *url, *ca_file, *hmac_key;
    struct option_pairs headers;
    bool verify;
    int body; /* enum webhook_body */
    int64_t timeout_us, connections;
    struct courier_settings courier;
};

struct sink {
    const struct webhook_settings *settings;
    struct http *http;
    struct courier courier;
    struct option_pair *headers; /* the user's, and room for own ones */
};

static const char *const body_names[] = {"json", "slack", "alertmanager", "alertmanager_webhook", NULL};

#define SETTING(member) offsetof(struct webhook_settings, member)
// clang-format off
static const struct option options[] = {
    {.name = "url", .type = OPTION_SECRET, .offset = SETTING(url), .required = true,
     .help = "Address that gets a POST for each document; secret, because chat services put a key into it."},
    {.name = "headers", .type = OPTION_PAIRS, .offset = SETTING(headers), .help = "Further headers of the request."},
    {.name = "body", .type = OPTION_CHOICE, .offset = SETTING(body), .default_text = "json", .choices = body_names,
     .help = "What is sent of an alert; json: the line as it is; slack: a message for incoming webhooks; alertmanager: what POST /api/v2/alerts takes; alertmanager_webhook: what an Alertmanager posts, version 4."},
    {.name = "hmac_key", .type = OPTION_SECRET, .offset = SETTING(hmac_key),
     .help = "Signs the body: header X-Weir-Signature: sha256=HEX, its HMAC-SHA256 with this key."},
    {.name = "ca_file", .type = OPTION_PATH, .offset = SETTING(ca_file),
     .help = "Certificates of the authorities that may sign the server's; default the system's."},
    {.name = "verify", .type = OPTION_BOOL, .offset = SETTING(verify), .default_text = "true",
     .help = "Check the server's certificate and name."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = SETTING(timeout_us), .default_text = "10s",
     .min = 0.1, .max = 600, .scale = SCALE_LOG, .help = "Of one request; it is then sent again."},
    {.name = "connections", .type = OPTION_INTEGER, .offset = SETTING(connections), .default_text = "2",
     .min = 1, .max = 16, .help = "Requests under way at a time, a worker."},
    COURIER_OPTIONS(SETTING(courier)),
};
// clang-format on

static enum status open_sink(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    const struct webhook_settings *own = settings;
    struct http_settings http_settings = {
        .ca_file = own->ca_file,
        .verify = own->verify,
        .timeout_us = own->timeout_us,
        .connections = (size_t)own->connections,
    };
    struct http *http = NULL;
    struct sink *sink;

    if (!own->url || (strncmp(own->url, "http://", 7) != 0 && strncmp(own->url, "https://", 8) != 0))
        return fail(ret_error, "url: the address does not begin with http:// or https://");
    if (own->hmac_key && !own->hmac_key[0])
        return fail(ret_error, "hmac_key: the key is empty");
    for (size_t i = 0; i < own->headers.count; i++)
        if (strpbrk(own->headers.items[i].key, ":\r\n ") || strpbrk(own->headers.items[i].value, "\r\n"))
            return fail(ret_error, "headers: '%s' cannot be a header", own->headers.items[i].key);
    if (http_open(&http_settings, &http, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    sink = memory_new(sizeof *sink);
    *sink = (struct sink){.settings = own, .http = http};
    courier_open(&sink->courier, &own->courier, context);
    sink->headers = memory_new((own->headers.count + OWN_HEADERS) * sizeof *sink->headers);
    if (own->headers.count)
        memcpy(sink->headers, own->headers.items, own->headers.count * sizeof *sink->headers);
    *ret_sink = sink;
    return STATUS_OK;
}

static void close_sink(struct sink *sink)
{
    http_free(sink->http);
    courier_close(&sink->courier);
    free(sink->headers);
    free(sink);
}

static enum status offer(struct sink *sink, const struct document *document)
{
    return courier_offer(&sink->courier, document);
}

/* What is sent of the document. False: there is nothing in it for this receiver. */
static bool render(const struct sink *sink, struct courier_item *item)
{
    const char *pipeline = sink->courier.context.pipeline, *name = sink->courier.context.name;
    struct alert_message message;
    bool any = true;

    if (item->written.size)
        return true;
    if (sink->settings->body == BODY_JSON || item->kind != DOC_ALERT || !message_read(item->body, &message)) {
        buffer_put_span(&item->written, item->body);
        return true;
    }
    switch ((enum webhook_body)sink->settings->body) {
    case BODY_JSON:
        break;
    case BODY_SLACK:
        message_slack(&message, pipeline, &item->written);
        break;
    case BODY_ALERTMANAGER:
        any = message_alertmanager(&message, pipeline, &item->written);
        break;
    case BODY_ALERTMANAGER_WEBHOOK:
        any = message_alertmanager_webhook(&message, pipeline, name, &item->written);
        break;
    }
    message_free(&message);
    return any;
}

/* RFC 2104 with SHA-256, in hex. */
static void sign(const char *key, struct span body, char ret_value[80])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    const unsigned char *made =
        HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)body.data, body.size, digest, &size);
    int used = snprintf(ret_value, 80, "sha256=");

    assert(made && size == 32);
    (void)made;
    for (unsigned i = 0; i < size; i++)
        used += snprintf(ret_value + used, 80 - (size_t)used, "%02x", digest[i]);
}

static void send_item(struct sink *sink, struct courier_item *item, int64_t now_us)
{
    char id[ID_HEX_SIZE + 1] = "", signature[80];
    struct span body = buffer_span(&item->written);
    struct option_pairs headers = {.items = sink->headers, .count = sink->settings->headers.count};
    struct http_request request = {
        .method = "POST",
        .url = sink->settings->url,
        .content_type = "application/json",
        .body = body,
        .headers = &headers,
        .tag = item,
    };

    id_format(item->id, id);
    headers.items[headers.count++] = (struct option_pair){.key = "X-Weir-Id", .value = id};
    if (sink->settings->hmac_key) {
        sign(sink->settings->hmac_key, body, signature);
        headers.items[headers.count++] = (struct option_pair){.key = "X-Weir-Signature", .value = signature};
    }
    enum status sent = http_send(sink->http, &request);

    assert(sent == STATUS_OK);
    (void)sent;
    courier_sent(&sink->courier, item, body.size, now_us);
}

/* Slack says ok, or in one word what is wrong. Anything else is not repeated. */
static struct span slack_word(struct span body)
{
    if (body.size > SLACK_WORD_BYTES)
        return (struct span){0};
    for (uint32_t i = 0; i < body.size; i++)
        if (!((body.data[i] >= 'a' && body.data[i] <= 'z') || body.data[i] == '_'))
            return (struct span){0};
    return body;
}

static void take_answer(struct sink *sink, const struct http_answer *answer, int64_t now_us,
                        struct verdicts *verdicts)
{
    bool slack = sink->settings->body == BODY_SLACK;
    struct span word = slack ? slack_word(answer->body) : (struct span){0};
    struct courier_item *item = answer->tag;
    int status = answer->status;
    char reason[320];

    if (status >= 200 && status < 300 && (!slack || span_is(word, "ok"))) {
        courier_delivered(&sink->courier, item, verdicts);
        return;
    }
    if (status)
        snprintf(reason, sizeof reason, "HTTP %d from the webhook%s%.*s%s", status, word.size ? ": " : "",
                 (int)word.size, word.size ? word.data : "",
                 slack && status < 300 && !word.size ? ", but not Slack's ok" : "");
    else
        snprintf(reason, sizeof reason, "%s", answer->trouble);
    if (status && status < 500 && status != 408 && status != 429) {
        courier_refused(&sink->courier, item, reason, verdicts);
        return;
    }
    courier_failed(&sink->courier, item, reason, answer->retry_after_us, now_us, verdicts);
    if (status == 429)
        courier_pause(&sink->courier, now_us + answer->retry_after_us);
}

static void advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct courier_item *item;
    struct http_answer answer;

    (void)flush;
    http_advance(sink->http);
    while (http_take(sink->http, &answer))
        take_answer(sink, &answer, now_us, verdicts);
    while (http_room(sink->http) > 0 && (item = courier_next(&sink->courier, now_us))) {
        if (render(sink, item))
            send_item(sink, item, now_us);
        else
            courier_delivered(&sink->courier, item, verdicts);
    }
    courier_tidy(&sink->courier);
    http_advance(sink->http);
}

static size_t pending(const struct sink *sink)
{
    return sink->courier.count;
}

static void figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    courier_figures(&sink->courier, ret_figures);
}

static void probe(const void *settings, report_line *tell, void *owner)
{
    const struct webhook_settings *own = settings;
    struct http *http = NULL;
    struct error error;
    char host[HTTP_HOST_BYTES], line[HTTP_HOST_BYTES + 64];

    if (http_open(&(struct http_settings){.ca_file = own->ca_file,
                                          .verify = own->verify,
                                          .timeout_us = own->timeout_us,
                                          .connections = 1},
                  &http, &error) != STATUS_OK) {
        tell(owner, false, error.text);
        return;
    }
    struct http_answer answer =
        http_ask(http, &(struct http_request){.method = "GET", .url = own->url, .connect_only = true});
    bool secure = strncmp(own->url, "https://", 8) == 0;

    http_host(own->url, host);
    snprintf(line, sizeof line, "%s: reachable by %s; nothing was sent", host, secure ? "TLS" : "TCP");
    tell(owner, !answer.trouble[0], answer.trouble[0] ? answer.trouble : line);
    http_free(http);
}

const struct sink_type sink_webhook = {
    .name = "webhook",
    .help = "One HTTP POST for each document",
    .form = SINK_LINES,
    .notifies = true,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct webhook_settings),
    .open = open_sink,
    .offer = offer,
    .advance = advance,
    .pending = pending,
    .figures = figures,
    .close = close_sink,
    .probe = probe,
};
