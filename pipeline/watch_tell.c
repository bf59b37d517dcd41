/* What a signal finds becomes a condition for the alert owner. */
#include "alerts/text.h"
#include "pipeline/judge.h"
#include "pipeline/watch_signal.h"

#include <math.h>

const char *const watch_text_names[WATCH_KEPT_TEXTS] = {
    "source", "namespace", "workflow", "task", "run", "run_name", "host",
};

static void put_number(struct buffer *out, const struct watch_finding *finding, double value)
{
    bool is_time = finding->unit && strcmp(finding->unit, "s") == 0;

    buffer_print(out, is_time ? "%.1f" : "%.3g", value);
    if (finding->unit)
        buffer_print(out, " %s", finding->unit);
}

static bool resolve(void *owner, struct span name, struct buffer *out)
{
    const struct watch_finding *finding = owner;
    struct alert alert = {.source = finding->texts[WATCH_SOURCE],
                          .workflow = finding->texts[WATCH_WORKFLOW],
                          .task = finding->texts[WATCH_TASK],
                          .host = finding->texts[WATCH_HOST]};

    if (span_is(name, "target"))
        alert_target(&alert, out);
    else if (span_is(name, "actual"))
        put_number(out, finding, finding->actual);
    else if (span_is(name, "usual"))
        put_number(out, finding, finding->usual);
    else if (span_is(name, "count"))
        buffer_print(out, "%u", finding->count);
    else if (span_is(name, "error"))
        text_put(out, finding->error);
    else if (span_is(name, "pattern"))
        text_put(out, finding->pattern);
    else if (span_is(name, "host"))
        text_put(out, alert.host);
    else if (span_is(name, "source"))
        text_put(out, alert.source);
    else
        return false;
    return true;
}

static void fill_evidence(const struct watch_scene *scene, const struct watch_finding *finding,
                          struct alert *alert)
{
    const struct span *texts = finding->texts;
    struct span key[WATCH_KEPT_TEXTS];
    unsigned count = 0;

    for (unsigned t = 0; t < WATCH_KEPT_TEXTS; t++) {
        if (!(scene->signal->key & 1u << t))
            continue;
        key[count++] = texts[t];
        if (texts[t].size)
            alert->labels[alert->label_count++] =
                (struct alert_label){.name = span_of(watch_text_names[t]), .value = texts[t]};
    }
    alert->dedup = condition_key(scene->watch->plan, scene->signal->rule.name, key, count);
    alert->source = texts[WATCH_SOURCE];
    alert->namespace_ = texts[WATCH_NAMESPACE];
    alert->workflow = texts[WATCH_WORKFLOW];
    alert->task = texts[WATCH_TASK];
    alert->run = texts[WATCH_RUN];
    alert->run_name = texts[WATCH_RUN_NAME];
    alert->host = texts[WATCH_HOST];
    alert->url = finding->url;
    alert->attempt = finding->attempt;
    alert->provisional = scene->provisional;
    alert->summary = buffer_span(&scene->watch->summary);
    if (!isnan(finding->actual)) {
        alert->actual = finding->actual;
        alert->expected_low = 0;
        alert->expected_high = finding->usual;
        alert->unit = span_of(finding->unit ? finding->unit : "");
    }
}

void watch_send(const struct watch_scene *scene, struct watch_finding finding, enum condition_outcome outcome,
                int64_t number)
{
    struct watch *watch = scene->watch;
    const struct plan_watch_rule *rule = &scene->signal->rule;
    struct condition condition = {
        .policy = watch->plan->watch_policy + watch_signal_number(scene->signal),
        .outcome = outcome,
        .at_us = scene->now_us,
        .offset = number,
        .evidence = condition_evidence(rule->kind, (int)rule->severity),
    };

    buffer_clear(&watch->summary);
    if (outcome != CONDITION_FALSE)
        text_fill(span_of(finding.summary), resolve, &finding, &watch->summary);
    fill_evidence(scene, &finding, &condition.evidence);
    condition_send(&condition, watch->port);
}

static void tell(const struct watch_scene *scene, struct watch_entry *entry, struct watch_finding finding,
                 enum condition_outcome outcome)
{
    struct watch_scene then = *scene;

    if (then.now_us < entry->told_us)
        then.now_us = entry->told_us;
    if (!finding.texts)
        finding.texts = scene->word ? scene->word->texts : entry->texts;
    entry->told = outcome == CONDITION_TRUE;
    entry->told_us = then.now_us;
    watch_send(&then, finding, outcome, ++entry->words);
}

void watch_tell(struct watch_scene *scene, struct watch_entry *entry, struct watch_finding finding)
{
    tell(scene, entry, finding, CONDITION_TRUE);
}

void watch_tell_end(struct watch_scene *scene, struct watch_entry *entry, struct watch_finding finding)
{
    if (entry->told)
        tell(scene, entry, finding, CONDITION_FALSE);
}
