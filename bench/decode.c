/* Messages to rows, format by format: of a recording that the user names, else of generated events written as
 * each of some formats has them. Messages are in memory, each is decoded some times. */
#include "bench/report.h"
#include "bench/result.h"
#include "bench/rig.h"
#include "bench/workload.h"

#include "base/json_writer.h"
#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CORPUS_MESSAGES = 65536, CORPUS_BYTES = 256 * 1024 * 1024, PLAN_BYTES = 16 * 1024 };

struct corpus {
    struct buffer bytes;
    size_t ends[CORPUS_MESSAGES], count;
};

typedef void write_row(const struct event_batch *batch, uint32_t row, struct buffer *out);

static void write_logfmt(const struct event_batch *batch, uint32_t row, struct buffer *out)
{
    char time[TIME_TEXT_SIZE];

    time_format(batch->time_us[row], time);
    buffer_print(out, "time=%.*s level=%.*s workflow=%.*s task=%.*s run=%.*s attempt=%u ", TIME_TEXT_SIZE,
                 time, (int)batch->level[row].size, batch->level[row].data, (int)batch->workflow[row].size,
                 batch->workflow[row].data, (int)batch->task[row].size, batch->task[row].data,
                 (int)batch->run[row].size, batch->run[row].data, batch->attempt[row]);
    buffer_print(out, "duration_ms=%.3f host=%.*s queue=%.*s id=%.*s msg=\"%.*s\"", batch->duration_ms[row],
                 (int)batch->host[row].size, batch->host[row].data, (int)batch->queue[row].size,
                 batch->queue[row].data, (int)batch->id[row].size, batch->id[row].data,
                 (int)batch->message[row].size, batch->message[row].data);
}

static void write_ecs(const struct event_batch *batch, uint32_t row, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_time(&json, "@timestamp", batch->time_us[row]);
    json_text(&json, "log.level", batch->level[row]);
    json_text(&json, "message", batch->message[row]);
    json_text(&json, "ecs.version", SPAN_LITERAL("1.2.0"));
    json_text(&json, "service.name", batch->workflow[row]);
    json_text(&json, "event.action", batch->task[row]);
    json_text(&json, "event.id", batch->id[row]);
    json_integer(&json, "event.duration", (int64_t)(batch->duration_ms[row] * 1e6));
    json_text(&json, "log.logger", batch->queue[row]);
    json_open(&json, "host");
    json_text(&json, "name", batch->host[row]);
    json_close(&json);
    json_close(&json);
}

static void write_celery(const struct event_batch *batch, uint32_t row, struct buffer *out)
{
    bool failed = batch->state[row] == STATE_FAILED;
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_text(&json, "hostname", batch->host[row]);
    json_integer(&json, "utcoffset", 0);
    json_integer(&json, "pid", 12136);
    json_integer(&json, "clock", batch->offset[row]);
    json_text(&json, "uuid", batch->id[row]);
    json_text(&json, "name", batch->task[row]);
    json_integer(&json, "retries", batch->attempt[row] - 1);
    json_text(&json, failed ? "exception" : "result", batch->message[row]);
    json_number(&json, "runtime", batch->duration_ms[row] / 1e3);
    json_number(&json, "timestamp", (double)batch->time_us[row] / 1e6);
    json_text(&json, "type", failed ? SPAN_LITERAL("task-failed") : SPAN_LITERAL("task-succeeded"));
    json_close(&json);
}

static void write_openlineage(const struct event_batch *batch, uint32_t row, struct buffer *out)
{
    struct json_writer json;

    json_begin(&json, out);
    json_open(&json, NULL);
    json_time(&json, "eventTime", batch->time_us[row]);
    json_text(&json, "eventType",
              batch->state[row] == STATE_FAILED ? SPAN_LITERAL("FAIL") : SPAN_LITERAL("COMPLETE"));
    json_text(&json, "producer", SPAN_LITERAL("https://github.com/apache/airflow"));
    json_text(&json, "schemaURL", SPAN_LITERAL("https://openlineage.io/spec/2-0-2/OpenLineage.json"));
    json_open_list(&json, "inputs");
    json_close_list(&json);
    json_open_list(&json, "outputs");
    json_close_list(&json);
    json_open(&json, "job");
    json_text(&json, "namespace", SPAN_LITERAL("default"));
    buffer_print(out, ",\"name\":\"%.*s.%.*s\"", (int)batch->workflow[row].size, batch->workflow[row].data,
                 (int)batch->task[row].size, batch->task[row].data);
    json_close(&json);
    json_open(&json, "run");
    json_text(&json, "runId", batch->id[row]);
    json_close(&json);
    json_close(&json);
}

static const struct written {
    const char *format;
    write_row *write; /* NULL: as the generator writes them */
} writtens[] = {
    {"task_json", NULL},      {"logfmt", write_logfmt},           {"ecs", write_ecs},
    {"celery", write_celery}, {"openlineage", write_openlineage},
};

static void corpus_end(struct corpus *corpus)
{
    corpus->ends[corpus->count++] = corpus->bytes.size;
}

static struct span corpus_at(const struct corpus *corpus, size_t number)
{
    size_t start = number ? corpus->ends[number - 1] : 0;

    return span_make(corpus->bytes.data + start, corpus->ends[number] - start);
}

static enum status corpus_generate(struct corpus *corpus, const struct generator_options *options,
                                   const struct written *written, struct error *ret_error)
{
    struct rig rig;

    if (rig_open(options, "", &rig, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (corpus->count < CORPUS_MESSAGES && rig_next(&rig))
        for (uint32_t row = 0; row < rig.batch.rows && corpus->count < CORPUS_MESSAGES; row++) {
            if (written->write)
                written->write(&rig.batch, row, &corpus->bytes);
            else
                buffer_put_span(&corpus->bytes, rig.batch.payload[row]);
            corpus_end(corpus);
        }
    rig_close(&rig);
    return STATUS_OK;
}

static void ignore_warning(void *owner, const char *text)
{
    (void)owner;
    (void)text;
}

/* The messages of one partition; false: there will be no more. */
static bool corpus_take(struct corpus *corpus, const struct source_type *type, struct source *source,
                        size_t partition)
{
    struct message messages[RIG_ROWS];
    enum poll_state state;
    size_t count = type->poll(source, partition, messages, RIG_ROWS, &state);

    for (size_t i = 0; i < count && corpus->count < CORPUS_MESSAGES; i++) {
        buffer_put_span(&corpus->bytes, messages[i].payload);
        if (!corpus->bytes.full)
            corpus_end(corpus);
    }
    if (count)
        type->release(source, partition, messages, count);
    return count > 0 || state == POLL_MORE;
}

static enum status corpus_read(struct corpus *corpus, const struct plan_source *plan, const char *input,
                               struct error *ret_error)
{
    const struct source_context context = {
        .name = plan->name, .workers = 1, .node = plan->node, .once = true, .warn = ignore_warning};
    struct source *source;
    bool more = true;

    if (plan->type->open(plan->settings, &context, &source, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    while (more && corpus->count < CORPUS_MESSAGES && !corpus->bytes.full) {
        plan->type->advance(source, (int64_t)time(NULL) * 1000000);
        more = false;
        for (size_t i = 0; i < plan->type->partition_count(source); i++)
            more |= corpus_take(corpus, plan->type, source, i);
    }
    plan->type->close(source);
    return corpus->count ? STATUS_OK : fail(ret_error, "%s: no messages", input);
}

static void write_plan(const char *input, const char *format, struct buffer *out)
{
    buffer_init(out, PLAN_BYTES);
    workload_plan_head(true, out);
    buffer_put_text(out, "sources:\n  - {name: input, type: file, format: ");
    json_put_text(out, span_of(format));
    buffer_put_text(out, ", path: ");
    json_put_text(out, span_of(input));
    buffer_put_text(out, "}\n");
    buffer_put_char(out, '\0');
}

struct decoding {
    const struct format_type *type;
    struct format *format;
    struct event_batch batch;
    uint64_t rows, bad_messages;
};

/* As the worker's stage does it: a batch that is full is begun anew. */
static void decode_batch(struct decoding *decoding, const struct corpus *corpus, uint64_t first, size_t count)
{
    const char *reason;

    event_batch_reset(&decoding->batch);
    for (size_t i = 0; i < count; i++) {
        const struct message message = {.payload = corpus_at(corpus, (first + i) % corpus->count),
                                        .offset = (int64_t)(first + i),
                                        .arrival_us = TIME_NONE};
        enum status status = decoding->type->decode(decoding->format, &message, &decoding->batch, &reason);

        decoding->bad_messages += status == STATUS_SKIP;
        if (status != STATUS_RETRY)
            continue;
        decoding->rows += decoding->batch.rows;
        event_batch_reset(&decoding->batch);
        i--;
    }
    decoding->rows += decoding->batch.rows;
}

static enum status decode_corpus(const struct corpus *corpus, struct plan *plan, uint64_t messages,
                                 const char *name, struct result *result, struct error *ret_error)
{
    const struct plan_format *format = &plan->formats[plan->sources[0].format];
    const struct format_context context = {.labels = &plan->labels, .node = format->node};
    struct decoding decoding = {.type = format->type};
    double bytes = 0;
    struct usage used;

    if (format->type->open(format->settings, &context, &decoding.format, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    event_batch_init(&decoding.batch, RIG_ROWS, &plan->labels);
    for (uint64_t i = 0; i < messages; i++)
        bytes += (double)corpus_at(corpus, i % corpus->count).size;
    used = usage_now();
    for (uint64_t at = 0; at < messages; at += RIG_ROWS)
        decode_batch(&decoding, corpus, at, messages - at < RIG_ROWS ? (size_t)(messages - at) : RIG_ROWS);
    used = usage_since(used);
    event_batch_free(&decoding.batch);
    format->type->close(decoding.format);
    result_add_usage(result, name, "message", (double)messages, used);
    result_add(result, "MB/s", bytes / used.cpu * 1e-6, "%s.megabytes_per_cpu_second", name);
    result_add(result, "bytes", bytes / (double)messages, "%s.bytes_per_message", name);
    result_add(result, "rows", (double)decoding.rows / (double)messages, "%s.rows_per_message", name);
    result_add(result, "messages", (double)decoding.bad_messages, "%s.bad_messages", name);
    return STATUS_OK;
}

static enum status run_plan(const struct bench_options *options, const struct written *written,
                            struct plan *plan, struct result *result, struct error *ret_error)
{
    struct corpus *corpus = memory_new(sizeof *corpus);
    enum status status;

    buffer_init(&corpus->bytes, CORPUS_BYTES);
    status = options->input ? corpus_read(corpus, &plan->sources[0], options->input, ret_error)
                            : corpus_generate(corpus, &options->generator, written, ret_error);
    if (status == STATUS_OK)
        status = decode_corpus(corpus, plan, options->generator.events, written->format, result, ret_error);
    buffer_free(&corpus->bytes);
    free(corpus);
    return status;
}

static enum status run_once(const struct bench_options *options, const struct written *written,
                            struct result *result, struct error *ret_error)
{
    char *path = options->input ? realpath(options->input, NULL) : memory_text("none", 4);
    struct plan *plan;
    struct buffer text;
    enum status status;

    if (!path)
        return fail(ret_error, "%s: %s", options->input, strerror(errno));
    write_plan(path, written->format, &text);
    free(path);
    status = rig_plan(text.data, &plan, ret_error);
    buffer_free(&text);
    if (status != STATUS_OK)
        return status;
    status = run_plan(options, written, plan, result, ret_error);
    plan_free(plan);
    return status;
}

enum status bench_decode(const struct bench_options *options, struct result *result, struct error *ret_error)
{
    const struct written given = {.format = options->format ? options->format : "auto"};
    size_t count = options->input ? 1 : sizeof writtens / sizeof *writtens;
    enum status status = STATUS_OK;

    for (unsigned run = 0; run < options->runs; run++)
        for (size_t i = 0; i < count && status == STATUS_OK; i++)
            status = run_once(options, options->input ? &given : &writtens[i], result, ret_error);
    return status;
}
