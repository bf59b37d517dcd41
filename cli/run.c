/* weir run: the sources live, until a signal or (--once) the end of input. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "pipeline/engine.h"
#include "serve/server.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { WAIT_MS = 100 };

static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static void install_signals(void)
{
    struct sigaction action = {.sa_handler = ask_stop, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL); /* a second one ends the process at once */
    sigaction(SIGTERM, &action, NULL);
}

/* Another process may have the store: waits until it is gone. STATUS_RETRY: asked to stop meanwhile. */
static enum status start(const struct plan *plan, const struct engine_options *options,
                         struct engine **ret_engine, struct error *ret_error)
{
    enum status status = engine_start(plan, options, ret_engine, ret_error);

    if (status == STATUS_RETRY)
        fprintf(stderr, "weir: %s; waits until it is gone\n", ret_error->text);
    while (status == STATUS_RETRY && !stop_asked) {
        usleep(WAIT_MS * 1000);
        status = engine_start(plan, options, ret_engine, ret_error);
    }
    return status;
}

static int run(const struct plan *plan, bool once)
{
    struct view *view = plan->http.listen[0] ? view_new() : NULL;
    struct engine_options options = {.mode = once ? ENGINE_ONCE : ENGINE_LIVE, .view = view};
    struct engine *engine;
    struct server *server = NULL;
    struct error error;
    char address[64];
    enum status status;

    status = start(plan, &options, &engine, &error);
    if (status != STATUS_OK) {
        if (status == STATUS_FATAL)
            fprintf(stderr, "%s\n", error.text);
        if (view)
            view_free(view);
        return status == STATUS_FATAL ? EXIT_OUTSIDE : EXIT_DONE;
    }
    status = server_start(plan->http.listen, engine, view, &server, address, &error);
    if (status != STATUS_OK)
        fprintf(stderr, "weir: no page: %s\n", error.text);
    else if (server)
        fprintf(stderr, "weir: %s reads; page at %s%s\n", plan->general.name, address,
                server_moved(server) ? " (http.listen is taken)" : "");
    do
        status = engine_wait(engine, WAIT_MS, &error);
    while (!stop_asked && status == STATUS_RETRY);
    if (status == STATUS_OK && !once && server) {
        fprintf(stderr, "weir: all input is read; the page stays at %s until Ctrl-C\n", address);
        while (!stop_asked)
            usleep(WAIT_MS * 1000);
    }
    engine_stop(engine);
    if (server)
        server_stop(server);
    engine_free(engine);
    if (view)
        view_free(view);
    if (status == STATUS_FATAL)
        fprintf(stderr, "weir: %s\n", error.text);
    return status == STATUS_FATAL ? EXIT_OUTSIDE : EXIT_DONE;
}

int cli_run(int argc, char **argv)
{
    struct file_arguments arguments;
    bool once = false;
    const struct argument own[] = {{.name = "--once", .flag = &once}, {0}};
    struct plan *plan;
    int code;

    if (!arguments_read(argc, argv, own, &arguments) || !(plan = arguments_plan(&arguments)))
        return EXIT_USAGE;
    install_signals();
    code = run(plan, once);
    plan_free(plan);
    return code;
}
