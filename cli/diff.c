/* weir diff: what another configuration would have alerted, over the same recorded input. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/recorded.h"
#include "tuning/alert_diff.h"

#include <stdio.h>

#define WITHIN_DEFAULT_US INT64_C(600000000)

/* Takes the second file out, which the common arguments do not know. NULL: there is none. */
static const char *take_second(int *argc, char **argv)
{
    const char *second = NULL;
    int kept = 0, files = 0;

    for (int i = 0; i < *argc; i++) {
        bool is_file = i > 0 && argv[i][0] != '-' && strcmp(argv[i - 1], "--set") != 0 &&
                       strcmp(argv[i - 1], "--within") != 0;

        files += is_file;
        if (is_file && files == 2)
            second = argv[i];
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return second;
}

static void take_line(void *owner, struct span line)
{
    alert_list_add(owner, line);
}

/* The exit code; the list is filled. */
static int replay(const struct file_arguments *arguments, const char *path,
                  const struct recorded_inputs *inputs, struct alert_list *list)
{
    struct file_arguments own = *arguments;
    struct plan *plan;
    struct error error;
    int code = EXIT_DONE;

    own.path = path;
    if (!(plan = arguments_plan(&own)))
        return EXIT_USAGE;
    if (recorded_use(plan, inputs, &error) != STATUS_OK)
        code = EXIT_USAGE;
    else if (recorded_replay(plan, collect_open_reader(DOC_ALERT, take_line, list), &error) != STATUS_OK)
        code = EXIT_OUTSIDE;
    if (code != EXIT_DONE)
        fprintf(stderr, "weir diff: %s: %s\n", path, error.text);
    plan_free(plan);
    return code;
}

static int compare(const struct file_arguments *arguments, const char *second, struct alert_list *before,
                   struct alert_list *after, int64_t within_us)
{
    struct alert_diff diff;
    struct buffer out;

    buffer_init(&out, SIZE_MAX);
    alert_list_compare(before, after, within_us, &out, &diff);
    buffer_print(&out, "%s: %zu alerts; %s: %zu; %zu the same, %zu gained, %zu lost, %zu moved\n",
                 arguments->path, diff.before, second, diff.after, diff.same, diff.gained, diff.lost,
                 diff.moved);
    (void)fwrite(out.data, 1, out.size, stdout);
    buffer_free(&out);
    if (fflush(stdout) != 0)
        return EXIT_OUTSIDE;
    return diff.gained + diff.lost + diff.moved ? EXIT_FOUND : EXIT_DONE;
}

int cli_diff(int argc, char **argv)
{
    const char *within = NULL;
    const struct argument own[] = {{"--within", &within, NULL}, {0}};
    struct file_arguments arguments;
    struct recorded_inputs inputs;
    int64_t within_us = WITHIN_DEFAULT_US;

    if (!recorded_take(&argc, argv, &inputs))
        return EXIT_USAGE;
    const char *second = take_second(&argc, argv);
    if (!arguments_read(argc, argv, own, &arguments))
        return EXIT_USAGE;
    if (!second) {
        fprintf(stderr, "weir diff: needs two configuration files\n");
        return EXIT_USAGE;
    }
    if (within && (!duration_parse(span_of(within), &within_us) || within_us < 0)) {
        fprintf(stderr, "weir diff: --within %s: expected a duration like 30s, 5m, 1h\n", within);
        return EXIT_USAGE;
    }
    struct alert_list *before = alert_list_new(), *after = alert_list_new();
    int code = replay(&arguments, arguments.path, &inputs, before);

    if (code == EXIT_DONE)
        code = replay(&arguments, second, &inputs, after);
    if (code == EXIT_DONE)
        code = compare(&arguments, second, before, after, within_us);
    alert_list_free(before);
    alert_list_free(after);
    return code;
}
