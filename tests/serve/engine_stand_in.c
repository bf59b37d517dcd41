#include "tests/serve/engine_stand_in.h"

#include <stdatomic.h>

bool engine_is_ready(const struct engine *engine)
{
    return engine->ready;
}

/* Rows grow at each look, as those of a running pipeline do. */
void engine_metrics(const struct engine *engine, struct buffer *out)
{
    uint64_t rows = atomic_fetch_add(&((struct engine *)engine)->rows, 2500);

    buffer_print(out,
                 "# HELP weir_rows_total rows decoded from messages\n# TYPE weir_rows_total counter\n"
                 "weir_rows_total %llu\nweir_lag_messages 120\nweir_dead_letters_total 2\n"
                 "weir_watermark_seconds %.3f\nweir_info{pipeline=\"%s\",version=\"0.1.0\"} 1\n",
                 (unsigned long long)rows, engine->watermark_s, engine->name);
}

struct dead_letters *engine_dead_letters(const struct engine *engine)
{
    return engine->dead_letters;
}
