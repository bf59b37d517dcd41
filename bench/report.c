/* A few numbers at the end of a case. */
#include "bench/report.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct usage usage_now(void)
{
    struct rusage process;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    getrusage(RUSAGE_SELF, &process);
    return (struct usage){.wall = (double)now.tv_sec + (double)now.tv_nsec * 1e-9,
                          .cpu = seconds_of(process.ru_utime) + seconds_of(process.ru_stime)};
}

struct usage usage_since(struct usage before)
{
    struct usage now = usage_now();

    return (struct usage){.wall = now.wall - before.wall, .cpu = now.cpu - before.cpu};
}

static void report_processor(struct json_writer *json)
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

void report_machine(struct json_writer *json)
{
    struct utsname system;

    json_open(json, "machine");
    json_integer(json, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    report_processor(json);
    if (uname(&system) == 0)
        json_text(json, "kernel", span_of(system.release));
    json_text(json, "librdkafka", span_of(rd_kafka_version_str()));
    json_close(json);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double report_range(struct json_writer *json, const char *key, double *values, unsigned count)
{
    double median;

    assert(count > 0);
    qsort(values, count, sizeof *values, compare_numbers);
    median = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    json_open(json, key);
    json_number(json, "median", median);
    json_number(json, "min", values[0]);
    json_number(json, "max", values[count - 1]);
    json_close(json);
    return median;
}

void report_percentiles(struct json_writer *json, double *values, unsigned count)
{
    static const struct {
        const char *key;
        double share;
    } percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99_9", 0.999}, {"max", 1}};

    assert(count > 0);
    qsort(values, count, sizeof *values, compare_numbers);
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        json_number(json, percentiles[i].key, values[(unsigned)ceil(percentiles[i].share * count) - 1]);
}

double report_metric(struct buffer *metrics, const char *name)
{
    size_t size = strlen(name);
    double sum = 0;

    buffer_put_char(metrics, '\0');
    assert(!metrics->full && metrics->data[0] == '#'); /* so that a name found has a character before it */
    buffer_truncate(metrics, metrics->size - 1);
    for (const char *at = metrics->data; (at = strstr(at, name)); at += size) {
        const char *value = at + size;

        if (at[-1] == '\n' && *value == '{')
            value = strchr(value, '}') + 1;
        if (at[-1] == '\n' && *value == ' ')
            sum += strtod(value, NULL);
    }
    return sum;
}
