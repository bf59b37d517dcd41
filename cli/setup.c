/* weir setup elasticsearch FILE.yaml: installs the index templates in every search server that the file
 * names. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "sinks/elasticsearch_setup.h"

#include <stdio.h>

static void print_warning(void *owner, const char *text)
{
    (void)owner;
    fprintf(stderr, "weir: %s\n", text);
}

static int setup_sink(const struct plan *plan, const struct plan_sink *sink)
{
    struct sink_context context = {
        .name = sink->name, .pipeline = plan->general.name, .node = sink->node, .warn = print_warning};
    struct buffer report;
    struct error error;
    int code = EXIT_DONE;

    buffer_init(&report, 1 << 20);
    if (elasticsearch_setup(sink->settings, &context, &report, &error) != STATUS_OK) {
        fprintf(stderr, "weir: %s: %s\n", sink->name, error.text);
        code = EXIT_OUTSIDE;
    }
    fwrite(report.data, 1, report.size, stdout);
    buffer_free(&report);
    return code;
}

int cli_setup(int argc, char **argv)
{
    struct file_arguments arguments;
    const struct argument own[] = {{0}};
    struct plan *plan;
    unsigned found = 0;
    int code = EXIT_DONE;

    if (argc < 3 || strcmp(argv[1], "elasticsearch") != 0) {
        fprintf(stderr, "usage: weir setup elasticsearch FILE.yaml\n");
        return EXIT_USAGE;
    }
    if (!arguments_read(argc - 1, argv + 1, own, &arguments) || !(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    for (unsigned i = 0; i < plan->sink_count && code == EXIT_DONE; i++)
        if (strcmp(plan->sinks[i].type->name, "elasticsearch") == 0) {
            found++;
            code = setup_sink(plan, &plan->sinks[i]);
        }
    if (!found) {
        fprintf(stderr, "%s: no sink of type elasticsearch\n", arguments.path);
        code = EXIT_USAGE;
    }
    plan_free(plan);
    return code;
}
