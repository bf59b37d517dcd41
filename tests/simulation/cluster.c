/* The group gives each task to one process at a time, but a process that was stopped for longer than the
 * session timeout does not know that its tasks are another's, and takes some turns before it hears of it. */
#include "tests/simulation/cluster.h"

#include "pipeline/dead_letters.h"
#include "pipeline/engine.h"
#include "tests/base/random.h"
#include "tests/simulation/journal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    QUIET_ROUNDS = 100,
    DISTURBANCES_MAX = 10,
    TROUBLE_ONE_IN = 150,
    HEARS_MS_MAX = 3000, /* from waking up to hearing that the tasks are gone */
    NOBODY = -1,
};

struct host { /* a process */
    unsigned number;
    struct member member;
    struct plan *plan; /* NULL: it is down */
    struct plan_outside outside;
    struct engine *engines[TASKS_LIMIT];
    int64_t due_us[TASKS_LIMIT];            /* when an engine is started, or tried again */
    int64_t back_us;                        /* down: until then */
    int64_t stopped_us, awake_us, hears_us; /* stopped since, until; then knows what it missed */
    bool is_stopped, is_expelled;
};

struct claim {      /* a task */
    int host;       /* who has it; NOBODY */
    int64_t due_us; /* when somebody may get it */
};

struct cluster_run {
    const struct cluster_setting *setting;
    struct world *world;
    struct broker *broker;
    struct host hosts[PROCESSES_LIMIT];
    struct claim claims[TASKS_LIMIT];
    uint64_t random, steps, trouble_steps, starved_until;
    unsigned disturbances, starved, quiet;
    uint64_t delivered, read; /* what the world had when something moved last */
    int64_t full_until_us;
    bool finished;
};

static void trace(const struct cluster_run *run, const char *what, unsigned host, unsigned task)
{
    const struct world *world = run->world;

    if (run->setting->trace)
        printf("wild step %llu, %.3f s: process %u, task %u: %s\n", (unsigned long long)run->steps,
               (double)(world->now_us - run->setting->scenario->start_us) / 1e6, host, task, what);
}

static int64_t in_ms(struct cluster_run *run, uint64_t most)
{
    return run->world->now_us + (int64_t)(1 + random_below(&run->random, most)) * 1000;
}

static bool one_in(struct cluster_run *run, unsigned count)
{
    return random_below(&run->random, count) == 0;
}

void cluster_stores(const char *folder, unsigned processes, struct stores *ret_stores)
{
    ret_stores->count = processes;
    for (unsigned i = 0; i < processes; i++)
        snprintf(ret_stores->paths[i], sizeof ret_stores->paths[i], "%s/weir-%u.db", folder, i);
}

static void stop_host(struct cluster_run *run, struct host *host)
{
    host->back_us = in_ms(run, 20000);
    plan_give_back(host->plan, &host->outside);
    plan_free(host->plan);
    host->plan = NULL;
}

/* A process has them for its page before it has any task. */
static void open_letters(struct cluster_run *run, struct host *host)
{
    const struct store_options options = {.vfs = disk_vfs(run->setting->disk)};
    struct dead_letters *letters = NULL;
    struct error error;

    if (dead_letters_open(host->plan->store.path, &options, &letters, &error) != STATUS_OK) {
        trace(run, error.text, host->number, 0);
        stop_host(run, host);
    }
    dead_letters_close(letters);
}

static void start_host(struct cluster_run *run, struct host *host)
{
    char batch[32], path[STORE_PATH_BYTES + 16];
    const char *assignments[] = {batch, path};
    struct stores stores;
    struct error error;

    cluster_stores(run->setting->folder, run->setting->scenario->processes, &stores);
    snprintf(batch, sizeof batch, "batch_rows=%u", 1 + (unsigned)random_below(&run->random, 40));
    snprintf(path, sizeof path, "store.path=%s", stores.paths[host->number]);
    if (plan_load(run->setting->plan_path, assignments, 2, &host->plan, &error) != STATUS_OK) {
        world_fail(run->world, "%s", error.text);
        return;
    }
    plan_take(host->plan, run->world, &host->outside);
    host->is_stopped = host->is_expelled = false;
    open_letters(run, host);
}

/* The engine at hand, for those who watch what it tells. */
static void attend(struct cluster_run *run, const struct host *host, unsigned task)
{
    run->world->journal = host->member.journals[task];
    run->world->is_lost = !run->world->journal || journal_is_lost(run->world->journal);
}

static void start_engine(struct cluster_run *run, struct host *host, unsigned task)
{
    const struct scenario *scenario = run->setting->scenario;
    const struct engine_task part = {
        .journal = &journal_simulated, .cluster = &host->member, .number = task, .count = scenario->tasks};
    struct engine_options options = {.mode = ENGINE_LIVE,
                                     .task = &part,
                                     .quiet = !run->setting->trace,
                                     .stepped = true,
                                     .store_vfs = disk_vfs(run->setting->disk)};
    struct error error;
    enum status status = engine_start(host->plan, &options, &host->engines[task], &error);

    if (status == STATUS_OK) {
        trace(run, "start", host->number, task);
        run->world->lives += task == 0;
        return;
    }
    host->engines[task] = NULL;
    host->due_us[task] = in_ms(run, 1000);
    trace(run, error.text, host->number, task);
    if (status == STATUS_FATAL && !disk_is_off(run->setting->disk))
        world_fail(run->world, "process %u, task %u: %s", host->number, task, error.text);
}

static void free_engine(struct host *host, unsigned task)
{
    engine_free(host->engines[task]);
    host->engines[task] = NULL;
}

static void abandon(struct cluster_run *run, struct host *host, unsigned task, const char *why)
{
    if (!host->engines[task])
        return;
    trace(run, why, host->number, task);
    engine_abandon(host->engines[task]);
    free_engine(host, task);
}

static void stop_at_cut(struct cluster_run *run, struct host *host, unsigned task)
{
    if (!host->engines[task])
        return;
    trace(run, "stop at a cut", host->number, task);
    attend(run, host, task);
    engine_stop_at_cut(host->engines[task]);
    free_engine(host, task);
}

/* Takes a task away; somebody gets it in up to `most_ms`. */
static void take_away(struct cluster_run *run, unsigned task, uint64_t most_ms)
{
    struct claim *claim = &run->claims[task];

    if (claim->host != NOBODY)
        run->hosts[claim->host].member.tasks &= ~(1u << task);
    *claim = (struct claim){.host = NOBODY, .due_us = in_ms(run, most_ms)};
}

static void take_away_all(struct cluster_run *run, struct host *host, uint64_t most_ms)
{
    for (unsigned t = 0; t < TASKS_LIMIT; t++)
        if (run->claims[t].host == (int)host->number)
            take_away(run, t, most_ms);
}

/* SIGKILL: what it had told the disk is there. The group finds out at the end of the session, or at once. */
static void kill_host(struct cluster_run *run, struct host *host)
{
    for (unsigned t = 0; t < TASKS_LIMIT; t++)
        abandon(run, host, t, "kill");
    take_away_all(run, host, (uint64_t)run->setting->scenario->session_us / 1000);
    stop_host(run, host);
}

static void repair_disk(struct cluster_run *run)
{
    run->full_until_us = 0;
    disk_fill(run->setting->disk, false);
    disk_break(run->setting->disk, false);
}

/* Everything but the broker is without power. */
static void cut_power(struct cluster_run *run)
{
    struct disk *disk = run->setting->disk;

    disk_crash(disk);
    for (unsigned i = 0; i < run->setting->scenario->processes; i++)
        if (run->hosts[i].plan)
            kill_host(run, &run->hosts[i]);
    disk_restart(disk);
    repair_disk(run);
}

/* The group is formed anew: everybody, or some, give back all that they have, or a part. */
static void rebalance(struct cluster_run *run)
{
    bool all = one_in(run, 2);

    for (unsigned t = 0; t < run->setting->scenario->tasks; t++) {
        int owner = run->claims[t].host;

        if (owner == NOBODY || run->hosts[owner].is_stopped || run->hosts[owner].is_expelled ||
            (!all && one_in(run, 2)))
            continue;
        stop_at_cut(run, &run->hosts[owner], t);
        take_away(run, t, 500);
    }
    run->world->now_us += 15 * SIM_SECOND_US; /* an engine that stops takes its time alone */
}

static void freeze(struct cluster_run *run, struct host *host)
{
    int64_t session_ms = run->setting->scenario->session_us / 1000;

    trace(run, "stopped as by a signal", host->number, 0);
    host->is_stopped = true;
    host->stopped_us = run->world->now_us;
    host->awake_us = in_ms(run, (uint64_t)(one_in(run, 3) ? session_ms : 4 * session_ms));
}

static void hear(struct cluster_run *run, struct host *host)
{
    host->is_expelled = false;
    for (unsigned t = 0; t < TASKS_LIMIT; t++)
        if (one_in(run, 2))
            abandon(run, host, t, "hears that the task is gone");
        else
            stop_at_cut(run, host, t);
}

static void look_after_host(struct cluster_run *run, struct host *host)
{
    int64_t now = run->world->now_us;

    if (!host->plan) {
        if (now >= host->back_us)
            start_host(run, host);
        return;
    }
    if (host->is_stopped && !host->is_expelled &&
        now - host->stopped_us > run->setting->scenario->session_us) {
        trace(run, "expelled", host->number, 0);
        host->is_expelled = true;
        take_away_all(run, host, 500);
    }
    if (host->is_stopped && now >= host->awake_us) {
        trace(run, "awake", host->number, 0);
        host->is_stopped = false;
        host->hears_us = in_ms(run, HEARS_MS_MAX);
    }
    if (host->is_expelled && !host->is_stopped && now >= host->hears_us)
        hear(run, host);
}

static bool is_well(const struct host *host)
{
    return host->plan && !host->is_stopped && !host->is_expelled;
}

static void give_tasks(struct cluster_run *run)
{
    for (unsigned t = 0; t < run->setting->scenario->tasks; t++) {
        struct claim *claim = &run->claims[t];
        unsigned chosen = (unsigned)random_below(&run->random, run->setting->scenario->processes);

        if (claim->host != NOBODY || run->world->now_us < claim->due_us || !is_well(&run->hosts[chosen]))
            continue;
        claim->host = (int)chosen;
        run->hosts[chosen].member.tasks |= 1u << t;
        run->hosts[chosen].due_us[t] = 0;
    }
}

/* An engine may only fail when its place is lost, or its disk. */
static void look_after_engine(struct cluster_run *run, struct host *host, unsigned task)
{
    struct error error;

    if (!host->engines[task]) {
        if (run->claims[task].host == (int)host->number && is_well(host) &&
            run->world->now_us >= host->due_us[task])
            start_engine(run, host, task);
        return;
    }
    if (engine_wait(host->engines[task], 0, &error) != STATUS_FATAL || disk_is_off(run->setting->disk))
        return;
    attend(run, host, task);
    if (!run->world->is_lost) {
        world_fail(run->world, "process %u, task %u: %s", host->number, task, error.text);
        return;
    }
    trace(run, error.text, host->number, task);
    abandon(run, host, task, "given up");
    host->due_us[task] = in_ms(run, 3000);
    if (run->claims[task].host == (int)host->number && one_in(run, 3))
        take_away(run, task, 1000);
}

static void look_after_all(struct cluster_run *run)
{
    for (unsigned i = 0; i < run->setting->scenario->processes; i++)
        look_after_host(run, &run->hosts[i]);
    give_tasks(run);
    for (unsigned i = 0; i < run->setting->scenario->processes; i++)
        for (unsigned t = 0; t < run->setting->scenario->tasks && !run->world->failure[0]; t++)
            if (run->hosts[i].plan && !run->hosts[i].is_stopped)
                look_after_engine(run, &run->hosts[i], t);
}

static bool is_complete(const struct cluster_run *run)
{
    for (unsigned t = 0; t < run->setting->scenario->tasks; t++) {
        int owner = run->claims[t].host;

        if (owner == NOBODY || !is_well(&run->hosts[owner]) || !run->hosts[owner].engines[t])
            return false;
    }
    return true;
}

/* Nothing says that all is done: enough rounds in which nothing came in or went out must do. Before that,
 * the rows that flush come when all others are read, or held because they are too far ahead. */
static bool is_quiet(struct cluster_run *run)
{
    struct world *world = run->world;

    if (world->delivered != run->delivered || world->read != run->read || !is_complete(run) ||
        run->steps <= run->trouble_steps || run->full_until_us) {
        run->delivered = world->delivered;
        run->read = world->read;
        run->quiet = 0;
        return false;
    }
    if (++run->quiet <= QUIET_ROUNDS)
        return false;
    if (world->now_us >= run->setting->scenario->flush_us)
        return world_all_read(world);
    world->now_us = run->setting->scenario->flush_us;
    run->quiet = 0;
    return false;
}

static void disturb(struct cluster_run *run)
{
    const struct scenario *scenario = run->setting->scenario;
    struct host *host = &run->hosts[random_below(&run->random, scenario->processes)];
    unsigned dice = (unsigned)random_below(&run->random, 6);

    if (run->disturbances >= DISTURBANCES_MAX || !is_well(host))
        return;
    if (dice == 0 && scenario->has_crashes)
        cut_power(run);
    else if (dice <= 2 && scenario->has_crashes)
        kill_host(run, host);
    else if (dice == 3 && scenario->has_crashes)
        disk_crash_after(run->setting->disk, 1 + (unsigned)random_below(&run->random, 40));
    else if (dice == 4 && scenario->has_rebalances)
        rebalance(run);
    else if (dice == 5 && scenario->has_freezes)
        freeze(run, host);
    else
        return;
    run->disturbances++;
}

static void trouble(struct cluster_run *run)
{
    const struct scenario *scenario = run->setting->scenario;
    struct world *world = run->world;
    int64_t *const down[] = {&world->search_down_us, &world->lines_down_us, &world->pager_down_us};

    switch (random_below(&run->random, 10)) {
    case 0:
        if (scenario->has_full_disk) {
            run->full_until_us = in_ms(run, 20000);
            if (random_below(&run->random, 3))
                disk_fill(run->setting->disk, true);
            else
                disk_break(run->setting->disk, true);
        }
        break;
    case 1:
    case 2:
        if (scenario->has_slow_sinks)
            *down[random_below(&run->random, 3)] = in_ms(run, 20000);
        break;
    case 3:
        if (scenario->has_unreachable_source)
            world->unreachable_us = in_ms(run, 20000);
        break;
    case 4:
        if (scenario->has_starving) {
            run->starved = (unsigned)random_below(&run->random, scenario->tasks);
            run->starved_until = run->steps + random_below(&run->random, 400);
        }
        break;
    default:
        disturb(run);
        break;
    }
}

/* A turn of an engine that is running somewhere, chosen among all of them. */
static void take_turn(struct cluster_run *run)
{
    unsigned tasks = run->setting->scenario->tasks, places = run->setting->scenario->processes * tasks;
    unsigned first = (unsigned)random_below(&run->random, places);

    for (unsigned i = 0; i < places; i++) {
        struct host *host = &run->hosts[(first + i) % places / tasks];
        unsigned task = (first + i) % tasks;

        if (!host->engines[task] || host->is_stopped ||
            (task == run->starved && run->steps < run->starved_until))
            continue;
        attend(run, host, task);
        engine_step(host->engines[task],
                    (unsigned)random_below(&run->random, engine_workers(host->engines[task]) + 1),
                    run->world->now_us);
        return;
    }
}

static void move_clock(struct cluster_run *run)
{
    const struct scenario *scenario = run->setting->scenario;
    struct world *world = run->world;
    uint64_t most_ms = (world->read == 0 || !scenario->backlog ? 400 : 100) / scenario->tasks;

    world->now_us += (int64_t)random_below(&run->random, most_ms) * 1000;
    if (world_all_read(world) && world->now_us < scenario->flush_us)
        world->now_us = scenario->flush_us;
    if (run->full_until_us && world->now_us >= run->full_until_us)
        repair_disk(run);
}

static void step(struct cluster_run *run)
{
    unsigned turns = 2 * run->setting->scenario->tasks;

    if (run->steps < run->trouble_steps && one_in(run, TROUBLE_ONE_IN))
        trouble(run);
    if (run->steps == run->trouble_steps)
        broker_mend(run->broker);
    if (disk_is_off(run->setting->disk))
        cut_power(run);
    if (run->steps % 8 == 0)
        look_after_all(run);
    take_turn(run);
    run->steps++;
    move_clock(run);
    if (run->steps % (4 * turns) == 0)
        run->finished = is_quiet(run);
}

static void end(struct cluster_run *run)
{
    disk_crash_after(run->setting->disk, 0);
    repair_disk(run);
    for (unsigned i = 0; i < run->setting->scenario->processes; i++) {
        struct host *host = &run->hosts[i];

        if (!host->plan)
            continue;
        for (unsigned t = 0; t < TASKS_LIMIT; t++)
            if (run->finished && host->engines[t] && !run->world->failure[0]) {
                attend(run, host, t);
                engine_stop(host->engines[t]);
                free_engine(host, t);
            } else {
                abandon(run, host, t, "left as it is");
            }
        stop_host(run, host);
    }
    run->world->journal = NULL;
}

uint64_t cluster_run(const struct cluster_setting *setting)
{
    struct cluster_run run = {
        .setting = setting, .world = setting->world, .random = setting->scenario->seed + 1};

    run.broker = broker_new(run.world, setting->scenario);
    run.world->is_confirmed = journal_simulated.is_confirmed;
    run.trouble_steps = 2000 + random_below(&run.random, 3000);
    for (unsigned i = 0; i < PROCESSES_LIMIT; i++)
        run.hosts[i] = (struct host){.number = i, .member = {.broker = run.broker}};
    for (unsigned t = 0; t < TASKS_LIMIT; t++)
        run.claims[t].host = NOBODY;
    while (!run.finished && !run.world->failure[0]) {
        step(&run);
        if (run.steps > setting->steps_max)
            world_fail(run.world, "no end after %u steps: somebody waits for nobody", setting->steps_max);
    }
    end(&run);
    broker_free(run.broker);
    texts_sort_once(&run.world->lines);
    return run.steps;
}
