/* Recorded input instead of a file's own sources, and the engine over it. */
#include "cli/recorded.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

bool recorded_take(int *argc, char **argv, struct recorded_inputs *ret_inputs)
{
    int kept = 0;

    *ret_inputs = (struct recorded_inputs){0};
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], "--input") != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (i + 1 >= *argc || ret_inputs->count == INPUTS_MAX) {
            fprintf(stderr, "weir %s: --input needs [SOURCE=]FILE, at most %d times\n", argv[0], INPUTS_MAX);
            return false;
        }
        ret_inputs->paths[ret_inputs->count++] = argv[++i];
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

/* The source reads `path` from now on: a file, or a folder that `weir record` wrote. What belongs to its own
 * file, like arrivals, goes. */
static enum status use_path(struct plan_source *source, const char *path, struct error *ret_error)
{
    struct stat about;
    bool is_folder = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    const struct source_type *type = source_type_find(is_folder ? "recorded" : "file");

    options_free(&(struct option_table){source->type->options, source->type->option_count, source->settings},
                 1);
    free(source->settings);
    source->type = type;
    source->settings = memory_new(type->settings_size);
    return option_assign(type->options, type->option_count, source->settings, "path", path, ret_error);
}

static void leave_out_others(struct plan *plan, const bool *used)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < plan->source_count; i++)
        if (used[i]) {
            struct plan_source swap = plan->sources[kept];

            plan->sources[kept++] = plan->sources[i];
            plan->sources[i] = swap;
        }
    plan->source_count = kept;
}

enum status recorded_use(struct plan *plan, const struct recorded_inputs *inputs, struct error *ret_error)
{
    bool *used = memory_new(plan->source_count * sizeof *used);
    enum status status = STATUS_OK;

    for (size_t i = 0; i < inputs->count && status == STATUS_OK; i++) {
        const char *path;
        struct plan_source *source = input_source(plan, inputs->paths[i], &path);

        if (used[source - plan->sources])
            status = fail(ret_error,
                          "--input %s: source '%s' has one already; a pattern such as '2026-*.jsonl' names "
                          "several files",
                          inputs->paths[i], source->name);
        else
            status = use_path(source, path, ret_error);
        used[source - plan->sources] = true;
    }
    if (inputs->count)
        leave_out_others(plan, used);
    free(used);
    return status;
}

enum status recorded_replay(const struct plan *plan, struct collect *collect, struct error *ret_error)
{
    const struct engine_options options = {.mode = ENGINE_REPLAY, .collect = collect};
    struct engine *engine;
    struct error ignored;
    enum status status = engine_start(plan, &options, &engine, ret_error);

    if (status == STATUS_OK) {
        do
            status = engine_wait(engine, 1000, ret_error);
        while (status == STATUS_RETRY);
        engine_stop(engine);
        engine_free(engine);
    }
    if (status != STATUS_OK)
        collect_close(collect, &ignored);
    else
        status = collect_close(collect, ret_error);
    return status;
}
