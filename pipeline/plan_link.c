/* Connects what the sections name. Runs once a start. */
#include "pipeline/plan_link.h"

#include "alerts/text.h"
#include "base/memory.h"
#include "pipeline/clean.h"
#include "pipeline/identity.h"
#include "pipeline/watch_signal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* An error inside an expression: the node's place, the key, then line and column within the text. */
static enum status compile(const struct node *map, const char *key, const char *text,
                           const struct cel_environment *environment, enum cel_type want,
                           struct cel_program **ret_program, struct error *error)
{
    struct error inner;

    if (cel_compile(span_of(text), environment, want, ret_program, &inner) == STATUS_OK)
        return STATUS_OK;
    return node_fail(node_find(map, key), error, "%s: %.500s", key, inner.text);
}

static enum status link_fields(struct plan *plan, const struct node *map, const struct option_texts *names,
                               struct field_ref *ret_refs, unsigned *ret_count, struct error *error)
{
    if (names->count > KEY_FIELDS_MAX)
        return node_fail(node_find(map, "by"), error, "by: at most %d fields", KEY_FIELDS_MAX);
    for (size_t i = 0; i < names->count; i++) {
        if (!field_ref_parse(span_of(names->items[i]), &plan->labels, &ret_refs[i])) {
            const char *known[FIELD_COUNT], *near;

            for (int f = 0; f < FIELD_COUNT; f++)
                known[f] = field_rows[f].name;
            near = nearest_name(names->items[i], known, FIELD_COUNT);
            return node_fail(node_find(map, "by"), error, "by: unknown field '%s'%s%s%s", names->items[i],
                             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
    }
    *ret_count = (unsigned)names->count;
    return STATUS_OK;
}

static enum status link_value(struct plan *plan, struct plan_measure *measure, struct error *error)
{
    struct cel_environment environment;
    struct field_ref ref;

    cel_event_environment(&plan->labels, &environment);
    measure->of_count = strcmp(measure->of, "count") == 0;
    if (!measure->of_count && field_ref_parse(span_of(measure->of), &plan->labels, &ref)) {
        enum field_type type = ref.field == FIELD_COUNT ? FIELD_TEXT : field_rows[ref.field].type;

        measure->of_field = ref;
        measure->of_text = type == FIELD_TEXT || type == FIELD_STATE || type == FIELD_KIND;
    } else if (!measure->of_count && compile(measure->node, "of", measure->of, &environment, CEL_DOUBLE,
                                             &measure->expression, error) != STATUS_OK) {
        return STATUS_FATAL;
    }
    if (measure->where_text && compile(measure->node, "where", measure->where_text, &environment, CEL_BOOL,
                                       &measure->where, error) != STATUS_OK)
        return STATUS_FATAL;
    if (measure->ratio_text && compile(measure->node, "ratio", measure->ratio_text, &environment, CEL_BOOL,
                                       &measure->hit, error) != STATUS_OK)
        return STATUS_FATAL;
    return STATUS_OK;
}

static enum status link_statistics(struct plan_measure *measure, struct error *error)
{
    uint32_t *bits = &measure->shape.statistics;

    for (size_t i = 0; i < measure->statistics.count; i++) {
        int statistic = statistic_find(span_of(measure->statistics.items[i]));

        if (statistic < 0)
            return node_fail(
                node_find(measure->node, "statistics"), error,
                "statistics: unknown statistic '%s' (count sum min max mean variance p50 p90 p95 p99 "
                "distinct ratio rate)",
                measure->statistics.items[i]);
        *bits |= 1u << statistic;
    }
    if (*bits == 0) {
        *bits = 1u << STAT_COUNT;
        if (measure->hit)
            *bits |= 1u << STAT_RATIO;
        else if (measure->of_text)
            *bits |= 1u << STAT_DISTINCT;
        else if (!measure->of_count)
            *bits |= 1u << STAT_MEAN | 1u << STAT_P95;
    }
    if ((*bits & 1u << STAT_RATIO) && !measure->hit)
        return node_fail(measure->node, error, "the statistic ratio needs `ratio: EXPRESSION`");
    if ((*bits & 1u << STAT_DISTINCT) && !measure->of_text)
        return node_fail(measure->node, error, "the statistic distinct needs `of` a text field");
    if (measure->of_text && (*bits & ~(1u << STAT_COUNT | 1u << STAT_DISTINCT | 1u << STAT_RATIO)))
        return node_fail(measure->node, error, "`of: %s` is a text: only count, distinct and ratio",
                         measure->of);
    return STATUS_OK;
}

static enum status link_window(struct plan_measure *measure, struct error *error)
{
    struct measure_shape *shape = &measure->shape;

    shape->every_us = measure->every;
    shape->window_us = measure->window ? measure->window : measure->every;
    assert(shape->every_us > 0);
    if (shape->window_us < shape->every_us)
        return node_fail(node_find(measure->node, "window"), error, "window: shorter than every leaves gaps");
    int64_t pane_us = greatest_common_divisor(shape->window_us, shape->every_us);
    assert(pane_us > 0);
    if (shape->window_us / pane_us > 4096)
        return node_fail(node_find(measure->node, "window"), error,
                         "window: more than 4096 panes (window / gcd(window, every))");
    return STATUS_OK;
}

static bool same_group(const struct plan_group *group, const struct plan_measure *measure)
{
    const struct measure_shape *shape = &measure->shape;

    if (group->on_run != shape->on_run || group->every_us != shape->every_us ||
        group->window_us != shape->window_us || group->by_count != shape->by_count ||
        group->measure_count == PLAN_GROUP_MEASURES_MAX)
        return false;
    for (unsigned i = 0; i < group->by_count; i++)
        if (group->by[i].field != shape->by[i].field || group->by[i].label != shape->by[i].label)
            return false;
    return true;
}

static void join_group(struct plan *plan, unsigned index)
{
    struct plan_measure *measure = &plan->measures[index];
    const struct measure_shape *shape = &measure->shape;
    struct plan_group *group;
    unsigned g = 0;

    while (g < plan->group_count && !same_group(&plan->groups[g], measure))
        g++;
    group = &plan->groups[g];
    if (g == plan->group_count) {
        plan->group_count++;
        group->on_run = shape->on_run;
        group->every_us = shape->every_us;
        group->window_us = shape->window_us;
        group->pane_us = greatest_common_divisor(shape->every_us, shape->window_us);
        group->by_count = shape->by_count;
        group->by_names = &measure->by;
        memcpy(group->by, shape->by, sizeof group->by);
    }
    measure->group = g;
    measure->place = group->measure_count;
    group->layouts[measure->place] = accumulator_layout(shape->statistics);
    group->places[measure->place] = (uint16_t)group->accumulators_size;
    group->accumulators_size += group->layouts[measure->place].size;
    group->measures[group->measure_count++] = index;
    if (shape->window_us > plan->longest_window_us)
        plan->longest_window_us = shape->window_us;
}

static enum status link_measure(struct plan *plan, unsigned index, struct error *error)
{
    struct plan_measure *measure = &plan->measures[index];
    struct measure_shape *shape = &measure->shape;

    shape->name = measure->name;
    shape->unit = measure->unit;
    shape->on_run = measure->on == 1;
    plan->wants_transitions |= shape->on_run;
    if (link_value(plan, measure, error) != STATUS_OK || link_statistics(measure, error) != STATUS_OK ||
        link_window(measure, error) != STATUS_OK ||
        link_fields(plan, measure->node, &measure->by, shape->by, &shape->by_count, error) != STATUS_OK)
        return STATUS_FATAL;
    for (unsigned i = 0; i < shape->by_count; i++)
        shape->by_names[i] = measure->by.items[i];
    join_group(plan, index);
    return STATUS_OK;
}

static enum status find_measure(const struct plan *plan, const struct node *map, const char *name,
                                unsigned *ret_index, struct error *error)
{
    const char *names[256], *near;
    size_t count = 0;

    if (!name)
        return node_fail(map, error, "'measure' is missing: a bucket rule judges the buckets of one");
    for (unsigned i = 0; i < plan->measure_count; i++) {
        if (strcmp(plan->measures[i].name, name) == 0) {
            *ret_index = i;
            return STATUS_OK;
        }
        if (count < sizeof names / sizeof *names)
            names[count++] = plan->measures[i].name;
    }
    near = nearest_name(name, names, count);
    return node_fail(node_find(map, "measure"), error, "no measure named '%s'%s%s%s", name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static enum status link_detector(struct plan *plan, struct plan_detector *detector, struct error *error)
{
    const struct plan_measure *measure;
    struct plan_group *group;
    uint32_t bits;

    if (find_measure(plan, detector->node, detector->measure_name, &detector->measure, error) != STATUS_OK)
        return STATUS_FATAL;
    measure = &plan->measures[detector->measure];
    bits = measure->shape.statistics;
    detector->statistic = (enum statistic)__builtin_ctz(bits);
    if (measure->statistics.count > 0)
        detector->statistic = (enum statistic)statistic_find(span_of(measure->statistics.items[0]));
    if (detector->statistic_name[0]) {
        int statistic = statistic_find(span_of(detector->statistic_name));

        if (statistic < 0 || !(bits & 1u << statistic))
            return node_fail(node_find(detector->node, "statistic"), error,
                             "the measure '%s' has no statistic '%s'", measure->name,
                             detector->statistic_name);
        detector->statistic = (enum statistic)statistic;
    }
    detector->empty = detector->statistic == STAT_COUNT || detector->statistic == STAT_SUM ||
                              detector->statistic == STAT_DISTINCT
                          ? 0
                          : NAN;
    detector->state_size = detector->type->state_size(detector->settings, measure->shape.every_us);
    detector->hot_size = detector_hot_size(detector->type, detector->settings, measure->shape.every_us);
    plan->hot_detectors += detector->hot_size > 0;
    if (detector->state_size == 0)
        return node_fail(detector->node, error,
                         "%s: its window is shorter than a bucket or more than 4096 buckets of the measure",
                         detector->name);
    group = &plan->groups[measure->group];
    group->detectors = memory_grow(group->detectors, (group->detector_count + 1) * sizeof *group->detectors);
    group->detectors[group->detector_count++] = (unsigned)(detector - plan->detectors);
    return STATUS_OK;
}

static void add_variable(struct plan_rule *rule, const char *owner, const char *name, enum cel_type type)
{
    char text[256];
    int size =
        owner ? snprintf(text, sizeof text, "%s.%s", owner, name) : snprintf(text, sizeof text, "%s", name);

    rule->variables = memory_grow(rule->variables, (rule->variable_count + 1) * sizeof *rule->variables);
    rule->variables[rule->variable_count++] = (struct cel_variable){
        memory_text(text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1), type};
}

static void bucket_variables(const struct plan *plan, struct plan_rule *rule)
{
    const struct plan_measure *own = &plan->measures[rule->measure];
    const struct plan_group *group = &plan->groups[own->group];

    for (unsigned i = 0; i < own->shape.by_count; i++)
        add_variable(rule, NULL, own->shape.by_names[i], CEL_STRING);
    for (int s = 0; s < STATISTICS; s++)
        add_variable(rule, NULL, statistic_names[s], CEL_DOUBLE);
    for (unsigned m = 0; m < group->measure_count; m++)
        for (int s = 0; s < STATISTICS; s++)
            if (group->measures[m] != rule->measure)
                add_variable(rule, plan->measures[group->measures[m]].name, statistic_names[s], CEL_DOUBLE);
    for (unsigned d = 0; d < group->detector_count; d++) {
        const char *name = plan->detectors[group->detectors[d]].name;

        add_variable(rule, name, "score", CEL_DOUBLE);
        add_variable(rule, name, "probability", CEL_DOUBLE);
        add_variable(rule, name, "anomaly", CEL_BOOL);
    }
}

static void list_reads(struct plan_rule *rule)
{
    assert(rule->variable_count <= UINT16_MAX);
    rule->reads = memory_new((rule->variable_count + 1) * sizeof *rule->reads);
    for (size_t i = 0; i < rule->variable_count; i++)
        if (cel_reads(rule->program, i))
            rule->reads[rule->read_count++] = (uint16_t)i;
}

static bool stays_defined(const struct plan_rule *rule, const struct measure_shape *shape)
{
    for (unsigned i = 0; i < rule->read_count; i++) {
        const char *name = rule->variables[rule->reads[i]].name, *dot = strchr(name, '.');
        const char *last = dot ? dot + 1 : name;

        if (rule->reads[i] >= shape->by_count && strcmp(last, "count") != 0 && strcmp(last, "sum") != 0 &&
            strcmp(last, "distinct") != 0)
            return false;
    }
    return true;
}

static enum status link_bucket_rule(struct plan *plan, struct plan_rule *rule, struct error *error)
{
    struct cel_environment environment = {0};
    const struct plan_measure *measure;
    struct plan_group *group;

    if (find_measure(plan, rule->node, rule->measure_name, &rule->measure, error) != STATUS_OK)
        return STATUS_FATAL;
    measure = &plan->measures[rule->measure];
    bucket_variables(plan, rule);
    environment.variables = rule->variables;
    environment.count = rule->variable_count;
    if (compile(rule->node, "when", rule->when, &environment, CEL_BOOL, &rule->program, error) != STATUS_OK)
        return STATUS_FATAL;
    list_reads(rule);
    for (int s = 0; s < STATISTICS; s++)
        if (cel_reads(rule->program, measure->shape.by_count + (unsigned)s) &&
            !(measure->shape.statistics & 1u << s))
            return node_fail(
                node_find(rule->node, "when"), error,
                "when: the measure '%s' does not have the statistic %s; add it to its statistics",
                measure->name, statistic_names[s]);
    rule->defined_on_empty = stays_defined(rule, &measure->shape);
    rule->by_count = measure->shape.by_count;
    memcpy(rule->by_refs, measure->shape.by, sizeof rule->by_refs);
    group = &plan->groups[measure->group];
    group->rules = memory_grow(group->rules, (group->rule_count + 1) * sizeof *group->rules);
    group->rules[group->rule_count++] = (unsigned)(rule - plan->rules);
    return STATUS_OK;
}

static enum status link_rule(struct plan *plan, struct plan_rule *rule, struct error *error)
{
    struct cel_environment environment;

    if (rule->on == RULE_BUCKET) {
        if (rule->by.count)
            return node_fail(node_find(rule->node, "by"), error,
                             "by: a bucket rule has the key of its measure");
        return link_bucket_rule(plan, rule, error);
    }
    if (rule->measure_name)
        return node_fail(node_find(rule->node, "measure"), error, "measure: only for rules with on: bucket");
    if (rule->for_us)
        return node_fail(node_find(rule->node, "for"), error, "for: only for rules with on: bucket");
    plan->wants_transitions |= rule->on == RULE_RUN;
    if (link_fields(plan, rule->node, &rule->by, rule->by_refs, &rule->by_count, error) != STATUS_OK)
        return STATUS_FATAL;
    cel_event_environment(&plan->labels, &environment);
    return compile(rule->node, "when", rule->when, &environment, CEL_BOOL, &rule->program, error);
}

/* A run rule is told to have ended at the end of each run of its key: only what is in the key leaves rows out
 * that no alert can be open for. */
static struct cel_columns key_columns(const struct plan_rule *rule)
{
    struct cel_columns columns = {0};

    for (unsigned i = 0; i < rule->by_count; i++)
        if (rule->by_refs[i].field == FIELD_COUNT)
            columns.labels |= 1ULL << rule->by_refs[i].label;
        else
            columns.fields |= 1ULL << rule->by_refs[i].field;
    return columns;
}

static void index_row_rules(struct plan *plan, enum rule_scope scope)
{
    struct plan_row_rules *mine = &plan->row_rules[scope];
    struct cel_indexed *indexed = memory_new(plan->rule_count * sizeof *indexed);
    struct cel_columns *columns = memory_new(plan->rule_count * sizeof *columns);

    mine->rules = memory_new(plan->rule_count * sizeof *mine->rules);
    for (unsigned i = 0; i < plan->rule_count; i++) {
        const struct plan_rule *rule = &plan->rules[i];

        if (rule->on != (int)scope)
            continue;
        columns[i] = key_columns(rule);
        indexed[mine->count] =
            (struct cel_indexed){.program = rule->program, .columns = scope == RULE_RUN ? &columns[i] : NULL};
        mine->rules[mine->count++] = i;
    }
    mine->index = cel_index_new(indexed, mine->count);
    free(indexed);
    free(columns);
}

/* The first variables of a bucket rule are the texts of the group's key. */
static void index_bucket_rules(struct plan *plan, struct plan_group *group)
{
    const struct cel_columns key = {.fields = (1ULL << group->by_count) - 1};
    struct cel_indexed *indexed = memory_new(group->rule_count * sizeof *indexed);

    for (unsigned i = 0; i < group->rule_count; i++)
        indexed[i] = (struct cel_indexed){.program = plan->rules[group->rules[i]].program, .columns = &key};
    group->index = cel_index_new(indexed, group->rule_count);
    free(indexed);
}

/* Any name of a field, statistic or label may stand in a summary; the judge knows which are filled. */
static bool known_name(void *owner, struct span name, struct buffer *out)
{
    struct plan *plan = owner;
    struct field_ref ref;

    (void)out;
    return field_ref_parse(name, &plan->labels, &ref) || statistic_find(name) >= 0 ||
           span_is(name, "measure") || span_is(name, "due") || span_is(name, "actual") ||
           span_is(name, "expected_low") || span_is(name, "expected_high") || span_is(name, "score") ||
           span_is(name, "target");
}

static enum status check_texts(struct plan *plan, const struct node *map,
                               const struct plan_annotations *texts, struct error *error)
{
    static const char *const keys[] = {"summary", "description"};
    const char *const all[] = {texts->summary, texts->description};
    struct error inner;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && text_check(span_of(all[i]), known_name, plan, &inner) != STATUS_OK)
            return node_fail(node_find(map, keys[i]), error, "%s: %.500s", keys[i], inner.text);
    return STATUS_OK;
}

/* The watch tells once what may hold for days, and tells when it ends. */
#define WATCH_EXPIRE_US ((int64_t)7 * 86400 * 1000 * 1000)

static void make_policies(struct plan *plan)
{
    bool never = plan->alerts.expire == 0, longer = plan->alerts.expire > WATCH_EXPIRE_US;

    plan->policies =
        memory_new((plan->rule_count + plan->detector_count + watch_signal_count()) * sizeof *plan->policies);
    for (unsigned i = 0; i < plan->rule_count; i++) {
        struct plan_rule *rule = &plan->rules[i];

        rule->policy = plan->policy_count;
        plan->policies[plan->policy_count++] = (struct alert_policy){
            .name = span_of(rule->name),
            .identity = rule->identity,
            .for_us = rule->for_us,
            .keep_firing_us =
                rule->on == RULE_EVENT && !rule->keep_firing_us ? plan->alerts.rest : rule->keep_firing_us,
            .expire_us = rule->on == RULE_EVENT ? 0 : plan->alerts.expire,
            .momentary = rule->on == RULE_EVENT,
        };
    }
    for (unsigned i = 0; i < plan->detector_count; i++) {
        struct plan_detector *detector = &plan->detectors[i];

        detector->policy = plan->policy_count;
        plan->policies[plan->policy_count++] = (struct alert_policy){
            .name = span_of(detector->name),
            .identity = detector->identity,
            .for_us = detector->for_us,
            .keep_firing_us = detector->keep_firing_us,
            .expire_us = plan->alerts.expire,
        };
    }
    plan->watch_policy = plan->policy_count;
    for (unsigned i = 0; plan->general.watch && watch_signals[i]; i++)
        plan->policies[plan->policy_count++] = (struct alert_policy){
            .name = span_of(watch_signals[i]->rule.name),
            .keep_firing_us = watch_signals[i]->rule.rests ? plan->alerts.rest : 0,
            .expire_us = never || longer ? plan->alerts.expire : WATCH_EXPIRE_US,
        };
}

/* Else each of its messages would be a dead letter. */
static enum status check_dated(const struct plan *plan, unsigned format, struct error *error)
{
    for (unsigned i = 0; i < plan->source_count; i++) {
        const struct plan_source *source = &plan->sources[i];

        if (source->format == format && source->type->dates && !source->type->dates(source->settings))
            return node_fail(
                node_find(source->node, "format"), error,
                "format: '%s' has no group 'time', and the lines of a file have no arrival: follow "
                "it, or name the file of their arrivals",
                source->format_name);
    }
    return STATUS_OK;
}

/* Opens and closes what the workers will open again: mistakes show at load, and all label names are known
 * before the first batch is made. */
static enum status try_parts(struct plan *plan, struct error *error)
{
    struct format_context context = {.labels = &plan->labels};
    struct cleaner *cleaner;

    for (unsigned i = 0; i < plan->format_count; i++) {
        struct plan_format *format = &plan->formats[i];
        struct format *opened;

        context.node = format->node;
        if (format->type->open(format->settings, &context, &opened, error) != STATUS_OK)
            return STATUS_FATAL;
        bool undated = format->type->undated && format->type->undated(opened);

        format->type->close(opened);
        if (undated && check_dated(plan, i, error) != STATUS_OK)
            return STATUS_FATAL;
    }
    if (cleaner_open(plan->general.clean, &plan->labels, &cleaner, error) != STATUS_OK)
        return STATUS_FATAL;
    bool late_goes_nowhere = cleaner_unique(cleaner) && plan->time.late == LATE_DEAD_LETTER;
    cleaner_close(cleaner);
    if (late_goes_nowhere)
        return node_fail(plan->general.clean, error,
                         "dedupe with scope all finds late rows when their messages are gone: time.late "
                         "must be drop or correct");
    return STATUS_OK;
}

/* The set of calendars of these names. */
static enum status link_calendars(const struct plan *plan, const struct node *map, const char *key,
                                  const struct option_texts *names, uint64_t *ret_calendars,
                                  struct error *error)
{
    const char *known[CALENDARS_MAX], *near;

    for (unsigned i = 0; i < plan->calendar_count; i++)
        known[i] = plan->calendars[i].settings.name;
    for (size_t n = 0; n < names->count; n++) {
        unsigned i = 0;

        while (i < plan->calendar_count && strcmp(known[i], names->items[n]) != 0)
            i++;
        if (i == plan->calendar_count) {
            near = nearest_name(names->items[n], known, plan->calendar_count);
            return node_fail(node_find(map, key), error, "%s: no calendar named '%s'%s%s%s", key,
                             names->items[n], near ? "; did you mean '" : "", near ? near : "",
                             near ? "'?" : "");
        }
        *ret_calendars |= 1ULL << i;
    }
    return STATUS_OK;
}

static enum status link_all_calendars(struct plan *plan, struct error *error)
{
    if (link_calendars(plan, config_root(plan->config), "maintenance", &plan->general.maintenance,
                       &plan->maintenance, error) != STATUS_OK)
        return STATUS_FATAL;
    for (unsigned i = 0; i < plan->measure_count; i++) {
        struct plan_measure *measure = &plan->measures[i];

        measure->calendars = plan->maintenance;
        if (link_calendars(plan, measure->node, "except", &measure->except, &measure->calendars, error) !=
            STATUS_OK)
            return STATUS_FATAL;
    }
    for (unsigned i = 0; i < plan->detector_count; i++) {
        struct plan_detector *detector = &plan->detectors[i];

        detector->calendars = plan->measures[detector->measure].calendars;
        if (link_calendars(plan, detector->node, "except", &detector->except, &detector->calendars, error) !=
            STATUS_OK)
            return STATUS_FATAL;
    }
    return STATUS_OK;
}

enum status plan_link(struct plan *plan, struct error *ret_error)
{
    if (try_parts(plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    plan->groups = memory_new((plan->measure_count + 1) * sizeof *plan->groups);
    for (unsigned i = 0; i < plan->measure_count; i++)
        if (link_measure(plan, i, ret_error) != STATUS_OK)
            return STATUS_FATAL;
    for (unsigned i = 0; i < plan->detector_count; i++)
        if (link_detector(plan, &plan->detectors[i], ret_error) != STATUS_OK)
            return STATUS_FATAL;
    if (link_all_calendars(plan, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    for (unsigned i = 0; i < plan->rule_count; i++)
        if (link_rule(plan, &plan->rules[i], ret_error) != STATUS_OK)
            return STATUS_FATAL;
    for (unsigned i = 0; i < plan->rule_count; i++)
        if (check_texts(plan, plan->rules[i].annotations_node, &plan->rules[i].annotations, ret_error) !=
            STATUS_OK)
            return STATUS_FATAL;
    for (unsigned i = 0; i < plan->detector_count; i++)
        if (check_texts(plan, plan->detectors[i].annotations_node, &plan->detectors[i].annotations,
                        ret_error) != STATUS_OK)
            return STATUS_FATAL;
    index_row_rules(plan, RULE_EVENT);
    index_row_rules(plan, RULE_RUN);
    for (unsigned i = 0; i < plan->group_count; i++)
        index_bucket_rules(plan, &plan->groups[i]);
    plan_identify(plan);
    make_policies(plan);
    return STATUS_OK;
}

void plan_unlink(struct plan *plan)
{
    for (unsigned i = 0; i < plan->measure_count; i++) {
        cel_free(plan->measures[i].where);
        cel_free(plan->measures[i].hit);
        cel_free(plan->measures[i].expression);
    }
    for (unsigned i = 0; i < plan->rule_count; i++) {
        cel_free(plan->rules[i].program);
        for (size_t k = 0; k < plan->rules[i].variable_count; k++)
            free((char *)plan->rules[i].variables[k].name);
        free(plan->rules[i].variables);
        free(plan->rules[i].reads);
    }
    for (unsigned i = 0; i < plan->group_count; i++) {
        free(plan->groups[i].detectors);
        free(plan->groups[i].rules);
        cel_index_free(plan->groups[i].index);
    }
    for (unsigned scope = 0; scope < RULE_SCOPES; scope++) {
        free(plan->row_rules[scope].rules);
        cel_index_free(plan->row_rules[scope].index);
    }
    free(plan->groups);
    free(plan->policies);
    plan->groups = NULL;
    plan->policies = NULL;
}
