/* The notification log of one outlet whose sink tells people. What was sent is noted in a small file at once
 * and in the log by an urgent keeper job, one at a time. What both had at the start says what need not be
 * sent again, and of what receivers still believe that it fires. A handful of calls a second. One thread.
 * Tried and dropped: to log an alert before it is sent, too. An entry without a mark is sent again anyway,
 * and people waited for the disk: a checkpoint's write takes some tenths of a second there. */
#pragma once
#include "pipeline/keeper.h"
#include "pipeline/outbox.h"
#include "pipeline/sent_file.h"
#include "pipeline/store.h"

struct notice {
    struct notification notification;
    char *body;
};

struct notice_list {
    struct notice *items;
    size_t count, capacity;
};

struct notices_job {
    struct keeper_job job;
    struct notice_list list;
    struct notification *rows;
    size_t row_capacity;
};

/* The last word that receivers had of a dedup key before the start. */
struct notices_told {
    struct notification notification;
    char *body;
    size_t order;     /* in the log */
    int64_t known_us; /* the greatest event time of a line or prompt of the key that was told */
    bool settled;     /* it does not fire, there is newer word of it, or there will be */
};

struct notices {
    uint64_t sink;
    struct keeper *keeper;
    struct notice_list waiting;
    struct notices_job job;
    struct id128 *sent; /* lines that the log had as sent at the start, sorted */
    size_t sent_count, sent_capacity;
    struct notices_told *told; /* by dedup key; those that are settled go */
    size_t told_count, told_capacity;
    uint64_t added, stored, cut; /* entries: ever, in the store, before the cut */
    struct sent_file *sent_file; /* of all outlets */
};

/* More is not on the way and unmarked at a time, but for what is tried again: what is sent and not marked
 * when the machine dies may be sent again. Enough for the tenths of a second that the store may take. One by
 * one where the process that goes on may be another, which has no file of what this one sent. So many may
 * wait for another attempt and hold up no other. */
enum { NOTICES_UNMARKED_MAX = 16, NOTICES_UNMARKED_MOVING_MAX = 1, NOTICES_WAITING_MAX = 64 };

/* The body of an alert in outbox and log: the layout's version and the packed alert. */
void notices_pack(const struct alert *alert, struct buffer *out);
bool notices_unpack(struct span body, struct alert *ret_alert);

void notices_close(struct notices *notices); /* no job of it runs any more */
/* What the file has is marked. */
enum status notices_load(struct notices *notices, struct store *store, struct error *ret_error);

bool notices_sent(const struct notices *notices, struct id128 line);
void notices_mark(struct notices *notices, const struct outbox_item *item, int64_t now_us);
void notices_advance(struct notices *notices);
size_t notices_unmarked(const struct notices *notices); /* sent, and the log does not have it yet */

/* A cut has all entries that were made before it: it no longer has their documents. */
void notices_freeze(struct notices *notices);
bool notices_saved(const struct notices *notices);

struct notices_told *notices_find(const struct notices *notices, struct id128 dedup); /* or NULL */

/* The resolve that takes it back; its texts are borrowed from the told. */
struct alert notices_withdrawal(const struct notices_told *told, int64_t at_us);

/* The next that fires for receivers and for nobody else, told before `passed_us`; settles it. NULL: none.
 * What is settled is forgotten by the next call, as they come every turn. */
const struct notices_told *notices_withdraw(struct notices *notices, int64_t passed_us,
                                            bool (*is_open)(void *owner, struct id128 dedup), void *owner);
