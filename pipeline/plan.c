/* Reads the sections in the order in which they refer to each other, links names to indices, and compiles
 * every expression. Runs once a start; plan_link.c holds what connects measures, detectors and rules. */
#include "pipeline/plan.h"

#include "base/memory.h"
#include "base/slots.h"
#include "pipeline/plan_link.h"
#include "pipeline/settings.h"

#include <assert.h>
#include <stdlib.h>

/* The key under which the node stands. */
static const char *key_of(const struct node *node)
{
    for (size_t i = 0; node->parent && node->parent->type == NODE_MAP && i < node->parent->count; i++)
        if (node->parent->items[i] == node)
            return node->parent->keys[i];
    return "here";
}

static enum status read_one(const struct node *map, const struct option_rows *rows, void *settings,
                            struct error *error)
{
    struct option_table table = {rows->rows, rows->count, settings};

    if (map && map->type != NODE_MAP)
        return node_fail(map, error, "%s: expected a map of keys", key_of(map));
    return options_read(map, &table, 1, error);
}

/* Reads the common rows first and leniently finds the type, then common and the type's own rows together. */
static const char *text_of(const struct node *map, const char *key)
{
    const struct node *value = map->type == NODE_MAP ? node_find(map, key) : NULL;

    return value && value->type == NODE_SCALAR ? value->text : NULL;
}

static enum status read_typed(const struct node *map, const struct option_rows *common, void *settings,
                              const struct option *own, size_t own_count, size_t own_size, void **ret_own,
                              const struct option_rows *extra, void *extra_settings, struct error *error)
{
    struct option_table tables[3] = {{common->rows, common->count, settings}};
    size_t count = 1;

    *ret_own = memory_new(own_size);
    tables[count++] = (struct option_table){own, own_count, *ret_own};
    if (extra)
        tables[count++] = (struct option_table){extra->rows, extra->count, extra_settings};
    return options_read(map, tables, count, error);
}

enum { TYPE_NAMES_MAX = 64 };

/* Finds the entry's type in one of the visible lists. Every kind of type begins with its name. */
static const void *find_type(const void *types, const struct node *map, const char *what, struct error *error)
{
    const void *const *list = types;
    const char *given = text_of(map, "type"), *names[TYPE_NAMES_MAX], *near;
    size_t count = 0;

    for (; list[count] && count < TYPE_NAMES_MAX; count++) {
        names[count] = *(const char *const *)list[count];
        if (given && strcmp(names[count], given) == 0)
            return list[count];
    }
    near = given ? nearest_name(given, names, count) : NULL;
    if (!given)
        node_fail(map, error, "'type' is missing: what kind of %s?", what);
    else
        node_fail(node_find(map, "type"), error, "unknown %s type '%s'%s%s%s", what, given,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static enum status read_format(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_format *format = entry;
    const struct format_type *type = find_type(format_types, map, "format", error);
    struct plan_format shell = {0};
    static const struct option type_option[] = {
        {"type", OPTION_TEXT, 0, .required = true, .help = "Kind of format."}};
    char *type_text = NULL;
    struct option_rows extra = {type_option, 1};
    enum status status;

    (void)plan;
    if (!type)
        return STATUS_FATAL;
    shell.type = type;
    shell.node = map;
    status = read_typed(map, &format_rows, &shell, type->options, type->option_count, type->settings_size,
                        &shell.settings, &extra, &type_text, error);
    free(type_text);
    *format = shell;
    return status;
}

static enum status unknown_format(const struct plan *plan, const struct node *map, const char *name,
                                  struct error *error)
{
    const char *names[TYPE_NAMES_MAX], *near;
    struct format_preset preset;
    size_t count = 0;

    for (unsigned i = 0; i < plan->format_count && count < TYPE_NAMES_MAX; i++)
        names[count++] = plan->formats[i].name;
    for (size_t i = 0; format_types[i] && count < TYPE_NAMES_MAX; i++)
        names[count++] = format_types[i]->name;
    for (size_t i = 0; count < TYPE_NAMES_MAX && format_preset_at(i, &preset); i++)
        names[count++] = preset.name;
    near = nearest_name(name, names, count);
    return node_fail(node_find(map, "format"), error,
                     "format: '%s' is neither under formats nor built in%s%s%s", name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool find_preset(const char *name, struct format_preset *ret_preset)
{
    for (size_t i = 0; format_preset_at(i, ret_preset); i++)
        if (strcmp(ret_preset->name, name) == 0)
            return true;
    return false;
}

/* The index of a named format, adding a built-in one with its defaults when the name is a type's or a
 * preset's. */
static enum status find_format(struct plan *plan, const struct node *map, const char *name,
                               unsigned *ret_index, struct error *error)
{
    const struct format_type *type;
    struct format_preset preset;
    struct plan_format *format;
    bool is_preset;

    for (unsigned i = 0; i < plan->format_count; i++)
        if (strcmp(plan->formats[i].name, name) == 0) {
            *ret_index = i;
            return STATUS_OK;
        }
    type = format_type_find(name);
    is_preset = !type && find_preset(name, &preset);
    if (is_preset)
        type = preset.type;
    if (!type)
        return unknown_format(plan, map, name, error);
    plan->formats = memory_grow(plan->formats, (plan->format_count + 1) * sizeof *plan->formats);
    format = &plan->formats[plan->format_count];
    *format = (struct plan_format){
        .name = memory_text(name, strlen(name)), .type = type, .settings = memory_new(type->settings_size)};
    *ret_index = plan->format_count++;
    struct option_table table = {type->options, type->option_count, format->settings};
    enum status status = options_read(NULL, &table, 1, error);
    return status || !is_preset ? status
                                : option_assign(type->options, type->option_count, format->settings, "preset",
                                                preset.name, error);
}

/* Labels get their columns before the first batch is made. */
static enum status add_label(struct plan *plan, const struct node *map, const char *name,
                             unsigned *ret_column, struct error *error)
{
    char text[sizeof "labels." + LABEL_NAME_MAX] = "labels.";
    size_t size = strlen(name), prefix = strlen(text);
    struct field_ref ref;

    if (size <= LABEL_NAME_MAX) {
        memcpy(text + prefix, name, size + 1);
        if (field_ref_parse(span_of(text), &plan->labels, &ref)) {
            *ret_column = ref.label;
            return STATUS_OK;
        }
    }
    return node_fail(
        map, error,
        "labels: '%.64s' is no name of a label (1 to %d characters without blanks), differs from "
        "another one only by '.' and '_', or is beyond the limit of %d labels",
        name, LABEL_NAME_MAX, LABELS_MAX);
}

static enum status add_labels(struct plan *plan, struct plan_source *source, struct error *error)
{
    const struct option_pairs *given = &source->labels_given;

    source->labels = memory_new(given->count * sizeof *source->labels);
    for (size_t i = 0; i < given->count; i++) {
        source->labels[i].value = span_of(given->items[i].value);
        if (add_label(plan, node_find(source->node, "labels"), given->items[i].key, &source->labels[i].column,
                      error) != STATUS_OK)
            return STATUS_FATAL;
    }
    for (const char *const *name = source->type->labels; name && *name; name++) {
        unsigned column;

        if (add_label(plan, source->node, *name, &column, error) != STATUS_OK)
            return STATUS_FATAL;
    }
    return STATUS_OK;
}

static enum status read_source(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_source *source = entry;
    const struct source_type *type = find_type(source_types, map, "source", error);
    struct source_context context;

    if (!type)
        return STATUS_FATAL;
    source->type = type;
    source->node = map;
    if (read_typed(map, &source_rows, source, type->options, type->option_count, type->settings_size,
                   &source->settings, NULL, NULL, error) != STATUS_OK ||
        add_labels(plan, source, error) != STATUS_OK)
        return STATUS_FATAL;
    context = (struct source_context){.name = source->name, .node = map};
    if (type->check && type->check(source->settings, &context, error) != STATUS_OK)
        return STATUS_FATAL;
    return find_format(plan, map, source->format_name, &source->format, error);
}

static enum status read_sink(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_sink *sink = entry;
    const struct sink_type *type = find_type(sink_types, map, "sink", error);

    if (!type)
        return STATUS_FATAL;
    sink->type = type;
    sink->node = map;
    if (read_typed(map, &sink_rows, sink, type->options, type->option_count, type->settings_size,
                   &sink->settings, NULL, NULL, error) != STATUS_OK)
        return STATUS_FATAL;
    for (size_t i = 0; i < sink->send.count; i++) {
        unsigned kind = 0;

        while (document_kind_names[kind] && strcmp(document_kind_names[kind], sink->send.items[i]) != 0)
            kind++;
        if (!document_kind_names[kind])
            return node_fail(node_find(map, "send"), error,
                             "send: unknown kind '%s' (events, runs, buckets, signals, alerts, metrics)",
                             sink->send.items[i]);
        if (kind == DOC_METRIC && type->form != SINK_DOCUMENTS)
            return node_fail(node_find(map, "send"), error,
                             "send: metrics have no lines; a sink of type %s cannot take them", type->name);
        sink->kinds |= 1u << kind;
    }
    plan->wants_runs |= (sink->kinds & 1u << DOC_RUN) != 0;
    return STATUS_OK;
}

static enum status read_receiver(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_sink *receiver = entry;
    const struct sink_type *type = find_type(sink_types, map, "receiver", error);

    (void)plan;
    if (!type)
        return STATUS_FATAL;
    if (!type->notifies)
        return node_fail(node_find(map, "type"), error,
                         "a receiver cannot be of type '%s', which tells nobody", type->name);
    receiver->type = type;
    receiver->node = map;
    receiver->receiver = true;
    return read_typed(map, &receiver_rows, receiver, type->options, type->option_count, type->settings_size,
                      &receiver->settings, NULL, NULL, error);
}

enum status plan_find_receiver(const struct plan *plan, const char *name, struct plan_sink **ret_receiver,
                               struct error *ret_error)
{
    const char **names = memory_new((plan->sink_count + 1) * sizeof(char *)), *near;
    struct plan_sink *found = NULL;
    size_t count = 0;

    for (unsigned i = 0; i < plan->sink_count; i++) {
        if (!plan->sinks[i].receiver)
            continue;
        names[count++] = plan->sinks[i].name;
        if (strcmp(plan->sinks[i].name, name) == 0)
            found = &plan->sinks[i];
    }
    near = nearest_name(name, names, count);
    free(names);
    if (!found)
        return fail(ret_error, "no receiver named '%s'%s%s%s", name, near ? "; did you mean '" : "",
                    near ? near : "", near ? "'?" : "");
    *ret_receiver = found;
    return STATUS_OK;
}

/* Who gets the alerts: those that `alerts.to` names, else every receiver. */
static enum status choose_receivers(struct plan *plan, struct error *error)
{
    const struct option_texts *to = &plan->alerts.to;
    bool all = !plan->general.alerts || !node_find(plan->general.alerts, "to");

    for (unsigned i = 0; i < plan->sink_count; i++)
        if (plan->sinks[i].receiver && all)
            plan->sinks[i].kinds = 1u << DOC_ALERT;
    for (size_t k = 0; k < to->count; k++) {
        struct plan_sink *receiver = NULL;
        struct error unknown;

        if (plan_find_receiver(plan, to->items[k], &receiver, &unknown) != STATUS_OK)
            return node_fail(node_find(plan->general.alerts, "to"), error, "%s", unknown.text);
        assert(receiver);
        receiver->kinds = 1u << DOC_ALERT;
    }
    return STATUS_OK;
}

static enum status read_measure(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_measure *measure = entry;
    measure->node = map;
    (void)plan;
    return read_one(map, &measure_rows, measure, error);
}

static enum status read_annotations(const struct node *map, struct plan_annotations *annotations,
                                    struct error *error)
{
    return map ? read_one(map, &annotation_rows, annotations, error) : STATUS_OK;
}

/* Receivers and later versions know the watch's alerts by their names. */
static enum status check_name(const struct node *map, const char *name, struct error *error)
{
    if (strncmp(name, "watch_", strlen("watch_")) != 0)
        return STATUS_OK;
    return node_fail(node_find(map, "name"), error, "name: '%s': watch_... is for the built-in watch", name);
}

static enum status read_calendar(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_calendar *calendar = entry;

    if (plan->calendar_count > CALENDARS_MAX)
        return node_fail(map, error, "calendars: at most %d", CALENDARS_MAX);
    if (read_one(map, &calendar_rows, &calendar->settings, error) != STATUS_OK)
        return STATUS_FATAL;
    return calendar_open(&calendar->settings, map, &calendar->calendar, error);
}

static enum status read_detector(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_detector *detector = entry;
    const struct detector_type *type = find_type(detector_types, map, "detector", error);
    struct option_rows backend = {backend_options, backend_option_count};

    (void)plan;
    if (!type)
        return STATUS_FATAL;
    detector->type = type;
    detector->node = map;
    if (read_typed(map, &detector_rows, detector, type->options, type->option_count, type->settings_size,
                   &detector->settings, &backend, &detector->backend, error) != STATUS_OK ||
        check_name(map, detector->name, error) != STATUS_OK)
        return STATUS_FATAL;
    return read_annotations(detector->annotations_node, &detector->annotations, error);
}

static enum status read_rule(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_rule *rule = entry;
    (void)plan;
    rule->node = map;
    if (read_one(map, &rule_rows, rule, error) != STATUS_OK ||
        check_name(map, rule->name, error) != STATUS_OK)
        return STATUS_FATAL;
    return read_annotations(rule->annotations_node, &rule->annotations, error);
}

static enum status read_schedule(struct plan *plan, const struct node *map, void *entry, struct error *error)
{
    struct plan_schedule *schedule = entry;
    struct error inner;

    if (read_one(map, &schedule_rows, schedule, error) != STATUS_OK)
        return STATUS_FATAL;
    if (!plan->general.watch)
        return node_fail(map, error, "schedules are for the watch, which `watch: false` switches off");
    if (cron_parse(span_of(schedule->cron_text), &schedule->cron, &inner) != STATUS_OK)
        return node_fail(node_find(map, "cron"), error, "cron: %.500s", inner.text);
    if (strcmp(schedule->timezone, "UTC") == 0)
        return STATUS_OK;
    schedule->zone = time_zone_load(span_of(schedule->timezone));
    if (!schedule->zone)
        return node_fail(node_find(map, "timezone"), error, "timezone: there is no time zone '%s'",
                         schedule->timezone);
    return STATUS_OK;
}

struct list_section {
    const char *name;
    const struct node *node;
    void **array; /* of structs that begin with their name */
    unsigned *count;
    size_t size;
    enum status (*read)(struct plan *plan, const struct node *map, void *entry, struct error *error);
};

/* False: the name is there already. */
static bool add_name(struct slots *names, const char *name)
{
    struct id_builder id;
    bool is_new;

    id_begin(&id);
    id_add_text(&id, span_of(name));
    slots_add(names, id_end(&id), &is_new);
    return is_new;
}

static enum status read_entries(struct plan *plan, const struct list_section *section, struct slots *names,
                                struct error *error)
{
    const struct node *list = section->node;
    char *entries = *section->array;

    for (unsigned i = 0; i < *section->count; i++) /* of a section that shares the array */
        add_name(names, *(char **)(entries + i * section->size));
    for (size_t i = 0; i < list->count; i++) {
        char *entry = entries + *section->count * section->size;

        if (list->items[i]->type != NODE_MAP)
            return node_fail(list->items[i], error, "an entry of %s must be a map", section->name);
        memset(entry, 0, section->size);
        ++*section->count;
        if (section->read(plan, list->items[i], entry, error) != STATUS_OK)
            return STATUS_FATAL;
        if (!add_name(names, *(char **)entry))
            return node_fail(list->items[i], error, "the name '%s' is used twice in %s", *(char **)entry,
                             section->name);
    }
    return STATUS_OK;
}

static enum status read_list(struct plan *plan, const struct list_section *section, struct error *error)
{
    const struct node *list = section->node;
    struct slots names;
    enum status status;

    if (!list)
        return STATUS_OK;
    if (list->type != NODE_LIST)
        return node_fail(list, error, "%s must be a list", section->name);
    *section->array = memory_grow(*section->array, (*section->count + list->count + 1) * section->size);
    slots_init(&names, UINT32_MAX);
    status = read_entries(plan, section, &names, error);
    slots_free(&names);
    return status;
}

/* Input partitions are divided by number, so that all processes must see the same ones. */
static enum status check_cluster(struct plan *plan, struct error *error)
{
    const struct node *section = plan->general.cluster;
    struct plan_cluster *cluster = &plan->cluster;

    if (!cluster->enabled)
        return STATUS_OK;
    if (!cluster->brokers)
        return node_fail(section, error, "cluster.brokers: required when cluster.enabled is true");
    if (cluster->tasks & (cluster->tasks - 1))
        return node_fail(section, error, "cluster.tasks: %lld is not a power of two (1, 2, 4 ... %d)",
                         (long long)cluster->tasks, WORKERS_MAX);
    for (unsigned i = 0; i < plan->source_count; i++)
        if (strcmp(plan->sources[i].type->name, "kafka") != 0)
            return node_fail(plan->sources[i].node, error,
                             "source %s: with cluster.enabled every source must be of type kafka",
                             plan->sources[i].name);
    if (!cluster->application_id)
        cluster->application_id = memory_text(plan->general.name, strlen(plan->general.name));
    return STATUS_OK;
}

static enum status read_sections(struct plan *plan, struct error *error)
{
    const struct plan_general *general = &plan->general;
    const struct {
        const struct node *node;
        const struct option_rows *rows;
        void *settings;
    } maps[] = {
        {general->time, &time_rows, &plan->time},          {general->runs, &runs_rows, &plan->runs},
        {general->limits, &limits_rows, &plan->limits},    {general->store, &store_rows, &plan->store},
        {general->cluster, &cluster_rows, &plan->cluster}, {general->http, &http_rows, &plan->http},
        {general->alerts, &alerts_rows, &plan->alerts},
    };

    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if (read_one(maps[i].node, maps[i].rows, maps[i].settings, error) != STATUS_OK)
            return STATUS_FATAL;
    plan->wants_runs = plan->http.listen[0] != '\0' || general->watch;
    /* formats before sources, which name them and may add built-in ones */
    const struct list_section lists[] = {
        {"formats", general->formats, (void **)&plan->formats, &plan->format_count, sizeof *plan->formats,
         read_format},
        {"sources", general->sources, (void **)&plan->sources, &plan->source_count, sizeof *plan->sources,
         read_source},
        {"measures", general->measures, (void **)&plan->measures, &plan->measure_count,
         sizeof *plan->measures, read_measure},
        {"calendars", general->calendars, (void **)&plan->calendars, &plan->calendar_count,
         sizeof *plan->calendars, read_calendar},
        {"detectors", general->detectors, (void **)&plan->detectors, &plan->detector_count,
         sizeof *plan->detectors, read_detector},
        {"rules", general->rules, (void **)&plan->rules, &plan->rule_count, sizeof *plan->rules, read_rule},
        {"schedules", general->schedules, (void **)&plan->schedules, &plan->schedule_count,
         sizeof *plan->schedules, read_schedule},
        {"sinks", general->sinks, (void **)&plan->sinks, &plan->sink_count, sizeof *plan->sinks, read_sink},
        {"receivers", general->receivers, (void **)&plan->sinks, &plan->sink_count, sizeof *plan->sinks,
         read_receiver},
    };

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (read_list(plan, &lists[i], error) != STATUS_OK)
            return STATUS_FATAL;
    if (choose_receivers(plan, error) != STATUS_OK)
        return STATUS_FATAL;
    if (plan->source_count == 0)
        return node_fail(config_root(plan->config), error, "no sources: name at least one under sources");
    return check_cluster(plan, error);
}

/* Measures of an earlier configuration: each a configuration of its own. */
static enum status read_draining(struct plan *plan, const struct span *measures, size_t count,
                                 struct error *error)
{
    plan->draining = memory_new((count + 1) * sizeof(struct config *));
    plan->measures = memory_grow(plan->measures, (plan->measure_count + count + 1) * sizeof *plan->measures);
    for (size_t i = 0; i < count; i++) {
        char *text = memory_text(measures[i].data, measures[i].size);
        struct plan_measure *measure = &plan->measures[plan->measure_count];
        enum status status = config_parse(text, plan->path, &plan->draining[i], error);

        free(text);
        if (status != STATUS_OK)
            return STATUS_FATAL;
        plan->draining_count++;
        plan->measure_count++;
        *measure = (struct plan_measure){0};
        if (read_measure(plan, config_root(plan->draining[i]), measure, error) != STATUS_OK)
            return STATUS_FATAL;
    }
    return STATUS_OK;
}

static void keep_origin(struct plan *plan, const char *path, const char *const *assignments, size_t count)
{
    plan->path = memory_text(path, strlen(path));
    plan->assignments = memory_new((count + 1) * sizeof(char *));
    for (; plan->assignment_count < count; plan->assignment_count++)
        plan->assignments[plan->assignment_count] =
            memory_text(assignments[plan->assignment_count], strlen(assignments[plan->assignment_count]));
}

static enum status load(const char *path, const char *const *assignments, size_t assignment_count,
                        const struct span *measures, size_t measure_count, struct plan **ret_plan,
                        struct error *ret_error)
{
    struct plan *plan = memory_new(sizeof *plan);

    keep_origin(plan, path, assignments, assignment_count);
    if (config_load(path, &plan->config, ret_error) != STATUS_OK)
        goto fail;
    for (size_t i = 0; i < assignment_count; i++)
        if (config_set(plan->config, assignments[i], ret_error) != STATUS_OK)
            goto fail;
    if (read_one(config_root(plan->config), &general_rows, &plan->general, ret_error) != STATUS_OK)
        goto fail;
    plan->name = span_of(plan->general.name);
    if (read_sections(plan, ret_error) != STATUS_OK ||
        read_draining(plan, measures, measure_count, ret_error) != STATUS_OK)
        goto fail;
    for (unsigned i = 0; i < plan->measure_count; i++) {
        plan->measures[i].since_us = INT64_MIN;
        plan->measures[i].until_us = INT64_MAX;
    }
    if (plan_link(plan, ret_error) != STATUS_OK)
        goto fail;
    *ret_plan = plan;
    return STATUS_OK;
fail:
    plan_free(plan);
    return STATUS_FATAL;
}

enum status plan_load(const char *path, const char *const *assignments, size_t assignment_count,
                      struct plan **ret_plan, struct error *ret_error)
{
    return load(path, assignments, assignment_count, NULL, 0, ret_plan, ret_error);
}

enum status plan_load_again(const struct plan *plan, const struct span *measures, size_t count,
                            struct plan **ret_plan, struct error *ret_error)
{
    return load(plan->path, (const char *const *)plan->assignments, plan->assignment_count, measures, count,
                ret_plan, ret_error);
}

static void free_typed(const struct option *rows, size_t count, void *settings)
{
    if (settings)
        options_free(&(struct option_table){rows, count, settings}, 1);
    free(settings);
}

static void free_rows(const struct option_rows *rows, void *settings)
{
    options_free(&(struct option_table){rows->rows, rows->count, settings}, 1);
}

static void free_lists(struct plan *plan)
{
    for (unsigned i = 0; i < plan->format_count; i++) {
        free_rows(&format_rows, &plan->formats[i]);
        if (plan->formats[i].type)
            free_typed(plan->formats[i].type->options, plan->formats[i].type->option_count,
                       plan->formats[i].settings);
    }
    for (unsigned i = 0; i < plan->source_count; i++) {
        free_rows(&source_rows, &plan->sources[i]);
        free(plan->sources[i].labels);
        if (plan->sources[i].type)
            free_typed(plan->sources[i].type->options, plan->sources[i].type->option_count,
                       plan->sources[i].settings);
    }
    for (unsigned i = 0; i < plan->detector_count; i++) {
        free_rows(&detector_rows, &plan->detectors[i]);
        free_rows(&annotation_rows, &plan->detectors[i].annotations);
        if (plan->detectors[i].type)
            free_typed(plan->detectors[i].type->options, plan->detectors[i].type->option_count,
                       plan->detectors[i].settings);
    }
    for (unsigned i = 0; i < plan->sink_count; i++) {
        free_rows(&sink_rows, &plan->sinks[i]);
        if (plan->sinks[i].type)
            free_typed(plan->sinks[i].type->options, plan->sinks[i].type->option_count,
                       plan->sinks[i].settings);
    }
    for (unsigned i = 0; i < plan->calendar_count; i++) {
        free_rows(&calendar_rows, &plan->calendars[i].settings);
        calendar_free(plan->calendars[i].calendar);
    }
    for (unsigned i = 0; i < plan->measure_count; i++)
        free_rows(&measure_rows, &plan->measures[i]);
    for (unsigned i = 0; i < plan->rule_count; i++) {
        free_rows(&rule_rows, &plan->rules[i]);
        free_rows(&annotation_rows, &plan->rules[i].annotations);
    }
    for (unsigned i = 0; i < plan->schedule_count; i++) {
        free_rows(&schedule_rows, &plan->schedules[i]);
        if (plan->schedules[i].zone)
            time_zone_free(plan->schedules[i].zone);
    }
}

void plan_free(struct plan *plan)
{
    const struct option_rows *rows[] = {&general_rows, &time_rows,    &runs_rows, &limits_rows,
                                        &store_rows,   &cluster_rows, &http_rows, &alerts_rows};
    void *settings[] = {&plan->general, &plan->time,    &plan->runs, &plan->limits,
                        &plan->store,   &plan->cluster, &plan->http, &plan->alerts};

    plan_unlink(plan);
    free_lists(plan);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        free_rows(rows[i], settings[i]);
    for (unsigned i = 0; i < plan->labels.count; i++)
        free(plan->labels.names[i]);
    free(plan->formats);
    free(plan->sources);
    free(plan->measures);
    free(plan->calendars);
    free(plan->detectors);
    free(plan->rules);
    free(plan->schedules);
    free(plan->sinks);
    if (plan->config)
        config_free(plan->config);
    for (size_t i = 0; i < plan->draining_count; i++)
        config_free(plan->draining[i]);
    for (size_t i = 0; i < plan->assignment_count; i++)
        free(plan->assignments[i]);
    free(plan->draining);
    free(plan->assignments);
    free(plan->path);
    free(plan);
}

uint64_t plan_calendars(const struct plan *plan, int64_t start_us, int64_t end_us)
{
    uint64_t calendars = 0;

    for (unsigned i = 0; i < plan->calendar_count; i++)
        calendars |= (uint64_t)calendar_overlaps(plan->calendars[i].calendar, start_us, end_us) << i;
    return calendars;
}

bool plan_source_is_endless(const struct plan_source *source)
{
    return source->type->endless && source->type->endless(source->settings);
}
