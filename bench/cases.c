/* The list of cases. A new one is a file and a line here. */
#include "bench/apart.h"
#include "bench/result.h"

#include <stdio.h>

extern bench_run bench_decode, bench_clean, bench_score, bench_throughput, bench_backlog, bench_bulk,
    bench_latency, bench_sustained, bench_workers, bench_state, bench_rules, bench_aggregate, bench_hopping,
    bench_series, bench_encode, bench_templates;

const struct bench_case bench_cases[] = {
    // clang-format off
    {"kafka", "floor (librdkafka and decode alone) against the program, by turns", bench_throughput, .events = 2000000, .series = 2000, .needs_brokers = true},
    {"file", "the same from a file, without any service", bench_throughput, .events = 1000000, .series = 2000},
    {"runs", "the same with runs tracked: every event tells of one", bench_throughput, .events = 1000000, .series = 2000, .takes_brokers = true, .runs_told = true},
    {"copy", "each cleaned event to the search server, from a file or a topic", bench_throughput, .events = 1000000, .series = 2000, .takes_brokers = true, .copy = true},
    {"bulk", "the bulk sink alone, with 0, 1 and 20 % of the items refused for now", bench_bulk, .events = 2000000, .series = 2000},
    {"workers", "the same files by one worker and by two, or --workers", bench_workers, .events = 1000000, .series = 2000, .files = 8},
    {"latency", "from an event to its notification, at half of the capacity or --rate", bench_latency, .series = 2000, .finds_rate = true, .needs_brokers = true},
    {"sustained", "the highest rate that it keeps up with, by search", bench_sustained, .series = 2000, .seconds = 10, .finds_rate = true, .needs_brokers = true},
    {"backlog", "resident size and speed while a backlog is read, from uneven partitions", bench_backlog, .events = 20000000, .series = 2000, .uneven = true, .needs_brokers = true},
    {"state", "checkpoints and restarts with a million series", bench_state, .events = 8000000, .series = 1000000, .rounds_s = 60},
    {"decode", "messages to rows, by format; --input F [--format NAME]: of a recording", bench_decode, .events = 500000, .series = 2000, .takes_input = true},
    {"clean", "clean steps alone", bench_clean, .events = 300000, .series = 2000},
    {"aggregate", "tumbling windows alone, by 1000, 100,000 and 1,000,000 keys", bench_aggregate, .events = 3000000, .rate = 100000},
    {"hopping", "windows of 60 s each second alone", bench_hopping, .events = 1000000, .series = 100000, .rounds_s = 10},
    {"series", "live series: bytes each, and closing a bucket of all of them", bench_series, .events = 4000000, .series = 1000000, .rounds_s = 60},
    {"score", "a closed bucket through each detector", bench_score, .events = 300000, .series = 150},
    {"templates", "templates of log lines, real ones and random text", bench_templates, .events = 2000000, .series = 1},
    {"rules", "1 to 10,000 event rules of one shape", bench_rules, .events = 100000, .series = 2000},
    {"encode", "documents of events and buckets, alone and into a bulk", bench_encode, .events = 300000, .series = 2000},
    {0},
    // clang-format on
};

const struct bench_case *bench_case_find(const char *name)
{
    for (const struct bench_case *found = bench_cases; found->name; found++)
        if (strcmp(found->name, name) == 0)
            return found;
    return NULL;
}

struct work {
    const struct bench_case *bench_case;
    struct bench_options options;
};

static enum status run_case(void *owner, struct buffer *out, struct error *ret_error)
{
    const struct work *work = owner;
    struct result result = {0};
    enum status status = work->bench_case->run(&work->options, &result, ret_error);
    struct json_writer json;

    json_begin(&json, out);
    if (status == STATUS_OK)
        result_write(&result, work->bench_case, &work->options, &json);
    result_free(&result);
    return status;
}

enum status bench_one(const struct bench_case *bench_case, const struct bench_options *options,
                      struct buffer *out, struct error *ret_error)
{
    struct work work = {bench_case, *options};
    struct json_writer json;
    struct buffer found;
    enum status status;

    buffer_init(&found, out->limit);
    status = run_case(&work, &found, ret_error);
    if (status == STATUS_OK) {
        document_open(&json, out);
        json_raw(&json, NULL, buffer_span(&found));
        document_close(&json);
    }
    buffer_free(&found);
    return status;
}

static void write_failure(const struct bench_case *bench_case, const char *text, struct json_writer *json)
{
    (void)fprintf(stderr, "weir bench %s: %s\n", bench_case->name, text);
    json_open(json, NULL);
    json_text(json, "case", span_of(bench_case->name));
    json_text(json, "error", span_of(text));
    json_close(json);
}

unsigned bench_all(bench_options_of *options_of, void *owner, struct buffer *out)
{
    struct json_writer json;
    unsigned failed = 0;

    document_open(&json, out);
    for (const struct bench_case *next = bench_cases; next->name; next++) {
        struct work work = {.bench_case = next};
        struct error error;
        struct buffer found;

        options_of(owner, next, &work.options);
        if (next->needs_brokers && !work.options.brokers)
            continue;
        buffer_init(&found, out->limit);
        if (work.options.progress)
            (void)fprintf(stderr, "weir bench %s: %s\n", next->name, next->help);
        if (apart_run(run_case, &work, &found, &error) == STATUS_OK) {
            json_raw(&json, NULL, buffer_span(&found));
        } else {
            write_failure(next, error.text, &json);
            failed++;
        }
        buffer_free(&found);
    }
    document_close(&json);
    return failed;
}
