/* A few numbers at the end of a case. */
#include "bench/report.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t wall_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct usage usage_now(void)
{
    return (struct usage){.wall = seconds_of(CLOCK_MONOTONIC), .cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID)};
}

struct usage usage_since(struct usage before)
{
    struct usage now = usage_now();

    return (struct usage){.wall = now.wall - before.wall, .cpu = now.cpu - before.cpu};
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

double resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file) {
        if (fscanf(file, "%*u %llu", &pages) != 1)
            pages = 0;
        (void)fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

double resident_bytes_trimmed(void)
{
    malloc_trim(0);
    return resident_bytes();
}
