/* What each class of a search server's answer means for the documents it is about. One table, one row a
 * class; the configuration may give a class another action (`verdicts: {item_forbidden: dead_letter}`). */
#pragma once
#include "base/options.h"

enum answer_class {
    ITEM_STORED,    /* 200, 201, noop */
    ITEM_CONFLICT,  /* 409: stored before, by this or a newer version */
    ITEM_BUSY,      /* 429, 503 and their like */
    ITEM_FAILED,    /* 500 */
    ITEM_INVALID,   /* 400: mapping, JSON, field limit, id */
    ITEM_FORBIDDEN, /* 401, 403: write block, permission */
    ITEM_NO_INDEX,  /* 404 index_not_found: auto-create off, missing data stream template */
    ITEM_CLOSED,    /* 400 index_closed */
    ITEM_NO_ROOM,   /* 400 validation_exception: the cluster's limit of shards */
    REQUEST_TAKEN,  /* 2xx: each item has its own answer */
    REQUEST_BUSY,   /* 408, 429, 502, 503, 504 */
    REQUEST_NETWORK,
    REQUEST_CUT,    /* connection closed without answer while a gzip body was sent */
    REQUEST_FAILED, /* 500 */
    REQUEST_INVALID,
    REQUEST_TOO_LARGE,
    REQUEST_REFUSED, /* 401, 403, 406 */
    REQUEST_FOREIGN, /* any other status, or a 2xx whose body is not a bulk answer: no search server there */
    ANSWER_CLASSES
};

enum verdict_action {
    VERDICT_DONE,
    VERDICT_RETRY,         /* for ever, with backoff: the queue is bounded, sources are held back */
    VERDICT_RETRY_LIMITED, /* VERDICT_RETRIES times, then dead letter */
    VERDICT_DEAD_LETTER,
    VERDICT_PAUSE, /* a person must mend something: one item every 30 s, nothing is dropped */
    VERDICT_HALVE, /* send two halves; a document alone is a dead letter */
    VERDICT_PLAIN, /* send once without compression */
    VERDICT_ITEMS, /* look at the items */
    VERDICT_ACTIONS
};

enum { VERDICT_RETRIES = 10 };

struct verdict_row {
    const char *name; /* in `verdicts:` */
    enum verdict_action action;
    const char *answers; /* for people */
};

extern const struct verdict_row verdict_rows[ANSWER_CLASSES];
extern const char *const verdict_action_names[VERDICT_ACTIONS + 1]; /* ends with NULL */

struct verdict_table {
    enum verdict_action actions[ANSWER_CLASSES];
};

/* The default actions with the pairs class -> action on top. STATUS_FATAL on an unknown class, or an action
 * that the class cannot have: done, retry, retry_limited, dead_letter and pause go everywhere, the others
 * only where they are the default. */
enum status verdict_table_make(const struct option_pairs *changes, struct verdict_table *ret_table,
                               struct error *ret_error);

/* status 0: absent. error_type as the server names it ("mapper_parsing_exception"), empty when there is
 * none. */
enum answer_class answer_class_of_item(int status, struct span error_type);

/* status 0: no answer came; `cut`: the connection was closed by the server after it had been made. */
enum answer_class answer_class_of_request(int status, bool cut, bool gzip);
