#include "ingest/envelope.h"

#include "base/json_writer.h"
#include "base/memory.h"
#include "base/timestamp.h"

#include <stdlib.h>
#include <yajl/yajl_tree.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_text(struct span payload)
{
    const unsigned char *bytes = (const unsigned char *)payload.data;
    size_t i = 0;

    while (i < payload.size) {
        size_t size = bytes[i] < 0x80 ? bytes[i] != 0 : utf8_sequence_size(bytes + i, payload.size - i);

        if (size == 0)
            return false;
        i += size;
    }
    return true;
}

static void put_base64(struct span bytes, struct buffer *out)
{
    const unsigned char *at = (const unsigned char *)bytes.data;

    for (uint32_t left = bytes.size; left > 0; left -= left < 3 ? left : 3, at += 3) {
        uint32_t group =
            (uint32_t)at[0] << 16 | (left > 1 ? (uint32_t)at[1] << 8 : 0) | (left > 2 ? at[2] : 0);

        buffer_put_char(out, digits[group >> 18]);
        buffer_put_char(out, digits[group >> 12 & 63]);
        buffer_put_char(out, left > 1 ? digits[group >> 6 & 63] : '=');
        buffer_put_char(out, left > 2 ? digits[group & 63] : '=');
    }
}

static bool read_base64(struct span text, struct buffer *out)
{
    uint32_t group = 0, size = text.size;

    if (size % 4)
        return false;
    while (size > 0 && text.size - size < 2 && text.data[size - 1] == '=')
        size--;
    for (uint32_t i = 0; i < size; i++) {
        const char *digit = text.data[i] ? strchr(digits, text.data[i]) : NULL;

        if (!digit)
            return false;
        group = group << 6 | (uint32_t)(digit - digits);
        if (i % 4 > 0)
            buffer_put_char(out, (char)(group >> (6 - 2 * (i % 4))));
    }
    return true;
}

void envelope_write(const struct envelope *envelope, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "source", envelope->source);
    json_text(&json, "topic", envelope->topic);
    json_integer(&json, "partition", envelope->partition);
    json_integer(&json, "offset", envelope->offset);
    json_time_if(&json, "time", envelope->arrival_us);
    if (is_text(envelope->payload)) {
        json_text(&json, "payload", envelope->payload);
    } else {
        json_key(&json, SPAN_LITERAL("payload_base64"));
        json.comma = true;
        buffer_put_char(out, '"');
        put_base64(envelope->payload, out);
        buffer_put_char(out, '"');
    }
    json_close(&json);
}

static yajl_val value_of(yajl_val line, const char *key, yajl_type type)
{
    const char *path[] = {key, NULL};

    return yajl_tree_get(line, path, type);
}

static bool read_number(yajl_val line, const char *key, int64_t max, int64_t *ret_number)
{
    yajl_val value = value_of(line, key, yajl_t_number);

    if (!value || !YAJL_IS_INTEGER(value) || YAJL_GET_INTEGER(value) < 0 || YAJL_GET_INTEGER(value) > max)
        return false;
    *ret_number = YAJL_GET_INTEGER(value);
    return true;
}

/* A text's place until all are there. */
static struct span put_text(yajl_val text, struct buffer *texts)
{
    struct span read = span_of(YAJL_GET_STRING(text));

    buffer_put_span(texts, read);
    return span_make(NULL, read.size);
}

static bool read_tree(yajl_val line, struct buffer *texts, struct envelope *ret_envelope)
{
    yajl_val source = value_of(line, "source", yajl_t_string), topic = value_of(line, "topic", yajl_t_string),
             time = value_of(line, "time", yajl_t_string), payload = value_of(line, "payload", yajl_t_string),
             base64 = value_of(line, "payload_base64", yajl_t_string);
    size_t start = texts->size;
    struct envelope read = {.arrival_us = TIME_NONE};
    int64_t partition;

    if (!source || !topic || !payload == !base64 || !read_number(line, "partition", INT32_MAX, &partition) ||
        !read_number(line, "offset", INT64_MAX, &read.offset) ||
        (time && !time_parse(span_of(YAJL_GET_STRING(time)), TIME_UNIT_AUTO, TIME_NONE, &read.arrival_us)))
        return false;
    read.partition = (int32_t)partition;
    read.source = put_text(source, texts);
    read.topic = put_text(topic, texts);
    if (payload)
        put_text(payload, texts);
    else if (!read_base64(span_of(YAJL_GET_STRING(base64)), texts)) {
        buffer_truncate(texts, start);
        return false;
    }
    read.source.data = texts->data + start;
    read.topic.data = read.source.data + read.source.size;
    read.payload = span_make(read.topic.data + read.topic.size,
                             texts->size - start - read.source.size - read.topic.size);
    *ret_envelope = read;
    return true;
}

bool envelope_read(struct span line, struct buffer *texts, struct envelope *ret_envelope)
{
    char *text = memory_text(line.data, line.size), reason[128];
    yajl_val tree = yajl_tree_parse(text, reason, sizeof reason);
    bool good = tree && read_tree(tree, texts, ret_envelope);

    yajl_tree_free(tree);
    free(text);
    return good;
}
