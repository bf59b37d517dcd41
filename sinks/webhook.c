/* One POST a document, as it is, to one address: for chat gateways, pagers and programs of the user's own.
 * Runs a few times an hour, so the queue is a plain vector of copies. Documents of one group (a dedup key)
 * keep their order; others pass a document that waits for its next attempt.
 * The server's answers never get into a reason: they may quote the document, and the address is a secret. */
#include "sinks/sink.h"

#include "base/memory.h"
#include "sinks/backoff.h"
#include "sinks/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND_US 1000000LL
enum { LOOK_AHEAD = 256 };

enum webhook_body { BODY_JSON };

struct webhook_settings {
    char *url, *ca_file;
    struct option_pairs headers;
    bool verify;
    int body; /* enum webhook_body */
    int64_t timeout_us, connections, queue_bytes, retry_base_us, retry_max_us, give_up_us;
};

struct message {
    struct id128 group;
    uint64_t ticket;
    enum document_kind kind;
    char *body;
    size_t size;
    unsigned attempts;
    int64_t first_us, due_us; /* first_us: of the first attempt, 0 before */
    bool flying, finished;
};

struct sink {
    const struct webhook_settings *settings;
    struct sink_context context;
    struct http *http;
    struct message **messages; /* oldest first; pointers, because a request under way names its own */
    size_t count, capacity, bytes;
    struct backoff backoff;
    int64_t next_warning_us;
    struct sink_figures figures;
};

static const char *const body_names[] = {"json", NULL};

#define SETTING(member) offsetof(struct webhook_settings, member)
// clang-format off
static const struct option options[] = {
    {.name = "url", .type = OPTION_SECRET, .offset = SETTING(url), .required = true,
     .help = "Address that gets a POST for each document; secret, because chat services put a key into it."},
    {.name = "headers", .type = OPTION_PAIRS, .offset = SETTING(headers), .help = "Further headers of the request."},
    {.name = "body", .type = OPTION_CHOICE, .offset = SETTING(body), .default_text = "json", .choices = body_names,
     .help = "What is sent; json: the line as it is."},
    {.name = "ca_file", .type = OPTION_PATH, .offset = SETTING(ca_file),
     .help = "Certificates of the authorities that may sign the server's; default the system's."},
    {.name = "verify", .type = OPTION_BOOL, .offset = SETTING(verify), .default_text = "true",
     .help = "Check the server's certificate and name."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = SETTING(timeout_us), .default_text = "10s",
     .min = 0.1, .max = 600, .scale = SCALE_LOG, .help = "Of one request; it is then sent again."},
    {.name = "connections", .type = OPTION_INTEGER, .offset = SETTING(connections), .default_text = "2",
     .min = 1, .max = 16, .help = "Requests under way at a time, a worker."},
    {.name = "queue_bytes", .type = OPTION_SIZE, .offset = SETTING(queue_bytes), .default_text = "16MiB",
     .min = 64 * 1024, .max = 1024 * 1024 * 1024, .scale = SCALE_LOG,
     .help = "Documents that wait, a worker; beyond it the sources are held back."},
    {.name = "retry_base", .type = OPTION_DURATION, .offset = SETTING(retry_base_us), .default_text = "500ms",
     .min = 0.001, .max = 60, .scale = SCALE_LOG, .help = "First wait before a repetition; doubles with each."},
    {.name = "retry_max", .type = OPTION_DURATION, .offset = SETTING(retry_max_us), .default_text = "1m",
     .min = 0.001, .max = 3600, .scale = SCALE_LOG, .help = "Longest wait before a repetition."},
    {.name = "give_up", .type = OPTION_DURATION, .offset = SETTING(give_up_us), .default_text = "3h",
     .min = 0.001, .max = 30 * 86400.0, .scale = SCALE_LOG,
     .help = "A document that could not be delivered for so long goes to the dead letters."},
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

    if (!own->url || (strncmp(own->url, "http://", 7) != 0 && strncmp(own->url, "https://", 8) != 0))
        return fail(ret_error, "url: the address does not begin with http:// or https://");
    for (size_t i = 0; i < own->headers.count; i++)
        if (strpbrk(own->headers.items[i].key, ":\r\n ") || strpbrk(own->headers.items[i].value, "\r\n"))
            return fail(ret_error, "headers: '%s' cannot be a header", own->headers.items[i].key);
    if (http_open(&http_settings, &http, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    *ret_sink = memory_new(sizeof **ret_sink);
    **ret_sink = (struct sink){
        .settings = own,
        .context = *context,
        .http = http,
        .backoff = backoff_make(own->retry_base_us, own->retry_max_us, context->name, context->worker),
    };
    return STATUS_OK;
}

static void message_free(struct message *message)
{
    free(message->body);
    free(message);
}

static void close_sink(struct sink *sink)
{
    http_free(sink->http);
    for (size_t i = 0; i < sink->count; i++)
        message_free(sink->messages[i]);
    free(sink->messages);
    free(sink);
}

static enum status offer(struct sink *sink, const struct document *document)
{
    struct id128 none = {0};
    struct message *message;

    if (sink->count > 0 && sink->bytes + document->body.size > (size_t)sink->settings->queue_bytes)
        return STATUS_RETRY;
    message = memory_new(sizeof *message);
    *message = (struct message){
        .group = id_equal(document->group, none) ? document->id : document->group,
        .ticket = document->ticket,
        .kind = document->kind,
        .body = memory_text(document->body.data, document->body.size),
        .size = document->body.size,
    };
    sink->messages =
        memory_reserve(sink->messages, &sink->capacity, sink->count + 1, sizeof(struct message *));
    sink->messages[sink->count++] = message;
    sink->bytes += message->size;
    return STATUS_OK;
}

static void finish(struct sink *sink, struct message *message, const char *dead_reason,
                   struct verdicts *verdicts)
{
    message->finished = true;
    if (dead_reason) {
        verdicts_dead_letter(verdicts, message->ticket, message->kind, dead_reason,
                             span_make(message->body, message->size));
        sink->figures.dead_letters++;
        return;
    }
    verdicts_done(verdicts, message->ticket);
    sink->figures.documents++;
}

static void take_answer(struct sink *sink, const struct http_answer *answer, int64_t now_us,
                        struct verdicts *verdicts)
{
    struct message *message = answer->tag;
    int status = answer->status;
    char reason[320];

    message->flying = false;
    if (status >= 200 && status < 300) {
        finish(sink, message, NULL, verdicts);
        return;
    }
    if (status)
        snprintf(reason, sizeof reason, "HTTP %d from the webhook", status);
    else
        snprintf(reason, sizeof reason, "%s", answer->trouble);
    if ((status && status < 500 && status != 408 && status != 429) ||
        now_us - message->first_us >= sink->settings->give_up_us) {
        finish(sink, message, reason, verdicts);
        return;
    }
    int64_t delay = backoff_delay(&sink->backoff, message->attempts);

    message->due_us = now_us + (delay > answer->retry_after_us ? delay : answer->retry_after_us);
    sink->figures.retries++;
    sink_warn(&sink->context, &sink->next_warning_us, now_us, "%s; trying again", reason);
}

static bool may_go(const struct sink *sink, size_t place, int64_t now_us)
{
    const struct message *message = sink->messages[place];

    if (message->flying || message->due_us > now_us)
        return false;
    for (size_t i = 0; i < place; i++)
        if (id_equal(sink->messages[i]->group, message->group))
            return false;
    return true;
}

static void send_message(struct sink *sink, struct message *message, int64_t now_us)
{
    struct http_request request = {
        .method = "POST",
        .url = sink->settings->url,
        .content_type = "application/json",
        .body = span_make(message->body, message->size),
        .headers = &sink->settings->headers,
        .tag = message,
    };
    enum status sent = http_send(sink->http, &request);

    assert(sent == STATUS_OK);
    (void)sent;
    if (message->attempts++ == 0)
        message->first_us = now_us;
    message->flying = true;
    sink->figures.requests++;
    sink->figures.bytes += message->size;
}

static void drop_finished(struct sink *sink)
{
    size_t kept = 0;

    for (size_t i = 0; i < sink->count; i++) {
        struct message *message = sink->messages[i];

        if (!message->finished) {
            sink->messages[kept++] = message;
            continue;
        }
        sink->bytes -= message->size;
        message_free(message);
    }
    sink->count = kept;
}

static void advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct http_answer answer;
    bool answered = false;

    http_advance(sink->http);
    while (http_take(sink->http, &answer)) {
        take_answer(sink, &answer, now_us, verdicts);
        answered = true;
    }
    if (answered)
        drop_finished(sink);
    for (size_t i = 0; i < sink->count && i < LOOK_AHEAD && http_room(sink->http) > 0; i++)
        if (may_go(sink, i, now_us))
            send_message(sink, sink->messages[i], now_us);
    http_advance(sink->http);
}

static size_t pending(const struct sink *sink)
{
    return sink->count;
}

static void figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    *ret_figures = sink->figures;
    ret_figures->queue_bytes = sink->bytes;
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
