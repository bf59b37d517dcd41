/* What pages tell each other: messages that may be anything, and, on a real broker, two processes; without
 * one only what needs none is tested (exit 77). Costs are printed, and judged with a wide margin. */
#include "base/state.h"
#include "base/timestamp.h"
#include "pipeline/cluster_page.h"
#include "tests/base/random.h"
#include "tests/pipeline/cluster_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OWN = 7, OTHER = 8, OUT_LIMIT = 1 << 24, RATE = 10000, SECONDS = 5 };

static struct view_line line_of(enum document_kind kind, uint64_t group, int64_t time_us, uint64_t version,
                                const char *text)
{
    return (struct view_line){.kind = kind,
                              .group = {.high = 1, .low = group},
                              .time_us = time_us,
                              .version = version,
                              .text = span_of(text)};
}

static void put(struct view *view, enum document_kind kind, uint64_t group, uint64_t version,
                const char *text)
{
    struct view_line line = line_of(kind, group, now_us(), version, text);

    view_put(view, &line);
}

static bool shows(struct view *view, enum document_kind kind, const char *text)
{
    struct buffer out;
    bool found;

    buffer_init(&out, OUT_LIMIT);
    view_list(view, kind, &(struct view_query){.limit = VIEW_ALERTS_MAX}, &out);
    found = memmem(out.data, out.size, text, strlen(text)) != NULL;
    buffer_free(&out);
    return found;
}

static void pack_sample(struct buffer *out)
{
    const struct view_line lines[] = {
        line_of(DOC_ALERT, 1, 10, 1, "{\"state\":\"firing\"}"),
        line_of(DOC_RUN, 2, 20, 3, "{\"state\":\"running\",\"key\":\"x}\\\"\"}"),
        line_of(DOC_BUCKET, 3, 30, 5, "{\"measure\":\"m\",\"key\":{},\"count\":1}"),
    };

    cluster_page_pack_head(OTHER, out);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cluster_page_pack_line(&lines[i], out);
}

static void test_lines_are_put_as_they_were_packed(void **state)
{
    struct view *view = view_new();
    struct buffer message, out;
    uint64_t lines;

    buffer_init(&message, OUT_LIMIT);
    buffer_init(&out, OUT_LIMIT);
    pack_sample(&message);
    assert_true(cluster_page_unpack(buffer_span(&message), OTHER, view, &lines));
    assert_int_equal(lines, 0);
    assert_false(shows(view, DOC_ALERT, "firing"));
    assert_true(cluster_page_unpack(buffer_span(&message), OWN, view, &lines));
    assert_int_equal(lines, 3);
    assert_true(shows(view, DOC_ALERT, "[{\"state\":\"firing\"}]"));
    assert_true(shows(view, DOC_RUN, "[{\"state\":\"running\",\"key\":\"x}\\\"\"}]"));
    assert_true(view_points(view, (struct id128){.high = 1, .low = 3}, &out));
    assert_int_equal(out.size, strlen("[{\"measure\":\"m\",\"key\":{},\"count\":1}]"));
    buffer_free(&out);
    buffer_free(&message);
    view_free(view);
}

static void assert_refused(struct view *view, const struct view_line *line)
{
    struct buffer message;
    uint64_t lines = 99;

    buffer_init(&message, OUT_LIMIT);
    pack_sample(&message);
    cluster_page_pack_line(line, &message);
    assert_false(cluster_page_unpack(buffer_span(&message), OWN, view, &lines));
    assert_int_equal(lines, 99);
    assert_true(shows(view, DOC_ALERT, "[]") && shows(view, DOC_RUN, "[]"));
    buffer_free(&message);
}

/* None of its lines is put. */
static void test_one_bad_line_refuses_the_message(void **state)
{
    static const char *const texts[] = {
        "",      "[1]",        "{\"a\":1",         "{\"a\":1}}", "{\"a\":1},{}",
        "{a:1}", "{\"a\":01}", "{\"a\":\"\xff\"}", "{} x",       "null"};
    struct view *view = view_new();

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct view_line line = line_of(DOC_ALERT, 1, 10, 1, texts[i]);

        assert_refused(view, &line);
    }
    struct view_line of_no_kind = line_of((enum document_kind)DOC_KINDS, 1, 10, 1, "{}");
    assert_refused(view, &of_no_kind);
    struct view_line of_no_time = line_of(DOC_RUN, 1, TIME_NONE, 1, "{}");
    assert_refused(view, &of_no_time);
    struct view_line far = line_of(DOC_RUN, 1, INT64_MAX, 1, "{}");
    assert_refused(view, &far);
    view_free(view);
}

/* What is JSON but not of its kind is left out alone. */
static void test_buckets_without_a_series_are_left_out(void **state)
{
    static const char *const texts[] = {"{}",
                                        "{\"measure\":\"m\"}",
                                        "{\"measure\":5,\"key\":{}}",
                                        "{\"measure\":\"m\",\"key\":[1]}",
                                        "{\"measure\":\"m\",\"key\":\"k\"}",
                                        "{\"key\":{},\"measure\":\"m\"}",
                                        "{\"a\":\"\\\"measure\\\":\\\"m\\\",\\\"key\\\":{\"}"};
    struct view *view = view_new();
    struct buffer message;
    uint64_t lines;

    buffer_init(&message, OUT_LIMIT);
    pack_sample(&message);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct view_line line = line_of(DOC_BUCKET, 50 + i, 10, 1, texts[i]);

        cluster_page_pack_line(&line, &message);
    }
    struct view_line event = line_of(DOC_EVENT, 1, 10, 1, "{}");
    cluster_page_pack_line(&event, &message);
    assert_true(cluster_page_unpack(buffer_span(&message), OWN, view, &lines));
    assert_int_equal(lines, 3);
    buffer_free(&message);
    view_free(view);
}

static void test_damaged_messages(void **state)
{
    struct view *view = view_new();
    struct buffer message;
    uint64_t random = 5, lines;
    unsigned refused = 0;

    buffer_init(&message, OUT_LIMIT);
    pack_sample(&message);
    size_t size = message.size;
    char *copy = malloc(size);
    assert_non_null(copy);
    for (size_t cut = 0; cut < size; cut++) {
        memcpy(copy, message.data, cut);
        refused += !cluster_page_unpack(span_make(copy, cut), OWN, view, &lines);
    }
    assert_int_equal(refused, size - 3); /* an empty message and the ends of two lines are whole */
    for (unsigned i = 0; i < 20000; i++) {
        memcpy(copy, message.data, size);
        for (unsigned k = 0; k <= i % 4; k++)
            copy[random_below(&random, size)] = (char)random_below(&random, 256);
        cluster_page_unpack(span_make(copy, size), OWN, view, &lines);
    }
    for (unsigned i = 0; i < 20000; i++) {
        for (size_t k = 0; k < size; k++)
            copy[k] = (char)random_below(&random, i % 2 ? 256 : 6);
        copy[0] = 1;
        cluster_page_unpack(span_make(copy, size), OWN, view, &lines);
    }
    free(copy);
    buffer_free(&message);
    view_free(view);
}

/* A process with a page. */
struct teller {
    struct party party;
    struct view *view;
    struct cluster_page *page;
};

static void teller_open(struct teller *teller, const char *instance)
{
    struct error error;

    party_join(&teller->party, 2, instance);
    teller->view = view_new();
    if (cluster_page_open(teller->party.cluster, teller->view, &teller->page, &error))
        fail_msg("%s", error.text);
}

static void teller_close(struct teller *teller)
{
    cluster_page_close(teller->page);
    party_leave(&teller->party);
    view_free(teller->view);
}

static void serve_one(struct teller *teller)
{
    if (party_poll(&teller->party, 0))
        fail_msg("%s", teller->party.error.text);
    cluster_page_poll(teller->page);
}

static void serve(struct teller *first, struct teller *second)
{
    serve_one(first);
    if (second)
        serve_one(second);
    usleep(10000);
}

/* How long it takes until `listener` shows it. */
static double wait_for(struct teller *listener, struct teller *other, enum document_kind kind,
                       const char *text)
{
    int64_t begin_us = now_us();

    while (!shows(listener->view, kind, text)) {
        serve(listener, other);
        if (now_us() - begin_us > PATIENCE_S * INT64_C(1000000))
            fail_msg("'%s' does not come", text);
    }
    return (double)(now_us() - begin_us) / 1e6;
}

static void wait_until_sent(struct teller *teller, struct teller *other, uint64_t lines)
{
    int64_t begin_us = now_us();

    while (cluster_page_figures(teller->page).sent < lines) {
        serve(teller, other);
        if (now_us() - begin_us > PATIENCE_S * INT64_C(1000000))
            fail_msg("sent stays below %llu", (unsigned long long)lines);
    }
}

static void test_two_pages_show_the_same(void **state)
{
    struct teller a, b;

    name_application("page");
    teller_open(&a, "a");
    teller_open(&b, "b");
    put(a.view, DOC_ALERT, 1, 1, "{\"n\":\"warm up\"}"); /* connections and leaders are found first */
    wait_for(&b, &a, DOC_ALERT, "warm up");
    put(a.view, DOC_ALERT, 1, 2, "{\"n\":\"alert two\"}");
    double seconds = wait_for(&b, &a, DOC_ALERT, "alert two");
    print_message("  a line is on the other page after %.3f s\n", seconds);
    assert_true(seconds < 1);
    assert_false(shows(b.view, DOC_ALERT, "warm up"));

    /* It comes late: a newer one of this process stays; and one is as new. */
    put(b.view, DOC_RUN, 5, 9, "{\"n\":\"newest run\"}");
    put(a.view, DOC_RUN, 5, 8, "{\"n\":\"older run\"}");
    put(a.view, DOC_RUN, 6, 8, "{\"n\":\"other run\"}");
    wait_for(&b, &a, DOC_RUN, "other run");
    wait_for(&a, &b, DOC_RUN, "newest run");
    assert_false(shows(b.view, DOC_RUN, "older run") || shows(a.view, DOC_RUN, "older run"));

    /* A line may be seen by the other before the broker's word for it is here. */
    wait_until_sent(&a, &b, 4);
    wait_until_sent(&b, &a, 1);
    struct cluster_page_figures of_a = cluster_page_figures(a.page), of_b = cluster_page_figures(b.page);
    assert_int_equal(of_a.sent, 4);
    assert_int_equal(of_a.received, 1); /* not its own */
    assert_int_equal(of_b.sent, 1);
    assert_int_equal(of_b.received, 4);
    assert_int_equal(of_a.dropped + of_b.dropped + of_a.broken_messages + of_b.broken_messages, 0);

    /* What it told itself before it was started again, too; the last of it at the close. */
    put(a.view, DOC_RUN, 7, 1, "{\"n\":\"last words\"}");
    teller_close(&a);
    teller_open(&a, "a");
    wait_for(&a, &b, DOC_RUN, "last words");
    assert_true(shows(a.view, DOC_ALERT, "alert two") && shows(a.view, DOC_RUN, "newest run"));
    assert_false(shows(a.view, DOC_RUN, "older run"));
    assert_int_equal(cluster_page_figures(a.page).received, 6);
    teller_close(&a);
    teller_close(&b);
}

static void send_raw(const void *data, size_t size, int64_t time_ms)
{
    rd_kafka_t *client = other_client(RD_KAFKA_PRODUCER);
    char topic[128];

    name_topic(topic, "page");
    assert_int_equal(rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                       RD_KAFKA_V_VALUE((void *)(uintptr_t)data, size),
                                       RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(client, PATIENCE_S * 1000), 0);
    rd_kafka_destroy(client);
}

static void test_broken_and_old_messages_are_passed_over(void **state)
{
    struct teller a;
    struct buffer message;
    int64_t now_ms = now_us() / 1000;

    name_application("garbage");
    teller_open(&a, "a");
    buffer_init(&message, OUT_LIMIT);
    send_raw("garbage", 7, now_ms);
    send_raw("", 0, now_ms);
    cluster_page_pack_head(OTHER, &message);
    struct view_line line = line_of(DOC_ALERT, 1, 10, 1, "{\"n\":\"of long ago\"}");
    cluster_page_pack_line(&line, &message);
    send_raw(message.data, message.size, now_ms - 2 * 3600 * 1000);
    buffer_clear(&message);
    pack_sample(&message);
    send_raw(message.data, message.size, now_ms);
    wait_for(&a, NULL, DOC_ALERT, "firing");
    assert_false(shows(a.view, DOC_ALERT, "of long ago"));
    assert_int_equal(cluster_page_figures(a.page).broken_messages, 2);
    assert_int_equal(cluster_page_figures(a.page).received, 3);
    buffer_free(&message);
    teller_close(&a);
}

/* While nobody polls, as in a long release; runs and alerts have room when buckets have none left. */
static void test_too_many_lines_are_dropped(void **state)
{
    static char text[1024];
    struct teller a, b;

    name_application("many");
    teller_open(&a, "a");
    teller_open(&b, "b");
    snprintf(text, sizeof text, "{\"measure\":\"m\",\"key\":{},\"count\":\"%0900d\"}", 1);
    for (unsigned i = 0; i < 10000; i++)
        put(a.view, DOC_BUCKET, i % 100, i, text);
    uint64_t dropped = cluster_page_figures(a.page).dropped;
    assert_in_range(dropped, 5000, 8000);
    put(a.view, DOC_ALERT, 1, 1, "{\"n\":\"yet heard\"}");
    assert_int_equal(cluster_page_figures(a.page).dropped, dropped);
    wait_for(&b, &a, DOC_ALERT, "yet heard");
    assert_int_equal(cluster_page_figures(b.page).received, 10000 + 1 - dropped);
    assert_int_equal(cluster_page_figures(a.page).dropped, dropped);

    char *huge = malloc(1 << 20); /* larger than a message of the topic */
    assert_non_null(huge);
    memset(huge, ' ', 1 << 20);
    memcpy(huge, "{}", 2);
    struct view_line line = {.kind = DOC_RUN, .text = span_make(huge, 1 << 20)};
    view_put(a.view, &line);
    assert_int_equal(cluster_page_figures(a.page).dropped, dropped + 1);
    line.text.size = 512 << 10;
    view_put(a.view, &line);
    put(a.view, DOC_ALERT, 1, 2, "{\"n\":\"after the huge\"}");
    wait_for(&b, &a, DOC_ALERT, "after the huge");
    assert_int_equal(cluster_page_figures(b.page).received, 10000 + 3 - dropped);
    free(huge);
    teller_close(&a);
    teller_close(&b);
}

/* A worker that tells much. */
struct putter {
    struct view *view;
    _Atomic bool ended;
    int64_t total_ns, most_ns;
};

static int64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void *put_many(void *argument)
{
    static char text[512];
    struct putter *putter = argument;
    int64_t begin_ns = monotonic_ns();

    snprintf(text, sizeof text, "{\"measure\":\"m\",\"key\":{},\"count\":\"%0400d\"}", 1);
    for (unsigned i = 0; i < RATE * SECONDS; i++) {
        int64_t before_ns = monotonic_ns(), took_ns;

        put(putter->view, DOC_BUCKET, i % 500, i, text);
        took_ns = monotonic_ns() - before_ns;
        putter->total_ns += took_ns;
        putter->most_ns = took_ns > putter->most_ns ? took_ns : putter->most_ns;
        if (i % (RATE / 100) == 0)
            while (monotonic_ns() - begin_ns < INT64_C(1000000000) * i / RATE)
                usleep(1000);
    }
    putter->ended = true;
    return NULL;
}

/* ns a put; with pages, until the second has heard the last line. */
static double run_putter(struct view *view, struct teller *first, struct teller *second)
{
    struct putter putter = {.view = view};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, put_many, &putter), 0);
    while (!putter.ended) {
        if (first)
            serve(first, second);
        usleep(90000);
    }
    pthread_join(thread, NULL);
    if (first) {
        put(view, DOC_ALERT, 1, 1, "{\"n\":\"the end\"}");
        double seconds = wait_for(second, first, DOC_ALERT, "the end");
        print_message("  the last line is on the other page after %.3f s\n", seconds);
    }
    print_message("  %s: %.0f ns a put, at most %.0f us\n", first ? "told to others" : "not told",
                  (double)putter.total_ns / (RATE * SECONDS), (double)putter.most_ns / 1e3);
    return (double)putter.total_ns / (RATE * SECONDS);
}

static void test_a_worker_is_not_slowed_down(void **state)
{
    struct view *alone = view_new();
    struct teller a, b;

    name_application("rate");
    teller_open(&a, "a");
    teller_open(&b, "b");
    run_putter(alone, NULL, NULL);
    double ns = run_putter(a.view, &a, &b);
    struct cluster_page_figures of_a = cluster_page_figures(a.page), of_b = cluster_page_figures(b.page);
    print_message("  sent %llu, dropped %llu, received %llu\n", (unsigned long long)of_a.sent,
                  (unsigned long long)of_a.dropped, (unsigned long long)of_b.received);
    assert_true(ns < 100000); /* of the 100 us that there are for each */
    assert_int_equal(of_b.received + of_a.dropped, RATE * SECONDS + 1);
    assert_in_range(of_a.dropped, 0, RATE); /* of a machine that others use as well */
    teller_close(&a);
    teller_close(&b);
    view_free(alone);
}

int main(void)
{
    const struct CMUnitTest without_broker[] = {
        cmocka_unit_test(test_lines_are_put_as_they_were_packed),
        cmocka_unit_test(test_one_bad_line_refuses_the_message),
        cmocka_unit_test(test_buckets_without_a_series_are_left_out),
        cmocka_unit_test(test_damaged_messages),
    };
    const struct CMUnitTest with_broker[] = {
        cmocka_unit_test(test_two_pages_show_the_same),
        cmocka_unit_test(test_broken_and_old_messages_are_passed_over),
        cmocka_unit_test(test_too_many_lines_are_dropped),
        cmocka_unit_test(test_a_worker_is_not_slowed_down),
    };
    int failures = cmocka_run_group_tests(without_broker, NULL, NULL);

    if (failures)
        return failures;
    return find_broker() ? cmocka_run_group_tests(with_broker, NULL, NULL) : SKIPPED;
}
