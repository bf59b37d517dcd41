/* Documents to Elasticsearch 7-9 and OpenSearch 1-3 by `_bulk`. offer() runs once a document and only
 * appends; all else runs once a request. Every item of every answer gets its own verdict from
 * verdicts_table.c: a bulk is never judged by its HTTP status or its `errors` alone.
 * Tried and dropped: `require_data_stream` against missing templates (only Elasticsearch 8.13 and later know
 * it, the others refuse the whole request); zstd bodies (OpenSearch 2.19.6 exits). */
#include "sinks/elasticsearch.h"

#include "base/json_writer.h"
#include "base/memory.h"
#include "base/timestamp.h"
#include "sinks/backoff.h"
#include "sinks/bulk.h"
#include "sinks/bulk_answer.h"
#include "sinks/elasticsearch_setup.h"
#include "sinks/verdicts_table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define SECOND_US 1000000LL
enum {
    PROBE_S = 30,
    TEMPLATES_AGAIN_S = 10,
    ACTION_BYTES_MAX = 4096,
    REASON_BYTES = 640,
    BULK_BYTES_LEAST = 64 * 1024,
    TARGETS = DOC_KINDS + 1
};

/* Where the current alert goes, beside the stream of alert lines. */
enum { TARGET_CURRENT_ALERT = DOC_KINDS };

struct sink {
    const struct elasticsearch_settings *settings;
    struct sink_context context;
    struct verdict_table table;
    struct http *http;
    struct bulk_queue queue;
    struct bulk_answer answer;
    struct template_check check;
    bool checked;                   /* the templates are there */
    struct buffer targets[TARGETS]; /* index or data stream; those with a month end with '-' */
    struct buffer creates[TARGETS]; /* of streams: the action line, into which the id is written */
    struct buffer action, reason;
    char **bulk_urls;
    size_t url, check_url; /* the address in use; where the check was sent */
    z_stream deflater;     /* of gzip only */
    struct backoff backoff;
    size_t pending;
    int64_t now_us, open_since_us;
    int64_t hold_until_us; /* nothing is sent before: the server is away or busy */
    unsigned troubles;     /* in succession */
    bool paused;
    char pause_reason[REASON_BYTES];
    int64_t probe_us;         /* when one item may be tried */
    const struct bulk *probe; /* under way */
    int64_t next_pause_warning_us, next_network_warning_us, next_template_warning_us;
    struct sink_figures figures;
    struct verdicts *verdicts; /* of the advance that runs */
};

static const char *const compress_names[] = {"none", "gzip", NULL}, *const install_names[] = {"manual",
                                                                                              "auto", NULL};

#define SETTING(member) offsetof(struct elasticsearch_settings, member)
// clang-format off
static const struct option options[] = {
    {.name = "urls", .type = OPTION_TEXTS, .offset = SETTING(urls), .required = true,
     .help = "Addresses of the cluster; the next one is tried when a connection fails."},
    {.name = "user", .type = OPTION_TEXT, .offset = SETTING(user), .help = "User of HTTP basic authentication."},
    {.name = "password", .type = OPTION_SECRET, .offset = SETTING(password), .help = "Password of the user."},
    {.name = "api_key", .type = OPTION_SECRET, .offset = SETTING(api_key), .help = "Encoded API key, instead of a user."},
    {.name = "ca_file", .type = OPTION_PATH, .offset = SETTING(ca_file),
     .help = "Certificates of the authorities that may sign the server's; default the system's."},
    {.name = "verify", .type = OPTION_BOOL, .offset = SETTING(verify), .default_text = "true",
     .help = "Check the server's certificate and name."},
    {.name = "compress", .type = OPTION_CHOICE, .offset = SETTING(compress), .default_text = "none",
     .choices = compress_names, .help = "Compress requests; pays where the network is slower than about 1 Gbit/s."},
    {.name = "setup", .type = OPTION_CHOICE, .offset = SETTING(setup), .default_text = "manual",
     .choices = install_names, .help = "Missing index templates: wait for `weir setup elasticsearch`, or install them."},
    {.name = "bulk_bytes", .type = OPTION_SIZE, .offset = SETTING(bulk_bytes), .default_text = "5MiB",
     .min = BULK_BYTES_LEAST, .max = 64 * 1024 * 1024, .scale = SCALE_LOG, .help = "A request is sent when it has this size; smaller ones while the server does not answer in time."},
    {.name = "bulk_documents", .type = OPTION_INTEGER, .offset = SETTING(bulk_documents), .default_text = "10000",
     .min = 1, .max = 100000, .scale = SCALE_LOG, .help = "Most documents of a request."},
    {.name = "bulk_wait", .type = OPTION_DURATION, .offset = SETTING(bulk_wait_us), .default_text = "1s",
     .min = 0.01, .max = 60, .scale = SCALE_LOG, .help = "Longest wait before a request that is not full is sent."},
    {.name = "queue_bytes", .type = OPTION_SIZE, .offset = SETTING(queue_bytes), .default_text = "16MiB",
     .min = 1024 * 1024, .max = 4.0 * 1024 * 1024 * 1024, .scale = SCALE_LOG,
     .help = "Documents that wait or are under way, a worker; beyond it the sources are held back."},
    {.name = "connections", .type = OPTION_INTEGER, .offset = SETTING(connections), .default_text = "2",
     .min = 1, .max = 16, .help = "Requests under way at a time, a worker."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = SETTING(timeout_us), .default_text = "60s",
     .min = 0.1, .max = 3600, .scale = SCALE_LOG, .help = "Of one request; it is then sent again."},
    {.name = "retry_base", .type = OPTION_DURATION, .offset = SETTING(retry_base_us), .default_text = "500ms",
     .min = 0.001, .max = 60, .scale = SCALE_LOG, .help = "First wait before a repetition; doubles with each."},
    {.name = "retry_max", .type = OPTION_DURATION, .offset = SETTING(retry_max_us), .default_text = "30s",
     .min = 0.001, .max = 3600, .scale = SCALE_LOG, .help = "Longest wait before a repetition."},
    {.name = "prefix", .type = OPTION_TEXT, .offset = SETTING(prefix), .default_text = "weir",
     .help = "Beginning of index and data stream names."},
    {.name = "namespace", .type = OPTION_TEXT, .offset = SETTING(namespace_), .default_text = "default",
     .help = "Last part of data stream names."},
    {.name = "verdicts", .type = OPTION_PAIRS, .offset = SETTING(verdicts),
     .help = "Another action for a class of answers: {item_forbidden: dead_letter}."},
};
// clang-format on

/* Names that both servers take for an index, and that need no escaping in an address. */
static bool is_name(const char *text)
{
    return text && *text && strlen(text) <= 100 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(text) && !strchr("._-", *text);
}

char *elasticsearch_url(const char *base, const char *path)
{
    size_t size = strlen(base);
    struct buffer url;

    while (size && base[size - 1] == '/')
        size--;
    buffer_init(&url, 64 * 1024);
    buffer_put(&url, base, size);
    buffer_put_text(&url, path);
    buffer_put_char(&url, '\0');
    return url.data;
}

enum status elasticsearch_connect(const struct elasticsearch_settings *settings, struct http **ret_http,
                                  struct error *ret_error)
{
    struct http_settings http = {
        .user = settings->user,
        .password = settings->password,
        .api_key = settings->api_key,
        .ca_file = settings->ca_file,
        .verify = settings->verify,
        .timeout_us = settings->timeout_us,
        .connections = (size_t)settings->connections,
    };

    if (settings->urls.count == 0)
        return fail(ret_error, "urls: at least one address is needed");
    for (size_t i = 0; i < settings->urls.count; i++) {
        const char *url = settings->urls.items[i];

        if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || strlen(url) > 2048)
            return fail(ret_error, "urls: address %zu does not begin with http:// or https://", i + 1);
    }
    if (!is_name(settings->prefix))
        return fail(ret_error, "prefix: '%s' is not lower-case letters, digits, '.', '_' and '-'",
                    settings->prefix);
    if (!is_name(settings->namespace_) || settings->namespace_[strlen(settings->namespace_) - 1] == '-')
        return fail(
            ret_error,
            "namespace: '%s' is not lower-case letters, digits, '.', '_' and '-', without '-' at its end",
            settings->namespace_);
    return http_open(&http, ret_http, ret_error);
}

static void make_targets(struct sink *sink)
{
    static const char *const before[TARGETS] = {"logs-", "", "", "logs-", "logs-", "metrics-", ""};
    static const char *const after[TARGETS] = {
        ".events-", "-runs-v1-", "-buckets-v1-", ".signals-", ".alerts-", ".pipeline-", "-alerts-v1",
    };

    for (size_t i = 0; i < TARGETS; i++) {
        struct buffer *target = &sink->targets[i];

        buffer_init(target, 512);
        buffer_put_text(target, before[i]);
        buffer_put_text(target, sink->settings->prefix);
        buffer_put_text(target, after[i]);
        if (before[i][0])
            buffer_put_text(target, sink->settings->namespace_);
    }
}

static bool is_stream(size_t target)
{
    return target != DOC_RUN && target != DOC_BUCKET && target != TARGET_CURRENT_ALERT;
}

static void put_id(struct buffer *out, struct id128 id)
{
    char *room = buffer_room(out, ID_HEX_SIZE);

    if (!room)
        return;
    id_format(id, room);
    out->size += ID_HEX_SIZE;
}

/* Nothing in it needs to be escaped, see is_name. */
static void write_action(struct sink *sink, int64_t time_us, size_t target, struct id128 id, uint64_t version)
{
    const struct buffer *name = &sink->targets[target];
    struct buffer *out = &sink->action;

    buffer_clear(out);
    buffer_put_span(out, version ? SPAN_LITERAL("{\"index\":{\"_index\":\"")
                                 : SPAN_LITERAL("{\"create\":{\"_index\":\""));
    buffer_put_span(out, buffer_span(name));
    if (name->data[name->size - 1] == '-') {
        char month[8];

        time_month(time_us, month);
        buffer_put_text(out, month);
    }
    buffer_put_span(out, SPAN_LITERAL("\",\"_id\":\""));
    put_id(out, id);
    if (version) {
        buffer_put_span(out, SPAN_LITERAL("\",\"version\":"));
        json_put_integer(out, (int64_t)version);
        buffer_put_span(out, SPAN_LITERAL(",\"version_type\":\"external"));
    }
    buffer_put_span(out, SPAN_LITERAL("\"}}\n"));
    assert(!out->full);
}

/* The line of a document that goes to a stream: it differs from others in the id alone. */
static struct span create_action(struct sink *sink, size_t target, struct id128 id)
{
    struct buffer *line = &sink->creates[target];

    id_format(id, line->data + line->size - strlen("\"}}\n") - ID_HEX_SIZE);
    return buffer_span(line);
}

static void make_creates(struct sink *sink)
{
    for (size_t i = 0; i < TARGETS; i++) {
        buffer_init(&sink->creates[i], ACTION_BYTES_MAX);
        if (!is_stream(i))
            continue;
        write_action(sink, 0, i, (struct id128){0}, 0);
        assert(sink->action.data);
        buffer_put_span(&sink->creates[i], buffer_span(&sink->action));
    }
}

static enum status open_sink(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    const struct elasticsearch_settings *own = settings;
    struct verdict_table table;
    struct http *http = NULL;
    struct sink *sink;

    if (verdict_table_make(&own->verdicts, &table, ret_error) != STATUS_OK ||
        elasticsearch_connect(own, &http, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    sink = memory_new(sizeof *sink);
    *sink = (struct sink){
        .settings = own,
        .context = *context,
        .table = table,
        .http = http,
        .backoff = backoff_make(own->retry_base_us, own->retry_max_us, context->name, context->worker),
    };
    bulk_queue_init(&sink->queue, (struct bulk_limits){.bulk_bytes = (size_t)own->bulk_bytes,
                                                       .bulk_items = (size_t)own->bulk_documents,
                                                       .queue_bytes = (size_t)own->queue_bytes});
    bulk_answer_init(&sink->answer);
    template_check_init(&sink->check, own, own->setup == SETUP_AUTO ? TEMPLATES_ADD_MISSING : TEMPLATES_LOOK);
    buffer_init(&sink->action, ACTION_BYTES_MAX);
    buffer_init(&sink->reason, REASON_BYTES);
    make_targets(sink);
    make_creates(sink);
    sink->bulk_urls = memory_new(own->urls.count * sizeof *sink->bulk_urls);
    for (size_t i = 0; i < own->urls.count; i++)
        sink->bulk_urls[i] =
            elasticsearch_url(own->urls.items[i], "/_bulk?filter_path=errors,items.*.error,items.*.status");
    if (own->compress == COMPRESS_GZIP) {
        int made = deflateInit2(&sink->deflater, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);

        assert(made == Z_OK);
        (void)made;
    }
    *ret_sink = sink;
    return STATUS_OK;
}

static void close_sink(struct sink *sink)
{
    http_free(sink->http);
    bulk_queue_free(&sink->queue);
    bulk_answer_free(&sink->answer);
    template_check_free(&sink->check);
    for (size_t i = 0; i < TARGETS; i++) {
        buffer_free(&sink->targets[i]);
        buffer_free(&sink->creates[i]);
    }
    for (size_t i = 0; i < sink->settings->urls.count; i++)
        free(sink->bulk_urls[i]);
    free(sink->bulk_urls);
    buffer_free(&sink->action);
    buffer_free(&sink->reason);
    if (sink->settings->compress == COMPRESS_GZIP)
        deflateEnd(&sink->deflater);
    free(sink);
}

/* One item of the document: the current alert under its episode's id, or the document itself. */
static void put(struct sink *sink, const struct document *document, bool current,
                struct shared_ticket *shared)
{
    size_t target = current ? TARGET_CURRENT_ALERT : (size_t)document->kind;
    bool stream = is_stream(target); /* a data stream takes `create` only */
    struct id128 id = current ? document->group : document->id;
    struct bulk_item item = {
        .id = id,
        .ticket = document->ticket,
        .shared = shared,
        .kind = (uint8_t)document->kind,
        .versioned = !stream && document->version > 0,
    };
    struct span action;

    if (stream) {
        action = create_action(sink, target, id);
    } else {
        write_action(sink, document->time_us, target, id, document->version);
        action = buffer_span(&sink->action);
    }
    if (bulk_queue_put(&sink->queue, &item, action, document->body))
        sink->open_since_us = sink->now_us;
}

static enum status offer(struct sink *sink, const struct document *document)
{
    bool twice = document->kind == DOC_ALERT && document->version > 0;
    size_t size = (document->body.size + (size_t)512) * (twice ? 2 : 1);
    struct shared_ticket *shared = NULL;

    assert(document->kind < DOC_KINDS);
    if (!bulk_queue_fits(&sink->queue, size))
        return STATUS_RETRY;
    if (twice) {
        shared = memory_new(sizeof *shared);
        shared->open = 2;
        put(sink, document, true, shared);
    }
    put(sink, document, false, shared);
    sink->pending++;
    return STATUS_OK;
}

/* Holds the whole sink back: the server is away or busy. */
static void hold(struct sink *sink, int64_t retry_after_us)
{
    int64_t delay = backoff_delay(&sink->backoff, ++sink->troubles);

    sink->hold_until_us = sink->now_us + (delay > retry_after_us ? delay : retry_after_us);
}

static void pause_sink(struct sink *sink, const char *reason, int64_t again_s)
{
    sink->paused = true;
    sink->probe_us = sink->now_us + again_s * SECOND_US;
    snprintf(sink->pause_reason, sizeof sink->pause_reason, "%s", reason);
}

static void finish(struct sink *sink, const struct bulk *bulk, struct bulk_item *item,
                   const char *dead_reason)
{
    struct shared_ticket *shared = item->shared;
    bool told = shared && shared->told;
    bool last = !shared || --shared->open == 0;

    assert(!item->finished);
    item->finished = true;
    if (dead_reason && !told) {
        verdicts_dead_letter(sink->verdicts, item->ticket, (enum document_kind)item->kind, dead_reason,
                             bulk_body(bulk, item));
        sink->figures.dead_letters++;
        if (shared)
            shared->told = true;
    } else if (last && !told) {
        verdicts_done(sink->verdicts, item->ticket);
        sink->figures.documents++;
    }
    if (last) {
        sink->pending--;
        free(shared);
    }
}

/* What an action means for one item; an item that is not finished by it stays in its bulk. */
static void settle(struct sink *sink, const struct bulk *bulk, struct bulk_item *item,
                   enum verdict_action action, const char *reason)
{
    item->refused = false;
    switch (action) {
    case VERDICT_DONE:
        finish(sink, bulk, item, NULL);
        break;
    case VERDICT_DEAD_LETTER:
        finish(sink, bulk, item, reason);
        break;
    case VERDICT_RETRY_LIMITED:
        if (item->failures++ == VERDICT_RETRIES) {
            finish(sink, bulk, item, reason);
            break;
        }
        sink->figures.retries++;
        break;
    case VERDICT_PAUSE:
        item->refused = true;
        pause_sink(sink, reason, PROBE_S);
        break;
    default:
        sink->figures.retries++;
        break;
    }
}

static void settle_all(struct sink *sink, struct bulk *bulk, enum verdict_action action, const char *reason)
{
    for (size_t i = 0; i < bulk->count; i++)
        settle(sink, bulk, &bulk->items[i], action, reason);
}

/* "HTTP 400 mapper_parsing_exception: failed to parse ..." in sink->reason, ended with a null byte. */
static const char *describe(struct sink *sink, int status, const struct answer_item *item)
{
    buffer_clear(&sink->reason);
    buffer_print(&sink->reason, "HTTP %d ", status);
    bulk_answer_describe(&sink->answer, item, &sink->reason);
    if (sink->reason.data[sink->reason.size - 1] == ' ')
        sink->reason.size--;
    buffer_put_char(&sink->reason, '\0');
    if (sink->reason.full)
        sink->reason.data[sink->reason.size - 1] = '\0';
    return sink->reason.data;
}

static void take_items(struct sink *sink, struct bulk *bulk, int64_t retry_after_us)
{
    size_t busy = 0;
    bool waiting = false;

    for (size_t i = 0; i < bulk->count; i++) {
        const struct answer_item *item = &sink->answer.items[i];
        enum answer_class class = answer_class_of_item(item->status, bulk_answer_type(&sink->answer, item));
        enum verdict_action action = sink->table.actions[class];

        busy += class == ITEM_BUSY;
        waiting = waiting || action == VERDICT_RETRY || action == VERDICT_RETRY_LIMITED;
        settle(sink, bulk, &bulk->items[i], action,
               action == VERDICT_DONE ? NULL : describe(sink, item->status, item));
    }
    if (busy == bulk->count)
        hold(sink, retry_after_us);
    else
        sink->troubles = 0;
    bulk_return(&sink->queue, bulk,
                waiting ? sink->now_us + backoff_delay(&sink->backoff, bulk->attempts + 1) : 0);
}

/* What a busy server could not take in the time allowed it may still be working on: sent again as it is, that
 * would only be more work. Smaller requests, down to some documents, until they are answered in time. */
static void send_less(struct sink *sink, const struct bulk *late)
{
    size_t half = late->text.size / 2;

    if (half < sink->queue.limits.bulk_bytes)
        sink->queue.limits.bulk_bytes = half > BULK_BYTES_LEAST ? half : (size_t)BULK_BYTES_LEAST;
}

static void send_more_again(struct sink *sink)
{
    size_t more = sink->queue.limits.bulk_bytes / 8 * 9, most = (size_t)sink->settings->bulk_bytes;

    sink->queue.limits.bulk_bytes = more < most ? more : most;
}

/* Goes on to the next address, once for all requests that failed at this one. */
static void leave_url(struct sink *sink, size_t address)
{
    if (sink->url == address)
        sink->url = (address + 1) % sink->settings->urls.count;
}

static void take_trouble(struct sink *sink, struct bulk *bulk, enum answer_class class,
                         const struct http_answer *answer)
{
    enum verdict_action action = sink->table.actions[class];
    const char *reason =
        answer->status ? describe(sink, answer->status, &sink->answer.whole) : answer->trouble;

    if (class == REQUEST_NETWORK) {
        leave_url(sink, bulk->address);
        sink->checked = false; /* it may come back as another server */
    }
    if (answer->late)
        send_less(sink, bulk);
    if (class == REQUEST_NETWORK || class == REQUEST_BUSY || class == REQUEST_FAILED)
        sink_warn(&sink->context, &sink->next_network_warning_us, sink->now_us, "%s; trying again", reason);
    if (action == VERDICT_HALVE && bulk->count > 1) {
        bulk_halve(&sink->queue, bulk);
        return;
    }
    if (action == VERDICT_PLAIN) {
        bulk->plain = true;
        bulk_return(&sink->queue, bulk, 0);
        return;
    }
    settle_all(sink, bulk, action == VERDICT_HALVE ? VERDICT_DEAD_LETTER : action, reason);
    if (action == VERDICT_RETRY)
        hold(sink, answer->retry_after_us);
    bulk_return(&sink->queue, bulk,
                action == VERDICT_RETRY_LIMITED
                    ? sink->now_us + backoff_delay(&sink->backoff, bulk->attempts + 1)
                    : 0);
}

static void take_answer(struct sink *sink, struct bulk *bulk, const struct http_answer *answer)
{
    bool gzip = bulk->wire.size > 0, was_probe = bulk == sink->probe;
    enum answer_class class = answer_class_of_request(answer->status, answer->cut, gzip);
    size_t before = sink->queue.items;
    bool read = bulk_answer_read(&sink->answer, answer->body);

    buffer_clear(&bulk->wire);
    if (was_probe)
        sink->probe = NULL;
    if (class == REQUEST_TAKEN && (!read || !sink->answer.has_items || sink->answer.count != bulk->count))
        class = REQUEST_FOREIGN;
    if (class == REQUEST_TAKEN) {
        send_more_again(sink);
        take_items(sink, bulk, answer->retry_after_us);
    } else
        take_trouble(sink, bulk, class, answer);
    if (was_probe && sink->queue.items < before)
        sink->paused = false;
}

static void take_check(struct sink *sink, const struct http_answer *answer)
{
    switch (template_check_take(&sink->check, answer)) {
    case TEMPLATES_GO_ON:
        return;
    case TEMPLATES_UNKNOWN:
        sink_warn(&sink->context, &sink->next_template_warning_us, sink->now_us,
                  "this user may not look at index templates; they are taken as installed");
        break;
    case TEMPLATES_DONE:
        break;
    case TEMPLATES_MISSING:
        pause_sink(sink, "templates missing: run `weir setup elasticsearch`", TEMPLATES_AGAIN_S);
        return;
    case TEMPLATES_REFUSED:
        pause_sink(sink, sink->check.reason, PROBE_S);
        return;
    case TEMPLATES_RETRY:
        if (answer->status == 0)
            leave_url(sink, sink->check_url);
        template_check_restart(&sink->check);
        sink_warn(&sink->context, &sink->next_network_warning_us, sink->now_us, "%s; trying again",
                  answer->status ? "the server is busy" : answer->trouble);
        hold(sink, answer->retry_after_us);
        return;
    }
    sink->checked = true;
    sink->paused = false;
    sink->troubles = 0;
}

static void deflate_bulk(struct sink *sink, struct bulk *bulk)
{
    z_stream *deflater = &sink->deflater;
    size_t room = deflateBound(deflater, bulk->text.size);
    char *out = buffer_room(&bulk->wire, room);

    if (!out)
        return;
    deflateReset(deflater);
    deflater->next_in = (unsigned char *)bulk->text.data;
    deflater->avail_in = (unsigned)bulk->text.size;
    deflater->next_out = (unsigned char *)out;
    deflater->avail_out = (unsigned)room;
    if (deflate(deflater, Z_FINISH) == Z_STREAM_END)
        bulk->wire.size = room - deflater->avail_out;
}

static void send_bulk(struct sink *sink, struct bulk *bulk)
{
    if (sink->settings->compress == COMPRESS_GZIP && !bulk->plain)
        deflate_bulk(sink, bulk);
    struct http_request request = {
        .method = "POST",
        .url = sink->bulk_urls[sink->url],
        .content_type = "application/x-ndjson",
        .body = buffer_span(bulk->wire.size ? &bulk->wire : &bulk->text),
        .gzip = bulk->wire.size > 0,
        .tag = bulk,
    };
    enum status sent = http_send(sink->http, &request);

    assert(sent == STATUS_OK);
    (void)sent;
    bulk->flying = true;
    bulk->address = sink->url;
    sink->figures.requests++;
    sink->figures.bytes += request.body.size;
}

static void send_more(struct sink *sink)
{
    size_t room = http_room(sink->http);
    struct bulk *bulk;

    if (sink->now_us < sink->hold_until_us)
        return;
    if (!sink->checked) {
        if (room == 0 || sink->check.flying || (sink->paused && sink->now_us < sink->probe_us))
            return;
        sink->check_url = sink->url;
        template_check_send(&sink->check, sink->http, sink->settings->urls.items[sink->url]);
    } else if (sink->paused) {
        if (sink->now_us < sink->probe_us || !(bulk = bulk_queue_probe(&sink->queue)))
            return;
        sink->probe_us = sink->now_us + PROBE_S * SECOND_US;
        sink->probe = bulk;
        send_bulk(sink, bulk);
    } else {
        /* after trouble one request has to succeed before the others follow */
        size_t most = sink->troubles ? (size_t)1 : (size_t)sink->settings->connections;

        for (size_t flying = (size_t)sink->settings->connections - room;
             flying < most && (bulk = bulk_queue_next(&sink->queue, sink->now_us)); flying++)
            send_bulk(sink, bulk);
    }
}

static void advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct http_answer answer;

    sink->now_us = now_us;
    sink->verdicts = verdicts;
    http_advance(sink->http);
    while (http_take(sink->http, &answer)) {
        if (answer.tag == &sink->check)
            take_check(sink, &answer);
        else
            take_answer(sink, answer.tag, &answer);
    }
    if (flush || now_us - sink->open_since_us >= sink->settings->bulk_wait_us)
        bulk_queue_seal(&sink->queue);
    send_more(sink);
    http_advance(sink->http);
    if (sink->paused)
        sink_warn(&sink->context, &sink->next_pause_warning_us, now_us, "paused: %s", sink->pause_reason);
    sink->verdicts = NULL;
}

static size_t pending(const struct sink *sink)
{
    return sink->pending;
}

static void figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    *ret_figures = sink->figures;
    ret_figures->queue_bytes = sink->queue.bytes;
    ret_figures->paused = sink->paused;
    ret_figures->pause_reason = sink->paused ? sink->pause_reason : NULL;
}

const struct sink_type sink_elasticsearch = {
    .name = "elasticsearch",
    .help = "Documents to Elasticsearch 7-9 or OpenSearch 1-3, with a verdict for each",
    .form = SINK_DOCUMENTS,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct elasticsearch_settings),
    .open = open_sink,
    .offer = offer,
    .advance = advance,
    .pending = pending,
    .figures = figures,
    .close = close_sink,
    .probe = elasticsearch_report,
};
