/* A sequence model as bytes. */
#include "base/memory.h"
#include "detectors/sequence_model.h"

#include <math.h>

enum { LAYOUT = 1 };

static void pack_tail(const struct tail *tail, struct buffer *out)
{
    for (unsigned i = 0; i < TAIL_BINS; i++)
        pack_u32(out, tail->bins[i]);
}

static void unpack_tail(struct unpack *in, struct tail *ret_tail)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < TAIL_BINS; i++)
        total += ret_tail->bins[i] = unpack_u32(in);
    in->broken |= total > SEQUENCE_RUNS_MAX;
    ret_tail->total = (uint32_t)total;
}

void sequence_pack(const struct sequence *model, struct buffer *out)
{
    pack_u8(out, LAYOUT);
    pack_u8(out, (uint8_t)__builtin_ctz(model->limit));
    pack_double(out, model->runs);
    pack_double(out, model->odd_share);
    for (unsigned c = 0; c < CHANNELS; c++)
        pack_tail(&model->known[c], out);
    pack_tail(&model->judged, out);
    pack_u32(out, (uint32_t)model->kind_count);
    for (size_t i = 0; i < model->kind_count; i++) {
        pack_u64(out, model->kinds[i].hash);
        pack_double(out, model->kinds[i].runs);
        pack_text(out, span_make(model->kinds[i].name, model->kinds[i].size));
    }
    pack_u32(out, (uint32_t)model->prototype_count);
    for (size_t i = 0; i < model->prototype_count; i++) {
        const struct prototype *prototype = &model->prototypes[i];

        pack_double(out, prototype->runs);
        pack_u32(out, prototype->size);
        for (uint32_t k = 0; k < prototype->size; k++) {
            pack_u64(out, prototype->counts[k].hash);
            pack_u32(out, prototype->counts[k].count);
        }
    }
    pack_u32(out, model->capacity);
    pack_u32(out, model->used);
    for (uint32_t i = 0; i < model->capacity; i++) {
        const struct cell *cell = &model->cells[i];

        if (!cell->key)
            continue;
        pack_u64(out, cell->key);
        pack_u64(out, cell->parent);
        pack_double(out, cell->count);
        pack_u32(out, cell->distinct);
    }
}

static double unpack_weight(struct unpack *in)
{
    double weight = unpack_double(in);

    in->broken |= !(weight >= 0 && weight < 1e15);
    return in->broken ? 0 : weight;
}

static uint32_t unpack_count(struct unpack *in, uint32_t limit)
{
    uint32_t count = unpack_u32(in);

    in->broken |= count > limit;
    return in->broken ? 0 : count;
}

static void unpack_kinds(struct unpack *in, struct sequence *model)
{
    uint32_t count = unpack_count(in, SEQUENCE_KINDS_MAX);

    model->kinds = memory_reserve(NULL, &model->kind_capacity, count + 1u, sizeof *model->kinds);
    for (; model->kind_count < count && !in->broken; model->kind_count++) {
        struct step_kind kind = {.hash = unpack_u64(in)};
        struct span name;

        kind.runs = unpack_weight(in);
        name = unpack_text(in);
        in->broken |= name.size > SEQUENCE_NAME_MAX;
        if (in->broken)
            return;
        kind.size = (uint8_t)name.size;
        if (name.size)
            memcpy(kind.name, name.data, name.size);
        model->kinds[model->kind_count] = kind;
    }
}

static void unpack_prototype(struct unpack *in, struct prototype *ret_prototype)
{
    struct prototype prototype = {.runs = unpack_weight(in)};

    prototype.size = unpack_count(in, SEQUENCE_KINDS_MAX);
    in->broken |= prototype.runs <= 0;
    prototype.counts = memory_new((prototype.size + 1) * sizeof *prototype.counts);
    for (uint32_t k = 0; k < prototype.size; k++) {
        prototype.counts[k].hash = unpack_u64(in);
        prototype.counts[k].count = unpack_count(in, SEQUENCE_STEPS_MAX);
        in->broken |=
            prototype.counts[k].count == 0 || (k && prototype.counts[k].hash <= prototype.counts[k - 1].hash);
    }
    *ret_prototype = prototype;
}

static void unpack_prototypes(struct unpack *in, struct sequence *model)
{
    uint32_t count = unpack_count(in, SEQUENCE_PROTOTYPES_MAX);

    model->prototypes =
        memory_reserve(NULL, &model->prototype_capacity, count + 1u, sizeof *model->prototypes);
    while (model->prototype_count < count && !in->broken) {
        struct prototype *prototype = &model->prototypes[model->prototype_count++];

        unpack_prototype(in, prototype);
        model->vector_counts += prototype->size;
    }
    in->broken |= model->vector_counts > SEQUENCE_COUNTS_MAX;
}

static void unpack_cells(struct unpack *in, struct sequence *model)
{
    uint32_t capacity = unpack_count(in, model->limit), count = unpack_count(in, capacity / 4 * 3);

    if (in->broken || (capacity && (capacity < SEQUENCE_CELLS_MIN || (capacity & (capacity - 1))))) {
        in->broken = true;
        return;
    }
    if (capacity)
        cells_resize(model, capacity);
    for (uint32_t i = 0; i < count && !in->broken; i++) {
        struct cell cell = {.key = unpack_u64(in)};

        cell.parent = unpack_u64(in);
        cell.count = unpack_weight(in);
        cell.distinct = unpack_u32(in);
        in->broken |= cell.key == 0 || cell_find(model, cell.key);
        if (!in->broken)
            cell_restore(model, &cell);
    }
}

struct sequence *sequence_unpack(struct unpack *in)
{
    struct sequence *model;
    uint8_t log_cells;

    in->broken |= unpack_u8(in) != LAYOUT;
    log_cells = unpack_u8(in);
    if (in->broken || log_cells < 8 || log_cells > 15) {
        in->broken = true;
        return NULL;
    }
    model = sequence_new(1u << log_cells);
    model->runs = unpack_weight(in);
    model->odd_share = unpack_double(in);
    in->broken |= !(model->odd_share >= 0 && model->odd_share <= 1);
    for (unsigned c = 0; c < CHANNELS; c++)
        unpack_tail(in, &model->known[c]);
    unpack_tail(in, &model->judged);
    unpack_kinds(in, model);
    unpack_prototypes(in, model);
    unpack_cells(in, model);
    if (!in->broken)
        return model;
    sequence_free(model);
    return NULL;
}
