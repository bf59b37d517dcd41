/* The whole program in one thread, under a clock, a disk, a broker and sinks that are simulated: every
 * turn, delay and fault follows from a seed. Each seed runs twice, once without any trouble; both must
 * tell what the naive reference says, and the same bytes.
 *
 * usage: simulate [--seeds A-B] [--seed N [--trace]] [--cluster] [--plant NAME]
 * --cluster: only the seeds that are a cluster. */
#include "base/memory.h"
#include "pipeline/engine.h"
#include "tests/base/random.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/reference.h"
#include "tests/simulation/summary.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_MAX = 400000, QUIET_ROUNDS = 60, WORKERS_LIMIT = 4, DEATHS_MAX = 4 };

struct options {
    uint64_t first, last;
    bool trace, lies, clusters;
    struct plants plants;
    char folder[32];
};

/* One run of a scenario: the engines that follow one another on one world and one disk. */
struct drive {
    const struct options *options;
    const struct scenario *scenario;
    struct world world;
    struct disk *disk;
    struct stores stores;
    char plan_path[STORE_PATH_BYTES];
    struct plan *plan;
    struct plan_outside outside;
    struct engine *engine;
    uint64_t random, steps;
    unsigned deaths, starved, quiet;
    uint64_t starved_until, delivered, read; /* steps; what the world had when something moved last */
    int64_t full_until_us;
    bool finished;
};

static void trace(const struct drive *drive, const char *what)
{
    if (drive->options->trace)
        printf("%s step %llu, %.3f s: %s\n", drive->world.calm ? "calm" : "wild",
               (unsigned long long)drive->steps,
               (double)(drive->world.now_us - drive->scenario->start_us) / 1e6, what);
}

static void write_plan(const struct drive *drive)
{
    FILE *file = fopen(drive->plan_path, "w");

    if (!file || fputs(drive->scenario->yaml, file) < 0 || fclose(file) != 0) {
        perror(drive->plan_path);
        exit(3);
    }
}

static void load_plan(struct drive *drive)
{
    bool calm = drive->world.calm;
    char workers[32], batch[32];
    const char *assignments[] = {workers, batch, "cluster.enabled=false"};
    struct error error;

    snprintf(workers, sizeof workers, "workers=%u",
             calm ? 1 : 1 + (unsigned)random_below(&drive->random, WORKERS_LIMIT));
    snprintf(batch, sizeof batch, "batch_rows=%u",
             calm ? 1024 : 1 + (unsigned)random_below(&drive->random, 40));
    if (plan_load(drive->plan_path, assignments, 2 + drive->scenario->is_cluster, &drive->plan, &error) !=
        STATUS_OK) {
        fprintf(stderr, "simulate: %s\n", error.text);
        exit(3);
    }
    plan_take(drive->plan, &drive->world, &drive->outside);
}

static void unload_plan(struct drive *drive)
{
    plan_give_back(drive->plan, &drive->outside);
    plan_free(drive->plan);
    drive->plan = NULL;
}

static bool begin_life(struct drive *drive)
{
    struct engine_options options = {.mode = drive->scenario->live ? ENGINE_LIVE : ENGINE_ONCE,
                                     .quiet = !drive->options->trace,
                                     .stepped = true,
                                     .store_vfs = disk_vfs(drive->disk)};
    struct error error;

    world_begin_life(&drive->world);
    load_plan(drive);
    trace(drive, "start");
    if (engine_start(drive->plan, &options, &drive->engine, &error) == STATUS_OK)
        return true;
    world_fail(&drive->world, "start %u: %s", drive->world.lives, error.text);
    drive->engine = NULL;
    unload_plan(drive);
    return false;
}

static void end_life(struct drive *drive)
{
    engine_free(drive->engine);
    drive->engine = NULL;
    unload_plan(drive);
}

static void repair_disk(struct drive *drive)
{
    drive->full_until_us = 0;
    disk_fill(drive->disk, false);
    disk_break(drive->disk, false);
}

/* A kill or a power cut in the middle of everything. */
static bool crash(struct drive *drive)
{
    bool loses = drive->scenario->loses_store && drive->deaths == 0;

    trace(drive, loses ? "crash, and the disk is lost" : "crash");
    drive->deaths++;
    engine_abandon(drive->engine);
    disk_crash(drive->disk);
    end_life(drive);
    disk_restart(drive->disk);
    repair_disk(drive); /* a start that cannot write ends with a message, and somebody mends it */
    if (loses) {
        disk_wipe(drive->disk);
        drive->world.store_lost = true;
    }
    return begin_life(drive);
}

static bool stop(struct drive *drive)
{
    if (disk_is_off(drive->disk)) /* the power is cut already */
        return crash(drive);
    trace(drive, "stop");
    drive->deaths++;
    disk_crash_after(drive->disk, 0);
    repair_disk(drive);
    engine_stop(drive->engine);
    end_life(drive);
    drive->world.now_us += 15 * SIM_SECOND_US;
    return begin_life(drive);
}

static int64_t some_seconds(struct drive *drive)
{
    return drive->world.now_us + (int64_t)(1 + random_below(&drive->random, 20000)) * 1000;
}

/* Now and then one of the troubles that the scenario has. */
static bool trouble(struct drive *drive)
{
    const struct scenario *scenario = drive->scenario;
    struct world *world = &drive->world;

    switch (random_below(&drive->random, 8)) {
    case 0:
        if (!scenario->has_crashes || drive->deaths >= DEATHS_MAX)
            break;
        if (random_below(&drive->random, 2))
            return crash(drive);
        disk_crash_after(drive->disk, 1 + (unsigned)random_below(&drive->random, 40));
        break;
    case 1:
        if (scenario->has_stops && drive->deaths < DEATHS_MAX)
            return stop(drive);
        break;
    case 2:
        if (scenario->has_full_disk) {
            trace(drive, "disk full, or broken for a while");
            drive->full_until_us = some_seconds(drive);
            if (random_below(&drive->random, 3))
                disk_fill(drive->disk, true);
            else
                disk_break(drive->disk, true);
        }
        break;
    case 3:
    case 4:
        if (scenario->has_slow_sinks) {
            int64_t *const down[] = {&world->search_down_us, &world->lines_down_us, &world->pager_down_us};

            trace(drive, "a sink is down");
            *down[random_below(&drive->random, 3)] = some_seconds(drive);
        }
        break;
    case 5:
        if (scenario->has_unreachable_source)
            world->unreachable_us = some_seconds(drive);
        break;
    default:
        if (scenario->has_starving) {
            drive->starved = (unsigned)random_below(&drive->random, engine_workers(drive->engine) + 1);
            drive->starved_until = drive->steps + random_below(&drive->random, 400);
        }
        break;
    }
    return true;
}

static unsigned choose_worker(struct drive *drive)
{
    unsigned turns = engine_workers(drive->engine) + 1;
    unsigned worker =
        (unsigned)(drive->world.calm ? drive->steps % turns : random_below(&drive->random, turns));

    if (worker == drive->starved && drive->steps < drive->starved_until)
        worker = (worker + 1) % turns;
    return worker;
}

/* Live nothing says that all is done: enough rounds in which nothing came in or went out must do. */
static bool is_quiet(struct drive *drive)
{
    struct world *world = &drive->world;

    if (world->delivered != drive->delivered || world->read != drive->read || !world_all_read(world) ||
        drive->full_until_us) {
        drive->delivered = world->delivered;
        drive->read = world->read;
        drive->quiet = 0;
        return false;
    }
    return ++drive->quiet > QUIET_ROUNDS;
}

static void move_clock(struct drive *drive)
{
    struct world *world = &drive->world;
    bool slow = world->calm || drive->scenario->backlog;
    int64_t most_ms = world->read == 0 || !slow ? 400 : 100;

    world->now_us += (int64_t)random_below(&drive->random, (uint64_t)most_ms) * 1000;
    if (drive->scenario->live && world_all_read(world) && world->now_us < drive->scenario->flush_us)
        world->now_us = drive->scenario->flush_us;
    if (drive->full_until_us && world->now_us >= drive->full_until_us)
        repair_disk(drive);
}

static void step(struct drive *drive)
{
    unsigned turns = engine_workers(drive->engine) + 1;
    struct error error;

    engine_step(drive->engine, choose_worker(drive), drive->world.now_us);
    drive->steps++;
    move_clock(drive);
    if (drive->steps % 16 == 0) {
        enum status status = engine_wait(drive->engine, 0, &error);

        if (status == STATUS_FATAL)
            world_fail(&drive->world, "%s", error.text);
        drive->finished = !drive->scenario->live && status == STATUS_OK;
    }
    if (drive->scenario->live && drive->steps % (4 * turns) == 0)
        drive->finished = is_quiet(drive);
    if (disk_is_off(drive->disk)) /* a power cut in the last step: there is another life */
        drive->finished = false;
}

static void drive_on(struct drive *drive)
{
    bool alive = begin_life(drive);
    uint64_t trouble_steps = 2000 + random_below(&drive->random, 3000);

    while (alive && !drive->finished && !drive->world.failure[0]) {
        if (!drive->world.calm && drive->steps < trouble_steps && random_below(&drive->random, 150) == 0)
            alive = trouble(drive);
        if (alive && disk_is_off(drive->disk))
            alive = crash(drive);
        if (alive)
            step(drive);
        if (drive->steps > STEPS_MAX)
            world_fail(&drive->world, "no end after %u steps: somebody waits for nobody",
                       (unsigned)STEPS_MAX);
    }
    if (!drive->engine)
        return;
    trace(drive, "end");
    disk_crash_after(drive->disk, 0);
    if (drive->finished) /* a failed one is left as it is */
        engine_stop(drive->engine);
    else
        engine_abandon(drive->engine);
    end_life(drive);
}

static void drive_cluster(struct drive *drive)
{
    drive->steps = cluster_run(&(struct cluster_setting){.scenario = drive->scenario,
                                                         .world = &drive->world,
                                                         .disk = drive->disk,
                                                         .folder = drive->options->folder,
                                                         .plan_path = drive->plan_path,
                                                         .steps_max = STEPS_MAX,
                                                         .trace = drive->options->trace});
}

static void drive_open(struct drive *drive, const struct options *options, const struct scenario *scenario,
                       bool calm)
{
    *drive = (struct drive){.options = options, .scenario = scenario, .random = scenario->seed + !calm};
    world_init(&drive->world, scenario, calm);
    if (!calm)
        drive->world.plants = options->plants;
    drive->disk = disk_new(scenario->seed);
    disk_lie(drive->disk, options->lies && !calm);
    drive->stores = (struct stores){.count = 1, .vfs = disk_vfs(drive->disk)};
    if (drive->world.is_shared)
        cluster_stores(options->folder, scenario->processes, &drive->stores);
    else
        snprintf(drive->stores.paths[0], STORE_PATH_BYTES, "%s/weir.db", options->folder);
    snprintf(drive->plan_path, sizeof drive->plan_path, "%s/plan.yaml", options->folder);
    write_plan(drive);
}

/* What must have come out, from the rows alone. */
static void check_facts(struct drive *drive)
{
    struct expected expected;
    struct texts facts;

    load_plan(drive);
    reference_expect(drive->scenario, drive->plan, &expected);
    unload_plan(drive);
    if (summary_take(&drive->world, &drive->stores, &facts))
        texts_compare(&drive->world, "reference", &expected.facts, &facts);
    texts_truncate(&facts, 0);
    expected_free(&expected);
    summary_check_notes(&drive->world);
}

/* A world that lost its store still has every raw document or its dead letter, but those letters that were
 * in it. */
static void check_events(struct drive *drive)
{
    struct expected expected;
    struct texts told = {0};
    size_t at = 0;

    load_plan(drive);
    reference_expect(drive->scenario, drive->plan, &expected);
    unload_plan(drive);
    summary_take(&drive->world, &drive->stores, &told);
    for (size_t i = 0; i < expected.facts.count; i++) {
        if (strncmp(expected.facts.items[i], "event ", 6) != 0)
            continue;
        while (at < told.count && strcmp(told.items[at], expected.facts.items[i]) < 0)
            at++;
        if (at == told.count || strcmp(told.items[at], expected.facts.items[i]) != 0)
            world_fail(&drive->world, "lost with the store: %s", expected.facts.items[i]);
    }
    texts_truncate(&told, 0);
    expected_free(&expected);
}

static void list_documents(const struct world *world, struct texts *ret_texts)
{
    *ret_texts = (struct texts){0};
    for (uint32_t i = 0; i < world->ids.next; i++)
        texts_add(ret_texts, world->documents[i].body, strlen(world->documents[i].body));
    texts_sort(ret_texts);
}

/* The same bytes, whatever happened on the way. */
static void check_same(struct drive *wild, struct drive *calm)
{
    struct texts left, right;

    texts_sort(&wild->world.lines);
    texts_sort(&calm->world.lines);
    if (!texts_compare(&wild->world, "lines", &calm->world.lines, &wild->world.lines))
        return;
    list_documents(&calm->world, &left);
    list_documents(&wild->world, &right);
    texts_compare(&wild->world, "documents", &left, &right);
    texts_truncate(&left, 0);
    texts_truncate(&right, 0);
}

static bool report(const struct drive *drive)
{
    if (!drive->world.failure[0])
        return true;
    printf("seed %llu, %s, step %llu: %s\n  again: simulate --seed %llu --trace\n",
           (unsigned long long)drive->scenario->seed, drive->world.calm ? "without trouble" : "with trouble",
           (unsigned long long)drive->steps, drive->world.failure, (unsigned long long)drive->scenario->seed);
    return false;
}

static bool simulate(const struct options *options, uint64_t seed)
{
    struct scenario scenario;
    struct drive calm, wild;
    char store_path[STORE_PATH_BYTES];
    bool right;

    snprintf(store_path, sizeof store_path, "%s/weir.db", options->folder);
    scenario_make(seed, store_path, &scenario);
    if (options->clusters && !scenario.is_cluster) {
        scenario_free(&scenario);
        return true;
    }
    drive_open(&calm, options, &scenario, true);
    drive_on(&calm);
    if (!calm.world.failure[0])
        check_facts(&calm);
    right = report(&calm);
    disk_free(calm.disk); /* one at a time */
    drive_open(&wild, options, &scenario, false);
    if (right && wild.world.is_shared)
        drive_cluster(&wild);
    else if (right)
        drive_on(&wild);
    if (right && !wild.world.failure[0]) {
        if (wild.world.store_lost)
            check_events(&wild);
        else
            check_facts(&wild);
        if (!wild.world.failure[0] && !wild.world.store_lost)
            check_same(&wild, &calm);
    }
    right = report(&wild) && right;
    disk_free(wild.disk);
    world_free(&wild.world);
    world_free(&calm.world);
    scenario_free(&scenario);
    return right;
}

static bool read_plant(const char *name, struct options *options)
{
    const struct {
        const char *name;
        bool *fault;
    } plants[] = {
        {"overwrite", &options->plants.overwrites},
        {"resend", &options->plants.resends},
        {"lie", &options->lies},
        {"loose-parcels", &options->plants.loose_parcels},
        {"inbox-low", &options->plants.inbox_low},
        {"inbox-high", &options->plants.inbox_high},
        {"unfenced", &options->plants.unfenced},
    };

    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++)
        if (strcmp(name, plants[i].name) == 0)
            return *plants[i].fault = true;
    return false;
}

static bool read_options(int count, char **arguments, struct options *options)
{
    for (int i = 1; i < count; i++) {
        const char *name = arguments[i], *value = i + 1 < count ? arguments[i + 1] : "";
        char *end = NULL;

        if (strcmp(name, "--trace") == 0) {
            options->trace = true;
            continue;
        }
        if (strcmp(name, "--cluster") == 0) {
            options->clusters = true;
            continue;
        }
        i++;
        if (strcmp(name, "--seeds") == 0 || strcmp(name, "--seed") == 0) {
            options->first = options->last = strtoull(value, &end, 10);
            if (*end == '-')
                options->last = strtoull(end + 1, &end, 10);
            if (end == value || *end)
                return false;
        } else if (strcmp(name, "--plant") == 0) {
            if (!read_plant(value, options))
                return false;
        } else {
            return false;
        }
    }
    return true;
}

int main(int count, char **arguments)
{
    struct options options = {.first = 1, .last = 200, .folder = "/tmp/weir-simulation-XXXXXX"};
    uint64_t wrong = 0;
    char path[STORE_PATH_BYTES];

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!read_options(count, arguments, &options) || !mkdtemp(options.folder)) {
        fputs("usage: simulate [--seeds A-B] [--seed N] [--trace] [--cluster] [--plant NAME]\n", stderr);
        return 2;
    }
    for (uint64_t seed = options.first; seed <= options.last && wrong == 0; seed++)
        wrong += !simulate(&options, seed);
    static const char *const names[] = {"weir.db", "weir.db.lock", "weir.db-lock", "plan.yaml"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", options.folder, names[i]);
        unlink(path);
    }
    rmdir(options.folder);
    if (!wrong)
        printf("%llu seeds, all right\n", (unsigned long long)(options.last - options.first + 1));
    return wrong > 0;
}
