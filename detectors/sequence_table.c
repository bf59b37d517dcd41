/* The counts of a sequence model: one open hash table of contexts and of symbols in them. A few look-ups for
 * each step of a run. */
#include "base/memory.h"
#include "detectors/sequence_model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { OPEN_DISTINCT = 64 };

uint64_t key_join(uint64_t key, uint64_t part)
{
    uint64_t pair[2] = {key, part}, joined = hash_bytes(pair, sizeof pair, 0);

    return joined ? joined : 1;
}

static uint32_t place_of(const struct sequence *model, uint64_t key)
{
    uint32_t mask = model->capacity - 1, at = (uint32_t)key & mask;

    while (model->cells[at].key && model->cells[at].key != key)
        at = (at + 1) & mask;
    return at;
}

const struct cell *cell_find(const struct sequence *model, uint64_t key)
{
    const struct cell *cell = model->capacity ? &model->cells[place_of(model, key)] : NULL;

    return cell && cell->key ? cell : NULL;
}

/* Not the key of the context that this symbol widens. */
static uint64_t symbol_key(uint64_t context, uint64_t symbol)
{
    return key_join(~context, symbol);
}

double symbol_count(const struct sequence *model, uint64_t context, uint64_t symbol)
{
    const struct cell *cell = cell_find(model, symbol_key(context, symbol));

    return cell ? cell->count : 0;
}

bool context_is_open(const struct cell *context)
{
    return context->distinct >= OPEN_DISTINCT && 2 * context->distinct > context->count;
}

void cells_resize(struct sequence *model, uint32_t capacity)
{
    struct cell *old = model->cells;
    uint32_t old_capacity = model->capacity;

    assert(capacity >= SEQUENCE_CELLS_MIN && capacity <= model->limit && (capacity & (capacity - 1)) == 0);
    model->cells = memory_new(capacity * sizeof *model->cells);
    model->capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++)
        if (old[i].key)
            model->cells[place_of(model, old[i].key)] = old[i];
    free(old);
}

/* At most 3/4 full. */
static bool table_is_full(const struct sequence *model)
{
    return model->used >= model->capacity / 4 * 3;
}

static struct cell *cell_add(struct sequence *model, uint64_t key, uint64_t parent)
{
    struct cell *cell;

    while (table_is_full(model) && model->capacity == model->limit)
        sequence_age(model);
    if (table_is_full(model))
        cells_resize(model, model->capacity ? 2 * model->capacity : SEQUENCE_CELLS_MIN);
    cell = &model->cells[place_of(model, key)];
    if (!cell->key) {
        *cell = (struct cell){.key = key, .parent = parent};
        model->used++;
    }
    return cell;
}

void cell_restore(struct sequence *model, const struct cell *cell)
{
    model->cells[place_of(model, cell->key)] = *cell;
    model->used++;
}

void context_add(struct sequence *model, uint64_t context, uint64_t symbol, double weight)
{
    uint64_t key = symbol_key(context, symbol);
    bool is_new = cell_find(model, key) == NULL;
    struct cell *cell = cell_add(model, context, 0);

    cell->count += weight;
    cell->distinct += is_new && cell->distinct < UINT32_MAX;
    if (is_new && context_is_open(cell))
        return;
    cell_add(model, key, context)->count += weight;
}

/* Contexts are counted anew, as some of their symbols are gone. */
static void recount(struct sequence *model)
{
    for (uint32_t i = 0; i < model->capacity; i++)
        if (model->cells[i].parent == 0)
            model->cells[i].distinct = 0;
    for (uint32_t i = 0; i < model->capacity; i++)
        if (model->cells[i].parent) {
            uint32_t at = place_of(model, model->cells[i].parent);

            model->cells[at].distinct += model->cells[at].key != 0;
        }
}

static void halve_tail(struct tail *tail)
{
    tail->total = 0;
    for (unsigned i = 0; i < TAIL_BINS; i++)
        tail->total += tail->bins[i] /= 2;
}

void sequence_age(struct sequence *model)
{
    struct cell *old = model->cells;

    model->cells = memory_new(model->capacity * sizeof *model->cells);
    model->used = 0;
    for (uint32_t i = 0; i < model->capacity; i++) {
        old[i].count /= 2;
        if (!old[i].key || old[i].count < 1)
            continue;
        model->cells[place_of(model, old[i].key)] = old[i];
        model->used++;
    }
    free(old);
    recount(model);
    model->runs /= 2;
    for (size_t i = 0; i < model->kind_count; i++)
        model->kinds[i].runs /= 2;
    for (size_t i = 0; i < model->prototype_count; i++)
        model->prototypes[i].runs /= 2;
    for (unsigned c = 0; c < CHANNELS; c++)
        halve_tail(&model->known[c]);
    halve_tail(&model->judged);
}

static unsigned bin_of(double surprise)
{
    double bin = surprise * TAIL_BINS_A_NAT;

    return bin < TAIL_BINS - 1 ? (unsigned)bin : TAIL_BINS - 1;
}

void tail_add(struct tail *tail, double surprise)
{
    if (tail->total >= SEQUENCE_RUNS_MAX)
        halve_tail(tail);
    tail->bins[bin_of(surprise)]++;
    tail->total++;
}

double tail_share(const struct tail *tail, double surprise)
{
    uint32_t above = 0;

    for (unsigned i = bin_of(surprise); i < TAIL_BINS; i++)
        above += tail->bins[i];
    return (above + 1.0) / (tail->total + 1.0);
}
