/* weir report: what became of runs, how long they took and how much there was of them, over a recording or
 * over the store's history of ended runs. */
#include "tuning/report.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/recorded.h"
#include "pipeline/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum report_format { FORMAT_TEXT, FORMAT_CSV, FORMAT_HTML, FORMATS };

struct request {
    struct file_arguments file;
    struct recorded_inputs inputs;
    const char *out; /* NULL: stdout */
    enum report_format format;
    struct report_options options;
};

static bool read_time(const char *name, const char *text, int64_t *ret_us)
{
    if (!text || time_parse(span_of(text), TIME_UNIT_AUTO, TIME_NONE, ret_us))
        return true;
    fprintf(stderr, "weir report: %s %s: expected a time such as 2026-11-21T09:40:00Z, or epoch seconds\n",
            name, text);
    return false;
}

/* The place of a word in a list that ends with NULL. */
static bool read_choice(const char *name, const char *text, const char *const *choices, unsigned *ret_choice)
{
    for (unsigned i = 0; text && choices[i]; i++)
        if (strcmp(text, choices[i]) == 0) {
            *ret_choice = i;
            return true;
        }
    if (!text)
        return true;
    fprintf(stderr, "weir report: %s %s: expected one of", name, text);
    for (unsigned i = 0; choices[i]; i++)
        fprintf(stderr, " %s", choices[i]);
    fputc('\n', stderr);
    return false;
}

static bool read_request(int argc, char **argv, struct request *ret_request)
{
    static const char *const formats[FORMATS + 1] = {"text", "csv", "html", NULL};
    static const char *const levels[] = {"both", "workflow", "task", NULL};
    const char *from = NULL, *to = NULL, *format = NULL, *by = NULL;
    const struct argument own[] = {{"--from", &from, NULL},     {"--to", &to, NULL},
                                   {"--format", &format, NULL}, {"--out", &ret_request->out, NULL},
                                   {"--by", &by, NULL},         {0}};
    struct report_options *options = &ret_request->options;
    unsigned chosen_format = FORMAT_TEXT, chosen_by = REPORT_BY_BOTH;

    *options = (struct report_options){.from_us = TIME_NONE, .to_us = TIME_NONE};
    if (!recorded_take(&argc, argv, &ret_request->inputs) ||
        !arguments_read(argc, argv, own, &ret_request->file) ||
        !read_time("--from", from, &options->from_us) || !read_time("--to", to, &options->to_us) ||
        !read_choice("--format", format, formats, &chosen_format) ||
        !read_choice("--by", by, levels, &chosen_by))
        return false;
    if (options->to_us != TIME_NONE && options->from_us != TIME_NONE && options->to_us <= options->from_us) {
        fprintf(stderr, "weir report: --to %s is not after --from %s\n", to, from);
        return false;
    }
    ret_request->format = (enum report_format)chosen_format;
    options->by = (enum report_by)chosen_by;
    return true;
}

static void take_line(void *owner, struct span line)
{
    report_add(owner, line);
}

static bool take_run(void *owner, const struct ended_run *run)
{
    report_add(owner, run->line);
    return true;
}

static enum status read_store(struct report *report, const char *path, struct error *ret_error)
{
    const struct store_options options = {.read_only = true};
    struct store *store;
    enum status status = store_open(path, &options, &store, ret_error);

    if (status != STATUS_OK)
        return status;
    status = store_runs(store, take_run, report, ret_error);
    store_close(store);
    return status;
}

/* The store of the pipeline, and of a cluster those of the tasks that this process has or had. */
static enum status read_stores(const struct plan *plan, struct report *report, struct error *ret_error)
{
    enum status status = STATUS_OK;
    unsigned found = 0;

    if (!plan->cluster.enabled)
        return read_store(report, plan->store.path, ret_error);
    for (unsigned task = 0; task < (unsigned)plan->cluster.tasks && status == STATUS_OK; task++) {
        char *path = store_task_path(plan->store.path, task);

        if (access(path, F_OK) == 0) {
            status = read_store(report, path, ret_error);
            found++;
        }
        free(path);
    }
    return status == STATUS_OK && !found ? fail(ret_error, "no task has a store beside %s", plan->store.path)
                                         : status;
}

/* Sources that end are read again; what comes without end is in the store. */
static bool is_recorded(const struct plan *plan, const struct request *request)
{
    bool endless = false;

    for (unsigned i = 0; i < plan->source_count; i++)
        endless |= plan_source_is_endless(&plan->sources[i]);
    return request->inputs.count > 0 || !endless;
}

static enum status collect_runs(struct plan *plan, struct request *request, struct report **ret_report,
                                struct error *ret_error)
{
    bool recorded = is_recorded(plan, request);
    enum status status;

    request->options.ended_only = !recorded;
    *ret_report = report_new(&request->options);
    plan->wants_runs = true;
    if (recorded)
        status = recorded_replay(plan, collect_open_reader(DOC_RUN, take_line, *ret_report), ret_error);
    else
        status = read_stores(plan, *ret_report, ret_error);
    if (status == STATUS_OK)
        report_reckon(*ret_report);
    return status;
}

/* 0: not a terminal. */
static unsigned terminal_width(void)
{
    struct winsize size;

    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static enum status write_report(const struct plan *plan, const struct request *request,
                                const struct report *report, struct error *ret_error)
{
    FILE *file = request->out ? fopen(request->out, "we") : stdout;
    struct buffer out;

    if (!file)
        return fail(ret_error, "cannot write %s: %s", request->out, strerror(errno));
    buffer_init(&out, SIZE_MAX);
    if (request->format == FORMAT_TEXT)
        report_write_text(report, request->out ? 0 : terminal_width(), &out);
    else if (request->format == FORMAT_CSV)
        report_write_csv(report, &out);
    else
        report_write_html(report, plan->name, &out);
    bool written = fwrite(out.data, 1, out.size, file) == out.size;
    written &= (request->out ? fclose(file) : fflush(file)) == 0;
    buffer_free(&out);
    return written ? STATUS_OK
                   : fail(ret_error, "cannot write %s: %s", request->out ? request->out : "the report",
                          strerror(errno));
}

int cli_report(int argc, char **argv)
{
    struct request request = {0};
    struct report *report = NULL;
    struct plan *plan;
    struct error error;
    enum status status;

    if (!read_request(argc, argv, &request) || !(plan = arguments_plan(&request.file)))
        return EXIT_USAGE;
    if (recorded_use(plan, &request.inputs, &error) != STATUS_OK) {
        fprintf(stderr, "weir: %s\n", error.text);
        plan_free(plan);
        return EXIT_USAGE;
    }
    status = collect_runs(plan, &request, &report, &error);
    if (status == STATUS_OK)
        status = write_report(plan, &request, report, &error);
    if (status != STATUS_OK)
        fprintf(stderr, "weir: %s\n", error.text);
    report_free(report);
    plan_free(plan);
    return status == STATUS_OK ? EXIT_DONE : EXIT_OUTSIDE;
}
