/* Runs are kept as numbers and read through once for each figure of their group: exact quantiles want all
 * values anyway. Dropped: sketches as in measures, which would not agree to the last digit with what a person
 * works out. */
#include "tuning/report.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/slots.h"

#include <assert.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <yajl/yajl_tree.h>

#define HOUR_US 3.6e9

struct report_work {
    struct slots run_slots, group_slots; /* by id; by names */
    struct report_run *runs;
    size_t run_capacity, group_capacity;
    double *values;
    size_t value_capacity;
};

struct report *report_new(const struct report_options *options)
{
    struct report *report = memory_new(sizeof *report);

    report->options = *options;
    report->work = memory_new(sizeof *report->work);
    slots_init(&report->work->run_slots, SLOT_NONE);
    slots_init(&report->work->group_slots, SLOT_NONE);
    return report;
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->group_count; i++)
        free((char *)report->groups[i].source.data);
    free(report->groups);
    slots_free(&report->work->run_slots);
    slots_free(&report->work->group_slots);
    free(report->work->runs);
    free(report->work->values);
    free(report->work);
    free(report);
}

static struct span text_of(yajl_val line, const char *key)
{
    const char *path[] = {key, NULL};
    yajl_val value = yajl_tree_get(line, path, yajl_t_string);

    return value ? span_of(YAJL_GET_STRING(value)) : SPAN_LITERAL("");
}

static double number_of(yajl_val line, const char *key)
{
    const char *path[] = {key, NULL};
    yajl_val value = yajl_tree_get(line, path, yajl_t_number);

    return value ? YAJL_GET_DOUBLE(value) : NAN;
}

static int64_t time_of(yajl_val line, const char *key)
{
    int64_t time_us = TIME_NONE;

    time_parse(text_of(line, key), TIME_UNIT_AUTO, TIME_NONE, &time_us);
    return time_us;
}

static uint32_t find_group(struct report *report, yajl_val line, bool is_task)
{
    struct report_group group = {.source = text_of(line, "source"),
                                 .namespace_ = text_of(line, "namespace"),
                                 .workflow = text_of(line, "workflow"),
                                 .task = text_of(line, "task"),
                                 .is_task = is_task};
    struct span *texts[] = {&group.source, &group.namespace_, &group.workflow, &group.task};
    struct id_builder builder;
    size_t size = 1;
    bool is_new;

    id_begin(&builder);
    id_add_integer(&builder, is_task);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; size += texts[i++]->size)
        id_add_text(&builder, *texts[i]);
    uint32_t slot = slots_add(&report->work->group_slots, id_end(&builder), &is_new);
    if (!is_new)
        return slot;
    char *cursor = memory_new(size);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; cursor += texts[i++]->size) {
        memcpy(cursor, texts[i]->data, texts[i]->size);
        texts[i]->data = cursor;
    }
    assert(slot == report->group_count);
    report->groups =
        memory_reserve(report->groups, &report->work->group_capacity, slot + 1u, sizeof *report->groups);
    report->groups[report->group_count++] = group;
    return slot;
}

/* Each attempt of a task has a line of its own; a run that is tried again keeps its line. */
static uint32_t retries_of(yajl_val line, bool is_task)
{
    double tries = number_of(line, is_task ? "attempt" : "attempts");

    if (!(tries > 1))
        return 0;
    return is_task ? 1 : (uint32_t)tries - 1;
}

static void add_run(struct report *report, yajl_val line, struct id128 id, bool is_task)
{
    struct report_work *work = report->work;
    enum run_state state = run_state_find(text_of(line, "state"));
    bool is_new;
    uint32_t slot = slots_add(&work->run_slots, id, &is_new);

    work->runs = memory_reserve(work->runs, &work->run_capacity, slot + 1u, sizeof *work->runs);
    work->runs[slot] = (struct report_run){.group = find_group(report, line, is_task),
                                           .retries = retries_of(line, is_task),
                                           .state = state == STATE_COUNT ? STATE_UNKNOWN : state,
                                           .queued_us = time_of(line, "queued_at"),
                                           .started_us = time_of(line, "started_at"),
                                           .ended_us = time_of(line, "ended_at"),
                                           .duration_ms = number_of(line, "duration_ms")};
}

bool report_add(struct report *report, struct span line)
{
    char *text = memory_text(line.data, line.size), reason[128];
    yajl_val tree = yajl_tree_parse(text, reason, sizeof reason);
    struct span level = tree ? text_of(tree, "level") : (struct span){0};
    struct span id = tree ? text_of(tree, "id") : (struct span){0};
    bool is_task = span_is(level, "task"), good = (is_task || span_is(level, "run")) && id.size > 0;
    enum report_by by = report->options.by;

    if (good && (by == REPORT_BY_BOTH || (by == REPORT_BY_TASK) == is_task)) {
        struct id_builder builder;

        id_begin(&builder);
        id_add_text(&builder, id);
        add_run(report, tree, id_end(&builder), is_task);
    }
    yajl_tree_free(tree);
    free(text);
    return good;
}

bool report_is_failure(enum run_state state)
{
    return state == STATE_FAILED || state == STATE_TIMED_OUT || state == STATE_UPSTREAM_FAILED;
}

static bool has_ended(const struct report_run *run)
{
    return run_state_is_terminal(run->state) && run->ended_us != TIME_NONE;
}

static int64_t arrival_of(const struct report_run *run)
{
    return run->queued_us != TIME_NONE ? run->queued_us : run->started_us;
}

static bool is_within(const struct report *report, int64_t time_us)
{
    return time_us != TIME_NONE && time_us >= report->from_us &&
           (time_us < report->to_us || report->options.to_us == TIME_NONE);
}

bool report_covers(const struct report *report, const struct report_run *run)
{
    return has_ended(run) && is_within(report, run->ended_us);
}

static int compare_doubles(const void *left, const void *right)
{
    const double *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

struct report_spread report_spread_of(double *values, size_t count)
{
    double sum = 0;

    if (count == 0)
        return (struct report_spread){NAN, NAN, NAN, NAN};
    qsort(values, count, sizeof *values, compare_doubles);
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return (struct report_spread){.mean = sum / (double)count,
                                  .p50 = gsl_stats_quantile_from_sorted_data(values, 1, count, 0.5),
                                  .p95 = gsl_stats_quantile_from_sorted_data(values, 1, count, 0.95),
                                  .max = values[count - 1]};
}

static double *room_for(struct report *report, size_t count)
{
    struct report_work *work = report->work;

    work->values = memory_reserve(work->values, &work->value_capacity, count + 1, sizeof *work->values);
    return work->values;
}

static void count_states(const struct report *report, struct report_group *group)
{
    struct report_figures *figures = &group->figures;
    uint64_t failures = 0;

    for (size_t i = 0; i < group->run_count; i++) {
        const struct report_run *run = &group->runs[i];

        figures->arrivals += is_within(report, arrival_of(run));
        figures->open +=
            !has_ended(run) && (report->options.to_us == TIME_NONE || arrival_of(run) < report->to_us);
        if (!report_covers(report, run))
            continue;
        figures->ended++;
        figures->states[run->state]++;
        figures->retries += run->retries;
        failures += report_is_failure(run->state);
    }
    uint64_t judged = figures->states[STATE_SUCCESS] + failures;
    figures->success_rate = judged ? (double)figures->states[STATE_SUCCESS] / (double)judged : NAN;
}

static void spread_times(struct report *report, struct report_group *group)
{
    double *values = room_for(report, group->run_count);
    size_t count = 0;

    for (size_t i = 0; i < group->run_count; i++) {
        const struct report_run *run = &group->runs[i];

        if (report_covers(report, run) && run->queued_us != TIME_NONE && run->started_us >= run->queued_us)
            values[count++] = (double)(run->started_us - run->queued_us) / 1000.0;
    }
    group->figures.wait_ms = report_spread_of(values, count);
    count = 0;
    for (size_t i = 0; i < group->run_count; i++) {
        const struct report_run *run = &group->runs[i];

        if (report_covers(report, run) && run->state == STATE_SUCCESS && !isnan(run->duration_ms))
            values[count++] = run->duration_ms;
    }
    group->figures.duration_ms = report_spread_of(values, count);
}

/* The part of [from, to] that lies in the time covered; false: none. */
static bool clip(const struct report *report, int64_t *from_us, int64_t *to_us)
{
    *from_us = *from_us < report->from_us ? report->from_us : *from_us;
    *to_us = *to_us > report->to_us ? report->to_us : *to_us;
    return *from_us < *to_us;
}

/* Starts and ends are sorted on their own: of the same moment the end comes first. */
static uint64_t most_at_once(double *starts, double *ends, size_t count)
{
    uint64_t now = 0, most = 0;

    qsort(starts, count, sizeof *starts, compare_doubles);
    qsort(ends, count, sizeof *ends, compare_doubles);
    for (size_t s = 0, e = 0; s < count; s++) {
        for (now++; ends[e] <= starts[s]; e++)
            now--;
        most = now > most ? now : most;
    }
    return most;
}

static void measure_load(struct report *report, struct report_group *group)
{
    double *starts = room_for(report, 2 * group->run_count), *ends = starts + group->run_count;
    double span_us = (double)(report->to_us - report->from_us);
    struct report_figures *figures = &group->figures;
    size_t count = 0;

    for (size_t i = 0; i < group->run_count; i++) {
        int64_t from_us = group->runs[i].started_us, to_us = group->runs[i].ended_us;

        if (from_us == TIME_NONE || to_us == TIME_NONE || !clip(report, &from_us, &to_us))
            continue;
        starts[count] = (double)from_us;
        ends[count++] = (double)to_us;
        figures->busy_ms += (double)(to_us - from_us) / 1000.0;
    }
    figures->concurrency = most_at_once(starts, ends, count);
    figures->arrivals_per_hour = span_us > 0 ? (double)figures->arrivals / (span_us / HOUR_US) : NAN;
    figures->completions_per_hour = span_us > 0 ? (double)figures->ended / (span_us / HOUR_US) : NAN;
    figures->utilisation =
        figures->concurrency ? figures->busy_ms / (span_us / 1000.0 * (double)figures->concurrency) : NAN;
}

struct outages {
    const struct report *report;
    uint64_t count, repaired;
    double down_us, repaired_us;
};

static void add_outage(struct outages *outages, int64_t from_us, int64_t to_us, bool repaired)
{
    if (!clip(outages->report, &from_us, &to_us))
        return;
    outages->count++;
    outages->down_us += (double)(to_us - from_us);
    outages->repaired += repaired;
    outages->repaired_us += repaired ? (double)(to_us - from_us) : 0;
}

/* Down from the end of one that failed to the end of the next that succeeded. */
static void measure_outages(const struct report *report, struct report_group *group)
{
    struct outages outages = {.report = report};
    struct report_figures *figures = &group->figures;
    double span_us = (double)(report->to_us - report->from_us);
    int64_t down_us = TIME_NONE;
    bool judged = false;

    for (size_t i = 0; i < group->run_count; i++) {
        const struct report_run *run = &group->runs[i];
        bool failed = report_is_failure(run->state), repaired = run->state == STATE_SUCCESS;

        if (!has_ended(run) || (!failed && !repaired))
            continue;
        judged = true;
        if (failed && down_us == TIME_NONE)
            down_us = run->ended_us;
        if (repaired && down_us != TIME_NONE) {
            add_outage(&outages, down_us, run->ended_us, run->ended_us <= report->to_us);
            down_us = TIME_NONE;
        }
    }
    if (down_us != TIME_NONE)
        add_outage(&outages, down_us, report->to_us, false);
    figures->outages = outages.count;
    figures->down_ms = outages.down_us / 1000.0;
    figures->availability = judged && span_us > 0 ? (span_us - outages.down_us) / span_us : NAN;
    figures->mtbf_ms = outages.count ? (span_us - outages.down_us) / 1000.0 / (double)outages.count : NAN;
    figures->mttr_ms = outages.repaired ? outages.repaired_us / 1000.0 / (double)outages.repaired : NAN;
}

/* Groups side by side, runs by their end, a failure before a success of the same moment. */
static int compare_runs(const void *left, const void *right)
{
    const struct report_run *a = left, *b = right;

    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    if (a->ended_us != b->ended_us)
        return a->ended_us < b->ended_us ? -1 : 1;
    return (a->state == STATE_SUCCESS) - (b->state == STATE_SUCCESS);
}

static int compare_groups(const void *left, const void *right)
{
    const struct report_group *a = left, *b = right;
    int order = span_compare(a->source, b->source);

    order = order ? order : span_compare(a->namespace_, b->namespace_);
    order = order ? order : span_compare(a->workflow, b->workflow);
    return order                      ? order
           : a->is_task != b->is_task ? a->is_task - b->is_task
                                      : span_compare(a->task, b->task);
}

static void find_span(struct report *report)
{
    int64_t least = INT64_MAX, greatest = INT64_MIN;

    for (size_t i = 0; i < report->work->run_slots.used; i++) {
        const struct report_run *run = &report->work->runs[i];
        const int64_t times[] = {run->queued_us, run->started_us, run->ended_us};

        for (size_t k = 0; k < sizeof times / sizeof *times; k++)
            if (times[k] != TIME_NONE) {
                least = times[k] < least ? times[k] : least;
                greatest = times[k] > greatest ? times[k] : greatest;
            }
    }
    report->from_us = report->options.from_us != TIME_NONE ? report->options.from_us : least;
    report->to_us = report->options.to_us != TIME_NONE ? report->options.to_us : greatest;
    if (report->to_us < report->from_us)
        report->to_us = report->from_us;
}

void report_reckon(struct report *report)
{
    struct report_work *work = report->work;
    size_t used = work->run_slots.used, kept = 0;

    find_span(report);
    if (used)
        qsort(work->runs, used, sizeof *work->runs, compare_runs);
    for (size_t i = 0; i < used; i++) {
        struct report_group *group = &report->groups[work->runs[i].group];

        group->runs = group->runs ? group->runs : &work->runs[i];
        group->run_count++;
    }
    for (size_t i = 0; i < report->group_count; i++) {
        struct report_group *group = &report->groups[i];

        count_states(report, group);
        if (!group->figures.ended && !group->figures.open && !group->figures.arrivals) {
            free((char *)group->source.data);
            continue;
        }
        spread_times(report, group);
        measure_load(report, group);
        measure_outages(report, group);
        report->groups[kept++] = *group;
    }
    report->group_count = kept;
    if (kept)
        qsort(report->groups, kept, sizeof *report->groups, compare_groups);
}
