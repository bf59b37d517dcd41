#include "ingest/metrics.h"

#include "base/memory.h"
#include "ingest/sniff.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct format {
    struct json_reader *single, *batch; /* batch: NULL without `each` */
    struct sniffer sniffer;
    json_row *row;
};

static struct json_reader *reader_of(const char *each, const struct metric_shape *shape)
{
    struct json_reader *reader = json_reader_of(each, shape->paths, shape->count);

    json_reader_take_leaves(reader);
    return reader;
}

enum status metric_format_open(const struct metric_shape *shape, struct format **ret_format)
{
    struct format *format = memory_new(sizeof *format);

    format->single = reader_of(NULL, shape);
    format->row = shape->row;
    if (shape->each) {
        static const char batch_sign[] = "metrics=[";

        format->batch = reader_of(shape->each, shape);
        sniffer_add(&format->sniffer, batch_sign, 0);
    }
    *ret_format = format;
    return STATUS_OK;
}

void metric_format_close(struct format *format)
{
    json_reader_free(format->single);
    json_reader_free(format->batch);
    free(format);
}

enum status metric_format_decode(struct format *format, const struct message *message,
                                 struct event_batch *batch, const char **ret_reason)
{
    bool is_batch = format->batch && sniffer_ask(&format->sniffer, message->payload) == 0;
    uint32_t first_row = batch->rows;
    enum status status = json_reader_decode(is_batch ? format->batch : format->single, message, batch,
                                            format->row, NULL, ret_reason);

    if (status == STATUS_OK && batch->rows - first_row > BATCH_ROWS_MAX) {
        batch->rows = first_row;
        *ret_reason = "more than 8192 samples in one message";
        return STATUS_SKIP;
    }
    for (uint32_t row = first_row; row < batch->rows; row++) /* an item has many rows */
        batch->item[row] = (uint16_t)(row - first_row);
    return json_name_foreign(status, message, batch, first_row, ret_reason);
}

struct span leaf_below(const struct json_leaf *leaf, const char *prefix)
{
    size_t size = strlen(prefix);

    if (leaf->path.size <= size || memcmp(leaf->path.data, prefix, size) != 0)
        return (struct span){0};
    return span_make(leaf->path.data + size, leaf->path.size - size);
}

bool leaf_number(const struct json_leaf *leaf, double *ret_number)
{
    double number = NAN;

    if (leaf->value.type == JSON_BOOL)
        number = leaf->value.text.data[0] == 't';
    else if (leaf->value.type != JSON_NUMBER || json_value_number(&leaf->value, &number) != NULL)
        return false;
    if (!isfinite(number))
        return false;
    *ret_number = number;
    return true;
}

void metric_labels(const struct json_item *item, const char *prefix)
{
    struct event_batch *batch = item->batch;

    for (size_t i = 0; i < item->leaf_count; i++) {
        struct span name = leaf_below(&item->leaves[i], prefix);

        for (unsigned label = 0; name.size > 0 && label < batch->label_columns; label++)
            if (item->leaves[i].value.type == JSON_TEXT && span_is(name, batch->label_names->names[label]))
                batch->labels[label][item->row] = item->leaves[i].value.text;
    }
}

static void copy_shared(struct event_batch *batch, uint32_t from, uint32_t to)
{
    batch->time_us[to] = batch->time_us[from];
    batch->kind[to] = batch->kind[from];
    batch->engine[to] = batch->engine[from];
    batch->host[to] = batch->host[from];
    for (unsigned label = 0; label < batch->label_columns; label++)
        batch->labels[label][to] = batch->labels[label][from];
}

bool metric_add(const struct json_item *item, struct span metric, double value)
{
    struct event_batch *batch = item->batch;
    uint32_t row = item->row;

    assert(metric.size > 0);
    if (batch->metric[row].size > 0) {
        row = event_batch_add(batch);
        if (row == UINT32_MAX)
            return false;
        copy_shared(batch, item->row, row);
    }
    batch->kind[row] = KIND_METRIC;
    batch->metric[row] = metric;
    batch->value[row] = value;
    return true;
}

bool metric_name(const struct json_item *item, struct span first, struct span second, struct span *ret_name)
{
    size_t dot = first.size > 0 && second.size > 0, size = first.size + dot + second.size;
    char *name = arena_take(&item->batch->text, size);

    if (!name)
        return false;
    if (first.size)
        memcpy(name, first.data, first.size);
    if (dot)
        name[first.size] = '.';
    if (second.size)
        memcpy(name + first.size + dot, second.data, second.size);
    *ret_name = span_make(name, size);
    return true;
}

enum json_verdict metric_verdict(const struct json_item *item)
{
    return item->batch->metric[item->row].size > 0 ? JSON_ROW_KEPT : JSON_ROW_DROPPED;
}
