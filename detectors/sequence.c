/* The steps channel, the verdict, and learning. Tried on process logs and dropped: the tail mass of a context
 * in place of the probability of its symbol (blind to rare steps that are many), sums over the run in place
 * of its rarest step, an attribute given its value at the step before, order 4. */
#include "base/memory.h"
#include "detectors/sequence_model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    ORDER_MAX = 3,
    CONTEXTS = ORDER_MAX + 1,
    ODD_RUNS = 50,
    CALIBRATED_RUNS = 400,
    GOOD_RUNS_AN_ODD = 200
};

/* What keys are of; any numbers. */
enum { KEY_STEPS = 1, KEY_ATTRIBUTE, KEY_STEP_ATTRIBUTE };

static const uint64_t symbol_begin = 1, symbol_end = 2;

static const double odd_weight = 0.1; /* 0 never learns what was odd once, 1 learns what is wrong each day */

struct contexts { /* from the widest to the narrowest */
    uint64_t keys[CONTEXTS];
    unsigned count;
};

uint64_t step_hash(struct span name)
{
    return hash_bytes(name.data, name.size, 0);
}

struct sequence *sequence_new(uint32_t cells)
{
    struct sequence *model = memory_new(sizeof *model);

    assert(cells >= SEQUENCE_CELLS_MIN && cells <= SEQUENCE_CELLS_MAX && (cells & (cells - 1)) == 0);
    model->limit = cells;
    return model;
}

void sequence_free(struct sequence *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->prototype_count; i++)
        free(model->prototypes[i].counts);
    free(model->prototypes);
    free(model->kinds);
    free(model->cells);
    free(model);
}

size_t sequence_bytes(const struct sequence *model)
{
    return sizeof *model + model->capacity * sizeof *model->cells + model->kind_count * sizeof *model->kinds +
           model->prototype_count * sizeof *model->prototypes +
           model->vector_counts * sizeof *model->prototypes->counts;
}

double sequence_runs(const struct sequence *model)
{
    return model->runs;
}

static uint32_t step_count_of(const struct sequence_run *run)
{
    return run->count < SEQUENCE_STEPS_MAX ? run->count : SEQUENCE_STEPS_MAX;
}

/* The symbols of a run: its beginning, its steps, its end. Returns how many. */
static uint32_t symbols_of(const struct sequence_run *run, uint64_t ret_symbols[SEQUENCE_STEPS_MAX + 2])
{
    uint32_t count = step_count_of(run);

    ret_symbols[0] = symbol_begin;
    for (uint32_t i = 0; i < count; i++)
        ret_symbols[i + 1] = step_hash(run->steps[i].name);
    ret_symbols[count + 1] = symbol_end;
    return count + 2;
}

/* Of the symbol at `at`: nothing before it, the one before it, and so on, to the beginning at most. */
static struct contexts contexts_before(const uint64_t *symbols, uint32_t at)
{
    struct contexts contexts = {.keys = {key_join(KEY_STEPS, 0)}, .count = 1};

    for (; contexts.count < CONTEXTS && contexts.count <= at; contexts.count++)
        contexts.keys[contexts.count] =
            key_join(contexts.keys[contexts.count - 1], symbols[at - contexts.count]);
    return contexts;
}

static struct contexts contexts_of_attribute(uint64_t step, struct span name)
{
    uint64_t hash = step_hash(name);

    return (struct contexts){
        .keys = {key_join(KEY_ATTRIBUTE, hash), key_join(key_join(KEY_STEP_ATTRIBUTE, hash), step)},
        .count = 2};
}

/* -log of the symbol's probability; each narrower context takes from the wider one what it has not seen. */
static double surprise_in(const struct sequence *model, const struct contexts *contexts, uint64_t symbol)
{
    double probability = 1;

    for (unsigned k = 0; k < contexts->count; k++) {
        const struct cell *context = cell_find(model, contexts->keys[k]);

        if (!context || context_is_open(context))
            continue;
        double escape = fmax(1, context->distinct); /* its symbols may all be forgotten */

        probability = (symbol_count(model, contexts->keys[k], symbol) + escape * probability) /
                      (context->count + escape);
    }
    return probability < 1 ? -log(probability) : 0;
}

/* Each step, or attribute of a step, has one reason; those with the greatest surprise are kept, in order. */
void reason_add(struct sequence_verdict *verdict, const struct sequence_reason *reason)
{
    unsigned at = verdict->reason_count;

    if (reason->surprise < 1)
        return;
    for (unsigned i = 0; i < verdict->reason_count; i++)
        if (verdict->reasons[i].kind == reason->kind && span_equal(verdict->reasons[i].step, reason->step) &&
            span_equal(verdict->reasons[i].before, reason->before) &&
            span_equal(verdict->reasons[i].name, reason->name))
            return;
    for (; at > 0 && verdict->reasons[at - 1].surprise < reason->surprise; at--)
        if (at < SEQUENCE_REASONS)
            verdict->reasons[at] = verdict->reasons[at - 1];
    if (at < SEQUENCE_REASONS)
        verdict->reasons[at] = *reason;
    verdict->reason_count += verdict->reason_count < SEQUENCE_REASONS;
}

static void explain_step(const struct sequence *model, const struct sequence_run *run,
                         const uint64_t *symbols, uint32_t at, double surprise,
                         struct sequence_verdict *verdict)
{
    struct contexts contexts = contexts_before(symbols, at);
    const struct cell *context = contexts.count > 1 ? cell_find(model, contexts.keys[1]) : NULL;
    bool is_end = symbols[at] == symbol_end;
    struct sequence_reason reason = {
        .kind = is_end || kind_find(model, symbols[at]) ? SEQUENCE_ORDER : SEQUENCE_NEW,
        .step = is_end ? (struct span){0} : run->steps[at - 1].name,
        .before = at > 1 ? run->steps[at - 2].name : (struct span){0},
        .surprise = surprise,
        .of = context ? context->count : 0,
    };

    if (reason.kind == SEQUENCE_NEW) {
        reason.before = (struct span){0};
        reason.of = model->runs;
    } else {
        reason.seen = symbol_count(model, contexts.keys[1], symbols[at]);
    }
    reason_add(verdict, &reason);
}

static double judge_attributes(const struct sequence *model, const struct sequence_step *step,
                               struct sequence_verdict *verdict)
{
    uint64_t hash = step_hash(step->name);
    double greatest = 0;

    for (uint32_t i = 0; i < step->attribute_count && i < SEQUENCE_ATTRIBUTES_MAX; i++) {
        const struct sequence_attribute *attribute = &step->attributes[i];
        struct contexts contexts = contexts_of_attribute(hash, attribute->name);
        const struct cell *context = cell_find(model, contexts.keys[1]);
        uint64_t value = step_hash(attribute->value);
        struct sequence_reason reason = {
            .kind = SEQUENCE_ATTRIBUTE,
            .step = step->name,
            .name = attribute->name,
            .value = attribute->value,
            .surprise = attribute->value.size ? surprise_in(model, &contexts, value) : 0,
            .seen = symbol_count(model, contexts.keys[1], value),
            .of = context ? context->count : 0,
        };

        greatest = fmax(greatest, reason.surprise);
        reason_add(verdict, &reason);
    }
    return greatest;
}

static double judge_steps(const struct sequence *model, const struct sequence_run *run,
                          struct sequence_verdict *verdict)
{
    uint64_t symbols[SEQUENCE_STEPS_MAX + 2];
    uint32_t count = symbols_of(run, symbols);
    double greatest = 0;

    for (uint32_t at = 1; at < count; at++) {
        struct contexts contexts = contexts_before(symbols, at);
        double surprise = surprise_in(model, &contexts, symbols[at]);

        explain_step(model, run, symbols, at, surprise, verdict);
        greatest = fmax(greatest, surprise);
        if (symbols[at] != symbol_end)
            greatest = fmax(greatest, judge_attributes(model, &run->steps[at - 1], verdict));
    }
    return greatest;
}

/* From what surprise on a channel finds a run odd: 1 in 200 of the runs that are known to be good are so.
 * Without enough of those it is taken at its word; a channel that they contradict by far is not used, as the
 * order of what runs side by side. Fisher's product of both channels' shares was worse on HDFS. */
static double odd_from(const struct tail *known)
{
    uint32_t above = 0;
    unsigned bin = TAIL_BINS;

    if (known->total < CALIBRATED_RUNS)
        return SEQUENCE_ODD;
    while (bin > 1 && (above + known->bins[bin - 1]) * GOOD_RUNS_AN_ODD <= known->total)
        above += known->bins[--bin];
    return bin > 2 * SEQUENCE_ODD * TAIL_BINS_A_NAT ? INFINITY : (double)bin / TAIL_BINS_A_NAT;
}

static double surprise_of(const struct sequence *model, double steps, double counts)
{
    return SEQUENCE_ODD * fmax(steps / odd_from(&model->known[CHANNEL_STEPS]),
                               counts / odd_from(&model->known[CHANNEL_COUNTS]));
}

void sequence_judge(const struct sequence *model, const struct sequence_run *run,
                    struct sequence_verdict *ret_verdict)
{
    struct sequence_verdict verdict = {0};

    verdict.steps = judge_steps(model, run, &verdict);
    verdict.counts = counts_judge(model, run, &verdict);
    verdict.surprise = surprise_of(model, verdict.steps, verdict.counts);
    verdict.probability = tail_share(&model->judged, verdict.surprise);
    verdict.judged = model->judged.total;
    verdict.odd = verdict.surprise >= SEQUENCE_ODD;
    *ret_verdict = verdict;
}

static void learn_steps(struct sequence *model, const struct sequence_run *run, double weight)
{
    uint64_t symbols[SEQUENCE_STEPS_MAX + 2];
    uint32_t count = symbols_of(run, symbols);

    for (uint32_t at = 1; at < count; at++) {
        struct contexts contexts = contexts_before(symbols, at);

        for (unsigned k = 0; k < contexts.count; k++)
            context_add(model, contexts.keys[k], symbols[at], weight);
    }
}

static void learn_attributes(struct sequence *model, const struct sequence_step *step, double weight)
{
    uint64_t hash = step_hash(step->name);

    for (uint32_t i = 0; i < step->attribute_count && i < SEQUENCE_ATTRIBUTES_MAX; i++) {
        const struct sequence_attribute *attribute = &step->attributes[i];
        struct contexts contexts = contexts_of_attribute(hash, attribute->name);

        for (unsigned k = 0; attribute->value.size && k < contexts.count; k++)
            context_add(model, contexts.keys[k], step_hash(attribute->value), weight);
    }
}

void sequence_learn(struct sequence *model, const struct sequence_run *run,
                    const struct sequence_verdict *verdict, bool known_good)
{
    bool is_change = model->odd_share > 0.5; /* of the workflow itself */
    double weight = known_good || !verdict->odd || is_change ? 1 : odd_weight;

    model->odd_share += (verdict->odd - model->odd_share) / ODD_RUNS;
    tail_add(&model->judged, verdict->surprise);
    if (known_good) {
        tail_add(&model->known[CHANNEL_STEPS], verdict->steps);
        tail_add(&model->known[CHANNEL_COUNTS], verdict->counts);
    }
    if (model->runs >= SEQUENCE_RUNS_MAX)
        sequence_age(model);
    model->runs += weight;
    learn_steps(model, run, weight);
    for (uint32_t i = 0; i < step_count_of(run); i++)
        learn_attributes(model, &run->steps[i], weight);
    counts_learn(model, run, weight);
}

static void put_times(const struct sequence_reason *reason, struct buffer *out)
{
    buffer_print(out, ", as in %.0f of %.0f before", floor(reason->seen), fmax(1, floor(reason->of)));
}

static void put_name(struct span name, const char *empty, struct buffer *out)
{
    if (name.size)
        buffer_put_plain(out, name);
    else
        buffer_put_text(out, empty);
}

void sequence_reason_put(const struct sequence_reason *reason, struct buffer *out)
{
    switch (reason->kind) {
    case SEQUENCE_NEW:
        put_name(reason->step, "a step without a name", out);
        buffer_print(out, " is in none of %.0f runs before", floor(reason->of));
        break;
    case SEQUENCE_ORDER:
        put_name(reason->step, "the end", out);
        buffer_put_text(out, " follows ");
        put_name(reason->before, "the beginning", out);
        put_times(reason, out);
        break;
    case SEQUENCE_ATTRIBUTE:
        put_name(reason->name, "an attribute", out);
        buffer_put_text(out, " of ");
        put_name(reason->step, "a step without a name", out);
        buffer_put_text(out, " is ");
        put_name(reason->value, "empty", out);
        put_times(reason, out);
        break;
    case SEQUENCE_MISSING:
        put_name(reason->step, "a step without a name", out);
        buffer_put_text(out, " is missing");
        put_times(reason, out);
        break;
    case SEQUENCE_COUNT:
        put_name(reason->step, "a step without a name", out);
        buffer_print(out, " comes %u times, not %u", reason->actual, reason->usual);
        put_times(reason, out);
        break;
    }
}
