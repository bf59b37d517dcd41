#include "pipeline/judge.h"

#include "alerts/text.h"
#include "base/memory.h"
#include "pipeline/plan_link.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { EVIDENCE_BYTES = 256 * 1024, SCRATCH_BYTES = 1 << 20 };

struct judge {
    const struct plan *plan;
    struct exchange_port *port;
    uint8_t *matches;
    struct cel_look *row_looks[RULE_SCOPES]; /* NULL: no rules of that scope */
    struct cel_look **bucket_looks;          /* by group */
    struct buffer texts;                     /* summary and description being made */
    struct arena scratch;                    /* of one CEL run */
    struct cel_value *values;                /* of the largest bucket rule */
    uint64_t errors;
};

struct judge *judge_new(const struct plan *plan, struct exchange_port *port)
{
    struct judge *judge = memory_new(sizeof *judge);
    size_t most = 1;

    for (unsigned i = 0; i < plan->rule_count; i++)
        if (plan->rules[i].variable_count > most)
            most = plan->rules[i].variable_count;
    judge->plan = plan;
    judge->port = port;
    judge->matches = memory_new(BATCH_ROWS_MAX);
    judge->values = memory_new(most * sizeof *judge->values);
    for (unsigned scope = 0; scope < RULE_SCOPES; scope++)
        if (plan->row_rules[scope].count)
            judge->row_looks[scope] = cel_look_new(plan->row_rules[scope].index);
    judge->bucket_looks = memory_new(plan->group_count * sizeof(struct cel_look *));
    for (unsigned i = 0; i < plan->group_count; i++)
        judge->bucket_looks[i] = cel_look_new(plan->groups[i].index);
    buffer_init(&judge->texts, EVIDENCE_BYTES);
    arena_init(&judge->scratch, SCRATCH_BYTES);
    return judge;
}

void judge_free(struct judge *judge)
{
    buffer_free(&judge->texts);
    arena_free(&judge->scratch);
    for (unsigned scope = 0; scope < RULE_SCOPES; scope++)
        cel_look_free(judge->row_looks[scope]);
    for (unsigned i = 0; i < judge->plan->group_count; i++)
        cel_look_free(judge->bucket_looks[i]);
    free(judge->bucket_looks);
    free(judge->matches);
    free(judge->values);
    free(judge);
}

uint64_t judge_errors(const struct judge *judge)
{
    return judge->errors;
}

void condition_send(const struct condition *condition, struct exchange_port *port)
{
    struct span *texts[ALERT_TEXTS_MAX];
    struct condition copy = *condition;
    size_t count = alert_texts(&copy.evidence, texts), size = sizeof(struct condition_record);
    struct condition_record *record;
    char *cursor;

    for (size_t i = 0; i < count; i++)
        size += texts[i]->size;
    record = exchange_record(port, ALERT_OWNER, RECORD_CONDITION, size);
    record->condition = copy;
    count = alert_texts(&record->condition.evidence, texts);
    cursor = (char *)(record + 1);
    for (size_t i = 0; i < count; i++)
        *texts[i] = record_text(&cursor, *texts[i]);
}

struct id128 condition_key(const struct plan *plan, const char *rule, const struct span *key, unsigned count)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, plan->name);
    id_add_text(&builder, span_of(rule));
    for (unsigned i = 0; i < count; i++)
        id_add_text(&builder, key[i]);
    return id_end(&builder);
}

/* The key as labels, called as in the configuration, and the names that an alert has members for. */
static void fill_key(struct alert *alert, const struct field_ref *refs, const struct option_texts *names,
                     const struct span *key)
{
    alert->label_count = (unsigned)names->count;
    for (unsigned i = 0; i < names->count; i++) {
        alert->labels[i].name = span_of(names->items[i]);
        alert->labels[i].value = key[i];
        switch (refs[i].field) {
        case F_WORKFLOW:
            alert->workflow = key[i];
            break;
        case F_TASK:
            alert->task = key[i];
            break;
        case F_SOURCE:
            alert->source = key[i];
            break;
        case F_NAMESPACE:
            alert->namespace_ = key[i];
            break;
        case F_RUN:
            alert->run = key[i];
            break;
        case F_HOST:
            alert->host = key[i];
            break;
        default:
            break;
        }
    }
}

struct alert condition_evidence(enum alert_kind kind, int severity)
{
    return (struct alert){.kind = kind,
                          .severity = (enum severity)severity,
                          .score = NAN,
                          .probability = NAN,
                          .actual = NAN,
                          .expected_low = NAN,
                          .expected_high = NAN,
                          .ends_us = TIME_NONE};
}

static void put_number(struct buffer *out, double value)
{
    if (!isnan(value))
        buffer_print(out, "%.6g", value);
}

/* What {{name}} may mean: of a row, or of a bucket. */
struct text_scope {
    const struct plan *plan;
    const struct alert *alert;
    struct event_batch *batch; /* NULL: a bucket */
    uint32_t row;
    const struct bucket *bucket; /* may be NULL */
    int64_t due_us;              /* when a limit will be crossed; 0: not told */
};

static void put_time(struct buffer *out, int64_t time_us)
{
    char text[TIME_TEXT_SIZE];

    if (time_us)
        buffer_put(out, text, time_format(time_us, text));
}

static bool resolve_alert(const struct text_scope *scope, struct span name, struct buffer *out)
{
    const struct alert *alert = scope->alert;

    if (span_is(name, "target"))
        alert_target(alert, out);
    else if (span_is(name, "actual"))
        put_number(out, alert->actual);
    else if (span_is(name, "expected_low"))
        put_number(out, alert->expected_low);
    else if (span_is(name, "expected_high"))
        put_number(out, alert->expected_high);
    else if (span_is(name, "score"))
        put_number(out, alert->score);
    else if (span_is(name, "due"))
        put_time(out, scope->due_us);
    else if (span_is(name, "measure") && scope->bucket)
        buffer_put_text(out, scope->bucket->shape->name);
    else
        return false;
    return true;
}

static bool resolve_name(void *owner, struct span name, struct buffer *out)
{
    const struct text_scope *scope = owner;
    int statistic = scope->bucket ? statistic_find(name) : -1;
    struct field_ref ref;
    struct span text;

    if (resolve_alert(scope, name, out))
        return true;
    if (statistic >= 0) {
        put_number(out, scope->bucket->values[statistic]);
        return true;
    }
    if (scope->batch && field_ref_parse(name, (struct label_names *)&scope->plan->labels, &ref)) {
        if (event_text(scope->batch, scope->row, ref, &text))
            text_put(out, text);
        return true;
    }
    for (unsigned i = 0; i < scope->alert->label_count; i++)
        if (span_equal(scope->alert->labels[i].name, name)) {
            text_put(out, scope->alert->labels[i].value);
            return true;
        }
    return false;
}

/* Fills summary and description; `fallback` is the summary of a rule that has none. */
static void fill_texts(struct judge *judge, struct alert *alert, const struct plan_annotations *texts,
                       struct text_scope *scope, const char *fallback)
{
    size_t summary_size;

    buffer_clear(&judge->texts);
    text_fill(span_of(texts->summary ? texts->summary : fallback), resolve_name, scope, &judge->texts);
    summary_size = judge->texts.size;
    if (texts->description)
        text_fill(span_of(texts->description), resolve_name, scope, &judge->texts);
    alert->summary = span_make(judge->texts.data, summary_size);
    alert->description = span_make(judge->texts.data + summary_size, judge->texts.size - summary_size);
    alert->runbook = span_of(texts->runbook);
}

/* A momentary match of a row, or the end of one (a run rule that is no longer true at the end of a run). */
static void judge_row(struct judge *judge, const struct plan_rule *rule, struct event_batch *batch,
                      uint32_t row, enum condition_outcome outcome)
{
    struct span key[KEY_FIELDS_MAX];
    int64_t watermark = batch->watermark_us[row], time = batch->time_us[row];
    struct condition condition = {
        .policy = rule->policy,
        .outcome = outcome,
        .at_us = time > watermark ? time : watermark,
        .partition = batch->partition[row],
        .offset = batch->offset[row],
        .item = batch->item[row],
        .evidence = condition_evidence((enum alert_kind)rule->kind, rule->severity),
    };
    struct alert *alert = &condition.evidence;
    struct text_scope scope = {.plan = judge->plan, .alert = alert, .batch = batch, .row = row};

    for (unsigned i = 0; i < rule->by_count; i++)
        if (!event_text(batch, row, rule->by_refs[i], &key[i]))
            key[i] = (struct span){0};
    alert->dedup = condition_key(judge->plan, rule->name, key, rule->by_count);
    alert->source = batch->source[row];
    alert->namespace_ = batch->namespace_[row];
    alert->workflow = batch->workflow[row];
    alert->task = batch->task[row];
    alert->run = batch->run[row];
    alert->run_name = batch->run_name[row];
    alert->host = batch->host[row];
    alert->url = batch->url[row];
    alert->attempt = batch->attempt[row];
    fill_key(alert, rule->by_refs, &rule->by, key);
    if (outcome == CONDITION_TRUE)
        fill_texts(judge, alert, &rule->annotations, &scope,
                   batch->error[row].size ? "{{target}}: {{error}}" : "{{target}}: {{state}}");
    condition_send(&condition, judge->port);
}

void judge_rows(struct judge *judge, enum rule_scope scope, struct event_batch *batch)
{
    struct cel_look *look = judge->row_looks[scope];
    uint32_t program, count;

    if (!look)
        return;
    cel_look_batch(look, batch);
    while (cel_look_next(look, &program)) {
        const struct plan_rule *rule = &judge->plan->rules[judge->plan->row_rules[scope].rules[program]];
        const uint16_t *rows = cel_look_rows(look, program, &count);

        cel_filter_rows(rule->program, batch, rows, count, judge->matches, &judge->errors);
        for (uint32_t i = 0; i < count; i++)
            if (judge->matches[i])
                judge_row(judge, rule, batch, rows[i], CONDITION_TRUE);
            else if (scope == RULE_RUN && run_state_is_terminal(batch->state[rows[i]]))
                judge_row(judge, rule, batch, rows[i], CONDITION_FALSE);
    }
}

static struct cel_value number_value(double number)
{
    return (struct cel_value){.type = CEL_DOUBLE, .number = number};
}

/* Of a bucket without rows what counts is 0, the rest undefined. */
static double statistic_of(const struct bucket *bucket, unsigned statistic)
{
    if (bucket)
        return bucket->values[statistic];
    return statistic == STAT_COUNT || statistic == STAT_SUM || statistic == STAT_DISTINCT ? 0 : NAN;
}

static struct cel_value signal_value(const struct signal *signal, unsigned variable)
{
    if (variable == DETECTOR_VARIABLES - 1)
        return (struct cel_value){.type = CEL_BOOL, .boolean = signal->anomaly};
    if (!signal->opinion)
        return number_value(NAN);
    return number_value(variable ? signal->probability : signal->score);
}

/* A variable of the rule, by its number; plan_link.h has the order. */
static struct cel_value bucket_value(const struct judged *judged, unsigned own, unsigned variable)
{
    const struct plan_group *group = judged->group;
    unsigned statistics = group->measure_count * STATISTICS, place = own;

    if (variable < group->by_count)
        return (struct cel_value){.type = CEL_STRING, .text = judged->key[variable]};
    variable -= group->by_count;
    if (variable >= statistics)
        return signal_value(&judged->signals[(variable - statistics) / DETECTOR_VARIABLES],
                            (variable - statistics) % DETECTOR_VARIABLES);
    if (variable >= STATISTICS) { /* of the others in their order */
        place = variable / STATISTICS - 1;
        place += place >= own;
    }
    return number_value(statistic_of(judged->buckets[place], variable % STATISTICS));
}

static void send_bucket(struct judge *judge, const struct judged *judged, struct text_scope *scope,
                        struct condition *condition, const char *rule, const struct plan_annotations *texts,
                        const char *fallback)
{
    const struct plan_group *group = judged->group;
    struct alert *alert = &condition->evidence;

    condition->at_us = judged->end_us;
    alert->dedup = condition_key(judge->plan, rule, judged->key, group->by_count);
    alert->provisional = judged->provisional;
    fill_key(alert, group->by, group->by_names, judged->key);
    if (condition->outcome == CONDITION_TRUE)
        fill_texts(judge, alert, texts, scope, fallback);
    condition_send(condition, judge->port);
}

static void judge_rule(struct judge *judge, const struct plan_rule *rule, const struct judged *judged,
                       uint8_t *told)
{
    const struct plan_measure *measure = &judge->plan->measures[rule->measure];
    const struct bucket *bucket = judged->buckets[measure->place];
    struct cel_value value;

    if ((!bucket && (!*told || !rule->defined_on_empty)) || (measure->calendars & judged->calendars))
        return;
    for (unsigned i = 0; i < rule->read_count; i++)
        judge->values[rule->reads[i]] = bucket_value(judged, measure->place, rule->reads[i]);
    arena_reset(&judge->scratch);
    value = cel_run(rule->program, judge->values, NULL, &judge->scratch);
    judge->errors += value.type == CEL_ERROR;
    bool is_true = value.type == CEL_BOOL && value.boolean;
    if (!is_true && !*told)
        return;
    *told = is_true;
    struct condition condition = {.policy = rule->policy,
                                  .outcome = is_true ? CONDITION_TRUE : CONDITION_FALSE,
                                  .evidence =
                                      condition_evidence((enum alert_kind)rule->kind, rule->severity)};
    if (bucket)
        condition.evidence.actual = bucket->values[__builtin_ctz(measure->shape.statistics)];
    condition.evidence.unit = span_of(measure->unit);
    struct text_scope scope = {.plan = judge->plan, .alert = &condition.evidence, .bucket = bucket};
    send_bucket(judge, judged, &scope, &condition, rule->name, &rule->annotations, "{{target}}: {{measure}}");
}

static void judge_detector(struct judge *judge, const struct plan_detector *detector,
                           const struct signal *signal, const struct judged *judged, uint8_t *told)
{
    const struct plan_measure *measure = &judge->plan->measures[detector->measure];
    const struct bucket *bucket = judged->buckets[measure->place];
    enum alert_kind kind = detector->type->kind;
    bool is_true = bucket && signal->anomaly;
    const char *expected = "expected {{expected_low}} to {{expected_high}}";
    char fallback[160];

    if ((!bucket && (!*told || isnan(detector->empty))) || (detector->calendars & judged->calendars))
        return;
    if (!is_true && !*told)
        return;
    *told = is_true;
    struct condition condition = {.policy = detector->policy,
                                  .outcome = is_true ? CONDITION_TRUE : CONDITION_FALSE,
                                  .evidence =
                                      condition_evidence(kind ? kind : ALERT_METRIC, detector->severity)};
    struct alert *alert = &condition.evidence;
    struct text_scope scope = {.plan = judge->plan, .alert = alert, .bucket = bucket};
    if (signal->opinion) {
        alert->score = signal->score;
        alert->probability = signal->probability;
        alert->actual = signal->actual;
        alert->expected_low = signal->expected_low;
        alert->expected_high = signal->expected_high;
    }
    alert->unit = span_of(measure->unit);
    if (signal->due_us > 0) {
        scope.due_us = judged->end_us + signal->due_us;
        expected = signal->direction == DIRECTION_UP ? "will be above {{expected_high}} at {{due}}"
                                                     : "will be below {{expected_low}} at {{due}}";
    }
    snprintf(fallback, sizeof fallback, "{{target}}: %.80s %s is {{actual}}, %s", measure->name,
             statistic_names[detector->statistic], expected);
    send_bucket(judge, judged, &scope, &condition, detector->name, &detector->annotations, fallback);
}

void judge_buckets(struct judge *judge, const struct judged *judged)
{
    const struct plan_group *group = judged->group;
    struct cel_look *look = judge->bucket_looks[group - judge->plan->groups];
    uint8_t *told = judged->told + group->rule_count;
    uint32_t program;

    cel_look_texts(look, judged->key, group->by_count);
    while (cel_look_next(look, &program))
        judge_rule(judge, &judge->plan->rules[group->rules[program]], judged, &judged->told[program]);
    for (unsigned i = 0; i < group->detector_count; i++)
        judge_detector(judge, &judge->plan->detectors[group->detectors[i]], &judged->signals[i], judged,
                       told + i);
}
