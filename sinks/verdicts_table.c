/* The table of verdicts, and how an HTTP status and an error type find their row. Runs once an item in
 * trouble and once a request. The type decides only where one status means both a broken document and a
 * broken server: Elasticsearch and OpenSearch agree on the status far more than on the types (mapping errors
 * alone have three). */
#include "sinks/verdicts_table.h"

#include <assert.h>

const char *const verdict_action_names[VERDICT_ACTIONS + 1] = {
    "done", "retry", "retry_limited", "dead_letter", "pause", "halve", "plain", "items", NULL,
};

// clang-format off
const struct verdict_row verdict_rows[ANSWER_CLASSES] = {
    [ITEM_STORED]       = {"item_stored", VERDICT_DONE, "item 200, 201, noop"},
    [ITEM_CONFLICT]     = {"item_conflict", VERDICT_DONE, "item 409 on create or external version"},
    [ITEM_BUSY]         = {"item_busy", VERDICT_RETRY, "item 429, 503"},
    [ITEM_FAILED]       = {"item_failed", VERDICT_RETRY_LIMITED, "item 500"},
    [ITEM_INVALID]      = {"item_invalid", VERDICT_DEAD_LETTER, "item 400: mapping, JSON, field limit, id"},
    [ITEM_FORBIDDEN]    = {"item_forbidden", VERDICT_PAUSE, "item 403: write block, permission"},
    [ITEM_NO_INDEX]     = {"item_no_index", VERDICT_PAUSE, "item 404: index not found, auto-create off, no template"},
    [ITEM_CLOSED]       = {"item_closed", VERDICT_PAUSE, "item 400: index closed"},
    [ITEM_NO_ROOM]      = {"item_no_room", VERDICT_PAUSE, "item 400: the cluster's limit of shards is reached"},
    [REQUEST_TAKEN]     = {"request_taken", VERDICT_ITEMS, "request 200"},
    [REQUEST_BUSY]      = {"request_busy", VERDICT_RETRY, "request 429, 503, 502, 504, 408"},
    [REQUEST_NETWORK]   = {"request_network", VERDICT_RETRY, "no answer"},
    [REQUEST_CUT]       = {"request_cut", VERDICT_PLAIN, "connection closed while sending gzip"},
    [REQUEST_FAILED]    = {"request_failed", VERDICT_RETRY_LIMITED, "request 500"},
    [REQUEST_INVALID]   = {"request_invalid", VERDICT_HALVE, "request 400"},
    [REQUEST_TOO_LARGE] = {"request_too_large", VERDICT_HALVE, "request 413"},
    [REQUEST_REFUSED]   = {"request_refused", VERDICT_PAUSE, "request 401, 403, 406"},
    [REQUEST_FOREIGN]   = {"request_foreign", VERDICT_PAUSE, "any other status, or not the answer of a bulk"},
};
// clang-format on

static enum answer_class class_find(const char *name)
{
    for (int i = 0; i < ANSWER_CLASSES; i++)
        if (strcmp(verdict_rows[i].name, name) == 0)
            return (enum answer_class)i;
    return ANSWER_CLASSES;
}

static enum verdict_action action_find(const char *name)
{
    for (int i = 0; i < VERDICT_ACTIONS; i++)
        if (strcmp(verdict_action_names[i], name) == 0)
            return (enum verdict_action)i;
    return VERDICT_ACTIONS;
}

enum status verdict_table_make(const struct option_pairs *changes, struct verdict_table *ret_table,
                               struct error *ret_error)
{
    struct verdict_table table;

    for (int i = 0; i < ANSWER_CLASSES; i++)
        table.actions[i] = verdict_rows[i].action;
    for (size_t i = 0; i < changes->count; i++) {
        const struct option_pair *change = &changes->items[i];
        enum answer_class class = class_find(change->key);
        enum verdict_action action = action_find(change->value);

        if (class == ANSWER_CLASSES)
            return fail(ret_error, "verdicts: no class of answers is called '%s'", change->key);
        if (action >= VERDICT_HALVE && (action == VERDICT_ACTIONS || action != verdict_rows[class].action))
            return fail(ret_error, "verdicts: %s cannot be '%s'", change->key, change->value);
        if (class == REQUEST_TAKEN && action != VERDICT_ITEMS)
            return fail(ret_error, "verdicts: request_taken is always 'items'");
        table.actions[class] = action;
    }
    *ret_table = table;
    return STATUS_OK;
}

enum answer_class answer_class_of_item(int status, struct span error_type)
{
    if (status >= 200 && status < 300)
        return ITEM_STORED;
    switch (status) {
    case 409:
        return ITEM_CONFLICT;
    case 408:
    case 429:
    case 502:
    case 503:
    case 504:
        return ITEM_BUSY;
    case 401:
    case 403:
        return ITEM_FORBIDDEN;
    case 404:
        return span_is(error_type, "index_not_found_exception") ? ITEM_NO_INDEX : ITEM_INVALID;
    case 400:
        if (span_is(error_type, "index_closed_exception"))
            return ITEM_CLOSED;
        return span_is(error_type, "validation_exception") ? ITEM_NO_ROOM : ITEM_INVALID;
    default:
        return status >= 400 && status < 500 ? ITEM_INVALID : ITEM_FAILED;
    }
}

enum answer_class answer_class_of_request(int status, bool cut, bool gzip)
{
    assert(status >= 0);
    if (status >= 200 && status < 300)
        return REQUEST_TAKEN;
    switch (status) {
    case 0:
        return cut && gzip ? REQUEST_CUT : REQUEST_NETWORK;
    case 408:
    case 429:
    case 502:
    case 503:
    case 504:
        return REQUEST_BUSY;
    case 400:
        return REQUEST_INVALID;
    case 413:
        return REQUEST_TOO_LARGE;
    case 401:
    case 403:
    case 406:
        return REQUEST_REFUSED;
    default:
        return status >= 500 ? REQUEST_FAILED : REQUEST_FOREIGN;
    }
}
