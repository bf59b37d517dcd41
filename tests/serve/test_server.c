/* Real requests with libcurl: every route, what is refused, and many at a time while the view is written. */
#include "pipeline/dead_letters.h"
#include "pipeline/feedback.h"
#include "serve/server.h"
#include "tests/serve/process_stand_in.h"

#include <curl/curl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <yajl/yajl_tree.h>

#include <cmocka.h>

enum { THREADS = 12, REQUESTS = 25, LINES = 400 };

struct world {
    struct process process;
    struct view *view;
    struct server *server;
    char address[64];
    char folder[32], store[64];
};

struct answer {
    long status;
    struct buffer head, body;
};

struct ask {
    const char *method; /* NULL: GET */
    const char *header; /* NULL: none beside curl's */
};

static const struct id128 series = {.high = 0x0123456789abcdef, .low = 0xfedcba9876543210};
static const char series_path[] = "api/series/0123456789abcdeffedcba9876543210";
static const char point[] =
    "{\"schema\":1,\"id\":\"00\",\"measure\":\"latency\",\"key\":{\"start\":\"a}\\\"b\"},"
    "\"start\":\"2026-11-21T09:00:00.000Z\",\"count\":4,\"score\":1,\"anomaly\":true}";

static size_t keep(char *data, size_t size, size_t count, void *buffer)
{
    buffer_put(buffer, data, size * count);
    return size * count;
}

static void answer_free(struct answer *answer)
{
    buffer_free(&answer->head);
    buffer_free(&answer->body);
}

/* The texts of the answer end with a null byte that their size does not count. */
static CURLcode request(const char *address, const char *path, const struct ask *ask,
                        struct answer *ret_answer)
{
    struct curl_slist *headers = ask && ask->header ? curl_slist_append(NULL, ask->header) : NULL;
    CURL *curl = curl_easy_init();
    char url[256];
    CURLcode code;

    snprintf(url, sizeof url, "%s%s", address, path);
    *ret_answer = (struct answer){.status = 0};
    buffer_init(&ret_answer->head, 1 << 16);
    buffer_init(&ret_answer->body, 1 << 26);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret_answer->body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &ret_answer->head);
    if (ask && ask->method && strcmp(ask->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (ask && ask->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    if (ask && ask->method && strcmp(ask->method, "POST") == 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "{\"silence\":true}");
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_answer->status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    buffer_put(&ret_answer->head, "", 1);
    buffer_put(&ret_answer->body, "", 1);
    ret_answer->body.size--;
    return code;
}

/* Asks, checks status and the headers that every answer has, returns the body (to be freed). */
static char *fetch(const struct world *world, const char *path, const struct ask *ask, long status,
                   const char *type)
{
    struct answer answer;
    char *body;

    assert_int_equal(request(world->address, path, ask, &answer), CURLE_OK);
    if (answer.status != status)
        fail_msg("%s: %ld %s", path, answer.status, answer.body.data);
    assert_non_null(strstr(answer.head.data, "X-Content-Type-Options: nosniff"));
    assert_non_null(strstr(answer.head.data, "Content-Security-Policy: default-src 'none'"));
    assert_null(strstr(answer.head.data, "unsafe"));
    if (!strstr(answer.head.data, type))
        fail_msg("%s: no %s in %s", path, type, answer.head.data);
    body = strdup(answer.body.data);
    answer_free(&answer);
    return body;
}

static yajl_val parse(const char *json)
{
    char reason[256] = "";
    yajl_val value = yajl_tree_parse(json, reason, sizeof reason);

    if (!value)
        fail_msg("not JSON: %s: %.200s", reason, json);
    return value;
}

static yajl_val fetch_json(const struct world *world, const char *path, long status)
{
    char *body = fetch(world, path, NULL, status, "Content-Type: application/json; charset=utf-8");
    yajl_val value = parse(body);

    free(body);
    return value;
}

static const char *text_at(yajl_val object, const char *key)
{
    const char *path[] = {key, NULL};
    yajl_val value = yajl_tree_get(object, path, yajl_t_string);

    assert_non_null(value);
    return YAJL_GET_STRING(value);
}

static void put_of_series(struct view *view, enum document_kind kind, int64_t time_us, const char *text)
{
    view_put(view,
             &(struct view_line){.kind = kind, .group = series, .time_us = time_us, .text = span_of(text)});
}

static void put_alert(struct view *view, unsigned number)
{
    char line[160];
    int size = snprintf(line, sizeof line, "{\"schema\":1,\"episode\":\"%u\",\"state\":\"firing\"}", number);

    view_put(view, &(struct view_line){.kind = DOC_ALERT,
                                       .group = {.low = number},
                                       .time_us = number,
                                       .text = span_make(line, (size_t)size)});
}

static void put_letters(struct world *world)
{
    static char payload[1001];
    struct dead_letter letter = {.source = SPAN_LITERAL("lineage"),
                                 .topic = SPAN_LITERAL("t"),
                                 .stage = "decode",
                                 .reason = SPAN_LITERAL("not JSON"),
                                 .payload = SPAN_LITERAL("short\xff")};
    struct error error;

    for (size_t i = 0; i + 1 < sizeof payload; i += 2)
        memcpy(payload + i, "\xc3\xa9", 2);
    assert_int_equal(dead_letters_put(world->process.dead_letters, &letter, 1, &error), STATUS_OK);
    letter.offset = 1;
    letter.payload = span_make(payload, sizeof payload - 1);
    assert_int_equal(dead_letters_put(world->process.dead_letters, &letter, 1, &error), STATUS_OK);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error error;

    snprintf(world->folder, sizeof world->folder, "/tmp/weir-serve-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->store, sizeof world->store, "%s/weir.db", world->folder);
    world->process = (struct process){.ready = true, .name = "test", .watermark_s = 1};
    assert_int_equal(
        dead_letters_open(world->store, &(struct store_options){0}, &world->process.dead_letters, &error),
        STATUS_OK);
    assert_int_equal(
        feedback_open(world->store, &(struct store_options){0}, &world->process.feedback, &error), STATUS_OK);
    put_letters(world);
    world->view = view_new();
    put_of_series(world->view, DOC_BUCKET, 7, point);
    put_of_series(world->view, DOC_RUN, 7, "{\"state\":\"running\"}");
    for (unsigned i = 0; i < LINES; i++)
        put_alert(world->view, i);
    assert_int_equal(server_start("127.0.0.1:0", &world->process, world->view, NULL, NULL, &world->server,
                                  world->address, &error),
                     STATUS_OK);
    assert_false(server_moved(world->server));
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    static const char *const ends[] = {"", "-wal", "-shm"};

    server_stop(world->server);
    view_free(world->view);
    dead_letters_close(world->process.dead_letters);
    feedback_close(world->process.feedback);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char path[80];

        snprintf(path, sizeof path, "%s%s", world->store, ends[i]);
        unlink(path);
    }
    rmdir(world->folder);
    free(world);
    return 0;
}

static void the_page_and_its_files(void **state)
{
    static const struct {
        const char *path, *type, *holds;
    } files[] = {
        {"", "text/html; charset=utf-8", "<script type=\"module\" src=\"/page.js\">"},
        {"style.css", "text/css; charset=utf-8", "prefers-color-scheme"},
        {"page.js", "text/javascript; charset=utf-8", "./alerts.js"},
        {"parts.js", "text/javascript; charset=utf-8", "textContent"},
        {"chart.js", "text/javascript; charset=utf-8", "export class Chart"},
        {"gantt.js", "text/javascript; charset=utf-8", "export function gantt"},
        {"alerts.js", "text/javascript; charset=utf-8", "/api/alerts"},
        {"runs.js", "text/javascript; charset=utf-8", "/api/runs"},
        {"measures.js", "text/javascript; charset=utf-8", "/api/series"},
        {"letters.js", "text/javascript; charset=utf-8", "/api/dead-letters"},
        {"health.js", "text/javascript; charset=utf-8", "problems"},
        {"icon.svg", "image/svg+xml", "<svg"},
    };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *body = fetch(*state, files[i].path, NULL, 200, files[i].type);

        assert_non_null(strstr(body, files[i].holds));
        free(body);
    }
}

static void health_readiness_and_metrics(void **state)
{
    struct world *world = *state;
    char *body = fetch(world, "healthz", NULL, 200, "text/plain");

    assert_string_equal(body, "ok\n");
    free(body);
    free(fetch(world, "readyz", NULL, 200, "text/plain"));
    world->process.ready = false;
    body = fetch(world, "readyz", NULL, 503, "text/plain");
    assert_string_equal(body, "not ready\n");
    free(body);
    free(fetch(world, "healthz", NULL, 200, "text/plain"));
    body = fetch(world, "metrics", NULL, 200, "Content-Type: text/plain; version=0.0.4");
    assert_non_null(strstr(body, "\nweir_rows_total "));
    free(body);
}

static void lists_are_newest_first_and_limited(void **state)
{
    yajl_val list = fetch_json(*state, "api/alerts", 200);

    assert_int_equal(YAJL_GET_ARRAY(list)->len, 200);
    assert_string_equal(text_at(YAJL_GET_ARRAY(list)->values[0], "episode"), "399");
    yajl_tree_free(list);
    list = fetch_json(*state, "api/alerts?limit=1000", 200);
    assert_int_equal(YAJL_GET_ARRAY(list)->len, LINES);
    assert_string_equal(text_at(YAJL_GET_ARRAY(list)->values[LINES - 1], "episode"), "0");
    yajl_tree_free(list);
    list = fetch_json(*state, "api/runs?limit=2000", 200);
    assert_int_equal(YAJL_GET_ARRAY(list)->len, 1);
    yajl_tree_free(list);
}

static void a_limit_out_of_range_is_refused_with_the_range(void **state)
{
    static const char *const wrong[] = {
        "api/alerts?limit=0", "api/alerts?limit=1001", "api/alerts?limit=-1",
        "api/alerts?limit=",  "api/alerts?limit=1x",   "api/alerts?limit=99999999999999999999",
        "api/alerts?limit=+1"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        yajl_val answer = fetch_json(*state, wrong[i], 400);

        assert_non_null(strstr(text_at(answer, "error"), "from 1 to 1000"));
        yajl_tree_free(answer);
    }
}

/* The total is in a header. */
static void assert_listed(const struct world *world, const char *path, size_t listed, const char *total)
{
    struct answer answer;
    char header[64];

    snprintf(header, sizeof header, "X-Total-Count: %s\r\n", total);
    assert_int_equal(request(world->address, path, NULL, &answer), CURLE_OK);
    assert_int_equal(answer.status, 200);
    if (!strstr(answer.head.data, header))
        fail_msg("%s: no %s in %s", path, header, answer.head.data);
    yajl_val list = parse(answer.body.data);
    assert_int_equal(YAJL_GET_ARRAY(list)->len, listed);
    yajl_tree_free(list);
    answer_free(&answer);
}

static void lists_are_filtered(void **state)
{
    struct world *world = *state;
    static const char text[] = "{\"state\":\"resolved\",\"workflow\":\"a&b \\\"c\\\"\",\"run\":\"r,1\"}";

    put_of_series(world->view, DOC_ALERT, 1000, text);
    assert_listed(world, "api/alerts", 200, "401");
    assert_listed(world, "api/alerts?state=firing&limit=5&skip=398", 2, "400");
    assert_listed(world, "api/alerts?state=firing&state=resolved&limit=1", 1, "401");
    assert_listed(world, "api/alerts?state=resolved", 1, "1");
    assert_listed(world, "api/alerts?workflow=a%26b+%22c%22&run=r,1", 1, "1");
    assert_listed(world, "api/alerts?workflow=a", 0, "0");
    assert_listed(world, "api/alerts?run=&limit=1", 1, "400");
    assert_listed(world, "api/alerts?text=%22C%22+resol", 1, "1");
    assert_listed(world, "api/alerts?text=%ff", 0, "0");
    assert_listed(world, "api/runs?state=running&text=", 1, "1");
    assert_listed(world, "api/runs?level=task", 0, "0");
    yajl_val answer = fetch_json(world, "api/runs?severity=info", 400);
    assert_string_equal(
        text_at(answer, "error"),
        "'severity' cannot be asked for; limit, skip, text, id, level, state, workflow, task, "
        "run, run_name, source, namespace");
    yajl_tree_free(answer);
    yajl_tree_free(fetch_json(world, "api/alerts?skip=1001", 400));
    yajl_tree_free(fetch_json(world, "api/alerts?state", 200));
}

static void an_alert_has_its_lines(void **state)
{
    struct world *world = *state;
    yajl_val list;

    for (unsigned i = 1; i <= 3; i++) {
        char text[64];
        int size = snprintf(text, sizeof text, "{\"revision\":\"%u\"}", i);

        view_put(world->view, &(struct view_line){.kind = DOC_ALERT,
                                                  .group = series,
                                                  .time_us = i,
                                                  .version = i,
                                                  .text = span_make(text, (size_t)size)});
    }
    list = fetch_json(world, "api/alerts/0123456789abcdeffedcba9876543210", 200);
    assert_int_equal(YAJL_GET_ARRAY(list)->len, 3);
    assert_string_equal(text_at(YAJL_GET_ARRAY(list)->values[0], "revision"), "1");
    assert_string_equal(text_at(YAJL_GET_ARRAY(list)->values[2], "revision"), "3");
    yajl_tree_free(list);
    yajl_tree_free(fetch_json(world, "api/alerts/0123456789abcdeffedcba9876543211", 404));
    yajl_tree_free(fetch_json(world, "api/alerts/x", 404));
}

static void mark(const struct world *world, const char *path, const char *header, long status)
{
    const struct ask ask = {.method = "POST", .header = header};

    free(fetch(world, path, &ask, status, "application/json"));
}

#define EPISODE "0123456789abcdeffedcba9876543210"

/* Marked only on purpose, replaced, taken back; what is right is a label, of what has no mark nothing is
 * known. */
static void alerts_are_marked(void **state)
{
    static const char line[] =
        "{\"episode\":\"" EPISODE
        "\",\"at\":\"2026-01-01T02:00:00.000Z\",\"starts_at\":\"2026-01-01T01:00:00.000Z\","
        "\"rule\":\"slow\",\"kind\":\"metric\",\"target\":\"w\"}";
    struct world *world = *state;
    char *labels;

    view_put(
        world->view,
        &(struct view_line){.kind = DOC_ALERT, .group = series, .time_us = INT64_MAX, .text = span_of(line)});
    mark(world, "api/feedback/" EPISODE "?mark=right", NULL, 403);
    mark(world, "api/feedback/" EPISODE "?mark=wrong", "X-Weir: 1", 400);
    mark(world, "api/feedback/" EPISODE, "X-Weir: 1", 400);
    mark(world, "api/feedback/11111111111111111111111111111111?mark=right", "X-Weir: 1", 404);
    mark(world, "api/feedback/x?mark=right", "X-Weir: 1", 404);
    labels = fetch(world, "api/labels", NULL, 200, "application/x-ndjson");
    assert_non_null(
        strstr(labels, "\"target\":\"w\",\"kind\":\"metric\",\"rule\":\"slow\",\"ignore\":true}"));
    free(labels);
    mark(world, "api/feedback/" EPISODE "?mark=noise", "X-Weir: 1", 200);
    labels = fetch(world, "api/labels", NULL, 200, "application/x-ndjson");
    assert_null(strstr(labels, "\"target\":\"w\""));
    free(labels);
    mark(world, "api/feedback/" EPISODE "?mark=right", "X-Weir: 1", 200);
    labels = fetch(world, "api/labels", NULL, 200, "application/x-ndjson");
    assert_non_null(strstr(labels, "\"target\":\"w\",\"kind\":\"metric\",\"rule\":\"slow\"}"));
    free(labels);
    yajl_val marks = fetch_json(world, "api/feedback", 200);
    assert_int_equal(YAJL_GET_ARRAY(marks)->len, 1);
    assert_string_equal(text_at(YAJL_GET_ARRAY(marks)->values[0], "mark"), "right");
    yajl_tree_free(marks);
    mark(world, "api/feedback/" EPISODE "?mark=none", "X-Weir: 1", 200);
    marks = fetch_json(world, "api/feedback", 200);
    assert_int_equal(YAJL_GET_ARRAY(marks)->len, 0);
    yajl_tree_free(marks);
}

static void health_and_rules_are_those_of_the_process(void **state)
{
    struct world *world = *state;
    yajl_val health = fetch_json(world, "api/health", 200), rules = fetch_json(world, "api/rules", 200);

    assert_string_equal(text_at(health, "pipeline"), "test");
    assert_string_equal(text_at(YAJL_GET_ARRAY(rules)->values[0], "measure"), "latency");
    yajl_tree_free(health);
    yajl_tree_free(rules);
}

/* What needs a process says so; lists are there all the same. */
static void during_a_reload_some_is_not_there(void **state)
{
    static const char *const paths[] = {"api/health", "api/rules", "api/dead-letters", "api/dead-letters/1"};
    struct world *world = *state;

    server_set_process(world->server, NULL);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        yajl_val answer = fetch_json(world, paths[i], 503);

        assert_string_equal(text_at(answer, "error"), "the configuration is being reloaded");
        yajl_tree_free(answer);
    }
    yajl_tree_free(fetch_json(world, "api/alerts", 200));
    server_set_process(world->server, &world->process);
    yajl_tree_free(fetch_json(world, "api/health", 200));
}

static void series_and_their_points(void **state)
{
    yajl_val list = fetch_json(*state, "api/series", 200), points = fetch_json(*state, series_path, 200);
    yajl_val one = YAJL_GET_ARRAY(list)->values[0];

    assert_int_equal(YAJL_GET_ARRAY(list)->len, 1);
    assert_string_equal(text_at(one, "series"), series_path + strlen("api/series/"));
    assert_string_equal(text_at(one, "measure"), "latency");
    assert_string_equal(text_at(yajl_tree_get(one, (const char *[]){"key", NULL}, yajl_t_object), "start"),
                        "a}\"b");
    assert_string_equal(text_at(one, "anomaly_at"), "1970-01-01T00:00:00.000Z");
    assert_int_equal(YAJL_GET_ARRAY(points)->len, 1);
    yajl_tree_free(list);
    yajl_tree_free(points);
    yajl_tree_free(fetch_json(*state, "api/series/0123456789abcdeffedcba9876543211", 404));
    yajl_tree_free(fetch_json(*state, "api/series/0123456789ABCDEFfedcba9876543210", 404));
    yajl_tree_free(fetch_json(*state, "api/series/01", 404));
    yajl_tree_free(fetch_json(*state, "api/series/0123456789abcdeffedcba98765432100", 404));
}

static void dead_letters_show_the_beginning_of_a_payload(void **state)
{
    struct world *world = *state;
    yajl_val list = fetch_json(world, "api/dead-letters", 200);
    const char *payload = text_at(YAJL_GET_ARRAY(list)->values[0], "payload");

    assert_int_equal(YAJL_GET_ARRAY(list)->len, 2);
    assert_int_equal(strlen(payload), 2 * 200);
    assert_string_equal(payload + 2 * 199, "\xc3\xa9");
    assert_string_equal(text_at(YAJL_GET_ARRAY(list)->values[1], "payload"), "short\xef\xbf\xbd");
    assert_string_equal(text_at(YAJL_GET_ARRAY(list)->values[1], "reason"), "not JSON");
    yajl_tree_free(list);
    list = fetch_json(world, "api/dead-letters?limit=1", 200);
    assert_int_equal(YAJL_GET_ARRAY(list)->len, 1);
    yajl_tree_free(list);
    yajl_tree_free(fetch_json(world, "api/dead-letters?limit=201", 400));
    struct dead_letters *store = world->process.dead_letters;
    world->process.dead_letters = NULL;
    yajl_tree_free(fetch_json(world, "api/dead-letters", 404));
    world->process.dead_letters = store;
}

static void dead_letters_are_filtered_and_paged(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *path;
        size_t letters;
    } lists[] = {
        {"api/dead-letters?stage=decode", 2},  {"api/dead-letters?stage=sink", 0},
        {"api/dead-letters?text=NOT+json", 2}, {"api/dead-letters?text=%25", 0},
        {"api/dead-letters?before=2", 1},      {"api/dead-letters?before=1", 0},
        {"api/dead-letters?topic=none", 0},
    };

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        yajl_val list = fetch_json(world, lists[i].path, 200);

        if (YAJL_GET_ARRAY(list)->len != lists[i].letters)
            fail_msg("%s: %zu", lists[i].path, YAJL_GET_ARRAY(list)->len);
        yajl_tree_free(list);
    }
    yajl_tree_free(fetch_json(world, "api/dead-letters?before=0", 400));
}

static void a_dead_letter_is_shown_whole(void **state)
{
    struct world *world = *state;
    yajl_val letter = fetch_json(world, "api/dead-letters/1", 200);

    assert_string_equal(text_at(letter, "payload"), "short\xef\xbf\xbd");
    assert_string_equal(text_at(letter, "payload_hex"), "73686f7274ff");
    yajl_tree_free(letter);
    letter = fetch_json(world, "api/dead-letters/2", 200);
    assert_true(strlen(text_at(letter, "payload")) > 2 * 200);
    yajl_tree_free(letter);
    yajl_tree_free(fetch_json(world, "api/dead-letters/3", 404));
    yajl_tree_free(fetch_json(world, "api/dead-letters/1x", 404));
    yajl_tree_free(fetch_json(world, "api/dead-letters/-1", 404));
    yajl_tree_free(fetch_json(world, "api/dead-letters/99999999999999999999", 404));
}

static void unknown_paths_are_not_found(void **state)
{
    static const char *const unknown[] = {"index.html", "api",        "api/alerts/",
                                          "healthz/x",  "page.js%2f", "serve/page.js"};

    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        yajl_tree_free(fetch_json(*state, unknown[i], 404));
}

static void head_tells_the_size_without_the_body(void **state)
{
    struct world *world = *state;
    struct answer answer;

    assert_int_equal(request(world->address, "page.js", &(struct ask){.method = "HEAD"}, &answer), CURLE_OK);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, 0);
    assert_non_null(strstr(answer.head.data, "Content-Length: "));
    assert_null(strstr(answer.head.data, "Content-Length: 0"));
    answer_free(&answer);
}

static void other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct answer answer;

        assert_int_equal(request(world->address, "api/alerts", &(struct ask){.method = methods[i]}, &answer),
                         CURLE_OK);
        assert_int_equal(answer.status, 405);
        assert_non_null(strstr(answer.head.data, "Allow: GET, HEAD"));
        answer_free(&answer);
    }
}

static void other_hosts_are_refused(void **state)
{
    static const char *const hosts[] = {"Host: attacker.test", "Host: attacker.test:8470",
                                        "Host: 127.0.0.1.attacker.test", "Host: 192.0.2.1"};

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        free(fetch(*state, "api/alerts", &(struct ask){.header = hosts[i]}, 421, "application/json"));
        free(fetch(*state, "healthz", &(struct ask){.header = hosts[i]}, 421, "application/json"));
    }
    free(fetch(*state, "healthz", &(struct ask){.header = "Host: localhost:1234"}, 200, "text/plain"));
}

static void a_request_beyond_the_limit_is_refused(void **state)
{
    struct world *world = *state;
    char header[SERVER_REQUEST_BYTES + 64];
    struct answer answer;

    memset(header, 'x', sizeof header);
    memcpy(header, "X-Long: ", 8);
    header[sizeof header - 1] = '\0';
    CURLcode code = request(world->address, "healthz", &(struct ask){.header = header}, &answer);
    assert_true(code != CURLE_OK || answer.status == 431 || answer.status == 413);
    assert_true(answer.status != 200);
    answer_free(&answer);
    free(fetch(world, "healthz", NULL, 200, "text/plain"));
}

static void a_taken_port_moves_the_server(void **state)
{
    struct world *world = *state;
    struct server *second;
    struct error error;
    char listen[64], address[64];
    struct answer answer;

    snprintf(listen, sizeof listen, "%s", world->address + strlen("http://"));
    listen[strlen(listen) - 1] = '\0';
    assert_int_equal(server_start(listen, &world->process, world->view, NULL, NULL, &second, address, &error),
                     STATUS_OK);
    assert_true(server_moved(second));
    assert_string_not_equal(address, world->address);
    assert_int_equal(request(address, "healthz", NULL, &answer), CURLE_OK);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    server_stop(second);
    assert_int_equal(request(address, "healthz", NULL, &answer), CURLE_COULDNT_CONNECT);
    answer_free(&answer);
}

static void no_address_is_no_server(void **state)
{
    struct process process = {.ready = true};
    struct view *view = view_new();
    struct server *server = (struct server *)&process;
    struct error error;
    char address[64] = "untouched";

    assert_int_equal(server_start("", NULL, NULL, NULL, NULL, &server, address, &error), STATUS_OK);
    assert_null(server);
    assert_int_equal(server_start("nowhere", &process, view, NULL, NULL, &server, address, &error),
                     STATUS_FATAL);
    assert_string_equal(address, "untouched");
    view_free(view);
}

static void a_connection_is_used_again(void **state)
{
    struct world *world = *state;
    CURL *curl = curl_easy_init();
    struct buffer body;
    long connections;

    buffer_init(&body, 1 << 20);
    curl_easy_setopt(curl, CURLOPT_URL, world->address);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connections);
    assert_int_equal(connections, 0);
    curl_easy_cleanup(curl);
    buffer_free(&body);
}

struct asker {
    const struct world *world;
    unsigned good;
};

static void *ask_often(void *argument)
{
    static const char *const paths[] = {"api/alerts?limit=1000", "api/series", "metrics", "page.js",
                                        series_path};
    struct asker *asker = argument;

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct answer answer;

        if (request(asker->world->address, paths[i % 5], NULL, &answer) == CURLE_OK && answer.status == 200 &&
            answer.body.size > 0)
            asker->good++;
        answer_free(&answer);
    }
    return NULL;
}

static void many_at_a_time(void **state)
{
    struct world *world = *state;
    struct asker askers[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){.world = world};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
    }
    for (unsigned i = 0; i < 50 * LINES; i++) {
        put_alert(world->view, i);
        put_of_series(world->view, DOC_BUCKET, i, point);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].good, REQUESTS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_page_and_its_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(health_readiness_and_metrics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_are_newest_first_and_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_limit_out_of_range_is_refused_with_the_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_are_filtered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_alert_has_its_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(alerts_are_marked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(health_and_rules_are_those_of_the_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(during_a_reload_some_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(series_and_their_points, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dead_letters_are_filtered_and_paged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_letter_is_shown_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dead_letters_show_the_beginning_of_a_payload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_paths_are_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_tells_the_size_without_the_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_methods_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_hosts_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_beyond_the_limit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_taken_port_moves_the_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_is_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_at_a_time, set_up, tear_down),
        cmocka_unit_test(no_address_is_no_server),
    };

    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
