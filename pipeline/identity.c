#include "pipeline/identity.h"

static uint64_t identity_end(struct id_builder *id)
{
    return id_end(id).high;
}

static void add_names(const struct option_texts *names, struct id_builder *id)
{
    id_add_integer(id, (int64_t)names->count);
    for (size_t i = 0; i < names->count; i++)
        id_add_text(id, span_of(names->items[i]));
}

/* Measures with the same key and window may fill more than one group: `nth` tells those apart. */
static uint64_t group_identity(const struct plan_group *group, unsigned nth)
{
    struct id_builder id;

    id_begin(&id);
    id_add_text(&id, span_of("group"));
    id_add_integer(&id, group->on_run);
    add_names(group->by_names, &id);
    id_add_integer(&id, group->every_us);
    id_add_integer(&id, group->window_us);
    id_add_integer(&id, nth);
    return identity_end(&id);
}

static uint64_t measure_identity(const struct plan *plan, const struct plan_measure *measure)
{
    struct id_builder id;

    id_begin(&id);
    id_add_text(&id, span_of("measure"));
    id_add_text(&id, span_of(measure->name));
    id_add_integer(&id, (int64_t)plan->groups[measure->group].identity);
    id_add_text(&id, span_of(measure->of));
    id_add_text(&id, span_of(measure->where_text));
    id_add_text(&id, span_of(measure->ratio_text));
    id_add_integer(&id, measure->shape.statistics);
    return identity_end(&id);
}

static uint64_t detector_identity(const struct plan *plan, const struct plan_detector *detector)
{
    struct id_builder id;

    id_begin(&id);
    id_add_text(&id, span_of("detector"));
    id_add_text(&id, span_of(detector->name));
    id_add_text(&id, span_of(detector->type_name));
    id_add_integer(&id, (int64_t)plan->measures[detector->measure].identity);
    id_add_integer(&id, detector->statistic);
    id_add_integer(&id, (int64_t)detector->state_size);
    options_identify(detector->type->options, detector->type->option_count, detector->settings, &id);
    options_identify(backend_options, backend_option_count, &detector->backend, &id);
    return identity_end(&id);
}

/* What its keys mean, not when it holds: what is open under an old condition ends by the new one. */
static uint64_t rule_identity(const struct plan *plan, const struct plan_rule *rule)
{
    struct id_builder id;

    id_begin(&id);
    id_add_text(&id, span_of("rule"));
    id_add_text(&id, span_of(rule->name));
    id_add_integer(&id, rule->on);
    if (rule->on == RULE_BUCKET)
        id_add_integer(&id, (int64_t)plan->measures[rule->measure].identity);
    add_names(&rule->by, &id);
    return identity_end(&id);
}

static uint64_t sink_identity(const struct plan_sink *sink)
{
    struct id_builder id;

    id_begin(&id);
    id_add_text(&id, span_of("sink"));
    id_add_text(&id, span_of(sink->name));
    id_add_text(&id, span_of(sink->type_name));
    return identity_end(&id);
}

void plan_identify(struct plan *plan)
{
    for (unsigned i = 0; i < plan->group_count; i++) {
        struct plan_group *group = &plan->groups[i];
        unsigned nth = 0;

        group->identity = group_identity(group, nth);
        for (unsigned k = 0; k < i; k++)
            if (plan->groups[k].identity == group->identity)
                group->identity = group_identity(group, ++nth);
    }
    for (unsigned i = 0; i < plan->measure_count; i++)
        plan->measures[i].identity = measure_identity(plan, &plan->measures[i]);
    for (unsigned i = 0; i < plan->detector_count; i++)
        plan->detectors[i].identity = detector_identity(plan, &plan->detectors[i]);
    for (unsigned i = 0; i < plan->rule_count; i++)
        plan->rules[i].identity = rule_identity(plan, &plan->rules[i]);
    for (unsigned i = 0; i < plan->sink_count; i++)
        plan->sinks[i].identity = sink_identity(&plan->sinks[i]);
}
