/* Once a request: an answer in which all items were stored is nothing but their statuses, in the one form
 * that all servers write, and is read by comparing with that form (a twentieth of the time); any other one
 * by one pass of yajl's callbacks. `errors` is not looked at: each item's own status decides. Tried and
 * dropped: a tree (yajl_tree_parse), four times the time and an allocation for each value of an answer of
 * 10,000 items. */
#include "sinks/bulk_answer.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

enum { DEPTH_MAX = 64, REASON_BYTES_MAX = 400, TEXTS_BYTES_MAX = 16 * 1024 * 1024 };

/* Levels of an answer: 1 root, 2 list of items, 3 item, 4 its operation, 5 the operation's error; the error
 * of a whole request is a text on level 1 or an object on level 2. */
enum key { KEY_OTHER, KEY_ITEMS, KEY_ERROR, KEY_STATUS, KEY_TYPE, KEY_REASON };

struct reader {
    struct bulk_answer *answer;
    int depth;
    enum key keys[DEPTH_MAX + 1]; /* the key that is open on each level */
};

static enum key key_find(struct span name)
{
    static const struct {
        const char *name;
        enum key key;
    } keys[] = {{"items", KEY_ITEMS},
                {"error", KEY_ERROR},
                {"status", KEY_STATUS},
                {"type", KEY_TYPE},
                {"reason", KEY_REASON}};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (span_is(name, keys[i].name))
            return keys[i].key;
    return KEY_OTHER;
}

static bool in_item(const struct reader *reader)
{
    return reader->keys[1] == KEY_ITEMS && reader->depth >= 4;
}

static struct answer_item *subject(struct reader *reader)
{
    return in_item(reader) ? &reader->answer->items[reader->answer->count - 1] : &reader->answer->whole;
}

static void take_text(struct reader *reader, enum key key, struct span text)
{
    struct answer_item *item = subject(reader);
    struct buffer *texts = &reader->answer->texts;
    struct answer_text taken = {.start = (uint32_t)texts->size};

    if (key != KEY_TYPE && key != KEY_REASON)
        return;
    if (key == KEY_TYPE)
        buffer_put_span(texts, text);
    else
        reason_put(texts, text);
    taken.size = (uint32_t)texts->size - taken.start; /* shorter, never wrong, when `texts` is full */
    *(key == KEY_TYPE ? &item->type : &item->reason) = taken;
}

static int on_text(void *owner, const unsigned char *data, size_t size)
{
    struct reader *reader = owner;
    enum key key = reader->keys[reader->depth];
    bool items = reader->keys[1] == KEY_ITEMS;
    int level = items ? 5 : 2;

    if (reader->depth == level && reader->keys[level - 1] == KEY_ERROR)
        take_text(reader, key, span_make((const char *)data, size));
    else if (reader->depth == level - 1 && key == KEY_ERROR)
        take_text(reader, KEY_REASON, span_make((const char *)data, size));
    return 1;
}

static int on_integer(void *owner, long long value)
{
    struct reader *reader = owner;

    if (reader->depth == 4 && in_item(reader) && reader->keys[4] == KEY_STATUS && value > 0 && value < 1000)
        subject(reader)->status = (int)value;
    return 1;
}

static int on_key(void *owner, const unsigned char *data, size_t size)
{
    struct reader *reader = owner;

    reader->keys[reader->depth] = key_find(span_make((const char *)data, size));
    return 1;
}

static int open_level(struct reader *reader)
{
    if (reader->depth == DEPTH_MAX)
        return 0;
    reader->keys[++reader->depth] = KEY_OTHER;
    return 1;
}

static struct answer_item *add_item(struct bulk_answer *answer)
{
    answer->items =
        memory_reserve(answer->items, &answer->capacity, answer->count + 1, sizeof *answer->items);
    return &answer->items[answer->count++];
}

static int on_open(void *owner)
{
    struct reader *reader = owner;

    if (!open_level(reader))
        return 0;
    if (reader->depth == 3 && reader->keys[1] == KEY_ITEMS)
        *add_item(reader->answer) = (struct answer_item){0};
    return 1;
}

static int on_open_list(void *owner)
{
    struct reader *reader = owner;

    if (!open_level(reader) || reader->depth == 1)
        return 0;
    if (reader->depth == 2 && reader->keys[1] == KEY_ITEMS)
        reader->answer->has_items = true;
    return 1;
}

static int on_close(void *owner)
{
    struct reader *reader = owner;

    assert(reader->depth > 0);
    reader->depth--;
    return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_integer = on_integer,
    .yajl_string = on_text,
    .yajl_start_map = on_open,
    .yajl_map_key = on_key,
    .yajl_end_map = on_close,
    .yajl_start_array = on_open_list,
    .yajl_end_array = on_close,
};

void bulk_answer_init(struct bulk_answer *answer)
{
    *answer = (struct bulk_answer){0};
    buffer_init(&answer->texts, TEXTS_BYTES_MAX);
}

void bulk_answer_free(struct bulk_answer *answer)
{
    free(answer->items);
    buffer_free(&answer->texts);
    *answer = (struct bulk_answer){0};
}

static bool take_literal(struct span *rest, const char *literal, size_t size)
{
    if (rest->size < size || memcmp(rest->data, literal, size) != 0)
        return false;
    *rest = span_make(rest->data + size, rest->size - size);
    return true;
}

#define TAKE(rest, literal) take_literal(rest, literal, sizeof(literal) - 1)

static bool take_status(struct span *rest, int *ret_status)
{
    int status = 0;

    if (rest->size < 3 || rest->data[0] == '0')
        return false;
    for (int i = 0; i < 3; i++) {
        if (rest->data[i] < '0' || rest->data[i] > '9')
            return false;
        status = status * 10 + rest->data[i] - '0';
    }
    *rest = span_make(rest->data + 3, rest->size - 3);
    *ret_status = status;
    return true;
}

/* {"errors":false,"items":[{"create":{"status":201}},...]} to the letter. */
static bool read_stored(struct bulk_answer *answer, struct span body)
{
    int status;

    if (!TAKE(&body, "{\"errors\":false,\"items\":["))
        return false;
    do {
        if (!(TAKE(&body, "{\"create\":{\"status\":") || TAKE(&body, "{\"index\":{\"status\":")) ||
            !take_status(&body, &status) || !TAKE(&body, "}}"))
            return false;
        *add_item(answer) = (struct answer_item){.status = status};
    } while (TAKE(&body, ","));
    answer->has_items = true;
    return TAKE(&body, "]}") && body.size == 0;
}

static void clear(struct bulk_answer *answer)
{
    answer->count = 0;
    answer->has_items = false;
    answer->whole = (struct answer_item){0};
    buffer_clear(&answer->texts);
}

bool bulk_answer_read(struct bulk_answer *answer, struct span body)
{
    struct reader reader = {.answer = answer};
    yajl_handle parser;
    bool read;

    clear(answer);
    if (read_stored(answer, body))
        return true;
    clear(answer);
    parser = yajl_alloc(&callbacks, NULL, &reader);
    yajl_config(parser, yajl_dont_validate_strings, 1);
    read = yajl_parse(parser, (const unsigned char *)body.data, body.size) == yajl_status_ok &&
           yajl_complete_parse(parser) == yajl_status_ok && reader.depth == 0 && body.size > 0;
    yajl_free(parser);
    return read;
}

struct span bulk_answer_type(const struct bulk_answer *answer, const struct answer_item *item)
{
    return item->type.size ? span_make(answer->texts.data + item->type.start, item->type.size)
                           : (struct span){0};
}

void bulk_answer_describe(const struct bulk_answer *answer, const struct answer_item *item,
                          struct buffer *out)
{
    buffer_put_span(out, bulk_answer_type(answer, item));
    if (item->type.size && item->reason.size)
        buffer_put_text(out, ": ");
    if (item->reason.size)
        buffer_put(out, answer->texts.data + item->reason.start, item->reason.size);
}

/* Where the text of a document begins in a reason: all markers seen in the recorded answers of seven
 * versions. */
static const char *const quoting[] = {
    "Preview of field's value",   "[Source: ", "The prefix of the first immense term", "For input string",
    "failed to parse date field", "source[",
};

void reason_put(struct buffer *out, struct span reason)
{
    size_t size = reason.size < REASON_BYTES_MAX ? reason.size : REASON_BYTES_MAX;

    for (size_t i = 0; i < sizeof quoting / sizeof *quoting; i++) {
        const char *found = memmem(reason.data, size, quoting[i], strlen(quoting[i]));

        if (found)
            size = (size_t)(found - reason.data);
    }
    while (size && strchr(" \n.,:[", reason.data[size - 1]))
        size--;
    while (size && size < reason.size && ((unsigned char)reason.data[size] & 0xC0) == 0x80)
        size--; /* not in the middle of a character */
    for (size_t i = 0; i < size; i++)
        buffer_put_char(out, (unsigned char)reason.data[i] < ' ' ? ' ' : reason.data[i]);
}
