/* weir check: loads a file as `run` would, and says what it holds. With --connect it also asks everything
 * outside that the file names whether it can be reached, and sends nothing. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include <stdio.h>

struct place { /* what the next lines are about */
    const char *kind, *name;
    unsigned wrong;
};

static void tell(void *owner, bool ok, const char *text)
{
    struct place *place = owner;

    printf("%-5s %s '%s': %s\n", ok ? "ok" : "wrong", place->kind, place->name, text);
    fflush(stdout);
    place->wrong += !ok;
}

static void warn(void *owner, const char *text)
{
    (void)owner;
    fprintf(stderr, "weir: %s\n", text);
}

/* How many things outside are wrong. */
static unsigned connect_all(const struct plan *plan)
{
    struct place place = {.kind = "source"};

    for (unsigned i = 0; i < plan->source_count; i++) {
        const struct plan_source *source = &plan->sources[i];
        struct source_context context = {
            .name = source->name, .workers = 1, .node = source->node, .once = true, .warn = warn};

        place.name = source->name;
        if (source->type->probe)
            source->type->probe(source->settings, &context, tell, &place);
    }
    for (unsigned i = 0; i < plan->sink_count; i++) {
        const struct plan_sink *sink = &plan->sinks[i];

        place.kind = sink->receiver ? "receiver" : "sink";
        place.name = sink->name;
        if (sink->type->probe)
            sink->type->probe(sink->settings, tell, &place);
    }
    return place.wrong;
}

int cli_check(int argc, char **argv)
{
    struct file_arguments arguments;
    bool connect = false;
    const struct argument own[] = {{.name = "--connect", .flag = &connect}, {0}};
    struct plan *plan;

    if (!arguments_read(argc, argv, own, &arguments) || !(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    printf("%s: ok: pipeline '%s', %u sources, %u measures, %u detectors, %u rules, %u sinks\n",
           arguments.path, plan->general.name, plan->source_count, plan->measure_count, plan->detector_count,
           plan->rule_count, plan->sink_count);
    unsigned wrong = connect ? connect_all(plan) : 0;

    plan_free(plan);
    return wrong ? EXIT_OUTSIDE : EXIT_DONE;
}
