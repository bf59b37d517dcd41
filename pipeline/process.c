/* Whoever calls process_wait is the only one who changes which engines there are; the lock lets page threads
 * read them meanwhile. What takes seconds (an engine replays, stops, is freed) is a job on a thread of the
 * part's own, so that the group is served all the while and the tasks do not wait for each other. */
#include "pipeline/process.h"

#include "base/memory.h"
#include "pipeline/cluster.h"
#include "pipeline/cluster_page.h"
#include "pipeline/feedback.h"
#include "pipeline/health.h"
#include "pipeline/metrics.h"
#include "pipeline/reporter.h"
#include "pipeline/standby.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAUSE_FIRST_S = 1, PAUSE_MOST_S = 30, HEARTBEAT_S = 1, PAGE_BYTES_MAX = 1 << 20 };

enum part_phase {
    PART_ABSENT, /* no engine; opened once it is ours and its pause is over */
    PART_OPENING,
    PART_RUNNING,
    PART_CLOSING, /* its engine has failed and is being freed */
};

struct part { /* of the work: a task, or, without a cluster, all of it */
    struct process *process;
    unsigned number;
    enum part_phase phase;
    struct engine *engine; /* changed under the lock */

    pthread_t thread; /* of the job under way */
    bool threaded;
    _Atomic bool done;      /* the job is; it may be ended without waiting */
    struct engine *at_hand; /* the job's: opened, or to be stopped or freed */
    enum status status;     /* of the opening */
    struct error error;

    int64_t since_us;       /* opened then */
    int64_t pause_until_us; /* not opened before */
    int pause_s;            /* the last one; 0: none yet */
    char *said;             /* the last reason for not opening; NULL: none */
};

struct process {
    const struct plan *plan;
    struct engine_options options;
    struct cluster *cluster;   /* NULL: one engine does the whole work */
    struct standby *standby;   /* of the tasks of others; NULL: none. Changed under the table's lock */
    struct cluster_page *page; /* changed under the lock; NULL: there is none to show */
    struct reporter *reporter; /* NULL: no sink wants metrics */
    process_heartbeat *heartbeat;
    void *heartbeat_owner;
    struct dead_letters *dead_letters;
    struct feedback *feedback; /* for the page; NULL: none is kept */
    int lock;                  /* on the store, cluster only; -1: none */
    struct part *parts;
    unsigned part_count;
    pthread_mutex_t table; /* what page threads read: the engines, `page`, `ended`, and the two below */
    counter *ended;        /* totals of engines that are gone */
    uint64_t mine;         /* bits of the tasks that the group has given to this process */
    bool assigned;         /* the group has said so, and that holds */
    counter failures;      /* of tasks that ran */
};

typedef void part_job(struct part *part);

static int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void say(void *owner, const char *text)
{
    struct process *process = owner;

    if (!process->options.quiet)
        fprintf(stderr, "weir: %s\n", text);
}

static void job_open(struct part *part)
{
    struct process *process = part->process;
    struct engine_options options = process->options;
    const struct engine_task own = {.journal = &journal_kafka,
                                    .cluster = process->cluster,
                                    .number = part->number,
                                    .count = process->part_count};

    options.task = &own;
    if (process->standby) /* the file and the changelog are the engine's from here on */
        standby_release(process->standby, part->number);
    part->status = engine_start(process->plan, &options, &part->at_hand, &part->error);
}

static void job_free(struct part *part)
{
    engine_free(part->at_hand);
}

static void job_stop(struct part *part)
{
    engine_stop(part->at_hand);
}

static void job_stop_at_cut(struct part *part)
{
    engine_stop_at_cut(part->at_hand);
}

struct job_start {
    struct part *part;
    part_job *job;
};

static void *run_job(void *argument)
{
    struct job_start start = *(struct job_start *)argument;

    free(argument);
    start.job(start.part);
    atomic_store(&start.part->done, true);
    return NULL;
}

/* Without a thread to be had it is done here and now. */
static void begin_job(struct part *part, part_job *job, struct engine *engine)
{
    struct job_start *start = memory_new(sizeof *start);

    assert(!part->threaded);
    *start = (struct job_start){.part = part, .job = job};
    part->at_hand = engine;
    atomic_store(&part->done, false);
    part->threaded = pthread_create(&part->thread, NULL, run_job, start) == 0;
    if (!part->threaded)
        run_job(start);
}

/* Waits for it; what takes long is not mistaken for a process that hangs. */
static void end_job(struct part *part)
{
    const struct process *process = part->process;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    while (part->threaded) {
        until.tv_sec += HEARTBEAT_S;
        part->threaded = pthread_clockjoin_np(part->thread, NULL, CLOCK_MONOTONIC, &until) == ETIMEDOUT;
        if (part->threaded && process->heartbeat)
            process->heartbeat(process->heartbeat_owner);
    }
}

/* Page threads see it from now on, or no longer. */
static void show_engine(struct part *part, struct engine *engine)
{
    struct process *process = part->process;
    struct metrics_engine figures;

    pthread_mutex_lock(&process->table);
    if (part->engine) {
        engine_figures(part->engine, &figures);
        metrics_keep(&figures, process->ended);
    }
    part->engine = engine;
    pthread_mutex_unlock(&process->table);
}

/* The next one is twice as long, unless the task has run well in between. */
static void begin_pause(struct part *part, int64_t now_us)
{
    bool ran = part->since_us && now_us - part->since_us > (int64_t)PAUSE_MOST_S * 1000000;

    if (ran || !part->pause_s)
        part->pause_s = PAUSE_FIRST_S;
    else
        part->pause_s = part->pause_s * 2 < PAUSE_MOST_S ? part->pause_s * 2 : PAUSE_MOST_S;
    part->since_us = 0;
    part->pause_until_us = now_us + (int64_t)part->pause_s * 1000000;
}

static void forget_said(struct part *part)
{
    free(part->said);
    part->said = NULL;
}

/* `again`: also when it was the last thing said. */
static void say_reason(struct part *part, const char *reason, bool again)
{
    char text[sizeof part->error.text + 64];

    if (!again && part->said && strcmp(part->said, reason) == 0)
        return;
    forget_said(part);
    part->said = memory_text(reason, strlen(reason));
    snprintf(text, sizeof text, "task %u: %s; opened again in %d s", part->number, reason, part->pause_s);
    say(part->process, text);
}

/* An outage (STATUS_RETRY) is said once, what a person must mend (STATUS_FATAL) each time. */
static void end_opening(struct part *part, int64_t now_us)
{
    end_job(part);
    if (part->status == STATUS_OK) {
        part->phase = PART_RUNNING;
        part->since_us = now_us;
        forget_said(part);
        show_engine(part, part->at_hand);
        return;
    }
    part->phase = PART_ABSENT;
    begin_pause(part, now_us);
    say_reason(part, part->error.text, part->status == STATUS_FATAL);
}

static void give_up(struct part *part, const char *reason, int64_t now_us)
{
    struct engine *engine = part->engine;

    begin_pause(part, now_us);
    say_reason(part, reason, true);
    show_engine(part, NULL);
    counter_add(&part->process->failures, 1);
    part->phase = PART_CLOSING;
    begin_job(part, job_free, engine);
}

static void look_after(struct part *part, int64_t now_us)
{
    bool mine = part->process->mine >> part->number & 1;
    struct error error;

    assert(mine || part->phase == PART_ABSENT); /* a release comes before another assignment */
    switch (part->phase) {
    case PART_ABSENT:
        if (mine && now_us >= part->pause_until_us) {
            part->phase = PART_OPENING;
            begin_job(part, job_open, NULL);
        } else if (!mine && part->process->standby) {
            standby_follow(part->process->standby, part->number);
        }
        break;
    case PART_OPENING:
        if (atomic_load(&part->done))
            end_opening(part, now_us);
        break;
    case PART_RUNNING:
        if (engine_wait(part->engine, 0, &error) == STATUS_FATAL)
            give_up(part, error.text, now_us);
        break;
    case PART_CLOSING:
        if (atomic_load(&part->done)) {
            end_job(part);
            part->phase = PART_ABSENT;
        }
    }
}

static void stop_engines(struct process *process, part_job *stop)
{
    struct part *first = process->parts, *end = first + process->part_count;

    if (process->cluster)
        cluster_hurry(process->cluster, true);
    for (struct part *part = first; part < end; part++)
        if (part->phase == PART_RUNNING)
            begin_job(part, stop, part->engine);
    for (struct part *part = first; part < end; part++) {
        if (part->phase != PART_OPENING)
            continue;
        end_job(part);
        part->phase = part->status == STATUS_OK ? PART_RUNNING : PART_ABSENT;
        if (part->phase == PART_RUNNING) {
            show_engine(part, part->at_hand);
            begin_job(part, stop, part->engine);
        }
    }
    for (struct part *part = first; part < end; part++)
        end_job(part);
    if (process->cluster)
        cluster_hurry(process->cluster, false);
}

static void free_engines(struct process *process)
{
    struct part *first = process->parts, *end = first + process->part_count;

    for (struct part *part = first; part < end; part++) {
        struct engine *engine = part->engine;

        if (!engine)
            continue;
        show_engine(part, NULL);
        begin_job(part, job_free, engine);
    }
    for (struct part *part = first; part < end; part++) {
        end_job(part);
        part->phase = PART_ABSENT;
    }
}

static void set_tasks(struct process *process, uint64_t mine, bool assigned)
{
    pthread_mutex_lock(&process->table);
    process->mine = mine;
    process->assigned = assigned;
    pthread_mutex_unlock(&process->table);
}

/* What comes back begins afresh: another process may have had it meanwhile. */
static void release(void *owner)
{
    struct process *process = owner;

    set_tasks(process, 0, false);
    stop_engines(process, job_stop_at_cut);
    free_engines(process);
    for (unsigned i = 0; i < process->part_count; i++) {
        struct part *part = &process->parts[i];

        part->since_us = part->pause_until_us = 0;
        part->pause_s = 0;
        forget_said(part);
    }
}

static struct process *process_new(const struct plan *plan, const struct engine_options *options)
{
    struct process *process = memory_new(sizeof *process);

    *process = (struct process){.plan = plan,
                                .options = *options,
                                .lock = -1,
                                .part_count = plan->cluster.enabled ? (unsigned)plan->cluster.tasks : 1,
                                .ended = memory_new(metrics_count(plan) * sizeof(counter))};
    process->parts = memory_new(process->part_count * sizeof *process->parts);
    for (unsigned i = 0; i < process->part_count; i++)
        process->parts[i] = (struct part){.process = process, .number = i};
    pthread_mutex_init(&process->table, NULL);
    return process;
}

static enum status start_engine(struct process *process, struct error *error)
{
    struct part *whole = &process->parts[0];
    enum status status = engine_start(process->plan, &process->options, &whole->at_hand, error);

    if (status != STATUS_OK)
        return status;
    whole->phase = PART_RUNNING;
    show_engine(whole, whole->at_hand);
    process->dead_letters = engine_dead_letters(whole->engine);
    return STATUS_OK;
}

static enum status start_standby(struct process *process, struct error *error)
{
    const struct standby_options options = {.changelog = &changelog_kafka,
                                            .cluster = process->cluster,
                                            .store_path = process->plan->store.path,
                                            .tasks = process->part_count,
                                            .warn = say,
                                            .owner = process};

    return process->plan->cluster.standby ? standby_start(&options, &process->standby, error) : STATUS_OK;
}

static void stop_standby(struct process *process)
{
    struct standby *standby = process->standby;

    pthread_mutex_lock(&process->table);
    process->standby = NULL;
    pthread_mutex_unlock(&process->table);
    standby_stop(standby);
}

/* The cluster is left with no journal open. */
static void leave(struct process *process)
{
    struct cluster_page *page = process->page;

    if (!process->cluster)
        return;
    free_engines(process);
    stop_standby(process);
    pthread_mutex_lock(&process->table);
    process->page = NULL;
    pthread_mutex_unlock(&process->table);
    if (page)
        cluster_page_close(page);
    cluster_close(process->cluster);
    process->cluster = NULL;
}

static enum status join_cluster(struct process *process, struct error *error)
{
    const struct plan *plan = process->plan;
    struct cluster_hooks hooks = {.release = release, .warn = say, .owner = process};
    enum status status = store_lock(plan->store.path, &process->lock, error);

    if (status == STATUS_OK)
        status = dead_letters_open(plan->store.path,
                                   &(struct store_options){.limit_bytes = plan->store.limit_bytes,
                                                           .history_us = plan->store.history_us},
                                   &process->dead_letters, error);
    if (status != STATUS_OK)
        return status;
    dead_letters_set_limit(process->dead_letters, plan->limits.dead_letter_bytes);
    status = cluster_open(plan, &hooks, &process->cluster, error);
    if (status == STATUS_OK)
        status = start_standby(process, error);
    if (status == STATUS_OK && process->options.view)
        status = cluster_page_open(process->cluster, process->options.view, &process->page, error);
    if (status != STATUS_OK)
        leave(process);
    return status;
}

/* What people say of alerts; without it the rest works. */
static void open_feedback(struct process *process)
{
    const struct store_options options = {.limit_bytes = 0};
    struct error error;

    if (process->options.view && process->options.mode != ENGINE_REPLAY &&
        feedback_open(process->plan->store.path, &options, &process->feedback, &error) != STATUS_OK)
        say(process, error.text);
}

enum status process_start(const struct plan *plan, const struct engine_options *options,
                          struct process **ret_process, struct error *ret_error)
{
    struct process *process = process_new(plan, options);
    enum status status;

    assert(!options->task && (!plan->cluster.enabled || options->mode == ENGINE_LIVE));
    status = reporter_open(&(struct reporter_options){.plan = plan, .warn = say, .owner = process},
                           &process->reporter, ret_error);
    if (status == STATUS_OK)
        status = plan->cluster.enabled ? join_cluster(process, ret_error) : start_engine(process, ret_error);
    if (status == STATUS_OK) {
        open_feedback(process);
        *ret_process = process;
    } else {
        leave(process);
        process_free(process);
    }
    return status;
}

static void report(struct process *process)
{
    int64_t now_us = wall_us();
    struct buffer page;

    if (!process->reporter)
        return;
    if (reporter_is_due(process->reporter, now_us)) {
        buffer_init(&page, PAGE_BYTES_MAX);
        process_metrics(process, &page);
        reporter_tell(process->reporter, buffer_span(&page), now_us);
        buffer_free(&page);
    }
    reporter_advance(process->reporter, now_us);
}

enum status process_wait(struct process *process, int wait_ms, struct error *ret_error)
{
    uint64_t mine;
    enum status status;

    report(process);
    if (!process->cluster)
        return engine_wait(process->parts[0].engine, wait_ms, ret_error);
    status = cluster_poll(process->cluster, wait_ms, &mine, ret_error);
    if (status == STATUS_FATAL)
        return status;
    set_tasks(process, mine, cluster_is_assigned(process->cluster));
    if (process->page)
        cluster_page_poll(process->page);
    for (unsigned i = 0; i < process->part_count; i++)
        look_after(&process->parts[i], monotonic_us());
    return STATUS_RETRY;
}

void process_stop(struct process *process)
{
    stop_engines(process, job_stop);
    leave(process);
}

void process_stop_at_cut(struct process *process)
{
    stop_engines(process, job_stop_at_cut);
    leave(process);
}

void process_set_heartbeat(struct process *process, process_heartbeat *heartbeat, void *owner)
{
    process->heartbeat = heartbeat;
    process->heartbeat_owner = owner;
}

bool process_is_alive(struct process *process)
{
    bool alive = true;

    for (unsigned i = 0; i < process->part_count; i++)
        alive &= !process->parts[i].engine || engine_is_alive(process->parts[i].engine);
    return alive;
}

void process_free(struct process *process)
{
    assert(!process->cluster);
    free_engines(process);
    for (unsigned i = 0; i < process->part_count; i++)
        forget_said(&process->parts[i]);
    if (process->plan->cluster.enabled)
        dead_letters_close(process->dead_letters);
    feedback_close(process->feedback);
    reporter_close(process->reporter);
    store_unlock(process->lock);
    pthread_mutex_destroy(&process->table);
    free(process->parts);
    free(process->ended);
    free(process);
}

bool process_is_ready(struct process *process)
{
    bool ready = true;

    pthread_mutex_lock(&process->table);
    if (process->plan->cluster.enabled)
        ready = process->assigned;
    for (unsigned i = 0; i < process->part_count; i++) {
        const struct engine *engine = process->parts[i].engine;

        if (engine)
            ready &= engine_is_ready(engine);
        else
            ready &= !(process->mine >> i & 1);
    }
    pthread_mutex_unlock(&process->table);
    return ready;
}

static void write_tasks(const struct process *process, size_t running, struct buffer *out)
{
    buffer_print(out,
                 "# HELP weir_tasks tasks of the cluster that are this process's\n# TYPE weir_tasks gauge\n"
                 "weir_tasks %d\n",
                 __builtin_popcountll(process->mine));
    buffer_print(out,
                 "# HELP weir_tasks_running those of them that work\n# TYPE weir_tasks_running gauge\n"
                 "weir_tasks_running %zu\n",
                 running);
    buffer_print(out,
                 "# HELP weir_task_failures_total tasks that failed here while they ran\n"
                 "# TYPE weir_task_failures_total counter\nweir_task_failures_total %llu\n",
                 (unsigned long long)counter_get(&process->failures));
}

static void write_standby(const struct process *process, struct buffer *out)
{
    buffer_print(out, "# HELP weir_standby_lag offsets of the changelog of another process's task that the "
                      "warm copy here does not have\n# TYPE weir_standby_lag gauge\n");
    for (unsigned i = 0; i < process->part_count; i++) {
        int64_t behind = standby_behind(process->standby, i);

        if (behind >= 0)
            buffer_print(out, "weir_standby_lag{task=\"%u\"} %lld\n", i, (long long)behind);
    }
}

static void write_page(const struct cluster_page *page, struct buffer *out)
{
    const struct cluster_page_figures figures = cluster_page_figures(page);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"page_lines_sent_total", "lines told to the pages of other processes", figures.sent},
        {"page_lines_dropped_total", "lines that were too many to be told to them", figures.dropped},
        {"page_lines_received_total", "lines that others have told to this page", figures.received},
        {"page_messages_broken_total", "messages to pages that cannot be read", figures.broken_messages},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        buffer_print(out, "# HELP weir_%s %s\n# TYPE weir_%s counter\nweir_%s %llu\n", rows[i].name,
                     rows[i].help, rows[i].name, rows[i].name, (unsigned long long)rows[i].value);
}

void process_metrics(struct process *process, struct buffer *out)
{
    struct metrics_engine engines[WORKERS_MAX];
    struct metrics_source source = {.plan = process->plan, .ended = process->ended, .engines = engines};

    pthread_mutex_lock(&process->table);
    for (unsigned i = 0; i < process->part_count; i++)
        if (process->parts[i].engine)
            engine_figures(process->parts[i].engine, &engines[source.count++]);
    metrics_write(&source, out);
    if (process->plan->cluster.enabled)
        write_tasks(process, source.count, out);
    if (process->standby)
        write_standby(process, out);
    if (process->page)
        write_page(process->page, out);
    pthread_mutex_unlock(&process->table);
}

void process_health(struct process *process, int64_t now_us, struct buffer *out)
{
    struct metrics_engine engines[WORKERS_MAX];
    struct letter_totals letters;
    struct health_source source = {
        .metrics = {.plan = process->plan, .ended = process->ended, .engines = engines},
        .letters = process->dead_letters ? &letters : NULL,
        .now_us = now_us,
        .ready = process_is_ready(process)};

    if (process->dead_letters) /* may wait for the disk */
        letters.status =
            dead_letters_count(process->dead_letters, &letters.letters, &letters.bytes, &letters.error);
    pthread_mutex_lock(&process->table);
    for (unsigned i = 0; i < process->part_count; i++)
        if (process->parts[i].engine)
            engine_figures(process->parts[i].engine, &engines[source.metrics.count++]);
    source.tasks = process->mine;
    source.assigned = process->assigned;
    health_write(&source, out);
    pthread_mutex_unlock(&process->table);
}

void process_rules(struct process *process, struct buffer *out)
{
    health_write_rules(process->plan, out);
}

struct dead_letters *process_dead_letters(struct process *process)
{
    return process->dead_letters;
}

struct feedback *process_feedback(struct process *process)
{
    return process->feedback;
}
