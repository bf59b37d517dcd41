/* Recorded input instead of a file's own sources, and the engine over it. */
#include "cli/recorded.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

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

enum status recorded_use(struct plan *plan, const struct recorded_inputs *inputs, struct error *ret_error)
{
    const struct source_type *file = source_type_find("file");
    bool *used = memory_new(plan->source_count * sizeof *used);
    unsigned kept = 0;

    for (size_t i = 0; i < inputs->count; i++) {
        const char *path;
        struct plan_source *source = input_source(plan, inputs->paths[i], &path);

        if (source->type != file) {
            options_free(
                &(struct option_table){source->type->options, source->type->option_count, source->settings},
                1);
            free(source->settings);
            source->type = file;
            source->settings = memory_new(file->settings_size);
        }
        if (option_assign(file->options, file->option_count, source->settings, "path", path, ret_error) !=
            STATUS_OK)
            return STATUS_FATAL;
        used[source - plan->sources] = true;
    }
    for (unsigned i = 0; inputs->count && i < plan->source_count; i++)
        if (used[i]) {
            struct plan_source swap = plan->sources[kept];

            plan->sources[kept++] = plan->sources[i];
            plan->sources[i] = swap;
        }
    free(used);
    if (inputs->count)
        plan->source_count = kept;
    return STATUS_OK;
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
