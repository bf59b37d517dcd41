/* weir replay: recorded input in event time only. It starts empty, reads and writes no store, commits
 * nothing, sends to no sink; it writes only the files named. */
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "pipeline/engine.h"

#include <stdio.h>
#include <stdlib.h>

enum { INPUTS_MAX = 64 };

struct replay_arguments {
    struct file_arguments file;
    const char *outputs[DOC_KINDS];
    const char *inputs[INPUTS_MAX];
    size_t input_count;
};

/* --input may be repeated, so it is taken out before the common options are read. */
static bool take_inputs(int *argc, char **argv, struct replay_arguments *arguments)
{
    int kept = 0;

    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], "--input") != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (i + 1 >= *argc || arguments->input_count == INPUTS_MAX) {
            fprintf(stderr, "weir replay: --input needs [SOURCE=]FILE, at most %d times\n", INPUTS_MAX);
            return false;
        }
        arguments->inputs[arguments->input_count++] = argv[++i];
    }
    *argc = kept;
    return true;
}

/* The source that "SOURCE=FILE" names; a bare FILE takes the only or first source. */
static struct plan_source *input_source(struct plan *plan, const char *input, const char **ret_path)
{
    const char *equals = strchr(input, '=');

    *ret_path = input;
    for (unsigned i = 0; equals && i < plan->source_count; i++)
        if (span_is(span_make(input, (size_t)(equals - input)), plan->sources[i].name)) {
            *ret_path = equals + 1;
            return &plan->sources[i];
        }
    return &plan->sources[0];
}

/* Turns the named sources into file sources; with any --input, sources that got none are left out. */
static enum status use_inputs(struct plan *plan, const struct replay_arguments *arguments,
                              struct error *error)
{
    const struct source_type *file = source_type_find("file");
    bool *used = memory_new(plan->source_count * sizeof *used);
    unsigned kept = 0;

    for (size_t i = 0; i < arguments->input_count; i++) {
        const char *path;
        struct plan_source *source = input_source(plan, arguments->inputs[i], &path);

        if (source->type != file) {
            options_free(
                &(struct option_table){source->type->options, source->type->option_count, source->settings},
                1);
            free(source->settings);
            source->type = file;
            source->settings = memory_new(file->settings_size);
        }
        if (option_assign(file->options, file->option_count, source->settings, "path", path, error) !=
            STATUS_OK)
            return STATUS_FATAL;
        used[source - plan->sources] = true;
    }
    for (unsigned i = 0; arguments->input_count && i < plan->source_count; i++)
        if (used[i]) {
            struct plan_source swap = plan->sources[kept];

            plan->sources[kept++] = plan->sources[i];
            plan->sources[i] = swap;
        }
    free(used);
    if (arguments->input_count)
        plan->source_count = kept;
    return STATUS_OK;
}

static int replay(const struct plan *plan, const struct replay_arguments *arguments)
{
    struct engine_options options = {.mode = ENGINE_REPLAY};
    struct engine *engine;
    struct error error;
    enum status status;

    if (collect_open(arguments->outputs, &options.collect, &error) != STATUS_OK ||
        engine_start(plan, &options, &engine, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_OUTSIDE;
    }
    do
        status = engine_wait(engine, 1000, &error);
    while (status == STATUS_RETRY);
    engine_stop(engine);
    engine_free(engine);
    if (status == STATUS_OK)
        status = collect_close(options.collect, &error);
    if (status != STATUS_OK)
        fprintf(stderr, "weir: %s\n", error.text);
    return status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
}

int cli_replay(int argc, char **argv)
{
    struct replay_arguments arguments = {0};
    const struct argument own[] = {{"--alerts", &arguments.outputs[DOC_ALERT], NULL},
                                   {"--buckets", &arguments.outputs[DOC_BUCKET], NULL},
                                   {"--signals", &arguments.outputs[DOC_SIGNAL], NULL},
                                   {"--runs", &arguments.outputs[DOC_RUN], NULL},
                                   {0}};
    struct plan *plan;
    struct error error;
    int code = EXIT_USAGE;

    if (!take_inputs(&argc, argv, &arguments) || !arguments_read(argc, argv, own, &arguments.file) ||
        !(plan = arguments_plan(&arguments.file)))
        return EXIT_USAGE;
    plan->wants_runs |= arguments.outputs[DOC_RUN] != NULL;
    if (use_inputs(plan, &arguments, &error) == STATUS_OK)
        code = replay(plan, &arguments);
    else
        fprintf(stderr, "weir: %s\n", error.text);
    plan_free(plan);
    return code;
}
