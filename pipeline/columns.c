/* Runs for each block of a cut and of a restart, so that everything is looked up plainly. */
#include "pipeline/columns.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct plan_group *group_find(const struct plan *plan, uint64_t identity)
{
    for (unsigned i = 0; i < plan->group_count; i++)
        if (plan->groups[i].identity == identity)
            return &plan->groups[i];
    return NULL;
}

static unsigned column_count(const struct plan_group *group, enum column_kind kind)
{
    switch (kind) {
    case COLUMN_MEASURES:
        return group->measure_count;
    case COLUMN_RULES:
        return group->rule_count;
    case COLUMN_DETECTORS:
        break;
    }
    return group->detector_count;
}

static uint64_t column_identity(const struct plan *plan, const struct plan_group *group,
                                enum column_kind kind, unsigned place)
{
    switch (kind) {
    case COLUMN_MEASURES:
        return plan->measures[group->measures[place]].identity;
    case COLUMN_RULES:
        return plan->rules[group->rules[place]].identity;
    case COLUMN_DETECTORS:
        break;
    }
    return plan->detectors[group->detectors[place]].identity;
}

void columns_pack(const struct plan *plan, const struct plan_group *group, enum column_kind kind,
                  struct buffer *out)
{
    unsigned count = column_count(group, kind);

    pack_u32(out, count);
    for (unsigned i = 0; i < count; i++)
        pack_u64(out, column_identity(plan, group, kind, i));
}

void columns_unpack(struct unpack *in, const struct plan *plan, const struct plan_group *group,
                    enum column_kind kind, struct columns *ret_columns)
{
    unsigned now = group ? column_count(group, kind) : 0, count = unpack_u32(in);

    *ret_columns = (struct columns){.as_stored = count == now};
    in->broken |= count > (size_t)(in->end - in->at) / sizeof(uint64_t);
    if (in->broken)
        return;
    ret_columns->places = memory_new(count * sizeof *ret_columns->places);
    for (; ret_columns->count < count; ret_columns->count++) {
        uint64_t identity = unpack_u64(in);
        unsigned place = 0;

        while (place < now && column_identity(plan, group, kind, place) != identity)
            place++;
        for (unsigned i = 0; place < now && i < ret_columns->count; i++)
            in->broken |= ret_columns->places[i] == place;
        ret_columns->places[ret_columns->count] = place < now ? place : COLUMN_NONE;
        ret_columns->as_stored &= place == ret_columns->count;
    }
}

void columns_free(struct columns *columns)
{
    free(columns->places);
    *columns = (struct columns){0};
}

void accumulators_pack(const struct plan_group *group, char *accumulators, struct buffer *out)
{
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_pack(group_accumulator(group, accumulators, m), &group->layouts[m], out);
}

void accumulators_fetch(const struct plan_group *group, char *accumulators)
{
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_fetch(group_accumulator(group, accumulators, m), &group->layouts[m]);
}

void accumulators_include(const struct plan_group *group, char *into, char *from)
{
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_include(group_accumulator(group, into, m), &group->layouts[m],
                            group_accumulator(group, from, m));
}

void accumulators_free(const struct plan_group *group, char *accumulators)
{
    for (unsigned m = 0; m < group->measure_count; m++)
        accumulator_free(group_accumulator(group, accumulators, m), &group->layouts[m]);
}

void accumulators_unpack(struct unpack *in, const struct plan_group *group, const struct columns *measures,
                         char *into)
{
    for (unsigned i = 0; i < measures->count; i++) {
        unsigned place = measures->places[i];
        struct accumulator gone = {0};

        if (place == COLUMN_NONE)
            accumulator_unpack(in, NULL, &gone);
        else
            accumulator_unpack(in, &group->layouts[place], group_accumulator(group, into, place));
    }
}

struct id128 key_of(const struct span *texts, unsigned count)
{
    struct id_builder builder;

    id_begin(&builder);
    for (unsigned i = 0; i < count; i++)
        id_add_text(&builder, texts[i]);
    return id_end(&builder);
}

uint32_t key_texts_add(struct key_texts *keys, const struct span *texts, unsigned count)
{
    uint32_t at = keys->used;
    size_t needed = at;

    for (unsigned i = 0; i < count; i++)
        needed += sizeof(uint16_t) + texts[i].size;
    assert(needed <= UINT32_MAX / 2);
    if (needed > keys->capacity) {
        keys->capacity = (uint32_t)(needed + needed / 4);
        keys->bytes = memory_grow(keys->bytes, keys->capacity);
    }
    for (unsigned i = 0; i < count; i++) {
        uint16_t size = (uint16_t)texts[i].size;

        assert(texts[i].size <= KEY_TEXT_MAX);
        memcpy(keys->bytes + keys->used, &size, sizeof size);
        if (size)
            memcpy(keys->bytes + keys->used + sizeof size, texts[i].data, size);
        keys->used += (uint32_t)sizeof size + size;
    }
    return at;
}

void key_texts_read(const struct key_texts *keys, uint32_t at, unsigned count, struct span *ret_texts)
{
    const char *from = keys->bytes + at;

    for (unsigned i = 0; i < count; i++) {
        uint16_t size;

        memcpy(&size, from, sizeof size);
        ret_texts[i] = span_make(from + sizeof size, size);
        from += sizeof size + size;
    }
}

void key_pack(const struct span *texts, unsigned count, struct buffer *out)
{
    pack_u8(out, (uint8_t)count);
    for (unsigned i = 0; i < count; i++)
        pack_text(out, texts[i]);
}

unsigned key_unpack(struct unpack *in, struct span ret_texts[KEY_FIELDS_MAX], struct id128 *ret_key)
{
    unsigned count = unpack_u8(in);

    in->broken |= count > KEY_FIELDS_MAX;
    for (unsigned i = 0; i < count && !in->broken; i++) {
        ret_texts[i] = unpack_text(in);
        in->broken |= ret_texts[i].size > KEY_TEXT_MAX;
    }
    if (in->broken)
        return 0;
    *ret_key = key_of(ret_texts, count);
    return count;
}
