/* A pane on its way to its window: as a record of the exchange, and as stored bytes. */
#include "pipeline/columns.h"
#include "pipeline/fold.h"

static size_t record_fixed_size(const struct plan_group *group)
{
    return sizeof(struct pane_record) + group->accumulators_size;
}

size_t pane_record_size(const struct plan_group *group, const struct span *texts)
{
    size_t size = record_fixed_size(group);

    for (unsigned i = 0; i < group->by_count; i++)
        size += sizeof(struct span) + texts[i].size;
    return size;
}

void pane_record_init(struct pane_record *record, const struct plan *plan, const struct plan_group *group,
                      struct id128 key, const struct span *texts)
{
    size_t fixed = record_fixed_size(group);
    char *cursor;

    memset(&record->group, 0, fixed - offsetof(struct pane_record, group));
    record->group = (uint32_t)(group - plan->groups);
    record->key = key;
    record->texts = (struct span *)((char *)record + fixed);
    cursor = (char *)(record->texts + group->by_count);
    for (unsigned i = 0; i < group->by_count; i++)
        record->texts[i] = record_text(&cursor, texts[i]);
}

void pane_record_pack(struct pane_record *record, const struct plan_group *group, struct buffer *out)
{
    key_pack(record->texts, group->by_count, out);
    pack_i64(out, record->start_us);
    pack_i64(out, record->first_end_us);
    pack_i64(out, record->order_us);
    pack_i64(out, record->offset);
    pack_u32(out, record->partition);
    pack_u16(out, record->item);
    accumulators_pack(group, record->accumulators, out);
}

bool pane_times_fit(int64_t start_us, int64_t first_end_us)
{
    return start_us >= 2 * TIME_MIN_US && start_us <= TIME_MAX_US && first_end_us > start_us &&
           first_end_us <= 2 * TIME_MAX_US;
}

bool pane_record_unpack(struct unpack *in, const struct plan_group *group, const struct columns *measures,
                        struct pane_parts *ret_parts)
{
    unsigned by_count = key_unpack(in, ret_parts->texts, &ret_parts->key);

    ret_parts->start_us = unpack_i64(in);
    ret_parts->first_end_us = unpack_i64(in);
    ret_parts->order_us = unpack_i64(in);
    ret_parts->offset = unpack_i64(in);
    ret_parts->partition = unpack_u32(in);
    ret_parts->item = unpack_u16(in);
    memset(ret_parts->accumulators, 0, sizeof ret_parts->accumulators);
    accumulators_unpack(in, group, measures, ret_parts->accumulators);
    in->broken |= !pane_times_fit(ret_parts->start_us, ret_parts->first_end_us) ||
                  (group && by_count != group->by_count);
    if (!in->broken && group)
        return true;
    if (group)
        accumulators_free(group, ret_parts->accumulators);
    return false;
}

void pane_record_make(struct pane_record *record, const struct plan *plan, const struct plan_group *group,
                      const struct pane_parts *parts)
{
    pane_record_init(record, plan, group, parts->key, parts->texts);
    record->start_us = parts->start_us;
    record->first_end_us = parts->first_end_us;
    record->order_us = parts->order_us;
    record->offset = parts->offset;
    record->partition = parts->partition;
    record->item = parts->item;
    memcpy(record->accumulators, parts->accumulators, group->accumulators_size);
}
