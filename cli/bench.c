/* weir bench: what the machine at hand makes of synthetic events. The cases are in bench/; this reads their
 * options. */
#include "bench/bench.h"
#include "bench/compare.h"
#include "bench/page.h"
#include "cli/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DOCUMENT_BYTES_MAX = 16 * 1024 * 1024, EVENT_BYTES_MAX = 4096 };

static const char usage[] =
    "usage: weir bench                                lists the cases\n"
    "       weir bench CASE [options] [--out FILE]    a document of its figures, as JSON\n"
    "       weir bench all [options] [--out FILE]     one of all cases; without --brokers of those that need "
    "none\n"
    "       weir bench compare A.json B.json          two documents: ratios of medians, B to A\n"
    "       weir bench report FOLDER                  the documents of a folder as an HTML page\n"
    "       weir bench generate [options] [shapes]    prints synthetic events\n"
    "options: --brokers B --events N --series N --seed N --start TIME --rate "
    "EVENTS_PER_SECOND_OF_EVENT_TIME\n"
    "         --jitter DURATION --partitions N --runs N --workers N --seconds N --input F [--format NAME]\n"
    "shapes:  --daily PERCENT     how far the rate swings over a day\n"
    "         --bursts FACTOR     of the rate, in one minute of each quarter of an hour\n"
    "         --late PERCENT      of the events come 15 s to an hour late\n"
    "         --retries PERCENT   of the failed attempts are tried again\n"
    "         --nested TASKS      whole runs of so many tasks (at most 20): queued, running, ended; some "
    "start "
    "others\n";

static const struct bench_case generator_case = {.name = "generate", .events = 1000, .series = 2000};

struct request {
    const char *brokers, *start, *out, *input, *format, *jitter;
    uint64_t events, series, seed, rate, partitions, runs, workers, seconds;
    uint64_t daily, bursts, late, retries, nested; /* shapes of generated events */
    int64_t start_us, jitter_us;
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

/* A number that is 0 afterwards was not given. */
static bool read_request(int argc, char **argv, struct request *ret_request)
{
    struct request *request = ret_request;
    const struct {
        const char *name;
        const char **text;
        uint64_t *number, max;
    } options[] = {
        // clang-format off
        {"--brokers", &request->brokers, NULL, 0},
        {"--start", &request->start, NULL, 0},
        {"--out", &request->out, NULL, 0},
        {"--input", &request->input, NULL, 0},
        {"--format", &request->format, NULL, 0},
        {"--events", NULL, &request->events, UINT64_C(1) << 40},
        {"--series", NULL, &request->series, 100000000},
        {"--tasks", NULL, &request->series, 100000000},
        {"--seed", NULL, &request->seed, UINT64_MAX},
        {"--rate", NULL, &request->rate, 1000000000},
        {"--partitions", NULL, &request->partitions, 10000},
        {"--runs", NULL, &request->runs, 1000},
        {"--workers", NULL, &request->workers, 64},
        {"--seconds", NULL, &request->seconds, 3600},
        {"--jitter", &request->jitter, NULL, 0},
        {"--daily", NULL, &request->daily, 100},
        {"--bursts", NULL, &request->bursts, 1000},
        {"--late", NULL, &request->late, 100},
        {"--retries", NULL, &request->retries, 100},
        {"--nested", NULL, &request->nested, GENERATOR_TASKS_PER_WORKFLOW},
        // clang-format on
    };
    const size_t count = sizeof options / sizeof *options;

    *request = (struct request){.start = "2024-01-01T00:00:00Z", .jitter = "5s"};
    for (int i = 0; i < argc; i += 2) {
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
    return time_parse(span_of(request->start), TIME_UNIT_AUTO, TIME_NONE, &request->start_us) &&
           duration_parse(span_of(request->jitter), &request->jitter_us);
}

static uint64_t or_default(uint64_t given, uint64_t value)
{
    return given ? given : value;
}

static void options_of(void *owner, const struct bench_case *bench_case, struct bench_options *ret_options)
{
    const struct request *request = owner;
    uint64_t series = or_default(request->series, bench_case->series);
    uint64_t rate =
        or_default(request->rate, or_default(bench_case->rate, bench_case->finds_rate ? 0 : 10000));

    *ret_options = (struct bench_options){
        .brokers = bench_case->needs_brokers || bench_case->takes_brokers ? request->brokers : NULL,
        .input = bench_case->takes_input ? request->input : NULL,
        .format = bench_case->takes_input ? request->format : NULL,
        .generator = {.events = or_default(request->events, bench_case->events),
                      .seed = or_default(request->seed, 1),
                      .tasks = (unsigned)series,
                      .rate = (double)rate,
                      .start_us = request->start_us,
                      .jitter_us = request->jitter_us,
                      .daily = (double)request->daily / 100,
                      .burst = (double)request->bursts,
                      .late = (double)request->late / 100,
                      .retries = (double)request->retries / 100,
                      .nested = (unsigned)request->nested},
        .partitions = (unsigned)or_default(request->partitions, 8),
        .runs = (unsigned)or_default(request->runs, 3),
        .workers = (unsigned)or_default(request->workers, 1),
        .seconds = (unsigned)or_default(request->seconds, or_default(bench_case->seconds, 60)),
        .files = bench_case->files ? bench_case->files : 1,
        .uneven = bench_case->uneven,
        .copy = bench_case->copy,
        .runs_told = bench_case->runs_told,
        .progress = isatty(STDERR_FILENO),
    };
    if (bench_case->rounds_s) {
        ret_options->generator.in_turn = true;
        ret_options->generator.rate = (double)series / (double)bench_case->rounds_s;
    }
}

static int list_cases(void)
{
    for (const struct bench_case *next = bench_cases; next->name; next++)
        (void)printf("%-12s %s%s\n", next->name, next->help,
                     next->needs_brokers   ? " (--brokers)"
                     : next->takes_brokers ? " ([--brokers])"
                                           : "");
    (void)printf("%-12s %s\n", "all", "all of these");
    return EXIT_DONE;
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
    generator_free(&generator);
    return fflush(stdout) == 0 && !ferror(stdout) ? EXIT_DONE : EXIT_OUTSIDE;
}

static int write_out(const char *path, const struct buffer *document)
{
    FILE *file = path ? fopen(path, "w") : stdout;
    bool written = file && fwrite(document->data, 1, document->size, file) == document->size;

    if (file)
        written = (path ? fclose(file) : fflush(file)) == 0 && written;
    if (!written)
        (void)fprintf(stderr, "weir bench: %s: %s\n", path ? path : "stdout", strerror(errno));
    return written ? EXIT_DONE : EXIT_OUTSIDE;
}

/* One case, or all of them without. */
static int run_cases(const struct bench_case *bench_case, struct request *request)
{
    struct buffer document;
    struct error error;
    int code = EXIT_DONE;

    buffer_init(&document, DOCUMENT_BYTES_MAX);
    if (!bench_case) {
        code = bench_all(options_of, request, &document) ? EXIT_OUTSIDE : EXIT_DONE;
    } else {
        struct bench_options options;

        options_of(request, bench_case, &options);
        if (bench_one(bench_case, &options, &document, &error) != STATUS_OK) {
            (void)fprintf(stderr, "weir bench %s: %s\n", bench_case->name, error.text);
            code = EXIT_OUTSIDE;
        }
    }
    buffer_put_char(&document, '\n');
    if (document.size > 1 && write_out(request->out, &document) != EXIT_DONE)
        code = EXIT_OUTSIDE;
    buffer_free(&document);
    return code;
}

static int compare(const char *before, const char *after)
{
    struct document documents[2] = {{0}};
    struct buffer out;
    struct error error;
    int code = EXIT_OUTSIDE;

    buffer_init(&out, DOCUMENT_BYTES_MAX);
    if (document_read(before, &documents[0], &error) == STATUS_OK &&
        document_read(after, &documents[1], &error) == STATUS_OK) {
        compare_write(&documents[0], &documents[1], &out);
        code = write_out(NULL, &out);
    } else {
        (void)fprintf(stderr, "weir bench compare: %s\n", error.text);
    }
    document_free(&documents[0]);
    document_free(&documents[1]);
    buffer_free(&out);
    return code;
}

static int write_page(const char *folder)
{
    struct buffer out;
    struct error error;
    int code = EXIT_OUTSIDE;

    buffer_init(&out, DOCUMENT_BYTES_MAX);
    if (page_write(folder, &out, &error) == STATUS_OK)
        code = write_out(NULL, &out);
    else
        (void)fprintf(stderr, "weir bench report: %s\n", error.text);
    buffer_free(&out);
    return code;
}

/* Whether a case takes what was given; all cases take what any of them takes. Shapes are for the generator:
 * the cases count on an event for an event. */
static bool fits(const struct bench_case *bench_case, const struct request *request)
{
    bool all = !bench_case;

    if (bench_case != &generator_case &&
        (request->daily || request->bursts || request->late || request->retries || request->nested))
        return false;
    return (all || bench_case->takes_brokers || bench_case->needs_brokers == (request->brokers != NULL)) &&
           (all || bench_case->takes_input || !request->input) && (request->input || !request->format);
}

int cli_bench(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    const struct bench_case *bench_case = name ? bench_case_find(name) : NULL;
    bool all = name && strcmp(name, "all") == 0;
    struct bench_options options;
    struct request request;

    if (!name)
        return list_cases();
    if (strcmp(name, "compare") == 0 && argc == 4)
        return compare(argv[2], argv[3]);
    if (strcmp(name, "report") == 0 && argc == 3)
        return write_page(argv[2]);
    if (strcmp(name, generator_case.name) == 0)
        bench_case = &generator_case;
    if ((!bench_case && !all) || !read_request(argc - 2, argv + 2, &request) || !fits(bench_case, &request)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (bench_case != &generator_case)
        return run_cases(bench_case, &request);
    options_of(&request, bench_case, &options);
    return generate(&options.generator);
}
