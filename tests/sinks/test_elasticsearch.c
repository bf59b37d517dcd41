/* The sink against a server that keeps documents as the real ones do and makes trouble on demand. */
#include "schemas/templates.h"
#include "sinks/elasticsearch_setup.h"
#include "tests/base/random.h"
#include "tests/sinks/driver.h"
#include "tests/sinks/search_world.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND_US 1000000LL

struct scene {
    struct world world;
    struct driver driver;
};

static void begin(struct scene *scene, const char *more)
{
    world_start(&scene->world);
    driver_open(&scene->driver, "elasticsearch", "urls: 'http://127.0.0.1:%d'\nbulk_wait: 10ms\n%s",
                scene->world.server.port, more);
}

static void end(struct scene *scene)
{
    driver_close(&scene->driver);
    world_stop(&scene->world);
}

static void offer(struct scene *scene, enum document_kind kind, uint64_t number, uint64_t version,
                  const char *body)
{
    assert_int_equal(driver_offer(&scene->driver, kind, number, version, body), STATUS_OK);
}

static void offer_events(struct scene *scene, uint64_t count)
{
    for (uint64_t i = 1; i <= count; i++)
        offer(scene, DOC_EVENT, i, 0, "{\"m\":1}");
}

static void fill_body(char *ret_body, size_t size)
{
    memset(ret_body, 'x', size);
    memcpy(ret_body, "{\"m\":\"", 6);
    memcpy(ret_body + size - 3, "\"}", 3);
}

static void until_empty(struct scene *scene)
{
    while (scene->driver.type->pending(scene->driver.sink) > 0)
        assert_true(driver_step(&scene->driver));
}

static unsigned bulks(struct scene *scene)
{
    pthread_mutex_lock(&scene->world.server.lock);
    unsigned count = scene->world.bulks;
    pthread_mutex_unlock(&scene->world.server.lock);
    return count;
}

static void until_bulks(struct scene *scene, unsigned count)
{
    while (bulks(scene) < count)
        assert_true(driver_step(&scene->driver));
    driver_settle(&scene->driver, 20);
}

static void test_lines_of_each_kind(void **state)
{
    struct scene scene;

    begin(&scene, "prefix: acme\nnamespace: prod\n");
    offer(&scene, DOC_EVENT, 1, 0, "{\"e\":1}");
    offer(&scene, DOC_SIGNAL, 2, 0, "{\"s\":1}");
    offer(&scene, DOC_BUCKET, 3, 41, "{\"b\":1}");
    offer(&scene, DOC_RUN, 4, 2, "{\"r\":1}");
    offer(&scene, DOC_ALERT, 5, 3, "{\"a\":1}");
    until_empty(&scene);
    assert_string_equal(scene.world.bulk, "{\"create\":{\"_index\":\"logs-acme.events-prod\",\"_id\":"
                                          "\"00000000000000070000000000000001\"}}\n{\"e\":1}\n"
                                          "{\"create\":{\"_index\":\"logs-acme.signals-prod\",\"_id\":"
                                          "\"00000000000000070000000000000002\"}}\n{\"s\":1}\n"
                                          "{\"index\":{\"_index\":\"acme-buckets-v1-2023.11\",\"_id\":"
                                          "\"00000000000000070000000000000003\",\"version\":41,"
                                          "\"version_type\":\"external\"}}\n{\"b\":1}\n"
                                          "{\"index\":{\"_index\":\"acme-runs-v1-2023.11\",\"_id\":"
                                          "\"00000000000000070000000000000004\",\"version\":2,"
                                          "\"version_type\":\"external\"}}\n{\"r\":1}\n"
                                          "{\"index\":{\"_index\":\"acme-alerts-v1\",\"_id\":"
                                          "\"00000000000000090000000000000005\",\"version\":3,"
                                          "\"version_type\":\"external\"}}\n{\"a\":1}\n"
                                          "{\"create\":{\"_index\":\"logs-acme.alerts-prod\",\"_id\":"
                                          "\"00000000000000070000000000000005\"}}\n{\"a\":1}\n");
    assert_int_equal(driver_done(&scene.driver), 5); /* an alert is one ticket for two items */
    end(&scene);
}

static void test_splits(void **state)
{
    struct scene scene;

    begin(&scene, "bulk_documents: 10\n");
    offer_events(&scene, 25);
    until_empty(&scene);
    assert_int_equal(scene.world.bulks, 3);
    assert_int_equal(scene.world.count, 25);
    assert_int_equal(driver_done(&scene.driver), 25);
    end(&scene);
}

static int bad_line(struct world *world, const struct fake_request *request, bool gzip, size_t items)
{
    return memmem(request->body.data, request->body.size, "bad", 3) ? world->number : 0;
}

static void bisect(int status)
{
    struct scene scene;

    begin(&scene, "connections: 1\n");
    scene.world.request_trouble = bad_line;
    scene.world.number = status;
    for (uint64_t i = 1; i <= 64; i++)
        offer(&scene, DOC_EVENT, i, 0, i == 23 ? "{\"bad\":1}" : "{\"m\":1}");
    until_empty(&scene);
    assert_int_equal(driver_dead(&scene.driver), 1);
    assert_int_equal(driver_done(&scene.driver), 63);
    assert_int_equal(scene.world.count, 63);
    assert_int_equal(scene.world.bulks, 13); /* 1 + 2 * log2(64) */
    for (size_t i = 0; i < scene.driver.verdicts.count; i++)
        if (scene.driver.verdicts.items[i].dead_letter) {
            assert_int_equal(scene.driver.verdicts.items[i].ticket, 23);
            assert_string_equal(scene.driver.verdicts.items[i].body, "{\"bad\":1}");
        }
    end(&scene);
}

static void test_bisects_a_bad_line(void **state)
{
    bisect(400);
}

static void test_halves_too_large(void **state)
{
    bisect(413);
}

static int busy_first(struct world *world, const struct world_item *item)
{
    return item->version == 1 && world->number-- > 0 ? 429 : 0;
}

static void test_order_of_an_id(void **state)
{
    struct scene scene;

    begin(&scene, "connections: 4\nretry_base: 100ms\nretry_max: 100ms\n");
    scene.world.item_trouble = busy_first;
    scene.world.number = 5;
    offer(&scene, DOC_RUN, 1, 1, "{\"v\":1}");
    scene.driver.flush = true;
    until_bulks(&scene, 1);
    for (uint64_t version = 2; version <= 4; version++) {
        offer(&scene, DOC_RUN, 1, version, "{\"v\":2}");
        offer(&scene, DOC_RUN, 100 + version, 9, "{\"v\":9}"); /* others pass */
        driver_settle(&scene.driver, 3);
    }
    until_empty(&scene);
    const char *trail = scene.world.trail, *id = "00000000000000070000000000000001:";
    uint64_t last = 1;
    bool passed = strstr(trail, "00000000000000070000000000000066:9") <
                  strstr(trail, "00000000000000070000000000000001:2");

    for (const char *at = strstr(trail, id); at; at = strstr(at + 1, id)) {
        uint64_t version = strtoull(at + strlen(id), NULL, 10);

        assert_true(version >= last);
        last = version;
    }
    assert_int_equal(last, 4);
    assert_true(passed);
    assert_int_equal(
        world_find(&scene.world, "weir-runs-v1-2023.11", "00000000000000070000000000000001")->version, 4);
    assert_int_equal(driver_figures(&scene.driver).retries, 5);
    end(&scene);
}

static int trouble_while(struct world *world, const struct fake_request *request, bool gzip, size_t items)
{
    return world->number;
}

static void set_number(struct scene *scene, int number)
{
    pthread_mutex_lock(&scene->world.server.lock);
    scene->world.number = number;
    pthread_mutex_unlock(&scene->world.server.lock);
}

static void test_retry_after(void **state)
{
    struct scene scene;

    begin(&scene, "");
    scene.world.request_trouble = trouble_while;
    scene.world.request_headers = "Retry-After: 7\r\n";
    scene.world.number = 429;
    offer_events(&scene, 3);
    until_bulks(&scene, 1);
    int64_t first_us = scene.driver.now_us;

    set_number(&scene, 0);
    until_empty(&scene);
    assert_true(scene.driver.now_us - first_us > 6 * SECOND_US);
    assert_true(scene.driver.now_us - first_us < 9 * SECOND_US);
    assert_int_equal(scene.world.count, 3);
    end(&scene);
}

static void test_backoff_grows_for_ever(void **state)
{
    struct scene scene;

    begin(&scene, "retry_base: 1s\nretry_max: 8s\n");
    scene.world.request_trouble = trouble_while;
    scene.world.number = 503;
    scene.driver.step_us = 100000;
    offer_events(&scene, 3);
    until_bulks(&scene, 1);
    int64_t start_us = scene.driver.now_us;

    until_bulks(&scene, 21);
    int64_t waited_us = scene.driver.now_us - start_us;

    assert_true(waited_us > 75 * SECOND_US &&
                waited_us < 200 * SECOND_US); /* 1 + 2 + 4 + 17 * 8, half of it jitter */
    assert_int_equal(driver_dead(&scene.driver), 0);
    assert_true(scene.driver.warnings >= 2 && scene.driver.warnings <= 5); /* once a minute */
    set_number(&scene, 0);
    until_empty(&scene);
    assert_int_equal(scene.world.count, 3);
    end(&scene);
}

static void test_queue_is_bounded(void **state)
{
    struct scene scene;
    uint64_t taken = 0;
    char body[1024];

    fill_body(body, sizeof body);
    begin(&scene, "queue_bytes: 1MiB\nbulk_bytes: 64KiB\n");
    scene.world.request_trouble = trouble_while;
    scene.world.number = 503;
    while (driver_offer(&scene.driver, DOC_EVENT, taken + 1, 0, body) == STATUS_OK) {
        taken++;
        driver_step(&scene.driver);
    }
    assert_true(taken > 800 && taken < 1100);
    assert_true(driver_figures(&scene.driver).queue_bytes <= 1024 * 1024);
    assert_int_equal(scene.driver.type->pending(scene.driver.sink), taken);
    set_number(&scene, 0);
    until_empty(&scene);
    assert_int_equal(scene.world.count, taken);
    assert_int_equal(driver_offer(&scene.driver, DOC_EVENT, taken + 1, 0, body), STATUS_OK);
    end(&scene);
}

static int no_answer_to_many(struct world *world, const struct fake_request *request, bool gzip, size_t items)
{
    return items > (size_t)world->number ? -2 : 0;
}

/* A server that answers 300 documents in time, and 1000 not: nothing is sent as it was again. */
static void test_less_for_a_slow_server(void **state)
{
    struct scene scene;
    char body[1024];

    fill_body(body, sizeof body);
    begin(&scene, "timeout: 100ms\nretry_base: 1ms\nretry_max: 1ms\nconnections: 1\n");
    scene.world.request_trouble = no_answer_to_many;
    scene.world.number = 300;
    for (uint64_t i = 1; i <= 1000; i++)
        offer(&scene, DOC_EVENT, i, 0, body);
    until_empty(&scene);
    assert_int_equal(scene.world.count, 1000);
    assert_int_equal(driver_done(&scene.driver), 1000);
    assert_int_equal(driver_dead(&scene.driver), 0);
    assert_in_range(driver_figures(&scene.driver).requests, 6, 10); /* 1000, 500; then four or more of 250 */
    end(&scene);
}

static int cuts_gzip(struct world *world, const struct fake_request *request, bool gzip, size_t items)
{
    return gzip ? -1 : 0;
}

static void test_gzip(void **state)
{
    struct scene scene;

    begin(&scene, "compress: gzip\n");
    offer_events(&scene, 100);
    until_empty(&scene);
    assert_non_null(strstr(scene.world.headers, "Content-Encoding: gzip"));
    assert_int_equal(scene.world.count, 100);
    assert_int_equal(scene.world.bulks, 1);
    end(&scene);
    begin(&scene, "compress: gzip\n");
    scene.world.request_trouble = cuts_gzip;
    offer_events(&scene, 100);
    until_empty(&scene);
    assert_null(strstr(scene.world.headers, "Content-Encoding: gzip"));
    assert_int_equal(scene.world.count, 100);
    assert_int_equal(driver_figures(&scene.driver).requests, 2);
    end(&scene);
}

static int refused_while(struct world *world, const struct world_item *item)
{
    return world->number;
}

static void pause_and_resume(int status, bool whole)
{
    struct scene scene;

    begin(&scene, "bulk_documents: 10\nconnections: 1\n");
    if (whole)
        scene.world.request_trouble = trouble_while;
    else
        scene.world.item_trouble = refused_while;
    scene.world.number = status;
    scene.driver.step_us = 100000;
    offer_events(&scene, 30);
    until_bulks(&scene, 1);
    assert_true(driver_figures(&scene.driver).paused);
    assert_non_null(strstr(driver_figures(&scene.driver).pause_reason, status == 403 ? "403" : "40"));
    int64_t start_us = scene.driver.now_us;

    until_bulks(&scene, 5);
    assert_int_equal(scene.world.items_last, 1);
    assert_true(scene.driver.now_us - start_us >= 110 * SECOND_US);
    assert_true(scene.driver.now_us - start_us <= 130 * SECOND_US);
    assert_int_equal(driver_dead(&scene.driver), 0);
    assert_int_equal(scene.driver.type->pending(scene.driver.sink), 30);
    assert_in_range(scene.driver.warnings, 2, 3);
    assert_non_null(strstr(scene.driver.warning, "paused: HTTP 40"));
    set_number(&scene, 0);
    until_empty(&scene);
    assert_false(driver_figures(&scene.driver).paused);
    assert_int_equal(scene.world.count, 30);
    assert_int_equal(driver_done(&scene.driver), 30);
    end(&scene);
}

static void test_pause_on_write_block(void **state)
{
    pause_and_resume(403, false);
    pause_and_resume(404, false);
}

static void test_pause_on_credentials(void **state)
{
    pause_and_resume(401, true);
    pause_and_resume(403, true);
    pause_and_resume(406, true);
}

static void test_templates_missing(void **state)
{
    struct scene scene;

    begin(&scene, "");
    scene.world.templates = 0;
    scene.driver.step_us = 100000;
    offer_events(&scene, 5);
    driver_settle(&scene.driver, 300);
    assert_int_equal(scene.world.bulks, 0);
    assert_true(driver_figures(&scene.driver).paused);
    assert_string_equal(driver_figures(&scene.driver).pause_reason,
                        "templates missing: run `weir setup elasticsearch`");
    assert_in_range(scene.world.gets, 3, 4); /* every 10 s */
    assert_int_equal(scene.driver.warnings, 1);
    pthread_mutex_lock(&scene.world.server.lock);
    scene.world.templates = TEMPLATE_COUNT;
    pthread_mutex_unlock(&scene.world.server.lock);
    until_empty(&scene);
    assert_int_equal(scene.world.count, 5);
    assert_int_equal(scene.world.puts, 0);
    end(&scene);
}

static void test_templates_installed(void **state)
{
    struct scene scene;

    begin(&scene, "setup: auto\n");
    scene.world.templates = 0;
    offer_events(&scene, 5);
    until_empty(&scene);
    assert_int_equal(scene.world.puts, TEMPLATE_COUNT);
    assert_int_equal(scene.world.count, 5);
    end(&scene);
}

static int always_500(struct world *world, const struct world_item *item)
{
    return memmem(item->body.data, item->body.size, "bad", 3) ? 500 : 0;
}

static void test_500_is_given_up(void **state)
{
    struct scene scene;

    begin(&scene, "retry_base: 10ms\nretry_max: 10ms\n");
    scene.world.item_trouble = always_500;
    offer(&scene, DOC_EVENT, 1, 0, "{\"bad\":1}");
    offer(&scene, DOC_EVENT, 2, 0, "{\"m\":1}");
    until_empty(&scene);
    assert_int_equal(scene.world.bulks, 11); /* and 10 times more */
    assert_int_equal(driver_dead(&scene.driver), 1);
    assert_int_equal(driver_done(&scene.driver), 1);
    end(&scene);
}

static int invalid(struct world *world, const struct world_item *item)
{
    return 400;
}

static void test_reason_without_text(void **state)
{
    struct scene scene;

    begin(&scene, "");
    scene.world.item_trouble = invalid;
    offer(&scene, DOC_ALERT, 1, 1, "{\"code\":\"hunter2\"}");
    until_empty(&scene);
    assert_int_equal(scene.driver.verdicts.count, 1); /* both items refused, one dead letter */
    assert_string_equal(
        scene.driver.verdicts.items[0].reason,
        "HTTP 400 mapper_parsing_exception: failed to parse field [code] of type [long] in document "
        "with id '1'");
    assert_string_equal(scene.driver.verdicts.items[0].body, "{\"code\":\"hunter2\"}");
    assert_int_equal(scene.driver.verdicts.items[0].kind, DOC_ALERT);
    end(&scene);
}

static void test_next_address(void **state)
{
    struct scene scene;

    world_start(&scene.world);
    driver_open(&scene.driver, "elasticsearch",
                "urls: ['http://127.0.0.1:9', 'http://127.0.0.1:%d/']\nbulk_wait: 10ms\n",
                scene.world.server.port);
    offer_events(&scene, 5);
    until_empty(&scene);
    assert_int_equal(scene.world.count, 5);
    assert_non_null(strstr(scene.driver.warning, "127.0.0.1:9: "));
    end(&scene);
}

static void test_credentials(void **state)
{
    struct scene scene;

    begin(&scene, "user: ann\npassword: secret\n");
    offer_events(&scene, 1);
    until_empty(&scene);
    assert_non_null(strstr(scene.world.headers, "Authorization: Basic YW5uOnNlY3JldA=="));
    end(&scene);
    begin(&scene, "api_key: abc==\n");
    offer_events(&scene, 1);
    until_empty(&scene);
    assert_non_null(strstr(scene.world.headers, "Authorization: ApiKey abc=="));
    end(&scene);
}

static void test_verdicts_are_settable(void **state)
{
    struct scene scene;
    struct error error = {""};

    begin(&scene, "verdicts: {item_forbidden: dead_letter}\n");
    scene.world.item_trouble = refused_while;
    scene.world.number = 403;
    offer_events(&scene, 2);
    until_empty(&scene);
    assert_int_equal(driver_dead(&scene.driver), 2);
    end(&scene);
    const char *wrong[] = {"verdicts: {item_odd: done}\n", "verdicts: {item_busy: halve}\n",
                           "verdicts: {item_busy: often}\n", "prefix: UPPER\n", "namespace: 'a b'\n"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char yaml[256];

        snprintf(yaml, sizeof yaml, "urls: ['http://127.0.0.1:9']\n%s", wrong[i]);
        assert_int_equal(driver_try(&scene.driver, "elasticsearch", yaml, &error), STATUS_FATAL);
        assert_true(error.text[0]);
        driver_close(&scene.driver);
    }
}

/* Requests and items fail at random in every way that passes; the server must end with each document, the
 * newest version of each rewritten one, and each ticket told once. */
static int storm_request(struct world *world, const struct fake_request *request, bool gzip, size_t items)
{
    static const int troubles[] = {0, 0, 0, 0, 0, 503, 429, 502, -1, 500};

    return world->number > 0 ? troubles[random_below(&world->random, 10)] : 0;
}

static int storm_item(struct world *world, const struct world_item *item)
{
    static const int troubles[] = {0, 0, 0, 0, 0, 0, 0, 429, 503, 429};

    return world->number > 0 ? troubles[random_below(&world->random, 10)] : 0;
}

static void test_storm(void **state)
{
    enum { EVENTS = 3000, RUNS = 40 };
    struct scene scene;
    static bool told[EVENTS + 1000];
    uint64_t ticket = 0, versions[RUNS] = {0}, random = 7;

    memset(told, 0, sizeof told);
    begin(&scene,
          "connections: 3\ncompress: gzip\nretry_base: 20ms\nretry_max: 100ms\nbulk_documents: 100\n");
    scene.world.request_trouble = storm_request;
    scene.world.item_trouble = storm_item;
    scene.world.number = 1;
    while (ticket < EVENTS) {
        bool run = random_below(&random, 3) == 0;
        uint64_t number = random_below(&random, RUNS);
        struct document document = {
            .kind = run ? DOC_RUN : DOC_EVENT,
            .id = {.high = run ? 1 : 2, .low = run ? number : ticket},
            .version = run ? versions[number] + 1 : 0,
            .time_us = 1700000000000000,
            .body = SPAN_LITERAL("{\"m\":1}"),
            .ticket = ticket + 1,
        };

        if (scene.driver.type->offer(scene.driver.sink, &document) != STATUS_OK)
            break;
        ticket++;
        versions[number] += run;
        if (ticket % 20 == 0)
            assert_true(driver_step(&scene.driver));
    }
    while (driver_figures(&scene.driver).retries <= 100)
        assert_true(driver_step(&scene.driver));
    set_number(&scene, 0);
    until_empty(&scene);
    assert_int_equal(ticket, EVENTS);
    assert_int_equal(driver_dead(&scene.driver), 0);
    assert_int_equal(driver_done(&scene.driver), EVENTS);
    for (size_t i = 0; i < scene.driver.verdicts.count; i++) {
        assert_false(told[scene.driver.verdicts.items[i].ticket]);
        told[scene.driver.verdicts.items[i].ticket] = true;
    }
    for (unsigned i = 0; i < RUNS; i++) {
        char id[48];

        snprintf(id, sizeof id, "%016x%016x", 1, i);
        assert_int_equal(world_find(&scene.world, "weir-runs-v1-2023.11", id)->version, versions[i]);
    }
    end(&scene);
}

static void test_no_data_streams(void **state)
{
    struct scene scene;
    struct sink_context context = {.name = "test"};
    struct error error = {""};
    struct buffer report;

    begin(&scene, "setup: auto\n");
    buffer_init(&report, 65536);
    scene.world.templates = 0;
    scene.world.no_streams = true;
    assert_int_equal(elasticsearch_setup(scene.driver.settings, &context, &report, &error), STATUS_OK);
    buffer_put_char(&report, '\0');
    assert_non_null(strstr(report.data, "the server has no data streams: indices of their names instead\n"
                                        "installed: index template logs-weir.events-default\n"));
    assert_int_equal(scene.world.puts, TEMPLATE_COUNT + 1);
    scene.world.templates = 0;
    offer_events(&scene, 5);
    until_empty(&scene);
    assert_int_equal(scene.world.count, 5);
    buffer_free(&report);
    end(&scene);
}

static void test_setup_command(void **state)
{
    struct scene scene;
    struct sink_context context = {.name = "test"};
    struct error error = {""};
    struct buffer report;

    begin(&scene, "");
    buffer_init(&report, 65536);
    scene.world.templates = 0;
    assert_int_equal(elasticsearch_setup(scene.driver.settings, &context, &report, &error), STATUS_OK);
    buffer_put_char(&report, '\0');
    assert_non_null(strstr(report.data, "server: opensearch 2.19.6\n"));
    assert_non_null(strstr(report.data, "installed: index template logs-weir.events-default\n"));
    assert_int_equal(scene.world.puts, TEMPLATE_COUNT);
    scene.world.number = 405;
    buffer_clear(&report);
    assert_int_equal(elasticsearch_setup(scene.driver.settings, &context, &report, &error), STATUS_OK);
    buffer_put_char(&report, '\0');
    assert_non_null(strstr(report.data, "server: elasticsearch 9.0.0\n"));
    end(&scene);
    assert_int_equal(driver_try(&scene.driver, "elasticsearch", "urls: ['http://127.0.0.1:9']\n", &error),
                     STATUS_OK);
    assert_int_equal(elasticsearch_setup(scene.driver.settings, &context, &report, &error), STATUS_FATAL);
    assert_non_null(strstr(error.text, "127.0.0.1:9: "));
    driver_close(&scene.driver);
    buffer_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_each_kind),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_bisects_a_bad_line),
        cmocka_unit_test(test_halves_too_large),
        cmocka_unit_test(test_less_for_a_slow_server),
        cmocka_unit_test(test_order_of_an_id),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_backoff_grows_for_ever),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_pause_on_write_block),
        cmocka_unit_test(test_pause_on_credentials),
        cmocka_unit_test(test_templates_missing),
        cmocka_unit_test(test_templates_installed),
        cmocka_unit_test(test_500_is_given_up),
        cmocka_unit_test(test_reason_without_text),
        cmocka_unit_test(test_next_address),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_verdicts_are_settable),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_setup_command),
        cmocka_unit_test(test_no_data_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
