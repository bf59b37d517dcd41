#include "pipeline/unique.h"

#include "base/memory.h"
#include "pipeline/clean_step.h"
#include "pipeline/fold.h"

#include <assert.h>
#include <stdlib.h>

enum { LAYOUT = 1, VALUE_BYTES = 256 * 1024, NAME_BYTES = LABEL_NAME_MAX + 16 };

void unique_init(struct unique *unique)
{
    *unique = (struct unique){0};
    buffer_init(&unique->bytes, UNIQUE_ROW_MAX);
}

void unique_free(struct unique *unique)
{
    order_free(&unique->order);
    order_frozen_free(&unique->frozen);
    buffer_free(&unique->bytes);
}

static void pack_number(const struct field_value *value, enum field_type type, struct buffer *out)
{
    pack_u32(out, sizeof(uint64_t));
    if (type == FIELD_NUMBER)
        pack_double(out, value->number);
    else
        pack_i64(out, value->integer);
}

/* By names, so that a configuration or a weir with other fields and labels can read it. */
static void pack_row(const struct plan *plan, const struct event_batch *batch, uint32_t row,
                     struct buffer *out)
{
    pack_i64(out, batch->watermark_us[row]);
    pack_u8(out, batch->notes[row]);
    for (unsigned i = 0; i < FIELD_COUNT + plan->labels.count; i++) {
        struct field_ref ref = {.field = i < FIELD_COUNT ? (enum field)i : FIELD_COUNT,
                                .label = i < FIELD_COUNT ? 0 : i - FIELD_COUNT};
        struct field_value value;

        if (!clean_value_get(batch, row, ref, &value))
            continue;
        pack_u8(out, ref.field == FIELD_COUNT);
        pack_text(out, span_of(field_ref_name(ref, &plan->labels)));
        if (clean_field_type(ref) == FIELD_TEXT)
            pack_text(out, value.text);
        else
            pack_number(&value, clean_field_type(ref), out);
    }
}

static bool find_ref(const struct plan *plan, bool is_label, struct span name, struct field_ref *ret_ref)
{
    int field = is_label ? FIELD_COUNT : field_find(name);
    unsigned label = 0;

    while (is_label && label < plan->labels.count && !span_is(name, plan->labels.names[label]))
        label++;
    *ret_ref = (struct field_ref){.field = (enum field)field, .label = label};
    return field >= 0 && label <= plan->labels.count && !(is_label && label == plan->labels.count);
}

/* What has no place here any more is left out. */
static void unpack_row(const struct plan *plan, struct span bytes, struct event_batch *batch, uint32_t row)
{
    struct unpack in = unpack_begin(bytes);

    batch->watermark_us[row] = unpack_i64(&in);
    batch->notes[row] = unpack_u8(&in);
    while (!in.broken && in.at < in.end) {
        bool is_label = unpack_u8(&in);
        struct span name = unpack_text(&in);
        struct field_value value = {.text = unpack_text(&in)};
        struct unpack number = unpack_begin(value.text);
        struct field_ref ref;

        if (!find_ref(plan, is_label, name, &ref))
            continue;
        if (clean_field_type(ref) == FIELD_NUMBER)
            value.number = unpack_double(&number);
        else if (clean_field_type(ref) != FIELD_TEXT)
            value.integer = unpack_i64(&number);
        clean_value_put(batch, row, ref, &value);
    }
}

static void send_record(const struct unique_record *record, const char *bytes, struct exchange_port *port,
                        unsigned workers)
{
    struct unique_record *sent =
        exchange_record(port, record->shard % workers, RECORD_UNIQUE, sizeof *sent + record->size);
    struct record head = sent->head;

    *sent = *record;
    sent->head = head;
    memcpy(sent->bytes, bytes, record->size);
}

void unique_send(struct unique *unique, const struct clean_step *step, const struct plan *plan,
                 struct event_batch *batch, struct exchange_port *port, unsigned workers)
{
    for (uint32_t row = 0; row < batch->rows; row++) {
        int64_t watermark = batch->watermark_us[row], time = batch->time_us[row];
        struct id128 key;

        if (batch->mark[row] != MARK_OK)
            continue;
        (void)clean_key(step, batch, row, &key); /* rows without an id go the same way */
        buffer_clear(&unique->bytes);
        pack_row(plan, batch, row, &unique->bytes);
        if (unique->bytes.full) {
            batch->mark[row] = MARK_MALFORMED;
            batch->reason[row] = "more than 32 MiB of text: too much for dedupe with scope all";
            continue;
        }
        struct unique_record record = {.shard = shard_of(key),
                                       .partition = batch->partition[row],
                                       .order_us = time > watermark ? time : watermark,
                                       .time_us = time,
                                       .offset = batch->offset[row],
                                       .item = batch->item[row],
                                       .state = batch->state[row],
                                       .size = (uint32_t)unique->bytes.size};
        send_record(&record, unique->bytes.data, port, workers);
    }
}

void unique_take(struct unique *unique, const struct unique_record *record, struct block *block)
{
    order_push(&unique->order, &(struct order_entry){.order_us = record->order_us,
                                                     .time_us = record->time_us,
                                                     .offset = record->offset,
                                                     .partition = record->partition,
                                                     .item = record->item,
                                                     .rank = record->state,
                                                     .record = &record->head,
                                                     .block = block});
}

/* The first of its id is remembered; those without one are never copies. */
static bool is_copy(struct cleaner *cleaner, const struct unique_record *record,
                    const struct event_batch *batch, uint32_t row, struct clean_figures *figures)
{
    struct clean_step *step = (struct clean_step *)cleaner_unique(cleaner);
    struct seen *seen = clean_partition(step, CLEAN_SHARD + record->shard);
    uint64_t evicted_before = seen->evicted;
    struct id128 key;

    if (!clean_key(step, batch, row, &key))
        return false;
    if (seen_find(seen, key, record->order_us))
        return true;
    seen_add(seen, key, record->time_us + step->settings.span_us);
    figures->dedupe_evicted += seen->evicted - evicted_before;
    return false;
}

void unique_apply(struct unique *unique, struct cleaner *cleaner, const struct plan *plan,
                  struct event_batch *batch, struct clean_figures *figures)
{
    const struct unique_record *record = (const struct unique_record *)order_first(&unique->order)->record;
    uint32_t row = event_batch_add(batch);
    struct span bytes;
    bool fits = arena_copy(&batch->text, span_make(record->bytes, record->size), &bytes);

    assert(row != UINT32_MAX && fits);
    unpack_row(plan, bytes, batch, row);
    batch->partition[row] = record->partition;
    batch->offset[row] = record->offset;
    batch->item[row] = record->item;
    if (is_copy(cleaner, record, batch, row, figures)) {
        figures->duplicates++;
        batch->rows--;
    }
    order_pop(&unique->order);
}

void unique_pack(const struct unique_record *record, struct buffer *out)
{
    pack_u32(out, record->shard);
    pack_u32(out, record->partition);
    pack_i64(out, record->order_us);
    pack_i64(out, record->time_us);
    pack_i64(out, record->offset);
    pack_u16(out, record->item);
    pack_u8(out, record->state);
    pack_text(out, span_make(record->bytes, record->size));
}

void unique_unpack(struct unpack *in, struct exchange_port *port, unsigned workers)
{
    struct unique_record record = {.shard = unpack_u32(in), .partition = unpack_u32(in)};

    record.order_us = unpack_time(in);
    record.time_us = unpack_time(in);
    record.offset = unpack_i64(in);
    record.item = unpack_u16(in);
    record.state = unpack_u8(in);
    struct span bytes = unpack_text(in);
    record.size = bytes.size;
    in->broken |= record.shard >= SHARDS || record.state >= STATE_COUNT;
    if (!in->broken)
        send_record(&record, bytes.data, port, workers);
}

void unique_freeze(struct unique *unique)
{
    order_freeze(&unique->order, &unique->frozen);
    unique->frozen_block = 0;
}

bool unique_save(struct unique *unique, size_t budget, struct saver *saver, uint64_t worker, uint64_t cut)
{
    struct order_frozen *frozen = &unique->frozen;

    for (size_t packed = 0; packed < budget && frozen->next < frozen->count;) {
        pack_u8(&saver->bytes, LAYOUT);
        while (frozen->next < frozen->count && saver->bytes.size < VALUE_BYTES)
            unique_pack((const struct unique_record *)frozen->entries[frozen->next++].record, &saver->bytes);
        packed += saver->bytes.size;
        saver_put(saver,
                  (struct state_key){
                      .kind = STATE_UNIQUE, .block = unique->frozen_block++, .owner = worker, .part = cut});
    }
    if (frozen->next < frozen->count)
        return false;
    order_frozen_free(frozen);
    return true;
}

enum status unique_restore(struct span value, struct exchange_port *port, unsigned workers,
                           struct error *ret_error)
{
    struct unpack in;

    if (unpack_layout(value, LAYOUT, &in, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (!in.broken && in.at < in.end)
        unique_unpack(&in, port, workers);
    return unpack_finish(&in, ret_error);
}
