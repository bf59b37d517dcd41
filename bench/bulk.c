/* The bulk sink alone, through its own table as the workers call it, into the null server over loopback: what
 * one core can send, and what it costs when the server refuses a share of the items and they come again.
 * Bodies are those of a few generated events; every document has an id of its own, and the ids are the same
 * for each share, so that their sums must be equal. What was refused comes again after 10 to 100 ms, not half
 * a second and more as by default: the last few items would otherwise take a minute. */
#include "bench/result.h"
#include "bench/workload.h"

#include "base/memory.h"
#include "schemas/encode.h"

#include <stdio.h>
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

struct bulk_bench {
    struct workload workload;
    struct plan *plan;
    struct buffer text;
    struct span bodies[BODIES];
    uint64_t ids[SHARES]; /* sums of those that the server took, by share */
    uint8_t *verdicts;    /* of each document */
    uint64_t finished, twice;
};

/* Decodes and encodes an event as the pipeline does. */
static bool add_body(struct bulk_bench *bench, struct format *reader, struct event_batch *batch,
                     const struct message *message)
{
    const struct event_origin origin = {.pipeline = bench->plan->name, .source = SPAN_LITERAL("tasks")};
    struct event_writer *writer;
    const char *reason;

    event_batch_reset(batch);
    if (bench->plan->formats[0].type->decode(reader, message, batch, &reason) != STATUS_OK ||
        batch->rows != 1)
        return false;
    batch->payload[0] = message->payload;
    writer = event_writer_new();
    event_writer_begin(writer, batch, &origin);
    event_writer_put(writer, 0, &bench->text);
    event_writer_free(writer);
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

static enum status run_share(struct bulk_bench *bench, unsigned number, struct result *result,
                             struct error *ret_error)
{
    const struct plan_sink *plan = &bench->plan->sinks[0];
    struct sink_context context = {.name = plan->name,
                                   .pipeline = bench->plan->general.name,
                                   .node = plan->node,
                                   .warn = warn,
                                   .owner = &bench->workload};
    struct null_server_figures *server = bench->workload.server.figures;
    double events = (double)bench->workload.options.generator.events;
    uint64_t bytes = server->bytes, refused = server->refused, ids = server->ids, cpu_us = server->cpu_us,
             documents = server->documents;
    struct usage before, used;
    struct sink *sink;
    char name[32];

    memset(bench->verdicts, 0, (size_t)events);
    bench->finished = bench->twice = 0;
    atomic_store(&server->refuse_percent, shares[number]);
    if (plan->type->open(plan->settings, &context, &sink, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    before = usage_now();
    send_all(bench, sink);
    used = usage_since(before);
    plan->type->close(sink);
    bench->ids[number] = server->ids - ids;
    (void)snprintf(name, sizeof name, "refused_%u", shares[number]);
    result_add_usage(result, name, "document", events, used);
    result_add(result, "MB/s", (double)(server->bytes - bytes) / used.wall / 1e6, "%s.megabytes_per_second",
               name);
    result_add(result, "MB/s", (double)bench->text.size / BODIES * events / used.cpu / 1e6,
               "%s.megabytes_per_cpu_second", name);
    result_add(result, "us", (double)(server->cpu_us - cpu_us) / events, "%s.server_cpu_us_per_document",
               name);
    result_add(result, "items", (double)(server->refused - refused), "%s.refused", name);
    result_check(result, "each_taken_once", bench->ids[number] == bench->ids[0]);
    if (bench->finished != (uint64_t)events || bench->twice ||
        server->documents - documents != (uint64_t)events)
        return fail(ret_error, "%llu of %llu documents have a verdict, %llu more than one, %llu were taken",
                    (unsigned long long)bench->finished, (unsigned long long)events,
                    (unsigned long long)bench->twice, (unsigned long long)(server->documents - documents));
    workload_tell(&bench->workload, "%u %% refused: %.0f documents/s, %.3f us CPU each", shares[number],
                  events / used.wall, used.cpu * 1e6 / events);
    return STATUS_OK;
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

enum status bench_bulk(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    struct bulk_bench *bench = memory_new(sizeof *bench);
    struct bench_options few = *options;
    enum status status;

    few.generator.events = BODIES;
    buffer_init(&bench->text, BODY_BYTES_MAX);
    bench->verdicts = memory_new(options->generator.events);
    status = workload_open(&few, &bench->workload, ret_error);
    if (status == STATUS_OK)
        status = make_plan(bench, ret_error);
    if (status == STATUS_OK)
        status = make_bodies(bench, ret_error);
    bench->workload.options.generator.events = options->generator.events;
    for (unsigned i = 0; i < options->runs * SHARES && status == STATUS_OK; i++)
        status = run_share(bench, i % SHARES, result, ret_error);
    if (bench->plan)
        plan_free(bench->plan);
    workload_close(&bench->workload);
    buffer_free(&bench->text);
    free(bench->verdicts);
    free(bench);
    return status;
}
