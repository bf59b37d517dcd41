/* Read once; a label is some hundred bytes. */
#include "tuning/labels.h"

#include "base/memory.h"
#include "base/timestamp.h"

#include <stdlib.h>
#include <yajl/yajl_tree.h>

static yajl_val member(yajl_val line, const char *name)
{
    const char *path[] = {name, NULL};

    return yajl_tree_get(line, path, yajl_t_any);
}

static enum status read_time(yajl_val line, const char *name, int64_t *ret_us, struct error *ret_error)
{
    yajl_val value = member(line, name);
    struct span text = YAJL_IS_STRING(value)   ? span_of(YAJL_GET_STRING(value))
                       : YAJL_IS_NUMBER(value) ? span_of(YAJL_GET_NUMBER(value))
                                               : (struct span){0};

    if (!text.size)
        return fail(ret_error, "'%s' is missing: a time, such as \"2026-11-21T09:40:00Z\"", name);
    if (time_parse(text, TIME_UNIT_AUTO, 0, ret_us))
        return STATUS_OK;
    return fail(ret_error, "%s: '%.*s' is not a time", name, (int)text.size, text.data);
}

/* A mark's alert may have been late: others that are a little earlier found the same. */
#define MARK_EARLY_US INT64_C(300000000)

static bool add_target(struct incident *incident, yajl_val value)
{
    if (!YAJL_IS_STRING(value))
        return false;
    const char *text = YAJL_GET_STRING(value);

    incident->targets =
        memory_grow(incident->targets, (incident->target_count + 1) * sizeof *incident->targets);
    incident->targets[incident->target_count++] = memory_text(text, strlen(text));
    return true;
}

static enum status read_targets(yajl_val value, struct incident *incident, struct error *ret_error)
{
    bool good = YAJL_IS_ARRAY(value) || incident->any || add_target(incident, value);

    for (size_t i = 0; good && YAJL_IS_ARRAY(value) && i < YAJL_GET_ARRAY(value)->len; i++)
        good = add_target(incident, YAJL_GET_ARRAY(value)->values[i]);
    return good ? STATUS_OK
                : fail(ret_error, "'target' is missing: the target of its alerts, or a list of targets");
}

static void free_incident(struct incident *incident)
{
    for (size_t i = 0; i < incident->target_count; i++)
        free(incident->targets[i]);
    free(incident->targets);
    free(incident->kind);
}

static enum status read_incident(yajl_val line, struct incident *ret_incident, struct error *ret_error)
{
    yajl_val kind = member(line, "kind");
    const char *text = YAJL_IS_STRING(kind) ? YAJL_GET_STRING(kind) : "";
    struct incident incident = {.any = YAJL_IS_TRUE(member(line, "any")),
                                .ignore = YAJL_IS_TRUE(member(line, "ignore"))};

    if (read_time(line, "start", &incident.start_us, ret_error) != STATUS_OK ||
        read_time(line, "end", &incident.end_us, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    if (incident.end_us < incident.start_us)
        return fail(ret_error, "it ends before it starts");
    if (read_targets(member(line, "target"), &incident, ret_error) != STATUS_OK) {
        free_incident(&incident);
        return STATUS_FATAL;
    }
    incident.kind = memory_text(text, strlen(text));
    *ret_incident = incident;
    return STATUS_OK;
}

enum status labels_add(struct labels *labels, struct span line, const char *rule, struct error *ret_error)
{
    char *text = memory_text(line.data, line.size), reason[160];
    yajl_val tree = yajl_tree_parse(text, reason, sizeof reason),
             of_rule = YAJL_IS_OBJECT(tree) ? member(tree, "rule") : NULL;
    struct incident incident = {0};
    enum status status;

    if (!YAJL_IS_OBJECT(tree))
        status = fail(ret_error, "it is not a JSON object");
    else if (YAJL_IS_STRING(of_rule) && !span_is(span_of(YAJL_GET_STRING(of_rule)), rule))
        status = STATUS_SKIP;
    else if (labels->count == INCIDENTS_MAX)
        status = fail(ret_error, "more than %d labels", INCIDENTS_MAX);
    else
        status = read_incident(tree, &incident, ret_error);
    if (status == STATUS_OK && YAJL_IS_STRING(of_rule))
        incident.start_us -= MARK_EARLY_US;
    if (status == STATUS_OK) {
        labels->items =
            memory_reserve(labels->items, &labels->capacity, labels->count + 1, sizeof *labels->items);
        labels->items[labels->count++] = incident;
    }
    yajl_tree_free(tree);
    free(text);
    return status;
}

void labels_free(struct labels *labels)
{
    for (size_t i = 0; i < labels->count; i++)
        free_incident(&labels->items[i]);
    free(labels->items);
    *labels = (struct labels){0};
}

bool incident_matches(const struct incident *incident, const char *target)
{
    if (incident->any)
        return true;
    for (size_t i = 0; i < incident->target_count; i++) {
        const char *wanted = incident->targets[i];
        size_t size = strlen(wanted);

        if (strcmp(wanted, target) == 0 ||
            (size && wanted[size - 1] == '*' && strncmp(wanted, target, size - 1) == 0))
            return true;
    }
    return false;
}
