/* A division a message and two looks at the clock a batch: nothing beside what a message costs. Source and
 * sinks are watched by types that stand before the real ones, so that the program has no code for it. */
#include "bench/probes.h"

#include "bench/report.h"
#include "bench/workload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct watch { /* a type's functions know no owner */
    struct probes *probes;
    const struct source_type *source;
    const struct sink_type *sink;
} watch;

static struct source_type watched_source;
static struct sink_type watched_sink;

enum status probes_new(struct probes **ret_probes, struct error *ret_error)
{
    void *memory = mmap(NULL, sizeof **ret_probes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return fail(ret_error, "no shared memory: %s", strerror(errno));
    *ret_probes = memory;
    return STATUS_OK;
}

void probes_free(struct probes *probes)
{
    if (probes)
        (void)munmap(probes, sizeof *probes);
}

uint64_t probes_passing_event(const struct probes *probes, uint64_t window)
{
    return (window + 1 + WORKLOAD_LATENESS_S) * probes->rate + probes->partitions - 1;
}

static void keep_first(_Atomic int64_t *seen_us, int64_t now_us)
{
    int64_t none = 0;

    atomic_compare_exchange_strong(seen_us, &none, now_us);
}

static void keep_last(_Atomic int64_t *seen_us, int64_t now_us)
{
    int64_t before = atomic_load(seen_us);

    while (before < now_us && !atomic_compare_exchange_weak(seen_us, &before, now_us))
        continue;
}

static void see_event(struct probes *probes, enum probe_place place, uint64_t number, int64_t now_us)
{
    uint64_t second = number / probes->rate;

    if (number % probes->prompt_every == 0 && number / probes->prompt_every < PROMPTS_MAX)
        keep_first(&probes->prompts[number / probes->prompt_every].seen_us[place], now_us);
    if (number % probes->rate < probes->partitions && second > WORKLOAD_LATENESS_S && second < SECONDS_MAX)
        keep_last(&probes->windows[second - 1 - WORKLOAD_LATENESS_S].seen_us[place], now_us);
}

static void see_messages(const struct source *source, size_t index, enum probe_place place,
                         const struct message *messages, size_t count)
{
    struct probes *probes = watch.probes;
    uint64_t partition = (uint64_t)watch.source->partition(source, index)->partition;
    int64_t now_us = wall_clock_us();

    for (size_t i = 0; i < count; i++)
        see_event(probes, place, (uint64_t)messages[i].offset * probes->partitions + partition, now_us);
}

static size_t poll_watched(struct source *source, size_t index, struct message *ret_messages, size_t limit,
                           enum poll_state *ret_state)
{
    size_t count = watch.source->poll(source, index, ret_messages, limit, ret_state);

    see_messages(source, index, PROBE_IN_HAND, ret_messages, count);
    return count;
}

static void release_watched(struct source *source, size_t index, struct message *messages, size_t count)
{
    see_messages(source, index, PROBE_JUDGED, messages, count);
    watch.source->release(source, index, messages, count);
}

static void see_name(struct probe *probes, size_t count, enum probe_place place, struct span text,
                     const char *name, int64_t now_us)
{
    const char *found = memmem(text.data, text.size, name, strlen(name));
    uint64_t number = found ? strtoull(found + strlen(name), NULL, 10) : count;

    if (number < count)
        keep_first(&probes[number].seen_us[place], now_us);
}

void probes_see_text(struct probes *probes, enum probe_place place, struct span text, int64_t now_us)
{
    see_name(probes->prompts, PROMPTS_MAX, place, text, "\"" NAME_OF_PROMPT, now_us);
    see_name(probes->windows, SECONDS_MAX, place, text, "\"" NAME_OF_WINDOW, now_us);
}

static enum status offer_watched(struct sink *sink, const struct document *document)
{
    enum status status = watch.sink->offer(sink, document);

    if (status == STATUS_OK)
        probes_see_text(watch.probes, PROBE_OFFERED, document->body, wall_clock_us());
    return status;
}

void probes_watch(struct probes *probes, struct plan *plan)
{
    watch = (struct watch){.probes = probes, .source = plan->sources[0].type};
    watched_source = *watch.source;
    watched_source.poll = poll_watched;
    watched_source.release = release_watched;
    plan->sources[0].type = &watched_source;
    for (unsigned i = 0; i < plan->sink_count; i++) {
        if (!plan->sinks[i].receiver)
            continue;
        watch.sink = plan->sinks[i].type;
        watched_sink = *watch.sink;
        watched_sink.offer = offer_watched;
        plan->sinks[i].type = &watched_sink;
    }
}
