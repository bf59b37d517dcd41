/* Documents as they go into a bulk's body: made alone, and made and given to the search server's sink, which
 * adds the action line and keeps them. The sink never sends: what the sending costs is another case's. */
#include "bench/report.h"
#include "bench/result.h"
#include "bench/rig.h"

#include <malloc.h>
#include <math.h>

enum { DOCUMENT_BYTES_MAX = 1024 * 1024, REUSED_BYTES = 1 << 30 };

static const char sections[] =
    "measures:\n"
    "  - {name: latency, of: duration_ms, statistics: [count, mean, p95], by: [workflow, task], every: 10s}\n"
    "sinks:\n"
    "  - {name: search, type: elasticsearch, urls: [\"http://127.0.0.1:9\"], send: [events, buckets]}\n";

struct encoding {
    struct rig rig;
    const struct plan_sink *plan;
    struct sink *sink;
    struct event_writer *writer;
    struct buffer text;
    uint64_t documents, bytes;
    struct usage used; /* total */
};

/* Appends the document of a row, and tells what the sink must know of it. */
typedef void encode_row(struct encoding *encoding, uint32_t row, struct document *ret_document);

static void encode_event(struct encoding *encoding, uint32_t row, struct document *ret_document)
{
    const struct event_batch *batch = &encoding->rig.batch;

    event_writer_put(encoding->writer, row, &encoding->text);
    *ret_document = (struct document){
        .kind = DOC_EVENT, .id = event_writer_id(encoding->writer, row), .time_us = batch->time_us[row]};
}

/* A bucket of one row. */
static void encode_bucket(struct encoding *encoding, uint32_t row, struct document *ret_document)
{
    const struct event_batch *batch = &encoding->rig.batch;
    const struct measure_shape *shape = &encoding->rig.plan->measures[0].shape;
    struct span key[] = {batch->workflow[row], batch->task[row]};
    struct bucket bucket = {.shape = shape,
                            .key = key,
                            .start_us = floor_div(batch->time_us[row], shape->every_us) * shape->every_us,
                            .rows = 1,
                            .version = 2,
                            .score = NAN,
                            .expected_low = NAN,
                            .expected_high = NAN};

    for (int i = 0; i < STATISTICS; i++)
        bucket.values[i] = NAN;
    bucket.values[STAT_COUNT] = 1;
    bucket.values[STAT_MEAN] = bucket.values[STAT_P95] = batch->duration_ms[row];
    bucket.end_us = bucket.start_us + shape->window_us;
    bucket.id = bucket_id(encoding->rig.plan->name, &bucket);
    document_of_bucket(encoding->rig.plan->name, &bucket, &encoding->text);
    *ret_document = (struct document){
        .kind = DOC_BUCKET, .id = bucket.id, .version = bucket.version, .time_us = bucket.start_us};
}

static enum status open_sink(struct encoding *encoding, struct error *ret_error)
{
    const struct sink_context context = {
        .name = encoding->plan->name, .pipeline = "bench", .node = encoding->plan->node};

    if (encoding->sink)
        encoding->plan->type->close(encoding->sink);
    encoding->sink = NULL;
    return encoding->plan->type->open(encoding->plan->settings, &context, &encoding->sink, ret_error);
}

/* One batch, from where it stands; it ends early where the sink is full. */
static uint32_t encode_batch(struct encoding *encoding, uint32_t row, encode_row *encode)
{
    static const struct event_origin origin = {
        .pipeline = SPAN_LITERAL("bench"), .source = SPAN_LITERAL("tasks"), .topic = SPAN_LITERAL("events")};
    struct usage before = usage_now();

    event_writer_begin(encoding->writer, &encoding->rig.batch, &origin);
    for (; row < encoding->rig.batch.rows; row++) {
        struct document document;

        buffer_clear(&encoding->text);
        encode(encoding, row, &document);
        document.body = buffer_span(&encoding->text);
        if (encoding->sink && encoding->plan->type->offer(encoding->sink, &document) != STATUS_OK)
            break;
        encoding->documents++;
        encoding->bytes += encoding->text.size;
    }
    usage_add(&encoding->used, usage_since(before));
    return row;
}

static enum status encode_all(struct encoding *encoding, encode_row *encode, bool offered,
                              struct error *ret_error)
{
    enum status status = offered ? open_sink(encoding, ret_error) : STATUS_OK;

    while (status == STATUS_OK && rig_next(&encoding->rig))
        for (uint32_t row = 0; status == STATUS_OK && row < encoding->rig.batch.rows;) {
            row = encode_batch(encoding, row, encode);
            if (row < encoding->rig.batch.rows)
                status = open_sink(encoding, ret_error);
        }
    return status;
}

static enum status run_once(const struct generator_options *options, const char *name, encode_row *encode,
                            bool offered, struct result *result, struct error *ret_error)
{
    struct encoding encoding = {0};

    if (rig_open(options, sections, &encoding.rig, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    encoding.plan = &encoding.rig.plan->sinks[0];
    encoding.writer = event_writer_new();
    buffer_init(&encoding.text, DOCUMENT_BYTES_MAX);
    enum status status = encode_all(&encoding, encode, offered, ret_error);

    if (status == STATUS_OK) {
        result_add_usage(result, name, "document", (double)encoding.documents, encoding.used);
        result_add(result, "MB/s", (double)encoding.bytes / encoding.used.cpu * 1e-6,
                   "%s.megabytes_per_cpu_second", name);
        result_add(result, "bytes", (double)encoding.bytes / (double)encoding.documents,
                   "%s.bytes_per_document", name);
    }
    if (encoding.sink)
        encoding.plan->type->close(encoding.sink);
    event_writer_free(encoding.writer);
    buffer_free(&encoding.text);
    rig_close(&encoding.rig);
    return status;
}

enum status bench_encode(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    static const struct {
        const char *name;
        encode_row *encode;
        bool offered;
    } kinds[] = {
        {"event", encode_event, false},
        {"event_in_bulk", encode_event, true},
        {"bucket", encode_bucket, false},
        {"bucket_in_bulk", encode_bucket, true},
    };
    enum status status = STATUS_OK;

    /* what a closed sink leaves is used again, as a sink that sends uses its own */
    (void)mallopt(M_MMAP_THRESHOLD, REUSED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, REUSED_BYTES);
    for (unsigned run = 0; run < options->runs; run++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds && status == STATUS_OK; i++)
            status = run_once(&options->generator, kinds[i].name, kinds[i].encode, kinds[i].offered, result,
                              ret_error);
    return status;
}
