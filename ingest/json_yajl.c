/* JSON by yajl: takes every message, and says where a bad one is wrong.
 * Tried and dropped: yajl's tree, which allocates each value; yajl's own UTF-8 check, which lets overlong
 * forms and surrogates pass. */
#include "ingest/json_events.h"

#include "base/memory.h"

#include <stdlib.h>
#include <yajl/yajl_parse.h>

enum { LARGE_MESSAGE = 1024 * 1024 }; /* after a larger one yajl's buffers are given back */

struct json_yajl {
    yajl_handle handle;
    size_t root_end; /* bytes up to the end of the first value; 0 before */
};

static int on_scalar(struct json_reader *reader, enum json_type type, struct span text)
{
    return json_on_scalar(reader, type, text) && (!reader->leaves || json_leaves_scalar(reader, type, text));
}

static int on_null(void *context)
{
    return on_scalar(context, JSON_NULL, (struct span){0});
}

static int on_boolean(void *context, int truth)
{
    return on_scalar(context, JSON_BOOL, truth ? SPAN_LITERAL("true") : SPAN_LITERAL("false"));
}

static int on_number(void *context, const char *digits, size_t size)
{
    return on_scalar(context, JSON_NUMBER, span_make(digits, size));
}

static int on_string(void *context, const unsigned char *text, size_t size)
{
    return on_scalar(context, JSON_TEXT, span_make((const char *)text, size));
}

static int opened(struct json_reader *reader, bool went_well, bool is_array)
{
    if (went_well && reader->leaves)
        json_leaves_open(reader, is_array);
    return went_well;
}

static int on_start_map(void *context)
{
    return opened(context, json_on_object(context), false);
}

static int on_map_key(void *context, const unsigned char *key, size_t size)
{
    struct json_reader *reader = context;

    json_on_key(reader, span_make((const char *)key, size));
    if (reader->leaves)
        json_leaves_key(reader, span_make((const char *)key, size));
    return true;
}

static void note_end(struct json_reader *reader)
{
    if (reader->leaves)
        json_leaves_close(reader);
    if (reader->depth == 1 && reader->roots == 1)
        reader->yajl->root_end = yajl_get_bytes_consumed(reader->yajl->handle);
}

static int on_end_map(void *context)
{
    note_end(context);
    return json_on_object_end(context);
}

static int on_start_array(void *context)
{
    return opened(context, json_on_array(context), true);
}

static int on_end_array(void *context)
{
    note_end(context);
    json_on_array_end(context);
    return true;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_map_key,
    .yajl_end_map = on_end_map,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

void json_yajl_forget(struct json_reader *reader)
{
    if (reader->yajl && reader->yajl->handle) {
        yajl_free(reader->yajl->handle);
        reader->yajl->handle = NULL;
    }
}

void json_yajl_free(struct json_reader *reader)
{
    json_yajl_forget(reader);
    free(reader->yajl);
}

static void make_ready(struct json_reader *reader)
{
    if (!reader->yajl)
        reader->yajl = memory_new(sizeof *reader->yajl);
    reader->yajl->root_end = 0;
    if (reader->yajl->handle)
        return;
    reader->yajl->handle = yajl_alloc(&callbacks, NULL, reader);
    if (!reader->yajl->handle)
        abort();
    yajl_config(reader->yajl->handle, yajl_dont_validate_strings, 1);
    /* Lets the handle serve one message after the other; a second value in one message is refused when it
     * begins. */
    yajl_config(reader->yajl->handle, yajl_allow_multiple_values, 1);
}

/* yajl's "lexical error: invalid char in json text.\n" without its first word and the end. */
static const char *syntax_reason(struct json_reader *reader, size_t position)
{
    unsigned char *told = yajl_get_error(reader->yajl->handle, 0, NULL, 0);
    const char *text = told ? (const char *)told : "unknown error";
    const char *colon = strstr(text, ": ");

    text = colon ? colon + 2 : text;
    const char *reason = reason_print(reader->item.batch, "invalid JSON at byte %zu: %.*s", position,
                                      (int)strcspn(text, ".\n"), text);
    if (told)
        yajl_free_error(reader->yajl->handle, told);
    return reason;
}

/* Position of what follows the first value and is no blank; the size when nothing does. yajl alone would
 * accept the beginning of a token there, and put the next message's bytes behind it. */
static size_t trailing_position(const struct json_reader *reader, struct span payload)
{
    size_t i = reader->yajl->root_end ? reader->yajl->root_end : payload.size;

    while (i < payload.size && payload.data[i] && strchr(" \t\r\n", payload.data[i]))
        i++;
    return i;
}

const char *json_yajl_read(struct json_reader *reader, struct span payload)
{
    const unsigned char *bytes = (const unsigned char *)payload.data;
    size_t position = payload.size;
    const char *reason = NULL;

    make_ready(reader);
    if (reader->leaves)
        json_leaves_begin(reader);
    yajl_status status = yajl_parse(reader->yajl->handle, bytes, payload.size);
    if (status == yajl_status_ok && reader->roots > 0)
        status = yajl_complete_parse(reader->yajl->handle);
    else if (status == yajl_status_error)
        position = yajl_get_bytes_consumed(reader->yajl->handle);

    size_t trailing = trailing_position(reader, payload);
    if (trailing < payload.size)
        reason = reason_print(reader->item.batch, "more after the JSON value, at byte %zu", trailing);
    else if (status == yajl_status_error)
        reason = syntax_reason(reader, position);
    if (payload.size > LARGE_MESSAGE)
        json_yajl_forget(reader);
    return reason;
}
