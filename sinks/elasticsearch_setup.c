/* One request a template before the first bulk, and after each time that the server was away: it may be
 * another one. A whole listing by wildcard would be one request, but its answer carries the mappings of
 * everybody's templates on versions that do not know filter_path there. */
#include "sinks/elasticsearch_setup.h"

#include "sinks/bulk_answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

enum { NAME_BYTES_MAX = 512, BODY_BYTES_MAX = 256 * 1024, WAIT_MS = 100 };

void template_check_init(struct template_check *check, const struct elasticsearch_settings *settings,
                         enum template_mode mode)
{
    *check = (struct template_check){
        .names = {.prefix = span_of(settings->prefix), .namespace_ = span_of(settings->namespace_)},
        .mode = mode,
        .adding = mode == TEMPLATES_INSTALL,
    };
    buffer_init(&check->name, NAME_BYTES_MAX);
    buffer_init(&check->body, BODY_BYTES_MAX);
}

void template_check_free(struct template_check *check)
{
    buffer_free(&check->name);
    buffer_free(&check->body);
    free(check->url);
    check->url = NULL;
}

void template_check_restart(struct template_check *check)
{
    assert(!check->flying);
    check->next = 0;
    check->adding = check->mode == TEMPLATES_INSTALL;
    check->unknown = check->names.plain = false;
}

void template_check_send(struct template_check *check, struct http *http, const char *base_url)
{
    struct buffer path;

    assert(!check->flying && check->next < TEMPLATE_COUNT);
    buffer_init(&path, 2 * NAME_BYTES_MAX);
    buffer_clear(&check->name);
    buffer_clear(&check->body);
    template_write(check->next, &check->names, &check->name, &check->body);
    buffer_put_text(&path, "/_index_template/");
    buffer_put_span(&path, buffer_span(&check->name));
    buffer_put_text(&path, check->adding ? "" : "?filter_path=index_templates.name");
    buffer_put_char(&path, '\0');
    assert(!path.full && !check->body.full);
    free(check->url);
    check->url = elasticsearch_url(base_url, path.data);
    buffer_free(&path);
    struct http_request request = {.method = check->adding ? "PUT" : "GET", .url = check->url, .tag = check};

    if (check->adding) {
        request.content_type = "application/json";
        request.body = buffer_span(&check->body);
    }
    check->flying = http_send(http, &request) == STATUS_OK;
}

static enum template_progress next_template(struct template_check *check)
{
    check->adding = check->mode == TEMPLATES_INSTALL;
    if (++check->next < TEMPLATE_COUNT)
        return TEMPLATES_GO_ON;
    check->next = 0;
    return check->unknown ? TEMPLATES_UNKNOWN : TEMPLATES_DONE;
}

static enum template_progress refused(struct template_check *check, const struct http_answer *answer)
{
    struct bulk_answer read;
    struct buffer text;

    bulk_answer_init(&read);
    buffer_init(&text, sizeof check->reason - 128);
    if (bulk_answer_read(&read, answer->body))
        bulk_answer_describe(&read, &read.whole, &text);
    snprintf(check->reason, sizeof check->reason, "index template %.*s: HTTP %d %.*s", (int)check->name.size,
             check->name.data, answer->status, (int)text.size, text.size ? text.data : "");
    buffer_free(&text);
    bulk_answer_free(&read);
    template_check_restart(check);
    return TEMPLATES_REFUSED;
}

/* Builds of Elasticsearch 7 without the free extensions know index templates, but no data streams. */
static bool lacks_streams(const struct http_answer *answer)
{
    static const char reason[] = "unknown field [data_stream]";

    return answer->status == 400 &&
           memmem(answer->body.data, answer->body.size, reason, sizeof reason - 1) != NULL;
}

enum template_progress template_check_take(struct template_check *check, const struct http_answer *answer)
{
    int status = answer->status;

    assert(check->flying);
    check->flying = false;
    if (status == 0 || status == 408 || status == 429 || status >= 500)
        return TEMPLATES_RETRY;
    if (status == 200)
        return next_template(check);
    if (check->adding && !check->names.plain && lacks_streams(answer)) {
        check->names.plain = true;
        return TEMPLATES_GO_ON;
    }
    if (check->adding)
        return refused(check, answer);
    if (status == 404 && check->mode == TEMPLATES_ADD_MISSING) {
        check->adding = true;
        return TEMPLATES_GO_ON;
    }
    if (status == 404) {
        template_check_restart(check);
        return TEMPLATES_MISSING;
    }
    if (status == 403) { /* a user that may only write documents: the usual one in production */
        check->unknown = true;
        return next_template(check);
    }
    return refused(check, answer);
}

static const char *text_at(yajl_val root, const char *first, const char *second)
{
    const char *path[] = {first, second, NULL};

    return YAJL_GET_STRING(yajl_tree_get(root, path, yajl_t_string));
}

static yajl_val parse(struct span body)
{
    struct buffer text;

    buffer_init(&text, (size_t)body.size + 1);
    buffer_put_span(&text, body);
    buffer_put_char(&text, '\0');
    yajl_val root = yajl_tree_parse(text.data, NULL, 0);
    buffer_free(&text);
    return root;
}

/* Builds that lack GET / (405) still tell their version at the nodes. */
static void report_by_nodes(struct http *http, const char *base, struct buffer *ret_report)
{
    char *url = elasticsearch_url(base, "/_nodes/http?filter_path=nodes.*.version");
    struct http_answer answer = http_ask(http, &(struct http_request){.method = "GET", .url = url});
    yajl_val root = answer.status == 200 ? parse(answer.body) : NULL;
    const char *path[] = {"nodes", NULL};
    yajl_val nodes = root ? yajl_tree_get(root, path, yajl_t_object) : NULL;
    const char *version =
        nodes && nodes->u.object.len ? text_at(nodes->u.object.values[0], "version", NULL) : NULL;

    buffer_print(ret_report, "server: elasticsearch %s\n", version ? version : "of unknown version");
    yajl_tree_free(root);
    free(url);
}

static enum status report_server(struct http *http, const char *base, struct buffer *ret_report,
                                 struct error *ret_error)
{
    char *url = elasticsearch_url(base, "/");
    struct http_answer answer = http_ask(http, &(struct http_request){.method = "GET", .url = url});

    free(url);
    if (answer.status == 0)
        return fail(ret_error, "%s", answer.trouble), STATUS_RETRY;
    if (answer.status == 405) {
        report_by_nodes(http, base, ret_report);
        return STATUS_OK;
    }
    if (answer.status == 403) {
        buffer_put_text(ret_report, "server: does not tell this user what it is\n");
        return STATUS_OK;
    }
    if (answer.status != 200)
        return fail(ret_error, "the server answers HTTP %d to GET /", answer.status);
    yajl_val root = parse(answer.body);
    const char *number = root ? text_at(root, "version", "number") : NULL;
    const char *distribution = root ? text_at(root, "version", "distribution") : NULL;

    if (number)
        buffer_print(ret_report, "server: %s %s\n", distribution ? distribution : "elasticsearch", number);
    yajl_tree_free(root);
    return number ? STATUS_OK : fail(ret_error, "no search server answers there: GET / tells no version");
}

static enum template_progress ask_template(struct http *http, const char *base, struct template_check *check,
                                           struct http_answer *ret_answer)
{
    template_check_send(check, http, base);
    http_advance(http);
    while (!http_take(http, ret_answer)) {
        http_wait(http, WAIT_MS);
        http_advance(http);
    }
    return template_check_take(check, ret_answer);
}

static enum status install(struct http *http, const char *base, struct template_check *check,
                           struct buffer *ret_report, struct error *ret_error)
{
    enum template_progress progress = TEMPLATES_GO_ON;

    while (progress == TEMPLATES_GO_ON) {
        struct http_answer answer;
        bool plain = check->names.plain;

        progress = ask_template(http, base, check, &answer);
        if (progress == TEMPLATES_RETRY)
            return answer.status ? fail(ret_error, "the server answers HTTP %d", answer.status)
                                 : fail(ret_error, "%s", answer.trouble);
        if (progress == TEMPLATES_REFUSED)
            return fail(ret_error, "%s", check->reason);
        if (check->names.plain != plain)
            buffer_put_text(ret_report, "the server has no data streams: indices of their names instead\n");
        else
            buffer_print(ret_report, "installed: index template %.*s\n", (int)check->name.size,
                         check->name.data);
    }
    return STATUS_OK;
}

enum status elasticsearch_setup(const void *settings, const struct sink_context *context,
                                struct buffer *ret_report, struct error *ret_error)
{
    const struct elasticsearch_settings *own = settings;
    struct template_check check;
    struct http *http = NULL;
    enum status status = elasticsearch_connect(own, &http, ret_error);

    if (status != STATUS_OK)
        return status;
    template_check_init(&check, own, TEMPLATES_INSTALL);
    status = STATUS_RETRY;
    for (size_t i = 0; i < own->urls.count && status == STATUS_RETRY; i++) {
        status = report_server(http, own->urls.items[i], ret_report, ret_error);
        if (status == STATUS_OK)
            status = install(http, own->urls.items[i], &check, ret_report, ret_error);
    }
    template_check_free(&check);
    http_free(http);
    return status == STATUS_OK ? STATUS_OK : STATUS_FATAL;
}

/* The answer about one server, as a line for people. */
static bool look(struct http *http, const char *base, const struct elasticsearch_settings *settings,
                 struct buffer *report, struct error *ret_error)
{
    enum template_progress progress = TEMPLATES_GO_ON;
    struct template_check check;
    struct http_answer answer;

    if (report_server(http, base, report, ret_error) != STATUS_OK)
        return false;
    buffer_truncate(report, report->size - 1); /* the line goes on */
    template_check_init(&check, settings, TEMPLATES_LOOK);
    while (progress == TEMPLATES_GO_ON)
        progress = ask_template(http, base, &check, &answer);
    if (progress == TEMPLATES_RETRY)
        fail(ret_error, "the server answers HTTP %d about its templates", answer.status);
    else if (progress == TEMPLATES_REFUSED)
        fail(ret_error, "%s", check.reason);
    else if (progress == TEMPLATES_MISSING && settings->setup == SETUP_MANUAL)
        fail(ret_error, "%.*s; index template %.*s is missing: run `weir setup elasticsearch FILE.yaml`",
             (int)report->size, report->data, (int)check.name.size, check.name.data);
    else
        buffer_put_text(report, progress == TEMPLATES_DONE ? "; templates are installed"
                                : progress == TEMPLATES_MISSING
                                    ? "; templates will be installed (setup: auto)"
                                    : "; this user may not look at the templates");
    bool good = progress == TEMPLATES_DONE || progress == TEMPLATES_UNKNOWN ||
                (progress == TEMPLATES_MISSING && settings->setup == SETUP_AUTO);
    template_check_free(&check);
    return good;
}

void elasticsearch_report(const void *settings, report_line *tell, void *owner)
{
    const struct elasticsearch_settings *own = settings;
    struct http *http = NULL;
    struct buffer report;
    struct error error;

    if (elasticsearch_connect(own, &http, &error) != STATUS_OK) {
        tell(owner, false, error.text);
        return;
    }
    buffer_init(&report, sizeof error.text);
    for (size_t i = 0; i < own->urls.count; i++) {
        char host[HTTP_HOST_BYTES], line[HTTP_HOST_BYTES + sizeof error.text + 8];

        buffer_clear(&report);
        http_host(own->urls.items[i], host);
        bool good = look(http, own->urls.items[i], own, &report, &error);
        buffer_put_char(&report, '\0');
        const char *text = good ? report.data : error.text;
        bool names_host = strncmp(text, host, strlen(host)) == 0;
        snprintf(line, sizeof line, "%s%s%s", names_host ? "" : host, names_host ? "" : ": ", text);
        tell(owner, good, line);
    }
    buffer_free(&report);
    http_free(http);
}
