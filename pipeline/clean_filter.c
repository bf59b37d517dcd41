/* Clean steps that drop rows: keep and drop by a condition, dedupe and throttle by what was seen before. Each
 * runs once a batch; dedupe and throttle hash and look up once a row. Memory is bounded by CLEAN_SEEN_MAX
 * keys of 80 to 100 bytes a step and partition. */
#include "base/memory.h"
#include "pipeline/clean_step.h"

#include <assert.h>

enum status clean_filter_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                              struct error *ret_error)
{
    return clean_compile(cleaner, node_find(map, step->type->key), CEL_BOOL, &step->program, ret_error);
}

static void drop_where(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                       struct clean_figures *figures, bool unwanted)
{
    cel_filter(step->program, batch, cleaner->flags, &figures->errors);
    for (uint32_t row = 0; row < batch->rows; row++)
        if (batch->mark[row] == MARK_OK && (cleaner->flags[row] != 0) == unwanted)
            clean_drop_row(batch, row, MARK_FILTERED, &figures->filtered);
}

void clean_keep_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                      struct clean_figures *figures)
{
    drop_where(cleaner, step, batch, figures, false);
}

void clean_drop_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                      struct clean_figures *figures)
{
    drop_where(cleaner, step, batch, figures, true);
}

static enum status find_fields(struct cleaner *cleaner, struct clean_step *step, const struct node *node,
                               struct error *ret_error)
{
    const struct option_texts *names = &step->settings.fields;

    if (names->count == 0 || names->count > CLEAN_FIELDS_MAX)
        return node_fail(node, ret_error, "%s takes 1 to %d fields", step->type->key, CLEAN_FIELDS_MAX);
    for (size_t i = 0; i < names->count; i++) {
        const struct node *name = node->type == NODE_LIST ? node->items[i] : node;
        enum status status = clean_field_find(cleaner, name, names->items[i], &step->fields[i], ret_error);

        if (status != STATUS_OK)
            return status;
    }
    step->field_count = (unsigned)names->count;
    step->remembers = true;
    slots_init(&step->partition_slots, SLOT_NONE);
    return STATUS_OK;
}

enum status clean_dedupe_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                              struct error *ret_error)
{
    return find_fields(cleaner, step, node_find(map, "dedupe"), ret_error);
}

enum status clean_throttle_open(struct cleaner *cleaner, struct clean_step *step, const struct node *map,
                                struct error *ret_error)
{
    return find_fields(cleaner, step, node_find(map, "throttle"), ret_error);
}

struct seen *clean_partition(struct clean_step *step, uint64_t number)
{
    bool is_new;
    uint32_t at = slots_add(&step->partition_slots, (struct id128){.low = number}, &is_new);

    step->partitions =
        memory_reserve(step->partitions, &step->partition_capacity, (size_t)at + 1, sizeof *step->partitions);
    if (is_new) {
        seen_init(&step->partitions[at], number < CLEAN_SHARD ? CLEAN_SEEN_MAX : CLEAN_SHARD_SEEN_MAX);
        step->partitions[at].name =
            (struct state_key){.kind = STATE_SEEN, .owner = number, .part = step->identity};
    }
    return &step->partitions[at];
}

/* By the values themselves: as text, times of the same millisecond would be one. Returns whether any was
 * present. */
static bool add_fields(const struct clean_step *step, const struct event_batch *batch, uint32_t row,
                       struct id_builder *key)
{
    bool present = false;

    for (unsigned i = 0; i < step->field_count; i++) {
        struct field_value value;

        present |= clean_value_get(batch, row, step->fields[i], &value);
        clean_value_hash(&value, clean_field_type(step->fields[i]), key);
    }
    return present;
}

bool clean_key(const struct clean_step *step, const struct event_batch *batch, uint32_t row,
               struct id128 *ret_key)
{
    struct id_builder builder;

    id_begin(&builder);
    bool present = add_fields(step, batch, row, &builder);
    *ret_key = id_end(&builder);
    return present;
}

void clean_dedupe_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                        struct clean_figures *figures)
{
    if (step->settings.scope == SCOPE_ALL)
        return;
    struct seen *seen = clean_partition(step, batch->partition[0]);
    uint64_t evicted_before = seen->evicted;

    for (uint32_t row = 0; row < batch->rows; row++) {
        struct id128 key;

        assert(batch->partition[row] == batch->partition[0]);
        if (batch->mark[row] != MARK_OK || !clean_key(step, batch, row, &key))
            continue;
        if (seen_find(seen, key, batch->watermark_us[row]))
            clean_drop_row(batch, row, MARK_DUPLICATE, &figures->duplicates);
        else
            seen_add(seen, key, batch->time_us[row] + step->settings.span_us);
    }
    figures->dedupe_evicted += seen->evicted - evicted_before;
}

void clean_throttle_apply(struct cleaner *cleaner, struct clean_step *step, struct event_batch *batch,
                          struct clean_figures *figures)
{
    struct seen *seen = clean_partition(step, batch->partition[0]);
    uint64_t evicted_before = seen->evicted;

    for (uint32_t row = 0; row < batch->rows; row++) {
        struct id_builder builder;
        int64_t window = floor_div(batch->time_us[row], step->settings.span_us);
        int64_t end_us = (window + 1) * step->settings.span_us;

        assert(batch->partition[row] == batch->partition[0]);
        /* What a closed window let through is forgotten; its late rows are the late policy's matter. */
        if (batch->mark[row] != MARK_OK || end_us <= batch->watermark_us[row])
            continue;
        id_begin(&builder);
        id_add_integer(&builder, window);
        add_fields(step, batch, row, &builder);
        struct id128 key = id_end(&builder);
        struct seen_entry *entry = seen_find(seen, key, batch->watermark_us[row]);
        if (!entry)
            entry = seen_add(seen, key, end_us);
        if (entry->count < step->settings.count) {
            seen_touch(seen, entry);
            entry->count++;
        } else {
            clean_drop_row(batch, row, MARK_FILTERED, &figures->throttled);
        }
    }
    figures->throttle_evicted += seen->evicted - evicted_before;
}
