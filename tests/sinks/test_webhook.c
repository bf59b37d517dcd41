/* One POST a document; order within an episode, patience, and what is given up. */
#include "tests/sinks/driver.h"
#include "tests/sinks/fake_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { KEPT = 64 };

struct hook {
    struct fake_server server;
    struct driver driver;
    int status;                 /* of the next answers; -1: cut */
    int trouble_left;           /* answers that get it; negative: all */
    const char *only;           /* documents with this text only */
    const char *headers, *said; /* of each answer */
    unsigned count;
    char bodies[KEPT][64], request[4096];
};

static void answer(void *owner, const struct fake_request *request, struct fake_reply *reply)
{
    struct hook *hook = owner;
    bool wanted =
        !hook->only || memmem(request->body.data, request->body.size, hook->only, strlen(hook->only));
    bool trouble = hook->status && hook->trouble_left != 0 && wanted;

    assert_true(hook->count < KEPT && request->body.size < 64);
    memcpy(hook->request, request->headers, sizeof hook->request);
    memcpy(hook->bodies[hook->count++], request->body.data, request->body.size);
    if (trouble && hook->trouble_left > 0)
        hook->trouble_left--;
    reply->cut = trouble && hook->status < 0;
    if (!reply->cut)
        fake_reply_put(reply, trouble ? hook->status : 204, hook->headers ? hook->headers : "",
                       span_of(hook->said ? hook->said : ""));
}

static void begin(struct hook *hook, const char *more)
{
    *hook = (struct hook){.trouble_left = -1};
    fake_server_start(&hook->server, answer, hook);
    driver_open(&hook->driver, "webhook", "url: 'http://127.0.0.1:%d/services/SECRET'\n%s", hook->server.port,
                more);
}

static void end(struct hook *hook)
{
    driver_close(&hook->driver);
    fake_server_stop(&hook->server);
}

static void offer(struct hook *hook, uint64_t ticket, uint64_t episode, const char *body)
{
    struct document document = {
        .kind = DOC_ALERT,
        .id = {.low = ticket},
        .group = {.high = 1, .low = episode},
        .body = span_of(body),
        .ticket = ticket,
    };

    assert_int_equal(hook->driver.type->offer(hook->driver.sink, &document), STATUS_OK);
}

static void until_empty(struct hook *hook)
{
    while (hook->driver.type->pending(hook->driver.sink) > 0)
        assert_true(driver_step(&hook->driver));
}

static void test_posts(void **state)
{
    struct hook hook;

    begin(&hook, "headers: {X-Team: data}\n");
    offer(&hook, 1, 1, "{\"a\":1}");
    until_empty(&hook);
    assert_string_equal(hook.bodies[0], "{\"a\":1}");
    assert_memory_equal(hook.request, "POST /services/SECRET HTTP/1.1\r\n", 32);
    assert_non_null(strcasestr(hook.request, "\r\nX-Team: data\r\n"));
    assert_non_null(strcasestr(hook.request, "\r\nContent-Type: application/json\r\n"));
    assert_int_equal(driver_done(&hook.driver), 1);
    end(&hook);
}

static void test_tries_again(void **state)
{
    const int statuses[] = {429, 408, 500, 503, -1};

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct hook hook;

        begin(&hook, "retry_base: 100ms\nretry_max: 1s\n");
        hook.status = statuses[i];
        hook.trouble_left = 4;
        offer(&hook, 1, 1, "{}");
        assert_int_equal(driver_figures(&hook.driver).waiting_alerts, 0);
        while (driver_figures(&hook.driver).retries == 0)
            assert_true(driver_step(&hook.driver));
        assert_int_equal(driver_figures(&hook.driver).waiting_alerts, 1);
        until_empty(&hook);
        assert_int_equal(driver_figures(&hook.driver).waiting_alerts, 0);
        assert_int_equal(driver_done(&hook.driver), 1);
        assert_int_equal(driver_figures(&hook.driver).retries, 4);
        assert_non_null(strstr(hook.driver.warning, "trying again"));
        assert_null(strstr(hook.driver.warning, "SECRET"));
        end(&hook);
    }
}

static void test_refused(void **state)
{
    struct hook hook;

    begin(&hook, "");
    hook.status = 404;
    offer(&hook, 1, 1, "{\"a\":1}");
    until_empty(&hook);
    assert_int_equal(hook.count, 1);
    assert_int_equal(driver_dead(&hook.driver), 1);
    assert_string_equal(hook.driver.verdicts.items[0].reason, "HTTP 404 from the webhook");
    assert_string_equal(hook.driver.verdicts.items[0].body, "{\"a\":1}");
    end(&hook);
}

static void test_gives_up(void **state)
{
    struct hook hook;

    begin(&hook, "retry_base: 10s\nretry_max: 10m\n");
    hook.status = 503;
    hook.driver.step_us = 10000000;
    offer(&hook, 1, 1, "{}");
    int64_t start_us = hook.driver.now_us;

    until_empty(&hook);
    assert_int_equal(driver_dead(&hook.driver), 1);
    assert_in_range(hook.driver.now_us - start_us, 3 * 3600 * 1000000LL, 4 * 3600 * 1000000LL);
    end(&hook);
}

static void test_order_within_an_episode(void **state)
{
    struct hook hook;

    begin(&hook, "retry_base: 1s\nretry_max: 1s\nconnections: 2\n");
    hook.status = 503;
    hook.trouble_left = 2;
    hook.only = "one";
    offer(&hook, 1, 1, "{\"e\":\"one firing\"}");
    offer(&hook, 2, 1, "{\"e\":\"one resolved\"}");
    offer(&hook, 3, 2, "{\"e\":\"two\"}");
    until_empty(&hook);
    assert_int_equal(driver_done(&hook.driver), 3);
    assert_int_equal(hook.count, 5);
    assert_int_equal(hook.driver.verdicts.items[0].ticket, 3); /* the other episode did not wait */
    assert_int_equal(hook.driver.verdicts.items[1].ticket, 1);
    assert_int_equal(hook.driver.verdicts.items[2].ticket, 2);
    end(&hook);
}

static void test_queue_is_bounded(void **state)
{
    struct hook hook;
    struct document document = {.kind = DOC_ALERT, .ticket = 1};
    static char body[8000];
    unsigned taken = 0;

    begin(&hook, "queue_bytes: 64KiB\n");
    hook.status = 503;
    memset(body, 'x', sizeof body);
    document.body = span_make(body, sizeof body);
    while (hook.driver.type->offer(hook.driver.sink, &document) == STATUS_OK)
        taken++;
    assert_int_equal(taken, 8);
    end(&hook);
}

/* Slack's limit is for the address, not for one message. */
static void test_waits_as_long_as_told(void **state)
{
    struct hook hook;

    begin(&hook, "retry_base: 1ms\nretry_max: 1ms\n");
    hook.status = 429;
    hook.trouble_left = 1;
    hook.headers = "Retry-After: 7\r\n";
    offer(&hook, 1, 1, "{\"a\":1}");
    driver_settle(&hook.driver, 100);
    int64_t told_us = hook.driver.now_us;

    offer(&hook, 2, 2, "{\"a\":2}");
    until_empty(&hook);
    assert_int_equal(driver_done(&hook.driver), 2);
    assert_int_equal(hook.count, 3);
    assert_in_range(hook.driver.now_us - told_us, 5900000, 8000000);
    end(&hook);
}

static void test_slack_answers(void **state)
{
    static const struct {
        int status;
        const char *said, *reason; /* NULL: delivered */
    } answers[] = {
        {200, "ok", NULL},
        {200, "no_service", "HTTP 200 from the webhook: no_service"},
        {200, "<html>", "HTTP 200 from the webhook, but not Slack's ok"},
        {400, "invalid_payload", "HTTP 400 from the webhook: invalid_payload"},
        {404, "Not Found: /services/SECRET", "HTTP 404 from the webhook"},
        {410, "channel_is_archived", "HTTP 410 from the webhook: channel_is_archived"},
    };

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct hook hook;

        begin(&hook, "body: slack\n");
        hook.status = answers[i].status;
        hook.said = answers[i].said;
        offer(&hook, 1, 1, "{\"a\":1}");
        until_empty(&hook);
        assert_int_equal(driver_done(&hook.driver), !answers[i].reason);
        if (answers[i].reason)
            assert_string_equal(hook.driver.verdicts.items[0].reason, answers[i].reason);
        end(&hook);
    }
}

/* RFC 4231, test case 2. */
static void test_signature(void **state)
{
    struct hook hook;

    begin(&hook, "hmac_key: Jefe\n");
    offer(&hook, 0xAB, 1, "what do ya want for nothing?");
    until_empty(&hook);
    assert_non_null(strstr(hook.request,
                           "\r\nX-Weir-Signature: sha256=5bdcc146bf60754e6a042426089575c75a003f089d2"
                           "739839dec58b964ec3843\r\n"));
    assert_non_null(strstr(hook.request, "\r\nX-Weir-Id: 000000000000000000000000000000ab\r\n"));
    end(&hook);
}

static void test_wrong_settings(void **state)
{
    const char *wrong[] = {"url: 'ftp://x'\n", "url: 'http://127.0.0.1:9'\nheaders: {'A b': c}\n",
                           "url: 'http://127.0.0.1:9'\nhmac_key: ''\n", "{}\n"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct driver driver;
        struct error error = {""};

        assert_int_equal(driver_try(&driver, "webhook", wrong[i], &error), STATUS_FATAL);
        assert_true(error.text[0]);
        driver_close(&driver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posts),
        cmocka_unit_test(test_tries_again),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_order_within_an_episode),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_waits_as_long_as_told),
        cmocka_unit_test(test_slack_answers),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_wrong_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
