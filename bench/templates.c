/* Log templates alone, on one core: lines of statements as programs write them, each with values of its
 * own; and random text, which has no templates, so that each line is a new one and an old one goes. The
 * lines are made before the clock runs. */
#include "bench/report.h"
#include "bench/result.h"

#include "base/memory.h"
#include "detectors/templates.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = 400, LINES_HELD = 100000, RANDOM_SHARE = 10, NS_ASKED = 1000 };

/* A number stands for each %u, a word of many for each %s. */
static const char *const statements[] = {
    "Dependencies all met for dep_context=%s ti=<TaskInstance: %s.%s manual__2026-11-%02uT10:%02u:%02u+00:00 "
    "[queued]>",
    "Starting attempt %u of %u",
    "Task exited with return code %u",
    "Marking task as SUCCESS. dag_id=%s, task_id=%s, run_id=scheduled__2026-11-%02uT%02u:00:00+00:00, "
    "start_date=%u",
    "Task %s.tasks.%s[%08x-%04x-4000-8000-%012x] received",
    "Task %s.tasks.%s[%08x-%04x-4000-8000-%012x] succeeded in %u.%us: None",
    "Retry in %us: ConnectionError('%s refused by 10.%u.%u.%u:5432')",
    "10.%u.%u.%u - - \"GET /api/v2/%s/%u HTTP/1.1\" 200 %u",
    "Received block blk_%u of size %u from /10.%u.%u.%u",
    "Failed password for invalid user %s from 10.%u.%u.%u port %u ssh2",
    "session opened for user %s by (uid=%u)",
    "Wrote %u rows (%u.%u MB) to s3://warehouse/%s/part-%05u.parquet",
    "query took %u ms: 'select %s'",
    "[instance: %08x-%04x-4000-8000-%012x] VM Started (Lifecycle Event)",
    "worker-%u heartbeat lost, last seen %u seconds ago",
    "cache miss for key=%s ttl=%u",
    "GC pause %u.%u ms, heap %uK->%uK(%uK)",
    "Connection pool exhausted, waiting for a free connection",
    "checkpoint complete: wrote %u buffers (%u.%u%%); sync=%u.%u s, total=%u.%u s",
    "user=%s action=login result=success duration=%u",
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void put_word(struct buffer *out, uint64_t *seed, unsigned least)
{
    for (uint64_t left = least + next_random(seed) % 6; left > 0; left--)
        buffer_put_char(out, (char)('a' + next_random(seed) % 26));
}

static void put_real(struct buffer *out, uint64_t *seed)
{
    const char *at = statements[next_random(seed) % (sizeof statements / sizeof *statements)];
    uint64_t words = next_random(seed) % 50;

    for (; *at; at++) {
        if (*at != '%') {
            buffer_put_char(out, *at);
            continue;
        }
        at += 1 + strspn(at + 1, "0123456789");
        if (*at == 's') {
            uint64_t of_few = words++;
            put_word(out, &of_few, 4);
        } else if (*at == '%') {
            buffer_put_char(out, '%');
        } else {
            buffer_print(out, *at == 'x' ? "%08x" : "%u", (unsigned)next_random(seed) % 100000);
        }
    }
}

static void put_random(struct buffer *out, uint64_t *seed)
{
    for (uint64_t words = 1 + next_random(seed) % 16; words > 0; words--) {
        put_word(out, seed, 1);
        buffer_put_char(out, ' ');
    }
}

static void run_once(const struct generator_options *options, const char *name,
                     void (*put)(struct buffer *out, uint64_t *seed), uint64_t lines, struct result *result)
{
    struct templates *templates = templates_new(TEMPLATES_LIMIT_DEFAULT);
    struct skeleton skeleton;
    uint64_t seed = options->seed, done = 0;
    struct buffer text;
    struct span rest, line;
    bool is_new;

    buffer_init(&text, (size_t)LINES_HELD * LINE_MAX_BYTES);
    for (uint64_t i = 0; i < lines && i < LINES_HELD; i++) {
        put(&text, &seed);
        buffer_put_char(&text, '\n');
    }
    assert(!text.full);
    struct usage before = usage_now();
    while (done < lines)
        for (rest = buffer_span(&text); done < lines && span_take_line(&rest, &line); done++) {
            skeleton_make(line, &skeleton);
            (void)templates_learn(templates, &skeleton, 1, &is_new);
        }
    struct usage used = usage_since(before);
    result_add(result, "/s", (double)lines / used.cpu, "%s.lines_per_cpu_second", name);
    result_add(result, "ns", used.cpu / (double)lines * 1e9, "%s.cpu_ns_per_line", name);
    result_add(result, "templates", templates_count(templates), "%s.templates", name);
    result_add(result, "bytes", (double)templates_bytes(templates), "%s.bytes", name);
    buffer_free(&text);
    templates_free(templates);
}

enum status bench_templates(const struct bench_options *options, struct result *result,
                            struct error *ret_error)
{
    const struct generator_options *generator = &options->generator;

    (void)ret_error;
    for (unsigned run = 0; run < options->runs; run++) {
        run_once(generator, "real", put_real, generator->events, result);
        run_once(generator, "random", put_random, generator->events / RANDOM_SHARE + 1, result);
    }
    result_ask(result, "real.cpu_ns_per_line", NS_ASKED);
    result_check(result, "count_within_limit",
                 result_median(result, "random.templates") <= TEMPLATES_LIMIT_DEFAULT);
    return STATUS_OK;
}
