/* libcurl behind five calls. Runs once a bulk or a message; http_advance runs once a worker's step and costs
 * about a microsecond when nothing is under way. The answer's body stays in its slot's buffer, so it is never
 * copied.
 * Tried and dropped: curl's own wake-ups and multi_socket, which pay from hundreds of connections on. */
#include "sinks/http.h"

#include "base/memory.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ANSWER_BYTES_MAX = 32 * 1024 * 1024,
    CONNECT_MS_MAX = 10000,
    RETRY_AFTER_S_MAX = 3600,
    SEND_BYTES = 512 * 1024,
    ASK_WAIT_MS = 100,
};

struct slot {
    CURL *easy;
    struct curl_slist *headers;
    struct buffer body;
    const char *url;
    void *tag;
    bool flying;
};

struct http {
    CURLM *multi;
    struct slot *slots;
    size_t slot_count, flying;
    char *user, *password, *authorization, *ca_file;
    bool verify;
    long timeout_ms;
};

static char *copy(const char *text)
{
    return text ? memory_text(text, strlen(text)) : NULL;
}

enum status http_open(const struct http_settings *settings, struct http **ret_http, struct error *ret_error)
{
    struct http *http = memory_new(sizeof *http);

    assert(settings->connections > 0 && settings->timeout_us > 0);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(http);
        return fail(ret_error, "libcurl cannot start");
    }
    *http = (struct http){
        .multi = curl_multi_init(),
        .slots = memory_new(settings->connections * sizeof *http->slots),
        .slot_count = settings->connections,
        .user = copy(settings->user),
        .password = copy(settings->password),
        .ca_file = copy(settings->ca_file),
        .verify = settings->verify,
        .timeout_ms = (long)(settings->timeout_us / 1000),
    };
    assert(http->multi);
    if (settings->api_key) {
        struct buffer line;

        buffer_init(&line, 64 * 1024);
        buffer_print(&line, "Authorization: ApiKey %s", settings->api_key);
        buffer_put_char(&line, '\0');
        http->authorization = line.data;
    }
    for (size_t i = 0; i < http->slot_count; i++) {
        http->slots[i].easy = curl_easy_init();
        assert(http->slots[i].easy);
        buffer_init(&http->slots[i].body, ANSWER_BYTES_MAX);
    }
    *ret_http = http;
    return STATUS_OK;
}

void http_free(struct http *http)
{
    if (!http)
        return;
    for (size_t i = 0; i < http->slot_count; i++) {
        struct slot *slot = &http->slots[i];

        if (slot->flying)
            curl_multi_remove_handle(http->multi, slot->easy);
        curl_easy_cleanup(slot->easy);
        curl_slist_free_all(slot->headers);
        buffer_free(&slot->body);
    }
    curl_multi_cleanup(http->multi);
    curl_global_cleanup();
    free(http->slots);
    free(http->user);
    free(http->password);
    free(http->authorization);
    free(http->ca_file);
    free(http);
}

size_t http_room(const struct http *http)
{
    return http->slot_count - http->flying;
}

static size_t take_body(char *data, size_t size, size_t count, void *owner)
{
    struct buffer *body = owner;

    buffer_put(body, data, size * count);
    return body->full ? 0 : size * count;
}

static void add_header(struct slot *slot, const char *name, const char *value)
{
    struct buffer line;

    buffer_init(&line, 64 * 1024);
    buffer_print(&line, "%s: %s", name, value);
    buffer_put_char(&line, '\0');
    if (!line.full)
        slot->headers = curl_slist_append(slot->headers, line.data);
    buffer_free(&line);
}

static void set_headers(const struct http *http, struct slot *slot, const struct http_request *request)
{
    curl_slist_free_all(slot->headers);
    /* a server that is asked for leave to send a large body costs a round trip, and some never answer that */
    slot->headers = curl_slist_append(NULL, "Expect:");
    if (request->content_type)
        add_header(slot, "Content-Type", request->content_type);
    if (request->gzip)
        slot->headers = curl_slist_append(slot->headers, "Content-Encoding: gzip");
    if (http->authorization)
        slot->headers = curl_slist_append(slot->headers, http->authorization);
    for (size_t i = 0; request->headers && i < request->headers->count; i++)
        add_header(slot, request->headers->items[i].key, request->headers->items[i].value);
}

static void set_options(const struct http *http, struct slot *slot, const struct http_request *request)
{
    CURL *easy = slot->easy;

    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, http->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     http->timeout_ms < CONNECT_MS_MAX ? http->timeout_ms : (long)CONNECT_MS_MAX);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BYTES);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, http->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, http->verify ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &slot->body);
    if (http->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
    if (http->user) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, http->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, http->password ? http->password : "");
    }
    if (request->content_type) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.size ? request->body.data : "");
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, request->connect_only ? 1L : 0L);
}

enum status http_send(struct http *http, const struct http_request *request)
{
    struct slot *slot = http->slots;

    if (http->flying == http->slot_count)
        return STATUS_RETRY;
    while (slot->flying)
        slot++;
    buffer_clear(&slot->body);
    slot->url = request->url;
    slot->tag = request->tag;
    set_headers(http, slot, request);
    set_options(http, slot, request);
    CURLMcode added = curl_multi_add_handle(http->multi, slot->easy);

    assert(added == CURLM_OK);
    (void)added;
    slot->flying = true;
    http->flying++;
    return STATUS_OK;
}

void http_advance(struct http *http)
{
    int running = 0;

    if (http->flying)
        curl_multi_perform(http->multi, &running);
}

void http_wait(struct http *http, int milliseconds)
{
    curl_multi_poll(http->multi, NULL, 0, milliseconds, NULL);
}

void http_host(const char *url, char ret_text[HTTP_HOST_BYTES])
{
    CURLU *parsed = curl_url();
    char *host = NULL, *port = NULL;

    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK) {
        curl_url_get(parsed, CURLUPART_HOST, &host, 0);
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    }
    snprintf(ret_text, HTTP_HOST_BYTES, "%s:%s", host ? host : "?", port ? port : "?");
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
}

void http_describe(const char *url, int code, char ret_text[256])
{
    char host[HTTP_HOST_BYTES];

    http_host(url, host);
    snprintf(ret_text, 256, "%s: %s", host,
             code == CURLE_WRITE_ERROR ? "the answer is larger than 32 MiB"
                                       : curl_easy_strerror((CURLcode)code));
}

static void fill(struct slot *slot, CURLcode code, struct http_answer *answer)
{
    long status = 0;
    curl_off_t retry_after_s = 0, uploaded = 0;

    *answer = (struct http_answer){.tag = slot->tag, .connected = true};
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    curl_easy_getinfo(slot->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (code == CURLE_OK || ((code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) && status >= 400)) {
        /* with an error: the server refused the body before it had read it and closed */
        answer->status = (int)status;
        answer->retry_after_us =
            (retry_after_s < RETRY_AFTER_S_MAX ? retry_after_s : RETRY_AFTER_S_MAX) * 1000000LL;
        answer->body = buffer_span(&slot->body);
        return;
    }
    answer->connected = code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST;
    answer->late = code == CURLE_OPERATION_TIMEDOUT && uploaded > 0;
    answer->cut = code == CURLE_GOT_NOTHING || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR;
    http_describe(slot->url, (int)code, answer->trouble);
}

bool http_take(struct http *http, struct http_answer *ret_answer)
{
    CURLMsg *message;
    int left = 0;

    while ((message = curl_multi_info_read(http->multi, &left))) {
        CURLcode code = message->data.result;
        char *private = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct slot *slot = (struct slot *)(void *)private;

        curl_multi_remove_handle(http->multi, slot->easy);
        slot->flying = false;
        http->flying--;
        fill(slot, code, ret_answer);
        return true;
    }
    return false;
}

struct http_answer http_ask(struct http *http, const struct http_request *request)
{
    struct http_answer answer;
    enum status sent = http_send(http, request);

    assert(sent == STATUS_OK);
    (void)sent;
    for (;;) {
        http_advance(http);
        if (http_take(http, &answer))
            return answer;
        http_wait(http, ASK_WAIT_MS);
    }
}
