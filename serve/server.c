/* Each route is one row of the table; answers are built whole in a buffer and handed to libmicrohttpd,
 * which does HEAD, keep-alive, time limits and partial writes. Runs a few times a second: a page asks for
 * some five routes every two seconds. Four threads, so that a dead-letter store that is busy does not hold up
 * /healthz. */
#include "serve/server.h"

#include "base/memory.h"
#include "pipeline/dead_letters.h"
#include "pipeline/feedback.h"
#include "serve/host.h"
#include "serve/page.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 4,
    LAST_TURNS = 100, /* a reader that does not read is not waited for longer */
    LAST_TURN_US = 10 * 1000,
    ANSWER_LIMIT = 128 << 20,
    LIST_DEFAULT = 200,
    LETTERS_MAX = 200,
    LETTERS_DEFAULT = 50,
    PAYLOAD_SHOWN = 200,       /* characters, in a list */
    PAYLOAD_WHOLE = 64 * 1024, /* characters, of one letter */
    PAYLOAD_HEX = 512,         /* bytes, of one letter */
    MATCHES_MAX = 32,
    QUERY_LIMIT = SERVER_REQUEST_BYTES * 8, /* a byte is six at most as JSON writes it */
    TAP_ROWS_MAX = 1000000000,
    TAP_BLOCK_BYTES = 32 * 1024,
};

struct server {
    struct MHD_Daemon *daemon;
    struct host host;
    struct process *process; /* NULL during a reload */
    pthread_rwlock_t lock;   /* of `process`: held by answers that use it */
    struct view *view;
    struct taps *taps; /* NULL: none */
    void (*reload)(void);
};

struct request {
    struct server *server;
    struct MHD_Connection *connection;
    const char *rest; /* of the path, after a prefix route's own */
    const char *type; /* of the answer */
    struct buffer out;
    int64_t total; /* a list: how many there are beside limit and skip; -1: not said */
};

struct route {
    const char *path;
    bool prefix;  /* also longer paths */
    bool post;    /* changes something: POST with X-Weir instead of GET */
    bool process; /* needs one */
    const char *type;
    const struct page_file *file;                /* or: */
    bool stream;                                 /* rows as they come, or: */
    unsigned (*answer)(struct request *request); /* writes `out`; the HTTP status */
};

static const char json_type[] = "application/json; charset=utf-8";
static const char lines_type[] = "application/x-ndjson";
static const char text_type[] = "text/plain; charset=utf-8";

static unsigned refuse(struct request *request, unsigned status, const char *reason)
{
    struct json_writer json;

    request->type = json_type;
    buffer_truncate(&request->out, 0);
    json_begin(&json, &request->out);
    json_open(&json, NULL);
    json_text(&json, "error", span_of(reason));
    json_close(&json);
    return status;
}

static const char *argument(struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* ?name=N; *ret_number stays without. False: refused, the answer is written. */
static bool read_number(struct request *request, const char *name, int64_t least, int64_t most,
                        int64_t *ret_number)
{
    const char *text = argument(request, name);
    char reason[160], *end;
    long long number;

    if (!text)
        return true;
    errno = 0;
    number = strtoll(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && number >= least && number <= most) {
        *ret_number = number;
        return true;
    }
    snprintf(reason, sizeof reason, "%s: '%.40s' is not a number from %lld to %lld", name, text,
             (long long)least, (long long)most);
    refuse(request, MHD_HTTP_BAD_REQUEST, reason);
    return false;
}

static unsigned answer_health(struct request *request)
{
    buffer_put_text(&request->out, "ok\n");
    return MHD_HTTP_OK;
}

static unsigned answer_reload(struct request *request)
{
    if (!request->server->reload)
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "this process does not reload");
    request->server->reload();
    buffer_put_text(&request->out, "{}");
    return MHD_HTTP_ACCEPTED;
}

static unsigned answer_ready(struct request *request)
{
    bool ready = process_is_ready(request->server->process);

    buffer_put_text(&request->out, ready ? "ready\n" : "not ready\n");
    return ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned answer_metrics(struct request *request)
{
    process_metrics(request->server->process, &request->out);
    return MHD_HTTP_OK;
}

/* The arguments of a list beside limit, skip and text: members of its lines that may be asked for. */
static const char *const alert_members[] = {
    "id",       "episode", "state", "reason",   "severity", "kind",      "rule", "target",
    "workflow", "task",    "run",   "run_name", "source",   "namespace", "host", NULL};
static const char *const run_members[] = {"id",  "level",    "state",  "workflow",  "task",
                                          "run", "run_name", "source", "namespace", NULL};

struct list_query {
    const char *const *members;
    struct view_match matches[MATCHES_MAX];
    struct span words[MATCHES_MAX];
    struct view_query query;
    struct buffer texts; /* what matches and words point to */
    char wrong[400];     /* why it is refused; "": it is not */
};

/* As JSON writes it, with quotes. */
static struct span keep_text(struct list_query *list, struct span text)
{
    size_t from = list->texts.size;

    json_put_text(&list->texts, text);
    return span_make(list->texts.data + from, list->texts.size - from);
}

static void read_words(struct list_query *list, const char *text)
{
    while (*(text += strspn(text, " ")) && list->query.word_count < MATCHES_MAX) {
        struct span quoted = keep_text(list, span_make(text, strcspn(text, " ")));

        list->words[list->query.word_count++] = span_make(quoted.data + 1, quoted.size - 2);
        text += strcspn(text, " ");
    }
}

static enum MHD_Result read_argument(void *owner, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct list_query *list = owner;
    size_t at = 0;

    if (!value)
        value = "";
    if (strcmp(name, "limit") == 0 || strcmp(name, "skip") == 0)
        return MHD_YES;
    if (strcmp(name, "text") == 0) {
        read_words(list, value);
        return MHD_YES;
    }
    while (list->members[at] && strcmp(list->members[at], name) != 0)
        at++;
    if (list->members[at] && list->query.match_count < MATCHES_MAX) {
        list->matches[list->query.match_count++] =
            (struct view_match){.member = list->members[at],
                                .text = *value ? keep_text(list, span_of(value)) : span_make(NULL, 0)};
        return MHD_YES;
    }
    at = (size_t)snprintf(list->wrong, sizeof list->wrong, "'%.40s' cannot be asked for; limit, skip, text",
                          name);
    for (size_t i = 0; list->members[i]; i++)
        at += (size_t)snprintf(list->wrong + at, sizeof list->wrong - at, ", %s", list->members[i]);
    return MHD_NO;
}

static unsigned answer_list(struct request *request, enum document_kind kind, int64_t most,
                            const char *const *members)
{
    struct list_query list = {.members = members};
    int64_t limit = LIST_DEFAULT, skip = 0;

    if (!read_number(request, "limit", 1, most, &limit) || !read_number(request, "skip", 0, most, &skip))
        return MHD_HTTP_BAD_REQUEST;
    buffer_init(&list.texts, QUERY_LIMIT);
    buffer_room(&list.texts, QUERY_LIMIT); /* it does not move: spans point into it */
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, read_argument, &list);
    assert(!list.texts.full);
    list.query.matches = list.matches;
    list.query.words = list.words;
    list.query.limit = (size_t)limit;
    list.query.skip = (size_t)skip;
    if (!list.wrong[0])
        request->total = (int64_t)view_list(request->server->view, kind, &list.query, &request->out);
    buffer_free(&list.texts);
    return list.wrong[0] ? refuse(request, MHD_HTTP_BAD_REQUEST, list.wrong) : MHD_HTTP_OK;
}

static unsigned answer_alerts(struct request *request)
{
    return answer_list(request, DOC_ALERT, VIEW_ALERTS_MAX, alert_members);
}

static unsigned answer_runs(struct request *request)
{
    return answer_list(request, DOC_RUN, VIEW_RUNS_MAX, run_members);
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static unsigned answer_status(struct request *request)
{
    process_health(request->server->process, now_us(), &request->out);
    return MHD_HTTP_OK;
}

static unsigned answer_rules(struct request *request)
{
    process_rules(request->server->process, &request->out);
    return MHD_HTTP_OK;
}

static unsigned answer_series(struct request *request)
{
    view_series(request->server->view, &request->out);
    return MHD_HTTP_OK;
}

static bool parse_id(const char *hex, struct id128 *ret_id)
{
    uint64_t parts[2] = {0};

    for (int i = 0; i < ID_HEX_SIZE; i++) {
        char c = hex[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        parts[i / 16] = parts[i / 16] << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (hex[ID_HEX_SIZE])
        return false;
    *ret_id = (struct id128){.high = parts[0], .low = parts[1]};
    return true;
}

static unsigned answer_points(struct request *request)
{
    struct id128 series;

    if (parse_id(request->rest, &series) && view_points(request->server->view, series, &request->out))
        return MHD_HTTP_OK;
    return refuse(request, MHD_HTTP_NOT_FOUND, "no such series; /api/series lists them");
}

static unsigned answer_history(struct request *request)
{
    struct id128 episode;

    if (parse_id(request->rest, &episode) && view_history(request->server->view, episode, &request->out))
        return MHD_HTTP_OK;
    return refuse(request, MHD_HTTP_NOT_FOUND, "no such episode; /api/alerts lists them");
}

static const char no_feedback[] = "this run keeps no feedback";

/* As an array of one. */
static bool newest_line(struct request *request, struct id128 episode, struct buffer *out)
{
    char quoted[ID_HEX_SIZE + 2] = "\"";
    const struct view_match match = {.member = "episode", .text = span_make(quoted, sizeof quoted)};
    const struct view_query query = {.matches = &match, .match_count = 1, .limit = 1};

    id_format(episode, quoted + 1);
    quoted[ID_HEX_SIZE + 1] = '"';
    return view_list(request->server->view, DOC_ALERT, &query, out) > 0;
}

/* POST /api/feedback/EPISODE?mark=right|noise|none */
static unsigned answer_mark(struct request *request)
{
    struct feedback *feedback = process_feedback(request->server->process);
    const char *mark = argument(request, "mark");
    unsigned which = 0;
    struct id128 episode;
    struct error error;
    struct buffer line;

    if (!feedback)
        return refuse(request, MHD_HTTP_NOT_FOUND, no_feedback);
    while (mark && feedback_names[which] && strcmp(feedback_names[which], mark) != 0)
        which++;
    if (!mark || !feedback_names[which])
        return refuse(request, MHD_HTTP_BAD_REQUEST, "mark: expected right, noise or none");
    buffer_init(&line, ANSWER_LIMIT);
    bool known = parse_id(request->rest, &episode) && newest_line(request, episode, &line);
    enum status status = STATUS_OK;

    if (known) /* without the brackets of the array */
        status = feedback_put(feedback, episode, (enum feedback_mark)which, now_us(),
                              span_make(line.data + 1, line.size - 2), &error);
    buffer_free(&line);
    if (!known)
        return refuse(request, MHD_HTTP_NOT_FOUND, "no such episode; /api/alerts lists them");
    if (status != STATUS_OK)
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, error.text);
    buffer_put_text(&request->out, "{}");
    return MHD_HTTP_OK;
}

static unsigned answer_feedback(struct request *request)
{
    struct feedback *feedback = process_feedback(request->server->process);
    struct error error;

    if (!feedback)
        return refuse(request, MHD_HTTP_NOT_FOUND, no_feedback);
    if (feedback_write(feedback, &request->out, &error) != STATUS_OK)
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, error.text);
    return MHD_HTTP_OK;
}

static unsigned answer_labels(struct request *request)
{
    struct feedback *feedback = process_feedback(request->server->process);
    const struct view_query all = {.limit = VIEW_ALERTS_MAX};
    struct buffer alerts;
    struct error error;

    if (!feedback)
        return refuse(request, MHD_HTTP_NOT_FOUND, no_feedback);
    buffer_init(&alerts, ANSWER_LIMIT);
    (void)view_list(request->server->view, DOC_ALERT, &all, &alerts);
    enum status status = feedback_write_labels(feedback, buffer_span(&alerts), &request->out, &error);
    buffer_free(&alerts);
    return status == STATUS_OK ? MHD_HTTP_OK : refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, error.text);
}

struct letter_ids {
    int64_t ids[LETTERS_MAX];
    size_t count;
};

static bool collect_id(void *owner, const struct stored_letter *stored)
{
    struct letter_ids *letters = owner;

    letters->ids[letters->count++] = stored->id;
    return letters->count < LETTERS_MAX;
}

/* The first characters of a payload: cut between UTF-8 characters. */
static struct span beginning(struct span payload, unsigned characters)
{
    uint32_t at = 0;

    for (unsigned shown = 0; at < payload.size && shown < characters; shown++)
        do
            at++;
        while (at < payload.size && (payload.data[at] & 0xC0) == 0x80);
    return span_make(payload.data, at);
}

static void write_letter(struct json_writer *json, const struct stored_letter *stored, unsigned characters)
{
    const struct dead_letter *letter = &stored->letter;

    json_integer(json, "schema", SCHEMA_VERSION);
    json_integer(json, "id", stored->id);
    json_time(json, "at", letter->time_us);
    json_text(json, "stage", span_of(letter->stage));
    json_text_if(json, "sink", letter->sink);
    json_text_if(json, "source", letter->source);
    json_text_if(json, "topic", letter->topic);
    json_integer(json, "partition", letter->partition);
    json_integer(json, "offset", letter->offset);
    json_integer(json, "item", letter->item);
    json_text(json, "reason", letter->reason);
    json_integer(json, "payload_bytes", stored->payload_size);
    json_text(json, "payload", beginning(letter->payload, characters));
}

static bool write_listed(void *owner, const struct stored_letter *stored)
{
    json_open(owner, NULL);
    write_letter(owner, stored, PAYLOAD_SHOWN);
    json_close(owner);
    return true;
}

/* Text may hide what the bytes were, so their beginning is told as hex digits, too. */
static bool write_whole(void *owner, const struct stored_letter *stored)
{
    const struct dead_letter *letter = &stored->letter;
    char hex[2 * PAYLOAD_HEX + 1] = "";

    for (uint32_t i = 0; i < letter->payload.size && i < PAYLOAD_HEX; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", (unsigned)(unsigned char)letter->payload.data[i]);
    json_open(owner, NULL);
    write_letter(owner, stored, PAYLOAD_WHOLE);
    json_text(owner, "payload_hex", span_of(hex));
    json_integer(owner, "document_bytes", stored->document_size);
    json_text_if(owner, "document", beginning(letter->document, PAYLOAD_WHOLE));
    json_close(owner);
    return true;
}

/* A list comes without payloads, and its visitor must not ask the store: hence two rounds. */
static unsigned list_letters(struct request *request, const struct dead_letters_query *query)
{
    struct dead_letters *store = process_dead_letters(request->server->process);
    struct letter_ids letters = {.count = 0};
    struct json_writer json;
    struct error error;

    if (dead_letters_list(store, query, collect_id, &letters, &error) != STATUS_OK)
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, error.text);
    json_begin(&json, &request->out);
    json_open_list(&json, NULL);
    for (size_t i = 0; i < letters.count; i++) {
        enum status status = dead_letters_get(store, letters.ids[i], write_listed, &json, &error);

        if (status != STATUS_OK && status != STATUS_SKIP) /* skip: deleted meanwhile */
            return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, error.text);
    }
    json_close_list(&json);
    return MHD_HTTP_OK;
}

static const char no_letters[] = "this run keeps no dead letters";

static unsigned answer_dead_letters(struct request *request)
{
    struct dead_letters_query query = {.stage = argument(request, "stage"),
                                       .topic = argument(request, "topic"),
                                       .reason = argument(request, "text"),
                                       .limit = LETTERS_DEFAULT};

    if (!read_number(request, "limit", 1, LETTERS_MAX, &query.limit) ||
        !read_number(request, "before", 1, INT64_MAX, &query.before))
        return MHD_HTTP_BAD_REQUEST;
    return process_dead_letters(request->server->process) ? list_letters(request, &query)
                                                          : refuse(request, MHD_HTTP_NOT_FOUND, no_letters);
}

static unsigned answer_dead_letter(struct request *request)
{
    struct dead_letters *store = process_dead_letters(request->server->process);
    struct json_writer json;
    struct error error;
    char *end;
    int64_t id = strtoll(request->rest, &end, 10);

    if (!store)
        return refuse(request, MHD_HTTP_NOT_FOUND, no_letters);
    if (*request->rest < '1' || *request->rest > '9' || *end)
        return refuse(request, MHD_HTTP_NOT_FOUND, "no such letter; /api/dead-letters lists them");
    json_begin(&json, &request->out);
    switch (dead_letters_get(store, id, write_whole, &json, &error)) {
    case STATUS_OK:
        return MHD_HTTP_OK;
    case STATUS_SKIP:
        return refuse(request, MHD_HTTP_NOT_FOUND, error.text);
    default:
        return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, error.text);
    }
}

static const struct route routes[] = {
    // clang-format off
    {"/", .file = &page_index_html},
    {"/style.css", .file = &page_style_css},
    {"/page.js", .file = &page_page_js},
    {"/parts.js", .file = &page_parts_js},
    {"/chart.js", .file = &page_chart_js},
    {"/gantt.js", .file = &page_gantt_js},
    {"/alerts.js", .file = &page_alerts_js},
    {"/runs.js", .file = &page_runs_js},
    {"/measures.js", .file = &page_measures_js},
    {"/letters.js", .file = &page_letters_js},
    {"/health.js", .file = &page_health_js},
    {"/icon.svg", .file = &page_icon_svg},
    {"/healthz", .type = text_type, .answer = answer_health},
    {"/readyz", .process = true, .type = text_type, .answer = answer_ready},
    {"/metrics", .process = true, .type = "text/plain; version=0.0.4; charset=utf-8", .answer = answer_metrics},
    {"/api/alerts", .type = json_type, .answer = answer_alerts},
    {"/api/alerts/", .prefix = true, .type = json_type, .answer = answer_history},
    {"/api/runs", .type = json_type, .answer = answer_runs},
    {"/api/rules", .process = true, .type = json_type, .answer = answer_rules},
    {"/api/health", .process = true, .type = json_type, .answer = answer_status},
    {"/api/series", .type = json_type, .answer = answer_series},
    {"/api/series/", .prefix = true, .type = json_type, .answer = answer_points},
    {"/api/reload", .post = true, .type = json_type, .answer = answer_reload},
    {"/api/feedback", .process = true, .type = json_type, .answer = answer_feedback},
    {"/api/feedback/", .prefix = true, .post = true, .process = true, .type = json_type, .answer = answer_mark},
    {"/api/labels", .process = true, .type = lines_type, .answer = answer_labels},
    {"/api/tap", .stream = true, .type = lines_type},
    {"/api/dead-letters", .process = true, .type = json_type, .answer = answer_dead_letters},
    {"/api/dead-letters/", .prefix = true, .process = true, .type = json_type, .answer = answer_dead_letter},
    // clang-format on
};

static const char *const security_headers[][2] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        size_t size = strlen(route->path);

        if (strncmp(path, route->path, size) == 0 && (route->prefix || !path[size]))
            return route;
    }
    return NULL;
}

static enum MHD_Result send_answer(struct request *request, unsigned status, struct MHD_Response *response)
{
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", request->type);
    for (size_t i = 0; i < sizeof security_headers / sizeof *security_headers; i++)
        MHD_add_response_header(response, security_headers[i][0], security_headers[i][1]);
    if (request->total >= 0 && status == MHD_HTTP_OK) {
        char total[24];

        snprintf(total, sizeof total, "%lld", (long long)request->total);
        MHD_add_response_header(response, "X-Total-Count", total);
    }
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD, POST");
    result = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* The status of a request that no route answers, 0 when one does. */
static unsigned check(struct request *request, const char *method, const struct route *route)
{
    const char *host = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Host");

    if (!host_answers_to(&request->server->host, host))
        return refuse(request, MHD_HTTP_MISDIRECTED_REQUEST, "the Host header does not name this server");
    if (!route)
        return refuse(request, MHD_HTTP_NOT_FOUND, "no such page");
    if (route->post) {
        const char *meant = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "X-Weir");

        if (strcmp(method, "POST") != 0)
            return refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "only POST");
        return meant ? 0 : refuse(request, MHD_HTTP_FORBIDDEN, "needs the header X-Weir: 1");
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    return 0;
}

static enum MHD_Result send_text(struct request *request, unsigned status)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(request->out.size, request->out.data, free);

    if (!response)
        buffer_free(&request->out);
    return send_answer(request, status, response);
}

static enum MHD_Result send_file(struct request *request, const struct page_file *file)
{
    request->type = file->type;
    return send_answer(
        request, MHD_HTTP_OK,
        MHD_create_response_from_buffer(file->size, (void *)file->data, MHD_RESPMEM_PERSISTENT));
}

/* A tap's reader waits suspended, so that it holds no thread. */
struct tap_stream {
    struct MHD_Connection *connection;
    struct tap *tap;
};

static void wake_stream(void *owner)
{
    struct tap_stream *stream = owner;

    MHD_resume_connection(stream->connection);
}

/* A wake-up between the reading and the suspension takes the suspension back: libmicrohttpd's rule. */
static ssize_t read_stream(void *owner, uint64_t position, char *out, size_t size)
{
    struct tap_stream *stream = owner;
    bool ended;
    size_t taken = tap_read(stream->tap, out, size, &ended);

    (void)position;
    if (taken == 0 && !ended)
        MHD_suspend_connection(stream->connection);
    return ended ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)taken;
}

static void close_stream(void *owner)
{
    struct tap_stream *stream = owner;

    tap_close(stream->tap);
    free(stream);
}

static enum MHD_Result send_tap(struct request *request)
{
    const char *stage = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "stage");
    struct tap_query query = {
        .stage = stage ? stage : "clean",
        .where = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "where"),
    };
    struct tap_stream *stream;
    struct error error;
    int64_t limit = 0;

    if (!request->server->taps)
        return send_text(request, refuse(request, MHD_HTTP_NOT_FOUND, "this process has no taps"));
    if (!read_number(request, "limit", 1, TAP_ROWS_MAX, &limit))
        return send_text(request, MHD_HTTP_BAD_REQUEST);
    query.limit = (uint64_t)limit;
    stream = memory_new(sizeof *stream);
    stream->connection = request->connection;
    enum status status = tap_open(request->server->taps, &query, wake_stream, stream, &stream->tap, &error);

    if (status != STATUS_OK) {
        free(stream);
        return send_text(request,
                         refuse(request,
                                status == STATUS_RETRY ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_BAD_REQUEST,
                                error.text));
    }
    return send_answer(request, MHD_HTTP_OK,
                       MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, TAP_BLOCK_BYTES, read_stream,
                                                         stream, close_stream));
}

/* Asks the route, with the process kept where it needs one. */
static unsigned answer(struct request *request, const struct route *route)
{
    struct server *server = request->server;
    unsigned status;

    if (!route->process)
        return route->answer(request);
    pthread_rwlock_rdlock(&server->lock);
    status = server->process
                 ? route->answer(request)
                 : refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "the configuration is being reloaded");
    pthread_rwlock_unlock(&server->lock);
    return status;
}

/* Called once the head of a request is there, and again when the request is complete. What is refused is
 * answered at once, which closes the connection; an answer given then to a good one would close it too. */
static enum MHD_Result handle(void *owner, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    struct request request = {.server = owner, .connection = connection, .total = -1};
    const struct route *route = *state;
    unsigned status;

    buffer_init(&request.out, ANSWER_LIMIT);
    if (!route) {
        route = find_route(path);
        status = check(&request, method, route);
        *state = (void *)route;
        return status ? send_text(&request, status) : MHD_YES;
    }
    if (*upload_size) { /* a body means nothing here */
        *upload_size = 0;
        return MHD_YES;
    }
    if (route->file)
        return send_file(&request, route->file);
    request.type = route->type;
    if (route->stream)
        return send_tap(&request);
    request.rest = path + strlen(route->path);
    status = answer(&request, route);
    if (request.out.full)
        status = refuse(&request, MHD_HTTP_INTERNAL_SERVER_ERROR,
                        "the answer is too large; ask for fewer with limit");
    return send_text(&request, status);
}

enum status server_start(const char *listen, struct process *process, struct view *view, struct taps *taps,
                         void (*reload)(void), struct server **ret_server, char ret_address[64],
                         struct error *ret_error)
{
    struct server *server;
    struct host host;
    bool six;

    if (!listen[0]) {
        *ret_server = NULL;
        return STATUS_OK;
    }
    assert(process && view);
    if (host_listen(listen, SERVER_PORTS_TRIED, &host, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    server = memory_new(sizeof *server);
    *server = (struct server){.host = host, .process = process, .view = view, .taps = taps, .reload = reload};
    pthread_rwlock_init(&server->lock, NULL);
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle,
                         server, MHD_OPTION_LISTEN_SOCKET, host.socket, MHD_OPTION_THREAD_POOL_SIZE,
                         (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVER_TIMEOUT_S,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVER_REQUEST_BYTES, MHD_OPTION_END);
    if (!server->daemon) {
        close(host.socket);
        pthread_rwlock_destroy(&server->lock);
        free(server);
        return fail(ret_error, "cannot start the HTTP server at %s: %s", listen, strerror(errno));
    }
    six = strchr(host.numeric, ':') != NULL;
    snprintf(ret_address, 64, "http://%s%s%s:%u/", six ? "[" : "", host.numeric, six ? "]" : "", host.port);
    *ret_server = server;
    return STATUS_OK;
}

bool server_moved(const struct server *server)
{
    return server->host.asked_port && server->host.port != server->host.asked_port;
}

void server_stop(struct server *server)
{
    if (server->taps) /* none may be suspended when the server stops */
        taps_end(server->taps);
    for (int i = 0; i < LAST_TURNS && taps_wanted(server->taps); i++) /* their readers hear of the end */
        usleep(LAST_TURN_US);
    MHD_stop_daemon(server->daemon); /* closes the socket */
    pthread_rwlock_destroy(&server->lock);
    free(server);
}

void server_set_process(struct server *server, struct process *process)
{
    pthread_rwlock_wrlock(&server->lock);
    server->process = process;
    pthread_rwlock_unlock(&server->lock);
}
