#include "pipeline/notices.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

enum { LAYOUT = 1 };

void notices_pack(const struct alert *alert, struct buffer *out)
{
    pack_u8(out, LAYOUT);
    alert_pack(alert, out);
}

bool notices_unpack(struct span body, struct alert *ret_alert)
{
    struct unpack in = unpack_begin(body);

    if (unpack_u8(&in) != LAYOUT)
        return false;
    alert_unpack(&in, ret_alert);
    return unpack_ended(&in);
}

static void empty(struct notice_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].body);
    list->count = 0;
}

void notices_close(struct notices *notices)
{
    empty(&notices->waiting);
    empty(&notices->job.list);
    for (size_t i = 0; i < notices->told_count; i++)
        free(notices->told[i].body);
    free(notices->waiting.items);
    free(notices->job.list.items);
    free(notices->job.rows);
    free(notices->sent);
    free(notices->told);
}

static int compare_ids(const void *left, const void *right)
{
    return id_compare(*(const struct id128 *)left, *(const struct id128 *)right);
}

static int compare_told(const void *left, const void *right)
{
    const struct notification *a = &((const struct notices_told *)left)->notification,
                              *b = &((const struct notices_told *)right)->notification;
    int key = id_compare(a->dedup, b->dedup);

    if (key != 0)
        return key;
    return ((const struct notices_told *)left)->order < ((const struct notices_told *)right)->order ? -1 : 1;
}

static void list_add(struct notices *notices, const struct notification *notification)
{
    struct notice_list *list = &notices->waiting;
    struct notice *notice;

    list->items = memory_reserve(list->items, &list->capacity, list->count + 1, sizeof *list->items);
    notice = &list->items[list->count++];
    *notice = (struct notice){
        .notification = *notification,
        .body = memory_text(notification->body.data, notification->body.size),
    };
    notice->notification.body.data = notice->body;
    notices->added++;
}

static void add_line(struct notices *notices, struct id128 line)
{
    notices->sent = memory_reserve(notices->sent, &notices->sent_capacity, notices->sent_count + 1,
                                   sizeof *notices->sent);
    notices->sent[notices->sent_count++] = line;
}

static void add_word(struct notices *notices, const struct notification *notification)
{
    struct notices_told *told;

    notices->told = memory_reserve(notices->told, &notices->told_capacity, notices->told_count + 1,
                                   sizeof *notices->told);
    told = &notices->told[notices->told_count++];
    *told = (struct notices_told){
        .notification = *notification,
        .order = notices->told_count,
        .known_us = notification->at_us,
        .settled = !notification->firing,
    };
    told->body = memory_text(notification->body.data, notification->body.size);
    told->notification.body.data = told->body;
}

static bool take_sent(void *owner, const struct notification *notification)
{
    struct notices *notices = owner;

    if (notification->sink == notices->sink && notification->sent) {
        add_line(notices, notification->line);
        add_word(notices, notification);
    }
    return true;
}

static bool has_line(const struct id128 *lines, size_t count, struct id128 line)
{
    return count > 0 && bsearch(&line, lines, count, sizeof line, compare_ids);
}

static struct notices_told *find_told(struct notices_told *told, size_t count, struct id128 dedup)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = id_compare(told[middle].notification.dedup, dedup);

        if (order == 0)
            return &told[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Of each dedup key the last word stays. */
static void sort_words(struct notices *notices)
{
    size_t kept = 0;

    if (notices->sent_count == 0)
        return;
    qsort(notices->sent, notices->sent_count, sizeof *notices->sent, compare_ids);
    qsort(notices->told, notices->told_count, sizeof *notices->told, compare_told);
    for (size_t i = 0; i < notices->told_count; i++) {
        struct notices_told *told = &notices->told[i], *next = told + 1;

        if (i + 1 == notices->told_count || !id_equal(next->notification.dedup, told->notification.dedup)) {
            told->order = 0;
            notices->told[kept++] = *told;
            continue;
        }
        if (told->known_us > next->known_us)
            next->known_us = told->known_us;
        free(told->body);
    }
    notices->told_count = kept;
}

/* What the log lacks of the file. Another process may have told more since, and has moved away again. */
static void take_noted(struct notices *notices)
{
    const struct sent_file *file = notices->sent_file;
    size_t sent_count = notices->sent_count, told_count = notices->told_count;

    for (size_t i = 0; i < file->count; i++) {
        const struct notification *noted = &file->items[i];

        if (noted->sink != notices->sink || has_line(notices->sent, sent_count, noted->line))
            continue;
        const struct notices_told *told = find_told(notices->told, told_count, noted->dedup);

        list_add(notices, noted);
        add_line(notices, noted->line);
        if (!told || told->notification.told_us <= noted->told_us)
            add_word(notices, noted);
    }
}

enum status notices_load(struct notices *notices, struct store *store, struct error *ret_error)
{
    struct alert alert;

    if (store_notifications(store, take_sent, notices, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    sort_words(notices);
    take_noted(notices);
    sort_words(notices);
    for (size_t i = 0; i < notices->told_count; i++)
        if (!notices_unpack(notices->told[i].notification.body, &alert))
            return fail(ret_error, "notification log: an alert is broken, or of a newer weir");
    return STATUS_OK;
}

bool notices_sent(const struct notices *notices, struct id128 line)
{
    return has_line(notices->sent, notices->sent_count, line);
}

void notices_mark(struct notices *notices, const struct outbox_item *item, int64_t now_us)
{
    struct notification notification;
    struct alert alert;
    bool whole = notices_unpack(item->document.body, &alert);

    assert(whole);
    notification = (struct notification){.sink = notices->sink,
                                         .line = alert.id,
                                         .dedup = alert.dedup,
                                         .episode = alert.episode,
                                         .at_us = alert.at_us,
                                         .told_us = now_us,
                                         .firing = alert.state == ALERT_FIRING,
                                         .prompt = alert.prompt,
                                         .sent = true,
                                         .body = item->document.body};
    sent_file_add(notices->sent_file, &notification);
    list_add(notices, &notification);
}

static enum status run(struct keeper_job *job, const struct keeper_stores *stores, struct error *ret_error)
{
    const struct notices_job *notices = (const struct notices_job *)job;

    return store_notify(stores->store, notices->rows, notices->list.count, ret_error);
}

void notices_advance(struct notices *notices)
{
    struct notices_job *job = &notices->job;
    struct notice_list emptied;

    if (job->list.count > 0) {
        if (!atomic_load_explicit(&job->job.done, memory_order_acquire))
            return;
        notices->stored += job->list.count;
        empty(&job->list);
    }
    if (notices->waiting.count == 0)
        return;
    emptied = job->list;
    job->list = notices->waiting;
    notices->waiting = emptied;
    job->rows = memory_reserve(job->rows, &job->row_capacity, job->list.count, sizeof *job->rows);
    for (size_t i = 0; i < job->list.count; i++)
        job->rows[i] = job->list.items[i].notification;
    job->job = (struct keeper_job){.run = run, .urgent = true};
    keeper_submit(notices->keeper, &job->job);
}

size_t notices_unmarked(const struct notices *notices)
{
    return notices->waiting.count + notices->job.list.count;
}

void notices_freeze(struct notices *notices)
{
    notices->cut = notices->added;
}

bool notices_saved(const struct notices *notices)
{
    return notices->stored >= notices->cut;
}

struct notices_told *notices_find(const struct notices *notices, struct id128 dedup)
{
    return find_told(notices->told, notices->told_count, dedup);
}

struct alert notices_withdrawal(const struct notices_told *told, int64_t at_us)
{
    struct alert alert;
    bool whole = notices_unpack(told->notification.body, &alert);

    assert(whole);
    alert.revision++;
    alert.id = alert_line_id(alert.episode, alert.revision);
    alert.state = ALERT_RESOLVED;
    alert.reason = REASON_WITHDRAWN;
    alert.at_us = alert.ends_us = at_us;
    alert.prompt = alert.prompted = false;
    return alert;
}

/* After a restart most of what was ever told is settled. */
static void drop_settled(struct notices *notices)
{
    size_t kept = 0;

    for (size_t i = 0; i < notices->told_count; i++)
        if (notices->told[i].settled)
            free(notices->told[i].body);
        else
            notices->told[kept++] = notices->told[i];
    notices->told_count = kept;
}

const struct notices_told *notices_withdraw(struct notices *notices, int64_t passed_us,
                                            bool (*is_open)(void *owner, struct id128 dedup), void *owner)
{
    drop_settled(notices);
    for (size_t i = 0; i < notices->told_count; i++) {
        struct notices_told *told = &notices->told[i];

        if (told->notification.at_us >= passed_us || is_open(owner, told->notification.dedup))
            continue;
        told->settled = true;
        return told;
    }
    return NULL;
}
