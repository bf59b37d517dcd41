#include "cli/arguments.h"

#include "base/memory.h"

#include <stdio.h>

static bool read_own(const struct argument *own, int argc, char **argv, int *at)
{
    for (; own->name; own++) {
        if (strcmp(argv[*at], own->name) != 0)
            continue;
        if (own->flag) {
            *own->flag = true;
            return true;
        }
        if (*at + 1 >= argc) {
            fprintf(stderr, "weir %s: %s needs a value\n", argv[0], own->name);
            return false;
        }
        *own->value = argv[++*at];
        return true;
    }
    fprintf(stderr, "weir %s: unknown option %s\n", argv[0], argv[*at]);
    return false;
}

bool arguments_read(int argc, char **argv, const struct argument *own, struct file_arguments *ret_arguments)
{
    *ret_arguments = (struct file_arguments){0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--set") == 0) {
            if (i + 1 >= argc || ret_arguments->assignment_count == ASSIGNMENTS_MAX) {
                fprintf(stderr, "weir %s: --set needs path.key=value, at most %d times\n", argv[0],
                        ASSIGNMENTS_MAX);
                return false;
            }
            ret_arguments->assignments[ret_arguments->assignment_count++] = argv[++i];
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!read_own(own, argc, argv, &i))
                return false;
        } else if (ret_arguments->path) {
            fprintf(stderr, "weir %s: one configuration file, not also '%s'\n", argv[0], argv[i]);
            return false;
        } else {
            ret_arguments->path = argv[i];
        }
    }
    if (!ret_arguments->path)
        fprintf(stderr, "weir %s: needs a configuration file\n", argv[0]);
    return ret_arguments->path != NULL;
}

struct plan *arguments_plan(const struct file_arguments *arguments)
{
    struct plan *plan;
    struct error error;

    if (plan_load(arguments->path, arguments->assignments, arguments->assignment_count, &plan, &error) ==
        STATUS_OK)
        return plan;
    fprintf(stderr, "%s\n", error.text);
    return NULL;
}

enum status arguments_section(const char *file, const char *name, const struct option_rows *rows,
                              void *settings, struct error *ret_error)
{
    const struct option_table table = {rows->rows, rows->count, settings};
    struct config *config;

    if (config_load(file, &config, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    const struct node *section = node_find(config_root(config), name);
    enum status status =
        options_read(section && node_is_null(section) ? NULL : section, &table, 1, ret_error);

    config_free(config);
    return status;
}

enum status arguments_store_path(const char *file, const char *store, char **ret_path,
                                 struct error *ret_error)
{
    struct plan_store settings = {.path = NULL};

    if (file && arguments_section(file, "store", &store_rows, &settings, ret_error) != STATUS_OK)
        return STATUS_FATAL;
    const char *used = file ? settings.path : store ? store : "weir.db";

    *ret_path = memory_text(used, strlen(used));
    options_free(&(struct option_table){store_rows.rows, store_rows.count, &settings}, 1);
    return STATUS_OK;
}
