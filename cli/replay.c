/* weir replay: recorded input in event time only. It starts empty, reads and writes no store, commits
 * nothing, sends to no sink; it writes only the files named. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/recorded.h"

#include <stdio.h>

static int replay(const struct plan *plan, const char *const outputs[DOC_KINDS])
{
    struct collect *collect;
    struct error error;

    if (collect_open(outputs, &collect, &error) == STATUS_OK &&
        recorded_replay(plan, collect, &error) == STATUS_OK)
        return EXIT_DONE;
    fprintf(stderr, "weir: %s\n", error.text);
    return EXIT_OUTSIDE;
}

int cli_replay(int argc, char **argv)
{
    const char *outputs[DOC_KINDS] = {NULL};
    const struct argument own[] = {{"--alerts", &outputs[DOC_ALERT], NULL},
                                   {"--buckets", &outputs[DOC_BUCKET], NULL},
                                   {"--signals", &outputs[DOC_SIGNAL], NULL},
                                   {"--runs", &outputs[DOC_RUN], NULL},
                                   {0}};
    struct file_arguments arguments;
    struct recorded_inputs inputs;
    struct plan *plan;
    struct error error;
    int code = EXIT_USAGE;

    if (!recorded_take(&argc, argv, &inputs) || !arguments_read(argc, argv, own, &arguments) ||
        !(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    plan->wants_runs |= outputs[DOC_RUN] != NULL;
    if (recorded_use(plan, &inputs, &error) == STATUS_OK)
        code = replay(plan, outputs);
    else
        fprintf(stderr, "weir: %s\n", error.text);
    plan_free(plan);
    return code;
}
