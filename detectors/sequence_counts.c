/* The counts channel: how often each step occurs in a run. The order of steps does not matter here, so that
 * what runs side by side is no noise. */
#include "base/memory.h"
#include "detectors/sequence_model.h"

#include <math.h>
#include <stdlib.h>

enum { KEY_COUNT = 16, BUCKETS_EXACT = 4, BUCKETS_MAX = 32 };

static const double neighbour_share = 0.1; /* a count one bucket away is that much of the same */

struct difference { /* of a run from a prototype, at one step */
    uint64_t hash;
    uint32_t actual, usual, step; /* step: the first one of the run, if it has any */
    double surprise;
};

struct comparison {
    const struct sequence *model;
    const struct step_count *vector;
    const double *surprises; /* of each count of the vector */
    uint32_t size;
};

struct step_kind *kind_find(const struct sequence *model, uint64_t hash)
{
    for (size_t i = 0; i < model->kind_count; i++)
        if (model->kinds[i].hash == hash)
            return &model->kinds[i];
    return NULL;
}

static int compare_counts(const void *left, const void *right)
{
    const struct step_count *a = left, *b = right;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->step > b->step) - (a->step < b->step);
}

uint32_t vector_of(const struct sequence_run *run, struct step_count ret_vector[SEQUENCE_STEPS_MAX])
{
    uint32_t count = run->count < SEQUENCE_STEPS_MAX ? run->count : SEQUENCE_STEPS_MAX, size = 0;

    for (uint32_t i = 0; i < count; i++)
        ret_vector[i] = (struct step_count){.hash = step_hash(run->steps[i].name), .count = 1, .step = i};
    if (count)
        qsort(ret_vector, count, sizeof *ret_vector, compare_counts);
    for (uint32_t i = 0; i < count; i++)
        if (size && ret_vector[size - 1].hash == ret_vector[i].hash)
            ret_vector[size - 1].count++;
        else
            ret_vector[size++] = ret_vector[i];
    return size;
}

/* Up to 4 each count has its own; then two to each doubling. */
static unsigned bucket_of(uint32_t count)
{
    return count <= BUCKETS_EXACT ? count : (unsigned)(floor(2 * log2(count / (double)BUCKETS_EXACT))) + 5;
}

static double runs_in_bucket(const struct sequence *model, uint64_t context, int bucket)
{
    return bucket > 0 ? symbol_count(model, context, (uint64_t)bucket) : 0;
}

/* Runs with about this count of a step. None is not near to one. */
static double runs_with(const struct sequence *model, uint64_t hash, uint32_t count)
{
    uint64_t context = key_join(KEY_COUNT, hash);
    const struct cell *cell = cell_find(model, context);
    int bucket = (int)bucket_of(count);
    double runs = 0;

    if (count == 0)
        return model->runs - (cell ? cell->count : 0);
    for (int distance = -2; distance <= 2; distance++)
        runs += runs_in_bucket(model, context, bucket + distance) * pow(neighbour_share, abs(distance));
    return runs;
}

static double count_surprise(const struct sequence *model, uint64_t hash, uint32_t count)
{
    return fmax(0, -log((runs_with(model, hash, count) + 1) / (model->runs + 1)));
}

/* A small change of a great count says little. */
static double difference_cost(double surprise, uint32_t actual, uint32_t usual)
{
    uint32_t greater = actual > usual ? actual : usual, least = actual > usual ? usual : actual;
    double cost = surprise * (greater - least) / greater;

    return cost * cost;
}

/* Walks both vectors; returns the squared distance, or what it had reached when it passed `limit`. With
 * `ret_differences` (room for both vectors) it also lists them. */
static double distance(const struct comparison *run, const struct prototype *prototype, double limit,
                       struct difference *ret_differences, uint32_t *ret_count)
{
    uint32_t i = 0, j = 0, count = 0;
    double sum = 0;

    while ((i < run->size || j < prototype->size) && sum <= limit) {
        bool mine =
            j == prototype->size || (i < run->size && run->vector[i].hash <= prototype->counts[j].hash);
        bool both = mine && j < prototype->size && run->vector[i].hash == prototype->counts[j].hash;
        struct difference difference = {.hash = mine ? run->vector[i].hash : prototype->counts[j].hash,
                                        .actual = mine ? run->vector[i].count : 0,
                                        .usual = both || !mine ? prototype->counts[j].count : 0,
                                        .step = mine ? run->vector[i].step : 0};

        difference.surprise = mine ? run->surprises[i] : count_surprise(run->model, difference.hash, 0);
        i += mine;
        j += both || !mine;
        if (difference.actual == difference.usual)
            continue;
        sum += difference_cost(difference.surprise, difference.actual, difference.usual);
        if (ret_differences)
            ret_differences[count++] = difference;
    }
    if (ret_count)
        *ret_count = count;
    return sum;
}

/* The usual surprise of a vector: the entropy of the prototypes. */
static double usual_surprise(const struct sequence *model)
{
    double sum = 0;

    for (size_t i = 0; i < model->prototype_count; i++)
        sum -= model->prototypes[i].runs * log(model->prototypes[i].runs / (model->runs + 1));
    return sum / (model->runs + 1);
}

static double base_cost(const struct sequence *model, const struct prototype *prototype, double usual)
{
    double beyond = fmax(0, -log(prototype->runs / (model->runs + 1)) - usual);

    return beyond * beyond;
}

static void explain(const struct comparison *run, const struct sequence_run *steps,
                    const struct prototype *nearest, struct sequence_verdict *verdict)
{
    struct difference differences[2 * SEQUENCE_STEPS_MAX];
    uint32_t count;

    (void)distance(run, nearest, INFINITY, differences, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct difference at = differences[i];
        const struct step_kind *kind = kind_find(run->model, at.hash);
        struct sequence_reason reason = {
            .kind = !at.actual ? SEQUENCE_MISSING
                    : kind     ? SEQUENCE_COUNT
                               : SEQUENCE_NEW,
            .step = at.actual ? steps->steps[at.step].name
                    : kind    ? span_make(kind->name, kind->size)
                              : (struct span){0},
            .surprise = sqrt(difference_cost(at.surprise, at.actual, at.usual)),
            .seen = kind ? runs_with(run->model, at.hash, at.actual) : 0,
            .of = run->model->runs,
            .actual = at.actual,
            .usual = at.usual,
        };
        reason_add(verdict, &reason);
    }
}

double counts_judge(const struct sequence *model, const struct sequence_run *run,
                    struct sequence_verdict *verdict)
{
    struct step_count vector[SEQUENCE_STEPS_MAX];
    double surprises[SEQUENCE_STEPS_MAX], least = INFINITY, usual = usual_surprise(model);
    struct comparison comparison = {
        .model = model, .vector = vector, .surprises = surprises, .size = vector_of(run, vector)};
    const struct prototype *nearest = NULL;

    for (uint32_t i = 0; i < comparison.size; i++)
        surprises[i] = count_surprise(model, vector[i].hash, vector[i].count);
    for (size_t i = 0; i < model->prototype_count; i++) {
        double cost = base_cost(model, &model->prototypes[i], usual);

        cost += distance(&comparison, &model->prototypes[i], least - cost, NULL, NULL);
        if (cost < least) {
            least = cost;
            nearest = &model->prototypes[i];
        }
    }
    if (!nearest)
        return 0;
    explain(&comparison, run, nearest, verdict);
    return sqrt(least);
}

static struct prototype *prototype_find(const struct sequence *model, const struct step_count *vector,
                                        uint32_t size)
{
    for (size_t i = 0; i < model->prototype_count; i++) {
        struct prototype *prototype = &model->prototypes[i];
        bool same = prototype->size == size;

        for (uint32_t k = 0; same && k < size; k++)
            same =
                prototype->counts[k].hash == vector[k].hash && prototype->counts[k].count == vector[k].count;
        if (same)
            return prototype;
    }
    return NULL;
}

static void drop_rarest(struct sequence *model)
{
    size_t rarest = 0;

    for (size_t i = 1; i < model->prototype_count; i++)
        if (model->prototypes[i].runs < model->prototypes[rarest].runs)
            rarest = i;
    model->vector_counts -= model->prototypes[rarest].size;
    free(model->prototypes[rarest].counts);
    memmove(model->prototypes + rarest, model->prototypes + rarest + 1,
            (model->prototype_count - rarest - 1) * sizeof *model->prototypes);
    model->prototype_count--;
}

/* Room for one more: those of the fewest runs leave, of equal ones the oldest. */
static void make_room(struct sequence *model, uint32_t size)
{
    while (model->prototype_count == SEQUENCE_PROTOTYPES_MAX ||
           (model->prototype_count && model->vector_counts + size > SEQUENCE_COUNTS_MAX))
        drop_rarest(model);
    model->vector_counts += size;
}

static void learn_vector(struct sequence *model, const struct step_count *vector, uint32_t size,
                         double weight)
{
    struct prototype *prototype = prototype_find(model, vector, size);

    if (!prototype) {
        make_room(model, size);
        model->prototypes = memory_reserve(model->prototypes, &model->prototype_capacity,
                                           model->prototype_count + 1, sizeof *model->prototypes);
        prototype = &model->prototypes[model->prototype_count++];
        *prototype = (struct prototype){.counts = memory_new((size + 1) * sizeof *vector), .size = size};
        if (size)
            memcpy(prototype->counts, vector, size * sizeof *vector);
    }
    prototype->runs += weight;
}

static void learn_kind(struct sequence *model, struct span name, uint64_t hash, double weight)
{
    struct step_kind *kind = kind_find(model, hash);
    size_t rarest = 0;

    if (!kind && model->kind_count == SEQUENCE_KINDS_MAX) {
        for (size_t i = 1; i < model->kind_count; i++)
            if (model->kinds[i].runs < model->kinds[rarest].runs)
                rarest = i;
        memmove(model->kinds + rarest, model->kinds + rarest + 1,
                (model->kind_count - rarest - 1) * sizeof *model->kinds);
        model->kind_count--;
    }
    if (!kind) {
        model->kinds =
            memory_reserve(model->kinds, &model->kind_capacity, model->kind_count + 1, sizeof *model->kinds);
        kind = &model->kinds[model->kind_count++];
        *kind = (struct step_kind){.hash = hash};
        kind->size = (uint8_t)(name.size < SEQUENCE_NAME_MAX ? name.size : SEQUENCE_NAME_MAX);
        if (kind->size)
            memcpy(kind->name, name.data, kind->size);
    }
    kind->runs += weight;
}

void counts_learn(struct sequence *model, const struct sequence_run *run, double weight)
{
    struct step_count vector[SEQUENCE_STEPS_MAX];
    uint32_t size = vector_of(run, vector);

    for (uint32_t i = 0; i < size; i++)
        context_add(model, key_join(KEY_COUNT, vector[i].hash), bucket_of(vector[i].count), weight);
    if (size <= SEQUENCE_KINDS_MAX)
        learn_vector(model, vector, size, weight);
    for (uint32_t i = 0; i < size; i++)
        learn_kind(model, run->steps[vector[i].step].name, vector[i].hash, weight);
}
