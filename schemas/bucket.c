/* Names of the statistics and a bucket's id. Names are looked up at load, an id is made once a closed
 * bucket. */
#include "schemas/bucket.h"

const char *const statistic_names[STATISTICS] = {
    "count", "sum", "min", "max", "mean", "variance", "p50", "p90", "p95", "p99", "distinct", "ratio", "rate",
};

int statistic_find(struct span name)
{
    for (int i = 0; i < STATISTICS; i++)
        if (span_is(name, statistic_names[i]))
            return i;
    return -1;
}

struct id128 bucket_id(struct span pipeline, const struct bucket *bucket)
{
    struct id_builder builder;

    id_begin(&builder);
    id_add_text(&builder, pipeline);
    id_add_text(&builder, span_of(bucket->shape->name));
    for (unsigned i = 0; i < bucket->shape->by_count; i++)
        id_add_text(&builder, bucket->key[i]);
    id_add_integer(&builder, bucket->start_us);
    id_add_integer(&builder, bucket->end_us - bucket->start_us);
    return id_end(&builder);
}
