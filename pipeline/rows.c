/* Rows that tell of runs, on their way to the owner of the run: as records of the exchange, and as stored
 * values while they wait for their order time. Sent once a row; stored once a cut. */
#include "pipeline/runs_table.h"

#include <endian.h>
#include <math.h>

enum { LAYOUT = 1, VALUE_BYTES = 256 * 1024, HEAD_BYTES = 2 * 4 + 8 * 8 + 2 * 2 + 1 };
enum { HINT_CHILD = 32, HINT_ENDLESS = 64, HINT_RETRY = 128 }; /* packed above the state */

/* Of the numbers in a record: each has 8 bytes, in this order, and is there when its bit is set. */
enum {
    NUMBER_SCHEDULED = 1,
    NUMBER_QUEUED = 2,
    NUMBER_STARTED = 4,
    NUMBER_DURATION = 8,
    NUMBER_MAP_INDEX = 16
};

/* A text in a record: its number, its size in groups of seven bits, the lowest first, its bytes. */
static size_t text_bytes(struct span text)
{
    size_t bytes = 2 + text.size;

    for (uint32_t size = text.size; size >= 128; size >>= 7)
        bytes++;
    return bytes;
}

static char *put_text(char *at, unsigned number, struct span text)
{
    uint32_t size = text.size;

    *at++ = (char)number;
    for (; size >= 128; size >>= 7)
        *at++ = (char)(size | 128);
    *at++ = (char)size;
    memcpy(at, text.data, text.size);
    return at + text.size;
}

static const char *get_text(const char *at, struct span *texts)
{
    unsigned number = (unsigned char)*at++, shift = 0;
    uint32_t size = 0;

    for (; *at & 128; shift += 7)
        size |= (uint32_t)(*at++ & 127) << shift;
    size |= (uint32_t)*at++ << shift;
    texts[number] = (struct span){at, size};
    return at + size;
}

static char *put_number(char *at, const void *number)
{
    memcpy(at, number, 8);
    return at + 8;
}

static const char *get_number(const char *at, bool there, void *ret_number)
{
    if (there)
        memcpy(ret_number, at, 8);
    return there ? at + 8 : at;
}

static uint8_t numbers_of(const struct run_row *row)
{
    return (uint8_t)((row->scheduled_us != TIME_NONE ? NUMBER_SCHEDULED : 0) |
                     (row->queued_us != TIME_NONE ? NUMBER_QUEUED : 0) |
                     (row->started_us != TIME_NONE ? NUMBER_STARTED : 0) |
                     (!isnan(row->duration_ms) ? NUMBER_DURATION : 0) |
                     (row->map_index != INT32_MIN ? NUMBER_MAP_INDEX : 0));
}

static char *put_numbers(char *at, const struct run_row *row, uint8_t numbers)
{
    int64_t map_index = row->map_index;

    if (numbers & NUMBER_SCHEDULED)
        at = put_number(at, &row->scheduled_us);
    if (numbers & NUMBER_QUEUED)
        at = put_number(at, &row->queued_us);
    if (numbers & NUMBER_STARTED)
        at = put_number(at, &row->started_us);
    if (numbers & NUMBER_DURATION)
        at = put_number(at, &row->duration_ms);
    return numbers & NUMBER_MAP_INDEX ? put_number(at, &map_index) : at;
}

void run_row_send(const struct run_row *row, unsigned text_count, struct exchange_port *port,
                  unsigned workers)
{
    struct id128 alias = run_key(row->texts[RUN_SOURCE], row->texts[RUN_NAMESPACE], row->texts[RUN_RUN]);
    uint8_t numbers = numbers_of(row), texts = 0;
    size_t size = sizeof(struct row_record) + 8u * (unsigned)__builtin_popcount(numbers);

    for (unsigned t = 0; t < text_count; t++)
        if (row->texts[t].size) {
            size += text_bytes(row->texts[t]);
            texts++;
        }
    struct row_record *record = exchange_record(port, run_shard(alias) % workers, RECORD_ROW, size);
    *record = (struct row_record){
        .head = record->head,
        .alias = alias,
        .time_us = row->time_us,
        .watermark_us = row->watermark_us,
        .offset = row->offset,
        .partition = row->partition,
        .item = row->item,
        .attempt = row->attempt,
        .state = row->state,
        .hints = (uint8_t)((row->will_retry ? HINT_RETRY : 0) | (row->is_endless ? HINT_ENDLESS : 0) |
                           (row->is_child ? HINT_CHILD : 0)),
        .numbers = numbers,
        .texts = texts,
    };
    char *at = put_numbers(record->bytes, row, numbers);
    for (unsigned t = 0; t < text_count; t++)
        if (row->texts[t].size)
            at = put_text(at, t, row->texts[t]);
}

static int64_t order_time(int64_t time_us, int64_t watermark_us)
{
    return time_us > watermark_us ? time_us : watermark_us;
}

void run_row_open(const struct row_record *record, unsigned text_count, struct span *texts,
                  struct run_row *ret_row)
{
    const char *at = record->bytes;
    int64_t map_index = INT32_MIN;

    *ret_row = (struct run_row){
        .shard = run_shard(record->alias),
        .partition = record->partition,
        .order_us = order_time(record->time_us, record->watermark_us),
        .time_us = record->time_us,
        .watermark_us = record->watermark_us,
        .scheduled_us = TIME_NONE,
        .queued_us = TIME_NONE,
        .started_us = TIME_NONE,
        .offset = record->offset,
        .duration_ms = NAN,
        .item = record->item,
        .attempt = record->attempt,
        .state = record->state,
        .will_retry = record->hints & HINT_RETRY,
        .is_endless = record->hints & HINT_ENDLESS,
        .is_child = record->hints & HINT_CHILD,
        .texts = texts,
        .alias = record->alias,
    };
    at = get_number(at, record->numbers & NUMBER_SCHEDULED, &ret_row->scheduled_us);
    at = get_number(at, record->numbers & NUMBER_QUEUED, &ret_row->queued_us);
    at = get_number(at, record->numbers & NUMBER_STARTED, &ret_row->started_us);
    at = get_number(at, record->numbers & NUMBER_DURATION, &ret_row->duration_ms);
    at = get_number(at, record->numbers & NUMBER_MAP_INDEX, &map_index);
    ret_row->map_index = (int32_t)map_index;
    memset(texts, 0, text_count * sizeof *texts);
    for (unsigned i = 0; i < record->texts; i++)
        at = get_text(at, texts);
}

void row_record_wait(const struct row_record *record, struct block *block, struct order *order)
{
    order_push(order, &(struct order_entry){.order_us = order_time(record->time_us, record->watermark_us),
                                            .time_us = record->time_us,
                                            .offset = record->offset,
                                            .partition = record->partition,
                                            .item = record->item,
                                            .rank = record->state,
                                            .record = &record->head,
                                            .block = block});
}

/* Most columns are empty: they are looked at once a batch. */
static bool is_told(const struct span *column, uint32_t rows)
{
    for (uint32_t row = 0; row < rows; row++)
        if (column[row].size)
            return true;
    return false;
}

/* The watch wants to know what runs begin: the owner of the one that began this one is told, who knows its
 * workflow. */
static void send_child(const struct run_row *row, unsigned text_count, struct exchange_port *port,
                       unsigned workers)
{
    struct span texts[RUN_TEXTS + LABELS_MAX] = {
        [RUN_SOURCE] = row->texts[RUN_SOURCE],  [RUN_NAMESPACE] = row->texts[RUN_NAMESPACE],
        [RUN_RUN] = row->texts[RUN_PARENT_RUN], [RUN_TASK] = row->texts[RUN_WORKFLOW],
        [RUN_PARENT_RUN] = row->texts[RUN_RUN],
    };
    struct run_row child = *row;

    if (row->state != STATE_QUEUED || row->texts[RUN_PARENT_RUN].size == 0 ||
        row->texts[RUN_WORKFLOW].size == 0 || row->texts[RUN_TASK].size ||
        span_equal(row->texts[RUN_PARENT_RUN], row->texts[RUN_RUN]))
        return;
    child.texts = texts;
    child.is_child = true;
    run_row_send(&child, text_count, port, workers);
}

void rows_send(const struct plan *plan, struct event_batch *batch, struct exchange_port *port,
               unsigned workers)
{
    const struct span *columns[RUN_TEXTS + LABELS_MAX];
    struct span texts[RUN_TEXTS + LABELS_MAX] = {0};
    unsigned text_count = RUN_TEXTS + plan->labels.count, told[RUN_TEXTS + LABELS_MAX], told_count = 0;

    if (!is_told(batch->run, batch->rows)) /* of a job without runs none has one */
        return;
    for (unsigned t = 0; t < text_count; t++) {
        columns[t] = t < RUN_TEXTS ? event_column(batch, run_text_fields[t]) : batch->labels[t - RUN_TEXTS];
        if (is_told(columns[t], batch->rows))
            told[told_count++] = t;
    }
    for (uint32_t row = 0; row < batch->rows; row++) {
        if (batch->mark[row] != MARK_OK || batch->state[row] == STATE_NONE || batch->run[row].size == 0)
            continue;
        for (unsigned i = 0; i < told_count; i++)
            texts[told[i]] = columns[told[i]][row];
        struct run_row sent = {.partition = batch->partition[row],
                               .time_us = batch->time_us[row],
                               .watermark_us = batch->watermark_us[row],
                               .scheduled_us = batch->scheduled_us[row],
                               .queued_us = batch->queued_us[row],
                               .started_us = batch->started_us[row],
                               .offset = batch->offset[row],
                               .duration_ms = batch->duration_ms[row],
                               .map_index = batch->map_index[row],
                               .item = batch->item[row],
                               .attempt = batch->attempt[row],
                               .state = batch->state[row],
                               .will_retry = span_is(batch->result[row], "up_for_retry"),
                               .is_endless = span_is(batch->result[row], "streaming"),
                               .texts = texts};

        run_row_send(&sent, text_count, port, workers);
        if (plan->general.watch)
            send_child(&sent, text_count, port, workers);
    }
}

void run_labels_pack(const struct label_names *names, struct buffer *out)
{
    pack_u16(out, (uint16_t)names->count);
    for (unsigned i = 0; i < names->count; i++)
        pack_text(out, span_of(names->names[i]));
}

void run_labels_unpack(struct unpack *in, const struct label_names *names, struct run_labels *ret_labels)
{
    *ret_labels = (struct run_labels){.count = unpack_u16(in)};
    if (ret_labels->count > LABELS_MAX) {
        in->broken = true;
        return;
    }
    for (unsigned i = 0; i < ret_labels->count; i++) {
        struct span name = unpack_text(in);

        for (unsigned n = 0; n < names->count; n++)
            if (span_is(name, names->names[n]))
                ret_labels->at[i] = RUN_TEXTS + n;
    }
}

void run_texts_unpack(struct unpack *in, const struct run_labels *labels,
                      struct span ret_texts[RUN_TEXTS + LABELS_MAX])
{
    memset(ret_texts, 0, (RUN_TEXTS + LABELS_MAX) * sizeof *ret_texts);
    for (unsigned t = 0; t < RUN_TEXTS; t++)
        ret_texts[t] = unpack_text(in);
    for (unsigned i = 0; i < labels->count; i++) {
        struct span label = unpack_text(in);

        if (labels->at[i])
            ret_texts[labels->at[i]] = label;
    }
}

/* As pack_u32, at once for all of a row: a row is packed at every cut while it waits. */
static char *put_u32(char *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *put_u64(char *at, uint64_t value)
{
    value = htole64(value);
    return put_number(at, &value);
}

static char *put_head(char *at, const struct run_row *row, uint8_t hints)
{
    uint64_t duration;

    memcpy(&duration, &row->duration_ms, sizeof duration);
    at = put_u32(at, row->partition);
    at = put_u64(at, (uint64_t)row->order_us);
    at = put_u64(at, (uint64_t)row->time_us);
    at = put_u64(at, (uint64_t)row->watermark_us);
    at = put_u64(at, (uint64_t)row->scheduled_us);
    at = put_u64(at, (uint64_t)row->queued_us);
    at = put_u64(at, (uint64_t)row->started_us);
    at = put_u64(at, (uint64_t)row->offset);
    at = put_u64(at, duration);
    at = put_u32(at, (uint32_t)row->map_index);
    at = put_u32(at, row->item | (uint32_t)row->attempt << 16);
    *at++ = (char)(row->state | hints);
    return at;
}

void row_record_pack(const struct row_record *record, unsigned text_count, struct buffer *out)
{
    struct span texts[RUN_TEXTS + LABELS_MAX];
    struct run_row row;

    run_row_open(record, text_count, texts, &row);
    size_t size = HEAD_BYTES + text_count * sizeof(uint32_t);
    for (unsigned t = 0; t < text_count; t++)
        size += texts[t].size;
    char *at = buffer_room(out, size);
    if (!at)
        return;
    at = put_head(at, &row, record->hints);
    for (unsigned t = 0; t < text_count; t++) {
        at = put_u32(at, texts[t].size);
        record_text(&at, texts[t]);
    }
    out->size += size;
}

static void pack_rows(const struct plan *plan, struct order_frozen *frozen, struct buffer *out)
{
    pack_u8(out, LAYOUT);
    run_labels_pack(&plan->labels, out);
    for (size_t begun = frozen->next; frozen->next < frozen->count; frozen->next++) {
        size_t size = out->size;

        row_record_pack((const struct row_record *)frozen->entries[frozen->next].record,
                        RUN_TEXTS + plan->labels.count, out);
        if (out->size > VALUE_BYTES && frozen->next > begun) {
            buffer_truncate(out, size);
            return;
        }
    }
}

void rows_pack(const struct plan *plan, struct order_frozen *frozen, size_t budget, struct saver *saver,
               uint64_t worker, uint64_t cut, uint32_t *block)
{
    for (size_t packed = 0; packed < budget && frozen->next < frozen->count;) {
        pack_rows(plan, frozen, &saver->bytes);
        packed += saver->bytes.size;
        saver_put(saver,
                  (struct state_key){.kind = STATE_ROWS, .block = (*block)++, .owner = worker, .part = cut});
    }
}

void run_row_unpack(struct unpack *in, const struct run_labels *labels,
                    struct span texts[RUN_TEXTS + LABELS_MAX], struct run_row *ret_row)
{
    *ret_row = (struct run_row){.partition = unpack_u32(in), .texts = texts};
    ret_row->order_us = unpack_time(in);
    ret_row->time_us = unpack_time(in);
    ret_row->watermark_us = unpack_time(in);
    ret_row->scheduled_us = unpack_time(in);
    ret_row->queued_us = unpack_time(in);
    ret_row->started_us = unpack_time(in);
    ret_row->offset = unpack_i64(in);
    ret_row->duration_ms = unpack_double(in);
    ret_row->map_index = (int32_t)unpack_u32(in);
    ret_row->item = unpack_u16(in);
    ret_row->attempt = unpack_u16(in);
    ret_row->state = unpack_u8(in);
    ret_row->will_retry = ret_row->state & HINT_RETRY;
    ret_row->is_endless = ret_row->state & HINT_ENDLESS;
    ret_row->is_child = ret_row->state & HINT_CHILD;
    ret_row->state &= HINT_CHILD - 1;
    run_texts_unpack(in, labels, texts);
    in->broken |= ret_row->state == STATE_NONE || ret_row->state >= STATE_COUNT;
}

enum status rows_restore(const struct plan *plan, struct span value, struct exchange_port *port,
                         unsigned workers, struct error *ret_error)
{
    struct run_labels labels;
    struct unpack in;

    if (unpack_layout(value, LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    run_labels_unpack(&in, &plan->labels, &labels);
    while (!in.broken && in.at < in.end) {
        struct span texts[RUN_TEXTS + LABELS_MAX];
        struct run_row row;

        run_row_unpack(&in, &labels, texts, &row);
        if (!in.broken)
            run_row_send(&row, RUN_TEXTS + plan->labels.count, port, workers);
    }
    return unpack_finish(&in, ret_error);
}
