/* Each trouble comes in a part of the seeds only, so that a failure says early which one it takes. */
#include "tests/simulation/scenario.h"

#include "base/memory.h"
#include "tests/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_LEAST = 80,
    ROWS_SPREAD = 400,
    WORKFLOWS = 4,
    PAYLOAD_BYTES = 320,
    SECTION_BYTES = 512,
    LOOK_BACK = 12
};

static const char yaml_format[] =
    "name: simulated\n"
    "store: {path: '%s', checkpoint: %dms}\n"
    "time: {lateness: %ds, idle_after: 1d, max_skew: %ds, max_skew_ahead: 2m, correct_for: 1d,\n"
    "       late: %s, skew: %s}\n"
    "runs: {keep: %ds}\n"
    "%s\n"
    "watch: %s\n"
    "clean: [%s%s%s]\n"
    "measures:\n"
    "- {name: load, of: value, by: [workflow], every: 10s, statistics: [count, sum, min, max, mean]}\n"
    "- {name: wide, of: value, by: [workflow], every: 10s, window: 90s, statistics: [count, sum, max]}\n"
    "- {name: ends, on: run, by: [workflow], every: 10s, where: 'state == \"success\"'}\n"
    "detectors:\n"
    "- {name: odd, type: zscore, measure: load, statistic: sum, half_life: 1m, warm_up: 1m, one_in: 10}\n"
    "rules:\n"
    "- {name: failed, on: event, when: 'state == \"failed\"', by: [workflow], keep_firing_for: 20s}\n"
    "- {name: heavy, on: bucket, measure: load, when: 'sum >= 60.0', for: 10s, keep_firing_for: 15s}\n"
    "- {name: broken, on: run, when: 'state == \"failed\"', by: [workflow], keep_firing_for: 20s}\n"
    "sinks:\n"
    "- {name: search, type: stdout, send: [events, buckets, runs, signals, alerts]}\n"
    "- {name: lines, type: stdout, send: [buckets, runs, signals, alerts]}\n"
    "- {name: pager, type: stdout, send: [alerts]}\n";

static const char text_format[] =
    "formats: [{name: text, type: line, time_unit: ms, begins: '\\d', pattern: '(?<time>\\d+) "
    "(?<workflow>\\w+) "
    "(?<value>\\d+)(?: run=(?<run>\\S+) (?<state>\\w+))?(?: id=(?<id>\\w+))?$'}]\n";

/* Where the input comes from, and who shares the work. */
static void write_place(const struct scenario *scenario, uint64_t *random, char ret_text[SECTION_BYTES])
{
    static const int commits_ms[] = {50, 200, 1000, 3000};

    const char *formats = scenario->is_text ? text_format : "",
               *format = scenario->is_text ? "text" : "fields";

    if (!scenario->is_cluster)
        snprintf(ret_text, SECTION_BYTES,
                 "%ssources: [{name: events, type: file, path: none.jsonl, format: %s}]", formats, format);
    else
        snprintf(ret_text, SECTION_BYTES,
                 "%ssources: [{name: events, type: kafka, brokers: 'none:1', topics: [events], format: %s}]\n"
                 "cluster: {enabled: true, brokers: 'none:1', tasks: %u, commit: %dms, session_timeout: %ds}",
                 formats, format, scenario->tasks, commits_ms[random_below(random, 4)],
                 (int)(scenario->session_us / SIM_SECOND_US));
}

static void write_yaml(struct scenario *scenario, const char *store_path, uint64_t *random)
{
    static const char *const late_names[] = {"drop", "dead_letter", "correct"};
    static const int checkpoints_ms[] = {100, 500, 2000, 5000};

    char place[SECTION_BYTES];

    write_place(scenario, random, place);
    snprintf(scenario->yaml, sizeof scenario->yaml, yaml_format, store_path,
             checkpoints_ms[random_below(random, 4)], (int)(scenario->lateness_us / SIM_SECOND_US),
             (int)(scenario->max_skew_us / SIM_SECOND_US), late_names[scenario->late],
             scenario->skew == SKEW_REPAIR ? "repair" : "dead_letter",
             (int)(scenario->keep_us / SIM_SECOND_US), place, scenario->watch ? "true" : "false",
             scenario->dedupe ? "{dedupe: [id], within: 30s}" : "",
             scenario->dedupe && scenario->throttle ? ", " : "",
             scenario->throttle ? "{throttle: [workflow], limit: 6, per: 10s}" : "");
}

static struct row *add_row(struct queue *queue, int64_t arrival_us, uint64_t *random)
{
    struct row *row;

    queue->rows = memory_reserve(queue->rows, &queue->capacity, queue->count + 1, sizeof *queue->rows);
    row = &queue->rows[queue->count++];
    /* compaction leaves holes */
    queue->next_offset += random_below(random, 50) == 0 ? 3 : 0;
    *row = (struct row){.offset = queue->next_offset++, .arrival_us = arrival_us};
    return row;
}

static void give_payload(struct row *row, const char *text)
{
    row->size = strlen(text);
    row->payload = memory_text(text, row->size);
}

static void write_line(struct row *row)
{
    char text[PAYLOAD_BYTES], run[64] = "", id[64] = "";

    if (row->run[0])
        snprintf(run, sizeof run, " run=%s %s", row->run, run_state_names[row->state]);
    if (row->id[0])
        snprintf(id, sizeof id, " id=%s", row->id);
    snprintf(text, sizeof text, "%lld %s %d%s%s", (long long)(row->time_us / 1000), row->workflow, row->value,
             run, id);
    give_payload(row, text);
}

static void write_json(struct row *row)
{
    char text[PAYLOAD_BYTES], run[64] = "", id[64] = "", beat[96] = "";

    if (row->run[0])
        snprintf(run, sizeof run, ",\"run\":\"%s\",\"state\":\"%s\"", row->run, run_state_names[row->state]);
    if (row->id[0])
        snprintf(id, sizeof id, ",\"id\":\"%s\"", row->id);
    if (row->host[0])
        snprintf(beat, sizeof beat, ",\"host\":\"%s\",\"action\":\"worker-%s\"", row->host,
                 row->is_offline ? "offline" : "heartbeat");
    snprintf(text, sizeof text, "{\"time\":%lld,\"workflow\":\"%s\",\"value\":%d%s%s%s}",
             (long long)(row->time_us / 1000), row->workflow, row->value, run, id, beat);
    give_payload(row, text);
}

static void write_payload(const struct scenario *scenario, struct row *row)
{
    if (scenario->is_text)
        write_line(row);
    else
        write_json(row);
}

/* Lines behind a record's first one, written with it. */
static void add_more(struct queue *queue, uint64_t *random)
{
    int64_t arrival_us = queue->rows[queue->count - 1].arrival_us;

    for (uint64_t lines = random_below(random, 3); lines > 0; lines--) {
        struct row *row = add_row(queue, arrival_us, random);

        row->sort = ROW_MORE;
        give_payload(row, "  and more");
    }
}

static int64_t choose_time(const struct scenario *scenario, const struct queue *queue, int64_t clock_us,
                           int64_t arrival_us, uint64_t *random)
{
    uint64_t lateness_ms = (uint64_t)scenario->lateness_us / 1000, dice = random_below(random, 100);
    int64_t time_us = clock_us + queue->skew_us;

    if (dice < 2)
        return arrival_us + scenario->max_skew_us + (int64_t)(1 + random_below(random, 3600)) * SIM_SECOND_US;
    if (dice < 8)
        return time_us - scenario->lateness_us - (int64_t)random_below(random, 60000) * 1000;
    return time_us - (int64_t)random_below(random, lateness_ms) * 1000;
}

/* Heartbeats of hosts, and short runs of which some take long or never end. From numbers of its own, as the
 * choice of a cluster is. */
static void add_watched(struct row *row, int64_t second)
{
    uint64_t random = (uint64_t)row->time_us * 2654435761u + (uint64_t)row->offset;
    uint64_t dice = random_below(&random, 6);

    if (dice < 3) {
        uint64_t ago = random_below(&random, random_below(&random, 12) ? 2 : 20);

        snprintf(row->workflow, sizeof row->workflow, "fast");
        snprintf(row->run, sizeof row->run, "fast-r%lld", (long long)(second / 2 - (int64_t)ago));
        row->state = random_below(&random, 2) ? STATE_RUNNING : STATE_SUCCESS;
    }
    if (dice != 3 && dice != 4)
        return;
    snprintf(row->host, sizeof row->host, "h%u", (unsigned)random_below(&random, 2));
    row->is_offline = random_below(&random, 30) == 0;
}

static void fill_row(struct scenario *scenario, struct queue *queue, struct row *row, int64_t clock_us,
                     uint64_t *random)
{
    static const enum run_state states[] = {STATE_QUEUED,  STATE_RUNNING, STATE_RUNNING,
                                            STATE_SUCCESS, STATE_SUCCESS, STATE_FAILED};
    unsigned workflow = (unsigned)random_below(random, WORKFLOWS);

    row->time_us = choose_time(scenario, queue, clock_us, row->arrival_us, random);
    snprintf(row->workflow, sizeof row->workflow, "w%u", workflow);
    row->value = (int)random_below(random, 20) + (random_below(random, 15) == 0 ? 150 : 0);
    if (random_below(random, 8))
        snprintf(row->id, sizeof row->id, "%08x", (unsigned)random_next(random));
    if (random_below(random, 2)) {
        int64_t number = (clock_us - scenario->start_us) / (20 * SIM_SECOND_US);

        snprintf(row->run, sizeof row->run, "w%u-r%lld", workflow,
                 (long long)(number - (int64_t)random_below(random, 2)));
        row->state = states[random_below(random, 6)];
    }
    if (scenario->watch)
        add_watched(row, (clock_us - scenario->start_us) / SIM_SECOND_US);
    write_payload(scenario, row);
    if (scenario->is_text)
        add_more(queue, random);
}

/* A producer that was not sure sends again what it sent lately. */
static void repeat_row(const struct queue *queue, struct row *row, uint64_t *random)
{
    size_t back = 1 + random_below(random, LOOK_BACK);
    const struct row *earlier = queue->count > back ? &queue->rows[queue->count - 1 - back] : NULL;

    if (!earlier || earlier->sort == ROW_MORE) {
        row->sort = ROW_TOMBSTONE;
        give_payload(row, "");
        return;
    }
    int64_t offset = row->offset, arrival_us = row->arrival_us;
    *row = *earlier;
    row->offset = offset;
    row->arrival_us = arrival_us;
    row->payload = memory_text(earlier->payload, earlier->size);
}

static void make_row(struct scenario *scenario, int64_t clock_us, uint64_t *random)
{
    static const char *const bad[] = {"{not json", "[1,", "{\"workflow\":\"w1\"}",
                                      "{\"time\":\"yesterday\"}"};
    static const char *const bad_lines[] = {"7", "1 w1 x",
                                            "1795252610000 w1 5 run=", "99999999999999999999 w1 5"};
    struct queue *queue = &scenario->queues[random_below(random, scenario->queue_count)];
    uint64_t dice = random_below(random, 100);
    struct row *row;

    if (queue->sparse && random_below(random, 25))
        queue = &scenario->queues[0];
    row = add_row(queue, clock_us + (int64_t)random_below(random, 500) * 1000, random);
    if (row->arrival_us > scenario->end_us)
        scenario->end_us = row->arrival_us;
    if (dice < 3) {
        row->sort = ROW_BAD;
        give_payload(row, (scenario->is_text ? bad_lines : bad)[random_below(random, 4)]);
    } else if (dice < 4) {
        row->sort = ROW_TOMBSTONE;
        give_payload(row, "");
    } else if (dice < 12) {
        repeat_row(queue, row, random);
    } else {
        fill_row(scenario, queue, row, clock_us, random);
    }
}

static void flush_queues(struct scenario *scenario, uint64_t *random)
{
    scenario->flush_us = scenario->end_us + 7200 * SIM_SECOND_US;
    for (unsigned i = 0; i < scenario->queue_count; i++) {
        struct row *row = add_row(&scenario->queues[i], scenario->flush_us, random);

        row->time_us = scenario->flush_us;
        snprintf(row->workflow, sizeof row->workflow, "flush");
        write_payload(scenario, row);
    }
}

static void choose_troubles(struct scenario *scenario, uint64_t *random)
{
    scenario->has_crashes = random_below(random, 3) > 0;
    scenario->has_stops = random_below(random, 3) == 0;
    scenario->has_full_disk = random_below(random, 4) == 0;
    scenario->has_slow_sinks = random_below(random, 2) == 0;
    scenario->has_unreachable_source = random_below(random, 4) == 0;
    scenario->has_starving = random_below(random, 2) == 0;
    scenario->loses_store = scenario->has_crashes && random_below(random, 10) == 0;
}

/* From numbers of its own: what the other seeds mean does not hang on it. */
static void choose_cluster(struct scenario *scenario)
{
    uint64_t random = scenario->seed * 2246822519u + 3;

    scenario->is_cluster = random_below(&random, 6) == 0;
    if (!scenario->is_cluster)
        return;
    scenario->live = true; /* a cluster never ends by itself */
    scenario->tasks = 1u << random_below(&random, 3);
    scenario->processes = 1 + (unsigned)random_below(&random, PROCESSES_LIMIT);
    scenario->session_us = (int64_t)(10 + random_below(&random, 50)) * SIM_SECOND_US;
    scenario->has_freezes = random_below(&random, 2);
    scenario->has_rebalances = random_below(&random, 2);
    scenario->has_busy_broker = random_below(&random, 3) == 0;
    scenario->has_lost_transactions = random_below(&random, 3) == 0;
    scenario->has_late_parcels = random_below(&random, 3) == 0;
    scenario->loses_store = false; /* a store is only a mirror of the changelog */
}

void scenario_make(uint64_t seed, const char *store_path, struct scenario *ret_scenario)
{
    uint64_t random = seed * 2654435761u + 1;
    struct scenario *scenario = ret_scenario;
    int64_t clock_us;
    uint64_t rows;

    *scenario = (struct scenario){
        .seed = seed,
        .queue_count = 1 + (unsigned)random_below(&random, PARTITIONS_MAX),
        .start_us = (int64_t)1795252610 * SIM_SECOND_US,
        .live = random_below(&random, 2),
        .backlog = random_below(&random, 3) == 0,
        .dedupe = random_below(&random, 2),
        .throttle = random_below(&random, 4) == 0,
        .poison = random_below(&random, 4) == 0,
        .lateness_us = (int64_t)(2 + random_below(&random, 10)) * SIM_SECOND_US,
        .max_skew_us = 90 * SIM_SECOND_US,
        .late = (enum late_policy)random_below(&random, 3),
        .skew = (enum skew_policy)random_below(&random, 2),
    };
    choose_troubles(scenario, &random);
    choose_cluster(scenario);
    scenario->watch = (seed * 3266489917u >> 8) % 2;
    scenario->is_text = !scenario->watch && random_below(&(uint64_t){seed * 3266489917u + 5}, 5) < 2;
    /* the lines of a cluster are told apart by their text, which a rerun by repeated rows would share */
    bool reruns = !scenario->is_cluster && (seed * 3266489917u >> 9) % 3 == 0;
    scenario->keep_us = (reruns ? (int64_t)(1 + seed % 40) : 604800) * SIM_SECOND_US;
    write_yaml(scenario, store_path, &random);
    for (unsigned i = 0; i < scenario->queue_count; i++) {
        struct queue *queue = &scenario->queues[i];

        if (random_below(&random, 3) == 0)
            queue->skew_us = ((int64_t)random_below(&random, 40) - 20) * SIM_SECOND_US;
        queue->sparse = i > 0 && random_below(&random, 4) == 0;
        queue->next_offset = (int64_t)random_below(&random, 2) * 1000;
    }
    clock_us = scenario->end_us = scenario->start_us;
    rows = ROWS_LEAST + random_below(&random, ROWS_SPREAD);
    for (uint64_t i = 0; i < rows; i++) {
        bool gap = random_below(&random, 120) == 0;

        clock_us += (int64_t)random_below(&random, gap ? 150000 : 1600) * 1000;
        make_row(scenario, clock_us, &random);
    }
    if (scenario->live)
        flush_queues(scenario, &random);
}

void scenario_free(struct scenario *scenario)
{
    for (unsigned i = 0; i < scenario->queue_count; i++) {
        for (size_t r = 0; r < scenario->queues[i].count; r++)
            free(scenario->queues[i].rows[r].payload);
        free(scenario->queues[i].rows);
    }
}
