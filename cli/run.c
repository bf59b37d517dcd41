/* weir run: the sources live, until a signal or (--once) the end of input. SIGHUP reads the configuration
 * again: an invalid one is refused and the old one goes on; else what runs stops at a cut and what the new
 * one says goes on from it. */
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/service.h"
#include "pipeline/process.h"
#include "serve/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 100 };

/* No stop and no change of tasks takes longer, even while no broker answers. */
#define LONG_WAIT_US (300 * INT64_C(1000000))

static volatile sig_atomic_t stop_asked, reload_asked;

struct running {
    struct file_arguments arguments;
    struct engine_options options;
    struct plan *plan;
    struct process *process;
    struct server *server; /* NULL: no page */
    char *listen;          /* what it was started with */
    char address[64];
    int64_t watchdog_us, watched_us;
    int64_t turned_us; /* the last turn of a loop here */
};

static void ask_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static void ask_reload(int signal_number)
{
    (void)signal_number;
    reload_asked = 1;
}

static void ask_reload_by_page(void)
{
    reload_asked = 1;
}

static void install_signals(void)
{
    struct sigaction stop = {.sa_handler = ask_stop, .sa_flags = (int)SA_RESETHAND};
    struct sigaction reload = {.sa_handler = ask_reload, .sa_flags = SA_RESTART};

    sigaction(SIGINT, &stop, NULL); /* a second one ends the process at once */
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &reload, NULL);
}

static int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool watchdog_is_due(struct running *running)
{
    int64_t now_us = monotonic_us();

    if (running->watchdog_us == 0 || now_us - running->watched_us < running->watchdog_us / 3)
        return false;
    running->watched_us = now_us;
    return true;
}

/* While every worker turns. */
static void feed_watchdog(struct running *running)
{
    running->turned_us = monotonic_us();
    if (watchdog_is_due(running) && process_is_alive(running->process))
        service_tell("WATCHDOG=1");
}

/* While tasks are stopped, or the brokers are waited for. */
static void feed_watchdog_waiting(void *owner)
{
    struct running *running = owner;

    if (watchdog_is_due(running) && monotonic_us() - running->turned_us < LONG_WAIT_US)
        service_tell("WATCHDOG=1");
}

/* NULL: refused, the reason is printed. */
static struct plan *load_plan(const struct running *running)
{
    struct plan *plan = arguments_plan(&running->arguments);

    if (plan && plan->cluster.enabled && running->options.mode == ENGINE_ONCE) {
        fprintf(stderr,
                "weir run: --once: the processes of a cluster share no end of input; leave out --once, or "
                "add --set cluster.enabled=false\n");
        plan_free(plan);
        return NULL;
    }
    return plan;
}

/* Another process may have the store, or no broker answers yet. STATUS_RETRY: asked to stop meanwhile. */
static enum status start_process(struct running *running, const struct plan *plan, struct error *ret_error)
{
    struct error said = {.text = ""};

    for (;;) {
        enum status status = process_start(plan, &running->options, &running->process, ret_error);

        if (status == STATUS_OK)
            process_set_heartbeat(running->process, feed_watchdog_waiting, running);
        if (status != STATUS_RETRY || stop_asked)
            return status;
        running->turned_us = monotonic_us();
        feed_watchdog_waiting(running);
        if (strcmp(said.text, ret_error->text) != 0)
            fprintf(stderr, "weir: %s; waits until that changes\n", ret_error->text);
        said = *ret_error;
        usleep(WAIT_MS * 1000);
    }
}

static void start_page(struct running *running)
{
    const struct plan *plan = running->plan;
    struct error error;
    enum status status =
        server_start(running->listen, running->process, running->options.view, running->options.taps,
                     ask_reload_by_page, &running->server, running->address, &error);

    if (status != STATUS_OK)
        fprintf(stderr, "weir: no page: %s\n", error.text);
    else if (running->server)
        fprintf(stderr, "weir: %s reads; page at %s%s\n", plan->general.name, running->address,
                server_moved(running->server) ? " (http.listen is taken)" : "");
}

/* The cut under the old configuration is where the new one begins, or, when it cannot be opened, the old
 * one goes on. */
static enum status reload(struct running *running, struct error *ret_error)
{
    struct plan *plan = load_plan(running);
    struct error error;
    enum status status;

    if (!plan) {
        fprintf(stderr, "weir: the configuration is refused, the old one goes on\n");
        return STATUS_OK;
    }
    service_tell_reloading();
    if (running->server)
        server_set_process(running->server, NULL);
    process_stop_at_cut(running->process);
    process_free(running->process);
    running->process = NULL;
    status = start_process(running, plan, &error);
    if (status != STATUS_FATAL) {
        plan_free(running->plan);
        running->plan = plan;
        if (status == STATUS_OK)
            fprintf(stderr, "weir: the configuration is reloaded%s\n",
                    strcmp(plan->http.listen, running->listen) == 0
                        ? ""
                        : "; http.listen takes effect at the next start");
    } else {
        fprintf(stderr, "weir: the configuration is refused, the old one goes on: %s\n", error.text);
        plan_free(plan);
        status = start_process(running, running->plan, ret_error);
    }
    if (status == STATUS_OK && running->server)
        server_set_process(running->server, running->process);
    service_tell("READY=1");
    return status;
}

/* Until a stop is asked for, a failure, or the end. */
static enum status follow(struct running *running, struct error *ret_error)
{
    bool told = false;
    enum status status;

    while (!stop_asked) {
        status = process_wait(running->process, WAIT_MS, ret_error);
        feed_watchdog(running);
        if (status == STATUS_FATAL || (status == STATUS_OK && !running->server))
            return status;
        if (status == STATUS_OK && running->options.mode == ENGINE_ONCE)
            return status;
        if (status == STATUS_OK && !told) {
            told = true;
            fprintf(stderr, "weir: all input is read; the page stays at %s until Ctrl-C\n", running->address);
        }
        if (reload_asked) {
            reload_asked = 0;
            told = false;
            status = reload(running, ret_error);
            if (status != STATUS_OK) /* STATUS_RETRY: asked to stop meanwhile */
                return status;
        }
    }
    return STATUS_OK;
}

static int run(struct running *running)
{
    struct error error;
    enum status status = start_process(running, running->plan, &error);

    if (status == STATUS_RETRY)
        return EXIT_DONE;
    if (status == STATUS_OK) {
        start_page(running);
        service_tell("READY=1");
        status = follow(running, &error);
        service_tell("STOPPING=1");
    }
    if (running->server)
        server_set_process(running->server, NULL);
    if (running->process) {
        process_stop(running->process);
        process_free(running->process);
    }
    if (running->server)
        server_stop(running->server);
    if (status == STATUS_FATAL)
        fprintf(stderr, "weir: %s\n", error.text);
    return status == STATUS_FATAL ? EXIT_OUTSIDE : EXIT_DONE;
}

int cli_run(int argc, char **argv)
{
    struct running running = {.watchdog_us = service_watchdog_us()};
    bool once = false;
    const struct argument own[] = {{.name = "--once", .flag = &once}, {0}};
    int code;

    if (!arguments_read(argc, argv, own, &running.arguments))
        return EXIT_USAGE;
    running.options.mode = once ? ENGINE_ONCE : ENGINE_LIVE;
    running.plan = load_plan(&running);
    if (!running.plan)
        return EXIT_USAGE;
    install_signals();
    running.listen = memory_text(running.plan->http.listen, strlen(running.plan->http.listen));
    if (running.listen[0]) {
        running.options.view = view_new();
        running.options.taps = taps_new();
    }
    code = run(&running);
    if (running.options.view) {
        view_free(running.options.view);
        taps_free(running.options.taps);
    }
    free(running.listen);
    plan_free(running.plan);
    return code;
}
