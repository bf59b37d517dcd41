/* A compiled expression: its life and its scalar run. Compiled once at load; cel_run is once a row or a
 * closed bucket. */
#include "base/memory.h"
#include "rules/cel_internal.h"

#include <assert.h>
#include <stdlib.h>

enum status cel_compile(struct span text, const struct cel_environment *environment, enum cel_type want,
                        struct cel_program **ret_program, struct error *ret_error)
{
    struct cel_program *program;
    enum status status;

    if (text.size > CEL_TEXT_MAX)
        return fail(ret_error, "1:1: the expression is longer than %d bytes", CEL_TEXT_MAX);
    assert(environment->count <= UINT16_MAX && (!environment->labels || environment->label_names));
    program = memory_new(sizeof *program);
    arena_init_small(&program->arena, CEL_PROGRAM_BYTES);
    program->variable_count = environment->count;
    program->reads = memory_new(environment->count * sizeof *program->reads);
    if (!arena_copy(&program->arena, text, &program->text))
        assert(!"the text is smaller than the arena");
    status = cel_parse(program, ret_error);
    if (status == STATUS_OK)
        status = cel_check(program, environment, want, ret_error);
    if (status != STATUS_OK) {
        cel_free(program);
        return status;
    }
    program->exprs = memory_grow(program->exprs, program->expr_count * sizeof *program->exprs);
    if (cel_is_event_environment(environment))
        cel_columns_plan(program);
    *ret_program = program;
    return STATUS_OK;
}

void cel_free(struct cel_program *program)
{
    if (!program)
        return;
    regexes_free(program->regexes);
    zones_free(program);
    arena_free(&program->arena);
    free(program->exprs);
    free(program->reads);
    free(program->steps);
    free(program);
}

enum cel_type cel_result_type(const struct cel_program *program)
{
    return program->exprs[program->root].type;
}

bool cel_reads(const struct cel_program *program, size_t variable)
{
    assert(variable < program->variable_count);
    return program->reads[variable];
}

struct cel_value cel_run(const struct cel_program *program, const struct cel_value *values,
                         const struct span *label_values, struct arena *arena)
{
    struct frame frame = {.program = program, .values = values, .labels = label_values, .arena = arena};

    return cel_evaluate(&frame, program->root);
}
