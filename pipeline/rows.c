/* Rows that tell of runs, on their way to the owner of the run: as records of the exchange, and as stored
 * values while they wait for their order time. Sent once a row; stored once a cut. */
#include "pipeline/runs_table.h"

enum { LAYOUT = 1, VALUE_BYTES = 256 * 1024 };
enum { HINT_ENDLESS = 64, HINT_RETRY = 128 }; /* packed above the state */

static struct span batch_text(const struct event_batch *batch, unsigned text, uint32_t row)
{
    if (text < RUN_TEXTS)
        return ((const struct span *)event_column(batch, run_text_fields[text]))[row];
    return batch->labels[text - RUN_TEXTS][row];
}

void row_record_send(const struct row_record *row, unsigned text_count, struct exchange_port *port,
                     unsigned workers)
{
    struct id128 key = run_key(row->texts[RUN_SOURCE], row->texts[RUN_NAMESPACE], row->texts[RUN_RUN]);
    uint32_t shard = (uint32_t)(key.high >> 56);
    size_t size = sizeof *row + text_count * sizeof(struct span);

    for (unsigned t = 0; t < text_count; t++)
        size += row->texts[t].size;
    struct row_record *record = exchange_record(port, shard % workers, RECORD_ROW, size);
    struct record head = record->head;
    *record = *row;
    record->head = head;
    record->shard = shard;
    record->texts = (struct span *)(record + 1);
    char *cursor = (char *)(record->texts + text_count);
    for (unsigned t = 0; t < text_count; t++)
        record->texts[t] = record_text(&cursor, row->texts[t]);
}

void row_record_wait(const struct row_record *row, struct block *block, struct order *order)
{
    order_push(order, &(struct order_entry){.order_us = row->order_us,
                                            .time_us = row->time_us,
                                            .offset = row->offset,
                                            .partition = row->partition,
                                            .item = row->item,
                                            .rank = row->state,
                                            .record = &row->head,
                                            .block = block});
}

void rows_send(const struct plan *plan, struct event_batch *batch, struct exchange_port *port,
               unsigned workers)
{
    unsigned text_count = RUN_TEXTS + plan->labels.count;

    for (uint32_t row = 0; row < batch->rows; row++) {
        struct span texts[RUN_TEXTS + LABELS_MAX];
        int64_t watermark = batch->watermark_us[row], time = batch->time_us[row];

        if (batch->mark[row] != MARK_OK || batch->state[row] == STATE_NONE || batch->run[row].size == 0)
            continue;
        for (unsigned t = 0; t < text_count; t++)
            texts[t] = batch_text(batch, t, row);
        struct row_record record = {
            .partition = batch->partition[row],
            .order_us = time > watermark ? time : watermark,
            .time_us = time,
            .watermark_us = watermark,
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
            .texts = texts,
        };
        row_record_send(&record, text_count, port, workers);
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

void row_record_pack(const struct row_record *row, unsigned text_count, struct buffer *out)
{
    pack_u32(out, row->partition);
    pack_i64(out, row->order_us);
    pack_i64(out, row->time_us);
    pack_i64(out, row->watermark_us);
    pack_i64(out, row->scheduled_us);
    pack_i64(out, row->queued_us);
    pack_i64(out, row->started_us);
    pack_i64(out, row->offset);
    pack_double(out, row->duration_ms);
    pack_u32(out, (uint32_t)row->map_index);
    pack_u16(out, row->item);
    pack_u16(out, row->attempt);
    pack_u8(out, (uint8_t)(row->state | (row->will_retry ? HINT_RETRY : 0) |
                           (row->is_endless ? HINT_ENDLESS : 0)));
    for (unsigned t = 0; t < text_count; t++)
        pack_text(out, row->texts[t]);
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

void row_record_unpack(struct unpack *in, const struct run_labels *labels,
                       struct span texts[RUN_TEXTS + LABELS_MAX], struct row_record *ret_row)
{
    *ret_row = (struct row_record){.partition = unpack_u32(in), .texts = texts};
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
    ret_row->state &= HINT_ENDLESS - 1;
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
        struct row_record row;

        row_record_unpack(&in, &labels, texts, &row);
        if (!in.broken)
            row_record_send(&row, RUN_TEXTS + plan->labels.count, port, workers);
    }
    return unpack_finish(&in, ret_error);
}
