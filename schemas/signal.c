/* A signal's names and id; made once a signal that is told. */
#include "schemas/signal.h"

const char *const direction_names[] = {"", "up", "down"};

struct id128 signal_id(struct span pipeline, struct id128 bucket, struct span detector)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, pipeline);
    id_add_integer(&builder, (int64_t)bucket.high);
    id_add_integer(&builder, (int64_t)bucket.low);
    id_add_text(&builder, detector);
    return id_end(&builder);
}
