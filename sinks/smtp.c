/* One mail an alert or digest, by libcurl: plain text, so that it reads the same everywhere. Mails go one
 * after the other over one connection. Of a server's answers only the numbers get into a reason: its words
 * may quote the mail. RFC 5322 (message), 2047 (encoded words), 3463 (enhanced codes), 3834 (Auto-Submitted).
 */
#include "sinks/sink.h"

#include "base/memory.h"
#include "sinks/courier.h"
#include "sinks/http.h"
#include "sinks/message.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum smtp_tls { TLS_REQUIRED, TLS_OPTIONAL };

enum { HEADER_BYTES_MAX = 64 * 1024, WORD_BYTES = 45, CONNECT_MS_MAX = 10000 };

struct smtp_settings {
    char *url, *user, *password, *from, *ca_file;
    struct option_texts to;
    int starttls; /* enum smtp_tls */
    bool verify;
    int64_t timeout_us;
    struct courier_settings courier;
};

/* What the server said since a mail took off, or a probe began. */
struct session {
    char refusal[32];   /* to the last command, when that was 400 or more: "550 5.1.1" */
    char recipient[32]; /* the last such answer about a recipient */
    bool to_recipient;  /* the last command was RCPT */
    bool over;          /* the last command was QUIT: what comes now is about nothing */
    bool logged_in;
};

struct sink {
    const struct smtp_settings *settings;
    struct courier courier;
    CURLM *multi;
    CURL *easy;
    struct courier_item *flying; /* NULL: none */
    struct curl_slist *headers, *recipients;
    curl_mime *mime;
    struct session session;
    int64_t next_warning_us;
};

static const char *const tls_names[] = {"required", "optional", NULL};

#define SETTING(member) offsetof(struct smtp_settings, member)
// clang-format off
static const struct option options[] = {
    {.name = "url", .type = OPTION_TEXT, .offset = SETTING(url), .required = true,
     .help = "The mail server: smtp://HOST:PORT, or smtps://HOST:PORT for TLS from the first byte."},
    {.name = "starttls", .type = OPTION_CHOICE, .offset = SETTING(starttls), .default_text = "required", .choices = tls_names,
     .help = "With smtp://: required: nothing is sent without TLS; optional: TLS if the server offers it."},
    {.name = "user", .type = OPTION_TEXT, .offset = SETTING(user), .help = "Logs in with this name."},
    {.name = "password", .type = OPTION_SECRET, .offset = SETTING(password), .help = "Its password."},
    {.name = "from", .type = OPTION_TEXT, .offset = SETTING(from), .required = true, .help = "Address of the sender."},
    {.name = "to", .type = OPTION_TEXTS, .offset = SETTING(to), .required = true,
     .help = "Addresses that get each mail; one that the server refuses does not keep it from the others."},
    {.name = "ca_file", .type = OPTION_PATH, .offset = SETTING(ca_file),
     .help = "Certificates of the authorities that may sign the server's; default the system's."},
    {.name = "verify", .type = OPTION_BOOL, .offset = SETTING(verify), .default_text = "true",
     .help = "Check the server's certificate and name."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = SETTING(timeout_us), .default_text = "30s",
     .min = 0.1, .max = 600, .scale = SCALE_LOG, .help = "Of one mail; it is then sent again."},
    COURIER_OPTIONS(SETTING(courier)),
};
// clang-format on

/* name@domain of visible ASCII, and nothing that could end a header or a command. */
static bool is_address(const char *text)
{
    const char *sign = strchr(text, '@');

    if (!sign || sign == text || !sign[1] || strchr(sign + 1, '@') || strlen(text) > 254)
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text > '~' || strchr("<>()[],;:\\\"", *text))
            return false;
    return true;
}

static enum status check(const struct smtp_settings *settings, struct error *error)
{
    if (strncmp(settings->url, "smtp://", 7) != 0 && strncmp(settings->url, "smtps://", 8) != 0)
        return fail(error, "url: the address does not begin with smtp:// or smtps://");
    if (strpbrk(settings->url + 8, "@ \r\n"))
        return fail(error, "url: a host and a port; user and password have keys of their own");
    if (!settings->user != !settings->password)
        return fail(error, "user and password: one of them is missing");
    if (!is_address(settings->from))
        return fail(error, "from: '%s' is not a mail address like name@example.org", settings->from);
    if (settings->to.count == 0)
        return fail(error, "to: at least one address");
    for (size_t i = 0; i < settings->to.count; i++)
        if (!is_address(settings->to.items[i]))
            return fail(error, "to: '%s' is not a mail address like name@example.org", settings->to.items[i]);
    return STATUS_OK;
}

static enum status open_sink(const void *settings, const struct sink_context *context, struct sink **ret_sink,
                             struct error *ret_error)
{
    const struct smtp_settings *own = settings;
    struct sink *sink;

    if (check(own, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return fail(ret_error, "libcurl cannot start");
    sink = memory_new(sizeof *sink);
    *sink = (struct sink){.settings = own, .multi = curl_multi_init(), .easy = curl_easy_init()};
    assert(sink->multi && sink->easy);
    courier_open(&sink->courier, &own->courier, context);
    for (size_t i = 0; i < own->to.count; i++)
        sink->recipients = curl_slist_append(sink->recipients, own->to.items[i]);
    *ret_sink = sink;
    return STATUS_OK;
}

/* Ends the transfer of the mail that flies. */
static void land(struct sink *sink)
{
    curl_multi_remove_handle(sink->multi, sink->easy);
    curl_easy_reset(sink->easy);
    curl_mime_free(sink->mime);
    curl_slist_free_all(sink->headers);
    sink->mime = NULL;
    sink->headers = NULL;
    sink->flying = NULL;
}

static void close_sink(struct sink *sink)
{
    if (sink->flying)
        land(sink);
    curl_easy_cleanup(sink->easy);
    curl_multi_cleanup(sink->multi);
    curl_slist_free_all(sink->recipients);
    curl_global_cleanup();
    courier_close(&sink->courier);
    free(sink);
}

static enum status offer(struct sink *sink, const struct document *document)
{
    return courier_offer(&sink->courier, document);
}

static bool is_ascii(struct span text)
{
    for (uint32_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] >= 0x80)
            return false;
    return true;
}

/* As it is, or in encoded words of whole characters. */
static void put_header_text(struct span text, struct buffer *out)
{
    unsigned char encoded[WORD_BYTES / 3 * 4 + 1];

    if (is_ascii(text)) {
        buffer_put_span(out, text);
        return;
    }
    for (uint32_t at = 0; at < text.size;) {
        uint32_t size = text.size - at < WORD_BYTES ? text.size - at : WORD_BYTES;

        while (at + size < text.size && ((unsigned char)text.data[at + size] & 0xC0) == 0x80)
            size--;
        EVP_EncodeBlock(encoded, (const unsigned char *)text.data + at, (int)size);
        buffer_print(out, "%s=?UTF-8?B?%s?=", at ? "\r\n " : "", (const char *)encoded);
        at += size;
    }
}

static void put_date(int64_t now_us, struct buffer *out)
{
    static const char days[] = "ThuFriSatSunMonTueWed", /* from 1970-01-01 */
        months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[TIME_TEXT_SIZE];
    int64_t day = floor_div(now_us, 86400 * INT64_C(1000000));
    int month;

    time_format(now_us, text);
    month = (text[5] - '0') * 10 + text[6] - '1';
    buffer_print(out, "Date: %.3s, %.2s %.3s %.4s %.8s +0000", days + day % 7 * 3, text + 8,
                 months + month * 3, text, text + 11);
}

/* Takes what the buffer holds as one header. */
static void add_header(struct sink *sink, struct buffer *line)
{
    buffer_put_char(line, '\0');
    if (!line->full)
        sink->headers = curl_slist_append(sink->headers, line->data);
    buffer_clear(line);
}

/* All mails of an episode refer to one that is never sent, so that readers show them as one thread. */
static void put_headers(struct sink *sink, const struct alert_message *message,
                        const struct courier_item *item, int64_t now_us)
{
    const struct smtp_settings *settings = sink->settings;
    const char *domain = strchr(settings->from, '@') + 1;
    struct buffer line, title;
    char id[ID_HEX_SIZE + 1] = "";

    buffer_init(&line, HEADER_BYTES_MAX);
    buffer_init(&title, HEADER_BYTES_MAX);
    message_title(message, &title);
    buffer_put_text(&line, "Subject: ");
    put_header_text(buffer_span(&title), &line);
    add_header(sink, &line);
    buffer_print(&line, "From: %s", settings->from);
    add_header(sink, &line);
    for (size_t i = 0; i < settings->to.count; i++)
        buffer_print(&line, "%s%s", i ? ",\r\n " : "To: ", settings->to.items[i]);
    add_header(sink, &line);
    put_date(now_us, &line);
    add_header(sink, &line);
    id_format(item->id, id);
    buffer_print(&line, "Message-ID: <%s@%s>", id, domain);
    add_header(sink, &line);
    if (!message->is_digest) {
        const struct message_alert *alert = message->alerts;

        for (int reply = span_is(alert->state, "resolved"); reply >= 0; reply--) {
            buffer_print(&line, "%s: <%.*s.episode@%s>", reply ? "In-Reply-To" : "References",
                         (int)alert->episode.size, alert->episode.data, domain);
            add_header(sink, &line);
        }
    }
    buffer_print(&line, "X-Weir-Id: %s", id);
    add_header(sink, &line);
    buffer_put_text(&line, "Auto-Submitted: auto-generated");
    add_header(sink, &line);
    buffer_free(&line);
    buffer_free(&title);
}

/* A refusal answers one command: libcurl goes on with another one where it can, as HELO after EHLO. */
static int take_command(CURL *easy, curl_infotype type, char *data, size_t size, void *owner)
{
    static const char last[] = "QUIT\r\n", recipient[] = "RCPT ";
    struct session *session = owner;

    (void)easy;
    if (type != CURLINFO_HEADER_OUT || session->over)
        return 0;
    session->over = size == sizeof last - 1 && memcmp(data, last, size) == 0;
    if (session->over)
        return 0;
    session->refusal[0] = '\0';
    session->to_recipient =
        size >= sizeof recipient - 1 && memcmp(data, recipient, sizeof recipient - 1) == 0;
    return 0;
}

static size_t take_reply(char *data, size_t size, size_t count, void *owner)
{
    struct session *session = owner;
    size_t length = size * count, used = 3;

    if (session->over || length < 3 || !isdigit((unsigned char)data[1]) || !isdigit((unsigned char)data[2]))
        return length;
    session->logged_in |= memcmp(data, "235", 3) == 0;
    if (data[0] != '4' && data[0] != '5')
        return length;
    if (length > 6 && data[5] == '.' && data[4] == data[0])
        for (used = 4; used < length && (isdigit((unsigned char)data[used]) || data[used] == '.');)
            used++;
    snprintf(session->refusal, sizeof session->refusal, "%.*s", (int)used, data);
    if (session->to_recipient)
        memcpy(session->recipient, session->refusal, sizeof session->recipient);
    return length;
}

static void set_connection(CURL *easy, const struct smtp_settings *settings, struct session *session)
{
    long timeout_ms = (long)(settings->timeout_us / 1000);

    *session = (struct session){.refusal = ""};
    curl_easy_setopt(easy, CURLOPT_URL, settings->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     timeout_ms < CONNECT_MS_MAX ? timeout_ms : (long)CONNECT_MS_MAX);
    curl_easy_setopt(easy, CURLOPT_USE_SSL,
                     settings->starttls == TLS_REQUIRED ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_TRY);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, settings->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, settings->verify ? 2L : 0L);
    if (settings->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
    if (settings->user) {
        curl_easy_setopt(easy, CURLOPT_USERNAME, settings->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, settings->password);
    }
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_reply);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, session);
    curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L); /* for what follows, which gets it all */
    curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, take_command);
    curl_easy_setopt(easy, CURLOPT_DEBUGDATA, session);
}

static void set_mail(struct sink *sink)
{
    CURL *easy = sink->easy;

    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, sink->settings->from);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, sink->recipients);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, sink->headers);
    curl_easy_setopt(easy, CURLOPT_MIMEPOST, sink->mime);
}

/* False: the document is nothing that one could write a mail about. */
static bool send_mail(struct sink *sink, struct courier_item *item, int64_t now_us)
{
    struct alert_message message;
    curl_mimepart *part;

    if (!message_read(item->body, &message))
        return false;
    buffer_clear(&item->written);
    message_text(&message, sink->courier.context.pipeline, &item->written);
    put_headers(sink, &message, item, now_us);
    message_free(&message);
    sink->mime = curl_mime_init(sink->easy);
    part = curl_mime_addpart(sink->mime);
    curl_mime_data(part, item->written.data, item->written.size);
    curl_mime_type(part, "text/plain; charset=utf-8");
    curl_mime_encoder(part, "quoted-printable");
    set_connection(sink->easy, sink->settings, &sink->session);
    set_mail(sink);
    sink->flying = item;
    CURLMcode added = curl_multi_add_handle(sink->multi, sink->easy);

    assert(added == CURLM_OK);
    (void)added;
    courier_sent(&sink->courier, item, item->written.size, now_us);
    return true;
}

/* Why a mail or a probe did not get through. */
static void describe(const struct smtp_settings *settings, const struct session *session, CURLcode code,
                     char ret_text[256])
{
    if (session->refusal[0])
        snprintf(ret_text, 256, "SMTP %s from the mail server%s", session->refusal,
                 code == CURLE_LOGIN_DENIED ? " to user and password" : "");
    else
        http_describe(settings->url, (int)code, ret_text);
}

static void take_result(struct sink *sink, CURLcode code, int64_t now_us, struct verdicts *verdicts)
{
    const struct session *session = &sink->session;
    struct courier_item *item = sink->flying;
    char reason[256];

    land(sink);
    if (code == CURLE_OK) {
        if (session->recipient[0])
            sink_warn(&sink->courier.context, &sink->next_warning_us, now_us,
                      "SMTP %s for some of the recipients; the others have the mail", session->recipient);
        courier_delivered(&sink->courier, item, verdicts);
        return;
    }
    describe(sink->settings, session, code, reason);
    if (session->refusal[0] == '5')
        courier_refused(&sink->courier, item, reason, verdicts);
    else
        courier_failed(&sink->courier, item, reason, 0, now_us, verdicts);
}

static void advance(struct sink *sink, int64_t now_us, bool flush, struct verdicts *verdicts)
{
    struct courier_item *item;
    const CURLMsg *done;
    int running = 0, left = 0;

    (void)flush;
    if (sink->flying) {
        curl_multi_perform(sink->multi, &running);
        done = curl_multi_info_read(sink->multi, &left);
        if (done && done->msg == CURLMSG_DONE)
            take_result(sink, done->data.result, now_us, verdicts);
    }
    while (!sink->flying && (item = courier_next(&sink->courier, now_us)))
        if (!send_mail(sink, item, now_us))
            courier_refused(&sink->courier, item, "not an alert", verdicts);
    courier_tidy(&sink->courier);
}

static size_t pending(const struct sink *sink)
{
    return sink->courier.count;
}

static void figures(const struct sink *sink, struct sink_figures *ret_figures)
{
    courier_figures(&sink->courier, ret_figures);
}

/* Goes as far as a mail would before its first command: greeting, TLS, login. */
static void probe(const void *settings, report_line *tell, void *owner)
{
    const struct smtp_settings *own = settings;
    struct session session;
    struct error error;
    char host[HTTP_HOST_BYTES], trouble[256], line[HTTP_HOST_BYTES + 128];

    if (check(own, &error) != STATUS_OK) {
        tell(owner, false, error.text);
        return;
    }
    CURL *easy = curl_easy_init();

    assert(easy);
    set_connection(easy, own, &session);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    CURLcode code = curl_easy_perform(easy);
    bool by_tls = strncmp(own->url, "smtps://", 8) == 0 || own->starttls == TLS_REQUIRED;

    describe(own, &session, code, trouble);
    http_host(own->url, host);
    snprintf(line, sizeof line, "%s: reachable%s%s; nothing was sent", host, by_tls ? " by TLS" : "",
             session.logged_in ? ", user and password are right"
             : own->user       ? ", the server asks for no user"
                               : "");
    tell(owner, code == CURLE_OK, code == CURLE_OK ? line : trouble);
    curl_easy_cleanup(easy);
}

const struct sink_type sink_smtp = {
    .name = "smtp",
    .help = "One mail for each alert",
    .form = SINK_LINES,
    .notifies = true,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .settings_size = sizeof(struct smtp_settings),
    .open = open_sink,
    .offer = offer,
    .advance = advance,
    .pending = pending,
    .figures = figures,
    .close = close_sink,
    .probe = probe,
};
