/* weir bench CASE: what the machine at hand makes of synthetic events. The cases are in bench/; this reads
 * their options. */
#include "bench/bench.h"
#include "base/memory.h"
#include "cli/commands.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { REPORT_BYTES_MAX = 1024 * 1024, EVENT_BYTES_MAX = 4096 };

static const char usage[] =
    "usage: weir bench kafka --brokers B [options]   floor (librdkafka and decode alone) against the "
    "program\n"
    "       weir bench file [options]                the same from a file, without any service\n"
    "       weir bench backlog --brokers B [options] resident size and speed while a backlog is read\n"
    "       weir bench state [options]               checkpoints and restarts with a million series\n"
    "       weir bench latency --brokers B [options] from an event to its notification, at half of the "
    "capacity or --rate\n"
    "       weir bench bulk [options]                the bulk sink alone, with items that are refused for "
    "now\n"
    "       weir bench sustained --brokers B [options] the highest rate that it keeps up with, by search\n"
    "       weir bench workers [options]             the same files by one worker and by several\n"
    "       weir bench copy [--brokers B] [options]  each cleaned event to the search server, from a file or "
    "a topic\n"
    "       weir bench generate [options]            prints the events\n"
    "options: --events N --tasks N (state: --series N) --seed N --start TIME --rate "
    "EVENTS_PER_SECOND_OF_EVENT_TIME\n"
    "         --partitions N --runs N --workers N --seconds N\n";

typedef enum status bench_case(const struct bench_options *options, struct buffer *out,
                               struct error *ret_error);

static const struct bench_defaults {
    const char *name;
    bench_case *run;                  /* NULL: prints the events */
    uint64_t seconds;                 /* 0: 60 */
    uint64_t events, tasks, rounds_s; /* rounds_s: every task has an event in so many seconds; 0: rate */
    bool needs_brokers, takes_brokers;
    bool finds_rate; /* unless one is given */
    bool uneven, copy;
    unsigned files; /* 0: one */
} cases[] = {
    // clang-format off
    {.name = "kafka", .run = bench_throughput, .events = 2000000, .tasks = 2000, .needs_brokers = true},
    {.name = "file", .run = bench_throughput, .events = 1000000, .tasks = 2000},
    {.name = "copy", .run = bench_throughput, .events = 1000000, .tasks = 2000, .takes_brokers = true, .copy = true},
    {.name = "bulk", .run = bench_bulk, .events = 2000000, .tasks = 2000},
    {.name = "latency", .run = bench_latency, .tasks = 2000, .finds_rate = true, .needs_brokers = true},
    {.name = "sustained", .run = bench_sustained, .tasks = 2000, .seconds = 10, .finds_rate = true, .needs_brokers = true},
    {.name = "backlog", .run = bench_backlog, .events = 20000000, .tasks = 2000, .uneven = true, .needs_brokers = true},
    {.name = "workers", .run = bench_workers, .events = 1000000, .tasks = 2000, .files = 8},
    {.name = "state", .run = bench_state, .events = 8000000, .tasks = 1000000, .rounds_s = 60},
    {.name = "generate", .events = 1000, .tasks = 2000},
    // clang-format on
};

struct request {
    const char *brokers, *start;
    uint64_t events, tasks, seed, rate, partitions, runs, workers, seconds;
};

static bool read_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    unsigned long long number;
    char *end;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno || *end || end == text || text[0] == '-' || number == 0 || number > max)
        return false;
    *ret_number = number;
    return true;
}

static bool read_options(int argc, char **argv, struct request *request)
{
    const struct {
        const char *name;
        const char **text;
        uint64_t *number, max;
    } options[] = {
        // clang-format off
        {"--brokers", &request->brokers, NULL, 0},
        {"--start", &request->start, NULL, 0},
        {"--events", NULL, &request->events, UINT64_C(1) << 40},
        {"--tasks", NULL, &request->tasks, 100000000},
        {"--series", NULL, &request->tasks, 100000000},
        {"--seed", NULL, &request->seed, UINT64_MAX},
        {"--rate", NULL, &request->rate, 1000000000},
        {"--partitions", NULL, &request->partitions, 10000},
        {"--runs", NULL, &request->runs, 1000},
        {"--workers", NULL, &request->workers, 64},
        {"--seconds", NULL, &request->seconds, 3600},
        // clang-format on
    };
    const size_t count = sizeof options / sizeof *options;

    for (int i = 2; i < argc; i += 2) {
        size_t found = 0;

        while (found < count && strcmp(argv[i], options[found].name) != 0)
            found++;
        if (found == count || i + 1 == argc)
            return false;
        if (options[found].text)
            *options[found].text = argv[i + 1];
        else if (!read_number(argv[i + 1], options[found].max, options[found].number))
            return false;
    }
    return true;
}

static const struct bench_defaults *find_case(const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(name, cases[i].name) == 0)
            return &cases[i];
    return NULL;
}

static bool read_request(int argc, char **argv, const struct bench_defaults **ret_case,
                         struct bench_options *ret_options)
{
    const struct bench_defaults *which = argc > 1 ? find_case(argv[1]) : NULL;
    struct request request = {
        .start = "2024-01-01T00:00:00Z", .seed = 1, .partitions = 8, .runs = 3, .workers = 1};
    int64_t start_us;

    if (!which)
        return false;
    request.events = which->events;
    request.tasks = which->tasks;
    request.seconds = which->seconds ? which->seconds : 60;
    request.rate = which->finds_rate ? 0 : 10000;
    if (!read_options(argc, argv, &request) ||
        !time_parse(span_of(request.start), TIME_UNIT_AUTO, TIME_NONE, &start_us) ||
        (which->needs_brokers && !request.brokers) ||
        (request.brokers && !which->needs_brokers && !which->takes_brokers))
        return false;
    *ret_case = which;
    *ret_options = (struct bench_options){
        .brokers = request.brokers,
        .generator = {.events = request.events,
                      .seed = request.seed,
                      .tasks = (unsigned)request.tasks,
                      .rate = (double)request.rate,
                      .start_us = start_us,
                      .jitter_us = 5 * INT64_C(1000000)},
        .partitions = (unsigned)request.partitions,
        .runs = (unsigned)request.runs,
        .workers = (unsigned)request.workers,
        .seconds = (unsigned)request.seconds,
        .files = which->files ? which->files : 1,
        .uneven = which->uneven,
        .copy = which->copy,
        .progress = isatty(STDERR_FILENO),
    };
    if (which->rounds_s) {
        ret_options->generator.in_turn = true;
        ret_options->generator.rate = (double)request.tasks / (double)which->rounds_s;
    }
    return true;
}

static int generate(const struct generator_options *options)
{
    struct generator generator;
    struct buffer event;

    generator_init(&generator, options);
    buffer_init(&event, EVENT_BYTES_MAX);
    while (!ferror(stdout) && generator_next(&generator, &event)) {
        buffer_put_char(&event, '\n');
        (void)fwrite(event.data, 1, event.size, stdout);
        buffer_clear(&event);
    }
    buffer_free(&event);
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_DONE : EXIT_OUTSIDE;
}

int cli_bench(int argc, char **argv)
{
    struct bench_options options;
    const struct bench_defaults *which;
    struct buffer report;
    struct error error;
    enum status status;

    if (!read_request(argc, argv, &which, &options)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (!which->run)
        return generate(&options.generator);
    buffer_init(&report, REPORT_BYTES_MAX);
    status = which->run(&options, &report, &error);
    if (status == STATUS_OK)
        (void)printf("%.*s\n", (int)report.size, report.data);
    else
        (void)fprintf(stderr, "weir bench: %s\n", error.text);
    buffer_free(&report);
    return status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
}
