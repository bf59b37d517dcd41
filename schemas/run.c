/* A run's id; made once a transition. */
#include "schemas/run.h"

struct id128 run_id(struct span pipeline, const struct run_record *run)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, pipeline);
    id_add_text(&builder, run->source);
    id_add_text(&builder, run->namespace_);
    id_add_text(&builder, run->workflow);
    id_add_text(&builder, run->run);
    if (run->is_task) {
        id_add_text(&builder, run->task);
        id_add_integer(&builder, run->map_index);
        id_add_integer(&builder, run->attempt);
    }
    return id_end(&builder);
}
