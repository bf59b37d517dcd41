/* The bulk sink alone, through its own table as the workers call it, into the null server over loopback: what
 * one core can send, and what it costs when the server refuses a share of the items and they come again.
 * Bodies are those of a few generated events; every document has an id of its own, and the ids are the same
 * for each share, so that their sums must be equal. What was refused comes again after 10 to 100 ms, not half
 * a second and more as by default: the last few items would otherwise take a minute. */
#include "bench/report.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "schemas/encode.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    BODIES = 1024,
    BODY_BYTES_MAX = 16 * 1024 * 1024,
    ADVANCE_DOCUMENTS = 1024,
    SLEEP_US = 100,
    SHARES = 3
};

static const unsigned shares[SHARES] = {0, 1, 20}; /* of a hundred items refused */

struct share {
    double *documents_per_second, *cpu_us_per_document, *megabytes_per_second;
    double server_cpu_us; /* a document, in the last run */
    uint64_t refused, ids;
};

struct bulk_bench {
    struct workload workload;
    struct plan *plan;
    struct buffer text;
    struct span bodies[BODIES];
    struct share shares[SHARES];
    uint8_t *verdicts; /* of each document */
    uint64_t finished, twice;
};

/* Decodes and encodes an event as the pipeline does. */
static bool add_body(struct bulk_bench *bench, struct format *reader, struct event_batch *batch,
                     const struct message *message)
{
    struct event_origin origin = {.pipeline = bench->plan->name, .source = SPAN_LITERAL("tasks")};
    const char *reason;

    event_batch_reset(batch);
    if (bench->plan->formats[0].type->decode(reader, message, batch, &reason) != STATUS_OK ||
        batch->rows != 1)
        return false;
    batch->payload[0] = message->payload;
    origin.id = event_id(&origin, message->offset, 0);
    document_of_event(batch, 0, &origin, &bench->text);
    return true;
}

static enum status make_bodies(struct bulk_bench *bench, struct error *ret_error)
{
    const struct plan_format *format = &bench->plan->formats[0];
    struct format_context context = {.labels = &bench->plan->labels};
    enum status status = STATUS_OK;
    struct event_batch batch;
    struct generator generator;
    struct format *reader;
    struct buffer event;
    size_t starts[BODIES + 1] = {0};

    if (format->type->open(format->settings, &context, &reader, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    event_batch_init(&batch, BODIES, &bench->plan->labels);
    generator_init(&generator, &bench->workload.options.generator);
    buffer_init(&event, BODY_BYTES_MAX);
    for (unsigned i = 0; i < BODIES && status == STATUS_OK; i++) {
        buffer_clear(&event);
        (void)generator_next(&generator, &event);
        if (!add_body(
                bench, reader, &batch,
                &(struct message){.payload = buffer_span(&event), .offset = i, .arrival_us = TIME_NONE}))
            status = fail(ret_error, "a generated event cannot be read");
        starts[i + 1] = bench->text.size;
    }
    for (unsigned i = 0; i < BODIES; i++) /* only now the text stays where it is */
        bench->bodies[i] = span_make(bench->text.data + starts[i], starts[i + 1] - starts[i]);
    buffer_free(&event);
    event_batch_free(&batch);
    format->type->close(reader);
    return status;
}

static void take_verdicts(struct bulk_bench *bench, struct verdicts *verdicts)
{
    for (size_t i = 0; i < verdicts->count; i++) {
        struct verdict *verdict = &verdicts->items[i];

        bench->twice += bench->verdicts[verdict->ticket - 1]++ > 0;
        bench->finished += !verdict->dead_letter;
        free(verdict->reason);
        free(verdict->body);
    }
    verdicts->count = 0;
}

static bool advance(struct bulk_bench *bench, struct sink *sink, bool flush, struct verdicts *verdicts)
{
    bench->plan->sinks[0].type->advance(sink, wall_clock_us(), flush, verdicts);
    bool any = verdicts->count > 0;

    take_verdicts(bench, verdicts);
    return any;
}

static void send_all(struct bulk_bench *bench, struct sink *sink)
{
    const struct sink_type *type = bench->plan->sinks[0].type;
    uint64_t events = bench->workload.options.generator.events;
    struct verdicts verdicts = {0};

    for (uint64_t i = 0; i < events; i++) {
        struct document document = {.kind = DOC_EVENT,
                                    .id = {.high = hash_bytes(&i, sizeof i, 0), .low = i},
                                    .time_us = bench->workload.options.generator.start_us,
                                    .body = bench->bodies[i % BODIES],
                                    .ticket = i + 1};

        while (type->offer(sink, &document) != STATUS_OK)
            if (!advance(bench, sink, false, &verdicts))
                usleep(SLEEP_US);
        if (i % ADVANCE_DOCUMENTS == 0)
            (void)advance(bench, sink, false, &verdicts);
    }
    while (type->pending(sink) > 0)
        if (!advance(bench, sink, true, &verdicts))
            usleep(SLEEP_US);
    free(verdicts.items);
}

static void warn(void *owner, const char *text)
{
    workload_tell(owner, "%s", text);
}

static enum status run_share(struct bulk_bench *bench, unsigned number, unsigned run, struct error *ret_error)
{
    const struct plan_sink *plan = &bench->plan->sinks[0];
    struct sink_context context = {.name = plan->name,
                                   .pipeline = bench->plan->general.name,
                                   .node = plan->node,
                                   .warn = warn,
                                   .owner = &bench->workload};
    struct null_server_figures *server = bench->workload.server.figures;
    struct share *share = &bench->shares[number];
    double events = (double)bench->workload.options.generator.events;
    uint64_t bytes = server->bytes, refused = server->refused, ids = server->ids, cpu_us = server->cpu_us,
             documents = server->documents;
    struct usage before, used;
    struct sink *sink;

    memset(bench->verdicts, 0, (size_t)events);
    bench->finished = bench->twice = 0;
    atomic_store(&server->refuse_percent, shares[number]);
    if (plan->type->open(plan->settings, &context, &sink, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    before = usage_now();
    send_all(bench, sink);
    used = usage_since(before);
    plan->type->close(sink);
    share->documents_per_second[run] = events / used.wall;
    share->cpu_us_per_document[run] = used.cpu * 1e6 / events;
    share->megabytes_per_second[run] = (double)(server->bytes - bytes) / used.wall / 1e6;
    share->server_cpu_us = (double)(server->cpu_us - cpu_us) / events;
    share->refused = server->refused - refused;
    share->ids = server->ids - ids;
    if (bench->finished != (uint64_t)events || bench->twice ||
        server->documents - documents != (uint64_t)events)
        return fail(ret_error, "%llu of %llu documents have a verdict, %llu more than one, %llu were taken",
                    (unsigned long long)bench->finished, (unsigned long long)events,
                    (unsigned long long)bench->twice, (unsigned long long)(server->documents - documents));
    workload_tell(&bench->workload, "%u %% refused: %.0f documents/s, %.3f us CPU each, %.0f MB/s",
                  shares[number], share->documents_per_second[run], share->cpu_us_per_document[run],
                  share->megabytes_per_second[run]);
    return STATUS_OK;
}

static void report(struct bulk_bench *bench, struct buffer *out)
{
    const struct bench_options *options = &bench->workload.options;
    struct json_writer json;
    bool same = true;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "case", SPAN_LITERAL("bulk"));
    report_machine(&json);
    json_unsigned(&json, "documents", options->generator.events);
    json_number(&json, "body_bytes", (double)bench->text.size / BODIES);
    json_unsigned(&json, "runs", options->runs);
    json_open_list(&json, "shares");
    for (unsigned i = 0; i < SHARES; i++) {
        struct share *share = &bench->shares[i];

        json_open(&json, NULL);
        json_unsigned(&json, "refused_percent", shares[i]);
        report_range(&json, "documents_per_second", share->documents_per_second, options->runs);
        double cpu = report_range(&json, "cpu_us_per_document", share->cpu_us_per_document, options->runs);
        report_range(&json, "megabytes_per_second", share->megabytes_per_second, options->runs);
        json_number(&json, "megabytes_per_cpu_second", (double)bench->text.size / BODIES / cpu);
        json_number(&json, "server_cpu_us_per_document", share->server_cpu_us);
        json_unsigned(&json, "refused", share->refused);
        json_close(&json);
        same &= share->ids == bench->shares[0].ids;
    }
    json_close_list(&json);
    json_bool(&json, "each_taken_once", same);
    json_close(&json);
}

static enum status make_plan(struct bulk_bench *bench, struct error *ret_error)
{
    struct buffer text;

    workload_plan_begin(&bench->workload, "5s", &text);
    buffer_print(
        &text,
        "sinks:\n"
        "  - {name: search, type: elasticsearch, urls: [\"http://127.0.0.1:%u\"], send: [events], setup: "
        "auto,\n     retry_base: 10ms, retry_max: 100ms}\n",
        (unsigned)bench->workload.server.server.port);
    return workload_plan_end(&bench->workload, &text, &bench->plan, ret_error);
}

enum status bench_bulk(const struct bench_options *options, struct buffer *out, struct error *ret_error)
{
    struct bulk_bench *bench = memory_new(sizeof *bench);
    struct bench_options few = *options;
    enum status status;

    few.generator.events = BODIES;
    buffer_init(&bench->text, BODY_BYTES_MAX);
    bench->verdicts = memory_new(options->generator.events);
    for (unsigned i = 0; i < SHARES; i++) {
        bench->shares[i].documents_per_second = memory_new(options->runs * sizeof(double));
        bench->shares[i].cpu_us_per_document = memory_new(options->runs * sizeof(double));
        bench->shares[i].megabytes_per_second = memory_new(options->runs * sizeof(double));
    }
    status = workload_open(&few, &bench->workload, ret_error);
    if (status == STATUS_OK)
        status = make_plan(bench, ret_error);
    if (status == STATUS_OK)
        status = make_bodies(bench, ret_error);
    bench->workload.options.generator.events = options->generator.events;
    for (unsigned i = 0; i < options->runs * SHARES && status == STATUS_OK; i++)
        status = run_share(bench, i % SHARES, i / SHARES, ret_error);
    if (status == STATUS_OK)
        report(bench, out);
    if (bench->plan)
        plan_free(bench->plan);
    workload_close(&bench->workload);
    for (unsigned i = 0; i < SHARES; i++) {
        free(bench->shares[i].documents_per_second);
        free(bench->shares[i].cpu_us_per_document);
        free(bench->shares[i].megabytes_per_second);
    }
    buffer_free(&bench->text);
    free(bench->verdicts);
    free(bench);
    return status;
}
