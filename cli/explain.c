/* weir explain: why an alert fired, asked of a running weir or read from files. */
#include "tuning/explain.h"
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/lines.h"
#include "cli/target.h"
#include "pipeline/health.h"
#include "sinks/http.h"

#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 256 };

static const char usage[] = "usage: weir explain ID [URL | FILE.yaml]\n"
                            "       weir explain ID [FILE.yaml] --alerts F.jsonl [--buckets F.jsonl]\n"
                            "ID is an alert's `episode`, or the `id` of one of its lines\n";

struct request {
    const char *id, *target, *alerts, *buckets;
};

struct asking { /* of a running weir */
    struct http *http;
    char url[TARGET_URL_BYTES];
    struct error error;
};

/* Appends the answer. STATUS_SKIP: 404. */
static enum status ask(struct asking *asking, const char *path, struct buffer *out)
{
    char url[TARGET_URL_BYTES + PATH_BYTES];

    snprintf(url, sizeof url, "%s%s", asking->url, path);
    struct http_answer answer = http_ask(asking->http, &(struct http_request){.method = "GET", .url = url});

    buffer_put_span(out, answer.status == 200 ? answer.body : (struct span){0});
    if (answer.status == 200)
        return STATUS_OK;
    if (answer.status == 404)
        return STATUS_SKIP;
    if (answer.status)
        return fail(&asking->error, "%s answers HTTP %d", asking->url, answer.status);
    return fail(&asking->error, "no weir answers: %s", answer.trouble);
}

/* The lines of the episode, which may be named by one of its lines. */
static enum status ask_lines(struct asking *asking, const char *id, struct buffer *out)
{
    char path[PATH_BYTES], episode[EXPLAIN_ID_BYTES];
    enum status status;

    snprintf(path, sizeof path, "/api/alerts/%.60s", id);
    status = ask(asking, path, out);
    if (status != STATUS_SKIP)
        return status;
    snprintf(path, sizeof path, "/api/alerts?id=%.60s", id);
    if ((status = ask(asking, path, out)) != STATUS_OK)
        return status;
    struct span line = out->size > 2 ? span_make(out->data + 1, out->size - 2) : (struct span){0};
    bool found = line.size && explain_is_alert(line, id, episode);

    buffer_clear(out);
    if (!found)
        return fail(&asking->error,
                    "no alert has the id %.60s: /api/alerts lists those that are kept, newest lines first",
                    id);
    snprintf(path, sizeof path, "/api/alerts/%.60s", episode);
    return ask(asking, path, out);
}

/* Buckets of the alert's series, if they are kept. */
static enum status ask_points(struct asking *asking, struct explain *explain, struct buffer *out)
{
    char path[PATH_BYTES], series[EXPLAIN_ID_BYTES];
    enum status status;

    buffer_clear(out);
    if ((status = ask(asking, "/api/series", out)) != STATUS_OK ||
        !explain_find_series(explain, buffer_span(out), series))
        return status;
    snprintf(path, sizeof path, "/api/series/%s", series);
    buffer_clear(out);
    status = ask(asking, path, out);
    if (status == STATUS_OK)
        explain_take(explain, buffer_span(out));
    return status == STATUS_SKIP ? STATUS_OK : status;
}

static enum status ask_all(struct asking *asking, const char *id, struct explain **ret_explain)
{
    struct buffer lines, other;
    enum status status;

    buffer_init(&lines, SIZE_MAX);
    buffer_init(&other, SIZE_MAX);
    status = ask_lines(asking, id, &lines);
    if (status == STATUS_OK)
        status = ask(asking, "/api/rules", &other);
    if (status == STATUS_OK)
        status = explain_new(buffer_span(&lines), buffer_span(&other), ret_explain, &asking->error);
    if (status == STATUS_OK && (status = ask_points(asking, *ret_explain, &other)) != STATUS_OK)
        explain_free(*ret_explain);
    buffer_free(&lines);
    buffer_free(&other);
    return status;
}

static enum status from_weir(const struct request *request, struct explain **ret_explain,
                             struct error *ret_error)
{
    const struct http_settings settings = {.verify = true, .timeout_us = 10000000, .connections = 1};
    struct asking asking = {.http = NULL};
    enum status status;

    if (target_url(request->target, asking.url, ret_error) != STATUS_OK ||
        http_open(&settings, &asking.http, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    status = ask_all(&asking, request->id, ret_explain);
    http_free(asking.http);
    *ret_error = asking.error;
    return status;
}

struct reading { /* of a file of alert lines: first which episode it is, then its lines */
    const char *id;
    char episode[EXPLAIN_ID_BYTES];
    bool collects;
    struct buffer lines;
};

static enum status take_alert(void *owner, struct span line, struct error *ret_error)
{
    struct reading *reading = owner;
    char episode[EXPLAIN_ID_BYTES];

    if (!explain_is_alert(line, reading->collects ? reading->episode : reading->id, episode))
        return STATUS_OK;
    memcpy(reading->episode, episode, sizeof episode);
    if (reading->collects) {
        buffer_put_char(&reading->lines, reading->lines.size ? ',' : '[');
        buffer_put_span(&reading->lines, line);
    }
    return STATUS_OK;
}

static enum status take_bucket(void *owner, struct span line, struct error *ret_error)
{
    explain_take(owner, line);
    return STATUS_OK;
}

static enum status read_lines(const struct request *request, struct reading *reading, struct error *ret_error)
{
    if (lines_read(request->alerts, take_alert, reading, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (!reading->episode[0])
        return fail(ret_error, "%s: no alert has the id %.60s", request->alerts, request->id);
    reading->collects = true;
    if (lines_read(request->alerts, take_alert, reading, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    buffer_put_char(&reading->lines, ']');
    return STATUS_OK;
}

static enum status from_files(const struct request *request, struct explain **ret_explain,
                              struct error *ret_error)
{
    struct reading reading = {.id = request->id};
    struct plan *plan = NULL;
    struct buffer rules;
    enum status status = STATUS_OK;

    buffer_init(&reading.lines, SIZE_MAX);
    buffer_init(&rules, SIZE_MAX);
    if (request->target)
        status = plan_load(request->target, NULL, 0, &plan, ret_error);
    if (status == STATUS_OK && plan)
        health_write_rules(plan, &rules);
    if (status == STATUS_OK)
        status = read_lines(request, &reading, ret_error);
    if (status == STATUS_OK)
        status = explain_new(buffer_span(&reading.lines), buffer_span(&rules), ret_explain, ret_error);
    if (status == STATUS_OK && request->buckets &&
        (status = lines_read(request->buckets, take_bucket, *ret_explain, ret_error)) != STATUS_OK)
        explain_free(*ret_explain);
    if (plan)
        plan_free(plan);
    buffer_free(&rules);
    buffer_free(&reading.lines);
    return status;
}

static bool read_request(int argc, char **argv, struct request *request)
{
    for (int i = 1; i < argc; i++) {
        bool is_alerts = strcmp(argv[i], "--alerts") == 0, is_buckets = strcmp(argv[i], "--buckets") == 0;

        if ((is_alerts || is_buckets) && i + 1 < argc)
            *(is_alerts ? &request->alerts : &request->buckets) = argv[++i];
        else if (argv[i][0] == '-' || (request->id && request->target))
            return false;
        else
            *(request->id ? &request->target : &request->id) = argv[i];
    }
    return request->id && (request->alerts || !request->buckets);
}

int cli_explain(int argc, char **argv)
{
    struct request request = {.id = NULL};
    struct explain *explain = NULL;
    struct error error;
    struct buffer out;

    if (!read_request(argc, argv, &request)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if ((request.alerts ? from_files(&request, &explain, &error) : from_weir(&request, &explain, &error)) !=
        STATUS_OK) {
        fprintf(stderr, "weir explain: %s\n", error.text);
        return EXIT_OUTSIDE;
    }
    buffer_init(&out, SIZE_MAX);
    explain_write(explain, &out);
    (void)fwrite(out.data, 1, out.size, stdout);
    buffer_free(&out);
    explain_free(explain);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_OUTSIDE;
}
