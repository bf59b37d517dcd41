/* Figures are found by name, some dozens a case. */
#include "bench/result.h"

#include "base/memory.h"
#include "bench/commit.h"
#include "bench/report.h"

#include <assert.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { NAME_BYTES = 128, SIGNIFICANT_DIGITS = 9 };

void result_free(struct result *result)
{
    for (size_t i = 0; i < result->figure_count; i++) {
        free(result->figures[i].name);
        free(result->figures[i].values);
    }
    for (size_t i = 0; i < result->check_count; i++)
        free(result->checks[i].name);
    free(result->figures);
    free(result->checks);
    *result = (struct result){0};
}

static struct figure *find_figure(const struct result *result, const char *name)
{
    for (size_t i = 0; i < result->figure_count; i++)
        if (strcmp(result->figures[i].name, name) == 0)
            return &result->figures[i];
    return NULL;
}

void result_add(struct result *result, const char *unit, double value, const char *name_format, ...)
{
    struct figure *figure;
    char name[NAME_BYTES];
    va_list arguments;

    va_start(arguments, name_format);
    (void)vsnprintf(name, sizeof name, name_format, arguments);
    va_end(arguments);
    if (!isfinite(value))
        return;
    figure = find_figure(result, name);
    if (!figure) {
        result->figures = memory_reserve(result->figures, &result->figure_capacity, result->figure_count + 1,
                                         sizeof *result->figures);
        figure = &result->figures[result->figure_count++];
        *figure =
            (struct figure){.name = memory_text(name, strlen(name)), .unit = unit, .asked_at_most = NAN};
    }
    figure->values =
        memory_reserve(figure->values, &figure->capacity, figure->count + 1, sizeof *figure->values);
    figure->values[figure->count++] = value;
}

void result_add_usage(struct result *result, const char *prefix, const char *item, double count,
                      struct usage used)
{
    const char *dot = prefix[0] ? "." : "";

    result_add(result, "/s", count / used.wall, "%s%s%ss_per_second", prefix, dot, item);
    result_add(result, "us", used.cpu / count * 1e6, "%s%scpu_us_per_%s", prefix, dot, item);
}

void result_ask(struct result *result, const char *name, double at_most)
{
    struct figure *figure = find_figure(result, name);

    if (figure)
        figure->asked_at_most = at_most;
}

void result_check(struct result *result, const char *name, bool holds)
{
    for (size_t i = 0; i < result->check_count; i++)
        if (strcmp(result->checks[i].name, name) == 0) {
            result->checks[i].holds &= holds;
            return;
        }
    result->checks = memory_reserve(result->checks, &result->check_capacity, result->check_count + 1,
                                    sizeof *result->checks);
    result->checks[result->check_count++] =
        (struct check){.name = memory_text(name, strlen(name)), .holds = holds};
}

double median_of(const double *values, size_t count)
{
    double *sorted = memory_new(count * sizeof *sorted), median;

    assert(count > 0);
    memcpy(sorted, values, count * sizeof *sorted);
    gsl_sort(sorted, 1, count);
    median = gsl_stats_median_from_sorted_data(sorted, 1, count);
    free(sorted);
    return median;
}

double result_median(const struct result *result, const char *name)
{
    const struct figure *figure = find_figure(result, name);

    return figure ? median_of(figure->values, figure->count) : NAN;
}

static void write_number(struct json_writer *json, const char *key, double value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%.*g", SIGNIFICANT_DIGITS, value);
    json_number(json, key, strtod(text, NULL));
}

static void write_processor(struct json_writer *json)
{
    static const char key[] = "model name";
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, key, strlen(key)) != 0 || !colon)
            continue;
        colon += strspn(colon, ": \t");
        json_text(json, "processor", span_make(colon, strcspn(colon, "\n")));
        break;
    }
    if (file)
        (void)fclose(file);
}

void document_open(struct json_writer *json, struct buffer *out)
{
    struct utsname system;

    json_begin(json, out);
    json_open(json, NULL);
    json_time(json, "time", (int64_t)time(NULL) * 1000000);
    json_text(json, "version", SPAN_LITERAL(WEIR_VERSION));
    json_text(json, "commit", SPAN_LITERAL(BENCH_COMMIT));
    json_open(json, "machine");
    json_integer(json, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    write_processor(json);
    if (uname(&system) == 0)
        json_text(json, "kernel", span_of(system.release));
    json_text(json, "librdkafka", span_of(rd_kafka_version_str()));
    json_text(json, "compiler", SPAN_LITERAL(__VERSION__));
    json_close(json);
    json_open_list(json, "results");
}

void document_close(struct json_writer *json)
{
    json_close_list(json);
    json_close(json);
}

static void write_parameters(const struct bench_case *bench_case, const struct bench_options *options,
                             struct json_writer *json)
{
    json_unsigned(json, "seed", options->generator.seed);
    json_open(json, "parameters");
    json_unsigned(json, "events", options->generator.events);
    if (options->generator.tasks)
        json_unsigned(json, "series", options->generator.tasks);
    json_number(json, "rate", options->generator.rate);
    json_unsigned(json, "workers", options->workers);
    if (bench_case->needs_brokers)
        json_unsigned(json, "partitions", options->partitions);
    json_text_if(json, "format", options->format ? span_of(options->format) : span_of(""));
    json_unsigned(json, "runs", options->runs);
    json_close(json);
}

static void write_figure(const struct figure *figure, struct json_writer *json)
{
    double least, greatest;

    gsl_stats_minmax(&least, &greatest, figure->values, 1, figure->count);
    json_open(json, NULL);
    json_text(json, "name", span_of(figure->name));
    json_text(json, "unit", span_of(figure->unit));
    write_number(json, "median", median_of(figure->values, figure->count));
    write_number(json, "min", least);
    write_number(json, "max", greatest);
    if (!isnan(figure->asked_at_most))
        write_number(json, "asked_at_most", figure->asked_at_most);
    json_open_list(json, "runs");
    for (size_t i = 0; i < figure->count; i++)
        write_number(json, NULL, figure->values[i]);
    json_close_list(json);
    json_close(json);
}

void result_write(const struct result *result, const struct bench_case *bench_case,
                  const struct bench_options *options, struct json_writer *json)
{
    json_open(json, NULL);
    json_text(json, "case", span_of(bench_case->name));
    write_parameters(bench_case, options, json);
    json_open_list(json, "figures");
    for (size_t i = 0; i < result->figure_count; i++)
        write_figure(&result->figures[i], json);
    json_close_list(json);
    json_open(json, "checks");
    for (size_t i = 0; i < result->check_count; i++)
        json_bool(json, result->checks[i].name, result->checks[i].holds);
    json_close(json);
    json_close(json);
}
