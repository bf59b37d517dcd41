/* A worker's put costs a copy into `waiting` under a lock; the cluster's thread swaps that for an empty
 * buffer some five times a second and cuts it into messages. All go to one partition, so that there is one
 * order for all. The lines of others come through the process's one reader, as parcels do. Dropped: asking
 * the other processes by HTTP, which needs their addresses, and what was told by one that is gone. */
#include "pipeline/cluster_page.h"

#include "base/counters.h"
#include "base/memory.h"
#include "base/state.h"
#include "base/timestamp.h"
#include "pipeline/cluster_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <yajl/yajl_parse.h>

enum {
    LAYOUT = 1,
    HEAD_BYTES = 1 + 8,
    MESSAGE_BYTES = 256 * 1024,  /* a message is closed beyond it */
    LINE_BYTES_MAX = 512 * 1024, /* with the rest of a message less than librdkafka's and the topic's limit */
    WAITING_BYTES_MAX = 4 * 1024 * 1024,
    BUCKET_BYTES_MAX = WAITING_BYTES_MAX / 4 * 3, /* many buckets do not crowd out runs and alerts */
    CLOSE_MS_MAX = 2000,
    CLOSE_STEP_MS = 50,
};

#define SEND_INTERVAL_US (200 * INT64_C(1000))
#define TAKE_US          (50 * INT64_C(1000))
#define BACK_MS          (3600 * INT64_C(1000))

struct cluster_page {
    struct cluster *cluster;
    struct view *view;
    uint64_t token; /* of this life of the process */

    pthread_mutex_t lock;
    struct buffer waiting; /* packed lines; under the lock */
    counter overflown;     /* written under the lock */

    /* The cluster's thread. */
    rd_kafka_t *teller;
    rd_kafka_queue_t *reports; /* of the teller: what was delivered */
    rd_kafka_queue_t *heard;
    struct buffer sending, message;
    int64_t sent_us;  /* monotonic */
    int64_t since_ms; /* of the clock: messages from before are not shown */
    counter sent, undelivered, received, broken;
};

void cluster_page_pack_head(uint64_t token, struct buffer *out)
{
    pack_u8(out, LAYOUT);
    pack_u64(out, token);
}

void cluster_page_pack_line(const struct view_line *line, struct buffer *out)
{
    pack_u8(out, (uint8_t)line->kind);
    pack_id(out, line->group);
    pack_i64(out, line->time_us);
    pack_u64(out, line->version);
    pack_text(out, line->text);
}

static struct view_line unpack_line(struct unpack *in)
{
    struct view_line line;

    line.kind = unpack_u8(in);
    line.group = unpack_id(in);
    line.time_us = unpack_time(in);
    line.version = unpack_u64(in);
    line.text = unpack_text(in);
    in->broken |= line.kind >= DOC_KINDS || line.time_us == TIME_NONE;
    return line;
}

/* Lines are told as they are, in one JSON list: one that is broken would break the whole answer. */
static bool is_object(struct span text)
{
    yajl_handle parser;
    bool whole;

    if (text.size < 2 || text.data[0] != '{')
        return false;
    parser = yajl_alloc(NULL, NULL, NULL);
    whole = yajl_parse(parser, (const unsigned char *)text.data, text.size) == yajl_status_ok &&
            yajl_complete_parse(parser) == yajl_status_ok;
    yajl_free(parser);
    return whole;
}

bool cluster_page_unpack(struct span bytes, uint64_t own, struct view *view, uint64_t *ret_lines)
{
    struct unpack in = unpack_begin(bytes), again;
    uint64_t lines = 0;

    in.broken |= unpack_u8(&in) != LAYOUT;
    if (unpack_u64(&in) == own && !in.broken) {
        *ret_lines = 0;
        return true;
    }
    again = in;
    while (!in.broken && in.at < in.end)
        in.broken |= !is_object(unpack_line(&in).text);
    if (in.broken)
        return false;
    while (again.at < again.end) {
        struct view_line line = unpack_line(&again);

        lines += view_hear(view, &line);
    }
    *ret_lines = lines;
    return true;
}

/* The view's tap, on the workers' threads. */
static void take_line(void *owner, const struct view_line *line)
{
    struct cluster_page *page = owner;
    size_t limit = line->kind == DOC_BUCKET ? BUCKET_BYTES_MAX : WAITING_BYTES_MAX;

    pthread_mutex_lock(&page->lock);
    if (line->text.size > LINE_BYTES_MAX || page->waiting.size + line->text.size > limit)
        counter_add(&page->overflown, 1);
    else
        cluster_page_pack_line(line, &page->waiting);
    pthread_mutex_unlock(&page->lock);
}

static void send_message(struct cluster_page *page, struct span lines, uintptr_t count)
{
    struct buffer *message = &page->message;
    rd_kafka_resp_err_t problem;

    buffer_clear(message);
    cluster_page_pack_head(page->token, message);
    buffer_put_span(message, lines);
    assert(!message->full);
    problem = rd_kafka_producev(page->teller, RD_KAFKA_V_TOPIC(page->cluster->page), RD_KAFKA_V_PARTITION(0),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_VALUE(message->data, message->size),
                                RD_KAFKA_V_OPAQUE((void *)count), RD_KAFKA_V_END);
    if (problem)
        counter_add(&page->undelivered, count);
}

static void send_waiting(struct cluster_page *page)
{
    struct buffer full;
    struct unpack in;

    pthread_mutex_lock(&page->lock);
    full = page->waiting;
    page->waiting = page->sending;
    pthread_mutex_unlock(&page->lock);
    page->sending = full;
    in = unpack_begin(buffer_span(&full));
    while (in.at < in.end) {
        const char *begin = in.at;
        uintptr_t count = 0;

        for (; in.at < in.end && in.at - begin < MESSAGE_BYTES; count++)
            unpack_line(&in);
        assert(!in.broken);
        send_message(page, span_make(begin, (size_t)(in.at - begin)), count);
    }
    buffer_clear(&page->sending);
}

/* Waits for the first one up to `wait_ms`; the opaque pointer is the number of lines. */
static void take_reports(struct cluster_page *page, int wait_ms)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(page->reports, wait_ms))) {
        const rd_kafka_message_t *message;

        while ((message = rd_kafka_event_message_next(event)))
            counter_add(message->err ? &page->undelivered : &page->sent, (uintptr_t)message->_private);
        rd_kafka_event_destroy(event);
        wait_ms = 0;
    }
}

static void take_message(struct cluster_page *page, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    uint64_t lines;

    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return;
    if (message->err) {
        cluster_warn(page->cluster, TROUBLE_OTHER, "cluster: the page does not show what others tell: %s: %s",
                     page->cluster->page, rd_kafka_message_errstr(message));
        return;
    }
    if (rd_kafka_message_timestamp(message, &type) < page->since_ms)
        return;
    if (cluster_page_unpack(span_make(message->payload, message->len), page->token, page->view, &lines))
        counter_add(&page->received, lines);
    else
        counter_add(&page->broken, 1);
}

void cluster_page_poll(struct cluster_page *page)
{
    int64_t begin_us = cluster_monotonic_us();
    rd_kafka_message_t *message;

    if (begin_us - page->sent_us >= SEND_INTERVAL_US) {
        page->sent_us = begin_us;
        send_waiting(page);
    }
    take_reports(page, 0);
    while (cluster_monotonic_us() - begin_us < TAKE_US &&
           (message = rd_kafka_consume_queue(page->heard, 0))) {
        take_message(page, message);
        rd_kafka_message_destroy(message);
    }
}

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void free_page(struct cluster_page *page)
{
    if (page->heard)
        rd_kafka_queue_destroy(page->heard);
    if (page->reports)
        rd_kafka_queue_destroy(page->reports);
    if (page->teller)
        rd_kafka_destroy(page->teller);
    buffer_free(&page->waiting);
    buffer_free(&page->sending);
    buffer_free(&page->message);
    pthread_mutex_destroy(&page->lock);
    free(page);
}

/* The offset is counted from the end without asking first: nothing here waits for a broker. */
static enum status listen_to_others(struct cluster_page *page, struct error *ret_error)
{
    page->heard = rd_kafka_queue_new(page->cluster->reader);
    if (rd_kafka_consume_start_queue(page->cluster->pages, 0, RD_KAFKA_OFFSET_TAIL(PAGE_MESSAGES_BACK),
                                     page->heard) == 0)
        return STATUS_OK;
    return fail(ret_error, "cluster: topic '%s' cannot be read: %s", page->cluster->page,
                rd_kafka_err2str(rd_kafka_last_error()));
}

enum status cluster_page_open(struct cluster *cluster, struct view *view, struct cluster_page **ret_page,
                              struct error *ret_error)
{
    struct cluster_page *page = memory_new(sizeof *page);
    ssize_t got = getrandom(&page->token, sizeof page->token, 0);

    assert(got == sizeof page->token);
    page->cluster = cluster;
    page->view = view;
    page->since_ms = clock_ms() - BACK_MS;
    pthread_mutex_init(&page->lock, NULL);
    buffer_init(&page->waiting, 2 * (size_t)WAITING_BYTES_MAX); /* what is packed beside the texts is less */
    buffer_init(&page->sending, 2 * (size_t)WAITING_BYTES_MAX);
    buffer_init(&page->message, HEAD_BYTES + MESSAGE_BYTES + 2 * (size_t)LINE_BYTES_MAX);
    if (cluster_client_new(cluster, CLUSTER_TELLER, NULL, &page->teller, ret_error))
        goto fail;
    page->reports = rd_kafka_queue_get_main(page->teller);
    if (listen_to_others(page, ret_error))
        goto fail;
    view_set_tap(view, take_line, page);
    *ret_page = page;
    return STATUS_OK;
fail:
    free_page(page);
    return STATUS_FATAL;
}

void cluster_page_close(struct cluster_page *page)
{
    view_set_tap(page->view, NULL, NULL);
    send_waiting(page);
    for (int waited_ms = 0; rd_kafka_outq_len(page->teller) > 0 && waited_ms < CLOSE_MS_MAX;
         waited_ms += CLOSE_STEP_MS)
        take_reports(page, CLOSE_STEP_MS);
    rd_kafka_consume_stop(page->cluster->pages, 0);
    free_page(page);
}

struct cluster_page_figures cluster_page_figures(const struct cluster_page *page)
{
    return (struct cluster_page_figures){.sent = counter_get(&page->sent),
                                         .dropped =
                                             counter_get(&page->overflown) + counter_get(&page->undelivered),
                                         .received = counter_get(&page->received),
                                         .broken_messages = counter_get(&page->broken)};
}
