/* weir check: loads a file as `run` would, and says what it holds. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include <stdio.h>

int cli_check(int argc, char **argv)
{
    struct file_arguments arguments;
    const struct argument own[] = {{0}};
    struct plan *plan;

    if (!arguments_read(argc, argv, own, &arguments) || !(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    printf("%s: ok: pipeline '%s', %u sources, %u measures, %u detectors, %u rules, %u sinks\n",
           arguments.path, plan->general.name, plan->source_count, plan->measure_count, plan->detector_count,
           plan->rule_count, plan->sink_count);
    plan_free(plan);
    return EXIT_DONE;
}
