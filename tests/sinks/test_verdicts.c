/* Replays every recorded _bulk exchange of seven server versions through the sink, by a server that answers
 * with the recorded status, headers and body, and compares what becomes of each document with the table of
 * verdicts, written here a second time. Time stands still, so a repetition that has to wait is not sent. */
#include "schemas/templates.h"
#include "tests/sinks/driver.h"
#include "tests/sinks/fake_server.h"

#include "base/memory.h"

#include <dirent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_tree.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { FILE_BYTES_MAX = 8 * 1024 * 1024, ITEMS_MAX = 20000, IDLE_STEPS = 40 };

extern char **environ;

struct exchange {
    char version[64], name[128];
    int status;        /* 0: the server closed the connection */
    struct buffer raw; /* the recorded answer on the wire */
    size_t items;      /* 0: not an answer with items */
    int *statuses;
    const char **types;
    yajl_val root, raw_root; /* the recording; the body of one that is kept as it was on the wire */
};

struct tally {
    size_t done, dead, retried, paused;
};

static void add(struct tally *tally, int status, const char *type)
{
    if ((status >= 200 && status < 300) || status == 409)
        tally->done++;
    else if (status == 429 || status == 503 || status == 500 || status == 0)
        tally->retried++;
    else if (status == 403 || (status == 404 && strcmp(type, "index_not_found_exception") == 0))
        tally->paused++;
    else if (status == 400 &&
             (strcmp(type, "index_closed_exception") == 0 || strcmp(type, "validation_exception") == 0))
        tally->paused++;
    else
        tally->dead++;
}

/* What the documents of this exchange must come to, and how many requests that takes. */
static struct tally expect(const struct exchange *exchange, size_t offered, unsigned *ret_requests)
{
    struct tally tally = {0};

    *ret_requests = 1;
    if (exchange->items) {
        for (size_t i = 0; i < exchange->items; i++)
            add(&tally, exchange->statuses[i], exchange->types[i]);
        return tally;
    }
    switch (exchange->status) {
    case 0: /* gzip, then plain, then it waits */
        *ret_requests = 2;
        tally.retried = offered;
        break;
    case 429:
    case 503:
    case 500:
        tally.retried = offered;
        break;
    case 400:
    case 413: /* both halves, two documents */
        *ret_requests = 3;
        tally.dead = offered;
        break;
    default:
        tally.paused = offered;
    }
    return tally;
}

static void answer(void *owner, const struct fake_request *request, struct fake_reply *reply)
{
    const struct exchange *exchange = owner;

    if (strncmp(request->path, "/_index_template/", 17) == 0) {
        fake_reply_put(reply, 200, "content-type: application/json\r\n", SPAN_LITERAL("{}"));
        return;
    }
    reply->cut = exchange->status == 0;
    buffer_put_span(&reply->raw, buffer_span(&exchange->raw));
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = memory_new(FILE_BYTES_MAX);

    assert_non_null(file);
    size_t size = fread(text, 1, FILE_BYTES_MAX - 1, file);
    fclose(file);
    text[size] = '\0';
    return text;
}

static yajl_val at(yajl_val value, const char *key)
{
    const char *path[] = {key, NULL};

    return value ? yajl_tree_get(value, path, yajl_t_any) : NULL;
}

static const char *text_at(yajl_val value, const char *key)
{
    const char *text = YAJL_GET_STRING(at(value, key));

    return text ? text : "";
}

/* Back to JSON text; numbers as they were written. */
static void generate(yajl_gen out, yajl_val value)
{
    if (YAJL_IS_OBJECT(value)) {
        yajl_gen_map_open(out);
        for (size_t i = 0; i < value->u.object.len; i++) {
            yajl_gen_string(out, (const unsigned char *)value->u.object.keys[i],
                            strlen(value->u.object.keys[i]));
            generate(out, value->u.object.values[i]);
        }
        yajl_gen_map_close(out);
    } else if (YAJL_IS_ARRAY(value)) {
        yajl_gen_array_open(out);
        for (size_t i = 0; i < value->u.array.len; i++)
            generate(out, value->u.array.values[i]);
        yajl_gen_array_close(out);
    } else if (YAJL_IS_STRING(value)) {
        yajl_gen_string(out, (const unsigned char *)value->u.string, strlen(value->u.string));
    } else if (YAJL_IS_NUMBER(value)) {
        yajl_gen_number(out, value->u.number.r, strlen(value->u.number.r));
    } else if (YAJL_IS_NULL(value)) {
        yajl_gen_null(out);
    } else {
        yajl_gen_bool(out, YAJL_IS_TRUE(value));
    }
}

static void put_headers(struct buffer *out, yajl_val headers)
{
    static const char *const framing[] = {"content-length", "transfer-encoding", "content-encoding",
                                          "connection"};

    for (size_t i = 0; headers && i < headers->u.array.len; i++) {
        const char *name = headers->u.array.values[i]->u.array.values[0]->u.string;
        const char *value = headers->u.array.values[i]->u.array.values[1]->u.string;
        bool skip = false;

        for (size_t k = 0; k < sizeof framing / sizeof *framing; k++)
            skip = skip || strcasecmp(name, framing[k]) == 0;
        if (!skip)
            buffer_print(out, "%s: %s\r\n", name, value);
    }
}

static void take_items(struct exchange *exchange, yajl_val items)
{
    exchange->items = items->u.array.len;
    exchange->statuses = memory_new((exchange->items + 1) * sizeof *exchange->statuses);
    exchange->types = memory_new((exchange->items + 1) * sizeof *exchange->types);
    for (size_t i = 0; i < exchange->items; i++) {
        yajl_val operation = items->u.array.values[i]->u.object.values[0];
        yajl_val status = at(operation, "status");

        exchange->statuses[i] = status ? (int)YAJL_GET_INTEGER(status) : 0;
        exchange->types[i] = text_at(at(operation, "error"), "type");
    }
}

/* The answer as recorded: an object with status, headers and body, or just the body of a 200. */
static void take_response(struct exchange *exchange, yajl_val response)
{
    yajl_val status = at(response, "status"), body = status ? at(response, "body") : response;
    yajl_gen out = yajl_gen_alloc(NULL);
    const unsigned char *json;
    size_t size;

    exchange->status = status ? (int)YAJL_GET_INTEGER(status) : 200;
    if (YAJL_IS_STRING(body)) {
        json = (const unsigned char *)body->u.string;
        size = strlen(body->u.string);
    } else {
        generate(out, body);
        yajl_gen_get_buf(out, &json, &size);
    }
    buffer_print(&exchange->raw, "HTTP/1.1 %d Recorded\r\ncontent-length: %zu\r\n", exchange->status, size);
    put_headers(&exchange->raw, at(response, "headers"));
    buffer_put_text(&exchange->raw, "\r\n");
    buffer_put(&exchange->raw, json, size);
    yajl_gen_free(out);
    if (YAJL_IS_OBJECT(body) && at(body, "items"))
        take_items(exchange, at(body, "items"));
}

/* An answer that was kept as it was on the wire: its status, and its items if it has some. */
static void take_raw(struct exchange *exchange)
{
    struct span raw = buffer_span(&exchange->raw);

    if (raw.size < 16 || memcmp(raw.data, "HTTP/1.", 7) != 0)
        return;
    exchange->status = (int)strtol(raw.data + 9, NULL, 10);
    const char *first = memchr(raw.data, '{', raw.size), *last = memrchr(raw.data, '}', raw.size);

    if (!first)
        return;
    char *body = memory_text(first, (size_t)(last - first) + 1);

    exchange->raw_root = yajl_tree_parse(body, NULL, 0);
    if (at(exchange->raw_root, "items"))
        take_items(exchange, at(exchange->raw_root, "items"));
    free(body);
}

static bool load(struct exchange *exchange, const char *folder, const char *name)
{
    char path[1024];

    *exchange = (struct exchange){0};
    snprintf(exchange->name, sizeof exchange->name, "%.127s", name);
    snprintf(path, sizeof path, "%.700s/%.255s", folder, name);
    snprintf(exchange->version, sizeof exchange->version, "%.63s", strrchr(folder, '/') + 1);
    char *text = read_whole(path);

    buffer_init(&exchange->raw, FILE_BYTES_MAX);
    if (strstr(name, ".txt")) {
        buffer_put_text(&exchange->raw, text);
    } else {
        exchange->root = yajl_tree_parse(text, NULL, 0);
        assert_non_null(exchange->root);
        yajl_val response = at(exchange->root, "response");
        const char *request_path = text_at(at(exchange->root, "request"), "path");
        const char *raw = text_at(exchange->root, "response_raw");

        if (*raw)
            buffer_put_text(&exchange->raw, raw);
        else if (response && strstr(request_path, "_bulk"))
            take_response(exchange, response);
        else if (!response && (at(exchange->root, "items") || at(exchange->root, "status")))
            take_response(exchange, exchange->root);
    }
    if (!exchange->status)
        take_raw(exchange);
    free(text);
    return exchange->raw.size > 0 && exchange->status >= 0;
}

static void unload(struct exchange *exchange)
{
    yajl_tree_free(exchange->root);
    yajl_tree_free(exchange->raw_root);
    buffer_free(&exchange->raw);
    free(exchange->statuses);
    free(exchange->types);
}

/* No text of the recorded documents may be in a reason. */
static void assert_no_text(const char *reason, yajl_val value)
{
    for (size_t i = 0; YAJL_IS_OBJECT(value) && i < value->u.object.len; i++)
        assert_no_text(reason, value->u.object.values[i]);
    for (size_t i = 0; YAJL_IS_ARRAY(value) && i < value->u.array.len; i++)
        assert_no_text(reason, value->u.array.values[i]);
    if (YAJL_IS_STRING(value) && strlen(value->u.string) > 2 && strstr(reason, value->u.string))
        fail_msg("'%s' of the document is in: %s", value->u.string, reason);
}

static void assert_private(const struct exchange *exchange, const struct driver *driver)
{
    char *lines = NULL, *save = NULL;
    const char *body = text_at(at(exchange->root, "request"), "body");

    lines = memory_text(body, strlen(body));
    for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        yajl_val document = yajl_tree_parse(line, NULL, 0);

        bool action = at(document, "create") || at(document, "index") || at(document, "update") ||
                      at(document, "delete");

        if (document && !action)
            for (size_t i = 0; i < driver->verdicts.count; i++)
                if (driver->verdicts.items[i].dead_letter)
                    assert_no_text(driver->verdicts.items[i].reason, document);
        yajl_tree_free(document);
    }
    free(lines);
}

static void print_row(const struct exchange *exchange, const struct tally *tally)
{
    char statuses[256] = "", verdict[128];
    size_t used = 0;

    for (size_t i = 0, same; i < exchange->items && used < sizeof statuses - 32; i += same) {
        for (same = 1; i + same < exchange->items && exchange->statuses[i + same] == exchange->statuses[i];)
            same++;
        used += (size_t)snprintf(statuses + used, sizeof statuses - used, same > 1 ? "%dx%zu " : "%d ",
                                 exchange->statuses[i], same);
    }
    snprintf(verdict, sizeof verdict, "done %zu, dead letter %zu, retry %zu, pause %zu", tally->done,
             tally->dead, tally->retried, tally->paused);
    print_message("%-26s %-42s %3d  %-40.40s %s\n", exchange->version, exchange->name, exchange->status,
                  statuses, verdict);
}

static void replay(struct exchange *exchange)
{
    struct fake_server server;
    struct driver driver;
    size_t offered = exchange->items ? exchange->items : 2;
    unsigned requests, idle = 0;
    uint64_t seen = 0;
    struct tally expected = expect(exchange, offered, &requests);

    fake_server_start(&server, answer, exchange);
    driver_open(&driver, "elasticsearch",
                "urls: 'http://127.0.0.1:%d'\nconnections: 1\nbulk_documents: 20000\n%s", server.port,
                exchange->status == 0 ? "compress: gzip\n" : "");
    driver.flush = true;
    driver.step_us = 0;
    for (uint64_t i = 1; i <= offered; i++)
        assert_int_equal(driver_offer(&driver, DOC_EVENT, i, 0, "{\"message\":\"secret\"}"), STATUS_OK);
    while (idle < IDLE_STEPS) {
        struct sink_figures now;

        assert_true(driver_step(&driver));
        now = driver_figures(&driver);
        uint64_t sum =
            now.requests + now.retries + driver.verdicts.count + now.paused + fake_server_requests(&server);
        bool waiting = now.requests == 0 || (now.requests + TEMPLATE_COUNT > fake_server_requests(&server)) ||
                       (!now.paused && driver.verdicts.count + now.retries < offered);
        idle = sum == seen && !waiting ? idle + 1 : 0;
        seen = sum;
    }
    struct sink_figures figures = driver_figures(&driver);

    print_row(exchange, &expected);
    assert_int_equal(figures.requests, requests);
    assert_int_equal(driver_done(&driver), expected.done);
    assert_int_equal(driver_dead(&driver), expected.dead);
    assert_int_equal(driver.type->pending(driver.sink), expected.retried + expected.paused);
    assert_int_equal(figures.retries, expected.retried);
    assert_int_equal(figures.paused, expected.paused > 0);
    assert_private(exchange, &driver);
    driver_close(&driver);
    fake_server_stop(&server);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strverscmp((*a)->d_name, (*b)->d_name);
}

static unsigned replay_folder(const char *folder)
{
    struct dirent **names;
    unsigned replayed = 0;
    int count = scandir(folder, &names, NULL, by_name);

    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        struct exchange exchange;
        bool wanted = strstr(name, ".json") || strstr(name, "503-not-recovered-bulk.txt");

        if (wanted) {
            if (load(&exchange, folder, name)) {
                replay(&exchange);
                replayed++;
            }
            unload(&exchange);
        }
        free(names[i]);
    }
    free(names);
    return replayed;
}

static int run_program(char *const arguments[])
{
    pid_t child;
    int status = 1;

    if (posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ) != 0)
        return 1;
    waitpid(child, &status, 0);
    return status;
}

static char shared_folder[512];

static void test_recorded_answers(void **state)
{
    char temporary[] = "/tmp/weir-verdicts-XXXXXX";
    struct dirent **names;
    unsigned replayed = 0;
    int count = scandir(shared_folder, &names, NULL, by_name);

    assert_non_null(mkdtemp(temporary));
    for (int i = 0; i < count; i++) {
        char archive[1024], folder[1024];
        char *end = strstr(names[i]->d_name, ".tar.zst");

        snprintf(archive, sizeof archive, "%.500s/%.255s", shared_folder, names[i]->d_name);
        if (end) {
            assert_int_equal(run_program((char *[]){"tar", "--zstd", "-xf", archive, "-C", temporary, NULL}),
                             0);
            snprintf(folder, sizeof folder, "%s/%.*s", temporary, (int)(end - names[i]->d_name),
                     names[i]->d_name);
            replayed += replay_folder(folder);
        }
        free(names[i]);
    }
    free(names);
    run_program((char *[]){"rm", "-r", temporary, NULL});
    print_message("%u exchanges\n", replayed);
    assert_true(replayed > 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_answers)};
    const char *shared = getenv("WEIR_SHARED");

    snprintf(shared_folder, sizeof shared_folder, "%s/data/search-responses", shared ? shared : "../shared");
    if (access(shared_folder, R_OK) != 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
