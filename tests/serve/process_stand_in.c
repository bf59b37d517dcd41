#include "tests/serve/process_stand_in.h"

#include <stdatomic.h>

bool process_is_ready(struct process *process)
{
    return process->ready;
}

/* Rows grow at each look, as those of a running pipeline do. */
void process_metrics(struct process *process, struct buffer *out)
{
    uint64_t rows = atomic_fetch_add(&process->rows, 2500);

    buffer_print(out,
                 "# HELP weir_rows_total rows decoded from messages\n# TYPE weir_rows_total counter\n"
                 "weir_rows_total %llu\nweir_lag_messages 120\nweir_dead_letters_total 2\n"
                 "weir_watermark_seconds %.3f\nweir_info{pipeline=\"%s\",version=\"0.1.0\"} 1\n",
                 (unsigned long long)rows, process->watermark_s, process->name);
}

struct dead_letters *process_dead_letters(struct process *process)
{
    return process->dead_letters;
}
